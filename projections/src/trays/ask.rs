//! What is asked of trays.

use super::MAX_DEPENDS_ON;
use super::TrayError;
use crate::agents::is_agent_name;
use crate::lease::Hold;
use crate::tasks::ask::check_id;
use crate::tasks::{NewTask, TaskError};
use runstone_store::micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// How long a task of a tray may be held without a word, in seconds.
pub const LEASE_S: RangeInclusive<u64> = 60..=86_400;
const SECOND_US: u64 = 1_000_000;

/// A task that is to be put into a tray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "a task is nothing until it is put into a tray"]
pub struct NewTrayTask {
    pub(super) task: NewTask,
    pub(super) priority: u64,
    pub(super) depends_on: Vec<String>,
}

impl NewTrayTask {
    /// This task, of priority 0, which waits for none.
    pub fn new(task: NewTask) -> Self {
        Self {
            task,
            priority: 0,
            depends_on: Vec::new(),
        }
    }

    /// What is claimed first has the highest.
    pub fn priority(mut self, priority: u64) -> Self {
        self.priority = priority;
        self
    }

    /// It is claimed when that task of the tray is done. At most [`MAX_DEPENDS_ON`]; once each.
    pub fn depends_on(mut self, id: impl Into<String>) -> Self {
        let id = id.into();
        if !self.depends_on.contains(&id) {
            self.depends_on.push(id);
        }
        self
    }

    pub(super) fn check(&self) -> Result<(), TrayError> {
        self.task.check()?;
        let (found, limit) = (self.depends_on.len(), MAX_DEPENDS_ON);
        if found > limit {
            return Err(TrayError::TooManyDependencies { found, limit });
        }
        Ok(self.depends_on.iter().try_for_each(|id| check_id(id))?)
    }
}

impl From<NewTask> for NewTrayTask {
    fn from(task: NewTask) -> Self {
        Self::new(task)
    }
}

/// Whether a task of a tray may be held so. The settings see to it that their default may.
pub(crate) fn check_hold(hold: Hold) -> Result<(), TaskError> {
    let (Hold::For(lease) | Hold::ByClock(lease)) = hold else {
        return Ok(());
    };
    let lease_us = micros(lease);
    let [shortest, longest] =
        [LEASE_S.start(), LEASE_S.end()].map(|end| end.saturating_mul(SECOND_US));
    if (shortest..=longest).contains(&lease_us) {
        return Ok(());
    }
    Err(TaskError::BadLease { lease_us })
}

/// Names of trays stand in what is never erased, so they are pseudonyms, as names of agents are.
pub(super) fn check_tray(name: &str) -> Result<(), TrayError> {
    if is_agent_name(name) {
        return Ok(());
    }
    Err(TrayError::BadName {
        name: name.to_owned(),
    })
}
