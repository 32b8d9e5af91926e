//! Erasing scopes, changing the key-encryption key, changing the signing key.

use super::KeyError;
use super::make::{unwrap_row, wrap_row};
use super::ring::{RingProvider, RingSeed, seal_seed};
use super::signers::open_seed;
use super::store::{KeyStore, PROTECTED_SCOPE};
use runstone_codec::KeyId;
use runstone_codec::keys::{Destroyed, KEY_LEN, KeyKind, KeyRow, ProviderError};
use runstone_receipt::note::Vkey;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

impl KeyStore {
    /// The ids of a scope's keys: its data keys of every generation and its lookup key.
    pub fn scope_keys(&self, scope: &str) -> Vec<KeyId> {
        let state = self.state();
        let of_scope = |row: &&KeyRow| row.kind.is_scoped() && row.scope == scope;
        state
            .rows()
            .iter()
            .filter(of_scope)
            .map(|row| row.key_id)
            .collect()
    }

    /// Drops keys from the table and from memory; those that are gone already are passed over, so
    /// that an interrupted erasure can be repeated. The former table may still lie on the medium:
    /// [`KeyStore::rotate_kek`] is what makes it worthless.
    ///
    /// # Errors
    ///
    /// [`KeyError::ScopeProtected`] if one is of the log's own scope, or of no scope and not the one
    /// of fold rows, and then none is dropped; [`KeyError::Io`].
    ///
    /// # Durability
    ///
    /// The table without them is on disk when this answers.
    pub fn erase<'a>(&self, ids: impl IntoIterator<Item = &'a KeyId>) -> Result<(), KeyError> {
        let state = self.state();
        let ids = ids.into_iter().filter(|id| state.row(id).is_some());
        let ids: Vec<&KeyId> = ids.collect();
        drop(state);
        if ids.is_empty() {
            // Nobody waits for a provider that is being asked: a key that is gone stays gone.
            return Ok(());
        }
        let change = self.lock();
        let mut table = self.state().next_table();
        let mut gone = Vec::new();
        for id in ids {
            let Some(row) = table.remove(id) else {
                continue;
            };
            let is_erasable = row.kind.is_scoped() || row.kind == KeyKind::Folds;
            if !is_erasable || row.scope == PROTECTED_SCOPE {
                return Err(KeyError::ScopeProtected { scope: row.scope });
            }
            gone.push(row.kind);
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.install(&change, table)?;
        if gone.contains(&KeyKind::Folds) {
            self.forget_fold_key()?;
        }
        Ok(())
    }

    /// The key-encryption keys that wrap these keys.
    pub(crate) fn keks_of(&self, ids: &[KeyId]) -> BTreeSet<String> {
        let state = self.state();
        let rows = ids.iter().filter_map(|id| state.row(id));
        rows.map(|row| row.kek_id.clone()).collect()
    }

    /// Makes a new key-encryption key, wraps every key under it, and destroys those before it:
    /// their ids, and how sure it is that they are gone. Interrupted at any point, every key can
    /// still be opened, and calling it again finishes the work.
    ///
    /// # Errors
    ///
    /// [`KeyError::Provider`], `Unsupported` where a person has to make the next key.
    pub fn rotate_kek(&self) -> Result<Vec<(String, Destroyed)>, KeyError> {
        let change = self.lock();
        self.discard_drawn();
        let current = self.provider.create()?;
        // What is to be destroyed is written down before anything stops naming it.
        let former = self.named_keks();
        self.ring.update(|ring| {
            ring.retired_keks.extend(former);
            ring.retired_keks.retain(|id| *id != current);
            ring.retired_keks.sort_unstable();
            ring.retired_keks.dedup();
        })?;
        let mut table = self.state().next_table();
        let foreign: Vec<KeyRow> = table
            .rows()
            .iter()
            .filter(|row| row.kek_id != current)
            .cloned()
            .collect();
        for row in foreign {
            let secret = unwrap_row(self.provider.as_ref(), self.log_id(), &row)?;
            let Ok(secret) = secret.as_bytes().try_into() else {
                return Err(KeyError::Missing { id: row.key_id });
            };
            let row = KeyRow {
                kek_id: current.clone(),
                ..row
            };
            let (provider, entropy) = (self.provider.as_ref(), self.entropy.as_ref());
            table.insert(wrap_row(provider, entropy, self.log_id(), row, secret)?);
        }
        self.install(&change, table)?;
        self.wrap_seeds(&current)?;
        self.destroy_unnamed()
    }

    /// Key-encryption keys that were replaced and are not known to be gone.
    pub fn retired_keks(&self) -> Vec<String> {
        self.ring.lock().retired_keks.clone()
    }

    /// Asks the provider again to destroy [`KeyStore::retired_keks`].
    ///
    /// # Errors
    ///
    /// [`KeyError::Provider`].
    pub fn destroy_retired_keks(&self) -> Result<Vec<(String, Destroyed)>, KeyError> {
        let _change = self.lock();
        self.destroy_unnamed()
    }

    fn destroy_unnamed(&self) -> Result<Vec<(String, Destroyed)>, KeyError> {
        let still: BTreeSet<String> = self.wrapping_keks();
        let mut answers = Vec::new();
        for id in self
            .retired_keks()
            .into_iter()
            .filter(|id| !still.contains(id))
        {
            let answer = match self.provider.destroy(&id) {
                // It opened this log's keys, so it is the provider; the key is not there, and
                // nobody says how it went.
                Err(ProviderError::UnknownKek { .. }) => Destroyed::BestEffort,
                answer => answer?,
            };
            if answer != Destroyed::Unsupported {
                self.ring
                    .update(|ring| ring.retired_keks.retain(|retired| *retired != id))?;
            }
            answers.push((id, answer));
        }
        Ok(answers)
    }

    /// Key-encryption keys that some key is wrapped under.
    pub(crate) fn wrapping_keks(&self) -> BTreeSet<String> {
        let mut keks: BTreeSet<String> = self
            .state()
            .rows()
            .iter()
            .map(|row| row.kek_id.clone())
            .collect();
        let ring = self.ring.lock();
        for seed in std::iter::once(&ring.signing).chain(&ring.retiring) {
            if let RingSeed::Wrapped { kek_id, .. } = seed {
                keks.insert(kek_id.clone());
            }
        }
        keks
    }

    /// Those, and what else lies in the ring: a rotation that was interrupted leaves some.
    fn named_keks(&self) -> BTreeSet<String> {
        let mut keks = self.wrapping_keks();
        if let RingProvider::File { keks: held, .. } = &self.ring.lock().provider {
            keks.extend(held.iter().map(|kek| kek.id.clone()));
        }
        keks
    }

    fn wrap_seeds(&self, current: &str) -> Result<(), KeyError> {
        let (signing, retiring) = {
            let ring = self.ring.lock();
            (
                ring.signing.duplicate(),
                ring.retiring.as_ref().map(RingSeed::duplicate),
            )
        };
        let again = |seed: &RingSeed| -> Result<RingSeed, KeyError> {
            if !seed.is_foreign(current) {
                return Ok(seed.duplicate());
            }
            let open = open_seed(seed, self.provider.as_ref(), self.log_id())?;
            self.seal_seed(current, &open)
        };
        let signing = again(&signing)?;
        let retiring = retiring.as_ref().map(again).transpose()?;
        self.ring.update(|ring| {
            ring.signing = signing;
            ring.retiring = retiring;
        })
    }

    fn seal_seed(&self, kek_id: &str, seed: &[u8; KEY_LEN]) -> Result<RingSeed, KeyError> {
        seal_seed(
            self.provider.as_ref(),
            self.entropy.as_ref(),
            &self.ring,
            kek_id,
            seed,
        )
    }

    /// Draws a new signing key and answers the former and the new public key. Both sign until
    /// [`KeyStore::end_signing_overlap`].
    ///
    /// # Errors
    ///
    /// [`KeyError::SigningOverlap`] while one is under way, [`KeyError::Provider`].
    ///
    /// # Durability
    ///
    /// The new key is on disk when this answers.
    pub fn rotate_signing(&self) -> Result<(Vkey, Vkey), KeyError> {
        let _change = self.lock();
        if self.ring.lock().retiring.is_some() {
            return Err(KeyError::SigningOverlap);
        }
        let former = self.signer().vkey();
        let next = self.draw_seed()?;
        self.ring.update(|ring| {
            ring.retiring = Some(std::mem::replace(&mut ring.signing, next));
        })?;
        self.load_signers()?;
        Ok((former, self.signer().vkey()))
    }

    /// Draws the next signing key again, in the place of one that this log has not recorded. The
    /// former one stays.
    ///
    /// # Errors
    ///
    /// [`KeyError::Provider`], [`KeyError::Io`].
    ///
    /// # Durability
    ///
    /// The new key is on disk when this answers.
    pub(crate) fn redraw_signing(&self) -> Result<(), KeyError> {
        let _change = self.lock();
        let next = self.draw_seed()?;
        self.ring.update(|ring| ring.signing = next)?;
        self.load_signers()
    }

    fn draw_seed(&self) -> Result<RingSeed, KeyError> {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        self.entropy.fill(seed.as_mut_slice())?;
        self.seal_seed(&self.provider.current()?, &seed)
    }

    /// Forgets the former signing key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`].
    pub fn end_signing_overlap(&self) -> Result<(), KeyError> {
        let _change = self.lock();
        self.ring.update(|ring| ring.retiring = None)?;
        self.load_signers()
    }
}
