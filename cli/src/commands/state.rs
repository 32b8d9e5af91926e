//! `state`: a run as it stands, or stood.

use super::budget;
use super::effect;
use super::runs;
use super::task;
use crate::args::StateArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, printable};
use crate::session::{Access, Session};
use runstone::Log;
use runstone::budgets::Budgets;
use runstone::codec::Position;
use runstone::projections::sessions::Document;
use runstone::replay::{State, Step, StepStatus, state};
use runstone::tasks::Tasks;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    position: Position,
    session: &'a Document,
    steps: Vec<StepLine<'a>>,
    tasks: &'a [task::Line],
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
    session.with(Access::Folds, |log| {
        let stream = &args.stream;
        let at = args.point()?.find(log, stream)?;
        let at = at.ok_or_else(|| absent(stream, args))?;
        let told = shown(session, log, (stream, at), |answer, state| {
            let output = &session.output;
            output.answer(answer, || text(answer, state, output))?;
            Ok(())
        })?;
        told.ok_or_else(|| absent(stream, args))?;
        Ok(Exit::Done)
    })
}

/// What is answered for a point, as a value; `None` if nothing was recorded by then.
pub(crate) fn answered(
    session: &Session,
    log: &Log,
    stream: &str,
    at: Position,
) -> Result<Option<Value>, Failure> {
    // Its members have names, so it is a value.
    shown(session, log, (stream, at), |answer, _| {
        Ok(serde_json::to_value(answer).unwrap_or_default())
    })
}

fn shown<T>(
    session: &Session,
    log: &Log,
    (stream, at): (&str, Position),
    show: impl FnOnce(&Answer<'_>, &State) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let output = &session.output;
    let Some(state) = state(log, stream, at)? else {
        return Ok(None);
    };
    let missing = state.session.missing;
    if missing > 0 {
        output.warn(
            "session_incomplete",
            &format!(
                "{missing} changes of the session were erased or cannot be read; it is without them"
            ),
        );
    }
    let ledger = Tasks::new(log);
    let tasks = state.tasks.iter();
    let tasks: Vec<_> = tasks
        .map(|found| task::Line::of(&ledger, found, output))
        .collect();
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
        session: &state.session.document,
        steps: state.steps.iter().map(|step| StepLine::of(step)).collect(),
        tasks: &tasks,
        budgets: &budgets,
        effects: &effects,
        summary: &summary,
    };
    show(&answer, &state).map(Some)
}

fn text(answer: &Answer<'_>, state: &State, output: &Output) -> String {
    let mut text = runs::whole(&state.summary, answer.summary, output);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nas of position {}", answer.position);
    if !state.steps.is_empty() {
        let _ = writeln!(text, "\n{}", steps(&state.steps, output));
    }
    if !answer.tasks.is_empty() {
        let _ = writeln!(text, "\n{}", task::table(answer.tasks, output));
    }
    if !answer.effects.is_empty() {
        let _ = writeln!(text, "\n{}", effect::table(answer.effects, output));
    }
    if !answer.budgets.is_empty() {
        let _ = writeln!(text, "\n{}", budget::table(answer.budgets, output));
    }
    let json = serde_json::to_string_pretty(answer.session).unwrap_or_default();
    let _ = write!(text, "\n{}", printable(&json));
    text
}

fn steps(steps: &[Arc<Step>], output: &Output) -> String {
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
