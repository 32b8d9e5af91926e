//! Copying the tables of a log into another database.

use crate::engine::{Change, Db, NumberTable, RowTable, Snapshot};
use crate::error::StorageError;

/// Bytes copied in one transaction.
const BATCH_BYTES: usize = 16 << 20;
/// Rows fetched at once.
const PAGE: usize = 1024;

/// Copies rows from a snapshot.
pub(super) struct Copier<'a> {
    from: &'a Snapshot,
    to: &'a Db,
    batch: Vec<Change>,
    bytes: usize,
}

impl<'a> Copier<'a> {
    pub(super) fn new(from: &'a Snapshot, to: &'a Db) -> Self {
        Self {
            from,
            to,
            batch: Vec::new(),
            bytes: 0,
        }
    }

    /// A whole table; `progress` is told each key.
    pub(super) fn numbers(
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

    /// The rows of a table whose keys `keep` says yes to.
    pub(super) fn rows(
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
    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        self.to.commit(&self.batch, true)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}
