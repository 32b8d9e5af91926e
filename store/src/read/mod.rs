//! Reading: single events, ranges, queries, subscriptions.

mod chunks;
mod news;
mod packed;
mod pages;
mod payload;
mod reader;
mod recent;
mod records;
mod select;
mod stretch;
mod subscribe;

pub(crate) use news::Board;
pub(crate) use packed::{Encoded, array_of, read_record, write_record};
pub(crate) use payload::{PayloadFailure, Unfolded, check_content, key_of, open_payload};
pub(crate) use reader::{
    Published, Reader, check_digest, entry_at, open_control, parse_entry, stream_scope,
};
pub(crate) use recent::Recent;
pub(crate) use records::Part;
pub(crate) use select::{Candidates, Sought, positions};
pub(crate) use stretch::{Item, Packing, Stretch};

pub use news::News;
pub use records::{Read, Record, Records};
pub use subscribe::Subscription;
