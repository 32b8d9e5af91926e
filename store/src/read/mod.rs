//! Reading: single events, ranges, queries, subscriptions.

mod chunks;
mod pages;
mod payload;
mod reader;
mod recent;
mod records;
mod select;
mod subscribe;

pub(crate) use payload::{PayloadFailure, Unfolded, check_content, key_of, open_payload};
pub(crate) use reader::{
    Published, Reader, check_digest, entry_at, open_control, parse_entry, stream_scope,
};
pub(crate) use recent::Recent;
pub(crate) use select::{Candidates, any_match, positions};

pub use records::{Read, Record, Records};
pub use subscribe::Subscription;
