//! Random commands on nested owners of a log in a file, against a plain model that keeps every fact
//! and adds up anew each time: every answer is the expected one, and after a crash or a close the log
//! answers and folds as before.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use runstone_codec::Position;
use runstone_projections::Hold;
use runstone_projections::budgets::{
    Amounts, BudgetError, BudgetLimits, Budgets, Dimension, Open, Window,
};
use runstone_projections::effects::{Change, Claim, Claimed, Effects, Executed, Held};
use runstone_projections::events::ErrorSaid;
use runstone_store::{CreateOptions, Log, Sealing};
use runstone_tests::clocked::{Clocked, model_cases};
use runstone_tests::tamper::Outcome;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;
/// One minute before midnight of a Saturday.
const START: u64 = (20_262 * 86_400 - 60) * SECOND;
const LEASE: u64 = 60 * SECOND;
/// Each owner, its parent, its limit of tokens for all time and in a day.
const OWNERS: [(&str, Option<usize>, u64, u64); 4] = [
    ("company", None, 400, 90),
    ("team", Some(0), 250, 70),
    ("bot", Some(1), 200, 60),
    ("other", Some(0), 300, 80),
];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Do {
    /// By whom, how much, and whether it is held by the opening.
    Reserve(usize, u64, bool),
    Spend(usize, u64),
    Charge(usize, u64),
    /// The reservation this far back, and what it cost.
    Settle(usize, u64),
    Release(usize),
    /// A call that reserves so much.
    Claim(usize, u64),
    /// The call this far back ends: completed with a cost, not executed, or nobody knows.
    End(usize, Option<u64>, bool),
    Sweep,
    Wait(u64),
    /// The log is closed or killed, and opened again.
    Reopen(bool),
}

fn anything() -> impl Strategy<Value = Do> {
    let owner = || 0..OWNERS.len();
    let amount = || 1..40_u64;
    let back = || 0..6_usize;
    let waits = prop::sample::select(vec![SECOND, 59 * SECOND, LEASE, 6 * 3_600 * SECOND, DAY]);
    prop_oneof![
        6 => (owner(), amount(), any::<bool>()).prop_map(|(who, n, here)| Do::Reserve(who, n, here)),
        3 => (owner(), amount()).prop_map(|(who, n)| Do::Spend(who, n)),
        2 => (owner(), 1..30_u64).prop_map(|(who, n)| Do::Charge(who, n)),
        4 => (back(), 0..50_u64).prop_map(|(back, n)| Do::Settle(back, n)),
        2 => back().prop_map(Do::Release),
        4 => (owner(), amount()).prop_map(|(who, n)| Do::Claim(who, n)),
        4 => (back(), prop::option::of(0..50_u64), any::<bool>())
            .prop_map(|(back, cost, known)| Do::End(back, cost, known)),
        1 => Just(Do::Sweep),
        3 => waits.prop_map(Do::Wait),
        1 => any::<bool>().prop_map(Do::Reopen),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    Open,
    Settled(u64),
    Released,
    Expired,
}

/// A reservation as the model keeps it.
#[derive(Clone, Debug)]
struct Fact {
    owner: usize,
    amount: u64,
    day: u64,
    /// When its lease ends by the steady clock; a call has none.
    ends_us: Option<u64>,
    by_opening: bool,
    stand: Stand,
}

/// Everything that happened.
#[derive(Debug, Default)]
struct Model {
    /// Owner, amount and day of each charge.
    spent: Vec<(usize, u64, u64)>,
    facts: Vec<Fact>,
}

fn counts_for(mut owner: usize, above: usize) -> bool {
    loop {
        if owner == above {
            return true;
        }
        match OWNERS[owner].1 {
            Some(parent) => owner = parent,
            None => return false,
        }
    }
}

impl Model {
    fn spent(&self, owner: usize, day: Option<u64>) -> u64 {
        let of = self
            .spent
            .iter()
            .filter(|(who, _, at)| counts_for(*who, owner) && day.is_none_or(|day| day == *at));
        of.map(|(_, amount, _)| amount).sum()
    }

    fn reserved(&self, owner: usize, day: Option<u64>, steady_us: u64) -> u64 {
        let is_held = |fact: &&Fact| {
            fact.stand == Stand::Open
                && fact.ends_us.is_none_or(|ends_us| steady_us < ends_us)
                && counts_for(fact.owner, owner)
                && day.is_none_or(|day| day == fact.day)
        };
        self.facts
            .iter()
            .filter(is_held)
            .map(|fact| fact.amount)
            .sum()
    }

    /// Whether so much more fits for the owner and each one above it.
    fn fits(&self, owner: usize, amount: u64, (day, steady_us): (u64, u64)) -> bool {
        (0..OWNERS.len())
            .filter(|above| counts_for(owner, *above))
            .all(|above| {
                let (_, _, all, daily) = OWNERS[above];
                let sum = |day| self.spent(above, day) + self.reserved(above, day, steady_us);
                sum(None) + amount <= all && sum(Some(day)) + amount <= daily
            })
    }

    fn is_over(&self, owner: usize, day: u64) -> bool {
        (0..OWNERS.len())
            .filter(|above| counts_for(owner, *above))
            .any(|above| {
                let (_, _, all, daily) = OWNERS[above];
                self.spent(above, None) > all || self.spent(above, Some(day)) > daily
            })
    }
}

struct Site {
    clocked: Clocked,
    /// `None` while it is closed.
    log: Option<Log>,
    model: Model,
    /// Fences, in the order of the model's facts; for calls the claims.
    fences: Vec<Result<Position, Held>>,
    calls: usize,
}

fn tokens(amount: u64) -> Amounts {
    Amounts::new().tokens(amount)
}

impl Site {
    fn new(sealing: Sealing) -> Outcome<Self> {
        let mut site = Self {
            clocked: Clocked::beginning(START)?,
            log: None,
            model: Model::default(),
            fences: Vec::new(),
            calls: 0,
        };
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&site.clocked.path(), &create, site.clocked.opening_alone())?;
        let budgets = Budgets::new(&log);
        for (name, parent, all, daily) in OWNERS {
            let limits = BudgetLimits::new().of(Dimension::Tokens, all).within(
                Window::Day,
                Dimension::Tokens,
                daily,
            );
            let mut open = Open::new(name).limits(limits);
            if let Some(parent) = parent {
                open = open.parent(OWNERS[parent].0);
            }
            budgets.open_blocking(&open)?;
        }
        site.log = Some(log);
        Ok(site)
    }

    fn log(&self) -> Log {
        self.log.clone().expect("it is open")
    }

    fn now(&self) -> (u64, u64) {
        let log = self.log();
        (log.now_us() / DAY, log.steady_us())
    }

    /// The fact this far back among those of calls, or among the others.
    fn back(&self, back: usize, is_call: bool) -> Option<usize> {
        let facts = self.model.facts.iter().enumerate().rev();
        let mut facts = facts.filter(|(at, _)| self.fences[*at].is_err() == is_call);
        facts.nth(back).map(|(at, _)| at)
    }

    fn happen(&mut self, what: &Do) -> Outcome {
        let log = self.log();
        let budgets = Budgets::new(&log);
        let (day, steady_us) = self.now();
        match what {
            Do::Reserve(owner, amount, by_opening) => {
                let hold = if *by_opening {
                    Hold::Opening
                } else {
                    Hold::For(Duration::from_micros(LEASE))
                };
                let fits = self.model.fits(*owner, *amount, (day, steady_us));
                let told = budgets.reserve_blocking(OWNERS[*owner].0, &tokens(*amount), hold);
                if answered(told.as_ref(), fits) {
                    self.fences.push(Ok(told?.fence));
                    self.model.facts.push(Fact {
                        owner: *owner,
                        amount: *amount,
                        day,
                        ends_us: (!by_opening).then_some(steady_us + LEASE),
                        by_opening: *by_opening,
                        stand: Stand::Open,
                    });
                }
            }
            Do::Spend(owner, amount) => {
                let fits = self.model.fits(*owner, *amount, (day, steady_us));
                let told = budgets.spend_blocking(OWNERS[*owner].0, &tokens(*amount));
                if answered(told.as_ref(), fits) {
                    self.model.spent.push((*owner, *amount, day));
                }
            }
            Do::Charge(owner, amount) => {
                let told = budgets.charge_blocking(OWNERS[*owner].0, &tokens(*amount))?;
                self.model.spent.push((*owner, *amount, day));
                assert_eq!(told.exceeded.is_some(), self.model.is_over(*owner, day));
            }
            Do::Settle(back, cost) => self.settle(&budgets, *back, *cost)?,
            Do::Release(back) => self.release(&budgets, *back)?,
            Do::Claim(owner, amount) => self.claim(&log, *owner, *amount)?,
            Do::End(back, cost, is_known) => self.end(&log, *back, *cost, *is_known)?,
            Do::Sweep => {
                budgets.sweep_blocking()?;
            }
            Do::Wait(micros) => self.clocked.clock.advance(*micros),
            Do::Reopen(is_closed) => {
                drop((budgets, log));
                self.reopen(*is_closed)?;
            }
        }
        self.look()
    }

    /// How a reservation stands: one whose lease is over may be recorded as such or not.
    fn stand(&self, at: usize) -> Stand {
        let fact = &self.model.facts[at];
        let is_over = fact.ends_us.is_some_and(|ends_us| self.now().1 >= ends_us);
        match fact.stand {
            Stand::Open if is_over => Stand::Expired,
            stand => stand,
        }
    }

    fn settle(&mut self, budgets: &Budgets, back: usize, cost: u64) -> Outcome {
        let Some(at) = self.back(back, false) else {
            return Ok(());
        };
        let (day, stand) = (self.now().0, self.stand(at));
        let Ok(fence) = self.fences[at] else {
            return Ok(());
        };
        let told = budgets.settle_blocking(fence, &tokens(cost));
        match stand {
            Stand::Open | Stand::Expired => {
                let owner = self.model.facts[at].owner;
                self.model.facts[at].stand = Stand::Settled(cost);
                self.model.spent.push((owner, cost, day));
                let over = self.model.is_over(owner, day);
                assert_eq!(told?.exceeded.is_some(), over);
            }
            Stand::Settled(before) if before == cost => assert_eq!(told?.exceeded, None),
            Stand::Settled(_) | Stand::Released => {
                assert_eq!(told.unwrap_err().code(), "reservation_ended");
            }
        }
        Ok(())
    }

    fn release(&mut self, budgets: &Budgets, back: usize) -> Outcome {
        let Some(at) = self.back(back, false) else {
            return Ok(());
        };
        let Ok(fence) = self.fences[at] else {
            return Ok(());
        };
        let told = budgets.release_blocking(fence, None);
        match self.stand(at) {
            Stand::Settled(_) => assert_eq!(told.unwrap_err().code(), "reservation_ended"),
            Stand::Open => {
                told?;
                self.model.facts[at].stand = Stand::Released;
            }
            // Whether its lapse or its release was recorded depends on who looked at it before.
            Stand::Expired => {
                let reservation = budgets.reservation(told.map(|_| fence)?)?;
                let state = reservation.ok_or("it is there")?.state;
                self.model.facts[at].stand = match state {
                    "expired" => Stand::Expired,
                    "released" => Stand::Released,
                    other => return Err(other.into()),
                };
            }
            Stand::Released => {
                told?;
            }
        }
        Ok(())
    }

    fn claim(&mut self, log: &Log, owner: usize, amount: u64) -> Outcome {
        let (day, steady_us) = self.now();
        let fits = self.model.fits(owner, amount, (day, steady_us));
        self.calls += 1;
        let claim = Claim::tool("run-1", "pay").request(self.calls.to_string());
        let claim = claim.budget(OWNERS[owner].0, tokens(amount));
        match Effects::new(log).claim_blocking(&claim) {
            Ok(Claimed::Held(held)) => {
                assert!(fits);
                self.fences.push(Err(held));
                self.model.facts.push(Fact {
                    owner,
                    amount,
                    day,
                    ends_us: None,
                    by_opening: false,
                    stand: Stand::Open,
                });
            }
            Ok(Claimed::Completed(outcome)) => return Err(format!("{outcome:?}").into()),
            Err(error) => assert_eq!((error.code(), fits), ("budget_exceeded", false)),
        }
        Ok(())
    }

    fn end(&mut self, log: &Log, back: usize, cost: Option<u64>, is_known: bool) -> Outcome {
        let Some(at) = self.back(back, true) else {
            return Ok(());
        };
        let day = self.now().0;
        let Err(held) = &self.fences[at] else {
            return Ok(());
        };
        let (target, change) = match (cost, is_known) {
            (Some(cost), _) => {
                let target = held.target().cost(tokens(cost));
                (target, Change::completed(&1)?)
            }
            (None, true) => (held.target(), failed(Executed::No)),
            (None, false) => (held.target(), failed(Executed::Unknown)),
        };
        let told = Effects::new(log).change_blocking(&target, &change);
        // A call that ended has ended; what of one that nobody knows of is reserved stays so.
        if told.is_ok() && self.model.facts[at].stand == Stand::Open {
            let fact = &mut self.model.facts[at];
            match (cost, is_known) {
                (Some(cost), _) => {
                    fact.stand = Stand::Settled(cost);
                    let owner = fact.owner;
                    self.model.spent.push((owner, cost, day));
                }
                (None, true) => fact.stand = Stand::Released,
                (None, false) => {}
            }
        }
        Ok(())
    }

    /// What is spent is what the model adds up.
    fn look(&mut self) -> Outcome {
        let budgets = Budgets::new(&self.log());
        for (owner, (name, ..)) in OWNERS.iter().enumerate() {
            let budget = budgets.check(*name)?;
            let spent = budget.spent.get(&Dimension::Tokens);
            assert_eq!(spent, self.model.spent(owner, None), "{name}");
            let over = self.model.is_over(owner, self.now().0);
            assert_eq!(budget.exceeded.is_some(), over, "{name}");
        }
        Ok(())
    }

    fn reopen(&mut self, is_closed: bool) -> Outcome {
        let log = self.log.take().ok_or("it is open")?;
        let log = self.clocked.restart(log, is_closed)?;
        let opened_us = log.opening().at_us;
        for fact in &mut self.model.facts {
            // A lease that was recorded as over stays over; others have their full length again.
            let is_recorded = fact.stand != Stand::Open;
            if fact.by_opening && fact.ends_us.is_none() {
                fact.ends_us = Some(opened_us);
            } else if fact.ends_us.is_some() && !fact.by_opening && !is_recorded {
                fact.ends_us = Some(opened_us + LEASE);
            }
        }
        self.log = Some(log);
        self.learn()
    }

    /// Which lapses are recorded is not for the model to say: it asks before time is given again.
    fn learn(&mut self) -> Outcome {
        let budgets = Budgets::new(&self.log());
        for at in 0..self.fences.len() {
            let Ok(fence) = self.fences[at] else { continue };
            let reservation = budgets.reservation(fence)?.ok_or("it is there")?;
            if reservation.state == "expired" && self.model.facts[at].stand == Stand::Open {
                self.model.facts[at].stand = Stand::Expired;
            }
        }
        Ok(())
    }

    /// With every lapse recorded, what is reserved is what the model adds up.
    fn sweep_and_look(&mut self) -> Outcome {
        let budgets = Budgets::new(&self.log());
        budgets.sweep_blocking()?;
        for (owner, (name, ..)) in OWNERS.iter().enumerate() {
            let reserved = budgets.check(*name)?.reserved.get(&Dimension::Tokens);
            let expected = self.model.reserved(owner, None, self.now().1);
            assert_eq!(reserved, expected, "{name}");
        }
        Ok(())
    }
}

fn answered<T>(told: Result<T, &BudgetError>, fits: bool) -> bool {
    let code = told.err().map(BudgetError::code);
    assert_eq!(code, (!fits).then_some("budget_exceeded"));
    fits
}

fn failed(executed: Executed) -> Change {
    Change::Fail {
        error: ErrorSaid::default(),
        executed: Some(executed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: model_cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn budgets_answer_as_the_model_does(
        is_plain in any::<bool>(),
        all in prop::collection::vec(anything(), 10..80),
    ) {
        let failed = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let sealing = if is_plain { Sealing::Plain } else { Sealing::Required };
        let mut site = Site::new(sealing).map_err(failed)?;
        for what in &all {
            site.happen(what).map_err(failed)?;
        }
        site.sweep_and_look().map_err(failed)?;
        site.reopen(false).map_err(failed)?;
        site.sweep_and_look().map_err(failed)?;
    }
}

/// A model that always agrees proves nothing: it knows what does not fit.
#[test]
fn the_model_refuses_what_must_not_be() {
    let mut model = Model::default();
    let now = (1, 1);
    assert!(model.fits(2, 60, now));
    assert!(!model.fits(2, 61, now), "a day has its own limit");
    model.spent.push((3, 80, 1));
    assert!(!model.fits(2, 11, now), "the company has ten left today");
    assert!(model.fits(2, 11, (2, 1)), "tomorrow it has more");
}
