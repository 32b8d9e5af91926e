//! Making a log.
//!
//! ```text
//! LOG.new, locked -> keys, marked as unfinished -> LOG.head -> log.genesis, synced -> keys unmarked -> LOG.new becomes LOG
//! ```
//!
//! Cut short before the mark is gone, nothing of it was ever a log, and it is removed by the next
//! one who makes or opens it; cut short after it, only the name is missing, and is given then.

use super::{
    Disks, FORMAT, FORMAT_ROW, OpenOptions, default_keys_path, identity, io_error, loaded,
    row_seal, start_signing,
};
use crate::engine::{Change, Db, Disk, FileDisk, FilePlace, LogPaths, RowTable, sync_folder};
use crate::error::{Corruption, OpenError, StorageError};
use crate::fold::{Fold, FoldHost};
use crate::headfile::HeadFile;
use crate::identity::Identity;
use crate::index::{Index, TermBuffer};
use crate::keys::{KeyStore, ProviderConfig};
use crate::log::{Here, Loaded, Log};
use crate::options::{LogOptions, Sealing};
use crate::own::{GENESIS, Genesis};
use crate::prepare::{Actor, LOG_STREAM};
use crate::signing::Signing;
use crate::tree::Tree;
use crate::write::{Maintenance, ScopeCache, Work, Writer};
use runstone_codec::{LogId, NewEvent};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

impl Log {
    /// Makes a log with its keys and opens it. It is there whole or not at all.
    ///
    /// # Errors
    ///
    /// [`OpenError::AlreadyExists`] leaves what is there untouched.
    pub fn create(
        path: &Path,
        create: &CreateOptions,
        open: OpenOptions,
    ) -> Result<Self, OpenError> {
        let keys = create.keys.clone().or_else(|| open.keys.clone());
        let keys = keys.unwrap_or_else(|| default_keys_path(path));
        let exists = |taken: &Path| OpenError::AlreadyExists {
            path: taken.to_owned(),
        };
        if path.exists() {
            return Err(exists(path));
        }
        let unnamed = Unnamed::claim(path, keys)?;
        if unnamed.is_whole()? {
            unnamed.give_name()?;
            return Err(exists(path));
        }
        let made = unnamed.discard().and_then(|()| {
            let head = &unnamed.paths.head;
            if let Some(taken) = [path, head].into_iter().find(|taken| taken.exists()) {
                return Err(exists(taken));
            }
            unnamed.make(create, open)
        });
        if made.is_err() && !unnamed.is_whole()? {
            unnamed.discard()?;
            fs::remove_file(&unnamed.new).map_err(|error| io_error(&unnamed.new, &error))?;
        }
        made
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

    /// Makes a log on given disks with given keys: for tests of crashes.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the disks fail.
    #[doc(hidden)]
    pub fn create_on(
        disks: Disks,
        keys: KeyStore,
        create: &CreateOptions,
        open: OpenOptions,
    ) -> Result<Self, OpenError> {
        Ok(Self::create_here(disks, keys, create, open)?.into())
    }

    fn create_here(
        disks: Disks,
        keys: KeyStore,
        create: &CreateOptions,
        open: OpenOptions,
    ) -> Result<Here, OpenError> {
        let disks = disks.rewriting();
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
        let identity = Arc::new(identity(
            &genesis,
            genesis.origin.clone(),
            keys,
            open.options,
            None,
        ));
        let signing = start_signing(&identity)?;
        let loaded = empty(
            Arc::clone(&identity),
            &open.folds,
            db,
            &disks.head,
            &signing,
        )?;
        let log = Here::start(identity, open.folds, disks, signing, loaded)?;
        let event = NewEvent::new(GENESIS, LOG_STREAM)
            .source("runstone")
            .json(&genesis)
            .map_err(|error| Corruption::table("chunks", "a genesis", error.to_string()))?;
        let events = log
            .prepare_own(vec![event], &Actor::keyring())
            .map_err(|error| failed(&error))?;
        log.submit_work(Work::Append, events)
            .map_err(|error| failed(&error))?;
        log.shared
            .exclusive()
            .and_then(|standing| log.learn_history(&standing))
            .map_err(|error| Corruption::at(0, "the event log.genesis", error.to_string()))?;
        Ok(log)
    }
}

/// Gives a log whose making was cut short before its last step the name that it lacks.
pub(super) fn name_if_whole(path: &Path, keys: &Path) -> Result<(), OpenError> {
    if path_of_unnamed(path).exists() {
        let unnamed = Unnamed::claim(path, keys.to_owned())?;
        if unnamed.is_whole()? {
            unnamed.give_name()?;
        }
    }
    Ok(())
}

/// A log that has no name yet: `LOG.new`, locked.
struct Unnamed {
    paths: LogPaths,
    keys: PathBuf,
    new: PathBuf,
    disk: Arc<FileDisk>,
}

impl Unnamed {
    /// Takes `LOG.new`, as somebody left it or empty.
    fn claim(path: &Path, keys: PathBuf) -> Result<Self, OpenError> {
        let new = path_of_unnamed(path);
        let failed = |error: io::Error| io_error(&new, &error);
        let disk = FileDisk::open_or_create(&new).map_err(failed)?;
        let locked = disk.try_lock(true).map_err(failed)?;
        // Between opening and locking it may have got its name, or been removed.
        if !locked || !disk.is_at(&new) {
            return Err(OpenError::Busy { path: new });
        }
        Ok(Self {
            paths: LogPaths::new(path),
            keys,
            new,
            disk: Arc::new(disk),
        })
    }

    fn has_bytes(&self) -> Result<bool, OpenError> {
        let len = self.disk.len();
        Ok(len.map_err(|error| io_error(&self.new, &error))? > 0)
    }

    /// Whether it is a log but for its name.
    fn is_whole(&self) -> Result<bool, OpenError> {
        let is_keyed = self.keys.exists() && !KeyStore::is_unfinished(&self.keys);
        Ok(is_keyed && self.has_bytes()?)
    }

    /// Removes what was begun, so that what is cut short here is gone on with: the keys say longest
    /// that they are nobody's.
    fn discard(&self) -> Result<(), OpenError> {
        let has_keys = KeyStore::is_unfinished(&self.keys);
        if has_keys || self.has_bytes()? {
            let head = &self.paths.head;
            if head.exists() {
                fs::remove_file(head).map_err(|error| io_error(head, &error))?;
            }
            let emptied = self.disk.set_len(0).and_then(|()| self.disk.sync_data());
            emptied.map_err(|error| io_error(&self.new, &error))?;
        }
        if has_keys {
            KeyStore::discard_unfinished(&self.keys)?;
        }
        Ok(())
    }

    fn make(&self, create: &CreateOptions, open: OpenOptions) -> Result<Log, OpenError> {
        let log_id = new_log_id(&open.options)?;
        let keys = KeyStore::begin(
            &self.keys,
            log_id,
            &origin_of(create, &log_id),
            create.sealing,
            create.provider.clone(),
            Arc::clone(&open.options.entropy),
            open.options.clock.wall_us(),
        )?;
        let head = &self.paths.head;
        let head = FileDisk::create_new(head).map_err(|error| io_error(head, &error))?;
        let disk: Arc<dyn Disk> = Arc::<FileDisk>::clone(&self.disk);
        let place = FilePlace::new(&self.paths.log);
        let disks = Disks::new(disk, Arc::new(head)).at(Arc::new(place));
        let log = Log::create_here(disks, keys, create, open)?;
        log.shared.identity.keys.finish()?;
        self.give_name()?;
        log.is_at(&self.paths.log);
        Ok(log.into())
    }

    fn give_name(&self) -> Result<(), OpenError> {
        let log = &self.paths.log;
        let named = fs::rename(&self.new, log).and_then(|()| sync_folder(log));
        Ok(named.map_err(|error| io_error(log, &error))?)
    }
}

fn path_of_unnamed(log: &Path) -> PathBuf {
    let mut new = log.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

fn failed(error: &crate::error::AppendError) -> OpenError {
    StorageError::Database {
        message: error.to_string(),
    }
    .into()
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
    identity.begin_time(0);
    let writer = Writer {
        identity,
        db: Arc::new(db),
        head_file,
        tree,
        index,
        terms: TermBuffer::default(),
        stream_term: Vec::new(),
        scopes: ScopeCache::default(),
        signing: Arc::clone(signing),
        maintenance: Maintenance::resume(0),
        durable: 0,
        newest_us: 0,
    };
    let head = writer.head(0);
    Ok(loaded(writer, host, head))
}
