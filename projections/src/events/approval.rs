//! Approvals: a call that waits for people.
//!
//! ```text
//!  approval.requested --approval.voted*--> approval.decided
//!         '--approval.expired--> decided by the settings, or given to somebody else
//! ```
//!
//! What is asked for, in words, is payload; the call that it is about, who may decide and how, stands
//! in control (see [`control::approval`](super::control::approval)).

use super::event;
use serde_json::Value;
use serde_json::value::RawValue;

event!("approval.requested"
    /// Somebody is asked whether a call may be made with these arguments.
    ApprovalRequested {
        /// What is to be done, in the words of whoever asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub action: Option<String>,
        /// What is called.
        pub name: String,
        /// The key of the call, as text.
        pub key: String,
        /// The arguments, literally.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Value>")]
        pub args: Option<Box<RawValue>>,
    }
);

event!("approval.voted"
    /// A reviewer says yes or no.
    ApprovalVoted {
        /// What else it says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub comment: Option<String>,
    }
);

event!("approval.decided"
    /// The votes decide it, once.
    ApprovalDecided {
        /// What the deciding reviewer says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub comment: Option<String>,
    }
);

event!("approval.expired"
    /// Nobody decided it in time. Control says what follows.
    ApprovalExpired {}
);
