//! SHA-256 Merkle arithmetic of RFC 6962 section 2.1 and domain-separation prefixes.

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
pub type Digest32 = [u8; 32];

/// The domain separator `runstone/LABEL/v1` and one zero byte.
pub fn ds(label: &str) -> Vec<u8> {
    [b"runstone/", label.as_bytes(), b"/v1\0"].concat()
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
    fn separators_end_in_a_zero_byte() {
        assert_eq!(ds("salt"), b"runstone/salt/v1\0");
    }
}
