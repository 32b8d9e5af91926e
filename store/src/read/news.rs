//! Waiting for events that are not there yet.
//!
//! ```text
//!  commit --> durable --+--> whoever wants everything is woken
//!                       +--> board: what is new is looked up in the index for each who named something,
//!                            and those are woken for whom there is anything
//! ```
//!
//! Waking somebody costs more than looking for him, so that many may wait for little beside many commits.

use super::reader::Published;
use super::records::Read;
use super::select::{Candidates, positions};
use crate::engine::Snapshot;
use crate::index::ItemTerms;
use crate::log::CLOSED;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Whoever names more terms is woken by every commit: who appends is not to look for them.
const TERMS: usize = 16;
/// Where more events are new at once, all are woken.
const LOOKED_AT: u64 = 16_384;

fn terms_of(wants: &[ItemTerms]) -> usize {
    let terms = |item: &ItemTerms| item.stream.iter().len() + item.types.len() + item.tags.len();
    wants.iter().map(terms).sum()
}

/// How many events are durable, for those who wait for more.
#[derive(Debug)]
pub(crate) struct Board {
    durable: watch::Sender<u64>,
    /// How many named what they wait for.
    count: AtomicUsize,
    named: Mutex<Named>,
}

#[derive(Debug, Default)]
struct Named {
    /// Events below were looked at for all of them.
    looked: u64,
    next: u64,
    by_number: BTreeMap<u64, Arc<Waiting>>,
}

impl Named {
    /// All of them, to be told without the lock: whoever is woken may drop others who wait.
    fn all(&self) -> Vec<Arc<Waiting>> {
        self.by_number.values().cloned().collect()
    }
}

#[derive(Debug)]
struct Waiting {
    wants: Vec<ItemTerms>,
    durable: watch::Sender<u64>,
}

impl Board {
    pub(crate) fn new(durable: u64) -> Self {
        Self {
            durable: watch::Sender::new(durable),
            count: AtomicUsize::new(0),
            named: Mutex::default(),
        }
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events are durable; `CLOSED` once nothing comes any more.
    fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// So many events are durable, and can be read. Those who named something are told by
    /// [`look`](Self::look), which is to follow.
    pub(crate) fn advance(&self, size: u64) {
        self.durable.send_if_modified(|durable| {
            let moved = size > *durable;
            *durable = size.max(*durable);
            moved
        });
    }

    /// Looks for each who named something whether that is among what is new.
    pub(crate) fn look(&self, published: impl FnOnce() -> Arc<Published>) {
        // Whoever comes from now on finds what is durable by himself.
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let published = published();
        let durable = published.durable;
        let (looked, all) = {
            let mut named = self.named();
            (std::mem::replace(&mut named.looked, durable), named.all())
        };
        let snapshot = published.db.snapshot().ok();
        let is_much = durable.saturating_sub(looked) > LOOKED_AT;
        for waiting in all {
            let is_there = |snapshot: &Snapshot| {
                let range = (looked, durable.checked_sub(1)?);
                let found = positions(&published.index, snapshot, &waiting.wants, range, false, 1);
                found.ok().map(|found| !found.is_empty())
            };
            // Who cannot be told is to see for himself.
            let snapshot = snapshot.as_ref().filter(|_| !is_much);
            if snapshot.and_then(is_there) != Some(false) {
                waiting.durable.send_replace(durable);
            }
        }
    }

    /// So many events are durable, whatever was before; all are woken.
    pub(crate) fn reset(&self, durable: u64) {
        self.durable.send_replace(durable);
        let all = {
            let mut named = self.named();
            named.looked = durable;
            named.all()
        };
        for waiting in all {
            waiting.durable.send_replace(durable);
        }
    }

    /// Somebody waits for whatever comes.
    pub(super) fn wait_for_all(self: &Arc<Self>) -> News {
        News {
            board: Arc::clone(self),
            place: None,
            told: self.durable.subscribe(),
        }
    }

    /// Somebody waits for what a read may want.
    pub(crate) fn wait(self: &Arc<Self>, read: &Read) -> News {
        let wants = match Candidates::of(&read.query) {
            // Nobody else says when the last position that is asked for has been passed.
            Candidates::Indexed(wants) if read.to.is_none() && terms_of(&wants) <= TERMS => wants,
            _ => return self.wait_for_all(),
        };
        let (durable, told) = watch::channel(0);
        let waiting = Arc::new(Waiting { wants, durable });
        let mut named = self.named();
        self.count.fetch_add(1, Ordering::SeqCst);
        if named.by_number.is_empty() {
            named.looked = self.durable();
        }
        let number = named.next;
        named.next += 1;
        named.by_number.insert(number, waiting);
        let board = Arc::clone(self);
        News {
            place: Some(Arc::new(Place { board, number })),
            board: Arc::clone(self),
            told,
        }
    }
}

/// Waits for events that a read may want, if they come after it was made.
#[derive(Debug)]
pub struct News {
    board: Arc<Board>,
    /// Of one who named something.
    place: Option<Arc<Place>>,
    told: watch::Receiver<u64>,
}

impl News {
    /// How many events are durable; `CLOSED` once nothing comes any more.
    pub(super) fn durable(&self) -> u64 {
        self.board.durable()
    }

    /// Waits until there is something durable that may be wanted, at a position or after it, and answers how
    /// many events are; `None` once the log is closed.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub fn beyond(&self, position: u64) -> impl Future<Output = Option<u64>> + Send + 'static {
        let (mut told, place) = (self.told.clone(), self.place.clone());
        async move {
            let durable = told.wait_for(|durable| *durable > position).await;
            let durable = durable.ok().map(|durable| *durable);
            drop(place);
            durable.filter(|durable| *durable != CLOSED)
        }
    }
}

/// A place on the board, as long as somebody waits there.
#[derive(Debug)]
struct Place {
    board: Arc<Board>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = self.board.named().by_number.remove(&self.number);
        self.board.count.fetch_sub(1, Ordering::SeqCst);
        // Without the lock: it wakes who waited there.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Append, CreateOptions, Durability, Item, Log, OpenOptions, Query, Subscription};
    use futures_core::Stream as _;
    use runstone_codec::NewEvent;
    use std::pin::Pin;
    use std::sync::atomic::AtomicU64;
    use std::task::{Context, Poll, Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Somebody who follows, and how often he was woken.
    struct Follower {
        following: Subscription,
        woken: Arc<Woken>,
    }

    impl Follower {
        fn of(log: &Log, read: Read) -> Self {
            let following = log.subscribe(read.from(log.size())).unwrap();
            Self {
                following,
                woken: Arc::default(),
            }
        }

        /// Positions of what is there, and whether it is over; then it waits.
        fn take(&mut self) -> (Vec<u64>, bool) {
            let waker = Waker::from(Arc::clone(&self.woken));
            let mut context = Context::from_waker(&waker);
            let mut seen = Vec::new();
            loop {
                match Pin::new(&mut self.following).poll_next(&mut context) {
                    Poll::Ready(Some(record)) => seen.push(record.unwrap().position.get()),
                    Poll::Ready(None) => return (seen, true),
                    Poll::Pending => return (seen, false),
                }
            }
        }

        fn woken(&self) -> u64 {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    /// Commits are made by who appends, so that a test sees all that one does.
    fn log() -> Log {
        let mut options = OpenOptions::default();
        options.options.background = false;
        Log::memory(&CreateOptions::default(), options).unwrap()
    }

    fn append(log: &Log, stream: &str, tag: &str) -> u64 {
        let event = NewEvent::new("a.b", stream).tag(tag);
        log.append_blocking(event).unwrap().last.get()
    }

    #[test]
    fn who_names_something_is_woken_by_it_alone() {
        let log = log();
        let mut looking = Follower::of(&log, Read::new(Query::stream("z")));
        looking.following = looking.following.looking_at_all();
        assert_eq!(looking.take(), (vec![], false));
        let either = Query::from(Item::new().stream("s").tag("k:v")).or(Item::new().tag("k:w"));
        let mut some = Follower::of(&log, Read::new(either));
        let mut all = Follower::of(&log, Read::new(Query::everything()));
        assert_eq!(
            (some.take(), all.take()),
            ((vec![], false), (vec![], false))
        );
        for (stream, tag) in [("t", "k:v"), ("s", "k:x"), ("t", "k:x")] {
            append(&log, stream, tag);
            assert_eq!(some.woken(), 0);
        }
        assert_eq!((all.woken(), looking.woken()), (1, 1));
        assert_eq!(looking.take(), (vec![], false));
        assert_eq!(looking.following.cursor().get(), log.size());
        let first = append(&log, "s", "k:v");
        assert_eq!((some.woken(), some.take()), (1, (vec![first], false)));
        assert_eq!(all.take().0.last(), Some(&first));
        let second = append(&log, "t", "k:w");
        assert_eq!((some.woken(), some.take()), (2, (vec![second], false)));
        // What is only buffered wakes nobody; once it is durable it does.
        let buffered = Append::new([NewEvent::new("a.b", "t").tag("k:w")]);
        let buffered = log.append_blocking(buffered.durability(Durability::Buffered));
        assert_eq!((some.woken(), some.take()), (2, (vec![], false)));
        log.sync_blocking().unwrap();
        let seen = (vec![buffered.unwrap().last.get()], false);
        assert_eq!((some.woken(), some.take()), (3, seen));
        log.close_blocking().unwrap();
        assert_eq!((some.woken(), some.take()), (4, (vec![], true)));
    }

    #[test]
    fn who_names_much_or_an_end_is_woken_by_everything() {
        let log = log();
        let stream = || Read::new(Query::stream("s"));
        let mut bounded = Follower::of(&log, stream().to(log.size() + 1));
        let items = (0..=TERMS).map(|n| Item::new().tag(format!("k:{n}")));
        let much = items.fold(Query::stream("s"), Query::or);
        let mut much = Follower::of(&log, Read::new(much));
        assert_eq!(
            (bounded.take(), much.take()),
            ((vec![], false), (vec![], false))
        );
        append(&log, "t", "k:v");
        assert_eq!((bounded.woken(), much.woken()), (1, 1));
        assert_eq!(bounded.take(), (vec![], false));
        append(&log, "t", "k:v");
        assert_eq!((bounded.woken(), bounded.take()), (2, (vec![], true)));
    }

    /// Wakes by dropping others who wait: nothing of the log's own is held meanwhile.
    struct Dropping(Mutex<Option<Subscription>>);

    impl Wake for Dropping {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }

    #[test]
    fn whoever_is_woken_may_drop_others_who_wait() {
        let log = log();
        let follow = || {
            log.subscribe(Read::new(Query::stream("s")).from(log.size()))
                .unwrap()
        };
        let (mut first, other) = (follow(), follow());
        let waker = Waker::from(Arc::new(Dropping(Mutex::new(Some(other)))));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut first).poll_next(&mut context).is_pending());
        append(&log, "s", "k:v");
        let board = &log.here().unwrap().shared.board;
        assert_eq!(board.count.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut first).poll_next(&mut context).is_ready());
    }

    #[test]
    fn many_new_events_at_once_wake_everybody() {
        let log = log();
        let mut some = Follower::of(&log, Read::new(Query::stream("s")));
        assert_eq!(some.take(), (vec![], false));
        let many = (0..=LOOKED_AT).map(|_| NewEvent::new("a.b", "t"));
        log.append_blocking(Append::new(many)).unwrap();
        assert_eq!((some.woken(), some.take()), (1, (vec![], false)));
        // A wait may outlive what it was made of.
        let waits = log
            .news(&Read::new(Query::stream("s")))
            .unwrap()
            .beyond(log.size());
        let mut waits = std::pin::pin!(waits);
        let waker = Waker::noop();
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
        let position = append(&log, "s", "k:v");
        let durable = waits.as_mut().poll(&mut Context::from_waker(waker));
        assert_eq!(durable, Poll::Ready(Some(position + 1)));
    }

    #[test]
    fn who_waits_no_more_is_not_looked_for() {
        let log = log();
        let board = Arc::clone(&log.here().unwrap().shared.board);
        let waiting = || {
            (
                board.count.load(Ordering::SeqCst),
                board.named().by_number.len(),
            )
        };
        let some = Follower::of(&log, Read::new(Query::stream("s")));
        let other = Follower::of(&log, Read::new(Query::stream("t")));
        assert_eq!(waiting(), (2, 2));
        drop(some);
        assert_eq!(waiting(), (1, 1));
        drop(other);
        let _all = Follower::of(&log, Read::new(Query::everything()));
        assert_eq!(waiting(), (0, 0));
    }
}
