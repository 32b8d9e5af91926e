//! What may be spent. Each function runs at the writer, on [`Books`] that see everything before it
//! and what the same decision did so far; others compose them with decisions of their own.

use super::books::{Look, Rules};
use super::fold::{FOLD, LEASE, LEASE_OVER, call_key, owner_key, reservation_key, state};
use super::{Amounts, Exceeded, MAX_COUNTERS, MAX_NESTING, OwnerId, calls, window};
use crate::events::control::budget as field;
use crate::events::{
    BudgetCharged, BudgetExceeded, BudgetReleased, BudgetReserved, BudgetSettled, BudgetWarned,
};
use crate::lease::Length;
use crate::rows::{ChargeRow, OwnerRow, ReservationRow, UsageRow};
use crate::view;
use runstone_codec::{Control, Draft, EventError, Keyed, NewEvent, Position};
use runstone_store::{AppendError, DecideContext};
use std::collections::BTreeMap;

/// Equal refusals of one limit within this many microseconds are recorded once.
const REFUSAL_WINDOW_US: u64 = 1_000_000;
/// Warnings that one command can record; what is left is recorded by the next.
const WARNINGS: usize = 2;
/// Candidates of one use or settlement: the event itself, warnings, and one for a limit exceeded.
pub(crate) const CANDIDATES: usize = 2 + WARNINGS;

/// What a decision records: candidates, and the control added to each.
pub(crate) type Recorded = Vec<(usize, Control)>;

/// Owners as they stand in one decision.
#[derive(Debug, Default)]
pub(crate) struct Books {
    rows: BTreeMap<OwnerId, OwnerRow>,
    /// What was charged for calls of models, by the keys of their rows.
    calls: BTreeMap<Vec<u8>, Vec<ChargeRow>>,
}

impl Books {
    /// An owner and those above it, in the windows of now; `None` if nobody opened it.
    pub(super) fn chain(
        &mut self,
        context: &DecideContext<'_>,
        id: &OwnerId,
    ) -> Result<Option<Vec<OwnerId>>, AppendError> {
        let mut chain = Vec::new();
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            if !self.rows.contains_key(&id) {
                let Some(mut row) = view::row::<OwnerRow>(context, FOLD, &owner_key(&id))? else {
                    return Ok(None);
                };
                row.roll(window::of(context.now_us()));
                self.rows.insert(id.clone(), row);
            }
            let parent = self.rows.get(&id).and_then(|row| row.parent.as_ref());
            if chain.len() <= MAX_NESTING {
                next = parent.map(OwnerId::from);
            }
            chain.push(id);
        }
        Ok(Some(chain))
    }

    pub(super) fn row(&self, id: &OwnerId) -> Option<&OwnerRow> {
        self.rows.get(id)
    }

    /// Whether something that this owner spends counts for the other one.
    pub(crate) fn is_within(
        &mut self,
        context: &DecideContext<'_>,
        id: &OwnerId,
        above: &OwnerId,
    ) -> Result<bool, AppendError> {
        let chain = self.chain(context, id)?;
        Ok(chain.is_some_and(|chain| chain.contains(above)))
    }

    /// Whether somebody opened it.
    pub(crate) fn is_known(
        &mut self,
        context: &DecideContext<'_>,
        id: &OwnerId,
    ) -> Result<bool, AppendError> {
        Ok(self.chain(context, id)?.is_some())
    }

    /// The limit that asking for so much would exceed, or that an owner is over already. Nothing is
    /// recorded of it.
    pub(crate) fn refuses(
        &mut self,
        context: &DecideContext<'_>,
        (id, rules): (&OwnerId, &Rules),
        asked: &Amounts,
    ) -> Result<Option<Exceeded>, AppendError> {
        let chain = self.chain(context, id)?.unwrap_or_default();
        let look = (Look::Ahead, context.now_us());
        Ok(self.exceeded(&chain, rules, asked, look))
    }

    fn each(&mut self, chain: &[OwnerId], mut change: impl FnMut(&mut OwnerRow)) {
        for id in chain {
            if let Some(row) = self.rows.get_mut(id) {
                change(row);
            }
        }
    }

    /// Takes in what a call of a model used in all; answers what it is charged more and less than
    /// before.
    fn charge_call(
        &mut self,
        context: &DecideContext<'_>,
        (chain, key): (&[OwnerId], Vec<u8>),
        used: &Amounts,
    ) -> Result<(Amounts, Amounts), AppendError> {
        let mut charges = match self.calls.remove(&key) {
            Some(charges) => charges,
            None => view::row(context, FOLD, &key)?.unwrap_or_default(),
        };
        let before = calls::total(&charges);
        let (charge, credit) = (used.less(&before), before.less(used));
        let windows = window::of(context.now_us());
        let credits = calls::report(&mut charges, &charge, &credit, windows);
        self.calls.insert(key, charges);
        self.each(chain, |row| {
            row.spend(&charge);
            for (windows, amounts) in &credits {
                row.credit(amounts, *windows);
            }
        });
        Ok((charge, credit))
    }

    fn exceeded(
        &self,
        chain: &[OwnerId],
        rules: &Rules,
        requested: &Amounts,
        (look, now_us): (Look, u64),
    ) -> Option<Exceeded> {
        chain.iter().find_map(|id| {
            let row = self.rows.get(id)?;
            row.exceeded(id, rules, requested, (look, now_us))
        })
    }

    /// Warnings that are due, each once.
    fn warnings(
        &mut self,
        (chain, rules): (&[OwnerId], &Rules),
        now_us: u64,
        base: usize,
    ) -> Recorded {
        let mut recorded = Recorded::new();
        for at in 0..WARNINGS {
            let due = chain.iter().find_map(|id| {
                let row = self.rows.get(id)?;
                row.to_warn_of(id, rules, now_us)
            });
            let Some(due) = due else { break };
            if let Some(row) = self.rows.get_mut(&due.owner) {
                row.warned(due.window, &due.dimension, due.limit);
            }
            recorded.push((base + 1 + at, control_of(&due)));
        }
        recorded
    }

    /// What is recorded of a limit that is exceeded: an equal one once a second.
    fn refusal(&mut self, over: &Exceeded, now_us: u64, base: usize) -> Recorded {
        let Some(row) = self.rows.get_mut(&over.owner) else {
            return Recorded::new();
        };
        let known = row.tally(over.window, &over.dimension).exceeded_at_us;
        if known.is_some_and(|at_us| now_us.saturating_sub(at_us) < REFUSAL_WINDOW_US) {
            return Recorded::new();
        }
        row.exceeded_at(over.window, &over.dimension, now_us);
        vec![(base + 1 + WARNINGS, control_of(over))]
    }
}

/// What control says of an owner wherever its events stand.
fn of_owner(id: &OwnerId) -> Control {
    Control::new()
        .bytes(field::OWNER, id.digest)
        .text(field::SCOPE, id.scope.as_str())
}

fn control_of(over: &Exceeded) -> Control {
    of_owner(&over.owner)
        .text(field::DIMENSION, over.dimension.as_str())
        .u64(field::WINDOW, over.window.number())
        .u64(field::SPENT, over.spent)
        .u64(field::RESERVED, over.reserved)
        .u64(field::REQUESTED, over.requested)
        .u64(field::LIMIT, over.limit)
}

/// Something that an owner is to spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) owner: OwnerId,
    /// Its name, if the caller knows it.
    pub(crate) name: Option<String>,
    pub(crate) amounts: Amounts,
    pub(crate) how: How,
    /// Who does it: a pseudonym.
    pub(crate) holder: Option<String>,
}

/// How it is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It is held back, and settled or released later.
    Reserve(Length),
    /// It is held back for the claim that is recorded at this place of the decision, and ended by
    /// its outcome.
    ForCall(usize),
    /// It is spent if it fits.
    Spend,
    /// It was spent already.
    Charge,
    /// So much was spent in all by a call of a model: a digest tells which.
    ChargeCall(Keyed),
}

/// What it comes to.
#[derive(Debug)]
pub(crate) enum Took {
    /// It is recorded, the event itself first. Whether a limit is exceeded now.
    Recorded(Recorded, Option<Box<Exceeded>>),
    /// It does not fit; what is recorded of that.
    Refused(Recorded, Box<Exceeded>),
    /// Nobody opened the owner.
    UnknownOwner,
    /// An owner counts as many counters as it can.
    TooManyCounters,
}

impl Use {
    /// Its candidates, in a stream of the caller's choice.
    pub(crate) fn drafts(
        &self,
        stream: &str,
        scope: Option<&str>,
    ) -> Result<Vec<Draft>, EventError> {
        let (owner, amounts) = (self.name.clone(), self.amounts.to_map());
        let control = of_owner(&self.owner).bytes(field::AMOUNTS, self.amounts.to_bytes());
        let draft = match &self.how {
            How::Reserve(_) | How::ForCall(_) => {
                let event = NewEvent::typed(&BudgetReserved { owner, amounts }, stream)?;
                let control = match &self.holder {
                    Some(holder) => control.text(field::HOLDER, holder.as_str()),
                    None => control,
                };
                Draft::new(event).control(control)
            }
            How::Spend | How::Charge | How::ChargeCall(_) => {
                let event = NewEvent::typed(&BudgetCharged { owner, amounts }, stream)?;
                let draft = Draft::new(event).control(control);
                match &self.how {
                    How::ChargeCall(call) => draft.keyed(call.clone()),
                    _ => draft,
                }
            }
        };
        let tell = told(stream, self.name.as_deref())?;
        Ok(finish([vec![draft], tell].concat(), &self.owner, scope))
    }

    /// Whether it is spent, and what is recorded then; `base` is the first of its candidates.
    pub(crate) fn decide(
        &self,
        context: &DecideContext<'_>,
        books: &mut Books,
        rules: &Rules,
        base: usize,
    ) -> Result<Took, AppendError> {
        let now_us = context.now_us();
        let Some(chain) = books.chain(context, &self.owner)? else {
            return Ok(Took::UnknownOwner);
        };
        let mut rows = chain.iter().filter_map(|id| books.row(id));
        if rows.any(|row| !row.has_room_for(&self.amounts)) {
            return Ok(Took::TooManyCounters);
        }
        let is_ahead = matches!(self.how, How::Reserve(_) | How::ForCall(_) | How::Spend);
        if is_ahead {
            let over = books.exceeded(&chain, rules, &self.amounts, (Look::Ahead, now_us));
            if let Some(over) = over {
                let recorded = books.refusal(&over, now_us, base);
                return Ok(Took::Refused(recorded, Box::new(over)));
            }
        }
        let control = match &self.how {
            How::Reserve(length) => {
                books.each(&chain, |row| row.reserve(&self.amounts));
                LEASE.control(*length, context.steady_us(), &context.opening())
            }
            How::ForCall(place) => {
                books.each(&chain, |row| row.reserve(&self.amounts));
                let claim = position_of(context, *place);
                Control::new().u64(field::EFFECT, claim.get())
            }
            How::Spend | How::Charge => {
                books.each(&chain, |row| row.spend(&self.amounts));
                Control::new()
            }
            How::ChargeCall(_) => {
                let (_, said) = context.candidate(base).ok_or(AppendError::Empty)?;
                let call = said.get_bytes(field::CALL).unwrap_or_default();
                let key = call_key(&self.owner, call);
                let (charge, credit) = books.charge_call(context, (&chain, key), &self.amounts)?;
                if charge.is_empty() && credit.is_empty() {
                    return Ok(Took::Recorded(Recorded::new(), None));
                }
                let control = Control::new()
                    .bytes(field::AMOUNTS, charge.to_bytes())
                    .bytes(field::CALL_TOTAL, self.amounts.to_bytes());
                if credit.is_empty() {
                    control
                } else {
                    control.bytes(field::CREDIT, credit.to_bytes())
                }
            }
        };
        let mut recorded = vec![(base, control)];
        let is_after = matches!(self.how, How::Charge | How::ChargeCall(_));
        let over = tell(
            context,
            books,
            (&chain, rules, is_after),
            base,
            &mut recorded,
        );
        Ok(Took::Recorded(recorded, over.map(Box::new)))
    }
}

/// Warnings that are due, and what is recorded if a limit is exceeded after the fact.
fn tell(
    context: &DecideContext<'_>,
    books: &mut Books,
    (chain, rules, is_after): (&[OwnerId], &Rules, bool),
    base: usize,
    recorded: &mut Recorded,
) -> Option<Exceeded> {
    let now_us = context.now_us();
    recorded.extend(books.warnings((chain, rules), now_us, base));
    if !is_after {
        return None;
    }
    let over = books.exceeded(chain, rules, &Amounts::new(), (Look::After, now_us))?;
    recorded.extend(books.refusal(&over, now_us, base));
    Some(over)
}

/// Position of what the decision records at this place.
pub(crate) fn position_of(context: &DecideContext<'_>, place: usize) -> Position {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    Position::new(context.next_position().get().saturating_add(place))
}

/// Candidates for warnings, and for a limit that is exceeded.
fn told(stream: &str, name: Option<&str>) -> Result<Vec<Draft>, EventError> {
    let owner = || name.map(str::to_owned);
    let mut drafts = Vec::with_capacity(1 + WARNINGS);
    for _ in 0..WARNINGS {
        let event = BudgetWarned { owner: owner() };
        drafts.push(NewEvent::typed(&event, stream)?.into());
    }
    let event = BudgetExceeded { owner: owner() };
    drafts.push(NewEvent::typed(&event, stream)?.into());
    Ok(drafts)
}

fn finish(mut drafts: Vec<Draft>, owner: &OwnerId, scope: Option<&str>) -> Vec<Draft> {
    for draft in &mut drafts {
        draft.event.tags.push(owner.tag());
        if let Some(scope) = scope {
            draft.event.scope = Some(scope.to_owned());
        }
    }
    drafts
}

/// The end of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) fence: Position,
    pub(crate) owner: OwnerId,
    pub(crate) name: Option<String>,
    pub(crate) end: End,
}

/// How it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It cost so much.
    Settle(Amounts),
    /// It is given back.
    Release {
        /// Why, as a code.
        why: &'static str,
        /// Why, in words.
        reason: Option<String>,
    },
    /// Its lease is over.
    Expire,
}

/// What it comes to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It ends here. Whether a limit is exceeded now.
    Recorded(Recorded, Option<Box<Exceeded>>),
    /// It ended so before.
    Before(Option<Position>),
    /// It ended in another way before.
    Otherwise(Box<ReservationRow>),
    Unknown,
    /// An owner counts as many counters as it can.
    TooManyCounters,
}

impl Ending {
    /// Its candidates, in a stream of the caller's choice.
    pub(crate) fn drafts(
        &self,
        stream: &str,
        scope: Option<&str>,
    ) -> Result<Vec<Draft>, EventError> {
        let control = of_owner(&self.owner).u64(field::RESERVATION, self.fence.get());
        let owner = self.name.clone();
        let (event, control) = match &self.end {
            End::Settle(actual) => {
                let amounts = actual.to_map();
                let event = NewEvent::typed(&BudgetSettled { owner, amounts }, stream)?;
                (event, control.bytes(field::AMOUNTS, actual.to_bytes()))
            }
            End::Release { why, reason } => {
                let reason = reason.clone();
                let event = NewEvent::typed(&BudgetReleased { owner, reason }, stream)?;
                (event, control.text(field::WHY, *why))
            }
            End::Expire => {
                let reason = None;
                let event = NewEvent::typed(&BudgetReleased { owner, reason }, stream)?;
                (event, control.text(field::WHY, LEASE_OVER))
            }
        };
        let mut drafts = vec![Draft::new(event).control(control)];
        if matches!(self.end, End::Settle(_)) {
            drafts.extend(told(stream, self.name.as_deref())?);
        }
        Ok(finish(drafts, &self.owner, scope))
    }

    /// How many candidates it has.
    pub(crate) fn candidates(&self) -> usize {
        match self.end {
            End::Settle(_) => CANDIDATES,
            End::Release { .. } | End::Expire => 1,
        }
    }

    pub(crate) fn decide(
        &self,
        context: &DecideContext<'_>,
        books: &mut Books,
        rules: &Rules,
        base: usize,
    ) -> Result<Ended, AppendError> {
        let key = reservation_key(self.fence.get());
        let Some(row) = view::row::<ReservationRow>(context, FOLD, &key)? else {
            return Ok(Ended::Unknown);
        };
        let before = Ended::Before(row.outcome.map(Position::new));
        let is_settling = matches!(self.end, End::Settle(_));
        match (row.state, &self.end) {
            (state::OPEN, End::Expire) => {
                let is_over = row
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.is_over(&context.opening(), context.steady_us()));
                if !is_over {
                    return Ok(Ended::Otherwise(Box::new(row)));
                }
            }
            (state::OPEN, _) | (state::EXPIRED, End::Settle(_)) => {}
            (state::SETTLED, End::Settle(actual)) if row.actual == actual.to_row() => {
                return Ok(before);
            }
            (state::RELEASED | state::EXPIRED, End::Release { .. } | End::Expire) => {
                return Ok(before);
            }
            _ => return Ok(Ended::Otherwise(Box::new(row))),
        }
        let id = row.owner_id();
        let Some(chain) = books.chain(context, &id)? else {
            return Ok(Ended::Unknown);
        };
        if let End::Settle(actual) = &self.end {
            let mut rows = chain.iter().filter_map(|id| books.row(id));
            if rows.any(|row| !row.has_room_for(actual)) {
                return Ok(Ended::TooManyCounters);
            }
        }
        let reserved = Amounts::of_row(&row.amounts);
        books.each(&chain, |owner| {
            if row.state == state::OPEN {
                owner.unreserve(&reserved, row.windows);
            }
            if let End::Settle(actual) = &self.end {
                owner.spend(actual);
            }
        });
        let mut recorded = vec![(base, Control::new())];
        let over = if is_settling {
            tell(context, books, (&chain, rules, true), base, &mut recorded)
        } else {
            None
        };
        Ok(Ended::Recorded(recorded, over.map(Box::new)))
    }
}

/// How a reservation stands, in a word.
pub(super) fn word(row: &ReservationRow) -> &'static str {
    match row.state {
        state::OPEN => "open",
        state::SETTLED => "settled",
        state::EXPIRED => "expired",
        _ => "released",
    }
}

/// Most counters, for errors.
pub(crate) fn too_many_counters() -> super::BudgetError {
    super::BudgetError::TooMany {
        what: "counters".into(),
        count: MAX_COUNTERS + 1,
        limit: MAX_COUNTERS,
    }
}

/// Tokens of every kind of a call of a model, and its price if it is known.
pub(crate) fn of_call(report: &UsageRow, has_price: bool) -> Amounts {
    let tokens = [
        report.input_tokens,
        report.output_tokens,
        report.cache_read_tokens,
        report.cache_write_tokens,
    ];
    let tokens = tokens.into_iter().fold(0, u64::saturating_add);
    let most = |amount: u64| amount.min(super::MAX_AMOUNT);
    let amounts = Amounts::new().tokens(most(tokens));
    if has_price {
        amounts.usd_micros(most(report.usd_micros))
    } else {
        amounts
    }
}

/// The digest by which charges for one call of a model are known as such.
pub(crate) fn call_digest(stream: &str, id: &[Vec<u8>]) -> Keyed {
    let parts = std::iter::once(stream.as_bytes().to_vec()).chain(id.iter().cloned());
    Keyed::control(field::CALL, field::CALL_LABEL, parts)
}
