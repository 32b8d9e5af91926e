//! What went wrong, for people and for scripts: exit codes and hints are decided here and nowhere
//! else.

use runstone::ErrorKind;
use std::error::Error;
use std::io;
use std::path::Path;

/// Exit codes of the command.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the answer is yes or valid.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// Wrong usage.
    Usage = 2,
    /// Lost a race or clashed.
    Conflict = 3,
    /// Tampered or corrupt.
    Corrupt = 4,
    /// Not there.
    NotFound = 5,
    /// Another process holds the log.
    Busy = 6,
    /// The storage failed.
    Storage = 7,
    /// Keys, credential or policy are missing or wrong.
    Keys = 8,
    /// Verification lacks something that is not tampering.
    Incomplete = 9,
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Storage => Self::Storage,
            ErrorKind::Keys => Self::Keys,
            ErrorKind::Incomplete => Self::Incomplete,
            _ => Self::No,
        }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads stdout any more. That is how `runstone ... | head` ends, so it is no error.
    Closed,
    /// Something to say.
    Report(Report),
}

/// An error as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) exit: Exit,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

impl Report {
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            hints: hints(code).iter().map(|hint| (*hint).to_owned()).collect(),
        }
    }

    /// An error of this program or of a file that it was told to read, with its causes.
    pub(crate) fn of(exit: Exit, code: &'static str, error: &dyn Error) -> Self {
        Self::new(exit, code, with_causes(error))
    }

    /// The arguments do not fit together.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let (exit, code) = match error.kind() {
            io::ErrorKind::NotFound => (Exit::NotFound, "file_not_found"),
            io::ErrorKind::AlreadyExists => (Exit::Usage, "file_exists"),
            _ => (Exit::Storage, "storage_io"),
        };
        Self::new(exit, code, format!("{}: {error}", path.display()))
    }

    /// Adds advice, before what is always advised.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.insert(0, hint.into());
        self
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

/// Errors of the log: each says by itself what kind it is.
macro_rules! from_log_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Report {
            fn from(error: $error) -> Self {
                Self::of(error.kind().into(), error.code(), &error)
            }
        }

        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Report(error.into())
            }
        }
    )+};
}

from_log_errors!(
    runstone::OpenError,
    runstone::AppendError,
    runstone::ReadError,
    runstone::projections::settings::SettingsError
);

/// Errors about what was written on the command line or in a file.
macro_rules! from_usage_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Report {
            fn from(error: $error) -> Self {
                Self::of(Exit::Usage, error.code(), &error)
            }
        }

        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Report(error.into())
            }
        }
    )+};
}

from_usage_errors!(runstone::QueryError, runstone::codec::EventError);

impl From<runstone::keys::KeyError> for Report {
    fn from(error: runstone::keys::KeyError) -> Self {
        Self::of(Exit::Keys, error.code(), &error)
    }
}

impl From<runstone::keys::KeyError> for Failure {
    fn from(error: runstone::keys::KeyError) -> Self {
        Self::Report(error.into())
    }
}

/// The message of an error, and of its causes unless it repeats them.
fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = next.source();
    }
    message
}

/// What to do next, by error code. Messages that say it themselves need no hint.
fn hints(code: &str) -> &'static [&'static str] {
    match code {
        "internal" => &[
            "this is a fault of runstone, not yours: please report it with this message",
            "nothing that was acknowledged is lost",
        ],
        "usage" => &["runstone help COMMAND shows what it takes"],
        "log_not_found" => &["name another log with --log PATH or RUNSTONE_LOG"],
        "log_exists" => &["choose another path with --log PATH"],
        "not_a_log" => &["name the log itself with --log PATH, not its keys or its .head file"],
        "newer_format" => &["install the version of runstone that wrote the log"],
        "busy" => &[
            "--wait SECONDS waits until the other process lets go of it",
            "fuser PATH or lsof PATH says which process it is",
        ],
        "log_behind" | "log_diverged" => &[
            "runstone verify shows what is there; keep the file and LOG.head as they are",
            "if the file was replaced by an older copy, put the newest one back",
        ],
        "corrupt" | "storage_damaged" => &[
            "runstone verify names every damaged place; it changes nothing",
            "keep a copy of the file before anything else; docs/RECOVERY.md says what to do",
        ],
        "conflict" => &["read the stream again, decide again, and append with its new revision"],
        "condition_failed" => &["read what matches (runstone show POSITION) and decide again"],
        "condition_too_broad" => &["add a stream or a tag, or --after POSITION"],
        "condition_unindexed" => &["use type=, tag= and stream= only"],
        "event_id_conflict" => {
            &["the id belongs to another event: runstone show ID; give the new event its own id"]
        }
        "partial_duplicate" => &["append the events that are not recorded yet on their own"],
        "owned_namespace" => &[
            "use a free namespace such as tool.*, chat.*, harness.* or data.*",
            "recordings made elsewhere go in with runstone import",
        ],
        "reserved" => &["choose another name; those that begin with _ and `log` are the log's"],
        "scope_mismatch" => &["leave scope away, or use another stream for another scope"],
        "bad_query" => &["a query reads like type=tool.*;tag=user:7 or stream=run-7"],
        "bad_type" => &["a type reads like tool.call.requested: lower-case words joined by dots"],
        "bad_tag" => &["a tag reads like user:7"],
        "payload_too_large" => &["store large content elsewhere and record its digest"],
        "payload_not_json" | "payload_not_utf8" | "bad_line" => {
            &["write one JSON object, or one array of them, a line"]
        }
        "line_too_long" => &["--max-line-bytes N allows longer lines"],
        "storage_full" => &["free some space and run it again; nothing was written"],
        "storage_io" => &["check that the path exists and that you may read and write it"],
        "outcome_unknown" => &["run it again with the same event ids, which is safe"],
        "poisoned" | "reopening" | "closed" => &["run it again; runstone doctor checks the set-up"],
        "read_only" => &["append to the log that this is a copy of"],
        "fold_stopped" => &["runstone folds says where and why; runstone rebuild folds again"],
        "not_found" => &["runstone log --all --reverse --limit 10 shows the newest events"],
        "run_not_found" => &["runstone runs lists the runs"],
        "file_not_found" => &["check the path"],
        "file_exists" => &["choose another path; nothing was overwritten"],
        "unknown_format" => &["name the format with --format"],
        "import_unknown_format" => &["runstone import --help lists the formats"],
        "unknown_schema" => &["runstone schema lists the types"],
        "credential_mismatch" => &["--as must name the principal that the credential is for"],
        "no_credential" => &["add --cred FILE or RUNSTONE_CRED"],
        "principal_unknown" => &["enrol it first: runstone keys principal add"],
        "settings_syntax" | "settings_value" => {
            &["runstone config template shows every setting with its default"]
        }
        "settings_recorded" => &["record them again with runstone config set FILE.toml"],
        code if code.starts_with("key") => {
            &["name the key folder with --keys PATH or RUNSTONE_KEYS; it is LOG.keys by default"]
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_become_the_documented_exit_codes() {
        for (kind, exit) in [
            (ErrorKind::Refused, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::Conflict, 3),
            (ErrorKind::Corrupt, 4),
            (ErrorKind::NotFound, 5),
            (ErrorKind::Busy, 6),
            (ErrorKind::Storage, 7),
            (ErrorKind::Keys, 8),
            (ErrorKind::Incomplete, 9),
        ] {
            assert_eq!(Exit::from(kind) as u8, exit, "{kind:?}");
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("outer")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(
            with_causes(&Outer(io::Error::other("inner"))),
            "outer: inner"
        );
        assert_eq!(with_causes(&Outer(io::Error::other("out"))), "outer");
    }

    #[test]
    fn files_that_are_missing_are_not_storage_failures() {
        let missing = Report::file(Path::new("x"), &io::ErrorKind::NotFound.into());
        assert_eq!(
            (missing.exit, missing.code),
            (Exit::NotFound, "file_not_found")
        );
        assert!(!missing.hints.is_empty());
    }
}
