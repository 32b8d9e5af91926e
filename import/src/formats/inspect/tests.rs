//! Small logs.

use crate::events::control;
use crate::formats::tests::{drafts, import, import_with, of_type, payload, rejections, types};
use crate::{Format, Options};

const HEADER: &str = r#""version":2,"status":"error","eval":{"run_id":"r","task_id":"t","task":"sum","created":"2025-05-12T20:27:36-04:00"}"#;

fn log(samples: &str) -> String {
    format!("{{{HEADER},\"samples\":[{samples}]}}")
}

fn read(samples: &str) -> Vec<runstone_codec::event::Draft> {
    drafts(import(Format::Inspect, &log(samples)))
}

#[test]
fn an_evaluation_spawns_its_samples() {
    let events = read(r#"{"id":"a/b","epoch":2,"input":"2+2?"}"#);
    let want = [
        "run.started",
        "harness.inspect.version",
        "harness.inspect.status",
        "harness.inspect.eval",
        "run.started",
        "harness.inspect.sample",
        "run.finished",
        "run.finished",
    ];
    assert_eq!(types(&events), want);
    let (eval, sample) = (&events[0].event, &events[4].event);
    assert_eq!(eval.stream, "inspect/r.t");
    assert_eq!(eval.occurred_at_us, Some(1_747_096_056_000_000));
    assert_eq!(
        sample.stream,
        format!("inspect/r.t/{}-2", crate::identity::hex_digest(b"a/b", 16))
    );
    assert_eq!(
        events[4].control.get_text(control::PARENT),
        Some("inspect/r.t")
    );
    assert_eq!(sample.causation, eval.event_id);
    let statuses = [6, 7].map(|at: usize| events[at].control.get_text(control::STATUS));
    assert_eq!(statuses, [Some("success"), Some("error")]);
}

#[test]
fn agents_and_subtasks_are_runs_of_their_own() {
    let events = read(
        r#"{"id":1,"epoch":1,"events":[
            {"event":"span_begin","id":"s","span_id":"s","type":"solver"},
            {"event":"span_begin","id":"a","span_id":"a","parent_id":"s","type":"agent","name":"scout"},
            {"event":"model","span_id":"a","model":"m","output":{"usage":{"input_tokens":9,"input_tokens_cache_read":4,"output_tokens":1,"total_tokens":10}}},
            {"event":"span_end","id":"a","span_id":"a"},
            {"event":"subtask","name":"sub","input":{"n":1e400},"events":[
                {"event":"tool","id":"c","function":"f","arguments":{},"pending":true}]}]}"#,
    );
    let found: Vec<(&str, &str)> = events
        .iter()
        .skip(5)
        .map(|one| (one.event.event_type.as_str(), one.event.stream.as_str()))
        .collect();
    let (root, agent) = ("inspect/r.t/1-1", "inspect/r.t/1-1/agent-a");
    let sub = "inspect/r.t/1-1/agent-event:4";
    let want = [
        ("harness.inspect.span_begin", root),
        ("harness.inspect.span_begin", root),
        ("run.started", agent),
        ("harness.inspect.model", agent),
        ("llm.call.completed", agent),
        ("harness.inspect.span_end", root),
        ("run.finished", agent),
        ("harness.inspect.subtask", root),
        ("run.started", sub),
        ("run.finished", sub),
        ("harness.inspect.tool", sub),
        ("tool.call.requested", sub),
        ("harness.inspect.sample", root),
        ("run.finished", root),
        ("run.finished", "inspect/r.t"),
    ];
    assert_eq!(found, want);
    let cause = |at: usize| events[at].event.causation;
    let id = |at: usize| events[at].event.event_id;
    for (effect, its_cause) in [
        (6, 5),
        (7, 6),
        (8, 6),
        (10, 6),
        (13, 12),
        (15, 12),
        (16, 15),
    ] {
        assert_eq!(cause(effect), id(its_cause), "{effect}");
    }
    let amounts = [2, 3, 4].map(|field| events[9].control.get_u64(field));
    assert_eq!(amounts, [Some(5), Some(1), Some(4)]);
    let kept = String::from_utf8(events[12].event.payload.clone()).unwrap();
    assert!(kept.contains(r#""input":{"n":1e400}"#) && !kept.contains("\"events\""));
}

#[test]
fn what_only_messages_tell_is_read_from_them() {
    let events = read(
        r#"{"id":1,"epoch":1,"limit":{"type":"token"},"scores":{"m":{"value":"P"},"n":{"value":1}},
            "model_usage":{"x":{"input_tokens":3,"output_tokens":2,"total_tokens":5}},
            "messages":[
                {"role":"assistant","content":[{"type":"reasoning","reasoning":"hm"}],"tool_calls":[{"id":"c","function":"f","arguments":{"n":1}}]},
                {"role":"tool","tool_call_id":"c","content":"7"},
                {"role":"tool","tool_call_id":"d","error":{"type":"timeout"}}]}"#,
    );
    let call = of_type(&events, "tool.call.requested")[0];
    let result = of_type(&events, "tool.call.completed")[0];
    assert_eq!(result.event.causation, call.event.event_id);
    assert_eq!(
        payload(of_type(&events, "tool.call.failed")[0])["error"]["type"],
        "timeout"
    );
    let usage = of_type(&events, "llm.call.completed")[0];
    assert_eq!(usage.control.get_u64(control::INPUT_TOKENS), Some(3));
    let verdicts: Vec<_> = of_type(&events, "verdict.given")
        .into_iter()
        .map(|one| payload(one)["verdict"].clone())
        .collect();
    assert_eq!(verdicts, ["partial", "pass"]);
    let finished = of_type(&events, "run.finished")[0];
    assert_eq!(finished.control.get_text(control::STATUS), Some("terminal"));
    assert_eq!(payload(finished)["reason"], "token");
}

#[test]
fn attachments_are_looked_up() {
    let events = read(
        r#"{"id":1,"epoch":1,"attachments":{"h":"long text"},"events":[
            {"event":"tool","id":"c","function":"f","result":"attachment://h"},
            {"event":"tool","id":"d","function":"f","result":"attachment://x"}]}"#,
    );
    let results: Vec<_> = of_type(&events, "tool.call.completed")
        .into_iter()
        .map(|one| payload(one)["result"].clone())
        .collect();
    assert_eq!(results, ["long text", "attachment://x"]);
}

#[test]
fn a_sample_that_comes_again_is_told_apart_from_one_that_changed() {
    let events = read(
        r#"{"id":1,"epoch":1,"input":"a b"}, {"id":1, "epoch":1, "input":"a b"}, {"id":1,"epoch":1,"input":"ab"}"#,
    );
    let streams: Vec<&str> = of_type(&events, "run.started")
        .into_iter()
        .map(|one| one.event.stream.as_str())
        .collect();
    assert_eq!(streams.len(), 3);
    assert_eq!(streams[1], "inspect/r.t/1-1");
    assert!(streams[2].starts_with("inspect/r.t/1-1:"));
}

#[test]
fn records_that_cannot_be_read_are_skipped() {
    let text = log(
        "\n7,\n{\"epoch\":1},\n{\"id\":1,\"epoch\":1,\"messages\":[{},\n7],\n\"events\":[{},\n{\"event\":\"tool\"},\n{\"event\":\"info\"}]},\n{\"id\":2,\"epoch\":1,\"events\":7}",
    );
    let items = import(Format::Inspect, &text);
    let wrong = "import_wrong_type";
    // Messages of which no event tells are said first.
    let lines = [2, 3, 4, 5, 6, 7, 9];
    assert_eq!(rejections(&items), lines.map(|line| (line, wrong)));
    let unnamed = r#"{"version":2,"samples":[{"id":1,"epoch":1}]}"#;
    let none = "import_no_session";
    assert_eq!(
        rejections(&import(Format::Inspect, unnamed)),
        [(1, none), (1, none)]
    );
    let options = Options::new().records(1);
    assert_eq!(
        rejections(&import_with(Format::Inspect, &log(""), options)),
        [(1, "import_too_many_records")]
    );
}

#[test]
fn events_that_stand_in_each_other_have_a_bound() {
    let deep = format!(
        "{}{}",
        r#"{"event":"subtask","events":["#.repeat(90),
        "]}".repeat(90)
    );
    let events = read(&format!(r#"{{"id":1,"epoch":1,"events":[{deep}]}}"#));
    assert_eq!(of_type(&events, "harness.inspect.subtask").len(), 17);
    let deeper = "[".repeat(1 << 20);
    let items = import(
        Format::Inspect,
        &log(&format!(
            "{{\"id\":1,\"epoch\":1,\"events\":[{{\"event\":\"x\",\"events\":{deeper}"
        )),
    );
    assert_eq!(rejections(&items), [(1, "import_record_truncated")]);
}

/// An evaluation that comes again changed, after another one, is told apart and causes nothing else.
#[test]
fn an_evaluation_that_comes_again_changed_is_another_event() {
    let eval = |id: &str, task: &str| format!(r#""eval":{{"eval_id":"{id}","task":"{task}"}}"#);
    let log = |last: &str| {
        let evals = [eval("a", "one"), eval("b", "two"), eval("a", last)];
        format!(
            "{{{},\"status\":\"success\",\"samples\":[]}}",
            evals.join(",")
        )
    };
    let started = |last: &str| {
        let mut events = drafts(import(Format::Inspect, &log(last)));
        events.retain(|event| event.event.event_type == "run.started");
        events
    };
    let ids = |last: &str| -> Vec<_> {
        let events = started(last);
        events.iter().map(|event| event.event.event_id).collect()
    };
    let changed = ids("three");
    assert_eq!(changed.len(), 3);
    assert_ne!(changed[0], changed[2]);
    // As it was, it is the same event and not given again.
    assert_eq!(ids("one"), changed[..2]);
}
