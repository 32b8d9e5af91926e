//! A claim in force, and one on its way: whatever becomes of their caller, they are settled or
//! given up.

use super::block::within;
use super::call::CallError;
use super::handle::Runstone;
use super::renew::{Kept, What};
use super::run::{RETRIES, Run, find, is_doubtful};
use runstone_codec::{Position, Uuid};
use runstone_projections::budgets::Amounts;
use runstone_projections::effects::{Change, EffectError, Held};
use runstone_store::Log;
use std::fmt::{Debug, Display};
use std::future::{Future, pending};
use std::time::Duration;

/// How long a log is asked to record an outcome that it cannot take for the moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where another process holds the log: one that was killed is replaced meanwhile.
const PATIENCE_AFAR: Duration = Duration::from_secs(30);
/// The first pause between two attempts; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between two attempts.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How often, and then how long, an outcome is offered again.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Attempts without a pause while it is in doubt: a log of this process decides at once.
    doubts: usize,
    /// Then as long as this.
    time: Duration,
}

impl Patience {
    fn with(log: &Log) -> Self {
        if log.is_attached() {
            Self {
                doubts: 0,
                time: PATIENCE_AFAR,
            }
        } else {
            Self {
                doubts: RETRIES,
                time: PATIENCE,
            }
        }
    }
}

/// Records something, again and again while it may yet be recorded. Doubtful, it may be recorded
/// already: the same outcome again is no second one.
async fn patiently<A, F>(
    patience: Patience,
    mut record: impl FnMut() -> F,
) -> Result<A, EffectError>
where
    F: Future<Output = Result<A, EffectError>>,
{
    let (mut pause, mut waited, mut doubts) = (FIRST_PAUSE, Duration::ZERO, 0);
    loop {
        match record().await {
            Err(EffectError::Append(error)) if is_doubtful(&error) && doubts < patience.doubts => {
                doubts += 1;
                std::thread::yield_now();
            }
            Err(EffectError::Append(error))
                if (error.is_retryable() || is_doubtful(&error)) && waited < patience.time =>
            {
                within(Box::pin(pending::<()>()), pause).await;
                waited = waited.saturating_add(pause);
                pause = pause.saturating_mul(2).min(LAST_PAUSE);
            }
            settled => return settled,
        }
    }
}

/// A claim on its way. Dropped before it is answered, it is looked for and given up.
pub(super) struct Claiming<'a> {
    pub(super) runstone: &'a Runstone,
    pub(super) event_id: Uuid,
    pub(super) is_answered: bool,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Some(fence) = find(self.runstone, &[self.event_id]) else {
            return;
        };
        let effects = self.runstone.effects();
        let given_up = effects.at(fence).and_then(|effect| {
            let change = Change::Cancel {
                reason: "dropped".to_owned(),
                begun: false,
            };
            effects.change_blocking(&effect.target().fence(fence), &change)
        });
        if let Err(error) = given_up {
            tracing::warn!(code = error.code(), "a claim was dropped and not given up");
        }
    }
}

/// A claim in force. Dropped unsettled, by a time-out or a panic, it is given up.
pub(super) struct Guard {
    pub(super) run: Run,
    pub(super) held: Held,
    /// Whether the tool was called.
    pub(super) begun: bool,
    is_settled: bool,
    /// Renews its lease where another process has the log.
    kept: Option<Kept>,
    /// What it cost, where that is not what was reserved.
    pub(super) cost: Option<Amounts>,
}

impl Guard {
    pub(super) fn new(run: Run, held: Held) -> Self {
        let kept = run
            .inner
            .runstone
            .keep(What::Effect(held.target()), run.inner.hold);
        Self {
            run,
            held,
            kept,
            begun: false,
            is_settled: false,
            cost: None,
        }
    }

    /// Records what came of it. A log that cannot take it for the moment (its queue is full, the
    /// disk is) is asked again for about [`PATIENCE`]. What it does not take then, or at all (it is
    /// too long), is recorded without content, so that nobody takes the call for one that is under
    /// way.
    pub(super) async fn settle<E: Debug + Display>(
        &mut self,
        change: &Change,
    ) -> Result<Position, CallError<E>> {
        let effects = self.run.inner.runstone.effects();
        let mut target = match &self.cost {
            Some(cost) => self.held.target().cost(cost.clone()),
            None => self.held.target(),
        };
        let patience = Patience::with(self.run.inner.runstone.log());
        let mut settled = patiently(patience, || effects.change(&target, change)).await;
        if let (Err(EffectError::Budget(error)), Some(_)) = (&settled, &self.cost) {
            // A cost that cannot be charged must not hide that the call was made.
            tracing::warn!(
                effect = self.held.name,
                code = error.code(),
                "cost not charged"
            );
            target = self.held.target();
            settled = patiently(patience, || effects.change(&target, change)).await;
        }
        let unrecorded = |source| CallError::Unrecorded {
            name: self.held.name.clone(),
            source,
        };
        let source = match settled {
            Ok(position) => {
                self.is_settled = true;
                return Ok(position);
            }
            Err(source) => source,
        };
        let bare = match change {
            Change::Complete { .. } => Change::Complete {
                result: None,
                rejected: Some(source.code().to_owned()),
            },
            _ => Change::Unknown {
                why: "unrecorded".into(),
                detail: None,
            },
        };
        if matches!(source, EffectError::Append(_)) {
            self.is_settled = effects.change(&target, &bare).await.is_ok();
        } else {
            // Somebody else settled it, or released it: there is nothing to give up.
            self.is_settled = true;
        }
        Err(unrecorded(source))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.kept.take());
        if self.is_settled {
            return;
        }
        let why = if std::thread::panicking() {
            "panicked"
        } else {
            "dropped"
        };
        let change = Change::Cancel {
            reason: why.to_owned(),
            begun: self.begun,
        };
        let effects = self.run.inner.runstone.effects();
        match effects.change_blocking(&self.held.target(), &change) {
            Ok(_) => tracing::warn!(effect = self.held.name, why, "given up"),
            Err(error) => {
                tracing::warn!(
                    effect = self.held.name,
                    why,
                    code = error.code(),
                    "not given up"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::block_on;
    use super::*;
    use runstone_store::AppendError;
    use std::cell::Cell;
    use std::future::ready;

    const HERE: Patience = Patience {
        doubts: RETRIES,
        time: PATIENCE,
    };

    #[test]
    fn what_may_yet_be_recorded_is_recorded_again_and_the_rest_is_not() {
        let times = Cell::new(0);
        let record = |error: fn() -> AppendError, until| {
            times.set(0);
            block_on(patiently(HERE, || {
                times.set(times.get() + 1);
                ready(if times.get() < until {
                    Err(EffectError::Append(error()))
                } else {
                    Ok(times.get())
                })
            }))
        };
        let full = || AppendError::StorageFull {
            needed: 1,
            available: 0,
        };
        assert_eq!(record(full, 3).ok(), Some(3));
        assert_eq!(record(|| AppendError::Reopening, 50).ok(), Some(50));
        assert!(record(|| AppendError::Closed, 2).is_err());
        assert_eq!(times.get(), 1);
    }
}
