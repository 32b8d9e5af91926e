//! From records to rows.
//!
//! ```text
//!  'a' NAME    how an agent stands
//!  'o' TO      the newest order for an agent, or for `*`
//!  'm' READER  up to where somebody has read
//! ```

use crate::events::AgentState;
use crate::events::control::{agent as field, message};
use crate::rows::{self, AgentRow, OrderRow};
use crate::runs::is_imported;
use bincode::Decode;
use runstone_codec::{Control, Header};
use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "agents";
/// First byte of the key of an agent's row.
pub(super) const AGENT_ROW: u8 = b'a';
/// All agents.
pub(super) const ALL: &str = "*";
/// Of an order: its sender may give it.
pub(super) const ACCEPTED: u64 = 1;
/// Of an order: its sender may not give it.
pub(super) const REFUSED: u64 = 2;
/// Code of an order that came too late.
pub(super) const STALE: &str = "stale";
/// Code of an order of somebody who may not give it.
pub(super) const UNAUTHORISED: &str = "not_authorised";

/// The fold of agents and what they are told.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AgentsFold;

impl AgentsFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for AgentsFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let at = At {
            position: record.position.get(),
            now_us: record.recorded_at_us,
            header: record.header,
            control: record.control,
        };
        take(rows, &at)
    }
}

/// What the fold looks at.
struct At<'a> {
    position: u64,
    now_us: u64,
    header: &'a Header,
    control: &'a Control,
}

pub(super) fn agent_key(name: &str) -> Vec<u8> {
    [&[AGENT_ROW], name.as_bytes()].concat()
}

pub(super) fn order_key(to: &str) -> Vec<u8> {
    [b"o", to.as_bytes()].concat()
}

pub(super) fn mark_key(reader: &str) -> Vec<u8> {
    [b"m", reader.as_bytes()].concat()
}

fn row<T: Decode<()>>(rows: &mut dyn Rows, key: &[u8]) -> Result<Option<T>, FoldError> {
    rows.get(key)?.map(|row| rows::decode(&row)).transpose()
}

/// What was said elsewhere is never an order here, and makes nobody known.
fn take(rows: &mut dyn Rows, at: &At<'_>) -> Result<(), FoldError> {
    let Some((namespace, change)) = at.header.event_type.split_once('.') else {
        return Ok(());
    };
    if !matches!(namespace, "agent" | "message") || is_imported(at.header) {
        return Ok(());
    }
    match (namespace, change) {
        ("message", "sent") => sent(rows, at),
        ("message", "read") => read(rows, at),
        ("message", _) => Ok(()),
        _ => agent(rows, change, at),
    }
}

fn sent(rows: &mut dyn Rows, at: &At<'_>) -> Result<(), FoldError> {
    if at.control.get_u64(message::ORDER) != Some(ACCEPTED) {
        return Ok(());
    }
    let to = at.control.get_text(message::TO).unwrap_or_default();
    let order = OrderRow {
        position: at.position,
        given_at_us: at.now_us,
    };
    rows.put(&order_key(to), rows::encode(&order)?);
    Ok(())
}

fn read(rows: &mut dyn Rows, at: &At<'_>) -> Result<(), FoldError> {
    let key = mark_key(at.control.get_text(message::READER).unwrap_or_default());
    let before: Option<u64> = row(rows, &key)?;
    let up_to = at.control.get_u64(message::UP_TO).unwrap_or_default();
    rows.put(&key, rows::encode(&before.unwrap_or(0).max(up_to))?);
    Ok(())
}

fn agent(rows: &mut dyn Rows, change: &str, at: &At<'_>) -> Result<(), FoldError> {
    let Some(name) = at.control.get_text(field::NAME) else {
        return Ok(());
    };
    let key = agent_key(name);
    let before: Option<AgentRow> = row(rows, &key)?;
    let next = match (before, change) {
        (None, "registered") => AgentRow {
            registered: at.position,
            since: at.position,
            since_us: at.now_us,
            // Older orders were not for it.
            orders_seen: at.position,
            ..AgentRow::default()
        },
        (Some(row), _) => changed(row, change, at),
        (None, _) => return Ok(()),
    };
    rows.put(&key, rows::encode(&next)?);
    Ok(())
}

/// The row after an event. The decider sees to it that only what may follow is recorded.
fn changed(mut row: AgentRow, change: &str, at: &At<'_>) -> AgentRow {
    let order = at.control.get_u64(field::ORDER).unwrap_or_default();
    let state = match change {
        "powered" => {
            row.is_stopped = at.control.get_u64(field::POWER) == Some(1);
            if row.is_stopped {
                AgentState::Stopping
            } else {
                // Whoever says that it should run says that later than any order before.
                row.orders_seen = row.orders_seen.max(at.position);
                AgentState::Running
            }
        }
        "slept" => {
            row.timeout_s = at.control.get_u64(field::TIMEOUT_S);
            AgentState::Idle
        }
        "woke" => AgentState::Running,
        "stop_ordered" => {
            row.orders_seen = row.orders_seen.max(order);
            AgentState::Stopping
        }
        "revoked" => {
            row.is_revoked = true;
            AgentState::Stopping
        }
        "order_refused" => {
            if at.control.get_text(field::WHY) == Some(STALE) {
                row.orders_seen = row.orders_seen.max(order);
            }
            return row;
        }
        _ => return row,
    };
    row.state = u8::try_from(state.number()).unwrap_or_default();
    row.since = at.position;
    row.since_us = at.now_us;
    row
}

impl AgentRow {
    pub(super) fn state(&self) -> AgentState {
        AgentState::from_number(self.state.into()).unwrap_or(AgentState::Running)
    }
}
