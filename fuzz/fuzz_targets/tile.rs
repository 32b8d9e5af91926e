//! The Merkle tree: tiles, frontiers and proofs, from bytes and from a tree that bytes make.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_receipt::tree::{
    Frontier, TileSink, consistency_proof, frontier_from_tiles, inclusion_proof, node_from_tiles,
    root_of, verify_consistency, verify_inclusion,
};
use runstone_receipt::{Digest32, leaf_hash, mth};
use std::collections::BTreeMap;
use std::convert::Infallible;

const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    if input.byte() & 1 == 0 {
        hostile(input);
    } else {
        tree(input);
    }
});

fn hashes(bytes: &[u8]) -> Vec<Digest32> {
    bytes.chunks(32).map(|part| Input(part).array()).collect()
}

/// Whatever is stored, nothing panics, and what is read is what was stored.
fn hostile(mut input: Input<'_>) {
    let (size, index) = (input.u64(), input.u64());
    let tiles = input.part();
    let get = |_: u8, _: u64| Ok::<_, Infallible>(Some(tiles.to_vec()));
    if let Ok(frontier) = frontier_from_tiles(size, get) {
        assert_eq!(frontier.size(), size);
        assert_eq!(frontier.peaks().len(), size.count_ones() as usize);
    }
    if size < MAX_SIZE - 300
        && let Ok(mut sink) = TileSink::resume(size, get)
    {
        assert_eq!(sink.size(), size);
        for tile in sink.partial() {
            assert!(tiles.starts_with(&tile.bytes()) && !tile.is_full());
        }
        let full: usize = (0..300).map(|_| sink.push([7; 32]).len()).sum();
        assert!(full >= 1);
    }
    let proof = hashes(input.0);
    if let Ok(mut frontier) = Frontier::from_peaks(size, proof.clone()) {
        let _ = frontier.root();
        if size < MAX_SIZE {
            frontier.push([7; 32]);
            assert_eq!(
                frontier.peaks().len(),
                frontier.size().count_ones() as usize
            );
        }
    }
    let root = [8; 32];
    let leaf = verify_inclusion(&[7; 32], index, size, &proof, &root);
    assert!(leaf.is_err(), "a proof was forged");
    let grown = verify_consistency(index, size, &[9; 32], &root, &proof);
    assert!(grown.is_err() || index == 0, "a proof was forged");
}

/// A tree of up to some hundred leaves: all ways to its root agree, and each of its proofs holds,
/// unless it is changed.
fn tree(mut input: Input<'_>) {
    let count = u16::from_be_bytes(input.array()) % 700;
    let (index, old) = (
        u16::from_be_bytes(input.array()),
        u16::from_be_bytes(input.array()),
    );
    let seed = input.byte();
    let leaves: Vec<_> = (0..count)
        .map(|n| leaf_hash(&[&n.to_be_bytes()[..], &[seed]].concat()))
        .collect();
    let (mut sink, mut stored, mut frontier) = (TileSink::new(), BTreeMap::new(), Frontier::new());
    for leaf in &leaves {
        frontier.push(*leaf);
        for tile in sink.push(*leaf) {
            stored.insert((tile.level(), tile.index()), tile.bytes());
        }
    }
    for tile in sink.partial() {
        stored.insert((tile.level(), tile.index()), tile.bytes());
    }
    let get = |level, index| Ok::<_, Infallible>(stored.get(&(level, index)).cloned());
    let size = u64::from(count);
    let root = mth(&leaves);
    assert_eq!(
        (frontier.root(), root_of(leaves.iter().copied())),
        (root, root)
    );
    assert_eq!(frontier_from_tiles(size, get).as_ref(), Ok(&frontier));
    let resumed = TileSink::resume(size, get).expect("all tiles are there");
    assert_eq!(resumed.partial(), sink.partial());
    let given = hashes(input.0);
    if count > 0 {
        let index = u64::from(index % count);
        let leaf = &leaves[usize::from(u16::try_from(index).expect("small"))];
        let proof = inclusion_proof(index, size, node_from_tiles(get)).expect("it is in the tree");
        assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
        let other = verify_inclusion(leaf, index, size, &given, &root);
        assert_eq!(other.is_ok(), given == proof);
        let other = (index + 1) % size;
        assert!(size == 1 || verify_inclusion(leaf, other, size, &proof, &root).is_err());
    }
    let old = u64::from(old) % (size + 1);
    let old_root = mth(&leaves[..usize::try_from(old).expect("small")]);
    let proof = consistency_proof(old, size, node_from_tiles(get)).expect("it has grown");
    assert_eq!(
        verify_consistency(old, size, &old_root, &root, &proof),
        Ok(())
    );
    let other = verify_consistency(old, size, &old_root, &root, &given);
    assert_eq!(other.is_ok(), given == proof);
}
