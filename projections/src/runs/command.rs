//! Beginning a run, resuming it, and recording what happens in it.
//!
//! Whoever begins or resumes a run holds it; its **fence** is the position of that event. Only who
//! knows the fence in force records in it, so that one who was taken for dead changes nothing.

use super::fold::{FOLD, LEASE, stream_key};
use super::{RunError, RunSummary};
use crate::agents;
use crate::asks::{BeginRun, RenewRun};
use crate::budgets::decide::Books;
use crate::budgets::{self, BudgetError, Owner, OwnerId};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::{RunLeaseRenewed, RunResumed, RunStarted, control};
use crate::lease::{Hold, MAX_HOLDER_LEN, Moment};
use crate::rows::RunRow;
use crate::settings::{InForce, Settings};
use crate::view;
use runstone_codec::{Control, Draft, NewEvent, Position, Uuid};
use runstone_store::{AppendError, DecideContext, Decision, Log};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SECOND_US: u64 = 1_000_000;

/// A run that somebody wants to hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Begin {
    /// Its stream.
    pub stream: String,
    /// How it begins, if it does.
    pub started: RunStarted,
    /// Stream of the run that spawns it.
    pub parent: Option<String>,
    /// Scope of its stream.
    pub scope: Option<String>,
    /// Whose budget its steps and calls of models spend. One that it has already is kept; a run
    /// that another one spawns has that one's, or one below that.
    pub budget: Option<Owner>,
    /// Who holds it: a pseudonym, at most [`MAX_HOLDER_LEN`] bytes.
    pub holder: String,
    /// How long it is held without a word.
    pub hold: Hold,
    /// Whether one that is not there is started.
    pub may_start: bool,
    /// Whether one that is there is resumed.
    pub may_resume: bool,
    /// Whether one that ended is resumed too: it goes on from its last state, and has not ended
    /// then.
    pub may_reopen: bool,
    /// Ids of the events that record its start and its resumption, by which the caller finds out
    /// whether one was.
    #[schemars(with = "Option<[String; 2]>")]
    pub event_ids: Option<[Uuid; 2]>,
}

impl Begin {
    /// Starts a run, or goes on with it.
    pub fn new(stream: impl Into<String>, name: impl Into<String>) -> Self {
        let started = RunStarted {
            name: name.into(),
            ..RunStarted::default()
        };
        Self {
            stream: stream.into(),
            started,
            parent: None,
            scope: None,
            budget: None,
            holder: "unnamed".to_owned(),
            hold: Hold::Opening,
            may_start: true,
            may_resume: true,
            may_reopen: false,
            event_ids: None,
        }
    }

    /// As it counts for a holder in another process.
    pub(crate) fn seen_afar(mut self) -> Self {
        self.hold = self.hold.seen_afar();
        self
    }
}

/// A run that the caller holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RunHeld {
    /// Its stream.
    pub stream: String,
    /// Where it was begun or resumed.
    pub fence: Position,
}

impl RunHeld {
    /// The claim of a run whose fence is known.
    pub fn new(stream: impl Into<String>, fence: Position) -> Self {
        Self {
            stream: stream.into(),
            fence,
        }
    }
}

/// What [`begin`] answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a run is new or it is not")]
pub enum Begun {
    /// It is new.
    Started(RunHeld),
    /// It was there.
    Resumed(RunHeld),
}

impl Begun {
    /// The run.
    pub fn into_held(self) -> RunHeld {
        match self {
            Self::Started(held) | Self::Resumed(held) => held,
        }
    }
}

/// Why it is not held.
#[derive(Debug, Clone, Copy)]
enum Why {
    Held,
    Finished,
    Exists,
}

#[derive(Debug)]
enum Verdict {
    Begun(Begun),
    Refused(Box<RunSummary>, Why),
    NotFound,
    Unspent(Unspent),
    OtherBudget,
}

/// Why a run does not spend a budget.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unspent {
    Unknown,
    /// It is not one of those below the budget of the run that it comes from.
    Outside,
}

impl Unspent {
    pub(super) fn of(self, wanted: Option<&Owner>) -> BudgetError {
        let name = wanted.map(|owner| owner.name().to_owned());
        match self {
            Self::Unknown => BudgetError::UnknownOwner { name },
            Self::Outside => BudgetError::OtherParent {
                name: name.unwrap_or_default(),
            },
        }
    }
}

const STARTED: usize = 0;
const RESUMED: usize = 1;

/// Begins a run or goes on with it, and holds it.
///
/// # Errors
///
/// [`RunError`]; then nothing is recorded.
///
/// # Cancel safety
///
/// Dropped after its first poll, the run may be begun, and is held until its lease or opening ends.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn begin(log: &Log, begin: &Begin) -> Result<Begun, RunError> {
    begin_by(log, begin, Waiting::Async).await
}

/// [`begin`] for callers without a runtime.
///
/// # Errors
///
/// As [`begin`].
pub fn begin_blocking(log: &Log, begin: &Begin) -> Result<Begun, RunError> {
    at_once(begin_by(log, begin, Waiting::Blocking))
}

async fn begin_by(log: &Log, begin: &Begin, waiting: Waiting) -> Result<Begun, RunError> {
    let ask = || BeginRun {
        begin: begin.clone(),
    };
    if let Some(told) = asked(log, waiting, ask).await {
        return told;
    }
    let verdict = beginning(log, begin)?.run_by(log, waiting).await?;
    begun(begin, verdict)
}

/// The holder of a run goes on: it is held for as long again.
///
/// # Errors
///
/// [`RunError::Stale`] if somebody else holds it meanwhile, or it ended.
///
/// # Cancel safety
///
/// Dropped after its first poll, the command may be recorded.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn renew(log: &Log, run: &RunHeld, time: Hold) -> Result<Position, RunError> {
    renew_by(log, run, time, Waiting::Async).await
}

/// [`renew`] for callers without a runtime.
///
/// # Errors
///
/// As [`renew`].
pub fn renew_blocking(log: &Log, run: &RunHeld, time: Hold) -> Result<Position, RunError> {
    at_once(renew_by(log, run, time, Waiting::Blocking))
}

async fn renew_by(
    log: &Log,
    run: &RunHeld,
    time: Hold,
    waiting: Waiting,
) -> Result<Position, RunError> {
    let ask = || RenewRun {
        held: run.clone(),
        hold: time,
    };
    if let Some(told) = asked(log, waiting, ask).await {
        return told;
    }
    let length = time.length(default_us(&Settings::in_force(log)?));
    let renewed = NewEvent::typed(&RunLeaseRenewed {}, run.stream.as_str())?;
    let held = run.clone();
    let decide = move |context: &mut DecideContext<'_>| {
        if !is_held(context, &held)? {
            return Ok(Decision::nothing(None));
        }
        let (opening, steady_us) = (context.opening(), context.steady_us());
        let lease = LEASE.control(length, steady_us, &opening);
        Ok(Decision::record(0, lease, Some(context.next_position())))
    };
    let command = Command::new(log, vec![Draft::new(renewed)], decide)?;
    let renewed = command.run_by(log, waiting).await?;
    renewed.ok_or_else(|| RunError::Stale {
        stream: run.stream.clone(),
        fence: run.fence,
    })
}

fn default_us(in_force: &InForce) -> u64 {
    in_force.settings.leases.run_s.saturating_mul(SECOND_US)
}

pub(super) fn row_of(
    context: &DecideContext<'_>,
    stream: &str,
) -> Result<Option<RunRow>, AppendError> {
    view::typed_row(context, FOLD, &stream_key(stream))
}

/// What a run was forked from, if it was.
pub(crate) fn forked(
    context: &DecideContext<'_>,
    stream: &str,
) -> Result<Option<(String, u64)>, AppendError> {
    Ok(row_of(context, stream)?.and_then(|row| row.forked))
}

pub(super) fn is_held_by(row: &RunRow, held: &RunHeld) -> bool {
    row.fence == held.fence.get() && row.lease.is_some() && row.finished.is_none()
}

/// Whether a run is held by this claim.
pub(crate) fn is_held(context: &DecideContext<'_>, held: &RunHeld) -> Result<bool, AppendError> {
    let row = row_of(context, &held.stream)?;
    Ok(row.is_some_and(|row| is_held_by(&row, held)))
}

fn beginning(log: &Log, begin: &Begin) -> Result<Command<Verdict>, RunError> {
    let len = begin.holder.len();
    if len > MAX_HOLDER_LEN {
        return Err(RunError::TooLong {
            what: "holder".into(),
            len,
            limit: MAX_HOLDER_LEN,
        });
    }
    let in_force = Settings::in_force(log)?;
    let length = begin.hold.length(default_us(&in_force));
    let mut started = begin.started.clone();
    started.settings = Some(in_force.to_recorded());
    let holder = Control::new().text(control::RUN_HOLDER, begin.holder.as_str());
    let of = |mut event: NewEvent, id: usize| {
        event.event_id = begin.event_ids.and_then(|ids| ids.get(id).copied());
        event.scope.clone_from(&begin.scope);
        event
    };
    let stream = begin.stream.as_str();
    let first = RunStarted::control(begin.parent.as_deref()).merge(holder.clone());
    let candidates = vec![
        Draft::new(of(NewEvent::typed(&started, stream)?, STARTED))
            .control(first)
            .keyed(started.keyed()),
        Draft::new(of(NewEvent::typed(&RunResumed {}, stream)?, RESUMED)).control(holder),
    ];
    let (may_start, may_resume) = (begin.may_start, begin.may_resume);
    let may_reopen = begin.may_reopen;
    let stream = begin.stream.clone();
    let budget = begin.budget.as_ref();
    let budget = budget.map(|owner| budgets::id_of(log, owner)).transpose()?;
    let parent = begin.parent.clone();
    let decide = move |context: &mut DecideContext<'_>| {
        let (opening, steady_us) = (context.opening(), context.steady_us());
        let row = row_of(context, &stream)?;
        let held = || RunHeld {
            stream: stream.clone(),
            fence: context.next_position(),
        };
        let lease = LEASE.control(length, steady_us, &opening);
        let Some(row) = row.filter(|row| row.started.is_some() || row.imported) else {
            if !may_start {
                return Ok(Decision::nothing(Verdict::NotFound));
            }
            let control = match spending(context, (budget.as_ref(), parent.as_deref()))? {
                Ok(control) => lease.merge(control),
                Err(verdict) => return Ok(Decision::nothing(verdict)),
            };
            let verdict = Verdict::Begun(Begun::Started(held()));
            return Ok(Decision::record(STARTED, control, verdict));
        };
        let is_held = match &row.lease {
            Some(lease) if !lease.is_over(&opening, steady_us) => match &row.claimed_as {
                Some(agent) => !agents::is_revoked(context, agent)?,
                None => true,
            },
            _ => false,
        };
        let why = match (&row.finished, is_held) {
            _ if !may_resume => Why::Exists,
            (Some(_), _) if !may_reopen => Why::Finished,
            (_, true) => Why::Held,
            (_, false) => {
                let known = row.budget.as_ref().map(OwnerId::from);
                let control = match (&known, &budget) {
                    (Some(known), Some(wanted)) if known != wanted => {
                        return Ok(Decision::nothing(Verdict::OtherBudget));
                    }
                    (Some(_), _) => lease,
                    (None, wanted) => {
                        let parent = row.parent.as_deref();
                        match spending(context, (wanted.as_ref(), parent))? {
                            Ok(control) => lease.merge(control),
                            Err(verdict) => return Ok(Decision::nothing(verdict)),
                        }
                    }
                };
                let verdict = Verdict::Begun(Begun::Resumed(held()));
                return Ok(Decision::record(RESUMED, control, verdict));
            }
        };
        let summary = RunSummary::of(stream.clone(), row, &Moment::Now(opening, steady_us));
        Ok(Decision::nothing(Verdict::Refused(Box::new(summary), why)))
    };
    Ok(Command::new(log, candidates, decide)?)
}

/// What control says of the budget of a run: the one that is wanted, else that of the run that
/// spawns it. What a run spends counts for the one that spawned it.
fn spending(
    context: &DecideContext<'_>,
    (wanted, parent): (Option<&OwnerId>, Option<&str>),
) -> Result<Result<Control, Verdict>, AppendError> {
    let parent = match parent {
        Some(parent) => row_of(context, parent)?.and_then(|row| row.budget),
        None => None,
    };
    let parent = parent.as_ref().map(OwnerId::from);
    let Some(owner) = wanted.or(parent.as_ref()) else {
        return Ok(Ok(Control::new()));
    };
    let control = spending_from(context, owner, parent.as_ref())?;
    Ok(control.map_err(Verdict::Unspent))
}

/// What control says of a budget that a run spends, which is one that must be, or one below it.
pub(super) fn spending_from(
    context: &DecideContext<'_>,
    owner: &OwnerId,
    above: Option<&OwnerId>,
) -> Result<Result<Control, Unspent>, AppendError> {
    let mut books = Books::default();
    if !books.is_known(context, owner)? {
        return Ok(Err(Unspent::Unknown));
    }
    if let Some(above) = above
        && !books.is_within(context, owner, above)?
    {
        return Ok(Err(Unspent::Outside));
    }
    Ok(Ok(Control::new()
        .bytes(control::RUN_BUDGET, owner.digest)
        .text(control::RUN_BUDGET_SCOPE, owner.scope.as_str())))
}

fn begun(wanted: &Begin, verdict: Verdict) -> Result<Begun, RunError> {
    match verdict {
        Verdict::Begun(run) => Ok(run),
        Verdict::NotFound => Err(RunError::NotFound {
            stream: wanted.stream.clone(),
        }),
        Verdict::Unspent(unspent) => Err(unspent.of(wanted.budget.as_ref()).into()),
        Verdict::OtherBudget => Err(RunError::OtherBudget {
            stream: wanted.stream.clone(),
        }),
        Verdict::Refused(run, why) => Err(match why {
            Why::Held => RunError::Held(run),
            Why::Finished => RunError::Finished(run),
            Why::Exists => RunError::Exists(run),
        }),
    }
}
