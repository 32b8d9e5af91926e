//! The database under the log.

mod db;
mod disk;
mod held;
mod rewriting;

pub use db::panic_is_contained;
pub(crate) use db::{Change, Db, NumberTable, RowTable, Snapshot, Value, panic_text};
pub use disk::{Disk, FileDisk, MemoryDisk, OverlayDisk, Place, sync_folder, write_whole};
pub(crate) use disk::{FilePlace, LogPaths, MemoryPlace};
pub(crate) use held::HeldDisk;
pub(crate) use rewriting::RewritingDisk;
