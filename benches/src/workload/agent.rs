//! What an agent does: calls that happen once, sessions, folding again.

use super::Workload;
use crate::bench::{Bench, bytes_on_disk};
use crate::contender::{Contender, runstone_log};
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Result, ensure};
use runstone::{Runstone, sessions};
use std::fmt::Write as _;
use std::time::Instant;

/// Turns of the session, and bytes of each.
const TURNS: usize = 500;
const TURN_BYTES: usize = 1024;

/// Calls, each claimed durably and completed durably, by one client. A store without conditions makes
/// two commits.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn calls(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let store = contender.open(folder.path())?;
    store.call("warm")?;
    let (before, start) = (processor_time(), Instant::now());
    let mut latencies = Vec::new();
    while start.elapsed() < bench.sizes.round {
        let call = Instant::now();
        store.call(&format!("inv-{}", latencies.len()))?;
        latencies.push(micros(call.elapsed()));
    }
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    let calls = latencies.len();
    Ok(Sample::rate(calls as f64, elapsed, latencies).cpu(cpu, calls as u64))
}

/// A log with one session of [`TURNS`] turns, closed.
fn session(contender: &Contender, folder: &std::path::Path) -> Result<()> {
    contender.open_boxed(folder)?.close()?;
    let log: Runstone = runstone_log(folder)?.into();
    let run = log.run("bench").resume_or_start_blocking("run-1")?;
    let session = run.session();
    for turn in 0..TURNS {
        // Words, as turns are, and none twice.
        let mut text = String::with_capacity(TURN_BYTES);
        for word in 0..TURN_BYTES / 8 {
            write!(text, "{:07x} ", turn * 7919 + word * 104_729)?;
        }
        session.append_blocking("/messages", &text)?;
    }
    drop(run);
    log.close_blocking()?;
    Ok(())
}

/// Bytes on disk of the log with a session.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn session_size(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    session(contender, folder.path())?;
    contender.compact(folder.path())?;
    Ok(Sample {
        value: bytes_on_disk(folder.path())? as f64,
        ..Sample::default()
    })
}

/// Single turns of a session.
pub(super) fn session_turn(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    session(contender, folder.path())?;
    let log = runstone_log(folder.path())?;
    let mut latencies = Vec::new();
    for turn in (0..TURNS).step_by(5) {
        let start = Instant::now();
        let items = sessions::items(&log, "run-1", "/messages", (turn, 1))?;
        latencies.push(micros(start.elapsed()));
        ensure!(items.len() == 1, "turn {turn} is missing");
    }
    Ok(Sample::latency(latencies))
}

/// Every fold, from the first event of a filled log.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn refold(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let log = runstone_log(&images.clean)?;
    let (before, start) = (processor_time(), Instant::now());
    let checks = log.check_folds(None, &|_, _| {})?;
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    ensure!(
        checks.iter().all(runstone::FoldCheck::is_equal),
        "{checks:?}"
    );
    Ok(Sample::rate(log.size() as f64, elapsed, Vec::new()).cpu(cpu, log.size()))
}
