//! What is wrong when the tree is not the one of the head.

use super::load::each_chunk;
use crate::chunk::Head;
use crate::engine::Snapshot;
use crate::error::{Corruption, OpenError};
use crate::tree::{TILE, tile};
use runstone_codec::hash::leaf_hash;
use runstone_receipt::tree::Frontier;

/// Names what does not belong under a head whose MAC is right: the tiles, if the entries alone make
/// its tree, else the first entry that is not the stored tile's.
pub(super) fn blame(snapshot: &Snapshot, head: &Head) -> Corruption {
    let otherwise = || {
        Corruption::table(
            "chunks",
            format!("the tree of {} events that the head names", head.size),
            "another tree",
        )
    };
    match entries(snapshot, head) {
        Ok((tree, _)) if tree.root() == head.root && tree.peaks() != head.peaks => {
            let last = head.size.saturating_sub(1);
            Corruption::at(last, "the peaks of the tree in the head", "other peaks")
        }
        Ok((tree, _)) if tree.root() == head.root => {
            Corruption::table("tiles", "the tiles of the tree", "tiles of another tree")
        }
        Ok((_, Some(position))) => {
            Corruption::at(position, "the entry that the tree holds", "another entry")
        }
        Err(OpenError::Corrupt(corruption)) => corruption,
        Ok((_, None)) | Err(_) => otherwise(),
    }
}

/// The tree of the entries, and the first of them that differs from its tile.
fn entries(snapshot: &Snapshot, head: &Head) -> Result<(Frontier, Option<u64>), OpenError> {
    let mut tree = Frontier::new();
    let mut different = None;
    let mut stored = Vec::new();
    each_chunk(snapshot, (0, head.size), &mut |chunk, positions| {
        for position in positions {
            if position.is_multiple_of(TILE) {
                stored = tile(snapshot, 0, position / TILE)?.unwrap_or_default();
            }
            let leaf = leaf_hash(chunk.event(position)?.entry);
            let at = usize::try_from(position % TILE).unwrap_or(usize::MAX);
            let differs = stored
                .as_chunks::<32>()
                .0
                .get(at)
                .is_some_and(|held| *held != leaf);
            if differs && different.is_none() {
                different = Some(position);
            }
            tree.push(leaf);
        }
        Ok(())
    })?;
    Ok((tree, different))
}
