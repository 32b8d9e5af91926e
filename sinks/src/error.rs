//! Why something is not done.

use runstone_codec::EventError;
use runstone_store::{AppendError, ErrorKind, ReadError, refusals};
use serde::{Deserialize, Serialize};

/// Why a sink is not what the caller wants. Nothing changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SinkError {
    /// It cannot be the name of a sink.
    #[error(
        "`{name}` cannot be the name of a sink: lower-case letters, digits, `_` and `-`, first a letter or digit, at most 64 bytes"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// What it is to be cannot be.
    #[error("the sink cannot be so: {why}")]
    BadConfig {
        /// What is wrong.
        why: String,
    },
    /// Some sink has this name.
    #[error("there is a sink `{name}` already")]
    Exists {
        /// The name.
        name: String,
    },
    /// No sink has this name.
    #[error("there is no sink `{name}`")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It is no agent's to do.
    #[error("`{principal}` may not do this: sinks are no agent's to change")]
    NotAllowed {
        /// Who the caller is.
        principal: String,
    },
    /// Its files cannot be read or written.
    #[error("the files of the sinks: {why}")]
    Files {
        /// What went wrong.
        why: String,
    },
    /// Something cannot be put into an archive.
    #[error("{why}")]
    Archive {
        /// What went wrong.
        why: String,
    },
    /// The log has no place for the files of its sinks.
    #[error(
        "this log has no file of its own in this process, so its sinks cannot be looked at here"
    )]
    NoFolder,
    /// The log did not record it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is to be recorded breaks a rule.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl SinkError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "sink_name",
            Self::BadConfig { .. } => "sink_config",
            Self::Exists { .. } => "sink_exists",
            Self::NotFound { .. } => "sink_not_found",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Files { .. } | Self::NoFolder => "sink_files",
            Self::Archive { .. } => "archive_failed",
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. } | Self::BadConfig { .. } | Self::Event(_) => ErrorKind::Usage,
            Self::Exists { .. } => ErrorKind::Conflict,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::Files { .. } | Self::Archive { .. } | Self::NoFolder => ErrorKind::Storage,
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    pub(crate) fn files(error: &std::io::Error) -> Self {
        Self::Files {
            why: error.to_string(),
        }
    }
}

refusals!(SinkError: AppendError::lost);
