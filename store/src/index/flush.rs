//! Writing a frozen memtable as a run.

use super::build::RunBuilder;
use super::error::{AtRow, IndexError, IndexRow};
use super::finder::Finder;
use super::heads::Heads;
use super::memtable::{Memtable, SortedTerm};
use super::row::RowRead;
use super::run::{Head, Run};
use super::slice::Slice;
use super::term;
use std::sync::Arc;

/// A flush between two slices.
#[derive(Debug)]
pub(super) struct FlushJob {
    table: Arc<Memtable>,
    terms: std::vec::IntoIter<SortedTerm>,
    finder: Finder,
    builder: RunBuilder,
}

impl FlushJob {
    pub(super) fn new(id: u64, table: Arc<Memtable>) -> Self {
        Self {
            terms: table.sorted_terms().into_iter(),
            finder: Finder::default(),
            builder: RunBuilder::new(id, 0, table.from, table.next()),
            table,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.builder.id()
    }

    /// Works until the slice has cost `until_bytes`; answers whether the table is written.
    ///
    /// `older` are the tables before this one, all settled by their flushes; `runs` are the runs
    /// before those.
    pub(super) fn step(
        &mut self,
        heads: &mut Heads,
        older: &[Arc<Memtable>],
        runs: &[Arc<Run>],
        rows: &dyn RowRead,
        until_bytes: u64,
        slice: &mut Slice,
    ) -> Result<bool, IndexError> {
        self.finder.look_in(runs);
        while slice.spent_bytes() < until_bytes {
            let Some(sorted) = self.terms.next() else {
                return Ok(true);
            };
            let Some(tail) = self.table.sorted_tail(&sorted) else {
                continue;
            };
            let term = sorted.term.bytes();
            let is_unique = term::is_unique(term);
            // Nothing older has one that is unique, so that nothing is known of it yet.
            let known = if is_unique { None } else { heads.known(term) };
            let base = match (tail.base, &known) {
                (Some(base), _) => base,
                (None, _) if is_unique => 0,
                (None, Some(head)) => head.map_or(0, |head| head.count),
                (None, None) => self.base(older, rows, term)?,
            };
            slice.read(self.finder.take_blocks_read());
            if let Some(known) = known {
                *known = Some(Head {
                    last: tail.last,
                    count: base + tail.count,
                });
            }
            let builder = &mut self.builder;
            self.table
                .settle(&sorted, base, |positions| {
                    builder.add(term, base, positions, &mut slice.ops)
                })?
                .at(IndexRow::Manifest)?;
        }
        Ok(self.terms.as_slice().is_empty())
    }

    /// Postings of a term before this table.
    fn base(
        &mut self,
        older: &[Arc<Memtable>],
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<u64, IndexError> {
        let tail = older
            .iter()
            .rev()
            .find_map(|table| table.tail(term, u64::MAX));
        if let Some(tail) = tail {
            return Ok(tail.base.unwrap_or(0) + tail.count);
        }
        let head = self.finder.head(rows, term)?;
        Ok(head.map_or(0, |head| head.count))
    }

    /// Writes what is left of the last block and section.
    pub(super) fn finish(self, slice: &mut Slice) -> Result<Arc<Run>, IndexError> {
        self.builder.finish(&mut slice.ops).map(Arc::new)
    }
}
