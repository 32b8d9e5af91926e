//! Small recordings, and damage to them.

use std::io::{self, BufRead, BufReader, Read};

use proptest::prelude::*;
use runstone_codec::event::{Draft, EventLimits};
use serde_json::Value;

use crate::events::control;
use crate::{Format, Imported, Importer, Options, RejectReason, Rejected};

pub(super) type Item = Result<Imported, Rejected>;

pub(super) fn import_with(format: Format, recording: &str, options: Options) -> Vec<Item> {
    Importer::new(format, recording.as_bytes(), options).collect()
}

pub(super) fn import(format: Format, recording: &str) -> Vec<Item> {
    import_with(format, recording, Options::default())
}

pub(super) fn drafts(items: Vec<Item>) -> Vec<Draft> {
    items
        .into_iter()
        .flat_map(|item| item.unwrap().drafts)
        .collect()
}

fn claude(recording: &str) -> Vec<Draft> {
    drafts(import(Format::ClaudeCode, recording))
}

fn messages(recording: &str) -> Vec<Draft> {
    drafts(import(Format::Messages, recording))
}

pub(super) fn rejections(items: &[Item]) -> Vec<(u64, &'static str)> {
    items
        .iter()
        .filter_map(|item| item.as_ref().err())
        .map(|one| (one.line, one.code()))
        .collect()
}

pub(super) fn types(drafts: &[Draft]) -> Vec<&str> {
    drafts
        .iter()
        .map(|draft| draft.event.event_type.as_str())
        .collect()
}

pub(super) fn payload(draft: &Draft) -> Value {
    serde_json::from_slice(&draft.event.payload).unwrap()
}

pub(super) fn of_type<'a>(drafts: &'a [Draft], name: &str) -> Vec<&'a Draft> {
    drafts
        .iter()
        .filter(|draft| draft.event.event_type == name)
        .collect()
}

/// A record of the session `s`. `rest` is more of its members.
fn turn(kind: &str, uuid: &str, parent: &str, content: &str, rest: &str) -> String {
    let parent = if parent.is_empty() {
        "null".to_owned()
    } else {
        format!("\"{parent}\"")
    };
    format!(
        r#"{{"type":"{kind}","uuid":"{uuid}","parentUuid":{parent},"sessionId":"s","message":{{"role":"{kind}","content":{content}}}{rest}}}"#
    )
}

fn call(id: &str, name: &str, input: &str) -> String {
    format!(r#"[{{"type":"tool_use","id":"{id}","name":"{name}","input":{input}}}]"#)
}

fn result(id: &str, rest: &str) -> String {
    format!(r#"[{{"type":"tool_result","tool_use_id":"{id}","content":"done"{rest}}}]"#)
}

const SIDE: &str = r#","isSidechain":true"#;

fn session() -> String {
    [
        r#"{"type":"summary","summary":"earlier","leafUuid":"x"}"#.to_owned(),
        turn("user", "1", "", "\"go\"", r#","timestamp":"2026-02-09T07:36:25.434Z""#),
        turn("assistant", "2", "1", &call("t", "Task", r#"{"prompt":"look","subagent_type":"scout"}"#), ""),
        turn("user", "3", "", "\"look\"", SIDE),
        turn("assistant", "4", "3", &call("t", "Read", r#"{"n":340282366920938463463374607431768211455}"#), SIDE),
        turn("user", "5", "4", &result("t", r#","is_error":true"#), SIDE),
        turn("user", "6", "2", &result("t", ""), r#","sourceToolAssistantUUID":"2""#),
        r#"{"type":"progress","uuid":"7","parentUuid":"6","sessionId":"s","data":{"type":"agent_progress","message":{"message":{"role":"assistant","usage":{"input_tokens":9},"content":[{"type":"tool_use","id":"n","name":"Read"}]}}}}"#.to_owned(),
        r#"{"type":"queue-operation","operation":"dequeue","sessionId":"s"}"#.to_owned(),
        r#"{"type":"queue-operation","operation":"dequeue","sessionId":"s"}"#.to_owned(),
    ]
    .join("\n")
}

#[test]
fn a_session_and_its_sub_agent() {
    let events = claude(&session());
    let (root, agent) = ("claude-code/s", "claude-code/s/agent-3");
    let found: Vec<(&str, &str)> = events
        .iter()
        .map(|draft| (draft.event.event_type.as_str(), draft.event.stream.as_str()))
        .collect();
    let want = [
        ("run.started", root),
        ("harness.claude_code.summary", root),
        ("chat.message", root),
        ("chat.message", root),
        ("tool.call.requested", root),
        ("run.started", agent),
        ("chat.message", agent),
        ("chat.message", agent),
        ("tool.call.requested", agent),
        ("chat.message", agent),
        ("tool.call.failed", agent),
        ("chat.message", root),
        ("tool.call.completed", root),
        ("run.finished", agent),
        ("harness.claude_code.progress.agent_progress", root),
        ("harness.claude_code.queue_operation.dequeue", root),
        ("harness.claude_code.queue_operation.dequeue", root),
    ];
    assert_eq!(found, want);
    let id = |at: usize| events[at].event.event_id;
    let cause = |at: usize| events[at].event.causation;
    let causes = [
        (2, 0),
        (3, 2),
        (4, 3),
        (5, 4),
        (6, 5),
        (7, 6),
        (10, 8),
        (12, 4),
        (13, 12),
        (14, 11),
    ];
    for (effect, its_cause) in causes {
        assert_eq!(cause(effect), id(its_cause), "{effect}");
    }
    assert_eq!(events[5].control.get_text(control::PARENT), Some(root));
    assert_eq!(
        events[13].control.get_text(control::STATUS),
        Some("success")
    );
    assert_eq!(payload(&events[5])["name"], "scout");
    assert_eq!(payload(&events[5])["input"], "look");
    assert_eq!(events[2].event.occurred_at_us, Some(1_770_622_585_434_000));
    assert_eq!(events[2].event.tags, ["imported:claude-code"]);
    assert_ne!(id(15), id(16));
    let arguments = String::from_utf8(events[8].event.payload.clone()).unwrap();
    assert!(
        arguments.contains("340282366920938463463374607431768211455"),
        "{arguments}"
    );
}

#[test]
fn every_prefix_of_a_session_gives_a_prefix_of_its_events() {
    let session = session();
    let all = claude(&session);
    let ends: Vec<usize> = session.match_indices('\n').map(|(at, _)| at).collect();
    // What comes before the first record that names the session waits for it.
    for end in ends.into_iter().skip(1) {
        let some = claude(&session[..end]);
        assert!(
            some.iter()
                .zip(&all)
                .all(|(one, other)| one.event == other.event)
        );
    }
}

#[test]
fn sub_agents_are_found_by_what_names_them() {
    let by_id = turn(
        "user",
        "8",
        "",
        "\"x\"",
        r#","isSidechain":true,"agentId":"a7""#,
    );
    let events = claude(&by_id);
    assert_eq!(events[0].event.stream, "claude-code/s/agent-a7");
    assert_eq!(
        events[0].control.get_text(control::PARENT),
        Some("claude-code/s")
    );
    assert_eq!(events[0].event.causation, None);

    let later = turn(
        "user",
        "9",
        "8",
        "\"y\"",
        r#","isSidechain":true,"agentId":"a7""#,
    );
    let resumed = claude(&later);
    assert_eq!(resumed[0].event.stream, events[0].event.stream);
    assert_ne!(resumed[0].event.event_id, events[0].event.event_id);
    assert_eq!(resumed[1].event.causation, events[1].event.event_id);

    let lost = claude(&turn("user", "9", "8", "\"y\"", SIDE));
    assert_eq!(lost[0].event.stream, "claude-code/s/agent-8");
}

#[test]
fn results_answer_calls_of_a_reused_id_in_order() {
    let recording = [
        turn("assistant", "1", "", &call("t", "A", "{}"), ""),
        turn("user", "2", "1", &result("t", ""), ""),
        turn("assistant", "3", "2", &call("t", "B", "{}"), ""),
        turn("user", "4", "3", &result("t", ""), ""),
        turn("user", "5", "4", &result("t", ""), ""),
    ]
    .join("\n");
    let events = claude(&recording);
    let calls = of_type(&events, "tool.call.requested");
    let results = of_type(&events, "tool.call.completed");
    let turns = of_type(&events, "chat.message");
    for (call, result) in calls.iter().zip(&results) {
        assert_eq!(result.event.causation, call.event.event_id);
    }
    assert_eq!(results[2].event.causation, turns[4].event.event_id);
}

#[test]
fn a_result_that_names_its_call_leaves_the_others_to_their_order() {
    let recording = [
        turn("assistant", "1", "", &call("t", "A", "{}"), ""),
        turn("assistant", "2", "1", &call("t", "B", "{}"), ""),
        turn(
            "user",
            "3",
            "2",
            &result("t", ""),
            r#","sourceToolAssistantUUID":"1""#,
        ),
        turn("user", "4", "3", &result("t", ""), ""),
    ]
    .join("\n");
    let events = claude(&recording);
    let calls = of_type(&events, "tool.call.requested");
    let results = of_type(&events, "tool.call.completed");
    for (call, result) in calls.iter().zip(&results) {
        assert_eq!(result.event.causation, call.event.event_id);
    }
}

#[test]
fn a_recording_may_hold_several_sessions() {
    let recording = [
        turn("user", "1", "", "\"a\"", ""),
        turn("user", "2", "1", "\"b\"", "").replace("\"s\"", "\"r\""),
        r#"{"type":"summary"}"#.to_owned(),
    ]
    .join("\n");
    let events = claude(&recording);
    let streams: Vec<&str> = events
        .iter()
        .map(|draft| draft.event.stream.as_str())
        .collect();
    let (s, r) = ("claude-code/s", "claude-code/r");
    assert_eq!(streams, [s, s, r, r, r]);
    assert_eq!(events[3].event.causation, events[1].event.event_id);
}

#[test]
fn a_record_that_comes_again_is_told_apart_from_one_that_changed() {
    let one = turn("user", "1", "", "\"a\"", "");
    let recording = [one.clone(), one, turn("user", "1", "", "\"b\"", "")].join("\n");
    let items = import(Format::ClaudeCode, &recording);
    let counts: Vec<(u64, usize)> = items
        .iter()
        .map(|item| {
            item.as_ref()
                .map(|one| (one.line, one.drafts.len()))
                .unwrap()
        })
        .collect();
    assert_eq!(counts, [(1, 1), (1, 1), (2, 0), (3, 1)]);
    let turns = drafts(items);
    assert_ne!(turns[1].event.event_id, turns[2].event.event_id);
}

#[test]
fn usage_is_reported_as_often_as_it_stands() {
    let usage = |tokens: u32| {
        format!(
            r#"{{"type":"assistant","uuid":"u{tokens}","sessionId":"s","message":{{"id":"m","model":"big","content":[],"usage":{{"input_tokens":3,"output_tokens":{tokens},"cache_read_input_tokens":5,"cache_creation_input_tokens":7}}}}}}"#
        )
    };
    let events = claude(&[usage(1), usage(2)].join("\n"));
    let calls = of_type(&events, "llm.call.completed");
    assert_eq!(calls.len(), 2);
    let last = calls[1];
    let amounts = [2, 3, 4, 5, 6].map(|field| last.control.get_u64(field));
    assert_eq!(amounts, [Some(3), Some(2), Some(5), Some(7), None]);
    assert_eq!(last.keyed[0].label, "llm-call");
    assert_eq!(last.keyed[0].parts, [b"m"]);
    assert_eq!(
        (last.event.source.as_str(), payload(last)["model"].as_str()),
        ("big", Some("big"))
    );
}

#[test]
fn claude_code_records_that_cannot_be_read_are_skipped() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let bad = [
        turn("user", "1", "", "\"ok\"", ""),
        r#"{"type":"user","uuid":7,"sessionId":"s"}"#.to_owned(),
        turn("user", "3", "", "7", ""),
        turn("user", "4", "", r#"[{"type":"tool_result"}]"#, ""),
        r#"{"sessionId":"s","type":"assistant","message":{"usage":{"input_tokens":-1}}}"#
            .to_owned(),
        turn("user", "6", "", "\"x\"", &format!(",\"deep\":{deep}")),
        "nonsense".to_owned(),
        "[1]".to_owned(),
        r#"{"sessionId":"","type":"user"}"#.to_owned(),
        turn("user", "10", "", "\"ok\"", ""),
        r#"{"type":"user","sess"#.to_owned(),
    ]
    .join("\r\n");
    let items = import(Format::ClaudeCode, &format!("\u{feff}{bad}"));
    let wrong = "import_wrong_type";
    let want = [
        (2, wrong),
        (3, wrong),
        (4, wrong),
        (5, wrong),
        (6, "import_event_refused"),
        (7, "import_record_not_json"),
        (8, wrong),
        (9, wrong),
        (11, "import_record_truncated"),
    ];
    assert_eq!(rejections(&items), want);
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 3);
    let shown = items
        .iter()
        .find_map(|item| item.as_ref().err())
        .unwrap()
        .to_string();
    assert_eq!(shown, "line 2: uuid is not a string");
}

#[test]
fn bounds_hold() {
    let lines = [
        turn("user", "1", "", "\"ok\"", ""),
        turn("user", "2", "", &format!("\"{}\"", "x".repeat(500)), ""),
        turn("user", "3", "", "\"ok\"", ""),
    ]
    .join("\n");
    let items = import_with(Format::ClaudeCode, &lines, Options::new().record_bytes(200));
    assert_eq!(rejections(&items), [(2, "import_record_too_large")]);

    let items = import_with(Format::ClaudeCode, &lines, Options::new().records(2));
    assert_eq!(rejections(&items), [(3, "import_too_many_records")]);

    let mut limits = EventLimits::default();
    limits.payload_bytes = 400;
    let items = import_with(Format::ClaudeCode, &lines, Options::new().limits(limits));
    assert_eq!(rejections(&items), [(2, "import_event_refused")]);
    assert!(items.len() > 2);
}

#[test]
fn without_a_session_nothing_is_imported() {
    let recording = "{\"type\":\"summary\"}\n{\"type\":\"user\"}\n{}";
    let code = "import_no_session";
    assert_eq!(
        rejections(&import(Format::ClaudeCode, recording)),
        [(1, code), (2, code), (3, code)]
    );
    for format in Format::all() {
        for empty in ["", "\n\n", "\u{feff}"] {
            assert_eq!(rejections(&import(*format, empty)), [(1, "import_empty")]);
        }
    }
}

/// Reads on until it fails.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.read(into)
    }
}

#[test]
fn a_reader_that_fails_ends_the_import() {
    let text = format!("{}\n{{", turn("user", "1", "", "\"ok\"", ""));
    let reader: Box<dyn BufRead + Send> = Box::new(BufReader::new(Failing(text.as_bytes())));
    let items: Vec<Item> = Importer::new(Format::ClaudeCode, reader, Options::default()).collect();
    let last = items.last().unwrap().as_ref().unwrap_err();
    assert_eq!(
        last.reason,
        RejectReason::Read {
            kind: io::ErrorKind::TimedOut
        }
    );
    assert!(last.reason.is_terminal() && last.reason.is_retryable());
    assert_eq!((items.len(), last.line), (3, 2));
}

const RUN: &str = r#"[
 {
  "task_id": 3, "trial": 1, "reward": 1.0,
  "info": {"task": {"instruction": "fly"}, "user_cost": 0.0000025, "reward_info": {"r": 1}},
  "traj": [
   {"role": "system", "content": "be kind"},
   {"role": "user", "content": [{"type": "text", "text": "hi"}, "there"]},
   {"role": "assistant", "content": null, "tool_calls": [
    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"n\": 1e400}"}}]},
   {"role": "tool", "tool_call_id": "c", "name": "f", "content": "Error: no"},
   {"role": "assistant", "content": null, "tool_calls": [
    {"id": "c", "function": {"name": "g", "arguments": "{oops"}}]},
   {"role": "tool", "tool_call_id": "c", "name": "g", "content": "[]"}
  ]
 }
]"#;

#[test]
fn a_run_of_messages() {
    let events = messages(RUN);
    let want = [
        "run.started",
        "chat.message",
        "chat.message",
        "chat.message",
        "tool.call.requested",
        "chat.message",
        "tool.call.failed",
        "chat.message",
        "tool.call.requested",
        "chat.message",
        "tool.call.completed",
        "harness.messages.run",
        "llm.call.completed",
        "verdict.given",
    ];
    assert_eq!(types(&events), want);
    let digest = crate::identity::hex_digest(b"be kind", 8);
    let stream = format!("messages/{digest}/3-1");
    assert!(events.iter().all(|draft| draft.event.stream == stream));
    let id = |at: usize| events[at].event.event_id;
    let cause = |at: usize| events[at].event.causation;
    for (effect, its_cause) in [(1, 0), (2, 1), (4, 3), (6, 4), (10, 8), (11, 9), (13, 11)] {
        assert_eq!(cause(effect), id(its_cause), "{effect}");
    }
    let text = |at: usize| String::from_utf8(events[at].event.payload.clone()).unwrap();
    assert_eq!(text(0), r#"{"name":"3-1","input":"fly"}"#);
    assert_eq!(
        text(4),
        r#"{"call_id":"c","name":"f","arguments":{"n": 1e400}}"#
    );
    assert_eq!(text(8), r#"{"call_id":"c","name":"g","arguments":"{oops"}"#);
    assert_eq!(text(10), r#"{"call_id":"c","name":"g","result":"[]"}"#);
    assert!(text(1).ends_with(r#""original":{"role": "system", "content": "be kind"}}"#));
    assert!(
        text(11)
            .starts_with(r#"{"original":{"task_id":3,"trial":1,"reward":1.0,"info":{"task": {"#)
    );
    assert_eq!(events[12].control.get_u64(control::USD_MICROS), Some(2));
    assert_eq!(payload(&events[13])["verdict"], "pass");
    let lines: Vec<u64> = import(Format::Messages, RUN)
        .into_iter()
        .map(|item| item.unwrap().line)
        .collect();
    assert_eq!(lines, [2, 6, 7, 8, 10, 11, 13, 2]);
}

#[test]
fn a_transcript_may_be_laid_out_in_many_ways() {
    let turns = [
        r#"{"role":"system","content":"s"}"#,
        r#"{"role":"user","content":"u"}"#,
        r#"{"role":"assistant","content":"a","usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}"#,
    ];
    let listed = turns.join(",");
    let run = format!(r#"{{"id":"r","messages":[{listed}]}}"#);
    let other = format!(r#"{{"id":"q","messages":[{listed}]}}"#);
    let loose = [
        "run.started",
        "chat.message",
        "chat.message",
        "chat.message",
        "llm.call.completed",
    ];
    for bare in [
        format!("[{listed}]"),
        turns.join("\n"),
        format!("[[{listed}]]"),
    ] {
        let events = messages(&bare);
        assert_eq!(types(&events), loose, "{bare}");
        let amounts = [2, 3, 4, 5].map(|field| events[4].control.get_u64(field));
        assert_eq!(amounts, [Some(5), Some(2), Some(4), Some(0)]);
    }
    for (text, runs) in [
        (run.clone(), 1),
        (format!("{run}\n{other}\n"), 2),
        (format!("[{run},{other}]"), 2),
        (format!("[{listed}]\n[{listed}]"), 2),
    ] {
        let events = messages(&text);
        assert_eq!(of_type(&events, "run.started").len(), runs, "{text}");
        assert_eq!(of_type(&events, "chat.message").len(), 3 * runs, "{text}");
    }
    let events = messages(&format!("[{listed}]\n[{listed}]"));
    assert_eq!(
        format!("{}~2", events[0].event.stream),
        events.last().unwrap().event.stream
    );
}

#[test]
fn a_longer_transcript_begins_as_the_shorter_one() {
    let all: Vec<String> = (0..12)
        .map(|n| {
            format!(
                r#"{{"role":"{}","content":"{n}"}}"#,
                ["user", "assistant"][n % 2]
            )
        })
        .collect();
    let whole = messages(&all.join("\n"));
    for length in 1..all.len() {
        let some = messages(&all[..length].join("\n"));
        assert_eq!(some.len(), length + 1);
        assert!(
            some.iter()
                .zip(&whole)
                .all(|(one, other)| one.event == other.event)
        );
    }
}

#[test]
fn calls_without_ids_are_answered_by_name() {
    let recording = r#"[{"role":"user","content":"q"},
        {"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
        {"role":"function","name":"f","content":"1"}]"#;
    let events = messages(recording);
    let call = of_type(&events, "tool.call.requested")[0];
    let result = of_type(&events, "tool.call.completed")[0];
    assert_eq!(result.event.causation, call.event.event_id);
}

#[test]
fn messages_that_cannot_be_read_are_skipped() {
    let recording = r#"[
  {"messages": 7},
  {"id": "r", "messages": [
    {"role": "user", "content": "x"},
    {"content": "nobody"},
    {"role": "user", "content": 7},
    7,
    {"role": "assistant", "tool_calls": [{"function": {}}]},
    {"role": "user", "content": "y"}]},
  "text",
  {"id": "e", "messages": [], "error": "time"},
  {"messages": [}
]"#;
    let items = import(Format::Messages, recording);
    let wrong = "import_wrong_type";
    let want = [
        (2, wrong),
        (5, wrong),
        (6, wrong),
        (7, wrong),
        (8, wrong),
        (10, wrong),
        (12, "import_record_unbalanced"),
    ];
    assert_eq!(rejections(&items), want);
    let events: Vec<Draft> = items
        .into_iter()
        .flatten()
        .flat_map(|imported| imported.drafts)
        .collect();
    let finished = of_type(&events, "run.finished");
    assert_eq!(finished[0].control.get_text(control::STATUS), Some("error"));
    assert_eq!(payload(finished[0])["reason"], "time");
    assert_eq!(of_type(&events, "chat.message").len(), 2);
}

/// Whatever comes in, every item says where it is from and is acceptable to a log.
pub(super) fn sound(bytes: &[u8], format: Format) {
    let last = bytes.split(|byte| *byte == b'\n').count() as u64;
    let items: Vec<Item> = Importer::new(format, bytes, Options::new().records(64)).collect();
    assert!(!items.is_empty());
    for item in items {
        match item {
            Ok(imported) => {
                assert!(imported.member.is_some() || (1..=last).contains(&imported.line));
                for mut draft in imported.drafts {
                    assert_eq!(draft.event.check(&EventLimits::default()), Ok(()));
                    assert_eq!(draft.event.stream, imported.stream);
                }
            }
            Err(rejected) => {
                let line = (1..=last).contains(&rejected.line);
                assert!(rejected.member.is_some() || line, "{rejected}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in Format::all() {
            sound(&bytes, *format);
        }
    }

    #[test]
    fn any_brackets_are_read(text in "[\\[\\]{}\",:\\\\ \na1]{0,80}") {
        for format in Format::all() {
            sound(text.as_bytes(), *format);
        }
    }

    #[test]
    fn damage_is_reported(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        for (format, text) in [(Format::ClaudeCode, session()), (Format::Messages, RUN.to_owned())] {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            sound(&bytes, format);
        }
    }
}
