//! From records to rows.
//!
//! ```text
//!  'a' NAME    how an agent stands
//!  'o' TO      the newest orders for an agent, or for `*`
//!  'm' READER  up to where somebody has read
//!  'x' TO      whose orders to an agent, or to `*`, were refused in the last second
//!
//!  of helpers that are not retired:
//!  'c' PARENT          how many a principal has, and how many of them run
//!  'p' PARENT 0 NAME   whose they are
//!  't' TIME(8) NAME    when their time is over, in that order
//!  'k' PARENT          principals that have some and must exit
//! ```

use super::decide::{name_of, principal_of};
use crate::events::AgentState;
use crate::events::control::{agent as field, message};
use crate::rows::{self, AgentRow, HelperRow, HelpersRow, OrderRow, OrderRows};
use crate::seen::Seen;
use runstone_codec::Authority;
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

/// Refused orders of one sender to one agent within this many microseconds are recorded once.
const REFUSAL_WINDOW_US: u64 = 1_000_000;
/// Most senders of which it is known that an order was refused in the last second.
const MAX_REFUSED: usize = 64;

/// Most orders for one addressee of which it is known whether they came in time.
pub(super) const MAX_ORDERS: usize = 64;

/// Principals whose orders were refused, and when that was recorded last.
pub(super) type Refusals = Vec<(String, u64)>;

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
        4
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["agent", "message"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

/// What the principal of an agent begins with.
pub(super) const PRINCIPAL: &str = "agent:";

fn byte(number: u64) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

pub(super) fn agent_key(name: &str) -> Vec<u8> {
    [&[AGENT_ROW], name.as_bytes()].concat()
}

/// Key of how many helpers a principal has.
pub(super) fn helpers_key(parent: &str) -> Vec<u8> {
    [b"c", parent.as_bytes()].concat()
}

/// Key of a helper below its parent; without a name the prefix of all. No principal has a zero byte.
pub(super) fn child_key(parent: &str, name: &str) -> Vec<u8> {
    [b"p", parent.as_bytes(), &[0], name.as_bytes()].concat()
}

/// First byte of the key of when a helper's time is over; then the time, then its name.
pub(super) const EXPIRY_ROW: u8 = b't';
/// First byte of the key of a principal that has helpers and must exit.
pub(super) const ORPHANED_ROW: u8 = b'k';

fn expiry_key(helper: &HelperRow, name: &str) -> Vec<u8> {
    let expires_at_us = helper.expires_at_us.to_be_bytes();
    [&[EXPIRY_ROW], &expires_at_us[..], name.as_bytes()].concat()
}

pub(super) fn order_key(to: &str) -> Vec<u8> {
    [b"o", to.as_bytes()].concat()
}

/// Key of whose orders to an agent were refused.
pub(super) fn refused_key(to: &str) -> Vec<u8> {
    [b"x", to.as_bytes()].concat()
}

pub(super) fn mark_key(reader: &str) -> Vec<u8> {
    [b"m", reader.as_bytes()].concat()
}

/// What was said elsewhere is never an order here, and makes nobody known.
fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some((namespace, change)) = seen.header.event_type.split_once('.') else {
        return Ok(());
    };
    if !matches!(namespace, "agent" | "message") || seen.is_imported() {
        return Ok(());
    }
    match (namespace, change) {
        ("message", "sent") => sent(rows, seen),
        ("message", "read") => read(rows, seen),
        ("message", _) => Ok(()),
        _ => agent(rows, change, seen),
    }
}

fn sent(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    if seen.control.get_u64(message::ORDER) != Some(ACCEPTED) {
        return Ok(());
    }
    let to = seen.control.get_text(message::TO).unwrap_or_default();
    let order = OrderRow {
        position: seen.position,
        given_at_us: seen.recorded_at_us,
    };
    let key = order_key(to);
    let mut orders: OrderRows = rows::get(rows, &key)?.unwrap_or_default();
    if orders.len() >= MAX_ORDERS {
        orders.remove(0);
    }
    orders.push(order);
    rows::put(rows, &key, &orders)
}

fn read(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let key = mark_key(seen.control.get_text(message::READER).unwrap_or_default());
    let before: Option<u64> = rows::get(rows, &key)?;
    let up_to = seen.control.get_u64(message::UP_TO).unwrap_or_default();
    rows.put(&key, rows::encode(&before.unwrap_or(0).max(up_to))?);
    Ok(())
}

fn agent(rows: &mut dyn Rows, change: &str, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(name) = seen.control.get_text(field::NAME) else {
        return Ok(());
    };
    if seen.control.get_text(field::WHY) == Some(UNAUTHORISED) {
        return refused(rows, name, seen);
    }
    let key = agent_key(name);
    let before: Option<AgentRow> = rows::get(rows, &key)?;
    let next = match (&before, change) {
        (None, "registered") => AgentRow {
            registered: seen.position,
            since: seen.position,
            since_us: seen.recorded_at_us,
            // Older orders were not for it.
            orders_seen: seen.position,
            ..AgentRow::default()
        },
        (None, "helper_spawned") => spawned(seen),
        (Some(row), _) => changed(row.clone(), change, seen),
        (None, _) => return Ok(()),
    };
    rows::put(rows, &key, &next)?;
    if let Some(helper) = &next.helper {
        count(rows, name, helper, (before.as_ref(), &next))?;
        mark(rows, &helper.parent)?;
    }
    mark(rows, &principal_of(name))
}

/// Keeps whose orders were refused in the last second, so that it is not recorded again.
fn refused(rows: &mut dyn Rows, to: &str, seen: &Seen<'_>) -> Result<(), FoldError> {
    let key = refused_key(to);
    let mut known: Refusals = rows::get(rows, &key)?.unwrap_or_default();
    let principal = &seen.header.principal;
    known.retain(|(other, at_us)| other != principal && is_recent(*at_us, seen.recorded_at_us));
    if known.len() >= MAX_REFUSED {
        known.remove(0);
    }
    known.push((principal.to_string(), seen.recorded_at_us));
    rows::put(rows, &key, &known)
}

/// Whether a refusal is of the last second.
pub(super) fn is_recent(at_us: u64, now_us: u64) -> bool {
    now_us.saturating_sub(at_us) < REFUSAL_WINDOW_US
}

fn spawned(seen: &Seen<'_>) -> AgentRow {
    let text = |number| seen.control.get_text(number).unwrap_or_default().to_owned();
    let is_stopped = seen.control.get_u64(field::POWER) == Some(1);
    let state = if is_stopped {
        AgentState::Stopping
    } else {
        AgentState::Running
    };
    let helper = HelperRow {
        parent: seen.header.principal.to_string(),
        tray: text(field::TRAY),
        expires_at_us: seen
            .control
            .get_u64(field::EXPIRES_AT_US)
            .unwrap_or_default(),
        auto_retire: seen.control.get_u64(field::AUTO_RETIRE) == Some(1),
        retired: None,
    };
    AgentRow {
        registered: seen.position,
        state: byte(state.number()),
        since: seen.position,
        since_us: seen.recorded_at_us,
        is_stopped,
        orders_seen: seen.position,
        helper: Some(helper),
        ..AgentRow::default()
    }
}

/// Keeps the counts and the order of helpers.
fn count(
    rows: &mut dyn Rows,
    name: &str,
    helper: &HelperRow,
    (before, next): (Option<&AgentRow>, &AgentRow),
) -> Result<(), FoldError> {
    let was = before.map_or((false, false), AgentRow::counts);
    let is = next.counts();
    if was == is {
        return Ok(());
    }
    let key = helpers_key(&helper.parent);
    let mut helpers: HelpersRow = rows::get(rows, &key)?.unwrap_or_default();
    step(&mut helpers.registered, (was.0, is.0));
    step(&mut helpers.running, (was.1, is.1));
    rows::put_or_remove(rows, &key, &helpers)?;
    for key in [child_key(&helper.parent, name), expiry_key(helper, name)] {
        match (was.0, is.0) {
            (false, true) => rows.put(&key, Vec::new()),
            (true, false) => rows.remove(&key),
            _ => {}
        }
    }
    Ok(())
}

fn step(count: &mut u64, change: (bool, bool)) {
    match change {
        (false, true) => *count = count.saturating_add(1),
        (true, false) => *count = count.saturating_sub(1),
        _ => {}
    }
}

/// Notes whether a principal has helpers that nobody looks after.
fn mark(rows: &mut dyn Rows, parent: &str) -> Result<(), FoldError> {
    let Some(name) = name_of(parent) else {
        return Ok(());
    };
    let agent: Option<AgentRow> = rows::get(rows, &agent_key(name))?;
    let is_orphaned =
        agent.is_some_and(|row| row.must_exit()) && rows.get(&helpers_key(parent))?.is_some();
    let key = [&[ORPHANED_ROW], parent.as_bytes()].concat();
    match (rows.get(&key)?.is_some(), is_orphaned) {
        (false, true) => rows.put(&key, Vec::new()),
        (true, false) => rows.remove(&key),
        _ => {}
    }
    Ok(())
}

/// The row after an event. The decider sees to it that only what may follow is recorded.
fn changed(mut row: AgentRow, change: &str, seen: &Seen<'_>) -> AgentRow {
    let order = seen.control.get_u64(field::ORDER).unwrap_or_default();
    let state = match change {
        "powered" => {
            row.is_stopped = seen.control.get_u64(field::POWER) == Some(1);
            row.needs_person = row.is_stopped
                && (row.needs_person
                    || matches!(
                        seen.header.authority,
                        Authority::Human | Authority::Commander
                    ));
            if row.is_stopped {
                AgentState::Stopping
            } else {
                // Whoever says that it should run says that later than any order before.
                row.orders_seen = row.orders_seen.max(seen.position);
                AgentState::Running
            }
        }
        "slept" => {
            row.timeout_s = seen.control.get_u64(field::TIMEOUT_S);
            AgentState::Idle
        }
        "woke" => AgentState::Running,
        "stop_ordered" => {
            row.orders_seen = row.orders_seen.max(order);
            row.needs_person = true;
            AgentState::Stopping
        }
        "revoked" => {
            row.is_revoked = true;
            row.needs_person = true;
            AgentState::Stopping
        }
        "retired" => {
            if let Some(helper) = row.helper.as_mut() {
                helper.retired = seen.control.get_u64(field::RETIRED).map(byte);
            }
            AgentState::Retired
        }
        "order_refused" => {
            if seen.control.get_text(field::WHY) == Some(STALE) {
                row.orders_seen = row.orders_seen.max(order);
            }
            return row;
        }
        _ => return row,
    };
    // Whoever is gone stays gone.
    if row.state() == AgentState::Retired {
        return row;
    }
    row.state = byte(state.number());
    row.since = seen.position;
    row.since_us = seen.recorded_at_us;
    row
}

impl AgentRow {
    pub(super) fn state(&self) -> AgentState {
        AgentState::from_number(self.state.into()).unwrap_or(AgentState::Running)
    }

    /// Whether it must exit.
    pub(super) fn must_exit(&self) -> bool {
        self.is_revoked || matches!(self.state(), AgentState::Stopping | AgentState::Retired)
    }

    /// Whether it counts as registered, and as running.
    fn counts(&self) -> (bool, bool) {
        let state = self.state();
        let is_running = matches!(state, AgentState::Running | AgentState::Idle);
        (state != AgentState::Retired, is_running)
    }
}
