//! An event and the state after it, as lines of a terminal.

use super::Found;
use super::scene::{Told, UnderWay};
use crate::output::{cell, count, indent, printable, rfc3339, usd};
use runstone::Payload;
use runstone::runs::RunSummary;
use unicode_width::UnicodeWidthChar as _;

/// Columns of the state, where the terminal has twice as many.
const STATE_WIDTH: usize = 32;
/// Bytes of content that are laid out; nobody scrolls through more.
const SHOWN_BYTES: usize = 1 << 18;

/// Calls under way that are shown.
pub(super) const SHOWN_CALLS: usize = 5;

/// What is shown.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) stream: &'a str,
    pub(super) found: &'a Found,
    /// The last revision of the run.
    pub(super) last: u64,
    pub(super) summary: Option<&'a RunSummary>,
    pub(super) calls: &'a [UnderWay],
    /// Events up to this one that the state is without.
    pub(super) damaged: u64,
    pub(super) session: &'a Told,
    /// Whether it plays and how fast, or what is asked.
    pub(super) status: String,
    /// Lines of the event that were scrolled away.
    pub(super) scrolled: usize,
}

const KEYS: &str = "space play  n next  p back  g go to  + - speed  up down scroll  q quit";

impl Page<'_> {
    /// As many lines as there are rows, each as wide as there are columns.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let place = format!(
            "  {}/{}  @{}  {}",
            count(self.found.revision),
            count(self.last),
            self.found.position,
            self.status
        );
        let mut lines = vec![self.title(&place, columns)];
        let body = rows.saturating_sub(2);
        let state_width = STATE_WIDTH.min(columns / 2);
        let event_width = columns.saturating_sub(state_width + 3);
        let (event, state) = (self.event(event_width), self.state(state_width));
        for row in 0..body {
            let left = event.get(row + self.scrolled).map_or("", String::as_str);
            let right = state.get(row).map_or("", String::as_str);
            let (left, right) = (cell(left, event_width), cell(right, state_width));
            lines.push(format!("{left} | {right}"));
        }
        lines.push(cell(&format!(" {KEYS}"), columns));
        lines.truncate(rows);
        lines
    }

    /// Where one is is seen, however long the name of the run.
    fn title(&self, place: &str, columns: usize) -> String {
        let stream = printable(self.stream);
        let room = columns.saturating_sub(width_of(place) + 1).max(9);
        if width_of(&stream) <= room {
            return cell(&format!(" {stream}{place}"), columns);
        }
        let (short, _) = split(&stream, room - 1);
        cell(&format!(" {short}\u{2026}{place}"), columns)
    }

    fn event(&self, width: usize) -> Vec<String> {
        let record = match &self.found.record {
            Ok(record) => record,
            Err(error) => {
                let mut lines = vec!["(damaged)".to_owned(), String::new()];
                wrap(&error.to_string(), width, &mut lines);
                return lines;
            }
        };
        let happened = super::happened_us(record);
        let mut lines = vec![
            record.header.event_type.to_string(),
            format!(
                "{} by {}",
                rfc3339(happened).unwrap_or_default(),
                record.header.source
            ),
            String::new(),
        ];
        match &record.payload {
            Payload::Open(bytes) => {
                let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
                let text = indent(&String::from_utf8_lossy(shown));
                for line in text.lines() {
                    wrap(line, width, &mut lines);
                }
                if bytes.len() > SHOWN_BYTES {
                    lines.push(format!("... {} bytes", count(bytes.len() as u64)));
                }
            }
            Payload::Erased => lines.push("(erased)".to_owned()),
            Payload::Withheld => lines.push("(withheld)".to_owned()),
            _ => lines.push("(cannot be read)".to_owned()),
        }
        lines
    }

    fn state(&self, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(run) = self.summary {
            let (counts, usage) = (&run.counts, &run.usage);
            let mut put = |name: &str, value: String| lines.push(format!("{name:<10}{value}"));
            put("status", run.status.as_str().to_owned());
            put("tokens", count(run.tokens()));
            put("in, out", {
                let (input, output) = (usage.input_tokens, usage.output_tokens);
                format!("{}, {}", count(input), count(output))
            });
            put("cache", {
                let (read, written) = (usage.cache_read_tokens, usage.cache_write_tokens);
                format!("{}, {}", count(read), count(written))
            });
            put("cost", usd(run.usd_micros()));
            put("turns", count(counts.turns));
            put("tools", {
                let errors = match counts.tool_errors {
                    0 => String::new(),
                    errors => format!(", {} failed", count(errors)),
                };
                format!("{}{errors}", count(counts.tool_calls))
            });
            put("models", count(counts.llm_calls));
            put("steps", count(counts.steps));
        }
        if self.damaged > 0 {
            lines.push(format!("{:<10}{}", "damaged", count(self.damaged)));
        }
        lines.push(String::new());
        lines.push(format!("under way: {}", self.calls.len()));
        for call in self.calls.iter().rev().take(SHOWN_CALLS) {
            let called = call.called.as_ref();
            let name = called.and_then(|called| called.name.as_deref());
            let name = name.unwrap_or("(a call)");
            lines.push(format!("  {name} since {}", count(call.revision)));
        }
        lines.push(String::new());
        lines.push("session".to_owned());
        if let Some(lacks) = &self.session.lacks {
            wrap(lacks, width, &mut lines);
        }
        let document = self.session.document.chars();
        let shown: String = document.take(SHOWN_BYTES / 16).collect();
        for line in indent(&shown).lines() {
            wrap(line, width, &mut lines);
        }
        lines
    }
}

/// A line over as many lines as it takes.
fn wrap(line: &str, width: usize, lines: &mut Vec<String>) {
    let line = printable(line);
    let mut rest = line.as_ref();
    loop {
        // A character that is wider than the whole line stands alone.
        let first = rest.chars().next().map_or(1, columns_of);
        let (line, tail) = split(rest, width.max(first));
        lines.push(line.to_owned());
        if tail.is_empty() {
            return;
        }
        rest = tail;
    }
}

/// As much of a text as has room in so many columns, and the rest.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    let beyond = text.char_indices().find(|(_, one)| {
        used += columns_of(*one);
        used > columns
    });
    text.split_at(beyond.map_or(text.len(), |(at, _)| at))
}

fn width_of(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// A tab is shown as a space.
fn columns_of(one: char) -> usize {
    one.width().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::super::scene::Called;
    use super::*;
    use runstone::{NewEvent, Runstone};

    fn found(stream: &str, payload: &str) -> Found {
        let log = Runstone::memory().unwrap();
        let event = NewEvent::new("chat.message", stream).payload(payload);
        log.append_blocking(event).unwrap();
        Found::at(&log, stream, 0).unwrap()
    }

    fn lines(found: &Found, session: &str, (columns, rows): (usize, usize)) -> Vec<String> {
        let page = Page {
            stream: found
                .record
                .as_ref()
                .map_or("run-7", |record| &record.header.stream),
            found,
            last: 4102,
            summary: None,
            calls: &[UnderWay {
                called: Some(Called {
                    name: Some("search\u{1b}]0;x\u{7}".to_owned()),
                    call_id: None,
                }),
                revision: 3,
                position: runstone::Position::new(5),
            }],
            damaged: 0,
            session: &Told {
                document: session.to_owned(),
                lacks: Some("2 changes missing".to_owned()),
            },
            status: "paused x1".to_owned(),
            scrolled: 0,
        };
        page.lines(columns, rows)
    }

    #[test]
    fn a_page_fits_its_terminal() {
        let wide = "\u{65e5}\u{672c}\u{8a9e}".repeat(30);
        for text in ["hello", &wide] {
            let found = found(
                "run-7",
                &format!("{{\"text\":\"{text}\",\"more\":[1,2,3]}}"),
            );
            for size in [(80, 24), (40, 10), (200, 60), (20, 3), (3, 2), (1, 1)] {
                let lines = lines(&found, "{}", size);
                assert_eq!(lines.len(), size.1.min(lines.len()));
                for line in &lines {
                    let width = width_of(line);
                    assert!(width == size.0 || size.0 < 20, "{size:?}: {line:?}");
                }
            }
        }
        let found = found("run-7", "{\"text\":\"hello\",\"more\":[1,2,3]}");
        let lines = lines(&found, "{\"turns\":2}", (80, 24));
        assert!(
            lines[0].contains("run-7  0/4,102  @1  paused x1"),
            "{lines:?}"
        );
        assert!(lines[5].contains("\"text\": \"hello\""), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("\"turns\": 2")));
        let session = lines
            .iter()
            .position(|line| line.ends_with(&cell("session", 32)));
        let below = &lines[session.unwrap() + 1];
        assert!(below.contains("| 2 changes missing"), "{lines:?}");
    }

    /// Wide and narrow characters, and those without a width.
    #[test]
    fn nothing_of_a_text_is_lost() {
        let text = "a\u{65e5}\u{672c}b\u{301}\u{8a9e}\u{8a9e}".repeat(40);
        let found = found("run-7", &format!("{{\"text\":\"{text}\"}}"));
        for size in [(80, 60), (41, 99), (20, 200)] {
            let lines = lines(&found, &format!("{{\"{text}\":1}}"), size);
            let columns: [fn(&str) -> &str; 2] = [
                |line| line.split_once(" | ").map_or("", |(event, _)| event),
                |line| line.split_once(" | ").map_or("", |(_, state)| state),
            ];
            for column in columns {
                let shown: String = lines.iter().map(|line| column(line).trim_end()).collect();
                assert!(shown.contains(&text), "{size:?}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_damaged_event_has_its_place() {
        let error = runstone::ReadError::Keys {
            position: 41,
            code: "key_missing",
            message: "nobody has it".to_owned(),
        };
        let found = Found::of(7, Err(error)).unwrap();
        let lines = lines(&found, "{}", (80, 24));
        assert!(lines[0].contains("run-7  7/4,102  @41"), "{lines:?}");
        assert!(lines[1].starts_with("(damaged)"), "{lines:?}");
        assert!(lines[3].contains("position 41"), "{lines:?}");
    }

    #[test]
    fn nothing_of_a_payload_drives_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}";
        let payload = serde_json::json!({ "text": evil }).to_string();
        let raw = format!("{{\"text\":\"{}\"}}", "\u{9b}31m\u{202e}\u{7f}");
        for (payload, session) in [(&payload, evil), (&raw, &raw)] {
            let found = found("run\u{202e}", payload);
            for line in lines(&found, session, (80, 24)) {
                let is_bad =
                    |one: char| one.is_control() || ('\u{202a}'..='\u{202e}').contains(&one);
                assert!(!line.chars().any(is_bad), "{line:?}");
            }
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_the_place() {
        for name in ["claude-code/", "\u{65e5}\u{672c}\u{8a9e}"] {
            let found = found(&name.repeat(12), "{}");
            let lines = lines(&found, "{}", (80, 24));
            assert!(lines[0].contains("0/4,102  @1  paused x1"), "{}", lines[0]);
        }
    }
}
