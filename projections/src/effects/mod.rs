//! The idempotency ledger: calls of tools and executions of tasks that happen once.
//!
//! ```text
//!  claim --> Claimed::Held      call it, then Change::Complete, Fail, Cancel
//!        --> Claimed::Completed the stored result; nothing is called
//!        --> Err                in flight, unknown, exhausted, another call under the key
//! ```
//!
//! A claim is durable before the call is made, and only the holder of the newest claim (its
//! **fence** is the position of that claim) can say what came of it. A call whose holder is gone
//! is claimed again if its class bears that; else its outcome is unknown until somebody finds out.
//!
//! ```
//! use runstone_projections::effects::{Change, Claim, Claimed, Effects};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//! let effects = Effects::new(&log);
//!
//! let claim = Claim::tool("run-7", "pay").request("inv-42").args(&serde_json::json!({"usd": 12}))?;
//! let Claimed::Held(held) = effects.claim_blocking(&claim)? else { panic!("nobody claimed it") };
//! assert_eq!(effects.claim_blocking(&claim).unwrap_err().code(), "in_flight");
//!
//! // Here the tool is called.
//! effects.change_blocking(&held.target(), &Change::completed(&"paid")?)?;
//! let Claimed::Completed(outcome) = effects.claim_blocking(&claim)? else { panic!("it is done") };
//! assert_eq!(outcome.result.as_deref(), Some(&b"\"paid\""[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
mod decide;
mod error;
mod fold;
mod inherit;
mod key;
mod list;
mod past;
mod sweep;

pub use crate::events::{Class, Executed, Kind, State};
pub use crate::lease::MAX_HOLDER_LEN;
pub use claim::{
    Change, Claim, Claimed, Found, Fresh, Held, MAX_CLAIM_BUDGETS, MAX_NAME_LEN, Outcome, Target,
};
pub use error::EffectError;
pub use fold::EffectsFold;
pub use key::{KeySource, MAX_KEY_LEN};
pub use list::{EffectFilter, list};
pub use past::of_stream;

use crate::DecodeRecord as _;
use crate::approvals::{ApprovalError, Approvals, Blocked, NotApproved};
use crate::asks::{ChangeEffect, ClaimEffect};
use crate::budgets::decide::{End, Ending, How, Use, too_many_counters};
use crate::budgets::{self, Amounts, BudgetError, Budgets, Dimension, Exceeded, OwnerId, Rules};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::control::effect as field;
use crate::events::{
    EffectCancelled, EffectClaimed, EffectCompleted, EffectFailed, EffectLeaseRenewed,
    EffectOutcomeUnknown, EffectReconciled, EffectRefused, EffectReleased,
};
use crate::lease::Moment;
use crate::rows::EffectRow;
use crate::runs;
use crate::settings::{InForce, Settings};
use claim::Spender;
use decide::{Act, Done, Spending, Terms, Verdict, Why};
use inherit::Inherited;
use key::Key;
use runstone_codec::{Draft, Keyed, NewEvent, Position};
use runstone_store::{AppendError, ContentError, DecideContext, Log, micros};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

const SECOND_US: u64 = 1_000_000;
/// How often a claim is decided again because the settings changed meanwhile, or an
/// owner had lapsed reservations.
const REDECIDED: usize = 32;

/// A call: keyed digest of what makes it the same one, and its scope.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[non_exhaustive]
pub struct EffectId {
    /// The digest; in the tag `effect:HEX` of its events.
    #[serde(with = "crate::wire::hex16")]
    #[schemars(with = "String")]
    pub digest: [u8; 16],
    /// The scope.
    pub scope: String,
}

impl EffectId {
    /// The tag that its events carry.
    pub fn tag(&self) -> String {
        format!("{}:{}", field::KEY_LABEL, crate::hex(&self.digest))
    }
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Effect {
    /// Which call.
    pub id: EffectId,
    /// How it stands.
    pub state: State,
    /// Of a tool or of a task.
    pub kind: Kind,
    /// What is called.
    pub name: String,
    /// What it means to do it twice.
    pub class: Class,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// Position of the newest claim.
    pub fence: Position,
    /// Stream of the newest claim.
    pub stream: String,
    /// When it was claimed, Unix microseconds.
    pub claimed_at_us: u64,
    /// Who holds it, or held it.
    pub holder: String,
    /// When its lease ends, Unix microseconds; `None`: as long as this opening of the log lasts.
    pub lease_expires_at_us: Option<u64>,
    /// It is in flight and its lease is over; the next claim records that, or a sweep.
    pub is_expired: bool,
    /// Position of the event that ended the newest attempt.
    pub outcome: Option<Position>,
    /// Whether a failed attempt was executed.
    pub executed: Option<Executed>,
    /// Whether the caller does not take the result.
    pub rejected: bool,
}

impl Effect {
    fn of(id: EffectId, row: &EffectRow, moment: &Moment) -> Self {
        let (lease_expires_at_us, is_over) = row.lease.seen(moment);
        Self {
            id,
            state: row.state(),
            kind: row.kind(),
            name: row.name.clone(),
            class: row.class(),
            attempt: row.attempt,
            fence: Position::new(row.fence),
            stream: row.stream.clone(),
            claimed_at_us: row.claimed_at_us,
            holder: row.lease.holder.clone(),
            lease_expires_at_us,
            is_expired: row.state() == State::InFlight && is_over,
            outcome: row.outcome.map(Position::new),
            executed: row.executed(),
            rejected: row.rejected,
        }
    }

    /// What a change of it is addressed to, whoever holds it.
    pub fn target(&self) -> Target {
        Target {
            id: self.id.clone(),
            stream: self.stream.clone(),
            class: self.class,
            fence: None,
            cost: None,
            run: None,
        }
    }
}

/// The ledger of a log.
#[derive(Debug, Clone)]
pub struct Effects {
    log: Log,
    /// What was in force when it was looked up last.
    settings: Arc<Mutex<Option<InForce>>>,
}

/// What is to be done after a claim was not granted.
enum Next {
    Done(Box<Claimed>),
    Again,
    /// Nobody decided this request for approval in time.
    Undecided(Position),
    /// A budget has no room; reservations of it may have lapsed.
    Expire(Box<Exceeded>),
    /// The attempt before it holds these.
    End(Vec<u64>),
}

impl Effects {
    /// The ledger of a log that was opened with [`EffectsFold`].
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            settings: Arc::default(),
        }
    }

    /// Claims a call, if nobody holds it and it may be made.
    ///
    /// # Errors
    ///
    /// [`EffectError`]; nothing may be executed then.
    ///
    /// # Cancel safety
    ///
    /// A claim whose future is dropped may be recorded, and holds until its lease or opening ends.
    ///
    /// # Durability
    ///
    /// A claim that is answered survives power loss.
    pub async fn claim(&self, claim: &Claim) -> Result<Claimed, EffectError> {
        self.claim_by(claim, Waiting::Async).await
    }

    /// [`claim`](Self::claim) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn claim_blocking(&self, claim: &Claim) -> Result<Claimed, EffectError> {
        at_once(self.claim_by(claim, Waiting::Blocking))
    }

    async fn claim_by(&self, claim: &Claim, waiting: Waiting) -> Result<Claimed, EffectError> {
        if self.log.is_attached() {
            // What cannot be asked is refused here, as it would be there.
            Key::of(claim)?;
            claim.check()?;
        }
        let ask = || ClaimEffect {
            claim: claim.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }
        let (mut held, mut looked) = (Vec::new(), BTreeSet::new());
        for _ in 0..REDECIDED {
            let verdict = self
                .claiming(claim, &held)?
                .run_by(&self.log, waiting)
                .await?;
            match self.claimed(claim, verdict)? {
                Next::Done(claimed) => return Ok(*claimed),
                Next::Again => {}
                Next::End(fences) => held = fences,
                Next::Undecided(request) => {
                    let recorded = Approvals::new(&self.log).expire_by(request, waiting).await;
                    recorded.map_err(from_approval)?;
                }
                Next::Expire(over) => {
                    let again =
                        budgets::may_have_room(&self.log, &over, &mut looked, waiting).await?;
                    if !again {
                        let over = budgets::named(&self.log, *over)?;
                        return Err(BudgetError::Exceeded(Box::new(over)).into());
                    }
                }
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    /// Records what came of a call, or what is done to it; answers where that stands. What was
    /// completed with the same result already is not recorded again.
    ///
    /// # Errors
    ///
    /// [`EffectError`]; then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded; what was completed is not recorded again.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn change(&self, target: &Target, change: &Change) -> Result<Position, EffectError> {
        self.change_by(target, change, Waiting::Async).await
    }

    /// [`change`](Self::change) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`change`](Self::change).
    pub fn change_blocking(
        &self,
        target: &Target,
        change: &Change,
    ) -> Result<Position, EffectError> {
        at_once(self.change_by(target, change, Waiting::Blocking))
    }

    async fn change_by(
        &self,
        target: &Target,
        change: &Change,
        waiting: Waiting,
    ) -> Result<Position, EffectError> {
        let ask = || ChangeEffect {
            target: target.clone(),
            change: change.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in 0..REDECIDED {
            match self
                .changing(target, change)?
                .run_by(&self.log, waiting)
                .await?
            {
                Done::Moved => self.forget_settings(),
                done => return done_at(target, done),
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    fn claiming(&self, claim: &Claim, held: &[u64]) -> Result<Command<Verdict>, EffectError> {
        let key = Key::of(claim)?;
        let digests = key.digests(claim)?;
        let in_force = self.in_force()?;
        let effects = &in_force.settings.effects;
        claim.check()?;
        let inherited = Inherited::of(&self.log, claim)?;
        // What becomes of it in a fork goes by what it was when it was begun.
        let in_doubt = inherited.call.as_ref().filter(|(_, row)| row.is_in_doubt());
        let class = in_doubt.map_or(claim.class, |(_, row)| row.class());
        let terms = Terms {
            stream: claim.stream.clone(),
            run: claim.run.clone(),
            needs_approval: claim.needs_approval
                || in_force
                    .settings
                    .approvals
                    .approval_from
                    .includes(claim.class),
            settings_at: in_force.position,
            hold: claim.hold,
            default_lease_us: in_force.settings.leases.effect_s.saturating_mul(SECOND_US),
            max_attempts: effects.max_attempts,
            fresh_for_us: match claim.fresh {
                Fresh::Forever => None,
                Fresh::Default => Some(effects.fresh_for_s.saturating_mul(SECOND_US)),
                Fresh::For(time) => Some(micros(time)),
            },
            uses: self.uses(claim)?,
            endings: self.endings(held, None, true)?,
            rules: Rules::of(&in_force.settings),
            is_of_run: claim.is_of_run(),
            inherited,
        };
        let claimed = EffectClaimed {
            kind: claim.kind.as_str().to_owned(),
            name: claim.name.clone(),
            key: key.text.clone(),
            args: claim.args.as_deref().map(raw).transpose()?,
            class: class.as_str().to_owned(),
            original: None,
        };
        let refused = EffectRefused {
            name: claim.name.clone(),
            key: key.text,
        };
        let control = runstone_codec::Control::new()
            .u64(field::KIND, claim.kind.number())
            .u64(field::CLASS, class.number())
            .text(field::NAME, claim.name.as_str())
            .text(field::HOLDER, claim.holder.as_str());
        let [tag, digest, binding] = digests;
        let draft = |event: NewEvent| {
            let event = match &claim.scope {
                Some(scope) => event.scope(scope.clone()),
                None => event,
            };
            Draft::new(event).keyed(tag.clone())
        };
        let mut claimed = NewEvent::typed(&claimed, claim.stream.as_str())?;
        claimed.event_id = claim.event_id;
        let mut refused = NewEvent::typed(&refused, claim.stream.as_str())?;
        (claimed.causation, refused.causation) = (claim.causation, claim.causation);
        let mut candidates = vec![
            draft(claimed).control(control).keyed(digest).keyed(binding),
            draft(NewEvent::typed(
                &EffectOutcomeUnknown::default(),
                claim.stream.as_str(),
            )?),
            draft(refused).keyed(claim.to_approve(field::TO_APPROVE)?),
        ];
        let (stream, scope) = (claim.stream.as_str(), claim.scope.as_deref());
        for used in &terms.uses {
            candidates.extend(used.drafts(stream, scope)?);
        }
        for ending in &terms.endings {
            candidates.extend(ending.drafts(stream, scope)?);
        }
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::claim(context, &terms)
        })?)
    }

    /// What a claim spends, as its decision sees it.
    fn uses(&self, claim: &Claim) -> Result<Vec<Use>, EffectError> {
        let uses = claim.budgets.iter().map(|(spender, amounts)| {
            let (owner, name) = match spender {
                Spender::Named(owner) => {
                    let name = owner.name().to_owned();
                    (budgets::id_of(&self.log, owner)?, Some(name))
                }
                Spender::Known(id) => (id.clone(), None),
            };
            Ok(spent(claim, owner, name, amounts.clone()))
        });
        let mut uses = uses.collect::<Result<Vec<_>, EffectError>>()?;
        // A tool counts for the run that calls it, unless it does so already through an owner below.
        let of_run = claim.run.as_ref().filter(|_| claim.kind == Kind::Tool);
        let of_run = of_run.map(|run| runs::budget_of(&self.log, &run.stream));
        let Some(owner) = of_run.transpose()?.flatten() else {
            return Ok(uses);
        };
        for used in &uses {
            if budgets::is_within(&self.log, &used.owner, &owner)? {
                return Ok(uses);
            }
        }
        uses.push(spent(claim, owner, None, Amounts::new()));
        Ok(uses)
    }

    /// How reservations end: charged in full but for what the caller knows of the cost, or given
    /// back.
    fn endings(
        &self,
        fences: &[u64],
        cost: Option<&Amounts>,
        is_charged: bool,
    ) -> Result<Vec<Ending>, EffectError> {
        let endings = fences.iter().map(|fence| {
            let fence = Position::new(*fence);
            let held = Budgets::new(&self.log).reservation(fence)?;
            let held = held.ok_or(BudgetError::UnknownReservation { fence })?;
            let end = if is_charged {
                let cost = cost.into_iter().flat_map(Amounts::iter);
                End::Settle(cost.fold(held.amounts, |actual, (dimension, amount)| {
                    actual.of(dimension.clone(), amount)
                }))
            } else {
                End::Release {
                    why: "not_made",
                    reason: None,
                }
            };
            Ok(Ending {
                fence,
                owner: held.owner,
                name: None,
                end,
            })
        });
        endings.collect()
    }

    /// What a change does to what the claim of the call reserved.
    fn spending(&self, target: &Target, act: Act) -> Result<Spending, EffectError> {
        if !act.ends_reservations(target.class) {
            return Ok(Spending::default());
        }
        let fences = list::reservations_of(&self.log, &target.id)?;
        if fences.is_empty() {
            return Ok(Spending::default());
        }
        if let Some(cost) = &target.cost {
            cost.check()?;
        }
        let in_force = self.in_force()?;
        Ok(Spending {
            endings: self.endings(&fences, target.cost.as_ref(), act.is_charged())?,
            rules: Rules::of(&in_force.settings),
            settings_at: in_force.position,
        })
    }

    fn claimed(&self, claim: &Claim, verdict: Verdict) -> Result<Next, EffectError> {
        let (effect, why) = match verdict {
            Verdict::Reconfigured => {
                self.forget_settings();
                return Ok(Next::Again);
            }
            Verdict::NotApproved(Blocked {
                request: Some(request),
                why: NotApproved::Expired,
                ..
            }) => return Ok(Next::Undecided(request)),
            Verdict::NotApproved(Blocked { request, why, .. }) => {
                return Err(EffectError::NotApproved {
                    name: claim.name.clone(),
                    why,
                    request,
                });
            }
            Verdict::StaleRun => {
                return Err(EffectError::StaleRun {
                    stream: claim.stream.clone(),
                });
            }
            Verdict::Holds(fences) => return Ok(Next::End(fences)),
            Verdict::Exceeded(over) => return Ok(Next::Expire(over)),
            Verdict::UnknownOwner(place) => {
                let name = match claim.budgets.get(place) {
                    Some((Spender::Named(owner), _)) => Some(owner.name().to_owned()),
                    _ => None,
                };
                return Err(BudgetError::UnknownOwner { name }.into());
            }
            Verdict::TooManyCounters => return Err(too_many_counters().into()),
            Verdict::Claimed {
                id,
                fence,
                attempt,
                lease_expires_at_us,
            } => {
                return Ok(Next::Done(Box::new(Claimed::Held(Held {
                    id,
                    stream: claim.stream.clone(),
                    name: claim.name.clone(),
                    class: claim.class,
                    holder: claim.holder.clone(),
                    fence,
                    attempt,
                    lease_expires_at_us,
                }))));
            }
            Verdict::Stands(effect, why) => (effect, why),
        };
        Err(match why {
            Why::Completed => {
                let outcome = self.outcome(*effect)?;
                return Ok(Next::Done(Box::new(Claimed::Completed(outcome))));
            }
            Why::InFlight => EffectError::InFlight(effect),
            Why::Unknown => EffectError::Unknown(effect),
            Why::Exhausted => EffectError::AttemptsExhausted(effect),
            Why::FailedForGood => EffectError::FailedForGood(effect),
            Why::KeyConflict => EffectError::KeyConflict {
                effect,
                name: claim.name.clone(),
            },
        })
    }

    /// What a completed call answered.
    ///
    /// # Errors
    ///
    /// [`EffectError::ResultErased`]; [`EffectError::Result`] if it cannot be read.
    pub fn outcome(&self, effect: Effect) -> Result<Outcome, EffectError> {
        let position = effect.outcome.ok_or(EffectError::NotFound)?;
        let record = self.log.record(position)?;
        let (result, rejected) = if record.header.event_type == "effect.reconciled" {
            let found = record.decode::<EffectReconciled>();
            found.map(|found| (found.result, None))
        } else {
            let done = record.decode::<EffectCompleted>();
            done.map(|done| (done.result, done.rejected))
        }
        .map_err(|error| match error {
            ContentError::Erased => EffectError::ResultErased { position },
            error => EffectError::Result {
                position,
                why: error.to_string(),
            },
        })?;
        Ok(Outcome {
            effect,
            position,
            result: result.map(|result| result.get().as_bytes().to_vec()),
            rejected,
        })
    }

    fn changing(&self, target: &Target, change: &Change) -> Result<Command<Done>, EffectError> {
        let stream = target.stream.as_str();
        let with_result = |event: NewEvent, result: Option<&[u8]>| {
            let keyed =
                result.map(|result| Keyed::control(field::RESULT, field::RESULT_LABEL, [result]));
            let draft = Draft::new(event);
            match keyed {
                Some(keyed) => draft.keyed(keyed),
                None => draft,
            }
        };
        let why = |code: &str| runstone_codec::Control::new().text(field::WHY, code);
        let (act, draft) = match change {
            Change::Complete { result, rejected } => {
                let event = EffectCompleted {
                    result: result.as_deref().map(raw).transpose()?,
                    rejected: rejected.clone(),
                };
                let mut draft = with_result(NewEvent::typed(&event, stream)?, result.as_deref());
                if rejected.is_some() {
                    draft.control = draft.control.u64(field::REJECTED, 1);
                }
                (Act::Complete, draft)
            }
            Change::Fail { error, executed } => {
                let executed = executed.unwrap_or_else(|| target.class.executed_by_default());
                let event = EffectFailed {
                    error: error.clone(),
                };
                (Act::Fail(executed), NewEvent::typed(&event, stream)?.into())
            }
            Change::Cancel { reason, begun } => {
                let event = EffectCancelled {
                    reason: reason.clone(),
                };
                let act = Act::Cancel { begun: *begun };
                (act, NewEvent::typed(&event, stream)?.into())
            }
            Change::Unknown { why: code, detail } => {
                let event = EffectOutcomeUnknown {
                    detail: detail.clone(),
                };
                let draft = Draft::new(NewEvent::typed(&event, stream)?).control(why(code));
                (Act::Unknown, draft)
            }
            Change::Renew(hold) => {
                let settings = self.in_force()?.settings;
                let length = hold.length(settings.leases.effect_s.saturating_mul(SECOND_US));
                let event = NewEvent::typed(&EffectLeaseRenewed {}, stream)?;
                (Act::Renew(length), event.into())
            }
            Change::Reconcile {
                found,
                evidence,
                by_program,
            } => {
                let result = match found {
                    Found::Completed(result) => Some(result.as_slice()),
                    Found::NotExecuted => None,
                };
                let event = EffectReconciled {
                    result: result.map(raw).transpose()?,
                    evidence: evidence.clone(),
                };
                let act = Act::Reconcile {
                    was_made: result.is_some(),
                    by_program: *by_program,
                };
                (act, with_result(NewEvent::typed(&event, stream)?, result))
            }
            Change::Release { reason } => {
                let event = EffectReleased {
                    reason: reason.clone(),
                };
                (Act::Release, NewEvent::typed(&event, stream)?.into())
            }
        };
        let given_up = Draft::new(NewEvent::typed(&EffectOutcomeUnknown::default(), stream)?);
        let candidates = [draft, given_up].map(|mut draft| {
            draft.event = draft.event.tag(target.id.tag());
            draft
        });
        let mut candidates = Vec::from(candidates);
        let spending = self.spending(target, act)?;
        for ending in &spending.endings {
            candidates.extend(ending.drafts(stream, None)?);
        }
        let (id, fence) = (target.id.clone(), target.fence);
        let is_outcome = act.is_outcome();
        let decide = move |context: &mut DecideContext<'_>| {
            decide::change(context, &id, fence, (act, &spending))
        };
        if is_outcome {
            return Ok(Command::ending(candidates, decide));
        }
        Ok(Command::new(&self.log, candidates, decide)?)
    }

    fn in_force(&self) -> Result<InForce, EffectError> {
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

fn from_approval(error: ApprovalError) -> EffectError {
    match error {
        ApprovalError::Append(error) => error.into(),
        ApprovalError::Read(error) => error.into(),
        ApprovalError::Event(error) => error.into(),
        ApprovalError::Effect(error) => error,
        _ => EffectError::NotFound,
    }
}

fn spent(claim: &Claim, owner: OwnerId, name: Option<String>, amounts: Amounts) -> Use {
    let amounts = match claim.kind {
        Kind::Tool => amounts.at_least(Dimension::ToolCalls, 1),
        Kind::Task => amounts,
    };
    Use {
        owner,
        name,
        amounts,
        how: How::ForCall(decide::CLAIMED),
        holder: Some(claim.holder.clone()),
    }
}

fn done_at(target: &Target, done: Done) -> Result<Position, EffectError> {
    match done {
        Done::At(Some(position)) => Ok(position),
        Done::At(None) => Err(EffectError::NotFound),
        Done::Stale(None) if target.fence.is_none() => Err(EffectError::NotFound),
        Done::Stale(effect) => Err(EffectError::StaleClaim {
            fence: target.fence,
            effect,
        }),
        Done::NotSo(effect) => Err(EffectError::NothingToSettle(effect)),
        Done::NotAllowed(authority) => Err(EffectError::NotAllowed { authority }),
        Done::TooManyCounters => Err(too_many_counters().into()),
        Done::Moved => Err(AppendError::Contended { times: REDECIDED }.into()),
    }
}

/// JSON as it stands.
fn raw(json: &[u8]) -> Result<Box<RawValue>, EffectError> {
    serde_json::from_slice(json).map_err(|_| EffectError::Args)
}

/// JSON of a value.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EffectError> {
    serde_json::to_vec(value).map_err(|_| EffectError::Args)
}
