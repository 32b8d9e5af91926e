//! Helpers: agents that do a part of another one's work, for a time.
//!
//! A helper's time is measured by the log's clock and goes on while the log is closed: it is no lease
//! that somebody renews but the end of whoever was forgotten, and given again at each open it would
//! never come for helpers whose parents open the log for each thing that they do.

use super::decide::{Done, about, stream_of};
use super::fold::{EXPIRY_ROW, FOLD, ORPHANED_ROW, agent_key, child_key};
use super::helper_decide::{self, Spawning, Terms};
use super::message::REDECIDED;
use super::{AgentError, Agents, RetireReason, is_agent_name};
use crate::asks::{ReapHelpers, RetireHelper, SpawnHelper};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::control::agent as field;
use crate::events::{AgentHelperSpawned, AgentRetired};
use crate::rows::AgentRow;
use crate::settings::Settings;
use crate::tasks::{TaskError, TaskId, Tasks};
use crate::{trays, view};
use runstone_codec::{Control, NewEvent, Position};
use runstone_store::{AppendError, Log, Opening, ReadError, whole_seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a helper may live, in seconds.
pub const TTL_S: RangeInclusive<u64> = 60..=86_400;

/// Most helpers that one command lets go.
pub const MAX_REAPED: usize = 64;

const SECOND_US: u64 = 1_000_000;
/// How much of a digest makes the name of a tray.
const OWN_TRAY_BYTES: usize = 16;

/// A helper that is to be spawned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct NewHelper {
    /// Its name: a pseudonym. One that an agent has or had is taken.
    pub name: String,
    /// The tray that it works on. Default: one of its own, whose name is made up and which is opened
    /// with it.
    pub tray: Option<String>,
    /// What it does.
    pub role: Option<String>,
    /// Seconds that it lives, within [`TTL_S`]. Default: as the settings say (`leases.helper_s`).
    pub ttl_s: Option<u64>,
    /// Whether it may retire itself. Default true.
    pub auto_retire: bool,
    /// Id of the task that it is for.
    pub spawned_for: Option<String>,
}

impl NewHelper {
    /// A helper of this name, with a tray of its own.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tray: None,
            role: None,
            ttl_s: None,
            auto_retire: true,
            spawned_for: None,
        }
    }

    /// It works on this tray.
    #[must_use]
    pub fn tray(mut self, tray: impl Into<String>) -> Self {
        self.tray = Some(tray.into());
        self
    }

    /// What it does.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// It lives so long, within [`TTL_S`]. A part of a second counts whole.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_s = Some(whole_seconds(ttl));
        self
    }

    /// Whether it may retire itself.
    #[must_use]
    pub fn auto_retire(mut self, auto_retire: bool) -> Self {
        self.auto_retire = auto_retire;
        self
    }

    /// It is for this task.
    #[must_use]
    pub fn spawned_for(mut self, task: impl Into<String>) -> Self {
        self.spawned_for = Some(task.into());
        self
    }
}

/// A helper that was spawned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Spawned {
    /// Its name.
    pub name: String,
    /// Its tray.
    pub tray: String,
    /// Where it is recorded.
    pub position: Position,
    /// When its time is over, Unix microseconds.
    pub expires_at_us: u64,
    /// Whether a supervisor should run it. It should not if as many helpers of its parent run as may
    /// (`helper_cap_reached`): it can be powered on when one of them stopped.
    pub is_running: bool,
}

/// A helper that the log let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Reaped {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: RetireReason,
    /// Tasks that it held, which are to be done again.
    pub released: Vec<TaskId>,
}

impl Reaped {
    fn of(name: String, why: RetireReason) -> Self {
        let released = Vec::new();
        Self {
            name,
            why,
            released,
        }
    }
}

/// Helpers that were let go, with what each held.
fn with(mut reaped: Vec<Reaped>, released: Vec<(String, TaskId)>) -> Vec<Reaped> {
    for (name, task) in released {
        if let Some(helper) = reaped.iter_mut().find(|helper| helper.name == name) {
            helper.released.push(task);
        }
    }
    reaped
}

impl Agents {
    /// Spawns a helper of whoever this handle acts as. Helpers whose time is over are let go before.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: `bad_name`, `bad_tray`, `bad_ttl`, `helper_chain_forbidden`, `name_taken`,
    /// `tier_limit`, or `not_allowed` if the caller must exit; then there is no such helper.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the helper may be there until its time is over.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn spawn(&self, helper: &NewHelper) -> Result<Spawned, AgentError> {
        self.spawn_by(helper, Waiting::Async).await
    }

    /// [`spawn`](Self::spawn) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_blocking(&self, helper: &NewHelper) -> Result<Spawned, AgentError> {
        at_once(self.spawn_by(helper, Waiting::Blocking))
    }

    async fn spawn_by(&self, helper: &NewHelper, waiting: Waiting) -> Result<Spawned, AgentError> {
        let ask = || SpawnHelper {
            helper: helper.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        check(helper)?;
        self.reap_by(waiting).await?;
        for _ in 0..REDECIDED {
            let (command, most) = self.spawning(helper)?;
            let spawning = command.run_by(&self.log, waiting).await?;
            if let Some(answer) = self.spawned(helper, most, spawning) {
                return answer;
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    /// A helper retires: it is gone for good, and must exit. Tasks that it held are to be done again.
    /// Answers since when; doing so again is no other answer.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: `not_a_helper`, `auto_retire_disabled`, or `not_allowed` for another agent.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be retired; a sweep gives back what it held.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn retire(
        &self,
        name: &str,
        why: RetireReason,
    ) -> Result<Option<Position>, AgentError> {
        self.retire_by(name, why, Waiting::Async).await
    }

    /// [`retire`](Self::retire) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`retire`](Self::retire).
    pub fn retire_blocking(
        &self,
        name: &str,
        why: RetireReason,
    ) -> Result<Option<Position>, AgentError> {
        at_once(self.retire_by(name, why, Waiting::Blocking))
    }

    async fn retire_by(
        &self,
        name: &str,
        why: RetireReason,
        waiting: Waiting,
    ) -> Result<Option<Position>, AgentError> {
        let ask = || RetireHelper {
            name: name.to_owned(),
            why,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let done = self.retiring(name, why)?.run_by(&self.log, waiting).await?;
        let at = self.retired(name, done)?;
        let tasks = Tasks::new(&self.log);
        tasks.release_held(&[name], waiting).await?;
        Ok(at)
    }

    /// Lets helpers go whose time is over, those that waited longest first, and those whose parent
    /// must exit; at most [`MAX_REAPED`]. What they held is to be done again.
    ///
    /// # Errors
    ///
    /// [`AgentError`] if the log cannot be read or does not record it; those before it are recorded.
    /// After [`AgentError::Tasks`] all are gone, and a sweep gives back what they still hold.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some of them may be gone; the others go the next time.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn reap(&self) -> Result<Vec<Reaped>, AgentError> {
        self.reap_by(Waiting::Async).await
    }

    /// [`reap`](Self::reap) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap).
    pub fn reap_blocking(&self) -> Result<Vec<Reaped>, AgentError> {
        at_once(self.reap_by(Waiting::Blocking))
    }

    pub(super) async fn reap_by(&self, waiting: Waiting) -> Result<Vec<Reaped>, AgentError> {
        let ask = || ReapHelpers {};
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let mut reaped = Vec::new();
        for name in self.due()? {
            let Some(why) = self.reaping(&name)?.run_by(&self.log, waiting).await? else {
                continue;
            };
            reaped.push(Reaped::of(name, why));
        }
        let names: Vec<&str> = reaped.iter().map(|reaped| reaped.name.as_str()).collect();
        let tasks = Tasks::new(&self.log);
        let released = tasks.release_held(&names, waiting).await?;
        Ok(with(reaped, released))
    }

    fn spawning(&self, helper: &NewHelper) -> Result<(Command<Spawning>, u64), AgentError> {
        view::check(&self.log, FOLD)?;
        let in_force = Settings::in_force(&self.log)?;
        let settings = &in_force.settings;
        let ttl_s = helper.ttl_s.unwrap_or(settings.leases.helper_s);
        let tray = helper.tray.clone();
        let tray = tray.unwrap_or_else(|| own_tray(&self.log.opening(), &helper.name));
        let terms = Terms {
            tray,
            opens_tray: helper.tray.is_none(),
            ttl_us: ttl_s.saturating_mul(SECOND_US),
            most_registered: settings.helpers.max_registered,
            most_running: settings.helpers.max_running,
            settings_at: in_force.position,
        };
        let event = AgentHelperSpawned {
            role: helper.role.clone(),
            spawned_for: helper.spawned_for.clone(),
        };
        let name = helper.name.clone();
        let mut draft = about(&name, NewEvent::typed(&event, stream_of(&name))?);
        let auto_retire = u64::from(helper.auto_retire);
        let own = Control::new().u64(field::AUTO_RETIRE, auto_retire);
        draft.control = draft.control.merge(own);
        let most = terms.most_registered;
        let mut candidates = vec![draft];
        if terms.opens_tray {
            candidates.push(trays::opened(&terms.tray)?);
        }
        let command = Command::new(&self.log, candidates, move |context| {
            helper_decide::spawn(context, &name, &terms)
        })?;
        Ok((command, most))
    }

    /// `None`: to be decided again.
    fn spawned(
        &self,
        helper: &NewHelper,
        most: u64,
        spawning: Spawning,
    ) -> Option<Result<Spawned, AgentError>> {
        let (name, principal) = (helper.name.clone(), self.log.principal().0.to_owned());
        Some(match spawning {
            Spawning::Done {
                position,
                tray,
                expires_at_us,
                is_running,
            } => Ok(Spawned {
                name,
                tray,
                position,
                expires_at_us,
                is_running,
            }),
            Spawning::Chain => Err(AgentError::Chain { principal }),
            Spawning::MustExit => Err(AgentError::NotAllowed {
                principal,
                needs: "an agent that need not exit".into(),
            }),
            Spawning::Taken => Err(AgentError::NameTaken { name }),
            Spawning::TierLimit => Err(AgentError::TierLimit {
                parent: principal,
                most,
            }),
            Spawning::Reconfigured => return None,
        })
    }

    fn retiring(&self, name: &str, why: RetireReason) -> Result<Command<Done>, AgentError> {
        let draft = retirement(name)?;
        let name = name.to_owned();
        Ok(Command::new(&self.log, vec![draft], move |context| {
            helper_decide::retire(context, &name, why)
        })?)
    }

    fn retired(&self, name: &str, done: Done) -> Result<Option<Position>, AgentError> {
        // Nothing here goes by settings, so nothing is decided again.
        self.done(name, done)
            .unwrap_or_else(|| Err(AppendError::Contended { times: 1 }.into()))
    }

    /// Lets those go who are due, before somebody claims work. What they hold in scopes whose keys are
    /// away keeps nobody from working, and who was revoked is told so of his claim.
    pub(crate) async fn reap_before(&self, waiting: Waiting) -> Result<(), AppendError> {
        if !self.due().is_ok_and(|due| !due.is_empty()) {
            return Ok(());
        }
        match self.reap_by(waiting).await {
            Err(AgentError::Append(error) | AgentError::Tasks(TaskError::Append(error)))
                if error.code() != "agent_revoked" =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn reaping(&self, name: &str) -> Result<Command<Option<RetireReason>>, AgentError> {
        let draft = retirement(name)?;
        let name = name.to_owned();
        Ok(Command::new(&self.log, vec![draft], move |context| {
            helper_decide::reap(context, &name)
        })?)
    }

    /// Helpers that are to be let go, as far as can be seen: each is decided for itself.
    fn due(&self) -> Result<Vec<String>, ReadError> {
        view::check(&self.log, FOLD)?;
        let steady_us = self.log.steady_us();
        let (mut due, mut seen) = (Vec::new(), BTreeSet::new());
        let expiring = self
            .log
            .fold_rows(FOLD, &[EXPIRY_ROW], &[EXPIRY_ROW], MAX_REAPED)?;
        for (key, _) in expiring {
            let (expires_at_us, name) = key
                .get(1..)
                .and_then(|key| key.split_first_chunk())
                .ok_or_else(unnamed)?;
            if u64::from_be_bytes(*expires_at_us) > steady_us {
                break;
            }
            let name = text(name)?;
            if seen.insert(name.clone()) {
                due.push(name);
            }
        }
        let parents = self
            .log
            .fold_rows(FOLD, &[ORPHANED_ROW], &[ORPHANED_ROW], MAX_REAPED)?;
        for (key, _) in parents {
            if due.len() >= MAX_REAPED {
                break;
            }
            let prefix = child_key(&text(key.get(1..).unwrap_or_default())?, "");
            // Some of them may be due already.
            for (key, _) in self.log.fold_rows(FOLD, &prefix, &prefix, MAX_REAPED)? {
                let name = text(key.get(prefix.len()..).unwrap_or_default())?;
                if due.len() < MAX_REAPED && seen.insert(name.clone()) {
                    due.push(name);
                }
            }
        }
        Ok(due)
    }
}

fn check(helper: &NewHelper) -> Result<(), AgentError> {
    if !is_agent_name(&helper.name) {
        let name = helper.name.clone();
        return Err(AgentError::BadName { name });
    }
    match (&helper.tray, helper.ttl_s) {
        (Some(tray), _) if !is_agent_name(tray) => {
            let name = tray.clone();
            Err(AgentError::BadTray { name })
        }
        (_, Some(ttl_s)) if !TTL_S.contains(&ttl_s) => Err(AgentError::BadTtl { ttl_s }),
        _ => Ok(()),
    }
}

/// What the own tray of a helper is called. Its name was never another's, and nobody knows what an
/// opening is called beforehand: so no tray is called so already.
fn own_tray(opening: &Opening, name: &str) -> String {
    let digest = Sha256::new().chain_update(opening.id).chain_update(name);
    let digest = digest.finalize();
    let short = digest.get(..OWN_TRAY_BYTES).unwrap_or(&digest);
    format!("tray-{}", crate::hex(short))
}

/// The tray that a helper works on; `None`: there is no such helper.
pub(crate) fn tray_of(log: &Log, name: &str) -> Result<Option<String>, ReadError> {
    view::check(log, FOLD)?;
    let row: Option<AgentRow> = view::stored(log, FOLD, &agent_key(name))?;
    Ok(row.and_then(|row| row.helper).map(|helper| helper.tray))
}

/// That a helper is gone.
fn retirement(name: &str) -> Result<runstone_codec::Draft, AgentError> {
    if !is_agent_name(name) {
        let name = name.to_owned();
        return Err(AgentError::BadName { name });
    }
    let event = NewEvent::typed(&AgentRetired {}, stream_of(name))?;
    Ok(about(name, event))
}

fn text(bytes: &[u8]) -> Result<String, ReadError> {
    String::from_utf8(bytes.to_vec()).map_err(|error| view::failed(FOLD, error))
}

fn unnamed() -> ReadError {
    view::failed(FOLD, "the key of a row names no helper")
}
