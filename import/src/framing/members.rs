//! The members of objects at the top, one at a time, and the elements of one of them.

use std::io::{self, BufRead};

use super::values::{Scope, Values};
use super::{Frame, Place, State, fill};

/// Longest name of a member, with its quotes, that is told.
const MAX_NAME_BYTES: usize = 128;

/// Finds the members of the objects at the top of a recording, so that none of these has to be held
/// whole.
///
/// ```text
/// {"version": 2, "eval": {..}, "samples": [{..}, {..}]}
///
/// {"version":2}  {"eval":{..}}  {..}  {..}          four records, if the list is `samples`
/// ```
///
/// A member is given as an object that has no other one; an element of the list as it stands.
/// Where brackets or quotes of a record do not match, it ends as [`Values`] has it.
#[derive(Debug)]
pub(crate) struct Members {
    list: &'static [u8],
    values: Values,
    stage: Stage,
    /// The last name, with its quotes; empty if it is too long to be one.
    name: Vec<u8>,
    /// What was before it on its line, if that is only white space.
    margin: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// At the top.
    Top,
    /// In an object, before a name.
    Object,
    /// After a name.
    Named,
    /// In the list.
    List,
}

impl Members {
    /// Elements of the member `list`, a name with its quotes, are records of their own.
    pub(crate) fn new(max: usize, list: &'static str) -> Self {
        Self {
            list: list.as_bytes(),
            values: Values::new(max),
            stage: Stage::Top,
            name: Vec::new(),
            margin: None,
        }
    }

    pub(super) fn next(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        loop {
            if self.stage == Stage::List {
                if let Some(frame) = self.values.next(reader, record)? {
                    return Ok(Some(frame));
                }
                self.stage = Stage::Object;
            }
            let Some(chunk) = fill(reader)? else { continue };
            let Some(byte) = chunk.first().copied() else {
                return Ok(None);
            };
            if let Some(next) = self.around(byte) {
                self.stage = next;
                self.values.pass(byte);
                reader.consume(1);
            } else if self.stage == Stage::Object && byte == b'"' {
                self.margin = self.values.margin();
                self.read_name(reader)?;
                self.stage = Stage::Named;
            } else if self.stage == Stage::Named && byte == b'[' && self.name == self.list {
                self.values.enter(Scope::List, self.margin.take());
                self.stage = Stage::List;
            } else {
                return self.value(reader, record);
            }
        }
    }

    /// Where a byte leads that stands around names and values.
    fn around(&self, byte: u8) -> Option<Stage> {
        match (self.stage, byte) {
            (stage, b' ' | b'\t' | b'\r' | b'\n') => Some(stage),
            (Stage::Top, b',' | b'[' | b']') | (Stage::Object | Stage::Named, b'}') => {
                Some(Stage::Top)
            }
            (Stage::Top, b'{') | (Stage::Object, b',' | b':' | b']') | (Stage::Named, b',') => {
                Some(Stage::Object)
            }
            (Stage::Named, b':') => Some(Stage::Named),
            _ => None,
        }
    }

    /// Reads a name up to the quote at its end, or to the end of its line.
    fn read_name(&mut self, reader: &mut dyn BufRead) -> io::Result<()> {
        let (mut escaped, mut length) = (false, 0_usize);
        self.name.clear();
        loop {
            let Some(chunk) = fill(reader)? else { continue };
            let Some(byte) = chunk.first().copied() else {
                break;
            };
            if byte == b'\n' {
                break;
            }
            self.values.pass(byte);
            reader.consume(1);
            length = length.saturating_add(1);
            if length <= MAX_NAME_BYTES {
                self.name.push(byte);
            }
            if byte == b'"' && !escaped && length > 1 {
                break;
            }
            escaped = byte == b'\\' && !escaped;
        }
        if length > MAX_NAME_BYTES {
            self.name.clear();
        }
        Ok(())
    }

    /// Reads a value, with the name that stands before it.
    fn value(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        let named = self.stage == Stage::Named && !self.name.is_empty();
        if named {
            record.push(b'{');
            record.extend_from_slice(&self.name);
            record.push(b':');
        }
        if self.stage == Stage::Named {
            self.stage = Stage::Object;
        }
        self.values.enter(Scope::Member, self.margin.take());
        let frame = self.values.next(reader, record)?;
        let whole = |frame: &Frame| frame.place == Place::Top && frame.state == State::Whole;
        if named && frame.as_ref().is_some_and(whole) {
            record.push(b'}');
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    type Found = (u64, String, State);

    fn frames_by(text: &str, max: usize, capacity: usize) -> Vec<Found> {
        let mut reader = BufReader::with_capacity(capacity, text.as_bytes());
        let (mut members, mut record) = (Members::new(max, "\"list\""), Vec::new());
        let (mut all, mut bytes) = (Vec::new(), 0);
        loop {
            record.clear();
            let Some(frame) = members.next(&mut reader, &mut record).unwrap() else {
                assert!(bytes <= text.len() as u64);
                return all;
            };
            bytes += frame.bytes;
            let text = String::from_utf8_lossy(&record).into_owned();
            all.push((frame.line, text, frame.state));
        }
    }

    fn frames(text: &str) -> Vec<Found> {
        let found = frames_by(text, 64, 1);
        for capacity in [2, 7, 4096] {
            assert_eq!(frames_by(text, 64, capacity), found);
        }
        found
    }

    fn texts(text: &str) -> Vec<String> {
        let found = frames(text);
        let whole = found.iter().all(|(_, _, state)| *state == State::Whole);
        assert!(whole, "{found:?}");
        found.into_iter().map(|(_, text, _)| text).collect()
    }

    #[test]
    fn members_and_elements_are_records() {
        let want = [
            r#"{"v":2}"#,
            r#"{"o":{"list": [1]}}"#,
            r#"{"n"}"#,
            "[7]",
            r#"{"s":"a,]}"}"#,
        ];
        let compact = r#"{"v":2,"o":{"list": [1]},"list":[{"n"},[7]],"s":"a,]}"}"#;
        assert_eq!(texts(compact), want);
        let pretty = "{\n \"v\": 2,\n \"o\": {\"list\": [1]},\n \"list\": [\n  {\"n\"},\n  [7]\n ],\n \"s\" : \"a,]}\"\n}\n";
        assert_eq!(texts(pretty), want);
        let lines: Vec<u64> = frames(pretty).iter().map(|one| one.0).collect();
        assert_eq!(lines, [2, 3, 5, 6, 8]);
        assert_eq!(
            texts(r#"{"a\"b":[1, 2]}{"c":null}"#),
            [r#"{"a\"b":[1, 2]}"#, r#"{"c":null}"#]
        );
        assert_eq!(
            texts(r#"[{"c":1},{"list":[]},{"list":[2]}]"#),
            [r#"{"c":1}"#, "2"]
        );
        for empty in [
            "",
            "{",
            "{}",
            "{\"",
            "{\"a\"",
            "{\"a\":",
            "{\"list\":[",
            "[]",
            "{\"a\"}",
        ] {
            assert!(frames(empty).is_empty(), "{empty}");
        }
    }

    #[test]
    fn damage_costs_one_record() {
        let states = |text| -> Vec<(u64, State)> {
            frames(text).into_iter().map(|one| (one.0, one.2)).collect()
        };
        let member = "{\n \"a\": {\n  \"x\": ]\n },\n \"b\": 1,\n \"list\": [\n  {\n   \"c\": \"\n  },\n  {}\n ],\n \"d\": 2\n}";
        let want = [
            (2, State::Unbalanced),
            (5, State::Whole),
            (7, State::Unbalanced),
            (10, State::Whole),
            (12, State::Whole),
        ];
        assert_eq!(states(member), want);
        assert_eq!(states("{\"a\":{"), [(1, State::Truncated)]);
        assert_eq!(
            states("{\"list\":[{}, {"),
            [(1, State::Whole), (1, State::Truncated)]
        );
        // Without a name, or without an object around it.
        assert_eq!(texts("{7,{},\"a\":1}"), ["7", "{}", "{\"a\":1}"]);
        assert_eq!(texts("7\n{\"a\":1}"), ["7", "{\"a\":1}"]);
    }

    #[test]
    fn a_large_member_is_passed_over() {
        let long = "x".repeat(64);
        let found = frames(&format!("{{\"a\":\"{long}\",\"list\":[\"{long}\",1]}}"));
        let states: Vec<&State> = found.iter().map(|one| &one.2).collect();
        let large = State::TooLarge { bytes: 66 };
        assert_eq!(states, [&large, &large, &State::Whole]);
    }

    #[test]
    fn a_long_name_is_not_held() {
        let name = "n".repeat(500);
        assert_eq!(
            texts(&format!("{{\"{name}\":1,\"b\":2}}")),
            ["1", "{\"b\":2}"]
        );
    }
}
