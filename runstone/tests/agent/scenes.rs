//! Each call once, whatever happens to the caller.

use super::{open, patient, place};
use anyhow::{Context as _, bail};
use runstone::events::LlmCallCompleted;
use runstone::runs::RunStatus;
use runstone::{
    CallError, EffectClass, EffectError, EffectState, ErrorKind, LetGo, Query, Read, Run, RunError,
    Runstone, Status, StepReport, effects, runs,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Barrier, Notify};

type Outcome = anyhow::Result<()>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payment {
    id: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("the gateway is closed")]
struct Closed;

/// Counts what it charges.
#[derive(Debug, Default)]
struct Gateway(AtomicU32);

impl Gateway {
    async fn charge(&self) -> Result<Payment, Closed> {
        tokio::task::yield_now().await;
        let id = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Payment { id })
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn begun(log: &Runstone) -> anyhow::Result<Run> {
    Ok(log.run("invoice-bot").resume_or_start("run-1").await?)
}

fn states(log: &Runstone) -> anyhow::Result<Vec<EffectState>> {
    let all = effects::list(log, &effects::EffectFilter::new())?;
    Ok(all.iter().map(|effect| effect.state).collect())
}

fn status(log: &Runstone) -> anyhow::Result<RunStatus> {
    Ok(runs::get(log, "run-1")?.context("there is a run")?.status)
}

#[tokio::test]
async fn a_call_happens_once_and_gives_the_stored_result() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("agent.redb");
    let gateway = Gateway::default();
    let args = json!({"invoice": "inv-42", "usd": 12});
    for attempt in 0..3 {
        let log = open(&path)?;
        let run = begun(&log).await?;
        assert_eq!(run.is_resumed(), attempt > 0);
        let paid: Payment = run
            .effect("send_payment")
            .key(("invoice", "inv-42"))
            .class(EffectClass::Write)
            .args(&args)
            .call(|| gateway.charge())
            .await?;
        assert_eq!(paid, Payment { id: 1 });
        drop(run);
        assert_eq!(status(&log)?, RunStatus::Aborted);
    }
    assert_eq!(gateway.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_run_is_held_by_one_and_ends_once() -> Outcome {
    let log = place()?;
    let unknown = log.run("bot").resume("run-1").await;
    let error = unknown.err().context("there is none")?;
    assert_eq!(error.to_string(), "No flushed state found for run 'run-1'");
    let run = begun(&log).await?;
    assert_eq!(status(&log)?, RunStatus::Running);
    let held = begun(&log).await.err().context("it is held")?;
    assert!(matches!(held.downcast_ref(), Some(RunError::Held(_))));
    run.session()
        .append("/messages", &json!({"role": "user", "text": "pay"}))
        .await?;
    run.session().patch(&json!({"topic": "invoices"})).await?;
    let usage = LlmCallCompleted::new("c1").input_tokens(5);
    run.llm_call(usage).await?;
    drop(run);
    // Whoever goes on has what was there.
    let run = begun(&log).await?;
    let document = run.session().document().await?;
    assert_eq!(
        document,
        json!({"messages": [{"role": "user", "text": "pay"}], "topic": "invoices"})
    );
    assert_eq!(
        run.session().append("/topic", &1).await.unwrap_err().code(),
        "no_array"
    );
    let paused = run.clone();
    run.pause(Some("approve".to_owned())).await?;
    assert_eq!(status(&log)?, RunStatus::Paused);
    // Who paused it does not hold it any more.
    assert_eq!(
        paused
            .session()
            .patch(&json!({"x": 1}))
            .await
            .unwrap_err()
            .code(),
        "stale_run"
    );
    drop(paused);
    let run = log.run("bot").resume("run-1").await?;
    run.finish(Status::Success).await?;
    assert_eq!(status(&log)?, RunStatus::Success);
    let summary = runs::get(&log, "run-1")?.context("there is a run")?;
    assert_eq!(summary.usage.input_tokens, 5);
    assert!(matches!(
        begun(&log).await.unwrap_err().downcast_ref(),
        Some(RunError::Finished(_))
    ));
    Ok(())
}

/// Dropped by a time-out after it was called: unknown for a write, to be made again if it bears
/// that.
#[tokio::test]
async fn a_dropped_call_is_given_up() -> Outcome {
    for (class, expected) in [
        (EffectClass::Write, EffectState::Unknown),
        (EffectClass::Idempotent, EffectState::Cancelled),
    ] {
        let log = place()?;
        let run = begun(&log).await?;
        let begins = Notify::new();
        let call = run
            .effect("pay")
            .request_id("1")
            .class(class)
            .call(|| async {
                begins.notify_one();
                std::future::pending::<Result<u32, Closed>>().await
            });
        tokio::select! {
            answer = call => bail!("{answer:?}"),
            () = begins.notified() => {}
        }
        assert_eq!(states(&log)?, [expected]);
        let again = run.effect("pay").request_id("1").class(class);
        let again = again.call(|| async { Ok::<_, Closed>(7) }).await;
        let is_as_expected = match class {
            EffectClass::Write => matches!(again, Err(CallError::Effect(EffectError::Unknown(_)))),
            _ => matches!(again, Ok(7)),
        };
        assert!(is_as_expected, "{class}");
    }
    Ok(())
}

/// A claim that is dropped before it is answered does not hold the call for ever.
#[tokio::test]
async fn a_claim_that_is_dropped_is_given_up() -> Outcome {
    let log = patient()?;
    let run = begun(&log).await?;
    let call = run
        .effect("pay")
        .request_id("1")
        .call(|| async { Ok::<_, Closed>(1) });
    let mut call = Box::pin(call);
    // It is on its way once it was polled; nobody waits for the answer.
    let once = std::future::poll_fn(|context| {
        std::task::Poll::Ready(call.as_mut().poll(context).is_ready())
    });
    assert!(!once.await);
    drop(call);
    assert!(
        states(&log)?
            .iter()
            .all(|state| *state == EffectState::Cancelled)
    );
    let again = run
        .effect("pay")
        .request_id("1")
        .call(|| async { Ok::<_, Closed>(2) });
    assert_eq!(again.await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_panic_leaves_the_call_unknown_and_the_run_to_be_resumed() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let panicked = tokio::spawn(async move {
        let call = run.effect("pay").request_id("1");
        call.call(|| async { panic!("in the tool") as Result<u32, Closed> })
            .await
    });
    assert!(panicked.await.is_err());
    assert_eq!(states(&log)?, [EffectState::Unknown]);
    assert_eq!(status(&log)?, RunStatus::Error);
    assert!(begun(&log).await?.is_resumed());
    Ok(())
}

/// What asks the other side settles what nobody knows, and only then is it called again.
#[tokio::test]
async fn a_reconciler_settles_what_is_unknown() -> Outcome {
    for was_made in [true, false] {
        let log = place()?;
        let run = begun(&log).await?;
        let pay = || run.effect("pay").request_id("1");
        let failed = pay().call(|| async { Err::<Payment, _>(Closed) }).await;
        assert!(matches!(failed, Err(CallError::Tool(Closed))));
        assert_eq!(states(&log)?, [EffectState::Unknown]);
        let asked = pay().reconcile(|_| async { Err::<Option<Payment>, _>(Closed) });
        let error = asked.call(|| async { Err::<Payment, _>(Closed) }).await;
        assert_eq!(error.unwrap_err().code(), "reconcile_failed");
        let found = was_made.then_some(Payment { id: 7 });
        let asked = pay().reconcile(move |_| async move { Ok::<_, Closed>(found) });
        let paid = asked
            .call(|| async { Ok::<_, Closed>(Payment { id: 8 }) })
            .await?;
        assert_eq!(paid.id, if was_made { 7 } else { 8 });
        assert_eq!(states(&log)?, [EffectState::Completed]);
    }
    Ok(())
}

/// Of many callers in one process one calls; those that wait get its result, the others are told.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_callers_one_calls_and_the_others_wait() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let (gateway, barrier) = (Arc::new(Gateway::default()), Arc::new(Barrier::new(64)));
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (run, gateway, barrier) = (run.clone(), Arc::clone(&gateway), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let call = run.effect("pay").request_id("1").wait();
                call.call(|| async move { gateway.charge().await }).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await??, Payment { id: 1 });
    }
    assert_eq!(gateway.count(), 1);
    let first = run.effect("slow").request_id("2");
    let inside = first
        .call(|| async {
            let second = run.effect("slow").request_id("2");
            let second = second.call(|| async { Ok::<_, Closed>(1) }).await;
            Ok::<_, Closed>(second.unwrap_err().code().to_owned())
        })
        .await?;
    assert_eq!(inside, "in_flight");
    Ok(())
}

#[test]
fn everything_has_a_twin_without_a_runtime() -> Outcome {
    let log = place()?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let count = Cell::new(0);
    for _ in 0..2 {
        let paid = run.effect("pay").request_id("1").call_blocking(|| {
            count.set(count.get() + 1);
            Ok::<_, Closed>(7)
        })?;
        assert_eq!(paid, 7);
        let planned = run.step("plan").kind("llm").run_blocking(|| {
            count.set(count.get() + 10);
            Ok::<_, Closed>(
                vec!["a", "b"]
                    .into_iter()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        })?;
        assert_eq!(planned, ["a", "b"]);
    }
    assert_eq!(count.get(), 11);
    run.session().append_blocking("/messages", &"hello")?;
    run.session().patch_blocking(&json!({"n": 1}))?;
    run.finish_blocking(Status::Success)?;
    let summary = runs::get(&log, "run-1")?.context("there is a run")?;
    assert_eq!(summary.counts.steps, 1);
    Ok(())
}

/// A step that failed is done again; one that was completed is not, by whoever resumes the run.
#[tokio::test]
async fn a_step_is_done_once_a_run() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let failed = run
        .step("plan")
        .run(|| async { Err::<u32, _>(Closed) })
        .await;
    assert_eq!(failed.unwrap_err().code(), "step_failed");
    assert_eq!(
        run.step("plan")
            .run(|| async { Ok::<_, Closed>(1) })
            .await?,
        1
    );
    run.step("review").skip("nothing to review").await?;
    run.step("send").block("policy").await?;
    drop(run);
    let run = begun(&log).await?;
    assert_eq!(
        run.step("plan")
            .run(|| async { Ok::<_, Closed>(2) })
            .await?,
        1
    );
    let other = run
        .step("plan")
        .run(|| async { Ok::<_, Closed>("text".to_owned()) });
    assert_eq!(other.await.unwrap_err().code(), "output_of_other_type");
    run.finish_with(Status::Success, Some(&json!({"sent": true})), None)
        .await?;
    Ok(())
}

/// The same positional and by-name spelling is one call; a key from fields is theirs alone.
#[tokio::test]
async fn a_function_is_wrapped_in_one_line() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let gateway = Arc::new(Gateway::default());
    let charge = {
        let gateway = Arc::clone(&gateway);
        move |_: serde_json::Value| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.charge().await }
        }
    };
    let pay = run.tool("pay").key_from(["invoice"]).wrap(charge.clone());
    for usd in [1, 2] {
        assert_eq!(
            pay(json!({"invoice": "a", "usd": usd})).await?,
            Payment { id: 1 }
        );
    }
    assert_eq!(
        pay(json!({"usd": 1, "invoice": "b"})).await?,
        Payment { id: 2 }
    );
    for args in [
        json!({"usd": 1}),
        json!({"invoice": null}),
        json!({"invoice": ""}),
    ] {
        assert_eq!(pay(args).await.unwrap_err().code(), "bad_key");
    }
    let look = run.tool("look").class(EffectClass::Read).wrap(charge);
    assert_eq!(look(json!({"a": 1, "b": 2})).await?, Payment { id: 3 });
    assert_eq!(look(json!({"b": 2, "a": 1})).await?, Payment { id: 3 });
    assert_eq!(gateway.count(), 3);
    Ok(())
}

/// A result that the type asked for does not hold is an error, never a second call.
#[tokio::test]
async fn a_result_of_another_type_is_not_asked_for_again() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let call = || run.effect("pay").request_id("1");
    call()
        .call(|| async { Ok::<_, Closed>("text".to_owned()) })
        .await?;
    let other = call().call(|| async { Ok::<_, Closed>(1) }).await;
    assert_eq!(other.unwrap_err().code(), "result_of_other_type");
    Ok(())
}

/// Polls a future once and drops it, as a time-out does; whether it had come to its end.
async fn dropped<F: Future>(future: F) -> bool {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready()))
        .await
}

/// Nothing is left behind that a second process would trip over.
#[tokio::test]
async fn a_beginning_that_is_dropped_leaves_no_holder() -> Outcome {
    let log = patient()?;
    let mut in_the_middle = 0;
    for _ in 0..20 {
        // Where the answer was faster than the poll it is the run that is dropped.
        let began = dropped(log.run("invoice-bot").resume_or_start("run-1")).await;
        in_the_middle += u32::from(!began);
        let run = begun(&log).await?;
        assert_eq!(status(&log)?, RunStatus::Running);
        drop(run);
    }
    assert!(in_the_middle > 0, "it was to be dropped");
    Ok(())
}

/// The document of the session is what the log says, also when nobody waited for the answer.
#[tokio::test]
async fn a_change_of_the_session_that_is_dropped_is_seen() -> Outcome {
    let log = patient()?;
    let run = begun(&log).await?;
    dropped(run.session().patch(&json!({"list": "text"}))).await;
    let appended = run.session().append("/list", &1).await;
    assert_eq!(appended.unwrap_err().code(), "no_array");
    let recorded = runstone::sessions::state(&log, "run-1")?;
    assert_eq!(
        run.session().document().await?,
        recorded.document.to_value()
    );
    assert_eq!(recorded.missing, 0);
    Ok(())
}

/// What the log does not take is no reason to call it again, or to wait for it for ever.
#[tokio::test]
async fn a_result_that_is_too_long_ends_the_call_all_the_same() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let text = "x".repeat(17 << 20);
    let call = || run.effect("pay").request_id("1");
    let first = call().call(|| async { Ok::<_, Closed>(text) }).await;
    assert_eq!(first.unwrap_err().code(), "outcome_unrecorded");
    assert_eq!(states(&log)?, [EffectState::Completed]);
    let again = call()
        .wait()
        .call(|| async { Ok::<_, Closed>(String::new()) })
        .await;
    assert_eq!(again.unwrap_err().code(), "result_rejected");
    Ok(())
}

/// Whoever does not hold the run any more begins nothing in it.
#[tokio::test]
async fn a_clone_of_a_run_that_ended_does_nothing() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let clone = run.clone();
    run.finish(Status::Cancelled).await?;
    let count = Cell::new(0);
    let called = clone.effect("pay").request_id("1").call(|| async {
        count.set(1);
        Ok::<_, Closed>(1)
    });
    assert_eq!(called.await.unwrap_err().code(), "stale_run");
    let appended = clone
        .append(runstone::NewEvent::new("chat.message", ""))
        .await;
    assert_eq!(appended.unwrap_err().code(), "stale_run");
    assert_eq!(count.get(), 0);
    Ok(())
}

#[tokio::test]
async fn one_caller_at_a_time_does_a_step() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let inside = run
        .step("plan")
        .run(|| async {
            let second = run.step("plan").run(|| async { Ok::<_, Closed>(0) }).await;
            Ok::<_, Closed>(second.unwrap_err().code().to_owned())
        })
        .await?;
    assert_eq!(inside, "step_in_progress");
    Ok(())
}

fn summary(log: &Runstone) -> anyhow::Result<runs::RunSummary> {
    runs::get(log, "run-1")?.context("there is a run")
}

/// What a step changes in the session is recorded with it: live, at a point, and for whoever resumes.
#[tokio::test]
async fn a_step_changes_the_session_with_its_output() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    run.session().patch(&json!({"plan": null, "n": 1})).await?;
    let before = runs::get(&log, "run-1")?.context("there is a run")?.last;
    let plan = || {
        let report = StepReport::new(7).confidence(0.5).gco2_mg(3);
        let report = report.structured(json!({"plan": ["look", "pay"], "n": null}));
        Ok::<_, Closed>(report)
    };
    assert_eq!(run.step("plan").run_reported_blocking(plan)?, 7);
    let expected = json!({"plan": ["look", "pay"]});
    assert_eq!(run.session().document().await?, expected);
    run.step("quiet").run_blocking(|| Ok::<_, Closed>(1))?;
    let recorded = runstone::sessions::state(&log, "run-1")?;
    assert_eq!((recorded.changes, recorded.missing), (2, 0));
    assert_eq!(recorded.document, expected);
    let then = runstone::sessions::state_at(&log, "run-1", Some(before))?;
    assert_eq!(then.document.to_value(), json!({"n": 1}));
    drop(run);
    let run = begun(&log).await?;
    assert_eq!(run.session().document().await?, expected);
    // It is not done again, and changes nothing again.
    run.session().patch(&json!({"plan": "other"})).await?;
    assert_eq!(run.step("plan").run_reported_blocking(plan)?, 7);
    assert_eq!(run.session().document().await?, json!({"plan": "other"}));
    Ok(())
}

/// Tokens that a step reports and those of the calls of models in it are the same tokens.
#[tokio::test]
async fn usage_of_a_step_and_of_its_calls_counts_once() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let call = |call_id: &str, output_tokens| {
        LlmCallCompleted::new(call_id)
            .output_tokens(output_tokens)
            .usd_micros(output_tokens * 2)
    };
    let report = |tokens: u64| {
        StepReport::new(())
            .tokens(tokens)
            .usd_micros(tokens)
            .gco2_mg(5)
    };
    let alone = run.step("alone");
    alone.run_reported_blocking(|| Ok::<_, Closed>(report(100)))?;
    let told = |log: &Runstone| -> anyhow::Result<_> {
        let run = summary(log)?;
        Ok((run.tokens(), run.usd_micros(), run.steps.gco2_mg))
    };
    assert_eq!(told(&log)?, (100, 100, 5));
    // A call that names no step stands in the one that is being done.
    let within = run.step("within").run_reported(|| async {
        run.llm_call(call("1", 10)).await.map_err(|_| Closed)?;
        Ok::<_, Closed>(report(1000))
    });
    within.await?;
    assert_eq!(told(&log)?, (110, 120, 10));
    // One that names its step may come late: what the step said is taken off again.
    let late = run.step("late");
    late.run_reported_blocking(|| Ok::<_, Closed>(report(1000)))?;
    assert_eq!(told(&log)?, (1110, 1120, 15));
    for tokens in [3, 20] {
        run.step("late").llm_call(call("2", tokens)).await?;
    }
    assert_eq!(told(&log)?, (130, 160, 15));
    assert_eq!(summary(&log)?.counts.nodes, 3);
    let checks = log.check_folds(None, &|_, _| {})?;
    assert!(
        checks.iter().all(runstone::FoldCheck::is_equal),
        "{checks:?}"
    );
    Ok(())
}

/// Status and reason of every end of the session, and of the run.
fn endings(log: &Runstone) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for record in log.read(Read::new(Query::stream("run-1")))? {
        let record = record?;
        if matches!(
            record.header.event_type.as_str(),
            "session.ended" | "run.finished"
        ) {
            let words = [1, 2].map(|field| record.control.get_text(field).unwrap_or_default());
            found.push(words.join("/"));
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_session_ends_as_its_run_does_and_is_gone_on_with_whatever_that_was() -> Outcome {
    for (status, session) in [
        (Status::Success, "completed/completed"),
        (Status::Escalated, "completed/completed"),
        (Status::Cancelled, "aborted/cancel"),
        (Status::Error, "error/error"),
    ] {
        let log = place()?;
        let run = begun(&log).await?;
        run.session().patch(&json!({"n": 1})).await?;
        let at = run.finish(status).await?;
        assert_eq!(log.record(at)?.header.event_type, "run.finished");
        assert_eq!(
            endings(&log)?,
            [session.to_owned(), format!("{}/", status.as_str())]
        );
        // A worker that is started again does not do it again; who resumes it goes on.
        let again = log.run("bot").resume_or_start("run-1").await;
        assert_eq!(again.err().context("it ended")?.code(), "run_finished");
        let run = log.run("bot").resume("run-1").await?;
        assert_eq!(run.session().document().await?, json!({"n": 1}));
        assert_eq!(summary(&log)?.status, RunStatus::Running);
        assert_eq!(run.step("more").run_blocking(|| Ok::<_, Closed>(1))?, 1);
        run.finish(Status::Success).await?;
        assert_eq!(summary(&log)?.status, RunStatus::Success);
    }
    for (why, session, status) in [
        (LetGo::Cancelled, "aborted/cancel", RunStatus::Aborted),
        (
            LetGo::Disconnected,
            "aborted/disconnect",
            RunStatus::Aborted,
        ),
        (LetGo::Failed, "error/error", RunStatus::Error),
    ] {
        let log = place()?;
        begun(&log).await?.let_go(why).await?;
        assert_eq!(endings(&log)?, [session]);
        assert_eq!(summary(&log)?.status, status);
        assert!(begun(&log).await?.is_resumed());
    }
    Ok(())
}

/// A result that is refused is a call that was made: nobody makes it again, in no later process.
#[tokio::test]
async fn a_result_that_its_caller_refuses_is_not_asked_for_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("agent.redb");
    let gateway = Gateway::default();
    for _ in 0..2 {
        let log = open(&path)?;
        let run = begun(&log).await?;
        for _ in 0..2 {
            let call = run
                .effect("pay")
                .request_id("1")
                .check(|payment: &Payment| Err(format!("payment {} is not ours", payment.id)));
            let refused = call.call(|| gateway.charge()).await.unwrap_err();
            assert_eq!(
                refused.to_string(),
                "`pay` was called and its result was not taken: payment 1 is not ours"
            );
            assert_eq!(
                (refused.code(), refused.kind()),
                ("result_rejected", ErrorKind::Refused)
            );
        }
        let other = run.effect("pay").request_id("2").check(|_: &String| Ok(()));
        let other = other.call(|| gateway.charge()).await.unwrap_err();
        assert_eq!(other.code(), "result_rejected");
        let taken = run
            .effect("pay")
            .request_id("3")
            .check(|_: &Payment| Ok(()));
        assert_eq!(taken.call(|| gateway.charge()).await?, Payment { id: 3 });
        let all = effects::list(&log, &effects::EffectFilter::new())?;
        assert_eq!(all.iter().filter(|effect| effect.rejected).count(), 2);
        drop(run);
    }
    assert_eq!(gateway.count(), 3);
    Ok(())
}

#[tokio::test]
async fn a_call_has_a_name() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let size = log.size();
    for name in ["", " "] {
        let call = run.effect(name).request_id("1");
        let error = call.call_blocking(|| Ok::<_, Closed>(1)).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("name_missing", ErrorKind::Usage)
        );
        assert!(!error.is_retryable());
    }
    assert_eq!(log.size(), size);
    Ok(())
}

/// What happens to be in a stream is no run that somebody could be at.
#[test]
fn a_stream_that_nobody_began_as_a_run_is_not_running() -> Outcome {
    let log = place()?;
    log.append_blocking(runstone::NewEvent::new("chat.message", "run-1"))?;
    assert_eq!(status(&log)?, RunStatus::Unknown);
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    assert!(!run.is_resumed());
    assert_eq!(status(&log)?, RunStatus::Running);
    let held = log
        .run("bot")
        .resume_or_start_blocking("run-1")
        .unwrap_err();
    assert_eq!(
        (held.kind(), held.is_retryable()),
        (ErrorKind::Conflict, true)
    );
    Ok(())
}

/// A long session is read from its snapshot, and is what its changes say at every point.
#[tokio::test]
async fn a_long_session_is_snapshotted_and_stays_what_it_is() -> Outcome {
    let log = place()?;
    let run = begun(&log).await?;
    let turn = "x".repeat(100_000);
    for n in 0..30 {
        run.session()
            .append("/messages", &json!({"n": n, "text": turn}))
            .await?;
        run.session().patch(&json!({"n": n})).await?;
    }
    let report = || Ok::<_, Closed>(StepReport::new(1).structured(json!({"done": true})));
    run.step("end").run_reported_blocking(report)?;
    let all: Vec<_> = log
        .read(Read::new(Query::stream("run-1")))?
        .collect::<Result<_, _>>()?;
    let of_type = |name: &str| {
        all.iter()
            .filter(|one| one.header.event_type == name)
            .count()
    };
    // After 1 MiB, and after as much again.
    assert_eq!(of_type("session.snapshotted"), 2);
    for record in all.iter().rev().step_by(6) {
        let at = Some(record.position);
        let read = runstone::sessions::state_at(&log, "run-1", at)?;
        let folded = runstone::sessions::folded(&log, "run-1", at)?;
        assert_eq!(read.document, folded.document);
        assert_eq!(
            (read.changes, read.missing, read.last),
            (folded.changes, 0, folded.last)
        );
    }
    let document = run.session().document().await?;
    assert_eq!(document["messages"].as_array().map(Vec::len), Some(30));
    assert_eq!(
        (&document["n"], &document["done"]),
        (&json!(29), &json!(true))
    );
    drop(run);
    let run = begun(&log).await?;
    assert_eq!(run.session().document().await?, document);
    // A short one has none, however often it changes.
    let short = log.run("bot").start("run-2").await?;
    for n in 0..200 {
        short.session().patch(&json!({"n": n})).await?;
    }
    let types = log.read(Read::new(Query::stream("run-2")))?;
    let types = types.map(|record| Ok(String::from(record?.header.event_type)));
    let types: Vec<String> = types.collect::<anyhow::Result<_>>()?;
    assert!(!types.contains(&"session.snapshotted".to_owned()));
    Ok(())
}
