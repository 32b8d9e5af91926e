//! A run as it stood at a point.

use crate::steps::{Step, steps_of};
use runstone_codec::Position;
use runstone_projections::budgets::{self, Budget, BudgetError};
use runstone_projections::effects::{self, Effect};
use runstone_projections::runs::{self, RunSummary, Told};
use runstone_projections::sessions::{self, Session};
use runstone_projections::tasks::{self, Task};
use runstone_store::Log;
use std::sync::Arc;

/// A run as it stood after a position of the log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct State {
    /// Its stream.
    pub stream: String,
    /// The position.
    pub position: Position,
    /// Its document. What was rolled back by then is not in it, and what a fork shares is.
    pub session: Session,
    /// Its steps, likewise, in the order in which they began.
    pub steps: Vec<Arc<Step>>,
    /// The tasks that were created in its stream, in the order of their creation.
    pub tasks: Vec<Task>,
    /// The calls that were claimed in it, and those that a fork shares, in the order of their claims.
    pub effects: Vec<Arc<Effect>>,
    /// The owners that it spent from, and those above them.
    pub budgets: Vec<Budget>,
    /// What it did and used.
    pub summary: RunSummary,
}

/// A run as it stood after a position of the log; `None` if nothing was recorded in its stream by then.
/// It reads the events of the run, and of calls of which other streams tell, too.
///
/// # Errors
///
/// [`BudgetError::Read`] if the log cannot be read.
pub fn state(log: &Log, stream: &str, at: Position) -> Result<Option<State>, BudgetError> {
    let Some(summary) = runs::as_of(log, stream, at)? else {
        return Ok(None);
    };
    let told = Told::of(log, stream, Some(at))?;
    Ok(Some(State {
        stream: stream.to_owned(),
        position: at,
        session: sessions::told(log, &told)?,
        steps: steps_of(log, &told)?,
        tasks: tasks::of_stream(log, stream, at)?,
        effects: effects::of_stream(log, stream, at)?,
        budgets: budgets::state_at(log, stream, at)?,
        summary,
    }))
}
