//! Looking at trays.

use super::ask::check_tray;
use super::fold::{FOLD, dead_prefix, list_prefix, task_key, trays_prefix};
use super::look::{Look as _, in_tray};
use super::{TrayError, Trays};
use crate::events::TaskCreated;
use crate::rows::{self, TrayRow, TrayTaskRow};
use crate::tasks::fold::Digest;
use crate::tasks::{Task, TaskFilter, TaskId, TaskState, Tasks};
use crate::view;
use runstone_codec::Position;
use runstone_store::ReadError;
use std::collections::{BTreeMap, BTreeSet};

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

    /// The tasks of a tray, in the order of their creation. It holds them all in memory. What the tray and
    /// what the task says of one that moves meanwhile may be of different instants.
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
        // One that has left since its page was read is passed over.
        let tasks = self.get_all(&found)?.into_iter().flatten();
        Ok(tasks.filter(|task| task.tray == tray).collect())
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
        let found = self.get_all(std::slice::from_ref(id))?;
        Ok(found.into_iter().next().flatten())
    }

    /// Tasks, as they lie in their trays, in the order of their ids.
    fn get_all(&self, ids: &[TaskId]) -> Result<Vec<Option<TrayTask>>, TrayError> {
        view::check(&self.log, FOLD)?;
        let rows = self.rows(ids.iter().map(|id| (id.digest, id.scope.as_str())))?;
        let tasks = Tasks::new(&self.log).get_all(ids)?;
        let earlier = ids.iter().zip(&rows).filter_map(|(id, row)| {
            let digests = row.as_ref()?.depends_on.iter();
            Some(digests.map(|digest| (*digest, id.scope.as_str())))
        });
        let earlier: BTreeSet<_> = earlier.flatten().collect();
        let states = self.rows(earlier.iter().copied())?;
        let states = states.into_iter().map(|row| Some(row?.state()));
        let states: BTreeMap<_, _> = earlier.into_iter().zip(states).collect();
        let found = tasks.into_iter().zip(rows).map(|(task, row)| {
            let (task, row) = task.zip(row)?;
            Some(shown(task, row, &states))
        });
        Ok(found.collect())
    }

    /// Rows of tasks that lie in trays.
    fn rows<'t>(
        &self,
        tasks: impl Iterator<Item = (Digest, &'t str)>,
    ) -> Result<Vec<Option<TrayTaskRow>>, ReadError> {
        let keys = tasks.map(|(digest, scope)| task_key(&digest, scope));
        let rows = view::all_stored(&self.log, FOLD, &keys.collect::<Vec<_>>())?;
        Ok(rows.into_iter().map(in_tray).collect())
    }

    /// What a task says of itself; `None` if that was erased.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if it cannot be read.
    pub fn content(&self, task: &TrayTask) -> Result<Option<TaskCreated>, TrayError> {
        Ok(Tasks::new(&self.log).content(&task.task)?)
    }

    /// What tasks say of themselves, in their order: from afar in few requests.
    ///
    /// # Errors
    ///
    /// [`TrayError`] if nobody answers; that one cannot be read is in its place.
    pub fn contents(
        &self,
        tasks: &[TrayTask],
    ) -> Result<Vec<Result<Option<TaskCreated>, TrayError>>, TrayError> {
        let contents = Tasks::new(&self.log).contents(tasks.iter().map(|task| &task.task))?;
        let contents = contents.into_iter();
        Ok(contents.map(|content| Ok(content?)).collect())
    }

    /// Tasks in trays whose lease is over.
    pub(super) fn expired(&self) -> Result<Vec<TaskId>, TrayError> {
        let expired = Tasks::new(&self.log).list(&TaskFilter::new().expired())?;
        let ids = || expired.iter().map(|task| &task.id);
        let rows = self.rows(ids().map(|id| (id.digest, id.scope.as_str())))?;
        let found = ids().zip(rows).filter(|(_, row)| row.is_some());
        Ok(found.map(|(id, _)| id.clone()).collect())
    }
}

/// A task of a tray, with how those stand that come before it.
fn shown(
    task: Task,
    row: TrayTaskRow,
    states: &BTreeMap<(Digest, &str), Option<TaskState>>,
) -> TrayTask {
    let (mut depends_on, mut is_stuck) = (Vec::new(), false);
    for (place, digest) in row.depends_on.iter().enumerate() {
        let scope = task.id.scope.as_str();
        let state = states.get(&(*digest, scope)).copied().flatten();
        let is_off = state.is_none_or(|state| state == TaskState::Cancelled);
        is_stuck |= is_off && row.waits_for(place);
        let id = TaskId {
            digest: *digest,
            scope: scope.to_owned(),
        };
        depends_on.push(Dependency { id, state });
    }
    TrayTask {
        is_ready: row.is_ready(),
        is_stuck,
        tray: row.tray,
        priority: row.priority,
        depends_on,
        dead_letter: row.dead.map(Position::new),
        task,
    }
}
