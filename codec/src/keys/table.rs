//! The key table: every wrapped key of a log in one checked file.
//!
//! ```text
//! "RSKEYS01" || log_id(16) || u32 count || rows sorted by key_id || SHA-256 of all before
//! row: key_id(16) kind(1) state(1) u16 len scope u32 generation u16 len kek_id
//!      u64 created_us u64 count nonce(12) u16 len wrapped
//! ```

use sha2::{Digest, Sha256};

use super::{KeyKind, KeyRow, KeyState, NONCE_LEN};
use crate::{KeyId, LogId};

const MAGIC: &[u8; 8] = b"RSKEYS01";
const CHECKSUM_LEN: usize = 32;
const HEAD_LEN: usize = 8 + 16 + 4;
/// A row with an empty scope and one byte each of `kek_id` and wrapped key.
const MIN_ROW_LEN: usize = 16 + 1 + 1 + 2 + 4 + 2 + 1 + 8 + 8 + NONCE_LEN + 2 + 1;
const MAX_SCOPE_LEN: usize = 255;

/// Longest id of a key-encryption key in bytes.
pub const MAX_KEK_ID_LEN: usize = 255;
/// Longest wrapped key in bytes.
pub const MAX_WRAPPED_LEN: usize = 4096;
/// Longest table in bytes; a table with local providers takes some 150 bytes a row.
pub const MAX_TABLE_LEN: usize = 256 << 20;

/// Bytes that are not a key table, or rows that do not go into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The first eight bytes are not a key table's.
    #[error("the key table does not start with its format's mark")]
    Magic,
    /// Shorter than its rows say, or longer.
    #[error("the key table has a wrong length")]
    Length,
    /// Over [`MAX_TABLE_LEN`].
    #[error("the key table is over its limit of 256 MiB")]
    TooLong,
    /// The checksum does not match: torn or altered.
    #[error("the key table's checksum does not match its bytes")]
    Checksum,
    /// Two rows with one id, or rows out of order.
    #[error("the key table's row {row} is out of order")]
    Order {
        /// Its place in the table, from 0.
        row: u32,
    },
    /// A field holds a value that the format does not have.
    #[error("the key table's row {row} has a bad {field}")]
    Field {
        /// Its place in the table, from 0.
        row: u32,
        /// The field's name.
        field: &'static str,
    },
    /// Two rows where the log has one: of its operations or MAC keys, a scope's lookup keys
    /// or a scope's active data keys.
    #[error("the key table's row {row} is a second {kind} key in the same place")]
    Twice {
        /// Its place in the table, from 0.
        row: u32,
        /// The kind that stands there twice.
        kind: KeyKind,
    },
}

impl TableError {
    /// Stable machine-readable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Magic => "key_table_format",
            Self::Checksum => "key_table_checksum",
            Self::TooLong => "key_table_too_long",
            Self::Length | Self::Order { .. } | Self::Field { .. } | Self::Twice { .. } => {
                "key_table_corrupt"
            }
        }
    }
}

/// The rows of a log, sorted by key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTable {
    log_id: LogId,
    rows: Vec<KeyRow>,
}

impl KeyTable {
    /// A table without rows.
    pub fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            rows: Vec::new(),
        }
    }

    /// The log whose keys these are.
    pub fn log_id(&self) -> &LogId {
        &self.log_id
    }

    /// The rows in order of their ids.
    pub fn rows(&self) -> &[KeyRow] {
        &self.rows
    }

    /// The row of a key.
    pub fn get(&self, key_id: &KeyId) -> Option<&KeyRow> {
        self.find(key_id)
            .ok()
            .and_then(|index| self.rows.get(index))
    }

    /// Puts a row in its place and answers the one it replaces.
    pub fn insert(&mut self, row: KeyRow) -> Option<KeyRow> {
        match self.find(&row.key_id) {
            Ok(index) => self
                .rows
                .get_mut(index)
                .map(|old| core::mem::replace(old, row)),
            Err(index) => {
                self.rows.insert(index, row);
                None
            }
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, key_id: &KeyId) -> Option<KeyRow> {
        self.find(key_id).ok().map(|index| self.rows.remove(index))
    }

    fn find(&self, key_id: &KeyId) -> Result<usize, usize> {
        self.rows
            .binary_search_by(|row| row.key_id.as_bytes().cmp(key_id.as_bytes()))
    }

    /// The table's bytes.
    ///
    /// # Errors
    ///
    /// [`TableError`] when a row breaks the rules that [`KeyTable::decode`] applies.
    pub fn encode(&self) -> Result<Vec<u8>, TableError> {
        check_rows(&self.rows)?;
        let count = u32::try_from(self.rows.len()).map_err(|_| TableError::TooLong)?;
        let length: usize = self.rows.iter().map(row_len).sum();
        let total = HEAD_LEN.saturating_add(length).saturating_add(CHECKSUM_LEN);
        if total > MAX_TABLE_LEN {
            return Err(TableError::TooLong);
        }
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(self.log_id.as_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        for row in &self.rows {
            out.extend_from_slice(row.key_id.as_bytes());
            out.push(row.kind.as_u8());
            out.push(row.state.as_u8());
            put_bytes(&mut out, row.scope.as_bytes())?;
            out.extend_from_slice(&row.generation.to_be_bytes());
            put_bytes(&mut out, row.kek_id.as_bytes())?;
            out.extend_from_slice(&row.created_us.to_be_bytes());
            out.extend_from_slice(&row.count.to_be_bytes());
            out.extend_from_slice(&row.nonce);
            put_bytes(&mut out, &row.wrapped)?;
        }
        let checksum: [u8; CHECKSUM_LEN] = Sha256::digest(&out).into();
        out.extend_from_slice(&checksum);
        Ok(out)
    }

    /// Reads a table; the bytes must be exactly what [`KeyTable::encode`] writes.
    ///
    /// # Errors
    ///
    /// [`TableError`] naming the first row that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        if bytes.len() > MAX_TABLE_LEN {
            return Err(TableError::TooLong);
        }
        if bytes.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(TableError::Magic);
        }
        let end = bytes
            .len()
            .checked_sub(CHECKSUM_LEN)
            .ok_or(TableError::Length)?;
        let (body, checksum) = bytes.split_at_checked(end).ok_or(TableError::Length)?;
        let computed: [u8; CHECKSUM_LEN] = Sha256::digest(body).into();
        if computed != checksum {
            return Err(TableError::Checksum);
        }
        let mut reader = Reader(body);
        reader.take(MAGIC.len())?;
        let log_id = LogId::from_bytes(reader.array()?);
        let count = reader.u32()?;
        // Bounds the allocation: a count the bytes cannot hold is refused first.
        let rows_len = usize::try_from(count).map_err(|_| TableError::Length)?;
        if rows_len > reader.0.len() / MIN_ROW_LEN {
            return Err(TableError::Length);
        }
        let mut rows = Vec::with_capacity(rows_len);
        for index in 0..count {
            rows.push(reader.row(index)?);
        }
        if !reader.0.is_empty() {
            return Err(TableError::Length);
        }
        check_rows(&rows)?;
        Ok(Self { log_id, rows })
    }
}

fn row_len(row: &KeyRow) -> usize {
    // The minimum counts one byte each of `kek_id` and wrapped key.
    MIN_ROW_LEN - 2 + row.scope.len() + row.kek_id.len() + row.wrapped.len()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TableError> {
    let length = u16::try_from(bytes.len()).map_err(|_| TableError::Length)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn is_name(text: &str, lengths: core::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && !text.chars().any(char::is_control)
}

fn check_rows(rows: &[KeyRow]) -> Result<(), TableError> {
    let mut places = std::collections::BTreeSet::new();
    let mut last: Option<&KeyId> = None;
    for (row, index) in rows.iter().zip(0_u32..) {
        let bad = |field| TableError::Field { row: index, field };
        if last.is_some_and(|last| last.as_bytes() >= row.key_id.as_bytes()) {
            return Err(TableError::Order { row: index });
        }
        last = Some(&row.key_id);
        let scope_lengths = if row.kind.is_scoped() {
            1..=MAX_SCOPE_LEN
        } else {
            0..=0
        };
        if !is_name(&row.scope, scope_lengths) {
            return Err(bad("scope"));
        }
        if !is_name(&row.kek_id, 1..=MAX_KEK_ID_LEN) {
            return Err(bad("kek_id"));
        }
        if row.wrapped.is_empty() || row.wrapped.len() > MAX_WRAPPED_LEN {
            return Err(bad("wrapped key"));
        }
        if row.kind != KeyKind::Data && row.state != KeyState::Active {
            return Err(bad("state"));
        }
        if row.state == KeyState::Active && !places.insert((row.kind, row.scope.as_str())) {
            return Err(TableError::Twice {
                row: index,
                kind: row.kind,
            });
        }
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TableError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TableError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TableError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(TableError::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, TableError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, TableError> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], TableError> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn row(&mut self, index: u32) -> Result<KeyRow, TableError> {
        let bad = |field| TableError::Field { row: index, field };
        let text = |bytes: &[u8], field| {
            String::from_utf8(bytes.to_vec()).map_err(|_| TableError::Field { row: index, field })
        };
        let id = KeyId::from_bytes(self.array()?);
        let [kind, state] = self.array()?;
        let kind = KeyKind::from_u8(kind).ok_or_else(|| bad("kind"))?;
        let state = KeyState::from_u8(state).ok_or_else(|| bad("state"))?;
        let scope = text(self.bytes()?, "scope")?;
        let generation = self.u32()?;
        let kek = text(self.bytes()?, "kek_id")?;
        let created_us = self.u64()?;
        let count = self.u64()?;
        let nonce = self.array()?;
        let wrapped = self.bytes()?.to_vec();
        Ok(KeyRow {
            key_id: id,
            kind,
            scope,
            generation,
            kek_id: kek,
            created_us,
            count,
            state,
            nonce,
            wrapped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u8, kind: KeyKind, scope: &str, state: KeyState) -> KeyRow {
        KeyRow {
            key_id: KeyId::from_bytes([id; 16]),
            kind,
            scope: scope.into(),
            generation: u32::from(id),
            kek_id: "kek-1".into(),
            created_us: 1_700_000_000_000_000,
            count: 3,
            state,
            nonce: [id; NONCE_LEN],
            wrapped: vec![id; 48],
        }
    }

    fn table() -> KeyTable {
        let mut table = KeyTable::new(LogId::from_bytes([0xaa; 16]));
        for row in [
            row(3, KeyKind::Data, "b", KeyState::Active),
            row(1, KeyKind::Data, "a", KeyState::Retired),
            row(2, KeyKind::Data, "a", KeyState::Active),
            row(4, KeyKind::Lookup, "a", KeyState::Active),
            row(5, KeyKind::Operations, "", KeyState::Active),
            row(6, KeyKind::Mac, "", KeyState::Active),
        ] {
            assert_eq!(table.insert(row), None);
        }
        table
    }

    fn resum(bytes: &mut Vec<u8>) {
        bytes.truncate(bytes.len() - CHECKSUM_LEN);
        let checksum: [u8; 32] = Sha256::digest(&*bytes).into();
        bytes.extend_from_slice(&checksum);
    }

    #[test]
    fn bytes_are_pinned() {
        let mut table = KeyTable::new(LogId::from_bytes([0xaa; 16]));
        table.insert(row(7, KeyKind::Data, "s", KeyState::Retired));
        let mut expected = b"RSKEYS01".to_vec();
        expected.extend([0xaa; 16]);
        expected.extend([0, 0, 0, 1]);
        expected.extend([7; 16]);
        expected.extend([0, 1, 0, 1, b's', 0, 0, 0, 7, 0, 5]);
        expected.extend(b"kek-1");
        expected.extend(1_700_000_000_000_000_u64.to_be_bytes());
        expected.extend(3_u64.to_be_bytes());
        expected.extend([7; 12]);
        expected.extend([0, 48]);
        expected.extend([7; 48]);
        let checksum: [u8; 32] = Sha256::digest(&expected).into();
        expected.extend(checksum);
        assert_eq!(table.encode().unwrap(), expected);
    }

    #[test]
    fn tables_round_trip_and_keep_order() {
        let table = table();
        let bytes = table.encode().unwrap();
        let read = KeyTable::decode(&bytes).unwrap();
        assert_eq!(read, table);
        assert!(
            read.rows()
                .windows(2)
                .all(|w| w[0].key_id.as_bytes() < w[1].key_id.as_bytes())
        );
        assert_eq!(
            read.get(&KeyId::from_bytes([4; 16])).unwrap().kind,
            KeyKind::Lookup
        );
        let empty = KeyTable::new(LogId::from_bytes([1; 16]));
        assert_eq!(KeyTable::decode(&empty.encode().unwrap()).unwrap(), empty);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let bytes = table().encode().unwrap();
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x40;
            assert!(KeyTable::decode(&flipped).is_err(), "byte {index}");
            assert!(KeyTable::decode(&bytes[..index]).is_err(), "cut at {index}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(KeyTable::decode(&longer), Err(TableError::Checksum));
    }

    #[test]
    fn a_right_checksum_over_wrong_bytes_is_refused_without_panic() {
        let bytes = table().encode().unwrap();
        let mut refused = 0;
        for index in 0..bytes.len() - CHECKSUM_LEN {
            for value in [0x00, 0x7f, 0xff] {
                let mut altered = bytes.clone();
                altered[index] = value;
                resum(&mut altered);
                if let Ok(read) = KeyTable::decode(&altered) {
                    assert_eq!(read.encode().unwrap(), altered, "byte {index}");
                } else {
                    refused += 1;
                }
            }
        }
        assert!(refused > 50, "{refused}");
        let mut huge = bytes.clone();
        huge[24..28].copy_from_slice(&[0xff; 4]);
        resum(&mut huge);
        assert_eq!(KeyTable::decode(&huge), Err(TableError::Length));
    }

    #[test]
    fn rows_that_break_the_rules_are_neither_written_nor_read() {
        let cases: [(KeyRow, TableError); 6] = [
            (
                row(9, KeyKind::Mac, "", KeyState::Active),
                TableError::Twice {
                    row: 6,
                    kind: KeyKind::Mac,
                },
            ),
            (
                row(9, KeyKind::Data, "b", KeyState::Active),
                TableError::Twice {
                    row: 6,
                    kind: KeyKind::Data,
                },
            ),
            (
                row(9, KeyKind::Lookup, "b", KeyState::Retired),
                TableError::Field {
                    row: 6,
                    field: "state",
                },
            ),
            (
                row(9, KeyKind::Data, "", KeyState::Active),
                TableError::Field {
                    row: 6,
                    field: "scope",
                },
            ),
            (
                KeyRow {
                    kek_id: "a\n".into(),
                    ..row(9, KeyKind::Data, "c", KeyState::Active)
                },
                TableError::Field {
                    row: 6,
                    field: "kek_id",
                },
            ),
            (
                KeyRow {
                    wrapped: vec![],
                    ..row(9, KeyKind::Data, "c", KeyState::Active)
                },
                TableError::Field {
                    row: 6,
                    field: "wrapped key",
                },
            ),
        ];
        for (row, error) in cases {
            let mut table = table();
            table.insert(row);
            assert_eq!(table.encode(), Err(error));
        }
    }

    #[test]
    fn rows_are_replaced_and_removed_by_id() {
        let mut table = table();
        let id = KeyId::from_bytes([2; 16]);
        let retired = KeyRow {
            state: KeyState::Retired,
            ..table.get(&id).unwrap().clone()
        };
        assert_eq!(table.insert(retired).unwrap().state, KeyState::Active);
        assert_eq!(table.get(&id).unwrap().state, KeyState::Retired);
        assert_eq!(table.remove(&id).unwrap().key_id, id);
        assert_eq!(table.remove(&id), None);
        assert_eq!(table.rows().len(), 5);
    }
}
