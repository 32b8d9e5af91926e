//! What the tests of Runstone stand on: properties, models, and ways to break things.
//!
//! ```text
//!  contract/*  one function a property  --> tests/log/contract.rs  (memory and files, sealed and plain)
//!  calls       plain models of calls that happen once, and of runs
//!  office      one of calls with what they cost and who approves them
//!  staff       one of agents and what they are told
//!  states      one of runs as they stood at any point, from records alone
//!  tasks       one of tasks
//!  trays       one of tasks that lie in trays
//!  model       a plain model of a log   --> tests/log/model.rs
//!  folds       folds for tests
//!  pack        evidence packs, and foreign programs that check them
//!  sinks       sinks that behave, and some that do not
//!  clocked     a log whose clock goes only when a test says so
//!  command     the command `runstone`, built and run
//!  held        a log that another process holds, and whoever asks it
//!  tamper      damage to the files of a log
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a property that does not hold panics"
)]

pub mod calls;
pub mod clocked;
pub mod command;
pub mod contract;
pub mod crew;
pub mod folds;
pub mod held;
pub mod model;
pub mod office;
pub mod pack;
pub mod simulator;
pub mod sinks;
pub mod staff;
pub mod states;
pub mod tamper;
pub mod tasks;
pub mod trays;
