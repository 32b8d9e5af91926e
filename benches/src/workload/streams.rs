//! Many streams, and one that is long.

use super::Workload;
use crate::bench::{Bench, LOAD_BATCH, PAYLOAD_BYTES, Told};
use crate::contender::{Contender, Store, Wanted};
use crate::event::{Random, Request, Synthetic, Unless};
use crate::sample::{Sample, memory, micros, processor_time, quantile, rate, reads};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Instant;

const FIRST: &str = "first";
const AGAIN: &str = "again";
const HEAD: &str = "head";
const MEMORY: &str = "memory";
/// After the name of a pass: its processor time for each event, in microseconds.
const CPU: &str = " cpu";
/// Streams in the order of the second pass are so far from one another: a prime that no number of
/// streams here is a multiple of, so that each has its turn.
const STRIDE: u64 = 1_000_003;
const WARM: u64 = 200;
/// Reads of newest events.
const HEADS: u64 = 2000;
/// The stream that holds a whole log, and how much of it is read at once.
const LONG: &str = "run-long";
const PAGE: u64 = 100;

fn stream_name(number: u64) -> String {
    format!("agent-{number}")
}

/// What the process that [`of_many`] starts does: an event in each stream, in bulk, and in other order
/// one more; then the newest event of some at random.
pub(crate) fn fill(contender: &Contender, folder: &Path, streams: u64) -> Result<Told> {
    let store = contender.open(folder)?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut told = Told::new();
    for (pass, name) in [FIRST, AGAIN].into_iter().enumerate() {
        let (pass, start, before) = (pass as u64, Instant::now(), processor_time());
        let mut next = 0;
        while next < streams {
            let end = streams.min(next + LOAD_BATCH);
            let events = (next..end).map(|turn| {
                let stream = turn * (1 + pass * (STRIDE - 1)) % streams;
                synthetic.of_stream(&stream_name(stream), pass * streams + turn)
            });
            let request = Request::new(events.collect());
            ensure!(store.append_alone(request)?, "an append was refused");
            next = end;
        }
        told.insert(name.to_owned(), rate(streams, start));
        let cpu = micros(processor_time().saturating_sub(before));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        told.insert(format!("{name}{CPU}"), cpu / streams as f64);
    }
    let mut random = Random::new(streams);
    let mut heads = reads(WARM, HEADS, || {
        let stream = stream_name(random.next() % streams);
        let seen = store.find(Wanted::Newest(&stream))?;
        ensure!(seen.events == 1, "{stream} has no newest event");
        Ok(())
    })?;
    told.insert(HEAD.to_owned(), quantile(&mut heads, 0.5));
    told.insert(MEMORY.to_owned(), memory("VmHWM")?);
    Ok(told)
}

/// One number of a process that filled many streams: each workload shows another one.
fn of_many(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
    name: &str,
) -> Result<Sample> {
    let told = bench.shared(workload.name, contender.name, || {
        let folder = bench.on_disk()?;
        let streams = bench.sizes.streams.to_string();
        let folder = folder.path().as_os_str();
        crate::bench::child(&[
            "streams".as_ref(),
            contender.name.as_ref(),
            folder,
            streams.as_ref(),
        ])
    })?;
    Ok(Sample {
        value: *told.get(name).context("it was not told")?,
        cpu_us: told.get(&format!("{name}{CPU}")).copied(),
        ..Sample::default()
    })
}

/// Events a second, each the first of its stream.
pub(super) fn first(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    of_many(bench, workload, contender, FIRST)
}

/// Events a second, each the second of its stream.
pub(super) fn again(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    of_many(bench, workload, contender, AGAIN)
}

/// The newest event of a stream.
pub(super) fn head(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    of_many(bench, workload, contender, HEAD)
}

/// The most memory that the process had.
pub(super) fn most_memory(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    of_many(bench, workload, contender, MEMORY)
}

/// A log whose events are all of one stream, made when it is first asked for.
fn long(bench: &Bench, contender: &Contender) -> Result<PathBuf> {
    let folder = bench.disk_path().join("long").join(contender.name);
    if folder.exists() {
        return Ok(folder);
    }
    let making = bench.on_disk()?;
    let store = contender.open_boxed(making.path())?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut next = 0;
    while next < bench.sizes.stream_events {
        let end = bench.sizes.stream_events.min(next + LOAD_BATCH);
        let events = (next..end).map(|number| synthetic.of_stream(LONG, number));
        let request = Request::new(events.collect());
        ensure!(store.append_alone(request)?, "an append was refused");
        next = end;
    }
    store.close()?;
    std::fs::create_dir_all(folder.parent().context("no folder")?)?;
    std::fs::rename(making.keep(), &folder)?;
    Ok(folder)
}

fn last_revision(store: &dyn Store) -> Result<u64> {
    let newest = store.find(Wanted::Newest(LONG))?;
    newest.revision.context("it has no revisions")
}

/// Appends of one event by one client, each to the revision that it knows as the last.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn long_append(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let store = contender.open_boxed(&long(bench, contender)?)?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut revision = last_revision(store.as_ref())?;
    let append = |revision: u64| {
        let event = synthetic.of_stream(LONG, revision + 1);
        let request = Request::new(vec![event]).unless(Unless::Moved {
            stream: LONG.to_owned(),
            revision,
        });
        store.append_alone(request)
    };
    ensure!(!append(revision - 1)?, "an old revision was taken");
    // Keys are looked for at the first append.
    ensure!(append(revision)?, "the last revision was not taken");
    revision += 1;
    let mut latencies = Vec::new();
    let (before, start) = (processor_time(), Instant::now());
    while start.elapsed() < bench.sizes.round {
        let asked = Instant::now();
        ensure!(append(revision)?, "the last revision was not taken");
        latencies.push(micros(asked.elapsed()));
        revision += 1;
    }
    let elapsed = start.elapsed();
    let cpu = processor_time().saturating_sub(before);
    let events = latencies.len() as u64;
    store.close()?;
    Ok(Sample::rate(events as f64, elapsed, latencies).cpu(cpu, events))
}

/// A page of events from a revision at random in the middle half.
pub(super) fn long_page(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let store = contender.open_boxed(&long(bench, contender)?)?;
    let quarter = bench.sizes.stream_events / 4;
    let mut random = Random::new(quarter);
    let latencies = reads(WARM, bench.sizes.reads, || {
        let revision = quarter + random.next() % (2 * quarter);
        let seen = store.find(Wanted::Page {
            stream: LONG,
            revision,
            events: PAGE,
        })?;
        let last = Some(revision + PAGE - 1);
        ensure!(seen.events == PAGE && seen.revision == last, "{seen:?}");
        Ok(())
    })?;
    store.close()?;
    Ok(Sample::latency(latencies))
}
