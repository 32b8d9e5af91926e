//! The agent domain on a Runstone log: typed events, the folds over them, and settings.
//!
//! ```text
//!  typed events --NewEvent::typed, Draft--> log --records--> folds --rows--> what is asked
//!   events::*                                |               runs            runs::list, get
//!                                            +--log.configured--> Settings::in_force
//! ```
//!
//! The log knows bytes, types and streams; this crate knows what a run, a turn, a call and a
//! setting are. Folds read headers and control, so that what they say stands when content is
//! erased.
//!
//! ```
//! # #[cfg(feature = "store")] {
//! use runstone_codec::{Draft, NewEvent};
//! use runstone_projections::events::{ChatMessage, LlmCallCompleted};
//! use runstone_projections::{runs, standard_folds};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//!
//! let asked = ChatMessage::new("user").text("2 + 2?");
//! log.append_blocking(NewEvent::typed(&asked, "sum")?)?;
//!
//! // What a call of a model used is recorded by commands and imports. Reported twice, it counts
//! // once.
//! for output_tokens in [1, 7] {
//!     let call = LlmCallCompleted::new("call-1").output_tokens(output_tokens);
//!     let event = NewEvent::typed(&call, "sum")?;
//!     let draft = Draft::new(event).control(call.control()).keyed(call.keyed());
//!     log.import_blocking(vec![vec![draft]]).remove(0)?;
//! }
//!
//! let run = runs::get(&log, "sum")?.ok_or("there is no run")?;
//! assert_eq!((run.counts.turns, run.counts.llm_calls, run.usage.output_tokens), (1, 1, 7));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without the feature `store` (default) the crate is the typed events alone, on bytes and values.

#[cfg(feature = "store")]
pub mod agents;
#[cfg(feature = "store")]
pub mod approvals;
#[cfg(feature = "store")]
mod asks;
#[cfg(feature = "store")]
pub mod budgets;
#[cfg(feature = "store")]
mod command;
#[cfg(feature = "store")]
pub mod costs;
#[cfg(feature = "store")]
mod decode;
#[cfg(feature = "store")]
pub mod effects;
pub mod events;
#[cfg(feature = "store")]
mod folds;
#[cfg(feature = "store")]
pub mod latency;
#[cfg(feature = "store")]
mod lease;
#[cfg(feature = "store")]
pub mod lines;
#[cfg(feature = "store")]
mod memory;
#[cfg(feature = "store")]
pub mod orphans;
#[cfg(feature = "store")]
mod rows;
#[cfg(feature = "store")]
pub mod runs;
#[cfg(feature = "store")]
mod seen;
#[cfg(feature = "store")]
pub mod sessions;
#[cfg(feature = "store")]
pub mod settings;
#[cfg(feature = "store")]
mod sweep;
#[cfg(feature = "store")]
pub mod tasks;
#[cfg(feature = "store")]
pub mod trays;
#[cfg(feature = "store")]
mod view;
#[cfg(feature = "store")]
mod wire;

pub use events::{EventSchema, upcasters};

/// Bytes in lower-case hexadecimal.
#[cfg(feature = "store")]
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(feature = "store")]
pub use asks::endpoints;
#[cfg(feature = "store")]
pub use decode::DecodeRecord;
#[cfg(feature = "store")]
pub use folds::{schemas, standard_folds};
#[cfg(feature = "store")]
pub use lease::Hold;
#[cfg(feature = "store")]
pub use memory::MemoryRows;
#[cfg(feature = "store")]
pub use settings::Settings;
#[cfg(feature = "store")]
pub use sweep::{SWEPT_FOLDS, SweepError, Swept, sweep, sweep_open};
