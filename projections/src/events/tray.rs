//! Trays: where tasks lie until somebody takes them.
//!
//! ```text
//!  tray.opened --> task.created ... task.claimed ... --> tray.closed    no more tasks
//!                       '--> tray.dead_lettered                         it failed too often
//! ```
//!
//! Names of trays are pseudonyms and stand in control (see [`control::tray`](super::control::tray)).
//! What lies in a tray are tasks, with the events of tasks.

use super::event;

event!("tray.opened"
    /// Tasks can be put into it.
    TrayOpened {}
);

event!("tray.closed"
    /// No more tasks can be put into it; what lies there is still done.
    TrayClosed {}
);

event!("tray.dead_lettered"
    /// A task was attempted as often as it may be, and is cancelled. Control names it.
    TrayDeadLettered {
        /// The task.
        pub id: String,
        /// What went wrong last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
    }
);
