//! Verification of a whole log, on one thread.

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Contender, runstone_log};
use crate::sample::{Sample, processor_time};
use anyhow::{Result, ensure};
use runstone::VerifyLevel;
use std::time::Instant;

/// Everything but what only opened payloads tell.
pub(super) fn payloads(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    verify(bench, contender, VerifyLevel::Payloads)
}

/// And every payload, decrypted and compared with its commitment.
pub(super) fn commitments(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    verify(bench, contender, VerifyLevel::Commitments)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn verify(bench: &Bench, contender: &Contender, level: VerifyLevel) -> Result<Sample> {
    let images = bench.images(contender)?;
    let log = runstone_log(&images.clean)?;
    let (before, start) = (processor_time(), Instant::now());
    let report = log.verify(level, &|_, _| {});
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    ensure!(report.valid, "{:?}", report.problems);
    ensure!(report.events > bench.sizes.log_events, "{}", report.events);
    let events = report.events;
    Ok(Sample::rate(events as f64, elapsed, Vec::new()).cpu(cpu, events))
}
