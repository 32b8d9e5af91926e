//! Small trajectories.

use std::fmt::Write as _;

use proptest::prelude::*;
use runstone_codec::event::Draft;

use super::super::tests::{drafts, import, of_type, payload, rejections, sound, types};
use crate::Format;
use crate::events::control;

fn swe(recording: &str) -> Vec<Draft> {
    drafts(import(Format::SweAgent, recording))
}

fn step(action: &str, observation: &str) -> String {
    format!(
        r#"{{"action": "{action}", "observation": {observation}, "response": "I {action}", "thought": "hm", "execution_time": 0.2814128329991945}}"#
    )
}

fn answer(action: &str, rest: &str) -> String {
    format!(
        r#"{{"role": "assistant", "content": "I {action}", "thought": "hm", "action": "{action}"{rest}}}"#
    )
}

fn call(id: &str) -> String {
    format!(
        r#", "tool_calls": [{{"id": "{id}", "type": "function", "function": {{"name": "open", "arguments": "{{\"line\":340282366920938463463374607431768211455}}"}}}}]"#
    )
}

const TASK: &str = r#"{"role": "user", "content": "mend it", "agent": "main"}"#;

/// A run after so many steps.
fn run(steps: usize) -> String {
    let actions = ["ls -a", "open x", "submit"];
    let done: Vec<String> = actions[..steps]
        .iter()
        .map(|action| step(action, "\"ok\\r\\n\""))
        .collect();
    let mut said = vec![
        r#"{"role": "system", "content": "be kind"}"#.to_owned(),
        r#"{"role": "user", "content": "as this", "is_demo": true}"#.to_owned(),
        TASK.to_owned(),
    ];
    let results = [
        r#"{"role": "user", "content": "ok"}"#,
        r#"{"role": "tool", "content": [{"type": "text", "text": "ok"}], "tool_call_ids": ["c"]}"#,
    ];
    let answers = [answer(actions[0], ""), answer(actions[1], &call("c"))];
    // The last action is in no message.
    for (answer, result) in answers.into_iter().zip(results).take(steps) {
        said.extend([answer, result.to_owned()]);
    }
    let mut info = format!(
        r#""model_stats": {{"instance_cost": 0.0{steps}9520000000000006, "tokens_sent": {steps}, "tokens_received": 2, "api_calls": {steps}}}"#
    );
    if steps == actions.len() {
        info.push_str(r#", "exit_status": "submitted", "submission": "diff""#);
    }
    let mut text = String::new();
    writeln!(text, "{{\n \"environment\": \"main\",").unwrap();
    writeln!(text, " \"trajectory\": [\n  {}\n ],", done.join(",\n  ")).unwrap();
    writeln!(text, " \"history\": [\n  {}\n ],", said.join(",\n  ")).unwrap();
    writeln!(text, " \"info\": {{{info}}},").unwrap();
    write!(
        text,
        r#" "replay_config": "{{\"agent\":{{\"model\":{{\"name\":\"gpt\"}}}}}}"}}"#
    )
    .unwrap();
    text
}

#[test]
fn a_run_is_told_in_the_order_in_which_it_happened() {
    let events = swe(&run(3));
    let want = [
        "run.started",
        "chat.message",
        "chat.message",
        "chat.message",
        "chat.message",
        "harness.swe_agent.step",
        "tool.call.requested",
        "tool.call.completed",
        "chat.message",
        "chat.message",
        "harness.swe_agent.step",
        "tool.call.requested",
        "tool.call.completed",
        "chat.message",
        "harness.swe_agent.step",
        "chat.message",
        "tool.call.requested",
        "tool.call.completed",
        "harness.swe_agent.run",
        "llm.call.completed",
        "run.finished",
    ];
    assert_eq!(types(&events), want);
    let id = |at: usize| events[at].event.event_id;
    let causes = [
        (1, 0),
        (4, 3),
        (5, 4),
        (6, 5),
        (7, 6),
        (8, 4),
        (10, 9),
        (12, 11),
        (14, 0),
        (17, 16),
        (18, 0),
        (20, 18),
    ];
    for (effect, its_cause) in causes {
        assert_eq!(events[effect].event.causation, id(its_cause), "{effect}");
    }
    let text = |at: usize| String::from_utf8(events[at].event.payload.clone()).unwrap();
    assert_eq!(text(0), r#"{"name":"main","input":"mend it"}"#);
    assert_eq!(
        text(6),
        r#"{"call_id":"step-0","name":"ls","arguments":{"action":"ls -a"}}"#
    );
    assert_eq!(
        text(7),
        r#"{"call_id":"step-0","name":"ls","result":"ok\r\n"}"#
    );
    assert_eq!(
        text(11),
        r#"{"call_id":"c","name":"open","arguments":{"line":340282366920938463463374607431768211455}}"#
    );
    assert!(text(5).contains("0.2814128329991945"));
    assert_eq!(payload(&events[15])["content"][0]["text"], "I submit");
    let amounts = [2, 3, 6].map(|field| events[19].control.get_u64(field));
    assert_eq!(amounts, [Some(3), Some(2), Some(39520)]);
    assert_eq!(payload(&events[19])["model"], "gpt");
    assert_eq!(events[4].event.source, "gpt");
    assert_eq!(
        events[20].control.get_text(control::STATUS),
        Some("success")
    );
    assert_eq!(payload(&events[20])["value"], "diff");
    let lines: Vec<u64> = import(Format::SweAgent, &run(3))
        .into_iter()
        .map(|item| item.unwrap().line)
        .collect();
    assert_eq!(lines, [1, 9, 10, 11, 12, 4, 13, 14, 5, 15, 6, 1]);
}

#[test]
fn a_run_that_went_on_gives_what_it_gave_before() {
    let whole = swe(&run(3));
    for steps in 1..3 {
        let some = swe(&run(steps));
        assert_eq!(some[0].event.stream, whole[0].event.stream);
        let new = some.iter().filter(|one| {
            let known = whole
                .iter()
                .find(|other| other.event.event_id == one.event.event_id);
            known.is_none_or(|known| known.event != one.event)
        });
        // What is said of the whole run is said anew.
        assert_eq!(
            new.map(|one| one.event.event_type.as_str())
                .collect::<Vec<_>>(),
            ["harness.swe_agent.run", "llm.call.completed"]
        );
    }
    assert_ne!(
        swe(&run(2).replace("I ls", "we ls"))[0].event.stream,
        whole[0].event.stream
    );
}

#[test]
fn without_steps_the_history_tells_the_calls() {
    let messages = [
        TASK,
        &answer("open x", &call("c")),
        r#"{"role": "tool", "content": "1", "tool_call_ids": ["c"]}"#,
        &answer("open x", &call("c")),
        r#"{"role": "tool", "content": "2", "tool_call_ids": ["other"]}"#,
        &answer("ls", ""),
        r#"{"role": "user", "content": "3"}"#,
        &answer("", ""),
    ];
    let recording = format!(r#"{{"history": [{}]}}"#, messages.join(","));
    let events = swe(&recording);
    let calls = of_type(&events, "tool.call.requested");
    let results = of_type(&events, "tool.call.completed");
    assert_eq!((calls.len(), results.len()), (3, 2));
    assert_eq!(results[0].event.causation, calls[0].event.event_id);
    assert_eq!(results[1].event.causation, calls[2].event.event_id);
    assert_eq!(payload(results[1])["result"], "3");
    assert_eq!(of_type(&events, "chat.message").len(), 8);
    assert!(of_type(&events, "harness.swe_agent.run").is_empty());
}

#[test]
fn steps_whose_answer_is_not_in_the_history_are_steps() {
    let steps = [step("a", "\"\""), step("b", "null"), step(" ", "\"\"")];
    let recording = format!(
        r#"{{"trajectory": [{}], "history": [{TASK}, {}], "info": {{"exit_status": "exit_cost"}}}}"#,
        steps.join(","),
        answer("b", &call("c"))
    );
    let events = swe(&recording);
    assert_eq!(of_type(&events, "harness.swe_agent.step").len(), 3);
    let calls = of_type(&events, "tool.call.requested");
    let ids: Vec<_> = calls
        .iter()
        .map(|one| payload(one)["call_id"].clone())
        .collect();
    assert_eq!(ids, ["step-0", "c"]);
    assert_eq!(of_type(&events, "tool.call.completed").len(), 1);
    let finished = of_type(&events, "run.finished");
    assert_eq!(finished[0].control.get_text(control::STATUS), Some("error"));
    assert_eq!(payload(finished[0])["reason"], "exit_cost");
}

#[test]
fn parts_that_cannot_be_read_are_skipped() {
    let recording = r#"[
  {"info": {}},
  {"history": 7},
  {"trajectory": [
    7,
    {"action": 7},
    {"action": "ls", "observation": "ok"}],
   "history": [
    {"content": "nobody"},
    {"role": "user", "content": 7},
    {"role": "assistant", "tool_calls": [{}]},
    {"role": "user", "content": "ok"}],
   "info": {"model_stats": {"tokens_sent": -1}}}
]"#;
    let items = import(Format::SweAgent, recording);
    let wrong = "import_wrong_type";
    let want = [2, 3, 9, 10, 11, 5, 6, 4].map(|line| (line, wrong));
    let found = rejections(&items);
    assert_eq!(found, want);
    let events: Vec<Draft> = items
        .into_iter()
        .flatten()
        .flat_map(|one| one.drafts)
        .collect();
    assert_eq!(of_type(&events, "tool.call.completed").len(), 1);
    assert_eq!(of_type(&events, "chat.message").len(), 1);
}

proptest! {
    #[test]
    fn damage_is_reported(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = run(3).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        sound(&bytes, Format::SweAgent);
    }
}
