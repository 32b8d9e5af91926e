//! What a reader sees: the runs and tables of one moment, up to a position.

use super::cursor::Span;
use super::error::IndexError;
use super::heads::head_in_runs;
use super::memtable::Memtable;
use super::query::{ItemTerms, MatchCursor};
use super::row::RowRead;
use super::run::{Head, Meter, Needle, Nth, Run};
use super::term;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Runs and tables, oldest first; they cover all positions without gaps. The last table is the
/// active one.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) runs: Vec<Arc<Run>>,
    pub(super) tables: Vec<Arc<Memtable>>,
}

impl State {
    /// The position after the last one in runs.
    pub(super) fn covered(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.meta.to)
    }

    /// The position after the last one.
    pub(super) fn next(&self) -> u64 {
        self.tables
            .last()
            .map_or_else(|| self.covered(), |table| table.next())
    }
}

/// The index as of one moment. Cheap to make and to clone, shared between threads.
///
/// Every call must be given the snapshot of the rows taken together with the view: blocks that a
/// view names stay only in such snapshots.
#[derive(Clone, Debug)]
pub(crate) struct IndexView {
    state: Arc<State>,
    visible: u64,
}

impl IndexView {
    pub(super) fn new(state: Arc<State>, visible: u64) -> Self {
        Self { state, visible }
    }

    /// All events below this position are in runs.
    pub(crate) fn covered(&self) -> u64 {
        self.state.covered()
    }

    /// The last posting of a term, and how many there are.
    pub(crate) fn head(&self, rows: &dyn RowRead, term: &[u8]) -> Result<Option<Head>, IndexError> {
        self.head_below(rows, term, self.visible)
    }

    /// The last posting of a term below `bound`, and how many there are below it.
    pub(crate) fn head_below(
        &self,
        rows: &dyn RowRead,
        term: &[u8],
        bound: u64,
    ) -> Result<Option<Head>, IndexError> {
        let bound = bound.min(self.visible);
        let mut newest = None;
        let mut newer = 0;
        for table in self.state.tables.iter().rev() {
            let Some(tail) = table.tail(term, bound) else {
                continue;
            };
            let last = *newest.get_or_insert(tail.last);
            newer += tail.count;
            let unique = term::is_unique(term).then_some(0);
            if let Some(base) = tail.base.or(unique) {
                return Ok(Some(Head {
                    last,
                    count: base + newer,
                }));
            }
        }
        let needle = Needle::new(term);
        let older = head_in_runs(&self.state.runs, rows, needle, bound)?;
        let last = newest.or_else(|| older.map(|head| head.last));
        Ok(last.map(|last| Head {
            last,
            count: newer + older.map_or(0, |head| head.count),
        }))
    }

    /// The `n`-th posting of a term, from 0: for a stream the event of revision `n`.
    pub(crate) fn posting_at(
        &self,
        rows: &dyn RowRead,
        term: &[u8],
        n: u64,
    ) -> Result<Option<u64>, IndexError> {
        let found = match self.posting_in_tables(rows, term, n)? {
            Some(position) => Some(position),
            None => self.posting_in_runs(rows, term, n)?,
        };
        Ok(found.filter(|&position| position < self.visible))
    }

    fn posting_in_tables(
        &self,
        rows: &dyn RowRead,
        term: &[u8],
        n: u64,
    ) -> Result<Option<u64>, IndexError> {
        for table in self.state.tables.iter().rev() {
            let Some(tail) = table.tail(term, self.visible) else {
                continue;
            };
            let base = match tail.base {
                Some(base) => base,
                None if term::is_unique(term) => 0,
                None => self
                    .head_below(rows, term, table.from)?
                    .map_or(0, |head| head.count),
            };
            if let Some(index) = n.checked_sub(base) {
                return Ok(table.nth(term, index));
            }
        }
        Ok(None)
    }

    fn posting_in_runs(
        &self,
        rows: &dyn RowRead,
        term: &[u8],
        n: u64,
    ) -> Result<Option<u64>, IndexError> {
        let mut meter = Meter::unlimited();
        let needle = Needle::new(term);
        for run in self.state.runs.iter().rev() {
            match run.nth(rows, needle, n, &mut meter)? {
                Nth::Older => {}
                Nth::At(position) => return Ok(Some(position)),
                Nth::Newer => break,
            }
        }
        Ok(None)
    }

    /// The positions within a range that match an item, in order, or reversed from the last one.
    /// Past `scan_limit` postings and rows touched the cursor answers
    /// [`IndexError::TooBroad`].
    pub(crate) fn matches(
        &self,
        item: &ItemTerms,
        range: &RangeInclusive<u64>,
        reverse: bool,
        scan_limit: Option<u64>,
    ) -> MatchCursor {
        let left = self.clamp(range);
        MatchCursor::new(&self.state, item, left, reverse, Meter::new(scan_limit))
    }

    /// What of a range is visible, if anything.
    fn clamp(&self, range: &RangeInclusive<u64>) -> Option<Span> {
        let last = self.visible.checked_sub(1)?;
        Span::new(*range.start(), last.min(*range.end()))
    }
}
