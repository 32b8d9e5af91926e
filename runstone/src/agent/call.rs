//! A call that happens once.

use super::again::{NotAnswered, args_of};
use super::approval::{self, Ask};
use super::block::block_on;
use super::branch::{self, InStep};
use super::guard::{Claiming, Guard};
use super::run::{Run, is_doubtful, new_id};
use super::waiting::{self, Wait};
use runstone_codec::{EntropyError, Position};
use runstone_projections::approvals::{ApprovalError, ApprovalRequest, NotApproved};
use runstone_projections::budgets::{Amounts, Owner};
use runstone_projections::effects::{
    Change, Claim, Claimed, Class, Effect, EffectError, Executed, Found, Fresh, KeySource, Outcome,
};
use runstone_projections::events::ErrorSaid;
use runstone_replay::again::{Answer, Called, Turn};
use runstone_store::ErrorKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Why a call gives no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E: Debug + Display> {
    /// The tool said so. It is recorded, with whether it may be called again.
    #[error("{0}")]
    Tool(E),
    /// It was not called.
    #[error(transparent)]
    Effect(#[from] EffectError),
    /// It was not called: what it was to wait for did not happen in time.
    #[error("`{name}` waited as long as it was to, and is not called: {source}")]
    TimedOut {
        /// What is not called.
        name: String,
        /// What still stands in its way: a call in flight, or people who have not decided.
        source: Box<EffectError>,
    },
    /// It was called, and its result is stored, but is not of the type that is asked for.
    #[error("the stored result at position {position} is not what is asked for: {why}")]
    Replay {
        /// Where the result is.
        position: Position,
        /// Why.
        why: String,
    },
    /// It was called, and the log did not take its outcome as it was. It is not called again, unless
    /// its class bears that.
    #[error("`{name}` was called, and what came of it is not recorded: {source}")]
    Unrecorded {
        /// What was called.
        name: String,
        /// Why it is not recorded.
        source: EffectError,
    },
    /// It was called, and its result was not taken: it does not serialise to JSON, the log has no
    /// room for it, or its caller refused it. It is not called again.
    #[error("`{name}` was called and its result was not taken: {why}")]
    Result {
        /// What was called.
        name: String,
        /// Why.
        why: String,
    },
    /// What asked the other side failed: whether it was called is still unknown.
    #[error("whether `{name}` was called is unknown, and asking failed: {why}")]
    Reconcile {
        /// What was called.
        name: String,
        /// Why.
        why: String,
    },
    /// People could not be asked about it. It was not called.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// It runs again, and has no recorded result.
    #[error(transparent)]
    Again(#[from] NotAnswered),
    /// No randomness for the claim's id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl<E: Debug + Display> CallError<E> {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tool_failed",
            Self::Effect(error) => error.code(),
            Self::TimedOut { .. } => "wait_timed_out",
            Self::Replay { .. } => "result_of_other_type",
            Self::Unrecorded { .. } => "outcome_unrecorded",
            Self::Result { .. } => "result_rejected",
            Self::Reconcile { .. } => "reconcile_failed",
            Self::Approval(error) => error.code(),
            Self::Again(error) => error.code(),
            Self::Entropy(_) => "entropy_unavailable",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tool(_) | Self::Result { .. } | Self::Reconcile { .. } => ErrorKind::Refused,
            Self::Effect(error) => error.kind(),
            Self::Approval(error) => error.kind(),
            Self::Again(error) => error.kind(),
            Self::Replay { .. } => ErrorKind::Usage,
            Self::TimedOut { source, .. } => source.kind(),
            Self::Unrecorded { source, .. } => source.kind(),
            Self::Entropy(_) => ErrorKind::Storage,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything. A tool that
    /// failed may be called again if it was not executed, which is for its caller to know.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Tool(_)
            | Self::Replay { .. }
            | Self::Unrecorded { .. }
            | Self::Result { .. }
            | Self::Again(_) => false,
            Self::Effect(error) => error.is_retryable(),
            Self::Approval(error) => error.is_retryable(),
            Self::TimedOut { .. } | Self::Reconcile { .. } => true,
            Self::Entropy(error) => error.is_retryable(),
        }
    }
}

impl<E> CallError<E>
where
    E: Debug + Display + Into<Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    /// The error of the tool itself, if it is one, with all its causes; else this one. What a tool answers
    /// need not be an error ([`String`], [`anyhow`](https://docs.rs/anyhow)), so this one names none as
    /// its source.
    ///
    /// ```
    /// # use runstone::Runstone;
    /// # use std::io::Error;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let log = Runstone::memory()?;
    /// # let run = log.run("bot").resume_or_start("run-1").await?;
    /// let failed = run.effect("pay").call(|| async { Err::<(), _>(Error::other("no route")) }).await;
    /// let error = failed.map_err(runstone::CallError::into_error).unwrap_err();
    /// assert!(error.downcast_ref::<Error>().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Tool(error) => error.into(),
            other => Box::new(other),
        }
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Found, String>> + Send>>;
type Reconciler = Box<dyn FnOnce(Effect) -> Asking + Send>;
/// What the caller makes of a result, as JSON.
type Check = Box<dyn FnOnce(&[u8]) -> Result<(), String> + Send>;
type Cost = Box<dyn FnOnce(&Value) -> Amounts + Send>;

/// A call of a tool: what it is, and then [`call`](Self::call).
#[must_use = "nothing is called until `call`"]
pub struct EffectCall {
    run: Run,
    claim: Claim,
    /// Why the key or the arguments cannot be taken: told when it is called.
    refused: Option<EffectError>,
    wait: Wait,
    reconciler: Option<Reconciler>,
    check: Option<Check>,
    cost: Option<Cost>,
    /// Asks people, if nobody was asked.
    ask: Option<Ask>,
}

impl Debug for EffectCall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EffectCall")
            .field("claim", &self.claim)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl EffectCall {
    pub(super) fn new(run: &Run, name: String) -> Self {
        let claim = Claim::tool(run.id(), name)
            .of_run(run.inner.held.clone())
            .holder(run.inner.runstone.holder())
            .hold(run.inner.hold);
        Self {
            run: run.clone(),
            claim,
            refused: None,
            wait: Wait::No,
            reconciler: None,
            check: None,
            cost: None,
            ask: None,
        }
    }

    /// It is made only if people approve it with exactly these arguments. If nobody was asked, this
    /// asks them, in these words and as the settings say; it is refused with `not_approved` until
    /// they decide, unless it is to [`wait`](Self::wait).
    pub fn approval(self, action: impl Into<String>) -> Self {
        let action = action.into();
        self.approval_by(move |mut request| {
            request.action = Some(action);
            request
        })
    }

    /// [`approval`](Self::approval) by these reviewers, in this time.
    pub fn approval_by(
        mut self,
        ask: impl FnOnce(ApprovalRequest) -> ApprovalRequest + Send + 'static,
    ) -> Self {
        if self.runs_again() {
            return self;
        }
        self.ask = Some(Box::new(ask));
        self.with(Claim::needs_approval)
    }

    /// What people and budgets said is in the recording then, and they are not asked.
    fn runs_again(&self) -> bool {
        self.run.inner.runstone.again().is_some()
    }

    fn with(mut self, change: impl FnOnce(Claim) -> Claim) -> Self {
        self.claim = change(self.claim);
        self
    }

    /// A field of the business that makes two calls the same one, such as `("invoice", "inv-42")`:
    /// in the whole scope, whichever run makes them.
    pub fn key(self, (field, value): (&str, &str)) -> Self {
        self.key_source(KeySource::Business(vec![(
            field.to_owned(),
            value.to_owned(),
        )]))
    }

    /// The id that the model gave its call, in this run.
    pub fn call_id(self, id: impl Into<String>) -> Self {
        self.with(|claim| claim.call_id(id))
    }

    /// An id of the request, in the whole scope.
    pub fn request_id(self, id: impl Into<String>) -> Self {
        self.with(|claim| claim.request(id))
    }

    /// What else makes two calls the same one. Default: the arguments, in this run.
    pub fn key_source(self, key: KeySource) -> Self {
        self.with(|claim| claim.key(key))
    }

    /// What it means to make it twice. Default [`Class::Write`].
    pub fn class(self, class: Class) -> Self {
        self.with(|claim| claim.class(class))
    }

    /// The arguments by name.
    pub fn args<T: Serialize + ?Sized>(mut self, args: &T) -> Self {
        match self.claim.clone().args(args) {
            Ok(claim) => self.claim = claim,
            Err(error) => self.refused = Some(error),
        }
        self
    }

    /// It is called only if the owner may spend this besides. The budget of its run is asked in any
    /// case.
    pub fn budget(self, owner: impl Into<Owner>, amounts: Amounts) -> Self {
        if self.runs_again() {
            return self;
        }
        self.with(|claim| claim.budget(owner, amounts))
    }

    /// What it cost, read from its result: the dimensions that are named there count so, the others
    /// as reserved.
    pub fn cost(mut self, cost: impl FnOnce(&Value) -> Amounts + Send + 'static) -> Self {
        self.cost = Some(Box::new(cost));
        self
    }

    /// Other arguments under the same key are the same call.
    pub fn bound_to_key_only(self) -> Self {
        self.with(Claim::bound_to_key_only)
    }

    /// The result of a read is asked for again after this time.
    pub fn fresh_for(self, time: Duration) -> Self {
        self.with(|claim| claim.fresh(Fresh::For(time)))
    }

    /// Waits for a call in flight, and takes its result; and for people who were asked. Else that is
    /// an error at once.
    pub fn wait(self) -> Self {
        self.waits(Wait::Ever)
    }

    /// [`wait`](Self::wait), but no longer than this in all. When the time is over it is not called:
    /// [`CallError::TimedOut`] says what was waited for.
    pub fn wait_at_most(self, time: Duration) -> Self {
        self.waits(Wait::AtMost(time))
    }

    pub(super) fn waits(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Asks the other side what became of a call whose outcome is unknown: `Some` result if it was
    /// made, `None` if it was not, and then it is made now.
    pub fn reconcile<T, E, F, A>(mut self, ask: F) -> Self
    where
        T: Serialize,
        E: Display,
        F: FnOnce(Effect) -> A + Send + 'static,
        A: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        self.reconciler = Some(Box::new(move |effect| {
            let asked = ask(effect);
            Box::pin(async move {
                match asked.await.map_err(|error| error.to_string())? {
                    Some(result) => serde_json::to_vec(&result)
                        .map(Found::Completed)
                        .map_err(|error| error.to_string()),
                    None => Ok(Found::NotExecuted),
                }
            })
        }));
        self
    }

    /// What the caller takes for a result. One that it refuses is recorded as rejected, with its
    /// reason: the call was made and is not made again, and whoever asks for it later gets the same
    /// rejection. So is one that is not of the type that is checked.
    ///
    /// ```
    /// # use runstone::Runstone;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let log = Runstone::memory()?;
    /// # let run = log.run("bot").resume_or_start("run-1").await?;
    /// for _ in 0..2 {
    ///     let quote = run.effect("quote").request_id("q-1").check(|usd: &i64| {
    ///         if *usd > 0 { Ok(()) } else { Err("a price is above 0".to_owned()) }
    ///     });
    ///     let refused = quote.call(|| async { Ok::<i64, std::io::Error>(-1) }).await.unwrap_err();
    ///     assert_eq!(refused.code(), "result_rejected");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn check<T: DeserializeOwned>(
        mut self,
        check: impl FnOnce(&T) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.check = Some(Box::new(move |json| {
            let result = serde_json::from_slice(json);
            let result = result.map_err(|error| format!("it is not what is checked: {error}"))?;
            check(&result)
        }));
        self
    }

    /// Calls it, unless it was called: then this is the stored result. The first time too the
    /// result is what was stored.
    ///
    /// # Errors
    ///
    /// [`CallError::Tool`] if it failed, and whether it may be called again is as its class says;
    /// [`CallError::Effect`] if it is not called.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the tool is called, the claim is given up, and the call can be made again.
    /// Dropped after that, what became of it is unknown unless its class bears repeating.
    pub async fn call<T, E, F, C>(self, call: F) -> Result<T, CallError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
    {
        self.call_classified(call, |_| None).await
    }

    /// [`call`](Self::call) of a tool whose errors tell whether it was executed; `None`: as its
    /// class says.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_classified<T, E, F, C>(
        self,
        call: F,
        executed: impl FnOnce(&E) -> Option<Executed>,
    ) -> Result<T, CallError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
    {
        let mut this = self;
        let (check, cost) = (this.check.take(), this.cost.take());
        let step = branch::current(this.run.id());
        let called = this.placed(step.as_deref())?;
        let mut guard = match this.begin().await? {
            Begun::Done(outcome) => return replayed(&outcome),
            Begun::Held(guard) => guard,
        };
        if let Some(called) = called {
            let run = guard.run.clone();
            let step = step.as_ref().map(|step| &step.step);
            if let Some(again) = run.inner.runstone.again() {
                let turn = again.call(run.id(), step, &called).await;
                match turn.map_err(NotAnswered::Diverged)? {
                    (Turn::Live, _) => {}
                    (turn, _ending) => return answered(guard, turn, check).await,
                }
            }
        }
        guard.begun = true;
        let answer = call().await;
        let change = match &answer {
            Ok(result) => taken(result, check),
            Err(error) => Change::Fail {
                error: ErrorSaid {
                    error_type: std::any::type_name::<E>().to_owned(),
                    message: error.to_string(),
                },
                executed: executed(error),
            },
        };
        if let (Some(cost), Change::Complete { result, .. }) = (cost, &change) {
            let result = serde_json::from_slice(result.as_deref().unwrap_or(b"null"));
            // It is JSON: it was just written.
            guard.cost = result.ok().as_ref().map(cost);
        }
        let position = guard.settle(&change).await?;
        let name = || guard.held.name.clone();
        match (answer, change) {
            (Err(error), _) => Err(CallError::Tool(error)),
            (
                Ok(_),
                Change::Complete {
                    rejected: Some(why),
                    ..
                },
            ) => Err(CallError::Result { name: name(), why }),
            (Ok(_), Change::Complete { result, .. }) => {
                decoded(position, result.as_deref().unwrap_or(b"null"))
            }
            (Ok(result), _) => Ok(result),
        }
    }

    /// [`call`](Self::call) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(self, call: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
    {
        block_on(self.call(|| ready(call())))
    }

    /// [`call_classified`](Self::call_classified) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_classified_blocking<T, E>(
        self,
        call: impl FnOnce() -> Result<T, E>,
        executed: impl FnOnce(&E) -> Option<Executed>,
    ) -> Result<T, CallError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
    {
        block_on(self.call_classified(|| ready(call()), executed))
    }

    /// It is made in the step in which its caller is. If that runs again: what it is told by.
    fn placed(&mut self, step: Option<&InStep>) -> Result<Option<Called>, EffectError> {
        if let Some(step) = step {
            self.claim = self.claim.clone().causation(step.event_id);
        }
        let Some(again) = self.run.inner.runstone.again() else {
            return Ok(None);
        };
        let called = Called {
            name: self.claim.name().to_owned(),
            args: args_of(self.claim.args_given()),
            key: Some(self.claim.key_text()?),
        };
        // A read was made again if it was recorded again, however fresh its result is now.
        let step = step.map(|step| &step.step);
        if !self.claim.is_fresh_forever() {
            if again.tape.has(self.run.id(), step, &called) {
                self.claim = self.claim.clone().fresh(Fresh::For(Duration::ZERO));
            } else if !again.tape.goes_on_live() {
                self.claim = self.claim.clone().fresh(Fresh::Forever);
            }
        }
        Ok(Some(called))
    }

    async fn begin<E: Debug + Display>(mut self) -> Result<Begun, CallError<E>> {
        if let Some(error) = self.refused.take() {
            return Err(error.into());
        }
        let deadline = self.wait.deadline();
        loop {
            match Self::claim_once(self.run.clone(), self.claim.clone()).await? {
                Ok(begun) => return Ok(begun),
                Err(error) => self.get_past(error, deadline).await?,
            }
        }
    }

    /// Waits for what stands in the way of a claim, or does something about it; else that is an error.
    async fn get_past<E: Debug + Display>(
        &mut self,
        error: EffectError,
        deadline: Option<Instant>,
    ) -> Result<(), CallError<E>> {
        let runstone = self.run.inner.runstone.clone();
        let is_past = match &error {
            EffectError::InFlight(effect) if self.wait.is_any() => {
                let ended = Box::pin(waiting::ended(&runstone, effect));
                waiting::until(deadline, ended).await.transpose()?
            }
            EffectError::NotApproved {
                why: NotApproved::Pending,
                request: Some(request),
                ..
            } if self.wait.is_any() => {
                let decided = Box::pin(approval::decided(&runstone, *request));
                waiting::until(deadline, decided).await.transpose()?
            }
            EffectError::NotApproved {
                why: NotApproved::NotAsked,
                ..
            } => match self.ask.take() {
                Some(ask) => {
                    approval::request(&runstone, &self.claim, ask).await?;
                    Some(())
                }
                None => return Err(error.into()),
            },
            EffectError::Unknown(effect) => match self.reconciler.take() {
                Some(ask) => {
                    self.reconcile_unknown(effect, ask).await?;
                    Some(())
                }
                None => return Err(error.into()),
            },
            _ => return Err(error.into()),
        };
        is_past.ok_or_else(|| CallError::TimedOut {
            name: self.claim.name().to_owned(),
            source: Box::new(error),
        })
    }

    /// Records what the other side says of a call whose outcome is unknown.
    async fn reconcile_unknown<E: Debug + Display>(
        &mut self,
        effect: &Effect,
        ask: Reconciler,
    ) -> Result<(), CallError<E>> {
        let target = effect.target().fence(effect.fence);
        let target = target.of_run(self.run.inner.held.clone());
        let found = ask(effect.clone()).await;
        let found = found.map_err(|why| CallError::Reconcile {
            name: self.claim.name().to_owned(),
            why,
        })?;
        let change = Change::Reconcile {
            found,
            evidence: None,
            by_program: true,
        };
        let effects = self.run.inner.runstone.effects();
        match effects.change(&target, &change).await {
            // Somebody else settled it meanwhile: look again.
            Ok(_) | Err(EffectError::NothingToSettle(_) | EffectError::StaleClaim { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// It takes what it needs: a reconciler must not be shared between threads.
    async fn claim_once(
        run: Run,
        claim: Claim,
    ) -> Result<Result<Begun, EffectError>, EntropyError> {
        let event_id = new_id()?;
        let runstone = &run.inner.runstone;
        let mut claiming = Claiming {
            runstone,
            event_id,
            is_answered: false,
        };
        let claimed = runstone.effects().claim(&claim.event_id(event_id)).await;
        claiming.is_answered =
            !matches!(&claimed, Err(EffectError::Append(error)) if is_doubtful(error));
        drop(claiming);
        Ok(claimed.map(|claimed| match claimed {
            Claimed::Held(held) => {
                tracing::debug!(effect = held.name, fence = held.fence.get(), "claimed");
                Begun::Held(Box::new(Guard::new(run.clone(), held)))
            }
            Claimed::Completed(outcome) => {
                tracing::debug!(effect = outcome.effect.name, "replayed");
                Begun::Done(Box::new(outcome))
            }
        }))
    }
}

enum Begun {
    Held(Box<Guard>),
    Done(Box<Outcome>),
}

/// What is recorded of a result, whether its caller takes it or not.
fn taken<T: Serialize>(result: &T, check: Option<Check>) -> Change {
    let json = match serde_json::to_vec(result) {
        Ok(json) => json,
        Err(error) => {
            return Change::Complete {
                result: None,
                rejected: Some(error.to_string()),
            };
        }
    };
    let rejected = check.and_then(|check| check(&json).err());
    Change::Complete {
        result: Some(json),
        rejected,
    }
}

/// Records what was recorded of a call before, and gives it to its caller.
async fn answered<T: DeserializeOwned, E: Debug + Display>(
    mut guard: Box<Guard>,
    turn: Turn,
    check: Option<Check>,
) -> Result<T, CallError<E>> {
    let name = guard.held.name.clone();
    let (position, answer) = match turn {
        Turn::Answer {
            position, answer, ..
        } => (position, answer),
        // It is not called for anything else.
        _ => (guard.held.fence.get(), Answer::Unknown),
    };
    let change = match answer {
        Answer::Completed { result, rejected } => {
            let json = result.map(|result| result.get().as_bytes().to_vec());
            let rejected = match (check, &json) {
                (Some(check), Some(json)) => check(json).err(),
                _ => rejected,
            };
            Change::Complete {
                result: json,
                rejected,
            }
        }
        Answer::Failed { error, executed } => Change::Fail {
            error,
            // What became of a call that may have been executed is in the recording as well.
            executed: Some(match executed {
                Some(Executed::Yes) => Executed::Yes,
                _ => Executed::No,
            }),
        },
        Answer::Refused { why } => {
            return Err(NotAnswered::Refused {
                name,
                why,
                position,
            }
            .into());
        }
        Answer::Erased => {
            let position = Position::new(position);
            return Err(EffectError::ResultErased { position }.into());
        }
        _ => return Err(NotAnswered::Unknown { name, position }.into()),
    };
    let recorded = guard.settle(&change).await?;
    match change {
        Change::Fail { error, .. } => Err(NotAnswered::Failed { error, position }.into()),
        Change::Complete {
            rejected: Some(why),
            ..
        } => Err(CallError::Result { name, why }),
        Change::Complete { result, .. } => decoded(recorded, result.as_deref().unwrap_or(b"null")),
        _ => Err(NotAnswered::Unknown { name, position }.into()),
    }
}

fn replayed<T: DeserializeOwned, E: Debug + Display>(outcome: &Outcome) -> Result<T, CallError<E>> {
    if let Some(why) = &outcome.rejected {
        return Err(CallError::Result {
            name: outcome.effect.name.clone(),
            why: why.clone(),
        });
    }
    decoded(
        outcome.position,
        outcome.result.as_deref().unwrap_or(b"null"),
    )
}

fn decoded<T: DeserializeOwned, E: Debug + Display>(
    position: Position,
    json: &[u8],
) -> Result<T, CallError<E>> {
    serde_json::from_slice(json).map_err(|error| CallError::Replay {
        position,
        why: error.to_string(),
    })
}
