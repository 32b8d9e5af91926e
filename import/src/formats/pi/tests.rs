//! Small sessions.

use proptest::prelude::*;
use serde_json::Value;

use super::super::tests::{drafts, import, of_type, payload, rejections, sound, types};
use crate::Format;
use crate::events::control;

const HEADER: &str =
    r#"{"type":"session","version":3,"id":"s","timestamp":"2026-02-09T07:36:25.434Z","cwd":"/"}"#;

/// A record of the tree. `rest` is more of its members.
fn entry(kind: &str, id: &str, parent: &str, rest: &str) -> String {
    let parent = match parent {
        "" => "null".to_owned(),
        id => format!("\"{id}\""),
    };
    let time = "2026-02-09T07:36:26.000Z";
    format!(r#"{{"type":"{kind}","id":"{id}","parentId":{parent},"timestamp":"{time}",{rest}}}"#)
}

fn message(id: &str, parent: &str, role: &str, content: &str, rest: &str) -> String {
    let message = format!(r#""message":{{"role":"{role}","content":{content}{rest}}}"#);
    entry("message", id, parent, &message)
}

fn call(id: &str) -> String {
    format!(
        r#"[{{"type":"thinking","thinking":"hm"}},{{"type":"toolCall","id":"{id}","name":"read","arguments":{{"n":340282366920938463463374607431768211455}}}}]"#
    )
}

fn tree() -> String {
    let usage = r#","model":"big","usage":{"input":3,"output":2,"cacheRead":5,"cacheWrite":7,"cost":{"total":0.0000025}}"#;
    let answer = r#","toolCallId":"t","toolName":"read","isError":false"#;
    let failed = r#","toolCallId":"t","toolName":"read","isError":true"#;
    [
        HEADER.to_owned(),
        message("a", "", "user", "\"go\"", ""),
        message("b", "a", "assistant", &call("t"), usage),
        message(
            "c",
            "b",
            "toolResult",
            r#"[{"type":"text","text":"ok"}]"#,
            answer,
        ),
        // Another branch from the same question.
        message("d", "a", "assistant", &call("t"), usage),
        message("e", "d", "toolResult", "[]", failed),
        entry(
            "branch_summary",
            "f",
            "a",
            r#""fromId":"e","summary":"x","usage":{"input":9,"output":1}"#,
        ),
        entry(
            "custom",
            "g",
            "f",
            r#""customType":"My-Notes","data":{"x":1e400}"#,
        ),
        message(
            "h",
            "g",
            "bashExecution",
            "null",
            r#","command":"ls","output":"","exitCode":0"#,
        ),
        entry("label", "i", "h", r#""targetId":"a","label":"here""#),
    ]
    .join("\n")
}

fn pi(recording: &str) -> Vec<runstone_codec::event::Draft> {
    drafts(import(Format::Pi, recording))
}

#[test]
fn a_session_is_a_tree() {
    let events = pi(&tree());
    let want = [
        "run.started",
        "harness.pi.session",
        "chat.message",
        "chat.message",
        "llm.call.completed",
        "tool.call.requested",
        "chat.message",
        "tool.call.completed",
        "chat.message",
        "llm.call.completed",
        "tool.call.requested",
        "chat.message",
        "tool.call.failed",
        "harness.pi.branch_summary",
        "llm.call.completed",
        "harness.pi.custom.my_notes",
        "harness.pi.message.bashexecution",
        "harness.pi.label",
    ];
    assert_eq!(types(&events), want);
    assert!(events.iter().all(|one| one.event.stream == "pi/s"));
    let id = |at: usize| events[at].event.event_id;
    let causes = [
        (1, 0),
        (2, 1),
        (3, 2),
        (5, 3),
        (7, 5),
        (8, 2),
        (10, 8),
        (12, 10),
        (13, 2),
        (17, 16),
    ];
    for (effect, its_cause) in causes {
        assert_eq!(events[effect].event.causation, id(its_cause), "{effect}");
    }
    let text = |at: usize| String::from_utf8(events[at].event.payload.clone()).unwrap();
    assert_eq!(
        text(5),
        r#"{"call_id":"t","name":"read","arguments":{"n":340282366920938463463374607431768211455}}"#
    );
    assert!(text(15).contains("1e400"));
    assert_eq!(payload(&events[6])["role"], "tool");
    assert_eq!(payload(&events[7])["result"][0]["text"], "ok");
    assert_eq!(events[3].event.source, "big");
    assert_eq!(events[1].event.occurred_at_us, Some(1_770_622_585_434_000));
    let amounts = |at: usize| [2, 3, 4, 5, 6].map(|field| events[at].control.get_u64(field));
    assert_eq!(amounts(4), [Some(3), Some(2), Some(5), Some(7), Some(3)]);
    // The half that rounding added is not added again.
    assert_eq!(amounts(9)[4], Some(2));
    assert_eq!(amounts(14), [Some(9), Some(1), Some(0), Some(0), None]);
}

#[test]
fn records_without_ids_follow_each_other() {
    let recording = [
        r#"{"type":"session","id":"s","timestamp":"2026-02-09T07:36:25.434Z","cwd":"/","branchedFrom":"/x/2025-12-09T00-52-54-397Z_r.jsonl"}"#,
        r#"{"type":"message","timestamp":"2026-02-09T07:36:26Z","message":{"role":"user","content":"go"}}"#,
        r#"{"type":"thinking_level_change","timestamp":"2026-02-09T07:36:27Z","thinkingLevel":"low"}"#,
        r#"{"type":"thinking_level_change","timestamp":"2026-02-09T07:36:27Z","thinkingLevel":"low"}"#,
    ];
    let events = pi(&recording.join("\n"));
    assert_eq!(events.len(), 5);
    for (one, next) in events.iter().zip(&events[1..]) {
        assert_eq!(next.event.causation, one.event.event_id);
    }
    let origin = pi(&HEADER.replace("\"s\"", "\"r\""));
    assert_eq!(events[0].event.causation, origin[1].event.event_id);
    assert_eq!(events[0].control.get_text(control::PARENT), None);
}

#[test]
fn a_recording_may_hold_several_sessions_and_repeat_records() {
    let other = HEADER.replace("\"s\"", "\"r\"");
    let turn = message("a", "", "user", "\"go\"", "");
    let changed = message("a", "", "user", "\"stop\"", "");
    let lines = [HEADER, &turn, &turn, &changed, &other, &turn, HEADER, &turn];
    let items = import(Format::Pi, &lines.join("\n"));
    let found: Vec<(String, usize)> = items
        .iter()
        .map(|item| item.as_ref().unwrap())
        .map(|item| (item.stream.clone(), item.drafts.len()))
        .collect();
    let want = [
        ("s", 2),
        ("s", 1),
        ("s", 0),
        ("s", 1),
        ("r", 2),
        ("r", 1),
        ("s", 0),
        ("s", 0),
    ];
    assert_eq!(
        found,
        want.map(|(name, count)| (format!("pi/{name}"), count))
    );
    let turns = drafts(items);
    let turns = of_type(&turns, "chat.message");
    assert_ne!(turns[0].event.event_id, turns[1].event.event_id);
}

#[test]
fn a_call_reported_twice_is_one_call() {
    let usage = |tokens: u32| format!(r#","responseId":"m","usage":{{"output":{tokens}}}"#);
    let lines = [
        HEADER.to_owned(),
        message("a", "", "assistant", "[]", &usage(1)),
        message("b", "a", "assistant", "[]", &usage(2)),
    ];
    let events = pi(&lines.join("\n"));
    let calls = of_type(&events, "llm.call.completed");
    let ids: Vec<Value> = calls
        .iter()
        .map(|one| payload(one)["call_id"].clone())
        .collect();
    assert_eq!(ids, ["m", "m"]);
}

#[test]
fn records_that_cannot_be_read_are_skipped() {
    let lines = [
        message("a", "", "user", "\"early\"", ""),
        HEADER.to_owned(),
        r#"{"id":"x"}"#.to_owned(),
        r#"{"type":"session"}"#.to_owned(),
        message("b", "", "user", "7", ""),
        message(
            "c",
            "",
            "assistant",
            r#"[{"type":"toolCall","id":"t"}]"#,
            "",
        ),
        message("d", "", "toolResult", "[]", ""),
        message("e", "", "assistant", "[]", r#","usage":{"input":-1}"#),
        r#"{"type":"message","id":"f","message":7}"#.to_owned(),
        message("g", "", "user", "\"ok\"", ""),
        "{\"type\":".to_owned(),
    ];
    let wrong = "import_wrong_type";
    let mut want = vec![(1, "import_no_session")];
    want.extend((3..=9).map(|line| (line, wrong)));
    want.push((11, "import_record_truncated"));
    assert_eq!(rejections(&import(Format::Pi, &lines.join("\n"))), want);
}

proptest! {
    #[test]
    fn damage_is_reported(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = tree().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        sound(&bytes, Format::Pi);
    }
}
