//! `fork`: a run that goes on from a point of another one.

use crate::args::{ForkArgs, point};
use crate::error::{Exit, Failure};
use crate::output::printable;
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::projections::budgets::Owner;
use runstone::replay::{Fork, Point, fork_blocking};
use runstone::{Log, runs};
use serde::Serialize;

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    parent: &'a str,
    at: Position,
}

pub(crate) fn run(session: &Session, args: ForkArgs) -> Result<Exit, Failure> {
    session.with(Access::Write, |log| {
        let meant = point(args.at, args.revision).unwrap_or(Point::Newest);
        let at = meant.find(log, &args.stream)?.unwrap_or(Position::new(0));
        let stream = match args.as_stream {
            Some(stream) => stream,
            None => free(log, &args.stream, at)?,
        };
        let mut fork = Fork::new(stream, args.stream, at);
        fork.name = args.name;
        fork.budget = args.budget.map(Owner::new);
        let forked = fork_blocking(log, &fork)?;
        let answer = Answer {
            stream: &forked.stream,
            parent: &forked.from.stream,
            at: forked.from.at,
        };
        session.output.answer(&answer, || {
            let [stream, parent] = [answer.stream, answer.parent].map(printable);
            let was_there = if forked.was_there { " already" } else { "" };
            format!("{stream} goes on from {parent} after position {at}{was_there}\n")
        })?;
        Ok(Exit::Done)
    })
}

/// The first name of a fork that no run has.
fn free(log: &Log, stream: &str, at: Position) -> Result<String, Failure> {
    let mut name = format!("{stream}/fork-{at}");
    let mut next = 2_u64;
    while runs::get(log, &name)?.is_some() {
        name = format!("{stream}/fork-{at}-{next}");
        next = next.saturating_add(1);
    }
    Ok(name)
}
