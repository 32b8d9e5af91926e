//! Deriving index and tiles again.

use super::copy::Copier;
use crate::engine::{Db, FileDisk, HeldDisk, LogPaths, NumberTable, RowTable, sync_folder};
use crate::error::{OpenError, StorageError};
use crate::log::Log;
use crate::open::{Disks, OpenOptions, disks_of, keys_of, name_file};
use crate::tree::COVERED_ROW;
use std::path::Path;
use std::sync::Arc;

/// Page cache of the copy.
const CACHE_BYTES: usize = 64 << 20;

impl Log {
    /// Makes index and tiles of a log again from its events: for one that is refused, or opened
    /// read-only, since they or their pages are damaged. What is not derived is copied to a new
    /// file, which takes the place of the old one when its tree is that of the head; until then
    /// the log stays as it is. Nothing else may have it open. `progress` is told events done and
    /// all, at first 0.
    ///
    /// # Errors
    ///
    /// [`OpenError`] as in [`open`](Self::open): an event itself is damaged, or the log is behind.
    pub fn rederive(
        path: &Path,
        open: OpenOptions,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), OpenError> {
        if !path.exists() {
            return Err(OpenError::NotFound {
                path: path.to_owned(),
            });
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".rederived");
        let beside = Path::new(&beside);
        let made = rederived(path, beside, open, progress);
        if made.is_err() {
            // Worthless; if it cannot be removed either, the first error says more.
            let _ = std::fs::remove_file(beside);
        }
        made.map_err(|error| name_file(error, path))
    }
}

fn rederived(
    path: &Path,
    beside: &Path,
    open: OpenOptions,
    progress: &dyn Fn(u64, u64),
) -> Result<(), OpenError> {
    let io_error = |error: std::io::Error| StorageError::io(beside, &error);
    let paths = LogPaths::new(path);
    let old = disks_of(&paths, false)?;
    if beside.exists() {
        std::fs::remove_file(beside).map_err(io_error)?;
    }
    let new = Arc::new(FileDisk::create_new(beside).map_err(io_error)?);
    // Whatever the old pages make the database write stays in memory.
    let held = HeldDisk::new(Arc::clone(&old.log)).map_err(io_error)?;
    let from = Db::open(Arc::new(held), open.options.cache_bytes, &open.progress)?;
    from.distrust();
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    let to = Db::open(Arc::<FileDisk>::clone(&new), CACHE_BYTES, &silent)?;
    to.create_tables(&[])?;
    let snapshot = from.snapshot()?;
    let mut copier = Copier::new(&snapshot, &to);
    copier.numbers(NumberTable::Chunks, &|key| progress(0, key))?;
    copier.numbers(NumberTable::Checkpoints, &|_| {})?;
    copier.rows(RowTable::Folds, &|_| true)?;
    copier.rows(RowTable::Meta, &|key| key != COVERED_ROW)?;
    copier.flush()?;
    drop((snapshot, from, to));
    let keys = keys_of(path, &open);
    let disks = Disks::new(new, Arc::clone(&old.head));
    let log = Log::open_on(disks, open, keys)?;
    log.close_blocking()
        .map_err(|error| StorageError::Database {
            message: error.to_string(),
        })?;
    progress(log.size(), log.size());
    std::fs::rename(beside, path).map_err(io_error)?;
    sync_folder(path).map_err(io_error)?;
    old.log.unlock();
    Ok(())
}
