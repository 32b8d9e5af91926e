//! Real recordings, read whole, against the counts that their READMEs state.
//!
//! The recordings are looked for in `RUNSTONE_DATA`, else in `shared/data` beside the workspace.
//! Without them these tests say that they were skipped.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail on whatever is not as expected"
)]

#[path = "counts/agents.rs"]
mod agents;
#[path = "counts/prior_art.rs"]
mod prior_art;
#[path = "counts/traces.rs"]
mod traces;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runstone_codec::event::{Draft, KeyedTarget};
use runstone_import::events::{ChatMessage, Part, control};
use runstone_import::{Format, Importer, Options, Rejected, detect};
use uuid::Uuid;

type Item = Result<runstone_import::Imported, Rejected>;

fn data(folder: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told where its data is"
    )]
    let given = std::env::var_os("RUNSTONE_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = given.unwrap_or_else(beside).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    // Not eprintln, which a passing test swallows.
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "SKIPPED: no recordings at {}; set RUNSTONE_DATA",
        path.display()
    )
    .unwrap();
    None
}

/// The counts of a README: `- **dev** (..): runs 18, tool_calls 458, ..`.
fn stated(folder: &Path) -> BTreeMap<String, f64> {
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let line = readme
        .lines()
        .find(|line| line.starts_with("- **dev**"))
        .expect("a line of counts");
    let (_, counts) = line.split_once("): ").expect("counts after the files");
    let pair = |text: &str| -> (String, f64) {
        let (name, value) = text.trim().rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    };
    counts.split(',').map(pair).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    all.sort();
    all
}

fn read(path: &Path, format: Format) -> Vec<Item> {
    let head = fs::read(path).unwrap();
    let head = &head[..head.len().min(runstone_import::DETECT_BYTES)];
    assert_eq!(detect(head), Some(format), "{}", path.display());
    let reader = BufReader::new(File::open(path).unwrap());
    Importer::new(format, reader, Options::default()).collect()
}

fn read_bytes(bytes: &[u8], format: Format) -> Vec<Item> {
    Importer::new(format, bytes, Options::default()).collect()
}

fn drafts(items: Vec<Item>) -> Vec<Draft> {
    items
        .into_iter()
        .flat_map(|item| item.expect("every record is read").drafts)
        .collect()
}

/// What a fold over the events counts.
#[derive(Debug, Default)]
struct Counts {
    named: BTreeMap<&'static str, u64>,
    roles: BTreeMap<String, u64>,
    calls: BTreeSet<Uuid>,
    answered: BTreeSet<Uuid>,
    usage: BTreeMap<(String, Vec<u8>), [u64; 5]>,
}

impl Counts {
    fn of(events: &[Draft]) -> Self {
        let mut counts = Self::default();
        for draft in events {
            counts.add(draft);
        }
        counts
    }

    fn one(&mut self, name: &'static str) {
        *self.named.entry(name).or_default() += 1;
    }

    fn add(&mut self, draft: &Draft) {
        let event = &draft.event;
        match event.event_type.as_str() {
            "run.started" if draft.control.get_text(control::PARENT).is_none() => self.one("runs"),
            "run.started" => self.one("agents"),
            "run.finished" => self.one("finished"),
            "verdict.given" => {
                let verdict: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
                if verdict["verdict"] == "pass" {
                    self.one("reward1");
                }
            }
            "chat.message" => {
                let message: ChatMessage = serde_json::from_slice(&event.payload).unwrap();
                let thinking = |part: &&Part| matches!(part, Part::Thinking { .. });
                for _ in message.content.iter().filter(thinking) {
                    self.one("thinking_blocks");
                }
                self.one("msg");
                *self.roles.entry(message.role).or_default() += 1;
            }
            "tool.call.requested" => {
                self.one("tool_calls");
                assert!(self.calls.insert(event.event_id.unwrap()));
            }
            "tool.call.completed" => self.result(event.causation),
            "tool.call.failed" => {
                self.one("tool_errors");
                self.result(event.causation);
            }
            "llm.call.completed" => self.usage(draft),
            _ => self.one("kept"),
        }
    }

    fn result(&mut self, causation: Option<Uuid>) {
        self.one("tool_results");
        let call = causation.expect("a result has a cause");
        assert!(self.calls.contains(&call), "its cause is an earlier call");
        assert!(self.answered.insert(call), "a call has one result");
    }

    fn usage(&mut self, draft: &Draft) {
        let digest = draft
            .keyed
            .iter()
            .find(|keyed| keyed.target == KeyedTarget::Control(1));
        let call = digest.expect("a digest of the call's id").parts.concat();
        let amounts = [2, 3, 4, 5, 6].map(|field| draft.control.get_u64(field).unwrap_or(0));
        self.usage
            .insert((draft.event.stream.clone(), call), amounts);
    }

    fn get(&self, name: &str) -> u64 {
        let sum = |at: usize| self.usage.values().map(|amounts| amounts[at]).sum();
        match name {
            "api_calls" => self.usage.len() as u64,
            "input_tokens" => sum(0),
            "output_tokens" => sum(1),
            "cache_read_input_tokens" => sum(2),
            "cache_creation_input_tokens" => sum(3),
            "usd_micros" => sum(4),
            "unanswered_calls" => self.calls.difference(&self.answered).count() as u64,
            "msg_system" | "msg_user" | "msg_assistant" | "msg_tool" => {
                self.roles.get(&name["msg_".len()..]).copied().unwrap_or(0)
            }
            _ => self.named.get(name).copied().unwrap_or(0),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    fn check(&self, stated: &BTreeMap<String, f64>, names: &[&str]) {
        for name in names {
            let want = stated
                .get(*name)
                .unwrap_or_else(|| panic!("{name} is not stated"));
            assert!(
                (self.get(name) as f64 - want).abs() < 0.5,
                "{name}: {} {want}",
                self.get(name)
            );
        }
    }
}

#[test]
fn claude_code_as_stated() {
    let Some(folder) = data("claude-code") else {
        return;
    };
    let mut paths = files(&folder.join("dev/sessions"));
    // Of every group of snapshots the README counts the last.
    for group in files(&folder.join("dev/snapshots")) {
        paths.push(files(&group).pop().unwrap());
    }
    let items: Vec<Item> = paths
        .iter()
        .flat_map(|path| read(path, Format::ClaudeCode))
        .collect();
    let lines: BTreeSet<(String, u64)> = items
        .iter()
        .map(|item| item.as_ref().unwrap())
        .map(|item| (item.stream.clone(), item.line))
        .collect();
    let stated = stated(&folder);
    assert_eq!(lines.len().to_string(), stated["lines"].to_string());
    Counts::of(&drafts(items)).check(
        &stated,
        &[
            "runs",
            "thinking_blocks",
            "tool_calls",
            "tool_results",
            "tool_errors",
            "unanswered_calls",
            "api_calls",
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ],
    );
}

#[test]
fn claude_code_viewer_as_stated() {
    let Some(folder) = data("claude-code-viewer") else {
        return;
    };
    let paths = files(&folder.join("dev"));
    let items: Vec<Item> = paths
        .iter()
        .flat_map(|path| read(path, Format::ClaudeCode))
        .collect();
    let events = drafts(items);
    let counts = Counts::of(&events);
    counts.check(
        &stated(&folder),
        &["runs", "tool_calls", "tool_results", "tool_errors"],
    );
    assert_eq!((counts.get("agents"), counts.get("finished")), (5, 5));
    for draft in events
        .iter()
        .filter(|draft| draft.event.event_type == "run.started")
    {
        let event = &draft.event;
        if let Some(parent) = draft.control.get_text(control::PARENT) {
            assert!(event.stream.starts_with(&format!("{parent}/agent-")));
            let call = event.causation.expect("a call spawned the sub-agent");
            assert!(counts.calls.contains(&call));
        }
    }
}

#[test]
fn tau_bench_as_stated() {
    let Some(folder) = data("tau-bench") else {
        return;
    };
    let path = folder.join("dev/gpt-4o-airline.tasks-00-33.json");
    let events = drafts(read(&path, Format::Messages));
    let counts = Counts::of(&events);
    let mut stated = stated(&folder);
    stated.insert("tool_errors".to_owned(), stated["tool_err"]);
    stated.insert("tool_results".to_owned(), stated["msg_tool"]);
    stated.insert("usd_micros".to_owned(), stated["user_cost_usd"] * 1e6);
    counts.check(
        &stated,
        &[
            "runs",
            "usd_micros",
            "reward1",
            "msg",
            "msg_system",
            "msg_user",
            "msg_assistant",
            "msg_tool",
            "tool_calls",
            "tool_results",
            "tool_errors",
        ],
    );
    assert_eq!(counts.get("unanswered_calls"), 0);
    let ids: BTreeSet<Uuid> = events
        .iter()
        .map(|draft| draft.event.event_id.unwrap())
        .collect();
    assert_eq!(ids.len(), events.len());
}

#[test]
fn bytes_are_kept() {
    let Some(folder) = data("claude-code-viewer") else {
        return;
    };
    let path = files(&folder.join("dev")).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut originals: BTreeMap<u64, String> = BTreeMap::new();
    for item in read(&path, Format::ClaudeCode) {
        let item = item.unwrap();
        for draft in &item.drafts {
            let payload: BTreeMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_slice(&draft.event.payload).unwrap();
            if let Some(original) = payload.get("original") {
                let before = originals.insert(item.line, original.get().to_owned());
                assert_eq!(before, None, "one event of a record keeps its bytes");
            }
        }
    }
    let kept: Vec<&str> = originals.values().map(String::as_str).collect();
    assert_eq!(kept, text.lines().collect::<Vec<_>>());
}

fn same(one: &Draft, other: &Draft) -> bool {
    one.event == other.event && one.control == other.control && one.keyed == other.keyed
}

#[test]
fn a_shorter_snapshot_gives_the_beginning_of_a_longer_one() {
    let Some(folder) = data("claude-code") else {
        return;
    };
    let mut compared = 0;
    for group in files(&folder.join("dev/snapshots")) {
        if !group.to_string_lossy().contains("prefix-growth") {
            continue;
        }
        let mut snapshots: Vec<Vec<Draft>> = files(&group)
            .iter()
            .map(|path| drafts(read(path, Format::ClaudeCode)))
            .collect();
        let last = snapshots.pop().unwrap();
        for snapshot in snapshots {
            assert!(!snapshot.is_empty() && snapshot.len() < last.len());
            assert!(
                snapshot
                    .iter()
                    .zip(&last)
                    .all(|(one, other)| same(one, other))
            );
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared}");
}

#[test]
fn segments_of_a_session_share_its_stream_and_nothing_but_its_beginning() {
    let Some(folder) = data("claude-code") else {
        return;
    };
    let group = files(&folder.join("dev/snapshots"))
        .into_iter()
        .find(|group| group.to_string_lossy().contains("split-segments"))
        .unwrap();
    let paths = files(&group);
    let segments: Vec<Vec<Draft>> = paths
        .iter()
        .map(|path| drafts(read(path, Format::ClaudeCode)))
        .collect();
    let streams: BTreeSet<&str> = segments
        .iter()
        .flatten()
        .map(|draft| draft.event.stream.as_str())
        .collect();
    assert_eq!(streams.len(), 1);
    let ids = |segment: &[Draft]| -> BTreeSet<Uuid> {
        segment
            .iter()
            .map(|draft| draft.event.event_id.unwrap())
            .collect()
    };
    let (first, second) = (ids(&segments[0]), ids(&segments[1]));
    let both: Vec<&Uuid> = first.intersection(&second).collect();
    assert_eq!(both, [&segments[0][0].event.event_id.unwrap()]);
    assert!(same(&segments[0][0], &segments[1][0]));
    assert_eq!(segments[0][0].event.event_type, "run.started");

    // Put together they give what they gave apart, and what one names of the other is there.
    let mut whole = fs::read(&paths[0]).unwrap();
    whole.push(b'\n');
    whole.extend(fs::read(&paths[1]).unwrap());
    let whole = drafts(read_bytes(&whole, Format::ClaudeCode));
    let apart: Vec<&Draft> = segments[0].iter().chain(&segments[1][1..]).collect();
    assert_eq!(whole.len(), apart.len());
    assert!(
        whole
            .iter()
            .zip(&apart)
            .all(|(one, other)| same(one, other))
    );
    let all = ids(&whole);
    assert!(
        whole
            .iter()
            .all(|draft| draft.event.causation.is_none_or(|id| all.contains(&id)))
    );
}

#[test]
fn another_prefix_is_another_stream_and_other_ids() {
    let Some(folder) = data("claude-code-viewer") else {
        return;
    };
    let bytes = fs::read(files(&folder.join("dev")).remove(0)).unwrap();
    let plain = drafts(read_bytes(&bytes, Format::ClaudeCode));
    let options = Options::new().stream_prefix("team/");
    let other = drafts(Importer::new(Format::ClaudeCode, bytes.as_slice(), options).collect());
    for (one, other) in plain.iter().zip(&other) {
        assert_eq!(format!("team/{}", one.event.stream), other.event.stream);
        assert_ne!(one.event.event_id, other.event.event_id);
        assert_eq!(one.event.payload, other.event.payload);
    }
}

#[test]
fn a_damaged_byte_costs_no_more_than_its_run() {
    let Some(folder) = data("tau-bench") else {
        return;
    };
    let text = fs::read_to_string(folder.join("dev/gpt-4o-airline.tasks-00-33.json")).unwrap();
    let (end, _) = text.match_indices("\n },").nth(11).unwrap();
    let whole = [&text.as_bytes()[..end], b"\n }\n]\n"].concat();
    let runs = |bytes: &[u8]| {
        let items = read_bytes(bytes, Format::Messages);
        let rejected = items.iter().filter(|item| item.is_err()).count();
        let events: Vec<Draft> = items
            .into_iter()
            .flatten()
            .flat_map(|imported| imported.drafts)
            .collect();
        (Counts::of(&events).get("runs"), rejected)
    };
    assert_eq!(runs(&whole), (12, 0));
    let marks = |mark: u8| {
        whole
            .iter()
            .enumerate()
            .filter(move |(_, byte)| **byte == mark)
            .map(|(at, _)| at)
    };
    // Not the first bracket of a run, whose content would then stand for itself.
    for at in marks(b'"')
        .step_by(701)
        .chain(marks(b'}').step_by(301))
        .chain(marks(b']').step_by(53))
    {
        let mut bytes = whole.clone();
        bytes[at] = b'x';
        let (runs, rejected) = runs(&bytes);
        assert!(
            runs >= 11 && rejected <= 2,
            "byte {at}: {runs} runs, {rejected} rejected"
        );
    }
}

/// What may happen to a file.
#[derive(Debug, Clone)]
enum Change {
    Cut(prop::sample::Index),
    Double(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Drop(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => index().prop_map(Change::Cut),
        2 => index().prop_map(Change::Double),
        2 => (index(), index()).prop_map(|(one, other)| Change::Swap(one, other)),
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        1 => index().prop_map(Change::Drop),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if lines.is_empty() {
            break;
        }
        match change {
            Change::Cut(at) => {
                bytes.truncate(at.index(bytes.len()));
                continue;
            }
            Change::Flip(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
                continue;
            }
            Change::Double(at) => {
                let at = at.index(lines.len());
                lines.insert(at, lines[at].clone());
            }
            Change::Swap(one, other) => {
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
            }
            Change::Drop(at) => {
                lines.remove(at.index(lines.len()));
            }
        }
        bytes = lines.concat();
    }
    bytes
}

/// Two events of one id are the same event, and every item says where it comes from.
fn sound(bytes: &[u8], format: Format) {
    let items = read_bytes(bytes, format);
    assert!(!items.is_empty());
    let last = bytes.split(|byte| *byte == b'\n').count() as u64;
    let mut covered = BTreeSet::new();
    let mut by_id: BTreeMap<Uuid, Draft> = BTreeMap::new();
    for item in items {
        let (line, read) = match &item {
            Ok(imported) => (imported.line, imported.bytes_read),
            Err(rejected) => (rejected.line, rejected.bytes_read),
        };
        assert!((1..=last).contains(&line), "line {line} of {last}");
        assert!(read <= bytes.len() as u64);
        covered.insert(line);
        for draft in item.map(|imported| imported.drafts).unwrap_or_default() {
            let id = draft.event.event_id.unwrap();
            if let Some(before) = by_id.get(&id) {
                assert!(same(before, &draft), "{before:?} {draft:?}");
            }
            by_id.insert(id, draft);
        }
    }
    if matches!(format, Format::ClaudeCode | Format::Pi | Format::OpenClaw) {
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let reported = text.trim_ascii().is_empty() || covered.contains(&line);
            assert!(reported, "line {line} is not reported");
        }
    }
}

/// Some records of every kind, small enough to be read hundreds of times.
fn samples() -> Vec<(Format, Vec<u8>)> {
    let head = |path: &Path, lines: usize, skip: usize| -> Vec<u8> {
        let bytes = fs::read(path).unwrap();
        let lines = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .skip(skip)
            .take(lines);
        lines
            .filter(|line| line.len() < 6000)
            .flatten()
            .copied()
            .collect()
    };
    let mut samples = Vec::new();
    if let Some(folder) = data("claude-code") {
        let paths = files(&folder.join("dev/sessions"));
        samples.extend(
            paths
                .iter()
                .take(6)
                .map(|path| (Format::ClaudeCode, head(path, 60, 0))),
        );
    }
    if let Some(folder) = data("claude-code-viewer") {
        let path = files(&folder.join("dev")).pop().unwrap();
        samples.push((Format::ClaudeCode, head(&path, 60, 0)));
    }
    if let Some(folder) = data("tau-bench") {
        let path = folder.join("dev/gpt-4o-airline.tasks-00-33.json");
        samples.push((Format::Messages, head(&path, 700, 0)));
    }
    if let Some(folder) = data("pi-sessions") {
        let path = files(&folder.join("dev")).remove(0);
        samples.push((Format::Pi, head(&path, 60, 0)));
    }
    if let Some(folder) = data("openclaw-telemetry") {
        let path = files(&folder.join("dev")).remove(0);
        samples.push((Format::OpenClaw, head(&path, 60, 0)));
    }
    if let Some(folder) = data("swe-agent") {
        let path = folder.join("dev/function_calling_simple.traj");
        samples.push((Format::SweAgent, fs::read(path).unwrap()));
    }
    samples
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_recordings_are_reported_and_read_on(
        changes in prop::collection::vec(change(), 1..8),
    ) {
        for (format, bytes) in samples() {
            sound(&changed(&bytes, &changes), format);
        }
    }
}
