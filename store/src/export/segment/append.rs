//! A replica that goes on: one segment more, in one transaction.

use super::super::line::{CheckpointLine, Lines};
use super::super::loader::{Before, Loader};
use super::{LoadError, PURGE_ROW, SEGMENT_ROW, SegmentEnd, end_of, follows, take_events};
use crate::chunk::Head;
use crate::engine::{
    Change, Db, Disk, FilePlace, LogPaths, Place as _, RewritingDisk, RowTable, Snapshot,
};
use crate::error::{Corruption, OpenError, StorageError};
use crate::evidence::copy_without_erased;
use crate::headfile::HeadFile;
use crate::index::IndexOptions;
use crate::log::Log;
use crate::open::{
    Contents, Derived, Disks, REPLICA_ROW, disks_of, last_head, name_file, read_genesis,
};
use crate::options::Sealing;
use crate::tree::{self, Tree};
use runstone_codec::{Digest32, LogId};
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

/// Page cache of the replica.
const CACHE_BYTES: usize = 64 << 20;
impl Log {
    /// Up to where a replica is. What an erasure covers is gone from the file then, also if whoever
    /// added the segment that tells of it was cut short.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotAReplica`] for a log that is written by itself; [`OpenError::NotFound`];
    /// [`OpenError::Busy`] while somebody has it open.
    pub fn replica_end(path: &Path) -> Result<SegmentEnd, LoadError> {
        if !path.exists() {
            let path = path.to_owned();
            return Err(OpenError::NotFound { path }.into());
        }
        // Nothing of a file is touched before it is known that it is a replica.
        let replica = Replica::look(LogPaths::new(path), true)?;
        if replica.is_purged()? {
            return Ok(replica.end());
        }
        drop(replica);
        Ok(Replica::open(path)?.end())
    }

    /// Adds the segment that comes next to a replica, which stays one. Every line is checked as
    /// [`load`](Self::load) does, and the root before anything is written. If the segment tells of an
    /// erasure, what that covers is gone from the file then.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; then the replica is as it was. [`LoadError::Unfit`] for a segment that does not
    /// go on where the replica ends, or is of another history.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss. Cut off at any point, the replica has the segment or has
    /// it not.
    pub fn append_segment(input: impl BufRead, path: &Path) -> Result<SegmentEnd, LoadError> {
        Replica::open(path)?.append(input)
    }
}

/// A replica that nobody else has open.
struct Replica {
    paths: LogPaths,
    disks: Disks,
    db: Db,
    log_id: LogId,
    sealing: Sealing,
    head: Head,
    digest: Option<Digest32>,
}

impl Replica {
    fn open(path: &Path) -> Result<Self, LoadError> {
        let paths = LogPaths::new(path);
        if !path.exists() {
            let path = path.to_owned();
            return Err(OpenError::NotFound { path }.into());
        }
        let replica = Self::look(paths, false)?;
        if replica.is_purged()? {
            return Ok(replica);
        }
        // Whoever was to do that was cut short.
        let paths = LogPaths::new(path);
        replica.purge()?;
        Self::look(paths, false)
    }

    fn look(paths: LogPaths, read_only: bool) -> Result<Self, LoadError> {
        let named = |error| name_file(error, &paths.log);
        let disks = disks_of(&paths, read_only)?.rewriting();
        let synced = disks.log.sync_data();
        synced.map_err(|error| StorageError::io(&paths.log, &error))?;
        let db = open_db(Arc::clone(&disks.log))?;
        let snapshot = db.snapshot()?;
        let genesis = read_genesis(&snapshot).map_err(named)?;
        if snapshot.row(RowTable::Meta, REPLICA_ROW)?.is_none() {
            return Err(LoadError::NotAReplica {
                path: paths.log,
                why: "it is a log, written by itself",
            });
        }
        let head = last_head(&snapshot)?;
        let digest = snapshot.row(RowTable::Meta, SEGMENT_ROW)?;
        drop(snapshot);
        Ok(Self {
            paths,
            disks,
            db,
            log_id: genesis.log_id,
            sealing: genesis.sealing(),
            head,
            digest: digest.and_then(|digest| digest.try_into().ok()),
        })
    }

    /// Whether nothing in it is covered by an erasure.
    fn is_purged(&self) -> Result<bool, StorageError> {
        let row = self.snapshot()?.row(RowTable::Meta, PURGE_ROW)?;
        Ok(row.is_none())
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        self.db.snapshot()
    }

    fn end(&self) -> SegmentEnd {
        SegmentEnd {
            log_id: self.log_id,
            events: self.head.size,
            root: self.head.root,
            digest: self.digest,
        }
    }

    fn append(self, input: impl BufRead) -> Result<SegmentEnd, LoadError> {
        let mut lines = Lines::new(input);
        let start = lines.segment_start()?;
        follows(&start, &self.end())?;
        let contents = Contents::read(&self.log_id, &self.db, &IndexOptions::default())?;
        let Contents { mut index, history } = contents;
        if history.has_gaps() {
            let expected = "events that say who signs and what is erased";
            return Err(Corruption::table("chunks", expected, "some that cannot be read").into());
        }
        let erasures = history.erasures().len();
        let snapshot = self.snapshot()?;
        let covered = tree::covered(&snapshot)?;
        let mut tree = Tree::load(&snapshot, covered).map_err(OpenError::from)?;
        let mut derived = Derived::new(&self.db, &mut tree, &mut index);
        derived.replay(&snapshot, &self.head)?;
        drop(snapshot);
        if derived.root() != self.head.root || derived.peaks() != self.head.peaks {
            let expected = format!("the tree of {} events that the head names", self.head.size);
            return Err(Corruption::table("chunks", expected, "another tree").into());
        }
        let before = Before {
            size: self.head.size,
            sealing: self.sealing,
            history,
            newest_us: self.head.recorded_at_us,
            is_whole: true,
        };
        let mut loader = Loader::new(&self.db, self.log_id, derived, before);
        let digest = take_events(&mut loader, &mut lines, &start, |_| {})?;
        let head = loader.head(start.root, start.recorded_at_us, start.head_mac)?;
        loader.marks().check(loader.history())?;
        let line = CheckpointLine {
            checkpoint: start.checkpoint.clone(),
            stored_us: start.stored_us,
        };
        loader.keep_checkpoint((start.to, Some(start.root)), &line)?;
        let row = |key: &[u8], value| Change::PutRow(RowTable::Meta, key.to_vec(), value);
        loader.put(row(SEGMENT_ROW, digest.to_vec()));
        let tells_more = loader.history().erasures().len() > erasures;
        if tells_more {
            loader.put(row(PURGE_ROW, Vec::new()));
        }
        loader.finish(&head)?;
        let failed = |error: std::io::Error| StorageError::io(&self.paths.head, &error);
        let disk = Arc::clone(&self.disks.head);
        let (mut file, _) = HeadFile::open(disk, &self.log_id).map_err(failed)?;
        let written = file.write(&self.log_id, &head);
        written.and_then(|()| file.sync()).map_err(failed)?;
        if tells_more {
            self.purge()?;
        }
        Ok(end_of(&start, digest))
    }

    /// Writes the file anew, without what erasures cover.
    fn purge(self) -> Result<(), LoadError> {
        let contents = Contents::read(&self.log_id, &self.db, &IndexOptions::default())?;
        let failed = |error: std::io::Error| StorageError::io(&self.paths.log, &error);
        let place = FilePlace::new(&self.paths.log);
        let disk = place.begin().map_err(failed)?;
        let disk: Arc<dyn Disk> = Arc::new(RewritingDisk::new(disk));
        let size = self.head.size;
        let copied = copy_without_erased(&self.db, &disk, &contents.history, size, &|_, _| {})
            .and_then(|()| {
                let is_done = Change::DeleteRow(RowTable::Meta, PURGE_ROW.to_vec());
                open_db(Arc::clone(&disk))?.commit(&[is_done], true)
            });
        if let Err(error) = copied {
            // Worthless; if it cannot be removed either, the first error says more.
            let _ = place.discard();
            return Err(error.into());
        }
        drop(self.db);
        Ok(place.replace().map_err(failed)?)
    }
}

fn open_db(disk: Arc<dyn Disk>) -> Result<Db, StorageError> {
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    Db::open(disk, CACHE_BYTES, &silent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, OpenOptions};

    /// Cut off between the two, a segment that tells of an erasure is there, and what that covers too.
    #[test]
    fn whoever_looks_at_a_replica_ends_what_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
        let create = CreateOptions::default();
        let log = Log::create(&path, &create, OpenOptions::default()).unwrap();
        log.backup(&copy, &|_, _| {}).unwrap();
        let begun = Replica::look(LogPaths::new(&copy), false).unwrap();
        let row = Change::PutRow(RowTable::Meta, PURGE_ROW.to_vec(), Vec::new());
        begun.db.commit(&[row], true).unwrap();
        assert!(!begun.is_purged().unwrap());
        let end = begun.end();
        drop(begun);
        assert_eq!(Log::replica_end(&copy).unwrap(), end);
        let ended = Replica::look(LogPaths::new(&copy), true).unwrap();
        assert!(ended.is_purged().unwrap());
    }
}
