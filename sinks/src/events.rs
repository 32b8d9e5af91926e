//! What is recorded of sinks: all of it in the stream [`STREAM`], in the scope of the log itself,
//! which no erasure removes.
//!
//! ```text
//!  sink.added --> running --sink.paused--> paused --sink.resumed--> running
//!                    |--sink.stopped--> stopped --sink.resumed--> running
//!                    |--sink.failed, sink.parked      at most one each a minute
//!                    |--sink.recovered      at most one after each sink.failed
//!                    +--sink.replay_asked      what was parked is tried again
//!  sink.removed
//! ```
//!
//! Names of sinks are pseudonyms and stand in control, as codes and counts do.

use crate::config::SinkConfig;
use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The stream of everything that is recorded of sinks.
pub const STREAM: &str = "sinks";

/// What these events say in control.
pub mod control {
    /// The name of the sink; in the tag `sink:` too.
    pub const NAME: u16 = 1;
    /// `sink.stopped`, `sink.failed`, `sink.parked`: why, as a code.
    pub const WHY: u16 = 2;
    /// `sink.added`: the first position that it gets. `sink.stopped`, `sink.failed`,
    /// `sink.recovered`: the first that it has not got. `sink.parked`: the one that was parked.
    pub const POSITION: u16 = 3;
    /// `sink.failed`: failures since the last event that counted them. `sink.parked`: how many
    /// events are parked.
    pub const COUNT: u16 = 4;
    /// Key of the tag that names the sink.
    pub const TAG: &str = "sink";
}

macro_rules! event {
    ($name:literal $(#[$meta:meta])* $type:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[expect(
            clippy::exhaustive_structs,
            reason = "written out by whoever records the event"
        )]
        pub struct $type { $($body)* }

        impl TypedEvent for $type {
            const TYPE: &'static str = $name;
            const VERSION: u32 = 1;
        }
    };
}

event!("sink.added"
    /// The log has another sink.
    SinkAdded {
        /// What it is. Secrets stand in it by name only.
        pub config: SinkConfig,
    }
);

event!("sink.failed"
    /// A sink does not take what it is given. Control says why and since where.
    SinkFailed {}
);

event!("sink.parked"
    /// A sink was refused an event for itself, and goes on without it.
    SinkParked {}
);

event!("sink.paused"
    /// A sink gets nothing until it is resumed.
    SinkPaused {}
);

event!("sink.recovered"
    /// A sink that failed takes what it is given.
    SinkRecovered {}
);

event!("sink.removed"
    /// The log has a sink no more.
    SinkRemoved {}
);

event!("sink.replay_asked"
    /// What a sink was refused is to be given to it again.
    SinkReplayAsked {}
);

event!("sink.resumed"
    /// A sink goes on where it was.
    SinkResumed {}
);

event!("sink.stopped"
    /// A sink cannot go on before somebody changes something.
    SinkStopped {}
);
