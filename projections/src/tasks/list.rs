//! Looking at tasks.

use super::ask::{NewTask, check_id};
use super::decide::Verdict;
use super::draft::keyed;
use super::fold::{
    DIGEST_BYTES, Digest, FOLD, OPEN_SCOPE_ROW, all_prefix, open_key, state_prefix, task_key,
};
use super::loops::{Judged, Look, Wanted, judge};
use super::run::bounds;
use super::spending::{AtReader, spending};
use super::{Order, Task, TaskError, TaskId, TaskState, Tasks, field};
use crate::DecodeRecord as _;
use crate::budgets;
use crate::events::TaskCreated;
use crate::lease::Moment;
use crate::rows::{self, TaskRow};
use crate::settings::Settings;
use crate::view;
use bincode::Decode;
use runstone_store::{FoldError, Log, ReadError};

/// Rows fetched at once.
const PAGE: usize = 256;
/// Most scopes in which the open tasks of an agent are counted.
const COUNTED_SCOPES: usize = 256;

/// Which tasks are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFilter {
    /// How they stand.
    pub state: Option<TaskState>,
    /// Who is to do them, in the scope of the handle.
    pub agent: Option<String>,
    /// What kind of work they are, in the scope of the handle.
    pub task_type: Option<String>,
    /// The task that they are a part of, in the scope of the handle.
    pub parent: Option<String>,
    /// Who holds them.
    pub holder: Option<String>,
    /// Only those whose holder let the lease pass.
    pub expired: bool,
    /// Only those that have not ended.
    pub open: bool,
}

impl TaskFilter {
    /// Every task.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only tasks that stand so.
    #[must_use]
    pub fn state(mut self, state: TaskState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only tasks of this agent.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Only tasks of this kind.
    #[must_use]
    pub fn task_type(mut self, task_type: impl Into<String>) -> Self {
        self.task_type = Some(task_type.into());
        self
    }

    /// Only parts of this task.
    #[must_use]
    pub fn parent(mut self, id: impl Into<String>) -> Self {
        self.parent = Some(id.into());
        self
    }

    /// Only tasks that this one holds, literally as it claimed them.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Only tasks whose holder let the lease pass.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    /// Only tasks that have not ended.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Whether only tasks are meant that somebody holds; those are in progress.
    fn is_of_held(&self) -> bool {
        self.expired || self.holder.is_some()
    }
}

/// Rows as readers see them.
struct Rows<'a>(&'a Log);

impl Look for Rows<'_> {
    type Error = ReadError;

    fn get<T: Decode<()>>(&mut self, key: &[u8]) -> Result<Option<T>, ReadError> {
        let row = self.0.fold_row(FOLD, key)?;
        row.map(|row| rows::decode(&row))
            .transpose()
            .map_err(|error: FoldError| failed(error.to_string()))
    }

    fn has(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.0.fold_row(FOLD, key)?.is_some())
    }
}

impl Tasks {
    /// How a task stands; `None` if there is none of that id.
    ///
    /// # Errors
    ///
    /// [`TaskError`] if the id cannot be one, or the log cannot be read.
    pub fn find(&self, id: &str) -> Result<Option<Task>, TaskError> {
        check_id(id)?;
        match self.id_of(id)? {
            Some(id) => self.get(&id),
            None => Ok(None),
        }
    }

    /// How a task stands.
    ///
    /// # Errors
    ///
    /// [`TaskError::Read`] if the log cannot be read.
    pub fn get(&self, id: &TaskId) -> Result<Option<Task>, TaskError> {
        let found = self.get_all(std::slice::from_ref(id))?;
        Ok(found.into_iter().next().flatten())
    }

    /// How tasks stand, in the order of their ids.
    pub(crate) fn get_all(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, TaskError> {
        check(&self.log)?;
        let keys: Vec<_> = ids
            .iter()
            .map(|id| task_key(&id.digest, &id.scope))
            .collect();
        let rows: Vec<Option<TaskRow>> = view::all_stored(&self.log, FOLD, &keys)?;
        let moment = Moment::Now(self.log.opening(), self.log.steady_us());
        let tasks = ids.iter().zip(rows);
        let tasks = tasks.map(|(id, row)| row.map(|row| Task::of(id.clone(), &row, &moment)));
        Ok(tasks.collect())
    }

    /// What a task says of itself; `None` if that was erased.
    ///
    /// # Errors
    ///
    /// [`TaskError::Read`] if it cannot be read.
    pub fn content(&self, task: &Task) -> Result<Option<TaskCreated>, TaskError> {
        let record = self.log.record(task.created)?;
        Ok(record.decode().ok())
    }

    /// What tasks say of themselves, in their order: from afar in few requests.
    ///
    /// # Errors
    ///
    /// [`TaskError::Read`] if nobody answers; that one cannot be read is in its place.
    pub fn contents<'t>(
        &self,
        tasks: impl IntoIterator<Item = &'t Task>,
    ) -> Result<Vec<Result<Option<TaskCreated>, TaskError>>, TaskError> {
        let created: Vec<_> = tasks.into_iter().map(|task| task.created).collect();
        let mut contents = Vec::with_capacity(created.len());
        for some in created.chunks(PAGE) {
            let records = self.log.records(some)?.into_iter();
            contents.extend(records.map(|record| Ok(record?.decode().ok())));
        }
        Ok(contents)
    }

    /// Tasks that are meant, of every scope unless names are given, in the order of their creation. It
    /// holds them all in memory.
    ///
    /// # Errors
    ///
    /// [`TaskError::Read`] if the log was opened without the fold, or it has stopped.
    pub fn list(&self, filter: &TaskFilter) -> Result<Vec<Task>, TaskError> {
        self.list_if(filter, &|_| true)
    }

    /// As [`list`](Self::list), of those that are wanted besides; no others are held in memory.
    pub(super) fn list_if(
        &self,
        filter: &TaskFilter,
        is_wanted: &dyn Fn(&Task) -> bool,
    ) -> Result<Vec<Task>, TaskError> {
        check(&self.log)?;
        let Some(meant) = Meant::of(self, filter)? else {
            return Ok(Vec::new());
        };
        let state = filter
            .state
            .or_else(|| filter.is_of_held().then_some(TaskState::InProgress));
        let (prefix, skip) = state.map_or_else(all_prefix, state_prefix);
        let moment = Moment::Now(self.log.opening(), self.log.steady_us());
        let (mut found, mut from) = (Vec::new(), prefix.clone());
        loop {
            let page = self.log.fold_rows(FOLD, &prefix, &from, PAGE)?;
            for (key, row) in &page {
                let id = id_in(key.get(skip..).unwrap_or_default())?;
                // One that was moved since the page was read is seen as it stands now.
                let row: Option<TaskRow> = if state.is_some() {
                    Rows(&self.log).get(&task_key(&id.digest, &id.scope))?
                } else {
                    let row = rows::decode(row).map_err(|error| failed(error.to_string()))?;
                    Some(row)
                };
                let task = row.map(|row| Task::of(id, &row, &moment));
                let is_meant = |task: &Task| meant.matches(task, filter) && is_wanted(task);
                found.extend(task.filter(is_meant));
            }
            let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else {
                break;
            };
            from.clone_from(last);
            from.push(0);
        }
        found.sort_by_key(|task| task.created);
        Ok(found)
    }

    /// How many tasks an agent has that have not ended, of every scope that has such tasks, at most
    /// the first [`COUNTED_SCOPES`]; `None` if the keys of a scope cannot be had.
    pub(crate) fn open_of(log: &Log, agent: &str) -> Result<Option<u64>, ReadError> {
        check(log)?;
        let keyed = keyed(field::AGENT, field::AGENT_LABEL, agent);
        let (prefix, mut count) = ([OPEN_SCOPE_ROW], 0_u64);
        for (key, _) in log.fold_rows(FOLD, &prefix, &prefix, COUNTED_SCOPES)? {
            let scope = std::str::from_utf8(key.get(1..).unwrap_or_default());
            let scope = scope.map_err(|error| failed(error.to_string()))?;
            let Ok(digest) = log.keyed_digest(scope, &keyed) else {
                return Ok(None);
            };
            // An erased scope has no key, and no work for anybody.
            let Some(digest) = digest else { continue };
            let open: Option<u64> = Rows(log).get(&open_key(&digest, scope))?;
            count = count.saturating_add(open.unwrap_or(0));
        }
        Ok(Some(count))
    }

    /// How deep a task would stand if it were created now, or why it would not be. Nothing is
    /// recorded, and whether it says enough to be admitted is not asked.
    ///
    /// # Errors
    ///
    /// [`TaskError`]: why it would not be created.
    pub fn check(&self, new: &NewTask, max_depth: Option<u64>) -> Result<u64, TaskError> {
        new.check()?;
        check(&self.log)?;
        let settings = Settings::in_force(&self.log)?.settings;
        let mut bounds = bounds(&settings);
        bounds.max_depth = max_depth.unwrap_or(bounds.max_depth);
        let named = new.budget.as_ref();
        let named = named.map(|owner| budgets::id_of(&self.log, owner));
        let named = named.transpose()?;
        let scope = self.scope_now()?;
        let digest = |number, label, name: Option<&String>| -> Result<Option<Digest>, TaskError> {
            let Some(name) = name else { return Ok(None) };
            let digest = self.log.keyed_digest(&scope, &keyed(number, label, name))?;
            // Nothing is known of a scope without a key, but a name is still itself.
            Ok(Some(digest.unwrap_or_else(|| stand_in(name))))
        };
        let wanted = Wanted {
            task: digest(field::TASK, field::LABEL, Some(&new.id))?.unwrap_or_default(),
            scope: &scope,
            agent: digest(field::AGENT, field::AGENT_LABEL, new.agent.as_ref())?,
            task_type: digest(field::TYPE, field::TYPE_LABEL, new.task_type.as_ref())?,
            parent: digest(field::PARENT, field::LABEL, new.parent.as_ref())?,
            creator: digest(field::CREATOR, field::LABEL, new.creator.as_ref())?,
        };
        let verdict = match judge(&mut Rows(&self.log), &wanted, &bounds)? {
            Judged::Allowed { depth } => {
                let named = (named.as_ref(), &budgets::Rules::of(&settings));
                let looked = (&mut Rows(&self.log), &mut AtReader(&self.log));
                match spending(looked, &wanted, named, depth)? {
                    Ok(_) => return Ok(depth),
                    Err(verdict) => verdict,
                }
            }
            Judged::ParentUnknown => Verdict::ParentUnknown,
            Judged::Found(found) => Verdict::Loop(found),
            Judged::Exists(row) => {
                let moment = Moment::Now(self.log.opening(), self.log.steady_us());
                let id = TaskId {
                    digest: wanted.task,
                    scope: scope.clone(),
                };
                Verdict::Exists(Box::new(Task::of(id, &row, &moment)))
            }
        };
        Err(self.refusal(&Order::Create(new.clone()), verdict))
    }

    /// The scope in which ids are looked up.
    fn scope_now(&self) -> Result<String, TaskError> {
        let of_stream = self.log.scope_of_stream(&self.stream)?;
        let or_default = || "default".to_owned();
        Ok(of_stream
            .or_else(|| self.scope.clone())
            .unwrap_or_else(or_default))
    }

    /// `None` if nothing was ever recorded in the scope.
    pub(super) fn id_of(&self, id: &str) -> Result<Option<TaskId>, TaskError> {
        let scope = self.scope_now()?;
        let digest = self
            .log
            .keyed_digest(&scope, &keyed(field::TASK, field::LABEL, id))?;
        Ok(digest.map(|digest| TaskId { digest, scope }))
    }
}

/// A digest of a name, where there is nothing to compare it with but other names of
/// the same question.
fn stand_in(name: &str) -> Digest {
    use sha2::{Digest as _, Sha256};
    let mut digest = [0; DIGEST_BYTES];
    for (to, from) in digest.iter_mut().zip(Sha256::digest(name.as_bytes())) {
        *to = from;
    }
    digest
}

/// A filter whose names are digests.
struct Meant {
    scope: Option<String>,
    agent: Option<Digest>,
    task_type: Option<Digest>,
    parent: Option<Digest>,
}

impl Meant {
    /// `None` if nothing can be meant: nothing was ever recorded in the scope.
    fn of(tasks: &Tasks, filter: &TaskFilter) -> Result<Option<Self>, TaskError> {
        let mut meant = Self {
            scope: None,
            agent: None,
            task_type: None,
            parent: None,
        };
        for (name, number, label, digest) in [
            (
                &filter.agent,
                field::AGENT,
                field::AGENT_LABEL,
                &mut meant.agent,
            ),
            (
                &filter.task_type,
                field::TYPE,
                field::TYPE_LABEL,
                &mut meant.task_type,
            ),
            (
                &filter.parent,
                field::PARENT,
                field::LABEL,
                &mut meant.parent,
            ),
        ] {
            let Some(name) = name else { continue };
            let scope = tasks.scope_now()?;
            *digest = tasks
                .log
                .keyed_digest(&scope, &keyed(number, label, name))?;
            meant.scope = Some(scope);
            if digest.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(meant))
    }

    fn matches(&self, task: &Task, filter: &TaskFilter) -> bool {
        let is = |wanted: Option<Digest>, found| wanted.is_none() || wanted == found;
        self.scope
            .as_ref()
            .is_none_or(|scope| *scope == task.id.scope)
            && is(self.agent, task.agent)
            && is(self.task_type, task.kind)
            && is(self.parent, task.parent)
            && filter.state.is_none_or(|state| state == task.state)
            && (!filter.expired || task.is_expired)
            && filter
                .holder
                .as_ref()
                .is_none_or(|holder| task.is_held && *holder == task.holder)
            && (!filter.open || !super::machine::is_terminal(task.state))
    }
}

pub(super) fn id_in(bytes: &[u8]) -> Result<TaskId, ReadError> {
    let id = bytes
        .split_first_chunk::<DIGEST_BYTES>()
        .and_then(|(digest, scope)| {
            Some(TaskId {
                digest: *digest,
                scope: std::str::from_utf8(scope).ok()?.to_owned(),
            })
        });
    id.ok_or_else(|| failed("the key of a row names no task".to_owned()))
}

/// A fold that has stopped knows nothing of what came after.
fn check(log: &Log) -> Result<(), ReadError> {
    let stopped = log
        .fold_status()?
        .into_iter()
        .find(|status| status.name == FOLD)
        .and_then(|status| status.stopped);
    match stopped {
        Some((position, why)) => Err(failed(format!("it stopped at position {position}: {why}"))),
        None => Ok(()),
    }
}

fn failed(why: String) -> ReadError {
    ReadError::Fold {
        fold: FOLD.to_owned(),
        why,
    }
}
