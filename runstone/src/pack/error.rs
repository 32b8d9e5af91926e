//! Why there is no pack.

use runstone_receipt::policy::PolicyRule;
use runstone_store::{AppendError, ErrorKind, EvidenceError, OpenError, ReadError};
use std::io;
use std::path::{Path, PathBuf};

/// A pack could not be written; nothing is there under its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// There is something under the name of the pack.
    #[error("{} exists already; a pack is written to a new directory", path.display())]
    Exists {
        /// The directory asked for.
        path: PathBuf,
    },
    /// Somebody else writes a pack of that name now.
    #[error("another process is writing {}", path.display())]
    Busy {
        /// The directory asked for.
        path: PathBuf,
    },
    /// The path names no new directory.
    #[error("{} is not a name for a new directory", path.display())]
    Name {
        /// What was given.
        path: PathBuf,
    },
    /// No event is selected.
    #[error("no event matches, so there is nothing to give evidence of")]
    Empty,
    /// The keys of the log do not fit into a policy.
    #[error("the keys of the log do not make a policy: {0}")]
    Policy(#[from] PolicyRule),
    /// A file of the pack cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something cannot be proven or shown.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl PackError {
    /// Names the file that an error is about.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "file_exists",
            Self::Busy { .. } => "busy",
            Self::Name { .. } => "pack_name",
            Self::Empty => "pack_empty",
            Self::Policy(rule) => rule.code(),
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "storage_full",
                _ => "storage_io",
            },
            Self::Evidence(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } | Self::Name { .. } => ErrorKind::Usage,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Empty => ErrorKind::NotFound,
            Self::Policy(_) => ErrorKind::Keys,
            Self::File { .. } => ErrorKind::Storage,
            Self::Evidence(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Evidence(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Errors of the log reach a caller as what they are.
macro_rules! from_log_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for PackError {
            fn from(error: $error) -> Self {
                Self::Evidence(error.into())
            }
        }
    )+};
}

from_log_errors!(ReadError, AppendError, OpenError);
