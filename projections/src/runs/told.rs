//! Which events tell how a run stands: after forks and rollbacks not all of one stream.
//!
//! ```text
//!  parent  0 1 2 3 4 5          run.forked {parent, at: 4}
//!                  |
//!  run             '- 7 8 9 10 11 12      run.rolled_back {to: 8} at 11
//!
//!  told as of 12:  parent 0..=4, run 7..=8, run 11..=12
//! ```
//!
//! Positions are those of the log, so parts follow each other and never meet. What a run spent, called
//! and was approved is none of this: that happened, whatever tells how the run stands.

use crate::events::{RunForked, RunResumed, RunRolledBack, RunStarted, control};
use crate::seen::is_imported;
use runstone_codec::{Position, TypedEvent};
use runstone_store::{Item, Log, Query, Read, ReadError, Record};

/// A stretch of one stream, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// The stream.
    pub stream: String,
    /// First position.
    pub from: u64,
    /// Last position.
    pub to: u64,
    /// Where the run of the stream began to live here: what was imported after that tells nothing.
    live_since: Option<Position>,
}

/// The events that tell how a run stands as of a point, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    parts: Vec<Part>,
}

impl Told {
    /// What tells of the run of a stream as of a position; `None`: as of now.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn of(log: &Log, stream: &str, at: Option<Position>) -> Result<Self, ReadError> {
        let (mut stream, mut parts) = (stream.to_owned(), Vec::new());
        let mut since = live_since(log, &stream)?;
        let mut part = |stream: &str, from, to, live_since| {
            let stream = stream.to_owned();
            parts.push(Part {
                stream,
                from,
                to,
                live_since,
            });
        };
        // Each turn ends at an earlier position than the one before.
        let mut end = at.map_or(u64::MAX, Position::get);
        loop {
            if let Some((back, to)) = rolled_back(log, &stream, end)? {
                part(&stream, back, end, since);
                end = to;
            } else if let Some(fork) = fork_of(log, &stream)? {
                if end >= fork.position {
                    part(&stream, fork.position, end, since);
                }
                end = end.min(fork.at);
                stream = fork.parent;
                since = live_since(log, &stream)?;
            } else {
                part(&stream, 0, end, since);
                break;
            }
        }
        parts.reverse();
        Ok(Self { parts })
    }

    /// The stretches, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether what stands at a position tells of the run, if it is of a stream of its.
    pub(crate) fn has(&self, position: u64) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| (part.from..=part.to).contains(&position))
    }

    /// The first stretch, which begins where its stream does, and its last position that the log has.
    pub fn begins(&self, log: &Log) -> Option<(&Part, Position)> {
        let first = self.parts.first().filter(|part| part.from == 0)?;
        let last = log.size().checked_sub(1)?;
        Some((first, Position::new(first.to.min(last))))
    }

    /// Events that match, oldest first. Whatever stream the item names, those of the run are meant.
    pub fn read<'a>(
        &'a self,
        log: &'a Log,
        item: &'a Item,
    ) -> impl Iterator<Item = Result<Record, ReadError>> + 'a {
        self.read_from(log, item, (0, true))
    }

    /// Events that match, from a position on, oldest first; and whether with their content.
    pub fn read_from<'a>(
        &'a self,
        log: &'a Log,
        item: &'a Item,
        (from, payloads): (u64, bool),
    ) -> impl Iterator<Item = Result<Record, ReadError>> + 'a {
        let parts = self.parts.iter().filter(move |part| part.to >= from);
        parts.flat_map(move |part| part.read(log, item, (from, payloads, false)))
    }

    /// Events that match, newest first, without their content.
    pub fn newest<'a>(
        &'a self,
        log: &'a Log,
        item: &'a Item,
    ) -> impl Iterator<Item = Result<Record, ReadError>> + 'a {
        let parts = self.parts.iter().rev();
        parts.flat_map(move |part| part.read(log, item, (0, false, true)))
    }
}

impl Part {
    fn read<'a>(
        &'a self,
        log: &Log,
        item: &Item,
        (from, payloads, reverse): (u64, bool, bool),
    ) -> impl Iterator<Item = Result<Record, ReadError>> + use<'a> {
        let query = Query::from(item.clone().stream(self.stream.as_str()));
        let mut read = Read::new(query).from(from.max(self.from)).to(self.to);
        read.payloads = payloads;
        read.reverse = reverse;
        let (found, failed) = match log.read(read) {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(Err(error))),
        };
        let found = found.into_iter().flatten();
        let told = found.filter(|found| found.as_ref().map_or(true, |record| self.tells(record)));
        told.chain(failed)
    }

    /// Whether an event of the stream within this stretch tells of the run.
    pub fn tells(&self, record: &Record) -> bool {
        !is_imported(&record.header) || self.live_since.is_none_or(|since| record.position < since)
    }
}

/// Where the run of a stream began to live here: its first beginning or resumption that was not
/// recorded elsewhere. What is imported into the stream after that says nothing of it.
fn live_since(log: &Log, stream: &str) -> Result<Option<Position>, ReadError> {
    let item = Item::new()
        .stream(stream)
        .of_type(RunStarted::TYPE)
        .of_type(RunForked::TYPE)
        .of_type(RunResumed::TYPE);
    let read = Read::new(Query::from(item)).without_payloads();
    // Nearly always the first one is it, and what follows in the index is not looked for.
    let mut next = Some(0);
    while let Some(from) = next.take() {
        for record in log.read(read.clone().from(from).limit(1))? {
            let record = record?;
            if !is_imported(&record.header) {
                return Ok(Some(record.position));
            }
            next = Some(record.position.get().saturating_add(1));
        }
    }
    Ok(None)
}

/// Where a run was forked, and from what.
pub(crate) struct ForkOf {
    /// Where that is recorded.
    pub(crate) position: u64,
    pub(crate) parent: String,
    pub(crate) at: u64,
}

/// The newest rollback of a stream up to a position, and to where.
fn rolled_back(log: &Log, stream: &str, end: u64) -> Result<Option<(u64, u64)>, ReadError> {
    let item = Item::new().stream(stream).of_type(RunRolledBack::TYPE);
    let read = Read::new(Query::from(item)).to(end).reverse();
    for record in log.read(read.without_payloads())? {
        let record = record?;
        let position = record.position.get();
        let to = record.control.get_u64(control::BACK_TO);
        let to = to.filter(|to| *to < position && !is_imported(&record.header));
        if let Some(to) = to {
            return Ok(Some((position, to)));
        }
    }
    Ok(None)
}

/// What a stream was forked from, if it was: its first event says so.
pub(crate) fn fork_of(log: &Log, stream: &str) -> Result<Option<ForkOf>, ReadError> {
    let first = |query| Read::new(query).limit(1).without_payloads();
    let found = log.read(first(Query::stream(stream)))?.next().transpose();
    if let Err(Some(damaged)) = found.as_ref().map_err(ReadError::position) {
        // The index has what it is; of what a damaged one was forked nobody can say.
        let fork = Item::new().stream(stream).of_type(RunForked::TYPE);
        let fork = first(Query::from(fork)).to(damaged);
        return log.read(fork)?.next().transpose().map(|_| None);
    }
    let Some(record) = found? else {
        return Ok(None);
    };
    let (facts, position) = (&record.control, record.position.get());
    let parent = facts.get_text(control::FORK_OF);
    let at = facts.get_u64(control::FORK_AT).filter(|at| *at < position);
    let is_fork = record.header.event_type == RunForked::TYPE && !is_imported(&record.header);
    Ok(parent
        .zip(at)
        .filter(|_| is_fork)
        .map(|(parent, at)| ForkOf {
            position,
            parent: parent.to_owned(),
            at,
        }))
}

/// The runs that a run goes on from, the nearest first, each with the last position that is shared.
pub(crate) fn ancestors(log: &Log, stream: &str) -> Result<Vec<(String, u64)>, ReadError> {
    let (mut stream, mut found, mut end) = (stream.to_owned(), Vec::new(), u64::MAX);
    while let Some(fork) = fork_of(log, &stream)? {
        end = end.min(fork.at);
        found.push((fork.parent.clone(), end));
        stream = fork.parent;
    }
    Ok(found)
}
