//! JSON as Python's `json.dumps` writes it, byte for byte: what other programs signed or hashed.
//!
//! Everything but printable ASCII is escaped, numbers are spelled as Python spells them, and of
//! members of one name the last counts. What is written is handed on piece by piece.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::json::MAX_WIDTH;
use crate::reject::RejectReason;

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 128;

/// Takes what is written.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&str);

/// The code points of a JSON string with its quotes. Halves of surrogate pairs stay what they are.
#[derive(Debug, Clone)]
pub(crate) struct CodePoints<'a> {
    rest: std::str::Chars<'a>,
}

impl<'a> CodePoints<'a> {
    /// Those of `token`, if that is a string.
    pub(crate) fn of(token: &'a str) -> Option<Self> {
        let inner = token.strip_prefix('"')?.strip_suffix('"')?;
        Some(Self {
            rest: inner.chars(),
        })
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |sum, _| {
            let digit = self.rest.next()?.to_digit(16)?;
            Some(sum * 16 + digit)
        })
    }

    /// What `\u` begins, with the second half of a pair if one follows.
    fn escaped_unit(&mut self) -> Option<u32> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Some(first);
        }
        let mut after = self.clone();
        if after.rest.next() == Some('\\')
            && after.rest.next() == Some('u')
            && let Some(second) = after.unit()
            && (0xdc00..0xe000).contains(&second)
        {
            *self = after;
            return Some(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        }
        Some(first)
    }
}

impl Iterator for CodePoints<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let one = self.rest.next()?;
        if one != '\\' {
            return Some(u32::from(one));
        }
        let plain = match self.rest.next()? {
            'u' => return self.escaped_unit(),
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        };
        Some(u32::from(plain))
    }
}

/// Writes a string of these code points.
pub(crate) fn string(points: impl Iterator<Item = u32>, sink: Sink<'_>) {
    sink("\"");
    for point in points {
        match point {
            0x22 => sink("\\\""),
            0x5c => sink("\\\\"),
            0x08 => sink("\\b"),
            0x0c => sink("\\f"),
            0x0a => sink("\\n"),
            0x0d => sink("\\r"),
            0x09 => sink("\\t"),
            0x20..=0x7e => {
                let mut bytes = [0; 4];
                sink(char::from_u32(point).unwrap_or(' ').encode_utf8(&mut bytes));
            }
            0..=0xffff => sink(&format!("\\u{point:04x}")),
            _ => {
                let high = 0xd800 + ((point - 0x1_0000) >> 10);
                let low = 0xdc00 + ((point - 0x1_0000) & 0x3ff);
                sink(&format!("\\u{high:04x}\\u{low:04x}"));
            }
        }
    }
    sink("\"");
}

/// A number as Python spells it: whole ones in full, others by the shortest digits that tell them.
pub(crate) fn number(token: &str) -> Cow<'_, str> {
    if !token.contains(['.', 'e', 'E']) {
        return if token == "-0" { "0" } else { token }.into();
    }
    let Ok(value) = token.parse::<f64>() else {
        return token.into();
    };
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    float(value).into()
}

fn float(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Writes a value, of which it is known that it is JSON: members sorted by the code points of their
/// names, and nothing between the parts.
pub(crate) fn sorted(value: &str, sink: Sink<'_>) -> Result<(), RejectReason> {
    let mut text = Text { text: value, at: 0 };
    text.value(0, sink)
}

/// What is read, and how far it was.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Text<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// A string with its quotes.
    fn string(&mut self) -> &'a str {
        let (from, mut escaped) = (self.rest(), false);
        let end = from.bytes().skip(1).position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        });
        self.scalar(end.map_or(from.len(), |end| end + 2))
    }

    fn scalar(&mut self, length: usize) -> &'a str {
        let found = self.rest().get(..length).unwrap_or_default();
        self.at += length.max(1);
        found
    }

    /// A number or word.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends = |byte: u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
        let end = rest.bytes().position(ends).unwrap_or(rest.len());
        self.scalar(end)
    }

    /// Passes over a value.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'"') => drop(self.string()),
                Some(b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                }
                Some(b'}' | b']') => {
                    self.at += 1;
                    depth = depth.saturating_sub(1);
                }
                Some(b',' | b':') => self.at += 1,
                Some(_) => drop(self.word()),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn value(&mut self, depth: usize, sink: Sink<'_>) -> Result<(), RejectReason> {
        if depth > MAX_DEPTH {
            return Err(RejectReason::TooMany {
                what: "levels",
                max: MAX_DEPTH,
            });
        }
        match self.peek() {
            Some(b'{') => self.map(depth, sink),
            Some(b'[') => self.list(depth, sink),
            Some(b'"') => {
                if let Some(points) = CodePoints::of(self.string()) {
                    string(points, sink);
                }
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                sink(&number(self.word()));
                Ok(())
            }
            _ => {
                sink(self.word());
                Ok(())
            }
        }
    }

    fn list(&mut self, depth: usize, sink: Sink<'_>) -> Result<(), RejectReason> {
        self.at += 1;
        sink("[");
        let mut comma = "";
        while !self.take(b']') && self.peek().is_some() {
            sink(comma);
            self.value(depth + 1, sink)?;
            self.take(b',');
            comma = ",";
        }
        sink("]");
        Ok(())
    }

    fn map(&mut self, depth: usize, sink: Sink<'_>) -> Result<(), RejectReason> {
        self.at += 1;
        let mut members: BTreeMap<Vec<u32>, Self> = BTreeMap::new();
        while !self.take(b'}') && self.peek().is_some() {
            if members.len() >= MAX_WIDTH {
                return Err(RejectReason::TooMany {
                    what: "members",
                    max: MAX_WIDTH,
                });
            }
            let name = CodePoints::of(self.string()).into_iter().flatten();
            let name = name.collect();
            self.take(b':');
            members.insert(name, *self);
            self.skip();
            self.take(b',');
        }
        sink("{");
        let mut comma = "";
        for (name, mut value) in members {
            sink(comma);
            string(name.into_iter(), sink);
            sink(":");
            value.value(depth + 1, sink)?;
            comma = ",";
        }
        sink("}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(value: &str) -> String {
        let mut text = String::new();
        sorted(value, &mut |piece| text.push_str(piece)).unwrap();
        text
    }

    #[test]
    fn numbers_are_spelled_as_python_does() {
        for (token, want) in [
            ("100.0", "100.0"),
            ("100", "100"),
            ("1e2", "100.0"),
            ("1E16", "1e+16"),
            ("1e+16", "1e+16"),
            ("1234567890123456.0", "1234567890123456.0"),
            ("1e15", "1000000000000000.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e-7", "1e-07"),
            ("1.50e-7", "1.5e-07"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("0.1", "0.1"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("1e400", "Infinity"),
            ("-1e400", "-Infinity"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(number(token), want, "{token}");
        }
    }

    #[test]
    fn text_is_escaped_as_python_does() {
        let value = "\"\u{e9}\u{1f600}\\u00e9\\ud83d\\ude00\\ud83d\\ud83dx\\/ \\u007f\\b\\u0001\"";
        let want = r#""\u00e9\ud83d\ude00\u00e9\ud83d\ude00\ud83d\ud83dx/ \u007f\b\u0001""#;
        assert_eq!(dumped(value), want);
    }

    #[test]
    fn members_are_sorted_and_the_last_of_a_name_counts() {
        // By code points: U+FFFD before U+1F600.
        let value = "{ \"\\ud83d\\ude00\": 1, \"\u{fffd}\" :[ ], \"a\": {\"z\":null,\"b\":[true , 2.50,\"]}\\\"\"]}, \"a\\u0062\": {} ,\"\u{fffd}\": [1,[2]] }";
        let want =
            r#"{"a":{"b":[true,2.5,"]}\""],"z":null},"ab":{},"\ufffd":[1,[2]],"\ud83d\ude00":1}"#;
        assert_eq!(dumped(value), want);
        for same in ["{}", "[]", "[[],{}]", "null", "\"\""] {
            assert_eq!(dumped(same), same);
        }
    }

    #[test]
    fn what_is_no_json_ends() {
        let deep = "[".repeat(200);
        assert!(sorted(&deep, &mut |_| {}).is_err());
        let text = r#"{"a":[1,{"b":"c\"\\"}],"d":nul}"#;
        for end in 0..text.len() {
            for odd in [&text[..end], &text[end..]] {
                let _ = sorted(odd, &mut |_| {});
            }
        }
    }
}
