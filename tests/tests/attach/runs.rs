//! Runs of processes that do not hold the log: whoever dies, nobody does a call twice, and nobody
//! records in a run that somebody else goes on with.

use runstone::attach::{Limits, connect, socket_of};
use runstone::budgets::{BudgetLimits, Dimension, Open};
use runstone::codec::Position;
use runstone::replay::{
    Fork, Point, RollBack, State, compare, fork_blocking, roll_back_blocking, state,
};
use runstone::runs::{self, RunStatus};
use runstone::tasks::NewTask;
use runstone::{EffectClass, NewEvent, Query, Read, Runstone, Status, effects};
use runstone_tests::clocked::{START_US, memory};
use runstone_tests::held::{Site, post};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};

/// How long a run from elsewhere is held without a word, by default.
const LEASE_US: u64 = 60_000_000;

#[test]
fn a_run_whose_process_says_nothing_can_be_resumed_by_another() -> Outcome {
    let site = Site::new()?;
    let (log, clock) = memory(START_US)?;
    let here = Runstone::serve(log, &site.log, Limits::default())?;
    let there = || -> Outcome<Runstone> { Ok(connect(&socket_of(&site.log))?.into()) };
    let (first, second) = (there()?, there()?);
    let run = first.run("bot").resume_or_start_blocking("run-1")?;
    run.session().patch_blocking(&json!({"turn": 1}))?;
    let held = second.run("bot").resume_or_start_blocking("run-1");
    assert_eq!(held.unwrap_err().code(), "run_held");
    // A call in flight, whose process is gone.
    let effect = run
        .effect("pay")
        .request_id("1")
        .class(EffectClass::Irreversible);
    let told = effect.call_blocking(|| {
        clock.advance(LEASE_US);
        let found = effects::list(&here, &effects::EffectFilter::new());
        let found = found.map_err(|error| std::io::Error::other(error.to_string()))?;
        assert!(found[0].is_expired);
        let summary = runs::get(&here, "run-1").unwrap().unwrap();
        assert_eq!(summary.status, RunStatus::Crashed);
        let other = second.run("bot").resume_or_start_blocking("run-1").unwrap();
        assert!(other.is_resumed());
        let session = runstone::sessions::state(&second, "run-1").unwrap();
        assert_eq!(session.document.to_value(), json!({"turn": 1}));
        let unknown = other
            .effect("pay")
            .request_id("1")
            .class(EffectClass::Irreversible);
        let unknown = unknown.call_blocking(|| Ok::<u64, std::io::Error>(2));
        assert_eq!(unknown.unwrap_err().code(), "effect_unknown");
        other.finish_blocking(Status::Success).unwrap();
        Ok::<u64, std::io::Error>(1)
    });
    // It was made, and is in doubt: that somebody else gave it up is what everybody was told.
    assert_eq!(told.unwrap_err().code(), "outcome_unrecorded");
    let found = effects::list(&here, &effects::EffectFilter::new())?;
    assert_eq!(found[0].state, effects::State::Unknown);
    let late = run.session().patch_blocking(&json!({"turn": 2}));
    assert_eq!(late.unwrap_err().code(), "stale_run");
    drop(run);
    let summary = runs::get(&here, "run-1")?.ok_or("there is one")?;
    assert_eq!(summary.status, RunStatus::Success);
    Ok(())
}

#[test]
fn who_holds_a_run_records_what_is_of_it_and_nothing_else() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let run = here.run("bot").resume_or_start_blocking("run-1")?;
    let fence = here.record_by_revision("run-1", 0)?.position.get();
    let size = here.size();
    let record = |fence: u64, event: &str, stream: &str, control: &str| {
        let body = json!({
            "held": {"stream": "run-1", "fence": fence},
            "drafts": [{
                "event": {"type": event, "stream": stream, "data": {}},
                "control": control,
                "keyed": [],
            }],
        });
        post(&site.socket(), "run/record", &body.to_string())
    };
    // Nothing, and a status.
    let (empty, some) = ("", "oQFhYQ==");
    for (event, stream, control) in [
        ("run.resumed", "run-1", empty),
        ("run.started", "run-1", empty),
        ("run.lease_renewed", "run-1", empty),
        ("session.snapshotted", "run-1", empty),
        ("effect.completed", "run-1", empty),
        ("approval.decided", "run-1", empty),
        ("log.configured", "run-1", empty),
        ("chat.message", "run-2", empty),
        ("chat.message", "run-1", some),
        ("session.patched", "run-1", some),
    ] {
        let (status, told) = record(fence, event, stream, control)?;
        assert_eq!(
            (status, &told["code"]),
            (400, &json!("not_of_run")),
            "{event} in {stream}"
        );
    }
    let (status, told) = record(fence + 1, "chat.message", "run-1", empty)?;
    assert_eq!((status, &told["code"]), (409, &json!("stale_run")));
    let (_, told) = record(fence, "chat.message", "run-1", "not base64")?;
    assert_eq!(told["code"], json!("bad_request"));
    assert_eq!(here.size(), size);
    assert_eq!(record(fence, "chat.message", "run-1", empty)?.0, 200);
    assert_eq!(here.size(), size + 1);
    drop(run);
    Ok(())
}

/// The process that holds the log dies in the middle of a call, and another one takes its place.
#[test]
fn a_run_goes_on_when_the_holder_is_replaced() -> Outcome {
    let site = Site::new()?;
    drop(Runstone::create(&site.log)?);
    let mut holder = Some(site.holder()?);
    let log = Runstone::open(&site.log)?;
    assert!(log.is_attached());
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let made = AtomicU32::new(0);
    for turn in 0_u32..3 {
        let paid = run
            .effect("pay")
            .request_id(turn.to_string())
            .call_blocking(|| {
                if let Some(holder) = holder.take() {
                    holder.kill().map_err(|error| error.to_string())?;
                }
                holder = Some(site.holder().map_err(|error| error.to_string())?);
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, String>(turn)
            });
        assert_eq!(paid?, turn);
        run.session().append_blocking("/turns", &turn)?;
        let again = run.effect("pay").request_id(turn.to_string());
        assert_eq!(
            again.call_blocking(|| Err::<u32, _>("made twice".to_owned()))?,
            turn
        );
    }
    assert_eq!(made.load(Ordering::Relaxed), 3);
    run.finish_blocking(Status::Success)?;
    holder.take().ok_or("somebody holds it")?.kill()?;
    let here = Runstone::open(&site.log)?;
    assert!(!here.is_attached());
    let summary = runs::get(&here, "run-1")?.ok_or("there is one")?;
    assert_eq!(summary.status, RunStatus::Success);
    let session = runstone::sessions::state(&here, "run-1")?;
    assert_eq!(session.document.to_value(), json!({"turns": [0, 1, 2]}));
    Ok(())
}

/// A handle is for the log that it was opened for, whatever stands in its place later.
#[test]
fn another_log_in_the_same_place_is_told_apart() -> Outcome {
    let site = Site::new()?;
    let first = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;
    there.append_blocking(NewEvent::new("chat.message", "s"))?;
    first.close_blocking()?;
    drop(first);
    let other = Site::named("log.redb")?;
    drop(Runstone::create(&other.log)?);
    for name in ["log.redb", "log.redb.head", "log.redb.keys"] {
        std::fs::rename(site.path(name), site.path(&format!("old-{name}")))?;
        std::fs::rename(other.path(name), site.path(name))?;
    }
    let second = Runstone::open(&site.log)?;
    assert!(!second.is_attached());
    let told = there.append_blocking(NewEvent::new("chat.message", "s"));
    assert_eq!(told.unwrap_err().code(), "other_log");
    let told = there.read(Read::new(Query::stream("s"))).map(drop);
    assert_eq!(told.unwrap_err().code(), "other_log");
    assert_eq!(second.size(), 1);
    Ok(())
}

/// What was there at a point is read, forked and gone back to through another process as in this one.
#[tokio::test]
async fn time_is_travelled_through_another_process() -> Outcome {
    let site = Site::new()?;
    Runstone::create(&site.log)?.close_blocking()?;
    let holder = site.holder()?;
    let there = Runstone::open(&site.log)?;
    assert!(there.is_attached());
    let limits = BudgetLimits::new().of(Dimension::Steps, 9);
    there
        .budgets()
        .open_blocking(&Open::new("agent").limits(limits))?;
    let run = there.run("bot").budget("agent").start("run").await?;
    let tasks = runstone::Tasks::new(&there).stream("run");
    tasks.create_blocking(&NewTask::new("t-1"))?;
    let mut points = Vec::new();
    for n in 0..3_u64 {
        let work = || async { Ok::<_, std::io::Error>(n) };
        run.step(format!("step-{n}")).run(work).await?;
        let call = run.effect("pay").call_id(format!("c{n}"));
        call.call(|| async { Ok::<_, std::io::Error>(n) }).await?;
        points.push(run.session().patch(&json!({ "n": n })).await?);
    }
    let stood = |log: &Runstone, stream: &str, at: Position| -> Outcome<State> {
        Ok(state(log, stream, at)?.ok_or("it is a run")?)
    };
    let counts = |state: &State| {
        let counts = [state.steps.len(), state.effects.len(), state.tasks.len()];
        (state.session.document.to_value(), counts)
    };
    for (n, at) in points.iter().enumerate() {
        let then = stood(&there, "run", *at)?;
        assert_eq!(counts(&then), (json!({ "n": n }), [n + 1, n + 1, 1]));
        assert_eq!(then.budgets.len(), 1);
        assert_eq!(then.budgets[0].spent.get(&Dimension::Steps), n as u64 + 1);
    }

    fork_blocking(&there, &Fork::new("fork", "run", points[1]))?;
    let forked = Point::Newest.find(&there, "fork")?.ok_or("it is there")?;
    let fork = there.run("bot").resume("fork").await?;
    fork.session().patch(&json!({"n": "fork"})).await?;
    drop(fork);
    assert_eq!(
        counts(&stood(&there, "fork", forked)?),
        (json!({"n": 1}), [2, 2, 0])
    );
    let compared = compare(&there, "run", "fork")?;
    assert!(compared.first.is_some(), "they part after the second step");

    let back = RollBack::new("run", points[0]);
    let refused = roll_back_blocking(&there, &back).unwrap_err();
    assert_eq!(refused.code(), "not_allowed");
    let back_at = run.roll_back(points[0]).await?;
    assert_eq!(
        counts(&stood(&there, "run", back_at)?),
        (json!({"n": 0}), [1, 3, 1])
    );
    run.finish(Status::Success).await?;

    // The same is told where the file is, once nobody else holds it.
    points.extend([forked, back_at]);
    let told: Vec<_> = points
        .iter()
        .map(|at| state(&there, "run", *at))
        .collect::<Result<_, _>>()?;
    drop(tasks);
    there.close_blocking()?;
    drop(there);
    holder.kill()?;
    let here = Runstone::open(&site.log)?;
    assert!(!here.is_attached());
    for (at, told) in points.iter().zip(told) {
        assert_eq!(state(&here, "run", *at)?, told, "as of {at}");
    }
    Ok(())
}
