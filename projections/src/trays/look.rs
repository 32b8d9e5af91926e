//! What is next in a tray: the same question at the writer and before it.

use super::fold::{FOLD, leases_prefix, ready_prefix, task_key, tray_key};
use crate::lease::{self, LENGTHS, LeaseIndex};
use crate::rows::{LeaseRow, TrayRow, TrayTaskRow};
use crate::tasks::fold::Digest;
use crate::view;
use bincode::Decode;
use runstone_store::{AppendError, DecideContext, FoldRow, Log, Opening, ReadError};

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
        view::stored(self, FOLD, key)
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

/// The leases of tasks of a scope.
struct Leases<'a, L>(&'a L, &'a str);

impl<L: Look> LeaseIndex for Leases<'_, L> {
    type Error = L::Error;

    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, L::Error> {
        self.0.first(prefix, from)
    }

    fn lease(&self, row: &FoldRow) -> Result<Option<LeaseRow>, L::Error> {
        let Ok(task) = Digest::try_from(row.1.as_slice()) else {
            return Ok(None);
        };
        Ok(self.0.task(&task, self.1)?.and_then(|row| row.lease))
    }
}

/// A task of a tray whose lease is over.
pub(super) fn lease_over<L: Look>(
    rows: &L,
    tray: &str,
    scope: &str,
) -> Result<Option<Digest>, L::Error> {
    let (opening, steady_us) = rows.moment();
    let prefix = leases_prefix(tray);
    let index = Leases(rows, scope);
    let over = lease::over(&index, &prefix, (&opening, steady_us), (1, LENGTHS))?;
    Ok(over.into_iter().next().and_then(digest))
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
