//! Faults of durable execution in a workflow engine that came before this one, as far as calls,
//! runs, sessions and resuming are concerned: one test each, showing that Runstone does not have it.

use runstone::effects::{EffectFilter, list};
use runstone::runs;
use runstone::{EffectClass, EffectState, Log, RunError, Runstone, Status, sessions};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Barrier};

type Fault = std::io::Error;

fn status(log: &Log, id: &str) -> Outcome<String> {
    let run = runs::get(log, id)?.ok_or("there is no such run")?;
    Ok(run.status.as_str().to_owned())
}

/// A step that is cut short is done again, and with it a side effect that had been done.
#[test]
fn an_interrupted_step_is_done_again_and_its_calls_are_not() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let (steps, calls) = (Cell::new(0), Cell::new(0));
    for life in 0..2 {
        let log = Runstone::options().open_or_create(&path)?;
        let run = log.run("bot").resume_or_start_blocking("run-1")?;
        assert_eq!(run.is_resumed(), life == 1);
        let done = run.step("n1").run_blocking(|| {
            steps.set(steps.get() + 1);
            let paid = run.effect("pay").request_id("inv-1").call_blocking(|| {
                calls.set(calls.get() + 1);
                Ok::<_, Fault>(7)
            });
            // The process ends before the step is recorded.
            if life == 0 {
                log.close_blocking()
                    .map_err(|error| Fault::other(error.to_string()))?;
            }
            paid.map_err(|error| Fault::other(error.to_string()))
        });
        assert_eq!(done.ok(), (life == 1).then_some(7));
    }
    assert_eq!((steps.get(), calls.get()), (2, 1));
    Ok(())
}

/// The same run id with another input replays the old outputs without a word.
#[tokio::test]
async fn a_run_that_exists_is_not_taken_for_a_new_one() -> Outcome {
    let log = Runstone::memory()?;
    let run = log
        .run("bot")
        .input(&json!({"task": "a"}))?
        .start("run-1")
        .await?;
    let output = run.step("n1").run(|| async { Ok::<_, Fault>(1) }).await?;
    assert_eq!(output, 1);
    run.finish(Status::Success).await?;
    let other = log.run("bot").input(&json!({"task": "b"}))?;
    let code = |answer: Result<runstone::Run, RunError>| answer.map_err(|error| error.code()).err();
    assert_eq!(code(other.clone().start("run-1").await), Some("run_exists"));
    assert_eq!(
        code(other.resume_or_start("run-1").await),
        Some("run_finished")
    );
    // What goes into a call is part of it.
    let run = log.run("bot").start("run-2").await?;
    for (args, expected) in [(1, 1), (2, 2), (1, 1)] {
        let call = run.effect("n1").args(&json!({"n": args}));
        assert_eq!(call.call_blocking(|| Ok::<_, Fault>(args))?, expected);
    }
    Ok(())
}

/// A loop gets the first output of its node every time it comes by.
#[test]
fn each_visit_of_a_loop_is_a_step_of_its_own() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let visited = RefCell::new(Vec::new());
    for _ in 0..2 {
        for visit in 0..3 {
            let step = run.step(format!("gen#{visit}"));
            let output = step.run_blocking(|| {
                visited.borrow_mut().push(visit);
                Ok::<_, Fault>(visit * 10)
            })?;
            assert_eq!(output, visit * 10);
        }
    }
    assert_eq!(*visited.borrow(), [0, 1, 2]);
    Ok(())
}

/// Only successes are kept: failures, pauses and skips are gone after a restart, and a failed step
/// cannot be told from one that was never begun.
#[tokio::test]
async fn what_failed_paused_and_was_skipped_is_kept() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let log = Runstone::create(&path)?;
    let run = log.run("bot").start("run-1").await?;
    let failed = run
        .step("n1")
        .run(|| async { Err::<u32, _>(Fault::other("no")) })
        .await;
    assert_eq!(failed.map_err(|error| error.code()), Err("step_failed"));
    run.step("n2").skip("n1 failed").await?;
    run.step("n3").block("policy").await?;
    run.session().patch(&json!({"spent": 3})).await?;
    run.pause(Some("n4".to_owned())).await?;
    log.close().await?;
    drop(log);
    let log = Runstone::open(&path)?;
    // A pause is no failure, and it is listed.
    assert_eq!(status(&log, "run-1")?, "paused");
    let mut paused = runs::RunFilter::default();
    paused.status = Some("paused".into());
    assert_eq!(runs::list(&log, paused)?.count(), 1);
    for event in ["step.failed", "step.skipped", "step.blocked", "run.paused"] {
        let read = runstone::Read::new(runstone::Query::of_type(event));
        assert_eq!(log.read(read)?.count(), 1, "{event}");
    }
    let run = log.run("bot").resume("run-1").await?;
    assert_eq!(run.session().document().await?, json!({"spent": 3}));
    assert_eq!(run.step("n1").run(|| async { Ok::<_, Fault>(2) }).await?, 2);
    Ok(())
}

/// Steps beside the one that paused are done again on resuming, and their outputs are lost.
#[tokio::test]
async fn what_was_done_beside_a_pause_is_not_done_again() -> Outcome {
    let log = Runstone::memory()?;
    let times = Cell::new(0);
    let beside = || async {
        times.set(times.get() + 1);
        Ok::<_, Fault>(json!({"structured": times.get()}))
    };
    let run = log.run("bot").start("run-1").await?;
    for node in ["a", "z"] {
        run.step(node).run(beside).await?;
    }
    run.pause(Some("m".to_owned())).await?;
    let run = log.run("bot").resume("run-1").await?;
    for (node, expected) in [("z", 2), ("a", 1)] {
        let output = run.step(node).run(beside).await?;
        assert_eq!(output, json!({"structured": expected}));
    }
    assert_eq!(times.get(), 2);
    Ok(())
}

/// Two that resume one run at the same time both go on.
#[test]
fn of_two_that_resume_one_goes_on() -> Outcome {
    let log = Runstone::memory()?;
    for round in 0..20 {
        let id = format!("run-{round}");
        drop(log.run("bot").resume_or_start_blocking(&id)?);
        let barrier = Arc::new(Barrier::new(2));
        let resume = || {
            let (log, barrier, id) = (log.clone(), Arc::clone(&barrier), id.clone());
            std::thread::spawn(move || {
                barrier.wait();
                log.run("bot").resume_or_start_blocking(id)
            })
        };
        let threads = [resume(), resume()];
        let answers = threads.map(|thread| thread.join().map_err(|_| "it panicked"));
        let mut held = Vec::new();
        for answer in answers {
            match answer? {
                Ok(run) => held.push(run),
                Err(error) => assert_eq!(error.code(), "run_held"),
            }
        }
        assert_eq!(held.len(), 1, "round {round}");
    }
    Ok(())
}

/// Whoever was taken for dead goes on beside its successor.
#[test]
fn a_holder_that_was_replaced_records_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let clock = Arc::new(runstone_store::ManualClock::new(1_750_000_000_000_000));
    let mut options = runstone::LogOptions::default();
    options.clock = Arc::<runstone_store::ManualClock>::clone(&clock);
    let log = Runstone::options().storage(options).create(&path)?;
    let mut begin = runs::Begin::new("run-1", "bot");
    begin.hold = runstone::Hold::For(60_000_000);
    let first = runs::begin_blocking(&log, &begin)?.into_held();
    clock.advance(60_000_000);
    assert_eq!(status(&log, "run-1")?, "crashed");
    let second = log.run("bot").resume_or_start_blocking("run-1")?;
    let draft = || -> Outcome<_> {
        let patch = runstone::events::SessionPatched {
            patch: json!({"by": "first"}),
        };
        Ok(vec![runstone::Draft::new(runstone::NewEvent::typed(
            &patch, "run-1",
        )?)])
    };
    let late = runs::record_blocking(&log, &first, draft()?);
    assert_eq!(late.map_err(|error| error.code()), Err("stale_run"));
    second.session().patch_blocking(&json!({"by": "second"}))?;
    let state = sessions::state(&log, "run-1")?;
    assert_eq!(state.document.to_value(), json!({"by": "second"}));
    Ok(())
}

/// Crashed runs are not listed, and opening changes those that go on.
#[test]
fn opening_changes_nothing_and_crashed_runs_are_listed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let log = Runstone::create(&path)?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let mut begin = runs::Begin::new("elsewhere", "bot");
    begin.hold = runstone::Hold::For(3_600_000_000);
    runs::begin_blocking(&log, &begin)?;
    let size = log.size();
    // It is killed: the run is not ended by anybody.
    log.close_blocking()?;
    drop(run);
    drop(log);
    for _ in 0..2 {
        let log = Runstone::open(&path)?;
        assert_eq!(log.size(), size);
        assert_eq!(status(&log, "run-1")?, "crashed");
        assert_eq!(status(&log, "elsewhere")?, "running");
        let error = runs::begin_blocking(&log, &begin).map_err(|error| error.code());
        assert_eq!(error.err(), Some("run_held"));
    }
    Ok(())
}

/// A resumed or replayed run counts its tokens again.
#[tokio::test]
async fn a_replay_counts_nothing_again() -> Outcome {
    let log = Runstone::memory()?;
    for _ in 0..3 {
        let run = log.run("bot").resume_or_start("run-1").await?;
        let usage = runstone::events::LlmCallCompleted::new("call-1").output_tokens(100);
        run.llm_call(usage).await?;
        let look = run.effect("look").request_id("q").class(EffectClass::Read);
        look.call(|| async { Ok::<_, Fault>(1) }).await?;
    }
    let run = runs::get(&log, "run-1")?.ok_or("there is one")?;
    assert_eq!((run.counts.llm_calls, run.usage.output_tokens), (1, 100));
    let calls = list(&log, &EffectFilter::new().state(EffectState::Completed))?;
    assert_eq!(calls.len(), 1);
    Ok(())
}

/// An error of the store reads as "not done", and it is done again.
#[test]
fn a_ledger_that_fails_makes_nothing_run_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let times = Cell::new(0);
    let log = Runstone::create(&path)?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let pay = |log: &Runstone, run: &runstone::Run| {
        run.effect("pay").request_id("inv-1").call_blocking(|| {
            times.set(times.get() + 1);
            log.close_blocking()
                .map_err(|error| Fault::other(error.to_string()))?;
            Ok::<_, Fault>(times.get())
        })
    };
    let first = pay(&log, &run).map_err(|error| error.code());
    assert_eq!(first, Err("outcome_unrecorded"));
    assert!(pay(&log, &run).is_err(), "it is closed");
    drop((run, log));
    let log = Runstone::open(&path)?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let again = pay(&log, &run).map_err(|error| error.code());
    assert_eq!((again, times.get()), (Err("effect_unknown"), 1));
    Ok(())
}
