//! Logs to be damaged, and the tools that damage them.
//!
//! ```text
//!  sample   a small log with everything in it, seeded    site     its files in a folder
//!  rows     the database past the log                    answers  everything that a log answers
//!  disks    disks that record, and disks that fail        counter  a fold that fails
//! ```

mod answers;
mod counter;
mod disks;
mod rows;
mod sample;
mod seeded;
mod site;

pub use answers::{Answers, Event};
pub use counter::Counter;
pub use disks::{Commit, Faulty, Recorder};
pub use rows::{ChunkParts, RawRows, Row, Table};
pub use sample::{Ending, START_US, Sample, Tally, folds};
pub use seeded::{Seeded, SeededEntropy};
pub use site::Site;

/// What a test answers: any error ends it.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
