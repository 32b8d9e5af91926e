//! What stops before the log does.

use super::{Backing, Log};
use std::fmt::{Debug, Formatter, Result};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};

trait Stop: Send + Sync {
    fn stop(&self);
    fn is_gone(&self) -> bool;
}

struct Stopping<T> {
    what: Weak<T>,
    stop: fn(&T),
}

impl<T: Send + Sync> Stop for Stopping<T> {
    fn stop(&self) {
        if let Some(what) = self.what.upgrade() {
            (self.stop)(&what);
        }
    }

    fn is_gone(&self) -> bool {
        self.what.strong_count() == 0
    }
}

/// In the order in which they were added.
#[derive(Default)]
pub(crate) struct BeforeClose(Mutex<Vec<Box<dyn Stop>>>);

impl Debug for BeforeClose {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.debug_struct("BeforeClose").finish_non_exhaustive()
    }
}

impl BeforeClose {
    fn add(&self, stopping: Box<dyn Stop>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_gone());
        all.push(stopping);
    }

    /// Each is stopped once, whoever closes the log.
    pub(crate) fn stop(&self) {
        let all = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for one in all {
            one.stop();
        }
    }
}

impl Log {
    /// Stops what works for this log, if somebody still has it, when the log is
    /// [closed](Self::close) by whichever handle: before what waits is drained, on the thread that
    /// closes. An attached handle does so when it is closed itself. What is in `stop` must not wait
    /// for the log to be closed.
    pub fn before_close<T: Send + Sync + 'static>(&self, what: &Arc<T>, stop: fn(&T)) {
        let what = Arc::downgrade(what);
        self.stops_first().add(Box::new(Stopping { what, stop }));
    }

    pub(super) fn stops_first(&self) -> &BeforeClose {
        match &self.backing {
            Backing::Here(here) => &here.shared.before_close,
            Backing::There(there) => &there.before_close,
        }
    }
}
