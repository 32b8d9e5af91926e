//! Durable appends: one client, threads, tasks.
//!
//! Up to [`MOST_THREADS`] clients are threads that block; more are tasks of a runtime with a worker
//! a core. Every client asks again as soon as it is answered.

use super::Workload;
use crate::bench::{Bench, PAYLOAD_BYTES, copy};
use crate::contender::{Contender, Store};
use crate::event::{Request, Synthetic, Unless};
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Context as _, Result, anyhow, ensure};
use runstone::store::LogOptions;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const MOST_THREADS: usize = 64;
/// Distinct long payloads.
const LONG_PAYLOADS: usize = 8;
/// Flushes of the index in a round that is about them, at least.
const FLUSHES: u64 = 3;

/// What the clients ask for.
#[derive(Clone, Debug)]
struct Asking {
    synthetic: Synthetic,
    batch: usize,
    conditional: bool,
    /// Requests of each client, even if time is over.
    at_least: u64,
}

impl Asking {
    /// Payloads of the usual length, without a condition.
    fn of(workload: &Workload) -> Self {
        Self {
            synthetic: Synthetic::new(PAYLOAD_BYTES),
            batch: workload.batch,
            conditional: false,
            at_least: 0,
        }
    }

    fn request(&self, client: usize, round: u64) -> Request {
        let batch = self.batch as u64;
        let numbers = round * batch..(round + 1) * batch;
        let events = numbers.map(|number| self.synthetic.of_client(client, number));
        let request = Request::new(events.collect());
        // The first of its kind, as when work is claimed.
        let tag = request.events.first().and_then(|event| event.tags.first());
        match tag.filter(|_| self.conditional).cloned() {
            Some(tag) => request.unless(Unless::Tag(tag)),
            None => request,
        }
    }
}

pub(super) fn on_disk(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let asking = Asking::of(workload);
    short(bench, workload, contender, folder.path(), asking)
}

pub(super) fn on_tmpfs(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    let folder = bench.on_tmpfs()?;
    let asking = Asking::of(workload);
    short(bench, workload, contender, folder.path(), asking)
}

/// Each request has a condition on a tag that no event has.
pub(super) fn conditional(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let mut asking = Asking::of(workload);
    asking.conditional = true;
    short(bench, workload, contender, folder.path(), asking)
}

/// Payloads of two bytes, an empty JSON object.
pub(super) fn tiny(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_disk()?;
    let mut asking = Asking::of(workload);
    asking.synthetic = Synthetic::of(vec![b"{}".to_vec()]);
    short(bench, workload, contender, folder.path(), asking)
}

fn short(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
    folder: &Path,
    asking: Asking,
) -> Result<Sample> {
    let time = bench.sizes.round;
    let measured = measure(time, workload, contender, folder, asking)?;
    let events = measured.latencies_us.len() * workload.batch;
    let cpu = measured.cpu;
    Ok(measured.rate(events).cpu(cpu, events as u64))
}

/// Latencies on a filled log, for long enough that its maintenance rides along.
pub(super) fn latencies(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    let folder = bench.on_disk()?;
    on_filled(bench, workload, contender, folder.path(), 0)
}

/// The same in memory, and at least until the index was flushed.
pub(super) fn flushed(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    let folder = bench.on_tmpfs()?;
    let at_least = FLUSHES * LogOptions::default().index.freeze_events;
    on_filled(bench, workload, contender, folder.path(), at_least)
}

fn on_filled(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
    folder: &Path,
    at_least: u64,
) -> Result<Sample> {
    copy(&bench.images(contender)?.clean, folder)?;
    let mut asking = Asking::of(workload);
    asking.at_least = at_least;
    let measured = measure(bench.sizes.latency, workload, contender, folder, asking)?;
    let (cpu, events) = (measured.cpu, measured.latencies_us.len());
    let per_second = measured.per_second(events);
    Ok(Sample {
        per_second: Some(per_second),
        ..Sample::latency(measured.latencies_us).cpu(cpu, events as u64)
    })
}

pub(super) fn long_64k(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    long(bench, workload, contender, 64 << 10)
}

pub(super) fn long_1m(bench: &Bench, workload: &Workload, contender: &Contender) -> Result<Sample> {
    long(bench, workload, contender, 1 << 20)
}

pub(super) fn long_16m(
    bench: &Bench,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample> {
    long(bench, workload, contender, 16_000_000)
}

fn long(bench: &Bench, workload: &Workload, contender: &Contender, bytes: usize) -> Result<Sample> {
    let recordings = bench.recordings.as_ref().context("no recordings")?;
    let payloads = recordings.long_payloads(bytes, LONG_PAYLOADS)?;
    let lengths: usize = payloads.iter().map(Vec::len).sum();
    let mut asking = Asking::of(workload);
    asking.synthetic = Synthetic::of(payloads);
    let folder = bench.on_disk()?;
    let time = bench.sizes.round;
    let measured = measure(time, workload, contender, folder.path(), asking)?;
    let events = measured.latencies_us.len();
    let written = events * (lengths / LONG_PAYLOADS);
    let cpu = measured.cpu;
    Ok(measured.rate(written >> 20).cpu(cpu, events as u64))
}

/// How long it took, and each request, in microseconds.
type Timed = (Duration, Vec<f64>);

struct Measured {
    elapsed: Duration,
    cpu: Duration,
    latencies_us: Vec<f64>,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn per_second(&self, amount: usize) -> f64 {
        amount as f64 / self.elapsed.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn rate(self, amount: usize) -> Sample {
        Sample::rate(amount as f64, self.elapsed, self.latencies_us)
    }
}

fn measure(
    time: Duration,
    workload: &Workload,
    contender: &Contender,
    folder: &Path,
    asking: Asking,
) -> Result<Measured> {
    let store = contender.open(folder)?;
    // Keys, tables and files are made at the first append.
    let first = asking.request(usize::MAX, 0);
    ensure!(store.append_alone(first)?, "the first append was refused");
    let before = processor_time();
    let (elapsed, latencies_us) = match workload.clients {
        1 => alone(store.as_ref(), time, &asking),
        clients if clients <= MOST_THREADS => threads(store.as_ref(), clients, time, &asking),
        clients => tasks(&store, clients, time, asking),
    }?;
    Ok(Measured {
        elapsed,
        cpu: processor_time().saturating_sub(before),
        latencies_us,
    })
}

fn alone(store: &dyn Store, time: Duration, asking: &Asking) -> Result<Timed> {
    let start = Instant::now();
    let latencies_us = client(0, start + time, asking, |request| {
        store.append_alone(request)
    })?;
    Ok((start.elapsed(), latencies_us))
}

fn client(
    client: usize,
    end: Instant,
    asking: &Asking,
    append: impl Fn(Request) -> Result<bool>,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for round in 0.. {
        let request = asking.request(client, round);
        let asked = Instant::now();
        if asked >= end && round >= asking.at_least {
            break;
        }
        ensure!(append(request)?, "a condition failed that holds");
        latencies.push(micros(asked.elapsed()));
    }
    Ok(latencies)
}

fn threads(store: &dyn Store, clients: usize, time: Duration, asking: &Asking) -> Result<Timed> {
    let ready = Barrier::new(clients + 1);
    std::thread::scope(|scope| {
        let ready = &ready;
        let spawn = |number| {
            scope.spawn(move || {
                ready.wait();
                let end = Instant::now() + time;
                client(number, end, asking, |request| store.append_shared(request))
            })
        };
        let running: Vec<_> = (0..clients).map(spawn).collect();
        ready.wait();
        let start = Instant::now();
        let mut latencies_us = Vec::new();
        for thread in running {
            let latencies = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            latencies_us.append(&mut latencies?);
        }
        Ok((start.elapsed(), latencies_us))
    })
}

fn tasks(store: &Arc<dyn Store>, clients: usize, time: Duration, asking: Asking) -> Result<Timed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let asking = Arc::new(asking);
    let start = Instant::now();
    let end = start + time;
    let client = |client: usize| {
        let (store, asking) = (Arc::clone(store), Arc::clone(&asking));
        async move {
            let mut latencies = Vec::new();
            for round in 0.. {
                let request = asking.request(client, round);
                let asked = Instant::now();
                if asked >= end && round >= asking.at_least {
                    break;
                }
                ensure!(
                    store.submit(request).await?,
                    "a condition failed that holds"
                );
                latencies.push(micros(asked.elapsed()));
            }
            Ok(latencies)
        }
    };
    let running: Vec<_> = (0..clients)
        .map(|number| runtime.spawn(client(number)))
        .collect();
    runtime.block_on(async {
        let mut latencies_us = Vec::new();
        for task in running {
            latencies_us.append(&mut task.await??);
        }
        Ok((start.elapsed(), latencies_us))
    })
}
