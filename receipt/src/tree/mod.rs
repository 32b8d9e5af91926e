//! The tree of RFC 9162 section 2.1: frontier, tiles and proofs.
//!
//! A node is named by its level, 0 for leaf hashes, and its index there: node `(l, i)` is the root
//! of the full subtree over the leaves `i * 2^l .. (i + 1) * 2^l`.

mod frontier;
mod proof;
#[cfg(test)]
mod tests;
mod tile;
mod verify;

pub use frontier::{Frontier, PeaksError, root_of};
pub use proof::{ProveError, consistency_proof, inclusion_proof, root_at};
pub use tile::{
    TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileSink, frontier_from_tiles, node_from_tiles,
    tile_path,
};
pub use verify::{ProofError, inclusion_root, verify_consistency, verify_inclusion};

/// Most hashes a proof can have: a tree has at most 2^63 leaves.
pub const MAX_PROOF_LEN: usize = 64;
