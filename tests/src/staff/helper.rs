//! Helpers: agents that another one spawned, for a time.

use super::{Agent, By, Doing, REGISTERED, RUNNING, Staff, acts_for, is_entitled};
use crate::calls::{Said, Time};
use runstone_projections::agents::RetireReason;

const SECOND_US: u64 = 1_000_000;

/// How a helper is spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// Its tray; `None`: one of its own.
    pub tray: Option<usize>,
    /// Seconds that it lives.
    pub ttl_s: u64,
    /// Whether it may retire itself.
    pub auto_retire: bool,
}

/// What a helper is besides an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Who spawned it.
    pub parent: By,
    /// Its tray; `None`: one of its own.
    pub tray: Option<usize>,
    /// When its time is over, by the clock that leases go by.
    pub expires_us: u64,
    /// Why it is gone, if it is.
    pub retired: Option<RetireReason>,
    auto_retire: bool,
}

/// What is answered about a helper that was spawned.
pub(super) fn spawned(is_running: bool, expires_us: u64) -> Said {
    Said::Heard(format!("running {is_running}, until {expires_us}"))
}

/// What is answered about helpers that were let go, each with how many tasks it held.
pub(crate) fn gone(all: impl Iterator<Item = (usize, usize)>) -> String {
    let each = all.map(|(name, held)| format!(" {name} with {held}"));
    format!("gone{}", each.collect::<String>())
}

impl Staff {
    /// Helpers of a principal that are not gone, and those of them that run.
    fn helpers_of(&self, parent: By) -> (u64, u64) {
        let all = self.agents.values().filter(|agent| {
            let helper = agent.helper.as_ref();
            helper.is_some_and(|helper| helper.parent == parent) && agent.doing != Doing::Retired
        });
        let doing: Vec<Doing> = all.map(|agent| agent.doing).collect();
        let running = doing.iter().filter(|doing| **doing != Doing::Stops);
        (doing.len() as u64, running.count() as u64)
    }

    fn parent_of(&self, name: usize) -> Option<By> {
        let helper = self.agents.get(&name)?.helper.as_ref()?;
        Some(helper.parent)
    }

    /// Whether who asks says whether an agent should run: a person or a commander, or the parent of a
    /// helper, but for letting run whom one of those stopped.
    pub(super) fn may_power(&self, by: By, name: usize, runs: bool) -> bool {
        let needs_person = self
            .agents
            .get(&name)
            .is_some_and(|agent| agent.needs_person);
        is_entitled(by) || self.parent_of(name) == Some(by) && !(runs && needs_person)
    }

    /// Why an agent that does not run cannot be let run.
    pub(super) fn keeps_off(&self, name: usize) -> Option<&'static str> {
        let agent = self.agents.get(&name)?;
        if agent.doing == Doing::Retired {
            return Some("agent_retired");
        }
        let runs = !agent.is_stopped && agent.doing != Doing::Stops;
        let parent = self.parent_of(name).filter(|_| !runs)?;
        let is_full = self.helpers_of(parent).1 >= RUNNING;
        is_full.then_some("helper_cap_reached")
    }

    /// Helpers that are to go: their time is over, or their parent must exit.
    pub(crate) fn due(&self, time: &Time) -> Vec<usize> {
        let all = self.agents.iter();
        let due = all.filter(|(_, agent)| self.why_due(agent, time).is_some());
        due.map(|(name, _)| *name).collect()
    }

    fn why_due(&self, agent: &Agent, time: &Time) -> Option<RetireReason> {
        let is_there = |agent: &&Agent| agent.doing != Doing::Retired;
        let helper = Some(agent).filter(is_there)?.helper.as_ref()?;
        if time.steady_us() >= helper.expires_us {
            return Some(RetireReason::TtlExpired);
        }
        let parent = self.caller(helper.parent)?;
        parent.must_exit().then_some(RetireReason::ParentStopped)
    }

    pub(super) fn let_go(&mut self, name: usize, time: &Time) {
        let why = self
            .agents
            .get(&name)
            .and_then(|agent| self.why_due(agent, time));
        if let Some(why) = why {
            self.end(name, why);
        }
    }

    fn end(&mut self, name: usize, why: RetireReason) {
        if let Some(agent) = self.agents.get_mut(&name) {
            agent.doing = Doing::Retired;
            if let Some(helper) = &mut agent.helper {
                helper.retired = Some(why);
            }
        }
    }

    /// Lets helpers go; which.
    pub(super) fn reap(&mut self, time: &Time) -> Vec<usize> {
        let due = self.due(time);
        for name in &due {
            self.let_go(*name, time);
        }
        due
    }

    pub(super) fn spawn(&mut self, by: By, name: usize, spawn: Spawn, time: &Time) -> Said {
        let caller = self.caller(by);
        let is_helper = caller.is_some_and(|agent| agent.helper.is_some());
        let must_exit = caller.is_some_and(Agent::must_exit);
        let (registered, running) = self.helpers_of(by);
        let is_taken = self.agents.contains_key(&name) || by == By::Agent(name);
        self.enter(by);
        if is_helper {
            return Said::Refused("helper_chain_forbidden");
        }
        if must_exit {
            return Said::Refused("not_allowed");
        }
        if is_taken {
            return Said::Refused("name_taken");
        }
        if registered >= REGISTERED {
            return Said::Refused("tier_limit");
        }
        let is_running = running < RUNNING;
        let expires_us = time.steady_us() + spawn.ttl_s * SECOND_US;
        let mut agent = Agent::new(self.letters.len());
        if !is_running {
            (agent.is_stopped, agent.doing) = (true, Doing::Stops);
        }
        agent.helper = Some(Helper {
            parent: by,
            tray: spawn.tray,
            expires_us,
            retired: None,
            auto_retire: spawn.auto_retire,
        });
        self.agents.insert(name, agent);
        spawned(is_running, expires_us)
    }

    pub(super) fn retire(&mut self, by: By, name: usize, why: RetireReason) -> Said {
        let found = self.agents.get(&name);
        let helper = found.map(|agent| (agent.doing, agent.helper.clone()));
        self.enter(by);
        if !acts_for(by, name) {
            return Said::Refused("not_allowed");
        }
        // Its own first command made it known, as an agent like others.
        match helper {
            None => Said::Refused("agent_not_found"),
            Some((_, None)) => Said::Refused("not_a_helper"),
            Some((Doing::Retired, _)) => Said::At(None),
            Some((_, Some(helper))) if !helper.auto_retire => Said::Refused("auto_retire_disabled"),
            Some(_) => {
                self.end(name, why);
                Said::At(None)
            }
        }
    }
}
