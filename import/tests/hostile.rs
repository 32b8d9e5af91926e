//! Recordings that are damaged, absurd or meant to harm: nothing panics, what is rejected says where
//! it stands, and memory stays bounded.
//!
//! Real recordings are looked for in `RUNSTONE_DATA`, else in `shared/data` beside the workspace.
//! `RUNSTONE_HOSTILE=N` does everything N times as much; `RUNSTONE_SEED` changes what is done.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail on whatever is not as expected"
)]

#[path = "hostile/check.rs"]
mod check;
#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/huge.rs"]
mod huge;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use check::{Item, check};
use runstone_import::{DETECT_BYTES, Format, Importer, Options, detect};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const CLOUD_EVENTS: &str = r#"[
 {"specversion":"1.0","id":"1","source":"/runs/7","type":"tool.call.requested","time":"2026-02-09T07:36:25Z","data":{"call_id":"c","name":"f","arguments":{"n":1e400}}},
 {"specversion":"1.0","id":"2","source":"/runs/7","type":"com.example.paid","subject":"x","data":{"amount":340282366920938463463374607431768211455}}
]"#;

/// One of each format of which there may be no recording.
const SMALL: [(&str, Format, &str); 5] = [
    ("cloudevents", Format::CloudEvents, CLOUD_EVENTS),
    ("ledger", Format::MyceliumLedger, LEDGER),
    ("receipts", Format::MyceliumReceipts, RECEIPTS),
    ("meshflow", Format::MeshflowRun, MESHFLOW),
    ("zu", Format::ZuJsonl, ZU),
];
const LEDGER: &str = r#"{
  "inv-1": {"request_id": "inv-1", "tool": "pay", "args": [], "kwargs": {"usd": 100.0}, "status": "completed", "result": {"ok": 1e+16}, "error": null, "started_at": 1795222335.8306348, "finished_at": 1795222335.8343234},
  "inv-2": {"request_id": "inv-2", "task": "pay", "args": [1], "kwargs": {}, "status": "failed", "result": null, "error": "KeyError: 'x'", "started_at": 1795222335.8306348, "finished_at": 1795222335.8343234},
  "inv-3": {"request_id": "inv-3", "tool": "pay", "args": [], "kwargs": {}, "status": "in-flight", "result": null, "error": null, "started_at": 1795222335.8306348, "finished_at": null}
}"#;
const RECEIPTS: &str = r#"{"receipt_id": "rcpt-1", "agent_id": "a", "action": "pay", "action_kind": "tool", "request_id": "inv-1", "inputs": {"args": [], "kwargs": {"usd": 1e-07}}, "outputs": {"note": "\u00e9\ud83d\ude00"}, "status": "completed", "timestamp": 1782800000.25, "signature": "4e33b61a2e9574583849454747ac40794696baa5e5a55eea002af2438c6a2121", "error": null}
{"receipt_id": "rcpt-2", "agent_id": "a", "action": "pay", "action_kind": "task", "request_id": "inv-2", "inputs": {"args": [[{}]], "kwargs": {}}, "outputs": null, "status": "failed", "timestamp": 1782800001.5, "signature": "00", "error": "KeyError: 'x'"}
"#;
const MESHFLOW: &str = r#"{
  "run_id": "run-1",
  "steps": [
    {"id": 1, "run_id": "run-1", "step_id": "a1b2c3d4", "node_id": "plan", "node_kind": "native", "input_task": "x", "output_content": "\u00e9", "verdict": "commit", "blocked": 0, "block_reason": "", "uncertainty": 0.5, "cost_usd": 0.1, "tokens_used": 3, "carbon_gco2": 0.2, "timestamp": "2026-01-01T00:00:00+00:00", "prev_hash": "", "entry_hash": "00", "metadata": {}},
    {"id": 2, "run_id": "run-1", "step_id": "e5f60718", "node_id": "plan", "node_kind": "human", "input_task": "x", "output_content": "", "verdict": "reject", "blocked": 1, "block_reason": "budget:exceeded", "uncertainty": 0.0, "cost_usd": 0.0, "tokens_used": 0, "carbon_gco2": 0.0, "timestamp": "2026-01-01T00:00:01+00:00", "prev_hash": "00", "entry_hash": "01", "metadata": {}}
  ]
}"#;
const ZU: &str = r#"{"event_id":"1","trace_id":"t","task_id":"t","parent_id":null,"type":"harness.task.started","ts":"2026-11-21T00:52:18.740109Z","source":"loop","payload":{"query":"x","target":"y"},"schema_version":1}
{"event_id":"2","trace_id":"t","task_id":"t","parent_id":"1","type":"harness.turn.completed","ts":"2026-11-21T00:52:18.840109Z","source":"loop","payload":{"step":1,"model":"m","usage":{"input_tokens":5,"output_tokens":3},"text":"hm"},"schema_version":1}
{"event_id":"3","trace_id":"t","task_id":"t","parent_id":"1","type":"harness.tool.invoked","ts":"2026-11-21T00:52:18.940109Z","source":"f","payload":{"tool":"f","args":{"n":1e+16}},"schema_version":1}
{"event_id":"4","trace_id":"t","task_id":"t","parent_id":"1","type":"harness.tool.returned","ts":"2026-11-21T00:52:19.040109Z","source":"f","payload":{"tool":"f","observation":{"ok":1}},"schema_version":1}
{"event_id":"5","trace_id":"t","task_id":"t","parent_id":"1","type":"harness.task.terminal","ts":"2026-11-21T00:52:19.140109Z","source":"loop","payload":{"reason":"budget:max_steps"},"schema_version":1}
"#;

/// What a variable of the environment says.
fn given(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how much to do, and where its data is"
    )]
    std::env::var(name).ok()
}

/// How many times as much is to be done.
fn times() -> usize {
    given("RUNSTONE_HOSTILE").map_or(1, |times| times.parse().unwrap())
}

/// A generator of reproducible numbers (splitmix64).
#[derive(Debug)]
struct Seeded(u64);

impl Seeded {
    fn new() -> Self {
        Self(given("RUNSTONE_SEED").map_or(7, |seed| seed.parse().unwrap()))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        usize::try_from(number % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A recording that is as it should be.
#[derive(Debug)]
struct Recording {
    name: String,
    format: Format,
    bytes: Vec<u8>,
}

/// Every recording there is that is whole, and small ones.
fn recordings() -> Vec<Recording> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = given("RUNSTONE_DATA").map_or_else(beside, PathBuf::from);
    let small = SMALL.map(|(name, format, text)| Recording {
        name: name.to_owned(),
        format,
        bytes: text.as_bytes().to_vec(),
    });
    let mut all = Vec::from(small);
    let mut open = vec![data.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("tampered") {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.to_string_lossy();
        if path.is_dir()
            || name.contains("README")
            || name.ends_with("/torn.jsonl")
            || name.ends_with(".metadata.json")
        {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if let Some(format) = detect(&bytes[..bytes.len().min(DETECT_BYTES)]) {
            all.push(Recording {
                name: name.into_owned(),
                format,
                bytes,
            });
        }
    }
    if all.len() == SMALL.len() {
        // Not eprintln, which a passing test swallows.
        let told = format!(
            "SKIPPED: no recordings at {}; set RUNSTONE_DATA\n",
            data.display()
        );
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    } else {
        let known = |format: &Format| all.iter().any(|one| one.format == *format);
        assert!(Format::all().iter().all(known), "a format has no recording");
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn import(format: Format, bytes: &[u8]) -> Vec<Item> {
    Importer::new(format, bytes, Options::default().receipt_key("k")).collect()
}

/// The members of a container, in the order in which they stand.
fn unpacked(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let mut member = |at| {
        let mut member = archive.by_index(at).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut member, &mut content).unwrap();
        (member.name().unwrap().into_owned(), content)
    };
    (0..count).map(&mut member).collect()
}

fn packed(members: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (at, (name, content)) in members.iter().enumerate() {
        // One name stands once.
        let name = if members[..at].iter().any(|one| one.0 == *name) {
            format!("{name}.{at}")
        } else {
            name.clone()
        };
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
