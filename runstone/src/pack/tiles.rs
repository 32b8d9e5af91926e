//! The tree in the layout of <https://c2sp.org/tlog-tiles>.

use super::error::PackError;
use super::folder::Folder;
use runstone_codec::Position;
use runstone_receipt::tree::{TILE_HEIGHT, TILE_WIDTH, tile_path};
use runstone_store::Prover;

/// Writes every tile; `progress` is told leaves done.
pub(super) fn write(
    folder: &mut Folder,
    prover: &mut Prover,
    with_entries: bool,
    progress: &dyn Fn(u64),
) -> Result<(), PackError> {
    let width = TILE_WIDTH as u64;
    let size = prover.size();
    let (mut level, mut nodes) = (0, size);
    while nodes > 0 {
        for index in 0..nodes.div_ceil(width) {
            let hashes = prover.tile(level, index)?;
            let path = tile_path(&level.to_string(), index, hashes.len());
            folder.write(&path, hashes.as_flattened())?;
            if level == 0 {
                progress((index + 1).saturating_mul(width).min(size));
            }
        }
        level += 1;
        nodes >>= TILE_HEIGHT;
    }
    if with_entries {
        for index in 0..size.div_ceil(width) {
            write_entries(folder, prover, index)?;
            progress((index + 1).saturating_mul(width).min(size));
        }
    }
    Ok(())
}

/// One bundle: each entry behind its length.
fn write_entries(folder: &mut Folder, prover: &mut Prover, index: u64) -> Result<(), PackError> {
    let first = index.saturating_mul(TILE_WIDTH as u64);
    let end = first.saturating_add(TILE_WIDTH as u64).min(prover.size());
    let count = usize::try_from(end.saturating_sub(first)).unwrap_or(TILE_WIDTH);
    let path = tile_path("entries", index, count);
    let mut bundle = folder.open(&path)?;
    for position in first..end {
        let entry = prover.entry(Position::new(position))?;
        // The format keeps entries below 8 KiB.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bundle.write(&length.to_be_bytes())?;
        bundle.write(&entry)?;
    }
    folder.close(&path, bundle)
}
