//! AES-256-GCM key wrapping for providers that hold the key-encryption key in memory.

use zeroize::Zeroizing;

use crate::aead;

use super::{KEY_LEN, KeyEncryptionKey, NONCE_LEN, SecretBytes};

const TAG_LEN: usize = 16;

/// Wrapping or unwrapping failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The bytes were altered, or wrapped under another key or for another row.
    #[error("the wrapped key does not open under this key-encryption key")]
    Rejected,
    /// A wrapped key has exactly 48 bytes.
    #[error("the wrapped key has {found} bytes where 48 are expected")]
    Length {
        /// The length found.
        found: usize,
    },
}

impl WrapError {
    /// Stable machine-readable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected => "key_rejected",
            Self::Length { .. } => "wrapped_key_length",
        }
    }
}

/// Wraps a key: ciphertext and tag, 48 bytes. The nonce must be fresh for this `kek`.
///
/// # Errors
///
/// [`WrapError::Rejected`] should the cipher refuse, which these lengths do not allow.
pub fn wrap(
    kek: &KeyEncryptionKey,
    aad: &[u8],
    nonce: &[u8; NONCE_LEN],
    plain: &[u8; KEY_LEN],
) -> Result<Vec<u8>, WrapError> {
    // Full capacity at once: growing would leave an unwiped copy of the key behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(KEY_LEN + TAG_LEN));
    buffer.extend_from_slice(plain);
    let tag = aead::encrypt(kek.as_bytes(), nonce, aad, &mut buffer).ok_or(WrapError::Rejected)?;
    buffer.extend_from_slice(&tag);
    Ok(core::mem::take(&mut *buffer))
}

/// Opens what [`wrap`] made for the same `aad` and nonce.
///
/// # Errors
///
/// [`WrapError`] when the length is wrong or the tag does not match.
pub fn unwrap(
    kek: &KeyEncryptionKey,
    aad: &[u8],
    nonce: &[u8; NONCE_LEN],
    wrapped: &[u8],
) -> Result<SecretBytes, WrapError> {
    let Some((sealed, tag)) = wrapped
        .split_last_chunk::<TAG_LEN>()
        .filter(|(sealed, _)| sealed.len() == KEY_LEN)
    else {
        return Err(WrapError::Length {
            found: wrapped.len(),
        });
    };
    let mut buffer = Zeroizing::new(sealed.to_vec());
    aead::decrypt(kek.as_bytes(), nonce, aad, &mut buffer, tag).ok_or(WrapError::Rejected)?;
    Ok(SecretBytes::new(core::mem::take(&mut *buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_LEN] = [9; NONCE_LEN];

    #[test]
    fn wrapped_bytes_equal_those_of_another_implementation() {
        // python3 cryptography: AESGCM(bytes([1]*32)).encrypt(bytes([9]*12), bytes([2]*32), b"aad")
        let kek = KeyEncryptionKey::new([1; 32]);
        let wrapped = wrap(&kek, b"aad", &NONCE, &[2; 32]).unwrap();
        let text = wrapped
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(
            text,
            "c60d25cccc3204c37d56484dacdf87159bc57cf8369d36e4355a324bec55fdffcaa85def93becf628b37cd4208e3d072"
        );
        assert_eq!(
            unwrap(&kek, b"aad", &NONCE, &wrapped).unwrap().as_bytes(),
            &[2; 32]
        );
    }

    #[test]
    fn any_other_input_is_rejected() {
        let kek = KeyEncryptionKey::new([1; 32]);
        let wrapped = wrap(&kek, b"aad", &NONCE, &[2; 32]).unwrap();
        let rejected = |result: Result<SecretBytes, WrapError>| {
            assert_eq!(result.unwrap_err(), WrapError::Rejected);
        };
        for index in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[index] ^= 1;
            rejected(unwrap(&kek, b"aad", &NONCE, &flipped));
        }
        rejected(unwrap(
            &KeyEncryptionKey::new([3; 32]),
            b"aad",
            &NONCE,
            &wrapped,
        ));
        rejected(unwrap(&kek, b"aae", &NONCE, &wrapped));
        rejected(unwrap(&kek, b"aad", &[8; NONCE_LEN], &wrapped));
        for length in [0, 16, 47] {
            let short = unwrap(&kek, b"aad", &NONCE, &wrapped[..length]);
            assert_eq!(short.unwrap_err(), WrapError::Length { found: length });
        }
    }
}
