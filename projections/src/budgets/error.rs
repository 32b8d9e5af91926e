//! Why something is not done.

use super::{Exceeded, MAX_NESTING};
use crate::settings::SettingsError;
use runstone_codec::{Authority, EventError, Position};
use runstone_store::{AppendError, ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why nothing is spent, or a budget is not opened or changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BudgetError {
    /// It does not fit into a limit of the owner, or of one above it. The words are those that
    /// exec-kernel's users know.
    #[error("{0}")]
    Exceeded(Box<Exceeded>),
    /// Nobody opened a budget of this name.
    #[error("there is no budget of {}", owner(.name.as_deref()))]
    UnknownOwner {
        /// The name, if it is known.
        name: Option<String>,
    },
    /// There is no such reservation.
    #[error("there is no reservation at position {fence}")]
    UnknownReservation {
        /// The position.
        fence: Position,
    },
    /// It was settled with another amount, or released, before.
    #[error("the reservation at position {fence} ended before{}: it is {state}", at(*.outcome))]
    ReservationEnded {
        /// The reservation.
        fence: Position,
        /// How it stands.
        state: Cow<'static, str>,
        /// Where it ended.
        outcome: Option<Position>,
    },
    /// The owner has another parent.
    #[error("the budget of `{name}` was opened under another owner, and that never changes")]
    OtherParent {
        /// Its name.
        name: String,
    },
    /// Too many owners are above it.
    #[error("at most {MAX_NESTING} owners are above one")]
    TooDeep,
    /// It needs a person or a commander.
    #[error(
        "raising a limit needs a person or a commander, and the caller acts as {authority}; prove a credential"
    )]
    NotAllowed {
        /// As what the caller acts.
        authority: Authority,
    },
    /// The settings have no preset of this name.
    #[error("there is no preset `{name}` in the settings")]
    UnknownPreset {
        /// The name.
        name: String,
    },
    /// The reservation was made with the claim of a call, and ends with the call.
    #[error(
        "the reservation at position {fence} is of the call claimed at position {claim}; it ends with that"
    )]
    OfCall {
        /// The reservation.
        fence: Position,
        /// The claim.
        claim: Position,
    },
    /// What is counted cannot be named so, or not be charged.
    #[error("{why}")]
    Dimension {
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// A number is too large.
    #[error("{amount} is too much; amounts and limits are at most {limit}")]
    TooMuch {
        /// The number.
        amount: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many of something.
    #[error("{count} {what} are too many; at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: Cow<'static, str>,
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Nothing was named that could be spent.
    #[error("no amount is named")]
    Nothing,
    /// A name is empty, too long, or not one.
    #[error("the name of an owner has 1 to 255 bytes and no control characters; this has {len}")]
    Name {
        /// Its length in bytes.
        len: usize,
    },
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

impl BudgetError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exceeded(_) => "budget_exceeded",
            Self::UnknownOwner { .. } => "budget_not_found",
            Self::UnknownReservation { .. } => "reservation_not_found",
            Self::ReservationEnded { .. } => "reservation_ended",
            Self::OfCall { .. } => "reservation_of_call",
            Self::OtherParent { .. } => "budget_parent",
            Self::TooDeep => "budget_too_deep",
            Self::NotAllowed { .. } => "not_allowed",
            Self::UnknownPreset { .. } => "preset_not_found",
            Self::Dimension { .. } => "budget_dimension",
            Self::TooMuch { .. } => "amount_too_large",
            Self::TooMany { .. } => "budget_too_many",
            Self::Nothing => "amount_missing",
            Self::Name { .. } => "owner_name",
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exceeded(_) => ErrorKind::Refused,
            Self::UnknownOwner { .. }
            | Self::UnknownReservation { .. }
            | Self::UnknownPreset { .. } => ErrorKind::NotFound,
            Self::ReservationEnded { .. } | Self::OfCall { .. } | Self::OtherParent { .. } => {
                ErrorKind::Conflict
            }
            Self::NotAllowed { .. } => ErrorKind::Keys,
            Self::TooDeep
            | Self::Dimension { .. }
            | Self::TooMuch { .. }
            | Self::TooMany { .. }
            | Self::Nothing
            | Self::Name { .. }
            | Self::Event(_) => ErrorKind::Usage,
            Self::Append(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Append(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// The limit, where that is the reason.
    pub fn exceeded(&self) -> Option<&Exceeded> {
        match self {
            Self::Exceeded(exceeded) => Some(exceeded),
            _ => None,
        }
    }
}

fn owner(name: Option<&str>) -> String {
    name.map_or_else(|| "this owner".to_owned(), |name| format!("`{name}`"))
}

fn at(outcome: Option<Position>) -> String {
    let at = |position: Position| format!(" (position {position})");
    outcome.map(at).unwrap_or_default()
}
