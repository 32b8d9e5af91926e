//! From records to rows.
//!
//! ```text
//!  't' digest(16) scope                    how the task stands
//!  's' state created(8) digest(16) scope   the tasks of a state, in the order of their creation
//!  'r' digest(16) scope                    some task names this id as its parent or creator
//!  'x' digest(16) scope                    what was refused of it in the last second
//!  'd' scope                               how many tasks of a scope were completed
//!  'n' scope                               how many of them have begun and not ended
//!  'o' digest(16) scope                    how many tasks of an agent have not ended
//!  'w' scope                               how many tasks of a scope, of any agent, have not ended
//! ```

use super::TaskState;
use super::machine::is_terminal;
use crate::agents;
use crate::budgets::OwnerId;
use crate::events::control::task as field;
use crate::lease::LeaseFields;
use crate::rows::{self, TaskRow};
use crate::seen::Seen;
use runstone_codec::Control;
use runstone_store::{Fold, FoldError, FoldRecord, ReadRow, Rows};

/// Name of the fold.
pub(crate) const FOLD: &str = "tasks";
/// First byte of the key of a task's row.
pub(super) const TASK_ROW: u8 = b't';
/// First byte of the key of the index by state.
const STATE_ROW: u8 = b's';
/// First byte of the key of an id that is named by a task.
const NAMED_ROW: u8 = b'r';
/// First byte of the key of what was refused.
const REFUSED_ROW: u8 = b'x';
/// First byte of the key of the number of completed tasks of a scope.
const COMPLETED_ROW: u8 = b'd';
/// First byte of the key of the number of begun tasks of a scope.
const BEGUN_ROW: u8 = b'n';
/// First byte of the key of the number of open tasks of an agent.
const OPEN_ROW: u8 = b'o';
/// First byte of the key of the number of open tasks of a scope that are somebody's.
pub(super) const OPEN_SCOPE_ROW: u8 = b'w';
pub(crate) const DIGEST_BYTES: usize = 16;
/// Equal refusals within this many microseconds are recorded once.
pub(super) const REFUSAL_WINDOW_US: u64 = 1_000_000;
/// Most refusals of one task of which it is known that they were recorded in the last second.
const MAX_REFUSED: usize = 64;

pub(crate) const LEASE: LeaseFields = LeaseFields {
    holder: field::HOLDER,
    opening: field::OPENING,
    lease_us: field::LEASE_US,
    expires_at_us: field::LEASE_EXPIRES_AT_US,
};

/// A keyed digest.
pub(crate) type Digest = [u8; DIGEST_BYTES];
/// Codes of what was refused, and when it was recorded last.
pub(super) type Refusals = Vec<(String, u64)>;

/// The fold of tasks.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TasksFold;

impl TasksFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for TasksFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        5
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["task"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }

    fn in_use(&self, row: ReadRow<'_>, scope: &str) -> Result<Option<String>, FoldError> {
        let count = row(&begun_key(scope))?;
        let count = count.map(|count| rows::decode::<u64>(&count)).transpose()?;
        Ok(count.map(|count| format!("{count} tasks of it have begun and not ended")))
    }
}

fn of_task(kind: u8, digest: &[u8], scope: &str) -> Vec<u8> {
    [&[kind], digest, scope.as_bytes()].concat()
}

/// Key of the row of a task.
pub(crate) fn task_key(digest: &Digest, scope: &str) -> Vec<u8> {
    of_task(TASK_ROW, digest, scope)
}

/// Key of the mark that some task names this id.
pub(super) fn named_key(digest: &Digest, scope: &str) -> Vec<u8> {
    of_task(NAMED_ROW, digest, scope)
}

/// Key of what was refused of a task.
pub(super) fn refused_key(digest: &Digest, scope: &str) -> Vec<u8> {
    of_task(REFUSED_ROW, digest, scope)
}

/// Key of the number of completed tasks of a scope.
pub(super) fn completed_key(scope: &str) -> Vec<u8> {
    [&[COMPLETED_ROW], scope.as_bytes()].concat()
}

/// Key of the number of open tasks of an agent.
pub(super) fn open_key(agent: &Digest, scope: &str) -> Vec<u8> {
    of_task(OPEN_ROW, agent, scope)
}

fn begun_key(scope: &str) -> Vec<u8> {
    [&[BEGUN_ROW], scope.as_bytes()].concat()
}

fn state_key(row: &TaskRow, digest: &[u8], scope: &str) -> Vec<u8> {
    let created = row.created.to_be_bytes();
    [
        &[STATE_ROW, row.state][..],
        &created,
        digest,
        scope.as_bytes(),
    ]
    .concat()
}

/// Prefix of the keys of all tasks, and what comes before digest and scope in each.
pub(super) fn all_prefix() -> (Vec<u8>, usize) {
    (vec![TASK_ROW], 1)
}

/// Prefix of the keys of the tasks of a state, and what comes before digest and scope in each.
pub(super) fn state_prefix(state: TaskState) -> (Vec<u8>, usize) {
    let prefix = vec![STATE_ROW, byte(state)];
    (prefix, 2 + size_of::<u64>())
}

/// Somebody works on it, looks at it, or is kept from it.
pub(super) fn has_begun(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::InProgress | TaskState::InReview | TaskState::Blocked
    )
}

/// A field of control that is a digest.
pub(crate) fn digest(control: &Control, field: u16) -> Option<Digest> {
    control.get_bytes(field)?.try_into().ok()
}

/// Takes one record into the rows. What a recording tells happened elsewhere, and is no work of
/// this log.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(change) = seen.header.event_type.strip_prefix("task.") else {
        return Ok(());
    };
    let Some(task) = digest(seen.control, field::TASK) else {
        return Ok(());
    };
    if seen.is_imported() {
        return Ok(());
    }
    if change == "refused" {
        return refused(rows, &task, seen);
    }
    let scope = seen.header.scope.as_str();
    let key = task_key(&task, scope);
    let before: Option<TaskRow> = rows::get(rows, &key)?;
    let next = if change == "created" {
        Some(created(rows, before.as_ref(), seen)?)
    } else {
        before.clone().and_then(|row| changed(row, change, seen))
    };
    let Some(mut next) = next else {
        return Ok(());
    };
    let was = before.as_ref().map(TaskRow::state);
    let is = next.state();
    // Completed anew: by a move, or by the beginning of another life before.
    if change == "moved" && is == TaskState::Done && was != Some(TaskState::Done) {
        let key = completed_key(scope);
        let count = rows::get::<u64>(rows, &key)?.unwrap_or(0).saturating_add(1);
        rows::put(rows, &key, &count)?;
        next.completed = Some(count);
    }
    let old_key = before.as_ref().map(|row| state_key(row, &task, scope));
    let new_key = state_key(&next, &task, scope);
    if old_key.as_ref() != Some(&new_key) {
        if let Some(old_key) = old_key {
            rows.remove(&old_key);
        }
        rows.put(&new_key, Vec::new());
    }
    match (was.is_some_and(has_begun), has_begun(is)) {
        (false, true) => rows::count(rows, &begun_key(scope), true)?,
        (true, false) => rows::count(rows, &begun_key(scope), false)?,
        _ => {}
    }
    let [was_open, is_open] = [before.as_ref().and_then(open), open(&next)];
    if was_open != is_open {
        for (agent, is_more) in [(was_open, false), (is_open, true)] {
            let Some(agent) = agent else { continue };
            rows::count(rows, &open_key(&agent, scope), is_more)?;
            rows::count(rows, &of_task(OPEN_SCOPE_ROW, &[], scope), is_more)?;
        }
    }
    rows::put(rows, &key, &next)
}

/// The agent of a task that has not ended.
fn open(row: &TaskRow) -> Option<Digest> {
    row.agent.filter(|_| !is_terminal(row.state()))
}

/// The row after its creation, which may begin another life of a task that has ended.
fn created(
    rows: &mut dyn Rows,
    before: Option<&TaskRow>,
    seen: &Seen<'_>,
) -> Result<TaskRow, FoldError> {
    let scope = seen.header.scope.as_str();
    let parent = digest(seen.control, field::PARENT);
    let creator = digest(seen.control, field::CREATOR);
    for named in [parent, creator].into_iter().flatten() {
        let key = named_key(&named, scope);
        if rows.get(&key)?.is_none() {
            rows.put(&key, Vec::new());
        }
    }
    let state = state_of(seen.control, field::TO).unwrap_or(TaskState::Todo);
    Ok(TaskRow {
        state: byte(state),
        depth: seen.control.get_u64(field::DEPTH).unwrap_or_default(),
        attempt: 1,
        stream: seen.header.stream.to_string(),
        created: seen.position,
        created_at_us: seen.recorded_at_us,
        moved: seen.position,
        moved_at_us: seen.recorded_at_us,
        agent: digest(seen.control, field::AGENT),
        task_type: digest(seen.control, field::TYPE),
        parent,
        creator,
        fence: None,
        lease: None,
        claimed_as: None,
        moved_by: None,
        completed: before.and_then(|row| row.completed),
        in_tray: seen.control.get_text(field::TRAY).is_some(),
        budget: OwnerId::of(
            seen.control.get_bytes(field::BUDGET),
            seen.control.get_text(field::BUDGET_SCOPE),
        )
        .map(|owner| owner.key()),
    })
}

/// The row after an event. The decider sees to it that only what may follow is recorded.
fn changed(mut row: TaskRow, change: &str, seen: &Seen<'_>) -> Option<TaskRow> {
    match change {
        "moved" => {
            let state = state_of(seen.control, field::TO)?;
            row.state = byte(state);
            row.moved = seen.position;
            row.moved_at_us = seen.recorded_at_us;
            row.moved_by = seen.control.get_u64(field::FENCE);
            if let Some(attempt) = seen.control.get_u64(field::ATTEMPT) {
                row.attempt = attempt;
            }
            // Nobody holds what is not in progress.
            if state != TaskState::InProgress {
                row.lease = None;
            }
        }
        "claimed" => {
            let lease = LEASE.read(seen.control, seen.position);
            row.fence = Some(seen.position);
            row.claimed_as = agents::claims_as(seen.header, &lease.holder).map(str::to_owned);
            row.lease = Some(lease);
        }
        "lease_renewed" => {
            if let Some(lease) = row.lease.as_mut() {
                let holder = std::mem::take(&mut lease.holder);
                *lease = LEASE.read(seen.control, seen.position);
                lease.holder = holder;
            }
        }
        _ => return None,
    }
    Some(row)
}

/// Keeps what was refused in the last second, so that it is not recorded again.
fn refused(rows: &mut dyn Rows, task: &Digest, seen: &Seen<'_>) -> Result<(), FoldError> {
    let key = refused_key(task, &seen.header.scope);
    let mut known: Refusals = rows::get(rows, &key)?.unwrap_or_default();
    let code = refusal_code(&seen.header.principal, seen.control);
    known.retain(|(other, at_us)| {
        *other != code && seen.recorded_at_us.saturating_sub(*at_us) < REFUSAL_WINDOW_US
    });
    if known.len() >= MAX_REFUSED {
        known.remove(0);
    }
    known.push((code, seen.recorded_at_us));
    rows::put(rows, &key, &known)
}

/// What two refusals of one task have in common if they are equal, and of one caller.
pub(super) fn refusal_code(principal: &str, control: &Control) -> String {
    let number = |field| control.get_u64(field).unwrap_or(u64::MAX);
    let why = control.get_text(field::WHY).unwrap_or_default();
    let (from, to) = (number(field::FROM), number(field::TO));
    format!("{why}:{from}:{to}:{principal}")
}

/// A state in control.
pub(crate) fn state_of(control: &Control, field: u16) -> Option<TaskState> {
    control.get_u64(field).and_then(TaskState::from_number)
}

pub(crate) fn byte(state: TaskState) -> u8 {
    u8::try_from(state.number()).unwrap_or_default()
}

impl TaskRow {
    pub(crate) fn state(&self) -> TaskState {
        TaskState::from_number(self.state.into()).unwrap_or(TaskState::Todo)
    }
}
