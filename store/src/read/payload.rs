//! Opening what is sealed.

use crate::fold::Payload;
use crate::identity::Identity;
use runstone_codec::{Header, OpenError, seal};

/// Opens the content of one event. An absent envelope reads as erased: that an erasure covers it
/// is what verification checks.
pub(crate) fn open_payload(
    identity: &Identity,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &[u8; 32],
) -> Payload {
    if envelope.is_empty() {
        return Payload::Erased;
    }
    match try_open(identity, header_bytes, header, envelope, commit) {
        Ok(payload) => payload,
        Err(error) => Payload::Undecodable(error.to_string()),
    }
}

/// As [`open_payload`], with the reason as an error.
pub(crate) fn try_open(
    identity: &Identity,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &[u8; 32],
) -> Result<Payload, PayloadFailure> {
    let key = match &header.key_id {
        None => None,
        Some(key_id) => {
            Some(
                identity
                    .keys
                    .data_key(key_id)
                    .map_err(|error| PayloadFailure::Key {
                        code: error.code(),
                        message: error.to_string(),
                    })?,
            )
        }
    };
    seal::open(
        &identity.log_id,
        header_bytes,
        header,
        envelope,
        commit,
        key.as_deref(),
    )
    .map(Payload::Open)
    .map_err(PayloadFailure::Open)
}

/// Why content cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadFailure {
    #[error("{message}")]
    Key { code: &'static str, message: String },
    #[error(transparent)]
    Open(OpenError),
}
