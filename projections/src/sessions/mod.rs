//! Sessions: the JSON document of a run, changed event by event.
//!
//! ```text
//!  session.patched   merge patch (RFC 7396)           {"plan": null, "step": 3}
//!  session.appended  path (RFC 6901) and items        /messages  [{...}]
//!  step.completed    output.structured, merge patch   {"plan": ["look", "pay"]}
//! ```
//!
//! The document is a fold over its stream: it is read at any revision, and what a turn appends
//! costs one small event, however long the session is. It is content, so it is never kept in rows.
//! A session above [`SNAPSHOT_BYTES`] is snapshotted now and then, by an event whose content is the
//! document (`session.snapshotted`): who reads it begins there.
//!
//! ```
//! use runstone_projections::sessions::Document;
//! use serde_json::json;
//!
//! let mut document = Document::new();
//! document.append("/messages", vec![json!("hello")])?;
//! document.patch(&json!({"topic": "greetings"}));
//! document.append("/messages", vec![json!("goodbye")])?;
//! assert_eq!(document, json!({"messages": ["hello", "goodbye"], "topic": "greetings"}));
//! assert_eq!(document.get("/messages/1"), Some(json!("goodbye")));
//! # Ok::<(), runstone_projections::sessions::SessionError>(())
//! ```

mod document;
mod line;
mod snapshot;
mod tree;

pub use document::{Document, SessionError};
pub(crate) use snapshot::drafted;
pub use snapshot::{SNAPSHOT_BYTES, SNAPSHOT_CHANGES, Since, snapshot, snapshot_blocking};

use crate::DecodeRecord as _;
use crate::events::{SessionAppended, SessionPatched, StepCompleted, control};
use crate::runs::Told;
use runstone_codec::{Position, TypedEvent};
use runstone_store::{Item, Log, ReadError, Record};
use serde_json::Value;

/// The document of a run at a point, and what of it could not be read.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Session {
    /// The document.
    pub document: Document,
    /// Changes that it was folded from.
    pub changes: u64,
    /// Changes whose content was erased or cannot be read: the document is without them.
    pub missing: u64,
    /// Position of the last change.
    pub last: Option<Position>,
    /// What was changed since the snapshot that it was folded from, or since the beginning.
    pub since: Since,
}

/// The document of a run, as it is now.
///
/// # Errors
///
/// [`ReadError`] if the stream cannot be read.
pub fn state(log: &Log, stream: &str) -> Result<Session, ReadError> {
    state_at(log, stream, None)
}

/// The document of a run as it was after a position; `None`: as it is now. It is folded from the
/// newest snapshot by then, else from the beginning. What was rolled back is not in it, and what a
/// fork shares is.
///
/// # Errors
///
/// As [`state`].
pub fn state_at(log: &Log, stream: &str, end: Option<Position>) -> Result<Session, ReadError> {
    told(log, &Told::of(log, stream, end)?)
}

/// The document that these events tell.
///
/// # Errors
///
/// As [`state`].
pub fn told(log: &Log, told: &Told) -> Result<Session, ReadError> {
    let session = match snapshot::newest(log, told)? {
        Some(session) => Some(session),
        None => line::begun(log, told),
    };
    fold(log, told, session.unwrap_or_default())
}

/// [`state_at`] without snapshots, from the first change: what a snapshot must agree with.
///
/// # Errors
///
/// As [`state`].
pub fn folded(log: &Log, stream: &str, end: Option<Position>) -> Result<Session, ReadError> {
    fold(log, &Told::of(log, stream, end)?, Session::default())
}

/// Takes the changes after those that a session has.
fn fold(log: &Log, told: &Told, mut session: Session) -> Result<Session, ReadError> {
    let from = session.last.map_or(0, |last| last.get().saturating_add(1));
    for record in told.read_from(log, &changes(), (from, true)) {
        let record = record?;
        if !is_change(&record) {
            continue;
        }
        let change = change_of(&record);
        session.take(record.position, payload_bytes(&record), change.as_ref());
    }
    Ok(session)
}

impl Session {
    /// Takes the next change; `None` if its content was erased or cannot be read.
    fn take(&mut self, position: Position, bytes: u64, change: Option<&Change>) {
        self.changes = self.changes.saturating_add(1);
        self.last = Some(position);
        self.since.changed(bytes);
        match change {
            Some(Change::Patched(patch)) => self.document.patch(patch),
            // A command checks the path; one that an import gave may lead nowhere.
            Some(Change::Appended(path, items)) => {
                let appended = self.document.append(path, items.clone());
                self.missing = self.missing.saturating_add(appended.is_err().into());
            }
            None => self.missing = self.missing.saturating_add(1),
        }
    }
}

fn payload_bytes(record: &Record) -> u64 {
    record.payload.bytes().map_or(0, <[u8]>::len) as u64
}

/// Items that were appended at a path, `from` on, at most `limit`: a turn of a long session is read
/// without building its document. What a patch put at the path is not seen.
///
/// # Errors
///
/// As [`state`].
pub fn items(
    log: &Log,
    stream: &str,
    path: &str,
    (from, limit): (usize, usize),
) -> Result<Vec<Value>, ReadError> {
    let (mut skip, mut found) = (from, Vec::new());
    let told = Told::of(log, stream, None)?;
    for record in told.read(log, &changes()) {
        let record = record?;
        let Some(Change::Appended(at, items)) = change_of(&record) else {
            continue;
        };
        if at != path {
            continue;
        }
        let len = items.len();
        found.extend(items.into_iter().skip(skip).take(limit - found.len()));
        skip = skip.saturating_sub(len);
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

fn changes() -> Item {
    Item::new()
        .of_type(SessionPatched::TYPE)
        .of_type(SessionAppended::TYPE)
        .of_type(StepCompleted::TYPE)
}

/// Control says which steps change the document, so that an erased one is known to be missing.
fn is_change(record: &Record) -> bool {
    record.header.event_type != StepCompleted::TYPE
        || record.control.get_u64(control::STEP_STRUCTURED) == Some(1)
}

enum Change {
    Patched(Value),
    Appended(String, Vec<Value>),
}

fn change_of(record: &Record) -> Option<Change> {
    if record.header.event_type == SessionPatched::TYPE {
        let patched = record.decode::<SessionPatched>();
        Some(Change::Patched(patched.ok()?.patch))
    } else if record.header.event_type == StepCompleted::TYPE {
        let completed = record.decode::<StepCompleted>();
        let structured = completed.ok()?.output?.structured?;
        Some(Change::Patched(
            serde_json::from_str(structured.get()).ok()?,
        ))
    } else {
        let appended = record.decode::<SessionAppended>().ok()?;
        Some(Change::Appended(appended.path, appended.items))
    }
}
