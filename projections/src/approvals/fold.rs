//! From records to rows.
//!
//! ```text
//!  'a' position(8)           a request, by its position
//!  'i' event id(16)          its position
//!  'e' digest(16) scope      position of the newest request for a call
//!  'p' position(8)           one that is pending
//! ```

use crate::events::control::{approval as field, effect};
use crate::events::{ApprovalState, Executed};
use crate::rows::{self, ApprovalRow};
use crate::seen::Seen;
use runstone_store::{Fold, FoldError, FoldRecord, Rows};

/// Name of the fold.
pub(super) const FOLD: &str = "approvals";
/// First byte of the key of a request.
pub(super) const REQUEST_ROW: u8 = b'a';
/// First byte of the key of a pending request.
pub(super) const PENDING_ROW: u8 = b'p';
/// What follows when it expires.
pub(super) const REJECT: u64 = 0;
pub(super) const APPROVE: u64 = 1;
pub(super) const ESCALATE: u64 = 2;

/// The fold of requests for approval.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ApprovalsFold;

impl ApprovalsFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for ApprovalsFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        1
    }

    fn namespaces(&self) -> Option<&'static [&'static str]> {
        Some(&["approval", "effect"])
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

pub(super) fn request_key(position: u64) -> Vec<u8> {
    [&[REQUEST_ROW][..], &position.to_be_bytes()].concat()
}

pub(super) fn effect_key(digest: &[u8], scope: &str) -> Vec<u8> {
    [b"e", digest, scope.as_bytes()].concat()
}

pub(super) fn id_key(event_id: &[u8; 16]) -> Vec<u8> {
    [&b"i"[..], event_id].concat()
}

fn pending_key(position: u64) -> Vec<u8> {
    [&[PENDING_ROW][..], &position.to_be_bytes()].concat()
}

/// What was said elsewhere approves nothing here.
fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some((namespace, change)) = seen.header.event_type.split_once('.') else {
        return Ok(());
    };
    match namespace {
        "approval" | "effect" if seen.is_imported() => Ok(()),
        "approval" if change == "requested" => requested(rows, seen),
        "approval" => changed(rows, change, seen),
        "effect" => claimed(rows, change, seen),
        _ => Ok(()),
    }
}

fn requested(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let row = ApprovalRow::requested(seen);
    let of_effect = effect_key(&row.effect, &row.scope);
    // Only the newest request for a call can still be decided.
    if let Some(before) = rows::get::<u64>(rows, &of_effect)? {
        rows.remove(&pending_key(before));
    }
    rows::put(rows, &of_effect, &seen.position)?;
    rows::put(rows, &id_key(&row.event_id), &seen.position)?;
    rows.put(&pending_key(seen.position), Vec::new());
    rows::put(rows, &request_key(seen.position), &row)
}

pub(super) fn reviewers_of(list: &str) -> Vec<String> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn changed(rows: &mut dyn Rows, change: &str, seen: &Seen<'_>) -> Result<(), FoldError> {
    let request = seen.control.get_u64(field::REQUEST).unwrap_or_default();
    let key = request_key(request);
    let Some(mut row) = rows::get::<ApprovalRow>(rows, &key)? else {
        return Ok(());
    };
    let was_pending = row.state() == ApprovalState::Pending;
    row.change(change, seen);
    if was_pending && row.state() != ApprovalState::Pending {
        rows.remove(&pending_key(request));
    }
    rows::put(rows, &key, &row)
}

/// The first attempt that may have been executed spends an approval.
fn claimed(rows: &mut dyn Rows, change: &str, seen: &Seen<'_>) -> Result<(), FoldError> {
    let spends = match change {
        "completed" | "outcome_unknown" => true,
        "failed" => seen.control.get_u64(effect::EXECUTED) != Some(Executed::No.number()),
        "refused" => false,
        _ => return Ok(()),
    };
    let digest = seen.control.get_bytes(effect::KEY).unwrap_or_default();
    let Some(request) = rows::get::<u64>(rows, &effect_key(digest, &seen.header.scope))? else {
        return Ok(());
    };
    let key = request_key(request);
    let Some(mut next) = rows::get::<ApprovalRow>(rows, &key)? else {
        return Ok(());
    };
    if spends {
        next.is_spent |= next.state() == ApprovalState::Approved;
    } else {
        let code = seen.control.get_text(effect::WHY).unwrap_or_default();
        next.refused = Some((code.to_owned(), seen.recorded_at_us));
    }
    rows::put(rows, &key, &next)
}

impl ApprovalRow {
    /// As it is asked.
    pub(super) fn requested(seen: &Seen<'_>) -> Self {
        let number = |field| seen.control.get_u64(field).unwrap_or_default();
        let text = |field| seen.control.get_text(field).unwrap_or_default();
        let bytes = |field| seen.control.get_bytes(field).unwrap_or_default().to_vec();
        Self {
            event_id: seen.header.event_id.into_bytes(),
            effect: bytes(field::KEY),
            scope: seen.header.scope.to_string(),
            stream: seen.header.stream.to_string(),
            what: bytes(field::WHAT),
            state: 0,
            mode: u8::try_from(number(field::MODE)).unwrap_or_default(),
            reviewers: reviewers_of(text(field::REVIEWERS)),
            votes: Vec::new(),
            requester: seen.header.principal.to_string(),
            requested_at_us: seen.recorded_at_us,
            expires_at_us: seen.control.get_u64(field::EXPIRES_AT_US),
            lasts_us: seen.control.get_u64(field::LASTS_US),
            on_timeout: u8::try_from(number(field::ON_TIMEOUT)).unwrap_or_default(),
            escalate_to: text(field::ESCALATE_TO).to_owned(),
            decided: None,
            decided_by: String::new(),
            is_spent: false,
            refused: None,
        }
    }

    /// As it stands after a vote, a decision or an expiry.
    pub(super) fn change(&mut self, change: &str, seen: &Seen<'_>) {
        let is_yes = seen.control.get_u64(field::APPROVED) == Some(1);
        let follows = seen.control.get_u64(field::ON_TIMEOUT);
        let state = match (change, follows) {
            ("voted", _) => {
                self.votes.push((seen.header.principal.to_string(), is_yes));
                return;
            }
            ("expired", Some(ESCALATE)) => {
                self.reviewers = vec![std::mem::take(&mut self.escalate_to)];
                self.votes.clear();
                self.expires_at_us = seen.control.get_u64(field::EXPIRES_AT_US);
                // It goes to somebody else once.
                self.on_timeout = 0;
                self.mode = 0;
                return;
            }
            ("decided", _) if is_yes => ApprovalState::Approved,
            ("expired", Some(APPROVE)) => ApprovalState::Approved,
            ("decided" | "expired", _) => ApprovalState::Rejected,
            _ => return,
        };
        self.state = u8::try_from(state.number()).unwrap_or_default();
        self.decided = Some(seen.position);
        self.decided_by = seen.header.principal.to_string();
    }

    pub(super) fn state(&self) -> ApprovalState {
        ApprovalState::from_number(self.state.into()).unwrap_or(ApprovalState::Rejected)
    }

    /// Whether nobody decided it in time.
    pub(super) fn is_over(&self, now_us: u64) -> bool {
        self.state() == ApprovalState::Pending
            && self
                .expires_at_us
                .is_some_and(|expires_at_us| now_us >= expires_at_us)
    }
}
