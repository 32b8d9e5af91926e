//! Budgets: what may be spent, by whom, and in which time.
//!
//! ```text
//!  open(owner, limits) --> reserve --+--> settle   what it cost, even over the limit
//!                          (refused  +--> release  given back
//!                          if it does
//!                          not fit)      charge    after the fact, recorded always
//! ```
//!
//! Owners nest: what one spends counts for each owner above it, and something is reserved only if
//! it fits into every limit of all of them, in every window. Check and record are one step, so that
//! no number of callers together reserves more than a limit. Amounts are integers: money in
//! millionths of a dollar, carbon dioxide in milligrams.
//!
//! ```
//! use runstone_projections::budgets::{Amounts, BudgetLimits, Budgets, Dimension, Open};
//! use runstone_projections::Hold;
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//! let budgets = Budgets::new(&log);
//!
//! budgets.open_blocking(&Open::new("bot").limits(BudgetLimits::new().of(Dimension::Tokens, 100)))?;
//! let held = budgets.reserve_blocking("bot", &Amounts::new().tokens(80), Hold::Opening)?;
//! let refused = budgets.reserve_blocking("bot", &Amounts::new().tokens(30), Hold::Opening);
//! assert_eq!(refused.unwrap_err().code(), "budget_exceeded");
//!
//! // It cost less than was feared, so there is room again.
//! budgets.settle_blocking(held.fence, &Amounts::new().tokens(60))?;
//! budgets.reserve_blocking("bot", &Amounts::new().tokens(30), Hold::Opening)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod amount;
mod books;
mod calls;
pub(crate) mod decide;
mod error;
mod fold;
mod lapse;
mod list;
mod open;
mod owner;
mod past;
mod window;

pub use crate::events::Window;
pub use amount::{
    Amounts, BudgetLimits, Dimension, MAX_AMOUNT, MAX_AMOUNTS, MAX_COUNTER_LEN, MAX_COUNTERS,
    MAX_LIMITS,
};
pub(crate) use books::Rules;
pub use error::BudgetError;
pub use fold::BudgetsFold;
pub(crate) use lapse::{expire, may_have_room};
pub use list::{Reservation, list, reservations, state_at};
pub(crate) use list::{all_lapsed, is_known, is_within, refuses};
pub use open::{Open, Opened};
pub use owner::{Budget, Exceeded, MAX_NESTING, MAX_OWNER_LEN, Owner, OwnerId};

use crate::DecodeRecord as _;
use crate::asks::{
    ChargeBudget, OpenBudget, ReleaseBudget, ReserveBudget, SettleBudget, SpendBudget, SweepBudgets,
};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::BudgetOpened;
use crate::lease::{Hold, LENGTHS, MAX_HOLDER_LEN};
use crate::settings::{InForce, Settings};
use decide::{Books, End, Ended, Ending, How, Took, Use};
use runstone_codec::{Position, TypedEvent};
use runstone_store::{AppendError, DecideContext, Decision, Log};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

const SECOND_US: u64 = 1_000_000;
/// How often a command is decided again because the settings changed meanwhile.
const REDECIDED: usize = 16;
/// Lapsed reservations of an owner that each command on it records.
const EXPIRED_BY_THE_WAY: usize = 16;

/// The budgets of a log.
#[derive(Debug, Clone)]
pub struct Budgets {
    log: Log,
    /// What was in force when it was looked up last.
    settings: Arc<Mutex<Option<InForce>>>,
}

/// Something held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Reserved {
    /// Position of the reservation, by which it is settled or released.
    pub fence: Position,
    /// Whose.
    pub owner: OwnerId,
    /// When its lease ends, Unix microseconds; `None`: as long as this opening of the log lasts.
    pub lease_expires_at_us: Option<u64>,
}

/// Something spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Charged {
    /// Where that is recorded.
    pub position: Position,
    /// The first limit that is exceeded now.
    pub exceeded: Option<Exceeded>,
}

/// How a use or an ending was decided.
#[derive(Debug)]
enum Verdict<T> {
    Decided(T),
    Reconfigured,
    UnknownOwner,
    TooManyCounters,
}

/// What a use came to.
#[derive(Debug)]
enum Taken {
    /// Where it is recorded, when by the steady clock, and the limit that is exceeded now.
    At(Position, u64, Option<Box<Exceeded>>),
    Refused(Box<Exceeded>),
}

impl Budgets {
    /// The budgets of a log that was opened with [`BudgetsFold`].
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            settings: Arc::default(),
        }
    }

    /// Opens a budget. One that is open with the same limits is left alone; with others they are
    /// changed, which is recorded. Nothing that was spent is forgotten.
    ///
    /// # Errors
    ///
    /// [`BudgetError::NotAllowed`] if a limit is to be raised by who is no person or commander;
    /// [`BudgetError::UnknownOwner`] if nobody opened the parent; [`BudgetError::OtherParent`].
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn open(&self, open: &Open) -> Result<Opened, BudgetError> {
        self.open_by(open, Waiting::Async).await
    }

    /// [`open`](Self::open) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_blocking(&self, open: &Open) -> Result<Opened, BudgetError> {
        at_once(self.open_by(open, Waiting::Blocking))
    }

    async fn open_by(&self, open: &Open, waiting: Waiting) -> Result<Opened, BudgetError> {
        let ask = || OpenBudget { open: open.clone() };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        self.opening(open, waiting).await
    }

    /// Holds something back, if it fits into every limit of the owner and of those above it.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Exceeded`] if it does not, or if one of them has spent too much of anything
    /// already; then nothing is held back.
    ///
    /// # Cancel safety
    ///
    /// A reservation whose future is dropped may be recorded, and holds until its lease or opening
    /// ends.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn reserve(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
        hold: Hold,
    ) -> Result<Reserved, BudgetError> {
        self.reserve_by(&owner.into(), amounts, hold, Waiting::Async)
            .await
    }

    /// [`reserve`](Self::reserve) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn reserve_blocking(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
        hold: Hold,
    ) -> Result<Reserved, BudgetError> {
        at_once(self.reserve_by(&owner.into(), amounts, hold, Waiting::Blocking))
    }

    async fn reserve_by(
        &self,
        owner: &Owner,
        amounts: &Amounts,
        hold: Hold,
        waiting: Waiting,
    ) -> Result<Reserved, BudgetError> {
        let ask = || ReserveBudget {
            owner: owner.clone(),
            amounts: amounts.clone(),
            hold,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        self.reserving(owner, amounts, hold, waiting).await
    }

    /// Spends something at once, if it fits: a reservation that is settled in the same step.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be spent.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn spend(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
    ) -> Result<Position, BudgetError> {
        self.spend_by(&owner.into(), amounts, Waiting::Async).await
    }

    /// [`spend`](Self::spend) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub fn spend_blocking(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
    ) -> Result<Position, BudgetError> {
        at_once(self.spend_by(&owner.into(), amounts, Waiting::Blocking))
    }

    async fn spend_by(
        &self,
        owner: &Owner,
        amounts: &Amounts,
        waiting: Waiting,
    ) -> Result<Position, BudgetError> {
        let ask = || SpendBudget {
            owner: owner.clone(),
            amounts: amounts.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let charged = self.charging(owner, amounts, How::Spend, waiting);
        Ok(charged.await?.position)
    }

    /// Records what was spent, whatever the limits say; the answer says whether one is exceeded now:
    /// with a limit of 50 the 51st step exceeds it.
    ///
    /// # Errors
    ///
    /// [`BudgetError::UnknownOwner`], or what cannot be recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be charged.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn charge(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
    ) -> Result<Charged, BudgetError> {
        self.charge_by(&owner.into(), amounts, Waiting::Async).await
    }

    /// [`charge`](Self::charge) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`charge`](Self::charge).
    pub fn charge_blocking(
        &self,
        owner: impl Into<Owner>,
        amounts: &Amounts,
    ) -> Result<Charged, BudgetError> {
        at_once(self.charge_by(&owner.into(), amounts, Waiting::Blocking))
    }

    async fn charge_by(
        &self,
        owner: &Owner,
        amounts: &Amounts,
        waiting: Waiting,
    ) -> Result<Charged, BudgetError> {
        let ask = || ChargeBudget {
            owner: owner.clone(),
            amounts: amounts.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        self.charging(owner, amounts, How::Charge, waiting).await
    }

    /// Records what something cost that was held back, even over the limit, and gives the rest back.
    /// Settled with the same amounts before, it answers where. One whose lease is over is charged in
    /// full. The settlement counts in the windows in which it is recorded.
    ///
    /// # Errors
    ///
    /// [`BudgetError::ReservationEnded`] if it was settled with other amounts, or released.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn settle(&self, fence: Position, actual: &Amounts) -> Result<Charged, BudgetError> {
        self.settle_by(fence, actual, Waiting::Async).await
    }

    /// [`settle`](Self::settle) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub fn settle_blocking(
        &self,
        fence: Position,
        actual: &Amounts,
    ) -> Result<Charged, BudgetError> {
        at_once(self.settle_by(fence, actual, Waiting::Blocking))
    }

    async fn settle_by(
        &self,
        fence: Position,
        actual: &Amounts,
        waiting: Waiting,
    ) -> Result<Charged, BudgetError> {
        let ask = || SettleBudget {
            fence,
            actual: actual.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        actual.check()?;
        let end = End::Settle(actual.clone());
        self.ending(fence, end, waiting).await
    }

    /// Gives back what was held back. Released before, or its lease over, it answers where.
    ///
    /// # Errors
    ///
    /// [`BudgetError::ReservationEnded`] if it was settled.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn release(
        &self,
        fence: Position,
        reason: Option<String>,
    ) -> Result<Position, BudgetError> {
        self.release_by(fence, reason, Waiting::Async).await
    }

    /// [`release`](Self::release) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    pub fn release_blocking(
        &self,
        fence: Position,
        reason: Option<String>,
    ) -> Result<Position, BudgetError> {
        at_once(self.release_by(fence, reason, Waiting::Blocking))
    }

    async fn release_by(
        &self,
        fence: Position,
        reason: Option<String>,
        waiting: Waiting,
    ) -> Result<Position, BudgetError> {
        let ask = || ReleaseBudget {
            fence,
            reason: reason.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let why = "released";
        let released = self.ending(fence, End::Release { why, reason }, waiting);
        Ok(released.await?.position)
    }

    /// Records every reservation whose lease is over; answers how many there were.
    ///
    /// # Errors
    ///
    /// [`BudgetError`] if the log cannot be read or written.
    pub fn sweep_blocking(&self) -> Result<usize, BudgetError> {
        if let Some(told) = self.log.ask_there_blocking(&SweepBudgets {}) {
            return told;
        }
        let mut swept = 0;
        for budget in list(&self.log)? {
            if budget.level == 0 {
                let looked_at = (usize::MAX, usize::MAX);
                swept += at_once(expire(&self.log, &budget.id, looked_at, Waiting::Blocking))?;
            }
        }
        Ok(swept)
    }

    /// How an owner stands now. Nothing is recorded.
    ///
    /// # Errors
    ///
    /// [`BudgetError::UnknownOwner`]; [`BudgetError::Read`].
    pub fn check(&self, owner: impl Into<Owner>) -> Result<Budget, BudgetError> {
        let owner = owner.into();
        let id = self.id_of(&owner)?;
        let budget = self.get(&id)?;
        budget.ok_or(BudgetError::UnknownOwner {
            name: Some(owner.name),
        })
    }

    /// The owner as the log knows it.
    ///
    /// # Errors
    ///
    /// [`BudgetError::UnknownOwner`] if nothing was recorded in its scope, or that was erased. It
    /// need not have a budget otherwise.
    pub fn id_of(&self, owner: &Owner) -> Result<OwnerId, BudgetError> {
        id_of(&self.log, owner)
    }

    /// The name of an owner; `None` if it was erased, or nobody opened it.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Read`] if the log cannot be read.
    pub fn name_of(&self, id: &OwnerId) -> Result<Option<String>, BudgetError> {
        name_of(&self.log, id)
    }

    async fn opening(&self, open: &Open, waiting: Waiting) -> Result<Opened, BudgetError> {
        let parent = open.parent_of();
        let parent = parent.map(|parent| self.id_of(parent)).transpose()?;
        self.open_below(open, parent, waiting).await
    }

    /// [`open`](Self::open) below an owner as the log knows it.
    pub(crate) async fn open_below(
        &self,
        open: &Open,
        parent: Option<OwnerId>,
        waiting: Waiting,
    ) -> Result<Opened, BudgetError> {
        for _ in 0..REDECIDED {
            let (candidates, decide) = open::opening(open, parent.clone(), &self.in_force()?)?;
            let verdict = Command::new(&self.log, candidates, decide)?
                .run_by(&self.log, waiting)
                .await?;
            match open::opened(open, verdict)? {
                Some(opened) => return Ok(opened),
                None => self.forget_settings(),
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    async fn reserving(
        &self,
        owner: &Owner,
        amounts: &Amounts,
        hold: Hold,
        waiting: Waiting,
    ) -> Result<Reserved, BudgetError> {
        let (id, mut looked) = (self.id_of(owner)?, BTreeSet::new());
        loop {
            let settings = self.in_force()?.settings;
            let default_us = settings.leases.reservation_s.saturating_mul(SECOND_US);
            let length = hold.length(default_us);
            let how = How::Reserve(length);
            match self.taking(owner, &id, amounts, how, waiting).await? {
                Taken::At(fence, steady_us, _) => {
                    return Ok(Reserved {
                        fence,
                        owner: id,
                        lease_expires_at_us: length.ends_at_us(steady_us),
                    });
                }
                Taken::Refused(over) => self.make_room(*over, &mut looked, waiting).await?,
            }
        }
    }

    async fn charging(
        &self,
        owner: &Owner,
        amounts: &Amounts,
        how: How,
        waiting: Waiting,
    ) -> Result<Charged, BudgetError> {
        let (id, mut looked) = (self.id_of(owner)?, BTreeSet::new());
        loop {
            match self
                .taking(owner, &id, amounts, how.clone(), waiting)
                .await?
            {
                Taken::At(position, _, over) => {
                    let exceeded = over.map(|over| self.named(*over)).transpose()?;
                    return Ok(Charged { position, exceeded });
                }
                Taken::Refused(over) => self.make_room(*over, &mut looked, waiting).await?,
            }
        }
    }

    /// Records reservations of who has no room that have lapsed; if there are none, that is final.
    async fn make_room(
        &self,
        over: Exceeded,
        looked: &mut BTreeSet<OwnerId>,
        waiting: Waiting,
    ) -> Result<(), BudgetError> {
        if may_have_room(&self.log, &over, looked, waiting).await? {
            return Ok(());
        }
        Err(BudgetError::Exceeded(Box::new(self.named(over)?)))
    }

    async fn taking(
        &self,
        owner: &Owner,
        id: &OwnerId,
        amounts: &Amounts,
        how: How,
        waiting: Waiting,
    ) -> Result<Taken, BudgetError> {
        amounts.check()?;
        if amounts.is_empty() {
            return Err(BudgetError::Nothing);
        }
        expire(&self.log, id, (EXPIRED_BY_THE_WAY, LENGTHS), waiting).await?;
        for _ in 0..REDECIDED {
            let in_force = self.in_force()?;
            let taken = Use {
                owner: id.clone(),
                name: Some(owner.name.clone()),
                amounts: amounts.clone(),
                how: how.clone(),
                holder: Some(holder(&self.log)),
            };
            let candidates = taken.drafts(&owner.stream(), Some(&owner.scope))?;
            let (rules, settings_at) = (Rules::of(&in_force.settings), in_force.position);
            let decide = move |context: &mut DecideContext<'_>| {
                if context.last_of_type(Settings::TYPE)? != settings_at {
                    return Ok(Decision::nothing(Verdict::Reconfigured));
                }
                let (at, steady_us) = (context.next_position(), context.steady_us());
                let took = taken.decide(context, &mut Books::default(), &rules, 0)?;
                let (record, taken) = match took {
                    Took::Recorded(record, over) => (record, Taken::At(at, steady_us, over)),
                    Took::Refused(record, over) => (record, Taken::Refused(over)),
                    Took::UnknownOwner => return Ok(Decision::nothing(Verdict::UnknownOwner)),
                    Took::TooManyCounters => {
                        return Ok(Decision::nothing(Verdict::TooManyCounters));
                    }
                };
                let mut decision = Decision::nothing(Verdict::Decided(taken));
                decision.record = record;
                Ok(decision)
            };
            match Command::new(&self.log, candidates, decide)?
                .run_by(&self.log, waiting)
                .await?
            {
                Verdict::Reconfigured => self.forget_settings(),
                Verdict::Decided(taken) => return Ok(taken),
                Verdict::UnknownOwner => {
                    let name = Some(owner.name.clone());
                    return Err(BudgetError::UnknownOwner { name });
                }
                Verdict::TooManyCounters => return Err(decide::too_many_counters()),
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    async fn ending(
        &self,
        fence: Position,
        end: End,
        waiting: Waiting,
    ) -> Result<Charged, BudgetError> {
        let unknown = || BudgetError::UnknownReservation { fence };
        let reservation = list::reservation(&self.log, fence)?.ok_or_else(unknown)?;
        // Else the call would cost nothing.
        if let Some(claim) = reservation.effect {
            return Err(BudgetError::OfCall { fence, claim });
        }
        expire(
            &self.log,
            &reservation.owner,
            (EXPIRED_BY_THE_WAY, LENGTHS),
            waiting,
        )
        .await?;
        let name = self.name_of(&reservation.owner)?;
        for _ in 0..REDECIDED {
            let in_force = self.in_force()?;
            let ending = Ending {
                fence,
                owner: reservation.owner.clone(),
                name: name.clone(),
                end: end.clone(),
            };
            let candidates = ending.drafts(&reservation.stream, None)?;
            let (rules, settings_at) = (Rules::of(&in_force.settings), in_force.position);
            let decide = move |context: &mut DecideContext<'_>| {
                if context.last_of_type(Settings::TYPE)? != settings_at {
                    return Ok(Decision::nothing(Verdict::Reconfigured));
                }
                let at = context.next_position();
                let mut ended = ending.decide(context, &mut Books::default(), &rules, 0)?;
                let record = match &mut ended {
                    Ended::Recorded(record, _) => std::mem::take(record),
                    _ => Vec::new(),
                };
                let mut decision = Decision::nothing(Verdict::Decided((ended, at)));
                decision.record = record;
                Ok(decision)
            };
            let (ended, at) = match Command::new(&self.log, candidates, decide)?
                .run_by(&self.log, waiting)
                .await?
            {
                Verdict::Reconfigured => {
                    self.forget_settings();
                    continue;
                }
                Verdict::Decided(ended) => ended,
                Verdict::UnknownOwner | Verdict::TooManyCounters => return Err(unknown()),
            };
            return match ended {
                Ended::Recorded(_, over) => Ok(Charged {
                    position: at,
                    exceeded: over.map(|over| self.named(*over)).transpose()?,
                }),
                Ended::Before(outcome) => Ok(Charged {
                    position: outcome.unwrap_or(fence),
                    exceeded: None,
                }),
                Ended::Otherwise(row) => Err(BudgetError::ReservationEnded {
                    fence,
                    state: decide::word(&row).into(),
                    outcome: row.outcome.map(Position::new),
                }),
                Ended::Unknown => Err(unknown()),
                Ended::TooManyCounters => Err(decide::too_many_counters()),
            };
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    fn named(&self, over: Exceeded) -> Result<Exceeded, BudgetError> {
        named(&self.log, over)
    }

    fn in_force(&self) -> Result<InForce, BudgetError> {
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref() {
            return Ok(known.clone());
        }
        let in_force = Settings::in_force(&self.log)?;
        *known = Some(in_force.clone());
        Ok(in_force)
    }

    fn forget_settings(&self) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Who acts, for others to see.
fn holder(log: &Log) -> String {
    let mut holder = log.principal().0.to_string();
    let mut end = holder.len().min(MAX_HOLDER_LEN);
    while !holder.is_char_boundary(end) {
        end -= 1;
    }
    holder.truncate(end);
    holder
}

/// The owner as the log knows it.
pub(crate) fn id_of(log: &Log, owner: &Owner) -> Result<OwnerId, BudgetError> {
    open::check_name(owner)?;
    let [_, digest] = owner.keyed();
    let digest = log.keyed_digest(&owner.scope, &digest)?;
    let digest = digest.ok_or_else(|| BudgetError::UnknownOwner {
        name: Some(owner.name.clone()),
    })?;
    Ok(OwnerId {
        digest,
        scope: owner.scope.clone(),
    })
}

/// The name of an owner, where it was opened.
pub(crate) fn name_of(log: &Log, id: &OwnerId) -> Result<Option<String>, BudgetError> {
    let Some(row) = list::owner_row(log, id)? else {
        return Ok(None);
    };
    let record = log.record(Position::new(row.opened))?;
    let opened = record.decode::<BudgetOpened>();
    Ok(opened.ok().map(|opened| opened.owner))
}

/// A limit that is exceeded, with the name of whose it is.
pub(crate) fn named(log: &Log, mut over: Exceeded) -> Result<Exceeded, BudgetError> {
    over.name = name_of(log, &over.owner)?;
    Ok(over)
}
