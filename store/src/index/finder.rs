//! Heads of many terms in ascending order: each block is read once, and walked once.

use super::block::{Block, Entry, Walk};
use super::error::IndexError;
use super::row::RowRead;
use super::run::{Head, Needle, Run};
use super::section::By;
use std::collections::HashMap;
use std::sync::Arc;

/// Looks terms up in runs; every term must sort behind the one before.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Where the last lookup in each run ended, by the run's id: one block each.
    places: HashMap<u64, Place>,
    blocks_read: u64,
}

#[derive(Debug)]
struct Place {
    number: u32,
    block: Block,
    walk: Walk,
    /// The entry that the walk stands at; none at the end.
    entry: Option<Entry>,
}

impl Finder {
    /// Forgets runs that are not there any more.
    pub(super) fn keep(&mut self, runs: &[Arc<Run>]) {
        self.places
            .retain(|id, _| runs.iter().any(|run| run.meta.id == *id));
    }

    /// Blocks read since the last call.
    pub(super) fn take_blocks_read(&mut self) -> u64 {
        std::mem::take(&mut self.blocks_read)
    }

    /// The head of a term over runs, newest first.
    pub(super) fn head(
        &mut self,
        runs: &[Arc<Run>],
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<Head>, IndexError> {
        let needle = Needle::new(term);
        for run in runs.iter().rev() {
            let Some(number) = run.locate(needle, By::Position(u64::MAX)) else {
                continue;
            };
            if let Some(entry) = self.find(run, rows, number, term)? {
                return Ok(Some(Head {
                    last: entry.last,
                    count: entry.end(),
                }));
            }
        }
        Ok(None)
    }

    fn find(
        &mut self,
        run: &Run,
        rows: &dyn RowRead,
        number: u32,
        term: &[u8],
    ) -> Result<Option<Entry>, IndexError> {
        let known = self.places.get(&run.meta.id);
        if known.is_none_or(|place| place.number != number) {
            let block = Block::read(rows, &run.meta, number)?;
            self.blocks_read += 1;
            let mut walk = Walk::default();
            let entry = walk.next(&block)?;
            let place = Place {
                number,
                block,
                walk,
                entry,
            };
            self.places.insert(run.meta.id, place);
        }
        let Some(place) = self.places.get_mut(&run.meta.id) else {
            return Ok(None);
        };
        while place.entry.is_some() && place.walk.term() < term {
            place.entry = place.walk.next(&place.block)?;
        }
        let found = place.entry.as_ref().filter(|_| place.walk.term() == term);
        run.check_fence(number, &place.block, term, found)?;
        Ok(found.cloned())
    }
}
