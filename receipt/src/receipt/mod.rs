//! Receipts (<https://c2sp.org/tlog-proof>): one event, proved to stand in a log, in one file.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the entry>
//! index <position>
//! <base64 hash>                          0 to 63 lines, the leaf's sibling first
//!                                        one empty line
//! <checkpoint, as it was signed, with any cosignatures>
//! ```
//!
//! Verifying one takes the file and a [`Policy`]; no log, no network, no clock. It goes in the
//! order of docs/FORMAT.md, section Receipt, and ends at the first step that fails.

mod error;
mod verify;

use core::fmt;

use runstone_codec::Entry;
use runstone_codec::hash::{Digest32, leaf_hash};

pub use error::{Finding, ReceiptError};
pub use verify::{Checked, Verified, VerifyOptions};

use crate::checkpoint::{Checkpoint, MAX_SIZE};
use crate::policy::Policy;
use crate::tree::verify_inclusion;
use crate::{base64, text};

/// First line of a receipt.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// A receipt, read but not verified.
///
/// ```
/// # use runstone_codec::{Authority, EntryParts, Header, Position, Revision, encode_entry};
/// use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
/// use runstone_receipt::note::Signer;
/// use runstone_receipt::policy::Policy;
/// use runstone_receipt::receipt::{Receipt, VerifyOptions};
/// use runstone_receipt::leaf_hash;
///
/// # let header = Header {
/// #     event_id: runstone_codec::Uuid::from_u128(1), stream: "run-7".into(),
/// #     event_type: "chat.message".into(), schema_version: 1, occurred_at_us: None,
/// #     source: "me".into(), principal: "human:ada".into(), authority: Authority::Human,
/// #     causation: None, correlation: None, scope: "default".into(), tags: vec![],
/// #     codec: 0, key_id: None,
/// # }.encode()?;
/// # let parts = EntryParts {
/// #     header: &header, position: Position::new(0), revision: Revision::new(0),
/// #     recorded_at_us: 1, control: &[], commit: &[1; 32], digest: &[2; 32],
/// # };
/// # let mut entry = Vec::new();
/// # encode_entry(&parts, &mut entry)?;
/// // The log, of one entry, issues a receipt.
/// let signer = Signer::new("example.com/log", &[7; 32])?;
/// let head = Checkpoint::new("example.com/log", 1, leaf_hash(&entry))?;
/// let signed = SignedCheckpoint::sign(&head, &[&signer])?;
/// let file = Receipt::new(entry, 0, vec![], signed.text().to_owned())?.to_string();
///
/// // The auditor has the file and the policy.
/// let policy = Policy::parse(format!("log {}\nquorum none\n", signer.vkey()).as_bytes())?;
/// let receipt = Receipt::parse(file.as_bytes())?;
/// let verified = receipt.verify(&policy, &VerifyOptions::new())?;
/// assert_eq!(verified.origin(), "example.com/log");
/// assert_eq!(verified.entry().header().event_type, "chat.message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    entry: Vec<u8>,
    index: u64,
    proof: Vec<Digest32>,
    checkpoint: String,
}

impl Receipt {
    /// The receipt of an entry: its index, its inclusion proof in the tree of a checkpoint, and
    /// that checkpoint as it was signed.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`] at the first step that would fail at whoever verifies it, signatures
    /// aside.
    pub fn new(
        entry: Vec<u8>,
        index: u64,
        proof: Vec<Digest32>,
        checkpoint: String,
    ) -> Result<Self, ReceiptError> {
        let receipt = Self {
            entry,
            index,
            proof,
            checkpoint,
        };
        // Whoever issues finds out, not whoever verifies.
        if Self::parse(receipt.to_string().as_bytes())? != receipt {
            return Err(ReceiptError::Format);
        }
        let head = Checkpoint::of_note(&receipt.checkpoint).map_err(ReceiptError::Checkpoint)?;
        receipt.prove(&head)?;
        Ok(receipt)
    }

    /// Reads a receipt: steps 1 and 2.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`] for any bytes that encoding would not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let (head, checkpoint) = text::split(bytes)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(ReceiptError::Format);
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let entry = field("extra").and_then(base64::decode);
        let entry = entry.ok_or(ReceiptError::Extra)?;
        let index = field("index").and_then(text::decimal);
        let index = index.filter(|index| *index <= MAX_SIZE);
        Ok(Self {
            entry,
            index: index.ok_or(ReceiptError::Index)?,
            proof: text::hashes(lines, 4)?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The receipt's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Verifies it: steps 3 to 7. [`Receipt::parse`] has done the first two, and showing what is
    /// answered is the eighth.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`] of the first step that fails.
    pub fn verify(
        &self,
        policy: &Policy,
        options: &VerifyOptions<'_>,
    ) -> Result<Verified<'_>, ReceiptError> {
        let checkpoint = policy
            .verify_checkpoint(&self.checkpoint, options.origin)
            .map_err(ReceiptError::Checkpoint)?;
        let entry = self.prove(checkpoint.checkpoint())?;
        let checked = options.check(&entry)?;
        Ok(Verified::new(checkpoint, entry, checked))
    }

    /// Steps 4 to 6, for a checkpoint that has been read.
    fn prove(&self, head: &Checkpoint) -> Result<Entry<'_>, ReceiptError> {
        let (index, size) = (self.index, head.size);
        if index >= size {
            return Err(ReceiptError::Beyond { index, size });
        }
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(&leaf, index, size, &self.proof, &head.root)
            .map_err(ReceiptError::Inclusion)?;
        let entry = Entry::parse(&self.entry).map_err(ReceiptError::Entry)?;
        if entry.position().get() != index {
            return Err(ReceiptError::Position {
                entry: entry.position().get(),
                index,
            });
        }
        Ok(entry)
    }

    /// The entry's bytes, not verified.
    pub fn entry_bytes(&self) -> &[u8] {
        &self.entry
    }

    /// The index, not verified.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof, the leaf's sibling first.
    pub fn proof(&self) -> &[Digest32] {
        &self.proof
    }

    /// The checkpoint as it was signed, not verified.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

/// The receipt as a file.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = format!(
            "{FORMAT}\nextra {}\nindex {}\n",
            base64::encode(&self.entry),
            self.index
        );
        text::write(&mut out, &self.proof, &self.checkpoint);
        f.write_str(&out)
    }
}
