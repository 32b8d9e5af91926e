//! The keys of an open log.

use super::KeyError;
use super::cache::{CAPACITY, Cache};
use super::files::{
    Old, check_private_file, check_private_folder, read_file, remove_folder, remove_if_there,
    replace_file, sync_folder,
};
use super::fold::FoldKeys;
use super::make::{draw, install_folder, unwrap_row};
use super::provider::{self, ProviderConfig, ProviderSources};
use super::ring::{MAX_RING_LEN, Ring, RingFile};
use super::signers::Signers;
use super::state::{KeyInfo, State};
use crate::options::Sealing;
#[cfg(test)]
use runstone_codec::KeyId;
use runstone_codec::keys::{
    DataKey, FoldKey, KeyKind, KeyProvider, KeyTable, LookupKey, MAX_TABLE_LEN, MacKey,
    OperationsKey, ProviderError, TableError,
};
use runstone_codec::{Entropy, LogId};
use runstone_receipt::note::{Signer, Vkey, check_name};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// The scope of what the log itself seals; it is never erased.
pub const PROTECTED_SCOPE: &str = "_log";

pub(super) const RING: &str = "ring";
pub(super) const TABLE: &str = "table";
/// Stands in the folder until the log that the keys are for has its name.
const UNFINISHED: &str = "unfinished";
/// What may be in the folder, in the order in which it is removed: the mark goes last, so that a
/// removal that is cut short is gone on with.
pub(super) const FILES: [&str; 3] = [RING, TABLE, UNFINISHED];

/// The keys of one log, shared by everybody who seals, opens or signs.
///
/// Any number of threads may use it; asking for a key that is held takes a read lock. One process
/// at a time may use a key folder, as holds for the log itself.
#[derive(Debug)]
pub struct KeyStore {
    pub(super) dir: Option<PathBuf>,
    log_id: LogId,
    sealing: Sealing,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) provider: Arc<dyn KeyProvider>,
    pub(super) ring: Arc<RingFile>,
    operations: Option<Arc<OperationsKey>>,
    /// None in a plain log.
    pub(super) folds: RwLock<Option<FoldKeys>>,
    mac: MacKey,
    signers: RwLock<Signers>,
    /// The name that the signers sign under.
    signing_as: RwLock<String>,
    /// Nobody signs.
    is_silent: AtomicBool,
    /// Held by whoever changes the table, also while a provider is asked, so that `state` never
    /// waits for one. Taken before `state`.
    change: Mutex<()>,
    state: RwLock<State>,
    /// Filled while `state` is read, so that no key comes back after its row has gone.
    pub(super) data: Cache<DataKey>,
    pub(super) lookups: Cache<LookupKey>,
}

impl KeyStore {
    /// Makes the key folder of a new log, mode 0700: it appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] if there is a folder that is not empty; it is left as it is.
    ///
    /// # Durability
    ///
    /// The keys are on disk when this answers.
    pub fn create(
        dir: &Path,
        log_id: LogId,
        origin: &str,
        sealing: Sealing,
        provider: ProviderConfig,
        entropy: Arc<dyn Entropy>,
        now_us: u64,
    ) -> Result<Self, KeyError> {
        let keys = Self::begin(dir, log_id, origin, sealing, provider, entropy, now_us)?;
        keys.finish()?;
        Ok(keys)
    }

    /// [`create`](Self::create) for a log that is being made too: until [`finish`](Self::finish)
    /// the folder says so, and [`discard_unfinished`](Self::discard_unfinished) removes it.
    pub(crate) fn begin(
        dir: &Path,
        log_id: LogId,
        origin: &str,
        sealing: Sealing,
        provider: ProviderConfig,
        entropy: Arc<dyn Entropy>,
        now_us: u64,
    ) -> Result<Self, KeyError> {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(KeyError::Exists {
                path: dir.to_owned(),
            });
        }
        let sources = provider.sources();
        // The ring is written with the rest of the folder below, not by the provider.
        let (ring, table) = draw(log_id, origin, sealing, provider, &entropy, now_us)?;
        let table = table
            .encode()
            .map_err(|source| table_error(Some(dir), source))?;
        let ring = ring.lock().encode();
        install_folder(
            dir,
            &[(UNFINISHED, b""), (RING, ring.as_bytes()), (TABLE, &table)],
        )?;
        Self::open(dir, sealing, &sources, entropy)
    }

    /// The log of these keys has everything but its name.
    pub(crate) fn finish(&self) -> Result<(), KeyError> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        remove_if_there(&dir.join(UNFINISHED))?;
        sync_folder(dir)
    }

    /// Whether the folder holds keys of a log whose making was cut short before it had its name.
    pub(crate) fn is_unfinished(dir: &Path) -> bool {
        dir.join(UNFINISHED).exists()
    }

    /// Removes keys that no log was ever sealed with.
    pub(crate) fn discard_unfinished(dir: &Path) -> Result<(), KeyError> {
        remove_folder(dir, &FILES)
    }

    /// Reads a key folder. Nothing is written until a key is made.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: not there, open to others, damaged, of another log, or the provider is away
    /// or holds another key.
    pub fn open(
        dir: &Path,
        sealing: Sealing,
        sources: &ProviderSources,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyError> {
        let path = dir.join(RING);
        let Some(bytes) = read_file(&path, MAX_RING_LEN)? else {
            return Err(KeyError::NotFound {
                path: dir.to_owned(),
            });
        };
        check_private_folder(dir)?;
        check_private_file(&path)?;
        let ring = Ring::decode(&path, &bytes)?;
        let table = read_file(&dir.join(TABLE), MAX_TABLE_LEN)?
            .ok_or_else(|| mismatch(Some(dir), "there is a ring but no table"))?;
        let table = KeyTable::decode(&table).map_err(|source| table_error(Some(dir), source))?;
        let ring = Arc::new(RingFile::new(Some(path), ring));
        Self::start(Some(dir.to_owned()), ring, table, sealing, sources, entropy)
    }

    /// Keys of a log in memory; no file is touched, and they are gone with this value.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when there is no randomness, or the origin breaks a rule.
    pub fn memory(
        log_id: LogId,
        origin: &str,
        sealing: Sealing,
        entropy: Arc<dyn Entropy>,
        now_us: u64,
    ) -> Result<Self, KeyError> {
        let file = ProviderConfig::File;
        let (ring, table) = draw(log_id, origin, sealing, file, &entropy, now_us)?;
        Self::start(None, ring, table, sealing, &ProviderSources::new(), entropy)
    }

    fn start(
        dir: Option<PathBuf>,
        ring: Arc<RingFile>,
        table: KeyTable,
        sealing: Sealing,
        sources: &ProviderSources,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyError> {
        let (log_id, at) = (*table.log_id(), dir.as_deref());
        if ring.lock().log_id != log_id {
            return Err(mismatch(at, "ring and table belong to different logs"));
        }
        let provider = provider::build(&ring, sources, &entropy)?;
        let state = State::new(table, None);
        let own = |kind| {
            state
                .log_key(kind)
                .map(|row| unwrap_row(provider.as_ref(), &log_id, row))
                .transpose()
        };
        let short = |_| ProviderError::BadAnswer {
            what: "a key has not 32 bytes",
        };
        let mac = own(KeyKind::Mac)?.ok_or_else(|| mismatch(at, "the table has no MAC key"))?;
        let mac = MacKey::from_slice(mac.as_bytes()).map_err(short)?;
        let operations = match (sealing, own(KeyKind::Operations)?) {
            (Sealing::Plain, None) => None,
            (Sealing::Plain, Some(_)) => {
                return Err(mismatch(at, "the keys are those of an encrypted log"));
            }
            (_, None) => return Err(mismatch(at, "the table has no operations key")),
            (_, Some(key)) => Some(Arc::new(
                OperationsKey::from_slice(key.as_bytes()).map_err(short)?,
            )),
        };
        let folds = match (&operations, own(KeyKind::Folds)?) {
            (None, _) => None,
            (Some(_), stored) => {
                let stored = stored.map(|key| FoldKey::from_slice(key.as_bytes()).map_err(short));
                Some(FoldKeys::new(stored.transpose()?, entropy.as_ref())?)
            }
        };
        let origin = ring.lock().origin.clone();
        let signers = RwLock::new(Signers::load(&ring, &origin, provider.as_ref())?);
        Ok(Self {
            dir,
            log_id,
            sealing,
            entropy,
            provider,
            ring,
            operations,
            folds: RwLock::new(folds),
            mac,
            signers,
            signing_as: RwLock::new(origin),
            is_silent: AtomicBool::new(false),
            change: Mutex::new(()),
            state: RwLock::new(state),
            data: Cache::new(CAPACITY),
            lookups: Cache::new(CAPACITY),
        })
    }

    /// The log.
    pub fn log_id(&self) -> &LogId {
        &self.log_id
    }

    /// Whether payloads are encrypted.
    pub fn sealing(&self) -> Sealing {
        self.sealing
    }

    /// The log's name in its checkpoints, as the ring has it.
    pub fn origin(&self) -> String {
        self.ring.lock().origin.clone()
    }

    /// The MAC key of the log's heads.
    pub fn mac(&self) -> &MacKey {
        &self.mac
    }

    /// What seals control; none in a plain log.
    pub fn operations(&self) -> Option<Arc<OperationsKey>> {
        self.operations.clone()
    }

    /// The current signer.
    pub fn signer(&self) -> Arc<Signer> {
        Arc::clone(
            &self
                .signers
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .current,
        )
    }

    /// Everybody who signs: the current signer first, the former one during an overlap.
    pub fn signers(&self) -> Vec<Arc<Signer>> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let signers = self.signers.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&signers.current)
            .chain(&signers.retiring)
            .map(Arc::clone)
            .collect()
    }

    /// The public keys of [`KeyStore::signers`].
    pub fn vkeys(&self) -> Vec<Vkey> {
        self.signers().iter().map(|signer| signer.vkey()).collect()
    }

    /// Every key of the table, without its secret.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.state().list()
    }

    /// Writes the counts of messages into the table, at close.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`].
    pub fn flush(&self) -> Result<(), KeyError> {
        let change = self.lock();
        if !self.state().has_unsaved() {
            return Ok(());
        }
        let table = self.state().next_table();
        self.install(&change, table)
    }

    /// Gives the log another name in its later checkpoints.
    ///
    /// # Errors
    ///
    /// [`KeyError::Origin`] when the name breaks the rules of origins.
    pub fn set_origin(&self, origin: &str) -> Result<(), KeyError> {
        self.sign_as(origin)?;
        let _change = self.lock();
        if self.ring.lock().origin != origin {
            self.ring
                .update(|ring| origin.clone_into(&mut ring.origin))?;
        }
        Ok(())
    }

    /// Signs nothing from now on: the log does not know these signing keys.
    pub(crate) fn sign_nothing(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Signs under this name from now on, without writing it down.
    pub(crate) fn sign_as(&self, origin: &str) -> Result<(), KeyError> {
        check_origin(origin)?;
        let _change = self.lock();
        origin.clone_into(
            &mut self
                .signing_as
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.load_signers()
    }

    /// Drops an unwrapped data key, as the bounded cache may at any time.
    #[cfg(test)]
    pub(super) fn forget(&self, id: &KeyId) {
        self.data.remove(id);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the table, then lets everybody see it. The guard shows that nobody else changes it.
    pub(super) fn install(
        &self,
        _change: &MutexGuard<'_, ()>,
        table: KeyTable,
    ) -> Result<(), KeyError> {
        let dir = self.dir.as_deref();
        let bytes = table.encode().map_err(|source| table_error(dir, source))?;
        if let Some(dir) = dir {
            replace_file(&dir.join(TABLE), &bytes, Old::Unlinked)?;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let next = State::new(table, Some(&state));
        for row in state
            .rows()
            .iter()
            .filter(|row| next.row(&row.key_id).is_none())
        {
            self.data.remove(&row.key_id);
            self.lookups.remove(&row.key_id);
        }
        *state = next;
        Ok(())
    }

    /// Makes the signers anew from the ring's seeds and origin.
    pub(super) fn load_signers(&self) -> Result<(), KeyError> {
        let origin = self.signing_as.read();
        let origin = origin.unwrap_or_else(PoisonError::into_inner).clone();
        let next = Signers::load(&self.ring, &origin, self.provider.as_ref())?;
        *self.signers.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

pub(super) fn check_origin(origin: &str) -> Result<(), KeyError> {
    check_name(origin).map_err(|source| KeyError::Origin { source })
}

pub(super) fn table_error(dir: Option<&Path>, source: TableError) -> KeyError {
    KeyError::Table {
        path: dir.unwrap_or_else(|| Path::new("memory")).to_owned(),
        source,
    }
}

fn mismatch(dir: Option<&Path>, what: &'static str) -> KeyError {
    KeyError::Mismatch {
        path: dir.unwrap_or_else(|| Path::new("memory")).to_owned(),
        what: what.into(),
    }
}
