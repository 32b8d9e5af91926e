//! Payloads of the events that recordings become: the typed events of the agent domain, and records
//! that no type spells out.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use runstone_projections::events::{
    ChatMessage, EffectClaimed, EffectCompleted, EffectFailed, EffectOutcomeUnknown, ErrorSaid,
    Executed, Kind, LlmCallCompleted, MigratedEffect, Part, RunFinished, RunStarted, StepBlocked,
    StepCompleted, StepOutput, StepStarted, ToolCallCompleted, ToolCallFailed, ToolCallRequested,
    VerdictGiven, control, step_keys,
};

/// A record of the tool that recorded, kept as it is. Its type is
/// `harness.FORMAT.RECORD_TYPE`, or one segment longer for a record with a subtype.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HarnessRecord {
    /// The record, byte for byte.
    pub original: Box<RawValue>,
}
