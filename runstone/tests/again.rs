//! A program runs again against what was recorded of it.

use anyhow::{Context as _, bail, ensure};
use runstone::approvals::ApprovalFilter;
use runstone::budgets::Open;
use runstone::codec::OsEntropy;
use runstone::replay::again::{Answer, DivergenceKind, Recording, Report, Tape, What};
use runstone::settings::ApprovalFrom;
use runstone::store::keys::Credential;
use runstone::{
    Authority, BudgetLimits, Dimension, EffectClass, Executed, Run, RunAgainError, Runstone,
    Settings, Status, run_again, run_again_blocking,
};
use serde_json::{Value, json};
use std::future::Future;
use std::io::Error as Failed;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

#[path = "again/lives.rs"]
mod lives;
#[path = "again/random.rs"]
mod random;

type Outcome = anyhow::Result<()>;

async fn begun(log: &Runstone) -> anyhow::Result<Run> {
    Ok(log.run("bot").resume_or_start("run-1").await?)
}

/// Calls a tool that answers with its arguments.
async fn call(run: &Run, name: &str, args: Value) -> anyhow::Result<Value> {
    let answer = args.clone();
    let call = run.effect(name).args(&args);
    let tool = || async {
        tokio::task::yield_now().await;
        Ok::<_, Failed>(answer)
    };
    Ok(call.call(tool).await?)
}

/// What a program did else.
async fn other<F, C>(recording: impl Into<Tape>, program: F) -> anyhow::Result<Report>
where
    F: FnOnce(Runstone) -> C,
    C: Future<Output = Outcome>,
{
    let tape: Tape = recording.into();
    match run_again(tape.wait_at_most(Duration::from_millis(50)), program).await {
        Err(RunAgainError::Diverged(report)) => Ok(report),
        Err(error) => Err(error.into()),
        Ok(output) => bail!("it did the same, and returned {output:?}"),
    }
}

/// `look`, then in a step `pay` and `tell`.
async fn three(log: Runstone) -> Outcome {
    with(log, |run| async move {
        call(&run, "look", json!({"invoice": "inv-1"})).await?;
        let paid = run.step("settle").run(|| async {
            call(&run, "pay", json!({"invoice": "inv-1", "usd": 12})).await?;
            call(&run, "tell", json!({"whom": "ann"})).await
        });
        paid.await.map(|_| ())?;
        Ok(())
    })
    .await
}

async fn with<C: Future<Output = Outcome>>(log: Runstone, work: impl FnOnce(Run) -> C) -> Outcome {
    let run = begun(&log).await?;
    work(run.clone()).await?;
    run.finish(Status::Success).await?;
    Ok(())
}

async fn recorded<C: Future<Output = Outcome>>(
    program: impl FnOnce(Runstone) -> C,
) -> anyhow::Result<Recording> {
    let log = Runstone::memory()?;
    program(log.clone()).await?;
    Ok(Recording::of(&log, ["run-1"])?)
}

#[tokio::test]
async fn the_same_program_does_the_same_and_nothing_is_called() -> Outcome {
    let counter = AtomicU32::new(0);
    let called = &counter;
    let program = |log: Runstone| async move {
        let run = log.run("bot").resume_or_start("run-1").await?;
        let paid: u32 = run
            .effect("pay")
            .args(&json!({"usd": 12}))
            .call(|| async { Ok::<_, Failed>(called.fetch_add(1, Ordering::Relaxed)) })
            .await?;
        run.finish(Status::Success).await?;
        anyhow::Ok(paid)
    };
    let log = Runstone::memory()?;
    program(log.clone()).await?;
    called.store(7, Ordering::Relaxed);
    let recording = Recording::of(&log, ["run-1"])?;
    assert_eq!(run_again(recording.clone(), program).await??, 0);
    assert_eq!(called.load(Ordering::Relaxed), 7);
    // The recording is not used up, and blocking programs have it too.
    let blocking = run_again_blocking(recording, |log| {
        let run = log.run("bot").resume_or_start_blocking("run-1")?;
        let call = run.effect("pay").args(&json!({"usd": 12}));
        let paid = call.call_blocking(|| -> Result<u32, Failed> { Err(Failed::other("called")) });
        run.finish_blocking(Status::Success)?;
        anyhow::Ok(paid?)
    });
    assert_eq!(blocking??, 0);
    Ok(())
}

#[tokio::test]
async fn another_call_is_told() -> Outcome {
    let recording = recorded(three).await?;
    run_again(recording.clone(), three).await??;

    let argument = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            let paid = run
                .step("settle")
                .run(|| async { call(&run, "pay", json!({"invoice": "inv-1", "usd": 13})).await });
            assert!(paid.await.is_err());
            // What comes after it is not answered any more.
            assert!(call(&run, "tell", json!({"whom": "ann"})).await.is_err());
            Ok(())
        })
    });
    let argument = argument.await?;
    let key = |report: &Report| {
        let key = report.divergences[0]
            .changes
            .iter()
            .find(|change| change.path == "/key");
        let texts = key.map(|key| [key.before.clone(), key.value.clone()]);
        texts.map(|texts| texts.map(|text| text.unwrap_or_default().to_string()))
    };
    let [before, after] = key(&argument).context("the key is of the arguments")?;
    assert_eq!(
        argument.to_string(),
        format!(
            "run `run-1`: a call with other arguments, after 2 as recorded\n  \
             expected  pay {{\"invoice\":\"inv-1\",\"usd\":12}}, recorded at position 5 in step `settle`\n  \
             got       pay {{\"invoice\":\"inv-1\",\"usd\":13}} in step `settle`\n    \
             ~ /args/usd 12 -> 13\n    \
             ~ /key {before} -> {after}"
        )
    );

    let name = other(recording.clone(), |log| {
        with(log, |run| async move {
            let looked = call(&run, "search", json!({"invoice": "inv-1"})).await;
            assert!(looked.is_err());
            Ok(())
        })
    });
    let name = name.await?.divergences.remove(0);
    assert_eq!(name.kind, DivergenceKind::ChangedName);
    let expected = name.expected.context("something was recorded")?;
    assert_eq!(
        (expected.name.as_str(), expected.position),
        ("look", Some(2))
    );

    Ok(())
}

#[tokio::test]
async fn another_order_and_what_is_missing_are_told() -> Outcome {
    let recording = recorded(three).await?;
    let order = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            let paid = run.step("settle").run(|| async {
                call(&run, "tell", json!({"whom": "ann"})).await?;
                call(&run, "pay", json!({"invoice": "inv-1", "usd": 12})).await
            });
            paid.await.map(|_| ())?;
            Ok(())
        })
    });
    assert_eq!(
        order.await?.to_string(),
        "run `run-1`: another order, after 2 as recorded\n  \
         expected  pay {\"invoice\":\"inv-1\",\"usd\":12}, recorded at position 5 in step `settle`\n  \
         got       tell {\"whom\":\"ann\"}, recorded at position 7 in step `settle`"
    );

    let missing = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            let told = run.step("settle");
            told.run(|| async { call(&run, "tell", json!({"whom": "ann"})).await })
                .await?;
            Ok(())
        })
    });
    assert_eq!(missing.await?.divergences[0].kind, DivergenceKind::Missing);
    let missing = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            Ok(())
        })
    });
    let missing = missing.await?;
    let names = missing.divergences.iter().map(|one| {
        let expected = one.expected.as_ref().map(|expected| expected.name.as_str());
        (one.kind, expected.unwrap_or_default())
    });
    let kind = DivergenceKind::Missing;
    let all = [(kind, "settle"), (kind, "pay"), (kind, "tell")];
    assert_eq!(names.collect::<Vec<_>>(), all);

    Ok(())
}

#[tokio::test]
async fn what_was_not_recorded_here_is_told() -> Outcome {
    let recording = recorded(three).await?;
    let extra = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            let paid = run.step("settle").run(|| async {
                call(&run, "pay", json!({"invoice": "inv-1", "usd": 12})).await?;
                call(&run, "tell", json!({"whom": "ann"})).await?;
                call(&run, "tell", json!({"whom": "bob"})).await
            });
            assert!(paid.await.is_err());
            Ok(())
        })
    });
    assert_eq!(
        extra.await?.to_string().lines().take(4).collect::<Vec<_>>(),
        [
            "run `run-1`: not recorded, after 4 as recorded",
            "  expected  nothing more",
            "  got       tell {\"whom\":\"bob\"} in step `settle`",
            "  nearest   tell {\"whom\":\"ann\"}, recorded at position 7 in step `settle`",
        ]
    );

    let step = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            let paid = run
                .step("pay-out")
                .run(|| async { Ok::<_, Failed>(()) })
                .await;
            assert_eq!(paid.unwrap_err().code(), "diverged");
            Ok(())
        })
    });
    let step = step.await?.divergences.remove(0);
    assert_eq!(step.kind, DivergenceKind::ChangedName);

    // Outside of the step in which it was recorded.
    let moved = other(recording.clone(), |log| {
        with(log, |run| async move {
            call(&run, "look", json!({"invoice": "inv-1"})).await?;
            assert!(
                call(&run, "pay", json!({"invoice": "inv-1", "usd": 12}))
                    .await
                    .is_err()
            );
            Ok(())
        })
    });
    let moved = moved.await?.divergences.remove(0);
    assert_eq!(moved.kind, DivergenceKind::ChangedOrder);

    let run = other(recording, |log| async move {
        let begun = log
            .run("bot")
            .start("run-9")
            .await
            .err()
            .context("it is not recorded")?;
        assert_eq!(begun.code(), "run_not_recorded");
        Ok(())
    });
    let run = run.await?.to_string();
    assert!(
        run.contains("run `run-9`: a run that is not recorded"),
        "{run}"
    );
    Ok(())
}

/// Three steps at once, each with two calls of the same names; and calls at once in one step.
async fn at_once(log: Runstone, order: [u32; 3]) -> Outcome {
    let work = with(log, |run| async move {
        let steps = order.map(|n| {
            let run = run.clone();
            async move {
                let step = run.step(format!("part-{n}"));
                let work = || async {
                    call(&run, "read", json!({ "part": n })).await?;
                    tokio::task::yield_now().await;
                    call(&run, "write", json!({ "part": n })).await
                };
                step.run(work).await.map(|_| ())
            }
        });
        let [a, b, c] = steps;
        let (a, b, c) = tokio::join!(a, b, c);
        a.and(b).and(c)?;
        let step = run.step("all");
        let work = || async {
            let [a, b, c] = order.map(|n| call(&run, "check", json!({ "part": n })));
            let (a, b, c) = tokio::join!(a, b, c);
            a.and(b).and(c)?;
            call(&run, "end", json!({})).await
        };
        step.run(work).await?;
        Ok(())
    });
    Box::pin(work).await
}

#[tokio::test]
async fn what_went_on_at_once_may_come_in_any_order() -> Outcome {
    let recording = recorded(|log| at_once(log, [1, 2, 3])).await?;
    run_again(recording.clone(), |log| at_once(log, [3, 1, 2])).await??;
    // Inside of a branch the order counts.
    let swapped = |log| {
        with(log, |run| async move {
            let step = run.step("part-2");
            let work = || async {
                call(&run, "write", json!({"part": 2})).await?;
                call(&run, "read", json!({"part": 2})).await
            };
            step.run(work).await?;
            Ok(())
        })
    };
    let swapped = other(recording, swapped).await?.divergences.remove(0);
    assert_eq!(swapped.kind, DivergenceKind::ChangedOrder);
    Ok(())
}

#[tokio::test]
async fn answers_come_in_the_order_in_which_they_came() -> Outcome {
    // Two strands outside of any step: the second goes through while the first waits for one call.
    let program = |log: Runstone, wait: Option<oneshot::Receiver<()>>, go: oneshot::Sender<()>| {
        with(log, |run| async move {
            let slow = async {
                let slow = run.effect("slow").args(&1);
                let answer = slow.call(|| async {
                    if let Some(wait) = wait {
                        let _ = wait.await;
                    }
                    Ok::<_, Failed>(1)
                });
                answer.await?;
                call(&run, "after", json!({})).await
            };
            let quick = async {
                for n in 0..3 {
                    call(&run, "quick", json!({ "n": n })).await?;
                }
                let _ = go.send(());
                anyhow::Ok(())
            };
            let (slow, quick) = tokio::join!(slow, quick);
            slow.map(|_| ()).and(quick)
        })
    };
    let (go, wait) = oneshot::channel();
    let recording = recorded(|log| program(log, Some(wait), go)).await?;
    let (go, _) = oneshot::channel();
    run_again(recording, |log| program(log, None, go)).await??;
    Ok(())
}

/// Two lives: the first one is dropped in the middle of its step.
async fn flaky(log: Runstone, is_cut: bool) -> Outcome {
    let run = begun(&log).await?;
    let (reached, at) = oneshot::channel::<()>();
    let step = run.step("work");
    let work = || async {
        call(&run, "first", json!({})).await?;
        if is_cut {
            let _ = reached.send(());
            std::future::pending::<()>().await;
        }
        let flaky = || run.effect("flaky").class(EffectClass::Idempotent).args(&());
        let failed = flaky().call(|| async { Err::<u32, _>(Failed::other("busy")) });
        let failed = failed.await.err().context("it fails")?;
        ensure!((failed.code(), failed.to_string().as_str()) == ("tool_failed", "busy"));
        let second = flaky().call(|| async { Ok::<u32, Failed>(5) }).await?;
        let lost = run.effect("lost").args(&());
        let lost = lost.call_classified(
            || async { Err::<u32, _>(Failed::other("no route")) },
            |_| Some(Executed::Yes),
        );
        assert_eq!(
            lost.await.err().context("it fails")?.to_string(),
            "no route"
        );
        anyhow::Ok(second)
    };
    let done = tokio::select! {
        biased;
        done = step.run(work) => done,
        _ = at, if is_cut => return Ok(()),
    };
    assert_eq!(done?, 5);
    // Done before it is done once; what failed is tried again.
    let again = run
        .step("tell")
        .run(|| async { Err::<(), _>(Failed::other("nobody")) });
    assert!(again.await.is_err());
    let told = run.step("tell").run(|| call(&run, "tell", json!({})));
    told.await?;
    run.finish(Status::Success).await?;
    Ok(())
}

#[tokio::test]
async fn failures_come_again_and_lives_that_were_cut_short_are_one() -> Outcome {
    let recording = recorded(|log| async move {
        flaky(log.clone(), true).await?;
        flaky(log, false).await
    });
    let recording = recording.await?;
    run_again(recording.clone(), |log| flaky(log, false)).await??;
    // The recording of the first life alone goes on live, where that is asked for.
    let log = Runstone::memory()?;
    flaky(log.clone(), true).await?;
    let cut = Recording::of(&log, ["run-1"])?;
    let stopped = other(cut.clone(), |log| async move {
        assert!(flaky(log, false).await.is_err());
        Ok(())
    });
    let stopped = stopped.await?.divergences.remove(0);
    assert_eq!(stopped.kind, DivergenceKind::Extra);
    run_again(Tape::new(cut).then_live(), |log| flaky(log, false)).await??;
    // One that ended goes on only when all of it was done.
    let tape = Tape::new(recorded(three).await?).then_live();
    let log = Runstone::against(tape)?;
    three(log.clone()).await?;
    let run = log.run("bot").resume("run-1").await?;
    assert_eq!(call(&run, "more", json!({})).await?, json!({}));
    let report = log.tape().context("it runs again")?.report();
    assert_eq!(
        report.to_string(),
        "as recorded: 4 steps and calls, then 1 calls live"
    );
    Ok(())
}

/// Pays, if people let it.
async fn asking(log: Runstone) -> anyhow::Result<Result<u32, String>> {
    let run = begun(&log).await?;
    let pay = run.effect("pay").args(&json!({"usd": 12}));
    let paid = pay.approval("pay 12 dollars");
    let paid = paid.call(|| async { Ok::<u32, Failed>(7) }).await;
    run.finish(Status::Success).await?;
    Ok(paid.map_err(|error| error.to_string()))
}

#[tokio::test]
async fn what_was_refused_is_refused_and_what_was_approved_is_answered() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.redb");
    let log = Runstone::create(&path)?;
    let file = folder.path().join("ada");
    let key = Credential::create(&file, "ada", Authority::Human, &OsEntropy)?;
    log.enrol("ada", Authority::Human, &key.public_key())?;
    assert!(asking(log.clone()).await?.is_err());
    let recording = Recording::of(&log, ["run-1"])?;
    let refused = run_again(recording, asking).await??.unwrap_err();
    let said = "`pay` was refused when it was recorded, at position 3: pending";
    assert_eq!(refused, said);

    let ada = log.with_credential(&key)?.approvals();
    let asked = ada.list(&ApprovalFilter::new())?.remove(0);
    ada.vote(asked.position, true, None).await?;
    let run = log.run("bot").resume("run-1").await?;
    let pay = run
        .effect("pay")
        .args(&json!({"usd": 12}))
        .approval("pay 12 dollars");
    assert_eq!(pay.call(|| async { Ok::<u32, Failed>(7) }).await?, 7);
    run.finish(Status::Success).await?;
    let recording = Recording::of(&log, ["run-1"])?;
    assert_eq!(run_again(recording, asking).await??, Ok(7));
    Ok(())
}

#[tokio::test]
async fn neither_budgets_nor_settings_are_in_the_way() -> Outcome {
    let log = Runstone::memory()?;
    let mut settings = Settings::default();
    settings.effects.max_attempts = 9;
    settings.approvals.approval_from = ApprovalFrom::Irreversible;
    settings.record(&log)?;
    let limits = BudgetLimits::new().of(Dimension::ToolCalls, 1);
    log.budgets()
        .open(&Open::new("team").limits(limits))
        .await?;
    let program = |log: Runstone| async move {
        let run = log
            .run("bot")
            .budget("team")
            .resume_or_start("run-1")
            .await?;
        let mut failures = 0;
        for _ in 0..7 {
            let flaky = run.effect("flaky").class(EffectClass::Idempotent);
            let failed = flaky.call(|| async { Err::<u32, _>(Failed::other("busy")) });
            failures += u32::from(
                failed
                    .await
                    .is_err_and(|error| error.code() == "tool_failed"),
            );
        }
        call(&run, "look", json!({})).await?;
        let over = call(&run, "pay", json!({})).await;
        run.finish(Status::Success).await?;
        anyhow::Ok((failures, over.is_err()))
    };
    assert_eq!(program(log.clone()).await?, (7, true));
    let recording = Recording::of(&log, ["run-1"])?;
    assert_eq!(run_again(recording, program).await??, (7, true));
    Ok(())
}

#[tokio::test]
async fn what_was_erased_is_not_made_up_and_not_called() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::create(folder.path().join("log.redb"))?;
    let program = |log: Runstone| async move {
        let run = log.run("bot").scope("ann").resume_or_start("run-1").await?;
        let paid = run.effect("pay").args(&json!({"usd": 12}));
        let paid = paid.call(|| async { Ok::<u32, Failed>(7) }).await;
        run.finish(Status::Success).await?;
        anyhow::Ok(paid.map_err(|error| error.code()))
    };
    assert_eq!(program(log.clone()).await?, Ok(7));
    let erase = runstone::Erase::new("ann", "gdpr-17-1-b");
    log.erase(&erase, &|_, _| {})?;
    let recording = Recording::of(&log, ["run-1"])?;
    assert_eq!(run_again(recording, program).await??, Err("result_erased"));
    Ok(())
}

#[tokio::test]
async fn a_fork_is_run_again_from_what_it_shares() -> Outcome {
    let log = Runstone::memory()?;
    let run = begun(&log).await?;
    run.session().append("/messages", &"hello").await?;
    call(&run, "look", json!({})).await?;
    let at = run.session().append("/messages", &"go on").await?;
    run.finish(Status::Success).await?;
    let fork = |log: Runstone| async move {
        let run = log.run("bot").fork_of("run-1", at).start("run-2").await?;
        assert_eq!(
            run.session().document().await?,
            json!({"messages": ["hello", "go on"]})
        );
        // Made before, and once.
        call(&run, "look", json!({})).await?;
        call(&run, "pay", json!({})).await?;
        run.finish(Status::Success).await?;
        anyhow::Ok(())
    };
    fork(log.clone()).await?;
    let recording = Recording::of(&log, ["run-2"])?;
    run_again(recording, fork).await??;
    Ok(())
}

#[tokio::test]
async fn a_recording_is_a_file_that_is_read_back() -> Outcome {
    let recording = recorded(|log| flaky(log, false)).await?;
    let mut file = Vec::new();
    recording.write(&mut file)?;
    let read = Recording::read(file.as_slice())?;
    let mut again = Vec::new();
    read.write(&mut again)?;
    assert_eq!(String::from_utf8(again)?, String::from_utf8(file.clone())?);
    run_again(read, |log| flaky(log, false)).await??;
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    let code = |bytes: &[u8]| {
        Recording::read(bytes)
            .map(|_| ())
            .map_err(|error| error.code())
    };
    assert_eq!(code(b""), Err("not_a_recording"));
    assert_eq!(code(b"{\"runstone_recording\":2}\n"), Err("newer_format"));
    assert_eq!(code(&file[..file.len() - 9]), Err("not_a_recording"));
    assert_eq!(code(&[lines[0], lines[2]].concat()), Err("not_a_recording"));
    assert_eq!(
        code(&[lines[0], lines[1], lines[1]].concat()),
        Err("not_a_recording")
    );
    assert_eq!(
        code(&[lines[0], lines[1], lines[3], lines[2]].concat()),
        Err("not_a_recording")
    );
    assert_eq!(code(lines[0]), Ok(()));
    Ok(())
}

/// The file is one that an earlier version wrote: it is read for ever.
#[tokio::test]
async fn a_recording_of_long_ago_runs_again_and_is_written_the_same() -> Outcome {
    runstone::assert_runs_again!("tests/recordings/three.jsonl", three)?;
    let mut file = Vec::new();
    recorded(three).await?.write(&mut file)?;
    let file = String::from_utf8(file)?;
    assert_eq!(file, include_str!("recordings/three.jsonl"));
    let format = include_str!("../../docs/FORMAT.md");
    assert!(format.contains(&file), "docs/FORMAT.md shows it");
    Ok(())
}

#[tokio::test]
async fn what_comes_from_chance_can_be_left_out() -> Outcome {
    let program = |log: Runstone, id: u32| {
        with(log, move |run| async move {
            call(&run, "pay", json!({"usd": 12, "meta": {"id": id}})).await?;
            Ok(())
        })
    };
    let recording = recorded(|log| program(log, 1)).await?;
    other(recording.clone(), |log| program(log, 2)).await?;
    let tape = Tape::new(recording).ignore("/meta/id");
    run_again(tape, |log| program(log, 2)).await??;
    Ok(())
}

#[tokio::test]
async fn calls_say_in_which_step_they_were_made() -> Outcome {
    let log = Runstone::memory()?;
    three(log.clone()).await?;
    let recording = Recording::of(&log, ["run-1"])?;
    let items = recording.runs["run-1"].items.iter().map(|item| {
        let name = match &item.what {
            What::Step(step) => step.to_string(),
            What::Call { name, answer, .. } => {
                assert!(matches!(answer, Answer::Completed { .. }));
                name.clone().unwrap_or_default()
            }
            _ => String::new(),
        };
        (name, item.branch.as_ref().map(ToString::to_string))
    });
    let settle = || Some("step `settle`".to_owned());
    assert_eq!(
        items.collect::<Vec<_>>(),
        [
            ("look".to_owned(), None),
            ("step `settle`".to_owned(), None),
            ("pay".to_owned(), settle()),
            ("tell".to_owned(), settle()),
        ]
    );
    Ok(())
}
