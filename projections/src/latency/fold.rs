//! From records to rows.

use super::Timed;
use crate::events::control::{self, effect as field};
use crate::rows::{self, LatencyRow, PendingRow};
use crate::seen::Seen;
use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "latency";
/// First byte of the key of durations.
pub(super) const GROUP_ROW: u8 = b'g';
/// First byte of the key of what has begun.
const PENDING_ROW: u8 = b'p';

/// The fold of durations.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LatencyFold;

impl LatencyFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for LatencyFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        1
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["run", "step", "effect"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

impl Seen<'_> {
    /// When it happened: a recording has a clock of its own, or none.
    fn at_us(&self) -> Option<u64> {
        if self.is_imported() {
            self.header.occurred_at_us
        } else {
            Some(self.recorded_at_us)
        }
    }

    /// Key of what has begun. A recording and what happens here never end each other.
    fn pending_key(&self, timed: Timed, within: &str, which: &[u8]) -> Vec<u8> {
        let kind = [PENDING_ROW, timed.byte(), self.is_imported().into()];
        [&kind[..], within.as_bytes(), &[0], which].concat()
    }

    /// Key of the durations of one node, tool or agent.
    fn group_key(&self, timed: Timed, which: &[u8]) -> Vec<u8> {
        let scope = self.header.scope.as_bytes();
        [&[GROUP_ROW, timed.byte()], scope, &[0], which].concat()
    }
}

/// Takes one record into the rows.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let (header, stream) = (seen.header, seen.header.stream.as_str());
    match header.event_type.as_str() {
        "run.started" => run_started(rows, seen),
        "run.finished" => {
            let key = seen.pending_key(Timed::Agent, stream, &[]);
            run_finished(rows, seen, &key)
        }
        "step.started" | "step.completed" | "step.failed" | "step.blocked" | "step.skipped" => {
            let Some(node) = seen.control.get_bytes(control::NODE) else {
                return Ok(());
            };
            let key = seen.pending_key(Timed::Node, stream, node);
            match header.event_type.as_str() {
                "step.started" => begin(rows, seen, &key, seen.group_key(Timed::Node, node)),
                "step.completed" | "step.failed" => end(rows, seen, &key),
                _ => {
                    rows.remove(&key);
                    Ok(())
                }
            }
        }
        name if name.starts_with("effect.") => effect(rows, seen),
        _ => Ok(()),
    }
}

fn effect(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(call) = seen.control.get_bytes(field::KEY) else {
        return Ok(());
    };
    let key = seen.pending_key(Timed::Tool, &seen.header.scope, call);
    match seen.header.event_type.as_str() {
        "effect.claimed" => {
            let name = seen.control.get_text(field::NAME).unwrap_or_default();
            begin(
                rows,
                seen,
                &key,
                seen.group_key(Timed::Tool, name.as_bytes()),
            )
        }
        "effect.completed" | "effect.failed" => end(rows, seen, &key),
        "effect.lease_renewed" | "effect.refused" => Ok(()),
        // Nobody knows how long a call took that was given up, or settled afterwards.
        _ => {
            rows.remove(&key);
            Ok(())
        }
    }
}

fn begin(
    rows: &mut dyn Rows,
    seen: &Seen<'_>,
    key: &[u8],
    group: Vec<u8>,
) -> Result<(), FoldError> {
    let Some(at_us) = seen.at_us() else {
        rows.remove(key);
        return Ok(());
    };
    let pending = PendingRow {
        at_us,
        began: Some((seen.position, group)),
    };
    rows::put(rows, key, &pending)?;
    Ok(())
}

fn end(rows: &mut dyn Rows, seen: &Seen<'_>, key: &[u8]) -> Result<(), FoldError> {
    let Some(pending) = pending(rows, key)? else {
        return Ok(());
    };
    rows.remove(key);
    match (pending.began, seen.at_us()) {
        (Some((position, group)), Some(at_us)) => {
            took(rows, &group, position, at_us.saturating_sub(pending.at_us))
        }
        _ => Ok(()),
    }
}

/// Some recordings tell the end of a run before its beginning.
fn run_started(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let key = seen.pending_key(Timed::Agent, &seen.header.stream, &[]);
    let Some(name) = seen.control.get_bytes(control::RUN_NAME) else {
        return Ok(());
    };
    let group = seen.group_key(Timed::Agent, name);
    match (pending(rows, &key)?, seen.at_us()) {
        (None, _) => begin(rows, seen, &key, group),
        (Some(ended), Some(at_us)) if ended.began.is_none() => {
            rows.remove(&key);
            took(
                rows,
                &group,
                seen.position,
                ended.at_us.saturating_sub(at_us),
            )
        }
        // A run begins once.
        (Some(_), _) => Ok(()),
    }
}

fn run_finished(rows: &mut dyn Rows, seen: &Seen<'_>, key: &[u8]) -> Result<(), FoldError> {
    if pending(rows, key)?.is_some() || !seen.is_imported() {
        return end(rows, seen, key);
    }
    let Some(at_us) = seen.at_us() else {
        return Ok(());
    };
    let ended = PendingRow { at_us, began: None };
    rows::put(rows, key, &ended)?;
    Ok(())
}

fn pending(rows: &mut dyn Rows, key: &[u8]) -> Result<Option<PendingRow>, FoldError> {
    rows.get(key)?.map(|row| rows::decode(&row)).transpose()
}

fn took(rows: &mut dyn Rows, group: &[u8], position: u64, micros: u64) -> Result<(), FoldError> {
    let row = rows.get(group)?.map(|row| rows::decode(&row)).transpose()?;
    let mut row = row.unwrap_or_else(|| LatencyRow {
        named_at: position,
        ..LatencyRow::default()
    });
    row.add(micros);
    rows::put(rows, group, &row)?;
    Ok(())
}
