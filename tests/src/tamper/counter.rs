//! A fold that counts, and fails where it is told.

use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// A fold with a name, a version and a place where it fails.
#[derive(Debug)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// Version of its rows.
    pub version: u32,
    /// The position where it fails.
    pub fails_at: Option<u64>,
    /// Whether it panics there.
    pub panics: bool,
}

impl Counter {
    /// One that never fails.
    pub fn new(name: &'static str, version: u32) -> Self {
        Self {
            name,
            version,
            fails_at: None,
            panics: false,
        }
    }
}

impl Fold for Counter {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        if self.fails_at == Some(record.position.get()) {
            assert!(!self.panics, "told to");
            return Err(FoldError::Undecodable("told to".to_owned()));
        }
        let before = rows.get(b"events")?.map_or(0, |row| row[0]);
        rows.put(b"events", vec![before.wrapping_add(1)]);
        Ok(())
    }
}
