//! A program that runs again against what was recorded of it; see [`runstone_replay::again`].
//!
//! It gets a log of its own, in memory, in which everything is as ever, but for three things: a call
//! gets the answer that was recorded, or is a divergence; neither budgets nor people are asked, as
//! what they said is in the recording; and a run that it resumes begins anew.

use super::block::{block_on, within};
use super::handle::Runstone;
use runstone_projections::events::ErrorSaid;
use runstone_projections::settings::{ApprovalFrom, Settings, SettingsError};
use runstone_replay::again::{Answer, Branch, Called, Divergence, Place, Report, Tape, Turn};
use runstone_store::{ErrorKind, OpenError};
use serde_json::Value;
use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The tape of a handle.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) tape: Tape,
    /// Something was begun or ended.
    turned: Notify,
    is_watched: AtomicBool,
}

impl Again {
    pub(super) fn new(tape: Tape) -> Self {
        Self {
            tape,
            turned: Notify::new(),
            is_watched: AtomicBool::new(false),
        }
    }

    /// What a call gets. An answer comes after all that came before it the first time. What was
    /// never answered is waited for: the program may have gone on without it.
    pub(super) async fn call(
        &self,
        run: &str,
        branch: Option<&Branch>,
        call: &Called,
    ) -> Result<(Turn, Option<Ending<'_>>), Box<Divergence>> {
        let turn = self.turn(run, || self.tape.call(run, branch, call)).await?;
        let Turn::Answer { place, answer, .. } = &turn else {
            return Ok((turn, None));
        };
        let ending = self.ending(place.clone());
        if matches!(answer, Answer::Unknown) {
            within(Box::pin(pending::<()>()), self.tape.patience()).await;
        }
        self.due(place).await;
        Ok((turn, Some(ending)))
    }

    /// What a step gets. Where it stands it ends when that is [`due`](Self::due).
    pub(super) async fn step(
        &self,
        run: &str,
        branch: Option<&Branch>,
        step: &Branch,
    ) -> Result<Option<Ending<'_>>, Box<Divergence>> {
        match self.turn(run, || self.tape.step(run, branch, step)).await? {
            Turn::Step(place) => Ok(Some(self.ending(place))),
            _ => Ok(None),
        }
    }

    /// Waits until something may end.
    async fn due(&self, place: &Place) {
        let is_due = || self.tape.is_due(place).then_some(());
        self.wait(place.run(), is_due).await;
    }

    fn ending(&self, place: Place) -> Ending<'_> {
        Ending { again: self, place }
    }

    /// Waits until something has its turn.
    async fn turn(
        &self,
        run: &str,
        ask: impl Fn() -> Result<Turn, Box<Divergence>>,
    ) -> Result<Turn, Box<Divergence>> {
        let asked = || match ask() {
            Ok(Turn::NotYet) => None,
            turn => Some(turn),
        };
        let turn = self.wait(run, asked).await;
        self.turned.notify_waiters();
        turn.unwrap_or(Ok(Turn::NotYet))
    }

    /// Asks until there is an answer, each time that something was begun or ended. If nothing is for
    /// a while, what is waited for is taken for not done.
    async fn wait<T>(&self, run: &str, ask: impl Fn() -> Option<T>) -> Option<T> {
        let mut watching = None;
        loop {
            let mut turned = Box::pin(self.turned.notified());
            turned.as_mut().enable();
            if let Some(answer) = ask() {
                return Some(answer);
            }
            // One of all who wait watches the clock.
            if watching.is_none() && !self.is_watched.swap(true, Ordering::AcqRel) {
                watching = Some(Watching(self));
            }
            if watching.is_none() {
                turned.await;
            } else if within(turned, self.tape.patience()).await.is_none() {
                self.tape.give_up_waiting(run);
                self.turned.notify_waiters();
                return ask();
            }
        }
    }
}

/// Whoever watches the clock. When it is gone another one does.
struct Watching<'a>(&'a Again);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.is_watched.store(false, Ordering::Release);
        self.0.turned.notify_waiters();
    }
}

/// Something that goes on; dropped, it has ended, or nobody wants to know any more.
pub(super) struct Ending<'a> {
    again: &'a Again,
    place: Place,
}

impl Ending<'_> {
    /// Waits until it may end.
    pub(super) async fn due(&self) {
        self.again.due(&self.place).await;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.again.tape.ended(&self.place);
        self.again.turned.notify_waiters();
    }
}

/// Why a call of a program that runs again has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnswered {
    /// It failed when it was recorded. It says what it said then.
    #[error("{}", .error.message)]
    Failed {
        /// What it said.
        error: ErrorSaid,
        /// Position of the event that says so.
        position: u64,
    },
    /// It was refused when it was recorded.
    #[error("`{name}` was refused when it was recorded, at position {position}: {why}")]
    Refused {
        /// What was called.
        name: String,
        /// A code for why.
        why: String,
        /// Position of the event that says so.
        position: u64,
    },
    /// Nobody recorded what came of it.
    #[error("the recording does not say what came of `{name}` (position {position})")]
    Unknown {
        /// What was called.
        name: String,
        /// Position of the claim.
        position: u64,
    },
    /// It is not what was recorded here.
    #[error("{0}")]
    Diverged(Box<Divergence>),
}

impl NotAnswered {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "tool_failed",
            Self::Refused { why, .. } => refused(why),
            Self::Unknown { .. } => "answer_not_recorded",
            Self::Diverged(_) => "diverged",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { .. } | Self::Refused { .. } => ErrorKind::Refused,
            Self::Unknown { .. } => ErrorKind::Incomplete,
            Self::Diverged(_) => ErrorKind::Conflict,
        }
    }

    /// Whether the same call may be answered later: never, the recording stays as it is.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The code of the error that a call was refused with.
fn refused(why: &str) -> &'static str {
    match why {
        "not_asked" | "pending" | "rejected" | "other_arguments" | "spent" | "expired" => {
            "not_approved"
        }
        "exceeded" => "budget_exceeded",
        "outcome_unknown" => "effect_unknown",
        "attempts_exhausted" => "attempts_exhausted",
        "failed_for_good" => "failed_for_good",
        "key_conflict" => "key_conflict",
        _ => "call_was_refused",
    }
}

/// Why a program could not run again, or did something else than was recorded.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunAgainError {
    /// It did something else.
    #[error("{0}")]
    Diverged(Report),
    /// No log in memory could be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The settings of the recording are not valid.
    #[error(transparent)]
    Settings(Box<SettingsError>),
}

impl RunAgainError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Diverged(_) => "diverged",
            Self::Open(error) => error.code(),
            Self::Settings(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Diverged(_) => ErrorKind::Conflict,
            Self::Open(error) => error.kind(),
            Self::Settings(error) => error.kind(),
        }
    }

    /// Whether the same program may run again later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_retryable())
    }
}

/// As for people: a test that returns it is told by this what is different.
impl fmt::Debug for RunAgainError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl From<SettingsError> for RunAgainError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(Box::new(error))
    }
}

impl Runstone {
    /// A log in memory for a program that runs again: what it calls in runs of the tape is answered
    /// by it. [`run_again`] does this and looks at the report.
    ///
    /// # Errors
    ///
    /// [`RunAgainError::Open`] and [`RunAgainError::Settings`].
    pub fn against(tape: Tape) -> Result<Self, RunAgainError> {
        let log = Self::memory()?;
        if let Some(settings) = tape.settings() {
            let json = serde_json::to_vec(settings).unwrap_or_default();
            let mut settings = Settings::from_json(&json)?;
            settings.approvals.approval_from = ApprovalFrom::None;
            settings.record(&log)?;
        }
        Ok(log.with_tape(Again::new(tape)))
    }

    /// The recording that it runs against, if it does.
    pub fn tape(&self) -> Option<&Tape> {
        self.again().map(|again| &again.tape)
    }
}

/// Runs a program again: it gets another handle, and has to do what was recorded.
///
/// ```
/// use runstone::replay::again::Recording;
/// use runstone::{Runstone, Status, run_again};
///
/// async fn agent(log: Runstone, usd: u32) -> Result<u32, Box<dyn std::error::Error>> {
///     let run = log.run("bot").resume_or_start("run-1").await?;
///     let paid = run.effect("pay").args(&usd).call(|| async { Ok::<_, std::io::Error>(usd) });
///     let paid = paid.await?;
///     run.finish(Status::Success).await?;
///     Ok(paid)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Runstone::memory()?;
/// agent(log.clone(), 12).await?;
///
/// // Later, in a test; the recording is a file beside it.
/// let recording = Recording::of(&log, ["run-1"])?;
/// assert_eq!(run_again(recording.clone(), |log| agent(log, 12)).await??, 12);
/// let other = run_again(recording, |log| agent(log, 13)).await.unwrap_err();
/// assert!(other.to_string().starts_with("run `run-1`: a call with other arguments"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`RunAgainError::Diverged`] if it did something else, or not all, whatever it returned.
///
/// # Cancel safety
///
/// Dropped, it drops the program where it waits. What it recorded was in memory.
pub async fn run_again<T, F, C>(recording: impl Into<Tape>, program: F) -> Result<T, RunAgainError>
where
    F: FnOnce(Runstone) -> C,
    C: Future<Output = T>,
{
    let log = Runstone::against(recording.into())?;
    let output = program(log.clone()).await;
    match log.tape().map(Tape::report) {
        Some(report) if !report.is_same() => Err(RunAgainError::Diverged(report)),
        _ => Ok(output),
    }
}

/// [`run_again`] for programs without a runtime.
///
/// # Errors
///
/// As [`run_again`].
pub fn run_again_blocking<T>(
    recording: impl Into<Tape>,
    program: impl FnOnce(Runstone) -> T,
) -> Result<T, RunAgainError> {
    block_on(run_again(recording, |log| async { program(log) }))
}

/// Arguments as they are compared: `null` is none.
pub(super) fn args_of(json: Option<&[u8]>) -> Option<Value> {
    let args: Option<Value> = json.and_then(|json| serde_json::from_slice(json).ok());
    args.filter(|args| !args.is_null())
}

/// A test that a program still does what was recorded of it: a file that `runstone export --calls`
/// wrote, named from the folder of the package, and what is given the handle.
///
/// ```ignore
/// #[tokio::test]
/// async fn it_still_makes_the_same_calls() {
///     runstone::assert_runs_again!("tests/recordings/run-1.jsonl", agent);
/// }
/// ```
#[macro_export]
macro_rules! assert_runs_again {
    ($recording:expr, $program:expr) => {{
        let path = ::std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join($recording);
        let recording = match $crate::replay::again::Recording::open(&path) {
            Ok(recording) => recording,
            Err(error) => panic!("{error}"),
        };
        match $crate::run_again(recording, $program).await {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }};
}
