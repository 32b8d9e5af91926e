//! The sinks of a simulated log at work: driven turn by turn in one task, with others at work meanwhile, and
//! with a crash wherever they wait.
//!
//! What sinks keep lies in files of the real file system, which are replaced or added to. A crash in the
//! middle of that leaves the file as it was before, or after, or with a line that is cut short.

use super::Simulation;
use super::copies::{State, offered, offered_in, standings};
use super::shelf::{Around, Tells, kinds};
use crate::tamper::{Outcome, SeededEntropy};
use runstone::sinks::{ManualTimer, RunOptions, Timer as _, drive};
use runstone_store::{Durability, Log, Record};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Longest wait that is passed, microseconds.
const LONGEST_US: u64 = 4_000_000_000;
/// Turns after which sinks that nothing hinders must have come to rest.
const MOST_TURNS: usize = 20_000;

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
pub(super) struct Drive {
    /// Things that happen meanwhile; `None`: nothing does, and it ends when there is no more to do.
    pub(super) happenings: Option<usize>,
    /// The process ends so many turns after so many deliveries.
    pub(super) halts_at: Option<(usize, usize)>,
}

/// How that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    Stopped,
    /// They were dropped where they were.
    Left,
    /// The process ended in a turn.
    Halted,
    /// Nothing is left to do.
    Quiet,
}

impl Simulation {
    /// Runs the sinks of the log, turn by turn.
    pub(super) fn drive(&mut self, log: &Log, how: Drive) -> Outcome<Driven> {
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
            let before = halts.then(|| (self.kept(files), self.taken()));
            if let Poll::Ready(ended) = driven.as_mut().poll(&mut context) {
                assert!(ended.is_ok() || self.is_excused(), "{ended:?}");
                return Ok(Driven::Stopped);
            }
            if let Some((before, counts)) = before {
                self.cut_short(files, &before?, &counts)?;
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

    /// How many events each destination has.
    fn taken(&self) -> Vec<usize> {
        let copies = self.copies.all.iter();
        copies.map(|copy| copy.shelf.taken(0).len()).collect()
    }

    /// The process ended in the middle of a turn, before which destinations had so many events: of what
    /// was kept in it, some was not.
    fn cut_short(
        &mut self,
        files: &Path,
        before: &BTreeMap<PathBuf, Vec<u8>>,
        counts: &[usize],
    ) -> Outcome {
        let after = self.kept(files)?;
        for (copy, count) in self.copies.all.iter().zip(counts) {
            let [cursor, parked] =
                ["cursor", "parked"].map(|kind| files.join(format!("{}.{kind}", copy.name)));
            // What is parked is kept before the cursor that passes over it, and both are before anything
            // younger is given.
            let steps = self.numbers.below(3);
            let has_parked = before.get(&parked) != after.get(&parked);
            let taken = copy.shelf.taken(*count);
            let last = taken.iter().map(|seen| seen.position).max();
            // Where nobody can be asked, that it is offered is kept before it is given.
            let was_offered = offered_in(before.get(&cursor));
            let is_offered_now =
                copy.shelf.tells == Tells::Nothing && last.is_some_and(|last| last >= was_offered);
            let is_kept = is_offered_now || has_parked && last.is_some();
            let steps = if is_kept { 2 } else { steps };
            if steps < 2 {
                put_back(&cursor, before.get(&cursor), &after)?;
            }
            if steps < 1 {
                tear(&parked, before, &after)?;
            }
            if copy.shelf.tells == Tells::Lines && self.numbers.below(2) == 0 {
                tear(&copy.shelf.path, before, &after)?;
                copy.shelf.cut();
            }
        }
        Ok(())
    }
}

/// What was added to a file in this turn is there in part.
fn tear(
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
pub(super) fn read_all(folder: &Path) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
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
