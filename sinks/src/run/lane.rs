//! Where a sink works, and how long that may take.
//!
//! ```text
//!  session --> Lane --> thread    a thread of its own: hanging and panicking included, all stays there
//!                  +--> here      the task of the session, if whoever drives it has no threads for sinks
//! ```
//!
//! A lane knows a sink and the batch that it was given, and nothing of the log: one that never comes
//! back keeps neither the log nor its files.

mod here;
mod thread;

use super::contained::contained;
use crate::config::SinkConfig;
use crate::fold::{AHEAD, UNAUTHORISED};
use crate::kinds::Factory;
use crate::sink::{Batch, Known, Rejection, Sink};
use crate::timer::Timer;
use here::Here;
use std::io;
use std::sync::Arc;
use thread::Thread;

/// Whose thread the sinks of a log work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Each on its own.
    Threads,
    /// All on that of whoever drives them.
    Here,
}

/// Why a sink did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It said so.
    Rejected(Rejection),
    /// It panicked; it is made anew.
    Panicked,
    /// It took longer than it has; it is made anew.
    TimedOut,
    /// It has not come back from what it was given before.
    Hangs,
    /// It has no thread.
    NoThread(String),
    /// Its destination has what the log has not.
    Ahead,
}

impl Trouble {
    /// As a code and in words.
    pub(super) fn told(&self) -> (&'static str, &str) {
        match self {
            Self::Rejected(Rejection::Unavailable(why)) | Self::NoThread(why) => {
                ("unavailable", why)
            }
            Self::Rejected(Rejection::Unauthorised(why)) => (UNAUTHORISED, why),
            Self::Rejected(Rejection::Refused(why)) => ("refused", why),
            Self::Rejected(Rejection::Unusable(why)) => ("unusable", why),
            Self::Panicked => ("panicked", "the sink panicked"),
            Self::TimedOut => ("timed_out", "the sink did not answer in time"),
            Self::Hangs => ("hangs", "the sink does not come back"),
            Self::Ahead => (AHEAD, "the destination has events that this log has not"),
        }
    }
}

/// A sink at its place.
pub(super) struct Lane {
    at: At,
    time: Time,
}

enum At {
    Thread(Thread),
    Here(Box<Here>),
}

/// How long it may take.
struct Time {
    timer: Arc<dyn Timer>,
    limit_us: u64,
}

impl Time {
    /// What comes of it in time.
    async fn limited<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let late = self.timer.now_us().saturating_add(self.limit_us);
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.timer.until(late) => None,
        }
    }
}

impl Lane {
    pub(super) fn start(
        place: Place,
        config: &SinkConfig,
        factory: Factory,
        timer: Arc<dyn Timer>,
    ) -> io::Result<Self> {
        let limit_us = config.timeout_s.saturating_mul(1_000_000);
        let config = config.clone();
        Ok(Self {
            at: match place {
                Place::Threads => At::Thread(Thread::start(config, factory)?),
                Place::Here => At::Here(Box::new(Here::new(config, factory))),
            },
            time: Time { timer, limit_us },
        })
    }

    /// Makes the sink, and asks what its destination has.
    pub(super) async fn open(&mut self) -> Result<Known, Trouble> {
        match &mut self.at {
            At::Thread(thread) => thread.open(&self.time).await,
            At::Here(here) => here.open(&self.time).await,
        }
    }

    /// Gives it a batch.
    pub(super) async fn deliver(&mut self, batch: Arc<Batch>) -> Result<(), Trouble> {
        match &mut self.at {
            At::Thread(thread) => thread.deliver(batch, &self.time).await,
            At::Here(here) => here.deliver(&batch, &self.time).await,
        }
    }

    /// Lets go of the sink, and waits until its files and connections are closed, as long as it has for
    /// a delivery; not if it hangs.
    pub(super) async fn close(self) {
        match self.at {
            At::Thread(thread) => thread.close(&self.time).await,
            At::Here(here) => drop(here),
        }
    }
}

/// What the code of a sink comes to, a panic included.
fn outcome<A>(done: Option<Result<A, Rejection>>) -> Result<A, Trouble> {
    match done {
        Some(done) => done.map_err(Trouble::Rejected),
        None => Err(Trouble::Panicked),
    }
}

/// Drops a sink, which is its code too.
fn let_go(sink: &mut Option<Box<dyn Sink>>) {
    let sink = sink.take();
    if contained(|| drop(sink)).is_none() {
        tracing::warn!("a sink panicked while it was let go of");
    }
}
