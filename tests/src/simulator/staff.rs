//! What people and programs ask of the agents of a simulated log, and what these hear.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use crate::office::PEOPLE;
use crate::staff::{self, AGENTS, By, Change, Doing, Sort, Staff, StaffAsk, Staffed};
use crate::tamper::{Outcome, SeededEntropy};
use runstone_codec::{Authority, Position};
use runstone_projections::agents::{Agent, AgentState, Agents, Messages};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log};
use std::collections::BTreeMap;

/// Messages that are looked through: more than there are.
const ALL: usize = 10_000;

fn name(round: u64, number: usize) -> String {
    format!("scout-{round}-{number}")
}

impl Simulation {
    /// A handle of the agent that has a credential; none while the disk does not let it in.
    fn agent_log(&mut self, log: &Log) -> Outcome<Option<Log>> {
        let scout = name(self.agents.round, AGENTS - 1);
        if self.agents.scout.is_none() {
            let entropy = SeededEntropy::new(self.entropy_seed ^ 64);
            let path = self.folder.path().join(&scout);
            let credential = Credential::create(&path, &scout, Authority::Agent, entropy.as_ref())?;
            self.agents.scout = Some(credential);
        }
        let Some(credential) = &self.agents.scout else {
            return Ok(None);
        };
        if let Ok(log) = log.with_credential(credential) {
            return Ok(Some(log));
        }
        let enrolled = log.enrol(&scout, Authority::Agent, &credential.public_key());
        let acting = log.with_credential(credential).ok();
        if matches!(enrolled, Err(AppendError::OutcomeUnknown { .. })) {
            self.fail();
        }
        assert!(acting.is_some() || self.is_excused(), "{enrolled:?}");
        Ok(acting)
    }

    fn any_staffed(&mut self) -> Staffed {
        let agent = self.numbers.below(AGENTS);
        let is_known = self.agents.staff.all()[0].agents.contains_key(&agent);
        if !is_known && self.numbers.below(3) > 0 {
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
        let by = match self.numbers.below(10) {
            0..=3 => By::Program,
            4..=7 => By::Person(self.numbers.below(PEOPLE.len())),
            _ => By::Agent,
        };
        Staffed { by, ask }
    }

    /// One after the other: what is heard is what was sent by then.
    pub(super) fn ask_staff(&mut self) -> Outcome {
        let log = self.asked_log();
        let round = self.agents.round;
        let stream = format!("{STREAMS}messages-{round}");
        for _ in 0..1 + self.numbers.below(5) {
            let asked = self.any_staffed();
            let acting = match asked.by {
                By::Program => Some(log.clone()),
                By::Person(number) => self.person(&log, number)?,
                By::Agent => self.agent_log(&log)?,
            };
            let Some(acting) = acting else { continue };
            let time = self.asked_at();
            let struck = self.machine.struck();
            let (of, stream) = (|agent| name(round, agent), (stream.as_str(), SCOPE));
            let told = staff::ask(&acting, of, stream, &asked.ask);
            self.tally.requests += 1;
            self.say(|| format!("  {asked:?} {told:?}"));
            if self.machine.struck() > struck {
                self.fail();
            }
            let heard = self.heard(Some(told));
            if let (StaffAsk::Send(..), Some((_, Some(at)))) = (&asked.ask, &heard) {
                self.agents.sent.push(*at);
            }
            self.agents.staff.take(&[(asked, heard)], &time);
            if self.failed || self.machine.is_down() {
                break;
            }
        }
        Ok(())
    }

    /// Agents are as the model expects; why that cannot be seen.
    pub(super) fn see_staff(&mut self) -> Option<String> {
        let log = self.asked_log();
        let seen = match self.look_at_staff(&log) {
            Ok(seen) => seen,
            Err(error) => return Some(error.to_string()),
        };
        let agrees = |staff: &mut Staff| {
            staff.were_sent(&seen.letters)
                && (0..AGENTS).all(|number| {
                    let (found, mark) = &seen.agents[number];
                    let mark_agrees = match (staff.mark(number), mark) {
                        (None, None) => true,
                        (Some(at), Some(mark)) => at == Some(mark.get()),
                        _ => false,
                    };
                    mark_agrees && is_agent(staff.agents.get(&number), found.as_ref())
                })
        };
        self.agents.staff.see(&seen, agrees);
        None
    }

    fn look_at_staff(&self, log: &Log) -> Outcome<Seen> {
        let (agents, messages) = (Agents::new(log), Messages::new(log));
        let mut seen = Seen::default();
        for number in 0..AGENTS {
            let name = name(self.agents.round, number);
            seen.agents
                .push((agents.find(&name)?, messages.read_mark(&name)?));
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

fn is_agent(known: Option<&staff::Agent>, found: Option<&Agent>) -> bool {
    let (Some(known), Some(found)) = (known, found) else {
        return known.is_none() && found.is_none();
    };
    let doing = match found.state {
        AgentState::Running => Doing::Runs,
        AgentState::Idle => Doing::Sleeps,
        _ => Doing::Stops,
    };
    (doing, found.is_stopped, found.is_revoked) == (known.doing, known.is_stopped, known.is_revoked)
}
