//! A small log with everything in it: several streams and scopes, tags, control, ids given and
//! minted, index runs, tiles, fold rows and checkpoints. Its randomness and clock are seeded, so
//! that its files are the same bytes each time.

use super::Outcome;
use super::seeded::SeededEntropy;
use runstone_codec::{Control, Draft, Entropy, NewEvent};
use runstone_store::keys::KeyStore;
use runstone_store::{
    Append, CreateOptions, Disk, Disks, Fold, FoldError, FoldRecord, IndexOptions, Log, LogOptions,
    ManualClock, MemoryDisk, OpenError, OpenOptions, Payload, Rows, Sealing,
};
use std::sync::Arc;
use uuid::Uuid;

/// When samples begin, microseconds since the epoch.
pub const START_US: u64 = 1_700_000_000_000_000;

/// Counts events and payload bytes by stream, and keeps the last control of each: its rows depend
/// on header, control and content.
#[derive(Debug)]
pub struct Tally;

impl Fold for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let key = record.header.stream.to_string().into_bytes();
        let row = rows.get(&key)?.unwrap_or_default();
        let count = row.first_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
        let bytes = match record.payload() {
            Payload::Open(bytes) => bytes.len() as u64,
            Payload::Undecodable(why) => return Err(FoldError::Undecodable(why)),
            _ => 0,
        };
        let mut row = (count + 1).to_be_bytes().to_vec();
        row.extend_from_slice(&bytes.to_be_bytes());
        row.extend_from_slice(&record.control.get_u64(2).unwrap_or_default().to_be_bytes());
        rows.put(&key, row);
        rows.put(&record.position.get().to_be_bytes(), vec![1]);
        Ok(())
    }
}

/// How a sample ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Closed: everything is flushed and signed.
    Closed,
    /// The process died with a tail in no index run, tile or fold row.
    Killed,
}

/// A small log as bytes, with its keys in a folder.
#[derive(Debug)]
pub struct Sample {
    /// The database.
    pub log: Vec<u8>,
    /// `LOG.head`.
    pub head: Vec<u8>,
    pub(super) folder: tempfile::TempDir,
    sealing: Sealing,
}

impl Sample {
    /// Makes one. Between its sessions it is closed, so that several runs, checkpoints and merged
    /// chunks are there whatever the threads of the log do meanwhile.
    ///
    /// # Errors
    ///
    /// If the folder of the keys cannot be written.
    pub fn new(sealing: Sealing, ending: Ending) -> Outcome<Self> {
        Self::made(sealing, ending, None)
    }

    /// One that is closed and differs only in that its event 20 has a tag less.
    ///
    /// # Errors
    ///
    /// As for [`Sample::new`].
    pub fn without_a_tag() -> Outcome<Self> {
        Self::made(Sealing::Required, Ending::Closed, Some(20))
    }

    fn made(sealing: Sealing, ending: Ending, untagged: Option<u32>) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(7);
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let keys = KeyStore::create(
            &folder.path().join("keys"),
            runstone_codec::LogId::new([7; 16]),
            "runstone.local/sample",
            sealing,
            create.provider.clone(),
            Arc::clone(&entropy),
            START_US,
        )?;
        let (log_disk, head_disk) = (MemoryDisk::new(), MemoryDisk::new());
        let mut sample = Self {
            log: Vec::new(),
            head: Vec::new(),
            folder,
            sealing,
        };
        let disks = Disks::new(Arc::new(log_disk.clone()), Arc::new(head_disk.clone()));
        let mut log = Log::create_on(disks, keys, &create, opening(Arc::clone(&entropy)))?;
        for session in 0..SESSIONS {
            write_session(&log, session, untagged)?;
            if session + 1 < SESSIONS {
                log.close_blocking()?;
                let disks = Disks::new(Arc::new(log_disk.clone()), Arc::new(head_disk.clone()));
                log = Log::open_on(disks, opening(Arc::clone(&entropy)), |_| sample.keys())?;
            }
        }
        if ending == Ending::Closed {
            log.close_blocking()?;
        }
        sample.log = log_disk.to_vec();
        sample.head = head_disk.to_vec();
        Ok(sample)
    }

    /// Its keys, read from their folder.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn keys(&self) -> Result<KeyStore, OpenError> {
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(8);
        let folder = self.folder.path().join("keys");
        let sources = OpenOptions::default().sources;
        Ok(KeyStore::open(&folder, self.sealing, &sources, entropy)?)
    }

    /// Opens it, or a damaged copy of it, on disks.
    ///
    /// # Errors
    ///
    /// What `Log::open_on` finds wrong.
    pub fn open_on(&self, log: impl Disk, head: impl Disk) -> Result<Log, OpenError> {
        let disks = Disks::new(Arc::new(log), Arc::new(head));
        let entropy = SeededEntropy::new(9);
        Log::open_on(disks, opening(entropy), |_| self.keys())
    }
}

/// How samples are opened.
fn opening(entropy: Arc<dyn Entropy>) -> OpenOptions {
    let mut options = LogOptions::default();
    options.entropy = entropy;
    options.clock = Arc::new(ManualClock::new(START_US));
    options.cache_bytes = 4 << 20;
    // Maintenance only when it is closed: no row of the index is of a run that was merged away.
    options.maintenance_commits = 100_000;
    let mut index = IndexOptions::default();
    index.fan_in = 3;
    options.index = index;
    let mut open = OpenOptions::default();
    open.options = options;
    open.folds = folds();
    open
}

/// The folds of a sample.
pub fn folds() -> Vec<Arc<dyn Fold>> {
    vec![Arc::new(Tally)]
}

/// How often a sample is opened and written to.
const SESSIONS: u32 = 5;

fn write_session(log: &Log, session: u32, untagged: Option<u32>) -> Outcome {
    for n in session * 12..session * 12 + 12 {
        let stream = format!("run-{}", n % 5);
        let scope = if n % 5 == 3 { "ann" } else { "default" };
        let short = "x".repeat(n as usize % 90);
        let call = NewEvent::new("tool.call.requested", stream.clone())
            .scope(scope)
            .id(Uuid::from_u128(1000 + u128::from(n)))
            .tag(format!("n:{}", n % 7))
            .tags((untagged != Some(n)).then_some("kind:first"))
            .payload(format!("{{\"n\":{n},\"text\":\"{short}\"}}"));
        let words = "words ".repeat(60);
        let message = NewEvent::new("chat.message", stream)
            .scope(scope)
            .causation(Uuid::from_u128(1000 + u128::from(n)))
            .tag(format!("m:{n}"))
            .payload(format!("{{\"role\":\"user\",\"text\":\"{words}\"}}"));
        log.append_blocking(Append::new([call, message]))?;
    }
    let records = (session * 10..session * 10 + 10)
        .map(|n| {
            let event = NewEvent::new("llm.call.completed", "imported")
                .id(Uuid::from_u128(5000 + u128::from(n)))
                .tag("imported:sample")
                .payload(format!("{{\"call\":{n}}}"));
            let control = Control::new()
                .u64(2, u64::from(n) * 3)
                .text(6, "done")
                .bytes(1, vec![7; 16]);
            vec![Draft::new(event).control(control)]
        })
        .collect();
    for imported in log.import_blocking(records) {
        imported?;
    }
    let last = NewEvent::new("data.session", "sessions").payload(format!("{{\"n\":{session}}}"));
    log.append_blocking(last)?;
    Ok(())
}
