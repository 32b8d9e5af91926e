//! The steps of a run as they stood at a point.

use runstone_codec::{Position, Schema, TypedEvent};
use runstone_projections::events::{
    StepBlocked, StepCompleted, StepFailed, StepSkipped, StepStarted, control,
};
use runstone_projections::lines::{self, Line};
use runstone_projections::runs::Told;
use runstone_projections::upcasters;
use runstone_store::{Item, Log, Payload, ReadError, Record};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Bytes that an attempt takes in memory without its outcome, about.
const STEP_BYTES: usize = 512;
/// How many bytes a value in memory takes for each byte of its JSON, about.
const IN_MEMORY: usize = 8;

/// How an attempt of a step stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepStatus {
    /// It had begun.
    Started,
    /// It had ended as it was to.
    Completed,
    /// It had failed.
    Failed,
    /// It might not go on.
    Blocked,
    /// It was not to be done.
    Skipped,
}

impl StepStatus {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// An attempt of a step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The node; `None` if that was erased.
    pub node: Option<String>,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// How it stood.
    pub status: StepStatus,
    /// Where it began; `None` if nothing says that it did.
    pub began: Option<Position>,
    /// Where it ended.
    pub ended: Option<Position>,
    /// What it gave, how it failed, what stopped it, or why it was not done; `None` if it said
    /// nothing, or that was erased.
    pub outcome: Option<Value>,
}

/// The attempts of the steps of a run as they stood after a position, in the order in which they began.
/// What was rolled back by then is not among them, and what a fork shares is.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn steps(log: &Log, stream: &str, at: Position) -> Result<Vec<Arc<Step>>, ReadError> {
    steps_of(log, &Told::of(log, stream, Some(at))?)
}

pub(crate) fn steps_of(log: &Log, told: &Told) -> Result<Vec<Arc<Step>>, ReadError> {
    let (mut steps, mut from) = (Steps::default(), 0);
    if let Some((first, to)) = told.begins(log) {
        let tells = |record: &Record| first.tells(record);
        let as_of = |line: &Steps| line.as_of(to, told.parts().len() > 1);
        if let Some(begun) = lines::up_to(log, (&first.stream, to), tells, as_of) {
            (steps, from) = (begun, to.get().saturating_add(1));
        }
    }
    for record in told.read_from(log, &Steps::item(), (from, true)) {
        steps.take(&record?)?;
    }
    Ok(steps.all)
}

/// Attempts as the events of a run tell them.
#[derive(Default)]
struct Steps {
    all: Vec<Arc<Step>>,
    /// The node of each, by its digest.
    nodes: Vec<Vec<u8>>,
    /// The newest attempt of each node.
    newest: BTreeMap<Vec<u8>, usize>,
    /// Of the content that they are from.
    bytes: usize,
}

impl Line for Steps {
    const WITH_PAYLOADS: bool = true;

    fn item() -> Item {
        Item::new().of_type("step.*")
    }

    fn take(&mut self, record: &Record) -> Result<(), ReadError> {
        let node = record.control.get_bytes(control::NODE).unwrap_or_default();
        let known = self.newest.get(node).and_then(|at| self.all.get_mut(*at));
        let is_start = record.header.event_type == StepStarted::TYPE;
        let bytes = record.payload.bytes().map_or(0, <[u8]>::len);
        self.bytes = self.bytes.saturating_add(bytes);
        match known {
            Some(step) if !is_start && step.ended.is_none() => end(Arc::make_mut(step), record),
            _ => {
                self.newest.insert(node.to_vec(), self.all.len());
                self.nodes.push(node.to_vec());
                self.all.push(Arc::new(begun(record, is_start)));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let steps = self.all.len().saturating_mul(STEP_BYTES);
        steps.saturating_add(self.bytes.saturating_mul(IN_MEMORY))
    }
}

impl Steps {
    /// The attempts as they stood after a position; to take more events from there on, also which is
    /// the newest of each node.
    fn as_of(&self, at: Position, is_taken_on: bool) -> Self {
        let has_come =
            |step: &Arc<Step>| step.began.or(step.ended).is_some_and(|first| first <= at);
        let len = self.all.partition_point(has_come);
        let steps = self.all.iter().take(len);
        let all = steps.map(|step| step_as_of(step, at)).collect();
        let mut stood = Self {
            all,
            ..Self::default()
        };
        if is_taken_on {
            stood.nodes = self.nodes.iter().take(len).cloned().collect();
            stood.newest = stood.nodes.iter().cloned().zip(0..).collect();
        }
        stood
    }
}

fn step_as_of(step: &Arc<Step>, at: Position) -> Arc<Step> {
    if step.ended.is_none_or(|ended| ended <= at) {
        return Arc::clone(step);
    }
    Arc::new(Step {
        node: step.node.clone(),
        attempt: step.attempt,
        status: StepStatus::Started,
        began: step.began,
        ended: None,
        outcome: None,
    })
}

fn begun(record: &Record, is_start: bool) -> Step {
    let content = content(record);
    let node = content.as_ref().and_then(|content| content.get("node"));
    let mut step = Step {
        node: node.and_then(Value::as_str).map(str::to_owned),
        attempt: record.control.get_u64(control::STEP_ATTEMPT).unwrap_or(1),
        status: StepStatus::Started,
        began: is_start.then_some(record.position),
        ended: None,
        outcome: None,
    };
    if !is_start {
        end(&mut step, record);
    }
    step
}

fn end(step: &mut Step, record: &Record) {
    let said = content(record);
    let member = |name: &str| said.as_ref().and_then(|said| said.get(name)).cloned();
    step.ended = Some(record.position);
    (step.status, step.outcome) = match record.header.event_type.as_str() {
        StepCompleted::TYPE => (StepStatus::Completed, member("output")),
        StepFailed::TYPE => (StepStatus::Failed, member("error")),
        StepBlocked::TYPE => (StepStatus::Blocked, member("by")),
        StepSkipped::TYPE => (StepStatus::Skipped, member("because")),
        _ => (step.status, None),
    };
}

/// The content of an event as its newest version has it.
pub(crate) fn content(record: &Record) -> Option<Value> {
    let Payload::Open(payload) = &record.payload else {
        return None;
    };
    let (name, version) = (
        record.header.event_type.to_string(),
        record.header.schema_version,
    );
    let payload = serde_json::from_slice(payload).ok()?;
    let newest = upcasters().newest(Schema::new(name, version), payload);
    newest.ok().map(|(_, payload)| payload)
}
