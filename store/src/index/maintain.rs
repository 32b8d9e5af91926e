//! Maintenance in slices: flush, merge, delete.

use super::block::BLOCK_BYTES;
use super::error::IndexError;
use super::flush::FlushJob;
use super::garbage::Garbage;
use super::manifest::Manifest;
use super::memtable::Memtable;
use super::merge::{self, MergeJob};
use super::row::{RowOp, RowRead};
use super::run::Run;
use super::slice::Slice;
use super::view::State;
use super::{Index, IndexOptions};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// An active table that grew to so many times its threshold while a flush is unfinished makes the
/// next slice finish that flush.
const OVERDUE_FACTOR: u64 = 4;
/// Part of a slice's budget that goes to deletions, while there are any.
const DELETION_SHARE: u64 = 8;

/// What is under way.
#[derive(Debug)]
pub(super) struct Work {
    next_id: u64,
    /// Runs whose rows may exist without being live: under construction, or to be deleted.
    strays: BTreeSet<u64>,
    flush: Option<FlushJob>,
    /// At most one a level, lowest first: a large merge waits for the small ones.
    merges: Vec<MergeJob>,
    garbage: VecDeque<Garbage>,
}

/// What the next commit publishes.
#[derive(Debug)]
pub(super) enum Publication {
    Nothing,
    Ready(Next),
    /// A slice failed half-way: its operations are lost, nothing may follow.
    Failed,
}

/// The state after the slice is committed.
#[derive(Debug)]
pub(super) struct Next {
    runs: Vec<Arc<Run>>,
    /// Tables that are in runs now, from the oldest.
    flushed_tables: usize,
    /// Runs that were merged away.
    retired: Vec<u64>,
    /// Levels whose merge is finished: their runs are not what the published state says.
    merged_levels: Vec<u8>,
    manifest_changed: bool,
}

impl Work {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self {
            next_id: manifest.next_id,
            strays: manifest.strays.clone(),
            flush: None,
            merges: Vec::new(),
            garbage: manifest.strays.iter().copied().map(Garbage::new).collect(),
        }
    }

    /// Gives out an id. The manifest names it as a stray from the first row on, so that a crash
    /// leaves nothing that the next open does not know.
    fn new_id(&mut self, next: &mut Next) -> Result<u64, IndexError> {
        let id = self.next_id;
        self.next_id = id
            .checked_add(1)
            .ok_or(IndexError::Exhausted { what: "runs" })?;
        self.strays.insert(id);
        next.manifest_changed = true;
        Ok(id)
    }

    fn manifest(&self, runs: &[Arc<Run>]) -> Manifest {
        Manifest {
            next_id: self.next_id,
            runs: runs.iter().map(|run| run.meta.clone()).collect(),
            strays: self.strays.clone(),
        }
    }
}

impl IndexOptions {
    fn fan_in(&self) -> usize {
        self.fan_in.max(2)
    }

    /// Whether a table has grown to `factor` times the threshold.
    fn is_over(&self, table: &Memtable, factor: u64) -> bool {
        let size = table.size();
        let bytes = (size.bytes as u64) / factor;
        size.events > 0
            && (size.events / factor >= self.freeze_events || bytes >= self.freeze_bytes as u64)
    }
}

impl Index {
    /// Whether [`Self::maintain`] has something to do: for callers that run slices until there is
    /// nothing left. A slice may have to read on without any operation to answer.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "slices ride along with commits, none are run to the end yet"
        )
    )]
    pub(crate) fn needs_work(&self) -> bool {
        let State { runs, tables } = &*self.state;
        tables.len() > 1
            || self.active_is_over(1)
            || !self.work.merges.is_empty()
            || !self.work.garbage.is_empty()
            || merge::choose(runs, self.options.fan_in(), &[]).is_some()
    }

    /// One slice of maintenance, which moves about `budget_bytes` between memory and rows: more if
    /// merging has fallen behind, and much more if a flush is overdue.
    ///
    /// The operations belong into a transaction that also holds, or follows, all events inserted
    /// so far. Once it is committed, [`Self::committed`] must be called before the next slice; if
    /// it fails, the index must be dropped and opened again. `rows` is the committed state, or
    /// that transaction.
    pub(crate) fn maintain(
        &mut self,
        rows: &dyn RowRead,
        budget_bytes: u64,
    ) -> Result<Vec<RowOp>, IndexError> {
        let budget_bytes = budget_bytes.max(BLOCK_BYTES as u64);
        self.slice(|index, next, slice| {
            if index.state.tables.len() == 1 && index.active_is_over(1) {
                index.freeze();
            }
            let flush_until = if index.active_is_over(OVERDUE_FACTOR) {
                u64::MAX
            } else if index.has_merges_or_garbage() {
                budget_bytes / 2
            } else {
                budget_bytes
            };
            if index.state.tables.len() > 1 {
                index.flush_oldest(rows, flush_until, next, slice)?;
            }
            index.delete(rows, budget_bytes / DELETION_SHARE, next, slice)?;
            index.merge(rows, budget_bytes, next, slice)
        })
    }

    /// Everything inserted so far goes into runs, in one slice: for closing. The rules of
    /// [`Self::maintain`] hold. Merges under way are given up; the next open begins them again.
    pub(crate) fn flush_all(&mut self, rows: &dyn RowRead) -> Result<Vec<RowOp>, IndexError> {
        self.slice(|index, next, slice| {
            index.freeze();
            while next.flushed_tables + 1 < index.state.tables.len() {
                index.flush_oldest(rows, u64::MAX, next, slice)?;
            }
            Ok(())
        })
    }

    /// The transaction with the last slice's operations is committed.
    pub(crate) fn committed(&mut self) {
        match std::mem::replace(&mut self.publication, Publication::Nothing) {
            Publication::Nothing => {}
            Publication::Failed => self.publication = Publication::Failed,
            Publication::Ready(next) => {
                let tables = self.state.tables.iter().skip(next.flushed_tables);
                self.state = Arc::new(State {
                    tables: tables.cloned().collect(),
                    runs: next.runs,
                });
                let garbage = next.retired.into_iter().map(Garbage::new);
                self.work.garbage.extend(garbage);
            }
        }
    }

    /// Runs `work` and collects what it changes.
    fn slice(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Next, &mut Slice) -> Result<(), IndexError>,
    ) -> Result<Vec<RowOp>, IndexError> {
        if !matches!(self.publication, Publication::Nothing) {
            return Err(IndexError::Uncommitted);
        }
        self.publication = Publication::Failed;
        let mut next = Next {
            runs: self.state.runs.clone(),
            flushed_tables: 0,
            retired: Vec::new(),
            merged_levels: Vec::new(),
            manifest_changed: false,
        };
        let mut slice = Slice::default();
        work(self, &mut next, &mut slice)?;
        if next.manifest_changed {
            slice.ops.push(self.work.manifest(&next.runs).put()?);
        }
        self.publication = if slice.ops.is_empty() {
            Publication::Nothing
        } else {
            Publication::Ready(next)
        };
        Ok(slice.ops)
    }

    fn active_is_over(&self, factor: u64) -> bool {
        let active = self.state.tables.last();
        active.is_some_and(|table| self.options.is_over(table, factor))
    }

    fn has_merges_or_garbage(&self) -> bool {
        !self.work.merges.is_empty()
            || !self.work.garbage.is_empty()
            || merge::choose(&self.state.runs, self.options.fan_in(), &[]).is_some()
    }

    /// Makes the active table, unless it is empty, a frozen one with an empty one behind it.
    /// Readers see no difference, so this needs no commit.
    fn freeze(&mut self) {
        let State { runs, tables } = &*self.state;
        if let Some(active) = tables.last().filter(|active| active.from < active.next()) {
            let mut tables = tables.clone();
            tables.push(Arc::new(active.successor()));
            self.state = Arc::new(State {
                runs: runs.clone(),
                tables,
            });
        }
    }

    /// Works on the flush of the oldest table that is not flushed yet.
    fn flush_oldest(
        &mut self,
        rows: &dyn RowRead,
        until_bytes: u64,
        next: &mut Next,
        slice: &mut Slice,
    ) -> Result<(), IndexError> {
        let (older, rest) = self
            .state
            .tables
            .split_at_checked(next.flushed_tables)
            .unwrap_or_default();
        let Some(table) = rest.first() else {
            return Ok(());
        };
        let mut job = match self.work.flush.take() {
            Some(job) => job,
            None => FlushJob::new(self.work.new_id(next)?, Arc::clone(table)),
        };
        let runs = &self.state.runs;
        if !job.step(&mut self.heads, older, runs, rows, until_bytes, slice)? {
            self.work.flush = Some(job);
            return Ok(());
        }
        self.work.strays.remove(&job.id());
        next.runs.push(job.finish(slice)?);
        next.flushed_tables += 1;
        next.manifest_changed = true;
        Ok(())
    }

    /// Deletes rows of runs that the committed manifest does not name.
    fn delete(
        &mut self,
        rows: &dyn RowRead,
        share_bytes: u64,
        next: &mut Next,
        slice: &mut Slice,
    ) -> Result<(), IndexError> {
        let until = slice.spent_bytes().saturating_add(share_bytes.max(1));
        while slice.spent_bytes() < until {
            let Some(garbage) = self.work.garbage.front_mut() else {
                break;
            };
            if garbage.step(rows, until, slice)? {
                self.work.strays.remove(&garbage.id);
                self.work.garbage.pop_front();
                next.manifest_changed = true;
            }
        }
        Ok(())
    }

    /// Merges with what is left of the budget, at least half of it: a flush must not starve
    /// merging. The budget grows with the number of runs that wait, so that merging keeps up with
    /// any rate of flushes.
    fn merge(
        &mut self,
        rows: &dyn RowRead,
        budget_bytes: u64,
        next: &mut Next,
        slice: &mut Slice,
    ) -> Result<(), IndexError> {
        self.begin_merges(next)?;
        let spent = slice.spent_bytes();
        let left = budget_bytes.saturating_sub(spent).max(budget_bytes / 2);
        let crowding = merge::crowding(&self.state.runs, self.options.fan_in());
        let until = spent.saturating_add(left.saturating_mul(crowding));
        while slice.spent_bytes() < until {
            let Some(job) = self.work.merges.first_mut() else {
                break;
            };
            if job.step(rows, until, slice)? {
                let job = self.work.merges.remove(0);
                self.finish_merge(job, next, slice)?;
            }
        }
        Ok(())
    }

    fn begin_merges(&mut self, next: &mut Next) -> Result<(), IndexError> {
        loop {
            let mut busy = next.merged_levels.clone();
            busy.extend(self.work.merges.iter().map(|job| job.level));
            let fan_in = self.options.fan_in();
            let Some(inputs) = merge::choose(&self.state.runs, fan_in, &busy) else {
                return Ok(());
            };
            let job = MergeJob::new(self.work.new_id(next)?, inputs);
            let behind = self
                .work
                .merges
                .partition_point(|other| other.level < job.level);
            self.work.merges.insert(behind, job);
        }
    }

    fn finish_merge(
        &mut self,
        job: MergeJob,
        next: &mut Next,
        slice: &mut Slice,
    ) -> Result<(), IndexError> {
        let inputs = job.inputs.clone();
        next.merged_levels.push(job.level);
        self.work.strays.remove(&job.id());
        self.work.strays.extend(&inputs);
        let merged = job.finish(slice)?;
        let is_input = |run: &Arc<Run>| inputs.contains(&run.meta.id);
        if let Some(first) = next.runs.iter().position(is_input) {
            next.runs.retain(|run| !is_input(run));
            next.runs.insert(first, merged);
        }
        next.retired.extend(&inputs);
        next.manifest_changed = true;
        Ok(())
    }
}
