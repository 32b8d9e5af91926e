//! Faults of replay, fork, rewind, diff, rollback and resume in two packages that came before this one:
//! one test each, showing that Runstone does not have it.

use runstone::budgets::{Amounts, BudgetLimits, Dimension, Open};
use runstone::codec::Position;
use runstone::effects::{Claim, Effects};
use runstone::events::LlmCallCompleted;
use runstone::replay::{
    Fork, Matched, RollBack, compare, fork_blocking, moves, roll_back_blocking, state,
};
use runstone::runs::{self, Begin, begin_blocking};
use runstone::{NewEvent, Run, Runstone, Status, VerifyLevel};
use runstone_tests::clocked::memory;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::Cell;

fn newest(log: &Runstone) -> Position {
    Position::new(log.size() - 1)
}

async fn step(run: &Run, node: &str, output: Value) -> Outcome<Value> {
    let step = run
        .step(node)
        .run(|| async { Ok::<_, std::io::Error>(output) });
    Ok(step.await?)
}

/// meshflow: runs are compared by node, so that loops and retries collapse to the last visit.
#[tokio::test]
async fn meshflow_diff_tells_attempts_apart() -> Outcome {
    let log = Runstone::memory()?;
    for (id, failures) in [("a", 1), ("b", 2)] {
        let run = log.run("bot").start(id).await?;
        for _ in 0..failures {
            let failed = run
                .step("gen")
                .run(|| async { Err::<u32, _>(std::io::Error::other("no")) });
            assert!(failed.await.is_err());
        }
        step(&run, "gen", json!("text")).await?;
        step(&run, "crit", json!(failures)).await?;
        run.finish(Status::Success).await?;
    }
    let compared = compare(&log, "a", "b")?;
    let pairs = compared.pairs.iter();
    let told: Vec<_> = pairs
        .map(|pair| (pair.node.as_str(), pair.attempt, pair.matched))
        .collect();
    let expected = [
        ("gen", 1, Matched::Same),
        ("gen", 2, Matched::Changed),
        ("gen", 3, Matched::Second),
        ("crit", 1, Matched::Changed),
    ];
    assert_eq!((told.as_slice(), compared.first), (&expected[..], Some(1)));
    Ok(())
}

/// meshflow: the steps that replay lists show no outputs, because they are read under another name.
#[tokio::test]
async fn meshflow_replay_shows_what_went_in_and_out() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    step(&run, "plan", json!({"look": 1})).await?;
    let call = run
        .effect("pay")
        .request_id("inv-1")
        .args(&json!({"usd": 12}));
    call.call(|| async { Ok::<_, std::io::Error>("paid".to_owned()) })
        .await?;
    let told = moves(&log, "run", None)?;
    assert_eq!(told[0].said["output"]["content"], json!({"look": 1}));
    assert_eq!(
        told[1].said,
        json!({"input": {"usd": 12}, "output": "paid"})
    );
    Ok(())
}

/// meshflow: a fork copies its steps, with their old hashes, so that its chain is invalid.
#[tokio::test]
async fn meshflow_a_fork_verifies() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::create(folder.path().join("log"))?;
    let run = log.run("bot").start("run").await?;
    for n in 0..5 {
        step(&run, &format!("n{n}"), json!(n)).await?;
    }
    let (at, size) = (newest(&log), log.size());
    drop(log.run("bot").fork_of("run", at).start("fork").await?);
    assert_eq!(log.size() - size, 3, "it began, was held and let go of");
    let verified = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(verified.valid, "{verified:?}");
    Ok(())
}

/// meshflow: what a fork takes over is told by the wall clock.
#[test]
fn meshflow_a_fork_goes_by_positions() -> Outcome {
    // This clock stands still.
    let (log, _) = memory(1_000_000)?;
    let held = begin_blocking(&log, &Begin::new("run", "bot"))?.into_held();
    let mut positions = Vec::new();
    for n in 0..4 {
        let patch = json!({ "n": n });
        let patched = runstone::events::SessionPatched { patch };
        let draft = NewEvent::typed(&patched, "run")?.into();
        positions.extend(runs::record_blocking(&log, &held, vec![draft])?);
    }
    for (n, at) in positions.iter().enumerate() {
        let stream = format!("fork-{n}");
        fork_blocking(&log, &Fork::new(stream.as_str(), "run", *at))?;
        let session = runstone::sessions::state(&log, &stream)?;
        assert_eq!(session.document.to_value(), json!({ "n": n }));
    }
    Ok(())
}

/// meshflow: after a rewind the outputs before it are empty, and so is the task.
#[tokio::test]
async fn meshflow_rewind_keeps_outputs_and_input() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    run.session().patch(&json!({"task": "invoices"})).await?;
    step(&run, "plan", json!("pay")).await?;
    let at = newest(&log);
    step(&run, "act", json!("paid")).await?;
    run.roll_back(at).await?;
    assert_eq!(step(&run, "plan", json!("other")).await?, json!("pay"));
    assert_eq!(run.session().document().await?, json!({"task": "invoices"}));
    let fork = log.run("bot").fork_of("run", at).start("fork").await?;
    assert_eq!(step(&fork, "plan", json!("other")).await?, json!("pay"));
    assert_eq!(
        fork.session().document().await?,
        json!({"task": "invoices"})
    );
    Ok(())
}

/// meshflow: steps that are replayed count their tokens again.
#[tokio::test]
async fn meshflow_replayed_steps_cost_nothing() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    let call = LlmCallCompleted::new("c1").input_tokens(50);
    run.llm_call(call).await?;
    step(&run, "plan", json!(1)).await?;
    let fork = log
        .run("bot")
        .fork_of("run", newest(&log))
        .start("fork")
        .await?;
    step(&fork, "plan", json!(1)).await?;
    let tokens = |stream: &str| -> Outcome<u64> {
        Ok(runs::get(&log, stream)?.ok_or("it is a run")?.tokens())
    };
    assert_eq!((tokens("run")?, tokens("fork")?), (50, 0));
    Ok(())
}

/// zu: a rollback forgets the claims of what it drops, although those calls were made.
#[tokio::test]
async fn zu_a_rollback_forgets_no_claim() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    let to = run.session().patch(&json!({"n": 1})).await?;
    let made = Cell::new(0);
    for _ in 0..2 {
        let call = run.effect("pay").request_id("tail-only");
        let paid = call.call(|| async {
            made.set(made.get() + 1);
            Ok::<_, std::io::Error>(made.get())
        });
        assert_eq!(paid.await?, 1);
        run.roll_back(to).await?;
    }
    // Nor does anybody else get it.
    let claim = Claim::tool("other", "pay").request("tail-only");
    let claimed = Effects::new(&log).claim_blocking(&claim)?;
    assert!(matches!(claimed, runstone::effects::Claimed::Completed(_)));
    assert_eq!(made.get(), 1);
    Ok(())
}

/// zu: caps and token budgets begin anew after a rollback.
#[tokio::test]
async fn zu_a_rollback_gives_nothing_back() -> Outcome {
    let log = Runstone::memory()?;
    let limits = BudgetLimits::new()
        .of(Dimension::Steps, 2)
        .of(Dimension::Tokens, 50_000);
    log.budgets()
        .open_blocking(&Open::new("bot").limits(limits))?;
    let run = log.run("bot").budget("bot").start("run").await?;
    let to = run.session().patch(&json!({"n": 1})).await?;
    step(&run, "one", json!(1)).await?;
    step(&run, "two", json!(2)).await?;
    let call = LlmCallCompleted::new("c1").input_tokens(50_000);
    run.llm_call(call).await?;
    run.roll_back(to).await?;
    let refused = step(&run, "one", json!(1)).await.unwrap_err().to_string();
    assert!(refused.contains("exceeded step budget"), "{refused}");
    let more =
        log.budgets()
            .reserve_blocking("bot", &Amounts::new().tokens(1), runstone::Hold::Opening);
    assert_eq!(more.unwrap_err().code(), "budget_exceeded");
    Ok(())
}

/// zu: who resumes later folds again what was rolled back.
#[tokio::test]
async fn zu_what_was_rolled_back_stays_so_for_who_resumes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    for life in 0..3 {
        let log = Runstone::options().open_or_create(&path)?;
        let run = log.run("bot").resume_or_start("run").await?;
        if life == 0 {
            let to = run.session().patch(&json!({"n": 1})).await?;
            run.session().patch(&json!({"n": 2, "tail": true})).await?;
            step(&run, "tail", json!(1)).await?;
            run.roll_back(to).await?;
        }
        assert_eq!(run.session().document().await?, json!({"n": 1}));
        let told = state(&log, "run", newest(&log))?.ok_or("it is a run")?;
        assert!(told.steps.is_empty());
        drop(run);
        log.close_blocking()?;
    }
    Ok(())
}

/// zu: a phase whose value is null is done again by who resumes.
#[tokio::test]
async fn zu_a_step_that_gave_null_is_done() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    step(&run, "null", Value::Null).await?;
    let at = newest(&log);
    drop(run);
    let run = log.run("bot").resume("run").await?;
    let fork = log.run("bot").fork_of("run", at).start("fork").await?;
    for run in [&run, &fork] {
        assert_eq!(step(run, "null", json!("again")).await?, Value::Null);
    }
    Ok(())
}

/// zu: whoever rolls back needs no right to it, and two who do both go on.
#[test]
fn zu_a_rollback_takes_who_holds_the_run() -> Outcome {
    let log = Runstone::memory()?;
    let begin = Begin::new("run", "bot");
    let late = begin_blocking(&log, &begin)?.into_held();
    let back = RollBack::new("run", late.fence);
    let ended = runstone::events::SessionEnded::default();
    let draft =
        runstone::codec::Draft::new(NewEvent::typed(&ended, "run")?).control(ended.control());
    runs::record_blocking(&log, &late, vec![draft])?;
    begin_blocking(&log, &begin)?;
    let refused = roll_back_blocking(&log, &back.clone().fence(late.fence));
    assert_eq!(refused.unwrap_err().code(), "stale_run");
    assert_eq!(
        roll_back_blocking(&log, &back).unwrap_err().code(),
        "not_allowed"
    );
    Ok(())
}
