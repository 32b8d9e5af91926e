//! A condition that names a type and nothing else.

use super::Workload;
use crate::bench::{Bench, PAYLOAD_BYTES, copy};
use crate::contender::Contender;
use crate::event::{RARE, Request, Synthetic, Unless};
use crate::sample::{Sample, micros};
use anyhow::{Result, ensure};
use std::time::Instant;

const MOST_APPENDS: u64 = 500;
/// Whoever scans gets at least this many, however long they take.
const FEWEST_APPENDS: u64 = 3;
/// After the last event of the rare type, near the beginning of the log.
const AFTER: u64 = 1000;

/// Appends to a filled log in memory on the condition that no event of a rare type came later than
/// its beginning; the time is that of the whole append.
pub(super) fn type_only(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let images = bench.images(contender)?;
    let folder = bench.on_tmpfs()?;
    copy(&images.clean, folder.path())?;
    let store = contender.open(folder.path())?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut latencies = Vec::new();
    let begun = Instant::now();
    for number in 0..MOST_APPENDS {
        if number >= FEWEST_APPENDS && begun.elapsed() >= bench.sizes.round {
            break;
        }
        let request = Request::new(vec![synthetic.of_client(0, number)]);
        let request = request.unless(Unless::TypeAfter {
            event_type: RARE.to_owned(),
            after: AFTER,
        });
        let start = Instant::now();
        ensure!(
            store.append_alone(request)?,
            "a condition failed that holds"
        );
        latencies.push(micros(start.elapsed()));
    }
    Ok(Sample::latency(latencies))
}
