//! Tasks: units of work with a life of their own.
//!
//! ```text
//!  create --> backlog --> todo <------------------- blocked     release, a lease that is over, a
//!                          | claim                     ^        failed work function: both moves at
//!                          v                           |        once, by the log
//!                      in_progress --------------------+
//!                          |    ^
//!                          v    |
//!                      in_review --> done, cancelled
//! ```
//!
//! Which state may follow which is a table ([`machine`]), the same for everybody. A move is decided
//! and recorded in one step, so of two that race one is made, and the other is told the state after
//! it. A claim is held by its **fence**, the position at which it is recorded: whoever comes with
//! another one changes nothing.
//!
//! ```
//! use runstone_projections::Hold;
//! use runstone_projections::tasks::{Move, NewTask, TaskState, Tasks};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//! let tasks = Tasks::new(&log);
//!
//! tasks.create_blocking(&NewTask::new("t-1").title("Pay the invoice").agent("bot"))?;
//! let held = tasks.claim_blocking("t-1", "bot", Hold::Opening)?;
//! assert_eq!(tasks.claim_blocking("t-1", "rival", Hold::Opening).unwrap_err().code(), "task_held");
//! tasks.complete_blocking("t-1", held.fence, "paid")?;
//!
//! let refused = tasks.move_to_blocking(&Move::new("t-1", TaskState::Todo)).unwrap_err();
//! assert_eq!(refused.to_string(), "Cannot transition from terminal state done");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod ask;
pub(crate) mod decide;
pub(crate) mod draft;
mod error;
pub(crate) mod fold;
mod history;
mod list;
mod loops;
pub mod machine;
mod past;
mod refusal;
pub(crate) mod run;
mod spending;

pub use crate::events::{LoopType, TaskState};
pub use ask::{MAX_ID_LEN, MAX_NAME_LEN, Move, NewTask};
pub use error::TaskError;
pub use fold::TasksFold;
pub use history::{History, HistoryEntry};
pub use list::TaskFilter;
pub use past::of_stream;

use crate::command::{Waiting, at_once};
use crate::events::control::task as field;
use crate::lease::{Hold, Moment};
use crate::rows::TaskRow;
use crate::settings::InForce;
use ask::Order;
use decide::Verdict;
use runstone_codec::Position;
use runstone_store::Log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// The stream of tasks that are recorded in no other.
pub const DEFAULT_STREAM: &str = "tasks";

/// A task: keyed digest of its id, and its scope.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[non_exhaustive]
pub struct TaskId {
    /// The digest; in the tag `task:HEX` of its events.
    #[serde(with = "crate::wire::hex16")]
    #[schemars(with = "String")]
    pub digest: [u8; 16],
    /// The scope.
    pub scope: String,
}

impl TaskId {
    /// The tag that its events carry.
    pub fn tag(&self) -> String {
        format!("{}:{}", field::LABEL, crate::hex(&self.digest))
    }
}

/// How a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Task {
    /// Which task.
    pub id: TaskId,
    /// How it stands.
    pub state: TaskState,
    /// How many ancestors it has, by parents.
    pub depth: u64,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// Stream of its creation.
    pub stream: String,
    /// Position of its creation.
    pub created: Position,
    /// When it was created, Unix microseconds.
    pub created_at_us: u64,
    /// Position of its newest move, or of its creation.
    pub moved: Position,
    /// When that was, Unix microseconds.
    pub moved_at_us: u64,
    /// Position of its newest claim.
    pub fence: Option<Position>,
    /// Whether somebody holds it: its claim is in force.
    pub is_held: bool,
    /// What its holder is called; empty if nobody holds it.
    pub holder: String,
    /// The agent that holds it, or would if there is one of this name: whoever has proved a credential
    /// holds as himself, whatever he is called, and who has none as the one that he names.
    pub held_as: Option<String>,
    /// When the lease ends, Unix microseconds; `None`: as long as this opening of the log lasts, or
    /// nobody holds it.
    pub lease_expires_at_us: Option<u64>,
    /// It is held and its lease is over; the next command on it, or a sweep, records that.
    pub is_expired: bool,
    /// It lies in a tray: only from there is it claimed.
    pub in_tray: bool,
    parent: Option<[u8; 16]>,
    agent: Option<[u8; 16]>,
    kind: Option<[u8; 16]>,
}

impl Task {
    fn of(id: TaskId, row: &TaskRow, moment: &Moment) -> Self {
        let lease = row.lease.as_ref();
        let (lease_expires_at_us, is_over) =
            lease.map_or((None, false), |lease| lease.seen(moment));
        Self {
            id,
            state: row.state(),
            depth: row.depth,
            attempt: row.attempt,
            stream: row.stream.clone(),
            created: Position::new(row.created),
            created_at_us: row.created_at_us,
            moved: Position::new(row.moved),
            moved_at_us: row.moved_at_us,
            fence: row.fence.map(Position::new),
            is_held: lease.is_some(),
            holder: lease.map(|lease| lease.holder.clone()).unwrap_or_default(),
            held_as: row.claimed_as.clone().filter(|_| lease.is_some()),
            lease_expires_at_us,
            is_expired: is_over,
            in_tray: row.in_tray,
            parent: row.parent,
            agent: row.agent,
            kind: row.task_type,
        }
    }
}

/// A task that was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Created {
    /// Which task.
    pub id: TaskId,
    /// Position of its creation.
    pub position: Position,
    /// How many ancestors it has, by parents.
    pub depth: u64,
}

/// A claim in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct HeldTask {
    /// Position of the claim.
    pub fence: Position,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// When the lease ends, Unix microseconds; `None`: as long as this opening of the log lasts.
    pub lease_expires_at_us: Option<u64>,
}

/// The tasks of a log. Ids are looked up, and tasks created, in the scope of one stream.
#[derive(Debug, Clone)]
pub struct Tasks {
    log: Log,
    stream: String,
    scope: Option<String>,
    actor: Option<String>,
    /// What was in force when it was looked up last.
    settings: Arc<Mutex<Option<InForce>>>,
}

impl Tasks {
    /// The tasks of a log that was opened with [`TasksFold`]. They are recorded in
    /// [`DEFAULT_STREAM`].
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            stream: DEFAULT_STREAM.to_owned(),
            scope: None,
            actor: None,
            settings: Arc::default(),
        }
    }

    /// Tasks are created in this stream, and ids are those of its scope.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = stream.into();
        self
    }

    /// Scope of a stream that is not there yet.
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

    /// The principal of the log's handle.
    pub fn principal(&self) -> &str {
        self.log.principal().0
    }

    /// Creates a task.
    ///
    /// # Errors
    ///
    /// [`TaskError`]; then it was not created. A refusal is recorded.
    ///
    /// # Cancel safety
    ///
    /// A command whose future is dropped may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn create(&self, new: &NewTask) -> Result<Created, TaskError> {
        self.run(&Order::Create(new.clone()), created).await
    }

    /// [`create`](Self::create) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_blocking(&self, new: &NewTask) -> Result<Created, TaskError> {
        self.run_blocking(&Order::Create(new.clone()), created)
    }

    /// Moves a task to another state; answers where that is recorded.
    ///
    /// # Errors
    ///
    /// [`TaskError::Refused`] if the table does not allow it, which is recorded;
    /// [`TaskError::Held`] and [`TaskError::StaleClaim`] if the move is not this caller's.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn move_to(&self, moving: &Move) -> Result<Position, TaskError> {
        self.run(&Order::Move(moving.clone()), done).await
    }

    /// [`move_to`](Self::move_to) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`move_to`](Self::move_to).
    pub fn move_to_blocking(&self, moving: &Move) -> Result<Position, TaskError> {
        self.run_blocking(&Order::Move(moving.clone()), done)
    }

    /// Claims a task that is todo: it is in progress then, and this caller holds it. One whose lease
    /// is over goes back to todo first.
    ///
    /// # Errors
    ///
    /// [`TaskError::Held`] if somebody holds it; [`TaskError::NotClaimable`] if it is not todo.
    ///
    /// # Cancel safety
    ///
    /// A claim whose future is dropped may be recorded, and holds until its lease or opening ends.
    ///
    /// # Durability
    ///
    /// A claim that is answered survives power loss.
    pub async fn claim(&self, id: &str, holder: &str, hold: Hold) -> Result<HeldTask, TaskError> {
        self.run(&claiming(id, holder, hold), held).await
    }

    /// [`claim`](Self::claim) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn claim_blocking(
        &self,
        id: &str,
        holder: &str,
        hold: Hold,
    ) -> Result<HeldTask, TaskError> {
        self.run_blocking(&claiming(id, holder, hold), held)
    }

    /// Holds on to a task from now on.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`] if the claim is not in force.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn renew(&self, id: &str, fence: Position, hold: Hold) -> Result<(), TaskError> {
        self.run(&renewing(id, fence, hold), done).await.map(drop)
    }

    /// [`renew`](Self::renew) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew).
    pub fn renew_blocking(&self, id: &str, fence: Position, hold: Hold) -> Result<(), TaskError> {
        self.run_blocking(&renewing(id, fence, hold), done)
            .map(drop)
    }

    /// The holder has done it. Doing so again is no other answer.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`] if the claim is not in force: then nothing changed.
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
        id: &str,
        fence: Position,
        summary: &str,
    ) -> Result<Position, TaskError> {
        self.run(&completing(id, fence, summary), done).await
    }

    /// [`complete`](Self::complete) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub fn complete_blocking(
        &self,
        id: &str,
        fence: Position,
        summary: &str,
    ) -> Result<Position, TaskError> {
        self.run_blocking(&completing(id, fence, summary), done)
    }

    /// The holder gives it back: it is blocked, and todo again, with its next attempt. After the last
    /// attempt one that lies in a tray is a dead letter.
    ///
    /// # Errors
    ///
    /// [`TaskError::StaleClaim`] if the claim is not in force: then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn release(&self, id: &str, fence: Position) -> Result<Position, TaskError> {
        let order = giving_back(id, fence, None);
        self.give_back(&order, Waiting::Async).await
    }

    /// [`release`](Self::release) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    pub fn release_blocking(&self, id: &str, fence: Position) -> Result<Position, TaskError> {
        let order = giving_back(id, fence, None);
        at_once(self.give_back(&order, Waiting::Blocking))
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
    pub async fn fail(&self, id: &str, fence: Position, why: &str) -> Result<Position, TaskError> {
        let order = giving_back(id, fence, Some(why));
        self.give_back(&order, Waiting::Async).await
    }

    /// [`fail`](Self::fail) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`fail`](Self::fail).
    pub fn fail_blocking(
        &self,
        id: &str,
        fence: Position,
        why: &str,
    ) -> Result<Position, TaskError> {
        let order = giving_back(id, fence, Some(why));
        at_once(self.give_back(&order, Waiting::Blocking))
    }
}

fn claiming(id: &str, holder: &str, hold: Hold) -> Order {
    Order::Claim {
        id: id.to_owned(),
        holder: holder.to_owned(),
        hold,
    }
}

fn renewing(id: &str, fence: Position, hold: Hold) -> Order {
    let id = id.to_owned();
    Order::Renew { id, fence, hold }
}

fn completing(id: &str, fence: Position, summary: &str) -> Order {
    let done = Move::new(id, TaskState::Done).fence(fence);
    Order::Move(done.comment(summary))
}

fn giving_back(id: &str, fence: Position, failed: Option<&str>) -> Order {
    Order::GiveBack {
        id: id.to_owned(),
        fence,
        failed: failed.map(str::to_owned),
    }
}

/// What an order comes to, as it travels.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Granted {
    Created(Created),
    Held(HeldTask),
    Done(Position),
}

impl Granted {
    pub(crate) fn of(verdict: Verdict) -> Result<Self, Verdict> {
        created(verdict)
            .map(Self::Created)
            .or_else(|verdict| held(verdict).map(Self::Held))
            .or_else(|verdict| done(verdict).map(Self::Done))
    }
}

impl From<Granted> for Verdict {
    fn from(granted: Granted) -> Self {
        match granted {
            Granted::Created(created) => Self::Created(created.id, created.position, created.depth),
            Granted::Held(held) => Self::Claimed {
                fence: held.fence,
                attempt: held.attempt,
                lease_expires_at_us: held.lease_expires_at_us,
            },
            Granted::Done(position) => Self::Done(position),
        }
    }
}

fn created(verdict: Verdict) -> Result<Created, Verdict> {
    match verdict {
        Verdict::Created(id, position, depth) => Ok(Created {
            id,
            position,
            depth,
        }),
        other => Err(other),
    }
}

fn held(verdict: Verdict) -> Result<HeldTask, Verdict> {
    match verdict {
        Verdict::Claimed {
            fence,
            attempt,
            lease_expires_at_us,
        } => Ok(HeldTask {
            fence,
            attempt,
            lease_expires_at_us,
        }),
        other => Err(other),
    }
}

fn done(verdict: Verdict) -> Result<Position, Verdict> {
    match verdict {
        Verdict::Done(position) => Ok(position),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests;
