//! What one process does with a log, and what it found: each opens it anew, so that its memory and
//! time are those of a program that begins with a log of this size.

use super::measure::{
    APPEND, APPEND_CPU, BULK, BULK_CPU, FILL, FILL_CPU, FILL_MEMORY, MEMORY, OPEN, OPEN_COLD,
    OPEN_CRASHED, OPEN_MEMORY, POINT, REFOLD, REFOLD_MEMORY, RUN, VERIFY, VERIFY_MEMORY,
    VERIFY_OPEN,
};
use crate::bench::{LOAD_BATCH, PAYLOAD_BYTES, Told, files};
use crate::contender::{Contender, Store, Wanted, runstone_log};
use crate::event::{RUN_EVENTS, Random, Request, Synthetic, run_name, whole_runs};
use crate::sample::{memory, micros, processor_time, quantile, rate, reads};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use runstone::store::VerifyLevel;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Reads of each kind, and those before that do not count.
const READS: u64 = 1000;
const WARM_READS: u64 = 200;
/// Appends of one event, and of [`LOAD_BATCH`], in one round.
const LONE_APPENDS: u64 = 2000;
const BULK_APPENDS: u64 = 50;
/// Events that one round of appends adds.
pub(crate) const ROUND_EVENTS: u64 = LONE_APPENDS + BULK_APPENDS * LOAD_BATCH;
/// Progress is told so many times while a log is filled, if it is long.
const TOLD: u64 = 10;
const TOLD_EVENTS: u64 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Appends events to the log and ends like a crash.
    Fill,
    /// Opens what a crash left, and closes it.
    OpenCrashed,
    /// Opens it after its files were dropped from the page cache.
    OpenCold,
    /// Opens and reads.
    Read,
    /// A round of appends.
    Append,
    Refold,
    Verify,
}

/// One phase of one log.
#[derive(Clone, Debug, Args)]
pub(crate) struct Phase {
    pub(crate) what: What,
    pub(crate) contender: String,
    pub(crate) folder: PathBuf,
    /// Events that are there already.
    pub(crate) from: u64,
    /// Events there are to be, when it is filled.
    pub(crate) to: u64,
}

type Found = Vec<(&'static str, f64)>;

impl Phase {
    /// Numbers under the names of [`super::measure::MEASURES`].
    pub(crate) fn run(&self, contender: &Contender) -> Result<Told> {
        let found = self.found(contender)?.into_iter();
        Ok(found
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    fn found(&self, contender: &Contender) -> Result<Found> {
        match self.what {
            What::Fill => self.fill(contender),
            What::OpenCrashed => self.open(contender, OPEN_CRASHED),
            What::OpenCold => {
                for file in files(&self.folder)? {
                    let file = File::open(file)?;
                    file.sync_all()?;
                    fadvise(&file, 0, None, Advice::DontNeed)?;
                }
                self.open(contender, OPEN_COLD)
            }
            What::Read => self.read(contender),
            What::Append => self.append(contender),
            What::Refold => self.refold(),
            What::Verify => self.verify(),
        }
    }

    fn fill(&self, contender: &Contender) -> Result<Found> {
        let store = contender.open(&self.folder)?;
        let synthetic = Synthetic::new(PAYLOAD_BYTES);
        let mut next = self.from;
        let portion = (self.to - self.from).div_ceil(TOLD).max(TOLD_EVENTS);
        let (whole, mut part) = (Stopwatch::start(), Stopwatch::start());
        let mut told = next;
        while next < self.to {
            let end = self.to.min(next + LOAD_BATCH);
            bulk(store.as_ref(), &synthetic, next, end)?;
            next = end;
            if next - told >= portion {
                let (name, (rate, cpu)) = (&self.contender, part.read(next - told));
                writeln!(
                    stderr(),
                    "{name}: {next} events, {rate:.0} events/s, processor {cpu:.1} us an event"
                )?;
                (told, part) = (next, Stopwatch::start());
            }
        }
        let (rate, cpu) = whole.read(self.to - self.from);
        std::mem::forget(store);
        let most = memory("VmHWM")?;
        Ok(vec![(FILL, rate), (FILL_CPU, cpu), (FILL_MEMORY, most)])
    }

    fn open(&self, contender: &Contender, name: &'static str) -> Result<Found> {
        let start = Instant::now();
        let store = contender.open_boxed(&self.folder)?;
        let seconds = start.elapsed().as_secs_f64();
        self.check(store.as_ref())?;
        store.close()?;
        Ok(vec![(name, seconds)])
    }

    /// The last whole run is there.
    fn check(&self, store: &dyn Store) -> Result<()> {
        let Some(last) = whole_runs(self.from).checked_sub(1) else {
            return Ok(());
        };
        let seen = store.read_run(&run_name(last))?;
        ensure!(seen.events == RUN_EVENTS, "the last run is not whole");
        Ok(())
    }

    fn read(&self, contender: &Contender) -> Result<Found> {
        let start = Instant::now();
        let store = contender.open_boxed(&self.folder)?;
        let mut found = vec![(OPEN, start.elapsed().as_secs_f64())];
        found.push((OPEN_MEMORY, memory("VmRSS")?));
        let mut random = Random::new(self.from);
        let events = self.from.max(1);
        let mut points = reads(WARM_READS, READS, || {
            let number = random.next() % events;
            let seen = store.find(Wanted::Number(number))?;
            ensure!(seen.events == 1, "no event {number}");
            Ok(())
        })?;
        found.push((POINT, quantile(&mut points, 0.5)));
        let runs = whole_runs(self.from);
        if runs > 0 {
            let mut read = reads(WARM_READS, READS, || {
                let stream = run_name(random.next() % runs);
                let seen = store.read_run(&stream)?;
                ensure!(seen.events == RUN_EVENTS, "{stream}: {seen:?}");
                Ok(())
            })?;
            found.push((RUN, quantile(&mut read, 0.5)));
        }
        found.push((MEMORY, memory("VmHWM")?));
        store.close()?;
        Ok(found)
    }

    fn append(&self, contender: &Contender) -> Result<Found> {
        let store = contender.open_boxed(&self.folder)?;
        let synthetic = Synthetic::new(PAYLOAD_BYTES);
        let mut next = self.from;
        let mut append = |events: u64, batch: u64| {
            let (end, watch) = (next + events, Stopwatch::start());
            while next < end {
                bulk(store.as_ref(), &synthetic, next, next + batch)?;
                next += batch;
            }
            Ok::<_, anyhow::Error>(watch.read(events))
        };
        // Keys and heads are looked for at the first append.
        append(1, 1)?;
        let (lone, lone_cpu) = append(LONE_APPENDS - 1, 1)?;
        let (many, many_cpu) = append(BULK_APPENDS * LOAD_BATCH, LOAD_BATCH)?;
        let found = vec![
            (APPEND, lone),
            (APPEND_CPU, lone_cpu),
            (BULK, many),
            (BULK_CPU, many_cpu),
            (MEMORY, memory("VmHWM")?),
        ];
        store.close()?;
        Ok(found)
    }

    fn refold(&self) -> Result<Found> {
        let log = runstone_log(&self.folder)?;
        let start = Instant::now();
        let checks = log.check_folds(None, &|_, _| {})?;
        let rate = rate(log.size(), start);
        let equal = checks.iter().all(runstone::FoldCheck::is_equal);
        ensure!(equal, "{checks:?}");
        Ok(vec![(REFOLD, rate), (REFOLD_MEMORY, memory("VmHWM")?)])
    }

    fn verify(&self) -> Result<Found> {
        let log = runstone_log(&self.folder)?;
        let mut found = Vec::new();
        for (name, level) in [
            (VERIFY, VerifyLevel::Payloads),
            (VERIFY_OPEN, VerifyLevel::Commitments),
        ] {
            let start = Instant::now();
            let report = log.verify(level, &|_, _| {});
            found.push((name, rate(report.events, start)));
            ensure!(report.valid, "{:?}", report.problems);
        }
        found.push((VERIFY_MEMORY, memory("VmHWM")?));
        Ok(found)
    }
}

/// Time of this process, by the clock and of all its threads.
struct Stopwatch {
    start: Instant,
    processor: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            processor: processor_time(),
        }
    }

    /// So many events since then: how many a second, and what each cost the processor, in
    /// microseconds.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn read(&self, events: u64) -> (f64, f64) {
        let spent = processor_time().saturating_sub(self.processor);
        (rate(events, self.start), micros(spent) / events as f64)
    }
}

fn bulk(store: &dyn Store, synthetic: &Synthetic, from: u64, to: u64) -> Result<()> {
    let events = (from..to).map(|number| synthetic.of_log(number));
    let request = Request::new(events.collect());
    ensure!(store.append_alone(request)?, "an append was refused");
    Ok(())
}
