//! `sweep`: records what has expired.

use crate::error::{Exit, Failure};
use crate::session::{Access, Session};
use runstone::Swept;
use serde::Serialize;

/// What was recorded, by kind, as other programs see it.
#[derive(Serialize)]
struct Line {
    tasks: usize,
    calls: usize,
    approvals: usize,
    helpers: usize,
    reservations: usize,
}

impl From<Swept> for Line {
    fn from(swept: Swept) -> Self {
        Self {
            tasks: swept.tasks,
            calls: swept.calls,
            approvals: swept.approvals,
            helpers: swept.helpers,
            reservations: swept.reservations,
        }
    }
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let swept = session.with(Access::Write, |log| Ok(runstone::sweep(log)?))?;
    let line = Line::from(swept);
    session.output.answer(&line, || {
        format!(
            "tasks to be done again: {}\ncalls whose outcomes are unknown: {}\nrequests for approval that expired: {}\nhelpers that are gone: {}\nreservations that lapsed: {}\n",
            line.tasks, line.calls, line.approvals, line.helpers, line.reservations
        )
    })?;
    Ok(Exit::Done)
}
