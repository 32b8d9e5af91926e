//! What the log records of itself: its name, its signing keys, its erasures.
//!
//! Most of these events are never sealed, so that they read without keys. They carry pseudonyms,
//! codes and numbers only, since nothing of them is ever erased.

mod events;
mod history;

pub(crate) use events::{
    CONFIGURED, DESTROYED_PLAIN, DISCLOSED, Disclosed, DisclosedRanges, EPOCH_STARTED,
    ERASURE_COMPLETED, ERASURE_REQUESTED, EpochStarted, ErasureCompleted, ErasureRequested,
    GENESIS, Genesis, HOLD_PLACED, HOLD_RELEASED, Hold, KEY_ROTATED, KeyRotated, KnownHead,
    PRINCIPAL_ADDED, PrincipalAdded, kek_digest,
};
pub(crate) use history::{ErasureState, History};
