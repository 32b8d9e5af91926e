//! What was begun and never ended.
//!
//! ```text
//!  claim        a call without an outcome: in flight, its lease over, or unknown
//!  step         step.started without step.completed, failed, blocked or skipped
//!  run          run.started without run.finished, and nobody holds it
//!  task         one in progress whose holder let the lease pass
//!  reservation  one that nobody settled before its lease was over
//! ```
//!
//! Recordings made elsewhere are left out: nobody here could end what they tell of. A run that is
//! paused waits for somebody and is no orphan. What a rollback dropped of a run's steps says nothing.

use crate::DecodeRecord as _;
use crate::budgets::{BudgetError, Budgets, all_lapsed};
use crate::effects::{self, Effect, EffectFilter, State};
use crate::events::{StepStarted, control};
use crate::runs::{self, RunFilter, RunStatus, RunSummary, Told};
use crate::seen::is_imported;
use crate::tasks::{TaskError, TaskFilter, Tasks};
use crate::view;
use runstone_codec::{Position, TypedEvent};
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// What kind of thing was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OrphanKind {
    /// A call that happens once.
    Claim,
    /// A node of a workflow.
    Step,
    /// A run.
    Run,
    /// A task.
    Task,
    /// What is held back of a budget.
    Reservation,
}

impl OrphanKind {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Step => "step",
            Self::Run => "run",
            Self::Task => "task",
            Self::Reservation => "reservation",
        }
    }
}

impl fmt::Display for OrphanKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl Serialize for OrphanKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Something that was begun and never ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orphan {
    /// What it is.
    pub kind: OrphanKind,
    /// Its stream.
    pub stream: String,
    /// What is called, the node, the name of the run, the id of the task, or whose budget it is; `None`
    /// if that was erased.
    pub name: Option<String>,
    /// How it stands: `in-flight`, `expired` or `unknown` for a call, `started` for a step, the status of
    /// a run, `expired` for a task and a reservation.
    pub state: String,
    /// Whether somebody still holds it, or the run that it is a step of: it may end yet.
    pub is_held: bool,
    /// Who holds it, or held it.
    pub holder: Option<String>,
    /// When the lease of a call, a task or a reservation ends, Unix microseconds.
    pub lease_expires_at_us: Option<u64>,
    /// Where it began: the newest claim, the start of the step or of the run, the reservation.
    pub position: Position,
    /// When it began by the log's clock, Unix microseconds.
    pub since_us: u64,
}

/// Everything that was begun and never ended, in the order in which it began. It looks at every run,
/// every open call, task and reservation and every event of a step once.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read, or its folds have stopped.
pub fn list(log: &Log) -> Result<Vec<Orphan>, ReadError> {
    let mut found = Vec::new();
    for state in [State::InFlight, State::Unknown] {
        let open = effects::list(log, &EffectFilter::new().state(state))?;
        found.extend(open.into_iter().map(claim));
    }
    let mut held = BTreeMap::new();
    for run in runs::list(log, RunFilter::new().imported(false))? {
        let run = run?;
        if run.finished.is_none() && run.status == RunStatus::Running && run.holder.is_some() {
            held.insert(run.stream, run.holder);
        } else if is_left(&run) {
            found.push(left(log, run)?);
        }
    }
    found.extend(steps(log, &held)?);
    found.extend(tasks(log)?);
    found.extend(reservations(log)?);
    found.sort_by_key(|orphan| orphan.position);
    Ok(found)
}

fn claim(effect: Effect) -> Orphan {
    let state = if effect.is_expired {
        "expired"
    } else {
        effect.state.as_str()
    };
    Orphan {
        kind: OrphanKind::Claim,
        stream: effect.stream,
        name: Some(effect.name),
        state: state.to_owned(),
        is_held: effect.state == State::InFlight && !effect.is_expired,
        holder: Some(effect.holder),
        lease_expires_at_us: effect.lease_expires_at_us,
        position: effect.fence,
        since_us: effect.claimed_at_us,
    }
}

/// A stream that no `run.started` began is no run that could end.
fn is_left(run: &RunSummary) -> bool {
    run.started.is_some() && run.finished.is_none() && run.status != RunStatus::Paused
}

fn left(log: &Log, run: RunSummary) -> Result<Orphan, ReadError> {
    Ok(Orphan {
        kind: OrphanKind::Run,
        name: runs::name(log, &run)?,
        state: run.status.to_string(),
        is_held: false,
        holder: run.holder,
        lease_expires_at_us: None,
        position: run.started.unwrap_or(run.last),
        since_us: run.first_recorded_at_us,
        stream: run.stream,
    })
}

fn steps(log: &Log, held: &BTreeMap<String, Option<String>>) -> Result<Vec<Orphan>, ReadError> {
    let mut open: BTreeMap<(String, Vec<u8>), (Position, u64)> = BTreeMap::new();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let events = Item::new().of_type("step.*");
    for record in log.read(Read::new(Query::from(events)).without_payloads())? {
        let record = record?;
        let Some(node) = record.control.get_bytes(control::NODE) else {
            continue;
        };
        if is_imported(&record.header) {
            continue;
        }
        let stream = &record.header.stream;
        let told = match told.entry(stream.to_string()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Told::of(log, stream, None)?),
        };
        if !told.has(record.position.get()) {
            continue;
        }
        let key = (stream.to_string(), node.to_vec());
        if record.header.event_type == StepStarted::TYPE {
            open.insert(key, (record.position, record.recorded_at_us));
        } else {
            open.remove(&key);
        }
    }
    let mut found = Vec::with_capacity(open.len());
    for ((stream, _), (position, since_us)) in open {
        let holder = held.get(&stream);
        found.push(Orphan {
            kind: OrphanKind::Step,
            name: node_of(&log.record(position)?),
            state: "started".to_owned(),
            is_held: holder.is_some(),
            holder: holder.cloned().flatten(),
            lease_expires_at_us: None,
            position,
            since_us,
            stream,
        });
    }
    Ok(found)
}

fn tasks(log: &Log) -> Result<Vec<Orphan>, ReadError> {
    let tasks = Tasks::new(log);
    let read = |error| match error {
        TaskError::Read(error) => error,
        other => view::failed("tasks", other),
    };
    let expired = tasks.list(&TaskFilter::new().expired()).map_err(read)?;
    let orphans = expired.into_iter().map(|task| {
        let said = tasks.content(&task).map_err(read)?;
        Ok(Orphan {
            kind: OrphanKind::Task,
            name: said.map(|said| said.id),
            state: "expired".to_owned(),
            is_held: false,
            holder: Some(task.holder),
            lease_expires_at_us: task.lease_expires_at_us,
            position: task.fence.unwrap_or(task.moved),
            since_us: task.moved_at_us,
            stream: task.stream,
        })
    });
    orphans.collect()
}

fn reservations(log: &Log) -> Result<Vec<Orphan>, ReadError> {
    let orphans = all_lapsed(log)?.into_iter().map(|reservation| {
        let name = Budgets::new(log).name_of(&reservation.owner);
        Ok(Orphan {
            kind: OrphanKind::Reservation,
            name: name.map_err(|error| match error {
                BudgetError::Read(error) => error,
                other => view::failed("budgets", other),
            })?,
            state: reservation.state.to_owned(),
            is_held: false,
            holder: None,
            lease_expires_at_us: reservation.lease_expires_at_us,
            position: reservation.fence,
            since_us: reservation.at_us,
            stream: reservation.stream,
        })
    });
    orphans.collect()
}

fn node_of(record: &Record) -> Option<String> {
    let started = record.decode::<StepStarted>();
    started.ok().map(|started| started.node)
}
