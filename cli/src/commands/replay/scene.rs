//! A run after one of its events.

use super::source::{Source, is_busy};
use crate::error::Failure;
use crate::output::count;
use runstone::runs::{Growing, RunSummary};
use runstone::{Log, Payload, Position, ReadError, Record, sessions};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// A call that was begun and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// `None`: to be read.
    pub(super) called: Option<Called>,
    pub(super) revision: u64,
    pub(super) position: Position,
}

/// What is said of a call, as far as its content is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) name: Option<String>,
    pub(super) call_id: Option<String>,
}

/// The session after an event.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The document, as JSON.
    pub(super) document: String,
    /// What it lacks, or why it cannot be read.
    pub(super) lacks: Option<String>,
}

/// What is folded from the events up to one. It takes nothing of their content: what of that is shown
/// is read when it is.
#[derive(Debug, Default)]
pub(super) struct Scene {
    growing: Growing,
    calls: BTreeMap<String, UnderWay>,
    /// Answers of tools without a causation: their calls are to be found by their ids.
    answers: Vec<Position>,
    /// Events that could not be read, which this is without.
    damaged: u64,
    /// The session of the newest event that changed it; `None`: to be read.
    session: Option<Told>,
}

impl Scene {
    /// What of it is kept to go on from: without content, which is read again.
    pub(super) fn kept(&self) -> Self {
        let mut kept = Self {
            growing: self.growing.clone(),
            calls: self.calls.clone(),
            answers: self.answers.clone(),
            damaged: self.damaged,
            session: None,
        };
        kept.forget_content();
        kept
    }

    /// Lets go of what was read of content.
    pub(super) fn forget_content(&mut self) {
        self.session = None;
        for call in self.calls.values_mut() {
            call.called = None;
        }
    }

    /// Takes the next event; `None`: one that is damaged, and may have been a change of the session.
    pub(super) fn take(&mut self, record: Option<&Record>) -> Result<(), ReadError> {
        let Some(record) = record else {
            self.damaged = self.damaged.saturating_add(1);
            self.session = None;
            return Ok(());
        };
        self.growing.take(record)?;
        let event_type = record.header.event_type.as_str();
        let changes_session = event_type.starts_with("session.")
            || matches!(
                event_type,
                "step.completed" | "run.rolled_back" | "run.forked"
            );
        if changes_session {
            self.session = None;
        }
        let key = match event_type.split_once('.') {
            Some(("effect", _)) => effect_of(record),
            // What answers a call is caused by it.
            Some(("tool", "call.requested")) => Some(record.header.event_id.to_string()),
            Some(("tool", _)) => record.header.causation.map(|call| call.to_string()),
            _ => None,
        };
        let Some(key) = key else {
            if matches!(event_type, "tool.call.completed" | "tool.call.failed") {
                self.answers.push(record.position);
            }
            return Ok(());
        };
        match event_type {
            "effect.claimed" | "tool.call.requested" => {
                let call = UnderWay {
                    called: None,
                    revision: record.revision.get(),
                    position: record.position,
                };
                self.calls.insert(key, call);
            }
            "effect.completed"
            | "effect.failed"
            | "effect.cancelled"
            | "effect.released"
            | "effect.reconciled"
            | "tool.call.completed"
            | "tool.call.failed" => {
                self.calls.remove(&key);
            }
            _ => {}
        }
        Ok(())
    }

    /// What the run did and used; as it is held now, if its newest event is that of the log.
    pub(super) fn summary(&self, source: &mut Source<'_>) -> Result<Option<RunSummary>, Failure> {
        let newest = source.size().checked_sub(1).map(Position::new);
        if self.growing.position() >= newest {
            match source.read(|log| self.growing.summary(log)) {
                Err(failure) if is_busy(&failure) => {}
                outcome => return outcome,
            }
        }
        Ok(self.growing.summary_then()?)
    }

    /// Calls under way, the oldest first.
    pub(super) fn calls(&self) -> Vec<UnderWay> {
        let mut calls: Vec<_> = self.calls.values().cloned().collect();
        calls.sort_by_key(|call| call.revision);
        calls
    }

    /// Finds the calls of answers without a causation: each answers the oldest one of its id.
    pub(super) fn settle(&mut self, source: &mut Source<'_>) -> Result<(), Failure> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let mut waiting = BTreeMap::<_, VecDeque<_>>::new();
        let mut calls: Vec<_> = self.calls.iter_mut().collect();
        calls.sort_by_key(|(_, call)| call.position);
        for (key, call) in calls {
            if key.starts_with(EFFECT_LABEL) {
                continue;
            }
            if let Some(call_id) = call.read(source)?.call_id.clone() {
                let waiting = waiting.entry(call_id).or_default();
                waiting.push_back((call.position, key.clone()));
            }
        }
        let mut ended = Vec::new();
        for answer in &self.answers {
            let answered = source.read(|log| called(log, *answer))?.call_id;
            let waiting = answered.and_then(|call_id| waiting.get_mut(&call_id));
            let is_before = |(at, _): &(Position, String)| at < answer;
            let waiting = waiting.filter(|calls| calls.front().is_some_and(is_before));
            ended.extend(waiting.and_then(VecDeque::pop_front).map(|(_, key)| key));
        }
        for key in ended {
            self.calls.remove(&key);
        }
        self.answers.clear();
        Ok(())
    }

    /// Reads what the newest calls under way are called, as far as it is not known.
    pub(super) fn name_calls(
        &mut self,
        source: &mut Source<'_>,
        newest: usize,
    ) -> Result<(), Failure> {
        let mut calls: Vec<_> = self.calls.values_mut().collect();
        calls.sort_by_key(|call| Reverse(call.revision));
        for call in calls.into_iter().take(newest) {
            call.read(source)?;
        }
        Ok(())
    }

    /// Events up to here that could not be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The session, read only when an event has changed it.
    pub(super) fn session(
        &mut self,
        read: impl FnOnce() -> Result<Told, Failure>,
    ) -> Result<&Told, Failure> {
        let told = match self.session.take() {
            Some(told) => told,
            None => read()?,
        };
        Ok(self.session.insert(told))
    }
}

impl UnderWay {
    fn read(&mut self, source: &mut Source<'_>) -> Result<&Called, Failure> {
        let called = match self.called.take() {
            Some(known) => known,
            None => source.read(|log| called(log, self.position))?,
        };
        Ok(self.called.insert(called))
    }
}

/// The session after the event at a position.
pub(super) fn told(log: &Log, stream: &str, at: Position) -> Result<Told, ReadError> {
    let session = match sessions::state_at(log, stream, Some(at)) {
        Ok(session) => session,
        Err(error) if error.position().is_some() => {
            return Ok(Told {
                document: String::new(),
                lacks: Some(error.to_string()),
            });
        }
        Err(error) => return Err(error),
    };
    let lacks = match session.missing {
        0 => None,
        1 => Some("1 change missing".to_owned()),
        missing => Some(format!("{} changes missing", count(missing))),
    };
    let document = serde_json::to_string(&session.document).unwrap_or_default();
    Ok(Told { document, lacks })
}

/// What the tags of a call of the ledger begin with.
const EFFECT_LABEL: &str = "effect:";

/// Which call an event of the ledger is about: the digest of its key.
fn effect_of(record: &Record) -> Option<String> {
    let mut tags = record.header.tags.iter();
    tags.find(|tag| tag.starts_with(EFFECT_LABEL))
        .map(ToString::to_string)
}

/// What the content of a call or of its answer says of it.
fn called(log: &Log, position: Position) -> Result<Called, ReadError> {
    let record = match log.record(position) {
        Ok(record) => record,
        Err(error) if error.position().is_some() => return Ok(Called::default()),
        Err(error) => return Err(error),
    };
    Ok(Called {
        name: member(&record, "name"),
        call_id: member(&record, "call_id"),
    })
}

/// A text of the content, if it is there.
fn member(record: &Record, name: &str) -> Option<String> {
    let Payload::Open(payload) = &record.payload else {
        return None;
    };
    let content: BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_slice(payload).ok()?;
    let value: Value = serde_json::from_str(content.get(name)?.get()).ok()?;
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::session;
    use super::*;
    use runstone::{Erase, NewEvent, Query, Read, Runstone, Uuid};

    #[test]
    fn what_a_session_lacks_is_told() {
        let log = Runstone::memory().unwrap();
        let run = log
            .run("bot")
            .scope("ann")
            .resume_or_start_blocking("run-1")
            .unwrap();
        run.session().append_blocking("/list", &"secret").unwrap();
        let told = |scene: &mut Scene| {
            let at = Position::new(log.size() - 1);
            let told = scene.session(|| Ok(told(&log, "run-1", at)?)).unwrap();
            (told.document.clone(), told.lacks.clone())
        };
        let mut scene = Scene::default();
        let whole = ("{\"list\":[\"secret\"]}".to_owned(), None);
        assert_eq!(told(&mut scene), whole);
        log.erase(&Erase::new("ann", "on-request"), &|_, _| {})
            .unwrap();
        let rest = ("{}".to_owned(), Some("1 change missing".to_owned()));
        // What is kept of a scene is without its session.
        assert_eq!(told(&mut scene.kept()), rest);
        assert_eq!(told(&mut scene), whole);
    }

    /// Calls, and those that are under way after each of them is answered in turn.
    #[test]
    fn an_answer_without_a_causation_ends_the_oldest_call_of_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.redb");
        let log = Runstone::create(&path).unwrap();
        let id = Uuid::from_u128(7);
        let event = |what: &str, call_id: &str| {
            let payload = serde_json::json!({"call_id": call_id, "name": "search"});
            NewEvent::new(format!("tool.call.{what}"), "run-1").payload(payload.to_string())
        };
        let events = [
            // Nothing was called yet that this could answer.
            (event("completed", "a"), &[][..]),
            (event("requested", "a"), &[1]),
            (event("requested", "b").id(id), &[1, 2]),
            (event("requested", "a"), &[1, 2, 3]),
            (event("completed", "other"), &[1, 2, 3]),
            (event("failed", "a"), &[2, 3]),
            (event("completed", "b").causation(id), &[3]),
            (event("completed", "a"), &[]),
            (event("completed", "a"), &[]),
        ];
        for (event, _) in &events {
            log.append_blocking(event.clone()).unwrap();
        }
        log.close_blocking().unwrap();
        let session = session(&path);
        let mut source = Source::open(&session).unwrap();
        let run = source.page(&Read::new(Query::stream("run-1"))).unwrap();
        let under_way = |scene: &Scene| -> Vec<u64> {
            let calls = scene.calls();
            calls.into_iter().map(|call| call.revision).collect()
        };
        let (mut each, mut at_once) = (Scene::default(), Scene::default());
        for (record, (_, expected)) in run.iter().zip(&events) {
            let record = record.as_ref().unwrap();
            for scene in [&mut each, &mut at_once] {
                scene.take(Some(record)).unwrap();
            }
            each.settle(&mut source).unwrap();
            assert_eq!(under_way(&each), *expected, "{}", record.revision);
        }
        at_once.settle(&mut source).unwrap();
        assert_eq!(under_way(&at_once), under_way(&each));
    }
}
