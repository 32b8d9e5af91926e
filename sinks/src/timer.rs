//! Injected time: what waits are measured by.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A wait.
pub type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What waits are measured by: the time between two tries, and the time that a delivery has.
pub trait Timer: Send + Sync + Debug {
    /// Microseconds since a fixed point, never decreasing.
    fn now_us(&self) -> u64;
    /// Ends when it is so late.
    fn until(&self, us: u64) -> Until;
}

/// The clock of the runtime that runs the sinks.
#[derive(Debug)]
pub struct SystemTimer {
    started: Instant,
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Timer for SystemTimer {
    fn now_us(&self) -> u64 {
        runstone_store::micros(self.started.elapsed())
    }

    fn until(&self, us: u64) -> Until {
        let until = self.started.checked_add(Duration::from_micros(us));
        Box::pin(async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        })
    }
}

/// A clock that moves only when it is told to, for tests and simulations.
#[derive(Debug, Clone, Default)]
pub struct ManualTimer {
    inner: Arc<Manual>,
}

#[derive(Debug, Default)]
struct Manual {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now_us: u64,
    next: u64,
    waiting: BTreeMap<(u64, u64), Waker>,
}

impl Manual {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManualTimer {
    /// Moves forward, and ends the waits that are over then.
    pub fn advance(&self, us: u64) {
        let mut state = self.inner.lock();
        let now = state.now_us.saturating_add(us);
        state.now_us = now;
        let later = state.waiting.split_off(&(now.saturating_add(1), 0));
        let over = std::mem::replace(&mut state.waiting, later);
        drop(state);
        over.into_values().for_each(Waker::wake);
    }

    /// Moves on to the next time that somebody waits for, if it is at most so far away; whether it is.
    /// Whoever waits for longer is left alone: a delivery under way, say, which has so much time.
    pub fn advance_to_next(&self, within_us: u64) -> bool {
        let state = self.inner.lock();
        let next = state.waiting.keys().next().map(|(until, _)| *until);
        let now = state.now_us;
        drop(state);
        let away = next.map(|next| next.saturating_sub(now));
        let away = away.filter(|away| *away <= within_us);
        if let Some(away) = away {
            self.advance(away);
        }
        away.is_some()
    }
}

impl Timer for ManualTimer {
    fn now_us(&self) -> u64 {
        self.inner.lock().now_us
    }

    fn until(&self, us: u64) -> Until {
        Box::pin(Wait {
            timer: Arc::clone(&self.inner),
            until: us,
            place: None,
        })
    }
}

struct Wait {
    timer: Arc<Manual>,
    until: u64,
    /// Its place among those that wait.
    place: Option<u64>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timer = Arc::clone(&self.timer);
        let mut state = timer.lock();
        if state.now_us >= self.until {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let waker = context.waker().clone();
        state.waiting.insert((self.until, place), waker);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        self.timer.lock().waiting.remove(&(self.until, place));
    }
}
