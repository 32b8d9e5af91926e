//! Keys to seal and open with: made when they are needed, unwrapped once, cached.

use super::KeyError;
use super::cache::Cache;
use super::make::{RowMaker, unwrap_row};
use super::store::KeyStore;
use crate::options::Sealing;
use runstone_codec::KeyId;
use runstone_codec::keys::{
    DataKey, KeyKind, KeyRow, KeyState, LookupKey, ProviderError, SecretBytes,
};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

/// A data key older than this seals nothing new: 30 days in microseconds.
pub const MAX_KEY_AGE_US: u64 = 30 * 86_400 * 1_000_000;
/// A data key seals at most so many messages: random nonces stay apart.
pub const MAX_KEY_MESSAGES: u64 = 1 << 30;

/// Messages that may go uncounted when the process dies.
const UNSAVED_MESSAGES: u64 = 1 << 24;

impl KeyStore {
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
        if self.sealing() == Sealing::Plain {
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
        // An erasure may have taken the one and not the other, which was made meanwhile.
        state.lookup(scope)?;
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
            log_id: self.log_id(),
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
        if self.sealing() == Sealing::Plain {
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
            match unwrap_row(self.provider.as_ref(), self.log_id(), &row) {
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
}
