//! A run that this process holds.

use super::block::block_on;
use super::call::EffectCall;
use super::handle::Runstone;
use super::renew::{Kept, What, hold_of};
use super::session::Session;
use super::status::{LetGo, Status};
use super::step::Step;
use super::tool::Tool;
use runstone_codec::{
    Draft, Entropy as _, EntropyError, NewEvent, OsEntropy, Position, TypedEvent, Uuid, namespace,
};
use runstone_projections::Hold;
use runstone_projections::budgets::Owner;
use runstone_projections::events::{LlmCallCompleted, RunFinished, RunPaused, SessionEnded};
use runstone_projections::runs::{self, Begin, Begun, Fork, RollBack, RunError, RunHeld};
use runstone_projections::sessions::{self, Document, Since};
use runstone_store::{AppendError, Log};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How often a log that opens again is asked for what was on its way.
pub(super) const RETRIES: usize = 1000;

/// A run, to be started or resumed.
#[derive(Debug, Clone)]
#[must_use = "a run is nothing until it is started or resumed"]
pub struct RunBuilder {
    runstone: Runstone,
    begin: Begin,
    fork_of: Option<(String, Position)>,
}

impl RunBuilder {
    pub(super) fn new(runstone: &Runstone, name: String) -> Self {
        let mut begin = Begin::new("", name);
        runstone.holder().clone_into(&mut begin.holder);
        Self {
            runstone: runstone.clone(),
            begin,
            fork_of: None,
        }
    }

    /// What it is given to do.
    ///
    /// # Errors
    ///
    /// [`RunError::Event`] if the value does not serialise to JSON.
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Result<Self, RunError> {
        self.begin.started.input = Some(raw(input)?);
        Ok(self)
    }

    /// What it works on.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.begin.started.target = Some(target.into());
        self
    }

    /// The run that spawns it.
    pub fn parent(mut self, parent: &Run) -> Self {
        self.begin.parent = Some(parent.id().to_owned());
        self
    }

    /// It goes on from another run as that stood after a position of the log: with its session, its
    /// steps, and the results of its calls, which are not made again. Its scope is that of the other
    /// run, and its budget one of its own below the other one's, or below that the one that is named.
    /// Input, target and parent are the other run's, so none may be given
    /// ([`RunError::NotOfFork`]). One that was forked there already is gone on with, unless it spends
    /// another budget than the one that is named ([`RunError::OtherBudget`]).
    ///
    /// ```
    /// # use runstone::{Runstone, Status};
    /// # use serde_json::json;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let log = Runstone::memory()?;
    /// let run = log.run("bot").start("run-1").await?;
    /// let at = run.session().append("/messages", &"hello").await?;
    /// run.session().append("/messages", &"never mind").await?;
    /// run.finish(Status::Success).await?;
    ///
    /// let other = log.run("bot").fork_of("run-1", at).start("run-2").await?;
    /// assert_eq!(other.session().document().await?, json!({"messages": ["hello"]}));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fork_of(mut self, run: impl Into<String>, at: Position) -> Self {
        self.fork_of = Some((run.into(), at));
        self
    }

    /// Whose budget it spends: each step one of `steps`, each call of a tool one of `tool_calls`,
    /// each call of a model its tokens and its price. It is open already. A run that is resumed
    /// keeps what it has; one with a parent has the parent's, or one below that.
    pub fn budget(mut self, owner: impl Into<Owner>) -> Self {
        self.begin.budget = Some(owner.into());
        self
    }

    /// What one erasure removes. Default: `default`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.begin.scope = Some(scope.into());
        self
    }

    /// Starts it, or goes on with it where it is: what it did is not done again.
    ///
    /// # Errors
    ///
    /// [`RunError::Held`] if somebody is at it; [`RunError::Finished`] if it ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is answered, it lets go of the run as soon as that is begun.
    pub async fn resume_or_start(self, id: impl Into<String>) -> Result<Run, RunError> {
        self.begin(id.into(), true, true).await
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`RunError::Exists`] if there is one already.
    ///
    /// # Cancel safety
    ///
    /// As [`resume_or_start`](Self::resume_or_start).
    pub async fn start(self, id: impl Into<String>) -> Result<Run, RunError> {
        self.begin(id.into(), true, false).await
    }

    /// Goes on with it from its last state, however its session ended. One that ended is open again.
    ///
    /// # Errors
    ///
    /// [`RunError::NotFound`]; [`RunError::Held`] if somebody is at it.
    ///
    /// # Cancel safety
    ///
    /// As [`resume_or_start`](Self::resume_or_start).
    pub async fn resume(mut self, id: impl Into<String>) -> Result<Run, RunError> {
        self.begin.may_reopen = true;
        self.begin(id.into(), false, true).await
    }

    /// [`start`](Self::start) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_blocking(self, id: impl Into<String>) -> Result<Run, RunError> {
        block_on(self.start(id))
    }

    /// [`resume`](Self::resume) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn resume_blocking(self, id: impl Into<String>) -> Result<Run, RunError> {
        block_on(self.resume(id))
    }

    /// [`resume_or_start`](Self::resume_or_start) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`resume_or_start`](Self::resume_or_start).
    pub fn resume_or_start_blocking(self, id: impl Into<String>) -> Result<Run, RunError> {
        block_on(self.resume_or_start(id))
    }

    /// What is begun is a fork then, which is there.
    async fn fork(&mut self, of: String, at: Position) -> Result<(), RunError> {
        let started = &self.begin.started;
        let given = [
            ("input", started.input.is_some()),
            ("target", started.target.is_some()),
            ("parent", self.begin.parent.is_some()),
        ];
        if let Some((what, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            let what = what.into();
            return Err(RunError::NotOfFork { what, parent: of });
        }
        let mut fork = Fork::new(self.begin.stream.as_str(), of, at);
        fork.name = Some(self.begin.started.name.clone());
        fork.budget = self.begin.budget.take();
        let forked = runs::fork(&self.runstone, &fork).await?;
        if forked.was_there && !self.begin.may_resume {
            let run = runs::get(&self.runstone, &fork.stream)?;
            let absent = || RunError::NotFound {
                stream: fork.stream.clone(),
            };
            return Err(RunError::Exists(Box::new(run.ok_or_else(absent)?)));
        }
        (self.begin.may_start, self.begin.may_resume) = (false, true);
        Ok(())
    }

    /// If the program runs again: it begins anew whatever is recorded of it, and what it may spend is
    /// in the recording. The answer is the document that its session begins with, if it had one.
    fn begin_again(&mut self) -> Result<Option<Value>, RunError> {
        let Some(again) = self.runstone.again() else {
            return Ok(None);
        };
        let stream = self.begin.stream.as_str();
        let begun = again.tape.begin(stream);
        let document = begun.map_err(|_| RunError::NotRecorded {
            stream: stream.to_owned(),
        })?;
        self.begin.may_start |= runs::get(&self.runstone, stream)?.is_none();
        (self.begin.budget, self.fork_of) = (None, None);
        Ok(document)
    }

    async fn begin(
        mut self,
        id: String,
        may_start: bool,
        may_resume: bool,
    ) -> Result<Run, RunError> {
        self.begin.stream = id;
        (self.begin.may_start, self.begin.may_resume) = (may_start, may_resume);
        let seed = self.begin_again()?;
        if let Some((of, at)) = self.fork_of.take().filter(|_| may_start) {
            self.fork(of, at).await?;
        }
        let new_id = || new_id().map_err(|error| RunError::Entropy(error.to_string()));
        let event_ids = [new_id()?, new_id()?];
        self.begin.event_ids = Some(event_ids);
        self.begin.hold = hold_of(&self.runstone)?;
        let mut beginning = Beginning {
            runstone: &self.runstone,
            stream: &self.begin.stream,
            event_ids,
            is_answered: false,
        };
        let begun = runs::begin(&self.runstone, &self.begin).await;
        beginning.is_answered =
            !matches!(&begun, Err(RunError::Append(error)) if is_doubtful(error));
        drop(beginning);
        let begun = begun?;
        let is_resumed = matches!(begun, Begun::Resumed(_));
        let held = begun.into_held();
        let mut inner = Inner {
            kept: self.runstone.keep(What::Run(held.clone()), self.begin.hold),
            hold: self.begin.hold,
            runstone: self.runstone,
            held,
            is_resumed,
            document: tokio::sync::Mutex::default(),
            steps: Mutex::default(),
            has_ended: AtomicBool::new(false),
        };
        if is_resumed {
            // Dropped on an error, it lets go of the run again.
            let session = sessions::state(&inner.runstone, &inner.held.stream)?;
            if session.missing > 0 {
                tracing::warn!(
                    run = inner.held.stream,
                    missing = session.missing,
                    "changes of the session were erased or cannot be read"
                );
            }
            *inner.document.get_mut() = Cached::of(session);
        }
        tracing::info!(run = inner.held.stream, is_resumed, "run begins");
        let run = Run {
            inner: Arc::new(inner),
        };
        match seed {
            Some(document) if !is_resumed => {
                run.session().patch(&document).await?;
            }
            _ if is_resumed => run.hear_decision().await?,
            _ => {}
        }
        Ok(run)
    }
}

/// A run that this process holds. Clones share it; the last one that is dropped lets go of it, so
/// that it can be resumed: as cancelled, or as failed if it is dropped by a panic. A process that
/// is killed lets go of it too; its run is listed as crashed and can be resumed at the next open.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) runstone: Runstone,
    pub(super) held: RunHeld,
    /// How long it is held without a word.
    pub(super) hold: Hold,
    /// Renews its lease where another process has the log.
    kept: Option<Kept>,
    is_resumed: bool,
    /// The session's document; held while a change of it is recorded, so that both have one order.
    pub(super) document: tokio::sync::Mutex<Cached>,
    /// Nodes whose steps are being done.
    pub(super) steps: Mutex<BTreeSet<String>>,
    pub(super) has_ended: AtomicBool,
}

/// The session's document as this process knows it.
#[derive(Debug, Default)]
pub(super) struct Cached {
    pub(super) document: Document,
    /// A change was on its way when its future was dropped or it failed: only the log knows.
    pub(super) is_stale: bool,
    since: Since,
}

impl Cached {
    fn of(session: sessions::Session) -> Self {
        Self {
            document: session.document,
            is_stale: false,
            since: session.since,
        }
    }

    /// The document, read from the log again if that is needed.
    pub(super) fn fresh(&mut self, run: &Run) -> Result<&mut Document, RunError> {
        if self.is_stale {
            let log = run.inner.runstone.log();
            // What was queued before this is decided when it returns.
            log.sync_blocking()?;
            *self = Self::of(sessions::state(log, run.id())?);
        }
        Ok(&mut self.document)
    }

    /// A change of so many bytes is recorded and in the document. A snapshot that is due is taken: of
    /// what the log says, so that it never says anything else. That it cannot be is no reason to
    /// refuse the change.
    pub(super) async fn changed(&mut self, run: &Run, bytes: usize) {
        self.is_stale = false;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !self.since.changed(bytes) {
            return;
        }
        let inner = &run.inner;
        match sessions::snapshot(inner.runstone.log(), &inner.held).await {
            Ok(None) => {}
            Ok(Some(bytes)) => self.since.taken(bytes),
            Err(error) => {
                // Not again before as much was changed as a snapshot is due for.
                self.since.taken(sessions::SNAPSHOT_BYTES);
                let code = error.code();
                tracing::warn!(run = run.id(), code, "the session is not snapshotted");
            }
        }
    }
}

/// A run that is being begun. Dropped before it is answered, it is looked for and let go of.
struct Beginning<'a> {
    runstone: &'a Runstone,
    stream: &'a str,
    event_ids: [Uuid; 2],
    is_answered: bool,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Some(fence) = find(self.runstone, &self.event_ids) else {
            return;
        };
        let held = RunHeld::new(self.stream, fence);
        let let_go = let_go(self.runstone, &held, LetGo::Cancelled);
        if let Err(error) = let_go {
            tracing::warn!(
                run = self.stream,
                code = error.code(),
                "a run was begun and not let go of"
            );
        }
    }
}

/// Whether a request that failed so may be recorded all the same.
pub(super) fn is_doubtful(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::OutcomeUnknown { .. } | AppendError::Reopening
    )
}

/// Where the event stands that was on its way under one of these ids, if one was recorded.
pub(super) fn find(log: &Log, ids: &[Uuid]) -> Option<Position> {
    // What was queued before this is decided when it returns. A log that opens again says so first.
    for _ in 0..RETRIES {
        match log.sync_blocking() {
            Err(error) if is_doubtful(&error) => std::thread::yield_now(),
            _ => break,
        }
    }
    let mut records = ids.iter().filter_map(|id| log.record_by_id(*id).ok());
    records.next().map(|record| record.position)
}

pub(super) fn new_id() -> Result<Uuid, EntropyError> {
    let mut random = [0; 16];
    OsEntropy.fill(&mut random)?;
    Ok(Uuid::new_v8(random))
}

fn let_go(log: &Log, held: &RunHeld, why: LetGo) -> Result<Vec<Position>, RunError> {
    runs::record_blocking(log, held, vec![ending(&held.stream, &why.of_session())?])
}

fn ending(stream: &str, ended: &SessionEnded) -> Result<Draft, RunError> {
    Ok(Draft::new(NewEvent::typed(ended, stream)?).control(ended.control()))
}

impl Run {
    /// Its id: the stream that it is recorded in.
    pub fn id(&self) -> &str {
        &self.inner.held.stream
    }

    /// Whether it was there before.
    pub fn is_resumed(&self) -> bool {
        self.inner.is_resumed
    }

    /// A call of a tool that happens once.
    pub fn effect(&self, name: impl Into<String>) -> EffectCall {
        EffectCall::new(self, name.into())
    }

    /// A tool whose every call happens once: a function, wrapped.
    pub fn tool(&self, name: impl Into<String>) -> Tool {
        Tool::new(self, name.into())
    }

    /// A step of a workflow.
    pub fn step(&self, node: impl Into<String>) -> Step {
        Step::new(self, node.into())
    }

    /// Its session.
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }

    /// Records what a call of a model used. Reported again under its id, the last report counts.
    ///
    /// # Errors
    ///
    /// [`RunError::Stale`] if somebody else holds the run meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded; reported again under its id it counts once.
    pub async fn llm_call(&self, usage: LlmCallCompleted) -> Result<Position, RunError> {
        let draft = Draft::new(self.event(&usage)?)
            .control(usage.control())
            .keyed(usage.keyed());
        self.record(draft).await
    }

    /// [`llm_call`](Self::llm_call) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    pub fn llm_call_blocking(&self, usage: LlmCallCompleted) -> Result<Position, RunError> {
        block_on(self.llm_call(usage))
    }

    /// Appends an event of a free namespace to the run; its stream is the run's.
    ///
    /// # Errors
    ///
    /// [`RunError::Stale`] if somebody else holds the run meanwhile, or it ended;
    /// [`AppendError::OwnedNamespace`] for a type that commands write.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the event may be recorded.
    pub async fn append(&self, mut event: NewEvent) -> Result<Position, RunError> {
        if namespace::is_owned(&event.event_type) {
            let event_type = event.event_type;
            return Err(AppendError::OwnedNamespace { event_type }.into());
        }
        self.id().clone_into(&mut event.stream);
        self.record(Draft::new(event)).await
    }

    /// [`append`](Self::append) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_blocking(&self, event: NewEvent) -> Result<Position, RunError> {
        block_on(self.append(event))
    }

    /// Takes its session and its steps back to how they stood after a position of the log. What was
    /// called, spent and approved stays so: a call that was made since then is not made again.
    ///
    /// # Errors
    ///
    /// [`RunError::NoPoint`] if the run had not begun; [`RunError::Stale`] if somebody else holds it
    /// meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded. The session is as the log has it, either way.
    pub async fn roll_back(&self, to: Position) -> Result<Position, RunError> {
        let inner = &self.inner;
        let mut cached = inner.document.lock().await;
        cached.is_stale = true;
        let back = RollBack::new(self.id(), to).fence(inner.held.fence);
        runs::roll_back(&inner.runstone, &back).await
    }

    /// [`roll_back`](Self::roll_back) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`roll_back`](Self::roll_back).
    pub fn roll_back_blocking(&self, to: Position) -> Result<Position, RunError> {
        block_on(self.roll_back(to))
    }

    /// Lets go of it until somebody decides; [`RunBuilder::resume`] goes on.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the run is paused, or let go of as one that was dropped without a word.
    pub async fn pause(self, node: Option<String>) -> Result<Position, RunError> {
        let paused = RunPaused {
            node,
            approval_id: None,
        };
        let at = self.record(Draft::new(self.event(&paused)?)).await?;
        self.inner.has_ended.store(true, Ordering::Relaxed);
        Ok(at)
    }

    /// [`pause`](Self::pause) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub fn pause_blocking(self, node: Option<String>) -> Result<Position, RunError> {
        block_on(self.pause(node))
    }

    /// Lets go of it before its end, and says why; [`RunBuilder::resume`] goes on. Dropped without a
    /// word it is [`LetGo::Cancelled`], dropped by a panic [`LetGo::Failed`].
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it is let go of, for this reason or as one that was dropped without a
    /// word.
    pub async fn let_go(self, why: LetGo) -> Result<Position, RunError> {
        let at = self.record(ending(self.id(), &why.of_session())?).await?;
        self.inner.has_ended.store(true, Ordering::Relaxed);
        Ok(at)
    }

    /// [`let_go`](Self::let_go) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`let_go`](Self::let_go).
    pub fn let_go_blocking(self, why: LetGo) -> Result<Position, RunError> {
        block_on(self.let_go(why))
    }

    /// Ends it, and its session with it: as completed, unless it was cancelled or failed. Both are
    /// recorded in one step; the answer is where the end of the run stands.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the run has ended, or is let go of as one that was dropped without a
    /// word.
    pub async fn finish(self, status: Status) -> Result<Position, RunError> {
        self.end(status, None, None).await
    }

    /// Ends it with what it gives back, or why it ended so.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call); [`RunError::Event`] if the value does not serialise.
    ///
    /// # Cancel safety
    ///
    /// As [`finish`](Self::finish).
    pub async fn finish_with<T: Serialize + ?Sized>(
        self,
        status: Status,
        value: Option<&T>,
        reason: Option<String>,
    ) -> Result<Position, RunError> {
        let value = value.map(raw).transpose()?;
        self.end(status, value, reason).await
    }

    /// [`finish`](Self::finish) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_blocking(self, status: Status) -> Result<Position, RunError> {
        block_on(self.finish(status))
    }

    /// [`finish_with`](Self::finish_with) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`finish_with`](Self::finish_with).
    pub fn finish_with_blocking<T: Serialize + ?Sized>(
        self,
        status: Status,
        value: Option<&T>,
        reason: Option<String>,
    ) -> Result<Position, RunError> {
        block_on(self.finish_with(status, value, reason))
    }

    async fn end(
        self,
        status: Status,
        value: Option<Box<RawValue>>,
        reason: Option<String>,
    ) -> Result<Position, RunError> {
        let finished = RunFinished {
            status: status.as_str().to_owned(),
            value,
            reason,
        };
        let session = ending(self.id(), &status.of_session())?;
        let run = Draft::new(self.event(&finished)?).control(finished.control());
        let at = self.record_all(vec![session, run]).await?;
        self.inner.has_ended.store(true, Ordering::Relaxed);
        tracing::info!(run = self.id(), status = status.as_str(), "run ends");
        Ok(at)
    }

    pub(super) fn event<T: TypedEvent>(&self, event: &T) -> Result<NewEvent, RunError> {
        Ok(NewEvent::typed(event, self.id())?)
    }

    pub(super) async fn record(&self, draft: Draft) -> Result<Position, RunError> {
        self.record_all(vec![draft]).await
    }

    /// Records all or none of them; the answer is where the last one stands.
    async fn record_all(&self, drafts: Vec<Draft>) -> Result<Position, RunError> {
        let inner = &self.inner;
        let positions = runs::record(&inner.runstone, &inner.held, drafts).await?;
        positions
            .last()
            .copied()
            .ok_or_else(|| AppendError::Empty.into())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.kept.take());
        if *self.has_ended.get_mut() {
            return;
        }
        let how = if std::thread::panicking() {
            LetGo::Failed
        } else {
            LetGo::Cancelled
        };
        let recorded = let_go(&self.runstone, &self.held, how);
        // A log that is closed already holds the run no longer than its opening lasted.
        if let Err(error) = recorded {
            tracing::warn!(
                run = self.held.stream,
                code = error.code(),
                "run let go of, unrecorded"
            );
        }
    }
}

/// JSON of a value.
pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, RunError> {
    serde_json::value::to_raw_value(value).map_err(|error| RunError::Json(error.to_string()))
}
