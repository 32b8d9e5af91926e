//! The run index: what each stream did, what it cost, and how it ended.
//!
//! ```text
//!  fold "runs", version 4
//!    's' stream                     what is known of the stream: counts, usage, times, status
//!    'c' stream 00 digest(16)       the last report of one model call
//! ```
//!
//! A call of a model is reported as often as the recording has it. It counts once, with its last
//! report: the report before it is taken off the sums again. Calls are told apart by the keyed
//! digest in control; a report without one counts as a call of its own.
//!
//! The fold reads headers and control, never a payload, so an erasure changes nothing in it. The
//! name of a run is content: the index has the position of `run.started`, and [`name`] reads it
//! there. The stream `log` is no run and is left out.

mod command;
mod error;
mod fold;
mod list;
mod record;
mod summary;

pub(crate) use command::is_held;
pub use command::{Begin, Begun, RunHeld, begin, begin_blocking};
pub use error::RunError;
pub use fold::RunsFold;
pub(crate) use fold::{is_imported, report_of};
pub use list::{RunFilter, Runs, as_of, get, list, name, totals, tree_totals};
pub(crate) use record::budget_of;
pub use record::{record, record_blocking};
pub use summary::{Counts, Finished, RunStatus, RunSummary, Totals, Usage};

#[cfg(test)]
mod tests;
