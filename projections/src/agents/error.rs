//! Why something is not done.

use super::MAX_AGENT_NAME_LEN;
use crate::settings::SettingsError;
use runstone_codec::EventError;
use runstone_store::{AppendError, ErrorKind, ReadError};

/// Why an agent or a message is not what the caller wants. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It cannot be the name of an agent.
    #[error(
        "`{name}` cannot be the name of an agent: letters, digits, `.`, `_` and `-`, first a letter or digit, at most {MAX_AGENT_NAME_LEN} bytes"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// No agent has this name.
    #[error("there is no agent `{name}`; register it first")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It is not the caller's to do.
    #[error("`{principal}` may not do this: it needs {needs}")]
    NotAllowed {
        /// Who the caller is.
        principal: String,
        /// Who may.
        needs: &'static str,
    },
    /// What is said is not JSON.
    #[error("the body of the message is not JSON")]
    Body,
    /// The log did not record it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The settings cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What is to be recorded breaks a rule.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl AgentError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad_name",
            Self::NotFound { .. } => "agent_not_found",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Body => "bad_body",
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. } | Self::Body | Self::Event(_) => ErrorKind::Usage,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
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
}
