//! What is wrong when the tree is not the one of the head.

use crate::chunk::{Chunk, Head};
use crate::engine::{NumberTable, Snapshot};
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
    let mut next = 0;
    while next < head.size {
        let (key, value) = snapshot
            .number_at_or_below(NumberTable::Chunks, next)?
            .ok_or_else(|| Corruption::at(next, "an event", "nothing"))?;
        let chunk = Chunk::parse(key, value.bytes())?;
        if !chunk.contains(next) {
            return Err(Corruption::at(next, "an event", "nothing").into());
        }
        for position in next..chunk.end() {
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
        next = chunk.end();
    }
    Ok((tree, different))
}
