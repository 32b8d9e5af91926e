//! Random commands on tasks of a log in a file, against a plain model: every answer is the expected
//! one, and after a crash or a close the log answers and folds as before.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use runstone_codec::Position;
use runstone_projections::tasks::{TaskFilter, TaskState, Tasks};
use runstone_projections::{Hold, Settings};
use runstone_store::{Clock as _, CreateOptions, Log, Sealing};
use runstone_tests::calls::{Plain as _, Said, Time};
use runstone_tests::clocked::{Clocked, model_cases, now};
use runstone_tests::tamper::Outcome;
use runstone_tests::tasks::{
    Board, COMPLETED, IDENTITY, Links, MAX_DEPTH, TaskAct, TaskAsk, ask, new_task,
};
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const IDS: usize = 5;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Do {
    Create(usize, Links, bool),
    Claim(usize, Hold),
    /// A task, and which of its claims: the newest, the one before, or none.
    Act(usize, Option<usize>, TaskAct),
    Sweep,
    Wait(u64),
    /// The wall clock is set, which is nothing to leases.
    SetWall(bool),
    /// The log is closed or killed, and opened again.
    Reopen(bool),
}

fn hold() -> impl Strategy<Value = Hold> {
    let lease = || prop_oneof![Just(30), Just(600)].prop_map(Duration::from_secs);
    prop_oneof![
        1 => Just(Hold::Opening),
        2 => lease().prop_map(Hold::For),
        1 => lease().prop_map(Hold::ByClock),
    ]
}

fn anything() -> impl Strategy<Value = Do> {
    let id = || 0..IDS;
    let some = || prop::option::weighted(0.5, 0..IDS);
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
        ..Links::default()
    });
    let fence = prop_oneof![5 => Just(None), 5 => Just(Some(0)), 1 => Just(Some(1))];
    let to = prop::sample::select(TaskState::ALL);
    let act = prop_oneof![
        8 => to.prop_map(TaskAct::Move),
        1 => Just(TaskAct::Release),
        1 => Just(TaskAct::Fail),
        2 => hold().prop_map(TaskAct::Renew),
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

struct Site {
    clocked: Clocked,
    /// `None` while it is closed.
    log: Option<Log>,
    opened_us: u64,
    board: Board,
    /// The claims of each task, oldest first.
    fences: Vec<Vec<u64>>,
    /// The moves of each task, of all its lives.
    ways: Vec<Vec<(Option<TaskState>, TaskState)>>,
    answers: BTreeMap<&'static str, usize>,
}

fn name(id: usize) -> String {
    format!("task-{id}")
}

impl Site {
    fn new(sealing: Sealing) -> Outcome<Self> {
        let clocked = Clocked::new()?;
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&clocked.path(), &create, clocked.opening_alone())?;
        let settings = format!(
            "[loops]\nmax_depth = {MAX_DEPTH}\nidentity_window = {IDENTITY}\ncompleted_window = {COMPLETED}\n"
        );
        Settings::from_toml(&settings)?.record(&log)?;
        Ok(Self {
            opened_us: clocked.clock.monotonic_us(),
            clocked,
            log: Some(log),
            board: Board::default(),
            fences: vec![Vec::new(); IDS],
            ways: vec![Vec::new(); IDS],
            answers: BTreeMap::new(),
        })
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is open")
    }

    fn time(&self) -> Time {
        let opening = self.log().opening();
        Time {
            now_us: self.log().now_us(),
            opening: opening.id,
            opened_at_us: opening.at_us,
            passed_us: self.clocked.clock.monotonic_us() - self.opened_us,
        }
    }

    /// What is answered is what the model expects.
    fn ask(&mut self, what: &TaskAsk) -> Outcome {
        let (tasks, time) = (Tasks::new(self.log()), self.time());
        let (expected, _) = self.board.ask(what, &time, None);
        if let Some(new) = new_task(name, name, what) {
            let looked = tasks.check(&new, None).err().map(|error| error.code());
            let code = match expected {
                Said::Refused(code) => Some(code),
                _ => None,
            };
            assert_eq!(looked, code, "a look says the same");
        }
        let (said, at) =
            now(ask(&tasks, (name, name), "model", what)).map_err(|lost| format!("{lost:?}"))?;
        let agrees = matches!((&expected, &said), (Said::At(None), Said::At(_)));
        assert!(
            agrees || expected == said,
            "{what:?}: {said:?}, not {expected:?}"
        );
        let code = match said {
            Said::Refused(code) => code,
            _ => "done",
        };
        *self.answers.entry(code).or_default() += 1;
        if let (TaskAsk::Claim(id, _), Said::Held(_), Some(at)) = (what, &said, at) {
            self.fences[*id].push(at);
        }
        let before = std::mem::take(&mut self.board);
        self.board = before.ask(what, &time, at).1;
        self.follow(
            &before,
            matches!(what, TaskAsk::Create(..)) && code == "done",
        );
        Ok(())
    }

    /// What moves lie between two ways to stand.
    fn follow(&mut self, before: &Board, is_created: bool) {
        for (id, task) in &self.board.tasks {
            let way = &mut self.ways[*id];
            let was = before.tasks.get(id).filter(|was| *was != task);
            let Some(was) = was.filter(|_| !is_created) else {
                let is_new = before.tasks.get(id) != Some(task);
                way.extend(is_new.then_some((None, task.state)));
                continue;
            };
            let mut from = was.state;
            if task.attempt != was.attempt {
                way.push((Some(from), TaskState::Blocked));
                way.push((Some(TaskState::Blocked), TaskState::Todo));
                from = TaskState::Todo;
            }
            way.extend((from != task.state).then_some((Some(from), task.state)));
        }
    }

    fn happen(&mut self, what: &Do) -> Outcome {
        match *what {
            Do::Create(id, links, is_todo) => self.ask(&TaskAsk::Create(id, links, is_todo))?,
            Do::Claim(id, hold) => self.ask(&TaskAsk::Claim(id, hold))?,
            Do::Act(id, back, act) => {
                let fence = back.and_then(|back| self.fences[id].iter().rev().nth(back).copied());
                // Only who claimed gives back and renews.
                if fence.is_some() || matches!(act, TaskAct::Move(_)) {
                    self.ask(&TaskAsk::Act(id, fence, act))?;
                }
            }
            Do::Sweep => self.ask(&TaskAsk::Sweep)?,
            Do::Wait(micros) => self.clocked.clock.advance(micros),
            Do::SetWall(back) => {
                let wall_us = self.clocked.clock.wall_us();
                self.clocked.clock.set_wall(if back {
                    wall_us - 1_800 * SECOND
                } else {
                    wall_us + 1_800 * SECOND
                });
            }
            Do::Reopen(is_closed) => self.reopen(is_closed)?,
        }
        self.look()
    }

    /// How every task stands is what the model expects, and so is its way there.
    fn look(&self) -> Outcome {
        let (tasks, time) = (Tasks::new(self.log()), self.time());
        for id in 0..IDS {
            let found = tasks.find(&name(id))?;
            let seen = found.map(|task| {
                let fence = task.fence.map(Position::get);
                let held = (task.is_held, task.is_expired);
                (task.state, task.depth, task.attempt, fence, held)
            });
            let expected = self.board.tasks.get(&id).map(|task| {
                let held = (task.held.is_some(), task.is_over(&time));
                (task.state, task.depth, task.attempt, task.fence, held)
            });
            assert_eq!(seen, expected, "{id}");
            let way = tasks.history(&name(id))?;
            let way = way.map(|entry| entry.map(|entry| (entry.from, entry.to)));
            let way = way.collect::<Result<Vec<_>, _>>()?;
            assert_eq!(way, self.ways[id], "{id}");
        }
        for state in TaskState::ALL {
            let count = tasks.list(&TaskFilter::new().state(*state))?.len();
            let known = self.board.tasks.values();
            assert_eq!(count, known.filter(|task| task.state == *state).count());
        }
        let all = tasks.list(&TaskFilter::new())?;
        assert_eq!(all.len(), self.board.tasks.len());
        Ok(())
    }

    fn reopen(&mut self, is_closed: bool) -> Outcome {
        let log = self.log.take().ok_or("it is open")?;
        self.opened_us = self.clocked.clock.monotonic_us();
        self.log = Some(self.clocked.restart(log, is_closed)?);
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
    for _ in 0..120 {
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
