//! From lines to a replica.

use super::LoadError;
use super::line::Lines;
use super::loader::{Before, Loader, not_as_signed};
use crate::chunk::Head;
use crate::engine::{Change, Db, Disk as _, FileDisk, LogPaths, RowTable, sync_folder};
use crate::error::{OpenError, StorageError};
use crate::headfile::{admit, write_beside};
use crate::index::{Index, IndexOptions};
use crate::log::Log;
use crate::open::{Derived, FORMAT, FORMAT_ROW, REPLICA_ROW};
use crate::tree::Tree;
use runstone_codec::{Digest32, LogId};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events between two calls of the progress function.
pub(super) const STEP: u64 = 1024;
/// Page cache of the new log.
const CACHE_BYTES: usize = 64 << 20;

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Which log it is.
    pub log_id: LogId,
    /// Events.
    pub events: u64,
    /// Length of the file of the replica.
    pub bytes: u64,
    /// Root of the tree over the events.
    pub root: Digest32,
    /// Events under the newest checkpoint that came with them and holds.
    pub signed: u64,
    /// Events whose content was erased.
    pub erased: u64,
    /// Events whose content was kept back.
    pub withheld: u64,
}

impl Log {
    /// Makes a replica of what [`export`](Self::export) wrote: the same entries under the same root,
    /// readable with the same keys, which have to be brought, and writable only in an
    /// [epoch](Self::start_epoch) of its own. Every line is checked: entries and envelopes against
    /// each other and against checkpoints that the log's keys have signed. The log is there whole or
    /// not at all; it is made beside, as `LOG.loading`, where the next load takes the place of what
    /// one that was killed left. `progress` is told events done and all.
    ///
    /// `LOG.head` of a lost log is left, as [`restore`](Self::restore) leaves it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says which line is wrong; [`OpenError::AlreadyExists`] and, where the head of
    /// another log lies, [`OpenError::HeadOfAnother`] leave what is there.
    pub fn load(
        input: impl BufRead,
        path: &Path,
        progress: &dyn Fn(u64, u64),
    ) -> Result<LoadReport, LoadError> {
        let mut input = Some(input);
        make(path, &mut |db, admit| {
            // Nothing of an export is read twice.
            let input = input.take().ok_or(LoadError::NotAnExport)?;
            Ok(Filled::Done(load_into(db, input, admit, progress)?))
        })
    }
}

/// What became of an empty database.
pub(super) enum Filled {
    /// It has everything.
    Done((LoadReport, Head)),
    /// It is to be filled anew, from nothing.
    Again,
}

/// Fills an empty database.
pub(super) type Fill<'a> = &'a mut dyn FnMut(&Db, Admit<'_>) -> Result<Filled, LoadError>;

/// Makes a log where there is none: beside, until it is whole.
pub(super) fn make(path: &Path, fill: Fill<'_>) -> Result<LoadReport, LoadError> {
    if path.exists() {
        let path = path.to_owned();
        return Err(OpenError::AlreadyExists { path }.into());
    }
    let of = LogPaths::new(path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".loading");
    let beside = Beside::claim(PathBuf::from(beside))?;
    let fits = |log_id: &LogId| Ok(admit(&of.head, log_id)?);
    let loaded = beside.fill(&fits, fill).and_then(|(report, head)| {
        beside.give_name(&of, &report.log_id, &head)?;
        Ok(report)
    });
    if loaded.is_err() {
        // Worthless; if it cannot be removed either, the first error says more.
        let _ = std::fs::remove_file(&beside.path);
    }
    loaded
}

/// A log that has no name yet, locked.
struct Beside {
    path: PathBuf,
    disk: Arc<FileDisk>,
}

impl Beside {
    fn claim(path: PathBuf) -> Result<Self, LoadError> {
        let claimed = FileDisk::claim(&path).map_err(|error| StorageError::io(&path, &error))?;
        let Some(disk) = claimed else {
            return Err(OpenError::Busy { path }.into());
        };
        let disk = Arc::new(disk);
        Ok(Self { path, disk })
    }

    fn fill(&self, admit: Admit<'_>, fill: Fill<'_>) -> Result<(LoadReport, Head), LoadError> {
        let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let failed = |error: std::io::Error| StorageError::io(&self.path, &error);
        loop {
            let db = Db::open(Arc::<FileDisk>::clone(&self.disk), CACHE_BYTES, &silent)?;
            let filled = fill(&db, admit)?;
            drop(db);
            let Filled::Done((mut report, head)) = filled else {
                self.disk.set_len(0).map_err(failed)?;
                continue;
            };
            report.bytes = self.disk.len().map_err(failed)?;
            return Ok((report, head));
        }
    }

    /// Puts it where it was asked for, and then its head beside it, unless one is known there. Cut off
    /// in between it is a replica without a head, and no head is left without its log.
    fn give_name(&self, of: &LogPaths, log_id: &LogId, head: &Head) -> Result<(), LoadError> {
        let failed = |error: std::io::Error| StorageError::io(&of.log, &error);
        // Nothing is replaced: whoever made one meanwhile keeps it.
        std::fs::hard_link(&self.path, &of.log).map_err(failed)?;
        // It has its name: whatever goes wrong now, it stays.
        let written = write_beside(&of.head, log_id, head);
        written.map_err(|error| StorageError::io(&of.head, &error))?;
        let ended = std::fs::remove_file(&self.path).and_then(|()| sync_folder(&of.log));
        Ok(ended.map_err(failed)?)
    }
}

/// Whether a log may be loaded, once its name is known.
pub(super) type Admit<'a> = &'a dyn Fn(&LogId) -> Result<(), LoadError>;

/// Reads an export into an empty database.
pub(crate) fn load_into(
    db: &Db,
    input: impl BufRead,
    admit: Admit<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<(LoadReport, Head), LoadError> {
    let mut lines = Lines::new(input);
    let start = lines.start()?;
    admit(&start.log_id)?;
    let checkpoints = lines.checkpoints(&start)?;
    let (mut tree, mut index) = begin(db)?;
    let derived = Derived::new(db, &mut tree, &mut index);
    let mut loader = Loader::new(db, start.log_id, derived, Before::nothing());
    // The roots at the sizes of the checkpoints, as they are reached.
    let mut roots: BTreeMap<u64, Option<Digest32>> =
        checkpoints.iter().map(|(size, _)| (*size, None)).collect();
    while loader.size() < start.size {
        if loader.size().is_multiple_of(STEP) {
            progress(loader.size(), start.size);
        }
        let line = lines.event()?;
        let taken = loader.take(&line);
        taken.map_err(|error| lines.contradicted(error))?;
        if let Some(root) = roots.get_mut(&loader.size()) {
            *root = Some(loader.root());
        }
    }
    lines.end()?;
    let head = loader.head(start.root, start.recorded_at_us, start.head_mac)?;
    loader.marks().check(loader.history())?;
    for (size, line) in &checkpoints {
        let root = roots.get(size).copied().flatten();
        if !loader.keep_checkpoint((*size, root), line)? {
            return Err(not_as_signed(*size).into());
        }
    }
    let made = loader.report(head, start.size)?;
    progress(start.size, start.size);
    Ok(made)
}

/// The tables of a replica without events, and what is derived from them.
pub(super) fn begin(db: &Db) -> Result<(Tree, Index), LoadError> {
    db.create_tables(&[
        Change::PutRow(
            RowTable::Meta,
            FORMAT_ROW.to_vec(),
            FORMAT.as_bytes().to_vec(),
        ),
        Change::PutRow(RowTable::Meta, REPLICA_ROW.to_vec(), b"load".to_vec()),
    ])?;
    let snapshot = db.snapshot()?;
    let tree = Tree::load(&snapshot, 0).map_err(OpenError::from)?;
    let index = Index::open(&snapshot, IndexOptions::default()).map_err(OpenError::from)?;
    Ok((tree, index))
}
