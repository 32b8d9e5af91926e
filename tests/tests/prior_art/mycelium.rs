//! Faults of a ledger of calls that came before this one: one test each, showing that Runstone does
//! not have it, and one for each item of what its users rely on. The numbers are those of the lists.

use runstone::effects::{Change, Claim, Claimed, EffectFilter, list};
use runstone::sessions;
use runstone::{
    CallError, Durability, Effect, EffectClass, EffectState, Effects, ErrorKind, Hold, KeySource,
    Log, NewEvent, Options, ProblemKind, Query, Read, Run, Runstone, Settings, Status, VerifyLevel,
    VerifyOptions,
};
use runstone_tests::clocked::Clocked;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};

mod contract;

type Fault = std::io::Error;

fn options(site: &Clocked) -> Options {
    Runstone::options().storage(site.storage())
}

fn open(site: &Clocked) -> Outcome<Runstone> {
    Ok(options(site).open_or_create(site.path())?)
}

fn person(site: &Clocked, log: &Log) -> Outcome<Effects> {
    Ok(Effects::new(&site.person(log)?))
}

fn begin(log: &Runstone, id: &str) -> Outcome<Run> {
    Ok(log.run("bot").resume_or_start_blocking(id)?)
}

/// Calls a tool that counts.
fn pay(run: &Run, id: &str, times: &Cell<u32>) -> Result<String, CallError<Fault>> {
    run.effect("pay")
        .request_id(id)
        .args(&json!({"usd": 12}))
        .call_blocking(|| {
            times.set(times.get() + 1);
            Ok(format!("paid {}", times.get()))
        })
}

fn code<T: std::fmt::Debug>(answer: Result<T, CallError<Fault>>) -> &'static str {
    answer.unwrap_err().code()
}

fn refused() -> Fault {
    Fault::other("the gateway is closed")
}

/// Begins a call and is dropped after the tool was asked.
fn time_out(run: &Run, id: &str, class: EffectClass) {
    let call = run.effect("pay").request_id(id).class(class);
    let call = call.args(&json!({"usd": 12}));
    let has_begun = Cell::new(false);
    let mut call = pin!(call.call(|| {
        has_begun.set(true);
        pending::<Result<String, Fault>>()
    }));
    let mut context = Context::from_waker(Waker::noop());
    while !has_begun.get() {
        assert!(call.as_mut().poll(&mut context).is_pending());
        std::thread::yield_now();
    }
}

/// What is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn one(log: &Log, filter: &EffectFilter) -> Outcome<Effect> {
    let mut found = list(log, filter)?;
    assert_eq!(found.len(), 1, "{found:?}");
    Ok(found.remove(0))
}

fn count(log: &Log, event_type: &str) -> Outcome<usize> {
    Ok(log.read(Read::new(Query::of_type(event_type)))?.count())
}

/// M1: a crash or a time-out leaves a call in flight for ever, and nobody can clear it.
#[test]
fn m1_stuck_for_ever() -> Outcome {
    let site = Clocked::new()?;
    let times = Cell::new(0);
    let log = open(&site)?;
    let claim = Claim::tool("run-1", "pay")
        .request("crashed")
        .hold(Hold::Opening);
    let claim = claim.args(&json!({"usd": 12}))?;
    assert!(matches!(
        log.effects().claim_blocking(&claim)?,
        Claimed::Held(_)
    ));
    drop(log);
    let log = open(&site)?;
    let run = begin(&log, "run-2")?;
    assert_eq!(code(pay(&run, "crashed", &times)), "effect_unknown");
    time_out(&run, "late", EffectClass::Write);
    assert_eq!(code(pay(&run, "late", &times)), "effect_unknown");
    assert_eq!(times.get(), 0);
    // They are listed, and a person lets them be made again.
    let stuck = list(&log, &EffectFilter::new().state(EffectState::Unknown))?;
    assert_eq!(stuck.len(), 2);
    let person = person(&site, &log)?;
    for effect in stuck {
        let reason = "the gateway knows nothing of it".to_owned();
        person.change_blocking(&effect.target(), &Change::Release { reason })?;
    }
    assert_eq!(pay(&run, "crashed", &times)?, "paid 1");
    assert_eq!(pay(&run, "late", &times)?, "paid 2");
    Ok(())
}

/// M2: a claim that is past its time is opened to others, and the first cannot store its result.
#[test]
fn m2_a_long_call_runs_twice() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let claim = Claim::tool("run-1", "pay")
        .request("inv-1")
        .hold(Hold::For(1_000_000));
    let Claimed::Held(held) = log.effects().claim_blocking(&claim)? else {
        return Err("nobody made it".into());
    };
    site.clock.advance(7_200_000_000);
    // Nobody asked meanwhile: the result is stored.
    log.effects()
        .change_blocking(&held.target(), &Change::completed("paid")?)?;
    assert!(matches!(
        log.effects().claim_blocking(&claim)?,
        Claimed::Completed(_)
    ));
    // Somebody asked: it is not called again all the same.
    let other = claim.clone().request("inv-2");
    assert!(matches!(
        log.effects().claim_blocking(&other)?,
        Claimed::Held(_)
    ));
    site.clock.advance(7_200_000_000);
    let again = log.effects().claim_blocking(&other);
    assert_eq!(again.unwrap_err().code(), "effect_unknown");
    // In a run the holder is this process, however long it takes.
    let run = begin(&log, "run-1")?;
    let paid = run.effect("slow").request_id("inv-3").call_blocking(|| {
        site.clock.advance(7_200_000_000);
        let second = run.effect("slow").request_id("inv-3");
        assert_eq!(code(second.call_blocking(|| Ok(2))), "in_flight");
        Ok::<_, Fault>(1)
    })?;
    assert_eq!(paid, 1);
    Ok(())
}

/// M3: a damaged file reads as an empty ledger, and payments are made again.
#[test]
fn m3_damage_is_not_amnesia() -> Outcome {
    let site = Clocked::new()?;
    let times = Cell::new(0);
    let log = open(&site)?;
    let run = begin(&log, "run-1")?;
    for n in 0..20 {
        pay(&run, &format!("inv-{n}"), &times)?;
    }
    run.finish_blocking(Status::Success)?;
    log.close_blocking()?;
    drop(log);
    let whole = std::fs::read(site.path())?;
    for damaged in [
        &whole[..whole.len() - 20],
        &whole[..whole.len() / 2],
        &[],
        b"{}",
    ] {
        std::fs::write(site.path(), damaged)?;
        let opened = options(&site).open(site.path());
        match opened {
            Err(error) => {
                let kinds = [ErrorKind::Corrupt, ErrorKind::Usage];
                assert!(kinds.contains(&error.kind()), "{error}");
                assert_eq!(std::fs::read(site.path())?, damaged, "it is left as it is");
            }
            Ok(log) => {
                let run = begin(&log, "run-2")?;
                pay(&run, "inv-19", &times)?;
                assert_eq!(times.get(), 20, "a payment was made again");
            }
        }
    }
    std::fs::write(site.path(), &whole)?;
    let log = open(&site)?;
    pay(&begin(&log, "run-3")?, "inv-19", &times)?;
    assert_eq!(times.get(), 20);
    Ok(())
}

/// M4: nothing is synced. A claim is durable before the tool is called, its outcome before it is
/// answered, also where appends are buffered.
#[test]
fn m4_claims_and_outcomes_are_durable() -> Outcome {
    let site = Clocked::new()?;
    let log = options(&site)
        .durability(Durability::Buffered)
        .create(site.path())?;
    let run = begin(&log, "run-1")?;
    for n in 0..3 {
        log.append_blocking(NewEvent::new("data.noted", "notes"))?;
        run.effect("pay")
            .request_id(format!("inv-{n}"))
            .call_blocking(|| {
                assert_eq!(log.durable_size(), log.size());
                Ok::<_, Fault>(n)
            })?;
        assert_eq!(log.durable_size(), log.size());
    }
    Ok(())
}

/// M5: each call reads and writes the whole ledger. Here a call is two events, a replay none, and
/// what is written does not grow with what was there.
#[test]
fn m5_a_call_costs_the_same_however_many_there_were() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let run = begin(&log, "run-1")?;
    let times = Cell::new(0);
    let mut grown = Vec::new();
    for n in 0..100 {
        let (events, bytes) = (log.size(), entry_bytes(&log)?);
        pay(&run, &format!("inv-{n:02}"), &times)?;
        assert_eq!(log.size(), events + 2);
        if n == 9 || n == 99 {
            grown.push(entry_bytes(&log)? - bytes);
        }
        pay(&run, &format!("inv-{n:02}"), &times)?;
        assert_eq!(log.size(), events + 2, "a replay records nothing");
    }
    assert!(grown[1] <= grown[0] + 64, "{grown:?}");
    Ok(())
}

/// Bytes of all contents.
fn entry_bytes(log: &Log) -> Outcome<usize> {
    let mut bytes = 0;
    for record in log.read(Read::new(Query::everything()))? {
        bytes += record?.payload.bytes().map_or(0, <[u8]>::len);
    }
    Ok(bytes)
}

/// M6: whoever is late overwrites the outcome, and a completed call is claimable again.
#[test]
fn m6_an_outcome_is_not_overwritten() -> Outcome {
    let log = Runstone::memory()?;
    let claim = Claim::tool("run-1", "look")
        .request("q")
        .class(EffectClass::Read);
    let claim = claim.hold(Hold::For(0));
    let effects = log.effects();
    let Claimed::Held(loser) = effects.claim_blocking(&claim)? else {
        return Err("nobody made it".into());
    };
    let Claimed::Held(winner) = effects.claim_blocking(&claim)? else {
        return Err("the first one is late".into());
    };
    let change = |held: &runstone::effects::Held, change: &Change| {
        effects
            .change_blocking(&held.target(), change)
            .map_err(|error| error.code())
    };
    assert_eq!(
        change(&loser, &Change::completed("lost")?),
        Err("stale_claim")
    );
    change(&winner, &Change::completed("won")?)?;
    for late in [Change::completed("lost")?, Change::failed("Late", "late")] {
        assert_eq!(change(&loser, &late), Err("stale_claim"));
        assert_eq!(change(&winner, &late), Err("stale_claim"));
    }
    let Claimed::Completed(outcome) = effects.claim_blocking(&claim)? else {
        return Err("it is completed".into());
    };
    assert_eq!(outcome.result.as_deref(), Some(&b"\"won\""[..]));
    Ok(())
}

/// M7: two threads win a race for one claim. M8: two win a race for one that failed.
#[test]
fn m7_m8_of_racing_callers_one_wins() -> Outcome {
    let log = Runstone::memory()?;
    let failing = begin(&log, "run-0")?;
    for round in 0..60 {
        let id = format!("inv-{round}");
        if round % 2 == 1 {
            let call = failing
                .effect("pay")
                .request_id(&id)
                .class(EffectClass::Idempotent);
            assert_eq!(
                code(call.call_blocking(|| Err::<u32, _>(refused()))),
                "tool_failed"
            );
        }
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (log, barrier, id) = (log.clone(), Arc::clone(&barrier), id.clone());
                std::thread::spawn(move || {
                    let claim = Claim::tool("run-0", "pay")
                        .request(id)
                        .class(EffectClass::Idempotent);
                    barrier.wait();
                    matches!(log.effects().claim_blocking(&claim), Ok(Claimed::Held(_)))
                })
            })
            .collect();
        let won = threads
            .into_iter()
            .filter(|_| true)
            .map(std::thread::JoinHandle::join);
        let won = won.filter(|won| matches!(won, Ok(true))).count();
        assert_eq!(won, 1, "round {round}");
    }
    Ok(())
}

/// M9: a key stands for nothing in particular: another tool or other arguments get the result.
#[test]
fn m9_a_key_is_bound_to_what_it_is_for() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    let times = Cell::new(0);
    pay(&run, "inv-1", &times)?;
    let refund = run
        .effect("refund")
        .request_id("inv-1")
        .args(&json!({"usd": 12}));
    assert_eq!(code(refund.call_blocking(|| Ok(1))), "key_conflict");
    let other = run
        .effect("pay")
        .request_id("inv-1")
        .args(&json!({"usd": 13}));
    assert_eq!(code(other.call_blocking(|| Ok(2))), "key_conflict");
    // Ids of requests and of a model's calls are apart, and an id must be one.
    let called = run.effect("other").call_id("inv-1");
    assert_eq!(called.call_blocking(|| Ok::<_, Fault>(7))?, 7);
    let empty = run.effect("pay").request_id("");
    assert_eq!(code(empty.call_blocking(|| Ok(8))), "bad_key");
    Ok(())
}

/// M10: runs are told apart by where they are in memory; a new one gets the results of another.
#[test]
fn m10_runs_are_told_apart_by_name() -> Outcome {
    let site = Clocked::new()?;
    let times = Cell::new(0);
    for n in 0..3 {
        let log = open(&site)?;
        for m in 0..3 {
            let run = begin(&log, &format!("run-{n}-{m}"))?;
            let call = || run.effect("look").args(&json!({"q": 1}));
            let look = || {
                times.set(times.get() + 1);
                Ok::<_, Fault>(times.get())
            };
            let first = call().call_blocking(look)?;
            assert_eq!((first, call().call_blocking(look)?), (n * 3 + m + 1, first));
        }
        log.close_blocking()?;
    }
    Ok(())
}

/// M11: parts of a key run into each other, missing ones are left out, and a repeated task without
/// an id is swallowed.
#[tokio::test]
async fn m11_parts_of_a_key_stay_apart() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").resume_or_start("run-1").await?;
    let times = AtomicU64::new(0);
    let charge = run.tool("charge").key_from(["a", "b"]).wrap(|args: Value| {
        let n = times.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, Fault>(json!([n, args])) }
    });
    let first = charge(json!({"a": "1:b=2", "b": "3"})).await?;
    assert_eq!(first[0], 1);
    assert_eq!(charge(json!({"a": "1", "b": "2:b=3"})).await?[0], 2);
    assert_eq!(charge(json!({"a": "1:b=2", "b": "3"})).await?, first);
    for args in [
        json!({"a": "1"}),
        json!({"a": "1", "b": null}),
        json!({"a": "", "b": "1"}),
    ] {
        assert_eq!(code(charge(args).await), "bad_key");
    }
    // What shall be done again says so.
    let effects = log.effects();
    for random in [[1; 16], [2; 16]] {
        let task = Claim::task("run-1", "sweep").key(KeySource::Random(random));
        assert!(matches!(effects.claim_blocking(&task)?, Claimed::Held(_)));
    }
    Ok(())
}

/// A result that JSON does not hold as it is.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Receipt {
    id: u32,
    #[serde(skip)]
    note: String,
}

/// M12: the first caller gets another result than those after it; one that cannot be stored leaves
/// the call in flight; two spellings of the same arguments are two calls.
#[test]
fn m12_the_first_answer_is_the_stored_one() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    let call = || {
        run.effect("pay").request_id("inv-1").call_blocking(|| {
            let note = "lost".to_owned();
            Ok::<_, Fault>(Receipt { id: 7, note })
        })
    };
    let first = call()?;
    assert_eq!(first, call()?);
    assert_eq!(first.note, "");
    // Keys that are no text.
    let odd = || {
        let call = run.effect("odd").request_id("inv-2");
        call.call_blocking(|| {
            let pairs = [((1, 2), 3)];
            Ok::<_, Fault>(std::collections::HashMap::from(pairs))
        })
    };
    for _ in 0..2 {
        assert_eq!(code(odd()), "result_rejected");
    }
    assert_eq!(
        list(&log, &EffectFilter::new().state(EffectState::InFlight))?,
        []
    );
    let spelled = |args: &str| Claim::tool("run-1", "look").args_json(args);
    let effects = log.effects();
    let Claimed::Held(held) = effects.claim_blocking(&spelled("{\"a\":1,\"b\":[2]}"))? else {
        return Err("nobody made it".into());
    };
    effects.change_blocking(&held.target(), &Change::completed(&1)?)?;
    let same = effects.claim_blocking(&spelled("{ \"b\": [2.0], \"a\": 1 }"))?;
    assert!(matches!(same, Claimed::Completed(_)));
    Ok(())
}

/// M13: a retry overwrites what failed, and there is no end of retries.
#[test]
fn m13_every_attempt_stays_and_they_end() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    let mut settings = Settings::default();
    settings.effects.max_attempts = 4;
    settings.record(&log)?;
    let call = || {
        let call = run.effect("look").request_id("q").class(EffectClass::Read);
        call.call_blocking(|| Err::<u32, _>(refused()))
    };
    for _ in 0..4 {
        assert_eq!(code(call()), "tool_failed");
    }
    assert_eq!(code(call()), "attempts_exhausted");
    assert_eq!(count(&log, "effect.claimed")?, 4);
    for record in log.read(Read::new(Query::of_type("effect.failed")))? {
        let payload = record?.payload.bytes().unwrap_or_default().to_vec();
        assert!(String::from_utf8(payload)?.contains("the gateway is closed"));
    }
    assert_eq!(one(&log, &EffectFilter::new())?.attempt, 4);
    Ok(())
}

/// M14: receipts stand alone: one that is dropped, doubled or moved is not missed, and whoever
/// verifies them can forge them.
#[test]
fn m14_a_receipt_is_of_its_place_in_the_log() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    let times = Cell::new(0);
    for n in 0..3 {
        pay(&run, &format!("inv-{n}"), &times)?;
    }
    let policy = runstone::Policy::of_logs(log.vkeys()?)?;
    let options = VerifyOptions::new();
    for effect in list(&log, &EffectFilter::new())? {
        // It is there as soon as the outcome is, and says where.
        let at = effect.outcome.ok_or("it is completed")?;
        let receipt = log.receipt(at)?;
        receipt.verify(&policy, &options)?;
        let mut bytes = receipt.encode();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let forged = runstone::Receipt::parse(&bytes);
        assert!(forged.is_err() || forged?.verify(&policy, &options).is_err());
        // Another log's key verifies nothing here.
        let other = runstone::Policy::of_logs(Runstone::memory()?.vkeys()?)?;
        assert!(receipt.verify(&other, &options).is_err());
    }
    assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
    Ok(())
}

/// M15: a session is nothing until it ends, a resumed one begins empty, an error of saving hides
/// the error that it was for.
#[test]
fn m15_a_session_is_durable_change_by_change() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let run = begin(&log, "run-1")?;
    run.session().append_blocking("/messages", "hello")?;
    run.session().patch_blocking(&json!({"step": 3}))?;
    assert_eq!(log.durable_size(), log.size());
    // Killed: nothing of it ends.
    std::mem::forget(run);
    let log = restart(&site, log)?;
    let resumed = begin(&log, "run-1")?;
    assert!(resumed.is_resumed());
    let session = resumed.session();
    let loaded = session.document();
    assert_eq!(now(loaded)?, json!({"messages": ["hello"], "step": 3}));
    resumed.session().append_blocking("/messages", "again")?;
    drop(resumed);
    let state = sessions::state(&log, "run-1")?;
    let expected = json!({"messages": ["hello", "again"], "step": 3});
    assert_eq!(state.document.to_value(), expected);
    // Its holder let go of it by hand; it can be gone with all the same, and ends by itself again.
    for _ in 0..2 {
        let run = begin(&log, "run-1")?;
        run.session().patch_blocking(&json!({"more": true}))?;
        drop(run);
        let listed = runstone::runs::get(&log, "run-1")?.ok_or("there is one")?;
        assert_eq!(listed.status.as_str(), "aborted");
    }
    assert_eq!(count(&log, "session.ended")?, 3);
    // An error of the run is the error of the run.
    let run = begin(&log, "run-2")?;
    let failed = run.step("plan").run_blocking(|| {
        log.close_blocking()
            .map_err(|error| Fault::other(error.to_string()))?;
        Err::<u32, _>(refused())
    });
    assert!(failed.is_err());
    drop(run);
    Ok(())
}

/// The log is opened anew, as after a kill: whoever held a run is not asked.
fn restart(site: &Clocked, log: Runstone) -> Outcome<Runstone> {
    log.close_blocking()?;
    drop(log);
    open(site)
}

/// M20: a field more breaks those that read, and tools and tasks cannot share a file.
#[test]
fn m20_what_is_not_known_is_kept() -> Outcome {
    let log = Runstone::memory()?;
    let run = begin(&log, "run-1")?;
    assert_eq!(pay(&run, "x", &Cell::new(0))?, "paid 1");
    let task = Claim::task("run-1", "pay")
        .request("x")
        .args(&json!({"usd": 12}))?;
    assert!(matches!(
        log.effects().claim_blocking(&task)?,
        Claimed::Held(_)
    ));
    let newer = NewEvent::new("data.of_tomorrow", "run-1").payload("{\"new\":1}");
    log.append_blocking(newer)?;
    // What a newer program adds to a known event.
    let payload = b"{\"result\":1,\"new\":{\"field\":2}}";
    let at = list(&log, &EffectFilter::new().state(EffectState::Completed))?;
    let record = log.record(at[0].outcome.ok_or("it is completed")?)?;
    let decoded = runstone::projections::upcasters()
        .decode::<runstone::events::EffectCompleted>(&record.header, payload)?;
    assert_eq!(
        decoded
            .result
            .map(|result| result.get().to_owned())
            .as_deref(),
        Some("1")
    );
    assert!(
        log.check_folds(None, &|_, _| {})?
            .iter()
            .all(runstone::FoldCheck::is_equal)
    );
    Ok(())
}

/// M21: a call blocks every other one of its thread. Here many wait at once on one thread.
#[tokio::test]
async fn m21_calls_wait_without_blocking() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").resume_or_start("run-1").await?;
    let gate = Arc::new(tokio::sync::Barrier::new(50));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (run, gate) = (run.clone(), Arc::clone(&gate));
        calls.spawn(async move {
            // All of them are in their tools at the same time, or none comes out.
            let call = run.effect("pay").request_id(format!("inv-{n}"));
            call.call(|| async {
                gate.wait().await;
                Ok::<_, Fault>(n)
            })
            .await
        });
    }
    let mut sum = 0;
    while let Some(answer) = calls.join_next().await {
        sum += answer??;
    }
    assert_eq!(sum, 1225);
    Ok(())
}

/// M22: nothing can be removed. What concerns one person goes, and the calls stay made.
#[test]
fn m22_results_can_go_and_calls_stay_made() -> Outcome {
    let site = Clocked::new()?;
    let log = options(&site).plain().create(site.path())?;
    let run = log
        .run("bot")
        .scope("ann")
        .resume_or_start_blocking("run-1")?;
    let times = Cell::new(0);
    pay(&run, "inv-1", &times)?;
    log.erase(&runstone::Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
    assert_eq!(code(pay(&run, "inv-1", &times)), "result_erased");
    assert_eq!(times.get(), 1);
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid && report.worst() != Some(ProblemKind::Tampered));
    Ok(())
}
