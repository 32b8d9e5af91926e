//! Event stores of zu, JSONL.
//!
//! A task is the stream `zu-jsonl/TASK`. An event is kept as `harness.zu_jsonl.TYPE`, caused by its
//! parent; calls of tools, turns, verdicts and the end of the task are typed events as well. An
//! event that stands there twice counts once.
//!
//! A store whose writer was killed ends in a part of an event, and the next writer put a whole one
//! behind it on the same line. The part is rejected; the whole one is read.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use runstone_codec::event::Draft;
use uuid::Uuid;

use super::{Reading, Record};
use crate::calls::OpenCalls;
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{
    ChatMessage, HarnessRecord, LlmCallCompleted, RunFinished, RunStarted, ToolCallCompleted,
    ToolCallFailed, ToolCallRequested, VerdictGiven,
};
use crate::format::Format;
use crate::identity::{event_id, name_part};
use crate::json::{Object, keep, keep_or_null, raw};
use crate::numbers::unix_us;
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

/// How an event begins, as it is written.
const BEGINNING: &str = "{\"event_id\"";
/// How often a line is looked through for one.
const MAX_PARTS: usize = 16;
/// Most bytes of an event's type as an event type here.
const MAX_TYPE_BYTES: usize = 128;

/// Reads events.
#[derive(Debug)]
pub(super) struct ZuJsonl {
    prefix: String,
    records: Records<()>,
    /// The tasks that were seen, with the calls of tools they wait for.
    tasks: BTreeMap<String, OpenCalls>,
}

impl ZuJsonl {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            tasks: BTreeMap::new(),
        }
    }

    fn event(&mut self, text: &str, line: u64, output: &mut Output) -> Result<(), RejectReason> {
        let event = Event::parse(text, &self.prefix)?;
        let stream = &event.stream;
        let id = Some(record_of(&event.id));
        let Some(identity) = self.records.identity(stream, id, text, ())? else {
            return output.emit(line, stream, Vec::new());
        };
        let drafting = event.drafting(&identity);
        let original = raw(text.to_owned())?;
        let primary = drafting.id(PRIMARY);
        let kept = HarnessRecord { original };
        let mut drafts = Vec::new();
        if event.kind == "harness.task.started" {
            drafts.push(event.started(drafting)?);
        }
        drafts.push(drafting.of_type(&event.harness_type(), PRIMARY, event.parent(), &kept)?);
        let calls = self.tasks.entry(stream.clone()).or_default();
        drafts.extend(event.typed(drafting, primary, calls)?);
        output.emit(line, stream, drafts)
    }
}

impl Reading for ZuJsonl {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let Err(broken) = Object::parse(record.text, "record") else {
            return self.event(record.text, record.line, output);
        };
        let parts = record.text.match_indices(BEGINNING).map(|(at, _)| at);
        let mut parts = parts.filter(|at| *at > 0).take(MAX_PARTS);
        let whole = parts.find_map(|at| {
            let text = record.text.get(at..)?;
            Object::parse(text, "record").is_ok().then_some(text)
        });
        let Some(whole) = whole else {
            return Err(broken);
        };
        output.reject(record.line, RejectReason::Truncated);
        self.event(whole, record.line, output)
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// What is looked at in every event.
struct Event<'a> {
    object: Object<'a>,
    payload: Object<'a>,
    id: String,
    task: String,
    kind: String,
    source: String,
    stream: String,
}

impl<'a> Event<'a> {
    fn parse(text: &'a str, prefix: &str) -> Result<Self, RejectReason> {
        let object = Object::parse(text, "record")?;
        let task = object.required("task_id")?;
        Ok(Self {
            payload: object.object("payload")?.unwrap_or_default(),
            id: object.required("event_id")?,
            kind: object.required("type")?,
            source: object.text("source").unwrap_or_default().into_owned(),
            stream: format!("{prefix}{}/{}", Format::ZuJsonl, name_part(&task)),
            task,
            object,
        })
    }

    fn drafting<'b>(&'b self, record: &'b str) -> Drafting<'b> {
        Drafting {
            format: Format::ZuJsonl,
            stream: &self.stream,
            domain: &self.stream,
            record,
            occurred_at_us: self.object.get("ts").and_then(unix_us),
            source: Some(&self.source),
        }
    }

    fn parent(&self) -> Option<Uuid> {
        let parent = self.object.text("parent_id")?;
        let is_other = parent != self.id.as_str();
        is_other.then(|| event_id(Format::ZuJsonl, &self.stream, &record_of(&parent), PRIMARY))
    }

    /// `harness.zu_jsonl.TYPE`, as much of the type as there is room for.
    fn harness_type(&self) -> String {
        let mut kind = format!("harness.{}", Format::ZuJsonl.segment());
        let own = self.kind.strip_prefix("harness.").unwrap_or(&self.kind);
        for part in own.split('.').map(segment) {
            if kind.len() + 1 + part.len() > MAX_TYPE_BYTES {
                break;
            }
            kind.push('.');
            kind.push_str(&part);
        }
        kind
    }

    fn text(&self, name: &str) -> Option<String> {
        self.payload.text(name).map(String::from)
    }

    fn started(&self, drafting: Drafting<'_>) -> Result<Draft, RejectReason> {
        let payload = RunStarted {
            name: self.task.clone(),
            input: self.payload.get("query").map(keep),
            target: self.text("target"),
            ..RunStarted::default()
        };
        drafting.started("started", None, None, &payload)
    }

    /// The typed events that it is.
    fn typed(
        &self,
        drafting: Drafting<'_>,
        primary: Uuid,
        calls: &mut OpenCalls,
    ) -> Result<Vec<Draft>, RejectReason> {
        let cause = Some(primary);
        let part = "event";
        let draft = match self.kind.as_str() {
            "harness.turn.completed" => return self.turn(drafting, cause),
            "harness.tool.invoked" => {
                calls.request(&self.call(), drafting.id(part));
                let mut call = ToolCallRequested::new(
                    drafting.id(part).to_string(),
                    self.payload.required("tool")?,
                );
                call.arguments = keep_or_null(self.payload.get("args"));
                drafting.draft(part, cause, &call)?
            }
            "harness.tool.returned" => {
                let call = calls.answer(&self.call());
                self.returned(drafting, call.unwrap_or(primary))?
            }
            "harness.detector.fired" | "harness.validation.failed" => {
                drafting.draft(part, cause, &self.verdict("detector", "severity"))?
            }
            "harness.defense.blocked" => {
                drafting.draft(part, cause, &self.verdict("tool", "kind"))?
            }
            "harness.task.completed" => self.finished(drafting, cause, "success")?,
            "harness.task.terminal" => self.finished(drafting, cause, "terminal")?,
            "harness.task.escalated" if self.payload.is_true("exhausted") => {
                self.finished(drafting, cause, "escalated")?
            }
            _ => return Ok(Vec::new()),
        };
        Ok(vec![draft])
    }

    /// What a result and its call have in common: they name neither each other nor an id.
    fn call(&self) -> String {
        let turn = self.object.text("parent_id").unwrap_or_default();
        let tool = self.payload.text("tool").unwrap_or_default();
        format!("{turn}\n{tool}")
    }

    /// A result. Which call it answers is only known from the events before, and so a part of its
    /// id.
    fn returned(&self, drafting: Drafting<'_>, call: Uuid) -> Result<Draft, RejectReason> {
        let part = format!("result/{call}");
        let observed = keep_or_null(self.payload.get("observation"));
        let failed = Object::parse(observed.get(), "observation")
            .is_ok_and(|object| object.get("error").is_some());
        let (call_id, name) = (call.to_string(), self.text("tool"));
        if failed {
            let mut payload = ToolCallFailed::new(call_id);
            payload.name = name;
            payload.error = observed;
            return drafting.draft(&part, Some(call), &payload);
        }
        let mut payload = ToolCallCompleted::new(call_id);
        payload.name = name;
        payload.result = observed;
        drafting.draft(&part, Some(call), &payload)
    }

    /// One call of a model, and what it said.
    fn turn(
        &self,
        drafting: Drafting<'_>,
        cause: Option<Uuid>,
    ) -> Result<Vec<Draft>, RejectReason> {
        let usage = self.payload.object("usage")?.unwrap_or_default();
        let count = |name| usage.count(name).map(Option::unwrap_or_default);
        let mut call = LlmCallCompleted::new(self.id.clone())
            .input_tokens(count("input_tokens")?)
            .output_tokens(count("output_tokens")?);
        call.model = self.text("model");
        let mut drafts = vec![drafting.llm_call("usage", cause, &call)?];
        if let Some(text) = self.text("text") {
            let said = ChatMessage::new("assistant").text(text);
            drafts.push(drafting.draft("event", cause, &said)?);
        }
        Ok(drafts)
    }

    fn verdict(&self, by: &str, verdict: &str) -> VerdictGiven {
        let severity = self.text("severity");
        VerdictGiven {
            subject: self.stream.clone(),
            by: self.text(by).unwrap_or_else(|| self.source.clone()),
            verdict: self.text(verdict).unwrap_or_default(),
            severity: severity.unwrap_or_else(|| "error".to_owned()),
            detail: keep_or_null(self.payload.get("detail")),
        }
    }

    fn finished(
        &self,
        drafting: Drafting<'_>,
        cause: Option<Uuid>,
        status: &str,
    ) -> Result<Draft, RejectReason> {
        let finished = RunFinished {
            status: status.to_owned(),
            value: self.payload.get("value").map(keep),
            reason: self.text("reason"),
        };
        drafting.finished("finished", cause, &finished)
    }
}

fn record_of(id: &str) -> String {
    format!("id:{id}")
}
