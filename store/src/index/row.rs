//! Rows of the table `index`: their keys and checksums, and how they are read and written.

use super::error::{AtRow, Fault, IndexError, IndexRow};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;

/// First byte of the keys of blocks.
pub(super) const BLOCK_KEY: u8 = b'r';
/// First byte of the keys of sections.
pub(super) const SECTION_KEY: u8 = b'f';
/// Key of the manifest.
pub(super) const MANIFEST_KEY: &[u8] = b"m";
/// Bytes at the end of each row.
pub(super) const CHECKSUM_BYTES: usize = 8;

/// A change to the table, applied by the writer inside its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowOp {
    /// Sets the row of a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes the row of a key; it may be absent.
    Delete(Vec<u8>),
}

impl RowOp {
    /// Bytes that the operation moves, the measure of a slice's budget.
    pub(super) fn cost_bytes(&self) -> u64 {
        match self {
            Self::Put(key, value) => (key.len() + value.len()) as u64,
            Self::Delete(_) => DELETE_COST_BYTES,
        }
    }
}

/// A deletion touches a page of the tree like a small write.
const DELETE_COST_BYTES: u64 = 1_000;

/// Called with keys and rows.
pub(crate) type RowVisitor<'v> = &'v mut (dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v);

/// One consistent state of the table.
pub(crate) trait RowRead {
    /// The row of a key.
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Visits keys and rows from `from` (inclusive) to `to` (exclusive) in order of their keys,
    /// until the visitor breaks.
    fn scan(&self, from: &[u8], to: &[u8], visit: RowVisitor<'_>) -> Result<(), IndexError>;
}

/// Key of a numbered row of a run: `kind || run || number`.
pub(super) fn numbered_key(kind: u8, run: u64, number: u32) -> [u8; 13] {
    let mut key = [0; 13];
    key[0] = kind;
    key[1..9].copy_from_slice(&run.to_be_bytes());
    key[9..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Takes such a key apart.
pub(super) fn parse_key(key: &[u8]) -> IndexRow {
    let numbers = |key: &[u8]| {
        let (run, number) = key.split_first_chunk::<8>()?;
        let number: [u8; 4] = number.try_into().ok()?;
        Some((u64::from_be_bytes(*run), u32::from_be_bytes(number)))
    };
    let parsed = match key.split_first() {
        Some((&BLOCK_KEY, rest)) => {
            numbers(rest).map(|(run, block)| IndexRow::Block { run, block })
        }
        Some((&SECTION_KEY, rest)) => {
            numbers(rest).map(|(run, section)| IndexRow::Section { run, section })
        }
        _ if key == MANIFEST_KEY => Some(IndexRow::Manifest),
        _ => None,
    };
    parsed.unwrap_or(IndexRow::Unknown)
}

impl IndexRow {
    fn key(self) -> Vec<u8> {
        match self {
            Self::Manifest => MANIFEST_KEY.to_vec(),
            Self::Block { run, block } => numbered_key(BLOCK_KEY, run, block).to_vec(),
            Self::Section { run, section } => numbered_key(SECTION_KEY, run, section).to_vec(),
            Self::Unknown => Vec::new(),
        }
    }

    /// Writes this row: the body and its checksum.
    pub(super) fn put(self, mut body: Vec<u8>) -> RowOp {
        let key = self.key();
        let checksum = checksum(&key, &body);
        body.extend_from_slice(&checksum);
        RowOp::Put(key, body)
    }

    /// Reads this row if it is there: its body, of at most `max_bytes` with the checksum.
    pub(super) fn find(
        self,
        rows: &dyn RowRead,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let key = self.key();
        rows.row(&key)?
            .map(|row| checked_body(&key, row, max_bytes).at(self))
            .transpose()
    }

    /// Reads this row, which must be there.
    pub(super) fn read(self, rows: &dyn RowRead, max_bytes: usize) -> Result<Vec<u8>, IndexError> {
        self.find(rows, max_bytes)?
            .ok_or(IndexError::Missing { row: self })
    }
}

fn checked_body(key: &[u8], mut row: Vec<u8>, max_bytes: usize) -> Result<Vec<u8>, Fault> {
    if row.len() > max_bytes {
        return Err("the row is too long");
    }
    let (body, stored) = row
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or("the row is too short")?;
    if checksum(key, body) != *stored {
        return Err("the checksum does not match");
    }
    row.truncate(row.len() - CHECKSUM_BYTES);
    Ok(row)
}

/// The first 8 bytes of SHA-256 over key and body: a row moved to another key is found too.
fn checksum(key: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(key)
        .chain_update(body)
        .finalize()
        .into();
    let mut first = [0; CHECKSUM_BYTES];
    first.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    first
}

#[cfg(test)]
mod tests {
    use super::super::sample::Rows;
    use super::*;

    const ROW: IndexRow = IndexRow::Block { run: 3, block: 7 };

    #[test]
    fn keys_are_pinned() {
        assert_eq!(
            ROW.key(),
            [b'r', 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7].to_vec()
        );
        assert_eq!(parse_key(&ROW.key()), ROW);
        assert_eq!(parse_key(b"m"), IndexRow::Manifest);
        assert_eq!(parse_key(b"r123"), IndexRow::Unknown);
        assert_eq!(parse_key(b""), IndexRow::Unknown);
    }

    #[test]
    fn every_flipped_bit_and_every_other_key_is_found() {
        let RowOp::Put(key, row) = ROW.put(b"body".to_vec()) else {
            panic!("a put")
        };
        for bit in 0..row.len() * 8 {
            let mut rows = Rows::default();
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            rows.set(&key, flipped);
            let error = ROW.read(&rows, 100).unwrap_err();
            assert_eq!(
                error.to_string(),
                "table index: block 7 of run 3: the checksum does not match"
            );
        }
        let mut rows = Rows::default();
        let other = IndexRow::Block { run: 3, block: 8 };
        rows.set(&other.key(), row.clone());
        assert!(other.read(&rows, 100).unwrap_err().is_corrupt());
        rows.set(&key, row);
        assert_eq!(ROW.read(&rows, 100).unwrap(), b"body");
        assert!(ROW.read(&rows, 11).unwrap_err().is_corrupt());
    }
}
