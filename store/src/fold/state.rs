//! Rows of one fold: a write-back cache over the database.

use super::rows::{RowSeal, cursor_key, encode_cursor, row_key};
use super::{Fold, FoldError, FoldRecord, FoldRow, Payload, RowValue, Rows, TypedRow};
use crate::engine::{Change, Db, RowTable, Snapshot, panic_text};
use crate::error::StorageError;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Clean rows kept in memory for each fold.
const CACHED_ROWS: usize = 65_536;
/// Typed rows in memory after which all are encoded: they take several times the memory.
const TYPED_ROWS: usize = 4096;
/// Rows fetched at once when a fold is listed: few first, because often only the first is wanted.
const FIRST_PAGE: usize = 4;
/// The most.
const PAGE: usize = 1024;

/// The database as it was when the rows in memory were flushed last, or later.
#[derive(Debug)]
pub(crate) enum Look<'a> {
    /// As somebody looks at it already.
    At(&'a Snapshot),
    /// As it is when it is looked into first.
    First(&'a Db, OnceCell<Box<Snapshot>>),
    /// There is none: rows lie in memory alone.
    Nowhere,
}

impl<'a> Look<'a> {
    pub(crate) fn first(db: &'a Db) -> Self {
        Self::First(db, OnceCell::new())
    }

    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let (db, opened) = match self {
            Self::At(snapshot) => return snapshot.row(RowTable::Folds, key),
            Self::First(db, opened) => (db, opened),
            Self::Nowhere => {
                let message = "a detached fold has no snapshot".to_owned();
                return Err(StorageError::Database { message });
            }
        };
        if let Some(snapshot) = opened.get() {
            return snapshot.row(RowTable::Folds, key);
        }
        let snapshot = Box::new(db.snapshot()?);
        let snapshot = opened.get_or_init(|| snapshot);
        snapshot.row(RowTable::Folds, key)
    }
}

/// A row as it is now; `None` if it was removed.
type Slot = Option<RowValue>;

/// A row in memory.
#[derive(Debug)]
struct Cached {
    slot: Slot,
    /// It is not in the database as it is here; its key is among those to be written.
    dirty: bool,
}

/// One fold and its rows.
#[derive(Debug)]
pub(crate) struct FoldState {
    pub(crate) fold: Arc<dyn Fold>,
    namespaces: Option<&'static [&'static str]>,
    /// Positions below this are in the rows.
    pub(crate) applied: u64,
    /// Positions below this are in the database.
    pub(crate) flushed: u64,
    pub(crate) stopped: Option<(u64, String)>,
    /// It stopped because a key could not be had: why.
    pub(crate) keys_away: Option<String>,
    cache: BTreeMap<Vec<u8>, Cached>,
    /// Keys of dirty rows, each once, in the order in which they became so.
    dirty: Vec<Vec<u8>>,
    /// Keys of typed rows, each at least once.
    typed: Vec<Vec<u8>>,
    /// A row of it has no bytes, so that none is written any more.
    pub(crate) is_unwritable: bool,
    /// Rows lie only in `cache`; the database is not asked.
    detached: bool,
}

impl FoldState {
    pub(crate) fn stored(fold: Arc<dyn Fold>, flushed: u64) -> Self {
        Self {
            namespaces: fold.namespaces(),
            fold,
            applied: flushed,
            flushed,
            stopped: None,
            keys_away: None,
            cache: BTreeMap::new(),
            dirty: Vec::new(),
            typed: Vec::new(),
            is_unwritable: false,
            detached: false,
        }
    }

    /// A fold that starts empty and does not look into the database.
    pub(crate) fn detached(fold: Arc<dyn Fold>) -> Self {
        Self::stored(fold, 0).without_rows()
    }

    /// The database has no rows of it: until some are flushed it is not asked.
    pub(crate) fn without_rows(mut self) -> Self {
        self.detached = true;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.fold.name()
    }

    pub(crate) fn dirty_rows(&self) -> usize {
        self.dirty.len()
    }

    /// Takes one event of a namespace in; an error or panic stops the fold here, and so does content whose key
    /// cannot be had: whatever the fold made of that, it is not what the event says.
    pub(crate) fn apply(
        &mut self,
        seal: &RowSeal,
        look: &Look<'_>,
        namespace: &str,
        record: &FoldRecord<'_>,
    ) {
        let position = record.position.get();
        if self.stopped.is_some() || position != self.applied {
            return;
        }
        if self.is_given(namespace) {
            self.take(seal, look, record);
        } else {
            self.applied = position + 1;
        }
    }

    /// Takes in an event that it is given; by itself, because most pass by.
    #[inline(never)]
    fn take(&mut self, seal: &RowSeal, look: &Look<'_>, record: &FoldRecord<'_>) {
        let position = record.position.get();
        let state = &*self;
        let mut rows = Overlay {
            state,
            seal,
            look,
            changes: BTreeMap::new(),
        };
        let away = OnceCell::new();
        let open = || {
            let payload = record.payload();
            if let Payload::Unavailable(why) = &payload {
                away.get_or_init(|| why.clone());
            }
            payload
        };
        let watched = FoldRecord {
            open: &open,
            ..*record
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| state.fold.apply(&mut rows, &watched)));
        let changes = rows.changes;
        if let Some(why) = away.into_inner() {
            self.stopped = Some((position, FoldError::Unavailable(why.clone()).to_string()));
            self.keys_away = Some(why);
            return;
        }
        match outcome {
            Ok(Ok(())) => {
                for (key, slot) in changes {
                    self.set(key, slot);
                }
                self.applied = position + 1;
                if self.typed.len() >= TYPED_ROWS {
                    self.encode_rows();
                }
            }
            Ok(Err(error)) => self.stopped = Some((position, error.to_string())),
            Err(panic) => {
                let why = panic_text(panic.as_ref());
                self.stopped = Some((position, FoldError::Panicked(why).to_string()));
            }
        }
    }

    /// Whether it is given events of a namespace.
    fn is_given(&self, namespace: &str) -> bool {
        self.namespaces
            .is_none_or(|given| given.contains(&namespace))
    }

    /// Encodes every row. One that has no bytes stops the fold before the next event.
    fn encode_rows(&mut self) {
        while let Some(key) = self.typed.pop() {
            let Some(cached) = self.cache.get_mut(&key) else {
                continue;
            };
            let Some(RowValue::Typed(_)) = &cached.slot else {
                continue;
            };
            let bytes = cached.slot.as_ref().map(RowValue::bytes).transpose();
            match bytes.map(|bytes| bytes.map(|bytes| RowValue::Bytes(bytes.into_owned()))) {
                Ok(bytes) => cached.slot = bytes,
                Err(error) => {
                    let stopped = || (self.applied, error.to_string());
                    self.stopped.get_or_insert_with(stopped);
                    self.is_unwritable = true;
                    return;
                }
            }
        }
    }

    fn set(&mut self, key: Vec<u8>, slot: Slot) {
        let is_typed = |slot: &Slot| matches!(slot, Some(RowValue::Typed(_)));
        let becomes_typed = is_typed(&slot);
        if let Some(cached) = self.cache.get_mut(&key) {
            if becomes_typed && !is_typed(&cached.slot) {
                self.typed.push(key.clone());
            }
            cached.slot = slot;
            if !std::mem::replace(&mut cached.dirty, true) {
                self.dirty.push(key);
            }
            return;
        }
        if becomes_typed {
            self.typed.push(key.clone());
        }
        self.dirty.push(key.clone());
        self.cache.insert(key, Cached { slot, dirty: true });
    }

    /// The row under a key as it was put.
    pub(crate) fn value(
        &self,
        seal: &RowSeal,
        look: &Look<'_>,
        key: &[u8],
    ) -> Result<Option<RowValue>, FoldError> {
        if let Some(cached) = self.cache.get(key) {
            return Ok(cached.slot.clone());
        }
        if self.detached {
            return Ok(None);
        }
        let stored_key = row_key(self.name(), key);
        let sealed = look.row(&stored_key);
        sealed
            .map_err(|error| FoldError::Row(error.to_string()))?
            .map(|sealed| seal.open(&stored_key, &sealed).map(RowValue::Bytes))
            .transpose()
    }

    /// Changes that bring the database to `applied`; none if the fold has a row without bytes.
    pub(crate) fn flush(&mut self, seal: &RowSeal) -> Result<Vec<Change>, StorageError> {
        self.encode_rows();
        if self.is_unwritable {
            return Ok(Vec::new());
        }
        let mut dirty: Vec<_> = self.dirty.iter().collect();
        dirty.sort_unstable();
        let mut rows: Vec<(Vec<u8>, Option<&[u8]>)> = Vec::with_capacity(dirty.len() + 1);
        for key in dirty {
            let value = match self.cache.get(key).and_then(|cached| cached.slot.as_ref()) {
                Some(RowValue::Bytes(bytes)) => Some(bytes.as_slice()),
                Some(RowValue::Typed(_)) => {
                    let message = "a row of a fold was not encoded".to_owned();
                    return Err(StorageError::Database { message });
                }
                None => None,
            };
            rows.push((row_key(self.name(), key), value));
        }
        let cursor = encode_cursor(self.fold.version(), self.applied);
        rows.push((cursor_key(self.name()), Some(&cursor)));
        seal.changes(rows.into_iter())
    }

    /// The changes of the last [`flush`](Self::flush) are durable.
    pub(crate) fn flushed(&mut self) {
        if self.is_unwritable {
            return;
        }
        self.flushed = self.applied;
        self.detached &= self.dirty.is_empty();
        // A removed row is in the database no more: what remembers it would only be walked over.
        for key in self.dirty.drain(..) {
            match self.cache.get_mut(&key) {
                Some(Cached { slot: None, .. }) => {
                    self.cache.remove(&key);
                }
                Some(cached) => cached.dirty = false,
                None => {}
            }
        }
        if self.cache.len() > CACHED_ROWS {
            self.cache.clear();
        }
    }

    /// The rows that lie in memory, in key order: of a detached fold all.
    pub(crate) fn rows_in_memory(
        &self,
    ) -> impl Iterator<Item = Result<(&[u8], Cow<'_, [u8]>), FoldError>> {
        let rows = self.cache.iter();
        rows.filter_map(|(key, cached)| {
            let bytes = cached.slot.as_ref()?.bytes();
            Some(bytes.map(|bytes| (key.as_slice(), bytes)))
        })
    }

    /// Visits every row in key order until `visit` says stop.
    pub(crate) fn each_row(
        &self,
        seal: &RowSeal,
        snapshot: &Snapshot,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), FoldError> {
        let mut cached = self
            .cache
            .range(from.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut stored = StoredRows::new(self, seal, snapshot, prefix, from);
        let mut next_stored = stored.next_row()?;
        loop {
            let take_cached = match (cached.peek(), &next_stored) {
                (None, None) => return Ok(()),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((key, _)), Some((stored, _))) => *key <= stored,
            };
            let go_on = if take_cached {
                let Some((key, Cached { slot, .. })) = cached.next() else {
                    return Ok(());
                };
                if next_stored
                    .as_ref()
                    .is_some_and(|(stored, _)| stored == key)
                {
                    next_stored = stored.next_row()?;
                }
                match slot {
                    None => true,
                    Some(value) => visit(key, &value.bytes()?),
                }
            } else {
                let Some((key, sealed)) = next_stored else {
                    return Ok(());
                };
                let go_on = visit(&key, &stored.open(&key, &sealed)?);
                next_stored = if go_on { stored.next_row()? } else { None };
                go_on
            };
            if !go_on {
                return Ok(());
            }
        }
    }
}

/// Pages through the stored rows of a fold, which stay sealed.
struct StoredRows<'a> {
    state: &'a FoldState,
    seal: &'a RowSeal,
    snapshot: &'a Snapshot,
    prefix: Vec<u8>,
    from: Vec<u8>,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    page_rows: usize,
    finished: bool,
}

impl<'a> StoredRows<'a> {
    fn new(
        state: &'a FoldState,
        seal: &'a RowSeal,
        snapshot: &'a Snapshot,
        prefix: &[u8],
        from: &[u8],
    ) -> Self {
        Self {
            state,
            seal,
            snapshot,
            prefix: row_key(state.name(), prefix),
            from: row_key(state.name(), from),
            page: Vec::new().into_iter(),
            page_rows: FIRST_PAGE,
            finished: state.detached,
        }
    }

    fn next_row(&mut self) -> Result<Option<FoldRow>, FoldError> {
        if self.page.as_slice().is_empty() && !self.finished {
            let page = self
                .snapshot
                .rows_from(RowTable::Folds, &self.prefix, &self.from, self.page_rows)
                .map_err(|error| FoldError::Row(error.to_string()))?;
            self.finished = page.len() < self.page_rows;
            self.page_rows = self.page_rows.saturating_mul(4).min(PAGE);
            if let Some((last, _)) = page.last() {
                self.from.clone_from(last);
                self.from.push(0);
            }
            self.page = page.into_iter();
        }
        let Some((stored_key, sealed)) = self.page.next() else {
            return Ok(None);
        };
        let key = stored_key
            .get(self.state.name().len() + 2..)
            .unwrap_or_default();
        Ok(Some((key.to_vec(), sealed)))
    }

    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, FoldError> {
        self.seal.open(&row_key(self.state.name(), key), sealed)
    }
}

/// Rows with the changes of one event on top, so that an event is taken in whole or not at all.
struct Overlay<'a> {
    state: &'a FoldState,
    seal: &'a RowSeal,
    look: &'a Look<'a>,
    changes: BTreeMap<Vec<u8>, Slot>,
}

impl Rows for Overlay<'_> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
        let value = self.value(key)?;
        value.map(RowValue::into_bytes).transpose()
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.changes
            .insert(key.to_vec(), Some(RowValue::Bytes(value)));
    }

    fn remove(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    fn value(&mut self, key: &[u8]) -> Result<Option<RowValue>, FoldError> {
        if let Some(slot) = self.changes.get(key) {
            return Ok(slot.clone());
        }
        self.state.value(self.seal, self.look, key)
    }

    fn put_row(&mut self, key: &[u8], row: Arc<dyn TypedRow>) -> Result<(), FoldError> {
        self.changes
            .insert(key.to_vec(), Some(RowValue::Typed(row)));
        Ok(())
    }
}
