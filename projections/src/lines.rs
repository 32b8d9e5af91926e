//! What the events of long runs come to, kept in memory, so that any point of one is read without
//! folding it from its beginning.
//!
//! ```text
//!  stream   0 1 2 3 ... e        a line: what its events up to e come to, with where each of them
//!                ^      ^        changed something; as of x it is read by leaving out what came after
//!                x      '-- reading further takes it on from here
//! ```
//!
//! Lines are content. They are let go of with everything that is kept in memory of a log when
//! something is erased, and when they take too much of it; whoever asks then reads the log. Only
//! durable events are taken: none of them is ever another one.

use crate::runs;
use runstone_codec::Position;
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Events of a stream from which on its lines are kept.
const LONG: u64 = 1024;
/// Bytes, about, above which the lines that were not asked for longest are let go of, and above which
/// no line grows.
const MAX_BYTES: usize = 64 << 20;

/// What events of one stream come to.
pub trait Line: Default + Send + 'static {
    /// Whether it is told by their content.
    const WITH_PAYLOADS: bool;

    /// Which events.
    fn item() -> Item;

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it cannot be taken.
    fn take(&mut self, record: &Record) -> Result<(), ReadError>;

    /// Bytes that it takes in memory, about.
    fn bytes(&self) -> usize;
}

/// A line, and what it has taken: positions below this.
#[derive(Default)]
struct Grown<L> {
    line: L,
    end: u64,
    /// It came to more than is kept, so it is empty and takes nothing more.
    is_too_long: bool,
}

struct Entry {
    line: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    asked: u64,
}

#[derive(Default)]
struct Shelf {
    entries: BTreeMap<(TypeId, String), Entry>,
    asked: u64,
}

/// Every line of a log.
#[derive(Default)]
struct Lines(Mutex<Shelf>);

/// Reads a line of a stream that has taken everything up to a position of those events that tell; how
/// it is then taken as of that position is for the caller. `None` if none is kept, as of a stream that
/// comes to more than there is room for: then the log is read.
pub fn up_to<L: Line, T>(
    log: &Log,
    (stream, to): (&str, Position),
    tells: impl Fn(&Record) -> bool,
    read: impl FnOnce(&L) -> T,
) -> Option<T> {
    let lines = log.kept::<Lines>()?;
    if to.get() >= log.durable_size() || runs::events_of(log, stream)? < LONG {
        return None;
    }
    let key = (TypeId::of::<L>(), stream.to_owned());
    let line = lines.get::<L>(&key);
    let mut grown = line.lock().unwrap_or_else(|poisoned| {
        // Whoever died may have taken events that `end` does not tell of.
        let mut grown = poisoned.into_inner();
        *grown = Grown::default();
        line.clear_poison();
        grown
    });
    if grown.end <= to.get() && !grown.is_too_long {
        if grown.grow(log, stream, to, tells).is_err() {
            // Whoever waits for this one must not find half of it. What could not be taken is read,
            // and told, as without a line.
            *grown = Grown::default();
            lines.forget(&key);
            return None;
        }
        lines.weigh(&key, grown.line.bytes());
    }
    (!grown.is_too_long).then(|| read(&grown.line))
}

impl<L: Line> Grown<L> {
    fn grow(
        &mut self,
        log: &Log,
        stream: &str,
        to: Position,
        tells: impl Fn(&Record) -> bool,
    ) -> Result<(), ReadError> {
        let query = Query::from(L::item().stream(stream));
        let mut read = Read::new(query).from(self.end).to(to);
        read.payloads = L::WITH_PAYLOADS;
        for record in log.read(read)? {
            let record = record?;
            if tells(&record) {
                self.line.take(&record)?;
            }
            if self.line.bytes() > MAX_BYTES {
                *self = Self {
                    is_too_long: true,
                    ..Self::default()
                };
                return Ok(());
            }
        }
        self.end = to.get().saturating_add(1);
        Ok(())
    }
}

impl Lines {
    fn shelf<T>(&self, action: impl FnOnce(&mut Shelf) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get<L: Line>(&self, key: &(TypeId, String)) -> Arc<Mutex<Grown<L>>> {
        self.shelf(|shelf| {
            shelf.asked = shelf.asked.saturating_add(1);
            let asked = shelf.asked;
            if let Some(entry) = shelf.entries.get_mut(key) {
                entry.asked = asked;
                if let Ok(line) = Arc::clone(&entry.line).downcast() {
                    return line;
                }
            }
            let line = Arc::<Mutex<Grown<L>>>::default();
            let entry = Entry {
                line: Arc::clone(&line) as Arc<dyn Any + Send + Sync>,
                bytes: 0,
                asked,
            };
            shelf.entries.insert(key.clone(), entry);
            line
        })
    }

    fn forget(&self, key: &(TypeId, String)) {
        self.shelf(|shelf| shelf.entries.remove(key));
    }

    /// Notes how long a line is, and lets go of others until all have room.
    fn weigh(&self, key: &(TypeId, String), bytes: usize) {
        self.shelf(|shelf| {
            if let Some(entry) = shelf.entries.get_mut(key) {
                entry.bytes = bytes;
            }
            let sum = |shelf: &Shelf| {
                shelf
                    .entries
                    .values()
                    .map(|entry| entry.bytes)
                    .sum::<usize>()
            };
            while sum(shelf) > MAX_BYTES {
                let long = shelf.entries.iter().filter(|(_, entry)| entry.bytes > 0);
                let oldest = long.min_by_key(|(_, entry)| entry.asked);
                let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                    break;
                };
                shelf.entries.remove(&oldest);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standard_folds;
    use runstone_codec::NewEvent;
    use runstone_store::{Append, CreateOptions, OpenOptions};
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const EVENTS: u64 = 2 * LONG;

    thread_local! {
        /// Which event cannot be taken.
        static BAD: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// Which events it took; each has so many bytes.
    #[derive(Default)]
    struct Taken<const BYTES: usize>(Vec<u64>);

    impl<const BYTES: usize> Line for Taken<BYTES> {
        const WITH_PAYLOADS: bool = false;

        fn item() -> Item {
            Item::new()
        }

        fn take(&mut self, record: &Record) -> Result<(), ReadError> {
            if record.position.get() == BAD.get() {
                return Err(ReadError::Reopening);
            }
            self.0.push(record.position.get());
            Ok(())
        }

        fn bytes(&self) -> usize {
            self.0.len() * BYTES
        }
    }

    fn log() -> (Log, Position) {
        let mut options = OpenOptions::default();
        options.folds = standard_folds();
        let log = Log::memory(&CreateOptions::default(), options).unwrap();
        let events = (0..EVENTS).map(|_| NewEvent::new("note.taken", "run"));
        let appended = log.append_blocking(Append::new(events)).unwrap();
        (log, appended.last)
    }

    fn taken<const BYTES: usize>(log: &Log, to: Position) -> Option<Vec<u64>> {
        up_to(
            log,
            ("run", to),
            |_| true,
            |line: &Taken<BYTES>| line.0.clone(),
        )
    }

    fn of_stream(to: Position) -> Vec<u64> {
        (to.get() + 1 - EVENTS..=to.get()).collect()
    }

    /// Whoever waited while another one failed with a line.
    #[test]
    fn nothing_is_taken_twice_after_a_failure() {
        let (log, last) = log();
        let key = (TypeId::of::<Taken<1>>(), "run".to_owned());
        let line = log.kept::<Lines>().unwrap().get::<Taken<1>>(&key);
        BAD.set(last.get() - 7);
        assert_eq!(taken::<1>(&log, last), None);
        BAD.set(u64::MAX);
        let mut waited = line.lock().unwrap();
        waited.grow(&log, "run", last, |_| true).unwrap();
        assert_eq!(waited.line.0, of_stream(last));
        assert_eq!(taken::<1>(&log, last), Some(of_stream(last)));
    }

    #[test]
    fn nothing_is_taken_twice_after_a_panic() {
        let (log, last) = log();
        let dies = |record: &Record| {
            assert_ne!(record.position.get(), last.get() - 7, "it dies here");
            true
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            up_to(&log, ("run", last), dies, |_: &Taken<1>| ())
        }));
        assert!(outcome.is_err());
        assert_eq!(taken::<1>(&log, last), Some(of_stream(last)));
    }

    #[test]
    fn a_line_without_room_is_left_where_it_is_found_to_be() {
        const BYTES: usize = MAX_BYTES / 1500;
        let (log, last) = log();
        let early = Position::new(last.get() - LONG);
        let kept = taken::<BYTES>(&log, early).unwrap();
        assert_eq!(kept.len() as u64, EVENTS - LONG);
        let read = Cell::new(0);
        let reads = |to| {
            let counted = |_: &Record| {
                read.set(read.get() + 1);
                true
            };
            up_to(&log, ("run", to), counted, |line: &Taken<BYTES>| {
                line.0.len()
            })
        };
        // It grows until it has no room, and is not tried again.
        assert_eq!(reads(last), None);
        let grown = kept.len() + read.get();
        assert!((1500..1600).contains(&grown), "{grown}");
        read.set(0);
        assert_eq!((reads(last), reads(early), read.get()), (None, None, 0));
        // Others have the room that it had.
        assert_eq!(taken::<1>(&log, last), Some(of_stream(last)));
    }

    #[test]
    fn the_lines_that_were_not_asked_for_longest_make_room() {
        const HALF: usize = MAX_BYTES / 3500;
        let (log, last) = log();
        let has = |key: TypeId| {
            let lines = log.kept::<Lines>().unwrap();
            lines.shelf(|shelf| shelf.entries.contains_key(&(key, "run".to_owned())))
        };
        let [first, second] = [
            TypeId::of::<Taken<HALF>>(),
            TypeId::of::<Taken<{ HALF + 1 }>>(),
        ];
        assert!(taken::<HALF>(&log, last).is_some() && has(first));
        assert!(taken::<{ HALF + 1 }>(&log, last).is_some());
        assert!(!has(first) && has(second));
    }
}
