//! How tasks stood at a point.

use super::Task;
use super::fold::{FOLD, TASK_ROW, take};
use super::list::id_in;
use crate::MemoryRows;
use crate::lease::Moment;
use crate::rows::{self, TaskRow};
use crate::seen::Seen;
use crate::view;
use runstone_codec::Position;
use runstone_store::{Item, Log, Query, Read, ReadError};

/// Tasks that were created in a stream, as they stood there after a position, in the order of their
/// creation. All events of a task stand in the stream of its creation, so no others are read. One that
/// ended, and was created anew in another stream, is here as it ended. Whether somebody held one then
/// is told by the times of the leases alone.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn of_stream(log: &Log, stream: &str, at: Position) -> Result<Vec<Task>, ReadError> {
    let events = Item::new().stream(stream).of_type("task.*");
    let mut rows = MemoryRows::new();
    for record in log.read(Read::new(Query::from(events)).to(at).without_payloads())? {
        take(&mut rows, &Seen::from(&record?)).map_err(|error| view::failed(FOLD, error))?;
    }
    let moment = Moment::at(log, at)?;
    let is_task = |(key, _): &(&[u8], &[u8])| key.first() == Some(&TASK_ROW);
    let mut tasks = Vec::new();
    for (key, row) in rows.iter().filter(is_task) {
        let id = id_in(key.get(1..).unwrap_or_default())?;
        let row: TaskRow = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
        tasks.push(Task::of(id, &row, &moment));
    }
    tasks.sort_by_key(|task| task.created);
    Ok(tasks)
}
