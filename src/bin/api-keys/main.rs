//! The program `api-keys`: keys of services from a command line, and over HTTP.
//!
//! `main` reads the command and opens what it works on; `commands` does it; `output` shows it.

mod api;
mod args;
mod commands;
mod database;
mod failure;
mod key_out;
mod output;
mod text;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.global.json;
    match commands::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads the output has seen enough, as `head` does.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    }
}
