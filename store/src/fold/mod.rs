//! Folds (projections): state that is rebuilt from the log.
//!
//! ```text
//!  record 0, 1, 2, ...  -->  Fold::apply  -->  rows (key -> value)  -->  digest
//! ```
//!
//! A fold is a deterministic function of records: no clock, no randomness, no I/O, no options.
//! Folding again from position 0 gives the same rows, byte for byte; that is what
//! [`Log::check_folds`](crate::Log::check_folds) proves.

mod check;
mod host;
mod rows;
mod state;

pub(crate) use check::Rebuild;
pub(crate) use host::{FoldHost, clear, clear_all};
pub(crate) use rows::{RowSeal, fold_of_row};
pub(crate) use state::Look;

use crate::engine::panic_text;
use runstone_codec::{Control, Header, Position, Revision, namespace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use check::{FoldCheck, RowDifference};

/// Content of an event as a fold or a reader finds it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// The JSON bytes as they were given.
    Open(Vec<u8>),
    /// It was erased; the event still stands.
    Erased,
    /// It is not in this copy of the log, and no erasure covers it: the one who exported it kept it
    /// back.
    Withheld,
    /// It cannot be opened: a key is missing or the bytes are damaged.
    Undecodable(String),
    /// It cannot be opened now: the key provider is away, or does not hold what it should. That
    /// says nothing about the event, so a fold that asked for it stops there, whatever it answers.
    Unavailable(String),
    /// It was not asked for.
    Skipped,
}

impl Debug for Payload {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(bytes) => write!(out, "Open({} bytes)", bytes.len()),
            Self::Erased => out.write_str("Erased"),
            Self::Withheld => out.write_str("Withheld"),
            Self::Undecodable(why) => write!(out, "Undecodable({why})"),
            Self::Unavailable(why) => write!(out, "Unavailable({why})"),
            Self::Skipped => out.write_str("Skipped"),
        }
    }
}

impl Payload {
    /// The bytes, if they are open.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Open(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// What a fold sees of an event.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct FoldRecord<'a> {
    /// Place in the log.
    pub position: Position,
    /// Place in the stream.
    pub revision: Revision,
    /// The log's clock, microseconds since the epoch.
    pub recorded_at_us: u64,
    /// The header.
    pub header: &'a Header,
    /// The control fields.
    pub control: &'a Control,
    pub(crate) open: &'a dyn Fn() -> Payload,
}

impl Debug for FoldRecord<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FoldRecord")
            .field("position", &self.position)
            .field("event_type", &self.header.event_type)
            .finish_non_exhaustive()
    }
}

impl FoldRecord<'_> {
    /// The content, opened now. After an erasure it answers [`Payload::Erased`]; a fold must give
    /// the same counts and states then.
    pub fn payload(&self) -> Payload {
        (self.open)()
    }

    /// What stands before the first `.` of its type.
    pub(crate) fn namespace(&self) -> &str {
        namespace::of(&self.header.event_type)
    }
}

/// A fold stopped, or its rows cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The content that the fold reads cannot be decoded.
    #[error("the content cannot be decoded: {0}")]
    Undecodable(String),
    /// The key of the content that the fold reads cannot be had. It goes on from here at the next
    /// open.
    #[error(
        "the content cannot be opened now: {0}; open the log again when the keys can be had, and the fold goes on from here"
    )]
    Unavailable(String),
    /// A row of the fold cannot be read.
    #[error("a row cannot be read: {0}")]
    Row(String),
    /// The fold panicked.
    #[error("the fold panicked: {0}")]
    Panicked(String),
}

/// Key and value of a row.
pub type FoldRow = (Vec<u8>, Vec<u8>);

/// A row as a fold works with it, whose bytes are made when somebody asks for them.
pub trait TypedRow: Any + Debug + Send + Sync {
    /// Its bytes: the same for the same row, always.
    ///
    /// # Errors
    ///
    /// [`FoldError::Row`] if it has none. An error or a panic stops the fold before rows are written
    /// next; the log and other folds go on.
    fn encode(&self) -> Result<Vec<u8>, FoldError>;
}

/// A row as it was put.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a fold meets both")]
pub enum RowValue {
    /// As bytes.
    Bytes(Vec<u8>),
    /// As the fold works with it, since this opening.
    Typed(Arc<dyn TypedRow>),
}

fn encoded(row: &dyn TypedRow) -> Result<Vec<u8>, FoldError> {
    catch_unwind(AssertUnwindSafe(|| row.encode()))
        .unwrap_or_else(|panic| Err(FoldError::Panicked(panic_text(panic.as_ref()))))
}

impl RowValue {
    /// Its bytes.
    ///
    /// # Errors
    ///
    /// As [`TypedRow::encode`].
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, FoldError> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Typed(row) => encoded(row.as_ref()).map(Cow::Owned),
        }
    }

    /// Its bytes, kept.
    ///
    /// # Errors
    ///
    /// As [`TypedRow::encode`].
    pub fn into_bytes(self) -> Result<Vec<u8>, FoldError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Typed(row) => encoded(row.as_ref()),
        }
    }

    /// The row itself, if it is still there as this type.
    pub fn downcast_ref<T: TypedRow>(&self) -> Option<&T> {
        match self {
            Self::Bytes(_) => None,
            Self::Typed(row) => (row.as_ref() as &dyn Any).downcast_ref(),
        }
    }
}

/// Rows of a fold, by key.
pub trait Rows {
    /// The row under `key`.
    ///
    /// # Errors
    ///
    /// [`FoldError::Row`] if a stored row is damaged.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError>;
    /// Sets the row under `key`.
    fn put(&mut self, key: &[u8], value: Vec<u8>);
    /// Removes the row under `key`.
    fn remove(&mut self, key: &[u8]);

    /// The row under `key` as it was put, which spares decoding it. Default: its bytes.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    fn value(&mut self, key: &[u8]) -> Result<Option<RowValue>, FoldError> {
        Ok(self.get(key)?.map(RowValue::Bytes))
    }

    /// Sets the row under `key`, encoded once it is written, however often it is set before. Default: at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`TypedRow::encode`].
    fn put_row(&mut self, key: &[u8], row: Arc<dyn TypedRow>) -> Result<(), FoldError> {
        self.put(key, row.encode()?);
        Ok(())
    }
}

/// A deterministic function from records to rows.
pub trait Fold: Send + Sync + Debug + 'static {
    /// Its name, which is also the prefix of its rows: `[a-z][a-z0-9_-]*`, at most 64 bytes.
    fn name(&self) -> &'static str;

    /// Version of its rows. Another version is rebuilt at open.
    fn version(&self) -> u32;

    /// The namespaces whose events it is given: what stands before the first `.` of their types. Events
    /// of others pass it by, which costs next to nothing. Other namespaces are another version of its rows.
    /// Default: `None`, it is given every event.
    fn namespaces(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Takes one event into the rows.
    ///
    /// # Errors
    ///
    /// An error (or a panic) stops the fold at this event; the log and other folds go on. So does
    /// content that is [`Payload::Unavailable`]. The event is tried again at the next open.
    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError>;

    /// What is under way in a scope and would be lost if its content were erased now, in words; the
    /// erasure is refused then, unless it is forced. Default: nothing.
    ///
    /// # Errors
    ///
    /// What `row` answers.
    fn in_use(&self, row: ReadRow<'_>, scope: &str) -> Result<Option<String>, FoldError> {
        let _ = (row, scope);
        Ok(None)
    }
}

/// Reads a row of a fold by its key.
pub type ReadRow<'a> = &'a dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, FoldError>;

/// How far a fold is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct FoldStatus {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Events that it has taken in: positions below this.
    pub applied: u64,
    /// Events whose effect is flushed to the database.
    pub flushed: u64,
    /// Where and why it stopped.
    pub stopped: Option<(Position, String)>,
    /// Whether this binary knows the fold; an unknown one is kept and left alone.
    pub known: bool,
}
