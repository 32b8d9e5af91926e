//! Sinks that keep what they are given in memory, and some that do not behave.

use super::site::PATIENCE;
use runstone::Position;
use runstone::sinks::{Batch, Delivery, Kinds, Known, Rejection, Sink, SinkConfig, Telling, Timer};
use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::sync::{Arc, Condvar, Mutex};

/// An event as a sink in memory keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its place in the log.
    pub position: u64,
    /// Whether it was marked as one that may have come before.
    pub is_duplicate: bool,
    /// All that left the log.
    pub line: String,
}

/// What sinks in memory were given, and how they are to behave. It outlives them.
#[derive(Debug, Default)]
pub struct Memory {
    kept: Mutex<Kept>,
    changed: Condvar,
}

/// What was given, and when.
#[derive(Debug, Default)]
pub struct Kept {
    /// Events, in the order in which they came.
    pub seen: Vec<Seen>,
    /// The time of every delivery, microseconds.
    pub calls: Vec<u64>,
    /// Credentials are right now, or nothing hangs any more.
    pub is_mended: bool,
    /// Positions that are refused for themselves.
    pub refused: BTreeSet<u64>,
    /// The largest batch.
    pub largest: usize,
}

impl Memory {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Looks at what was kept, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        let answer = look(&mut self.kept.lock().unwrap());
        self.changed.notify_all();
        answer
    }

    /// Positions, each where it came first.
    pub fn positions(&self) -> Vec<u64> {
        let mut met = BTreeSet::new();
        self.with(|kept| {
            let each = kept.seen.iter().map(|seen| seen.position);
            each.filter(|position| met.insert(*position)).collect()
        })
    }

    /// Whether what came again was marked so, and nothing else came out of order.
    pub fn check_order(&self) {
        let mut highest = None;
        self.with(|kept| {
            for seen in &kept.seen {
                let is_new = highest.is_none_or(|highest| seen.position > highest);
                assert!(is_new || seen.is_duplicate, "{seen:?} after {highest:?}");
                highest = highest.max(Some(seen.position));
            }
        });
    }

    /// Blocks until something is so.
    ///
    /// # Panics
    ///
    /// If it does not come to be so.
    pub fn wait_until(&self, is_so: impl Fn(&Kept) -> bool) {
        let kept = self.kept.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(kept, PATIENCE, |kept| !is_so(kept));
        assert!(!waited.unwrap().1.timed_out(), "it does not come to be so");
    }

    /// Kinds that keep here: `memory` always, the others in the way that their names say.
    pub fn kinds(self: &Arc<Self>, kinds: Kinds, prefix: &str, timer: &Arc<dyn Timer>) -> Kinds {
        [
            ("memory", Way::Keep),
            ("hang", Way::Hang),
            ("block", Way::Block),
            ("third", Way::FailThird),
            ("panic", Way::PanicSecond),
            ("deny", Way::Deny),
            ("refuse", Way::Refuse),
            ("tell", Way::Tell),
        ]
        .into_iter()
        .fold(kinds, |kinds, (name, way)| {
            let (memory, timer) = (Arc::clone(self), Arc::clone(timer));
            kinds.kind(format!("{prefix}{name}"), move |_: &SinkConfig| {
                Ok(Box::new(InMemory {
                    memory: Arc::clone(&memory),
                    timer: Arc::clone(&timer),
                    way,
                }))
            })
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Keep,
    /// Never answers, until it is mended.
    Hang,
    /// Never gives its thread back, until it is mended.
    Block,
    /// Every third delivery fails, after it was kept.
    FailThird,
    /// Every second delivery panics, after it was kept.
    PanicSecond,
    /// Credentials are refused, until it is mended.
    Deny,
    /// Some events are refused for themselves.
    Refuse,
    /// So they are here, and the destination tells what it has last.
    Tell,
}

#[derive(Debug)]
struct InMemory {
    memory: Arc<Memory>,
    timer: Arc<dyn Timer>,
    way: Way,
}

impl Sink for InMemory {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let now_us = self.timer.now_us();
        let (calls, is_mended, is_refused) = self.memory.with(|kept| {
            kept.calls.push(now_us);
            kept.largest = kept.largest.max(batch.events().len());
            let mut positions = batch.events().iter().map(|event| event.position().get());
            let is_refused = positions.any(|position| kept.refused.contains(&position));
            (kept.calls.len(), kept.is_mended, is_refused)
        });
        match self.way {
            Way::Hang if !is_mended => return Box::pin(pending()),
            Way::Block if !is_mended => self.memory.wait_until(|kept| kept.is_mended),
            Way::Deny if !is_mended => {
                return Box::pin(ready(Err(Rejection::Unauthorised("401".to_owned()))));
            }
            Way::Refuse | Way::Tell if is_refused => {
                return Box::pin(ready(Err(Rejection::Refused("422".to_owned()))));
            }
            _ => {}
        }
        self.memory.with(|kept| {
            kept.seen.extend(batch.events().iter().map(|event| Seen {
                position: event.position().get(),
                is_duplicate: event.is_duplicate(),
                line: String::from_utf8(event.line()).unwrap(),
            }));
        });
        Box::pin(async move {
            match self.way {
                Way::FailThird if calls.is_multiple_of(3) => {
                    Err(Rejection::Unavailable("503".to_owned()))
                }
                Way::PanicSecond if calls.is_multiple_of(2) => panic!("as it was asked to"),
                _ => Ok(()),
            }
        })
    }

    fn last(&mut self) -> Telling<'_> {
        let positions = self.memory.positions().into_iter().max();
        Box::pin(ready(Ok(match self.way {
            Way::Tell => positions.map_or(Known::Nothing, |last| Known::Last(Position::new(last))),
            _ => Known::Untold,
        })))
    }
}
