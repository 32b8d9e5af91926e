//! Canonical padded base64 (RFC 4648 section 4): decoding accepts what encoding writes, nothing
//! else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` for any character, padding or trailing bit that [`encode`] would not write.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// As [`decode`], for exactly 32 bytes.
pub(crate) fn decode_hash(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        assert_eq!(decode("AAE="), Some(vec![0, 1]));
        for text in ["AAE", "AAF=", "AAE=\n", " AAE=", "AA_=", "AAE==", "AA=E"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        assert_eq!(decode_hash(&encode(&[9; 32])), Some([9; 32]));
        assert_eq!(decode_hash(&encode(&[9; 31])), None);
    }
}
