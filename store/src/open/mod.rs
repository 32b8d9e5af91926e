//! Creating and opening a log.

mod blame;
mod load;

pub(crate) use load::{last_head, load};

use crate::chunk::{Chunk, Head};
use crate::clock::Timekeeper;
use crate::copies::CheckpointCopies;
use crate::engine::{
    Change, Db, Disk, FileDisk, HeldDisk, LogPaths, MemoryDisk, NumberTable, OverlayDisk, RowTable,
    Snapshot, sync_folder,
};
use crate::error::{Corruption, OpenError, StorageError};
use crate::fold::{Fold, FoldHost, RowSeal};
use crate::headfile::HeadFile;
use crate::identity::Identity;
use crate::index::{Index, TermBuffer};
use crate::keys::{KeyStore, ProviderConfig, ProviderSources};
use crate::log::{Loaded, Log};
use crate::options::{LogOptions, Sealing};
use crate::prepare::{Actor, LOG_STREAM, Owner};
use crate::read::{Published, parse_entry};
use crate::signing::Signing;
use crate::tree::{Tree, TreeError};
use crate::write::{Maintenance, ScopeCache, Work, Writer};
use runstone_codec::{Draft, Entry, LogId, NewEvent, envelope_digest, seal};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Format of the database tables. A log of another format is refused.
pub(crate) const FORMAT: &str = "runstone/1";
pub(crate) const FORMAT_ROW: &[u8] = b"format";
pub(crate) const REPLICA_ROW: &[u8] = b"replica";
/// How a file of the database begins.
const REDB_MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// How a log is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Name of the log in its checkpoints: at most 255 bytes, no space, no `+`. Default
    /// `runstone.local/` and the log id.
    pub origin: Option<String>,
    /// Whether payloads are encrypted.
    pub sealing: Sealing,
    /// Commit to every member of a payload, so that single fields can be disclosed.
    pub fields: bool,
    /// Who holds the key-encryption key.
    pub provider: ProviderConfig,
    /// Where the keys lie; default the log's path with `.keys` appended.
    pub keys: Option<PathBuf>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            origin: None,
            sealing: Sealing::Required,
            fields: false,
            provider: ProviderConfig::File,
            keys: None,
        }
    }
}

/// How a log is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Storage and limits.
    pub options: LogOptions,
    /// Folds that live with the writer.
    pub folds: Vec<Arc<dyn Fold>>,
    /// Where the keys lie; default the log's path with `.keys` appended.
    pub keys: Option<PathBuf>,
    /// What key providers need that must not be read here.
    pub sources: ProviderSources,
    /// Never write to the files: repair and replay happen in memory.
    pub read_only: bool,
    /// Told how far a repair is, from 0 to 1.
    pub progress: Arc<dyn Fn(f64) + Send + Sync>,
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OpenOptions")
            .field("options", &self.options)
            .field("folds", &self.folds)
            .field("keys", &self.keys)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            options: LogOptions::default(),
            folds: Vec::new(),
            keys: None,
            sources: ProviderSources::default(),
            read_only: false,
            progress: Arc::new(|_| {}),
        }
    }
}

/// Content of `log.genesis`, the event at position 0.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Genesis {
    pub(crate) log_id: LogId,
    pub(crate) origin: String,
    pub(crate) vkey: String,
    pub(crate) format: String,
    pub(crate) sealing: String,
    #[serde(default)]
    pub(crate) fields: bool,
}

/// The key folder of a log.
pub fn default_keys_path(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".keys");
    path.into()
}

/// The two disks of a log: its database and its head.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disks {
    /// The database.
    pub log: Arc<dyn Disk>,
    /// `LOG.head`.
    pub head: Arc<dyn Disk>,
}

impl Disks {
    /// Two disks.
    pub fn new(log: Arc<dyn Disk>, head: Arc<dyn Disk>) -> Self {
        Self { log, head }
    }

    /// Two empty disks in memory.
    pub fn memory() -> Self {
        Self::new(Arc::new(MemoryDisk::new()), Arc::new(MemoryDisk::new()))
    }
}

impl Log {
    /// Makes a log with its keys and opens it. The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`OpenError::AlreadyExists`] leaves what is there untouched.
    pub fn create(
        path: &Path,
        create: &CreateOptions,
        open: OpenOptions,
    ) -> Result<Self, OpenError> {
        let paths = LogPaths::new(path);
        let keys_path = create
            .keys
            .clone()
            .or_else(|| open.keys.clone())
            .unwrap_or_else(|| default_keys_path(path));
        for taken in [&paths.log, &paths.head] {
            if taken.exists() {
                return Err(OpenError::AlreadyExists {
                    path: taken.clone(),
                });
            }
        }
        let log_id = new_log_id(&open.options)?;
        let origin = origin_of(create, &log_id);
        let keys = KeyStore::create(
            &keys_path,
            log_id,
            &origin,
            create.sealing,
            create.provider.clone(),
            Arc::clone(&open.options.entropy),
            open.options.clock.wall_us(),
        )?;
        let io_error = |at: &Path, error: &io::Error| StorageError::io(at, error);
        let mut unfinished = paths.log.clone().into_os_string();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        if unfinished.exists() {
            std::fs::remove_file(&unfinished).map_err(|error| io_error(&unfinished, &error))?;
        }
        let disk =
            FileDisk::create_new(&unfinished).map_err(|error| io_error(&unfinished, &error))?;
        let locked = disk
            .try_lock(true)
            .map_err(|error| io_error(&unfinished, &error))?;
        if !locked {
            return Err(OpenError::Busy { path: unfinished });
        }
        let head =
            FileDisk::create_new(&paths.head).map_err(|error| io_error(&paths.head, &error))?;
        let disks = Disks::new(Arc::new(disk), Arc::new(head));
        let log = Self::create_on(disks, keys, create, open)?;
        std::fs::rename(&unfinished, &paths.log).map_err(|error| io_error(&paths.log, &error))?;
        sync_folder(&paths.log).map_err(|error| io_error(&paths.log, &error))?;
        Ok(log)
    }

    /// A log in memory with throw-away keys: the same engine on a disk that is gone with it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the operating system gives no randomness.
    pub fn memory(create: &CreateOptions, open: OpenOptions) -> Result<Self, OpenError> {
        let log_id = new_log_id(&open.options)?;
        let keys = KeyStore::memory(
            log_id,
            &origin_of(create, &log_id),
            create.sealing,
            Arc::clone(&open.options.entropy),
            open.options.clock.wall_us(),
        )?;
        Self::create_on(Disks::memory(), keys, create, open)
    }

    /// Makes a log on given disks with given keys.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the disks fail.
    pub fn create_on(
        disks: Disks,
        keys: KeyStore,
        create: &CreateOptions,
        open: OpenOptions,
    ) -> Result<Self, OpenError> {
        let db = Db::open(
            Arc::clone(&disks.log),
            open.options.cache_bytes,
            &open.progress,
        )?;
        db.create_tables(&[Change::PutRow(
            RowTable::Meta,
            FORMAT_ROW.to_vec(),
            FORMAT.as_bytes().to_vec(),
        )])?;
        let genesis = Genesis {
            log_id: *keys.log_id(),
            origin: keys.origin(),
            vkey: keys.signer().vkey().to_string(),
            format: FORMAT.to_owned(),
            sealing: match create.sealing {
                Sealing::Required => "required".to_owned(),
                Sealing::Plain => "plain".to_owned(),
            },
            fields: create.fields,
        };
        let identity = Arc::new(identity(&genesis, keys, open.options, None));
        let signing = start_signing(&identity)?;
        let loaded = empty(
            Arc::clone(&identity),
            &open.folds,
            db,
            &disks.head,
            &signing,
        )?;
        let log = Self::start(identity, open.folds, disks, signing, loaded)?;
        let event = NewEvent::new("log.genesis", LOG_STREAM)
            .source("runstone")
            .json(&genesis)
            .map_err(|error| Corruption::table("chunks", "a genesis", error.to_string()))?;
        let events = log
            .prepare_as(vec![Draft::new(event)], &Actor::keyring(), Owner::Log)
            .map_err(|error| failed(&error))?;
        log.submit_work(Work::Append, events)
            .map_err(|error| failed(&error))?;
        Ok(log)
    }

    /// Opens a log and brings it to where it was.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what was found and what to do; a refused file is left as it is.
    pub fn open(path: &Path, open: OpenOptions) -> Result<Self, OpenError> {
        let paths = LogPaths::new(path);
        if !paths.log.exists() {
            return Err(OpenError::NotFound {
                path: paths.log.clone(),
            });
        }
        let io_error = |at: &Path, error: &io::Error| StorageError::io(at, error);
        let disk = FileDisk::open(&paths.log, !open.read_only)
            .map_err(|error| io_error(&paths.log, &error))?;
        check_magic(&disk, &paths.log)?;
        let locked = disk
            .try_lock(!open.read_only)
            .map_err(|error| io_error(&paths.log, &error))?;
        if !locked {
            return Err(OpenError::Busy {
                path: paths.log.clone(),
            });
        }
        let keys_path = open.keys.clone().unwrap_or_else(|| default_keys_path(path));
        let head: Box<dyn Disk> = if paths.head.exists() {
            let disk = FileDisk::open(&paths.head, !open.read_only)
                .map_err(|error| io_error(&paths.head, &error))?;
            Box::new(disk)
        } else if open.read_only {
            Box::new(MemoryDisk::new())
        } else {
            let disk =
                FileDisk::create_new(&paths.head).map_err(|error| io_error(&paths.head, &error))?;
            Box::new(disk)
        };
        let disks = if open.read_only {
            let overlay = |base: Box<dyn Disk>| -> Result<Arc<dyn Disk>, OpenError> {
                let disk = OverlayDisk::new(base).map_err(|error| io_error(&paths.log, &error))?;
                Ok(Arc::new(disk))
            };
            Disks::new(overlay(Box::new(disk))?, overlay(head)?)
        } else {
            Disks::new(Arc::new(disk), Arc::from(head))
        };
        let entropy = Arc::clone(&open.options.entropy);
        let sources = open.sources.clone();
        Self::open_on(disks, open, |sealing| {
            KeyStore::open(&keys_path, sealing, &sources, entropy).map_err(OpenError::from)
        })
        .map_err(|error| name_file(error, &paths.log))
    }

    /// Opens a log on given disks; the caller holds their lock. `keys` is asked once it is known
    /// whether the log is encrypted.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(
        disks: Disks,
        open: OpenOptions,
        keys: impl FnOnce(Sealing) -> Result<KeyStore, OpenError>,
    ) -> Result<Self, OpenError> {
        let io_error = |error: &io::Error| StorageError::io("the log", error);
        let held = HeldDisk::new(Arc::clone(&disks.log)).map_err(|error| io_error(&error))?;
        let held = Arc::new(held);
        let db = Db::open(
            Arc::<HeldDisk>::clone(&held),
            open.options.cache_bytes,
            &open.progress,
        )?;
        let snapshot = db.snapshot()?;
        let genesis = read_genesis(&snapshot)?;
        let replica = snapshot.row(RowTable::Meta, REPLICA_ROW)?;
        drop(snapshot);
        let sealing = match genesis.sealing.as_str() {
            "plain" => Sealing::Plain,
            _ => Sealing::Required,
        };
        let keys = keys(sealing)?;
        if *keys.log_id() != genesis.log_id {
            return Err(OpenError::WrongKeys {
                log: genesis.log_id,
                keys: *keys.log_id(),
            });
        }
        let read_only = match (open.read_only, replica) {
            (true, None) => Some("it was opened read-only".to_owned()),
            (_, Some(_)) => Some(
                "it is a replica, written by backup; it can be read, verified and copied"
                    .to_owned(),
            ),
            (false, None) => None,
        };
        let identity = Arc::new(identity(&genesis, keys, open.options, read_only));
        let signing = start_signing(&identity)?;
        let loaded = load(
            Arc::clone(&identity),
            &open.folds,
            Arc::new(db),
            Arc::clone(&disks.head),
            &signing,
        )?;
        held.release().map_err(|error| io_error(&error))?;
        Self::start(identity, open.folds, disks, signing, loaded)
    }
}

fn failed(error: &crate::error::AppendError) -> OpenError {
    StorageError::Database {
        message: error.to_string(),
    }
    .into()
}

/// Errors of the database speak of "the log"; here its name is known.
fn name_file(error: OpenError, path: &Path) -> OpenError {
    match error {
        OpenError::NotALog { why, .. } => OpenError::NotALog {
            path: path.to_owned(),
            why,
        },
        OpenError::Storage(StorageError::Io { message, kind, .. }) => {
            OpenError::Storage(StorageError::Io {
                path: path.to_owned(),
                message,
                kind,
            })
        }
        other => other,
    }
}

fn identity(
    genesis: &Genesis,
    keys: KeyStore,
    options: LogOptions,
    read_only: Option<String>,
) -> Identity {
    Identity {
        log_id: genesis.log_id,
        origin: genesis.origin.clone(),
        sealing: keys.sealing(),
        fields: genesis.fields,
        operations: keys.operations(),
        mac: *keys.mac().as_bytes(),
        keys: Arc::new(keys),
        options,
        read_only,
    }
}

fn start_signing(identity: &Identity) -> Result<Arc<Signing>, OpenError> {
    let copies = CheckpointCopies::new(&identity.options.checkpoint_copies);
    let signing = Signing::start(
        identity.origin.clone(),
        identity.keys.signer(),
        copies,
        Arc::clone(&identity.options.clock),
    )
    .map_err(|error| StorageError::io("thread", &error))?;
    Ok(Arc::new(signing))
}

fn new_log_id(options: &LogOptions) -> Result<LogId, OpenError> {
    let mut bytes = [0; 16];
    options
        .entropy
        .fill(&mut bytes)
        .map_err(|error| StorageError::Database {
            message: error.to_string(),
        })?;
    Ok(LogId::new(bytes))
}

fn origin_of(create: &CreateOptions, log_id: &LogId) -> String {
    create
        .origin
        .clone()
        .unwrap_or_else(|| format!("runstone.local/{log_id}"))
}

fn check_magic(disk: &FileDisk, path: &Path) -> Result<(), OpenError> {
    let not_a_log = |why: &str| OpenError::NotALog {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let mut magic = [0; REDB_MAGIC.len()];
    match disk.read(0, &mut magic) {
        Ok(()) if magic == *REDB_MAGIC => Ok(()),
        Ok(()) => Err(not_a_log("it does not begin like one")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(not_a_log("it is too short"))
        }
        Err(error) => Err(StorageError::io(path, &error).into()),
    }
}

fn read_genesis(snapshot: &Snapshot) -> Result<Genesis, OpenError> {
    let tables = snapshot.table_names()?;
    if !tables.iter().any(|name| name == "meta" || name == "chunks") {
        return Err(OpenError::NotALog {
            path: PathBuf::from("the file"),
            why: "it is another database".to_owned(),
        });
    }
    if !tables.iter().any(|name| name == "meta") {
        return Err(Corruption::table(
            "database",
            "the tables of a Runstone log",
            format!("tables {tables:?}"),
        )
        .into());
    }
    let format = snapshot
        .row(RowTable::Meta, FORMAT_ROW)?
        .unwrap_or_default();
    if format != FORMAT.as_bytes() {
        return Err(OpenError::NewerFormat {
            found: String::from_utf8_lossy(&format).into_owned(),
            supported: FORMAT,
        });
    }
    let missing = || Corruption::at(0, "the event log.genesis", "nothing");
    let (key, value) = snapshot
        .number_at_or_above(NumberTable::Chunks, 0)?
        .ok_or_else(missing)?;
    let chunk = Chunk::parse(key, value.bytes())?;
    let raw = chunk.event(0)?;
    let entry = parse_entry(raw).map_err(corrupt_of)?;
    let is_genesis = entry.header().event_type == "log.genesis";
    let genesis = is_genesis
        .then(|| genesis_of(&entry, raw.envelope))
        .flatten();
    genesis.ok_or_else(|| {
        Corruption::at(0, "the event log.genesis", "an event that cannot be read").into()
    })
}

/// The genesis is never sealed, so it is read before any key is. It names the log, and its digest
/// covers that name.
fn genesis_of(entry: &Entry<'_>, envelope: &[u8]) -> Option<Genesis> {
    let unnamed = LogId::new([0; 16]);
    let (bytes, header) = (entry.header_bytes(), entry.header());
    let payload = seal::open(&unnamed, bytes, header, envelope, entry.commit(), None).ok()?;
    let genesis: Genesis = serde_json::from_slice(&payload).ok()?;
    let digest = envelope_digest(&genesis.log_id, bytes, envelope).ok()?;
    (digest == *entry.digest()).then_some(genesis)
}

fn corrupt_of(error: crate::error::ReadError) -> OpenError {
    match error {
        crate::error::ReadError::Corrupt(corruption) => corruption.into(),
        other => Corruption::table("chunks", "a readable event", other.to_string()).into(),
    }
}

impl From<TreeError> for OpenError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Corrupt(corruption) => corruption.into(),
            TreeError::Storage(error) => error.into(),
        }
    }
}

/// A log without events, about to get its genesis.
fn empty(
    identity: Arc<Identity>,
    folds: &[Arc<dyn Fold>],
    db: Db,
    head_disk: &Arc<dyn Disk>,
    signing: &Arc<Signing>,
) -> Result<Loaded, OpenError> {
    let (head_file, _) = HeadFile::open(Arc::clone(head_disk), &identity.log_id)
        .map_err(|error| StorageError::io("LOG.head", &error))?;
    let snapshot = db.snapshot()?;
    let tree = Tree::load(&snapshot, 0)?;
    let index = Index::open(&snapshot, identity.options.index.clone())?;
    let host = FoldHost::open(folds, row_seal(&identity), &db)?;
    drop(snapshot);
    let time = Timekeeper::new(identity.options.clock.as_ref(), 0);
    let writer = Writer {
        identity,
        db: Arc::new(db),
        head_file,
        tree,
        index,
        terms: TermBuffer::default(),
        time,
        scopes: ScopeCache::default(),
        signing: Arc::clone(signing),
        maintenance: Maintenance::default(),
        durable: 0,
        newest_us: 0,
    };
    let head = writer.head(0);
    Ok(loaded(writer, host, head))
}

fn loaded(writer: Writer, folds: FoldHost, head: Head) -> Loaded {
    let published = Published {
        db: Arc::clone(&writer.db),
        index: writer.index.view(head.size),
        tail: writer.tree.tail(),
        durable: head.size,
        head,
    };
    Loaded {
        writer,
        folds,
        published,
    }
}

pub(crate) fn row_seal(identity: &Identity) -> RowSeal {
    RowSeal {
        log_id: identity.log_id,
        key: identity.operations.clone(),
        entropy: Arc::clone(&identity.options.entropy),
    }
}
