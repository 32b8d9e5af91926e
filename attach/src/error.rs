//! Why a log is not served, or cannot be attached to.

use runstone_store::ErrorKind;
use std::io;
use std::path::{Path, PathBuf};

/// A log is not served, or cannot be attached to.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Nobody serves it.
    #[error("nobody serves the log at {path}", path = .path.display())]
    NotServed {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("{path} is served by user {uid}, who does not own it", path = .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Who serves it.
        uid: u32,
    },
    /// Something that is no socket stands in its place.
    #[error("{path} is no socket and was not touched; move it away", path = .path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path}: {message}", path = .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

impl AttachError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotServed { .. } => "not_served",
            Self::Foreign { .. } => "socket_foreign",
            Self::InTheWay { .. } => "socket_in_the_way",
            Self::Io { .. } => "socket_io",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotServed { .. } => ErrorKind::Busy,
            Self::Foreign { .. } => ErrorKind::Keys,
            Self::InTheWay { .. } => ErrorKind::Usage,
            Self::Io { .. } => ErrorKind::Storage,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotServed { .. })
    }
}
