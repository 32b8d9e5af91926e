//! What the log's own events say of it, taken together.

use super::events::{
    EPOCH_STARTED, ERASURE_COMPLETED, ERASURE_REQUESTED, EpochStarted, ErasureCompleted,
    ErasureRequested, GENESIS, Genesis, KEY_ROTATED, KeyRotated,
};
use crate::chunk::{Chunk, RawEvent};
use crate::engine::{NumberTable, Snapshot};
use crate::error::{Corruption, ReadError};
use crate::hex::unhex;
use crate::index::IndexView;
use crate::query::{Item, Query};
use crate::read::{Candidates, check_digest, parse_entry, positions};
use runstone_codec::{Entry, Header, KeyId, LogId, seal};
use runstone_receipt::note::Vkey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Events fetched at once.
const PAGE: usize = 256;
/// The types that a history is made of, less the genesis.
const TYPES: [&str; 4] = [
    EPOCH_STARTED,
    ERASURE_COMPLETED,
    ERASURE_REQUESTED,
    KEY_ROTATED,
];

/// A time in which checkpoints carry one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    pub(crate) origin: String,
    /// Public keys that sign in it, oldest first, and where each was recorded.
    keys: Vec<([u8; 32], u64)>,
    /// Events before it.
    pub(crate) size: u64,
    /// The newest head of the epoch before that was known when this one began: size and root.
    pub(crate) known: Option<(u64, [u8; 32])>,
}

/// An erasure and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErasureState {
    pub(crate) request: ErasureRequested,
    /// What the last `log.erasure_completed` of it says, and where that is.
    pub(crate) completed: Option<(u64, ErasureCompleted)>,
}

impl ErasureState {
    /// Whether what it names may still be in the file.
    pub(crate) fn is_unfinished(&self) -> bool {
        let completed = self.completed.as_ref();
        !completed.is_some_and(|(_, completed)| completed.rewritten)
    }
}

/// The log's names, keys and erasures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    epochs: Vec<Epoch>,
    /// By the position of the request.
    erasures: BTreeMap<u64, ErasureState>,
    /// Keys, and the last request that names each.
    erased_keys: BTreeMap<KeyId, u64>,
    /// Scopes, and the last request that names each: of events without a key it covers those before.
    erased_scopes: BTreeMap<String, u64>,
    /// Some events could not be read.
    has_gaps: bool,
}

impl History {
    /// As it was when the log had `size` events, as far as erasures go.
    pub(crate) fn before(this: &Arc<Self>, size: u64) -> Arc<Self> {
        if this.erasures.range(size..).next().is_none() {
            return Arc::clone(this);
        }
        let mut then = Self::clone(this);
        then.erasures.split_off(&size);
        (then.erased_keys, then.erased_scopes) = Default::default();
        for (position, state) in this.erasures.range(..size) {
            then.name_erased(*position, &state.request);
        }
        Arc::new(then)
    }

    fn name_erased(&mut self, position: u64, request: &ErasureRequested) {
        let keys = request.key_ids.iter();
        self.erased_keys.extend(keys.map(|key| (*key, position)));
        let scopes = request.scopes.iter();
        self.erased_scopes
            .extend(scopes.map(|scope| (scope.clone(), position)));
    }

    /// Reads the events that the index names below `covered`, and looks for others from there on.
    pub(crate) fn read(
        log_id: &LogId,
        snapshot: &Snapshot,
        view: &IndexView,
        covered: u64,
    ) -> Result<Self, ReadError> {
        let mut history = Self::default();
        history.scan(log_id, snapshot, (0, 1))?;
        let read = history.read_indexed(log_id, snapshot, view, covered);
        let read = read.and_then(|()| history.scan(log_id, snapshot, (covered.max(1), u64::MAX)));
        match read {
            Ok(()) => Ok(history),
            Err(error) if error.is_retryable() => Err(error),
            // Damage in one place is no reason to forget what the others say.
            Err(_) => Self::salvaged(log_id, snapshot),
        }
    }

    /// Looks at every event that can be read.
    fn salvaged(log_id: &LogId, snapshot: &Snapshot) -> Result<Self, ReadError> {
        let mut history = Self::default();
        let (mut next, mut end) = (Some(0), 0);
        while let Some(from) = next {
            let found = snapshot.number_at_or_above(NumberTable::Chunks, from)?;
            let Some((key, value)) = found else { break };
            next = key.checked_add(1);
            history.has_gaps |= key != end;
            let Ok(chunk) = Chunk::parse(key, value.bytes()) else {
                history.has_gaps = true;
                continue;
            };
            end = chunk.end();
            for raw in chunk.events() {
                let taken = raw.map_err(ReadError::from);
                let taken = taken.and_then(|raw| history.take_raw(log_id, raw));
                history.has_gaps |= taken.is_err();
            }
        }
        Ok(history)
    }

    fn read_indexed(
        &mut self,
        log_id: &LogId,
        snapshot: &Snapshot,
        view: &IndexView,
        covered: u64,
    ) -> Result<(), ReadError> {
        let Some(last) = covered.checked_sub(1) else {
            return Ok(());
        };
        let query: Query = TYPES
            .iter()
            .fold(Item::new(), |item, event_type| item.of_type(*event_type))
            .into();
        let Candidates::Indexed(items) = Candidates::of(&query) else {
            return Ok(());
        };
        let mut from = 1;
        while from <= last {
            let found = positions(view, snapshot, &items, (from, last), false, PAGE)?;
            for position in &found {
                self.scan(log_id, snapshot, (*position, position + 1))?;
            }
            match found.last() {
                Some(position) if found.len() == PAGE => from = position + 1,
                _ => break,
            }
        }
        Ok(())
    }

    /// Takes in every own event at `from..to`.
    fn scan(
        &mut self,
        log_id: &LogId,
        snapshot: &Snapshot,
        (from, to): (u64, u64),
    ) -> Result<(), ReadError> {
        let mut next = from;
        while next < to {
            let Some((key, value)) = snapshot.number_at_or_below(NumberTable::Chunks, next)? else {
                break;
            };
            let chunk = Chunk::parse(key, value.bytes())?;
            if !chunk.contains(next) {
                break;
            }
            for position in next..chunk.end().min(to) {
                self.take_raw(log_id, chunk.event(position)?)?;
            }
            next = chunk.end();
        }
        Ok(())
    }

    fn take_raw(&mut self, log_id: &LogId, raw: RawEvent<'_>) -> Result<(), ReadError> {
        if !is_own_evidence(raw.entry) {
            return Ok(());
        }
        self.take(log_id, raw, &parse_entry(raw)?)
    }

    /// Takes one event in, if it says something of the log.
    pub(crate) fn take(
        &mut self,
        log_id: &LogId,
        raw: RawEvent<'_>,
        entry: &Entry<'_>,
    ) -> Result<(), ReadError> {
        let event_type = entry.header().event_type.as_str();
        if event_type != GENESIS && !TYPES.contains(&event_type) {
            return Ok(());
        }
        let payload = own_payload(log_id, raw, entry)?;
        self.take_payload(raw.position, event_type, &payload)
            .ok_or_else(|| {
                let expected = format!("the content of {event_type}");
                Corruption::at(raw.position, expected, "other content").into()
            })
    }

    /// Takes in the content of one; `None` if it is other than this version writes.
    pub(crate) fn take_payload(
        &mut self,
        position: u64,
        event_type: &str,
        payload: &[u8],
    ) -> Option<()> {
        match event_type {
            GENESIS => {
                let genesis: Genesis = serde_json::from_slice(payload).ok()?;
                self.epochs.push(Epoch {
                    number: 1,
                    keys: vec![(public_key(&genesis.vkey)?, position)],
                    origin: genesis.origin,
                    size: 0,
                    known: None,
                });
            }
            EPOCH_STARTED => {
                let started: EpochStarted = serde_json::from_slice(payload).ok()?;
                let known = match started.known_checkpoint {
                    Some(known) => Some((known.size, unhex(&known.root)?)),
                    None => None,
                };
                self.epochs.push(Epoch {
                    number: started.epoch,
                    keys: vec![(public_key(&started.vkey)?, position)],
                    origin: started.origin,
                    size: started.size,
                    known,
                });
            }
            KEY_ROTATED => {
                let rotated: KeyRotated = serde_json::from_slice(payload).ok()?;
                let epoch = self.epochs.last_mut()?;
                epoch.keys.push((public_key(&rotated.new)?, position));
            }
            ERASURE_REQUESTED => {
                let request: ErasureRequested = serde_json::from_slice(payload).ok()?;
                self.name_erased(position, &request);
                let state = ErasureState {
                    request,
                    completed: None,
                };
                self.erasures.insert(position, state);
            }
            ERASURE_COMPLETED => {
                let completed: ErasureCompleted = serde_json::from_slice(payload).ok()?;
                let state = self.erasures.get_mut(&completed.requested)?;
                state.completed = Some((position, completed));
            }
            _ => {}
        }
        Some(())
    }

    /// Whether some of it could not be read: then nobody knows for certain who signs and what is
    /// erased.
    pub(crate) fn has_gaps(&self) -> bool {
        self.has_gaps
    }

    /// The origin of checkpoints now; `None` if it cannot be told for certain.
    pub(crate) fn origin(&self) -> Option<&str> {
        let newest = self.epochs.last().filter(|_| !self.has_gaps);
        newest.map(|epoch| epoch.origin.as_str())
    }

    /// Whether a checkpoint was signed in an epoch that ended before it, and whoever ended that
    /// epoch knew so: what it says beyond the end is not part of this log.
    pub(crate) fn is_superseded(&self, origin: &str, (size, root): (u64, [u8; 32])) -> bool {
        let Some(at) = self.epochs.iter().position(|epoch| epoch.origin == origin) else {
            return false;
        };
        self.epochs.iter().skip(at + 1).any(|next| {
            let is_known = |known: (u64, [u8; 32])| size < known.0 || (size, root) == known;
            size > next.size && next.known.is_some_and(is_known)
        })
    }

    pub(crate) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Every key that may have signed a checkpoint of this log, under the name that it had then.
    pub(crate) fn vkeys(&self) -> Vec<Vkey> {
        self.signers().map(|(vkey, _)| vkey).collect()
    }

    /// Those keys, oldest first, and where each was recorded.
    pub(crate) fn signers(&self) -> impl Iterator<Item = (Vkey, u64)> {
        self.epochs.iter().flat_map(|epoch| {
            let keys = epoch.keys.iter();
            keys.filter_map(|(key, at)| Some((Vkey::new(&epoch.origin, key).ok()?, *at)))
        })
    }

    /// Whether a key signs in the epoch of now, as far as is recorded.
    pub(crate) fn is_signer(&self, public_key: &[u8; 32]) -> bool {
        let newest = self.epochs.last();
        newest.is_some_and(|epoch| epoch.keys.iter().any(|(key, _)| key == public_key))
    }

    pub(crate) fn erasures(&self) -> &BTreeMap<u64, ErasureState> {
        &self.erasures
    }

    /// Erasures whose steps are not all done.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u64, &ErasureState)> {
        self.erasures
            .iter()
            .filter(|(_, state)| state.completed.is_none())
            .map(|(position, state)| (*position, state))
    }

    /// Keys that were destroyed, or are to be.
    pub(crate) fn erased_keys(&self) -> impl Iterator<Item = &KeyId> {
        self.erased_keys.keys()
    }

    /// Whether the content of the event at `position` was erased.
    pub(crate) fn covers(&self, position: u64, header: &Header) -> bool {
        match &header.key_id {
            Some(key_id) => self.erased_keys.contains_key(key_id),
            None => self
                .erased_scopes
                .get(header.scope.as_str())
                .is_some_and(|before| position < *before),
        }
    }

    /// The last erasure that names a key.
    pub(crate) fn erasure_of_key(&self, key_id: &KeyId) -> Option<(u64, &ErasureState)> {
        let at = *self.erased_keys.get(key_id)?;
        Some((at, self.erasures.get(&at)?))
    }

    /// The last erasure that names a scope.
    pub(crate) fn erasure_of_scope(&self, scope: &str) -> Option<(u64, &ErasureState)> {
        let at = *self.erased_scopes.get(scope)?;
        Some((at, self.erasures.get(&at)?))
    }
}

fn public_key(vkey: &str) -> Option<[u8; 32]> {
    Some(vkey.parse::<Vkey>().ok()?.public_key())
}

/// Whether an entry may be one that a history is made of: a look at its bytes, not a proof.
pub(crate) fn is_own_evidence(entry: &[u8]) -> bool {
    entry.windows(4).any(|window| window == b"log.")
}

/// The content of an event that is never sealed.
pub(crate) fn own_payload(
    log_id: &LogId,
    raw: RawEvent<'_>,
    entry: &Entry<'_>,
) -> Result<Vec<u8>, ReadError> {
    check_digest(log_id, entry, raw)?;
    seal::open(
        log_id,
        entry.header_bytes(),
        entry.header(),
        raw.envelope,
        entry.commit(),
        None,
    )
    .map_err(|error| ReadError::payload(raw.position, &error))
}
