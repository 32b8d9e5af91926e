//! Pages of events.

use super::wire::WireItem;
use crate::error::ReadError;
use crate::read::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Bytes of content after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// An event, or what is wrong with it.
pub(super) type Item = Result<Arc<Record>, ReadError>;

/// Some events, one after the other.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Page {
    /// The events.
    #[serde(serialize_with = "to_wire", deserialize_with = "from_wire")]
    #[schemars(with = "Vec<WireItem>")]
    pub items: Vec<Item>,
    /// Where the next page begins; `null` after the last one.
    pub next: Option<u64>,
    /// The last position that the read looks at, as it was fixed when it began.
    #[serde(default)]
    pub end: Option<u64>,
    #[serde(skip)]
    bytes: usize,
}

fn to_wire<S: Serializer>(items: &[Item], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(WireItem::from))
}

fn from_wire<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    let items = Vec::<WireItem>::deserialize(deserializer)?;
    Ok(items.into_iter().map(Item::from).collect())
}

impl Page {
    /// Events of one page, at most.
    pub const EVENTS: usize = 512;

    /// Adds an event, or what is wrong with it.
    pub fn push(&mut self, item: Item) {
        if let Ok(record) = &item {
            self.bytes += record.payload.bytes().map_or(0, <[u8]>::len);
        }
        self.items.push(item);
    }

    /// Its events, each as one's own.
    pub fn into_records(self) -> impl Iterator<Item = Result<Record, ReadError>> {
        let items = self.items.into_iter();
        items.map(|item| item.map(Arc::unwrap_or_clone))
    }

    /// Whether it has as much as a page has.
    pub fn is_full(&self) -> bool {
        self.items.len() >= Self::EVENTS || self.bytes >= PAGE_BYTES
    }

    /// Bytes of its content.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
