//! Looking at budgets.

use super::books::{Look, Rules, rounded_s};
use super::fold::{
    FOLD, OWNER_ROW, fence_of, leases_prefix, open_prefix, owner_key, reservation_key, state,
};
use super::{
    Amounts, Budget, BudgetError, Budgets, Exceeded, MAX_NESTING, OwnerId, decide, past, window,
};
use crate::events::Window;
use crate::lease::{self, LENGTHS, LeaseIndex, Moment};
use crate::rows::{self, LeaseRow, OwnerRow, ReservationRow};
use crate::settings::Settings;
use crate::view;
use runstone_codec::Position;
use runstone_store::{FoldRow, Log, ReadError};
use std::fmt::Display;

/// How a reservation stands whose lease is over.
const EXPIRED: &str = "expired";
/// Rows fetched at once.
const PAGE: usize = 256;

/// A reservation, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reservation {
    /// Its position.
    pub fence: Position,
    /// Whose.
    pub owner: OwnerId,
    /// Where it is recorded.
    pub stream: String,
    /// How much was held back.
    pub amounts: Amounts,
    /// When, Unix microseconds.
    pub at_us: u64,
    /// `open`, `settled`, `released` or `expired`.
    pub state: &'static str,
    /// When its lease ends, Unix microseconds; `None`: as long as this opening of the log lasts, or
    /// until the call ends that it was made for.
    pub lease_expires_at_us: Option<u64>,
    /// Position of the claim of the call that it was made for.
    pub effect: Option<Position>,
    /// What it cost.
    pub actual: Amounts,
    /// Position of the event that ended it.
    pub outcome: Option<Position>,
}

impl Reservation {
    fn of(fence: u64, row: &ReservationRow, moment: &Moment) -> Self {
        let (lease_expires_at_us, is_over) = match &row.lease {
            Some(lease) => lease.seen(moment),
            None => (None, false),
        };
        let is_lapsed = row.state == state::OPEN && is_over;
        Self {
            fence: Position::new(fence),
            owner: row.owner_id(),
            stream: row.stream.clone(),
            amounts: Amounts::of_row(&row.amounts),
            at_us: row.at_us,
            state: if is_lapsed {
                EXPIRED
            } else {
                decide::word(row)
            },
            lease_expires_at_us,
            effect: row.effect.map(Position::new),
            actual: Amounts::of_row(&row.actual),
            outcome: row.outcome.map(Position::new),
        }
    }
}

fn failed<T: Display>(why: T) -> ReadError {
    view::failed(FOLD, why)
}

pub(super) fn owner_row(log: &Log, id: &OwnerId) -> Result<Option<OwnerRow>, ReadError> {
    view::stored(log, FOLD, &owner_key(id))
}

/// An owner and those above it that somebody opened.
fn chain(log: &Log, id: &OwnerId) -> Result<Vec<(OwnerId, OwnerRow)>, ReadError> {
    let (mut chain, mut next) = (Vec::new(), Some(id.clone()));
    while let Some(id) = next.take() {
        let Some(row) = owner_row(log, &id)? else {
            break;
        };
        if chain.len() <= MAX_NESTING {
            next = row.parent.as_ref().map(OwnerId::from);
        }
        chain.push((id, row));
    }
    Ok(chain)
}

/// Whether somebody opened it.
pub(crate) fn is_known(log: &Log, id: &OwnerId) -> Result<bool, ReadError> {
    Ok(owner_row(log, id)?.is_some())
}

/// Whether what an owner spends counts for another one. That never changes.
pub(crate) fn is_within(log: &Log, id: &OwnerId, above: &OwnerId) -> Result<bool, ReadError> {
    Ok(chain(log, id)?.iter().any(|(id, _)| id == above))
}

/// The limit that asking for so much now would exceed, or that an owner is over already.
pub(crate) fn refuses(
    log: &Log,
    id: &OwnerId,
    rules: &Rules,
    asked: &Amounts,
) -> Result<Option<Exceeded>, ReadError> {
    let now_us = log.now_us();
    let over = |(id, mut row): (OwnerId, OwnerRow)| {
        row.roll(window::of(now_us));
        row.exceeded(&id, rules, asked, (Look::Ahead, now_us))
    };
    Ok(chain(log, id)?.into_iter().find_map(over))
}

fn now(log: &Log) -> Moment {
    Moment::Now(log.opening(), log.steady_us())
}

/// A reservation by its position.
pub(super) fn reservation(log: &Log, fence: Position) -> Result<Option<Reservation>, ReadError> {
    let row: Option<ReservationRow> = view::stored(log, FOLD, &reservation_key(fence.get()))?;
    Ok(row.map(|row| Reservation::of(fence.get(), &row, &now(log))))
}

/// Reservations of an owner and of those below it that are not ended, the oldest first.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
pub fn reservations(log: &Log, id: &OwnerId) -> Result<Vec<Reservation>, ReadError> {
    view::check(log, FOLD)?;
    let mut found = Vec::new();
    let mut open = OpenOnes::of(id);
    while let Some(page) = open.next_page(log, PAGE)? {
        found.extend(page);
    }
    Ok(found)
}

/// Reservations that nobody ended before their leases were over, in no order.
pub(crate) fn all_lapsed(log: &Log) -> Result<Vec<Reservation>, ReadError> {
    view::check(log, FOLD)?;
    let mut owners = Vec::new();
    view::each(log, FOLD, &[OWNER_ROW], |(key, row)| {
        let row: OwnerRow = rows::decode(&row).map_err(failed)?;
        if row.open > 0 {
            owners.push(id_of(&key)?);
        }
        Ok(())
    })?;
    let mut found = Vec::new();
    for owner in owners {
        // Those below it are found with their own owners.
        let own = reservations(log, &owner)?.into_iter();
        found.extend(own.filter(|one| one.owner == owner && one.state == EXPIRED));
    }
    Ok(found)
}

/// Every owner, in no order. It holds them all in memory.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
pub fn list(log: &Log) -> Result<Vec<Budget>, BudgetError> {
    view::check(log, FOLD)?;
    let rules = Rules::of(&Settings::in_force(log)?.settings);
    let now_us = log.now_us();
    let (mut found, mut from) = (Vec::new(), vec![OWNER_ROW]);
    loop {
        let page = log.fold_rows(FOLD, &[OWNER_ROW], &from, PAGE)?;
        for (key, row) in &page {
            let row: OwnerRow = rows::decode(row).map_err(failed)?;
            let id = id_of(key)?;
            let row = without_lapsed(log, &id, row)?;
            found.push(budget_of(&id, row, &rules, now_us));
        }
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else {
            return Ok(found);
        };
        from.clone_from(last);
        from.push(0);
    }
}

pub(super) fn id_of(key: &[u8]) -> Result<OwnerId, ReadError> {
    let id = key.get(1..).and_then(|key| {
        let (digest, scope) = key.split_first_chunk::<16>()?;
        OwnerId::of(Some(digest), std::str::from_utf8(scope).ok())
    });
    id.ok_or_else(|| failed("the key of a row names no owner"))
}

fn budget_of(id: &OwnerId, mut row: OwnerRow, rules: &Rules, now_us: u64) -> Budget {
    row.roll(window::of(now_us));
    let none = Amounts::new();
    let exceeded = row.exceeded(id, rules, &none, (Look::After, now_us));
    Budget {
        id: id.clone(),
        opened: Position::new(row.opened),
        opened_at_us: row.opened_at_us,
        elapsed_s: rounded_s(row.elapsed_us(Window::All, now_us)),
        parent: row.parent.as_ref().map(OwnerId::from),
        level: row.level,
        limits: row.own_limits(),
        limits_at: Position::new(row.limits_at),
        spent: row.sums(|tally| tally.spent),
        reserved: row.sums(|tally| tally.reserved),
        open_reservations: row.open,
        exceeded,
    }
}

/// How owners stood after a position: those that events of a stream were about up to there, and those
/// above them. A limit of the settings that are in force now is not looked at.
///
/// # Errors
///
/// [`BudgetError::Read`] if the log cannot be read.
pub fn state_at(log: &Log, stream: &str, at: Position) -> Result<Vec<Budget>, BudgetError> {
    let owners = past::of_stream(log, stream, at)?;
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let is_now = at.get().saturating_add(1) >= log.size();
    let now_us = if is_now {
        log.now_us()
    } else {
        log.record(at)?.recorded_at_us
    };
    let rules = Rules::default();
    let mut found: Vec<_> = owners
        .into_iter()
        .map(|(id, row)| budget_of(&id, row, &rules, now_us))
        .collect();
    found.sort_by_key(|budget| budget.opened);
    Ok(found)
}

impl Budgets {
    /// How an owner stands now.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Read`] if the log cannot be read.
    pub fn get(&self, id: &OwnerId) -> Result<Option<Budget>, BudgetError> {
        view::check(&self.log, FOLD)?;
        let Some(row) = owner_row(&self.log, id)? else {
            return Ok(None);
        };
        let rules = Rules::of(&self.in_force()?.settings);
        let now_us = self.log.now_us();
        let row = without_lapsed(&self.log, id, row)?;
        let mut budget = budget_of(id, row, &rules, now_us);
        let mut above = budget.parent.clone();
        for _ in 0..MAX_NESTING {
            let Some(id) = above.filter(|_| budget.exceeded.is_none()) else {
                break;
            };
            let Some(row) = owner_row(&self.log, &id)? else {
                break;
            };
            let parent = budget_of(&id, row, &rules, now_us);
            (budget.exceeded, above) = (parent.exceeded, parent.parent);
        }
        if let Some(over) = budget.exceeded.take() {
            budget.exceeded = Some(self.named(over)?);
        }
        Ok(Some(budget))
    }

    /// A reservation by its position; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Read`] if the log cannot be read.
    pub fn reservation(&self, fence: Position) -> Result<Option<Reservation>, BudgetError> {
        view::check(&self.log, FOLD)?;
        Ok(reservation(&self.log, fence)?)
    }
}

/// Open reservations of an owner, page by page.
struct OpenOnes {
    prefix: Vec<u8>,
    /// Where the next page begins; none after the last.
    from: Option<Vec<u8>>,
}

impl OpenOnes {
    fn of(id: &OwnerId) -> Self {
        let prefix = open_prefix(id);
        Self {
            from: Some(prefix.clone()),
            prefix,
        }
    }

    fn next_page(&mut self, log: &Log, most: usize) -> Result<Option<Vec<Reservation>>, ReadError> {
        let Some(from) = self.from.take() else {
            return Ok(None);
        };
        let page = log.fold_rows(FOLD, &self.prefix, &from, most)?;
        if let Some((last, _)) = page.last().filter(|_| page.len() == most) {
            let mut next = last.clone();
            next.push(0);
            self.from = Some(next);
        }
        let mut found = Vec::with_capacity(page.len());
        for (key, _) in &page {
            let fence = fence_of(key).ok_or_else(|| failed("the key of a row is cut"))?;
            // One that ended since the page was read is passed over.
            found.extend(reservation(log, Position::new(fence))?);
        }
        found.retain(|one| one.outcome.is_none());
        Ok(Some(found))
    }
}

/// The leases of open reservations.
struct Leases<'a>(&'a Log);

impl LeaseIndex for Leases<'_> {
    type Error = ReadError;

    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, ReadError> {
        let rows = self.0.fold_rows(FOLD, prefix, from, 1)?;
        Ok(rows.into_iter().next())
    }

    fn lease(&self, (key, _): &FoldRow) -> Result<Option<LeaseRow>, ReadError> {
        let fence = fence_of(key).ok_or_else(|| failed("the key of a row is cut"))?;
        let row: Option<ReservationRow> = view::stored(self.0, FOLD, &reservation_key(fence))?;
        Ok(row
            .filter(|row| row.state == state::OPEN)
            .and_then(|row| row.lease))
    }
}

/// Reservations of an owner and of those below it whose lease is over, so many at most; it looks at
/// leases of so many lengths.
pub(super) fn lapsed(
    log: &Log,
    id: &OwnerId,
    looked_at: (usize, usize),
) -> Result<Vec<Reservation>, ReadError> {
    let (rows, moment) = (lapsed_rows(log, id, looked_at)?, now(log));
    let found = rows.iter();
    Ok(found
        .map(|(fence, row)| Reservation::of(*fence, row, &moment))
        .collect())
}

fn lapsed_rows(
    log: &Log,
    id: &OwnerId,
    looked_at: (usize, usize),
) -> Result<Vec<(u64, ReservationRow)>, ReadError> {
    let (opening, steady_us) = (log.opening(), log.steady_us());
    let prefix = leases_prefix(id);
    let over = lease::over(&Leases(log), &prefix, (&opening, steady_us), looked_at)?;
    let mut found = Vec::with_capacity(over.len());
    for (key, _) in over {
        let fence = fence_of(&key).ok_or_else(|| failed("the key of a row is cut"))?;
        let row: Option<ReservationRow> = view::stored(log, FOLD, &reservation_key(fence))?;
        // One that ended since its lease was read is passed over.
        let open = row.filter(|row| row.state == state::OPEN);
        found.extend(open.map(|row| (fence, row)));
    }
    Ok(found)
}

/// An owner as it will be when the reservations are recorded as expired whose lease is over: they hold
/// nothing back, whoever asks.
fn without_lapsed(log: &Log, id: &OwnerId, mut row: OwnerRow) -> Result<OwnerRow, ReadError> {
    if row.open == 0 {
        return Ok(row);
    }
    for (_, lapsed) in lapsed_rows(log, id, (usize::MAX, LENGTHS))? {
        row.unreserve(&Amounts::of_row(&lapsed.amounts), lapsed.windows);
        row.open = row.open.saturating_sub(1);
    }
    Ok(row)
}
