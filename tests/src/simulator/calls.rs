//! What is known of the calls, runs, budgets and people of a simulated log, and of when it is asked.
//!
//! The tool of the model is called by whoever holds a claim, and counts its calls.

use super::Simulation;
use super::model::Fate;
use crate::calls::{Heard, Lost, Run, Said, Time, Told, Worlds};
use crate::crew::Crew;
use crate::office::{Names, Office, PEOPLE};
use crate::tamper::{Outcome, SeededEntropy};
use runstone_projections::Hold;
use runstone_projections::effects::Held;
use runstone_projections::runs::RunHeld;
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How the streams of agents begin.
pub(super) const STREAMS: &str = "agent-";
/// How the streams begin that the domain and the sinks have of their own.
pub(super) const OWN_STREAMS: [&str; 5] = [STREAMS, "agent:", "budgets/", "sinks", "tray:"];
/// Their scope, which nobody erases.
pub(super) const SCOPE: &str = "agents";
const SECOND_US: u64 = 1_000_000;
/// So many ways that things may stand are looked through before more is asked.
const MOST_WORLDS: usize = 24;

/// What is known of the calls and runs of a log.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// How often a log was lost with what was told of it.
    pub(super) round: u64,
    opening: [u8; 16],
    opened_monotonic_us: u64,
    /// Nobody has looked since it was opened: which lapses are recorded is to be seen.
    is_unsure: bool,
    pub(super) office: Worlds<Office>,
    pub(super) calls: BTreeMap<usize, Known>,
    pub(super) runs: BTreeMap<usize, (Worlds<Run>, Vec<RunHeld>)>,
    /// These agents do little else than what lies in trays.
    pub(super) at_trays: bool,
    pub(super) crew: Worlds<Crew>,
    /// The claims of each task, oldest first.
    pub(super) fences: BTreeMap<usize, Vec<u64>>,
    /// Messages that were sent, by number, and where those are that were told of.
    pub(super) letters: u64,
    pub(super) sent: Vec<u64>,
    /// Messages before are of another round.
    pub(super) sent_from: u64,
    /// Those of agents.
    pub(super) proven: BTreeMap<usize, Credential>,
    /// Helpers that are known to be gone.
    pub(super) gone: BTreeSet<String>,
    /// Nothing of an earlier round is in the way.
    pub(super) is_alone: bool,
    people: Vec<Option<Credential>>,
}

/// What is known of a call besides how it may stand.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Everything that was ever held, oldest first.
    pub(super) held: Vec<Held>,
    /// Claims under which the tool was called.
    pub(super) called: BTreeSet<u64>,
    /// Calls of the tool since somebody said that it was not called.
    pub(super) calls: u64,
}

impl Simulation {
    pub(super) fn agents(&mut self) -> Outcome {
        let struck = self.machine.struck();
        let at_trays = self.agents.at_trays;
        let most = if at_trays { 40 } else { 14 };
        for _ in 0..1 + self.numbers.below(most) {
            self.note_opening();
            let many = [self.agents.office.all().len(), self.agents.crew.all().len()];
            let is_many = many.into_iter().any(|many| many > MOST_WORLDS);
            if (self.agents.is_unsure || is_many) && !self.see_agents() {
                break;
            }
            let any = self.numbers.below(24);
            self.is_afar = self.numbers.below(3) == 0;
            match any {
                0..=14 if at_trays => self.ask_tasks()?,
                16 if at_trays => self.ask_staff()?,
                17..=18 if at_trays => self.help()?,
                11 => self.help()?,
                20 if self.numbers.below(2) == 0 => self.ask_in_vain()?,
                0..=10 => self.ask_office()?,
                12..=14 => self.ask_staff()?,
                15..=19 => self.ask_tasks()?,
                20..=21 => self.ask_runs()?,
                22 => self.pass_time(),
                _ => drop(self.see_agents()),
            }
            if self.failed || self.machine.is_down() || self.machine.struck() > struck {
                break;
            }
        }
        self.is_afar = false;
        if self.machine.struck() > struck {
            self.fail();
        }
        Ok(())
    }

    /// As work does: leases run out, and days go by. Now and then somebody sets the wall clock, which is
    /// nothing to leases.
    pub(super) fn pass_time(&mut self) {
        if self.numbers.below(4) == 0 {
            let wall_us = runstone_store::Clock::wall_us(self.clock.as_ref());
            let jump_us = [1_800, 7_200, 86_400][self.numbers.below(3)] * SECOND_US;
            let is_ahead = self.numbers.below(2) == 0;
            self.clock.set_wall(if is_ahead {
                wall_us + jump_us
            } else {
                wall_us - jump_us
            });
        }
        let seconds = [1, 31, 600, 3_600, 25_000][self.numbers.below(5)];
        self.clock.advance(seconds * SECOND_US);
    }

    /// The log was lost with what was told of it: its successor has other calls and runs.
    pub(super) fn forget_agents(&mut self) {
        let round = self.agents.round + 1;
        let people = std::mem::take(&mut self.agents.people);
        self.agents = Agents {
            round,
            people,
            at_trays: self.agents.at_trays,
            ..Agents::default()
        };
    }

    /// Notes when this opening began; nothing moves the clock before.
    pub(super) fn note_opening(&mut self) {
        let opening = self.log().opening();
        if opening.id != self.agents.opening {
            self.agents.opening = opening.id;
            self.agents.opened_monotonic_us = self.monotonic_us();
            self.agents.is_unsure = true;
        }
    }

    /// When that was, by the monotonic clock.
    pub(super) fn opened_monotonic_us(&self) -> u64 {
        self.agents.opened_monotonic_us
    }

    pub(super) fn monotonic_us(&self) -> u64 {
        runstone_store::Clock::monotonic_us(self.clock.as_ref())
    }

    pub(super) fn asked_at(&mut self) -> Time {
        self.note_opening();
        let opening = self.log().opening();
        Time {
            now_us: self.log().now_us(),
            opening: opening.id,
            opened_at_us: opening.at_us,
            passed_us: self.monotonic_us() - self.agents.opened_monotonic_us,
        }
    }

    /// Names of owners of this round.
    pub(super) fn names(&self) -> Names {
        Names {
            prefix: self.agents.round.to_string(),
            scope: SCOPE.to_owned(),
        }
    }

    /// A handle of one of [`PEOPLE`]; none while the disk does not let her in.
    pub(super) fn person(&mut self, log: &Log, number: usize) -> Outcome<Option<Log>> {
        let (name, authority) = PEOPLE[number];
        self.agents.people.resize_with(PEOPLE.len(), || None);
        if self.agents.people[number].is_none() {
            let path = self.folder.path().join(name);
            let entropy = SeededEntropy::new(self.entropy_seed ^ (2 + number as u64));
            let credential = Credential::create(&path, name, authority, entropy.as_ref())?;
            self.agents.people[number] = Some(credential);
        }
        let Some(credential) = &self.agents.people[number] else {
            return Ok(None);
        };
        if let Ok(log) = log.with_credential(credential) {
            return Ok(Some(log));
        }
        let enrolled = log.enrol(name, authority, &credential.public_key());
        let acting = log.with_credential(credential).ok();
        if matches!(enrolled, Err(AppendError::OutcomeUnknown { .. })) {
            self.fail();
        }
        assert!(acting.is_some() || self.is_excused(), "{enrolled:?}");
        Ok(acting)
    }

    pub(super) fn any_hold(&mut self) -> Hold {
        let lease = [30, 3_600].map(Duration::from_secs)[self.numbers.below(2)];
        match self.numbers.below(4) {
            // Nobody elsewhere holds anything as long as an opening lasts.
            0 if !self.is_afar => Hold::Opening,
            1 => Hold::ByClock(lease),
            _ => Hold::For(lease),
        }
    }

    /// What a client learns of what it was told.
    pub(super) fn heard(&mut self, told: Option<Told>) -> Heard {
        match told {
            None => None,
            Some(Ok((said, at))) => {
                if let Said::Refused(code) = said {
                    *self.tally.refused.entry(code).or_default() += 1;
                }
                if let Some(at) = at {
                    assert!(at < self.log().durable_size(), "{at} is not durable");
                    self.synced_up_to(at);
                }
                Some((said, at))
            }
            Some(Err(Lost::Unknown(_))) => {
                self.fail();
                None
            }
            Some(Err(Lost::Cut { is_sent })) => {
                self.tally.cut += 1;
                (!is_sent).then_some((Said::Failed, None))
            }
            Some(Err(Lost::Unread(why))) => {
                assert!(self.is_excused(), "{why}");
                None
            }
            Some(Err(Lost::Failed(why))) => {
                assert!(self.is_excused(), "{why}");
                Some((Said::Failed, None))
            }
        }
    }

    /// What is acknowledged as durable makes everything before it durable.
    pub(super) fn synced_up_to(&mut self, at: u64) {
        for sent in &mut self.model.sent {
            if let Fate::Buffered(positions) = &sent.fate
                && positions.last().is_some_and(|last| *last < at)
            {
                sent.fate = Fate::Durable(positions.clone());
            }
        }
    }

    /// What is listed is what the models expect; whether it could be seen.
    pub(super) fn see_agents(&mut self) -> bool {
        let failed = self.see_office();
        let failed = failed.or_else(|| self.see_tasks());
        let failed = failed.or_else(|| self.see_staff());
        let failed = failed.or_else(|| self.see_runs());
        assert!(failed.is_none() || self.is_excused(), "{failed:?}");
        self.agents.is_unsure &= failed.is_some();
        failed.is_none()
    }
}
