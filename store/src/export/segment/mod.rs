//! A log in parts: segments, each of contiguous events, chained by their digests.
//!
//! ```text
//!  log --> [0, 700) --> [700, 1400) --> [1400, 1431)      each ends with the head of the log there
//!            ^----former----'  ^----former----'
//!  segments from 0 on --> a replica;     replica + the segment behind it --> the replica goes on
//! ```
//!
//! docs/FORMAT.md has the bytes, docs/ARCHIVE.md is for those who keep them.

mod append;
mod load;
mod write;

#[cfg(fuzzing)]
pub(super) use load::fill;
pub use write::{CheckpointNote, Segment, SegmentError, SegmentPlan};

use super::LoadError;
use super::line::{Lines, SegmentStart};
use super::loader::Loader;
use runstone_codec::{Digest32, LogId};
use runstone_receipt::checkpoint::Checkpoint;
use runstone_receipt::note::SignedNote;
use std::fmt::{self, Debug};
use std::io::BufRead;

/// Largest segment that is read, in bytes: the longest line, and one that may come before it.
pub const MAX_SEGMENT_BYTES: u64 = 256 << 20;
/// Row of a replica that has the digest of its last segment.
pub(crate) const SEGMENT_ROW: &[u8] = b"segment";
/// Row of a replica that may have content which an erasure covers: it is to be written anew.
pub(crate) const PURGE_ROW: &[u8] = b"purge";

/// Up to where somebody has the segments of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by whoever keeps segments elsewhere"
)]
pub struct SegmentEnd {
    /// Of which log.
    pub log_id: LogId,
    /// Events from the first one of the log on.
    pub events: u64,
    /// Root of the tree over them.
    pub root: Digest32,
    /// SHA-256 of the last segment; none if what is there did not come in segments.
    pub digest: Option<Digest32>,
}

impl SegmentEnd {
    /// What a checkpoint of a log says, whoever signed it; `None` for other text.
    pub fn of_checkpoint(log_id: LogId, text: &str) -> Option<Self> {
        let note = SignedNote::parse(text).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        Some(Self {
            log_id,
            events: checkpoint.size,
            root: checkpoint.root,
            digest: None,
        })
    }
}

/// A segment to be read.
#[non_exhaustive]
pub struct SegmentInput {
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub input: Box<dyn BufRead>,
}

impl SegmentInput {
    /// A segment that is called so.
    pub fn new(name: impl Into<String>, input: Box<dyn BufRead>) -> Self {
        Self {
            name: name.into(),
            input,
        }
    }
}

impl Debug for SegmentInput {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SegmentInput")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where segments are read from. Each may be asked for twice.
pub trait SegmentSource {
    /// The segment that begins with this position; `None` if no segment reaches beyond it.
    ///
    /// # Errors
    ///
    /// [`LoadError::SegmentMissing`] if later ones are there, [`LoadError::Input`] if it cannot be
    /// read.
    fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError>;

    /// Events that the segments have together, as far as their names tell.
    fn events(&self) -> u64;
}

/// What becomes of the last events if no checkpoint covers them whose key the segments name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum UnsignedTail {
    /// Nothing is loaded: anybody may have written them.
    #[default]
    Refused,
    /// They are loaded.
    Taken,
}

/// A segment that was read by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSpan {
    /// Its first position.
    pub from: u64,
    /// SHA-256 of the segment before it, as it says.
    pub former: Option<Digest32>,
    /// What is there with it, as it says.
    pub end: SegmentEnd,
}

/// Reads a segment by itself: that every byte is as it was written. Whether its events are those of
/// the log is found where it is loaded.
///
/// # Errors
///
/// [`LoadError`] says which line is wrong.
pub fn read_segment(input: impl BufRead) -> Result<SegmentSpan, LoadError> {
    let mut lines = Lines::new(input);
    let start = lines.segment_start()?;
    for _ in start.from..start.to {
        lines.event()?;
    }
    let digest = lines.end()?;
    Ok(SegmentSpan {
        from: start.from,
        former: start.former.map(|former| former.0),
        end: end_of(&start, digest),
    })
}

fn end_of(start: &SegmentStart, digest: Digest32) -> SegmentEnd {
    SegmentEnd {
        log_id: start.log_id,
        events: start.to,
        root: start.root,
        digest: Some(digest),
    }
}

/// Whether a segment goes on where something ends.
fn follows(start: &SegmentStart, end: &SegmentEnd) -> Result<(), LoadError> {
    let unfit = |why: String| Err(LoadError::Unfit(why));
    if start.log_id != end.log_id {
        return unfit(format!(
            "it is of log {}, not of {}",
            start.log_id, end.log_id
        ));
    }
    if start.from != end.events {
        return unfit(format!(
            "it begins with position {}, and {} is due",
            start.from, end.events
        ));
    }
    if start.former.map(|former| former.0) != end.digest {
        return unfit("the segment before it is another one than it names".to_owned());
    }
    Ok(())
}

/// Takes the events of a segment whose first line was read; answers its digest.
fn take_events<R: BufRead>(
    loader: &mut Loader<'_>,
    lines: &mut Lines<R>,
    start: &SegmentStart,
    mut each: impl FnMut(u64),
) -> Result<Digest32, LoadError> {
    let mut bytes = 0_u64;
    while loader.size() < start.to {
        each(loader.size());
        let line = lines.event()?;
        let envelope = line.envelope.as_ref().map_or(0, |bytes| bytes.0.len());
        bytes = bytes.saturating_add((line.entry.0.len() + envelope) as u64);
        if bytes > MAX_SEGMENT_BYTES {
            let why = format!("a segment has at most {MAX_SEGMENT_BYTES} bytes");
            return Err(lines.malformed(why));
        }
        let taken = loader.take(&line);
        taken.map_err(|error| lines.contradicted(error))?;
    }
    lines.end()
}
