//! What can be wrong with settings.

use std::fmt;

use runstone_codec::Position;
use runstone_store::{AppendError, ErrorKind, ReadError};

/// Settings cannot be read, are not valid, or cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It is not TOML or JSON, a key is unknown, or a value has another type.
    #[error("{}{message}", At(*line, key.as_deref()))]
    Syntax {
        /// The key concerned, if there is one.
        key: Option<String>,
        /// The line concerned, from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// A value is not one that the setting may have.
    #[error("{}{found} is not allowed, expected {expected}", At(*line, Some(key)))]
    Value {
        /// The key.
        key: String,
        /// The line, from 1, where a text was read.
        line: Option<usize>,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// What is recorded cannot be read: it was written by a later version, or elsewhere.
    #[error("the settings recorded at position {position} cannot be read: {why}")]
    Recorded {
        /// Position of the `log.configured`.
        position: Position,
        /// Why.
        why: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Where in the text, before the message.
struct At<'a>(Option<usize>, Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.0 {
            write!(out, "line {line}: ")?;
        }
        self.1.map_or(Ok(()), |key| write!(out, "{key}: "))
    }
}

impl SettingsError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "settings_syntax",
            Self::Value { .. } => "settings_value",
            Self::Recorded { .. } => "settings_recorded",
            Self::Read(error) => error.code(),
            Self::Append(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } | Self::Value { .. } | Self::Recorded { .. } => ErrorKind::Usage,
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Syntax { .. } | Self::Value { .. } | Self::Recorded { .. } => false,
            Self::Read(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
        }
    }
}
