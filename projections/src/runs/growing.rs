//! A run that is folded event by event.

use super::fold::{FOLD, stream_key, take};
use super::summary::RunSummary;
use crate::MemoryRows;
use crate::lease::Moment;
use crate::rows;
use crate::seen::Seen;
use crate::view;
use runstone_store::{Log, ReadError, Record};

/// What a run did and used, as it grows: what [`as_of`](super::as_of) answers after each event, for
/// somebody who goes through them one by one from the beginning.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    rows: MemoryRows,
    last: Option<(String, runstone_codec::Position)>,
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
        self.last = Some((record.header.stream.clone(), record.position));
        Ok(())
    }

    /// The run after the event that was taken last; `None` before the first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn summary(&self, log: &Log) -> Result<Option<RunSummary>, ReadError> {
        let Some((stream, at)) = &self.last else {
            return Ok(None);
        };
        let Some(row) = self.rows.get(&stream_key(stream)) else {
            return Ok(None);
        };
        let row = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
        let moment = Moment::at(log, *at)?;
        Ok(Some(RunSummary::of(stream.clone(), row, &moment)))
    }
}
