//! Work that rides along with commits in bounded slices: index, tiles, fold rows, merging small
//! chunks, stored checkpoints.
//!
//! ```text
//! commit   4, 12, 20, ...   a light slice   index
//! commit   8, 16, 24, ...   a light slice   small chunks gathered into middling ones
//! commit 128                a light slice   middling chunks merged into full ones
//! commit 256                a whole slice   index, fold rows, tiles, checkpoint
//! ```
//!
//! Whoever waits for a commit waits for its slice too. Light slices keep the others short, and those are
//! so rare that less than one commit of a hundred carries one.

use super::writer::Writer;
use crate::chunk::{CHUNK_TARGET, Chunk, ChunkBuilder, FIXED, Head};
use crate::engine::{Change, NumberTable, RowTable, Snapshot};
use crate::error::StorageError;
use crate::fold::FoldHost;
use crate::index::{IndexError, RowOp};

/// Slices for each whole one; the others are light, of the index and of chunks by turns.
const LIGHT_PER_WHOLE: u64 = 64;
/// Events that make a light slice due whatever the number of commits.
const LIGHT_EVENTS: u64 = 256;
/// Bytes of index work in one slice.
const SLICE_BYTES: u64 = 8 << 10;
/// Bytes of index work for each event since the last slice, so that it keeps up in bulk.
const SLICE_BYTES_PER_EVENT: u64 = 256;
/// Events that make a whole slice due whatever the number of commits.
const SLICE_EVENTS: u64 = 4096;
/// Bytes that a slice of the index may take on the disk, when a flush is overdue.
const INDEX_ROOM: u64 = 16 << 20;
/// Chunks looked at in one slice of merging, and after which even what does not fill a chunk is merged:
/// reading them again and again would cost more than writing them.
const MERGE_CHUNKS: usize = 256;
/// Bytes of chunks written anew in one slice of merging.
const MERGE_BYTES: usize = 1 << 20;
/// Chunks looked at in a light slice: a few more than came since the last.
const GATHER_CHUNKS: usize = 32;
/// What is gathered is at most so long: as many of these as fit into a chunk leave less than this of it
/// empty.
const GATHERED_BYTES: usize = CHUNK_TARGET / 8;
/// Checkpoints kept besides the last one of each day.
const KEPT_CHECKPOINTS: usize = 64;
const DAY_US: u64 = 86_400_000_000;
/// Row that remembers how far chunks are merged.
pub(crate) const MERGE_ROW: &[u8] = b"merged";

/// When the next slice is due.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    since_slice: Since,
    since_index: Since,
    since_whole: Since,
    /// Chunks below this are full or merged.
    pub(crate) merged: u64,
    /// Chunks below this are gathered at least.
    gathered: u64,
    /// All chunks that there were, were merged since the last whole slice.
    is_merged: bool,
    /// The next light slice is of the index.
    is_index_next: bool,
    /// Why the index is not written any more: it is damaged. Events are recorded all the same, and
    /// the next open indexes them again.
    pub(crate) index_stopped: Option<String>,
    slice: Option<Slice>,
}

/// What came since a slice.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    commits: u64,
    events: u64,
}

impl Since {
    fn add(&mut self, events: u64) {
        self.commits += 1;
        self.events += events;
    }
}

/// A slice that is part of the transaction under way.
#[derive(Debug)]
struct Slice {
    is_whole: bool,
    has_index: bool,
    /// How far chunks are put together in it, if they are.
    put_together: Option<(Merge, Upto)>,
}

/// What a slice does with the index.
#[derive(Clone, Copy, Debug)]
enum IndexWork {
    Nothing,
    /// So many bytes of it.
    Slice(u64),
    /// It is brought to rest.
    All,
}

impl Maintenance {
    /// Goes on where an earlier process stopped.
    pub(crate) fn resume(merged: u64) -> Self {
        Self {
            merged,
            is_index_next: true,
            ..Self::default()
        }
    }
}

impl Writer {
    /// The slice for this commit: often nothing.
    pub(crate) fn maintain(
        &mut self,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        events: u64,
    ) -> Result<Vec<Change>, StorageError> {
        let every = self.identity.options.maintenance_commits;
        let Maintenance {
            since_slice,
            since_index,
            since_whole,
            ..
        } = &mut self.maintenance;
        for since in [&mut *since_slice, since_index, since_whole] {
            since.add(events);
        }
        let more = since_index.events.saturating_mul(SLICE_BYTES_PER_EVENT);
        let index_budget = SLICE_BYTES.saturating_add(more);
        if since_whole.commits >= every
            || since_whole.events >= SLICE_EVENTS
            || folds.is_flush_due()
        {
            self.whole_slice(folds, snapshot, Some(index_budget))
        } else if since_slice.commits >= (every / LIGHT_PER_WHOLE).max(1)
            || since_slice.events >= LIGHT_EVENTS
        {
            let is_of_index = self.maintenance.is_index_next;
            self.light_slice(snapshot, is_of_index.then_some(index_budget))
        } else {
            Ok(Vec::new())
        }
    }

    /// A slice with everything, or nothing if the disk has no room for it; without a budget the index is
    /// brought to rest.
    fn whole_slice(
        &mut self,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        index_budget: Option<u64>,
    ) -> Result<Vec<Change>, StorageError> {
        let mut changes = folds.flush()?;
        changes.extend(self.tree.changes());
        changes.extend(self.checkpoint_changes(snapshot)?);
        // What is closed is put together as far as it goes.
        let put_together = if self.maintenance.is_merged && index_budget.is_some() {
            None
        } else {
            Some(self.put_together(snapshot, Merge::Whole, &mut changes)?)
        };
        let index = match index_budget {
            Some(bytes) => IndexWork::Slice(bytes),
            None => IndexWork::All,
        };
        let slice = Slice {
            is_whole: true,
            has_index: true,
            put_together,
        };
        self.with_room(slice, changes, snapshot, index)
    }

    /// A part of what would make the next whole slice long, or nothing if the disk has no room for it: of
    /// the index if it has a budget, else of chunks.
    fn light_slice(
        &mut self,
        snapshot: &Snapshot,
        index_budget: Option<u64>,
    ) -> Result<Vec<Change>, StorageError> {
        let mut changes = Vec::new();
        let (put_together, index) = if let Some(bytes) = index_budget {
            (None, IndexWork::Slice(bytes))
        } else {
            let every = self.identity.options.maintenance_commits;
            let Since { commits, events } = self.maintenance.since_whole;
            let is_midway = commits >= every / 2 || events >= SLICE_EVENTS / 2;
            let merge = if is_midway && !self.maintenance.is_merged {
                Merge::Whole
            } else {
                Merge::Light
            };
            let upto = self.put_together(snapshot, merge, &mut changes)?;
            (Some(upto), IndexWork::Nothing)
        };
        let slice = Slice {
            is_whole: false,
            has_index: index_budget.is_some(),
            put_together,
        };
        self.with_room(slice, changes, snapshot, index)
    }

    /// Puts chunks together; answers how far.
    fn put_together(
        &self,
        snapshot: &Snapshot,
        merge: Merge,
        changes: &mut Vec<Change>,
    ) -> Result<(Merge, Upto), StorageError> {
        let Maintenance {
            merged, gathered, ..
        } = self.maintenance;
        let from = match merge {
            Merge::Light => gathered.max(merged),
            Merge::Whole => merged,
        };
        let upto = merge_chunks(snapshot, from, merge, changes)?;
        if merge == Merge::Whole && upto.done != from {
            changes.push(Change::PutRow(
                RowTable::Meta,
                MERGE_ROW.to_vec(),
                upto.done.to_be_bytes().to_vec(),
            ));
        }
        Ok((merge, upto))
    }

    /// The changes of a slice and those of the index, if the disk has room.
    fn with_room(
        &mut self,
        slice: Slice,
        mut changes: Vec<Change>,
        snapshot: &Snapshot,
        index: IndexWork,
    ) -> Result<Vec<Change>, StorageError> {
        let bytes: usize = changes.iter().map(Change::bytes).sum();
        if !self.has_room(bytes as u64)? {
            return Ok(Vec::new());
        }
        changes.extend(self.index_changes(snapshot, index)?);
        self.maintenance.slice = Some(slice);
        Ok(changes)
    }

    /// Whether the disk has room for so many bytes and a slice of the index.
    fn has_room(&self, bytes: u64) -> Result<bool, StorageError> {
        let margin = self.identity.options.disk_margin_bytes;
        let needed = bytes.saturating_mul(2).saturating_add(INDEX_ROOM);
        let available = self.db.available()?;
        Ok(available.is_none_or(|available| available >= needed.saturating_add(margin)))
    }

    /// Rows of the index; a damaged one is left as it is.
    fn index_changes(
        &mut self,
        snapshot: &Snapshot,
        work: IndexWork,
    ) -> Result<Vec<Change>, StorageError> {
        if self.maintenance.index_stopped.is_some() {
            return Ok(Vec::new());
        }
        let rows = match work {
            IndexWork::Nothing => return Ok(Vec::new()),
            IndexWork::Slice(bytes) => self.index.maintain(snapshot, bytes),
            IndexWork::All => self.index.flush_all(snapshot),
        };
        match rows {
            Ok(rows) => Ok(rows.into_iter().map(index_change).collect()),
            Err(IndexError::Storage(error)) => Err(error),
            Err(error) => {
                self.maintenance.index_stopped = Some(error.to_string());
                Ok(Vec::new())
            }
        }
    }

    /// The transaction that carried the slice is committed.
    pub(crate) fn maintained(&mut self, folds: &mut FoldHost) {
        let Some(slice) = self.maintenance.slice.take() else {
            return;
        };
        self.index.committed();
        let maintenance = &mut self.maintenance;
        maintenance.since_slice = Since::default();
        if slice.has_index {
            maintenance.since_index = Since::default();
        }
        maintenance.is_index_next = slice.is_whole || !slice.has_index;
        match slice.put_together {
            Some((Merge::Light, upto)) => maintenance.gathered = upto.done,
            Some((Merge::Whole, upto)) => {
                maintenance.merged = upto.done;
                maintenance.is_merged = upto.is_all;
            }
            None => {}
        }
        if slice.is_whole {
            (maintenance.since_whole, maintenance.is_merged) = (Since::default(), false);
            self.tree.stored();
            folds.flushed();
        }
    }

    /// Everything that is still due, for close: rows, tiles, the signed head, `LOG.head`.
    pub(crate) fn finish(&mut self, folds: &mut FoldHost, head: &Head) -> Result<(), StorageError> {
        let snapshot = self.db.snapshot()?;
        let changes = self.whole_slice(folds, &snapshot, None)?;
        self.db.commit(&changes, true)?;
        self.maintained(folds);
        self.durable = head.size;
        self.head_file
            .write(&self.identity.log_id, head)
            .and_then(|()| self.head_file.sync())
            .map_err(|error| StorageError::io("LOG.head", &error))
    }

    /// Stores the newest releasable checkpoint; keeps the last 64 and the last one of each day.
    fn checkpoint_changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>, StorageError> {
        let Some((size, signed)) = self.signing.newest() else {
            return Ok(Vec::new());
        };
        if snapshot.number(NumberTable::Checkpoints, size)?.is_some() {
            return Ok(Vec::new());
        }
        let now = self.identity.options.clock.wall_us();
        let mut row = now.to_be_bytes().to_vec();
        row.extend_from_slice(signed.text().as_bytes());
        let mut changes = vec![Change::PutNumber(NumberTable::Checkpoints, size, row)];
        changes.extend(expired_checkpoint(snapshot, size)?);
        Ok(changes)
    }
}

/// The checkpoint that a new one pushes out: the 64th before it, unless it is the last of its day.
fn expired_checkpoint(snapshot: &Snapshot, size: u64) -> Result<Option<Change>, StorageError> {
    let mut at = size;
    let mut newer_day = None;
    for back in 0..=KEPT_CHECKPOINTS {
        let Some(below) = at.checked_sub(1) else {
            return Ok(None);
        };
        let Some((key, value)) = snapshot.number_at_or_below(NumberTable::Checkpoints, below)?
        else {
            return Ok(None);
        };
        let day = value
            .bytes()
            .first_chunk::<8>()
            .map(|micros| u64::from_be_bytes(*micros) / DAY_US);
        if back == KEPT_CHECKPOINTS {
            return Ok(
                (day == newer_day).then_some(Change::DeleteNumber(NumberTable::Checkpoints, key))
            );
        }
        newer_day = day;
        at = key;
    }
    Ok(None)
}

pub(crate) fn index_change(row: RowOp) -> Change {
    match row {
        RowOp::Put(key, value) => Change::PutRow(RowTable::Index, key, value),
        RowOp::Delete(key) => Change::DeleteRow(RowTable::Index, key),
    }
}

/// Chunks being put together.
struct Merging {
    builder: ChunkBuilder,
    head: Option<Head>,
    firsts: Vec<u64>,
    end: u64,
}

impl Merging {
    fn new(first: u64) -> Self {
        Self {
            builder: ChunkBuilder::new(first),
            head: None,
            firsts: Vec::new(),
            end: first,
        }
    }

    /// Bytes that are written anew: none of a chunk that stays as it is.
    fn rewritten(&self) -> usize {
        if self.firsts.len() > 1 {
            self.builder.encoded_len(0)
        } else {
            0
        }
    }

    fn emit(self, changes: &mut Vec<Change>) -> u64 {
        if let [first, rest @ ..] = self.firsts.as_slice()
            && !rest.is_empty()
        {
            for gone in rest {
                changes.push(Change::DeleteNumber(NumberTable::Chunks, *gone));
            }
            let bytes = self.builder.encode(self.head.as_ref());
            changes.push(Change::PutNumber(NumberTable::Chunks, *first, bytes));
        }
        self.end
    }
}

/// Left free in a merged chunk: the longest head.
const ROOM: usize = 2200;

/// How chunks are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    Light,
    Whole,
}

impl Merge {
    /// How many are looked at.
    fn chunks(self) -> usize {
        match self {
            Self::Light => GATHER_CHUNKS,
            Self::Whole => MERGE_CHUNKS,
        }
    }

    /// How long one becomes.
    fn most_bytes(self) -> usize {
        match self {
            Self::Light => GATHERED_BYTES,
            Self::Whole => CHUNK_TARGET - ROOM,
        }
    }

    /// From how many on the last ones are put together, though they are not so long.
    fn enough(self) -> usize {
        match self {
            Self::Light => 2,
            Self::Whole => MERGE_CHUNKS,
        }
    }
}

/// How far chunks are put together.
#[derive(Clone, Copy, Debug)]
struct Upto {
    /// Below this they are.
    done: u64,
    /// There was no more to look at, or it is damaged.
    is_all: bool,
}

/// Puts small neighbouring chunks from `from` on together into longer ones; answers up to where
/// that is done. The last ones may be left for later.
fn merge_chunks(
    snapshot: &Snapshot,
    from: u64,
    merge: Merge,
    changes: &mut Vec<Change>,
) -> Result<Upto, StorageError> {
    let mut done = from;
    let mut next = from;
    let mut merging: Option<Merging> = None;
    let (mut is_all, mut written) = (false, 0);
    for _ in 0..merge.chunks() {
        if written >= MERGE_BYTES {
            break;
        }
        let Some((key, value)) = snapshot.number_at_or_above(NumberTable::Chunks, next)? else {
            is_all = true;
            break;
        };
        // A damaged chunk is left alone: reads and verification name it.
        is_all = true;
        let Ok(chunk) = Chunk::parse(key, value.bytes()) else {
            break;
        };
        let Ok(head) = chunk.head() else { break };
        next = chunk.end();
        let size = chunk.body_len() + chunk_offsets(&chunk);
        if let Some(full) = merging.take_if(|merging| {
            merging.builder.encoded_len(0) + size > merge.most_bytes() || merging.end != key
        }) {
            written += full.rewritten();
            done = full.emit(changes);
        }
        if merging.is_none() && FIXED + size > merge.most_bytes() {
            // Nothing can come to it.
            done = next;
            is_all = false;
            continue;
        }
        let Ok(events) = chunk.events().collect::<Result<Vec<_>, _>>() else {
            break;
        };
        is_all = false;
        let target = merging.get_or_insert_with(|| Merging::new(key));
        for event in events {
            target.builder.push(event.entry, event.envelope);
        }
        target.firsts.push(key);
        target.head = head;
        target.end = chunk.end();
    }
    if let Some(rest) = merging.filter(|rest| rest.firsts.len() >= merge.enough()) {
        done = rest.emit(changes);
    }
    Ok(Upto { done, is_all })
}

fn chunk_offsets(chunk: &Chunk<'_>) -> usize {
    usize::try_from(chunk.end() - chunk.first()).unwrap_or(usize::MAX) * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Append, CreateOptions, Log, OpenOptions, Sealing};
    use runstone_codec::NewEvent;

    /// Where the chunks of a log begin, and behind them its size.
    fn bounds(log: &Log) -> Vec<u64> {
        let reader = log.here().unwrap().shared.reader().unwrap();
        let mut bounds = vec![0];
        while let Some(next) = bounds.last().copied().filter(|next| *next < reader.size()) {
            let value = reader.snapshot.number(NumberTable::Chunks, next);
            let value = value.unwrap().unwrap();
            bounds.push(Chunk::parse(next, value.bytes()).unwrap().end());
        }
        bounds
    }

    /// Appends events of so many bytes, one a commit.
    fn append(log: &Log, commits: u64, bytes: usize) {
        // Letters that hardly compress.
        let mut random = 1 + log.size();
        let mut letter = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + u8::try_from((random >> 33) % 26).unwrap())
        };
        for _ in 0..commits {
            let text: String = (0..bytes).map(|_| letter()).collect();
            let payload = format!("\"{text}\"").into_bytes();
            let event = NewEvent::new("data.noted", "s").payload(payload);
            log.append_blocking(Append::new([event])).unwrap();
        }
    }

    fn log() -> Log {
        let create = CreateOptions {
            sealing: Sealing::Plain,
            ..CreateOptions::default()
        };
        Log::memory(&create, OpenOptions::default()).unwrap()
    }

    #[test]
    fn small_chunks_are_gathered_by_light_slices_and_merged_by_whole_ones() {
        let log = log();
        // Making it was a commit, too.
        append(&log, 6, 900);
        assert_eq!(bounds(&log), [0, 1, 2, 3, 4, 5, 6, 7]);
        // What the eighth commit carries was there before it.
        append(&log, 1, 900);
        assert_eq!(bounds(&log), [0, 7, 8]);
        append(&log, 8, 900);
        assert_eq!(bounds(&log), [0, 7, 15, 16]);
        append(&log, 47, 900);
        let gathered = bounds(&log);
        let gathered: Vec<_> = gathered.iter().take_while(|first| **first <= 55).collect();
        assert!(gathered.len() <= 10, "{gathered:?}");
        append(&log, 65, 900);
        // As many of them as fit into one chunk of 64 KiB.
        let full = bounds(&log)[1];
        assert!((55..96).contains(&full), "{:?}", bounds(&log));
    }

    /// However long events are, chunks are nearly full in the end, also where as many come between two
    /// slices of merging as one of these looks at.
    #[test]
    fn no_length_of_events_leaves_chunks_half_empty() {
        for bytes in [100, 600, 1_100, 1_500, 2_500, 4_500, 6_800, 7_500, 9_000] {
            let log = log();
            let commits = if bytes == 4_500 { 3_000 } else { 640 };
            append(&log, commits, bytes);
            let reader = log.here().unwrap().shared.reader().unwrap();
            let all = bounds(&log);
            let (mut chunks, mut taken) = (0, 0);
            // The newest are not merged yet.
            for first in all.iter().take_while(|first| **first < commits - 280) {
                let value = reader.snapshot.number(NumberTable::Chunks, *first);
                taken += value.unwrap().unwrap().bytes().len();
                chunks += 1;
            }
            let least = (taken * 8).div_ceil(CHUNK_TARGET * 7) + 2;
            assert!(chunks <= least, "{bytes}: {chunks}, {least}: {all:?}");
        }
    }
}
