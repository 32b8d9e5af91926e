//! Bytes on disk.

use super::Workload;
use crate::bench::{Bench, bytes_on_disk};
use crate::contender::Contender;
use crate::sample::Sample;
use anyhow::{Context as _, Result};
use std::path::Path;

/// Events of one commit; records stay whole.
pub(super) const GROUP_EVENTS: usize = 256;

/// Imports every recording in groups, closes and compacts.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn imported(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let events = import(bench, contender, folder.path())?;
    contender.compact(folder.path())?;
    Ok(Sample {
        value: bytes_on_disk(folder.path())? as f64 / events as f64,
        ..Sample::default()
    })
}

/// Answers how many events there are.
pub(super) fn import(bench: &Bench, contender: &Contender, folder: &Path) -> Result<u64> {
    let recordings = bench.recordings.as_ref().context("no recordings")?;
    let store = contender.open_boxed(folder)?;
    let mut events = 0;
    for time in 0..bench.sizes.imports {
        let mut group = Vec::new();
        let mut group_events = 0;
        for record in recordings.records(&format!("{time}-"))? {
            group_events += record.len();
            events += record.len() as u64;
            group.push(record);
            if group_events >= GROUP_EVENTS {
                store.import(std::mem::take(&mut group))?;
                group_events = 0;
            }
        }
        if !group.is_empty() {
            store.import(group)?;
        }
    }
    store.close()?;
    Ok(events)
}
