//! Random commands on tasks of a log in a file, against a plain model: every answer is the expected
//! one, and after a crash or a close the log answers and folds as before.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use runstone_codec::Position;
use runstone_projections::tasks::{Move, NewTask, TaskError, TaskFilter, TaskState, Tasks};
use runstone_projections::{Hold, Settings, standard_folds};
use runstone_store::{
    Clock as _, CreateOptions, Log, ManualClock, OpenOptions, Sealing, VerifyLevel,
};
use runstone_tests::clocked::{digests, model_cases};
use runstone_tests::tamper::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SECOND: u64 = 1_000_000;
const START: u64 = 1_750_000_000_000_000;
const IDS: usize = 7;
const MAX_DEPTH: u64 = 1;
const IDENTITY: u64 = 2;
const COMPLETED: u64 = 2;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Do {
    Create(usize, Links, bool),
    Claim(usize, Option<u64>),
    /// A task, and which of its claims: the newest, the one before, or none.
    Act(usize, Option<usize>, Act),
    Sweep,
    Wait(u64),
    /// The wall clock is set, which is nothing to leases.
    SetWall(bool),
    /// The log is closed or killed, and opened again.
    Reopen(bool),
}

#[derive(Clone, Copy, Debug, Default)]
struct Links {
    parent: Option<usize>,
    creator: Option<usize>,
    agent: Option<usize>,
    task_type: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Move(TaskState),
    Release,
    Fail,
    Renew(Option<u64>),
}

fn hold() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop_oneof![Just(30 * SECOND), Just(600 * SECOND)])
}

fn anything() -> impl Strategy<Value = Do> {
    let id = || 0..IDS;
    let some = || prop::option::weighted(0.4, 0..IDS);
    let links = (
        some(),
        some(),
        prop::option::of(0..2_usize),
        prop::option::of(0..2_usize),
    );
    let links = links.prop_map(|(parent, creator, agent, task_type)| Links {
        parent,
        creator,
        agent,
        task_type,
    });
    let fence = prop_oneof![5 => Just(None), 5 => Just(Some(0)), 1 => Just(Some(1))];
    let to = prop::sample::select(TaskState::ALL);
    let act = prop_oneof![
        8 => to.prop_map(Act::Move),
        1 => Just(Act::Release),
        1 => Just(Act::Fail),
        2 => hold().prop_map(Act::Renew),
    ];
    prop_oneof![
        8 => (id(), links, any::<bool>()).prop_map(|(id, links, todo)| Do::Create(id, links, todo)),
        6 => (id(), hold()).prop_map(|(id, hold)| Do::Claim(id, hold)),
        14 => (id(), fence, act).prop_map(|(id, fence, act)| Do::Act(id, fence, act)),
        1 => Just(Do::Sweep),
        2 => prop_oneof![Just(SECOND), Just(29 * SECOND), Just(60 * SECOND)].prop_map(Do::Wait),
        1 => any::<bool>().prop_map(Do::SetWall),
        1 => any::<bool>().prop_map(Do::Reopen),
    ]
}

/// Until when somebody holds a task.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// As long as the opening of this number.
    Opening(usize),
    /// So long, and until this time by the monotonic clock.
    Time { for_us: u64, end_us: u64 },
}

/// When something is asked.
#[derive(Clone, Copy, Debug)]
struct When {
    passed_us: u64,
    opening: usize,
}

impl Until {
    fn of(hold: Option<u64>, when: When) -> Self {
        match hold {
            Some(for_us) => Self::Time {
                for_us,
                end_us: when.passed_us + for_us,
            },
            None => Self::Opening(when.opening),
        }
    }

    fn is_over(self, when: When) -> bool {
        match self {
            Self::Opening(opening) => opening != when.opening,
            Self::Time { end_us, .. } => when.passed_us >= end_us,
        }
    }
}

#[derive(Clone, Debug)]
struct Task {
    state: TaskState,
    depth: u64,
    attempt: u64,
    links: Links,
    held: Option<Until>,
    fence: Option<Position>,
    /// The claim by which it ended.
    ended_by: Option<Position>,
    completed: Option<u64>,
}

/// Tasks as their description says, and not as the code decides them.
#[derive(Clone, Debug, Default)]
struct Model {
    tasks: BTreeMap<usize, Task>,
    completed: u64,
    ways: BTreeMap<usize, Vec<(Option<TaskState>, TaskState)>>,
}

/// The fifteen moves, once more.
fn may_follow(from: TaskState, to: TaskState) -> bool {
    use TaskState::{Backlog, Blocked, Cancelled, Done, InProgress, InReview, Todo};
    match from {
        Backlog => to == Todo,
        Todo => matches!(to, InProgress | Cancelled | Blocked),
        InProgress => matches!(to, Done | Blocked | Cancelled | InReview),
        InReview => matches!(to, Done | InProgress | Blocked | Cancelled),
        Blocked => matches!(to, InProgress | Cancelled | Todo),
        _ => false,
    }
}

fn has_ended(state: TaskState) -> bool {
    matches!(state, TaskState::Done | TaskState::Cancelled)
}

impl Model {
    fn go(&mut self, id: usize, to: TaskState) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        self.ways
            .entry(id)
            .or_default()
            .push((Some(task.state), to));
        task.state = to;
        task.ended_by = None;
        if to != TaskState::InProgress {
            task.held = None;
        }
        if to == TaskState::Done {
            self.completed += 1;
            task.completed = Some(self.completed);
        }
    }

    fn back(&mut self, id: usize) {
        self.go(id, TaskState::Blocked);
        self.go(id, TaskState::Todo);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.attempt += 1;
        }
    }

    /// Whether links lead from these to a task.
    fn leads(&self, from: Links, id: usize) -> bool {
        let both = |links: &Links| [links.parent, links.creator].into_iter().flatten();
        let (mut open, mut seen) = (both(&from).collect::<Vec<_>>(), BTreeSet::new());
        while let Some(next) = open.pop() {
            if next == id {
                return true;
            }
            if seen.insert(next) {
                open.extend(
                    self.tasks
                        .get(&next)
                        .iter()
                        .flat_map(|task| both(&task.links)),
                );
            }
        }
        false
    }

    /// The code of what is answered; none if it is done.
    fn create(&mut self, id: usize, links: Links, state: TaskState) -> Option<&'static str> {
        let parent = match links.parent {
            Some(parent) if parent == id && !self.tasks.contains_key(&id) => {
                return Some("cycle_detected");
            }
            Some(parent) => match self.tasks.get(&parent) {
                Some(task) => Some(task),
                None => return Some("task_parent_not_found"),
            },
            None => None,
        };
        let depth = parent.map_or(0, |task| task.depth + 1);
        if depth > MAX_DEPTH {
            return Some("depth_exceeded");
        }
        if self.leads(links, id) {
            return Some("cycle_detected");
        }
        let mut ancestor = links.parent;
        for _ in 0..IDENTITY {
            let Some(task) = ancestor.and_then(|id| self.tasks.get(&id)) else {
                break;
            };
            let is_same = links.agent.is_some() && links.task_type.is_some();
            if is_same && (task.links.agent, task.links.task_type) == (links.agent, links.task_type)
            {
                return Some("identity_loop");
            }
            ancestor = task.links.parent;
        }
        let before = self.tasks.get(&id);
        if before.is_some_and(|task| !has_ended(task.state)) {
            return Some("task_exists");
        }
        let completed = before.and_then(|task| task.completed);
        if completed.is_some_and(|number| self.completed - number < COMPLETED) {
            return Some("reprocess_detected");
        }
        self.ways.entry(id).or_default().push((None, state));
        let task = Task {
            state,
            depth,
            attempt: 1,
            links,
            held: None,
            fence: None,
            ended_by: None,
            completed,
        };
        self.tasks.insert(id, task);
        None
    }

    fn is_over(&self, id: usize, when: When) -> bool {
        let held = self.tasks.get(&id).and_then(|task| task.held);
        held.is_some_and(|until| until.is_over(when))
    }

    fn claim(&mut self, id: usize, hold: Option<u64>, when: When) -> Option<&'static str> {
        if self.is_over(id, when) {
            self.back(id);
        }
        let Some(task) = self.tasks.get_mut(&id) else {
            return Some("task_not_found");
        };
        if task.held.is_some() {
            return Some("task_held");
        }
        if task.state != TaskState::Todo {
            return Some("task_not_claimable");
        }
        task.held = Some(Until::of(hold, when));
        self.go(id, TaskState::InProgress);
        None
    }

    fn act(
        &mut self,
        id: usize,
        fence: Option<Position>,
        act: Act,
        when: When,
    ) -> Option<&'static str> {
        let Some(task) = self.tasks.get(&id).cloned() else {
            return Some("task_not_found");
        };
        if let Some(fence) = fence {
            if let Act::Move(to) = act
                && has_ended(to)
                && task.state == to
                && task.ended_by == Some(fence)
            {
                return None;
            }
            if task.held.is_none() || task.fence != Some(fence) {
                return Some("stale_claim");
            }
        } else if self.is_over(id, when) {
            self.back(id);
        }
        match act {
            Act::Move(to) => {
                let task = self.tasks[&id].clone();
                if !may_follow(task.state, to) {
                    return Some("task_move_refused");
                }
                let takes_away = matches!(to, TaskState::Blocked | TaskState::Cancelled);
                if fence.is_none() && task.held.is_some() && !takes_away {
                    return Some("task_held");
                }
                self.go(id, to);
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.ended_by = fence;
                }
            }
            Act::Release | Act::Fail => self.back(id),
            Act::Renew(hold) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.held = Some(Until::of(hold, when));
                }
            }
        }
        None
    }
}

struct Site {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    log: Option<Log>,
    openings: usize,
    model: Model,
    /// The claims of each task, oldest first.
    fences: Vec<Vec<Position>>,
    answers: BTreeMap<&'static str, usize>,
}

fn name(id: usize) -> String {
    format!("task-{id}")
}

fn holding(hold: Option<u64>) -> Hold {
    hold.map_or(Hold::Opening, Hold::For)
}

impl Site {
    fn new(sealing: Sealing) -> Outcome<Self> {
        let mut site = Self {
            folder: tempfile::tempdir()?,
            clock: Arc::new(ManualClock::new(START)),
            log: None,
            openings: 0,
            model: Model::default(),
            fences: vec![Vec::new(); IDS],
            answers: BTreeMap::new(),
        };
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&site.folder.path().join("log"), &create, site.opening())?;
        let settings = format!(
            "[loops]\nmax_depth = {MAX_DEPTH}\nidentity_window = {IDENTITY}\ncompleted_window = {COMPLETED}\n"
        );
        Settings::from_toml(&settings)?.record(&log)?;
        site.log = Some(log);
        Ok(site)
    }

    fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.options.clock = Arc::<ManualClock>::clone(&self.clock);
        open.options.background = false;
        open.options.maintenance_commits = 3;
        open.folds = standard_folds();
        open
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is open")
    }

    fn when(&self) -> When {
        When {
            passed_us: self.clock.monotonic_us(),
            opening: self.openings,
        }
    }

    /// What was answered is what the model expects.
    fn heard(
        &mut self,
        what: &Do,
        told: Result<(), TaskError>,
        expected: Option<&'static str>,
    ) -> Outcome {
        let code = told.err().map(|error| error.code());
        *self.answers.entry(code.unwrap_or("done")).or_default() += 1;
        if code == expected {
            return Ok(());
        }
        Err(format!("{what:?}: {code:?} instead of {expected:?}").into())
    }

    fn happen(&mut self, what: &Do) -> Outcome {
        let tasks = Tasks::new(self.log());
        let when = self.when();
        match *what {
            Do::Create(id, links, is_todo) => {
                let state = if is_todo {
                    TaskState::Todo
                } else {
                    TaskState::Backlog
                };
                let mut new = NewTask::new(name(id)).state(state);
                if let Some(parent) = links.parent {
                    new = new.parent(name(parent));
                }
                if let Some(creator) = links.creator {
                    new = new.creator(name(creator));
                }
                if let Some(agent) = links.agent {
                    new = new.agent(format!("agent-{agent}"));
                }
                if let Some(task_type) = links.task_type {
                    new = new.task_type(format!("type-{task_type}"));
                }
                let expected = self.model.create(id, links, state);
                let looked = tasks
                    .check(&new, None)
                    .map(drop)
                    .err()
                    .map(|error| error.code());
                assert_eq!(looked, expected, "a look says the same");
                let told = tasks.create_blocking(&new).map(drop);
                self.heard(what, told, expected)?;
            }
            Do::Claim(id, hold) => {
                let expected = self.model.claim(id, hold, when);
                let told = tasks.claim_blocking(&name(id), "worker", holding(hold));
                if let (Ok(held), Some(task)) = (&told, self.model.tasks.get_mut(&id)) {
                    task.fence = Some(held.fence);
                    self.fences[id].push(held.fence);
                    assert_eq!(held.attempt, task.attempt);
                }
                self.heard(what, told.map(drop), expected)?;
            }
            Do::Act(id, back, act) => {
                let fence = back.and_then(|back| self.fences[id].iter().rev().nth(back).copied());
                // Only who claimed gives back and renews.
                let is_holders = !matches!(act, Act::Move(_));
                if is_holders && fence.is_none() {
                    return Ok(());
                }
                let expected = self.model.act(id, fence, act, when);
                let fence_or_none = fence.unwrap_or_else(|| Position::new(0));
                let told = match act {
                    Act::Move(to) => {
                        let moving = Move::new(name(id), to);
                        let moving = match fence {
                            Some(fence) => moving.fence(fence),
                            None => moving,
                        };
                        tasks.move_to_blocking(&moving).map(drop)
                    }
                    Act::Release => tasks.release_blocking(&name(id), fence_or_none).map(drop),
                    Act::Fail => tasks
                        .fail_blocking(&name(id), fence_or_none, "why")
                        .map(drop),
                    Act::Renew(hold) => {
                        tasks.renew_blocking(&name(id), fence_or_none, holding(hold))
                    }
                };
                self.heard(what, told, expected)?;
            }
            Do::Sweep => {
                let over: Vec<usize> = (0..IDS)
                    .filter(|id| self.model.is_over(*id, when))
                    .collect();
                assert_eq!(tasks.sweep_blocking()?.len(), over.len());
                for id in over {
                    self.model.back(id);
                }
            }
            Do::Wait(micros) => self.clock.advance(micros),
            Do::SetWall(back) => {
                let wall_us = self.clock.wall_us();
                self.clock.set_wall(if back {
                    wall_us - 1_800 * SECOND
                } else {
                    wall_us + 1_800 * SECOND
                });
            }
            Do::Reopen(is_closed) => {
                drop(tasks);
                self.reopen(is_closed)?;
            }
        }
        self.look()
    }

    /// How every task stands is what the model expects, and so is its way there.
    fn look(&self) -> Outcome {
        let (tasks, when) = (Tasks::new(self.log()), self.when());
        for id in 0..IDS {
            let found = tasks.find(&name(id))?;
            let seen = found.map(|task| {
                let held = (task.is_held, task.is_expired);
                (task.state, task.depth, task.attempt, task.fence, held)
            });
            let expected = self.model.tasks.get(&id).map(|task| {
                let held = (task.held.is_some(), self.model.is_over(id, when));
                (task.state, task.depth, task.attempt, task.fence, held)
            });
            assert_eq!(seen, expected, "{id}");
            let way = tasks.history(&name(id))?;
            let way = way.map(|entry| entry.map(|entry| (entry.from, entry.to)));
            let way = way.collect::<Result<Vec<_>, _>>()?;
            assert_eq!(
                way,
                self.model.ways.get(&id).cloned().unwrap_or_default(),
                "{id}"
            );
        }
        for state in TaskState::ALL {
            let count = tasks.list(&TaskFilter::new().state(*state))?.len();
            let known = self
                .model
                .tasks
                .values()
                .filter(|task| task.state == *state);
            assert_eq!(count, known.count());
        }
        assert_eq!(
            tasks.list(&TaskFilter::new())?.len(),
            self.model.tasks.len()
        );
        Ok(())
    }

    /// Every row is as it was, and as the log says when it is folded from its beginning.
    fn reopen(&mut self, is_closed: bool) -> Outcome {
        let before = digests(&self.log().check_folds(None, &|_, _| {})?)?;
        let (size, root) = (self.log().size(), self.log().root());
        let paths = ["log", "log.head"].map(|name| self.folder.path().join(name));
        let [log, head] = [std::fs::read(&paths[0])?, std::fs::read(&paths[1])?];
        if is_closed {
            self.log().close_blocking()?;
        }
        self.log = None;
        if !is_closed {
            // What a killed process leaves: the files as they were before they were closed.
            std::fs::write(&paths[0], log)?;
            std::fs::write(&paths[1], head)?;
        }
        self.openings += 1;
        let log = Log::open(&self.folder.path().join("log"), self.opening())?;
        assert_eq!((log.size(), log.root()), (size, root));
        assert_eq!(digests(&log.check_folds(None, &|_, _| {})?)?, before);
        assert_eq!(digests(&log.rebuild_folds(None, &|_, _| {})?)?, before);
        assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
        self.log = Some(log);
        // Nothing tells how long it was closed: a lease has its full length again.
        let now_us = self.clock.monotonic_us();
        for task in self.model.tasks.values_mut() {
            if let Some(Until::Time { for_us, end_us }) = &mut task.held {
                *end_us = now_us + *for_us;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: model_cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn tasks_answer_as_the_model_does(
        is_plain in any::<bool>(),
        all in prop::collection::vec(anything(), 20..120),
    ) {
        let failed = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let sealing = if is_plain { Sealing::Plain } else { Sealing::Required };
        let mut site = Site::new(sealing).map_err(failed)?;
        for what in &all {
            site.happen(what).map_err(failed)?;
        }
        site.reopen(false).map_err(failed)?;
        site.look().map_err(failed)?;
    }
}

/// A walk that never comes to an answer proves nothing about it.
#[test]
fn every_answer_is_given() -> Outcome {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let walks = prop::collection::vec(anything(), 60);
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..40 {
        let mut site = Site::new(Sealing::Plain)?;
        let walk = walks.new_tree(&mut runner).map_err(|why| why.to_string())?;
        for what in &walk.current() {
            site.happen(what)?;
        }
        for (code, count) in site.answers {
            *answers.entry(code).or_default() += count;
        }
    }
    for code in [
        "done",
        "task_not_found",
        "task_parent_not_found",
        "depth_exceeded",
        "cycle_detected",
        "identity_loop",
        "reprocess_detected",
        "task_exists",
        "task_held",
        "task_not_claimable",
        "task_move_refused",
        "stale_claim",
    ] {
        assert!(answers.contains_key(code), "{code}: {answers:?}");
    }
    Ok(())
}
