//! A JSON value whose copies share what has not changed since.
//!
//! ```text
//!  copy ----+                                      a copy costs a pointer;
//!           v                                      a change after it the members of the objects on its
//!  root --> { messages: [chunk][chunk][ch.. }      way, the list of chunks, and the items of the last
//! ```

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Items of a chunk, but for the last one of an array.
const CHUNK: usize = 64;
/// Bytes of a member of an object, or of a chunk, that is copied, about.
const ENTRY_BYTES: u64 = 96;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// Neither an object nor an array.
    Leaf(Arc<Value>),
    Object(Arc<BTreeMap<String, Self>>),
    Array(Array),
}

/// Items. They are only added to: what lies in one is never changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Array(Arc<Vec<Arc<Vec<Value>>>>);

impl Default for Tree {
    fn default() -> Self {
        Self::Object(Arc::default())
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(members) => {
                let members = members.into_iter();
                let members = members.map(|(name, value)| (name, Self::from(value)));
                Self::Object(Arc::new(members.collect()))
            }
            Value::Array(items) => {
                let mut array = Array::default();
                array.extend(items);
                Self::Array(array)
            }
            leaf => Self::Leaf(Arc::new(leaf)),
        }
    }
}

impl Tree {
    pub(super) fn null() -> Self {
        Self::from(Value::Null)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Leaf(leaf) if leaf.is_null())
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Leaf(leaf) => Value::clone(leaf),
            Self::Object(members) => {
                let members = members.iter();
                let members = members.map(|(name, tree)| (name.clone(), tree.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Self::Array(array) => Value::Array(array.iter().cloned().collect()),
        }
    }

    /// Applies a merge patch (RFC 7396).
    pub(super) fn patch(&mut self, patch: &Value) {
        let Value::Object(changes) = patch else {
            *self = Self::from(patch.clone());
            return;
        };
        if !matches!(self, Self::Object(_)) {
            *self = Self::default();
        }
        let Self::Object(members) = self else {
            return;
        };
        let members = Arc::make_mut(members);
        for (name, change) in changes {
            if change.is_null() {
                members.remove(name);
            } else {
                let member = members.entry(name.clone()).or_insert_with(Self::null);
                member.patch(change);
            }
        }
    }

    /// Bytes, about, that changes after a copy copy at most.
    pub(super) fn own_bytes(&self) -> u64 {
        match self {
            Self::Leaf(_) => 0,
            Self::Object(members) => members.values().fold(0, |sum: u64, member| {
                sum.saturating_add(ENTRY_BYTES)
                    .saturating_add(member.own_bytes())
            }),
            Self::Array(array) => (array.0.len() as u64).saturating_mul(ENTRY_BYTES),
        }
    }
}

impl Array {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }

    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.0.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(super) fn extend(&mut self, items: impl IntoIterator<Item = Value>) {
        let chunks = Arc::make_mut(&mut self.0);
        for item in items {
            match chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
                Some(last) => Arc::make_mut(last).push(item),
                None => chunks.push(Arc::new(vec![item])),
            }
        }
    }
}

/// Chunks are full but for the last, so that they are the same if the items are.
impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(leaf) => leaf.serialize(serializer),
            Self::Object(members) => serializer.collect_map(members.iter()),
            Self::Array(array) => serializer.collect_seq(array.iter()),
        }
    }
}
