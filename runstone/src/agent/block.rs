//! Futures for callers without a runtime, and time for callers with any.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

pub(super) use runstone_store::holder::wait as block_on;

/// The output of a future, or `None` when it is not there in time. A thread watches the clock, so
/// that no runtime need have timers; it ends when nobody waits any more.
pub(super) async fn within<F: Future + Unpin>(mut future: F, time: Duration) -> Option<F::Output> {
    let alarm = Arc::new(Mutex::new(Alarm::default()));
    let mut watch = Watch {
        alarm: Arc::clone(&alarm),
        thread: None,
    };
    poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
            return Poll::Ready(Some(output));
        }
        let mut state = alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if state.rang {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        drop(state);
        if watch.thread.is_none() {
            let alarm = Arc::clone(&alarm);
            let spawned = thread::Builder::new().spawn(move || ring(&alarm, time));
            match spawned {
                Ok(thread) => watch.thread = Some(thread.thread().clone()),
                // Nobody watches the clock: the time is over at once.
                Err(_) => return Poll::Ready(None),
            }
        }
        Poll::Pending
    })
    .await
}

/// The thread that watches the clock, as long as somebody waits.
struct Watch {
    alarm: Arc<Mutex<Alarm>>,
    thread: Option<Thread>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.alarm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rang = true;
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

#[derive(Default)]
struct Alarm {
    rang: bool,
    waker: Option<Waker>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a caller's patience is measured by the machine's clock; nothing of it is recorded"
)]
fn ring(alarm: &Mutex<Alarm>, time: Duration) {
    let began = Instant::now();
    loop {
        let mut state = alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let left = time.saturating_sub(began.elapsed());
        if state.rang || left.is_zero() {
            state.rang = true;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
            return;
        }
        drop(state);
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn what_is_ready_is_answered_and_what_never_is_ends() {
        assert_eq!(block_on(within(ready(7), Duration::MAX)), Some(7));
        let never = block_on(within(pending::<()>(), Duration::from_millis(1)));
        assert_eq!(never, None);
    }
}
