//! Small telemetry.

use proptest::prelude::*;
use runstone_codec::event::Draft;

use super::super::tests::{
    drafts, import, import_with, of_type, payload, rejections, sound, types,
};
use crate::events::control;
use crate::{Format, Options};

const MAIN: &str = "agent:main:main";
const SUB: &str = "agent:main:subagent:1";

fn record(kind: &str, session: &str, rest: &str) -> String {
    format!(r#"{{"type":"{kind}",{rest},"sessionKey":"{session}","agentId":"main"}}"#)
}

fn start(session: &str, prompt: &str, rest: &str) -> String {
    record(
        "agent.start",
        session,
        &format!(r#""prompt":"{prompt}"{rest}"#),
    )
}

const HISTORY: [&str; 3] = [
    r#"{"role":"user","content":"go","timestamp":1782238951000}"#,
    r#"{"role":"assistant","content":[{"type":"text","text":"on it"},{"type":"toolCall","id":"t","name":"exec","arguments":{}}],"model":"big","responseId":"m","timestamp":1782238953055,"usage":{"input":2,"output":50,"cacheRead":1,"cacheWrite":7,"cost":{"total":0.25}}}"#,
    r#"{"role":"toolResult","toolCallId":"t","toolName":"exec","content":[],"isError":false,"timestamp":1782238955584}"#,
];

fn shown(messages: &[&str]) -> String {
    format!(r#","messages":[{}]"#, messages.join(","))
}

fn telemetry() -> String {
    let exec = |session| {
        record(
            "tool.start",
            session,
            r#""toolName":"exec","params":{"n":1e400}"#,
        )
    };
    let done = |session, rest: &str| {
        record(
            "tool.end",
            session,
            &format!(r#""toolName":"exec","durationMs":3,{rest}"#),
        )
    };
    [
        r#"{"type":"message.in","channel":"telegram","from":"x","content":"go","timestamp":1782238951000}"#.to_owned(),
        start(MAIN, "go", ""),
        start(MAIN, "go", &shown(&[])),
        exec(MAIN),
        record("tool.start", MAIN, r#""toolName":"sessions_spawn","params":{"task":"look","label":"scout"}"#),
        done(MAIN, r#""success":false,"error":"no""#),
        start(SUB, "Task:\\n\\nlook\\n\\nBegin.", ""),
        exec(SUB),
        exec(SUB),
        done(SUB, r#""success":true"#),
        done(MAIN, r#""success":true"#),
        record("agent.end", SUB, r#""success":true,"durationMs":9"#),
        start(MAIN, "more", &shown(&HISTORY)),
        record("agent.end", MAIN, &format!(r#""success":true{}"#, shown(&HISTORY))),
        r#"{"type":"message.sending","channel":"telegram","to":"x","content":"done"}"#.to_owned(),
        r#"{"type":"message.out","channel":"telegram","to":"x","content":"done","success":true}"#.to_owned(),
    ]
    .join("\n")
}

fn claw(recording: &str) -> Vec<Draft> {
    drafts(import(Format::OpenClaw, recording))
}

fn in_stream<'a>(events: &'a [Draft], name: &str) -> Vec<&'a Draft> {
    let stream = format!("openclaw/{name}");
    events
        .iter()
        .filter(|one| one.event.stream == stream)
        .collect()
}

#[test]
fn sessions_are_told_apart() {
    let events = claw(&telemetry());
    let of = |name: &str| -> Vec<&str> {
        let found = in_stream(&events, name);
        found
            .into_iter()
            .map(|one| one.event.event_type.as_str())
            .collect()
    };
    assert_eq!(
        of("channel/telegram"),
        [
            "chat.message",
            "harness.openclaw.message.sending",
            "chat.message"
        ]
    );
    assert_eq!(
        of(MAIN),
        [
            "run.started",
            "harness.openclaw.agent.start",
            "chat.message",
            "harness.openclaw.agent.start",
            "harness.openclaw.tool.start",
            "tool.call.requested",
            "harness.openclaw.tool.start",
            "tool.call.requested",
            "harness.openclaw.tool.end",
            "tool.call.failed",
            "harness.openclaw.tool.end",
            "tool.call.completed",
            "harness.openclaw.agent.start",
            "chat.message",
            "llm.call.completed",
            "chat.message",
            "chat.message",
            "harness.openclaw.agent.end",
        ]
    );
    let main = in_stream(&events, MAIN);
    let id = |at: usize| main[at].event.event_id;
    let causes = [
        (1, 0),
        (2, 1),
        (3, 1),
        (4, 3),
        (5, 4),
        (9, 5),
        (12, 3),
        (14, 13),
        (16, 12),
        (17, 12),
    ];
    for (effect, its_cause) in causes {
        assert_eq!(main[effect].event.causation, id(its_cause), "{effect}");
    }
    // No call of this tool was open any more.
    assert_eq!(main[11].event.causation, id(10));
    let text = |at: usize| String::from_utf8(main[at].event.payload.clone()).unwrap();
    assert!(text(5).ends_with(r#""name":"exec","arguments":{"n":1e400}}"#));
    assert_eq!(payload(main[9])["error"], "no");
    let call_id = id(5).unwrap().to_string();
    assert_eq!(payload(main[9])["call_id"], call_id);
    assert!(text(5).contains(&call_id));
    let roles: Vec<_> = [2, 13, 15, 16]
        .map(|at| payload(main[at])["role"].clone())
        .into();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
    let amounts = [2, 3, 4, 5, 6].map(|field| main[14].control.get_u64(field));
    assert_eq!(
        amounts,
        [Some(2), Some(50), Some(1), Some(7), Some(250_000)]
    );
    assert_eq!(main[13].event.occurred_at_us, Some(1_782_238_953_055_000));

    let sub = in_stream(&events, SUB);
    assert_eq!(sub[0].event.causation, id(7));
    assert_eq!(
        sub[0].control.get_text(control::PARENT),
        Some("openclaw/agent:main:main")
    );
    let started = payload(sub[0]);
    assert_eq!(
        (&started["name"], &started["input"]),
        (&"scout".into(), &"look".into())
    );
    // The oldest of two open calls.
    let finished = sub.last().unwrap();
    assert_eq!(finished.control.get_text(control::STATUS), Some("success"));
    let completed = sub
        .iter()
        .find(|one| one.event.event_type == "tool.call.completed");
    assert_eq!(completed.unwrap().event.causation, sub[4].event.event_id);
}

#[test]
fn every_prefix_gives_a_prefix_of_the_events() {
    let telemetry = telemetry();
    let all = claw(&telemetry);
    for (end, _) in telemetry.match_indices('\n') {
        let some = claw(&telemetry[..end]);
        assert!(
            some.iter()
                .zip(&all)
                .all(|(one, other)| one.event == other.event)
        );
    }
}

#[test]
fn a_later_part_gives_the_same_events() {
    let telemetry = telemetry();
    let all = claw(&telemetry);
    for (end, _) in telemetry.match_indices('\n') {
        for one in claw(&telemetry[end..]) {
            let same = all
                .iter()
                .find(|other| other.event.event_id == one.event.event_id);
            let content =
                |draft: &Draft| (draft.event.event_type.clone(), draft.event.payload.clone());
            assert!(same.is_none_or(|other| content(other) == content(&one)));
        }
    }
}

#[test]
fn records_with_numbers_and_times_are_known_again() {
    let numbered = record("x.y.z", MAIN, r#""seq":7,"ts":1782238951000"#);
    let plain = record("x", MAIN, r#""n":1"#);
    let lines = [&numbered, &numbered, &plain, &plain].map(String::as_str);
    let items = import(Format::OpenClaw, &lines.join("\n"));
    let found: Vec<usize> = items
        .iter()
        .map(|one| one.as_ref().unwrap().drafts.len())
        .collect();
    assert_eq!(found, [1, 1, 0, 1, 1]);
    let events = drafts(items);
    assert_eq!(types(&events)[1], "harness.openclaw.x.y_z");
    assert_eq!(events[1].event.occurred_at_us, Some(1_782_238_951_000_000));
}

#[test]
fn what_cannot_be_read_is_skipped() {
    let bad = r#"{"role":"assistant","content":7}"#;
    let lines = [
        record("tool.start", MAIN, r#""params":{}"#),
        r#"{"sessionKey":"s"}"#.to_owned(),
        r#"{"type":"tool.end","sessionKey":7}"#.to_owned(),
        "[]".to_owned(),
        start(MAIN, "x", r#","messages":7"#),
        start(MAIN, "x", &shown(&[bad, HISTORY[1]])),
        r#"{"type":"message.out","channel":"c","success":false}"#.to_owned(),
    ];
    let items = import(Format::OpenClaw, &lines.join("\n"));
    let wrong = "import_wrong_type";
    assert_eq!(
        rejections(&items),
        [1, 2, 3, 4, 5].map(|line| (line, wrong))
    );
    let events: Vec<Draft> = items
        .into_iter()
        .flatten()
        .flat_map(|one| one.drafts)
        .collect();
    assert_eq!(of_type(&events, "chat.message").len(), 2);
    assert_eq!(of_type(&events, "llm.call.completed").len(), 1);
    assert_eq!(of_type(&events, "harness.openclaw.message.out").len(), 1);

    let items = import_with(Format::OpenClaw, &telemetry(), Options::new().records(3));
    assert_eq!(rejections(&items), [(4, "import_too_many_records")]);
}

proptest! {
    #[test]
    fn damage_is_reported(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = telemetry().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        sound(&bytes, Format::OpenClaw);
    }
}
