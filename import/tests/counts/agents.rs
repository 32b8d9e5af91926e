//! Recordings of pi, SWE-agent and `OpenClaw`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use runstone_codec::event::Draft;
use runstone_import::{Format, detect};

use super::{Counts, data, drafts, files, read, read_bytes, same, stated};

/// How many events of a type there are.
fn of_type(events: &[Draft], name: &str) -> u64 {
    let found = events.iter().filter(|one| one.event.event_type == name);
    found.count() as u64
}

/// What is in a folder, whatever it is called.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Counts by the names that other READMEs use for them.
fn renamed(stated: &mut BTreeMap<String, f64>, names: &[(&str, &str)]) {
    for (here, there) in names {
        stated.insert((*here).to_owned(), stated[*there]);
    }
}

#[test]
fn pi_as_stated() {
    let Some(folder) = data("pi-sessions") else {
        return;
    };
    let paths = files(&folder.join("dev"));
    let items: Vec<_> = paths
        .iter()
        .flat_map(|path| read(path, Format::Pi))
        .collect();
    let lines = items.len();
    let events = drafts(items);
    let counts = Counts::of(&events);
    let mut stated = stated(&folder);
    renamed(
        &mut stated,
        &[
            ("input_tokens", "tok_input"),
            ("output_tokens", "tok_output"),
            ("cache_read_input_tokens", "tok_cacheRead"),
            ("cache_creation_input_tokens", "tok_cacheWrite"),
        ],
    );
    stated.insert("usd_micros".to_owned(), stated["cost_usd"] * 1e6);
    counts.check(
        &stated,
        &[
            "runs",
            "tool_calls",
            "tool_results",
            "tool_errors",
            "api_calls",
            "usd_micros",
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ],
    );
    let kinds = [
        ("type_session", of_type(&events, "harness.pi.session")),
        ("type_compaction", of_type(&events, "harness.pi.compaction")),
        (
            "type_model_change",
            of_type(&events, "harness.pi.model_change"),
        ),
        (
            "type_thinking_level_change",
            of_type(&events, "harness.pi.thinking_level_change"),
        ),
        (
            "type_message",
            of_type(&events, "chat.message") + of_type(&events, "harness.pi.message.bashexecution"),
        ),
        ("lines", lines as u64),
    ];
    for (name, count) in kinds {
        assert_eq!(count.to_string(), stated[name].to_string(), "{name}");
    }
    let unanswered = stated["tool_calls"] - stated["tool_results"];
    assert_eq!(
        counts.get("unanswered_calls").to_string(),
        unanswered.to_string()
    );
}

/// What the README says of one trajectory: `- dev/NAME: 30693 B, 5 steps, 4 tool_calls, ..`.
fn trajectory(readme: &str, name: &str) -> (u64, u64, Option<String>) {
    let line = readme.lines().find(|line| line.contains(name)).unwrap();
    let (_, said) = line.split_once(": ").unwrap();
    let before = |what: &str| -> u64 {
        let (head, _) = said.split_once(what).unwrap();
        head.rsplit_once(", ").unwrap().1.parse().unwrap()
    };
    let status = said.rsplit_once(", ").unwrap().1;
    let status = (status != "None").then(|| status.to_owned());
    (before(" steps"), before(" tool_calls"), status)
}

#[test]
fn swe_agent_as_stated() {
    let Some(folder) = data("swe-agent") else {
        return;
    };
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let (mut all, mut structured, mut timed, mut with_cost) = (Vec::new(), 0, 0, 0);
    for path in sorted(&folder.join("dev")) {
        let events = drafts(read(&path, Format::SweAgent));
        let name = path.file_name().unwrap().to_string_lossy();
        let (steps, tool_calls, status) = trajectory(&readme, &name);
        let of = |name: &'static str| {
            let is_it = move |one: &&Draft| one.event.event_type == name;
            events.iter().filter(is_it)
        };
        assert_eq!(of("harness.swe_agent.step").count() as u64, steps, "{name}");
        // A step is a call; without steps the history tells the calls.
        let calls = of("tool.call.requested").count() as u64;
        assert_eq!(calls, if steps == 0 { tool_calls } else { steps }, "{name}");
        let member = |one: &Draft, name: &str| -> Option<serde_json::Value> {
            let payload: serde_json::Value = serde_json::from_slice(&one.event.payload).unwrap();
            payload
                .get(name)
                .or_else(|| payload["original"].get(name))
                .cloned()
        };
        let named = of("tool.call.requested").filter(|one| {
            let id = member(one, "call_id").unwrap();
            id.as_str().unwrap().starts_with("call_")
        });
        let named = named.count() as u64;
        assert_eq!(named, tool_calls, "{name}");
        structured += named;
        timed += of("harness.swe_agent.step")
            .filter(|one| member(one, "execution_time").is_some())
            .count();
        let ended = of("run.finished")
            .next()
            .and_then(|one| member(one, "reason"));
        assert_eq!(
            ended.as_ref().and_then(|one| one.as_str()),
            status.as_deref()
        );
        with_cost += u64::from(Counts::of(&events).get("usd_micros") > 0);
        all.extend(events);
    }
    let counts = Counts::of(&all);
    let mut stated = stated(&folder);
    stated.insert("usd_micros".to_owned(), stated["cost_usd"] * 1e6);
    counts.check(&stated, &["runs", "usd_micros"]);
    let found = [
        ("steps", of_type(&all, "harness.swe_agent.step")),
        ("structured_tool_calls", structured),
        ("runs_with_cost", with_cost),
        ("steps_with_execution_time", timed as u64),
    ];
    for (name, count) in found {
        assert_eq!(count.to_string(), stated[name].to_string(), "{name}");
    }
    assert_eq!(counts.get("unanswered_calls"), 0);
    let mut streams: Vec<&str> = all.iter().map(|one| one.event.stream.as_str()).collect();
    streams.dedup();
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len().to_string(), stated["runs"].to_string());
}

/// A trajectory as it was written after each of its steps.
#[test]
fn a_growing_trajectory_goes_on_in_its_stream() {
    let Some(folder) = data("swe-agent") else {
        return;
    };
    for path in sorted(&folder.join("dev")) {
        let whole: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let steps = whole["trajectory"].as_array().map_or(0, Vec::len);
        let (mut known, mut last) = (BTreeMap::new(), 0);
        for after in 1..=steps {
            let mut snapshot = whole.clone();
            let (mut answers, mut said) = (0, Vec::new());
            for message in whole["history"].as_array().unwrap() {
                answers += usize::from(message["role"] == "assistant");
                if answers <= after {
                    said.push(message.clone());
                }
            }
            snapshot["history"] = said.into();
            snapshot["trajectory"]
                .as_array_mut()
                .unwrap()
                .truncate(after);
            if after < steps {
                snapshot["info"] = serde_json::json!({"model_stats": {"api_calls": after}});
            }
            let events = drafts(read_bytes(
                snapshot.to_string().as_bytes(),
                Format::SweAgent,
            ));
            last = events.len();
            for event in events {
                let id = event.event.event_id.unwrap();
                let before = known.entry(id).or_insert_with(|| event.clone());
                assert!(same(before, &event), "{}", path.display());
            }
        }
        // Only what was said of the unfinished run is left over.
        let left_over = steps.saturating_sub(1) * 2;
        assert_eq!(known.len(), last + left_over, "{}", path.display());
    }
}

/// Files in a folder and below it.
fn below(folder: &Path) -> Vec<PathBuf> {
    let inside = sorted(folder).into_iter();
    inside
        .flat_map(|path| {
            if path.is_dir() {
                below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn every_recording_is_told_by_its_content() {
    let own = [
        ("claude-code", Some(Format::ClaudeCode)),
        ("claude-code-viewer", Some(Format::ClaudeCode)),
        ("tau-bench", Some(Format::Messages)),
        ("pi-sessions", Some(Format::Pi)),
        ("openclaw-telemetry", Some(Format::OpenClaw)),
        ("swe-agent", Some(Format::SweAgent)),
        // Not one of these.
        ("inspect-logs", None),
        ("otel-genai-any-agent", None),
        ("prior-art", None),
    ];
    for (folder, format) in own {
        let Some(folder) = data(folder) else { continue };
        for path in below(&folder) {
            let bytes = std::fs::read(&path).unwrap();
            let head = &bytes[..bytes.len().min(runstone_import::DETECT_BYTES)];
            let found = detect(head);
            let name = path.to_string_lossy();
            let is_note = name.ends_with(".md") || name.ends_with(".metadata.json");
            match format {
                _ if is_note => assert_eq!(found, None),
                Some(format) => assert_eq!(found, Some(format), "{}", path.display()),
                None => {
                    let others = own.iter().filter_map(|(_, format)| *format);
                    let taken = others
                        .chain([Format::CloudEvents])
                        .find(|one| found == Some(*one));
                    assert_eq!(taken, None, "{}", path.display());
                }
            }
        }
    }
}

/// The records that events kept, byte for byte, in their order.
fn originals(events: &[Draft]) -> Vec<String> {
    let original = |draft: &Draft| {
        let members: BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_slice(&draft.event.payload).unwrap();
        members.get("original").map(|kept| kept.get().to_owned())
    };
    events.iter().filter_map(original).collect()
}

#[test]
fn bytes_of_all_records_are_kept() {
    for (folder, format) in [
        ("pi-sessions", Format::Pi),
        ("openclaw-telemetry", Format::OpenClaw),
    ] {
        let Some(folder) = data(folder) else { continue };
        let path = files(&folder.join("dev")).remove(0);
        let text = std::fs::read_to_string(&path).unwrap();
        let kept = originals(&drafts(read(&path, format)));
        assert_eq!(kept, text.lines().collect::<Vec<_>>());
    }
    let Some(folder) = data("swe-agent") else {
        return;
    };
    for path in sorted(&folder.join("dev")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let length = |name: &str| whole[name].as_array().map_or(0, Vec::len);
        let mut kept = originals(&drafts(read(&path, Format::SweAgent)));
        if whole.get("info").is_some() {
            // The rest of the run, of which every value is kept.
            let rest: BTreeMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_str(&kept.pop().unwrap()).unwrap();
            assert_eq!(rest.len(), whole.as_object().unwrap().len() - 2);
            assert!(rest.values().all(|value| text.contains(value.get())));
        }
        assert_eq!(kept.len(), length("history") + length("trajectory"));
        assert!(kept.iter().all(|part| text.contains(part)));
    }
}

/// Every shorter recording gives the beginning of what the whole one gives.
fn grows(path: &Path, format: Format, lengths: &[usize]) {
    let bytes = std::fs::read(path).unwrap();
    let whole = drafts(read_bytes(&bytes, format));
    for length in lengths {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(*length);
        let some = drafts(read_bytes(&lines.collect::<Vec<_>>().concat(), format));
        assert!(!some.is_empty() && some.len() < whole.len());
        assert!(some.iter().zip(&whole).all(|(one, other)| same(one, other)));
    }
}

#[test]
fn a_growing_pi_session_gives_what_it_gave_before() {
    if let Some(folder) = data("pi-sessions") {
        let path = files(&folder.join("dev")).remove(0);
        grows(&path, Format::Pi, &[1, 2, 100, 360, 1002]);
    }
}

#[test]
fn openclaw_as_stated() {
    let Some(folder) = data("openclaw-telemetry") else {
        return;
    };
    let path = files(&folder.join("dev")).remove(0);
    let items = read(&path, Format::OpenClaw);
    let lines: BTreeSet<u64> = items.iter().map(|one| one.as_ref().unwrap().line).collect();
    let events = drafts(items);
    let counts = Counts::of(&events);
    let mut stated = stated(&folder);
    renamed(
        &mut stated,
        &[
            ("tool_calls", "type_tool.start"),
            ("tool_results", "type_tool.end"),
        ],
    );
    counts.check(&stated, &["tool_calls", "tool_results"]);
    assert_eq!(counts.get("tool_errors"), 0);
    assert_eq!(counts.get("unanswered_calls"), 0);
    let on_channel = |role: &str| -> u64 {
        let said = events.iter().filter(|one| {
            one.event.stream == "openclaw/channel/telegram"
                && one.event.event_type == "chat.message"
        });
        let roles = said.filter(|one| {
            let said: serde_json::Value = serde_json::from_slice(&one.event.payload).unwrap();
            said["role"] == role
        });
        roles.count() as u64
    };
    let found = [
        ("runs", counts.get("runs") + counts.get("agents")),
        ("lines", lines.len() as u64),
        ("type_message.in", on_channel("user")),
        ("type_message.out", on_channel("assistant")),
        (
            "type_message.sending",
            of_type(&events, "harness.openclaw.message.sending"),
        ),
        (
            "type_agent.start",
            of_type(&events, "harness.openclaw.agent.start"),
        ),
        (
            "type_tool.start",
            of_type(&events, "harness.openclaw.tool.start"),
        ),
        (
            "type_tool.end",
            of_type(&events, "harness.openclaw.tool.end"),
        ),
    ];
    for (name, count) in found {
        assert_eq!(count.to_string(), stated[name].to_string(), "{name}");
    }
    // Of 78 messages that are shown, 6 are answers of the model.
    assert_eq!((counts.get("agents"), counts.get("api_calls")), (3, 6));
}

#[test]
fn growing_telemetry_gives_what_it_gave_before() {
    if let Some(folder) = data("openclaw-telemetry") {
        let path = files(&folder.join("dev")).remove(0);
        grows(&path, Format::OpenClaw, &[1, 10, 20, 40, 56]);
    }
}
