//! Runs: the immutable postings of a contiguous range of positions.
//!
//! ```text
//! run       [from .................................................. to)
//! blocks    | Iaa Iab | Iac .. Sx | Sx | Sx Ta | Ta | Ta | ...        rows, read when needed
//! sections  | fences and filter of blocks 0..  | of blocks n.. | ...  in memory
//! ```

use super::block::{Block, Entry};
use super::error::{AtRow, IndexError, IndexRow};
use super::filter;
use super::key::prefix;
use super::manifest::RunMeta;
use super::row::RowRead;
use super::section::{By, Continued, Fence, SECTION_BYTES, Section, alike};
use std::cmp::Ordering;

/// A term with its hash, which is the same for all runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needle<'a> {
    pub(super) term: &'a [u8],
    hash: u64,
}

impl<'a> Needle<'a> {
    pub(super) fn new(term: &'a [u8]) -> Self {
        Self {
            term,
            hash: filter::hash(term),
        }
    }
}

/// Counts what a lookup or query touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    limit: Option<u64>,
    touched: u64,
}

impl Meter {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, touched: 0 }
    }

    pub(super) fn unlimited() -> Self {
        Self::new(None)
    }

    /// Counts a posting or a row.
    pub(super) fn touch(&mut self) -> Result<(), IndexError> {
        self.touched += 1;
        match self.limit {
            Some(limit) if self.touched > limit => Err(IndexError::TooBroad { limit }),
            _ => Ok(()),
        }
    }
}

/// The last posting of a term below some bound, and how many there are below it in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its position.
    pub(crate) last: u64,
    /// Number of postings up to and with it; the last revision of a stream is one less.
    pub(crate) count: u64,
}

/// Where the n-th posting of a term is, seen from one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nth {
    /// In an older run.
    Older,
    /// At this position.
    At(u64),
    /// In a newer run, or nowhere.
    Newer,
}

/// A run: its rows stay where they are, its sections are in memory.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) meta: RunMeta,
    sections: Vec<Section>,
    /// First bytes of the first fence of each section.
    prefixes: Box<[u64]>,
}

impl Run {
    pub(super) fn new(meta: RunMeta, sections: Vec<Section>) -> Self {
        let first = |section: &Section| section.fence(0).map_or(0, |fence| prefix(fence.term));
        Self {
            prefixes: sections.iter().map(first).collect(),
            meta,
            sections,
        }
    }

    /// Loads the sections of a run.
    pub(super) fn load(rows: &dyn RowRead, meta: &RunMeta) -> Result<Self, IndexError> {
        let mut sections: Vec<Section> = Vec::new();
        let mut blocks = 0_u64;
        let mut terms = 0_u64;
        for number in 0..meta.sections {
            let row = IndexRow::Section {
                run: meta.id,
                section: number,
            };
            let body = row.read(rows, SECTION_BYTES)?;
            let section = Section::decode(body, meta.from).at(row)?;
            if u64::from(section.first_block) != blocks {
                return Err(IndexError::corrupt(row, "its first block is another"));
            }
            if sections.last().is_some_and(|last| !section.follows(last)) {
                return Err(IndexError::corrupt(row, "the fences are not in order"));
            }
            blocks += section.len() as u64;
            terms = terms.saturating_add(section.terms);
            sections.push(section);
        }
        // A term counts in each section that it spans.
        let spanned = u64::from(meta.sections.saturating_sub(1));
        if blocks != u64::from(meta.blocks)
            || terms < meta.terms
            || terms > meta.terms.saturating_add(spanned)
        {
            return Err(IndexError::corrupt(
                IndexRow::Manifest,
                "a run does not have the blocks and terms of its sections",
            ));
        }
        Ok(Self::new(meta.clone(), sections))
    }

    /// The section that holds a block.
    pub(super) fn section_of(&self, block: u32) -> Option<&Section> {
        let behind = self.sections.partition_point(|s| s.first_block <= block);
        self.sections.get(behind.checked_sub(1)?)
    }

    /// Where a block begins.
    pub(super) fn fence(&self, block: u32) -> Option<Fence<'_>> {
        let section = self.section_of(block)?;
        section.fence((block - section.first_block) as usize)
    }

    /// How a block goes on with `term`, if it does.
    fn continues(&self, block: u32, term: &[u8]) -> Option<Continued> {
        self.fence(block)
            .filter(|fence| fence.term == term)
            .and_then(|fence| fence.continued)
    }

    /// The last block that begins at or before a posting, unless its section's filter says that
    /// no block of it has the term.
    pub(super) fn locate(&self, needle: Needle<'_>, by: By) -> Option<u32> {
        let alike = alike(&self.prefixes, needle.term);
        let sections = self.sections.get(alike.clone()).unwrap_or_default();
        let within = sections.partition_point(|section| {
            section
                .fence(0)
                .is_some_and(|fence| fence.is_at_most(needle.term, by))
        });
        self.locate_in((alike.start + within).checked_sub(1)?, needle, by)
    }

    /// The last section, from one that begins before a term on, that does so too.
    pub(super) fn section_before(&self, term: &[u8], from: usize) -> usize {
        let wanted = prefix(term);
        let is_before = |at: usize, begins: u64| match begins.cmp(&wanted) {
            Ordering::Less => true,
            Ordering::Equal => {
                let first = self.sections.get(at).and_then(|section| section.fence(0));
                first.is_some_and(|fence| fence.is_at_most(term, By::Position(u64::MAX)))
            }
            Ordering::Greater => false,
        };
        let behind = self.prefixes.iter().enumerate().skip(from + 1);
        let more = behind.take_while(|&(at, &begins)| is_before(at, begins));
        from + more.count()
    }

    /// [`locate`](Self::locate) in the section that begins last at or before the posting.
    pub(super) fn locate_in(&self, section: usize, needle: Needle<'_>, by: By) -> Option<u32> {
        let section = self.sections.get(section)?;
        if !section.may_hold(needle.hash) {
            return None;
        }
        let block = section.count_at_most(needle.term, by).checked_sub(1)?;
        Some(section.first_block + u32::try_from(block).ok()?)
    }

    /// A block and the entry of a term in it.
    fn entry(
        &self,
        rows: &dyn RowRead,
        needle: Needle<'_>,
        number: u32,
        meter: &mut Meter,
    ) -> Result<Option<(Block, Entry)>, IndexError> {
        meter.touch()?;
        let block = Block::read(rows, &self.meta, number)?;
        let entry = block.find(needle.term)?;
        self.check_fence(number, &block, needle.term, entry.as_ref())?;
        Ok(entry.map(|entry| (block, entry)))
    }

    /// Checks what was found of a term in a block against the fence of the block.
    pub(super) fn check_fence(
        &self,
        number: u32,
        block: &Block,
        term: &[u8],
        entry: Option<&Entry>,
    ) -> Result<(), IndexError> {
        let agrees = self.continues(number, term).is_none_or(|fence| {
            entry.is_some_and(|entry| entry.first == fence.position && entry.base == fence.ordinal)
        });
        if agrees {
            Ok(())
        } else {
            Err(IndexError::corrupt(
                block.row(),
                "the block does not begin where its fence says",
            ))
        }
    }

    /// The last posting of a term below `bound`.
    pub(super) fn head(
        &self,
        rows: &dyn RowRead,
        needle: Needle<'_>,
        bound: u64,
        meter: &mut Meter,
    ) -> Result<Option<Head>, IndexError> {
        let Some(upto) = bound.checked_sub(1).filter(|&upto| upto >= self.meta.from) else {
            return Ok(None);
        };
        let Some(block) = self.locate(needle, By::Position(upto)) else {
            return Ok(None);
        };
        let Some((block, entry)) = self.entry(rows, needle, block, meter)? else {
            return Ok(None);
        };
        if entry.last <= upto {
            return Ok(Some(Head {
                last: entry.last,
                count: entry.end(),
            }));
        }
        let mut positions = Vec::new();
        block.positions(&entry, &mut positions)?;
        positions.retain(|&position| position <= upto);
        Ok(positions.last().map(|&last| Head {
            last,
            count: entry.base + positions.len() as u64,
        }))
    }

    /// The n-th posting of a term in the log.
    pub(super) fn nth(
        &self,
        rows: &dyn RowRead,
        needle: Needle<'_>,
        n: u64,
        meter: &mut Meter,
    ) -> Result<Nth, IndexError> {
        let Some(block) = self.locate(needle, By::Ordinal(n)) else {
            return Ok(Nth::Older);
        };
        let Some((block, entry)) = self.entry(rows, needle, block, meter)? else {
            return Ok(Nth::Older);
        };
        if n < entry.base {
            return Ok(Nth::Older);
        }
        if n >= entry.end() {
            return Ok(Nth::Newer);
        }
        let mut positions = Vec::new();
        block.positions(&entry, &mut positions)?;
        let index = usize::try_from(n - entry.base).unwrap_or(usize::MAX);
        Ok(positions.get(index).map_or(Nth::Newer, |&at| Nth::At(at)))
    }

    /// Replaces `out` by the postings of a term in one block: of the block with the first one from
    /// `target` upwards, or, reversed, with the last one up to `target`. Nothing if there is none.
    pub(super) fn batch(
        &self,
        rows: &dyn RowRead,
        needle: Needle<'_>,
        target: u64,
        reverse: bool,
        meter: &mut Meter,
        out: &mut Vec<u64>,
    ) -> Result<(), IndexError> {
        out.clear();
        let Some(mut number) = self.locate(needle, By::Position(target)) else {
            return Ok(());
        };
        let Some((mut block, mut entry)) = self.entry(rows, needle, number, meter)? else {
            return Ok(());
        };
        if !reverse && entry.last < target {
            number += 1;
            if self.continues(number, needle.term).is_none() {
                return Ok(());
            }
            match self.entry(rows, needle, number, meter)? {
                Some(next) => (block, entry) = next,
                None => return Ok(()),
            }
        }
        if reverse && entry.first > target {
            return Ok(());
        }
        block.positions(&entry, out)
    }
}
