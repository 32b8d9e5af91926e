//! What an owner of a namespace proposes: an event, its control and the digests to be keyed.

use super::NewEvent;
use crate::control::Control;

/// An event as a command or an importer proposes it. The log fills in what only it can: keyed
/// digests, for which it holds the lookup key of the event's scope.
#[derive(Debug, Clone)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by the crates that own a namespace"
)]
pub struct Draft {
    /// The event.
    pub event: NewEvent,
    /// Its control, empty for most.
    pub control: Control,
    /// Digests to compute and to put into tags or control.
    pub keyed: Vec<Keyed>,
}

/// A digest under the scope's lookup key: HMAC-SHA256 over `DS(label)` and the parts joined by zero
/// bytes, cut to 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by the crates that own a namespace"
)]
pub struct Keyed {
    /// Where the digest goes.
    pub target: KeyedTarget,
    /// The label of the domain separator.
    pub label: String,
    /// What is digested.
    pub parts: Vec<Vec<u8>>,
}

/// Where a keyed digest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the writer must handle every target"
)]
pub enum KeyedTarget {
    /// A tag with this key; its value is the digest in hexadecimal.
    Tag(String),
    /// A control field, as 16 bytes.
    Control(u16),
}

impl Draft {
    /// A draft without control and keyed digests.
    pub fn new(event: NewEvent) -> Self {
        Self {
            event,
            control: Control::new(),
            keyed: Vec::new(),
        }
    }

    /// Sets the control.
    #[must_use]
    pub fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Adds a keyed digest.
    #[must_use]
    pub fn keyed(mut self, keyed: Keyed) -> Self {
        self.keyed.push(keyed);
        self
    }
}

impl Keyed {
    /// A digest for a tag.
    pub fn tag<P: Into<Vec<u8>>>(
        key: impl Into<String>,
        label: impl Into<String>,
        parts: impl IntoIterator<Item = P>,
    ) -> Self {
        Self::new(KeyedTarget::Tag(key.into()), label, parts)
    }

    /// A digest for a control field.
    pub fn control<P: Into<Vec<u8>>>(
        field: u16,
        label: impl Into<String>,
        parts: impl IntoIterator<Item = P>,
    ) -> Self {
        Self::new(KeyedTarget::Control(field), label, parts)
    }

    fn new<P: Into<Vec<u8>>>(
        target: KeyedTarget,
        label: impl Into<String>,
        parts: impl IntoIterator<Item = P>,
    ) -> Self {
        Self {
            target,
            label: label.into(),
            parts: parts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<NewEvent> for Draft {
    fn from(event: NewEvent) -> Self {
        Self::new(event)
    }
}
