//! The paths: what is done before, and one operation.

use super::images::{EVENTS, Image, runs};
use crate::bench::{PAYLOAD_BYTES, copy};
use crate::contender::{Sealer, Store, event_of, repeatable, runstone_of};
use crate::event::{RUN_EVENTS, Random, Request, Synthetic, Unless, run_name};
use anyhow::{Context as _, Result, anyhow, ensure};
use runstone::receipt::{Policy, Receipt, VerifyOptions};
use runstone::replay::state;
use runstone::store::holder::Page;
use runstone::store::line::write_record;
use runstone::{Append, FoldCheck, NewEvent, Position, Prover, Query, Read, Runstone, VerifyLevel};
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// One operation, again and again.
type Operation = Box<dyn FnMut() -> Result<()>>;

/// A path and how it is counted.
#[derive(Clone, Copy)]
pub(crate) struct HotPath {
    pub(crate) name: &'static str,
    /// What is counted once.
    pub(super) each: &'static str,
    pub(super) image: Image,
    /// Rounds that are counted: as many as take some seconds under valgrind. Of appends a multiple
    /// of the commits between two slices of maintenance.
    pub(super) rounds: u64,
    /// What is counted once is in a round so often.
    pub(super) operations: u64,
    /// Makes everything for so many rounds.
    prepare: fn(&Scratch) -> Result<Operation>,
}

/// Where a path works.
struct Scratch {
    folder: PathBuf,
    /// Rounds at most.
    most: u64,
}

impl Scratch {
    fn log(&self) -> Result<Runstone> {
        repeatable(&self.folder, false, 1)
    }

    fn store(&self) -> Result<Box<dyn Store>> {
        Ok(runstone_of(self.log()?))
    }

    /// A request for each round, of so many events.
    fn requests(&self, events: u64) -> impl Iterator<Item = Request> + use<> {
        let synthetic = Synthetic::new(PAYLOAD_BYTES);
        let request = |round: u64| {
            let numbers = round * events..(round + 1) * events;
            Request::new(
                numbers
                    .map(|number| synthetic.of_client(0, number))
                    .collect(),
            )
        };
        let requests: Vec<_> = (0..self.most).map(request).collect();
        requests.into_iter()
    }
}

/// A path of an empty log.
const APPEND: HotPath = HotPath {
    name: "",
    each: "an append",
    image: Image::Nothing,
    rounds: 256,
    operations: 1,
    prepare: |scratch| append(scratch, 1),
};

/// A path of a filled log, each event of it.
const EACH: HotPath = HotPath {
    each: "an event",
    image: Image::Closed,
    rounds: 1,
    operations: EVENTS,
    ..APPEND
};

/// Every path, in the order of the table.
pub(crate) const PATHS: [HotPath; 20] = [
    HotPath {
        name: "append-1",
        ..APPEND
    },
    HotPath {
        name: "append-1000",
        each: "an event",
        rounds: 8,
        operations: 1000,
        prepare: |scratch| append(scratch, 1000),
        ..APPEND
    },
    HotPath {
        name: "append-if",
        prepare: append_if,
        ..APPEND
    },
    HotPath {
        name: "session-append",
        prepare: session_append,
        ..APPEND
    },
    HotPath {
        name: "call",
        each: "a call",
        rounds: 128,
        prepare: call,
        ..APPEND
    },
    HotPath {
        name: "scan",
        prepare: |scratch| Ok(scan(scratch.store()?)),
        ..EACH
    },
    HotPath {
        name: "scan-plain",
        image: Image::Plain,
        prepare: |scratch| Ok(scan(runstone_of(repeatable(&scratch.folder, true, 1)?))),
        ..EACH
    },
    HotPath {
        name: "lines",
        prepare: lines,
        ..EACH
    },
    HotPath {
        name: "follow",
        each: "an event",
        rounds: 8,
        operations: Page::EVENTS as u64,
        prepare: follow,
        ..APPEND
    },
    HotPath {
        name: "read-run",
        each: "a run",
        rounds: 32,
        operations: 1,
        prepare: read_run,
        ..EACH
    },
    HotPath {
        name: "state-at",
        each: "an answer",
        rounds: 32,
        operations: 1,
        prepare: state_at,
        ..EACH
    },
    HotPath {
        name: "receipt-make",
        each: "a receipt",
        rounds: 128,
        operations: 1,
        prepare: receipt_make,
        ..EACH
    },
    HotPath {
        name: "receipt-verify",
        each: "a receipt",
        rounds: 64,
        operations: 1,
        prepare: receipt_verify,
        ..EACH
    },
    HotPath {
        name: "refold",
        prepare: refold,
        ..EACH
    },
    HotPath {
        name: "verify-1",
        prepare: |scratch| verify(scratch, VerifyLevel::Payloads),
        ..EACH
    },
    HotPath {
        name: "verify-2",
        prepare: |scratch| verify(scratch, VerifyLevel::Commitments),
        ..EACH
    },
    HotPath {
        name: "open",
        each: "an opening",
        rounds: 4,
        operations: 1,
        prepare: |scratch| Ok(open(scratch)),
        ..EACH
    },
    HotPath {
        name: "open-crash",
        each: "an opening",
        image: Image::Crashed,
        rounds: 2,
        operations: 1,
        prepare: open_crash,
    },
    HotPath {
        name: "seal",
        each: "an event",
        rounds: 2000,
        prepare: |scratch| Ok(seal(scratch)),
        ..APPEND
    },
    HotPath {
        name: "open-event",
        each: "an event",
        rounds: 2000,
        prepare: open_event,
        ..APPEND
    },
];

/// Does a path so many times, on one core.
pub(crate) fn counted(name: &str, rounds: u64, folder: &Path) -> Result<()> {
    let mut one = rustix::thread::CpuSet::new();
    let may = rustix::thread::sched_getaffinity(None)?;
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| may.is_set(*core));
    one.set(first.context("there is no core")?);
    rustix::thread::sched_setaffinity(None, &one)?;
    let mut paths = PATHS.iter();
    let path = paths
        .find(|path| path.name == name)
        .context("no such path")?;
    path.run(rounds, path.rounds * 2, folder)
}

impl HotPath {
    /// Leaves everything open: what ending takes is not counted.
    fn run(&self, rounds: u64, most: u64, folder: &Path) -> Result<()> {
        ensure!(rounds <= most, "{} has {most} rounds at most", self.name);
        let folder = folder.to_owned();
        let mut operation = (self.prepare)(&Scratch { folder, most })?;
        for _ in 0..rounds {
            operation()?;
        }
        std::mem::forget(operation);
        Ok(())
    }
}

fn append(scratch: &Scratch, events: u64) -> Result<Operation> {
    let store = scratch.store()?;
    let mut requests = scratch.requests(events);
    Ok(Box::new(move || {
        let request = requests.next().context("no request is left")?;
        ensure!(store.append_alone(request)?, "refused");
        Ok(())
    }))
}

/// On the condition that no event has its tag.
fn append_if(scratch: &Scratch) -> Result<Operation> {
    let store = scratch.store()?;
    let mut requests = scratch.requests(1);
    Ok(Box::new(move || {
        let request = requests.next().context("no request is left")?;
        let tag = request.events.first().and_then(|event| event.tags.first());
        let tag = tag.context("no tag")?.clone();
        ensure!(
            store.append_alone(request.unless(Unless::Tag(tag)))?,
            "refused"
        );
        Ok(())
    }))
}

/// A turn of a session of a run.
fn session_append(scratch: &Scratch) -> Result<Operation> {
    let log = scratch.log()?;
    let run = log.run("bench").resume_or_start_blocking("run-1")?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut turn = 0;
    Ok(Box::new(move || {
        let text = String::from_utf8(synthetic.of_client(0, turn).payload)?;
        run.session().append_blocking("/messages", &text)?;
        turn += 1;
        Ok(())
    }))
}

/// An effect, claimed and completed.
fn call(scratch: &Scratch) -> Result<Operation> {
    let store = scratch.store()?;
    let mut number = 0;
    Ok(Box::new(move || {
        number += 1;
        store.call(&format!("inv-{number}"))
    }))
}

fn scan(store: Box<dyn Store>) -> Operation {
    Box::new(move || {
        ensure!(store.scan()?.events > EVENTS, "too few events");
        Ok(())
    })
}

/// The log as lines of JSON.
fn lines(scratch: &Scratch) -> Result<Operation> {
    let log = scratch.log()?;
    let mut line = Vec::new();
    Ok(Box::new(move || {
        for record in log.read(Read::new(Query::everything()))? {
            line.clear();
            write_record(&record?, &mut line);
            black_box(&line);
        }
        Ok(())
    }))
}

/// A page of what was just appended, given to another process and read there as lines of JSON, less the
/// way between them.
fn follow(scratch: &Scratch) -> Result<Operation> {
    let log = scratch.log()?;
    log.append_blocking(NewEvent::new("bench.began", "bench"))?;
    let all = Read::new(Query::everything());
    let read = all.clone().from(log.size());
    // Now what comes is waited for.
    log.log().followed(all)?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let events = (0..Page::EVENTS as u64).map(|number| event_of(synthetic.of_client(0, number)));
    log.append_blocking(Append::new(events))?;
    let mut line = Vec::new();
    Ok(Box::new(move || {
        let page = log.log().followed(read.clone())?.to_cbor();
        let page = Page::from_cbor(&page).map_err(|why| anyhow!(why))?;
        ensure!(page.len() == Page::EVENTS, "{}", page.len());
        for record in page.into_records() {
            line.clear();
            write_record(&record?, &mut line);
            black_box(&line);
        }
        Ok(())
    }))
}

fn read_run(scratch: &Scratch) -> Result<Operation> {
    let store = scratch.store()?;
    let mut random = Random::new(60);
    Ok(Box::new(move || {
        let seen = store.read_run(&run_name(random.next() % runs()))?;
        ensure!(seen.events == RUN_EVENTS, "{seen:?}");
        Ok(())
    }))
}

/// How a run of a few turns stood in its midst.
fn state_at(scratch: &Scratch) -> Result<Operation> {
    let log = scratch.log()?;
    let run = log.run("bench").resume_or_start_blocking("asked")?;
    for turn in 0..RUN_EVENTS {
        run.session().append_blocking("/messages", &turn)?;
    }
    let newest = log.size();
    let mut random = Random::new(61);
    Ok(Box::new(move || {
        let at = newest - 1 - random.next() % RUN_EVENTS;
        let found = state(&log, "asked", Position::new(at))?;
        black_box(found.context("no such run")?);
        Ok(())
    }))
}

fn receipt_make(scratch: &Scratch) -> Result<Operation> {
    let mut desk = Desk::open(scratch)?;
    Ok(Box::new(move || {
        black_box(desk.receipt()?);
        Ok(())
    }))
}

fn receipt_verify(scratch: &Scratch) -> Result<Operation> {
    let mut desk = Desk::open(scratch)?;
    let policy = Policy::of_logs(desk.log.vkeys()?)?.to_text();
    let policy = Policy::parse(policy.as_bytes())?;
    let files: Vec<_> = (0..16).map(|_| desk.receipt()).collect::<Result<_>>()?;
    let mut files = files.into_iter().cycle();
    Ok(Box::new(move || {
        let file = files.next().context("no receipt")?;
        let receipt = Receipt::parse(&file)?;
        black_box(receipt.verify(&policy, &VerifyOptions::new())?);
        Ok(())
    }))
}

/// What proves under the last checkpoint, as long as the log is open.
struct Desk {
    log: Runstone,
    prover: Prover,
    random: Random,
}

impl Desk {
    fn open(scratch: &Scratch) -> Result<Self> {
        let log = scratch.log()?;
        Ok(Self {
            prover: log.prover()?,
            log,
            random: Random::new(62),
        })
    }

    /// A receipt of an event at random, as a file.
    fn receipt(&mut self) -> Result<Vec<u8>> {
        let position = self.random.next() % self.prover.size();
        Ok(self.prover.receipt(Position::new(position))?.encode())
    }
}

/// Every fold, from the first event.
fn refold(scratch: &Scratch) -> Result<Operation> {
    let log = scratch.log()?;
    Ok(Box::new(move || {
        let checks = log.check_folds(None, &|_, _| {})?;
        ensure!(checks.iter().all(FoldCheck::is_equal), "{checks:?}");
        Ok(())
    }))
}

fn verify(scratch: &Scratch, level: VerifyLevel) -> Result<Operation> {
    let log = scratch.log()?;
    Ok(Box::new(move || {
        let report = log.verify(level, &|_, _| {});
        ensure!(report.valid, "{:?}", report.problems);
        Ok(())
    }))
}

/// A log that was closed, opened and closed again.
fn open(scratch: &Scratch) -> Operation {
    let folder = scratch.folder.clone();
    let mut seed = 0;
    Box::new(move || {
        seed += 1;
        repeatable(&folder, false, seed)?.close_blocking()?;
        Ok(())
    })
}

/// What a crash left, opened; a copy for each round.
fn open_crash(scratch: &Scratch) -> Result<Operation> {
    let copies = scratch.folder.with_extension("copies");
    for round in 0..scratch.most {
        copy(&scratch.folder, &copies.join(round.to_string()))?;
    }
    let mut round = 0_u64;
    Ok(Box::new(move || {
        let log = repeatable(&copies.join(round.to_string()), false, 1)?;
        ensure!(log.size() > EVENTS, "events are missing");
        std::mem::forget(log);
        round += 1;
        Ok(())
    }))
}

/// What recording an event computes.
fn seal(scratch: &Scratch) -> Operation {
    let sealer = Sealer::new();
    let events: Vec<_> = sealer.events(scratch.most).collect();
    let (mut events, mut position) = (events.into_iter(), 0);
    let mut random = Random::new(63);
    Box::new(move || {
        let (header, payload) = events.next().context("no event is left")?;
        black_box(sealer.seal(&header, &payload, position, &mut random)?);
        position += 1;
        Ok(())
    })
}

/// What reading an event computes.
fn open_event(_: &Scratch) -> Result<Operation> {
    let sealer = Sealer::new();
    let log = sealer.log(64)?;
    let mut at = 0;
    Ok(Box::new(move || {
        let (header, kept) = log.get(at % log.len()).context("no event")?;
        black_box(sealer.open(header, kept)?);
        at += 1;
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::super::images::Images;
    use super::*;

    #[test]
    fn every_path_can_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut images = Images::new(folder.path());
        for path in PATHS {
            let copy = images.copy_of(path.image).unwrap();
            let gone = path.run(2.min(path.rounds), 2, copy.path());
            gone.unwrap_or_else(|error| panic!("{}: {error:#}", path.name));
        }
    }
}
