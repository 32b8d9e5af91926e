//! Leases of what this process holds in a log that another process serves.
//!
//! The process that has the file sees neither that a holder elsewhere lives nor that it died. So what
//! is held there has a lease, and a thread of this process renews it at a third of its length, as long
//! as it is kept and the handle is open. A process that is killed renews nothing; what it held is free when its lease ends.

use runstone_projections::effects::{Change, EffectError, Effects, Target};
use runstone_projections::runs::{self, RunError, RunHeld};
use runstone_projections::{Hold, Settings};
use runstone_store::Log;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How soon a renewal that failed is tried again, at most.
const AGAIN: Duration = Duration::from_secs(1);

/// Something that is held.
#[derive(Debug, Clone)]
pub(super) enum What {
    Run(RunHeld),
    Effect(Target),
}

/// How long what this process holds is held without a word: as long as it has the file, or, where
/// another process has it, as long as a run is by the settings.
pub(super) fn hold_of(log: &Log) -> Result<Hold, RunError> {
    if !log.is_attached() {
        return Ok(Hold::Opening);
    }
    let run_s = Settings::in_force(log)?.settings.leases.run_s;
    Ok(Hold::For(run_s.saturating_mul(1_000_000)))
}

/// What is renewed for one handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewals {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<u64, Entry>,
    next: u64,
    is_running: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    what: What,
    hold: Hold,
    /// A third of its length.
    every: Duration,
    due: Instant,
}

/// As long as there is this, it is renewed.
#[derive(Debug)]
#[must_use = "dropped, it is not renewed"]
pub(super) struct Kept {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared.lock().kept.remove(&self.id);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews what is due, until nothing is kept any more.
    fn run(&self, log: &Log) {
        let mut state = self.lock();
        loop {
            let first = state.kept.iter().min_by_key(|(_, entry)| entry.due);
            let Some((&id, entry)) = first else {
                state.is_running = false;
                return;
            };
            let left = entry.due.saturating_duration_since(now());
            if !left.is_zero() {
                let waited = self.changed.wait_timeout(state, left);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let entry = entry.clone();
            drop(state);
            let again = renew(log, &entry);
            state = self.lock();
            match (again, state.kept.get_mut(&id)) {
                (Some(after), Some(entry)) => entry.due = later(after),
                (None, Some(_)) => drop(state.kept.remove(&id)),
                (_, None) => {}
            }
        }
    }
}

/// Renews it; when it is due again, or `None` if it is not held any more.
fn renew(log: &Log, entry: &Entry) -> Option<Duration> {
    let renewed = match &entry.what {
        What::Run(held) => match runs::renew_blocking(log, held, entry.hold) {
            Ok(_) => Ok(()),
            Err(RunError::Stale { .. }) => return None,
            Err(error) => Err(error.code()),
        },
        What::Effect(target) => {
            let renew = Change::Renew(entry.hold);
            match Effects::new(log).change_blocking(target, &renew) {
                Ok(_) => Ok(()),
                Err(EffectError::StaleClaim { .. } | EffectError::NothingToSettle(_)) => {
                    return None;
                }
                Err(error) => Err(error.code()),
            }
        }
    };
    match renewed {
        Ok(()) => Some(entry.every),
        // Nothing can be recorded through it any more, and what is held lapses.
        Err(_) if log.is_closed() => None,
        Err(code) => {
            tracing::warn!(what = ?entry.what, code, "a lease is not renewed; tried again");
            Some(AGAIN.min(entry.every))
        }
    }
}

impl Renewals {
    /// Keeps what was just taken for so long; `None` if that does not end while this process lives.
    pub(super) fn keep(&self, log: &Log, what: What, hold: Hold) -> Option<Kept> {
        let Hold::For(us) = hold else {
            return None;
        };
        let every = Duration::from_micros(us / 3);
        let mut state = self.shared.lock();
        let id = state.next;
        state.next += 1;
        let due = later(every);
        let entry = Entry {
            what,
            hold,
            every,
            due,
        };
        state.kept.insert(id, entry);
        if !state.is_running {
            let (shared, log) = (Arc::clone(&self.shared), log.clone());
            let thread = thread::Builder::new().name("runstone-renew".to_owned());
            state.is_running = thread.spawn(move || shared.run(&log)).is_ok();
            if !state.is_running {
                tracing::warn!("no thread to renew leases: what is held lapses");
            }
        }
        self.shared.changed.notify_all();
        Some(Kept {
            id,
            shared: Arc::clone(&self.shared),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when to ask again is this machine's time; the log measures leases by its own"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// So much later; a time that cannot be told is a day.
pub(super) fn later(after: Duration) -> Instant {
    let now = now();
    now.checked_add(after).unwrap_or_else(|| now + DAY)
}

/// Longer than which nothing need be waited for.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runstone;
    use anyhow::Context as _;
    use runstone_projections::runs::Begin;
    use runstone_store::{Query, Read};

    /// Who closes the log lets go: nobody goes on asking it.
    #[test]
    fn nothing_is_renewed_after_close() -> anyhow::Result<()> {
        let log = Runstone::memory()?;
        let time = Hold::For(3_000);
        let mut begin = Begin::new("run-1", "bot");
        begin.hold = time;
        let held = runs::begin_blocking(&log, &begin)?.into_held();
        let renewals = Renewals::default();
        let kept = renewals.keep(&log, What::Run(held), time);
        log.close_blocking()?;
        let until = now() + Duration::from_secs(60);
        while renewals.shared.lock().is_running {
            anyhow::ensure!(now() < until, "it goes on");
            thread::yield_now();
        }
        drop(kept);
        Ok(())
    }

    #[test]
    fn what_is_kept_is_renewed_and_what_is_not_is_not() -> anyhow::Result<()> {
        let log = Runstone::memory()?;
        let time = Hold::For(3_000);
        let mut begin = Begin::new("run-1", "bot");
        begin.hold = time;
        let held = runs::begin_blocking(&log, &begin)?.into_held();
        let renewals = Renewals::default();
        assert!(
            renewals
                .keep(&log, What::Run(held.clone()), Hold::Opening)
                .is_none()
        );
        let kept = renewals.keep(&log, What::Run(held.clone()), time);
        let renewed = Query::from(runstone_store::Item::new().of_type("run.lease_renewed"));
        let mut events = log.subscribe(Read::new(renewed.clone()))?;
        for _ in 0..3 {
            events.next_blocking().context("the log is open")??;
        }
        drop(kept);
        // The thread ends when nothing is kept.
        while renewals.shared.lock().is_running {
            thread::yield_now();
        }
        let count = log.count(&renewed)?;
        // Another one starts a thread again, which finds that the run is somebody else's.
        begin.hold = Hold::Opening;
        begin.may_reopen = true;
        let let_go = crate::events::SessionEnded {
            status: "aborted".to_owned(),
            reason: "cancel".to_owned(),
        };
        let draft = runstone_codec::Draft::new(runstone_codec::NewEvent::typed(&let_go, "run-1")?)
            .control(let_go.control());
        runs::record_blocking(&log, &held, vec![draft])?;
        let kept = renewals.keep(&log, What::Run(held), time);
        while !renewals.shared.lock().kept.is_empty() {
            thread::yield_now();
        }
        drop(kept);
        assert_eq!(log.count(&renewed)?, count);
        Ok(())
    }
}
