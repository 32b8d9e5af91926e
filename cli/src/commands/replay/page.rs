//! An event and the state after it, as lines of a terminal.

use super::scene::UnderWay;
use crate::output::{cell, count, indent, rfc3339, usd};
use runstone::runs::RunSummary;
use runstone::{Payload, Record};

/// Columns of the state, where the terminal has twice as many.
const STATE_WIDTH: usize = 32;
/// Bytes of content that are laid out; nobody scrolls through more.
const SHOWN_BYTES: usize = 1 << 18;

/// What is shown.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) record: &'a Record,
    /// The last revision of the run.
    pub(super) last: u64,
    pub(super) summary: Option<&'a RunSummary>,
    pub(super) calls: &'a [UnderWay],
    pub(super) session: &'a str,
    /// Whether it plays and how fast, or what is asked.
    pub(super) status: String,
    /// Lines of the event that were scrolled away.
    pub(super) scrolled: usize,
}

const KEYS: &str = "space play  n next  p back  g go to  + - speed  up down scroll  q quit";

impl Page<'_> {
    /// As many lines as there are rows, each as wide as there are columns.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let record = self.record;
        let (revision, last) = (record.revision.get(), self.last);
        let title = format!(
            " {}  {}/{}  @{}  {}",
            record.header.stream,
            count(revision),
            count(last),
            record.position,
            self.status
        );
        let mut lines = vec![self.title(&title, columns)];
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
    fn title(&self, title: &str, columns: usize) -> String {
        let stream = &self.record.header.stream;
        let over = title.chars().count().saturating_sub(columns);
        let kept = stream.chars().count().saturating_sub(over + 1).max(8);
        if over == 0 || kept >= stream.chars().count() {
            return cell(title, columns);
        }
        let short: String = stream.chars().take(kept).chain(['\u{2026}']).collect();
        cell(&title.replacen(stream.as_str(), &short, 1), columns)
    }

    fn event(&self, width: usize) -> Vec<String> {
        let record = self.record;
        let happened = super::happened_us(record);
        let mut lines = vec![
            record.header.event_type.clone(),
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
        lines.push(String::new());
        lines.push(format!("under way: {}", self.calls.len()));
        for call in self.calls.iter().rev().take(5) {
            lines.push(format!("  {} since {}", call.name, count(call.revision)));
        }
        lines.push(String::new());
        lines.push("session".to_owned());
        let shown: String = self.session.chars().take(SHOWN_BYTES / 16).collect();
        for line in indent(&shown).lines() {
            wrap(line, width, &mut lines);
        }
        lines
    }
}

/// A line over as many lines as it takes.
fn wrap(line: &str, width: usize, lines: &mut Vec<String>) {
    let line = crate::output::printable(line);
    let mut rest: Vec<char> = line.chars().collect();
    let width = width.max(1);
    while rest.len() > width {
        let tail = rest.split_off(width);
        lines.push(rest.into_iter().collect());
        rest = tail;
    }
    lines.push(rest.into_iter().collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone::{NewEvent, Position, Runstone};

    fn record(stream: &str, payload: &str) -> Record {
        let log = Runstone::memory().unwrap();
        let event = NewEvent::new("chat.message", stream).payload(payload);
        log.append_blocking(event).unwrap();
        log.record(Position::new(1)).unwrap()
    }

    fn lines(record: &Record, session: &str, (columns, rows): (usize, usize)) -> Vec<String> {
        let page = Page {
            record,
            last: 4102,
            summary: None,
            calls: &[UnderWay {
                name: "search\u{1b}]0;x\u{7}".to_owned(),
                revision: 3,
            }],
            session,
            status: "paused x1".to_owned(),
            scrolled: 0,
        };
        page.lines(columns, rows)
    }

    #[test]
    fn a_page_fits_its_terminal() {
        let record = record("run-7", "{\"text\":\"hello\",\"more\":[1,2,3]}");
        for size in [(80, 24), (40, 10), (200, 60), (20, 3), (3, 2), (1, 1)] {
            let lines = lines(&record, "{}", size);
            assert_eq!(lines.len(), size.1.min(lines.len()));
            for line in &lines {
                let width = line.chars().count();
                assert!(width == size.0 || size.0 < 20, "{size:?}: {line:?}");
            }
        }
        let lines = lines(&record, "{\"turns\":2}", (80, 24));
        assert!(
            lines[0].contains("run-7  0/4,102  @1  paused x1"),
            "{lines:?}"
        );
        assert!(lines[4].contains("\"text\": \"hello\""), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("\"turns\": 2")));
    }

    #[test]
    fn nothing_of_a_payload_drives_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}";
        let payload = serde_json::json!({ "text": evil }).to_string();
        let raw = format!("{{\"text\":\"{}\"}}", "\u{9b}31m\u{202e}\u{7f}");
        for (payload, session) in [(&payload, evil), (&raw, &raw)] {
            let record = record("run\u{202e}", payload);
            for line in lines(&record, session, (80, 24)) {
                let is_bad =
                    |one: char| one.is_control() || ('\u{202a}'..='\u{202e}').contains(&one);
                assert!(!line.chars().any(is_bad), "{line:?}");
            }
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_the_place() {
        let record = record(&"claude-code/".repeat(12), "{}");
        let lines = lines(&record, "{}", (80, 24));
        assert!(lines[0].contains("0/4,102  @1  paused x1"), "{}", lines[0]);
    }
}
