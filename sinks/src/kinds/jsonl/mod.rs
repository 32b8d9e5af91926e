//! A file of lines, one an event: written in order, each exactly once.
//!
//! ```text
//!  audit.jsonl                             the events since the last rotation
//!  audit.jsonl.00000000000000004711        put aside; named by the position of its last event
//! ```
//!
//! What the file has is found in the file: in its last whole line, or in that of the newest one that
//! was put aside. So nothing is written twice, wherever a crash cut it short. Events that were parked
//! come behind younger ones; such a line is marked as a duplicate and says nothing about the end.

mod ending;

use crate::config::JsonlConfig;
use crate::sink::{Batch, Delivery, Event, Known, Rejection, Sink, Telling};
use ending::{Ending, Last};
use runstone_codec::Position;
use runstone_store::sync_folder;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::future::ready;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;
/// Digits of a position in the name of a file that was put aside.
const DIGITS: usize = 20;
/// How often a file is opened again that is renamed meanwhile.
const TIMES: usize = 10;

/// A file, locked against a second writer.
#[derive(Debug)]
pub(super) struct Jsonl {
    config: JsonlConfig,
    file: File,
    /// Bytes of whole lines.
    len: u64,
    /// The newest event that was written.
    last: Option<Last>,
    /// Its day, if it stands in the file and not in one before it.
    day: Option<u64>,
}

impl Jsonl {
    /// Opens the file and makes its end whole.
    pub(super) fn open(config: &JsonlConfig) -> Result<Self, Rejection> {
        let path = &config.path;
        let io = |error: io::Error| unavailable(path, &error);
        let mut file = opened(path)?;
        let ending = Ending::of(&mut file, path)?;
        if ending.len < ending.found {
            // It was cut short, so nobody was told that it is there.
            file.set_len(ending.len).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let (last, day) = match (ending.last, newest_aside(path).map_err(io)?) {
            (Some(last), _) => (Some(last), last.recorded_us.map(|us| us / DAY_US)),
            (None, Some(aside)) => {
                let mut before = File::open(&aside).map_err(io)?;
                (Ending::of(&mut before, &aside)?.last, None)
            }
            (None, None) => (None, None),
        };
        Ok(Self {
            config: config.clone(),
            file,
            len: ending.len,
            last,
            day,
        })
    }

    /// Writes what is not there yet. Somebody may have moved the file away since, or emptied it, as a
    /// rotation of logs does: then another one is begun.
    fn write(&mut self, events: &[Event]) -> Result<(), Rejection> {
        let path = self.config.path.clone();
        let io = |error: io::Error| unavailable(&path, &error);
        if !is_at(&self.file, &path, Some(self.len)).map_err(io)? {
            let config = self.config.clone();
            self.file.unlock().map_err(io)?;
            *self = Self::open(&config)?;
        }
        let mut lines = Vec::new();
        for event in events {
            let position = event.position().get();
            let is_late = self.last.is_some_and(|last| position <= last.position);
            if is_late && !event.is_duplicate() {
                continue;
            }
            if !is_late {
                let recorded_us = event.record().recorded_at_us;
                let day = recorded_us / DAY_US;
                if self.is_full(day, lines.len()) {
                    self.flush(&mut lines).map_err(io)?;
                    self.put_aside()?;
                }
                self.day = Some(day);
                self.last = Some(Last {
                    position,
                    id: event.record().header.event_id,
                    recorded_us: Some(recorded_us),
                });
            }
            lines.extend(event.line());
        }
        self.flush(&mut lines).map_err(io)?;
        self.file.sync_data().map_err(io)
    }

    /// Whether the file takes no more, of an event of this day.
    fn is_full(&self, day: u64, waiting: usize) -> bool {
        let len = self.len.saturating_add(waiting as u64);
        let has_room = self.config.rotate_bytes.is_none_or(|most| len < most);
        let other = self.day.is_some_and(|last| last != day);
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
    fn put_aside(&mut self) -> Result<(), Rejection> {
        let Some(last) = self.last else {
            return Ok(());
        };
        let path = &self.config.path;
        let io = |error: io::Error| unavailable(path, &error);
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{:0width$}", last.position, width = DIGITS));
        let aside = PathBuf::from(aside);
        if aside.symlink_metadata().is_ok() {
            return Err(Rejection::unusable(format!(
                "{} is there already; move it away",
                aside.display()
            )));
        }
        self.file.sync_all().map_err(io)?;
        fs::rename(path, aside).map_err(io)?;
        sync_folder(path).map_err(io)?;
        self.file = opened(path)?;
        self.len = 0;
        Ok(())
    }
}

/// A process that is just being begun has every file of this one for a moment, and would keep the lock
/// as long.
impl Drop for Jsonl {
    fn drop(&mut self) {
        // A lock that cannot be given back goes with the file handle.
        let _ = self.file.unlock();
    }
}

impl Sink for Jsonl {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(ready(self.write(batch.events())))
    }

    fn last(&mut self) -> Telling<'_> {
        let known = self.last.map_or(Known::Nothing, |last| {
            Known::LastEvent(Position::new(last.position), last.id)
        });
        Box::pin(ready(Ok(known)))
    }
}

fn unavailable(path: &Path, error: &io::Error) -> Rejection {
    Rejection::unavailable(format!("{}: {error}", path.display()))
}

/// Opens the file, or makes it, for this process alone.
fn opened(path: &Path) -> Result<File, Rejection> {
    let io = |error: io::Error| unavailable(path, &error);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    for _ in 0..TIMES {
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
        // Before it was locked it may have been put aside.
        if is_at(&file, path, None).map_err(io)? {
            sync_folder(path).map_err(io)?;
            return Ok(file);
        }
    }
    Err(Rejection::unavailable(format!(
        "{} is renamed again and again",
        path.display()
    )))
}

/// Whether a file is the one at this path, and has as many bytes as it should.
fn is_at(file: &File, path: &Path, len: Option<u64>) -> io::Result<bool> {
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let here = file.metadata()?;
    let is_same = (there.dev(), there.ino()) == (here.dev(), here.ino());
    Ok(is_same && len.is_none_or(|len| len == there.len()))
}

/// The newest file that was put aside.
fn newest_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let digits = name.strip_prefix(&prefix).filter(|rest| {
            rest.len() == DIGITS && rest.bytes().all(|digit| digit.is_ascii_digit())
        });
        newest = newest.max(digits.map(str::to_owned));
    }
    Ok(newest.map(|digits| folder.join(prefix + &digits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::NewEvent;
    use runstone_store::{CreateOptions, Log, Query, Read};
    use tempfile::TempDir;

    struct Desk {
        folder: TempDir,
        events: Vec<Event>,
    }

    impl Desk {
        fn new() -> Self {
            let log = Log::memory(
                &CreateOptions::default(),
                runstone_store::OpenOptions::default(),
            )
            .unwrap();
            for _ in 0..9 {
                log.append_blocking(NewEvent::new("a.b", "s")).unwrap();
            }
            let records = log.read(Read::new(Query::everything())).unwrap();
            let events = records.map(|record| Event::new(record.unwrap(), &[]));
            Self {
                folder: tempfile::tempdir().unwrap(),
                events: events.collect(),
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("out")
        }

        fn open(&self, rotate_bytes: Option<u64>) -> Jsonl {
            let config = JsonlConfig::new(self.path()).rotate_bytes(rotate_bytes);
            Jsonl::open(&config).unwrap()
        }

        fn late(&self, at: usize) -> Vec<Event> {
            let mut batch = Batch::new(vec![self.events[at].clone()]);
            batch.doubt_before(u64::MAX);
            batch.events().to_vec()
        }

        /// Positions in each file, in the order of their names.
        fn files(&self) -> Vec<Vec<u64>> {
            let entries = fs::read_dir(self.folder.path()).unwrap();
            let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            paths.rotate_left(1);
            let each = paths.iter().map(|path| {
                let text = fs::read_to_string(path).unwrap();
                let lines = text
                    .lines()
                    .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                lines
                    .map(|line| line["position"].as_u64().unwrap())
                    .collect()
            });
            each.collect()
        }

        fn last(jsonl: &Jsonl) -> u64 {
            jsonl.last.unwrap().position
        }
    }

    #[test]
    fn what_was_parked_comes_late_and_rotates_nothing() {
        let desk = Desk::new();
        let mut jsonl = desk.open(Some(1));
        jsonl.write(&desk.events[..2]).unwrap();
        jsonl.write(&desk.events[3..4]).unwrap();
        let files = desk.files();
        assert_eq!(files, [vec![0], vec![1], vec![3]]);
        jsonl.write(&desk.late(2)).unwrap();
        drop(jsonl);
        // The late line is not taken for the end.
        let mut jsonl = desk.open(Some(1));
        assert_eq!(Desk::last(&jsonl), 3);
        jsonl.write(&desk.events[3..5]).unwrap();
        assert_eq!(desk.files(), [vec![0], vec![1], vec![3, 2], vec![4]]);
    }

    #[test]
    fn a_file_that_was_put_aside_is_never_replaced() {
        let desk = Desk::new();
        let mut jsonl = desk.open(Some(1));
        jsonl.write(&desk.events[..1]).unwrap();
        let aside = desk.folder.path().join(format!("out.{:020}", 0));
        fs::write(&aside, "of somebody else").unwrap();
        let refused = jsonl.write(&desk.events[1..2]).unwrap_err();
        assert!(matches!(refused, Rejection::Unusable(_)), "{refused:?}");
        assert_eq!(fs::read_to_string(&aside).unwrap(), "of somebody else");
    }

    #[test]
    fn the_end_is_found_in_the_newest_file_that_was_put_aside() {
        let desk = Desk::new();
        let mut jsonl = desk.open(None);
        jsonl.write(&desk.events[..4]).unwrap();
        jsonl.put_aside().unwrap();
        drop(jsonl);
        let jsonl = desk.open(None);
        assert_eq!(Desk::last(&jsonl), 3);
        assert_eq!(
            jsonl.last.unwrap().id,
            desk.events[3].record().header.event_id
        );
    }

    #[test]
    fn a_file_that_somebody_moves_or_empties_is_begun_anew() {
        let desk = Desk::new();
        let mut jsonl = desk.open(None);
        jsonl.write(&desk.events[..2]).unwrap();
        fs::rename(desk.path(), desk.folder.path().join("moved")).unwrap();
        jsonl.write(&desk.events[2..4]).unwrap();
        assert_eq!(desk.files(), [vec![2, 3], vec![0, 1]]);
        let emptied = OpenOptions::new().write(true).open(desk.path()).unwrap();
        emptied.set_len(0).unwrap();
        jsonl.write(&desk.events[4..5]).unwrap();
        assert_eq!(desk.files(), [vec![4], vec![0, 1]]);
    }

    #[test]
    fn what_a_loss_of_power_left_is_cut_off_and_what_is_foreign_is_not_touched() {
        let desk = Desk::new();
        let mut jsonl = desk.open(None);
        jsonl.write(&desk.events[..3]).unwrap();
        drop(jsonl);
        let whole = fs::read(desk.path()).unwrap();
        let half = &whole[..20];
        let behind = [whole.as_slice(), &[0; 5_000], half, b"\n"].concat();
        for torn in [
            [whole.as_slice(), half].concat(),
            [whole.as_slice(), &vec![0; 70_000]].concat(),
            [whole.as_slice(), half, &[0; 100]].concat(),
            behind,
        ] {
            fs::write(desk.path(), &torn).unwrap();
            assert_eq!(Desk::last(&desk.open(None)), 2);
            assert_eq!(fs::read(desk.path()).unwrap(), whole);
        }
        for foreign in [
            &b"shopping list"[..],
            b"{\"a\":1}",
            b"\x7fELF\0\0\0",
            b"{\"position\":1}\n",
            &[whole.as_slice(), b"bread"].concat(),
            &[vec![b'x'; 200_000], vec![b'\n']].concat(),
        ] {
            fs::write(desk.path(), foreign).unwrap();
            let refused = Jsonl::open(&JsonlConfig::new(desk.path())).unwrap_err();
            assert!(matches!(refused, Rejection::Unusable(_)), "{refused:?}");
            assert_eq!(fs::read(desk.path()).unwrap(), foreign);
        }
    }
}
