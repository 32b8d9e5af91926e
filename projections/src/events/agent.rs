//! Agents: who they are, and whether they work, sleep or must stop.
//!
//! ```text
//!  agent.registered --> running --agent.slept--> idle --agent.woke--> running
//!                          |                      |
//!                          +--agent.stop_ordered--+--> stopping --agent.powered (running)--> running
//!                             agent.powered (stopped)
//!  agent.helper_spawned --> running or stopping, as an agent --agent.retired--> retired
//! ```
//!
//! Names of agents are pseudonyms and stand in control (see [`control::agent`](super::control::agent)),
//! as do states; what was said of them is payload.

use super::event;

event!("agent.registered"
    /// An agent is known from now on.
    AgentRegistered {
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub role: Option<String>,
        /// Words to find it by.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub labels: Vec<String>,
    }
);

event!("agent.helper_spawned"
    /// A helper is known from now on. Whoever recorded it is its parent; its tray and how long it
    /// lives stand in control.
    AgentHelperSpawned {
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub role: Option<String>,
        /// Id of the task that it was spawned for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub spawned_for: Option<String>,
    }
);

event!("agent.retired"
    /// A helper is gone for good. Control says why.
    AgentRetired {}
);

event!("agent.powered"
    /// Whether a supervisor should run it. One that should not must exit.
    AgentPowered {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }
);

event!("agent.slept"
    /// It has nothing to do, and makes no work for itself until it wakes.
    AgentSlept {
        /// Why.
        pub reason: String,
    }
);

event!("agent.woke"
    /// It works again.
    AgentWoke {}
);

event!("agent.stop_ordered"
    /// It took an order to stop, which control names, and must exit.
    AgentStopOrdered {}
);

event!("agent.order_refused"
    /// An order to stop does not count. Control names it, and says why as a code.
    AgentOrderRefused {}
);

event!("agent.revoked"
    /// Its commands are refused from now on.
    AgentRevoked {
        /// Why.
        pub reason: String,
    }
);
