//! The right edge of the tree: all that appending needs.

use runstone_codec::hash::{Digest32, empty_root, node_hash};

/// The roots of the full subtrees that make up a tree, largest first, one for each bit set in its
/// size: the compact range from 0. Appending costs two hashes on average, a root at most 63.
///
/// ```
/// use runstone_receipt::tree::Frontier;
/// use runstone_receipt::{leaf_hash, node_hash};
///
/// let mut tree = Frontier::new();
/// tree.push(leaf_hash(b"a"));
/// tree.push(leaf_hash(b"b"));
/// assert_eq!(tree.root(), node_hash(&leaf_hash(b"a"), &leaf_hash(b"b")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest32>,
}

/// A size and a number of peaks that do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {expected} peaks, not {found}")]
#[non_exhaustive]
pub struct PeaksError {
    /// The size given.
    pub size: u64,
    /// Peaks of a tree of that size.
    pub expected: u32,
    /// Peaks given.
    pub found: usize,
}

impl PeaksError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        "bad_frontier"
    }
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree whose [`Frontier::peaks`] these are.
    ///
    /// # Errors
    ///
    /// [`PeaksError`] unless there is one peak for each bit set in `size`.
    pub fn from_peaks(size: u64, peaks: Vec<Digest32>) -> Result<Self, PeaksError> {
        let expected = size.count_ones();
        if usize::try_from(expected) == Ok(peaks.len()) {
            Ok(Self { size, peaks })
        } else {
            Err(PeaksError {
                size,
                expected,
                found: peaks.len(),
            })
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the full subtrees, largest first.
    pub fn peaks(&self) -> &[Digest32] {
        &self.peaks
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Digest32) {
        self.push_with(leaf, |_, _| {});
    }

    /// Appends a leaf hash and tells the height and root of each subtree that it fills.
    pub(super) fn push_with(&mut self, leaf: Digest32, mut filled: impl FnMut(u32, &Digest32)) {
        let mut root = leaf;
        // Each low bit set is a full subtree as large as the one just finished.
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                root = node_hash(&left, &root);
                filled(height, &root);
            }
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest32 {
        fold_peaks(&self.peaks).unwrap_or_else(empty_root)
    }
}

/// Joins the roots of adjacent subtrees, largest first; `None` without any.
pub(super) fn fold_peaks(peaks: &[Digest32]) -> Option<Digest32> {
    let (last, rest) = peaks.split_last()?;
    Some(
        rest.iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right)),
    )
}

/// The root over leaf hashes, in constant memory.
pub fn root_of(leaves: impl IntoIterator<Item = Digest32>) -> Digest32 {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.push(leaf);
    }
    frontier.root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::hash::{leaf_hash, mth};

    #[test]
    fn roots_equal_the_recursive_definition() {
        let leaves: Vec<_> = (0..600_u64).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), mth(&[]));
        for (done, leaf) in (1..).zip(&leaves) {
            frontier.push(*leaf);
            assert_eq!(frontier.root(), mth(&leaves[..done]), "size {done}");
            let again = Frontier::from_peaks(frontier.size(), frontier.peaks().to_vec());
            assert_eq!(again.as_ref(), Ok(&frontier));
        }
        assert_eq!(root_of(leaves.iter().copied()), mth(&leaves));
    }

    #[test]
    fn peaks_must_fit_the_size() {
        let error = Frontier::from_peaks(5, vec![[0; 32]; 3]).unwrap_err();
        assert_eq!(error.to_string(), "a tree of 5 leaves has 2 peaks, not 3");
        assert!(Frontier::from_peaks(0, vec![[0; 32]]).is_err());
        assert!(Frontier::from_peaks(0, vec![]).is_ok());
    }
}
