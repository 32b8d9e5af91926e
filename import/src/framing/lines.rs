//! One record a line.

use std::io::{self, BufRead};

use super::{Frame, Place, Room, State, fill, size};

/// Finds records that stand one a line. Blank lines are none.
#[derive(Debug)]
pub(crate) struct Lines {
    max: usize,
    line: u64,
}

impl Lines {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, line: 0 }
    }

    pub(super) fn next(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        let mut bytes = 0_u64;
        loop {
            record.clear();
            let (room, ended) = self.line(reader, record, &mut bytes)?;
            if bytes == 0 || (room.bytes == 0 && !ended) {
                return Ok(None);
            }
            self.line = self.line.saturating_add(1);
            if record.last() == Some(&b'\r') {
                record.pop();
            }
            let state = if room.is_over() {
                State::TooLarge { bytes: room.bytes }
            } else if record.trim_ascii().is_empty() {
                continue;
            } else {
                State::Whole
            };
            return Ok(Some(Frame {
                line: self.line,
                bytes,
                place: Place::Top,
                state,
            }));
        }
    }

    /// Reads one line without its end. Answers its length and whether it had an end.
    fn line(
        &self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
        bytes: &mut u64,
    ) -> io::Result<(Room, bool)> {
        let mut room = Room::new(self.max);
        loop {
            let Some(chunk) = fill(reader)? else { continue };
            if chunk.is_empty() {
                return Ok((room, false));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let (text, _) = chunk.split_at(end.unwrap_or(chunk.len()));
            room.take(record, text);
            let used = text.len() + usize::from(end.is_some());
            *bytes = bytes
                .saturating_add(size(text))
                .saturating_add(u64::from(end.is_some()));
            reader.consume(used);
            if end.is_some() {
                return Ok((room, true));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn frames(text: &[u8], max: usize, capacity: usize) -> Vec<(u64, String, State)> {
        let mut reader = BufReader::with_capacity(capacity, text);
        let (mut lines, mut record, mut all) = (Lines::new(max), Vec::new(), Vec::new());
        let mut total = 0;
        while let Some(frame) = lines.next(&mut reader, &mut record).unwrap() {
            total += frame.bytes;
            let text = String::from_utf8_lossy(&record).into_owned();
            all.push((frame.line, text, frame.state));
        }
        assert!(total <= text.len() as u64);
        all
    }

    #[test]
    fn lines_end_as_anybody_ends_them() {
        for capacity in [1, 3, 64] {
            let found = frames(b"{1}\n\n  \r\n{2}\r\n{3}", 9, capacity);
            let whole = |line, text: &str| (line, text.to_owned(), State::Whole);
            assert_eq!(found, [whole(1, "{1}"), whole(4, "{2}"), whole(5, "{3}")]);
        }
        assert!(frames(b"", 9, 8).is_empty() && frames(b"\n\n", 9, 8).is_empty());
    }

    #[test]
    fn a_long_line_is_passed_over() {
        for capacity in [1, 3, 64] {
            let found = frames(b"12345\n123456\n7\n", 5, capacity);
            assert_eq!(found[0].2, State::Whole);
            assert_eq!(found[1], (2, String::new(), State::TooLarge { bytes: 6 }));
            assert_eq!(found[2].0, 3);
        }
    }
}
