//! What the end of a file of lines says: how much of it is whole, and which event came last.

use super::unavailable;
use crate::sink::Rejection;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use uuid::Uuid;

/// Bytes that are looked through at once for the beginning of the last line.
const STEP: u64 = 64 << 10;
/// Bytes before the end that a loss of power may have left as zeros.
const DOUBTED: u64 = 16 << 20;
/// How a line begins.
const BEGINNING: &[u8] = b"{\"position\":";
/// Longest line, bytes: the largest payload and its header.
const MAX_LINE: u64 = 96 << 20;

/// An event, as a line tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) position: u64,
    pub(super) id: Uuid,
    pub(super) recorded_us: Option<u64>,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    position: u64,
    id: Uuid,
    recorded_at: serde_json::Value,
    #[serde(default)]
    duplicate: bool,
}

/// The end of a file.
#[derive(Debug)]
pub(super) struct Ending {
    /// Bytes of the file, and of its whole lines.
    pub(super) found: u64,
    pub(super) len: u64,
    /// The last event that came in its turn.
    pub(super) last: Option<Last>,
}

impl Ending {
    /// Looks at a file; changes nothing.
    pub(super) fn of(file: &mut File, path: &Path) -> Result<Self, Rejection> {
        let io = |error: io::Error| unavailable(path, &error);
        let foreign = || {
            Rejection::unusable(format!(
                "{} holds lines that are not of this sink; name another file, or move this one away",
                path.display()
            ))
        };
        let found = file.metadata().map_err(io)?.len();
        let len = whole(file, found).map_err(io)?;
        let tail = read(file, len, found.min(len + BEGINNING.len() as u64)).map_err(io)?;
        if !is_ours(&tail) {
            return Err(foreign());
        }
        let (mut end, mut last) = (len, None);
        while end > 0 && last.is_none() {
            let start = line_start(file, end - 1).map_err(io)?;
            if end - start > MAX_LINE {
                return Err(foreign());
            }
            let bytes = read(file, start, end).map_err(io)?;
            let line: Line = serde_json::from_slice(&bytes).map_err(|_| foreign())?;
            // What was parked comes later than what follows it.
            last = (!line.duplicate).then(|| Last {
                position: line.position,
                id: line.id,
                recorded_us: us_of(&line.recorded_at),
            });
            end = start;
        }
        Ok(Self { found, len, last })
    }
}

/// Bytes of the lines that were written to their end: what stands behind the last line break was not,
/// nor was a line in which a loss of power left zeros.
fn whole(file: &mut File, found: u64) -> io::Result<u64> {
    let from = found.saturating_sub(DOUBTED);
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut bytes = vec![0; usize::try_from(STEP).unwrap_or_default()];
    let mut zero = None;
    while at < found && zero.is_none() {
        let count = file.read(&mut bytes)?;
        let read = bytes.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        zero = read.iter().position(|byte| *byte == 0);
        zero = zero.map(|zero| zero + usize::try_from(at - from).unwrap_or_default());
        at += count as u64;
    }
    line_start(file, zero.map_or(found, |zero| from + zero as u64))
}

/// Where the line begins that ends before `end`, which may have no line break.
fn line_start(file: &mut File, end: u64) -> io::Result<u64> {
    let mut to = end;
    while to > 0 {
        let from = to.saturating_sub(STEP);
        let bytes = read(file, from, to)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        to = from;
    }
    Ok(0)
}

fn read(file: &mut File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or_default()];
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether a line that was cut short may have been one of ours.
fn is_ours(tail: &[u8]) -> bool {
    let is_zero = tail.iter().all(|byte| *byte == 0);
    let written = tail.split(|byte| *byte == 0).next().unwrap_or_default();
    is_zero || !written.is_empty() && BEGINNING.starts_with(written)
}

/// A time as a line has it: RFC 3339, or microseconds where that cannot say it.
fn us_of(time: &serde_json::Value) -> Option<u64> {
    match time.as_str() {
        Some(text) => runstone_store::line::unix_us(text),
        None => time.as_u64(),
    }
}
