//! From records to rows.
//!
//! ```text
//!  't' name                                        how a tray stands
//!  'k' digest(16) scope                            a task in a tray
//!  'q' name 00 ~priority(8) created(8)             what can be claimed, in its order: digest
//!  'l' name 00 place                               leases, by what they end by: digest
//!  'p' name 00 created(8)                          the tasks of a tray, in the order of their creation
//!  'd' name 00 position(8)                         its dead letters
//!  'e' digest(16) number(8) scope                  the tasks that a task comes before
//! ```

use crate::events::control::{task as field, tray};
use crate::rows::{self, DependentRow, TrayRow, TrayTaskRow};
use crate::seen::Seen;
use crate::tasks::TaskState;
use crate::tasks::fold::{Digest, LEASE, byte, digest, state_of};
use crate::tasks::machine::is_terminal;
use runstone_codec::Control;
use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "trays";
const TRAY_ROW: u8 = b't';
const TASK_ROW: u8 = b'k';
const READY_ROW: u8 = b'q';
const LEASE_ROW: u8 = b'l';
const LIST_ROW: u8 = b'p';
const DEAD_ROW: u8 = b'd';
const DEPENDENT_ROW: u8 = b'e';
/// Most tasks that come before one.
pub const MAX_DEPENDS_ON: usize = 24;

const _: () = assert!(MAX_DEPENDS_ON <= u64::BITS as usize, "each has a bit");

/// The fold of trays.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TraysFold;

impl TraysFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for TraysFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        2
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["task", "tray"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

/// Key of the row of a tray.
pub(super) fn tray_key(name: &str) -> Vec<u8> {
    [&[TRAY_ROW], name.as_bytes()].concat()
}

/// Prefix of the keys of all trays.
pub(super) fn trays_prefix() -> Vec<u8> {
    vec![TRAY_ROW]
}

/// Key of the row of a task.
pub(super) fn task_key(digest: &Digest, scope: &str) -> Vec<u8> {
    [&[TASK_ROW][..], digest, scope.as_bytes()].concat()
}

fn of_tray(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0]].concat()
}

/// Prefix of the keys of what can be claimed.
pub(super) fn ready_prefix(name: &str) -> Vec<u8> {
    of_tray(READY_ROW, name)
}

/// Prefix of the keys of the tasks of a tray.
pub(super) fn list_prefix(name: &str) -> Vec<u8> {
    of_tray(LIST_ROW, name)
}

/// Prefix of the keys of dead letters.
pub(super) fn dead_prefix(name: &str) -> Vec<u8> {
    of_tray(DEAD_ROW, name)
}

/// Prefix of the keys of leases.
pub(super) fn leases_prefix(name: &str) -> Vec<u8> {
    of_tray(LEASE_ROW, name)
}

fn dependent_key(task: &Digest, number: u64, scope: &str) -> Vec<u8> {
    [
        &[DEPENDENT_ROW][..],
        task,
        &number.to_be_bytes(),
        scope.as_bytes(),
    ]
    .concat()
}

impl TrayTaskRow {
    pub(super) fn state(&self) -> TaskState {
        TaskState::from_number(self.state.into()).unwrap_or(TaskState::Todo)
    }

    /// Whether it waits for the task of this place among those that come before it.
    pub(super) fn waits_for(&self, place: usize) -> bool {
        self.waits_for & bit(place) != 0
    }

    /// Whether it can be claimed.
    pub(super) fn is_ready(&self) -> bool {
        self.state() == TaskState::Todo && self.waits_for == 0
    }

    fn ready_key(&self) -> Vec<u8> {
        let mut key = ready_prefix(&self.tray);
        key.extend_from_slice(&(!self.priority).to_be_bytes());
        key.extend_from_slice(&self.created.to_be_bytes());
        key
    }

    fn lease_key(&self) -> Option<Vec<u8>> {
        let lease = self.lease.as_ref()?;
        Some([leases_prefix(&self.tray), lease.place()].concat())
    }
}

/// The bit of a place among the tasks that come before one.
fn bit(place: usize) -> u64 {
    1_u64.rotate_left(u32::try_from(place).unwrap_or_default())
}

/// The tasks that come before one, by the control of its creation.
pub(super) fn depends_on(control: &Control) -> Vec<Digest> {
    let fields = (field::DEPENDS_ON..).take(MAX_DEPENDS_ON);
    fields.map_while(|field| digest(control, field)).collect()
}

/// Takes one record into the rows. What a recording tells happened elsewhere.
fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some((namespace, change)) = seen.header.event_type.split_once('.') else {
        return Ok(());
    };
    if !matches!(namespace, "task" | "tray") || seen.is_imported() {
        return Ok(());
    }
    if namespace == "task" {
        let task = digest(seen.control, field::TASK);
        return task.map_or(Ok(()), |task| of_task(rows, &task, change, seen));
    }
    match seen.control.get_text(tray::NAME) {
        Some(name) => of_the_tray(rows, name, change, seen),
        None => Ok(()),
    }
}

fn of_the_tray(
    rows: &mut dyn Rows,
    name: &str,
    change: &str,
    seen: &Seen<'_>,
) -> Result<(), FoldError> {
    let key = tray_key(name);
    let before: Option<TrayRow> = rows::get(rows, &key)?;
    match (change, before) {
        ("opened", None) => {
            let row = TrayRow {
                scope: seen.header.scope.to_string(),
                opened: seen.position,
                opened_at_us: seen.recorded_at_us,
                closed: None,
                states: [0; 7],
                ready: 0,
                dead: 0,
            };
            rows::put(rows, &key, &row)
        }
        ("closed", Some(mut row)) => {
            row.closed.get_or_insert(seen.position);
            rows::put(rows, &key, &row)
        }
        ("dead_lettered", Some(_)) => {
            let Some(task) = digest(seen.control, tray::TASK) else {
                return Ok(());
            };
            change_task(rows, &task, &seen.header.scope, |row| {
                row.dead = Some(seen.position);
            })
        }
        _ => Ok(()),
    }
}

/// Takes an event of a task that lies, or is to lie, in a tray.
fn of_task(
    rows: &mut dyn Rows,
    task: &Digest,
    change: &str,
    seen: &Seen<'_>,
) -> Result<(), FoldError> {
    let scope = seen.header.scope.as_str();
    match change {
        "created" => created(rows, task, seen),
        "moved" => {
            let Some(state) = state_of(seen.control, field::TO) else {
                return Ok(());
            };
            change_task(rows, task, scope, |row| {
                row.state = byte(state);
                if state != TaskState::InProgress {
                    row.lease = None;
                }
            })?;
            if state == TaskState::Done {
                done(rows, task, scope)?;
            }
            Ok(())
        }
        "claimed" => change_task(rows, task, scope, |row| {
            row.lease = Some(LEASE.read(seen.control, seen.position));
        }),
        "lease_renewed" => change_task(rows, task, scope, |row| {
            if let Some(lease) = row.lease.as_mut() {
                let holder = std::mem::take(&mut lease.holder);
                *lease = LEASE.read(seen.control, seen.position);
                lease.holder = holder;
            }
        }),
        _ => Ok(()),
    }
}

/// Changes a task that lies in a tray, and everything that is found by it.
fn change_task(
    rows: &mut dyn Rows,
    task: &Digest,
    scope: &str,
    change: impl FnOnce(&mut TrayTaskRow),
) -> Result<(), FoldError> {
    let key = task_key(task, scope);
    let Some(before) = rows::get::<TrayTaskRow>(rows, &key)?.filter(|row| !row.has_left) else {
        return Ok(());
    };
    let mut after = before.clone();
    change(&mut after);
    unlink(rows, &before, Some(&after))?;
    link(rows, task, &after, Some(&before))?;
    rows::put(rows, &key, &after)
}

fn created(rows: &mut dyn Rows, task: &Digest, seen: &Seen<'_>) -> Result<(), FoldError> {
    let scope = seen.header.scope.as_str();
    let key = task_key(task, scope);
    let before: Option<TrayTaskRow> = rows::get(rows, &key)?;
    if let Some(before) = before.as_ref().filter(|row| !row.has_left) {
        unlink(rows, before, None)?;
    }
    let tray = seen.control.get_text(field::TRAY);
    let Some(tray) = tray else {
        // Those that wait for it do so until it is done in a tray.
        if let Some(mut before) = before {
            before.has_left = true;
            rows::put(rows, &key, &before)?;
        }
        return Ok(());
    };
    let mut row = TrayTaskRow {
        tray: tray.to_owned(),
        state: byte(state_of(seen.control, field::TO).unwrap_or(TaskState::Todo)),
        created: seen.position,
        priority: seen.control.get_u64(field::PRIORITY).unwrap_or_default(),
        depends_on: depends_on(seen.control),
        waits_for: 0,
        dependents: before.map_or(0, |before| before.dependents),
        lease: None,
        dead: None,
        has_left: false,
    };
    for (place, earlier) in row.depends_on.clone().into_iter().enumerate() {
        let earlier_key = task_key(&earlier, scope);
        let Some(mut known) = rows::get::<TrayTaskRow>(rows, &earlier_key)? else {
            continue;
        };
        if known.state() == TaskState::Done {
            continue;
        }
        let dependent = DependentRow {
            task: *task,
            created: seen.position,
        };
        let edge = dependent_key(&earlier, known.dependents, scope);
        rows::put(rows, &edge, &dependent)?;
        known.dependents = known.dependents.saturating_add(1);
        rows::put(rows, &earlier_key, &known)?;
        row.waits_for |= bit(place);
    }
    link(rows, task, &row, None)?;
    rows::put(rows, &key, &row)
}

/// Tells those that waited for a task that it is done.
fn done(rows: &mut dyn Rows, task: &Digest, scope: &str) -> Result<(), FoldError> {
    let key = task_key(task, scope);
    let Some(mut row) = rows::get::<TrayTaskRow>(rows, &key)?.filter(|row| !row.has_left) else {
        return Ok(());
    };
    let dependents = std::mem::take(&mut row.dependents);
    if dependents == 0 {
        return Ok(());
    }
    rows::put(rows, &key, &row)?;
    for number in 0..dependents {
        let edge = dependent_key(task, number, scope);
        let Some(dependent) = rows::get::<DependentRow>(rows, &edge)? else {
            continue;
        };
        rows.remove(&edge);
        change_task(rows, &dependent.task, scope, |row| {
            // Another life of it waits for other tasks.
            if row.created == dependent.created {
                let place = row.depends_on.iter().position(|earlier| earlier == task);
                row.waits_for &= !place.map_or(0, bit);
            }
        })?;
    }
    Ok(())
}

/// Keys by which a task is found.
fn keys(row: &TrayTaskRow) -> Vec<Vec<u8>> {
    let mut keys = vec![[list_prefix(&row.tray), row.created.to_be_bytes().to_vec()].concat()];
    if row.is_ready() {
        keys.push(row.ready_key());
    }
    keys.extend(row.lease_key());
    if let Some(dead) = row.dead {
        keys.push([dead_prefix(&row.tray), dead.to_be_bytes().to_vec()].concat());
    }
    keys
}

/// Takes away what a task is found by, unless it is found by it afterwards.
fn unlink(
    rows: &mut dyn Rows,
    row: &TrayTaskRow,
    after: Option<&TrayTaskRow>,
) -> Result<(), FoldError> {
    let kept = after.map(keys).unwrap_or_default();
    for key in keys(row).iter().filter(|key| !kept.contains(key)) {
        rows.remove(key);
    }
    count(rows, row, |count| count.saturating_sub(1))
}

fn link(
    rows: &mut dyn Rows,
    task: &Digest,
    row: &TrayTaskRow,
    before: Option<&TrayTaskRow>,
) -> Result<(), FoldError> {
    let known = before.map(keys).unwrap_or_default();
    for key in keys(row).iter().filter(|key| !known.contains(key)) {
        rows.put(key, task.to_vec());
    }
    count(rows, row, |count| count.saturating_add(1))
}

/// Changes the numbers of a tray by one task.
fn count(
    rows: &mut dyn Rows,
    row: &TrayTaskRow,
    change: impl Fn(u64) -> u64,
) -> Result<(), FoldError> {
    let key = tray_key(&row.tray);
    let Some(mut tray) = rows::get::<TrayRow>(rows, &key)? else {
        return Ok(());
    };
    if let Some(count) = tray.states.get_mut(usize::from(row.state)) {
        *count = change(*count);
    }
    if row.is_ready() {
        tray.ready = change(tray.ready);
    }
    if row.dead.is_some() {
        tray.dead = change(tray.dead);
    }
    rows::put(rows, &key, &tray)
}

impl TrayRow {
    /// How many of its tasks have not ended.
    pub(super) fn open(&self) -> u64 {
        let ended = |state: usize| {
            let state = TaskState::ALL.get(state);
            state.is_some_and(|state| is_terminal(*state))
        };
        let counts = self.states.iter().enumerate();
        counts
            .filter(|(state, _)| !ended(*state))
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    pub(super) fn count(&self, state: TaskState) -> u64 {
        let count = self.states.get(usize::from(byte(state)));
        count.copied().unwrap_or_default()
    }
}
