//! The program `api-keys`: keys of services from a command line, and over HTTP.
//!
//! `main` reads the command and opens what it works on; `commands` does it; `output` shows it.

#![allow(rustdoc::bare_urls, reason = "help shows the same text, which is no Markdown")]

mod api;
mod args;
mod commands;
mod database;
mod failure;
mod key_out;
mod log;
mod output;
mod signals;
mod text;

use std::process::ExitCode;

use clap::Parser;
use tower_api_key::key::KeyFormat;

use crate::args::Arguments;
use crate::failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(failure) = refuse_keys(std::env::args()) {
        output::failure(&failure, false);
        return ExitCode::from(failure.exit_code());
    }
    let arguments = Arguments::parse();
    let json = arguments.global.json;
    let done = commands::run(arguments).await;
    database::close_all().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads the output has seen enough, as `head` does.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A key among the arguments is not repeated in an error, where it would go into logs as well.
fn refuse_keys(arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let format = KeyFormat::default();
    let mut parts = arguments.flat_map(|argument| {
        let parts: Vec<String> = argument.split('=').map(|part| part.trim().to_owned()).collect();
        parts
    });
    match parts.any(|part| format.parse(part.trim_matches(['"', '\'']).as_bytes()).is_ok()) {
        true => Err(Failure::Usage(
            "a key is among the arguments, where other users of this machine and the history of the shell have it: rotate it. Keys are named by \
             their id or lookup, and `verify` reads them from standard input"
                .to_owned(),
        )),
        false => Ok(()),
    }
}
