//! What agents ask of the tasks of a simulated log.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use crate::calls::{Lost, Said, Told};
use crate::staff::{MARKER, WINDOW_S};
use crate::tasks::{self, Board, COMPLETED, IDENTITY, Links, MAX_DEPTH, TaskAct, TaskAsk};
use runstone_projections::Settings;
use runstone_projections::tasks::{Task, TaskState, Tasks};
use runstone_store::Log;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const IDS: usize = 7;

/// The settings that the models go by.
pub(super) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.loops.max_depth = MAX_DEPTH;
    settings.loops.identity_window = IDENTITY;
    settings.loops.completed_window = COMPLETED;
    settings.orders.text_markers = vec![MARKER.to_owned()];
    settings.orders.window_s = WINDOW_S;
    settings
}

type Client<'a> = Pin<Box<dyn Future<Output = Told> + 'a>>;

fn name(round: u64, id: usize) -> String {
    format!("task-{round}-{id}")
}

impl Simulation {
    fn tasks_of(&self, log: &Log) -> Tasks {
        let stream = format!("{STREAMS}tasks-{}", self.agents.round);
        Tasks::new(log).stream(stream).scope(SCOPE)
    }

    fn any_id(&mut self) -> usize {
        self.numbers.below(IDS)
    }

    fn any_link(&mut self, known: &[usize]) -> Option<usize> {
        let any = self.any_id();
        let known = known.get(any % known.len().max(1)).copied();
        match self.numbers.below(8) {
            0..=2 => known,
            3 => Some(any),
            _ => None,
        }
    }

    fn any_task(&mut self) -> TaskAsk {
        let known: Vec<usize> = self.agents.board.all()[0].tasks.keys().copied().collect();
        let what = self.numbers.below(20);
        let is_known = !known.is_empty() && self.numbers.below(8) > 0;
        // Which has ended is created anew, now and then.
        let id = if is_known && (what > 4 || self.numbers.below(3) == 0) {
            known[self.numbers.below(known.len())]
        } else {
            self.any_id()
        };
        let what = if known.is_empty() { 0 } else { what };
        let fences = self.agents.fences.get(&id);
        let newest = fences.and_then(|fences| fences.last().copied());
        let late = fences.and_then(|fences| fences.iter().rev().nth(1).copied());
        match what {
            0..=4 => {
                let links = Links {
                    parent: self.any_link(&known),
                    creator: self.any_link(&known),
                    agent: (self.numbers.below(2) == 0).then(|| self.numbers.below(2)),
                    task_type: (self.numbers.below(2) == 0).then(|| self.numbers.below(2)),
                };
                TaskAsk::Create(id, links, self.numbers.below(3) > 0)
            }
            5..=9 => TaskAsk::Claim(id, self.hold_us()),
            10 => TaskAsk::Sweep,
            _ => {
                let fence = [newest, newest, late, None][self.numbers.below(4)];
                let act = match (self.numbers.below(8), fence) {
                    (0, Some(_)) => TaskAct::Release,
                    (1, Some(_)) => TaskAct::Fail,
                    (2, Some(_)) => TaskAct::Renew(self.hold_us()),
                    (3..=5, Some(_)) => TaskAct::Move(TaskState::Done),
                    _ => TaskAct::Move(TaskState::ALL[self.numbers.below(TaskState::ALL.len())]),
                };
                TaskAsk::Act(id, fence, act)
            }
        }
    }

    /// A few clients at once.
    pub(super) fn ask_tasks(&mut self) {
        let log = self.log().clone();
        let (tasks, round) = (self.tasks_of(&log), self.agents.round);
        let mut asking: Vec<(TaskAsk, Option<Client<'_>>, Option<Told>)> = Vec::new();
        for _ in 0..1 + self.numbers.below(3) {
            let (ask, tasks) = (self.any_task(), &tasks);
            let what = ask.clone();
            let client: Client<'_> =
                Box::pin(async move { tasks::ask(tasks, |id| name(round, id), &what).await });
            let is_sweep = ask == TaskAsk::Sweep;
            asking.push((ask, Some(client), None));
            // One that takes several steps goes alone.
            if is_sweep {
                asking.drain(..asking.len() - 1);
                break;
            }
        }
        let time = self.asked_at();
        let struck = self.machine.struck();
        let mut context = Context::from_waker(Waker::noop());
        let mut was_dropped = false;
        while asking.iter().any(|(_, client, _)| client.is_some()) {
            let at = self.numbers.below(asking.len());
            let (_, client, told) = &mut asking[at];
            let Some(waiting) = client else {
                continue;
            };
            if self.numbers.below(40) == 0 {
                *client = None;
                was_dropped = true;
            } else if let Poll::Ready(answer) = waiting.as_mut().poll(&mut context) {
                (*client, *told) = (None, Some(answer));
            }
        }
        // What was queued and given up is decided when this returns.
        if was_dropped && log.sync_blocking().is_err() {
            self.fail();
        }
        let is_unknown = |told: &Option<Told>| matches!(told, Some(Err(Lost::Unknown(_))));
        let any_unknown = asking.iter().any(|(_, _, told)| is_unknown(told));
        if self.machine.struck() > struck || any_unknown {
            self.fail();
        }
        let mut asked = Vec::new();
        for (ask, _, told) in asking {
            self.tally.requests += 1;
            self.say(|| format!("  {ask:?} {told:?}"));
            let heard = self.heard(told);
            if let (TaskAsk::Claim(id, _), Some((Said::Held(_), Some(fence)))) = (&ask, &heard) {
                let fences = self.agents.fences.entry(*id).or_default();
                let is_newer = fences.last().is_none_or(|last| last < fence);
                assert!(is_newer, "the fence {fence} of task {id} is an older one");
                fences.push(*fence);
            }
            asked.push((ask, heard));
        }
        self.agents.board.take(&asked, &time);
    }

    /// Tasks are as the model expects; why that cannot be seen.
    pub(super) fn see_tasks(&mut self) -> Option<String> {
        let (log, time) = (self.log().clone(), self.asked_at());
        let (tasks, round) = (self.tasks_of(&log), self.agents.round);
        let found: Result<Vec<Option<Task>>, _> =
            (0..IDS).map(|id| tasks.find(&name(round, id))).collect();
        let found = match found {
            Ok(found) => found,
            Err(error) => return Some(error.to_string()),
        };
        let agrees = |board: &mut Board| {
            found.iter().enumerate().all(|(id, found)| {
                let (Some(task), Some(found)) = (board.tasks.get_mut(&id), found) else {
                    return found.is_none() && !board.tasks.contains_key(&id);
                };
                let fence = found.fence.map(runstone_codec::Position::get);
                if task.is_claimed && task.fence.is_none() {
                    task.fence = fence;
                }
                (found.state, found.depth, found.attempt) == (task.state, task.depth, task.attempt)
                    && task.fence == fence
                    && found.is_held == task.held.is_some()
                    && found.is_expired == task.is_over(&time)
            })
        };
        self.agents.board.see(&found, agrees);
        None
    }
}
