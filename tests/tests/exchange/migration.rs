//! A ledger of mycelium, taken over: its keys are claimed as they stand there, and an older copy of
//! it undoes nothing.

use runstone_import::{Format, Importer, Options};
use runstone_projections::effects::{
    Change, Claim, Claimed, EffectError, EffectFilter, Effects, KeySource, State, list,
};
use runstone_projections::standard_folds;
use runstone_store::{CreateOptions, Log, ManualClock, OpenOptions, VerifyLevel};
use runstone_tests::command::{Runstone, recordings};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::sync::Arc;

fn opening() -> OpenOptions {
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    open
}

fn memory() -> Outcome<Log> {
    let mut open = opening();
    open.options.clock = Arc::new(ManualClock::new(1_750_000_000_000_000));
    Ok(Log::memory(&CreateOptions::default(), open)?)
}

/// An entry of a ledger. `outcome` is what it says besides its call.
fn entry(key: &str, call: &Value, outcome: &Value) -> (String, Value) {
    let mut entry = json!({"request_id": key, "args": [], "kwargs": {}, "result": null, "error": null,
        "started_at": 1_749_000_000.25, "finished_at": null});
    for part in [call, outcome] {
        let members = part.as_object().unwrap().clone();
        entry.as_object_mut().unwrap().extend(members);
    }
    (key.to_owned(), entry)
}

fn completed(result: &Value) -> Value {
    json!({"status": "completed", "result": result, "finished_at": 1_749_000_001.5})
}

fn failed() -> Value {
    json!({"status": "failed", "error": "RuntimeError: gateway: down", "finished_at": 1_749_000_001.5})
}

fn in_flight() -> Value {
    json!({"status": "in-flight"})
}

fn ledger(entries: impl IntoIterator<Item = (String, Value)>) -> String {
    let ledger: serde_json::Map<String, Value> = entries.into_iter().collect();
    serde_json::to_string_pretty(&ledger).unwrap()
}

/// Imports a ledger: events added, and records rejected.
fn import(log: &Log, ledger: &str) -> Outcome<(usize, usize)> {
    let items = Importer::new(
        Format::MyceliumLedger,
        ledger.as_bytes(),
        Options::default(),
    );
    let (mut added, mut rejected) = (0, 0);
    for item in items {
        match item {
            Ok(record) if record.drafts.is_empty() => {}
            Ok(record) => {
                for outcome in log.import_blocking(vec![record.drafts]) {
                    added += outcome?.added;
                }
            }
            Err(_) => rejected += 1,
        }
    }
    Ok((added, rejected))
}

fn tool(key: &str, name: &str, args: &Value) -> Outcome<Claim> {
    Ok(Claim::tool("run-1", name).request(key).args(args)?)
}

fn told(claimed: Result<Claimed, EffectError>) -> String {
    match claimed {
        Ok(Claimed::Completed(outcome)) => {
            let result = outcome.result.unwrap_or_else(|| b"nothing".to_vec());
            // As it was stored, but for the white space.
            serde_json::from_slice::<Value>(&result)
                .map_or_else(|_| "nothing".to_owned(), |json| json.to_string())
        }
        Ok(Claimed::Held(held)) => format!("held {}", held.attempt),
        Err(error) => error.code().to_owned(),
    }
}

fn assert_sound(log: &Log) -> Outcome {
    for check in log.check_folds(None, &|_, _| {})? {
        assert!(check.is_equal(), "{check:?}");
    }
    assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
    Ok(())
}

fn pay(amount: &str) -> Value {
    let kwargs: Value =
        serde_json::from_str(&format!(r#"{{"amount": {amount}, "to": "a"}}"#)).unwrap();
    json!({"tool": "pay", "kwargs": kwargs})
}

#[test]
fn keys_are_claimed_as_the_ledger_has_them() -> Outcome {
    let log = memory()?;
    let text = ledger([
        entry("inv-1", &pay("100.0"), &completed(&json!({"paid": 1e16}))),
        entry("inv-2", &pay("1"), &failed()),
        entry("inv-3", &pay("1"), &in_flight()),
        entry("inv-4", &pay("1"), &completed(&Value::Null)),
        entry(
            "inv-5",
            &json!({"tool": "pay", "args": [100.0], "kwargs": {"to": "a"}}),
            &completed(&json!("paid")),
        ),
    ]);
    assert_eq!(import(&log, &text)?, (10, 0));
    assert_eq!(import(&log, &text)?, (0, 0));
    let effects = Effects::new(&log);
    let claim = |claim: Claim| told(effects.claim_blocking(&claim));
    let args = json!({"to": "a", "amount": 100});
    // In any order of the arguments, and however the number is spelled.
    assert_eq!(claim(tool("inv-1", "pay", &args)?), r#"{"paid":1e+16}"#);
    let other = json!({"to": "b", "amount": 100});
    assert_eq!(claim(tool("inv-1", "pay", &other)?), "key_conflict");
    assert_eq!(claim(tool("inv-1", "refund", &args)?), "key_conflict");
    let by_key = Claim::tool("run-2", "pay").bound_to_key_only();
    assert_eq!(claim(by_key.clone().request("inv-1")), r#"{"paid":1e+16}"#);
    let refund = Claim::tool("run-2", "refund").bound_to_key_only();
    assert_eq!(claim(refund.request("inv-1")), "key_conflict");

    let one = json!({"to": "a", "amount": 1.0});
    assert_eq!(claim(tool("inv-2", "pay", &one)?), "held 2");
    assert_eq!(claim(tool("inv-2", "pay", &one)?), "in_flight");
    assert_eq!(claim(tool("inv-3", "pay", &one)?), "effect_unknown");
    assert_eq!(claim(tool("inv-4", "pay", &one)?), "null");
    // Arguments by position have no names to be compared by.
    assert_eq!(claim(tool("inv-5", "pay", &args)?), "key_conflict");
    assert_eq!(claim(by_key.request("inv-5")), "\"paid\"");
    assert_sound(&log)
}

#[test]
fn keys_of_tasks_are_those_of_runs_and_of_business_fields() -> Outcome {
    let log = memory()?;
    let call = |kwargs: Value| json!({"task": "invoice", "kwargs": kwargs});
    let fields = json!({"id": "inv-42", "amount": 100.0});
    import(
        &log,
        &ledger([
            entry("t-1", &call(json!({})), &completed(&json!(1))),
            entry(
                "invoice:2026-11",
                &call(fields.clone()),
                &completed(&json!(2)),
            ),
            entry(
                "invoice:id=inv-42",
                &call(fields.clone()),
                &completed(&json!(3)),
            ),
        ]),
    )?;
    let effects = Effects::new(&log);
    let task = |key: KeySource, args: &Value| -> Outcome<String> {
        let claim = Claim::task("run-1", "invoice").key(key).args(args)?;
        Ok(told(effects.claim_blocking(&claim)))
    };
    assert_eq!(task(KeySource::Request("t-1".into()), &json!({}))?, "1");
    assert_eq!(task(KeySource::Run("2026-11".into()), &fields)?, "2");
    let business = KeySource::Business(vec![("id".into(), "inv-42".into())]);
    assert_eq!(task(business.clone(), &fields)?, "3");
    let claim = Claim::task("run-1", "invoice")
        .key(business)
        .bound_to_key_only();
    assert_eq!(told(effects.claim_blocking(&claim)), "3");
    // A tool of that name and key is another call.
    let claim = Claim::tool("run-1", "invoice")
        .request("t-1")
        .bound_to_key_only();
    assert_eq!(told(effects.claim_blocking(&claim)), "held 1");
    Ok(())
}

#[test]
fn a_later_copy_of_the_ledger_goes_on_and_an_older_one_undoes_nothing() -> Outcome {
    let log = memory()?;
    let effects = Effects::new(&log);
    let args = json!({"to": "a", "amount": 1});
    let claim = |key: &str| -> Outcome<String> {
        Ok(told(effects.claim_blocking(&tool(key, "pay", &args)?)))
    };
    let again = |outcome: Value| {
        let mut outcome = outcome;
        outcome["started_at"] = json!(1_749_000_100.0);
        outcome
    };
    let before = ledger([
        entry("inv-1", &pay("1"), &failed()),
        entry("inv-2", &pay("1"), &in_flight()),
        entry("inv-3", &pay("1"), &failed()),
        entry("inv-4", &pay("1"), &failed()),
    ]);
    let after = ledger([
        entry("inv-1", &pay("1"), &again(completed(&json!("paid")))),
        entry("inv-2", &pay("1"), &completed(&json!("late"))),
        entry("inv-3", &pay("1"), &again(in_flight())),
        entry("inv-4", &pay("1"), &again(failed())),
    ]);
    import(&log, &before)?;
    assert_eq!(claim("inv-2")?, "effect_unknown");
    // Somebody takes this one up here, and the other ledger has no more say in it.
    assert_eq!(claim("inv-4")?, "held 2");
    import(&log, &after)?;
    let now = || -> Outcome<[String; 4]> {
        Ok([
            claim("inv-1")?,
            claim("inv-2")?,
            claim("inv-3")?,
            claim("inv-4")?,
        ])
    };
    let want = ["\"paid\"", "\"late\"", "effect_unknown", "in_flight"];
    assert_eq!(now()?, want);
    // The other way round: the older copy comes later.
    let log = memory()?;
    let effects = Effects::new(&log);
    let claim = |key: &str| -> Outcome<String> {
        Ok(told(effects.claim_blocking(&tool(key, "pay", &args)?)))
    };
    import(&log, &after)?;
    import(&log, &before)?;
    assert_eq!(claim("inv-1")?, "\"paid\"");
    assert_eq!(claim("inv-2")?, "\"late\"");
    assert_eq!(claim("inv-3")?, "effect_unknown");
    assert_eq!(claim("inv-4")?, "held 2");
    let claim = tool("inv-4", "pay", &args)?;
    let effect = effects.find(&claim)?.unwrap();
    effects.change_blocking(
        &effect.target().fence(effect.fence),
        &Change::completed(&7)?,
    )?;
    import(&log, &before.replace("gateway", "network"))?;
    assert_eq!(told(effects.claim_blocking(&claim)), "7");
    assert_sound(&log)
}

#[test]
fn a_ledger_that_does_not_parse_is_no_ledger() -> Outcome {
    let log = memory()?;
    let text = ledger([
        entry("inv-1", &pay("1"), &completed(&json!(1))),
        entry("inv-2", &pay("1"), &completed(&json!(2))),
    ]);
    for end in (0..text.len()).step_by(7) {
        assert_eq!(import(&log, &text[..end])?, (0, 1), "{end}");
    }
    assert_eq!(
        import(&log, &text.replace("\"inv-2\":", "\"inv-2\""))?,
        (0, 1)
    );
    assert_eq!(import(&log, "[]")?.0, 0);
    assert_eq!(import(&log, "{}")?, (0, 0));
    // What cannot be claimed, or is in no state that is known, is rejected by itself.
    let odd = ledger([
        entry("", &pay("1"), &failed()),
        entry("inv-3", &pay("1"), &json!({"status": "done"})),
        entry(
            "inv-4",
            &pay("1"),
            &json!({"status": "failed", "request_id": "inv-5"}),
        ),
        entry("inv-6", &json!({"kwargs": {}}), &failed()),
        entry("inv-7", &pay("1"), &completed(&json!(7))),
    ]);
    assert_eq!(import(&log, &odd)?, (2, 4));
    Ok(())
}

#[test]
fn the_ledgers_of_a_real_program_are_taken_over() -> Outcome {
    let Some(folder) = recordings("prior-art") else {
        return Ok(());
    };
    let folder = folder.join("mycelium");
    let site = tempfile::tempdir()?;
    let path = site.path().join("log.redb");
    let runstone = Runstone::on(&path);
    runstone.value(["init"]);
    let files = ["ledger.json", "task-ledger.json"].map(|name| folder.join(name));
    let import = |expected: (u64, u64)| {
        let mut args = vec!["import".to_owned()];
        args.extend(files.iter().map(|file| file.display().to_string()));
        let told = runstone.value(args);
        assert_eq!(
            (told["events"].as_u64(), told["rejected"].as_u64()),
            (Some(expected.0), Some(0))
        );
        assert_eq!(told["skipped_duplicates"], expected.1);
        assert_eq!(told.get("checks"), None);
    };
    // Nobody takes over a ledger by naming a folder.
    let inside = site.path().join("inside");
    std::fs::create_dir(&inside)?;
    std::fs::copy(&files[0], inside.join("ledger"))?;
    let passed = runstone.value(["import".to_owned(), inside.display().to_string()]);
    assert_eq!(
        (passed["files"].as_u64(), passed["events"].as_u64()),
        (Some(0), Some(0))
    );
    import((112, 0));
    import((0, 112));

    let log = Log::open(&path, opening())?;
    let states = |state| Ok::<_, EffectError>(list(&log, &EffectFilter::new().state(state))?.len());
    assert_eq!(states(State::Completed)?, 29 + 12);
    assert_eq!(states(State::Failed)?, 8 + 2);
    assert_eq!(states(State::Unknown)?, 3 + 2);
    let effects = Effects::new(&log);
    for file in &files {
        let ledger: serde_json::Map<String, Value> = serde_json::from_slice(&std::fs::read(file)?)?;
        for (key, entry) in ledger {
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            let claim = match (text("tool"), text("task")) {
                (Some(tool), _) => Claim::tool("here", tool),
                (_, task) => Claim::task("here", task.unwrap()),
            };
            let claim = claim.request(&key);
            let claim = if entry["args"].as_array().unwrap().is_empty() {
                claim.args(&entry["kwargs"])?
            } else {
                claim.bound_to_key_only()
            };
            let told = told(effects.claim_blocking(&claim));
            match text("status").unwrap().as_str() {
                "completed" => {
                    let result: Value = serde_json::from_str(&told)?;
                    assert_eq!(result, entry["result"], "{key}");
                }
                "failed" => assert_eq!(told, "held 2", "{key}"),
                _ => assert_eq!(told, "effect_unknown", "{key}"),
            }
        }
    }
    log.close_blocking()?;
    drop(log);
    runstone.check();
    Ok(())
}
