//! The fold over hand-made events, and the listing of a log.

use super::fold::take;
use super::*;
use crate::events::{RunStarted, StepCompleted, StepStarted, control, step_keys};
use crate::seen::Seen;
use crate::{MemoryRows, standard_folds};
use proptest::prelude::*;
use runstone_codec::{Authority, Control, Draft, Header, NewEvent, Uuid};
use runstone_store::{CreateOptions, Log, OpenOptions};

/// An event as the fold sees it.
#[derive(Debug, Clone)]
struct Event {
    header: Header,
    control: Control,
    at_us: u64,
}

fn event(event_type: &str, at_us: u64, control: Control) -> Event {
    let header = NewEvent::new(event_type, "run").header(
        Uuid::nil(),
        "default",
        "system:keyring",
        Authority::System,
        None,
    );
    Event {
        header,
        control,
        at_us,
    }
}

/// It was recorded elsewhere, at a time of its own.
fn imported(mut event: Event, occurred_at_us: Option<u64>) -> Event {
    event.header.tags = vec!["imported:pi".into()];
    event.header.occurred_at_us = occurred_at_us;
    event
}

fn fold(events: &[Event]) -> MemoryRows {
    let mut rows = MemoryRows::new();
    for (position, event) in (1..).zip(events) {
        let seen = Seen {
            position,
            recorded_at_us: event.at_us,
            header: &event.header,
            control: &event.control,
        };
        take(&mut rows, &seen).unwrap();
    }
    rows
}

/// How many durations a kind has, and the longest.
fn told(rows: &MemoryRows, timed: Timed) -> (u64, u64) {
    let rows = rows
        .iter()
        .filter(|(key, _)| key[..2] == [b'g', timed.byte()]);
    let rows = rows.map(|(_, row)| crate::rows::decode::<crate::rows::LatencyRow>(row).unwrap());
    rows.fold((0, 0), |(count, max), row| {
        (count + row.count(), max.max(row.max_us))
    })
}

fn node() -> Control {
    Control::new().bytes(control::NODE, [1; 16])
}

fn call() -> Control {
    let key = Control::new().bytes(control::effect::KEY, [2; 16]);
    key.text(control::effect::NAME, "pay")
}

fn run() -> Control {
    Control::new().bytes(control::RUN_NAME, [3; 16])
}

#[test]
fn only_what_was_begun_and_ended_took_a_time() {
    let cases = [
        (Timed::Node, "step.started", "step.completed", node(), true),
        (Timed::Node, "step.started", "step.failed", node(), true),
        (Timed::Node, "step.started", "step.blocked", node(), false),
        (Timed::Node, "step.started", "step.skipped", node(), false),
        (
            Timed::Tool,
            "effect.claimed",
            "effect.completed",
            call(),
            true,
        ),
        (Timed::Tool, "effect.claimed", "effect.failed", call(), true),
        (
            Timed::Tool,
            "effect.claimed",
            "effect.cancelled",
            call(),
            false,
        ),
        (
            Timed::Tool,
            "effect.claimed",
            "effect.outcome_unknown",
            call(),
            false,
        ),
        (
            Timed::Tool,
            "effect.claimed",
            "effect.refused",
            call(),
            false,
        ),
        (Timed::Agent, "run.started", "run.finished", run(), true),
        (Timed::Agent, "run.started", "run.paused", run(), false),
    ];
    for (timed, begins, ends, control, counts) in cases {
        let begin = event(begins, 10, control.clone());
        let end = event(ends, 17, control);
        let expected = if counts { (1, 7) } else { (0, 0) };
        let pair = [begin.clone(), end.clone()];
        assert_eq!(told(&fold(&pair), timed), expected, "{ends}");
        // An end ends one beginning, once; the newest.
        let ended_twice = [begin.clone(), end.clone(), end.clone()];
        assert_eq!(told(&fold(&ended_twice), timed), expected, "{ends}");
        assert_eq!(
            told(&fold(std::slice::from_ref(&end)), timed),
            (0, 0),
            "{ends}"
        );
        // A recording goes by its own clock, or by none, and ends nothing that lives.
        let recorded = |end_us| {
            [
                imported(begin.clone(), Some(3)),
                imported(end.clone(), end_us),
            ]
        };
        let expected = if counts { (1, 40) } else { (0, 0) };
        assert_eq!(told(&fold(&recorded(Some(43))), timed), expected, "{ends}");
        assert_eq!(told(&fold(&recorded(None)), timed), (0, 0), "{ends}");
        let mixed = [begin, imported(end, Some(43))];
        assert_eq!(told(&fold(&mixed), timed), (0, 0), "{ends}");
    }
    // Settled by somebody afterwards, a call took no time that is known.
    let types = [
        "effect.claimed",
        "effect.outcome_unknown",
        "effect.reconciled",
        "effect.completed",
    ];
    let settled: Vec<_> = (1..)
        .zip(types)
        .map(|(at, name)| event(name, at, call()))
        .collect();
    assert_eq!(told(&fold(&settled), Timed::Tool), (0, 0));
}

/// A span is written when it ends, before those around it.
#[test]
fn the_end_of_a_recorded_run_may_come_first() {
    let end = imported(event("run.finished", 1, Control::new()), Some(50));
    let begin = imported(event("run.started", 1, run()), Some(20));
    let both = [end.clone(), begin.clone(), begin.clone()];
    assert_eq!(told(&fold(&both), Timed::Agent), (1, 30));
    // Here nothing ends before it begins.
    let mut live = [end, begin];
    for event in &mut live {
        event.header.tags.clear();
    }
    assert_eq!(told(&fold(&live), Timed::Agent), (0, 0));
}

proptest! {
    #[test]
    fn no_order_of_events_stops_it(
        order in prop::collection::vec((0..12_usize, any::<bool>(), any::<u64>()), 0..60),
    ) {
        let types = [
            "step.started", "step.completed", "step.blocked", "effect.claimed", "effect.completed",
            "effect.reconciled", "effect.lease_renewed", "run.started", "run.finished",
            "run.resumed", "effect.refused", "chat.message",
        ];
        let events: Vec<_> = order
            .into_iter()
            .map(|(name, is_imported, at_us)| {
                let control = match types[name].split_once('.').unwrap().0 {
                    "step" => node(),
                    "effect" => call(),
                    _ => run(),
                };
                let event = event(types[name], at_us, control);
                if is_imported { imported(event, Some(at_us)) } else { event }
            })
            .collect();
        let rows = fold(&events);
        let ends = ["completed", "finished", "started"];
        let ends = events.iter().filter(|event| {
            ends.iter().any(|end| event.header.event_type.ends_with(end))
        });
        let counted: u64 = Timed::ALL.iter().map(|timed| told(&rows, *timed).0).sum();
        prop_assert!(counted <= ends.count() as u64);
        prop_assert_eq!(rows, fold(&events));
    }
}

/// Steps of a node in two scopes are steps of one node, as long as it has a name.
#[test]
fn nodes_and_agents_are_named_by_one_event_each() {
    let mut options = OpenOptions::default();
    options.folds = standard_folds();
    let log = Log::memory(&CreateOptions::default(), options).unwrap();
    for (stream, scope) in [("a", "one"), ("b", "two"), ("c", "two")] {
        let typed = |event: NewEvent, occurred_us: u64| {
            let mut event = event.scope(scope).tag("imported:test");
            event.occurred_at_us = Some(occurred_us);
            Draft::new(event)
        };
        let run = RunStarted {
            name: "bot".to_owned(),
            ..RunStarted::default()
        };
        let node = || "plan".to_owned();
        let began = StepStarted {
            node: node(),
            ..StepStarted::default()
        };
        let ended = StepCompleted {
            node: node(),
            ..StepCompleted::default()
        };
        let of_step = |draft: Draft| {
            let [tag, digest] = step_keys("plan");
            draft.keyed(tag).keyed(digest)
        };
        let drafts = vec![
            typed(NewEvent::typed(&run, stream).unwrap(), 0).keyed(run.keyed()),
            of_step(typed(NewEvent::typed(&began, stream).unwrap(), 1000)),
            of_step(typed(NewEvent::typed(&ended, stream).unwrap(), 3000)),
        ];
        log.import_blocking(vec![drafts]).remove(0).unwrap();
    }
    let all = list(&log, &LatencyFilter::new()).unwrap();
    let of = |all: &[Latency]| -> Vec<_> {
        let told = all
            .iter()
            .map(|one| (one.timed, one.name.clone(), one.count, one.max_us));
        told.collect()
    };
    let plan = Some("plan".to_owned());
    assert_eq!(of(&all), [(Timed::Node, plan.clone(), 3, 2000)]);
    assert!(all[0].p50_us.abs_diff(2000) <= 20, "{all:?}");
    let two = list(&log, &LatencyFilter::new().timed(Timed::Node).scope("two")).unwrap();
    assert_eq!(of(&two), [(Timed::Node, plan, 2, 2000)]);
    for none in [
        LatencyFilter::new().timed(Timed::Agent),
        LatencyFilter::new().scope("tw"),
    ] {
        assert_eq!(list(&log, &none).unwrap(), []);
    }
}
