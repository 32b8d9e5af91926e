//! Why nothing can be proven, shown or erased.

use crate::error::{AppendError, ErrorKind, OpenError, ReadError};
use crate::keys::KeyError;
use runstone_codec::Position;
use runstone_receipt::disclosure::DisclosureError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A proof or a disclosure could not be made.
///
/// Where another process holds the log, some errors come as what that process says of them (in
/// [`Append`](Self::Append)). A program that does not know where its log is held matches on
/// [`code`](Self::code), which is the same either way.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvidenceError {
    /// It is no checkpoint of this log.
    #[error("this is no checkpoint that this log has signed: {why}")]
    Checkpoint {
        /// Why not.
        why: String,
    },
    /// The log has signed it, and has another history now.
    #[error(transparent)]
    #[serde(skip)]
    Contradicted(#[from] OpenError),
    /// The content was erased.
    #[error("the content at position {position} was erased; its receipt still verifies")]
    Erased {
        /// The event.
        position: Position,
    },
    /// The content is not in this copy of the log.
    #[error("the content at position {position} is withheld from this copy of the log")]
    Withheld {
        /// The event.
        position: Position,
    },
    /// The content cannot be taken apart.
    #[error("the content at position {position} cannot be read: {why}")]
    Unreadable {
        /// The event.
        position: Position,
        /// Why not.
        why: String,
    },
    /// It is not the log's own evidence, and cannot be shown without a word.
    #[error(
        "the event at position {position} is no evidence of the log itself, and disclosing it is recorded"
    )]
    NotOwn {
        /// The event.
        position: Position,
    },
    /// It cannot be shown so.
    #[error(transparent)]
    Disclosure(#[from] DisclosureError),
    /// The recipient is no code.
    #[error(
        "`{recipient}` is not a code for a recipient: it is recorded for ever, so it is 1 to 64 letters, digits, `.`, `_` and `-`, as in auditor-7"
    )]
    Recipient {
        /// What was given.
        recipient: String,
    },
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disclosure could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl EvidenceError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint { .. } => "foreign_checkpoint",
            Self::Contradicted(error) => error.code(),
            Self::Erased { .. } => "erased",
            Self::Withheld { .. } => "withheld",
            Self::Unreadable { .. } => "corrupt",
            Self::NotOwn { .. } => "not_own_evidence",
            Self::Disclosure(error) => error.code(),
            Self::Recipient { .. } => "recipient",
            Self::Read(error) => error.code(),
            Self::Append(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Checkpoint { .. } => ErrorKind::Keys,
            Self::Contradicted(error) => error.kind(),
            Self::Erased { .. } | Self::Withheld { .. } | Self::Disclosure(_) => ErrorKind::Refused,
            Self::Unreadable { .. } => ErrorKind::Corrupt,
            Self::NotOwn { .. } | Self::Recipient { .. } => ErrorKind::Usage,
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Contradicted(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// An erasure was refused, or is not complete.
///
/// Where another process holds the log, some errors come as what that process says of them (in
/// [`Append`](Self::Append)). A program that does not know where its log is held matches on
/// [`code`](Self::code), which is the same either way.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EraseError {
    /// Nothing was named.
    #[error("name at least one scope to erase")]
    Empty,
    /// The basis is no code.
    #[error(
        "`{basis}` is not a basis: it is recorded for ever, so it is a code of 1 to 64 letters, digits, `.`, `_` and `-`, as in gdpr-17-1-b"
    )]
    Basis {
        /// What was given.
        basis: String,
    },
    /// It is the log's own scope.
    #[error("scope `{scope}` is the log's own and is never erased")]
    Protected {
        /// The scope.
        scope: String,
    },
    /// There is nothing to erase.
    #[error("there is no scope `{scope}`: it has no events and no keys")]
    NotFound {
        /// The scope.
        scope: String,
    },
    /// It is under legal hold.
    #[error(
        "scope `{scope}` is under legal hold since position {position}; a person or a commander releases it"
    )]
    Held {
        /// The scope.
        scope: String,
        /// Where the hold was placed.
        position: Position,
    },
    /// Something is under way in it.
    #[error("scope `{scope}` is in use: {what}; end that first, or force the erasure")]
    InUse {
        /// The scope.
        scope: String,
        /// What is under way.
        what: String,
    },
    /// It must be kept for longer.
    #[error(
        "scope `{scope}` has events that must be kept until {until_us} (microseconds since the epoch): the newest is younger than the minimum retention"
    )]
    Retained {
        /// The scope.
        scope: String,
        /// When its newest event may be erased, microseconds since the epoch.
        until_us: u64,
    },
    /// The content lies in the file in the clear.
    #[error("the log is not encrypted: erasing is rewriting its file, which cannot be deferred")]
    Plain,
    /// The file cannot be replaced where it lies.
    #[error("the file of this log cannot be rewritten here; defer it")]
    NoPlace,
    /// Somebody else has to provide or destroy a key-encryption key.
    #[error("the erasure requested at position {requested} is pending: {why}, then resume it")]
    Pending {
        /// Position of the request.
        requested: Position,
        /// What somebody has to do.
        why: Cow<'static, str>,
    },
    /// The keys could not be changed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl EraseError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty | Self::Basis { .. } => "erase_request",
            Self::Protected { .. } => "scope_protected",
            Self::NotFound { .. } => "scope_unknown",
            Self::Held { .. } => "scope_held",
            Self::InUse { .. } => "scope_in_use",
            Self::Retained { .. } => "scope_retained",
            Self::Plain | Self::NoPlace => "erase_needs_rewrite",
            Self::Pending { .. } => "erasure_pending",
            Self::Keys(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Append(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Basis { .. } => ErrorKind::Usage,
            Self::Protected { .. }
            | Self::Held { .. }
            | Self::InUse { .. }
            | Self::Retained { .. }
            | Self::Plain
            | Self::NoPlace => ErrorKind::Refused,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Pending { .. } => ErrorKind::Incomplete,
            Self::Keys(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Keys(error) => error.is_retryable(),
            Self::Read(error) => error.is_retryable(),
            Self::Append(error) => error.is_retryable(),
            _ => false,
        }
    }
}
