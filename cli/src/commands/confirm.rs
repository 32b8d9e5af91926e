//! Asking a person before something that cannot be taken back.

use crate::error::{Exit, Failure, Report};
use crate::output::{Output, printable};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Whether there is a person to ask.
pub(super) fn is_attended(output: &Output) -> bool {
    std::io::stdin().is_terminal() && output.err_terminal
}

/// Says what will happen, and asks whether it shall. `refused` is what a no means.
pub(super) fn ask(text: &str, question: &str, refused: &str) -> Result<(), Failure> {
    let mut stderr = std::io::stderr();
    // If it cannot be shown nobody answers, and nothing is done.
    let text = format!("{text}\n{question} [y/N] ");
    let _ = stderr.write_all(printable(&text).as_bytes());
    let _ = stderr.flush();
    let mut answer = String::new();
    // An answer that cannot be read is no.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Report::new(Exit::No, "not_confirmed", refused).into())
}
