//! The fold against a plain model, and the index on a log.

use super::fold::{stream_key, take};
use super::*;
use crate::events::{ChatMessage, LlmCallCompleted, RunFinished, RunStarted, control};
use crate::lease::Moment;
use crate::seen::Seen;
use crate::{MemoryRows, standard_folds};
use proptest::prelude::*;
use runstone_codec::{Authority, Control, Draft, Header, NewEvent, Position, TypedEvent, Uuid};
use runstone_store::{CreateOptions, ErrorKind, FoldError, Log, OpenOptions, Opening, ReadError};
use std::collections::{BTreeMap, BTreeSet};

type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

/// An event as the fold sees it.
#[derive(Debug, Clone)]
struct Event {
    header: Header,
    control: Control,
    recorded_at_us: u64,
}

fn event(stream: &str, event_type: &str) -> Event {
    let header = NewEvent::new(event_type, stream).header(
        Uuid::nil(),
        "default",
        "system:keyring",
        Authority::System,
        None,
    );
    Event {
        header,
        control: Control::new(),
        recorded_at_us: 0,
    }
}

/// Folds events at the positions 1, 2, 3, ...
fn fold(events: &[Event]) -> Stored {
    let mut rows = MemoryRows::new();
    for (position, event) in (1..).zip(events) {
        let seen = Seen {
            position,
            recorded_at_us: event.recorded_at_us,
            header: &event.header,
            control: &event.control,
        };
        take(&mut rows, &seen).unwrap();
    }
    rows.into_rows()
}

fn summary_of(rows: &Stored, stream: &str) -> Option<RunSummary> {
    let row = rows.get(&stream_key(stream))?;
    Some(RunSummary::of(
        stream.to_owned(),
        crate::rows::decode(row).unwrap(),
        &Moment::Now(opening(), 0),
    ))
}

fn opening() -> Opening {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    log.opening()
}

/// An event, and where it stands.
type Placed<'a> = (u64, &'a Event);

/// What was recorded elsewhere, rolled back by a person, and begun here after that.
#[test]
fn a_run_that_begins_is_let_go_of_by_nobody() {
    let mut said = event("run-1", "chat.message");
    said.header
        .tags
        .push(format!("{}:x", control::IMPORTED).into());
    let back = event("run-1", "run.rolled_back");
    let mut started = event("run-1", RunStarted::TYPE);
    started.control = Control::new()
        .text(control::RUN_HOLDER, "worker")
        .bytes(control::RUN_OPENING, opening().id);
    let status = |events: &[Event]| summary_of(&fold(events), "run-1").unwrap().status;
    let events = [said, back, started];
    assert_eq!(status(&events).as_str(), "running");
}

#[test]
fn the_name_of_a_holder_is_bounded() {
    let mut options = OpenOptions::default();
    options.folds = standard_folds();
    let log = Log::memory(&CreateOptions::default(), options).unwrap();
    let mut begin = Begin::new("run-1", "bot");
    begin.holder = "h".repeat(MAX_HOLDER_LEN + 1);
    let size = log.size();
    let told = begin_blocking(&log, &begin).unwrap_err();
    assert_eq!(told.code(), "name_too_long");
    assert!(
        told.to_string()
            .contains("the holder has 257 bytes; at most 256")
    );
    assert_eq!(log.size(), size);
    begin.holder.pop();
    begin_blocking(&log, &begin).unwrap();
}

/// Whether a run is a recording, where it began, and where it ended.
fn life<'a>(mine: &[Placed<'a>]) -> (bool, Option<Placed<'a>>, Option<Placed<'a>>) {
    let is_tagged = |event: &Event| {
        let mut tags = event.header.tags.iter();
        tags.any(|tag| tag.starts_with("imported:"))
    };
    // A run that begins or goes on here lives from then on, and no recording speaks for it.
    let mut imported = mine.first().is_some_and(|(_, event)| is_tagged(event));
    let (mut started, mut finished) = (None, None);
    for (position, event) in mine {
        let is_tagged = is_tagged(event);
        let name = event.header.event_type.as_str();
        imported &= is_tagged || !["run.started", "run.resumed"].contains(&name);
        if is_tagged && !imported {
            continue;
        }
        match name {
            "run.started" if started.is_none() => started = Some((*position, *event)),
            "run.finished" => finished = Some((*position, *event)),
            _ => {}
        }
    }
    (imported, started, finished)
}

/// What the index must say of a stream, worked out from all of its events at once.
fn model(events: &[Event], stream: &str) -> Option<RunSummary> {
    let mine: Vec<_> = (1..)
        .zip(events)
        .filter(|(_, event)| event.header.stream == stream)
        .collect();
    let (first, last) = (mine.first()?, mine.last()?);
    let of_type = |name: &'static str| {
        mine.iter()
            .filter(move |(_, event)| event.header.event_type == name)
    };
    let count = |name| of_type(name).count() as u64;
    let (imported, started, finished) = life(&mine);
    let status = match finished {
        Some((_, end)) => end
            .control
            .get_text(1)
            .map_or(RunStatus::Unknown, RunStatus::from),
        // Nobody holds it: these events tell of no lease.
        None => RunStatus::Unknown,
    };
    let calls: Vec<_> = of_type("llm.call.completed")
        .map(|(_, call)| &call.control)
        .collect();
    let digest = |call: &Control| {
        call.get_bytes(1)
            .filter(|it| it.len() == 16)
            .map(<[u8]>::to_vec)
    };
    let counted: Vec<_> = calls
        .iter()
        .enumerate()
        .filter(|(at, call)| {
            let later = |id: &Vec<u8>| {
                calls
                    .iter()
                    .skip(at + 1)
                    .any(|next| digest(next).as_ref() == Some(id))
            };
            !digest(call).as_ref().is_some_and(later)
        })
        .map(|(_, call)| call)
        .collect();
    let sum = |field| {
        let all: u128 = counted
            .iter()
            .map(|call| u128::from(call.get_u64(field).unwrap_or(0)))
            .sum();
        u64::try_from(all).unwrap_or(u64::MAX)
    };
    let occurred: BTreeSet<_> = mine
        .iter()
        .filter_map(|(_, event)| event.header.occurred_at_us)
        .collect();
    let (mut counts, mut usage) = (Counts::default(), Usage::default());
    counts.events = mine.len() as u64;
    counts.steps = count("step.started");
    let digest_of = |event: &Event, field| event.control.get_bytes(field).map(<[u8]>::to_vec);
    let nodes: BTreeSet<_> = of_type("step.started")
        .chain(of_type("step.completed"))
        .filter_map(|(_, event)| digest_of(event, control::NODE))
        .collect();
    counts.nodes = nodes.len() as u64;
    counts.steps_blocked = count("step.blocked");
    counts.verdicts = count("verdict.given");
    counts.turns = count("chat.message");
    counts.tool_calls = count("tool.call.requested");
    counts.tool_results = count("tool.call.completed");
    counts.tool_errors = count("tool.call.failed");
    counts.llm_calls = counted.len() as u64;
    usage.input_tokens = sum(2);
    usage.output_tokens = sum(3);
    usage.cache_read_tokens = sum(4);
    usage.cache_write_tokens = sum(5);
    usage.usd_micros = sum(6);
    Some(RunSummary {
        stream: stream.to_owned(),
        scope: first.1.header.scope.to_string(),
        imported,
        forked_from: None,
        parent: started
            .and_then(|(_, event)| event.control.get_text(1))
            .map(str::to_owned),
        started: started.map(|(position, _)| Position::new(position)),
        finished: finished.map(|(position, end)| Finished {
            position: Position::new(position),
            recorded_at_us: end.recorded_at_us,
            occurred_at_us: end.header.occurred_at_us,
        }),
        status,
        fence: Position::new(started.map_or(0, |(position, _)| position)),
        holder: None,
        budget: None,
        counts,
        usage,
        steps: step_usage(&mine),
        first_recorded_at_us: first.1.recorded_at_us,
        last_recorded_at_us: last.1.recorded_at_us,
        first_occurred_at_us: occurred.first().copied(),
        last_occurred_at_us: occurred.last().copied(),
        last: Position::new(last.0),
    })
}

/// What the steps of a stream used: each end of a step that had no call of a model.
fn step_usage(mine: &[Placed<'_>]) -> StepUsage {
    let is = |event: &Event, name: &str| event.header.event_type == name;
    let node = |event: &Event, field| {
        let digest = event.control.get_bytes(field).filter(|it| it.len() == 16);
        digest.map(<[u8]>::to_vec)
    };
    let (mut tokens, mut usd_micros, mut gco2_mg) = (0_u128, 0_u128, 0_u128);
    for (at, (_, end)) in mine.iter().enumerate() {
        if !is(end, "step.completed") {
            continue;
        }
        let amount = |field| u128::from(end.control.get_u64(field).unwrap_or(0));
        gco2_mg += amount(control::GCO2_MG);
        let id = node(end, control::NODE);
        let mine_too = |event: &Event, name| is(event, name) && node(event, control::NODE) == id;
        let places = || mine.iter().enumerate().map(|(at, (_, event))| (at, *event));
        let starts = || places().filter(|(_, event)| mine_too(event, "step.started"));
        let ends = || places().filter(|(_, event)| mine_too(event, "step.completed"));
        let start = starts().map(|(start, _)| start).rfind(|start| *start < at);
        let until = starts().map(|(start, _)| start).find(|start| *start > at);
        let until = until.unwrap_or(mine.len());
        let from = start.unwrap_or_else(|| ends().map(|(end, _)| end).next().unwrap_or(at));
        let first_end = ends()
            .map(|(end, _)| end)
            .find(|end| *end >= from)
            .unwrap_or(at);
        let has_calls = id.is_some()
            && places().any(|(call, event)| {
                let of = node(event, control::CALL_NODE);
                let is_named = of == id && from < call && call < until;
                let is_between = start.is_some_and(|start| start < call) && call < first_end;
                is(event, "llm.call.completed") && (is_named || of.is_none() && is_between)
            });
        if !has_calls {
            tokens += amount(control::STEP_TOKENS);
            usd_micros += amount(control::STEP_USD_MICROS);
        }
    }
    let fit = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
    StepUsage {
        tokens: fit(tokens),
        usd_micros: fit(usd_micros),
        gco2_mg: fit(gco2_mg),
    }
}

const STREAMS: [&str; 4] = ["a", "a/b", "ab", "log"];

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..1000_u64, 1 => Just(u64::MAX)]
}

fn digests() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        6 => (0..4_u8).prop_map(|id| Some(vec![id; 16])),
        1 => Just(None),
        1 => Just(Some(vec![7; 15])),
    ]
}

fn controls(event_type: &'static str) -> BoxedStrategy<Control> {
    let text = |words: &'static [&'static str]| {
        prop::option::of(prop::sample::select(words))
            .prop_map(|word| word.map_or_else(Control::new, |word| Control::new().text(1, word)))
    };
    match event_type {
        "run.started" => text(&["a", "ab", "elsewhere"]).boxed(),
        "run.finished" => text(&["success", "error", "escalated", "odd"]).boxed(),
        "step.started" | "step.completed" => (
            prop::option::of(0..2_u8),
            prop::collection::vec(prop::option::of(amounts()), 3),
        )
            .prop_map(move |(node, amounts)| {
                let mut control = Control::new();
                if let Some(node) = node {
                    control = control.bytes(control::NODE, [node; 16]);
                }
                for (field, amount) in (3..).zip(amounts) {
                    if let Some(amount) = amount {
                        control = control.u64(field, amount);
                    }
                }
                control
            })
            .boxed(),
        "llm.call.completed" => (
            digests(),
            prop::collection::vec(prop::option::of(amounts()), 5),
            prop::option::of(0..2_u8),
        )
            .prop_map(|(digest, amounts, node)| {
                let mut control = Control::new();
                if let Some(node) = node {
                    control = control.bytes(control::CALL_NODE, [node; 16]);
                }
                if let Some(digest) = digest {
                    control = control.bytes(control::CALL, digest);
                }
                for (field, amount) in (2..).zip(amounts) {
                    if let Some(amount) = amount {
                        control = control.u64(field, amount);
                    }
                }
                control
            })
            .boxed(),
        _ => Just(Control::new()).boxed(),
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let types = prop::sample::select(
        &[
            "run.started",
            "run.finished",
            "llm.call.completed",
            "llm.call.completed",
            "llm.call.completed",
            "chat.message",
            "tool.call.requested",
            "tool.call.completed",
            "tool.call.failed",
            "step.started",
            "step.started",
            "step.completed",
            "step.completed",
            "step.blocked",
            "verdict.given",
            "harness.pi.note",
        ][..],
    );
    let one = types.prop_flat_map(|event_type| {
        let stream = prop::sample::select(&STREAMS[..]);
        let occurred = prop::option::of(0..1000_u64);
        let tag = prop::sample::select(&["imported:pi", "imported_not:pi", "user:1"][..]);
        (stream, occurred, tag, controls(event_type), 0..5_u64).prop_map(
            move |(stream, occurred, tag, control, later)| {
                let mut event = event(stream, event_type);
                event.header.occurred_at_us = occurred;
                event.header.tags = vec![tag.into()];
                event.header.scope = format!("scope-{stream}").into();
                event.control = control;
                event.recorded_at_us = later;
                event
            },
        )
    });
    prop::collection::vec(one, 0..120).prop_map(|mut events| {
        // Recorded times never decrease.
        let mut now = 0;
        for event in &mut events {
            now += event.recorded_at_us;
            event.recorded_at_us = now;
        }
        events
    })
}

proptest! {
    #[test]
    fn the_fold_says_what_a_plain_model_says(events in events()) {
        let rows = fold(&events);
        for stream in STREAMS {
            let expected = if stream == "log" { None } else { model(&events, stream) };
            prop_assert_eq!(summary_of(&rows, stream), expected);
        }
    }

    #[test]
    fn the_same_records_give_the_same_rows(events in events()) {
        prop_assert_eq!(fold(&events), fold(&events));
        // What a stream did follows from its own events, wherever the others stand.
        for stream in STREAMS {
            let did = |rows: Stored| {
                let run = summary_of(&rows, stream)?;
                Some((run.status.clone(), run.counts, run.usage, run.parent, run.scope))
            };
            let alone: Vec<_> =
                events.iter().filter(|event| event.header.stream == stream).cloned().collect();
            prop_assert_eq!(did(fold(&events)), did(fold(&alone)));
        }
    }
}

#[test]
fn a_damaged_row_stops_the_fold_and_nothing_is_counted_over_it() {
    let mut stored = fold(&[event("a", "chat.message")]);
    stored.get_mut(&stream_key("a")).unwrap().truncate(3);
    let mut rows = MemoryRows::from(stored);
    let before = rows.clone();
    let next = event("a", "chat.message");
    let seen = Seen {
        position: 2,
        recorded_at_us: 0,
        header: &next.header,
        control: &next.control,
    };
    assert!(matches!(take(&mut rows, &seen), Err(FoldError::Row(_))));
    assert_eq!(rows, before);
}

fn log() -> Log {
    let mut options = OpenOptions::default();
    options.folds = standard_folds();
    Log::memory(&CreateOptions::default(), options).unwrap()
}

fn typed<T: TypedEvent>(value: &T, stream: &str) -> Draft {
    Draft::new(NewEvent::typed(value, stream).unwrap().tag("imported:test"))
}

fn import(log: &Log, drafts: Vec<Draft>) {
    log.import_blocking(vec![drafts]).remove(0).unwrap();
}

fn start(log: &Log, stream: &str, parent: Option<&str>) {
    let started = RunStarted {
        name: format!("name of {stream}"),
        ..RunStarted::default()
    };
    import(
        log,
        vec![typed(&started, stream).control(RunStarted::control(parent))],
    );
}

fn report(log: &Log, stream: &str, call_id: &str, output_tokens: u64) {
    let call_id = call_id.to_owned();
    let call = LlmCallCompleted {
        call_id,
        output_tokens,
        ..LlmCallCompleted::default()
    };
    import(
        log,
        vec![
            typed(&call, stream)
                .control(call.control())
                .keyed(call.keyed()),
        ],
    );
}

#[test]
fn runs_of_a_log_are_listed_counted_and_named() {
    let log = log();
    start(&log, "team", None);
    start(&log, "team/one", Some("team"));
    start(&log, "team/one/deep", Some("team/one"));
    start(&log, "other", None);
    for (stream, call, tokens) in [
        ("team", "x", 5),
        ("team", "x", 7),
        ("team", "y", 1),
        ("team/one", "x", 10),
    ] {
        report(&log, stream, call, tokens);
    }
    let ended = RunFinished {
        status: "success".to_owned(),
        ..RunFinished::default()
    };
    import(&log, vec![typed(&ended, "team").control(ended.control())]);
    log.append_blocking(NewEvent::typed(&ChatMessage::default(), "live").unwrap())
        .unwrap();

    let streams = |filter: RunFilter| -> Vec<String> {
        list(&log, filter)
            .unwrap()
            .map(|run| run.unwrap().stream)
            .collect()
    };
    let all = ["live", "other", "team", "team/one", "team/one/deep"];
    assert_eq!(streams(RunFilter::new()), all);
    assert_eq!(streams(RunFilter::new().after("other")), all[2..]);
    assert_eq!(streams(RunFilter::new().stream_prefix("team/")), all[3..]);
    assert_eq!(streams(RunFilter::new().parent("team")), ["team/one"]);
    assert_eq!(streams(RunFilter::new().roots()), all[..3]);
    assert_eq!(streams(RunFilter::new().imported(false)), ["live"]);
    assert_eq!(streams(RunFilter::new().status("success")), ["team"]);
    assert_eq!(streams(RunFilter::new().status("running")), [""; 0]);
    assert_eq!(
        streams(RunFilter::new().status(RunStatus::Unknown)).len(),
        4
    );
    assert_eq!(streams(RunFilter::new().scope("elsewhere")), [""; 0]);

    let team = get(&log, "team").unwrap().unwrap();
    assert_eq!((team.counts.llm_calls, team.usage.output_tokens), (2, 8));
    assert_eq!(name(&log, &team).unwrap().as_deref(), Some("name of team"));
    let live = get(&log, "live").unwrap().unwrap();
    assert_eq!(
        (name(&log, &live).unwrap(), live.status.as_str()),
        (None, "unknown")
    );
    assert_eq!(get(&log, "nobody").unwrap(), None);
    assert_eq!(get(&log, "log").unwrap(), None);

    let sum = totals(&log, RunFilter::new()).unwrap();
    assert_eq!(
        (sum.runs, sum.counts.llm_calls, sum.usage.output_tokens),
        (5, 3, 18)
    );
    let tree = tree_totals(&log, "team").unwrap().unwrap();
    assert_eq!((tree.runs, tree.usage.output_tokens), (3, 18));
    assert_eq!(tree_totals(&log, "nobody").unwrap(), None);

    let checks = log.check_folds(None, &|_, _| {}).unwrap();
    assert!(
        checks.iter().all(runstone_store::FoldCheck::is_equal),
        "{checks:?}"
    );
}

#[test]
fn runs_that_claim_each_other_as_parents_are_counted_once() {
    let log = log();
    start(&log, "a", Some("b"));
    start(&log, "b", Some("a"));
    start(&log, "c", Some("c"));
    assert_eq!(tree_totals(&log, "a").unwrap().unwrap().runs, 2);
    assert_eq!(tree_totals(&log, "c").unwrap().unwrap().runs, 1);
}

#[test]
fn pages_lose_and_repeat_nothing() {
    let log = log();
    let streams: Vec<_> = (0..600).map(|nth| format!("run-{nth:04}")).collect();
    for chunk in streams.chunks(100) {
        let records = chunk
            .iter()
            .map(|stream| vec![typed(&ChatMessage::default(), stream)])
            .collect();
        log.import_blocking(records).into_iter().for_each(|added| {
            added.unwrap();
        });
    }
    let listed: Vec<_> = list(&log, RunFilter::new())
        .unwrap()
        .map(|run| run.unwrap().stream)
        .collect();
    assert_eq!(listed, streams);
}

#[test]
fn a_log_that_was_opened_without_the_fold_says_so() {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    for error in [
        get(&log, "a").unwrap_err(),
        totals(&log, RunFilter::new()).unwrap_err(),
    ] {
        assert!(matches!(error, ReadError::Fold { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[test]
fn imported_runs_are_timed_by_the_recording() {
    let mut end = event("a", "run.finished");
    end.header.tags = vec!["imported:pi".into()];
    end.recorded_at_us = 900;
    let mut said = end.clone();
    said.header.event_type = "chat.message".into();
    said.header.occurred_at_us = Some(50);
    let mut earlier = said.clone();
    earlier.header.occurred_at_us = Some(20);
    let run = summary_of(&fold(&[said, earlier, end]), "a").unwrap();
    assert_eq!(
        (run.began_at_us(), run.last_at_us(), run.ended_at_us()),
        (20, 50, Some(50))
    );
    let mut live = event("a", "chat.message");
    live.header.occurred_at_us = Some(5);
    live.recorded_at_us = 900;
    let run = summary_of(&fold(&[live]), "a").unwrap();
    assert_eq!(
        (run.began_at_us(), run.last_at_us(), run.ended_at_us()),
        (900, 900, None)
    );
}

/// A recording may say anything of a claim: that it stands beyond the log, or where another event
/// stands.
#[test]
fn a_timeline_of_claims_that_are_none_names_nothing() {
    let log = log();
    start(&log, "a", None);
    for fence in [1, 9999, u64::MAX] {
        let done = crate::events::EffectCompleted::default();
        let control = Control::new().u64(control::effect::FENCE, fence);
        import(&log, vec![typed(&done, "a").control(control)]);
    }
    let told = timeline(&log, "a", 3).unwrap();
    let names: Vec<_> = told.items.iter().map(|act| act.what.clone()).collect();
    assert_eq!((names, told.is_cut), (vec![None, None, None], true));
    assert_eq!(timeline(&log, "a", u64::MAX).unwrap().items.len(), 4);
    assert_eq!(violations(&log, "a", 0).unwrap().items, []);
    assert!(recent(&log, "nobody").unwrap().items.is_empty());
}
