//! Real recordings, imported through the command into one encrypted log, against the counts that
//! their READMEs state.

use runstone_projections::runs::{self, RunFilter, Totals};
use runstone_projections::standard_folds;
use runstone_store::{Item, Log, OpenOptions, Query, Read, Record};
use runstone_tests::command::{Runstone, recordings};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The counts of a README: `- **dev** (..): runs 18, tool_calls 458, ..`.
#[derive(Debug)]
struct Stated(BTreeMap<String, f64>);

impl Stated {
    fn of(folder: &Path) -> Self {
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let line = readme
            .lines()
            .find(|line| line.starts_with("- **dev**"))
            .unwrap();
        let (_, counts) = line.split_once("): ").unwrap();
        let pair = |text: &str| {
            let (name, value) = text.trim().rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Self(counts.split(',').map(pair).collect())
    }

    fn get(&self, name: &str) -> u64 {
        let value = self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not stated"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are small and positive"
        )]
        let count = *value as u64;
        count
    }

    /// Dollars as micro-dollars.
    fn micros(&self, name: &str) -> u64 {
        Self(BTreeMap::from([(
            name.to_owned(),
            (self.0[name] * 1e6).round(),
        )]))
        .get(name)
    }
}

/// The log that is imported into.
struct Imported {
    runstone: Runstone,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Imported {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.redb");
        let runstone = Runstone::on(&path);
        runstone.value(["init"]);
        Self {
            runstone,
            path,
            _folder: folder,
        }
    }

    /// Imports files and folders under a prefix: events added, and events known before.
    fn import<'a>(&self, prefix: &str, files: impl IntoIterator<Item = &'a PathBuf>) -> (u64, u64) {
        let mut args = vec!["import".into(), "--stream-prefix".into(), prefix.to_owned()];
        args.extend(files.into_iter().map(|file| file.display().to_string()));
        let told = self.runstone.value(args);
        assert_eq!(told["rejected"], 0, "{told}");
        let count = |name: &str| told[name].as_u64().unwrap();
        (count("events"), count("skipped_duplicates"))
    }

    fn open(&self) -> Log {
        let mut open = OpenOptions::default();
        open.folds = standard_folds();
        Log::open(&self.path, open).unwrap()
    }

    /// Everything after the genesis.
    fn records(&self) -> Vec<Record> {
        let log = self.open();
        let read = Read::new(Query::everything()).from(1_u64);
        log.read(read).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

/// The recordings in a folder, without the notes beside them.
fn recordings_in(folder: &Path) -> Vec<PathBuf> {
    let mut all = sorted(folder);
    all.retain(|path| path.to_string_lossy().ends_with(".jsonl"));
    all
}

/// The files that the README of `claude-code` counts: the sessions, and of every group of
/// snapshots the last.
fn counted(folder: &Path) -> Vec<PathBuf> {
    let mut files = recordings_in(&folder.join("dev/sessions"));
    for group in sorted(&folder.join("dev/snapshots")) {
        files.extend(recordings_in(&group).pop());
    }
    files
}

/// What the fold of runs says of the streams with a prefix: the runs themselves, and all together
/// with the sub-agents that they spawned.
fn totals(log: &Log, prefix: &str) -> (u64, Totals) {
    let (mut spawned_by_nobody, mut totals) = (0, Totals::default());
    for run in runs::list(log, RunFilter::new()).unwrap() {
        let run = run.unwrap();
        if run.stream.starts_with(prefix) {
            spawned_by_nobody += u64::from(run.parent.is_none());
            totals.add(&run);
        }
    }
    (spawned_by_nobody, totals)
}

/// Payloads of a type under a prefix.
fn payloads(log: &Log, prefix: &str, event_type: &str) -> Vec<Value> {
    let read = Read::new(Query::of_type(event_type));
    let records = log.read(read).unwrap().map(Result::unwrap);
    let wanted = records.filter(|record| record.header.stream.starts_with(prefix));
    wanted
        .map(|record| serde_json::from_slice(record.payload.bytes().unwrap()).unwrap())
        .collect()
}

/// Every result is caused by a call that came before it in its run, and no call has two.
fn check_causes(log: &Log) {
    let mut calls = BTreeSet::new();
    let results = [
        "tool.call.requested",
        "tool.call.completed",
        "tool.call.failed",
    ];
    let mut item = Item::new();
    item.types = results.map(str::to_owned).to_vec();
    for record in log.read(Read::new(item.into()).without_payloads()).unwrap() {
        let header = record.unwrap().header;
        if header.event_type == "tool.call.requested" {
            assert!(calls.insert(header.event_id));
        } else {
            let call = header.causation.expect("a result has a cause");
            assert!(
                calls.remove(&call),
                "the call of a result is there, and has one result"
            );
        }
    }
}

#[test]
fn recordings_are_counted_as_stated() {
    let (Some(tau), Some(claude), Some(viewer)) = (
        recordings("tau-bench"),
        recordings("claude-code"),
        recordings("claude-code-viewer"),
    ) else {
        return;
    };
    let imported = Imported::new();
    let added = [
        imported.import("tau/", [&tau]),
        imported.import("claude/", &counted(&claude)),
        imported.import("viewer/", [&viewer]),
    ];
    assert!(added.iter().all(|(events, _)| *events > 0), "{added:?}");
    let log = imported.open();
    tau_bench(&log, &Stated::of(&tau));
    claude_code(&log, &Stated::of(&claude));
    claude_code_viewer(&log, &Stated::of(&viewer));
    check_causes(&log);
    log.close_blocking().unwrap();
    check_runs_command(
        &imported,
        &[Stated::of(&tau), Stated::of(&claude), Stated::of(&viewer)],
    );

    // Whole folders now, older snapshots included: these are beginnings of what is there, but for
    // the first of two segments of one session.
    let size = imported.open().size();
    let (again, known) = imported.import("tau/", [&tau]);
    assert_eq!((again, known), (0, added[0].0 + added[0].1));
    assert_eq!(imported.import("viewer/", [&viewer]).0, 0);
    let (segment, _) = imported.import("claude/", [&claude]);
    assert!(segment > 0);
    assert_eq!(imported.open().size(), size + segment);
    for (prefix, folder) in [("tau/", &tau), ("claude/", &claude), ("viewer/", &viewer)] {
        assert_eq!(imported.import(prefix, [folder]).0, 0, "{prefix}");
    }
    imported.runstone.check();
}

fn tau_bench(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "tau/");
    let counts = totals.counts;
    assert_eq!(
        (runs, totals.runs),
        (stated.get("runs"), stated.get("runs"))
    );
    assert_eq!(counts.turns, stated.get("msg"));
    assert_eq!(counts.tool_calls, stated.get("tool_calls"));
    assert_eq!(
        counts.tool_results + counts.tool_errors,
        stated.get("msg_tool")
    );
    assert_eq!(counts.tool_errors, stated.get("tool_err"));
    assert_eq!(totals.usage.usd_micros, stated.micros("user_cost_usd"));
    let messages = payloads(log, "tau/", "chat.message");
    for role in ["system", "user", "assistant", "tool"] {
        let said = messages
            .iter()
            .filter(|message| message["role"] == role)
            .count();
        assert_eq!(said as u64, stated.get(&format!("msg_{role}")), "{role}");
    }
    let verdicts = payloads(log, "tau/", "verdict.given");
    let passed = verdicts
        .iter()
        .filter(|verdict| verdict["verdict"] == "pass")
        .count();
    assert_eq!(passed as u64, stated.get("reward1"));
}

fn claude_code(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "claude/");
    let (counts, usage) = (totals.counts, totals.usage);
    assert_eq!(runs, stated.get("runs"));
    assert_eq!(counts.tool_calls, stated.get("tool_calls"));
    assert_eq!(
        counts.tool_results + counts.tool_errors,
        stated.get("tool_results")
    );
    assert_eq!(counts.tool_errors, stated.get("tool_errors"));
    let unanswered = counts.tool_calls - counts.tool_results - counts.tool_errors;
    assert_eq!(unanswered, stated.get("unanswered_calls"));
    assert_eq!(counts.llm_calls, stated.get("api_calls"));
    assert_eq!(usage.input_tokens, stated.get("input_tokens"));
    assert_eq!(usage.output_tokens, stated.get("output_tokens"));
    assert_eq!(
        usage.cache_read_tokens,
        stated.get("cache_read_input_tokens")
    );
    assert_eq!(
        usage.cache_write_tokens,
        stated.get("cache_creation_input_tokens")
    );
    let messages = payloads(log, "claude/", "chat.message");
    let parts = messages
        .iter()
        .filter_map(|message| message["content"].as_array())
        .flatten();
    let thinking = parts.filter(|part| part["kind"] == "thinking").count();
    assert_eq!(thinking as u64, stated.get("thinking_blocks"));
}

fn claude_code_viewer(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "viewer/");
    let counts = totals.counts;
    assert_eq!(
        (runs, totals.runs),
        (stated.get("runs"), stated.get("runs") + 5)
    );
    assert_eq!(counts.tool_calls, stated.get("tool_calls"));
    assert_eq!(
        counts.tool_results + counts.tool_errors,
        stated.get("tool_results")
    );
    assert_eq!(counts.tool_errors, stated.get("tool_errors"));
}

/// Files with this ending in a folder, without the notes beside them.
fn ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut all = sorted(folder);
    all.retain(|path| path.to_string_lossy().ends_with(ending));
    all
}

#[test]
fn recordings_of_other_agents_are_counted_as_stated() {
    let (Some(pi), Some(swe), Some(claw)) = (
        recordings("pi-sessions"),
        recordings("swe-agent"),
        recordings("openclaw-telemetry"),
    ) else {
        return;
    };
    let imported = Imported::new();
    let added = [
        imported.import("pi/", [&pi]),
        imported.import("swe/", [&swe]),
        imported.import("claw/", [&claw]),
    ];
    assert!(added.iter().all(|(events, _)| *events > 0), "{added:?}");
    let log = imported.open();
    pi_sessions(&log, &Stated::of(&pi));
    swe_agent(&log, &Stated::of(&swe));
    openclaw(&log, &Stated::of(&claw));
    check_causes(&log);
    let size = log.size();
    log.close_blocking().unwrap();
    for (prefix, folder) in [("pi/", &pi), ("swe/", &swe), ("claw/", &claw)] {
        assert_eq!(imported.import(prefix, [folder]).0, 0, "{prefix}");
    }
    assert_eq!(imported.open().size(), size);
    imported.runstone.check();
    // Each is told by its content, and the notes beside it are not taken for one.
    for (folder, end) in [(&pi, ".jsonl"), (&swe, ".traj"), (&claw, ".jsonl")] {
        let args = ["import".to_owned(), folder.display().to_string()];
        let told = imported.runstone.value(args);
        let files = ending(&folder.join("dev"), end).len();
        assert_eq!(told["files"], files, "{told}");
    }
}

#[test]
fn cloud_events_are_imported_in_batches_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let event = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/orders","type":"com.example.paid","total":1e400,"data":{{"n":340282366920938463463374607431768211455}}}}"#
        )
    };
    let batch = folder.path().join("batch");
    std::fs::write(&batch, format!("[{}, {}]", event("1"), event("2"))).unwrap();
    let lines = folder.path().join("lines");
    std::fs::write(&lines, [event("2"), event("3"), String::new()].join("\n")).unwrap();
    let imported = Imported::new();
    assert_eq!(imported.import("", [&batch]), (3, 0));
    assert_eq!(imported.import("", [&lines]), (1, 2));
    assert_eq!(imported.import("", [&batch, &lines]), (0, 6));
    let records = imported.records();
    assert_eq!(records.len(), 4);
    let bytes = records[3].payload.bytes().unwrap().to_vec();
    let kept = format!(r#"{{"original":{}}}"#, event("3"));
    assert_eq!(String::from_utf8(bytes).unwrap(), kept);
    assert_eq!(
        records[3].header.event_type,
        "harness.cloudevents.com.example.paid"
    );
}

fn pi_sessions(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "pi/");
    let (counts, usage) = (totals.counts, totals.usage);
    assert_eq!(runs, stated.get("runs"));
    assert_eq!(counts.tool_calls, stated.get("tool_calls"));
    assert_eq!(counts.tool_errors, stated.get("tool_errors"));
    assert_eq!(
        counts.tool_results + counts.tool_errors,
        stated.get("tool_results")
    );
    assert_eq!(counts.llm_calls, stated.get("api_calls"));
    assert_eq!(usage.usd_micros, stated.micros("cost_usd"));
    assert_eq!(usage.input_tokens, stated.get("tok_input"));
    assert_eq!(usage.output_tokens, stated.get("tok_output"));
    assert_eq!(usage.cache_read_tokens, stated.get("tok_cacheRead"));
    assert_eq!(usage.cache_write_tokens, stated.get("tok_cacheWrite"));
    for kind in ["compaction", "model_change", "thinking_level_change"] {
        let found = payloads(log, "pi/", &format!("harness.pi.{kind}"));
        assert_eq!(found.len() as u64, stated.get(&format!("type_{kind}")));
    }
}

fn swe_agent(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "swe/");
    assert_eq!(runs, stated.get("runs"));
    assert_eq!(totals.usage.usd_micros, stated.micros("cost_usd"));
    let steps = payloads(log, "swe/", "harness.swe_agent.step");
    assert_eq!(steps.len() as u64, stated.get("steps"));
    assert_eq!(totals.counts.tool_calls, totals.counts.tool_results);
    let calls = payloads(log, "swe/", "tool.call.requested");
    let structured = calls
        .iter()
        .filter(|call| call["call_id"].as_str().unwrap().starts_with("call_"));
    let structured = structured.count() as u64;
    assert_eq!(structured, stated.get("structured_tool_calls"));
}

#[test]
fn traces_and_evaluations_are_counted_as_stated() {
    let (Some(otel), Some(inspect)) = (
        recordings("otel-genai-any-agent"),
        recordings("inspect-logs"),
    ) else {
        return;
    };
    let imported = Imported::new();
    let prefixes = [("otel/", &otel), ("inspect/", &inspect)];
    let added = prefixes.map(|(prefix, folder)| imported.import(prefix, [folder]));
    assert!(added.iter().all(|(events, _)| *events > 0), "{added:?}");
    let log = imported.open();
    otel_genai(&log, &Stated::of(&otel));
    inspect_logs(&log, &Stated::of(&inspect));
    log.close_blocking().unwrap();
    for (prefix, folder) in prefixes {
        assert_eq!(imported.import(prefix, [folder]).0, 0, "{prefix}");
    }
    imported.runstone.check();

    // A container that was still being written gives what it has, and the rest when it is whole.
    let path = inspect.join("dev/log_streaming.eval");
    let bytes = std::fs::read(&path).unwrap();
    let cut = imported.path.with_file_name("cut");
    std::fs::write(&cut, &bytes[..4000]).unwrap();
    let output = imported
        .runstone
        .run([OsStr::new("import"), cut.as_os_str()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let place = format!("{}:samples/1_epoch_1.json:1: ", cut.display());
    assert!(told.contains(&place), "{told}");
    let (rest, before) = imported.import("", [&path]);
    assert!(before > 0 && rest > 0, "{before} {rest}");
}

fn otel_genai(log: &Log, stated: &Stated) {
    let (runs, totals) = totals(log, "otel/");
    let (counts, usage) = (totals.counts, totals.usage);
    assert_eq!(
        (runs, totals.runs),
        (stated.get("runs"), stated.get("runs"))
    );
    assert_eq!(counts.llm_calls, stated.get("op_call_llm"));
    assert_eq!(counts.tool_calls, stated.get("op_execute_tool"));
    assert_eq!(counts.tool_results, stated.get("op_execute_tool"));
    assert_eq!(usage.input_tokens, stated.get("in_tok"));
    assert_eq!(usage.output_tokens, stated.get("out_tok"));
    assert_eq!(usage.usd_micros, stated.micros("cost_usd"));
}

fn inspect_logs(log: &Log, stated: &Stated) {
    let (evaluations, totals) = totals(log, "inspect/");
    assert_eq!(evaluations, stated.get("files"));
    assert_eq!(totals.runs, stated.get("files") + stated.get("samples"));
    assert_eq!(totals.counts.turns, stated.get("messages"));
    assert_eq!(totals.counts.llm_calls, stated.get("ev_model"));
    assert_eq!(totals.counts.tool_calls, stated.get("tool_calls"));
    assert_eq!(totals.counts.tool_results, stated.get("ev_tool"));
    for kind in ["state", "store", "score", "sandbox", "span_begin"] {
        let found = payloads(log, "inspect/", &format!("harness.inspect.{kind}"));
        assert_eq!(found.len() as u64, stated.get(&format!("ev_{kind}")));
    }
}

fn openclaw(log: &Log, stated: &Stated) {
    let (_, totals) = totals(log, "claw/");
    let started = payloads(log, "claw/", "run.started");
    assert_eq!(started.len() as u64, stated.get("runs"));
    assert_eq!(totals.counts.tool_calls, stated.get("type_tool.start"));
    assert_eq!(totals.counts.tool_results, stated.get("type_tool.end"));
    let starts = payloads(log, "claw/", "harness.openclaw.agent.start");
    assert_eq!(starts.len() as u64, stated.get("type_agent.start"));
}

/// `runs --json` says the same as the fold, and as the READMEs.
fn check_runs_command(imported: &Imported, stated: &[Stated]) {
    let lines = imported.runstone.values(["runs"]);
    let sum = |name: &str| {
        lines
            .iter()
            .map(|line| line[name].as_u64().unwrap())
            .sum::<u64>()
    };
    let stated_sum = |name: &str| stated.iter().map(|stated| stated.get(name)).sum::<u64>();
    let roots = lines.iter().filter(|line| line["parent"].is_null()).count();
    assert_eq!(roots as u64, stated_sum("runs"));
    assert_eq!(sum("tool_calls"), stated_sum("tool_calls"));
    assert_eq!(sum("usd_micros"), stated[0].micros("user_cost_usd"));
    let claude = lines
        .iter()
        .filter(|line| line["stream"].as_str().unwrap().starts_with("claude/"));
    let tokens = [
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    ];
    assert_eq!(
        claude
            .map(|line| line["tokens"].as_u64().unwrap())
            .sum::<u64>(),
        tokens.iter().map(|name| stated[1].get(name)).sum::<u64>()
    );
    let first = lines[0]["stream"].as_str().unwrap();
    let run = imported.runstone.value(["run", first]);
    for (member, value) in lines[0].as_object().unwrap() {
        assert_eq!(&run[member], value, "{member}");
    }
}

/// What must not depend on how often and how early a session was imported.
fn content(
    records: &[Record],
) -> BTreeMap<uuid::Uuid, (String, String, Option<uuid::Uuid>, Vec<u8>)> {
    let content = |record: &Record| {
        let header = &record.header;
        let payload = record.payload.bytes().unwrap().to_vec();
        let names = (header.stream.to_string(), header.event_type.to_string());
        (
            header.event_id,
            (names.0, names.1, header.causation, payload),
        )
    };
    records.iter().map(content).collect()
}

#[test]
fn a_growing_session_gives_the_same_stream_as_its_last_snapshot() {
    let Some(claude) = recordings("claude-code") else {
        return;
    };
    let groups = sorted(&claude.join("dev/snapshots"));
    let group = groups
        .iter()
        .find(|group| group.to_string_lossy().contains("prefix-growth"));
    let snapshots = recordings_in(group.unwrap());
    assert_eq!(snapshots.len(), 5);
    let (growing, once) = (Imported::new(), Imported::new());
    let mut total = 0;
    for snapshot in &snapshots {
        let (added, known) = growing.import("", [snapshot]);
        assert!(added > 0 && known >= total, "{added} {known} {total}");
        total += added;
    }
    let (added, _) = once.import("", [&snapshots[4]]);
    assert_eq!(added, total);
    let (growing_records, once_records) = (growing.records(), once.records());
    assert_eq!(content(&growing_records), content(&once_records));
    let order = |records: &[Record]| -> Vec<uuid::Uuid> {
        records
            .iter()
            .map(|record| record.header.event_id)
            .collect()
    };
    assert_eq!(order(&growing_records), order(&once_records));
    // Older snapshots add nothing to the newest.
    for snapshot in &snapshots {
        assert_eq!(once.import("", [snapshot]).0, 0);
    }
    for log in [&growing, &once] {
        log.runstone.check();
    }
    assert_eq!(
        growing.runstone.values(["runs"]),
        once.runstone.values(["runs"])
    );
}

#[test]
fn signatures_and_chains_are_checked() {
    let Some(folder) = recordings("prior-art") else {
        return;
    };
    let imported = Imported::new();
    let import = |args: &[&str], files: &[&str], key: &str| {
        let mut command = imported.runstone.command(["import"]);
        command.args(args).env("RECEIPT_KEY", key);
        command.args(files.iter().map(|file| folder.join(file)));
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), summary, told)
    };
    let checks = |summary: &Value| {
        let count = |name: &str| summary["checks"][name].as_u64().unwrap();
        [count("passed"), count("failed"), count("unchecked")]
    };
    let (receipts, with_key) = (
        ["mycelium/receipts.jsonl"],
        ["--receipt-key-env", "RECEIPT_KEY"],
    );
    let (code, summary, _) = import(&[], &receipts, "test-key-dev");
    assert_eq!((code, checks(&summary)), (Some(0), [0, 0, 41]), "{summary}");
    let (code, summary, _) = import(&with_key, &receipts, " test-key-dev\n");
    assert_eq!((code, checks(&summary)), (Some(0), [41, 0, 0]), "{summary}");
    assert_eq!(summary["events"], 41, "the verdicts alone are new");
    let (code, _, told) = import(&with_key, &receipts, " ");
    assert_eq!(code, Some(8));
    assert!(told.contains("receipt_key_missing"), "{told}");

    let altered = ["mycelium/tampered/receipts-altered.jsonl"];
    let (code, summary, told) = import(&with_key, &altered, "test-key-dev");
    assert_eq!((code, checks(&summary)), (Some(1), [40, 1, 0]), "{summary}");
    assert!(
        told.contains("receipts-altered.jsonl:12: the signature"),
        "{told}"
    );
    let strict = [&with_key[..], &["--strict", "--stream-prefix", "strict/"]].concat();
    let (code, summary, _) = import(&strict, &altered, "test-key-dev");
    assert_eq!((code, checks(&summary)), (Some(1), [11, 1, 0]), "{summary}");
    assert_eq!(summary["events"], 24);

    let runs = [
        "meshflow/run-1.json",
        "meshflow/run-2.json",
        "meshflow/run-3.json",
    ];
    let (code, summary, _) = import(&[], &runs, "");
    assert_eq!((code, checks(&summary)), (Some(0), [3, 0, 0]), "{summary}");
    let (_, summary, _) = import(&[], &runs, "");
    assert_eq!(summary["events"], 0);
    let altered = ["meshflow/tampered/run-1-altered.json"];
    let (code, summary, told) = import(&["--stream-prefix", "altered/"], &altered, "");
    assert_eq!((code, checks(&summary)), (Some(1), [0, 1, 0]), "{summary}");
    assert!(
        told.contains("breaks at step 3 (0620f087): entry_hash"),
        "{told}"
    );
    // Beside the run that it was, the altered step is refused: it is known with other bytes.
    let (code, summary, _) = import(&[], &altered, "");
    assert_eq!(
        (code, summary["rejected"].as_u64()),
        (Some(1), Some(1)),
        "{summary}"
    );

    let (code, summary, _) = import(&[], &["zu/torn.jsonl"], "");
    assert_eq!((code, summary["rejected"].as_u64()), (Some(1), Some(1)));
    assert_eq!(summary.get("checks"), None);
    let (code, summary, _) = import(&[], &["zu/events.jsonl"], "");
    // The end of the second task: what was torn off.
    assert_eq!(
        (code, summary["events"].as_u64()),
        (Some(0), Some(2)),
        "{summary}"
    );
    let (_, summary, _) = import(&[], &["zu/events.jsonl", "zu/torn.jsonl"], "");
    assert_eq!(summary["events"], 0);

    let log = imported.open();
    let (runs, of_meshflow) = totals(&log, "meshflow-run/");
    assert_eq!((runs, of_meshflow.usage.input_tokens), (3, 5328));
    assert_eq!(of_meshflow.usage.usd_micros, 26212 + 12925 + 100_000);
    let (runs, of_zu) = totals(&log, "zu-jsonl/");
    assert_eq!((runs, of_zu.counts.llm_calls), (2, 11));
    assert_eq!(
        (of_zu.usage.input_tokens, of_zu.usage.output_tokens),
        (8645 + 2784, 284 + 4211)
    );
    log.close_blocking().unwrap();
    imported.runstone.check();
}
