//! The newest events, for all who follow.
//!
//! ```text
//!  append --> commit --> hand ----+
//!                                 +--> kept --> whoever follows
//!  the file --> opened for all ---+
//! ```
//!
//! What is kept is what a read answers: durable, with its content open. Somebody who follows closely gets
//! what was just appended from whoever appended it, and opens none of it. Where several have fallen
//! behind, what one of them opens is kept for the others; an event that reads otherwise never is, so that
//! everybody reads it himself. Where one alone has fallen behind nothing is kept, since he would only copy
//! it.

use super::records::Record;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most events that are kept.
const EVENTS: usize = 4096;
/// Bytes of content after which the oldest go.
const BYTES: usize = 8 << 20;
/// Bytes of content that are handed over: of more it is little trouble to open them again.
const HANDED_BYTES: usize = 128 << 10;

/// The newest events, where somebody reads them.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Whether somebody waits for what is appended next.
    is_awaited: AtomicBool,
    kept: Mutex<Kept>,
    /// Held while events are opened for all: whoever else wants them waits, and finds them.
    opening: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// Without gaps.
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// What was opened before this changed is not kept any more.
    generation: u64,
    /// Everything below was read by somebody.
    read: u64,
    /// Events below are kept: more than one read what came shortly before.
    wanted: u64,
    /// Events below are waited for: somebody read what came shortly before, and that was the newest.
    awaited: u64,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Kept")
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// The position of the first one.
    fn first(&self) -> Option<u64> {
        self.records.front().map(|first| first.position.get())
    }

    /// The position after the last one.
    fn end(&self) -> Option<u64> {
        self.records.back().map(|last| last.position.get() + 1)
    }

    /// Those from a position to another one, both inclusive.
    fn range(&mut self, (from, to): (u64, u64), most: usize) -> Vec<Arc<Record>> {
        let Some(first) = self.first() else {
            return Vec::new();
        };
        let Some(skip) = from
            .checked_sub(first)
            .and_then(|skip| skip.try_into().ok())
        else {
            return Vec::new();
        };
        let found: Vec<_> = self
            .records
            .iter()
            .skip(skip)
            .take_while(|record| record.position.get() <= to)
            .take(most)
            .cloned()
            .collect();
        if let Some(last) = found.last() {
            self.want(last.position.get());
        }
        found
    }

    /// Whether who reads from here follows closely, of so many durable events; then what comes after those is
    /// waited for.
    fn is_close(&mut self, from: u64, durable: u64) -> bool {
        let is_close = durable.saturating_sub(from) <= EVENTS as u64;
        if is_close {
            self.awaited = self.awaited.max(durable.saturating_add(EVENTS as u64));
        }
        is_close
    }

    /// Whether these are to be kept, now that somebody reads them: somebody else read events of theirs
    /// before, or shortly before them more than one did. What is long past is not.
    fn is_wanted(&mut self, (from, to): (u64, u64), most: usize) -> bool {
        let read_before = self.read.saturating_sub(from);
        if (1..=EVENTS as u64).contains(&read_before) {
            self.want(from);
        }
        let end = from.saturating_add(most as u64);
        self.read = self.read.max(end.min(to.saturating_add(1)));
        let is_after = self.end().is_none_or(|end| from >= end);
        let reaches = self
            .first()
            .is_some_and(|first| from < first && first <= end);
        read_before <= EVENTS as u64 && from < self.wanted && (is_after || reaches)
    }

    /// What comes after this is wanted by more than one.
    fn want(&mut self, position: u64) {
        self.wanted = self.wanted.max(position.saturating_add(EVENTS as u64));
    }

    /// Takes what was opened, in its order: what comes after those that are kept, and what closes a gap before
    /// them.
    fn fill(&mut self, opened: &[Arc<Record>]) {
        let first = self.first().unwrap_or(0);
        let before = opened.partition_point(|record| record.position.get() < first);
        let (before, after) = opened.split_at(before);
        if before
            .last()
            .is_some_and(|last| last.position.get() + 1 == first)
        {
            for record in before.iter().rev() {
                self.bytes += weight(record);
                self.records.push_front(Arc::clone(record));
            }
        }
        for record in after {
            self.push(Arc::clone(record));
        }
        self.shrink();
    }

    fn push(&mut self, record: Arc<Record>) {
        let position = record.position.get();
        match self.end() {
            Some(end) if position < end => return,
            Some(end) if position > end => self.clear(),
            _ => {}
        }
        self.bytes += weight(&record);
        self.records.push_back(record);
        self.shrink();
    }

    /// Lets go of the oldest where they are too many.
    fn shrink(&mut self) {
        while self.records.len() > EVENTS || self.bytes > BYTES {
            self.pop();
        }
    }

    /// Takes the oldest out where there are more than half of the most: whoever reads drops them, so that who
    /// appends need not.
    fn spare(&mut self) -> Vec<Arc<Record>> {
        let mut spare = Vec::new();
        while self.records.len() > EVENTS / 2 || self.bytes > BYTES / 2 {
            spare.extend(self.pop());
        }
        spare
    }

    fn pop(&mut self) -> Option<Arc<Record>> {
        let oldest = self.records.pop_front()?;
        self.bytes -= weight(&oldest);
        Some(oldest)
    }

    fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }
}

fn weight(record: &Record) -> usize {
    record.payload.bytes().map_or(0, <[u8]>::len)
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event with so much content, if it is appended next, is to be handed over.
    pub(crate) fn awaits(&self, bytes: usize) -> bool {
        self.is_awaited.load(Ordering::Relaxed) && bytes <= HANDED_BYTES
    }

    /// Takes what was appended and is durable, in its order, of so many events; with gaps, where something is
    /// large, or was prepared before anybody waited.
    pub(crate) fn hand(&self, records: Vec<Arc<Record>>, durable: u64) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept();
        let first = records.first().map(|first| first.position.get());
        if first.unwrap_or(durable) >= kept.awaited {
            // Who waited has gone.
            self.is_awaited.store(false, Ordering::Relaxed);
            kept.clear();
            return;
        }
        for record in records {
            kept.push(record);
        }
    }

    /// Those that are kept from a position to another one, both inclusive.
    pub(super) fn range(&self, range: (u64, u64), most: usize) -> Vec<Arc<Record>> {
        self.kept().range(range, most)
    }

    /// Events from a position to another one, both inclusive, of so many durable ones: those that are kept, or
    /// what is opened now and kept from then on. None if they are to be read for one alone.
    pub(super) fn or_open(
        &self,
        range: (u64, u64),
        durable: u64,
        most: usize,
        open: impl FnOnce() -> Vec<Record>,
    ) -> Vec<Arc<Record>> {
        let mut kept = self.kept();
        if kept.is_close(range.0, durable) {
            self.is_awaited.store(true, Ordering::Relaxed);
        }
        let found = kept.range(range, most);
        if !found.is_empty() {
            let spare = kept.spare();
            drop(kept);
            drop(spare);
            return found;
        }
        if !kept.is_wanted(range, most) {
            return found;
        }
        drop(kept);
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept();
        let found = kept.range(range, most);
        if !found.is_empty() {
            return found;
        }
        let generation = kept.generation;
        drop(kept);
        let opened: Vec<_> = open().into_iter().map(Arc::new).collect();
        let mut kept = self.kept();
        if kept.generation == generation {
            kept.fill(&opened);
        }
        opened
    }

    /// Lets go of all of it: something may be erased, or be read in another way from now on.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.generation += 1;
        kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, Log, OpenOptions, Query, Read, Subscription};
    use runstone_codec::{NewEvent, Position};

    /// So many events, of which each has so many bytes of content.
    fn records(count: u64, bytes: usize) -> Vec<Record> {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let event = NewEvent::new("a.b", "s").payload(format!("\"{}\"", "x".repeat(bytes - 2)));
        log.append_blocking(event).unwrap();
        let record = log.record(Position::new(1)).unwrap();
        let at = |position| Record {
            position: Position::new(position),
            ..record.clone()
        };
        (0..count).map(at).collect()
    }

    fn places(found: &[Arc<Record>]) -> Vec<u64> {
        found.iter().map(|record| record.position.get()).collect()
    }

    #[test]
    fn nothing_is_kept_for_one_alone() {
        let (recent, all) = (Recent::default(), records(40, 9));
        let open = |from: usize| {
            recent.or_open((from as u64, 39), 40, 10, || all[from..from + 10].to_vec())
        };
        for from in [0, 10, 20] {
            assert_eq!(places(&open(from)), [0; 0]);
        }
        // Another one comes, and what both are about to read is kept for the second.
        assert_eq!(places(&open(20)), (20..30).collect::<Vec<_>>());
        assert_eq!(places(&open(30)), (30..40).collect::<Vec<_>>());
        let never = || unreachable!("it is kept");
        assert_eq!(recent.or_open((30, 39), 40, 10, never).len(), 10);
        assert_eq!(places(&recent.range((38, 50), 10)), [38, 39]);
        assert_eq!(places(&recent.range((10, 39), 10)), [0; 0]);
    }

    /// Takes everything that is there.
    fn follow(log: &Log, following: &mut Subscription) -> Vec<Record> {
        let mut seen = Vec::new();
        while following.cursor() < log.size().into() {
            seen.push(following.next_blocking().unwrap().unwrap());
        }
        seen
    }

    #[test]
    fn what_is_appended_is_handed_to_who_waits_for_it() {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let recent = &log.here().unwrap().shared.recent;
        let append = |payload: &str| {
            let event = NewEvent::new("a.b", "s").tag("k:v").payload(payload);
            log.append_blocking(event).unwrap().last.get()
        };
        let handed = |position| recent.range((position, position), 1).pop();
        // Nobody is there, or somebody for events of one stream alone.
        let first = append("1");
        let mut some = log.subscribe(Read::new(Query::stream("s"))).unwrap();
        follow(&log, &mut some);
        let second = append("2");
        assert!(!recent.awaits(0) && handed(first).is_none() && handed(second).is_none());
        let mut all = log.subscribe(Read::new(Query::everything())).unwrap();
        assert_eq!(follow(&log, &mut all).len() as u64, second + 1);
        for payload in ["{ \"n\": 3 }", "null"] {
            let position = append(payload);
            let (handed, read) = (
                handed(position).unwrap(),
                log.record(Position::new(position)),
            );
            assert_eq!(format!("{handed:?}"), format!("{:?}", read.unwrap()));
            assert_eq!(handed.payload.bytes(), Some(payload.as_bytes()));
            let seen = follow(&log, &mut all).pop().unwrap();
            assert_eq!(format!("{seen:?}"), format!("{handed:?}"));
        }
        // Much content is not handed over, and what comes after it is.
        let large = append(&format!("\"{}\"", "x".repeat(HANDED_BYTES)));
        let after = append("4");
        assert!(handed(large).is_none() && handed(after).is_some());
        assert_eq!(follow(&log, &mut all).len(), 2);
        // Whoever waited is gone.
        drop(all);
        let many = (0..=EVENTS as u64).map(|_| NewEvent::new("a.b", "s"));
        let last = log.append_blocking(crate::Append::new(many)).unwrap().last;
        assert!(recent.awaits(0) && handed(after).is_none() && handed(last.get()).is_some());
        append(&format!("\"{}\"", "x".repeat(HANDED_BYTES)));
        assert!(!recent.awaits(0) && handed(last.get()).is_none());
        let last = append("5");
        assert!(handed(last).is_none());
    }

    /// What comes before those that are kept, and reaches them, is opened once for all.
    #[test]
    fn gaps_are_closed_once_for_all() {
        let (recent, all) = (Recent::default(), records(40, 9));
        let open = |range: (u64, u64)| {
            let is_of = |record: &&Record| (range.0..=range.1).contains(&record.position.get());
            let opened = all.iter().filter(is_of).cloned().collect();
            recent.or_open(range, 40, 20, || opened)
        };
        // Two were here before, and what comes after that is handed over but for a part.
        for _ in 0..2 {
            open((0, 9));
        }
        recent.hand(all[20..30].iter().cloned().map(Arc::new).collect(), 30);
        assert_eq!(places(&recent.range((10, 39), 40)), [0; 0]);
        assert_eq!(places(&open((10, 29))), (10..30).collect::<Vec<_>>());
        let never = || unreachable!("it is kept");
        assert_eq!(recent.or_open((10, 29), 40, 40, never).len(), 20);
        recent.hand(all[30..].iter().cloned().map(Arc::new).collect(), 40);
        assert_eq!(recent.or_open((10, 39), 40, 40, never).len(), 30);
        // What does not reach them is read by each alone.
        recent.forget();
        recent.hand(all[35..].iter().cloned().map(Arc::new).collect(), 40);
        assert_eq!(places(&open((10, 19))), [0; 0]);
        assert_eq!(recent.or_open((35, 39), 40, 40, never).len(), 5);
    }

    #[test]
    fn what_is_forgotten_while_it_is_opened_is_not_kept() {
        let (recent, all) = (Recent::default(), records(10, 9));
        assert!(recent.or_open((0, 9), 10, 10, Vec::new).is_empty());
        let opened = recent.or_open((0, 9), 10, 10, || {
            recent.forget();
            all.clone()
        });
        assert_eq!((opened.len(), recent.range((0, 9), 10).len()), (10, 0));
        assert_eq!(recent.or_open((0, 9), 10, 10, || all.clone()).len(), 10);
        assert_eq!(recent.range((0, 9), 10).len(), 10);
        recent.forget();
        assert_eq!(recent.range((0, 9), 10).len(), 0);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut kept = Kept::default();
        let push = |kept: &mut Kept, record: &Record| kept.push(Arc::new(record.clone()));
        for record in &records(EVENTS as u64 + 5, 9) {
            push(&mut kept, record);
        }
        assert_eq!((kept.records.len(), kept.bytes), (EVENTS, EVENTS * 9));
        assert_eq!(places(&kept.range((5, 6), 10)), [5, 6]);
        assert!(kept.range((4, 6), 10).is_empty());
        // After a gap it begins anew, and by bytes as by events.
        let large = records(3, BYTES / 2);
        let at = |position, record: &Record| Record {
            position: Position::new(position),
            ..record.clone()
        };
        for (position, record) in (9000..).zip(&large) {
            push(&mut kept, &at(position, record));
        }
        assert_eq!(places(&kept.range((9001, 9009), 10)), [9001, 9002]);
        assert!(kept.range((9000, 9009), 10).is_empty());
        assert_eq!(kept.bytes, BYTES);
    }
}
