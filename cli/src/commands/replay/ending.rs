//! Signals that end the player, also one that hangs on its terminal.

use crate::output::restore_terminal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

/// How long the player may take to end by itself, and the terminal to be given back.
const GRACE: Duration = Duration::from_secs(1);

/// Watches for signals for as long as it is there.
#[derive(Debug)]
pub(super) struct Ending {
    signals: Handle,
    /// Gone when the player is over.
    _playing: Sender<()>,
}

impl Ending {
    /// A signal sets `ended`. The process ends as the signal ends any other where that is not
    /// heeded.
    pub(super) fn watch(ended: Arc<AtomicBool>) -> io::Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let handle = signals.handle();
        let (playing, over) = channel();
        Builder::new().spawn(move || {
            let Some(signal) = signals.forever().next() else {
                return;
            };
            ended.store(true, Ordering::SeqCst);
            if is_late(&over) {
                give_back();
                // What cannot be done as the signal says is done all the same.
                let _ = emulate_default_handler(signal);
                std::process::abort();
            }
        })?;
        Ok(Self {
            signals: handle,
            _playing: playing,
        })
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// Gives the terminal back, unless whoever hangs holds what that takes.
fn give_back() {
    let (giving, given) = channel();
    let thread = Builder::new().spawn(move || {
        restore_terminal();
        drop(giving);
    });
    if thread.is_ok() {
        is_late(&given);
    }
}

/// Whether the other side is still there after a while.
fn is_late(other: &Receiver<()>) -> bool {
    other.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout)
}
