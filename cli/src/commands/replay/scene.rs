//! A run after one of its events.

use super::source::{Source, is_busy};
use crate::error::Failure;
use crate::output::count;
use runstone::runs::{Growing, RunSummary};
use runstone::{Log, Payload, Position, ReadError, Record, sessions};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A call that was begun and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// `None`: to be read.
    pub(super) name: Option<String>,
    pub(super) revision: u64,
    pub(super) position: Position,
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
    /// Events that could not be read, which this is without.
    damaged: u64,
    /// The session of the newest event that changed it; `None`: to be read.
    session: Option<Told>,
}

impl Scene {
    /// What of it is kept to go on from: without the session, which is read again.
    pub(super) fn kept(&self) -> Self {
        Self {
            growing: self.growing.clone(),
            calls: self.calls.clone(),
            damaged: self.damaged,
            session: None,
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
            return Ok(());
        };
        match event_type {
            "effect.claimed" | "tool.call.requested" => {
                let call = UnderWay {
                    name: None,
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

    /// Reads the names of the newest calls under way, as far as they are not known.
    pub(super) fn name_calls(
        &mut self,
        source: &mut Source<'_>,
        newest: usize,
    ) -> Result<(), Failure> {
        let mut calls: Vec<_> = self.calls.values_mut().collect();
        calls.sort_by_key(|call| Reverse(call.revision));
        for call in calls.into_iter().take(newest) {
            if call.name.is_none() {
                let position = call.position;
                call.name = Some(source.read(|log| name_of(log, position))?);
            }
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
    let document = session.document.into_value().to_string();
    Ok(Told { document, lacks })
}

/// Which call an event of the ledger is about: the digest of its key.
fn effect_of(record: &Record) -> Option<String> {
    let mut tags = record.header.tags.iter();
    tags.find(|tag| tag.starts_with("effect:")).cloned()
}

/// What is called by an event, if its content is there.
fn name_of(log: &Log, position: Position) -> Result<String, ReadError> {
    let record = match log.record(position) {
        Ok(record) => Some(record),
        Err(error) if error.position().is_some() => None,
        Err(error) => return Err(error),
    };
    let name = record.as_ref().and_then(|record| member(record, "name"));
    Ok(name.unwrap_or_else(|| "(a call)".to_owned()))
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
    use super::*;
    use runstone::{Erase, Runstone};

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
}
