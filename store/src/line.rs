//! Events as lines of JSON: the shape that other programs depend on, on the command line and on the
//! socket.

use crate::{Payload, Record};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use runstone_codec::{Header, Position, Revision};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// RFC 3339 with microseconds.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// RFC 3339 with microseconds, in UTC. `None` for times after the year 9999, which RFC 3339 cannot
/// write.
pub fn rfc3339(unix_us: u64) -> Option<String> {
    let mut text = String::new();
    let is_written = print_time(unix_us, &mut text);
    is_written.then_some(text)
}

/// Whether there is such a time; what was written else does not count.
fn print_time(unix_us: u64, out: impl jiff::fmt::Write) -> bool {
    let micros = i64::try_from(unix_us).ok();
    let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    time.is_some_and(|time| PRINTER.print_timestamp(&time, out).is_ok())
}

/// What [`rfc3339`] wrote, as it was. `None` if it is none of its times.
pub fn unix_us(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

/// An event without its content. It is told as [`write_record`] writes it.
#[derive(Debug)]
pub struct Head<'a> {
    header: &'a Header,
    position: u64,
    revision: u64,
    recorded_at_us: u64,
}

impl<'a> Head<'a> {
    /// Of an event at a place, recorded at a time in Unix microseconds.
    pub fn new(
        header: &'a Header,
        (position, revision): (Position, Revision),
        recorded_at_us: u64,
    ) -> Self {
        Self {
            header,
            position: position.get(),
            revision: revision.get(),
            recorded_at_us,
        }
    }

    /// Its members and no closing brace: more may come.
    fn write(&self, out: &mut Vec<u8>) {
        let header = self.header;
        out.extend_from_slice(b"{\"position\":");
        write_number(out, self.position);
        out.extend_from_slice(b",\"id\":");
        write_id(out, Some(&header.event_id));
        out.extend_from_slice(b",\"stream\":");
        write_text(out, &header.stream);
        out.extend_from_slice(b",\"revision\":");
        write_number(out, self.revision);
        out.extend_from_slice(b",\"type\":");
        write_text(out, &header.event_type);
        out.extend_from_slice(b",\"schema_version\":");
        write_number(out, header.schema_version.into());
        out.extend_from_slice(b",\"recorded_at\":");
        write_time(out, Some(self.recorded_at_us));
        out.extend_from_slice(b",\"occurred_at\":");
        write_time(out, header.occurred_at_us);
        out.extend_from_slice(b",\"source\":");
        write_text(out, &header.source);
        out.extend_from_slice(b",\"authority\":");
        write_text(out, header.authority.as_str());
        out.extend_from_slice(b",\"causation\":");
        write_id(out, header.causation.as_ref());
        out.extend_from_slice(b",\"correlation\":");
        write_id(out, header.correlation.as_ref());
        out.extend_from_slice(b",\"scope\":");
        write_text(out, &header.scope);
        out.extend_from_slice(b",\"tags\":[");
        for (number, tag) in header.tags.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            write_text(out, tag);
        }
        out.push(b']');
    }
}

impl Serialize for Head<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::new();
        self.write(&mut json);
        json.push(b'}');
        let json: &RawValue = serde_json::from_slice(&json).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // A text and a number are JSON, and a vector takes everything.
    let _ = serde_json::to_writer(out, value);
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    write_json(out, &number);
}

/// Most texts have nothing in them that is to be escaped (RFC 8259 section 7): to see that takes far less
/// than to look for each character what it becomes.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let is_escaped = |byte| matches!(byte, 0..0x20 | b'"' | b'\\');
    if text.bytes().any(is_escaped) {
        return write_json(out, &text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_id(out: &mut Vec<u8>, id: Option<&Uuid>) {
    match id {
        Some(id) => {
            let mut digits = Uuid::encode_buffer();
            out.push(b'"');
            out.extend_from_slice(id.hyphenated().encode_lower(&mut digits).as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Microseconds since the epoch as RFC 3339; a time that it cannot write stays a number.
fn write_time(out: &mut Vec<u8>, unix_us: Option<u64>) {
    let Some(unix_us) = unix_us else {
        return out.extend_from_slice(b"null");
    };
    let before = out.len();
    out.push(b'"');
    if print_time(unix_us, &mut *out) {
        out.push(b'"');
    } else {
        out.truncate(before);
        write_number(out, unix_us);
    }
}

/// JSON without line breaks: outside of strings they mean nothing, inside they cannot be, and in an
/// answer they would tear its line in two.
pub fn on_one_line(json: &[u8]) -> impl Iterator<Item = u8> {
    json.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    })
}

/// Writes an event as one line. But for line breaks the bytes of its content go out as they are.
pub fn write_record(record: &Record, out: &mut Vec<u8>) {
    let place = (record.position, record.revision);
    Head::new(&record.header, place, record.recorded_at_us).write(out);
    out.extend_from_slice(b",\"data\":");
    match &record.payload {
        Payload::Open(bytes) => out.extend(on_one_line(bytes)),
        Payload::Erased => out.extend_from_slice(b"null,\"erased\":true"),
        Payload::Withheld => out.extend_from_slice(b"null,\"withheld\":true"),
        _ => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, Log, OpenOptions};
    use runstone_codec::NewEvent;

    fn line(payload: &str) -> String {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let event = NewEvent::new("a.b", "s").occurred_at_us(1).payload(payload);
        log.append_blocking(event).unwrap();
        let mut out = Vec::new();
        write_record(&log.record(Position::new(1)).unwrap(), &mut out);
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
        let mut out = Vec::new();
        write_time(&mut out, Some(u64::MAX));
        assert_eq!(out, u64::MAX.to_string().into_bytes());
    }

    /// Texts come back as they are, whatever stands in them.
    #[test]
    fn texts_are_escaped() {
        let all: String = (0..0x80_u8)
            .map(char::from)
            .chain("\u{e4}\u{2028}\u{1f980}".chars())
            .collect();
        let each = all
            .chars()
            .map(String::from)
            .chain([String::new(), all.clone()]);
        for text in each {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            assert_eq!(serde_json::to_vec(&text).unwrap(), out);
        }
    }

    #[test]
    fn a_head_is_told_as_it_is_written() {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let id = Uuid::from_u128(7);
        let event = NewEvent::new("a.b", "s \"1\"")
            .causation(id)
            .tags(["k:\\", "l:m"]);
        log.append_blocking(event).unwrap();
        let record = log.record(Position::new(1)).unwrap();
        let head = Head::new(&record.header, (record.position, record.revision), 0);
        let value = serde_json::to_value(&head).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&head).unwrap()).unwrap();
        assert_eq!(value, json);
        assert_eq!(json["causation"], id.to_string());
        assert_eq!(
            (&json["stream"], &json["tags"]),
            (&"s \"1\"".into(), &serde_json::json!(["k:\\", "l:m"]))
        );
        assert_eq!(
            (&json["correlation"], &json["occurred_at"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
    }

    #[test]
    fn times_are_utc_with_microseconds() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        let one = rfc3339(1_764_000_000_000_001);
        assert_eq!(one.as_deref(), Some("2025-11-24T16:00:00.000001Z"));
        assert_eq!(rfc3339(u64::MAX), None);
        assert_eq!(rfc3339(1 << 62), None);
        assert_eq!(
            one.and_then(|text| unix_us(&text)),
            Some(1_764_000_000_000_001)
        );
        assert_eq!(unix_us("yesterday"), None);
    }
}
