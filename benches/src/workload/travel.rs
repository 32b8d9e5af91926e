//! Runs as they stood at points of theirs.

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Contender, runstone_log};
use crate::event::{RUN_EVENTS, Random, run_name, whole_runs};
use crate::sample::{Sample, micros};
use anyhow::{Context as _, Result, ensure};
use runstone::codec::Draft;
use runstone::events::{ChatMessage, LlmCallCompleted, Part, SessionPatched, StepStarted, step_keys};
use runstone::replay::{Point, state};
use runstone::runs::{self, Begin, RunHeld};
use runstone::{Append, Log, NewEvent, Runstone};
use std::time::Instant;

/// The long run is every tenth event of its log.
const SHARE: u64 = 10;
/// Events of it that are recorded at once.
const TOGETHER: u64 = 100;
const LONG: &str = "long";

/// What happens in a run: of a hundred events, so many turns, calls of models, changes of the session,
/// and a step.
fn event(number: u64) -> Result<Draft> {
    let text = format!("turn {number}: {}", "what was said ".repeat(12));
    Ok(match number % TOGETHER {
        0 => {
            let node = format!("node-{}", number % 7);
            let attempt = number / TOGETHER + 1;
            let started = StepStarted {
                node: node.clone(),
                attempt,
                ..StepStarted::default()
            };
            let draft = Draft::new(NewEvent::typed(&started, LONG)?);
            let draft = draft.control(runstone::codec::Control::new().u64(2, attempt));
            step_keys(&node).into_iter().fold(draft, Draft::keyed)
        }
        25 | 75 => {
            let patch = serde_json::json!({
                "turn": number,
                format!("note-{}", number % 40): text,
            });
            NewEvent::typed(&SessionPatched { patch }, LONG)?.into()
        }
        one if one % 3 == 0 => {
            let call = LlmCallCompleted {
                call_id: format!("call-{number}"),
                input_tokens: number,
                output_tokens: 7,
                ..LlmCallCompleted::default()
            };
            let draft = Draft::new(NewEvent::typed(&call, LONG)?);
            draft.control(call.control()).keyed(call.keyed())
        }
        _ => {
            let said = ChatMessage {
                role: "assistant".to_owned(),
                content: vec![Part::Text { text }],
                original: None,
            };
            NewEvent::typed(&said, LONG)?.into()
        }
    })
}

/// A log of so many events, in which one run has every tenth.
fn fill(log: &Runstone, events: u64) -> Result<()> {
    let held: RunHeld = runs::begin_blocking(log, &Begin::new(LONG, "bench"))?.into_held();
    for batch in 0..events / SHARE / TOGETHER {
        let from = batch * TOGETHER;
        let drafts = (from..from + TOGETHER).map(event).collect::<Result<_>>()?;
        runs::record_blocking(log, &held, drafts)?;
        let others = (0..TOGETHER * (SHARE - 1)).map(|other| {
            let stream = format!("other-{}", (batch * TOGETHER + other) / RUN_EVENTS);
            NewEvent::new("chat.message", stream).payload(br#"{"role":"user","content":[]}"#)
        });
        log.append_blocking(Append::new(others.collect::<Vec<_>>()))?;
    }
    log.close_blocking()?;
    Ok(())
}

/// At random events of a run that has every tenth event of a filled log, warm.
pub(super) fn long(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    contender.open_boxed(folder.path())?.close()?;
    fill(&runstone_log(folder.path())?.into(), bench.sizes.log_events)?;
    let log = runstone_log(folder.path())?;
    let revisions = bench.sizes.log_events / SHARE;
    timed(&log, |_| (LONG.to_owned(), revisions))
}

/// At random events of runs of 60 events of a filled log, warm.
pub(super) fn short(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let log = runstone_log(&images.clean)?;
    let runs = whole_runs(bench.sizes.log_events);
    timed(&log, |random| (run_name(random % runs), RUN_EVENTS))
}

fn timed(log: &Log, run: impl Fn(u64) -> (String, u64)) -> Result<Sample> {
    const READS: u64 = 300;
    let (mut random, mut latencies) = (Random::new(61), Vec::new());
    for read in 0..READS + READS / 10 {
        let (stream, revisions) = run(random.next());
        let revision = random.next() % revisions;
        let start = Instant::now();
        let at = Point::Revision(revision).find(log, &stream)?;
        let told = state(log, &stream, at.context("it is there")?)?;
        let elapsed = start.elapsed();
        let told = told.context("it is a run")?;
        ensure!(told.summary.counts.events == revision + 1, "{stream} {revision}");
        if read >= READS / 10 {
            latencies.push(micros(elapsed));
        }
    }
    Ok(Sample::latency(latencies))
}
