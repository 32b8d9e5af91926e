//! Postings of the newest events, in memory.
//!
//! The writer inserts events before they are committed; readers share the table and look only
//! below the position that their view may see.

use super::error::IndexError;
use super::key::{TermKey, TermMap, prefix};
use super::term;
use foldhash::fast::RandomState;
use std::slice;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What a term costs in memory beside its postings: key, entry and slack of map and list.
const ENTRY_BYTES: usize = 112;

/// The postings of a contiguous range of positions.
#[derive(Debug)]
pub(super) struct Memtable {
    /// First position that it may hold.
    pub(super) from: u64,
    /// One lock an event: inserts are short, and readers copy a bounded batch under it.
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Where the entry of a term stands.
    terms: TermMap<TermKey, usize>,
    entries: Vec<Entry>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Postings of the term below `from`, once somebody had to find out.
    base: Option<u64>,
    postings: Postings,
}

/// Most terms (event ids) have one posting and need no list.
#[derive(Debug)]
enum Postings {
    One(u64),
    Many(Vec<u64>),
}

impl Postings {
    fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(position) => slice::from_ref(position),
            Self::Many(positions) => positions,
        }
    }

    /// Adds the newest position, once; answers whether it was new.
    fn push(&mut self, position: u64) -> bool {
        if self.as_slice().last() == Some(&position) {
            return false;
        }
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, position]),
            Self::Many(positions) => positions.push(position),
        }
        true
    }
}

impl Inner {
    fn entry(&self, term: &[u8]) -> Option<&Entry> {
        self.entries.get(*self.terms.get(term)?)
    }

    fn add(&mut self, term: &[u8], position: u64) {
        if let Some(&index) = self.terms.get(term) {
            if let Some(entry) = self.entries.get_mut(index)
                && entry.postings.push(position)
            {
                self.bytes += size_of::<u64>();
            }
            return;
        }
        self.terms.insert(TermKey::new(term), self.entries.len());
        self.entries.push(Entry {
            base: None,
            postings: Postings::One(position),
        });
        self.bytes += term.len() + ENTRY_BYTES;
    }
}

/// The postings of a term below some bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last of them.
    pub(super) last: u64,
    /// How many there are in this table.
    pub(super) count: u64,
    /// How many there are before this table, if known.
    pub(super) base: Option<u64>,
}

impl Tail {
    fn of(entry: &Entry, bound: u64) -> Option<Self> {
        let below = below(entry.postings.as_slice(), bound);
        Some(Self {
            last: *below.last()?,
            count: below.len() as u64,
            base: entry.base,
        })
    }
}

/// A term of a table and where its entry stands in it.
#[derive(Debug)]
pub(super) struct SortedTerm {
    pub(super) term: TermKey,
    index: usize,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) events: u64,
    pub(super) bytes: usize,
}

impl Memtable {
    pub(super) fn new(from: u64) -> Self {
        Self::with_capacity(from, 0)
    }

    /// An empty table behind this one, with room for as many terms as this one has.
    pub(super) fn successor(&self) -> Self {
        let inner = self.read();
        Self::with_capacity(inner.next, inner.entries.len())
    }

    fn with_capacity(from: u64, terms: usize) -> Self {
        Self {
            from,
            inner: RwLock::new(Inner {
                terms: TermMap::with_capacity_and_hasher(terms, RandomState::default()),
                entries: Vec::with_capacity(terms),
                next: from,
                bytes: 0,
            }),
        }
    }

    // A panic while the lock is held leaves at worst an event whose terms are partly in.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position after the last one.
    pub(super) fn next(&self) -> u64 {
        self.read().next
    }

    pub(super) fn size(&self) -> Size {
        let inner = self.read();
        Size {
            events: inner.next - self.from,
            bytes: inner.bytes,
        }
    }

    /// Adds the event at the next position. Nothing is added if it is refused.
    pub(super) fn insert<'t, T>(&self, position: u64, terms: T) -> Result<(), IndexError>
    where
        T: Iterator<Item = &'t [u8]> + Clone,
    {
        terms.clone().try_for_each(term::check)?;
        let mut inner = self.write();
        if position != inner.next {
            return Err(IndexError::OutOfOrder {
                expected: inner.next,
                found: position,
            });
        }
        inner.next = position
            .checked_add(1)
            .ok_or(IndexError::Exhausted { what: "positions" })?;
        for term in terms {
            inner.add(term, position);
        }
        Ok(())
    }

    /// The postings of a term below `bound`, if there are any.
    pub(super) fn tail(&self, term: &[u8], bound: u64) -> Option<Tail> {
        Tail::of(self.read().entry(term)?, bound)
    }

    /// Records how many postings a term has before this table.
    pub(super) fn set_base(&self, term: &[u8], base: u64) {
        let inner = &mut *self.write();
        if let Some(&index) = inner.terms.get(term)
            && let Some(entry) = inner.entries.get_mut(index)
        {
            entry.base = Some(base);
        }
    }

    /// The `n`-th posting of a term in this table.
    pub(super) fn nth(&self, term: &[u8], n: u64) -> Option<u64> {
        let inner = self.read();
        let postings = inner.entry(term)?.postings.as_slice();
        postings.get(usize::try_from(n).ok()?).copied()
    }

    /// Replaces `out` by at most `limit` postings of a term: the ones from `target` upwards, or,
    /// reversed, the ones up to `target`. They ascend either way.
    pub(super) fn batch(
        &self,
        term: &[u8],
        target: u64,
        reverse: bool,
        limit: usize,
        out: &mut Vec<u64>,
    ) {
        out.clear();
        let inner = self.read();
        let Some(entry) = inner.entry(term) else {
            return;
        };
        let postings = entry.postings.as_slice();
        let (before, from) = postings.split_at(postings.partition_point(|&p| p < target));
        if reverse {
            let at_target = from.iter().take_while(|&&p| p == target).count();
            let upto = postings.get(..before.len() + at_target).unwrap_or(before);
            out.extend(upto.iter().skip(upto.len().saturating_sub(limit)));
        } else {
            out.extend(from.iter().take(limit));
        }
    }

    /// All terms in order.
    pub(super) fn sorted_terms(&self) -> Vec<SortedTerm> {
        // The first bytes decide most comparisons without a look at the rest.
        let mut terms: Vec<(u64, SortedTerm)> = self
            .read()
            .terms
            .iter()
            .map(|(term, &index)| {
                let term = term.clone();
                (prefix(term.bytes()), SortedTerm { term, index })
            })
            .collect();
        terms.sort_unstable_by(|(a_prefix, a), (b_prefix, b)| {
            a_prefix.cmp(b_prefix).then_with(|| a.term.cmp(&b.term))
        });
        terms.into_iter().map(|(_, term)| term).collect()
    }

    /// The postings of one of its sorted terms.
    pub(super) fn sorted_tail(&self, term: &SortedTerm) -> Option<Tail> {
        Tail::of(self.read().entries.get(term.index)?, u64::MAX)
    }

    /// Records how many postings one of its sorted terms has before this table, and calls `visit`
    /// with its postings.
    pub(super) fn settle<R>(
        &self,
        term: &SortedTerm,
        base: u64,
        visit: impl FnOnce(&[u64]) -> R,
    ) -> R {
        let mut inner = self.write();
        let entry = inner.entries.get_mut(term.index);
        let entry = entry.map(|entry| {
            entry.base = Some(base);
            &*entry
        });
        visit(entry.map_or(&[], |entry| entry.postings.as_slice()))
    }
}

fn below(postings: &[u64], bound: u64) -> &[u64] {
    if postings.last().is_some_and(|&last| last < bound) {
        return postings;
    }
    let (below, _) = postings.split_at(postings.partition_point(|&p| p < bound));
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Memtable {
        let table = Memtable::new(10);
        for position in 10..20 {
            let stream: &[u8] = if position % 2 == 0 { b"Seven" } else { b"Sodd" };
            let terms = [stream, b"Tx"];
            table.insert(position, terms.into_iter()).unwrap();
        }
        table
    }

    #[test]
    fn answers_below_a_bound() {
        let table = table();
        let tail = |bound| table.tail(b"Seven", bound).map(|t| (t.last, t.count));
        assert_eq!(tail(u64::MAX), Some((18, 5)));
        assert_eq!(tail(18), Some((16, 4)));
        assert_eq!(tail(11), Some((10, 1)));
        assert_eq!(tail(10), None);
        assert_eq!(table.nth(b"Sodd", 2), Some(15));
        assert_eq!(table.nth(b"Sodd", 5), None);
    }

    #[test]
    fn batches_are_bounded_both_ways() {
        let table = table();
        let batch = |target, reverse, limit| {
            let mut out = vec![1];
            table.batch(b"Sodd", target, reverse, limit, &mut out);
            out
        };
        assert_eq!(batch(12, false, 2), [13, 15]);
        assert_eq!(batch(15, true, 2), [13, 15]);
        assert_eq!(batch(14, true, 9), [11, 13]);
        assert!(batch(20, false, 9).is_empty());
    }

    #[test]
    fn refuses_gaps_and_impossible_terms_whole() {
        let table = table();
        let gap = table.insert(21, [&b"Tx"[..]].into_iter()).unwrap_err();
        assert_eq!(
            gap.to_string(),
            "position 21 was indexed where 20 comes next"
        );
        let long = vec![b'G'; term::MAX_TERM_BYTES + 1];
        assert!(
            table
                .insert(20, [&b"Tx"[..], &long].into_iter())
                .is_err_and(|error| error.code() == "index_term_length")
        );
        assert!(table.insert(20, [&b""[..]].into_iter()).is_err());
        assert_eq!(table.tail(b"Tx", u64::MAX).map(|t| t.count), Some(10));
        assert_eq!(table.next(), 20);
    }

    #[test]
    fn a_term_given_twice_counts_once() {
        let table = Memtable::new(0);
        let twice = [&b"Gk:v"[..], b"Gk:v"];
        table.insert(0, twice.into_iter()).unwrap();
        assert_eq!(table.tail(b"Gk:v", 9).map(|t| t.count), Some(1));
    }

    #[test]
    fn terms_are_sorted_by_their_bytes() {
        let table = Memtable::new(0);
        let terms: [&[u8]; 6] = [
            b"Tb",
            b"Taaaaaaaaa",
            b"T",
            b"Taaaaaaaa",
            b"T\0",
            b"Taaaaaaa",
        ];
        table.insert(0, terms.into_iter()).unwrap();
        let sorted = table.sorted_terms();
        assert_eq!(sorted.len(), 6);
        assert!(sorted.windows(2).all(|pair| pair[0].term < pair[1].term));
    }
}
