//! What can be asked of sinks where another process holds the log.

use crate::command::{SinkChange, Sinks};
use crate::config::SinkConfig;
use crate::error::SinkError;
use crate::files::{Failure, Parked};
use crate::status::SinkStatus;
use runstone_codec::Position;
use runstone_store::asks;

asks! {
    /// Adds a sink.
    "sink/add" AddSink { config: SinkConfig } -> Position, SinkError:
        |self, log| Sinks::new(log).add_blocking(&self.config);

    /// Pauses, resumes or removes a sink, or gives it again what it was refused.
    "sink/change" ChangeSink { name: String, change: SinkChange } -> Position, SinkError:
        |self, log| Sinks::new(log).change_blocking(&self.name, self.change);

    /// Every sink and how it stands.
    "sink/list" ListSinks {} -> Vec<SinkStatus>, SinkError:
        |self, log| Sinks::new(log).list();

    /// The events that a sink was refused.
    "sink/parked" ParkedOfSink { name: String } -> Vec<Parked>, SinkError:
        |self, log| Sinks::new(log).parked(&self.name);

    /// The last failures of a sink.
    "sink/failures" FailuresOfSink { name: String } -> Vec<Failure>, SinkError:
        |self, log| Sinks::new(log).failures(&self.name);
}
