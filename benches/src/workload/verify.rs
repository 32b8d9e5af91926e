//! Verification of a whole log, on one thread.

use super::Workload;
use crate::bench::Bench;
use crate::contender::Contender;
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
    let store = contender.open(&images.clean)?;
    let (before, start) = (processor_time(), Instant::now());
    let events = store.verify(level)?;
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    ensure!(events >= bench.sizes.log_events, "{events}");
    Ok(Sample::rate(events as f64, elapsed, Vec::new()).cpu(cpu, events))
}
