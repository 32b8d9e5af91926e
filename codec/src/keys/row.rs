//! One row of the key table: a wrapped key and what it is bound to.

use core::fmt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{KeyId, LogId, hash};

/// Length of an AES-GCM nonce in bytes.
pub const NONCE_LEN: usize = 12;

/// What a wrapped key is for. The numbers are the bytes on disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyKind {
    /// Seals the payloads of one scope.
    Data = 0,
    /// Makes the keyed digests of one scope.
    Lookup = 1,
    /// Seals the control of the log's events.
    Operations = 2,
    /// Authenticates the heads of the log.
    Mac = 3,
    /// Seals the rows of folds; every erasure replaces it.
    Folds = 4,
}

impl KeyKind {
    /// The byte on disk.
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    /// The kind for a byte on disk.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Data),
            1 => Some(Self::Lookup),
            2 => Some(Self::Operations),
            3 => Some(Self::Mac),
            4 => Some(Self::Folds),
            _ => None,
        }
    }

    /// The word shown to people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Lookup => "lookup",
            Self::Operations => "operations",
            Self::Mac => "mac",
            Self::Folds => "folds",
        }
    }

    /// Whether keys of this kind belong to a scope; the others belong to the log.
    pub fn is_scoped(self) -> bool {
        matches!(self, Self::Data | Self::Lookup)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a key seals new messages. The numbers are the bytes on disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyState {
    /// Seals and opens.
    Active = 0,
    /// Opens only.
    Retired = 1,
}

impl KeyState {
    /// The byte on disk.
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    /// The state for a byte on disk.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Active),
            1 => Some(Self::Retired),
            _ => None,
        }
    }

    /// The word shown to people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// A wrapped key with everything its wrapping is bound to.
#[expect(
    clippy::exhaustive_structs,
    reason = "a row's fields are fixed by the format"
)]
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key's id, named by envelopes.
    pub key_id: KeyId,
    /// What the key is for.
    pub kind: KeyKind,
    /// The scope it belongs to, 1 to 255 bytes; empty for the log's own keys.
    pub scope: String,
    /// Counts the data keys of a scope.
    pub generation: u32,
    /// The key-encryption key that wraps it, 1 to 255 bytes.
    pub kek_id: String,
    /// When the key was made, Unix microseconds.
    pub created_us: u64,
    /// Messages sealed under it, as far as the table was written since.
    pub count: u64,
    /// Whether it seals new messages.
    pub state: KeyState,
    /// The nonce of the wrapping.
    pub nonce: [u8; NONCE_LEN],
    /// Ciphertext and tag; opaque where a command wraps.
    pub wrapped: Vec<u8>,
}

impl KeyRow {
    /// What the wrapping authenticates beside the key.
    pub fn aad(&self, log_id: &LogId) -> Vec<u8> {
        wrap_aad(
            log_id,
            &self.key_id,
            self.kind,
            &self.scope,
            self.generation,
            &self.kek_id,
        )
    }
}

impl fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRow")
            .field("key_id", &self.key_id)
            .field("kind", &self.kind)
            .field("scope", &self.scope)
            .field("generation", &self.generation)
            .field("kek_id", &self.kek_id)
            .field("created_us", &self.created_us)
            .field("count", &self.count)
            .field("state", &self.state)
            .field("wrapped_len", &self.wrapped.len())
            .finish_non_exhaustive()
    }
}

/// `DS("wrap") || log_id || key_id || kind || scope || u32 generation || kek_id`
pub fn wrap_aad(
    log_id: &LogId,
    id: &KeyId,
    kind: KeyKind,
    scope: &str,
    generation: u32,
    kek_id: &str,
) -> Vec<u8> {
    let mut aad = hash::ds("wrap");
    aad.extend_from_slice(log_id.as_bytes());
    aad.extend_from_slice(id.as_bytes());
    aad.push(kind.as_u8());
    aad.extend_from_slice(scope.as_bytes());
    aad.extend_from_slice(&generation.to_be_bytes());
    aad.extend_from_slice(kek_id.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aad_is_pinned() {
        let aad = wrap_aad(
            &LogId::from_bytes([1; 16]),
            &KeyId::from_bytes([2; 16]),
            KeyKind::Lookup,
            "s",
            0x0102_0304,
            "kek",
        );
        let mut expected = b"runstone/wrap/v1\0".to_vec();
        expected.extend([1; 16]);
        expected.extend([2; 16]);
        expected.extend([1, b's', 1, 2, 3, 4]);
        expected.extend(b"kek");
        assert_eq!(aad, expected);
    }

    #[test]
    fn bytes_of_kinds_and_states_round_trip_and_others_are_refused() {
        for byte in 0..=255_u8 {
            assert_eq!(
                KeyKind::from_u8(byte).map(KeyKind::as_u8),
                (byte < 5).then_some(byte)
            );
            assert_eq!(
                KeyState::from_u8(byte).map(KeyState::as_u8),
                (byte < 2).then_some(byte)
            );
        }
    }
}
