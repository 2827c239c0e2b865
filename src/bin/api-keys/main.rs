//! The program `api-keys`: keys of services from a command line, and over HTTP.
//!
//! `main` reads the arguments, `dispatch` finds the command and opens what it works on, `commands` does it, `output` shows it.

#![allow(rustdoc::bare_urls, reason = "help shows the same text, which is no Markdown")]

mod advice;
mod api;
mod args;
mod commands;
mod database;
mod dispatch;
mod failure;
mod global;
mod key_in_arguments;
mod key_out;
mod log;
mod output;
mod remote;
mod signals;
mod small_file;
mod text;
mod work;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Arguments;
use crate::failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let given: Vec<OsString> = env::args_os().collect();
    // Also if the arguments are wrong: who reads JSON reads it then, too.
    let as_json = given.iter().take_while(|one| *one != "--").any(|one| one == "--json");
    let done = run(&given, as_json).await;
    database::close_all().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads the output has seen enough, as `head` does.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, as_json);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(given: &[OsString], as_json: bool) -> Result<(), Failure> {
    key_in_arguments::refuse(given)?;
    match Arguments::try_parse_from(given) {
        Ok(arguments) => dispatch::run(arguments).await,
        Err(error) if as_json && error.use_stderr() => Err(Failure::Usage(sentence(&error))),
        Err(error) => error.exit(),
    }
}

/// What is wrong with the arguments, without how to use them.
fn sentence(error: &clap::Error) -> String {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return "there is no command, or not all of it: --help lists them".to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error:").split_whitespace().collect();
    words.join(" ")
}
