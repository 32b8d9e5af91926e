//! One flipped byte or bit at a time, anywhere in the files of a log.
//!
//! Each trial opens the log over one flip, verifies it at level 2 and reads everything. Either
//! the flip is reported, or nothing that a reader can ask has changed: never a shorter log, never
//! other data, never a panic that gets out, never a hang.
//!
//! By default a fixed slice of 900 trials runs, well under a minute of a debug build on two cores.
//! Trial `n` of a test is always the same flip of the same bytes. `RUNSTONE_FLIPS=20000` runs as
//! many in each test, `RUNSTONE_FLIPS=700..701` only trial 700. A process that dies leaves the number of
//! its trial in `flips-NAME.trial` in the temporary folder of the target directory.

use runstone_codec::{NewEvent, Position};
use runstone_store::{
    Clock, Disk, ErrorKind, Log, MemoryDisk, OpenError, OverlayDisk, Sealing, SystemClock,
    VerifyLevel, VerifyReport, panic_is_contained,
};
use runstone_tests::tamper::{
    Answers, ChunkParts, Ending, Event, Outcome, RawRows, Sample, Seeded, Table,
};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

/// A trial of milliseconds that takes this long hangs.
const HANG_US: u64 = 60_000_000;
/// Between two looks at whether one does.
const LOOK: Duration = Duration::from_millis(500);
/// Of the trials that cannot matter since nobody reads the byte, one in so many runs all the same.
const UNREAD_RUN: u64 = 16;

/// Panics that nobody contained.
static ESCAPED: AtomicU64 = AtomicU64::new(0);

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic_is_contained() {
                ESCAPED.fetch_add(1, Ordering::SeqCst);
                before(panic);
            }
        }));
    });
}

/// Bytes with one of them changed; nobody writes to them.
#[derive(Clone, Debug)]
struct Flipped {
    bytes: Arc<Vec<u8>>,
    at: usize,
    mask: u8,
    /// Which bytes were read.
    read: Option<Arc<Mutex<Vec<bool>>>>,
}

impl Disk for Flipped {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(out.len());
        let range = start..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let found = self.bytes.get(range.clone());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        if let Some(read) = &self.read {
            read.lock().unwrap()[range.clone()].fill(true);
        }
        if range.contains(&self.at) {
            out[self.at - start] ^= self.mask;
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// What lies at a place of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    /// In the entry or envelope of an event.
    Event(u64),
    /// In a row, but in no event.
    Row(Table),
    /// Where the database keeps its own.
    Elsewhere,
}

/// Finds the rows of a log in its file. Copies of a row that the database freed are found too.
fn places(log: &[u8]) -> Outcome<(Vec<Place>, Vec<usize>)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), log)?;
    let rows = RawRows::open(file.path())?;
    let mut by_start: HashMap<[u8; 8], Vec<(Table, Vec<u8>)>> = HashMap::new();
    for table in Table::ALL {
        for (_, value) in rows.all(table)? {
            if let Some(start) = value.first_chunk::<8>() {
                by_start.entry(*start).or_default().push((table, value));
            }
        }
    }
    let mut places = vec![Place::Elsewhere; log.len()];
    for (at, start) in log.windows(8).enumerate() {
        let start: [u8; 8] = start.try_into()?;
        for (table, value) in by_start.get(&start).into_iter().flatten() {
            if !log[at..].starts_with(value) {
                continue;
            }
            places[at..at + value.len()].fill(Place::Row(*table));
            if *table == Table::Chunks {
                let chunk = ChunkParts::parse(value)?;
                let mut end = at + value.len();
                for (n, (entry, envelope)) in chunk.events.iter().enumerate().rev() {
                    let begin = end - entry.len() - envelope.len();
                    places[begin..end].fill(Place::Event(chunk.first + n as u64));
                    end = begin;
                }
            }
        }
    }
    let live = (0..log.len()).filter(|at| places[*at] != Place::Elsewhere);
    let live = live.collect();
    Ok((places, live))
}

/// How a trial ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Verdict {
    /// Nobody reads this byte.
    Unread,
    /// Opening reported it.
    Open(&'static str),
    /// Verification reported it.
    Verify,
    /// Later commits wrote over something, and it was reported then.
    Spoiled(&'static str),
    /// Nothing is different.
    Harmless,
}

/// One log and everything it should answer.
struct Bench {
    sample: Sample,
    ending: Ending,
    log: Arc<Vec<u8>>,
    head: Arc<Vec<u8>>,
    expected: Answers,
    places: Vec<Place>,
    live: Vec<usize>,
    /// Bytes of the database that an undamaged open, verification and reading look at.
    read: Vec<bool>,
}

impl Bench {
    fn new(ending: Ending) -> Outcome<Self> {
        let sample = Sample::new(Sealing::Required, ending)?;
        let (places, live) = places(&sample.log)?;
        let log = Arc::new(sample.log.clone());
        let head = Arc::new(sample.head.clone());
        let read = Arc::new(Mutex::new(vec![false; log.len()]));
        let whole = Flipped {
            bytes: Arc::clone(&log),
            at: usize::MAX,
            mask: 0,
            read: Some(Arc::clone(&read)),
        };
        let disk = OverlayDisk::new(Box::new(whole))?;
        let opened = sample.open_on(disk, MemoryDisk::with_bytes(sample.head.clone()))?;
        let report = opened.verify(VerifyLevel::Commitments, &|_, _| {});
        assert!(report.valid, "{report:?}");
        let expected = Answers::of(&opened)?;
        drop(opened);
        let read = read.lock().unwrap().clone();
        Ok(Self {
            sample,
            ending,
            log,
            head,
            expected,
            places,
            live,
            read,
        })
    }

    /// Names the bytes of the files, to tell whether they are those of another run.
    fn fingerprint(&self) -> String {
        let digest = |bytes: &[u8]| runstone_codec::hash::leaf_hash(bytes)[0..4].to_vec();
        format!(
            "{:x?} {:x?} {} bytes",
            digest(&self.log),
            digest(&self.head),
            self.log.len()
        )
    }

    /// The flip of a trial in the database: three of eight anywhere, three in rows, one where
    /// pages begin, one in the header of the file.
    fn flip_in_log(&self, trial: u64) -> (usize, u8) {
        let mut numbers = Seeded::new(trial);
        let at = match numbers.below(8) {
            0..=2 => numbers.below(self.log.len()),
            3..=5 => self.live[numbers.below(self.live.len())],
            6 => numbers.below(self.log.len() / 4096) * 4096 + numbers.below(64),
            _ => numbers.below(320),
        };
        (at, mask(&mut numbers))
    }

    fn open(&self, log: (usize, u8), head: (usize, u8)) -> Result<Log, OpenError> {
        let disk = |bytes: &Arc<Vec<u8>>, (at, mask)| {
            let flipped = Flipped {
                bytes: Arc::clone(bytes),
                at,
                mask,
                read: None,
            };
            OverlayDisk::new(Box::new(flipped)).unwrap()
        };
        self.sample
            .open_on(disk(&self.log, log), disk(&self.head, head))
    }

    /// Runs a trial; the error says what is wrong with the log, not with the flip.
    fn run(&self, log: (usize, u8), head: (usize, u8)) -> Result<Verdict, String> {
        let place = self.places.get(log.0).copied().unwrap_or(Place::Elsewhere);
        match self.open(log, head) {
            Err(error) => self.judge_refusal(&error, place),
            Ok(opened) => {
                let report = opened.verify(VerifyLevel::Commitments, &|_, _| {});
                let verdict = if report.valid {
                    self.judge_whole(&opened)
                } else {
                    self.judge_damaged(&opened, &report, place)
                };
                verdict.map_err(|why| format!("{why}; in {place:?}"))
            }
        }
    }

    /// Opening refused. In a closed log a damaged event is named; in one that is unclean the
    /// database itself finds a page with another checksum first.
    fn judge_refusal(&self, error: &OpenError, place: Place) -> Result<Verdict, String> {
        let code = error.code();
        let refused = error.kind() == ErrorKind::Corrupt || code == "newer_format";
        let named = match (place, error) {
            (Place::Event(position), OpenError::Corrupt(corruption)) => {
                corruption.position == Some(position)
            }
            (Place::Event(_), _) => self.ending == Ending::Killed,
            _ => true,
        };
        if refused && named {
            Ok(Verdict::Open(code))
        } else {
            Err(format!("refused otherwise: {code}: {error}; in {place:?}"))
        }
    }

    /// Opens over a flip, appends, closes and looks at everything again.
    fn go_on(&self, (at, mask): (usize, u8)) -> Result<Verdict, String> {
        let mut bytes = self.log.to_vec();
        bytes[at] ^= mask;
        let disk = MemoryDisk::with_bytes(bytes);
        let head = MemoryDisk::with_bytes(self.head.to_vec());
        let log = match self.sample.open_on(disk.clone(), head.clone()) {
            Ok(log) => log,
            Err(error) => return self.judge_refusal(&error, Place::Elsewhere),
        };
        if !log.verify(VerifyLevel::Headers, &|_, _| {}).valid {
            return Ok(Verdict::Verify);
        }
        for n in 0..40 {
            let event = NewEvent::new("data.more", "more").payload(n.to_string());
            if log.append_blocking(event).is_err() {
                break;
            }
        }
        // A commit that fails is no answer; what counts is what is found afterwards.
        let _ = log.close_blocking();
        drop(log);
        let log = match self.sample.open_on(disk, head) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Ok(Verdict::Spoiled(error.code()));
            }
            Err(error) => return Err(format!("refused otherwise after appends: {error}")),
        };
        let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
        if !report.valid {
            return Ok(Verdict::Spoiled("verify"));
        }
        let answers = Answers::of(&log).map_err(|error| format!("reading fails: {error}"))?;
        let held = &self.expected.events;
        if answers.events.get(..held.len()) == Some(held) {
            Ok(Verdict::Harmless)
        } else {
            Err("verified, but earlier events differ".to_owned())
        }
    }

    /// Nothing was reported: then nothing may be different.
    fn judge_whole(&self, log: &Log) -> Result<Verdict, String> {
        let answers =
            Answers::of(log).map_err(|error| format!("verified, but reading fails: {error}"))?;
        if answers == self.expected {
            return Ok(Verdict::Harmless);
        }
        let (found, expected) = (answers.size, self.expected.size);
        Err(format!(
            "verified, but answers differ; size {found}, was {expected}"
        ))
    }

    /// Something was reported; even so no event may be read with other content.
    fn judge_damaged(
        &self,
        log: &Log,
        report: &VerifyReport,
        place: Place,
    ) -> Result<Verdict, String> {
        if log.size() != self.expected.size || log.root() != self.expected.root {
            return Err(format!("opened with {} events", log.size()));
        }
        if let Place::Event(position) = place {
            let mut named = report
                .problems
                .iter()
                .filter_map(|problem| problem.position);
            if !named.any(|named| named == position) {
                return Err(format!("not named by its position: {report:?}"));
            }
        }
        for event in &self.expected.events {
            let position = event.place.0;
            if let Ok(record) = log.record(Position::new(position))
                && Event::from(record) != *event
            {
                return Err(format!("event {position} reads with other content"));
            }
        }
        Ok(Verdict::Verify)
    }
}

fn mask(numbers: &mut Seeded) -> u8 {
    let byte = numbers.next_u64().to_le_bytes();
    if byte[0].is_multiple_of(2) {
        1 << (byte[1] % 8)
    } else {
        byte[1].max(1)
    }
}

/// Time now, for the watchdog.
fn now_us(clock: &SystemClock) -> u64 {
    clock.monotonic_us()
}

/// Aborts the process if a trial hangs, and says which.
struct Watchdog {
    state: Arc<(AtomicU64, AtomicU64)>,
    clock: Arc<SystemClock>,
    note: std::fs::File,
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    fn start(name: &'static str) -> io::Result<Self> {
        let path = format!("{}/flips-{name}.trial", env!("CARGO_TARGET_TMPDIR"));
        let clock = Arc::new(SystemClock::default());
        let state = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let (watched, time) = (Arc::downgrade(&state), Arc::clone(&clock));
        let (alive, gone) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends when the trials do.
            while gone.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
                && let Some(state) = watched.upgrade()
            {
                let since = state.1.load(Ordering::SeqCst);
                if now_us(&time).saturating_sub(since) > HANG_US {
                    eprintln!("{name}: trial {} hangs", state.0.load(Ordering::SeqCst));
                    std::process::abort();
                }
                drop(state);
            }
        });
        let note = std::fs::File::create(path)?;
        Ok(Self {
            state,
            clock,
            note,
            _alive: alive,
        })
    }

    fn trial(&self, trial: u64) -> io::Result<()> {
        self.state.0.store(trial, Ordering::SeqCst);
        self.state.1.store(now_us(&self.clock), Ordering::SeqCst);
        self.note
            .write_all_at(format!("{trial:>20}\n").as_bytes(), 0)
    }
}

/// Which trials are asked for from outside: `N` for the first so many, or `FROM..TO`.
fn asked() -> Option<std::ops::Range<u64>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how much is tried is asked for from outside"
    )]
    let text = std::env::var("RUNSTONE_FLIPS").ok()?;
    match text.split_once("..") {
        Some((from, to)) => Some(from.parse().ok()?..to.parse().ok()?),
        None => Some(0..text.parse().ok()?),
    }
}

/// Runs trials and prints what became of them.
fn run_trials(
    name: &'static str,
    trials: u64,
    run: impl Fn(u64) -> Result<Verdict, String>,
) -> Outcome {
    watch_panics();
    let watchdog = Watchdog::start(name)?;
    let began = now_us(&watchdog.clock);
    let mut verdicts: BTreeMap<Verdict, u64> = BTreeMap::new();
    let mut defects = Vec::new();
    let numbers = asked().unwrap_or(0..trials);
    for trial in numbers {
        watchdog.trial(trial)?;
        let escaped = ESCAPED.load(Ordering::SeqCst);
        let defect = match catch_unwind(AssertUnwindSafe(|| run(trial))) {
            Ok(Ok(verdict)) => {
                *verdicts.entry(verdict).or_default() += 1;
                None
            }
            Ok(Err(defect)) => Some(defect),
            Err(_) => Some("panicked".to_owned()),
        };
        let contained = ESCAPED.load(Ordering::SeqCst) == escaped;
        let defect = defect.or_else(|| (!contained).then(|| "a panic got out".to_owned()));
        if let Some(defect) = defect {
            // At once, in case that a later trial ends the process.
            println!("{name}: trial {trial}: {defect}");
            defects.push(format!("trial {trial}: {defect}"));
        }
    }
    let seconds = (now_us(&watchdog.clock) - began) / 1_000_000;
    println!(
        "{name}: {verdicts:?}, {} defects, {seconds} s",
        defects.len()
    );
    defects.truncate(40);
    assert!(defects.is_empty(), "{}", defects.join("\n"));
    Ok(())
}

fn flips_in(name: &'static str, ending: Ending, trials: u64) -> Outcome {
    let bench = Bench::new(ending)?;
    println!("{name}: {}", bench.fingerprint());
    let nowhere = (usize::MAX, 0);
    run_trials(name, trials, |trial| {
        let flip = bench.flip_in_log(trial);
        if !bench.read[flip.0] && !trial.is_multiple_of(UNREAD_RUN) {
            return Ok(Verdict::Unread);
        }
        bench.run(flip, nowhere)
    })
}

/// What the database keeps of its own, such as which pages are free, is read at open and used only
/// by later commits. A log over such a flip that looks whole goes on; what it then writes over is
/// reported like any damage, and never answered otherwise.
#[test]
fn in_a_closed_log_that_goes_on() -> Outcome {
    let bench = Bench::new(Ending::Closed)?;
    let own: Vec<usize> = (0..bench.log.len())
        .filter(|at| bench.read[*at] && bench.places[*at] == Place::Elsewhere)
        .collect();
    run_trials("goes-on", 100, |trial| {
        let mut numbers = Seeded::new(trial);
        let flip = (own[numbers.below(own.len())], mask(&mut numbers));
        bench.go_on(flip)
    })
}

#[test]
fn in_a_closed_log() -> Outcome {
    flips_in("closed", Ending::Closed, 300)
}

#[test]
fn in_a_killed_log() -> Outcome {
    flips_in("killed", Ending::Killed, 500)
}

/// The database is whole here, so what it answers is what its size and root say.
#[test]
fn in_the_head_file() -> Outcome {
    let bench = Bench::new(Ending::Killed)?;
    run_trials("head", 300, |trial| {
        let mut numbers = Seeded::new(trial);
        let slot = numbers.below(2) * 4096;
        let at = slot + numbers.below(136);
        match bench.open((usize::MAX, 0), (at, mask(&mut numbers))) {
            Err(error) => bench.judge_refusal(&error, Place::Elsewhere),
            Ok(log) if log.size() != bench.expected.size => Err("another size".to_owned()),
            Ok(log) if log.root() != bench.expected.root => Err("another root".to_owned()),
            Ok(_) => Ok(Verdict::Harmless),
        }
    })
}
