//! Giving free pages back to the file system.

use crate::engine::{Db, Disk, FileDisk};
use crate::error::{OpenError, StorageError};
use crate::log::Log;
use crate::open::OpenOptions;
use std::path::Path;
use std::sync::Arc;

/// Sizes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Before, in bytes.
    pub before_bytes: u64,
    /// After, in bytes.
    pub after_bytes: u64,
}

impl Log {
    /// Makes the file of a log as small as it can be. The log is opened first, so that only one
    /// that is whole is touched; nothing else may have it open.
    ///
    /// # Errors
    ///
    /// [`OpenError`] as in [`open`](Self::open), or if the database cannot be compacted.
    pub fn compact(
        path: &Path,
        open: OpenOptions,
        progress: &dyn Fn(u64, u64),
    ) -> Result<CompactReport, OpenError> {
        let cache_bytes = open.options.cache_bytes;
        let before_bytes = file_len(path)?;
        let log = Self::open(path, open)?;
        if let Some(why) = &log.shared.identity.read_only {
            return Err(StorageError::Database {
                message: format!("the log is read-only: {why}"),
            }
            .into());
        }
        log.close_blocking()
            .map_err(|error| StorageError::Database {
                message: error.to_string(),
            })?;
        drop(log);
        progress(0, 1);
        let disk = FileDisk::open(path, true).map_err(|error| StorageError::io(path, &error))?;
        let locked = disk
            .try_lock(true)
            .map_err(|error| StorageError::io(path, &error))?;
        if !locked {
            return Err(OpenError::Busy {
                path: path.to_owned(),
            });
        }
        let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let mut db = Db::open(Arc::new(disk), cache_bytes, &silent)?;
        while db.compact()? {}
        drop(db);
        progress(1, 1);
        Ok(CompactReport {
            before_bytes,
            after_bytes: file_len(path)?,
        })
    }
}

fn file_len(path: &Path) -> Result<u64, OpenError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(OpenError::NotFound {
            path: path.to_owned(),
        }),
        Err(error) => Err(StorageError::io(path, &error).into()),
    }
}
