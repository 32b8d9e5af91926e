//! All folds of an open log.

use super::rows::{RowSeal, cursor_key, cursor_name, decode_cursor, row_key};
use super::state::{FoldState, Look};
use super::{Fold, FoldError, FoldRecord, FoldRow, FoldStatus, RowValue};
use crate::engine::{Change, Db, RowTable, Snapshot};
use crate::error::StorageError;
use runstone_codec::Position;
use std::sync::Arc;

/// Dirty rows that make a flush due.
const FLUSH_ROWS: usize = 4096;

/// Folds that live with the writer.
#[derive(Debug)]
pub(crate) struct FoldHost {
    pub(crate) seal: RowSeal,
    states: Vec<FoldState>,
    /// Folds that have rows here and that this binary does not know.
    unknown: Vec<(String, u32, u64)>,
}

impl FoldHost {
    /// Finds each fold where it was flushed; one of another version, or with a damaged cursor,
    /// starts again from nothing.
    pub(crate) fn open(
        folds: &[Arc<dyn Fold>],
        seal: RowSeal,
        db: &Db,
    ) -> Result<Self, StorageError> {
        let snapshot = db.snapshot()?;
        let mut host = Self {
            seal,
            states: Vec::new(),
            unknown: Vec::new(),
        };
        for fold in folds {
            // Two of one name would write the same rows.
            if host.state(fold.name()).is_some() {
                continue;
            }
            let key = cursor_key(fold.name());
            let stored = snapshot.row(RowTable::Folds, &key)?;
            let cursor = stored.as_ref().and_then(|sealed| {
                let plain = host.seal.open(&key, sealed).ok()?;
                decode_cursor(&plain)
            });
            let state = match cursor {
                Some((version, flushed)) if version == fold.version() => {
                    FoldState::stored(Arc::clone(fold), flushed)
                }
                _ => {
                    clear(db, fold.name())?;
                    FoldState::stored(Arc::clone(fold), 0)
                }
            };
            let prefix = row_key(fold.name(), b"");
            let first = snapshot.rows_from(RowTable::Folds, &prefix, &prefix, 1)?;
            let has_rows = state.applied > 0 && !first.is_empty();
            host.states.push(if has_rows {
                state
            } else {
                state.without_rows()
            });
        }
        for (key, sealed) in snapshot.rows_from(RowTable::Folds, b"c", b"c", 1024)? {
            let known = |name: &str| folds.iter().any(|fold| fold.name() == name);
            if let Some(name) = cursor_name(&key).filter(|name| !known(name)) {
                let cursor = host.seal.open(&key, &sealed).ok();
                let (version, flushed) = cursor
                    .and_then(|plain| decode_cursor(&plain))
                    .unwrap_or_default();
                host.unknown.push((name.to_owned(), version, flushed));
            }
        }
        Ok(host)
    }

    /// The first position that some fold still has to see.
    pub(crate) fn replay_from(&self) -> Option<u64> {
        self.states.iter().map(|state| state.applied).min()
    }

    /// Forgets folds that claim to be ahead of the log: their rows were written for another one.
    pub(crate) fn bound(&mut self, size: u64, db: &Db) -> Result<(), StorageError> {
        for state in &mut self.states {
            if state.applied > size {
                clear(db, state.name())?;
                *state = FoldState::stored(Arc::clone(&state.fold), 0);
            }
        }
        Ok(())
    }

    /// There are no folds any more: what they say may never have been recorded.
    pub(crate) fn forget(&mut self) {
        self.states.clear();
    }

    /// Takes one event into every fold that has not seen it.
    pub(crate) fn apply(&mut self, look: &Look<'_>, record: &FoldRecord<'_>) {
        let namespace = record.namespace();
        for state in &mut self.states {
            state.apply(&self.seal, look, namespace, record);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    pub(crate) fn is_flush_due(&self) -> bool {
        self.states
            .iter()
            .any(|state| state.dirty_rows() >= FLUSH_ROWS && !state.is_unwritable)
    }

    /// Changes that bring every fold's rows to where it is.
    pub(crate) fn flush(&mut self) -> Result<Vec<Change>, StorageError> {
        let mut changes = Vec::new();
        for state in &mut self.states {
            if state.flushed != state.applied {
                changes.extend(state.flush(&self.seal)?);
            }
        }
        Ok(changes)
    }

    pub(crate) fn flushed(&mut self) {
        for state in &mut self.states {
            state.flushed();
        }
    }

    pub(crate) fn state(&self, name: &str) -> Option<&FoldState> {
        self.states.iter().find(|state| state.name() == name)
    }

    pub(crate) fn replace(&mut self, rebuilt: FoldState) {
        if let Some(state) = self
            .states
            .iter_mut()
            .find(|state| state.name() == rebuilt.name())
        {
            *state = rebuilt;
        }
    }

    pub(crate) fn folds(&self) -> Vec<Arc<dyn Fold>> {
        self.states
            .iter()
            .map(|state| Arc::clone(&state.fold))
            .collect()
    }

    /// One row of a fold as it was put.
    pub(crate) fn value(
        &self,
        look: &Look<'_>,
        name: &str,
        key: &[u8],
    ) -> Result<Option<RowValue>, FoldError> {
        let state = self
            .state(name)
            .ok_or_else(|| FoldError::Row(format!("there is no fold `{name}`")))?;
        state.value(&self.seal, look, key)
    }

    /// One row of a fold.
    pub(crate) fn row(
        &self,
        look: &Look<'_>,
        name: &str,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, FoldError> {
        let value = self.value(look, name, key)?;
        value.map(RowValue::into_bytes).transpose()
    }

    /// What is under way in a scope, by the first fold that says so.
    pub(crate) fn in_use(
        &self,
        db: &Db,
        scope: &str,
    ) -> Result<Option<String>, (&'static str, FoldError)> {
        let look = Look::first(db);
        for state in &self.states {
            let row = |key: &[u8]| self.row(&look, state.name(), key);
            let in_use = state.fold.in_use(&row, scope);
            if let Some(what) = in_use.map_err(|error| (state.name(), error))? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// Rows of a fold in key order.
    pub(crate) fn rows(
        &self,
        snapshot: &Snapshot,
        name: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<FoldRow>, FoldError> {
        let state = self
            .state(name)
            .ok_or_else(|| FoldError::Row(format!("there is no fold `{name}`")))?;
        let mut found = Vec::new();
        if limit > 0 {
            state.each_row(&self.seal, snapshot, prefix, from, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    pub(crate) fn status(&self) -> Vec<FoldStatus> {
        let known = self.states.iter().map(|state| FoldStatus {
            name: state.name().to_owned(),
            version: state.fold.version(),
            applied: state.applied,
            flushed: state.flushed,
            stopped: state
                .stopped
                .as_ref()
                .map(|(position, why)| (Position::new(*position), why.clone())),
            known: true,
        });
        let unknown = self
            .unknown
            .iter()
            .map(|(name, version, flushed)| FoldStatus {
                name: name.clone(),
                version: *version,
                applied: *flushed,
                flushed: *flushed,
                stopped: None,
                known: false,
            });
        known.chain(unknown).collect()
    }
}

/// Removes the cursor and every row of a fold. The cursor goes first: what is cut short here is
/// begun again, since rows without a cursor count for nothing.
pub(crate) fn clear(db: &Db, name: &str) -> Result<(), StorageError> {
    let cursor = Change::DeleteRow(RowTable::Folds, cursor_key(name));
    db.commit(&[cursor], true)?;
    clear_rows(db, &row_key(name, b""))
}

/// Removes what every fold has, also those that this binary does not know. Cursors sort before rows.
pub(crate) fn clear_all(db: &Db) -> Result<(), StorageError> {
    clear_rows(db, b"")
}

fn clear_rows(db: &Db, prefix: &[u8]) -> Result<(), StorageError> {
    let mut from = prefix.to_vec();
    loop {
        let page = db
            .snapshot()?
            .rows_from(RowTable::Folds, prefix, &from, 4096)?;
        let Some((last, _)) = page.last() else { break };
        // Behind the last one, whether or not it can be deleted.
        from.clone_from(last);
        from.push(0);
        let changes: Vec<_> = page
            .into_iter()
            .map(|(key, _)| Change::DeleteRow(RowTable::Folds, key))
            .collect();
        db.commit(&changes, true)?;
    }
    Ok(())
}

impl FoldHost {
    /// Walks the rows of one fold under a snapshot taken now.
    pub(crate) fn walk(
        &self,
        snapshot: &Snapshot,
        name: &str,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), FoldError> {
        match self.state(name) {
            Some(state) => state.each_row(&self.seal, snapshot, b"", b"", visit),
            None => Ok(()),
        }
    }
}
