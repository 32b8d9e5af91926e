//! Reading runs from end to end, block by block, for merging and verification.

use super::block::{Block, Entry, Walk};
use super::error::{Fault, IndexError, IndexRow};
use super::key::prefix;
use super::row::RowRead;
use super::run::Run;
use super::section::{Section, separator};
use std::sync::Arc;

/// A place in a run. Everything on the way is checked: the order of terms and positions from
/// block to block, fences, and in the end the counts of the manifest.
#[derive(Debug)]
pub(super) struct RunScan {
    run: Arc<Run>,
    block: Option<Block>,
    /// Number of the next block.
    next_block: u32,
    walk: Walk,
    entry: Option<Entry>,
    /// First bytes of its term.
    prefix: u64,
    /// The entry before: its term if it was in an earlier block, its last position, and the count
    /// of postings up to it.
    before_term: Vec<u8>,
    before_last: u64,
    before_end: u64,
    terms: u64,
    postings: u64,
    section_terms: u64,
    blocks_read: u64,
}

impl RunScan {
    /// A scan before the first entry; [`Self::advance`] goes there.
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self {
            run,
            block: None,
            next_block: 0,
            walk: Walk::default(),
            entry: None,
            prefix: 0,
            before_term: Vec::new(),
            before_last: 0,
            before_end: 0,
            terms: 0,
            postings: 0,
            section_terms: 0,
            blocks_read: 0,
        }
    }

    /// The entry here and its term, unless the run is at its end.
    pub(super) fn entry(&self) -> Option<(&[u8], &Entry)> {
        self.entry.as_ref().map(|entry| (self.walk.term(), entry))
    }

    /// Replaces `out` by the positions of the entry here.
    pub(super) fn positions(&self, out: &mut Vec<u64>) -> Result<(), IndexError> {
        out.clear();
        if let (Some(block), Some(entry)) = (&self.block, &self.entry) {
            block.positions(entry, out)?;
        }
        Ok(())
    }

    /// The row that the entry here stands in.
    pub(super) fn row(&self) -> IndexRow {
        self.block.as_ref().map_or(IndexRow::Manifest, Block::row)
    }

    /// The section of the block here.
    pub(super) fn section(&self) -> Option<&Section> {
        self.run.section_of(self.next_block.checked_sub(1)?)
    }

    /// Blocks read since the last call.
    pub(super) fn take_blocks_read(&mut self) -> u64 {
        std::mem::take(&mut self.blocks_read)
    }

    /// Goes to the next entry.
    pub(super) fn advance(&mut self, rows: &dyn RowRead) -> Result<(), IndexError> {
        if let Some(entry) = self.entry.take() {
            self.before_last = entry.last;
            self.before_end = entry.end();
        }
        if let Some(block) = &self.block
            && let Some(entry) = self.walk.next(block)?
        {
            self.count(entry, true);
            return Ok(());
        }
        if self.next_block == self.run.meta.blocks {
            self.block = None;
            return self.end();
        }
        self.before_term.clear();
        self.before_term.extend_from_slice(self.walk.term());
        self.walk.rewind();
        let number = self.next_block;
        if self.begins_section(number) {
            self.end_section()?;
        }
        let block = Block::read(rows, &self.run.meta, number)?;
        self.blocks_read += 1;
        self.next_block += 1;
        let entry = self.walk.next(&block)?;
        let row = block.row();
        self.block = Some(block);
        let Some(entry) = entry else {
            return Err(IndexError::corrupt(row, "the block has no entries"));
        };
        let is_new = self
            .enter(number, &entry)
            .map_err(|what| IndexError::corrupt(row, what))?;
        self.count(entry, is_new);
        Ok(())
    }

    fn count(&mut self, entry: Entry, is_new: bool) {
        self.terms += u64::from(is_new);
        let begins = self.section_terms == 0;
        self.section_terms += u64::from(is_new || begins);
        self.postings = self.postings.saturating_add(entry.count);
        self.prefix = prefix(self.walk.term());
        self.entry = Some(entry);
    }

    /// Checks the first entry of a block against its fence and the block before; answers whether
    /// it is a new term.
    fn enter(&self, number: u32, entry: &Entry) -> Result<bool, Fault> {
        let term = self.walk.term();
        let fence = self.run.fence(number).ok_or("the block has no fence")?;
        if let Some(continued) = fence.continued {
            let goes_on = fence.term == term
                && self.before_term == term
                && continued.position == entry.first
                && continued.ordinal == entry.base
                && entry.first > self.before_last
                && entry.base == self.before_end;
            return if goes_on {
                Ok(false)
            } else {
                Err("the block does not go on where the one before ended")
            };
        }
        if self.before_term.as_slice() >= term || fence.term != separator(&self.before_term, term) {
            return Err("the block does not begin where its fence says");
        }
        Ok(true)
    }

    fn begins_section(&self, block: u32) -> bool {
        self.run
            .section_of(block)
            .is_some_and(|section| section.first_block == block)
    }

    fn end_section(&mut self) -> Result<(), IndexError> {
        if self
            .section()
            .is_some_and(|section| section.terms != self.section_terms)
        {
            return Err(Self::miscounted("a section counts its terms wrongly"));
        }
        self.section_terms = 0;
        Ok(())
    }

    fn end(&mut self) -> Result<(), IndexError> {
        self.end_section()?;
        let meta = &self.run.meta;
        if self.terms != meta.terms || self.postings != meta.postings {
            return Err(Self::miscounted(
                "a run does not have the terms and postings listed",
            ));
        }
        Ok(())
    }

    fn miscounted(what: Fault) -> IndexError {
        IndexError::corrupt(IndexRow::Manifest, what)
    }
}

/// The scan with the smallest term; among equals the first, which is the oldest run.
pub(super) fn smallest(scans: &[RunScan]) -> Option<usize> {
    let mut best: Option<(usize, u64, &[u8])> = None;
    for (index, scan) in scans.iter().enumerate() {
        let smaller = scan.entry().filter(|(term, _)| {
            best.is_none_or(|(_, prefix, smallest)| {
                scan.prefix < prefix || (scan.prefix == prefix && *term < smallest)
            })
        });
        if let Some((term, _)) = smaller {
            best = Some((index, scan.prefix, term));
        }
    }
    best.map(|(index, ..)| index)
}
