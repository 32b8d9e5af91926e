//! The run index: what each stream did, what it cost, and how it ended.
//!
//! ```text
//!  fold "runs", version 8
//!    's' stream                     what is known of the stream: counts, usage, times, status
//!    'c' stream 00 digest(16)       the last report of one model call
//!    't' stream 00 digest(16)       the newest attempt of one step
//!    'k' stream 00 stream           that the first spawned the second
//!    'p' stream 00 back(position)   the row of the stream after every 64th event of it
//!    'h', 'u' stream 00 digest(16) back(count)
//!                                   a row of a call or a step that one of those needs, and that
//!                                   was replaced since
//! ```
//!
//! A call of a model is reported as often as the recording has it. It counts once, with its last
//! report: the report before it is taken off the sums again. Calls are told apart by the keyed
//! digest in control; a report without one counts as a call of its own.
//!
//! What a step says that it used counts where no call of a model was reported in it: a report that
//! names the step, or, naming none, that stands between its beginning and its end. So usage is
//! counted once, also where steps run at the same time; a step that ran beside another one's
//! unnamed calls counts nothing of its own.
//!
//! The fold reads headers and control, never a payload, so an erasure changes nothing in it. The
//! name of a run is content: the index has the position of `run.started`, and [`name`] reads it
//! there. The stream `log` is no run and is left out.

mod audit;
mod command;
mod error;
mod fold;
mod fork;
mod growing;
mod list;
mod past;
mod record;
mod summary;
mod told;

pub use crate::lease::MAX_HOLDER_LEN;
pub use audit::{
    Act, Newest, RECENT, Recent, Violation, ViolationKind, recent, timeline, violations,
};
pub use command::{Begin, Begun, RunHeld, begin, begin_blocking, renew, renew_blocking};
pub(crate) use command::{forked, is_held};
pub use error::RunError;
pub use fold::RunsFold;
pub(crate) use fold::{events_of, report_of};
pub use fork::{
    Fork, Forked, MAX_FORKS, RollBack, fork, fork_blocking, roll_back, roll_back_blocking,
};
pub use growing::Growing;
pub use list::{RunFilter, Runs, get, list, name, totals, tree_totals};
pub use past::as_of;
pub(crate) use record::snapshot;
pub(crate) use record::{budget_of, holds};
pub use record::{record, record_blocking};
pub use summary::{Counts, Finished, ForkPoint, RunStatus, RunSummary, StepUsage, Totals, Usage};
pub(crate) use told::ancestors;
pub use told::{Part, Told};

#[cfg(test)]
mod tests;
