//! A run after one of its events.

use runstone::runs::{Growing, RunSummary};
use runstone::{Log, Payload, ReadError, Record, sessions};
use serde_json::Value;
use std::collections::BTreeMap;

/// A call that was begun and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) name: String,
    pub(super) revision: u64,
}

/// What is folded from the events up to one.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    growing: Growing,
    calls: BTreeMap<String, UnderWay>,
    /// The session as text, of the newest event that changed it.
    session: Option<String>,
    session_is_stale: bool,
}

impl Scene {
    /// Takes the next event.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), ReadError> {
        self.growing.take(record)?;
        let event_type = record.header.event_type.as_str();
        self.session_is_stale |= event_type.starts_with("session.")
            || matches!(
                event_type,
                "step.completed" | "run.rolled_back" | "run.forked"
            );
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

    /// The session after this event, as JSON. It is read again only when an event has changed it.
    pub(super) fn session(&mut self, log: &Log, record: &Record) -> Result<&str, ReadError> {
        if self.session_is_stale || self.session.is_none() {
            let stream = &record.header.stream;
            let session = sessions::state_at(log, stream, Some(record.position))?;
            let document = session.document.into_value();
            self.session = Some(document.to_string());
            self.session_is_stale = false;
        }
        Ok(self.session.as_deref().unwrap_or_default())
    }
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
