//! Opening what a crash left.

use super::Workload;
use crate::bench::{Bench, bytes_on_disk, copy};
use crate::contender::Contender;
use crate::event::{RUN_EVENTS, run_name, whole_runs};
use crate::sample::Sample;
use anyhow::{Result, ensure};
use std::time::Instant;

/// Opens the files that a process left that ended without closing them; they are in the page cache.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn after_crash(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let folder = bench.on_disk()?;
    copy(&images.crashed, folder.path())?;
    let gigabytes = bytes_on_disk(folder.path())? as f64 / 1e9;
    let start = Instant::now();
    let store = contender.open(folder.path())?;
    let elapsed = start.elapsed();
    let last = whole_runs(bench.sizes.log_events).saturating_sub(1);
    let seen = store.read_run(&run_name(last))?;
    ensure!(seen.events == RUN_EVENTS, "the last run is not whole");
    Ok(Sample {
        value: elapsed.as_secs_f64(),
        gigabytes: Some(gigabytes),
        ..Sample::default()
    })
}
