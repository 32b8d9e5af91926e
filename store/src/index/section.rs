//! Sections: where each block of a stretch of a run begins, and a filter of its terms.
//!
//! ```text
//! varint first block || varint blocks || blocks x fence || varint terms || filter
//! fence = varint (2 x length + continued) || term bytes || (continued: varint position || varint ordinal)
//! ```
//!
//! A block that begins with a new term has as fence the shortest prefix of it that sorts behind
//! the block before. A block that goes on with a term has the whole term (length 0: the same as
//! the fence before), its first position counted from the run's, and the ordinal of that posting.
//! So the blocks of one term can be searched by position and by ordinal without being read.

use super::block::MAX_BLOCK_TERMS;
use super::error::Fault;
use super::filter;
use super::key::prefix;
use super::row::CHECKSUM_BYTES;
use super::term::MAX_TERM_BYTES;
use super::varint::{self, Reader};
use std::ops::Range;

/// Most bytes of a section's row: just under 32 KiB.
pub(super) const SECTION_BYTES: usize = 32_000;
const SECTION_BODY_BYTES: usize = SECTION_BYTES - CHECKSUM_BYTES;
/// Two block numbers, and the number of terms.
const MAX_HEAD_BYTES: usize = 5 + 5 + 10;
/// Its length, a term, a position and an ordinal.
const MAX_FENCE_BYTES: usize = 2 + MAX_TERM_BYTES + 10 + 10;

/// Where a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    /// The term, or for a new term a prefix of it that sorts behind the block before.
    pub(super) term: &'a [u8],
    /// Set if the block goes on with a term.
    pub(super) continued: Option<Continued>,
}

/// How a block goes on with a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Continued {
    /// Its first position.
    pub(super) position: u64,
    /// Postings of the term before it.
    pub(super) ordinal: u64,
}

/// What the blocks of one term are searched by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Position(u64),
    Ordinal(u64),
}

impl Fence<'_> {
    /// Whether the block begins at or before a posting.
    pub(super) fn is_at_most(&self, term: &[u8], by: By) -> bool {
        let (own, wanted) = match by {
            By::Position(wanted) => (self.continued.map_or(0, |c| c.position), wanted),
            By::Ordinal(wanted) => (self.continued.map_or(0, |c| c.ordinal), wanted),
        };
        (self.term, own) <= (term, wanted)
    }

    fn precedes(&self, next: &Self) -> bool {
        if self.term != next.term {
            return self.term < next.term;
        }
        next.continued.is_some_and(|next| {
            self.continued
                .is_none_or(|own| own.position < next.position && own.ordinal < next.ordinal)
        })
    }
}

/// A section in memory: its row, and where the fences stand in it.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) first_block: u32,
    /// Different terms of its blocks.
    pub(super) terms: u64,
    body: Box<[u8]>,
    filter_at: usize,
    fences: Box<[StoredFence]>,
    /// First bytes of the fences, in one piece: most searches end in them.
    prefixes: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct StoredFence {
    start: u32,
    len: u32,
    continued: Option<Continued>,
}

impl Section {
    /// Decodes a section of a run whose first position is `run_from`.
    pub(super) fn decode(body: Vec<u8>, run_from: u64) -> Result<Self, Fault> {
        let mut reader = Reader::new(&body);
        let first_block = block_number(reader.varint()?)?;
        let blocks = block_number(reader.varint()?)?;
        let mut fences: Vec<StoredFence> = Vec::new();
        for _ in 0..blocks {
            let before = fences.last().copied();
            let fence = read_fence(&mut reader, &body, before, run_from)?;
            let view = |stored: &StoredFence| stored.view(&body);
            if before.is_some_and(|before| !view(&before).precedes(&view(&fence))) {
                return Err("the fences are not in order");
            }
            fences.push(fence);
        }
        let terms = reader.size()?;
        if blocks == 0 || terms == 0 {
            return Err("the section is empty");
        }
        if reader.remaining() != filter::bytes_for(terms) {
            return Err("the filter has the wrong length");
        }
        let filter_at = body.len() - reader.remaining();
        let prefixes = fences.iter().map(|fence| prefix(fence.view(&body).term));
        Ok(Self {
            prefixes: prefixes.collect(),
            first_block,
            terms: terms as u64,
            body: body.into_boxed_slice(),
            filter_at,
            fences: fences.into_boxed_slice(),
        })
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.fences.len()
    }

    /// The fence of its `n`-th block.
    pub(super) fn fence(&self, n: usize) -> Option<Fence<'_>> {
        self.fences.get(n).map(|stored| stored.view(&self.body))
    }

    /// How many of its blocks begin at or before a posting.
    pub(super) fn count_at_most(&self, term: &[u8], by: By) -> usize {
        let alike = alike(&self.prefixes, term);
        let fences = self.fences.get(alike.clone()).unwrap_or_default();
        alike.start + fences.partition_point(|stored| stored.view(&self.body).is_at_most(term, by))
    }

    /// Whether a block of the section may hold a term; no is certain.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let filter = self.body.get(self.filter_at..).unwrap_or_default();
        filter::contains(filter, hash)
    }

    /// Whether this section can follow another.
    pub(super) fn follows(&self, before: &Self) -> bool {
        let last = before.len().checked_sub(1).and_then(|n| before.fence(n));
        match (last, self.fence(0)) {
            (Some(last), Some(first)) => last.precedes(&first),
            _ => false,
        }
    }
}

impl StoredFence {
    fn view(self, body: &[u8]) -> Fence<'_> {
        let start = self.start as usize;
        Fence {
            term: body
                .get(start..start + self.len as usize)
                .unwrap_or_default(),
            continued: self.continued,
        }
    }
}

fn block_number(value: u64) -> Result<u32, Fault> {
    u32::try_from(value).map_err(|_| "a block number is too large")
}

fn read_fence(
    reader: &mut Reader<'_>,
    body: &[u8],
    before: Option<StoredFence>,
    run_from: u64,
) -> Result<StoredFence, Fault> {
    let head = reader.size()?;
    let (len, is_continued) = (head >> 1, head & 1 == 1);
    let start = body.len() - reader.remaining();
    let term = reader.take(len)?;
    let mut fence = StoredFence {
        start: block_number(start as u64)?,
        len: block_number(len as u64)?,
        continued: None,
    };
    match before {
        Some(before) if len == 0 => (fence.start, fence.len) = (before.start, before.len),
        Some(before) if is_continued && before.view(body).term == term => {
            return Err("a fence repeats a term");
        }
        _ => {}
    }
    if (len == 0 && !is_continued) || fence.len == 0 || len > MAX_TERM_BYTES {
        return Err("a fence has no term or one too long");
    }
    if is_continued {
        fence.continued = Some(Continued {
            position: run_from
                .checked_add(reader.varint()?)
                .ok_or("a fence lies outside its run")?,
            ordinal: reader.varint()?,
        });
    }
    Ok(fence)
}

/// Where in sorted prefixes those of a term stand: what is before sorts before it.
pub(super) fn alike(prefixes: &[u64], term: &[u8]) -> Range<usize> {
    let wanted = prefix(term);
    let start = prefixes.partition_point(|&prefix| prefix < wanted);
    let rest = prefixes.get(start..).unwrap_or_default();
    // Rarely more than one or two, unless terms begin alike.
    let len = match rest {
        [_, second, ..] if *second == wanted => rest.partition_point(|&prefix| prefix == wanted),
        [first, ..] => usize::from(*first == wanted),
        [] => 0,
    };
    start..start + len
}

/// The shortest prefix of `first` that sorts behind `last_before`, which `first` does.
pub(super) fn separator<'a>(last_before: &[u8], first: &'a [u8]) -> &'a [u8] {
    let shared = shared_bytes(last_before, first);
    first.get(..=shared).unwrap_or(first)
}

/// Length of the common prefix.
pub(super) fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A section being written.
#[derive(Debug, Default)]
pub(super) struct SectionBuilder {
    first_block: u32,
    blocks: u32,
    fences: Vec<u8>,
    last_fence: Vec<u8>,
    hashes: Vec<u64>,
}

impl SectionBuilder {
    /// Notes a term of the next block. The blocks of one term follow one another.
    pub(super) fn note(&mut self, hash: u64) {
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
    }

    /// Adds the block whose terms were noted.
    pub(super) fn push(&mut self, fence: &Fence<'_>, run_from: u64) {
        let repeats = self.blocks > 0 && self.last_fence == fence.term;
        let term = if repeats { &[] } else { fence.term };
        let head = (term.len() as u64) << 1 | u64::from(fence.continued.is_some());
        varint::put(&mut self.fences, head);
        self.fences.extend_from_slice(term);
        if let Some(continued) = fence.continued {
            varint::put(&mut self.fences, continued.position - run_from);
            varint::put(&mut self.fences, continued.ordinal);
        }
        if !repeats {
            self.last_fence.clear();
            self.last_fence.extend_from_slice(term);
        }
        self.blocks += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Whether one more block could be too much for the row.
    pub(super) fn is_full(&self) -> bool {
        let filter = filter::bytes_for(self.hashes.len() + MAX_BLOCK_TERMS);
        MAX_HEAD_BYTES + self.fences.len() + MAX_FENCE_BYTES + filter > SECTION_BODY_BYTES
    }

    /// The body of the section; the builder begins the next one.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut body = Vec::with_capacity(SECTION_BYTES);
        varint::put(&mut body, u64::from(self.first_block));
        varint::put(&mut body, u64::from(self.blocks));
        body.append(&mut self.fences);
        varint::put(&mut body, self.hashes.len() as u64);
        body.extend_from_slice(&filter::build(&self.hashes));
        self.hashes.clear();
        self.first_block += self.blocks;
        self.blocks = 0;
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new_term(term: &[u8]) -> Fence<'_> {
        Fence {
            term,
            continued: None,
        }
    }

    fn continued(term: &[u8], position: u64, ordinal: u64) -> Fence<'_> {
        Fence {
            term,
            continued: Some(Continued { position, ordinal }),
        }
    }

    fn sample() -> (Vec<u8>, [Fence<'static>; 5]) {
        let fences = [
            new_term(b"I"),
            continued(b"Tab", 110, 3),
            continued(b"Tab", 150, 9),
            new_term(b"Tb"),
            continued(b"Tb", 101, 1),
        ];
        let mut builder = SectionBuilder::default();
        for fence in &fences {
            builder.note(filter::hash(fence.term));
            builder.push(fence, 100);
        }
        (builder.finish(), fences)
    }

    #[test]
    fn bytes_are_pinned() {
        let (body, fences) = sample();
        let head = [
            0, 5, // blocks 0 to 4
            2, b'I', // a new term
            7, b'T', b'a', b'b', 10, 3, // goes on at 110 with ordinal 3
            1, 50, 9, // the same term
            4, b'T', b'b', // a new term
            1, 1, 1, // goes on at 101
            3, // terms
        ];
        assert_eq!(body[..head.len()], head);
        assert_eq!(body.len(), head.len() + 8);
        let section = Section::decode(body, 100).unwrap();
        assert_eq!(section.len(), 5);
        for (n, fence) in fences.iter().enumerate() {
            assert_eq!(section.fence(n).as_ref(), Some(fence));
        }
        assert!(section.may_hold(filter::hash(b"Tab")));
        assert!(!section.may_hold(filter::hash(b"Tac")));
    }

    #[test]
    fn blocks_are_found_by_position_and_ordinal() {
        let section = Section::decode(sample().0, 100).unwrap();
        let count = |term, by| section.count_at_most(term, by);
        assert_eq!(count(b"H", By::Position(999)), 0);
        assert_eq!(count(b"Iz", By::Position(0)), 1);
        assert_eq!(count(b"Tab", By::Position(109)), 1);
        assert_eq!(count(b"Tab", By::Position(110)), 2);
        assert_eq!(count(b"Tab", By::Position(u64::MAX)), 3);
        assert_eq!(count(b"Tab", By::Ordinal(8)), 2);
        assert_eq!(count(b"Tac", By::Ordinal(0)), 3);
        assert_eq!(count(b"Tb", By::Ordinal(0)), 4);
    }

    #[test]
    fn refuses_each_wrong_field() {
        let filter = [0; 8];
        for (head, what) in [
            (&[0, 0, 1][..], "empty"),
            (&[0, 1, 2, b'T', 0], "empty"),
            (&[0, 1, 0, 1], "no term"),
            (&[0, 1, 1, 0, 0, 1], "no term"),
            (&[0, 2, 2, b'T', 2, b'S', 1], "order"),
            (&[0, 2, 2, b'T', 2, b'T', 1], "order"),
            (&[0, 2, 2, b'T', 3, b'T', 0, 0, 1], "repeats"),
            (&[0, 2, 3, b'T', 5, 5, 1, 5, 6, 1], "order"),
            (&[0, 2, 3, b'T', 5, 5, 1, 6, 5, 1], "order"),
            (&[0, 1, 2, b'T', 60], "length"),
            (&[0, 3, 2, b'T', 4, b'T', b'a'], "no term"),
        ] {
            let error = Section::decode([head, &filter].concat(), 0).unwrap_err();
            assert!(error.contains(what), "{head:?}: {error}");
        }
    }

    #[test]
    fn separators_are_short_and_between() {
        assert_eq!(separator(b"", b"Iabc"), b"I");
        assert_eq!(separator(b"Iab", b"Iacd"), b"Iac");
        assert_eq!(separator(b"Iab", b"Iab\0\0"), b"Iab\0");
        assert_eq!(separator(b"Iab", b"Tx"), b"T");
    }

    #[test]
    fn the_largest_section_fits_its_row() {
        let mut builder = SectionBuilder::default();
        let mut n = 0_u64;
        while !builder.is_full() {
            for _ in 0..MAX_BLOCK_TERMS {
                builder.note(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                n += 1;
            }
            let term = [&n.to_be_bytes()[..], &[1; MAX_TERM_BYTES - 8]].concat();
            builder.push(&continued(&term, u64::MAX, u64::MAX), 0);
        }
        assert!(builder.finish().len() <= SECTION_BODY_BYTES);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0_usize..40, value: u8) {
            let _ = Section::decode(bytes, 5);
            let mut body = sample().0;
            if let Some(byte) = body.get_mut(at) {
                *byte = value;
            }
            if let Ok(section) = Section::decode(body, 100) {
                let _ = section.count_at_most(b"Tab", By::Position(120));
            }
        }
    }
}
