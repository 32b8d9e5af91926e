//! A step of a workflow, done once a run.

use super::block::block_on;
use super::run::Run;
use runstone_codec::{Control, Draft, Keyed, Position, TypedEvent};
use runstone_projections::events::{
    ErrorSaid, StepBlocked, StepCompleted, StepFailed, StepSkipped, StepStarted, control, step_keys,
};
use runstone_projections::runs::RunError;
use runstone_projections::upcasters;
use runstone_store::{Item, Payload, Query, Read};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::sync::PoisonError;

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
    pub async fn run<T, E, F, C>(self, work: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
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
        let attempt = known.attempts + 1;
        let started = StepStarted {
            node: self.node.clone(),
            kind: self.kind.clone(),
            attempt,
        };
        self.record(&started, attempt).await?;
        match work().await {
            Ok(output) => {
                let json = serde_json::value::to_raw_value(&output);
                let json = json.map_err(|error| RunError::Json(error.to_string()))?;
                let completed = StepCompleted {
                    node: self.node.clone(),
                    attempt,
                    output: Some(json.clone()),
                    confidence: None,
                };
                let position = self.record(&completed, attempt).await?;
                decoded(position, json.get().as_bytes())
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
                self.record(&failed, attempt).await?;
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

    /// Records that it may not go on.
    ///
    /// # Errors
    ///
    /// [`RunError::Stale`] if somebody else holds the run meanwhile.
    pub async fn block(self, by: impl Into<String>) -> Result<Position, RunError> {
        let blocked = StepBlocked {
            node: self.node.clone(),
            by: by.into(),
        };
        self.record(&blocked, 0).await
    }

    /// Records that it is not to be done.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block).
    pub async fn skip(self, because: impl Into<String>) -> Result<Position, RunError> {
        let skipped = StepSkipped {
            node: self.node.clone(),
            because: because.into(),
        };
        self.record(&skipped, 0).await
    }

    async fn record<T: TypedEvent>(&self, event: &T, attempt: u64) -> Result<Position, RunError> {
        let mut draft = Draft::new(self.run.event(event)?);
        for keyed in step_keys(&self.node) {
            draft = draft.keyed(keyed);
        }
        if attempt > 0 {
            draft = draft.control(Control::new().u64(control::STEP_ATTEMPT, attempt));
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
        let events = Item::new()
            .stream(self.run.id())
            .tag(format!("{}:{hex}", control::STEP_LABEL));
        for record in log.read(Read::new(Query::from(events)))? {
            let record = record?;
            match (record.header.event_type.as_str(), &record.payload) {
                (StepStarted::TYPE, _) => known.attempts += 1,
                (StepCompleted::TYPE, Payload::Open(payload)) => {
                    let completed = upcasters().decode::<StepCompleted>(&record.header, payload);
                    let output = completed.ok().map(|completed| match completed.output {
                        Some(output) => output.get().as_bytes().to_vec(),
                        None => b"null".to_vec(),
                    });
                    known.output = Some((record.position, output));
                }
                (StepCompleted::TYPE, _) => known.output = Some((record.position, None)),
                _ => {}
            }
        }
        Ok(known)
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
            Self::Replay { .. } => "output_of_other_type",
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
