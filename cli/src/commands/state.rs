//! `state`: a run as it stands, or stood.

use super::budget;
use super::effect;
use super::runs;
use crate::args::{StateArgs, parse_when};
use crate::error::{Exit, Failure, Report};
use crate::output::{now, printable};
use crate::session::{Access, Session};
use runstone::budgets::{self, Budgets};
use runstone::codec::Position;
use runstone::effects::of_stream;
use runstone::{Log, Query, Read, ReadError, sessions};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    position: Position,
    session: &'a Value,
    budgets: &'a [budget::Line],
    effects: &'a [effect::Line],
    summary: &'a runs::Line<'a>,
}

pub(crate) fn run(session: &Session, args: &StateArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    session.with(Access::Folds, |log| {
        let (stream, at) = (&args.stream, point(log, args)?);
        let run = runstone::runs::as_of(log, stream, at)?;
        let run = run.ok_or_else(|| absent(stream, args))?;
        let document = sessions::state_at(log, stream, Some(at))?;
        if document.missing > 0 {
            let missing = document.missing;
            output.warn(
                "session_incomplete",
                &format!("{missing} changes of the session were erased or cannot be read; it is without them"),
            );
        }
        let value = document.document.into_value();
        let effects: Vec<_> = of_stream(log, stream, at)?
            .iter()
            .map(|found| effect::Line::of(log, found, output))
            .collect();
        let ledger = Budgets::new(log);
        let budgets = budgets::state_at(log, stream, at)?;
        let budgets = budgets.iter().map(|found| budget::Line::of(&ledger, found));
        let budgets = budgets.collect::<Result<Vec<_>, _>>()?;
        let summary = runs::Line::of(log, &run, output);
        let answer = Answer {
            stream,
            position: at,
            session: &value,
            budgets: &budgets,
            effects: &effects,
            summary: &summary,
        };
        output.answer(&answer, || {
            let mut text = runs::whole(&run, &summary, output);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\nas of position {at}");
            if !effects.is_empty() {
                let _ = writeln!(text, "\n{}", effect::table(&effects, output));
            }
            if !budgets.is_empty() {
                let _ = writeln!(text, "\n{}", budget::table(&budgets, output));
            }
            let json = serde_json::to_string_pretty(&value).unwrap_or_default();
            let _ = write!(text, "\n{}", printable(&json));
            text
        })?;
        Ok(Exit::Done)
    })
}

fn absent(stream: &str, args: &StateArgs) -> Report {
    let is_past = args.at.is_some() || args.time.is_some();
    let by_then = if is_past { " at that point" } else { "" };
    let message = format!("there is no run `{stream}`{by_then}");
    let report = Report::new(Exit::NotFound, "run_not_found", message);
    if is_past {
        report.hint("runstone log --stream STREAM --limit 1 shows where it begins")
    } else {
        report
    }
}

/// The position that is meant: of the newest event of the stream, unless a point is given.
fn point(log: &Log, args: &StateArgs) -> Result<Position, Failure> {
    let stream = &args.stream;
    if let Some(at) = args.at {
        let size = log.size();
        if at >= size {
            let what = format!("at position {at}; the log has {size}");
            return Err(ReadError::NotFound { what }.into());
        }
        return Ok(Position::new(at));
    }
    if let Some(revision) = args.revision {
        return Ok(log.record_by_revision(stream, revision)?.position);
    }
    let mut newest = Read::new(Query::stream(stream)).without_payloads();
    newest.reverse = true;
    newest.limit = Some(1);
    if let Some(time) = &args.time {
        let until =
            parse_when(time, now()).map_err(|why| Report::usage(format!("--time: {why}")))?;
        newest.until_us = Some(until);
    }
    match log.read(newest)?.next() {
        Some(record) => Ok(record?.position),
        None => Err(absent(stream, args).into()),
    }
}
