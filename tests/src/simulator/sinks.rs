//! The sinks of a simulated log: added, ordered about, and driven for a while in one task, with
//! destinations that fail, and with a crash wherever they wait.
//!
//! What sinks keep lies in files of the real file system, which are replaced or added to. A crash in the
//! middle of that leaves the file as it was before, or after, or with a line that is cut short.

use super::Simulation;
use super::copies::{Copy, Filter, SECRET, Standing, State, config, offered, parked, standings};
use super::shelf::{Around, Mood, Shelf, Tells, kinds};
use crate::tamper::{Outcome, SeededEntropy};
use runstone::sinks::{ManualTimer, RunOptions, SinkChange, SinkError, Start, Timer as _, drive};
use runstone::{Position, Query, Read, Sinks};
use runstone_store::{AppendError, Durability, Log, Record};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tempfile::TempDir;

/// Names of sinks. One that is removed gives its name to another.
const NAMES: [&str; 4] = ["audit", "bill", "copy", "dash"];
/// Longest wait that is passed, microseconds.
const LONGEST_US: u64 = 4_000_000_000;
/// Turns after which sinks that nothing hinders must have come to rest.
const MOST_TURNS: usize = 20_000;

/// What is known of the sinks of a log.
#[derive(Debug)]
pub(super) struct Copies {
    /// Where sinks have their files, and some destinations lie.
    folder: TempDir,
    all: Vec<Copy>,
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
        })
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("log.sinks")
    }

    /// The log was lost from somewhere on: what its copies have is not of the one that goes on.
    pub(super) fn give_up(&mut self) {
        for copy in &mut self.all {
            copy.give_up();
        }
    }
}

/// Whether there is more to do.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How sinks are driven.
#[derive(Clone, Copy, Debug)]
struct Drive {
    /// Things that happen meanwhile; `None`: nothing does, and it ends when there is no more to do.
    happenings: Option<usize>,
    /// The process ends so many turns after so many deliveries.
    halts_at: Option<(usize, usize)>,
}

/// How that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    Stopped,
    /// They were dropped where they were.
    Left,
    /// The process ended in a turn.
    Halted,
    /// Nothing is left to do.
    Quiet,
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
            config = config.fields([super::copies::FIELD]);
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

    fn order_sink(&mut self) {
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
                assert!(record.header.tags.contains(&tag), "{record:?}");
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
    fn records(&self, log: &Log) -> Option<Vec<Record>> {
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

    /// Sinks run for a while, and destinations behave in their ways.
    fn run_sinks(&mut self) -> Outcome {
        for copy in &self.copies.all {
            let mood = match self.numbers.below(10) {
                0..=3 => Mood::Calm,
                4..=6 => Mood::Rough,
                7 => Mood::Picky(self.numbers.below(3) as u64),
                8 => Mood::Denies,
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

    /// Runs the sinks of the log, turn by turn.
    fn drive(&mut self, log: &Log, how: Drive) -> Outcome<Driven> {
        let struck = self.machine.struck();
        let before = self.records(log).map(|records| self.still(&records));
        let files = self.copies.files();
        for copy in &mut self.copies.all {
            copy.doubted = copy.doubted.max(offered(&files, &copy.name));
        }
        let driven = self.drive_each(log, &files, how)?;
        self.say(|| format!("  sinks: {how:?} {driven:?}"));
        if self.machine.struck() > struck {
            self.fail();
        }
        if driven == Driven::Halted || self.machine.is_down() || self.failed {
            // What they have is looked at when the log is whole again.
            return Ok(driven);
        }
        self.check_copies(log);
        if let (Some(before), Some(records)) = (before, self.records(log)) {
            let after = self.still(&records);
            for (number, (since, count)) in before {
                if let Some((again, more)) = after.get(&number)
                    && *again == since
                {
                    assert_eq!(count, *more, "{} stood still", self.copies.all[number].name);
                }
            }
        }
        Ok(driven)
    }

    /// Sinks that stand still, since when, and how much they have.
    fn still(&self, records: &[Record]) -> BTreeMap<usize, (u64, usize)> {
        let all = standings(records);
        let each = self.copies.all.iter().enumerate();
        let still = each.filter_map(|(number, copy)| {
            let standing = copy.standing(number, &all)?;
            let stands = standing.state != State::Running;
            stands.then(|| (number, (standing.since, copy.shelf.taken(0).len())))
        });
        still.collect()
    }

    fn drive_each(&mut self, log: &Log, files: &Path, how: Drive) -> Outcome<Driven> {
        let timer = ManualTimer::default();
        let deliveries = Arc::new(AtomicUsize::new(0));
        let around = Around {
            machine: self.machine.clone(),
            log: log.clone(),
            deliveries: Arc::clone(&deliveries),
        };
        let shelves = self.copies.all.iter().map(|copy| &copy.shelf);
        let mut options = RunOptions::new(kinds(shelves, &around));
        options = options.timer(Arc::new(timer.clone()));
        options = options.entropy(SeededEntropy::new(self.numbers.next_u64()));
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let stop = poll_fn(move |_| {
            if told.load(Ordering::SeqCst) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let mut driven = pin!(drive(log, files, options, stop));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut left = how.happenings;
        let mut halts_at = how.halts_at;
        for _ in 0..MOST_TURNS {
            let halts = match &mut halts_at {
                Some((many, turns)) if deliveries.load(Ordering::SeqCst) >= *many => {
                    *turns -= 1;
                    *turns == 0
                }
                _ => false,
            };
            let before = halts.then(|| self.kept(files)).transpose()?;
            if let Poll::Ready(ended) = driven.as_mut().poll(&mut context) {
                assert!(ended.is_ok() || self.is_excused(), "{ended:?}");
                return Ok(Driven::Stopped);
            }
            if let Some(before) = before {
                self.cut_short(files, &before)?;
                return Ok(Driven::Halted);
            }
            if self.machine.is_down() || log.health().is_err() {
                return Ok(Driven::Left);
            }
            let is_busy = woken.0.swap(false, Ordering::SeqCst);
            if is_busy && (left.is_none() || self.numbers.below(12) > 0) {
                continue;
            }
            match &mut left {
                None => {
                    if !self.pass_to_next(&timer) {
                        return Ok(Driven::Quiet);
                    }
                }
                Some(0) if is_over.load(Ordering::SeqCst) => {
                    let passed = self.pass_to_next(&timer);
                    assert!(passed || is_busy, "sinks do not end");
                }
                Some(0) => {
                    if self.numbers.below(3) == 0 {
                        return Ok(Driven::Left);
                    }
                    is_over.store(true, Ordering::SeqCst);
                }
                Some(left) => {
                    *left -= 1;
                    self.meanwhile(&timer);
                }
            }
            if self.machine.is_down() || self.failed {
                return Ok(Driven::Left);
            }
        }
        panic!("sinks do not come to rest");
    }

    /// Something happens while sinks run.
    fn meanwhile(&mut self, timer: &ManualTimer) {
        match self.numbers.below(12) {
            0..=1 => self.clients(Durability::Synced),
            2 => self.order_sink(),
            _ => drop(self.pass_to_next(timer)),
        }
    }

    /// The next wait is over; whether there is one.
    fn pass_to_next(&self, timer: &ManualTimer) -> bool {
        let before = timer.now_us();
        let passed = timer.advance_to_next(LONGEST_US);
        self.clock.advance(timer.now_us() - before);
        passed
    }

    /// What sinks and destinations have in files.
    fn kept(&self, files: &Path) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
        let mut all = read_all(files)?;
        all.extend(read_all(self.copies.folder.path())?);
        Ok(all)
    }

    /// The process ended in the middle of a turn: of what was kept in it, some was not.
    fn cut_short(&mut self, files: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) -> Outcome {
        let after = self.kept(files)?;
        for copy in &self.copies.all {
            let [cursor, parked] =
                ["cursor", "parked"].map(|kind| files.join(format!("{}.{kind}", copy.name)));
            // What is parked is kept before the cursor that passes over it.
            let steps = self.numbers.below(3);
            if steps < 2 {
                put_back(&cursor, before.get(&cursor), &after)?;
            }
            if steps < 1 {
                self.tear(&parked, before, &after)?;
            }
            if copy.shelf.tells == Tells::Lines && self.numbers.below(2) == 0 {
                self.tear(&copy.shelf.path, before, &after)?;
                copy.shelf.cut();
            }
        }
        Ok(())
    }

    /// What was added to a file in this turn is there in part.
    fn tear(
        &self,
        path: &Path,
        before: &BTreeMap<PathBuf, Vec<u8>>,
        after: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Outcome {
        let none = Vec::new();
        let (was, is) = (
            before.get(path).unwrap_or(&none),
            after.get(path).unwrap_or(&none),
        );
        if is.starts_with(was) && is.len() > was.len() {
            let more = is.len() - was.len();
            let left = was.len() + (is.len() * 31) % more;
            std::fs::write(path, &is[..left])?;
        }
        Ok(())
    }
}

/// A file is as it was before.
fn put_back(path: &Path, before: Option<&Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Outcome {
    match before {
        Some(before) => std::fs::write(path, before)?,
        None if after.contains_key(path) => std::fs::remove_file(path)?,
        None => {}
    }
    Ok(())
}

/// The files of a folder.
fn read_all(folder: &Path) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(all);
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_file() {
            let bytes = std::fs::read(&path)?;
            all.insert(path, bytes);
        }
    }
    Ok(all)
}
