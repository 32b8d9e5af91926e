//! Verdicts of guards and graders.

use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Somebody judged a run, a step or a call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a verdict"
)]
pub struct VerdictGiven {
    /// What was judged: the stream of a run, or the id of an event.
    pub subject: String,
    /// Who judged.
    pub by: String,
    /// The judgement, such as `pass` or `fail`.
    pub verdict: String,
    /// How grave it is, such as `info`.
    pub severity: String,
    /// What else is said of it, byte for byte.
    #[serde(default)]
    #[schemars(with = "Value")]
    pub detail: Box<RawValue>,
}

impl TypedEvent for VerdictGiven {
    const TYPE: &'static str = "verdict.given";
    const VERSION: u32 = 1;
}
