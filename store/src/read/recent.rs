//! The newest events, for all who follow.
//!
//! ```text
//!  append --> commit --> hand ----+
//!                                 +--> kept --> whoever follows
//!  the file --> opened for all ---+
//! ```
//!
//! What is kept is what a read answers: durable, with its content open. Somebody who follows closely gets
//! what was just appended from whoever recorded it, and reads none of it from the file. Where several have fallen
//! behind, what one of them opens is kept for the others; an event that reads otherwise never is, so that
//! everybody reads it himself. Where one alone has fallen behind nothing is kept, since he would only copy
//! it.

use super::records::Record;
use super::stretch::{Slice, Stretch};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most events that are kept.
pub(super) const EVENTS: usize = 4096;
/// Bytes after which the oldest go; where somebody of this process reads them, they are there opened, too.
pub(super) const BYTES: usize = 8 << 20;
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
    /// Without gaps, and none of them empty; one may begin before the one before it ends.
    stretches: VecDeque<Arc<Stretch>>,
    events: usize,
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
            .field("stretches", &self.stretches)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// The position of the first one.
    fn first(&self) -> Option<u64> {
        self.stretches.front().map(|first| first.first())
    }

    /// The position after the last one.
    fn end(&self) -> Option<u64> {
        self.stretches.back().map(|last| last.end())
    }

    /// Those from a position to another one, both inclusive.
    fn range(&self, (mut from, to): (u64, u64), mut most: usize) -> Vec<Slice> {
        if self.first().is_none_or(|first| from < first) {
            return Vec::new();
        }
        let before = |stretch: &Arc<Stretch>| stretch.end() <= from;
        let skip = self.stretches.partition_point(before);
        let mut found = Vec::new();
        for stretch in self.stretches.range(skip..) {
            let Some(slice) = Slice::within(stretch, (from, to), most) else {
                break;
            };
            most -= slice.len();
            from = slice.end();
            found.push(slice);
        }
        found
    }

    /// The same, for somebody of whom there may be more.
    fn wanted_range(&mut self, range: (u64, u64), most: usize) -> Vec<Slice> {
        let found = self.range(range, most);
        if let Some(last) = found.last() {
            self.want(last.end());
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

    /// What comes from here on is wanted by more than one.
    fn want(&mut self, position: u64) {
        self.wanted = self.wanted.max(position.saturating_add(EVENTS as u64));
    }

    /// Takes what was opened, in its order: what comes after those that are kept, and what closes a gap before
    /// them.
    fn fill(&mut self, opened: &[Arc<Record>]) {
        let first = self.first().unwrap_or(0);
        let position = |record: &Arc<Record>| record.position.get();
        let (before, after) = opened.split_at(opened.partition_point(|one| position(one) < first));
        if before
            .last()
            .is_some_and(|last| position(last) + 1 == first)
        {
            let closing = Arc::new(Stretch::of(before.to_vec()));
            self.count(&closing);
            self.stretches.push_front(closing);
        }
        if !after.is_empty() {
            self.push(Arc::new(Stretch::of(after.to_vec())));
        }
        self.shrink();
    }

    fn push(&mut self, stretch: Arc<Stretch>) {
        match self.end() {
            Some(end) if stretch.end() <= end => return,
            Some(end) if stretch.first() > end => self.clear(),
            _ => {}
        }
        self.count(&stretch);
        self.stretches.push_back(stretch);
        self.shrink();
    }

    fn count(&mut self, stretch: &Stretch) {
        self.events += stretch.len();
        self.bytes += stretch.bytes(0..stretch.len());
    }

    /// Lets go of the oldest where they are too many.
    fn shrink(&mut self) {
        while self.events > EVENTS || self.bytes > BYTES {
            self.pop();
        }
    }

    /// Takes the oldest out where there are more than half of the most: whoever reads drops them, so that who
    /// appends need not.
    fn spare(&mut self) -> Vec<Arc<Stretch>> {
        let mut spare = Vec::new();
        let is_much = |kept: &Self| kept.events > EVENTS / 2 || kept.bytes > BYTES / 2;
        while self.stretches.len() > 1 && is_much(self) {
            spare.extend(self.pop());
        }
        spare
    }

    fn pop(&mut self) -> Option<Arc<Stretch>> {
        let oldest = self.stretches.pop_front()?;
        self.events -= oldest.len();
        self.bytes -= oldest.bytes(0..oldest.len());
        Some(oldest)
    }

    fn clear(&mut self) {
        self.stretches.clear();
        (self.events, self.bytes) = (0, 0);
    }
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
    pub(crate) fn hand(&self, stretches: Vec<Arc<Stretch>>, durable: u64) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept();
        let first = stretches.first().map(|first| first.first());
        if first.unwrap_or(durable) >= kept.awaited {
            // Who waited has gone.
            self.is_awaited.store(false, Ordering::Relaxed);
            kept.clear();
            return;
        }
        for stretch in stretches {
            kept.push(stretch);
        }
    }

    /// Those that are kept from a position to another one, both inclusive.
    pub(super) fn range(&self, range: (u64, u64), most: usize) -> Vec<Slice> {
        self.kept().range(range, most)
    }

    /// The first ones of them, as long as somebody has opened them.
    pub(super) fn opened_range(&self, range: (u64, u64), most: usize) -> Vec<Slice> {
        let mut found = self.range(range, most);
        let opened = found.iter().take_while(|some| some.is_opened()).count();
        found.truncate(opened);
        found
    }

    /// Events from a position to another one, both inclusive, of so many durable ones: those that are kept, or
    /// what is opened now and kept from then on. None if they are to be read for one alone.
    pub(super) fn or_open(
        &self,
        range: (u64, u64),
        durable: u64,
        most: usize,
        open: impl FnOnce() -> Vec<Record>,
    ) -> Vec<Slice> {
        let mut kept = self.kept();
        if kept.is_close(range.0, durable) {
            self.is_awaited.store(true, Ordering::Relaxed);
        }
        let found = kept.wanted_range(range, most);
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
        let found = kept.wanted_range(range, most);
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
        drop(kept);
        let opened = Arc::new(Stretch::of(opened));
        Some(Slice::all(opened))
            .filter(|all| all.len() > 0)
            .into_iter()
            .collect()
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
    use crate::read::stretch::Packing;
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

    /// What is handed over, in stretches of a few.
    fn packed(records: &[Record]) -> Vec<Arc<Stretch>> {
        let mut done = Vec::new();
        for some in records.chunks(3) {
            let mut packing = Packing::with_room(0);
            for record in some {
                let (header, control) = record.parts().unwrap();
                let content = record.payload.bytes().unwrap();
                packing.push(record.place(), (&header, &control), content);
            }
            done.extend(packing.finish());
        }
        done
    }

    fn opened(found: &[Slice]) -> Vec<Arc<Record>> {
        let items = found.iter().flat_map(Slice::items);
        items.cloned().collect::<Result<_, _>>().unwrap()
    }

    fn places(found: &[Slice]) -> Vec<u64> {
        let places: Vec<_> = opened(found).iter().map(|one| one.position.get()).collect();
        assert_eq!(places.len(), found.iter().map(Slice::len).sum::<usize>());
        places
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
        assert_eq!(places(&recent.or_open((30, 39), 40, 10, never)).len(), 10);
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
        let handed = |position| opened(&recent.range((position, position), 1)).pop();
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
        recent.hand(packed(&all[20..30]), 30);
        assert_eq!(places(&recent.range((10, 39), 40)), [0; 0]);
        assert_eq!(places(&open((10, 29))), (10..30).collect::<Vec<_>>());
        let never = || unreachable!("it is kept");
        assert_eq!(places(&recent.or_open((10, 29), 40, 40, never)).len(), 20);
        recent.hand(packed(&all[30..]), 40);
        let all_of_them = places(&recent.or_open((10, 39), 40, 40, never));
        assert_eq!(all_of_them, (10..40).collect::<Vec<_>>());
        // What does not reach them is read by each alone.
        recent.forget();
        recent.hand(packed(&all[35..]), 40);
        assert_eq!(places(&open((10, 19))), [0; 0]);
        assert_eq!(places(&recent.or_open((35, 39), 40, 40, never)).len(), 5);
    }

    #[test]
    fn what_is_forgotten_while_it_is_opened_is_not_kept() {
        let (recent, all) = (Recent::default(), records(10, 9));
        assert!(recent.or_open((0, 9), 10, 10, Vec::new).is_empty());
        let opened = recent.or_open((0, 9), 10, 10, || {
            recent.forget();
            all.clone()
        });
        assert_eq!(places(&opened).len(), 10);
        assert_eq!(places(&recent.range((0, 9), 10)), [0; 0]);
        let again = recent.or_open((0, 9), 10, 10, || all.clone());
        assert_eq!(places(&again).len(), 10);
        assert_eq!(places(&recent.range((0, 9), 10)).len(), 10);
        recent.forget();
        assert_eq!(recent.range((0, 9), 10).len(), 0);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut kept = Kept::default();
        let push = |kept: &mut Kept, record: &Record| {
            kept.push(Arc::new(Stretch::of(vec![Arc::new(record.clone())])));
        };
        for record in &records(EVENTS as u64 + 5, 9) {
            push(&mut kept, record);
        }
        assert_eq!((kept.events, kept.bytes), (EVENTS, EVENTS * 9));
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
