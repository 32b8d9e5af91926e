//! The scope of each stream, fixed by its first event: a bounded cache over the log.

use std::collections::HashMap;

/// Streams remembered.
const CAPACITY: usize = 65_536;

/// Scopes of streams that were written or looked up lately.
#[derive(Debug, Default)]
pub(crate) struct ScopeCache {
    scopes: HashMap<String, String>,
}

impl ScopeCache {
    pub(crate) fn get(&self, stream: &str) -> Option<&str> {
        self.scopes.get(stream).map(String::as_str)
    }

    pub(crate) fn set(&mut self, stream: &str, scope: &str) {
        if self.scopes.contains_key(stream) {
            return;
        }
        if self.scopes.len() >= CAPACITY {
            self.scopes.clear();
        }
        self.scopes.insert(stream.to_owned(), scope.to_owned());
    }
}
