//! Forks share what was before them, and nothing after.

use runstone::approvals::{ApprovalRequest, Approvals};
use runstone::budgets::{BudgetLimits, Dimension, Open};
use runstone::codec::{Authority, Position};
use runstone::effects::{Change, Claim, Claimed, EffectError, Effects, Found};
use runstone::replay::{Fork, Point, StepStatus, fork_blocking, state};
use runstone::runs::{Begin, MAX_FORKS, RunError, RunStatus};
use runstone::store::{Erase, Sealing};
use runstone::{EffectClass, Item, Query, Read, Run, Runstone, Status, runs};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::held::Site;
use runstone_tests::tamper::{Outcome, RawRows, Table};
use serde_json::{Value, json};
use std::cell::Cell;

/// A tool that counts its calls.
#[derive(Default)]
struct Tool(Cell<u32>);

impl Tool {
    async fn call(&self, run: &Run, name: &str, id: &str) -> Outcome<u32> {
        let call = run.effect(name).call_id(id).class(EffectClass::Write);
        let called = call.call(|| async {
            self.0.set(self.0.get() + 1);
            Ok::<_, std::io::Error>(self.0.get())
        });
        Ok(called.await?)
    }
}

async fn step(run: &Run, node: &str, output: u32) -> Outcome<u32> {
    let step = run
        .step(node)
        .run(|| async { Ok::<_, std::io::Error>(output) });
    Ok(step.await?)
}

fn newest(log: &Runstone) -> Position {
    Position::new(log.size() - 1)
}

async fn document(run: &Run) -> Outcome<Value> {
    Ok(run.session().document().await?)
}

#[tokio::test]
async fn a_fork_has_what_was_before_it_and_copies_nothing() -> Outcome {
    let log = Runstone::memory()?;
    let tool = Tool::default();
    let run = log.run("bot").start("run").await?;
    run.session().append("/list", &1).await?;
    assert_eq!(step(&run, "plan", 10).await?, 10);
    assert_eq!(tool.call(&run, "pay", "c1").await?, 1);
    let at = newest(&log);
    run.session().append("/list", &2).await?;
    assert_eq!(step(&run, "act", 20).await?, 20);
    assert_eq!(tool.call(&run, "pay", "c2").await?, 2);
    run.finish(Status::Success).await?;
    let before = log.size();

    let fork = log.run("bot").fork_of("run", at).start("fork").await?;
    // The fork, and that somebody holds it.
    assert_eq!(log.size() - before, 2);
    assert_eq!(document(&fork).await?, json!({"list": [1]}));
    // What was done by then is not done again; what came after it is.
    assert_eq!(step(&fork, "plan", 11).await?, 10);
    assert_eq!(step(&fork, "act", 21).await?, 21);
    assert_eq!(tool.call(&fork, "pay", "c1").await?, 1);
    assert_eq!(tool.call(&fork, "pay", "c2").await?, 3);
    fork.session().append("/list", &3).await?;
    assert_eq!(document(&fork).await?, json!({"list": [1, 3]}));

    // The other run knows nothing of it.
    let end = Point::Newest.find(&log, "run")?.ok_or("it is there")?;
    let of_run = state(&log, "run", end)?.ok_or("it is a run")?;
    assert_eq!(of_run.session.document.to_value(), json!({"list": [1, 2]}));
    assert_eq!(of_run.effects.len(), 2);
    let of_fork = state(&log, "fork", newest(&log))?.ok_or("it is a run")?;
    assert_eq!(of_fork.session.document.to_value(), json!({"list": [1, 3]}));
    let nodes: Vec<_> = of_fork
        .steps
        .iter()
        .map(|step| (step.node.as_deref(), step.status))
        .collect();
    let done = StepStatus::Completed;
    assert_eq!(nodes, [(Some("plan"), done), (Some("act"), done)]);
    // One that it shares, and its own.
    let streams: Vec<_> = of_fork
        .effects
        .iter()
        .map(|call| call.stream.as_str())
        .collect();
    assert_eq!(streams, ["run", "fork"]);
    let known = runs::get(&log, "fork")?.ok_or("it is a run")?;
    let from = known.forked_from.as_ref().ok_or("it was forked")?;
    assert_eq!((from.stream.as_str(), from.at), ("run", at));
    assert_eq!(runs::name(&log, &known)?.as_deref(), Some("bot"));
    // What the other run used stays with it.
    assert_eq!((known.counts.steps, known.parent), (1, None));
    Ok(())
}

#[tokio::test]
async fn a_fork_of_a_fork_goes_by_the_nearest() -> Outcome {
    let log = Runstone::memory()?;
    let tool = Tool::default();
    let run = log.run("bot").start("a").await?;
    assert_eq!(tool.call(&run, "pay", "c1").await?, 1);
    run.session().patch(&json!({"of": "a"})).await?;
    let in_a = newest(&log);
    assert_eq!(tool.call(&run, "pay", "late").await?, 2);
    let late = newest(&log);
    let b = log.run("bot").fork_of("a", in_a).start("b").await?;
    assert_eq!(tool.call(&b, "pay", "c2").await?, 3);
    b.session().patch(&json!({"b": true})).await?;
    let in_b = newest(&log);
    b.session().patch(&json!({"later": true})).await?;

    let c = log.run("bot").fork_of("b", in_b).start("c").await?;
    assert_eq!(document(&c).await?, json!({"of": "a", "b": true}));
    assert_eq!(tool.call(&c, "pay", "c1").await?, 1);
    assert_eq!(tool.call(&c, "pay", "c2").await?, 3);
    // `a` made this one after `b` had left it, whatever `c` is forked at.
    assert!(late < in_b);
    assert_eq!(tool.call(&c, "pay", "late").await?, 4);
    // Another call under a key that is taken before is no replay.
    let other = c
        .effect("refund")
        .call_id("c1")
        .call(|| async { Ok::<u32, std::io::Error>(0) });
    assert_eq!(other.await.unwrap_err().code(), "key_conflict");

    // As of a point before its own beginning a fork is the run that it comes from.
    let then = runstone::sessions::state_at(&log, "c", Some(in_a))?;
    assert_eq!(then.document.to_value(), json!({"of": "a"}));
    assert_eq!(state(&log, "c", in_a)?.map(|state| state.position), None);
    Ok(())
}

#[test]
fn what_was_being_called_is_unknown_in_the_fork_if_it_must_not_be_made_twice() -> Outcome {
    let log = Runstone::memory()?;
    let effects = Effects::new(&log);
    let begin = Begin::new("run", "bot");
    runs::begin_blocking(&log, &begin)?;
    let claim = |stream: &str, id: &str, class| Claim::tool(stream, "pay").call_id(id).class(class);
    let claimed = |claim: &Claim| match effects.claim_blocking(claim) {
        Ok(Claimed::Held(held)) => Ok(held),
        other => Err(format!("{other:?}")),
    };
    let write = claimed(&claim("run", "w", EffectClass::Write))?;
    let read = claimed(&claim("run", "r", EffectClass::Read))?;
    let failed = claimed(&claim("run", "f", EffectClass::Write))?;
    let error = runstone::events::ErrorSaid::default();
    let executed = Some(runstone::effects::Executed::No);
    effects.change_blocking(&failed.target(), &Change::Fail { error, executed })?;
    let at = newest(&log);
    // That they ended afterwards changes nothing of what was known there.
    effects.change_blocking(&write.target(), &Change::completed(&"run")?)?;
    effects.change_blocking(&read.target(), &Change::completed(&"run")?)?;
    fork_blocking(&log, &Fork::new("fork", "run", at))?;

    // Whatever class it is claimed with, what was begun counts.
    let code = |claim: &Claim| effects.claim_blocking(claim).unwrap_err().code();
    assert_eq!(
        code(&claim("fork", "w", EffectClass::Read)),
        "effect_unknown"
    );
    assert_eq!(
        code(&claim("fork", "w", EffectClass::Write)),
        "effect_unknown"
    );
    claimed(&claim("fork", "r", EffectClass::Read))?;
    assert_eq!(claimed(&claim("fork", "f", EffectClass::Write))?.attempt, 1);

    // It is settled in the fork, for the fork.
    let open = effects
        .find(&claim("fork", "w", EffectClass::Write))?
        .ok_or("it is known")?;
    assert_eq!(
        (open.stream.as_str(), open.class),
        ("fork", EffectClass::Write)
    );
    let found = Found::Completed(b"\"fork\"".to_vec());
    let reconcile = Change::Reconcile {
        found,
        evidence: None,
        by_program: true,
    };
    effects.change_blocking(&open.target().fence(open.fence), &reconcile)?;
    for (stream, result) in [("run", "\"run\""), ("fork", "\"fork\"")] {
        match effects.claim_blocking(&claim(stream, "w", EffectClass::Write))? {
            Claimed::Completed(outcome) => {
                assert_eq!(outcome.result.as_deref(), Some(result.as_bytes()));
            }
            other @ Claimed::Held(_) => {
                return Err(format!("{other:?}").into());
            }
        }
    }
    Ok(())
}

/// The first event of a stream says what it was forked from, and may be what was damaged.
#[test]
fn a_damaged_beginning_stops_no_call_of_a_run_that_is_no_fork() -> Outcome {
    let site = Site::new()?;
    let log = Runstone::create(&site.log)?;
    let first = log.size();
    runs::begin_blocking(&log, &Begin::new("run", "bot"))?;
    let fork = log.size();
    fork_blocking(&log, &Fork::new("fork", "run", newest(&log)))?;
    log.close_blocking()?;
    let rows = RawRows::open(&site.log)?;
    for damaged in [first, fork] {
        let mut chunk = rows.chunk(damaged)?;
        let at = usize::try_from(damaged - chunk.first)?;
        // It reads as an event of its stream, and is not the one that was recorded.
        let entry = &mut chunk.events[at].0;
        let named = entry.windows(4).position(|bytes| bytes == b"run.");
        entry[named.ok_or("it has a type")? + 1] = b'a';
        let key = chunk.first.to_be_bytes();
        rows.set(Table::Chunks, &key, Some(&chunk.encode()))?;
    }
    drop(rows);
    let log = Runstone::open(&site.log)?;
    for (position, stream) in [(first, "run"), (fork, "fork")] {
        let found = log.read(Read::new(Query::stream(stream)))?.next();
        let damage = found.ok_or("it is there")?.unwrap_err();
        assert_eq!(damage.position(), Some(position), "{damage}");
    }
    let claimed = |stream| {
        let claim = Claim::tool(stream, "pay")
            .call_id("c1")
            .class(EffectClass::Write);
        Effects::new(&log).claim_blocking(&claim)
    };
    assert!(matches!(claimed("run")?, Claimed::Held(_)));
    // Nobody can say what a fork was forked from, and which calls it shares.
    assert_eq!(claimed("fork").unwrap_err().code(), "corrupt");
    Ok(())
}

#[test]
fn a_fork_is_made_once_and_of_what_is_there() -> Outcome {
    let log = Runstone::memory()?;
    runs::begin_blocking(&log, &Begin::new("other", "bot"))?;
    runs::begin_blocking(&log, &Begin::new("run", "bot"))?;
    let at = newest(&log);
    let fork = Fork::new("fork", "run", at);
    assert!(!fork_blocking(&log, &fork)?.was_there);
    assert!(fork_blocking(&log, &fork)?.was_there);
    let refused = |stream: &str, parent: &str, at: u64| {
        let fork = Fork::new(stream, parent, Position::new(at));
        fork_blocking(&log, &fork).unwrap_err().code()
    };
    let at = at.get();
    assert_eq!(refused("fork", "run", at + 1), "run_exists");
    assert_eq!(refused("other", "run", at), "run_exists");
    assert_eq!(refused("new", "run", at - 1), "no_such_point");
    assert_eq!(refused("new", "run", log.size()), "no_such_point");
    assert_eq!(refused("new", "none", at), "run_not_found");
    let known = runs::get(&log, "fork")?.ok_or("it is a run")?;
    assert_eq!(known.status, RunStatus::Forked);
    // It is gone on with as any other.
    runs::begin_blocking(&log, &Begin::new("fork", "bot"))?;
    let known = runs::get(&log, "fork")?.ok_or("it is a run")?;
    assert_eq!(known.status, RunStatus::Running);
    Ok(())
}

#[tokio::test]
async fn a_fork_spends_a_budget_of_its_own_under_the_same_owner() -> Outcome {
    let log = Runstone::memory()?;
    let limits = |steps| BudgetLimits::new().of(Dimension::Steps, steps);
    log.budgets()
        .open_blocking(&Open::new("agent").limits(limits(4)))?;
    let elsewhere = Open::new("elsewhere").limits(limits(4));
    log.budgets().open_blocking(&elsewhere)?;
    let run = log.run("bot").budget("agent").start("run").await?;
    step(&run, "one", 1).await?;
    let at = newest(&log);
    let b = log.run("bot").fork_of("run", at).start("b").await?;
    step(&b, "two", 2).await?;
    let in_b = newest(&log);
    let c = log.run("bot").fork_of("b", in_b).start("c").await?;
    step(&c, "three", 3).await?;
    let spent = |owner: &str| -> Outcome<u64> {
        let id = log.budgets().id_of(&owner.into())?;
        let budget = log.budgets().get(&id)?.ok_or("it is open")?;
        assert!(budget.level <= 1, "{owner} lies no deeper");
        Ok(budget.spent.get(&Dimension::Steps))
    };
    assert_eq!((spent("agent")?, spent("b")?, spent("c")?), (3, 1, 1));
    step(&c, "four", 4).await?;
    // There is one owner above them all, and he has spent what he may.
    assert!(step(&b, "five", 5).await.is_err());
    let outside = log.run("bot").fork_of("run", at).budget("elsewhere");
    let refused = outside
        .start("d")
        .await
        .err()
        .ok_or("it is another budget")?;
    assert_eq!(refused.code(), "budget_parent");
    Ok(())
}

#[tokio::test]
async fn what_was_erased_is_erased_in_the_fork() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").scope("ann").start("run").await?;
    run.session().append("/list", &"secret").await?;
    step(&run, "plan", 1).await?;
    let at = newest(&log);
    run.finish(Status::Success).await?;
    let fork = log.run("bot").fork_of("run", at).start("fork").await?;
    fork.finish(Status::Success).await?;
    log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
    let then = state(&log, "fork", newest(&log))?.ok_or("it is a run")?;
    assert_eq!(then.session.document.to_value(), json!({}));
    assert_eq!(then.session.missing, 1);
    assert_eq!(then.steps.len(), 1);
    assert_eq!(
        (&then.steps[0].node, &then.steps[0].outcome),
        (&None, &None)
    );
    assert_eq!(then.summary.scope, "ann");
    Ok(())
}

/// What people refused in a run is refused in its forks, and what they allowed there was for the run
/// that asked.
#[test]
fn a_fork_gets_round_no_decision_of_people() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let ada = Approvals::new(&site.principal(&log, "ada", Authority::Human)?);
    let of = |stream: &str, usd: u64| -> Outcome<Claim> {
        let claim = Claim::tool(stream, "wire").args(&json!({"usd": usd}))?;
        Ok(claim.needs_approval())
    };
    runs::begin_blocking(&log, &Begin::new("run", "bot"))?;
    for (usd, vote) in [(1, Some(false)), (2, None), (3, Some(true))] {
        let request = ApprovalRequest::new(&of("run", usd)?, "wire");
        let asked = Approvals::new(&log).request_blocking(&request)?;
        if let Some(is_yes) = vote {
            ada.vote_blocking(asked.position, is_yes, None)?;
        }
    }
    let mut parent = "run".to_owned();
    for stream in ["fork", "fork of it"] {
        let at = Position::new(log.size() - 1);
        fork_blocking(&log, &Fork::new(stream, parent.as_str(), at))?;
        for (usd, why) in [(1, "rejected"), (2, "pending"), (3, "not_asked")] {
            match Effects::new(&log).claim_blocking(&of(stream, usd)?) {
                Err(EffectError::NotApproved { why: told, .. }) => assert_eq!(told.code(), why),
                other => return Err(format!("{stream} {usd}: {other:?}").into()),
            }
        }
        parent = stream.to_owned();
    }
    let request = ApprovalRequest::new(&of("fork", 1)?, "wire");
    let asked = Approvals::new(&log).request_blocking(&request)?;
    ada.vote_blocking(asked.position, true, None)?;
    Effects::new(&log).claim_blocking(&of("fork", 1)?)?;
    assert_sound(&log)
}

/// What a fork is refused for the sake of the run before it is on the record, and not again and again.
#[test]
fn an_inherited_refusal_is_recorded_once_a_second() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let ada = Approvals::new(&site.principal(&log, "ada", Authority::Human)?);
    let effects = Effects::new(&log);
    let call = |stream: &str, id: &str, usd: u64| -> Outcome<Claim> {
        let claim = Claim::tool(stream, "wire").call_id(id);
        Ok(claim.args(&json!({"usd": usd}))?)
    };
    runs::begin_blocking(&log, &Begin::new("run", "bot"))?;
    let request = ApprovalRequest::new(&call("run", "asked", 1)?, "wire");
    let asked = Approvals::new(&log).request_blocking(&request)?;
    ada.vote_blocking(asked.position, false, None)?;
    let Claimed::Held(made) = effects.claim_blocking(&call("run", "made", 1)?)? else {
        return Err("it was not made before".into());
    };
    effects.change_blocking(&made.target(), &Change::completed(&"done")?)?;
    fork_blocking(
        &log,
        &Fork::new("fork", "run", Position::new(log.size() - 1)),
    )?;
    let refused = || -> Outcome<usize> {
        let refusals = Item::new().stream("fork").of_type("effect.refused");
        Ok(log.read(Read::new(refusals.into()))?.count())
    };
    // Rejected before; and another call under the key of one that was made.
    let claims = [call("fork", "asked", 1)?, call("fork", "made", 2)?];
    for (second, told) in [(0, 2), (0, 2), (2, 4)] {
        site.clock.advance(second * 1_000_000);
        for (claim, code) in claims.iter().zip(["not_approved", "key_conflict"]) {
            let error = effects.claim_blocking(claim).err().ok_or("it is refused")?;
            assert_eq!(error.code(), code);
        }
        assert_eq!(refused()?, told);
    }
    assert_sound(&log)
}

/// Nothing that is given to a fork is lost without a word.
#[tokio::test]
async fn a_fork_is_given_nothing_that_it_has_already() -> Outcome {
    let log = Runstone::memory()?;
    for owner in ["a", "b"] {
        let open = Open::new(owner).parent("all");
        log.budgets().open_blocking(&Open::new("all"))?;
        log.budgets().open_blocking(&open)?;
    }
    let run = log.run("bot").budget("all").start("run").await?;
    let at = newest(&log);
    let code = |refused: Result<Run, RunError>| refused.err().map(|error| error.code());
    let fork = || log.run("bot").fork_of("run", at);
    let refused = [
        fork().input(&1)?.start("fork").await,
        fork().target("x").resume_or_start("fork").await,
        fork().parent(&run).start("fork").await,
    ];
    for refused in refused {
        assert_eq!(code(refused), Some("not_of_fork"));
    }
    drop(fork().budget("a").start("fork").await?);
    let other = fork().budget("b").resume_or_start("fork").await;
    assert_eq!(code(other), Some("run_budget"));
    drop(fork().budget("a").resume_or_start("fork").await?);
    drop(fork().resume_or_start("fork").await?);
    Ok(())
}

/// A limit that somebody set is never lifted, and never evaded, by a fork.
#[tokio::test]
async fn a_fork_lifts_no_limit() -> Outcome {
    let log = Runstone::memory()?;
    let limits = |steps| BudgetLimits::new().of(Dimension::Steps, steps);
    log.budgets()
        .open_blocking(&Open::new("agent").limits(limits(9)))?;
    let limited = Open::new("b").limits(limits(1)).parent("agent");
    log.budgets().open_blocking(&limited)?;
    let run = log.run("bot").budget("agent").start("run").await?;
    step(&run, "one", 1).await?;
    let b = log
        .run("bot")
        .fork_of("run", newest(&log))
        .start("b")
        .await?;
    step(&b, "two", 2).await?;
    assert!(step(&b, "three", 3).await.is_err());
    let c = log.run("bot").fork_of("b", newest(&log)).start("c").await?;
    assert!(step(&c, "four", 4).await.is_err());
    Ok(())
}

#[test]
fn a_chain_of_forks_has_an_end() -> Outcome {
    let log = Runstone::memory()?;
    runs::begin_blocking(&log, &Begin::new("0", "bot"))?;
    for number in 0..MAX_FORKS {
        let (from, to) = (number.to_string(), (number + 1).to_string());
        fork_blocking(&log, &Fork::new(to.as_str(), from.as_str(), newest(&log)))?;
    }
    let last = MAX_FORKS.to_string();
    let more = fork_blocking(&log, &Fork::new("more", last.as_str(), newest(&log)));
    assert_eq!(more.unwrap_err().code(), "too_many_forks");
    Ok(())
}
