//! What waits in the queue for the writer.

use super::decide::DecideContext;
use super::ticket::Ticket;
use crate::append::{Append, Expected};
use crate::error::AppendError;
use crate::fold::Payload;
use crate::options::Durability;
use crate::read::Sought;
use runstone_codec::{Control, Header, Sealed};
use std::any::Any;
use std::sync::Arc;

/// An event with everything but what the writer assigns.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) header: Header,
    pub(crate) sealed: Sealed,
    pub(crate) control: Control,
    /// The caller gave the id, so it may be known already.
    pub(crate) given_id: bool,
    /// The caller named the scope; otherwise it is a guess that the writer may refuse.
    pub(crate) named_scope: bool,
    /// The content, as it will be read; `None` where nobody waits for it.
    pub(crate) seen: Option<Payload>,
}

impl Prepared {
    /// Bytes to be written.
    pub(crate) fn bytes(&self) -> u64 {
        (self.sealed.header.len() + self.sealed.envelope.len() + 256) as u64
    }

    /// Bytes in memory.
    fn weight(&self) -> u64 {
        let seen = self.seen.as_ref().and_then(Payload::bytes);
        self.bytes() + seen.map_or(0, <[u8]>::len) as u64
    }
}

/// The events that a command chose to record, and what it answers.
#[non_exhaustive]
pub struct Decision<A> {
    /// Which candidates are recorded, in order, and the control fields added to each.
    pub record: Vec<(usize, Control)>,
    /// What the caller is told.
    pub answer: A,
}

impl<A: std::fmt::Debug> std::fmt::Debug for Decision<A> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Decision")
            .field("record", &self.record)
            .field("answer", &self.answer)
            .finish()
    }
}

impl<A> Decision<A> {
    /// Records nothing.
    pub fn nothing(answer: A) -> Self {
        Self {
            record: Vec::new(),
            answer,
        }
    }

    /// Records one candidate with these control fields.
    pub fn record(candidate: usize, control: Control, answer: A) -> Self {
        Self {
            record: vec![(candidate, control)],
            answer,
        }
    }

    /// Also records another candidate.
    #[must_use]
    pub fn and(mut self, candidate: usize, control: Control) -> Self {
        self.record.push((candidate, control));
        self
    }
}

/// An answer whose type only the caller knows.
pub(crate) type AnyAnswer = Box<dyn Any + Send>;
/// A decider with its types erased.
pub(crate) type Decider =
    Box<dyn FnMut(&mut DecideContext<'_>) -> Result<Decision<AnyAnswer>, AppendError> + Send>;

/// What kind of request it is.
pub(crate) enum Work {
    /// All events or none.
    Append,
    /// Events that are not known yet; known ones are left.
    Import,
    /// Whatever the decider chooses.
    Command(Decider),
    /// Nothing but durability of what was buffered.
    Sync,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Append => "Append",
            Self::Import => "Import",
            Self::Command(_) => "Command",
            Self::Sync => "Sync",
        })
    }
}

/// What became of a request.
pub(crate) enum Outcome {
    /// The events stand from `first` on. The caller, who made them, drops them too: the writer has
    /// no time for that.
    Recorded { first: u64, events: Vec<Prepared> },
    /// Every id is known, at these positions; the caller compares.
    Known { positions: Vec<u64> },
    /// Positions of the events of an import; `known` where it was there before.
    Imported { positions: Vec<(u64, bool)> },
    /// What the decider answered; the events stand at `positions`.
    Decided {
        answer: AnyAnswer,
        positions: Vec<u64>,
    },
    /// Everything before is durable.
    Synced,
    /// A key or scope changed since the events were sealed: seal them again.
    Reseal(Box<Request>),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recorded { first, events } => out
                .debug_struct("Recorded")
                .field("first", first)
                .field("events", &events.len())
                .finish(),
            Self::Known { positions } => write!(out, "Known({positions:?})"),
            Self::Imported { positions } => write!(out, "Imported({positions:?})"),
            Self::Decided { positions, .. } => write!(out, "Decided({positions:?})"),
            Self::Synced => out.write_str("Synced"),
            Self::Reseal(_) => out.write_str("Reseal"),
        }
    }
}

pub(crate) type Answer = Result<Outcome, AppendError>;

/// What must hold when an append is recorded. Made before it is sent, and dropped after it is
/// answered, by whoever appends: the writer has no time for either.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) expected: Vec<(String, Expected)>,
    pub(crate) conditions: Vec<Sought>,
}

impl Guards {
    /// Those of an append; `None` if it has none.
    pub(crate) fn of(append: &Append) -> Option<Arc<Self>> {
        let is_guarded = !append.expected.is_empty() || !append.conditions.is_empty();
        is_guarded.then(|| {
            Arc::new(Self {
                expected: append.expected.clone(),
                conditions: append.conditions.iter().map(Sought::from).collect(),
            })
        })
    }
}

/// One request, whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) events: Vec<Prepared>,
    pub(crate) guards: Option<Arc<Guards>>,
    pub(crate) durability: Durability,
    pub(crate) ticket: Arc<Ticket<Answer>>,
}

impl Request {
    pub(crate) fn new(work: Work, events: Vec<Prepared>, durability: Durability) -> Self {
        Self {
            work,
            events,
            guards: None,
            durability,
            ticket: Ticket::new(),
        }
    }

    /// Bytes to be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.events.iter().map(Prepared::bytes).sum()
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> u64 {
        self.events.iter().map(Prepared::weight).sum()
    }
}
