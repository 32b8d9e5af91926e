//! `backup`, `compact` and `clock`: what keeps a log in order.

use crate::args::ClockCommand;
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Progress, base64, bytes, count};
use crate::session::{Access, Session};
use runstone::Log;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Copied<'a> {
    file: &'a Path,
    events: u64,
    bytes: u64,
    root: String,
}

#[derive(Serialize)]
struct Compacted {
    before_bytes: u64,
    after_bytes: u64,
}

#[derive(Serialize)]
struct Accepted {
    accepted: bool,
}

pub(crate) fn backup(session: &Session, file: &Path) -> Result<Exit, Failure> {
    files::refuse_existing(file)?;
    let output = &session.output;
    let bar = Progress::events(output, "copying");
    // Whoever holds the log has a folder of its own.
    let path = std::path::absolute(file).map_err(|error| Report::file(file, &error))?;
    let report = session.with(Access::Folds, |log| {
        Ok(log.backup(&path, &|done, all| bar.set(done, all))?)
    })?;
    drop(bar);
    let answer = Copied {
        file,
        events: report.events,
        bytes: report.bytes,
        root: base64(&report.root),
    };
    output.answer(&answer, || {
        format!(
            "{}: {} events, {}",
            file.display(),
            count(report.events),
            bytes(report.bytes)
        )
    })?;
    output.note("keys are not in it: runstone keys backup FILE copies them, to another place");
    Ok(Exit::Done)
}

pub(crate) fn compact(session: &Session) -> Result<Exit, Failure> {
    let bar = Progress::share(&session.output, "compacting");
    let report = session.patiently(|| {
        Log::compact(
            &session.log,
            session.options(Access::Write),
            &|done, all| bar.set(done, all),
        )
    })?;
    drop(bar);
    let (before, after) = (report.before_bytes, report.after_bytes);
    let answer = Compacted {
        before_bytes: before,
        after_bytes: after,
    };
    session.output.answer(&answer, || {
        format!("{} became {}", bytes(before), bytes(after))
    })?;
    Ok(Exit::Done)
}

pub(crate) fn clock(session: &Session, command: &ClockCommand) -> Result<Exit, Failure> {
    match command {
        ClockCommand::Accept => session.with(Access::Write, |log| {
            log.accept_clock()?;
            session.output.answer(&Accepted { accepted: true }, || {
                "the clock of this machine is adopted".to_owned()
            })?;
            Ok(Exit::Done)
        }),
    }
}
