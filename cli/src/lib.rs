//! The command `runstone`.
//!
//! ```text
//!  args (what was asked) -> session (which log, as whom) -> commands (one file each) -> output
//!                                                              |
//!                                                              +-> Failure -> error.rs: exit code, hints
//! ```
//!
//! It is the only part of Runstone that prints, reads the environment and exits.

mod args;
mod commands;
mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hints;
mod output;
mod panic;
mod session;

use error::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

/// Does what the words of the command line ask for.
pub fn main() -> ExitCode {
    // Wrong usage is reported before the flags are known, so JSON is looked for in the words.
    let wants_json = std::env::args_os().any(|word| word == "--json");
    panic::install(wants_json);
    let exit = match args::asked(std::env::args_os()) {
        Ok(cli) => {
            let output = Output::new(cli.global.json, cli.global.quiet);
            match commands::run(cli, &output) {
                Ok(exit) => exit,
                Err(Failure::Closed) => Exit::Done,
                Err(Failure::Report(report)) => {
                    output.error(&report);
                    report.exit
                }
            }
        }
        Err(usage) => args::answer(&usage, wants_json),
    };
    ExitCode::from(exit as u8)
}
