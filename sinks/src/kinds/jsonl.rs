//! A file of lines, one an event: written in order, each exactly once.
//!
//! ```text
//!  audit.jsonl                             the events since the last rotation
//!  audit.jsonl.00000000000000004711        put aside; named by the position of its last event
//! ```
//!
//! What the file has is found in the file: in its last whole line, or in the name of the newest one
//! that was put aside. So nothing is written twice, wherever a crash cut it short.

use crate::config::JsonlConfig;
use crate::files::ends_in_line_break;
use crate::sink::{Batch, Delivery, Event, Known, Rejection, Sink, Telling};
use runstone_codec::Position;
use runstone_store::sync_folder;
use serde::Deserialize;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::future::ready;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes that are looked through at once for the beginning of the last line.
const STEP: u64 = 64 << 10;
/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;
/// Digits of a position in the name of a file that was put aside.
const DIGITS: usize = 20;

/// A file, locked against a second writer.
#[derive(Debug)]
pub(super) struct Jsonl {
    config: JsonlConfig,
    file: File,
    /// Bytes of whole lines.
    len: u64,
    last: Option<Last>,
}

/// The last event that was written.
#[derive(Debug, Clone, Copy)]
struct Last {
    position: u64,
    /// Its day, if it stands in the file and not in one before it.
    day: Option<u64>,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    position: u64,
    recorded_at: serde_json::Value,
}

impl Jsonl {
    /// Opens the file and makes its end whole.
    pub(super) fn open(config: &JsonlConfig) -> Result<Self, Rejection> {
        let path = &config.path;
        let io = |error: io::Error| unavailable(path, &error);
        let (file, len) = opened(path)?;
        let mut jsonl = Self {
            config: config.clone(),
            file,
            len,
            last: None,
        };
        if !ends_in_line_break(path).map_err(io)? {
            // It was cut short, so nobody was told that it is there.
            jsonl.len = jsonl.line_start(len).map_err(io)?;
            jsonl.file.set_len(jsonl.len).map_err(io)?;
            jsonl.file.sync_all().map_err(io)?;
        }
        jsonl.last = jsonl.find_last()?;
        Ok(jsonl)
    }

    /// Where the line begins that ends before `end`, which may have no line break.
    fn line_start(&mut self, end: u64) -> io::Result<u64> {
        let mut to = end;
        while to > 0 {
            let from = to.saturating_sub(STEP);
            let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(&mut bytes)?;
            if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + at as u64 + 1);
            }
            to = from;
        }
        Ok(0)
    }

    fn find_last(&mut self) -> Result<Option<Last>, Rejection> {
        let path = self.config.path.clone();
        let io = |error: io::Error| unavailable(&path, &error);
        if self.len == 0 {
            let position = newest_aside(&path).map_err(io)?;
            return Ok(position.map(|position| Last {
                position,
                day: None,
            }));
        }
        let start = self.line_start(self.len - 1).map_err(io)?;
        let mut bytes = vec![0; usize::try_from(self.len - start).unwrap_or_default()];
        self.file.seek(SeekFrom::Start(start)).map_err(io)?;
        self.file.read_exact(&mut bytes).map_err(io)?;
        let line: Line = serde_json::from_slice(&bytes).map_err(|_| {
            Rejection::unusable(format!(
                "{} holds lines that are not of this sink; name another file, or move this one away",
                path.display()
            ))
        })?;
        Ok(Some(Last {
            position: line.position,
            day: day_of_line(&line.recorded_at),
        }))
    }

    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        let mut lines = Vec::new();
        for event in events {
            let day = event.record().recorded_at_us / DAY_US;
            if self.is_full(day, lines.len()) {
                self.flush(&mut lines)?;
                self.put_aside()?;
            }
            lines.extend(event.line());
            // What was parked comes later than what follows it.
            let before = self.last.map_or(0, |last| last.position);
            self.last = Some(Last {
                position: event.position().get().max(before),
                day: Some(day),
            });
        }
        self.flush(&mut lines)?;
        self.file.sync_data()
    }

    /// Whether the file takes no more, of an event of this day.
    fn is_full(&self, day: u64, waiting: usize) -> bool {
        let len = self.len.saturating_add(waiting as u64);
        let has_room = self.config.rotate_bytes.is_none_or(|most| len < most);
        let other = self
            .last
            .and_then(|last| last.day)
            .is_some_and(|last| last != day);
        len > 0 && (!has_room || self.config.rotate_daily && other)
    }

    fn flush(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(lines)?;
        self.len = self.len.saturating_add(lines.len() as u64);
        lines.clear();
        Ok(())
    }

    /// Gives the file the name of its last event, and begins another.
    fn put_aside(&mut self) -> io::Result<()> {
        let Some(last) = self.last else {
            return Ok(());
        };
        let path = &self.config.path;
        self.file.sync_all()?;
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{:0width$}", last.position, width = DIGITS));
        fs::rename(path, PathBuf::from(aside))?;
        sync_folder(path)?;
        let (file, len) = opened(path).map_err(io::Error::other)?;
        (self.file, self.len) = (file, len);
        Ok(())
    }
}

impl Sink for Jsonl {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let written = self.write(batch.events());
        let path = &self.config.path;
        Box::pin(ready(written.map_err(|error| unavailable(path, &error))))
    }

    fn last(&mut self) -> Telling<'_> {
        let known = self.last.map_or(Known::Nothing, |last| {
            Known::Last(Position::new(last.position))
        });
        Box::pin(ready(Ok(known)))
    }
}

fn unavailable(path: &Path, error: &io::Error) -> Rejection {
    Rejection::unavailable(format!("{}: {error}", path.display()))
}

/// Opens the file, or makes it, for this process alone; and its length.
fn opened(path: &Path) -> Result<(File, u64), Rejection> {
    let io = |error: io::Error| unavailable(path, &error);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Rejection::unavailable(format!(
                "{} is written by another sink or process",
                path.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    sync_folder(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    Ok((file, len))
}

/// The last position of the newest file that was put aside.
fn newest_aside(path: &Path) -> io::Result<Option<u64>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let digits = name
            .strip_prefix(&prefix)
            .filter(|rest| rest.len() == DIGITS);
        newest = newest.max(digits.and_then(|digits| digits.parse().ok()));
    }
    Ok(newest)
}

/// The day of a time as a line has it: RFC 3339, or microseconds where that cannot say it.
fn day_of_line(time: &serde_json::Value) -> Option<u64> {
    let us = match time.as_str() {
        Some(text) => runstone_store::line::unix_us(text)?,
        None => time.as_u64()?,
    };
    Some(us / DAY_US)
}
