//! Recording what happens in a run, and what that spends.
//!
//! A step that begins is spent at once, in the same decision: begun it was taken, whatever becomes
//! of it, and one that does not fit does not begin. What a call of a model used is charged after the
//! fact, once a call, with its last report.

use super::command::{is_held, is_held_by};
use super::fold::{report_of, row};
use super::{RunError, RunHeld};
use crate::asks::{RecordInRun, SnapshotSession};
use crate::budgets::decide::{
    Books, CANDIDATES, How, Took, Use, call_digest, of_call, too_many_counters,
};
use crate::budgets::{self, Amounts, BudgetError, Exceeded, OwnerId, Rules};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::{
    LlmCallCompleted, RunFinished, RunPaused, SessionAppended, SessionEnded, SessionPatched,
    StepBlocked, StepCompleted, StepFailed, StepSkipped, StepStarted, control,
};
use crate::seen::says_imported;
use crate::sessions;
use crate::settings::Settings;
use runstone_codec::{Control, Draft, Position, TypedEvent, namespace};
use runstone_store::holder::WireDraft;
use runstone_store::{AppendError, DecideContext, Decision, Log, ReadError};
use std::collections::BTreeSet;

/// How often it is decided again because the settings changed meanwhile, or an
/// owner had lapsed reservations.
const REDECIDED: usize = 32;

/// Records events of a run that the caller holds; all or none. In a run that has a budget, a step
/// that begins spends one of `steps`, and a call of a model its tokens and its price.
///
/// # Errors
///
/// [`RunError::Stale`] if somebody else holds it meanwhile, or it ended; [`RunError::Budget`] if a
/// step does not fit into its budget; [`RunError::NotOfRun`] for an event of another stream, or one
/// that only other commands write.
///
/// # Cancel safety
///
/// Dropped after its first poll, all of it or nothing is recorded.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn record(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
) -> Result<Vec<Position>, RunError> {
    record_by(log, held, drafts, Waiting::Async).await
}

/// [`record`] for callers without a runtime.
///
/// # Errors
///
/// As [`record`].
pub fn record_blocking(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
) -> Result<Vec<Position>, RunError> {
    at_once(record_by(log, held, drafts, Waiting::Blocking))
}

async fn record_by(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
    waiting: Waiting,
) -> Result<Vec<Position>, RunError> {
    if let Some(other) = drafts.iter().find(|draft| !is_of(held, draft)) {
        return Err(RunError::NotOfRun {
            event_type: other.event.event_type.clone(),
            stream: held.stream.clone(),
        });
    }
    if log.is_attached() {
        let drafts = drafts.iter().map(WireDraft::try_from);
        let drafts = drafts.collect::<Result<_, _>>();
        let ask = RecordInRun {
            held: held.clone(),
            drafts: drafts.map_err(AppendError::from)?,
        };
        if let Some(told) = asked(log, waiting, || ask).await {
            return told;
        }
    }
    recording(log, held, drafts, waiting).await
}

/// Whether an event is one of those that the holder of a run records. What the log is told in control
/// is told by the types that have some.
fn is_of(held: &RunHeld, draft: &Draft) -> bool {
    let event_type = draft.event.event_type.as_str();
    let is_bare = draft.control == Control::new() && draft.keyed.is_empty();
    let is_recorded = match event_type {
        RunPaused::TYPE | SessionPatched::TYPE | SessionAppended::TYPE => is_bare,
        RunFinished::TYPE
        | SessionEnded::TYPE
        | LlmCallCompleted::TYPE
        | StepStarted::TYPE
        | StepCompleted::TYPE
        | StepFailed::TYPE
        | StepBlocked::TYPE
        | StepSkipped::TYPE => true,
        free => is_bare && !namespace::is_owned(free),
    };
    is_recorded && draft.event.stream == held.stream && !says_imported(&draft.event.tags)
}

/// Records the session of a run as it is, for who reads it later; answers the length of its document
/// in bytes. Nothing is recorded if the session was never changed.
///
/// # Errors
///
/// As [`record`].
pub(crate) async fn snapshot(
    log: &Log,
    held: &RunHeld,
    waiting: Waiting,
) -> Result<Option<u64>, RunError> {
    let ask = || SnapshotSession { held: held.clone() };
    if let Some(told) = asked(log, waiting, ask).await {
        return told;
    }
    if !holds(log, held)? {
        return Err(RunError::Stale {
            stream: held.stream.clone(),
            fence: held.fence,
        });
    }
    let Some(draft) = sessions::drafted(log, &held.stream)? else {
        return Ok(None);
    };
    let bytes = draft.event.payload.len() as u64;
    recording(log, held, vec![draft], waiting).await?;
    Ok(Some(bytes))
}

/// What it comes to.
#[derive(Debug)]
enum Verdict {
    Recorded(Position),
    Stale,
    Exceeded(Box<Exceeded>),
    UnknownOwner,
    TooManyCounters,
    Reconfigured,
}

async fn recording(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
    waiting: Waiting,
) -> Result<Vec<Position>, RunError> {
    let count = drafts.len();
    let uses = uses(log, held, &drafts)?;
    let mut looked = BTreeSet::new();
    for _ in 0..REDECIDED {
        let (rules, settings_at) = if uses.is_empty() {
            (Rules::default(), None)
        } else {
            let in_force = Settings::in_force(log)?;
            (Rules::of(&in_force.settings), in_force.position)
        };
        let mut candidates = drafts.clone();
        for used in &uses {
            candidates.extend(used.drafts(&held.stream, None)?);
        }
        let (held, uses) = (held.clone(), uses.clone());
        let stream = held.stream.clone();
        let fence = held.fence;
        let decide = move |context: &mut DecideContext<'_>| {
            if !is_held(context, &held)? {
                return Ok(Decision::nothing(Verdict::Stale));
            }
            if !uses.is_empty() && context.last_of_type(Settings::TYPE)? != settings_at {
                return Ok(Decision::nothing(Verdict::Reconfigured));
            }
            decide(context, count, &uses, &rules)
        };
        let command = Command::new(log, candidates, decide)?;
        match command.run_by(log, waiting).await? {
            Verdict::Recorded(first) => {
                let positions = (0_u64..)
                    .take(count)
                    .map(|at| first.get().saturating_add(at));
                return Ok(positions.map(Position::new).collect());
            }
            Verdict::Stale => return Err(RunError::Stale { stream, fence }),
            Verdict::Exceeded(over) => {
                if !budgets::may_have_room(log, &over, &mut looked, waiting).await? {
                    let over = budgets::named(log, *over)?;
                    return Err(BudgetError::Exceeded(Box::new(over)).into());
                }
            }
            Verdict::UnknownOwner => return Err(BudgetError::UnknownOwner { name: None }.into()),
            Verdict::TooManyCounters => return Err(too_many_counters().into()),
            Verdict::Reconfigured => {}
        }
    }
    Err(AppendError::Contended { times: REDECIDED }.into())
}

/// The events, and then what they spend: all or none.
fn decide(
    context: &DecideContext<'_>,
    count: usize,
    uses: &[Use],
    rules: &Rules,
) -> Result<Decision<Verdict>, AppendError> {
    let mut decision = Decision::nothing(Verdict::Recorded(context.next_position()));
    decision.record = (0..count).map(|at| (at, Control::new())).collect();
    let mut books = Books::default();
    for (place, used) in uses.iter().enumerate() {
        let base = count + place * CANDIDATES;
        match used.decide(context, &mut books, rules, base)? {
            Took::Recorded(one, _) => decision.record.extend(one),
            Took::Refused(told, over) => {
                let mut refused = Decision::nothing(Verdict::Exceeded(over));
                refused.record = told;
                return Ok(refused);
            }
            Took::UnknownOwner => return Ok(Decision::nothing(Verdict::UnknownOwner)),
            Took::TooManyCounters => return Ok(Decision::nothing(Verdict::TooManyCounters)),
        }
    }
    Ok(decision)
}

/// What events of a run spend. Who holds the run by this fence has its budget: that never changes.
fn uses(log: &Log, held: &RunHeld, drafts: &[Draft]) -> Result<Vec<Use>, RunError> {
    let spends = |draft: &Draft| {
        let event_type = draft.event.event_type.as_str();
        matches!(event_type, StepStarted::TYPE | LlmCallCompleted::TYPE)
    };
    if !drafts.iter().any(spends) {
        return Ok(Vec::new());
    }
    let Some(owner) = budget_of(log, &held.stream)? else {
        return Ok(Vec::new());
    };
    let uses = drafts.iter().filter(|draft| spends(draft)).map(|draft| {
        let (amounts, how) = if draft.event.event_type == StepStarted::TYPE {
            (Amounts::new().steps(1), How::Spend)
        } else {
            of_report(&held.stream, draft)
        };
        Use {
            owner: owner.clone(),
            name: None,
            amounts,
            how,
            holder: None,
        }
    });
    Ok(uses.collect())
}

/// What a report of a model's call says that it used. One without an id is a call of its own.
fn of_report(stream: &str, draft: &Draft) -> (Amounts, How) {
    let report = report_of(&draft.control);
    let has_price = draft.control.get_u64(control::USD_MICROS).is_some();
    let amounts = of_call(&report, has_price);
    let id = draft
        .keyed
        .iter()
        .find(|keyed| keyed.label == control::CALL_LABEL);
    match id {
        Some(id) => (amounts, How::ChargeCall(call_digest(stream, &id.parts))),
        None => (amounts, How::Charge),
    }
}

/// Whether a run is held by this claim now.
pub(crate) fn holds(log: &Log, held: &RunHeld) -> Result<bool, ReadError> {
    Ok(row(log, &held.stream)?.is_some_and(|row| is_held_by(&row, held)))
}

/// Whose budget a run spends.
pub(crate) fn budget_of(log: &Log, stream: &str) -> Result<Option<OwnerId>, ReadError> {
    Ok(row(log, stream)?.and_then(|row| row.budget.as_ref().map(OwnerId::from)))
}
