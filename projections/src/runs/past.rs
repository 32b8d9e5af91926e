//! Runs as they stood at a point.
//!
//! ```text
//!  rows: the run after every 64th event of its stream   'p' stream 00 back(position)
//!        what a call or a step replaced since such a one  'h' 'u' stream 00 digest(16) back(count)
//!
//!  as of P:  newest row up to P  -->  events of the stream after it, up to P
//! ```
//!
//! So a run is read at any point by folding at most 64 of its events, however long it is. `back` is a
//! number in eight bytes, counted down from the largest, so that the newest one up to a point is the
//! first row from there.

use super::fold::{
    CALL_ROW, FOLD, OLD_CALL_ROW, OLD_STEP_ROW, POINT_ROW, STEP_ROW, key_in, stream_key, take,
};
use super::summary::RunSummary;
use crate::MemoryRows;
use crate::lease::Moment;
use crate::rows::{self, Dated, RunRow, StepRow, UsageRow, back};
use crate::seen::Seen;
use crate::view;
use runstone_codec::Position;
use runstone_store::{FoldError, Log, Query, Read, ReadError, Rows};

/// Events of a stream from one stored point to the next.
pub(super) const EVERY: u64 = 64;

/// Whether a stored point needs to know what stood in a row from one event of its stream to another.
pub(super) fn is_needed(from: u64, until: u64) -> bool {
    until.saturating_sub(1) / EVERY > from.saturating_sub(1) / EVERY
}

/// The run of a stream as it stood after a position; `None` if nothing was recorded in it by then. It
/// folds the events of the stream since the last stored point, in memory. Whether somebody held it then
/// is told by the times of its leases alone.
///
/// # Errors
///
/// [`ReadError`] if the stream cannot be read.
pub fn as_of(log: &Log, stream: &str, at: Position) -> Result<Option<RunSummary>, ReadError> {
    let key = stream_key(stream);
    let mut past = Past::of(log, stream, at)?;
    let mut read = Read::new(Query::stream(stream)).to(at).without_payloads();
    if let Some(known) = past.rows.get(&key) {
        let known: RunRow = rows::decode(known).map_err(|error| view::failed(FOLD, error))?;
        read = read.from(known.last.saturating_add(1));
    }
    for record in log.read(read)? {
        let record = record?;
        take(&mut past, &Seen::from(&record)).map_err(|error| view::failed(FOLD, error))?;
    }
    let Some(row) = past.rows.get(&key) else {
        return Ok(None);
    };
    let row = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
    let moment = Moment::at(log, at)?;
    Ok(Some(RunSummary::of(stream.to_owned(), row, &moment)))
}

/// Rows as they stood at a stored point, and what is folded on from there.
struct Past<'a> {
    log: &'a Log,
    /// Events that the stream had at that point.
    events: u64,
    rows: MemoryRows,
}

impl<'a> Past<'a> {
    fn of(log: &'a Log, stream: &str, at: Position) -> Result<Self, ReadError> {
        let mut past = Self {
            log,
            events: 0,
            rows: MemoryRows::new(),
        };
        // A log that was opened without the fold has its events all the same.
        if !view::is_folded(log, FOLD, at)? {
            return Ok(past);
        }
        let prefix = key_in(POINT_ROW, stream, &[]);
        let from = [prefix.as_slice(), &back(at.get())].concat();
        if let Some((_, row)) = log.fold_rows(FOLD, &prefix, &from, 1)?.into_iter().next() {
            let known: RunRow = rows::decode(&row).map_err(|error| view::failed(FOLD, error))?;
            past.events = known.events;
            past.rows.put(&stream_key(stream), row);
        }
        Ok(past)
    }

    /// A row of a call or a step as it stood there.
    fn stood<T: bincode::Decode<()>>(
        &self,
        key: &[u8],
        old: u8,
    ) -> Result<Option<Vec<u8>>, FoldError> {
        let failed = |error: ReadError| FoldError::Row(error.to_string());
        let Some(row) = self.log.fold_row(FOLD, key).map_err(failed)? else {
            return Ok(None);
        };
        if rows::decode::<Dated<T>>(&row)?.event <= self.events {
            return Ok(Some(row));
        }
        let prefix = [&[old], key.get(1..).unwrap_or_default()].concat();
        let from = [prefix.as_slice(), &back(self.events)].concat();
        let found = self
            .log
            .fold_rows(FOLD, &prefix, &from, 1)
            .map_err(failed)?;
        Ok(found.into_iter().next().map(|(_, row)| row))
    }
}

impl Rows for Past<'_> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
        if let Some(row) = self.rows.get(key) {
            return Ok(Some(row.to_vec()));
        }
        match key.first() {
            _ if self.events == 0 => Ok(None),
            Some(&CALL_ROW) => self.stood::<UsageRow>(key, OLD_CALL_ROW),
            Some(&STEP_ROW) => self.stood::<StepRow>(key, OLD_STEP_ROW),
            _ => Ok(None),
        }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.rows.put(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }
}
