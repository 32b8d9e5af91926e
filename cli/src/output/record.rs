//! Events for people.

use super::table::width;
use super::text::preview;
use super::{Output, Tone, count, indent, now, paint, printable, relative, rfc3339};
use jiff::Timestamp;
use runstone::codec::{Header, Position, Revision};
use runstone::{Payload, Record};
use std::fmt::Write as _;

/// Widths of type and stream that most names keep to; longer ones push the rest of their line.
const WIDTHS: (usize, usize) = (24, 24);
/// The same where there are fewer columns than [`WIDE`], so that something is left for the content.
const NARROW_WIDTHS: (usize, usize) = (18, 14);
const WIDE: usize = 100;
/// Characters of content where no terminal bounds them; the whole is in `show` and in JSON.
const PIPED_WIDTH: usize = 200;

/// Events as lines, one after the other: they may be more than fit into memory, so that no column
/// can wait for its widest cell.
#[derive(Debug)]
pub(crate) struct RecordLines {
    color: bool,
    /// Columns that there are.
    width: Option<usize>,
    /// Times are told as distances from now, for people who look now.
    now: Option<Timestamp>,
}

impl RecordLines {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            color: output.color,
            width: width(output).map(usize::from),
            now: output.terminal.then(now),
        }
    }

    /// Distances count from now on.
    pub(crate) fn tick(&mut self) {
        self.now = self.now.map(|_| now());
    }

    pub(crate) fn line(&self, record: &Record) -> String {
        let header = &record.header;
        let time = match self.now {
            Some(now) => format!("{:>9}", relative(record.recorded_at_us, now)),
            None => rfc3339(record.recorded_at_us).unwrap_or_default(),
        };
        let place = format!("{}@{}", header.stream, record.revision);
        let head = format!("{:>7}  {time}", record.position);
        let (stream, event_type) = (printable(&place), &header.event_type);
        let is_narrow = self.width.is_some_and(|width| width < WIDE);
        let (type_width, stream_width) = if is_narrow { NARROW_WIDTHS } else { WIDTHS };
        let used = head.chars().count()
            + stream.chars().count().max(stream_width)
            + event_type.len().max(type_width)
            + 6;
        let left = self
            .width
            .map_or(PIPED_WIDTH, |width| width.saturating_sub(used).max(8));
        let content = match &record.payload {
            Payload::Open(bytes) => {
                // What is beyond the width need not be looked at; one character has at most 4 bytes.
                let seen = bytes
                    .get(..left.saturating_mul(4).min(bytes.len()))
                    .unwrap_or(bytes);
                let text = String::from_utf8_lossy(seen);
                let shown = preview(&text, left);
                printable(&shown).into_owned()
            }
            Payload::Erased => paint(self.color, Tone::Warn, "(erased)"),
            Payload::Withheld => paint(self.color, Tone::Warn, "(withheld)"),
            _ => paint(self.color, Tone::Bad, "(cannot be read)"),
        };
        format!(
            "{}  {}  {stream:<stream_width$}  {content}",
            paint(self.color, Tone::Dim, &head),
            paint(
                self.color,
                tone_of(event_type),
                &format!("{event_type:<type_width$}")
            ),
        )
    }
}

/// Failures stand out.
fn tone_of(event_type: &str) -> Tone {
    let last = event_type.rsplit('.').next().unwrap_or_default();
    match last {
        "failed" | "exceeded" | "refused" | "outcome_unknown" => Tone::Bad,
        "blocked" | "paused" | "warned" | "cancelled" | "expired" => Tone::Warn,
        "completed" | "finished" | "approved" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// Names and values under each other.
#[derive(Debug)]
pub(crate) struct Fields {
    color: bool,
    terminal: bool,
    text: String,
}

impl Fields {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            color: output.color,
            terminal: output.terminal,
            text: String::new(),
        }
    }

    pub(crate) fn line(&mut self, name: &str, value: &str) {
        self.toned(name, Tone::Plain, value);
    }

    /// A value in the colour of what it means.
    pub(crate) fn toned(&mut self, name: &str, tone: Tone, value: &str) {
        let name = paint(self.color, Tone::Dim, &format!("{name:<14}"));
        // Colour comes last: what is made printable has none.
        let value = paint(self.color, tone, &printable(value));
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name}  {value}");
    }

    /// When something was, with a remark on it.
    pub(crate) fn time(&mut self, name: &str, unix_us: u64, remark: &str) {
        let at = match rfc3339(unix_us) {
            Some(at) if self.terminal => format!("{at} ({})", relative(unix_us, now())),
            Some(at) => at,
            None => format!("{unix_us} microseconds since 1970"),
        };
        self.line(name, &format!("{at}{remark}"));
    }

    /// What an event's header says, but for place and time.
    pub(crate) fn header(&mut self, header: &Header) {
        if let Some(occurred_at_us) = header.occurred_at_us {
            self.time("occurred at", occurred_at_us, "");
        }
        self.line("source", &header.source);
        self.line(
            "principal",
            &format!("{} (as {})", header.principal, header.authority),
        );
        if let Some(id) = header.causation {
            self.line("caused by", &id.to_string());
        }
        if let Some(id) = header.correlation {
            self.line("belongs to", &id.to_string());
        }
        self.line("scope", &header.scope);
        if !header.tags.is_empty() {
            self.line("tags", &header.tags.join("  "));
        }
    }

    /// Which event it is.
    pub(crate) fn place(&mut self, header: &Header, position: Position, revision: Revision) {
        self.line("position", &count(position.get()));
        self.line("id", &header.event_id.to_string());
        let (event_type, version) = (&header.event_type, header.schema_version);
        self.line("type", &format!("{event_type} (schema version {version})"));
        self.line("stream", &format!("{}@{revision}", header.stream));
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// One event over several lines.
pub(crate) fn whole_record(output: &Output, record: &Record) -> String {
    let mut fields = Fields::new(output);
    fields.place(&record.header, record.position, record.revision);
    fields.time("recorded at", record.recorded_at_us, "");
    fields.header(&record.header);
    for (field, value) in record.control.iter() {
        fields.line(&format!("control {field}"), &control_text(value));
    }
    let content = match &record.payload {
        Payload::Open(bytes) => indent(&String::from_utf8_lossy(bytes)),
        Payload::Erased => "(erased)".to_owned(),
        Payload::Withheld => "(withheld)".to_owned(),
        _ => "(cannot be read)".to_owned(),
    };
    let mut text = fields.into_text();
    text.push('\n');
    text.push_str(&printable(&content));
    text
}

fn control_text(value: &runstone::codec::ControlValue) -> String {
    use runstone::codec::ControlValue;
    match value {
        ControlValue::U64(number) => number.to_string(),
        ControlValue::Text(text) => text.clone(),
        ControlValue::Bytes(bytes) => super::hex(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_means_has_a_colour_and_what_it_says_has_none() {
        let mut fields = Fields::new(&Output {
            color: true,
            ..Output::new(false, false)
        });
        fields.toned("state", Tone::Bad, "failed\u{1b}[2J");
        let text = fields.into_text();
        let failed = paint(true, Tone::Bad, "failed\\u{1b}[2J");
        assert!(text.ends_with(&format!("  {failed}\n")), "{text:?}");
    }
}
