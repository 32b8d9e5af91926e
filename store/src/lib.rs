//! The Runstone log: typed, sealed events on redb, with the Merkle tree inside.
//!
//! ```text
//!  append, import, command --> queue --> one group commit --> chunk (entries, envelopes, head, MAC)
//!                                                         +-> index, tiles, fold rows (in slices)
//!  read, query, subscribe  <-- snapshot + index view     <-- published when durable
//! ```
//!
//! Every append is decided against everything before it, recorded whole, and answered after the
//! fsync. State is a fold over the records and can be rebuilt from position 0.
//!
//! ```
//! use runstone_store::{Append, CreateOptions, Expected, Log, OpenOptions, Query, Read};
//! use runstone_codec::NewEvent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::memory(&CreateOptions::default(), OpenOptions::default())?;
//! let event = NewEvent::new("tool.call.requested", "run-1").payload(br#"{"tool":"search"}"#);
//! let first = log.append_blocking(Append::new([event]).expect("run-1", Expected::NoStream))?;
//! let records: Vec<_> = log.read(Read::new(Query::stream("run-1")))?.collect::<Result<_, _>>()?;
//! assert_eq!(records[0].position, first.first);
//! # Ok(())
//! # }
//! ```

mod admin;
mod append;
mod chunk;
mod clock;
mod content;
mod copies;
mod engine;
mod error;
mod evidence;
mod export;
mod fold;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headfile;
mod hex;
pub mod holder;
mod identity;
mod index;
pub mod keys;
pub mod line;
mod log;
mod open;
mod options;
mod own;
mod prepare;
mod process;
mod query;
mod read;
mod signing;
mod tree;
mod write;

pub use admin::{
    BackupReport, CompactReport, LogInfo, Principal, Problem, ProblemKind, RecordedSettings, Stats,
    VerifyLevel, VerifyReport, verify_file,
};
pub use append::{Append, Appended, Condition, Expected, Imported};
pub use clock::{Clock, ManualClock, SystemClock, micros, whole_seconds};
pub use content::ContentError;
pub use error::{AppendError, Corruption, ErrorKind, OpenError, ReadError, StorageError};
pub use evidence::{
    Disclose, EpochStart, Erase, EraseError, Erasure, EvidenceError, KekRotation, Prover,
    RewriteReport, SigningKey, SigningState, StartedEpoch,
};
pub use export::{
    CheckpointNote, ExportReport, LoadError, LoadReport, MAX_SEGMENT_BYTES, Segment, SegmentEnd,
    SegmentError, SegmentInput, SegmentPlan, SegmentSource, SegmentSpan, UnsignedTail,
    read_segment,
};
pub use fold::{
    Fold, FoldCheck, FoldError, FoldRecord, FoldRow, FoldStatus, Payload, ReadRow, RowDifference,
    RowValue, Rows, TypedRow,
};
pub use identity::Opening;
pub use index::{IndexError, IndexOptions, IndexRow};
pub use log::Log;
pub use open::{CreateOptions, OpenOptions, default_keys_path};
pub use options::{Durability, LogOptions, Sealing};
pub use query::{IdFilter, Item, Query, QueryError};
pub use read::{Read, Record, Records, Subscription};
pub use write::{DecideContext, Decision};

/// What the other crates and the tests of crashes use of the engine; no part of the API.
#[doc(hidden)]
pub use engine::{
    Disk, FileDisk, MemoryDisk, OverlayDisk, Place, panic_is_contained, sync_folder, write_whole,
};
#[doc(hidden)]
pub use open::Disks;

#[cfg(test)]
mod smoke;
#[cfg(test)]
mod vectors;
