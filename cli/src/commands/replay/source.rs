//! The log of a run that is looked at for longer: its file is held only while something of it is read.

use crate::error::{Exit, Failure, Report};
use crate::output::HOLDER_LOST;
use crate::session::{Access, Session, instant};
use runstone::{Log, LogId, Read, ReadError, Record};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the file stays open after something of it was read.
const IDLE: Duration = Duration::from_millis(300);
/// How long it stays open where something of it is read again and again.
const LONGEST: Duration = Duration::from_secs(1);

/// An event, or why it cannot be read.
pub(super) type Event = Result<Record, ReadError>;

/// A log that is opened when something of it is read. Whoever waits with it calls
/// [`rest`](Self::rest) before.
#[derive(Debug)]
pub(super) struct Source<'a> {
    session: &'a Session,
    open: Option<Open>,
    log_id: LogId,
    /// Events that it had when it was opened last.
    size: u64,
    /// How often it was opened.
    openings: u64,
    is_busy: bool,
}

/// When something of a log was read: as long as it is the same, nothing of it was erased since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    openings: u64,
    events: u64,
}

#[derive(Debug)]
struct Open {
    log: Log,
    since: Instant,
    read_at: Instant,
}

impl Open {
    fn new(log: Log) -> Self {
        let now = instant();
        Self {
            log,
            since: now,
            read_at: now,
        }
    }
}

impl<'a> Source<'a> {
    /// Opens the log, as patiently as any command does.
    pub(super) fn open(session: &'a Session) -> Result<Self, Failure> {
        let log = session.open(Access::Events)?;
        Ok(Self {
            session,
            log_id: log.info().log_id,
            size: log.size(),
            open: Some(Open::new(log)),
            openings: 1,
            is_busy: false,
        })
    }

    /// Events that the log has at least.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether another process held it when something was to be read last.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// This moment: another one once somebody else may have had the file, or something was recorded,
    /// as every erasure is.
    pub(super) fn moment(&mut self) -> Result<Moment, Failure> {
        let events = self.read(|log| Ok(log.size()))?;
        Ok(Moment {
            openings: self.openings,
            events,
        })
    }

    /// Reads something, again if the process that holds the log went away meanwhile.
    pub(super) fn read<T>(
        &mut self,
        mut read: impl FnMut(&Log) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        for _ in 0..2 {
            let outcome = read(self.log()?);
            if let Some(open) = &mut self.open {
                open.read_at = instant();
            }
            match outcome {
                Err(error) if error.code() == HOLDER_LOST => self.open = None,
                outcome => return Ok(outcome?),
            }
        }
        Ok(read(self.log()?)?)
    }

    /// Events that are read at once; each that is damaged has its place among them.
    pub(super) fn page(&mut self, what: &Read) -> Result<VecDeque<Event>, Failure> {
        self.read(|log| {
            let mut found = VecDeque::new();
            for event in log.read(what.clone())? {
                match event {
                    Err(error) if error.position().is_none() => return Err(error),
                    event => found.push_back(event),
                }
            }
            Ok(found)
        })
    }

    /// The log, opened again if that must be: tried for a moment only.
    fn log(&mut self) -> Result<&Log, Failure> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(self.open_again()?),
        };
        Ok(&self.open.insert(open).log)
    }

    fn open_again(&mut self) -> Result<Log, Failure> {
        let opened = self.session.open_again();
        self.is_busy = opened.as_ref().is_err_and(is_busy);
        let log = opened?;
        if log.info().log_id != self.log_id {
            let message = "another log stands in the place of the one that was opened";
            return Err(Report::new(Exit::Conflict, "other_log", message).into());
        }
        self.size = log.size();
        self.openings = self.openings.saturating_add(1);
        Ok(log)
    }

    /// Gives the file back, if nothing else is read of it soon.
    pub(super) fn rest(&mut self, waiting: Duration) -> Result<(), Failure> {
        let is_due = |open: &Open| {
            !open.log.is_attached()
                && (open.read_at.elapsed() + waiting >= IDLE || open.since.elapsed() >= LONGEST)
        };
        if self.open.as_ref().is_some_and(is_due) {
            self.close()?;
        }
        Ok(())
    }

    /// Gives the log back.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        if let Some(open) = self.open.take() {
            open.log.close_blocking()?;
        }
        Ok(())
    }
}

/// `None` where another process holds the log.
pub(super) fn unless_busy<T>(outcome: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match outcome {
        Err(failure) if is_busy(&failure) => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Whether another process holds the log.
pub(super) fn is_busy(failure: &Failure) -> bool {
    matches!(failure, Failure::Report(report) if report.exit == Exit::Busy)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::args::Cli;
    use crate::output::Output;
    use clap::Parser as _;
    use std::path::Path;

    /// A command on this log.
    pub(in super::super) fn session(log: &Path) -> Session {
        let words = ["runstone".as_ref(), "--log".as_ref(), log.as_os_str()];
        let words = words.into_iter().chain(["orphans".as_ref()]);
        Session::new(Cli::parse_from(words).global, Output::new(true, true))
    }
}
