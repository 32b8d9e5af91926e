//! Ids of imported events: the same record gives the same id, whenever and however often it comes.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::format::Format;

/// First of what is hashed into an id.
const LABEL: &str = "runstone/import/v1";

/// Longest id that is part of a stream's name as it stands.
const MAX_ID_BYTES: usize = 80;

/// The id of one event of a record: version 8 (RFC 9562), from SHA-256 over length-prefixed parts.
///
/// `domain` is the stream within which `record` is unique; `part` tells the events of one record
/// apart. So the id of an event that a record names as its parent follows from that name alone.
pub(crate) fn event_id(format: Format, domain: &str, record: &str, part: &str) -> Uuid {
    let mut hash = Sha256::new();
    for text in [LABEL, format.as_str(), domain, record, part] {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    Builder::from_custom_bytes(first(digest)).into_uuid()
}

/// The first half of SHA-256: enough to tell apart what one recording holds.
pub(crate) fn short_digest(bytes: &[u8]) -> [u8; 16] {
    first(Sha256::digest(bytes).into())
}

/// The first `digits` of SHA-256 in hexadecimal, at most 32.
pub(crate) fn hex_digest(bytes: &[u8], digits: usize) -> String {
    let mut text = hex(&short_digest(bytes));
    text.truncate(digits);
    text
}

/// An id as part of a stream's name: as it stands, or a digest of it where it does not fit.
pub(crate) fn name_part(id: &str) -> String {
    let fits = (1..=MAX_ID_BYTES).contains(&id.len());
    let plain = !id.chars().any(|one| one.is_control() || one == '/');
    if fits && plain {
        id.to_owned()
    } else {
        hex_digest(id.as_bytes(), 16)
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn first(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(digest) {
        *to = from;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_pinned() {
        let id = event_id(Format::ClaudeCode, "claude-code/s", "uuid:u", "record");
        assert_eq!(id.get_version_num(), 8);
        // Changing an id makes every recording import a second time.
        assert_eq!(id.to_string(), "70ac6e02-6e2e-85e7-b3aa-dcb9439e7418");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |domain, record| event_id(Format::Messages, domain, record, "p");
        assert_ne!(id("ab", "c"), id("a", "bc"));
        assert_ne!(
            event_id(Format::Messages, "a", "b", "c"),
            event_id(Format::ClaudeCode, "a", "b", "c")
        );
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(hex(&[0, 15, 0xa0]), "000fa0");
        assert_eq!(hex_digest(b"", 8), "e3b0c442");
    }

    #[test]
    fn ids_become_parts_of_names() {
        assert_eq!(name_part("agent:main"), "agent:main");
        for odd in ["", "a/b", "a\n", &"x".repeat(81)] {
            assert_eq!(name_part(odd), hex_digest(odd.as_bytes(), 16));
        }
    }
}
