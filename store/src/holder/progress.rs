//! How far long work is, told to whoever waits for it.

use super::{Lost, Reply, Replying, wait};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use tokio::sync::watch;

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
pub struct Telling(watch::Sender<Progress>);

impl Telling {
    /// Tells it, in place of what was told before. Whoever asked may be slow to look, or wait no more.
    pub fn tell(&self, progress: Progress) {
        self.0.send_replace(progress);
    }
}

/// Asks for something, and tells this thread how far it is until there is a reply.
pub(super) fn wait_telling(
    ask: impl FnOnce(Telling) -> Replying,
    progress: &dyn Fn(u64, u64),
) -> Result<Reply, Lost> {
    let (telling, mut told) = watch::channel(Progress::default());
    let mut replying = ask(Telling(telling));
    wait(async {
        let mut last = Progress::default();
        loop {
            let replied = {
                let mut changed = pin!(told.changed());
                poll_fn(|context| match replying.as_mut().poll(context) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    // Nobody tells any more, but there will be a reply.
                    Poll::Pending => match changed.as_mut().poll(context) {
                        Poll::Ready(Ok(())) => Poll::Ready(None),
                        _ => Poll::Pending,
                    },
                })
                .await
            };
            // What was told before the reply comes before it.
            let now = *told.borrow_and_update();
            if now != last {
                last = now;
                progress(now.done, now.all);
            }
            if let Some(reply) = replied {
                return reply;
            }
        }
    })
}
