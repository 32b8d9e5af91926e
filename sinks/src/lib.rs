//! Copies of a log for others: isolated fan-out to secondary sinks.
//!
//! ```text
//!              +-- session -- lane -- Sink: JSONL file      LOG.sinks/audit.cursor, .parked, .failures
//!  Log --------+-- session -- lane -- Sink: one's own       LOG.sinks/mine.cursor, ...
//!   sink.*  <--+   reads, retries, parks, keeps its cursor
//!                  a lane is a thread of its own: what hangs or panics there stays there
//! ```
//!
//! A sink is a destination, never the truth. Which sinks a log has is recorded in the log
//! ([`Sinks`]); whoever holds the log runs them ([`Runner`]). Each has its own cursor, its own retry
//! and its own thread, so that a slow, failing or hanging one touches neither the writer nor the
//! others. docs/SINKS.md says what is promised.
//!
//! ```
//! use runstone_codec::NewEvent;
//! use runstone_sinks::{Batch, Delivery, Destination, Kinds, Runner, RunOptions, Sink, SinkConfig, Sinks, SinksFold};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//! use std::sync::{Arc, Mutex};
//!
//! /// Keeps what it is given in memory.
//! struct Memory(Arc<Mutex<Vec<u64>>>);
//!
//! impl Sink for Memory {
//!     fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
//!         Box::pin(async move {
//!             let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
//!             kept.extend(batch.events().iter().map(|event| event.position().get()));
//!             Ok(())
//!         })
//!     }
//! }
//!
//! let mut open = OpenOptions::default();
//! open.folds = vec![Arc::new(SinksFold::new())];
//! let log = Log::memory(&CreateOptions::default(), open)?;
//! let folder = std::env::temp_dir().join(format!("runstone-sinks-{}", std::process::id()));
//!
//! let kept = Arc::new(Mutex::new(Vec::new()));
//! let memory = Arc::clone(&kept);
//! let kinds = Kinds::new().kind("memory", move |_| Ok(Box::new(Memory(Arc::clone(&memory)))));
//! let config = SinkConfig::new("copy", Destination::custom("memory"));
//! Sinks::new(&log).add_blocking(&config)?;
//! log.append_blocking(NewEvent::new("chat.message", "run-1"))?;
//!
//! let runner = Runner::start(&log, &folder, RunOptions::new(kinds))?;
//! runner.caught_up_blocking(log.durable_size());
//! runner.stop();
//! // The genesis and the message. What is said of sinks goes to none.
//! assert_eq!(*kept.lock().unwrap(), [0, 2]);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "archive")]
mod archived;
mod asks;
mod backoff;
mod command;
mod config;
mod error;
pub mod events;
mod files;
mod fold;
mod kinds;
#[cfg(feature = "otlp")]
mod origin;
#[cfg(feature = "archive")]
mod place;
mod run;
mod secret;
mod sink;
mod status;
mod timer;
mod view;

#[cfg(feature = "archive")]
pub use archived::{ArchivedExport, ArchivedLog};
pub use asks::endpoints;
pub use command::{SinkChange, Sinks};
pub use config::{
    ArchiveConfig, CheckpointsConfig, CommandConfig, CustomConfig, Destination, JsonlConfig,
    MirrorConfig, OtlpConfig, Payloads, S3Config, SegmentsConfig, SinkConfig, Start, WebhookConfig,
    WebhookMode, from_toml,
};
pub use error::SinkError;
pub use files::{Failure, Parked};
pub use fold::{SinkState, SinksFold};
pub use kinds::{Factory, Kinds};
pub use run::{RunOptions, Runner, drive};
pub use secret::SecretSource;
pub use sink::{Batch, Delivery, Event, Known, Rejection, Sink, Telling};
pub use status::{SinkStatus, sinks_folder};
pub use timer::{ManualTimer, SystemTimer, Timer, Until};
