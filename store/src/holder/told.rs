//! Errors, as they are told to who asked.

use super::Lost;
use crate::error::{AppendError, ErrorKind, ReadError};
use crate::evidence::{EraseError, EvidenceError};
use crate::keys::KeyError;
use crate::refusals;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Codes and other words that are kept, at most: no holder has more.
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
    /// The error itself, as its type has it, where that travels.
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

    /// Adds the error itself. What does not serialise is left out.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        self.detail = serde_json::to_value(detail).unwrap_or_default();
        self
    }

    /// The error whose variant it carries; itself if it carries none of that type.
    ///
    /// # Errors
    ///
    /// What is told, as it is.
    pub fn typed<E: DeserializeOwned>(self) -> Result<E, Box<Self>> {
        E::deserialize(&self.detail).map_err(|_| Box::new(self))
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
    pub(crate) fn internal(error: &dyn Display) -> Self {
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

/// Errors that have a variant for what they do not carry.
macro_rules! told_as_they_are {
    ($($error:ty: $lost:expr),+ $(,)?) => {$(
        impl Refusal for $error {
            fn told(&self) -> Told {
                match self {
                    Self::Told(told) => (**told).clone(),
                    typed => Told::new(typed.code(), typed.kind(), typed.to_string())
                        .retryable(typed.is_retryable())
                        .detail(typed),
                }
            }

            fn of(told: Told) -> Self {
                told.typed().unwrap_or_else(Self::Told)
            }

            fn lost(lost: Lost) -> Self {
                $lost(lost)
            }
        }
    )+};
}

told_as_they_are! {
    AppendError: append_lost,
    ReadError: read_lost,
    KeyError: key_lost,
}

/// The same events appended again are recorded once.
fn append_lost(lost: Lost) -> AppendError {
    if lost.is_sent {
        let why = format!("the process that holds the log went away: {}", lost.why);
        return AppendError::OutcomeUnknown { why };
    }
    AppendError::of(Told::from(lost))
}

fn read_lost(lost: Lost) -> ReadError {
    ReadError::of(Told::from(lost))
}

/// Asked again it might be done twice.
fn key_lost(lost: Lost) -> KeyError {
    KeyError::of(Told::unknown(lost))
}

refusals! {
    EvidenceError: AppendError::lost,
    EraseError: AppendError::lost,
}

macro_rules! from_told {
    ($($error:ty),+ $(,)?) => {$(
        impl From<Told> for $error {
            fn from(told: Told) -> Self {
                Self::of(told)
            }
        }
    )+};
}

from_told!(AppendError, ReadError, KeyError, EvidenceError, EraseError);

/// A word of an error. Of another process's it lives as long as this one: there are few of them. (A
/// field that is written as a reference is one that serde borrows.)
pub(crate) type Word = &'static str;

/// A [`Word`], as it travels.
pub(crate) mod word {
    use super::{Code, Word};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(word: &Word, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(word)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Word, D::Error> {
        Code::deserialize(deserializer).map(|code| code.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::Expected;
    use crate::error::{Corruption, StorageError};
    use runstone_codec::{ControlError, EventError, KeyId, NewEvent, Position, SealError};
    use runstone_receipt::disclosure::DisclosureError;
    use std::fmt::Debug;
    use uuid::Uuid;

    /// As it comes back from another process.
    fn back<E: Refusal>(error: &E) -> E {
        let body = serde_json::to_vec(&error.told()).unwrap();
        E::of(serde_json::from_slice(&body).unwrap())
    }

    fn comes_back<E: Refusal + Debug>(errors: impl IntoIterator<Item = E>) {
        for error in errors {
            assert_eq!(format!("{:?}", back(&error)), format!("{error:?}"));
        }
    }

    fn name(of: &str) -> String {
        of.to_owned()
    }

    fn bad_event() -> EventError {
        let mut event = NewEvent::new("Bad", "s");
        event
            .check(&runstone_codec::EventLimits::default())
            .unwrap_err()
    }

    #[test]
    fn errors_of_appending_come_back_as_they_are() {
        let (id, position, stream, why) = (Uuid::from_u128(7), 3, || name("s"), || name("w"));
        comes_back([
            AppendError::Conflict {
                stream: stream(),
                expected: Expected::Exact(9),
                actual: Some(2),
            },
            AppendError::Conflict {
                stream: stream(),
                expected: Expected::NoStream,
                actual: None,
            },
            AppendError::ConditionFailed { position },
            AppendError::ConditionTooBroad { limit: 5 },
            AppendError::ConditionUnindexed { field: "time" },
            AppendError::EventIdConflict { id, position },
            AppendError::EventIdKnown { id, position },
            AppendError::DuplicateId { id },
            AppendError::Contended { times: 4 },
            AppendError::PartialDuplicate { known: 1, total: 2 },
            AppendError::OwnedNamespace {
                event_type: name("run.started"),
            },
            AppendError::OwnedStream { stream: stream() },
            AppendError::Reserved {
                what: "scope",
                name: name("_log"),
            },
            AppendError::ScopeMismatch {
                stream: stream(),
                scope: name("a"),
                asked: name("b"),
            },
            AppendError::Invalid(bad_event()),
            AppendError::Limit {
                what: "the number of events",
                actual: 4,
                limit: 3,
                option: "append_events",
            },
            AppendError::Empty,
            AppendError::QueueFull { limit: 1 },
            AppendError::Reopening,
            AppendError::OutcomeUnknown { why: why() },
            AppendError::Poisoned { why: why() },
            AppendError::Closed,
            AppendError::ReadOnly { why: why() },
            AppendError::FoldStopped {
                fold: name("runs"),
                position,
                why: why(),
            },
            AppendError::StorageFull {
                needed: 9,
                available: 1,
            },
            AppendError::Keys {
                code: "not_allowed",
                message: why(),
            },
            AppendError::Seal(SealError::KeyMismatch),
            AppendError::Control(ControlError::TooLong { bytes: 9, max: 8 }),
            AppendError::DeciderPanicked { why: why() },
            AppendError::Corrupt(Corruption::at(3, "this", "that")),
        ]);
    }

    #[test]
    fn errors_of_reading_and_of_keys_come_back_as_they_are() {
        let (fold, why) = (name("runs"), name("w"));
        comes_back([
            ReadError::Corrupt(Corruption::table("tiles", "this", "that")),
            ReadError::NotFound { what: name("x") },
            ReadError::Keys {
                position: 3,
                code: "key_missing",
                message: name("m"),
            },
            ReadError::Fold { fold, why },
            ReadError::Limit {
                what: "subscriptions",
                limit: 2,
                option: "subscribers",
            },
            ReadError::Reopening,
            ReadError::Closed,
        ]);
        comes_back([
            KeyError::Malformed {
                path: "/keys".into(),
                line: 3,
                what: "what is wrong".into(),
            },
            KeyError::Missing {
                id: KeyId::from_bytes([7; 16]),
            },
            KeyError::SigningOverlap,
        ]);
    }

    #[test]
    fn errors_of_evidence_come_back_as_they_are() {
        let (scope, position) = (|| name("ann"), Position::new(3));
        comes_back([
            EraseError::Empty,
            EraseError::Basis { basis: name("x y") },
            EraseError::Protected { scope: scope() },
            EraseError::NotFound { scope: scope() },
            EraseError::Held {
                scope: scope(),
                position,
            },
            EraseError::InUse {
                scope: scope(),
                what: name("a run"),
            },
            EraseError::Retained {
                scope: scope(),
                until_us: 7,
            },
            EraseError::Plain,
            EraseError::NoPlace,
            EraseError::Pending {
                requested: position,
                why: "destroy it".into(),
            },
            EraseError::Keys(KeyError::Plain),
            EraseError::Read(ReadError::Closed),
            EraseError::Append(AppendError::Closed),
        ]);
        comes_back([
            EvidenceError::Checkpoint { why: name("w") },
            EvidenceError::Erased { position },
            EvidenceError::Withheld { position },
            EvidenceError::Unreadable {
                position,
                why: name("w"),
            },
            EvidenceError::NotOwn { position },
            EvidenceError::Disclosure(DisclosureError::UnknownField { asked: 2 }),
            EvidenceError::Recipient {
                recipient: name("x y"),
            },
            EvidenceError::Read(ReadError::Reopening),
            EvidenceError::Append(AppendError::Closed),
        ]);
    }

    /// What does not travel says what it said, and does what it did.
    #[test]
    fn what_has_no_form_is_told() {
        macro_rules! said {
            ($error:expr) => {
                (
                    $error.code(),
                    $error.kind(),
                    $error.to_string(),
                    $error.is_retryable(),
                )
            };
        }
        let path = std::path::Path::new("/keys");
        let failed = || std::io::Error::other("it is broken");
        let storage = AppendError::Storage(StorageError::io(path, &failed()));
        assert_eq!(said!(back(&storage)), said!(storage));
        let keys = EraseError::Keys(KeyError::io("read", path, failed()));
        assert_eq!(said!(back(&keys)), said!(keys));
        // A word that nobody can keep is no word of this program.
        let long = "x".repeat(MAX_CODE_LEN + 1);
        let told = serde_json::json!({ "condition_unindexed": { "field": long } });
        let error: AppendError = serde_json::from_value(told).unwrap();
        let AppendError::ConditionUnindexed { field } = error else {
            panic!("{error:?}");
        };
        assert_eq!(field, "unknown");
    }
}
