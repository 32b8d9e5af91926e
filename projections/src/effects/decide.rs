//! What may follow what. Each function runs at the writer: it sees everything before, and what it
//! chooses is recorded in the same step.

use super::fold::{FOLD, LEASE, effect_key, refused_key};
use super::inherit::Inherited;
use super::{Effect, EffectId};
use crate::approvals::{Asks, Blocked, gate_of_fork};
use crate::budgets::decide::{Books, CANDIDATES, Ended, Ending, Recorded, Took, Use, position_of};
use crate::budgets::{Exceeded, Rules};
use crate::events::control::effect as field;
use crate::events::{Class, Executed, State};
use crate::lease::{Hold, Length, Moment};
use crate::rows::{EffectRow, Refusal};
use crate::runs::{self, RunHeld, is_held};
use crate::settings::Settings;
use crate::view;
use runstone_codec::{Authority, Control, Position, TypedEvent};
use runstone_store::{AppendError, DecideContext, Decision};

/// Equal refusals of one key within this many microseconds are recorded once.
const REFUSAL_WINDOW_US: u64 = 1_000_000;

/// Candidates of a claim, by their place.
pub(super) const CLAIMED: usize = 0;
pub(super) const UNKNOWN: usize = 1;
pub(super) const REFUSED: usize = 2;

/// Code of an outcome that is unknown because the run was forked while it was made.
const FORKED: &str = "forked";
/// Code of an outcome that is unknown because its holder let the lease pass, or is gone.
const LEASE_OVER: &str = "lease_over";

/// What a claim comes to.
#[derive(Debug)]
pub(super) enum Verdict {
    Claimed {
        id: EffectId,
        fence: Position,
        attempt: u64,
        lease_expires_at_us: Option<u64>,
    },
    /// It stands as it is, and why that refuses the claim.
    Stands(Box<Effect>, Why),
    /// Whoever claims it does not hold the run any more.
    StaleRun,
    /// Other settings came into force meanwhile.
    Reconfigured,
    /// It is not approved.
    NotApproved(Blocked),
    /// A budget has no room for it.
    Exceeded(Box<Exceeded>),
    /// Nobody opened the budget of this place.
    UnknownOwner(usize),
    TooManyCounters,
    /// An attempt that is over holds these reservations, which end with this claim.
    Holds(Vec<u64>),
}

/// Why a claim is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Completed,
    InFlight,
    Unknown,
    Exhausted,
    FailedForGood,
    KeyConflict,
}

impl Why {
    /// The code of what is recorded; waiting and replaying are daily business and are not.
    fn recorded(self) -> Option<&'static str> {
        match self {
            Self::Completed | Self::InFlight => None,
            Self::Unknown => Some("outcome_unknown"),
            Self::Exhausted => Some("attempts_exhausted"),
            Self::FailedForGood => Some("failed_for_good"),
            Self::KeyConflict => Some("key_conflict"),
        }
    }
}

/// What a claim goes by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Where it is recorded.
    pub(super) stream: String,
    /// The settings that it was made under.
    pub(super) settings_at: Option<Position>,
    pub(super) hold: Hold,
    pub(super) default_lease_us: u64,
    pub(super) max_attempts: u64,
    pub(super) fresh_for_us: Option<u64>,
    /// The run that it is made in, which must be held.
    pub(super) run: Option<RunHeld>,
    /// Whether it needs an approval that nobody asked for.
    pub(super) needs_approval: bool,
    /// What it spends; candidates follow those of the claim.
    pub(super) uses: Vec<Use>,
    /// What the attempt before it held; candidates follow those.
    pub(super) endings: Vec<Ending>,
    pub(super) rules: Rules,
    /// Whether its key is one of its run.
    pub(super) is_of_run: bool,
    /// What the runs before say of it, if its run is a fork.
    pub(super) inherited: Inherited,
}

/// Candidates of a claim itself.
pub(super) const CLAIM_CANDIDATES: usize = 3;

impl Terms {
    fn length(&self) -> Length {
        self.hold.length(self.default_lease_us)
    }
}

fn row_of(context: &DecideContext<'_>, id: &EffectId) -> Result<Option<EffectRow>, AppendError> {
    view::row(context, FOLD, &effect_key(&id.digest, &id.scope))
}

/// Scope, key and binding of the claim, as they were digested for this decision.
fn claimed_id(context: &DecideContext<'_>) -> Result<(EffectId, Vec<u8>), AppendError> {
    let (header, control) = context.candidate(CLAIMED).ok_or(AppendError::Empty)?;
    let digest = control.get_bytes(field::KEY).unwrap_or_default();
    let id = EffectId {
        digest: digest.try_into().map_err(|_| AppendError::Empty)?,
        scope: header.scope.to_string(),
    };
    let binding = control.get_bytes(field::BINDING).unwrap_or_default();
    Ok((id, binding.to_vec()))
}

/// Whether somebody may begin.
pub(super) fn claim(
    context: &mut DecideContext<'_>,
    terms: &Terms,
) -> Result<Decision<Verdict>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != terms.settings_at {
        return Ok(Decision::nothing(Verdict::Reconfigured));
    }
    if let Some(run) = &terms.run
        && !is_held(context, run)?
    {
        return Ok(Decision::nothing(Verdict::StaleRun));
    }
    if terms.is_of_run && runs::forked(context, &terms.stream)? != terms.inherited.forked {
        // The run was forked while this was read.
        return Ok(Decision::nothing(Verdict::Reconfigured));
    }
    let (id, binding) = claimed_id(context)?;
    let (opening, now_us) = (context.opening(), context.now_us());
    let steady_us = context.steady_us();
    let row = row_of(context, &id)?;
    let Some(row) = row else {
        return match &terms.inherited.call {
            Some(call) => inherit(context, terms, id, (call, &binding)),
            None => grant(context, terms, id, (1, &[])),
        };
    };
    let is_over = row.lease.is_over(&opening, steady_us);
    let effect = |why| {
        let effect = Effect::of(id.clone(), &row, &Moment::Now(opening, steady_us));
        Verdict::Stands(Box::new(effect), why)
    };
    let why = match row.state() {
        _ if !row.is_bound_to(&binding) => Why::KeyConflict,
        State::Completed if is_stale(&row, now_us) => {
            return grant(context, terms, id, (1, &[]));
        }
        State::Completed => Why::Completed,
        State::Unknown => Why::Unknown,
        State::InFlight if !is_over => Why::InFlight,
        State::InFlight if !row.class().bears_repeating() => {
            // The claim is settled by this decision, and refused by it.
            let control = ended(&id, row.fence).text(field::WHY, LEASE_OVER);
            let mut unknown = row.clone();
            unknown.state = u8::try_from(State::Unknown.number()).unwrap_or_default();
            unknown.outcome = Some(context.next_position().get());
            let effect = Effect::of(id.clone(), &unknown, &Moment::Now(opening, steady_us));
            let verdict = Verdict::Stands(Box::new(effect), Why::Unknown);
            return Ok(Decision::record(UNKNOWN, control, verdict));
        }
        State::Failed if row.executed() == Some(Executed::Yes) => Why::FailedForGood,
        State::InFlight | State::Failed | State::Cancelled
            if row.attempt.saturating_sub(row.released_attempts) < terms.max_attempts =>
        {
            let attempt = row.attempt.saturating_add(1);
            return grant(context, terms, id, (attempt, &row.reservations));
        }
        State::InFlight | State::Failed | State::Cancelled => Why::Exhausted,
    };
    let Some(code) = why.recorded() else {
        return Ok(Decision::nothing(effect(why)));
    };
    Ok(refusal(
        &id,
        code,
        is_told(&row.refused, code, now_us),
        effect(why),
    ))
}

/// Whether such a refusal was recorded a moment ago.
fn is_told(refused: &[Refusal], code: &str, now_us: u64) -> bool {
    let mut refused = refused.iter();
    refused.any(|(known, at_us)| known == code && now_us.saturating_sub(*at_us) < REFUSAL_WINDOW_US)
}

/// [`is_told`] of a call that this run has not claimed.
fn is_told_unclaimed(
    context: &DecideContext<'_>,
    id: &EffectId,
    code: &str,
) -> Result<bool, AppendError> {
    let known: Option<Vec<Refusal>> =
        view::row(context, FOLD, &refused_key(&id.digest, &id.scope))?;
    Ok(is_told(&known.unwrap_or_default(), code, context.now_us()))
}

/// A claim that is refused, which is recorded unless it was a moment ago.
fn refusal(id: &EffectId, code: &str, is_told: bool, verdict: Verdict) -> Decision<Verdict> {
    if is_told {
        return Decision::nothing(verdict);
    }
    let control = Control::new()
        .bytes(field::KEY, id.digest)
        .text(field::WHY, code);
    Decision::record(REFUSED, control, verdict)
}

/// What the runs before say of a call that the fork has not claimed: what they made is not made again.
/// What they had begun is recorded as begun here, so that it can be settled here.
fn inherit(
    context: &mut DecideContext<'_>,
    terms: &Terms,
    id: EffectId,
    ((of, row), binding): (&(EffectId, EffectRow), &[u8]),
) -> Result<Decision<Verdict>, AppendError> {
    let (opening, steady_us) = (context.opening(), context.steady_us());
    let stands = |id: EffectId, row: &EffectRow, why| {
        let effect = Effect::of(id, row, &Moment::Now(opening, steady_us));
        Verdict::Stands(Box::new(effect), why)
    };
    let why = if !row.is_bound_to(binding) {
        Why::KeyConflict
    } else if row.state() == State::Completed {
        if is_stale(row, context.now_us()) {
            return grant(context, terms, id, (1, &[]));
        }
        Why::Completed
    } else if row.state() == State::Failed {
        Why::FailedForGood
    } else {
        let fence = context.next_position().get();
        let mut unknown = row.clone();
        unknown.state = u8::try_from(State::Unknown.number()).unwrap_or_default();
        (unknown.fence, unknown.attempt) = (fence, 1);
        unknown.outcome = Some(fence.saturating_add(1));
        unknown.stream.clone_from(&terms.stream);
        let lease = LEASE.control(terms.length(), steady_us, &opening);
        let claimed = lease.u64(field::ATTEMPT, 1);
        let why = ended(&id, fence).text(field::WHY, FORKED);
        let verdict = stands(id, &unknown, Why::Unknown);
        return Ok(Decision::record(CLAIMED, claimed, verdict).and(UNKNOWN, why));
    };
    let verdict = stands(of.clone(), row, why);
    let Some(code) = why.recorded() else {
        return Ok(Decision::nothing(verdict));
    };
    let is_told = is_told_unclaimed(context, &id, code)?;
    Ok(refusal(&id, code, is_told, verdict))
}

fn is_stale(row: &EffectRow, now_us: u64) -> bool {
    row.class() == Class::Read
        && row
            .fresh_for_us
            .is_some_and(|fresh| now_us >= row.outcome_at_us.saturating_add(fresh))
}

/// The claim is granted if what it spends fits. What the attempt before it held is charged in the
/// same step: its holder is gone, and whether it had begun nobody knows.
fn grant(
    context: &DecideContext<'_>,
    terms: &Terms,
    id: EffectId,
    (attempt, held): (u64, &[u64]),
) -> Result<Decision<Verdict>, AppendError> {
    if let Some(refused) = not_approved(context, terms, &id)? {
        return Ok(refused);
    }
    if !terms
        .endings
        .iter()
        .map(|one| one.fence.get())
        .eq(held.iter().copied())
    {
        return Ok(Decision::nothing(Verdict::Holds(held.to_vec())));
    }
    let (steady_us, opening) = (context.steady_us(), context.opening());
    let length = terms.length();
    let mut control = LEASE
        .control(length, steady_us, &opening)
        .u64(field::ATTEMPT, attempt);
    if let Some(fresh) = terms.fresh_for_us {
        control = control.u64(field::FRESH_FOR_US, fresh);
    }
    let mut books = Books::default();
    let uses_end = CLAIM_CANDIDATES + terms.uses.len() * CANDIDATES;
    let endings = (terms.endings.as_slice(), &terms.rules);
    let Some(ended) = end_all(context, &mut books, endings, uses_end)? else {
        return Ok(Decision::nothing(Verdict::TooManyCounters));
    };
    let mut record = vec![(CLAIMED, Control::new())];
    let mut fences = Vec::new();
    for (place, used) in terms.uses.iter().enumerate() {
        let base = CLAIM_CANDIDATES + place * CANDIDATES;
        match used.decide(context, &mut books, &terms.rules, base)? {
            Took::Recorded(one, _) => {
                let fence = position_of(context, record.len());
                fences.extend_from_slice(&fence.get().to_be_bytes());
                record.extend(one);
            }
            Took::Refused(told, over) => return Ok(exceeded(&id, told, over)),
            Took::UnknownOwner => return Ok(Decision::nothing(Verdict::UnknownOwner(place))),
            Took::TooManyCounters => return Ok(Decision::nothing(Verdict::TooManyCounters)),
        }
    }
    record.extend(ended);
    if !fences.is_empty() {
        control = control.bytes(field::RESERVATIONS, fences);
    }
    if let Some((_, claimed)) = record.first_mut() {
        *claimed = control;
    }
    let mut decision = Decision::nothing(Verdict::Claimed {
        id,
        fence: context.next_position(),
        attempt,
        lease_expires_at_us: length.ends_at_us(steady_us),
    });
    decision.record = record;
    Ok(decision)
}

/// A claim that does not fit into a budget; it is recorded where that of the budget is.
fn exceeded(id: &EffectId, told: Recorded, over: Box<Exceeded>) -> Decision<Verdict> {
    let mut decision = Decision::nothing(Verdict::Exceeded(over));
    if !told.is_empty() {
        let control = Control::new()
            .bytes(field::KEY, id.digest)
            .text(field::WHY, "exceeded");
        decision.record = vec![(REFUSED, control)];
        decision.record.extend(told);
    }
    decision
}

/// Ends reservations; `None` if an owner has no room for a counter. One that somebody ended by hand
/// has ended.
fn end_all(
    context: &DecideContext<'_>,
    books: &mut Books,
    (endings, rules): (&[Ending], &Rules),
    mut base: usize,
) -> Result<Option<Recorded>, AppendError> {
    let mut record = Recorded::new();
    for ending in endings {
        match ending.decide(context, books, rules, base)? {
            Ended::Recorded(one, _) => record.extend(one),
            Ended::TooManyCounters => return Ok(None),
            Ended::Before(_) | Ended::Otherwise(_) | Ended::Unknown => {}
        }
        base += ending.candidates();
    }
    Ok(Some(record))
}

/// The claim is refused unless people said yes, where they were asked or have to be.
fn not_approved(
    context: &DecideContext<'_>,
    terms: &Terms,
    id: &EffectId,
) -> Result<Option<Decision<Verdict>>, AppendError> {
    let (_, refused) = context.candidate(REFUSED).ok_or(AppendError::Empty)?;
    let asks = Asks {
        digest: &id.digest,
        scope: &id.scope,
        what: refused.get_bytes(field::TO_APPROVE).unwrap_or_default(),
        needs_one: terms.needs_approval,
    };
    let before = terms.inherited.before.iter();
    let before = before.map(|id| (id.digest.as_slice(), id.scope.as_str()));
    let Some(blocked) = gate_of_fork(context, &asks, before)? else {
        return Ok(None);
    };
    // What a fork inherits is kept with its own call: the request is another run's.
    let code = blocked.why.code();
    let is_told = blocked.is_told || is_told_unclaimed(context, id, code)?;
    let verdict = Verdict::NotApproved(blocked);
    Ok(Some(refusal(id, code, is_told, verdict)))
}

fn ended(id: &EffectId, fence: u64) -> Control {
    Control::new()
        .bytes(field::KEY, id.digest)
        .u64(field::FENCE, fence)
}

/// What a holder or an operator does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Complete,
    Fail(Executed),
    /// Whether the call had begun.
    Cancel {
        begun: bool,
    },
    Unknown,
    Renew(Length),
    /// Whether it was made, and whether a person says so.
    Reconcile {
        was_made: bool,
        by_program: bool,
    },
    Release,
}

impl Act {
    fn needs_person(self) -> bool {
        match self {
            Self::Release => true,
            Self::Reconcile { by_program, .. } => !by_program,
            _ => false,
        }
    }

    /// Whether it says what came of a call that was claimed.
    pub(super) fn is_outcome(self) -> bool {
        matches!(
            self,
            Self::Complete | Self::Fail(_) | Self::Cancel { .. } | Self::Unknown
        )
    }

    /// Whether somebody knows then what it cost.
    pub(super) fn ends_reservations(self, class: Class) -> bool {
        match self {
            Self::Complete | Self::Reconcile { .. } | Self::Release => true,
            Self::Fail(executed) => executed != Executed::Unknown,
            Self::Cancel { begun } => !begun || class.bears_repeating(),
            Self::Unknown | Self::Renew(_) => false,
        }
    }

    /// Whether it cost anything: what was begun counts, unless it is known not to have been made.
    pub(super) fn is_charged(self) -> bool {
        match self {
            Self::Complete => true,
            Self::Fail(executed) => executed != Executed::No,
            Self::Cancel { begun } => begun,
            Self::Reconcile { was_made, .. } => was_made,
            Self::Unknown | Self::Renew(_) | Self::Release => false,
        }
    }
}

/// What it comes to.
#[derive(Debug)]
pub(super) enum Done {
    /// It is recorded at the next position, or was before.
    At(Option<Position>),
    Stale(Option<Box<Effect>>),
    /// It does not stand so that this could be done to it.
    NotSo(Box<Effect>),
    NotAllowed(Authority),
    /// It holds other reservations than were looked at, or other settings came into force.
    Moved,
    /// An owner has no room for a counter that its cost names.
    TooManyCounters,
}

/// What the change of a call does to what its claim reserved.
#[derive(Debug, Clone, Default)]
pub(super) struct Spending {
    /// Ends of its reservations, if the change ends them; candidates follow those of the change.
    pub(super) endings: Vec<Ending>,
    /// The settings that these are decided under.
    pub(super) rules: Rules,
    pub(super) settings_at: Option<Position>,
}

/// Candidates of a change: the event itself, and, for what is given up after it was begun, the
/// event that says that its outcome is unknown.
pub(super) const CHANGE: usize = 0;
pub(super) const GIVEN_UP: usize = 1;

/// Whether a change may be recorded. `fence` is the claim that it is about; operators name none.
pub(super) fn change(
    context: &mut DecideContext<'_>,
    id: &EffectId,
    fence: Option<Position>,
    (act, spending): (Act, &Spending),
) -> Result<Decision<Done>, AppendError> {
    let (opening, steady_us) = (context.opening(), context.steady_us());
    let Some(row) = row_of(context, id)? else {
        return Ok(Decision::nothing(Done::Stale(None)));
    };
    let effect = || {
        Box::new(Effect::of(
            id.clone(),
            &row,
            &Moment::Now(opening, steady_us),
        ))
    };
    // Operators settle a call as it stands; whoever speaks for a claim names it.
    let needs_fence = !matches!(
        act,
        Act::Release
            | Act::Reconcile {
                by_program: false,
                ..
            }
    );
    if fence.map_or(needs_fence, |fence| fence.get() != row.fence) {
        return Ok(Decision::nothing(Done::Stale(Some(effect()))));
    }
    let (header, control) = context.candidate(CHANGE).ok_or(AppendError::Empty)?;
    let is_entitled = matches!(header.authority, Authority::Human | Authority::Commander);
    let (is_in_flight, is_unknown) = match row.state() {
        State::InFlight => (true, false),
        State::Unknown => (false, true),
        State::Completed if act == Act::Complete => {
            let is_rejected = control.get_u64(field::REJECTED) == Some(1);
            let is_same = control.get_bytes(field::RESULT) == row.result.as_deref()
                && is_rejected == row.rejected;
            let done = if is_same {
                Done::At(row.outcome.map(Position::new))
            } else {
                Done::Stale(Some(effect()))
            };
            return Ok(Decision::nothing(done));
        }
        _ => (false, false),
    };
    let needs_person = act.needs_person();
    // Nobody recorded yet that its lease is over; this command does.
    let is_lapsed = row.is_lapsed(context);
    let is_possible = match act {
        Act::Release => is_in_flight || is_unknown,
        Act::Reconcile { .. } => is_unknown || is_lapsed,
        _ => is_in_flight,
    };
    if !is_possible {
        let done = match act {
            Act::Release | Act::Reconcile { .. } => Done::NotSo(effect()),
            _ => Done::Stale(Some(effect())),
        };
        return Ok(Decision::nothing(done));
    }
    if needs_person && !is_entitled {
        return Ok(Decision::nothing(Done::NotAllowed(header.authority)));
    }
    let done = Done::At(Some(context.next_position()));
    let control = ended(id, row.fence);
    let mut decision = match act {
        Act::Cancel { begun: true } if !row.class().bears_repeating() => {
            Decision::record(GIVEN_UP, control.text(field::WHY, "given_up"), done)
        }
        Act::Complete | Act::Cancel { .. } | Act::Unknown | Act::Release => {
            Decision::record(CHANGE, control, done)
        }
        Act::Fail(executed) => Decision::record(
            CHANGE,
            control.u64(field::EXECUTED, executed.number()),
            done,
        ),
        Act::Reconcile {
            was_made,
            by_program,
        } => {
            let settled = control
                .clone()
                .u64(field::OUTCOME, u64::from(!was_made))
                .u64(field::BY_PROGRAM, u64::from(by_program));
            if is_lapsed {
                let next = context.next_position().get().saturating_add(1);
                let done = Done::At(Some(Position::new(next)));
                Decision::record(GIVEN_UP, control.text(field::WHY, LEASE_OVER), done)
                    .and(CHANGE, settled)
            } else {
                Decision::record(CHANGE, settled, done)
            }
        }
        Act::Renew(length) => {
            let lease = LEASE.control(length, steady_us, &opening);
            Decision::record(CHANGE, control.merge(lease), done)
        }
    };
    match ends(context, &row, (act, spending))? {
        Ok(ends) => decision.record.extend(ends),
        Err(done) => decision = Decision::nothing(done),
    }
    Ok(decision)
}

impl EffectRow {
    /// Whether the outcome is unknown because the lease is over, and nobody recorded it.
    fn is_lapsed(&self, context: &DecideContext<'_>) -> bool {
        self.state() == State::InFlight
            && !self.class().bears_repeating()
            && self.lease.is_over(&context.opening(), context.steady_us())
    }
}

/// Whether it is recorded that the outcome of a claim is unknown, because its lease is over; the only
/// candidate is that event.
pub(super) fn lapse(
    context: &mut DecideContext<'_>,
    id: &EffectId,
    fence: Position,
) -> Result<Decision<bool>, AppendError> {
    let row = row_of(context, id)?;
    let lapsed = row.filter(|row| row.fence == fence.get() && row.is_lapsed(context));
    Ok(match lapsed {
        Some(row) => {
            let control = ended(id, row.fence).text(field::WHY, LEASE_OVER);
            Decision::record(0, control, true)
        }
        None => Decision::nothing(false),
    })
}

/// What ends of that which the claim reserved, or why it cannot end.
fn ends(
    context: &mut DecideContext<'_>,
    row: &EffectRow,
    (act, spending): (Act, &Spending),
) -> Result<Result<Recorded, Done>, AppendError> {
    if row.reservations.is_empty() || !act.ends_reservations(row.class()) {
        return Ok(Ok(Recorded::new()));
    }
    let known = spending.endings.iter().map(|one| one.fence.get());
    let is_known = known.eq(row.reservations.iter().copied());
    if !is_known || context.last_of_type(Settings::TYPE)? != spending.settings_at {
        return Ok(Err(Done::Moved));
    }
    let spending = (spending.endings.as_slice(), &spending.rules);
    let ends = end_all(context, &mut Books::default(), spending, GIVEN_UP + 1)?;
    Ok(ends.ok_or(Done::TooManyCounters))
}
