//! Durable events one after the other, as all who follow share them.
//!
//! ```text
//!  who records --> packed --+--> copied into a page for another process
//!                           +--> opened once for all of this process
//!  the file ----> opened ---+--> packed for each page
//! ```

use super::packed::{Place, read_record, write_open};
use super::recent;
use super::records::Record;
use crate::error::{Corruption, ReadError};
use minicbor::{Decoder, Encoder};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// An event that others have too, or what is wrong with it.
pub(crate) type Item = Result<Arc<Record>, ReadError>;

/// Most events of a stretch that is packed while they are recorded: what is let go at once.
const EVENTS: usize = 256;
/// Bytes after which it ends.
const BYTES: usize = 256 << 10;

/// Durable events one after the other.
pub(crate) struct Stretch {
    /// The position of the first one.
    first: u64,
    form: Form,
}

enum Form {
    Packed {
        bytes: Vec<u8>,
        /// Where each event ends.
        ends: Vec<usize>,
        opened: OnceLock<Vec<Item>>,
    },
    Opened(Vec<Item>),
}

/// Content is not told.
impl std::fmt::Debug for Stretch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let form = match &self.form {
            Form::Packed { .. } => "packed",
            Form::Opened(_) => "opened",
        };
        write!(out, "{form} {}..{}", self.first, self.end())
    }
}

/// Bytes of its content.
pub(super) fn content_of(item: &Item) -> usize {
    let record = item.as_ref().ok();
    let bytes = record.and_then(|record| record.payload.bytes());
    bytes.map_or(0, <[u8]>::len)
}

/// What was packed here, opened again.
fn unpack(bytes: &[u8], position: u64) -> Item {
    match read_record(&mut Decoder::new(bytes)) {
        Ok(record) => record.map(Arc::new),
        Err(error) => {
            Err(Corruption::at(position, "an event that was packed", error.to_string()).into())
        }
    }
}

impl Stretch {
    /// Those that were opened, without gaps between them.
    pub(super) fn of(records: Vec<Arc<Record>>) -> Self {
        let first = records.first().map_or(0, |first| first.position.get());
        Self {
            first,
            form: Form::Opened(records.into_iter().map(Ok).collect()),
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The position after the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        match &self.form {
            Form::Packed { ends, .. } => ends.len(),
            Form::Opened(items) => items.len(),
        }
    }

    /// Bytes of some of them: all of it where they are packed, else the content.
    pub(super) fn bytes(&self, some: Range<usize>) -> usize {
        match &self.form {
            Form::Packed { ends, .. } => {
                let packed = packed(ends, some);
                packed.end - packed.start
            }
            Form::Opened(items) => items.get(some).into_iter().flatten().map(content_of).sum(),
        }
    }

    fn items(&self) -> &[Item] {
        match &self.form {
            Form::Opened(items) => items,
            Form::Packed {
                bytes,
                ends,
                opened,
            } => opened.get_or_init(|| {
                let unpacked = |(at, position)| {
                    let packed = packed(ends, at..at + 1);
                    unpack(bytes.get(packed).unwrap_or_default(), position)
                };
                (0..ends.len()).zip(self.first..).map(unpacked).collect()
            }),
        }
    }
}

/// Where some of them are.
fn packed(ends: &[usize], some: Range<usize>) -> Range<usize> {
    let end_of = |events: usize| events.checked_sub(1).and_then(|last| ends.get(last));
    end_of(some.start).copied().unwrap_or(0)..end_of(some.end).copied().unwrap_or(0)
}

/// Some of a stretch.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    of: Arc<Stretch>,
    some: Range<usize>,
}

impl Slice {
    /// All of it.
    pub(super) fn all(of: Arc<Stretch>) -> Self {
        let some = 0..of.len();
        Self { of, some }
    }

    /// Those from a position to another one, both inclusive, and at most so many.
    pub(super) fn within(of: &Arc<Stretch>, (from, to): (u64, u64), most: usize) -> Option<Self> {
        let place = |position: u64| usize::try_from(position.saturating_sub(of.first));
        let start = place(from).ok()?;
        let end = place(to.saturating_add(1)).map_or(of.len(), |end| end.min(of.len()));
        let end = end.min(start.saturating_add(most));
        let some = start..end;
        (start < end).then(|| Self {
            of: Arc::clone(of),
            some,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.some.len()
    }

    /// The position after the last one.
    pub(crate) fn end(&self) -> u64 {
        self.of.first + self.some.end as u64
    }

    /// Bytes, as of the whole.
    pub(crate) fn bytes(&self) -> usize {
        self.of.bytes(self.some.clone())
    }

    /// The events; where they are packed, they are opened for all.
    pub(crate) fn items(&self) -> &[Item] {
        self.of.items().get(self.some.clone()).unwrap_or_default()
    }

    /// Whether somebody has opened them.
    pub(super) fn is_opened(&self) -> bool {
        match &self.of.form {
            Form::Packed { opened, .. } => opened.get().is_some(),
            Form::Opened(_) => true,
        }
    }

    /// Their bytes, if they are packed.
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match &self.of.form {
            Form::Packed { bytes, ends, .. } => bytes.get(packed(ends, self.some.clone())),
            Form::Opened(_) => None,
        }
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let first = self.items().first().cloned()?;
        self.some.start += 1;
        Some(first)
    }

    /// Takes the first ones out: at least one, at most so many, and no more once they have so many bytes.
    pub(super) fn split(&mut self, most: usize, bytes: usize) -> Self {
        let mut taken = self.clone();
        taken.some.end = taken.some.end.min(taken.some.start + most.max(1));
        if taken.bytes() > bytes {
            let mut left = bytes;
            let ends_here = |at: &usize| {
                left = left.saturating_sub(self.of.bytes(*at..at + 1));
                left == 0
            };
            let last = taken.some.clone().find(ends_here);
            taken.some.end = last.map_or(taken.some.end, |last| last + 1);
        }
        self.some.start = taken.some.end;
        taken
    }
}

/// Packs events while they are recorded, and lets go of the oldest of those that would not be kept.
pub(crate) struct Packing {
    done: VecDeque<Arc<Stretch>>,
    /// Those of `done`.
    done_events: usize,
    done_bytes: usize,
    first: u64,
    /// Nothing is set aside before there is an event.
    room: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packing {
    /// For about so many bytes.
    pub(crate) fn with_room(bytes: u64) -> Self {
        Self {
            done: VecDeque::new(),
            done_events: 0,
            done_bytes: 0,
            first: 0,
            room: usize::try_from(bytes).map_or(BYTES, |bytes| bytes.min(BYTES)),
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Takes the event at a place, of header and control as docs/FORMAT.md encodes them.
    pub(crate) fn push(&mut self, place: Place, parts: (&[u8], &[u8]), content: &[u8]) {
        let is_next = place.0 == self.first + self.ends.len() as u64;
        if self.ends.is_empty()
            || !is_next
            || self.ends.len() >= EVENTS
            || self.bytes.len() >= BYTES
        {
            self.end();
            self.first = place.0;
            self.bytes.reserve(self.room);
        }
        let mut out = Encoder::new(std::mem::take(&mut self.bytes));
        // A vector takes everything.
        let _ = write_open(&mut out, place, parts, content);
        self.bytes = out.into_writer();
        self.ends.push(self.bytes.len());
    }

    /// The stretch ends here.
    fn end(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        self.done_events += self.ends.len();
        self.done_bytes += bytes.len();
        let form = Form::Packed {
            bytes,
            ends: std::mem::take(&mut self.ends),
            opened: OnceLock::new(),
        };
        let first = self.first;
        self.done.push_back(Arc::new(Stretch { first, form }));
        while (self.done_events > recent::EVENTS || self.done_bytes > recent::BYTES)
            && let Some(oldest) = self.done.pop_front()
        {
            self.done_events -= oldest.len();
            self.done_bytes -= oldest.bytes(0..oldest.len());
        }
    }

    /// The newest of them, in order.
    pub(crate) fn finish(mut self) -> Vec<Arc<Stretch>> {
        self.end();
        self.done.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, Log, OpenOptions};
    use runstone_codec::{ControlValue, NewEvent, Position};

    fn record(content: &str) -> Record {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let event = NewEvent::new("a.b", "s").tag("k:v").payload(content);
        let mut record = log
            .record(log.append_blocking(event).unwrap().last)
            .unwrap();
        record.control.insert(7, ControlValue::U64(u64::MAX));
        record
    }

    fn at(position: u64, record: &Record) -> Record {
        Record {
            position: Position::new(position),
            ..record.clone()
        }
    }

    fn push(packing: &mut Packing, record: &Record) {
        let (header, control) = record.parts().unwrap();
        let content = record.payload.bytes().unwrap();
        packing.push(record.place(), (&header, &control), content);
    }

    fn pack(records: &[Record]) -> Vec<Arc<Stretch>> {
        let mut packing = Packing::with_room(1 << 20);
        for record in records {
            push(&mut packing, record);
        }
        packing.finish()
    }

    #[test]
    fn what_is_packed_is_opened_as_it_was() {
        let record = record("{ \"n\": [1, 2] }");
        let records: Vec<_> = (5..9).map(|position| at(position, &record)).collect();
        let stretches = pack(&records);
        assert_eq!(stretches.len(), 1);
        let all = Slice::all(Arc::clone(&stretches[0]));
        let opened: Vec<_> = all.items().iter().flatten().collect();
        assert_eq!(format!("{opened:?}"), format!("{records:?}"));
        // What is opened and what is packed is cut alike.
        let of_opened = Arc::new(Stretch::of(opened.into_iter().cloned().collect()));
        for range in [(0, 99), (5, 8), (6, 7), (8, 8), (4, 4), (9, 99)] {
            for most in [1, 3, 9] {
                let places = |of: &Arc<Stretch>| {
                    let slice = Slice::within(of, range, most);
                    slice.map(|slice| (slice.some.clone(), slice.end()))
                };
                assert_eq!(places(&stretches[0]), places(&of_opened));
            }
        }
    }

    #[test]
    fn a_stretch_ends_at_a_gap_and_where_it_is_long() {
        let small = record("1");
        let positions = (0..EVENTS as u64 + 3).chain([1000, 1001]);
        let ends = |stretches: &[Arc<Stretch>]| -> Vec<_> {
            let ends = stretches.iter().map(|one| (one.first(), one.end()));
            ends.collect()
        };
        let records: Vec<_> = positions.map(|position| at(position, &small)).collect();
        let end = EVENTS as u64;
        assert_eq!(
            ends(&pack(&records)),
            [(0, end), (end, end + 3), (1000, 1002)]
        );
        let large = record(&format!("\"{}\"", "x".repeat(BYTES / 2)));
        let records: Vec<_> = (0..3).map(|position| at(position, &large)).collect();
        assert_eq!(ends(&pack(&records)), [(0, 2), (2, 3)]);
        assert!(pack(&[]).is_empty());
    }

    #[test]
    fn a_slice_gives_each_event_once() {
        let record = record("\"some content\"");
        let records: Vec<_> = (0..20).map(|position| at(position, &record)).collect();
        let opened = records.iter().cloned().map(Arc::new).collect();
        for of in [
            Arc::clone(&pack(&records)[0]),
            Arc::new(Stretch::of(opened)),
        ] {
            let one = of.bytes(0..1);
            let mut slice = Slice::all(of);
            // As many as asked for, then as many as have so many bytes, but at least one.
            let mut taken = Vec::new();
            for (most, bytes) in [
                (3, usize::MAX),
                (9, 2 * one),
                (9, 2 * one + 1),
                (9, 0),
                (0, 9),
            ] {
                let part = slice.split(most, bytes);
                taken.push(part.len());
                assert_eq!(part.end(), slice.end() - slice.len() as u64);
            }
            assert_eq!(taken, [3, 2, 3, 1, 1]);
            let next = slice.pop().unwrap().unwrap();
            assert_eq!(next.position.get(), 10);
            assert_eq!(slice.split(99, usize::MAX).len(), 9);
            assert!(slice.pop().is_none() && slice.len() == 0);
        }
    }
}
