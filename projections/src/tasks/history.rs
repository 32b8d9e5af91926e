//! What became of a task, from its creation on.

use super::fold::state_of;
use super::{TaskError, TaskState, Tasks, machine};
use crate::DecodeRecord as _;
use crate::events::control::task as field;
use crate::events::{TaskCreated, TaskMoved};
use crate::seen::is_imported;
use runstone_codec::{Authority, Position, TypedEvent as _};
use runstone_store::{Item, Query, Read, ReadError, Record, Records};

/// A creation or a move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Where it is recorded.
    pub position: Position,
    /// When, Unix microseconds.
    pub at_us: u64,
    /// The state before; `None` for a creation.
    pub from: Option<TaskState>,
    /// The state after.
    pub to: TaskState,
    /// What the move means; `Created` for a creation.
    pub reason: &'static str,
    /// Who moved it; `system` where the log did.
    pub actor: String,
    /// Who stands behind it, and as what: as the log saw it.
    pub principal: String,
    /// As what.
    pub authority: Authority,
    /// The attempt that begins with it, if it says so.
    pub attempt: Option<u64>,
    /// Why the log moved it, as a code: `lease_over`, `released` or `failed`.
    pub why: Option<String>,
    /// What was said about it, if it was not erased.
    pub comment: Option<String>,
}

/// The entries of a task, oldest first, read one after the other.
#[derive(Debug)]
pub struct History {
    records: Option<Records>,
    scope: String,
}

impl Iterator for History {
    type Item = Result<HistoryEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.as_mut()?.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            // In a plain log tasks of several scopes share a digest.
            if record.header.scope == self.scope
                && !is_imported(&record.header)
                && let Some(entry) = entry(&record)
            {
                return Some(Ok(entry));
            }
        }
    }
}

fn entry(record: &Record) -> Option<HistoryEntry> {
    let (control, header) = (&record.control, &record.header);
    let to = state_of(control, field::TO)?;
    let is_move = header.event_type == TaskMoved::TYPE;
    let from = state_of(control, field::FROM).filter(|_| is_move);
    let reason = match from {
        Some(from) => machine::reason(from, to).unwrap_or_default(),
        None => "Created",
    };
    // Any other event is of another type.
    let moved = record.decode::<TaskMoved>().ok();
    let text = |field| control.get_text(field).map(str::to_owned);
    Some(HistoryEntry {
        position: record.position,
        at_us: record.recorded_at_us,
        from,
        to,
        reason,
        actor: text(field::ACTOR).unwrap_or_default(),
        principal: header.principal.to_string(),
        authority: header.authority,
        attempt: control.get_u64(field::ATTEMPT),
        why: text(field::WHY),
        comment: moved.and_then(|moved| moved.comment),
    })
}

impl Tasks {
    /// What became of a task; nothing of one that is not there.
    ///
    /// # Errors
    ///
    /// [`TaskError`] if the log cannot be read.
    pub fn history(&self, id: &str) -> Result<History, TaskError> {
        let Some(id) = self.id_of(id)? else {
            return Ok(History {
                records: None,
                scope: String::new(),
            });
        };
        let item = Item::new()
            .tag(id.tag())
            .of_type(TaskCreated::TYPE)
            .of_type(TaskMoved::TYPE);
        Ok(History {
            records: Some(self.log.read(Read::new(Query::from(item)))?),
            scope: id.scope,
        })
    }
}
