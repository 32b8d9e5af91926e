//! Looking at the tasks of a simulated log, in trays and elsewhere: they stand as the model expects.

use super::Simulation;
use super::tasks::{IDS, TRAYS, name, tray_name};
use crate::calls::Time;
use crate::crew::{Crew, NOBODY};
use crate::tamper::Outcome;
use crate::trays::{Names, Trays};
use runstone_codec::Position;
use runstone_projections::tasks::{Task, TaskId, TaskState};
use runstone_projections::trays::{Tray, TrayTask};
use runstone_store::Log;

/// What the log says.
#[derive(Debug)]
struct Seen {
    tasks: Vec<Option<Task>>,
    lying: Vec<Option<TrayTask>>,
    trays: Vec<Option<Tray>>,
    /// The tasks of each tray in their order, and its dead letters.
    listed: Vec<[Vec<TaskId>; 2]>,
    round: u64,
}

impl Simulation {
    /// Tasks and trays are as the model expects; why that cannot be seen.
    pub(super) fn see_tasks(&mut self) -> Option<String> {
        let (log, time) = (self.asked_log(), self.asked_at());
        let seen = match self.look_at_tasks(&log) {
            Ok(seen) => seen,
            Err(error) => return Some(error.to_string()),
        };
        let names = self.crew_names();
        let agrees = |world: &mut Crew| {
            (0..IDS).all(|id| {
                is_task(world, &seen, id, &time)
                    && lies(&world.trays, &seen, id)
                    && is_holder(world, names, &seen, id)
            }) && (0..TRAYS).all(|tray| is_tray(&world.trays, &seen, tray))
        };
        self.agents.crew.see(&seen, agrees);
        let dead = seen.trays.iter().flatten().map(|tray| tray.dead_letters);
        self.tally.dead = self.tally.dead.max(dead.sum());
        None
    }

    fn look_at_tasks(&self, log: &Log) -> Outcome<Seen> {
        let (tasks, trays) = (self.tasks_of(log), Self::trays_of(log));
        let round = self.agents.round;
        let mut seen = Seen {
            tasks: Vec::new(),
            lying: Vec::new(),
            trays: Vec::new(),
            listed: Vec::new(),
            round,
        };
        for id in 0..IDS {
            let task = tasks.find(&name(round, id))?;
            let lying = match &task {
                Some(task) => trays.get(&task.id)?,
                None => None,
            };
            seen.tasks.push(task);
            seen.lying.push(lying);
        }
        for tray in 0..TRAYS {
            let name = tray_name(round, tray);
            let found = trays.tray(&name)?;
            let ids = |tasks: Vec<TrayTask>| tasks.into_iter().map(|task| task.task.id).collect();
            seen.listed.push(match found {
                Some(_) => [ids(trays.list(&name)?), ids(trays.dead_letters(&name)?)],
                None => Default::default(),
            });
            seen.trays.push(found);
        }
        Ok(seen)
    }
}

impl Seen {
    /// Whether these are those tasks, in this order.
    fn are(&self, found: impl Iterator<Item = TaskId>, known: &[usize]) -> bool {
        let id = |number: &usize| self.tasks[*number].as_ref().map(|task| &task.id);
        let found: Vec<TaskId> = found.collect();
        found.iter().map(Some).eq(known.iter().map(id))
    }
}

/// Whether the agent that holds it is the one that claimed it, and is not gone: what an agent held that is was given back.
fn is_holder(world: &Crew, names: Names, seen: &Seen, id: usize) -> bool {
    let held = seen.tasks[id].as_ref().filter(|found| found.is_held);
    let holder = world.holders.get(&id).copied();
    let agent = holder.map(|agent| (names.agent)(names.round, agent));
    held.is_none_or(|found| {
        let held_as = found.held_as.as_deref();
        held_as.filter(|name| *name != NOBODY) == agent.as_deref()
    })
}

fn is_task(world: &mut Crew, seen: &Seen, id: usize, time: &Time) -> bool {
    let board = &mut world.trays.board;
    let (Some(task), Some(found)) = (board.tasks.get_mut(&id), &seen.tasks[id]) else {
        return seen.tasks[id].is_none() && !board.tasks.contains_key(&id);
    };
    let fence = found.fence.map(Position::get);
    if task.is_claimed && task.fence.is_none() {
        task.fence = fence;
    }
    (found.state, found.depth, found.attempt) == (task.state, task.depth, task.attempt)
        && task.fence == fence
        && found.is_held == task.held.is_some()
        && found.is_expired == task.is_over(time)
}

fn lies(world: &Trays, seen: &Seen, id: usize) -> bool {
    let (Some(lying), Some(found)) = (world.lying.get(&id), &seen.lying[id]) else {
        return seen.lying[id].is_none() && !world.lying.contains_key(&id);
    };
    let before = found.depends_on.iter().map(|before| before.id.clone());
    found.tray == tray_name(seen.round, lying.tray)
        && found.priority == lying.wants.priority
        && seen.are(before, &lying.wants.after)
        && found.is_ready == world.is_ready(id)
        && found.is_stuck == world.is_stuck(id)
        && found.dead_letter.is_some() == lying.is_dead
}

fn is_tray(world: &Trays, seen: &Seen, tray: usize) -> bool {
    let (Some(is_closed), Some(found)) = (world.trays.get(&tray), &seen.trays[tray]) else {
        return seen.trays[tray].is_none() && !world.trays.contains_key(&tray);
    };
    let [listed, dead] = &seen.listed[tray];
    let there = world.of_tray(tray);
    let count =
        |which: &dyn Fn(usize) -> bool| there.iter().filter(|id| which(**id)).count() as u64;
    let is_dead = |id| world.lying.get(&id).is_some_and(|lying| lying.is_dead);
    found.closed.is_some() == *is_closed
        && seen.are(listed.iter().cloned(), &there)
        && dead.len() as u64 == count(&is_dead)
        && found.open == world.open(tray)
        && found.ready == count(&|id| world.is_ready(id))
        && found.in_progress == world.count(tray, &[TaskState::InProgress])
        && found.done == world.count(tray, &[TaskState::Done])
        && found.cancelled == world.count(tray, &[TaskState::Cancelled])
        && found.dead_letters == count(&is_dead)
}
