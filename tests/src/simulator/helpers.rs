//! Helpers at work in a simulated log, from their birth to their end: each claims, works, is late, fails,
//! panics or is dropped, with others at work meanwhile.
//!
//! They ask from afar. What a wire carries of each is told to the model, one after the other, as if
//! somebody had asked it by hand.

use super::Simulation;
use super::course::Course;
use super::meanwhile::Reaped;
use super::tasks::{IDS, TRAYS};
use super::wire::Exchange;
use crate::calls::{Lost, Time, Told};
use crate::crew::CrewAsk;
use crate::staff::{self, AGENTS, By, Change, NAMES, PROVEN, Spawn, StaffAsk, Staffed};
use crate::tamper::Outcome;
use crate::trays::{self, Names, TrayAct, TrayAsk};
use runstone::{HelperExit, HelperOptions, HelperTask, Pause, Runstone};
use runstone::{Sleeper, run_helper};
use runstone_projections::Hold;
use runstone_projections::agents::{AgentError, Heard, Spawned};
use runstone_projections::tasks::TaskId;
use runstone_projections::trays::{Claim, TrayError};
use runstone_store::holder::{Refusal, Reply, Written};
use runstone_store::{Log, ManualClock, micros};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// More turns than any helper is given.
const MOST_TURNS: usize = 60;
/// Helpers that are tried until one is begun.
const MOST_TRIES: usize = 3;
const SECOND_US: u64 = 1_000_000;

/// Time passes when somebody waits, and others are asked in between.
#[derive(Debug)]
struct Hasty(Arc<ManualClock>);

impl Sleeper for Hasty {
    fn sleep(&self, time: Duration) -> Pause<'_> {
        Box::pin(async move {
            self.0.advance(micros(time));
            others_turn().await;
        })
    }
}

async fn others_turn() {
    let mut has_waited = false;
    let turn = poll_fn(|_| {
        if std::mem::replace(&mut has_waited, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    turn.await;
}

/// What becomes of a task that is worked on.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Done,
    Failed,
    Panics,
}

/// A task takes so many turns, and comes to this.
async fn work((turns, deed): (usize, Deed)) -> Result<String, String> {
    for _ in 0..turns {
        others_turn().await;
    }
    match deed {
        Deed::Done => Ok("modelled".to_owned()),
        Deed::Failed => Err("modelled".to_owned()),
        Deed::Panics => resume_unwind(Box::new("modelled")),
    }
}

/// Who works, where, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) parent: By,
    pub(super) own: By,
    pub(super) name: usize,
    pub(super) spawn: Spawn,
    pub(super) tray: usize,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was never begun, for this reason.
    Not(&'static str),
    By(HelperExit),
}

impl Simulation {
    fn any_job(&mut self) -> Option<Job> {
        let worlds = self.agents.crew.all();
        let is_there = |tray: &usize| {
            let mut worlds = worlds.iter();
            worlds.all(|world| world.trays.trays.contains_key(tray))
        };
        let trays: Vec<usize> = (0..TRAYS).filter(is_there).collect();
        let known = &worlds[0].staff.agents;
        let free: Vec<usize> = (AGENTS..NAMES)
            .filter(|name| !known.contains_key(name))
            .collect();
        // Mostly one in which there is something to do.
        let world = &worlds[0].trays;
        let busy = trays.iter().max_by_key(|tray| world.open(**tray));
        let any = trays.get(self.numbers.below(trays.len().max(1)));
        let tray = *busy.filter(|_| self.numbers.below(4) > 0).or(any)?;
        let name = *free.get(self.numbers.below(free.len().max(1)))?;
        let parent = match self.numbers.below(4) {
            0 => By::Person(0),
            1 => By::Agent(PROVEN[0]),
            _ => By::Program,
        };
        let is_proven = PROVEN.contains(&name) && self.numbers.below(4) > 0;
        let own = if is_proven {
            By::Agent(name)
        } else {
            By::Program
        };
        let spawn = Spawn {
            tray: Some(tray),
            ttl_s: [60, 600, 3_600][self.numbers.below(3)],
            auto_retire: self.numbers.below(8) > 0,
        };
        Some(Job {
            parent,
            own,
            name,
            spawn,
            tray,
        })
    }

    /// Puts a few tasks into a tray.
    fn fill(&mut self, log: &Log, tray: usize) -> Outcome {
        self.is_afar = false;
        for _ in 0..self.numbers.below(5) {
            let ask = CrewAsk::Work(By::Program, self.any_addition(tray), None);
            self.ask_one(log, &ask)?;
            if self.failed || self.machine.is_down() {
                break;
            }
        }
        Ok(())
    }

    fn any_deed(&mut self) -> (usize, Deed) {
        let deed = match self.numbers.below(8) {
            0 => Deed::Panics,
            1..=2 => Deed::Failed,
            _ => Deed::Done,
        };
        (self.numbers.below(4), deed)
    }

    /// A helper works until something ends it. Where one is not begun, another one is tried.
    pub(super) fn help(&mut self) -> Outcome {
        for _ in 0..MOST_TRIES {
            let here = self.log().clone();
            if !self.stand_alone(&here) {
                break;
            }
            let Some(job) = self.any_job() else {
                break;
            };
            let is_begun = self.help_in(&here, job)?;
            if is_begun || self.failed || self.machine.is_down() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the helper was begun.
    fn help_in(&mut self, here: &Log, job: Job) -> Outcome<bool> {
        self.fill(here, job.tray)?;
        if self.failed || self.machine.is_down() {
            return Ok(false);
        }
        let loses_claims_from_us = (self.numbers.below(4) == 0).then(|| {
            let soon_us = [0, 20, 100][self.numbers.below(3)] * SECOND_US;
            self.monotonic_us() + soon_us
        });
        let Some((log, told)) = self.attached(loses_claims_from_us) else {
            return Ok(false);
        };
        let (parent, own) = (self.acting(&log, job.parent)?, self.acting(&log, job.own)?);
        let (Some(parent), Some(own)) = (parent, own) else {
            return Ok(false);
        };
        let (parent, own) = (Runstone::from(parent), Runstone::from(own));
        let lease = Duration::from_secs([60, 600][self.numbers.below(2)]);
        let mut options = HelperOptions::new()
            .lease(lease)
            .sleeper(Arc::new(Hasty(Arc::clone(&self.clock))));
        let most = (self.numbers.below(2) == 0).then(|| 1 + self.numbers.below(2) as u64);
        if let Some(most) = most {
            options = options.max_tasks(most);
        }
        let deeds: VecDeque<_> = (0..IDS * 3).map(|_| self.any_deed()).collect();
        let deeds = Mutex::new(deeds);
        let working = |_: HelperTask| {
            let mut deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
            work(deeds.pop_front().unwrap_or((0, Deed::Done)))
        };
        let helper = staff::new_helper(self.crew_names(), job.name, job.spawn);
        self.say(|| format!("  {job:?} {options:?}"));
        let (mut course, mut reaped) = (Course::default(), Reaped::default());
        let (end, done) = {
            let looping = run_helper(&parent, &own, &helper, &options, working);
            let mut looping = Box::pin(looping);
            let mut context = Context::from_waker(Waker::noop());
            let mut turns = 0;
            loop {
                let polled = catch_unwind(AssertUnwindSafe(|| looping.as_mut().poll(&mut context)));
                self.take_in(&job, &told, &mut course);
                match polled {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(Ok(end))) => {
                        break (End::By(end.retired_reason), Some(end.tasks_done));
                    }
                    Ok(Poll::Ready(Err(error))) => break (End::Not(error.code()), None),
                    Err(panic) => {
                        let is_own = panic.downcast_ref() == Some(&"modelled");
                        if !is_own {
                            resume_unwind(panic);
                        }
                        break (End::By(HelperExit::Panicked), None);
                    }
                }
                turns += 1;
                let is_over = turns > MOST_TURNS || self.numbers.below(60) == 0;
                if is_over || self.failed || self.machine.is_down() {
                    break (End::By(HelperExit::Dropped), None);
                }
                self.others_at_work(&job, &mut reaped)?;
            }
        };
        self.take_in(&job, &told, &mut course);
        self.say(|| format!("  {job:?} {end:?} {course:?}"));
        let now_us = self.asked_at().steady_us();
        course.end(end, done, (most, now_us));
        self.note_end(&job, end, reaped);
        self.ask_when_gone(here, &job)?;
        Ok(!matches!(end, End::Not(_)))
    }

    /// The model is told what went over the wire.
    fn take_in(&mut self, job: &Job, told: &super::wire::Exchanges, course: &mut Course) {
        let exchanges = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        let names = self.crew_names();
        for exchange in exchanges {
            let Some((ask, told)) = read(job, names, &exchange, course) else {
                continue;
            };
            let opening = self.log().opening();
            let time = Time {
                now_us: exchange.now_us,
                opening: opening.id,
                opened_at_us: opening.at_us,
                passed_us: exchange.monotonic_us - self.opened_monotonic_us(),
            };
            self.tally.requests += 1;
            self.say(|| format!("    {ask:?} {told:?}"));
            course.go_on(&ask, &told, &time);
            let heard = self.heard(Some(told));
            self.note_work(&ask, &heard);
            self.agents.crew.take(&[(ask, heard)], &time);
        }
    }
}

/// What came back, as its type has it.
fn reply<A: DeserializeOwned, E: Refusal>(
    exchange: &Exchange,
    answer: impl FnOnce(A) -> Told,
    refusal: impl FnOnce(&E) -> Told,
) -> Told {
    match &exchange.reply {
        Ok(Reply::Answer(Written::Json(body))) => {
            answer(serde_json::from_slice(body).expect("it is an answer"))
        }
        Ok(Reply::Refusal(body)) => {
            let told = serde_json::from_slice(body).expect("it is a refusal");
            refusal(&E::of(told))
        }
        Ok(other) => panic!("nobody answers so: {other:?}"),
        Err(lost) => Err(Lost::Cut {
            is_sent: lost.is_sent,
        }),
    }
}

/// What a helper asked, as somebody would by hand; `None`: nothing that the model knows of.
fn read(
    job: &Job,
    names: Names,
    exchange: &Exchange,
    course: &mut Course,
) -> Option<(CrewAsk, Told)> {
    let body: Value = serde_json::from_slice(&exchange.body).ok()?;
    let staff = |by: By, ask: StaffAsk| CrewAsk::Staff(Staffed { by, ask });
    let of_tray = |exchange: &Exchange, answer: fn(Value) -> Told| {
        reply::<Value, TrayError>(exchange, answer, trays::of_tray)
    };
    Some(match exchange.name {
        "agent/spawn" => {
            let ask = staff(job.parent, StaffAsk::Spawn(job.name, job.spawn));
            let answer = |spawned: Spawned| {
                course.spawned(spawned.expires_at_us);
                Ok((staff::of_spawned(&spawned), Some(spawned.position.get())))
            };
            (
                ask,
                reply::<_, AgentError>(exchange, answer, staff::of_agent),
            )
        }
        "agent/change" => {
            let ask = StaffAsk::Change(job.name, Change::Power(true));
            let answer = |at: Value| Ok(trays::at(at.as_u64()));
            let told = reply::<_, AgentError>(exchange, answer, staff::of_agent);
            (staff(job.parent, ask), told)
        }
        "agent/retire" => {
            let why = serde_json::from_value(body.get("why")?.clone()).ok()?;
            let answer = |at: Value| Ok(trays::at(at.as_u64()));
            let told = reply::<_, AgentError>(exchange, answer, staff::of_agent);
            (staff(job.own, StaffAsk::Retire(job.name, why)), told)
        }
        "message/attend" => {
            let answer = |heard: Heard| Ok((staff::heard(&heard), None));
            let told = reply::<_, AgentError>(exchange, answer, staff::of_agent);
            (staff(job.own, StaffAsk::Attend(job.name)), told)
        }
        "tray/open" => {
            let told = of_tray(exchange, |at| Ok(trays::at(at.as_u64())));
            (
                CrewAsk::Work(job.parent, TrayAsk::Open(job.tray), None),
                told,
            )
        }
        "tray/claim" => {
            let hold: Hold = serde_json::from_value(body.get("hold")?.clone()).ok()?;
            let number = |text: &str| {
                let number = (0..IDS).find(|id| (names.task)(names.round, *id) == text);
                number.expect("it is one of them")
            };
            let answer = |claim: Claim| {
                if let Claim::Claimed(held) = &claim {
                    let said = held.said.as_ref().expect("nobody erases it");
                    course.tasks.push((held.task.clone(), number(&said.id)));
                }
                Ok(trays::of_claim(&claim, number))
            };
            let told = reply::<_, TrayError>(exchange, answer, trays::of_tray);
            let ask = TrayAsk::Take(job.tray, hold);
            (CrewAsk::Work(job.own, ask, Some(job.name)), told)
        }
        "tray/renew" | "tray/complete" | "tray/release" => {
            let task: TaskId = serde_json::from_value(body.get("task")?.clone()).ok()?;
            let fence = body.get("fence")?.as_u64()?;
            let (_, id) = course.tasks.iter().find(|(known, _)| *known == task)?;
            let act = match exchange.name {
                "tray/renew" => {
                    TrayAct::Renew(serde_json::from_value(body.get("hold")?.clone()).ok()?)
                }
                "tray/complete" => TrayAct::Complete,
                _ if body.get("failed").is_some_and(Value::is_string) => TrayAct::Fail,
                _ => TrayAct::Release,
            };
            let told = of_tray(exchange, |at| Ok(trays::at(at.as_u64())));
            (
                CrewAsk::Work(job.own, TrayAsk::Act(*id, fence, act), None),
                told,
            )
        }
        _ => return None,
    })
}
