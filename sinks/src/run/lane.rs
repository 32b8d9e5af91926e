//! The thread of a sink: what it does there, hanging and panicking included, stays there.
//!
//! A lane knows a sink and the batch that it was given, and nothing of the log: one that never comes
//! back keeps neither the log nor its files.

use crate::config::SinkConfig;
use crate::fold::{AHEAD, UNAUTHORISED};
use crate::kinds::Factory;
use crate::sink::{Batch, Known, Rejection, Sink};
use crate::timer::Timer;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

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

    /// Whether it may have taken what it was given all the same.
    pub(super) fn is_open(&self) -> bool {
        !matches!(
            self,
            Self::Ahead
                | Self::Rejected(
                    Rejection::Refused(_) | Rejection::Unauthorised(_) | Rejection::Unusable(_)
                )
        )
    }
}

enum Work {
    Open(Option<u64>, oneshot::Sender<Result<Known, Trouble>>),
    Deliver(Arc<Batch>, oneshot::Sender<Result<(), Trouble>>),
}

/// A sink on its thread.
pub(super) struct Lane {
    work: SyncSender<Work>,
    ended: oneshot::Receiver<()>,
    /// The sink has not come back.
    is_stuck: bool,
    timer: Arc<dyn Timer>,
    limit_us: u64,
}

impl Lane {
    pub(super) fn start(
        config: &SinkConfig,
        factory: Factory,
        timer: Arc<dyn Timer>,
    ) -> io::Result<Self> {
        // One that is stuck has at most one batch more than it holds.
        let (work, works) = sync_channel(1);
        let (ending, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let limit_us = config.timeout_s.saturating_mul(1_000_000);
        let config = config.clone();
        std::thread::Builder::new()
            .name(format!("sink-{}", config.name))
            .spawn(move || {
                serve(&runtime, &works, &config, &factory);
                runtime.shutdown_background();
                // Nobody may be left who wants to know.
                let _ = ending.send(());
            })?;
        Ok(Self {
            work,
            ended,
            is_stuck: false,
            timer,
            limit_us,
        })
    }

    /// Makes the sink, and asks what its destination has, which had everything before a position, if
    /// anything.
    pub(super) async fn open(&mut self, had: Option<u64>) -> Result<Known, Trouble> {
        let (reply, replied) = oneshot::channel();
        self.asked(Work::Open(had, reply), replied).await
    }

    /// Gives it a batch.
    pub(super) async fn deliver(&mut self, batch: Arc<Batch>) -> Result<(), Trouble> {
        let (reply, replied) = oneshot::channel();
        self.asked(Work::Deliver(batch, reply), replied).await
    }

    async fn asked<T>(
        &mut self,
        work: Work,
        replied: oneshot::Receiver<Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        match self.work.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Trouble::Hangs),
            Err(TrySendError::Disconnected(_)) => {
                return Err(Trouble::NoThread("the thread of the sink ended".to_owned()));
            }
        }
        let late = self.timer.now_us().saturating_add(self.limit_us);
        // Dropping the reply tells the sink that nobody waits for it.
        let (outcome, is_stuck) = tokio::select! {
            biased;
            reply = replied => (reply.unwrap_or(Err(Trouble::Panicked)), false),
            () = self.timer.until(late) => (Err(Trouble::TimedOut), true),
        };
        self.is_stuck = is_stuck;
        outcome
    }

    /// Lets go of the sink, and waits until its files and connections are closed, as long as it has for
    /// a delivery; not if it hangs.
    pub(super) async fn close(self) {
        drop(self.work);
        if self.is_stuck {
            return;
        }
        let late = self.timer.now_us().saturating_add(self.limit_us);
        tokio::select! {
            _ = self.ended => {}
            () = self.timer.until(late) => {}
        }
    }
}

/// Does what the sink is asked, until nobody asks any more.
fn serve(runtime: &Runtime, works: &Receiver<Work>, config: &SinkConfig, factory: &Factory) {
    let mut sink: Option<Box<dyn Sink>> = None;
    while let Ok(work) = works.recv() {
        match work {
            Work::Open(had, mut reply) => {
                let_go(&mut sink);
                let opened = contained(|| {
                    let mut made = factory(config)?;
                    if let Some(position) = had {
                        made.had_before(position);
                    }
                    let known = runtime.block_on(unless_left(&mut reply, made.last()));
                    known
                        .map(|known| known.map(|known| (made, known)))
                        .transpose()
                });
                let outcome = match opened {
                    None => continue,
                    Some(Ok((made, known))) => {
                        sink = Some(made);
                        Ok(known)
                    }
                    Some(Err(trouble)) => Err(trouble),
                };
                let _ = reply.send(outcome);
            }
            Work::Deliver(batch, mut reply) => {
                let Some(open) = sink.as_mut() else {
                    let why = "the sink is not open".to_owned();
                    let _ = reply.send(Err(Trouble::NoThread(why)));
                    continue;
                };
                let outcome = contained(|| {
                    let delivered = runtime.block_on(unless_left(&mut reply, open.deliver(&batch)));
                    delivered.transpose()
                });
                match outcome {
                    Some(outcome) => {
                        let _ = reply.send(outcome);
                    }
                    None => let_go(&mut sink),
                }
            }
        }
    }
    let_go(&mut sink);
}

/// What comes of it, if somebody still waits for it.
async fn unless_left<T, A>(
    reply: &mut oneshot::Sender<T>,
    work: impl Future<Output = Result<A, Rejection>>,
) -> Option<Result<A, Rejection>> {
    tokio::select! {
        biased;
        () = reply.closed() => None,
        done = work => Some(done),
    }
}

/// What the code of a sink comes to, a panic included.
fn contained<A>(work: impl FnOnce() -> Result<Option<A>, Rejection>) -> Option<Result<A, Trouble>> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(None)) => None,
        Ok(Ok(Some(answer))) => Some(Ok(answer)),
        Ok(Err(rejection)) => Some(Err(Trouble::Rejected(rejection))),
        Err(_) => Some(Err(Trouble::Panicked)),
    }
}

/// Drops a sink, which is its code too.
fn let_go(sink: &mut Option<Box<dyn Sink>>) {
    let sink = sink.take();
    if catch_unwind(AssertUnwindSafe(|| drop(sink))).is_err() {
        tracing::warn!("a sink panicked while it was let go of");
    }
}
