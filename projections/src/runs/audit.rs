//! Who did what in a run, what was stopped in it, and what happened last.
//!
//! It is read from the log by its index, newest first, as far back as is asked for; nothing of it
//! is kept in rows. Names and reasons are content: where they were erased, there are none.

use crate::DecodeRecord as _;
use crate::events::control::{self, effect as field};
use crate::events::{
    EffectClaimed, EffectRefused, RunForked, RunPaused, RunRolledBack, StepBlocked,
};
use crate::seen::is_imported;
use runstone_codec::{Authority, Position, TypedEvent};
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How many of the newest events [`recent`] tells.
pub const RECENT: u64 = 20;

/// One of the newest events of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recent {
    /// Where it stands.
    pub position: Position,
    /// Its place in the run.
    pub revision: u64,
    /// Its type.
    pub event_type: String,
    /// When it happened, Unix microseconds: by the producer's clock where it was imported and has
    /// one, else by the log's.
    pub at_us: u64,
    /// The producer's word for itself.
    pub source: String,
}

/// The [`RECENT`] newest events of a run, oldest first.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn recent(log: &Log, stream: &str) -> Result<Newest<Recent>, ReadError> {
    let read = Read::new(Query::stream(stream)).without_payloads();
    let (records, is_cut) = newest(log, read, RECENT)?;
    let told = records.into_iter().map(|record| Recent {
        position: record.position,
        revision: record.revision.get(),
        at_us: at_us(&record),
        event_type: record.header.event_type.into(),
        source: record.header.source.into(),
    });
    Ok(Newest {
        items: told.collect(),
        is_cut,
    })
}

/// A part of a long list: the newest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Newest<T> {
    /// Oldest first.
    pub items: Vec<T>,
    /// Whether older ones were left out.
    pub is_cut: bool,
}

/// What kind of thing was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A step may not go on.
    Blocked,
    /// The run waits for somebody.
    Paused,
    /// A claim of a call was refused for a reason that matters.
    Refused,
}

impl ViolationKind {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl Serialize for ViolationKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Something that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Where it is recorded.
    pub position: Position,
    /// When, Unix microseconds; see [`Recent::at_us`].
    pub at_us: u64,
    /// What kind.
    pub kind: ViolationKind,
    /// The node, or the name of the call; `None` if it says none, or it was erased.
    pub what: Option<String>,
    /// What stopped the step, or the code of the refusal.
    pub why: Option<String>,
}

/// What was stopped in a run: the newest of it, at most `limit`.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn violations(log: &Log, stream: &str, limit: u64) -> Result<Newest<Violation>, ReadError> {
    let item = Item::new()
        .stream(stream)
        .of_type(StepBlocked::TYPE)
        .of_type(RunPaused::TYPE)
        .of_type(EffectRefused::TYPE);
    let (records, is_cut) = newest(log, Read::new(Query::from(item)), limit)?;
    Ok(Newest {
        items: records.iter().map(violation).collect(),
        is_cut,
    })
}

fn violation(record: &Record) -> Violation {
    let (kind, (what, why)) = match record.header.event_type.as_str() {
        StepBlocked::TYPE => (ViolationKind::Blocked, blocked(record)),
        RunPaused::TYPE => (ViolationKind::Paused, (paused_at(record), None)),
        _ => {
            let why = record.control.get_text(field::WHY).map(str::to_owned);
            (ViolationKind::Refused, (refused(record), why))
        }
    };
    Violation {
        position: record.position,
        at_us: at_us(record),
        kind,
        what,
        why,
    }
}

/// Something that somebody did in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Act {
    /// Where it is recorded: a receipt of this position proves it.
    pub position: Position,
    /// When, Unix microseconds; see [`Recent::at_us`].
    pub at_us: u64,
    /// What was done: the type of the event.
    pub act: String,
    /// Who stands behind it, as the log stamped it.
    pub principal: String,
    /// As what.
    pub authority: Authority,
    /// Who holds the run or the call from then on.
    pub holder: Option<String>,
    /// What it was done to: the name of the call, the node.
    pub what: Option<String>,
    /// How it came out: a status, a reason or a code.
    pub how: Option<String>,
    /// The claim of the call that it is about.
    pub fence: Option<Position>,
}

/// Who did what in a run, and when: its beginnings, pauses and ends, claims of calls, their outcomes,
/// what was released, reconciled and refused, approvals, and steps that were blocked. The newest of it, at most
/// `limit`.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn timeline(log: &Log, stream: &str, limit: u64) -> Result<Newest<Act>, ReadError> {
    let item = Item::new()
        .stream(stream)
        .of_type("run.*")
        .of_type("effect.*")
        .of_type("approval.*")
        .of_type("session.ended")
        .of_type(StepBlocked::TYPE);
    let (records, is_cut) = newest(log, Read::new(Query::from(item)), limit)?;
    let mut names = BTreeMap::new();
    let items = records.iter().map(|record| act(log, record, &mut names));
    Ok(Newest {
        items: items.collect::<Result<_, _>>()?,
        is_cut,
    })
}

fn act(
    log: &Log,
    record: &Record,
    names: &mut BTreeMap<u64, Option<String>>,
) -> Result<Act, ReadError> {
    let (header, facts) = (&record.header, &record.control);
    let text = |number| facts.get_text(number).map(str::to_owned);
    let mut act = Act {
        position: record.position,
        at_us: at_us(record),
        act: header.event_type.to_string(),
        principal: header.principal.to_string(),
        authority: header.authority,
        holder: None,
        what: None,
        how: None,
        fence: None,
    };
    match header.event_type.as_str() {
        "run.started" | "run.resumed" => act.holder = text(control::RUN_HOLDER),
        RunForked::TYPE => {
            act.what = text(control::FORK_OF);
            act.how = facts
                .get_u64(control::FORK_AT)
                .map(|at| format!("after {at}"));
        }
        RunRolledBack::TYPE => {
            act.how = facts.get_u64(control::BACK_TO).map(|to| format!("to {to}"));
        }
        "run.finished" => act.how = text(control::STATUS),
        "session.ended" => {
            let words = [control::STATUS, control::REASON].map(text);
            let words: Vec<_> = words.into_iter().flatten().collect();
            act.how = Some(words.join("/"));
        }
        RunPaused::TYPE => act.what = paused_at(record),
        StepBlocked::TYPE => (act.what, act.how) = blocked(record),
        EffectClaimed::TYPE => {
            act.fence = Some(record.position);
            act.holder = text(field::HOLDER);
            act.what = text(field::NAME);
            names.insert(record.position.get(), act.what.clone());
        }
        EffectRefused::TYPE => (act.what, act.how) = (refused(record), text(field::WHY)),
        change if change.starts_with("effect.") => {
            let fence = facts.get_u64(field::FENCE);
            act.fence = fence.map(Position::new);
            act.how = outcome(record);
            if let Some(fence) = fence {
                act.what = name_of(log, fence, names)?;
            }
        }
        _ => {}
    }
    Ok(act)
}

/// How a call came out, as control tells it.
fn outcome(record: &Record) -> Option<String> {
    let facts = &record.control;
    let word = |field, words: &[&str]| {
        let number = usize::try_from(facts.get_u64(field)?).ok()?;
        words.get(number).map(|word| (*word).to_owned())
    };
    match record.header.event_type.as_str() {
        "effect.completed" => {
            (facts.get_u64(field::REJECTED) == Some(1)).then(|| "rejected".to_owned())
        }
        "effect.failed" => {
            let executed = facts.get_u64(field::EXECUTED);
            let executed = executed.and_then(crate::events::Executed::from_number)?;
            Some(format!("executed: {executed}"))
        }
        "effect.reconciled" => word(field::OUTCOME, &["completed", "not executed"]),
        _ => facts.get_text(field::WHY).map(str::to_owned),
    }
}

/// The name of the call that was claimed there: it stands in control, so no erasure takes it.
fn name_of(
    log: &Log,
    fence: u64,
    names: &mut BTreeMap<u64, Option<String>>,
) -> Result<Option<String>, ReadError> {
    if let Some(known) = names.get(&fence) {
        return Ok(known.clone());
    }
    let claim = match log.record(Position::new(fence)) {
        Ok(claim) => Some(claim),
        // A recording may say anything.
        Err(ReadError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let claim = claim.filter(|claim| claim.header.event_type == EffectClaimed::TYPE);
    let name = claim.and_then(|claim| claim.control.get_text(field::NAME).map(str::to_owned));
    names.insert(fence, name.clone());
    Ok(name)
}

fn blocked(record: &Record) -> (Option<String>, Option<String>) {
    let blocked = record.decode::<StepBlocked>();
    blocked.map_or((None, None), |blocked| {
        (Some(blocked.node), Some(blocked.by))
    })
}

fn paused_at(record: &Record) -> Option<String> {
    record
        .decode::<RunPaused>()
        .ok()
        .and_then(|paused| paused.node)
}

fn refused(record: &Record) -> Option<String> {
    record
        .decode::<EffectRefused>()
        .ok()
        .map(|refused| refused.name)
}

fn at_us(record: &Record) -> u64 {
    let occurred = record.header.occurred_at_us;
    let occurred = occurred.filter(|_| is_imported(&record.header));
    occurred.unwrap_or(record.recorded_at_us)
}

/// The newest records, oldest first, and whether there are more.
fn newest(log: &Log, mut read: Read, limit: u64) -> Result<(Vec<Record>, bool), ReadError> {
    read.reverse = true;
    read.limit = Some(limit.saturating_add(1));
    let mut records = log.read(read)?.collect::<Result<Vec<_>, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_cut = records.len() > limit;
    records.truncate(limit);
    records.reverse();
    Ok((records, is_cut))
}
