//! Ranges of events.

use crate::error::{Corruption, ReadError};
use crate::fold::Payload;
use crate::holder::There;
use crate::log::Held;
use crate::query::Query;
use crate::read::packed::Place;
use crate::read::pages::Pages;
use crate::read::reader::Reader;
use crate::read::select::{Candidates, positions};
use crate::read::stretch::{Item, Slice, content_of};
use runstone_codec::{Control, Header, Position, Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events fetched under one snapshot. A pinned snapshot makes the file grow, so a long read takes
/// a fresh one for each batch.
const BATCH: usize = 512;
/// The same where all events are read: as many as stay in the processor's first caches until they are
/// given out. There the next batch is found at once; else the index is asked again.
const BATCH_OF_ALL: usize = 64;
/// Payload bytes after which a batch ends early.
const BATCH_BYTES: usize = 4 << 20;

/// An event as the log holds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Place in the log, from 0.
    pub position: Position,
    /// Place in the stream, from 0.
    pub revision: Revision,
    /// The log's clock, microseconds since the epoch: a claim, never decreasing.
    pub recorded_at_us: u64,
    /// Everything that is never erased.
    pub header: Header,
    /// Fields written by commands; empty for most events.
    pub control: Control,
    /// The content.
    pub payload: Payload,
}

fn unsound(position: u64, why: &dyn std::fmt::Display) -> ReadError {
    Corruption::at(position, "an event that can be read", why.to_string()).into()
}

impl Record {
    /// Position, revision, and time of recording.
    pub(crate) fn place(&self) -> Place {
        let (position, revision) = (self.position.get(), self.revision.get());
        (position, revision, self.recorded_at_us)
    }

    /// Header and control, as docs/FORMAT.md encodes them.
    pub(crate) fn parts(&self) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        let position = self.position.get();
        let header = self.header.encode();
        let control = self.control.encode();
        Ok((
            header.map_err(|error| unsound(position, &error))?,
            control.map_err(|error| unsound(position, &error))?,
        ))
    }

    /// The event at a place, of its [`parts`](Self::parts).
    pub(crate) fn of_parts(
        (position, revision, recorded_at_us): Place,
        (header, control): (&[u8], &[u8]),
        payload: Payload,
    ) -> Result<Self, ReadError> {
        let header = Header::decode(header);
        let control = Control::decode(control);
        Ok(Self {
            position: Position::new(position),
            revision: Revision::new(revision),
            recorded_at_us,
            header: header.map_err(|error| unsound(position, &error))?,
            control: control.map_err(|error| unsound(position, &error))?,
            payload,
        })
    }
}

/// What to read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Read {
    /// Which events.
    pub query: Query,
    /// First position (inclusive).
    pub from: Option<u64>,
    /// Last position (inclusive).
    pub to: Option<u64>,
    /// Recorded at or after, microseconds since the epoch.
    pub since_us: Option<u64>,
    /// Recorded at or before, microseconds since the epoch.
    pub until_us: Option<u64>,
    /// The producer's clock at or after; a filter, not an order.
    pub occurred_since_us: Option<u64>,
    /// The producer's clock at or before; a filter, not an order.
    pub occurred_until_us: Option<u64>,
    /// At most this many events; 0 reads nothing.
    pub limit: Option<u64>,
    /// Newest first.
    pub reverse: bool,
    /// Whether content is opened; without it payloads are [`Payload::Skipped`].
    pub payloads: bool,
}

impl Default for Read {
    fn default() -> Self {
        Self::new(Query::Everything)
    }
}

impl Read {
    /// Reads what matches `query`, oldest first.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            from: None,
            to: None,
            since_us: None,
            until_us: None,
            occurred_since_us: None,
            occurred_until_us: None,
            limit: None,
            reverse: false,
            payloads: true,
        }
    }

    /// From this position on (inclusive).
    #[must_use]
    pub fn from(mut self, position: impl Into<u64>) -> Self {
        self.from = Some(position.into());
        self
    }

    /// Up to this position (inclusive).
    #[must_use]
    pub fn to(mut self, position: impl Into<u64>) -> Self {
        self.to = Some(position.into());
        self
    }

    /// At most this many events.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Newest first.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Headers and control only.
    #[must_use]
    pub fn without_payloads(mut self) -> Self {
        self.payloads = false;
        self
    }

    fn matches(&self, record: &Record) -> bool {
        let occurred = record.header.occurred_at_us;
        self.query.matches(&record.header)
            && self
                .occurred_since_us
                .is_none_or(|since| occurred.is_some_and(|at| at >= since))
            && self
                .occurred_until_us
                .is_none_or(|until| occurred.is_some_and(|at| at <= until))
    }
}

/// Events, one after the other. An item that is an error does not end the rest: a damaged event
/// is named and the next one follows. The range is fixed when the read begins; of it, buffered
/// events that a failed commit took back are not read.
pub struct Records {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Here(Found),
    There(Pages),
}

impl std::fmt::Debug for Records {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(out)
    }
}

impl Records {
    pub(crate) fn new(shared: Arc<Held>, read: Read, visible: u64) -> Result<Self, ReadError> {
        Ok(Self {
            source: Source::Here(Found::new(shared, read, visible)?),
        })
    }

    /// Of a log that is followed, oldest first: what others who follow it have opened is not opened again.
    pub(crate) fn followed(shared: Arc<Held>, read: Read, durable: u64) -> Result<Self, ReadError> {
        let mut found = Found::new(shared, read, durable)?;
        found.followed = Some(durable);
        Ok(Self {
            source: Source::Here(found),
        })
    }

    pub(crate) fn there(there: Arc<There>, read: Read) -> Result<Self, ReadError> {
        Ok(Self {
            source: Source::There(Pages::begin(there, read)?),
        })
    }
}

impl Records {
    /// The next events, as others have them too if they do: at most so many, and no more once they have so
    /// many bytes.
    pub(crate) fn next_part(&mut self, most: usize, bytes: usize) -> Option<Part> {
        let shared = match &mut self.source {
            Source::Here(found) => found.next_slice(most, bytes),
            Source::There(_) => None,
        };
        let own = || Some(Part::One(self.next()?.map(Arc::new)));
        shared.map(Part::Shared).or_else(own)
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Here(found) => found.next(),
            Source::There(pages) => pages.next(),
        }
    }
}

/// An event alone, or some that others have too.
#[derive(Debug)]
pub(crate) enum Part {
    One(Item),
    Shared(Slice),
}

impl Part {
    pub(crate) fn items(&self) -> &[Item] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Shared(slice) => slice.items(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Shared(slice) => slice.len(),
        }
    }

    /// Bytes of content, and of headers where they are packed.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::One(item) => content_of(item),
            Self::Shared(slice) => slice.bytes(),
        }
    }

    /// The position of the last one, if it has one.
    pub(crate) fn last(&self) -> Option<u64> {
        match self {
            Self::One(Ok(record)) => Some(record.position.get()),
            Self::One(Err(error)) => error.position(),
            Self::Shared(slice) => Some(slice.end() - 1),
        }
    }
}

/// What a read finds in the file.
struct Found {
    shared: Arc<Held>,
    read: Read,
    candidates: Candidates,
    /// Every candidate matches.
    exact: bool,
    /// Positions still to look at, both inclusive; `None` when done.
    range: Option<(u64, u64)>,
    left: u64,
    /// How many durable events there were, where the newest are looked for among those that are kept.
    followed: Option<u64>,
    /// Those that others have too; then there is no batch.
    shared_batch: VecDeque<Slice>,
    batch: VecDeque<Result<Record, ReadError>>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Records")
            .field("read", &self.read)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Found {
    fn new(shared: Arc<Held>, read: Read, visible: u64) -> Result<Self, ReadError> {
        let candidates = Candidates::of(&read.query);
        let mut range = visible.checked_sub(1).map(|last| {
            let to = read.to.map_or(last, |to| to.min(last));
            (read.from.unwrap_or(0), to)
        });
        if let (Some((from, to)), true) =
            (range, read.since_us.is_some() || read.until_us.is_some())
        {
            let mut reader = shared.reader()?;
            let since = read
                .since_us
                .map_or(Ok(0), |since| first_at_or_after(&mut reader, since))?;
            let until = match read.until_us {
                None => Some(to),
                Some(until) => {
                    first_at_or_after(&mut reader, until.saturating_add(1))?.checked_sub(1)
                }
            };
            range = until.map(|until| (from.max(since), to.min(until)));
        }
        Ok(Self {
            left: read.limit.unwrap_or(u64::MAX),
            shared,
            candidates,
            exact: Candidates::is_exact(&read.query)
                && read.occurred_since_us.is_none()
                && read.occurred_until_us.is_none(),
            range: range.filter(|(from, to)| from <= to),
            read,
            followed: None,
            shared_batch: VecDeque::new(),
            batch: VecDeque::new(),
        })
    }

    /// Whether every event that was fetched was given.
    fn is_spent(&self) -> bool {
        self.batch.is_empty() && self.shared_batch.is_empty()
    }

    /// Looks for more, if there is nothing left; answers whether others have what comes next, too.
    fn is_shared(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.is_spent()
            && let Err(error) = self.fill()
        {
            self.batch.push_back(Err(error));
            self.range = None;
            self.left = 1;
        }
        !self.shared_batch.is_empty()
    }

    /// The next events, if others have them, too.
    fn next_slice(&mut self, most: usize, bytes: usize) -> Option<Slice> {
        if !self.is_shared() {
            return None;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let slice = self.shared_batch.front_mut()?;
        let next = slice.split(most.min(left), bytes);
        if slice.len() == 0 {
            self.shared_batch.pop_front();
        }
        self.left -= next.len() as u64;
        Some(next)
    }

    /// The next event, if others have it, too.
    fn next_shared(&mut self) -> Option<Item> {
        if !self.is_shared() {
            return None;
        }
        let slice = self.shared_batch.front_mut()?;
        let next = slice.pop();
        if slice.len() == 0 {
            self.shared_batch.pop_front();
        }
        self.left -= 1;
        next
    }

    /// Fetches the next events under one fresh snapshot.
    fn fill(&mut self) -> Result<(), ReadError> {
        let mut reader = self.shared.reader()?;
        // What was buffered when the read began may have been taken back.
        self.range = self.range.and_then(|(from, to)| {
            let last = reader.size().checked_sub(1)?;
            Some((from, to.min(last))).filter(|(from, to)| from <= to)
        });
        while self.is_spent() {
            let Some((from, to)) = self.range else {
                return Ok(());
            };
            if let Some(durable) = self.followed
                && self.take_recent(&mut reader, (from, to), durable)
            {
                continue;
            }
            // Candidates that may turn out not to match are fetched by the batch.
            let enough = if self.exact { self.left } else { u64::MAX };
            let batch = match &self.candidates {
                Candidates::All => BATCH_OF_ALL,
                Candidates::Indexed(_) => BATCH,
            };
            let wanted = usize::try_from(enough).map_or(batch, |enough| enough.min(batch));
            let found = match &self.candidates {
                Candidates::All => next_positions(from, to, self.read.reverse, wanted),
                Candidates::Indexed(items) => positions(
                    &reader.published.index,
                    &reader.snapshot,
                    items,
                    (from, to),
                    self.read.reverse,
                    wanted,
                )?,
            };
            let exhausted = found.len() < wanted;
            let done = self.take(&mut reader, &found);
            let last = done.checked_sub(1).and_then(|at| found.get(at));
            self.range = match last {
                Some(last) if !exhausted || done < found.len() => {
                    after(*last, (from, to), self.read.reverse)
                }
                _ => None,
            };
        }
        Ok(())
    }

    /// Puts the newest events, as all have them, into the batch; answers whether there were any.
    fn take_recent(&mut self, reader: &mut Reader, range: (u64, u64), durable: u64) -> bool {
        let recent = &self.shared.recent;
        let is_of_all = matches!(self.candidates, Candidates::All);
        let found = if is_of_all && self.read.payloads {
            recent.or_open(range, durable, BATCH, || open_all(reader, range))
        } else if is_of_all {
            recent.range(range, BATCH)
        } else {
            // The index names them, and others are not opened for the sake of a few.
            recent.opened_range(range, BATCH)
        };
        let Some(last) = found.last() else {
            return false;
        };
        self.range = after(last.end() - 1, range, false);
        if is_of_all && self.exact && self.read.payloads {
            self.shared_batch.extend(found);
            return true;
        }
        for item in found.iter().flat_map(Slice::items) {
            match item {
                Ok(record) if !self.read.matches(record) => {}
                Ok(record) if self.read.payloads => self.batch.push_back(Ok(Record::clone(record))),
                Ok(record) => self.batch.push_back(Ok(without_payload(record))),
                Err(error) => self.batch.push_back(Err(error.clone())),
            }
        }
        true
    }

    /// Puts the events at these positions into the batch until it is large enough; answers how
    /// many were looked at.
    fn take(&mut self, reader: &mut Reader, found: &[u64]) -> usize {
        let mut bytes = 0;
        for (at, position) in found.iter().enumerate() {
            let record = reader.record(*position, self.read.payloads);
            if let Ok(record) = &record {
                if !self.read.matches(record) {
                    continue;
                }
                bytes += record.payload.bytes().map_or(0, <[u8]>::len);
            }
            self.batch.push_back(record);
            if bytes > BATCH_BYTES {
                return at + 1;
            }
        }
        found.len()
    }
}

/// An event as a read answers it that does not want its content.
fn without_payload(record: &Record) -> Record {
    Record {
        position: record.position,
        revision: record.revision,
        recorded_at_us: record.recorded_at_us,
        header: record.header.clone(),
        control: record.control.clone(),
        payload: Payload::Skipped,
    }
}

/// A batch of events whose content is there, up to the first one that reads otherwise.
fn open_all(reader: &mut Reader, (from, to): (u64, u64)) -> Vec<Record> {
    let (mut bytes, mut opened) = (0, Vec::new());
    for position in (from..=to).take(BATCH) {
        let Ok(record) = reader.record(position, true) else {
            break;
        };
        let Payload::Open(content) = &record.payload else {
            break;
        };
        bytes += content.len();
        opened.push(record);
        if bytes > BATCH_BYTES {
            break;
        }
    }
    opened
}

/// What is left of a range after `position`.
fn after(position: u64, (from, to): (u64, u64), reverse: bool) -> Option<(u64, u64)> {
    if reverse {
        position.checked_sub(1).map(|to| (from, to))
    } else {
        position.checked_add(1).map(|from| (from, to))
    }
    .filter(|(from, to)| from <= to)
}

fn next_positions(from: u64, to: u64, reverse: bool, wanted: usize) -> Vec<u64> {
    if reverse {
        (from..=to).rev().take(wanted).collect()
    } else {
        (from..=to).take(wanted).collect()
    }
}

/// The first position recorded at or after `micros`; times never decrease.
fn first_at_or_after(reader: &mut Reader, micros: u64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, reader.size());
    while low < high {
        let middle = low + (high - low) / 2;
        let recorded = reader.record(middle, false)?.recorded_at_us;
        if recorded < micros {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Iterator for Found {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(item) = self.next_shared() {
            return Some(item.map(Arc::unwrap_or_clone));
        }
        if self.left == 0 {
            return None;
        }
        let next = self.batch.front()?.as_ref();
        self.left -= 1;
        if next.is_err_and(ReadError::is_retryable) {
            // Nothing after it can be read either; the read has to be made again.
            self.batch.truncate(1);
            self.range = None;
        }
        // Records are large: nothing stands between the batch and whoever asks.
        self.batch.pop_front()
    }
}

impl Held {
    /// How many events match.
    pub(crate) fn count(self: &Arc<Self>, query: &Query) -> Result<u64, ReadError> {
        let visible = self.visible();
        match Candidates::of(query) {
            _ if matches!(query, Query::Everything) => Ok(visible),
            Candidates::Indexed(items) if Candidates::is_exact(query) => {
                self.count_indexed(&items, visible)
            }
            _ => {
                let read = Read::new(query.clone()).without_payloads();
                let mut count = 0;
                for record in Records::new(Arc::clone(self), read, visible)? {
                    record?;
                    count += 1;
                }
                Ok(count)
            }
        }
    }

    fn count_indexed(
        self: &Arc<Self>,
        items: &[crate::index::ItemTerms],
        visible: u64,
    ) -> Result<u64, ReadError> {
        const PAGE: usize = 65_536;
        let Some(last) = visible.checked_sub(1) else {
            return Ok(0);
        };
        let (mut from, mut count) = (0, 0);
        while from <= last {
            let reader = self.reader()?;
            let found = positions(
                &reader.published.index,
                &reader.snapshot,
                items,
                (from, last),
                false,
                PAGE,
            )?;
            count += found.len() as u64;
            match found.last() {
                Some(position) if found.len() == PAGE => from = position + 1,
                _ => break,
            }
        }
        Ok(count)
    }
}
