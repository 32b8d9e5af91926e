//! What a sink is to whoever writes one.

#[cfg(feature = "otlp")]
use crate::origin::Origin;
use crate::view;
use runstone_codec::Position;
use runstone_store::{CheckpointNote, Record, Segment, SegmentEnd};
use std::future::Future;
use std::pin::Pin;
use uuid::Uuid;

/// A delivery under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send + 'a>>;

/// A sink that tells what it has.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<Known, Rejection>> + Send + 'a>>;

/// A destination for events.
///
/// It has a thread of its own with a runtime, so it may block. It is made anew after each failure but
/// a refusal, and when it panicked: what it must know it finds at its destination ([`last`](Self::last)).
///
/// # Cancel safety
///
/// A delivery that takes longer than the sink has is dropped, and what was given comes again.
pub trait Sink: Send {
    /// Takes events. `Ok` says that all of them are kept, whatever becomes of this process next.
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a>;

    /// The last position that the destination has. A sink that tells it gets each event exactly once;
    /// else it may get one again after a failure or a crash, marked as a duplicate.
    fn last(&mut self) -> Telling<'_> {
        Box::pin(std::future::ready(Ok(Known::Untold)))
    }
}

/// What a destination has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known {
    /// It cannot tell.
    Untold,
    /// It has nothing yet.
    Nothing,
    /// It has everything up to this position that it was to get.
    Last(Position),
    /// The same, and the id of that event: what is of another log or another past is found by it.
    LastEvent(Position, Uuid),
    /// It has the log itself up to here, in parts.
    Parts(SegmentEnd),
}

/// Why a sink did not take what it was given. The words must not quote content or secrets: they stand
/// in files that are not encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Not now: no connection, no answer, no room, too many requests. It is tried again for ever.
    #[error("{0}")]
    Unavailable(String),
    /// The credentials were refused. It is tried again in five minutes, and given up after five times.
    #[error("{0}")]
    Unauthorised(String),
    /// Nothing of it was taken, because of what it is. Event by event it is tried again a few times,
    /// and then parked.
    #[error("{0}")]
    Refused(String),
    /// It can never be taken before somebody changes something. The sink stops.
    #[error("{0}")]
    Unusable(String),
}

impl Rejection {
    /// Not now.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::Unavailable(why.to_string())
    }

    /// Never, until somebody changes something.
    pub fn unusable(why: impl std::fmt::Display) -> Self {
        Self::Unusable(why.to_string())
    }
}

/// Events for a sink, in the order of their positions.
#[derive(Debug, Clone)]
pub struct Batch {
    events: Vec<Event>,
    part: Option<Part>,
}

/// A part of the log itself.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Segment(Segment),
    Checkpoint(CheckpointNote),
}

impl Part {
    /// Up to where it goes.
    pub(crate) fn end(&self) -> SegmentEnd {
        match self {
            Self::Segment(segment) => segment.end,
            Self::Checkpoint(checkpoint) => checkpoint.end,
        }
    }
}

impl Batch {
    pub(crate) fn new(events: Vec<Event>) -> Self {
        Self { events, part: None }
    }

    /// A part of the log, for a sink that takes those instead of events.
    pub(crate) fn of_part(part: Part) -> Self {
        Self {
            events: Vec::new(),
            part: Some(part),
        }
    }

    pub(crate) fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    /// Leaves out what the destination has.
    pub(crate) fn keep_after(&mut self, last: Position) {
        self.events.retain(|event| event.position() > last);
    }

    /// Says of what stands before this position that the destination may have it.
    pub(crate) fn doubt_before(&mut self, position: u64) {
        for event in &mut self.events {
            event.is_duplicate |= event.position().get() < position;
        }
    }

    /// Says that the destination has nothing of it: it was asked.
    pub(crate) fn trust(&mut self) {
        for event in &mut self.events {
            event.is_duplicate = false;
        }
    }

    /// The events; never none.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Position of the last one.
    pub fn last(&self) -> Option<Position> {
        self.events.last().map(Event::position)
    }
}

/// An event, as far as the sink may see it.
#[derive(Debug, Clone)]
pub struct Event {
    record: Record,
    is_duplicate: bool,
    #[cfg(feature = "otlp")]
    origin: Option<Box<Origin>>,
}

impl Event {
    /// An event with the members of its content that are named.
    pub(crate) fn new(mut record: Record, fields: &[String]) -> Self {
        record.payload = view::scoped(record.payload, fields);
        Self {
            record,
            is_duplicate: false,
            #[cfg(feature = "otlp")]
            origin: None,
        }
    }

    /// Says where it stands.
    #[cfg(feature = "otlp")]
    pub(crate) fn stand(mut self, origin: Origin) -> Self {
        self.origin = Some(Box::new(origin));
        self
    }

    /// Where it stands among the events of its run, if that was asked for.
    #[cfg(feature = "otlp")]
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// Its place in the log: with the log's id, what tells it apart from every other.
    pub fn position(&self) -> Position {
        self.record.position
    }

    /// The event. Of its content there is what the configuration names.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the destination may have it already.
    pub fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// The event as one line of JSON with its line break, as `runstone log --json` writes it.
    pub fn line(&self) -> Vec<u8> {
        view::line(&self.record, self.is_duplicate)
    }

    /// How many bytes it takes, about.
    pub(crate) fn weight(&self) -> usize {
        let of = |record: &Record| 512 + record.payload.bytes().map_or(0, <[u8]>::len);
        of(&self.record).saturating_add(self.began().map_or(0, of))
    }

    /// What began what it ends, if the sink is told that.
    #[cfg(feature = "otlp")]
    fn began(&self) -> Option<&Record> {
        self.origin()?.began.as_ref()
    }

    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unused_self, reason = "what a feature adds is its own")]
    fn began(&self) -> Option<&Record> {
        None
    }
}
