//! What must hold of the copies of a simulated log, from its records and what the destinations have.

use super::shelf::{Shelf, Tells, kind_of};
use crate::sinks::Seen;
use runstone::sinks::{Parked, Start};
use runstone::{Query, SinkConfig};
use runstone_store::{Payload, Record};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Words in the content of events that no sink names.
pub(super) const SECRET: &str = "wheatear-4711";
/// The member of content that sinks may name.
pub(super) const FIELD: &str = "n";
/// Time between two records of one kind about one sink.
const TOLD_US: u64 = 60_000_000;

/// Which events a sink gets.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Everything,
    Type(&'static str),
    Stream(String),
    Tag(String),
}

impl Filter {
    pub(super) fn query(&self) -> Query {
        match self {
            Self::Everything => Query::everything(),
            Self::Type(event_type) => Query::parse(&format!("type={event_type}")).unwrap(),
            Self::Stream(stream) => Query::stream(stream.as_str()),
            Self::Tag(tag) => Query::tag(tag),
        }
    }

    fn selects(&self, record: &Record) -> bool {
        let header = &record.header;
        let is_asked_for = match self {
            Self::Everything => true,
            Self::Type(event_type) => header.event_type == *event_type,
            Self::Stream(stream) => header.stream == *stream,
            Self::Tag(tag) => header.has_tag(tag),
        };
        // Of sinks none is told.
        is_asked_for && !header.event_type.starts_with("sink.")
    }
}

/// Whether a sink runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Paused,
    Stopped,
}

/// How a sink stands, as the records of the log say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Position of `sink.added`.
    pub(super) added: u64,
    /// Number of its destination.
    number: usize,
    pub(super) state: State,
    /// Position of what made it stand so.
    pub(super) since: u64,
}

/// Where the sink of a destination was added, if it ever was.
fn added(number: usize, records: &[Record]) -> Option<u64> {
    let mut added = records
        .iter()
        .filter(|record| record.header.event_type == "sink.added");
    let of = added.find(|record| number_of(record) == number);
    of.map(|record| record.position.get())
}

/// The number of the destination of a sink that is added.
fn number_of(record: &Record) -> usize {
    let Payload::Open(content) = &record.payload else {
        panic!("what was added: {record:?}");
    };
    let content: Value = serde_json::from_slice(content).unwrap();
    let kind = content["config"]["to"]["custom"]["kind"].as_str().unwrap();
    kind.strip_prefix("shelf-").unwrap().parse().unwrap()
}

/// How every sink stands.
pub(super) fn standings(records: &[Record]) -> BTreeMap<String, Standing> {
    let mut all: BTreeMap<String, Standing> = BTreeMap::new();
    let mut told: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut failing: BTreeSet<String> = BTreeSet::new();
    for record in records {
        let (header, at) = (&record.header, record.position.get());
        if header.event_type == "log.epoch_started" {
            for standing in all.values_mut() {
                if standing.state == State::Running {
                    (standing.state, standing.since) = (State::Stopped, at);
                }
            }
        }
        if !header.event_type.starts_with("sink.") {
            continue;
        }
        let tag = header.tags.iter().find_map(|tag| tag.strip_prefix("sink:"));
        let name = tag.unwrap().to_owned();
        let event_type = header.event_type.as_str();
        let state = match event_type {
            "sink.added" => {
                let standing = Standing {
                    added: at,
                    number: number_of(record),
                    state: State::Running,
                    since: at,
                };
                told.retain(|(other, _), _| *other != name);
                failing.remove(&name);
                assert!(all.insert(name, standing).is_none(), "added twice at {at}");
                continue;
            }
            "sink.removed" => {
                assert!(all.remove(&name).is_some(), "removed twice at {at}");
                continue;
            }
            "sink.paused" => State::Paused,
            "sink.resumed" => State::Running,
            "sink.stopped" => State::Stopped,
            "sink.failed" | "sink.parked" => {
                let before = told.insert((name.clone(), event_type), record.recorded_at_us);
                let is_rare = before.is_none_or(|at| record.recorded_at_us - at >= TOLD_US);
                assert!(is_rare, "{event_type} of {name} at {at}, again");
                if event_type == "sink.failed" {
                    failing.insert(name);
                }
                continue;
            }
            "sink.recovered" => {
                assert!(failing.remove(&name), "{name} recovered at {at}, again");
                continue;
            }
            _ => continue,
        };
        let standing = all.get_mut(&name).unwrap();
        (standing.state, standing.since) = (state, at);
    }
    all
}

/// A sink, and what is known of what its destination has.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) name: String,
    pub(super) shelf: Arc<Shelf>,
    pub(super) filter: Filter,
    pub(super) start: Start,
    /// Whether a member of content is named.
    pub(super) has_content: bool,
    pub(super) tries: u64,
    /// What it has is of a log that was lost.
    pub(super) is_over: bool,
    /// How much of what the destination has was looked at.
    looked_at: usize,
    met: BTreeSet<u64>,
    highest: Option<u64>,
    /// What comes before may come marked, for it may have been offered.
    pub(super) doubted: u64,
    /// What may have come when its files were lost.
    forgotten: BTreeSet<u64>,
}

impl Copy {
    pub(super) fn new(config: &SinkConfig, filter: Filter, shelf: Arc<Shelf>) -> Self {
        Self {
            name: config.name.clone(),
            shelf,
            filter,
            start: config.from,
            has_content: !config.fields.is_empty(),
            tries: config.tries,
            is_over: false,
            looked_at: 0,
            met: BTreeSet::new(),
            highest: None,
            doubted: 0,
            forgotten: BTreeSet::new(),
        }
    }

    /// How it stands, if there is such a sink.
    pub(super) fn standing<'a>(
        &self,
        number: usize,
        all: &'a BTreeMap<String, Standing>,
    ) -> Option<&'a Standing> {
        all.get(&self.name)
            .filter(|standing| standing.number == number)
    }

    /// The log was lost with what it has.
    pub(super) fn give_up(&mut self) {
        self.is_over = true;
        self.looked_at += self.shelf.taken(self.looked_at).len();
    }

    /// Its files are lost or older, and with them what was offered.
    pub(super) fn forget(&mut self) {
        self.forgotten = self.shelf.offered();
    }

    /// Looks at what has come since.
    pub(super) fn follow(
        &mut self,
        number: usize,
        standing: Option<&Standing>,
        records: &[Record],
        files: &Path,
    ) {
        self.shelf.check();
        let taken = self.shelf.taken(self.looked_at);
        self.looked_at += taken.len();
        if self.is_over {
            assert!(taken.is_empty(), "{} got more: {taken:?}", self.name);
            return;
        }
        let Some(added) = added(number, records) else {
            assert!(taken.is_empty(), "{} was not added: {taken:?}", self.name);
            return;
        };
        let from = self.from(added);
        for seen in &taken {
            let record = usize::try_from(seen.position).ok();
            let record = record.and_then(|at| records.get(at));
            let record = record.unwrap_or_else(|| panic!("the log has no {seen:?}"));
            assert!(
                seen.position >= from,
                "{} begins at {from}: {seen:?}",
                self.name
            );
            assert!(self.filter.selects(record), "{} got {record:?}", self.name);
            self.check_content(seen, record);
            self.check_place(seen, from, records);
        }
        if standing.is_some() {
            let parked = parked(files, &self.name);
            let all = self.expected(from, records);
            let highest = self.highest;
            let passed = all.take_while(|position| highest.is_some_and(|last| *position <= last));
            for position in passed.filter(|position| !self.met.contains(position)) {
                assert!(
                    parked.contains(&position),
                    "{} was not given {position}, which is not listed: {parked:?}",
                    self.name
                );
            }
        }
    }

    /// The first position that it may get.
    fn from(&self, added: u64) -> u64 {
        match self.start {
            Start::Now => added,
            Start::At(position) => position,
            _ => 0,
        }
    }

    /// What it gets in the end.
    fn expected<'a>(&'a self, from: u64, records: &'a [Record]) -> impl Iterator<Item = u64> + 'a {
        let selected = records.iter().filter(|record| self.filter.selects(record));
        let positions = selected.map(|record| record.position.get());
        positions.filter(move |position| *position >= from)
    }

    /// Nothing is left to be given.
    pub(super) fn check_whole(&self, standing: &Standing, records: &[Record], files: &Path) {
        let from = self.from(standing.added);
        let missing = self.expected(from, records);
        let missing: Vec<_> = missing.filter(|at| !self.met.contains(at)).collect();
        assert!(missing.is_empty(), "{} has no {missing:?}", self.name);
        let parked = parked(files, &self.name);
        assert!(parked.is_empty(), "{} took {parked:?}", self.name);
    }

    /// It says what the record says, and of its content what is named.
    fn check_content(&self, seen: &Seen, record: &Record) {
        assert!(!seen.line.contains(SECRET), "{}", seen.line);
        let value = value_of(seen);
        assert_eq!(value["id"], record.header.event_id.to_string());
        assert_eq!(value["type"], record.header.event_type.as_str());
        assert_eq!(value["stream"], record.header.stream.as_str());
        match value["data"].as_object() {
            None => assert!(value["data"].is_null(), "{}", seen.line),
            Some(members) => {
                let is_named = members.keys().all(|member| member == FIELD);
                assert!(self.has_content && is_named, "{}", seen.line);
            }
        }
        // What was erased since may have left before.
        if self.has_content
            && let Payload::Open(bytes) = &record.payload
            && let Ok(Value::Object(content)) = serde_json::from_slice(bytes)
        {
            assert_eq!(value["data"].get(FIELD), content.get(FIELD));
        }
    }

    /// It comes in its turn, or again and marked so.
    fn check_place(&mut self, seen: &Seen, from: u64, records: &[Record]) {
        let (position, name) = (seen.position, &self.name);
        let was_refused = |position: u64| self.shelf.refusals(position) >= self.tries;
        if seen.is_duplicate {
            let may_be = self.shelf.was_offered(position) || position < self.doubted;
            assert!(may_be, "{name}: {position} was never offered before");
        }
        if self.highest.is_none_or(|highest| position > highest) {
            // What stands before it has come, or was put aside.
            let begin = self.highest.map_or(from, |highest| highest + 1).max(from);
            let passed = self
                .expected(begin, records)
                .take_while(|at| *at < position);
            for at in passed {
                assert!(was_refused(at), "{name}: {position} came, and {at} did not");
            }
            let tells = self.shelf.tells != Tells::Nothing;
            assert!(
                !(tells && seen.is_duplicate) || was_refused(position),
                "{name}: {position} is marked, and its destination was asked"
            );
            self.highest = Some(position);
        } else if self.shelf.tells != Tells::Nothing {
            let is_late = seen.is_duplicate && was_refused(position);
            assert!(is_late, "{name}: {position} came again");
        } else if self.met.contains(&position) {
            let is_known = seen.is_duplicate || self.forgotten.contains(&position);
            assert!(is_known, "{name}: {position} came again, unmarked");
        } else {
            let is_late = seen.is_duplicate && was_refused(position);
            let is_known = is_late || self.forgotten.contains(&position);
            assert!(is_known, "{name}: {position} is late");
        }
        self.met.insert(position);
    }
}

/// What a line says.
pub(super) fn value_of(seen: &Seen) -> Value {
    serde_json::from_str(&seen.line).unwrap()
}

/// Positions of what a sink was refused, as its file says.
pub(super) fn parked(files: &Path, name: &str) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(files.join(format!("{name}.parked")));
    let text = text.unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let parked = whole.map(|line| serde_json::from_str::<Parked>(line).unwrap().position);
    parked.collect()
}

/// What the cursor of a sink says of what may have been offered.
pub(super) fn offered(files: &Path, name: &str) -> u64 {
    let cursor = std::fs::read(files.join(format!("{name}.cursor")));
    offered_in(cursor.ok().as_ref())
}

/// The same, by a cursor if there is one.
pub(super) fn offered_in(cursor: Option<&Vec<u8>>) -> u64 {
    let cursor = cursor.map(|cursor| serde_json::from_slice::<Value>(cursor).unwrap());
    cursor.map_or(0, |cursor| cursor["offered"].as_u64().unwrap())
}

/// How the sink of a destination is configured.
pub(super) fn config(name: &str, number: usize) -> SinkConfig {
    SinkConfig::new(name, runstone::sinks::Destination::custom(kind_of(number)))
}
