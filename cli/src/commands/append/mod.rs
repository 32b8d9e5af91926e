//! `append`: JSON lines, or one event from flags.

mod answers;
mod feed;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod line;
mod written;

use crate::args::AppendArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::{Access, Session};
use answers::{Answer, Answers, told};
use feed::{Feed, Found, each_line};
use line::Checks;
use runstone::codec::EventLimits;
use runstone::{Append, Condition, Log, NewEvent};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

/// Bytes of lines that wait for a commit.
const FEED_BYTES: usize = 16 << 20;
/// The mark that some programs put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line with its number, as far as it could be read.
struct Line {
    number: u64,
    append: Result<Append, Report>,
}

pub(crate) fn run(session: &Session, args: AppendArgs) -> Result<Exit, Failure> {
    let checks = Checks {
        expect: args.expect,
        condition: args.if_none.clone().map(|query| {
            let mut condition = Condition::none(query);
            condition.after = args.after;
            condition
        }),
    };
    if args.event_type.is_some() {
        return one(session, args, &checks);
    }
    // The input is opened first: a mistyped name is not worth a look at the log.
    let reader = open_input(args.file.as_deref(), &session.output)?;
    session.with(Access::Write, |log| {
        many(log, &session.output, reader, args.max_line_bytes, checks)
    })
}

/// One event from flags: it is recorded, or the command fails.
fn one(session: &Session, args: AppendArgs, checks: &Checks) -> Result<Exit, Failure> {
    let mut event = NewEvent::new(
        args.event_type.unwrap_or_default(),
        args.stream.unwrap_or_default(),
    )
    .payload(args.data)
    .tags(args.tags)
    .fields(args.fields);
    event.event_id = args.id;
    event.occurred_at_us = args.occurred_at;
    event.scope = args.scope;
    event.causation = args.causation;
    event.correlation = args.correlation;
    event.schema_version = args.schema_version.unwrap_or(event.schema_version);
    event.source = args.source.unwrap_or(event.source);
    event.check(&EventLimits::default())?;
    let mut append = Append::new([event.clone()]);
    append.conditions.extend(checks.condition.clone());
    if let Some(expected) = checks.expect {
        append = append.expect(event.stream, expected);
    }
    session.with(Access::Write, |log| {
        let appended = log.append_blocking(append)?;
        let answer = Answer::of(1, &appended);
        session.output.answer(&answer, || {
            let ids = answer.ids.join(", ");
            format!("{}, id {ids}", answer.text())
        })?;
        Ok(Exit::Done)
    })
}

fn open_input(file: Option<&Path>, output: &Output) -> Result<Box<dyn BufRead + Send>, Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            let opened = File::open(path).map_err(|error| Report::file(path, &error))?;
            if opened.metadata().is_ok_and(|meta| meta.is_dir()) {
                let message = format!("{} is a folder", path.display());
                return Err(Report::new(Exit::Usage, "not_a_file", message).into());
            }
            Ok(Box::new(BufReader::with_capacity(1 << 16, opened)))
        }
        _ => {
            if io::stdin().is_terminal() {
                output
                    .note("reading events from the terminal, one JSON object a line; Ctrl-D ends");
            }
            Ok(Box::new(BufReader::with_capacity(1 << 16, io::stdin())))
        }
    }
}

/// Many lines: each is recorded, or answered with an error, and the rest goes on.
fn many(
    log: &Log,
    output: &Output,
    reader: Box<dyn BufRead + Send>,
    max_line_bytes: usize,
    checks: Checks,
) -> Result<Exit, Failure> {
    let feed = Arc::new(Feed::new(FEED_BYTES));
    let filled = Arc::clone(&feed);
    let thread = std::thread::Builder::new()
        .name("runstone-read".to_owned())
        .spawn(move || {
            let outcome = fill(&filled, reader, max_line_bytes, &checks);
            filled.end();
            outcome
        })
        .map_err(|error| Report::new(Exit::Storage, "storage_io", error.to_string()))?;
    let mut answers = Answers::new(output);
    loop {
        let lines = feed.take();
        if lines.is_empty() {
            break;
        }
        if let Some(broken) = append_lines(log, lines, &mut answers)? {
            feed.close();
            return Err(broken
                .hint("lines without an answer were not appended")
                .into());
        }
    }
    let read = thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the reader stopped")));
    read.map_err(|error| {
        Report::new(
            Exit::Storage,
            "storage_io",
            format!("the input cannot be read on: {error}"),
        )
    })?;
    Ok(if answers.refused == 0 {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Reads lines into the feed.
fn fill(
    feed: &Feed<Line>,
    reader: Box<dyn BufRead + Send>,
    max_line_bytes: usize,
    checks: &Checks,
) -> io::Result<()> {
    each_line(reader, max_line_bytes, |number, found| {
        let (append, bytes) = match found {
            Found::Whole(text) => {
                let text = match text.strip_prefix(BYTE_ORDER_MARK) {
                    Some(text) if number == 1 => text,
                    _ => text,
                };
                match line::parse(text, checks) {
                    Some(append) => (append, text.len()),
                    None => return true,
                }
            }
            Found::TooLong(bytes) => {
                let message =
                    format!("the line has {bytes} bytes, at most {max_line_bytes} are allowed");
                (Err(Report::new(Exit::Usage, "line_too_long", message)), 0)
            }
        };
        feed.put(Line { number, append }, bytes)
    })
}

/// Appends lines in as few commits as possible, and answers them in order. What is wrong with the
/// log rather than with a line is given back: the next lines would fare no better.
fn append_lines(
    log: &Log,
    lines: impl IntoIterator<Item = Line>,
    answers: &mut Answers<'_>,
) -> Result<Option<Report>, Failure> {
    let (mut appends, mut places) = (Vec::new(), Vec::new());
    for line in lines {
        let refused = match line.append {
            Ok(append) => {
                appends.push(append);
                None
            }
            Err(report) => Some(report),
        };
        places.push((line.number, refused));
    }
    let mut outcomes = log.append_many_blocking(appends).into_iter();
    let mut broken = None;
    for (number, refused) in places {
        let outcome = match refused {
            Some(report) => Err(report),
            None => match outcomes.next() {
                Some(outcome) => outcome.map_err(Report::from),
                None => break,
            },
        };
        if let Err(report) = &outcome
            && matches!(report.exit, Exit::Storage | Exit::Keys | Exit::Corrupt)
        {
            broken.get_or_insert_with(|| told(number, report));
            if !answers.output.json {
                // One cause, told once, at the end.
                continue;
            }
        }
        answers.give(number, outcome)?;
    }
    answers.flush()?;
    Ok(broken)
}
