//! What is asked of the ledger, and what it answers.

use super::key::{Key, args_digest};
use super::{Class, Effect, EffectError, EffectId, Executed, KeySource, Kind, json, raw};
use crate::budgets::{Amounts, BudgetError, Owner, OwnerId};
use crate::events::control::approval;
use crate::events::{ErrorSaid, approved_as};
use crate::lease::{Hold, MAX_HOLDER_LEN};
use crate::runs::RunHeld;
use runstone_codec::{Keyed, Position, Uuid};
use runstone_store::Log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;

/// Longest name of a call in bytes.
pub const MAX_NAME_LEN: usize = 256;
/// Most owners that one claim spends from.
pub const MAX_CLAIM_BUDGETS: usize = 4;

/// A call that somebody wants to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "a claim is nothing until it is made"]
pub struct Claim {
    pub(super) stream: String,
    pub(super) scope: Option<String>,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) key: KeySource,
    pub(super) is_bound_to_key_only: bool,
    pub(super) class: Class,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::wire::maybe_json"
    )]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(super) args: Option<Vec<u8>>,
    pub(super) holder: String,
    pub(super) hold: Hold,
    pub(super) fresh: Fresh,
    #[schemars(with = "Option<String>")]
    pub(super) event_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) causation: Option<Uuid>,
    pub(super) run: Option<RunHeld>,
    pub(super) needs_approval: bool,
    pub(super) budgets: Vec<(Spender, Amounts)>,
}

/// A call as somebody is asked about it.
pub(crate) struct Subject {
    pub(crate) key: String,
    pub(crate) args: Option<Box<RawValue>>,
    pub(crate) scope: Option<String>,
    pub(crate) keyed: [Keyed; 3],
}

/// Whose budget a claim spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Spender {
    Named(Owner),
    Known(OwnerId),
}

impl Claim {
    /// A call of a tool, recorded in a stream. Its key is its arguments unless another is given;
    /// its class is [`Class::Write`] unless it says that it bears repeating.
    pub fn tool(stream: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(Kind::Tool, stream.into(), name.into())
    }

    /// The execution of a task, recorded in a stream.
    pub fn task(stream: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(Kind::Task, stream.into(), name.into())
    }

    fn new(kind: Kind, stream: String, name: String) -> Self {
        Self {
            stream,
            scope: None,
            kind,
            name,
            key: KeySource::Arguments,
            is_bound_to_key_only: false,
            class: Class::Write,
            args: None,
            holder: "unnamed".to_owned(),
            hold: Hold::Default,
            fresh: Fresh::Forever,
            event_id: None,
            causation: None,
            run: None,
            needs_approval: false,
            budgets: Vec::new(),
        }
    }

    /// What makes two calls the same one.
    pub fn key(mut self, key: KeySource) -> Self {
        self.key = key;
        self
    }

    /// The key is an id, one for the whole scope.
    pub fn request(self, id: impl Into<String>) -> Self {
        self.key(KeySource::Request(id.into()))
    }

    /// The key is the id that a model gave its call, one in its run.
    pub fn call_id(self, id: impl Into<String>) -> Self {
        self.key(KeySource::Call {
            id: id.into(),
            ordinal: 0,
        })
    }

    /// Other arguments under the same key are the same call: the key alone says what it is.
    pub fn bound_to_key_only(mut self) -> Self {
        self.is_bound_to_key_only = true;
        self
    }

    /// What it means to make it twice.
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The arguments by name: a value that serialises to JSON.
    ///
    /// # Errors
    ///
    /// [`EffectError::Args`] if it does not.
    pub fn args<T: Serialize + ?Sized>(self, args: &T) -> Result<Self, EffectError> {
        Ok(self.args_json(json(args)?))
    }

    /// The arguments by name, as JSON.
    pub fn args_json(mut self, args: impl Into<Vec<u8>>) -> Self {
        self.args = Some(args.into());
        self
    }

    /// Scope of a stream that is not there yet.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Who claims it: a pseudonym, at most 256 bytes.
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = holder.into();
        self
    }

    /// How long it is held without a word. Default: as long as the settings say.
    pub fn hold(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// How long the result of a read is given again. Default: for ever, as of every other class.
    pub fn fresh(mut self, fresh: Fresh) -> Self {
        self.fresh = fresh;
        self
    }

    /// The run that it is made in must be held by this claim of it.
    pub fn of_run(mut self, run: RunHeld) -> Self {
        self.run = Some(run);
        self
    }

    /// It is claimed only if the owner may spend this besides, and a call of a tool counts as one of
    /// `tool_calls` in any case. The outcome settles it: in full, or with the cost that
    /// [`Target::cost`] names; what was not executed is given back, and what nobody knows stays
    /// reserved until it is reconciled. At most [`MAX_CLAIM_BUDGETS`].
    pub fn budget(mut self, owner: impl Into<Owner>, amounts: Amounts) -> Self {
        self.budgets.push((Spender::Named(owner.into()), amounts));
        self
    }

    /// [`budget`](Self::budget) of an owner as the log knows it.
    pub fn budget_of(mut self, owner: OwnerId, amounts: Amounts) -> Self {
        self.budgets.push((Spender::Known(owner), amounts));
        self
    }

    /// Id of the event that records the claim, by which its caller finds out whether it was. Such a
    /// claim is made once.
    pub fn event_id(mut self, id: Uuid) -> Self {
        self.event_id = Some(id);
        self
    }

    /// The event that the call is made because of, such as the beginning of a step.
    pub fn causation(mut self, id: Uuid) -> Self {
        self.causation = Some(id);
        self
    }

    /// As it counts for a holder in another process.
    pub(crate) fn seen_afar(mut self) -> Self {
        self.hold = self.hold.seen_afar();
        self
    }

    /// Names stand in control, which is short.
    pub(super) fn check(&self) -> Result<(), EffectError> {
        if self.name.trim().is_empty() {
            return Err(EffectError::NoName);
        }
        for (what, name, limit) in [
            ("name of the call", &self.name, MAX_NAME_LEN),
            ("holder", &self.holder, MAX_HOLDER_LEN),
        ] {
            if name.len() > limit {
                let len = name.len();
                return Err(EffectError::TooLong {
                    what: what.into(),
                    len,
                    limit,
                });
            }
        }
        let count = self.budgets.len();
        if count > MAX_CLAIM_BUDGETS {
            let (what, limit) = ("budgets of one claim", MAX_CLAIM_BUDGETS);
            return Err(BudgetError::TooMany {
                what: what.into(),
                count,
                limit,
            }
            .into());
        }
        for (_, amounts) in &self.budgets {
            amounts.check()?;
        }
        Ok(())
    }

    /// The call that it would make; `None` if its scope has no keys, and so no calls.
    pub(crate) fn id(&self, log: &Log) -> Result<Option<EffectId>, EffectError> {
        let [_, digest, _] = Key::of(self)?.digests(self)?;
        let scope = log.scope_of_stream(&self.stream)?;
        let scope = self
            .scope
            .clone()
            .or(scope)
            .unwrap_or_else(|| "default".to_owned());
        let digest = log.keyed_digest(&scope, &digest)?;
        Ok(digest.map(|digest| EffectId { digest, scope }))
    }

    /// What somebody is asked who is asked whether it may be made.
    pub(crate) fn subject(&self) -> Result<Subject, EffectError> {
        self.check()?;
        let key = Key::of(self)?;
        let [tag, digest, _] = key.digests(self)?;
        Ok(Subject {
            key: key.text,
            args: self.args.as_deref().map(raw).transpose()?,
            scope: self.scope.clone(),
            keyed: [tag, digest, self.to_approve(approval::WHAT)?],
        })
    }

    /// Digest of what an approval would have to be for.
    pub(super) fn to_approve(&self, into: u16) -> Result<Keyed, EffectError> {
        let args = args_digest(self.args.as_deref())?;
        Ok(approved_as(into, &self.name, &args))
    }

    /// It needs an approval, whatever the settings say of its class.
    pub fn needs_approval(mut self) -> Self {
        self.needs_approval = true;
        self
    }

    /// The stream that it is recorded in.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments as JSON, if it has any.
    pub fn args_given(&self) -> Option<&[u8]> {
        self.args.as_deref()
    }

    /// The key as text, as it is recorded.
    ///
    /// # Errors
    ///
    /// [`EffectError::Key`] and [`EffectError::Args`] if there is none.
    pub fn key_text(&self) -> Result<String, EffectError> {
        Ok(Key::of(self)?.text)
    }

    /// Whether a stored result is given again for ever.
    pub fn is_fresh_forever(&self) -> bool {
        self.fresh == Fresh::Forever
    }
}

/// How long the result of a read is given again before it is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fresh {
    /// For ever.
    Forever,
    /// As long as the settings say.
    Default,
    /// So long, counted in whole microseconds.
    For(
        #[serde(with = "crate::wire::microseconds")]
        #[schemars(with = "u64")]
        Duration,
    ),
}

/// What a claim is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a claim is granted, or done already"
)]
pub enum Claimed {
    /// The caller holds it: make the call.
    Held(Held),
    /// It was made: do not make it, and take this.
    Completed(Outcome),
}

/// A claim in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Held {
    /// Which call.
    pub id: EffectId,
    /// Where it is recorded.
    pub stream: String,
    /// What is called.
    pub name: String,
    /// What it means to make it twice.
    pub class: Class,
    /// Who holds it.
    pub holder: String,
    /// Position of the claim.
    pub fence: Position,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// When the lease ends, Unix microseconds; `None`: as long as this opening of the log lasts.
    pub lease_expires_at_us: Option<u64>,
}

impl Held {
    /// What its outcome is addressed to.
    pub fn target(&self) -> Target {
        Target {
            id: self.id.clone(),
            stream: self.stream.clone(),
            class: self.class,
            fence: Some(self.fence),
            cost: None,
            run: None,
        }
    }
}

/// Which call a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Target {
    pub(super) id: EffectId,
    pub(super) stream: String,
    pub(super) class: Class,
    /// The claim; operators name none.
    pub(super) fence: Option<Position>,
    /// What it cost, where that is not what was reserved.
    pub(super) cost: Option<Amounts>,
    /// The run on behalf of which it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<RunHeld>,
}

impl Target {
    /// Who changes it holds this run. A program elsewhere is believed what it found out about a call
    /// as long as it does.
    #[must_use]
    pub fn of_run(mut self, run: RunHeld) -> Self {
        self.run = Some(run);
        self
    }

    pub(crate) fn run(&self) -> Option<&RunHeld> {
        self.run.as_ref()
    }

    /// Whichever claim is in force, as an operator means it.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.fence = None;
        self
    }

    /// What the call cost, where that is not what its claim reserved: the dimensions that are named
    /// here count so, the others as reserved. The same for each owner that the claim named.
    #[must_use]
    pub fn cost(mut self, cost: Amounts) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Names the claim that it is about; another one in force is an error.
    #[must_use]
    pub fn fence(mut self, fence: Position) -> Self {
        self.fence = Some(fence);
        self
    }
}

/// What a completed call answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Outcome {
    /// How it stands.
    pub effect: Effect,
    /// Where the outcome is recorded: a receipt of this position proves it.
    pub position: Position,
    /// The result as JSON, byte for byte as it was stored; `None` if it had none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::wire::maybe_json"
    )]
    #[schemars(with = "Option<serde_json::Value>")]
    pub result: Option<Vec<u8>>,
    /// Why its caller did not take it.
    pub rejected: Option<String>,
}

/// What is done to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It was made and answered.
    Complete {
        /// The answer as JSON.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "crate::wire::maybe_json"
        )]
        #[schemars(with = "Option<serde_json::Value>")]
        result: Option<Vec<u8>>,
        /// Why its caller does not take it.
        rejected: Option<String>,
    },
    /// It failed.
    Fail {
        /// How.
        error: ErrorSaid,
        /// Whether it was executed all the same; `None`: as its class says.
        executed: Option<Executed>,
    },
    /// It is given up.
    Cancel {
        /// Why.
        reason: String,
        /// Whether it had begun: then what became of it is unknown unless its class bears
        /// repeating.
        begun: bool,
    },
    /// Nobody can say what became of it.
    Unknown {
        /// A code for why.
        why: Cow<'static, str>,
        /// Details.
        detail: Option<String>,
    },
    /// Its holder goes on.
    Renew(Hold),
    /// Somebody found out what became of it.
    Reconcile {
        /// What.
        found: Found,
        /// How that is known.
        evidence: Option<String>,
        /// Whether a program asked the other side: then no person is needed.
        by_program: bool,
    },
    /// A person lets it be made again.
    Release {
        /// Why.
        reason: String,
    },
}

/// What became of a call whose outcome was unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it was made or it was not")]
pub enum Found {
    /// It was made, and answered this JSON.
    Completed(
        #[serde(with = "crate::wire::json")]
        #[schemars(with = "serde_json::Value")]
        Vec<u8>,
    ),
    /// It was not.
    NotExecuted,
}

impl Change {
    /// As it counts for a holder in another process.
    pub(crate) fn seen_afar(self, holds_run: bool) -> Self {
        match self {
            Self::Renew(hold) => Self::Renew(hold.seen_afar()),
            // Whoever says so and holds no run may be anybody: it takes a person.
            Self::Reconcile {
                found,
                evidence,
                by_program,
            } => Self::Reconcile {
                found,
                evidence,
                by_program: by_program && holds_run,
            },
            other => other,
        }
    }

    /// It was made and answered this.
    ///
    /// # Errors
    ///
    /// [`EffectError::Args`] if the value does not serialise to JSON.
    pub fn completed<T: Serialize + ?Sized>(result: &T) -> Result<Self, EffectError> {
        Ok(Self::Complete {
            result: Some(json(result)?),
            rejected: None,
        })
    }

    /// It failed; its class says whether it may be made again.
    pub fn failed(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fail {
            error: ErrorSaid {
                error_type: error_type.into(),
                message: message.into(),
            },
            executed: None,
        }
    }
}
