//! Folds for tests.

use runstone_store::{Fold, FoldError, FoldRecord, Payload, RowValue, Rows, TypedRow};
use std::sync::Arc;

/// Counts events of each type and payload bytes of each stream. An event `data.cleared` removes
/// the row of its stream.
///
/// ```text
/// 't' TYPE    events, u64
/// 's' STREAM  payload bytes, u64, since the stream was cleared
/// ```
#[derive(Debug)]
pub struct Tally {
    version: u32,
}

impl Tally {
    /// Removes the row of its stream.
    pub const CLEARED: &str = "data.cleared";

    /// The fold; in another version than 1 it counts double.
    pub fn new(version: u32) -> Self {
        Self { version }
    }

    /// Key of the row of a type.
    pub fn type_key(event_type: &str) -> Vec<u8> {
        format!("t{event_type}").into_bytes()
    }

    /// Key of the row of a stream.
    pub fn stream_key(stream: &str) -> Vec<u8> {
        format!("s{stream}").into_bytes()
    }

    /// What a row says.
    pub fn number(row: &[u8]) -> u64 {
        u64::from_be_bytes(row.try_into().unwrap())
    }

    fn add(rows: &mut dyn Rows, key: &[u8], more: u64) -> Result<(), FoldError> {
        let before = rows.get(key)?.map_or(0, |row| Self::number(&row));
        rows.put(key, (before + more).to_be_bytes().to_vec());
        Ok(())
    }
}

impl Fold for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let header = record.header;
        let unit = u64::from(self.version);
        Self::add(rows, &Self::type_key(&header.event_type), unit)?;
        let key = Self::stream_key(&header.stream);
        if header.event_type == Self::CLEARED {
            rows.remove(&key);
            return Ok(());
        }
        match record.payload() {
            Payload::Open(bytes) => Self::add(rows, &key, unit * bytes.len() as u64),
            other => Err(FoldError::Undecodable(format!("{other:?}"))),
        }
    }
}

/// What [`Typed`] puts.
#[derive(Clone, Copy, Debug)]
struct Count(u64);

impl TypedRow for Count {
    fn encode(&self) -> Result<Vec<u8>, FoldError> {
        Ok(self.0.to_be_bytes().to_vec())
    }
}

/// A row that cannot be encoded.
#[derive(Debug)]
struct Unwritable {
    panics: bool,
}

impl TypedRow for Unwritable {
    fn encode(&self) -> Result<Vec<u8>, FoldError> {
        assert!(!self.panics, "a row that panics");
        Err(FoldError::Row("no bytes".to_owned()))
    }
}

/// Counts events of the namespace `data` by type, and those of each stream, as [`Tally`] counts types, but
/// in rows that are encoded late. It stops at [`Fragile::POISON`].
#[derive(Debug)]
pub struct Typed;

impl Typed {
    /// The type of an event of which it makes a row without bytes.
    pub const UNWRITABLE: &str = "data.unwritable";
    /// The type of an event of which it makes a row that panics.
    pub const PANICKING: &str = "data.panicking";

    /// What a row says that a decision finds.
    pub fn number(row: &RowValue) -> u64 {
        let typed = row.downcast_ref::<Count>();
        typed.map_or_else(|| Tally::number(&row.bytes().unwrap()), |count| count.0)
    }

    fn add(rows: &mut dyn Rows, key: &[u8]) -> Result<(), FoldError> {
        let before = rows.value(key)?.as_ref().map_or(0, Self::number);
        rows.put_row(key, Arc::new(Count(before + 1)))
    }
}

impl Fold for Typed {
    fn name(&self) -> &'static str {
        "typed"
    }

    fn version(&self) -> u32 {
        1
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["nothing", "data"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let header = record.header;
        if matches!(
            header.event_type.as_str(),
            Self::UNWRITABLE | Self::PANICKING
        ) {
            let panics = header.event_type == Self::PANICKING;
            return rows.put_row(b"u", Arc::new(Unwritable { panics }));
        }
        Self::add(rows, &Tally::type_key(&header.event_type))?;
        let key = Tally::stream_key(&header.stream);
        if header.event_type == Tally::CLEARED {
            rows.remove(&key);
        } else {
            Self::add(rows, &key)?;
        }
        if header.event_type == Fragile::POISON {
            return Err(FoldError::Undecodable("poison".to_owned()));
        }
        Ok(())
    }
}

/// Counts events until it meets one that it cannot take in.
#[derive(Debug)]
pub struct Fragile {
    panics: bool,
}

impl Fragile {
    /// The type that it cannot take in.
    pub const POISON: &str = "data.poison";
    /// The key of its only row.
    pub const KEY: &[u8] = b"n";

    /// Answers the event with an error.
    pub fn refusing() -> Self {
        Self { panics: false }
    }

    /// Panics at the event.
    pub fn panicking() -> Self {
        Self { panics: true }
    }
}

impl Fold for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        Tally::add(rows, Self::KEY, 1)?;
        if record.header.event_type != Self::POISON {
            return Ok(());
        }
        assert!(!self.panics, "a fold that panics");
        Err(FoldError::Undecodable("poison".to_owned()))
    }
}

/// Keeps the revision and the content of every stream's last event, as a careless fold does.
#[derive(Debug)]
pub struct Last;

impl Fold for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let mut row = record.revision.get().to_be_bytes().to_vec();
        match record.payload() {
            Payload::Open(bytes) => row.extend(bytes),
            Payload::Erased | Payload::Withheld => row.extend(b"erased"),
            _ => return Ok(()),
        }
        rows.put(record.header.stream.as_bytes(), row);
        Ok(())
    }
}
