//! What is asked of a simulated log by whom the table of principals does not let, and what is recorded of
//! who asks: what somebody says of himself changes nothing.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use super::staff::agent_name;
use super::tasks::settings;
use super::work::SCOPES;
use crate::calls::{Lost, of_append};
use crate::office::PEOPLE;
use crate::staff::{By, NAMES};
use crate::tamper::Outcome;
use runstone_codec::{Authority, NewEvent};
use runstone_projections::settings::SettingsError;
use runstone_store::{Append, AppendError, EraseError, Log};

/// An agent with a credential that does nothing but this.
pub(super) const STRANGER: usize = NAMES;

impl Simulation {
    fn any_stranger(&mut self) -> By {
        [By::Program, By::Agent(STRANGER)][self.numbers.below(2)]
    }

    /// Something that whoever asks may not do, or may, as somebody else.
    pub(super) fn ask_in_vain(&mut self) -> Outcome {
        let log = self.asked_log();
        let what = self.numbers.below(5);
        let by = match what {
            0 | 1 => By::Agent(STRANGER),
            2 | 3 => self.any_stranger(),
            _ if self.numbers.below(2) == 0 => By::Person(self.numbers.below(PEOPLE.len())),
            _ => self.any_stranger(),
        };
        let Some(acting) = self.acting(&log, by)? else {
            return Ok(());
        };
        let before = acting.size();
        let struck = self.machine.struck();
        let told = match what {
            0 => {
                let enrolled = acting.enrol("mallory", Authority::Human, &[7; 32]);
                of_store(enrolled)
            }
            1 => match settings().record(&acting) {
                Err(SettingsError::Append(error)) => of_store(Err::<(), _>(error)),
                other => panic!("{by:?} recorded settings: {other:?}"),
            },
            2 => {
                let scope = SCOPES[self.numbers.below(SCOPES.len())];
                match acting.release_hold(scope) {
                    Err(EraseError::NotFound { .. }) => return Ok(()),
                    Err(EraseError::Append(error)) => of_store(Err::<(), _>(error)),
                    other => panic!("{by:?} released a hold: {other:?}"),
                }
            }
            3 => of_store(acting.accept_clock()),
            _ => {
                self.claim_to_be(&acting, by);
                return Ok(());
            }
        };
        self.tally.requests += 1;
        self.say(|| format!("  in vain {what} by {by:?}: {told:?}"));
        match told {
            Ok(code) => {
                assert_eq!(code, "not_allowed", "{what} by {by:?}");
                assert_eq!(acting.size(), before, "{what} by {by:?}");
                *self.tally.refused.entry(code).or_default() += 1;
            }
            Err(why) => assert!(self.is_excused(), "{why:?}"),
        }
        if self.machine.struck() > struck {
            self.fail();
        }
        Ok(())
    }

    /// An event that claims to be a person's is of whoever appends it; one that only commands write is
    /// refused.
    fn claim_to_be(&mut self, acting: &Log, by: By) {
        let round = self.agents.round;
        let (name, _) = PEOPLE[0];
        let is_vote = self.numbers.below(2) == 0;
        let event_type = ["tool.called", "approval.voted"][usize::from(is_vote)];
        let event = NewEvent::new(event_type, format!("{STREAMS}claims-{round}"))
            .scope(SCOPE)
            .source(format!("human:{name}"))
            .tag(format!("principal:human:{name}"))
            .payload(format!(
                "{{\"principal\":\"human:{name}\",\"authority\":\"human\"}}"
            ));
        let struck = self.machine.struck();
        let appended = acting.append_blocking(Append::new([event]));
        self.tally.requests += 1;
        self.say(|| format!("  claims by {by:?}: {appended:?}"));
        if self.machine.struck() > struck {
            self.fail();
        }
        match appended {
            Ok(appended) => {
                assert!(!is_vote, "a vote was appended by hand");
                self.synced_up_to(appended.last.get());
                let expected = match by {
                    By::Program => "system:keyring".to_owned(),
                    By::Person(number) => format!("{}:{}", PEOPLE[number].1, PEOPLE[number].0),
                    By::Agent(number) => format!("agent:{}", agent_name(round, number)),
                };
                match self.log().record(appended.first) {
                    Ok(record) => assert_eq!(record.header.principal, expected),
                    Err(error) => assert!(self.is_excused(), "{error}"),
                }
            }
            Err(error) if error.code() == "owned_namespace" => assert!(is_vote, "{error}"),
            Err(error) => match of_append(&error) {
                Lost::Unknown(_) => self.fail(),
                Lost::Cut { .. } => self.tally.cut += 1,
                _ => assert!(self.is_excused(), "{error}"),
            },
        }
    }
}

/// The code of a refusal, or why there is none.
fn of_store<T: std::fmt::Debug>(told: Result<T, AppendError>) -> Result<&'static str, Lost> {
    match told {
        Err(error) if error.code() == "not_allowed" => Ok("not_allowed"),
        Err(error) => Err(of_append(&error)),
        Ok(done) => panic!("it was done: {done:?}"),
    }
}
