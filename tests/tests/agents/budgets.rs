//! Budgets: no number of callers passes a limit, windows roll over where the calendar says so, and
//! calls and steps spend in the decision that records them.

use runstone_codec::{Draft, NewEvent, Position};
use runstone_projections::budgets::{
    Amounts, BudgetError, BudgetLimits, Budgets, Dimension, MAX_NESTING, Open, Owner, Window, list,
    reservations,
};
use runstone_projections::events::{BudgetCharged, control};
use runstone_projections::{Hold, Settings};
use runstone_store::{CreateOptions, Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, START_US, assert_sound, memory};
use runstone_tests::tamper::Outcome;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod calls;

const SECOND: u64 = 1_000_000;
const LEASE: Hold = Hold::For(Duration::from_secs(60));

fn tokens(max: u64) -> BudgetLimits {
    BudgetLimits::new().of(Dimension::Tokens, max)
}

fn steps(max: u64) -> BudgetLimits {
    BudgetLimits::new().of(Dimension::Steps, max)
}

fn code<T: std::fmt::Debug>(outcome: Result<T, BudgetError>) -> &'static str {
    outcome.unwrap_err().code()
}

fn opened(log: &Log, name: &str, limits: BudgetLimits) -> Outcome<Budgets> {
    let budgets = Budgets::new(log);
    budgets.open_blocking(&Open::new(name).limits(limits))?;
    Ok(budgets)
}

/// What was spent and what is reserved of one dimension.
fn sums(budgets: &Budgets, owner: &str, dimension: &Dimension) -> Outcome<(u64, u64)> {
    let budget = budgets.check(owner)?;
    Ok((budget.spent.get(dimension), budget.reserved.get(dimension)))
}

fn types(log: &Log, event_type: &str) -> Outcome<usize> {
    let read = Read::new(Query::of_type(event_type)).without_payloads();
    Ok(log.read(read)?.count())
}

/// 64 threads reserve, settle over and under what they reserved, and release; what is spent and
/// reserved together never passes the limit by a reservation.
#[test]
fn many_spenders_together_do_not_pass_a_limit() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let budgets = opened(&log, "team", tokens(1_000))?;
    budgets.open_blocking(&Open::new("bot").parent("team").limits(tokens(1_000_000)))?;
    let (granted, barrier) = (AtomicU64::new(0), Barrier::new(64));
    std::thread::scope(|scope| {
        for at in 0..64_u64 {
            let (log, granted, barrier) = (log.clone(), &granted, &barrier);
            scope.spawn(move || {
                let budgets = Budgets::new(&log);
                let owner = if at % 2 == 0 { "team" } else { "bot" };
                barrier.wait();
                for _ in 0..4 {
                    let asked =
                        budgets.reserve_blocking(owner, &Amounts::new().tokens(10), Hold::Opening);
                    match asked {
                        Ok(held) if at % 3 == 0 => {
                            budgets.release_blocking(held.fence, None).unwrap();
                        }
                        Ok(held) => {
                            budgets
                                .settle_blocking(held.fence, &Amounts::new().tokens(10))
                                .unwrap();
                            granted.fetch_add(10, Ordering::Relaxed);
                        }
                        Err(error) => assert_eq!(error.code(), "budget_exceeded"),
                    }
                    let (spent, reserved) = sums(&budgets, "team", &Dimension::Tokens).unwrap();
                    assert!(spent + reserved <= 1_000, "{spent} and {reserved}");
                }
            });
        }
    });
    let spent = granted.load(Ordering::Relaxed);
    assert_eq!(sums(&budgets, "team", &Dimension::Tokens)?, (spent, 0));
    assert!(spent > 500, "{spent}");
    assert_sound(&log)
}

/// It happened: a settlement over the limit is recorded, and nothing is reserved after it.
#[test]
fn a_settlement_over_the_limit_counts_and_stops_the_next() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "bot", tokens(100))?;
    let small = Amounts::new().tokens(1);
    let held = budgets.reserve_blocking("bot", &Amounts::new().tokens(100), LEASE)?;
    let refused = budgets.reserve_blocking("bot", &small, LEASE).unwrap_err();
    let over = refused.exceeded().ok_or("it is exceeded")?;
    assert_eq!(
        (over.spent, over.reserved, over.requested, over.limit),
        (0, 100, 1, 100)
    );
    assert_eq!(
        refused.to_string(),
        "Task bot exceeded tokens budget: 0 spent, 100 reserved, 1 requested, max 100"
    );
    let settled = budgets.settle_blocking(held.fence, &Amounts::new().tokens(140))?;
    let over = settled.exceeded.ok_or("it is exceeded")?;
    assert_eq!(
        (over.spent, over.limit, over.name.as_deref()),
        (140, 100, Some("bot"))
    );
    assert_eq!(
        code(budgets.reserve_blocking("bot", &small, LEASE)),
        "budget_exceeded"
    );
    // Nothing else either: a budget that is spent stops whoever spends from it.
    let step = budgets.spend_blocking("bot", &Amounts::new().steps(1));
    assert_eq!(code(step), "budget_exceeded");
    // After the fact everything is recorded.
    let charged = budgets.charge_blocking("bot", &small)?;
    assert!(charged.exceeded.is_some());
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (141, 0));
    assert_sound(&log)
}

/// With a limit of 50 the 51st step exceeds it, and it is the one that is stopped.
#[test]
fn limits_are_exceeded_strictly() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = Budgets::new(&log);
    budgets.open_blocking(&Open::new("task-1"))?;
    let one = Amounts::new().steps(1);
    for _ in 0..50 {
        budgets.spend_blocking("task-1", &one)?;
    }
    assert!(budgets.check("task-1")?.exceeded.is_none());
    let stopped = budgets.spend_blocking("task-1", &one).unwrap_err();
    let expected = "Task task-1 exceeded step budget: 51 steps taken, max 50";
    assert_eq!(stopped.to_string(), expected);
    assert_eq!(sums(&budgets, "task-1", &Dimension::Steps)?, (50, 0));
    let charged = budgets.charge_blocking("task-1", &one)?;
    assert_eq!(
        charged.exceeded.ok_or("it is exceeded")?.to_string(),
        expected
    );
    // Depth is compared, and taken from nobody.
    budgets.open_blocking(&Open::new("task-2"))?;
    budgets.spend_blocking("task-2", &Amounts::new().depth(10))?;
    let deep = budgets.spend_blocking("task-2", &Amounts::new().depth(11));
    assert_eq!(
        deep.unwrap_err().to_string(),
        "Task task-2 exceeded depth budget: proposed depth 11, max 10"
    );
    budgets.spend_blocking("task-2", &Amounts::new().depth(10))?;
    assert_sound(&log)
}

/// Elapsed time goes by recorded times: every command on the owner sees it.
#[test]
fn duration_is_measured_from_the_opening() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let budgets = Budgets::new(&log);
    budgets.open_blocking(&Open::new("task-1"))?;
    let one = Amounts::new().steps(1);
    clock.advance(1_800 * SECOND);
    let held = budgets.reserve_blocking("task-1", &one, LEASE)?;
    clock.advance(1);
    let late = "Task task-1 exceeded duration budget: 1800s elapsed, max 1800s";
    let refused = budgets.reserve_blocking("task-1", &one, LEASE).unwrap_err();
    assert_eq!(refused.to_string(), late);
    let settled = budgets.settle_blocking(held.fence, &one)?;
    assert_eq!(settled.exceeded.ok_or("it is late")?.to_string(), late);
    assert!(budgets.charge_blocking("task-1", &one)?.exceeded.is_some());
    assert!(budgets.check("task-1")?.exceeded.is_some());
    assert_sound(&log)
}

/// Days, ISO weeks and months end at the instants of UTC, also where a week crosses a year.
#[test]
fn windows_roll_over_at_the_instants_of_utc() -> Outcome {
    // 2026-12-31T23:59:59Z is a Thursday of 2026-W53; the week ends with Sunday 2027-01-03.
    let new_year_us = 1_798_761_600 * SECOND;
    for (window, rolls_us, name) in [
        (Window::Day, new_year_us, "2026-12-31"),
        (Window::Month, new_year_us, "2026-12"),
        (Window::Week, new_year_us + 3 * 86_400 * SECOND, "2026-W53"),
    ] {
        let (log, clock) = memory(new_year_us - 2 * SECOND)?;
        let limits = BudgetLimits::new().within(window, Dimension::Tokens, 10);
        let budgets = opened(&log, "bot", limits)?;
        let ten = Amounts::new().tokens(10);
        budgets.spend_blocking("bot", &ten)?;
        clock.advance(rolls_us - (new_year_us - 2 * SECOND) - 1);
        let refused = budgets.spend_blocking("bot", &ten).unwrap_err();
        let over = refused.exceeded().ok_or("it is exceeded")?;
        assert_eq!(over.window_name.as_deref(), Some(name));
        assert!(
            refused
                .to_string()
                .ends_with(&format!("max 10 ({window} {name})"))
        );
        clock.advance(1);
        budgets.spend_blocking("bot", &ten)?;
        assert_eq!(
            sums(&budgets, "bot", &Dimension::Tokens)?.0,
            20,
            "all time goes on"
        );
        assert_sound(&log)?;
    }
    Ok(())
}

/// What is reserved counts in the window in which it was made, what it cost in that of its end.
#[test]
fn a_reservation_counts_in_its_own_window() -> Outcome {
    let midnight_us = 1_798_761_600 * SECOND;
    let (log, clock) = memory(midnight_us - SECOND)?;
    let limits = BudgetLimits::new().within(Window::Day, Dimension::Tokens, 10);
    let budgets = opened(&log, "bot", limits)?;
    let ten = Amounts::new().tokens(10);
    let held = budgets.reserve_blocking("bot", &ten, LEASE)?;
    assert_eq!(
        code(budgets.reserve_blocking("bot", &ten, LEASE)),
        "budget_exceeded"
    );
    clock.advance(SECOND);
    let today = budgets.reserve_blocking("bot", &Amounts::new().tokens(6), LEASE)?;
    // Yesterday's costs four today: with the six of today that is all.
    budgets.settle_blocking(held.fence, &Amounts::new().tokens(4))?;
    let one = Amounts::new().tokens(1);
    assert_eq!(
        code(budgets.reserve_blocking("bot", &one, LEASE)),
        "budget_exceeded"
    );
    budgets.release_blocking(today.fence, None)?;
    budgets.reserve_blocking("bot", &Amounts::new().tokens(6), LEASE)?;
    assert_eq!(
        code(budgets.reserve_blocking("bot", &one, LEASE)),
        "budget_exceeded"
    );
    assert_sound(&log)
}

/// The settings limit every owner in a window; the lower limit counts, and settings that come later
/// count at once.
#[test]
fn windows_of_the_settings_hold_for_every_owner() -> Outcome {
    let (log, _) = memory(START_US)?;
    let limits = BudgetLimits::new().within(Window::Day, Dimension::Tokens, 50);
    let budgets = opened(&log, "bot", limits)?;
    budgets.spend_blocking("bot", &Amounts::new().tokens(20))?;
    Settings::from_toml("[budgets.windows.day]\ntokens = 25\nsteps = 1\n")?.record(&log)?;
    let refused = budgets
        .spend_blocking("bot", &Amounts::new().tokens(6))
        .unwrap_err();
    assert_eq!(refused.exceeded().map(|over| over.limit), Some(25));
    budgets.spend_blocking("bot", &Amounts::new().steps(1).tokens(5))?;
    let step = budgets
        .spend_blocking("bot", &Amounts::new().steps(1))
        .unwrap_err();
    assert_eq!(
        step.to_string(),
        "Task bot exceeded step budget: 2 steps taken, max 1 (day 2025-06-15)"
    );
    assert_sound(&log)
}

/// What one spends counts for each owner above it, and each of them is asked.
#[test]
fn owners_nest() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "agent", tokens(100))?;
    for (name, parent) in [("task", "agent"), ("run-1", "task"), ("run-2", "task")] {
        budgets.open_blocking(&Open::new(name).parent(parent).limits(tokens(80)))?;
    }
    let held = budgets.reserve_blocking("run-1", &Amounts::new().tokens(60), LEASE)?;
    let refused = budgets.reserve_blocking("run-2", &Amounts::new().tokens(30), LEASE);
    let refused = refused.unwrap_err();
    let over = refused.exceeded().ok_or("it is exceeded")?;
    assert_eq!((over.name.as_deref(), over.reserved), (Some("task"), 60));
    budgets.settle_blocking(held.fence, &Amounts::new().tokens(50))?;
    budgets.charge_blocking("run-2", &Amounts::new().tokens(30))?;
    for (owner, spent) in [("run-1", 50), ("run-2", 30), ("task", 80), ("agent", 80)] {
        assert_eq!(
            sums(&budgets, owner, &Dimension::Tokens)?,
            (spent, 0),
            "{owner}"
        );
    }
    // An owner has one parent for ever, which was there before: no cycle can come about.
    let moved = budgets.open_blocking(&Open::new("agent").parent("run-1"));
    assert_eq!(code(moved), "budget_parent");
    let unknown = budgets.open_blocking(&Open::new("x").parent("nobody"));
    assert_eq!(code(unknown), "budget_not_found");
    assert_eq!(
        code(budgets.charge_blocking("nobody", &Amounts::new().steps(1))),
        "budget_not_found"
    );
    assert_eq!(code(budgets.check("nobody")), "budget_not_found");
    let mut above = "run-1".to_owned();
    for level in 3..=MAX_NESTING {
        let name = format!("level-{level}");
        let open = Open::new(name.as_str()).parent(above.as_str());
        budgets.open_blocking(&open.limits(tokens(80)))?;
        above = name;
    }
    let deeper = budgets.open_blocking(&Open::new("deeper").parent(above.as_str()));
    assert_eq!(code(deeper), "budget_too_deep");
    budgets.charge_blocking(above.as_str(), &Amounts::new().tokens(1))?;
    assert_eq!(sums(&budgets, "agent", &Dimension::Tokens)?, (81, 0));
    assert_sound(&log)
}

#[test]
fn what_ended_has_ended() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "bot", tokens(100))?;
    let ten = Amounts::new().tokens(10);
    let held = budgets.reserve_blocking("bot", &ten, LEASE)?;
    let settled = budgets.settle_blocking(held.fence, &ten)?;
    let size = log.size();
    assert_eq!(
        budgets.settle_blocking(held.fence, &ten)?.position,
        settled.position
    );
    let other = budgets.settle_blocking(held.fence, &Amounts::new().tokens(11));
    assert_eq!(code(other), "reservation_ended");
    assert_eq!(
        code(budgets.release_blocking(held.fence, None)),
        "reservation_ended"
    );
    let released = budgets.reserve_blocking("bot", &ten, LEASE)?;
    let at = budgets.release_blocking(released.fence, Some("not needed".to_owned()))?;
    assert_eq!(budgets.release_blocking(released.fence, None)?, at);
    assert_eq!(
        code(budgets.settle_blocking(released.fence, &ten)),
        "reservation_ended"
    );
    let nowhere = Position::new(7_777);
    assert_eq!(
        code(budgets.settle_blocking(nowhere, &ten)),
        "reservation_not_found"
    );
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (10, 0));
    assert_eq!(log.size(), size + 2);
    assert_sound(&log)
}

/// One whose lease is over is a view until a command records it, gives its room back, and is
/// charged in full if it is settled after that.
#[test]
fn a_lease_that_passes_gives_back_and_can_be_settled() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let budgets = opened(&log, "bot", tokens(100))?;
    let all = Amounts::new().tokens(100);
    let first = budgets.reserve_blocking("bot", &all, LEASE)?;
    site.clock.advance(60 * SECOND - 1);
    assert_eq!(
        code(budgets.reserve_blocking("bot", &all, LEASE)),
        "budget_exceeded"
    );
    let open = || -> Outcome<[u64; 2]> {
        let listed = list(&log)?.first().map(|one| one.open_reservations);
        let checked = budgets.check("bot")?.open_reservations;
        Ok([listed.ok_or("it is listed")?, checked])
    };
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (0, 100));
    assert_eq!(open()?, [1, 1]);
    site.clock.advance(1);
    let id = budgets.id_of(&Owner::new("bot"))?;
    assert_eq!(reservations(&log, &id)?[0].state, "expired");
    // Whoever looks sees that it holds nothing back any more.
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (0, 0));
    assert_eq!(open()?, [0, 0]);
    assert_eq!(types(&log, "budget.released")?, 0, "nobody has recorded it");
    let second = budgets.reserve_blocking("bot", &all, LEASE)?;
    assert_eq!(types(&log, "budget.released")?, 1);
    // It ended there, so that there is nothing to release any more.
    let size = log.size();
    let ended = budgets.release_blocking(first.fence, None)?;
    let record = log.record(ended)?;
    assert_eq!(record.header.event_type, "budget.released");
    assert_eq!(budgets.release_blocking(first.fence, None)?, ended);
    assert_eq!(log.size(), size);
    let late = budgets.settle_blocking(first.fence, &Amounts::new().tokens(30))?;
    assert_eq!(late.exceeded, None);
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (30, 100));
    // Opened again, a lease has its full length; one of an opening is over.
    budgets.release_blocking(second.fence, None)?;
    budgets.reserve_blocking("bot", &Amounts::new().tokens(20), LEASE)?;
    budgets.reserve_blocking("bot", &Amounts::new().tokens(50), Hold::Opening)?;
    site.clock.advance(59 * SECOND);
    drop(budgets);
    let log = site.reopen(log)?;
    let budgets = Budgets::new(&log);
    let states: Vec<_> = reservations(&log, &id)?
        .iter()
        .map(|one| one.state)
        .collect();
    assert_eq!(states, ["open", "expired"]);
    site.clock.advance(59 * SECOND);
    assert_eq!(budgets.sweep_blocking()?, 1);
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (30, 20));
    site.clock.advance(SECOND);
    assert_eq!(
        (budgets.sweep_blocking()?, budgets.sweep_blocking()?),
        (1, 0)
    );
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (30, 0));
    assert_sound(&log)
}

/// Who was refused because of a lapse that somebody else records meanwhile is not told that there is
/// no room.
#[test]
fn a_lapse_that_somebody_else_records_gives_room_too() -> Outcome {
    let mut granted = 0;
    for polls in 0..12 {
        let site = Clocked::beginning(START_US)?;
        let mut open = site.opening();
        open.options.background = false;
        let path = site.path();
        let log = Log::create(&path, &CreateOptions::default(), open)?;
        let budgets = opened(&log, "company", tokens(10))?;
        for name in ["bot", "other"] {
            budgets.open_blocking(&Open::new(name).limits(tokens(10)).parent("company"))?;
        }
        budgets.reserve_blocking("other", &Amounts::new().tokens(10), LEASE)?;
        site.clock.advance(60 * SECOND);
        let amounts = Amounts::new().tokens(10);
        let mut asking = pin!(budgets.reserve("bot", &amounts, LEASE));
        let mut context = Context::from_waker(Waker::noop());
        let mut answer = None;
        for poll in 0..1_000 {
            if poll == polls {
                Budgets::new(&log).sweep_blocking()?;
            }
            if let Poll::Ready(told) = asking.as_mut().poll(&mut context) {
                answer = Some(told);
                break;
            }
        }
        answer.ok_or("it is answered")??;
        granted += 1;
    }
    assert_eq!(granted, 12);
    Ok(())
}

/// Whatever is done, what was spent stays spent; raising a limit needs a person.
#[test]
fn nothing_resets_a_count_and_people_raise_limits() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let budgets = opened(&log, "bot", steps(5))?;
    for _ in 0..5 {
        budgets.spend_blocking("bot", &Amounts::new().steps(1))?;
    }
    let open = |limits| Open::new("bot").limits(limits).reason("more to do");
    let size = log.size();
    assert!(!budgets.open_blocking(&open(steps(5)))?.is_recorded);
    assert!(!budgets.open_blocking(&Open::new("bot"))?.is_recorded);
    assert_eq!(log.size(), size);
    for raised in [steps(6), BudgetLimits::new(), tokens(1)] {
        assert_eq!(code(budgets.open_blocking(&open(raised))), "not_allowed");
    }
    let person = Budgets::new(&site.person(&log)?);
    person.open_blocking(&open(steps(6)))?;
    assert_eq!(types(&log, "budget.changed")?, 1);
    budgets.spend_blocking("bot", &Amounts::new().steps(1))?;
    let one = Amounts::new().steps(1);
    assert_eq!(code(budgets.spend_blocking("bot", &one)), "budget_exceeded");
    // Anybody may lower one.
    budgets.open_blocking(&open(steps(2)))?;
    assert_eq!(sums(&budgets, "bot", &Dimension::Steps)?, (6, 0));
    drop((budgets, person));
    let log = site.reopen(log)?;
    let budgets = Budgets::new(&log);
    assert_eq!(sums(&budgets, "bot", &Dimension::Steps)?, (6, 0));
    assert_eq!(budgets.check("bot")?.limits, steps(2));
    assert_sound(&log)
}

/// A warning comes once a limit and window, before the limit is reached.
#[test]
fn warnings_come_once() -> Outcome {
    let midnight_us = 1_798_761_600 * SECOND;
    let (log, clock) = memory(midnight_us - SECOND)?;
    let limits = BudgetLimits::new().within(Window::Day, Dimension::Tokens, 10);
    let budgets = opened(&log, "bot", limits)?;
    let one = Amounts::new().tokens(1);
    for spent in 1..=10 {
        budgets.spend_blocking("bot", &one)?;
        assert_eq!(
            types(&log, "budget.warned")?,
            usize::from(spent >= 8),
            "{spent}"
        );
    }
    clock.advance(SECOND);
    budgets.spend_blocking("bot", &Amounts::new().tokens(9))?;
    assert_eq!(types(&log, "budget.warned")?, 2);
    // A refusal is recorded once a second.
    for _ in 0..3 {
        assert_eq!(
            code(budgets.spend_blocking("bot", &Amounts::new().tokens(2))),
            "budget_exceeded"
        );
    }
    assert_eq!(types(&log, "budget.exceeded")?, 1);
    clock.advance(SECOND);
    assert_eq!(
        code(budgets.spend_blocking("bot", &Amounts::new().tokens(2))),
        "budget_exceeded"
    );
    assert_eq!(types(&log, "budget.exceeded")?, 2);
    assert_sound(&log)
}

#[test]
fn presets_open_an_owner_by_name() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = Budgets::new(&log);
    budgets.open_blocking(&Open::new("a"))?;
    budgets.open_blocking(&Open::new("b").preset("zu"))?;
    budgets.open_blocking(&Open::new("b/1").preset("zu").step().parent("b"))?;
    let limit = |owner: &str, dimension| -> Outcome<_> {
        Ok(budgets.check(owner)?.limits.get(Window::All, &dimension))
    };
    assert_eq!(limit("a", Dimension::Steps)?, Some(50));
    assert_eq!(limit("a", Dimension::DurationS)?, Some(1800));
    assert_eq!(limit("b", Dimension::Tokens)?, Some(200_000));
    assert_eq!(limit("b/1", Dimension::ToolCalls)?, Some(32));
    assert_eq!(
        code(budgets.open_blocking(&Open::new("c").preset("none"))),
        "preset_not_found"
    );
    Settings::from_toml("[budgets]\ndefault_preset = \"zu\"\n")?.record(&log)?;
    budgets.open_blocking(&Open::new("d"))?;
    assert_eq!(limit("d", Dimension::Steps)?, Some(20));
    Ok(())
}

/// What is hostile is bounded, and says which limit it met.
#[test]
fn limits_have_errors_that_name_them() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "bot", tokens(100))?;
    let counter = |at: usize| Dimension::Counter(format!("c{at}"));
    let many = |count: usize| -> Amounts { (0..count).map(|at| (counter(at), 1)).collect() };
    assert_eq!(
        code(budgets.charge_blocking("bot", &many(9))),
        "budget_too_many"
    );
    for at in 0..16 {
        budgets.charge_blocking("bot", &Amounts::new().of(counter(at), 1))?;
    }
    let more = Amounts::new().of(counter(16), 1);
    assert_eq!(
        code(budgets.charge_blocking("bot", &more)),
        "budget_too_many"
    );
    budgets.charge_blocking("bot", &Amounts::new().steps(1).gco2_mg(1).usd_micros(1))?;
    let bad = Amounts::new().of(Dimension::Counter("Bad".to_owned()), 1);
    assert_eq!(
        code(budgets.charge_blocking("bot", &bad)),
        "budget_dimension"
    );
    let timed = Amounts::new().of(Dimension::DurationS, 1);
    assert_eq!(
        code(budgets.charge_blocking("bot", &timed)),
        "budget_dimension"
    );
    let much = Amounts::new().tokens(1 << 53);
    assert_eq!(
        code(budgets.charge_blocking("bot", &much)),
        "amount_too_large"
    );
    assert_eq!(
        code(budgets.charge_blocking("bot", &Amounts::new())),
        "amount_missing"
    );
    for name in [String::new(), "a\nb".to_owned(), "x".repeat(256)] {
        assert_eq!(code(budgets.open_blocking(&Open::new(name))), "owner_name");
    }
    let limits = (0..17).fold(BudgetLimits::new(), |all, at| all.of(counter(at), 1));
    assert_eq!(
        code(budgets.open_blocking(&Open::new("x").limits(limits))),
        "budget_too_many"
    );
    let most = Amounts::new().tokens((1 << 53) - 1);
    for _ in 0..4_096 {
        budgets.charge_blocking("bot", &most)?;
    }
    assert_eq!(
        sums(&budgets, "bot", &Dimension::Tokens)?.0,
        u64::MAX,
        "it stops there"
    );
    assert_sound(&log)
}

/// What was recorded elsewhere spends nothing here.
#[test]
fn imported_events_charge_nothing() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "bot", tokens(100))?;
    let id = budgets.id_of(&Owner::new("bot"))?;
    let charged = NewEvent::typed(&BudgetCharged::default(), "elsewhere")?;
    let control = runstone_codec::Control::new()
        .bytes(control::budget::OWNER, id.digest)
        .text(control::budget::SCOPE, id.scope.as_str())
        .bytes(control::budget::AMOUNTS, [0, 5, 0, 0, 0, 0, 0, 0, 0, 9]);
    let draft = Draft::new(charged.tag("imported:messages")).control(control.clone());
    log.import_blocking(vec![vec![draft]]).remove(0)?;
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (0, 0));
    // Nor does anybody record one without a command.
    let raw = NewEvent::typed(&BudgetCharged::default(), "elsewhere")?;
    assert_eq!(
        log.append_blocking(raw).unwrap_err().code(),
        "owned_namespace"
    );
    assert_sound(&log)
}

/// Names are content: nothing in header and control has them, and an erasure takes them.
#[test]
fn names_of_owners_are_content() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let owner = || Owner::new("ann's bot").scope("ann");
    let budgets = opened(&log, "company", tokens(100))?;
    let open = Open::new(owner()).parent("company").limits(tokens(50));
    budgets.open_blocking(&open)?;
    budgets.spend_blocking(owner(), &Amounts::new().tokens(30))?;
    for record in log.read(Read::new(Query::everything()))? {
        let record = record?;
        let text = format!("{:?} {:?}", record.header, record.control);
        assert!(!text.contains("ann's"), "{text}");
    }
    let id = budgets.id_of(&owner())?;
    assert_eq!(budgets.name_of(&id)?.as_deref(), Some("ann's bot"));
    log.erase(
        &runstone_store::Erase::new("ann", "gdpr-17-1-b"),
        &|_, _| {},
    )?;
    assert_eq!(code(budgets.check(owner())), "budget_not_found");
    assert_eq!(budgets.name_of(&id)?, None);
    assert_eq!(sums(&budgets, "company", &Dimension::Tokens)?, (30, 0));
    assert_eq!(list(&log)?.len(), 2);
    assert_sound(&log)
}
