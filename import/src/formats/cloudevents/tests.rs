//! Small events, some of them the examples of the specification.

use proptest::prelude::*;
use runstone_codec::event::Draft;

use super::super::tests::{drafts, import, of_type, payload, rejections, sound, types};
use crate::events::control;
use crate::{Format, detect};

/// Binary, text, JSON, and a bare string as data; 3.2 of the JSON format.
const EXAMPLES: [&str; 4] = [
    r#"{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "id" : "A234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/vnd.apache.thrift.binary",
    "data_base64" : "... base64 encoded string ..."
}"#,
    r#"{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "id" : "B234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "unsetextension": null,
    "datacontenttype" : "application/xml",
    "data" : "<much wow=\"xml\"/>"
}"#,
    r#"{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "C234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/json",
    "data" : {
        "appinfoA" : "abc",
        "appinfoB" : 123,
        "appinfoC" : true
    }
}"#,
    r#"{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "D234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "data" : "I'm just a string"
}"#,
];

fn cloud(recording: &str) -> Vec<Draft> {
    drafts(import(Format::CloudEvents, recording))
}

/// An event of the source `/s`. `rest` is more of its members.
fn event(id: &str, kind: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}"{rest}}}"#)
}

#[test]
fn the_examples_of_the_specification_are_read_in_every_mode() {
    let batch = format!("[\n{}\n]", EXAMPLES.join(",\n"));
    let flat = |example: &str| {
        let lines: Vec<&str> = example.lines().map(str::trim).collect();
        lines.concat()
    };
    let lines: Vec<String> = EXAMPLES.into_iter().map(flat).collect();
    for (recording, examples) in [
        (batch, EXAMPLES.map(String::from).to_vec()),
        (EXAMPLES.join("\n"), EXAMPLES.map(String::from).to_vec()),
        (lines.join("\n"), lines),
    ] {
        assert_eq!(detect(recording.as_bytes()), Some(Format::CloudEvents));
        let events = cloud(&recording);
        let mut want = vec!["run.started"];
        want.extend(["harness.cloudevents.com.example.someevent"; 4]);
        assert_eq!(types(&events), want);
        for (kept, example) in events[1..].iter().zip(examples) {
            let text = String::from_utf8(kept.event.payload.clone()).unwrap();
            assert_eq!(text, format!(r#"{{"original":{example}}}"#));
            assert_eq!(kept.event.stream, "cloudevents//mycontext");
            assert_eq!(kept.event.source, "/mycontext");
            assert_eq!(kept.event.occurred_at_us, Some(1_522_949_460_000_000));
        }
    }
}

#[test]
fn sources_are_streams() {
    let batch = r#"[
  {"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext/4", "id": "B234", "data_base64": ""},
  {"specversion": "1.0", "type": "com.example.someotherevent", "source": "/mycontext/9", "id": "B234", "data": null}
]"#;
    let events = cloud(batch);
    let streams: Vec<&str> = events.iter().map(|one| one.event.stream.as_str()).collect();
    let (four, nine) = ("cloudevents//mycontext/4", "cloudevents//mycontext/9");
    assert_eq!(streams, [four, four, nine, nine]);
    assert_eq!(payload(&events[0])["name"], "/mycontext/4");
    assert_ne!(events[1].event.event_id, events[3].event.event_id);

    let long = event("1", "t", "").replace("/s", &"x".repeat(200));
    assert_eq!(
        cloud(&long)[1].event.stream.len(),
        "cloudevents/".len() + 16
    );
}

#[test]
fn causes_are_kept_wherever_they_are() {
    let effect = event("2", "b", r#","causationid":"1","correlationid":"7""#);
    let own = event("3", "b", r#","causationid":"3""#);
    let cause = event("1", "a", "");
    let events = cloud(&[effect, own, cause].join("\n"));
    assert_eq!(events[1].event.causation, events[3].event.event_id);
    assert_eq!(events[2].event.causation, None);
}

#[test]
fn an_event_that_comes_again_is_known() {
    let one = event("1", "a", "");
    let items = import(
        Format::CloudEvents,
        &[one.clone(), one, event("1", "a", r#","data":1"#)].join("\n"),
    );
    let counts: Vec<usize> = items
        .iter()
        .map(|one| one.as_ref().unwrap().drafts.len())
        .collect();
    assert_eq!(counts, [1, 1, 0, 1]);
}

#[test]
fn typed_events_are_themselves() {
    let call = r#","data":{"call_id":"c","name":"f","arguments":{"n":340282366920938463463374607431768211455}}"#;
    let lines = [
        event(
            "1",
            "chat.message",
            r#","data":{"role":"user","content":"hi"}"#,
        ),
        event("2", "org.acme.tool.call.requested", call),
        event(
            "3",
            "tool.call.failed",
            r#","data":{"call_id":"c","error":1e400}"#,
        ),
        event(
            "4",
            "tool.call.completed",
            r#","data":{"call_id":"c","result":null}"#,
        ),
        event(
            "5",
            "llm.call.completed",
            r#","data":{"call_id":"m","input_tokens":3,"output_tokens":2}"#,
        ),
        event(
            "6",
            "verdict.given",
            r#","data":{"subject":"s","by":"b","verdict":"pass","severity":"info","detail":{}}"#,
        ),
        event("7", "run.finished", r#","data":{"status":"success"}"#),
        // Not in this shape, not in this name, not JSON.
        event("8", "chat.message", r#","data":{"content":"hi"}"#),
        event(
            "9",
            "nochat.message",
            r#","data":{"role":"user","content":"hi"}"#,
        ),
        event(
            "10",
            "chat.message",
            r#","datacontenttype":"text/plain","data":"hi""#,
        ),
    ];
    let events = cloud(&lines.join("\n"));
    let typed: Vec<&str> = types(&events)
        .into_iter()
        .filter(|name| !name.starts_with("harness."))
        .collect();
    let want = [
        "run.started",
        "chat.message",
        "tool.call.requested",
        "tool.call.failed",
        "tool.call.completed",
        "llm.call.completed",
        "verdict.given",
        "run.finished",
    ];
    assert_eq!(typed, want);
    let one = |name: &str| of_type(&events, name)[0];
    let call = one("tool.call.requested");
    let text = String::from_utf8(call.event.payload.clone()).unwrap();
    assert!(text.contains("340282366920938463463374607431768211455"));
    assert_eq!(one("tool.call.failed").event.causation, call.event.event_id);
    let kept = one("harness.cloudevents.tool.call.completed");
    assert_eq!(
        one("tool.call.completed").event.causation,
        kept.event.event_id
    );
    let usage = one("llm.call.completed");
    assert_eq!(usage.control.get_u64(control::INPUT_TOKENS), Some(3));
    assert_eq!(
        one("run.finished").control.get_text(control::STATUS),
        Some("success")
    );
    assert_eq!(events.len(), 1 + lines.len() + 7);
}

#[test]
fn types_of_events_become_types_here() {
    let kind = |kind: &str| cloud(&event("1", kind, ""))[1].event.event_type.clone();
    assert_eq!(
        kind("Com.GitHub.pull-request.9"),
        "harness.cloudevents.com.github.pull_request.r9"
    );
    assert_eq!(kind("."), "harness.cloudevents.r.r");
    let long = kind(&"abcdefghi.".repeat(40));
    assert_eq!(long.len(), 119);
}

#[test]
fn what_is_no_event_is_skipped() {
    let lines = [
        event("1", "a", "").replace("1.0", "0.3"),
        event("", "a", ""),
        event("1", "a", "").replace(r#""/s""#, "7"),
        event("1", "", ""),
        r#"{"specversion":"1.0"}"#.to_owned(),
        "7".to_owned(),
        event("1", "a", r#","time":"yesterday""#),
        event("2", "a", r#","data":"#),
    ];
    let items = import(Format::CloudEvents, &lines.join("\n"));
    let found = rejections(&items);
    let mut want: Vec<_> = (1..=6).map(|line| (line, "import_wrong_type")).collect();
    want.push((8, "import_record_not_json"));
    assert_eq!(found, want);
    assert_eq!(items.len(), 9);
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(order in prop::collection::vec(0..4_usize, 1..12)) {
        let known = cloud(&EXAMPLES.join("\n"));
        let lines: Vec<&str> = order.iter().map(|nth| EXAMPLES[*nth]).collect();
        let events = cloud(&lines.join("\n"));
        let distinct: std::collections::BTreeSet<_> = order.iter().collect();
        prop_assert_eq!(events.len(), 1 + distinct.len());
        for one in events {
            prop_assert!(known.iter().any(|other| other.event == one.event));
        }
    }

    #[test]
    fn damage_is_reported(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = EXAMPLES.join("\n").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        sound(&bytes, Format::CloudEvents);
    }
}
