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
        Ok(in_tray(self.get(&task_key(task, scope))?))
    }
}

/// The row of a task that lies in a tray.
pub(super) fn in_tray(row: Option<TrayTaskRow>) -> Option<TrayTaskRow> {
    row.filter(|row| !row.has_left)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRows;
    use crate::rows;
    use crate::tasks::TaskState;
    use runstone_store::{CreateOptions, FoldError, OpenOptions, Rows as _};
    use std::cell::Cell;

    /// Rows, and how often one was asked for.
    struct Counted {
        rows: MemoryRows,
        moment: (Opening, u64),
        read: Cell<usize>,
    }

    impl Look for Counted {
        type Error = FoldError;

        fn get<T: Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, FoldError> {
            self.read.set(self.read.get() + 1);
            self.rows.get(key).map(rows::decode).transpose()
        }

        fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, FoldError> {
            self.read.set(self.read.get() + 1);
            let mut rows = self.rows.iter();
            let found = rows.find(|(key, _)| *key >= from && key.starts_with(prefix));
            Ok(found.map(|(key, row)| (key.to_vec(), row.to_vec())))
        }

        fn moment(&self) -> (Opening, u64) {
            self.moment
        }
    }

    /// A tray with so many tasks that can be claimed, and so many that are held for one of three times.
    fn tray(count: u128) -> Counted {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let (opening, mut rows) = (log.opening(), MemoryRows::new());
        for number in 0..count {
            let key = [ready_prefix("in"), number.to_be_bytes().to_vec()].concat();
            rows.put(&key, number.to_be_bytes().to_vec());
            let since = u64::try_from(number).unwrap() + 1_000;
            let lease = LeaseRow {
                holder: "bot".to_owned(),
                opening: None,
                since,
                lease_us: 1_000_000 + since % 3,
                expires_at_us: opening.at_us + 1_000_000,
            };
            let task = (number | 1 << 127).to_be_bytes();
            let key = [leases_prefix("in"), lease.place()].concat();
            rows.put(&key, task.to_vec());
            let row = TrayTaskRow {
                tray: "in".to_owned(),
                state: u8::try_from(TaskState::InProgress.number()).unwrap(),
                created: since,
                priority: 0,
                depends_on: Vec::new(),
                waits_for: 0,
                dependents: 0,
                lease: Some(lease),
                dead: None,
                has_left: false,
            };
            rows::put(&mut rows, &task_key(&task, "default"), &row).unwrap();
        }
        Counted {
            rows,
            moment: (opening, opening.at_us),
            read: Cell::new(0),
        }
    }

    #[test]
    fn what_is_next_is_found_in_few_rows_however_full_the_tray_is() {
        let mut counts = Vec::new();
        for count in [10, 2_000] {
            let mut tray = tray(count);
            assert_eq!(ready(&tray, "in").unwrap(), Some(0_u128.to_be_bytes()));
            assert_eq!(lease_over(&tray, "in", "default").unwrap(), None);
            tray.moment.1 += 1_000_000;
            let over = lease_over(&tray, "in", "default").unwrap();
            assert!(over.is_some());
            counts.push(tray.read.take());
        }
        assert_eq!(counts[0], counts[1]);
        assert!(counts[0] < 30, "{counts:?}");
    }
}
