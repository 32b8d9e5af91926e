//! What calls of tools, steps and calls of models spend.

use super::{LEASE, SECOND, code, opened, steps, sums, tokens, types};
use runstone::{Run, Runstone, StepError};
use runstone_codec::{Draft, NewEvent, Position};
use runstone_projections::budgets::{
    Amounts, BudgetError, BudgetLimits, Budgets, Dimension, Open, Window, state_at,
};
use runstone_projections::effects::{
    Change, Claim, Claimed, Class, Effects, Executed, Found, Held,
};
use runstone_projections::events::{ErrorSaid, LlmCallCompleted};
use runstone_projections::runs::{Begin, RunHeld, begin_blocking, record_blocking};
use runstone_store::{Log, Sealing};
use runstone_tests::clocked::{Clocked, START_US, assert_sound, memory};
use runstone_tests::tamper::Outcome;

fn held(claimed: Claimed) -> Outcome<Held> {
    match claimed {
        Claimed::Held(held) => Ok(held),
        Claimed::Completed(outcome) => Err(format!("{outcome:?}").into()),
    }
}

fn call(id: &str) -> Claim {
    let claim = Claim::tool("run-1", "pay").request(id).hold(LEASE);
    claim.budget("bot", Amounts::new().usd_micros(100))
}

fn failed(executed: Executed) -> Change {
    Change::Fail {
        error: ErrorSaid::default(),
        executed: Some(executed),
    }
}

/// A call is claimed and reserved in one decision, and its outcome settles it in one.
#[test]
fn calls_spend_what_their_outcome_says() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let (tool_calls, usd) = (Dimension::ToolCalls, Dimension::UsdMicros);
    let budgets = opened(&log, "bot", BudgetLimits::new().of(usd.clone(), 1_000))?;
    let effects = Effects::new(&log);
    let stands = || -> Outcome<[(u64, u64); 2]> {
        Ok([
            sums(&budgets, "bot", &tool_calls)?,
            sums(&budgets, "bot", &usd)?,
        ])
    };
    let claim = |id: &str| -> Outcome<Held> { held(effects.claim_blocking(&call(id))?) };
    let done = claim("a")?;
    assert_eq!(stands()?, [(0, 1), (0, 100)]);
    let cost = done.target().cost(Amounts::new().usd_micros(70));
    effects.change_blocking(&cost, &Change::completed(&1)?)?;
    assert_eq!(stands()?, [(1, 0), (70, 0)]);
    // Completing again is no second settlement, and a replay spends nothing.
    effects.change_blocking(&cost, &Change::completed(&1)?)?;
    effects.claim_blocking(&call("a"))?;
    assert_eq!(stands()?, [(1, 0), (70, 0)]);
    let cancel = |begun| Change::Cancel {
        reason: String::new(),
        begun,
    };
    for (id, change, after) in [
        ("b", failed(Executed::No), [(1, 0), (70, 0)]),
        ("c", failed(Executed::Yes), [(2, 0), (170, 0)]),
        ("d", cancel(false), [(2, 0), (170, 0)]),
        ("e", cancel(true), [(2, 1), (170, 100)]),
        ("f", failed(Executed::Unknown), [(2, 2), (170, 200)]),
    ] {
        effects.change_blocking(&claim(id)?.target(), &change)?;
        assert_eq!(stands()?, after, "{id}");
    }
    // What nobody knows stays reserved until somebody finds out, also after its lease.
    site.clock.advance(600 * SECOND);
    assert_eq!(budgets.sweep_blocking()?, 0);
    let target =
        |id: &str| -> Outcome<_> { Ok(effects.find(&call(id))?.ok_or("it is there")?.target()) };
    let found = |found| Change::Reconcile {
        found,
        evidence: None,
        by_program: true,
    };
    let made = target("e")?;
    let fence = effects.find(&call("e"))?.ok_or("it is there")?.fence;
    effects.change_blocking(&made.fence(fence), &found(Found::Completed(b"1".to_vec())))?;
    assert_eq!(stands()?, [(3, 1), (270, 100)]);
    let fence = effects.find(&call("f"))?.ok_or("it is there")?.fence;
    effects.change_blocking(&target("f")?.fence(fence), &found(Found::NotExecuted))?;
    assert_eq!(stands()?, [(3, 0), (270, 0)]);
    // One that is claimed again after its holder is gone counts for both attempts.
    let read = call("g").class(Class::Idempotent);
    held(effects.claim_blocking(&read)?)?;
    site.clock.advance(61 * SECOND);
    let again = held(effects.claim_blocking(&read)?)?;
    assert_eq!((again.attempt, stands()?), (2, [(4, 1), (370, 100)]));
    drop((effects, budgets));
    let log = site.reopen(log)?;
    let budgets = Budgets::new(&log);
    let effects = Effects::new(&log);
    effects.change_blocking(&again.target(), &Change::completed(&1)?)?;
    assert_eq!(sums(&budgets, "bot", &usd)?, (470, 0));
    assert_sound(&log)
}

/// Without room nothing is claimed, and what was refused is on record once a second.
#[test]
fn a_call_without_room_is_not_claimed() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let budgets = opened(
        &log,
        "bot",
        BudgetLimits::new().of(Dimension::UsdMicros, 150),
    )?;
    let effects = Effects::new(&log);
    let first = held(effects.claim_blocking(&call("a"))?)?;
    for _ in 0..2 {
        let refused = effects.claim_blocking(&call("b")).unwrap_err();
        assert_eq!(refused.code(), "budget_exceeded");
        assert!(!refused.is_retryable());
    }
    assert!(effects.find(&call("b"))?.is_none());
    assert_eq!(
        (
            types(&log, "effect.refused")?,
            types(&log, "budget.exceeded")?
        ),
        (1, 1)
    );
    let unknown = Claim::tool("run-1", "pay").request("c");
    let unknown = unknown.budget("nobody", Amounts::new());
    assert_eq!(
        effects.claim_blocking(&unknown).unwrap_err().code(),
        "budget_not_found"
    );
    assert_eq!(sums(&budgets, "bot", &Dimension::UsdMicros)?, (0, 100));
    effects.change_blocking(&first.target(), &failed(Executed::No))?;
    held(effects.claim_blocking(&call("b"))?)?;
    // Two owners, one of them without room: neither holds anything.
    budgets.open_blocking(&Open::new("rich").limits(tokens(1)))?;
    let both = Claim::tool("run-1", "pay").request("d");
    let both = both
        .budget("rich", Amounts::new().tokens(1))
        .budget("bot", Amounts::new().usd_micros(51));
    assert_eq!(
        effects.claim_blocking(&both).unwrap_err().code(),
        "budget_exceeded"
    );
    assert_eq!(sums(&budgets, "rich", &Dimension::Tokens)?, (0, 0));
    assert_sound(&log)
}

/// Two owners of one claim that nest: the one above counts both, and the second sees the first.
#[test]
fn what_one_decision_spends_twice_is_counted_twice() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "agent", tokens(10))?;
    for name in ["x", "y"] {
        budgets.open_blocking(&Open::new(name).parent("agent").limits(tokens(10)))?;
    }
    let effects = Effects::new(&log);
    let claim = |id: &str, each| {
        let claim = Claim::tool("run-1", "look").request(id);
        claim
            .budget("x", Amounts::new().tokens(each))
            .budget("y", Amounts::new().tokens(each))
    };
    assert_eq!(
        effects.claim_blocking(&claim("a", 6)).unwrap_err().code(),
        "budget_exceeded"
    );
    held(effects.claim_blocking(&claim("b", 5))?)?;
    assert_eq!(sums(&budgets, "agent", &Dimension::Tokens)?, (0, 10));
    assert_sound(&log)
}

async fn step(run: &Run, node: &str) -> Result<u32, StepError<std::io::Error>> {
    run.step(node).run(|| async { Ok(1_u32) }).await
}

/// The step that would overshoot is stopped: across restarts, and in the runs that a run spawns.
#[tokio::test]
async fn steps_of_a_run_end_with_its_budget() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = Runstone::from(site.create(Sealing::Required)?);
    log.budgets()
        .open(&Open::new("bot").limits(steps(4)))
        .await?;
    log.budgets()
        .open(&Open::new("child").parent("bot").limits(steps(10)))
        .await?;
    let run = log
        .run("bot")
        .budget("bot")
        .resume_or_start("run-1")
        .await?;
    step(&run, "one").await?;
    step(&run, "one").await?;
    step(&run, "two").await?;
    drop(run);
    let closed = log.log().clone();
    drop(log);
    let log = Runstone::from(site.reopen(closed)?);
    // It is known whose budget it spends.
    let run = log.run("bot").resume("run-1").await?;
    let helper = log
        .run("helper")
        .parent(&run)
        .budget("child")
        .start("run-2")
        .await?;
    step(&helper, "three").await?;
    let heir = log.run("heir").parent(&run).start("run-3").await?;
    step(&heir, "four").await?;
    for run in [&run, &helper, &heir] {
        let error = step(run, "five").await.unwrap_err();
        assert_eq!(error.code(), "budget_exceeded");
        let expected = "Task bot exceeded step budget: 5 steps taken, max 4";
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(types(&log, "step.started")?, 4);
    // Nobody leaves a budget by another name.
    drop(run);
    log.budgets()
        .open(&Open::new("free").limits(steps(99)))
        .await?;
    let other = log.run("bot").budget("free").resume("run-1").await;
    assert_eq!(other.unwrap_err().code(), "run_budget");
    let outside = log
        .run("x")
        .parent(&helper)
        .budget("free")
        .start("run-4")
        .await;
    assert_eq!(outside.unwrap_err().code(), "budget_parent");
    let nobody = log.run("x").budget("nobody").start("run-5").await;
    assert_eq!(nobody.unwrap_err().code(), "budget_not_found");
    let found = state_at(&log, "run-2", Position::new(log.size() - 1))?;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_sound(&log)
}

/// Tools of a run count for it; what a call of a model used is charged once, by its last report.
#[tokio::test]
async fn tools_and_models_of_a_run_spend_from_its_budget() -> Outcome {
    let log = Runstone::memory()?;
    let limits = BudgetLimits::new()
        .of(Dimension::ToolCalls, 2)
        .of(Dimension::UsdMicros, 100);
    log.budgets().open(&Open::new("bot").limits(limits)).await?;
    let run = log.run("bot").budget("bot").start("run-1").await?;
    let spent = |dimension: Dimension| sums(log.budgets(), "bot", &dimension);
    for (input, output, usd) in [(10, 0, 1), (10, 7, 5), (10, 5, 5), (10, 5, 5)] {
        let report = LlmCallCompleted::new("call-1")
            .input_tokens(input)
            .output_tokens(output)
            .usd_micros(usd);
        run.llm_call(report).await?;
        assert_eq!(spent(Dimension::Tokens)?, (input + output, 0));
        assert_eq!(spent(Dimension::UsdMicros)?, (usd, 0));
    }
    assert_eq!(
        types(&log, "budget.charged")?,
        3,
        "the last report changed nothing"
    );
    let priced = |id: &str| {
        let call = run.effect("pay").request_id(id).class(Class::Write);
        call.budget("bot", Amounts::new().usd_micros(50))
            .cost(|result| Amounts::new().usd_micros(result["usd"].as_u64().unwrap_or(0)))
    };
    let paid: serde_json::Value = priced("a")
        .call(|| async { Ok::<_, std::io::Error>(serde_json::json!({"usd": 20})) })
        .await?;
    assert_eq!(paid["usd"], 20);
    assert_eq!(spent(Dimension::UsdMicros)?, (25, 0));
    // The run's own budget is asked without being named.
    let looked: u32 = run
        .effect("look")
        .request_id("b")
        .call(|| async { Ok::<_, std::io::Error>(1) })
        .await?;
    assert_eq!((looked, spent(Dimension::ToolCalls)?), (1, (2, 0)));
    let third = run.effect("look").request_id("c");
    let third: Result<u32, _> = third.call(|| async { Ok::<_, std::io::Error>(1) }).await;
    assert_eq!(third.unwrap_err().code(), "budget_exceeded");
    // What was not called is given back.
    assert_eq!(spent(Dimension::ToolCalls)?, (2, 0));
    assert_sound(&log)
}

/// What a claim reserved ends with its call: by hand it would cost nothing.
#[test]
fn nobody_ends_the_reservation_of_a_call_by_hand() -> Outcome {
    let site = Clocked::beginning(START_US)?;
    let log = site.create(Sealing::Required)?;
    let usd = Dimension::UsdMicros;
    let budgets = opened(&log, "bot", BudgetLimits::new().of(usd.clone(), 1_000))?;
    let effects = Effects::new(&log);
    let claimed = held(effects.claim_blocking(&call("a"))?)?;
    let fence = Position::new(claimed.fence.get() + 1);
    let released = budgets.release_blocking(fence, None);
    assert_eq!(released.unwrap_err().code(), "reservation_of_call");
    let settled = budgets.settle_blocking(fence, &Amounts::new());
    assert_eq!(settled.unwrap_err().code(), "reservation_of_call");
    effects.change_blocking(&claimed.target(), &Change::completed(&1)?)?;
    assert_eq!(sums(&budgets, "bot", &usd)?, (100, 0));
    Ok(())
}

fn report(tokens: u64) -> LlmCallCompleted {
    LlmCallCompleted::new("call-1").input_tokens(tokens)
}

fn reports(held: &RunHeld, reports: &[LlmCallCompleted]) -> Outcome<Vec<Draft>> {
    let drafts = reports.iter().map(|report| {
        let event = NewEvent::typed(report, held.stream.as_str())?;
        let draft = Draft::new(event).control(report.control());
        Ok(draft.keyed(report.keyed()))
    });
    drafts.collect()
}

fn run_with_budget(log: &Log) -> Outcome<RunHeld> {
    let mut begin = Begin::new("run-1", "bot");
    begin.budget = Some("bot".into());
    Ok(begin_blocking(log, &begin)?.into_held())
}

/// A later report that says less gives back where the earlier one was charged: yesterday, and in the
/// week that both days are of.
#[test]
fn what_a_later_report_says_less_is_credited_to_the_day_that_was_charged() -> Outcome {
    // 2027-01-01 is a Friday, and another month.
    let midnight_us = 1_798_761_600 * SECOND;
    let site = Clocked::beginning(midnight_us - SECOND)?;
    let log = site.create(Sealing::Required)?;
    let limits = BudgetLimits::new()
        .within(Window::Day, Dimension::Tokens, 200)
        .within(Window::Week, Dimension::Tokens, 300);
    let budgets = opened(&log, "bot", limits)?;
    let held = run_with_budget(&log)?;
    record_blocking(&log, &held, reports(&held, &[report(150)])?)?;
    site.clock.advance(SECOND);
    budgets.spend_blocking("bot", &Amounts::new().tokens(60))?;
    record_blocking(&log, &held, reports(&held, &[report(100)])?)?;
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (160, 0));
    let asked = budgets.spend_blocking("bot", &Amounts::new().tokens(141));
    let Err(BudgetError::Exceeded(over)) = asked else {
        return Err("today has no more room than before".into());
    };
    assert_eq!((over.window, over.spent), (Window::Day, 60));
    // The week has: it was charged the call too.
    budgets.spend_blocking("bot", &Amounts::new().tokens(140))?;
    assert_eq!(
        code(budgets.spend_blocking("bot", &Amounts::new().tokens(1))),
        "budget_exceeded"
    );
    // What is said more again is of today.
    record_blocking(&log, &held, reports(&held, &[report(170)])?)?;
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (370, 0));
    assert_sound(&log)?;
    assert_sound(&site.reopen(log)?)
}

/// Reports of one call in one append are one call.
#[test]
fn reports_that_are_recorded_together_are_charged_once() -> Outcome {
    let (log, _) = memory(START_US)?;
    let budgets = opened(&log, "bot", tokens(1_000))?;
    let held = run_with_budget(&log)?;
    let all = [report(100), report(150), report(120)];
    record_blocking(&log, &held, reports(&held, &all)?)?;
    assert_eq!(sums(&budgets, "bot", &Dimension::Tokens)?, (120, 0));
    assert_sound(&log)
}
