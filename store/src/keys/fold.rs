//! The key of fold rows. Every erasure replaces it, so that what folds kept can be read by nobody in
//! older copies of the file either; what is left is folded again.

use super::KeyError;
use super::make::RowMaker;
use super::store::KeyStore;
use crate::options::Sealing;
use runstone_codec::keys::{FoldKey, KeyKind, KeyRow};
use runstone_codec::{Entropy, KeyId};
use std::sync::{Arc, PoisonError};

/// The key that seals now, and the one that is to take its place.
#[derive(Debug)]
pub(super) struct FoldKeys {
    /// In memory alone as long as the table has no row for it.
    current: Arc<FoldKey>,
    next: Option<(KeyRow, Arc<FoldKey>)>,
}

impl FoldKeys {
    /// The stored one, or one that nobody else ever has.
    pub(super) fn new(stored: Option<FoldKey>, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        let current = match stored {
            Some(key) => key,
            None => FoldKey::generate(entropy)?,
        };
        Ok(Self {
            current: Arc::new(current),
            next: None,
        })
    }

    fn forget(&mut self, entropy: &dyn Entropy) -> Result<(), KeyError> {
        self.current = match &self.next {
            Some((_, key)) => Arc::clone(key),
            None => Arc::new(FoldKey::generate(entropy)?),
        };
        Ok(())
    }
}

impl KeyStore {
    /// What seals fold rows now; none in a plain log.
    pub fn fold_key(&self) -> Option<Arc<FoldKey>> {
        let keys = self.folds.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref().map(|keys| Arc::clone(&keys.current))
    }

    /// Its id in the table.
    pub(crate) fn fold_key_id(&self) -> Option<KeyId> {
        self.state().log_key(KeyKind::Folds).map(|row| row.key_id)
    }

    /// Draws the key that follows once this one is erased, so that no provider need be asked then.
    pub(crate) fn draw_fold_key(&self, now_us: u64) -> Result<(), KeyError> {
        if self.sealing() == Sealing::Plain {
            return Ok(());
        }
        let _change = self.lock();
        let key = FoldKey::generate(self.entropy.as_ref())?;
        let row = self.fold_row(&key, now_us)?;
        self.set_next(Some((row, Arc::new(key))));
        Ok(())
    }

    /// What was drawn is wrapped under a key-encryption key that goes.
    pub(super) fn discard_drawn(&self) {
        self.set_next(None);
    }

    /// The table has no fold key any more.
    pub(super) fn forget_fold_key(&self) -> Result<(), KeyError> {
        let mut keys = self.folds.write().unwrap_or_else(PoisonError::into_inner);
        match keys.as_mut() {
            Some(keys) => keys.forget(self.entropy.as_ref()),
            None => Ok(()),
        }
    }

    /// Sees to it that the key of fold rows is in the table.
    ///
    /// # Durability
    ///
    /// It is on disk when this answers.
    pub(crate) fn store_fold_key(&self, now_us: u64) -> Result<(), KeyError> {
        let Some(current) = self.fold_key() else {
            return Ok(());
        };
        let change = self.lock();
        if self.fold_key_id().is_some() {
            return Ok(());
        }
        let row = match self.take_next(&current) {
            Some(row) => row,
            None => self.fold_row(&current, now_us)?,
        };
        let mut table = self.state().next_table();
        table.insert(row);
        self.install(&change, table)
    }

    /// The row that was drawn for this key.
    fn take_next(&self, current: &Arc<FoldKey>) -> Option<KeyRow> {
        let mut keys = self.folds.write().unwrap_or_else(PoisonError::into_inner);
        let (row, key) = keys.as_mut()?.next.take()?;
        Arc::ptr_eq(&key, current).then_some(row)
    }

    fn set_next(&self, next: Option<(KeyRow, Arc<FoldKey>)>) {
        let mut keys = self.folds.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = keys.as_mut() {
            keys.next = next;
        }
    }

    fn fold_row(&self, key: &FoldKey, now_us: u64) -> Result<KeyRow, KeyError> {
        let maker = RowMaker {
            provider: self.provider.as_ref(),
            entropy: self.entropy.as_ref(),
            log_id: self.log_id(),
            kek_id: self.provider.current()?,
            now_us,
        };
        maker.row(maker.id()?, KeyKind::Folds, "", 1, key.as_bytes())
    }
}
