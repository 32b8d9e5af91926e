//! A whole log as a file of lines, and back.
//!
//! ```text
//!  log --> head, checkpoints, entries from 0, the envelopes that were chosen, SHA-256 --> file
//!  file --> every line checked, tree, index and chunks made anew --> a replica beside, then renamed
//! ```
//!
//! There are no keys in it. What it leaves out is marked as erased or withheld, so that the tree
//! over the entries is the same. docs/EXPORT.md is for its users, docs/FORMAT.md has the bytes.

mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod line;
mod load;
mod loader;
mod marks;
mod open;
mod segment;
mod write;

pub use error::LoadError;
pub use load::LoadReport;
pub use segment::{
    CheckpointNote, MAX_SEGMENT_BYTES, Segment, SegmentEnd, SegmentError, SegmentInput,
    SegmentPlan, SegmentSource, SegmentSpan, UnsignedTail, read_segment,
};
pub(crate) use segment::{PURGE_ROW, SEGMENT_ROW};
pub use write::ExportReport;
pub(crate) use write::{ExportPage, ExportStart};
