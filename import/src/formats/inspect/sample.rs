//! From samples to events.

use std::collections::BTreeMap;

use runstone_codec::event::Draft;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::agents::{Agents, RunId, SAMPLE, Within};
use super::events::{model_call, tool_call, tool_result, usage_of};
use super::places::{Places, answers};
use super::{Eval, drafting, harness_type, spaceless_digest};
use crate::calls::OpenCalls;
use crate::content;
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{
    ChatMessage, HarnessRecord, Part, RunFinished, RunStarted, ToolCallRequested, VerdictGiven,
};
use crate::format::Format;
use crate::formats::{LineOf, Record};
use crate::identity::event_id;
use crate::json::{Object, keep, keep_or_null, string};
use crate::numbers::unix_us;
use crate::output::Output;
use crate::reject::RejectReason;

/// How deep events may stand in each other. Deeper ones stay what their outer event keeps.
const MAX_NESTED: usize = 16;
/// How a text begins that stands among the sample's attachments.
const ATTACHMENT: &str = "attachment://";

/// A sample that is read.
pub(super) struct Sample<'a> {
    object: &'a Object<'a>,
    line: u64,
    messages: Vec<(&'a RawValue, u64)>,
    events: Vec<(&'a RawValue, u64)>,
    places: Places,
    attachments: BTreeMap<String, &'a RawValue>,
    agents: Agents,
    started: Uuid,
    /// Calls of models that asked for calls of tools, by the ids of these.
    asked: BTreeMap<String, Uuid>,
    /// Results of calls that have an event of their own, by their ids.
    answered: BTreeMap<String, Uuid>,
    /// Calls that only messages tell of.
    calls: OpenCalls,
    /// The last message.
    previous: Uuid,
    model_calls: u64,
}

impl<'a> Sample<'a> {
    /// Begins the sample's stream.
    pub(super) fn begin(
        eval: &Eval,
        name: &str,
        object: &'a Object<'a>,
        record: &Record<'a>,
        output: &mut Output,
    ) -> Result<Self, RejectReason> {
        let list = |name| object.array(name).map(Option::unwrap_or_default);
        let (messages, events) = (list("messages")?, list("events")?);
        let attachments = object.object("attachments").ok().flatten();
        let attachments = attachments.unwrap_or_default();
        let stream = format!("{}/{name}", eval.stream);
        let first = events
            .first()
            .map(|event| Object::parse(event.get(), "event"));
        let drafting = Drafting {
            occurred_at_us: first
                .and_then(Result::ok)
                .and_then(|event| event.get("timestamp").and_then(unix_us)),
            ..drafting(&stream, "sample")
        };
        let payload = RunStarted {
            name: format!("{} {name}", eval.task),
            input: object.get("input").map(keep),
            ..RunStarted::default()
        };
        let started = drafting.id("started");
        let parent = Some(eval.stream.as_str());
        let draft = drafting.started("started", Some(eval.started), parent, &payload)?;
        output.emit(record.line, &stream, vec![draft])?;
        let places = Places::find(&messages, &events);
        Ok(Self {
            object,
            line: record.line,
            messages: with_lines(messages, record),
            events: with_lines(events, record),
            places,
            attachments: attachments
                .members()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            agents: Agents::new(stream),
            started,
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            calls: OpenCalls::default(),
            previous: started,
            model_calls: 0,
        })
    }

    /// Hands on the events, each message among them at its place, and what is left.
    pub(super) fn read(mut self, output: &mut Output) {
        let within = Within {
            run: SAMPLE,
            begin: self.started,
        };
        let mut said = 0;
        for (at, (event, line)) in std::mem::take(&mut self.events).into_iter().enumerate() {
            self.say_until(at, &mut said, output);
            self.event(event, &at.to_string(), within, line, 0, output);
        }
        self.say_until(usize::MAX, &mut said, output);
        let line = self.line;
        let mut hand_on = |drafts: Result<Vec<Draft>, RejectReason>| {
            let stream = self.agents.stream(SAMPLE);
            if let Err(reason) = drafts.and_then(|drafts| output.emit(line, stream, drafts)) {
                output.reject(line, reason);
            }
        };
        hand_on(self.rest());
        hand_on(self.verdicts());
        hand_on(self.finished().map(|draft| vec![draft]));
    }

    /// Hands on the messages that were said after at most so many events.
    fn say_until(&mut self, events: usize, said: &mut usize, output: &mut Output) {
        while let Some((message, line)) = self.messages.get(*said).copied()
            && self.places.of(*said).after <= events
        {
            let handed = self.message(message, *said).and_then(|(id, drafts)| {
                output
                    .emit(line, self.agents.stream(SAMPLE), drafts)
                    .map(|()| id)
            });
            match handed {
                Ok(id) => self.previous = id,
                Err(reason) => output.reject(line, reason),
            }
            *said = said.saturating_add(1);
        }
    }

    /// Hands on an event and those that stand in it, or why it cannot be read.
    fn event(
        &mut self,
        event: &'a RawValue,
        path: &str,
        outer: Within,
        line: u64,
        depth: usize,
        output: &mut Output,
    ) {
        match self.one_event(event, path, outer, line, output) {
            Err(reason) => output.reject(line, reason),
            Ok((_, inner)) if depth >= MAX_NESTED || inner.is_empty() => {}
            Ok((within, inner)) => {
                for (nth, event) in inner.into_iter().enumerate() {
                    let path = format!("{path}.{nth}");
                    self.event(event, &path, within, line, depth + 1, output);
                }
            }
        }
    }

    /// Hands on an event. Answers what stands in it.
    fn one_event(
        &mut self,
        event: &'a RawValue,
        path: &str,
        outer: Within,
        line: u64,
        output: &mut Output,
    ) -> Result<(Within, Vec<&'a RawValue>), RejectReason> {
        let object = Object::parse(event.get(), "event")?;
        let kind = object.required("event")?;
        let inner = object.array("events")?.unwrap_or_default();
        let within = self.agents.of(&object, &kind, outer);
        let (record, domain) = (event_record(path), self.agents.stream(SAMPLE).to_owned());
        let stream = self.agents.stream(within.run).to_owned();
        let drafting = Drafting {
            domain: &domain,
            occurred_at_us: object.get("timestamp").and_then(unix_us),
            ..drafting(&stream, &record)
        };
        let kept = if inner.is_empty() {
            None
        } else {
            object.without(&["events"])?
        };
        let payload = HarnessRecord {
            original: kept.unwrap_or_else(|| keep(event)),
        };
        let cause = Some(within.begin);
        let mut drafts = vec![drafting.of_type(&harness_type(&kind), PRIMARY, cause, &payload)?];
        match kind.as_str() {
            "model" => {
                let call = model_call(&object, &drafting)?;
                self.model_calls += u64::from(call.is_some());
                drafts.extend(call);
                self.asks(&object, drafting.id(PRIMARY));
            }
            "tool" => {
                let call_id = object.required("id")?;
                let asked_by = self.asked.get(&call_id).copied();
                let result = object.get("result").map(|result| self.attached(result));
                drafts.append(&mut tool_call(&object, &drafting, asked_by, result)?);
                self.answered.insert(call_id, drafting.id("result"));
            }
            _ => {}
        }
        output.emit(line, &stream, drafts)?;
        let run = self.spans(&object, &kind, within.run, &drafting, line, output)?;
        let begin = drafting.id(PRIMARY);
        Ok((Within { run, begin }, inner))
    }

    /// Notes the calls of tools that a model asks for.
    fn asks(&mut self, event: &Object<'a>, call: Uuid) {
        for answer in answers(event) {
            let message = Object::parse(answer.get(), "message");
            let calls = message.and_then(|message| message.array("tool_calls"));
            for asked in calls.ok().flatten().unwrap_or_default() {
                let asked = Object::parse(asked.get(), "tool_calls");
                if let Some(id) = asked.ok().and_then(|asked| asked.text("id")) {
                    self.asked.insert(id.into_owned(), call);
                }
            }
        }
    }

    /// Follows the spans and steps, and the runs among them. Answers the run of the events that
    /// stand in this one.
    fn spans(
        &mut self,
        event: &Object<'_>,
        kind: &str,
        run: RunId,
        drafting: &Drafting<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<RunId, RejectReason> {
        let id = event.text("id").unwrap_or_default();
        let begin = drafting.id(PRIMARY);
        match kind {
            "span_begin" => {
                let within = if event.text("type").as_deref() == Some("agent") {
                    self.spawn(&id, event, drafting, line, output)?
                } else {
                    run
                };
                self.agents.span_begins(&id, run, within, begin);
            }
            "span_end" => {
                if let Some(ended) = self.agents.span_ends(&id) {
                    self.ends(ended, drafting, line, output)?;
                }
            }
            "step" if event.text("action").as_deref() == Some("begin") => {
                self.agents.step_begins(begin);
            }
            "subtask" => {
                let spawned = self.spawn(drafting.record, event, drafting, line, output)?;
                self.ends(spawned, drafting, line, output)?;
                return Ok(spawned);
            }
            _ => {}
        }
        Ok(run)
    }

    /// Begins the run of an agent.
    fn spawn(
        &mut self,
        id: &str,
        event: &Object<'_>,
        drafting: &Drafting<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<RunId, RejectReason> {
        let spawned = self.agents.spawn(id);
        let stream = self.agents.stream(spawned);
        let payload = RunStarted {
            name: event.text("name").unwrap_or_default().into_owned(),
            input: event.get("input").map(keep),
            ..RunStarted::default()
        };
        let parent = drafting.stream;
        let drafting = Drafting {
            stream,
            ..*drafting
        };
        let cause = Some(drafting.id(PRIMARY));
        let draft = drafting.started("started", cause, Some(parent), &payload)?;
        output.emit(line, stream, vec![draft])?;
        Ok(spawned)
    }

    /// Ends the run of an agent.
    fn ends(
        &self,
        run: RunId,
        drafting: &Drafting<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let stream = self.agents.stream(run);
        let drafting = Drafting {
            stream,
            ..*drafting
        };
        let payload = RunFinished {
            status: "success".to_owned(),
            ..RunFinished::default()
        };
        let draft = drafting.finished("finished", Some(drafting.id(PRIMARY)), &payload)?;
        output.emit(line, stream, vec![draft])
    }

    /// A text itself, where it stands among the attachments.
    fn attached(&self, value: &'a RawValue) -> &'a RawValue {
        let text = string(value);
        let hash = text.as_ref().and_then(|text| text.strip_prefix(ATTACHMENT));
        let found = hash.and_then(|hash| self.attachments.get(hash).copied());
        found.unwrap_or(value)
    }

    fn message(
        &mut self,
        message: &'a RawValue,
        at: usize,
    ) -> Result<(Uuid, Vec<Draft>), RejectReason> {
        let object = Object::parse(message.get(), "message")?;
        let role = object.required("role")?;
        let stream = self.agents.stream(SAMPLE).to_owned();
        let record = format!("message:{at}");
        let model = object.text("model");
        let drafting = Drafting {
            source: model.as_deref(),
            ..drafting(&stream, &record)
        };
        let primary = drafting.id(PRIMARY);
        let answers = self.places.of(at).answers.map(|event| {
            let event = event_record(&event.to_string());
            event_id(Format::Inspect, &stream, &event, PRIMARY)
        });
        let mut cause = answers.unwrap_or(self.previous);
        let (mut content, mut drafts) = (Vec::new(), Vec::new());
        if role == "tool" {
            let call_id = object.text("tool_call_id").unwrap_or_default().into_owned();
            cause = self.answered.get(&call_id).copied().unwrap_or(cause);
            content.push(Part::ToolResult {
                call_id: call_id.clone(),
            });
            if !self.places.is_told(&call_id) {
                let call = self.calls.answer(&call_id).or(Some(primary));
                let name = object.text("function").map(String::from);
                let (error, said) = (object.get("error"), object.get("content"));
                drafts.push(tool_result(&drafting, call, call_id, name, error, said)?);
            }
        } else if let Some(said) = object.get("content") {
            content = content::parts(said)?;
        }
        let calls = object.array("tool_calls")?.unwrap_or_default();
        for (nth, call) in calls.into_iter().enumerate() {
            let call = Object::parse(call.get(), "tool_calls")?;
            let (call_id, name) = (call.required("id")?, call.required("function")?);
            content.push(Part::ToolCall {
                call_id: call_id.clone(),
                name: name.clone(),
            });
            if self.places.is_told(&call_id) {
                continue;
            }
            let part = format!("tool/{nth}");
            self.calls.request(&call_id, drafting.id(&part));
            let mut requested = ToolCallRequested::new(call_id, name);
            requested.arguments = keep_or_null(call.get("arguments"));
            drafts.push(drafting.draft(&part, Some(primary), &requested)?);
        }
        let payload = ChatMessage::new(role)
            .parts(content)
            .original(keep(message));
        drafts.insert(0, drafting.draft(PRIMARY, Some(cause), &payload)?);
        Ok((primary, drafts))
    }

    /// What is recorded of the sample besides its messages and events. Where no event tells of
    /// calls of models, their sums count.
    fn rest(&self) -> Result<Vec<Draft>, RejectReason> {
        let Some(original) = self.object.without(&["messages", "events"])? else {
            return Ok(Vec::new());
        };
        let record = format!("rest:{}", spaceless_digest(original.get()));
        let drafting = drafting(self.agents.stream(SAMPLE), &record);
        let kind = harness_type("sample");
        let payload = HarnessRecord { original };
        let mut drafts = vec![drafting.of_type(&kind, PRIMARY, Some(self.started), &payload)?];
        let sums = self.object.object("model_usage").ok().flatten();
        for (model, usage) in sums.unwrap_or_default().members() {
            if self.model_calls > 0 {
                break;
            }
            let usage = Object::parse(usage.get(), "model_usage")?;
            let part = format!("model_usage/{model}");
            let call = usage_of(&usage, part.clone(), Some(model.to_owned()))?;
            drafts.push(drafting.llm_call(&part, Some(drafting.id(PRIMARY)), &call)?);
        }
        Ok(drafts)
    }

    /// The grades.
    fn verdicts(&self) -> Result<Vec<Draft>, RejectReason> {
        let scores = self.object.object("scores").ok().flatten();
        let mut drafts = Vec::new();
        for (by, score) in scores.unwrap_or_default().members() {
            let object = Object::parse(score.get(), "scores")?;
            let payload = VerdictGiven {
                subject: self.agents.stream(SAMPLE).to_owned(),
                by: by.to_owned(),
                verdict: verdict(&object),
                severity: "info".to_owned(),
                detail: keep(score),
            };
            let record = format!("score:{by}:{}", spaceless_digest(score.get()));
            let drafting = drafting(self.agents.stream(SAMPLE), &record);
            drafts.push(drafting.draft("verdict", Some(self.started), &payload)?);
        }
        Ok(drafts)
    }

    fn finished(&self) -> Result<Draft, RejectReason> {
        let why = |name, member| {
            let object = self.object.object(name).ok().flatten();
            object
                .and_then(|object| object.text(member))
                .map(String::from)
        };
        let has = |name| self.object.get(name).is_some();
        let (status, reason) = if has("error") {
            ("error", why("error", "message"))
        } else if has("limit") {
            ("terminal", why("limit", "type"))
        } else {
            ("success", None)
        };
        let payload = RunFinished {
            status: status.to_owned(),
            reason,
            ..RunFinished::default()
        };
        let drafting = drafting(self.agents.stream(SAMPLE), "sample");
        drafting.finished("finished", Some(self.started), &payload)
    }
}

/// The identity of an event by its place.
fn event_record(path: &str) -> String {
    format!("event:{path}")
}

fn with_lines<'a>(parts: Vec<&'a RawValue>, record: &Record<'a>) -> Vec<(&'a RawValue, u64)> {
    let mut lines = LineOf::new(record);
    let with_line = |part: &'a RawValue| (part, lines.of(part.get()));
    parts.into_iter().map(with_line).collect()
}

/// A grade in words. Inspect's own are correct, incorrect, partial and no answer.
fn verdict(score: &Object<'_>) -> String {
    let value = score.get("value");
    let word = value.and_then(string);
    let number = score.number("value");
    match (word.as_deref(), number) {
        (Some("C"), _) => "pass".to_owned(),
        (Some("I" | "N"), _) => "fail".to_owned(),
        (Some("P"), _) => "partial".to_owned(),
        (_, Some(number)) => if number >= 1.0 { "pass" } else { "fail" }.to_owned(),
        _ if score.is_true("value") => "pass".to_owned(),
        _ => "scored".to_owned(),
    }
}
