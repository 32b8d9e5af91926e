//! What was spent, and what is held back.

use crate::calls::{Held, Said, Time};
use runstone_projections::Hold;
use runstone_projections::budgets;

const DAY_US: u64 = 86_400_000_000;

/// Each owner's name, and the owner above it.
pub const OWNERS: [(&str, Option<usize>); 4] = [
    ("company", None),
    ("team", Some(0)),
    ("bot", Some(1)),
    ("other", Some(0)),
];

/// Limits of each owner, in three variants: tokens for all time, in a week and in a day, and calls
/// of tools for all time.
pub const LIMITS: [[[u64; 4]; 3]; 4] = [
    [
        [400, 250, 120, 30],
        [2000, 250, 120, 60],
        [2000, 900, 300, 60],
    ],
    [
        [300, 200, 90, 20],
        [1500, 200, 90, 40],
        [1500, 700, 200, 40],
    ],
    [[200, 120, 60, 12], [900, 120, 60, 25], [900, 400, 140, 25]],
    [[200, 150, 70, 9], [900, 150, 70, 25], [900, 500, 150, 25]],
];

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    /// Tokens.
    pub tokens: u64,
    /// Calls of tools.
    pub calls: u64,
}

/// What a call cost in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// As much as was held back.
    Full,
    /// So many tokens.
    Tokens(u64),
    /// Nothing.
    Nothing,
}

/// How a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    /// It is held back.
    Open,
    /// It cost so much.
    Settled(Amount),
    /// It was given back.
    Released,
    /// Its lease was over, and that is recorded.
    Expired,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Who spends.
    pub owner: usize,
    /// How much.
    pub amount: Amount,
    /// The day on which it was made.
    pub day: u64,
    /// Who holds it; `None`: a call does.
    pub held: Option<Held>,
    /// The call that it is for.
    pub call: Option<usize>,
    /// How it stands.
    pub stand: Stand,
    /// Where it is recorded, if that is known.
    pub fence: Option<u64>,
    /// Its lease was over at some time, and somebody may have recorded that.
    pub may_be_over: bool,
}

/// Owners, and everything that they ever did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// The variant of the limits of each owner that is open.
    pub limits: [Option<usize>; OWNERS.len()],
    /// What each owner spent on each day, itself.
    spent: std::collections::BTreeMap<(usize, u64), Amount>,
    /// Reservations.
    pub facts: Vec<Fact>,
}

fn counts_for(mut owner: usize, above: usize) -> bool {
    while owner != above {
        match OWNERS[owner].1 {
            Some(parent) => owner = parent,
            None => return false,
        }
    }
    true
}

fn above(owner: usize) -> impl Iterator<Item = usize> {
    (0..OWNERS.len()).filter(move |above| counts_for(owner, *above))
}

/// A window of time.
#[derive(Clone, Copy)]
enum Window {
    All,
    /// The ISO week, which begins on a Monday; day 0 was a Thursday.
    Week(u64),
    Day(u64),
}

impl Window {
    fn has(self, day: u64) -> bool {
        match self {
            Self::All => true,
            Self::Week(week) => (day + 3) / 7 == week,
            Self::Day(today) => day == today,
        }
    }
}

fn today(time: &Time) -> u64 {
    time.now_us / DAY_US
}

impl Fact {
    fn is_over(&self, time: &Time) -> bool {
        self.held.is_some_and(|held| held.is_over(time))
    }

    /// Whether it keeps others from spending.
    fn counts(&self, time: &Time) -> bool {
        self.stand == Stand::Open && !self.is_over(time)
    }

    /// Whether it is open, as far as anybody can tell.
    pub fn may_be_open(&self) -> bool {
        self.stand == Stand::Open
    }

    /// How much, as the log says it.
    pub fn amounts(&self) -> budgets::Amounts {
        let amounts = budgets::Amounts::new().tokens(self.amount.tokens);
        if self.amount.calls == 0 {
            return amounts;
        }
        amounts.tool_calls(self.amount.calls)
    }

    /// Whether its lease was over when somebody may have recorded that.
    pub fn may_have_expired(&self, time: &Time) -> bool {
        self.stand == Stand::Open && (self.may_be_over || self.is_over(time))
    }
}

impl Books {
    /// Whether these are the limits of an owner.
    pub fn are_limits(&self, owner: usize, found: &budgets::BudgetLimits) -> bool {
        let variant = self.limits[owner];
        variant.is_some_and(|variant| super::ask::limits(owner, variant) == *found)
    }

    /// Whether an owner has a budget.
    pub fn is_open(&self, owner: usize) -> bool {
        self.limits[owner].is_some()
    }

    fn spent_in(&self, owner: usize, window: Window) -> Amount {
        let mut sum = Amount::default();
        for ((who, day), amount) in &self.spent {
            if counts_for(*who, owner) && window.has(*day) {
                sum.tokens += amount.tokens;
                sum.calls += amount.calls;
            }
        }
        sum
    }

    fn reserved_in(&self, owner: usize, window: Window, time: &Time) -> Amount {
        let mut sum = Amount::default();
        for fact in &self.facts {
            if fact.counts(time) && counts_for(fact.owner, owner) && window.has(fact.day) {
                sum.tokens += fact.amount.tokens;
                sum.calls += fact.amount.calls;
            }
        }
        sum
    }

    /// What an owner and those below it spent.
    pub fn spent(&self, owner: usize) -> Amount {
        self.spent_in(owner, Window::All)
    }

    /// What is held back for it; those whose lease is over hold nothing back, recorded or not.
    pub fn reserved(&self, owner: usize, time: &Time) -> Amount {
        self.reserved_in(owner, Window::All, time)
    }

    /// Whether so much more fits for the owner and each one above it; what is not asked for must
    /// not be exceeded already.
    pub fn fits(&self, owner: usize, amount: Amount, time: &Time) -> bool {
        above(owner).all(|above| {
            let limits = LIMITS[above][self.limits[above].unwrap_or_default()];
            Self::windows(time)
                .into_iter()
                .zip(limits)
                .all(|(window, limit)| {
                    let (window, is_calls) = window;
                    let of = |amount: Amount| {
                        if is_calls {
                            amount.calls
                        } else {
                            amount.tokens
                        }
                    };
                    let spent = of(self.spent_in(above, window));
                    let taken = if of(amount) > 0 {
                        of(self.reserved_in(above, window, time)) + of(amount)
                    } else {
                        0
                    };
                    spent + taken <= limit
                })
        })
    }

    fn windows(time: &Time) -> [(Window, bool); 4] {
        let day = today(time);
        [
            (Window::All, false),
            (Window::Week((day + 3) / 7), false),
            (Window::Day(day), false),
            (Window::All, true),
        ]
    }

    /// Whether an owner, or one above it, has spent more than a limit.
    pub fn is_over(&self, owner: usize, time: &Time) -> bool {
        !self.fits(owner, Amount::default(), time)
    }

    fn add(&mut self, owner: usize, amount: Amount, time: &Time) {
        let sum = self.spent.entry((owner, today(time))).or_default();
        sum.tokens += amount.tokens;
        sum.calls += amount.calls;
        // What was free of charge is no other world.
        if *sum == Amount::default() {
            self.spent.remove(&(owner, today(time)));
        }
    }

    /// In an order that does not say which of two that were asked at once was first.
    fn put(&mut self, fact: Fact) {
        self.facts.push(fact);
        self.sort();
    }

    /// Puts them into the order of their positions.
    pub fn sort(&mut self) {
        self.facts.sort_by_key(|fact| {
            let at = fact.fence.unwrap_or(u64::MAX);
            (at, fact.call, fact.owner, fact.amount, fact.stand, fact.day)
        });
    }

    pub(super) fn open(&mut self, owner: usize, variant: usize, by_person: bool) -> Said {
        if let Some(parent) = OWNERS[owner].1
            && !self.is_open(owner)
            && !self.is_open(parent)
        {
            return Said::Refused("budget_not_found");
        }
        let before = self.limits[owner];
        let is_raised = before.is_some_and(|before| {
            let pairs = LIMITS[owner][variant].iter().zip(&LIMITS[owner][before]);
            pairs.into_iter().any(|(now, before)| now > before)
        });
        if is_raised && !by_person {
            return Said::Refused("not_allowed");
        }
        self.limits[owner] = Some(variant);
        Said::At(None)
    }

    pub(super) fn reserve(
        &mut self,
        (owner, tokens): (usize, u64),
        hold: Hold,
        time: &Time,
        at: Option<u64>,
    ) -> Said {
        let amount = Amount { tokens, calls: 0 };
        if let Some(refused) = self.refuses(owner, amount, time) {
            return refused;
        }
        self.put(Fact {
            owner,
            amount,
            day: today(time),
            held: Some(Held::from(time, hold)),
            call: None,
            stand: Stand::Open,
            fence: at,
            may_be_over: false,
        });
        Said::At(None)
    }

    fn refuses(&self, owner: usize, amount: Amount, time: &Time) -> Option<Said> {
        if !self.is_open(owner) {
            return Some(Said::Refused("budget_not_found"));
        }
        (!self.fits(owner, amount, time)).then_some(Said::Refused("budget_exceeded"))
    }

    pub(super) fn reserve_for_call(
        &mut self,
        owner: usize,
        amount: Amount,
        key: usize,
        time: &Time,
    ) {
        self.put(Fact {
            owner,
            amount,
            day: today(time),
            held: None,
            call: Some(key),
            stand: Stand::Open,
            fence: None,
            may_be_over: false,
        });
    }

    /// Ends what the attempt of a call holds.
    pub(super) fn end_call(&mut self, key: usize, cost: Cost, time: &Time) {
        let is_its = |fact: &Fact| fact.call == Some(key) && fact.stand == Stand::Open;
        let Some(number) = self.facts.iter().position(is_its) else {
            return;
        };
        let fact = self.facts.remove(number);
        let actual = match cost {
            Cost::Nothing => return,
            Cost::Full => fact.amount,
            Cost::Tokens(tokens) => Amount {
                tokens,
                ..fact.amount
            },
        };
        self.add(fact.owner, actual, time);
    }

    pub(super) fn spend(&mut self, owner: usize, tokens: u64, time: &Time) -> Said {
        let amount = Amount { tokens, calls: 0 };
        if let Some(refused) = self.refuses(owner, amount, time) {
            return refused;
        }
        self.add(owner, amount, time);
        Said::At(None)
    }

    pub(super) fn charge(&mut self, owner: usize, tokens: u64, time: &Time) -> Said {
        if !self.is_open(owner) {
            return Said::Refused("budget_not_found");
        }
        self.add(owner, Amount { tokens, calls: 0 }, time);
        Said::Spent(self.is_over(owner, time))
    }

    pub(super) fn settle(&mut self, fence: u64, tokens: u64, time: &Time) -> Said {
        let is_it = |fact: &&mut Fact| fact.fence == Some(fence);
        let Some(fact) = self.facts.iter_mut().find(is_it) else {
            return Said::Refused("reservation_not_found");
        };
        if fact.call.is_some() {
            return Said::Refused("reservation_of_call");
        }
        let actual = Amount { tokens, calls: 0 };
        match fact.stand {
            Stand::Settled(before) if before == actual => return Said::Spent(false),
            Stand::Settled(_) | Stand::Released => return Said::Refused("reservation_ended"),
            // One whose lease is over is charged in full.
            Stand::Open | Stand::Expired => {}
        }
        fact.stand = Stand::Settled(actual);
        let owner = fact.owner;
        self.add(owner, actual, time);
        Said::Spent(self.is_over(owner, time))
    }

    pub(super) fn give_back(&mut self, fence: u64, time: &Time) -> Said {
        let is_it = |fact: &&mut Fact| fact.fence == Some(fence);
        let Some(fact) = self.facts.iter_mut().find(is_it) else {
            return Said::Refused("reservation_not_found");
        };
        if fact.call.is_some() {
            return Said::Refused("reservation_of_call");
        }
        match fact.stand {
            Stand::Settled(_) => return Said::Refused("reservation_ended"),
            // Its lapse is recorded before anything is done to it.
            Stand::Open if fact.is_over(time) => fact.stand = Stand::Expired,
            Stand::Open => fact.stand = Stand::Released,
            Stand::Released | Stand::Expired => {}
        }
        Said::At(None)
    }

    pub(super) fn sweep(&mut self, time: &Time) {
        for fact in &mut self.facts {
            if fact.stand == Stand::Open && fact.is_over(time) {
                fact.stand = Stand::Expired;
            }
        }
    }

    pub(super) fn pass(&mut self, time: &Time) {
        for fact in &mut self.facts {
            fact.may_be_over |= fact.stand == Stand::Open && fact.is_over(time);
        }
    }
}
