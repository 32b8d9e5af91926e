//! What a log is: its name, its keys and the options of this process.

use crate::clock::Timekeeper;
use crate::keys::KeyStore;
use crate::options::{LogOptions, Sealing};
use crate::own::History;
use runstone_codec::keys::OperationsKey;
use runstone_codec::{CODEC_PLAIN, Header, LogId, Position, namespace};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// One opening of a log, from open to close. One process has a log open at a time, so who held
/// something in another opening and could hold it in that one only is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// Drawn anew each time.
    pub id: [u8; 16],
    /// How many events the log had.
    pub size: Position,
    /// The log's clock then, microseconds since the epoch.
    pub at_us: u64,
    /// The monotonic clock then.
    pub(crate) monotonic_us: u64,
}

/// Facts that hold as long as a log is open.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) log_id: LogId,
    pub(crate) origin: String,
    pub(crate) sealing: Sealing,
    pub(crate) fields: bool,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) operations: Option<Arc<OperationsKey>>,
    pub(crate) mac: [u8; 32],
    pub(crate) options: LogOptions,
    /// Why nothing may be appended, if so.
    pub(crate) read_only: Option<String>,
    /// Pages of the file are damaged.
    pub(crate) damaged: bool,
    /// What the log's own events say of it; grows with them.
    pub(crate) history: RwLock<Arc<History>>,
    /// What events are stamped by, for the writer and for who looks.
    pub(crate) time: Mutex<Timekeeper>,
    /// The file, if it is one by name; set once it is open.
    pub(crate) path: OnceLock<PathBuf>,
    /// Set once it is open.
    pub(crate) opening: OnceLock<Opening>,
}

impl Identity {
    /// This opening; while the log is being opened, one that nothing was held in.
    pub(crate) fn opening(&self) -> Opening {
        let none = Opening {
            id: [0; 16],
            size: Position::new(0),
            at_us: 0,
            monotonic_us: 0,
        };
        self.opening.get().copied().unwrap_or(none)
    }

    fn time(&self) -> MutexGuard<'_, Timekeeper> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time begins with the newest one of the log.
    pub(crate) fn begin_time(&self, newest_us: u64) {
        *self.time() = Timekeeper::new(self.options.clock.as_ref(), newest_us);
    }

    /// When what is recorded next happens.
    pub(crate) fn next_us(&self) -> u64 {
        self.time().next(self.options.clock.as_ref())
    }

    /// When it would happen if it were recorded now.
    pub(crate) fn now_us(&self) -> u64 {
        self.time().peek(self.options.clock.as_ref())
    }

    /// Adopts the wall clock at once.
    pub(crate) fn accept_clock(&self) {
        self.time().accept(self.options.clock.as_ref());
    }

    /// When this opening began and what the monotonic clock has measured since.
    pub(crate) fn steady_us(&self) -> u64 {
        let opening = self.opening();
        let now_us = self.options.clock.monotonic_us();
        let passed_us = now_us.saturating_sub(opening.monotonic_us);
        opening.at_us.saturating_add(passed_us)
    }

    pub(crate) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_history(&self, history: History) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(history);
    }

    /// Whether the content of the event at `position` was erased, whatever is left of it.
    pub(crate) fn is_erased(&self, position: u64, header: &Header) -> bool {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        history.covers(position, header)
    }
}

/// Whether an event of an encrypted log is in the clear and may not be: whoever can replace a
/// payload could else replace it by one that needs no key.
pub(crate) fn is_downgraded(sealing: Sealing, header: &Header) -> bool {
    sealing == Sealing::Required
        && header.codec == CODEC_PLAIN
        && !namespace::is_evidence(&header.event_type)
}

impl Drop for Identity {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.mac.zeroize();
    }
}
