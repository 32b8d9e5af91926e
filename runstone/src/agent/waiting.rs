//! Waiting for what stands in the way of a call.

use super::block::within;
use super::handle::Runstone;
use super::renew::{later, now};
use runstone_projections::effects::{Effect, EffectError};
use runstone_store::{AppendError, Query, Read};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

/// How long a call waits for what stands in its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all.
    #[default]
    No,
    /// As long as it takes.
    Ever,
    /// No longer than this.
    AtMost(Duration),
}

impl Wait {
    pub(super) fn is_any(self) -> bool {
        self != Self::No
    }

    /// When it is over, if that begins now.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::AtMost(time) => Some(later(time)),
            Self::No | Self::Ever => None,
        }
    }
}

/// The output of a future, or `None` if it is not there by then.
pub(super) async fn until<F: Future + Unpin>(
    deadline: Option<Instant>,
    future: F,
) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(at) => within(future, at.saturating_duration_since(now())).await,
    }
}

/// Waits until something happens to a call in flight, or its lease ends.
pub(super) async fn ended(runstone: &Runstone, effect: &Effect) -> Result<(), EffectError> {
    let log = runstone.log();
    let after = Read::new(Query::tag(effect.id.tag()))
        .from(effect.fence.get() + 1)
        .without_payloads();
    let mut events = log.subscribe(after)?;
    let ended = Box::pin(async {
        while let Some(event) = events.next().await {
            let is_end = !matches!(
                event?.header.event_type.as_str(),
                "effect.refused" | "effect.lease_renewed"
            );
            if is_end {
                return Ok(());
            }
        }
        // The log is closed.
        Err(EffectError::Append(AppendError::Closed))
    });
    match effect.lease_expires_at_us {
        None => ended.await,
        Some(at_us) => {
            let left = Duration::from_micros(at_us.saturating_sub(log.steady_us()).max(1000));
            within(ended, left).await.unwrap_or(Ok(()))
        }
    }
}
