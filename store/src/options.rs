//! Options of a process: storage and limits only. What deciders and folds read is a recorded
//! setting instead, so that two processes decide alike.

use crate::clock::{Clock, SystemClock};
use crate::index::IndexOptions;
use runstone_codec::{Entropy, EventLimits, OsEntropy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an acknowledged append waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Durability {
    /// Answered after fsync: survives `kill -9` and power loss.
    #[default]
    Synced,
    /// Answered when visible to readers of this process; the next synced commit, `sync` or close
    /// makes it durable. Lost by a crash before that, whole.
    Buffered,
}

/// Whether payloads are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Sealing {
    /// Every payload is AES-256-GCM sealed; a plain row is tampering.
    #[default]
    Required,
    /// Nothing is encrypted.
    Plain,
}

/// Limits and sizes of one open log. Each has a documented default and an error that names it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogOptions {
    /// Limits on single events (payload bytes, tags, lengths).
    pub limits: EventLimits,
    /// Events in one append. Default 65,536.
    pub append_events: u64,
    /// Payload bytes in one append. Default 256 MiB.
    pub append_bytes: u64,
    /// Events waiting to be written. Default 262,144.
    pub queue_events: u64,
    /// Bytes waiting to be written, with content that is kept open for those who follow. Default 512 MiB.
    pub queue_bytes: u64,
    /// Events that one group commit takes. Default 16,384.
    pub group_events: u64,
    /// Bytes that one group commit takes. Default 16 MiB.
    pub group_bytes: u64,
    /// Index entries that one condition may look at. Default 100,000.
    pub condition_scan: u64,
    /// Durability of appends that do not say. Default `Synced`.
    pub durability: Durability,
    /// Page cache of the database in bytes. Default 256 MiB.
    pub cache_bytes: usize,
    /// A log that was closed and whose file has at most so many bytes is looked through when it is
    /// opened: the database does not look at checksums by itself, and damaged pages can make it end
    /// the process. About half a second a gigabyte. Default 1 GiB.
    pub check_pages_bytes: u64,
    /// Sizes of the index in memory.
    pub index: IndexOptions,
    /// Commits between two whole slices of maintenance; light ones, of the index and of chunks by
    /// turns, come 64 times as often, at most with every commit. Default 256.
    pub maintenance_commits: u64,
    /// Free bytes on the file system that are never used up. Default 8 MiB.
    pub disk_margin_bytes: u64,
    /// Signed checkpoint copies on other volumes, compared at open. Default none.
    pub checkpoint_copies: Vec<PathBuf>,
    /// Commands that keep signed checkpoints elsewhere, compared at open too. Each is a program and
    /// its arguments, started without a shell: with `put` added it takes a checkpoint on standard
    /// input, with `get` it answers the last one, or nothing. Default none.
    pub checkpoint_commands: Vec<Vec<String>>,
    /// How long one of these commands may take. Default 20 seconds.
    pub checkpoint_command_limit: Duration,
    /// How long appends go on while a checkpoint copy cannot be reached. Default 24 hours.
    pub copy_grace: Duration,
    /// Subscriptions open at once. Default 10,000.
    pub subscribers: usize,
    /// Whether the log has threads of its own: one that commits for callers that await, one that
    /// signs while the disk works, and one that folds again while a log is verified. Without them
    /// callers do all that themselves, so that a simulation with its own clock, randomness and
    /// disk repeats exactly. Default true.
    pub background: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            limits: EventLimits::default(),
            append_events: 65_536,
            append_bytes: 256 << 20,
            queue_events: 262_144,
            queue_bytes: 512 << 20,
            group_events: 16_384,
            group_bytes: 16 << 20,
            condition_scan: 100_000,
            durability: Durability::Synced,
            cache_bytes: 256 << 20,
            check_pages_bytes: 1 << 30,
            index: IndexOptions::default(),
            maintenance_commits: 256,
            disk_margin_bytes: 8 << 20,
            checkpoint_copies: Vec::new(),
            checkpoint_commands: Vec::new(),
            checkpoint_command_limit: Duration::from_secs(20),
            copy_grace: Duration::from_secs(24 * 60 * 60),
            subscribers: 10_000,
            background: true,
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(OsEntropy),
        }
    }
}
