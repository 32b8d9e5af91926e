//! `state`: a run as it stands, or stood.

use super::budget;
use super::effect;
use super::runs;
use crate::args::StateArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, printable};
use crate::session::{Access, Session};
use runstone::budgets::Budgets;
use runstone::codec::Position;
use runstone::replay::{Step, StepStatus, state};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    position: Position,
    session: &'a Value,
    steps: Vec<StepLine<'a>>,
    budgets: &'a [budget::Line],
    effects: &'a [effect::Line],
    summary: &'a runs::Line<'a>,
}

/// A step as other programs see it.
#[derive(Serialize)]
struct StepLine<'a> {
    node: Option<&'a str>,
    attempt: u64,
    status: StepStatus,
    began: Option<Position>,
    ended: Option<Position>,
}

impl<'a> StepLine<'a> {
    fn of(step: &'a Step) -> Self {
        Self {
            node: step.node.as_deref(),
            attempt: step.attempt,
            status: step.status,
            began: step.began,
            ended: step.ended,
        }
    }
}

pub(crate) fn run(session: &Session, args: &StateArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    session.with(Access::Folds, |log| {
        let stream = &args.stream;
        let at = args.point()?.find(log, stream)?;
        let at = at.ok_or_else(|| absent(stream, args))?;
        let state = state(log, stream, at)?.ok_or_else(|| absent(stream, args))?;
        let missing = state.session.missing;
        if missing > 0 {
            output.warn(
                "session_incomplete",
                &format!("{missing} changes of the session were erased or cannot be read; it is without them"),
            );
        }
        let effects = state.effects.iter();
        let effects: Vec<_> = effects
            .map(|found| effect::Line::of(log, found, output))
            .collect();
        let ledger = Budgets::new(log);
        let budgets = state.budgets.iter();
        let budgets = budgets.map(|found| budget::Line::of(&ledger, found));
        let budgets = budgets.collect::<Result<Vec<_>, _>>()?;
        let summary = runs::Line::of(log, &state.summary, output);
        let answer = Answer {
            stream,
            position: at,
            session: state.session.document.value(),
            steps: state.steps.iter().map(StepLine::of).collect(),
            budgets: &budgets,
            effects: &effects,
            summary: &summary,
        };
        output.answer(&answer, || {
            let mut text = runs::whole(&state.summary, &summary, output);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\nas of position {at}");
            if !state.steps.is_empty() {
                let _ = writeln!(text, "\n{}", steps(&state.steps, output));
            }
            if !effects.is_empty() {
                let _ = writeln!(text, "\n{}", effect::table(&effects, output));
            }
            if !budgets.is_empty() {
                let _ = writeln!(text, "\n{}", budget::table(&budgets, output));
            }
            let json = serde_json::to_string_pretty(answer.session).unwrap_or_default();
            let _ = write!(text, "\n{}", printable(&json));
            text
        })?;
        Ok(Exit::Done)
    })
}

fn steps(steps: &[Step], output: &Output) -> String {
    let columns = [
        ("step", Align::Left),
        ("attempt", Align::Right),
        ("status", Align::Left),
        ("began", Align::Right),
        ("ended", Align::Right),
    ];
    let mut table = Table::new(output, &columns);
    for step in steps {
        let at = |position: Option<Position>| {
            let text = position.map_or_else(String::new, |at| at.to_string());
            (text, Tone::Dim)
        };
        let tone = match step.status {
            StepStatus::Failed | StepStatus::Blocked => Tone::Warn,
            _ => Tone::Plain,
        };
        let node = step.node.as_deref().unwrap_or("(erased)");
        table.row(vec![
            (node.to_owned(), Tone::Plain),
            (step.attempt.to_string(), Tone::Plain),
            (step.status.to_string(), tone),
            at(step.began),
            at(step.ended),
        ]);
    }
    table.text()
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
