//! The sessions under way, one a sink.

use super::contained::Contained;
use super::lane::Place;
use super::session::Ended;
use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tokio::task::JoinSet;

/// How a session ended; `None`: it panicked.
type Outcome = Option<Ended>;

/// Sessions by the names of their sinks.
pub(super) enum Tasks {
    /// Tasks of a runtime.
    Spawned(JoinSet<(String, Outcome)>),
    /// Parts of the task that drives them.
    Here(BTreeMap<String, Contained<'static, Ended>>),
}

impl Tasks {
    pub(super) fn new(place: Place) -> Self {
        match place {
            Place::Threads => Self::Spawned(JoinSet::new()),
            Place::Here => Self::Here(BTreeMap::new()),
        }
    }

    /// Begins one. There is no other of the name.
    pub(super) fn begin(
        &mut self,
        name: &str,
        session: impl Future<Output = Ended> + Send + 'static,
    ) {
        let session: Pin<Box<dyn Future<Output = Ended> + Send>> = Box::pin(session);
        let (name, session) = (name.to_owned(), Contained::new(session));
        match self {
            Self::Spawned(tasks) => drop(tasks.spawn(async move { (name, session.await) })),
            Self::Here(tasks) => drop(tasks.insert(name, session)),
        }
    }

    /// Waits for the next one that ends; for ever, if there is none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> (String, Outcome) {
        match self {
            Self::Spawned(tasks) => loop {
                match tasks.join_next().await {
                    Some(Ok(ended)) => return ended,
                    // It was told to be dropped.
                    Some(Err(_)) => {}
                    None => pending().await,
                }
            },
            // Each has a turn, whoever of them was woken: what happens depends on the log and the timer alone.
            Self::Here(tasks) => {
                poll_fn(|context| {
                    let ended = tasks.iter_mut().find_map(|(name, session)| {
                        match Pin::new(session).poll(context) {
                            Poll::Ready(ended) => Some((name.clone(), ended)),
                            Poll::Pending => None,
                        }
                    });
                    match ended {
                        Some((name, ended)) => {
                            tasks.remove(&name);
                            Poll::Ready((name, ended))
                        }
                        None => Poll::Pending,
                    }
                })
                .await
            }
        }
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&mut self) {
        while !self.is_empty() {
            self.next().await;
        }
    }

    /// Drops those that are left.
    pub(super) async fn shutdown(&mut self) {
        match self {
            Self::Spawned(tasks) => tasks.shutdown().await,
            Self::Here(tasks) => tasks.clear(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Spawned(tasks) => tasks.is_empty(),
            Self::Here(tasks) => tasks.is_empty(),
        }
    }
}
