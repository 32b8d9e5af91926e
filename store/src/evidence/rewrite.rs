//! Writing the file of an open log anew, without what was erased.
//!
//! ```text
//! LOG --snapshot--> LOG.rewritten, synced --rename--> LOG          appends wait, reads are told to read again
//! ```
//!
//! The database leaves deleted bytes in its free pages; a file that was written anew has none.

use super::EraseError;
use crate::admin::Copier;
use crate::engine::{Db, Disk, NumberTable, RewritingDisk, RowTable};
use crate::error::{AppendError, StorageError};
use crate::log::{Exclusive, Here, Log};
use crate::own::History;
use std::sync::Arc;

/// Page cache of the copy.
const CACHE_BYTES: usize = 64 << 20;

/// Sizes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewriteReport {
    /// Before, in bytes.
    pub before_bytes: u64,
    /// After, in bytes.
    pub after_bytes: u64,
}

impl Log {
    /// Writes the file anew, while the log stays open: what was deleted from it is gone from the
    /// medium as far as the file system goes, and so is the content of what was erased. Appends
    /// wait; reads that are under way are told to read again. `progress` is told events done and
    /// all.
    ///
    /// # Errors
    ///
    /// [`EraseError::NoPlace`] where files cannot be replaced; [`EraseError::Append`] if there is
    /// no room for a second file or it cannot be written: then the log stays as it is. If it cannot
    /// take the place of the first, nobody knows which of the two is there: the log is poisoned
    /// until it is opened again, and either is whole. `progress` must not append.
    pub fn rewrite(&self, progress: &dyn Fn(u64, u64)) -> Result<RewriteReport, EraseError> {
        self.here()?.rewrite(progress)
    }
}

impl Here {
    pub(crate) fn rewrite(&self, progress: &dyn Fn(u64, u64)) -> Result<RewriteReport, EraseError> {
        rewrite(&mut self.shared.exclusive()?, progress)
    }
}

pub(super) fn rewrite(
    exclusive: &mut Exclusive<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<RewriteReport, EraseError> {
    let disks = exclusive.disks();
    let place = disks.place.as_ref().ok_or(EraseError::NoPlace)?;
    let writer = exclusive.writer()?;
    let before_bytes = writer.db.file_bytes().map_err(AppendError::from)?;
    let needed = before_bytes.saturating_add(writer.identity.options.disk_margin_bytes);
    if let Some(available) = writer.db.available().map_err(AppendError::from)?
        && available < needed
    {
        return Err(AppendError::StorageFull { needed, available }.into());
    }
    let failed = |error: std::io::Error| StorageError::io("the rewritten log", &error);
    let history = writer.identity.history();
    let disk = place.begin().map_err(failed);
    let copied = disk.and_then(|disk| {
        let disk: Arc<dyn Disk> = Arc::new(RewritingDisk::new(disk));
        copy_without_erased(&writer.db, &disk, &history, writer.tree.size(), progress)?;
        Ok(disk)
    });
    match copied {
        Ok(disk) => {
            let len = disk.len().map_err(failed).map_err(AppendError::from)?;
            exclusive.reopen(Some(disk))?;
            Ok(RewriteReport {
                before_bytes,
                after_bytes: len,
            })
        }
        Err(error) => {
            // Worthless; if it cannot be removed either, the first error says more.
            let _ = place.discard();
            Err(AppendError::from(error).into())
        }
    }
}

/// Copies a log into an empty database, without the content that erasures cover.
pub(crate) fn copy_without_erased(
    from: &Db,
    disk: &Arc<dyn Disk>,
    history: &History,
    size: u64,
    progress: &dyn Fn(u64, u64),
) -> Result<(), StorageError> {
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    let snapshot = from.snapshot()?;
    let to = Db::open(Arc::clone(disk), CACHE_BYTES, &silent)?;
    to.create_tables(&[])?;
    let mut copier = Copier::new(&snapshot, &to);
    copier.chunks_without(
        &|position, header| history.covers(position, header),
        &|done| progress(done, size),
    )?;
    copier.numbers(NumberTable::Tiles, &|_| {})?;
    copier.numbers(NumberTable::Checkpoints, &|_| {})?;
    for table in [RowTable::Index, RowTable::Folds, RowTable::Meta] {
        copier.rows(table, &|_| true)?;
    }
    copier.flush()?;
    drop(to);
    let synced = disk.sync_data();
    synced.map_err(|error| StorageError::io("the rewritten log", &error))
}
