//! Sinks for tests, and what must hold of every kind of sink.

mod between;
mod bucket;
mod contract;
mod endpoint;
mod lines;
mod receiver;
mod site;
mod strange;

pub use between::{Between, Turn};
pub use bucket::{BUCKET, Bucket};
pub use contract::{CONTRACT, CONTRACT_OF_PARTS, Made, Make, Property};
pub use endpoint::{Endpoint, Posted};
pub use lines::lines;
pub use receiver::Receiver;
pub use site::{SECRET, Site, until};
pub use strange::{Kept, Memory, Seen};
