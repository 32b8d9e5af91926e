//! Why a proposed event is refused.

use crate::field::FieldError;
use serde::{Deserialize, Serialize};

/// A proposed event breaks a rule. Sending it again unchanged cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventError {
    /// A text field breaks its rule.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// More tags than allowed.
    #[error("the event has {found} tags, at most {max} are allowed")]
    TooManyTags {
        /// How many there are.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// One tag twice.
    #[error("a tag stands twice")]
    DuplicateTag,
    /// The payload is larger than allowed.
    #[error("the payload has {bytes} bytes, at most {max} are allowed")]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// The payload is not UTF-8.
    #[error("the payload is not utf-8 from byte {at} on")]
    PayloadNotUtf8 {
        /// Where the first bad byte is.
        at: usize,
    },
    /// The payload is not JSON.
    #[error("the payload is not json at line {line}, column {column}")]
    PayloadNotJson {
        /// Line of the first fault, from 1.
        line: usize,
        /// Column of the first fault.
        column: usize,
    },
    /// The payload nests deeper than a reader could follow.
    #[error("the payload nests deeper than {max} levels")]
    PayloadTooDeep {
        /// The deepest allowed.
        max: usize,
    },
    /// A value does not serialize to JSON.
    #[error("the value does not serialize to json: {reason}")]
    Serialize {
        /// What the serializer said.
        reason: String,
    },
}

impl EventError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Field(field) => field.code(),
            Self::TooManyTags { .. } => "too_many_tags",
            Self::DuplicateTag => "duplicate_tag",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::PayloadNotUtf8 { .. } => "payload_not_utf8",
            Self::PayloadNotJson { .. } => "payload_not_json",
            Self::PayloadTooDeep { .. } => "payload_too_deep",
            Self::Serialize { .. } => "payload_not_serializable",
        }
    }
}
