//! The place where a caller waits for its answer, blocking or as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct Slot<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

/// One answer, given once.
#[derive(Debug)]
pub(crate) struct Ticket<T> {
    /// Leaf lock: nothing else is locked while it is held.
    slot: Mutex<Slot<T>>,
    given: Condvar,
}

impl<T> Ticket<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            slot: Mutex::new(Slot {
                answer: None,
                waker: None,
            }),
            given: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give(&self, answer: T) {
        let mut slot = self.lock();
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        drop(slot);
        self.given.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.lock().answer.take()
    }

    /// Blocks until the answer is there.
    pub(crate) fn wait(&self) -> T {
        let mut slot = self.lock();
        loop {
            if let Some(answer) = slot.answer.take() {
                return answer;
            }
            slot = self
                .given
                .wait(slot)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lets everybody else have a turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    given: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Waits for a ticket without blocking a thread.
#[derive(Debug)]
pub(crate) struct Waiting<T>(pub(crate) Arc<Ticket<T>>);

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock();
        if let Some(answer) = slot.answer.take() {
            return Poll::Ready(answer);
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
