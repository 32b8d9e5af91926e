//! Why a log is not created or opened.

use super::{Corruption, ErrorKind, StorageError};
use crate::holder::Told;
use crate::index::IndexError;
use crate::keys::KeyError;
use std::path::PathBuf;

/// Creating or opening a log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such log.
    #[error("there is no log at {path}", path = .path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{path} exists already; it was not touched", path = .path.display())]
    AlreadyExists {
        /// The file in the way.
        path: PathBuf,
    },
    /// What is known of a log stands where a copy of another one is to stand.
    #[error("{path} is of another log; it was not touched, and no copy was put there", path = .path.display())]
    HeadOfAnother {
        /// The file in the way.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a Runstone log: {why}; it was not touched", path = .path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// How it is seen.
        why: String,
    },
    /// The log was written by a newer version.
    #[error(
        "the log has format {found}, this version reads up to {supported}; use a newer runstone"
    )]
    NewerFormat {
        /// Format of the file.
        found: String,
        /// Newest format known here.
        supported: &'static str,
    },
    /// Another process holds the file.
    #[error("another process holds {path}; wait for it, or stop it", path = .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the file, and has not the fold that is asked for.
    #[error(
        "another process holds the log, and not with version {version} of fold `{fold}`; open it when that process has let go of it, or leave the fold away"
    )]
    FoldElsewhere {
        /// The fold.
        fold: String,
        /// Its version that is asked for.
        version: u32,
    },
    /// The log is there, and is not one as was asked for.
    #[error("the log at {path} has {found}, not {asked}; ask for it as it is, or choose another path", path = .path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        asked: String,
        /// What it has.
        found: String,
    },
    /// The log ends before a head that is known to have been reached.
    #[error(
        "the log is behind {witness}: it has {size} events, {witness} knows {known_size}; it was rolled back or replaced by an older copy, and nothing will be appended to it"
    )]
    Behind {
        /// `LOG.head` or the checkpoint copy.
        witness: String,
        /// Events in the log.
        size: u64,
        /// Events that the witness knows of.
        known_size: u64,
    },
    /// At a size that is known, the log has another root.
    #[error(
        "the log differs from {witness} at size {size}: root {found} where {witness} knows {expected}; history was rewritten"
    )]
    Diverged {
        /// `LOG.head` or the checkpoint copy.
        witness: String,
        /// The size.
        size: u64,
        /// Root that the witness knows, base64.
        expected: String,
        /// Root that the log has, base64.
        found: String,
    },
    /// Bytes that are not what they should be.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The keys do not fit or cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The keys belong to another log.
    #[error(
        "these are the keys of log {keys}, not of log {log}; give the folder that belongs to it"
    )]
    WrongKeys {
        /// The log.
        log: runstone_codec::LogId,
        /// The log that the keys belong to.
        keys: runstone_codec::LogId,
    },
    /// The keys sign for another copy of the log.
    #[error(
        "the keyring signs as {vkey}, which this log does not know: another copy of it began an epoch with these keys; give the keys of this copy"
    )]
    ForeignSigner {
        /// The public key of the keyring.
        vkey: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The index rows cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The process that holds the log met it.
    #[error(transparent)]
    Told(Box<Told>),
    /// A checkpoint copy is none.
    #[error("the checkpoint copy {copy} cannot be used: {why}")]
    Copy {
        /// The file, or the command.
        copy: String,
        /// Why not.
        why: String,
    },
}

impl OpenError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "log_not_found",
            Self::AlreadyExists { .. } => "log_exists",
            Self::HeadOfAnother { .. } => "head_of_another",
            Self::NotALog { .. } => "not_a_log",
            Self::NewerFormat { .. } => "newer_format",
            Self::Busy { .. } => "busy",
            Self::FoldElsewhere { .. } => "held_elsewhere",
            Self::Differs { .. } => "log_differs",
            Self::Behind { .. } => "log_behind",
            Self::Diverged { .. } => "log_diverged",
            Self::Corrupt(_) | Self::Index(_) => "corrupt",
            Self::Keys(error) => error.code(),
            Self::WrongKeys { .. } | Self::ForeignSigner { .. } => "wrong_keys",
            Self::Storage(error) => error.code(),
            Self::Told(told) => told.code(),
            Self::Copy { .. } => "checkpoint_copy",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. }
            | Self::HeadOfAnother { .. }
            | Self::NotALog { .. }
            | Self::NewerFormat { .. } => ErrorKind::Usage,
            Self::Busy { .. } | Self::FoldElsewhere { .. } => ErrorKind::Busy,
            Self::Differs { .. } => ErrorKind::Conflict,
            Self::Behind { .. } | Self::Diverged { .. } | Self::Corrupt(_) | Self::Index(_) => {
                ErrorKind::Corrupt
            }
            Self::Keys(error) => error.kind(),
            Self::WrongKeys { .. } | Self::ForeignSigner { .. } => ErrorKind::Keys,
            Self::Storage(error) => error.kind(),
            Self::Told(told) => told.kind,
            Self::Copy { .. } => ErrorKind::Storage,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::FoldElsewhere { .. })
    }
}
