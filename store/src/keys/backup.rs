//! The key folder as one file.
//!
//! ```text
//! "RSKEYBK1" || u32 len || ring || u32 len || table || SHA-256 of all before
//! ```
//!
//! Whoever reads it has the keys. It reaches across erasures that came later, so an erasure is
//! complete only when older copies of it are gone.

use super::KeyError;
use super::files::{create_file, read_file, sync_folder_of};
use super::make::install_folder;
use super::ring::{MAX_RING_LEN, Ring};
use super::store::{KeyStore, RING, TABLE, table_error};
use runstone_codec::keys::{KeyTable, MAX_TABLE_LEN};
use sha2::{Digest, Sha256};
use std::path::Path;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"RSKEYBK1";
const CHECKSUM_LEN: usize = 32;
const OVERHEAD: usize = MAGIC.len() + 4 + 4 + CHECKSUM_LEN;

impl KeyStore {
    /// Copies ring and table into one file, mode 0600; it must not exist.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] leaves what is there untouched.
    ///
    /// # Durability
    ///
    /// The file is on disk when this answers.
    pub fn backup(&self, path: &Path) -> Result<(), KeyError> {
        let change = self.lock();
        let ring = self.ring.lock().encode();
        let table = self.state().next_table().encode();
        drop(change);
        let table = table.map_err(|source| table_error(self.dir.as_deref(), source))?;
        let bytes = write(ring.as_bytes(), &table)
            .ok_or_else(|| KeyError::malformed(path, 0, "the keys are too many for one file"))?;
        create_file(path, &bytes)?;
        sync_folder_of(path)
    }

    /// Makes a key folder from what [`KeyStore::backup`] wrote; there must be none.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] for a file that is not a whole backup, [`KeyError::Exists`].
    pub fn restore(backup: &Path, dir: &Path) -> Result<(), KeyError> {
        let bytes = read_file(backup, OVERHEAD + MAX_RING_LEN + MAX_TABLE_LEN)?
            .ok_or_else(|| KeyError::io("read", backup, std::io::ErrorKind::NotFound.into()))?;
        let (ring, table) = read(backup, &bytes)?;
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(KeyError::Exists {
                path: dir.to_owned(),
            });
        }
        install_folder(dir, &[(RING, ring), (TABLE, table)])
    }
}

/// Ring and table as one file; `None` if they are too long for one.
pub(super) fn write(ring: &[u8], table: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let room = OVERHEAD + ring.len() + table.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    bytes.extend_from_slice(MAGIC);
    for part in [ring, table] {
        let length = u32::try_from(part.len()).ok()?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let checksum: [u8; CHECKSUM_LEN] = Sha256::digest(&*bytes).into();
    bytes.extend_from_slice(&checksum);
    Some(bytes)
}

/// Ring and table of a backup, which are whole and of one log.
pub(super) fn read<'b>(path: &Path, bytes: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), KeyError> {
    let bad = || KeyError::malformed(path, 0, "it is not a whole backup of keys");
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(bad)?;
    let computed: [u8; CHECKSUM_LEN] = Sha256::digest(body).into();
    if computed != *checksum {
        return Err(bad());
    }
    let rest = body.strip_prefix(MAGIC).ok_or_else(bad)?;
    let (ring, rest) = part(rest).ok_or_else(bad)?;
    let (table, rest) = part(rest).ok_or_else(bad)?;
    let read = Ring::decode(path, ring)?;
    let fits = KeyTable::decode(table).is_ok_and(|table| *table.log_id() == read.log_id);
    if !rest.is_empty() || !fits {
        return Err(bad());
    }
    Ok((ring, table))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
