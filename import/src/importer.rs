//! The reader of recordings.

use std::fmt;
use std::io::{BufRead, Cursor, ErrorKind};

use crate::format::Format;
use crate::formats::{self, Reading, Record};
use crate::framing::{Frame, Framing, State, without_mark};
use crate::options::Options;
use crate::output::{Imported, Output};
use crate::reject::{RejectReason, Rejected};

/// Reads a recording, record by record.
///
/// Items come in the order of the recording: what a record became, or why it was skipped. Every
/// event depends only on the records before it, so a recording that grew gives what it gave before,
/// and then the rest. One record is held at a time, besides what tells records apart.
pub struct Importer<'r> {
    format: Format,
    reader: Box<dyn BufRead + Send + 'r>,
    framing: Framing,
    reading: Box<dyn Reading>,
    output: Output,
    record_bytes: u64,
    record: Vec<u8>,
    bytes_read: u64,
    /// The line on which the last record begins.
    line: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Empty,
    Within,
    End,
}

impl<'r> Importer<'r> {
    /// An importer of what `reader` gives, which is in `format`.
    pub fn new(format: Format, reader: impl BufRead + Send + 'r, options: Options) -> Self {
        let record_bytes = u64::try_from(options.record_bytes).unwrap_or(u64::MAX);
        let output = Output::new(options.limits);
        let (framing, reading) = formats::open(format, options);
        Self {
            format,
            reader: Box::new(reader),
            framing,
            reading,
            output,
            record_bytes,
            record: Vec::new(),
            bytes_read: 0,
            line: 0,
            stage: Stage::Begin,
        }
    }

    /// The format that is read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How far the recording was read, in bytes.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Reads one record, or notices the end.
    fn advance(&mut self) {
        if self.stage == Stage::Begin {
            self.stage = Stage::Empty;
            let reader = std::mem::replace(&mut self.reader, Box::new(Cursor::new([])));
            match without_mark(reader) {
                Ok((reader, skipped)) => (self.reader, self.bytes_read) = (reader, skipped),
                Err(error) => return self.failed(error.kind()),
            }
        }
        match self.framing.next(&mut *self.reader, &mut self.record) {
            Ok(Some(frame)) => self.frame(&frame),
            Ok(None) => self.ended(),
            Err(error) => self.failed(error.kind()),
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.stage = Stage::Within;
        self.bytes_read = self.bytes_read.saturating_add(frame.bytes);
        self.line = frame.line;
        self.output.begin(self.bytes_read, self.framing.member());
        if let Err(reason) = self.read(frame) {
            if reason.is_terminal() {
                self.stage = Stage::End;
            }
            self.output.reject(frame.line, reason);
        }
    }

    fn read(&mut self, frame: &Frame) -> Result<(), RejectReason> {
        match &frame.state {
            State::Whole => {}
            State::TooLarge { bytes } => {
                return Err(RejectReason::TooLarge {
                    bytes: *bytes,
                    max: self.record_bytes,
                });
            }
            State::Unbalanced => return Err(RejectReason::Unbalanced),
            State::Truncated => return Err(RejectReason::Truncated),
            State::Refused(reason) => return Err(reason.clone()),
        }
        let text = std::str::from_utf8(&self.record).map_err(|error| RejectReason::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        let record = Record {
            text,
            member: self.framing.member(),
            line: frame.line,
            place: frame.place,
        };
        self.reading.record(&record, &mut self.output)
    }

    fn ended(&mut self) {
        self.output.begin(self.bytes_read, None);
        if self.stage == Stage::Empty {
            self.output.reject(1, RejectReason::Empty);
        }
        self.reading.finish(&mut self.output);
        self.stage = Stage::End;
    }

    fn failed(&mut self, kind: ErrorKind) {
        self.output.begin(self.bytes_read, None);
        self.reading.finish(&mut self.output);
        self.output
            .reject(self.line.saturating_add(1), RejectReason::Read { kind });
        self.stage = Stage::End;
    }
}

impl Iterator for Importer<'_> {
    type Item = Result<Imported, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.output.next() {
                return Some(item);
            }
            if self.stage == Stage::End {
                return None;
            }
            self.advance();
        }
    }
}

impl std::iter::FusedIterator for Importer<'_> {}

impl fmt::Debug for Importer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Importer")
            .field("format", &self.format)
            .field("bytes_read", &self.bytes_read)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}
