//! Many workers drain one tray while some of them die without a word and others come too late: every
//! task is done once or is a dead letter after its attempts, and nobody is told that the tray is
//! drained before it is. `RUNSTONE_TRAY_TASKS` is how many tasks.

use runstone_codec::Position;
use runstone_projections::events::control::task as field;
use runstone_projections::tasks::{NewTask, TaskError, TaskId, TaskState};
use runstone_projections::trays::{Claim, Claimed, NewTrayTask, TrayError, Trays};
use runstone_projections::{Hold, Settings};
use runstone_store::{Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const LEASE: u64 = 60 * SECOND;
const WORKERS: u64 = 32;
const MAX_ATTEMPTS: u64 = 5;
const TASKS: usize = 300;

fn tasks() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how much it does"
    )]
    let asked = std::env::var("RUNSTONE_TRAY_TASKS").ok();
    asked.map_or(TASKS, |text| text.parse().unwrap())
}

/// Numbers that are the same in every run of a worker (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What the workers do together.
struct Site<'a> {
    log: &'a Log,
    clocked: &'a Clocked,
    /// Completions that were answered as recorded, by task.
    done: Mutex<BTreeMap<TaskId, u64>>,
    /// Claims whose workers died or were too slow, with which they come late.
    late: Mutex<Vec<Claimed>>,
    drained: AtomicUsize,
    refused: AtomicU64,
}

impl Site<'_> {
    /// Comes late with an old claim whose lease is over; nobody knows whether that was recorded.
    fn come_late(&self, trays: &Trays, dice: &mut Dice) {
        let old = {
            let mut late = self.late.lock().unwrap();
            let now_us = self.log.steady_us();
            let is_over = |held: &Claimed| held.lease_expires_at_us.is_some_and(|end| now_us > end);
            let over: Vec<_> = (0..late.len()).filter(|at| is_over(&late[*at])).collect();
            if over.is_empty() {
                return;
            }
            late.swap_remove(over[dice.roll(over.len() as u64) as usize])
        };
        self.complete(trays, &old);
    }

    fn complete(&self, trays: &Trays, held: &Claimed) {
        match trays.complete_blocking(&held.task, held.fence, "done") {
            Ok(_) => {
                let mut done = self.done.lock().unwrap();
                *done.entry(held.task.clone()).or_default() += 1;
            }
            Err(TrayError::Task(TaskError::StaleClaim { .. })) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn work(&self, worker: u64) {
        let trays = Trays::new(self.log);
        let holder = format!("worker-{worker}");
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (worker + 1));
        loop {
            // Time goes on while they work, so that leases end in between.
            self.clocked.clock.advance(SECOND);
            if dice.roll(8) == 0 {
                self.come_late(&trays, &mut dice);
            }
            let held = match trays
                .claim_blocking("in", &holder, Hold::For(Duration::from_micros(LEASE)))
                .unwrap()
            {
                Claim::Claimed(held) => held,
                Claim::NotClaimed(nothing) if nothing.drained => {
                    // It is final, and so it is for whoever looks.
                    let open = trays.tray("in").unwrap().unwrap().open;
                    assert_eq!((open, nothing.is_closed), (0, true));
                    self.drained.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Claim::NotClaimed(_) => {
                    // What others hold is theirs until the time is over.
                    self.clocked.clock.advance(SECOND);
                    std::thread::yield_now();
                    continue;
                }
                other => panic!("{other:?}"),
            };
            let name = held.said.as_ref().unwrap().id.clone();
            let is_poison = name.ends_with("13");
            match dice.roll(20) {
                // It dies without a word.
                0 => {}
                _ if is_poison => {
                    drop(trays.fail_blocking(&held.task, held.fence, "poison"));
                }
                // It wakes up late.
                1 => self.late.lock().unwrap().push(*held),
                2 => drop(trays.release_blocking(&held.task, held.fence)),
                3 => {
                    let hold = Hold::For(Duration::from_micros(LEASE));
                    drop(trays.renew_blocking(&held.task, held.fence, hold));
                    self.complete(&trays, &held);
                }
                _ => self.complete(&trays, &held),
            }
        }
    }
}

/// Each third one waits for up to three of those before it.
fn before(n: usize) -> impl Iterator<Item = usize> {
    let candidates = [n / 2, n.saturating_sub(7), n.saturating_sub(40)];
    let known: BTreeSet<_> = candidates.into_iter().collect();
    let waits = n.is_multiple_of(3);
    known
        .into_iter()
        .filter(move |earlier| waits && *earlier < n)
}

/// Of every claim that was completed: it was of a task that waited for nothing, and the newest one.
fn assert_history(log: &Log, ids: &BTreeMap<TaskId, usize>) -> Outcome {
    let mut states: BTreeMap<usize, TaskState> = BTreeMap::new();
    let mut fences: BTreeMap<usize, Position> = BTreeMap::new();
    let by_digest: BTreeMap<_, _> = ids.iter().map(|(id, n)| (id.digest, *n)).collect();
    for record in log.read(Read::new(Query::stream("tray:in")).without_payloads())? {
        let record = record?;
        let digest = record.control.get_bytes(field::TASK).unwrap_or_default();
        let Ok(digest) = <[u8; 16]>::try_from(digest) else {
            continue;
        };
        let Some(task) = by_digest.get(&digest) else {
            continue;
        };
        match record.header.event_type.as_str() {
            "task.claimed" => {
                for earlier in before(*task) {
                    assert_eq!(states.get(&earlier), Some(&TaskState::Done));
                }
                let is_free = states
                    .get(task)
                    .is_none_or(|state| *state == TaskState::Todo);
                assert!(is_free, "claimed twice at {}", record.position);
                fences.insert(*task, record.position);
            }
            "task.moved" => {
                let to = record
                    .control
                    .get_u64(field::TO)
                    .and_then(TaskState::from_number);
                let to = to.ok_or("a move leads nowhere")?;
                let before = states.insert(*task, to);
                if to == TaskState::Done {
                    assert_eq!(before, Some(TaskState::InProgress));
                    let fence = record.control.get_u64(field::FENCE).map(Position::new);
                    assert_eq!(fence, fences.get(task).copied());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn every_task_is_done_once_or_is_a_dead_letter() -> Outcome {
    let clocked = Clocked::new()?;
    let log = clocked.create(Sealing::Required)?;
    let mut settings = Settings::default();
    settings.trays.max_attempts = MAX_ATTEMPTS;
    settings.record(&log)?;
    let trays = Trays::new(&log);
    trays.open_blocking("in")?;
    let count = tasks();
    let mut ids = BTreeMap::new();
    for n in 0..count {
        let new = NewTrayTask::new(NewTask::new(format!("task-{n:06}")));
        let new = new.priority(n as u64 % 5);
        let new = before(n).fold(new, |new, n| new.depends_on(format!("task-{n:06}")));
        ids.insert(trays.add_blocking("in", &new)?.id, n);
    }
    trays.close_blocking("in")?;
    let site = Site {
        log: &log,
        clocked: &clocked,
        done: Mutex::default(),
        late: Mutex::default(),
        drained: AtomicUsize::new(0),
        refused: AtomicU64::new(0),
    };
    // A task that waits for a dead letter waits for ever; a worker that helps it out is a person.
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let site = &site;
            scope.spawn(move || site.work(worker));
        }
        scope.spawn(|| {
            let tasks = runstone_projections::tasks::Tasks::new(&log).stream("tray:in");
            loop {
                let tray = trays.tray("in").unwrap().unwrap();
                if tray.open == 0 {
                    return;
                }
                if tray.ready == 0 && tray.in_progress == 0 {
                    for stuck in trays.list("in").unwrap() {
                        if stuck.is_stuck && stuck.task.state == TaskState::Todo {
                            let said = trays.content(&stuck).unwrap().unwrap();
                            let cancel = runstone_projections::tasks::Move::new(
                                said.id,
                                TaskState::Cancelled,
                            );
                            tasks.move_to_blocking(&cancel).unwrap();
                        }
                    }
                }
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(site.drained.load(Ordering::Relaxed) as u64, WORKERS);
    let done = site.done.into_inner().unwrap();
    let (mut finished, mut dead, mut stuck) = (0, 0, 0);
    for task in trays.list("in")? {
        match (task.task.state, task.dead_letter) {
            (TaskState::Done, None) => {
                assert!(done.contains_key(&task.task.id), "somebody was told so");
                finished += 1;
            }
            (TaskState::Cancelled, Some(_)) => {
                assert_eq!(task.task.attempt, MAX_ATTEMPTS);
                dead += 1;
            }
            (TaskState::Cancelled, None) => stuck += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(done.len(), finished);
    assert_eq!(finished + dead + stuck, count);
    assert_eq!(trays.dead_letters("in")?.len(), dead);
    let refused = site.refused.load(Ordering::Relaxed);
    let told =
        format!("{finished} done, {dead} dead letters, {stuck} behind them, {refused} in vain");
    println!("{told}");
    assert!(dead > 0 && stuck > 0 && refused > 0, "{told}");
    assert!(finished > count / 2, "{told}");
    let moves = Read::new(Query::of_type("task.moved")).without_payloads();
    let mut leases_over = 0;
    for record in log.read(moves)? {
        let record = record?;
        let why = record.control.get_text(field::WHY);
        leases_over += u64::from(why == Some("lease_over"));
    }
    assert!(leases_over > 0, "{told}");
    // Those that come even later change nothing.
    let size = log.size();
    let late = site.late.into_inner().unwrap();
    for old in &late {
        let told = trays.complete_blocking(&old.task, old.fence, "late");
        let is_same = done.contains_key(&old.task);
        assert!(told.is_err() || is_same, "{told:?}");
    }
    assert_eq!(log.size(), size);
    assert_history(&log, &ids)?;
    assert_sound(&log)
}
