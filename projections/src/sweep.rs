//! Recording what has expired.

use crate::agents::{AgentError, AgentState, Agents, MAX_REAPED};
use crate::approvals::{ApprovalError, Approvals};
use crate::asks::SweepAll;
use crate::budgets::{BudgetError, Budgets};
use crate::command::{Waiting, at_once};
use crate::effects::{EffectError, Effects};
use crate::tasks::{TaskError, TaskFilter, TaskState, Tasks};
use runstone_store::{ErrorKind, Log};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names of the folds that [`sweep_open`] looks at.
pub const SWEPT_FOLDS: [&str; 5] = ["agents", "approvals", "effects", "tasks", "trays"];

/// What a sweep recorded, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Swept {
    /// Tasks that went back to todo, or became dead letters of their trays, because a lease was over
    /// or their holder is gone for good.
    pub tasks: usize,
    /// Calls whose outcomes are unknown because a lease was over.
    pub calls: usize,
    /// Requests for approval that nobody decided in time.
    pub approvals: usize,
    /// Helpers whose time was over, or whose parent must exit.
    pub helpers: usize,
    /// Reservations of budgets whose lease was over.
    pub reservations: usize,
}

/// Why a sweep ends early. What was recorded before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// Of tasks.
    #[error(transparent)]
    Tasks(#[from] TaskError),
    /// Of calls.
    #[error(transparent)]
    Effects(#[from] EffectError),
    /// Of approvals.
    #[error(transparent)]
    Approvals(#[from] ApprovalError),
    /// Of helpers.
    #[error(transparent)]
    Agents(#[from] AgentError),
    /// Of budgets.
    #[error(transparent)]
    Budgets(#[from] BudgetError),
}

impl SweepError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tasks(error) => error.code(),
            Self::Effects(error) => error.code(),
            Self::Approvals(error) => error.code(),
            Self::Agents(error) => error.code(),
            Self::Budgets(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tasks(error) => error.kind(),
            Self::Effects(error) => error.kind(),
            Self::Approvals(error) => error.kind(),
            Self::Agents(error) => error.kind(),
            Self::Budgets(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Tasks(error) => error.is_retryable(),
            Self::Effects(error) => error.is_retryable(),
            Self::Approvals(error) => error.is_retryable(),
            Self::Agents(error) => error.is_retryable(),
            Self::Budgets(error) => error.is_retryable(),
        }
    }
}

/// Records everything in a log that has expired. Whoever asks sees it without: this is for those who
/// read the log, and for what is to go on without anybody asking. It blocks.
///
/// # Errors
///
/// [`SweepError`] if the log cannot be read or does not record it.
///
/// # Durability
///
/// What is answered survives power loss.
pub fn sweep(log: &Log) -> Result<Swept, SweepError> {
    if let Some(told) = log.ask_there_blocking(&SweepAll {}) {
        return told;
    }
    let mut swept = sweep_open(log)?;
    swept.reservations = Budgets::new(log).sweep_blocking()?;
    Ok(swept)
}

/// What a process does that opened a log to hold it: a [`sweep`] of all but reservations, which the next
/// command on their budgets records. So it takes as long as there are open items, and not longer with
/// every budget. Nothing is asked of another process that holds the log.
///
/// # Errors
///
/// As [`sweep`].
///
/// # Durability
///
/// As [`sweep`].
pub fn sweep_open(log: &Log) -> Result<Swept, SweepError> {
    let mut swept = Swept::default();
    let agents = Agents::new(log);
    loop {
        let reaped = agents.reap_blocking()?;
        swept.helpers = swept.helpers.saturating_add(reaped.len());
        let released = reaped.iter().map(|reaped| reaped.released.len());
        swept.tasks = swept.tasks.saturating_add(released.sum());
        if reaped.len() < MAX_REAPED {
            break;
        }
    }
    swept.tasks = swept.tasks.saturating_add(of_retired(log)?);
    let expired = Tasks::new(log).sweep_blocking()?;
    swept.tasks = swept.tasks.saturating_add(expired.len());
    swept.calls = Effects::new(log).sweep_blocking()?;
    swept.approvals = Approvals::new(log).sweep_blocking()?;
    Ok(swept)
}

/// Gives back what helpers still hold that retired: whoever let one go may have been killed before
/// it gave its tasks back.
fn of_retired(log: &Log) -> Result<usize, SweepError> {
    let (tasks, agents) = (Tasks::new(log), Agents::new(log));
    let under_way = tasks.list(&TaskFilter::new().state(TaskState::InProgress))?;
    let holders: BTreeSet<String> = under_way
        .into_iter()
        .filter_map(|task| task.held_as)
        .collect();
    let mut retired = Vec::new();
    for name in &holders {
        let agent = agents.find(name)?;
        if agent.is_some_and(|agent| agent.state == AgentState::Retired) {
            retired.push(name.as_str());
        }
    }
    let released = tasks.release_held(&retired, Waiting::Blocking);
    Ok(at_once(released)?.len())
}
