//! Unwrapped keys, kept so that a provider is not asked twice.

use runstone_codec::KeyId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Keys held at once; beyond it the one that was used longest ago goes.
pub(super) const CAPACITY: usize = 4096;

#[derive(Debug)]
struct Held<K> {
    key: Arc<K>,
    used: AtomicU64,
}

/// A bounded map from key id to key. A key that is dropped from it is overwritten as soon as its
/// last user lets go of it.
#[derive(Debug)]
pub(super) struct Cache<K> {
    capacity: usize,
    /// Counts uses; a leaf lock guards the map.
    clock: AtomicU64,
    held: RwLock<BTreeMap<KeyId, Held<K>>>,
}

impl<K> Cache<K> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            clock: AtomicU64::new(0),
            held: RwLock::new(BTreeMap::new()),
        }
    }

    pub(super) fn get(&self, id: &KeyId) -> Option<Arc<K>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(id)?;
        found.used.store(self.tick(), Ordering::Relaxed);
        Some(Arc::clone(&found.key))
    }

    pub(super) fn insert(&self, id: KeyId, key: Arc<K>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= self.capacity && !held.contains_key(&id) {
            let oldest = held
                .iter()
                .min_by_key(|(_, held)| held.used.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                held.remove(&oldest);
            }
        }
        held.insert(
            id,
            Held {
                key,
                used: AtomicU64::new(self.tick()),
            },
        );
    }

    pub(super) fn remove(&self, id: &KeyId) {
        self.held
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> KeyId {
        KeyId::from_bytes([n; 16])
    }

    #[test]
    fn the_key_used_longest_ago_goes_first() {
        let cache = Cache::new(3);
        for n in 1..=3 {
            cache.insert(id(n), Arc::new(n));
        }
        assert_eq!(cache.get(&id(1)).as_deref(), Some(&1));
        cache.insert(id(4), Arc::new(4));
        assert_eq!(cache.get(&id(2)), None);
        assert_eq!(cache.get(&id(1)).as_deref(), Some(&1));
        cache.insert(id(4), Arc::new(5));
        assert_eq!(cache.get(&id(4)).as_deref(), Some(&5));
        assert_eq!(cache.get(&id(3)).as_deref(), Some(&3));
        cache.remove(&id(3));
        assert_eq!(cache.get(&id(3)), None);
    }
}
