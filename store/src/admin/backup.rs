//! A consistent copy while writing goes on.

use super::copy::Copier;
use crate::chunk::Head;
use crate::engine::{
    Change, Db, FileDisk, LogPaths, NumberTable, RowTable, sync_folder, write_whole,
};
use crate::error::{OpenError, ReadError, StorageError};
use crate::headfile::{admit, log_at, write_beside};
use crate::holder::{BackupTo, hex32};
use crate::log::{Backing, Here, Log};
use crate::open::{REPLICA_ROW, disks_of};
use crate::own::ErasureState;
use runstone_codec::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct BackupReport {
    /// Events.
    pub events: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Root of the tree over the events.
    #[serde(with = "hex32")]
    #[schemars(with = "String")]
    pub root: [u8; 32],
    /// Position of the last event.
    pub last: Position,
}

impl Log {
    /// Copies the log as of now to a new file, while appends go on. The copy is a replica: it
    /// reads and verifies with the same keys and cannot be written. Keys are not in it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Storage`] if the file exists or cannot be written; what was begun is removed.
    pub fn backup(
        &self,
        path: &Path,
        progress: &dyn Fn(u64, u64),
    ) -> Result<BackupReport, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.backup(path, progress),
            Backing::There(there) => {
                let path = path.to_owned();
                there.ask_telling(&BackupTo { path }, progress)
            }
        }
    }

    /// Puts a backup in the place of a log that was lost: a replica, to be read, or made writable
    /// by [`start_epoch`](Self::start_epoch). `LOG.head` of the lost log is left: it knows how far
    /// that was. The keys have to be there too, see
    /// [`KeyStore::restore`](crate::keys::KeyStore::restore).
    ///
    /// # Errors
    ///
    /// [`OpenError::AlreadyExists`] leaves what is there untouched; [`OpenError::NotALog`] for a
    /// file that is none.
    pub fn restore(backup: &Path, path: &Path) -> Result<(), OpenError> {
        let io =
            |path: &Path, error: &std::io::Error| OpenError::from(StorageError::io(path, error));
        if path.exists() {
            return Err(OpenError::AlreadyExists {
                path: path.to_owned(),
            });
        }
        if !backup.exists() {
            return Err(OpenError::NotFound {
                path: backup.to_owned(),
            });
        }
        let from = disks_of(&LogPaths::new(backup), true)?;
        let (of, head) = (LogPaths::new(path), LogPaths::new(backup).head);
        if let Some(log_id) = log_at(&head).map_err(|error| io(&head, &error))? {
            admit(&of.head, &log_id)?;
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".restored");
        let beside = PathBuf::from(beside);
        let copied = copy_file(backup, &beside)
            .and_then(|()| std::fs::rename(&beside, path))
            .and_then(|()| sync_folder(path));
        if copied.is_err() {
            // Worthless; if it cannot be removed either, the first error says more.
            let _ = std::fs::remove_file(&beside);
        }
        copied.map_err(|error| io(path, &error))?;
        // After its log: one that is cut off here leaves no head alone.
        if head.exists() && !of.head.exists() {
            let bytes = std::fs::read(&head).map_err(|error| io(&head, &error))?;
            write_whole(&of.head, &bytes).map_err(|error| io(&of.head, &error))?;
        }
        from.log.unlock();
        Ok(())
    }
}

impl Here {
    pub(crate) fn backup(
        &self,
        path: &Path,
        progress: &dyn Fn(u64, u64),
    ) -> Result<BackupReport, ReadError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".unfinished");
        let beside = PathBuf::from(beside);
        let mut head = path.as_os_str().to_owned();
        head.push(".head");
        let head = PathBuf::from(head);
        for taken in [path, head.as_path()] {
            if taken.exists() {
                let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(StorageError::io(taken, &error).into());
            }
        }
        let io = |path: &Path, error: &std::io::Error| StorageError::io(path, error);
        let claimed = FileDisk::claim(&beside).map_err(|error| io(&beside, &error))?;
        let Some(disk) = claimed.map(Arc::new) else {
            let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(io(&beside, &error).into());
        };
        let copied = self
            .copy_to(Arc::clone(&disk), progress)
            .and_then(|copied| {
                std::fs::rename(&beside, path).map_err(|error| io(path, &error))?;
                Ok(copied)
            });
        if copied.is_err() {
            // The copy is worthless; if it cannot be removed either, the first error says more.
            let _ = std::fs::remove_file(&beside);
        }
        let (report, of) = copied?;
        // After its log: one that is cut off here leaves no head alone.
        let written = write_beside(&head, &self.shared.identity.log_id, &of);
        written.map_err(|error| io(&head, &error))?;
        Ok(report)
    }

    fn copy_to(
        &self,
        disk: Arc<FileDisk>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(BackupReport, Head), ReadError> {
        let reader = self.shared.durable_reader()?;
        let head = reader.published.head.clone();
        let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let copy = Db::open(disk, 64 << 20, &silent)?;
        copy.create_tables(&[Change::PutRow(
            RowTable::Meta,
            REPLICA_ROW.to_vec(),
            b"backup".to_vec(),
        )])?;
        let mut copier = Copier::new(&reader.snapshot, &copy);
        let history = reader.identity.history();
        if history.erasures().values().any(ErasureState::is_unfinished) {
            // What the file still holds of it must not go on in a copy that nobody finishes.
            copier.chunks_without(
                &|position, header| history.covers(position, header),
                &|done| {
                    progress(done, head.size);
                },
            )?;
        } else {
            copier.numbers(NumberTable::Chunks, &|key| progress(key, head.size))?;
        }
        copier.numbers(NumberTable::Tiles, &|_| {})?;
        copier.numbers(NumberTable::Checkpoints, &|_| {})?;
        // Without the rows of folds: they may hold content, and no erasure reaches into a backup.
        for table in [RowTable::Index, RowTable::Meta] {
            copier.rows(table, &|_| true)?;
        }
        copier.flush()?;
        let bytes = copy.file_bytes()?;
        drop(copy);
        progress(head.size, head.size);
        let report = BackupReport {
            events: head.size,
            bytes,
            root: head.root,
            last: Position::new(head.size.saturating_sub(1)),
        };
        Ok((report, head))
    }
}

/// Copies a file into one that only its owner can read, and makes it durable.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut source = std::fs::File::open(from)?;
    let mut target = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    std::io::copy(&mut source, &mut target)?;
    target.sync_all()
}
