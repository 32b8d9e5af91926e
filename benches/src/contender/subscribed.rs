//! Runstone whole, while many follow it within the process.

use super::{Reply, Seen, Store, runstone};
use crate::event::Request;
use ::runstone::{Query, Read, ReadError, Runstone, Subscription};
use anyhow::{Result, ensure};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

pub(crate) const SUBSCRIBERS: u64 = 100;

/// What somebody has seen who could not go on, so that nobody waits for it.
const STOPPED: u64 = u64::MAX;

/// How far everybody is.
#[derive(Debug, Default)]
struct Progress {
    /// Events that each has seen, own ones of the log included.
    seen: Vec<AtomicU64>,
    /// Events that somebody waits for.
    wanted: AtomicU64,
    lock: Mutex<()>,
    reached: Condvar,
}

impl Progress {
    fn saw(&self, subscriber: usize, events: u64) {
        if let Some(seen) = self.seen.get(subscriber) {
            seen.store(events, Ordering::SeqCst);
        }
        if events >= self.wanted.load(Ordering::SeqCst) {
            // Whoever waits has looked already, or will see this.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.reached.notify_all();
        }
    }
}

/// A log with its subscribers, each a thread.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) log: Runstone,
    progress: Arc<Progress>,
    threads: Vec<JoinHandle<Result<(), ReadError>>>,
}

impl Subscribed {
    /// All of them follow the whole log.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        Self::open_for(folder, |_| Query::everything())
    }

    fn open_for(folder: &Path, wanted: impl Fn(usize) -> Query) -> Result<Self> {
        let log = Runstone::options().open_or_create(runstone::path(folder))?;
        let progress = Arc::new(Progress {
            seen: (0..SUBSCRIBERS).map(|_| AtomicU64::default()).collect(),
            wanted: AtomicU64::new(u64::MAX),
            ..Progress::default()
        });
        let mut subscribed = Self {
            progress,
            threads: Vec::new(),
            log,
        };
        for number in 0..usize::try_from(SUBSCRIBERS)? {
            let subscription = subscribed.log.subscribe(Read::new(wanted(number)))?;
            let progress = Arc::clone(&subscribed.progress);
            let thread = std::thread::Builder::new().name(format!("follows-{number}"));
            let thread = thread.spawn(move || follow(subscription, number, &progress))?;
            subscribed.threads.push(thread);
        }
        Ok(subscribed)
    }

    /// How many have not seen so many events of the log yet.
    pub(crate) fn behind(&self, events: u64) -> usize {
        let seen = self.progress.seen.iter();
        let seen = seen.map(|seen| seen.load(Ordering::SeqCst));
        seen.filter(|seen| *seen < events).count()
    }

    /// Returns when everybody has seen so many events of the log; fails if somebody has stopped.
    pub(crate) fn wait_for(&self, events: u64) -> Result<()> {
        let progress = &self.progress;
        progress.wanted.store(events, Ordering::SeqCst);
        let lock = progress.lock.lock();
        let mut lock = lock.unwrap_or_else(PoisonError::into_inner);
        while self.behind(events) > 0 {
            let woken = progress.reached.wait(lock);
            lock = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let has_stopped = |seen: &AtomicU64| seen.load(Ordering::SeqCst) == STOPPED;
        ensure!(
            !progress.seen.iter().any(has_stopped),
            "a subscriber has stopped"
        );
        Ok(())
    }
}

fn follow(
    mut subscription: Subscription,
    number: usize,
    progress: &Progress,
) -> Result<(), ReadError> {
    while let Some(record) = subscription.next_blocking() {
        match record {
            Ok(record) => {
                std::hint::black_box(record.payload.bytes());
                progress.saw(number, record.position.get() + 1);
            }
            Err(error) => {
                progress.saw(number, STOPPED);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Its subscribers end with the log.
impl Drop for Subscribed {
    fn drop(&mut self) {
        let _ = self.log.close_blocking();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    Ok(store(Subscribed::open(folder)?))
}

/// Each waits for a stream of his own, where nothing comes.
pub(crate) fn open_awaited(folder: &Path) -> Result<Box<dyn Store>> {
    let stream = |number| Query::stream(format!("nobody-{number}"));
    Ok(store(Subscribed::open_for(folder, stream)?))
}

fn store(subscribed: Subscribed) -> Box<dyn Store> {
    let log = runstone::of(subscribed.log.clone());
    Box::new(Followed { log, subscribed })
}

struct Followed {
    log: Box<dyn Store>,
    subscribed: Subscribed,
}

impl Store for Followed {
    fn append_alone(&self, request: Request) -> Result<bool> {
        self.log.append_alone(request)
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        self.log.append_shared(request)
    }

    fn submit(&self, request: Request) -> Reply {
        self.log.submit(request)
    }

    fn scan(&self) -> Result<Seen> {
        self.log.scan()
    }

    fn read_run(&self, stream: &str) -> Result<Seen> {
        self.log.read_run(stream)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.subscribed);
        Ok(())
    }
}
