//! Sinks for tests, and what must hold of every kind of sink.

mod bucket;
mod contract;
mod receiver;
mod site;
mod strange;

pub use bucket::{BUCKET, Bucket};
pub use contract::{CONTRACT, CONTRACT_OF_PARTS, Made, Make, Property};
pub use receiver::Receiver;
pub use site::{SECRET, Site, until};
pub use strange::{Kept, Memory, Seen};
