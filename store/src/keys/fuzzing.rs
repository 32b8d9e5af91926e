//! Decoders of files of keys for the fuzz targets; no part of the API.

use super::backup;
use super::credential::Credential;
use super::provider::fuzz_answer;
use super::ring::Ring;
use super::text::{from_base64, key_from_text, push_base64};
use std::path::Path;
use zeroize::Zeroizing;

/// The text of a ring: what is read from it is written so that the same is read again, within the
/// room that was reserved.
pub fn ring(bytes: &[u8]) {
    let path = Path::new("ring");
    let Ok(ring) = Ring::decode(path, bytes) else {
        return;
    };
    let text = ring.encode();
    assert!(text.len() <= ring.room(), "the buffer must not grow");
    let again = Ring::decode(path, text.as_bytes());
    let Ok(again) = again else {
        unreachable!("what was written is not read: {again:?}");
    };
    assert_eq!(*again.encode(), *text);
    assert_eq!(format!("{again:?}"), format!("{ring:?}"));
}

/// The text of a credential.
pub fn credential(bytes: &[u8]) {
    if let Ok(credential) = Credential::parse(Path::new("credential"), bytes) {
        assert!((1..=255).contains(&credential.id().len()));
    }
}

/// A backup of keys.
pub fn key_backup(bytes: &[u8]) {
    if let Ok((ring, table)) = backup::read(Path::new("backup"), bytes) {
        let again = backup::write(ring, table);
        assert!(again.is_some_and(|again| again.as_slice() == bytes));
    }
}

/// What a command answers to each operation.
pub fn answer(bytes: &[u8]) {
    fuzz_answer(bytes);
}

/// A key as a person writes it, and base64, which is canonical.
pub fn key_text(text: &str) {
    if let Some(key) = key_from_text(text) {
        assert_eq!(key.as_bytes().len(), 32);
    }
    if let Some(bytes) = from_base64(text) {
        let mut again = Zeroizing::new(String::new());
        push_base64(&mut again, bytes.as_bytes());
        assert_eq!(*again, text);
    }
}
