//! JSON values one after the other, and the elements of arrays at the top, one at a time.

use std::io::{self, BufRead};

use super::{Frame, Place, Room, State, fill, size};

/// Longest indentation that is told apart.
const MAX_MARGIN: usize = 64;
/// Brackets that are told apart; deeper ones are only counted, as no such record is accepted.
const MAX_STACK: usize = 256;

/// Finds records that are values at the top of a recording, or elements of an array there.
///
/// ```text
/// [ {"role": ..}, {"role": ..} ]      two records, in array 0
/// {"messages": [..]} {"messages": [..]}     two records, at the top
/// ```
///
/// Only brackets, quotes and escapes are looked at. A record whose brackets or quotes do not match
/// ends where the next one seems to begin: at a line indented as the first record was and opened by
/// the same bracket. Valid recordings are never cut, however they are laid out.
#[derive(Debug)]
pub(crate) struct Values {
    max: usize,
    line: u64,
    /// White space before the first other byte of the line; nothing after that byte.
    margin: Option<Vec<u8>>,
    array: Option<u64>,
    arrays: u64,
    /// How records begin, if each begins a line.
    layout: Option<Layout>,
    /// Whether the last record at the top stood on one line, as in JSONL.
    one_a_line: bool,
    open: Option<Open>,
    scope: Scope,
    /// What was passed over since the last record.
    passed_bytes: u64,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Whatever stands in the recording.
    Recording,
    /// The elements of one array.
    List,
    /// The value of one member of an object.
    Member,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    margin: Vec<u8>,
    first: u8,
}

/// A record whose end was not found yet.
#[derive(Debug)]
struct Open {
    line: u64,
    first: u8,
    depth: usize,
    stack: Vec<u8>,
    in_string: bool,
    escaped: bool,
    broken: bool,
}

/// What a byte means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is between records.
    Between,
    /// It begins a record.
    First,
    /// It is within a record.
    Within,
    /// It ends a record.
    Last,
    /// It ends the list of which the elements are read.
    End,
    /// The record ended before it. It is to be looked at again.
    Before,
}

impl Values {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            line: 1,
            margin: Some(Vec::new()),
            array: None,
            arrays: 0,
            layout: None,
            one_a_line: false,
            open: None,
            scope: Scope::Recording,
            passed_bytes: 0,
        }
    }

    /// Passes over a byte that stands around records.
    pub(super) fn pass(&mut self, byte: u8) {
        self.count(byte);
        self.passed_bytes = self.passed_bytes.saturating_add(1);
    }

    /// Begins with a list, or with the value of a member. The member's name, if it begins a line,
    /// shows how those of further members do.
    pub(super) fn enter(&mut self, scope: Scope, name_margin: Option<Vec<u8>>) {
        self.scope = scope;
        self.layout = name_margin.map(|margin| Layout {
            margin,
            first: b'"',
        });
    }

    /// White space before the next byte, if there is nothing else on its line.
    pub(super) fn margin(&self) -> Option<Vec<u8>> {
        self.margin.clone()
    }

    /// The next record; none at the end of the recording or of the list that is read.
    pub(super) fn next(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        let mut room = Room::new(self.max);
        let mut bytes = std::mem::take(&mut self.passed_bytes);
        loop {
            let Some(chunk) = fill(reader)? else { continue };
            if chunk.is_empty() {
                return Ok(self.at_end(room, bytes));
            }
            let (mut from, mut used) = (0, chunk.len());
            let (mut found, mut ended) = (false, false);
            for (at, byte) in chunk.iter().enumerate() {
                match self.step(*byte) {
                    Step::Between => from = at + 1,
                    Step::First => from = at,
                    Step::Within => {}
                    Step::Last => {
                        (used, found) = (at + 1, true);
                        break;
                    }
                    Step::Before => {
                        (used, found) = (at, true);
                        break;
                    }
                    Step::End => {
                        (from, used, ended) = (at + 1, at + 1, true);
                        break;
                    }
                }
            }
            room.take(record, chunk.get(from..used).unwrap_or_default());
            bytes = bytes.saturating_add(size(chunk.get(..used).unwrap_or_default()));
            reader.consume(used);
            if found {
                return Ok(self.close(room, bytes, false));
            }
            if ended {
                self.passed_bytes = bytes;
                return Ok(None);
            }
        }
    }

    fn at_end(&mut self, room: Room, bytes: u64) -> Option<Frame> {
        self.open.as_ref()?;
        self.close(room, bytes, true)
    }

    fn close(&mut self, room: Room, bytes: u64, at_end: bool) -> Option<Frame> {
        let open = self.open.take()?;
        let state = if open.broken {
            State::Unbalanced
        } else if open.depth > 0 || open.in_string {
            if at_end {
                State::Truncated
            } else {
                State::Unbalanced
            }
        } else if room.is_over() {
            State::TooLarge { bytes: room.bytes }
        } else {
            State::Whole
        };
        let place = self.array.map_or(Place::Top, Place::Array);
        if place == Place::Top && state == State::Whole && self.scope == Scope::Recording {
            self.one_a_line = open.line == self.line;
        }
        Some(Frame {
            line: open.line,
            bytes,
            place,
            state,
        })
    }

    fn step(&mut self, byte: u8) -> Step {
        let step = match &self.open {
            None => self.between(byte),
            Some(_) if self.begins_anew(byte) => return Step::Before,
            Some(open) if open.is_scalar() && self.ends_scalar(byte) => return Step::Before,
            Some(_) => self.within(byte),
        };
        self.count(byte);
        step
    }

    /// Keeps count of lines and of what stands before the first byte of one.
    fn count(&mut self, byte: u8) {
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
            self.margin = Some(Vec::new());
        } else if let Some(margin) = &mut self.margin {
            if byte.is_ascii_whitespace() && margin.len() < MAX_MARGIN {
                margin.push(byte);
            } else {
                self.margin = None;
            }
        }
    }

    fn between(&mut self, byte: u8) -> Step {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => Step::Between,
            b']' if self.array.is_some() => {
                self.array = None;
                self.layout = None;
                if self.scope == Scope::List {
                    Step::End
                } else {
                    Step::Between
                }
            }
            b'[' if self.array.is_none() && self.scope != Scope::Member => {
                self.array = Some(self.arrays);
                self.arrays = self.arrays.saturating_add(1);
                self.layout = None;
                Step::Between
            }
            _ => {
                if self.layout.is_none() {
                    let margin = self.margin.clone();
                    self.layout = margin.map(|margin| Layout {
                        margin,
                        first: byte,
                    });
                }
                let (open, step) = Open::new(self.line, byte);
                self.open = Some(open);
                step
            }
        }
    }

    fn within(&mut self, byte: u8) -> Step {
        let Some(open) = &mut self.open else {
            return Step::Between;
        };
        if open.broken || open.is_scalar() && !open.in_string {
            return Step::Within;
        }
        if open.in_string {
            match byte {
                _ if open.escaped => open.escaped = false,
                b'\\' => open.escaped = true,
                b'"' => open.in_string = false,
                // JSON has no line ends within strings: a quote is missing or one too many.
                b'\n' => open.broken = true,
                _ => {}
            }
            let done = !open.in_string && open.depth == 0;
            return if done { Step::Last } else { Step::Within };
        }
        match byte {
            b'"' => open.in_string = true,
            b'{' | b'[' => open.push(byte),
            b'}' | b']' => open.pop(byte),
            _ => {}
        }
        if open.depth == 0 && !open.in_string && !open.broken {
            Step::Last
        } else {
            Step::Within
        }
    }

    /// Whether a record that cannot be whole any more ends before this byte.
    fn begins_anew(&self, byte: u8) -> bool {
        let (Some(open), Some(margin)) = (&self.open, &self.margin) else {
            return false;
        };
        if self.array.is_none() && self.one_a_line && margin.is_empty() && byte == open.first {
            return open.line < self.line;
        }
        let Some(layout) = &self.layout else {
            return false;
        };
        open.broken
            && open.line < self.line
            && ((byte == layout.first && *margin == layout.margin)
                || (byte == b']' && self.array.is_some() && margin.len() < layout.margin.len()))
    }

    /// Whether a bare word or number ends before this byte.
    fn ends_scalar(&self, byte: u8) -> bool {
        match self.scope {
            _ if byte == b'\n' => true,
            Scope::Member => matches!(byte, b',' | b'}'),
            _ => self.array.is_some() && matches!(byte, b',' | b']'),
        }
    }
}

impl Open {
    fn new(line: u64, byte: u8) -> (Self, Step) {
        let mut open = Self {
            line,
            first: byte,
            depth: 0,
            stack: Vec::new(),
            in_string: byte == b'"',
            escaped: false,
            broken: false,
        };
        if matches!(byte, b'{' | b'[') {
            open.push(byte);
        }
        (open, Step::First)
    }

    /// Whether it is neither object nor array nor string. Whatever else stands there counts as one.
    fn is_scalar(&self) -> bool {
        !matches!(self.first, b'{' | b'[' | b'"')
    }

    fn push(&mut self, bracket: u8) {
        self.depth = self.depth.saturating_add(1);
        if self.depth <= MAX_STACK {
            self.stack.push(bracket);
        }
    }

    fn pop(&mut self, bracket: u8) {
        let wanted = if bracket == b'}' { b'{' } else { b'[' };
        if self.depth <= MAX_STACK && self.stack.pop() != Some(wanted) {
            self.broken = true;
        }
        self.depth = self.depth.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    type Found = (u64, String, Place, State);

    fn frames_by(text: &[u8], max: usize, capacity: usize) -> Vec<Found> {
        let mut reader = BufReader::with_capacity(capacity, text);
        let (mut values, mut record, mut all) = (Values::new(max), Vec::new(), Vec::new());
        loop {
            record.clear();
            let Some(frame) = values.next(&mut reader, &mut record).unwrap() else {
                return all;
            };
            let text = String::from_utf8_lossy(&record).into_owned();
            all.push((frame.line, text, frame.place, frame.state));
        }
    }

    fn frames(text: &str) -> Vec<Found> {
        let found = frames_by(text.as_bytes(), 64, 1);
        for capacity in [2, 7, 4096] {
            assert_eq!(frames_by(text.as_bytes(), 64, capacity), found);
        }
        found
    }

    fn texts(text: &str) -> Vec<(u64, String)> {
        let found = frames(text);
        assert!(found.iter().all(|one| one.3 == State::Whole), "{found:?}");
        found
            .into_iter()
            .map(|(line, text, _, _)| (line, text))
            .collect()
    }

    #[test]
    fn elements_of_an_array_are_records() {
        let found = texts("[\n {\"a\": [1, {}]},\n {\"b\": \"]}\\\"\"}\n,{}]\n");
        let want = [
            (2, "{\"a\": [1, {}]}"),
            (3, "{\"b\": \"]}\\\"\"}"),
            (4, "{}"),
        ];
        assert_eq!(found, want.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(frames("[{}]").first().unwrap().2, Place::Array(0));
        assert_eq!(frames("[{}]\n[[]]").last().unwrap().2, Place::Array(1));
        assert!(frames("[]").is_empty() && frames(" \n").is_empty() && frames("[").is_empty());
    }

    #[test]
    fn values_at_the_top_are_records() {
        let found = texts("{\"a\":\n1}{\"b\":2}\n\n{}\n");
        assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(texts("true\n\"x\" 7")[0], (1, "true".to_owned()));
        assert_eq!(texts("[1,\"b\",null]").len(), 3);
    }

    #[test]
    fn layout_without_indentation_is_whole() {
        assert_eq!(
            texts("[\n{\n\"a\": [\n{\n}\n,\n{\n}\n]\n}\n,\n{\n}\n]").len(),
            2
        );
        assert_eq!(texts("{\n\"a\":\n{\n}\n}\n{\n}").len(), 2);
    }

    #[test]
    fn an_unbalanced_record_ends_where_the_next_begins() {
        let states = |text| -> Vec<(u64, State)> {
            frames(text).into_iter().map(|one| (one.0, one.3)).collect()
        };
        let indented = "[\n  {\n   \"a\": \"x\n  },\n  {\"b\": 1},\n  {\"c\": ]\n  }\n]\n";
        let want = [
            (2, State::Unbalanced),
            (5, State::Whole),
            (6, State::Unbalanced),
        ];
        assert_eq!(states(indented), want);
        let lines = "{\"a\":1}\n{\"b\":{\n{\"c\":\"\n{\"d\":1}\n";
        let want = [
            (1, State::Whole),
            (2, State::Unbalanced),
            (3, State::Unbalanced),
            (4, State::Whole),
        ];
        assert_eq!(states(lines), want);
        assert_eq!(states("[{\"a\":1"), [(1, State::Truncated)]);
        assert_eq!(states("\"abc"), [(1, State::Truncated)]);
    }

    #[test]
    fn a_large_record_is_passed_over() {
        let text = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(64));
        let found = frames(&text);
        assert_eq!(found[0].3, State::TooLarge { bytes: 72 });
        assert_eq!((found[0].1.as_str(), found[1].1.as_str()), ("", "{}"));
    }

    #[test]
    fn deep_records_have_an_end() {
        let text = format!("{}{}{{}}", "[".repeat(2000), "]".repeat(2000));
        let found = frames_by(text.as_bytes(), 10_000, 64);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1.len(), 3998);
    }
}
