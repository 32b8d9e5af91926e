//! From the log to a segment.

use super::super::line::{Absent, End, Hex32, SEGMENT, SegmentStart, put};
use super::super::write::event_line;
use super::SegmentEnd;
use crate::chunk::Head;
use crate::error::{Corruption, ErrorKind, ReadError};
use crate::evidence::root_of;
use crate::log::{Backing, Here, Log};
use crate::own::History;
use crate::query::Query;
use crate::read::Reader;
use runstone_codec::{Digest32, LogId};
use runstone_receipt::head::head_mac;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Debug};

/// What a line takes besides its bytes in base64, about.
const LINE_BYTES: u64 = 40;

/// What the next segment is to have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentPlan {
    /// Content of which events goes with it. Default: of all.
    pub query: Query,
    /// Up to where those before it go; none: it is the first.
    pub after: Option<SegmentEnd>,
    /// Most events. Default 65,536.
    pub max_events: u64,
    /// Bytes after which it ends. Default 8 MiB.
    pub max_bytes: u64,
}

impl SegmentPlan {
    /// A segment behind others.
    pub fn new(after: Option<SegmentEnd>) -> Self {
        Self {
            query: Query::everything(),
            after,
            max_events: 65_536,
            max_bytes: 8 << 20,
        }
    }
}

/// A segment of a log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Its first position.
    pub from: u64,
    /// What is there with it.
    pub end: SegmentEnd,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of its bytes.
    pub digest: Digest32,
    /// Events whose content was erased.
    pub erased: u64,
    /// Events whose content was kept back.
    pub withheld: u64,
}

impl Debug for Segment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Segment")
            .field("from", &self.from)
            .field("end", &self.end)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Those before it are of another log.
    #[error("what is there is of log {found}, and this is log {log}")]
    OtherLog {
        /// The log.
        log: LogId,
        /// The one that is there.
        found: LogId,
    },
    /// Those before it go further than the log, as after a restore.
    #[error("what is there goes up to {known} events, and this log has {size}")]
    Ahead {
        /// Events of the log.
        size: u64,
        /// Events that are there.
        known: u64,
    },
    /// Those before it are of another history.
    #[error("what is there is of another history: its first {events} events are other ones")]
    Diverged {
        /// Events that are there.
        events: u64,
    },
    /// Another process holds the log.
    #[error("segments are made by the process that holds the log")]
    Elsewhere,
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl SegmentError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherLog { .. } => "other_log",
            Self::Ahead { .. } => "log_behind",
            Self::Diverged { .. } => "log_diverged",
            Self::Elsewhere => "held_elsewhere",
            Self::Read(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherLog { .. } | Self::Elsewhere => ErrorKind::Usage,
            Self::Ahead { .. } | Self::Diverged { .. } => ErrorKind::Corrupt,
            Self::Read(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_retryable())
    }
}

impl Log {
    /// The next segment of what is durable: entries, the sealed content of the events that the query
    /// names and of the log's own, as an [export](Self::export) has them, and a checkpoint of the log
    /// after it. `None` if everything is there already.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] if the log did not grow from what is there, or an event is damaged.
    pub fn segment(&self, plan: &SegmentPlan) -> Result<Option<Segment>, SegmentError> {
        match &self.backing {
            Backing::Here(here) => here.segment(plan),
            Backing::There(_) => Err(SegmentError::Elsewhere),
        }
    }
}

/// A checkpoint of a log by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointNote {
    /// What it says.
    pub end: SegmentEnd,
    /// The signed note.
    pub text: String,
}

impl Log {
    /// Checks that the log grew from what somebody has of it.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] says why it did not.
    pub fn check_grown(&self, end: &SegmentEnd) -> Result<(), SegmentError> {
        match &self.backing {
            Backing::Here(here) => grown(here, Some(end)).map(|_| ()),
            Backing::There(_) => Err(SegmentError::Elsewhere),
        }
    }

    /// The checkpoint of what is durable, if that is more than the one that somebody has says.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] if the log did not grow from what is there, or cannot be read.
    pub fn checkpoint_after(
        &self,
        after: Option<&SegmentEnd>,
    ) -> Result<Option<CheckpointNote>, SegmentError> {
        match &self.backing {
            Backing::Here(here) => here.checkpoint_after(after),
            Backing::There(_) => Err(SegmentError::Elsewhere),
        }
    }
}

/// A reader of a log that grew from what is there, how far that is, and how far the log is.
fn grown(here: &Here, after: Option<&SegmentEnd>) -> Result<(Reader, (u64, u64)), SegmentError> {
    let reader = here.shared.reader()?;
    let size = reader.published.durable.min(reader.size());
    let Some(after) = after else {
        return Ok((reader, (0, size)));
    };
    let log = reader.identity.log_id;
    if after.log_id != log {
        let found = after.log_id;
        return Err(SegmentError::OtherLog { log, found });
    }
    let known = after.events;
    if known > size {
        return Err(SegmentError::Ahead { size, known });
    }
    let (root, reader) = root_of(reader, known)?;
    if root != after.root {
        return Err(SegmentError::Diverged { events: known });
    }
    Ok((reader, (known, size)))
}

/// The head of the first events of a log, and its checkpoint.
fn head_at(here: &Here, reader: Reader, size: u64) -> Result<(Reader, Head, String), ReadError> {
    let (root, mut reader) = root_of(reader, size)?;
    let last = size.saturating_sub(1);
    let recorded_at_us = reader.raw(last, |reader, raw| {
        Ok(reader.checked_entry(raw)?.recorded_at_us())
    })?;
    let identity = &reader.identity;
    let mac = head_mac(&identity.mac, &identity.log_id, size, &root, recorded_at_us);
    let head = Head {
        size,
        root,
        recorded_at_us,
        mac,
        peaks: Vec::new(),
    };
    let signed = here.shared.signing.sign(&head);
    let signed = signed.map_err(|error| ReadError::NotFound {
        what: format!("that can be signed: {error}"),
    })?;
    let text = signed.text().to_owned();
    Ok((reader, head, text))
}

impl Here {
    fn checkpoint_after(
        &self,
        after: Option<&SegmentEnd>,
    ) -> Result<Option<CheckpointNote>, SegmentError> {
        let (reader, (known, size)) = grown(self, after)?;
        if known == size {
            return Ok(None);
        }
        let log_id = reader.identity.log_id;
        let (_, head, text) = head_at(self, reader, size)?;
        let end = SegmentEnd {
            log_id,
            events: size,
            root: head.root,
            digest: None,
        };
        Ok(Some(CheckpointNote { end, text }))
    }

    fn segment(&self, plan: &SegmentPlan) -> Result<Option<Segment>, SegmentError> {
        let (mut reader, (from, size)) = grown(self, plan.after.as_ref())?;
        if from == size {
            return Ok(None);
        }
        let log_id = reader.identity.log_id;
        let to = end_of(&mut reader, plan, (from, size))?;
        let (mut reader, head, checkpoint) = head_at(self, reader, to)?;
        let former = plan.after.as_ref().and_then(|after| after.digest);
        let start = SegmentStart {
            format: SEGMENT.to_owned(),
            log_id,
            from,
            to,
            root: head.root,
            recorded_at_us: head.recorded_at_us,
            head_mac: head.mac,
            former: former.map(Hex32),
            checkpoint,
            stored_us: head.recorded_at_us,
        };
        Ok(written(&mut reader, plan, &start)?)
    }
}

/// Where the segment ends: after as many events as it may have.
fn end_of(
    reader: &mut Reader,
    plan: &SegmentPlan,
    (from, size): (u64, u64),
) -> Result<u64, ReadError> {
    let most = from.saturating_add(plan.max_events.max(1)).min(size);
    let (mut to, mut bytes) = (from, 0_u64);
    while to < most && (to == from || bytes < plan.max_bytes) {
        let len = reader.raw(to, |_, raw| Ok(raw.entry.len() + raw.envelope.len()))? as u64;
        bytes = bytes.saturating_add(len.div_ceil(3) * 4 + LINE_BYTES);
        to += 1;
    }
    Ok(to)
}

fn written(
    reader: &mut Reader,
    plan: &SegmentPlan,
    start: &SegmentStart,
) -> Result<Option<Segment>, ReadError> {
    let unwritable = |error: serde_json::Error| {
        Corruption::table("chunks", "events that can be written", error.to_string())
    };
    let mut bytes = Vec::new();
    put(start, &mut bytes).map_err(unwritable)?;
    // What was requested later is not told in this segment.
    let now = reader.identity.history();
    let then = History::before(&now, start.to);
    let (mut erased, mut withheld) = (0, 0);
    for position in start.from..start.to {
        let line = reader.raw(position, |reader, raw| {
            let entry = reader.checked_entry(raw)?;
            event_line(&start.log_id, (&then, &now), &plan.query, raw, &entry)
        })?;
        match line.absent {
            Some(Absent::Erased) => erased += 1,
            Some(Absent::Withheld) => withheld += 1,
            None => {}
        }
        put(&line, &mut bytes).map_err(unwritable)?;
    }
    let sha256 = Sha256::digest(&bytes).into();
    put(&End { sha256 }, &mut bytes).map_err(unwritable)?;
    let digest: Digest32 = Sha256::digest(&bytes).into();
    Ok(Some(Segment {
        from: start.from,
        end: super::end_of(start, digest),
        bytes,
        digest,
        erased,
        withheld,
    }))
}
