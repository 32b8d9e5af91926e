//! From records to rows: which sinks there are, and how they stand.
//!
//! ```text
//!  's' name                                        how a sink stands, as JSON
//!  'e'                                             position of the newest log.epoch_started, as JSON
//! ```

use crate::events::{
    STREAM, SinkAdded, SinkFailed, SinkParked, SinkPaused, SinkRecovered, SinkRemoved,
    SinkReplayAsked, SinkResumed, SinkStopped, control,
};
use runstone_codec::TypedEvent as _;
use runstone_store::{Fold, FoldError, FoldRecord, Rows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

const SINK_ROW: u8 = b's';
/// Key of the row of the newest epoch.
pub(crate) const EPOCH_KEY: &[u8] = b"e";
/// Another copy of the log is the log from here on.
const EPOCH_STARTED: &str = "log.epoch_started";
/// Why sinks of a former epoch stand still.
pub(crate) const EPOCH: &str = "epoch";
/// Why a sink stands still whose destination, or whose cursor, knows events that the log has not.
pub(crate) const AHEAD: &str = "ahead";
/// Why a sink stands still whose credentials were refused; it goes on when they change.
pub(crate) const UNAUTHORISED: &str = "unauthorised";
/// Why a sink stands still whose files in `LOG.sinks/` cannot be understood.
pub(crate) const UNREADABLE_FILES: &str = "unreadable_files";

/// Key of the row of a sink.
pub(crate) fn sink_key(name: &str) -> Vec<u8> {
    [&[SINK_ROW], name.as_bytes()].concat()
}

/// Prefix of the keys of all sinks.
pub(crate) fn sinks_prefix() -> Vec<u8> {
    vec![SINK_ROW]
}

/// Name of the fold.
pub(crate) const FOLD: &str = "sinks";

/// The fold of sinks.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SinksFold;

impl SinksFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

/// Whether a sink runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SinkState {
    /// Whoever holds the log runs it.
    Running,
    /// Somebody paused it.
    Paused,
    /// It cannot go on before somebody changes something and resumes it.
    Stopped,
}

impl SinkState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for SinkState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// A sink, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkRow {
    /// Position of `sink.added`, which has what it is.
    pub(crate) added: u64,
    /// First position that it gets.
    pub(crate) from: u64,
    pub(crate) state: SinkState,
    /// Position and time of what made it stand so.
    pub(crate) since: u64,
    pub(crate) since_us: u64,
    /// Why it stopped, if it did.
    pub(crate) why: Option<String>,
    /// Whether its last failure is newer than its last recovery.
    pub(crate) is_failing: bool,
    /// When it was last recorded that it failed, and that it parked something.
    pub(crate) failed_us: Option<u64>,
    pub(crate) parked_us: Option<u64>,
    /// Position of the newest wish that what is parked is tried again.
    pub(crate) replay: u64,
}

impl SinkRow {
    pub(crate) fn decode(row: &[u8]) -> Result<Self, FoldError> {
        serde_json::from_slice(row).map_err(|error| FoldError::Row(error.to_string()))
    }

    /// Whether it stands still because its credentials were refused.
    pub(crate) fn is_unauthorised(&self) -> bool {
        self.state == SinkState::Stopped && self.why.as_deref() == Some(UNAUTHORISED)
    }

    /// The row as it stands in an epoch that began at this position. What ran in the one before may
    /// run there still: two copies of a log must not both give to one destination, and what a copy
    /// says that came from elsewhere is not run before somebody has looked at it.
    pub(crate) fn in_epoch(mut self, epoch: Option<u64>) -> Self {
        let goes_on = self.state == SinkState::Running || self.is_unauthorised();
        if goes_on && epoch.is_some_and(|epoch| self.since < epoch) {
            self.state = SinkState::Stopped;
            self.why = Some(EPOCH.to_owned());
        }
        self
    }
}

/// The position in the row of the newest epoch.
pub(crate) fn decode_epoch(row: &[u8]) -> Result<u64, FoldError> {
    serde_json::from_slice(row).map_err(|error| FoldError::Row(error.to_string()))
}

impl Fold for SinksFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        2
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["log", "sink"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        if record.header.event_type == EPOCH_STARTED {
            return put(rows, EPOCH_KEY, &record.position.get());
        }
        // Only commands write this stream.
        if record.header.stream != STREAM {
            return Ok(());
        }
        let Some(name) = record.control.get_text(control::NAME) else {
            return Ok(());
        };
        let key = &sink_key(name);
        let (position, now_us) = (record.position.get(), record.recorded_at_us);
        let event_type = record.header.event_type.as_str();
        if event_type == SinkAdded::TYPE {
            let row = SinkRow {
                added: position,
                from: record.control.get_u64(control::POSITION).unwrap_or(0),
                state: SinkState::Running,
                since: position,
                since_us: now_us,
                why: None,
                is_failing: false,
                failed_us: None,
                parked_us: None,
                replay: 0,
            };
            return put(rows, key, &row);
        }
        let Some(row) = rows.get(key)? else {
            return Ok(());
        };
        let mut row = SinkRow::decode(&row)?;
        let stands = |row: &mut SinkRow, state| {
            row.state = state;
            (row.since, row.since_us) = (position, now_us);
            row.why = record.control.get_text(control::WHY).map(str::to_owned);
        };
        match event_type {
            SinkRemoved::TYPE => {
                rows.remove(key);
                return Ok(());
            }
            SinkPaused::TYPE => stands(&mut row, SinkState::Paused),
            SinkResumed::TYPE => stands(&mut row, SinkState::Running),
            SinkStopped::TYPE => stands(&mut row, SinkState::Stopped),
            SinkFailed::TYPE => {
                row.is_failing = true;
                row.failed_us = Some(now_us);
            }
            SinkRecovered::TYPE => row.is_failing = false,
            SinkParked::TYPE => row.parked_us = Some(now_us),
            SinkReplayAsked::TYPE => row.replay = position,
            _ => return Ok(()),
        }
        put(rows, key, &row)
    }
}

fn put(rows: &mut dyn Rows, key: &[u8], row: &impl Serialize) -> Result<(), FoldError> {
    let row = serde_json::to_vec(row).map_err(|error| FoldError::Row(error.to_string()))?;
    rows.put(key, row);
    Ok(())
}
