//! Small runs.

use super::super::tests::{drafts, import, of_type, payload, rejections, types};
use crate::events::control;
use crate::{Check, Format};

const V1: &str = "f89a71d441a2285f95476ad1afa3c9839a1976d639abff3a9edb4f19022c8834";
const V2: &str = "e06b83688ae3486ad5465809ed6904daed0b38af68ec3dceca804b386bd2a50c";

/// A run of two steps, with hashes that the package made.
fn run() -> String {
    let long = format!("\u{e9}\u{1f600}\\\"\\n\\\\\u{7f}\\u0001{}", "x".repeat(300));
    let first = format!(
        r#"{{"id": 1, "run_id": "run-1", "step_id": "a1b2c3d4", "node_id": "planner", "node_kind": "native", "input_task": "Analyse Q2", "output_content": "ok", "verdict": "commit", "blocked": 0, "block_reason": "", "uncertainty": 0.9, "cost_usd": 0.0000004, "tokens_used": 12, "carbon_gco2": 0.0715, "duration_ms": 1.5, "timestamp": "2026-01-01T00:00:00+00:00", "prev_hash": "", "entry_hash": "{V1}", "tenant_id": "default", "metadata": {{}}}}"#
    );
    let second = format!(
        r#"{{"id": 2, "run_id": "run-1", "step_id": "e5f60718", "node_id": "writer", "node_kind": "native", "input_task": "Analyse Q2", "output_content": "{long}", "verdict": "reject", "blocked": true, "block_reason": "budget:exceeded", "uncertainty": 0.0, "cost_usd": 0.0000004, "tokens_used": 0, "carbon_gco2": 0.0, "duration_ms": 1.5, "timestamp": "2026-01-01T00:00:01+00:00", "prev_hash": "{V1}", "entry_hash": "{V2}", "tenant_id": "default", "metadata": {{}}}}"#
    );
    format!("{{\n  \"run_id\": \"run-1\",\n  \"steps\": [\n    {first},\n    {second}\n  ]\n}}")
}

/// What came of checking the chain.
fn chain(recording: &str) -> Check {
    let items = import(Format::MeshflowRun, recording);
    let found = items.into_iter().flatten().find_map(|item| item.check);
    found.unwrap()
}

fn breaks_at(recording: &str) -> String {
    match chain(recording) {
        Check::Failed { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hashes_are_those_of_the_package() {
    assert_eq!(chain(&run()), Check::Passed);
    // What the chain does not cover.
    for (from, to) in [("0.0000004", "7.0"), ("xxx\"", "yyy\""), ("native", "mcp")] {
        assert_eq!(chain(&run().replace(from, to)), Check::Passed, "{to}");
    }
    for (from, to, place) in [
        ("planner", "plannex", "step 0 (a1b2c3d4): entry_hash"),
        ("\"ok\"", "\"on\"", "step 0 (a1b2c3d4): entry_hash"),
        (
            "\"blocked\": 0",
            "\"blocked\": 1",
            "step 0 (a1b2c3d4): entry_hash",
        ),
        ("e5f60718", "e5f60719", "step 1 (e5f60719): entry_hash"),
        ("writer", "Writer", "step 1 (e5f60718): entry_hash"),
        ("\u{1f600}", "\u{1f601}", "step 1 (e5f60718): entry_hash"),
        (
            "\"prev_hash\": \"f",
            "\"prev_hash\": \"e",
            "step 1 (e5f60718): prev_hash",
        ),
        ("\"blocked\": true", "\"blocked\": 2", "step 1: "),
    ] {
        let why = breaks_at(&run().replacen(from, to, 1));
        assert!(why.contains(place), "{to}: {why}");
    }
}

#[test]
fn a_run_is_told_with_its_costs() {
    let events = drafts(import(Format::MeshflowRun, &run()));
    let want = [
        "run.started",
        "harness.meshflow_run.step",
        "step.started",
        "step.completed",
        "llm.call.completed",
        "verdict.given",
        "harness.meshflow_run.step",
        "step.started",
        "step.blocked",
        "llm.call.completed",
        "verdict.given",
        "verdict.given",
    ];
    assert_eq!(types(&events), want);
    assert!(
        events
            .iter()
            .all(|one| one.event.stream == "meshflow-run/run-1")
    );
    // Neither price is a millionth by itself.
    let calls = of_type(&events, "llm.call.completed");
    let micros: Vec<_> = calls
        .iter()
        .map(|call| call.control.get_u64(control::USD_MICROS))
        .collect();
    assert_eq!(micros, [Some(0), Some(1)]);
    assert_eq!(calls[0].control.get_u64(control::INPUT_TOKENS), Some(12));
    let done = of_type(&events, "step.completed")[0];
    assert_eq!(done.control.get_u64(control::GCO2_MG), Some(72));
    assert_eq!(payload(done)["confidence"], 0.9);
    assert_eq!(
        payload(of_type(&events, "step.blocked")[0])["by"],
        "budget:exceeded"
    );
    let verdict = payload(&events[11]);
    assert_eq!(
        (&verdict["verdict"], &verdict["detail"]["steps"]),
        (&"pass".into(), &2.into())
    );
    let lines: Vec<u64> = import(Format::MeshflowRun, &run())
        .iter()
        .map(|item| item.as_ref().unwrap().line)
        .collect();
    assert_eq!(lines, [1, 4, 5, 1]);
}

#[test]
fn a_run_that_grew_adds_its_steps_and_a_node_is_tried_again() {
    let text = run();
    let (short, _) = text.split_once(",\n    {\"id\": 2").unwrap();
    let short = format!("{short}]}}");
    let ids = |text: &str| -> std::collections::BTreeSet<_> {
        let events = drafts(import(Format::MeshflowRun, text));
        events.iter().map(|one| one.event.event_id).collect()
    };
    let (short, whole) = (ids(&short), ids(&text));
    // All but what was said of its chain.
    assert_eq!(short.difference(&whole).count(), 1);
    let again = text.replace("writer", "planner");
    let events = drafts(import(Format::MeshflowRun, &again));
    let started = of_type(&events, "step.started");
    let attempts: Vec<_> = started
        .iter()
        .map(|one| one.control.get_u64(control::STEP_ATTEMPT))
        .collect();
    assert_eq!(attempts, [Some(1), Some(2)]);
}

#[test]
fn what_is_no_run_is_rejected() {
    for (odd, code) in [
        ("{}", "import_wrong_type"),
        (r#"{"run_id": "r"}"#, "import_wrong_type"),
        (r#"{"run_id": "r", "steps": 7}"#, "import_wrong_type"),
        (&run()[..700], "import_record_truncated"),
    ] {
        assert_eq!(rejections(&import(Format::MeshflowRun, odd)), [(1, code)]);
    }
    let odd = r#"{"run_id": "r", "steps": [7, {"step_id": "s", "node_id": "n", "input_task": 1}]}"#;
    assert_eq!(rejections(&import(Format::MeshflowRun, odd)).len(), 2);
    assert!(breaks_at(odd).contains("step 0: "));
}
