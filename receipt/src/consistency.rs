//! Consistency files: that a later checkpoint of a log holds everything that an earlier one held.
//!
//! ```text
//! old <size of the earlier tree>
//! <base64 hash>                          0 to 63 lines
//!                                        one empty line
//! <the later checkpoint, as it was signed>
//! ```
//!
//! The shape is that of a request to a witness (<https://c2sp.org/tlog-witness>, add-checkpoint).
//! The earlier checkpoint is not in it: whoever verifies brings the one that he kept.

use core::fmt;

use runstone_codec::hash::Digest32;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::policy::Policy;
use crate::receipt::Finding;
use crate::text::{self, TextError};
use crate::tree::{ProofError, verify_consistency};

/// A consistency file that is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsistencyError {
    /// Not a text of the right shape.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The first line is not the size of the earlier tree.
    #[error("line 1 is not `old` and a decimal number; give the file as it was issued")]
    Old,
    /// The later checkpoint is not one, or not one to be trusted.
    #[error("the file's checkpoint is rejected: {0}")]
    Checkpoint(CheckpointError),
    /// The file starts at another size than the earlier checkpoint.
    #[error(
        "the file starts at size {found}, the earlier checkpoint has size {expected}; ask for a \
         file that starts there"
    )]
    OtherSize {
        /// Size of the earlier checkpoint.
        expected: u64,
        /// Size in the file.
        found: u64,
    },
    /// The checkpoints have different origins.
    #[error(
        "the earlier checkpoint is of {earlier}, the later one of {later}; if that is a later \
         epoch of the same log, verify across epochs"
    )]
    OtherOrigin {
        /// Origin of the earlier checkpoint.
        earlier: String,
        /// Origin of the later one.
        later: String,
    },
    /// The later tree does not hold the earlier one.
    #[error(
        "the later tree does not hold the earlier one: {0}; history was rewritten or the file \
         altered, keep both checkpoints as proof"
    )]
    Proof(ProofError),
}

impl ConsistencyError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text(error) => error.code(),
            Self::Old => "consistency_malformed",
            Self::Checkpoint(error) => error.code(),
            Self::OtherSize { .. } => "consistency_size",
            Self::OtherOrigin { .. } => "consistency_origin",
            Self::Proof(error) => error.code(),
        }
    }

    /// What the rejection means.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Text(_) | Self::Old => Finding::Malformed,
            Self::Checkpoint(error) => error.finding(),
            Self::OtherSize { .. } | Self::OtherOrigin { .. } => Finding::Unverifiable,
            Self::Proof(_) => Finding::False,
        }
    }
}

/// A consistency file, read but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    old: u64,
    proof: Vec<Digest32>,
    checkpoint: String,
}

impl Consistency {
    /// The file that leads from a tree of `old` leaves to a later checkpoint.
    ///
    /// # Errors
    ///
    /// [`ConsistencyError`] when it could not be read back, or the checkpoint is none or of a
    /// smaller tree.
    pub fn new(
        old: u64,
        proof: Vec<Digest32>,
        checkpoint: String,
    ) -> Result<Self, ConsistencyError> {
        let file = Self {
            old,
            proof,
            checkpoint,
        };
        if Self::parse(file.to_string().as_bytes())? != file {
            return Err(ConsistencyError::Old);
        }
        let new = Checkpoint::of_note(&file.checkpoint)
            .map_err(ConsistencyError::Checkpoint)?
            .size;
        if old > new {
            return Err(ConsistencyError::Proof(ProofError::Shrunk { old, new }));
        }
        Ok(file)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConsistencyError`] for any bytes that encoding would not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConsistencyError> {
        let (head, checkpoint) = text::split(bytes)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        Ok(Self {
            old: old.and_then(text::decimal).ok_or(ConsistencyError::Old)?,
            proof: text::hashes(lines, 2)?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Verifies that the file's checkpoint is to be trusted, is of the same log as an earlier one,
    /// and that its tree holds the earlier tree. Answers the later checkpoint, to be kept.
    ///
    /// The earlier checkpoint comes from [`Policy::verify_checkpoint`].
    ///
    /// # Errors
    ///
    /// [`ConsistencyError`] at the first rule broken.
    pub fn verify(
        &self,
        earlier: &SignedCheckpoint,
        policy: &Policy,
    ) -> Result<SignedCheckpoint, ConsistencyError> {
        let later = self.open(policy)?;
        let (from, to) = (&earlier.checkpoint().origin, &later.checkpoint().origin);
        if from != to {
            return Err(ConsistencyError::OtherOrigin {
                earlier: from.clone(),
                later: to.clone(),
            });
        }
        self.prove(earlier, later)
    }

    /// As [`Consistency::verify`], where the later checkpoint may have the origin of any log of
    /// the policy: an epoch goes on with the leaves of the one before under a new origin.
    ///
    /// # Errors
    ///
    /// [`ConsistencyError`] at the first rule broken.
    pub fn verify_across_epochs(
        &self,
        earlier: &SignedCheckpoint,
        policy: &Policy,
    ) -> Result<SignedCheckpoint, ConsistencyError> {
        self.prove(earlier, self.open(policy)?)
    }

    fn open(&self, policy: &Policy) -> Result<SignedCheckpoint, ConsistencyError> {
        policy
            .verify_checkpoint(&self.checkpoint, None)
            .map_err(ConsistencyError::Checkpoint)
    }

    fn prove(
        &self,
        earlier: &SignedCheckpoint,
        later: SignedCheckpoint,
    ) -> Result<SignedCheckpoint, ConsistencyError> {
        let (from, to) = (earlier.checkpoint(), later.checkpoint());
        if self.old != from.size {
            return Err(ConsistencyError::OtherSize {
                expected: from.size,
                found: self.old,
            });
        }
        verify_consistency(from.size, to.size, &from.root, &to.root, &self.proof)
            .map_err(ConsistencyError::Proof)?;
        Ok(later)
    }

    /// Size of the earlier tree, not verified.
    pub fn old(&self) -> u64 {
        self.old
    }

    /// The proof.
    pub fn proof(&self) -> &[Digest32] {
        &self.proof
    }

    /// The later checkpoint as it was signed, not verified.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

/// The file.
impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = format!("old {}\n", self.old);
        text::write(&mut out, &self.proof, &self.checkpoint);
        f.write_str(&out)
    }
}
