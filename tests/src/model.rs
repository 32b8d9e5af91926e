//! A log that is nothing but a list, to compare a real one with.
//!
//! ```text
//!  Action --> Model::apply --> what the log must answer
//!         \-> Log          --> what it does answer
//! ```

use crate::folds::Tally;
use runstone_codec::NewEvent;
use runstone_store::{Append, AppendError, Appended, Condition, Durability, Expected, Item, Query};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Scope of a stream that names none.
const DEFAULT_SCOPE: &str = "default";

/// An event to append, out of few names so that everything meets.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// Number of the stream.
    pub stream: u8,
    /// Number of the type.
    pub kind: u8,
    /// Tags `t:0` to `t:7`, one for each bit.
    pub tags: u8,
    /// Number of its id, if it has one.
    pub id: Option<u8>,
    /// Number of the scope, if it names one.
    pub scope: Option<u8>,
    /// Number in the payload.
    pub payload: u8,
}

/// Names of types: two namespaces, one that is a prefix of the other, and one that clears rows.
const KINDS: [&str; 5] = [
    "tool.called",
    "tool.answered",
    "toolbox.opened",
    "data.noted",
    Tally::CLEARED,
];

impl Proposed {
    /// Name of a stream.
    pub fn stream_name(stream: u8) -> String {
        format!("run-{stream}")
    }

    fn scope_name(scope: u8) -> String {
        if scope == 0 {
            DEFAULT_SCOPE.to_owned()
        } else {
            format!("person-{scope}")
        }
    }

    fn id(&self) -> Option<Uuid> {
        self.id.map(|id| Uuid::from_u128(u128::from(id) + 1))
    }

    fn payload_text(&self) -> String {
        // Some are long enough to be compressed and to fill chunks.
        let filler = if self.payload > 250 {
            "x".repeat(9000)
        } else {
            String::new()
        };
        format!("{{\"payload\":[{},\"{filler}\"]}}", self.payload)
    }

    /// The event that a log is given.
    pub fn event(&self) -> NewEvent {
        let mut event = NewEvent::new(
            KINDS[usize::from(self.kind)],
            Self::stream_name(self.stream),
        )
        .tags(tags(self.tags))
        .payload(self.payload_text());
        event.event_id = self.id();
        event.scope = self.scope.map(Self::scope_name);
        event
    }
}

fn tags(bits: u8) -> impl Iterator<Item = String> {
    (0..8)
        .filter(move |bit| bits & (1 << bit) != 0)
        .map(|bit| format!("t:{bit}"))
}

/// One alternative of a selection.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Number of the stream.
    pub stream: Option<u8>,
    /// Types and namespaces: bits 0 to 4 the types, bit 5 `tool.*`, bit 6 `none.*`.
    pub kinds: u8,
    /// Tags, one for each bit.
    pub tags: u8,
    /// By source, which has no index; all events have the same.
    pub by_source: bool,
}

impl Wanted {
    fn item(&self) -> Item {
        let mut item = Item::new();
        item.stream = self.stream.map(Proposed::stream_name);
        let names = KINDS.into_iter().chain(["tool.*", "none.*"]);
        let chosen = names
            .enumerate()
            .filter(|(bit, _)| self.kinds & (1 << bit) != 0);
        item.types = chosen.map(|(_, name)| name.to_owned()).collect();
        item.tags = tags(self.tags).collect();
        if self.by_source {
            item = item.source("runstone");
        }
        item
    }

    fn is_indexed(&self) -> bool {
        let any = self.stream.is_some() || self.kinds != 0 || self.tags != 0;
        any && !self.by_source
    }

    fn matches(&self, event: &Event) -> bool {
        let kind = KINDS.iter().position(|kind| *kind == event.kind);
        let bits = kind.map_or(0, |kind| (1_u8 << kind) | if kind < 2 { 1 << 5 } else { 0 });
        self.stream
            .is_none_or(|stream| Proposed::stream_name(stream) == event.stream)
            && (self.kinds == 0 || self.kinds & bits != 0)
            && tags(self.tags).all(|tag| event.tags.contains(&tag))
    }
}

/// A selection: everything if there is no alternative.
#[derive(Clone, Debug)]
pub struct Selection(pub Vec<Wanted>);

impl Selection {
    /// The query that a log is given.
    pub fn query(&self) -> Query {
        if self.0.is_empty() {
            return Query::everything();
        }
        Query::Items(self.0.iter().map(Wanted::item).collect())
    }

    fn matches(&self, event: &Event) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted.matches(event))
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its events.
    pub events: Vec<Proposed>,
    /// A check: stream, and `None` for no stream or how far behind the last revision.
    pub expected: Option<(u8, Option<u8>)>,
    /// A condition, and how far behind the end `after` is.
    pub condition: Option<(Selection, Option<u8>)>,
    /// Not durable when answered.
    pub buffered: bool,
}

/// An event as the model holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its stream.
    pub stream: String,
    /// Its type.
    pub kind: String,
    /// Its place in the stream.
    pub revision: u64,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Its id, if the caller gave one.
    pub id: Option<Uuid>,
    /// Its scope.
    pub scope: String,
    /// Its payload.
    pub payload: String,
}

/// What a request must be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Recorded from there on; so many.
    Recorded(u64, u64),
    /// Known: first and last position.
    Duplicate(u64, u64),
    /// Refused with this code.
    Refused(&'static str),
}

impl Verdict {
    /// The answer of a log.
    pub fn of(answer: &Result<Appended, AppendError>) -> Self {
        match answer {
            Ok(answer) if answer.duplicate => {
                Self::Duplicate(answer.first.get(), answer.last.get())
            }
            Ok(answer) => Self::Recorded(answer.first.get(), answer.ids.len() as u64),
            Err(error) => Self::Refused(error.code()),
        }
    }
}

/// All events after the genesis: the one at `n` has position `n + 1`.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The events.
    pub events: Vec<Event>,
    /// Positions behind which a request ended: a crash may cut nowhere else.
    pub boundaries: BTreeSet<u64>,
    /// Positions below this are durable.
    pub durable: u64,
}

impl Model {
    /// A log with its genesis.
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            boundaries: BTreeSet::from([1]),
            durable: 1,
        }
    }

    /// Events, the genesis included.
    pub fn size(&self) -> u64 {
        self.events.len() as u64 + 1
    }

    /// The event at a position.
    pub fn at(&self, position: u64) -> &Event {
        &self.events[usize::try_from(position).unwrap() - 1]
    }

    fn last_revision(&self, stream: &str) -> Option<u64> {
        let last = self
            .events
            .iter()
            .rev()
            .find(|event| event.stream == stream);
        last.map(|event| event.revision)
    }

    fn scope(&self, stream: &str) -> Option<&str> {
        let first = self.events.iter().find(|event| event.stream == stream);
        first.map(|event| event.scope.as_str())
    }

    /// The append that a log is given for a request, as things stand.
    pub fn append(&self, request: &Request) -> Append {
        let mut append = Append::new(request.events.iter().map(Proposed::event));
        if let Some((stream, behind)) = request.expected {
            let stream = Proposed::stream_name(stream);
            let expected = match (behind, self.last_revision(&stream)) {
                (None, _) => Expected::NoStream,
                (Some(behind), last) => {
                    Expected::Exact(last.unwrap_or(0).saturating_sub(u64::from(behind)))
                }
            };
            append = append.expect(stream, expected);
        }
        if let Some((selection, behind)) = &request.condition {
            let mut condition = Condition::none(selection.query());
            condition.after = behind.map(|behind| self.size().saturating_sub(u64::from(behind)));
            append = append.condition(condition);
        }
        if request.buffered {
            append = append.durability(Durability::Buffered);
        }
        append
    }

    /// Applies requests of one call. Appends are those that [`Self::append`] gave before.
    pub fn apply(&mut self, requests: &[Request], appends: &[Append]) -> Vec<Verdict> {
        let before = self.clone();
        let mut verdicts = vec![None; requests.len()];
        for (at, (request, append)) in requests.iter().zip(appends).enumerate() {
            // The caller's thread guesses a scope that is not named; a wrong guess waits until
            // the others are done.
            let guesses = before.guess(request);
            verdicts[at] = self.decide(request, append, &guesses);
        }
        let late = verdicts.iter_mut().zip(requests.iter().zip(appends));
        for (verdict, (request, append)) in late {
            if verdict.is_none() {
                let guesses = self.guess(request);
                *verdict = self.decide(request, append, &guesses);
            }
        }
        verdicts.into_iter().map(Option::unwrap).collect()
    }

    /// Scopes of the events of a request, as far as they can be known before it is decided.
    fn guess(&self, request: &Request) -> Vec<String> {
        let mut named = BTreeMap::new();
        let scope = |event: &Proposed| {
            let stream = Proposed::stream_name(event.stream);
            let scope = match event.scope {
                Some(scope) => Proposed::scope_name(scope),
                None => named
                    .get(&stream)
                    .cloned()
                    .or_else(|| self.scope(&stream).map(str::to_owned))
                    .unwrap_or_else(|| DEFAULT_SCOPE.to_owned()),
            };
            named.entry(stream).or_insert_with(|| scope.clone());
            scope
        };
        request.events.iter().map(scope).collect()
    }

    /// The verdict on one request; none if a guessed scope turned out to be wrong.
    fn decide(&mut self, request: &Request, append: &Append, scopes: &[String]) -> Option<Verdict> {
        if request.events.is_empty() {
            return Some(Verdict::Refused("empty"));
        }
        let mut fixed = BTreeMap::new();
        for (event, scope) in request.events.iter().zip(scopes) {
            let stream = Proposed::stream_name(event.stream);
            let stored = self.scope(&stream).map(str::to_owned);
            let holds = stored
                .clone()
                .unwrap_or_else(|| fixed.entry(stream).or_insert_with(|| scope.clone()).clone());
            if holds != *scope {
                let guessed = stored.is_some() && event.scope.is_none();
                return (!guessed).then_some(Verdict::Refused("scope_mismatch"));
            }
        }
        Some(
            self.check(request, append)
                .unwrap_or_else(|| self.record(request, scopes)),
        )
    }

    /// Why a request is not recorded.
    fn check(&self, request: &Request, append: &Append) -> Option<Verdict> {
        let given: Vec<_> = request.events.iter().filter_map(Proposed::id).collect();
        if given.iter().collect::<BTreeSet<_>>().len() != given.len() {
            return Some(Verdict::Refused("duplicate_id"));
        }
        let known: Vec<u64> = given.iter().filter_map(|id| self.position(*id)).collect();
        if known.len() == request.events.len() {
            let same = request.events.iter().zip(&known).all(|(event, position)| {
                let (recorded, event) = (self.at(*position), event.event());
                recorded.stream == event.stream
                    && recorded.kind == event.event_type
                    && recorded.payload.as_bytes() == event.payload
                    && recorded.tags == event.tags
            });
            let in_order = known.is_sorted();
            return Some(match (same && in_order, known.first(), known.last()) {
                (true, Some(first), Some(last)) => Verdict::Duplicate(*first, *last),
                _ => Verdict::Refused("event_id_conflict"),
            });
        }
        if !known.is_empty() {
            return Some(Verdict::Refused("partial_duplicate"));
        }
        for (stream, expected) in &append.expected {
            let last = self.last_revision(stream);
            let holds = match expected {
                Expected::NoStream => last.is_none(),
                Expected::Exact(revision) => last == Some(*revision),
                _ => true,
            };
            if !holds {
                return Some(Verdict::Refused("conflict"));
            }
        }
        let (selection, _) = request.condition.as_ref()?;
        self.met(selection, append.conditions[0].after)
    }

    /// Why a condition does not hold: items are looked at in turn.
    fn met(&self, selection: &Selection, after: Option<u64>) -> Option<Verdict> {
        let failed = Some(Verdict::Refused("condition_failed"));
        let later = |position: u64| after.is_none_or(|after| position > after);
        if selection.0.is_empty() {
            return if later(self.size() - 1) { failed } else { None };
        }
        for wanted in &selection.0 {
            if !wanted.is_indexed() {
                return Some(Verdict::Refused("condition_unindexed"));
            }
            let hit = (1..)
                .zip(&self.events)
                .any(|(at, event)| later(at) && wanted.matches(event));
            if hit {
                return failed;
            }
        }
        None
    }

    fn record(&mut self, request: &Request, scopes: &[String]) -> Verdict {
        let first = self.size();
        for (proposed, scope) in request.events.iter().zip(scopes) {
            let event = proposed.event();
            let revision = self.last_revision(&event.stream).map_or(0, |last| last + 1);
            self.events.push(Event {
                revision,
                kind: event.event_type,
                tags: event.tags,
                id: event.event_id,
                scope: scope.clone(),
                payload: proposed.payload_text(),
                stream: event.stream,
            });
        }
        self.boundaries.insert(self.size());
        Verdict::Recorded(first, request.events.len() as u64)
    }

    /// Where an id is.
    pub fn position(&self, id: Uuid) -> Option<u64> {
        let at = self.events.iter().position(|event| event.id == Some(id))?;
        Some(at as u64 + 1)
    }

    /// Positions that a selection names, in order; the genesis is of the log itself.
    pub fn select(&self, selection: &Selection) -> Vec<u64> {
        let genesis = Event {
            stream: "log".to_owned(),
            kind: "log.genesis".to_owned(),
            revision: 0,
            tags: Vec::new(),
            id: None,
            scope: String::new(),
            payload: String::new(),
        };
        let all = std::iter::once(&genesis).chain(&self.events);
        (0..)
            .zip(all)
            .filter(|(_, event)| selection.matches(event))
            .map(|(at, _)| at)
            .collect()
    }

    /// Rows of [`Tally`] without those of the genesis.
    pub fn tally(&self) -> BTreeMap<Vec<u8>, u64> {
        let mut rows = BTreeMap::new();
        for event in &self.events {
            *rows.entry(Tally::type_key(&event.kind)).or_default() += 1;
            let key = Tally::stream_key(&event.stream);
            if event.kind == Tally::CLEARED {
                rows.remove(&key);
            } else {
                *rows.entry(key).or_default() += event.payload.len() as u64;
            }
        }
        rows
    }

    /// A crash left so many events, the genesis included.
    pub fn cut(&mut self, size: u64) {
        assert!(
            size >= self.durable && size <= self.size(),
            "{size} of {}",
            self.size()
        );
        assert!(
            self.boundaries.contains(&size),
            "a request was cut at {size}"
        );
        self.events.truncate(usize::try_from(size).unwrap() - 1);
        self.boundaries.retain(|boundary| *boundary <= size);
    }
}
