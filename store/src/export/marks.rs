//! What events have in place of content, and whether that may be.

use super::line::Absent;
use crate::error::Corruption;
use crate::own::History;
use runstone_codec::{Header, KeyId};
use std::collections::{BTreeMap, BTreeSet};

/// Events by what they have in place of content.
#[derive(Default)]
pub(super) struct Marks {
    erased: Mark,
    withheld: Mark,
    present: Mark,
}

/// Keys of such events, and of each scope the first and the last that has no key.
#[derive(Default)]
struct Mark {
    keys: BTreeSet<KeyId>,
    scopes: BTreeMap<String, (u64, u64)>,
}

impl Mark {
    fn add(&mut self, position: u64, header: &Header) {
        if let Some(key) = header.key_id {
            self.keys.insert(key);
        } else if let Some((_, last)) = self.scopes.get_mut(header.scope.as_str()) {
            *last = position;
        } else {
            let only = (position, position);
            self.scopes.insert(header.scope.to_string(), only);
        }
    }

    /// Adds what comes after it.
    fn go_on(&mut self, later: Self) {
        self.keys.extend(later.keys);
        for (scope, (first, last)) in later.scopes {
            let here = self.scopes.entry(scope).or_insert((first, last));
            here.1 = last;
        }
    }

    /// Whether an erasure covers the content of one of them.
    fn is_covered(&self, history: &History) -> bool {
        let mut first = self
            .scopes
            .iter()
            .map(|(scope, (first, _))| (scope, *first));
        self.keys.iter().any(|key| key_is(history, key))
            || first.any(|(scope, at)| scope_is(history, scope, at))
    }
}

fn key_is(history: &History, key: &KeyId) -> bool {
    history.erasure_of_key(key).is_some()
}

fn scope_is(history: &History, scope: &str, at: u64) -> bool {
    let covering = history.erasure_of_scope(scope);
    covering.is_some_and(|(before, _)| at < before)
}

impl Marks {
    pub(super) fn add(&mut self, absent: Option<Absent>, position: u64, header: &Header) {
        let mark = match absent {
            None => &mut self.present,
            Some(Absent::Erased) => &mut self.erased,
            Some(Absent::Withheld) => &mut self.withheld,
        };
        mark.add(position, header);
    }

    /// What is marked as erased must be covered by an erasure, and nothing else may be.
    pub(super) fn check(&self, history: &History) -> Result<(), Corruption> {
        let erased = &self.erased;
        let mut last = erased
            .scopes
            .iter()
            .map(|(scope, (_, last))| (scope, *last));
        let is_erased = erased.keys.iter().all(|key| key_is(history, key))
            && last.all(|(scope, at)| scope_is(history, scope, at));
        if is_erased && !self.is_kept_covered(history) {
            return Ok(());
        }
        let expected = "content that is marked as erased where an erasure covers it";
        Err(Corruption::table("chunks", expected, "another mark"))
    }

    /// Whether an erasure covers something that is not marked as erased.
    pub(super) fn is_kept_covered(&self, history: &History) -> bool {
        self.withheld.is_covered(history) || self.present.is_covered(history)
    }

    /// Adds the marks of what comes after.
    pub(super) fn go_on(&mut self, later: Self) {
        self.erased.go_on(later.erased);
        self.withheld.go_on(later.withheld);
        self.present.go_on(later.present);
    }
}
