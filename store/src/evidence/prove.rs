//! Proofs that leave the house: receipts, consistency files, tiles.

use super::EvidenceError;
use crate::error::{Corruption, OpenError, ReadError};
use crate::holder::{ConsistencyFrom, EntryOf, ReceiptOf, There, TreeNode, odd};
use crate::log::{Backing, Here, Log};
use crate::open::diverged;
use crate::read::Reader;
use crate::tree::{self, TreeError};
use runstone_codec::hash::node_hash;
use runstone_codec::{Digest32, Position};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::Vkey;
use runstone_receipt::tree::{
    ProveError, TILE_HEIGHT, TILE_WIDTH, consistency_proof, inclusion_proof, node_from_tiles,
    root_at,
};
use runstone_receipt::{Consistency, Receipt};
use std::collections::HashMap;
use std::sync::Arc;

/// Tiles that are kept between two proofs, of 8 KiB each.
const KEPT: usize = 1024;
/// Nodes that are.
const KEPT_NODES: usize = 65_536;

impl Log {
    /// What makes proofs under the checkpoint of everything up to now. What was only buffered is
    /// made durable first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn prover(&self) -> Result<Prover, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.prover(),
            Backing::There(there) => there.prover(),
        }
    }

    /// The receipt of one event, under the checkpoint of now.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] past the end; [`ReadError::Corrupt`] if the event or the tree is
    /// damaged.
    pub fn receipt(&self, position: Position) -> Result<Receipt, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.receipt(position),
            Backing::There(there) => {
                let bytes = there.ask_blocking(&ReceiptOf {
                    position: position.get(),
                })?;
                Receipt::parse(&bytes.0).map_err(|error| odd("receipt", &error).into())
            }
        }
    }

    /// The proof that the log has only grown since an earlier checkpoint of it, under the
    /// checkpoint of now.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Checkpoint`] for text that is no checkpoint of this log;
    /// [`EvidenceError::Contradicted`] if the log has another history, or ends before it.
    pub fn consistency(&self, earlier: &str) -> Result<Consistency, EvidenceError> {
        match &self.backing {
            Backing::Here(here) => here.consistency(earlier),
            Backing::There(there) => {
                let bytes = there.ask_blocking(&ConsistencyFrom {
                    earlier: earlier.to_owned(),
                })?;
                Consistency::parse(&bytes.0)
                    .map_err(|error| odd("consistency proof", &error).into())
            }
        }
    }

    /// Reads a checkpoint that a key of this log signed, under a name that it had then.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Checkpoint`] for any other text.
    pub fn own_checkpoint(&self, text: &str) -> Result<Checkpoint, EvidenceError> {
        match &self.backing {
            Backing::Here(here) => here.own_checkpoint(text),
            Backing::There(there) => own_checkpoint(text, &there.vkeys()?),
        }
    }
}

impl Here {
    pub(crate) fn prover(&self) -> Result<Prover, ReadError> {
        let reader = self.shared.durable_reader()?;
        let signing = &self.shared.signing;
        let checkpoint = signing.release(&reader.published.head);
        let checkpoint = checkpoint.map_err(|error| ReadError::NotFound {
            what: format!("that can be signed: {error}"),
        })?;
        let covered = tree::covered(&reader.snapshot)?.min(reader.size());
        let nodes = Nodes::new(reader, covered);
        Ok(Prover {
            nodes: Source::Here(Box::new(nodes)),
            checkpoint,
        })
    }

    /// A node of the tree; it never changes once it is whole.
    pub(crate) fn tree_node(&self, level: u8, index: u64) -> Result<Digest32, ReadError> {
        let reader = self.shared.durable_reader()?;
        let end = index.saturating_add(1).checked_shl(level.into());
        let is_whole = level < 64 && end.is_some_and(|end| end <= reader.size());
        if !is_whole || end.is_some_and(|end| end >> level != index.saturating_add(1)) {
            return Err(ReadError::NotFound {
                what: format!("in the tree at level {level}, index {index}"),
            });
        }
        let covered = tree::covered(&reader.snapshot)?.min(reader.size());
        Nodes::new(reader, covered).node(level, index)
    }

    /// The bytes of an entry.
    pub(crate) fn entry(&self, position: Position) -> Result<Vec<u8>, ReadError> {
        let mut reader = self.shared.durable_reader()?;
        if position.get() >= reader.size() {
            return Err(ReadError::NotFound {
                what: format!("at position {position}; the log has {}", reader.size()),
            });
        }
        reader.raw(position.get(), |_, raw| Ok(raw.entry.to_vec()))
    }

    pub(crate) fn receipt(&self, position: Position) -> Result<Receipt, ReadError> {
        self.prover()?.receipt(position)
    }

    pub(crate) fn consistency(&self, earlier: &str) -> Result<Consistency, EvidenceError> {
        let earlier = self.own_checkpoint(earlier)?;
        Ok(self.prover()?.consistency(&earlier)?)
    }

    pub(crate) fn own_checkpoint(&self, text: &str) -> Result<Checkpoint, EvidenceError> {
        own_checkpoint(text, &self.vkeys())
    }
}

/// The root of the first events of a log.
pub(crate) fn root_of(reader: Reader, size: u64) -> Result<(Digest32, Reader), ReadError> {
    let covered = tree::covered(&reader.snapshot)?.min(reader.size());
    let mut nodes = Nodes::new(reader, covered);
    let root = root_at(size, |level, index| nodes.node(level, index)).map_err(read_error)?;
    Ok((root, nodes.reader))
}

fn own_checkpoint(text: &str, vkeys: &[Vkey]) -> Result<Checkpoint, EvidenceError> {
    let origin = text.split('\n').next().unwrap_or_default();
    SignedCheckpoint::parse_verify(text, origin, vkeys)
        .map(|signed| signed.checkpoint().clone())
        .map_err(|error| EvidenceError::Checkpoint {
            why: error.to_string(),
        })
}

impl There {
    fn prover(self: &Arc<Self>) -> Result<Prover, ReadError> {
        Ok(Prover {
            checkpoint: self.proving()?,
            nodes: Source::There(Arc::clone(self), HashMap::new()),
        })
    }
}

/// Makes proofs under one checkpoint. It holds a view of the log as of then, because of which the
/// file grows as long as it is kept.
#[derive(Debug)]
pub struct Prover {
    nodes: Source,
    checkpoint: SignedCheckpoint,
}

impl Prover {
    /// The checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Events under it.
    pub fn size(&self) -> u64 {
        self.checkpoint.checkpoint().size
    }

    /// The receipt of one event.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] past the end; [`ReadError::Corrupt`] if the event or the tree is
    /// damaged: what is made always verifies.
    pub fn receipt(&mut self, position: Position) -> Result<Receipt, ReadError> {
        let (index, size) = (position.get(), self.size());
        if index >= size {
            return Err(ReadError::NotFound {
                what: format!("at position {position}; the log has {size}"),
            });
        }
        let entry = self.entry(position)?;
        let proof = inclusion_proof(index, size, |level, at| self.nodes.node(level, at));
        let proof = proof.map_err(read_error)?;
        let text = self.checkpoint.text().to_owned();
        Receipt::new(entry, index, proof, text).map_err(|error| {
            Corruption::at(index, "an entry under the checkpoint", error.to_string()).into()
        })
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] if it is damaged.
    pub fn entry(&mut self, position: Position) -> Result<Vec<u8>, ReadError> {
        self.nodes.entry(position)
    }

    /// The proof that leads from an earlier checkpoint to this one.
    ///
    /// # Errors
    ///
    /// [`OpenError::Behind`] or [`OpenError::Diverged`] if the earlier one is not of this history.
    pub fn consistency(&mut self, earlier: &Checkpoint) -> Result<Consistency, OpenError> {
        let size = self.size();
        let witness = "the earlier checkpoint";
        if earlier.size > size {
            return Err(OpenError::Behind {
                witness: witness.to_owned(),
                size,
                known_size: earlier.size,
            });
        }
        let unreadable = |error| match read_error(error) {
            ReadError::Corrupt(corruption) => OpenError::from(corruption),
            ReadError::Told(told) => OpenError::Told(told),
            other => Corruption::table("tiles", "the tree", other.to_string()).into(),
        };
        let root = root_at(earlier.size, |level, at| self.nodes.node(level, at));
        let root = root.map_err(unreadable)?;
        if root != earlier.root {
            return Err(diverged(witness, earlier.size, &earlier.root, &root));
        }
        let proof = consistency_proof(earlier.size, size, |level, at| self.nodes.node(level, at));
        let proof = proof.map_err(unreadable)?;
        let text = self.checkpoint.text().to_owned();
        Consistency::new(earlier.size, proof, text)
            .map_err(|error| Corruption::table("tiles", "the tree", error.to_string()).into())
    }

    /// The hashes of a tile of this tree (<https://c2sp.org/tlog-tiles>), at most 256; empty past
    /// the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] if the tree is damaged.
    pub fn tile(&mut self, level: u8, index: u64) -> Result<Vec<Digest32>, ReadError> {
        let height = level.saturating_mul(TILE_HEIGHT);
        let nodes = self.size().checked_shr(height.into()).unwrap_or(0);
        let width = TILE_WIDTH as u64;
        let from = index.saturating_mul(width).min(nodes);
        let to = from.saturating_add(width).min(nodes);
        (from..to).map(|at| self.nodes.node(height, at)).collect()
    }
}

fn read_error(error: ProveError<ReadError>) -> ReadError {
    match error {
        ProveError::Read(error) => error,
        other => Corruption::table("tiles", "the tree of the log", other.to_string()).into(),
    }
}

/// Where the tree is.
#[derive(Debug)]
enum Source {
    Here(Box<Nodes>),
    /// Asked of whoever holds the log; what was told never changes.
    There(Arc<There>, HashMap<(u8, u64), Digest32>),
}

impl Source {
    fn node(&mut self, level: u8, index: u64) -> Result<Digest32, ReadError> {
        let (there, known) = match self {
            Self::Here(nodes) => return nodes.node(level, index),
            Self::There(there, known) => (there, known),
        };
        if let Some(node) = known.get(&(level, index)) {
            return Ok(*node);
        }
        let node = there.ask_blocking(&TreeNode { level, index })?;
        let node = node.array();
        let node = node.ok_or_else(|| odd("node of the tree", &"it has not 32 bytes"))?;
        if known.len() >= KEPT_NODES {
            known.clear();
        }
        known.insert((level, index), node);
        Ok(node)
    }

    fn entry(&mut self, position: Position) -> Result<Vec<u8>, ReadError> {
        let position = position.get();
        match self {
            Self::Here(nodes) => nodes.reader.raw(position, |_, raw| Ok(raw.entry.to_vec())),
            Self::There(there, _) => Ok(there.ask_blocking(&EntryOf { position })?.0),
        }
    }
}

/// Nodes of the tree: from stored tiles, and above the leaves that are in none.
#[derive(Debug)]
struct Nodes {
    reader: Reader,
    /// Leaves that the stored tiles hold.
    covered: u64,
    tiles: HashMap<(u8, u64), Option<Arc<[u8]>>>,
    /// Nodes above the leaves' tiles, which many proofs share, and those in no tile.
    made: HashMap<(u8, u64), Digest32>,
}

impl Nodes {
    fn new(reader: Reader, covered: u64) -> Self {
        Self {
            reader,
            covered,
            tiles: HashMap::new(),
            made: HashMap::new(),
        }
    }

    fn node(&mut self, level: u8, index: u64) -> Result<Digest32, ReadError> {
        let end = index.saturating_add(1).checked_shl(level.into());
        let is_stored = end.is_some_and(|end| end <= self.covered);
        match (is_stored, level) {
            (true, ..=TILE_HEIGHT) => return self.stored(level, index),
            (false, 0) => return self.reader.leaf(index),
            _ => {}
        }
        if let Some(node) = self.made.get(&(level, index)) {
            return Ok(*node);
        }
        let node = if is_stored {
            self.stored(level, index)?
        } else {
            let left = self.node(level - 1, index * 2)?;
            node_hash(&left, &self.node(level - 1, index * 2 + 1)?)
        };
        if self.made.len() >= KEPT_NODES {
            self.made.clear();
        }
        self.made.insert((level, index), node);
        Ok(node)
    }

    fn stored(&mut self, level: u8, index: u64) -> Result<Digest32, ReadError> {
        let Self { reader, tiles, .. } = self;
        let mut node = node_from_tiles(|level, index| {
            if let Some(tile) = tiles.get(&(level, index)) {
                return Ok(tile.clone());
            }
            let tile = tree::tile(&reader.snapshot, level, index)?.map(Arc::from);
            if tiles.len() >= KEPT {
                tiles.clear();
            }
            tiles.insert((level, index), tile.clone());
            Ok(tile)
        });
        node(level, index).map_err(|error| match TreeError::from(error) {
            TreeError::Corrupt(corruption) => corruption.into(),
            TreeError::Storage(error) => error.into(),
        })
    }
}
