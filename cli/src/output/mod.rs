//! Where answers go: results to stdout, everything else to stderr.

mod json;
mod pretty;
mod progress;
mod record;
mod table;
mod terminal;
mod text;
mod time;

pub(crate) use json::{ErrorLine, Summary, base64, hex};
pub(crate) use pretty::indent;
pub(crate) use progress::Progress;
pub(crate) use record::{Fields, RecordLines, whole_record};
pub(crate) use runstone::store::line::{Head, on_one_line, rfc3339, write_record};
pub(crate) use table::{Align, Table, Tone, paint};
pub(crate) use terminal::{Screen, cell, restore_terminal};
pub(crate) use text::{bytes, count, counted, preview, printable, usd};
pub(crate) use time::{duration, now, relative, with_dates};

use crate::error::{Exit, Failure, Report};
use anstream::{AutoStream, ColorChoice};
use json::{Warning, WarningLine};
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Code of what could not be read because whoever holds the log went away.
pub(crate) const HOLDER_LOST: &str = "holder_lost";

/// How to answer.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Whether people read stdout: it is a terminal, or it was said how many columns they have.
    pub(crate) terminal: bool,
    /// How many columns people have where stdout is no terminal (POSIX, Base Definitions 8.3).
    columns: Option<u16>,
    /// Whether people read stderr.
    pub(crate) err_terminal: bool,
    /// Whether stdout is coloured; `NO_COLOR` and its kin are respected.
    pub(crate) color: bool,
    err_color: bool,
    /// Whether something could not be read because whoever holds the log went away.
    lost: Arc<AtomicBool>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line reads the environment"
        )]
        let columns = std::env::var("COLUMNS").ok();
        let columns = columns.and_then(|columns| columns.parse().ok());
        let columns = columns.filter(|columns| *columns > 0);
        Self {
            json,
            quiet,
            terminal: stdout.is_terminal() || columns.is_some(),
            columns,
            err_terminal: stderr.is_terminal(),
            color: !json && AutoStream::choice(&stdout) != ColorChoice::Never,
            err_color: !json && AutoStream::choice(&stderr) != ColorChoice::Never,
            lost: Arc::default(),
        }
    }

    /// Stdout, buffered.
    pub(crate) fn results() -> Results {
        Results {
            out: BufWriter::with_capacity(1 << 16, std::io::stdout().lock()),
        }
    }

    /// Answers one value: as JSON, or as text for people.
    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut results = Self::results();
        if self.json {
            results.json(value)?;
        } else {
            results.line(text().trim_end_matches('\n'))?;
        }
        results.flush()
    }

    /// Answers text that is the same for everybody.
    pub(crate) fn text(text: &str) -> Result<(), Failure> {
        let mut results = Self::results();
        results.raw(text.as_bytes())?;
        results.flush()
    }

    /// Something that a person may want to know, and a script does not.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.stderr(&format!(
                "{} {}",
                self.label(Tone::Dim, "note:"),
                printable(text)
            ));
        }
    }

    /// Something that may be wrong. What was lost with the holder of the log is left to whoever asked:
    /// the rest is there, and can be asked for again.
    pub(crate) fn warn(&self, code: &str, message: &str) {
        if code == HOLDER_LOST {
            self.lost.store(true, Ordering::Relaxed);
            return;
        }
        if self.quiet {
            return;
        }
        if self.json {
            self.stderr_json(&WarningLine {
                warning: Warning { code, message },
            });
        } else {
            let label = self.label(Tone::Warn, "warning:");
            self.stderr(&format!("{label} {}", printable(message)));
        }
    }

    /// Whether something was lost since this was asked last.
    pub(crate) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// Why the command, or a part of it, failed.
    pub(crate) fn error(&self, report: &Report) {
        if self.json {
            return self.stderr_json(&ErrorLine::of(report));
        }
        let mut text = format!(
            "{} {}",
            self.label(Tone::Bad, "error:"),
            printable(&report.message)
        );
        for hint in &report.hints {
            text.push_str("\n  ");
            text.push_str(&self.label(Tone::Good, "hint:"));
            text.push(' ');
            text.push_str(&printable(hint));
        }
        self.stderr(&text);
    }

    fn label(&self, tone: Tone, text: &str) -> String {
        paint(self.err_color, tone, text)
    }

    fn stderr_json<T: Serialize>(&self, value: &T) {
        if let Ok(line) = serde_json::to_string(value) {
            self.stderr(&line);
        }
    }

    #[expect(clippy::unused_self, reason = "stderr belongs to the output")]
    fn stderr(&self, line: &str) {
        // There is nobody left to tell if stderr is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Results on stdout. A reader that went away is [`Failure::Closed`].
#[derive(Debug)]
pub(crate) struct Results {
    out: BufWriter<StdoutLock<'static>>,
}

impl Results {
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
        line.push(b'\n');
        self.raw(&line)
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out
            .write_all(bytes)
            .map_err(|error| stdout_failed(&error))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| stdout_failed(&error))
    }
}

impl Drop for Results {
    /// What an early return left in the buffer is written, as far as somebody reads it.
    fn drop(&mut self) {
        let _ = self.out.flush();
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::Closed;
    }
    Report::new(
        Exit::Storage,
        "storage_io",
        format!("stdout cannot be written: {error}"),
    )
    .into()
}
