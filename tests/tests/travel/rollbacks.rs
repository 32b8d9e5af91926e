//! A rollback is a fact: session and steps go back, what happened stays.

use runstone::approvals::{ApprovalRequest, ApprovalState, Approvals, Vote};
use runstone::budgets::{Amounts, BudgetLimits, Dimension, Open};
use runstone::codec::{Authority, Position};
use runstone::effects::{Change, Claim, Claimed};
use runstone::replay::{Fork, RollBack, fork_blocking, roll_back_blocking, state};
use runstone::runs::RunStatus;
use runstone::store::Decision;
use runstone::{EffectClass, Hold, Run, Runstone, Status, runs, sessions};
use runstone_tests::clocked::enrolled;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::Cell;

async fn step(run: &Run, node: &str, output: u32) -> Outcome<u32> {
    let step = run
        .step(node)
        .run(|| async { Ok::<_, std::io::Error>(output) });
    Ok(step.await?)
}

async fn pay(run: &Run, id: &str, made: &Cell<u32>) -> Outcome<u32> {
    let call = run.effect("pay").call_id(id).class(EffectClass::Write);
    let called = call.call(|| async {
        made.set(made.get() + 1);
        Ok::<_, std::io::Error>(made.get())
    });
    Ok(called.await?)
}

async fn document(run: &Run) -> Outcome<Value> {
    Ok(run.session().document().await?)
}

fn at(log: &Runstone, stream: &str, end: Position) -> Outcome<Value> {
    let session = sessions::state_at(log, stream, Some(end))?;
    // Snapshots agree with the changes.
    assert_eq!(
        session.document,
        sessions::folded(log, stream, Some(end))?.document
    );
    Ok(session.document.to_value())
}

#[tokio::test]
async fn session_and_steps_go_back_and_what_was_called_stays_called() -> Outcome {
    let log = Runstone::memory()?;
    let made = Cell::new(0);
    let run = log.run("bot").start("run").await?;
    assert_eq!(step(&run, "plan", 1).await?, 1);
    let to = run.session().patch(&json!({"n": 1})).await?;
    let dropped = run.session().patch(&json!({"n": 2, "m": 2})).await?;
    assert_eq!(step(&run, "act", 2).await?, 2);
    assert_eq!(pay(&run, "c1", &made).await?, 1);
    let back = run.roll_back(to).await?;
    assert_eq!(document(&run).await?, json!({"n": 1}));
    // A step that was taken back is done again; one from before is not; a call never is.
    assert_eq!(step(&run, "plan", 10).await?, 1);
    assert_eq!(step(&run, "act", 20).await?, 20);
    assert_eq!(pay(&run, "c1", &made).await?, 1);
    run.session().patch(&json!({"k": 3})).await?;
    drop(run);

    // Whoever resumes it has it so.
    let run = log.run("bot").resume("run").await?;
    assert_eq!(document(&run).await?, json!({"n": 1, "k": 3}));
    assert_eq!(step(&run, "act", 30).await?, 20);
    // Points before the rollback are as they were.
    assert_eq!(at(&log, "run", dropped)?, json!({"n": 2, "m": 2}));
    assert_eq!(at(&log, "run", back)?, json!({"n": 1}));
    let then = state(&log, "run", back)?.ok_or("it is a run")?;
    assert_eq!(then.steps.len(), 1);
    assert_eq!(then.effects.len(), 1);
    Ok(())
}

#[tokio::test]
async fn back_past_a_rollback_and_to_what_was_dropped() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    let mut put = Vec::new();
    for n in 0..3 {
        put.push(run.session().append("/list", &n).await?);
    }
    run.roll_back(put[0]).await?;
    run.session().append("/list", &10).await?;
    let after = run.session().append("/list", &11).await?;
    assert_eq!(document(&run).await?, json!({"list": [0, 10, 11]}));
    // Past the first rollback.
    run.roll_back(put[1]).await?;
    assert_eq!(document(&run).await?, json!({"list": [0, 1]}));
    run.session().append("/list", &20).await?;
    // To what a rollback had taken back, and what that one had left.
    run.roll_back(after).await?;
    assert_eq!(document(&run).await?, json!({"list": [0, 10, 11]}));
    run.roll_back(put[2]).await?;
    assert_eq!(document(&run).await?, json!({"list": [0, 1, 2]}));
    assert_eq!(
        sessions::items(&log, "run", "/list", (0, 9))?,
        [json!(0), json!(1), json!(2)]
    );
    // Before its first change.
    run.roll_back(Position::new(put[0].get() - 1)).await?;
    assert_eq!(document(&run).await?, json!({}));
    assert_eq!(
        run.roll_back(Position::new(0)).await.unwrap_err().code(),
        "no_such_point"
    );
    Ok(())
}

#[tokio::test]
async fn snapshots_of_what_was_taken_back_are_passed_over() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    let to = run.session().patch(&json!({"n": 1})).await?;
    let long = "x".repeat(1 << 19);
    for n in 0..4 {
        run.session()
            .patch(&json!({ format!("long{n}"): long }))
            .await?;
    }
    let snapshots = |log: &Runstone| log.count(&runstone::Query::of_type("session.snapshotted"));
    assert!(snapshots(&log)? > 0);
    run.roll_back(to).await?;
    assert_eq!(document(&run).await?, json!({"n": 1}));
    let end = Position::new(log.size() - 1);
    assert_eq!(at(&log, "run", end)?, json!({"n": 1}));
    // One that was folded before the rollback and recorded after it says nothing of what is.
    let before = sessions::state_at(&log, "run", Some(Position::new(end.get() - 1)))?;
    let taken = runstone::events::SessionSnapshotted {
        document: before.document.to_value(),
    };
    let last = before.last.ok_or("it was changed")?;
    let control = runstone::events::SessionSnapshotted::control(last.get(), before.changes, 0);
    let event = runstone::NewEvent::typed(&taken, "run")?;
    let draft = runstone::codec::Draft::new(event).control(control);
    let none = runstone::codec::Control::new;
    log.command_blocking(vec![draft], move |_| Ok(Decision::record(0, none(), ())))?;
    let end = Position::new(log.size() - 1);
    assert_eq!(at(&log, "run", end)?, json!({"n": 1}));
    Ok(())
}

#[tokio::test]
async fn a_fork_goes_back_into_what_it_shares() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").start("run").await?;
    let first = run.session().append("/list", &0).await?;
    let second = run.session().append("/list", &1).await?;
    let third = run.session().append("/list", &2).await?;
    let fork = log.run("bot").fork_of("run", second).start("fork").await?;
    fork.session().append("/list", &10).await?;
    fork.roll_back(first).await?;
    assert_eq!(document(&fork).await?, json!({"list": [0]}));
    fork.session().append("/list", &11).await?;
    assert_eq!(document(&fork).await?, json!({"list": [0, 11]}));
    // Nothing of the other run that it does not share, wherever it goes back to.
    fork.roll_back(third).await?;
    assert_eq!(document(&fork).await?, json!({"list": [0, 1]}));
    // A rollback of the other run concerns forks from there on.
    let at = run.roll_back(first).await?;
    assert_eq!(document(&fork).await?, json!({"list": [0, 1]}));
    let later = log.run("bot").fork_of("run", at).start("later").await?;
    assert_eq!(document(&later).await?, json!({"list": [0]}));
    let earlier = log
        .run("bot")
        .fork_of("run", third)
        .start("earlier")
        .await?;
    assert_eq!(document(&earlier).await?, json!({"list": [0, 1, 2]}));
    Ok(())
}

#[tokio::test]
async fn who_holds_the_run_rolls_it_back_or_a_person() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::memory()?;
    let entropy = runstone::codec::OsEntropy;
    let person = |name: &str, authority| -> Outcome<Runstone> {
        let path = folder.path().join(name);
        let made = runstone::store::keys::Credential::create(&path, name, authority, &entropy)?;
        log.enrol(name, authority, &made.public_key())?;
        Ok(log.with_credential(&made)?)
    };
    let (ann, bot) = (
        person("ann", Authority::Human)?,
        person("bot", Authority::Agent)?,
    );
    let run = log.run("bot").start("run").await?;
    let to = run.session().patch(&json!({"n": 1})).await?;
    run.session().patch(&json!({"n": 2})).await?;
    let fence = runs::get(&log, "run")?.ok_or("it is a run")?.fence;
    let back = RollBack::new("run", to);
    for nobody in [&log, &bot] {
        let refused = roll_back_blocking(nobody, &back).unwrap_err();
        assert_eq!(refused.code(), "not_allowed");
    }
    let late = back.clone().fence(Position::new(fence.get() - 1));
    assert_eq!(
        roll_back_blocking(&log, &late).unwrap_err().code(),
        "stale_run"
    );
    assert_eq!(document(&run).await?, json!({"n": 2}));
    roll_back_blocking(&bot, &back.clone().fence(fence))?;
    assert_eq!(
        runs::get(&log, "run")?.ok_or("it is a run")?.status,
        RunStatus::Running
    );

    // What its holder knows is not so any more, so nobody holds it.
    roll_back_blocking(&ann, &back)?;
    assert_eq!(
        runs::get(&log, "run")?.ok_or("it is a run")?.status,
        RunStatus::RolledBack
    );
    assert_eq!(
        run.session()
            .patch(&json!({"n": 3}))
            .await
            .unwrap_err()
            .code(),
        "stale_run"
    );
    let run = log.run("bot").resume("run").await?;
    assert_eq!(document(&run).await?, json!({"n": 1}));
    run.finish(Status::Success).await?;
    // One that ended goes on after that without being asked to be reopened.
    roll_back_blocking(&ann, &back)?;
    let run = log.run("bot").resume_or_start("run").await?;
    assert_eq!(document(&run).await?, json!({"n": 1}));
    fork_blocking(&log, &Fork::new("fork", "run", to))?;
    Ok(())
}

/// What others rely on stands, however far the run goes back.
#[tokio::test]
async fn no_claim_reservation_or_vote_is_taken_back() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::memory()?;
    let ann = enrolled(&log, folder.path(), "ann", Authority::Human)?;
    let limits = BudgetLimits::new().of(Dimension::Tokens, 10);
    log.budgets()
        .open_blocking(&Open::new("bot").limits(limits))?;
    let run = log.run("bot").start("run").await?;
    let to = run.session().patch(&json!({"n": 1})).await?;
    let claim = |id: &str| {
        Claim::tool("run", "pay")
            .call_id(id)
            .class(EffectClass::Write)
    };
    let Claimed::Held(held) = log.effects().claim_blocking(&claim("held"))? else {
        return Err("nobody made it".into());
    };
    let four = Amounts::new().tokens(4);
    let reserved = log
        .budgets()
        .reserve_blocking("bot", &four, Hold::Opening)?;
    let request = ApprovalRequest::new(&claim("asked"), "pay");
    let asked = Approvals::new(&log).request_blocking(&request)?;
    Approvals::new(&ann).vote_blocking(asked.position, Vote::Approve, None)?;
    run.roll_back(to).await?;

    let again = log.effects().claim_blocking(&claim("held"));
    assert_eq!(again.unwrap_err().code(), "in_flight");
    log.effects()
        .change_blocking(&held.target(), &Change::completed(&1)?)?;
    let budget = log.budgets().check("bot")?;
    assert_eq!(budget.reserved, four);
    log.budgets().settle_blocking(reserved.fence, &four)?;
    assert_eq!(log.budgets().check("bot")?.spent, four);
    let decided = Approvals::new(&log).get(asked.position)?;
    assert_eq!(
        (decided.state, decided.votes.len()),
        (ApprovalState::Approved, 1)
    );
    let let_in = log.effects().claim_blocking(&claim("asked"))?;
    assert!(matches!(let_in, Claimed::Held(_)));
    Ok(())
}
