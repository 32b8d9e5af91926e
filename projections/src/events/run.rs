//! Beginning and end of a run.

use runstone_codec::{Control, Keyed, TypedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::control;

/// A run, or a sub-agent's part of one, begins. It is the first event of its stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunStarted {
    /// What runs.
    pub name: String,
    /// What it is given to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub input: Option<Box<RawValue>>,
    /// What it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// JSON Schema of what it is to give back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub output_schema: Option<Box<RawValue>>,
    /// The settings in force when it began; an imported run has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsInForce>,
    /// The imported record, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub original: Option<Box<RawValue>>,
}

impl RunStarted {
    /// The control of this event: the stream of the run that spawned it, if one did.
    pub fn control(parent: Option<&str>) -> Control {
        parent.map_or_else(Control::new, |stream| {
            Control::new().text(control::PARENT, stream)
        })
    }

    /// The digest by which runs of one name are known as such, without it.
    pub fn keyed(&self) -> Keyed {
        Keyed::control(
            control::RUN_NAME,
            control::RUN_NAME_LABEL,
            [self.name.as_bytes()],
        )
    }
}

impl TypedEvent for RunStarted {
    const TYPE: &'static str = "run.started";
    const VERSION: u32 = 1;
}

/// A run waits for somebody.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunPaused {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The approval that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
}

impl TypedEvent for RunPaused {
    const TYPE: &'static str = "run.paused";
    const VERSION: u32 = 1;
}

/// Somebody goes on with a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunResumed {}

impl TypedEvent for RunResumed {
    const TYPE: &'static str = "run.resumed";
    const VERSION: u32 = 1;
}

/// The holder goes on, and is in another process than the log: nothing else tells that it lives.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunLeaseRenewed {}

impl TypedEvent for RunLeaseRenewed {
    const TYPE: &'static str = "run.lease_renewed";
    const VERSION: u32 = 1;
}

/// A run goes on from a point of another one, which it shares up to there. It is the first event of
/// its stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunForked {
    /// What runs; none if that of the other run was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The settings in force when it was forked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsInForce>,
}

impl RunForked {
    /// The control of this event: the stream that it was forked from, and the last position that it
    /// shares with it.
    pub fn control(parent: &str, at: u64) -> Control {
        Control::new()
            .text(control::FORK_OF, parent)
            .u64(control::FORK_AT, at)
    }
}

impl TypedEvent for RunForked {
    const TYPE: &'static str = "run.forked";
    const VERSION: u32 = 1;
}

/// Session and steps of a run are again as they were after a position. What was called, spent and
/// approved since then stays so.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunRolledBack {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RunRolledBack {
    /// The control of this event: the position, and the fence of who holds the run, if he did it.
    pub fn control(to: u64, fence: Option<u64>) -> Control {
        let control = Control::new().u64(control::BACK_TO, to);
        match fence {
            Some(fence) => control.u64(control::BACK_FENCE, fence),
            None => control,
        }
    }
}

impl TypedEvent for RunRolledBack {
    const TYPE: &'static str = "run.rolled_back";
    const VERSION: u32 = 1;
}

/// Which settings were in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct SettingsInForce {
    /// Position of the `log.configured` that recorded them; absent for the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// SHA-256 over their canonical JSON, in hexadecimal.
    pub sha256: String,
}

/// A run ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a run"
)]
pub struct RunFinished {
    /// `success`, `error`, `cancelled`, `terminal` or `escalated`. It stands in control too, so it
    /// is a word of a few, never free text.
    pub status: String,
    /// What the run gave back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub value: Option<Box<RawValue>>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RunFinished {
    /// The control of this event: its status.
    pub fn control(&self) -> Control {
        Control::new().text(control::STATUS, self.status.as_str())
    }
}

impl TypedEvent for RunFinished {
    const TYPE: &'static str = "run.finished";
    const VERSION: u32 = 1;
}
