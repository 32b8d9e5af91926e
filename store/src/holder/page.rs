//! Pages of events.

use super::wire::WireItem;
use crate::error::ReadError;
use crate::read::{Item, Part, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::vec::IntoIter;

/// Bytes of content after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// Some events, one after the other.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Page {
    /// The events.
    #[serde(
        rename = "items",
        serialize_with = "to_wire",
        deserialize_with = "from_wire"
    )]
    #[schemars(with = "Vec<WireItem>")]
    pub(super) parts: Vec<Part>,
    /// Where the next page begins; `null` after the last one.
    pub next: Option<u64>,
    /// The last position that the read looks at, as it was fixed when it began.
    #[serde(default)]
    pub end: Option<u64>,
    /// Events that were added.
    #[serde(skip)]
    events: usize,
    /// Bytes that were added.
    #[serde(skip)]
    bytes: usize,
}

fn to_wire<S: Serializer>(parts: &[Part], serializer: S) -> Result<S::Ok, S::Error> {
    let items = parts.iter().flat_map(Part::items);
    serializer.collect_seq(items.map(WireItem::from))
}

fn from_wire<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    let items = Vec::<WireItem>::deserialize(deserializer)?;
    Ok(items.into_iter().map(Item::from).map(Part::One).collect())
}

impl Page {
    /// Events of one page, at most.
    pub const EVENTS: usize = 512;

    /// Adds an event, or what is wrong with it.
    pub fn push(&mut self, item: Result<Record, ReadError>) {
        self.add(Part::One(item.map(Arc::new)));
    }

    pub(super) fn add(&mut self, part: Part) {
        self.events += part.len();
        self.bytes += part.bytes();
        self.parts.push(part);
    }

    /// How many events, or what is wrong with them.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its events, or what is wrong with them.
    pub fn items(&self) -> impl Iterator<Item = Result<&Record, &ReadError>> {
        let items = self.parts.iter().flat_map(Part::items);
        items.map(|item| item.as_deref())
    }

    /// Its events, or what is wrong with them, each as one's own.
    pub fn into_records(self) -> IntoIter<Result<Record, ReadError>> {
        let mut items = Vec::with_capacity(self.len());
        for part in self.parts {
            match part {
                Part::One(item) => items.push(item.map(Arc::unwrap_or_clone)),
                Part::Shared(slice) => items.extend(
                    slice
                        .items()
                        .iter()
                        .cloned()
                        .map(|item| item.map(Arc::unwrap_or_clone)),
                ),
            }
        }
        items.into_iter()
    }

    /// Whether it has as much as a page has.
    pub fn is_full(&self) -> bool {
        self.room().is_none()
    }

    /// Events and bytes that are still to be added.
    pub(super) fn room(&self) -> Option<(usize, usize)> {
        let events = Self::EVENTS.saturating_sub(self.events);
        let bytes = PAGE_BYTES.saturating_sub(self.bytes);
        (events > 0 && bytes > 0).then_some((events, bytes))
    }

    /// Bytes that were added: content, and headers where they are packed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
