//! Receipts: made under one checkpoint, verified offline.

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Contender, runstone_log};
use crate::event::Random;
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Result, ensure};
use runstone::receipt::{Policy, Receipt, VerifyOptions};
use runstone::{Log, Position, Prover};
use std::time::Instant;

/// Receipts made before anything is measured.
const WARM: u64 = 200;

/// A filled log, what proves under its last checkpoint, and positions all over it.
struct Desk {
    log: Log,
    prover: Prover,
    random: Random,
}

impl Desk {
    fn open(bench: &Bench, contender: &Contender) -> Result<Self> {
        let images = bench.images(contender)?;
        let log = runstone_log(&images.clean)?;
        let prover = log.prover()?;
        ensure!(
            prover.size() > bench.sizes.log_events,
            "only {}",
            prover.size()
        );
        Ok(Self {
            log,
            prover,
            random: Random::new(61),
        })
    }

    fn make(&mut self) -> Result<Vec<u8>> {
        let position = self.random.next() % self.prover.size();
        Ok(self.prover.receipt(Position::new(position))?.encode())
    }
}

/// Receipts of events at random, as files.
pub(super) fn make(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let mut desk = Desk::open(bench, contender)?;
    for _ in 0..WARM {
        desk.make()?;
    }
    let before = processor_time();
    let mut latencies = Vec::new();
    for _ in 0..bench.sizes.reads {
        let start = Instant::now();
        std::hint::black_box(desk.make()?);
        latencies.push(micros(start.elapsed()));
    }
    let cpu = processor_time().saturating_sub(before);
    Ok(Sample::latency(latencies).cpu(cpu, bench.sizes.reads))
}

/// From the bytes of file and policy to the verdict.
pub(super) fn verify(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let mut desk = Desk::open(bench, contender)?;
    let policy = Policy::of_logs(desk.log.vkeys()?)?.to_text();
    let policy = Policy::parse(policy.as_bytes())?;
    let files = (0..bench.sizes.reads).map(|_| desk.make());
    let files: Vec<_> = files.collect::<Result<_>>()?;
    let before = processor_time();
    let mut latencies = Vec::new();
    for file in &files {
        let start = Instant::now();
        let receipt = Receipt::parse(file)?;
        std::hint::black_box(receipt.verify(&policy, &VerifyOptions::new())?);
        latencies.push(micros(start.elapsed()));
    }
    let cpu = processor_time().saturating_sub(before);
    Ok(Sample::latency(latencies).cpu(cpu, bench.sizes.reads))
}

/// Bytes of a receipt, on average.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn size(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let mut desk = Desk::open(bench, contender)?;
    let mut bytes = 0;
    for _ in 0..bench.sizes.reads {
        bytes += desk.make()?.len();
    }
    Ok(Sample {
        value: bytes as f64 / bench.sizes.reads as f64,
        ..Sample::default()
    })
}
