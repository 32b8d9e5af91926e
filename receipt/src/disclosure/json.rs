//! The one encoding of a disclosure: RFC 8785.
//!
//! Canonical JSON sorts members and writes strings with the fewest escapes and integers without
//! exponent. `serde_json` writes compact JSON with those escapes, and the members of the structs
//! here stand in that order; numbers stay below 2^53.

use core::fmt;

use runstone_codec::hash::Digest32;
use serde::{Deserialize, Serialize};

use super::{DisclosedField, Disclosure, DisclosureError, MAX_DISCLOSURE_LEN};
use crate::base64;

const FORMAT: &str = "runstone/disclosure@v1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    disclosed: Vec<Item>,
    format: String,
    position: u64,
    segments: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    index: u32,
    name: String,
    path: Vec<String>,
    salt: String,
    value: String,
}

impl Disclosure {
    /// Reads a disclosure.
    ///
    /// # Errors
    ///
    /// [`DisclosureError`] for any bytes that encoding would not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, DisclosureError> {
        if bytes.len() > MAX_DISCLOSURE_LEN {
            return Err(DisclosureError::TooLong {
                limit: MAX_DISCLOSURE_LEN,
                found: bytes.len(),
            });
        }
        let file: File = serde_json::from_slice(bytes).map_err(|error| DisclosureError::Json {
            line: error.line(),
            column: error.column(),
        })?;
        if file.format != FORMAT {
            return Err(DisclosureError::Format);
        }
        let items = file.disclosed.into_iter().enumerate();
        let disclosed: Result<Vec<_>, _> = items.map(|(at, item)| item.read(at)).collect();
        let read = Self {
            position: file.position,
            segments: file.segments,
            disclosed: disclosed?,
        };
        let read = read.check()?;
        if read.encode() == bytes {
            Ok(read)
        } else {
            Err(DisclosureError::NotCanonical)
        }
    }

    /// The disclosure's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl Item {
    fn read(self, item: usize) -> Result<DisclosedField, DisclosureError> {
        let bad = |part: &'static str| DisclosureError::Base64 {
            item,
            part: part.into(),
        };
        let hash = |text: &String| base64::decode_hash(text);
        let path: Option<Vec<Digest32>> = self.path.iter().map(hash).collect();
        Ok(DisclosedField {
            index: self.index,
            name: self.name,
            value: base64::decode(&self.value).ok_or_else(|| bad("value"))?,
            salt: hash(&self.salt).ok_or_else(|| bad("salt"))?,
            path: path.ok_or_else(|| bad("path"))?,
        })
    }

    fn of(field: &DisclosedField) -> Self {
        Self {
            index: field.index,
            name: field.name.clone(),
            path: field.path.iter().map(|hash| base64::encode(hash)).collect(),
            salt: base64::encode(&field.salt),
            value: base64::encode(&field.value),
        }
    }
}

/// The disclosure as a file.
impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = File {
            disclosed: self.disclosed.iter().map(Item::of).collect(),
            format: FORMAT.to_owned(),
            position: self.position,
            segments: self.segments,
        };
        // Strings and integers always serialize.
        let json = serde_json::to_string(&file).unwrap_or_default();
        writeln!(f, "{json}")
    }
}
