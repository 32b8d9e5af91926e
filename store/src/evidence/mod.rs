//! What the log can prove, and what it can forget: receipts, consistency, disclosures, erasure and
//! its certificate, legal holds, rotation of keys, epochs.

mod disclose;
mod epoch;
mod erase;
mod error;
mod hold;
mod prove;
mod rewrite;
mod rotate;
mod stored;

pub use disclose::Disclose;
pub(crate) use disclose::check_recipient;
pub use epoch::{EpochStart, StartedEpoch};
pub use erase::{Erase, Erasure};
pub use error::{EraseError, EvidenceError};
pub use prove::Prover;
pub(crate) use prove::root_of;
pub use rewrite::RewriteReport;
pub(crate) use rewrite::copy_without_erased;
pub use rotate::{KekRotation, SigningKey, SigningState};
pub(crate) use stored::verified_checkpoint;
