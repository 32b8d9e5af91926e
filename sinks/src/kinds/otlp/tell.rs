//! What is told of an event: a span if it ends something, else a log record. Names follow the
//! conventions for GenAI where there is one:
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>

use super::attributes::{Attributes, Members};
use super::ids::Ids;
use crate::origin::{Ended, Origin};
use crate::sink::Event;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use runstone_codec::{Authority, Control};
use runstone_projections::events::control;
use runstone_store::{Payload, Record};

/// The trace is sampled: W3C Trace Context, section 3.2.2.5.
const SAMPLED: u32 = 1;

/// Most characters of what is called in the name of a span.
const MAX_NAME_CHARS: usize = 200;

/// What is told of an event.
#[derive(Debug)]
pub(super) enum Told {
    Span(Box<Span>),
    Log(Box<LogRecord>),
}

/// An event that is told of.
struct Telling<'a> {
    ids: Ids,
    record: &'a Record,
    origin: &'a Origin,
    attributes: Attributes,
    members: Members,
}

/// A span but for where it stands.
struct Shape {
    name: String,
    kind: SpanKind,
    status: StatusCode,
}

/// What is told of an event.
pub(super) fn tell(ids: Ids, event: &Event) -> Told {
    let nowhere = Origin::default();
    let (record, origin) = (event.record(), event.origin().unwrap_or(&nowhere));
    let mut members = Members::default();
    if let Some(began) = &origin.began {
        members.take(began);
    }
    members.take(record);
    let mut telling = Telling {
        ids,
        record,
        origin,
        attributes: Attributes::default(),
        members,
    };
    telling.put_header(event.is_duplicate());
    match Ended::by(&record.header.event_type) {
        Some(ended) => Told::Span(Box::new(telling.span(ended))),
        None => Told::Log(Box::new(telling.log())),
    }
}

impl Telling<'_> {
    fn put_header(&mut self, is_duplicate: bool) {
        let (record, header) = (self.record, &self.record.header);
        let put = &mut self.attributes;
        put.number("runstone.position", record.position.get());
        put.text("runstone.event.id", header.event_id.to_string());
        put.text("runstone.event.type", header.event_type.as_str());
        put.text("runstone.stream", header.stream.as_str());
        put.number("runstone.revision", record.revision.get());
        put.text("runstone.authority", header.authority.as_str());
        for (key, value) in [
            ("runstone.source", &header.source),
            ("runstone.principal", &header.principal),
            ("runstone.scope", &header.scope),
        ] {
            if !value.is_empty() {
                put.text(key, value.as_str());
            }
        }
        if !header.tags.is_empty() {
            put.texts("runstone.tags", &header.tags);
        }
        if header.authority == Authority::Agent {
            put.text("gen_ai.agent.id", header.principal.as_str());
        }
        if self.origin.is_run {
            put.text("runstone.run", header.stream.as_str());
            put.text("gen_ai.conversation.id", header.stream.as_str());
        }
        for (key, is_so) in [
            ("runstone.duplicate", is_duplicate),
            ("runstone.erased", record.payload == Payload::Erased),
            ("runstone.withheld", record.payload == Payload::Withheld),
        ] {
            if is_so {
                put.flag(key);
            }
        }
    }

    /// Control of what began it, or of itself.
    fn began(&self) -> &Control {
        let began = self.origin.began.as_ref();
        &began.unwrap_or(self.record).control
    }

    fn span(mut self, ended: Ended) -> Span {
        let stream = self.record.header.stream.as_str();
        let began = self.origin.began.as_ref();
        let position = began.unwrap_or(self.record).position.get();
        let call = self.record.control.get_bytes(control::CALL);
        let span_id = match (ended, call) {
            (Ended::Run, _) => self.ids.run(stream),
            (Ended::Model, Some(call)) => self.ids.model(stream, call),
            _ => self.ids.span(position),
        };
        let parent_span_id = match ended {
            Ended::Run => Vec::new(),
            _ => self.within(),
        };
        let links = self.links(ended);
        let trace_id = self.ids.trace(stream);
        let (start_time_unix_nano, end_time_unix_nano) = self.times();
        let shape = match ended {
            Ended::Run => self.run(),
            Ended::Step => self.step(),
            Ended::Model => self.model(),
            Ended::Effect => self.effect(),
            Ended::Tool => self.tool(),
        };
        let message = self.error(shape.status == StatusCode::Error);
        self.members.put_rest(&mut self.attributes);
        Span {
            trace_id,
            span_id,
            parent_span_id,
            flags: SAMPLED,
            name: shape.name,
            kind: shape.kind.into(),
            start_time_unix_nano,
            end_time_unix_nano,
            attributes: self.attributes.into_inner(),
            links,
            status: Some(Status {
                message,
                code: shape.status.into(),
            }),
            ..Span::default()
        }
    }

    fn log(mut self) -> LogRecord {
        let (record, header) = (self.record, &self.record.header);
        if header.event_type == "verdict.given" {
            for (name, key) in [
                ("by", "gen_ai.evaluation.name"),
                ("verdict", "gen_ai.evaluation.score.label"),
                ("subject", "runstone.verdict.subject"),
                ("severity", "runstone.verdict.severity"),
            ] {
                if let Some(text) = self.members.remove_text(name) {
                    self.attributes.text(key, text);
                }
            }
        }
        if let Some(name) = self.tool_named() {
            self.attributes.text("gen_ai.tool.name", name);
        }
        let span_id = self.within();
        self.members.put_rest(&mut self.attributes);
        LogRecord {
            time_unix_nano: nanos(header.occurred_at_us.unwrap_or(record.recorded_at_us)),
            observed_time_unix_nano: nanos(record.recorded_at_us),
            severity_number: SeverityNumber::Info.into(),
            severity_text: "INFO".to_owned(),
            event_name: header.event_type.to_string(),
            attributes: self.attributes.into_inner(),
            flags: SAMPLED,
            trace_id: self.ids.trace(&header.stream),
            span_id,
            ..LogRecord::default()
        }
    }

    /// The span that it lies in; none outside of runs.
    fn within(&self) -> Vec<u8> {
        match self.origin.within {
            Some(position) => self.ids.span(position),
            None if self.origin.is_run => self.ids.run(&self.record.header.stream),
            None => Vec::new(),
        }
    }

    /// A run that another one began has a trace of its own, which says whose it is.
    fn links(&self, ended: Ended) -> Vec<Link> {
        if ended != Ended::Run {
            return Vec::new();
        }
        let began = self.origin.began.as_ref();
        let parent = began.and_then(|began| {
            let field = match began.header.event_type.as_str() {
                "run.forked" => control::FORK_OF,
                _ => control::PARENT,
            };
            began.control.get_text(field)
        });
        let link = parent.map(|stream| Link {
            trace_id: self.ids.trace(stream),
            span_id: self.ids.run(stream),
            ..Link::default()
        });
        link.into_iter().collect()
    }

    /// By the producers' clocks if both are known, else by the log's. Without a beginning it takes no
    /// time: nobody knows how much.
    fn times(&self) -> (u64, u64) {
        let end = self.record;
        let start = self.origin.began.as_ref().unwrap_or(end);
        let occurred = (start.header.occurred_at_us, end.header.occurred_at_us);
        let (start, end) = match occurred {
            (Some(start), Some(end)) => (start, end),
            _ => (start.recorded_at_us, end.recorded_at_us),
        };
        (nanos(start.min(end)), nanos(end))
    }

    /// What went wrong, if content says so; answers its words.
    fn error(&mut self, is_error: bool) -> String {
        let mut said = Said::default();
        if is_error && let Some(error) = self.members.remove("error") {
            match serde_json::from_str(error.get()) {
                Ok(read) => said = read,
                Err(_) => self.attributes.json("runstone.data.error", &error),
            }
        }
        if is_error {
            // The convention for an error that has no name.
            let error_type = said.error_type.unwrap_or_else(|| "_OTHER".to_owned());
            self.attributes.text("error.type", error_type);
        }
        said.message.unwrap_or_default()
    }

    fn run(&mut self) -> Shape {
        self.attributes
            .text("gen_ai.operation.name", "invoke_agent");
        let name = self.members.remove_text("name");
        if let Some(name) = &name {
            self.attributes.text("gen_ai.agent.name", name.as_str());
        }
        let status = self.record.control.get_text(control::STATUS);
        if let Some(status) = status {
            self.attributes.text("runstone.run.status", status);
        }
        Shape {
            name: named("invoke_agent", name.as_deref()),
            kind: SpanKind::Internal,
            status: match status {
                Some("success") => StatusCode::Ok,
                Some("error") => StatusCode::Error,
                _ => StatusCode::Unset,
            },
        }
    }

    fn step(&mut self) -> Shape {
        let (put, told) = (&mut self.attributes, &self.record.control);
        for (key, field) in [
            ("runstone.step.tokens", control::STEP_TOKENS),
            ("runstone.cost.usd_micros", control::STEP_USD_MICROS),
            ("runstone.gco2_mg", control::GCO2_MG),
        ] {
            put.number_if(key, told.get_u64(field));
        }
        put.number_if("runstone.step.attempt", told.get_u64(control::STEP_ATTEMPT));
        let node = self.members.remove_text("node");
        if let Some(node) = &node {
            put.text("runstone.step.node", node.as_str());
        }
        Shape {
            name: named("step", node.as_deref()),
            kind: SpanKind::Internal,
            status: self.ending(),
        }
    }

    fn model(&mut self) -> Shape {
        let told = &self.record.control;
        let of = |field| told.get_u64(field);
        let cached = [control::CACHE_READ_TOKENS, control::CACHE_WRITE_TOKENS].map(of);
        // The convention counts what the cache took among what was read.
        let input = of(control::INPUT_TOKENS).map(|input| {
            let more = cached.iter().flatten();
            more.fold(input, |sum, tokens| sum.saturating_add(*tokens))
        });
        let [read, written] = cached;
        let put = &mut self.attributes;
        put.text("gen_ai.operation.name", "chat");
        for (key, value) in [
            ("gen_ai.usage.input_tokens", input),
            ("gen_ai.usage.cache_read.input_tokens", read),
            ("gen_ai.usage.cache_creation.input_tokens", written),
            ("gen_ai.usage.output_tokens", of(control::OUTPUT_TOKENS)),
            ("runstone.cost.usd_micros", of(control::USD_MICROS)),
        ] {
            put.number_if(key, value);
        }
        let model = self.members.remove_text("model");
        if let Some(model) = &model {
            put.text("gen_ai.request.model", model.as_str());
        }
        Shape {
            name: named("chat", model.as_deref()),
            kind: SpanKind::Client,
            status: StatusCode::Unset,
        }
    }

    fn effect(&mut self) -> Shape {
        let field = |field| self.began().get_u64(field);
        let (class, attempt) = (
            field(control::effect::CLASS),
            field(control::effect::ATTEMPT),
        );
        let is_task = field(control::effect::KIND) == Some(1);
        let name = self.began().get_text(control::effect::NAME);
        let name = name.map(str::to_owned);
        let told = &self.record.control;
        let is_rejected = told.get_u64(control::effect::REJECTED) == Some(1);
        let put = &mut self.attributes;
        let class = class.and_then(|class| {
            let classes = ["read", "idempotent", "write", "irreversible"];
            classes.get(usize::try_from(class).ok()?).copied()
        });
        if let Some(class) = class {
            put.text("runstone.effect.class", class);
        }
        put.number_if("runstone.effect.attempt", attempt);
        let outcome = self.record.header.event_type.strip_prefix("effect.");
        put.text("runstone.effect.outcome", outcome.unwrap_or_default());
        if is_rejected {
            put.flag("runstone.effect.rejected");
        }
        let operation = if is_task { "task" } else { "execute_tool" };
        self.put_call(operation, name.as_deref());
        Shape {
            name: named(operation, name.as_deref()),
            kind: SpanKind::Internal,
            status: self.ending(),
        }
    }

    fn tool(&mut self) -> Shape {
        let name = self.tool_named();
        self.put_call("execute_tool", name.as_deref());
        Shape {
            name: named("execute_tool", name.as_deref()),
            kind: SpanKind::Internal,
            status: self.ending(),
        }
    }

    /// The name of a tool that content says.
    fn tool_named(&mut self) -> Option<String> {
        let is_tool = self.record.header.event_type.starts_with("tool.");
        is_tool.then(|| self.members.remove_text("name")).flatten()
    }

    /// What is told of every call of a tool.
    fn put_call(&mut self, operation: &str, name: Option<&str>) {
        let put = &mut self.attributes;
        if operation == "task" {
            if let Some(name) = name {
                put.text("runstone.task.name", name);
            }
            return;
        }
        put.text("gen_ai.operation.name", operation);
        if let Some(name) = name {
            put.text("gen_ai.tool.name", name);
        }
        if let Some(id) = self.members.remove_text("call_id") {
            put.text("gen_ai.tool.call.id", id);
        }
        // A name comes once: of calls that are claimed and of those that are not, each has its word.
        for (names, key) in [
            (&["arguments", "args"][..], "gen_ai.tool.call.arguments"),
            (&["result"], "gen_ai.tool.call.result"),
        ] {
            if let Some(json) = names.iter().find_map(|name| self.members.remove(name)) {
                put.json(key, &json);
            }
        }
    }

    /// How it ended, by the word that its type ends with.
    fn ending(&self) -> StatusCode {
        match self.record.header.event_type.rsplit('.').next() {
            Some("completed") => StatusCode::Ok,
            Some("failed" | "outcome_unknown") => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    }
}

/// An error as events say it.
#[derive(Default, serde::Deserialize)]
struct Said {
    #[serde(rename = "type")]
    error_type: Option<String>,
    message: Option<String>,
}

/// The name of a span. What is called may have a name of any length.
fn named(operation: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => {
            let name: String = name.chars().take(MAX_NAME_CHARS).collect();
            format!("{operation} {name}")
        }
        None => operation.to_owned(),
    }
}

fn nanos(us: u64) -> u64 {
    us.saturating_mul(1_000)
}
