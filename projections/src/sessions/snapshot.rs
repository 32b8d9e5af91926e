//! Snapshots of long sessions.
//!
//! They are events of their run, so their content is sealed under its scope and goes with it. A
//! session below [`SNAPSHOT_BYTES`] has none. Above it one is due after as many bytes of changes as
//! the document had, which keeps what snapshots take in proportion to what changes take, or after
//! [`SNAPSHOT_CHANGES`] changes.

use super::{Document, Session, state};
use crate::DecodeRecord as _;
use crate::command::{Waiting, at_once};
use crate::events::{SessionSnapshotted, control};
use crate::runs::{self, RunError, RunHeld, Told};
use crate::seen::is_imported;
use runstone_codec::{Draft, NewEvent, Position, TypedEvent};
use runstone_store::{Item, Log, ReadError, Record};

/// Bytes of changes below which there is no snapshot.
pub const SNAPSHOT_BYTES: u64 = 1 << 20;
/// Changes after which a session above [`SNAPSHOT_BYTES`] is snapshotted, however small they are.
pub const SNAPSHOT_CHANGES: u64 = 16_384;

/// What was changed since the last snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Since {
    bytes: u64,
    changes: u64,
    /// Bytes of the last snapshot; 0 if there was none.
    last_bytes: u64,
}

impl Since {
    /// Nothing was changed since the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a change of so many bytes; whether a snapshot is due.
    pub fn changed(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.changes = self.changes.saturating_add(1);
        let is_long = self.bytes.max(self.last_bytes) >= SNAPSHOT_BYTES;
        let is_much = self.bytes >= self.last_bytes.max(SNAPSHOT_BYTES);
        is_much || (is_long && self.changes >= SNAPSHOT_CHANGES)
    }

    /// A snapshot of so many bytes was taken, or tried.
    pub fn taken(&mut self, bytes: u64) {
        *self = Self {
            last_bytes: bytes,
            ..Self::default()
        };
    }
}

/// Records the session of a run as the log has it, for who reads it later; answers how many bytes its
/// document has. Nothing is recorded if it was never changed.
///
/// # Errors
///
/// [`RunError::Stale`] if somebody else holds the run meanwhile; [`RunError::Read`] if the stream
/// cannot be read; [`RunError::Event`] if the document cannot be the content of an event.
///
/// # Cancel safety
///
/// Dropped after its first poll, it may be recorded, and changes nothing.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn snapshot(log: &Log, held: &RunHeld) -> Result<Option<u64>, RunError> {
    runs::snapshot(log, held, Waiting::Async).await
}

/// [`snapshot`] for callers without a runtime.
///
/// # Errors
///
/// As [`snapshot`].
pub fn snapshot_blocking(log: &Log, held: &RunHeld) -> Result<Option<u64>, RunError> {
    at_once(runs::snapshot(log, held, Waiting::Blocking))
}

/// The event that tells the session as the log has it; `None` if nothing was ever changed.
pub(crate) fn drafted(log: &Log, stream: &str) -> Result<Option<Draft>, RunError> {
    let session = state(log, stream)?;
    let Some(last) = session.last else {
        return Ok(None);
    };
    let control = SessionSnapshotted::control(last.get(), session.changes, session.missing);
    let taken = SessionSnapshotted {
        document: session.document.to_value(),
    };
    let event = NewEvent::typed(&taken, stream)?;
    Ok(Some(Draft::new(event).control(control)))
}

/// The session as the newest snapshot has it that tells of a run. One that was imported tells of
/// another log, one of a change that was rolled back before it was recorded of nothing that is, and
/// one that cannot be read is passed over: the changes are all there.
pub(super) fn newest(log: &Log, told: &Told) -> Result<Option<Session>, ReadError> {
    let item = Item::new().of_type(SessionSnapshotted::TYPE);
    for record in told.newest(log, &item) {
        let record = record?;
        let last = record.control.get_u64(control::SNAPSHOT_LAST);
        if !is_imported(&record.header) && last.is_some_and(|last| told.has(last)) {
            return Ok(session_of(&log.record(record.position)?));
        }
    }
    Ok(None)
}

fn session_of(record: &Record) -> Option<Session> {
    let taken = record.decode::<SessionSnapshotted>();
    let mut since = Since::new();
    since.taken(record.payload.bytes()?.len() as u64);
    let number = |field| record.control.get_u64(field);
    let last = number(control::SNAPSHOT_LAST).filter(|last| *last < record.position.get())?;
    Some(Session {
        document: Document::kept(taken.ok()?.document),
        changes: number(control::SNAPSHOT_CHANGES)?,
        missing: number(control::SNAPSHOT_MISSING)?,
        last: Some(Position::new(last)),
        since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_bytes_or_by_changes_and_never_below_a_megabyte() {
        let mut since = Since::new();
        for _ in 0..2 * SNAPSHOT_CHANGES {
            assert!(!since.changed(1));
        }
        assert!(since.changed(SNAPSHOT_BYTES));
        // A document of 3 MiB: the next one after as many bytes.
        since.taken(3 * SNAPSHOT_BYTES);
        assert!(!since.changed(2 * SNAPSHOT_BYTES));
        assert!(since.changed(SNAPSHOT_BYTES));
        // Or after many small changes.
        since.taken(3 * SNAPSHOT_BYTES);
        assert!((1..SNAPSHOT_CHANGES).all(|_| !since.changed(1)));
        assert!(since.changed(1));
    }
}
