//! Recordings, through the log, to the index: what import writes is what projections read.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail on whatever is not as expected"
)]

use runstone::codec::{Header, SchemaError};
use runstone::events::{
    ChatMessage, LlmCallCompleted, RunFinished, RunStarted, ToolCallCompleted, ToolCallFailed,
    ToolCallRequested, VerdictGiven,
};
use runstone::import::{Format, Importer, Options};
use runstone::runs::{self, RunFilter};
use runstone::{Log, Query, Read, Runstone, TypedEvent, schemas};
use std::collections::BTreeSet;

const TRANSCRIPTS: &str = r#"{"id":"sum","model":"m-1","messages":[
  {"role":"system","content":"Be brief."},
  {"role":"user","content":[{"type":"text","text":"2 + 2?"},
    {"type":"image_url","image_url":{"url":"https://example.com/x.png"}},{"type":"hologram"}]},
  {"role":"assistant","content":null,"tool_calls":[
    {"id":"c1","type":"function","function":{"name":"add","arguments":"{\"a\":2,\"b\":2}"}},
    {"id":"c2","type":"function","function":{"name":"div","arguments":"{\"a\":1,\"b\":0}"}}],
    "usage":{"prompt_tokens":12,"completion_tokens":3}},
  {"role":"tool","tool_call_id":"c1","name":"add","content":"4"},
  {"role":"tool","tool_call_id":"c2","name":"div","content":"Error: division by zero"},
  {"role":"assistant","content":"4","usage":{"prompt_tokens":20,"completion_tokens":1,
    "prompt_tokens_details":{"cached_tokens":8}}}],
 "reward":1.0,"info":{"error":"gave up","user_cost":0.000340}}
{"id":"quiet","messages":[{"role":"user","content":"?"}]}
"#;

fn import(log: &Log, format: Format, recording: &str) -> (usize, usize) {
    let records: Vec<_> = Importer::new(format, recording.as_bytes(), Options::default())
        .map(|item| item.unwrap().drafts)
        .filter(|drafts| !drafts.is_empty())
        .collect();
    let answers = log.import_blocking(records);
    answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .fold((0, 0), |(added, skipped), one| {
            (added + one.added, skipped + one.skipped)
        })
}

fn reads<T: TypedEvent>(header: &Header, payload: &[u8]) -> Result<(), SchemaError> {
    runstone::projections::upcasters()
        .decode::<T>(header, payload)
        .map(drop)
}

#[test]
fn what_import_writes_is_what_the_typed_events_read() {
    let log = Runstone::memory().unwrap();
    import(&log, Format::Messages, TRANSCRIPTS);
    let mut met = BTreeSet::new();
    for record in log
        .read(Read::new(Query::everything()).from(1_u64))
        .unwrap()
    {
        let record = record.unwrap();
        let (header, payload) = (&record.header, record.payload.bytes().unwrap());
        let read = match header.event_type.as_str() {
            "chat.message" => reads::<ChatMessage>(header, payload),
            "llm.call.completed" => reads::<LlmCallCompleted>(header, payload),
            "run.finished" => reads::<RunFinished>(header, payload),
            "run.started" => reads::<RunStarted>(header, payload),
            "tool.call.completed" => reads::<ToolCallCompleted>(header, payload),
            "tool.call.failed" => reads::<ToolCallFailed>(header, payload),
            "tool.call.requested" => reads::<ToolCallRequested>(header, payload),
            "verdict.given" => reads::<VerdictGiven>(header, payload),
            other => {
                assert!(other.starts_with("harness."), "{other}");
                continue;
            }
        };
        assert!(
            read.is_ok(),
            "{} at {}: {read:?}",
            header.event_type,
            record.position
        );
        met.insert(header.event_type.to_string());
    }
    let known = schemas().into_iter().map(|schema| schema.name.to_owned());
    // The log's own and those of commands are in no recording.
    let own = [
        "log.",
        "agent.",
        "approval.",
        "budget.",
        "effect.",
        "message.",
        "session.",
        "sink.",
        "step.",
        "task.",
        "tray.",
    ];
    let known: BTreeSet<_> = known
        .filter(|name| !own.iter().any(|own| name.starts_with(own)))
        .filter(|name| {
            let of_commands = [
                "run.forked",
                "run.lease_renewed",
                "run.paused",
                "run.resumed",
                "run.rolled_back",
            ];
            !of_commands.contains(&name.as_str())
        })
        .collect();
    assert_eq!(met, known, "the recording has an event of every type");
}

#[test]
fn an_imported_run_is_indexed_once() {
    let log = Runstone::memory().unwrap();
    let (added, skipped) = import(&log, Format::Messages, TRANSCRIPTS);
    assert!(added > 10 && skipped == 0);
    assert_eq!(import(&log, Format::Messages, TRANSCRIPTS), (0, added));

    let runs: Vec<_> = runs::list(&log, RunFilter::new())
        .unwrap()
        .map(|run| run.unwrap())
        .collect();
    let named = |name: &str| {
        let is = |run: &&runs::RunSummary| runs::name(&log, run).unwrap().as_deref() == Some(name);
        runs.iter().find(is).unwrap()
    };
    let (sum, quiet) = (named("sum"), named("quiet"));
    assert_eq!(runs.len(), 2);
    let counts = &sum.counts;
    assert_eq!((counts.turns, counts.tool_calls), (6, 2));
    assert_eq!(
        (counts.tool_results, counts.tool_errors, counts.llm_calls),
        (1, 1, 3)
    );
    let usage = &sum.usage;
    assert_eq!(
        (
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens
        ),
        (24, 4, 8)
    );
    assert_eq!((usage.usd_micros, sum.status.as_str()), (340, "error"));
    assert_eq!(
        (quiet.counts.turns, quiet.status.as_str(), quiet.imported),
        (1, "unknown", true)
    );
    let total = runs::totals(&log, RunFilter::new().imported(true)).unwrap();
    assert_eq!(total.counts.events, log.size() - 1);

    let checks = log.check_folds(None, &|_, _| {}).unwrap();
    assert!(
        checks.iter().all(runstone::FoldCheck::is_equal),
        "{checks:?}"
    );
}
