//! Rows in memory, for tests.

use super::{IndexError, RowOp, RowRead};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// A table; a clone is a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Rows {
    pub(super) fn apply(&mut self, ops: &[RowOp]) {
        for op in ops {
            match op {
                RowOp::Put(key, row) => self.rows.insert(key.clone(), row.clone()),
                RowOp::Delete(key) => self.rows.remove(key),
            };
        }
    }

    pub(super) fn set(&mut self, key: &[u8], row: Vec<u8>) {
        self.rows.insert(key.to_vec(), row);
    }
}

impl RowRead for Rows {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        for (key, row) in self.rows.range::<[u8], _>(range) {
            if visit(key, row).is_break() {
                break;
            }
        }
        Ok(())
    }
}
