//! A run that is folded event by event.

use super::fold::{FOLD, stream_key, take};
use super::summary::RunSummary;
use crate::MemoryRows;
use crate::lease::Moment;
use crate::rows;
use crate::seen::Seen;
use crate::view;
use runstone_codec::Position;
use runstone_store::{Log, ReadError, Record};

/// What a run did and used, as it grows: what [`as_of`](super::as_of) answers after each event, for
/// somebody who goes through them one by one from the beginning.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    rows: MemoryRows,
    last: Option<Last>,
}

/// The event that was taken last.
#[derive(Debug, Clone)]
struct Last {
    stream: String,
    position: Position,
    recorded_at_us: u64,
}

impl Growing {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event of the stream.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if its control does not fit.
    pub fn take(&mut self, record: &Record) -> Result<(), ReadError> {
        take(&mut self.rows, &Seen::from(record)).map_err(|error| view::failed(FOLD, error))?;
        self.last = Some(Last {
            stream: record.header.stream.to_string(),
            position: record.position,
            recorded_at_us: record.recorded_at_us,
        });
        Ok(())
    }

    /// The newest position that it has taken.
    pub fn position(&self) -> Option<Position> {
        self.last.as_ref().map(|last| last.position)
    }

    /// The run after the event that was taken last; `None` before the first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn summary(&self, log: &Log) -> Result<Option<RunSummary>, ReadError> {
        let Some(last) = &self.last else {
            return Ok(None);
        };
        self.looked_at(&Moment::at(log, last.position)?)
    }

    /// The run as it stood when the event happened that was taken last: the same, unless that is the
    /// newest of its log, and without reading it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the fold's own row cannot be read.
    pub fn summary_then(&self) -> Result<Option<RunSummary>, ReadError> {
        let Some(last) = &self.last else {
            return Ok(None);
        };
        self.looked_at(&Moment::Then(last.recorded_at_us))
    }

    fn looked_at(&self, moment: &Moment) -> Result<Option<RunSummary>, ReadError> {
        let Some(Last { stream, .. }) = &self.last else {
            return Ok(None);
        };
        let Some(row) = self.rows.get(&stream_key(stream)) else {
            return Ok(None);
        };
        let row = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
        Ok(Some(RunSummary::of(stream.clone(), row, moment)))
    }
}
