//! The keys of an open log.

use super::KeyError;
use super::cache::{CAPACITY, Cache};
use super::files::{
    Old, check_private_file, check_private_folder, create_file, create_folder, read_file,
    remove_if_there, replace_file, sync_folder, sync_folder_of,
};
use super::provider::{self, ProviderConfig, ProviderSources};
use super::ring::{MAX_RING_LEN, Ring, RingFile, RingProvider, RingSeed, seal_seed};
use super::state::{KeyInfo, State};
use crate::options::Sealing;
use runstone_codec::keys::{
    DataKey, KEY_LEN, KeyKind, KeyProvider, KeyRow, KeyState, KeyTable, LookupKey, MAX_TABLE_LEN,
    MacKey, NONCE_LEN, OperationsKey, ProviderError, SecretBytes, TableError,
};
use runstone_codec::{Entropy, KeyId, LogId};
use runstone_receipt::note::{Signer, Vkey, check_name};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

/// A data key older than this seals nothing new: 30 days in microseconds.
pub const MAX_KEY_AGE_US: u64 = 30 * 86_400 * 1_000_000;
/// A data key seals at most so many messages: random nonces stay apart.
pub const MAX_KEY_MESSAGES: u64 = 1 << 30;
/// The scope of what the log itself seals; it is never erased.
pub const PROTECTED_SCOPE: &str = "_log";

/// Messages that may go uncounted when the process dies.
const UNSAVED_MESSAGES: u64 = 1 << 24;
const RING: &str = "ring";
const TABLE: &str = "table";

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
    mac: MacKey,
    signers: RwLock<Signers>,
    /// Held by whoever changes the table, also while a provider is asked, so that `state` never
    /// waits for one. Taken before `state`.
    change: Mutex<()>,
    state: RwLock<State>,
    /// Filled while `state` is read, so that no key comes back after its row has gone.
    data: Cache<DataKey>,
    lookups: Cache<LookupKey>,
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
        install_folder(dir, ring.lock().encode().as_bytes(), &table)?;
        Self::open(dir, sealing, &sources, entropy)
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
            (Sealing::Plain, _) => None,
            (_, None) => return Err(mismatch(at, "the table has no operations key")),
            (_, Some(key)) => Some(Arc::new(
                OperationsKey::from_slice(key.as_bytes()).map_err(short)?,
            )),
        };
        let signers = RwLock::new(Signers::load(&ring, provider.as_ref())?);
        Ok(Self {
            dir,
            log_id,
            sealing,
            entropy,
            provider,
            ring,
            operations,
            mac,
            signers,
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

    /// The log's name in its checkpoints.
    pub fn origin(&self) -> String {
        self.ring.lock().origin.clone()
    }

    /// The MAC key of the log's heads.
    pub fn mac(&self) -> &MacKey {
        &self.mac
    }

    /// What seals control and fold rows; none in a plain log.
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

    /// The key that a scope seals one message with; see [`KeyStore::active_for`].
    ///
    /// # Errors
    ///
    /// As [`KeyStore::active_for`].
    pub fn active(&self, scope: &str, now_us: u64) -> Result<Arc<DataKey>, KeyError> {
        self.active_for(scope, 1, now_us)
    }

    /// The key that a scope seals `messages` with, which are counted. A scope without one, or
    /// whose key is 30 days old or has sealed 2^30 messages, gets a new one; a scope's first data
    /// key comes with its lookup key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Plain`] in a plain log, [`KeyError::Provider`] while the provider is away: then
    /// nothing may be sealed.
    ///
    /// # Durability
    ///
    /// The key's row is on disk when this answers.
    pub fn active_for(
        &self,
        scope: &str,
        messages: u64,
        now_us: u64,
    ) -> Result<Arc<DataKey>, KeyError> {
        if self.sealing == Sealing::Plain {
            return Err(KeyError::Plain);
        }
        if let Some((id, unsaved)) = self.count(scope, messages, now_us) {
            if unsaved >= UNSAVED_MESSAGES {
                self.flush()?;
            }
            return self.data_key(&id);
        }
        let change = self.lock();
        // Somebody else may have made one while this thread waited.
        if let Some((id, _)) = self.count(scope, messages, now_us) {
            drop(change);
            return self.data_key(&id);
        }
        self.make_key(&change, scope, messages, now_us)
    }

    /// Counts messages of the scope's active key, if it may seal them: its id, and how many
    /// messages the table on disk does not know of.
    fn count(&self, scope: &str, messages: u64, now_us: u64) -> Option<(KeyId, u64)> {
        let state = self.state();
        let active = state.active(scope)?;
        if now_us.saturating_sub(active.created_us) >= MAX_KEY_AGE_US {
            return None;
        }
        let before = active.messages.load(Ordering::Relaxed);
        if before.saturating_add(messages) > MAX_KEY_MESSAGES {
            return None;
        }
        let before = active.messages.fetch_add(messages, Ordering::Relaxed);
        Some((
            active.id,
            before.saturating_add(messages).saturating_sub(active.saved),
        ))
    }

    fn make_key(
        &self,
        change: &MutexGuard<'_, ()>,
        scope: &str,
        messages: u64,
        now_us: u64,
    ) -> Result<Arc<DataKey>, KeyError> {
        if scope.is_empty() || scope.len() > 255 || scope.chars().any(char::is_control) {
            return Err(KeyError::ScopeName);
        }
        let (mut table, former, generation, lookup) = {
            let state = self.state();
            let former = state.active(scope).map(|active| active.id);
            let generation = state.generation(scope).saturating_add(1);
            (state.next_table(), former, generation, state.lookup(scope))
        };
        if let Some(row) = former.and_then(|id| table.get(&id).cloned()) {
            table.insert(KeyRow {
                state: KeyState::Retired,
                ..row
            });
        }
        let maker = RowMaker {
            provider: self.provider.as_ref(),
            entropy: self.entropy.as_ref(),
            log_id: &self.log_id,
            kek_id: self.provider.current()?,
            now_us,
        };
        let key = DataKey::generate(maker.id()?, maker.entropy)?;
        let mut row = maker.row(*key.id(), KeyKind::Data, scope, generation, key.as_bytes())?;
        row.count = messages;
        table.insert(row);
        if lookup.is_none() {
            let key = LookupKey::generate(maker.entropy)?;
            table.insert(maker.row(maker.id()?, KeyKind::Lookup, scope, 1, key.as_bytes())?);
        }
        self.install(change, table)?;
        let key = Arc::new(key);
        self.keep(&self.data, key.id(), &key)?;
        Ok(key)
    }

    /// A data key by its id, active or retired.
    ///
    /// # Errors
    ///
    /// [`KeyError::Missing`] if there is no such key (any more), [`KeyError::Provider`].
    pub fn data_key(&self, id: &KeyId) -> Result<Arc<DataKey>, KeyError> {
        self.cached(&self.data, id, KeyKind::Data, |secret| {
            DataKey::from_slice(*id, secret.as_bytes()).ok()
        })
    }

    /// Whether there is such a data key. Asks no provider.
    pub fn has_key(&self, id: &KeyId) -> bool {
        self.state()
            .row(id)
            .is_some_and(|row| row.kind == KeyKind::Data)
    }

    /// Whether a key is its scope's active one. Asks no provider.
    pub fn is_active(&self, id: &KeyId) -> bool {
        self.state().is_active(id)
    }

    /// A scope's lookup key; all zero in a plain log.
    ///
    /// # Errors
    ///
    /// [`KeyError::ScopeUnknown`] before the scope's first [`KeyStore::active`] and after its
    /// erasure, [`KeyError::Provider`].
    pub fn lookup(&self, scope: &str) -> Result<Arc<LookupKey>, KeyError> {
        if self.sealing == Sealing::Plain {
            return Ok(Arc::new(LookupKey::plain()));
        }
        let unknown = || KeyError::ScopeUnknown {
            scope: scope.to_owned(),
        };
        let id = self.state().lookup(scope).ok_or_else(unknown)?;
        self.cached(&self.lookups, &id, KeyKind::Lookup, |secret| {
            LookupKey::from_slice(secret.as_bytes()).ok()
        })
        .map_err(|error| match error {
            KeyError::Missing { .. } => unknown(),
            other => other,
        })
    }

    fn cached<K>(
        &self,
        cache: &Cache<K>,
        id: &KeyId,
        kind: KeyKind,
        read: impl Fn(&SecretBytes) -> Option<K>,
    ) -> Result<Arc<K>, KeyError> {
        if let Some(key) = cache.get(id) {
            return Ok(key);
        }
        let missing = || KeyError::Missing { id: *id };
        let row_now = || {
            let state = self.state();
            state
                .row(id)
                .filter(|row| row.kind == kind)
                .cloned()
                .ok_or_else(missing)
        };
        let mut row = row_now()?;
        let secret = loop {
            match unwrap_row(self.provider.as_ref(), &self.log_id, &row) {
                Ok(secret) => break secret,
                Err(error) => {
                    // The row may have been wrapped anew, and its old key destroyed, meanwhile.
                    let next = row_now()?;
                    if next.kek_id == row.kek_id {
                        return Err(error.into());
                    }
                    row = next;
                }
            }
        };
        let bad = ProviderError::BadAnswer {
            what: "a key has not 32 bytes",
        };
        let key = Arc::new(read(&secret).ok_or(bad)?);
        self.keep(cache, id, &key)?;
        Ok(key)
    }

    /// Puts a key into its cache unless it was erased meanwhile.
    fn keep<K>(&self, cache: &Cache<K>, id: &KeyId, key: &Arc<K>) -> Result<(), KeyError> {
        let state = self.state();
        state.row(id).ok_or(KeyError::Missing { id: *id })?;
        cache.insert(*id, Arc::clone(key));
        Ok(())
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
    /// [`KeyError::Name`] when the name breaks the rules of origins.
    pub fn set_origin(&self, origin: &str) -> Result<(), KeyError> {
        check_origin(origin)?;
        let _change = self.lock();
        self.ring
            .update(|ring| origin.clone_into(&mut ring.origin))?;
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
        let next = Signers::load(&self.ring, self.provider.as_ref())?;
        *self.signers.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

#[derive(Debug)]
struct Signers {
    current: Arc<Signer>,
    /// The former one during an overlap.
    retiring: Option<Arc<Signer>>,
}

impl Signers {
    fn load(ring: &RingFile, provider: &dyn KeyProvider) -> Result<Self, KeyError> {
        let (log_id, origin, signing, retiring) = {
            let ring = ring.lock();
            let retiring = ring.retiring.as_ref().map(RingSeed::duplicate);
            (
                ring.log_id,
                ring.origin.clone(),
                ring.signing.duplicate(),
                retiring,
            )
        };
        let signer = |seed: &RingSeed| {
            let seed = open_seed(seed, provider, &log_id)?;
            let signer = Signer::new(&origin, &seed);
            let named = |source| KeyError::Name {
                name: origin.clone(),
                source,
            };
            signer.map(Arc::new).map_err(named)
        };
        Ok(Self {
            current: signer(&signing)?,
            retiring: retiring.as_ref().map(signer).transpose()?,
        })
    }
}

pub(super) fn open_seed(
    seed: &RingSeed,
    provider: &dyn KeyProvider,
    log_id: &LogId,
) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let secret = seed.open(provider, log_id)?;
    let mut seed = Zeroizing::new([0; KEY_LEN]);
    if secret.as_bytes().len() != seed.len() {
        return Err(ProviderError::BadAnswer {
            what: "a signing seed has not 32 bytes",
        }
        .into());
    }
    seed.copy_from_slice(secret.as_bytes());
    Ok(seed)
}

/// Makes rows of new keys under one key-encryption key.
struct RowMaker<'a> {
    provider: &'a dyn KeyProvider,
    entropy: &'a dyn Entropy,
    log_id: &'a LogId,
    kek_id: String,
    now_us: u64,
}

impl RowMaker<'_> {
    fn id(&self) -> Result<KeyId, KeyError> {
        let mut id = [0; 16];
        self.entropy.fill(&mut id)?;
        Ok(KeyId::from_bytes(id))
    }

    fn row(
        &self,
        key_id: KeyId,
        kind: KeyKind,
        scope: &str,
        generation: u32,
        secret: &[u8; KEY_LEN],
    ) -> Result<KeyRow, KeyError> {
        let row = KeyRow {
            key_id,
            kind,
            scope: scope.to_owned(),
            generation,
            kek_id: self.kek_id.clone(),
            created_us: self.now_us,
            count: 0,
            state: KeyState::Active,
            nonce: [0; NONCE_LEN],
            wrapped: Vec::new(),
        };
        wrap_row(self.provider, self.entropy, self.log_id, row, secret)
    }
}

/// Wraps a key into its row, under the row's key-encryption key and a fresh nonce.
pub(super) fn wrap_row(
    provider: &dyn KeyProvider,
    entropy: &dyn Entropy,
    log_id: &LogId,
    mut row: KeyRow,
    secret: &[u8; KEY_LEN],
) -> Result<KeyRow, KeyError> {
    entropy.fill(&mut row.nonce)?;
    row.wrapped = provider.wrap(&row.kek_id, &row.aad(log_id), &row.nonce, secret)?;
    Ok(row)
}

pub(super) fn unwrap_row(
    provider: &dyn KeyProvider,
    log_id: &LogId,
    row: &KeyRow,
) -> Result<SecretBytes, ProviderError> {
    provider.unwrap(&row.kek_id, &row.aad(log_id), &row.nonce, &row.wrapped)
}

/// The ring and the table of a new log, in memory.
fn draw(
    log_id: LogId,
    origin: &str,
    sealing: Sealing,
    config: ProviderConfig,
    entropy: &Arc<dyn Entropy>,
    now_us: u64,
) -> Result<(Arc<RingFile>, KeyTable), KeyError> {
    check_origin(origin)?;
    let sources = config.sources();
    let provider = match config {
        ProviderConfig::File => {
            let kek = provider::new_kek(entropy.as_ref())?;
            RingProvider::File {
                current: kek.id.clone(),
                keks: vec![kek],
            }
        }
        ProviderConfig::Env { variable, .. } => RingProvider::Env { variable },
        ProviderConfig::Command { argv, .. } => RingProvider::Command {
            argv,
            current: None,
        },
    };
    let mut seed = Zeroizing::new([0; KEY_LEN]);
    entropy.fill(seed.as_mut_slice())?;
    let ring = Arc::new(RingFile::new(
        None,
        Ring {
            log_id,
            origin: origin.to_owned(),
            provider,
            signing: RingSeed::Open(SecretBytes::new(seed.to_vec())),
            retiring: None,
            retired_keks: Vec::new(),
        },
    ));
    let provider = provider::build(&ring, &sources, entropy)?;
    let kek_id = provider.current()?;
    let signing = seal_seed(provider.as_ref(), entropy.as_ref(), &ring, &kek_id, &seed)?;
    ring.update(|ring| {
        ring.signing = signing;
        if let RingProvider::Command { current, .. } = &mut ring.provider {
            *current = Some(kek_id.clone());
        }
    })?;
    let maker = RowMaker {
        provider: provider.as_ref(),
        entropy: entropy.as_ref(),
        log_id: &log_id,
        kek_id,
        now_us,
    };
    let mut table = KeyTable::new(log_id);
    let mac = MacKey::generate(maker.entropy)?;
    table.insert(maker.row(maker.id()?, KeyKind::Mac, "", 1, mac.as_bytes())?);
    if sealing != Sealing::Plain {
        let operations = OperationsKey::generate(maker.entropy)?;
        let id = maker.id()?;
        table.insert(maker.row(id, KeyKind::Operations, "", 1, operations.as_bytes())?);
    }
    Ok((ring, table))
}

/// Makes a key folder beside its place and moves it there, so that it is whole or not there.
pub(super) fn install_folder(dir: &Path, ring: &[u8], table: &[u8]) -> Result<(), KeyError> {
    let mut unfinished = dir.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.is_dir() {
        for name in [RING, TABLE] {
            remove_if_there(&unfinished.join(name))?;
        }
        fs::remove_dir(&unfinished).map_err(|error| KeyError::io("remove", &unfinished, error))?;
    }
    create_folder(&unfinished)?;
    create_file(&unfinished.join(RING), ring)?;
    create_file(&unfinished.join(TABLE), table)?;
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, dir).map_err(|error| {
        if error.kind() == std::io::ErrorKind::DirectoryNotEmpty {
            KeyError::Exists {
                path: dir.to_owned(),
            }
        } else {
            KeyError::io("make", dir, error)
        }
    })?;
    sync_folder_of(dir)
}

fn check_origin(origin: &str) -> Result<(), KeyError> {
    check_name(origin).map_err(|source| KeyError::Name {
        name: origin.to_owned(),
        source,
    })
}

pub(super) fn table_error(dir: Option<&Path>, source: TableError) -> KeyError {
    KeyError::Table {
        path: dir.unwrap_or(Path::new("memory")).to_owned(),
        source,
    }
}

fn mismatch(dir: Option<&Path>, what: &'static str) -> KeyError {
    KeyError::Mismatch {
        path: dir.unwrap_or(Path::new("memory")).to_owned(),
        what,
    }
}
