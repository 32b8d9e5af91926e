//! `CloudEvents` 1.0 in their JSON format: an event a line, one event, or a batch of them.
//!
//! All events of one `source` are the stream `cloudevents/SOURCE`, in the order in which they
//! stand. An event is known by its `id`, which is unique within its source. It is kept whole as
//! `harness.cloudevents.TYPE`, its attributes, extensions and data byte for byte; one whose type
//! ends in the name of a typed event, and whose data is such an event's, is that event as well.
//! The extension `causationid` names the event of the same source that caused it.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use runstone_codec::TypedEvent;
use runstone_codec::event::Draft;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Reading, Record};
use crate::calls::OpenCalls;
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{
    ChatMessage, HarnessRecord, LlmCallCompleted, RunFinished, RunStarted, ToolCallCompleted,
    ToolCallFailed, ToolCallRequested, VerdictGiven,
};
use crate::format::Format;
use crate::identity::{event_id, hex_digest};
use crate::json::{Object, raw};
use crate::numbers::unix_us;
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

/// The version of the specification that is read.
const VERSION: &str = "1.0";
/// Longest source that is part of a stream's name as it stands.
const MAX_SOURCE_BYTES: usize = 160;
/// Most bytes of an event's type as an event type here.
const MAX_TYPE_BYTES: usize = 128;

/// Reads events.
#[derive(Debug)]
pub(super) struct CloudEvents {
    prefix: String,
    records: Records<()>,
    /// The sources that have begun, with the calls of tools they know of.
    sources: BTreeMap<String, OpenCalls>,
}

/// What is looked at in every event.
struct Event<'a> {
    object: Object<'a>,
    id: String,
    source: String,
    kind: String,
    stream: String,
    occurred_at_us: Option<u64>,
}

impl<'a> Event<'a> {
    fn parse(text: &'a str, prefix: &str) -> Result<Self, RejectReason> {
        let object = Object::parse(text, "record")?;
        if object.required("specversion")? != VERSION {
            return Err(RejectReason::WrongType {
                field: "specversion",
                expected: "1.0",
            });
        }
        let source = attribute(&object, "source")?;
        let plain = source.len() <= MAX_SOURCE_BYTES && !source.chars().any(char::is_control);
        let name = if plain {
            source.clone()
        } else {
            hex_digest(source.as_bytes(), 16)
        };
        Ok(Self {
            id: attribute(&object, "id")?,
            kind: attribute(&object, "type")?,
            stream: format!("{prefix}{}/{name}", Format::CloudEvents),
            occurred_at_us: object.get("time").and_then(unix_us),
            source,
            object,
        })
    }

    /// The event that caused it, if it says so.
    fn cause(&self) -> Option<Uuid> {
        let cause = self.object.text("causationid")?;
        let other = cause != self.id.as_str();
        other.then(|| {
            let record = record_of(&cause);
            event_id(Format::CloudEvents, &self.stream, &record, PRIMARY)
        })
    }

    /// `harness.cloudevents.TYPE`, as much of the type as there is room for.
    fn harness_type(&self) -> String {
        let mut kind = format!("harness.{}", Format::CloudEvents.segment());
        for part in self.kind.split('.').map(segment) {
            if kind.len() + 1 + part.len() > MAX_TYPE_BYTES {
                break;
            }
            kind.push('.');
            kind.push_str(&part);
        }
        kind
    }

    /// Its data, if its type is `T` or ends in it and its data is that of a `T`.
    fn data<T: TypedEvent + DeserializeOwned>(&self) -> Option<T> {
        let before = self.kind.strip_suffix(T::TYPE)?;
        let fits = before.is_empty() || before.ends_with('.');
        let data: &RawValue = self.object.get("data").filter(|_| fits)?;
        serde_json::from_str(data.get()).ok()
    }
}

impl CloudEvents {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            sources: BTreeMap::new(),
        }
    }

    /// The beginning of a stream, if it has not begun. It says no more than the stream's name.
    fn begin(&mut self, event: &Event<'_>) -> Result<Option<Draft>, RejectReason> {
        if self.sources.contains_key(&event.stream) {
            return Ok(None);
        }
        let started = RunStarted {
            name: event.source.clone(),
            ..RunStarted::default()
        };
        let drafting = Drafting {
            occurred_at_us: None,
            ..drafting(event, "source")
        };
        let draft = drafting.started("started", None, None, &started)?;
        self.sources
            .insert(event.stream.clone(), OpenCalls::default());
        Ok(Some(draft))
    }

    /// The typed event that it is.
    fn typed(
        &mut self,
        event: &Event<'_>,
        drafting: Drafting<'_>,
    ) -> Result<Option<Draft>, RejectReason> {
        let primary = drafting.id(PRIMARY);
        let part = "event";
        let cause = Some(primary);
        let calls = self.sources.entry(event.stream.clone()).or_default();
        let draft = if let Some(said) = event.data::<ChatMessage>() {
            drafting.draft(part, cause, &said)?
        } else if let Some(call) = event.data::<ToolCallRequested>() {
            calls.request(&call.call_id, drafting.id(part));
            drafting.draft(part, cause, &call)?
        } else if let Some(result) = event.data::<ToolCallCompleted>() {
            answer(drafting, calls.answer(&result.call_id), &result)?
        } else if let Some(failed) = event.data::<ToolCallFailed>() {
            answer(drafting, calls.answer(&failed.call_id), &failed)?
        } else if let Some(call) = event.data::<LlmCallCompleted>() {
            drafting.llm_call(part, cause, &call)?
        } else if let Some(verdict) = event.data::<VerdictGiven>() {
            drafting.draft(part, cause, &verdict)?
        } else if let Some(finished) = event.data::<RunFinished>() {
            drafting.finished(part, cause, &finished)?
        } else {
            return Ok(None);
        };
        Ok(Some(draft))
    }
}

impl Reading for CloudEvents {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let event = Event::parse(record.text, &self.prefix)?;
        let stream = &event.stream;
        let id = Some(record_of(&event.id));
        let Some(identity) = self.records.identity(stream, id, record.text, ())? else {
            return output.emit(record.line, stream, Vec::new());
        };
        if let Some(started) = self.begin(&event)? {
            output.emit(record.line, stream, vec![started])?;
        }
        let drafting = drafting(&event, &identity);
        let original = raw(record.text.to_owned())?;
        let kept = HarnessRecord { original };
        let kind = event.harness_type();
        let mut drafts = vec![drafting.of_type(&kind, PRIMARY, event.cause(), &kept)?];
        drafts.extend(self.typed(&event, drafting)?);
        output.emit(record.line, stream, drafts)
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// A result. Which call it answers is only known from the events before, and so a part of its id.
fn answer<T: TypedEvent>(
    drafting: Drafting<'_>,
    call: Option<Uuid>,
    payload: &T,
) -> Result<Draft, RejectReason> {
    let causation = call.unwrap_or_else(|| drafting.id(PRIMARY));
    drafting.draft(&format!("result/{causation}"), Some(causation), payload)
}

/// A required attribute, which must say something.
fn attribute(event: &Object<'_>, name: &'static str) -> Result<String, RejectReason> {
    let wrong = RejectReason::WrongType {
        field: name,
        expected: "a string that is not empty",
    };
    let found = event.required(name)?;
    if found.is_empty() {
        Err(wrong)
    } else {
        Ok(found)
    }
}

fn record_of(id: &str) -> String {
    format!("id:{id}")
}

fn drafting<'a>(event: &'a Event<'_>, record: &'a str) -> Drafting<'a> {
    Drafting {
        format: Format::CloudEvents,
        stream: &event.stream,
        domain: &event.stream,
        record,
        occurred_at_us: event.occurred_at_us,
        source: Some(&event.source),
    }
}
