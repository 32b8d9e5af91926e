//! How rows of folds lie in the database.
//!
//! ```text
//! key   'c' name                      cursor: u32 version | u64 flushed
//! key   'r' name 00 row-key           row
//! value sealed under the fold key, or in a plain log with a digest in front
//! ```

use super::FoldError;
use crate::engine::Change;
use crate::engine::RowTable;
use crate::error::StorageError;
use crate::keys::KeyStore;
use runstone_codec::{Entropy, LogId, row};
use std::sync::Arc;

/// Seals and opens rows of one log.
#[derive(Debug)]
pub(crate) struct RowSeal {
    pub(crate) log_id: LogId,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

pub(crate) fn row_key(name: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + name.len() + key.len());
    out.push(b'r');
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(key);
    out
}

pub(crate) fn cursor_key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + name.len());
    out.push(b'c');
    out.extend_from_slice(name.as_bytes());
    out
}

/// Name of the fold whose cursor is stored under `key`.
pub(crate) fn cursor_name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(b"c")?).ok()
}

/// Name of the fold whose row is stored under `key`.
pub(crate) fn fold_of_row(key: &[u8]) -> Option<&[u8]> {
    let rest = key.strip_prefix(b"r")?;
    rest.split(|byte| *byte == 0)
        .next()
        .filter(|name| name.len() < rest.len())
}

pub(crate) fn encode_cursor(version: u32, flushed: u64) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    out.extend_from_slice(&flushed.to_be_bytes());
    out
}

pub(crate) fn decode_cursor(bytes: &[u8]) -> Option<(u32, u64)> {
    let (version, rest) = bytes.split_first_chunk::<4>()?;
    let flushed: [u8; 8] = rest.try_into().ok()?;
    Some((u32::from_be_bytes(*version), u64::from_be_bytes(flushed)))
}

impl RowSeal {
    /// Changes that store `rows`; `None` removes. Nonces are drawn once for all.
    pub(crate) fn changes<'a>(
        &self,
        rows: impl ExactSizeIterator<Item = (Vec<u8>, Option<&'a [u8]>)>,
    ) -> Result<Vec<Change>, StorageError> {
        let mut nonces = vec![0; rows.len() * 12];
        let fold_key = self.keys.fold_key();
        if fold_key.is_some() {
            self.entropy
                .fill(&mut nonces)
                .map_err(|error| StorageError::Database {
                    message: error.to_string(),
                })?;
        }
        let (nonces, _) = nonces.as_chunks::<12>();
        rows.zip(nonces)
            .map(|((key, value), nonce)| match value {
                None => Ok(Change::DeleteRow(RowTable::Folds, key)),
                Some(value) => {
                    let sealed = row::seal(fold_key.as_deref(), &self.log_id, &key, *nonce, value)
                        .map_err(|error| StorageError::Database {
                            message: error.to_string(),
                        })?;
                    Ok(Change::PutRow(RowTable::Folds, key, sealed))
                }
            })
            .collect()
    }

    pub(crate) fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, FoldError> {
        row::open(self.keys.fold_key().as_deref(), &self.log_id, key, sealed)
            .map_err(|error| FoldError::Row(error.to_string()))
    }
}
