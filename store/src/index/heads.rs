//! Heads of terms for the writer: O(1) for what was asked recently, in bounded memory.

use super::error::IndexError;
use super::key::TermMap;
use super::memtable::Memtable;
use super::row::RowRead;
use super::run::{Head, Meter, Needle, Run};
use super::term;
use std::mem;
use std::sync::Arc;

/// What the runs say about the terms asked last, absent ones too.
///
/// Two generations stand in for an exact order of use: a full young one becomes the old one, and
/// what is asked again moves back.
#[derive(Debug)]
pub(super) struct Heads {
    young: TermMap<Box<[u8]>, Option<Head>>,
    old: TermMap<Box<[u8]>, Option<Head>>,
    generation_terms: usize,
}

/// What becomes of the news that runs do not have a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    Remembered,
    Forgotten,
}

impl Heads {
    pub(super) fn new(terms: usize) -> Self {
        Self {
            young: TermMap::default(),
            old: TermMap::default(),
            generation_terms: (terms / 2).max(1),
        }
    }

    /// The head of a term over tables (oldest first) and runs.
    pub(super) fn head(
        &mut self,
        tables: &[Arc<Memtable>],
        runs: &[Arc<Run>],
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<Head>, IndexError> {
        let Some((table, older)) = tables.split_last() else {
            return self.head_in_runs(runs, rows, term, Absent::Remembered);
        };
        let Some(tail) = table.tail(term, u64::MAX) else {
            return self.head(older, runs, rows, term);
        };
        let base = if let Some(base) = tail.base {
            base
        } else if term::is_unique(term) {
            0
        } else {
            let before = self.head(older, runs, rows, term)?;
            let base = before.map_or(0, |head| head.count);
            table.set_base(term, base);
            base
        };
        Ok(Some(Head {
            last: tail.last,
            count: base + tail.count,
        }))
    }

    /// The last position of a term, which needs no count from older places. That a term is absent is
    /// not remembered: it is asked so that an event with it may come, and rarely twice.
    pub(super) fn last(
        &mut self,
        tables: &[Arc<Memtable>],
        runs: &[Arc<Run>],
        rows: &dyn RowRead,
        term: &[u8],
    ) -> Result<Option<u64>, IndexError> {
        let newest = tables
            .iter()
            .rev()
            .find_map(|table| table.tail(term, u64::MAX));
        if let Some(tail) = newest {
            return Ok(Some(tail.last));
        }
        let head = self.head_in_runs(runs, rows, term, Absent::Forgotten)?;
        Ok(head.map(|head| head.last))
    }

    /// What is known of a term in runs, to be brought up to date when the term is on its way into
    /// a run. Until that run is published the term is found in its table, so nobody sees this too
    /// early.
    pub(super) fn known(&mut self, term: &[u8]) -> Option<&mut Option<Head>> {
        match self.young.get_mut(term) {
            Some(known) => Some(known),
            None => self.old.get_mut(term),
        }
    }

    fn head_in_runs(
        &mut self,
        runs: &[Arc<Run>],
        rows: &dyn RowRead,
        term: &[u8],
        absent: Absent,
    ) -> Result<Option<Head>, IndexError> {
        if let Some(&head) = self.young.get(term) {
            return Ok(head);
        }
        if let Some((key, head)) = self.old.remove_entry(term) {
            self.remember(key, head);
            return Ok(head);
        }
        let head = head_in_runs(runs, rows, Needle::new(term), u64::MAX)?;
        // Nobody brings up to date what is remembered of a unique term when it comes to a run.
        if head.is_some() || (absent == Absent::Remembered && !term::is_unique(term)) {
            self.remember(Box::from(term), head);
        }
        Ok(head)
    }

    fn remember(&mut self, term: Box<[u8]>, head: Option<Head>) {
        if self.young.len() >= self.generation_terms {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(term, head);
    }
}

/// The head of a term below `bound` over runs, newest first.
pub(super) fn head_in_runs(
    runs: &[Arc<Run>],
    rows: &dyn RowRead,
    needle: Needle<'_>,
    bound: u64,
) -> Result<Option<Head>, IndexError> {
    let mut meter = Meter::unlimited();
    for run in runs.iter().rev() {
        let head = run.head(rows, needle, bound, &mut meter)?;
        if head.is_some() {
            return Ok(head);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::sample::Rows;
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut heads = Heads::new(100);
        let rows = Rows::default();
        let known = Head { last: 7, count: 3 };
        heads.remember(Box::from(&b"Sused"[..]), Some(known));
        for n in 0..1_000_u32 {
            let absent = heads.head(&[], &[], &rows, &n.to_be_bytes()).unwrap();
            assert_eq!(absent, None);
            let used = heads.head(&[], &[], &rows, b"Sused").unwrap();
            assert_eq!(used, Some(known));
            assert!(heads.young.len() + heads.old.len() <= 100);
        }
    }

    #[test]
    fn what_is_absent_is_remembered_only_where_its_count_was_asked() {
        let mut heads = Heads::new(4);
        let rows = Rows::default();
        assert_eq!(heads.last(&[], &[], &rows, b"a").unwrap(), None);
        assert!(heads.known(b"a").is_none());
        assert_eq!(heads.head(&[], &[], &rows, b"a").unwrap(), None);
        assert_eq!(heads.known(b"a"), Some(&mut None));
        let id = term::event_id(&[7; 16]);
        assert_eq!(heads.head(&[], &[], &rows, &id).unwrap(), None);
        assert!(heads.known(&id).is_none());
    }

    #[test]
    fn a_flushed_head_replaces_what_was_known() {
        let mut heads = Heads::new(4);
        heads.remember(Box::from(&b"a"[..]), None);
        heads.remember(Box::from(&b"b"[..]), None);
        heads.remember(Box::from(&b"c"[..]), None);
        let head = Head { last: 9, count: 1 };
        for term in [b"a", b"c"] {
            *heads.known(term).unwrap() = Some(head);
        }
        assert!(heads.known(b"unknown").is_none());
        let rows = Rows::default();
        for term in [b"a", b"c"] {
            let found = heads.head(&[], &[], &rows, term);
            assert_eq!(found.unwrap(), Some(head));
        }
    }
}
