//! Group commit in front of a store that has none.
//!
//! ```text
//!  many clients --> channel --> one thread: drain, one transaction, one sync --> answers
//!  one client   --> the store, on the client's thread
//! ```
//!
//! Without it such a store would sync once an event however many clients there are; whoever embeds
//! one writes this first.

use super::{Reply, Seen, Store, Wanted};
use crate::event::Request;
use anyhow::{Context as _, Result, anyhow, bail};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the writer.
const QUEUE: usize = 10_000;
/// Events that one commit takes.
const GROUP_EVENTS: usize = 16_384;

/// A store with transactions and nothing else.
pub(crate) trait Committer: Send + Sync + 'static {
    /// State of the one writer.
    type Writer: Send + 'static;

    /// Records the requests in one durable transaction; each answer says whether its condition
    /// held.
    fn commit(&self, writer: &mut Self::Writer, requests: &[Request]) -> Result<Vec<bool>>;

    fn scan(&self, writer: &mut Self::Writer) -> Result<Seen>;

    fn read_run(&self, writer: &mut Self::Writer, stream: &str) -> Result<Seen>;

    fn find(&self, _: &mut Self::Writer, _: Wanted<'_>) -> Result<Seen> {
        bail!("nothing is found by its place")
    }
}

struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<bool>>,
}

/// A store behind group commit.
pub(crate) struct Grouped<C: Committer> {
    store: Arc<C>,
    writer: Arc<Mutex<C::Writer>>,
    queue: Option<mpsc::Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Committer> Grouped<C> {
    pub(crate) fn start(store: C, writer: C::Writer) -> Result<Box<dyn Store>> {
        let (store, writer) = (Arc::new(store), Arc::new(Mutex::new(writer)));
        let (queue, asked) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("group-commit".to_owned());
        let thread = thread.spawn({
            let (store, writer) = (Arc::clone(&store), Arc::clone(&writer));
            move || serve(store.as_ref(), &writer, asked)
        })?;
        Ok(Box::new(Self {
            store,
            writer,
            queue: Some(queue),
            thread: Some(thread),
        }))
    }

    fn queue(&self) -> Result<mpsc::Sender<Asked>> {
        self.queue.clone().context("the store is closed")
    }
}

impl<C: Committer> Drop for Grouped<C> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been answered as an error already.
            let _ = thread.join();
        }
    }
}

fn lock<T>(writer: &Mutex<T>) -> MutexGuard<'_, T> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve<C: Committer>(store: &C, writer: &Mutex<C::Writer>, mut asked: mpsc::Receiver<Asked>) {
    while let Some(first) = asked.blocking_recv() {
        let mut events = first.request.events.len();
        let (mut requests, mut answers) = (vec![first.request], vec![first.answer]);
        while events < GROUP_EVENTS
            && let Ok(next) = asked.try_recv()
        {
            events += next.request.events.len();
            requests.push(next.request);
            answers.push(next.answer);
        }
        let outcome = store.commit(&mut lock(writer), &requests);
        for (at, answer) in answers.into_iter().enumerate() {
            let reply = match &outcome {
                Ok(held) => Ok(held.get(at).copied().unwrap_or(false)),
                Err(error) => Err(anyhow!("{error:#}")),
            };
            // Whoever asked may have gone.
            let _ = answer.send(reply);
        }
    }
}

impl<C: Committer> Store for Grouped<C> {
    fn append_alone(&self, request: Request) -> Result<bool> {
        let held = self.store.commit(&mut lock(&self.writer), &[request])?;
        held.first().copied().context("no answer")
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        let (answer, reply) = oneshot::channel();
        let asked = Asked { request, answer };
        let sent = self.queue()?.blocking_send(asked);
        sent.map_err(|_| anyhow!("the writer is gone"))?;
        reply.blocking_recv()?
    }

    fn submit(&self, request: Request) -> Reply {
        let queue = self.queue();
        Box::pin(async move {
            let (answer, reply) = oneshot::channel();
            let sent = queue?.send(Asked { request, answer }).await;
            sent.map_err(|_| anyhow!("the writer is gone"))?;
            reply.await?
        })
    }

    fn scan(&self) -> Result<Seen> {
        self.store.scan(&mut lock(&self.writer))
    }

    fn read_run(&self, stream: &str) -> Result<Seen> {
        self.store.read_run(&mut lock(&self.writer), stream)
    }

    fn find(&self, wanted: Wanted<'_>) -> Result<Seen> {
        self.store.find(&mut lock(&self.writer), wanted)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}
