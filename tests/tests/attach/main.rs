//! A held log, open to other processes.

mod attach;
mod foreign_http;
mod progress;
mod runs;
mod tools;
mod workers;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests that keep many processes at work take turns: at once, each would wait for those of the others.
fn alone() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}
