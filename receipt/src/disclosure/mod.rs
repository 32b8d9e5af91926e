//! Disclosures: some fields of a payload, or all of it, shown to somebody who has the receipt.
//!
//! ```text
//! segment = DS("seg") || salt || u16 length || name || value
//!    |  leaf hash, RFC 6962 path
//! COMMIT = SHA-256(DS("pc") || u32 segments || root), which stands in the entry
//! ```
//!
//! Other fields stay hidden, their names too, and no key leaves the house. The file is JSON in
//! exactly its canonical form (RFC 8785), members sorted, and one newline:
//!
//! ```text
//! {"disclosed":[{"index":1,"name":"amount","path":["<base64>"],"salt":"<base64>","value":"<base64>"}],
//!  "format":"runstone/disclosure@v1","position":41,"segments":3}
//! ```

mod error;
mod json;
mod make;

use core::fmt;
use std::collections::BTreeSet;

use runstone_codec::Entry;
use runstone_codec::hash::Digest32;
use runstone_codec::payload::{MAX_SEGMENTS, commitment_of_root, segment_hash};

pub use error::DisclosureError;

use crate::tree::inclusion_root;

/// Longest disclosure in bytes: a payload of 64 MiB in base64, its names, and the paths.
pub const MAX_DISCLOSURE_LEN: usize = 96 << 20;
/// Largest position of a disclosure: the largest integer that RFC 8785 carries exactly.
pub const MAX_DISCLOSURE_POSITION: u64 = (1 << 53) - 1;
/// Longest name of a field in bytes.
pub const MAX_FIELD_NAME_LEN: usize = 65_535;

/// Segments of a payload; [`MAX_SEGMENTS`] as the type that a disclosure counts in.
#[expect(clippy::cast_possible_truncation, reason = "256")]
const SEGMENTS: u32 = MAX_SEGMENTS as u32;

/// One segment that is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DisclosedField {
    index: u32,
    name: String,
    value: Vec<u8>,
    salt: Digest32,
    path: Vec<Digest32>,
}

impl DisclosedField {
    /// Its place among the segments of the payload.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its name; empty where the payload is one segment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, byte for byte as it was recorded: JSON for a field.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// Shows neither name nor value.
impl fmt::Debug for DisclosedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisclosedField")
            .field("index", &self.index)
            .field("value_bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// A disclosure, read or made but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    position: u64,
    segments: u32,
    disclosed: Vec<DisclosedField>,
}

impl Disclosure {
    /// Verifies that every field shown is a part of the payload that an entry commits to.
    ///
    /// # Errors
    ///
    /// [`DisclosureError`] at the first item that does not open the entry's COMMIT.
    pub fn verify(&self, entry: &Entry<'_>) -> Result<(), DisclosureError> {
        let (expected, found) = (entry.position().get(), self.position);
        if expected != found {
            return Err(DisclosureError::OtherPosition { expected, found });
        }
        for (item, field) in self.disclosed.iter().enumerate() {
            let hash = segment_hash(&field.salt, &field.name, &field.value).ok_or(
                DisclosureError::Name {
                    item,
                    limit: MAX_FIELD_NAME_LEN,
                },
            )?;
            let (index, segments) = (field.index.into(), self.segments.into());
            let root = inclusion_root(&hash, index, segments, &field.path)
                .map_err(|error| DisclosureError::Path { item, error })?;
            if commitment_of_root(self.segments, &root) != *entry.commit() {
                return Err(DisclosureError::Commitment { item });
            }
        }
        Ok(())
    }

    /// The rules that hold whatever entry it is of.
    fn check(self) -> Result<Self, DisclosureError> {
        if self.position > MAX_DISCLOSURE_POSITION {
            return Err(DisclosureError::Position {
                limit: MAX_DISCLOSURE_POSITION,
            });
        }
        if !(1..=SEGMENTS).contains(&self.segments) {
            return Err(DisclosureError::Segments { limit: SEGMENTS });
        }
        if self.disclosed.is_empty() {
            return Err(DisclosureError::Nothing);
        }
        let mut names = BTreeSet::new();
        let mut next = 0;
        for (item, field) in self.disclosed.iter().enumerate() {
            if !(next..self.segments).contains(&field.index) {
                return Err(DisclosureError::Index { item });
            }
            next = field.index + 1;
            if field.name.len() > MAX_FIELD_NAME_LEN {
                return Err(DisclosureError::Name {
                    item,
                    limit: MAX_FIELD_NAME_LEN,
                });
            }
            if !names.insert(&field.name) {
                return Err(DisclosureError::DuplicateName { item });
            }
        }
        Ok(self)
    }

    /// Position of the event.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many segments the payload has.
    pub fn segments(&self) -> u32 {
        self.segments
    }

    /// What is shown, in the order of the payload.
    pub fn disclosed(&self) -> &[DisclosedField] {
        &self.disclosed
    }

    /// Whether all of the payload is shown.
    pub fn is_whole(&self) -> bool {
        u32::try_from(self.disclosed.len()) == Ok(self.segments)
    }
}
