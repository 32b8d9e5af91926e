//! What programs without a runtime have, and how long calls wait.

use anyhow::{Context as _, ensure};
use runstone::approvals::ApprovalState;
use runstone::events::{ChatMessage, LlmCallCompleted, SessionAppended, StepSkipped};
use runstone::{
    CallError, DecodeRecord as _, EffectError, Executed, NewEvent, Query, Read, RunError,
    RunStatus, Runstone, Status, TypedEvent as _, runs,
};
use serde_json::json;
use std::io::Error;
use std::time::Duration;

type Outcome = anyhow::Result<()>;

/// Long enough that nothing waits for its end.
const PATIENCE: Duration = Duration::from_secs(3600);

#[test]
fn a_run_needs_no_runtime() -> Outcome {
    let log = Runstone::memory()?;
    ensure!(matches!(
        log.run("bot").resume_blocking("run-1"),
        Err(RunError::NotFound { .. })
    ));
    let run = log.run("bot").start_blocking("run-1")?;
    let begun = run.session().append_blocking("/messages", &"hello")?;
    run.session().append_blocking("/messages", &"never mind")?;
    run.llm_call_blocking(LlmCallCompleted::new("c1").input_tokens(3))?;
    run.roll_back_blocking(begun)?;
    let document = run.session().document_blocking()?;
    ensure!(document == json!({"messages": ["hello"]}));

    let said = ChatMessage::new("user").text("go on");
    let said = run.append_blocking(NewEvent::typed(&said, "elsewhere")?)?;
    ensure!(log.record(said)?.header.stream == "run-1");
    run.step("look")
        .llm_call_blocking(LlmCallCompleted::new("c2").output_tokens(4))?;
    run.step("look").block_blocking("a rule")?;
    run.step("pay").skip_blocking("nothing is due")?;
    run.pause_blocking(None)?;

    let run = log.run("bot").resume_blocking("run-1")?;
    let call = run.effect("pay").request_id("1");
    let refused = call.call_classified_blocking(
        || Err::<u64, _>(Error::other("closed")),
        |_| Some(Executed::No),
    );
    ensure!(matches!(refused, Err(CallError::Tool(_))));
    let pay = run
        .tool("pay")
        .key_from(["id"])
        .wrap_blocking(|args: serde_json::Value| {
            args["usd"].as_u64().ok_or_else(|| Error::other("no price"))
        });
    ensure!(pay(json!({"id": "a", "usd": 12}))? == 12);
    ensure!(
        pay(json!({"id": "a", "usd": 13}))? == 12,
        "it is the same call"
    );
    run.finish_with_blocking(Status::Success, Some(&12), None)?;

    let run = runs::get(&log, "run-1")?.context("it is there")?;
    ensure!(run.status == RunStatus::from(Status::Success));
    ensure!((run.usage.input_tokens, run.usage.output_tokens) == (3, 4));
    ensure!((run.counts.steps_blocked, run.counts.pauses) == (1, 1));
    Ok(())
}

#[test]
fn a_record_is_read_as_the_event_that_it_is() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start_blocking("run-1")?;
    run.session().append_blocking("/messages", &"hello")?;
    let appended = Query::of_type(SessionAppended::TYPE);
    let read = |read: Read| {
        log.read(read)?
            .next()
            .context("there is one")?
            .map_err(anyhow::Error::from)
    };
    let record = read(Read::new(appended.clone()))?;
    let said: SessionAppended = record.decode()?;
    ensure!((said.path.as_str(), said.items) == ("/messages", vec![json!("hello")]));
    ensure!(record.payload.json::<serde_json::Value>()?["path"] == "/messages");

    let other = record.decode::<StepSkipped>().unwrap_err();
    ensure!(other.code() == "schema_wrong_type");
    let skipped = read(Read::new(appended).without_payloads())?;
    let skipped = skipped.decode::<SessionAppended>().unwrap_err();
    ensure!(skipped.code() == "payload_skipped");
    Ok(())
}

/// Whoever makes the call never says what came of it.
#[test]
fn a_call_waits_for_another_one_no_longer_than_it_is_to() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start_blocking("run-1")?;
    let call = |run: &runstone::Run| run.effect("pay").request_id("1");
    let paid = call(&run).call_blocking(|| {
        let waited = call(&run).wait_at_most(Duration::from_millis(1));
        let error = waited.call_blocking(|| Ok::<_, Error>(2)).unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("wait_timed_out", true)
        );
        assert!(error.to_string().contains("`pay` is in flight"), "{error}");
        assert!(matches!(
            error,
            CallError::TimedOut { source, .. } if matches!(*source, EffectError::InFlight(_))
        ));
        Ok::<_, Error>(1)
    });
    ensure!(paid? == 1);
    // What has ended is not waited for.
    let waited = call(&run).wait_at_most(PATIENCE);
    ensure!(waited.call_blocking(|| Ok::<_, Error>(2))? == 1);
    Ok(())
}

#[test]
fn a_call_waits_for_people_no_longer_than_it_is_to() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start_blocking("run-1")?;
    let call = || run.effect("pay").request_id("1").approval("pay 12 dollars");
    let waited = call().wait_at_most(Duration::from_millis(1));
    let error = waited.call_blocking(|| Ok::<_, Error>(2)).unwrap_err();
    ensure!(error.code() == "wait_timed_out");
    let CallError::TimedOut { source, .. } = error else {
        anyhow::bail!("{error}")
    };
    let EffectError::NotApproved { request, .. } = *source else {
        anyhow::bail!("{source}")
    };
    let request = request.context("people were asked")?;
    ensure!(log.approvals().get(request)?.state == ApprovalState::Pending);
    Ok(())
}
