//! Runstone, whole, plain and without folds.
//!
//! Whole: AES-256-GCM, commitments, Merkle tree, signed checkpoint, every index, every fold. Plain: the
//! same without encryption. Without folds: whole but for them, a call being two appends. All answer
//! after one `fdatasync` (`Durability::Synced`); a key's first use syncs the key table besides.

use super::{Reply, Seen, Store, Wanted};
use crate::event::{Event, Random, Request, Unless, call_payload};
use anyhow::{Result, anyhow, ensure};
use runstone::codec::{Draft, Entropy, EntropyError};
use runstone::effects::{Change, Claim, Claimed};
use runstone::{
    Append, AppendError, Appended, Clock, Condition, Expected, Hold, Log, LogOptions, NewEvent,
    Position, Query, Read, Record, Runstone, VerifyLevel,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

struct Whole {
    log: Runstone,
    has_folds: bool,
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("log")
}

pub(crate) fn whole(folder: &Path) -> Result<Box<dyn Store>> {
    Ok(of(Runstone::options().open_or_create(path(folder))?))
}

/// Of an open log that has every fold.
pub(crate) fn of(log: Runstone) -> Box<dyn Store> {
    let has_folds = true;
    Box::new(Whole { log, has_folds })
}

pub(crate) fn without_folds(folder: &Path) -> Result<Box<dyn Store>> {
    let (create, mut open) = Runstone::options().into_store();
    open.folds.clear();
    let path = path(folder);
    let log = if path.exists() {
        Log::open(&path, open)?
    } else {
        Log::create(&path, &create, open)?
    };
    let (log, has_folds) = (log.into(), false);
    Ok(Box::new(Whole { log, has_folds }))
}

pub(crate) fn plain(folder: &Path) -> Result<Box<dyn Store>> {
    let options = Runstone::options().plain();
    Ok(of(options.open_or_create(path(folder))?))
}

/// A log that does the same in every run: no threads, and time and randomness that repeat. Two that
/// open one file one after the other want different `seed`s.
pub(crate) fn repeatable(folder: &Path, is_plain: bool, seed: u64) -> Result<Runstone> {
    let mut storage = LogOptions::default();
    storage.background = false;
    storage.clock = Arc::new(Ticking::new(seed));
    storage.entropy = Arc::new(Repeating(Mutex::new(Random::new(seed))));
    let options = Runstone::options().storage(storage);
    let options = options.without_serving().without_sinks();
    let options = if is_plain { options.plain() } else { options };
    Ok(options.open_or_create(path(folder))?)
}

/// A clock that shows 10 microseconds more at each look.
#[derive(Debug)]
struct Ticking(AtomicU64);

impl Ticking {
    fn new(seed: u64) -> Self {
        Self(AtomicU64::new(1_800_000_000_000_000 + seed * 3_600_000_000))
    }
}

impl Clock for Ticking {
    fn wall_us(&self) -> u64 {
        self.0.fetch_add(10, Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.wall_us()
    }
}

#[derive(Debug)]
struct Repeating(Mutex<Random>);

impl Entropy for Repeating {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill(out);
        Ok(())
    }
}

/// The log itself, for what no other store has.
pub(crate) fn log(folder: &Path) -> Result<Log> {
    Ok(Runstone::options().open(path(folder))?.log().clone())
}

pub(crate) fn compact(folder: &Path) -> Result<()> {
    let (_, open) = Runstone::options().into_store();
    Log::compact(&path(folder), open, &|_, _| {})?;
    Ok(())
}

pub(crate) fn event(event: Event) -> NewEvent {
    let new = NewEvent::new(event.event_type, event.stream)
        .tags(event.tags)
        .payload(event.payload);
    match event.id {
        Some(id) => new.id(id),
        None => new,
    }
}

fn append(request: Request) -> Append {
    let append = Append::new(request.events.into_iter().map(event));
    match request.unless {
        None => append,
        Some(Unless::Tag(tag)) => append.condition(Condition::none(Query::tag(tag))),
        Some(Unless::TypeAfter { event_type, after }) => append.condition(Condition::none_after(
            Query::of_type(event_type),
            Position::new(after),
        )),
        Some(Unless::Moved { stream, revision }) => {
            append.expect(stream, Expected::Exact(revision))
        }
    }
}

fn answered(answer: Result<Appended, AppendError>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(AppendError::ConditionFailed { .. } | AppendError::Conflict { .. }) => Ok(false),
        Err(error) => Err(anyhow!(error)),
    }
}

fn seen_of(seen: &mut Seen, record: &Record) -> Result<()> {
    let bytes = record.payload.bytes();
    seen.event(bytes.ok_or_else(|| anyhow!("a payload is not open"))?);
    seen.revision = Some(record.revision.get());
    Ok(())
}

impl Whole {
    fn read(&self, read: Read) -> Result<Seen> {
        let mut seen = Seen::default();
        for record in self.log.read(read)? {
            let record = record?;
            seen_of(&mut seen, &record)?;
        }
        Ok(seen)
    }
}

impl Store for Whole {
    fn append_alone(&self, request: Request) -> Result<bool> {
        answered(self.log.append_blocking(append(request)))
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        answered(self.log.append_blocking(append(request)))
    }

    fn submit(&self, request: Request) -> Reply {
        let log = self.log.log().clone();
        Box::pin(async move { answered(log.append(append(request)).await) })
    }

    /// The log's own events count: they are read like any other.
    fn scan(&self) -> Result<Seen> {
        self.read(Read::new(Query::everything()))
    }

    fn verify(&self, level: VerifyLevel) -> Result<u64> {
        let report = self.log.log().verify(level, &|_, _| {});
        ensure!(report.valid, "{:?}", report.problems);
        Ok(report.events)
    }

    fn read_run(&self, stream: &str) -> Result<Seen> {
        self.read(Read::new(Query::stream(stream)))
    }

    fn find(&self, wanted: Wanted<'_>) -> Result<Seen> {
        match wanted {
            Wanted::Number(number) => {
                let record = self.log.record(Position::new(number))?;
                let mut seen = Seen::default();
                seen_of(&mut seen, &record)?;
                Ok(seen)
            }
            Wanted::Newest(stream) => {
                self.read(Read::new(Query::stream(stream)).reverse().limit(1))
            }
            Wanted::Page {
                stream,
                revision,
                events,
            } => {
                let first = self.log.record_by_revision(stream, revision)?.position;
                let page = Read::new(Query::stream(stream))
                    .from(first.get())
                    .limit(events);
                self.read(page)
            }
        }
    }

    /// As recorded elsewhere: with the ids, times and control fields of the recording.
    fn import(&self, records: Vec<Vec<Draft>>) -> Result<()> {
        for imported in self.log.import_blocking(records) {
            imported?;
        }
        Ok(())
    }

    /// As an embedded agent does it: its own arguments and results, digests, lease, fold.
    fn call(&self, key: &str) -> Result<()> {
        if !self.has_folds {
            return super::by_condition(&|request| self.append_alone(request), key);
        }
        let claim = Claim::tool("run-1", "pay")
            .request(key)
            .args_json(call_payload(key))
            .hold(Hold::Opening);
        let Claimed::Held(held) = self.log.effects().claim_blocking(&claim)? else {
            return Err(anyhow!("claimed already"));
        };
        let done = Change::Complete {
            result: Some(call_payload(key)),
            rejected: None,
        };
        self.log.effects().change_blocking(&held.target(), &done)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.close_blocking()?)
    }
}
