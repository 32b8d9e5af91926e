//! What can go wrong, one family an operation.

mod open;

pub use open::OpenError;

use crate::append::Expected;
use crate::holder::{Refusal as _, Told, Word, word};
use crate::index::IndexError;
use crate::keys::KeyError;
use runstone_codec::{ControlError, EventError, OpenError as PayloadError, SealError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a caller does about an error; the command line maps each to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A rule refused it.
    Refused,
    /// The request itself is wrong.
    Usage,
    /// Lost a race or clashed with what is recorded.
    Conflict,
    /// Tampered or corrupt.
    Corrupt,
    /// Not there.
    NotFound,
    /// Another process holds the log.
    Busy,
    /// Disk full, I/O error, permission.
    Storage,
    /// Keys or credential missing or wrong.
    Keys,
    /// Something is missing that is not tampering.
    Incomplete,
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}: expected {expected}, found {found}", place(*position, table))]
#[non_exhaustive]
pub struct Corruption {
    /// The event concerned, if it lies in one.
    pub position: Option<u64>,
    /// The table or file concerned.
    #[serde(with = "word")]
    pub table: Word,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

fn place(position: Option<u64>, table: &str) -> String {
    position.map_or_else(
        || format!("corrupt {table}"),
        |position| format!("corrupt event at position {position} ({table})"),
    )
}

impl Corruption {
    pub(crate) fn at(position: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            position: Some(position),
            table: "chunks",
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn table(
        table: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            position: None,
            table,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// The database or the disk under it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Reading or writing failed.
    #[error("input or output failed on {path}: {message}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        message: String,
        /// Its kind.
        kind: std::io::ErrorKind,
    },
    /// The database refused or failed.
    #[error("the database failed: {message}")]
    Database {
        /// What it said.
        message: String,
    },
    /// The database found its pages damaged.
    #[error("the database pages are damaged: {message}")]
    Damaged {
        /// What it said.
        message: String,
    },
    /// The database panicked on its bytes; the panic was contained.
    #[error("the database could not read its pages: {message}")]
    Panicked {
        /// The panic message.
        message: String,
    },
    /// The database was closed while it was being read.
    #[error("the log was closed, or opened again after a failed commit, while it was read")]
    Closed,
}

impl StorageError {
    pub(crate) fn io(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            message: error.to_string(),
            kind: error.kind(),
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "storage_io",
            Self::Database { .. } => "storage_database",
            Self::Damaged { .. } | Self::Panicked { .. } => "storage_damaged",
            Self::Closed => "closed",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } | Self::Panicked { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Storage,
        }
    }
}

/// An append, import or command was not recorded, or it is not known whether it was.
///
/// Where another process holds the log, some errors come as what that process says of them
/// ([`Told`](Self::Told)): of the storage, above all. A program that does not know where its log is
/// held matches on [`code`](Self::code), which is the same either way.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AppendError {
    /// The stream is not where the caller expected it.
    #[error(
        "stream `{stream}` is at {actual}, expected {expected}; read it again and retry",
        actual = revision(*.actual)
    )]
    Conflict {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: Expected,
        /// Its last revision; `None` if there is no such stream.
        actual: Option<u64>,
    },
    /// An event matches the condition.
    #[error("an event at position {position} matches the condition")]
    ConditionFailed {
        /// The newest or first matching event found.
        position: u64,
    },
    /// A condition would have to look at too many events.
    #[error(
        "the condition matches too broadly to be decided within {limit} index entries; narrow it, or raise condition_scan"
    )]
    ConditionTooBroad {
        /// The option `condition_scan`.
        limit: u64,
    },
    /// A condition names something that has no index.
    #[error("a condition cannot select by {field}: only stream, type and tag are indexed")]
    ConditionUnindexed {
        /// The filter.
        #[serde(with = "word")]
        field: Word,
    },
    /// The event id is taken by another event.
    #[error("event id {id} is already at position {position} with other content")]
    EventIdConflict {
        /// The id.
        id: uuid::Uuid,
        /// Where it is.
        position: u64,
    },
    /// A command was given an event id that is recorded.
    #[error("event id {id} is recorded at position {position}; read it to learn what was decided")]
    EventIdKnown {
        /// The id.
        id: uuid::Uuid,
        /// Where it is.
        position: u64,
    },
    /// One event id stands twice in one append.
    #[error("event id {id} stands twice in one append; nothing was written")]
    DuplicateId {
        /// The id.
        id: uuid::Uuid,
    },
    /// Keys or scopes changed again and again while the events were sealed.
    #[error("keys or scopes changed {times} times while the events were being sealed; try again")]
    Contended {
        /// How often it was tried.
        times: usize,
    },
    /// Some of the event ids are known and some are not; nothing was written.
    #[error("{known} of {total} event ids are already recorded; nothing was written")]
    PartialDuplicate {
        /// How many are known.
        known: usize,
        /// How many were given.
        total: usize,
    },
    /// The namespace is written by commands only.
    #[error("type `{event_type}` is in a namespace that only commands write; use another one")]
    OwnedNamespace {
        /// The type.
        event_type: String,
    },
    /// Commands write the stream.
    #[error("stream `{stream}` takes events of its own commands alone; use another stream")]
    OwnedStream {
        /// The stream.
        stream: String,
    },
    /// The stream or scope belongs to the log.
    #[error("{what} `{name}` is reserved for the log itself")]
    Reserved {
        /// `stream` or `scope`.
        #[serde(with = "word")]
        what: Word,
        /// Its name.
        name: String,
    },
    /// A stream has one scope, fixed by its first event.
    #[error("stream `{stream}` has scope `{scope}`, not `{asked}`")]
    ScopeMismatch {
        /// The stream.
        stream: String,
        /// Its scope.
        scope: String,
        /// The scope that was asked for.
        asked: String,
    },
    /// The event itself is not valid.
    #[error(transparent)]
    Invalid(#[from] EventError),
    /// A limit was passed.
    #[error("{what} is {actual}, over the limit {limit} of option {option}")]
    Limit {
        /// What is too large.
        #[serde(with = "word")]
        what: Word,
        /// Its size.
        actual: u64,
        /// The limit.
        limit: u64,
        /// The option that sets it.
        #[serde(with = "word")]
        option: Word,
    },
    /// A request without events.
    #[error("there is nothing to append")]
    Empty,
    /// Too many requests wait.
    #[error("{limit} events wait to be written already (option queue_events); try again")]
    QueueFull {
        /// The limit.
        limit: u64,
    },
    /// A failed commit is being recovered from.
    #[error("the log is reopening after a failed commit; try again")]
    Reopening,
    /// The commit failed: the events may or may not be recorded.
    #[error(
        "the commit failed ({why}): the outcome is unknown; retry with the same event ids, which is safe"
    )]
    OutcomeUnknown {
        /// The cause.
        why: String,
    },
    /// Two commits in a row failed.
    #[error("the log stopped writing after repeated failures ({why}); close it and open it again")]
    Poisoned {
        /// The cause.
        why: String,
    },
    /// The handle was closed.
    #[error("the log is closed")]
    Closed,
    /// The log cannot be written.
    #[error("the log is read-only: {why}")]
    ReadOnly {
        /// Why.
        why: String,
    },
    /// The decider stopped: the fold it reads cannot go on.
    #[error("fold `{fold}` stopped at position {position}: {why}")]
    FoldStopped {
        /// The fold.
        fold: String,
        /// Where.
        position: u64,
        /// Why.
        why: String,
    },
    /// No room on the disk; nothing was written.
    #[error(
        "the disk is full: {needed} bytes are needed and {available} are available; free some space and try again"
    )]
    StorageFull {
        /// Bytes needed.
        needed: u64,
        /// Bytes left.
        available: u64,
    },
    /// The process that holds the log met it.
    #[error(transparent)]
    #[serde(skip)]
    Told(Box<Told>),
    /// Keys are missing or a provider does not answer.
    #[error("the keys cannot be used: {message}")]
    Keys {
        /// Code of the key error.
        #[serde(with = "word")]
        code: Word,
        /// What it says.
        message: String,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The control fields of an event are too long.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The decider panicked; nothing of its command was recorded.
    #[error("the decider panicked: {why}")]
    DeciderPanicked {
        /// The panic message.
        why: String,
    },
    /// The log is damaged where it had to be read.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The storage failed while reading.
    #[error(transparent)]
    #[serde(skip)]
    Storage(StorageError),
}

/// The last revision of a stream, if there is one.
fn revision(last: Option<u64>) -> String {
    last.map_or_else(|| Expected::NoStream.to_string(), |last| last.to_string())
}

impl AppendError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::ConditionFailed { .. } => "condition_failed",
            Self::ConditionTooBroad { .. } => "condition_too_broad",
            Self::ConditionUnindexed { .. } => "condition_unindexed",
            Self::EventIdConflict { .. } => "event_id_conflict",
            Self::EventIdKnown { .. } => "event_id_known",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::Contended { .. } => "contended",
            Self::PartialDuplicate { .. } => "partial_duplicate",
            Self::OwnedNamespace { .. } => "owned_namespace",
            Self::OwnedStream { .. } => "owned_stream",
            Self::Reserved { .. } => "reserved",
            Self::ScopeMismatch { .. } => "scope_mismatch",
            Self::Invalid(error) => error.code(),
            Self::Limit { .. } => "limit",
            Self::Empty => "empty",
            Self::QueueFull { .. } => "queue_full",
            Self::Reopening => "reopening",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Poisoned { .. } => "poisoned",
            Self::Closed => "closed",
            Self::ReadOnly { .. } => "read_only",
            Self::FoldStopped { .. } => "fold_stopped",
            Self::StorageFull { .. } => "storage_full",
            Self::Told(told) => told.code(),
            Self::Keys { code, .. } => code,
            Self::Seal(error) => error.code(),
            Self::Control(error) => error.code(),
            Self::DeciderPanicked { .. } => "decider_panicked",
            Self::Corrupt(_) => "corrupt",
            Self::Storage(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Told(told) => told.kind,
            Self::Conflict { .. }
            | Self::ConditionFailed { .. }
            | Self::EventIdConflict { .. }
            | Self::EventIdKnown { .. }
            | Self::PartialDuplicate { .. }
            | Self::Contended { .. } => ErrorKind::Conflict,
            Self::ConditionTooBroad { .. }
            | Self::FoldStopped { .. }
            | Self::DeciderPanicked { .. } => ErrorKind::Refused,
            Self::OwnedNamespace { .. }
            | Self::OwnedStream { .. }
            | Self::Reserved { .. }
            | Self::ScopeMismatch { .. }
            | Self::Invalid(_)
            | Self::Limit { .. }
            | Self::Empty
            | Self::DuplicateId { .. }
            | Self::ConditionUnindexed { .. }
            | Self::Seal(_)
            | Self::Control(_) => ErrorKind::Usage,
            Self::Keys { .. } => ErrorKind::Keys,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Storage(error) => error.kind(),
            Self::QueueFull { .. }
            | Self::Reopening
            | Self::OutcomeUnknown { .. }
            | Self::Poisoned { .. }
            | Self::Closed
            | Self::ReadOnly { .. }
            | Self::StorageFull { .. } => ErrorKind::Storage,
        }
    }

    /// Whether the same request may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        if let Self::Told(told) = self {
            return told.retryable;
        }
        matches!(
            self,
            Self::QueueFull { .. }
                | Self::Contended { .. }
                | Self::Reopening
                | Self::OutcomeUnknown { .. }
                | Self::StorageFull { .. }
        )
    }
}

impl From<KeyError> for AppendError {
    fn from(error: KeyError) -> Self {
        Self::Keys {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<StorageError> for AppendError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Closed => Self::Reopening,
            other => Self::Storage(other),
        }
    }
}

impl From<IndexError> for AppendError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::TooBroad { limit } => Self::ConditionTooBroad { limit },
            other => Self::Corrupt(Corruption::from(other)),
        }
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Storage(error) => error.into(),
            ReadError::Closed => Self::Closed,
            ReadError::Reopening => Self::Reopening,
            ReadError::Keys { code, message, .. } => Self::Keys { code, message },
            ReadError::Told(told) => Self::Told(told),
            // What is not there, or stopped, is not damaged.
            other => Self::Told(Box::new(other.told())),
        }
    }
}

impl From<IndexError> for Corruption {
    fn from(error: IndexError) -> Self {
        Self::table("index", "readable index rows", error.to_string())
    }
}

/// A read failed, or one record of it.
///
/// Where another process holds the log, errors of the storage come as what that process says of them
/// ([`Told`](Self::Told)); [`code`](Self::code) is the same either way.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReadError {
    /// An event or a table is not what it should be. Records after it can still be read.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// There is no such event.
    #[error("there is no event {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The storage failed.
    #[error(transparent)]
    #[serde(skip)]
    Storage(StorageError),
    /// A key is missing.
    #[error("the event at position {position} cannot be opened: {message}")]
    Keys {
        /// The event.
        position: u64,
        /// Code of the key error.
        #[serde(with = "word")]
        code: Word,
        /// What it says.
        message: String,
    },
    /// A fold is not known or has stopped.
    #[error("fold `{fold}`: {why}")]
    Fold {
        /// The fold.
        fold: String,
        /// Why.
        why: String,
    },
    /// A limit was passed.
    #[error("{what} are at the limit {limit} of option {option}")]
    Limit {
        /// What there is too much of.
        #[serde(with = "word")]
        what: Word,
        /// The limit.
        limit: u64,
        /// The option that sets it.
        #[serde(with = "word")]
        option: Word,
    },
    /// What is still to come was asked for newest first.
    #[error("what comes cannot be followed in reverse; read in reverse, or follow without it")]
    Reversed,
    /// The process that holds the log met it.
    #[error(transparent)]
    #[serde(skip)]
    Told(Box<Told>),
    /// The log is reopening after a failed commit.
    #[error("the log is reopening after a failed commit; try again")]
    Reopening,
    /// The handle was closed.
    #[error("the log is closed")]
    Closed,
}

impl ReadError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt(_) => "corrupt",
            Self::NotFound { .. } => "not_found",
            Self::Storage(error) => error.code(),
            Self::Keys { code, .. } => code,
            Self::Fold { .. } => "fold_stopped",
            Self::Limit { .. } => "limit",
            Self::Reversed => "bad_query",
            Self::Told(told) => told.code(),
            Self::Reopening => "reopening",
            Self::Closed => "closed",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Storage(error) => error.kind(),
            Self::Told(told) => told.kind,
            Self::Keys { .. } => ErrorKind::Keys,
            Self::Fold { .. } | Self::Limit { .. } => ErrorKind::Refused,
            Self::Reversed => ErrorKind::Usage,
            Self::Reopening | Self::Closed => ErrorKind::Storage,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Told(told) => told.retryable,
            other => matches!(other, Self::Reopening),
        }
    }

    /// The position of the damaged event, where one is to blame.
    pub fn position(&self) -> Option<u64> {
        match self {
            Self::Corrupt(corruption) => corruption.position,
            Self::Keys { position, .. } => Some(*position),
            _ => None,
        }
    }

    pub(crate) fn payload(position: u64, error: &PayloadError) -> Self {
        Self::Corrupt(Corruption::at(
            position,
            "a payload that opens",
            error.to_string(),
        ))
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        match error {
            // A log that is closed for good says so at the next read.
            StorageError::Closed => Self::Reopening,
            other => Self::Storage(other),
        }
    }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self::Corrupt(error.into())
    }
}
