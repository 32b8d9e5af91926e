//! What is asked of a log, and what it answers.

use crate::options::Durability;
use crate::query::Query;
use runstone_codec::{NewEvent, Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Optimistic check on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expected {
    /// No check.
    #[default]
    Any,
    /// The stream must not exist.
    #[serde(rename = "none")]
    NoStream,
    /// The stream's last revision must be this one.
    #[serde(rename = "revision")]
    Exact(u64),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => out.write_str("any"),
            Self::NoStream => out.write_str("none"),
            Self::Exact(revision) => write!(out, "{revision}"),
        }
    }
}

/// Fails an append if an event matches `query` after position `after` (exclusive; `None`: any).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Condition {
    /// What must not be there.
    pub query: Query,
    /// Only later events count.
    pub after: Option<u64>,
}

impl Condition {
    /// No event may match `query`.
    pub fn none(query: Query) -> Self {
        Self { query, after: None }
    }

    /// No event after `after` may match `query`.
    pub fn none_after(query: Query, after: Position) -> Self {
        Self {
            query,
            after: Some(after.get()),
        }
    }
}

/// Events that are recorded together or not at all.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Append {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// Checks on streams.
    pub expected: Vec<(String, Expected)>,
    /// Checks on what must not be recorded.
    pub conditions: Vec<Condition>,
    /// Overrides the log's durability.
    pub durability: Option<Durability>,
}

impl Append {
    /// Events without any check.
    pub fn new(events: impl IntoIterator<Item = NewEvent>) -> Self {
        Self {
            events: events.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds a check on a stream.
    #[must_use]
    pub fn expect(mut self, stream: impl Into<String>, expected: Expected) -> Self {
        self.expected.push((stream.into(), expected));
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Overrides the log's durability.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}

impl From<NewEvent> for Append {
    fn from(event: NewEvent) -> Self {
        Self::new([event])
    }
}

/// Answer to an append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Appended {
    /// Position of the first event.
    pub first: Position,
    /// Position of the last event.
    pub last: Position,
    /// Ids of the events, in order.
    #[schemars(with = "Vec<String>")]
    pub ids: Vec<Uuid>,
    /// The events were recorded by an earlier call; this one changed nothing.
    pub duplicate: bool,
    /// Whether the answer was given after the fsync.
    pub durability: Durability,
}

/// Answer to an import of one record: known events are left as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Imported {
    /// Events added.
    pub added: usize,
    /// Events known before, with equal content.
    pub skipped: usize,
}
