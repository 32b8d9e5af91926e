//! Recordings of agent runs made elsewhere, read as Runstone events.
//!
//! ```text
//!              Framing              Reading               Output
//!  bytes --> one record's bytes --> its events --> Imported { stream, drafts, line }
//!                  |                    |
//!                  +--------------------+--------> Rejected { line, reason }
//! ```
//!
//! An [`Importer`] gives the events of a recording as drafts; appending them is the caller's. All
//! events carry the tag `imported:FORMAT` and an id that follows from the record, so that importing
//! a recording again, or once it is longer, adds only what is new. A record's bytes are kept as they
//! are in the member `original` of its first event.
//!
//! One format is one file in `formats/`: it names its framing and turns a record into events.
//!
//! ```
//! use runstone_import::{Format, Importer, Options, detect};
//!
//! let recording = br#"{"messages":[{"role":"user","content":"2 + 2?"},
//!                                  {"role":"assistant","content":"4"}], "id":"sum"}"#;
//! assert_eq!(detect(recording), Some(Format::Messages));
//!
//! let mut types = Vec::new();
//! for item in Importer::new(Format::Messages, recording.as_slice(), Options::default()) {
//!     let imported = item?;
//!     types.extend(imported.drafts.into_iter().map(|draft| draft.event.event_type));
//! }
//! assert_eq!(types, ["run.started", "chat.message", "chat.message", "harness.messages.run"]);
//! # Ok::<(), runstone_import::Rejected>(())
//! ```

mod calls;
mod content;
mod drafting;
pub mod events;
mod format;
mod formats;
mod framing;
mod identity;
mod importer;
mod json;
mod numbers;
mod options;
mod output;
mod python;
mod records;
mod reject;

pub use format::{DETECT_BYTES, Format, UnknownFormat, detect};
pub use importer::Importer;
pub use options::{Options, Secret};
pub use output::{Check, Imported};
pub use reject::{RejectReason, Rejected};
