//! Processes drain a tray whose tasks wait for one another. Some are killed once they have a task, some
//! while they say that it is done, and some come late, when their task was given to another one. The
//! process of the test holds the log, and its clock goes only when all others wait.
//!
//! `RUNSTONE_KILLED_TASKS` is how many tasks, `RUNSTONE_KILLED_WORKERS` how many processes at a time.

use super::{Said, Worker, size};
use runstone::attach::Limits;
use runstone::codec::Position;
use runstone::events::control::task as field;
use runstone::tasks::{NewTask, TaskState};
use runstone::trays::{NewTrayTask, TrayTask, Trays};
use runstone::{Log, Query, Read, Runstone, Settings};
use runstone_projections::standard_folds;
use runstone_store::{CreateOptions, ManualClock, OpenOptions};
use runstone_tests::clocked::START_US;
use runstone_tests::command::Runstone as Command;
use runstone_tests::held::{PATIENCE, Site};
use runstone_tests::tamper::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

const TASKS: usize = 48;
const WORKERS: usize = 6;
const ATTEMPTS: u64 = 3;
/// How long a worker holds a task without a word.
const LEASE_US: u64 = 60_000_000;
/// How often the clock goes on while nobody gets a task.
const MOST_WAITS: usize = 8;

/// What becomes of whoever has a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    /// The first is killed before it does anything.
    Dies,
    /// The first is killed while it does it, and says that it is done.
    Torn,
    /// The first goes on when another one has it, or when another one has done it.
    LateForHolder,
    LateForDone,
    /// Each is killed.
    Poison,
}

fn fate(task: usize) -> Fate {
    match task % 12 {
        1 | 7 => Fate::Dies,
        3 => Fate::LateForHolder,
        5 => Fate::Poison,
        9 => Fate::LateForDone,
        11 => Fate::Torn,
        _ => Fate::Works,
    }
}

/// Tasks that come before one. What is never done keeps nobody.
fn before(task: usize) -> BTreeSet<usize> {
    let earlier = [task / 2, task.saturating_sub(5)].into_iter();
    earlier
        .filter(|one| *one < task && fate(*one) != Fate::Poison)
        .collect()
}

fn number(id: &str) -> Outcome<usize> {
    let digits = id.strip_prefix("task-").ok_or("it is none of them")?;
    Ok(digits.parse()?)
}

/// Whoever lets the workers work.
struct Watch<'a> {
    site: &'a Site,
    log: &'a Log,
    clock: &'a ManualClock,
    /// How many work at a time.
    most: usize,
    said: Sender<Said>,
    workers: BTreeMap<usize, Worker>,
    started: usize,
    /// Those that were told to go on and have said nothing since.
    busy: BTreeSet<usize>,
    /// Those that found nothing to do.
    idle: Vec<usize>,
    /// Tasks whose first holder waits to come late, and who that is.
    late: BTreeMap<usize, usize>,
    /// Holders that wait until one who comes late for their task was refused.
    takers: BTreeMap<usize, usize>,
    /// Tasks for which somebody was told to come late, and those for which somebody did.
    made_late: BTreeSet<usize>,
    came_late: BTreeSet<usize>,
    /// The claim by which a worker has a task.
    fences: BTreeMap<usize, u64>,
    /// Tasks that are done, and by which claim.
    done: BTreeMap<usize, u64>,
    kills: usize,
    waits: usize,
}

impl Watch<'_> {
    fn start(&mut self) -> Outcome {
        let number = self.started;
        self.started += 1;
        let worker = Worker::start(self.site, number, None, self.said.clone())?;
        self.workers.insert(number, worker);
        self.busy.insert(number);
        Ok(())
    }

    /// Ends a worker as nobody can prevent; another one comes.
    fn kill(&mut self, number: usize) -> Outcome {
        let mut worker = self.workers.remove(&number).ok_or("it is at work")?;
        worker.process.0.kill()?;
        worker.process.0.wait()?;
        self.busy.remove(&number);
        self.kills += 1;
        self.start()
    }

    fn go(&mut self, number: usize) -> Outcome {
        let worker = self.workers.get_mut(&number).ok_or("it is at work")?;
        worker.input.write_all(b"go\n")?;
        self.busy.insert(number);
        Ok(())
    }

    fn wake(&mut self) -> Outcome {
        std::mem::take(&mut self.idle)
            .into_iter()
            .try_for_each(|number| self.go(number))
    }

    fn took(&mut self, number: usize, task: usize, attempt: u64) -> Outcome {
        self.waits = 0;
        let is_first = attempt == 1;
        match fate(task) {
            Fate::Dies if is_first => self.kill(number),
            Fate::Poison => self.kill(number),
            Fate::Torn if is_first => {
                self.go(number)?;
                self.kill(number)
            }
            // Half of them work on.
            Fate::LateForHolder | Fate::LateForDone
                if is_first && self.late.len() < self.most / 2 =>
            {
                self.late.insert(task, number);
                self.made_late.insert(task);
                Ok(())
            }
            Fate::LateForHolder => match self.late.remove(&task) {
                Some(late) => {
                    self.takers.insert(task, number);
                    self.go(late)
                }
                None => self.go(number),
            },
            _ => self.go(number),
        }
    }

    fn did(&mut self, number: usize, task: usize) -> Outcome {
        let fence = *self.fences.get(&number).ok_or("it took nothing")?;
        let before = self.done.insert(task, fence);
        assert_eq!(before, None, "task-{task} was done twice");
        if self.workers.contains_key(&number) {
            self.go(number)?;
        }
        if let Some(late) = self.late.remove(&task) {
            self.go(late)?;
        }
        self.wake()
    }

    /// Takes in what a worker said.
    fn hear(&mut self, number: usize, line: Option<&str>) -> Outcome {
        let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
        let is_alive = self.workers.contains_key(&number);
        match *words.as_slice() {
            // What was recorded before it was killed is.
            ["did", id] => {
                self.busy.remove(&number);
                self.did(number, self::number(id)?)
            }
            _ if !is_alive => Ok(()),
            ["took", id, attempt, fence] => {
                self.busy.remove(&number);
                self.fences.insert(number, fence.parse()?);
                self.took(number, self::number(id)?, attempt.parse()?)
            }
            ["late", id] => {
                self.busy.remove(&number);
                let task = self::number(id)?;
                assert!(self.made_late.contains(&task), "task-{task} was not late");
                self.came_late.insert(task);
                self.go(number)?;
                match self.takers.remove(&task) {
                    Some(taker) => self.go(taker),
                    None => Ok(()),
                }
            }
            ["nothing"] => {
                self.busy.remove(&number);
                self.idle.push(number);
                Ok(())
            }
            ["drained"] => {
                let tray = Trays::new(self.log).tray("in")?.ok_or("it is there")?;
                assert_eq!((tray.open, tray.in_progress), (0, 0));
                assert!(self.late.is_empty() && self.takers.is_empty());
                Ok(())
            }
            ["done"] => Ok(()),
            [""] => {
                let mut worker = self.workers.remove(&number).ok_or("it is at work")?;
                self.busy.remove(&number);
                assert!(worker.process.0.wait()?.success());
                Ok(())
            }
            _ => Err(format!("worker {number} said {words:?}").into()),
        }
    }

    /// Everybody waits: leases end, which whoever claims next finds, or a sweep records.
    fn pass_time(&mut self) -> Outcome {
        self.waits += 1;
        if self.waits > MOST_WAITS {
            let left = Trays::new(self.log).tray("in")?;
            return Err(format!("nobody gets anything: {left:?}, late {:?}", self.late).into());
        }
        self.clock.advance(LEASE_US);
        if self.waits.is_multiple_of(2) {
            Trays::new(self.log).sweep_blocking()?;
        }
        self.wake()
    }

    fn watch(&mut self, hear: &Receiver<Said>) -> Outcome {
        for _ in 0..self.most {
            self.start()?;
        }
        while !self.workers.is_empty() {
            let Ok((number, line)) = hear.recv_timeout(PATIENCE) else {
                return Err(format!("{:?} hang; done: {:?}", self.busy, self.done).into());
            };
            self.hear(number, line.as_deref())?;
            if self.busy.is_empty() && !self.idle.is_empty() {
                self.pass_time()?;
            }
        }
        Ok(())
    }
}

/// When tasks were claimed, and by which claim each was done, as the log has it.
#[derive(Default)]
struct Recorded {
    claims: BTreeMap<Vec<u8>, Vec<u64>>,
    done: BTreeMap<Vec<u8>, Vec<(u64, u64)>>,
}

impl Recorded {
    fn of(log: &Log) -> Outcome<Self> {
        let mut all = Self::default();
        for event_type in ["task.claimed", "task.moved"] {
            for record in log.read(Read::new(Query::of_type(event_type)))? {
                let record = record?;
                let (at, control) = (record.position.get(), &record.control);
                let task = control.get_bytes(field::TASK).ok_or("it is of a task")?;
                if event_type == "task.claimed" {
                    all.claims.entry(task.to_vec()).or_default().push(at);
                } else if control.get_u64(field::TO) == Some(TaskState::Done.number()) {
                    let fence = control.get_u64(field::FENCE).ok_or("somebody held it")?;
                    let done = all.done.entry(task.to_vec()).or_default();
                    done.push((at, fence));
                }
            }
        }
        Ok(all)
    }
}

/// Each was done once, by its last claim and after those before it, or was given up after its attempts.
fn assert_done(log: &Log, watch: &Watch<'_>, tasks: usize) -> Outcome {
    let (trays, recorded) = (Trays::new(log), Recorded::of(log)?);
    let mut found: BTreeMap<usize, TrayTask> = BTreeMap::new();
    for task in trays.list("in")? {
        let said = trays.content(&task)?.ok_or("nothing is erased")?;
        found.insert(number(&said.id)?, task);
    }
    assert_eq!(found.len(), tasks);
    for (task, lying) in &found {
        let (digest, row) = (lying.task.id.digest.to_vec(), &lying.task);
        let attempts = row.attempt;
        let claims = &recorded.claims[&digest];
        assert_eq!(claims.len() as u64, attempts, "task-{task}");
        if fate(*task) == Fate::Poison {
            assert_eq!((row.state, attempts), (TaskState::Cancelled, ATTEMPTS));
            assert!(lying.dead_letter.is_some() && !recorded.done.contains_key(&digest));
            continue;
        }
        let [(_, fence)] = recorded.done[&digest][..] else {
            return Err(format!("task-{task} was done {:?}", recorded.done[&digest]).into());
        };
        assert_eq!((row.state, lying.dead_letter), (TaskState::Done, None));
        assert_eq!(Some(&fence), claims.last(), "task-{task}: by an old claim");
        assert_eq!(row.fence.map(Position::get), Some(fence));
        let expected = match fate(*task) {
            Fate::Torn => 1..=2,
            Fate::Dies => 2..=2,
            _ if watch.made_late.contains(task) => 2..=2,
            _ => 1..=1,
        };
        assert!(expected.contains(&attempts), "task-{task}: {attempts}");
        match watch.done.get(task) {
            Some(heard) => assert_eq!(*heard, fence, "task-{task}"),
            None => assert_eq!(fate(*task), Fate::Torn, "nobody heard of task-{task}"),
        }
        for earlier in before(*task) {
            let digest = found[&earlier].task.id.digest.to_vec();
            assert!(recorded.done[&digest][0].0 < claims[0], "task-{task}");
        }
    }
    Ok(())
}

/// I61, I62, I63, I64.
#[test]
fn whoever_is_killed_or_late_a_tray_is_drained_and_each_task_is_done_once() -> Outcome {
    let _alone = crate::alone();
    let tasks = size("RUNSTONE_KILLED_TASKS", TASKS);
    let most = size("RUNSTONE_KILLED_WORKERS", WORKERS);
    let site = Site::new()?;
    std::fs::create_dir(site.path("world"))?;
    let clock = Arc::new(ManualClock::new(START_US));
    let mut open = OpenOptions::default();
    open.options.clock = Arc::<ManualClock>::clone(&clock);
    open.folds = standard_folds();
    let log = Log::create(&site.log, &CreateOptions::default(), open)?;
    let mut settings = Settings::default();
    settings.trays.max_attempts = ATTEMPTS;
    settings.record(&log)?;
    let trays = Trays::new(&log);
    trays.open_blocking("in")?;
    for task in 0..tasks {
        let new = NewTrayTask::new(NewTask::new(format!("task-{task}")));
        let earlier = before(task).into_iter().map(|one| format!("task-{one}"));
        trays.add_blocking("in", &earlier.fold(new, NewTrayTask::depends_on))?;
    }
    trays.close_blocking("in")?;
    let here = Runstone::serve(log, &site.log, Limits::default())?;

    let (said, hear) = channel();
    let mut watch = Watch {
        site: &site,
        log: here.log(),
        clock: &clock,
        most,
        said,
        workers: BTreeMap::new(),
        started: 0,
        busy: BTreeSet::new(),
        idle: Vec::new(),
        late: BTreeMap::new(),
        takers: BTreeMap::new(),
        made_late: BTreeSet::new(),
        came_late: BTreeSet::new(),
        fences: BTreeMap::new(),
        done: BTreeMap::new(),
        kills: 0,
        waits: 0,
    };
    watch.watch(&hear)?;
    println!("{} killed, {} late", watch.kills, watch.made_late.len());
    assert!(watch.kills > 0 && !watch.made_late.is_empty());
    assert_eq!(watch.came_late, watch.made_late);
    assert_done(here.log(), &watch, tasks)?;
    here.close_blocking()?;
    Command::on(&site.log).check();
    Ok(())
}
