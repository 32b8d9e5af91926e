//! Recorded re-execution: a program that made a run runs again, and each of its calls gets the answer
//! that was recorded.
//!
//! ```text
//!  log ---Recording::of--> Recording <--open, write--> FILE
//!                              |
//!                  Tape <------'
//!   the program:    step, call --> Turn::Answer    what was recorded
//!                                  Turn::Live      the recording is over, and it goes on
//!                                  Divergence      it did something else
//!   in the end:     report     --> Report          what it did else, and what it did not do
//! ```
//!
//! A branch is an attempt of a step, or the run outside of steps. What began in a branch after
//! something else in it had ended comes after that again; what overlapped may come in any order, and
//! is told apart by name, arguments and key.

mod asked;
mod build;
mod divergence;
mod file;
mod played;
mod recording;
mod tape;

pub use divergence::{Divergence, DivergenceKind, Report, RunReport, Said};
pub use file::{FORMAT, MAX_LINE_BYTES, RecordingError};
pub use recording::{Answer, Branch, Recorded, RecordedRun, Recording, What};
pub use tape::{Called, Place, Tape, Turn};
