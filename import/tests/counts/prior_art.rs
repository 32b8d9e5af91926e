//! What other packages left behind, against the counts and verdicts that the READMEs beside it state.

use super::*;
use runstone_import::Check;
use serde_json::Value;

/// The JSON block at the end of a README.
fn block(folder: &Path) -> Value {
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let (_, block) = readme.rsplit_once("```json").unwrap();
    serde_json::from_str(block.split("```").next().unwrap()).unwrap()
}

fn read_with(path: &Path, format: Format, options: Options) -> Vec<Item> {
    let bytes = fs::read(path).unwrap();
    let head = &bytes[..bytes.len().min(runstone_import::DETECT_BYTES)];
    assert_eq!(detect(head), Some(format), "{}", path.display());
    Importer::new(format, bytes.as_slice(), options).collect()
}

fn of_type<'a>(drafts: &'a [Draft], name: &str) -> Vec<&'a Draft> {
    let wanted = |draft: &&Draft| draft.event.event_type == name;
    drafts.iter().filter(wanted).collect()
}

fn count(drafts: &[Draft], name: &str) -> usize {
    of_type(drafts, name).len()
}

fn payload(draft: &Draft) -> Value {
    serde_json::from_slice(&draft.event.payload).unwrap()
}

fn stated_count(stated: &Value, names: &[&str]) -> usize {
    let found = names.iter().fold(stated, |value, name| &value[*name]);
    let count = found.as_u64().unwrap_or_else(|| panic!("{names:?}"));
    usize::try_from(count).unwrap()
}

#[test]
fn mycelium_ledgers_as_stated() {
    let Some(folder) = data("prior-art/mycelium") else {
        return;
    };
    let stated = block(&folder);
    for (file, name) in [
        ("ledger.json", "ledger"),
        ("task-ledger.json", "task_ledger"),
    ] {
        let stated = &stated[name];
        let events = drafts(read(&folder.join(file), Format::MyceliumLedger));
        let words = ["completed", "failed", "in-flight"];
        let [completed, failed, in_flight] =
            words.map(|state| stated_count(stated, &["by_status", state]));
        assert_eq!(
            count(&events, "effect.claimed"),
            stated_count(stated, &["entries"])
        );
        assert_eq!(count(&events, "effect.completed"), completed);
        assert_eq!(count(&events, "effect.failed"), failed);
        assert_eq!(count(&events, "effect.outcome_unknown"), in_flight);
        let null = of_type(&events, "effect.completed")
            .into_iter()
            .filter(|draft| payload(draft)["result"].is_null());
        assert_eq!(
            null.count(),
            stated_count(stated, &["completed_with_null_result"])
        );
        let positional = of_type(&events, "effect.claimed")
            .into_iter()
            .filter(|draft| payload(draft)["args"].is_null());
        assert_eq!(
            positional.count(),
            stated_count(stated, &["with_positional_args"])
        );
        for draft in of_type(&events, "effect.failed") {
            let error = &payload(draft)["error"];
            let text = format!(
                "{}: {}",
                error["type"].as_str().unwrap(),
                error["message"].as_str().unwrap()
            );
            let known = stated["failed"].as_object().unwrap();
            assert!(known.values().any(|one| one == text.as_str()), "{text}");
        }
    }
}

#[test]
fn mycelium_receipts_as_stated() {
    let Some(folder) = data("prior-art/mycelium") else {
        return;
    };
    let stated = block(&folder);
    let key = stated["signing_key"].as_str().unwrap();
    let checks = |items: &[Item]| {
        let mut counts = [0; 3];
        let mut failed = Vec::new();
        for item in items.iter().flatten() {
            match item.check.as_ref().unwrap() {
                Check::Passed => counts[0] += 1,
                Check::Failed { .. } => {
                    counts[1] += 1;
                    failed.push(item.line);
                }
                _ => counts[2] += 1,
            }
        }
        (counts, failed)
    };
    let whole = folder.join("receipts.jsonl");
    let with = |key: &str| Options::new().receipt_key(key);
    let format = Format::MyceliumReceipts;
    let right = read_with(&whole, format, with(key));
    assert_eq!(checks(&right), ([41, 0, 0], Vec::new()));
    assert_eq!(
        checks(&read_with(&whole, format, with("other"))).0,
        [0, 41, 0]
    );
    assert_eq!(checks(&read(&whole, format)).0, [0, 0, 41]);
    let events = drafts(right);
    let kept = count(&events, "harness.mycelium_receipts.receipt");
    assert_eq!(kept, stated_count(&stated, &["receipts", "lines"]));
    for verdict in of_type(&events, "verdict.given") {
        assert_eq!(payload(verdict)["verdict"], "pass");
    }
    // With the key, what was imported without it gets its verdicts, and nothing else.
    let ids = |events: &[Draft]| -> BTreeSet<Uuid> {
        events
            .iter()
            .map(|draft| draft.event.event_id.unwrap())
            .collect()
    };
    let before = ids(&drafts(read(&whole, format)));
    assert_eq!(ids(&events).difference(&before).count(), 41);

    let tampered = folder.join("tampered");
    let altered = read_with(&tampered.join("receipts-altered.jsonl"), format, with(key));
    assert_eq!(checks(&altered), ([40, 1, 0], vec![12]));
    let deleted = read_with(&tampered.join("receipts-deleted.jsonl"), format, with(key));
    assert_eq!(checks(&deleted), ([40, 0, 0], Vec::new()));
    let torn = read_with(&tampered.join("receipts-torn.jsonl"), format, with(key));
    assert_eq!(checks(&torn), ([40, 0, 0], Vec::new()));
    let rejected: Vec<_> = torn.iter().filter_map(|item| item.as_ref().err()).collect();
    assert_eq!(
        (rejected.len(), rejected[0].line, rejected[0].code()),
        (1, 41, "import_record_truncated")
    );
}

#[test]
fn meshflow_runs_as_stated() {
    let Some(folder) = data("prior-art/meshflow") else {
        return;
    };
    let stated = block(&folder);
    let mut events = Vec::new();
    for run in ["run-1", "run-2", "run-3"] {
        let items = read(&folder.join(format!("{run}.json")), Format::MeshflowRun);
        assert_eq!(chain(&items), Ok(()));
        let own = drafts(items);
        let counts = Counts::of(&own);
        let stated = &stated["runs"][run];
        assert_eq!(
            count(&own, "step.started"),
            stated_count(stated, &["steps"])
        );
        assert_eq!(
            count(&own, "step.blocked"),
            stated_count(stated, &["blocked_steps"])
        );
        let tokens = stated["total_tokens"].as_u64().unwrap();
        assert_eq!(counts.get("input_tokens"), tokens);
        let usd: f64 = stated["cost_usd_exact_sum"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "prices are small and positive"
        )]
        let micros = (usd * 1e6).round() as u64;
        assert_eq!(counts.get("usd_micros"), micros, "{run}");
        events.extend(own);
    }
    assert_eq!(count(&events, "run.started"), 3);
    assert_eq!(count(&events, "harness.meshflow_run.step"), 16);
    for (verdict, steps) in stated["totals"]["verdicts"].as_object().unwrap() {
        let given = of_type(&events, "verdict.given").into_iter();
        let given = given.filter(|draft| payload(draft)["verdict"] == verdict.as_str());
        assert_eq!(given.count() as u64, steps.as_u64().unwrap(), "{verdict}");
    }
    for (file, stated) in stated["tampered"].as_object().unwrap() {
        if Path::new(file).extension().is_none_or(|end| end != "json") {
            continue;
        }
        let path = folder.join("tampered").join(file);
        let items = read(&path, Format::MeshflowRun);
        let broken = stated["broken"].as_array().unwrap().first();
        let told = chain(&items);
        assert_eq!(told.is_ok(), stated["chain_valid"] == true, "{file}");
        if let Some(broken) = broken {
            let told = told.unwrap_err();
            let place = format!(
                "step {} ({}): {}",
                broken["index"],
                broken["step_id"].as_str().unwrap(),
                broken["what"].as_str().unwrap()
            );
            assert!(told.contains(&place), "{file}: {told}");
        }
        let own = drafts(items);
        assert_eq!(
            count(&own, "step.started"),
            stated_count(stated, &["steps"])
        );
    }
}

/// What came of checking the chain of the one run there is.
fn chain(items: &[Item]) -> Result<(), String> {
    let checks = items
        .iter()
        .flatten()
        .filter_map(|item| item.check.as_ref());
    let checks: Vec<&Check> = checks.collect();
    match checks.as_slice() {
        [Check::Passed] => Ok(()),
        [Check::Failed { why }] => Err(why.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn zu_stores_as_stated() {
    let Some(folder) = data("prior-art/zu") else {
        return;
    };
    let stated = block(&folder);
    let items = read(&folder.join("events.jsonl"), Format::ZuJsonl);
    let lines = stated_count(&stated, &["events_jsonl", "lines"]);
    assert_eq!(items.len(), lines);
    let repeated = items.iter().flatten().filter(|item| item.drafts.is_empty());
    let repeated: Vec<u64> = repeated.map(|item| item.line).collect();
    assert_eq!(repeated, [35]);
    let events = drafts(items);
    for (kind, many) in stated["unique"]["by_type"].as_object().unwrap() {
        let own = kind.strip_prefix("harness.").unwrap_or(kind);
        let found = count(&events, &format!("harness.zu_jsonl.{own}"));
        assert_eq!(found as u64, many.as_u64().unwrap(), "{kind}");
    }
    let counts = Counts::of(&events);
    assert_eq!((counts.get("runs"), counts.get("finished")), (2, 2));
    assert_eq!(
        (counts.get("tool_calls"), counts.get("tool_results")),
        (11, 11)
    );
    assert_eq!(counts.get("unanswered_calls"), 0);
    for (task, stated) in stated["unique"]["tasks"].as_object().unwrap() {
        let stream = format!("zu-jsonl/{task}");
        let own: Vec<Draft> = events
            .iter()
            .filter(|draft| draft.event.stream == stream)
            .cloned()
            .collect();
        let counts = Counts::of(&own);
        let number = |name: &str| stated[name].as_u64().unwrap();
        assert_eq!(counts.get("api_calls"), number("turns_completed"));
        assert_eq!(counts.get("input_tokens"), number("input_tokens"), "{task}");
        assert_eq!(counts.get("output_tokens"), number("output_tokens"));
        let kept = own
            .iter()
            .filter(|draft| draft.event.event_type.starts_with("harness."));
        assert_eq!(kept.count() as u64, number("events"));
        let finished = of_type(&own, "run.finished")[0];
        let want = if stated["end"]["type"] == "harness.task.completed" {
            "success"
        } else {
            "terminal"
        };
        assert_eq!(payload(finished)["status"], want);
    }

    let torn = read(&folder.join("torn.jsonl"), Format::ZuJsonl);
    let (read, rejected): (Vec<_>, Vec<_>) = torn.into_iter().partition(Result::is_ok);
    assert_eq!(
        read.len(),
        stated_count(&stated, &["torn_jsonl", "complete_lines"])
    );
    let rejected = rejected.into_iter().map(Result::unwrap_err);
    let rejected: Vec<_> = rejected.map(|one| (one.line, one.code())).collect();
    assert_eq!(rejected, [(70, "import_record_truncated")]);
}
