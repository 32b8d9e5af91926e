//! One bounded piece of maintenance: what it wrote and what it read.

use super::block::BLOCK_BYTES;
use super::row::RowOp;

/// Operations collected, and their cost so far.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) ops: Vec<RowOp>,
    counted: usize,
    cost_bytes: u64,
}

impl Slice {
    /// Counts blocks that were read.
    pub(super) fn read(&mut self, blocks: u64) {
        self.cost_bytes += blocks * BLOCK_BYTES as u64;
    }

    /// Bytes read and written.
    pub(super) fn spent_bytes(&mut self) -> u64 {
        let new = self.ops.get(self.counted..).unwrap_or_default();
        self.cost_bytes += new.iter().map(RowOp::cost_bytes).sum::<u64>();
        self.counted = self.ops.len();
        self.cost_bytes
    }
}
