//! Tiles of 256 hashes, as <https://c2sp.org/tlog-tiles> lays them out.
//!
//! ```text
//! level 0: leaf hashes                  tile (0, 0) = leaves 0..256, tile (0, 1) = 256..512
//! level n: roots of 256-hash tiles      tile (1, 0) = roots of tiles (0, 0) .. (0, 255)
//! ```
//!
//! A full tile never changes; the last one of each level is partial until it is full.

use super::frontier::Frontier;
use runstone_codec::hash::{Digest32, mth};

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;
/// Levels of the tree in a tile.
pub const TILE_HEIGHT: u8 = 8;

/// Hashes of one tile, at most [`TILE_WIDTH`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    level: u8,
    index: u64,
    hashes: Vec<Digest32>,
}

impl Tile {
    /// Tile level, in steps of [`TILE_HEIGHT`] levels of the tree.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Place among the tiles of its level, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes, 1 to 256.
    pub fn hashes(&self) -> &[Digest32] {
        &self.hashes
    }

    /// The hashes one after the other: 8192 bytes for a full tile.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }

    /// Whether it will never change.
    pub fn is_full(&self) -> bool {
        self.hashes.len() == TILE_WIDTH
    }

    /// Where the layout puts it, see [`tile_path`].
    pub fn path(&self) -> String {
        tile_path(&self.level.to_string(), self.index, self.hashes.len())
    }
}

/// Where the layout puts a tile of `width` items: `tile/0/x001/x234/067`, with `.p/W` for a partial
/// one. `level` is a tile level, or `entries`.
pub fn tile_path(level: &str, index: u64, width: usize) -> String {
    let mut number = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1000);
        rest /= 1000;
    }
    if width == TILE_WIDTH {
        format!("tile/{level}/{number}")
    } else {
        format!("tile/{level}/{number}.p/{width}")
    }
}

/// Takes leaf hashes in order, is their tree's frontier, and gives back each tile when it is full.
#[derive(Debug, Clone, Default)]
pub struct TileSink {
    frontier: Frontier,
    /// Hashes of the last tile of each tile level, not yet full.
    open: Vec<Vec<Digest32>>,
}

impl TileSink {
    /// A sink at the start of a tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sink that goes on after `size` leaves, from the tiles of the tree so far; `get` is asked
    /// for the last, partial tile of each level and may answer with a longer one.
    ///
    /// # Errors
    ///
    /// [`TileError`] when a tile is missing, malformed or cannot be read.
    pub fn resume<E>(
        size: u64,
        mut get: impl FnMut(u8, u64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, TileError<E>> {
        let frontier = frontier_from_tiles(size, &mut get)?;
        let mut open = Vec::new();
        let mut level = 0;
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left % TILE_WIDTH as u64).unwrap_or(0);
            let mut tile = Vec::with_capacity(TILE_WIDTH);
            if wanted > 0 {
                let index = left / TILE_WIDTH as u64;
                let bytes = read(level, index, &mut get)?;
                tile.extend(hashes(level, index, wanted, &bytes)?.iter().take(wanted));
            }
            open.push(tile);
            left /= TILE_WIDTH as u64;
            level += 1;
        }
        Ok(Self { frontier, open })
    }

    /// Leaves taken so far.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The right edge of the tree of the leaves taken so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Takes the next leaf hash; answers the tiles that it fills, lowest level first.
    pub fn push(&mut self, leaf: Digest32) -> Vec<Tile> {
        // The root of a tile that becomes full is computed for the frontier anyway.
        let mut roots = Vec::new();
        self.frontier.push_with(leaf, |height, root| {
            if height.is_multiple_of(u32::from(TILE_HEIGHT)) {
                roots.push(*root);
            }
        });
        let mut roots = roots.into_iter();
        let mut full = Vec::new();
        let mut hash = leaf;
        let mut count = self.size();
        for level in 0.. {
            let at = usize::from(level);
            if self.open.len() == at {
                self.open.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(open) = self.open.get_mut(at) else {
                break;
            };
            open.push(hash);
            if open.len() < TILE_WIDTH {
                break;
            }
            let hashes = core::mem::replace(open, Vec::with_capacity(TILE_WIDTH));
            count /= TILE_WIDTH as u64;
            full.push(Tile {
                level,
                index: count - 1,
                hashes,
            });
            let Some(root) = roots.next() else {
                break;
            };
            hash = root;
        }
        full
    }

    /// The last tile of each level where it is not full, lowest level first.
    pub fn partial(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        let mut count = self.size();
        for (level, hashes) in (0..).zip(&self.open) {
            count /= TILE_WIDTH as u64;
            if !hashes.is_empty() {
                tiles.push(Tile {
                    level,
                    index: count,
                    hashes: hashes.clone(),
                });
            }
        }
        tiles
    }
}

/// A tile is not there or not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError<E> {
    /// There is no such tile.
    #[error("tile {index} of level {level} is missing")]
    Missing {
        /// Tile level.
        level: u8,
        /// Place in its level.
        index: u64,
    },
    /// Not 1 to 256 hashes of 32 bytes, or too few for the tree.
    #[error("tile {index} of level {level} has {found} bytes")]
    Malformed {
        /// Tile level.
        level: u8,
        /// Place in its level.
        index: u64,
        /// Its length.
        found: usize,
    },
    /// It could not be read.
    #[error("a tile could not be read")]
    Read(#[source] E),
}

impl<E> TileError<E> {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "tile_missing",
            Self::Malformed { .. } => "tile_malformed",
            Self::Read(_) => "tile_unreadable",
        }
    }
}

/// The hashes of a tile that holds at least `wanted` of them.
fn hashes<E>(
    level: u8,
    index: u64,
    wanted: usize,
    bytes: &[u8],
) -> Result<&[Digest32], TileError<E>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() < wanted || hashes.len() > TILE_WIDTH || !rest.is_empty() {
        return Err(TileError::Malformed {
            level,
            index,
            found: bytes.len(),
        });
    }
    Ok(hashes)
}

fn read<E, B>(
    level: u8,
    index: u64,
    get: &mut impl FnMut(u8, u64) -> Result<Option<B>, E>,
) -> Result<B, TileError<E>> {
    get(level, index)
        .map_err(TileError::Read)?
        .ok_or(TileError::Missing { level, index })
}

/// A node reader for proofs over stored tiles; a tile may be longer than the tree in question.
pub fn node_from_tiles<E, B: AsRef<[u8]>>(
    mut get: impl FnMut(u8, u64) -> Result<Option<B>, E>,
) -> impl FnMut(u8, u64) -> Result<Digest32, TileError<E>> {
    move |level, index| {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let tile = index >> (TILE_HEIGHT - height);
        let width = 1_usize << height;
        let within = usize::try_from(index).unwrap_or(usize::MAX) % (TILE_WIDTH / width) * width;
        let bytes = read(tile_level, tile, &mut get)?;
        let hashes = hashes(tile_level, tile, within + width, bytes.as_ref())?;
        Ok(mth(hashes.get(within..within + width).unwrap_or_default()))
    }
}

/// The frontier of a tree of `size` leaves from its tiles. `get` answers the bytes of a tile by
/// tile level and index; a tile may hold more hashes than the tree has, never fewer.
///
/// # Errors
///
/// [`TileError`] when a tile is missing, malformed or cannot be read.
pub fn frontier_from_tiles<E>(
    size: u64,
    get: impl FnMut(u8, u64) -> Result<Option<Vec<u8>>, E>,
) -> Result<Frontier, TileError<E>> {
    let mut node = node_from_tiles(get);
    let mut peaks = Vec::new();
    let mut start = 0_u64;
    for level in (0..64_u8).rev().filter(|level| size & (1 << level) != 0) {
        peaks.push(node(level, start >> level)?);
        start += 1 << level;
    }
    // One peak for each bit of the size, by construction.
    Ok(Frontier::from_peaks(size, peaks).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::hash::leaf_hash;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    type Stored = BTreeMap<(u8, u64), Vec<u8>>;

    fn get(tiles: &Stored) -> impl FnMut(u8, u64) -> Result<Option<Vec<u8>>, Infallible> {
        |level, index| Ok(tiles.get(&(level, index)).cloned())
    }

    #[test]
    fn paths_are_those_of_the_layout() {
        let tile = |index, count| Tile {
            level: 3,
            index,
            hashes: vec![[0; 32]; count],
        };
        assert_eq!(tile(1_234_067, 256).path(), "tile/3/x001/x234/067");
        assert_eq!(tile(0, 256).path(), "tile/3/000");
        assert_eq!(tile(273, 112).path(), "tile/3/273.p/112");
        assert_eq!(tile(1000, 1).path(), "tile/3/x001/000.p/1");
    }

    #[test]
    fn sinks_and_frontiers_resume_from_tiles_at_any_size() {
        let mut tiles = Stored::new();
        let mut sink = TileSink::new();
        let mut frontier = Frontier::new();
        let mut below = Vec::new();
        for n in 0..(256 * 256 + 700_u64) {
            let leaf = leaf_hash(&n.to_be_bytes());
            frontier.push(leaf);
            for tile in sink.push(leaf) {
                assert!(tile.is_full());
                if tile.level() == 0 {
                    below.push(mth(tile.hashes()));
                } else {
                    assert_eq!(tile.hashes(), below);
                }
                tiles.insert((tile.level(), tile.index()), tile.bytes());
            }
            if n % 997 == 0 || n > 256 * 256 + 690 || (65_530..65_540).contains(&n) {
                let mut stored = tiles.clone();
                for tile in sink.partial() {
                    assert!(!tile.is_full());
                    stored.insert((tile.level(), tile.index()), tile.bytes());
                }
                let size = frontier.size();
                assert_eq!(
                    frontier_from_tiles(size, get(&stored)).as_ref(),
                    Ok(&frontier)
                );
                let resumed = TileSink::resume(size, get(&stored)).unwrap();
                assert_eq!(resumed.frontier(), &frontier);
                assert_eq!(sink.frontier(), &frontier);
                assert_eq!(resumed.partial(), sink.partial());
                // An older tree reads from the tiles of a newer one.
                let old = frontier_from_tiles(size / 2, get(&stored)).unwrap();
                assert_eq!(old.size(), size / 2);
            }
        }
        assert_eq!(tiles.len(), 258 + 1);
    }

    #[test]
    fn missing_and_malformed_tiles_are_named() {
        let missing = frontier_from_tiles(300, get(&Stored::new()));
        assert_eq!(missing, Err(TileError::Missing { level: 1, index: 0 }));
        for length in [0, 31, 33, 257 * 32] {
            let stored = Stored::from([((0, 0), vec![0; length])]);
            let error = frontier_from_tiles(1, get(&stored)).unwrap_err();
            assert_eq!(
                error,
                TileError::Malformed {
                    level: 0,
                    index: 0,
                    found: length
                }
            );
        }
        let short = Stored::from([((0, 0), vec![0; 64])]);
        assert!(frontier_from_tiles(3, get(&short)).is_err());
    }
}
