//! Rows of a fold in memory.

use runstone_store::{FoldError, Rows};
use std::collections::BTreeMap;

/// Rows in memory, for a fold over a part of the log: what stood at a point, or a test.
///
/// ```
/// use runstone_projections::MemoryRows;
/// use runstone_store::Rows;
///
/// let mut rows = MemoryRows::new();
/// rows.put(b"k", vec![1]);
/// assert_eq!(rows.get(b"k"), Some(&[1][..]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRows(BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// The row under a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// All rows, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(key, row)| (key.as_slice(), row.as_slice()))
    }

    /// All rows by key.
    pub fn into_rows(self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0
    }
}

impl From<BTreeMap<Vec<u8>, Vec<u8>>> for MemoryRows {
    fn from(rows: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        Self(rows)
    }
}

impl Rows for MemoryRows {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
        Ok(self.0.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}
