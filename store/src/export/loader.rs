//! Makes the tables of a log from lines of events.

use super::line::{CheckpointLine, EventLine};
use super::load::LoadReport;
use super::marks::Marks;
use super::{LoadError, SegmentEnd};
use crate::chunk::{ChunkBuilder, Head, RawEvent};
use crate::engine::{Change, Db, NumberTable};
use crate::error::Corruption;
use crate::identity::is_downgraded;
use crate::open::{Derived, genesis_of};
use crate::options::Sealing;
use crate::own::History;
use crate::read::{check_digest, parse_entry};
use runstone_codec::{Digest32, Entry, LogId, namespace};
use runstone_receipt::checkpoint::{CheckpointError, SignedCheckpoint};
use runstone_receipt::note::NoteError;
use std::sync::Arc;

/// Bytes written in one transaction.
const BATCH_BYTES: usize = 16 << 20;

/// What was there before the first line.
pub(super) struct Before {
    /// Events.
    pub(super) size: u64,
    pub(super) sealing: Sealing,
    pub(super) history: History,
    pub(super) newest_us: u64,
    /// Everything is written in one transaction, with the head.
    pub(super) is_whole: bool,
}

impl Before {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self {
            size: 0,
            sealing: Sealing::Required,
            history: History::default(),
            newest_us: 0,
            is_whole: false,
        }
    }
}

/// Makes the tables of a log from lines of events.
pub(super) struct Loader<'a> {
    db: &'a Db,
    log_id: LogId,
    derived: Derived<'a>,
    chunk: ChunkBuilder,
    batch: Vec<Change>,
    batch_bytes: usize,
    is_whole: bool,
    sealing: Sealing,
    history: History,
    newest_us: u64,
    next: u64,
    marks: Marks,
    /// Erasures that are known before they are read.
    ahead: Option<Arc<History>>,
    erased: u64,
    withheld: u64,
}

impl<'a> Loader<'a> {
    pub(super) fn new(db: &'a Db, log_id: LogId, derived: Derived<'a>, before: Before) -> Self {
        Self {
            db,
            log_id,
            derived,
            chunk: ChunkBuilder::new(before.size),
            batch: Vec::new(),
            batch_bytes: 0,
            is_whole: before.is_whole,
            sealing: before.sealing,
            history: before.history,
            newest_us: before.newest_us,
            next: before.size,
            marks: Marks::default(),
            ahead: None,
            erased: 0,
            withheld: 0,
        }
    }

    /// Leaves out what these erasures cover.
    pub(super) fn without(mut self, ahead: Option<Arc<History>>) -> Self {
        self.ahead = ahead;
        self
    }

    /// Events so far.
    pub(super) fn size(&self) -> u64 {
        self.next
    }

    pub(super) fn root(&self) -> Digest32 {
        self.derived.root()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Begins to count marks anew; answers those so far.
    pub(super) fn take_marks(&mut self) -> Marks {
        std::mem::take(&mut self.marks)
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, line: &EventLine) -> Result<(), LoadError> {
        let position = self.next;
        let nothing = Vec::new();
        let raw = RawEvent {
            position,
            entry: &line.entry.0,
            envelope: line.envelope.as_ref().map_or(&nothing, |bytes| &bytes.0),
        };
        let entry = parse_entry(raw)?;
        self.check(raw, &entry)?;
        let header = entry.header();
        self.newest_us = entry.recorded_at_us();
        if !raw.envelope.is_empty() {
            self.history.take(&self.log_id, raw, &entry)?;
        }
        self.marks.add(line.absent, position, header);
        self.derived.take(raw, &entry)?;
        let ahead = self.ahead.as_ref();
        let is_erased = ahead.is_some_and(|ahead| ahead.covers(position, header));
        let envelope = if is_erased { &nothing } else { raw.envelope };
        if envelope.is_empty() {
            let is_erased = is_erased || line.is_erased();
            let count = if is_erased {
                &mut self.erased
            } else {
                &mut self.withheld
            };
            *count += 1;
        }
        if self.chunk.is_full_for(raw.entry.len() + envelope.len()) {
            let full = std::mem::replace(&mut self.chunk, ChunkBuilder::new(position));
            self.put_chunk(&full, None)?;
        }
        self.chunk.push(raw.entry, envelope);
        self.next += 1;
        Ok(())
    }

    fn check(&mut self, raw: RawEvent<'_>, entry: &Entry<'_>) -> Result<(), LoadError> {
        let (position, header) = (raw.position, entry.header());
        if position == 0 {
            let genesis = genesis_of(entry, raw.envelope);
            let genesis = genesis.filter(|genesis| genesis.log_id == self.log_id);
            let other = || Corruption::at(0, "the event log.genesis of this log", "another event");
            self.sealing = genesis.ok_or_else(other)?.sealing();
        }
        if entry.recorded_at_us() < self.newest_us {
            let expected = "a time that does not go back";
            return Err(Corruption::at(position, expected, "an earlier one").into());
        }
        if is_downgraded(self.sealing, header) {
            return Err(Corruption::at(position, "a sealed payload", "a plain one").into());
        }
        if !raw.envelope.is_empty() {
            return Ok(check_digest(&self.log_id, entry, raw)?);
        }
        if namespace::is_evidence(&header.event_type) {
            let expected = "the content of an event of the log itself";
            return Err(Corruption::at(position, expected, "nothing").into());
        }
        Ok(())
    }

    fn put_chunk(&mut self, chunk: &ChunkBuilder, head: Option<&Head>) -> Result<(), LoadError> {
        let bytes = chunk.encode(head);
        self.batch_bytes += bytes.len();
        self.batch
            .push(Change::PutNumber(NumberTable::Chunks, chunk.first(), bytes));
        let is_full = self.batch_bytes >= BATCH_BYTES && !self.is_whole;
        if is_full || head.is_some() {
            self.db.commit(&self.batch, true)?;
            self.batch.clear();
            self.batch_bytes = 0;
            self.derived.settle()?;
        }
        Ok(())
    }

    /// The head of what was taken, which must be as it is told.
    pub(super) fn head(
        &self,
        root: Digest32,
        recorded_at_us: u64,
        mac: [u8; 32],
    ) -> Result<Head, Corruption> {
        let head = Head {
            size: self.next,
            root,
            recorded_at_us,
            mac,
            peaks: self.derived.peaks(),
        };
        if self.derived.root() != head.root || self.newest_us != head.recorded_at_us {
            let expected = format!("the head of {} events", head.size);
            return Err(Corruption::table("chunks", expected, "another head"));
        }
        Ok(head)
    }

    /// Keeps a checkpoint of a size at which the tree had this root, if a key that the log names has
    /// signed it; whether one has. One of another size or root is refused, whoever signed it.
    pub(super) fn keep_checkpoint(
        &mut self,
        (size, root): (u64, Option<Digest32>),
        line: &CheckpointLine,
    ) -> Result<bool, Corruption> {
        let text = &line.checkpoint;
        let origin = text.split('\n').next().unwrap_or_default();
        let signed = SignedCheckpoint::parse_verify(text, origin, &self.history.vkeys());
        if let Err(CheckpointError::Note(NoteError::NotSigned { .. })) = signed {
            let said = SegmentEnd::of_checkpoint(self.log_id, text);
            let holds = said.is_some_and(|said| said.events == size && Some(said.root) == root);
            return if holds {
                Ok(false)
            } else {
                Err(not_as_signed(size))
            };
        }
        let signed = signed.ok().map(|signed| signed.checkpoint().clone());
        let holds =
            |found| signed.is_some_and(|signed| signed.size == size && signed.root == found);
        if !root.is_some_and(holds) {
            return Err(not_as_signed(size));
        }
        let mut row = line.stored_us.to_be_bytes().to_vec();
        row.extend_from_slice(text.as_bytes());
        self.put(Change::PutNumber(NumberTable::Checkpoints, size, row));
        Ok(true)
    }

    /// Writes this too, with what is written next.
    pub(super) fn put(&mut self, change: Change) {
        self.batch.push(change);
    }

    /// Writes what is left, and the head; answers what was loaded, of which a checkpoint covers `signed`
    /// events.
    pub(super) fn report(self, head: Head, signed: u64) -> Result<(LoadReport, Head), LoadError> {
        let report = LoadReport {
            log_id: self.log_id,
            events: head.size,
            bytes: 0,
            root: head.root,
            signed,
            erased: self.erased,
            withheld: self.withheld,
        };
        self.finish(&head)?;
        Ok((report, head))
    }

    /// Writes what is left, and the head.
    pub(super) fn finish(mut self, head: &Head) -> Result<(), LoadError> {
        let last = std::mem::take(&mut self.chunk);
        self.put_chunk(&last, Some(head))?;
        Ok(self.derived.finish()?)
    }
}

pub(super) fn not_as_signed(size: u64) -> Corruption {
    let expected = format!("the checkpoint of size {size} as it was signed");
    Corruption::table("checkpoints", expected, "another one")
}
