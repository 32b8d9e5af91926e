//! Giving free pages back to the file system.

use crate::engine::{Db, LogPaths};
use crate::error::{OpenError, StorageError};
use crate::keys::KeyStore;
use crate::log::Log;
use crate::open::{Disks, OpenOptions, disks_of, keys_of, name_file};
use crate::options::Sealing;
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
        let paths = LogPaths::new(path);
        if !path.exists() {
            return Err(OpenError::NotFound {
                path: path.to_owned(),
            });
        }
        let disks = disks_of(&paths, false)?;
        let keys = keys_of(path, &open);
        progress(0, 1);
        let report = Self::compact_on(&disks, open, keys);
        let report = report.map_err(|error| name_file(error, path))?;
        progress(1, 1);
        Ok(report)
    }

    /// [`compact`](Self::compact) on given disks; the caller holds their lock, which is given back.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn compact_on(
        disks: &Disks,
        open: OpenOptions,
        keys: impl FnOnce(Sealing) -> Result<KeyStore, OpenError>,
    ) -> Result<CompactReport, OpenError> {
        let disks = disks.clone().rewriting();
        let len = || {
            let len = disks.log.len();
            len.map_err(|error| StorageError::io("the log", &error))
        };
        let before_bytes = len()?;
        let cache_bytes = open.options.cache_bytes;
        let (log, _) = Self::open_for(disks.clone(), open, keys, None)?;
        let database = |message: String| StorageError::Database { message };
        if let Some(why) = &log.shared.identity.read_only {
            return Err(database(format!("the log is read-only: {why}")).into());
        }
        log.close_blocking()
            .map_err(|error| database(error.to_string()))?;
        drop(log);
        let locked = disks.log.try_lock(true);
        if !locked.map_err(|error| StorageError::io("the log", &error))? {
            return Err(OpenError::Busy {
                path: "the log".into(),
            });
        }
        let compacted = compacted(&disks, cache_bytes);
        disks.log.unlock();
        compacted?;
        Ok(CompactReport {
            before_bytes,
            after_bytes: len()?,
        })
    }
}

fn compacted(disks: &Disks, cache_bytes: usize) -> Result<(), StorageError> {
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    let mut db = Db::open(Arc::clone(&disks.log), cache_bytes, &silent)?;
    while db.compact()? {}
    Ok(())
}
