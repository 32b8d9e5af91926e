//! The key table in memory, with what is asked of it most.

use runstone_codec::KeyId;
use runstone_codec::keys::{KeyKind, KeyRow, KeyState, KeyTable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What can be told of a key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its id.
    #[schemars(with = "String")]
    pub key_id: KeyId,
    /// What it is for.
    pub kind: KeyKind,
    /// The scope it belongs to; empty for the log's own keys.
    pub scope: String,
    /// Counts the data keys of a scope.
    pub generation: u32,
    /// The key-encryption key that wraps it.
    pub kek_id: String,
    /// When it was made, Unix microseconds.
    pub created_us: u64,
    /// Messages sealed under it, as far as is known.
    pub messages: u64,
    /// Whether it seals new messages.
    pub state: KeyState,
}

/// The data key that a scope seals with.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub(super) id: KeyId,
    pub(super) created_us: u64,
    /// Messages since the key was made; shared, so that counting takes no lock.
    pub(super) messages: Arc<AtomicU64>,
    /// How many of them the table on disk knows of.
    pub(super) saved: u64,
}

#[derive(Debug, Default)]
struct Scope {
    active: Option<Active>,
    lookup: Option<KeyId>,
    generation: u32,
}

/// A key table and its indexes; replaced whole when the table is.
#[derive(Debug)]
pub(super) struct State {
    table: KeyTable,
    scopes: BTreeMap<String, Scope>,
    active: BTreeSet<KeyId>,
}

impl State {
    /// Indexes a table; counters of keys that go on are taken over from `before`.
    pub(super) fn new(table: KeyTable, before: Option<&Self>) -> Self {
        let mut scopes: BTreeMap<String, Scope> = BTreeMap::new();
        let mut active = BTreeSet::new();
        for row in table.rows().iter().filter(|row| row.kind.is_scoped()) {
            let scope = scopes.entry(row.scope.clone()).or_default();
            if row.kind == KeyKind::Lookup {
                scope.lookup = Some(row.key_id);
                continue;
            }
            scope.generation = scope.generation.max(row.generation);
            if row.state == KeyState::Active {
                active.insert(row.key_id);
                let going_on = before
                    .and_then(|state| state.active(&row.scope))
                    .filter(|going_on| going_on.id == row.key_id);
                scope.active = Some(Active {
                    id: row.key_id,
                    created_us: row.created_us,
                    messages: going_on.map_or_else(
                        || Arc::new(AtomicU64::new(row.count)),
                        |going_on| Arc::clone(&going_on.messages),
                    ),
                    saved: row.count,
                });
            }
        }
        Self {
            table,
            scopes,
            active,
        }
    }

    pub(super) fn row(&self, id: &KeyId) -> Option<&KeyRow> {
        self.table.get(id)
    }

    pub(super) fn rows(&self) -> &[KeyRow] {
        self.table.rows()
    }

    /// The log's own key of a kind.
    pub(super) fn log_key(&self, kind: KeyKind) -> Option<&KeyRow> {
        self.rows().iter().find(|row| row.kind == kind)
    }

    pub(super) fn is_active(&self, id: &KeyId) -> bool {
        self.active.contains(id)
    }

    pub(super) fn active(&self, scope: &str) -> Option<&Active> {
        self.scopes.get(scope)?.active.as_ref()
    }

    pub(super) fn lookup(&self, scope: &str) -> Option<KeyId> {
        self.scopes.get(scope)?.lookup
    }

    pub(super) fn generation(&self, scope: &str) -> u32 {
        self.scopes.get(scope).map_or(0, |scope| scope.generation)
    }

    /// The table as it is to be written next: with the messages counted so far.
    pub(super) fn next_table(&self) -> KeyTable {
        let mut table = self.table.clone();
        for active in self
            .scopes
            .values()
            .filter_map(|scope| scope.active.as_ref())
        {
            if let Some(row) = self.table.get(&active.id) {
                let count = active.messages.load(Ordering::Relaxed);
                table.insert(KeyRow {
                    count,
                    ..row.clone()
                });
            }
        }
        table
    }

    /// Whether a message was counted that the table on disk does not know of.
    pub(super) fn has_unsaved(&self) -> bool {
        let unsaved = |active: &Active| active.messages.load(Ordering::Relaxed) != active.saved;
        self.scopes
            .values()
            .filter_map(|scope| scope.active.as_ref())
            .any(unsaved)
    }

    pub(super) fn list(&self) -> Vec<KeyInfo> {
        self.next_table().rows().iter().map(KeyInfo::of).collect()
    }
}

impl KeyInfo {
    pub(super) fn of(row: &KeyRow) -> Self {
        Self {
            key_id: row.key_id,
            kind: row.kind,
            scope: row.scope.clone(),
            generation: row.generation,
            kek_id: row.kek_id.clone(),
            created_us: row.created_us,
            messages: row.count,
            state: row.state,
        }
    }
}
