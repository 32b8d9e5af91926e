//! Control as it stands in an entry: plain in a plain log, else sealed under the operations key,
//! which no erasure destroys.

use super::{MAX_CONTROL_BYTES, MAX_CONTROL_PLAIN_BYTES};
use crate::aead;
use crate::envelope::{NONCE_BYTES, TAG_BYTES};
use crate::ids::{LogId, Position};
use crate::keys::OperationsKey;
use crate::seal::{OpenError, SealError, Tampering};

/// The control bytes of an entry. Without a key they are the plain bytes; no bytes stay no bytes.
///
/// The position is bound in, so the writer calls this once it has assigned it. A nonce must never
/// be used twice with one key.
///
/// # Errors
/// [`SealError::ControlTooLong`] above [`MAX_CONTROL_PLAIN_BYTES`].
pub fn seal(
    key: Option<&OperationsKey>,
    log_id: &LogId,
    header_bytes: &[u8],
    position: Position,
    nonce: [u8; NONCE_BYTES],
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (bytes, max) = (plain.len(), MAX_CONTROL_PLAIN_BYTES);
    if bytes > max {
        return Err(SealError::ControlTooLong { bytes, max });
    }
    let Some(key) = key.filter(|_| !plain.is_empty()) else {
        return Ok(plain.to_vec());
    };
    let mut control = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
    control.extend_from_slice(&nonce);
    control.extend_from_slice(plain);
    let aad = aad(log_id, header_bytes, position);
    let ciphertext = control.get_mut(NONCE_BYTES..).unwrap_or_default();
    let tag = aead::encrypt(key.as_bytes(), &nonce, &aad, ciphertext).ok_or(SealError::Cipher)?;
    control.extend_from_slice(&tag);
    Ok(control)
}

/// The plain control of an entry.
///
/// # Errors
/// [`OpenError::Tampered`] if the bytes are too long or too short, or were not sealed under this key
/// for this log, header and position.
pub fn open(
    key: Option<&OperationsKey>,
    log_id: &LogId,
    header_bytes: &[u8],
    position: Position,
    control: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let tampered = || OpenError::Tampered(Tampering::Control);
    if control.is_empty() {
        return Ok(Vec::new());
    }
    let Some(key) = key else {
        return if control.len() > MAX_CONTROL_PLAIN_BYTES {
            Err(tampered())
        } else {
            Ok(control.to_vec())
        };
    };
    if control.len() > MAX_CONTROL_BYTES {
        return Err(tampered());
    }
    let (nonce, rest) = control.split_first_chunk().ok_or_else(tampered)?;
    let (ciphertext, tag) = rest.split_last_chunk().ok_or_else(tampered)?;
    if ciphertext.is_empty() {
        return Err(tampered());
    }
    let mut plain = ciphertext.to_vec();
    let aad = aad(log_id, header_bytes, position);
    aead::decrypt(key.as_bytes(), nonce, &aad, &mut plain, tag).ok_or_else(tampered)?;
    Ok(plain)
}

fn aad(log_id: &LogId, header_bytes: &[u8], position: Position) -> Vec<u8> {
    [
        b"runstone/ctl/v1\0".as_slice(),
        log_id.as_bytes(),
        header_bytes,
        &position.get().to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{
        CONTROL_PLAIN, CONTROL_SEALED, HEADER_1, HEADER_2, LOG_ID, counting, nonce, unhex,
    };

    const TAMPERED: OpenError = OpenError::Tampered(Tampering::Control);

    fn key() -> OperationsKey {
        OperationsKey::new(counting(0x20))
    }

    #[test]
    fn pinned_bytes() {
        let (header, plain, position) = (unhex(HEADER_2), unhex(CONTROL_PLAIN), Position::new(41));
        let sealed = seal(
            Some(&key()),
            &LOG_ID,
            &header,
            position,
            nonce(0x70),
            &plain,
        );
        assert_eq!(sealed, Ok(unhex(CONTROL_SEALED)));
        let opened = open(
            Some(&key()),
            &LOG_ID,
            &header,
            position,
            &unhex(CONTROL_SEALED),
        );
        assert_eq!(opened, Ok(plain));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_tampering() {
        let (header, sealed) = (unhex(HEADER_2), unhex(CONTROL_SEALED));
        let opened =
            |control: &[u8]| open(Some(&key()), &LOG_ID, &header, Position::new(41), control);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(opened(&changed), Err(TAMPERED), "byte {at}");
            if at > 0 {
                assert_eq!(opened(&sealed[..at]), Err(TAMPERED), "cut at {at}");
            }
        }
        assert_eq!(opened(&[0; MAX_CONTROL_BYTES + 1]), Err(TAMPERED));
    }

    #[test]
    fn control_is_bound_to_key_log_header_and_position() {
        let (header, other_header) = (unhex(HEADER_2), unhex(HEADER_1));
        let (sealed, other_log) = (unhex(CONTROL_SEALED), LogId::new([0; 16]));
        let other_key = OperationsKey::new(counting(0x21));
        for found in [
            open(Some(&key()), &LOG_ID, &header, Position::new(42), &sealed),
            open(
                Some(&key()),
                &LOG_ID,
                &other_header,
                Position::new(41),
                &sealed,
            ),
            open(
                Some(&key()),
                &other_log,
                &header,
                Position::new(41),
                &sealed,
            ),
            open(
                Some(&other_key),
                &LOG_ID,
                &header,
                Position::new(41),
                &sealed,
            ),
        ] {
            assert_eq!(found, Err(TAMPERED));
        }
    }

    #[test]
    fn control_of_a_plain_log_and_no_control_stay_as_they_are() {
        let position = Position::new(1);
        let plain = unhex(CONTROL_PLAIN);
        assert_eq!(
            seal(None, &LOG_ID, &[], position, nonce(0), &plain).as_ref(),
            Ok(&plain)
        );
        assert_eq!(open(None, &LOG_ID, &[], position, &plain), Ok(plain));
        assert_eq!(
            open(None, &LOG_ID, &[], position, &[0; 1025]),
            Err(TAMPERED)
        );
        assert_eq!(
            seal(Some(&key()), &LOG_ID, &[], position, nonce(0), &[]),
            Ok(Vec::new())
        );
        assert_eq!(
            open(Some(&key()), &LOG_ID, &[], position, &[]),
            Ok(Vec::new())
        );
        let error = SealError::ControlTooLong {
            bytes: 1025,
            max: 1024,
        };
        assert_eq!(
            seal(None, &LOG_ID, &[], position, nonce(0), &[0; 1025]),
            Err(error)
        );
    }
}
