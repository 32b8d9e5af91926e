//! Why an export cannot be loaded.

use super::line::EXPORT;
use crate::error::{Corruption, ErrorKind, OpenError, ReadError, StorageError};
use std::io;

/// An export was not loaded; nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is something else.
    #[error("it is no export of a log: its first line does not say so")]
    NotAnExport,
    /// It is an export of another version.
    #[error("its format is {found}, this version reads {EXPORT}")]
    OtherFormat {
        /// What the first line says.
        found: String,
    },
    /// A line is not what an export has there: the file was cut off or changed.
    #[error("line {line} of the export is not as it was written: {why}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Its lines contradict each other.
    #[error("the export contradicts itself: {0}")]
    Contradicted(Corruption),
    /// It cannot be read.
    #[error("the export cannot be read: {message}")]
    Input {
        /// What the operating system said.
        message: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// The log cannot be made.
    #[error(transparent)]
    Log(#[from] OpenError),
}

impl LoadError {
    pub(crate) fn input(error: &io::Error) -> Self {
        Self::Input {
            message: error.to_string(),
            kind: error.kind(),
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnExport => "not_an_export",
            Self::OtherFormat { .. } => "newer_format",
            Self::Malformed { .. } => "export_malformed",
            Self::Contradicted(_) => "export_contradicted",
            Self::Input { .. } => "storage_io",
            Self::Log(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnExport | Self::OtherFormat { .. } => ErrorKind::Usage,
            Self::Malformed { .. } | Self::Contradicted(_) => ErrorKind::Corrupt,
            Self::Input { .. } => ErrorKind::Storage,
            Self::Log(error) => error.kind(),
        }
    }
}

impl From<Corruption> for LoadError {
    fn from(corruption: Corruption) -> Self {
        Self::Contradicted(corruption)
    }
}

impl From<StorageError> for LoadError {
    fn from(error: StorageError) -> Self {
        Self::Log(error.into())
    }
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => corruption.into(),
            ReadError::Storage(error) => error.into(),
            other => Corruption::table("chunks", "a readable event", other.to_string()).into(),
        }
    }
}
