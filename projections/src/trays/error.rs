//! Why something is not done.

use crate::settings::SettingsError;
use crate::tasks::TaskError;
use runstone_codec::EventError;
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};

/// Why something is not done with a tray or a task in it.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrayError {
    /// It cannot be the name of a tray.
    #[error(
        "`{name}` cannot be the name of a tray: [A-Za-z0-9] and then [A-Za-z0-9._-], at most {} bytes",
        crate::agents::MAX_AGENT_NAME_LEN
    )]
    BadName {
        /// What was given.
        name: String,
    },
    /// There is no such tray.
    #[error("there is no tray `{tray}`")]
    NotFound {
        /// Its name.
        tray: String,
    },
    /// Who asks is no helper, and has no tray of its own.
    #[error("`{principal}` has no tray of its own: only a helper has, by its credential")]
    NoOwnTray {
        /// Who asks.
        principal: String,
    },
    /// Nothing more goes into it.
    #[error("tray `{tray}` is closed: it takes no more tasks")]
    Closed {
        /// Its name.
        tray: String,
    },
    /// The task does not lie in the tray.
    #[error("task `{id}` does not lie in {}", .tray.as_ref().map_or_else(|| "a tray".to_owned(), |tray| format!("tray `{tray}`")))]
    NotInTray {
        /// Its id.
        id: String,
        /// The tray, if one was named.
        tray: Option<String>,
    },
    /// More tasks come before it than may.
    #[error("the task waits for {found} others; at most {limit} may come before one")]
    TooManyDependencies {
        /// How many were given.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// Too many tasks wait for another one.
    #[error("{limit} tasks wait for `{id}` already")]
    TooManyDependents {
        /// The task that they wait for.
        id: String,
        /// How many may.
        limit: u64,
    },
    /// The tray does not know a task that is to come before.
    #[error("tray `{tray}` has no task `{id}`, which is to come before")]
    UnknownDependency {
        /// The id that it does not know.
        id: String,
        /// The tray.
        tray: String,
    },
    /// It would come before itself.
    #[error("task `{id}` would wait for itself")]
    Cycle {
        /// Its id.
        id: String,
    },
    /// What every task goes by.
    #[error(transparent)]
    Task(#[from] TaskError),
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

impl TrayError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad_tray_name",
            Self::NotFound { .. } => "tray_not_found",
            Self::NoOwnTray { .. } => "no_own_tray",
            Self::Closed { .. } => "tray_closed",
            Self::NotInTray { .. } => "task_not_in_tray",
            Self::TooManyDependencies { .. } => "too_many_dependencies",
            Self::TooManyDependents { .. } => "too_many_dependents",
            Self::UnknownDependency { .. } => "dependency_not_found",
            Self::Cycle { .. } => "dependency_cycle",
            Self::Task(error) => error.code(),
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. }
            | Self::NoOwnTray { .. }
            | Self::TooManyDependencies { .. }
            | Self::Event(_) => ErrorKind::Usage,
            Self::NotFound { .. } | Self::NotInTray { .. } | Self::UnknownDependency { .. } => {
                ErrorKind::NotFound
            }
            Self::Closed { .. } | Self::TooManyDependents { .. } | Self::Cycle { .. } => {
                ErrorKind::Refused
            }
            Self::Task(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Task(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }
}
