//! `export` and `load`: a whole log as a file of lines, and back.

use super::epoch::note_replica;
use crate::args::{ExportArgs, place_of};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Output, Progress, base64, bytes, count, counted, write_record};
use crate::session::{Access, Session};
use runstone::replay::again::Recording;
use runstone::sinks::{ArchivedLog, S3Config};
use runstone::{ExportReport, Log, Query, ReadError, Record, UnsignedTail};
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

#[derive(Serialize)]
struct Exported<'a> {
    file: &'a Path,
    events: u64,
    bytes: u64,
    root: String,
    erased: u64,
    withheld: u64,
}

#[derive(Serialize)]
struct Opened<'a> {
    file: &'a Path,
    events: u64,
}

#[derive(Serialize)]
struct CallsWritten<'a> {
    file: &'a Path,
    runs: usize,
    items: usize,
}

#[derive(Serialize)]
struct Loaded<'a> {
    log: &'a Path,
    log_id: String,
    events: u64,
    bytes: u64,
    root: String,
    /// Events under the newest checkpoint that came with them.
    signed: u64,
    erased: u64,
    withheld: u64,
}

pub(crate) fn export(session: &Session, args: &ExportArgs) -> Result<Exit, Failure> {
    if !args.calls.is_empty() {
        return calls(session, args);
    }
    let query = args.query.clone();
    let query = query.unwrap_or_else(Query::everything);
    if args.recipient.is_some() && !args.open {
        let why = "--recipient says who is shown content: it goes with --open or --calls";
        return Err(Report::usage(why).into());
    }
    if args.open {
        return open(session, args, &query);
    }
    let bar = Progress::events(&session.output, "exporting");
    let report = session.with(Access::Events, |log| {
        let export = |put: &mut dyn FnMut(&[u8]) -> Result<(), Failure>| {
            log.export(&query, put, &|done, all| bar.set(done, all))
        };
        to_output(args.output.as_deref(), export)
    })?;
    drop(bar);
    if let Some(file) = &args.output {
        session
            .output
            .answer(&exported(file, &report), || said(file, &report))?;
        let note = "keys are not in it: runstone keys backup FILE copies them, to another place";
        session.output.note(note);
    }
    Ok(Exit::Done)
}

fn exported<'a>(file: &'a Path, report: &ExportReport) -> Exported<'a> {
    Exported {
        file,
        events: report.events,
        bytes: report.bytes,
        root: base64(&report.root),
        erased: report.erased,
        withheld: report.withheld,
    }
}

fn said(file: &Path, report: &ExportReport) -> String {
    let (file, size) = (file.display(), bytes(report.bytes));
    let mut text = format!("{file}: {} events, {size}", count(report.events));
    text.push_str(&without_content(report.erased, report.withheld));
    text
}

/// How many events are without their content, if any.
fn without_content(erased: u64, withheld: u64) -> String {
    let parts = [(erased, "erased"), (withheld, "withheld")];
    let parts = parts.into_iter().filter(|(events, _)| *events > 0);
    let parts = parts.map(|(events, why)| format!("; content of {} {why}", count(events)));
    parts.collect()
}

/// Takes bytes to where they are to go: whole lines, some at a time.
type Put<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// Writes to a file, which is there whole or not at all, or to stdout.
fn to_output<T>(
    file: Option<&Path>,
    write: impl FnOnce(Put<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(path) = file else {
        let mut results = Output::results();
        let written = write(&mut |bytes| results.raw(bytes))?;
        results.flush()?;
        return Ok(written);
    };
    files::refuse_existing(path)?;
    files::write_by(path, files::SECRET, |out| {
        let failed = |error| Report::file(path, &error);
        let mut out = std::io::BufWriter::new(out);
        let written = write(&mut |bytes| Ok(out.write_all(bytes).map_err(failed)?))?;
        out.flush().map_err(failed)?;
        Ok(written)
    })
}

/// The content in the clear.
fn open(session: &Session, args: &ExportArgs, query: &Query) -> Result<Exit, Failure> {
    let bar = Progress::events(&session.output, "opening");
    let (mut events, mut worst) = (0_u64, None);
    let mut export = |log: &Log, put: Put<'_>| {
        let mut line = Vec::new();
        let each = |item: Result<Record, ReadError>| {
            let record = match item {
                Ok(record) => record,
                // A damaged event is told, and the next one follows.
                Err(error) => {
                    let report = Report::from(error);
                    bar.pause(|| session.output.error(&report));
                    worst = Some(report.exit);
                    return Ok(());
                }
            };
            events += 1;
            line.clear();
            write_record(&record, &mut line);
            put(&line)
        };
        let recipient = args.recipient.as_deref();
        log.export_open(query, recipient, each, &|done, all| bar.set(done, all))
    };
    session.with(Access::Write, |log| {
        to_output(args.output.as_deref(), |put| export(log, put))
    })?;
    drop(bar);
    if let Some(file) = &args.output {
        let answer = Opened { file, events };
        session.output.answer(&answer, || {
            format!("{}: {} events in the clear", file.display(), count(events))
        })?;
    }
    Ok(worst.unwrap_or(Exit::Done))
}

/// What runs called and were answered.
fn calls(session: &Session, args: &ExportArgs) -> Result<Exit, Failure> {
    let bar = Progress::events(&session.output, "reading");
    let recording = session.with(Access::Write, |log| {
        let recording = Recording::of(log, &args.calls)?;
        // That it is shown is recorded before it is.
        let query = Recording::query(log, &args.calls)?;
        let shown = |_| Ok::<_, Failure>(());
        let recipient = args.recipient.as_deref();
        log.export_open(&query, recipient, shown, &|done, all| bar.set(done, all))?;
        Ok::<_, Failure>(recording)
    })?;
    drop(bar);
    let mut lines = Vec::new();
    recording
        .write(&mut lines)
        .map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
    to_output(args.output.as_deref(), |put| put(&lines))?;
    if let Some(file) = &args.output {
        let runs = recording.runs.len();
        let items: usize = recording.runs.values().map(|run| run.items.len()).sum();
        let answer = CallsWritten { file, runs, items };
        session.output.answer(&answer, || {
            let file = file.display();
            let items = counted(items, "step or call", "steps and calls");
            let runs = counted(runs, "run", "runs");
            format!("{file}: {items} of {runs}, in the clear")
        })?;
    }
    Ok(Exit::Done)
}

/// The URL of an archive, if one is named: a folder is one too.
fn archive_of(place: &Path) -> Result<Option<String>, Failure> {
    let text = place.to_string_lossy();
    if !text.contains("://") && !place.is_dir() {
        return Ok(None);
    }
    let url = place_of(&text).map_err(|error| Report::file(place, &error))?;
    Ok(Some(url))
}

pub(crate) fn load(session: &Session, file: &Path, unsigned: bool) -> Result<Exit, Failure> {
    let (output, log) = (&session.output, &session.log);
    let bar = Progress::events(output, "loading");
    let progress = |done, all| bar.set(done, all);
    let report = if file == Path::new("-") {
        Log::load(std::io::stdin().lock(), log, &progress)?
    } else if let Some(url) = archive_of(file)? {
        let tail = if unsigned {
            UnsignedTail::Taken
        } else {
            UnsignedTail::Refused
        };
        Log::load_segments(
            &mut ArchivedLog::open(&url, &S3Config::default(), None)?,
            log,
            tail,
            &progress,
        )?
    } else {
        let input = File::open(file).map_err(|error| Report::file(file, &error))?;
        Log::load(BufReader::with_capacity(1 << 20, input), log, &progress)?
    };
    drop(bar);
    let answer = Loaded {
        log,
        log_id: report.log_id.to_string(),
        events: report.events,
        bytes: report.bytes,
        root: base64(&report.root),
        signed: report.signed,
        erased: report.erased,
        withheld: report.withheld,
    };
    output.answer(&answer, || {
        let (log, events) = (log.display(), count(report.events));
        let without = without_content(report.erased, report.withheld);
        format!("{log} is a replica of {events} events{without}: it can be read and verified")
    })?;
    note_replica(session);
    if report.signed < report.events {
        let behind = count(report.events - report.signed);
        output.note(&format!(
            "the last {behind} events are under no checkpoint of a key that the log names"
        ));
    }
    if report.withheld > 0 {
        output
            .note("what is withheld is not here: a log that goes on from this copy is without it");
    }
    Ok(Exit::Done)
}
