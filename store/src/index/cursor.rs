//! Walking the postings of one term, in either direction, one batch in memory.

use super::error::IndexError;
use super::memtable::Memtable;
use super::row::RowRead;
use super::run::{Meter, Needle};
use super::view::State;
use std::sync::Arc;

const FIRST_BATCH: usize = 16;
const MAX_BATCH: usize = 1_024;

/// Positions from one to another, both included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Span {
    pub(super) fn new(low: u64, high: u64) -> Option<Self> {
        (low <= high).then_some(Self { low, high })
    }

    /// Where a walk begins.
    pub(super) fn start(self, reverse: bool) -> u64 {
        if reverse { self.high } else { self.low }
    }

    /// What is left behind a position of the span.
    pub(super) fn behind(self, position: u64, reverse: bool) -> Option<Self> {
        if reverse {
            Self::new(self.low, position.checked_sub(1)?)
        } else {
            Self::new(position.checked_add(1)?, self.high)
        }
    }

    fn contains(self, position: u64) -> bool {
        (self.low..=self.high).contains(&position)
    }
}

/// Positions of a term within a range, in order.
#[derive(Debug)]
pub(super) struct PostingCursor {
    state: Arc<State>,
    term: Vec<u8>,
    reverse: bool,
    /// Positions that may still come.
    left: Option<Span>,
    /// Postings that follow one another in the log, ascending.
    batch: Vec<u64>,
    /// Going upwards: those of the batch before it are behind.
    at: usize,
    /// Most postings copied from a memtable at once.
    batch_limit: usize,
}

impl PostingCursor {
    pub(super) fn new(state: Arc<State>, term: &[u8], left: Option<Span>, reverse: bool) -> Self {
        Self {
            state,
            term: term.to_vec(),
            reverse,
            left,
            batch: Vec::new(),
            at: 0,
            batch_limit: FIRST_BATCH,
        }
    }

    /// The next position that is not before `target` in the direction of travel.
    pub(super) fn seek(
        &mut self,
        rows: &dyn RowRead,
        target: u64,
        meter: &mut Meter,
    ) -> Result<Option<u64>, IndexError> {
        let Some(left) = self.left else {
            return Ok(None);
        };
        let target = if self.reverse {
            target.min(left.high)
        } else {
            target.max(left.low)
        };
        let mut found = None;
        if left.contains(target) {
            found = self.find_in_batch(target);
            if found.is_none() {
                self.fill(rows, left, target, meter)?;
                found = self.find_in_batch(target);
            }
        }
        let found = found.filter(|&position| left.contains(position));
        self.left = found.and_then(|position| left.behind(position, self.reverse));
        if found.is_some() {
            meter.touch()?;
        }
        Ok(found)
    }

    fn find_in_batch(&mut self, target: u64) -> Option<u64> {
        if self.reverse {
            // What lies above the target is behind for good.
            if self.batch.last().is_some_and(|&last| last > target) {
                self.batch.pop();
            }
            if self.batch.last().is_some_and(|&last| last > target) {
                let keep = self.batch.partition_point(|&position| position <= target);
                self.batch.truncate(keep);
            }
            return self.batch.last().copied();
        }
        if self.batch.last().is_none_or(|&last| last < target) {
            return None;
        }
        if self.batch.get(self.at).is_some_and(|&next| next < target) {
            let rest = self.batch.get(self.at..).unwrap_or_default();
            self.at += rest.partition_point(|&position| position < target);
        }
        self.batch.get(self.at).copied()
    }

    /// Reads the batch that holds the next posting from `target` on.
    fn fill(
        &mut self,
        rows: &dyn RowRead,
        left: Span,
        target: u64,
        meter: &mut Meter,
    ) -> Result<(), IndexError> {
        self.at = 0;
        self.batch.clear();
        if self.reverse {
            if !self.fill_from_tables(target) {
                self.fill_from_older_runs(rows, left.low, target, meter)?;
            }
        } else if !self.fill_from_newer_runs(rows, left.high, target, meter)? {
            self.fill_from_tables(target);
        }
        Ok(())
    }

    fn fill_from_tables(&mut self, target: u64) -> bool {
        let state = Arc::clone(&self.state);
        let limit = self.batch_limit;
        self.batch_limit = (limit * 2).min(MAX_BATCH);
        let mut fill = |table: &Memtable| {
            table.batch(&self.term, target, self.reverse, limit, &mut self.batch);
            !self.batch.is_empty()
        };
        if self.reverse {
            state.tables.iter().rev().any(|table| fill(table))
        } else {
            state.tables.iter().any(|table| fill(table))
        }
    }

    fn fill_from_newer_runs(
        &mut self,
        rows: &dyn RowRead,
        high: u64,
        target: u64,
        meter: &mut Meter,
    ) -> Result<bool, IndexError> {
        let needle = Needle::new(&self.term);
        let runs = &self.state.runs;
        let first = runs.partition_point(|run| run.meta.to <= target);
        for run in runs.iter().skip(first) {
            if run.meta.from > high {
                return Ok(true);
            }
            let target = target.max(run.meta.from);
            run.batch(rows, needle, target, false, meter, &mut self.batch)?;
            if !self.batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fill_from_older_runs(
        &mut self,
        rows: &dyn RowRead,
        low: u64,
        target: u64,
        meter: &mut Meter,
    ) -> Result<(), IndexError> {
        let needle = Needle::new(&self.term);
        let runs = &self.state.runs;
        let behind = runs.partition_point(|run| run.meta.from <= target);
        for run in runs.iter().take(behind).rev() {
            if run.meta.to <= low {
                break;
            }
            let target = target.min(run.meta.to - 1);
            run.batch(rows, needle, target, true, meter, &mut self.batch)?;
            if !self.batch.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
