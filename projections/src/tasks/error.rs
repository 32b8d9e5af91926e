//! Why something is not done.

use super::{LoopType, Task, TaskState};
use crate::budgets::BudgetError;
use crate::settings::SettingsError;
use crate::trays::LEASE_S;
use runstone_codec::{EventError, Position};
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// Why a task is not created, moved or claimed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskError {
    /// The id cannot be one.
    #[error(
        "the id of a task has 1 to {} bytes; this one has {len}",
        super::MAX_ID_LEN
    )]
    Id {
        /// Its length in bytes.
        len: usize,
    },
    /// A task begins in todo or backlog.
    #[error("a task begins in todo or backlog, not in {state}")]
    BadBeginning {
        /// The state that was given.
        state: TaskState,
    },
    /// A name is too long.
    #[error("the {what} has {len} bytes; at most {limit} are taken")]
    TooLong {
        /// Of what.
        what: Cow<'static, str>,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No task of a tray is held so long, or so short.
    #[error("a task of a tray is held for {} to {} seconds, not for {:?}", LEASE_S.start(), LEASE_S.end(), Duration::from_micros(*.lease_us))]
    BadLease {
        /// The time that was given, in microseconds.
        lease_us: u64,
    },
    /// There is no such task.
    #[error("there is no task `{id}`")]
    NotFound {
        /// Its id.
        id: String,
    },
    /// The log does not know the parent.
    #[error("there is no task `{parent}`, which is to be the parent")]
    ParentNotFound {
        /// Its id.
        parent: String,
    },
    /// It does not say what the settings ask for.
    #[error("Cannot create task '{title}': admission schema incomplete (missing: {})", .missing.join(", "))]
    Admission {
        /// What it is called.
        title: String,
        /// The fields that are missing or blank.
        missing: Vec<String>,
    },
    /// It cannot be the name of an agent.
    #[error("`{name}` cannot be the name of an agent")]
    BadAgent {
        /// The name.
        name: String,
    },
    /// The agent through which it was to be created sleeps.
    #[error(
        "Cannot create_task('{title}') while in idle mode. No speculative execution or self-generated busywork allowed."
    )]
    Idle {
        /// What it is called.
        title: String,
    },
    /// The agent that claims it is gone for good.
    #[error("`{name}` is retired: it is gone for good")]
    Retired {
        /// The agent.
        name: String,
    },
    /// It would be a loop.
    #[error("{text}")]
    Loop {
        /// Which kind of loop.
        loop_type: LoopType,
        /// What leads to it.
        text: String,
    },
    /// There is such a task, and it has not ended.
    #[error("there is a task `{id}`, and it is {}", .task.state)]
    Exists {
        /// Its id.
        id: String,
        /// How it stands.
        task: Box<Task>,
    },
    /// The task cannot go from its state to that one.
    #[error("{reason}")]
    Refused {
        /// How it stands.
        from: TaskState,
        /// Where it was to go.
        to: TaskState,
        /// Why not.
        reason: String,
    },
    /// Only what is to be done can be claimed.
    #[error("task `{id}` is {}; only one that is todo can be claimed", .task.state)]
    NotClaimable {
        /// Its id.
        id: String,
        /// How it stands.
        task: Box<Task>,
    },
    /// It lies in a tray, from where alone it is claimed.
    #[error("task `{id}` lies in a tray: it is claimed from there, in its turn")]
    InTray {
        /// Its id.
        id: String,
        /// How it stands.
        task: Box<Task>,
    },
    /// Another one holds it.
    #[error("task `{id}` is held by {}{}", .task.holder, until(.task))]
    Held {
        /// Its id.
        id: String,
        /// How it stands.
        task: Box<Task>,
    },
    /// The claim is not the one in force: somebody else holds the task, or nobody does any more.
    #[error("the claim at position {fence} is not in force: task `{id}` is {}{}", .task.state, claimed(.task))]
    StaleClaim {
        /// Its id.
        id: String,
        /// The claim.
        fence: Position,
        /// How the task stands.
        task: Box<Task>,
    },
    /// The budget that it would be in has no room for it, or there is none.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The log did not record it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The settings cannot be read.
    #[error(transparent)]
    #[serde(skip)]
    Settings(#[from] SettingsError),
    /// What is to be recorded breaks a rule.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl TaskError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Id { .. } => "bad_task_id",
            Self::BadBeginning { .. } => "bad_task_state",
            Self::TooLong { .. } => "name_too_long",
            Self::BadLease { .. } => "bad_lease",
            Self::NotFound { .. } => "task_not_found",
            Self::ParentNotFound { .. } => "task_parent_not_found",
            Self::Admission { .. } => "admission_incomplete",
            Self::BadAgent { .. } => "bad_name",
            Self::Idle { .. } => "agent_idle",
            Self::Retired { .. } => "agent_retired",
            Self::Loop { loop_type, .. } => match loop_type {
                LoopType::DepthExceeded => "depth_exceeded",
                LoopType::CycleDetected => "cycle_detected",
                LoopType::IdentityLoop => "identity_loop",
                LoopType::ReprocessDetected => "reprocess_detected",
            },
            Self::Exists { .. } => "task_exists",
            Self::Refused { .. } => "task_move_refused",
            Self::NotClaimable { .. } => "task_not_claimable",
            Self::InTray { .. } => "task_in_tray",
            Self::Held { .. } => "task_held",
            Self::StaleClaim { .. } => "stale_claim",
            Self::Budget(error) => error.code(),
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Id { .. }
            | Self::BadBeginning { .. }
            | Self::TooLong { .. }
            | Self::BadLease { .. }
            | Self::BadAgent { .. }
            | Self::Event(_) => ErrorKind::Usage,
            Self::NotFound { .. } | Self::ParentNotFound { .. } => ErrorKind::NotFound,
            Self::Admission { .. }
            | Self::Idle { .. }
            | Self::Retired { .. }
            | Self::Loop { .. }
            | Self::Refused { .. }
            | Self::NotClaimable { .. }
            | Self::InTray { .. } => ErrorKind::Refused,
            Self::Exists { .. } | Self::Held { .. } | Self::StaleClaim { .. } => {
                ErrorKind::Conflict
            }
            Self::Budget(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Held { .. } => true,
            Self::Budget(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// How the task stands, where that is the reason.
    pub fn task(&self) -> Option<&Task> {
        match self {
            Self::Exists { task, .. }
            | Self::NotClaimable { task, .. }
            | Self::InTray { task, .. }
            | Self::Held { task, .. }
            | Self::StaleClaim { task, .. } => Some(task),
            _ => None,
        }
    }
}

fn until(task: &Task) -> String {
    match task.lease_expires_at_us {
        Some(us) => format!(" until {us} (Unix microseconds)"),
        None => " as long as its process has the log open".to_owned(),
    }
}

fn claimed(task: &Task) -> String {
    match task.fence {
        Some(fence) => format!(", claimed last at position {fence}"),
        None => ", and nobody claimed it".to_owned(),
    }
}
