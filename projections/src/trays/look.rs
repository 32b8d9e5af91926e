//! What is next in a tray: the same question at the writer and before it.

use super::fold::{
    BY_CLOCK, BY_LENGTH, BY_OPENING, FOLD, lease_prefix, ready_prefix, task_key, tray_key,
};
use crate::rows::{TrayRow, TrayTaskRow};
use crate::tasks::fold::Digest;
use crate::{rows, view};
use bincode::Decode;
use runstone_store::{AppendError, DecideContext, FoldRow, Log, Opening, ReadError};

/// Most lengths of leases of one tray that are looked at. Of others a sweep says that they are over.
const LENGTHS: usize = 32;

/// Rows of the fold, wherever they are.
pub(super) trait Look {
    type Error;

    fn get<T: Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, Self::Error>;

    /// The first row whose key begins so and is not below `from`.
    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, Self::Error>;

    /// The opening of the log, and the clock that leases go by.
    fn moment(&self) -> (Opening, u64);

    fn tray(&self, name: &str) -> Result<Option<TrayRow>, Self::Error> {
        self.get(&tray_key(name))
    }

    /// A task that lies in a tray.
    fn task(&self, task: &Digest, scope: &str) -> Result<Option<TrayTaskRow>, Self::Error> {
        let row: Option<TrayTaskRow> = self.get(&task_key(task, scope))?;
        Ok(row.filter(|row| !row.has_left))
    }
}

impl Look for DecideContext<'_> {
    type Error = AppendError;

    fn get<T: Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, AppendError> {
        view::row(self, FOLD, key)
    }

    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, AppendError> {
        self.fold_first(FOLD, prefix, from)
    }

    fn moment(&self) -> (Opening, u64) {
        (self.opening(), self.steady_us())
    }
}

impl Look for Log {
    type Error = ReadError;

    fn get<T: Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        let row = self.fold_row(FOLD, key)?;
        let row = row.map(|row| rows::decode(&row)).transpose();
        row.map_err(|error| view::failed(FOLD, error))
    }

    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, ReadError> {
        let rows = self.fold_rows(FOLD, prefix, from, 1)?;
        Ok(rows.into_iter().next())
    }

    fn moment(&self) -> (Opening, u64) {
        (self.opening(), self.steady_us())
    }
}

fn digest(row: FoldRow) -> Option<Digest> {
    row.1.try_into().ok()
}

/// A task of a tray whose lease is over. It looks at the first lease of each length, whatever number
/// of tasks there is.
pub(super) fn lease_over<L: Look>(
    rows: &L,
    tray: &str,
    scope: &str,
) -> Result<Option<Digest>, L::Error> {
    let (opening, steady_us) = rows.moment();
    // Of those that are held by an opening, the first that is held by another one than this.
    let prefix = lease_prefix(tray, BY_OPENING);
    let this = [prefix.as_slice(), &opening.id].concat();
    let mut others = rows.first(&prefix, &prefix)?;
    if others
        .as_ref()
        .is_some_and(|(key, _)| key.starts_with(&this))
    {
        others = rows.first(&prefix, &after(this))?;
    }
    if let Some(found) = others.and_then(digest) {
        return Ok(Some(found));
    }
    let is_over = |found: &FoldRow| -> Result<bool, L::Error> {
        let Ok(task) = Digest::try_from(found.1.as_slice()) else {
            return Ok(false);
        };
        let row = rows.task(&task, scope)?;
        let lease = row.and_then(|row| row.lease);
        Ok(lease.is_some_and(|lease| lease.is_over(&opening, steady_us)))
    };
    let prefix = lease_prefix(tray, BY_CLOCK);
    if let Some(found) = rows.first(&prefix, &prefix)?
        && is_over(&found)?
    {
        return Ok(digest(found));
    }
    let prefix = lease_prefix(tray, BY_LENGTH);
    let mut from = prefix.clone();
    for _ in 0..LENGTHS {
        let Some(found) = rows.first(&prefix, &from)? else {
            break;
        };
        if is_over(&found)? {
            return Ok(digest(found));
        }
        let length = prefix.len().saturating_add(size_of::<u64>());
        from = after(found.0.get(..length).unwrap_or(&found.0).to_vec());
    }
    Ok(None)
}

/// Behind every key that begins so: what follows in a key has eight bytes.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.extend_from_slice(&[u8::MAX; size_of::<u64>() + 1]);
    prefix
}

/// The task of a tray that is claimed next.
pub(super) fn ready<L: Look>(rows: &L, tray: &str) -> Result<Option<Digest>, L::Error> {
    let prefix = ready_prefix(tray);
    Ok(rows.first(&prefix, &prefix)?.and_then(digest))
}

/// Those that are claimed next, in their order.
pub(super) fn next_ready(log: &Log, tray: &str, count: usize) -> Result<Vec<Digest>, ReadError> {
    let prefix = ready_prefix(tray);
    let rows = log.fold_rows(FOLD, &prefix, &prefix, count)?;
    Ok(rows.into_iter().filter_map(digest).collect())
}
