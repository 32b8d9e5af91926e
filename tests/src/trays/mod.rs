//! A plain model of trays and of the tasks that lie in them, written from their description and not
//! from the code that decides them.
//!
//! ```text
//!  Board    how each task stands, wherever it lies (tasks)
//!  Trays    the same, and where each lies, what it waits for, and what was attempted too often
//!  ask      the same question put to a real log
//! ```

mod ask;

pub use ask::{Names, ask};
pub(crate) use ask::{at, of_claim, of_tray};

use crate::calls::{Plain, Said, Time};
use crate::tasks::{Board, Links, TaskAct, TaskAsk};
use runstone_projections::Hold;
use runstone_projections::tasks::TaskState;
use std::collections::{BTreeMap, BTreeSet};

/// After so many attempts a task of a tray is not claimed again, in the settings that the model goes
/// by.
pub const ATTEMPTS: u64 = 2;
/// Of more tasks than these it is not looked at which of them somebody has come to.
const MOST_OVER: usize = 6;

/// What is asked of trays, and of the tasks that lie in them or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrayAsk {
    /// Something by the rules of tasks alone.
    Task(TaskAsk),
    /// To open a tray.
    Open(usize),
    /// To close it.
    Close(usize),
    /// To put a task into a tray, in todo or in the backlog.
    Add(usize, usize, Links, Wants, bool),
    /// To hold what is next in a tray; for how long.
    Take(usize, Hold),
    /// Something that the holder of the claim at this position does to a task.
    Act(usize, u64, TrayAct),
    /// To record of every task in a tray that its lease is over.
    Sweep,
}

/// What a task in a tray says of others there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// What is claimed first has the highest.
    pub priority: u64,
    /// The tasks that come before it.
    pub after: Vec<usize>,
}

/// What its holder does to a task of a tray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrayAct {
    /// It is done.
    Complete,
    /// It goes back.
    Release,
    /// It failed.
    Fail,
    /// Its holder goes on.
    Renew(Hold),
}

/// A task that lies in a tray.
#[derive(Clone, Debug, PartialEq)]
pub struct Lying {
    /// Which tray.
    pub tray: usize,
    /// What it said when it was put there.
    pub wants: Wants,
    /// Tasks before it that were not done since.
    pub waits: BTreeSet<usize>,
    /// It was attempted too often.
    pub is_dead: bool,
    /// The lower the older.
    number: u64,
}

/// Trays and tasks as they may stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trays {
    /// Every task, in a tray or not.
    pub board: Board,
    /// Each tray that was opened, and whether it is closed.
    pub trays: BTreeMap<usize, bool>,
    /// The tasks that lie in one.
    pub lying: BTreeMap<usize, Lying>,
    added: u64,
}

impl Trays {
    fn state(&self, id: usize) -> Option<TaskState> {
        self.board.tasks.get(&id).map(|task| task.state)
    }

    /// Whether it can be created: it is not there, or has ended.
    pub fn is_free(&self, id: usize) -> bool {
        let state = self.state(id);
        state.is_none_or(|state| matches!(state, TaskState::Done | TaskState::Cancelled))
    }

    /// Whether it lies in a tray and can be claimed there.
    pub fn is_ready(&self, id: usize) -> bool {
        let waits = self.lying.get(&id).map(|lying| lying.waits.is_empty());
        waits == Some(true) && self.state(id) == Some(TaskState::Todo)
    }

    /// Whether it waits for one that nobody will do as it stands.
    pub fn is_stuck(&self, id: usize) -> bool {
        let is_off = |id: &usize| {
            !self.lying.contains_key(id) || self.state(*id) == Some(TaskState::Cancelled)
        };
        let lying = self.lying.get(&id);
        lying.is_some_and(|lying| lying.waits.iter().any(is_off))
    }

    /// The tasks of a tray, the oldest first.
    pub fn of_tray(&self, tray: usize) -> Vec<usize> {
        let there = self.lying.iter().filter(|(_, lying)| lying.tray == tray);
        let mut there: Vec<_> = there.map(|(id, lying)| (lying.number, *id)).collect();
        there.sort_unstable();
        there.into_iter().map(|(_, id)| id).collect()
    }

    /// Those of a tray that are in one of these states.
    pub fn count(&self, tray: usize, states: &[TaskState]) -> u64 {
        let of_tray = self.of_tray(tray).into_iter();
        let there = of_tray.filter(|id| self.state(*id).is_some_and(|s| states.contains(&s)));
        there.count() as u64
    }

    /// Those of a tray that have not ended.
    pub fn open(&self, tray: usize) -> u64 {
        use TaskState::{Backlog, Blocked, InProgress, InReview, Todo};
        self.count(tray, &[Backlog, Todo, InProgress, InReview, Blocked])
    }

    /// What the rules of tasks say. Tasks that are done then are waited for no longer.
    fn by_task(&mut self, ask: &TaskAsk, time: &Time, at: Option<u64>) -> Said {
        let before = self.board.clone();
        let (said, board) = self.board.ask(ask, time, at);
        self.board = board;
        let is_done = |board: &Board, id: &usize| {
            board
                .tasks
                .get(id)
                .is_some_and(|task| task.state == TaskState::Done)
        };
        let there: Vec<usize> = self.lying.keys().copied().collect();
        for id in there {
            if is_done(&self.board, &id) && !is_done(&before, &id) {
                for lying in self.lying.values_mut() {
                    lying.waits.remove(&id);
                }
            }
        }
        said
    }

    fn task(&mut self, ask: &TaskAsk, time: &Time, at: Option<u64>) -> Said {
        match ask {
            TaskAsk::Claim(id, _) if self.lying.contains_key(id) => Said::Refused("task_in_tray"),
            TaskAsk::Create(id, ..) => {
                let said = self.by_task(ask, time, at);
                if matches!(said, Said::At(_)) {
                    self.lying.remove(id);
                }
                said
            }
            // Whoever gives it back, it goes back as its tray says.
            TaskAsk::Act(id, Some(fence), act) if self.lying.contains_key(id) => match act {
                TaskAct::Release => self.act(*id, *fence, TrayAct::Release, time),
                TaskAct::Fail => self.act(*id, *fence, TrayAct::Fail, time),
                TaskAct::Renew(hold) => self.act(*id, *fence, TrayAct::Renew(*hold), time),
                TaskAct::Move(_) => self.by_task(ask, time, at),
            },
            TaskAsk::Sweep => {
                for id in self.board.over(time) {
                    self.back(id);
                }
                Said::At(None)
            }
            _ => self.by_task(ask, time, at),
        }
    }

    /// Whether what comes before these leads to a task.
    fn leads(&self, after: &[usize], id: usize) -> bool {
        let (mut open, mut seen) = (after.to_vec(), BTreeSet::new());
        while let Some(next) = open.pop() {
            if next == id {
                return true;
            }
            if seen.insert(next)
                && let Some(lying) = self.lying.get(&next)
            {
                open.extend(&lying.wants.after);
            }
        }
        false
    }

    fn add(&mut self, tray: usize, wants: &Wants, create: &TaskAsk, time: &Time) -> Said {
        let TaskAsk::Create(id, ..) = *create else {
            return Said::Failed;
        };
        match self.trays.get(&tray) {
            None => return Said::Refused("tray_not_found"),
            Some(true) => return Said::Refused("tray_closed"),
            Some(false) => {}
        }
        let is_there = |other: &usize| {
            let lying = self.lying.get(other);
            *other == id || lying.is_some_and(|lying| lying.tray == tray)
        };
        if !wants.after.iter().all(is_there) {
            return Said::Refused("dependency_not_found");
        }
        if self.leads(&wants.after, id) {
            return Said::Refused("dependency_cycle");
        }
        let said = self.by_task(create, time, None);
        if matches!(said, Said::At(_)) {
            let is_open = |id: &&usize| self.state(**id) != Some(TaskState::Done);
            let waits = wants.after.iter().filter(is_open).copied().collect();
            self.added += 1;
            let lying = Lying {
                tray,
                wants: wants.clone(),
                waits,
                is_dead: false,
                number: self.added,
            };
            self.lying.insert(id, lying);
        }
        said
    }

    /// The attempt of a task ended and it was not done: it is to be done again, or is a dead letter.
    pub(crate) fn back(&mut self, id: usize) {
        if !self.lying.contains_key(&id) {
            self.board.back(id);
            return;
        }
        let attempt = self.board.tasks.get(&id).map(|task| task.attempt);
        if attempt.is_none_or(|attempt| attempt < ATTEMPTS) {
            self.board.back(id);
            return;
        }
        self.board.give_up(id);
        self.die(id);
    }

    fn die(&mut self, id: usize) {
        if let Some(lying) = self.lying.get_mut(&id) {
            lying.is_dead = true;
        }
    }

    /// Those in one tray, or in any, whose lease is over.
    fn over(&self, tray: Option<usize>, time: &Time) -> Vec<usize> {
        let is_there = |id: &usize| {
            let lying = self.lying.get(id);
            lying.is_some_and(|lying| tray.is_none_or(|tray| lying.tray == tray))
        };
        let mut over = self.board.over(time);
        over.retain(is_there);
        over
    }

    /// What is next in a tray.
    fn next(&self, tray: usize) -> Option<usize> {
        let there = self.of_tray(tray).into_iter();
        // Of equal ones the last is answered, so the oldest comes last.
        let ready = there.rev().filter(|id| self.is_ready(*id));
        ready.max_by_key(|id| self.lying.get(id).map(|lying| lying.wants.priority))
    }

    /// Gives up what is next if it was attempted too often, which happens to tasks that were given
    /// back past their tray; whether it did.
    fn exhaust(&mut self, tray: usize) -> bool {
        let next = self.next(tray);
        let task = next.and_then(|id| Some((id, self.board.tasks.get(&id)?.attempt)));
        let Some((id, _)) = task.filter(|(_, attempt)| *attempt > ATTEMPTS) else {
            return false;
        };
        self.board.go(id, TaskState::Cancelled);
        self.die(id);
        true
    }

    fn take(&mut self, tray: usize, hold: Hold, time: &Time, at: Option<u64>) -> Said {
        if !may_hold(hold) {
            return Said::Refused("bad_lease");
        }
        let Some(is_closed) = self.trays.get(&tray).copied() else {
            return Said::Refused("tray_not_found");
        };
        for id in self.over(Some(tray), time) {
            self.back(id);
        }
        while self.exhaust(tray) {}
        let Some(id) = self.next(tray) else {
            let open = self.open(tray);
            let in_progress = self.count(tray, &[TaskState::InProgress]);
            return nothing(open == 0, is_closed, (open, in_progress));
        };
        match self.by_task(&TaskAsk::Claim(id, hold), time, at) {
            Said::Held(attempt) => Said::Taken(id, attempt),
            said => said,
        }
    }

    fn act(&mut self, id: usize, fence: u64, act: TrayAct, time: &Time) -> Said {
        if !self.lying.contains_key(&id) {
            return Said::Refused("task_not_in_tray");
        }
        let by_task = match act {
            TrayAct::Complete => TaskAct::Move(TaskState::Done),
            TrayAct::Release | TrayAct::Fail => {
                let task = self.board.tasks.get(&id);
                let is_its = |held: u64| held == fence;
                if !task.is_some_and(|task| task.held.is_some() && task.fence.is_some_and(is_its)) {
                    return Said::Refused("stale_claim");
                }
                self.back(id);
                return Said::At(None);
            }
            TrayAct::Renew(hold) if !may_hold(hold) => return Said::Refused("bad_lease"),
            TrayAct::Renew(hold) => TaskAct::Renew(hold),
        };
        self.by_task(&TaskAsk::Act(id, Some(fence), by_task), time, None)
    }
}

/// Whether a task of a tray is held so: for a minute to a day.
fn may_hold(hold: Hold) -> bool {
    match hold {
        Hold::For(lease) | Hold::ByClock(lease) => (60..=86_400).contains(&lease.as_secs()),
        _ => true,
    }
}

/// How an answer begins that a tray is drained.
pub const DRAINED: &str = "drained true";

/// That nothing is to be had in a tray.
pub(crate) fn nothing(drained: bool, is_closed: bool, (open, in_progress): (u64, u64)) -> Said {
    Said::Heard(format!(
        "drained {drained}, closed {is_closed}, {open} open, {in_progress} in progress"
    ))
}

impl Plain for Trays {
    type Ask = TrayAsk;

    fn ask(&self, ask: &TrayAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        let mut next = self.clone();
        let said = match ask {
            TrayAsk::Task(ask) => next.task(ask, time, at),
            TrayAsk::Open(tray) => {
                let is_closed = *next.trays.entry(*tray).or_default();
                if is_closed {
                    Said::Refused("tray_closed")
                } else {
                    Said::At(None)
                }
            }
            TrayAsk::Close(tray) => match next.trays.get_mut(tray) {
                None => Said::Refused("tray_not_found"),
                Some(is_closed) => {
                    *is_closed = true;
                    Said::At(None)
                }
            },
            TrayAsk::Add(tray, id, links, wants, is_todo) => {
                let create = TaskAsk::Create(*id, *links, *is_todo);
                next.add(*tray, wants, &create, time)
            }
            TrayAsk::Take(tray, hold) => next.take(*tray, *hold, time, at),
            TrayAsk::Act(id, fence, act) => next.act(*id, *fence, *act, time),
            TrayAsk::Sweep => {
                for id in next.over(None, time) {
                    next.back(id);
                }
                Said::At(None)
            }
        };
        (said, next)
    }

    fn partly(&self, ask: &TrayAsk, time: &Time) -> Vec<Self> {
        let (tray, over) = match ask {
            TrayAsk::Task(TaskAsk::Sweep) => (None, self.board.over(time)),
            TrayAsk::Take(tray, hold) if may_hold(*hold) && self.trays.contains_key(tray) => {
                (Some(*tray), self.over(Some(*tray), time))
            }
            TrayAsk::Sweep => (None, self.over(None, time)),
            _ => return Vec::new(),
        };
        // Which come first is not said, and few are over at a time.
        if over.len() > MOST_OVER {
            return Vec::new();
        }
        let some_of = |which: u32| {
            let mut next = self.clone();
            for (number, id) in over.iter().enumerate() {
                if which >> number & 1 == 1 {
                    next.back(*id);
                }
            }
            next
        };
        let all = 1..1_u32 << over.len();
        let mut begun: Vec<Self> = all.map(some_of).collect();
        // When none is over any more, those go that were attempted too often.
        if let Some(tray) = tray {
            let mut next = begun.last().unwrap_or(self).clone();
            while next.exhaust(tray) {
                begun.push(next.clone());
            }
        }
        begun
    }
}
