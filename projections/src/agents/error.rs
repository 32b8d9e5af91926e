//! Why something is not done.

use super::MAX_AGENT_NAME_LEN;
use crate::settings::SettingsError;
use crate::tasks::TaskError;
use runstone_codec::EventError;
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why an agent or a message is not what the caller wants. Nothing changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentError {
    /// It cannot be the name of an agent.
    #[error(
        "`{name}` cannot be the name of an agent: letters, digits, `.`, `_` and `-`, first a letter or digit, at most {MAX_AGENT_NAME_LEN} bytes"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// No agent has this name.
    #[error("there is no agent `{name}`; register it first")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It is not the caller's to do.
    #[error("`{principal}` may not do this: it needs {needs}")]
    NotAllowed {
        /// Who the caller is.
        principal: String,
        /// Who may.
        needs: Cow<'static, str>,
    },
    /// It cannot be the name of a tray.
    #[error(
        "`{name}` cannot be the name of a tray: letters, digits, `.`, `_` and `-`, first a letter or digit, at most {MAX_AGENT_NAME_LEN} bytes"
    )]
    BadTray {
        /// The name.
        name: String,
    },
    /// A helper cannot live so long, or so short.
    #[error("a helper lives {} to {} seconds, not {ttl_s}", super::TTL_S.start(), super::TTL_S.end())]
    BadTtl {
        /// The seconds that were given.
        ttl_s: u64,
    },
    /// Some agent has this name, or had it.
    #[error("the name `{name}` is taken")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// As many helpers are registered as may be.
    #[error(
        "`{parent}` has {most} helpers that are not retired: helpers.max_registered allows no more"
    )]
    TierLimit {
        /// Whose helpers.
        parent: String,
        /// How many there may be.
        most: u64,
    },
    /// Helpers do not spawn.
    #[error("`{principal}` is a helper: helpers do not spawn helpers")]
    Chain {
        /// Who the caller is.
        principal: String,
    },
    /// As many helpers run as may.
    #[error("`{parent}` has {most} running helpers: helpers.max_running allows no more")]
    CapReached {
        /// Whose helpers.
        parent: String,
        /// How many may run.
        most: u64,
    },
    /// Only helpers retire.
    #[error("`{name}` is not a helper")]
    NotHelper {
        /// The name.
        name: String,
    },
    /// The helper was spawned so that it does not retire itself.
    #[error("`{name}` was spawned without auto_retire: it stays until its time is over")]
    AutoRetireDisabled {
        /// The name.
        name: String,
    },
    /// The agent is gone for good.
    #[error("`{name}` is retired: it is gone for good")]
    Retired {
        /// The name.
        name: String,
    },
    /// What is said is not JSON.
    #[error("the body of the message is not JSON")]
    Body,
    /// What a helper held cannot be given back.
    #[error(transparent)]
    Tasks(#[from] TaskError),
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

impl AgentError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad_name",
            Self::NotFound { .. } => "agent_not_found",
            Self::NotAllowed { .. } => "not_allowed",
            Self::BadTray { .. } => "bad_tray",
            Self::BadTtl { .. } => "bad_ttl",
            Self::NameTaken { .. } => "name_taken",
            Self::TierLimit { .. } => "tier_limit",
            Self::Chain { .. } => "helper_chain_forbidden",
            Self::CapReached { .. } => "helper_cap_reached",
            Self::NotHelper { .. } => "not_a_helper",
            Self::AutoRetireDisabled { .. } => "auto_retire_disabled",
            Self::Retired { .. } => "agent_retired",
            Self::Body => "bad_body",
            Self::Tasks(error) => error.code(),
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
            | Self::BadTray { .. }
            | Self::BadTtl { .. }
            | Self::Body
            | Self::Event(_) => ErrorKind::Usage,
            Self::NameTaken { .. } => ErrorKind::Conflict,
            Self::TierLimit { .. }
            | Self::Chain { .. }
            | Self::CapReached { .. }
            | Self::NotHelper { .. }
            | Self::AutoRetireDisabled { .. }
            | Self::Retired { .. } => ErrorKind::Refused,
            Self::Tasks(error) => error.kind(),
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Tasks(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }
}
