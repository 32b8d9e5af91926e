//! What can be wrong with a receipt, step by step.

use runstone_codec::{EntryError, EnvelopeError};

use crate::checkpoint::CheckpointError;
use crate::disclosure::DisclosureError;
use crate::text::TextError;
use crate::tree::ProofError;

/// A receipt that is rejected, by the first step of its verification that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Step 1 and the hashes of step 2: not a text of the right shape.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Step 2: the first line is another one.
    #[error(
        "the first line is not `c2sp.org/tlog-proof@v1`: this is no receipt, or of a version that \
         is not known"
    )]
    Format,
    /// Step 2: the entry is missing or not in its only encoding.
    #[error(
        "line 2 is not `extra` and the padded base64 of an entry; ask the log for a receipt with \
         its entry"
    )]
    Extra,
    /// Step 2: the index is missing or not in its only form.
    #[error(
        "line 3 is not `index` and a decimal number below 2^63; give the receipt as it was issued"
    )]
    Index,
    /// Steps 3 and 4: the checkpoint is not one, or not one to be trusted.
    #[error("the receipt's checkpoint is rejected: {0}")]
    Checkpoint(CheckpointError),
    /// Step 4: the tree has no such leaf.
    #[error(
        "the receipt is for position {index}, its checkpoint for a tree of {size} entries; ask for \
         a receipt against a later checkpoint"
    )]
    Beyond {
        /// The index found.
        index: u64,
        /// The size found.
        size: u64,
    },
    /// Step 5: the entry is not a leaf of the tree.
    #[error(
        "the entry is not in the tree of the checkpoint: {0}; the receipt was altered, ask for a \
         new one and keep this one"
    )]
    Inclusion(ProofError),
    /// Step 6: what is in the tree is not an entry of a Runstone log.
    #[error(
        "the leaf is not an entry: {0}; the log holds something else at this position, or is of a \
         later version"
    )]
    Entry(EntryError),
    /// Step 6: the entry says that it stands elsewhere.
    #[error(
        "the entry says position {entry}, the receipt {index}; the log put it where it does not \
         belong, keep this receipt as proof"
    )]
    Position {
        /// The position in the entry.
        entry: u64,
        /// The receipt's index.
        index: u64,
    },
    /// Step 7: a plain envelope was given without the log's id.
    #[error("a plain envelope is hashed with the id of its log; give the log id")]
    LogIdMissing,
    /// Step 7: the envelope is not one.
    #[error("the envelope is not one: {0}; give the stored bytes of the event as they are")]
    Envelope(EnvelopeError),
    /// Step 7: the envelope says another codec or key than the entry.
    #[error(
        "the envelope has another codec or key than the entry; it is not the one of this event"
    )]
    EnvelopeSeal,
    /// Step 7: the envelope is not the one that the entry commits to.
    #[error(
        "the envelope does not hash to the digest in the entry; it is not the one of this event, \
         of this log, or it was altered"
    )]
    EnvelopeDigest,
    /// Step 7: the disclosure does not open the commitment.
    #[error("the disclosure is rejected: {0}")]
    Disclosure(DisclosureError),
    /// Step 7: the plaintext does not open the commitment.
    #[error(
        "the plaintext is not the one that the entry commits to; it belongs to another event, or \
         was altered"
    )]
    Commitment,
}

/// What a rejection means to who verifies.
#[expect(clippy::exhaustive_enums, reason = "these three are all there is")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The bytes are not what they were given as: cut, converted, or another file.
    Malformed,
    /// Nothing can be said: a key, an origin, a witness or the log's id is missing.
    Unverifiable,
    /// It claims what does not hold: forged, altered, or not belonging together.
    False,
}

impl ReceiptError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text(error) => error.code(),
            Self::Format | Self::Extra | Self::Index => "receipt_malformed",
            Self::Checkpoint(error) => error.code(),
            Self::Beyond { .. } => "receipt_beyond_checkpoint",
            Self::Inclusion(error) => error.code(),
            Self::Entry(error) => error.code(),
            Self::Position { .. } => "receipt_position",
            Self::LogIdMissing => "receipt_log_id_missing",
            Self::Envelope(error) => error.code(),
            Self::EnvelopeSeal | Self::EnvelopeDigest => "receipt_envelope",
            Self::Disclosure(error) => error.code(),
            Self::Commitment => "receipt_commitment",
        }
    }

    /// The step of the verification that failed, 1 to 7.
    pub fn step(&self) -> u8 {
        match self {
            Self::Text(TextError::Hash { .. } | TextError::TooManyHashes { .. })
            | Self::Format
            | Self::Extra
            | Self::Index => 2,
            Self::Text(_) => 1,
            Self::Checkpoint(CheckpointError::Size | CheckpointError::Root)
            | Self::Beyond { .. } => 4,
            Self::Checkpoint(_) => 3,
            Self::Inclusion(_) => 5,
            Self::Entry(_) | Self::Position { .. } => 6,
            Self::LogIdMissing
            | Self::Envelope(_)
            | Self::EnvelopeSeal
            | Self::EnvelopeDigest
            | Self::Disclosure(_)
            | Self::Commitment => 7,
        }
    }

    /// What the rejection means.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Text(_) | Self::Format | Self::Extra | Self::Index | Self::Envelope(_) => {
                Finding::Malformed
            }
            Self::Checkpoint(error) => error.finding(),
            Self::LogIdMissing => Finding::Unverifiable,
            Self::Disclosure(error) => error.finding(),
            Self::Beyond { .. }
            | Self::Inclusion(_)
            | Self::Entry(_)
            | Self::Position { .. }
            | Self::EnvelopeSeal
            | Self::EnvelopeDigest
            | Self::Commitment => Finding::False,
        }
    }
}
