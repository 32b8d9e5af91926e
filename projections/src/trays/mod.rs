//! Trays: where tasks lie until somebody takes them.
//!
//! ```text
//!  add --> todo, waits for others --> todo, ready --claim--> in_progress --complete--> done
//!                                       ^                        |
//!                                       +-- blocked <------------+ release, failure, a lease that is over
//!                                              |
//!                                              +--> cancelled    a dead letter, after the last attempt
//! ```
//!
//! A task in a tray is a task like any other ([`tasks`](crate::tasks)): its moves, its claims and
//! its history are those of tasks, and it is claimed from its tray alone. What is claimed is the task
//! of the highest priority, of these the oldest, whose dependencies are done; whoever comes at the
//! same time gets the next one. That takes as long in a tray of ten thousand as in one of ten.
//!
//! Names of trays are pseudonyms, as names of agents are, and stand in what is never erased. A tray
//! and its tasks are recorded in the stream `tray:NAME`, and ids are those of its scope.
//!
//! ```
//! use runstone_projections::Hold;
//! use runstone_projections::tasks::NewTask;
//! use runstone_projections::trays::{Claim, NewTrayTask, Trays};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//! let trays = Trays::new(&log);
//!
//! trays.open_blocking("invoices")?;
//! trays.add_blocking("invoices", &NewTask::new("read").into())?;
//! let pay = NewTrayTask::new(NewTask::new("pay")).priority(9).depends_on("read");
//! trays.add_blocking("invoices", &pay)?;
//! trays.close_blocking("invoices")?;
//!
//! let mut done = Vec::new();
//! while let Claim::Claimed(held) = trays.claim_blocking("invoices", "bot", Hold::Opening)? {
//!     trays.complete_blocking(&held.task, held.fence, "done")?;
//!     done.push(held.said.ok_or("erased")?.id);
//! }
//! assert_eq!(done, ["read", "pay"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ask;
mod decide;
mod error;
mod fold;
mod list;
mod look;
mod run;

pub(crate) use ask::check_hold;
pub use ask::{LEASE_S, NewTrayTask};
pub use decide::MAX_DEPENDENTS;
pub use error::TrayError;
pub use fold::{MAX_DEPENDS_ON, TraysFold};
pub use list::{Dependency, Tray, TrayTask};
pub(crate) use run::opened;

use crate::agents::{self, Agents};
use crate::asks::{
    AddToTray, ClaimOfTray, CloseTray, CompleteOfTray, OpenTray, ReleaseOfTray, RenewOfTray,
    SweepTrays,
};
use crate::command::{Waiting, asked, at_once};
use crate::events::TaskCreated;
use crate::lease::Hold;
use crate::settings::InForce;
use crate::tasks::decide::{FAILED, RELEASED};
use crate::tasks::{Created, TaskId};
use decide::{Ask, Changed};
use run::{Claiming, contended, rounds};
use runstone_codec::Position;
use runstone_store::Log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// What a worker gets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Claim {
    /// A task, which it holds from now on.
    Claimed(Box<Claimed>),
    /// None.
    NotClaimed(NotClaimed),
}

/// A task that was claimed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Claimed {
    /// Which task.
    pub task: TaskId,
    /// What it says of itself; `None` if that was erased.
    pub said: Option<TaskCreated>,
    /// Position of the claim.
    pub fence: Position,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// When the lease ends, Unix microseconds; `None`: as long as this opening of the log lasts.
    pub lease_expires_at_us: Option<u64>,
}

/// Why nothing was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct NotClaimed {
    /// Every task of the tray has ended. If not, some are held by others, or kept from going on.
    pub drained: bool,
    /// No more tasks come: if it is drained, it stays so.
    pub is_closed: bool,
    /// Tasks that have not ended.
    pub open: u64,
    /// Those of them that somebody works on.
    pub in_progress: u64,
}

/// The trays of a log.
#[derive(Debug, Clone)]
pub struct Trays {
    log: Log,
    scope: Option<String>,
    actor: Option<String>,
    /// What was in force when it was looked up last.
    settings: Arc<Mutex<Option<InForce>>>,
}

impl Trays {
    /// The trays of a log that was opened with [`TraysFold`] and
    /// [`TasksFold`](crate::tasks::TasksFold).
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            scope: None,
            actor: None,
            settings: Arc::default(),
        }
    }

    /// Scope of trays that are opened, and of the tasks in them.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Who moves tasks: a pseudonym, at most 256 bytes. Default: the principal of the log's handle.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Opens a tray, which stays open if it is; answers where that is recorded.
    ///
    /// # Errors
    ///
    /// [`TrayError::Closed`] if it was closed: it is not opened again.
    ///
    /// # Cancel safety
    ///
    /// A command whose future is dropped may be recorded. So it is for all of them.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn open(&self, tray: &str) -> Result<Position, TrayError> {
        self.open_by(tray, Waiting::Async).await
    }

    /// [`open`](Self::open) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_blocking(&self, tray: &str) -> Result<Position, TrayError> {
        at_once(self.open_by(tray, Waiting::Blocking))
    }

    async fn open_by(&self, tray: &str, waiting: Waiting) -> Result<Position, TrayError> {
        let ask = || OpenTray {
            scope: self.scope.clone(),
            tray: tray.to_owned(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let changed = self.opening(tray)?.run_by(&self.log, waiting).await?;
        settled(tray, &changed)
    }

    /// Closes a tray: no more tasks go into it, and what lies there is still done. That it is
    /// drained is final from then on.
    ///
    /// # Errors
    ///
    /// [`TrayError::NotFound`] if there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn close(&self, tray: &str) -> Result<Position, TrayError> {
        self.close_by(tray, Waiting::Async).await
    }

    /// [`close`](Self::close) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn close_blocking(&self, tray: &str) -> Result<Position, TrayError> {
        at_once(self.close_by(tray, Waiting::Blocking))
    }

    async fn close_by(&self, tray: &str, waiting: Waiting) -> Result<Position, TrayError> {
        let ask = || CloseTray {
            scope: self.scope.clone(),
            tray: tray.to_owned(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let changed = self.closing(tray)?.run_by(&self.log, waiting).await?;
        settled(tray, &changed)
    }

    /// Puts a task into a tray.
    ///
    /// # Errors
    ///
    /// [`TrayError`]; then it was not created. A refusal by the rules of tasks, and a cycle, are
    /// recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the task may be there.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn add(&self, tray: &str, new: &NewTrayTask) -> Result<Created, TrayError> {
        self.add_by(tray, new, Waiting::Async).await
    }

    /// [`add`](Self::add) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_blocking(&self, tray: &str, new: &NewTrayTask) -> Result<Created, TrayError> {
        at_once(self.add_by(tray, new, Waiting::Blocking))
    }

    async fn add_by(
        &self,
        tray: &str,
        new: &NewTrayTask,
        waiting: Waiting,
    ) -> Result<Created, TrayError> {
        let ask = || AddToTray {
            scope: self.scope.clone(),
            actor: self.actor.clone(),
            tray: tray.to_owned(),
            new: new.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in rounds() {
            let added = self.adding(tray, new)?.run_by(&self.log, waiting).await?;
            if let Some(answer) = self.added(tray, new, added) {
                return answer;
            }
        }
        Err(contended())
    }

    /// The tray of the helper that this handle acts as, by its credential.
    ///
    /// # Errors
    ///
    /// [`TrayError::NoOwnTray`] if it acts as no helper.
    pub fn own(&self) -> Result<String, TrayError> {
        let (principal, _) = self.log.principal();
        let tray = match agents::name_of(principal) {
            Some(name) => agents::tray_of(&self.log, name)?,
            None => None,
        };
        let principal = principal.to_owned();
        tray.ok_or(TrayError::NoOwnTray { principal })
    }

    /// Claims what is next in a tray, for this holder, a pseudonym. Leases that are over are recorded
    /// first.
    ///
    /// # Errors
    ///
    /// [`TrayError::NotFound`] if there is no such tray, [`TaskError::BadLease`](crate::tasks::TaskError::BadLease)
    /// if it would be held for other than [`LEASE_S`]. That nothing can be claimed is no error.
    ///
    /// # Cancel safety
    ///
    /// A claim whose future is dropped may be recorded, and holds until its lease or opening ends.
    ///
    /// # Durability
    ///
    /// A claim that is answered survives power loss.
    pub async fn claim(&self, tray: &str, holder: &str, hold: Hold) -> Result<Claim, TrayError> {
        self.claim_by(tray, holder, hold, Waiting::Async).await
    }

    /// [`claim`](Self::claim) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn claim_blocking(&self, tray: &str, holder: &str, hold: Hold) -> Result<Claim, TrayError> {
        at_once(self.claim_by(tray, holder, hold, Waiting::Blocking))
    }

    async fn claim_by(
        &self,
        tray: &str,
        holder: &str,
        hold: Hold,
        waiting: Waiting,
    ) -> Result<Claim, TrayError> {
        let ask = || ClaimOfTray {
            scope: self.scope.clone(),
            actor: self.actor.clone(),
            tray: tray.to_owned(),
            holder: holder.to_owned(),
            hold,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        Agents::new(&self.log).reap_before(waiting).await?;
        let mut claiming = Claiming::new(tray, holder, hold);
        loop {
            let next = self
                .claiming(&mut claiming)?
                .run_by(&self.log, waiting)
                .await?;
            if let Some(answer) = self.claimed(&mut claiming, next) {
                return answer;
            }
        }
    }

    /// Holds on to a task from now on.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`](crate::tasks::TaskError::StaleClaim) if the claim is not in force,
    /// [`TaskError::BadLease`](crate::tasks::TaskError::BadLease) for a time other than [`LEASE_S`].
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn renew(&self, task: &TaskId, fence: Position, hold: Hold) -> Result<(), TrayError> {
        self.renew_by(task, fence, hold, Waiting::Async).await
    }

    /// [`renew`](Self::renew) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew).
    pub fn renew_blocking(
        &self,
        task: &TaskId,
        fence: Position,
        hold: Hold,
    ) -> Result<(), TrayError> {
        at_once(self.renew_by(task, fence, hold, Waiting::Blocking))
    }

    async fn renew_by(
        &self,
        task: &TaskId,
        fence: Position,
        hold: Hold,
        waiting: Waiting,
    ) -> Result<(), TrayError> {
        let ask = || RenewOfTray {
            task: task.clone(),
            fence,
            hold,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let ask = Ask::Renew { fence, hold };
        let changed = self.change(task, &ask, (None, waiting));
        changed.await.map(drop)
    }

    /// The holder has done it. Doing so again is no other answer.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`](crate::tasks::TaskError::StaleClaim) if the claim is not in force:
    /// then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn complete(
        &self,
        task: &TaskId,
        fence: Position,
        summary: &str,
    ) -> Result<Position, TrayError> {
        self.complete_by(task, fence, summary, Waiting::Async).await
    }

    /// [`complete`](Self::complete) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub fn complete_blocking(
        &self,
        task: &TaskId,
        fence: Position,
        summary: &str,
    ) -> Result<Position, TrayError> {
        at_once(self.complete_by(task, fence, summary, Waiting::Blocking))
    }

    async fn complete_by(
        &self,
        task: &TaskId,
        fence: Position,
        summary: &str,
        waiting: Waiting,
    ) -> Result<Position, TrayError> {
        let ask = || CompleteOfTray {
            actor: self.actor.clone(),
            task: task.clone(),
            fence,
            summary: summary.to_owned(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let ask = Ask::Complete(fence);
        let changed = self.change(task, &ask, (Some(summary), waiting));
        Ok(changed.await?.unwrap_or(fence))
    }

    /// The holder gives it back: it can be claimed again, with its next attempt, or is a dead letter
    /// if that was the last one.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`](crate::tasks::TaskError::StaleClaim) if the claim is not in force:
    /// then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn release(&self, task: &TaskId, fence: Position) -> Result<Position, TrayError> {
        self.release_by(task, fence, Waiting::Async).await
    }

    /// [`release`](Self::release) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    pub fn release_blocking(&self, task: &TaskId, fence: Position) -> Result<Position, TrayError> {
        at_once(self.release_by(task, fence, Waiting::Blocking))
    }

    async fn release_by(
        &self,
        task: &TaskId,
        fence: Position,
        waiting: Waiting,
    ) -> Result<Position, TrayError> {
        let ask = || ReleaseOfTray {
            actor: self.actor.clone(),
            task: task.clone(),
            fence,
            failed: None,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        self.give_back(task, (fence, RELEASED), (None, waiting))
            .await
    }

    /// The work failed: as [`release`](Self::release), with what went wrong.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn fail(
        &self,
        task: &TaskId,
        fence: Position,
        why: &str,
    ) -> Result<Position, TrayError> {
        self.fail_by(task, fence, why, Waiting::Async).await
    }

    /// [`fail`](Self::fail) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`fail`](Self::fail).
    pub fn fail_blocking(
        &self,
        task: &TaskId,
        fence: Position,
        why: &str,
    ) -> Result<Position, TrayError> {
        at_once(self.fail_by(task, fence, why, Waiting::Blocking))
    }

    async fn fail_by(
        &self,
        task: &TaskId,
        fence: Position,
        why: &str,
        waiting: Waiting,
    ) -> Result<Position, TrayError> {
        let ask = || ReleaseOfTray {
            actor: self.actor.clone(),
            task: task.clone(),
            fence,
            failed: Some(why.to_owned()),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        self.give_back(task, (fence, FAILED), (Some(why), waiting))
            .await
    }

    async fn change(
        &self,
        task: &TaskId,
        ask: &Ask,
        (comment, waiting): (Option<&str>, Waiting),
    ) -> Result<Option<Position>, TrayError> {
        for _ in rounds() {
            let command = self.changing(task, ask, comment)?;
            let verdict = command.run_by(&self.log, waiting).await?;
            if let Some(answer) = self.changed(task, ask, verdict) {
                return answer;
            }
        }
        Err(contended())
    }

    /// Gives back a task whose holder lets go of it, for this reason.
    pub(crate) async fn give_back(
        &self,
        task: &TaskId,
        (fence, why): (Position, &'static str),
        (comment, waiting): (Option<&str>, Waiting),
    ) -> Result<Position, TrayError> {
        let ask = Ask::Back(fence, why);
        let changed = self.change(task, &ask, (comment, waiting)).await?;
        Ok(changed.unwrap_or(fence))
    }

    /// Records that the lease of a task is over, if it is; answers whether it was.
    pub(crate) async fn expire(&self, task: &TaskId, waiting: Waiting) -> Result<bool, TrayError> {
        let changed = self.change(task, &Ask::Expire, (None, waiting)).await?;
        Ok(changed.is_some())
    }

    /// Records that leases are over, in every tray; answers the tasks that it was so for. A claim
    /// sees that without it: this is for those who read the log.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if the log cannot be read or does not record it; those before it are recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some of them may be recorded; the others are the next time.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn sweep(&self) -> Result<Vec<TaskId>, TrayError> {
        self.sweeping(Waiting::Async).await
    }

    async fn sweeping(&self, waiting: Waiting) -> Result<Vec<TaskId>, TrayError> {
        let ask = || SweepTrays {
            scope: self.scope.clone(),
            actor: self.actor.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }
        let mut swept = Vec::new();
        for task in self.expired()? {
            if self.expire(&task, waiting).await? {
                swept.push(task);
            }
        }
        Ok(swept)
    }

    /// [`sweep`](Self::sweep) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`sweep`](Self::sweep).
    pub fn sweep_blocking(&self) -> Result<Vec<TaskId>, TrayError> {
        at_once(self.sweeping(Waiting::Blocking))
    }
}

fn settled(tray: &str, changed: &Changed) -> Result<Position, TrayError> {
    let tray = tray.to_owned();
    match changed {
        Changed::At(position) => Ok(*position),
        Changed::NotFound => Err(TrayError::NotFound { tray }),
        Changed::Closed => Err(TrayError::Closed { tray }),
    }
}
