//! What went wrong, for people and for scripts: exit codes are decided here and nowhere else.

use crate::hints;
use crate::output::with_dates;
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
            message: with_dates(message.into()),
            hints: hints::of(code)
                .iter()
                .map(|hint| (*hint).to_owned())
                .collect(),
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
    runstone::store::keys::KeyError,
    runstone::AppendError,
    runstone::ReadError,
    runstone::LoadError,
    runstone::replay::again::RecordingError,
    runstone::pack::PackError,
    runstone::EvidenceError,
    runstone::EraseError,
    runstone::EffectError,
    runstone::agents::AgentError,
    runstone::approvals::ApprovalError,
    runstone::TaskError,
    runstone::RunError,
    runstone::BudgetError,
    runstone::SweepError,
    runstone::trays::TrayError,
    runstone::projections::settings::SettingsError,
    runstone::attach::AttachError,
    runstone::attach::ConnectError
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
