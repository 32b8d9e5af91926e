//! What people and programs ask of the agents of a simulated log, and what these hear.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use super::tasks::{TRAYS, tray_name};
use crate::clocked::now;
use crate::crew::{self, Crew, CrewAsk, Handles};
use crate::office::PEOPLE;
use crate::staff::{
    self, AGENTS, By, Change, Doing, NAMES, PROVEN, Sort, Spawn, StaffAsk, Staffed,
};
use crate::tamper::{Outcome, SeededEntropy};
use crate::trays::Names;
use runstone_codec::{Authority, Position};
use runstone_projections::agents::{
    Agent, AgentFilter, AgentKind, AgentState, Agents, Messages, RetireReason,
};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log};
use std::collections::BTreeMap;

/// Longer than any helper lives and anything is held.
const LONGEST_US: u64 = 4_000_000_000;
/// So often that passes at most until nothing of an earlier round is left.
const MOST_REAPS: usize = 40;
/// Messages that are looked through: more than there are.
const ALL: usize = 10_000;

/// What an agent or a helper is called.
pub(super) fn agent_name(round: u64, number: usize) -> String {
    format!("scout-{round}-{number}")
}

impl Simulation {
    pub(super) fn messages_stream(&self) -> String {
        format!("{STREAMS}messages-{}", self.agents.round)
    }

    /// An agent or a helper, mostly one that is known.
    pub(super) fn any_agent(&mut self) -> usize {
        let any = self.numbers.below(NAMES);
        let known = &self.agents.crew.all()[0].staff.agents;
        let nth = known.keys().nth(any % known.len().max(1));
        match nth.copied() {
            Some(known) if self.numbers.below(6) > 0 => known,
            _ => any,
        }
    }

    /// One that has a credential.
    pub(super) fn any_proven(&mut self) -> usize {
        PROVEN[self.numbers.below(PROVEN.len())]
    }

    /// A handle of an agent with its credential; none while the disk does not let it in.
    fn agent_log(&mut self, log: &Log, number: usize) -> Outcome<Option<Log>> {
        let name = agent_name(self.agents.round, number);
        if !self.agents.proven.contains_key(&number) {
            let entropy = SeededEntropy::new(self.entropy_seed ^ (64 + number as u64));
            let path = self.folder.path().join(&name);
            let credential = Credential::create(&path, &name, Authority::Agent, entropy.as_ref())?;
            self.agents.proven.insert(number, credential);
        }
        let Some(credential) = self.agents.proven.get(&number) else {
            return Ok(None);
        };
        if let Ok(log) = log.with_credential(credential) {
            return Ok(Some(log));
        }
        let enrolled = log.enrol(&name, Authority::Agent, &credential.public_key());
        let acting = log.with_credential(credential).ok();
        if matches!(enrolled, Err(AppendError::OutcomeUnknown { .. })) {
            self.fail();
        }
        assert!(acting.is_some() || self.is_excused(), "{enrolled:?}");
        Ok(acting)
    }

    /// The log as somebody, if the disk lets him in.
    pub(super) fn acting(&mut self, log: &Log, by: By) -> Outcome<Option<Log>> {
        match by {
            By::Program => Ok(Some(log.clone())),
            By::Person(number) => self.person(log, number),
            By::Agent(number) => self.agent_log(log, number),
        }
    }

    /// What he asks by.
    pub(super) fn handles(&mut self, log: &Log, by: By) -> Outcome<Option<Handles>> {
        let acting = self.acting(log, by)?;
        Ok(acting.map(|log| Handles {
            trays: Self::trays_of(&log),
            tasks: self.tasks_of(&log),
            log,
        }))
    }

    /// Lets the time of helpers and leases pass that are of an earlier round, because they count for the
    /// parents of this one; whether none is left.
    pub(super) fn stand_alone(&mut self, log: &Log) -> bool {
        if self.agents.round == 0 || self.agents.is_alone {
            return true;
        }
        let agents = Agents::new(log);
        let struck = self.machine.struck();
        let mut refused = Vec::new();
        for _ in 0..MOST_REAPS {
            self.clock.advance(LONGEST_US);
            let reaped = agents.reap_blocking().map(drop);
            let swept = self.tasks_of(log).sweep_blocking().map(drop);
            let filter = AgentFilter::new().kind(AgentKind::Helper);
            let left = agents.list(&filter).map(|all| {
                let left = all.iter().filter(|one| one.state != AgentState::Retired);
                left.count()
            });
            self.agents.is_alone = reaped.is_ok() && swept.is_ok() && matches!(left, Ok(0));
            if self.agents.is_alone || self.machine.is_down() {
                break;
            }
            refused.push(format!("{reaped:?} {swept:?} {left:?}"));
        }
        // What is planned keeps them there, and nothing else.
        let is_struck = self.machine.is_down() || self.machine.struck() > struck;
        let is_hindered = is_struck || self.is_full || log.health().is_err();
        assert!(self.agents.is_alone || is_hindered, "{refused:?}");
        if self.machine.struck() > struck {
            self.fail();
        }
        self.agents.is_alone
    }

    fn any_spawn(&mut self) -> Spawn {
        Spawn {
            tray: (self.numbers.below(4) > 0).then(|| self.numbers.below(TRAYS)),
            ttl_s: [59, 60, 600, 3_600, 30_000][self.numbers.below(5)],
            auto_retire: self.numbers.below(5) > 0,
        }
    }

    /// A helper that was spawned, and who did; mostly one that holds something.
    pub(super) fn any_helper(&mut self) -> Option<(usize, By)> {
        let world = &self.agents.crew.all()[0];
        let of_all = world.staff.agents.iter();
        let helpers: Vec<(usize, By)> = of_all
            .filter_map(|(name, agent)| Some((*name, agent.helper.as_ref()?.parent)))
            .collect();
        let holds = |(name, _): &&(usize, By)| world.holders.values().any(|held| held == name);
        let holding = helpers.iter().find(holds).copied();
        let any = helpers.get(self.numbers.below(helpers.len().max(1)));
        holding
            .filter(|_| self.numbers.below(2) == 0)
            .or_else(|| any.copied())
    }

    /// Something that is done with helpers, mostly by the one whom it is about.
    fn any_helping(&mut self) -> Staffed {
        let known = &self.agents.crew.all()[0].staff.agents;
        let free = (AGENTS..NAMES).find(|name| !known.contains_key(name));
        let helper = self.any_helper();
        let any = self.any_agent();
        let by = self.any_by();
        let (ask, by) = match (self.numbers.below(12), helper) {
            (0..=4, _) | (_, None) => {
                let name = free.filter(|_| self.numbers.below(8) > 0).unwrap_or(any);
                let by = [By::Program, by][self.numbers.below(2)];
                (StaffAsk::Spawn(name, self.any_spawn()), by)
            }
            (5..=6, _) => (StaffAsk::Reap, by),
            (7..=8, Some((name, parent))) => {
                let runs = self.numbers.below(2) == 0;
                let by = [parent, parent, By::Person(0), by][self.numbers.below(4)];
                (StaffAsk::Change(name, Change::Power(runs)), by)
            }
            (_, Some((name, _))) => {
                let name = [name, name, any][self.numbers.below(3)];
                let why = RetireReason::ALL[self.numbers.below(RetireReason::ALL.len())];
                let own = if PROVEN.contains(&name) {
                    By::Agent(name)
                } else {
                    By::Program
                };
                (
                    StaffAsk::Retire(name, why),
                    [own, own, by][self.numbers.below(3)],
                )
            }
        };
        Staffed { by, ask }
    }

    fn any_by(&mut self) -> By {
        match self.numbers.below(10) {
            0..=3 => By::Program,
            4..=6 => By::Person(self.numbers.below(PEOPLE.len())),
            _ => By::Agent(self.any_proven()),
        }
    }

    fn any_staffed(&mut self) -> Staffed {
        if self.numbers.below(3) == 0 {
            return self.any_helping();
        }
        let agent = self.any_agent();
        let is_known = self.agents.crew.all()[0].staff.agents.contains_key(&agent);
        if !is_known && agent < AGENTS && self.numbers.below(3) > 0 {
            let ask = StaffAsk::Change(agent, Change::Register);
            return Staffed {
                by: By::Program,
                ask,
            };
        }
        let ask = match self.numbers.below(20) {
            0..=5 => {
                let changes = [
                    Change::Register,
                    Change::Register,
                    Change::Register,
                    Change::Sleep,
                    Change::Sleep,
                    Change::Wake,
                    Change::Wake,
                    Change::Power(true),
                    Change::Power(true),
                    Change::Power(false),
                    Change::Revoke,
                ];
                StaffAsk::Change(agent, changes[self.numbers.below(changes.len())])
            }
            6..=12 => {
                let sorts = [
                    Sort::Order,
                    Sort::Directive,
                    Sort::Sentence,
                    Sort::Talk,
                    Sort::Question,
                    Sort::Ack,
                    Sort::Done,
                ];
                let to = (self.numbers.below(4) > 0).then_some(agent);
                self.agents.letters += 1;
                let sort = sorts[self.numbers.below(sorts.len())];
                StaffAsk::Send(to, sort, self.agents.letters)
            }
            13..=17 => StaffAsk::Attend(agent),
            _ => {
                let sent = &self.agents.sent;
                match sent.get(self.numbers.below(sent.len().max(1))) {
                    Some(at) => StaffAsk::Mark(agent, *at),
                    None => StaffAsk::Attend(agent),
                }
            }
        };
        let by = self.any_by();
        Staffed { by, ask }
    }

    /// One after the other: what is heard is what was sent by then.
    pub(super) fn ask_staff(&mut self) -> Outcome {
        let log = self.asked_log();
        if !self.stand_alone(&log) {
            return Ok(());
        }
        for _ in 0..1 + self.numbers.below(5) {
            let ask = match self.numbers.below(24) {
                0 => CrewAsk::Sweep([By::Program, By::Person(0)][self.numbers.below(2)]),
                _ => CrewAsk::Staff(self.any_staffed()),
            };
            self.ask_one(&log, &ask)?;
            if self.failed || self.machine.is_down() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn ask_one(&mut self, log: &Log, ask: &CrewAsk) -> Outcome {
        let (CrewAsk::Work(by, ..) | CrewAsk::Staff(Staffed { by, .. }) | CrewAsk::Sweep(by)) = ask;
        let Some(handles) = self.handles(log, *by)? else {
            return Ok(());
        };
        let (names, stream) = (self.crew_names(), self.messages_stream());
        let time = self.asked_at();
        let struck = self.machine.struck();
        let asking = crew::ask(&handles, names, (&stream, SCOPE), ask);
        let told = now(asking);
        self.tally.requests += 1;
        self.say(|| format!("  {ask:?} {told:?}"));
        if self.machine.struck() > struck {
            self.fail();
        }
        if let CrewAsk::Sweep(_) = ask {
            self.swept_office(told.is_ok(), &time);
        }
        let heard = self.heard(Some(told));
        if let (CrewAsk::Staff(asked), Some((_, Some(at)))) = (ask, &heard)
            && matches!(asked.ask, StaffAsk::Send(..))
        {
            self.agents.sent.push(*at);
        }
        self.agents.crew.take(&[(ask.clone(), heard)], &time);
        Ok(())
    }

    /// Agents are as the model expects; why that cannot be seen.
    pub(super) fn see_staff(&mut self) -> Option<String> {
        let log = self.asked_log();
        let seen = match self.look_at_staff(&log) {
            Ok(seen) => seen,
            Err(error) => return Some(error.to_string()),
        };
        let names = self.crew_names();
        let agrees = |crew: &mut Crew| {
            let staff = &mut crew.staff;
            staff.were_sent(&seen.letters)
                && (0..NAMES).all(|number| {
                    let (found, mark) = &seen.agents[number];
                    let mark_agrees = match (staff.mark(number), mark) {
                        (None, None) => true,
                        (Some(at), Some(mark)) => at == Some(mark.get()),
                        _ => false,
                    };
                    mark_agrees && is_agent(staff.agents.get(&number), (found.as_ref(), names))
                })
        };
        self.agents.crew.see(&seen, agrees);
        for (agent, _) in seen.agents {
            let retired = agent.and_then(|agent| Some((agent.name, agent.helper?.retired?)));
            if let Some((name, why)) = retired
                && self.agents.gone.insert(name)
            {
                *self.tally.retired.entry(why.as_str()).or_default() += 1;
            }
        }
        None
    }

    fn look_at_staff(&self, log: &Log) -> Outcome<Seen> {
        let (agents, messages) = (Agents::new(log), Messages::new(log));
        let mut seen = Seen::default();
        for number in 0..NAMES {
            let name = agent_name(self.agents.round, number);
            let found = agents.find(&name)?;
            let is_found = found.is_some();
            seen.agents.push((found, messages.read_mark(&name)?));
            // What was sent to all is listed for anybody.
            if !is_found && number > 0 {
                continue;
            }
            for message in messages.list(&name, None, ALL)? {
                let is_of_round = self.agents.sent_from <= message.position.get();
                if is_of_round {
                    let number = message.source.parse()?;
                    seen.letters.insert(number, message.position.get());
                }
            }
        }
        Ok(seen)
    }
}

/// What the log says.
#[derive(Debug, Default)]
struct Seen {
    agents: Vec<(Option<Agent>, Option<Position>)>,
    /// Where each message is.
    letters: BTreeMap<u64, u64>,
}

fn is_agent(known: Option<&staff::Agent>, (found, names): (Option<&Agent>, Names)) -> bool {
    let (Some(known), Some(found)) = (known, found) else {
        return known.is_none() && found.is_none();
    };
    let doing = match found.state {
        AgentState::Running => Doing::Runs,
        AgentState::Idle => Doing::Sleeps,
        AgentState::Retired => Doing::Retired,
        _ => Doing::Stops,
    };
    (doing, found.is_stopped, found.is_revoked) == (known.doing, known.is_stopped, known.is_revoked)
        && is_helper(known.helper.as_ref(), found.helper.as_ref(), names)
}

fn is_helper(
    known: Option<&staff::Helper>,
    found: Option<&runstone_projections::agents::Helper>,
    names: Names,
) -> bool {
    let (Some(known), Some(found)) = (known, found) else {
        return known.is_none() && found.is_none();
    };
    let parent = match known.parent {
        By::Program => "system:keyring".to_owned(),
        By::Person(number) => format!("{}:{}", PEOPLE[number].1, PEOPLE[number].0),
        By::Agent(number) => format!("agent:{}", agent_name(names.round, number)),
    };
    let tray = known.tray.map(|tray| tray_name(names.round, tray));
    parent == found.parent
        && tray.is_none_or(|tray| tray == found.tray)
        && (known.expires_us, known.retired) == (found.expires_at_us, found.retired)
}
