//! The provider that holds key-encryption keys: a keyring file, an environment value, a
//! command that asks a key management service.

use core::fmt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_LEN, NONCE_LEN, SecretBytes};
use crate::EntropyError;

/// Wraps and unwraps keys under key-encryption keys that it alone holds.
///
/// The ids of key-encryption keys are names of at most 255 bytes without control characters.
/// Calls may take as long as a request over a network; the log's writer never makes one.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// The id of the key-encryption key that new keys are wrapped under.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the provider cannot say.
    fn current(&self) -> Result<String, ProviderError>;

    /// Wraps a key; the result is opaque to the caller.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the key-encryption key is unknown or the provider is away.
    fn wrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        plain: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, ProviderError>;

    /// Opens what [`KeyProvider::wrap`] answered for the same id, `aad` and nonce.
    ///
    /// # Errors
    ///
    /// [`ProviderError`], among them [`ProviderError::Rejected`] when the bytes were altered
    /// or wrapped under another key.
    fn unwrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        wrapped: &[u8],
    ) -> Result<SecretBytes, ProviderError>;

    /// Makes a new key-encryption key, the current one from now on, and answers its id.
    ///
    /// # Errors
    ///
    /// [`ProviderError`], [`ProviderError::Unsupported`] where a person has to make it.
    fn create(&self) -> Result<String, ProviderError>;

    /// Destroys a key-encryption key and says how sure that is. Destroying one that is gone
    /// already succeeds, so that an interrupted erasure can be resumed.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the outcome is unknown.
    fn destroy(&self, kek_id: &str) -> Result<Destroyed, ProviderError>;
}

/// How far a key-encryption key is known to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the three answers are fixed by the provider protocol"
)]
pub enum Destroyed {
    /// The provider vouches for it.
    Proven,
    /// Overwritten or deleted as well as the medium allows.
    BestEffort,
    /// The provider cannot destroy it; somebody else has to.
    Unsupported,
}

impl Destroyed {
    /// The word in events and in the provider protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::BestEffort => "best_effort",
            Self::Unsupported => "unsupported",
        }
    }

    /// The answer for a word of the provider protocol.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Proven, Self::BestEffort, Self::Unsupported]
            .into_iter()
            .find(|answer| answer.as_str() == word)
    }
}

impl fmt::Display for Destroyed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Why a provider could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outage {
    /// The value that holds the key-encryption key is not set.
    NotSet,
    /// The command could not be started.
    NotStarted,
    /// The command ended with a failure.
    Failed {
        /// Its exit code; none when a signal ended it.
        exit_code: Option<i32>,
    },
    /// The command did not answer within its time limit.
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Reading or writing failed on the way.
    Io,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str("its value is not set"),
            Self::NotStarted => f.write_str("its command could not be started"),
            Self::Failed {
                exit_code: Some(code),
            } => {
                write!(f, "its command ended with exit code {code}")
            }
            Self::Failed { exit_code: None } => f.write_str("its command was ended by a signal"),
            Self::TimedOut { limit_ms } => {
                write!(f, "its command gave no answer within {limit_ms} ms")
            }
            Self::Io => f.write_str("reading from or writing to it failed"),
        }
    }
}

/// A provider's refusal or failure. Never carries key bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The provider holds no key-encryption key of this id.
    #[error("the key provider does not know key-encryption key {kek_id}")]
    UnknownKek {
        /// The id asked for.
        kek_id: String,
    },
    /// The wrapped bytes do not open: altered, or wrapped under another key.
    #[error("key-encryption key {kek_id} does not open the wrapped key")]
    Rejected {
        /// The id tried.
        kek_id: String,
    },
    /// The provider is away; the same request may succeed later.
    #[error("the key provider is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: Outage,
        /// The cause, where the system named one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The provider answered something that its protocol does not allow.
    #[error("the key provider gave a bad answer: {what}")]
    BadAnswer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The provider does not offer this operation.
    #[error("the key provider does not support {operation}")]
    Unsupported {
        /// The operation's name in the protocol.
        operation: &'static str,
    },
    /// No randomness for a new key.
    #[error("no randomness for a new key-encryption key")]
    Entropy(#[source] EntropyError),
}

impl ProviderError {
    /// Stable machine-readable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKek { .. } => "kek_unknown",
            Self::Rejected { .. } => "key_rejected",
            Self::Unavailable { .. } => "key_provider_unavailable",
            Self::BadAnswer { .. } => "key_provider_bad_answer",
            Self::Unsupported { .. } => "key_provider_unsupported",
            Self::Entropy(_) => "entropy_unavailable",
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                reason: Outage::NotStarted
                    | Outage::Failed { .. }
                    | Outage::TimedOut { .. }
                    | Outage::Io,
                ..
            } | Self::Entropy(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destroyed_words_round_trip() {
        for answer in [
            Destroyed::Proven,
            Destroyed::BestEffort,
            Destroyed::Unsupported,
        ] {
            assert_eq!(Destroyed::from_word(answer.as_str()), Some(answer));
        }
        assert_eq!(Destroyed::from_word("Proven"), None);
    }

    #[test]
    fn only_outages_are_worth_a_retry() {
        let unset = ProviderError::Unavailable {
            reason: Outage::NotSet,
            source: None,
        };
        let late = ProviderError::Unavailable {
            reason: Outage::TimedOut { limit_ms: 5 },
            source: None,
        };
        assert!(!unset.is_retryable());
        assert!(late.is_retryable());
        assert!(!ProviderError::Rejected { kek_id: "k".into() }.is_retryable());
        assert_eq!(
            late.to_string(),
            "the key provider is unavailable: its command gave no answer within 5 ms"
        );
    }
}
