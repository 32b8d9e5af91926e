//! Programs that are cut short, go round in loops, wait, ask and are told; and what they must not do.

use super::{Outcome, begun, call, other, recorded, with};
use anyhow::{Context as _, ensure};
use runstone::budgets::Open;
use runstone::replay::again::{DivergenceKind, Recording, Tape};
use runstone::{
    Amounts, BudgetLimits, Dimension, EffectClass, LetGo, Run, Runstone, Status, run_again,
};
use serde_json::{Value, json};
use std::future::pending;
use std::io::Error as Failed;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A call that must not be made.
fn forbidden(run: &Run, name: &str, args: &Value) -> impl Future<Output = Result<u32, String>> {
    let call = run.effect(name).args(args);
    async {
        let made = call.call(|| async { Err(Failed::other("it is called")) });
        let made: Result<u32, runstone::CallError<Failed>> = made.await;
        made.map_err(|error| error.code().to_owned())
    }
}

/// It goes on without what does not answer in time, twice.
#[tokio::test]
async fn what_did_not_answer_in_time_does_not_again() -> Outcome {
    let slow = |run: Run| async move {
        let slow = run.effect("slow").class(EffectClass::Idempotent).args(&());
        let slow = slow.call(|| async { Ok::<u32, Failed>(pending().await) });
        timeout(Duration::from_millis(20), slow).await.is_err()
    };
    let program = |log: Runstone| {
        with(log, move |run| async move {
            for n in 0..2 {
                ensure!(slow(run.clone()).await, "it answered");
                call(&run, "alert", json!({ "n": n })).await?;
            }
            Ok(())
        })
    };
    let recording = recorded(program).await?;
    run_again(recording, program).await??;
    Ok(())
}

/// Calls go on at once, in two steps and outside; what comes next is told by who was first.
#[tokio::test]
async fn what_ended_first_ends_first_again() -> Outcome {
    let program = |log: Runstone, is_first: bool| {
        with(log, move |run| async move {
            let order = Mutex::new(Vec::new());
            let (go, gone): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel::<()>()).unzip();
            let go = Mutex::new(go.into_iter().rev().map(Some).collect::<Vec<_>>());
            let strands = gone.into_iter().enumerate().map(|(n, gone)| {
                let (run, order, go) = (run.clone(), &order, &go);
                let calling = move |run: Run| async move {
                    let call = run.effect("race").args(&n);
                    let answer = call.call(|| async {
                        // The last of them is answered first, and lets the one before it go.
                        let waits = is_first && n < 3;
                        if waits {
                            let _ = gone.await;
                        }
                        Ok::<usize, Failed>(n)
                    });
                    let n = answer.await?;
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(n);
                    anyhow::Ok(n)
                };
                Box::pin(async move {
                    let n = match n % 2 {
                        0 => {
                            run.step(format!("part-{n}"))
                                .run(|| calling(run.clone()))
                                .await?
                        }
                        _ => calling(run.clone()).await?,
                    };
                    let mut go = go.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(next) = go.get_mut(4 - n).and_then(Option::take) {
                        let _ = next.send(());
                    }
                    anyhow::Ok(())
                }) as Pin<Box<dyn Future<Output = Outcome> + Send + '_>>
            });
            for done in super::random::all(strands.collect()).await {
                done?;
            }
            let order = order.into_inner().unwrap_or_else(PoisonError::into_inner);
            ensure!(!is_first || order == [3, 2, 1, 0], "{order:?}");
            call(&run, "next", json!({ "order": order })).await?;
            Ok(())
        })
    };
    let recording = recorded(|log| program(log, true)).await?;
    run_again(recording, |log| program(log, false)).await??;
    Ok(())
}

/// The step is dropped and begun again, then rolled back and done again.
#[tokio::test]
async fn steps_that_are_begun_again_are_the_same_steps() -> Outcome {
    let program = |log: Runstone| {
        with(log, |run| async move {
            let began = run.session().append("/messages", &"begin").await?;
            let step = run.step("wait").run(|| async {
                call(&run, "first", json!({})).await?;
                pending::<anyhow::Result<()>>().await
            });
            ensure!(
                timeout(Duration::from_millis(20), step).await.is_err(),
                "it ended"
            );
            let failing = || {
                run.step("wait")
                    .run(|| async { Err::<(), _>(Failed::other("no")) })
            };
            ensure!(failing().await.is_err(), "it fails");
            let twice = || run.step("wait").run(|| call(&run, "second", json!({})));
            twice().await?;
            run.roll_back(began).await?;
            twice().await?;
            Ok(())
        })
    };
    let recording = recorded(program).await?;
    run_again(recording, program).await??;
    Ok(())
}

/// The process dies while a call is made that bears to be made again.
#[tokio::test]
async fn a_call_that_two_lives_made_is_one_call() -> Outcome {
    let program = |log: Runstone, dies: bool| async move {
        let run = begun(&log).await?;
        let send = run.effect("send").class(EffectClass::Idempotent).args(&());
        let send = send.call(|| async {
            if dies {
                pending::<()>().await;
            }
            Ok::<u32, Failed>(7)
        });
        match timeout(Duration::from_millis(if dies { 20 } else { 60_000 }), send).await {
            Ok(answer) => ensure!(answer? == 7, "sent"),
            Err(_) => return Ok(()),
        }
        run.finish(Status::Success).await?;
        anyhow::Ok(())
    };
    let log = Runstone::memory()?;
    program(log.clone(), true).await?;
    program(log.clone(), false).await?;
    let recording = Recording::of(&log, ["run-1"])?;
    let tape = Tape::new(recording).wait_at_most(Duration::from_millis(50));
    run_again(tape, |log| program(log, false)).await??;
    Ok(())
}

#[tokio::test]
async fn what_was_found_out_is_told_to_who_asks_again() -> Outcome {
    let asked = AtomicU32::new(0);
    let program = |log: Runstone| {
        let asked = &asked;
        with(log, move |run| async move {
            let failed = run.effect("pay").args(&json!({"usd": 12}));
            let failed = failed.call(|| async { Err::<u32, _>(Failed::other("no route")) });
            ensure!(failed.await.is_err(), "it failed");
            call(&run, "look", json!({})).await?;
            let retry = run
                .effect("pay")
                .args(&json!({"usd": 12}))
                .reconcile(|_| async { Ok::<_, Failed>(Some(7)) });
            asked.fetch_add(1, Ordering::Relaxed);
            let paid = retry
                .call(|| async { Err::<u32, _>(Failed::other("called")) })
                .await?;
            ensure!(paid == 7, "{paid}");
            Ok(())
        })
    };
    let recording = recorded(program).await?;
    run_again(recording, program).await??;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    Ok(())
}

/// Who goes on live makes no call of which nobody knows, and none of another run or of one that ended.
#[tokio::test]
async fn only_what_comes_after_the_recording_is_live() -> Outcome {
    // Killed while it paid.
    let log = Runstone::memory()?;
    let run = begun(&log).await?;
    call(&run, "look", json!({})).await?;
    {
        let pay = run.effect("pay").args(&json!({"usd": 12}));
        let mut pay = Box::pin(pay.call(|| async { Ok::<u32, Failed>(pending().await) }));
        let begun = std::future::poll_fn(|context| {
            let _ = pay.as_mut().poll(context);
            std::task::Poll::Ready(())
        });
        begun.await;
    }
    run.let_go(LetGo::Cancelled).await?;
    let recording = Recording::of(&log, ["run-1"])?;
    let live = |recording: &Recording| {
        Tape::new(recording.clone())
            .then_live()
            .wait_at_most(Duration::from_millis(20))
    };
    let log = Runstone::against(live(&recording))?;
    // Another run does not begin.
    assert!(log.run("bot").start("run-2").await.is_err());
    let run = begun(&log).await?;
    call(&run, "look", json!({})).await?;
    let paid = forbidden(&run, "pay", &json!({"usd": 12})).await;
    assert_eq!(paid, Err("answer_not_recorded".to_owned()));

    // One that ended, with a step that did not.
    let recording = recorded(|log| {
        with(log, |run| async move {
            let step = run.step("wait").run(pending::<Result<(), Failed>>);
            let _ = timeout(Duration::from_millis(1), step).await;
            call(&run, "look", json!({})).await?;
            Ok(())
        })
    });
    let log = Runstone::against(live(&recording.await?))?;
    let run = begun(&log).await?;
    let step = run.step("wait").run(|| async {
        forbidden(&run, "more", &json!({}))
            .await
            .map_err(Failed::other)
    });
    assert_eq!(
        step.await.err().context("it is not made")?.to_string(),
        "diverged"
    );
    Ok(())
}

/// One budget has no room, and another one has.
#[tokio::test]
async fn what_was_refused_first_and_made_later_is_both() -> Outcome {
    let program = |log: Runstone| {
        with(log.clone(), move |run| async move {
            for (owner, max) in [("small", 1), ("large", 9)] {
                let limits = BudgetLimits::new().of(Dimension::UsdMicros, max);
                log.budgets().open(&Open::new(owner).limits(limits)).await?;
            }
            let pay = |owner: &'static str| {
                let cost = Amounts::new().usd_micros(5);
                let pay = run.effect("pay").args(&()).budget(owner, cost);
                pay.call(|| async { Ok::<u32, Failed>(7) })
            };
            for _ in 0..2 {
                let refused = pay("small").await.err().context("it has no room")?;
                ensure!(refused.code() == "budget_exceeded", "{refused}");
            }
            call(&run, "ask", json!({})).await?;
            ensure!(pay("large").await? == 7, "paid");
            Ok(())
        })
    };
    let recording = recorded(program).await?;
    run_again(recording, program).await??;
    Ok(())
}

#[tokio::test]
async fn numbers_are_the_same_after_a_file() -> Outcome {
    let program = |log: Runstone| {
        with(log, |run| async move {
            for n in 1..40_u32 {
                let odd = f64::from(n).sqrt() * 1e-7 / 3.0;
                call(&run, "weigh", json!({ "kg": odd, "n": n })).await?;
            }
            Ok(())
        })
    };
    let mut file = Vec::new();
    recorded(program).await?.write(&mut file)?;
    run_again(Recording::read(file.as_slice())?, program).await??;
    Ok(())
}

#[tokio::test]
async fn steps_whose_names_were_erased_are_found_by_their_places() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::create(folder.path().join("log.redb"))?;
    let program = |log: Runstone| async move {
        let run = log.run("bot").scope("ann").resume_or_start("run-1").await?;
        for node in ["plan", "settle"] {
            let step = run.step(node).run(|| async {
                let made = run.effect("pay").args(&json!({ "for": node }));
                let made = made.call(|| async { Ok::<u32, Failed>(7) }).await;
                made.or_else(|error| match error.code() {
                    "result_erased" => Ok(0),
                    _ => Err(error),
                })
            });
            step.await?;
        }
        run.finish(Status::Success).await?;
        anyhow::Ok(())
    };
    program(log.clone()).await?;
    log.erase(&runstone::Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
    let recording = Recording::of(&log, ["run-1"])?;
    run_again(recording, program).await??;
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_not_begun_is_told() -> Outcome {
    let recording = recorded(|log| with(log, |_| async { Ok(()) })).await?;
    let report = other(recording, |_| async { Ok(()) }).await?;
    assert_eq!(report.divergences[0].kind, DivergenceKind::NotBegun);
    Ok(())
}
