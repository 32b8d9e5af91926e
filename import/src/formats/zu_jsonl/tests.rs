//! Small stores.

use super::super::tests::{drafts, import, of_type, payload, rejections, types};
use crate::Format;

fn event(id: &str, parent: &str, kind: &str, payload: &str) -> String {
    let parent = if parent.is_empty() {
        "null".to_owned()
    } else {
        format!("\"{parent}\"")
    };
    format!(
        r#"{{"event_id":"{id}","trace_id":"t","task_id":"t","parent_id":{parent},"type":"{kind}","ts":"2026-11-21T00:52:18.740109Z","source":"loop","payload":{payload},"schema_version":1}}"#
    )
}

fn task() -> Vec<String> {
    vec![
        event(
            "1",
            "",
            "harness.task.started",
            r#"{"query":"how much?","target":"https://shop.example"}"#,
        ),
        event("2", "1", "harness.turn.started", r#"{"step":1}"#),
        event(
            "3",
            "2",
            "harness.turn.completed",
            r#"{"step":1,"model":"m","usage":{"input_tokens":5,"output_tokens":3},"text":"hm"}"#,
        ),
        event(
            "4",
            "2",
            "harness.tool.invoked",
            r#"{"tool":"f","args":{"n":340282366920938463463374607431768211455}}"#,
        ),
        event(
            "5",
            "2",
            "harness.tool.invoked",
            r#"{"tool":"f","args":{}}"#,
        ),
        event(
            "6",
            "2",
            "harness.tool.returned",
            r#"{"tool":"f","observation":{"ok":1e+16}}"#,
        ),
        event(
            "7",
            "2",
            "harness.tool.returned",
            r#"{"tool":"f","observation":{"error":"no"}}"#,
        ),
        event(
            "8",
            "1",
            "harness.task.escalated",
            r#"{"from_tier":1,"to_tier":2}"#,
        ),
        event(
            "9",
            "1",
            "harness.task.escalated",
            r#"{"reason":"loop","exhausted":true}"#,
        ),
        event("10", "1", "data.Weird-Type.x", "{}"),
    ]
}

#[test]
fn a_task_is_a_run() {
    let events = drafts(import(Format::ZuJsonl, &task().join("\n")));
    let want = [
        "run.started",
        "harness.zu_jsonl.task.started",
        "harness.zu_jsonl.turn.started",
        "harness.zu_jsonl.turn.completed",
        "llm.call.completed",
        "chat.message",
        "harness.zu_jsonl.tool.invoked",
        "tool.call.requested",
        "harness.zu_jsonl.tool.invoked",
        "tool.call.requested",
        "harness.zu_jsonl.tool.returned",
        "tool.call.completed",
        "harness.zu_jsonl.tool.returned",
        "tool.call.failed",
        "harness.zu_jsonl.task.escalated",
        "harness.zu_jsonl.task.escalated",
        "run.finished",
        "harness.zu_jsonl.data.weird_type.x",
    ];
    assert_eq!(types(&events), want);
    let id = |at: usize| events[at].event.event_id;
    for (effect, cause) in [
        (2, 1),
        (3, 2),
        (5, 3),
        (7, 6),
        (11, 7),
        (13, 9),
        (16, 15),
        (17, 1),
    ] {
        assert_eq!(events[effect].event.causation, id(cause), "{effect}");
    }
    assert_eq!(
        payload(&events[7])["call_id"],
        payload(&events[11])["call_id"]
    );
    assert_eq!(payload(&events[16])["status"], "escalated");
    assert_eq!(events[0].event.stream, "zu-jsonl/t");
    let kept = String::from_utf8(events[6].event.payload.clone()).unwrap();
    assert_eq!(kept, format!("{{\"original\":{}}}", task()[3]));
}

#[test]
fn what_stands_there_twice_counts_once() {
    let mut lines = task();
    lines.insert(6, lines[2].clone());
    let once = drafts(import(Format::ZuJsonl, &task().join("\n")));
    let twice = drafts(import(Format::ZuJsonl, &lines.join("\n")));
    assert_eq!(types(&once), types(&twice));
}

#[test]
fn a_torn_event_costs_itself_alone() {
    let lines = task();
    let whole = drafts(import(Format::ZuJsonl, &lines.join("\n")));
    let torn = |cut: usize| {
        let mut text = lines[..9].join("\n");
        text.push('\n');
        text.push_str(&lines[9][..cut]);
        text
    };
    for cut in [1, 20, lines[9].len() - 1] {
        let items = import(Format::ZuJsonl, &torn(cut));
        assert_eq!(rejections(&items), [(10, "import_record_truncated")]);
        let read: Vec<_> = items.into_iter().flatten().map(Ok).collect();
        assert_eq!(drafts(read).len(), whole.len() - 1);
        // The next event was written behind the part of one.
        let next = event(
            "11",
            "1",
            "harness.task.terminal",
            r#"{"reason":"budget:max_steps"}"#,
        );
        let items = import(
            Format::ZuJsonl,
            &format!("{}{next}\n{}\n", torn(cut), lines[9]),
        );
        assert_eq!(
            rejections(&items),
            [(10, "import_record_truncated")],
            "{cut}"
        );
        let read = drafts(items.into_iter().flatten().map(Ok).collect());
        assert_eq!(of_type(&read, "harness.zu_jsonl.task.terminal").len(), 1);
        assert_eq!(
            of_type(&read, "harness.zu_jsonl.data.weird_type.x").len(),
            1
        );
    }
    let odd = [
        r#"{"event_id":"1"}"#,
        "[]",
        "nul",
        r#"{"event_id":"a{"event_id""#,
    ];
    assert_eq!(
        rejections(&import(Format::ZuJsonl, &odd.join("\n"))).len(),
        4
    );
}
