//! The lines of an export (docs/FORMAT.md, "Export"): bytes <-> values.

use super::LoadError;
use crate::holder::{Base64, hex32};
use runstone_codec::{Digest32, LogId};
use runstone_receipt::checkpoint::{Checkpoint, MAX_SIZE};
use runstone_receipt::note::SignedNote;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read as _};

/// How the first line of an export names the format.
pub(crate) const EXPORT: &str = "runstone/export@v1";
/// How the first line of a segment does.
pub(crate) const SEGMENT: &str = "runstone/segment@v1";
/// Longest line: an entry and the envelope of the largest payload, in base64.
pub(crate) const MAX_LINE_BYTES: usize = 90 << 20;
/// All checkpoints of an export together.
const MAX_CHECKPOINT_BYTES: usize = 16 << 20;

/// The first line: the head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    format: String,
    pub(crate) log_id: LogId,
    pub(crate) size: u64,
    #[serde(with = "hex32")]
    pub(crate) root: Digest32,
    pub(crate) recorded_at_us: u64,
    #[serde(with = "hex32")]
    pub(crate) head_mac: [u8; 32],
    /// Lines of checkpoints that follow.
    pub(crate) checkpoints: u64,
}

impl Start {
    pub(crate) fn new(
        log_id: LogId,
        head: &crate::chunk::Head,
        checkpoints: &[CheckpointLine],
    ) -> Self {
        Self {
            format: EXPORT.to_owned(),
            log_id,
            size: head.size,
            root: head.root,
            recorded_at_us: head.recorded_at_us,
            head_mac: head.mac,
            checkpoints: checkpoints.len() as u64,
        }
    }
}

/// The first line of a segment: what it is, and the head of the log after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentStart {
    pub(crate) format: String,
    pub(crate) log_id: LogId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    #[serde(with = "hex32")]
    pub(crate) root: Digest32,
    pub(crate) recorded_at_us: u64,
    #[serde(with = "hex32")]
    pub(crate) head_mac: [u8; 32],
    /// SHA-256 of the segment before it; of the first one, nothing.
    pub(crate) former: Option<Hex32>,
    /// The checkpoint of size `to`.
    pub(crate) checkpoint: String,
    pub(crate) stored_us: u64,
}

/// A digest that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hex32(#[serde(with = "hex32")] pub(crate) Digest32);

/// A checkpoint that the log has kept, as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointLine {
    pub(crate) checkpoint: String,
    pub(crate) stored_us: u64,
}

impl EventLine {
    /// Whether it says that an erasure took its envelope.
    pub(crate) fn is_erased(&self) -> bool {
        self.absent == Some(Absent::Erased)
    }
}

impl CheckpointLine {
    /// How many events it is of, as it says.
    fn size(&self) -> Option<u64> {
        let note = SignedNote::parse(&self.checkpoint).ok()?;
        Some(Checkpoint::parse(note.text()).ok()?.size)
    }
}

/// Why an event has no envelope here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Absent {
    /// An erasure that the log tells of covers it.
    Erased,
    /// None does.
    Withheld,
}

/// An event: its entry, and its envelope or why that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLine {
    pub(crate) entry: Base64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) envelope: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absent: Option<Absent>,
}

/// The last line: what the lines before it are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    #[serde(with = "hex32")]
    pub(crate) sha256: [u8; 32],
}

/// Writes one line.
pub(crate) fn put<T: Serialize>(line: &T, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

/// Reads what was written in the one way there is.
fn decode<T: Serialize + DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    // What it found instead is content, and stays out of messages.
    let other = |error: serde_json::Error| {
        let column = error.column();
        format!("it is another line than is due here, as its column {column} shows")
    };
    let value: T = serde_json::from_slice(line).map_err(other)?;
    let mut again = Vec::with_capacity(line.len());
    serde_json::to_writer(&mut again, &value).map_err(other)?;
    if again != line {
        return Err("what it says is not written as an export writes it".to_owned());
    }
    Ok(value)
}

/// What every version's first line has.
#[derive(Deserialize)]
struct Named {
    format: String,
}

/// Reads an export line by line. One line is held at a time.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    hash: Sha256,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            hash: Sha256::new(),
        }
    }

    pub(crate) fn malformed(&self, why: impl Into<String>) -> LoadError {
        LoadError::Malformed {
            line: self.number,
            why: why.into(),
        }
    }

    fn advance(&mut self) -> Result<(), LoadError> {
        self.line.clear();
        self.number += 1;
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.line);
        read.map_err(|error| LoadError::input(&error))?;
        match self.line.pop() {
            Some(b'\n') => Ok(()),
            Some(_) if self.line.len() >= MAX_LINE_BYTES => {
                let why = format!("it has more than {MAX_LINE_BYTES} bytes");
                Err(self.malformed(why))
            }
            Some(_) => Err(self.malformed("the file ends inside it")),
            None => Err(self.malformed("the file ends before it")),
        }
    }

    /// The next line, which is hashed.
    fn next<T: Serialize + DeserializeOwned>(&mut self) -> Result<T, LoadError> {
        self.advance()?;
        let value = decode(&self.line).map_err(|why| self.malformed(why))?;
        self.hash.update(&self.line);
        self.hash.update(b"\n");
        Ok(value)
    }

    /// The first line, of this format.
    fn first<T: Serialize + DeserializeOwned>(
        &mut self,
        format: &'static str,
    ) -> Result<T, LoadError> {
        match self.advance() {
            // What ends in its first line is of no format either.
            Ok(()) | Err(LoadError::Malformed { .. }) => {}
            Err(error) => return Err(error),
        }
        let family = format.trim_end_matches(|last: char| last.is_ascii_digit());
        match serde_json::from_slice::<Named>(&self.line) {
            Ok(named) if named.format == format => {}
            Ok(named) if named.format.starts_with(family) => {
                return Err(LoadError::OtherFormat {
                    found: named.format.chars().take(64).collect(),
                    known: format,
                });
            }
            _ if format == SEGMENT => return Err(LoadError::NotASegment),
            _ => return Err(LoadError::NotAnExport),
        }
        let first = decode(&self.line).map_err(|why| self.malformed(why))?;
        self.hash.update(&self.line);
        self.hash.update(b"\n");
        Ok(first)
    }

    /// The first line of an export.
    pub(crate) fn start(&mut self) -> Result<Start, LoadError> {
        let start: Start = self.first(EXPORT)?;
        if start.size == 0 || start.size > MAX_SIZE {
            return Err(self.malformed("no log has so many events"));
        }
        Ok(start)
    }

    /// The first line of a segment.
    pub(crate) fn segment_start(&mut self) -> Result<SegmentStart, LoadError> {
        let start: SegmentStart = self.first(SEGMENT)?;
        if start.from >= start.to || start.to > MAX_SIZE {
            return Err(self.malformed("no segment has such positions"));
        }
        if start.from == 0 && start.former.is_some() {
            return Err(self.malformed("nothing is before the first segment"));
        }
        Ok(start)
    }

    /// What contradicts something is wrong with this line.
    pub(crate) fn contradicted(&self, error: LoadError) -> LoadError {
        match error {
            LoadError::Contradicted(corruption) => self.malformed(corruption.to_string()),
            other => other,
        }
    }

    /// The checkpoints, by their sizes; the last one is of the whole log.
    pub(crate) fn checkpoints(
        &mut self,
        start: &Start,
    ) -> Result<Vec<(u64, CheckpointLine)>, LoadError> {
        let (mut found, mut bytes): (Vec<(u64, CheckpointLine)>, _) = (Vec::new(), 0);
        for _ in 0..start.checkpoints {
            let line: CheckpointLine = self.next()?;
            bytes += self.line.len();
            if bytes > MAX_CHECKPOINT_BYTES {
                let why = format!("checkpoints have more than {MAX_CHECKPOINT_BYTES} bytes");
                return Err(self.malformed(why));
            }
            let before = found.last().map_or(0, |(size, _)| *size);
            match line.size().filter(|size| *size > before) {
                Some(size) => found.push((size, line)),
                None => return Err(self.malformed("it is no checkpoint of more events")),
            }
        }
        if found.last().map(|(size, _)| *size) != Some(start.size) {
            return Err(self.malformed("the checkpoint of the whole log is not before the events"));
        }
        Ok(found)
    }

    pub(crate) fn event(&mut self) -> Result<EventLine, LoadError> {
        let line: EventLine = self.next()?;
        let is_there = line
            .envelope
            .as_ref()
            .map(|envelope| !envelope.0.is_empty());
        match (is_there, line.absent) {
            (Some(true), None) | (None, Some(_)) => Ok(line),
            _ => Err(self.malformed("an event has an envelope, or else says why not")),
        }
    }

    /// The last line, after which there is nothing; answers the SHA-256 of everything.
    pub(crate) fn end(&mut self) -> Result<Digest32, LoadError> {
        self.advance()?;
        let end: End = decode(&self.line).map_err(|why| self.malformed(why))?;
        let found: [u8; 32] = self.hash.clone().finalize().into();
        if end.sha256 != found {
            return Err(self.malformed("the lines before it are not those that were written"));
        }
        self.hash.update(&self.line);
        self.hash.update(b"\n");
        let mut more = [0];
        match self.input.read(&mut more) {
            Ok(0) => Ok(self.hash.clone().finalize().into()),
            Ok(_) => Err(self.malformed("the file goes on after it")),
            Err(error) => Err(LoadError::input(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Head;
    use crate::vectors::Vector;

    fn events_of(vector: &Vector) -> Vec<EventLine> {
        let marks = vector.list("absent");
        let contents = vector.list("entries").into_iter();
        let contents = contents.zip(vector.list("envelopes")).zip(marks);
        let events = contents.map(|((entry, envelope), mark)| EventLine {
            entry: entry.into(),
            envelope: (!envelope.is_empty()).then(|| envelope.into()),
            absent: match mark.as_slice() {
                b"" => None,
                b"erased" => Some(Absent::Erased),
                b"withheld" => Some(Absent::Withheld),
                other => panic!("{other:?}"),
            },
        });
        events.collect()
    }

    #[test]
    fn the_vectors_of_segments_hold() {
        for name in ["segment/first", "segment/next"] {
            let vector = Vector::named(name);
            let former = Some(vector.bytes("former")).filter(|former| !former.is_empty());
            let start = SegmentStart {
                format: SEGMENT.to_owned(),
                log_id: LogId::new(vector.array("log_id")),
                from: vector.number("from"),
                to: vector.number("to"),
                root: vector.array("root"),
                recorded_at_us: vector.number("recorded_at_us"),
                head_mac: vector.array("head_mac"),
                former: former.map(|former| Hex32(former.try_into().unwrap())),
                checkpoint: String::from_utf8(vector.bytes("checkpoint")).unwrap(),
                stored_us: vector.number("stored_us"),
            };
            let events = events_of(&vector);
            let mut made = Vec::new();
            put(&start, &mut made).unwrap();
            for event in &events {
                put(event, &mut made).unwrap();
            }
            let sha256 = Sha256::digest(&made).into();
            put(&End { sha256 }, &mut made).unwrap();
            let bytes = vector.bytes("segment");
            assert_eq!(String::from_utf8(made), String::from_utf8(bytes.clone()));

            let mut lines = Lines::new(bytes.as_slice());
            assert_eq!(lines.segment_start().unwrap(), start);
            for event in events {
                assert_eq!(lines.event().unwrap(), event);
            }
            assert_eq!(lines.end().unwrap(), vector.array::<32>("digest"));
        }
    }

    #[test]
    fn the_vector_of_the_format_holds() {
        let vector = Vector::named("export/three");
        let head = Head {
            size: vector.number("size"),
            root: vector.array("root"),
            recorded_at_us: vector.number("recorded_at_us"),
            mac: vector.array("head_mac"),
            peaks: Vec::new(),
        };
        let checkpoint = CheckpointLine {
            checkpoint: String::from_utf8(vector.bytes("checkpoint")).unwrap(),
            stored_us: vector.number("stored_us"),
        };
        let log_id = LogId::new(vector.array("log_id"));
        let start = Start::new(log_id, &head, std::slice::from_ref(&checkpoint));
        let events = events_of(&vector);
        let mut made = Vec::new();
        put(&start, &mut made).unwrap();
        put(&checkpoint, &mut made).unwrap();
        for event in &events {
            put(event, &mut made).unwrap();
        }
        let sha256 = Sha256::digest(&made).into();
        put(&End { sha256 }, &mut made).unwrap();
        let bytes = vector.bytes("export");
        assert_eq!(String::from_utf8(made), String::from_utf8(bytes.clone()));

        let mut lines = Lines::new(bytes.as_slice());
        assert_eq!(lines.start().unwrap(), start);
        assert_eq!(lines.checkpoints(&start).unwrap(), [(3, checkpoint)]);
        for event in events {
            assert_eq!(lines.event().unwrap(), event);
        }
        let whole: Digest32 = Sha256::digest(&bytes).into();
        assert_eq!(lines.end().unwrap(), whole);
    }
}
