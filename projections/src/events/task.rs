//! Tasks: units of work with a life of their own.
//!
//! ```text
//!  task.created --> task.moved --> task.moved ...         a state and a reason each
//!                   task.claimed --> task.lease_renewed   somebody holds it while it is in progress
//!  task.refused                                           a move or a creation that is not allowed
//! ```
//!
//! States, depth, attempts, leases and keyed digests of names stand in control (see
//! [`control::task`](super::control::task)); titles, descriptions, comments and names as text in the
//! payload, which an erasure takes.

use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Defines a payload, its type name and its first version.
macro_rules! event {
    ($name:literal $(#[$meta:meta])* $type:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[expect(clippy::exhaustive_structs, reason = "written out by whoever records a task")]
        pub struct $type {
            /// The task.
            pub id: String,
            $($body)*
        }

        impl TypedEvent for $type {
            const TYPE: &'static str = $name;
            const VERSION: u32 = 1;
        }
    };
}

event!("task.created"
    /// A task begins its life.
    TaskCreated {
        /// What it is called.
        pub title: String,
        /// What is to be done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// What kind of work it is.
        #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
        pub task_type: Option<String>,
        /// Who is to do it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent: Option<String>,
        /// The task that it is a part of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub parent: Option<String>,
        /// The task in which it was thought of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub creator: Option<String>,
        /// The tray that it lies in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tray: Option<String>,
        /// The tasks of the tray that come before it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub depends_on: Vec<String>,
        /// What it says to be admitted, by field.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub admission: BTreeMap<String, String>,
        /// `todo` or `backlog`.
        pub state: String,
    }
);

event!("task.moved"
    /// A task goes from one state to another.
    TaskMoved {
        /// The state before.
        pub from: String,
        /// The state after.
        pub to: String,
        /// What such a move means: one of fifteen texts.
        pub reason: String,
        /// Who moved it; `system` where the log did.
        pub actor: String,
        /// What was said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub comment: Option<String>,
    }
);

event!("task.claimed"
    /// Somebody holds a task. Control says who, and for how long.
    TaskClaimed {}
);

event!("task.lease_renewed"
    /// The holder goes on.
    TaskLeaseRenewed {}
);

event!("task.refused"
    /// A move or a creation that is not allowed. Control says from where to where, and why.
    TaskRefused {
        /// What the task that was not created would have been called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub title: Option<String>,
        /// Who asked for it.
        pub actor: String,
    }
);
