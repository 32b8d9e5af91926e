//! A helper, from its birth to its end.

use super::block::block_on;
use super::handle::Runstone;
use super::helper::{
    HelperEnd, HelperExit, HelperOptions, HelperTask, helper_loop, helper_loop_blocking,
};
use runstone_codec::Position;
use runstone_projections::agents::{
    AgentChange, AgentError, Helper, NewHelper, RetireReason, Spawned,
};
use runstone_projections::trays::TrayError;
use runstone_store::ErrorKind;
use std::fmt::Display;
use std::future::Future;

/// Since when a helper is gone, or why it is not.
pub type Retired = Result<Option<Position>, AgentError>;

/// What goes wrong before a helper works.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// It is not spawned, or as many helpers run as may: then it is there, and can be powered on.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Its tray is not opened.
    #[error(transparent)]
    Tray(#[from] TrayError),
}

impl HelperError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Agent(error) => error.code(),
            Self::Tray(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Agent(error) => error.kind(),
            Self::Tray(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Agent(error) => error.is_retryable(),
            Self::Tray(error) => error.is_retryable(),
        }
    }
}

/// The word that is recorded. It has none for a future that was dropped: whoever ran it ended it.
fn reason(exit: HelperExit) -> RetireReason {
    match exit {
        HelperExit::TrayDrained => RetireReason::TrayDrained,
        HelperExit::TtlExpired => RetireReason::TtlExpired,
        HelperExit::MaxTasks => RetireReason::MaxTasks,
        HelperExit::ClaimErrors => RetireReason::ClaimErrors,
        HelperExit::Panicked => RetireReason::Failed,
        HelperExit::ParentRequest | HelperExit::Dropped => RetireReason::ParentRequest,
    }
}

/// What a helper goes by: besides what it is given its name, its time, and whether it must exit.
fn options(own: &Runstone, spawned: &Spawned, given: &HelperOptions) -> HelperOptions {
    let name = spawned.name.clone();
    let messages = own.messages();
    let must_exit = move || match messages.attend_blocking(&name, None) {
        Ok(heard) => heard.must_exit,
        // Whoever was revoked does nothing any more. Else it is asked again.
        Err(error) => error.code() == "agent_revoked",
    };
    given
        .clone()
        .holder(spawned.name.as_str())
        .no_later_than_us(spawned.expires_at_us)
        .or_stop_when(must_exit)
}

/// Spawns it, and opens its tray if it is not open.
async fn spawned(parent: &Runstone, helper: &NewHelper) -> Result<Spawned, HelperError> {
    let agents = parent.agents();
    let spawned = match agents.spawn(helper).await {
        Err(taken @ AgentError::NameTaken { .. }) => waiting(parent, helper)?.ok_or(taken)?,
        spawned => spawned?,
    };
    if !spawned.is_running {
        // Room may have come meanwhile; else this says why it does not run.
        let on = AgentChange::Power {
            runs: true,
            reason: None,
        };
        agents.change(&spawned.name, &on).await?;
    }
    match parent.trays().open(&spawned.tray).await {
        Ok(_) | Err(TrayError::Closed { .. }) => Ok(spawned),
        Err(error) => Err(error.into()),
    }
}

/// A helper that was spawned so before and never ran, because as many did as may: it can run now.
fn waiting(parent: &Runstone, helper: &NewHelper) -> Result<Option<Spawned>, HelperError> {
    let Some(agent) = parent.agents().find(&helper.name)? else {
        return Ok(None);
    };
    let never_ran = agent.is_stopped && !agent.is_revoked && agent.since == agent.registered;
    let own = parent.principal().0;
    let is_so = |was: &Helper| {
        let tray = helper.tray.as_ref();
        was.parent == own && tray.is_none_or(|tray| *tray == was.tray) && !was.is_expired
    };
    let waits = never_ran && agent.helper.as_ref().is_some_and(is_so);
    Ok(agent.spawned().filter(|_| waits))
}

/// Spawns a helper, drains its tray, and retires it, whatever ends it: [`helper_loop`] in one call
/// with [`Agents`](crate::Agents).
///
/// The helper is one of whoever `parent` acts as; `own` is the handle by which it works, looks at its
/// messages and retires: with its own credential, or that of a person, or without one. It stops when
/// its time is over, or when it must exit: by an order, because its parent let it go or must exit
/// itself, or because it was revoked. That is looked at between tasks and whenever a lease is renewed,
/// which records what is to be recorded of an order. What it held when it was let go its tray gives to
/// others at once; what it claimed by the credential of a person is that person's, until it stops or
/// the lease ends. After a panic of the work it is recorded that it failed; a future that is dropped is
/// recorded as its parent's request.
///
/// ```
/// use runstone::agents::NewHelper;
/// use runstone::tasks::NewTask;
/// use runstone::{HelperExit, HelperOptions, Runstone, run_helper_blocking};
/// use std::time::Duration;
///
/// let log = Runstone::memory()?;
/// let trays = log.trays();
/// trays.open_blocking("invoices")?;
/// trays.add_blocking("invoices", &NewTask::new("a").into())?;
///
/// let helper = NewHelper::new("h-1").tray("invoices").ttl(Duration::from_secs(600));
/// let work = |_: &_| Ok::<_, String>("paid".to_owned());
/// let end = run_helper_blocking(&log, &log, &helper, &HelperOptions::new(), work)?;
/// assert_eq!((end.tasks_done, end.retired_reason), (1, HelperExit::TrayDrained));
/// assert!(end.retire_result?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`HelperError`]: it was not spawned, may not run, or has no tray; then nothing was worked on.
///
/// # Cancel safety
///
/// As [`helper_loop`]. Dropped before it works, it may be there until its time is over.
pub async fn run_helper<W, Working, E>(
    parent: &Runstone,
    own: &Runstone,
    helper: &NewHelper,
    options: &HelperOptions,
    work: W,
) -> Result<HelperEnd<Retired>, HelperError>
where
    W: FnMut(HelperTask) -> Working,
    Working: Future<Output = Result<String, E>>,
    E: Display,
{
    let spawned = spawned(parent, helper).await?;
    let options = self::options(own, &spawned, options);
    let retire = retire(own, &spawned);
    Ok(helper_loop(own, &spawned.tray, &options, work, retire).await)
}

/// [`run_helper`] for callers without a runtime; the work is that of
/// [`helper_loop_blocking`].
///
/// # Errors
///
/// As [`run_helper`].
///
/// # Panics
///
/// As the work does, after it has given the task back and retired.
pub fn run_helper_blocking<W, E>(
    parent: &Runstone,
    own: &Runstone,
    helper: &NewHelper,
    options: &HelperOptions,
    work: W,
) -> Result<HelperEnd<Retired>, HelperError>
where
    W: FnMut(&HelperTask) -> Result<String, E>,
    E: Display,
{
    let spawned = block_on(spawned(parent, helper))?;
    let options = self::options(own, &spawned, options);
    let retire = retire(own, &spawned);
    Ok(helper_loop_blocking(
        own,
        &spawned.tray,
        &options,
        work,
        retire,
    ))
}

/// It is recorded that the helper is gone, and why.
fn retire(own: &Runstone, spawned: &Spawned) -> impl FnMut(HelperExit) -> Retired + Send + use<> {
    let (agents, name) = (own.agents(), spawned.name.clone());
    move |exit| agents.retire_blocking(&name, reason(exit))
}
