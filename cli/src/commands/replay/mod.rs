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
use source::{Source, unless_busy};
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
    let is_played = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if output.json || !is_played {
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
    let mut printer = Printer::new(output, None);
    let (mut results, mut buffer) = (Output::results(), Vec::new());
    let show = |record: Result<Record, ReadError>| {
        match record {
            Ok(record) => printer.put(&record, &mut buffer, &mut results)?,
            Err(error) => {
                results.flush()?;
                printer.damaged(error)?;
            }
        }
        // Whoever sees it waits for the next one.
        if args.speed.is_some() {
            results.flush()?;
        }
        Ok(())
    };
    let wait = |source: &mut Source<'_>, pause| {
        source.rest(pause)?;
        rest(pause)
    };
    each(&mut source, args, last, (wait, show))?;
    results.flush()?;
    source.close()?;
    Ok(printer.worst.unwrap_or(Exit::Done))
}

/// Shows the events of a run up to its last one, each after its pause.
fn each(
    source: &mut Source<'_>,
    args: &ReplayArgs,
    last: u64,
    (mut wait, mut show): (
        impl FnMut(&mut Source<'_>, Duration) -> Result<(), Failure>,
        impl FnMut(Result<Record, ReadError>) -> Result<(), Failure>,
    ),
) -> Result<(), Failure> {
    let first = source.read(|log| Found::at(log, &args.stream, args.revision))?;
    let (mut next, mut from) = (first.revision, first.position.get());
    let mut before = None;
    'pages: while next <= last {
        let read = Read::new(Query::stream(&args.stream)).from(from);
        let read = read.limit(PAGE.min(last + 1 - next));
        let page = source
            .moment()
            .and_then(|read_at| Ok((read_at, source.page(&read)?)));
        let Some((read_at, page)) = unless_busy(page)? else {
            rest(AGAIN)?;
            continue;
        };
        if page.is_empty() {
            break;
        }
        for event in page {
            let found = Found::of(next, event)?;
            (next, from) = (found.revision, found.position.get());
            if let (Some(speed), Ok(record)) = (args.speed, &found.record)
                && let Some(before) = before.replace(happened_us(record))
            {
                let pause = pause(before, record, speed);
                if !pause.is_zero() {
                    wait(source, pause)?;
                    // Of what was read ahead something may be erased by now.
                    if unless_busy(source.moment())? != Some(read_at) {
                        continue 'pages;
                    }
                }
            }
            show(found.record)?;
            (next, from) = (next + 1, from + 1);
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::source::tests::session;
    use super::*;
    use runstone::{Erase, NewEvent, Payload, Runstone};

    #[test]
    fn what_is_erased_while_it_waits_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.redb");
        let log = Runstone::create(&path).unwrap();
        for second in 0..3 {
            let event = NewEvent::new("data.noted", "run-1").scope("ann");
            let event = event.occurred_at_us(second * 1_000_000);
            log.append_blocking(event.payload("\"secret\"")).unwrap();
        }
        log.close_blocking().unwrap();
        let args = ReplayArgs {
            stream: "run-1".to_owned(),
            speed: Some(0.5),
            step: false,
            revision: 0,
        };
        let session = session(&path);
        let mut source = Source::open(&session).unwrap();
        let (mut pauses, mut shown) = (Vec::new(), Vec::new());
        let wait = |source: &mut Source<'_>, pause| {
            pauses.push(pause);
            if pauses.len() == 2 {
                source.close()?;
                let log = Runstone::open(&path).unwrap();
                let erase = Erase::new("ann", "on-request");
                log.erase(&erase, &|_, _| {}).unwrap();
                log.close_blocking().unwrap();
            }
            Ok(())
        };
        let show = |record: Result<Record, ReadError>| {
            let record = record.unwrap();
            shown.push((record.revision.get(), record.payload == Payload::Erased));
            Ok(())
        };
        each(&mut source, &args, 2, (wait, show)).unwrap();
        assert_eq!(shown, [(0, false), (1, false), (2, true)]);
        assert_eq!(pauses, [Duration::from_secs(2); 2]);
    }
}
