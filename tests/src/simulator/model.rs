//! What was asked of a log and what it answered, and whether what it holds agrees.

use crate::tamper::Outcome;
use runstone_codec::Position;
use runstone_store::{AppendError, Expected, Log, Payload, Query, Read, Record};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// An event that was sent.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its id, if it was given one.
    pub(super) id: Option<Uuid>,
    pub(super) stream: String,
    /// The scope that the stream has.
    pub(super) scope: String,
    pub(super) tags: BTreeSet<String>,
    /// Told apart from every other event, also when its content is erased.
    pub(super) source: String,
    pub(super) payload: String,
}

/// What became of a request, as far as its sender knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was told that it is durable, at these positions.
    Durable(Vec<u64>),
    /// It was told that it is recorded, and may be lost with everything after it.
    Buffered(Vec<u64>),
    /// It was told that all its events are recorded durably, not where.
    Somewhere,
    /// It was told no.
    Refused,
    /// It was told nothing, or that nobody knows.
    Unknown,
    /// It was lost in a crash.
    Lost,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) parts: Vec<Part>,
    pub(super) expected: Option<(String, Expected)>,
    /// A tag that no event may have had before.
    pub(super) claim: Option<String>,
    /// Known events are left out, one by one.
    pub(super) is_import: bool,
    pub(super) fate: Fate,
}

/// What happened to the log since it was compared last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The process was closed and started again.
    Close,
    /// The process was ended by a crash and started again.
    Crash,
    /// A commit failed, and the process goes on.
    Failure,
}

/// Whether a refusal means for certain that nothing was recorded.
pub(super) fn fate_of(error: &AppendError) -> Fate {
    match error {
        AppendError::OutcomeUnknown { .. } => Fate::Unknown,
        _ => Fate::Refused,
    }
}

/// Everything that was sent, and what the log stated.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) sent: Vec<Sent>,
    /// Sizes and roots of the checkpoints that were released.
    pub(super) released: Vec<(u64, [u8; 32])>,
    /// Positions of requests of erasures that were told to be complete.
    pub(super) erased: BTreeSet<u64>,
    /// Scopes under hold, as far as anybody was told; those that nobody knows of are in neither.
    pub(super) held: BTreeMap<String, bool>,
    /// What left the log, as files.
    pub(super) proofs: Vec<Proof>,
}

/// A proof that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The receipt of the event that has this source.
    Receipt(Vec<u8>),
    /// A signed checkpoint.
    Checkpoint(String),
}

/// The stream of events that nobody sent.
const OWN_STREAM: &str = "log";

/// Events of the log itself, and of agents, whose answers tell of them.
fn is_not_sent(stream: &str) -> bool {
    let own = super::calls::OWN_STREAMS;
    stream == OWN_STREAM || own.iter().any(|own| stream.starts_with(own))
}

impl Model {
    /// One event of a damaged log: it must be as it was sent.
    pub(super) fn knows(&self, record: &Record) {
        if is_not_sent(&record.header.stream) {
            return;
        }
        let mut parts = self.sent.iter().flat_map(|sent| &sent.parts);
        let known = parts.find(|part| part.source == record.header.source);
        let known = known.unwrap_or_else(|| panic!("nobody sent {record:?}"));
        assert_eq!(known.stream, record.header.stream);
        if let Payload::Open(bytes) = &record.payload {
            assert_eq!(known.payload.as_bytes(), bytes);
        }
    }

    /// A commit failed: what was buffered may be gone, and its positions taken by others.
    pub(super) fn doubt(&mut self) {
        for sent in &mut self.sent {
            if matches!(sent.fate, Fate::Buffered(_)) {
                sent.fate = Fate::Unknown;
            }
        }
    }

    /// Compares with everything that the log holds.
    pub(super) fn compare(&mut self, log: &Log, since: Since) -> Outcome {
        let records: Vec<Record> = log
            .read(Read::new(Query::everything()))?
            .collect::<Result<_, _>>()?;
        let size = records.len() as u64;
        assert_eq!(size, log.size(), "events read, and the size");
        let mut by_source: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (number, sent) in self.sent.iter().enumerate() {
            for (part, event) in sent.parts.iter().enumerate() {
                by_source.insert(&event.source, (number, part));
            }
        }
        let erased_before = self.erasures(log);
        let mut found: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
        let mut revisions: BTreeMap<&str, u64> = BTreeMap::new();
        let mut tags: BTreeSet<&str> = BTreeSet::new();
        let mut claimed: BTreeSet<usize> = BTreeSet::new();
        let mut newest = 0;
        for (at, record) in records.iter().enumerate() {
            let at = at as u64;
            assert_eq!(record.position, Position::new(at), "positions are dense");
            assert!(record.recorded_at_us >= newest, "time went back at {at}");
            newest = record.recorded_at_us;
            let stream = record.header.stream.as_str();
            let revision = revisions.entry(stream).or_default();
            assert_eq!(record.revision.get(), *revision, "revision at {at}");
            *revision += 1;
            if is_not_sent(stream) {
                continue;
            }
            let source = record.header.source.as_str();
            let (number, part) = *by_source
                .get(source)
                .unwrap_or_else(|| panic!("nobody sent the event at {at}: {source}"));
            let sent = &self.sent[number];
            let event = &sent.parts[part];
            assert_eq!(record.header.stream, event.stream);
            let is_erased = erased_before
                .get(&event.scope)
                .is_some_and(|before| at < *before);
            match &record.payload {
                Payload::Erased => assert!(is_erased, "the content at {at} is gone"),
                Payload::Open(bytes) => {
                    assert!(!is_erased, "the content at {at} was erased");
                    assert_eq!(event.payload.as_bytes(), bytes, "the content at {at}");
                }
                other => panic!("the content at {at}: {other:?}"),
            }
            assert!(event.id.is_none_or(|id| id == record.header.event_id));
            let is_first = found.entry(number).or_default().is_empty();
            if is_first {
                // The moment at which it was decided: nothing of it was there yet.
                if let Some(claim) = &sent.claim {
                    assert!(!tags.contains(claim.as_str()), "claimed twice: {claim}");
                }
                if let Some((stream, expected)) = &sent.expected {
                    let own = u64::from(*stream == record.header.stream);
                    let count = revisions.get(stream.as_str()).map_or(0, |next| next - own);
                    let holds = match expected {
                        Expected::NoStream => count == 0,
                        Expected::Exact(last) => count == last + 1,
                        _ => true,
                    };
                    assert!(holds, "{expected} did not hold for {stream} at {at}");
                }
            }
            found.entry(number).or_default().push((part, at));
            claimed.insert(number);
            tags.extend(event.tags.iter().map(String::as_str));
        }
        for (number, sent) in self.sent.iter_mut().enumerate() {
            let found = found.get(&number).map_or(&[][..], Vec::as_slice);
            settle(number, sent, found, (size, log.durable_size()), since);
        }
        Ok(())
    }
}

impl Model {
    /// Up to where each scope is erased, as the log records it: everything that was told to be is.
    fn erasures(&self, log: &Log) -> BTreeMap<String, u64> {
        let mut before = BTreeMap::new();
        let mut complete = BTreeSet::new();
        for erasure in log.erasures().unwrap() {
            let at = erasure.requested.get();
            complete.extend(erasure.completed.map(|_| at));
            for scope in erasure.scopes {
                before.insert(scope, at);
            }
        }
        let lost: Vec<_> = self.erased.difference(&complete).collect();
        assert!(lost.is_empty(), "erasures that were complete: {lost:?}");
        before
    }
}

/// Compares one request with the events of it that are there.
fn settle(
    number: usize,
    sent: &mut Sent,
    found: &[(usize, u64)],
    (size, durable): (u64, u64),
    since: Since,
) {
    let positions: Vec<u64> = found.iter().map(|(_, position)| *position).collect();
    let whole = found.len() == sent.parts.len();
    let parts: BTreeSet<usize> = found.iter().map(|(part, _)| *part).collect();
    assert_eq!(
        parts.len(),
        found.len(),
        "{number}: an event is there twice"
    );
    if !sent.is_import {
        let in_a_row = found
            .iter()
            .enumerate()
            .all(|(at, (part, position))| *part == at && *position == positions[0] + at as u64);
        assert!(
            found.is_empty() || (whole && in_a_row),
            "{number} is torn: {found:?}"
        );
    }
    let next = match &sent.fate {
        Fate::Durable(told) => {
            assert_eq!(positions, *told, "{number} was acknowledged");
            return;
        }
        Fate::Somewhere => {
            assert!(whole, "import {number} was acknowledged: {found:?}");
            return;
        }
        Fate::Refused | Fate::Lost => {
            assert!(found.is_empty(), "{number} was {:?}: {found:?}", sent.fate);
            return;
        }
        Fate::Buffered(told) => {
            if found.is_empty() {
                // Only a crash or a failed commit loses it, and everything after it too.
                assert!(since != Since::Close, "{number} was recorded and is gone");
                Fate::Lost
            } else {
                assert_eq!(positions, *told, "{number} was recorded");
                // What a crash has left is on the medium.
                if since == Since::Crash {
                    Fate::Durable(positions)
                } else {
                    return;
                }
            }
        }
        // As long as the process lives it may still wait in the queue.
        Fate::Unknown if found.is_empty() && since == Since::Failure => return,
        Fate::Unknown if found.is_empty() => Fate::Lost,
        Fate::Unknown if sent.is_import && !whole => {
            panic!("import {number} is torn: {found:?} of {size}")
        }
        // It may have been buffered after what failed.
        Fate::Unknown if positions.iter().any(|position| *position >= durable) => {
            Fate::Buffered(positions)
        }
        Fate::Unknown => Fate::Durable(positions),
    };
    sent.fate = next;
}
