//! Steps: nodes of a workflow.

use runstone_codec::{Control, Keyed, TypedEvent};
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
        pub output: Option<StepOutput>,
        /// How sure it is of it, from 0 to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub confidence: Option<f64>,
        /// Tokens that it used, if the runtime says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tokens: Option<u64>,
        /// What it cost in millionths of a dollar, if the runtime says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub usd_micros: Option<u64>,
        /// Grams of carbon dioxide equivalent, in thousandths, if the runtime says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub gco2_mg: Option<u64>,
    }
);

/// What a step gave.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever records a step"
)]
pub struct StepOutput {
    /// What a run that is resumed gets instead of doing the step again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub content: Option<Box<RawValue>>,
    /// A merge patch (RFC 7396) for the document of the session, recorded with the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub structured: Option<Box<RawValue>>,
}

impl StepCompleted {
    /// The control of this event: which attempt, what it used, and whether it changes the session.
    pub fn control(&self) -> Control {
        let attempt = Control::new().u64(control::STEP_ATTEMPT, self.attempt);
        let amounts = [
            (control::GCO2_MG, self.gco2_mg),
            (control::STEP_TOKENS, self.tokens),
            (control::STEP_USD_MICROS, self.usd_micros),
        ];
        let control = amounts
            .into_iter()
            .fold(attempt, |control, (field, amount)| match amount {
                Some(amount) => control.u64(field, amount),
                None => control,
            });
        let output = self.output.as_ref();
        match output.and_then(|output| output.structured.as_ref()) {
            Some(_) => control.u64(control::STEP_STRUCTURED, 1),
            None => control,
        }
    }
}

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
