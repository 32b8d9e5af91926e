//! Injected randomness.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Randomness could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntropyError {
    /// The operating system gave none.
    #[error("the operating system gave no randomness: {reason}")]
    Unavailable {
        /// What it said.
        reason: String,
    },
}

impl EntropyError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "entropy_unavailable",
        }
    }

    /// Whether trying again may help.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
        }
    }
}

/// A source of randomness. Keys, nonces and salts come from it, so outside tests it must be the
/// operating system's: a generator in the process repeats itself after a fork or a restored
/// snapshot, and a repeated nonce opens AES-GCM.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// No randomness is to be had; `out` must not be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

impl<E: Entropy + ?Sized> Entropy for &E {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}

impl<E: Entropy + ?Sized> Entropy for std::sync::Arc<E> {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}

/// Randomness of the operating system.
#[cfg(feature = "seal")]
#[derive(Copy, Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a value without state")]
pub struct OsEntropy;

#[cfg(feature = "seal")]
impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|error| EntropyError::Unavailable {
            reason: error.to_string(),
        })
    }
}

#[cfg(all(test, feature = "seal"))]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        OsEntropy.fill(&mut one).unwrap();
        OsEntropy.fill(&mut two).unwrap();
        assert!(one != two && one != [0; 32]);
    }
}
