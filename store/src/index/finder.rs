//! Heads of many terms in ascending order: each block is read once, and walked once.

use super::block::{Block, Entry, Walk};
use super::error::IndexError;
use super::row::RowRead;
use super::run::{Head, Needle, Run};
use super::section::By;
use std::sync::Arc;

/// Looks terms up in runs; every term must sort behind the one before.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Oldest first.
    places: Vec<Place>,
    blocks_read: u64,
}

/// Where the last lookup in a run ended.
#[derive(Debug)]
struct Place {
    run: Arc<Run>,
    section: usize,
    open: Option<Open>,
}

/// A block that was read.
#[derive(Debug)]
struct Open {
    number: u32,
    block: Block,
    walk: Walk,
    /// The entry that the walk stands at; none at the end.
    entry: Option<Entry>,
}

impl Finder {
    /// From now on these are the runs, oldest first.
    pub(super) fn look_in(&mut self, runs: &[Arc<Run>]) {
        let mut before = std::mem::take(&mut self.places);
        let place = |run: &Arc<Run>| {
            let known = before.iter().position(|it| it.run.meta.id == run.meta.id);
            known.map_or_else(
                || Place {
                    run: Arc::clone(run),
                    section: 0,
                    open: None,
                },
                |known| before.swap_remove(known),
            )
        };
        self.places = runs.iter().map(place).collect();
    }

    /// Blocks read since the last call.
    pub(super) fn take_blocks_read(&mut self) -> u64 {
        std::mem::take(&mut self.blocks_read)
    }

    /// The head of a term over runs, newest first.
    pub(super) fn head(
        &mut self,
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<Head>, IndexError> {
        let needle = Needle::new(term);
        for place in self.places.iter_mut().rev() {
            place.section = place.run.section_before(term, place.section);
            let by = By::Position(u64::MAX);
            let Some(number) = place.run.locate_in(place.section, needle, by) else {
                continue;
            };
            if place.open.as_ref().is_none_or(|it| it.number != number) {
                place.open = Some(Open::read(rows, &place.run, number)?);
                self.blocks_read += 1;
            }
            let found = match &mut place.open {
                Some(open) => open.find(&place.run, term)?,
                None => None,
            };
            if let Some(entry) = found {
                return Ok(Some(Head {
                    last: entry.last,
                    count: entry.end(),
                }));
            }
        }
        Ok(None)
    }
}

impl Open {
    fn read(rows: &dyn RowRead, run: &Run, number: u32) -> Result<Self, IndexError> {
        let block = Block::read(rows, &run.meta, number)?;
        let mut walk = Walk::default();
        let entry = walk.next(&block)?;
        Ok(Self {
            number,
            block,
            walk,
            entry,
        })
    }

    fn find(&mut self, run: &Run, term: &[u8]) -> Result<Option<Entry>, IndexError> {
        while self.entry.is_some() && self.walk.term() < term {
            self.entry = self.walk.next(&self.block)?;
        }
        let found = self.entry.as_ref().filter(|_| self.walk.term() == term);
        run.check_fence(self.number, &self.block, term, found)?;
        Ok(found.cloned())
    }
}
