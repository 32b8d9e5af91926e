//! Why an export cannot be loaded.

use crate::error::{Corruption, ErrorKind, OpenError, ReadError, StorageError};
use std::io;
use std::path::PathBuf;

/// An export was not loaded; nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is something else.
    #[error("it is no export of a log: its first line does not say so")]
    NotAnExport,
    /// It is an export of another version.
    #[error("its format is {found}, this version reads {known}")]
    OtherFormat {
        /// What the first line says.
        found: String,
        /// What is read.
        known: &'static str,
    },
    /// It is something else than a segment.
    #[error("it is no segment of a log: its first line does not say so")]
    NotASegment,
    /// What is wrong is in this segment.
    #[error("segment {name}: {error}")]
    Segment {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// Segments are there from later positions on, and none from this one.
    #[error("the segment that begins with position {from} is missing")]
    SegmentMissing {
        /// The position.
        from: u64,
    },
    /// The last events are under no checkpoint of a key that the segments name.
    #[error(
        "no checkpoint of a key that the segments name covers the last {behind} of {events} events",
        behind = .events.saturating_sub(*.signed)
    )]
    Unsigned {
        /// Events that a checkpoint covers.
        signed: u64,
        /// Events that are there.
        events: u64,
    },
    /// The segment does not go on where the ones before it, or the replica, end.
    #[error("the segment does not follow what is there: {0}")]
    Unfit(String),
    /// What is there is not a replica that segments can be added to.
    #[error("{path} is no replica that segments can be added to: {why}", path = .path.display())]
    NotAReplica {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A line is not what an export has there: the file was cut off or changed.
    #[error("line {line} is not as it was written: {why}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Its lines contradict each other.
    #[error("it contradicts itself: {0}")]
    Contradicted(Corruption),
    /// It cannot be read.
    #[error("it cannot be read: {message}")]
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
    /// The same of a segment that is called so.
    #[must_use]
    pub fn of_segment(self, name: &str) -> Self {
        match self {
            named @ Self::Segment { .. } => named,
            error => Self::Segment {
                name: name.to_owned(),
                error: Box::new(error),
            },
        }
    }

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
            Self::NotASegment => "not_a_segment",
            Self::Segment { error, .. } => error.code(),
            Self::SegmentMissing { .. } => "segment_missing",
            Self::Unsigned { .. } => "segments_unsigned",
            Self::Unfit(_) => "segment_unfit",
            Self::NotAReplica { .. } => "not_a_replica",
            Self::Malformed { .. } => "export_malformed",
            Self::Contradicted(_) => "export_contradicted",
            Self::Input { .. } => "storage_io",
            Self::Log(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnExport
            | Self::OtherFormat { .. }
            | Self::NotASegment
            | Self::NotAReplica { .. } => ErrorKind::Usage,
            Self::Segment { error, .. } => error.kind(),
            Self::Malformed { .. }
            | Self::Contradicted(_)
            | Self::SegmentMissing { .. }
            | Self::Unsigned { .. }
            | Self::Unfit(_) => ErrorKind::Corrupt,
            Self::Input { .. } => ErrorKind::Storage,
            Self::Log(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Segment { error, .. } => error.is_retryable(),
            Self::Log(error) => error.is_retryable(),
            _ => false,
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
