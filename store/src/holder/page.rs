//! Pages of events.

use super::wire::WireItem;
use crate::error::ReadError;
use crate::read::{Part, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::vec::IntoIter;

/// Bytes of content, and of headers where they are packed, after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// Some events, one after the other.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Page {
    /// The events.
    #[serde(rename = "items", serialize_with = "to_wire")]
    #[schemars(with = "Vec<WireItem>")]
    pub(super) parts: Vec<Part>,
    /// Where the next page begins; `null` after the last one.
    pub next: Option<u64>,
    /// The last position that the read looks at, as it was fixed when it began.
    #[serde(default)]
    pub end: Option<u64>,
    #[serde(skip)]
    events: usize,
    #[serde(skip)]
    bytes: usize,
}

fn to_wire<S: Serializer>(parts: &[Part], serializer: S) -> Result<S::Ok, S::Error> {
    let items = parts.iter().flat_map(Part::items);
    serializer.collect_seq(items.map(WireItem::from))
}

impl<'de> Deserialize<'de> for Page {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            items: Vec<WireItem>,
            next: Option<u64>,
            #[serde(default)]
            end: Option<u64>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let mut page = Self::default();
        (page.next, page.end) = (wire.next, wire.end);
        for item in wire.items {
            page.add(Part::One(item.into()));
        }
        Ok(page)
    }
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
        self.events
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events == 0
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
                Part::Shared(slice) => {
                    let shared = slice.items().iter();
                    items.extend(shared.map(|item| item.as_deref().cloned().map_err(Clone::clone)));
                }
            }
        }
        items.into_iter()
    }

    /// Ends the page before the first event that could not be read, if nobody knows where it is; answers why.
    pub(super) fn cut(&mut self) -> Option<ReadError> {
        let lost = self.parts.iter().position(|part| part.last().is_none())?;
        let mut why = None;
        for part in self.parts.split_off(lost) {
            self.events -= part.len();
            self.bytes -= part.bytes();
            if let (None, Part::One(Err(error))) = (&why, part) {
                why = Some(error);
            }
        }
        why
    }

    /// The position of the last one.
    pub(super) fn last(&self) -> Option<u64> {
        self.parts.last().and_then(Part::last)
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
