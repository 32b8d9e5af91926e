//! Why something is not done.

use super::Effect;
use crate::approvals::NotApproved;
use crate::budgets::BudgetError;
use crate::settings::SettingsError;
use runstone_codec::{Authority, EventError, Position};
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why a call is not claimed, or a change of it is not recorded. Nothing was executed for it.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EffectError {
    /// The key cannot be one.
    #[error("the key of the call: {why}")]
    Key {
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// The arguments are not JSON that has a canonical form (RFC 8785) of its own.
    #[error(
        "the arguments of the call are not JSON with a canonical form of its own (RFC 8785): an integer beyond 2^53 - 1 is given as text, and no member twice"
    )]
    Args,
    /// Somebody holds it.
    #[error("`{}` is in flight: {} holds it{}", .0.name, .0.holder, until(.0))]
    InFlight(Box<Effect>),
    /// Nobody can say whether it was executed.
    #[error(
        "nobody can say whether `{}` was executed (claimed at position {}); find out, then reconcile or release it",
        .0.name, .0.fence
    )]
    Unknown(Box<Effect>),
    /// It was attempted as often as the settings allow.
    #[error(
        "`{}` was attempted {} times, as often as the settings allow (effects.max_attempts)",
        .0.name, .0.attempt
    )]
    AttemptsExhausted(Box<Effect>),
    /// It was executed and failed: it is not done again.
    #[error("`{}` was executed and failed for good{}", .0.name, at(.0))]
    FailedForGood(Box<Effect>),
    /// The key stands for another call.
    #[error(
        "the key stands for another call: `{}` with other arguments or another name was claimed with it at position {}, this is `{name}`; a call that means something else needs a key of its own",
        .effect.name, .effect.fence
    )]
    KeyConflict {
        /// The call that the key stands for.
        effect: Box<Effect>,
        /// The name that was given.
        name: String,
    },
    /// The claim is not the one in force: somebody else holds the call, or it ended.
    #[error("{} is not in force{}", claim(*.fence), now(.effect.as_deref()))]
    StaleClaim {
        /// The claim, if one was named.
        fence: Option<Position>,
        /// How the call stands.
        effect: Option<Box<Effect>>,
    },
    /// Only a call whose outcome is unknown is reconciled, and only an open one released.
    #[error("`{}` is {}; there is nothing to settle", .0.name, .0.state)]
    NothingToSettle(Box<Effect>),
    /// It needs a person or a commander.
    #[error(
        "this needs a person or a commander, and the caller acts as {authority}; prove a credential"
    )]
    NotAllowed {
        /// As what the caller acts.
        authority: Authority,
    },
    /// The run that the call is made in is not held any more.
    #[error("run `{stream}` is not held by the caller any more: it ended, or somebody resumed it")]
    StaleRun {
        /// Its stream.
        stream: String,
    },
    /// A call has no name.
    #[error("the call has no name")]
    NoName,
    /// People have to say yes first.
    #[error("`{name}` is not approved: {why}{}", asked(*.request))]
    NotApproved {
        /// What is called.
        name: String,
        /// Why not.
        why: NotApproved,
        /// Where they were asked.
        request: Option<Position>,
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
    /// There is no such call.
    #[error("there is no such call")]
    NotFound,
    /// It was executed, and its result was erased. It is not executed again.
    #[error("the result at position {position} was erased; the call is not made again")]
    ResultErased {
        /// Where it was.
        position: Position,
    },
    /// The result cannot be read.
    #[error("the result at position {position} cannot be read: {why}")]
    Result {
        /// Where it is.
        position: Position,
        /// Why.
        why: String,
    },
    /// A budget that it was to spend from has no room for it, or there is none.
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

impl EffectError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "bad_key",
            Self::Args => "bad_arguments",
            Self::InFlight(_) => "in_flight",
            Self::Unknown(_) => "effect_unknown",
            Self::AttemptsExhausted(_) => "attempts_exhausted",
            Self::FailedForGood(_) => "failed_for_good",
            Self::KeyConflict { .. } => "key_conflict",
            Self::StaleClaim { .. } => "stale_claim",
            Self::NothingToSettle(_) => "nothing_to_settle",
            Self::NotAllowed { .. } => "not_allowed",
            Self::StaleRun { .. } => "stale_run",
            Self::NoName => "name_missing",
            Self::NotApproved { .. } => "not_approved",
            Self::TooLong { .. } => "name_too_long",
            Self::NotFound => "effect_not_found",
            Self::ResultErased { .. } => "result_erased",
            Self::Result { .. } => "result_unreadable",
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
            Self::Key { .. }
            | Self::Args
            | Self::NoName
            | Self::TooLong { .. }
            | Self::Event(_) => ErrorKind::Usage,
            Self::InFlight(_)
            | Self::Unknown(_)
            | Self::AttemptsExhausted(_)
            | Self::FailedForGood(_)
            | Self::NotApproved { .. }
            | Self::ResultErased { .. } => ErrorKind::Refused,
            Self::KeyConflict { .. }
            | Self::StaleClaim { .. }
            | Self::StaleRun { .. }
            | Self::NothingToSettle(_) => ErrorKind::Conflict,
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::NotFound => ErrorKind::NotFound,
            Self::Result { .. } => ErrorKind::Incomplete,
            Self::Budget(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InFlight(_) => true,
            Self::Budget(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// How the call stands, where that is the reason.
    pub fn effect(&self) -> Option<&Effect> {
        match self {
            Self::InFlight(effect)
            | Self::Unknown(effect)
            | Self::AttemptsExhausted(effect)
            | Self::FailedForGood(effect)
            | Self::NothingToSettle(effect)
            | Self::KeyConflict { effect, .. } => Some(effect),
            Self::StaleClaim { effect, .. } => effect.as_deref(),
            _ => None,
        }
    }
}

fn until(effect: &Effect) -> String {
    match effect.lease_expires_at_us {
        Some(us) => format!(" until {us} (Unix microseconds)"),
        None => " as long as its process has the log open".to_owned(),
    }
}

fn asked(request: Option<Position>) -> String {
    request.map_or_else(String::new, |position| {
        format!(" (asked at position {position})")
    })
}

fn claim(fence: Option<Position>) -> String {
    match fence {
        Some(position) => format!("the claim at position {position}"),
        None => "a claim that is not named".to_owned(),
    }
}

fn at(effect: &Effect) -> String {
    let at = |position: Position| format!(" (position {position})");
    effect.outcome.map(at).unwrap_or_default()
}

fn now(effect: Option<&Effect>) -> String {
    match effect {
        Some(effect) => format!(
            ": `{}` is {}, claimed last at position {}",
            effect.name, effect.state, effect.fence
        ),
        None => ": the log knows no such call".to_owned(),
    }
}
