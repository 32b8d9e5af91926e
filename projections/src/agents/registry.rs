//! Agents by name.

use super::decide::{self, Act, Done, about, stream_of};
use super::fold::{AGENT_ROW, FOLD, agent_key};
use super::{AgentError, AgentState, is_agent_name};
use crate::command::Command;
use crate::events::control::agent as field;
use crate::events::{AgentPowered, AgentRegistered, AgentRevoked, AgentSlept, AgentWoke};
use crate::rows::{self, AgentRow};
use crate::{upcasters, view};
use runstone_codec::{Control, NewEvent, Position};
use runstone_store::{Log, Payload, ReadError};

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
}

impl Agent {
    fn of(name: String, row: &AgentRow) -> Self {
        let state = row.state();
        Self {
            name,
            state,
            since: Position::new(row.since),
            since_us: row.since_us,
            registered: Position::new(row.registered),
            is_stopped: row.is_stopped,
            is_revoked: row.is_revoked,
            timeout_s: row.timeout_s.filter(|_| state == AgentState::Idle),
        }
    }
}

/// What is done to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// commander.
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

    /// It has nothing to do.
    pub fn sleep(reason: impl Into<String>, timeout_s: u64) -> Self {
        Self::Sleep {
            reason: reason.into(),
            timeout_s: Some(timeout_s),
        }
    }

    fn act(&self) -> Act {
        match self {
            Self::Register { .. } => Act::Register,
            Self::Sleep { .. } => Act::Sleep,
            Self::Wake => Act::Wake,
            Self::Power { runs, .. } => Act::Power(*runs),
            Self::Revoke { .. } => Act::Revoke,
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

    fn matches(&self, agent: &Agent) -> bool {
        self.state.is_none_or(|state| state == agent.state)
            && self
                .is_revoked
                .is_none_or(|is_revoked| is_revoked == agent.is_revoked)
    }
}

/// The agents of a log.
#[derive(Debug, Clone)]
pub struct Agents {
    log: Log,
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
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn change(
        &self,
        name: &str,
        change: &AgentChange,
    ) -> Result<Option<Position>, AgentError> {
        let done = self.changing(name, change)?.run(&self.log).await?;
        self.done(name, &done)
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
        let done = self.changing(name, change)?.run_blocking(&self.log)?;
        self.done(name, &done)
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
        let (name, act) = (name.to_owned(), change.act());
        Ok(Command::new(&self.log, vec![draft], move |context| {
            decide::change(context, &name, act)
        })?)
    }

    fn done(&self, name: &str, done: &Done) -> Result<Option<Position>, AgentError> {
        match done {
            Done::At(position) => Ok(*position),
            Done::NotFound => Err(AgentError::NotFound {
                name: name.to_owned(),
            }),
            Done::NotAllowed(needs) => Err(AgentError::NotAllowed {
                principal: self.log.principal().0.to_owned(),
                needs,
            }),
        }
    }

    /// How an agent stands; `None` if nobody registered it.
    ///
    /// # Errors
    ///
    /// [`AgentError::Read`] if the log cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Agent>, AgentError> {
        view::check(&self.log, FOLD)?;
        let row: Option<AgentRow> = view::stored(&self.log, FOLD, &agent_key(name))?;
        Ok(row.map(|row| Agent::of(name.to_owned(), &row)))
    }

    /// What an agent does, and the words to find it by; nothing if that was erased.
    ///
    /// # Errors
    ///
    /// [`AgentError::Read`] if the log cannot be read.
    pub fn description(&self, agent: &Agent) -> Result<AgentRegistered, AgentError> {
        let record = self.log.record(agent.registered)?;
        let Payload::Open(payload) = &record.payload else {
            return Ok(AgentRegistered::default());
        };
        let said = upcasters().decode(&record.header, payload);
        Ok(said.unwrap_or_default())
    }

    /// Agents that are meant, by name. It holds them all in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
    pub fn list(&self, filter: &AgentFilter) -> Result<Vec<Agent>, ReadError> {
        view::check(&self.log, FOLD)?;
        let mut found = Vec::new();
        view::each(&self.log, FOLD, &[AGENT_ROW], |(key, row)| {
            let name = std::str::from_utf8(key.get(1..).unwrap_or_default());
            let name = name.map_err(|error| view::failed(FOLD, error))?;
            let row = rows::decode(&row).map_err(|error| view::failed(FOLD, error))?;
            let agent = Agent::of(name.to_owned(), &row);
            if filter.matches(&agent) {
                found.push(agent);
            }
            Ok(())
        })?;
        Ok(found)
    }
}
