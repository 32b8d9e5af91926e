//! The Merkle tree of the log: its frontier, and the tiles that reads and proofs use.
//!
//! Tiles (c2sp.org/tlog-tiles, 256 hashes each) are stored under `level << 56 | index`, the last
//! one of each level partial. Leaves after the stored ones are in memory and are derived from the
//! entries at open.

use crate::engine::{Change, NumberTable, RowTable, Snapshot, Value};
use crate::error::{Corruption, StorageError};
use runstone_codec::Digest32;
use runstone_receipt::tree::{TILE_WIDTH, Tile, TileError, TileSink};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// Row that says how many leaves the stored tiles cover.
pub(crate) const COVERED_ROW: &[u8] = b"tiles";

/// Key of a tile.
pub(crate) fn tile_key(level: u8, index: u64) -> u64 {
    (u64::from(level) << 56) | index
}

/// Leaf hashes that are not in stored tiles; shared with readers.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    start: u64,
    leaves: VecDeque<Digest32>,
    /// Below this everything is in stored tiles. Leaves are kept for one more flush, since a
    /// reader may hold a snapshot from before.
    stored: u64,
}

impl Tail {
    /// No leaf before this is here.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn get(&self, position: u64) -> Option<Digest32> {
        let at = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.leaves.get(at).copied()
    }
}

/// The tail, shared.
pub(crate) type SharedTail = Arc<RwLock<Tail>>;

/// The tree at the writer.
#[derive(Debug)]
pub(crate) struct Tree {
    sink: TileSink,
    full: Vec<Tile>,
    tail: SharedTail,
    flushing: u64,
}

impl Tree {
    /// The tree of the first `size` leaves, all of which are in stored tiles.
    pub(crate) fn load(snapshot: &Snapshot, size: u64) -> Result<Self, TreeError> {
        Ok(Self {
            sink: TileSink::resume(size, |level, index| tile(snapshot, level, index))?,
            full: Vec::new(),
            tail: Arc::new(RwLock::new(Tail {
                start: size,
                leaves: VecDeque::new(),
                stored: size,
            })),
            flushing: size,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.sink.frontier().size()
    }

    pub(crate) fn root(&self) -> Digest32 {
        self.sink.frontier().root()
    }

    pub(crate) fn peaks(&self) -> Vec<Digest32> {
        self.sink.frontier().peaks().to_vec()
    }

    pub(crate) fn tail(&self) -> SharedTail {
        Arc::clone(&self.tail)
    }

    pub(crate) fn push(&mut self, leaf: Digest32) {
        self.full.extend(self.sink.push(leaf));
        self.tail
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .leaves
            .push_back(leaf);
    }

    /// Tiles that are not stored yet.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        if self.size()
            == self
                .tail
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .stored
        {
            return Vec::new();
        }
        let put = |tile: &Tile| {
            let key = tile_key(tile.level(), tile.index());
            Change::PutNumber(NumberTable::Tiles, key, tile.bytes())
        };
        let mut changes: Vec<_> = self.full.iter().map(put).collect();
        changes.extend(self.sink.partial().iter().map(put));
        changes.push(Change::PutRow(
            RowTable::Meta,
            COVERED_ROW.to_vec(),
            self.size().to_be_bytes().to_vec(),
        ));
        self.flushing = self.size();
        changes
    }

    /// The changes are committed.
    pub(crate) fn stored(&mut self) {
        self.full.clear();
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        while tail.start < tail.stored {
            tail.leaves.pop_front();
            tail.start += 1;
        }
        tail.stored = self.flushing;
    }
}

/// A tile is missing or malformed, or the database failed.
#[derive(Debug)]
pub(crate) enum TreeError {
    Corrupt(Corruption),
    Storage(StorageError),
}

impl From<TileError<StorageError>> for TreeError {
    fn from(error: TileError<StorageError>) -> Self {
        match error {
            TileError::Read(error) => Self::Storage(error),
            error => Self::Corrupt(Corruption::table(
                "tiles",
                "the tiles of the tree",
                error.to_string(),
            )),
        }
    }
}

/// The bytes of a stored tile.
pub(crate) fn tile(
    snapshot: &Snapshot,
    level: u8,
    index: u64,
) -> Result<Option<Vec<u8>>, StorageError> {
    let value = tile_in_pages(snapshot, level, index)?;
    Ok(value.map(|value| value.bytes().to_vec()))
}

/// A stored tile where it lies.
pub(crate) fn tile_in_pages(
    snapshot: &Snapshot,
    level: u8,
    index: u64,
) -> Result<Option<Value>, StorageError> {
    snapshot.number(NumberTable::Tiles, tile_key(level, index))
}

/// How many leaves the stored tiles cover.
pub(crate) fn covered(snapshot: &Snapshot) -> Result<u64, StorageError> {
    let row = snapshot.row(RowTable::Meta, COVERED_ROW)?;
    Ok(row
        .and_then(|row| row.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

/// Hashes of a full tile, as a number of leaves.
pub(crate) const TILE: u64 = TILE_WIDTH as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Db, MemoryDisk};
    use runstone_codec::{hash::leaf_hash, hash::mth};

    fn leaf(n: u64) -> Digest32 {
        leaf_hash(&n.to_be_bytes())
    }

    #[test]
    fn reloads_from_what_is_stored() {
        let progress: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let db = Db::open(Arc::new(MemoryDisk::new()), 1 << 20, &progress).unwrap();
        db.create_tables(&[]).unwrap();
        let mut tree = Tree::load(&db.snapshot().unwrap(), 0).unwrap();
        let mut all = Vec::new();
        for n in 0..(256 * 260 + 17) {
            tree.push(leaf(n));
            all.push(leaf(n));
            if n % 9001 == 0 {
                let changes = tree.changes();
                db.commit(&changes, true).unwrap();
                tree.stored();
                let snapshot = db.snapshot().unwrap();
                let covered = covered(&snapshot).unwrap();
                assert_eq!(covered, tree.size());
                let again = Tree::load(&snapshot, covered).unwrap();
                assert_eq!(again.root(), tree.root());
                assert_eq!(again.root(), mth(&all));
                assert_eq!(again.peaks(), tree.peaks());
            }
            assert_eq!(tree.tail().read().unwrap().get(n), Some(leaf(n)));
        }
    }
}
