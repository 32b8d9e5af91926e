//! Many that follow a log within its process while it is written.

use super::Workload;
use crate::bench::{Bench, LOAD_BATCH, PAYLOAD_BYTES};
use crate::contender::{Contender, SUBSCRIBERS, Subscribed};
use crate::event::Synthetic;
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Context as _, Result};
use runstone::{Append, NewEvent, Position};
use std::time::Instant;

/// Appends before anything is measured.
const WARM: u64 = 20;

fn append(subscribed: &Subscribed, synthetic: &Synthetic, from: u64, to: u64) -> Result<Position> {
    let events = (from..to).map(|number| {
        let event = synthetic.of_log(number);
        let new = NewEvent::new(event.event_type, event.stream);
        new.tags(event.tags).payload(event.payload)
    });
    Ok(subscribed.log.append_blocking(Append::new(events))?.last)
}

/// From asking for a durable append until the last of them has the event, when the next append waits
/// for that. The answer itself comes as early or as late as the processor has time for it.
pub(super) fn lag(bench: &Bench, _: &Workload, _: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let subscribed = Subscribed::open(folder.path())?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut latencies = Vec::new();
    let (mut before, mut begun) = (processor_time(), Instant::now());
    for number in 0.. {
        if number == WARM {
            (before, begun) = (processor_time(), Instant::now());
        }
        let asked = Instant::now();
        let last = append(&subscribed, &synthetic, number, number + 1)?;
        subscribed.wait_for(last.get() + 1)?;
        if number >= WARM {
            latencies.push(micros(asked.elapsed()));
            if begun.elapsed() >= bench.sizes.round {
                break;
            }
        }
    }
    let cpu = processor_time().saturating_sub(before);
    let events = latencies.len() as u64;
    Ok(Sample::latency(latencies).cpu(cpu, events))
}

/// Events that all of them together are given, from the first append of a writer in bulk until the
/// last of them has the last event.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn delivery(bench: &Bench, _: &Workload, _: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let subscribed = Subscribed::open(folder.path())?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    append(&subscribed, &synthetic, 0, 1)?;
    let (before, begun) = (processor_time(), Instant::now());
    let (mut next, mut last) = (1, None);
    while begun.elapsed() < bench.sizes.round {
        last = Some(append(&subscribed, &synthetic, next, next + LOAD_BATCH)?);
        next += LOAD_BATCH;
    }
    subscribed.wait_for(last.context("nothing was appended")?.get() + 1)?;
    let elapsed = begun.elapsed();
    let cpu = processor_time().saturating_sub(before);
    let given = (next - 1) * SUBSCRIBERS;
    Ok(Sample::rate(given as f64, elapsed, Vec::new()).cpu(cpu, given))
}
