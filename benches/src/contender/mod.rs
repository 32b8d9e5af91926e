//! The stores that are compared: each in this process, durable, given the same events.

mod crypto;
mod fanned;
#[cfg(feature = "contenders")]
mod fjall;
mod followed;
mod grouped;
mod raw;
mod redb_bare;
mod redb_naive;
mod row;
mod runstone;
#[cfg(feature = "contenders")]
mod sierra;
#[cfg(feature = "contenders")]
mod sqlite;
mod subscribed;
#[cfg(feature = "contenders")]
mod umadb;

pub(crate) use crypto::Sealer;
pub(crate) use followed::follow;
pub(crate) use runstone::{event as event_of, log as runstone_log, of as runstone_of, repeatable};
pub(crate) use subscribed::{SUBSCRIBERS, Subscribed};

use crate::event::{Event, Request, Unless};
use ::runstone::VerifyLevel;
use ::runstone::codec::Draft;
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// Page cache of each store that lets it be chosen: Runstone's default.
const CACHE_BYTES: usize = 256 << 20;

/// Whether a request was recorded; `false` if its condition failed.
pub(crate) type Reply = Pin<Box<dyn Future<Output = Result<bool>> + Send>>;

/// An open store. Every append is answered after the disk has it.
pub(crate) trait Store: Send + Sync {
    /// Appends for a client that is alone, in the way that suits the store best then.
    fn append_alone(&self, request: Request) -> Result<bool>;

    /// Appends for one of many clients, each a thread that may block.
    fn append_shared(&self, request: Request) -> Result<bool>;

    /// Appends for one of many clients, each a task of a runtime.
    fn submit(&self, request: Request) -> Reply;

    /// Reads every event, headers and payloads, in order.
    fn scan(&self) -> Result<Seen>;

    /// Reads the events of a run, headers and payloads, in order.
    fn read_run(&self, stream: &str) -> Result<Seen>;

    /// Verifies every event; answers how many there are.
    fn verify(&self, _: VerifyLevel) -> Result<u64> {
        bail!("nothing is verified")
    }

    /// Reads what is found by its place, headers and payloads.
    fn find(&self, _: Wanted<'_>) -> Result<Seen> {
        bail!("nothing is found by its place")
    }

    /// Takes records of a recording, each whole, in one commit.
    fn import(&self, records: Vec<Vec<Draft>>) -> Result<()> {
        let events = records.into_iter().flatten().map(Event::of_draft).collect();
        self.append_alone(Request::new(events)).map(|_| ())
    }

    /// Claims a call, durably, and completes it, durably: one event and another. Where a store has
    /// conditions, the claim is refused if somebody made it.
    fn call(&self, key: &str) -> Result<()> {
        let append = |request| self.append_alone(request);
        by_condition(&append, key)
    }

    /// Shuts down in order.
    fn close(self: Box<Self>) -> Result<()>;
}

/// A call by appends alone.
fn by_condition(append: &dyn Fn(Request) -> Result<bool>, key: &str) -> Result<()> {
    let [claim, done] = Event::of_call(key);
    let tag = claim.tags.first().cloned();
    let claim = Request::new(vec![claim]);
    let claim = match tag {
        Some(tag) => claim.unless(Unless::Tag(tag)),
        None => claim,
    };
    ensure!(append(claim)?, "claimed already");
    append(Request::new(vec![done]))?;
    Ok(())
}

/// Events by their place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// The one before which so many were recorded. A log's own events count.
    Number(u64),
    /// The newest of a stream.
    Newest(&'a str),
    /// Those of a stream from a revision on.
    Page {
        stream: &'a str,
        revision: u64,
        events: u64,
    },
}

/// What a read gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) events: u64,
    pub(crate) payload_bytes: u64,
    /// Of the last event in its stream, where the store has revisions.
    pub(crate) revision: Option<u64>,
}

impl Seen {
    /// Counts an event, whose bytes have really been looked at.
    pub(crate) fn event(&mut self, payload: &[u8]) {
        self.events += 1;
        self.payload_bytes += std::hint::black_box(payload).len() as u64;
    }
}

/// What a workload needs of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Durable appends.
    Append,
    /// Appends of many events: what can append, and what only computes.
    Bulk,
    /// The same, with and without somebody who follows.
    Follow,
    /// The same, with and without sinks.
    Sinks,
    /// Conditions on tags.
    Condition,
    /// Conditions on a type alone.
    TypeCondition,
    /// Reading runs and whole logs.
    Read,
    /// Reading whole logs: what can read, and what only computes.
    Scan,
    /// Reading runs: what can read, and what only computes.
    Run,
    /// Receipts.
    Receipt,
    /// Verification: what has receipts, and what only computes.
    Verify,
    /// Runs as they stood at a point.
    Travel,
    /// Finding events by their place.
    Place,
    /// Logs of many streams.
    Streams,
    /// Revisions of streams: appends that expect one, pages from one on.
    Revisions,
    /// Durable appends, with and without many who follow within the process.
    Subscribers,
    /// Those who follow within the process.
    Subscribed,
}

/// A store that is compared.
#[derive(Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    needs: &'static [Need],
    open: fn(&Path) -> Result<Box<dyn Store>>,
    compact: fn(&Path) -> Result<()>,
}

impl Contender {
    pub(crate) fn can(&self, need: Need) -> bool {
        let wider = match need {
            Need::Bulk => Need::Append,
            Need::Scan | Need::Run => Need::Read,
            Need::Verify => Need::Receipt,
            other => other,
        };
        [need, wider].iter().any(|need| self.needs.contains(need))
    }

    /// Opens the store in a folder, or makes it there.
    pub(crate) fn open(&self, folder: &Path) -> Result<Arc<dyn Store>> {
        self.open_boxed(folder).map(Arc::from)
    }

    pub(crate) fn open_boxed(&self, folder: &Path) -> Result<Box<dyn Store>> {
        (self.open)(folder)
    }

    /// Makes the closed store in a folder as small as it can be.
    pub(crate) fn compact(&self, folder: &Path) -> Result<()> {
        (self.compact)(folder)
    }
}

const APPEND: &[Need] = &[Need::Append];
const ONE_TAG: &[Need] = &[Need::Place, Need::Append, Need::Condition, Need::Read];
#[cfg(feature = "contenders")]
const ALL_AND_STREAMS: &[Need] = &[
    Need::Place,
    Need::Append,
    Need::Condition,
    Need::TypeCondition,
    Need::Read,
    Need::Streams,
];
#[cfg(feature = "contenders")]
const ALL_AND_REVISIONS: &[Need] = &[
    Need::Place,
    Need::Append,
    Need::Condition,
    Need::TypeCondition,
    Need::Read,
    Need::Streams,
    Need::Revisions,
];
const ALL_AND_RECEIPTS: &[Need] = &[
    Need::Place,
    Need::Append,
    Need::Condition,
    Need::TypeCondition,
    Need::Read,
    Need::Receipt,
    Need::Revisions,
];
const WHOLE: &[Need] = &[
    Need::Place,
    Need::Append,
    Need::Condition,
    Need::TypeCondition,
    Need::Read,
    Need::Receipt,
    Need::Follow,
    Need::Sinks,
    Need::Travel,
    Need::Streams,
    Need::Revisions,
    Need::Subscribers,
];

/// Every contender that this program was built with, in the order of the table.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: "raw",
        needs: APPEND,
        open: raw::growing,
        compact: |_| Ok(()),
    },
    Contender {
        name: "raw-preallocated",
        needs: APPEND,
        open: raw::preallocated,
        compact: |_| Ok(()),
    },
    Contender {
        name: "redb-bare",
        needs: APPEND,
        open: redb_bare::open,
        compact: |_| Ok(()),
    },
    Contender {
        name: "redb",
        needs: ONE_TAG,
        open: redb_naive::open,
        compact: redb_naive::compact,
    },
    #[cfg(feature = "contenders")]
    Contender {
        name: "fjall",
        needs: ONE_TAG,
        open: fjall::open,
        compact: fjall::compact,
    },
    #[cfg(feature = "contenders")]
    Contender {
        name: "sqlite",
        needs: ALL_AND_REVISIONS,
        open: sqlite::open,
        compact: sqlite::compact,
    },
    #[cfg(feature = "contenders")]
    Contender {
        name: "umadb",
        needs: ALL_AND_STREAMS,
        open: umadb::open,
        compact: umadb::cut,
    },
    #[cfg(feature = "contenders")]
    Contender {
        name: "sierradb",
        needs: &[Need::Append, Need::Read],
        open: sierra::open,
        compact: |_| Ok(()),
    },
    Contender {
        name: "crypto-bare",
        needs: &[Need::Bulk, Need::Scan, Need::Run, Need::Verify],
        open: crypto::open,
        compact: |_| Ok(()),
    },
    Contender {
        name: "runstone-plain",
        needs: ALL_AND_RECEIPTS,
        open: runstone::plain,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-no-folds",
        needs: APPEND,
        open: runstone::without_folds,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone",
        needs: WHOLE,
        open: runstone::whole,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-followed",
        needs: &[Need::Follow],
        open: followed::open,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-subscribed",
        needs: &[Need::Subscribers, Need::Subscribed],
        open: subscribed::open,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-awaited",
        needs: &[Need::Subscribers],
        open: subscribed::open_awaited,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-hung",
        needs: &[Need::Sinks],
        open: fanned::hung,
        compact: runstone::compact,
    },
    Contender {
        name: "runstone-beset",
        needs: &[Need::Sinks],
        open: fanned::beset,
        compact: runstone::compact,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RUN_EVENTS, Synthetic, run_name};

    #[test]
    fn events_are_found_by_their_place() {
        let synthetic = Synthetic::new(256);
        let request = |number| Request::new(vec![synthetic.of_stream("run-1", number)]);
        for contender in CONTENDERS.iter().filter(|store| store.can(Need::Place)) {
            let (name, folder) = (contender.name, tempfile::tempdir().unwrap());
            let store = contender.open(folder.path()).unwrap();
            for number in 0..10 {
                assert!(store.append_alone(request(number)).unwrap(), "{name}");
            }
            let newest = store.find(Wanted::Newest("run-1")).unwrap();
            let found = store.find(Wanted::Number(9)).unwrap();
            assert_eq!((newest.events, found.events), (1, 1), "{name}");
            if !contender.can(Need::Revisions) {
                continue;
            }
            assert_eq!(newest.revision, Some(9), "{name}");
            let (stream, revision, events) = ("run-1", 4, 3);
            let page = Wanted::Page {
                stream,
                revision,
                events,
            };
            let page = store.find(page).unwrap();
            assert_eq!((page.events, page.revision), (3, Some(6)), "{name}");
            for (revision, held) in [(8, false), (9, true), (9, false)] {
                let stream = "run-1".to_owned();
                let asked = request(10 + revision).unless(Unless::Moved { stream, revision });
                assert_eq!(store.append_alone(asked).unwrap(), held, "{name}");
            }
        }
    }

    #[test]
    fn everybody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let subscribed = Subscribed::open(folder.path()).unwrap();
        let event = ::runstone::NewEvent::new("chat.message", "run-1").payload(b"{}");
        let last = subscribed.log.append_blocking(event).unwrap().last.get();
        subscribed.wait_for(last + 1).unwrap();
        assert_eq!(subscribed.behind(last + 1), 0);
        assert_eq!(subscribed.behind(last + 2) as u64, SUBSCRIBERS);
    }

    #[test]
    fn what_is_appended_is_read_also_after_closing() {
        let synthetic = Synthetic::new(64);
        for contender in CONTENDERS.iter().filter(|it| it.can(Need::Read)) {
            let name = contender.name;
            let folder = tempfile::tempdir().unwrap();
            let store = contender.open_boxed(folder.path()).unwrap();
            // Alone, and all those of many runs at once.
            let first = Request::new(vec![synthetic.of_log(0)]);
            assert!(store.append_alone(first).unwrap(), "{name}");
            let rest = (1..RUN_EVENTS * 64).map(|number| synthetic.of_log(number));
            let rest = Request::new(rest.collect());
            assert!(store.append_shared(rest).unwrap(), "{name}");
            store.close().unwrap();

            let store = contender.open_boxed(folder.path()).unwrap();
            let run = store.read_run(&run_name(0)).unwrap();
            assert_eq!(run.events, RUN_EVENTS, "{name}");
            assert_eq!(run.payload_bytes, RUN_EVENTS * 64, "{name}");
            let all = store.scan().unwrap().events;
            assert!(all >= RUN_EVENTS * 64, "{name}: {all}");
            let is_own = name.starts_with("runstone");
            assert!(is_own || all == RUN_EVENTS * 64, "{name}: {all}");
            store.close().unwrap();
        }
    }
}
