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
        let (mut last, mut is_told) = (Progress::default(), true);
        loop {
            let replied = {
                let mut changed = pin!(told.changed());
                poll_fn(|context| {
                    if let Poll::Ready(reply) = replying.as_mut().poll(context) {
                        return Poll::Ready(Some(reply));
                    }
                    if is_told && let Poll::Ready(changed) = changed.as_mut().poll(context) {
                        // Where nobody tells any more there will be a reply.
                        is_told = changed.is_ok();
                        return if is_told {
                            Poll::Ready(None)
                        } else {
                            Poll::Pending
                        };
                    }
                    Poll::Pending
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Written;
    use std::cell::RefCell;

    /// A reply that is there when it was asked for so often.
    fn after(polls: usize) -> Replying {
        let mut left = polls;
        Box::pin(poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(Ok(Reply::Answer(Written::Json(b"done".to_vec()))));
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn told(ask: impl FnOnce(Telling) -> Replying) -> Vec<(u64, u64)> {
        let told = RefCell::new(Vec::new());
        let reply = wait_telling(ask, &|done, all| told.borrow_mut().push((done, all)));
        assert_eq!(
            reply.ok(),
            Some(Reply::Answer(Written::Json(b"done".to_vec())))
        );
        told.into_inner()
    }

    #[test]
    fn a_reply_is_waited_for_where_nobody_tells() {
        for polls in 0..5 {
            assert_eq!(told(|_| after(polls)), []);
        }
    }

    #[test]
    fn what_was_told_comes_before_the_reply() {
        let now = |done| Progress { done, all: 9 };
        for polls in 0..3 {
            let both = told(|telling| {
                telling.tell(now(1));
                telling.tell(now(2));
                after(polls)
            });
            assert_eq!(both, [(2, 9)]);
        }
        let each = told(|telling| {
            let mut done = 0;
            let mut reply = after(4);
            Box::pin(poll_fn(move |context| {
                done += 1;
                telling.tell(Progress { done, all: 9 });
                reply.as_mut().poll(context)
            }))
        });
        assert_eq!(each, [(1, 9), (2, 9), (3, 9), (4, 9), (5, 9)]);
    }
}
