//! Checking proofs: RFC 9162 sections 2.1.3.2 and 2.1.4.2, step by step.

use runstone_codec::hash::{Digest32, empty_root, node_hash};
use serde::{Deserialize, Serialize};

/// A proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("a tree of {new} leaves has not grown from one of {old}")]
    Shrunk {
        /// Size of the old tree.
        old: u64,
        /// Size of the new one.
        new: u64,
    },
    /// Hashes are missing or left over.
    #[error("the proof has a wrong number of hashes")]
    Length,
    /// The walk ends at another root of the (new) tree.
    #[error("the proof does not lead to the root")]
    Root,
    /// The walk ends at another root of the old tree.
    #[error("the proof does not lead to the old root")]
    OldRoot,
}

impl ProofError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLeaf { .. } => "no_such_leaf",
            Self::Shrunk { .. } => "tree_shrunk",
            Self::Length => "proof_length",
            Self::Root => "proof_root",
            Self::OldRoot => "proof_old_root",
        }
    }
}

/// Checks that a leaf hash stands at `index` in the tree of `size` leaves with this root.
///
/// # Errors
///
/// [`ProofError`] at the first step that fails.
pub fn verify_inclusion(
    leaf: &Digest32,
    index: u64,
    size: u64,
    proof: &[Digest32],
    root: &Digest32,
) -> Result<(), ProofError> {
    if inclusion_root(leaf, index, size, proof)? == *root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// The root that an inclusion proof leads to, for where the root itself is committed to.
///
/// # Errors
///
/// [`ProofError`] when the leaf is not in a tree of that size, or hashes are missing or left over.
pub fn inclusion_root(
    leaf: &Digest32,
    index: u64,
    size: u64,
    proof: &[Digest32],
) -> Result<Digest32, ProofError> {
    let last = match size.checked_sub(1) {
        Some(last) if index <= last => last,
        _ => return Err(ProofError::NoLeaf { index, size }),
    };
    let (mut node, mut edge) = (index, last);
    let mut hash = *leaf;
    for sibling in proof {
        if edge == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == edge {
            hash = node_hash(sibling, &hash);
            skip_missing_levels(&mut node, &mut edge);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        edge >>= 1;
    }
    if edge == 0 {
        Ok(hash)
    } else {
        Err(ProofError::Length)
    }
}

/// Checks that the tree of `new` leaves begins with the leaves of the tree of `old` leaves.
///
/// # Errors
///
/// [`ProofError`] at the first step that fails.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest32,
    new_root: &Digest32,
    proof: &[Digest32],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        return verify_trivial(old, new, old_root, new_root, proof);
    }
    let (mut node, mut edge) = (old - 1, new - 1);
    let levels = node.trailing_ones();
    node >>= levels;
    edge >>= levels;
    // The old root starts the walk itself where the old tree is one full subtree.
    let (start, rest) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        if edge == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == edge {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            skip_missing_levels(&mut node, &mut edge);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        edge >>= 1;
    }
    if edge != 0 {
        return Err(ProofError::Length);
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot);
    }
    if new_hash == *new_root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Every tree grows from the empty one and from itself, with an empty proof.
fn verify_trivial(
    old: u64,
    new: u64,
    old_root: &Digest32,
    new_root: &Digest32,
    proof: &[Digest32],
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length);
    }
    if old == 0 && *old_root != empty_root() {
        return Err(ProofError::OldRoot);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// A node on the right edge has no sibling on levels where the edge is a left child.
fn skip_missing_levels(node: &mut u64, edge: &mut u64) {
    if *node & 1 == 0 {
        let levels = node.trailing_zeros().min(63);
        *node >>= levels;
        *edge >>= levels;
    }
}
