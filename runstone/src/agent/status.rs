//! How a run ends, and why it is let go of.

use runstone_projections::events::SessionEnded;
use runstone_projections::runs::RunStatus;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It did what it was to do.
    Success,
    /// It failed.
    Error,
    /// Somebody stopped it.
    Cancelled,
    /// It stopped at something that it could not get past.
    Terminal,
    /// It was handed to somebody else.
    Escalated,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Terminal => "terminal",
            Self::Escalated => "escalated",
        }
    }

    /// How the session ends with it: status and reason.
    pub(super) fn of_session(self) -> SessionEnded {
        match self {
            Self::Success | Self::Terminal | Self::Escalated => {
                session_ended("completed", "completed")
            }
            Self::Cancelled => LetGo::Cancelled.of_session(),
            Self::Error => LetGo::Failed.of_session(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::Error => Self::Error,
            Status::Cancelled => Self::Cancelled,
            Status::Terminal => Self::Terminal,
            Status::Escalated => Self::Escalated,
        }
    }
}

/// Why a run is let go of before its end. It can be resumed, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LetGo {
    /// Somebody stopped it: `aborted/cancel`.
    Cancelled,
    /// Whoever it works for is gone: `aborted/disconnect`.
    Disconnected,
    /// It failed: `error/error`.
    Failed,
}

impl LetGo {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
        }
    }

    /// How the session ends: status and reason.
    pub(super) fn of_session(self) -> SessionEnded {
        match self {
            Self::Cancelled => session_ended("aborted", "cancel"),
            Self::Disconnected => session_ended("aborted", "disconnect"),
            Self::Failed => session_ended("error", "error"),
        }
    }
}

impl fmt::Display for LetGo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

fn session_ended(status: &str, reason: &str) -> SessionEnded {
    SessionEnded {
        status: status.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_word_everywhere() {
        for status in [
            Status::Success,
            Status::Error,
            Status::Cancelled,
            Status::Terminal,
            Status::Escalated,
        ] {
            let word = status.to_string();
            assert_eq!(RunStatus::from(status), RunStatus::from(word.as_str()));
            assert_eq!(serde_json::to_value(status).unwrap(), word);
        }
        for why in [LetGo::Cancelled, LetGo::Disconnected, LetGo::Failed] {
            assert_eq!(serde_json::to_value(why).unwrap(), why.to_string());
        }
    }
}
