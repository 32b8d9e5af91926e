//! Steps, and the calls of tools that they are.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::drafting::{Drafting, PRIMARY};
use crate::events::{ToolCallCompleted, ToolCallRequested};
use crate::formats::{LineOf, Record};
use crate::identity::short_digest;
use crate::json::{Object, keep_or_null, raw, unquoted};
use crate::reject::RejectReason;

type Draft = runstone_codec::event::Draft;

/// Among how many of the next steps that of an answer is looked for: there are steps whose answer
/// is not in the history, since it could not be read.
const AHEAD: usize = 8;

/// An answer of the model.
#[derive(Debug)]
pub(super) struct Answer {
    /// The event of its message.
    pub(super) said: Uuid,
    pub(super) action: Option<String>,
    /// The calls that it asks for by their names.
    pub(super) calls: Vec<ToolCallRequested>,
}

/// A call whose result was not seen yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call_id: String,
    name: String,
    call: Uuid,
}

/// One step.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) value: &'a RawValue,
    /// Its number.
    pub(super) at: u64,
    pub(super) line: u64,
    /// Whether it is that of the answer that was asked for, the ones before it being skipped.
    pub(super) is_last: bool,
}

/// The steps of a run, in their order.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    left: &'a [&'a RawValue],
    /// Digests of the actions of all steps.
    actions: Vec<[u8; 16]>,
    taken: usize,
    lines: LineOf<'a>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(record: &Record<'a>, steps: &'a [&'a RawValue]) -> Self {
        let action = |step: &&RawValue| {
            let step = Object::parse(step.get(), "step").unwrap_or_default();
            digest(step.text("action").as_deref())
        };
        Self {
            left: steps,
            actions: steps.iter().map(action).collect(),
            taken: 0,
            lines: LineOf::new(record),
        }
    }

    /// The steps up to the one with this action; none if it is not among the next.
    pub(super) fn up_to(&mut self, action: Option<&str>) -> Vec<Step<'a>> {
        let wanted = digest(action);
        let next = self.actions.iter().skip(self.taken).take(AHEAD);
        let found = next.enumerate().find(|(_, action)| **action == wanted);
        self.take(found.map_or(0, |(at, _)| at + 1))
    }

    /// The steps that are left.
    pub(super) fn rest(&mut self) -> Vec<Step<'a>> {
        self.take(self.left.len())
    }

    fn take(&mut self, count: usize) -> Vec<Step<'a>> {
        let (taken, left) = self.left.split_at(count);
        self.left = left;
        let mut steps = Vec::with_capacity(count);
        for (nth, value) in taken.iter().enumerate() {
            steps.push(Step {
                value,
                at: u64::try_from(self.taken).unwrap_or(u64::MAX),
                line: self.lines.of(value.get()),
                is_last: nth + 1 == count,
            });
            self.taken += 1;
        }
        steps
    }
}

/// Tells actions apart; without an action it is that of an empty one.
fn digest(action: Option<&str>) -> [u8; 16] {
    short_digest(action.unwrap_or_default().as_bytes())
}

/// The calls that a message asks for by their names.
pub(super) fn calls(message: &Object<'_>, at: u64) -> Result<Vec<ToolCallRequested>, RejectReason> {
    let listed = message.array("tool_calls")?.unwrap_or_default();
    let call = |(nth, call): (usize, &RawValue)| {
        let call = Object::parse(call.get(), "tool_calls")?;
        let id = call.string("id")?.map(String::from);
        let function = call.object("function")?.unwrap_or(call);
        let call_id = id.unwrap_or_else(|| format!("{at}.{nth}"));
        let mut call = ToolCallRequested::new(call_id, function.required("name")?);
        call.arguments = function
            .get("arguments")
            .map_or_else(|| keep_or_null(None), unquoted);
        Ok(call)
    };
    listed.into_iter().enumerate().map(call).collect()
}

/// The call that an action spells, as a line for a shell.
pub(super) fn spelled(
    holder: &Object<'_>,
    at: u64,
) -> Result<Option<ToolCallRequested>, RejectReason> {
    let (Some(text), Some(action)) = (holder.string("action")?, holder.get("action")) else {
        return Ok(None);
    };
    let Some(name) = text.split_whitespace().next() else {
        return Ok(None);
    };
    let mut call = ToolCallRequested::new(format!("step-{at}"), name);
    call.arguments = raw(format!("{{\"action\":{}}}", action.get()))?;
    Ok(Some(call))
}

/// Adds calls.
pub(super) fn request(
    drafting: Drafting<'_>,
    calls: &[ToolCallRequested],
    drafts: &mut Vec<Draft>,
) -> Result<Vec<Waiting>, RejectReason> {
    let mut waiting = Vec::with_capacity(calls.len());
    for (nth, call) in calls.iter().enumerate() {
        let part = format!("tool/{nth}");
        drafts.push(drafting.draft(&part, Some(drafting.id(PRIMARY)), call)?);
        waiting.push(Waiting {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            call: drafting.id(&part),
        });
    }
    Ok(waiting)
}

/// Adds the result of calls.
pub(super) fn complete(
    drafting: Drafting<'_>,
    waiting: &[Waiting],
    result: Option<&RawValue>,
    drafts: &mut Vec<Draft>,
) -> Result<(), RejectReason> {
    for (nth, one) in waiting.iter().enumerate() {
        let mut payload = ToolCallCompleted::new(one.call_id.clone()).name(one.name.clone());
        payload.result = keep_or_null(result);
        drafts.push(drafting.draft(&format!("result/{nth}"), Some(one.call), &payload)?);
    }
    Ok(())
}
