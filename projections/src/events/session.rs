//! The document of a run, changed event by event.

use runstone_codec::{Control, TypedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control;

/// The document of a run changes by a merge patch (RFC 7396).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct SessionPatched {
    /// The patch.
    pub patch: Value,
}

impl TypedEvent for SessionPatched {
    const TYPE: &'static str = "session.patched";
    const VERSION: u32 = 1;
}

/// Items are appended to an array of the document.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct SessionAppended {
    /// JSON Pointer (RFC 6901) of the array. What is missing on the way is made an object.
    pub path: String,
    /// The items, in order.
    pub items: Vec<Value>,
}

impl TypedEvent for SessionAppended {
    const TYPE: &'static str = "session.appended";
    const VERSION: u32 = 1;
}

/// The document of a run as it was after a change, so that a long session is read from here. It is
/// folded from the changes before it and says nothing of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct SessionSnapshotted {
    /// The document.
    pub document: Value,
}

impl SessionSnapshotted {
    /// The control of this event: position of the last change that the document has, how many it
    /// was folded from, and how many of them could not be read.
    pub fn control(last: u64, changes: u64, missing: u64) -> Control {
        Control::new()
            .u64(control::SNAPSHOT_LAST, last)
            .u64(control::SNAPSHOT_CHANGES, changes)
            .u64(control::SNAPSHOT_MISSING, missing)
    }
}

impl TypedEvent for SessionSnapshotted {
    const TYPE: &'static str = "session.snapshotted";
    const VERSION: u32 = 1;
}

/// Whoever held the run let go of it. It can be resumed, however that came.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct SessionEnded {
    /// `completed`, `aborted` or `error`.
    pub status: String,
    /// `completed`, `cancel`, `disconnect` or `error`.
    pub reason: String,
}

impl SessionEnded {
    /// The control of this event: status and reason.
    pub fn control(&self) -> Control {
        Control::new()
            .text(control::STATUS, self.status.as_str())
            .text(control::REASON, self.reason.as_str())
    }
}

impl TypedEvent for SessionEnded {
    const TYPE: &'static str = "session.ended";
    const VERSION: u32 = 1;
}
