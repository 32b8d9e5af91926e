//! An event as it stands in a line.

use crate::args::{parse_expected, parse_time};
use crate::error::{Exit, Report};
use runstone::{Condition, Expected, NewEvent, Query};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// An event as it is written.
///
/// The payload is never parsed into a value: integers of 128 bits, numbers that no double holds,
/// keys that stand twice and the order of keys would not survive that.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event, which is a JSON object")]
pub(super) struct Written {
    #[serde(rename = "type")]
    event_type: String,
    pub(super) stream: String,
    data: Box<RawValue>,
    id: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    source: Option<String>,
    occurred_at: Option<String>,
    scope: Option<String>,
    causation: Option<String>,
    correlation: Option<String>,
    schema_version: Option<u32>,
    #[serde(default)]
    fields: bool,
    expect: Option<Value>,
    if_none: Option<String>,
    after: Option<u64>,
}

impl Written {
    pub(super) fn expectation(&mut self) -> Result<Option<Expected>, Report> {
        let text = match self.expect.take() {
            None => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) if text == "none" => text,
            Some(_) => String::new(),
        };
        parse_expected(&text).map(Some).map_err(|_| {
            bad_line("expect is \"none\", or the number of the stream's last revision")
        })
    }

    pub(super) fn condition(&mut self) -> Result<Option<Condition>, Report> {
        match (self.if_none.take(), self.after) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(bad_line("after needs if_none")),
            (Some(query), after) => {
                let mut condition = Condition::none(Query::parse(&query)?);
                condition.after = after;
                Ok(Some(condition))
            }
        }
    }

    pub(super) fn event(self) -> Result<NewEvent, Report> {
        let data: Box<str> = self.data.into();
        let mut event = NewEvent::new(self.event_type, self.stream)
            .payload(data.into_string())
            .tags(self.tags)
            .fields(self.fields);
        event.event_id = uuid("id", self.id)?;
        event.scope = self.scope;
        event.causation = uuid("causation", self.causation)?;
        event.correlation = uuid("correlation", self.correlation)?;
        event.schema_version = self.schema_version.unwrap_or(event.schema_version);
        if let Some(source) = self.source {
            event.source = source;
        }
        if let Some(time) = self.occurred_at {
            let read = parse_time(&time);
            event.occurred_at_us =
                Some(read.map_err(|why| bad_line(format!("occurred_at `{time}`: {why}")))?);
        }
        Ok(event)
    }
}

fn uuid(member: &str, text: Option<String>) -> Result<Option<Uuid>, Report> {
    text.map(|text| {
        text.parse()
            .map_err(|_| bad_line(format!("{member} `{text}` is not an event id (UUID)")))
    })
    .transpose()
}

/// What is wrong with the JSON; the number of the line is told beside it.
pub(super) fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

pub(super) fn bad_line(message: impl Into<String>) -> Report {
    Report::new(Exit::Usage, "bad_line", message)
}
