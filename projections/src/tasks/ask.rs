//! What is asked of tasks.

use super::{TaskError, TaskState};
use crate::agents::is_agent_name;
use crate::budgets::Owner;
use crate::lease::Hold;
use runstone_codec::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest id of a task in bytes.
pub const MAX_ID_LEN: usize = 1024;
/// Longest holder or actor in bytes.
pub const MAX_NAME_LEN: usize = 256;

/// A task that is to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "a task is nothing until it is created"]
pub struct NewTask {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) task_type: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) creator: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) admission: BTreeMap<String, String>,
    pub(crate) state: TaskState,
    pub(crate) budget: Option<Owner>,
}

impl NewTask {
    /// A task of this id, one in the scope of its stream. It begins in todo.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: None,
            description: None,
            task_type: None,
            agent: None,
            parent: None,
            creator: None,
            created_by: None,
            admission: BTreeMap::new(),
            state: TaskState::Todo,
            budget: None,
        }
    }

    /// What it is called. Default: its id.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// What is to be done.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// What kind of work it is.
    pub fn task_type(mut self, task_type: impl Into<String>) -> Self {
        self.task_type = Some(task_type.into());
        self
    }

    /// Who is to do it.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// The task that it is a part of; the log must know it.
    pub fn parent(mut self, id: impl Into<String>) -> Self {
        self.parent = Some(id.into());
        self
    }

    /// The task in which it was thought of. The log need not know it.
    pub fn creator(mut self, id: impl Into<String>) -> Self {
        self.creator = Some(id.into());
        self
    }

    /// The agent through which it is created: a pseudonym, never erased. While it sleeps, the task is
    /// not created. An agent with a credential, or an actor `agent:NAME`, need not be named here.
    pub fn created_by(mut self, agent: impl Into<String>) -> Self {
        self.created_by = Some(agent.into());
        self
    }

    /// A field that it says to be admitted, such as `consumer`.
    pub fn admission(mut self, field: impl Into<String>, text: impl Into<String>) -> Self {
        self.admission.insert(field.into(), text.into());
        self
    }

    /// It begins in this state: [`TaskState::Todo`] or [`TaskState::Backlog`].
    pub fn state(mut self, state: TaskState) -> Self {
        self.state = state;
        self
    }

    /// Whose budget it is in, with all tasks below it that name none: a task deeper than the limit of
    /// `depth` there is not created, nor one whose owner is over another limit. A part of a task is in
    /// that one's budget, or in one below it.
    pub fn budget(mut self, owner: impl Into<Owner>) -> Self {
        self.budget = Some(owner.into());
        self
    }

    pub(crate) fn called(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.id)
    }

    pub(crate) fn check(&self) -> Result<(), TaskError> {
        let named = [Some(&self.id), self.parent.as_ref(), self.creator.as_ref()];
        named
            .into_iter()
            .flatten()
            .try_for_each(|id| check_id(id))?;
        if let Some(name) = self.created_by.as_ref().filter(|name| !is_agent_name(name)) {
            let name = name.clone();
            return Err(TaskError::BadAgent { name });
        }
        match self.state {
            TaskState::Todo | TaskState::Backlog => Ok(()),
            state => Err(TaskError::BadBeginning { state }),
        }
    }

    /// The fields that it leaves away or blank, in the order in which they are asked for.
    pub(crate) fn missing(&self, required: &[String]) -> Vec<String> {
        let is_blank = |field: &&String| {
            let said = self.admission.get(*field);
            said.is_none_or(|text| text.trim().is_empty())
        };
        required.iter().filter(is_blank).cloned().collect()
    }
}

pub(crate) fn check_id(id: &str) -> Result<(), TaskError> {
    match id.len() {
        1..=MAX_ID_LEN => Ok(()),
        len => Err(TaskError::Id { len }),
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), TaskError> {
    let (len, limit) = (name.len(), MAX_NAME_LEN);
    if len > limit {
        return Err(TaskError::TooLong {
            what: what.into(),
            len,
            limit,
        });
    }
    Ok(())
}

/// Where a task is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "a move is nothing until it is made"]
pub struct Move {
    pub(crate) id: String,
    pub(crate) to: TaskState,
    pub(crate) fence: Option<Position>,
    pub(crate) comment: Option<String>,
}

impl Move {
    /// The task goes to this state.
    pub fn new(id: impl Into<String>, to: TaskState) -> Self {
        Self {
            id: id.into(),
            to,
            fence: None,
            comment: None,
        }
    }

    /// By the holder of this claim. Without it a task that is held can only be blocked or cancelled.
    pub fn fence(mut self, fence: Position) -> Self {
        self.fence = Some(fence);
        self
    }

    /// What is to be said about it.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }
}

/// What is asked, with what is recorded of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Create(NewTask),
    Move(Move),
    Claim {
        id: String,
        holder: String,
        hold: Hold,
    },
    GiveBack {
        id: String,
        fence: Position,
        /// What went wrong, if the work failed.
        failed: Option<String>,
    },
    Renew {
        id: String,
        fence: Position,
        hold: Hold,
    },
}

impl Order {
    /// As it counts for a holder in another process.
    pub(crate) fn seen_afar(mut self) -> Self {
        if let Self::Claim { hold, .. } | Self::Renew { hold, .. } = &mut self {
            *hold = hold.seen_afar();
        }
        self
    }

    /// The task that it is about.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Create(new) => &new.id,
            Self::Move(moving) => &moving.id,
            Self::Claim { id, .. } | Self::GiveBack { id, .. } | Self::Renew { id, .. } => id,
        }
    }

    pub(crate) fn fence(&self) -> Option<Position> {
        match self {
            Self::Move(moving) => moving.fence,
            Self::GiveBack { fence, .. } | Self::Renew { fence, .. } => Some(*fence),
            Self::Create(_) | Self::Claim { .. } => None,
        }
    }
}
