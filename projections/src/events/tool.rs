//! Calls of tools.

use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A tool is called.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a call"
)]
pub struct ToolCallRequested {
    /// Id of the call. Models reuse ids within a run: the causation of a result says which call
    /// it answers.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, byte for byte: JSON, or a string where there is no valid JSON.
    #[schemars(with = "Value")]
    pub arguments: Box<RawValue>,
}

impl TypedEvent for ToolCallRequested {
    const TYPE: &'static str = "tool.call.requested";
    const VERSION: u32 = 1;
}

/// A tool answered. Its causation is the call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a call"
)]
pub struct ToolCallCompleted {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered, byte for byte.
    #[schemars(with = "Value")]
    pub result: Box<RawValue>,
}

impl TypedEvent for ToolCallCompleted {
    const TYPE: &'static str = "tool.call.completed";
    const VERSION: u32 = 1;
}

/// A tool answered with an error. Its causation is the call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a call"
)]
pub struct ToolCallFailed {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered, byte for byte.
    #[schemars(with = "Value")]
    pub error: Box<RawValue>,
}

impl TypedEvent for ToolCallFailed {
    const TYPE: &'static str = "tool.call.failed";
    const VERSION: u32 = 1;
}
