//! Proofs against the vectors of RFC 6962 and against an implementation written elsewhere.

use super::*;
use ct_merkle::RootHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use runstone_codec::hash::{Digest32, leaf_hash, mth};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::convert::Infallible;

type Nodes = BTreeMap<(u8, u64), Digest32>;

/// Every full subtree over the leaves.
fn nodes(leaves: &[Digest32]) -> Nodes {
    let mut nodes = Nodes::new();
    for level in 0..=9_u8 {
        for (index, part) in (0..).zip(leaves.chunks_exact(1 << level)) {
            nodes.insert((level, index), mth(part));
        }
    }
    nodes
}

/// Reads nodes, but only full subtrees of the tree asked about.
fn reader(nodes: &Nodes, size: u64) -> impl FnMut(u8, u64) -> Result<Digest32, Infallible> {
    move |level, index| {
        assert!(
            (index + 1) << level <= size,
            "node ({level}, {index}) of a tree of {size}"
        );
        Ok(nodes[&(level, index)])
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn leaves(count: u64) -> Vec<Digest32> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn the_leaves_of_rfc_6962_have_its_roots() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves = inputs.map(|leaf| leaf_hash(&unhex(leaf)));
    let mut frontier = Frontier::new();
    let nodes = nodes(&leaves);
    for (size, root) in (0..).zip(roots) {
        assert_eq!(frontier.root().to_vec(), unhex(root), "size {size}");
        assert_eq!(root_at(size, reader(&nodes, size)), Ok(frontier.root()));
        if let Some(leaf) = leaves.get(usize::try_from(size).unwrap()) {
            frontier.push(*leaf);
        }
    }
}

/// Both ways: what is made here is byte for byte what is made there, so each side verifies the
/// proofs of the other by verifying its own.
#[test]
fn proofs_to_300_leaves_are_made_and_verified_as_ct_merkle_does() {
    let leaves = leaves(300);
    let nodes = nodes(&leaves);
    let mut theirs = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    let mut ours = Frontier::new();
    let mut roots = vec![ours.root()];
    for size in 1..=300_u64 {
        theirs.push((size - 1).to_be_bytes());
        ours.push(leaves[usize::try_from(size - 1).unwrap()]);
        let (root, their_root) = (ours.root(), theirs.root());
        roots.push(root);
        assert_eq!(their_root.as_bytes().as_slice(), root, "size {size}");
        for at in 0..usize::try_from(size).unwrap() {
            let index = at as u64;
            let proof = inclusion_proof(index, size, reader(&nodes, size)).unwrap();
            let their_proof = theirs.prove_inclusion(at);
            assert_eq!(proof.concat(), their_proof.as_bytes());
            let held = verify_inclusion(&leaves[at], index, size, &proof, &root);
            assert_eq!(held, Ok(()));
            their_root
                .verify_inclusion(&index.to_be_bytes(), index, &their_proof)
                .unwrap();

            let (old, old_root) = (index + 1, roots[at + 1]);
            let proof = consistency_proof(old, size, reader(&nodes, size)).unwrap();
            let held = verify_consistency(old, size, &old_root, &root, &proof);
            assert_eq!(held, Ok(()));
            if old == size {
                assert!(proof.is_empty());
                continue;
            }
            let added = usize::try_from(size - old).unwrap();
            let their_proof = theirs.prove_consistency(added);
            assert_eq!(proof.concat(), their_proof.as_bytes());
            let before = RootHash::new(old_root.into(), old);
            their_root
                .verify_consistency(&before, &their_proof)
                .unwrap();
        }
    }
}

/// Every proof made from a good one by dropping, adding, swapping or altering a hash.
fn altered(proof: &[Digest32]) -> Vec<Vec<Digest32>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][at % 32] ^= 1;
        let mut dropped = proof.to_vec();
        dropped.remove(at);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        all.extend([flipped, dropped, doubled]);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            all.push(swapped);
        }
    }
    for extra in [[0; 32], leaf_hash(b"")] {
        let mut longer = proof.to_vec();
        longer.push(extra);
        all.push(longer);
    }
    all
}

#[test]
fn no_altered_inclusion_proof_holds() {
    for size in 1..=40_u64 {
        let leaves = leaves(size);
        let nodes = nodes(&leaves);
        let root = mth(&leaves);
        for (index, leaf) in (0..).zip(&leaves) {
            let proof = inclusion_proof(index, size, reader(&nodes, size)).unwrap();
            for other in altered(&proof) {
                assert!(verify_inclusion(leaf, index, size, &other, &root).is_err());
            }
            for other in (0..size + 3).filter(|other| *other != index) {
                assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err());
            }
            let longer = [proof.as_slice(), &[root]].concat();
            let result = verify_inclusion(leaf, index, size, &longer, &root);
            assert_eq!(result, Err(ProofError::Length));
            let stranger = leaf_hash(b"stranger");
            let result = verify_inclusion(&stranger, index, size, &proof, &root);
            assert_eq!(result, Err(ProofError::Root));
        }
    }
}

#[test]
fn no_altered_consistency_proof_holds() {
    let leaves = leaves(40);
    for new in 1..=40_usize {
        let size = new as u64;
        let nodes = nodes(&leaves[..new]);
        let root = mth(&leaves[..new]);
        for before in 1..=new {
            let old = before as u64;
            let old_root = mth(&leaves[..before]);
            let proof = consistency_proof(old, size, reader(&nodes, size)).unwrap();
            for other in altered(&proof) {
                assert!(verify_consistency(old, size, &old_root, &root, &other).is_err());
            }
            let longer = [proof.as_slice(), &[root]].concat();
            let result = verify_consistency(old, size, &old_root, &root, &longer);
            assert_eq!(result, Err(ProofError::Length));
            let stranger = leaf_hash(b"stranger");
            assert!(verify_consistency(old, size, &stranger, &root, &proof).is_err());
            assert!(verify_consistency(old, size, &old_root, &stranger, &proof).is_err());
            assert!(verify_consistency(size + 1, size, &old_root, &root, &proof).is_err());
        }
    }
}

#[test]
fn edges_are_answered_without_a_node() {
    let none = |_, _| -> Result<Digest32, Infallible> { panic!("no node is needed") };
    assert_eq!(inclusion_proof(0, 1, none), Ok(vec![]));
    assert_eq!(
        inclusion_proof(5, 5, none),
        Err(ProveError::NoLeaf { index: 5, size: 5 })
    );
    assert_eq!(
        inclusion_proof(0, 0, none),
        Err(ProveError::NoLeaf { index: 0, size: 0 })
    );
    assert_eq!(consistency_proof(0, 9, none), Ok(vec![]));
    assert_eq!(consistency_proof(9, 9, none), Ok(vec![]));
    assert_eq!(
        consistency_proof(9, 8, none),
        Err(ProveError::Shrunk { old: 9, new: 8 })
    );
    let (empty, root) = (mth(&[]), [7; 32]);
    assert_eq!(verify_consistency(0, 9, &empty, &root, &[]), Ok(()));
    assert_eq!(
        verify_consistency(0, 9, &root, &root, &[]),
        Err(ProofError::OldRoot)
    );
    assert_eq!(
        verify_consistency(0, 0, &empty, &root, &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(0, 9, &empty, &root, &[root]),
        Err(ProofError::Length)
    );
    let none = ProofError::NoLeaf { index: 0, size: 0 };
    assert_eq!(verify_inclusion(&root, 0, 0, &[], &root), Err(none));
}

#[test]
fn the_largest_trees_are_handled() {
    let node = |level, index: u64| -> Result<Digest32, Infallible> {
        let mut name = index.to_be_bytes().to_vec();
        name.push(level);
        Ok(leaf_hash(&name))
    };
    for size in [(1 << 62) + 1, (1 << 63) - 1, 1 << 63] {
        let proof = inclusion_proof(size - 1, size, node).unwrap();
        assert!(proof.len() <= MAX_PROOF_LEN);
        let root = root_at(size, node).unwrap();
        let leaf = node(0, size - 1).unwrap();
        let held = verify_inclusion(&leaf, size - 1, size, &proof, &root);
        // Only trees of odd size have this leaf as a peak; elsewhere the nodes do not fit.
        assert_eq!(held.is_ok(), size % 2 == 1);
        let proof = consistency_proof(size / 3, size, node).unwrap();
        assert!(proof.len() <= MAX_PROOF_LEN);
    }
}
