//! What operators and auditors do with a log: verify, rebuild, back up, compact, look inside.

mod backup;
mod compact;
mod copy;
mod folds;
mod foreign;
mod principals;
mod rederive;
mod stats;
mod verify;

pub(crate) use copy::Copier;

pub use backup::BackupReport;
pub use compact::CompactReport;
pub use principals::{Principal, RecordedSettings};
pub use stats::{LogInfo, Stats};
pub use verify::{Problem, ProblemKind, VerifyLevel, VerifyReport, verify_file};
