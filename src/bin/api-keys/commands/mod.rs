//! What commands do.

pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod serve;
pub(crate) mod verify;

use std::io::{BufRead, IsTerminal, Write};

use crate::api::Api;
use crate::args::{Arguments, Command, Global};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Init(init) => init::run(&global, init).await,
        Command::Serve(serve) => serve::run(&global, serve).await,
        Command::Verify(verify) => verify::run(&global, verify).await,
        other => {
            let work = Work {
                api: Api::open(&global).await?,
                output: Output { json: global.json },
                yes: global.yes,
            };
            let done = keys::run(&work, other).await;
            // What was changed is announced and stored before the program ends.
            work.api.close().await;
            done
        }
    }
}

/// What commands over the API work with.
pub(crate) struct Work {
    pub(crate) api: Api,
    pub(crate) output: Output,
    yes: bool,
}

impl Work {
    /// Asks before something is destroyed.
    ///
    /// # Errors
    /// When the answer is no, or there is nobody to ask.
    pub(crate) fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "{what} needs --yes, because there is no terminal to ask at"
            )));
        }
        write!(std::io::stderr(), "{what}? [y/N] ")?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::Refused("nothing was changed".to_owned())),
        }
    }
}

/// How a command prints.
pub(crate) fn output(global: &Global) -> Output {
    Output { json: global.json }
}

/// The id of an organization, from its id or slug.
pub(crate) async fn organization_id(work: &Work, text: &str) -> Result<String, Failure> {
    if text.parse::<tower_api_key::key::OrganizationId>().is_ok() {
        return Ok(text.to_owned());
    }
    let path = format!("/organizations?slug={}", keys::encoded(text));
    let page = work.api.call(http::Method::GET, &path, serde_json::Value::Null).await?;
    let id = page["items"][0]["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| Failure::Refused("no organization has this id or slug".to_owned()))
}
