//! Session transcripts of Claude Code.
//!
//! A session is the stream `claude-code/SESSION`, each sub-agent within it the stream
//! `claude-code/SESSION/agent-AGENT`: AGENT is its id, or the uuid of its first record in versions
//! that gave none. A record is known by its `uuid` within the session, so the id of a parent's event
//! follows from `parentUuid` alone, in whatever stream or segment of the session it stands.
//!
//! Records of the type `progress` are notices: those of sub-agents copy what the sub-agent's own
//! transcript holds, so their messages are kept but not counted as turns, calls or usage.

mod agents;
mod message;
mod streams;

use serde_json::value::RawValue;
use uuid::Uuid;

use self::agents::{Agents, Spawn};
use self::message::Reader;
use self::streams::{StreamId, Streams, uuid_record};
use super::{Reading, Record};
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{HarnessRecord, RunFinished, RunStarted};
use crate::format::Format;
use crate::identity::event_id;
use crate::json::{Object, keep, raw, string};
use crate::numbers::unix_us;
use crate::options::Options;
use crate::output::Output;
use crate::reject::RejectReason;

/// Most records that may come before the first that names its session.
const MAX_HELD: usize = 4096;

/// Name of a sub-agent whose call says no type.
const AGENT: &str = "agent";

/// Reads sessions.
#[derive(Debug)]
pub(super) struct ClaudeCode {
    streams: Streams,
    agents: Agents,
    /// The session of the last record that named one.
    session: Option<StreamId>,
    /// Records from before any did.
    held: Vec<(u64, String)>,
    held_bytes: usize,
    max_held_bytes: usize,
}

/// What is looked at in every record.
struct Line<'a> {
    text: &'a str,
    number: u64,
    object: Object<'a>,
    kind: String,
    uuid: Option<String>,
    parent: Option<String>,
    occurred_at_us: Option<u64>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str, number: u64) -> Result<Self, RejectReason> {
        let object = Object::parse(text, "record")?;
        let owned = |name| object.string(name).map(|text| text.map(String::from));
        // After a compaction the tree begins anew; what it logically follows is kept apart.
        let parent = match owned("parentUuid")? {
            Some(parent) => Some(parent),
            None => owned("logicalParentUuid")?,
        };
        Ok(Self {
            kind: owned("type")?.unwrap_or_else(|| "record".to_owned()),
            uuid: owned("uuid")?,
            parent,
            occurred_at_us: object.get("timestamp").and_then(unix_us),
            text,
            number,
            object,
        })
    }

    fn is_message(&self) -> bool {
        matches!(self.kind.as_str(), "user" | "assistant") && self.object.get("message").is_some()
    }
}

impl ClaudeCode {
    pub(super) fn new(options: Options) -> Self {
        Self {
            streams: Streams::new(options.stream_prefix, options.records),
            agents: Agents::default(),
            session: None,
            held: Vec::new(),
            held_bytes: 0,
            max_held_bytes: options.record_bytes,
        }
    }

    /// Keeps a record until one names the session.
    fn hold(&mut self, record: &Record<'_>) -> Result<(), RejectReason> {
        let bytes = self.held_bytes.saturating_add(record.text.len());
        if self.held.len() >= MAX_HELD || bytes > self.max_held_bytes {
            return Err(RejectReason::NoSession);
        }
        self.held_bytes = bytes;
        self.held.push((record.line, record.text.to_owned()));
        Ok(())
    }

    fn release(&mut self, session: StreamId, output: &mut Output) {
        self.held_bytes = 0;
        for (number, text) in std::mem::take(&mut self.held) {
            let read =
                Line::parse(&text, number).and_then(|line| self.line(&line, session, output));
            if let Err(reason) = read {
                output.reject(number, reason);
            }
        }
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        session: StreamId,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let stream = self.stream_of(line, session)?;
        let uuid = line.uuid.as_deref();
        let Some(record) = self.streams.see(uuid, line.text, stream)? else {
            return output.emit(line.number, self.streams.name(stream), Vec::new());
        };
        if self.streams.begin(stream) {
            self.begin(line, stream, output)?;
        }
        self.events(line, stream, &record, output)
    }

    /// The stream that a record belongs to.
    fn stream_of(&mut self, line: &Line<'_>, session: StreamId) -> Result<StreamId, RejectReason> {
        if !line.object.is_true("isSidechain") {
            return Ok(session);
        }
        if let Some(agent) = line.object.string("agentId")? {
            return self.streams.agent(session, &agent);
        }
        let parent = line.parent.as_deref();
        match (
            parent.and_then(|parent| self.streams.of_uuid(parent)),
            parent,
            &line.uuid,
        ) {
            (Some(stream), ..) if self.streams.is_agent(stream) => Ok(stream),
            // The beginning is in another recording, or was never recorded.
            (None, Some(parent), _) => self.streams.agent(session, parent),
            (_, _, Some(uuid)) => self.streams.agent(session, uuid),
            (_, _, None) => Ok(session),
        }
    }

    /// Hands on the beginning of a stream.
    ///
    /// That of a session says nothing of the record it comes with: wherever a recording of the
    /// session begins, it is the same event.
    fn begin(
        &mut self,
        line: &Line<'_>,
        stream: StreamId,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let session = self.streams.session(stream);
        let name = self.streams.name(stream);
        let record = format!("stream:{name}");
        let mut drafting = Drafting {
            format: Format::ClaudeCode,
            stream: name,
            domain: self.streams.name(session),
            record: &record,
            occurred_at_us: None,
            source: None,
        };
        if session == stream {
            let started = RunStarted {
                name: Format::ClaudeCode.as_str().to_owned(),
                ..RunStarted::default()
            };
            let draft = drafting.started("started", None, None, &started)?;
            return output.emit(line.number, name, vec![draft]);
        }
        let parent = self.streams.name(session);
        if line.parent.is_some() {
            let started = RunStarted {
                name: AGENT.to_owned(),
                ..RunStarted::default()
            };
            let draft = drafting.started("continued", None, Some(parent), &started)?;
            return output.emit(line.number, name, vec![draft]);
        }
        drafting.occurred_at_us = line.occurred_at_us;
        let input = prompt(&line.object);
        let text = input.and_then(string);
        let spawn = text.and_then(|text| self.agents.spawned(session, &text, stream));
        let Spawn {
            call,
            parent,
            name: agent,
        } = spawn.unwrap_or_else(|| Spawn::unknown(session));
        let started = RunStarted {
            name: agent,
            input: input.map(keep),
            ..RunStarted::default()
        };
        let parent = self.streams.name(parent);
        let draft = drafting.started("started", call, Some(parent), &started)?;
        output.emit(line.number, name, vec![draft])
    }

    fn events(
        &mut self,
        line: &Line<'_>,
        stream: StreamId,
        record: &str,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let session = self.streams.session(stream);
        let drafting = Drafting {
            format: Format::ClaudeCode,
            stream: self.streams.name(stream),
            domain: self.streams.name(session),
            record,
            occurred_at_us: line.occurred_at_us,
            source: None,
        };
        let causation = self.causation(line, stream);
        if !line.is_message() {
            let payload = HarnessRecord {
                original: raw(line.text.to_owned())?,
            };
            let draft = drafting.of_type(&harness_type(line), PRIMARY, causation, &payload)?;
            return output.emit(line.number, drafting.stream, vec![draft]);
        }
        let asked_by = line.object.text("sourceToolAssistantUUID");
        let asked_by =
            asked_by.map(|uuid| (self.streams.domain_of(&uuid, session), uuid_record(&uuid)));
        let mut reader = Reader::new(drafting, asked_by, self.agents.of(stream));
        let drafts = reader.read(line, causation)?;
        let (asked, finished) = (reader.take_asked(), reader.take_answered());
        output.emit(line.number, drafting.stream, drafts)?;
        for one in asked {
            self.agents.asked(
                session,
                &one.prompt,
                Spawn {
                    call: Some(one.call),
                    parent: stream,
                    name: one.agent,
                },
            );
        }
        for answer in finished {
            let Some(agent) = self.agents.finished(answer.call) else {
                continue;
            };
            let name = self.streams.name(agent);
            let drafting = Drafting {
                stream: name,
                ..drafting
            };
            let status = if answer.failed { "error" } else { "success" }.to_owned();
            let payload = RunFinished {
                status,
                ..RunFinished::default()
            };
            let part = format!("finished/{name}");
            let draft = drafting.finished(&part, Some(answer.result), &payload)?;
            output.emit(line.number, name, vec![draft])?;
        }
        Ok(())
    }

    /// The event of a record's parent; for the first record of a stream the stream's beginning.
    fn causation(&self, line: &Line<'_>, stream: StreamId) -> Option<Uuid> {
        let session = self.streams.session(stream);
        if let Some(parent) = &line.parent {
            let domain = self.streams.domain_of(parent, session);
            return Some(event_id(
                Format::ClaudeCode,
                domain,
                &uuid_record(parent),
                PRIMARY,
            ));
        }
        line.uuid.as_ref()?;
        let record = format!("stream:{}", self.streams.name(stream));
        let domain = self.streams.name(session);
        Some(event_id(Format::ClaudeCode, domain, &record, "started"))
    }
}

impl Reading for ClaudeCode {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let line = Line::parse(record.text, record.line)?;
        if let Some(name) = line.object.string("sessionId")? {
            let session = self.streams.session_named(&name)?;
            self.session = Some(session);
            self.release(session, output);
        }
        match self.session {
            Some(session) => self.line(&line, session, output),
            None => self.hold(record),
        }
    }

    fn finish(&mut self, output: &mut Output) {
        for (line, _) in std::mem::take(&mut self.held) {
            output.reject(line, RejectReason::NoSession);
        }
    }
}

/// What a message says, as it stands.
fn prompt<'a>(record: &Object<'a>) -> Option<&'a RawValue> {
    record.object("message").ok().flatten()?.get("content")
}

/// `harness.claude_code.TYPE`, and the subtype where there is one.
fn harness_type(line: &Line<'_>) -> String {
    let data = line.object.object("data").ok().flatten();
    let subtype = match line.kind.as_str() {
        "progress" => data.and_then(|data| data.text("type")),
        "queue-operation" => line.object.text("operation"),
        _ => line.object.text("subtype"),
    };
    let kind = segment(&line.kind);
    let base = format!("harness.{}.{kind}", Format::ClaudeCode.segment());
    subtype.map_or_else(
        || base.clone(),
        |subtype| format!("{base}.{}", segment(&subtype)),
    )
}
