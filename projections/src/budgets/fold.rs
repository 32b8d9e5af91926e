//! From records to rows.
//!
//! ```text
//!  'b' digest(16) scope                    an owner: limits, sums by window
//!  'r' fence(8)                            a reservation, as it stands
//!  'o' digest(16) scope 00 fence(8)        one that is not ended, under each owner that it counts for
//!  'l' digest(16) scope 00 place           leases of those, by what they end by
//!  'c' digest(16) scope 00 call(16)        what an owner was charged for a call of a model, by the day
//!  'h' digest(16) scope 00 back(position)  an owner after each event that changed it
//!  'm' stream 00 digest(16)                since where events of a stream are about an owner
//! ```

use super::{Amounts, BudgetLimits, Dimension, MAX_NESTING, OwnerId, calls, past, window};
use crate::events::Window;
use crate::events::control::budget as field;
use crate::lease::LeaseFields;
use crate::rows::{self, LeaseRow, OwnerRow, ReservationRow};
use crate::seen::Seen;
use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "budgets";
/// First byte of the key of an owner's row.
pub(super) const OWNER_ROW: u8 = b'b';
const RESERVATION_ROW: u8 = b'r';
const OPEN_ROW: u8 = b'o';
const LEASE_ROW: u8 = b'l';
const CALL_ROW: u8 = b'c';

pub(super) const LEASE: LeaseFields = LeaseFields {
    holder: field::HOLDER,
    opening: field::OPENING,
    lease_us: field::LEASE_US,
    expires_at_us: field::LEASE_EXPIRES_AT_US,
};

/// The fold of budgets.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct BudgetsFold;

impl BudgetsFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for BudgetsFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        3
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["budget"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

/// How a reservation stands, by number.
pub(super) mod state {
    pub(in crate::budgets) const OPEN: u8 = 0;
    pub(in crate::budgets) const SETTLED: u8 = 1;
    pub(in crate::budgets) const RELEASED: u8 = 2;
    pub(in crate::budgets) const EXPIRED: u8 = 3;
}

/// Code of a reservation that is given back because its lease is over.
pub(super) const LEASE_OVER: &str = "lease_over";

/// Key of an owner's row.
pub(super) fn owner_key(id: &OwnerId) -> Vec<u8> {
    [&[OWNER_ROW], &id.digest[..], id.scope.as_bytes()].concat()
}

pub(super) fn reservation_key(fence: u64) -> Vec<u8> {
    [&[RESERVATION_ROW], &fence.to_be_bytes()[..]].concat()
}

pub(super) fn of_owner(kind: u8, id: &OwnerId) -> Vec<u8> {
    [&[kind], &id.digest[..], id.scope.as_bytes(), &[0]].concat()
}

/// What the keys of the open reservations of an owner begin with.
pub(super) fn open_prefix(id: &OwnerId) -> Vec<u8> {
    of_owner(OPEN_ROW, id)
}

/// What the keys of their leases begin with.
pub(super) fn leases_prefix(id: &OwnerId) -> Vec<u8> {
    of_owner(LEASE_ROW, id)
}

fn lease_key(id: &OwnerId, lease: &LeaseRow) -> Vec<u8> {
    [leases_prefix(id), lease.place()].concat()
}

fn open_key(id: &OwnerId, fence: u64) -> Vec<u8> {
    [open_prefix(id), fence.to_be_bytes().to_vec()].concat()
}

/// The reservation that a key of an open one, or of its lease, names.
pub(super) fn fence_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>()
        .map(|fence| u64::from_be_bytes(*fence))
}

pub(super) fn call_key(id: &OwnerId, call: &[u8]) -> Vec<u8> {
    [of_owner(CALL_ROW, id), call.to_vec()].concat()
}

/// Takes one record into the rows. What was recorded elsewhere spends nothing here.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(change) = seen.header.event_type.strip_prefix("budget.") else {
        return Ok(());
    };
    past::name(rows, seen)?;
    if seen.is_imported() {
        return Ok(());
    }
    match change {
        "opened" => opened(rows, seen),
        "changed" => changed(rows, seen),
        "reserved" => reserved(rows, seen),
        "settled" | "released" => ended(rows, seen, change == "settled"),
        "charged" => charged(rows, seen),
        "warned" | "exceeded" => told(rows, seen, change == "warned"),
        _ => Ok(()),
    }
}

fn owner_of(seen: &Seen<'_>) -> Option<OwnerId> {
    let scope = seen.control.get_text(field::SCOPE);
    let scope = scope.unwrap_or(seen.header.scope.as_str());
    OwnerId::of(seen.control.get_bytes(field::OWNER), Some(scope))
}

fn amounts(seen: &Seen<'_>, field: u16) -> Amounts {
    let bytes = seen.control.get_bytes(field).unwrap_or_default();
    Amounts::from_bytes(bytes).unwrap_or_default()
}

fn limits(seen: &Seen<'_>) -> BudgetLimits {
    let bytes = seen.control.get_bytes(field::LIMITS).unwrap_or_default();
    BudgetLimits::from_bytes(bytes).unwrap_or_default()
}

fn owner(rows: &mut dyn Rows, id: &OwnerId) -> Result<Option<OwnerRow>, FoldError> {
    rows::get(rows, &owner_key(id))
}

/// Changes an owner and each one above it, in their windows of now.
fn each(
    rows: &mut dyn Rows,
    (id, seen): (&OwnerId, &Seen<'_>),
    mut change: impl FnMut(&mut dyn Rows, &OwnerId, &mut OwnerRow),
) -> Result<(), FoldError> {
    let mut next = Some(id.clone());
    for _ in 0..=MAX_NESTING {
        let Some(id) = next.take() else { break };
        let key = owner_key(&id);
        let Some(before) = rows::get::<OwnerRow>(rows, &key)? else {
            break;
        };
        let mut row = before.clone();
        row.roll(window::of(seen.recorded_at_us));
        change(rows, &id, &mut row);
        next = row.parent.as_ref().map(OwnerId::from);
        past::keep(rows, (&id, &key), (Some(&before), row), seen.position)?;
    }
    Ok(())
}

fn opened(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(id) = owner_of(seen) else {
        return Ok(());
    };
    if owner(rows, &id)?.is_some() {
        return Ok(());
    }
    let parent = OwnerId::of(
        seen.control.get_bytes(field::PARENT),
        seen.control.get_text(field::PARENT_SCOPE),
    );
    let level = match &parent {
        Some(parent) => owner(rows, parent)?.map_or(0, |row| row.level.saturating_add(1)),
        None => 0,
    };
    let mut row = OwnerRow {
        opened: seen.position,
        opened_at_us: seen.recorded_at_us,
        stream: seen.header.stream.to_string(),
        level,
        parent: parent.as_ref().map(OwnerId::key),
        limits: Vec::new(),
        limits_at: seen.position,
        windows: window::of(seen.recorded_at_us),
        counters: Vec::new(),
        open: 0,
        changes: 0,
    };
    row.set_limits(&limits(seen));
    past::keep(rows, (&id, &owner_key(&id)), (None, row), seen.position)
}

fn changed(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(id) = owner_of(seen) else {
        return Ok(());
    };
    let Some(mut row) = owner(rows, &id)? else {
        return Ok(());
    };
    row.set_limits(&limits(seen));
    row.limits_at = seen.position;
    past::keep(rows, (&id, &owner_key(&id)), (None, row), seen.position)
}

fn reserved(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(id) = owner_of(seen) else {
        return Ok(());
    };
    let amounts = amounts(seen, field::AMOUNTS);
    let effect = seen.control.get_u64(field::EFFECT);
    let lease = effect
        .is_none()
        .then(|| LEASE.read(seen.control, seen.position));
    each(rows, (&id, seen), |rows, id, row| {
        row.reserve(&amounts);
        row.open = row.open.saturating_add(1);
        rows.put(&open_key(id, seen.position), Vec::new());
        if let Some(lease) = &lease {
            rows.put(&lease_key(id, lease), Vec::new());
        }
    })?;
    let row = ReservationRow {
        owner: id.key(),
        stream: seen.header.stream.to_string(),
        amounts: amounts.to_row(),
        at_us: seen.recorded_at_us,
        windows: window::of(seen.recorded_at_us),
        lease,
        effect,
        state: state::OPEN,
        actual: Vec::new(),
        outcome: None,
    };
    rows::put(rows, &reservation_key(seen.position), &row)
}

fn ended(rows: &mut dyn Rows, seen: &Seen<'_>, is_settled: bool) -> Result<(), FoldError> {
    let Some(fence) = seen.control.get_u64(field::RESERVATION) else {
        return Ok(());
    };
    let key = reservation_key(fence);
    let Some(mut row) = rows::get::<ReservationRow>(rows, &key)? else {
        return Ok(());
    };
    let was_open = row.state == state::OPEN;
    let is_possible = was_open || (row.state == state::EXPIRED && is_settled);
    if !is_possible {
        return Ok(());
    }
    let (id, reserved) = (OwnerId::from(&row.owner), Amounts::of_row(&row.amounts));
    let actual = amounts(seen, field::AMOUNTS);
    let (made_in, lease) = (row.windows, row.lease.clone());
    each(rows, (&id, seen), |rows, id, row| {
        if was_open {
            row.unreserve(&reserved, made_in);
            row.open = row.open.saturating_sub(1);
            rows.remove(&open_key(id, fence));
            if let Some(lease) = &lease {
                rows.remove(&lease_key(id, lease));
            }
        }
        if is_settled {
            row.spend(&actual);
        }
    })?;
    row.state = match (is_settled, seen.control.get_text(field::WHY)) {
        (true, _) => state::SETTLED,
        (false, Some(LEASE_OVER)) => state::EXPIRED,
        (false, _) => state::RELEASED,
    };
    if is_settled {
        row.actual = actual.to_row();
    }
    row.outcome = Some(seen.position);
    rows::put(rows, &key, &row)
}

fn charged(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(id) = owner_of(seen) else {
        return Ok(());
    };
    let (charged, credited) = (amounts(seen, field::AMOUNTS), amounts(seen, field::CREDIT));
    let mut credits = Vec::new();
    if let Some(call) = seen.control.get_bytes(field::CALL) {
        let key = call_key(&id, call);
        let mut days = rows::get(rows, &key)?.unwrap_or_default();
        let windows = window::of(seen.recorded_at_us);
        credits = calls::report(&mut days, &charged, &credited, windows);
        rows::put(rows, &key, &days)?;
    }
    each(rows, (&id, seen), |_, _, row| {
        row.spend(&charged);
        for (windows, amounts) in &credits {
            row.credit(amounts, *windows);
        }
    })
}

fn told(rows: &mut dyn Rows, seen: &Seen<'_>, is_warning: bool) -> Result<(), FoldError> {
    let number = |field| seen.control.get_u64(field);
    let told = (
        owner_of(seen),
        number(field::WINDOW).and_then(Window::from_number),
        seen.control.get_text(field::DIMENSION),
        number(field::LIMIT),
    );
    let (Some(id), Some(window), Some(code), Some(limit)) = told else {
        return Ok(());
    };
    let Some(mut row) = owner(rows, &id)? else {
        return Ok(());
    };
    row.roll(window::of(seen.recorded_at_us));
    let dimension = Dimension::of_row(code);
    if is_warning {
        row.warned(window, &dimension, limit);
    } else {
        row.exceeded_at(window, &dimension, seen.recorded_at_us);
    }
    rows::put(rows, &owner_key(&id), &row)?;
    Ok(())
}

impl ReservationRow {
    pub(super) fn owner_id(&self) -> OwnerId {
        OwnerId::from(&self.owner)
    }
}
