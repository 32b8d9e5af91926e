//! Telemetry of `OpenClaw`'s gateway.
//!
//! Records of several sessions are interleaved. A session is the stream `openclaw/KEY`; messages
//! that come in and go out name no session, and are in `openclaw/channel/CHANNEL`. A sub-agent is a
//! session of its own, whose first prompt holds the task that a call of `sessions_spawn` gave.
//!
//! The end of a call does not say which call ends: it answers the oldest open one of its tool in
//! its session. When an agent starts it may show the whole history of its session, again and again:
//! what was not shown before are turns and model calls, but no calls of tools, which have records
//! of their own. An agent's start may be recorded twice, before and after its history is known:
//! that is one turn.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use runstone_codec::event::Draft;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::pi::Message;
use super::{Reading, Record};
use crate::calls::OpenCalls;
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{
    ChatMessage, HarnessRecord, Part, RunFinished, RunStarted, ToolCallCompleted, ToolCallFailed,
    ToolCallRequested,
};
use crate::format::Format;
use crate::identity::{hex, name_part, short_digest};
use crate::json::{Object, array, keep, keep_or_null, raw};
use crate::numbers::{Prices, unix_us};
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

/// The tool that spawns sub-agents.
const SPAWNING: &str = "sessions_spawn";
/// Most calls that are remembered to have asked for a sub-agent, and most bytes of a task.
const MAX_ASKED: usize = 256;
const MAX_TASK_BYTES: usize = 1 << 16;
/// Most bytes of a prompt that is searched for a task.
const MAX_PROMPT_BYTES: usize = 1 << 20;

type Digest = [u8; 16];

/// Reads telemetry.
#[derive(Debug)]
pub(super) struct OpenClaw {
    prefix: String,
    records: Records<()>,
    sessions: BTreeMap<String, Session>,
    /// Calls whose sub-agent has not begun.
    asked: VecDeque<Spawn>,
}

/// A session.
#[derive(Debug, Default)]
struct Session {
    /// What its records follow from: how it began, then the last start of its agent.
    cause: Option<Uuid>,
    is_sub_agent: bool,
    calls: OpenCalls,
    /// The prompt of an agent's start without history.
    starting: Option<Digest>,
    prompts: BTreeSet<Digest>,
}

/// A call that asks for a sub-agent.
#[derive(Debug)]
struct Spawn {
    call: Uuid,
    parent: String,
    name: Option<String>,
    task: String,
    /// The task, byte for byte.
    input: Box<RawValue>,
}

/// What is looked at in every record.
struct Entry<'a> {
    text: &'a str,
    line: u64,
    object: Object<'a>,
    kind: String,
    stream: String,
    /// The key of its session, if it has one.
    session: Option<String>,
    occurred_at_us: Option<u64>,
}

impl<'a> Entry<'a> {
    fn parse(record: &Record<'a>, prefix: &str) -> Result<Self, RejectReason> {
        let object = Object::parse(record.text, "record")?;
        let session = object.string("sessionKey")?.map(String::from);
        let name = match &session {
            Some(key) => name_part(key),
            None => format!(
                "channel/{}",
                name_part(&object.text("channel").unwrap_or_default())
            ),
        };
        let times = ["ts", "timestamp"];
        Ok(Self {
            text: record.text,
            line: record.line,
            kind: object.required("type")?,
            stream: format!("{prefix}{}/{name}", Format::OpenClaw),
            session,
            occurred_at_us: times
                .into_iter()
                .find_map(|name| object.get(name).and_then(unix_us)),
            object,
        })
    }

    /// What no other record has, where the recorder numbered and timed it.
    fn id(&self) -> Option<String> {
        let (seq, ts) = (self.object.get("seq")?, self.object.get("ts")?);
        Some(format!("seq:{}:{}", seq.get(), ts.get()))
    }

    /// `harness.openclaw.TYPE`.
    fn harness_type(&self) -> String {
        let mut kind = format!("harness.{}", Format::OpenClaw.segment());
        for part in self.kind.splitn(2, '.') {
            kind.push('.');
            kind.push_str(&segment(part));
        }
        kind
    }

    fn drafting<'d>(&'d self, record: &'d str) -> Drafting<'d> {
        Drafting {
            format: Format::OpenClaw,
            stream: &self.stream,
            domain: &self.stream,
            record,
            occurred_at_us: self.occurred_at_us,
            source: None,
        }
    }

    fn original(&self) -> Result<Box<RawValue>, RejectReason> {
        raw(self.text.to_owned())
    }
}

impl OpenClaw {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            sessions: BTreeMap::new(),
            asked: VecDeque::new(),
        }
    }

    /// The beginning of a session, if it has not begun.
    fn begin(&mut self, entry: &Entry<'_>, key: &str) -> Result<Option<Draft>, RejectReason> {
        if self.sessions.contains_key(&entry.stream) {
            return Ok(None);
        }
        let prompt = entry.object.text("prompt");
        let prompt = prompt.filter(|prompt| prompt.len() <= MAX_PROMPT_BYTES);
        let spawn = prompt.and_then(|prompt| {
            let at = self
                .asked
                .iter()
                .position(|one| prompt.contains(&one.task))?;
            self.asked.remove(at)
        });
        let drafting = Drafting {
            occurred_at_us: None,
            ..entry.drafting("session")
        };
        // The beginning says no more than its id does, whatever record it comes with.
        let part = spawn
            .as_ref()
            .map(|spawn| format!("started/{}", spawn.call));
        let part = part.unwrap_or_else(|| "started".to_owned());
        let mut started = RunStarted {
            name: key.to_owned(),
            ..RunStarted::default()
        };
        let (mut call, mut parent) = (None, None);
        if let Some(spawn) = spawn {
            started.name = spawn.name.unwrap_or(started.name);
            started.input = Some(spawn.input);
            (call, parent) = (Some(spawn.call), Some(spawn.parent));
        }
        let draft = drafting.started(&part, call, parent.as_deref(), &started)?;
        let session = Session {
            cause: Some(drafting.id(&part)),
            is_sub_agent: parent.is_some(),
            ..Session::default()
        };
        self.sessions.insert(entry.stream.clone(), session);
        Ok(Some(draft))
    }

    /// Notes a call that asks for a sub-agent.
    fn ask(&mut self, entry: &Entry<'_>, call: Uuid) {
        let Some(params) = entry.object.object("params").ok().flatten() else {
            return;
        };
        let task = params.text("task").map(String::from);
        let fits = |task: &String| (1..=MAX_TASK_BYTES).contains(&task.len());
        if let (Some(task), Some(input)) = (task.filter(fits), params.get("task")) {
            if self.asked.len() >= MAX_ASKED {
                self.asked.pop_front();
            }
            self.asked.push_back(Spawn {
                call,
                parent: entry.stream.clone(),
                name: params.text("label").map(String::from),
                task,
                input: keep(input),
            });
        }
    }

    /// The events of a session's record.
    fn done(&mut self, entry: &Entry<'_>, record: &str) -> Result<Vec<Draft>, RejectReason> {
        let drafting = entry.drafting(record);
        let primary = drafting.id(PRIMARY);
        let session = self.sessions.entry(entry.stream.clone()).or_default();
        let payload = HarnessRecord {
            original: entry.original()?,
        };
        let kind = entry.harness_type();
        let mut drafts = vec![drafting.of_type(&kind, PRIMARY, session.cause, &payload)?];
        match entry.kind.as_str() {
            "agent.start" => {
                session.cause = Some(primary);
                self.history(entry, &mut drafts)?;
                drafts.extend(self.prompt(entry, drafting)?);
            }
            "agent.end" => {
                self.history(entry, &mut drafts)?;
                drafts.extend(self.end(entry, drafting)?);
            }
            "tool.start" => drafts.push(self.request(entry, drafting)?),
            "tool.end" => drafts.push(self.answer(entry, drafting)?),
            _ => {}
        }
        Ok(drafts)
    }

    /// What the agent is asked, unless it was told before.
    fn prompt(
        &mut self,
        entry: &Entry<'_>,
        drafting: Drafting<'_>,
    ) -> Result<Option<Draft>, RejectReason> {
        let Some(prompt) = entry.object.text("prompt") else {
            return Ok(None);
        };
        let digest = short_digest(prompt.as_bytes());
        let session = self.sessions.entry(entry.stream.clone()).or_default();
        session.prompts.insert(digest);
        let with_history = entry.object.get("messages").is_some();
        let was = std::mem::replace(&mut session.starting, (!with_history).then_some(digest));
        if with_history && was == Some(digest) {
            return Ok(None);
        }
        let text = prompt.into_owned();
        let payload = ChatMessage::new("user").text(text);
        let primary = drafting.id(PRIMARY);
        drafting.draft("turn", Some(primary), &payload).map(Some)
    }

    /// Turns and model calls of a history that was not shown before. Which record shows them says
    /// nothing of them.
    fn history(&mut self, entry: &Entry<'_>, drafts: &mut Vec<Draft>) -> Result<(), RejectReason> {
        let Some(messages) = entry.object.get("messages") else {
            return Ok(());
        };
        for message in array(messages.get(), "messages")? {
            let digest = hex(&short_digest(message.get().as_bytes()));
            let id = Some(format!("history:{digest}"));
            let known = self
                .records
                .identity(&entry.stream, id, message.get(), ())?;
            let Some(record) = known else { continue };
            // What cannot be read stays in the record.
            if let Ok(message) = Message::parse(message)
                && !self.is_prompt(&entry.stream, &message)
            {
                drafts.extend(turn(entry, &record, message).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Whether a message is a prompt that a start of the agent told.
    fn is_prompt(&self, stream: &str, message: &Message<'_>) -> bool {
        let prompts = self.sessions.get(stream).map(|session| &session.prompts);
        match (prompts, message.parts.as_slice()) {
            (Some(prompts), [Part::Text { text }]) if message.role == "user" => {
                prompts.contains(&short_digest(text.as_bytes()))
            }
            _ => false,
        }
    }

    /// The end of a sub-agent. Other sessions may go on.
    fn end(
        &self,
        entry: &Entry<'_>,
        drafting: Drafting<'_>,
    ) -> Result<Option<Draft>, RejectReason> {
        let session = self.sessions.get(&entry.stream);
        if !session.is_some_and(|session| session.is_sub_agent) {
            return Ok(None);
        }
        let status = if has_failed(&entry.object) {
            "error"
        } else {
            "success"
        };
        let payload = RunFinished {
            status: status.to_owned(),
            reason: entry.object.text("error").map(String::from),
            ..RunFinished::default()
        };
        let primary = Some(drafting.id(PRIMARY));
        drafting.finished("finished", primary, &payload).map(Some)
    }

    fn request(
        &mut self,
        entry: &Entry<'_>,
        drafting: Drafting<'_>,
    ) -> Result<Draft, RejectReason> {
        let name = entry.object.required("toolName")?;
        let call = drafting.id("call");
        let session = self.sessions.entry(entry.stream.clone()).or_default();
        session.calls.request(&key_of(entry, &name), call);
        if name == SPAWNING {
            self.ask(entry, call);
        }
        let mut payload = ToolCallRequested::new(id_of(entry, call), name);
        payload.arguments = keep_or_null(entry.object.get("params"));
        drafting.draft("call", Some(drafting.id(PRIMARY)), &payload)
    }

    fn answer(&mut self, entry: &Entry<'_>, drafting: Drafting<'_>) -> Result<Draft, RejectReason> {
        let name = entry.object.required("toolName")?;
        let session = self.sessions.entry(entry.stream.clone()).or_default();
        let call = session.calls.answer(&key_of(entry, &name));
        let causation = call.unwrap_or_else(|| drafting.id(PRIMARY));
        // Which call it answers is only known from the records before.
        let part = format!("result/{causation}");
        let (call_id, name) = (id_of(entry, causation), Some(name));
        if has_failed(&entry.object) {
            let mut failed = ToolCallFailed::new(call_id);
            failed.name = name;
            failed.error = keep_or_null(entry.object.get("error"));
            drafting.draft(&part, Some(causation), &failed)
        } else {
            let mut completed = ToolCallCompleted::new(call_id);
            completed.name = name;
            completed.result = keep_or_null(entry.object.get("result"));
            drafting.draft(&part, Some(causation), &completed)
        }
    }
}

impl Reading for OpenClaw {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let entry = Entry::parse(record, &self.prefix)?;
        let stream = &entry.stream;
        let known = self.records.identity(stream, entry.id(), entry.text, ())?;
        let Some(identity) = known else {
            return output.emit(entry.line, stream, Vec::new());
        };
        let drafts = match &entry.session {
            None => said(&entry, &identity)?,
            Some(key) => {
                if let Some(started) = self.begin(&entry, key)? {
                    output.emit(entry.line, stream, vec![started])?;
                }
                self.done(&entry, &identity)?
            }
        };
        output.emit(entry.line, stream, drafts)
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// Something that was said on a channel, or about to be.
fn said(entry: &Entry<'_>, record: &str) -> Result<Vec<Draft>, RejectReason> {
    let drafting = entry.drafting(record);
    let original = entry.original()?;
    let role = match entry.kind.as_str() {
        "message.in" => Some("user"),
        "message.out" if !has_failed(&entry.object) => Some("assistant"),
        _ => None,
    };
    let content = entry.object.text("content").map(String::from);
    let draft = if let (Some(role), Some(text)) = (role, content) {
        let payload = ChatMessage::new(role).text(text).original(original);
        drafting.draft(PRIMARY, None, &payload)?
    } else {
        let payload = HarnessRecord { original };
        drafting.of_type(&entry.harness_type(), PRIMARY, None, &payload)?
    };
    Ok(vec![draft])
}

/// What tells open calls apart: their ids, which some versions record, else their tools.
fn key_of(entry: &Entry<'_>, tool: &str) -> String {
    let id = entry.object.text("toolCallId");
    id.map_or_else(|| format!("tool:{tool}"), |id| format!("id:{id}"))
}

/// The id of a call: its own, else that of the event `call`.
fn id_of(entry: &Entry<'_>, call: Uuid) -> String {
    let id = entry.object.text("toolCallId");
    id.map_or_else(|| call.to_string(), String::from)
}

/// The events of a message of a history.
fn turn(
    entry: &Entry<'_>,
    record: &str,
    mut message: Message<'_>,
) -> Result<Vec<Draft>, RejectReason> {
    if !message.is_turn() {
        return Ok(Vec::new());
    }
    message.answer()?;
    let model = message.model.clone();
    let drafting = Drafting {
        occurred_at_us: message.occurred_at_us,
        source: model.as_deref(),
        ..entry.drafting(record)
    };
    let call = message.usage(record, &mut Prices::default())?;
    let payload = ChatMessage::new(message.speaker()).parts(std::mem::take(&mut message.parts));
    let mut drafts = vec![drafting.draft(PRIMARY, None, &payload)?];
    if let Some(call) = call {
        drafts.push(drafting.llm_call("usage", Some(drafting.id(PRIMARY)), &call)?);
    }
    Ok(drafts)
}

fn has_failed(record: &Object<'_>) -> bool {
    let refused = record.get("success").is_some_and(|it| it.get() == "false");
    refused || record.get("error").is_some()
}
