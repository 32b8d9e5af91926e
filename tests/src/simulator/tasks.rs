//! What agents ask of the tasks of a simulated log, in trays and elsewhere.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use super::staff::agent_name;
use crate::calls::{Heard, Lost, Said, Told};
use crate::crew::{self, CrewAsk};
use crate::office::PEOPLE;
use crate::staff::{By, MARKER, PROVEN, REGISTERED, RUNNING, WINDOW_S};
use crate::tamper::Outcome;
use crate::tasks::{COMPLETED, IDENTITY, Links, MAX_DEPTH, TaskAct, TaskAsk};
use crate::trays::{ATTEMPTS, DRAINED, Names, TrayAct, TrayAsk, Wants};
use runstone_projections::tasks::{TaskState, Tasks};
use runstone_projections::trays::Trays;
use runstone_projections::{Hold, Settings};
use runstone_store::Log;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(super) const IDS: usize = 9;
pub(super) const TRAYS: usize = 3;

/// The settings that the models go by.
pub(super) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.loops.max_depth = MAX_DEPTH;
    settings.loops.identity_window = IDENTITY;
    settings.loops.completed_window = COMPLETED;
    settings.trays.max_attempts = ATTEMPTS;
    settings.orders.text_markers = vec![MARKER.to_owned()];
    settings.orders.window_s = WINDOW_S;
    settings.admission.enabled = true;
    settings.helpers.max_registered = REGISTERED;
    settings.helpers.max_running = RUNNING;
    settings
}

type Client<'a> = Pin<Box<dyn Future<Output = Told> + 'a>>;

/// What a task is called.
pub(super) fn name(round: u64, id: usize) -> String {
    format!("task-{round}-{id}")
}

/// What a tray is called.
pub(super) fn tray_name(round: u64, tray: usize) -> String {
    format!("in-{round}-{tray}")
}

impl Simulation {
    /// What agents, tasks and trays of this round are called.
    pub(super) fn crew_names(&self) -> Names {
        Names {
            tray: tray_name,
            task: name,
            agent: agent_name,
            round: self.agents.round,
        }
    }

    pub(super) fn tasks_of(&self, log: &Log) -> Tasks {
        let stream = format!("{STREAMS}tasks-{}", self.agents.round);
        Tasks::new(log).stream(stream).scope(SCOPE)
    }

    pub(super) fn trays_of(log: &Log) -> Trays {
        Trays::new(log).scope(SCOPE)
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

    /// Those that are there, as far as anybody knows.
    fn known_tasks(&self) -> Vec<usize> {
        let board = &self.agents.crew.all()[0].trays.board;
        board.tasks.keys().copied().collect()
    }

    fn any_links(&mut self, known: &[usize]) -> Links {
        Links {
            parent: self.any_link(known),
            creator: self.any_link(known),
            agent: [None, Some(0), Some(0), Some(1)][self.numbers.below(4)],
            task_type: [None, Some(0), Some(0), Some(1)][self.numbers.below(4)],
            made_by: (self.numbers.below(3) == 0).then(|| self.any_agent()),
            is_vague: self.numbers.below(12) == 0,
        }
    }

    /// The newest claim of a task, or an older one now and then.
    fn any_fence(&mut self, id: usize) -> Option<u64> {
        let fences = self.agents.fences.get(&id)?;
        let (newest, late) = (fences.iter().next_back(), fences.iter().nth_back(1));
        let fence = [newest, newest, late][self.numbers.below(3)];
        fence.copied()
    }

    /// Something by the rules of tasks alone.
    fn any_task(&mut self) -> TaskAsk {
        let known = self.known_tasks();
        let what = self.numbers.below(20);
        let is_known = !known.is_empty() && self.numbers.below(8) > 0;
        // Which has ended is created anew, now and then.
        let id = if is_known && (what > 4 || self.numbers.below(3) == 0) {
            known[self.numbers.below(known.len())]
        } else {
            self.any_id()
        };
        let what = if known.is_empty() { 0 } else { what };
        match what {
            0..=4 => {
                let links = self.any_links(&known);
                TaskAsk::Create(id, links, self.numbers.below(3) > 0)
            }
            5..=9 => TaskAsk::Claim(id, self.any_hold()),
            10 => TaskAsk::Sweep,
            _ => {
                let by_holder = self.numbers.below(4) > 0;
                let fence = self.any_fence(id).filter(|_| by_holder);
                let act = match (self.numbers.below(8), fence) {
                    (0, Some(_)) => TaskAct::Release,
                    (1, Some(_)) => TaskAct::Fail,
                    (2, Some(_)) => TaskAct::Renew(self.any_hold()),
                    (3..=5, Some(_)) => TaskAct::Move(TaskState::Done),
                    _ => TaskAct::Move(TaskState::ALL[self.numbers.below(TaskState::ALL.len())]),
                };
                TaskAsk::Act(id, fence, act)
            }
        }
    }

    /// Something that is asked of trays.
    fn any_of_trays(&mut self) -> TrayAsk {
        let mut tray = self.numbers.below(TRAYS);
        let world = &self.agents.crew.all()[0].trays;
        // Mostly one that is open.
        let opened = (0..TRAYS).find(|tray| world.trays.get(tray) == Some(&false));
        if world.trays.get(&tray) == Some(&true) && self.numbers.below(4) > 0 {
            tray = opened.unwrap_or(tray);
        }
        let world = &self.agents.crew.all()[0].trays;
        let is_open = world.trays.get(&tray) == Some(&false);
        let is_empty = is_open && world.open(tray) == 0;
        if !is_open && self.numbers.below(2) == 0 {
            return TrayAsk::Open(tray);
        }
        if is_empty && self.numbers.below(4) > 0 {
            return self.any_addition(tray);
        }
        match self.numbers.below(32) {
            0..=7 => self.any_addition(tray),
            8..=17 => TrayAsk::Take(tray, self.any_hold_of_tray()),
            18..=27 => self.any_holder(tray),
            28..=30 => TrayAsk::Sweep,
            _ if self.numbers.below(8) == 0 => TrayAsk::Close(tray),
            _ => TrayAsk::Open(tray),
        }
    }

    /// A task for a tray, mostly one that lies nowhere and waits for others that are there.
    pub(super) fn any_addition(&mut self, tray: usize) -> TrayAsk {
        let world = &self.agents.crew.all()[0].trays;
        let there = world.of_tray(tray);
        let free: Vec<usize> = (0..IDS).filter(|id| world.is_free(*id)).collect();
        let free = free.get(self.numbers.below(free.len().max(1))).copied();
        let any = self.any_id();
        let id = free.filter(|_| self.numbers.below(8) > 0).unwrap_or(any);
        let mut after = Vec::new();
        for _ in 0..self.numbers.below(3) {
            let other = match there.get(self.numbers.below(there.len().max(1))) {
                Some(other) if self.numbers.below(12) > 0 => *other,
                _ => self.any_id(),
            };
            if !after.contains(&other) {
                after.push(other);
            }
        }
        let priority = self.numbers.below(3) as u64;
        let wants = Wants { priority, after };
        // Mostly one that the rules of tasks let come.
        let links = match self.numbers.below(4) {
            0 => self.any_links(&self.known_tasks()),
            _ => Links::default(),
        };
        TrayAsk::Add(tray, id, links, wants, self.numbers.below(6) > 0)
    }

    /// Mostly one that trays take.
    pub(super) fn any_hold_of_tray(&mut self) -> Hold {
        let at_least = |time: Duration| time.max(Duration::from_secs(60));
        match self.any_hold() {
            hold if self.numbers.below(8) == 0 => hold,
            Hold::For(lease) => Hold::For(at_least(lease)),
            Hold::ByClock(lease) => Hold::ByClock(at_least(lease)),
            hold => hold,
        }
    }

    /// Something that a worker does to what it holds, or held; one that holds nothing takes something.
    fn any_holder(&mut self, tray: usize) -> TrayAsk {
        let there = self.agents.crew.all()[0].trays.of_tray(tray);
        let known = self.known_tasks();
        let of_all = [&there, &there, &there, &known][self.numbers.below(4)];
        let id = of_all.get(self.numbers.below(of_all.len().max(1)));
        let found = id.and_then(|id| Some((*id, self.any_fence(*id)?)));
        let Some((id, fence)) = found else {
            return TrayAsk::Take(tray, self.any_hold_of_tray());
        };
        let act = match self.numbers.below(8) {
            0..=1 => TrayAct::Release,
            2 => TrayAct::Fail,
            3 => TrayAct::Renew(self.any_hold_of_tray()),
            _ => TrayAct::Complete,
        };
        TrayAsk::Act(id, fence, act)
    }

    /// Who asks, and for which agent something is claimed; mostly nobody whom anybody knows.
    fn any_worker(&mut self) -> (By, Option<usize>) {
        let by = match self.numbers.below(8) {
            0 => By::Person(self.numbers.below(PEOPLE.len())),
            1..=2 => {
                let helper = self.any_helper().map(|(name, _)| name);
                let proven = helper.filter(|name| PROVEN.contains(name));
                By::Agent(proven.unwrap_or_else(|| self.any_proven()))
            }
            _ => By::Program,
        };
        let holder = match by {
            By::Agent(name) if self.numbers.below(4) > 0 => Some(name),
            _ if self.numbers.below(3) == 0 => self.any_helper().map(|(name, _)| name),
            _ => (self.numbers.below(3) == 0).then(|| self.any_agent()),
        };
        (by, holder)
    }

    fn any_work(&mut self) -> CrewAsk {
        let (by, holder) = self.any_worker();
        let ask = match self.numbers.below(4) {
            0..=1 if !self.agents.at_trays => TrayAsk::Task(self.any_task()),
            0 => TrayAsk::Task(self.any_task()),
            _ => self.any_of_trays(),
        };
        CrewAsk::Work(by, ask, holder)
    }

    /// A few clients at once.
    pub(super) fn ask_tasks(&mut self) -> Outcome {
        let log = self.asked_log();
        if !self.stand_alone(&log) {
            return Ok(());
        }
        let names = self.crew_names();
        let stream = self.messages_stream();
        let mut handles = Vec::new();
        for _ in 0..1 + self.numbers.below(3) {
            let ask = self.any_work();
            let CrewAsk::Work(by, what, _) = &ask else {
                continue;
            };
            let time = self.asked_at();
            let worlds = self.agents.crew.all();
            let takes_steps = *what == TrayAsk::Task(TaskAsk::Sweep)
                || worlds.iter().any(|world| world.takes_steps(what, &time));
            if let Some(handle) = self.handles(&log, *by)? {
                handles.push((ask, handle));
            }
            // One that takes several steps goes alone.
            if takes_steps {
                let last = handles.len().saturating_sub(1);
                handles.drain(..last);
                break;
            }
        }
        let mut asking: Vec<(CrewAsk, Option<Client<'_>>, Option<Told>)> = Vec::new();
        for (ask, handle) in &handles {
            let (what, stream) = (ask.clone(), stream.as_str());
            let client: Client<'_> =
                Box::pin(async move { crew::ask(handle, names, (stream, SCOPE), &what).await });
            asking.push((ask.clone(), Some(client), None));
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
            self.note_work(&ask, &heard);
            asked.push((ask, heard));
        }
        self.agents.crew.take(&asked, &time);
        Ok(())
    }

    /// What a worker was told is counted, and what it holds is kept.
    pub(super) fn note_work(&mut self, ask: &CrewAsk, heard: &Heard) {
        let CrewAsk::Work(_, ask, _) = ask else {
            return;
        };
        match heard {
            Some((Said::Taken(..), _)) => self.tally.taken += 1,
            Some((Said::Heard(text), _)) if text.starts_with(DRAINED) => {
                self.tally.drained += 1;
            }
            _ => {}
        }
        let held = match (ask, heard) {
            (TrayAsk::Task(TaskAsk::Claim(id, _)), Some((Said::Held(_), Some(fence))))
            | (_, Some((Said::Taken(id, _), Some(fence)))) => Some((*id, *fence)),
            _ => None,
        };
        if let Some((id, fence)) = held {
            let fences = self.agents.fences.entry(id).or_default();
            let is_newer = fences.last().is_none_or(|last| *last < fence);
            assert!(is_newer, "the fence {fence} of task {id} is an older one");
            fences.push(fence);
        }
    }
}
