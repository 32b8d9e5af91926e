//! `replay`: a run, played.
//!
//! ```text
//!  keys, time -> player (which event) -> scene (the state after it) -> page (lines) -> terminal
//! ```

mod ending;
mod page;
mod player;
mod scene;
mod source;

use super::log::{Printer, rest};
use crate::args::ReplayArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::Session;
use player::Player;
use runstone::{Log, Position, Query, Read, ReadError, Record};
use source::{Source, is_busy};
use std::io::IsTerminal as _;
use std::time::Duration;

/// Events that are printed at once.
const PAGE: u64 = 64;
/// Time between two looks whether the file is free.
const AGAIN: Duration = Duration::from_millis(200);

pub(crate) fn run(session: &Session, args: &ReplayArgs) -> Result<Exit, Failure> {
    let mut source = Source::open(session)?;
    let events = source.read(|log| log.count(&Query::stream(&args.stream)))?;
    let Some(last) = events.checked_sub(1) else {
        let message = format!("there is no run `{}`", args.stream);
        return Err(Report::new(Exit::NotFound, "run_not_found", message).into());
    };
    let output = &session.output;
    if output.json || !output.terminal || !std::io::stdin().is_terminal() {
        return print(source, args, (last, output));
    }
    Player::new(source, args, last)?.play(args.revision.min(last))?;
    Ok(Exit::Done)
}

/// For whoever has no terminal.
fn print(
    mut source: Source<'_>,
    args: &ReplayArgs,
    (last, output): (u64, &Output),
) -> Result<Exit, Failure> {
    let first = source.read(|log| Found::at(log, &args.stream, args.revision))?;
    let mut printer = Printer::new(output, None);
    let mut results = Output::results();
    let (mut before, mut buffer) = (None, Vec::new());
    let (mut next, mut from) = (first.revision, first.position.get());
    while next <= last {
        let read = Read::new(Query::stream(&args.stream)).from(from);
        let page = match source.page(&read.limit(PAGE.min(last + 1 - next))) {
            Err(failure) if is_busy(&failure) => {
                rest(AGAIN)?;
                continue;
            }
            page => page?,
        };
        if page.is_empty() {
            break;
        }
        for event in page {
            let found = Found::of(next, event)?;
            (next, from) = (found.revision + 1, found.position.get() + 1);
            let record = match found.record {
                Ok(record) => record,
                Err(error) => {
                    results.flush()?;
                    printer.damaged(error)?;
                    continue;
                }
            };
            if let (Some(speed), Some(before)) = (args.speed, before.replace(happened_us(&record)))
            {
                results.flush()?;
                let pause = pause(before, &record, speed);
                source.rest(pause)?;
                rest(pause)?;
            }
            printer.put(&record, &mut buffer, &mut results)?;
        }
    }
    results.flush()?;
    source.close()?;
    Ok(printer.worst.unwrap_or(Exit::Done))
}

/// An event of a run as it is found: one that is damaged has its place all the same.
#[derive(Debug)]
struct Found {
    revision: u64,
    position: Position,
    record: Result<Record, ReadError>,
}

impl Found {
    /// What was read at this revision; what has no place is the error of the whole read.
    fn of(revision: u64, record: Result<Record, ReadError>) -> Result<Self, ReadError> {
        let (revision, position, record) = match record {
            Ok(record) => (record.revision.get(), record.position, Ok(record)),
            Err(error) => match error.position() {
                Some(position) => (revision, Position::new(position), Err(error)),
                None => return Err(error),
            },
        };
        Ok(Self {
            revision,
            position,
            record,
        })
    }

    fn at(log: &Log, stream: &str, revision: u64) -> Result<Self, ReadError> {
        Self::of(revision, log.record_by_revision(stream, revision))
    }
}

/// When it happened: by the clock of who produced it, else by the log's.
fn happened_us(record: &Record) -> u64 {
    let occurred = record.header.occurred_at_us;
    occurred.unwrap_or(record.recorded_at_us)
}

/// How long to wait for an event after one that happened then.
fn pause(before_us: u64, record: &Record, speed: f64) -> Duration {
    let micros = happened_us(record).saturating_sub(before_us);
    let longest = Duration::from_secs(86_400);
    Duration::try_from_secs_f64(Duration::from_micros(micros).as_secs_f64() / speed)
        .map_or(longest, |pause| pause.min(longest))
}
