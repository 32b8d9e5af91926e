//! From lines to a replica.

use super::LoadError;
use super::line::{Absent, CheckpointLine, EventLine, Lines, Start};
use crate::chunk::{ChunkBuilder, Head, RawEvent};
use crate::engine::{
    Change, Db, Disk as _, FileDisk, LogPaths, NumberTable, RowTable, sync_folder,
};
use crate::error::{Corruption, OpenError, StorageError};
use crate::headfile::{admit, write_beside};
use crate::identity::is_downgraded;
use crate::index::{Index, IndexOptions};
use crate::log::Log;
use crate::open::{Derived, FORMAT, FORMAT_ROW, REPLICA_ROW, genesis_of};
use crate::options::Sealing;
use crate::own::History;
use crate::read::{check_digest, parse_entry};
use crate::tree::Tree;
use runstone_codec::{Digest32, Header, KeyId, LogId, namespace};
use runstone_receipt::checkpoint::SignedCheckpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes written in one transaction.
const BATCH_BYTES: usize = 16 << 20;
/// Events between two calls of the progress function.
const STEP: u64 = 1024;
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
        if path.exists() {
            let path = path.to_owned();
            return Err(OpenError::AlreadyExists { path }.into());
        }
        let of = LogPaths::new(path);
        let mut beside = path.as_os_str().to_owned();
        beside.push(".loading");
        let beside = Beside::claim(PathBuf::from(beside))?;
        let fits = |log_id: &LogId| Ok(admit(&of.head, log_id)?);
        let loaded = beside
            .fill(input, &fits, progress)
            .and_then(|(report, head)| {
                beside.give_name(&of, &report.log_id, &head)?;
                Ok(report)
            });
        if loaded.is_err() {
            // Worthless; if it cannot be removed either, the first error says more.
            let _ = std::fs::remove_file(&beside.path);
        }
        loaded
    }
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

    fn fill(
        &self,
        input: impl BufRead,
        admit: Admit<'_>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(LoadReport, Head), LoadError> {
        let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let db = Db::open(Arc::<FileDisk>::clone(&self.disk), CACHE_BYTES, &silent)?;
        let (mut report, head) = load_into(&db, input, admit, progress)?;
        drop(db);
        let len = self.disk.len();
        report.bytes = len.map_err(|error| StorageError::io(&self.path, &error))?;
        Ok((report, head))
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
type Admit<'a> = &'a dyn Fn(&LogId) -> Result<(), LoadError>;

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
    db.create_tables(&[
        Change::PutRow(
            RowTable::Meta,
            FORMAT_ROW.to_vec(),
            FORMAT.as_bytes().to_vec(),
        ),
        Change::PutRow(RowTable::Meta, REPLICA_ROW.to_vec(), b"load".to_vec()),
    ])?;
    let snapshot = db.snapshot()?;
    let mut tree = Tree::load(&snapshot, 0).map_err(OpenError::from)?;
    let mut index = Index::open(&snapshot, IndexOptions::default()).map_err(OpenError::from)?;
    drop(snapshot);
    let mut loader = Loader {
        db,
        start: &start,
        derived: Derived::new(db, &mut tree, &mut index),
        chunk: ChunkBuilder::new(0),
        batch: Vec::new(),
        batch_bytes: 0,
        sealing: Sealing::Required,
        history: History::default(),
        newest_us: 0,
        marks: Marks::default(),
        roots: checkpoints.iter().map(|(size, _)| (*size, None)).collect(),
    };
    for position in 0..start.size {
        if position % STEP == 0 {
            progress(position, start.size);
        }
        let line = lines.event()?;
        let taken = loader.take(position, &line);
        taken.map_err(|error| match error {
            LoadError::Contradicted(corruption) => lines.malformed(corruption.to_string()),
            other => other,
        })?;
    }
    lines.end()?;
    let head = loader.finish(checkpoints)?;
    progress(start.size, start.size);
    let report = LoadReport {
        log_id: start.log_id,
        events: start.size,
        bytes: 0,
        root: start.root,
        erased: loader.marks.erased.count,
        withheld: loader.marks.withheld.count,
    };
    Ok((report, head))
}

/// Makes the log of the lines.
struct Loader<'a> {
    db: &'a Db,
    start: &'a Start,
    derived: Derived<'a>,
    chunk: ChunkBuilder,
    batch: Vec<Change>,
    batch_bytes: usize,
    sealing: Sealing,
    history: History,
    newest_us: u64,
    marks: Marks,
    /// The roots at the sizes of the checkpoints, as they are reached.
    roots: BTreeMap<u64, Option<Digest32>>,
}

impl Loader<'_> {
    fn take(&mut self, position: u64, line: &EventLine) -> Result<(), LoadError> {
        let nothing = Vec::new();
        let raw = RawEvent {
            position,
            entry: &line.entry.0,
            envelope: line.envelope.as_ref().map_or(&nothing, |bytes| &bytes.0),
        };
        let entry = parse_entry(raw)?;
        let header = entry.header();
        if position == 0 {
            let genesis = genesis_of(&entry, raw.envelope);
            let genesis = genesis.filter(|genesis| genesis.log_id == self.start.log_id);
            let other = || Corruption::at(0, "the event log.genesis of this log", "another event");
            self.sealing = genesis.ok_or_else(other)?.sealing();
        }
        if entry.recorded_at_us() < self.newest_us {
            let expected = "a time that does not go back";
            return Err(Corruption::at(position, expected, "an earlier one").into());
        }
        self.newest_us = entry.recorded_at_us();
        if is_downgraded(self.sealing, header) {
            return Err(Corruption::at(position, "a sealed payload", "a plain one").into());
        }
        if raw.envelope.is_empty() {
            if namespace::is_evidence(&header.event_type) {
                let expected = "the content of an event of the log itself";
                return Err(Corruption::at(position, expected, "nothing").into());
            }
        } else {
            check_digest(&self.start.log_id, &entry, raw)?;
            self.history.take(&self.start.log_id, raw, &entry)?;
        }
        self.marks.of(line.absent).add(position, header);
        self.derived.take(raw, &entry)?;
        let size = position + 1;
        if let Some(root) = self.roots.get_mut(&size) {
            *root = Some(self.derived.root());
        }
        if self.chunk.is_full_for(raw.entry.len() + raw.envelope.len()) {
            let full = std::mem::replace(&mut self.chunk, ChunkBuilder::new(position));
            self.put_chunk(&full, None)?;
        }
        self.chunk.push(raw.entry, raw.envelope);
        Ok(())
    }

    fn put_chunk(&mut self, chunk: &ChunkBuilder, head: Option<&Head>) -> Result<(), LoadError> {
        let bytes = chunk.encode(head);
        self.batch_bytes += bytes.len();
        self.batch
            .push(Change::PutNumber(NumberTable::Chunks, chunk.first(), bytes));
        if self.batch_bytes >= BATCH_BYTES || head.is_some() {
            self.db.commit(&self.batch, true)?;
            self.batch.clear();
            self.batch_bytes = 0;
            self.derived.settle()?;
        }
        Ok(())
    }

    /// What can be told only when every event is there; then the rest is written.
    fn finish(&mut self, checkpoints: Vec<(u64, CheckpointLine)>) -> Result<Head, LoadError> {
        let start = self.start;
        let head = Head {
            size: start.size,
            root: start.root,
            recorded_at_us: start.recorded_at_us,
            mac: start.head_mac,
            peaks: self.derived.peaks(),
        };
        if self.derived.root() != head.root || self.newest_us != head.recorded_at_us {
            let expected = format!("the head of {} events", head.size);
            return Err(Corruption::table("chunks", expected, "another head").into());
        }
        self.marks.check(&self.history)?;
        let vkeys = self.history.vkeys();
        for (size, line) in checkpoints {
            let text = &line.checkpoint;
            let origin = text.split('\n').next().unwrap_or_default();
            let signed = SignedCheckpoint::parse_verify(text, origin, &vkeys).ok();
            let signed = signed.map(|signed| signed.checkpoint().clone());
            let root = self.roots.get(&size).copied().flatten();
            let holds =
                |found| signed.is_some_and(|signed| signed.size == size && signed.root == found);
            if !root.is_some_and(holds) {
                let expected = format!("the checkpoint of size {size} as it was signed");
                return Err(Corruption::table("checkpoints", expected, "another one").into());
            }
            let mut row = line.stored_us.to_be_bytes().to_vec();
            row.extend_from_slice(text.as_bytes());
            self.batch
                .push(Change::PutNumber(NumberTable::Checkpoints, size, row));
        }
        let last = std::mem::take(&mut self.chunk);
        self.put_chunk(&last, Some(&head))?;
        self.derived.finish()?;
        Ok(head)
    }
}

/// Events by what they have in place of content.
#[derive(Default)]
struct Marks {
    erased: Mark,
    withheld: Mark,
    present: Mark,
}

/// Keys of such events, and of each scope the first and the last that has no key.
#[derive(Default)]
struct Mark {
    count: u64,
    keys: BTreeSet<KeyId>,
    scopes: BTreeMap<String, (u64, u64)>,
}

impl Mark {
    fn add(&mut self, position: u64, header: &Header) {
        self.count += 1;
        if let Some(key) = header.key_id {
            self.keys.insert(key);
        } else if let Some((_, last)) = self.scopes.get_mut(&header.scope) {
            *last = position;
        } else {
            let only = (position, position);
            self.scopes.insert(header.scope.clone(), only);
        }
    }
}

impl Marks {
    fn of(&mut self, absent: Option<Absent>) -> &mut Mark {
        match absent {
            None => &mut self.present,
            Some(Absent::Erased) => &mut self.erased,
            Some(Absent::Withheld) => &mut self.withheld,
        }
    }

    /// What is marked as erased must be covered by an erasure, and nothing else may be.
    fn check(&self, history: &History) -> Result<(), Corruption> {
        let key_is = |key: &KeyId| history.erasure_of_key(key).is_some();
        let scope_is = |scope: &str, at: u64| {
            let covering = history.erasure_of_scope(scope);
            covering.is_some_and(|(before, _)| at < before)
        };
        let erased = &self.erased;
        let mut last = erased
            .scopes
            .iter()
            .map(|(scope, (_, last))| (scope, *last));
        let is_erased =
            erased.keys.iter().all(key_is) && last.all(|(scope, at)| scope_is(scope, at));
        let others = [&self.withheld, &self.present];
        let is_kept = others.iter().all(|mark| {
            let mut first = mark
                .scopes
                .iter()
                .map(|(scope, (first, _))| (scope, *first));
            !mark.keys.iter().any(key_is) && !first.any(|(scope, at)| scope_is(scope, at))
        });
        if is_erased && is_kept {
            return Ok(());
        }
        let expected = "content that is marked as erased where an erasure covers it";
        Err(Corruption::table("chunks", expected, "another mark"))
    }
}
