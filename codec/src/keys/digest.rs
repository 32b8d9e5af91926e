//! Keyed digests: pseudonyms of business keys that only the scope's lookup key can make.

use hmac::Mac;

use super::LookupKey;
use crate::hash;

/// Length of a keyed digest in bytes.
pub const KEYED_DIGEST_LEN: usize = 16;

/// `HMAC-SHA256(lookup key, DS(label) || parts joined by 0x00)[..16]`
///
/// The tag of an effect is the label `effect` over kind, domain and key. The caller keeps
/// 0x00 out of every part but the last, else two different lists could join to one string.
pub fn keyed_digest<P: AsRef<[u8]>>(
    lookup: &LookupKey,
    label: &str,
    parts: &[P],
) -> [u8; KEYED_DIGEST_LEN] {
    let mut mac = hash::hmac(lookup.as_bytes());
    mac.update(&hash::ds(label));
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            mac.update(&[0]);
        }
        mac.update(part.as_ref());
    }
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut digest = [0; KEYED_DIGEST_LEN];
    for (to, from) in digest.iter_mut().zip(full) {
        *to = from;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        use core::fmt::Write as _;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    #[test]
    fn digest_equals_one_computed_elsewhere() {
        // python3: hmac.new(bytes(32), b"runstone/effect/v1\0" b"http\0mail\0order-1",
        //          "sha256").digest()[:16].hex()
        let digest = keyed_digest(&LookupKey::plain(), "effect", &["http", "mail", "order-1"]);
        assert_eq!(hex(&digest), "71ac076edb82d5c379ea45c18d6f95c2");
        let lookup = LookupKey::new([7; 32]);
        let digest = keyed_digest(&lookup, "llm-call", &[b"call_1".as_slice()]);
        assert_eq!(hex(&digest), "5d83fe652285f61423c22c4233134caa");
    }

    #[test]
    fn digest_depends_on_key_label_and_every_part() {
        let lookup = LookupKey::new([7; 32]);
        let base = keyed_digest(&lookup, "effect", &["a", "b"]);
        assert_ne!(
            base,
            keyed_digest(&LookupKey::new([8; 32]), "effect", &["a", "b"])
        );
        assert_ne!(base, keyed_digest(&lookup, "other", &["a", "b"]));
        assert_ne!(base, keyed_digest(&lookup, "effect", &["ab"]));
        assert_ne!(base, keyed_digest(&lookup, "effect", &["a", "b", ""]));
    }
}
