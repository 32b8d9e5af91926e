//! The stored form of a payload and its digest.
//!
//! ```text
//! codec 0: 00 || P                                                 DIGEST = SHA-256(DS("plain") || log_id || H || envelope)
//! codec 1: 01 || key_id(16) || nonce(12) || ciphertext(P) || tag(16)    DIGEST = SHA-256(envelope)
//! ```

use sha2::{Digest as _, Sha256};

use crate::hash::Digest32;
use crate::header::{CODEC_AES_256_GCM, CODEC_PLAIN};
use crate::ids::LogId;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a sealed envelope before its ciphertext: codec, key id, nonce.
pub const SEALED_PREFIX_BYTES: usize = 1 + 16 + NONCE_BYTES;

/// Bytes have no digest because they are no envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// No bytes: an absent envelope has no digest.
    #[error("the envelope is empty")]
    Empty,
    /// No codec has this number.
    #[error("envelope codec {found} is not known")]
    UnknownCodec {
        /// The number.
        found: u8,
    },
}

impl EnvelopeError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "envelope_empty",
            Self::UnknownCodec { .. } => "envelope_codec_unknown",
        }
    }
}

/// DIGEST of an envelope, by which its entry commits to the stored bytes.
///
/// A plain envelope is hashed together with its log and header; a sealed one is bound to them by
/// its associated data.
///
/// # Errors
/// The bytes are empty or begin with an unknown codec.
pub fn envelope_digest(
    log_id: &LogId,
    header_bytes: &[u8],
    envelope: &[u8],
) -> Result<Digest32, EnvelopeError> {
    match envelope.first() {
        None => Err(EnvelopeError::Empty),
        Some(&CODEC_PLAIN) => Ok(Sha256::new()
            .chain_update(b"runstone/plain/v1\0")
            .chain_update(log_id.as_bytes())
            .chain_update(header_bytes)
            .chain_update(envelope)
            .finalize()
            .into()),
        Some(&CODEC_AES_256_GCM) => Ok(Sha256::digest(envelope).into()),
        Some(&found) => Err(EnvelopeError::UnknownCodec { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{
        DIGEST_1, DIGEST_2, DIGEST_3, ENVELOPE_1, ENVELOPE_2, ENVELOPE_3, HEADER_1, HEADER_2,
        LOG_ID, unhex, unhex32,
    };

    #[test]
    fn pinned_digests() {
        for (header, envelope, digest) in [
            (HEADER_1, ENVELOPE_1, DIGEST_1),
            (HEADER_2, ENVELOPE_2, DIGEST_2),
            (HEADER_2, ENVELOPE_3, DIGEST_3),
        ] {
            let found = envelope_digest(&LOG_ID, &unhex(header), &unhex(envelope));
            assert_eq!(found, Ok(unhex32(digest)));
        }
    }

    #[test]
    fn every_changed_byte_changes_the_digest() {
        for (header, envelope, digest) in [
            (HEADER_1, ENVELOPE_1, DIGEST_1),
            (HEADER_2, ENVELOPE_2, DIGEST_2),
        ] {
            let (header, envelope) = (unhex(header), unhex(envelope));
            for at in 0..envelope.len() {
                let mut changed = envelope.clone();
                changed[at] ^= 1;
                assert_ne!(
                    envelope_digest(&LOG_ID, &header, &changed),
                    Ok(unhex32(digest))
                );
            }
        }
    }

    #[test]
    fn a_plain_digest_binds_log_and_header() {
        let (header, envelope) = (unhex(HEADER_1), unhex(ENVELOPE_1));
        let other_log = envelope_digest(&LogId::new([0; 16]), &header, &envelope);
        let other_header = envelope_digest(&LOG_ID, &unhex(HEADER_2), &envelope);
        assert!(other_log != Ok(unhex32(DIGEST_1)) && other_header != Ok(unhex32(DIGEST_1)));
    }

    #[test]
    fn what_is_no_envelope_has_no_digest() {
        assert_eq!(
            envelope_digest(&LOG_ID, &[], &[]),
            Err(EnvelopeError::Empty)
        );
        let xaes = EnvelopeError::UnknownCodec { found: 2 };
        assert_eq!(envelope_digest(&LOG_ID, &[], &[2, 0, 0]), Err(xaes));
    }
}
