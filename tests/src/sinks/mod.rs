//! Sinks for tests, and what must hold of every kind of sink.

mod contract;
mod site;
mod strange;

pub use contract::{CONTRACT, CONTRACT_OF_PARTS, Made, Make, Property};
pub use site::{SECRET, Site, until};
pub use strange::{Kept, Memory, Seen};
