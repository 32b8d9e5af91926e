//! The whole log on a simulated machine: random work, faults and crashes from one seed, compared
//! with a plain model.
//!
//! ```text
//!  seed -> work     what clients ask, in groups            model    what they were told, and whether
//!       -> machine  crashes, torn and lost writes, errors           what is read agrees with it
//! ```
//!
//! A later part of the project adds what its clients ask in `work`, and what must hold in `model`.

mod authority;
mod calls;
mod copies;
mod course;
mod drive;
mod evidence;
mod followers;
mod helpers;
mod machine;
mod meanwhile;
mod model;
mod office;
mod replicas;
mod runs;
mod see;
mod shelf;
mod sinks;
mod staff;
mod tasks;
mod trays;
pub(crate) mod wire;
mod work;

pub use machine::{Crash, Fault, Machine};

use crate::tamper::{Outcome, Seeded, SeededEntropy, folds};
use model::{Model, Since};
use replicas::Replica;
use runstone_codec::{Entropy, LogId};
use runstone_store::keys::KeyStore;
use runstone_store::{
    CreateOptions, Disks, EpochStart, ErrorKind, Log, LogOptions, ManualClock, OpenError,
    OpenOptions, Query, Read, Sealing, VerifyLevel,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

/// When simulated time begins, microseconds since the epoch.
const START_US: u64 = 1_750_000_000_000_000;
/// Most crashes of one recovery.
const RECOVERY_CRASHES: usize = 3;

/// What one seed did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were answered or not.
    pub requests: u64,
    /// Ends of the process that were no close.
    pub crashes: u64,
    /// Crashes while opening.
    pub recovery_crashes: u64,
    /// Errors of the disk that struck.
    pub faults: u64,
    /// Logs that a lie or flipped bits made refuse, and that said so.
    pub detected: u64,
    /// Erasures that were completed at once.
    pub erasures: u64,
    /// Epochs that were started.
    pub epochs: u64,
    /// Replicas that were read.
    pub replicas_read: u64,
    /// Replicas that took the place of a lost log.
    pub successions: u64,
    /// Calls of the tool that happens once.
    pub calls: u64,
    /// Requests that a wire lost, and whether they were done nobody was told.
    pub cut: u64,
    /// Events at the end.
    pub events: u64,
    /// Tasks that were taken from trays.
    pub taken: u64,
    /// How often somebody was told that a tray is drained.
    pub drained: u64,
    /// Most dead letters that were seen at once.
    pub dead: u64,
    /// How helpers at work ended, by word.
    pub ended: BTreeMap<&'static str, u64>,
    /// Why helpers are gone, by word.
    pub retired: BTreeMap<&'static str, u64>,
    /// Events that the copies of the log have at the end.
    pub copied: u64,
    /// Those of them that came marked as duplicates.
    pub copied_again: u64,
    /// Events that somebody who follows was given.
    pub followed: u64,
    /// How often agents and people were refused something, by code.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Runs one seed; a trace of it goes to standard error.
///
/// # Errors
///
/// Whatever fails that no fault explains.
///
/// # Panics
///
/// If the log breaks a promise.
pub fn run(seed: u64, trace: bool) -> Outcome<Tally> {
    play(Simulation::new(seed, Seeded::new(seed))?, trace)
}

/// As [`run`], with what is chosen taken from `choices`, and from a generator when they end.
///
/// # Errors
///
/// Whatever fails that no fault explains.
///
/// # Panics
///
/// If the log breaks a promise.
pub fn run_guided(choices: &[u8], trace: bool) -> Outcome<Tally> {
    play(
        Simulation::new(0, Seeded::guided(0, choices.to_vec()))?,
        trace,
    )
}

fn play(mut simulation: Simulation, trace: bool) -> Outcome<Tally> {
    simulation.trace = trace;
    let lives = 2 + simulation.numbers.below(4);
    simulation.agents.at_trays = simulation.numbers.below(4) == 1;
    for _ in 0..lives {
        simulation.live()?;
    }
    simulation.end()
}

/// One log and its clients.
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
#[derive(Debug)]
struct Simulation {
    numbers: Seeded,
    machine: Machine,
    clock: Arc<ManualClock>,
    folder: TempDir,
    /// Sizes of everything that is flushed and merged, small enough to happen.
    maintenance_commits: u64,
    freeze_events: u64,
    fan_in: usize,
    entropy_seed: u64,
    /// `None` while the process is down.
    log: Option<Log>,
    model: Model,
    tally: Tally,
    /// The process was ended since the log was compared last.
    crashed: bool,
    /// A commit failed since then.
    failed: bool,
    /// The disk has little room.
    is_full: bool,
    /// A sync is to be acknowledged and not done.
    lying: bool,
    /// Backups that are kept.
    replicas: Vec<Replica>,
    /// What is known of calls and runs.
    agents: calls::Agents,
    /// What is known of its sinks.
    copies: sinks::Copies,
    /// Who follows it.
    follower: followers::Follower,
    /// What has the log's name is a replica, and is to begin an epoch so.
    successor: Option<EpochStart>,
    /// How many events it has.
    successor_size: u64,
    /// What is asked now is asked from afar.
    is_afar: bool,
    /// Says what happens.
    trace: bool,
}

impl Simulation {
    fn new(seed: u64, mut numbers: Seeded) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let sealing = [Sealing::Required, Sealing::Required, Sealing::Plain][numbers.below(3)];
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        create.fields = numbers.below(4) == 0;
        let keys = KeyStore::create(
            &folder.path().join("keys"),
            LogId::new(u128::from(seed).to_be_bytes()),
            "runstone.local/simulated",
            sealing,
            create.provider.clone(),
            SeededEntropy::new(numbers.next_u64()),
            START_US,
        )?;
        let mut simulation = Self {
            machine: Machine::new(numbers.next_u64()),
            clock: Arc::new(ManualClock::new(START_US)),
            folder,
            maintenance_commits: [1, 2, 3, 20, 200][numbers.below(5)],
            freeze_events: 3 + numbers.below(30) as u64,
            fan_in: 2 + numbers.below(3),
            entropy_seed: numbers.next_u64(),
            log: None,
            model: Model::default(),
            tally: Tally::default(),
            crashed: false,
            failed: false,
            is_full: false,
            lying: false,
            replicas: Vec::new(),
            agents: calls::Agents::default(),
            copies: sinks::Copies::new()?,
            follower: followers::Follower::new(seed),
            successor: None,
            successor_size: 0,
            is_afar: false,
            trace: false,
            numbers,
        };
        let log = Log::create_on(simulation.disks(), keys, &create, simulation.opening())?;
        tasks::settings().record(&log)?;
        simulation.log = Some(log);
        Ok(simulation)
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", what());
        }
    }

    fn disks(&self) -> Disks {
        let (log, head, place) = self.machine.disks();
        Disks::new(log, head).at(place)
    }

    fn opening(&mut self) -> OpenOptions {
        self.entropy_seed = self.entropy_seed.wrapping_add(1);
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(self.entropy_seed);
        let mut options = LogOptions::default();
        options.entropy = entropy;
        options.clock = Arc::<ManualClock>::clone(&self.clock);
        options.background = false;
        options.cache_bytes = 4 << 20;
        options.maintenance_commits = self.maintenance_commits;
        options.index.freeze_events = self.freeze_events;
        options.index.fan_in = self.fan_in;
        options.disk_margin_bytes = 0;
        let mut open = OpenOptions::default();
        open.options = options;
        open.folds = folds();
        open.folds.extend(runstone::standard_folds());
        open
    }

    fn keys(&self, sealing: Sealing) -> Result<KeyStore, OpenError> {
        let entropy = SeededEntropy::new(self.entropy_seed ^ 1);
        let folder = self.folder.path().join("keys");
        let sources = OpenOptions::default().sources;
        Ok(KeyStore::open(&folder, sealing, &sources, entropy)?)
    }

    fn try_open(&mut self) -> Result<Log, OpenError> {
        self.open_or_succeed()
    }

    /// One life of the process: faults are planned, clients work, it ends.
    fn live(&mut self) -> Outcome {
        if self.numbers.below(10) < 6 {
            let after = 1 + self.numbers.below(300) as u64;
            let crash = self.any_crash();
            self.machine.crash_after(after, crash);
        }
        if self.numbers.below(10) < 4 {
            let fault =
                [Fault::Write, Fault::Sync, Fault::Sync, Fault::Read][self.numbers.below(4)];
            let after = self.numbers.below(20) as u64;
            self.machine.fail_after(fault, after);
        }
        let struck = self.machine.struck();
        for _ in 0..2 + self.numbers.below(10) {
            self.work()?;
            if self.machine.is_down() || self.log().health().is_err() {
                break;
            }
            self.follow();
            if self.failed {
                // The log has left out a failed commit and goes on with the positions after.
                self.machine.calm();
                let log = self.log().clone();
                self.model.compare(&log, Since::Failure)?;
                self.failed = false;
            }
        }
        self.tally.faults += self.machine.struck() - struck;
        if self.machine.is_down() || self.numbers.below(2) == 0 {
            self.crash();
        } else {
            let closed = self.log().close_blocking();
            assert!(closed.is_ok() || self.is_excused(), "{closed:?}");
            if closed.is_err() {
                self.crash();
            }
        }
        self.log = None;
        self.recover()?;
        self.check()
    }

    fn any_crash(&mut self) -> Crash {
        [Crash::Killed, Crash::PowerLost][self.numbers.below(2)]
    }

    fn crash(&mut self) {
        let crash = self.any_crash();
        let crash = self.machine.crash().unwrap_or(crash);
        self.log = None;
        self.say(|| format!("{crash:?}"));
        self.machine.restart(crash);
        self.crashed = true;
        self.tally.crashes += 1;
    }

    /// Opens the log, which may crash again and again meanwhile.
    fn recover(&mut self) -> Outcome {
        self.machine.calm();
        self.is_full = false;
        for _ in 0..RECOVERY_CRASHES {
            if self.numbers.below(10) < 3 {
                let after = 1 + self.numbers.below(60) as u64;
                let crash = self.any_crash();
                self.machine.crash_after(after, crash);
            }
            let opened = self.try_open();
            self.say(|| format!("opened: {:?}", opened.as_ref().map(Log::size)));
            if !self.machine.is_down() {
                self.log = Some(opened?);
                self.machine.calm();
                return Ok(());
            }
            drop(opened);
            self.tally.recovery_crashes += 1;
            self.crash();
        }
        self.log = Some(self.try_open()?);
        Ok(())
    }

    fn since(&self) -> Since {
        if self.crashed {
            Since::Crash
        } else {
            Since::Close
        }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("the process is up")
    }

    /// What must hold whenever the log is open and the disk works.
    fn check(&mut self) -> Outcome {
        let log = self.log.clone().expect("the process is up");
        self.model.compare(&log, self.since())?;
        self.finish_erasures();
        self.check_proofs(&log)?;
        (self.crashed, self.failed) = (false, false);
        let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
        assert!(report.valid, "{report:?}");
        for fold in log.check_folds(None, &|_, _| {})? {
            assert!(fold.is_equal(), "{fold:?}");
        }
        self.see_agents();
        self.check_copies(&log);
        let size = log.size();
        for (released, _) in &self.model.released {
            assert!(
                *released <= size,
                "a checkpoint of {released} was released, of {size} events"
            );
        }
        Ok(())
    }

    /// Checks what was released against the entries themselves, and then what a disk that lies or
    /// loses bits does.
    fn end(mut self) -> Outcome<Tally> {
        self.drain_sinks()?;
        self.log().close_blocking()?;
        self.log = None;
        let entries = self.entries()?;
        let mut tree = runstone_receipt::tree::Frontier::new();
        let mut roots = vec![tree.root()];
        for entry in &entries {
            tree.push(runstone_receipt::leaf_hash(entry));
            roots.push(tree.root());
        }
        for (size, root) in &self.model.released {
            let index = usize::try_from(*size)?;
            assert_eq!(roots.get(index), Some(root), "the checkpoint of {size}");
        }
        self.tally.events = entries.len() as u64;
        self.tally.followed = self.follower.given;
        match self.numbers.below(3) {
            0 => self.lie()?,
            1 => self.flip()?,
            _ => {}
        }
        Ok(self.tally)
    }

    /// A sync is acknowledged and not done, and then the power goes.
    fn lie(&mut self) -> Outcome {
        self.log = Some(self.try_open()?);
        self.lying = true;
        let after = self.numbers.below(4) as u64;
        self.machine.fail_after(Fault::Lie, after);
        let struck = self.machine.struck();
        for _ in 0..1 + self.numbers.below(3) {
            self.work()?;
            if self.machine.struck() > struck {
                break;
            }
        }
        self.log = None;
        self.crashed = true;
        self.machine.restart_after_lie();
        self.detected_or_whole()
    }

    /// Bits flip at rest.
    fn flip(&mut self) -> Outcome {
        let bits = 1 + self.numbers.below(3);
        self.machine.flip(bits);
        self.detected_or_whole()
    }

    fn detected_or_whole(&mut self) -> Outcome {
        match self.try_open() {
            Err(error) => {
                // Bits can make the number of the format a higher one.
                let is_newer = matches!(error, OpenError::NewerFormat { .. });
                assert!(is_newer || error.kind() == ErrorKind::Corrupt, "{error}");
                self.tally.detected += 1;
            }
            Ok(log) => {
                let is_whole = log.verify(VerifyLevel::Commitments, &|_, _| {}).valid;
                if is_whole {
                    self.model.compare(&log, self.since())?;
                } else {
                    self.tally.detected += 1;
                    // Each event reads as it was, or not at all.
                    for record in log.read(Read::new(Query::everything()))? {
                        match record {
                            Ok(record) => self.model.knows(&record),
                            // Where a request of an erasure is damaged, nobody knows why a key is gone.
                            Err(error) => {
                                let kinds = [ErrorKind::Corrupt, ErrorKind::Keys];
                                assert!(kinds.contains(&error.kind()), "{error}");
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The entries of a closed log, past the log.
    fn entries(&self) -> Outcome<Vec<Vec<u8>>> {
        let path = self.folder.path().join("closed");
        std::fs::write(&path, self.machine.bytes())?;
        let rows = crate::tamper::RawRows::open(&path)?;
        let mut entries = Vec::new();
        for (_, value) in rows.all(crate::tamper::Table::Chunks)? {
            let chunk = crate::tamper::ChunkParts::parse(&value)?;
            entries.extend(chunk.events.into_iter().map(|(entry, _)| entry));
        }
        Ok(entries)
    }
}
