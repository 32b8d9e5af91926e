//! The changes of a long session, kept in memory.
//!
//! Beside them stands the session itself after some of them. Such points share what did not change from
//! one to the next; each comes after at least as many bytes of changes as it may have of its own, and
//! [`POINT_BYTES`]. So the points take no more than a few times what the changes take.

use super::{Change, Session, change_of, changes, is_change, payload_bytes};
use crate::lines::{self, Line};
use crate::runs::Told;
use runstone_codec::Position;
use runstone_store::{Item, Log, ReadError, Record};

/// Bytes of changes from one point to the next, at least.
const POINT_BYTES: u64 = 8 << 10;
/// How many bytes a value in memory takes for each byte of its JSON, about.
const IN_MEMORY: u64 = 8;

#[derive(Default)]
struct SessionLine {
    changes: Vec<Changed>,
    /// The session after so many of them.
    points: Vec<(usize, Session)>,
    newest: Session,
    /// Bytes of all changes, and those that points have of their own.
    bytes: (u64, u64),
    /// Bytes of the changes since the newest point.
    since: u64,
    /// Bytes that the newest point may have of its own.
    own: u64,
}

struct Changed {
    position: Position,
    bytes: u64,
    change: Option<Change>,
}

impl Line for SessionLine {
    const WITH_PAYLOADS: bool = true;

    fn item() -> Item {
        changes()
    }

    fn take(&mut self, record: &Record) -> Result<(), ReadError> {
        if !is_change(record) {
            return Ok(());
        }
        let changed = Changed {
            position: record.position,
            bytes: payload_bytes(record),
            change: change_of(record),
        };
        self.newest.take_changed(&changed);
        self.bytes.0 = self.bytes.0.saturating_add(changed.bytes);
        self.since = self.since.saturating_add(changed.bytes);
        self.changes.push(changed);
        if self.since >= POINT_BYTES.max(self.own) {
            self.since = 0;
            self.own = self.newest.document.own_bytes();
            self.bytes.1 = self.bytes.1.saturating_add(self.own);
            self.points.push((self.changes.len(), self.newest.clone()));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let (changes, points) = self.bytes;
        // In the changes, in the session, and once more what points copy of the last items.
        let json = changes.saturating_mul(3 * IN_MEMORY);
        let all = usize::try_from(json.saturating_add(points)).unwrap_or(usize::MAX);
        all.saturating_add(self.changes.len().saturating_mul(size_of::<Changed>()))
    }
}

impl SessionLine {
    fn as_of(&self, at: u64) -> Session {
        let count = |changed: &Changed| changed.position.get() <= at;
        let len = self.changes.partition_point(count);
        let points = self.points.partition_point(|(after, _)| *after <= len);
        let point = points.checked_sub(1).and_then(|at| self.points.get(at));
        let (from, mut session) = point.cloned().unwrap_or_default();
        for changed in self.changes.get(from..len).unwrap_or_default() {
            session.take_changed(changed);
        }
        session
    }
}

impl Session {
    fn take_changed(&mut self, changed: &Changed) {
        self.take(changed.position, changed.bytes, changed.change.as_ref());
    }
}

/// The session as the first of these stretches tells it, if that is kept.
pub(super) fn begun(log: &Log, told: &Told) -> Option<Session> {
    let (first, to) = told.begins(log)?;
    let tells = |record: &Record| first.tells(record);
    let as_of = |line: &SessionLine| line.as_of(to.get());
    lines::up_to(log, (&first.stream, to), tells, as_of)
}
