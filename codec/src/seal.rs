//! Sealing and opening payloads.
//!
//! The associated data of a sealed envelope is `DS("aad") || log_id || H || COMMIT`: what is known
//! before the event is queued, so sealing happens outside the writer. Position, revision and time
//! are bound by the entry, whose hash is the leaf of the log's tree.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;

use crate::envelope::{NONCE_BYTES, SEALED_PREFIX_BYTES, TAG_BYTES, envelope_digest};
use crate::hash::Digest32;
use crate::header::{CODEC_AES_256_GCM, CODEC_PLAIN, Header, HeaderError};
use crate::ids::{KeyId, LogId};
use crate::keys::DataKey;
use crate::payload::{
    BLIND_BYTES, Compression, MAX_PAYLOAD_BYTES, MODE_ZSTD, PLAIN_PREFIX_BYTES, PayloadSpec, Plain,
    PlainError, append_frame, commit as commit_to, into_payload,
};

/// A sealed event: all of its entry that does not depend on its place in the log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// H.
    pub header: Vec<u8>,
    /// The stored form of the payload.
    pub envelope: Vec<u8>,
    /// COMMIT: the hiding commitment to the payload.
    pub commit: Digest32,
    /// DIGEST of the envelope.
    pub digest: Digest32,
}

/// Shows lengths only: the envelope of a plain log is readable.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("header_bytes", &self.header.len())
            .field("envelope_bytes", &self.envelope.len())
            .finish_non_exhaustive()
    }
}

/// An event cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SealError {
    /// Its header cannot be encoded.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The key is not the one that the header names.
    #[error("the header names another key than the one given")]
    KeyMismatch,
    /// The payload is above the format's bound.
    #[error("the payload has {bytes} bytes, at most {max} are allowed")]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// Control is above its bound.
    #[error("control has {bytes} bytes, at most {max} are allowed")]
    ControlTooLong {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// The cipher refused, which it does above 64 GiB only.
    #[error("the cipher refused the plaintext")]
    Cipher,
}

impl SealError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Header(header) => header.code(),
            Self::KeyMismatch => "seal_key_mismatch",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::ControlTooLong { .. } => "control_too_long",
            Self::Cipher => "seal_cipher",
        }
    }
}

/// What about stored bytes was changed by somebody without the key.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tampering {
    /// The envelope is shorter than any.
    Truncated,
    /// The envelope's codec is not its header's.
    Codec,
    /// The envelope's key is not its header's.
    KeyId,
    /// The envelope was not sealed under this key for this log, header and commitment.
    Authentication,
    /// The payload is not the one that was committed to.
    Commitment,
    /// Control was not sealed under this key for this log, header and position.
    Control,
    /// A row of a derived table was not stored by this log under its key.
    Row,
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Truncated => "the envelope is cut short",
            Self::Codec => "the envelope's codec is not its header's",
            Self::KeyId => "the envelope's key is not its header's",
            Self::Authentication => "the envelope is not authentic",
            Self::Commitment => "the payload is not the one committed to",
            Self::Control => "control is not authentic",
            Self::Row => "the row is not authentic",
        })
    }
}

/// A payload or control cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The stored bytes are not what was written.
    #[error("tampered: {0}")]
    Tampered(Tampering),
    /// The bytes are authentic, and this version cannot read them.
    #[error("undecodable: {0}")]
    Undecodable(#[from] PlainError),
    /// No key was given for a sealed envelope: it is destroyed or out of reach.
    #[error("key {key_id} is missing")]
    KeyMissing {
        /// The key that seals it.
        key_id: KeyId,
    },
    /// The key given is another one than the header names: the caller's mistake.
    #[error("key {expected} is needed, key {given} was given")]
    WrongKey {
        /// The key that seals it.
        expected: KeyId,
        /// The key that was given.
        given: KeyId,
    },
}

impl OpenError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tampered(_) => "payload_tampered",
            Self::Undecodable(_) => "payload_undecodable",
            Self::KeyMissing { .. } => "payload_key_missing",
            Self::WrongKey { .. } => "payload_wrong_key",
        }
    }

    /// Whether the stored bytes are not what was written.
    pub const fn is_tampered(&self) -> bool {
        matches!(self, Self::Tampered(_))
    }

    /// Whether trying again with the same key may help. It does not.
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

/// Seals a payload: under `key`, or plain without one, as the header says.
///
/// `blind` is R, from which the salts of the commitment come, and `nonce` the cipher's. Both must be
/// fresh from the operating system's randomness: a nonce used twice with one key opens both.
///
/// # Errors
/// The header cannot be encoded or names another key, or the payload is above
/// [`MAX_PAYLOAD_BYTES`].
pub fn seal(
    log_id: &LogId,
    header: &Header,
    payload: &[u8],
    spec: PayloadSpec,
    key: Option<&DataKey>,
    blind: [u8; BLIND_BYTES],
    nonce: [u8; NONCE_BYTES],
) -> Result<Sealed, SealError> {
    if header.key_id.as_ref() != key.map(DataKey::id) {
        return Err(SealError::KeyMismatch);
    }
    let (bytes, max) = (payload.len(), MAX_PAYLOAD_BYTES);
    if bytes > max {
        return Err(SealError::PayloadTooLarge { bytes, max });
    }
    let header = header.encode()?;
    let (mode, commit) = commit_to(&blind, payload, spec.fields);
    let mut envelope =
        Vec::with_capacity(SEALED_PREFIX_BYTES + PLAIN_PREFIX_BYTES + payload.len() + TAG_BYTES);
    match key {
        None => envelope.push(CODEC_PLAIN),
        Some(key) => {
            envelope.push(CODEC_AES_256_GCM);
            envelope.extend_from_slice(key.id().as_bytes());
            envelope.extend_from_slice(&nonce);
        }
    }
    append_plain(
        &blind,
        mode.to_byte(),
        payload,
        spec.compress,
        &mut envelope,
    );
    if let Some(key) = key {
        let plain = envelope.get_mut(SEALED_PREFIX_BYTES..).unwrap_or_default();
        let tag = with_aad(log_id, &header, &commit, |aad| {
            key.cipher().encrypt(&nonce, aad, plain)
        });
        let tag = tag.ok_or(SealError::Cipher)?;
        envelope.extend_from_slice(&tag);
    }
    let digest = envelope_digest(log_id, &header, &envelope).map_err(|_| SealError::Cipher)?;
    Ok(Sealed {
        header,
        envelope,
        commit,
        digest,
    })
}

/// Appends P.
fn append_plain(
    blind: &[u8; BLIND_BYTES],
    mode: u8,
    payload: &[u8],
    compress: Compression,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(blind);
    let mode_at = out.len();
    out.push(mode);
    if compress == Compression::Auto && append_frame(payload, out) {
        if let Some(mode) = out.get_mut(mode_at) {
            *mode |= MODE_ZSTD;
        }
    } else {
        out.extend_from_slice(payload);
    }
}

/// Opens an envelope and gives the payload's bytes as they were given to [`seal`].
///
/// What holds afterwards for a sealed envelope: it was sealed under this key for this log, header
/// and commitment. A plain one is bound by its digest, which the caller compares with the entry's.
/// Whether the commitment is to this payload is what [`check_commitment`] tells.
///
/// # Errors
/// [`OpenError`] tells what was tampered with, what cannot be read and which key is missing.
pub fn open(
    log_id: &LogId,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &Digest32,
    key: Option<&DataKey>,
) -> Result<Vec<u8>, OpenError> {
    let plain = open_plain(log_id, header_bytes, header, envelope, commit, key)?;
    Ok(into_payload(plain)?)
}

/// Opens an envelope and checks that the commitment is to the payload in it.
///
/// # Errors
/// As [`open`]; [`Tampering::Commitment`] if the commitment is to something else.
pub fn check_commitment(
    log_id: &LogId,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &Digest32,
    key: Option<&DataKey>,
) -> Result<(), OpenError> {
    let plain = open_plain(log_id, header_bytes, header, envelope, commit, key)?;
    if Plain::parse(&plain)?.commitment() == *commit {
        Ok(())
    } else {
        Err(OpenError::Tampered(Tampering::Commitment))
    }
}

/// Opens an envelope and gives P, from which [`Plain::parse`] takes what a disclosure needs.
///
/// # Errors
/// As [`open`], without [`OpenError::Undecodable`].
pub fn open_plain(
    log_id: &LogId,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &Digest32,
    key: Option<&DataKey>,
) -> Result<Vec<u8>, OpenError> {
    const TRUNCATED: OpenError = OpenError::Tampered(Tampering::Truncated);
    const CODEC: OpenError = OpenError::Tampered(Tampering::Codec);
    let (codec, rest) = envelope.split_first().ok_or(TRUNCATED)?;
    if *codec != header.codec {
        return Err(CODEC);
    }
    let Some(expected) = header.key_id.filter(|_| *codec == CODEC_AES_256_GCM) else {
        // Codec 0, the only one without a key that a header can have.
        return if *codec == CODEC_PLAIN {
            Ok(rest.to_vec())
        } else {
            Err(CODEC)
        };
    };
    let (key_id, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    if key_id != expected.as_bytes() {
        return Err(OpenError::Tampered(Tampering::KeyId));
    }
    let (nonce, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    let (ciphertext, tag) = rest.split_last_chunk().ok_or(TRUNCATED)?;
    let key = key.ok_or(OpenError::KeyMissing { key_id: expected })?;
    if *key.id() != expected {
        return Err(OpenError::WrongKey {
            expected,
            given: *key.id(),
        });
    }
    let mut plain = ciphertext.to_vec();
    let opened = with_aad(log_id, header_bytes, commit, |aad| {
        key.cipher().decrypt(nonce, aad, &mut plain, tag)
    });
    opened.ok_or(OpenError::Tampered(Tampering::Authentication))?;
    Ok(plain)
}

/// Bytes of associated data that are put together on the stack: those of nearly every event.
const SHORT_AAD_BYTES: usize = 320;

/// Does `action` with the associated data.
fn with_aad<T>(
    log_id: &LogId,
    header_bytes: &[u8],
    commit: &Digest32,
    action: impl FnOnce(&[u8]) -> T,
) -> T {
    let parts = [
        b"runstone/aad/v1\0".as_slice(),
        log_id.as_bytes(),
        header_bytes,
        commit,
    ];
    let mut short = [0; SHORT_AAD_BYTES];
    let mut free = short.as_mut_slice();
    let fits = parts.iter().all(|part| free.write_all(part).is_ok());
    let length = SHORT_AAD_BYTES - free.len();
    match short.get(..length).filter(|_| fits) {
        Some(aad) => action(aad),
        None => action(&parts.concat()),
    }
}

#[cfg(test)]
mod collision;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aead;
    use crate::vectors::{
        COMMIT_1, COMMIT_2, COMMIT_3, DIGEST_1, DIGEST_2, ENVELOPE_1, ENVELOPE_2, ENVELOPE_3,
        HEADER_1, HEADER_2, KEY_ID, LOG_ID, PAYLOAD_1, PAYLOAD_2, counting, header_1, header_2,
        headers, nonce, payload_3, unhex, unhex32,
    };

    const PLAIN: PayloadSpec = PayloadSpec {
        fields: false,
        compress: Compression::Never,
    };
    const FIELDS: PayloadSpec = PayloadSpec {
        fields: true,
        compress: Compression::Never,
    };
    const AUTO: PayloadSpec = PayloadSpec {
        fields: false,
        compress: Compression::Auto,
    };

    fn key() -> DataKey {
        DataKey::new(KEY_ID, counting(0))
    }

    #[test]
    fn associated_data_is_the_same_however_long() {
        for length in [0, 1, 446, 447, 448, 449, 4096] {
            let header = vec![7; length];
            let expected = [
                b"runstone/aad/v1\0".as_slice(),
                LOG_ID.as_bytes(),
                &header,
                &[9; 32],
            ];
            with_aad(&LOG_ID, &header, &[9; 32], |aad| {
                assert_eq!(aad, expected.concat(), "{length}");
            });
        }
    }

    fn sealed(header: &Header, payload: &[u8], spec: PayloadSpec) -> Sealed {
        let key = header.key_id.map(|id| DataKey::new(id, counting(0)));
        seal(
            &LOG_ID,
            header,
            payload,
            spec,
            key.as_ref(),
            counting(0x40),
            nonce(0x60),
        )
        .unwrap()
    }

    fn opened(envelope: &[u8], commit: &str) -> Result<Vec<u8>, OpenError> {
        let header = header_2();
        open(
            &LOG_ID,
            &unhex(HEADER_2),
            &header,
            envelope,
            &unhex32(commit),
            Some(&key()),
        )
    }

    #[test]
    fn pinned_plain_envelope() {
        let sealed = sealed(&header_1(), PAYLOAD_1, PLAIN);
        assert_eq!(
            (sealed.header, sealed.envelope),
            (unhex(HEADER_1), unhex(ENVELOPE_1))
        );
        assert_eq!(
            (sealed.commit, sealed.digest),
            (unhex32(COMMIT_1), unhex32(DIGEST_1))
        );
    }

    #[test]
    fn pinned_sealed_envelope_with_fields() {
        let sealed = sealed(&header_2(), PAYLOAD_2.as_bytes(), FIELDS);
        assert_eq!(
            (sealed.header, sealed.envelope),
            (unhex(HEADER_2), unhex(ENVELOPE_2))
        );
        assert_eq!(
            (sealed.commit, sealed.digest),
            (unhex32(COMMIT_2), unhex32(DIGEST_2))
        );
        assert_eq!(
            opened(&unhex(ENVELOPE_2), COMMIT_2).unwrap(),
            PAYLOAD_2.as_bytes()
        );
    }

    #[test]
    fn a_frame_of_another_implementation_opens() {
        assert_eq!(opened(&unhex(ENVELOPE_3), COMMIT_3).unwrap(), payload_3());
        let (log, header, envelope) = (&LOG_ID, header_2(), unhex(ENVELOPE_3));
        let commit = unhex32(COMMIT_3);
        let check = check_commitment(
            log,
            &unhex(HEADER_2),
            &header,
            &envelope,
            &commit,
            Some(&key()),
        );
        assert_eq!(check, Ok(()));
        // The commitment is to the payload, so compressing it otherwise leaves it as it is.
        assert_eq!(sealed(&header, &payload_3(), PLAIN).commit, commit);
        assert_eq!(sealed(&header, &payload_3(), AUTO).commit, commit);
    }

    #[test]
    fn every_changed_byte_of_a_sealed_envelope_is_tampering() {
        let envelope = unhex(ENVELOPE_2);
        for at in 0..envelope.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = envelope.clone();
                changed[at] ^= change;
                let expected = match at {
                    0 => Tampering::Codec,
                    1..=16 => Tampering::KeyId,
                    _ => Tampering::Authentication,
                };
                let found = opened(&changed, COMMIT_2);
                assert_eq!(found, Err(OpenError::Tampered(expected)), "byte {at}");
            }
        }
    }

    #[test]
    fn every_cut_of_a_sealed_envelope_is_tampering() {
        let envelope = unhex(ENVELOPE_2);
        for length in 0..envelope.len() {
            let found = opened(&envelope[..length], COMMIT_2).unwrap_err();
            assert!(found.is_tampered(), "cut at {length}: {found}");
        }
        assert!(
            opened(&[envelope, vec![0]].concat(), COMMIT_2)
                .unwrap_err()
                .is_tampered()
        );
    }

    #[test]
    fn an_envelope_is_bound_to_log_header_commitment_and_key() {
        let (bytes, header, envelope) = (unhex(HEADER_2), header_2(), unhex(ENVELOPE_2));
        let commit = unhex32(COMMIT_2);
        let tampered = Err(OpenError::Tampered(Tampering::Authentication));
        assert_eq!(opened(&envelope, COMMIT_1), tampered);
        let other_log = LogId::new([0; 16]);
        let found = open(
            &other_log,
            &bytes,
            &header,
            &envelope,
            &commit,
            Some(&key()),
        );
        assert_eq!(found, tampered);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let found = open(&LOG_ID, &changed, &header, &envelope, &commit, Some(&key()));
            assert_eq!(found, tampered, "header byte {at}");
        }
        let forged = DataKey::new(KEY_ID, counting(1));
        let found = open(&LOG_ID, &bytes, &header, &envelope, &commit, Some(&forged));
        assert_eq!(found, tampered);
    }

    #[test]
    fn a_missing_and_a_wrong_key_are_told_apart_from_tampering() {
        let (bytes, header, envelope) = (unhex(HEADER_2), header_2(), unhex(ENVELOPE_2));
        let commit = unhex32(COMMIT_2);
        let missing = open(&LOG_ID, &bytes, &header, &envelope, &commit, None).unwrap_err();
        assert_eq!(missing, OpenError::KeyMissing { key_id: KEY_ID });
        let given = KeyId::new([0; 16]);
        let other = DataKey::new(given, counting(0));
        let wrong = open(&LOG_ID, &bytes, &header, &envelope, &commit, Some(&other)).unwrap_err();
        assert_eq!(
            wrong,
            OpenError::WrongKey {
                expected: KEY_ID,
                given
            }
        );
        assert!(!missing.is_tampered() && !wrong.is_tampered());
    }

    #[test]
    fn no_downgrade_to_a_plain_envelope() {
        let plain = unhex(ENVELOPE_1);
        assert_eq!(
            opened(&plain, COMMIT_1),
            Err(OpenError::Tampered(Tampering::Codec))
        );
    }

    #[test]
    fn a_plain_envelope_is_bound_by_digest_and_commitment() {
        let (bytes, header, envelope) = (unhex(HEADER_1), header_1(), unhex(ENVELOPE_1));
        let commit = unhex32(COMMIT_1);
        let check =
            |envelope: &[u8]| check_commitment(&LOG_ID, &bytes, &header, envelope, &commit, None);
        assert_eq!(check(&envelope), Ok(()));
        for at in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[at] ^= 0x08;
            assert_ne!(
                envelope_digest(&LOG_ID, &bytes, &changed),
                Ok(unhex32(DIGEST_1))
            );
            let found = check(&changed).unwrap_err();
            let expected = match at {
                0 => OpenError::Tampered(Tampering::Codec),
                33 => OpenError::Undecodable(PlainError::UnknownMode { found: 0x08 }),
                _ => OpenError::Tampered(Tampering::Commitment),
            };
            assert_eq!(found, expected, "byte {at}");
        }
    }

    #[test]
    fn an_authentic_envelope_with_another_payload_fails_its_commitment() {
        let (header, commit) = (header_2(), unhex32(COMMIT_2));
        let bytes = unhex(HEADER_2);
        let plain = [&counting(0x40)[..], &[0], PAYLOAD_1].concat();
        let envelope = under_key(plain, &bytes, &commit);
        let key = key();
        let payload = open(&LOG_ID, &bytes, &header, &envelope, &commit, Some(&key)).unwrap();
        assert_eq!(payload, PAYLOAD_1);
        let found = check_commitment(&LOG_ID, &bytes, &header, &envelope, &commit, Some(&key));
        assert_eq!(found, Err(OpenError::Tampered(Tampering::Commitment)));
    }

    fn under_key(mut plain: Vec<u8>, header: &[u8], commit: &Digest32) -> Vec<u8> {
        let aad = with_aad(&LOG_ID, header, commit, <[u8]>::to_vec);
        let tag = aead::encrypt(&counting(0), &nonce(0), &aad, &mut plain).unwrap();
        [&[1][..], KEY_ID.as_bytes(), &nonce(0), &plain, &tag].concat()
    }

    #[test]
    fn the_key_must_be_the_one_in_the_header() {
        let refused = |header: &Header, key: Option<&DataKey>| {
            seal(&LOG_ID, header, b"{}", PLAIN, key, [0; 32], [0; 12]).unwrap_err()
        };
        assert_eq!(refused(&header_1(), Some(&key())), SealError::KeyMismatch);
        assert_eq!(refused(&header_2(), None), SealError::KeyMismatch);
        let other = DataKey::new(KeyId::new([0; 16]), counting(0));
        assert_eq!(refused(&header_2(), Some(&other)), SealError::KeyMismatch);
        let mut header = header_2();
        header.codec = 0;
        assert_eq!(refused(&header, Some(&key())), HeaderError::KeyId.into());
    }

    #[test]
    fn payloads_are_bounded() {
        let payload = vec![b' '; MAX_PAYLOAD_BYTES + 1];
        let found = seal(
            &LOG_ID,
            &header_1(),
            &payload,
            PLAIN,
            None,
            [0; 32],
            [0; 12],
        );
        assert_eq!(found.unwrap_err().code(), "payload_too_large");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", sealed(&header_1(), PAYLOAD_1, PLAIN));
        assert_eq!(shown, "Sealed { header_bytes: 79, envelope_bytes: 67, .. }");
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(
            header in headers(),
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..2000),
                "[ab]{0,2000}".prop_map(String::into_bytes),
                "\\{\"[a-c]\": ?[0-9]{1,300},\"[a-c]\":\"[a-z]{0,300}\"\\}".prop_map(String::into_bytes),
            ],
            fields in any::<bool>(),
            auto in any::<bool>(),
        ) {
            let compress = if auto { Compression::Auto } else { Compression::Never };
            let sealed = sealed(&header, &payload, PayloadSpec { fields, compress });
            let key = header.key_id.map(|id| DataKey::new(id, counting(0)));
            let (bytes, envelope, commit) = (&sealed.header, &sealed.envelope, &sealed.commit);
            let found = open(&LOG_ID, bytes, &header, envelope, commit, key.as_ref());
            prop_assert_eq!(found, Ok(payload));
            let check = check_commitment(&LOG_ID, bytes, &header, envelope, commit, key.as_ref());
            prop_assert_eq!(check, Ok(()));
            prop_assert_eq!(envelope_digest(&LOG_ID, bytes, envelope), Ok(sealed.digest));
        }
    }
}
