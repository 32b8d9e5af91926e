//! How a sink stands, from the log and from its files.

use crate::config::SinkConfig;
use crate::error::SinkError;
use crate::events::SinkAdded;
use crate::files::{Cursor, Failure, Files};
use crate::fold::{AHEAD, EPOCH, FOLD, SinkRow, SinkState, UNAUTHORISED, UNREADABLE_FILES};
use runstone_codec::{Position, Upcasters};
use runstone_store::{Log, Read, ReadError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// After this time without anything taken the rate is none, microseconds.
const IDLE_US: u64 = 60_000_000;

/// Where the sinks of a log keep their files.
pub fn sinks_folder(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".sinks");
    path.into()
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SinkStatus {
    /// What it is.
    pub config: SinkConfig,
    /// Position at which it was added.
    pub added: u64,
    /// Whether it runs.
    pub state: SinkState,
    /// Since when, Unix microseconds.
    pub since_us: u64,
    /// Why it stopped, as a code, if it did.
    pub why: Option<String>,
    /// Whether its last failure is newer than the last thing that it took.
    pub is_failing: bool,
    /// The first position that it has not got.
    pub position: u64,
    /// Events of the log that it has not looked at.
    pub lag_events: u64,
    /// How long ago the oldest event was recorded that it waits for, microseconds; 0 if none does.
    pub lag_us: u64,
    /// Events a thousand seconds that it takes.
    pub rate_milli: u64,
    /// Events that it took, ever.
    pub delivered: u64,
    /// When it took some last, Unix microseconds.
    pub accepted_at_us: Option<u64>,
    /// Events that it was refused.
    pub parked: u64,
    /// How it failed last.
    pub last_failure: Option<Failure>,
}

impl SinkStatus {
    /// What to do about it, in one line; none if it needs nobody.
    pub fn advice(&self) -> Option<String> {
        let name = &self.config.name;
        match (self.state, self.why.as_deref()) {
            (SinkState::Stopped, Some(UNAUTHORISED)) => Some(format!(
                "sink `{name}` stopped: its credentials were refused 5 times in a row; renew them, and it goes on within a minute, or at once with runstone sink resume {name}"
            )),
            (SinkState::Stopped, Some("too_many_parked")) => Some(format!(
                "sink `{name}` stopped: it refuses every event; see why with runstone sink status {name} --parked, then runstone sink resume {name}"
            )),
            (SinkState::Stopped, Some(AHEAD)) => Some(format!(
                "sink `{name}` stopped: it has events that this log has not, as after a restore; runstone sink remove {name}, and add another with a destination of its own"
            )),
            (SinkState::Stopped, Some(EPOCH)) => Some(format!(
                "sink `{name}` stopped: this log is a copy that became the log, and the one before may still give to it; if it does not, runstone sink resume {name}"
            )),
            (SinkState::Stopped, _) => {
                let last = self.last_failure.as_ref().map(|failure| &failure.why);
                let why = last.map_or("it cannot go on", String::as_str);
                Some(format!(
                    "sink `{name}` stopped: {why}; mend that, then runstone sink resume {name}"
                ))
            }
            _ => None,
        }
    }
}

/// The files of a sink of a log of this process.
pub(crate) fn files_of(log: &Log, name: &str) -> Result<Files, SinkError> {
    let path = log.path().ok_or(SinkError::NoFolder)?;
    Ok(Files::new(&sinks_folder(path), name))
}

/// What a sink is, as it was recorded.
pub(crate) fn config_of(log: &Log, row: &SinkRow) -> Result<SinkConfig, ReadError> {
    let record = log.record(Position::new(row.added))?;
    let payload = record.payload.bytes().unwrap_or_default();
    let added = Upcasters::new().decode::<SinkAdded>(&record.header, payload);
    let added = added.map_err(|error| ReadError::Fold {
        fold: FOLD.to_owned(),
        why: format!("what was recorded at position {}: {error}", row.added),
    })?;
    Ok(added.config)
}

/// How a sink stands.
pub(crate) fn of(log: &Log, name: &str, row: &SinkRow) -> Result<SinkStatus, SinkError> {
    let config = config_of(log, row)?;
    let files = files_of(log, name)?;
    let io = |error: std::io::Error| SinkError::files(&error);
    let log_id = log.info().log_id;
    let (size, now_us) = (log.durable_size(), log.now_us());
    // One whose files cannot be understood hides no other.
    let unreadable = |error: std::io::Error| {
        let why = error.to_string();
        Failure::new(now_us, row.from, (UNREADABLE_FILES, &why))
    };
    let (cursor, mut wrong) = match files.cursor(log_id, row.added) {
        Ok(cursor) => (cursor, None),
        Err(error) => (None, Some(unreadable(error))),
    };
    // Without a cursor the files, if there are any, are those of another sink of the name.
    let (parked, last_failure) = match &cursor {
        Some(cursor) => {
            let parked = files.put_aside(cursor).unwrap_or_else(|error| {
                wrong = Some(unreadable(error));
                Vec::new()
            });
            let failures = files.failures().map_err(io)?;
            (
                parked.len() as u64,
                wrong.or_else(|| failures.last().cloned()),
            )
        }
        None => (0, wrong),
    };
    let is_unreadable = last_failure
        .as_ref()
        .is_some_and(|failure| failure.code == UNREADABLE_FILES);
    let cursor = cursor.unwrap_or_else(|| Cursor::new(log_id, row.added, row.from));
    let waiting = Read::new(config.query.clone()).from(cursor.next).limit(1);
    let waiting = log.read(waiting.without_payloads())?.next().transpose()?;
    let is_idle = cursor
        .accepted_at_us
        .is_none_or(|at| now_us.saturating_sub(at) > IDLE_US);
    Ok(SinkStatus {
        config,
        added: row.added,
        state: row.state,
        since_us: row.since_us,
        why: row.why.clone(),
        is_failing: cursor.is_failing || is_unreadable,
        position: cursor.next,
        lag_events: size.saturating_sub(cursor.next),
        lag_us: waiting.map_or(0, |record| now_us.saturating_sub(record.recorded_at_us)),
        rate_milli: if is_idle { 0 } else { cursor.rate_milli },
        delivered: cursor.delivered,
        accepted_at_us: cursor.accepted_at_us,
        parked,
        last_failure,
    })
}
