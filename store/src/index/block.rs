//! Blocks: the postings of consecutive terms of a run, in one row.
//!
//! An entry is a term and its postings in this block. A term with more postings than fit goes on
//! as the first entry of the next block; `base` counts its postings before each entry, from the
//! beginning of the log.

use super::error::{AtRow, Fault, IndexError, IndexRow};
use super::manifest::RunMeta;
use super::row::{CHECKSUM_BYTES, RowRead};
use super::section::shared_bytes;
use super::term::MAX_TERM_BYTES;
use super::varint::{self, Reader};
use std::cmp::Ordering;
use std::ops::Range;

/// Most bytes of a block's row. A row of 4,096 bytes would take two pages of 4 KiB in redb.
pub(super) const BLOCK_BYTES: usize = 4_000;
/// Most bytes of its entries.
pub(super) const BLOCK_BODY_BYTES: usize = BLOCK_BYTES - CHECKSUM_BYTES;
/// The shortest entry: shared, suffix length, one byte of suffix, count, position.
const MIN_ENTRY_BYTES: usize = 5;
/// Most entries of a block.
pub(super) const MAX_BLOCK_TERMS: usize = BLOCK_BODY_BYTES / MIN_ENTRY_BYTES;

/// A block as read.
#[derive(Debug)]
pub(super) struct Block {
    row: IndexRow,
    body: Vec<u8>,
    from: u64,
    to: u64,
}

/// What an entry says before its postings are decoded.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Postings of the term before this entry.
    pub(super) base: u64,
    /// Postings of this entry.
    pub(super) count: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where the positions between first and last stand.
    middle: Range<usize>,
}

impl Entry {
    /// Postings of the term up to and with this entry.
    pub(super) fn end(&self) -> u64 {
        self.base + self.count
    }
}

/// A place in a block, going from entry to entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    at: usize,
    term: Vec<u8>,
    /// Bytes of the term that the one before has.
    shared: usize,
}

impl Walk {
    /// The term of the entry that [`Self::next`] returned.
    pub(super) fn term(&self) -> &[u8] {
        &self.term
    }

    /// Goes to the first entry of the next block; [`Self::term`] stays until then.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// The next entry, or none at the end.
    pub(super) fn next(&mut self, block: &Block) -> Result<Option<Entry>, IndexError> {
        self.step(block).at(block.row)
    }

    fn step(&mut self, block: &Block) -> Result<Option<Entry>, Fault> {
        let rest = block.body.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(rest);
        self.read_term(&mut reader)?;
        let head = reader.varint()?;
        let count = head >> 1;
        let base = if head & 1 == 1 { reader.varint()? } else { 0 };
        if count == 0 || (head & 1 == 1 && base == 0) || base.checked_add(count).is_none() {
            return Err("an entry counts its postings wrongly");
        }
        let first = reader.varint()?.checked_add(block.from);
        let span = if count > 1 { reader.varint()? } else { 0 };
        let (first, last) = first
            .and_then(|first| Some((first, first.checked_add(span)?)))
            .filter(|&(_, last)| last < block.to && span >= count - 1)
            .ok_or("an entry holds positions outside its run")?;
        let middle_bytes = if count > 2 { reader.size()? } else { 0 };
        let start = block.body.len() - reader.remaining();
        reader.take(middle_bytes)?;
        if count > 2 && (middle_bytes as u64) < count - 2 {
            return Err("an entry has fewer postings than it counts");
        }
        self.at = start + middle_bytes;
        Ok(Some(Entry {
            base,
            count,
            first,
            last,
            middle: start..self.at,
        }))
    }

    /// Reads a term that is prefix-compressed against the one before, which it must follow.
    fn read_term(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        const UNSORTED: Fault = "terms are not in order, or not in their shortest form";
        if self.at == 0 {
            self.term.clear();
        }
        let shared = reader.size()?;
        let suffix_bytes = reader.size()?;
        let suffix = reader.take(suffix_bytes)?;
        let follows = match (self.term.get(shared), suffix.first()) {
            (_, None) => false,
            (None, Some(_)) => shared == self.term.len(),
            (Some(old), Some(new)) => old < new,
        };
        if !follows {
            return Err(UNSORTED);
        }
        self.shared = shared;
        self.term.truncate(shared);
        self.term.extend_from_slice(suffix);
        if self.term.len() > MAX_TERM_BYTES {
            return Err("a term is too long");
        }
        Ok(())
    }
}

impl Block {
    /// Reads a block of a run.
    pub(super) fn read(rows: &dyn RowRead, run: &RunMeta, block: u32) -> Result<Self, IndexError> {
        let row = IndexRow::Block { run: run.id, block };
        let body = row.read(rows, BLOCK_BYTES)?;
        if body.is_empty() {
            return Err(IndexError::corrupt(row, "the block has no entries"));
        }
        Ok(Self {
            row,
            body,
            from: run.from,
            to: run.to,
        })
    }

    pub(super) fn row(&self) -> IndexRow {
        self.row
    }

    /// The entry of a term. Entries behind it are not looked at.
    pub(super) fn find(&self, term: &[u8]) -> Result<Option<Entry>, IndexError> {
        let mut walk = Walk::default();
        // Bytes in which the entry before, which sorts before the term, agrees with it.
        let mut agreed = 0;
        while let Some(entry) = walk.next(self)? {
            match walk.shared.cmp(&agreed) {
                // It has the byte by which the entry before sorts before the term.
                Ordering::Greater => continue,
                // It sorts behind the entry before where that agrees with the term.
                Ordering::Less => break,
                Ordering::Equal => {}
            }
            let own = walk.term().get(agreed..).unwrap_or_default();
            let wanted = term.get(agreed..).unwrap_or_default();
            match own.cmp(wanted) {
                Ordering::Less => agreed += shared_bytes(own, wanted),
                Ordering::Equal => return Ok(Some(entry)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Replaces `out` by the positions of an entry of this block.
    pub(super) fn positions(&self, entry: &Entry, out: &mut Vec<u64>) -> Result<(), IndexError> {
        out.clear();
        self.decode(entry, out).at(self.row)
    }

    fn decode(&self, entry: &Entry, out: &mut Vec<u64>) -> Result<(), Fault> {
        const WRONG: Fault = "the positions of an entry do not add up";
        out.push(entry.first);
        let mut position = entry.first;
        let mut reader = Reader::new(self.body.get(entry.middle.clone()).unwrap_or_default());
        while !reader.is_empty() {
            position = reader
                .varint()?
                .checked_add(1)
                .and_then(|gap| position.checked_add(gap))
                .filter(|&position| position < entry.last)
                .ok_or(WRONG)?;
            out.push(position);
        }
        if entry.count > 1 {
            out.push(entry.last);
        }
        if out.len() as u64 != entry.count {
            return Err(WRONG);
        }
        Ok(())
    }
}

/// An entry being written: it grows until the block is full or the term ends.
#[derive(Debug, Default)]
pub(super) struct OpenEntry {
    pub(super) term: Vec<u8>,
    base: u64,
    count: u64,
    first: u64,
    previous: u64,
    last: u64,
    middle: Vec<u8>,
}

impl OpenEntry {
    /// Begins anew with one posting; the term is set by the caller.
    pub(super) fn begin(&mut self, base: u64, position: u64) {
        self.base = base;
        self.count = 1;
        self.first = position;
        self.previous = position;
        self.last = position;
        self.middle.clear();
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Postings of the term up to and with this entry.
    pub(super) fn end(&self) -> u64 {
        self.base + self.count
    }

    /// Adds a posting behind the last one.
    pub(super) fn push(&mut self, position: u64) {
        if self.count > 1 {
            varint::put(&mut self.middle, self.last - self.previous - 1);
        }
        self.previous = self.last;
        self.last = position;
        self.count += 1;
    }

    /// Never less than [`Self::bytes_with`], and cheap.
    pub(super) fn bytes_at_most(&self) -> usize {
        // Two lengths of a term, five numbers, a length, and one more gap.
        const NUMBERS_BYTES: usize = 2 * 2 + 5 * 10 + 2 + 10;
        self.term.len() + self.middle.len() + NUMBERS_BYTES
    }

    /// Encoded size after one more posting at `position`.
    pub(super) fn bytes_with(&self, shared: usize, run_from: u64, position: u64) -> usize {
        let middle = if self.count > 1 {
            self.middle.len() + varint::len(self.last - self.previous - 1)
        } else {
            0
        };
        self.bytes(shared, run_from, self.count + 1, position, middle)
    }

    /// Encoded size.
    pub(super) fn bytes_now(&self, shared: usize, run_from: u64) -> usize {
        self.bytes(shared, run_from, self.count, self.last, self.middle.len())
    }

    fn bytes(&self, shared: usize, run_from: u64, count: u64, last: u64, middle: usize) -> usize {
        let suffix = self.term.len() - shared;
        let mut bytes = varint::len(shared as u64) + varint::len(suffix as u64) + suffix;
        bytes += varint::len(count << 1);
        if self.base > 0 {
            bytes += varint::len(self.base);
        }
        bytes += varint::len(self.first - run_from);
        if count > 1 {
            bytes += varint::len(last - self.first);
        }
        if count > 2 {
            bytes += varint::len(middle as u64) + middle;
        }
        bytes
    }

    /// Appends the entry; its term shares `shared` bytes with the one before it in the block.
    pub(super) fn write(&self, shared: usize, run_from: u64, out: &mut Vec<u8>) {
        let suffix = self.term.get(shared..).unwrap_or_default();
        varint::put(out, shared as u64);
        varint::put(out, suffix.len() as u64);
        out.extend_from_slice(suffix);
        varint::put(out, self.count << 1 | u64::from(self.base > 0));
        if self.base > 0 {
            varint::put(out, self.base);
        }
        varint::put(out, self.first - run_from);
        if self.count > 1 {
            varint::put(out, self.last - self.first);
        }
        if self.count > 2 {
            varint::put(out, self.middle.len() as u64);
            out.extend_from_slice(&self.middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(body: &[u8]) -> Block {
        Block {
            row: IndexRow::Block { run: 1, block: 0 },
            body: body.to_vec(),
            from: 100,
            to: 1_000,
        }
    }

    fn entry(term: &[u8], base: u64, positions: &[u64]) -> OpenEntry {
        let mut entry = OpenEntry {
            term: term.to_vec(),
            ..OpenEntry::default()
        };
        entry.begin(base, positions[0]);
        for &position in &positions[1..] {
            assert!(entry.bytes_with(0, 100, position) <= entry.bytes_at_most());
            entry.push(position);
        }
        entry
    }

    #[test]
    fn bytes_are_pinned() {
        let mut body = Vec::new();
        entry(b"Tab", 0, &[100]).write(0, 100, &mut body);
        entry(b"Tac", 5, &[101, 104]).write(2, 100, &mut body);
        entry(b"U", 0, &[110, 111, 400, 999]).write(0, 100, &mut body);
        assert_eq!(
            body,
            [
                0, 3, b'T', b'a', b'b', 2, 0, // one posting at 100 + 0
                2, 1, b'c', 5, 5, 1, 3, // two after five others: 101, and 3 on
                0, 1, b'U', 8, 10, 0xf9, 6, 3, 0, 0xa0, 2, // four: 110, last 889 on, 111, 400
            ]
        );
        let block = block(&body);
        let mut positions = Vec::new();
        let found = block.find(b"U").unwrap().unwrap();
        assert_eq!((found.first, found.last, found.end()), (110, 999, 4));
        block.positions(&found, &mut positions).unwrap();
        assert_eq!(positions, [110, 111, 400, 999]);
        assert!(block.find(b"Ta").unwrap().is_none());
        assert!(block.find(b"V").unwrap().is_none());
    }

    #[test]
    fn refuses_each_wrong_field() {
        for (body, what) in [
            (&[1, 1, b'T', 2, 0][..], "order"),
            (&[0, 0, 2, 0], "order"),
            (&[0, 1, b'T', 2, 0, 0, 1, b'T', 2, 0], "order"),
            (&[0, 2, b'T', b'b', 2, 0, 1, 1, b'a', 2, 0], "order"),
            (&[0, 2, b'T', b'b', 2, 0, 0, 2, b'T', b'c', 2, 0], "order"),
            (&[0, 1, b'T', 0, 0], "counts"),
            (&[0, 1, b'T', 3, 0, 0], "counts"),
            (&[0, 1, b'T', 2, 0xff, 0x7f], "outside"),
            (&[0, 1, b'T', 4, 0, 0], "outside"),
            (&[0, 1, b'T', 6, 0, 2, 0], "fewer"),
            (&[0, 1, b'T', 6, 0, 2, 5, 0], "early"),
            (&[0, 1, b'T', 2], "early"),
        ] {
            let block = block(body);
            let mut walk = Walk::default();
            let error = loop {
                match walk.next(&block) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{body:?} was accepted"),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains(what), "{body:?}: {error}");
        }
    }

    #[test]
    fn refuses_postings_that_do_not_add_up() {
        for body in [
            &[0, 1, b'T', 6, 0, 9, 1, 9][..],
            &[0, 1, b'T', 6, 0, 9, 2, 0, 0],
            &[0, 1, b'T', 8, 0, 9, 2, 0x80, 1],
        ] {
            let block = block(body);
            let found = block.find(b"T").unwrap().unwrap();
            let mut out = Vec::new();
            assert!(block.positions(&found, &mut out).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_read_back_as_written(body: Vec<u8>) {
            let block = block(&body);
            let mut walk = Walk::default();
            let mut written = Vec::new();
            let mut before = Vec::new();
            let mut positions = Vec::new();
            while let Ok(Some(found)) = walk.next(&block) {
                if block.positions(&found, &mut positions).is_err() {
                    return Ok(());
                }
                let shared = before.iter().zip(walk.term()).take_while(|(a, b)| a == b).count();
                let open = entry(walk.term(), found.base, &positions);
                prop_assert_eq!(open.bytes_now(shared, 100), walk.at - written.len());
                open.write(shared, 100, &mut written);
                before = walk.term().to_vec();
                prop_assert_eq!(&written[..], &body[..walk.at]);
            }
        }
    }
}
