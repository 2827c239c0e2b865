//! Files about this program: completions and manual pages.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

/// What completes commands in a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A manual page.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The command, such as `create` or `audit verify`; the page of the program itself if it is left out
    command: Vec<String>,
}

impl Completions {
    pub(crate) fn run(self, mut program: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "api-keys", &mut script);
        print(&script)
    }
}

impl Man {
    pub(crate) fn run(self, mut program: Command) -> Result<(), Failure> {
        program.build();
        let mut command = &program;
        for name in &self.command {
            command = command
                .find_subcommand(name)
                .ok_or_else(|| Failure::Usage(format!("there is no command `{}`", self.command.join(" "))))?;
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        print(&page)
    }
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;

    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
