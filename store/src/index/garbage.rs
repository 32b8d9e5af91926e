//! Deleting the rows of runs that no manifest names any more.

use super::error::IndexError;
use super::row::{BLOCK_KEY, RowOp, RowRead, SECTION_KEY, numbered_key};
use super::slice::Slice;
use std::ops::ControlFlow;

/// A run whose rows are being deleted: some may be there, however many.
#[derive(Debug)]
pub(super) struct Garbage {
    pub(super) id: u64,
    kind: u8,
    /// Where the next rows are looked for.
    from: Vec<u8>,
}

impl Garbage {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            kind: BLOCK_KEY,
            from: numbered_key(BLOCK_KEY, id, 0).to_vec(),
        }
    }

    /// Deletes rows until the slice has cost `until_bytes`, at least one; answers whether none
    /// are left.
    pub(super) fn step(
        &mut self,
        rows: &dyn RowRead,
        until_bytes: u64,
        slice: &mut Slice,
    ) -> Result<bool, IndexError> {
        loop {
            let mut end = numbered_key(self.kind, self.id, u32::MAX).to_vec();
            end.push(0);
            let mut paused = false;
            let from = &mut self.from;
            rows.scan(&from.clone(), &end, &mut |key, _| {
                slice.ops.push(RowOp::Delete(key.to_vec()));
                // The smallest key behind this one.
                from.clear();
                from.extend_from_slice(key);
                from.push(0);
                if slice.spent_bytes() < until_bytes {
                    ControlFlow::Continue(())
                } else {
                    paused = true;
                    ControlFlow::Break(())
                }
            })?;
            if paused {
                return Ok(false);
            }
            if self.kind == SECTION_KEY {
                return Ok(true);
            }
            self.kind = SECTION_KEY;
            self.from = numbered_key(SECTION_KEY, self.id, 0).to_vec();
        }
    }
}
