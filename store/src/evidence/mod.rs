//! What the log can prove, and what it can forget: erasure and its certificate, legal holds,
//! rotation of keys, epochs.

mod epoch;
mod erase;
mod error;
mod hold;
mod rewrite;
mod rotate;

pub use epoch::{EpochStart, StartedEpoch};
pub use erase::{Erase, Erasure};
pub use error::EraseError;
pub use rewrite::RewriteReport;
pub use rotate::KekRotation;
