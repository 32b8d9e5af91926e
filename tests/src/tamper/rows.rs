//! The database of a log as somebody sees it who has the file and not the log.

use super::Outcome;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

/// The tables of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Entries, envelopes and heads.
    Chunks,
    /// The Merkle tree.
    Tiles,
    /// Signed checkpoints.
    Checkpoints,
    /// Postings.
    Index,
    /// Rows of folds.
    Folds,
    /// Format and how far things are.
    Meta,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Chunks,
        Self::Tiles,
        Self::Checkpoints,
        Self::Index,
        Self::Folds,
        Self::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Tiles => "tiles",
            Self::Checkpoints => "checkpoints",
            Self::Index => "index",
            Self::Folds => "folds",
            Self::Meta => "meta",
        }
    }

    fn is_numbered(self) -> bool {
        matches!(self, Self::Chunks | Self::Tiles | Self::Checkpoints)
    }
}

type Numbered<'a> = TableDefinition<'a, u64, &'static [u8]>;
type Keyed<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Key and value of a row; a number is its key in eight bytes, big-endian.
pub type Row = (Vec<u8>, Vec<u8>);

/// The database of a log, past the log: what an intruder has.
#[derive(Debug)]
pub struct RawRows(Database);

impl RawRows {
    /// Opens the file of a closed log.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn open(path: &Path) -> Outcome<Self> {
        Ok(Self(Database::open(path)?))
    }

    /// Every row of a table.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn all(&self, table: Table) -> Outcome<Vec<Row>> {
        let transaction = self.0.begin_read()?;
        let mut rows = Vec::new();
        if table.is_numbered() {
            for row in transaction
                .open_table(Numbered::new(table.name()))?
                .iter()?
            {
                let (key, value) = row?;
                rows.push((key.value().to_be_bytes().to_vec(), value.value().to_vec()));
            }
        } else {
            for row in transaction.open_table(Keyed::new(table.name()))?.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_vec(), value.value().to_vec()));
            }
        }
        Ok(rows)
    }

    /// The chunk that holds an event.
    ///
    /// # Errors
    ///
    /// If there is none, or what redb says.
    pub fn chunk(&self, position: u64) -> Outcome<ChunkParts> {
        for (_, value) in self.all(Table::Chunks)?.into_iter().rev() {
            let chunk = ChunkParts::parse(&value)?;
            if chunk.first <= position {
                return Ok(chunk);
            }
        }
        Err("no chunk holds it".into())
    }

    /// Makes a table that no log has.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn make_table(&self, name: &str) -> Outcome {
        let transaction = self.0.begin_write()?;
        drop(transaction.open_table(Numbered::new(name))?);
        transaction.commit()?;
        Ok(())
    }

    /// Writes a row, or removes it.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn set(&self, table: Table, key: &[u8], value: Option<&[u8]>) -> Outcome {
        let transaction = self.0.begin_write()?;
        if table.is_numbered() {
            let key = u64::from_be_bytes(key.try_into()?);
            let mut rows = transaction.open_table(Numbered::new(table.name()))?;
            match value {
                Some(value) => drop(rows.insert(key, value)?),
                None => drop(rows.remove(key)?),
            }
        } else {
            let mut rows = transaction.open_table(Keyed::new(table.name()))?;
            match value {
                Some(value) => drop(rows.insert(key, value)?),
                None => drop(rows.remove(key)?),
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// A chunk taken apart (docs/FORMAT.md, "Chunks"), so that it can be put together otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkParts {
    /// Position of its first event.
    pub first: u64,
    /// The head after it, maybe empty.
    pub head: Vec<u8>,
    /// Entries and envelopes.
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Bytes before the head.
const CHUNK_FIXED: usize = 20;

impl ChunkParts {
    /// Takes a chunk apart.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        let cut = |from: usize, to: usize| bytes.get(from..to).ok_or("a chunk ends too early");
        let number = |at: usize| -> Outcome<usize> {
            let four: [u8; 4] = cut(at, at + 4)?.try_into()?;
            Ok(usize::try_from(u32::from_be_bytes(four))?)
        };
        let (count, head_len) = (number(12)?, number(16)?);
        let offsets = CHUNK_FIXED + head_len;
        let body = offsets + count * 8;
        let mut events = Vec::with_capacity(count);
        let mut start = body;
        for event in 0..count {
            let entry_end = body + number(offsets + event * 8)?;
            let envelope_end = body + number(offsets + event * 8 + 4)?;
            let entry = cut(start, entry_end)?.to_vec();
            events.push((entry, cut(entry_end, envelope_end)?.to_vec()));
            start = envelope_end;
        }
        Ok(Self {
            first: u64::from_be_bytes(cut(4, 12)?.try_into()?),
            head: cut(CHUNK_FIXED, offsets)?.to_vec(),
            events,
        })
    }

    /// Puts it together.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"RC01".to_vec();
        out.extend_from_slice(&self.first.to_be_bytes());
        for len in [self.events.len(), self.head.len()] {
            out.extend_from_slice(&number_of(len));
        }
        out.extend_from_slice(&self.head);
        let mut end = 0;
        for (entry, envelope) in &self.events {
            for part in [entry, envelope] {
                end += part.len();
                out.extend_from_slice(&number_of(end));
            }
        }
        for (entry, envelope) in &self.events {
            out.extend_from_slice(entry);
            out.extend_from_slice(envelope);
        }
        out
    }
}

fn number_of(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}
