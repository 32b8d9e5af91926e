//! Why something is not approved, or not asked.

use super::{Approval, MAX_REVIEWERS_LEN};
use crate::effects::EffectError;
use crate::settings::SettingsError;
use runstone_codec::{Authority, EventError};
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why a request or a vote is not recorded.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalError {
    /// There is no such request.
    #[error("there is no such request for approval")]
    NotFound,
    /// It was decided, once; this is how.
    #[error("it was {} by {} at position {}", .0.state, .0.decided_by, .0.decided_at())]
    AlreadyDecided(Box<Approval>),
    /// Something else is asked under the key of the call.
    #[error(
        "a request for the same call with other arguments is pending at position {}; decide that first", .0.position
    )]
    Pending(Box<Approval>),
    /// A newer request for the same call took its place.
    #[error("a newer request for the same call took its place")]
    Superseded,
    /// Nobody decided it in time.
    #[error("it expired before it was decided; it is now {}", .0.state)]
    Expired(Box<Approval>),
    /// A vote takes a person or a commander.
    #[error("a vote takes a person or a commander, and the caller acts as {authority}")]
    NotAllowed {
        /// As what the caller acts.
        authority: Authority,
    },
    /// The settings are stricter, and only a person or a commander may ask for less.
    #[error(
        "the settings are stricter: that fewer votes decide, or silence, or one vote after a while, only a person or a commander may ask for, and the caller acts as {authority}"
    )]
    TooLax {
        /// As what the caller acts.
        authority: Authority,
    },
    /// Only whoever asks, a person or a commander takes a request back.
    #[error("only who asked, a person or a commander takes a request back")]
    NotYours,
    /// Nobody votes on what it asked for itself.
    #[error("nobody votes on his own request")]
    OwnRequest,
    /// The caller is not among the reviewers.
    #[error("the caller is not among the reviewers")]
    NotReviewer,
    /// The caller has voted.
    #[error("the caller has voted already")]
    VotedAlready,
    /// Reviewers vote in the order in which they are listed.
    #[error("another reviewer comes first")]
    NotYourTurn,
    /// The reviewers cannot be such.
    #[error("the reviewers: {why}; at most {MAX_REVIEWERS_LEN} bytes together")]
    Reviewers {
        /// What is wrong with them.
        why: Cow<'static, str>,
    },
    /// The call cannot be one.
    #[error(transparent)]
    Effect(#[from] EffectError),
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

impl ApprovalError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "approval_not_found",
            Self::AlreadyDecided(_) => "already_decided",
            Self::Pending(_) => "approval_pending",
            Self::Superseded => "approval_superseded",
            Self::Expired(_) => "approval_expired",
            Self::NotAllowed { .. } => "not_allowed",
            Self::TooLax { .. } => "approval_too_lax",
            Self::NotYours => "not_your_request",
            Self::OwnRequest => "own_request",
            Self::NotReviewer => "not_reviewer",
            Self::VotedAlready => "voted_already",
            Self::NotYourTurn => "not_your_turn",
            Self::Reviewers { .. } => "bad_reviewers",
            Self::Effect(error) => error.code(),
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::AlreadyDecided(_) | Self::Pending(_) | Self::Superseded => ErrorKind::Conflict,
            Self::Expired(_) | Self::OwnRequest | Self::VotedAlready | Self::NotYourTurn => {
                ErrorKind::Refused
            }
            Self::NotAllowed { .. } | Self::TooLax { .. } | Self::NotYours | Self::NotReviewer => {
                ErrorKind::Keys
            }
            Self::Reviewers { .. } | Self::Event(_) => ErrorKind::Usage,
            Self::Effect(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotYourTurn => true,
            Self::Effect(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// The request that is the reason.
    pub fn approval(&self) -> Option<&Approval> {
        match self {
            Self::AlreadyDecided(approval) | Self::Pending(approval) | Self::Expired(approval) => {
                Some(approval)
            }
            _ => None,
        }
    }
}
