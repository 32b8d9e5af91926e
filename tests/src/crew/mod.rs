//! A plain model of agents and of the tasks that they do, written from the description: who asks decides
//! what is let, and what an agent held that is gone is to be done again.
//!
//! ```text
//!  Staff    agents, helpers, messages (staff)
//!  Trays    tasks, in trays and elsewhere (trays)
//!  Crew     both, and which agent holds which task
//!  ask      the same question put to a real log
//! ```

mod ask;

pub(crate) use ask::NOBODY;
pub use ask::{Handles, ask};

use crate::calls::{Plain, Said, Time};
use crate::staff::{By, Doing, Staff, StaffAsk, Staffed, gone};
use crate::tasks::{Board, Caller, Links, TaskAsk};
use crate::trays::{TrayAsk, Trays};
use std::collections::BTreeMap;

/// Of more tasks than these it is not looked at which of them somebody has come to.
const MOST_BACK: usize = 5;

/// What is asked of agents and their tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrewAsk {
    /// Something about tasks; what is claimed is for this agent, or for nobody who is known.
    Work(By, TrayAsk, Option<usize>),
    /// Something about agents.
    Staff(Staffed),
    /// To record everything that is over.
    Sweep(By),
}

/// Agents and tasks as they may stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Crew {
    /// Agents.
    pub staff: Staff,
    /// Tasks.
    pub trays: Trays,
    /// The agent that holds a task.
    pub holders: BTreeMap<usize, usize>,
}

impl Default for Crew {
    fn default() -> Self {
        let mut crew = Self {
            staff: Staff::default(),
            trays: Trays::default(),
            holders: BTreeMap::new(),
        };
        crew.trays.board.admits = true;
        crew
    }
}

impl Crew {
    fn board(&self) -> &Board {
        &self.trays.board
    }

    /// Nobody holds what is not held.
    fn tidy(&mut self) {
        let board = &self.trays.board;
        self.holders.retain(|id, _| {
            let task = board.tasks.get(id);
            task.is_some_and(|task| task.held.is_some())
        });
    }

    fn held_by(&self, names: &[usize]) -> Vec<usize> {
        let held = self.holders.iter();
        let held = held.filter(|(_, holder)| names.contains(holder));
        held.map(|(id, _)| *id).collect()
    }

    /// What these agents held is to be done again; how many tasks that were.
    fn release(&mut self, names: &[usize]) -> usize {
        let held = self.held_by(names);
        for id in &held {
            self.trays.back(*id);
        }
        self.tidy();
        held.len()
    }

    fn retired(&self) -> Vec<usize> {
        let all = self.staff.agents.iter();
        let retired = all.filter(|(_, agent)| agent.doing == Doing::Retired);
        retired.map(|(name, _)| *name).collect()
    }

    /// What counts of who asks that, and claims as this agent.
    fn caller(&self, by: By, ask: &TrayAsk, claims_as: Option<usize>) -> Caller {
        let links = match ask {
            TrayAsk::Add(_, _, links, ..) | TrayAsk::Task(TaskAsk::Create(_, links, _)) => *links,
            _ => Links::default(),
        };
        let made_by = links
            .made_by
            .and_then(|maker| self.staff.agents.get(&maker));
        let caller = self.staff.caller(by);
        let claims_as = claims_as.and_then(|agent| self.staff.agents.get(&agent));
        let mut makers = caller.into_iter().chain(made_by);
        Caller {
            sleeps: makers.any(|agent| agent.doing == Doing::Sleeps),
            is_retired: claims_as.is_some_and(|agent| agent.doing == Doing::Retired),
        }
    }

    fn work(
        &self,
        (by, ask, holder): (By, &TrayAsk, Option<usize>),
        time: &Time,
        at: Option<u64>,
    ) -> (Said, Self) {
        let reaped = self.reaped_for(by, ask, time);
        let mut next = reaped.clone();
        let claims_as = claims_as(by, holder);
        next.trays.board.caller = next.caller(by, ask, claims_as);
        let (said, trays) = next.trays.ask(ask, time, at);
        next.trays = trays;
        next.trays.board.caller = Caller::default();
        // Nothing is asked of the log's writer about what is not there, or cannot be.
        let not_asked = ["task_not_found", "task_not_in_tray", "bad_lease"];
        let is_there = !matches!(said, Said::Refused(code) if not_asked.contains(&code));
        let is_sweep = matches!(ask, TrayAsk::Sweep | TrayAsk::Task(TaskAsk::Sweep));
        let gives_command = is_there && (!is_sweep || next.trays != reaped.trays);
        if !gives_command {
            return (said, reaped);
        }
        if self.staff.is_barred(by) {
            return (Said::Refused("agent_revoked"), reaped);
        }
        next.staff.enter(by);
        next.tidy();
        let claimed = match (ask, &said) {
            (TrayAsk::Task(TaskAsk::Claim(id, _)), Said::Held(_)) | (_, Said::Taken(id, _)) => *id,
            _ => return (said, next),
        };
        match claims_as {
            Some(agent) => next.holders.insert(claimed, agent),
            None => next.holders.remove(&claimed),
        };
        (said, next)
    }

    /// Whether somebody is let go before this is done.
    pub fn takes_steps(&self, ask: &TrayAsk, time: &Time) -> bool {
        is_claim(ask) && !self.staff.due(time).is_empty()
    }

    /// How it stands when a claim has let those go who are due; who was revoked lets nobody go.
    fn reaped_for(&self, by: By, ask: &TrayAsk, time: &Time) -> Self {
        if !is_claim(ask) || self.staff.is_barred(by) {
            return self.clone();
        }
        self.staff(&reap(by), time, None).1
    }

    fn staff(&self, asked: &Staffed, time: &Time, at: Option<u64>) -> (Said, Self) {
        let mut next = self.clone();
        let (said, staff, names) = self.staff.ask(asked, time, at);
        next.staff = staff;
        let held = names
            .iter()
            .map(|name| (*name, self.held_by(&[*name]).len()));
        let said = match (&asked.ask, said) {
            (StaffAsk::Reap, Said::At(_)) => Said::Heard(gone(held)),
            (_, said) => said,
        };
        next.release(&names);
        (said, next)
    }

    fn sweep(&self, by: By, time: &Time) -> (Said, Self) {
        let (_, staff, names) = self.staff.ask(&reap(by), time, None);
        let mut next = self.clone();
        next.staff = staff;
        let mut tasks = next.release(&names);
        tasks += next.release(&next.retired());
        let over = next.board().over(time);
        for id in &over {
            next.trays.back(*id);
        }
        next.tidy();
        (swept(tasks + over.len(), names.len()), next)
    }

    /// How it may stand when some of these tasks went back.
    fn some_back(self, ids: &[usize]) -> Vec<Self> {
        if ids.len() > MOST_BACK {
            return vec![self];
        }
        let some = (0..1_u32 << ids.len()).map(|which| {
            let mut next = self.clone();
            for (number, id) in ids.iter().enumerate() {
                if which >> number & 1 == 1 {
                    next.trays.back(*id);
                }
            }
            next.tidy();
            next
        });
        some.collect()
    }

    fn with(&self, staff: Staff) -> Self {
        Self {
            staff,
            ..self.clone()
        }
    }
}

/// The agent that a claim is of, which says that this one holds: who has a credential claims as
/// himself.
fn claims_as(by: By, holder: Option<usize>) -> Option<usize> {
    match by {
        By::Agent(name) => Some(name),
        By::Person(_) => None,
        By::Program => holder,
    }
}

fn is_claim(ask: &TrayAsk) -> bool {
    matches!(ask, TrayAsk::Take(..) | TrayAsk::Task(TaskAsk::Claim(..)))
}

fn reap(by: By) -> Staffed {
    let ask = StaffAsk::Reap;
    Staffed { by, ask }
}

/// What a sweep answers.
fn swept(tasks: usize, helpers: usize) -> Said {
    Said::Heard(format!("swept {tasks} tasks, {helpers} helpers"))
}

impl Plain for Crew {
    type Ask = CrewAsk;

    fn ask(&self, ask: &CrewAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        match ask {
            CrewAsk::Work(by, ask, holder) => self.work((*by, ask, *holder), time, at),
            CrewAsk::Staff(asked) => self.staff(asked, time, at),
            CrewAsk::Sweep(by) => self.sweep(*by, time),
        }
    }

    fn partly(&self, ask: &CrewAsk, time: &Time) -> Vec<Self> {
        let asked = match ask {
            CrewAsk::Work(by, ask, _) => {
                if self.staff.is_barred(*by) {
                    return Vec::new();
                }
                let mut all = Vec::new();
                let reaped = self.reaped_for(*by, ask, time);
                if reaped != *self {
                    all = self.partly(&CrewAsk::Staff(reap(*by)), time);
                    all.push(reaped.clone());
                }
                let begun = reaped.trays.partly(ask, time).into_iter().map(|trays| {
                    let mut next = reaped.clone();
                    next.staff.enter(*by);
                    next.trays = trays;
                    next.tidy();
                    next
                });
                all.extend(begun);
                return all;
            }
            CrewAsk::Staff(asked) => asked.clone(),
            CrewAsk::Sweep(by) => reap(*by),
        };
        let mut begun: Vec<Self> = Vec::new();
        let all = self.staff.partly(&asked, time).into_iter();
        begun.extend(all.map(|staff| self.with(staff)));
        let (said, staff, names) = self.staff.ask(&asked, time, None);
        // Whoever was let go still holds what it held, or some of it.
        if !names.is_empty() {
            let is_spawn = matches!(asked.ask, StaffAsk::Spawn(..));
            let before = match (is_spawn, begun.last()) {
                (true, Some(before)) => before.clone(),
                _ => self.with(staff),
            };
            begun.extend(before.some_back(&self.held_by(&names)));
        }
        if let (CrewAsk::Sweep(_), Said::At(_)) = (ask, said) {
            let mut gone = begun.last().unwrap_or(self).clone();
            let held = gone.held_by(&gone.retired());
            begun.extend(gone.clone().some_back(&held));
            gone.release(&gone.retired());
            let over = gone.board().over(time);
            begun.extend(gone.some_back(&over));
        }
        begun
    }
}
