//! The Merkle tree of a log, its signed checkpoints, and the proofs that an auditor checks.
//!
//! ```text
//!  leaf hashes --push--> Frontier --root--> Checkpoint --sign--> SignedCheckpoint (C2SP note)
//!       |                                        ^                     |
//!       +--256 a tile--> TileSink                |                     v
//!       +--node reader--> inclusion_proof, consistency_proof --verify--+
//!
//!  Receipt = entry + inclusion proof + checkpoint  --verify(Policy)--> who says so, position, entry
//!  Consistency = proof + later checkpoint          --verify(kept checkpoint, Policy)--> checkpoint
//!  Disclosure = fields + their paths               --verify(entry)--> parts of the payload
//! ```
//!
//! An auditor starts at [`Receipt`] and [`Policy`]; `examples/verify.rs` is a whole verifier.
//!
//! Formats: RFC 9162 section 2.1 (tree and proofs), <https://c2sp.org/tlog-tiles>,
//! <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>,
//! <https://c2sp.org/tlog-proof>, <https://c2sp.org/tlog-policy>,
//! <https://c2sp.org/tlog-cosignature>, and docs/FORMAT.md. Nothing here does I/O, reads a clock or
//! draws randomness, and whatever comes from bytes is checked strictly: one value has
//! one encoding.
//!
//! ```
//! use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
//! use runstone_receipt::leaf_hash;
//! use runstone_receipt::note::Signer;
//! use runstone_receipt::tree::{Frontier, inclusion_proof, verify_inclusion};
//!
//! let leaves = [leaf_hash(b"first"), leaf_hash(b"second"), leaf_hash(b"third")];
//! let mut tree = Frontier::new();
//! for leaf in leaves {
//!     tree.push(leaf);
//! }
//!
//! // The log signs its head.
//! let signer = Signer::new("example.com/log", &[7; 32])?;
//! let head = Checkpoint::new("example.com/log", tree.size(), tree.root())?;
//! let signed = SignedCheckpoint::sign(&head, &[&signer])?;
//!
//! // An auditor who knows the public key checks it, and one leaf against it.
//! let read = SignedCheckpoint::parse_verify(signed.text(), "example.com/log", &[signer.vkey()])?;
//! let node = |level, index| match (level, index) {
//!     (0, 0) => Ok(leaves[0]),
//!     (0, 2) => Ok(leaves[2]),
//!     _ => Err(std::io::Error::other("not stored")),
//! };
//! let proof = inclusion_proof(1, 3, node)?;
//! let root = read.checkpoint().root;
//! verify_inclusion(&leaves[1], 1, 3, &proof, &root)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
pub mod checkpoint;
pub mod consistency;
pub mod disclosure;
pub mod head;
pub mod note;
pub mod policy;
pub mod receipt;
mod text;
pub mod tree;

pub use consistency::Consistency;
pub use disclosure::Disclosure;
pub use policy::Policy;
pub use receipt::{Finding, Receipt, VerifyOptions};
pub use text::{MAX_FILE_HASHES, MAX_FILE_LEN, TextError};

pub use runstone_codec::hash::{Digest32, empty_root, leaf_hash, mth, node_hash};
