//! Which sinks a log has, and what is done to them.

use crate::asks::{AddSink, ChangeSink, FailuresOfSink, ListSinks, ParkedOfSink};
use crate::config::{SinkConfig, Start, is_sink_name};
use crate::error::SinkError;
use crate::events::{
    STREAM, SinkAdded, SinkFailed, SinkParked, SinkPaused, SinkRecovered, SinkRemoved,
    SinkReplayAsked, SinkResumed, SinkStopped, control,
};
use crate::files::{Cursor, Failure, Files, Parked};
use crate::fold::{EPOCH_KEY, FOLD, SinkRow, SinkState, decode_epoch, sink_key, sinks_prefix};
use crate::status::{self, SinkStatus};
use runstone_codec::{Authority, Control, Draft, EventError, NewEvent, Position, TypedEvent};
use runstone_store::{AppendError, DecideContext, Decision, FoldError, Log, ReadError, Sealing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io;

/// Time between two records of one kind about one sink, microseconds.
const TOLD_US: u64 = 60_000_000;
/// Rows that are read at once.
const PAGE: usize = 256;

/// What is done to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SinkChange {
    /// It gets nothing until it is resumed.
    Pause,
    /// It goes on where it was, whyever it stood still.
    Resume,
    /// It is no more; its files go too.
    Remove,
    /// What it was refused is given to it again.
    ReplayParked,
}

/// What whoever runs a sink says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It failed, so often since that was said last.
    Failed {
        code: String,
        next: u64,
        failures: u64,
    },
    Recovered {
        next: u64,
    },
    Parked {
        code: String,
        position: u64,
        parked: u64,
    },
    Stopped {
        code: String,
        next: u64,
    },
    /// Its credentials are others than those that were refused.
    Renewed,
}

/// What a decision comes to.
#[derive(Debug, Clone, Copy)]
enum Done {
    /// It is so since then.
    At(Position),
    Exists,
    NotFound,
    NotAllowed,
}

/// The sinks of a log.
#[derive(Debug, Clone)]
pub struct Sinks {
    log: Log,
}

impl Sinks {
    /// The sinks of a log that was opened with [`SinksFold`](crate::SinksFold).
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone() }
    }

    /// Adds a sink, and answers the position at which that is recorded. Whoever holds the log runs it
    /// from then on.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; then nothing changed.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub fn add_blocking(&self, config: &SinkConfig) -> Result<Position, SinkError> {
        if let Some(told) = self.log.ask_there_blocking(&AddSink {
            config: config.clone(),
        }) {
            return told;
        }
        config.check()?;
        if config.to.takes_sealed_only() && self.log.info().sealing == Sealing::Plain {
            return Err(SinkError::BadConfig {
                why: "this log is not encrypted, and its content would leave in the clear; say so with payloads = \"plain\"".to_owned(),
            });
        }
        loop {
            let seen = self.log.durable_size();
            self.check_own(config)?;
            if let Some(done) = self.add_after(config, seen)? {
                return self.answer(config.name.clone(), done);
            }
        }
    }

    /// No other sink of the log may have what this one has for itself.
    fn check_own(&self, config: &SinkConfig) -> Result<(), SinkError> {
        let Some(own) = config.to.own() else {
            return Ok(());
        };
        for (name, row) in rows(&self.log)? {
            let other = status::config_of(&self.log, &row)?;
            if name != config.name && other.to.own().as_ref() == Some(&own) {
                let place = config.to.place();
                return Err(SinkError::BadConfig {
                    why: format!("{place} is where sink `{name}` of this log writes"),
                });
            }
        }
        Ok(())
    }

    /// Adds a sink; `None` if another was added from a position on.
    fn add_after(&self, config: &SinkConfig, seen: u64) -> Result<Option<Done>, SinkError> {
        let added = SinkAdded {
            config: config.clone(),
        };
        let from = config.from;
        let candidate = draft(&config.name, &added)?;
        let key = config.name.clone();
        let (done, _) = self.log.command_blocking(vec![candidate], move |context| {
            if !may(context)? {
                return Ok(Decision::nothing(Some(Done::NotAllowed)));
            }
            if row_of(context, &key)?.is_some() {
                return Ok(Decision::nothing(Some(Done::Exists)));
            }
            let newest = context.last_of_type(SinkAdded::TYPE)?;
            if newest.is_some_and(|newest| newest.get() >= seen) {
                return Ok(Decision::nothing(None));
            }
            let at = context.next_position();
            let from = match from {
                Start::Beginning => 0,
                Start::Now => at.get(),
                Start::At(position) => position,
            };
            let control = Control::new().u64(control::POSITION, from);
            Ok(Decision::record(0, control, Some(Done::At(at))))
        })?;
        Ok(done)
    }

    /// Changes a sink, and answers since when it is so. What is so already is not recorded again.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; then nothing changed.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub fn change_blocking(&self, name: &str, change: SinkChange) -> Result<Position, SinkError> {
        let name = name.to_owned();
        if let Some(told) = self.log.ask_there_blocking(&ChangeSink {
            name: name.clone(),
            change,
        }) {
            return told;
        }
        if !is_sink_name(&name) {
            return Err(SinkError::NotFound { name });
        }
        let candidate = match change {
            SinkChange::Pause => draft(&name, &SinkPaused {}),
            SinkChange::Resume => draft(&name, &SinkResumed {}),
            SinkChange::Remove => draft(&name, &SinkRemoved {}),
            SinkChange::ReplayParked => draft(&name, &SinkReplayAsked {}),
        }?;
        let key = name.clone();
        let (done, _) = self.log.command_blocking(vec![candidate], move |context| {
            if !may(context)? {
                return Ok(Decision::nothing(Done::NotAllowed));
            }
            let Some(row) = row_of(context, &key)? else {
                return Ok(Decision::nothing(Done::NotFound));
            };
            let is_so = match change {
                SinkChange::Pause => row.state == SinkState::Paused,
                SinkChange::Resume => row.state == SinkState::Running,
                SinkChange::Remove | SinkChange::ReplayParked => false,
            };
            if is_so {
                return Ok(Decision::nothing(Done::At(Position::new(row.since))));
            }
            let at = Done::At(context.next_position());
            Ok(Decision::record(0, Control::new(), at))
        })?;
        self.answer(name, done)
    }

    /// Every sink and how it stands, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if the log or the files of its sinks cannot be read.
    pub fn list(&self) -> Result<Vec<SinkStatus>, SinkError> {
        if let Some(told) = self.log.ask_there_blocking(&ListSinks {}) {
            return told;
        }
        let rows = rows(&self.log)?;
        let each = rows
            .into_iter()
            .map(|(name, row)| status::of(&self.log, &name, &row));
        each.collect()
    }

    /// How one stands.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list); [`SinkError::NotFound`].
    pub fn get(&self, name: &str) -> Result<SinkStatus, SinkError> {
        let mut all = self.list()?.into_iter();
        let found = all.find(|sink| sink.config.name == name);
        found.ok_or_else(|| SinkError::NotFound {
            name: name.to_owned(),
        })
    }

    /// The events that a sink was refused, in the order in which they were parked.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn parked(&self, name: &str) -> Result<Vec<Parked>, SinkError> {
        let name = name.to_owned();
        if let Some(told) = self
            .log
            .ask_there_blocking(&ParkedOfSink { name: name.clone() })
        {
            return told;
        }
        self.files_say(&name, Files::put_aside)
    }

    /// The last thousand failures of a sink, oldest first.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn failures(&self, name: &str) -> Result<Vec<Failure>, SinkError> {
        let name = name.to_owned();
        if let Some(told) = self
            .log
            .ask_there_blocking(&FailuresOfSink { name: name.clone() })
        {
            return told;
        }
        self.files_say(&name, |files, _| files.failures())
    }

    /// What the files of a sink say; nothing if they are those of another one of the name.
    fn files_say<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Files, &Cursor) -> io::Result<Vec<T>>,
    ) -> Result<Vec<T>, SinkError> {
        let not_found = || SinkError::NotFound {
            name: name.to_owned(),
        };
        let row = row(&self.log, name)?.ok_or_else(not_found)?;
        let files = status::files_of(&self.log, name)?;
        let cursor = files.cursor(self.log.info().log_id, row.added);
        let said = cursor.and_then(|cursor| match cursor {
            Some(cursor) => read(&files, &cursor),
            None => Ok(Vec::new()),
        });
        said.map_err(|error| SinkError::files(&error))
    }

    fn answer(&self, name: String, done: Done) -> Result<Position, SinkError> {
        match done {
            Done::At(position) => Ok(position),
            Done::Exists => Err(SinkError::Exists { name }),
            Done::NotFound => Err(SinkError::NotFound { name }),
            Done::NotAllowed => Err(SinkError::NotAllowed {
                principal: self.log.principal().0.to_owned(),
            }),
        }
    }

    /// Records what whoever runs a sink says of it, unless that was said a moment ago. `added` tells
    /// which one is meant: another of the same name is not.
    pub(crate) async fn say(&self, name: &str, added: u64, said: Said) -> Result<(), SinkError> {
        let candidate = match &said {
            Said::Failed { .. } => draft(name, &SinkFailed {}),
            Said::Recovered { .. } => draft(name, &SinkRecovered {}),
            Said::Parked { .. } => draft(name, &SinkParked {}),
            Said::Stopped { .. } => draft(name, &SinkStopped {}),
            Said::Renewed => draft(name, &SinkResumed {}),
        }?;
        let key = name.to_owned();
        let decide = move |context: &mut DecideContext<'_>| {
            let row = row_of(context, &key)?.filter(|row| row.added == added);
            let control = row.and_then(|row| to_say(&row, &said, context.now_us()));
            Ok(match control {
                Some(control) => Decision::record(0, control, ()),
                None => Decision::nothing(()),
            })
        };
        self.log.command(vec![candidate], decide).await?;
        Ok(())
    }
}

/// What is recorded, if anything is.
fn to_say(row: &SinkRow, said: &Said, now_us: u64) -> Option<Control> {
    let is_recent = |at: Option<u64>| at.is_some_and(|at| now_us.saturating_sub(at) < TOLD_US);
    let control = Control::new();
    let why = |code: &str, position: u64| {
        let control = Control::new().text(control::WHY, code);
        control.u64(control::POSITION, position)
    };
    match said {
        Said::Failed { .. } if is_recent(row.failed_us) => None,
        Said::Failed {
            code,
            next,
            failures,
        } => Some(why(code, *next).u64(control::COUNT, *failures)),
        Said::Recovered { .. } if !row.is_failing => None,
        Said::Recovered { next } => Some(control.u64(control::POSITION, *next)),
        Said::Parked { .. } if is_recent(row.parked_us) => None,
        Said::Parked {
            code,
            position,
            parked,
        } => Some(why(code, *position).u64(control::COUNT, *parked)),
        Said::Stopped { .. } if row.state != SinkState::Running => None,
        Said::Stopped { code, next } => Some(why(code, *next)),
        Said::Renewed => row.is_unauthorised().then_some(control),
    }
}

/// Agents change no sinks: what leaves the log is not theirs to say.
fn may(context: &DecideContext<'_>) -> Result<bool, AppendError> {
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    Ok(header.authority != Authority::Agent)
}

fn draft<T: TypedEvent>(name: &str, event: &T) -> Result<Draft, EventError> {
    let event = NewEvent::typed(event, STREAM)?;
    let event = event.tag(format!("{}:{name}", control::TAG));
    Ok(Draft::new(event).control(Control::new().text(control::NAME, name)))
}

fn row_of(context: &DecideContext<'_>, name: &str) -> Result<Option<SinkRow>, AppendError> {
    let row = context.fold_row(FOLD, &sink_key(name))?;
    let epoch = context.fold_row(FOLD, EPOCH_KEY)?;
    stands(row, epoch).map_err(|error| AppendError::FoldStopped {
        fold: FOLD.to_owned(),
        position: context.next_position().get(),
        why: error.to_string(),
    })
}

/// How the sink of a row stands in the newest epoch.
fn stands(row: Option<Vec<u8>>, epoch: Option<Vec<u8>>) -> Result<Option<SinkRow>, FoldError> {
    let Some(row) = row else {
        return Ok(None);
    };
    let epoch = epoch.map(|epoch| decode_epoch(&epoch)).transpose()?;
    Ok(Some(SinkRow::decode(&row)?.in_epoch(epoch)))
}

fn unreadable(error: impl std::fmt::Display) -> ReadError {
    ReadError::Fold {
        fold: FOLD.to_owned(),
        why: error.to_string(),
    }
}

/// A fold that stopped knows nothing of what came after.
fn check(log: &Log) -> Result<(), ReadError> {
    let folds = log.fold_status()?;
    let stopped = folds
        .into_iter()
        .find(|fold| fold.name == FOLD)
        .and_then(|fold| fold.stopped);
    match stopped {
        Some((position, why)) => Err(unreadable(format!(
            "it stopped at position {position}: {why}"
        ))),
        None => Ok(()),
    }
}

/// How a sink stands.
fn row(log: &Log, name: &str) -> Result<Option<SinkRow>, ReadError> {
    check(log)?;
    let row = log.fold_row(FOLD, &sink_key(name))?;
    stands(row, log.fold_row(FOLD, EPOCH_KEY)?).map_err(unreadable)
}

/// How every sink stands, in the order of their names.
pub(crate) fn rows(log: &Log) -> Result<Vec<(String, SinkRow)>, ReadError> {
    check(log)?;
    let mut all = Vec::new();
    let prefix = sinks_prefix();
    let mut from = prefix.clone();
    let epoch = log.fold_row(FOLD, EPOCH_KEY)?;
    loop {
        let page = log.fold_rows(FOLD, &prefix, &from, PAGE)?;
        let last = page.last().filter(|_| page.len() == PAGE);
        let next = last.map(|(key, _)| [key.as_slice(), &[0]].concat());
        for (key, row) in page {
            let name = key.get(prefix.len()..).unwrap_or_default().to_vec();
            let name = String::from_utf8(name).map_err(unreadable)?;
            let row = stands(Some(row), epoch.clone()).map_err(unreadable)?;
            all.extend(row.map(|row| (name, row)));
        }
        match next {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}
