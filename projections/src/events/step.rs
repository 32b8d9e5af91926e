//! Steps: nodes of a workflow.

use runstone_codec::{Keyed, TypedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ErrorSaid, control};

/// Defines a payload, its type name and its first version.
macro_rules! event {
    ($name:literal $(#[$meta:meta])* $type:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[expect(clippy::exhaustive_structs, reason = "written out by whoever records a step")]
        pub struct $type {
            /// The node.
            pub node: String,
            $($body)*
        }

        impl TypedEvent for $type {
            const TYPE: &'static str = $name;
            const VERSION: u32 = 1;
        }
    };
}

event!("step.started"
    /// A step begins.
    StepStarted {
        /// What kind of node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<String>,
        /// Which attempt, from 1.
        pub attempt: u64,
    }
);

event!("step.completed"
    /// A step ended as it was to.
    StepCompleted {
        /// Which attempt, from 1.
        pub attempt: u64,
        /// What it gave. A run that is resumed gets it instead of doing the step again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Value>")]
        pub output: Option<Box<RawValue>>,
        /// How sure it is of it, from 0 to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub confidence: Option<f64>,
    }
);

event!("step.failed"
    /// A step failed.
    StepFailed {
        /// Which attempt, from 1.
        pub attempt: u64,
        /// How.
        pub error: ErrorSaid,
    }
);

event!("step.blocked"
    /// A step may not go on.
    StepBlocked {
        /// What stopped it.
        pub by: String,
    }
);

event!("step.skipped"
    /// A step was not to be done.
    StepSkipped {
        /// Why.
        pub because: String,
    }
);

/// The digests by which the events of one node are known as such, without its name: a tag and a
/// field of control.
pub fn step_keys(node: &str) -> [Keyed; 2] {
    let parts = || [node.as_bytes()];
    [
        Keyed::tag(control::STEP_LABEL, control::STEP_LABEL, parts()),
        Keyed::control(control::NODE, control::STEP_LABEL, parts()),
    ]
}
