//! Events as lines of JSON: the shape that other programs depend on, on the command line and on the
//! socket.

use crate::{Payload, Record};
use jiff::Timestamp;
use runstone_codec::{Header, Position, Revision, Text};
use serde::{Serialize, Serializer};

/// RFC 3339 with microseconds, in UTC. `None` for times after the year 9999, which RFC 3339 cannot
/// write.
pub fn rfc3339(unix_us: u64) -> Option<String> {
    let micros = i64::try_from(unix_us).ok()?;
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(format!("{time:.6}"))
}

/// What [`rfc3339`] wrote, as it was. `None` if it is none of its times.
pub fn unix_us(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
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
pub struct Head<'a> {
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
    tags: &'a [Text],
}

impl<'a> Head<'a> {
    fn of(record: &'a Record) -> Self {
        let place = (record.position, record.revision);
        Self::new(&record.header, place, record.recorded_at_us)
    }

    /// Of an event at a place, recorded at a time in Unix microseconds.
    pub fn new(
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
pub fn on_one_line(json: &[u8]) -> impl Iterator<Item = u8> {
    json.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    })
}

/// Writes an event as one line. But for line breaks the bytes of its content go out as they are.
///
/// # Errors
///
/// None: what an event is made of can be written.
pub fn write_record(record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, &Head::of(record))?;
    // The closing brace gives way to the content.
    out.pop();
    out.extend_from_slice(b",\"data\":");
    match &record.payload {
        Payload::Open(bytes) => out.extend(on_one_line(bytes)),
        Payload::Erased => out.extend_from_slice(b"null,\"erased\":true"),
        Payload::Withheld => out.extend_from_slice(b"null,\"withheld\":true"),
        _ => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n");
    Ok(())
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
