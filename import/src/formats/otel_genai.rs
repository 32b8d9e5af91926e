//! OpenTelemetry spans of agents, with the semantic conventions for generative AI, as any-agent
//! writes them: `{"spans": [..], "final_output": ..}`.
//!
//! Spans make a tree, and so do their streams: the spans below the span SPAN of the trace TRACE are
//! in the stream `otel-genai/TRACE/SPAN`, whose run that span is. A span that is an agent or has no
//! parent is always the run of a stream. Children end, and so are written, before their parents:
//! the beginning of a run comes after what happened in it, and ids of events follow from the ids of
//! spans alone.

use std::collections::BTreeSet;

use runstone_codec::event::Draft;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Reading, Record};
use crate::content;
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{
    ChatMessage, HarnessRecord, LlmCallCompleted, Part, RunFinished, RunStarted, ToolCallCompleted,
    ToolCallFailed, ToolCallRequested,
};
use crate::format::Format;
use crate::framing::Place;
use crate::identity::{event_id, hex, name_part, short_digest};
use crate::json::{Object, array, is_array, keep, keep_or_null, raw, string, unquoted};
use crate::numbers::{unix_us, usd_micros};
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

/// The member that holds the spans, with its quotes.
pub(super) const SPANS: &str = "\"spans\"";

/// Operations that are calls of models.
const MODEL_CALLS: [&str; 4] = ["call_llm", "chat", "text_completion", "generate_content"];
/// Attributes that hold a value, by the names that versions of the conventions give them.
const ARGUMENTS: [&str; 2] = ["gen_ai.tool.args", "gen_ai.tool.call.arguments"];
const RESULT: [&str; 2] = ["gen_ai.output", "gen_ai.tool.call.result"];
const ANSWER: [&str; 2] = ["gen_ai.output.messages", "gen_ai.output"];

/// Reads spans.
#[derive(Debug)]
pub(super) struct OtelGenai {
    prefix: String,
    records: Records<()>,
    /// Streams of spans that others name as their parent.
    parents: BTreeSet<[u8; 16]>,
    /// The last span without a parent: its stream and its event.
    root: Option<(String, Uuid)>,
    max: usize,
}

/// What is looked at in every span.
struct Span<'a> {
    text: &'a str,
    line: u64,
    trace: String,
    id: String,
    parent: Option<String>,
    name: String,
    operation: String,
    attributes: Object<'a>,
    failed: bool,
    why: Option<String>,
    begin_us: Option<u64>,
    end_us: Option<u64>,
}

impl<'a> Span<'a> {
    fn parse(object: &Object<'a>, record: &Record<'a>) -> Result<Self, RejectReason> {
        let context = object.object("context")?.ok_or(RejectReason::WrongType {
            field: "context",
            expected: "an object",
        })?;
        // That of a root may be there, without a span in it.
        let parent = object.object("parent")?;
        let parent = parent.filter(|parent| parent.get("span_id").is_some());
        let status = object.object("status")?.unwrap_or_default();
        let attributes = object.object("attributes")?.unwrap_or_default();
        let failed = status
            .text("status_code")
            .is_some_and(|code| code.eq_ignore_ascii_case("error"));
        Ok(Self {
            text: record.text,
            line: record.line,
            trace: id(&context, "trace_id")?,
            id: id(&context, "span_id")?,
            parent: parent.map(|parent| id(&parent, "span_id")).transpose()?,
            name: object.text("name").unwrap_or_default().into_owned(),
            operation: attributes
                .text("gen_ai.operation.name")
                .unwrap_or_default()
                .into_owned(),
            attributes,
            failed,
            why: status.text("description").map(String::from),
            begin_us: object.get("start_time").and_then(unix_us),
            end_us: object.get("end_time").and_then(unix_us),
        })
    }

    fn is_agent(&self) -> bool {
        self.operation == "invoke_agent"
    }

    fn is_model_call(&self) -> bool {
        MODEL_CALLS.contains(&self.operation.as_str())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.attributes.text(name).map(String::from)
    }

    /// The first attribute that is there.
    fn any(&self, names: [&str; 2]) -> Option<&'a RawValue> {
        names.into_iter().find_map(|name| self.attributes.get(name))
    }
}

/// An id, which may be a number of any length, or text.
fn id(object: &Object<'_>, field: &'static str) -> Result<String, RejectReason> {
    let wrong = RejectReason::WrongType {
        field,
        expected: "a number or a string",
    };
    let value = object.get(field).ok_or_else(|| wrong.clone())?;
    match string(value) {
        Some(text) => Ok(name_part(&text)),
        None if is_array(value) || value.get().starts_with('{') => Err(wrong),
        None => Ok(name_part(value.get())),
    }
}

impl OtelGenai {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            parents: BTreeSet::new(),
            root: None,
            max: options.records,
        }
    }

    fn span(&mut self, span: &Span<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let trace = format!("{}{}/{}", self.prefix, Format::OtelGenai, span.trace);
        let own = format!("{trace}/{}", span.id);
        let parent = span.parent.as_ref();
        let home = parent.map(|parent| format!("{trace}/{parent}"));
        let is_run = span.is_agent() || home.is_none();
        let stream = home.as_ref().filter(|_| !is_run).unwrap_or(&own);
        let Some(record) =
            self.records
                .identity(&trace, Some(span_record(&span.id)), span.text, ())?
        else {
            return output.emit(span.line, stream, Vec::new());
        };
        let drafting = Drafting {
            format: Format::OtelGenai,
            stream,
            domain: &trace,
            record: &record,
            occurred_at_us: span.end_us,
            source: None,
        };
        let cause =
            parent.map(|parent| event_id(Format::OtelGenai, &trace, &span_record(parent), PRIMARY));
        let begins = is_run || self.parents.contains(&short_digest(own.as_bytes()));
        let mut drafts = Vec::new();
        if span.is_model_call() {
            drafts = self.said_before(span, &drafting, cause)?;
        }
        drafts.append(&mut events(span, drafting, cause)?);
        if begins {
            let run = Drafting {
                stream: &own,
                ..drafting
            };
            let draft = started(span, run, cause, home.as_deref())?;
            output.emit(span.line, &own, vec![draft])?;
            output.emit(span.line, stream, drafts)?;
            let draft = finished(span, run)?;
            output.emit(span.line, &own, vec![draft])?;
        } else {
            output.emit(span.line, stream, drafts)?;
        }
        let Some(home) = home else {
            // Not this record's own: a root that comes again, changed, must not change the cause
            // of events that come again as they were.
            let first = event_id(Format::OtelGenai, &trace, &span_record(&span.id), PRIMARY);
            self.root = Some((own.clone(), first));
            return Ok(());
        };
        self.has_child(&home)
    }

    fn has_child(&mut self, stream: &str) -> Result<(), RejectReason> {
        if self.parents.len() >= self.max {
            return Err(RejectReason::TooManyRecords { max: self.max });
        }
        self.parents.insert(short_digest(stream.as_bytes()));
        Ok(())
    }

    /// The messages that a model was given, but for those that a call in the same stream was given
    /// before.
    fn said_before(
        &mut self,
        span: &Span<'_>,
        drafting: &Drafting<'_>,
        cause: Option<Uuid>,
    ) -> Result<Vec<Draft>, RejectReason> {
        let mut drafts = Vec::new();
        let Some(given) = span.attributes.get("gen_ai.input.messages").map(unquoted) else {
            return Ok(drafts);
        };
        for (at, message) in array(given.get(), "gen_ai.input.messages")?
            .into_iter()
            .enumerate()
        {
            let text = message.get();
            let digest = hex(&short_digest(text.as_bytes()));
            let named = format!("input:{}:{at}:{digest}", drafting.stream);
            let Some(record) = self
                .records
                .identity(drafting.domain, Some(named), text, ())?
            else {
                continue;
            };
            let message = Object::parse(text, "message")?;
            let drafting = Drafting {
                record: &record,
                occurred_at_us: span.begin_us,
                ..*drafting
            };
            let payload = ChatMessage::new(message.required("role")?).parts(said(&message)?);
            drafts.push(drafting.draft(PRIMARY, cause, &payload)?);
        }
        Ok(drafts)
    }

    /// A member of the recording besides its spans.
    fn member(
        &self,
        name: &str,
        value: &RawValue,
        line: u64,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let (stream, root) = self.root.as_ref().ok_or(RejectReason::NoSession)?;
        let record = format!("{name}:{}", hex(&short_digest(value.get().as_bytes())));
        let drafting = Drafting {
            format: Format::OtelGenai,
            stream,
            domain: stream,
            record: &record,
            occurred_at_us: None,
            source: None,
        };
        let payload = HarnessRecord {
            original: keep(value),
        };
        let draft = drafting.of_type(&harness_type(name), PRIMARY, Some(*root), &payload)?;
        output.emit(line, stream, vec![draft])
    }
}

impl Reading for OtelGenai {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let object = Object::parse(record.text, "record")?;
        let is_member = record.place == Place::Top && object.members().next().is_some();
        if !is_member || object.get("context").is_some() {
            return self.span(&Span::parse(&object, record)?, output);
        }
        object
            .members()
            .try_for_each(|(name, value)| self.member(name, value, record.line, output))
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// The identity of a span.
fn span_record(id: &str) -> String {
    format!("span:{id}")
}

fn harness_type(name: &str) -> String {
    format!("harness.{}.{}", Format::OtelGenai.segment(), segment(name))
}

/// The beginning of the run that a span is.
fn started(
    span: &Span<'_>,
    drafting: Drafting<'_>,
    cause: Option<Uuid>,
    parent: Option<&str>,
) -> Result<Draft, RejectReason> {
    let name = span.text("gen_ai.agent.name");
    let payload = RunStarted {
        name: name.unwrap_or_else(|| span.name.clone()),
        ..RunStarted::default()
    };
    let drafting = Drafting {
        occurred_at_us: span.begin_us,
        ..drafting
    };
    drafting.started("started", cause, parent, &payload)
}

/// The end of the run that a span is.
fn finished(span: &Span<'_>, drafting: Drafting<'_>) -> Result<Draft, RejectReason> {
    let payload = RunFinished {
        status: if span.failed { "error" } else { "success" }.to_owned(),
        reason: span.why.clone(),
        ..RunFinished::default()
    };
    drafting.finished("finished", Some(drafting.id(PRIMARY)), &payload)
}

/// What a span tells of itself.
fn events(
    span: &Span<'_>,
    drafting: Drafting<'_>,
    cause: Option<Uuid>,
) -> Result<Vec<Draft>, RejectReason> {
    let original = raw(span.text.to_owned())?;
    if span.is_model_call() {
        return model_call(span, drafting, cause, original);
    }
    let is_tool = span.operation == "execute_tool";
    let kind = match span.operation.as_str() {
        "" => "span",
        operation => operation,
    };
    let payload = HarnessRecord { original };
    let mut drafts = vec![drafting.of_type(&harness_type(kind), PRIMARY, cause, &payload)?];
    if is_tool {
        drafts.append(&mut tool_call(span, drafting)?);
    }
    Ok(drafts)
}

fn model_call(
    span: &Span<'_>,
    drafting: Drafting<'_>,
    cause: Option<Uuid>,
    original: Box<RawValue>,
) -> Result<Vec<Draft>, RejectReason> {
    let answered = span.text("gen_ai.response.model");
    let model = answered.or_else(|| span.text("gen_ai.request.model"));
    let drafting = Drafting {
        source: model.as_deref(),
        ..drafting
    };
    let content = span.any(ANSWER).map(|given| answer(span, given));
    let payload = ChatMessage::new("assistant")
        .parts(content.transpose()?.unwrap_or_default())
        .original(original);
    let mut drafts = vec![drafting.draft(PRIMARY, cause, &payload)?];
    let count = |name| span.attributes.count(name).map(Option::unwrap_or_default);
    let prices = ["gen_ai.usage.input_cost", "gen_ai.usage.output_cost"];
    let prices = prices.map(|name| span.attributes.number(name));
    let known = prices.iter().any(Option::is_some);
    let mut call = LlmCallCompleted::new(span.id.clone())
        .input_tokens(count("gen_ai.usage.input_tokens")?)
        .output_tokens(count("gen_ai.usage.output_tokens")?);
    call.usd_micros = known
        .then(|| usd_micros(prices.into_iter().flatten().sum()))
        .flatten();
    call.model.clone_from(&model);
    drafts.push(drafting.llm_call("usage", Some(drafting.id(PRIMARY)), &call)?);
    Ok(drafts)
}

/// What a model answered: text, calls of tools, or messages.
fn answer(span: &Span<'_>, given: &RawValue) -> Result<Vec<Part>, RejectReason> {
    let inner = unquoted(given);
    let text = string(given).map_or_else(|| given.get().to_owned(), String::from);
    let as_text = || Ok(vec![Part::Text { text: text.clone() }]);
    if !is_array(&inner) {
        return as_text();
    }
    let mut parts = Vec::new();
    for (nth, one) in array(inner.get(), "gen_ai.output")?.into_iter().enumerate() {
        let Ok(one) = Object::parse(one.get(), "gen_ai.output") else {
            return as_text();
        };
        match one.text("tool.name") {
            Some(name) => parts.push(Part::ToolCall {
                call_id: format!("{}.{nth}", span.id),
                name: name.into_owned(),
            }),
            None => parts.append(&mut said(&one)?),
        }
    }
    Ok(parts)
}

/// What a message says: in `content`, or in the `parts` of the conventions.
fn said(message: &Object<'_>) -> Result<Vec<Part>, RejectReason> {
    if let Some(said) = message.get("content") {
        return content::parts(said);
    }
    let mut parts = Vec::new();
    for part in message.array("parts")?.unwrap_or_default() {
        let part = Object::parse(part.get(), "parts")?;
        let text = |name| part.text(name).map(String::from).unwrap_or_default();
        parts.push(match part.text("type").as_deref() {
            Some("text") => Part::Text {
                text: text("content"),
            },
            Some("reasoning") => Part::Thinking {
                text: text("content"),
            },
            Some("tool_call") => Part::ToolCall {
                call_id: text("id"),
                name: text("name"),
            },
            Some("tool_call_response") => Part::ToolResult {
                call_id: text("id"),
            },
            _ => content::part(&part),
        });
    }
    Ok(parts)
}

/// The call of a tool, and how it ended.
fn tool_call(span: &Span<'_>, drafting: Drafting<'_>) -> Result<Vec<Draft>, RejectReason> {
    let name = span.text("gen_ai.tool.name").unwrap_or_else(|| {
        let name = span.name.strip_prefix("execute_tool ");
        name.unwrap_or(&span.name).to_owned()
    });
    let call_id = span.text("gen_ai.tool.call.id");
    let call_id = call_id.unwrap_or_else(|| span.id.clone());
    let mut requested = ToolCallRequested::new(call_id.clone(), name.clone());
    requested.arguments = span
        .any(ARGUMENTS)
        .map_or_else(|| keep_or_null(None), unquoted);
    let begin = Drafting {
        occurred_at_us: span.begin_us,
        ..drafting
    };
    let call = begin.draft("call", Some(drafting.id(PRIMARY)), &requested)?;
    let (answer, cause) = (span.any(RESULT), Some(drafting.id("call")));
    let result = if span.failed {
        let why = span.why.as_ref();
        let why = why.map(|why| raw(serde_json::Value::from(why.as_str()).to_string()));
        let mut failed = ToolCallFailed::new(call_id).name(name);
        failed.error = why.transpose()?.unwrap_or_else(|| keep_or_null(answer));
        drafting.draft("result", cause, &failed)?
    } else {
        let mut completed = ToolCallCompleted::new(call_id).name(name);
        completed.result = keep_or_null(answer);
        drafting.draft("result", cause, &completed)?
    };
    Ok(vec![call, result])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::control;
    use crate::formats::tests::{drafts, import, of_type, payload, rejections, types};

    const TRACE: &str = "340282366920938463463374607431768211455";

    fn span(id: u64, parent: Option<u64>, name: &str, attributes: &str, rest: &str) -> String {
        let context = |id: u64| format!(r#"{{"trace_id":{TRACE},"span_id":{id}}}"#);
        let parent = parent.map_or_else(|| "null".to_owned(), context);
        format!(
            r#"{{"name":"{name}","parent":{parent},"context":{},"start_time":1758026601289496999,"end_time":1758026601631557000,"attributes":{{{attributes}}}{rest}}}"#,
            context(id)
        )
    }

    fn op(name: &str) -> String {
        format!(r#""gen_ai.operation.name":"{name}""#)
    }

    fn read(spans: &[String]) -> Vec<Draft> {
        let text = format!(r#"{{"spans":[{}],"final_output":1e400}}"#, spans.join(","));
        drafts(import(Format::OtelGenai, &text))
    }

    #[test]
    fn spans_make_a_tree_of_streams() {
        let events = read(&[
            span(
                5,
                Some(4),
                "execute_tool f",
                &op("execute_tool"),
                r#","status":{"status_code":"ERROR","description":"no"}"#,
            ),
            span(
                4,
                Some(2),
                "invoke_agent b",
                &format!(r#"{},"gen_ai.agent.name":"b""#, op("invoke_agent")),
                "",
            ),
            span(3, Some(2), "GET /", "", ""),
            span(2, Some(1), "workflow", "", ""),
            span(1, None, "invoke_agent a", &op("invoke_agent"), ""),
        ]);
        let stream = |id: u64| format!("otel-genai/{TRACE}/{id}");
        let found: Vec<(&str, String)> = events
            .iter()
            .map(|one| (one.event.event_type.as_str(), one.event.stream.clone()))
            .collect();
        let want = [
            ("harness.otel_genai.execute_tool", stream(4)),
            ("tool.call.requested", stream(4)),
            ("tool.call.failed", stream(4)),
            ("run.started", stream(4)),
            ("harness.otel_genai.invoke_agent", stream(4)),
            ("run.finished", stream(4)),
            ("harness.otel_genai.span", stream(2)),
            ("run.started", stream(2)),
            ("harness.otel_genai.span", stream(1)),
            ("run.finished", stream(2)),
            ("run.started", stream(1)),
            ("harness.otel_genai.invoke_agent", stream(1)),
            ("run.finished", stream(1)),
            ("harness.otel_genai.final_output", stream(1)),
        ];
        assert_eq!(found, want);
        let id = |at: usize| events[at].event.event_id;
        let cause = |at: usize| events[at].event.causation;
        for (effect, its_cause) in [(0, 4), (1, 0), (2, 1), (4, 8), (6, 8), (8, 11), (13, 11)] {
            assert_eq!(cause(effect), id(its_cause), "{effect}");
        }
        let parent = |at: usize| events[at].control.get_text(control::PARENT);
        assert_eq!(
            [parent(3), parent(7), parent(10)],
            [Some(stream(2).as_str()), Some(stream(1).as_str()), None]
        );
        assert_eq!(payload(&events[2])["error"], "no");
        let times = [1, 2].map(|at: usize| events[at].event.occurred_at_us);
        assert_eq!(
            times,
            [Some(1_758_026_601_289_496), Some(1_758_026_601_631_557)]
        );
        assert_eq!(payload(&events[3])["name"], "b");
        let last = String::from_utf8(events[13].event.payload.clone()).unwrap();
        assert_eq!(last, r#"{"original":1e400}"#);
    }

    #[test]
    fn messages_are_said_once() {
        let call = |id: u64, given: &str, answer: &str| {
            let attributes = format!(
                r#"{},"gen_ai.request.model":"m","gen_ai.input.messages":{},"gen_ai.output":{},"gen_ai.usage.input_tokens":3,"gen_ai.usage.output_cost":2e-6"#,
                op("call_llm"),
                serde_json::Value::from(given),
                serde_json::Value::from(answer)
            );
            span(id, Some(9), "call_llm m", &attributes, "")
        };
        let one = r#"[{"role":"user","content":"hi"}]"#;
        let two = r#"[{"role":"user","content":"hi"},{"role":"tool","parts":[{"type":"tool_call_response","id":"c"}]}]"#;
        let tool = r#"[{"tool.name":"f","tool.args":"{}"}]"#;
        let spans = [
            call(1, one, tool),
            call(2, two, "[1] done"),
            call(2, two, "[1] done"),
        ];
        let events = read(&[&spans[..], &[span(9, None, "r", "", "")]].concat());
        let chat = "chat.message";
        let call = "llm.call.completed";
        assert_eq!(types(&events)[..6], [chat, chat, call, chat, chat, call]);
        let said: Vec<_> = of_type(&events, chat)
            .into_iter()
            .map(|one| payload(one)["content"][0].clone())
            .collect();
        assert_eq!(said[0]["text"], "hi");
        assert_eq!(
            (&said[1]["kind"], &said[1]["name"]),
            (&"tool_call".into(), &"f".into())
        );
        assert_eq!(said[2]["call_id"], "c");
        assert_eq!(said[3]["text"], "[1] done");
        assert_eq!(events[2].control.get_u64(control::USD_MICROS), Some(2));
        assert_eq!(events[1].event.source, "m");
    }

    #[test]
    fn spans_that_cannot_be_read_are_skipped() {
        let text = "{\"spans\":[\n{\"context\":7},\n{\"context\":{\"trace_id\":[],\"span_id\":1}},\n7,\n{}],\n\"final_output\":1}";
        let wrong = "import_wrong_type";
        assert_eq!(
            rejections(&import(Format::OtelGenai, text)),
            [
                (2, wrong),
                (3, wrong),
                (4, wrong),
                (5, wrong),
                (6, "import_no_session")
            ]
        );
    }

    #[test]
    fn a_root_that_comes_again_changed_changes_no_other_event() {
        let one = |name| format!(r#"{{"spans":[{}],"n":1}}"#, span(1, None, name, "", ""));
        let text = [one("a"), one("b")].concat();
        let events = drafts(import(Format::OtelGenai, &text));
        let members: Vec<_> = events
            .iter()
            .filter(|draft| draft.event.event_type == "harness.otel_genai.n")
            .collect();
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].event, members[1].event);
    }
}
