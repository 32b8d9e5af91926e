//! Writing a run: entries in, rows out, one block and one section in memory.

use super::block::{BLOCK_BODY_BYTES, BLOCK_BYTES, OpenEntry};
use super::error::{AtRow, Fault, IndexError, IndexRow};
use super::filter;
use super::manifest::RunMeta;
use super::row::RowOp;
use super::run::Run;
use super::section::{Continued, Fence, Section, SectionBuilder, separator, shared_bytes};
use super::term;

/// A run under construction. Terms come in order, and the positions of each in order.
#[derive(Debug)]
pub(super) struct RunBuilder {
    meta: RunMeta,
    sections: Vec<Section>,
    section: SectionBuilder,
    /// Entries of the block so far.
    body: Vec<u8>,
    /// Term of the last entry in `body`.
    body_term: Vec<u8>,
    /// Last term of the block before.
    block_term: Vec<u8>,
    /// Fence of the block: a term, and how the block goes on with it.
    fence_term: Vec<u8>,
    fence: Option<Continued>,
    /// The entry that may still grow.
    entry: OpenEntry,
    entry_is_open: bool,
    /// Bytes that its term shares with `body_term`.
    shared: usize,
    hash: u64,
}

impl RunBuilder {
    pub(super) fn new(id: u64, level: u8, from: u64, to: u64) -> Self {
        Self {
            meta: RunMeta {
                id,
                level,
                from,
                to,
                blocks: 0,
                sections: 0,
                terms: 0,
                postings: 0,
            },
            sections: Vec::new(),
            section: SectionBuilder::default(),
            body: Vec::with_capacity(BLOCK_BYTES),
            body_term: Vec::new(),
            block_term: Vec::new(),
            fence_term: Vec::new(),
            fence: None,
            entry: OpenEntry::default(),
            entry_is_open: false,
            shared: 0,
            hash: 0,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.meta.id
    }

    /// Adds postings of a term, which has `base` postings before them in the log. A fault is in
    /// what was passed.
    pub(super) fn add(
        &mut self,
        term: &[u8],
        base: u64,
        positions: &[u64],
        out: &mut Vec<RowOp>,
    ) -> Result<Result<(), Fault>, IndexError> {
        let Some((&first, mut rest)) = positions.split_first() else {
            return Ok(Ok(()));
        };
        if self.entry_is_open && self.entry.term == term {
            // Nobody counts what an event id has before, because there should be nothing.
            let follows = base == self.entry.end() || term::is_unique(term);
            if !follows || first <= self.entry.last() {
                return Ok(Err("a term does not go on where the block before ended"));
            }
            rest = positions;
        } else {
            if self.entry_is_open && self.entry.term.as_slice() > term {
                return Ok(Err("terms are not in order from block to block"));
            }
            self.finish_entry();
            self.entry.term.clear();
            self.entry.term.extend_from_slice(term);
            self.hash = filter::hash(term);
            self.begin_entry(base, first, out)?;
            self.meta.terms += 1;
        }
        for &position in rest {
            self.push(position, out)?;
        }
        self.meta.postings += positions.len() as u64;
        Ok(Ok(()))
    }

    /// Writes what is left.
    pub(super) fn finish(mut self, out: &mut Vec<RowOp>) -> Result<Run, IndexError> {
        self.finish_entry();
        if !self.body.is_empty() {
            self.finish_block(out)?;
        }
        if !self.section.is_empty() {
            self.finish_section(out)?;
        }
        Ok(Run::new(self.meta, self.sections))
    }

    /// Adds one posting to the open entry, in the next block if this one is full.
    fn push(&mut self, position: u64, out: &mut Vec<RowOp>) -> Result<(), IndexError> {
        let room = BLOCK_BODY_BYTES - self.body.len();
        let from = self.meta.from;
        if self.entry.bytes_at_most() <= room
            || self.entry.bytes_with(self.shared, from, position) <= room
        {
            self.entry.push(position);
            return Ok(());
        }
        let ordinal = self.entry.end();
        self.finish_entry();
        self.finish_block(out)?;
        self.fence = Some(Continued { position, ordinal });
        self.begin_entry(ordinal, position, out)
    }

    /// Begins an entry of the term already set.
    fn begin_entry(
        &mut self,
        base: u64,
        position: u64,
        out: &mut Vec<RowOp>,
    ) -> Result<(), IndexError> {
        self.entry.begin(base, position);
        self.entry_is_open = true;
        self.shared = if self.body.is_empty() {
            0
        } else {
            shared_bytes(&self.body_term, &self.entry.term)
        };
        let bytes = self.entry.bytes_now(self.shared, self.meta.from);
        if self.body.len() + bytes > BLOCK_BODY_BYTES {
            self.finish_block(out)?;
            self.shared = 0;
        }
        if self.body.is_empty() {
            let fence = match self.fence {
                Some(_) => &self.entry.term,
                None => separator(&self.block_term, &self.entry.term),
            };
            self.fence_term.clear();
            self.fence_term.extend_from_slice(fence);
        }
        self.section.note(self.hash);
        Ok(())
    }

    fn finish_entry(&mut self) {
        if self.entry_is_open {
            self.entry
                .write(self.shared, self.meta.from, &mut self.body);
            self.body_term.clone_from(&self.entry.term);
            self.entry_is_open = false;
        }
    }

    fn finish_block(&mut self, out: &mut Vec<RowOp>) -> Result<(), IndexError> {
        let row = IndexRow::Block {
            run: self.meta.id,
            block: self.meta.blocks,
        };
        let body = std::mem::replace(&mut self.body, Vec::with_capacity(BLOCK_BYTES));
        out.push(row.put(body));
        let fence = Fence {
            term: &self.fence_term,
            continued: self.fence.take(),
        };
        self.section.push(&fence, self.meta.from);
        self.block_term.clone_from(&self.body_term);
        self.meta.blocks = self
            .meta
            .blocks
            .checked_add(1)
            .ok_or(IndexError::Exhausted { what: "blocks" })?;
        if self.section.is_full() {
            self.finish_section(out)?;
        }
        Ok(())
    }

    fn finish_section(&mut self, out: &mut Vec<RowOp>) -> Result<(), IndexError> {
        let row = IndexRow::Section {
            run: self.meta.id,
            section: self.meta.sections,
        };
        let body = self.section.finish();
        // Read back what was written: memory after a flush is memory after an open.
        self.sections
            .push(Section::decode(body.clone(), self.meta.from).at(row)?);
        out.push(row.put(body));
        self.meta.sections += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::{Head, Meter, Needle, Nth};
    use super::super::sample::Rows;
    use super::super::scan::RunScan;
    use super::*;
    use std::sync::Arc;

    const COMMON: &[u8] = b"Tcommon";
    const POSITIONS: u64 = 60_000;

    /// A run of so many ids and one common term.
    fn built(ids: u64) -> (Run, Rows) {
        let mut builder = RunBuilder::new(4, 0, 0, POSITIONS);
        let mut ops = Vec::new();
        for id in 0..ids {
            let term = [&b"I"[..], &id.to_be_bytes()].concat();
            builder.add(&term, 0, &[id], &mut ops).unwrap().unwrap();
        }
        let positions: Vec<u64> = (0..POSITIONS).collect();
        for part in positions.chunks(700) {
            builder
                .add(COMMON, part[0], part, &mut ops)
                .unwrap()
                .unwrap();
        }
        let run = builder.finish(&mut ops).unwrap();
        let mut rows = Rows::default();
        rows.apply(&ops);
        (run, rows)
    }

    #[test]
    fn a_term_may_span_sections() {
        let mut spanning = 0;
        for ids in (24_000..24_800).step_by(60) {
            let (built, rows) = built(ids);
            let run = Run::load(&rows, &built.meta).unwrap();
            assert_eq!(run.meta.terms, ids + 1);
            if run.meta.sections == 1 {
                continue;
            }
            let second = run.section_of(run.meta.blocks - 1).unwrap();
            spanning += u32::from(second.fence(0).unwrap().continued.is_some());
            let meter = &mut Meter::unlimited();
            let needle = Needle::new(COMMON);
            for at in [0, 20_000, 40_000, POSITIONS - 1] {
                let head = run.head(&rows, needle, at + 1, meter).unwrap();
                let expected = Head {
                    last: at,
                    count: at + 1,
                };
                assert_eq!(head, Some(expected));
                assert_eq!(run.nth(&rows, needle, at, meter).unwrap(), Nth::At(at));
                for reverse in [false, true] {
                    let mut batch = Vec::new();
                    run.batch(&rows, needle, at, reverse, meter, &mut batch)
                        .unwrap();
                    assert!(batch.contains(&at));
                }
            }
            let mut scan = RunScan::new(Arc::new(run));
            scan.advance(&rows).unwrap();
            while scan.entry().is_some() {
                scan.advance(&rows).unwrap();
            }
        }
        assert!(spanning > 0, "no term spanned two sections");
    }

    #[test]
    fn refuses_what_is_out_of_order() {
        let mut builder = RunBuilder::new(1, 1, 0, 100);
        let mut ops = Vec::new();
        let mut add = |term: &[u8], base, positions: &[u64]| {
            builder.add(term, base, positions, &mut ops).unwrap()
        };
        add(b"Ta", 3, &[5, 7]).unwrap();
        assert!(add(b"Ta", 4, &[8]).is_err(), "base");
        assert!(add(b"Ta", 5, &[7]).is_err(), "position");
        assert!(add(b"T", 0, &[8]).is_err(), "term");
        add(b"Ta", 5, &[8]).unwrap();
        add(b"Tb", 0, &[1]).unwrap();
    }

    #[test]
    fn rows_are_just_under_a_page() {
        let (run, rows) = built(5_000);
        let blocks: Vec<usize> = rows
            .rows
            .iter()
            .filter(|(key, _)| key.starts_with(b"r"))
            .map(|(_, row)| row.len())
            .collect();
        assert_eq!(blocks.len(), run.meta.blocks as usize);
        assert!(blocks.iter().all(|&bytes| bytes <= BLOCK_BYTES));
        let full = blocks.iter().filter(|&&bytes| bytes > BLOCK_BYTES - 40);
        assert!(full.count() + 2 >= blocks.len());
    }
}
