//! Where records begin and end, found without holding more than one of them.

mod container;
mod lines;
mod members;
mod values;

use std::io::{self, BufRead};

pub(crate) use container::{Bounds, Container};
pub(crate) use lines::Lines;
pub(crate) use members::Members;
pub(crate) use values::Values;

use crate::reject::RejectReason;

/// Memory kept from one record to the next.
const KEPT_BYTES: usize = 1 << 20;

/// How a format separates its records.
#[derive(Debug)]
pub(crate) enum Framing {
    /// One a line.
    Lines(Lines),
    /// JSON values one after the other, and the elements of arrays at the top.
    Values(Values),
    /// The members of objects at the top.
    Members(Members),
    /// Members of a zip file, each a record; or without one, of objects at the top.
    Container(Container),
}

impl Framing {
    /// Finds the next record. Its bytes are in `record` if it is whole.
    pub(crate) fn next(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        record.clear();
        record.shrink_to(KEPT_BYTES);
        match self {
            Self::Lines(lines) => lines.next(reader, record),
            Self::Values(values) => values.next(reader, record),
            Self::Members(members) => members.next(reader, record),
            Self::Container(container) => container.next(reader, record),
        }
    }

    /// The member of a container in which the last record stands.
    pub(crate) fn member(&self) -> Option<&str> {
        match self {
            Self::Container(container) => container.member(),
            Self::Lines(_) | Self::Values(_) | Self::Members(_) => None,
        }
    }
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// How many bytes were read to find it.
    pub(crate) bytes: u64,
    pub(crate) place: Place,
    pub(crate) state: State,
}

/// Where in the recording a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the top.
    Top,
    /// In the array at the top that has this number.
    Array(u64),
}

/// What could be read of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    TooLarge { bytes: u64 },
    Unbalanced,
    Truncated,
    Refused(RejectReason),
}

/// A record's bytes, as far as they may be held.
#[derive(Debug, Default, Clone, Copy)]
struct Room {
    max: usize,
    bytes: u64,
}

impl Room {
    fn new(max: usize) -> Self {
        Self { max, bytes: 0 }
    }

    fn take(&mut self, record: &mut Vec<u8>, chunk: &[u8]) {
        self.bytes = self.bytes.saturating_add(size(chunk));
        if self.is_over() {
            record.clear();
            record.shrink_to(KEPT_BYTES);
        } else {
            record.extend_from_slice(chunk);
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > u64::try_from(self.max).unwrap_or(u64::MAX)
    }
}

fn size(chunk: &[u8]) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

/// The reader's next bytes; empty at its end, `None` if it is to be asked again.
fn fill(reader: &mut dyn BufRead) -> io::Result<Option<&[u8]>> {
    match reader.fill_buf() {
        Ok(chunk) => Ok(Some(chunk)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Passes over the byte order mark that some editors write. Returns how many bytes it took.
pub(crate) fn without_mark<'r>(
    mut reader: Box<dyn BufRead + Send + 'r>,
) -> io::Result<(Box<dyn BufRead + Send + 'r>, u64)> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    // The reader may hand out a single byte at a time.
    let mut head = Vec::new();
    while head.len() < MARK.len() && MARK.starts_with(&head) {
        let Some(chunk) = fill(&mut *reader)? else {
            continue;
        };
        let Some(byte) = chunk.first().copied() else {
            break;
        };
        head.push(byte);
        reader.consume(1);
    }
    if head == MARK {
        return Ok((reader, size(MARK)));
    }
    Ok((Box::new(io::Read::chain(io::Cursor::new(head), reader)), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    #[test]
    fn a_mark_is_passed_over_and_nothing_else() {
        for (text, rest, taken) in [
            (&b"\xef\xbb\xbf{}"[..], &b"{}"[..], 3),
            (b"\xef\xbb{}", b"\xef\xbb{}", 0),
            (b"\xef", b"\xef", 0),
            (b"\xef\xbb\xbf", b"", 3),
            (b"", b"", 0),
            (b"{}", b"{}", 0),
        ] {
            for capacity in [1, 2, 64] {
                let reader = BufReader::with_capacity(capacity, text);
                let (mut reader, skipped) = without_mark(Box::new(reader)).unwrap();
                let mut found = Vec::new();
                reader.read_to_end(&mut found).unwrap();
                assert_eq!((found.as_slice(), skipped), (rest, taken));
            }
        }
    }

    #[test]
    fn what_is_too_large_is_not_held() {
        const MIB: usize = 1 << 20;
        for framing in [
            Framing::Lines(Lines::new(MIB)),
            Framing::Values(Values::new(MIB)),
        ] {
            let mut framing = framing;
            let long = io::Cursor::new(b"\"").chain(io::repeat(b'x').take(6 << 20));
            let mut reader = BufReader::new(long.chain(&b"\"\n{}\n"[..]));
            let mut record = Vec::new();
            let frame = framing.next(&mut reader, &mut record).unwrap().unwrap();
            assert!(matches!(frame.state, State::TooLarge { bytes } if bytes > 6 << 20));
            assert!(record.capacity() <= 2 * MIB, "{}", record.capacity());
            let frame = framing.next(&mut reader, &mut record).unwrap().unwrap();
            assert_eq!(
                (frame.line, frame.state, record.as_slice()),
                (2, State::Whole, &b"{}"[..])
            );
        }
    }
}
