//! Agents by name.

use super::decide::{self, Act, Done, about, stream_of};
use super::fold::{AGENT_ROW, FOLD, agent_key};
use super::message::REDECIDED;
use super::{AgentError, AgentKind, AgentState, RetireReason, Spawned, is_agent_name};
use crate::asks::ChangeAgent;
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::control::agent as field;
use crate::events::{
    AgentHelperSpawned, AgentPowered, AgentRegistered, AgentRevoked, AgentSlept, AgentWoke,
};
use crate::rows::{self, AgentRow};
use crate::settings::Settings;
use crate::{DecodeRecord as _, view};
use runstone_codec::{Control, NewEvent, Position, TypedEvent as _};
use runstone_store::{AppendError, Log, ReadError, whole_seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an agent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: AgentState,
    /// Position of the event that made it so.
    pub since: Position,
    /// When that was, Unix microseconds.
    pub since_us: u64,
    /// Position of its registration.
    pub registered: Position,
    /// A supervisor should not run it.
    pub is_stopped: bool,
    /// Its commands are refused.
    pub is_revoked: bool,
    /// Seconds after which it means to look again, if it sleeps and said so.
    pub timeout_s: Option<u64>,
    /// What it is besides, if it is a helper.
    pub helper: Option<Helper>,
}

/// What a helper is besides an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Helper {
    /// Principal of whoever spawned it.
    pub parent: String,
    /// Its tray.
    pub tray: String,
    /// When its time is over, Unix microseconds.
    pub expires_at_us: u64,
    /// Its time is over; the next command that looks, or a sweep, records that.
    pub is_expired: bool,
    /// Whether it may retire itself.
    pub auto_retire: bool,
    /// Why it is gone, if it is.
    pub retired: Option<RetireReason>,
}

/// What an agent does, and where it comes from, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// What it does.
    pub role: Option<String>,
    /// Words to find it by.
    pub labels: Vec<String>,
    /// Id of the task that a helper was spawned for.
    pub spawned_for: Option<String>,
}

impl Agent {
    /// What kind of agent it is.
    pub fn kind(&self) -> AgentKind {
        match self.helper {
            Some(_) => AgentKind::Helper,
            None => AgentKind::Persistent,
        }
    }

    /// What whoever spawned it was told, as it stands now; `None` if it is no helper.
    pub fn spawned(&self) -> Option<Spawned> {
        let helper = self.helper.as_ref()?;
        Some(Spawned {
            name: self.name.clone(),
            tray: helper.tray.clone(),
            position: self.registered,
            expires_at_us: helper.expires_at_us,
            is_running: !self.is_stopped && helper.retired.is_none(),
        })
    }

    fn of(name: String, row: &AgentRow, steady_us: u64) -> Self {
        let state = row.state();
        let helper = row.helper.as_ref().map(|helper| Helper {
            parent: helper.parent.clone(),
            tray: helper.tray.clone(),
            expires_at_us: helper.expires_at_us,
            is_expired: state != AgentState::Retired && steady_us >= helper.expires_at_us,
            auto_retire: helper.auto_retire,
            retired: helper
                .retired
                .and_then(|why| RetireReason::from_number(why.into())),
        });
        Self {
            name,
            state,
            since: Position::new(row.since),
            since_us: row.since_us,
            registered: Position::new(row.registered),
            is_stopped: row.is_stopped,
            is_revoked: row.is_revoked,
            timeout_s: row.timeout_s.filter(|_| state == AgentState::Idle),
            helper,
        }
    }
}

/// What is done to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentChange {
    /// It is known from now on. One that has a credential is registered by its first command.
    Register {
        /// What it does.
        role: Option<String>,
        /// Words to find it by.
        labels: Vec<String>,
    },
    /// It has nothing to do.
    Sleep {
        /// Why.
        reason: String,
        /// Seconds after which it means to look again. Nothing wakes it then.
        timeout_s: Option<u64>,
    },
    /// It works again.
    Wake,
    /// Whether a supervisor should run it; one that should not must exit. It takes a person or a
    /// commander, or the parent of a helper; the parent does not power on whom a person stopped.
    Power {
        /// Whether it should run.
        runs: bool,
        /// Why.
        reason: Option<String>,
    },
    /// Its commands are refused from now on, and it must exit. It takes a person or a commander.
    Revoke {
        /// Why.
        reason: String,
    },
}

impl AgentChange {
    /// It is known from now on.
    pub fn register() -> Self {
        Self::Register {
            role: None,
            labels: Vec::new(),
        }
    }

    /// It has nothing to do, and means to look again after so long. A part of a second counts whole.
    pub fn sleep(reason: impl Into<String>, timeout: Duration) -> Self {
        Self::Sleep {
            reason: reason.into(),
            timeout_s: Some(whole_seconds(timeout)),
        }
    }
}

/// Which agents are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentFilter {
    /// How they stand.
    pub state: Option<AgentState>,
    /// Whether their commands are refused.
    pub is_revoked: Option<bool>,
    /// What kind of agents they are.
    pub kind: Option<AgentKind>,
    /// Only helpers of this principal.
    pub parent: Option<String>,
}

impl AgentFilter {
    /// Every agent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only agents that stand so.
    #[must_use]
    pub fn state(mut self, state: AgentState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only agents whose commands are refused, or only the others.
    #[must_use]
    pub fn revoked(mut self, is_revoked: bool) -> Self {
        self.is_revoked = Some(is_revoked);
        self
    }

    /// Only agents of this kind.
    #[must_use]
    pub fn kind(mut self, kind: AgentKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only helpers of this principal, such as `agent:lead`.
    #[must_use]
    pub fn parent(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    fn matches(&self, agent: &Agent) -> bool {
        let parent = agent.helper.as_ref().map(|helper| &helper.parent);
        (self.parent.is_none() || self.parent.as_ref() == parent)
            && self.kind.is_none_or(|kind| kind == agent.kind())
            && self.state.is_none_or(|state| state == agent.state)
            && self
                .is_revoked
                .is_none_or(|is_revoked| is_revoked == agent.is_revoked)
    }
}

/// The agents of a log.
#[derive(Debug, Clone)]
pub struct Agents {
    pub(super) log: Log,
}

impl Agents {
    /// The agents of a log that was opened with [`AgentsFold`](super::AgentsFold).
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone() }
    }

    /// Changes an agent, and answers since when it is so. What is so already is not recorded again.
    ///
    /// # Errors
    ///
    /// [`AgentError`]; then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn change(
        &self,
        name: &str,
        change: &AgentChange,
    ) -> Result<Option<Position>, AgentError> {
        self.change_by(name, change, Waiting::Async).await
    }

    /// [`change`](Self::change) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`change`](Self::change).
    pub fn change_blocking(
        &self,
        name: &str,
        change: &AgentChange,
    ) -> Result<Option<Position>, AgentError> {
        at_once(self.change_by(name, change, Waiting::Blocking))
    }

    async fn change_by(
        &self,
        name: &str,
        change: &AgentChange,
        waiting: Waiting,
    ) -> Result<Option<Position>, AgentError> {
        let ask = || ChangeAgent {
            name: name.to_owned(),
            change: change.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in 0..REDECIDED {
            let done = self
                .changing(name, change)?
                .run_by(&self.log, waiting)
                .await?;
            if let Some(answer) = self.done(name, done) {
                return answer;
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    fn changing(&self, name: &str, change: &AgentChange) -> Result<Command<Done>, AgentError> {
        if !is_agent_name(name) {
            let name = name.to_owned();
            return Err(AgentError::BadName { name });
        }
        let stream = stream_of(name);
        let event = match change {
            AgentChange::Register { role, labels } => {
                let event = AgentRegistered {
                    role: role.clone(),
                    labels: labels.clone(),
                };
                NewEvent::typed(&event, stream)
            }
            AgentChange::Sleep { reason, .. } => {
                let reason = reason.clone();
                NewEvent::typed(&AgentSlept { reason }, stream)
            }
            AgentChange::Wake => NewEvent::typed(&AgentWoke {}, stream),
            AgentChange::Power { reason, .. } => {
                let reason = reason.clone();
                NewEvent::typed(&AgentPowered { reason }, stream)
            }
            AgentChange::Revoke { reason } => {
                let reason = reason.clone();
                NewEvent::typed(&AgentRevoked { reason }, stream)
            }
        }?;
        let mut draft = about(name, event);
        if let AgentChange::Sleep {
            timeout_s: Some(timeout_s),
            ..
        } = change
        {
            let timeout = Control::new().u64(field::TIMEOUT_S, *timeout_s);
            draft.control = draft.control.merge(timeout);
        }
        let (name, act) = (name.to_owned(), self.act(change)?);
        Ok(Command::new(&self.log, vec![draft], move |context| {
            decide::change(context, &name, act)
        })?)
    }

    fn act(&self, change: &AgentChange) -> Result<Act, AgentError> {
        Ok(match change {
            AgentChange::Register { .. } => Act::Register,
            AgentChange::Sleep { .. } => Act::Sleep,
            AgentChange::Wake => Act::Wake,
            AgentChange::Power { runs, .. } => {
                let in_force = Settings::in_force(&self.log)?;
                Act::Power {
                    runs: *runs,
                    most: in_force.settings.helpers.max_running,
                    settings_at: in_force.position,
                }
            }
            AgentChange::Revoke { .. } => Act::Revoke,
        })
    }

    /// `None`: to be decided again.
    pub(super) fn done(
        &self,
        name: &str,
        done: Done,
    ) -> Option<Result<Option<Position>, AgentError>> {
        let name = name.to_owned();
        Some(Err(match done {
            Done::At(position) => return Some(Ok(position)),
            Done::Reconfigured => return None,
            Done::NotFound => AgentError::NotFound { name },
            Done::NotAllowed(needs) => AgentError::NotAllowed {
                principal: self.log.principal().0.to_owned(),
                needs: needs.into(),
            },
            Done::Retired => AgentError::Retired { name },
            Done::CapReached { parent, most } => AgentError::CapReached { parent, most },
            Done::NotHelper => AgentError::NotHelper { name },
            Done::KeepsOn => AgentError::AutoRetireDisabled { name },
        }))
    }

    /// How an agent stands; `None` if nobody registered it.
    ///
    /// # Errors
    ///
    /// [`AgentError::Read`] if the log cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Agent>, AgentError> {
        view::check(&self.log, FOLD)?;
        let row: Option<AgentRow> = view::stored(&self.log, FOLD, &agent_key(name))?;
        let steady_us = self.log.steady_us();
        Ok(row.map(|row| Agent::of(name.to_owned(), &row, steady_us)))
    }

    /// What an agent does, and the words to find it by; nothing of that if it was erased.
    ///
    /// # Errors
    ///
    /// [`AgentError::Read`] if the log cannot be read.
    pub fn description(&self, agent: &Agent) -> Result<Description, AgentError> {
        let record = self.log.record(agent.registered)?;
        if record.header.event_type == AgentHelperSpawned::TYPE {
            let said = record.decode::<AgentHelperSpawned>().unwrap_or_default();
            return Ok(Description {
                role: said.role,
                labels: Vec::new(),
                spawned_for: said.spawned_for,
            });
        }
        let said = record.decode::<AgentRegistered>().unwrap_or_default();
        Ok(Description {
            role: said.role,
            labels: said.labels,
            spawned_for: None,
        })
    }

    /// Agents that are meant, by name. It holds them all in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
    pub fn list(&self, filter: &AgentFilter) -> Result<Vec<Agent>, ReadError> {
        view::check(&self.log, FOLD)?;
        let steady_us = self.log.steady_us();
        let mut found = Vec::new();
        view::each(&self.log, FOLD, &[AGENT_ROW], |(key, row)| {
            let name = std::str::from_utf8(key.get(1..).unwrap_or_default());
            let name = name.map_err(|error| view::failed(FOLD, error))?;
            let row = rows::decode(&row).map_err(|error| view::failed(FOLD, error))?;
            let agent = Agent::of(name.to_owned(), &row, steady_us);
            if filter.matches(&agent) {
                found.push(agent);
            }
            Ok(())
        })?;
        Ok(found)
    }
}
