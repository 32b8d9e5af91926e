//! Forking a run, and rolling one back.
//!
//! A fork is a run of its own that begins with what another one has up to a position: session, steps,
//! calls that were made. Nothing of that is copied. A rollback is an event from which on session and
//! steps are as they were; what was called, spent and approved stays so.

use super::command::{Unspent, is_held, row_of, spending_from};
use super::list::name_at;
use super::told::{ancestors, fork_of};
use super::{ForkPoint, RunError, RunHeld, RunSummary};
use crate::asks::{ForkRun, RollBackRun};
use crate::budgets::{self, BudgetError, BudgetLimits, Budgets, Open, Owner, OwnerId};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::{RunForked, RunRolledBack};
use crate::lease::Moment;
use crate::rows::RunRow;
use crate::settings::Settings;
use runstone_codec::{Authority, Control, Draft, NewEvent, Position};
use runstone_store::{AppendError, Decision, Log, ReadError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run that is to go on from a point of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[must_use = "a fork is nothing until it is made"]
pub struct Fork {
    /// Its stream.
    pub stream: String,
    /// The run that it goes on from, and the last position that it shares with it.
    pub from: ForkPoint,
    /// What runs. Default: what the other run is called.
    pub name: Option<String>,
    /// Whose budget it spends: that of the other run or one below it. Default: one of its own, named
    /// as its stream, below the one that the other run spends from.
    pub budget: Option<Owner>,
}

impl Fork {
    /// A fork of a run at a position of the log, which is the last one that it shares.
    pub fn new(stream: impl Into<String>, parent: impl Into<String>, at: Position) -> Self {
        Self {
            stream: stream.into(),
            from: ForkPoint::of((parent.into(), at.get())),
            name: None,
            budget: None,
        }
    }
}

/// A run that was forked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Forked {
    /// Its stream.
    pub stream: String,
    /// The run that it goes on from, and the last position that it shares with it.
    pub from: ForkPoint,
    /// Whether it was there already, of the same point.
    pub was_there: bool,
}

/// Session and steps of a run that are to be as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[must_use = "nothing is rolled back until it is recorded"]
pub struct RollBack {
    /// Its stream.
    pub stream: String,
    /// The position after which they are as they were.
    pub to: Position,
    /// The claim of the run that the caller holds. A person needs none; then nobody holds the run any
    /// more.
    pub fence: Option<Position>,
    /// Why.
    pub reason: Option<String>,
}

impl RollBack {
    /// Back to how they stood after a position.
    pub fn new(stream: impl Into<String>, to: Position) -> Self {
        Self {
            stream: stream.into(),
            to,
            fence: None,
            reason: None,
        }
    }

    /// By who holds the run.
    pub fn fence(mut self, fence: Position) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Why.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

#[derive(Debug)]
enum Verdict {
    Forked { was_there: bool },
    Exists(Box<RunSummary>),
    NotFound,
    Unspent(Unspent),
    OtherBudget,
    NotAllowed(Authority),
    Stale,
    RolledBack(Position),
}

/// Forks a run. Nobody holds the fork until it is resumed. Made again of the same point, it is left as
/// it is.
///
/// # Errors
///
/// [`RunError::Exists`] if there is another run of that name; [`RunError::OtherBudget`] if it is the
/// fork, and spends another budget than the one that is named; [`RunError::NoPoint`] if the run has
/// nothing at that position.
///
/// # Cancel safety
///
/// Dropped after its first poll, the fork may be there; asking for it again answers it.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn fork(log: &Log, fork: &Fork) -> Result<Forked, RunError> {
    forking(log, fork, Waiting::Async).await
}

/// [`fork`] for callers without a runtime.
///
/// # Errors
///
/// As [`fork`].
pub fn fork_blocking(log: &Log, fork: &Fork) -> Result<Forked, RunError> {
    at_once(forking(log, fork, Waiting::Blocking))
}

/// Rolls the session and the steps of a run back; answers where that is recorded.
///
/// # Errors
///
/// [`RunError::Stale`] if the caller does not hold the run; [`RunError::NotAllowed`] if he says that he
/// does not, and is no person or commander; [`RunError::NoPoint`] if the run has nothing at that position.
///
/// # Cancel safety
///
/// Dropped after its first poll, the command may be recorded.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn roll_back(log: &Log, back: &RollBack) -> Result<Position, RunError> {
    rolling_back(log, back, Waiting::Async).await
}

/// [`roll_back`] for callers without a runtime.
///
/// # Errors
///
/// As [`roll_back`].
pub fn roll_back_blocking(log: &Log, back: &RollBack) -> Result<Position, RunError> {
    at_once(rolling_back(log, back, Waiting::Blocking))
}

const EVENT: usize = 0;
/// Longest chain of forks: each of them is looked at for every call.
pub const MAX_FORKS: usize = 64;

async fn forking(log: &Log, fork: &Fork, waiting: Waiting) -> Result<Forked, RunError> {
    let ask = || ForkRun { fork: fork.clone() };
    if let Some(told) = asked(log, waiting, ask).await {
        return told;
    }
    let (parent, at) = (fork.from.stream.as_str(), fork.from.at);
    check_point(log, parent, (first_of(log, parent)?, at))?;
    let known = super::get(log, parent)?;
    let known = known.ok_or_else(|| not_found(parent))?;
    let depth = ancestors(log, parent)?.len();
    if depth >= MAX_FORKS {
        return Err(RunError::TooManyForks {
            stream: parent.to_owned(),
            limit: MAX_FORKS,
        });
    }
    let above = match &known.budget {
        Some(budget) => Some(above(log, parent, budget)?),
        None => None,
    };
    let budget = match (&fork.budget, &above) {
        (Some(owner), _) => Some(budgets::id_of(log, owner)?),
        (None, Some(above)) if super::get(log, &fork.stream)?.is_none() => {
            Some(own_budget(log, fork, above, waiting).await?)
        }
        (None, _) => None,
    };
    let name = match (&fork.name, known.started) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(started)) => name_at(log, started)?,
        (None, None) => None,
    };
    let in_force = Settings::in_force(log)?;
    let forked = RunForked {
        name,
        settings: Some(in_force.to_recorded()),
    };
    let event = NewEvent::typed(&forked, fork.stream.as_str())?.scope(known.scope.as_str());
    let draft = Draft::new(event).control(RunForked::control(parent, at.get()));
    let (stream, point) = (fork.stream.clone(), (parent.to_owned(), at.get()));
    let of_parent = (parent.to_owned(), known.budget.clone());
    let names_budget = fork.budget.is_some();
    let command = Command::new(log, vec![draft], move |context| {
        let (parent, known) = &of_parent;
        let budget_now = row_of(context, parent)?.and_then(|row| row.budget);
        if budget_now.as_ref().map(OwnerId::from) != *known {
            // It got one meanwhile.
            return Err(AppendError::Contended { times: 1 });
        }
        if let Some(row) = row_of(context, &stream)? {
            if row.forked.as_ref() == Some(&point) {
                let spends = row.budget.as_ref().map(OwnerId::from);
                if names_budget && spends != budget {
                    return Ok(Decision::nothing(Verdict::OtherBudget));
                }
                return Ok(Decision::nothing(Verdict::Forked { was_there: true }));
            }
            let moment = Moment::Now(context.opening(), context.steady_us());
            let run = Box::new(RunSummary::of(stream.clone(), row, &moment));
            return Ok(Decision::nothing(Verdict::Exists(run)));
        }
        let control = match &budget {
            Some(owner) => spending_from(context, owner, above.as_ref())?,
            None => Ok(Control::new()),
        };
        Ok(match control {
            Ok(control) => Decision::record(EVENT, control, Verdict::Forked { was_there: false }),
            Err(unspent) => Decision::nothing(Verdict::Unspent(unspent)),
        })
    })?;
    match command.run_by(log, waiting).await? {
        Verdict::Forked { was_there } => Ok(Forked {
            stream: fork.stream.clone(),
            from: fork.from.clone(),
            was_there,
        }),
        Verdict::Exists(run) => Err(RunError::Exists(run)),
        Verdict::OtherBudget => Err(RunError::OtherBudget {
            stream: fork.stream.clone(),
        }),
        Verdict::Unspent(unspent) => Err(unspent.of(fork.budget.as_ref()).into()),
        _ => Err(not_found(parent)),
    }
}

/// What forks of a run spend from, directly or below it: what the run does; or, if that is its own as a
/// fork, the one above, so that forks of forks do not lie deeper and deeper.
fn above(log: &Log, stream: &str, budget: &OwnerId) -> Result<OwnerId, RunError> {
    let own = budgets::id_of(log, &Owner::new(stream).scope(budget.scope.as_str()))?;
    let parent = if own == *budget && fork_of(log, stream)?.is_some() {
        let own = Budgets::new(log).get(budget)?;
        // One that somebody limited holds for its forks, too.
        own.filter(|own| own.limits == BudgetLimits::new())
            .and_then(|own| own.parent)
    } else {
        None
    };
    Ok(parent.unwrap_or_else(|| budget.clone()))
}

/// A budget of the fork's own: one of its name that is open as it is, else one without limits.
async fn own_budget(
    log: &Log,
    fork: &Fork,
    above: &OwnerId,
    waiting: Waiting,
) -> Result<OwnerId, BudgetError> {
    let owner = Owner::new(&fork.stream).scope(above.scope.as_str());
    let budgets = Budgets::new(log);
    let id = budgets::id_of(log, &owner)?;
    if budgets.get(&id)?.is_some() {
        return Ok(id);
    }
    let open = Open::new(owner).limits(BudgetLimits::new());
    let opened = budgets
        .open_below(&open, Some(above.clone()), waiting)
        .await?;
    Ok(opened.id)
}

async fn rolling_back(log: &Log, back: &RollBack, waiting: Waiting) -> Result<Position, RunError> {
    let ask = || RollBackRun { back: back.clone() };
    if let Some(told) = asked(log, waiting, ask).await {
        return told;
    }
    let stream = back.stream.as_str();
    // What it shares with others is its own, too.
    let first = match ancestors(log, stream)?.last() {
        Some((root, _)) => first_of(log, root)?,
        None => first_of(log, stream)?,
    };
    check_point(log, stream, (first, back.to))?;
    let event = RunRolledBack {
        reason: back.reason.clone(),
    };
    let fence = back.fence.map(Position::get);
    let draft = Draft::new(NewEvent::typed(&event, stream)?)
        .control(RunRolledBack::control(back.to.get(), fence));
    let (stream, fence) = (back.stream.clone(), back.fence);
    let command = Command::new(log, vec![draft], move |context| {
        let is_run = |row: &RunRow| row.started.is_some() || row.imported;
        if !row_of(context, &stream)?.as_ref().is_some_and(is_run) {
            return Ok(Decision::nothing(Verdict::NotFound));
        }
        let authority = context.candidate(EVENT).map(|(header, _)| header.authority);
        let refused = match fence {
            Some(fence) if !is_held(context, &RunHeld::new(stream.as_str(), fence))? => {
                Some(Verdict::Stale)
            }
            Some(_) => None,
            None => match authority {
                Some(Authority::Human | Authority::Commander) => None,
                other => Some(Verdict::NotAllowed(other.unwrap_or(Authority::System))),
            },
        };
        if let Some(refused) = refused {
            return Ok(Decision::nothing(refused));
        }
        let recorded = Verdict::RolledBack(context.next_position());
        Ok(Decision::record(EVENT, Control::new(), recorded))
    })?;
    match command.run_by(log, waiting).await? {
        Verdict::RolledBack(position) => Ok(position),
        Verdict::NotAllowed(authority) => Err(RunError::NotAllowed { authority }),
        Verdict::Stale => Err(RunError::Stale {
            stream: back.stream.clone(),
            fence: back.fence.unwrap_or(back.to),
        }),
        _ => Err(not_found(&back.stream)),
    }
}

/// Where a run begins.
fn first_of(log: &Log, stream: &str) -> Result<Position, RunError> {
    match log.record_by_revision(stream, 0) {
        Ok(record) => Ok(record.position),
        Err(ReadError::NotFound { .. }) => Err(not_found(stream)),
        Err(error) => Err(error.into()),
    }
}

fn check_point(log: &Log, stream: &str, (first, at): (Position, Position)) -> Result<(), RunError> {
    let size = log.size();
    if at >= first && at.get() < size {
        return Ok(());
    }
    let stream = stream.to_owned();
    Err(RunError::NoPoint {
        stream,
        at,
        first,
        size,
    })
}

fn not_found(stream: &str) -> RunError {
    RunError::NotFound {
        stream: stream.to_owned(),
    }
}
