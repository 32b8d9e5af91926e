//! What can be wrong with a disclosure.

use crate::receipt::Finding;
use crate::tree::ProofError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A disclosure that is rejected, or cannot be made. Carries no names and no values: they are a
/// part of a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DisclosureError {
    /// Over the limit on length.
    #[error("a disclosure has at most {limit} bytes, this one has {found}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length found.
        found: usize,
    },
    /// Not JSON of the right members.
    #[error("byte {column} of line {line}: not the JSON of a disclosure; give it as it was issued")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Byte of the line, from 1; 0 where the line is missing.
        column: usize,
    },
    /// JSON that says the same in another form.
    #[error(
        "the JSON is not in its canonical form (RFC 8785) with one newline behind it; give it as \
         it was issued"
    )]
    NotCanonical,
    /// A format that is not known.
    #[error(
        "the format is not `runstone/disclosure@v1`: this is no disclosure, or of a version that \
         is not known"
    )]
    Format,
    /// A position that canonical JSON cannot carry.
    #[error("the position is above {limit}, which RFC 8785 cannot carry exactly")]
    Position {
        /// The largest position of a disclosure.
        limit: u64,
    },
    /// No payload has so many segments.
    #[error("a payload has 1 to {limit} segments")]
    Segments {
        /// The most there may be.
        limit: u32,
    },
    /// Bytes that are not in the only form of base64, or not so many as there must be.
    #[error("the {part} of item {item} is not the padded base64 of its bytes")]
    Base64 {
        /// Which item of `disclosed`, from 0.
        item: usize,
        /// `value`, `salt` or `path`.
        part: Cow<'static, str>,
    },
    /// A name longer than a segment's can be.
    #[error("the name of item {item} is longer than {limit} bytes")]
    Name {
        /// Which item of `disclosed`, from 0.
        item: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Indexes that do not ascend, or one that no segment has.
    #[error("item {item} is not behind the one before it, or is no segment of the payload")]
    Index {
        /// Which item of `disclosed`, from 0.
        item: usize,
    },
    /// Two items of one name.
    #[error("item {item} has the name of one before it; a payload has each name once")]
    DuplicateName {
        /// Which item of `disclosed`, from 0.
        item: usize,
    },
    /// Nothing is disclosed.
    #[error("nothing is disclosed; name at least one field, or disclose the payload whole")]
    Nothing,
    /// Single fields of a payload of one segment.
    #[error(
        "the payload was committed to as one segment and can only be disclosed whole; record \
         events with fields to disclose single ones"
    )]
    WholeOnly,
    /// A field that the payload does not have.
    #[error("the payload has no field of the name asked for (number {asked} of those asked)")]
    UnknownField {
        /// Which of the names asked for, from 1.
        asked: usize,
    },
    /// A field that was asked for twice.
    #[error("a field is asked for twice (number {asked} of those asked)")]
    DuplicateField {
        /// Which of the names asked for, from 1.
        asked: usize,
    },
    /// It is of another event.
    #[error(
        "the disclosure is of position {found}, the entry stands at {expected}; give those that \
         belong together"
    )]
    OtherPosition {
        /// Position of the entry.
        expected: u64,
        /// Position of the disclosure.
        found: u64,
    },
    /// A path that is too short or too long for its place.
    #[error("the path of item {item} is none: {error}; the disclosure was altered")]
    Path {
        /// Which item of `disclosed`, from 0.
        item: usize,
        /// What is wrong with it.
        error: ProofError,
    },
    /// A segment that the entry does not commit to.
    #[error(
        "item {item} is not a part of the payload that the entry commits to; it was altered or \
         invented"
    )]
    Commitment {
        /// Which item of `disclosed`, from 0.
        item: usize,
    },
}

impl DisclosureError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "disclosure_too_long",
            Self::Json { .. }
            | Self::NotCanonical
            | Self::Format
            | Self::Segments { .. }
            | Self::Base64 { .. }
            | Self::Name { .. }
            | Self::Index { .. }
            | Self::DuplicateName { .. } => "disclosure_malformed",
            Self::Position { .. } => "disclosure_position_limit",
            Self::Nothing => "disclosure_empty",
            Self::WholeOnly => "disclosure_whole_only",
            Self::UnknownField { .. } => "disclosure_unknown_field",
            Self::DuplicateField { .. } => "disclosure_duplicate_field",
            Self::OtherPosition { .. } => "disclosure_position",
            Self::Path { error, .. } => error.code(),
            Self::Commitment { .. } => "disclosure_commitment",
        }
    }

    /// What the rejection of a disclosure means.
    pub fn finding(&self) -> Finding {
        match self {
            Self::OtherPosition { .. } | Self::Path { .. } | Self::Commitment { .. } => {
                Finding::False
            }
            _ => Finding::Malformed,
        }
    }
}
