//! A run after one of its events.

use super::Found;
use crate::output::count;
use runstone::runs::{Growing, RunSummary};
use runstone::{Log, Payload, Position, ReadError, Record, sessions};
use serde_json::Value;
use std::collections::BTreeMap;

/// A call that was begun and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) name: String,
    pub(super) revision: u64,
}

/// The session after an event.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The document, as JSON.
    pub(super) document: String,
    /// What it lacks, or why it cannot be read.
    pub(super) lacks: Option<String>,
}

/// What is folded from the events up to one.
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

    /// Takes the next event; one that is damaged may have been a change of the session.
    pub(super) fn take(&mut self, found: &Found) -> Result<(), ReadError> {
        let Ok(record) = &found.record else {
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
        let (namespace, what) = event_type.split_once('.').unwrap_or((event_type, ""));
        let key = match namespace {
            "effect" => effect_of(record),
            "tool" => member(record, "call_id").map(|id| format!("tool {id}")),
            _ => None,
        };
        let Some(key) = key else {
            return Ok(());
        };
        match what {
            "claimed" | "call.requested" => {
                let name = member(record, "name").unwrap_or_else(|| "(a call)".to_owned());
                let revision = record.revision.get();
                self.calls.insert(key, UnderWay { name, revision });
            }
            "completed" | "failed" | "cancelled" | "released" | "reconciled" | "call.completed"
            | "call.failed" => {
                self.calls.remove(&key);
            }
            _ => {}
        }
        Ok(())
    }

    /// What the run did and used.
    pub(super) fn summary(&self, log: &Log) -> Result<Option<RunSummary>, ReadError> {
        self.growing.summary(log)
    }

    /// Calls under way, the oldest first.
    pub(super) fn calls(&self) -> Vec<UnderWay> {
        let mut calls: Vec<_> = self.calls.values().cloned().collect();
        calls.sort_by_key(|call| call.revision);
        calls
    }

    /// Events up to here that could not be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The session after the event at this position. It is read again only when an event has
    /// changed it.
    pub(super) fn session(
        &mut self,
        log: &Log,
        stream: &str,
        at: Position,
    ) -> Result<&Told, ReadError> {
        let told = match self.session.take() {
            Some(told) => told,
            None => told(log, stream, at)?,
        };
        Ok(self.session.insert(told))
    }
}

fn told(log: &Log, stream: &str, at: Position) -> Result<Told, ReadError> {
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
            let told = scene.session(&log, "run-1", at).unwrap();
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
