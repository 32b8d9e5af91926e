//! What an owner spent and reserved, window by window: the arithmetic that the fold and the decider
//! share, so that what is decided is what is folded.

use super::{Amounts, BudgetLimits, Dimension, Exceeded, MAX_COUNTERS, OwnerId, window};
use crate::events::Window;
use crate::rows::{CounterRow, LimitRow, OwnerRow, TallyRow};
use crate::settings::Settings;

const SECOND_US: u64 = 1_000_000;

/// What the settings add to limits of owners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Limits of every owner in each window.
    pub(super) windows: BudgetLimits,
    pub(super) warn_percent: u64,
}

impl Rules {
    pub(crate) fn of(settings: &Settings) -> Self {
        let windows = &settings.budgets.windows;
        Self {
            windows: BudgetLimits::new()
                .and(Window::Day, &windows.day)
                .and(Window::Week, &windows.week)
                .and(Window::Month, &windows.month),
            warn_percent: settings.budgets.warn_percent,
        }
    }
}

/// How a limit is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Before something is spent: what is reserved counts too.
    Ahead,
    /// After the fact.
    After,
}

fn tally_at(window: Window) -> usize {
    usize::try_from(window.number()).unwrap_or_default()
}

/// Seconds, rounded half to even.
pub(super) fn rounded_s(micros: u64) -> u64 {
    let (seconds, rest) = (micros / SECOND_US, micros % SECOND_US);
    match rest.cmp(&(SECOND_US / 2)) {
        std::cmp::Ordering::Less => seconds,
        std::cmp::Ordering::Equal => seconds + seconds % 2,
        std::cmp::Ordering::Greater => seconds + 1,
    }
}

fn narrow(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

impl OwnerRow {
    /// Begins the windows anew that ended since.
    pub(super) fn roll(&mut self, now: [u64; 3]) {
        for (at, (known, now)) in self.windows.iter_mut().zip(now).enumerate() {
            if *known == now {
                continue;
            }
            *known = now;
            for counter in &mut self.counters {
                if let Some(tally) = counter.tallies.get_mut(at + 1) {
                    *tally = TallyRow::default();
                }
            }
        }
    }

    /// Its own limits.
    pub(super) fn own_limits(&self) -> BudgetLimits {
        let limits = self.limits.iter();
        limits.fold(BudgetLimits::new(), |limits, row| {
            let window = Window::from_number(row.window.into()).unwrap_or(Window::All);
            limits.within(window, Dimension::of_row(&row.dimension), row.max)
        })
    }

    pub(super) fn set_limits(&mut self, limits: &BudgetLimits) {
        let rows = limits.iter().map(|(window, dimension, max)| LimitRow {
            window: u8::try_from(window.number()).unwrap_or_default(),
            dimension: dimension.as_str().to_owned(),
            max,
        });
        self.limits = rows.collect();
    }

    /// Every limit that holds: the lower one of its own and of the settings.
    fn limits(&self, rules: &Rules) -> BudgetLimits {
        let mut limits = self.own_limits();
        for (window, dimension, max) in rules.windows.iter() {
            let own = limits.get(window, dimension);
            let max = own.map_or(max, |own| own.min(max));
            limits = limits.within(window, dimension.clone(), max);
        }
        limits
    }

    pub(super) fn tally(&self, window: Window, dimension: &Dimension) -> TallyRow {
        let code = dimension.as_str();
        let counter = self.counters.iter().find(|row| row.dimension == code);
        counter
            .and_then(|counter| counter.tallies.get(tally_at(window)).copied())
            .unwrap_or_default()
    }

    fn counter(&mut self, code: &str) -> Option<&mut CounterRow> {
        let at = match self
            .counters
            .binary_search_by(|row| row.dimension.as_str().cmp(code))
        {
            Ok(at) => at,
            Err(at) => {
                let row = CounterRow {
                    dimension: code.to_owned(),
                    tallies: [TallyRow::default(); 4],
                };
                self.counters.insert(at, row);
                at
            }
        };
        self.counters.get_mut(at)
    }

    fn tally_mut(&mut self, window: Window, dimension: &Dimension) -> Option<&mut TallyRow> {
        let counter = self.counter(dimension.as_str())?;
        counter.tallies.get_mut(tally_at(window))
    }

    /// Whether it can count these too.
    pub(super) fn has_room_for(&self, amounts: &Amounts) -> bool {
        let is_counter = |code: &str| matches!(Dimension::of_row(code), Dimension::Counter(_));
        let known = self
            .counters
            .iter()
            .filter(|row| is_counter(&row.dimension));
        let more = amounts.iter().filter(|(dimension, _)| {
            let code = dimension.as_str();
            is_counter(code) && self.counters.iter().all(|row| row.dimension != code)
        });
        known.count().saturating_add(more.count()) <= MAX_COUNTERS
    }

    /// Depth is compared with a limit and taken from nobody, so it is not reserved.
    pub(super) fn reserve(&mut self, amounts: &Amounts) {
        for (dimension, amount) in countable(amounts) {
            for tally in self.tallies(dimension) {
                tally.reserved = tally.reserved.saturating_add(amount.into());
            }
        }
    }

    /// Takes back what was reserved in other windows, or in these.
    pub(super) fn unreserve(&mut self, amounts: &Amounts, made_in: [u64; 3]) {
        self.take_back(amounts, made_in, |tally| &mut tally.reserved);
    }

    /// Takes back what was charged in other windows, or in these, for a call that a later report
    /// says less of.
    pub(super) fn credit(&mut self, amounts: &Amounts, charged_in: [u64; 3]) {
        self.take_back(amounts, charged_in, |tally| &mut tally.spent);
    }

    fn take_back(
        &mut self,
        amounts: &Amounts,
        taken_in: [u64; 3],
        sum: impl Fn(&mut TallyRow) -> &mut u128,
    ) {
        let windows = self.windows;
        for (dimension, amount) in countable(amounts) {
            for (at, tally) in self.tallies(dimension).iter_mut().enumerate() {
                let is_of_it = match at.checked_sub(1) {
                    None => true,
                    Some(at) => windows.get(at) == taken_in.get(at),
                };
                if is_of_it {
                    let sum = sum(tally);
                    *sum = sum.saturating_sub(amount.into());
                }
            }
        }
    }

    pub(super) fn spend(&mut self, amounts: &Amounts) {
        for (dimension, amount) in amounts.iter() {
            for tally in self.tallies(dimension) {
                tally.spent = if *dimension == Dimension::Depth {
                    tally.spent.max(amount.into())
                } else {
                    tally.spent.saturating_add(amount.into())
                };
            }
        }
    }

    fn tallies(&mut self, dimension: &Dimension) -> &mut [TallyRow] {
        match self.counter(dimension.as_str()) {
            Some(counter) => &mut counter.tallies,
            None => &mut [],
        }
    }

    pub(super) fn elapsed_us(&self, window: Window, now_us: u64) -> u64 {
        let begin_us = window::begin_us(window, now_us).max(self.opened_at_us);
        now_us.saturating_sub(begin_us)
    }

    /// The first limit that is exceeded, or that these amounts would exceed.
    pub(super) fn exceeded(
        &self,
        id: &OwnerId,
        rules: &Rules,
        requested: &Amounts,
        (look, now_us): (Look, u64),
    ) -> Option<Exceeded> {
        let limits = self.limits(rules);
        limits.iter().find_map(|(window, dimension, limit)| {
            let tally = self.tally(window, dimension);
            let asked = requested.get(dimension);
            let (spent, is_over) = match dimension {
                Dimension::DurationS => {
                    let elapsed_us = self.elapsed_us(window, now_us);
                    let is_over = elapsed_us > limit.saturating_mul(SECOND_US);
                    (rounded_s(elapsed_us), is_over)
                }
                Dimension::Depth => {
                    let depth = narrow(tally.spent);
                    (depth, depth.max(asked) > limit)
                }
                _ => {
                    let sum = if look == Look::Ahead && asked > 0 {
                        let taken = tally.spent.saturating_add(tally.reserved);
                        taken.saturating_add(asked.into())
                    } else {
                        tally.spent
                    };
                    (narrow(tally.spent), sum > limit.into())
                }
            };
            // What is reserved, and not asked for, is not why an owner has spent too much.
            let is_counted = look == Look::Ahead && asked > 0;
            is_over.then(|| Exceeded {
                owner: id.clone(),
                name: None,
                dimension: dimension.clone(),
                window,
                window_name: window::name(window, now_us),
                spent,
                reserved: if is_counted {
                    narrow(tally.reserved)
                } else {
                    0
                },
                requested: if is_counted || *dimension == Dimension::Depth {
                    asked
                } else {
                    0
                },
                limit,
            })
        })
    }

    /// The first limit that is nearly used up and was not warned of.
    pub(super) fn to_warn_of(&self, id: &OwnerId, rules: &Rules, now_us: u64) -> Option<Exceeded> {
        let limits = self.limits(rules);
        limits.iter().find_map(|(window, dimension, limit)| {
            let tally = self.tally(window, dimension);
            let spent = match dimension {
                Dimension::DurationS => self.elapsed_us(window, now_us) / SECOND_US,
                _ => narrow(tally.spent),
            };
            let taken = u128::from(spent).saturating_add(tally.reserved);
            let is_near = taken.saturating_mul(100)
                >= u128::from(limit).saturating_mul(rules.warn_percent.into());
            let is_due = limit > 0 && is_near && tally.warned != Some(limit);
            is_due.then(|| Exceeded {
                owner: id.clone(),
                name: None,
                dimension: dimension.clone(),
                window,
                window_name: window::name(window, now_us),
                spent,
                reserved: narrow(tally.reserved),
                requested: 0,
                limit,
            })
        })
    }

    pub(super) fn warned(&mut self, window: Window, dimension: &Dimension, limit: u64) {
        if let Some(tally) = self.tally_mut(window, dimension) {
            tally.warned = Some(limit);
        }
    }

    pub(super) fn exceeded_at(&mut self, window: Window, dimension: &Dimension, at_us: u64) {
        if let Some(tally) = self.tally_mut(window, dimension) {
            tally.exceeded_at_us = Some(at_us);
        }
    }

    /// Sums since it was opened.
    pub(super) fn sums(&self, of: impl Fn(&TallyRow) -> u128) -> Amounts {
        let sums = self.counters.iter().filter_map(|counter| {
            let sum = narrow(counter.tallies.first().map_or(0, &of));
            (sum > 0).then(|| (Dimension::of_row(&counter.dimension), sum))
        });
        sums.collect()
    }
}

fn countable(amounts: &Amounts) -> impl Iterator<Item = (&Dimension, u64)> {
    amounts
        .iter()
        .filter(|(dimension, _)| **dimension != Dimension::Depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_as_python_rounds_them() {
        let rounded = [0, 499_999, 500_000, 500_001, 1_500_000, 2_500_000].map(rounded_s);
        assert_eq!(rounded, [0, 0, 0, 1, 2, 2]);
    }
}
