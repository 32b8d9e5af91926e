//! What may follow what. Each function runs at the writer: it sees everything before, and what it
//! chooses is recorded in the same step.
//!
//! A decider of another part may decide about a task too: it puts the candidates behind its own, says
//! where they begin and how many events it records before, and records what is answered as well.

use super::fold::{
    FOLD, LEASE, REFUSAL_WINDOW_US, Refusals, digest, refusal_code, refused_key, task_key,
};
use super::loops::{Bounds, Judged, Look, Loop, Wanted, judge};
use super::machine::{self, is_terminal};
use super::run::bounds;
use super::spending::{AtWriter, spending};
use super::{LoopType, NewTask, Task, TaskId, TaskState};
use crate::agents;
use crate::budgets::{self, BudgetError, Exceeded, OwnerId, Rules};
use crate::events::control::task as field;
use crate::lease::{Hold, Moment};
use crate::rows::TaskRow;
use crate::settings::{InForce, Settings};
use crate::view;
use bincode::Decode;
use runstone_codec::{Control, Position, TypedEvent as _};
use runstone_store::{AppendError, DecideContext, Decision, Log};

/// The refusal, among the candidates of every command.
pub(super) const REFUSED: usize = 0;
/// The creation.
pub(crate) const CREATED: usize = 1;
/// In progress to blocked, by the log.
pub(super) const BLOCKED: usize = 1;
/// Blocked to todo, by the log.
pub(super) const REOPENED: usize = 2;
/// The claim, and the move that follows it.
pub(super) const CLAIMED: usize = 3;
pub(super) const STARTED: usize = 4;
/// A lease that is renewed.
pub(super) const RENEWED: usize = 3;
/// Blocked to cancelled, and todo to cancelled, by the log.
const GIVEN_UP_BLOCKED: usize = 3;
const GIVEN_UP_TODO: usize = 4;
/// The first of the moves, one for each state that leads to the target.
pub(super) const MOVES: usize = 3;

/// Why the log moved a task, as a code.
pub(crate) const LEASE_OVER: &str = "lease_over";
pub(crate) const RELEASED: &str = "released";
pub(crate) const FAILED: &str = "failed";
pub(crate) const HOLDER_RETIRED: &str = "holder_retired";
/// Why a creation or claim is refused that is no loop, as a code.
const ADMISSION: &str = "admission";
const EXCEEDED: &str = "budget_exceeded";
const EXISTS: &str = "exists";
const NOT_TODO: &str = "not_todo";
const IDLE: &str = "agent_idle";

/// Where a decision about a task stands in a larger one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The first of its candidates.
    pub(crate) base: usize,
    /// Events that the larger one records before.
    pub(crate) ahead: u64,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Create(Creation),
    /// With the fence of the claim in force, if the holder says it.
    Move {
        id: TaskId,
        to: TaskState,
        fence: Option<Position>,
    },
    Claim {
        id: TaskId,
        /// By its tray: nobody else claims what lies in one.
        by_tray: bool,
        hold: Hold,
        default_lease_us: u64,
        settings_at: Option<Position>,
    },
    GiveBack {
        id: TaskId,
        fence: Position,
        why: &'static str,
    },
    Renew {
        id: TaskId,
        fence: Position,
        hold: Hold,
        default_lease_us: u64,
        settings_at: Option<Position>,
    },
    /// Records that a lease is over, if it is.
    Expire(TaskId),
    /// It is not attempted any more: by its holder, or, without a fence, if its lease is over.
    GiveUp {
        id: TaskId,
        fence: Option<Position>,
        why: &'static str,
    },
    /// It is not attempted any more, and nobody holds it.
    Exhaust {
        id: TaskId,
        why: &'static str,
    },
}

/// What a creation goes by.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub(crate) settings_at: Option<Position>,
    pub(crate) bounds: Bounds,
    /// Whether fields are missing that the settings ask for.
    pub(crate) is_incomplete: bool,
    /// Whose budget it names.
    pub(crate) budget: Option<OwnerId>,
    pub(crate) rules: Rules,
}

impl Creation {
    pub(crate) fn of(log: &Log, new: &NewTask, in_force: &InForce) -> Result<Self, BudgetError> {
        let settings = &in_force.settings;
        let missing = new.missing(&settings.admission.required);
        let owner = new.budget.as_ref();
        Ok(Self {
            settings_at: in_force.position,
            bounds: bounds(settings),
            is_incomplete: settings.admission.enabled && !missing.is_empty(),
            budget: owner.map(|owner| budgets::id_of(log, owner)).transpose()?,
            rules: Rules::of(settings),
        })
    }
}

/// What it comes to.
#[derive(Debug)]
pub(crate) enum Verdict {
    Created(TaskId, Position, u64),
    Claimed {
        fence: Position,
        attempt: u64,
        lease_expires_at_us: Option<u64>,
    },
    /// It is recorded at this position, or was before.
    Done(Position),
    /// The lease is not over.
    NotOver,
    NotFound,
    ParentUnknown,
    Incomplete,
    /// The agent through which it was to be created has nothing to do.
    Idle,
    /// The agent that claims is gone for good.
    Retired(String),
    Loop(Loop),
    /// Its budget has no room for it.
    Exceeded(Box<Exceeded>),
    /// Nobody opened the budget that it names.
    UnknownBudget,
    /// It is not one of those below the budget of the task that it is a part of.
    OutsideOfParent,
    Exists(Box<Task>),
    /// It is not to be done: nobody can claim it.
    NotTodo(Box<Task>),
    /// Another one holds it.
    Held(Box<Task>),
    /// It lies in a tray, from where it is claimed.
    InTray(Box<Task>),
    /// The claim is not in force.
    Stale(Box<Task>),
    Refused {
        from: TaskState,
        to: TaskState,
    },
    /// Other settings came into force meanwhile.
    Reconfigured,
}

/// Rows as they are at the writer.
struct Rows<'a, 'b>(&'a DecideContext<'b>);

impl Look for Rows<'_, '_> {
    type Error = AppendError;

    fn get<T: Decode<()>>(&mut self, key: &[u8]) -> Result<Option<T>, AppendError> {
        view::row(self.0, FOLD, key)
    }

    fn has(&mut self, key: &[u8]) -> Result<bool, AppendError> {
        Ok(self.0.fold_row(FOLD, key)?.is_some())
    }
}

/// What is recorded, as it grows.
struct Steps {
    place: Place,
    record: Vec<(usize, Control)>,
}

impl Steps {
    fn new(place: Place) -> Self {
        Self {
            place,
            record: Vec::new(),
        }
    }

    fn add(&mut self, candidate: usize, control: Control) {
        self.record
            .push((self.place.base.saturating_add(candidate), control));
    }

    /// Where the next event will stand.
    fn next(&self, context: &DecideContext<'_>) -> Position {
        let recorded = u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        let first = context.next_position().get();
        Position::new(
            first
                .saturating_add(self.place.ahead)
                .saturating_add(recorded),
        )
    }

    /// The way of a task whose holder is gone.
    fn give_back(&mut self, row: &TaskRow, why: &str) {
        let mut control = Control::new().text(field::WHY, why);
        if let Some(fence) = row.fence {
            control = control.u64(field::FENCE, fence);
        }
        self.add(BLOCKED, control.clone());
        let attempt = row.attempt.saturating_add(1);
        self.add(REOPENED, control.u64(field::ATTEMPT, attempt));
    }

    fn refuse(
        &mut self,
        context: &DecideContext<'_>,
        id: &TaskId,
        (from, to): (Option<TaskState>, TaskState),
        why: &str,
    ) -> Result<(), AppendError> {
        let mut control = Control::new()
            .u64(field::TO, to.number())
            .text(field::WHY, why);
        if let Some(from) = from {
            control = control.u64(field::FROM, from.number());
        }
        let known: Option<Refusals> = Rows(context).get(&refused_key(&id.digest, &id.scope))?;
        let candidate = self.place.base.saturating_add(REFUSED);
        let (header, _) = context.candidate(candidate).ok_or(AppendError::Empty)?;
        let code = refusal_code(&header.principal, &control);
        let now_us = context.now_us();
        let is_known = known.iter().flatten().any(|(other, at_us)| {
            *other == code && now_us.saturating_sub(*at_us) < REFUSAL_WINDOW_US
        });
        if !is_known {
            self.add(REFUSED, control);
        }
        Ok(())
    }

    /// It is done where the last of them stands.
    fn into_done(self, context: &DecideContext<'_>) -> Decision<Verdict> {
        let last = self.next(context).get().saturating_sub(1);
        self.into_decision(Verdict::Done(Position::new(last)))
    }

    fn into_decision(self, verdict: Verdict) -> Decision<Verdict> {
        let mut decision = Decision::nothing(verdict);
        decision.record = self.record;
        decision
    }
}

/// Decides what was asked.
pub(crate) fn decide(
    context: &mut DecideContext<'_>,
    place: Place,
    act: &Act,
) -> Result<Decision<Verdict>, AppendError> {
    let (settings_at, id) = match act {
        Act::Create(terms) => return create(context, place, terms),
        Act::Claim {
            id, settings_at, ..
        }
        | Act::Renew {
            id, settings_at, ..
        } => (Some(settings_at), id),
        Act::Move { id, .. }
        | Act::GiveBack { id, .. }
        | Act::GiveUp { id, .. }
        | Act::Exhaust { id, .. }
        | Act::Expire(id) => (None, id),
    };
    if let Some(settings_at) = settings_at
        && context.last_of_type(Settings::TYPE)? != *settings_at
    {
        return Ok(Decision::nothing(Verdict::Reconfigured));
    }
    let Some(row) = Rows(context).get::<TaskRow>(&task_key(&id.digest, &id.scope))? else {
        return Ok(Decision::nothing(Verdict::NotFound));
    };
    let known = Known { id, row: &row };
    match act {
        Act::Move { to, fence, .. } => known.move_to(context, place, *to, *fence),
        Act::Claim { by_tray, .. } if *by_tray != row.in_tray => {
            let refusal = Verdict::InTray(known.view(context));
            Ok(Decision::nothing(refusal))
        }
        Act::Claim {
            hold,
            default_lease_us,
            ..
        } => known.claim(context, place, *hold, *default_lease_us),
        Act::GiveBack { fence, why, .. } => Ok(known.give_back(context, place, *fence, why)),
        Act::Renew {
            fence,
            hold,
            default_lease_us,
            ..
        } => Ok(known.renew(context, place, *fence, hold.length(*default_lease_us))),
        Act::GiveUp { fence, why, .. } => Ok(known.give_up(context, place, *fence, why)),
        Act::Exhaust { why, .. } => Ok(known.exhaust(context, place, why)),
        Act::Expire(_) | Act::Create(_) => Ok(known.expire(context, place)),
    }
}

/// Refuses the creation that is among the candidates, for a reason of another part.
pub(crate) fn refuse_creation<T>(
    context: &DecideContext<'_>,
    place: Place,
    why: &str,
    verdict: T,
) -> Result<Decision<T>, AppendError> {
    let candidate = place.base.saturating_add(CREATED);
    let (header, control) = context.candidate(candidate).ok_or(AppendError::Empty)?;
    let id = TaskId {
        digest: digest(control, field::TASK).ok_or(AppendError::Empty)?,
        scope: header.scope.to_string(),
    };
    let mut steps = Steps::new(place);
    steps.refuse(context, &id, (None, TaskState::Todo), why)?;
    let mut decision = Decision::nothing(verdict);
    decision.record = steps.record;
    Ok(decision)
}

/// Whether a task may begin its life.
fn create(
    context: &mut DecideContext<'_>,
    place: Place,
    terms: &Creation,
) -> Result<Decision<Verdict>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != terms.settings_at {
        return Ok(Decision::nothing(Verdict::Reconfigured));
    }
    let candidate = place.base.saturating_add(CREATED);
    let (header, control) = context.candidate(candidate).ok_or(AppendError::Empty)?;
    let id = TaskId {
        digest: digest(control, field::TASK).ok_or(AppendError::Empty)?,
        scope: header.scope.to_string(),
    };
    let to = super::fold::state_of(control, field::TO).unwrap_or(TaskState::Todo);
    let wanted = Wanted {
        task: id.digest,
        scope: &id.scope,
        agent: digest(control, field::AGENT),
        task_type: digest(control, field::TYPE),
        parent: digest(control, field::PARENT),
        creator: digest(control, field::CREATOR),
    };
    let is_idle = is_idle(context, candidate)?;
    // In the order in which they are told: what the task says, who makes it, what it would lead to.
    let refusal = if terms.is_incomplete {
        (Verdict::Incomplete, ADMISSION)
    } else if is_idle {
        (Verdict::Idle, IDLE)
    } else {
        match judge(&mut Rows(context), &wanted, &terms.bounds)? {
            Judged::Allowed { depth } => {
                let looked = (&mut Rows(context), &mut AtWriter::new(context));
                let named = (terms.budget.as_ref(), &terms.rules);
                match spending(looked, &wanted, named, depth)? {
                    Ok(owner) => {
                        let mut steps = Steps::new(place);
                        let verdict = Verdict::Created(id.clone(), steps.next(context), depth);
                        let control = owner.as_ref().map(in_budget).unwrap_or_default();
                        steps.add(CREATED, control.u64(field::DEPTH, depth));
                        return Ok(steps.into_decision(verdict));
                    }
                    Err(over @ Verdict::Exceeded(_)) => (over, EXCEEDED),
                    Err(verdict) => return Ok(Decision::nothing(verdict)),
                }
            }
            Judged::ParentUnknown => return Ok(Decision::nothing(Verdict::ParentUnknown)),
            Judged::Found(found) => (Verdict::Loop(found), found.loop_type().as_str()),
            Judged::Exists(row) => (Verdict::Exists(view(context, &id, &row)), EXISTS),
        }
    };
    let (verdict, why) = refusal;
    let mut steps = Steps::new(place);
    steps.refuse(context, &id, (None, to), why)?;
    Ok(steps.into_decision(verdict))
}

/// What control says of the budget of a task.
fn in_budget(owner: &OwnerId) -> Control {
    Control::new()
        .bytes(field::BUDGET, owner.digest)
        .text(field::BUDGET_SCOPE, owner.scope.as_str())
}

/// Whether a task is made by an agent that sleeps: the caller itself, whom it acts for, or whom the
/// task names.
fn is_idle(context: &DecideContext<'_>, candidate: usize) -> Result<bool, AppendError> {
    let (header, control) = context.candidate(candidate).ok_or(AppendError::Empty)?;
    let makers = [
        agents::name_of(&header.principal),
        control.get_text(field::ACTOR).and_then(agents::name_of),
        control.get_text(field::CREATED_BY),
    ];
    for maker in makers.into_iter().flatten() {
        if agents::is_idle(context, maker)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Loop {
    pub(super) fn loop_type(self) -> LoopType {
        match self {
            Self::Depth { .. } => LoopType::DepthExceeded,
            Self::Cycle | Self::Tangle => LoopType::CycleDetected,
            Self::Identity => LoopType::IdentityLoop,
            Self::Reprocess => LoopType::ReprocessDetected,
        }
    }
}

fn view(context: &DecideContext<'_>, id: &TaskId, row: &TaskRow) -> Box<Task> {
    let moment = Moment::Now(context.opening(), context.steady_us());
    Box::new(Task::of(id.clone(), row, &moment))
}

/// A task that is there.
struct Known<'a> {
    id: &'a TaskId,
    row: &'a TaskRow,
}

impl Known<'_> {
    fn view(&self, context: &DecideContext<'_>) -> Box<Task> {
        view(context, self.id, self.row)
    }

    /// Whether its lease is over and nobody has recorded that.
    fn is_over(&self, context: &DecideContext<'_>) -> bool {
        let lease = self.row.lease.as_ref();
        lease.is_some_and(|lease| lease.is_over(&context.opening(), context.steady_us()))
    }

    /// Whether this claim is in force. It is until somebody has recorded that its lease is over:
    /// what was done for it is not thrown away while nobody else has begun.
    fn is_held_by(&self, fence: Position) -> bool {
        self.row.lease.is_some() && self.row.fence == Some(fence.get())
    }

    fn stale(&self, context: &DecideContext<'_>) -> Decision<Verdict> {
        Decision::nothing(Verdict::Stale(self.view(context)))
    }

    fn move_to(
        &self,
        context: &DecideContext<'_>,
        place: Place,
        to: TaskState,
        fence: Option<Position>,
    ) -> Result<Decision<Verdict>, AppendError> {
        let mut steps = Steps::new(place);
        let mut from = self.row.state();
        if let Some(fence) = fence {
            // Asked again, because nobody heard the answer.
            if from == to && self.row.moved_by == Some(fence.get()) && is_terminal(to) {
                let moved = Position::new(self.row.moved);
                return Ok(Decision::nothing(Verdict::Done(moved)));
            }
            if !self.is_held_by(fence) {
                return Ok(self.stale(context));
            }
        } else if self.is_over(context) {
            steps.give_back(self.row, LEASE_OVER);
            from = TaskState::Todo;
        }
        if machine::reason(from, to).is_none() {
            let why = if is_terminal(from) {
                "terminal_state"
            } else if from == to {
                "same_state"
            } else {
                "no_transition"
            };
            steps.refuse(context, self.id, (Some(from), to), why)?;
            return Ok(steps.into_decision(Verdict::Refused { from, to }));
        }
        // What is held can be taken from its holder, but nobody else says that it is done.
        let is_held = self.row.lease.is_some() && from == TaskState::InProgress;
        let takes_away = matches!(to, TaskState::Blocked | TaskState::Cancelled);
        if is_held && fence.is_none() && !takes_away {
            let refusal = Verdict::Held(self.view(context));
            return Ok(Decision::nothing(refusal));
        }
        let position = steps.next(context);
        let source = machine::sources(to).position(|source| source == from);
        let mut control = Control::new();
        if let Some(fence) = fence {
            control = control.u64(field::FENCE, fence.get());
        }
        steps.add(MOVES.saturating_add(source.unwrap_or_default()), control);
        Ok(steps.into_decision(Verdict::Done(position)))
    }

    fn claim(
        &self,
        context: &DecideContext<'_>,
        place: Place,
        hold: Hold,
        default_lease_us: u64,
    ) -> Result<Decision<Verdict>, AppendError> {
        let mut steps = Steps::new(place);
        let (header, control) = context
            .candidate(place.base.saturating_add(CLAIMED))
            .ok_or(AppendError::Empty)?;
        let holder = control.get_text(field::HOLDER).unwrap_or_default();
        // What it held was given back when it retired, and this would be too.
        if let Some(agent) = agents::claims_as(header, holder)
            && agents::is_retired(context, agent)?
        {
            return Ok(Decision::nothing(Verdict::Retired(agent.to_owned())));
        }
        let (mut from, mut attempt) = (self.row.state(), self.row.attempt);
        if self.is_over(context) {
            steps.give_back(self.row, LEASE_OVER);
            from = TaskState::Todo;
            attempt = attempt.saturating_add(1);
        } else if self.row.lease.is_some() {
            let refusal = Verdict::Held(self.view(context));
            return Ok(Decision::nothing(refusal));
        }
        if from != TaskState::Todo {
            let (from, to) = (Some(from), TaskState::InProgress);
            steps.refuse(context, self.id, (from, to), NOT_TODO)?;
            let verdict = Verdict::NotTodo(self.view(context));
            return Ok(steps.into_decision(verdict));
        }
        let steady_us = context.steady_us();
        let length = hold.length(default_lease_us);
        let fence = steps.next(context);
        let lease = LEASE.control(length, steady_us, &context.opening());
        steps.add(CLAIMED, lease.u64(field::ATTEMPT, attempt));
        steps.add(STARTED, Control::new().u64(field::FENCE, fence.get()));
        Ok(steps.into_decision(Verdict::Claimed {
            fence,
            attempt,
            lease_expires_at_us: length.ends_at_us(steady_us),
        }))
    }

    fn give_back(
        &self,
        context: &DecideContext<'_>,
        place: Place,
        fence: Position,
        why: &str,
    ) -> Decision<Verdict> {
        if !self.is_held_by(fence) {
            return self.stale(context);
        }
        self.back(context, place, why)
    }

    fn give_up(
        &self,
        context: &DecideContext<'_>,
        place: Place,
        fence: Option<Position>,
        why: &str,
    ) -> Decision<Verdict> {
        if fence.is_some_and(|fence| !self.is_held_by(fence)) {
            return self.stale(context);
        }
        // Somebody else may have recorded that its lease is over, and it is to be attempted again.
        if fence.is_none() && !self.is_over(context) {
            return Decision::nothing(Verdict::NotOver);
        }
        let mut steps = Steps::new(place);
        let mut control = Control::new().text(field::WHY, why);
        if let Some(fence) = self.row.fence {
            control = control.u64(field::FENCE, fence);
        }
        steps.add(BLOCKED, control.clone());
        steps.add(GIVEN_UP_BLOCKED, control);
        steps.into_done(context)
    }

    fn exhaust(&self, context: &DecideContext<'_>, place: Place, why: &str) -> Decision<Verdict> {
        if self.row.state() != TaskState::Todo {
            return Decision::nothing(Verdict::NotOver);
        }
        let mut steps = Steps::new(place);
        steps.add(GIVEN_UP_TODO, Control::new().text(field::WHY, why));
        steps.into_done(context)
    }

    fn back(&self, context: &DecideContext<'_>, place: Place, why: &str) -> Decision<Verdict> {
        let mut steps = Steps::new(place);
        steps.give_back(self.row, why);
        steps.into_done(context)
    }

    fn renew(
        &self,
        context: &DecideContext<'_>,
        place: Place,
        fence: Position,
        length: crate::lease::Length,
    ) -> Decision<Verdict> {
        if !self.is_held_by(fence) {
            return self.stale(context);
        }
        let mut steps = Steps::new(place);
        let position = steps.next(context);
        let lease = LEASE.control(length, context.steady_us(), &context.opening());
        steps.add(RENEWED, lease.u64(field::FENCE, fence.get()));
        steps.into_decision(Verdict::Done(position))
    }

    fn expire(&self, context: &DecideContext<'_>, place: Place) -> Decision<Verdict> {
        if self.is_over(context) {
            self.back(context, place, LEASE_OVER)
        } else {
            Decision::nothing(Verdict::NotOver)
        }
    }
}
