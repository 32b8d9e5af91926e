//! Copying the tables of a log into another database.

use crate::chunk::{Chunk, ChunkBuilder};
use crate::engine::{Change, Db, NumberTable, RowTable, Snapshot};
use crate::error::{Corruption, StorageError};
use runstone_codec::{Entry, Header};

/// Bytes copied in one transaction.
const BATCH_BYTES: usize = 16 << 20;
/// Rows fetched at once.
const PAGE: usize = 1024;

/// Copies rows from a snapshot.
pub(crate) struct Copier<'a> {
    from: &'a Snapshot,
    to: &'a Db,
    batch: Vec<Change>,
    bytes: usize,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(from: &'a Snapshot, to: &'a Db) -> Self {
        Self {
            from,
            to,
            batch: Vec::new(),
            bytes: 0,
        }
    }

    /// A whole table; `progress` is told each key.
    pub(crate) fn numbers(
        &mut self,
        table: NumberTable,
        progress: &dyn Fn(u64),
    ) -> Result<(), StorageError> {
        let mut next = Some(0);
        while let Some(from) = next {
            let Some((key, value)) = self.from.number_at_or_above(table, from)? else {
                break;
            };
            progress(key);
            self.put(Change::PutNumber(table, key, value.bytes().to_vec()))?;
            next = key.checked_add(1);
        }
        Ok(())
    }

    /// The chunks, without the envelopes of events that `purged` says yes to.
    pub(crate) fn chunks_without(
        &mut self,
        purged: &dyn Fn(u64, &Header) -> bool,
        progress: &dyn Fn(u64),
    ) -> Result<(), StorageError> {
        let damaged = |corruption: Corruption| StorageError::Damaged {
            message: corruption.to_string(),
        };
        let mut next = Some(0);
        while let Some(from) = next {
            let found = self.from.number_at_or_above(NumberTable::Chunks, from)?;
            let Some((key, value)) = found else { break };
            let chunk = Chunk::parse(key, value.bytes()).map_err(damaged)?;
            let head = chunk.head().map_err(damaged)?;
            let mut builder = ChunkBuilder::new(key);
            for raw in chunk.events() {
                let raw = raw.map_err(damaged)?;
                let entry = Entry::parse(raw.entry).map_err(|error| {
                    let expected = "a well-formed entry";
                    damaged(Corruption::at(raw.position, expected, error.to_string()))
                })?;
                let envelope = if purged(raw.position, entry.header()) {
                    &[]
                } else {
                    raw.envelope
                };
                builder.push(raw.entry, envelope);
            }
            let bytes = builder.encode(head.as_ref());
            self.put(Change::PutNumber(NumberTable::Chunks, key, bytes))?;
            progress(chunk.end());
            next = key.checked_add(1);
        }
        Ok(())
    }

    /// The rows of a table whose keys `keep` says yes to.
    pub(crate) fn rows(
        &mut self,
        table: RowTable,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let mut from = Vec::new();
        loop {
            let page = self.from.rows_from(table, b"", &from, PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from.clone_from(last);
            from.push(0);
            for (key, value) in page.into_iter().filter(|(key, _)| keep(key)) {
                self.put(Change::PutRow(table, key, value))?;
            }
        }
    }

    fn put(&mut self, change: Change) -> Result<(), StorageError> {
        self.bytes += change.bytes();
        self.batch.push(change);
        if self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes durable what was copied.
    pub(crate) fn flush(&mut self) -> Result<(), StorageError> {
        self.to.commit(&self.batch, true)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}
