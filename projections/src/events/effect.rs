//! Calls of tools and executions of tasks, each guarded so that it happens once.
//!
//! ```text
//!                          +--> effect.completed
//!  effect.claimed ---------+--> effect.failed     (executed: no) --> effect.claimed again
//!    ^   effect.           +--> effect.cancelled  (not begun)    --> effect.claimed again
//!    |   lease_renewed     +--> effect.outcome_unknown --> effect.reconciled, effect.released
//!    +-- lease ended, and the class allows it
//! ```
//!
//! States, fences, attempts and leases stand in control (see [`control::effect`]); keys as text,
//! arguments, results and reasons in the payload, which an erasure takes.

use super::event;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

event!("effect.claimed"
    /// Somebody holds the right to make a call. It is durable before the call is made.
    EffectClaimed {
        /// `tool` or `task`.
        pub kind: String,
        /// What is called.
        pub name: String,
        /// The key, as text.
        pub key: String,
        /// The arguments by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Value>")]
        pub args: Option<Box<RawValue>>,
        /// `read`, `idempotent`, `write` or `irreversible`.
        pub class: String,
        /// The imported record, byte for byte.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Value>")]
        pub original: Option<Box<RawValue>>,
    }
);

event!("effect.completed"
    /// The call was made and answered.
    EffectCompleted {
        /// What it answered.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "there"
        )]
        #[schemars(with = "Option<Value>")]
        pub result: Option<Box<RawValue>>,
        /// Why its caller does not take the answer. It is not called again for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rejected: Option<String>,
    }
);

event!("effect.failed"
    /// The call failed. Control says whether it may have been executed.
    EffectFailed {
        /// What went wrong.
        pub error: ErrorSaid,
    }
);

/// An error as it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a call"
)]
pub struct ErrorSaid {
    /// The kind of error, in the words of the program.
    #[serde(rename = "type")]
    pub error_type: String,
    /// What it says.
    pub message: String,
}

event!("effect.cancelled"
    /// The call was given up before it was made, or its class bears to be made again.
    EffectCancelled {
        /// Why.
        pub reason: String,
    }
);

event!("effect.lease_renewed"
    /// The holder goes on.
    EffectLeaseRenewed {}
);

event!("effect.outcome_unknown"
    /// Nobody can say whether the call was made. Only a person, or what asks the other side, can
    /// settle it.
    EffectOutcomeUnknown {
        /// Details, where there are any; control has the code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub detail: Option<String>,
    }
);

event!("effect.reconciled"
    /// Somebody found out what became of the call.
    EffectReconciled {
        /// What it answered, if it was made.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "there"
        )]
        #[schemars(with = "Option<Value>")]
        pub result: Option<Box<RawValue>>,
        /// How that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub evidence: Option<String>,
    }
);

event!("effect.released"
    /// A person lets the call be made again.
    EffectReleased {
        /// Why.
        pub reason: String,
    }
);

event!("effect.refused"
    /// A claim was refused for a reason that matters afterwards.
    EffectRefused {
        /// What was to be called.
        pub name: String,
        /// The key, as text.
        pub key: String,
    }
);

/// JSON that may not be there: a member that is there is JSON, also where that is `null`.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}
