//! Errors, as they are told to who asked.

use super::Lost;
use crate::error::{AppendError, ErrorKind, ReadError};
use crate::evidence::{EraseError, EvidenceError};
use crate::keys::KeyError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Codes that are kept, at most: no holder has more.
const CODES: usize = 1_000;
/// Longest code in bytes.
const MAX_CODE_LEN: usize = 64;

/// An error that somebody else met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[error("{message}")]
#[non_exhaustive]
pub struct Told {
    /// Stable code with a page in docs/errors.
    code: Code,
    /// What a caller does about it.
    pub kind: ErrorKind,
    /// What it says.
    pub message: String,
    /// Whether the same call may succeed later without any change.
    #[serde(default)]
    pub retryable: bool,
    /// What a program needs of it, for those codes that have something.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl Told {
    /// An error without details.
    pub fn new(code: &'static str, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            code: Code(code),
            kind,
            message: message.into(),
            retryable: false,
            detail: Value::Null,
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        self.code.0
    }

    /// Adds what a program needs of it. What does not serialise is left out.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        self.detail = serde_json::to_value(detail).unwrap_or_default();
        self
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self, is_retryable: bool) -> Self {
        self.retryable = is_retryable;
        self
    }

    /// Whoever was asked to change something went away; doing it again may do it twice.
    pub fn unknown(lost: Lost) -> Self {
        if !lost.is_sent {
            return lost.into();
        }
        let why = lost.why;
        let message = format!(
            "the process that holds the log went away ({why}): whether it was done is unknown; look before you do it again"
        );
        Self::new("outcome_unknown", ErrorKind::Storage, message)
    }

    /// What was asked cannot be read.
    pub(crate) fn usage(error: &serde_json::Error) -> Self {
        Self::new(
            "bad_request",
            ErrorKind::Usage,
            format!("the request cannot be read: {error}"),
        )
    }

    /// What was answered cannot be written or read.
    pub(crate) fn internal(error: &serde_json::Error) -> Self {
        Self::new(
            "internal",
            ErrorKind::Storage,
            format!("the answer cannot be read: {error}"),
        )
    }
}

/// The file is held by somebody else, who does not do this for others.
pub(crate) fn elsewhere() -> Told {
    Told::new(
        "held_elsewhere",
        ErrorKind::Busy,
        "another process holds the log, and this needs its file; stop that process, then run it again",
    )
}

/// An error that can be told.
pub trait Refusal: Sized + Send + 'static {
    /// As it is told.
    fn told(&self) -> Told;
    /// As it was told.
    fn of(told: Told) -> Self;
    /// Whoever was asked went away.
    fn lost(lost: Lost) -> Self {
        Self::of(Told::from(lost))
    }
}

impl From<Lost> for Told {
    fn from(lost: Lost) -> Self {
        let why = lost.why;
        Self::new(
            "holder_lost",
            ErrorKind::Storage,
            format!("the process that holds the log went away ({why}); try again"),
        )
        .retryable(true)
    }
}

impl Refusal for AppendError {
    fn told(&self) -> Told {
        let told = Told::new(self.code(), self.kind(), self.to_string());
        let told = told.retryable(self.is_retryable());
        match self {
            Self::Told(told) => (**told).clone(),
            Self::OutcomeUnknown { why } | Self::Poisoned { why } => told.detail(why),
            Self::Conflict {
                stream,
                expected,
                actual,
            } => told.detail(&(stream, expected, actual)),
            Self::Contended { times } => told.detail(times),
            Self::QueueFull { limit } => told.detail(limit),
            Self::Keys { message, .. } => told.detail(message),
            Self::ConditionFailed { position } => told.detail(position),
            Self::EventIdConflict { id, position } | Self::EventIdKnown { id, position } => {
                told.detail(&(id, position))
            }
            Self::StorageFull { needed, available } => told.detail(&(needed, available)),
            _ => told,
        }
    }

    fn of(told: Told) -> Self {
        let text = || told.detail.as_str().map(str::to_owned);
        let pair = || {
            let pair = serde_json::from_value::<(u64, u64)>(told.detail.clone());
            pair.ok()
        };
        let typed = match told.code() {
            "outcome_unknown" => text().map(|why| Self::OutcomeUnknown { why }),
            "poisoned" => text().map(|why| Self::Poisoned { why }),
            "reopening" => Some(Self::Reopening),
            "closed" => Some(Self::Closed),
            "conflict" => {
                let found = serde_json::from_value(told.detail.clone()).ok();
                found.map(|(stream, expected, actual)| Self::Conflict {
                    stream,
                    expected,
                    actual,
                })
            }
            "event_id_conflict" => {
                let known = serde_json::from_value(told.detail.clone()).ok();
                known.map(|(id, position)| Self::EventIdConflict { id, position })
            }
            "contended" => {
                let times = serde_json::from_value(told.detail.clone()).ok();
                times.map(|times| Self::Contended { times })
            }
            "queue_full" => {
                let limit = told.detail.as_u64();
                limit.map(|limit| Self::QueueFull { limit })
            }
            code if told.kind == ErrorKind::Keys => {
                text().map(|message| Self::Keys { code, message })
            }
            "condition_failed" => {
                let position = told.detail.as_u64();
                position.map(|position| Self::ConditionFailed { position })
            }
            "event_id_known" => {
                let known = serde_json::from_value(told.detail.clone()).ok();
                known.map(|(id, position)| Self::EventIdKnown { id, position })
            }
            "storage_full" => {
                pair().map(|(needed, available)| Self::StorageFull { needed, available })
            }
            _ => None,
        };
        typed.unwrap_or_else(|| Self::Told(Box::new(told)))
    }

    fn lost(lost: Lost) -> Self {
        if lost.is_sent {
            let why = format!("the process that holds the log went away: {}", lost.why);
            return Self::OutcomeUnknown { why };
        }
        Self::of(Told::from(lost))
    }
}

impl Refusal for ReadError {
    fn told(&self) -> Told {
        let told = Told::new(self.code(), self.kind(), self.to_string());
        let told = told.retryable(self.is_retryable());
        match self {
            Self::Told(told) => (**told).clone(),
            Self::NotFound { what } => told.detail(what),
            other => match other.position() {
                Some(position) => told.detail(&position),
                None => told,
            },
        }
    }

    fn of(told: Told) -> Self {
        match (told.code(), told.detail.as_str()) {
            ("not_found", Some(what)) => Self::NotFound {
                what: what.to_owned(),
            },
            ("reopening", _) => Self::Reopening,
            ("closed", _) => Self::Closed,
            _ => Self::Told(Box::new(told)),
        }
    }
}

/// Errors that carry those above.
macro_rules! refusals {
    ($($error:ty),+) => {$(
        impl Refusal for $error {
            fn told(&self) -> Told {
                match self {
                    Self::Append(error) => error.told(),
                    Self::Read(error) => error.told(),
                    _ => Told::new(self.code(), self.kind(), self.to_string()),
                }
            }

            fn of(told: Told) -> Self {
                Self::Append(AppendError::of(told))
            }

            fn lost(lost: Lost) -> Self {
                Self::Append(AppendError::lost(lost))
            }
        }

        impl From<Told> for $error {
            fn from(told: Told) -> Self {
                Self::of(told)
            }
        }
    )+};
}

refusals!(EvidenceError, EraseError);

impl From<Told> for AppendError {
    fn from(told: Told) -> Self {
        Self::of(told)
    }
}

impl From<Told> for ReadError {
    fn from(told: Told) -> Self {
        Self::of(told)
    }
}

impl From<Told> for KeyError {
    fn from(told: Told) -> Self {
        Self::of(told)
    }
}

impl Refusal for KeyError {
    fn told(&self) -> Told {
        match self {
            Self::Told(told) => (**told).clone(),
            _ => {
                Told::new(self.code(), self.kind(), self.to_string()).retryable(self.is_retryable())
            }
        }
    }

    fn of(told: Told) -> Self {
        Self::Told(Box::new(told))
    }

    fn lost(lost: Lost) -> Self {
        Self::of(Told::unknown(lost))
    }
}

/// A code that lives as long as the program: there are few of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
struct Code(&'static str);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let code = String::deserialize(deserializer)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(code.as_str()) {
            return Ok(Self(known));
        }
        if known.len() >= CODES || code.len() > MAX_CODE_LEN {
            return Ok(Self("unknown"));
        }
        let code: &'static str = Box::leak(code.into_boxed_str());
        known.insert(code);
        Ok(Self(code))
    }
}
