//! The members of a zip file, one at a time, without its directory.

use std::io::{self, BufRead, ErrorKind, Read};

use zip::read::{ZipFile, read_zipfile_from_stream};
use zip::result::ZipError;

use super::{Frame, Members, Place, Room, State, fill, size};
use crate::options::Options;
use crate::reject::RejectReason;

/// First byte of a zip file. No JSON begins so.
const ZIP: u8 = b'P';
/// What stands before every member, and what before the directory after the last one.
const MEMBER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY: [[u8; 4]; 2] = [*b"PK\x01\x02", *b"PK\x05\x06"];
/// Expanded bytes that any member may have, however few it is packed into.
const FREE_BYTES: u64 = 1 << 20;
/// Bytes that are expanded at once.
const STEP_BYTES: usize = 1 << 16;
/// Most characters of a member's name that are told.
const MAX_NAME: usize = 200;

/// What a container may not exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    record_bytes: usize,
    members: u64,
    member_ratio: u64,
}

impl From<&Options> for Bounds {
    fn from(options: &Options) -> Self {
        Self {
            record_bytes: options.record_bytes,
            members: options.members,
            member_ratio: options.member_ratio,
        }
    }
}

/// Finds the members of a zip file in the order in which they were written. Nothing but the member
/// that is read is held, and the directory at the end is not needed: a container that was cut off
/// gives the members that it has.
///
/// A recording that is no zip file is read as objects at the top.
#[derive(Debug)]
pub(crate) struct Container {
    bounds: Bounds,
    stage: Stage,
    document: Members,
    members: u64,
    name: String,
    /// What was read ahead while a member was looked for.
    ahead: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Zip,
    Document,
    End,
}

impl Container {
    /// Of objects at the top, the elements of the member `list` are records of their own.
    pub(crate) fn new(bounds: Bounds, list: &'static str) -> Self {
        Self {
            bounds,
            stage: Stage::Begin,
            document: Members::new(bounds.record_bytes, list),
            members: 0,
            name: String::new(),
            ahead: Vec::new(),
        }
    }

    /// The name of the member that was read last.
    pub(super) fn member(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(self.name.as_str())
    }

    pub(super) fn next(
        &mut self,
        reader: &mut dyn BufRead,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        while self.stage == Stage::Begin {
            if let Some(chunk) = fill(reader)? {
                let zip = chunk.first() == Some(&ZIP);
                self.stage = if zip { Stage::Zip } else { Stage::Document };
            }
        }
        match self.stage {
            Stage::Document => self.document.next(reader, record),
            Stage::Zip => self.zip(reader, record),
            Stage::Begin | Stage::End => Ok(None),
        }
    }

    fn zip(&mut self, reader: &mut dyn BufRead, record: &mut Vec<u8>) -> io::Result<Option<Frame>> {
        self.name.clear();
        let mut packed = Packed::new(reader, std::mem::take(&mut self.ahead));
        let found = self.read_member(&mut packed, record);
        let Packed {
            bytes,
            failed,
            at_end,
            ..
        } = packed;
        if let Some(kind) = failed {
            return Err(kind.into());
        }
        let mut frame = Frame {
            line: 1,
            bytes,
            place: Place::Top,
            state: State::Whole,
        };
        frame.state = match found {
            Ok(None) => {
                self.stage = Stage::End;
                return Ok(None);
            }
            // The last member was whole.
            _ if bytes == 0 && at_end && self.members > 0 => return Ok(None),
            Ok(Some(_)) if self.members >= self.bounds.members => {
                self.stage = Stage::End;
                State::Refused(RejectReason::TooManyMembers {
                    max: self.bounds.members,
                })
            }
            Ok(Some(State::Whole)) | Err(_) if at_end => State::Truncated,
            Ok(Some(state)) => state,
            Err(why) => {
                frame.bytes = frame.bytes.saturating_add(self.find_member(reader)?);
                State::Refused(RejectReason::BadMember { why })
            }
        };
        self.members = self.members.saturating_add(1);
        Ok(Some(frame))
    }

    /// Reads a member; none at the directory.
    fn read_member(
        &mut self,
        packed: &mut Packed<'_>,
        record: &mut Vec<u8>,
    ) -> Result<Option<State>, String> {
        let Some(mut file) = read_zipfile_from_stream(packed).map_err(|error| why(&error))? else {
            return Ok(None);
        };
        if let Ok(name) = file.name() {
            let plain = |one: char| if one.is_control() { '?' } else { one };
            self.name = name.chars().take(MAX_NAME).map(plain).collect();
        }
        // Dropping the file passes over what is left of it, without expanding that.
        Ok(Some(self.expand(&mut file, record)))
    }

    fn expand(&self, file: &mut ZipFile<'_, Packed<'_>>, record: &mut Vec<u8>) -> State {
        let dense = file
            .compressed_size()
            .saturating_mul(self.bounds.member_ratio)
            .max(FREE_BYTES);
        let mut room = Room::new(self.bounds.record_bytes);
        let mut step = vec![0; STEP_BYTES];
        loop {
            let read = match file.read(&mut step) {
                Ok(0) => return State::Whole,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let why = error.to_string();
                    return State::Refused(RejectReason::BadMember { why });
                }
            };
            room.take(record, step.get(..read).unwrap_or_default());
            if room.is_over() {
                return State::TooLarge {
                    bytes: room.bytes.max(file.size()),
                };
            }
            if room.bytes > dense {
                let max = self.bounds.member_ratio;
                return State::Refused(RejectReason::TooDense { max });
            }
        }
    }

    /// Looks for the next member after bytes that are none. Answers how many were passed over.
    fn find_member(&mut self, reader: &mut dyn BufRead) -> io::Result<u64> {
        let (mut last, mut passed) = ([0; 4], 0_u64);
        loop {
            let Some(chunk) = fill(reader)? else { continue };
            if chunk.is_empty() {
                return Ok(passed);
            }
            let mut used = 0;
            for byte in chunk {
                used += 1;
                let [_, one, two, three] = last;
                last = [one, two, three, *byte];
                if last == MEMBER || DIRECTORY.contains(&last) {
                    self.ahead = last.to_vec();
                    break;
                }
            }
            passed = passed.saturating_add(size(chunk.get(..used).unwrap_or_default()));
            reader.consume(used);
            if !self.ahead.is_empty() {
                return Ok(passed);
            }
        }
    }
}

/// Why a member cannot be read.
fn why(error: &ZipError) -> String {
    match error {
        ZipError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The bytes of the container, with a note of how reading them ended: what unpacks them tells
/// damage and a failing reader apart no more.
struct Packed<'r> {
    reader: &'r mut dyn BufRead,
    ahead: io::Cursor<Vec<u8>>,
    /// What was read of `reader`.
    bytes: u64,
    failed: Option<ErrorKind>,
    at_end: bool,
}

impl<'r> Packed<'r> {
    fn new(reader: &'r mut dyn BufRead, ahead: Vec<u8>) -> Self {
        Self {
            reader,
            ahead: io::Cursor::new(ahead),
            bytes: 0,
            failed: None,
            at_end: false,
        }
    }
}

impl Read for Packed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let ahead = self.ahead.read(into)?;
        if ahead > 0 {
            return Ok(ahead);
        }
        match self.reader.read(into) {
            Ok(read) => {
                self.at_end |= read == 0;
                self.bytes = self
                    .bytes
                    .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                Ok(read)
            }
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted {
                    self.failed = Some(error.kind());
                }
                Err(error)
            }
        }
    }
}
