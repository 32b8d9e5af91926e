//! JSON shapes that other programs depend on.

use super::rfc3339;
use crate::error::Report;
use runstone::codec::{Header, Position, Revision};
use runstone::{FoldStatus, Payload, Record};
use serde::{Serialize, Serializer};

/// An error as it is shown, under `error`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorLine<'a> {
    /// The line of the input concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    pub(crate) error: ErrorValue<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorValue<'a> {
    code: &'a str,
    message: &'a str,
    hints: &'a [String],
}

impl<'a> ErrorLine<'a> {
    pub(crate) fn of(report: &'a Report) -> Self {
        let (code, message, hints) = (report.code, &report.message, &report.hints);
        Self {
            line: None,
            error: ErrorValue {
                code,
                message,
                hints,
            },
        }
    }

    #[must_use]
    pub(crate) fn at(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

/// A warning on stderr.
#[derive(Serialize)]
pub(super) struct WarningLine<'a> {
    pub(super) warning: Warning<'a>,
}

#[derive(Serialize)]
pub(super) struct Warning<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Base64, as checkpoints write roots.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Microseconds since the epoch as RFC 3339; a time that it cannot write stays a number.
#[derive(Debug)]
struct Time(u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match rfc3339(self.0) {
            Some(text) => serializer.serialize_str(&text),
            None => serializer.serialize_u64(self.0),
        }
    }
}

/// An event without its content.
#[derive(Debug, Serialize)]
pub(crate) struct Head<'a> {
    position: u64,
    id: String,
    stream: &'a str,
    revision: u64,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u32,
    recorded_at: Time,
    occurred_at: Option<Time>,
    source: &'a str,
    authority: &'a str,
    causation: Option<String>,
    correlation: Option<String>,
    scope: &'a str,
    tags: &'a [String],
}

impl<'a> Head<'a> {
    fn of(record: &'a Record) -> Self {
        let place = (record.position, record.revision);
        Self::new(&record.header, place, record.recorded_at_us)
    }

    pub(crate) fn new(
        header: &'a Header,
        (position, revision): (Position, Revision),
        recorded_at_us: u64,
    ) -> Self {
        Self {
            position: position.get(),
            id: header.event_id.to_string(),
            stream: &header.stream,
            revision: revision.get(),
            event_type: &header.event_type,
            schema_version: header.schema_version,
            recorded_at: Time(recorded_at_us),
            occurred_at: header.occurred_at_us.map(Time),
            source: &header.source,
            authority: header.authority.as_str(),
            causation: header.causation.map(|id| id.to_string()),
            correlation: header.correlation.map(|id| id.to_string()),
            scope: &header.scope,
            tags: &header.tags,
        }
    }
}

/// JSON without line breaks: outside of strings they mean nothing, inside they cannot be, and in an
/// answer they would tear its line in two.
pub(crate) fn on_one_line(json: &[u8]) -> impl Iterator<Item = u8> {
    json.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    })
}

/// Writes an event as one line. But for line breaks the bytes of its content go out as they are.
pub(crate) fn write_record(record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, &Head::of(record))?;
    // The closing brace gives way to the content.
    out.pop();
    out.extend_from_slice(b",\"data\":");
    match &record.payload {
        Payload::Open(bytes) => out.extend(on_one_line(bytes)),
        Payload::Erased => out.extend_from_slice(b"null,\"erased\":true"),
        _ => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// How far a fold is.
#[derive(Serialize)]
pub(crate) struct Summary {
    fold: String,
    version: u32,
    /// Events taken in.
    applied: u64,
    /// Events whose effect is on disk.
    flushed: u64,
    /// Events not yet taken in.
    lag: u64,
    known: bool,
    stopped: Option<Stopped>,
}

#[derive(Serialize)]
struct Stopped {
    position: u64,
    why: String,
}

impl Summary {
    pub(crate) fn of(status: &FoldStatus, size: u64) -> Self {
        Self {
            fold: status.name.clone(),
            version: status.version,
            applied: status.applied,
            flushed: status.flushed,
            lag: size.saturating_sub(status.applied),
            known: status.known,
            stopped: status.stopped.as_ref().map(|(position, why)| Stopped {
                position: position.get(),
                why: why.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone::{CreateOptions, Log, NewEvent, OpenOptions};

    fn line(payload: &str) -> String {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let event = NewEvent::new("a.b", "s").occurred_at_us(1).payload(payload);
        log.append_blocking(event).unwrap();
        let mut out = Vec::new();
        write_record(&log.record(Position::new(1)).unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_with_its_members_in_order() {
        let line = line("{\n \"b\": 340282366920938463463374607431768211455,\r\n \"b\": 1e999 }");
        assert!(line.ends_with(
            "\"data\":{  \"b\": 340282366920938463463374607431768211455,   \"b\": 1e999 }}\n"
        ));
        assert_eq!(line.matches('\n').count(), 1);
        let mut at = 0;
        for name in [
            "position",
            "id",
            "stream",
            "revision",
            "type",
            "schema_version",
            "recorded_at",
            "occurred_at",
            "source",
            "authority",
            "causation",
            "correlation",
            "scope",
            "tags",
            "data",
        ] {
            let found = line.find(&format!("\"{name}\":")).unwrap();
            assert!(found >= at, "{name}");
            at = found;
        }
        assert!(
            line.contains(r#""occurred_at":"1970-01-01T00:00:00.000001Z""#),
            "{line}"
        );
    }

    #[test]
    fn times_that_rfc_3339_cannot_write_stay_numbers() {
        assert_eq!(
            serde_json::to_string(&Time(u64::MAX)).unwrap(),
            u64::MAX.to_string()
        );
    }

    #[test]
    fn errors_have_code_message_and_hints() {
        let report = Report::new(crate::error::Exit::Usage, "bad_tag", "x");
        assert_eq!(
            serde_json::to_string(&ErrorLine::of(&report).at(3)).unwrap(),
            r#"{"line":3,"error":{"code":"bad_tag","message":"x","hints":["a tag reads like user:7"]}}"#
        );
        let alone = serde_json::to_string(&ErrorLine::of(&report)).unwrap();
        assert!(alone.starts_with(r#"{"error":{"code""#));
    }
}
