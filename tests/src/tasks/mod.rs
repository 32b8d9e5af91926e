//! A plain model of tasks, written from their description and not from the code that decides them.

mod ask;

pub(crate) use ask::of_task;
pub use ask::{ask, new_task};

use crate::calls::{Held, Plain, Said, Time};
use runstone_projections::Hold;
use runstone_projections::tasks::TaskState;
use std::collections::{BTreeMap, BTreeSet};

/// The deepest that a task may stand, in the settings that the model goes by.
pub const MAX_DEPTH: u64 = 2;
/// Ancestors that must not have the same agent and type.
pub const IDENTITY: u64 = 2;
/// Completed tasks that must not come again.
pub const COMPLETED: u64 = 2;

/// What is asked of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAsk {
    /// To create one, in todo or in the backlog.
    Create(usize, Links, bool),
    /// To hold it; for how long.
    Claim(usize, Hold),
    /// Something is done to it, by the holder of the claim at this position or by nobody.
    Act(usize, Option<u64>, TaskAct),
    /// To record every lease that is over.
    Sweep,
}

/// What a new task says of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The task that it is a part of.
    pub parent: Option<usize>,
    /// The task in which it was thought of.
    pub creator: Option<usize>,
    /// Who is to do it.
    pub agent: Option<usize>,
    /// What kind of work it is.
    pub task_type: Option<usize>,
    /// The agent that made it, as it says.
    pub made_by: Option<usize>,
    /// It does not say all that the settings may ask for.
    pub is_vague: bool,
}

/// What counts of who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// It has nothing to do, and makes no work for itself.
    pub sleeps: bool,
    /// It is gone for good, and claims nothing.
    pub is_retired: bool,
}

/// What is done to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAct {
    /// It goes to a state.
    Move(TaskState),
    /// Its holder gives it back.
    Release,
    /// Its holder failed.
    Fail,
    /// Its holder goes on.
    Renew(Hold),
}

/// A task, as it may stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// How.
    pub state: TaskState,
    /// Ancestors, by parents.
    pub depth: u64,
    /// Which attempt.
    pub attempt: u64,
    /// Its claim in force.
    pub held: Option<Held>,
    /// Position of its newest claim, if that is known.
    pub fence: Option<u64>,
    /// Whether it was ever claimed in this life.
    pub is_claimed: bool,
    links: Links,
    /// It ended by its newest claim.
    is_ended_by_claim: bool,
    completed: Option<u64>,
}

/// Tasks as they may stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// Each that was ever created.
    pub tasks: BTreeMap<usize, Task>,
    /// Who asks now.
    pub caller: Caller,
    /// What tasks must say is asked.
    pub admits: bool,
    completed: u64,
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

impl Task {
    /// Whether its lease is over and nobody has recorded that.
    pub fn is_over(&self, time: &Time) -> bool {
        self.held.is_some_and(|held| held.is_over(time))
    }
}

impl Board {
    /// It goes to a state, whoever moves it.
    pub(crate) fn go(&mut self, id: usize, to: TaskState) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.state = to;
        task.is_ended_by_claim = false;
        if to != TaskState::InProgress {
            task.held = None;
        }
        if to == TaskState::Done {
            self.completed += 1;
            task.completed = Some(self.completed);
        }
    }

    /// The way of a task whose holder is gone.
    pub(crate) fn back(&mut self, id: usize) {
        self.go(id, TaskState::Blocked);
        self.go(id, TaskState::Todo);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.attempt += 1;
        }
    }

    /// The way of one that is not attempted again when its claim ends.
    pub(crate) fn give_up(&mut self, id: usize) {
        self.go(id, TaskState::Blocked);
        self.go(id, TaskState::Cancelled);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.is_ended_by_claim = true;
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
            if seen.insert(next)
                && let Some(task) = self.tasks.get(&next)
            {
                open.extend(both(&task.links));
            }
        }
        false
    }

    /// Why a task is not created, in the order in which that is told; how deep it is otherwise.
    fn judge(&self, id: usize, links: Links) -> Result<u64, &'static str> {
        if self.admits && links.is_vague {
            return Err("admission_incomplete");
        }
        if self.caller.sleeps {
            return Err("agent_idle");
        }
        let parent = match links.parent {
            Some(parent) if parent == id && !self.tasks.contains_key(&id) => {
                return Err("cycle_detected");
            }
            Some(parent) => Some(self.tasks.get(&parent).ok_or("task_parent_not_found")?),
            None => None,
        };
        let depth = parent.map_or(0, |task| task.depth + 1);
        if depth > MAX_DEPTH {
            return Err("depth_exceeded");
        }
        if self.leads(links, id) {
            return Err("cycle_detected");
        }
        let mut ancestor = links.parent;
        for _ in 0..IDENTITY {
            let Some(task) = ancestor.and_then(|id| self.tasks.get(&id)) else {
                break;
            };
            let is_said = links.agent.is_some() && links.task_type.is_some();
            let same = (task.links.agent, task.links.task_type) == (links.agent, links.task_type);
            if is_said && same {
                return Err("identity_loop");
            }
            ancestor = task.links.parent;
        }
        let before = self.tasks.get(&id);
        if before.is_some_and(|task| !has_ended(task.state)) {
            return Err("task_exists");
        }
        let completed = before.and_then(|task| task.completed);
        if completed.is_some_and(|number| self.completed - number < COMPLETED) {
            return Err("reprocess_detected");
        }
        Ok(depth)
    }

    fn create(&mut self, id: usize, links: Links, state: TaskState) -> Said {
        let depth = match self.judge(id, links) {
            Ok(depth) => depth,
            Err(why) => return Said::Refused(why),
        };
        let task = Task {
            state,
            depth,
            attempt: 1,
            held: None,
            fence: None,
            is_claimed: false,
            links,
            is_ended_by_claim: false,
            completed: self.tasks.get(&id).and_then(|task| task.completed),
        };
        self.tasks.insert(id, task);
        Said::At(None)
    }

    fn claim(&mut self, id: usize, hold: Hold, time: &Time, at: Option<u64>) -> Said {
        if self.caller.is_retired && self.tasks.contains_key(&id) {
            return Said::Refused("agent_retired");
        }
        if self.tasks.get(&id).is_some_and(|task| task.is_over(time)) {
            self.back(id);
        }
        let Some(task) = self.tasks.get_mut(&id) else {
            return Said::Refused("task_not_found");
        };
        if task.held.is_some() {
            return Said::Refused("task_held");
        }
        if task.state != TaskState::Todo {
            return Said::Refused("task_not_claimable");
        }
        task.held = Some(Held::from(time, hold));
        task.fence = at;
        task.is_claimed = true;
        let attempt = task.attempt;
        self.go(id, TaskState::InProgress);
        Said::Held(attempt)
    }

    fn act(&mut self, id: usize, fence: Option<u64>, act: TaskAct, time: &Time) -> Said {
        let Some(task) = self.tasks.get(&id).cloned() else {
            return Said::Refused("task_not_found");
        };
        if fence.is_some() {
            let is_its = task.fence == fence;
            if let TaskAct::Move(to) = act
                && has_ended(to)
                && task.state == to
                && is_its
                && task.is_ended_by_claim
            {
                return Said::At(None);
            }
            if task.held.is_none() || !is_its {
                return Said::Refused("stale_claim");
            }
        } else if task.is_over(time) {
            self.back(id);
        }
        match act {
            TaskAct::Move(to) => {
                let Some(task) = self.tasks.get(&id) else {
                    return Said::Refused("task_not_found");
                };
                if !may_follow(task.state, to) {
                    return Said::Refused("task_move_refused");
                }
                let takes_away = matches!(to, TaskState::Blocked | TaskState::Cancelled);
                if fence.is_none() && task.held.is_some() && !takes_away {
                    return Said::Refused("task_held");
                }
                self.go(id, to);
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.is_ended_by_claim = fence.is_some();
                }
            }
            TaskAct::Release | TaskAct::Fail => self.back(id),
            TaskAct::Renew(hold) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.held = Some(Held::from(time, hold));
                }
            }
        }
        Said::At(None)
    }

    /// Those whose lease is over and that nobody has recorded so.
    pub(crate) fn over(&self, time: &Time) -> Vec<usize> {
        let over = self.tasks.iter().filter(|(_, task)| task.is_over(time));
        over.map(|(id, _)| *id).collect()
    }
}

impl Plain for Board {
    type Ask = TaskAsk;

    fn ask(&self, ask: &TaskAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        let mut next = self.clone();
        let said = match ask {
            TaskAsk::Create(id, links, is_todo) => {
                let state = if *is_todo {
                    TaskState::Todo
                } else {
                    TaskState::Backlog
                };
                next.create(*id, *links, state)
            }
            TaskAsk::Claim(id, hold) => next.claim(*id, *hold, time, at),
            TaskAsk::Act(id, fence, act) => next.act(*id, *fence, *act, time),
            TaskAsk::Sweep => {
                for id in self.over(time) {
                    next.back(id);
                }
                Said::At(None)
            }
        };
        (said, next)
    }

    fn partly(&self, ask: &TaskAsk, time: &Time) -> Vec<Self> {
        // Which are swept first is not said, and few are over at a time.
        let over = self.over(time);
        if *ask != TaskAsk::Sweep || over.len() > 6 {
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
        (1..1_u32 << over.len()).map(some_of).collect()
    }
}
