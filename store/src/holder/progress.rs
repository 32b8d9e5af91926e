//! How far long work is, told to whoever waits for it.

use super::{Lost, Reply, Replying, wait};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::poll_fn;
use std::task::Poll;
use tokio::sync::mpsc;

/// How far work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by those who carry requests"
)]
pub struct Progress {
    /// So many are done.
    pub done: u64,
    /// Of so many.
    pub all: u64,
}

/// Takes how far work is that somebody asked for, and waits for.
#[derive(Debug, Clone)]
pub struct Telling(mpsc::Sender<Progress>);

impl Telling {
    /// Tells it, once what was told before is taken. Whoever asked may wait no more: then nobody is told.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it was told or not.
    pub async fn tell(&self, progress: Progress) {
        let _ = self.0.send(progress).await;
    }
}

/// Asks for something, and tells this thread how far it is until there is a reply.
pub(super) fn wait_telling(
    ask: impl FnOnce(Telling) -> Replying,
    progress: &dyn Fn(u64, u64),
) -> Result<Reply, Lost> {
    let (telling, mut told) = mpsc::channel(1);
    let mut replying = ask(Telling(telling));
    wait(poll_fn(|context| {
        let replied = replying.as_mut().poll(context);
        // What was told before the reply is there when that is.
        while let Poll::Ready(Some(Progress { done, all })) = told.poll_recv(context) {
            progress(done, all);
        }
        replied
    }))
}
