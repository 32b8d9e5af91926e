//! Rows of derived tables: sealed under the fold key, or in a plain log with a digest in
//! front, so that a damaged row is noticed and nothing of it is shown.
//!
//! ```text
//! sealed   nonce(12) || AES-256-GCM(fold key, row, AAD = DS("row") || log_id || key)
//! plain    SHA-256(DS("row") || log_id || u32 len(key) || key || row)[..16] || row
//! ```

use sha2::{Digest as _, Sha256};

use crate::aead;
use crate::envelope::{NONCE_BYTES, TAG_BYTES};
use crate::hash::ds;
use crate::ids::LogId;
use crate::keys::FoldKey;
use crate::seal::{OpenError, SealError, Tampering};

const CHECK_BYTES: usize = 16;

/// The stored form of the row under `row_key`. A nonce must never be used twice with one key.
///
/// # Errors
/// [`SealError::Cipher`] above 64 GiB.
pub fn seal(
    key: Option<&FoldKey>,
    log_id: &LogId,
    row_key: &[u8],
    nonce: [u8; NONCE_BYTES],
    row: &[u8],
) -> Result<Vec<u8>, SealError> {
    let Some(key) = key else {
        return Ok([&check(log_id, row_key, row)[..], row].concat());
    };
    let mut sealed = Vec::with_capacity(NONCE_BYTES + row.len() + TAG_BYTES);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(row);
    let ciphertext = sealed.get_mut(NONCE_BYTES..).unwrap_or_default();
    let tag = aead::encrypt(key.as_bytes(), &nonce, &aad(log_id, row_key), ciphertext)
        .ok_or(SealError::Cipher)?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// The row that was stored under `row_key`.
///
/// # Errors
/// [`OpenError::Tampered`] if the bytes are not what was sealed for this log and key.
pub fn open(
    key: Option<&FoldKey>,
    log_id: &LogId,
    row_key: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let tampered = || OpenError::Tampered(Tampering::Row);
    let Some(key) = key else {
        let (found, row) = sealed
            .split_first_chunk::<CHECK_BYTES>()
            .ok_or_else(tampered)?;
        return (*found == check(log_id, row_key, row))
            .then(|| row.to_vec())
            .ok_or_else(tampered);
    };
    let (nonce, rest) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or_else(tampered)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(tampered)?;
    let mut row = ciphertext.to_vec();
    aead::decrypt(key.as_bytes(), nonce, &aad(log_id, row_key), &mut row, tag)
        .ok_or_else(tampered)?;
    Ok(row)
}

fn aad(log_id: &LogId, row_key: &[u8]) -> Vec<u8> {
    [&ds("row"), &log_id.as_bytes()[..], row_key].concat()
}

fn check(log_id: &LogId, row_key: &[u8], row: &[u8]) -> [u8; CHECK_BYTES] {
    let len = u32::try_from(row_key.len()).unwrap_or(u32::MAX);
    let digest: [u8; 32] = Sha256::new()
        .chain_update(ds("row"))
        .chain_update(log_id.as_bytes())
        .chain_update(len.to_be_bytes())
        .chain_update(row_key)
        .chain_update(row)
        .finalize()
        .into();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(
        digest
            .first_chunk::<CHECK_BYTES>()
            .unwrap_or(&[0; CHECK_BYTES]),
    );
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_open_only_as_they_were_sealed() {
        let log_id = LogId::new([7; 16]);
        let key = FoldKey::new([9; 32]);
        for key in [None, Some(&key)] {
            let sealed = seal(key, &log_id, b"row-key", [3; 12], b"value").unwrap();
            assert_eq!(open(key, &log_id, b"row-key", &sealed).unwrap(), b"value");
            assert!(open(key, &log_id, b"row-kez", &sealed).is_err());
            assert!(open(key, &LogId::new([8; 16]), b"row-key", &sealed).is_err());
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert!(open(key, &log_id, b"row-key", &flipped).is_err());
                assert!(open(key, &log_id, b"row-key", &sealed[..at]).is_err());
            }
        }
    }
}
