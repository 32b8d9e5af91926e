//! What folds look at.

use crate::events::control::IMPORTED;
use runstone_codec::{Control, Header};
use runstone_store::{FoldRecord, Record};

/// Everything of a record but its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) position: u64,
    pub(crate) recorded_at_us: u64,
    pub(crate) header: &'a Header,
    pub(crate) control: &'a Control,
}

impl Seen<'_> {
    /// Whether it was recorded elsewhere.
    pub(crate) fn is_imported(&self) -> bool {
        is_imported(self.header)
    }
}

impl<'a> From<&FoldRecord<'a>> for Seen<'a> {
    fn from(record: &FoldRecord<'a>) -> Self {
        Self {
            position: record.position.get(),
            recorded_at_us: record.recorded_at_us,
            header: record.header,
            control: record.control,
        }
    }
}

impl<'a> From<&'a Record> for Seen<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            position: record.position.get(),
            recorded_at_us: record.recorded_at_us,
            header: &record.header,
            control: &record.control,
        }
    }
}

/// Whether an event was recorded elsewhere. Owned namespaces are written by commands and importers
/// only, and every importer sets the tag.
pub(crate) fn is_imported(header: &Header) -> bool {
    says_imported(&header.tags)
}

/// Whether one of these tags says so.
pub(crate) fn says_imported(tags: &[impl AsRef<str>]) -> bool {
    let mut keys = tags.iter().filter_map(|tag| tag.as_ref().split_once(':'));
    keys.any(|(key, _)| key == IMPORTED)
}
