//! `replay`: a run, played.
//!
//! ```text
//!  keys, time -> player (which event) -> scene (the state after it) -> page (lines) -> terminal
//! ```

mod page;
mod player;
mod scene;

use crate::args::ReplayArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Output, RecordLines, write_record};
use crate::session::{Access, Session};
use player::Player;
use runstone::{Log, Query, Read, Record};
use std::io::IsTerminal as _;
use std::time::Duration;

pub(crate) fn run(session: &Session, args: &ReplayArgs) -> Result<Exit, Failure> {
    session.with(Access::Events, |log| {
        let events = log.count(&Query::stream(&args.stream))?;
        let Some(last) = events.checked_sub(1) else {
            let message = format!("there is no run `{}`", args.stream);
            return Err(Report::new(Exit::NotFound, "run_not_found", message).into());
        };
        let output = &session.output;
        if output.json || !output.terminal || !std::io::stdin().is_terminal() {
            print(log, args, output)?;
        } else {
            Player::new(log, args, last)?.play()?;
        }
        Ok(Exit::Done)
    })
}

/// For whoever has no terminal.
fn print(log: &Log, args: &ReplayArgs, output: &Output) -> Result<(), Failure> {
    let first = log.record_by_revision(&args.stream, args.revision)?;
    let read = Read::new(Query::stream(&args.stream)).from(first.position);
    let lines = RecordLines::new(output);
    let mut results = Output::results();
    let (mut before, mut buffer) = (None, Vec::new());
    for record in log.read(read)? {
        let record = record?;
        if let (Some(speed), Some(before)) = (args.speed, before.replace(happened_us(&record))) {
            results.flush()?;
            std::thread::sleep(pause(before, &record, speed));
        }
        if output.json {
            buffer.clear();
            write_record(&record, &mut buffer)
                .map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
            results.raw(&buffer)?;
        } else {
            results.line(&lines.line(&record))?;
        }
    }
    results.flush()
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
