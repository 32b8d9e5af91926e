//! A worker that drains a tray.

use super::block::{block_on, within};
use super::handle::Runstone;
use runstone_codec::Position;
use runstone_projections::Hold;
use runstone_projections::events::TaskCreated;
use runstone_projections::tasks::{TaskError, TaskId};
use runstone_projections::trays::{Claim, Claimed, LEASE_S, TrayError, Trays};
use runstone_store::micros;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug, Display};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Consecutive errors of claiming that end it.
const CLAIM_ERRORS: u32 = 5;
/// The pause after the first of them; after each further one it is as much longer.
const CLAIM_PAUSE: Duration = Duration::from_secs(15);
/// The first pause before an outcome is recorded again; each is twice as long as the one before.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_SETTLE_PAUSE: Duration = Duration::from_secs(15);

/// A pause, under way.
pub type Pause<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How a helper waits. Tests wait for nothing.
pub trait Sleeper: Send + Sync + Debug {
    /// Waits for so long.
    fn sleep(&self, time: Duration) -> Pause<'_>;
}

/// By the machine's clock, with any runtime and without one.
#[derive(Debug, Clone, Copy, Default)]
struct Really;

impl Sleeper for Really {
    fn sleep(&self, time: Duration) -> Pause<'_> {
        Box::pin(async move {
            within(Box::pin(pending::<()>()), time).await;
        })
    }
}

type MustStop = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a helper goes by.
#[derive(Clone)]
#[must_use = "options are nothing until a helper has them"]
pub struct HelperOptions {
    holder: Option<String>,
    max_tasks: Option<u64>,
    ttl_deadline_us: Option<u64>,
    lease: Duration,
    poll: Duration,
    sleeper: Arc<dyn Sleeper>,
    must_stop: Option<MustStop>,
}

impl Default for HelperOptions {
    fn default() -> Self {
        Self {
            holder: None,
            max_tasks: None,
            ttl_deadline_us: None,
            lease: Duration::from_secs(900),
            poll: Duration::from_secs(15),
            sleeper: Arc::new(Really),
            must_stop: None,
        }
    }
}

impl Debug for HelperOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HelperOptions")
            .field("holder", &self.holder)
            .field("max_tasks", &self.max_tasks)
            .field("ttl_deadline_us", &self.ttl_deadline_us)
            .field("lease", &self.lease)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

impl HelperOptions {
    /// Until the tray is drained, with leases of 900 s, looking every 15 s where it is blocked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who holds tasks, for others to see: a pseudonym. Default: who the handle is to others.
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// After so many tasks that are done it retires.
    pub fn max_tasks(mut self, tasks: u64) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// At this time it retires: Unix microseconds, by the clock that leases go by
    /// ([`Log::steady_us`](crate::Log::steady_us)).
    pub fn ttl_deadline_us(mut self, deadline_us: u64) -> Self {
        self.ttl_deadline_us = Some(deadline_us);
        self
    }

    /// At this time it retires, if not before.
    pub(super) fn no_later_than_us(self, deadline_us: u64) -> Self {
        let deadline_us = self
            .ttl_deadline_us
            .map_or(deadline_us, |end| end.min(deadline_us));
        self.ttl_deadline_us(deadline_us)
    }

    /// It retires when this says so, too.
    pub(super) fn or_stop_when(self, must_stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        match self.must_stop.clone() {
            Some(other) => self.stop_when(move || other() || must_stop()),
            None => self.stop_when(must_stop),
        }
    }

    /// How long a task is held without a word; it is renewed at a third. The nearest of those that
    /// trays take ([`LEASE_S`]).
    pub fn lease(mut self, lease: Duration) -> Self {
        let [shortest, longest] =
            [LEASE_S.start(), LEASE_S.end()].map(|end| Duration::from_secs(*end));
        self.lease = lease.clamp(shortest, longest);
        self
    }

    /// How long it waits while others hold what is left, or something keeps it from going on.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// How it waits.
    pub fn sleeper(mut self, sleeper: Arc<dyn Sleeper>) -> Self {
        self.sleeper = sleeper;
        self
    }

    /// It retires when this says so, which is asked between tasks and whenever a lease is renewed.
    pub fn stop_when(mut self, must_stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.must_stop = Some(Arc::new(must_stop));
        self
    }
}

/// Why a helper retires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HelperExit {
    /// Every task of the tray has ended.
    TrayDrained,
    /// Its time is over.
    TtlExpired,
    /// It did as many tasks as it was to do.
    MaxTasks,
    /// It could not claim, again and again.
    ClaimErrors,
    /// It was told to.
    ParentRequest,
    /// The work panicked.
    Panicked,
    /// Its future was dropped.
    Dropped,
}

impl HelperExit {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrayDrained => "tray_drained",
            Self::TtlExpired => "ttl_expired",
            Self::MaxTasks => "max_tasks",
            Self::ClaimErrors => "claim_errors",
            Self::ParentRequest => "parent_request",
            Self::Panicked => "panicked",
            Self::Dropped => "dropped",
        }
    }
}

impl Display for HelperExit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What came of a helper.
#[derive(Debug)]
#[non_exhaustive]
pub struct HelperEnd<R> {
    /// Tasks that are done, as recorded.
    pub tasks_done: u64,
    /// Tasks that failed, were given back, or were lost to somebody else.
    pub tasks_not_done: u64,
    /// Why it retired.
    pub retired_reason: HelperExit,
    /// What retiring answered.
    pub retire_result: R,
    /// The last error of claiming, if that is why.
    pub claim_error: Option<TrayError>,
}

/// A task that a helper holds.
#[derive(Debug, Clone)]
pub struct HelperTask {
    claimed: Claimed,
    signal: Arc<Signal>,
}

impl HelperTask {
    /// Which task.
    pub fn id(&self) -> &TaskId {
        &self.claimed.task
    }

    /// What it says of itself; `None` if that was erased.
    pub fn said(&self) -> Option<&TaskCreated> {
        self.claimed.said.as_ref()
    }

    /// Which attempt, from 1.
    pub fn attempt(&self) -> u64 {
        self.claimed.attempt
    }

    /// Position of the claim.
    pub fn fence(&self) -> Position {
        self.claimed.fence
    }

    /// Whether the work should come to an end: the helper's time is over, it was told to stop, or
    /// somebody else has the task. Work that blocks its thread asks this now and then.
    pub fn should_stop(&self) -> bool {
        self.signal.should_stop.load(Ordering::Acquire)
    }
}

/// What the one who works and the one who watches tell each other.
#[derive(Debug, Default)]
struct Signal {
    should_stop: AtomicBool,
    is_over: Mutex<(bool, Option<Waker>)>,
}

impl Signal {
    fn end(&self) {
        let mut state = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    async fn ended(&self) {
        poll_fn(|context| {
            let mut state = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// How the watch over a task ended.
enum Watched<T> {
    /// The work came to this.
    Worked(T),
    /// Somebody else has the task.
    Lost,
    /// The helper is to stop.
    Stop(HelperExit),
}

/// A helper at work. However it ends, it gives back what it holds and retires.
struct Helper<'a, R, F: FnMut(HelperExit) -> R> {
    runstone: &'a Runstone,
    trays: Trays,
    tray: &'a str,
    options: &'a HelperOptions,
    retire: F,
    has_retired: bool,
    holds: Option<(TaskId, Position)>,
    lease_ends_us: u64,
    tasks_done: u64,
    tasks_not_done: u64,
    claim_errors: u32,
    claim_error: Option<TrayError>,
}

/// What to do next.
enum Next {
    Work(Box<HelperTask>),
    Retire(HelperExit),
}

impl<'a, R, F: FnMut(HelperExit) -> R> Helper<'a, R, F> {
    fn new(runstone: &'a Runstone, tray: &'a str, options: &'a HelperOptions, retire: F) -> Self {
        Self {
            runstone,
            trays: runstone.trays(),
            tray,
            options,
            retire,
            has_retired: false,
            holds: None,
            lease_ends_us: 0,
            tasks_done: 0,
            tasks_not_done: 0,
            claim_errors: 0,
            claim_error: None,
        }
    }

    fn hold(&self) -> Hold {
        Hold::For(self.options.lease)
    }

    /// A lease that begins now.
    fn held(&mut self) {
        let lease_us = micros(self.options.lease);
        self.lease_ends_us = self.runstone.steady_us().saturating_add(lease_us);
    }

    /// Why it must stop now, if it must.
    fn must_stop(&self) -> Option<HelperExit> {
        let now_us = self.runstone.steady_us();
        if self
            .options
            .ttl_deadline_us
            .is_some_and(|end| now_us >= end)
        {
            return Some(HelperExit::TtlExpired);
        }
        let asked = self.options.must_stop.as_ref();
        asked
            .is_some_and(|must_stop| must_stop())
            .then_some(HelperExit::ParentRequest)
    }

    /// Waits, but not past its time.
    async fn sleep(&self, time: Duration) {
        let left = self
            .options
            .ttl_deadline_us
            .map(|end| Duration::from_micros(end.saturating_sub(self.runstone.steady_us())));
        let time = left.map_or(time, |left| time.min(left));
        self.options.sleeper.sleep(time).await;
    }

    async fn next(&mut self) -> Next {
        loop {
            if let Some(exit) = self.must_stop() {
                return Next::Retire(exit);
            }
            if self
                .options
                .max_tasks
                .is_some_and(|most| self.tasks_done >= most)
            {
                return Next::Retire(HelperExit::MaxTasks);
            }
            let holder = self.options.holder.as_deref();
            let holder = holder.unwrap_or_else(|| self.runstone.holder());
            match self.trays.claim(self.tray, holder, self.hold()).await {
                Ok(Claim::Claimed(claimed)) => {
                    self.claim_errors = 0;
                    self.holds = Some((claimed.task.clone(), claimed.fence));
                    self.held();
                    return Next::Work(Box::new(HelperTask {
                        claimed: *claimed,
                        signal: Arc::default(),
                    }));
                }
                Ok(Claim::NotClaimed(nothing)) if nothing.drained => {
                    return Next::Retire(HelperExit::TrayDrained);
                }
                Ok(_) => {
                    self.claim_errors = 0;
                    self.sleep(self.options.poll).await;
                }
                Err(error) => {
                    self.claim_errors = self.claim_errors.saturating_add(1);
                    self.claim_error = Some(error);
                    if self.claim_errors >= CLAIM_ERRORS {
                        return Next::Retire(HelperExit::ClaimErrors);
                    }
                    self.sleep(CLAIM_PAUSE.saturating_mul(self.claim_errors))
                        .await;
                }
            }
        }
    }

    /// Holds on to a task while `work` goes on. Where it can be dropped, it is, if the helper is to
    /// stop or the task is lost; else the signal says so, and it is held until it ends.
    async fn watch<W: Future>(
        &mut self,
        task: &HelperTask,
        work: W,
        can_drop: bool,
    ) -> Watched<W::Output> {
        let mut work = pin!(work);
        let mut is_lost = false;
        let sleeper = Arc::clone(&self.options.sleeper);
        loop {
            let third = self.options.lease / 3;
            let left = match self.options.ttl_deadline_us {
                // What goes on past its time is renewed as before.
                Some(end) if !task.should_stop() => {
                    Duration::from_micros(end.saturating_sub(self.runstone.steady_us()))
                }
                _ => third,
            };
            let mut pause = sleeper.sleep(third.min(left));
            let worked = poll_fn(|context| {
                if let Poll::Ready(output) = work.as_mut().poll(context) {
                    return Poll::Ready(Some(output));
                }
                pause.as_mut().poll(context).map(|()| None)
            });
            if let Some(output) = worked.await {
                return if is_lost {
                    Watched::Lost
                } else {
                    Watched::Worked(output)
                };
            }
            if !is_lost {
                let fence = task.fence();
                match self.trays.renew(task.id(), fence, self.hold()).await {
                    Ok(()) => self.held(),
                    // It is asked again at the next third.
                    Err(error) if !is_stale(&error) => {}
                    Err(_) => is_lost = true,
                }
            }
            if is_lost && can_drop {
                return Watched::Lost;
            }
            let exit = self.must_stop();
            if is_lost || exit.is_some() {
                task.signal.should_stop.store(true, Ordering::Release);
            }
            if let Some(exit) = exit.filter(|_| can_drop) {
                return Watched::Stop(exit);
            }
        }
    }

    /// Records what came of a task, again and again until its lease ends: the same outcome again is
    /// no second one.
    async fn settle(&mut self, outcome: &Outcome) -> bool {
        let Some((task, fence)) = self.holds.clone() else {
            return false;
        };
        let mut pause = SETTLE_PAUSE;
        let is_settled = loop {
            let settled = match outcome {
                Outcome::Done(summary) => self.trays.complete(&task, fence, summary).await,
                Outcome::Failed(why) => self.trays.fail(&task, fence, why).await,
                Outcome::Released => self.trays.release(&task, fence).await,
            };
            match settled {
                Ok(_) => break true,
                Err(error) if is_stale(&error) => break false,
                Err(error) => {
                    tracing::warn!(
                        code = error.code(),
                        "an outcome of a task is not recorded yet"
                    );
                }
            }
            let left_us = self.lease_ends_us.saturating_sub(self.runstone.steady_us());
            if left_us == 0 {
                break false;
            }
            let left = Duration::from_micros(left_us);
            self.options.sleeper.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(LONGEST_SETTLE_PAUSE);
        };
        self.holds = None;
        if is_settled && matches!(outcome, Outcome::Done(_)) {
            self.tasks_done = self.tasks_done.saturating_add(1);
        } else {
            self.tasks_not_done = self.tasks_not_done.saturating_add(1);
        }
        is_settled
    }

    /// What follows from what was watched; why the helper retires, if it does.
    async fn heed<E: Display>(
        &mut self,
        watched: Watched<Result<String, E>>,
    ) -> Option<HelperExit> {
        let (outcome, exit) = match watched {
            Watched::Worked(Ok(summary)) => (Outcome::Done(summary), None),
            Watched::Worked(Err(error)) => (Outcome::Failed(error.to_string()), None),
            Watched::Stop(exit) => (Outcome::Released, Some(exit)),
            Watched::Lost => {
                self.holds = None;
                self.tasks_not_done = self.tasks_not_done.saturating_add(1);
                return None;
            }
        };
        self.settle(&outcome).await;
        exit
    }

    fn end(mut self, exit: HelperExit) -> HelperEnd<R> {
        let claim_error = self.claim_error.take();
        self.has_retired = true;
        HelperEnd {
            tasks_done: self.tasks_done,
            tasks_not_done: self.tasks_not_done,
            retired_reason: exit,
            retire_result: (self.retire)(exit),
            claim_error: claim_error.filter(|_| exit == HelperExit::ClaimErrors),
        }
    }
}

enum Outcome {
    Done(String),
    Failed(String),
    Released,
}

/// Whether somebody else has the task, or nobody: asking again is no use.
fn is_stale(error: &TrayError) -> bool {
    matches!(
        error,
        TrayError::Task(TaskError::StaleClaim { .. } | TaskError::Refused { .. })
            | TrayError::NotInTray { .. }
    )
}

impl<R, F: FnMut(HelperExit) -> R> Drop for Helper<'_, R, F> {
    fn drop(&mut self) {
        let exit = if std::thread::panicking() {
            HelperExit::Panicked
        } else {
            HelperExit::Dropped
        };
        if let Some((task, fence)) = self.holds.take() {
            let given_back = self.trays.fail_blocking(&task, fence, exit.as_str());
            if let Err(error) = given_back {
                tracing::warn!(code = error.code(), "a task was dropped and not given back");
            }
        }
        if !self.has_retired {
            (self.retire)(exit);
        }
    }
}

/// Claims tasks of a tray, works on them and completes them, one after the other, until something
/// ends it; then it retires.
///
/// - A task whose work answers an error is given back with it, and after its last attempt it is a
///   dead letter. A summary completes it; a completion that is not recorded is tried again until the
///   lease ends.
/// - While the work goes on, its lease is renewed at a third. At the deadline, or when the helper is
///   told to stop, the work's future is dropped and its task given back; if somebody else has the task,
///   it is dropped too.
/// - Where nothing can be claimed and the tray is not drained, it waits and looks again. Five errors
///   of claiming in a row end it, with pauses of 15, 30, 45 and 60 s between them.
///
/// `retire` is called once, whichever way it ends: by a panic of the work and when this future is
/// dropped, too. It should not wait for long.
///
/// ```
/// use runstone::tasks::NewTask;
/// use runstone::{HelperExit, HelperOptions, Runstone, helper_loop_blocking};
///
/// let log = Runstone::memory()?;
/// let trays = log.trays();
/// trays.open_blocking("invoices")?;
/// for id in ["a", "b"] {
///     trays.add_blocking("invoices", &NewTask::new(id).into())?;
/// }
/// trays.close_blocking("invoices")?;
///
/// let work = |_: &_| Ok::<_, String>("paid".to_owned());
/// let options = HelperOptions::new();
/// let end = helper_loop_blocking(&log, "invoices", &options, work, |_| ());
/// assert_eq!((end.tasks_done, end.retired_reason), (2, HelperExit::TrayDrained));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Dropped, it gives back what it holds and retires. A claim that was on its way ends with its lease.
pub async fn helper_loop<W, Working, E, R>(
    runstone: &Runstone,
    tray: &str,
    options: &HelperOptions,
    mut work: W,
    retire: impl FnMut(HelperExit) -> R,
) -> HelperEnd<R>
where
    W: FnMut(HelperTask) -> Working,
    Working: Future<Output = Result<String, E>>,
    E: Display,
{
    let mut helper = Helper::new(runstone, tray, options, retire);
    let exit = loop {
        let task = match helper.next().await {
            Next::Work(task) => task,
            Next::Retire(exit) => break exit,
        };
        let working = work((*task).clone());
        let watched = helper.watch(&task, working, true).await;
        if let Some(exit) = helper.heed(watched).await {
            break exit;
        }
    };
    helper.end(exit)
}

/// [`helper_loop`] for callers without a runtime. The work goes on on this thread and cannot be
/// dropped: it asks [`HelperTask::should_stop`]. Until it ends the task is held, so that nobody else
/// begins it meanwhile.
///
/// # Panics
///
/// As the work does, after it has given the task back and retired.
pub fn helper_loop_blocking<W, E, R>(
    runstone: &Runstone,
    tray: &str,
    options: &HelperOptions,
    mut work: W,
    retire: impl FnMut(HelperExit) -> R + Send,
) -> HelperEnd<R>
where
    W: FnMut(&HelperTask) -> Result<String, E>,
    E: Display,
{
    let mut helper = Helper::new(runstone, tray, options, retire);
    let exit = loop {
        let task = match block_on(helper.next()) {
            Next::Work(task) => task,
            Next::Retire(exit) => break exit,
        };
        let (worked, watched) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| block_on(helper.watch(&task, task.signal.ended(), false)));
            let worked = catch_unwind(AssertUnwindSafe(|| work(&task)));
            task.signal.end();
            (worked, watcher.join())
        });
        let worked = match worked {
            Ok(worked) => worked,
            // Unwinding, the helper gives back what it holds, and retires.
            Err(panic) => resume_unwind(panic),
        };
        let watched = match watched {
            Ok(Watched::Worked(())) => Watched::Worked(worked),
            Ok(Watched::Lost) => Watched::Lost,
            Ok(Watched::Stop(exit)) => Watched::Stop(exit),
            Err(panic) => resume_unwind(panic),
        };
        if let Some(exit) = block_on(helper.heed(watched)) {
            break exit;
        }
    };
    helper.end(exit)
}
