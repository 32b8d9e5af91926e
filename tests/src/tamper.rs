//! Logs to be damaged, and the tools that damage them.
//!
//! [`Sample`] is a small log with everything in it: several streams and scopes, tags, control,
//! ids given and minted, flushed and unflushed index runs, tiles, fold rows and checkpoints. Its
//! randomness and clock are seeded.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use runstone_codec::{Control, Draft, Entropy, EntropyError, Header, NewEvent};
use runstone_store::keys::KeyStore;
use runstone_store::{
    Append, CreateOptions, Disk, Disks, Fold, FoldError, FoldRecord, IndexOptions, Log, LogOptions,
    ManualClock, MemoryDisk, OpenError, OpenOptions, Payload, Query, Read, ReadError, Record, Rows,
    Sealing, VerifyLevel, VerifyReport, default_keys_path, verify_file,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What a test answers: any error ends it.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// When samples begin, microseconds since the epoch.
pub const START_US: u64 = 1_700_000_000_000_000;

/// A generator of reproducible numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % end).unwrap_or(0)
    }
}

/// Randomness of a sample: the same bytes each time.
#[derive(Debug)]
struct SeededEntropy(Mutex<Seeded>);

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in out.chunks_mut(8) {
            let bytes = numbers.next_u64().to_le_bytes();
            part.copy_from_slice(bytes.get(..part.len()).unwrap_or_default());
        }
        Ok(())
    }
}

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
        let key = record.header.stream.clone().into_bytes();
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
    folder: tempfile::TempDir,
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
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy(Mutex::new(Seeded::new(7))));
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
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy(Mutex::new(Seeded::new(8))));
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
        let entropy = Arc::new(SeededEntropy(Mutex::new(Seeded::new(9))));
        Log::open_on(disks, opening(entropy), |_| self.keys())
    }
}

/// How samples are opened.
fn opening(entropy: Arc<dyn Entropy>) -> OpenOptions {
    let mut options = LogOptions::default();
    options.entropy = entropy;
    options.clock = Arc::new(ManualClock::new(START_US));
    options.cache_bytes = 4 << 20;
    let mut index = IndexOptions::default();
    index.fan_in = 3;
    options.index = index;
    let mut open = OpenOptions::default();
    open.options = options;
    open.folds = folds();
    open
}

/// A sample as files in a folder of its own.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
}

impl Sample {
    /// Writes the files of a log.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn install(&self) -> Outcome<Site> {
        use std::os::unix::fs::PermissionsExt as _;
        let site = Site {
            folder: tempfile::tempdir()?,
        };
        std::fs::write(site.path(), &self.log)?;
        std::fs::write(site.head_path(), &self.head)?;
        let (from, to) = (
            self.folder.path().join("keys"),
            default_keys_path(&site.path()),
        );
        std::fs::create_dir(&to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o700))?;
        for file in ["ring", "table"] {
            std::fs::copy(from.join(file), to.join(file))?;
        }
        Ok(site)
    }
}

impl Site {
    /// A log that somebody else will write.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn empty() -> io::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    /// Where the log is.
    pub fn path(&self) -> PathBuf {
        self.beside("log")
    }

    /// Where its head is.
    pub fn head_path(&self) -> PathBuf {
        self.beside("log.head")
    }

    /// A file in the folder of the log.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How it is opened if a test does not ask for more.
    pub fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.folds = folds();
        open
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// What `Log::open` finds wrong.
    pub fn open(&self) -> Result<Log, OpenError> {
        Log::open(&self.path(), self.opening())
    }

    /// Changes rows past the log.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn edit(&self, change: impl FnOnce(&RawRows) -> Outcome) -> Outcome {
        let rows = RawRows::open(&self.path())?;
        change(&rows)
    }

    /// Takes apart the chunk that holds an event, changes it and puts it back.
    ///
    /// # Errors
    ///
    /// If there is none, or what redb says.
    pub fn edit_chunk(
        &self,
        position: u64,
        change: impl FnOnce(&mut ChunkParts, usize),
    ) -> Outcome {
        self.edit(|rows| {
            let mut chunk = rows.chunk(position)?;
            let at = usize::try_from(position - chunk.first)?;
            let key = chunk.first.to_be_bytes();
            change(&mut chunk, at);
            rows.set(Table::Chunks, &key, Some(&chunk.encode()))
        })
    }

    /// Verifies the file at the highest level.
    ///
    /// # Errors
    ///
    /// What `verify_file` cannot report as a problem.
    pub fn verify(&self) -> Result<VerifyReport, OpenError> {
        let open = self.opening();
        verify_file(&self.path(), open, VerifyLevel::Commitments, &|_, _| {})
    }
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

/// All of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position, revision and time.
    pub place: (u64, u64, u64),
    /// Its header.
    pub header: Header,
    /// Its control.
    pub control: Control,
    /// Its payload, which must be open.
    pub payload: Option<Vec<u8>>,
}

impl From<Record> for Event {
    fn from(record: Record) -> Self {
        Self {
            place: (
                record.position.get(),
                record.revision.get(),
                record.recorded_at_us,
            ),
            payload: record.payload.bytes().map(<[u8]>::to_vec),
            header: record.header,
            control: record.control,
        }
    }
}

/// Everything that a log answers to reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Events.
    pub size: u64,
    /// Root of the tree.
    pub root: [u8; 32],
    /// Each event.
    pub events: Vec<Event>,
    /// Positions by what was asked.
    pub found: BTreeMap<String, Vec<u64>>,
    /// Rows of the fold.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answers {
    /// Asks a log everything.
    ///
    /// # Errors
    ///
    /// The first read that fails.
    pub fn of(log: &Log) -> Result<Self, ReadError> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut events = Vec::new();
        let mut streams: BTreeMap<String, u64> = BTreeMap::new();
        for record in log.read(Read::new(Query::everything()))? {
            let record = record?;
            let by_id = log.record_by_id(record.header.event_id)?;
            let ids = found.entry("id".to_owned()).or_default();
            ids.push(by_id.position.get());
            let revision = streams.entry(record.header.stream.clone()).or_default();
            let by_revision = log.record_by_revision(&record.header.stream, *revision)?;
            *revision += 1;
            let revisions = found.entry("revision".to_owned()).or_default();
            revisions.push(by_revision.position.get());
            events.push(record.into());
        }
        let mut queries = vec![
            Query::of_type("tool.*"),
            Query::of_type("chat.message"),
            Query::of_type("llm.call.completed"),
            Query::of_type("log.genesis"),
            Query::tag("kind:first"),
            Query::tag("n:3"),
            Query::tag("imported:sample"),
            Query::tag("never:there"),
        ];
        queries.extend(streams.keys().map(Query::stream));
        for query in queries {
            let name = format!("{query:?}");
            let read = Read::new(query.clone()).without_payloads();
            let mut positions = log
                .read(read)?
                .map(|record| record.map(|record| record.position.get()))
                .collect::<Result<Vec<_>, _>>()?;
            positions.push(log.count(&query)?);
            found.insert(name, positions);
        }
        Ok(Self {
            size: log.size(),
            root: log.root(),
            events,
            found,
            rows: log.fold_rows("tally", b"", b"", usize::MAX)?,
        })
    }
}

/// The tables of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Entries, envelopes and heads.
    Chunks,
    /// The Merkle tree.
    Tiles,
    /// Signed checkpoints.
    Checkpoints,
    /// Postings.
    Index,
    /// Rows of folds.
    Folds,
    /// Format and how far things are.
    Meta,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Chunks,
        Self::Tiles,
        Self::Checkpoints,
        Self::Index,
        Self::Folds,
        Self::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Tiles => "tiles",
            Self::Checkpoints => "checkpoints",
            Self::Index => "index",
            Self::Folds => "folds",
            Self::Meta => "meta",
        }
    }

    fn is_numbered(self) -> bool {
        matches!(self, Self::Chunks | Self::Tiles | Self::Checkpoints)
    }
}

type Numbered<'a> = TableDefinition<'a, u64, &'static [u8]>;
type Keyed<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Key and value of a row; a number is its key in eight bytes, big-endian.
pub type Row = (Vec<u8>, Vec<u8>);

/// The database of a log, past the log: what an intruder has.
#[derive(Debug)]
pub struct RawRows(Database);

impl RawRows {
    /// Opens the file of a closed log.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn open(path: &Path) -> Outcome<Self> {
        Ok(Self(Database::open(path)?))
    }

    /// Every row of a table.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn all(&self, table: Table) -> Outcome<Vec<Row>> {
        let transaction = self.0.begin_read()?;
        let mut rows = Vec::new();
        if table.is_numbered() {
            for row in transaction
                .open_table(Numbered::new(table.name()))?
                .iter()?
            {
                let (key, value) = row?;
                rows.push((key.value().to_be_bytes().to_vec(), value.value().to_vec()));
            }
        } else {
            for row in transaction.open_table(Keyed::new(table.name()))?.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_vec(), value.value().to_vec()));
            }
        }
        Ok(rows)
    }

    /// The chunk that holds an event.
    ///
    /// # Errors
    ///
    /// If there is none, or what redb says.
    pub fn chunk(&self, position: u64) -> Outcome<ChunkParts> {
        for (_, value) in self.all(Table::Chunks)?.into_iter().rev() {
            let chunk = ChunkParts::parse(&value)?;
            if chunk.first <= position {
                return Ok(chunk);
            }
        }
        Err("no chunk holds it".into())
    }

    /// Makes a table that no log has.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn make_table(&self, name: &str) -> Outcome {
        let transaction = self.0.begin_write()?;
        drop(transaction.open_table(Numbered::new(name))?);
        transaction.commit()?;
        Ok(())
    }

    /// Writes a row, or removes it.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn set(&self, table: Table, key: &[u8], value: Option<&[u8]>) -> Outcome {
        let transaction = self.0.begin_write()?;
        if table.is_numbered() {
            let key = u64::from_be_bytes(key.try_into()?);
            let mut rows = transaction.open_table(Numbered::new(table.name()))?;
            match value {
                Some(value) => drop(rows.insert(key, value)?),
                None => drop(rows.remove(key)?),
            }
        } else {
            let mut rows = transaction.open_table(Keyed::new(table.name()))?;
            match value {
                Some(value) => drop(rows.insert(key, value)?),
                None => drop(rows.remove(key)?),
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// A chunk taken apart (docs/FORMAT.md, "Chunks"), so that it can be put together otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkParts {
    /// Position of its first event.
    pub first: u64,
    /// The head after it, maybe empty.
    pub head: Vec<u8>,
    /// Entries and envelopes.
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Bytes before the head.
const CHUNK_FIXED: usize = 20;

impl ChunkParts {
    /// Takes a chunk apart.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        let cut = |from: usize, to: usize| bytes.get(from..to).ok_or("a chunk ends too early");
        let number = |at: usize| -> Outcome<usize> {
            let four: [u8; 4] = cut(at, at + 4)?.try_into()?;
            Ok(usize::try_from(u32::from_be_bytes(four))?)
        };
        let (count, head_len) = (number(12)?, number(16)?);
        let offsets = CHUNK_FIXED + head_len;
        let body = offsets + count * 8;
        let mut events = Vec::with_capacity(count);
        let mut start = body;
        for event in 0..count {
            let entry_end = body + number(offsets + event * 8)?;
            let envelope_end = body + number(offsets + event * 8 + 4)?;
            let entry = cut(start, entry_end)?.to_vec();
            events.push((entry, cut(entry_end, envelope_end)?.to_vec()));
            start = envelope_end;
        }
        Ok(Self {
            first: u64::from_be_bytes(cut(4, 12)?.try_into()?),
            head: cut(CHUNK_FIXED, offsets)?.to_vec(),
            events,
        })
    }

    /// Puts it together.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"RC01".to_vec();
        out.extend_from_slice(&self.first.to_be_bytes());
        for len in [self.events.len(), self.head.len()] {
            out.extend_from_slice(&number_of(len));
        }
        out.extend_from_slice(&self.head);
        let mut end = 0;
        for (entry, envelope) in &self.events {
            for part in [entry, envelope] {
                end += part.len();
                out.extend_from_slice(&number_of(end));
            }
        }
        for (entry, envelope) in &self.events {
            out.extend_from_slice(entry);
            out.extend_from_slice(envelope);
        }
        out
    }
}

fn number_of(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}
