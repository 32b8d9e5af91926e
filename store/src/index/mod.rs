//! The index: where events with a stream, type, namespace, tag or id are.
//!
//! A log-structured merge tree of postings, independent of what stores its rows. The chunks are
//! the truth; everything here can be rebuilt from them.
//!
//! ```text
//!   insert --> active table --freeze--> frozen table --flush--> run (level 0)
//!              (memory)                 (memory)                 | merge fan_in of a level
//!                                                                v
//!   positions: [ run, level 2 ][ run, level 1 ][ 0 ][ 0 ][ frozen ][ active )
//!              0                                         ^ covered()
//! ```
//!
//! - Runs cover disjoint, contiguous, ascending ranges of positions, so the last posting of a term
//!   is in the newest run that has it, and a range of a term's postings is a concatenation.
//! - Work on rows is done in slices: [`Index::maintain`] answers row operations, the caller applies
//!   them in its transaction and then calls [`Index::committed`]. Until the slice with the new
//!   manifest is committed nothing that a reader sees has changed; rows that a manifest no longer
//!   names are deleted in later slices only. A failed commit loses the whole `Index`: it is
//!   dropped and opened again.
//! - Readers hold an [`IndexView`] and a snapshot of the rows taken together.

mod block;
mod build;
mod cursor;
mod error;
mod filter;
mod finder;
mod flush;
#[cfg(fuzzing)]
pub mod fuzzing;
mod garbage;
mod heads;
mod key;
mod maintain;
mod manifest;
mod memtable;
mod merge;
mod query;
mod row;
mod run;
mod scan;
mod section;
mod slice;
mod term;
mod terms_of;
mod varint;
mod verify;
mod view;

#[cfg(any(test, fuzzing))]
mod sample;
#[cfg(test)]
mod tests;

pub use error::{IndexError, IndexRow};
pub(crate) use query::ItemTerms;
pub(crate) use row::{RowOp, RowRead};
pub(crate) use run::Head;
pub(crate) use term::{
    MAX_TERM_BYTES, TermBuffer, event_id, stream, stream_into, tag, type_pattern,
};
pub(crate) use terms_of::terms_of;
pub(crate) use verify::verify_runs;
pub(crate) use view::IndexView;

use heads::Heads;
use maintain::{Publication, Work};
use manifest::Manifest;
use memtable::Memtable;
use run::{Meter, Run};
use std::sync::Arc;
use view::State;

/// Limits of an index in memory. They change nothing in the meaning of the rows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IndexOptions {
    /// A table of so many events is frozen.
    pub freeze_events: u64,
    /// A table of so many bytes is frozen.
    pub freeze_bytes: usize,
    /// So many runs of a level become one, at least 2.
    pub fan_in: usize,
    /// Heads of so many terms are remembered beside those of the newest events.
    pub cached_heads: usize,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            freeze_events: 8_192,
            freeze_bytes: 4 << 20,
            fan_in: 8,
            cached_heads: 131_072,
        }
    }
}

/// The index as its one writer holds it.
#[derive(Debug)]
pub(crate) struct Index {
    options: IndexOptions,
    state: Arc<State>,
    heads: Heads,
    work: Work,
    publication: Publication,
}

impl Index {
    /// Events after which a table in memory is frozen.
    pub(crate) fn freeze_events(&self) -> u64 {
        self.options.freeze_events
    }

    /// Opens the index. Events from [`Self::covered`] on must then be inserted again.
    pub(crate) fn open(rows: &dyn RowRead, options: IndexOptions) -> Result<Self, IndexError> {
        let manifest = Manifest::read(rows)?;
        let runs = manifest
            .runs
            .iter()
            .map(|meta| Run::load(rows, meta).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let covered = runs.last().map_or(0, |run| run.meta.to);
        Ok(Self {
            heads: Heads::new(options.cached_heads),
            options,
            state: Arc::new(State {
                runs,
                tables: vec![Arc::new(Memtable::new(covered))],
            }),
            work: Work::new(&manifest),
            publication: Publication::Nothing,
        })
    }

    /// All events below this position are in committed runs.
    pub(crate) fn covered(&self) -> u64 {
        self.state.covered()
    }

    /// The position that must be inserted next.
    pub(crate) fn next(&self) -> u64 {
        self.state.next()
    }

    /// Number of committed runs.
    #[cfg(test)]
    fn runs(&self) -> u64 {
        self.state.runs.len() as u64
    }

    /// What a reader sees who may see positions below `visible`.
    pub(crate) fn view(&self, visible: u64) -> IndexView {
        IndexView::new(Arc::clone(&self.state), visible)
    }

    /// Adds the event at the next position, committed or about to be.
    pub(crate) fn insert<'t>(
        &mut self,
        position: u64,
        terms: impl IntoIterator<Item = &'t [u8], IntoIter: Clone>,
    ) -> Result<(), IndexError> {
        match self.state.tables.last() {
            Some(active) => active.insert(position, terms.into_iter()),
            None => Err(IndexError::Exhausted { what: "tables" }),
        }
    }

    /// The last posting of a term, and how many there are, with the events inserted so far. Terms
    /// asked recently are answered from memory, others cost about one row.
    pub(crate) fn head(
        &mut self,
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<Head>, IndexError> {
        let State { tables, runs } = &*self.state;
        self.heads.head(tables, runs, rows, term)
    }

    /// The last posting of a term, without how many there are: for a term that is looked for so that
    /// it does not come twice.
    pub(crate) fn last(
        &mut self,
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<u64>, IndexError> {
        let State { tables, runs } = &*self.state;
        self.heads.last(tables, runs, rows, term)
    }

    /// Notes that no event had a term before those of the active table, so that nobody looks again.
    pub(crate) fn begins(&self, term: &[u8]) {
        if let Some(active) = self.state.tables.last() {
            active.set_base(term, 0);
        }
    }

    /// The newest position behind `after` (anywhere if none) that matches an item, with the events
    /// inserted so far.
    pub(crate) fn any_after(
        &mut self,
        rows: &dyn RowRead,
        item: &ItemTerms,
        after: Option<u64>,
        scan_limit: Option<u64>,
    ) -> Result<Option<u64>, IndexError> {
        let meter = Meter::new(scan_limit);
        query::newest_after(&self.state, &mut self.heads, rows, item, after, meter)
    }
}
