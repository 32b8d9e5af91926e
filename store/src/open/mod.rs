//! Creating and opening a log.

mod blame;
mod create;
mod load;

pub use create::CreateOptions;
pub(crate) use load::{
    Contents, Derived, Dispute, Opened, Witness, compare, diverged, drop_erased_keys, last_head,
    load,
};

use crate::chunk::{Chunk, Head};
use crate::clock::Timekeeper;
use crate::copies::CheckpointCopies;
use crate::engine::{
    Db, Disk, FileDisk, FilePlace, HeldDisk, LogPaths, MemoryDisk, MemoryPlace, NumberTable,
    OverlayDisk, Place, RewritingDisk, RowTable, Snapshot, sync_folder,
};
use crate::error::{Corruption, OpenError, StorageError};
use crate::fold::{Fold, FoldHost, RowSeal};
use crate::identity::Identity;
use crate::keys::{KeyStore, ProviderSources};
use crate::log::{Here, Loaded, Log};
use crate::options::{LogOptions, Sealing};
use crate::own::{GENESIS, Genesis, History};
use crate::read::{Published, parse_entry};
use crate::signing::Signing;
use crate::tree::TreeError;
use crate::write::Writer;
use runstone_codec::{Entry, LogId, envelope_digest, seal};
use runstone_receipt::note::Vkey;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// Format of the database tables. A log of another format is refused.
pub(crate) const FORMAT: &str = "runstone/1";
pub(crate) const FORMAT_ROW: &[u8] = b"format";
pub(crate) const REPLICA_ROW: &[u8] = b"replica";
/// How a file of the database begins.
const REDB_MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

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
    /// Where a rewritten database can take the place of `log`.
    pub place: Option<Arc<dyn Place>>,
}

impl Disks {
    /// Two disks.
    pub fn new(log: Arc<dyn Disk>, head: Arc<dyn Disk>) -> Self {
        Self {
            log,
            head,
            place: None,
        }
    }

    /// The same disks, of which the first can be replaced.
    #[must_use]
    pub fn at(mut self, place: Arc<dyn Place>) -> Self {
        self.place = Some(place);
        self
    }

    /// The same disks, with failed syncs of the database made good.
    pub(crate) fn rewriting(self) -> Self {
        Self {
            log: Arc::new(RewritingDisk::new(self.log)),
            ..self
        }
    }

    /// Two empty disks in memory.
    pub fn memory() -> Self {
        let (log, head) = (MemoryDisk::new(), MemoryDisk::new());
        Self::new(Arc::new(log), Arc::new(head)).at(Arc::new(MemoryPlace))
    }
}

impl Log {
    /// Opens a log and brings it to where it was.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what was found and what to do; a refused file is left as it is.
    pub fn open(path: &Path, open: OpenOptions) -> Result<Self, OpenError> {
        Ok(Self::open_here(path, open)?.into())
    }

    /// [`open`](Self::open), with the file in this process.
    pub(crate) fn open_here(path: &Path, open: OpenOptions) -> Result<Here, OpenError> {
        let paths = LogPaths::new(path);
        if !paths.log.exists() && !open.read_only {
            create::name_if_whole(path, &keys_path(path, &open))?;
        }
        if !paths.log.exists() {
            return Err(OpenError::NotFound {
                path: paths.log.clone(),
            });
        }
        let disks = disks_of(&paths, open.read_only)?;
        let keys = keys_of(path, &open);
        let opened = Self::open_for(disks, open, keys, None);
        let (here, _) = opened.map_err(|error| name_file(error, &paths.log))?;
        here.is_at(path);
        Ok(here)
    }

    /// Opens a log on given disks; the caller holds their lock. `keys` is asked once it is known
    /// whether the log is encrypted.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_on(
        disks: Disks,
        open: OpenOptions,
        keys: impl FnOnce(Sealing) -> Result<KeyStore, OpenError>,
    ) -> Result<Self, OpenError> {
        Self::open_for(disks, open, keys, None).map(|(here, _)| here.into())
    }

    /// Opens a log. For a successor a replica is writable too, and so is a log that is contradicted,
    /// if that is accepted; what contradicts it is answered. Else that is an error, and nothing is
    /// written.
    pub(crate) fn open_for(
        disks: Disks,
        open: OpenOptions,
        keys: impl FnOnce(Sealing) -> Result<KeyStore, OpenError>,
        successor: Option<&Successor<'_>>,
    ) -> Result<(Here, Vec<Dispute>), OpenError> {
        let io_error = |error: &io::Error| StorageError::io("the log", error);
        let disks = disks.rewriting();
        let Pages { db, held, damaged } = Pages::open(&disks, &open)?;
        let snapshot = db.snapshot()?;
        let genesis = read_genesis(&snapshot)?;
        let replica = snapshot.row(RowTable::Meta, REPLICA_ROW)?;
        drop(snapshot);
        let keys = keys(genesis.sealing())?;
        if *keys.log_id() != genesis.log_id {
            return Err(OpenError::WrongKeys {
                log: genesis.log_id,
                keys: *keys.log_id(),
            });
        }
        let contents = Contents::read(&genesis.log_id, &db, &open.options.index)?;
        let replica = replica.filter(|_| successor.is_none());
        let has_gaps = contents.history.has_gaps();
        let read_only = match (open.read_only, &replica, damaged) {
            (_, _, true) => Some("pages of its file are damaged; verify it"),
            _ if has_gaps => {
                Some("events that say who signs and what is erased may be damaged; verify it")
            }
            (_, Some(_), _) => Some(
                "it is a replica, written by backup or load; it can be read, verified and copied",
            ),
            (true, None, _) => Some("it was opened read-only"),
            (false, None, _) => None,
        };
        let origin = match successor {
            Some(successor) => (successor.origin)(&contents.history),
            None => match contents.history.origin() {
                Some(origin) => origin.to_owned(),
                None => keys.origin(),
            },
        };
        if successor.is_some() {
            keys.sign_as(&origin)?;
        } else {
            settle_signers(&keys, &contents.history, &origin, read_only.is_none())?;
        }
        let mut identity = identity(&genesis, origin, keys, open.options, read_only);
        identity.damaged = damaged;
        let identity = Arc::new(identity);
        let signing = start_signing(&identity)?;
        let opened = load(
            Arc::clone(&identity),
            &open.folds,
            Arc::new(db),
            contents,
            Arc::clone(&disks.head),
            (&signing, Witness::Copies),
        )?;
        let Opened {
            loaded,
            mut disputes,
        } = opened;
        if replica.is_some() {
            // It never claimed to be as far as the log that it was copied from.
            disputes.clear();
        }
        let is_accepted = successor.is_some_and(|successor| successor.accept_loss);
        if !is_accepted && !disputes.is_empty() {
            return Err(disputes.swap_remove(0).error);
        }
        if !damaged {
            held.release().map_err(|error| io_error(&error))?;
        }
        drop_erased_keys(&identity)?;
        // What contradicts a successor is known until the log says that it is given up.
        let loaded = loaded.settled(&identity, &disks, disputes.is_empty())?;
        if let (Some(place), None) = (&disks.place, &identity.read_only) {
            // What a rewriting that was cut short left.
            place.discard().map_err(|error| io_error(&error))?;
        }
        let here = Here::start(identity, open.folds, disks, signing, loaded)?;
        Ok((here, disputes))
    }
}

/// Sees to it that checkpoints are signed under the log's name, by a key that it knows.
fn settle_signers(
    keys: &KeyStore,
    history: &History,
    origin: &str,
    writable: bool,
) -> Result<(), OpenError> {
    let is_signer = |vkey: &Vkey| history.is_signer(&vkey.public_key());
    let vkeys = keys.vkeys();
    if history.origin().is_some() && !vkeys.iter().any(is_signer) {
        if writable {
            return Err(OpenError::ForeignSigner {
                vkey: vkeys.first().map(Vkey::to_string).unwrap_or_default(),
            });
        }
        // Its content can be read all the same.
        keys.sign_nothing();
        return Ok(());
    }
    if !writable {
        return Ok(keys.sign_as(origin)?);
    }
    keys.set_origin(origin)?;
    if let [signer, former] = vkeys.as_slice()
        && is_signer(signer)
        && !is_signer(former)
    {
        // A new epoch was begun, and the process died before the key of the last one was dropped.
        keys.end_signing_overlap()?;
    }
    Ok(())
}

/// What a copy of a log is opened for that is to begin a new epoch.
pub(crate) struct Successor<'a> {
    /// The new origin.
    pub(crate) origin: &'a dyn Fn(&History) -> String,
    /// Whether events that somebody knows of may be given up.
    pub(crate) accept_loss: bool,
}

/// The database of a log, with its pages looked at.
struct Pages {
    db: Db,
    held: Arc<HeldDisk>,
    /// Some are damaged: what is written stays in memory.
    damaged: bool,
}

impl Pages {
    fn open(disks: &Disks, open: &OpenOptions) -> Result<Self, OpenError> {
        let repaired = Arc::new(AtomicBool::new(false));
        let progress: Arc<dyn Fn(f64) + Send + Sync> = {
            let (repaired, progress) = (Arc::clone(&repaired), Arc::clone(&open.progress));
            Arc::new(move |done| {
                repaired.store(true, Ordering::Relaxed);
                progress(done);
            })
        };
        if !open.read_only {
            // What somebody wrote and died is read here, and may not be on the medium. Before
            // anything is concluded from it, it is.
            let synced = disks.log.sync_data();
            synced.map_err(|error| StorageError::io("the log", &error))?;
        }
        let mut pages = Self::look(disks, open, &progress)?;
        let len = disks.log.len();
        let len = len.map_err(|error| StorageError::io("the log", &error))?;
        // A repair has looked at every page already.
        let is_due = !repaired.load(Ordering::Relaxed) && len <= open.options.check_pages_bytes;
        if is_due && !pages.db.is_sound()? {
            // The check may have begun to repair: what is there is looked at once more, as it is.
            pages.db.distrust();
            pages = Self::look(disks, open, &progress)?;
            pages.db.distrust();
            pages.damaged = true;
        }
        Ok(pages)
    }

    fn look(
        disks: &Disks,
        open: &OpenOptions,
        progress: &Arc<dyn Fn(f64) + Send + Sync>,
    ) -> Result<Self, OpenError> {
        let held = HeldDisk::new(Arc::clone(&disks.log));
        let held = Arc::new(held.map_err(|error| StorageError::io("the log", &error))?);
        let disk = Arc::<HeldDisk>::clone(&held);
        Ok(Self {
            db: Db::open(disk, open.options.cache_bytes, progress)?,
            held,
            damaged: false,
        })
    }
}

/// The files of a log, locked; read-only, what is written stays in memory.
pub(crate) fn disks_of(paths: &LogPaths, read_only: bool) -> Result<Disks, OpenError> {
    let disk =
        FileDisk::open(&paths.log, !read_only).map_err(|error| io_error(&paths.log, &error))?;
    check_magic(&disk, &paths.log)?;
    let locked = disk
        .try_lock(!read_only)
        .map_err(|error| io_error(&paths.log, &error))?;
    // Whoever held it may have put another file in its place before letting go of it.
    if !locked || !disk.is_at(&paths.log) {
        return Err(OpenError::Busy {
            path: paths.log.clone(),
        });
    }
    let head: Box<dyn Disk> = if paths.head.exists() {
        let disk = FileDisk::open(&paths.head, !read_only)
            .map_err(|error| io_error(&paths.head, &error))?;
        Box::new(disk)
    } else if read_only {
        Box::new(MemoryDisk::new())
    } else {
        let disk =
            FileDisk::create_new(&paths.head).map_err(|error| io_error(&paths.head, &error))?;
        Box::new(disk)
    };
    if read_only {
        let overlay = |base: Box<dyn Disk>| -> Result<Arc<dyn Disk>, OpenError> {
            let disk = OverlayDisk::new(base).map_err(|error| io_error(&paths.log, &error))?;
            Ok(Arc::new(disk))
        };
        Ok(Disks::new(overlay(Box::new(disk))?, overlay(head)?))
    } else {
        // Its name may be newer than what is on the medium of the folder.
        sync_folder(&paths.log).map_err(|error| io_error(&paths.log, &error))?;
        let place = FilePlace::new(&paths.log);
        Ok(Disks::new(Arc::new(disk), Arc::from(head)).at(Arc::new(place)))
    }
}

fn keys_path(log: &Path, open: &OpenOptions) -> PathBuf {
    let given = open.keys.clone();
    given.unwrap_or_else(|| default_keys_path(log))
}

/// Opens the key folder of a log, once it is known whether the log is encrypted.
pub(crate) fn keys_of(
    log: &Path,
    open: &OpenOptions,
) -> impl FnOnce(Sealing) -> Result<KeyStore, OpenError> + use<> {
    let path = keys_path(log, open);
    let (sources, entropy) = (open.sources.clone(), Arc::clone(&open.options.entropy));
    move |sealing| Ok(KeyStore::open(&path, sealing, &sources, entropy)?)
}

fn io_error(path: &Path, error: &io::Error) -> StorageError {
    StorageError::io(path, error)
}

/// Errors of the database speak of "the log"; here its name is known.
pub(crate) fn name_file(error: OpenError, path: &Path) -> OpenError {
    match error {
        OpenError::NotALog { why, .. } => OpenError::NotALog {
            path: path.to_owned(),
            why,
        },
        OpenError::Busy { .. } => OpenError::Busy {
            path: path.to_owned(),
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
    origin: String,
    keys: KeyStore,
    options: LogOptions,
    read_only: Option<&str>,
) -> Identity {
    Identity {
        log_id: genesis.log_id,
        origin,
        sealing: keys.sealing(),
        fields: genesis.fields,
        operations: keys.operations(),
        mac: *keys.mac().as_bytes(),
        keys: Arc::new(keys),
        time: Mutex::new(Timekeeper::new(options.clock.as_ref(), 0)),
        options,
        read_only: read_only.map(str::to_owned),
        damaged: false,
        history: RwLock::default(),
        path: OnceLock::new(),
        opening: OnceLock::new(),
    }
}

fn start_signing(identity: &Identity) -> Result<Arc<Signing>, OpenError> {
    let copies = CheckpointCopies::new(&identity.options);
    let signing = Signing::start(
        identity.origin.clone(),
        Arc::clone(&identity.keys),
        copies,
        Arc::clone(&identity.options.clock),
        identity.options.background,
    )
    .map_err(|error| StorageError::io("thread", &error))?;
    Ok(Arc::new(signing))
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

/// There is no older format: what has no higher number is damage.
fn other_format(format: &[u8]) -> OpenError {
    let found = String::from_utf8_lossy(format).into_owned();
    let number = |format: &str| format.strip_prefix("runstone/")?.parse::<u32>().ok();
    if number(&found) > number(FORMAT) {
        let supported = FORMAT;
        return OpenError::NewerFormat { found, supported };
    }
    Corruption::table("meta", FORMAT, found).into()
}

pub(crate) fn read_genesis(snapshot: &Snapshot) -> Result<Genesis, OpenError> {
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
        return Err(other_format(&format));
    }
    let missing = || Corruption::at(0, "the event log.genesis", "nothing");
    let (key, value) = snapshot
        .number_at_or_above(NumberTable::Chunks, 0)?
        .ok_or_else(missing)?;
    let chunk = Chunk::parse(key, value.bytes())?;
    let raw = chunk.event(0)?;
    let entry = parse_entry(raw).map_err(corrupt_of)?;
    let is_genesis = entry.header().event_type == GENESIS;
    let genesis = is_genesis
        .then(|| genesis_of(&entry, raw.envelope))
        .flatten();
    genesis.ok_or_else(|| {
        Corruption::at(0, "the event log.genesis", "an event that cannot be read").into()
    })
}

/// The genesis is never sealed, so it is read before any key is. It names the log, and its digest
/// covers that name.
pub(crate) fn genesis_of(entry: &Entry<'_>, envelope: &[u8]) -> Option<Genesis> {
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
        keys: Arc::clone(&identity.keys),
        entropy: Arc::clone(&identity.options.entropy),
    }
}
