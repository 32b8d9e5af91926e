//! Calls that happen once: what a claim is answered in every state, and that only its holder ends
//! it.

use runstone_codec::{Draft, NewEvent, Position};
use runstone_projections::effects::{
    Change, Claim, Claimed, Class, EffectError, EffectFilter, Effects, Executed, Found, Fresh,
    Held, KeySource, State, list, of_stream,
};
use runstone_projections::events::{EffectCompleted, ErrorSaid};
use runstone_projections::{Hold, Settings};
use runstone_store::{Erase, Log, ManualClock, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, START_US, assert_sound, memory};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::sync::{Arc, Barrier};
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const LEASE: Hold = Hold::For(Duration::from_secs(60));

fn pay(id: &str) -> Claim {
    Claim::tool("run-1", "pay")
        .request(id)
        .holder("worker-a")
        .hold(LEASE)
}

fn held(claimed: Result<Claimed, EffectError>) -> Outcome<Held> {
    match claimed? {
        Claimed::Held(held) => Ok(held),
        Claimed::Completed(outcome) => Err(format!("{outcome:?}").into()),
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, EffectError>) -> &'static str {
    outcome.unwrap_err().code()
}

fn result(claimed: Result<Claimed, EffectError>) -> Outcome<Option<String>> {
    match claimed? {
        Claimed::Completed(outcome) => Ok(outcome
            .result
            .map(|result| String::from_utf8_lossy(&result).into_owned())),
        Claimed::Held(held) => Err(format!("{held:?}").into()),
    }
}

fn failed(executed: Executed) -> Change {
    Change::Fail {
        error: ErrorSaid {
            error_type: "Refused".to_owned(),
            message: "the gateway is closed".to_owned(),
        },
        executed: Some(executed),
    }
}

fn gave_up(begun: bool) -> Change {
    let reason = "time-out".to_owned();
    Change::Cancel { reason, begun }
}

#[test]
fn a_result_is_stored_once_and_given_for_ever() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let effects = Effects::new(&log);
    let claim = pay("inv-1").args(&json!({"usd": 12}))?;
    let first = held(effects.claim_blocking(&claim))?;
    assert_eq!((first.attempt, first.fence.get()), (1, 1));
    assert_eq!(code(effects.claim_blocking(&claim)), "in_flight");
    let at = effects.change_blocking(&first.target(), &Change::completed(&json!({"id": 7}))?)?;
    assert_eq!(
        result(effects.claim_blocking(&claim))?.as_deref(),
        Some("{\"id\":7}")
    );
    // Twice the same is once; another one is refused.
    let again = effects.change_blocking(&first.target(), &Change::completed(&json!({"id": 7}))?)?;
    assert_eq!(again, at);
    let other = effects.change_blocking(&first.target(), &Change::completed(&json!({"id": 8}))?);
    assert_eq!(code(other), "stale_claim");
    let size = log.size();
    drop(effects);
    let log = site.reopen(log)?;
    let effects = Effects::new(&log);
    assert_eq!(
        result(effects.claim_blocking(&claim))?.as_deref(),
        Some("{\"id\":7}")
    );
    assert_eq!(log.size(), size, "a replay records nothing");
    assert_sound(&log)
}

/// Spelled in another order or with other spaces they are the same arguments; others are another
/// call, and so is another name.
#[test]
fn a_key_is_bound_to_name_and_arguments() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let effects = Effects::new(&log);
    let args = |text: &str| pay("inv-1").args_json(text);
    let first = held(effects.claim_blocking(&args(r#"{"a":1.0,"b":"x"}"#)))?;
    effects.change_blocking(&first.target(), &Change::completed(&1)?)?;
    let same = effects.claim_blocking(&args("{ \"b\":\"\\u0078\", \"a\":1e0 }"));
    assert_eq!(result(same)?.as_deref(), Some("1"));
    let before = log.size();
    for other in [
        args(r#"{"a":2,"b":"x"}"#),
        args("{}"),
        Claim::tool("run-1", "refund")
            .request("inv-1")
            .args_json(r#"{"a":1,"b":"x"}"#),
    ] {
        let error = effects.claim_blocking(&other).unwrap_err();
        assert_eq!(error.code(), "key_conflict");
        assert_eq!(error.effect().map(|effect| effect.fence), Some(first.fence));
    }
    // A refusal is on record, an equal one of the same second is not again.
    assert_eq!(log.size(), before + 1);
    clock.advance(SECOND);
    assert_eq!(code(effects.claim_blocking(&args("{}"))), "key_conflict");
    assert_eq!(log.size(), before + 2);
    // Another run has its own calls of a model, and the same requests.
    let elsewhere = Claim::tool("run-2", "pay")
        .request("inv-1")
        .args_json(r#"{"a":1,"b":"x"}"#);
    assert_eq!(
        result(effects.claim_blocking(&elsewhere))?.as_deref(),
        Some("1")
    );
    for stream in ["run-1", "run-2"] {
        held(effects.claim_blocking(&Claim::tool(stream, "pay").call_id("call_1")))?;
    }
    // A model that reuses an id for another call is told apart by the caller or not at all.
    let reused = Claim::tool("run-1", "pay")
        .call_id("call_1")
        .args_json("{\"b\":2}");
    assert_eq!(code(effects.claim_blocking(&reused)), "key_conflict");
    let told = reused.key(KeySource::Call {
        id: "call_1".to_owned(),
        ordinal: 1,
    });
    held(effects.claim_blocking(&told))?;
    // Tasks and tools are apart, and so are two tasks with one run id.
    for (name, key) in [("a", "inv-1"), ("b", "run-9"), ("c", "run-9")] {
        let key = match key {
            "inv-1" => KeySource::Request(key.to_owned()),
            run => KeySource::Run(run.to_owned()),
        };
        held(effects.claim_blocking(&Claim::task("run-1", name).key(key)))?;
    }
    assert_sound(&log)
}

#[test]
fn keys_that_say_nothing_are_errors() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let fields = |fields: &[(&str, &str)]| {
        let fields = fields
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        KeySource::Business(fields.collect())
    };
    for key in [
        KeySource::Request(String::new()),
        KeySource::Run(String::new()),
        KeySource::Call {
            id: String::new(),
            ordinal: 3,
        },
        KeySource::Request("a\0b".to_owned()),
        KeySource::Request("x".repeat(1025)),
        fields(&[]),
        fields(&[("invoice", "")]),
    ] {
        let claim = Claim::task("run-1", "pay").key(key);
        assert_eq!(code(effects.claim_blocking(&claim)), "bad_key");
    }
    let claim = pay("x").args_json("{\"a\":");
    assert_eq!(code(effects.claim_blocking(&claim)), "bad_arguments");
    assert_eq!(log.size(), 1);
    // What separates fields does not make two lists one.
    let two = [fields(&[("a", "b:c=d")]), fields(&[("a", "b"), ("c", "d")])];
    for key in two {
        held(effects.claim_blocking(&Claim::tool("run-1", "pay").key(key)))?;
    }
    Ok(())
}

/// Arguments alone are a key: in its run for a tool.
#[test]
fn without_a_key_the_arguments_are_one() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let claim = |stream: &str| Claim::tool(stream, "look").args_json("{\"q\":1}");
    let first = held(effects.claim_blocking(&claim("run-1")))?;
    effects.change_blocking(&first.target(), &Change::completed(&1)?)?;
    assert_eq!(
        result(effects.claim_blocking(&claim("run-1")))?.as_deref(),
        Some("1")
    );
    held(effects.claim_blocking(&claim("run-2")))?;
    held(effects.claim_blocking(&Claim::tool("run-1", "look").args_json("{\"q\":2}")))?;
    for random in [[1; 16], [2; 16]] {
        held(effects.claim_blocking(&claim("run-1").key(KeySource::Random(random))))?;
    }
    Ok(())
}

#[test]
fn attempts_are_counted_and_end() -> Outcome {
    let (log, _) = memory(START_US)?;
    let mut settings = Settings::default();
    settings.effects.max_attempts = 2;
    let effects = Effects::new(&log);
    held(effects.claim_blocking(&pay("other")))?;
    // Settings that came after the ledger was first asked count all the same.
    settings.record(&log)?;
    for attempt in 1..=2 {
        let held = held(effects.claim_blocking(&pay("inv-1")))?;
        assert_eq!(held.attempt, attempt);
        let change = if attempt == 1 {
            failed(Executed::No)
        } else {
            gave_up(false)
        };
        effects.change_blocking(&held.target(), &change)?;
    }
    assert_eq!(
        code(effects.claim_blocking(&pay("inv-1"))),
        "attempts_exhausted"
    );
    let held = held(effects.claim_blocking(&pay("inv-2")))?;
    effects.change_blocking(&held.target(), &failed(Executed::Yes))?;
    assert_eq!(
        code(effects.claim_blocking(&pay("inv-2"))),
        "failed_for_good"
    );
    assert_sound(&log)
}

/// A failure, a cancellation and a lease that passed leave it unknown whether a write was made,
/// and then nobody makes it again.
#[test]
fn doubtful_writes_are_unknown_and_what_bears_repeating_is_not() -> Outcome {
    let doubts: [fn(&Effects, &Held, &ManualClock) -> Outcome; 4] = [
        |effects, held, _| {
            effects.change_blocking(&held.target(), &Change::failed("Timeout", "no answer"))?;
            Ok(())
        },
        |effects, held, _| {
            effects.change_blocking(&held.target(), &gave_up(true))?;
            Ok(())
        },
        |_, _, clock| {
            clock.advance(60 * SECOND);
            Ok(())
        },
        |effects, held, clock| {
            clock.advance(59 * SECOND);
            effects.change_blocking(&held.target(), &Change::Renew(LEASE))?;
            clock.advance(59 * SECOND);
            assert!(
                effects
                    .get(&held.id)?
                    .is_some_and(|effect| !effect.is_expired)
            );
            clock.advance(SECOND);
            assert!(
                effects
                    .get(&held.id)?
                    .is_some_and(|effect| effect.is_expired)
            );
            Ok(())
        },
    ];
    for class in [
        Class::Read,
        Class::Idempotent,
        Class::Write,
        Class::Irreversible,
    ] {
        for (at, doubt) in doubts.iter().enumerate() {
            let (log, clock) = memory(START_US)?;
            let effects = Effects::new(&log);
            let claim = pay("inv-1").class(class);
            let first = held(effects.claim_blocking(&claim))?;
            doubt(&effects, &first, &clock)?;
            let second = effects.claim_blocking(&claim);
            if class.bears_repeating() {
                let second = held(second)?;
                assert_eq!(second.attempt, 2, "{class} {at}");
                // Whoever comes late does not speak for the call any more.
                let late = effects.change_blocking(&first.target(), &Change::completed(&1)?);
                assert_eq!(code(late), "stale_claim");
                effects.change_blocking(&second.target(), &Change::completed(&2)?)?;
            } else {
                assert_eq!(code(second), "effect_unknown", "{class} {at}");
                let unknown = list(&log, &EffectFilter::new().state(State::Unknown))?;
                assert_eq!(unknown.len(), 1);
                let late = effects.change_blocking(&first.target(), &Change::completed(&1)?);
                assert_eq!(code(late), "stale_claim");
            }
            assert_sound(&log)?;
        }
    }
    Ok(())
}

/// A holder in this process is gone when another opening sees its claim; a holder elsewhere has
/// the whole lease again, because nobody knows how long the log was closed.
#[test]
fn what_is_held_when_the_log_is_opened_again() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let effects = Effects::new(&log);
    let claims = [
        pay("here").hold(Hold::Opening).class(Class::Idempotent),
        pay("here-write").hold(Hold::Opening),
        pay("there").class(Class::Idempotent),
    ];
    for claim in &claims {
        held(effects.claim_blocking(claim))?;
    }
    site.clock.advance(30 * SECOND);
    for claim in &claims {
        assert_eq!(code(effects.claim_blocking(claim)), "in_flight");
    }
    site.clock.advance(29 * SECOND);
    drop(effects);
    let log = site.reopen(log)?;
    let effects = Effects::new(&log);
    assert_eq!(list(&log, &EffectFilter::new().expired())?.len(), 2);
    assert_eq!(held(effects.claim_blocking(&claims[0]))?.attempt, 2);
    assert_eq!(code(effects.claim_blocking(&claims[1])), "effect_unknown");
    site.clock.advance(59 * SECOND);
    assert_eq!(code(effects.claim_blocking(&claims[2])), "in_flight");
    site.clock.advance(SECOND);
    assert_eq!(held(effects.claim_blocking(&claims[2]))?.attempt, 2);
    assert_sound(&log)
}

/// Whoever sets the wall clock neither ends a lease nor stretches it, and listings say so too.
#[test]
fn a_lease_runs_on_the_monotonic_clock() -> Outcome {
    for (wall, advance) in [(1_800, 0), (7_200, 0), (7_200, 59), (-86_400, 59)] {
        let (log, clock) = memory(START_US)?;
        let effects = Effects::new(&log);
        let claim = pay("inv-1").class(Class::Idempotent);
        let first = held(effects.claim_blocking(&claim))?;
        let start = i64::try_from(1_750_000_000 * SECOND)?;
        clock.set_wall(u64::try_from(start + wall * 1_000_000)?);
        clock.advance(advance * SECOND);
        assert_eq!(code(effects.claim_blocking(&claim)), "in_flight", "{wall}");
        let listed = effects.get(&first.id)?.ok_or("there is one")?;
        assert!(!listed.is_expired, "{wall}");
        clock.advance((60 - advance) * SECOND);
        assert_eq!(held(effects.claim_blocking(&claim))?.attempt, 2, "{wall}");
    }
    Ok(())
}

/// Who opens the log for each command holds by the clock, or its lease would never end.
#[test]
fn what_is_held_by_the_clock_ends_however_often_the_log_is_opened() -> Outcome {
    let site = Clocked::new()?;
    let mut log = site.create(Sealing::Required)?;
    let claim = |id: &str| pay(id).hold(Hold::ByClock(Duration::from_secs(60)));
    let renewed = held(Effects::new(&log).claim_blocking(&claim("renewed")))?;
    held(Effects::new(&log).claim_blocking(&claim("left")))?;
    for _ in 0..2 {
        site.clock.advance(29 * SECOND);
        log = site.reopen(log)?;
        let renew = Change::Renew(Hold::ByClock(Duration::from_secs(60)));
        Effects::new(&log).change_blocking(&renewed.target(), &renew)?;
        let left = Effects::new(&log).claim_blocking(&claim("left"));
        assert_eq!(code(left), "in_flight");
    }
    site.clock.advance(3 * SECOND);
    log = site.reopen(log)?;
    let effects = Effects::new(&log);
    let expired = list(&log, &EffectFilter::new().expired())?;
    let ends: Vec<_> = expired.iter().map(|one| one.lease_expires_at_us).collect();
    assert_eq!(ends, [Some(1_750_000_060_000_000)]);
    assert_eq!(
        code(effects.claim_blocking(&claim("left"))),
        "effect_unknown"
    );
    assert_eq!(code(effects.claim_blocking(&claim("renewed"))), "in_flight");
    assert_sound(&log)
}

/// What a stream's calls were after any event is what the ledger said then.
#[test]
fn calls_as_of_a_point_are_what_they_were() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let effects = Effects::new(&log);
    let mut seen = Vec::new();
    let mut look = |log: &Log| -> Outcome {
        let mut now = list(log, &EffectFilter::new().stream("run-1"))?;
        now.sort_by_key(|effect| effect.fence);
        seen.push((Position::new(log.size() - 1), now));
        Ok(())
    };
    let first = held(effects.claim_blocking(&pay("a")))?;
    look(&log)?;
    clock.advance(SECOND);
    held(effects.claim_blocking(&pay("b").class(Class::Idempotent)))?;
    look(&log)?;
    effects.change_blocking(&first.target(), &failed(Executed::No))?;
    look(&log)?;
    clock.advance(SECOND);
    // Another run takes it over: it is no longer this one's.
    let other = Claim::tool("run-2", "pay").request("a").hold(LEASE);
    held(effects.claim_blocking(&other))?;
    look(&log)?;
    clock.advance(120 * SECOND);
    held(effects.claim_blocking(&pay("b").class(Class::Idempotent)))?;
    look(&log)?;
    for (at, then) in seen {
        let told = of_stream(&log, "run-1", at)?;
        assert!(told.iter().map(|told| &**told).eq(&then), "{at}");
    }
    Ok(())
}

/// Only a person or a commander settles what nobody knows; a program that asked the other side
/// says so.
#[test]
fn an_unknown_outcome_is_settled_by_people() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let person = Effects::new(&site.person(&log)?);
    let effects = Effects::new(&log);
    let doubt = |id: &str| -> Outcome<Held> {
        let held = held(effects.claim_blocking(&pay(id)))?;
        effects.change_blocking(&held.target(), &gave_up(true))?;
        Ok(held)
    };
    let found = |found: Found, by_program: bool| Change::Reconcile {
        found,
        evidence: Some("statement of account".to_owned()),
        by_program,
    };
    let release = Change::Release {
        reason: "the gateway lost it".to_owned(),
    };
    let paid = doubt("paid")?;
    let target = effects.get(&paid.id)?.ok_or("there is one")?.target();
    let made = found(Found::Completed(b"7".to_vec()), false);
    for change in [&made, &release] {
        assert_eq!(
            code(effects.change_blocking(&target, change)),
            "not_allowed"
        );
    }
    person.change_blocking(&target, &made)?;
    assert_eq!(
        result(effects.claim_blocking(&pay("paid")))?.as_deref(),
        Some("7")
    );
    for change in [&made, &release] {
        assert_eq!(
            code(person.change_blocking(&target, change)),
            "nothing_to_settle"
        );
    }
    let unpaid = doubt("unpaid")?;
    person.change_blocking(&unpaid.target(), &found(Found::NotExecuted, false))?;
    assert_eq!(held(effects.claim_blocking(&pay("unpaid")))?.attempt, 2);
    let asked = doubt("asked")?;
    effects.change_blocking(
        &asked.target(),
        &found(Found::Completed(b"8".to_vec()), true),
    )?;
    assert_eq!(
        result(effects.claim_blocking(&pay("asked")))?.as_deref(),
        Some("8")
    );
    // One that is in flight can be released too: its holder will not come back.
    let stuck = held(effects.claim_blocking(&pay("stuck")))?;
    person.change_blocking(&stuck.target(), &release)?;
    let late = effects.change_blocking(&stuck.target(), &Change::completed(&1)?);
    assert_eq!(code(late), "stale_claim");
    assert_eq!(held(effects.claim_blocking(&pay("stuck")))?.attempt, 2);
    // One whose lease is over is unknown, whether or not somebody claimed it since.
    let lapsed = held(effects.claim_blocking(&pay("lapsed")))?;
    let early = person.change_blocking(&lapsed.target(), &made);
    assert_eq!(code(early), "nothing_to_settle");
    site.clock.advance(60 * SECOND);
    let settled = person.change_blocking(&lapsed.target(), &made)?;
    let paid = result(effects.claim_blocking(&pay("lapsed")))?;
    assert_eq!(paid.as_deref(), Some("7"));
    let [unknown, reconciled] = [settled.get() - 1, settled.get()]
        .map(|at| log.record(Position::new(at)).unwrap().header.event_type);
    assert_eq!(unknown, "effect.outcome_unknown");
    assert_eq!(reconciled, "effect.reconciled");
    assert_sound(&log)
}

#[test]
fn a_read_is_made_again_when_it_is_no_longer_fresh() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let effects = Effects::new(&log);
    let look = Claim::tool("run-1", "look")
        .class(Class::Read)
        .fresh(Fresh::Default)
        .hold(LEASE);
    let write = pay("inv-1").fresh(Fresh::For(Duration::from_micros(1)));
    for claim in [&look, &write] {
        let held = held(effects.claim_blocking(claim))?;
        effects.change_blocking(&held.target(), &Change::completed(&1)?)?;
    }
    clock.advance(299 * SECOND);
    assert_eq!(result(effects.claim_blocking(&look))?.as_deref(), Some("1"));
    clock.advance(SECOND);
    assert_eq!(held(effects.claim_blocking(&look))?.attempt, 1);
    assert_eq!(
        result(effects.claim_blocking(&write))?.as_deref(),
        Some("1")
    );
    Ok(())
}

#[test]
fn a_refused_result_is_stored_and_not_asked_for_again() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let held = held(effects.claim_blocking(&pay("inv-1")))?;
    let change = Change::Complete {
        result: Some(b"{\"bad\":1}".to_vec()),
        rejected: Some("schema".to_owned()),
    };
    effects.change_blocking(&held.target(), &change)?;
    let Claimed::Completed(outcome) = effects.claim_blocking(&pay("inv-1"))? else {
        return Err("it was made".into());
    };
    assert_eq!(outcome.rejected.as_deref(), Some("schema"));
    assert!(outcome.effect.rejected);
    Ok(())
}

/// In a plain log the call is found again after its result is gone. In an encrypted one the key
/// that finds it is gone too.
#[test]
fn an_erased_result_is_not_asked_for_again() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let effects = Effects::new(&log);
    let claim = pay("inv-1").scope("ann");
    let held = held(effects.claim_blocking(&claim))?;
    // Not while somebody may still be told what it answers.
    let refused = log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {});
    assert_eq!(refused.unwrap_err().code(), "scope_in_use");
    effects.change_blocking(&held.target(), &Change::completed(&"Ann")?)?;
    log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
    assert_eq!(code(effects.claim_blocking(&claim)), "result_erased");
    assert_sound(&log)?;

    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let effects = Effects::new(&log);
    let Claimed::Held(first) = effects.claim_blocking(&claim)? else {
        return Err("nobody made it".into());
    };
    effects.change_blocking(&first.target(), &Change::completed(&"Ann")?)?;
    log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
    let Claimed::Held(anew) = effects.claim_blocking(&claim)? else {
        return Err("nobody finds it".into());
    };
    assert_eq!(anew.attempt, 1);
    assert_ne!(anew.id, first.id);
    assert_sound(&log)
}

/// What was recorded elsewhere is history, not a claim; a ledger that was taken over is one.
#[test]
fn recordings_claim_nothing() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let held = held(effects.claim_blocking(&pay("inv-1")))?;
    let forged = NewEvent::typed(&EffectCompleted::default(), "run-1")?.tag(held.id.tag());
    let control = runstone_codec::Control::new()
        .bytes(1, held.id.digest)
        .u64(2, held.fence.get());
    for forged in [forged.clone().tag("imported:zu-jsonl"), forged] {
        let forged = Draft::new(forged).control(control.clone());
        log.import_blocking(vec![vec![forged]]).remove(0)?;
    }
    assert_eq!(code(effects.claim_blocking(&pay("inv-1"))), "in_flight");
    let written = log.append_blocking(NewEvent::new("effect.completed", "run-1"));
    assert_eq!(written.unwrap_err().code(), "owned_namespace");
    Ok(())
}

#[test]
fn of_many_callers_one_executes() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let barrier = Arc::new(Barrier::new(64));
    let threads: Vec<_> = (0..64)
        .map(|n| {
            let (log, barrier) = (log.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                let effects = Effects::new(&log);
                let claim = pay("inv-1").holder(format!("worker-{n}"));
                barrier.wait();
                match effects.claim_blocking(&claim) {
                    Ok(Claimed::Held(held)) => {
                        let done = Change::completed(&n).unwrap();
                        effects.change_blocking(&held.target(), &done).unwrap();
                        "held"
                    }
                    Ok(Claimed::Completed(_)) => "completed",
                    Err(error) => error.code(),
                }
            })
        })
        .collect();
    let answers: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let held = answers.iter().filter(|answer| **answer == "held").count();
    assert_eq!(held, 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| ["held", "completed", "in_flight"].contains(answer))
    );
    let claims = Read::new(Query::of_type("effect.claimed"));
    assert_eq!(log.read(claims)?.count(), 1);
    assert_sound(&log)
}

/// Nothing is one answer, and no answer another.
#[test]
fn a_result_of_null_is_a_result() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    for (id, answer) in [("inv-1", Some("null")), ("inv-2", None)] {
        let call = held(effects.claim_blocking(&pay(id)))?;
        let complete = Change::Complete {
            result: answer.map(|json| json.as_bytes().to_vec()),
            rejected: None,
        };
        effects.change_blocking(&call.target(), &complete)?;
        assert_eq!(result(effects.claim_blocking(&pay(id)))?.as_deref(), answer);
    }
    Ok(())
}

#[test]
fn calls_are_found_by_key_by_event_and_by_state() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    assert_eq!(effects.find(&pay("inv-1"))?, None);
    let first = held(effects.claim_blocking(&pay("inv-1")))?;
    let second = held(effects.claim_blocking(&pay("inv-2")))?;
    let at = effects.change_blocking(&second.target(), &Change::completed(&1)?)?;
    assert_eq!(
        effects.find(&pay("inv-1"))?.map(|effect| effect.id),
        Some(first.id.clone())
    );
    for position in [second.fence, at] {
        assert_eq!(effects.at(position)?.id, second.id);
    }
    assert_eq!(code(effects.at(Position::new(0))), "effect_not_found");
    let names = |filter: &EffectFilter| -> Outcome<Vec<u64>> {
        let found = list(&log, filter)?;
        Ok(found.iter().map(|effect| effect.fence.get()).collect())
    };
    assert_eq!(names(&EffectFilter::new().state(State::InFlight))?, [1]);
    assert_eq!(names(&EffectFilter::new().state(State::Completed))?, [2]);
    assert_eq!(names(&EffectFilter::new().stream("run-2"))?, [0; 0]);
    assert_eq!(names(&EffectFilter::new())?.len(), 2);
    Ok(())
}

/// Whoever looks at a call is not its holder.
#[test]
fn nobody_speaks_for_a_claim_without_naming_it() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let first = held(effects.claim_blocking(&pay("inv-1")))?;
    let seen = effects.get(&first.id)?.ok_or("there is one")?.target();
    for change in [
        Change::completed(&"forged")?,
        failed(Executed::No),
        gave_up(false),
        Change::Renew(LEASE),
    ] {
        assert_eq!(code(effects.change_blocking(&seen, &change)), "stale_claim");
    }
    effects.change_blocking(&first.target(), &Change::completed(&1)?)?;
    Ok(())
}

/// Two calls that are not the same are never taken for one, whatever their keys are made of.
#[test]
fn keys_of_different_sources_are_different_keys() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let fields = KeySource::Business(vec![("inv".to_owned(), "1".to_owned())]);
    let second = KeySource::Call {
        id: "x".to_owned(),
        ordinal: 1,
    };
    let tool = |name: &str| Claim::tool("run-1", name);
    for claim in [
        tool("pay").request("inv=1"),
        tool("pay").key(fields),
        tool("pay").call_id("x#1"),
        tool("pay").key(second),
        // Without arguments and keys the tools are what tells them apart.
        tool("list_files"),
        tool("get_time"),
    ] {
        held(effects.claim_blocking(&claim))?;
    }
    // Integers that are one double are not one account.
    for args in ["{\"account\":9007199254740993}", "{\"a\":1,\"a\":2}"] {
        let claim = tool("transfer").args_json(args);
        assert_eq!(code(effects.claim_blocking(&claim)), "bad_arguments");
    }
    let long = tool(&"x".repeat(257));
    assert_eq!(code(effects.claim_blocking(&long)), "name_too_long");
    Ok(())
}

/// A caller that goes on asking does not fill the log.
#[test]
fn refusals_are_recorded_once_a_second_each() -> Outcome {
    let (log, _) = memory(START_US)?;
    let effects = Effects::new(&log);
    let first = held(effects.claim_blocking(&pay("inv-1")))?;
    effects.change_blocking(&first.target(), &gave_up(true))?;
    let before = log.size();
    for _ in 0..50 {
        assert_eq!(
            code(effects.claim_blocking(&pay("inv-1"))),
            "effect_unknown"
        );
        let other = pay("inv-1").args_json("{\"a\":1}");
        assert_eq!(code(effects.claim_blocking(&other)), "key_conflict");
    }
    assert_eq!(log.size(), before + 2);
    Ok(())
}

/// What a person lets be made again may be attempted as often as any call.
#[test]
fn a_release_begins_the_attempts_anew() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let person = Effects::new(&site.person(&log)?);
    let effects = Effects::new(&log);
    for attempt in 1..=3 {
        let held = held(effects.claim_blocking(&pay("inv-1")))?;
        assert_eq!(held.attempt, attempt);
        effects.change_blocking(&held.target(), &failed(Executed::No))?;
    }
    assert_eq!(
        code(effects.claim_blocking(&pay("inv-1"))),
        "attempts_exhausted"
    );
    let doubtful = held(effects.claim_blocking(&pay("inv-2")))?;
    for attempt in 2..=6 {
        let release = Change::Release {
            reason: "the gateway lost it".to_owned(),
        };
        person.change_blocking(&doubtful.target().any(), &release)?;
        let held = held(effects.claim_blocking(&pay("inv-2")))?;
        assert_eq!(held.attempt, attempt);
    }
    assert_sound(&log)
}
