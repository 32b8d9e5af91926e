//! What others do while a helper of a simulated log is at work, much of it to the helper.

use super::Simulation;
use super::helpers::{End, Job};
use crate::crew::CrewAsk;
use crate::staff::{By, Change, Doing, Sort, StaffAsk, Staffed};
use crate::tamper::Outcome;
use crate::trays::TrayAsk;
use runstone::HelperExit;
use runstone_projections::agents::RetireReason;
use runstone_store::Log;

const SECOND_US: u64 = 1_000_000;

/// What became of a helper while others were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reaped {
    /// Somebody let it go.
    is_gone: bool,
    /// It held a task then.
    held: bool,
}

fn staff(by: By, ask: StaffAsk) -> CrewAsk {
    CrewAsk::Staff(Staffed { by, ask })
}

impl Simulation {
    fn is_gone(&self, name: usize) -> bool {
        let staff = &self.agents.crew.all()[0].staff;
        let agent = staff.agents.get(&name);
        agent.is_some_and(|agent| agent.doing == Doing::Retired)
    }

    fn holds(&self, name: usize) -> bool {
        let holders = &self.agents.crew.all()[0].holders;
        holders.values().any(|holder| *holder == name)
    }

    /// While a helper waits.
    pub(super) fn others_at_work(&mut self, job: &Job, reaped: &mut Reaped) -> Outcome {
        self.is_afar = false;
        let (was_gone, held) = (self.is_gone(job.name), self.holds(job.name));
        match self.numbers.below(12) {
            0..=1 => self.ask_tasks()?,
            2 => self.ask_staff()?,
            3 => self.pass_time(),
            4..=5 => self.ask_of_helper(job)?,
            _ => {}
        }
        if !was_gone && self.is_gone(job.name) {
            *reaped = Reaped {
                is_gone: true,
                held,
            };
        }
        Ok(())
    }

    /// Something that is to end a helper; when a person ended it, its parent may want it to run again.
    fn ask_of_helper(&mut self, job: &Job) -> Outcome {
        let log = self.log().clone();
        let of_it = |by: By, change: Change| staff(by, StaffAsk::Change(job.name, change));
        let person = By::Person(0);
        let mut what = self.numbers.below(10);
        // What it holds is what there is to see when it is let go.
        if self.holds(job.name) && self.numbers.below(4) == 0 {
            what = 9;
        }
        let mut asks = match (what, job.parent) {
            (0..=2, _) => vec![of_it(job.parent, Change::Power(false))],
            (3, _) => vec![of_it(person, Change::Power(false))],
            (4, _) => {
                self.agents.letters += 1;
                let order = StaffAsk::Send(Some(job.name), Sort::Order, self.agents.letters);
                vec![
                    staff(person, order),
                    staff(job.own, StaffAsk::Attend(job.name)),
                ]
            }
            (5..=6, _) => vec![of_it(person, Change::Revoke)],
            (7, By::Agent(parent)) => {
                let off = StaffAsk::Change(parent, Change::Power(false));
                vec![staff(person, off), staff(By::Program, StaffAsk::Reap)]
            }
            _ => {
                self.clock.advance(job.spawn.ttl_s * SECOND_US);
                vec![staff(By::Program, StaffAsk::Reap)]
            }
        };
        if what > 3 && self.numbers.below(3) == 0 {
            asks.push(of_it(job.parent, Change::Power(false)));
        }
        if what > 2 && self.numbers.below(2) == 0 {
            asks.push(of_it(job.parent, Change::Power(true)));
        }
        for ask in asks {
            self.ask_one(&log, &ask)?;
            if self.failed || self.machine.is_down() {
                break;
            }
        }
        Ok(())
    }

    /// Whoever is gone takes nothing any more.
    pub(super) fn ask_when_gone(&mut self, log: &Log, job: &Job) -> Outcome {
        let By::Agent(name) = job.own else {
            return Ok(());
        };
        if self.failed || self.machine.is_down() || !self.is_gone(name) {
            return Ok(());
        }
        self.is_afar = false;
        let ask = TrayAsk::Take(job.tray, self.any_hold_of_tray());
        self.ask_one(log, &CrewAsk::Work(job.own, ask, Some(name)))
    }

    /// How a helper ended, in a word.
    pub(super) fn note_end(&mut self, job: &Job, end: End, reaped: Reaped) {
        let world = &self.agents.crew.all()[0];
        let word = match (end, world.staff.agents.get(&job.name)) {
            (End::Not(code), _) => code,
            (End::By(HelperExit::Panicked), _) => "panicked",
            (End::By(HelperExit::Dropped), _) => "dropped",
            _ if reaped.held => "reaped_with_task",
            _ if reaped.is_gone => "reaped",
            (End::By(HelperExit::ParentRequest), Some(agent)) => {
                let why = agent.helper.as_ref().and_then(|helper| helper.retired);
                match why {
                    // It noticed by looking for orders.
                    Some(RetireReason::ParentStopped) => "parent_stopped",
                    _ if agent.is_revoked => "revoked",
                    _ if agent.needs_person() => "stopped_by_person",
                    _ => "stopped_by_parent",
                }
            }
            (End::By(exit), _) => exit.as_str(),
        };
        *self.tally.ended.entry(word).or_default() += 1;
    }
}
