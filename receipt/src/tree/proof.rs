//! Making proofs (RFC 9162 sections 2.1.3.1 and 2.1.4.1) from the nodes of a tree.
//!
//! The recursive definitions descend along one path, so each is a loop; the hashes come out with
//! the root's side first and are turned round at the end.

use super::frontier::fold_peaks;
use runstone_codec::hash::{Digest32, empty_root};

/// A proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// The leaf is not in a tree of that size.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoLeaf {
        /// The leaf asked for.
        index: u64,
        /// The size given.
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
    /// A node could not be read.
    #[error("a node of the tree could not be read")]
    Read(#[source] E),
}

impl<E> ProveError<E> {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLeaf { .. } => "no_such_leaf",
            Self::Shrunk { .. } => "tree_shrunk",
            Self::Read(_) => "node_unreadable",
        }
    }
}

/// The hashes beside the path from leaf `index` to the root of the tree of `size` leaves, the
/// leaf's sibling first. `node` reads full subtrees inside that tree, at most 64 of them a hash.
///
/// # Errors
///
/// [`ProveError`] when the leaf is not in the tree or a node cannot be read.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Digest32, E>,
) -> Result<Vec<Digest32>, ProveError<E>> {
    if index >= size {
        return Err(ProveError::NoLeaf { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let split = start + split_at(end - start);
        if index < split {
            proof.push(subtree(split, end, &mut node)?);
            end = split;
        } else {
            proof.push(subtree(start, split, &mut node)?);
            start = split;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that lead from the root over the first `old` leaves to the root over `new`. Empty
/// where there is nothing to prove: equal sizes, or an empty old tree.
///
/// # Errors
///
/// [`ProveError`] when `old` is larger than `new` or a node cannot be read.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(u8, u64) -> Result<Digest32, E>,
) -> Result<Vec<Digest32>, ProveError<E>> {
    if old > new {
        return Err(ProveError::Shrunk { old, new });
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let split = start + split_at(end - start);
        if old <= split {
            proof.push(subtree(split, end, &mut node)?);
            end = split;
        } else {
            proof.push(subtree(start, split, &mut node)?);
            start = split;
        }
    }
    // From 0 it is the old root itself, which the verifier has.
    if start > 0 {
        proof.push(subtree(start, end, &mut node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root over the first `size` leaves.
///
/// # Errors
///
/// [`ProveError::Read`] when a node cannot be read.
pub fn root_at<E>(
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Digest32, E>,
) -> Result<Digest32, ProveError<E>> {
    subtree(0, size, &mut node)
}

/// The largest power of two below `width`, which is at least 2.
fn split_at(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The root over leaves `start..end`, where `start` is a multiple of the largest power of two that
/// fits: what a split of the whole tree gives.
fn subtree<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(u8, u64) -> Result<Digest32, E>,
) -> Result<Digest32, ProveError<E>> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        // At most 63, so it fits; the largest full subtree comes first.
        let level = (end - at).ilog2();
        let hash = node(u8::try_from(level).unwrap_or(u8::MAX), at >> level);
        peaks.push(hash.map_err(ProveError::Read)?);
        at += 1 << level;
    }
    Ok(fold_peaks(&peaks).unwrap_or_else(empty_root))
}
