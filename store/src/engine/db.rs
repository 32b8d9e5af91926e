//! The only place that touches redb.
//!
//! Every call goes through [`contained`]: redb panics on some damaged pages, and a panic in it
//! must reach a caller as an error.

use super::disk::Disk;
use crate::error::{ErrorKind, StorageError};
use crate::index::{IndexError, RowRead};
use redb::{
    AccessGuard, Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTableMetadata, StorageBackend, TableDefinition, WriteTransaction,
};
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Numbered = TableDefinition<'static, u64, &'static [u8]>;

const CHUNKS: Numbered = TableDefinition::new("chunks");
const TILES: Numbered = TableDefinition::new("tiles");
const CHECKPOINTS: Numbered = TableDefinition::new("checkpoints");
const INDEX: Rows = TableDefinition::new("index");
const FOLDS: Rows = TableDefinition::new("folds");
const META: Rows = TableDefinition::new("meta");

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a call whose panic will be turned into an error. A panic hook
/// that prints may stay silent then.
pub fn panic_is_contained() -> bool {
    CONTAINED.get()
}

/// Runs `action` and turns a panic into [`StorageError::Panicked`].
pub(crate) fn contained<T>(
    action: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let outer = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(action));
    CONTAINED.set(outer);
    outcome.unwrap_or_else(|panic| {
        Err(StorageError::Panicked {
            message: panic_text(panic.as_ref()),
        })
    })
}

/// What a caught panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned())
}

fn database_error(error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        redb::Error::Corrupted(message) => StorageError::Damaged { message },
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            StorageError::Damaged {
                message: error.to_string(),
            }
        }
        redb::Error::Io(error) => StorageError::io("the log", &error),
        redb::Error::DatabaseClosed => StorageError::Closed,
        error @ (redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::UpgradeRequired(_)
        | redb::Error::LockPoisoned(_)
        | redb::Error::RepairAborted) => StorageError::Damaged {
            message: error.to_string(),
        },
        error => StorageError::Database {
            message: error.to_string(),
        },
    }
}

/// Lets redb use a [`Disk`]; the lock is taken before, by whoever opens.
#[derive(Debug)]
struct Backend(Arc<dyn Disk>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    /// What lies past the end reads as zeros. Damage leads there, and a page of zeros is found to be
    /// damaged; after an error redb would refuse every page that is whole as well.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.read(offset, out) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                out.fill(0);
                Ok(())
            }
            read => read,
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Tables that hold rows under byte keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowTable {
    Index,
    Folds,
    Meta,
}

impl RowTable {
    fn definition(self) -> Rows {
        match self {
            Self::Index => INDEX,
            Self::Folds => FOLDS,
            Self::Meta => META,
        }
    }
}

/// Tables that hold values under numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberTable {
    Chunks,
    Tiles,
    Checkpoints,
}

impl NumberTable {
    fn definition(self) -> Numbered {
        match self {
            Self::Chunks => CHUNKS,
            Self::Tiles => TILES,
            Self::Checkpoints => CHECKPOINTS,
        }
    }
}

/// One change of a transaction.
#[derive(Debug)]
pub(crate) enum Change {
    PutNumber(NumberTable, u64, Vec<u8>),
    DeleteNumber(NumberTable, u64),
    PutRow(RowTable, Vec<u8>, Vec<u8>),
    DeleteRow(RowTable, Vec<u8>),
}

impl Change {
    /// Bytes that the change writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::PutNumber(_, _, value) => value.len() + 8,
            Self::PutRow(_, key, value) => key.len() + value.len(),
            Self::DeleteNumber(..) | Self::DeleteRow(..) => 16,
        }
    }
}

/// Whether the database has panicked. From then on it is let go of without being closed: closing
/// writes what it keeps in memory, and may panic again while it unwinds, which ends the process.
#[derive(Clone, Debug, Default)]
struct Panicked(Arc<AtomicBool>);

impl Panicked {
    /// As [`contained`].
    fn contain<T>(
        &self,
        action: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let outcome = contained(action);
        if matches!(outcome, Err(StorageError::Panicked { .. })) {
            self.0.store(true, Ordering::Release);
        }
        outcome
    }
}

/// An open database.
pub(crate) struct Db {
    /// Empty once it is closed: reads that are under way then fail.
    database: RwLock<Option<Database>>,
    panicked: Panicked,
    disk: Arc<dyn Disk>,
    chunk_events: Arc<AtomicU64>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Db")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database on `disk`, or makes one if the disk is empty. The caller holds the lock.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        cache_bytes: usize,
        progress: &Arc<dyn Fn(f64) + Send + Sync>,
    ) -> Result<Self, StorageError> {
        let backend = Backend(Arc::clone(&disk));
        let progress = Arc::clone(progress);
        let database = contained(|| {
            Builder::new()
                .set_cache_size(cache_bytes)
                .set_repair_callback(move |session| progress(session.progress()))
                .create_with_backend(backend)
                .map_err(database_error)
        })?;
        Ok(Self {
            database: RwLock::new(Some(database)),
            panicked: Panicked::default(),
            disk,
            chunk_events: Arc::default(),
        })
    }

    /// Lets go of the disk, though snapshots may still be held: what they read from now on answers
    /// [`StorageError::Closed`].
    pub(crate) fn close(&self) {
        let database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if self.panicked.0.load(Ordering::Acquire) {
            std::mem::forget(database);
            return;
        }
        // Closing writes the allocator state; an error here leaves a file that is repaired at
        // the next open, which is what a crash leaves too.
        let _ = contained(move || {
            drop(database);
            Ok(())
        });
    }

    fn with_database<T>(
        &self,
        action: impl FnOnce(&Database) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StorageError::Closed)?;
        self.panicked.contain(|| action(database))
    }

    /// A snapshot of every table.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StorageError> {
        let transaction =
            self.with_database(|database| database.begin_read().map_err(database_error))?;
        Ok(Snapshot {
            panicked: self.panicked.clone(),
            transaction,
            chunks: OnceLock::new(),
            tiles: OnceLock::new(),
            index: OnceLock::new(),
            folds: OnceLock::new(),
            chunk_events: Arc::clone(&self.chunk_events),
        })
    }

    /// Applies `changes` as one transaction; durable when `synced`.
    pub(crate) fn commit(&self, changes: &[Change], synced: bool) -> Result<(), StorageError> {
        self.with_database(|database| {
            let mut transaction = database.begin_write().map_err(database_error)?;
            if !synced {
                transaction
                    .set_durability(Durability::None)
                    .map_err(database_error)?;
            }
            apply(&transaction, changes)?;
            transaction.commit().map_err(database_error)
        })
    }

    /// Makes every table exist, so that a snapshot never meets a missing one.
    pub(crate) fn create_tables(&self, changes: &[Change]) -> Result<(), StorageError> {
        self.with_database(|database| {
            let transaction = database.begin_write().map_err(database_error)?;
            for table in [
                NumberTable::Chunks,
                NumberTable::Tiles,
                NumberTable::Checkpoints,
            ] {
                transaction
                    .open_table(table.definition())
                    .map_err(database_error)?;
            }
            for table in [RowTable::Index, RowTable::Folds, RowTable::Meta] {
                transaction
                    .open_table(table.definition())
                    .map_err(database_error)?;
            }
            apply(&transaction, changes)?;
            transaction.commit().map_err(database_error)
        })
    }

    /// Whether every page that is in use has its checksum. Nobody may hold a snapshot. It reads
    /// the whole file.
    pub(crate) fn is_sound(&mut self) -> Result<bool, StorageError> {
        let database = self
            .database
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let database = database.as_mut().ok_or(StorageError::Closed)?;
        let outcome = self
            .panicked
            .contain(|| database.check_integrity().map_err(database_error));
        match outcome {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            outcome => outcome,
        }
    }

    /// Its pages are damaged: it is never closed, which could end the process.
    pub(crate) fn distrust(&self) {
        self.panicked.0.store(true, Ordering::Release);
    }

    /// Gives freed pages back to the file system. Nobody may hold a snapshot.
    pub(crate) fn compact(&mut self) -> Result<bool, StorageError> {
        let database = self
            .database
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let database = database.as_mut().ok_or(StorageError::Closed)?;
        self.panicked
            .contain(|| database.compact().map_err(database_error))
    }

    /// Length of the database file in bytes.
    pub(crate) fn file_bytes(&self) -> Result<u64, StorageError> {
        self.disk
            .len()
            .map_err(|error| StorageError::io("the log", &error))
    }

    /// Bytes left on the medium, if it says so.
    pub(crate) fn available(&self) -> Result<Option<u64>, StorageError> {
        self.disk
            .available()
            .map_err(|error| StorageError::io("the log", &error))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

fn apply(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StorageError> {
    for table in [
        NumberTable::Chunks,
        NumberTable::Tiles,
        NumberTable::Checkpoints,
    ] {
        apply_numbers(transaction, table, changes)?;
    }
    for table in [RowTable::Index, RowTable::Folds, RowTable::Meta] {
        apply_rows(transaction, table, changes)?;
    }
    Ok(())
}

fn apply_numbers(
    transaction: &WriteTransaction,
    table: NumberTable,
    changes: &[Change],
) -> Result<(), StorageError> {
    let mut open = None;
    for change in changes {
        let (key, value) = match change {
            Change::PutNumber(of, key, value) if *of == table => (*key, Some(value)),
            Change::DeleteNumber(of, key) if *of == table => (*key, None),
            _ => continue,
        };
        let mut rows = match open.take() {
            Some(rows) => rows,
            None => transaction
                .open_table(table.definition())
                .map_err(database_error)?,
        };
        match value {
            Some(value) => {
                rows.insert(key, value.as_slice()).map_err(database_error)?;
            }
            None => {
                rows.remove(key).map_err(database_error)?;
            }
        }
        open = Some(rows);
    }
    Ok(())
}

fn apply_rows(
    transaction: &WriteTransaction,
    table: RowTable,
    changes: &[Change],
) -> Result<(), StorageError> {
    let mut open = None;
    for change in changes {
        let (key, value) = match change {
            Change::PutRow(of, key, value) if *of == table => (key, Some(value)),
            Change::DeleteRow(of, key) if *of == table => (key, None),
            _ => continue,
        };
        let mut rows = match open.take() {
            Some(rows) => rows,
            None => transaction
                .open_table(table.definition())
                .map_err(database_error)?,
        };
        match value {
            Some(value) => {
                rows.insert(key.as_slice(), value.as_slice())
                    .map_err(database_error)?;
            }
            None => {
                rows.remove(key.as_slice()).map_err(database_error)?;
            }
        }
        open = Some(rows);
    }
    Ok(())
}

/// Refuses keys out of their order: the database does not look, and what a damaged page leads back
/// to would be walked for ever.
fn in_order(holds: bool) -> Result<(), StorageError> {
    if holds {
        return Ok(());
    }
    Err(StorageError::Damaged {
        message: "the keys of a table are not in order".to_owned(),
    })
}

/// A value that lives in the database's page cache.
pub(crate) struct Value(AccessGuard<'static, &'static [u8]>);

impl Value {
    /// The bytes are looked at once here, where a panic is contained.
    fn new(guard: AccessGuard<'static, &'static [u8]>) -> Self {
        let _ = guard.value();
        Self(guard)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.value()
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Value({} bytes)", self.bytes().len())
    }
}

/// A row as key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Told each key and value; says when to stop.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A consistent view of the database.
pub(crate) struct Snapshot {
    panicked: Panicked,
    transaction: ReadTransaction,
    chunks: OnceLock<ReadOnlyTable<u64, &'static [u8]>>,
    tiles: OnceLock<ReadOnlyTable<u64, &'static [u8]>>,
    index: OnceLock<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    folds: OnceLock<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    /// Of all snapshots of the database.
    chunk_events: Arc<AtomicU64>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    fn numbers<T>(
        &self,
        table: NumberTable,
        action: impl FnOnce(&ReadOnlyTable<u64, &'static [u8]>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let open = || {
            self.panicked.contain(|| {
                self.transaction
                    .open_table(table.definition())
                    .map_err(database_error)
            })
        };
        let cell = match table {
            NumberTable::Chunks => &self.chunks,
            NumberTable::Tiles => &self.tiles,
            NumberTable::Checkpoints => {
                let rows = open()?;
                return self.panicked.contain(|| action(&rows));
            }
        };
        let rows = if let Some(rows) = cell.get() {
            rows
        } else {
            let rows = open()?;
            cell.get_or_init(|| rows)
        };
        self.panicked.contain(|| action(rows))
    }

    fn rows<T>(
        &self,
        table: RowTable,
        action: impl FnOnce(&ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let open = || {
            self.panicked.contain(|| {
                self.transaction
                    .open_table(table.definition())
                    .map_err(database_error)
            })
        };
        let cell = match table {
            RowTable::Index => &self.index,
            RowTable::Folds => &self.folds,
            RowTable::Meta => {
                let rows = open()?;
                return self.panicked.contain(|| action(&rows));
            }
        };
        let rows = if let Some(rows) = cell.get() {
            rows
        } else {
            let rows = open()?;
            cell.get_or_init(|| rows)
        };
        self.panicked.contain(|| action(rows))
    }

    /// The value under exactly `key`.
    pub(crate) fn number(
        &self,
        table: NumberTable,
        key: u64,
    ) -> Result<Option<Value>, StorageError> {
        self.numbers(table, |rows| {
            Ok(rows.get(key).map_err(database_error)?.map(Value::new))
        })
    }

    /// The last value at or below `key`.
    pub(crate) fn number_at_or_below(
        &self,
        table: NumberTable,
        key: u64,
    ) -> Result<Option<(u64, Value)>, StorageError> {
        self.numbers(table, |rows| {
            let mut range = rows.range(..=key).map_err(database_error)?;
            match range.next_back() {
                None => Ok(None),
                Some(row) => {
                    let (found, value) = row.map_err(database_error)?;
                    in_order(found.value() <= key)?;
                    Ok(Some((found.value(), Value::new(value))))
                }
            }
        })
    }

    /// The first value at or above `key`.
    pub(crate) fn number_at_or_above(
        &self,
        table: NumberTable,
        key: u64,
    ) -> Result<Option<(u64, Value)>, StorageError> {
        self.numbers(table, |rows| {
            let mut range = rows.range(key..).map_err(database_error)?;
            match range.next() {
                None => Ok(None),
                Some(row) => {
                    let (found, value) = row.map_err(database_error)?;
                    in_order(found.value() >= key)?;
                    Ok(Some((found.value(), Value::new(value))))
                }
            }
        })
    }

    /// Events of the chunk that was read last: a guess at the next one.
    pub(crate) fn chunk_events(&self) -> u64 {
        self.chunk_events.load(Ordering::Relaxed)
    }

    pub(crate) fn note_chunk_events(&self, events: u64) {
        self.chunk_events.store(events, Ordering::Relaxed);
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: NumberTable) -> Result<u64, StorageError> {
        self.numbers(table, |rows| rows.len().map_err(database_error))
    }

    /// The row under exactly `key`.
    pub(crate) fn row(&self, table: RowTable, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.rows(table, |rows| {
            Ok(rows
                .get(key)
                .map_err(database_error)?
                .map(|value| value.value().to_vec()))
        })
    }

    /// Up to `limit` rows whose keys are at or above `from` and begin with `prefix`.
    pub(crate) fn rows_from(
        &self,
        table: RowTable,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.rows(table, |rows| {
            let mut found: Vec<Row> = Vec::new();
            for row in rows.range(from..).map_err(database_error)? {
                let (key, value) = row.map_err(database_error)?;
                if !key.value().starts_with(prefix) || found.len() == limit {
                    break;
                }
                let follows = match found.last() {
                    Some((last, _)) => last.as_slice() < key.value(),
                    None => from <= key.value(),
                };
                in_order(follows)?;
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    /// Visits rows from `from` (inclusive) to `to` (exclusive) in key order until told to stop.
    pub(crate) fn each_row(
        &self,
        table: RowTable,
        from: &[u8],
        to: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.rows(table, |rows| {
            let mut last: Option<Vec<u8>> = None;
            for row in rows.range(from..to).map_err(database_error)? {
                let (key, value) = row.map_err(database_error)?;
                let key = key.value();
                in_order(match &last {
                    Some(last) => last.as_slice() < key,
                    None => from <= key,
                })?;
                if visit(key, value.value()).is_break() {
                    break;
                }
                last = Some(key.to_vec());
            }
            Ok(())
        })
    }

    /// Names of the tables.
    pub(crate) fn table_names(&self) -> Result<Vec<String>, StorageError> {
        self.panicked.contain(|| {
            use redb::TableHandle;
            Ok(self
                .transaction
                .list_tables()
                .map_err(database_error)?
                .map(|table| table.name().to_owned())
                .collect())
        })
    }
}

impl RowRead for Snapshot {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(Self::row(self, RowTable::Index, key)?)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        Ok(self.each_row(RowTable::Index, from, to, visit)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::MemoryDisk;
    use super::*;

    #[test]
    fn what_lies_past_the_end_reads_as_zeros() -> io::Result<()> {
        let backend = Backend(Arc::new(MemoryDisk::with_bytes(vec![7; 8])));
        for offset in [4, 8, u64::MAX] {
            let mut page = [1; 8];
            backend.read(offset, &mut page)?;
            assert_eq!(page, [0; 8], "{offset}");
        }
        let mut page = [1; 8];
        backend.read(0, &mut page)?;
        assert_eq!(page, [7; 8]);
        Ok(())
    }
}
