//! What is asked of the sinks of a simulated log: they are added and ordered about, and what their
//! destinations have in the end is everything that they are to have.

use super::Simulation;
use super::copies::{Copy, FIELD, Filter, SECRET, Standing, State, config, parked, standings};
use super::drive::{Drive, Driven, read_all};
use super::shelf::{Mood, Shelf, Tells};
use crate::tamper::Outcome;
use runstone::sinks::{SinkChange, SinkError, Start};
use runstone::{Position, Query, Read, Sinks};
use runstone_store::{AppendError, Log, Record};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Names of sinks. One that is removed gives its name to another.
const NAMES: [&str; 4] = ["audit", "bill", "copy", "dash"];

/// What is known of the sinks of a log.
#[derive(Debug)]
pub(super) struct Copies {
    /// Where sinks have their files, and some destinations lie.
    pub(super) folder: TempDir,
    pub(super) all: Vec<Copy>,
    /// Cursors that somebody copied, by the names of their sinks.
    copied: BTreeMap<String, String>,
}

impl Copies {
    pub(super) fn new() -> Outcome<Self> {
        // What is synced here is synced often, and no loss of power is waited for.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)?
        } else {
            tempfile::tempdir()?
        };
        Ok(Self {
            folder,
            all: Vec::new(),
            copied: BTreeMap::new(),
        })
    }

    pub(super) fn files(&self) -> PathBuf {
        self.folder.path().join("log.sinks")
    }

    /// The log was lost from somewhere on: what its copies have is not of the one that goes on.
    pub(super) fn give_up(&mut self) {
        for copy in &mut self.all {
            copy.give_up();
        }
    }
}

impl Simulation {
    pub(super) fn sinks(&mut self) -> Outcome {
        if self.lying {
            // What a copy has is not on the disk that lies.
            return Ok(());
        }
        let what = self.numbers.below(10);
        if what < 3 || self.copies.all.is_empty() {
            self.add_sink();
        }
        match what {
            3 => self.order_sink(),
            4 => self.lose_cursor()?,
            5 | 6 => self.copy_cursor()?,
            _ => {}
        }
        self.run_sinks()
    }

    fn any_name(&mut self) -> &'static str {
        NAMES[self.numbers.below(NAMES.len())]
    }

    fn add_sink(&mut self) {
        let log = self.log().clone();
        let number = self.copies.all.len();
        let tells = [
            Tells::Nothing,
            Tells::Nothing,
            Tells::Position,
            Tells::Event,
            Tells::Lines,
        ];
        let tells = tells[self.numbers.below(tells.len())];
        let path = self.copies.folder.path().join(format!("{number}.jsonl"));
        let shelf = Arc::new(Shelf::new(tells, path, self.numbers.next_u64()));
        let filter = match self.numbers.below(6) {
            0 => Filter::Type("tool.called"),
            1 => Filter::Stream(format!("run-{}", self.numbers.below(5))),
            2 => Filter::Tag(format!("t:{}", self.numbers.below(4))),
            _ => Filter::Everything,
        };
        let start = match self.numbers.below(4) {
            0 => Start::Now,
            1 => Start::At(self.numbers.below(log.size() as usize + 4) as u64),
            _ => Start::Beginning,
        };
        let mut config = config(self.any_name(), number)
            .query(filter.query())
            .from(start)
            .batch_events([1, 2, 5, 40][self.numbers.below(4)])
            .tries(1 + self.numbers.below(3) as u64);
        if self.numbers.below(2) == 0 {
            config = config.fields([FIELD]);
        }
        let answer = Sinks::new(&log).add_blocking(&config);
        self.say(|| {
            format!(
                "  add {}: {tells:?} {filter:?} {start:?}: {answer:?}",
                config.name
            )
        });
        let is_there = self.tell(
            answer,
            |standing| standing.is_some(),
            &config.name,
            "sink.added",
        );
        if is_there {
            self.copies.all.push(Copy::new(&config, filter, shelf));
        }
    }

    pub(super) fn order_sink(&mut self) {
        let changes = [
            (SinkChange::Pause, "sink.paused"),
            (SinkChange::Resume, "sink.resumed"),
            (SinkChange::Resume, "sink.resumed"),
            (SinkChange::ReplayParked, "sink.replay_asked"),
            (SinkChange::Remove, "sink.removed"),
        ];
        let (mut change, mut event_type) = changes[self.numbers.below(changes.len())];
        let name = self.any_name();
        let is_over = |copy: &Copy| copy.name == name && copy.is_over;
        if change == SinkChange::Resume && self.copies.all.iter().rev().any(is_over) {
            // Somebody has looked at it: nothing of this log belongs there.
            (change, event_type) = (SinkChange::Remove, "sink.removed");
        }
        let log = self.log().clone();
        let answer = Sinks::new(&log).change_blocking(name, change);
        self.say(|| format!("  {change:?} {name}: {answer:?}"));
        for copy in self.copies.all.iter().filter(|copy| copy.name == name) {
            match change {
                SinkChange::Resume => copy.shelf.resume(),
                SinkChange::Pause | SinkChange::Remove if answer.is_ok() => copy.shelf.pause(),
                _ => {}
            }
        }
        self.tell(answer, |standing| standing.is_none(), name, event_type);
    }

    /// What was answered agrees with the log: what was done is recorded where it was told, and it is
    /// refused for how things stand only if they stand so. Whether it may have been done.
    fn tell(
        &mut self,
        answer: Result<Position, SinkError>,
        refuses: impl Fn(Option<&Standing>) -> bool,
        name: &str,
        event_type: &str,
    ) -> bool {
        self.tally.requests += 1;
        let log = self.log().clone();
        match answer {
            Ok(at) => {
                assert!(at.get() < log.durable_size(), "{at} is not durable");
                self.synced_up_to(at.get());
                let Some(record) = self.read_or_excused(log.record(at)) else {
                    return true;
                };
                let tag = format!("sink:{name}");
                assert!(record.header.has_tag(&tag), "{record:?}");
                let is_so = record.header.event_type == event_type;
                // What stands so already is told, and not recorded again.
                let runs = event_type == "sink.resumed" && record.header.event_type == "sink.added";
                assert!(is_so || runs, "{record:?}");
                true
            }
            Err(SinkError::Append(AppendError::OutcomeUnknown { .. })) => {
                self.fail();
                true
            }
            Err(SinkError::Exists { .. } | SinkError::NotFound { .. }) => {
                if let Some(records) = self.records(&log) {
                    let all = standings(&records);
                    assert!(refuses(all.get(name)), "{name}: {all:?}");
                }
                false
            }
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                false
            }
        }
    }

    fn read_or_excused<T>(&self, read: Result<T, runstone::ReadError>) -> Option<T> {
        let failed = read.as_ref().err().map(ToString::to_string);
        assert!(failed.is_none() || self.is_excused(), "{failed:?}");
        read.ok()
    }

    /// Everything that is durable; `None`: the disk does not say.
    pub(super) fn records(&self, log: &Log) -> Option<Vec<Record>> {
        let all = log.read(Read::new(Query::everything()));
        let all = all.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        self.read_or_excused(all)
    }

    /// The files of a sink are gone, as after a restore without them.
    fn lose_cursor(&mut self) -> Outcome {
        let files = self.copies.files();
        let name = self.any_name();
        let path = files.join(format!("{name}.cursor"));
        if !path.exists() || !parked(&files, name).is_empty() {
            return Ok(());
        }
        self.say(|| format!("  the cursor of {name} is lost"));
        std::fs::remove_file(path)?;
        for copy in self.copies.all.iter_mut().filter(|copy| copy.name == name) {
            copy.forget();
        }
        Ok(())
    }

    /// Somebody copies the cursor of a sink, or puts an older one back.
    fn copy_cursor(&mut self) -> Outcome {
        let name = self.any_name();
        let path = self.copies.files().join(format!("{name}.cursor"));
        let Ok(now) = std::fs::read_to_string(&path) else {
            return Ok(());
        };
        let copied = self.copies.copied.remove(name);
        let Some(before) = copied.filter(|before| cursor_of(before) == cursor_of(&now)) else {
            self.copies.copied.insert(name.to_owned(), now);
            return Ok(());
        };
        self.say(|| format!("  an older cursor of {name} is put back: {before}"));
        std::fs::write(path, before)?;
        let mut all = self.copies.all.iter_mut();
        if let Some(copy) = all.rfind(|copy| copy.name == name) {
            copy.forget();
        }
        Ok(())
    }

    /// Sinks run for a while, and destinations behave in their ways.
    fn run_sinks(&mut self) -> Outcome {
        for copy in &self.copies.all {
            let mood = match self.numbers.below(12) {
                0..=3 => Mood::Calm,
                4..=6 => Mood::Rough,
                7..=9 => Mood::Picky(self.numbers.below(3) as u64),
                10 => Mood::Denies,
                _ => Mood::Broken,
            };
            copy.shelf.behave(mood);
        }
        let halts = self.numbers.below(3) == 0;
        let drive = Drive {
            happenings: Some(self.numbers.below(16)),
            halts_at: halts.then(|| (self.numbers.below(16), 1 + self.numbers.below(6))),
        };
        let log = self.log().clone();
        if self.drive(&log, drive)? == Driven::Halted {
            drop(log);
            self.crash();
            return self.open_or_crash();
        }
        Ok(())
    }

    /// Everything is mended, and every sink gets what is left for it.
    pub(super) fn drain_sinks(&mut self) -> Outcome {
        let log = self.log().clone();
        let sinks = Sinks::new(&log);
        let mut all = standings(&self.records(&log).unwrap());
        for (number, copy) in self.copies.all.iter().enumerate() {
            copy.shelf.behave(Mood::Calm);
            let Some(standing) = copy.standing(number, &all) else {
                continue;
            };
            if copy.is_over {
                sinks.change_blocking(&copy.name, SinkChange::Remove)?;
                continue;
            }
            if standing.state != State::Running {
                sinks.change_blocking(&copy.name, SinkChange::Resume)?;
            }
            sinks.change_blocking(&copy.name, SinkChange::ReplayParked)?;
        }
        let quiet = Drive {
            happenings: None,
            halts_at: None,
        };
        assert_eq!(self.drive(&log, quiet)?, Driven::Quiet);
        let records = self.records(&log).unwrap();
        all = standings(&records);
        let files = self.copies.files();
        for (number, copy) in self.copies.all.iter().enumerate() {
            if let Some(standing) = copy.standing(number, &all) {
                assert_eq!(standing.state, State::Running, "{}", copy.name);
                copy.check_whole(standing, &records, &files);
                let taken = copy.shelf.taken(0);
                self.tally.copied += taken.len() as u64;
                let again = taken.iter().filter(|seen| seen.is_duplicate);
                self.tally.copied_again += again.count() as u64;
            }
        }
        for (path, bytes) in read_all(&files)? {
            let secret = bytes
                .windows(SECRET.len())
                .any(|at| at == SECRET.as_bytes());
            assert!(!secret, "{}", path.display());
        }
        Ok(())
    }

    /// What destinations have is what they should have by now.
    pub(super) fn check_copies(&mut self, log: &Log) {
        if self.copies.all.is_empty() {
            return;
        }
        let Some(records) = self.records(log) else {
            return;
        };
        let (files, all) = (self.copies.files(), standings(&records));
        for (number, copy) in self.copies.all.iter_mut().enumerate() {
            let standing = copy.standing(number, &all).cloned();
            copy.follow(number, standing.as_ref(), &records, &files);
        }
    }
}

/// Which sink of which log a cursor is of.
fn cursor_of(text: &str) -> (Value, Value) {
    let cursor: Value = serde_json::from_str(text).unwrap();
    (cursor["log"].clone(), cursor["sink"].clone())
}
