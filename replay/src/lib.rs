//! Time travel on a Runstone log: how a run stood at a point, what differs between two points or two
//! runs, forks, and rollback.
//!
//! ```text
//!  Point --find--> Position --state--> State       a run as it stood: session, steps, tasks, calls
//!                     |
//!                     +--fork-------> another run that goes on from there
//!                     '--roll_back--> the same run, session and steps as they stood there
//! ```
//!
//! Nothing here changes what was recorded: state at a point is folded from the events up to it, a fork
//! shares the events before it, and a rollback is an event that the folds of sessions and steps honour.
//!
//! ```
//! use runstone_projections::runs::{Begin, RunHeld, begin_blocking, record_blocking};
//! use runstone_projections::events::SessionPatched;
//! use runstone_codec::NewEvent;
//! use runstone_replay::{Fork, Point, fork_blocking, state};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//! use serde_json::json;
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//!
//! let run = begin_blocking(&log, &Begin::new("run-1", "bot"))?.into_held();
//! for n in 1..=2 {
//!     let patched = SessionPatched { patch: json!({ "n": n }) };
//!     record_blocking(&log, &run, vec![NewEvent::typed(&patched, "run-1")?.into()])?;
//! }
//!
//! // As it stood after its second event; and another run that goes on from there.
//! let at = Point::Revision(1).find(&log, "run-1")?.ok_or("it has two events")?;
//! let then = state(&log, "run-1", at)?.ok_or("it is a run")?;
//! assert_eq!(then.session.document.to_value(), json!({"n": 1}));
//! fork_blocking(&log, &Fork::new("run-2", "run-1", at))?;
//! let fork = state(&log, "run-2", Point::Newest.find(&log, "run-2")?.ok_or("it is there")?)?;
//! assert_eq!(fork.ok_or("it is a run")?.session.document.to_value(), json!({"n": 1}));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod again;
mod compare;
mod diff;
mod point;
mod state;
mod steps;

pub use compare::{Compared, Matched, Move, MoveKind, Pair, compare, moves};
pub use diff::{Change, ChangeKind, diff};
pub use point::Point;
pub use runstone_projections::runs::{
    Fork, Forked, RollBack, fork, fork_blocking, roll_back, roll_back_blocking,
};
pub use state::{State, state};
pub use steps::{Step, StepStatus, steps};
