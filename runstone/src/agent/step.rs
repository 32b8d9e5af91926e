//! A step of a workflow, done once a run.

use super::again::Ending;
use super::block::block_on;
use super::branch::{self, InStep};
use super::run::{Run, new_id, raw};
use runstone_codec::{Control, Draft, EntropyError, Keyed, NewEvent, Position, TypedEvent};
use runstone_projections::DecodeRecord as _;
use runstone_projections::events::{
    ErrorSaid, LlmCallCompleted, StepBlocked, StepCompleted, StepFailed, StepOutput, StepSkipped,
    StepStarted, control, step_keys,
};
use runstone_projections::runs::{RunError, Told};
use runstone_replay::again::{Branch, Divergence};
use runstone_store::{ErrorKind, Item};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::sync::{Arc, PoisonError};

/// A node of a workflow: what it is, and then [`run`](Self::run).
#[derive(Debug)]
#[must_use = "nothing is done until `run`"]
pub struct Step {
    run: Run,
    node: String,
    kind: Option<String>,
}

/// What the run knows of a step.
struct Known {
    attempts: u64,
    /// Where it was completed, and its output; none if that was erased or cannot be read.
    output: Option<(Position, Option<Vec<u8>>)>,
}

impl Step {
    pub(super) fn new(run: &Run, node: String) -> Self {
        Self {
            run: run.clone(),
            node,
            kind: None,
        }
    }

    /// What kind of node.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Does it, unless this run has done it: then this is its recorded output. Calls of tools in it
    /// are guarded on their own: a step that was interrupted is done again, they are not.
    ///
    /// # Errors
    ///
    /// [`StepError::Work`] if it failed; it can be done again.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its work has ended, it is done again the next time; after that, it may be recorded as
    /// done.
    pub async fn run<T, E, F, C>(self, work: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
    {
        self.run_reported(|| async { work().await.map(StepReport::new) })
            .await
    }

    /// [`run`](Self::run) of work that says more of itself than its output: what it used, and what
    /// it changes in the session's document. That change is recorded with the step: either both
    /// stand or neither.
    ///
    /// ```
    /// # use runstone::{Runstone, StepReport};
    /// # use serde_json::json;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let log = Runstone::memory()?;
    /// # let run = log.run("bot").resume_or_start("run-1").await?;
    /// let plan = run.step("plan").run_reported(|| async {
    ///     let report = StepReport::new("look, then pay".to_owned());
    ///     Ok::<_, std::io::Error>(report.structured(json!({"plan": ["look", "pay"]})).tokens(120))
    /// });
    /// assert_eq!(plan.await?, "look, then pay");
    /// assert_eq!(run.session().document().await?["plan"], json!(["look", "pay"]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn run_reported<T, E, F, C>(self, work: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
        F: FnOnce() -> C,
        C: Future<Output = Result<StepReport<T>, E>>,
    {
        let _doing = Doing::begin(&self.run, &self.node).ok_or_else(|| StepError::InProgress {
            node: self.node.clone(),
        })?;
        let known = self.known()?;
        match known.output {
            Some((position, Some(output))) => return decoded(position, &output),
            Some((position, None)) => return Err(StepError::Erased { position }),
            None => {}
        }
        let attempt = known.attempts.saturating_add(1);
        let started = StepStarted {
            node: self.node.clone(),
            kind: self.kind.clone(),
            attempt,
        };
        let attempted = Control::new().u64(control::STEP_ATTEMPT, attempt);
        let (in_step, ending) = self.begin(&started, attempted.clone()).await?;
        let done = branch::inside(in_step, async move { work().await }).await;
        if let Some(ending) = &ending {
            ending.due().await;
        }
        if let (Some(again), Err(_)) = (self.run.inner.runstone.again(), &done) {
            again.tape.failed(self.run.id(), &self.node);
        }
        match done {
            Ok(report) => {
                let (completed, content) = self.completed(&report, attempt)?;
                let position = self.complete(&completed, report.structured).await?;
                decoded(position, content.get().as_bytes())
            }
            Err(error) => {
                let failed = StepFailed {
                    node: self.node.clone(),
                    attempt,
                    error: ErrorSaid {
                        error_type: std::any::type_name::<E>().to_owned(),
                        message: error.to_string(),
                    },
                };
                self.record(&failed, attempted).await?;
                Err(StepError::Work(error))
            }
        }
    }

    /// [`run`](Self::run) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_blocking<T, E>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
    {
        block_on(self.run(|| ready(work())))
    }

    /// [`run_reported`](Self::run_reported) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_reported_blocking<T, E>(
        self,
        work: impl FnOnce() -> Result<StepReport<T>, E>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
    {
        block_on(self.run_reported(|| ready(work())))
    }

    /// Records what a call of a model in this step used. The step's own report of tokens and price
    /// counts only where no call was reported in it.
    ///
    /// # Errors
    ///
    /// [`RunError::Stale`] if somebody else holds the run meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded; reported again under its id it counts once.
    pub async fn llm_call(&self, usage: LlmCallCompleted) -> Result<Position, RunError> {
        let draft = Draft::new(self.run.event(&usage)?)
            .control(usage.control())
            .keyed(usage.keyed())
            .keyed(LlmCallCompleted::keyed_of_step(&self.node));
        self.run.record(draft).await
    }

    /// [`llm_call`](Self::llm_call) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    pub fn llm_call_blocking(&self, usage: LlmCallCompleted) -> Result<Position, RunError> {
        block_on(self.llm_call(usage))
    }

    /// Records that it may not go on.
    ///
    /// # Errors
    ///
    /// [`RunError::Stale`] if somebody else holds the run meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded.
    pub async fn block(self, by: impl Into<String>) -> Result<Position, RunError> {
        let blocked = StepBlocked {
            node: self.node.clone(),
            by: by.into(),
        };
        self.record(&blocked, Control::new()).await
    }

    /// [`block`](Self::block) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block).
    pub fn block_blocking(self, by: impl Into<String>) -> Result<Position, RunError> {
        block_on(self.block(by))
    }

    /// Records that it is not to be done.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block).
    ///
    /// # Cancel safety
    ///
    /// As [`block`](Self::block).
    pub async fn skip(self, because: impl Into<String>) -> Result<Position, RunError> {
        let skipped = StepSkipped {
            node: self.node.clone(),
            because: because.into(),
        };
        self.record(&skipped, Control::new()).await
    }

    /// [`skip`](Self::skip) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`skip`](Self::skip).
    pub fn skip_blocking(self, because: impl Into<String>) -> Result<Position, RunError> {
        block_on(self.skip(because))
    }

    /// Records that it begins, in the step in which its caller is. If the program runs again, the
    /// answer is also when it may end.
    async fn begin<E: Debug + Display>(
        &self,
        started: &StepStarted,
        control: Control,
    ) -> Result<(Arc<InStep>, Option<Ending<'_>>), StepError<E>> {
        let outer = branch::current(self.run.id());
        let again = self.run.inner.runstone.again();
        let node = self.node.clone();
        let step = match again {
            None => Branch {
                node,
                attempt: started.attempt,
            },
            // One that was dropped, or rolled back, is the same attempt again.
            Some(again) => Branch {
                attempt: again.tape.attempt(self.run.id(), &node),
                node,
            },
        };
        let mut ending = None;
        if let Some(again) = again {
            let outer = outer.as_ref().map(|outer| &outer.step);
            let begun = again.step(self.run.id(), outer, &step).await;
            ending = begun.map_err(StepError::Diverged)?;
        }
        let event_id = new_id()?;
        let mut event = self.run.event(started)?.id(event_id);
        event.causation = outer.map(|outer| outer.event_id);
        self.record_event(event, control).await?;
        let run = self.run.id().to_owned();
        let in_step = InStep {
            run,
            step,
            event_id,
        };
        Ok((Arc::new(in_step), ending))
    }

    fn completed<T: Serialize>(
        &self,
        report: &StepReport<T>,
        attempt: u64,
    ) -> Result<(StepCompleted, Box<RawValue>), RunError> {
        let content = raw(&report.content)?;
        let output = StepOutput {
            content: Some(content.clone()),
            structured: report.structured.as_ref().map(raw).transpose()?,
        };
        let completed = StepCompleted {
            node: self.node.clone(),
            attempt,
            output: Some(output),
            confidence: report.confidence,
            tokens: report.tokens,
            usd_micros: report.usd_micros,
            gco2_mg: report.gco2_mg,
        };
        Ok((completed, content))
    }

    /// The session's document is held while a change of it is recorded, as for any other.
    async fn complete(
        &self,
        completed: &StepCompleted,
        structured: Option<Value>,
    ) -> Result<Position, RunError> {
        let Some(patch) = structured else {
            return self.record(completed, completed.control()).await;
        };
        let mut cached = self.run.inner.document.lock().await;
        cached.fresh(&self.run)?;
        cached.is_stale = true;
        let at = self.record(completed, completed.control()).await?;
        cached.document.patch(&patch);
        let structured = completed.output.as_ref();
        let structured = structured.and_then(|output| output.structured.as_ref());
        let bytes = structured.map_or(0, |structured| structured.get().len());
        cached.changed(&self.run, bytes).await;
        Ok(at)
    }

    async fn record<T: TypedEvent>(
        &self,
        event: &T,
        control: Control,
    ) -> Result<Position, RunError> {
        self.record_event(self.run.event(event)?, control).await
    }

    async fn record_event(&self, event: NewEvent, control: Control) -> Result<Position, RunError> {
        let mut draft = Draft::new(event).control(control);
        for keyed in step_keys(&self.node) {
            draft = draft.keyed(keyed);
        }
        self.run.record(draft).await
    }

    fn known(&self) -> Result<Known, RunError> {
        let log = self.run.inner.runstone.log();
        let mut known = Known {
            attempts: 0,
            output: None,
        };
        let scope = log.scope_of_stream(self.run.id())?;
        let scope = scope.unwrap_or_else(|| "default".to_owned());
        let [_, node]: [Keyed; 2] = step_keys(&self.node);
        let Some(digest) = log.keyed_digest(&scope, &node)? else {
            return Ok(known);
        };
        let hex = digest.iter().fold(String::new(), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        });
        let events = Item::new().tag(format!("{}:{hex}", control::STEP_LABEL));
        let told = Told::of(log, self.run.id(), None)?;
        for record in told.read(log, &events) {
            let record = record?;
            match record.header.event_type.as_str() {
                StepStarted::TYPE => known.attempts += 1,
                StepCompleted::TYPE => {
                    let completed = record.decode::<StepCompleted>();
                    let output = completed.ok().map(|completed| {
                        let content = completed.output.and_then(|output| output.content);
                        content.map_or_else(
                            || b"null".to_vec(),
                            |content| content.get().as_bytes().to_vec(),
                        )
                    });
                    known.output = Some((record.position, output));
                }
                _ => {}
            }
        }
        Ok(known)
    }
}

/// What a step gives, and what it says of itself.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it is returned by the work of a step"]
pub struct StepReport<T> {
    content: T,
    structured: Option<Value>,
    confidence: Option<f64>,
    tokens: Option<u64>,
    usd_micros: Option<u64>,
    gco2_mg: Option<u64>,
}

impl<T> StepReport<T> {
    /// Its output alone.
    pub fn new(content: T) -> Self {
        Self {
            content,
            structured: None,
            confidence: None,
            tokens: None,
            usd_micros: None,
            gco2_mg: None,
        }
    }

    /// Changes the document of the run's session by this merge patch (RFC 7396).
    pub fn structured(mut self, patch: Value) -> Self {
        self.structured = Some(patch);
        self
    }

    /// How sure it is of its output, from 0 to 1.
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = Some(confidence);
        self
    }

    /// Tokens of every kind that it used. They count if no call of a model is reported in it.
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// What it cost in millionths of a dollar. It counts if no call of a model is reported in it.
    pub fn usd_micros(mut self, usd_micros: u64) -> Self {
        self.usd_micros = Some(usd_micros);
        self
    }

    /// Grams of carbon dioxide equivalent, in thousandths.
    pub fn gco2_mg(mut self, gco2_mg: u64) -> Self {
        self.gco2_mg = Some(gco2_mg);
        self
    }
}

/// A step that is being done, by one caller at a time.
struct Doing<'a> {
    run: &'a Run,
    node: &'a str,
}

impl<'a> Doing<'a> {
    fn begin(run: &'a Run, node: &'a str) -> Option<Self> {
        let mut steps = run
            .inner
            .steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Only who entered the node takes it out again.
        if steps.insert(node.to_owned()) {
            Some(Self { run, node })
        } else {
            None
        }
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        let steps = self.run.inner.steps.lock();
        steps
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.node);
    }
}

/// Why a step gives no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError<E: Debug + Display> {
    /// The work failed.
    #[error("{0}")]
    Work(E),
    /// Somebody else is doing it in this run.
    #[error("step `{node}` is being done by another caller of this run")]
    InProgress {
        /// The node.
        node: String,
    },
    /// It was done, and its output was erased or cannot be read. It is not done again.
    #[error(
        "the output at position {position} was erased or cannot be read; the step is not done again"
    )]
    Erased {
        /// Where it was.
        position: Position,
    },
    /// It is not recorded.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It runs again, and is not what was recorded here.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// No randomness for the id of its beginning.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It was done, and its recorded output is not of the type that is asked for.
    #[error("the recorded output at position {position} is not what is asked for: {why}")]
    Replay {
        /// Where the output is.
        position: Position,
        /// Why.
        why: String,
    },
}

impl<E: Debug + Display> StepError<E> {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Work(_) => "step_failed",
            Self::InProgress { .. } => "step_in_progress",
            Self::Erased { .. } => "output_erased",
            Self::Run(error) => error.code(),
            Self::Diverged(_) => "diverged",
            Self::Entropy(_) => "entropy_unavailable",
            Self::Replay { .. } => "output_of_other_type",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Work(_) | Self::InProgress { .. } | Self::Erased { .. } => ErrorKind::Refused,
            Self::Run(error) => error.kind(),
            Self::Diverged(_) => ErrorKind::Conflict,
            Self::Entropy(_) => ErrorKind::Storage,
            Self::Replay { .. } => ErrorKind::Usage,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything. A step whose
    /// work failed can be done again, which is for its caller to decide.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InProgress { .. } => true,
            Self::Run(error) => error.is_retryable(),
            Self::Entropy(error) => error.is_retryable(),
            Self::Work(_) | Self::Erased { .. } | Self::Replay { .. } | Self::Diverged(_) => false,
        }
    }
}

impl<E> StepError<E>
where
    E: Debug + Display + Into<Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    /// The error of the work itself, if it is one, with all its causes; else this one. See
    /// [`CallError::into_error`](crate::CallError::into_error).
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Work(error) => error.into(),
            other => Box::new(other),
        }
    }
}

fn decoded<T: DeserializeOwned, E: Debug + Display>(
    position: Position,
    json: &[u8],
) -> Result<T, StepError<E>> {
    serde_json::from_slice(json).map_err(|error| StepError::Replay {
        position,
        why: error.to_string(),
    })
}
