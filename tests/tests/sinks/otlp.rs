//! Runs as traces, given to a receiver of the official protobuf definitions of OTLP.

use runstone::sinks::{Destination, Kinds, OtlpConfig, SecretSource, SinkChange};
use runstone::{NewEvent, Query, Runstone, SinkConfig, Status, StepReport};
use runstone_projections::events::LlmCallCompleted;
use runstone_tests::sinks::{CONTRACT, Made, Receiver, SECRET, Site};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Seconds that a delivery has that nothing may cut short.
const PATIENT_S: u64 = 3_600;

fn sink(receiver: &Receiver) -> SinkConfig {
    let to = Destination::Otlp(OtlpConfig::new(&receiver.url).service("shop"));
    SinkConfig::new("traces", to).timeout_s(PATIENT_S)
}

fn run_sinks(site: &Site) {
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
}

/// What came, by position; the last time that it came.
fn by_position(receiver: &Receiver) -> BTreeMap<u64, Value> {
    let events = receiver.events().into_iter();
    let events = events.map(|event| (event["position"].as_u64().unwrap(), event));
    events.collect()
}

fn spans(receiver: &Receiver) -> Vec<Value> {
    let events = by_position(receiver).into_values();
    events.filter(|event| event["name"].is_string()).collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let found: Vec<_> = spans.iter().filter(|span| span["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// A run with a step, in it a call of a tool and one of a model, and after it a call that fails.
fn record_run(site: &Site) -> Outcome {
    let runstone = Runstone::from(site.log().clone());
    let run = runstone
        .run("refund")
        .input(&json!({"secret": SECRET}))?
        .resume_or_start_blocking("run-7")?;
    let usage = LlmCallCompleted::new("call-1")
        .model("large-1")
        .input_tokens(100)
        .output_tokens(20)
        .cache_read_tokens(30)
        .cache_write_tokens(4)
        .usd_micros(1_500);
    let model = run.step("plan");
    run.step("plan").run_reported_blocking(|| {
        model.llm_call_blocking(usage.clone()).unwrap();
        let args = json!({"order": "A-17", "secret": SECRET});
        let refund = run.effect("refund").args(&args);
        let paid: Result<String, String> = refund
            .call_blocking(|| Ok::<_, String>(format!("paid {SECRET}")))
            .map_err(|error| error.to_string());
        paid.map(|paid| StepReport::new(paid).tokens(120).usd_micros(1_500))
    })?;
    let failed = run.effect("notify").args(&json!({"to": SECRET}));
    let failed: Result<(), _> = failed.call_blocking(|| Err(format!("no route {SECRET}")));
    assert!(failed.is_err());
    let asked = NewEvent::new("tool.call.requested", "run-7").payload(format!(
        "{{\"call_id\":\"t1\",\"name\":\"search\",\"arguments\":{{\"q\":\"{SECRET}\"}}}}"
    ));
    let asked = site.log().append_blocking(asked)?.first;
    let asked = site.log().record(asked)?.header.event_id;
    let answered = NewEvent::new("tool.call.completed", "run-7")
        .causation(asked)
        .payload(format!("{{\"call_id\":\"t1\",\"result\":\"{SECRET}\"}}"));
    site.log().append_blocking(answered)?;
    let child = runstone.run("check").parent(&run);
    child
        .resume_or_start_blocking("run-8")?
        .finish_blocking(Status::Success)?;
    run.finish_blocking(Status::Success)?;
    Ok(())
}

#[test]
fn otlp_keeps_the_contract() {
    for (property, check) in CONTRACT {
        eprintln!("{property}");
        check(&|site| {
            let receiver = Receiver::start(site, "otlp", &[]);
            Made {
                to: Destination::Otlp(OtlpConfig::new(&receiver.url)),
                kinds: Kinds::new(),
                seen: Box::new(move || receiver.seen()),
            }
        });
    }
}

#[test]
fn a_run_is_a_trace_and_what_ends_in_it_a_span() -> Outcome {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    record_run(&site)?;
    site.add(&sink(&receiver).fields(["name", "model", "node"]));
    run_sinks(&site);
    let all = by_position(&receiver);
    let everything = site.positions(Query::everything());
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), everything);
    assert!(!serde_json::to_string(&all)?.contains(SECRET));

    let spans = spans(&receiver);
    assert_eq!(spans.len(), 7, "{spans:#?}");
    let run = named(&spans, "invoke_agent refund");
    assert_eq!(
        (&run["parent"], &run["status"]),
        (&json!(""), &json!("STATUS_CODE_OK"))
    );
    assert_eq!(run["attributes"]["gen_ai.agent.name"], "refund");
    assert_eq!(run["attributes"]["gen_ai.conversation.id"], "run-7");
    assert_eq!(run["attributes"]["runstone.run.status"], "success");
    let step = named(&spans, "step plan");
    assert_eq!(step["parent"], run["span"]);
    assert_eq!(step["attributes"]["runstone.step.tokens"], 120);
    assert_eq!(step["attributes"]["runstone.cost.usd_micros"], 1_500);
    let model = named(&spans, "chat large-1");
    assert_eq!(
        (&model["parent"], &model["kind"]),
        (&step["span"], &json!("SPAN_KIND_CLIENT"))
    );
    for (key, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.request.model", json!("large-1")),
        ("gen_ai.usage.input_tokens", json!(134)),
        ("gen_ai.usage.cache_read.input_tokens", json!(30)),
        ("gen_ai.usage.cache_creation.input_tokens", json!(4)),
        ("gen_ai.usage.output_tokens", json!(20)),
        ("runstone.cost.usd_micros", json!(1_500)),
    ] {
        assert_eq!(model["attributes"][key], value, "{key}");
    }
    let paid = named(&spans, "execute_tool refund");
    assert_eq!(
        (&paid["parent"], &paid["status"]),
        (&step["span"], &json!("STATUS_CODE_OK"))
    );
    assert_eq!(paid["attributes"]["gen_ai.tool.name"], "refund");
    assert_eq!(paid["attributes"]["runstone.effect.attempt"], 1);
    let failed = named(&spans, "execute_tool notify");
    assert_eq!(
        (&failed["parent"], &failed["status"]),
        (&run["span"], &json!("STATUS_CODE_ERROR"))
    );
    assert_eq!(failed["attributes"]["error.type"], "_OTHER");
    let search = named(&spans, "execute_tool search");
    assert_eq!(search["parent"], run["span"]);
    let child = named(&spans, "invoke_agent check");
    assert_eq!(child["links"], json!([[run["trace"], run["span"]]]));

    // Beginning and end are those of the events, and all of a run is in one trace.
    for (span, beginning) in [
        (run, "run.started"),
        (step, "step.started"),
        (paid, "effect.claimed"),
        (search, "tool.call.requested"),
    ] {
        let time = |position: &Value| {
            let position = runstone::Position::new(position.as_u64().unwrap());
            site.log().record(position).unwrap().recorded_at_us * 1_000
        };
        let begun = all.values().find(|log| {
            let is_of = log["span"] == span["span"] || beginning == "run.started";
            log["event"] == beginning && is_of && log["trace"] == run["trace"]
        });
        let begun = begun.ok_or(beginning)?;
        assert_eq!(begun["span"], span["span"], "{beginning}");
        assert_eq!(span["start"], time(&begun["position"]), "{beginning}");
        assert_eq!(span["end"], time(&span["position"]), "{beginning}");
    }
    for one in all.values() {
        let is_of_run = one["attributes"]["runstone.stream"] == "run-7";
        assert_eq!(one["trace"] == run["trace"], is_of_run, "{one}");
    }
    let ids: BTreeSet<_> = spans.iter().map(|span| span["span"].to_string()).collect();
    assert_eq!(ids.len(), spans.len());
    let resource = &receiver.requests()[0]["resource"];
    assert_eq!(resource["service.name"], "shop");
    assert_eq!(
        resource["runstone.log"],
        site.log().info().log_id.to_string()
    );
    Ok(())
}

/// A sink that was begun anew after each event says the same as one that saw everything.
#[test]
fn what_is_told_depends_on_nothing_that_a_sink_remembers() -> Outcome {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    record_run(&site)?;
    site.add(&sink(&receiver).fields(["name"]));
    run_sinks(&site);
    let told = by_position(&receiver);
    for (position, expected) in &told {
        let mut alone = sink(&receiver).fields(["name"]);
        alone.name = format!("from-{position}");
        site.add(
            &alone
                .from(runstone::sinks::Start::At(*position))
                .batch_events(1),
        );
        let runner = site.run(&Kinds::new());
        runner.caught_up_blocking(position + 1);
        runner.stop();
        let sinks = site.sinks();
        sinks.change_blocking(&format!("from-{position}"), SinkChange::Remove)?;
        let again = receiver.events().into_iter().rev();
        let mut again = again.filter(|event| event["position"] == *position);
        assert_eq!(again.next().as_ref(), Some(expected));
    }
    Ok(())
}

#[test]
fn content_that_is_named_has_the_names_of_the_convention() -> Outcome {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    record_run(&site)?;
    let fields = ["arguments", "args", "result", "call_id", "error"];
    site.add(&sink(&receiver).fields(fields));
    run_sinks(&site);
    let spans = spans(&receiver);
    let paid = &named(&spans, "execute_tool refund")["attributes"];
    let args: Value = serde_json::from_str(paid["gen_ai.tool.call.arguments"].as_str().unwrap())?;
    assert_eq!(args["order"], "A-17");
    assert_eq!(paid["gen_ai.tool.call.result"], format!("paid {SECRET}"));
    let failed = named(&spans, "execute_tool notify");
    assert!(
        failed["message"].as_str().unwrap().contains("no route"),
        "{failed}"
    );
    let search = &named(&spans, "execute_tool")["attributes"];
    assert_eq!(search["gen_ai.tool.call.id"], "t1");
    assert_eq!(search["gen_ai.tool.call.result"], SECRET);
    Ok(())
}

#[test]
fn what_content_says_makes_no_span_that_cannot_be_taken() -> Outcome {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    let name = "\u{fc}".repeat(100_000);
    for json in [
        json!({"name": name, "arguments": 1, "args": 2, "call_id": 7, "error": [1]}),
        json!({"name": "", "error": {"type": 7}, "result": {"a": [null]}}),
        json!({"name": null, "error": {"type": "Timeout", "message": "late"}}),
    ] {
        let failed = NewEvent::new("tool.call.failed", "run-7").payload(json.to_string());
        site.log().append_blocking(failed)?;
    }
    let fields = ["name", "arguments", "args", "call_id", "error", "result"];
    site.add(&sink(&receiver).fields(fields));
    run_sinks(&site);
    let spans = spans(&receiver);
    assert_eq!((spans.len(), site.status("traces").parked), (3, 0));
    let long = spans[0]["name"].as_str().unwrap();
    assert_eq!(long.chars().count(), "execute_tool ".len() + 200);
    let attributes = &spans[0]["attributes"];
    assert_eq!(attributes["gen_ai.tool.call.arguments"], 1);
    assert_eq!(attributes["runstone.data.args"], 2);
    assert_eq!(attributes["runstone.data.call_id"], 7);
    assert_eq!(attributes["runstone.data.error"], "[1]");
    // It is in no run that was begun.
    assert_eq!(spans[1]["parent"], "");
    assert_eq!(spans[2]["attributes"]["error.type"], "Timeout");
    assert_eq!(spans[2]["message"], "late");
    Ok(())
}

#[test]
fn what_fails_now_and_then_is_complete_and_has_the_same_ids_again() -> Outcome {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    receiver.behave(&json!({"fail_third": true}));
    record_run(&site)?;
    site.append(40);
    site.add(&sink(&receiver).batch_events(5));
    let _runner = site.run(&Kinds::new());
    site.pass_until(60, || site.status("traces").lag_events < 3);
    let mut met: BTreeMap<u64, (Value, Value)> = BTreeMap::new();
    for event in receiver.events() {
        let position = event["position"].as_u64().unwrap();
        let ids = (event["trace"].clone(), event["span"].clone());
        match met.get(&position) {
            Some(before) => {
                assert_eq!(*before, ids);
                assert_eq!(event["attributes"]["runstone.duplicate"], true);
            }
            None => {
                met.insert(position, ids);
            }
        }
    }
    let everything = site.positions(Query::everything());
    assert_eq!(met.into_keys().collect::<Vec<_>>(), everything);
    Ok(())
}

#[test]
fn what_is_taken_in_part_is_given_one_by_one_and_the_rest_is_parked() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "otlp", &[]);
    receiver.behave(&json!({"reject": [3, 5]}));
    site.append(8);
    site.add(&sink(&receiver).tries(2));
    let runner = site.run(&Kinds::new());
    site.pass_until(60, || site.status("traces").parked == 2);
    let mut expected = site.positions(Query::everything());
    expected.retain(|position| ![3, 5].contains(position));
    site.pass_until(60, || {
        by_position(&receiver)
            .into_keys()
            .eq(expected.iter().copied())
            && site.status("traces").lag_events < 5
    });
    let parked = site.sinks().parked("traces").unwrap();
    let positions: Vec<_> = parked.iter().map(|parked| parked.position).collect();
    assert_eq!(positions, [3, 5]);
    runner.stop();
    let bytes = site.bytes_beside("nothing");
    let answer = b"the-planted-answer";
    assert!(!bytes.windows(answer.len()).any(|at| at == answer));
}

#[test]
fn headers_come_from_a_list_and_a_page_is_no_answer() {
    let site = Site::default();
    let bearer = ["--authorization", "Basic cGxhbnRlZA=="];
    let receiver = Receiver::start(&site, "otlp", &bearer);
    let path = site.path("headers");
    fs::write(&path, "x-tenant=7,Authorization=Basic%20cGxhbnRlZA==\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    receiver.behave(&json!({"html": true}));
    let to = OtlpConfig::new(&receiver.url).header_list(Some(SecretSource::File(path)));
    let config = SinkConfig::new("traces", Destination::Otlp(to)).timeout_s(PATIENT_S);
    site.append(3);
    site.add(&config);
    let runner = site.run(&Kinds::new());
    let failures = || site.sinks().failures("traces").unwrap();
    site.pass_until(60, || failures().len() > 2);
    assert!(failures()[0].why.contains("OTLP"), "{}", failures()[0].why);
    assert_eq!(site.status("traces").parked, 0);
    receiver.behave(&json!({}));
    let everything = site.positions(Query::everything());
    site.pass_until(60, || by_position(&receiver).len() >= everything.len());
    runner.stop();
    let bytes = [
        site.bytes_beside("out"),
        fs::read(site.path("log")).unwrap(),
    ]
    .concat();
    for planted in [&b"cGxhbnRlZA"[..], b"the-planted-answer"] {
        assert!(!bytes.windows(planted.len()).any(|at| at == planted));
    }
}
