//! Points of a run.

use runstone_codec::Position;
use runstone_store::{Log, Query, Read, ReadError};

/// A point of a run: what stands up to it counts, and it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// Its newest event.
    Newest,
    /// A position of the log.
    Position(Position),
    /// An event of its stream, from 0.
    Revision(u64),
    /// The last event of its stream that was recorded by then, Unix microseconds.
    Time(u64),
}

impl Point {
    /// The position that is meant; `None` if the stream has no event by then.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] for a position that the log has not, or a revision that the stream has
    /// not.
    pub fn find(self, log: &Log, stream: &str) -> Result<Option<Position>, ReadError> {
        let mut newest = Read::new(Query::stream(stream)).reverse().limit(1);
        match self {
            Self::Position(at) => {
                let size = log.size();
                if at.get() >= size {
                    let what = format!("at position {at}; the log has {size}");
                    return Err(ReadError::NotFound { what });
                }
                return Ok(Some(at));
            }
            Self::Revision(revision) => {
                return Ok(Some(log.record_by_revision(stream, revision)?.position));
            }
            Self::Time(until_us) => newest.until_us = Some(until_us),
            Self::Newest => {}
        }
        let newest = log.read(newest.without_payloads())?.next().transpose()?;
        Ok(newest.map(|record| record.position))
    }
}
