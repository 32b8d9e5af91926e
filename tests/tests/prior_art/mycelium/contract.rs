//! What its users rely on, item by item.

use super::{Fault, begin, code, one, open, pay, refused};
use runstone::effects::{Claim, Claimed, EffectFilter};
use runstone::{
    CallError, EffectClass, EffectState, Executed, KeySource, Position, Runstone, Status,
    VerifyOptions,
};
use runstone_tests::clocked::Clocked;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::Cell;

/// F1: how a call stands, and what a claim of it is answered.
#[test]
fn contract_1_states_and_answers() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    let times = Cell::new(0);
    let words: Vec<_> = EffectState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect();
    for word in ["in-flight", "completed", "failed"] {
        assert!(words.contains(&word), "{word}");
    }
    run.effect("pay").request_id("inv-1").call_blocking(|| {
        let second = run.effect("pay").request_id("inv-1");
        assert_eq!(code(second.call_blocking(|| Ok(2))), "in_flight");
        Ok::<_, Fault>(1)
    })?;
    // One that failed and was not made is made again.
    let call = |fails: bool| {
        let call = run
            .effect("post")
            .request_id("inv-2")
            .class(EffectClass::Idempotent);
        call.call_blocking(|| {
            times.set(times.get() + 1);
            if fails {
                Err(refused())
            } else {
                Ok(times.get())
            }
        })
    };
    assert_eq!(code(call(true)), "tool_failed");
    assert_eq!(call(false)?, 2);
    // A replay runs nothing and leaves no receipt: it is no event.
    let size = log.size();
    assert_eq!((call(false)?, times.get(), log.size()), (2, 2, size));
    Ok(())
}

/// F2: which key counts, and that a repetition with an id of its own is made again.
#[test]
fn contract_2_keys() -> Outcome {
    let log = Runstone::memory()?;
    let [first, second] = [begin(&log, "run-1")?, begin(&log, "run-2")?];
    let times = Cell::new(0);
    let count = || {
        times.set(times.get() + 1);
        Ok::<_, Fault>(times.get())
    };
    let args = json!({"a": 1});
    // By request: one for all runs. By a model's call and by arguments: one in its run.
    for (run, expected) in [(&first, 1), (&second, 1)] {
        let call = run.effect("look").args(&args).request_id("r");
        assert_eq!(call.call_blocking(count)?, expected);
    }
    for (run, expected) in [(&first, 2), (&second, 3), (&first, 2)] {
        let call = run.effect("look").args(&args).call_id("c");
        assert_eq!(call.call_blocking(count)?, expected);
    }
    for (run, expected) in [(&first, 4), (&second, 5), (&first, 4)] {
        assert_eq!(
            run.effect("look").args(&args).call_blocking(count)?,
            expected
        );
    }
    let again = first.effect("look").args(&args).request_id("another");
    assert_eq!(again.call_blocking(count)?, 6);
    // Tasks: an id for the scope, a run's with the task's name, fields of the business, arguments.
    let held = |claim: &Claim| -> Outcome<bool> {
        match log.effects().claim_blocking(claim) {
            Ok(claimed) => Ok(matches!(claimed, Claimed::Held(_))),
            Err(error) => Ok(error.code() != "in_flight"),
        }
    };
    let fields = |value: &str| KeySource::Business(vec![("invoice".to_owned(), value.to_owned())]);
    let keys = [
        (
            KeySource::Request("t".to_owned()),
            KeySource::Request("u".to_owned()),
        ),
        (
            KeySource::Run("r".to_owned()),
            KeySource::Run("s".to_owned()),
        ),
        (fields("1"), fields("2")),
    ];
    for (key, other) in keys {
        for (stream, key, expected) in [
            ("run-1", &key, true),
            ("run-2", &key, false),
            ("run-1", &other, true),
        ] {
            let task = Claim::task(stream, "bill").key(key.clone());
            assert_eq!(held(&task)?, expected, "{key:?}");
        }
    }
    assert!(held(
        &Claim::task("run-1", "post").key(KeySource::Run("r".to_owned()))
    )?);
    let by_args = Claim::task("run-1", "bill").args(&args)?;
    assert!(held(&by_args)?);
    assert!(!held(&Claim::task("run-2", "bill").args(&args)?)?);
    Ok(())
}

/// F3: when a call began and ended, how it failed, and that its caller gets the tool's own error.
#[test]
fn contract_3_times_and_errors() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let run = begin(&log, "run-1")?;
    let call = run.effect("look").request_id("q").class(EffectClass::Read);
    let failed = call.call_blocking(|| {
        site.clock.advance(5_000_000);
        Err::<u32, _>(Fault::new(std::io::ErrorKind::TimedOut, "no answer"))
    });
    let Err(CallError::Tool(error)) = failed else {
        return Err("the tool's own error".into());
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let effect = one(&log, &EffectFilter::new())?;
    assert_eq!(
        (effect.state, effect.executed),
        (EffectState::Failed, Some(Executed::No))
    );
    let record = log.record(effect.outcome.ok_or("it ended")?)?;
    assert_eq!(record.recorded_at_us - effect.claimed_at_us, 5_000_000);
    let said: Value = serde_json::from_slice(record.payload.bytes().unwrap_or_default())?;
    assert_eq!(said["error"]["message"], "no answer");
    assert_eq!(said["error"]["type"], "std::io::error::Error");
    Ok(())
}

/// F4: an outcome has a receipt that others check; here it is signed, with a key that only the log
/// has.
#[test]
fn contract_4_receipts() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    pay(&run, "inv-1", &Cell::new(0))?;
    let at = one(&log, &EffectFilter::new())?.outcome.ok_or("it ended")?;
    let file = log.receipt(at)?.encode();
    let policy = runstone::Policy::of_logs(log.vkeys()?)?;
    let receipt = runstone::Receipt::parse(&file)?;
    receipt.verify(&policy, &VerifyOptions::new())?;
    assert_eq!(log.receipt(at)?.encode(), file, "it is the same every time");
    assert!(log.receipt(Position::new(log.size())).is_err());
    Ok(())
}

/// F5: how sessions end and are gone on with, and what is said of one that nobody knows.
#[tokio::test]
async fn contract_5_sessions() -> Outcome {
    let log = Runstone::memory()?;
    let status = |id: &str| -> Outcome<String> {
        let run = runstone::runs::get(&log, id)?.ok_or("there is one")?;
        Ok(run.status.as_str().to_owned())
    };
    drop(log.run("bot").start("dropped").await?);
    let run = log.run("bot").start("panicked").await?;
    let panicked = std::thread::spawn(move || {
        let _run = run;
        panic!("in the middle");
    });
    assert!(panicked.join().is_err());
    log.run("bot")
        .start("done")
        .await?
        .finish(Status::Success)
        .await?;
    for (id, expected) in [
        ("dropped", "aborted"),
        ("panicked", "error"),
        ("done", "success"),
    ] {
        assert_eq!(status(id)?, expected);
    }
    for id in ["dropped", "panicked"] {
        let run = log.run("bot").resume(id).await?;
        run.session().patch(&json!({"again": 1})).await?;
        assert_eq!(run.session().document().await?, json!({"again": 1}));
    }
    let error = log.run("bot").resume("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "No flushed state found for run 'nobody'");
    Ok(())
}
