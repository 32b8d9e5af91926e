//! What may follow what. Each function runs at the writer: it sees everything before, and what it
//! chooses is recorded in the same step. What becomes of a task is decided as for every other task.

use super::fold::{depends_on, task_key};
use super::look::{Look, lease_over, ready};
use crate::events::control::task as field;
use crate::events::control::tray;
use crate::lease::Hold;
use crate::rows::{TaskRow, TrayRow, TrayTaskRow};
use crate::settings::Settings;
use crate::tasks::decide::{self, Act, Creation, LEASE_OVER, Place, Verdict};
use crate::tasks::fold::{self, Digest, digest};
use crate::tasks::{TaskId, TaskState};
use crate::view;
use runstone_codec::{Control, Position, TypedEvent as _};
use runstone_store::{AppendError, DecideContext, Decision};
use std::collections::BTreeSet;

/// Most tasks that may wait for one that is not done.
pub const MAX_DEPENDENTS: u64 = 1000;
/// Most tasks that are looked at for a cycle.
const WALK: usize = 256;
/// Candidates of a task that is given back or up, besides those of the task: what says that it is a
/// dead letter.
const BACK: usize = 5;
/// How many candidates there are for each task that can be claimed.
pub(super) const CLAIM_CANDIDATES: usize = 5;
/// It was attempted more often than the settings now allow.
const EXHAUSTED: &str = "attempts_exhausted";
const CYCLE: &str = "dependency_cycle";

/// What a tray goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) settings_at: Option<Position>,
    pub(super) default_lease_us: u64,
    pub(super) max_attempts: u64,
}

impl Terms {
    fn are_in_force(self, context: &mut DecideContext<'_>) -> Result<bool, AppendError> {
        Ok(context.last_of_type(Settings::TYPE)? == self.settings_at)
    }
}

/// What a change of a tray comes to.
#[derive(Debug)]
pub(super) enum Changed {
    At(Position),
    NotFound,
    Closed,
}

/// Whether a tray is opened; one that is open already stays so.
pub(super) fn open(
    context: &mut DecideContext<'_>,
    name: &str,
) -> Result<Decision<Changed>, AppendError> {
    Ok(match context.tray(name)? {
        None => {
            let at = Changed::At(context.next_position());
            Decision::record(0, Control::new(), at)
        }
        Some(row) if row.closed.is_some() => Decision::nothing(Changed::Closed),
        Some(row) => Decision::nothing(Changed::At(Position::new(row.opened))),
    })
}

/// Whether a tray is closed; one that is stays so.
pub(super) fn close(
    context: &mut DecideContext<'_>,
    name: &str,
) -> Result<Decision<Changed>, AppendError> {
    Ok(match context.tray(name)? {
        None => Decision::nothing(Changed::NotFound),
        Some(TrayRow {
            closed: Some(at), ..
        }) => Decision::nothing(Changed::At(Position::new(at))),
        Some(_) => {
            let at = Changed::At(context.next_position());
            Decision::record(0, Control::new(), at)
        }
    })
}

/// What an addition comes to.
#[derive(Debug)]
pub(super) enum Added {
    Task(Verdict),
    NotFound,
    Closed,
    /// The tray does not know the task of this number among those that come before.
    Unknown(usize),
    /// Too many wait for that one.
    Crowded(usize),
    Cycle,
}

/// Whether a task may be put into a tray.
pub(super) fn add(
    context: &mut DecideContext<'_>,
    name: &str,
    terms: &Creation,
) -> Result<Decision<Added>, AppendError> {
    let row = match context.tray(name)? {
        None => return Ok(Decision::nothing(Added::NotFound)),
        Some(row) if row.closed.is_some() => return Ok(Decision::nothing(Added::Closed)),
        Some(row) => row,
    };
    let (_, control) = context
        .candidate(decide::CREATED)
        .ok_or(AppendError::Empty)?;
    let task = digest(control, field::TASK).ok_or(AppendError::Empty)?;
    let earlier = depends_on(control);
    for (number, digest) in earlier.iter().enumerate() {
        if *digest == task {
            continue;
        }
        let known = context.task(digest, &row.scope)?;
        match known.filter(|known| known.tray == name) {
            None => return Ok(Decision::nothing(Added::Unknown(number))),
            Some(known) if known.dependents >= MAX_DEPENDENTS => {
                return Ok(Decision::nothing(Added::Crowded(number)));
            }
            Some(_) => {}
        }
    }
    if leads_back(context, &task, &row.scope, earlier)? {
        return decide::refuse_creation(context, Place::default(), CYCLE, Added::Cycle);
    }
    let act = Act::Create(terms.clone());
    let decision = decide::decide(context, Place::default(), &act)?;
    Ok(with(decision, Added::Task))
}

/// Whether a task comes before itself. Only one that was there before can: what comes before another
/// is known by then. Behind too many tasks a cycle cannot be ruled out.
fn leads_back(
    context: &DecideContext<'_>,
    task: &Digest,
    scope: &str,
    mut open: Vec<Digest>,
) -> Result<bool, AppendError> {
    if open.contains(task) {
        return Ok(true);
    }
    // One that has left is waited for too.
    let before: Option<TrayTaskRow> = context.get(&task_key(task, scope))?;
    if open.is_empty() || before.is_none() {
        return Ok(false);
    }
    let mut seen: BTreeSet<Digest> = open.iter().copied().collect();
    let mut looked = 0;
    while let Some(next) = open.pop() {
        if looked == WALK {
            return Ok(true);
        }
        looked += 1;
        let Some(row) = context.task(&next, scope)? else {
            continue;
        };
        for earlier in row.depends_on {
            if earlier == *task {
                return Ok(true);
            }
            if seen.insert(earlier) {
                open.push(earlier);
            }
        }
    }
    Ok(false)
}

fn with<A, B>(decision: Decision<A>, answer: impl FnOnce(A) -> B) -> Decision<B> {
    let mut mapped = Decision::nothing(answer(decision.answer));
    mapped.record = decision.record;
    mapped
}

/// What a claim comes to.
#[derive(Debug)]
pub(super) enum Next {
    /// The task of this number among those that were prepared.
    Claimed {
        number: usize,
        fence: Position,
        attempt: u64,
        lease_expires_at_us: Option<u64>,
    },
    /// There is nothing to be claimed.
    Nothing(Box<TrayRow>),
    NotFound,
    /// Something else was recorded first: what is next is to be looked for again.
    Cleared,
    /// What was prepared is not what is next.
    Missed,
    /// The agent that claims is gone for good.
    Retired(String),
    Reconfigured,
}

/// What was prepared for a claim.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    /// A task whose lease is over goes back.
    Over(TaskId),
    /// A task that was attempted too often is given up.
    Spent(TaskId),
    /// Tasks that can be claimed, with candidates for each.
    Ready(Vec<TaskId>),
}

/// What a worker gets: of what can be claimed, the first. A lease that is over is recorded before.
pub(super) fn claim(
    context: &mut DecideContext<'_>,
    name: &str,
    prepared: &Prepared,
    hold: Hold,
    terms: Terms,
) -> Result<Decision<Next>, AppendError> {
    if !terms.are_in_force(context)? {
        return Ok(Decision::nothing(Next::Reconfigured));
    }
    let Some(tray) = context.tray(name)? else {
        return Ok(Decision::nothing(Next::NotFound));
    };
    let missed = Ok(Decision::nothing(Next::Missed));
    if let Some(over) = lease_over(context, name, &tray.scope)? {
        return match prepared {
            Prepared::Over(id) if id.digest == over => {
                let decision = back(context, name, id, None, terms.max_attempts)?;
                Ok(cleared(decision))
            }
            _ => missed,
        };
    }
    let Some(next) = ready(context, name)? else {
        return Ok(Decision::nothing(Next::Nothing(Box::new(tray))));
    };
    let scope = tray.scope;
    if attempts(context, &next, &scope)? > terms.max_attempts {
        return match prepared {
            Prepared::Spent(id) if id.digest == next => Ok(cleared(exhaust(context, name, id)?)),
            _ => missed,
        };
    }
    let Prepared::Ready(known) = prepared else {
        return missed;
    };
    let mut known = known.iter().enumerate();
    let Some((number, id)) = known.find(|(_, id)| id.digest == next) else {
        return missed;
    };
    let act = Act::Claim {
        id: id.clone(),
        by_tray: true,
        hold,
        default_lease_us: terms.default_lease_us,
        settings_at: terms.settings_at,
    };
    let place = Place {
        base: number.saturating_mul(CLAIM_CANDIDATES),
        ahead: 0,
    };
    let decision = decide::decide(context, place, &act)?;
    Ok(with(decision, |verdict| match verdict {
        Verdict::Claimed {
            fence,
            attempt,
            lease_expires_at_us,
        } => Next::Claimed {
            number,
            fence,
            attempt,
            lease_expires_at_us,
        },
        Verdict::Reconfigured => Next::Reconfigured,
        Verdict::Retired(name) => Next::Retired(name),
        _ => Next::Missed,
    }))
}

/// Something was recorded before what is next; if not, it is no progress.
fn cleared(decision: Decision<Verdict>) -> Decision<Next> {
    let is_progress = !decision.record.is_empty();
    with(decision, |_| {
        if is_progress {
            Next::Cleared
        } else {
            Next::Missed
        }
    })
}

/// Which attempt of a task is under way, or is the next.
fn attempts(context: &DecideContext<'_>, task: &Digest, scope: &str) -> Result<u64, AppendError> {
    let key = fold::task_key(task, scope);
    let row: Option<TaskRow> = view::row(context, fold::FOLD, &key)?;
    Ok(row.map_or(0, |row| row.attempt))
}

/// A task goes back to todo with its next attempt, or, after its last one, is a dead letter. Without
/// a fence it does if its lease is over.
fn back(
    context: &mut DecideContext<'_>,
    name: &str,
    id: &TaskId,
    by: Option<(Position, &'static str)>,
    max_attempts: u64,
) -> Result<Decision<Verdict>, AppendError> {
    if attempts(context, &id.digest, &id.scope)? >= max_attempts {
        let why = by.map_or(LEASE_OVER, |(_, why)| why);
        return give_up(context, name, id, (by.map(|(fence, _)| fence), why));
    }
    let id = id.clone();
    let act = match by {
        Some((fence, why)) => Act::GiveBack { id, fence, why },
        None => Act::Expire(id),
    };
    decide::decide(context, Place::default(), &act)
}

/// A task whose last attempt ends is cancelled, and a dead letter.
fn give_up(
    context: &mut DecideContext<'_>,
    name: &str,
    id: &TaskId,
    (fence, why): (Option<Position>, &'static str),
) -> Result<Decision<Verdict>, AppendError> {
    let attempts = attempts(context, &id.digest, &id.scope)?;
    let act = Act::GiveUp {
        id: id.clone(),
        fence,
        why,
    };
    let decision = decide::decide(context, Place::default(), &act)?;
    Ok(dead(decision, name, attempts, why))
}

/// A task that nobody holds and that was attempted too often is cancelled, and a dead letter.
fn exhaust(
    context: &mut DecideContext<'_>,
    name: &str,
    id: &TaskId,
) -> Result<Decision<Verdict>, AppendError> {
    // It was not attempted once more.
    let attempts = attempts(context, &id.digest, &id.scope)?.saturating_sub(1);
    let act = Act::Exhaust {
        id: id.clone(),
        why: EXHAUSTED,
    };
    let decision = decide::decide(context, Place::default(), &act)?;
    Ok(dead(decision, name, attempts, EXHAUSTED))
}

/// If it was cancelled, it is a dead letter in the same step.
fn dead(decision: Decision<Verdict>, name: &str, attempts: u64, why: &str) -> Decision<Verdict> {
    if !matches!(decision.answer, Verdict::Done(_)) {
        return decision;
    }
    let control = Control::new()
        .text(tray::NAME, name)
        .u64(tray::ATTEMPTS, attempts)
        .text(tray::WHY, why);
    decision.and(BACK, control)
}

/// What is asked of a task that lies in a tray.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Renew {
        fence: Position,
        hold: Hold,
    },
    Complete(Position),
    /// With why, as a code.
    Back(Position, &'static str),
    /// Records that a lease is over, if it is.
    Expire,
}

/// What it comes to; `None`: it lies in no tray.
pub(super) fn task(
    context: &mut DecideContext<'_>,
    id: &TaskId,
    ask: &Ask,
    terms: Terms,
) -> Result<Decision<Option<Verdict>>, AppendError> {
    if !terms.are_in_force(context)? {
        return Ok(Decision::nothing(Some(Verdict::Reconfigured)));
    }
    let Some(row) = context.task(&id.digest, &id.scope)? else {
        return Ok(Decision::nothing(None));
    };
    let id_again = id.clone();
    let decision = match ask {
        Ask::Renew { fence, hold } => {
            let act = Act::Renew {
                id: id_again,
                fence: *fence,
                hold: *hold,
                default_lease_us: terms.default_lease_us,
                settings_at: terms.settings_at,
            };
            decide::decide(context, Place::default(), &act)?
        }
        Ask::Complete(fence) => {
            let act = Act::Move {
                id: id_again,
                to: TaskState::Done,
                fence: Some(*fence),
            };
            decide::decide(context, Place::default(), &act)?
        }
        Ask::Back(fence, why) => {
            let by = Some((*fence, *why));
            back(context, &row.tray, id, by, terms.max_attempts)?
        }
        Ask::Expire => back(context, &row.tray, id, None, terms.max_attempts)?,
    };
    Ok(with(decision, Some))
}

impl Terms {
    /// Those of settings.
    pub(super) fn of(settings: &Settings, settings_at: Option<Position>) -> Self {
        const SECOND_US: u64 = 1_000_000;
        Self {
            settings_at,
            default_lease_us: settings.leases.tray_s.saturating_mul(SECOND_US),
            max_attempts: settings.trays.max_attempts,
        }
    }
}
