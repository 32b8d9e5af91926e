//! Sessions of the coding agent pi.
//!
//! A session is the stream `pi/SESSION`. Its first record, the header, names it; a recording that
//! goes on with another header goes on with that session. Records form a tree: each has an id and
//! names its parent. In the first version of the format they had no ids, and each follows the one
//! before it.
//!
//! A session that was forked from another says so: its beginning is caused by the other's header.
//! It repeats what it took over, and stands for itself.
//!
//! Prices are billionths of a dollar. What rounding one of them to millionths leaves is carried to
//! the next, so that their sum is exact.

mod message;
#[cfg(test)]
mod tests;

use uuid::Uuid;

pub(super) use self::message::Message;
use self::message::{Answer, usage};
use super::{Reading, Record};
use crate::calls::OpenCalls;
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{
    ChatMessage, HarnessRecord, LlmCallCompleted, RunStarted, ToolCallCompleted, ToolCallFailed,
};
use crate::format::Format;
use crate::identity::{event_id, name_part};
use crate::json::{Object, raw};
use crate::numbers::{Prices, unix_us};
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

type Drafts = Vec<runstone_codec::event::Draft>;

/// Reads sessions.
#[derive(Debug)]
pub(super) struct Pi {
    prefix: String,
    records: Records<()>,
    session: Option<Session>,
}

/// The session whose records are read.
#[derive(Debug)]
struct Session {
    stream: String,
    /// The event of the header.
    header: Uuid,
    /// The event of the last record.
    previous: Uuid,
    calls: OpenCalls,
    prices: Prices,
}

/// What is looked at in every record.
struct Entry<'a> {
    text: &'a str,
    line: u64,
    object: Object<'a>,
    kind: String,
    id: Option<String>,
    occurred_at_us: Option<u64>,
}

impl<'a> Entry<'a> {
    fn parse(record: &Record<'a>) -> Result<Self, RejectReason> {
        let object = Object::parse(record.text, "record")?;
        Ok(Self {
            text: record.text,
            line: record.line,
            kind: object.required("type")?,
            id: object.string("id")?.map(String::from),
            occurred_at_us: object.get("timestamp").and_then(unix_us),
            object,
        })
    }

    /// `harness.pi.TYPE`, and what else tells such records apart.
    fn harness_type(&self, role: Option<&str>) -> String {
        let base = format!("harness.{}.{}", Format::Pi.segment(), segment(&self.kind));
        let custom = self.object.text("customType");
        match role.or(custom.as_deref()) {
            Some(subtype) => format!("{base}.{}", segment(subtype)),
            None => base,
        }
    }

    fn drafting<'d>(&self, stream: &'d str, record: &'d str) -> Drafting<'d> {
        Drafting {
            occurred_at_us: self.occurred_at_us,
            ..drafting(stream, record)
        }
    }

    fn original(&self) -> Result<HarnessRecord, RejectReason> {
        let original = raw(self.text.to_owned())?;
        Ok(HarnessRecord { original })
    }
}

impl Pi {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            session: None,
        }
    }

    fn stream(&self, session: &str) -> String {
        format!("{}{}/{}", self.prefix, Format::Pi, name_part(session))
    }

    fn header(&mut self, entry: &Entry<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let id = entry.object.required("id")?;
        let stream = self.stream(&id);
        let origin = fork_of(&entry.object).map(|origin| {
            let record = header_record(&origin);
            event_id(Format::Pi, &self.stream(&origin), &record, PRIMARY)
        });
        let known = header_record(&id);
        let record = self
            .records
            .identity(&stream, Some(known.clone()), entry.text, ())?;
        if self.session.as_ref().is_none_or(|one| one.stream != stream) {
            let previous = event_id(Format::Pi, &stream, &known, PRIMARY);
            self.session = Some(Session::new(stream.clone(), previous));
        }
        let Some(record) = record else {
            return output.emit(entry.line, &stream, Vec::new());
        };
        // The beginning says no more than its id does, whichever header it comes with.
        let part = origin.map_or_else(|| "started".to_owned(), |id| format!("started/{id}"));
        let beginning = drafting(&stream, "session");
        let started = RunStarted {
            name: Format::Pi.as_str().to_owned(),
            ..RunStarted::default()
        };
        let kept = entry.drafting(&stream, &record);
        let causation = Some(beginning.id(&part));
        let kind = entry.harness_type(None);
        let drafts = vec![
            beginning.started(&part, origin, None, &started)?,
            kept.of_type(&kind, PRIMARY, causation, &entry.original()?)?,
        ];
        output.emit(entry.line, &stream, drafts)
    }

    fn entry(&mut self, entry: &Entry<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let session = self.session.as_mut().ok_or(RejectReason::NoSession)?;
        let stream = session.stream.clone();
        let parent = entry.object.string("parentId")?;
        let id = entry.id.as_deref().map(entry_record);
        let Some(record) = self.records.identity(&stream, id, entry.text, ())? else {
            return output.emit(entry.line, &stream, Vec::new());
        };
        let drafting = entry.drafting(&stream, &record);
        let causation = match (&parent, &entry.id) {
            (Some(parent), _) => event_id(Format::Pi, &stream, &entry_record(parent), PRIMARY),
            // The root of a tree.
            (None, Some(_)) => session.header,
            (None, None) => session.previous,
        };
        let drafts = session.events(entry, drafting, causation)?;
        output.emit(entry.line, &stream, drafts)?;
        session.previous = drafting.id(PRIMARY);
        Ok(())
    }
}

impl Session {
    fn new(stream: String, header: Uuid) -> Self {
        Self {
            stream,
            header,
            previous: header,
            calls: OpenCalls::default(),
            prices: Prices::default(),
        }
    }

    fn events(
        &mut self,
        entry: &Entry<'_>,
        drafting: Drafting<'_>,
        causation: Uuid,
    ) -> Result<Drafts, RejectReason> {
        let message = match entry.object.get("message") {
            Some(message) if entry.kind == "message" => Some(Message::parse(message)?),
            _ => None,
        };
        match message {
            Some(message) if message.is_turn() => self.turn(entry, message, drafting, causation),
            other => {
                let role = other.as_ref().map(|message| message.role.as_str());
                let kind = entry.harness_type(role);
                let kept = drafting.of_type(&kind, PRIMARY, Some(causation), &entry.original()?)?;
                // What summing up or warming a cache costs.
                let call = usage(&entry.object, drafting.record, &mut self.prices).ok();
                let call = call.flatten().map(|call| report(drafting, &call));
                let call = call.transpose()?;
                Ok([kept].into_iter().chain(call).collect())
            }
        }
    }

    fn turn(
        &mut self,
        entry: &Entry<'_>,
        mut message: Message<'_>,
        drafting: Drafting<'_>,
        causation: Uuid,
    ) -> Result<Drafts, RejectReason> {
        let model = message.model.clone();
        let drafting = Drafting {
            source: model.as_deref(),
            occurred_at_us: drafting.occurred_at_us.or(message.occurred_at_us),
            ..drafting
        };
        let answer = message.answer()?;
        let call = message.usage(drafting.record, &mut self.prices)?;
        let payload = ChatMessage::new(message.speaker())
            .parts(std::mem::take(&mut message.parts))
            .original(entry.original()?.original);
        let primary = Some(drafting.id(PRIMARY));
        let mut drafts = vec![drafting.draft(PRIMARY, Some(causation), &payload)?];
        if let Some(call) = call {
            drafts.push(report(drafting, &call)?);
        }
        for (nth, call) in message.calls.into_iter().enumerate() {
            let part = format!("tool/{nth}");
            self.calls.request(&call.call_id, drafting.id(&part));
            drafts.push(drafting.draft(&part, primary, &call)?);
        }
        if let Some(answer) = answer {
            let causation = self.calls.answer(&answer.call_id).or(primary);
            drafts.push(answered(drafting, causation, answer)?);
        }
        Ok(drafts)
    }
}

impl Reading for Pi {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let entry = Entry::parse(record)?;
        if entry.kind == "session" {
            self.header(&entry, output)
        } else {
            self.entry(&entry, output)
        }
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// What a tool answered.
fn answered(
    drafting: Drafting<'_>,
    causation: Option<Uuid>,
    answer: Answer,
) -> Result<runstone_codec::event::Draft, RejectReason> {
    let (call_id, name) = (answer.call_id, answer.name);
    if answer.failed {
        let mut failed = ToolCallFailed::new(call_id);
        failed.name = name;
        failed.error = answer.content;
        drafting.draft("result", causation, &failed)
    } else {
        let mut completed = ToolCallCompleted::new(call_id);
        completed.name = name;
        completed.result = answer.content;
        drafting.draft("result", causation, &completed)
    }
}

/// The report of a model call. How its price was rounded depends on the prices before it, so the
/// price is part of the event's identity.
fn report(
    drafting: Drafting<'_>,
    call: &LlmCallCompleted,
) -> Result<runstone_codec::event::Draft, RejectReason> {
    let part = match call.usd_micros {
        Some(usd_micros) => format!("usage/{usd_micros}"),
        None => "usage".to_owned(),
    };
    drafting.llm_call(&part, Some(drafting.id(PRIMARY)), call)
}

fn drafting<'a>(stream: &'a str, record: &'a str) -> Drafting<'a> {
    Drafting {
        format: Format::Pi,
        stream,
        domain: stream,
        record,
        occurred_at_us: None,
        source: None,
    }
}

fn header_record(session: &str) -> String {
    format!("session:{session}")
}

fn entry_record(id: &str) -> String {
    format!("id:{id}")
}

/// The session that a header says it was forked from: files of sessions are called
/// `TIME_SESSION.jsonl`.
fn fork_of(header: &Object<'_>) -> Option<String> {
    let path = ["branchedFrom", "parentSession"]
        .into_iter()
        .find_map(|name| header.text(name))?;
    let file = path.rsplit(['/', '\\']).next()?;
    let stem = file.strip_suffix(".jsonl").unwrap_or(file);
    let session = stem.rsplit_once('_').map_or(stem, |(_, session)| session);
    Some(session.to_owned())
}
