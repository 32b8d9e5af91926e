//! From records to rows.
//!
//! ```text
//!  'e' digest(16) scope     how the call stands
//!  'o' fence(8) digest(16) scope   an open one: in flight or unknown
//!  'n' scope                how many of them a scope has
//!  'm' stream 00 digest(16) scope   of a call of the stream other streams tell, too
//!  'r' digest(16) scope     refusals of a call that nobody has claimed
//! ```

use crate::events::control::effect as field;
use crate::events::{Class, Executed, Kind, State};
use crate::lease::LeaseFields;
use crate::rows::{self, EffectRow, Refusal};
use crate::seen::Seen;
use runstone_codec::Control;
use runstone_store::{Fold, FoldError, FoldRecord, ReadRow, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "effects";
/// First byte of the key of a call's row.
pub(super) const EFFECT_ROW: u8 = b'e';
/// First byte of the key of an open call.
pub(super) const OPEN_ROW: u8 = b'o';
/// First byte of the key of a call that events of several streams tell of.
const SHARED_ROW: u8 = b'm';
/// First byte of the key of the number of open calls of a scope.
const COUNT_ROW: u8 = b'n';
/// First byte of the key of what was refused of a call that nobody has claimed.
const REFUSED_ROW: u8 = b'r';
pub(super) const DIGEST_BYTES: usize = 16;
/// Most reasons for refusals that a row keeps.
const MAX_REFUSED: usize = 8;

pub(super) const LEASE: LeaseFields = LeaseFields {
    holder: field::HOLDER,
    opening: field::OPENING,
    lease_us: field::LEASE_US,
    expires_at_us: field::LEASE_EXPIRES_AT_US,
};

/// The fold of the idempotency ledger.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EffectsFold;

impl EffectsFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for EffectsFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        5
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["effect"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }

    fn in_use(&self, row: ReadRow<'_>, scope: &str) -> Result<Option<String>, FoldError> {
        let count = row(&count_key(scope))?;
        let count = count.map(|count| rows::decode::<u64>(&count)).transpose()?;
        Ok(count.map(|count| format!("{count} calls of it are in flight or unknown")))
    }
}

/// Key of the row of a call.
pub(super) fn effect_key(digest: &[u8], scope: &str) -> Vec<u8> {
    [&[EFFECT_ROW], digest, scope.as_bytes()].concat()
}

/// What the keys of the calls of a stream begin with of which others tell, too.
pub(super) fn shared_prefix(stream: &str) -> Vec<u8> {
    [&[SHARED_ROW], stream.as_bytes(), &[0]].concat()
}

fn shared(rows: &mut dyn Rows, stream: &str, digest: &[u8], scope: &str) {
    let key = [&shared_prefix(stream), digest, scope.as_bytes()].concat();
    rows.put(&key, Vec::new());
}

/// Key of the row of what was refused of a call that nobody has claimed.
pub(super) fn refused_key(digest: &[u8], scope: &str) -> Vec<u8> {
    [&[REFUSED_ROW], digest, scope.as_bytes()].concat()
}

fn count_key(scope: &str) -> Vec<u8> {
    [&[COUNT_ROW], scope.as_bytes()].concat()
}

fn open_key(fence: u64, digest: &[u8], scope: &str) -> Vec<u8> {
    [
        &[OPEN_ROW],
        &fence.to_be_bytes()[..],
        digest,
        scope.as_bytes(),
    ]
    .concat()
}

/// When the attempt began, if another ledger was taken over with it.
fn migrated_since(seen: &Seen<'_>) -> Option<u64> {
    let is_migrated = seen.control.get_u64(field::MIGRATED) == Some(1);
    is_migrated.then(|| {
        let since = seen.control.get_u64(field::MIGRATED_SINCE_US);
        since.unwrap_or_default()
    })
}

/// A recording tells what happened elsewhere; only a ledger that was taken over is gone by.
fn counts(seen: &Seen<'_>) -> bool {
    migrated_since(seen).is_some() || !seen.is_imported()
}

/// What another ledger says counts for what it said itself, if it says it later. It never undoes
/// a result, nor what was done here: an older copy of that ledger would let a call be made twice.
fn is_outdated(before: &EffectRow, change: &str, since: u64) -> bool {
    let Some(known) = before.migrated_since_us else {
        return true;
    };
    let is_of_another = if change == "claimed" {
        since < known
    } else {
        since != known
    };
    is_of_another || before.state() == State::Completed
}

/// Takes one record into the rows.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(change) = seen.header.event_type.strip_prefix("effect.") else {
        return Ok(());
    };
    let digest = seen.control.get_bytes(field::KEY).unwrap_or_default();
    if digest.len() != DIGEST_BYTES || !counts(seen) {
        return Ok(());
    }
    let scope = seen.header.scope.as_str();
    let key = effect_key(digest, scope);
    let before: Option<EffectRow> = rows::get(rows, &key)?;
    let migrated = migrated_since(seen);
    if let Some((before, since)) = before.as_ref().zip(migrated)
        && is_outdated(before, change, since)
    {
        shared(rows, &seen.header.stream, digest, scope);
        return Ok(());
    }
    if let Some(before) = &before
        && before.stream != seen.header.stream
        && change != "refused"
    {
        shared(rows, &before.stream, digest, scope);
    }
    if before.is_none() && matches!(change, "claimed" | "refused") {
        let key = refused_key(digest, scope);
        let mut unclaimed: Vec<Refusal> = rows::get(rows, &key)?.unwrap_or_default();
        if change == "refused" {
            refuse(&mut unclaimed, seen);
            rows::put(rows, &key, &unclaimed)?;
            return Ok(());
        }
        rows.remove(&key);
    }
    let was_open = before.as_ref().filter(|before| is_open(before.state));
    let was_open = was_open.map(|before| before.fence);
    let Some(mut next) = next(before, change, seen) else {
        return Ok(());
    };
    if change != "refused" {
        next.migrated_since_us = migrated;
    }
    let is_open = is_open(next.state).then_some(next.fence);
    if was_open != is_open {
        if let Some(fence) = was_open {
            rows.remove(&open_key(fence, digest, scope));
        }
        if let Some(fence) = is_open {
            rows.put(&open_key(fence, digest, scope), Vec::new());
        }
    }
    if was_open.is_some() != is_open.is_some() {
        rows::count(rows, &count_key(scope), is_open.is_some())?;
    }
    rows::put(rows, &key, &next)?;
    Ok(())
}

fn is_open(state: u8) -> bool {
    let open = [State::InFlight, State::Unknown];
    open.iter().any(|open| open.number() == u64::from(state))
}

/// The row after an event. The decider sees to it that only what may follow is recorded.
fn next(before: Option<EffectRow>, change: &str, seen: &Seen<'_>) -> Option<EffectRow> {
    if change == "claimed" {
        return Some(claimed(seen, before));
    }
    let mut row = before?;
    match change {
        "completed" => {
            end(&mut row, State::Completed, seen);
            row.result = seen.control.get_bytes(field::RESULT).map(<[u8]>::to_vec);
            row.rejected = seen.control.get_u64(field::REJECTED) == Some(1);
        }
        "failed" => {
            let executed = seen.control.get_u64(field::EXECUTED);
            let executed = executed.and_then(Executed::from_number);
            let executed = executed.unwrap_or(Executed::Unknown);
            let state = match executed {
                Executed::Unknown => State::Unknown,
                Executed::No | Executed::Yes => State::Failed,
            };
            end(&mut row, state, seen);
            row.executed = byte(executed.number());
        }
        "cancelled" => end(&mut row, State::Cancelled, seen),
        "outcome_unknown" => end(&mut row, State::Unknown, seen),
        "reconciled" if seen.control.get_u64(field::OUTCOME) == Some(0) => {
            end(&mut row, State::Completed, seen);
            row.result = seen.control.get_bytes(field::RESULT).map(<[u8]>::to_vec);
        }
        "reconciled" | "released" => {
            if change == "released" {
                row.released_attempts = row.attempt;
            }
            end(&mut row, State::Failed, seen);
            row.executed = byte(Executed::No.number());
        }
        "lease_renewed" => {
            let holder = std::mem::take(&mut row.lease.holder);
            row.lease = LEASE.read(seen.control, seen.position);
            row.lease.holder = holder;
        }
        "refused" => refuse(&mut row.refused, seen),
        _ => {}
    }
    Some(row)
}

/// Keeps why a claim was refused, and when that was last.
fn refuse(known: &mut Vec<Refusal>, seen: &Seen<'_>) {
    let why = seen.control.get_text(field::WHY).unwrap_or_default();
    known.retain(|(known, _)| known != why);
    known.push((why.to_owned(), seen.recorded_at_us));
    // Claims are refused for fewer reasons; an import may name any.
    let excess = known.len().saturating_sub(MAX_REFUSED);
    known.drain(..excess);
}

fn claimed(seen: &Seen<'_>, before: Option<EffectRow>) -> EffectRow {
    let number = |field| seen.control.get_u64(field).and_then(byte);
    EffectRow {
        state: byte(State::InFlight.number()).unwrap_or_default(),
        kind: number(field::KIND).unwrap_or_default(),
        class: number(field::CLASS)
            .or_else(|| byte(Class::Write.number()))
            .unwrap_or_default(),
        name: seen
            .control
            .get_text(field::NAME)
            .unwrap_or_default()
            .to_owned(),
        binding: seen
            .control
            .get_bytes(field::BINDING)
            .unwrap_or_default()
            .to_vec(),
        attempt: seen.control.get_u64(field::ATTEMPT).unwrap_or(1),
        fence: seen.position,
        stream: seen.header.stream.to_string(),
        claimed_at_us: seen.recorded_at_us,
        lease: LEASE.read(seen.control, seen.position),
        outcome: None,
        outcome_at_us: 0,
        executed: None,
        result: None,
        rejected: false,
        fresh_for_us: seen.control.get_u64(field::FRESH_FOR_US),
        released_attempts: before.as_ref().map_or(0, |row| row.released_attempts),
        refused: before.map(|row| row.refused).unwrap_or_default(),
        migrated_since_us: None,
        key_binding: seen
            .control
            .get_bytes(field::KEY_BINDING)
            .map(<[u8]>::to_vec),
        reservations: reservations(seen.control),
    }
}

fn reservations(control: &Control) -> Vec<u64> {
    let bytes = control.get_bytes(field::RESERVATIONS).unwrap_or_default();
    let (fences, _) = bytes.as_chunks::<8>();
    fences
        .iter()
        .map(|fence| u64::from_be_bytes(*fence))
        .collect()
}

fn end(row: &mut EffectRow, state: State, seen: &Seen<'_>) {
    // Of a call whose outcome is unknown nobody knows what it cost either.
    if state != State::Unknown {
        row.reservations.clear();
    }
    row.state = byte(state.number()).unwrap_or_default();
    row.outcome = Some(seen.position);
    row.outcome_at_us = seen.recorded_at_us;
    row.executed = None;
    row.result = None;
}

fn byte(number: u64) -> Option<u8> {
    u8::try_from(number).ok()
}

impl EffectRow {
    /// Whether its key may be claimed under this binding.
    pub(super) fn is_bound_to(&self, binding: &[u8]) -> bool {
        self.binding == binding || self.key_binding.as_deref() == Some(binding)
    }

    pub(super) fn state(&self) -> State {
        State::from_number(self.state.into()).unwrap_or(State::Unknown)
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::from_number(self.kind.into()).unwrap_or(Kind::Tool)
    }

    pub(super) fn class(&self) -> Class {
        Class::from_number(self.class.into()).unwrap_or(Class::Write)
    }

    pub(super) fn executed(&self) -> Option<Executed> {
        self.executed
            .and_then(|number| Executed::from_number(number.into()))
    }
}
