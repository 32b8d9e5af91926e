//! Reading, warm: whole logs and single runs, on one thread.

use super::Workload;
use super::size::import;
use crate::bench::Bench;
use crate::contender::{Contender, Store};
use crate::event::{RUN_EVENTS, Random, run_name, whole_runs};
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Result, ensure};
use std::time::Instant;

/// Runs read before anything is measured.
const WARM_READS: u64 = 200;

/// The whole of a filled log, headers and payloads, decrypted.
pub(super) fn scan(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let store = contender.open(&images.clean)?;
    let sample = timed_scan(store.as_ref(), bench.sizes.log_events)?;
    drop(store);
    Ok(sample)
}

/// The same of recordings.
pub(super) fn scan_real(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let events = import(bench, contender, folder.path())?;
    let store = contender.open(folder.path())?;
    timed_scan(store.as_ref(), events)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn timed_scan(store: &dyn Store, at_least: u64) -> Result<Sample> {
    store.scan()?;
    let (before, start) = (processor_time(), Instant::now());
    let seen = store.scan()?;
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    ensure!(seen.events >= at_least, "only {} events", seen.events);
    Ok(Sample::rate(seen.events as f64, elapsed, Vec::new()).cpu(cpu, seen.events))
}

/// Runs of 60 events that lie between those of others.
pub(super) fn runs(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let store = contender.open(&images.clean)?;
    let runs = whole_runs(bench.sizes.log_events);
    let mut random = Random::new(60);
    let mut latencies = Vec::new();
    let mut before = processor_time();
    for read in 0..WARM_READS + bench.sizes.reads {
        if read == WARM_READS {
            before = processor_time();
        }
        let stream = run_name(random.next() % runs);
        let start = Instant::now();
        let seen = store.read_run(&stream)?;
        let elapsed = start.elapsed();
        ensure!(seen.events == RUN_EVENTS, "{stream}: {seen:?}");
        if read >= WARM_READS {
            latencies.push(micros(elapsed));
        }
    }
    let cpu = processor_time().saturating_sub(before);
    Ok(Sample::latency(latencies).cpu(cpu, bench.sizes.reads))
}
