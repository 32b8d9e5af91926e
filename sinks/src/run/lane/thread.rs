//! The thread of a sink: what it does there, hanging and panicking included, stays there.

use super::{Time, Trouble, let_go, outcome};
use crate::config::SinkConfig;
use crate::kinds::Factory;
use crate::run::contained::contained;
use crate::sink::{Batch, Known, Rejection, Sink};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

enum Work {
    Open(oneshot::Sender<Result<Known, Trouble>>),
    Deliver(Arc<Batch>, oneshot::Sender<Result<(), Trouble>>),
}

/// A sink on its thread.
pub(super) struct Thread {
    work: SyncSender<Work>,
    ended: oneshot::Receiver<()>,
    /// The sink has not come back.
    is_stuck: bool,
}

impl Thread {
    pub(super) fn start(config: SinkConfig, factory: Factory) -> io::Result<Self> {
        // One that is stuck has at most one batch more than it holds.
        let (work, works) = sync_channel(1);
        let (ending, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
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
        })
    }

    pub(super) async fn open(&mut self, time: &Time) -> Result<Known, Trouble> {
        let (reply, replied) = oneshot::channel();
        self.asked(Work::Open(reply), replied, time).await
    }

    pub(super) async fn deliver(&mut self, batch: Arc<Batch>, time: &Time) -> Result<(), Trouble> {
        let (reply, replied) = oneshot::channel();
        self.asked(Work::Deliver(batch, reply), replied, time).await
    }

    async fn asked<T>(
        &mut self,
        work: Work,
        replied: oneshot::Receiver<Result<T, Trouble>>,
        time: &Time,
    ) -> Result<T, Trouble> {
        match self.work.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Trouble::Hangs),
            Err(TrySendError::Disconnected(_)) => {
                return Err(Trouble::NoThread("the thread of the sink ended".to_owned()));
            }
        }
        // Dropping the reply tells the sink that nobody waits for it.
        let reply = time.limited(replied).await;
        self.is_stuck = reply.is_none();
        match reply {
            Some(reply) => reply.unwrap_or(Err(Trouble::Panicked)),
            None => Err(Trouble::TimedOut),
        }
    }

    pub(super) async fn close(self, time: &Time) {
        drop(self.work);
        if !self.is_stuck {
            time.limited(self.ended).await;
        }
    }
}

/// Does what the sink is asked, until nobody asks any more.
fn serve(runtime: &Runtime, works: &Receiver<Work>, config: &SinkConfig, factory: &Factory) {
    let mut sink: Option<Box<dyn Sink>> = None;
    while let Ok(work) = works.recv() {
        match work {
            Work::Open(mut reply) => {
                let_go(&mut sink);
                let opened = outcome(contained(|| {
                    let mut made = factory(config)?;
                    let known = runtime.block_on(unless_left(&mut reply, made.last()))?;
                    Ok(known.map(|known| (made, known)))
                }));
                let outcome = match opened {
                    Ok(None) => continue,
                    Ok(Some((made, known))) => {
                        sink = Some(made);
                        Ok(known)
                    }
                    Err(trouble) => Err(trouble),
                };
                let _ = reply.send(outcome);
            }
            Work::Deliver(batch, mut reply) => {
                let Some(open) = sink.as_mut() else {
                    let why = "the sink is not open".to_owned();
                    let _ = reply.send(Err(Trouble::NoThread(why)));
                    continue;
                };
                let delivered = outcome(contained(|| {
                    runtime.block_on(unless_left(&mut reply, open.deliver(&batch)))
                }));
                match delivered {
                    Ok(None) => let_go(&mut sink),
                    Ok(Some(())) => drop(reply.send(Ok(()))),
                    Err(trouble) => drop(reply.send(Err(trouble))),
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
) -> Result<Option<A>, Rejection> {
    tokio::select! {
        biased;
        () = reply.closed() => Ok(None),
        done = work => done.map(Some),
    }
}
