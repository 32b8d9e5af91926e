//! The scope of each stream, fixed by its first event: a bounded cache over the log.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

/// Streams of a generation, of which there are two.
const GENERATION: usize = 65_536;

/// Scopes of streams that were written or looked up lately. A full young generation becomes the old
/// one, and what is set again moves back.
#[derive(Debug, Default)]
pub(crate) struct ScopeCache {
    young: HashMap<Box<str>, Arc<str>>,
    old: HashMap<Box<str>, Arc<str>>,
    /// The scope that was set last: many streams in a row have the same.
    last: Option<Arc<str>>,
    /// What was looked up before this changed may be wrong.
    generation: u64,
}

impl ScopeCache {
    pub(crate) fn get(&self, stream: &str) -> Option<&str> {
        let known = self.young.get(stream).or_else(|| self.old.get(stream));
        known.map(AsRef::as_ref)
    }

    /// How often it was emptied.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Forgets everything: streams may be gone, or begin anew with another scope.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::default()
        };
    }

    /// As [`Self::set`], of what was looked up when the cache had this generation.
    pub(crate) fn set_as_of(&mut self, generation: u64, stream: &str, scope: &str) {
        if self.generation == generation {
            self.set(stream, scope);
        }
    }

    pub(crate) fn set(&mut self, stream: &str, scope: &str) {
        if self.young.contains_key(stream) {
            return;
        }
        let (stream, scope) = self
            .old
            .remove_entry(stream)
            .unwrap_or_else(|| (Box::from(stream), self.shared(scope)));
        if self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(stream, scope);
    }

    fn shared(&mut self, scope: &str) -> Arc<str> {
        let last = self.last.take().filter(|last| **last == *scope);
        Arc::clone(self.last.insert(last.unwrap_or_else(|| Arc::from(scope))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut cache = ScopeCache::default();
        cache.set("used", "ann");
        for n in 0..GENERATION * 4 {
            cache.set(&n.to_string(), "bob");
            assert_eq!(cache.get(&n.to_string()), Some("bob"));
            cache.set("used", "eve");
            assert_eq!(cache.get("used"), Some("ann"), "{n}");
            assert!(cache.young.len() + cache.old.len() <= GENERATION * 2);
        }
        // What was looked up before it was emptied may be wrong.
        let before = cache.generation();
        cache.set_as_of(before, "late", "ann");
        assert_eq!(cache.get("late"), Some("ann"));
        assert_eq!(cache.get("0"), None);
        let lately = (GENERATION * 3 + 1).to_string();
        assert_eq!(cache.get(&lately), Some("bob"));
        cache.forget();
        cache.set_as_of(before, "late", "ann");
        assert_eq!((cache.get("late"), cache.get(&lately)), (None, None));
    }
}
