//! `hold`: scopes that must not be erased.

use crate::args::HoldArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count};
use crate::session::{Access, Session};
use runstone::codec::Position;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    scope: &'a str,
    held: bool,
    position: Position,
}

pub(crate) fn run(session: &Session, args: &HoldArgs) -> Result<Exit, Failure> {
    let Some(scope) = &args.scope else {
        return list(session);
    };
    let position = session.with(Access::Write, |log| {
        if !args.release {
            return Ok(log.hold(scope)?);
        }
        if log.hold_of(scope)?.is_none() {
            let message = format!("scope `{scope}` is not held");
            return Err(Report::new(Exit::NotFound, "scope_not_held", message).into());
        }
        Ok(log.release_hold(scope)?)
    })?;
    let line = Line {
        scope,
        held: !args.release,
        position,
    };
    session.output.answer(&line, || {
        let what = if line.held {
            "is held and will not be erased"
        } else {
            "may be erased again"
        };
        format!("scope {scope} {what} (position {position})")
    })?;
    Ok(Exit::Done)
}

fn list(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    let holds = session.with(Access::Events, |log| Ok(log.holds()?))?;
    if output.json {
        let mut results = Output::results();
        for (scope, position) in holds {
            results.json(&Line {
                scope: &scope,
                held: true,
                position,
            })?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    if holds.is_empty() {
        output.note("no scope is held");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(output, &[("scope", Align::Left), ("since", Align::Right)]);
    for (scope, position) in holds {
        table.row(vec![
            (scope, Tone::Plain),
            (count(position.get()), Tone::Plain),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
