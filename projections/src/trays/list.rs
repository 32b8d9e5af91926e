//! Looking at trays.

use super::ask::check_tray;
use super::fold::{FOLD, dead_prefix, list_prefix, trays_prefix};
use super::look::Look as _;
use super::{TrayError, Trays};
use crate::events::TaskCreated;
use crate::rows::{self, TrayRow, TrayTaskRow};
use crate::tasks::{Task, TaskFilter, TaskId, TaskState, Tasks};
use crate::view;
use runstone_codec::Position;
use runstone_store::ReadError;

/// How a tray stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tray {
    /// Its name.
    pub name: String,
    /// The scope of its tasks.
    pub scope: String,
    /// Position of its opening.
    pub opened: Position,
    /// When that was, Unix microseconds.
    pub opened_at_us: u64,
    /// Position of its closing, if it is closed.
    pub closed: Option<Position>,
    /// Tasks that have not ended.
    pub open: u64,
    /// Those of them that can be claimed.
    pub ready: u64,
    /// Those of them that somebody works on.
    pub in_progress: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that are cancelled, dead letters among them.
    pub cancelled: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

impl Tray {
    fn of(name: String, row: TrayRow) -> Self {
        Self {
            name,
            opened: Position::new(row.opened),
            opened_at_us: row.opened_at_us,
            closed: row.closed.map(Position::new),
            open: row.open(),
            ready: row.ready,
            in_progress: row.count(TaskState::InProgress),
            done: row.count(TaskState::Done),
            cancelled: row.count(TaskState::Cancelled),
            dead_letters: row.dead,
            scope: row.scope,
        }
    }
}

/// A task as it lies in a tray.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrayTask {
    /// How it stands.
    pub task: Task,
    /// Its tray.
    pub tray: String,
    /// What is claimed first has the highest.
    pub priority: u64,
    /// The tasks that come before it.
    pub depends_on: Vec<Dependency>,
    /// It can be claimed.
    pub is_ready: bool,
    /// A task that it waits for was cancelled, or has left the trays: it waits until that one is created
    /// anew in a tray and done.
    pub is_stuck: bool,
    /// Position at which it was found to have failed too often.
    pub dead_letter: Option<Position>,
}

/// A task that comes before another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dependency {
    /// Which task.
    pub id: TaskId,
    /// How it stands; `None` if it lies in no tray any more.
    pub state: Option<TaskState>,
}

impl Trays {
    /// How a tray stands; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if this cannot be a name, or the log cannot be read.
    pub fn tray(&self, name: &str) -> Result<Option<Tray>, TrayError> {
        check_tray(name)?;
        view::check(&self.log, FOLD)?;
        let row = self.log.tray(name)?;
        Ok(row.map(|row| Tray::of(name.to_owned(), row)))
    }

    /// Every tray, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`TrayError::Read`] if the log was opened without the fold, or it has stopped.
    pub fn trays(&self) -> Result<Vec<Tray>, TrayError> {
        view::check(&self.log, FOLD)?;
        let mut trays = Vec::new();
        let prefix = trays_prefix();
        view::each(&self.log, FOLD, &prefix, |(key, row)| {
            let row = rows::decode(&row).map_err(|error| view::failed(FOLD, error))?;
            let name = key.get(prefix.len()..).unwrap_or_default();
            trays.push(Tray::of(String::from_utf8_lossy(name).into_owned(), row));
            Ok(())
        })?;
        Ok(trays)
    }

    /// The tasks of a tray, in the order of their creation. It holds them all in memory.
    ///
    /// # Errors
    ///
    /// [`TrayError::NotFound`] if there is no such tray.
    pub fn list(&self, tray: &str) -> Result<Vec<TrayTask>, TrayError> {
        self.listed(tray, &list_prefix(tray))
    }

    /// The tasks of a tray that failed too often, those of the longest time ago first.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn dead_letters(&self, tray: &str) -> Result<Vec<TrayTask>, TrayError> {
        self.listed(tray, &dead_prefix(tray))
    }

    fn listed(&self, tray: &str, prefix: &[u8]) -> Result<Vec<TrayTask>, TrayError> {
        let not_found = || TrayError::NotFound {
            tray: tray.to_owned(),
        };
        let scope = self.tray(tray)?.ok_or_else(not_found)?.scope;
        let mut found = Vec::new();
        view::each(&self.log, FOLD, prefix, |(_, digest)| {
            if let Ok(digest) = digest.try_into() {
                let scope = scope.clone();
                found.push(TaskId { digest, scope });
            }
            Ok(())
        })?;
        let mut tasks = Vec::new();
        for id in found {
            // One that has left since the page was read is passed over.
            tasks.extend(self.get(&id)?.filter(|task| task.tray == tray));
        }
        Ok(tasks)
    }

    /// A task of a tray, by its id; `None` if it does not lie there.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if the id cannot be one, or the log cannot be read.
    pub fn find(&self, tray: &str, id: &str) -> Result<Option<TrayTask>, TrayError> {
        check_tray(tray)?;
        let Some(task) = self.tasks(tray).find(id)? else {
            return Ok(None);
        };
        let found = self.get(&task.id)?;
        Ok(found.filter(|found| found.tray == tray))
    }

    /// A task, as it lies in its tray; `None` if it lies in none.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if the log cannot be read.
    pub fn get(&self, id: &TaskId) -> Result<Option<TrayTask>, TrayError> {
        view::check(&self.log, FOLD)?;
        let Some(row) = self.log.task(&id.digest, &id.scope)? else {
            return Ok(None);
        };
        let Some(task) = Tasks::new(&self.log).get(id)? else {
            return Ok(None);
        };
        Ok(Some(self.shown(task, row)?))
    }

    /// What a task says of itself; `None` if that was erased.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if it cannot be read.
    pub fn content(&self, task: &TrayTask) -> Result<Option<TaskCreated>, TrayError> {
        Ok(Tasks::new(&self.log).content(&task.task)?)
    }

    fn shown(&self, task: Task, row: TrayTaskRow) -> Result<TrayTask, ReadError> {
        let is_ready = row.is_ready();
        let (mut depends_on, mut is_stuck) = (Vec::new(), false);
        for (place, digest) in row.depends_on.iter().enumerate() {
            let scope = task.id.scope.clone();
            let earlier = self.log.task(digest, &scope)?;
            let state = earlier.map(|earlier| earlier.state());
            let is_off = state.is_none_or(|state| state == TaskState::Cancelled);
            is_stuck |= is_off && row.waits_for(place);
            let id = TaskId {
                digest: *digest,
                scope,
            };
            depends_on.push(Dependency { id, state });
        }
        Ok(TrayTask {
            is_ready,
            is_stuck,
            tray: row.tray,
            priority: row.priority,
            depends_on,
            dead_letter: row.dead.map(Position::new),
            task,
        })
    }

    /// Tasks in trays whose lease is over.
    pub(super) fn expired(&self) -> Result<Vec<TaskId>, TrayError> {
        let expired = Tasks::new(&self.log).list(&TaskFilter::new().expired())?;
        let mut found = Vec::new();
        for task in expired {
            if self.log.task(&task.id.digest, &task.id.scope)?.is_some() {
                found.push(task.id);
            }
        }
        Ok(found)
    }
}
