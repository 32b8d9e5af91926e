//! Merging adjacent runs: which ones, and how, in bounded memory.
//!
//! A run has a level: 0 when flushed, one more than its inputs when merged. Once `fan_in` runs
//! have the same level, the oldest `fan_in` of them become one of the next level. So levels never
//! rise from old to new, a posting is rewritten once a level, and there are at most about
//! `fan_in` runs a level, however small the runs are.

use super::build::RunBuilder;
use super::error::{AtRow, IndexError};
use super::row::RowRead;
use super::run::Run;
use super::scan::{RunScan, smallest};
use super::slice::Slice;
use std::sync::Arc;

/// The oldest `fan_in` adjacent runs of one level that is not in `busy`, lowest level first.
pub(super) fn choose<'r>(
    runs: &'r [Arc<Run>],
    fan_in: usize,
    busy: &[u8],
) -> Option<&'r [Arc<Run>]> {
    runs.chunk_by(|a, b| a.meta.level == b.meta.level)
        .rev()
        .filter(|group| {
            group
                .first()
                .is_some_and(|run| !busy.contains(&run.meta.level))
        })
        .find_map(|group| group.get(..fan_in))
}

/// How far the fullest level is over `fan_in`: 1 if merging keeps up.
pub(super) fn crowding(runs: &[Arc<Run>], fan_in: usize) -> u64 {
    runs.chunk_by(|a, b| a.meta.level == b.meta.level)
        .map(|group| (group.len() / fan_in.max(1)) as u64)
        .max()
        .unwrap_or(0)
        .max(1)
}

/// A merge between two slices: one block of each input and one of the output in memory.
#[derive(Debug)]
pub(super) struct MergeJob {
    /// Level of the inputs.
    pub(super) level: u8,
    /// Ids of the inputs, oldest first.
    pub(super) inputs: Vec<u64>,
    /// Scans of the inputs, in the same order.
    scans: Vec<RunScan>,
    builder: RunBuilder,
    /// Scans that stand at their first entry.
    primed: usize,
    positions: Vec<u64>,
}

impl MergeJob {
    /// Begins to merge adjacent runs into run `id`.
    pub(super) fn new(id: u64, inputs: &[Arc<Run>]) -> Self {
        let level = inputs.first().map_or(0, |run| run.meta.level);
        let from = inputs.first().map_or(0, |run| run.meta.from);
        let to = inputs.last().map_or(0, |run| run.meta.to);
        Self {
            level,
            inputs: inputs.iter().map(|run| run.meta.id).collect(),
            scans: inputs.iter().cloned().map(RunScan::new).collect(),
            builder: RunBuilder::new(id, level.saturating_add(1), from, to),
            primed: 0,
            positions: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.builder.id()
    }

    /// Works until the slice has cost `until_bytes`; answers whether everything is merged.
    pub(super) fn step(
        &mut self,
        rows: &dyn RowRead,
        until_bytes: u64,
        slice: &mut Slice,
    ) -> Result<bool, IndexError> {
        while slice.spent_bytes() < until_bytes {
            if let Some(scan) = self.scans.get_mut(self.primed) {
                scan.advance(rows)?;
                slice.read(scan.take_blocks_read());
                self.primed += 1;
                continue;
            }
            let Some(scan) = smallest(&self.scans).and_then(|index| self.scans.get_mut(index))
            else {
                return Ok(true);
            };
            scan.positions(&mut self.positions)?;
            if let Some((term, entry)) = scan.entry() {
                self.builder
                    .add(term, entry.base, &self.positions, &mut slice.ops)?
                    .at(scan.row())?;
            }
            scan.advance(rows)?;
            slice.read(scan.take_blocks_read());
        }
        Ok(false)
    }

    /// Writes what is left of the last block and section.
    pub(super) fn finish(self, slice: &mut Slice) -> Result<Arc<Run>, IndexError> {
        self.builder.finish(&mut slice.ops).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::RunMeta;
    use super::*;

    fn runs(levels: &[u8]) -> Vec<Arc<Run>> {
        levels
            .iter()
            .zip(0..)
            .map(|(&level, id)| {
                let meta = RunMeta {
                    id,
                    level,
                    from: id,
                    to: id + 1,
                    blocks: 0,
                    sections: 0,
                    terms: 0,
                    postings: 0,
                };
                Arc::new(Run::new(meta, Vec::new()))
            })
            .collect()
    }

    fn chosen(levels: &[u8], busy: &[u8]) -> Option<Vec<u64>> {
        choose(&runs(levels), 3, busy).map(|inputs| inputs.iter().map(|run| run.meta.id).collect())
    }

    #[test]
    fn lowest_level_and_oldest_runs_come_first() {
        assert_eq!(chosen(&[2, 1, 1, 0, 0], &[]), None);
        assert_eq!(chosen(&[2, 1, 1, 0, 0, 0, 0], &[]), Some(vec![3, 4, 5]));
        assert_eq!(chosen(&[1, 1, 1, 0, 0, 0], &[]), Some(vec![3, 4, 5]));
        assert_eq!(chosen(&[1, 1, 1, 0, 0, 0], &[0]), Some(vec![0, 1, 2]));
        assert_eq!(chosen(&[1, 1, 1, 0, 0, 0], &[0, 1]), None);
    }

    #[test]
    fn crowding_grows_with_what_merging_left() {
        assert_eq!(crowding(&[], 3), 1);
        assert_eq!(crowding(&runs(&[1, 0, 0, 0, 0, 0]), 3), 1);
        assert_eq!(crowding(&runs(&[1, 0, 0, 0, 0, 0, 0]), 3), 2);
    }
}
