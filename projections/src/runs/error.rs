//! Why a run is not begun, or not gone on with.

use super::RunSummary;
use crate::budgets::BudgetError;
use crate::sessions::SessionError;
use crate::settings::SettingsError;
use runstone_codec::{Authority, EventError, Position};
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why a run is not begun, or an event of it not recorded.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunError {
    /// Somebody holds it.
    #[error(
        "run `{}` is held by {}; it can be resumed when its holder is gone",
        .0.stream, .0.holder.as_deref().unwrap_or("somebody")
    )]
    Held(Box<RunSummary>),
    /// It ended.
    #[error("run `{}` has ended: {}", .0.stream, .0.status)]
    Finished(Box<RunSummary>),
    /// It exists, and was to be started.
    #[error("run `{}` exists and is {}; resume it, or start one of another name", .0.stream, .0.status)]
    Exists(Box<RunSummary>),
    /// There is no such run. The words are those that mycelium's users know.
    #[error("No flushed state found for run '{stream}'")]
    NotFound {
        /// The stream.
        stream: String,
    },
    /// Somebody else holds it meanwhile, or it ended.
    #[error(
        "run `{stream}` is not held by this claim (position {fence}) any more; resume it to go on"
    )]
    Stale {
        /// The stream.
        stream: String,
        /// Where it was begun or resumed.
        fence: Position,
    },
    /// What is to be recorded is of another stream, or only another command writes it.
    #[error(
        "`{event_type}` is not recorded by who holds run `{stream}`: it is of another stream, or another command writes it"
    )]
    NotOfRun {
        /// The type.
        event_type: String,
        /// Stream of the run.
        stream: String,
    },
    /// A program that runs again begins a run that its recording has not.
    #[error("run `{stream}` is not in the recording that the program runs against")]
    NotRecorded {
        /// The stream.
        stream: String,
    },
    /// It is a fork of a fork of a fork, and so on, too often.
    #[error(
        "run `{stream}` is the end of a chain of {limit} forks already; fork an earlier one, or begin a run of its own"
    )]
    TooManyForks {
        /// The stream.
        stream: String,
        /// The limit.
        limit: usize,
    },
    /// Who holds it has too long a name.
    #[error("the {what} has {len} bytes; at most {limit} are taken")]
    TooLong {
        /// Of what.
        what: Cow<'static, str>,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It spends another budget, and that never changes.
    #[error("run `{stream}` spends another budget, and that never changes")]
    OtherBudget {
        /// The stream.
        stream: String,
    },
    /// A fork has it from the run that it goes on from.
    #[error("a fork has no {what} of its own: it goes on with what run `{parent}` was given")]
    NotOfFork {
        /// What was given.
        what: Cow<'static, str>,
        /// The run that it goes on from.
        parent: String,
    },
    /// The run has nothing there.
    #[error(
        "run `{stream}` has nothing at position {at}: it begins at {first}, and the log has {size} events"
    )]
    NoPoint {
        /// The stream.
        stream: String,
        /// The position.
        at: Position,
        /// Where the run begins.
        first: Position,
        /// Events of the log.
        size: u64,
    },
    /// It takes a person, or who holds the run.
    #[error(
        "this needs a person or a commander, or who holds the run, and the caller acts as {authority}; prove a credential"
    )]
    NotAllowed {
        /// As what the caller acts.
        authority: Authority,
    },
    /// Its budget has no room, or there is none.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Nothing can be appended at a path of the session's document.
    #[error(transparent)]
    #[serde(skip)]
    Session(#[from] SessionError),
    /// A value does not serialise to JSON.
    #[error("the value does not serialise to JSON: {0}")]
    Json(String),
    /// No randomness for an id.
    #[error("no randomness: {0}")]
    Entropy(String),
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

impl RunError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held(_) => "run_held",
            Self::Finished(_) => "run_finished",
            Self::Exists(_) => "run_exists",
            Self::NotFound { .. } => "run_not_found",
            Self::Stale { .. } => "stale_run",
            Self::NotOfRun { .. } => "not_of_run",
            Self::NotRecorded { .. } => "run_not_recorded",
            Self::TooManyForks { .. } => "too_many_forks",
            Self::TooLong { .. } => "name_too_long",
            Self::OtherBudget { .. } => "run_budget",
            Self::NotOfFork { .. } => "not_of_fork",
            Self::NoPoint { .. } => "no_such_point",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Budget(error) => error.code(),
            Self::Session(error) => error.code(),
            Self::Json(_) => "not_json",
            Self::Entropy(_) => "entropy_unavailable",
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Held(_)
            | Self::Finished(_)
            | Self::Exists(_)
            | Self::Stale { .. }
            | Self::OtherBudget { .. } => ErrorKind::Conflict,
            Self::Budget(error) => error.kind(),
            Self::NotFound { .. } | Self::NoPoint { .. } => ErrorKind::NotFound,
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::Session(error) => error.kind(),
            Self::NotOfRun { .. }
            | Self::NotRecorded { .. }
            | Self::NotOfFork { .. }
            | Self::TooManyForks { .. }
            | Self::TooLong { .. }
            | Self::Json(_)
            | Self::Event(_) => ErrorKind::Usage,
            Self::Entropy(_) => ErrorKind::Storage,
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Held(_) | Self::Entropy(_) => true,
            Self::Budget(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }
}
