//! Proof that the rows are what the log says: fold again from the beginning and compare.

use super::host::FoldHost;
use super::rows::RowSeal;
use super::state::{FoldState, Look};
use super::{Fold, FoldError, FoldRecord};
use crate::engine::Db;
use crate::error::StorageError;
use runstone_codec::Position;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Outcome of folding again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoldCheck {
    /// The fold.
    pub fold: String,
    /// Events taken in by both.
    pub position: Position,
    /// SHA-256 over the rows folded again.
    pub digest: [u8; 32],
    /// SHA-256 over the live rows.
    pub live_digest: [u8; 32],
    /// The first row that differs.
    pub difference: Option<RowDifference>,
    /// Where and why the fold stopped, now or live.
    pub stopped: Option<(Position, String)>,
}

impl FoldCheck {
    /// Whether the live rows are what the log says.
    pub fn is_equal(&self) -> bool {
        self.digest == self.live_digest && self.difference.is_none()
    }
}

/// The first row that is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowDifference {
    /// Key of the row.
    pub key: Vec<u8>,
    /// Value folded again; `None` if there should be no row.
    pub rebuilt: Option<Vec<u8>>,
    /// Live value; `None` if there is no row.
    pub live: Option<Vec<u8>>,
}

/// A fold that is folded again beside the live one.
#[derive(Debug)]
pub(crate) struct Rebuild {
    state: FoldState,
}

impl Rebuild {
    pub(crate) fn new(fold: Arc<dyn Fold>) -> Self {
        Self {
            state: FoldState::detached(fold),
        }
    }

    pub(crate) fn applied(&self) -> u64 {
        self.state.applied
    }

    pub(crate) fn name(&self) -> &'static str {
        self.state.name()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.stopped.is_some()
    }

    pub(crate) fn apply(&mut self, seal: &RowSeal, record: &FoldRecord<'_>) {
        self.state.apply(seal, &Look::Nowhere, record);
    }

    pub(crate) fn into_state(self) -> FoldState {
        self.state
    }

    /// The error of a fold that could not be folded to the end because a key could not be had.
    pub(crate) fn check_keys(&self) -> Result<(), FoldError> {
        match &self.state.keys_away {
            Some(why) => Err(FoldError::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    /// Compares with the live rows, which must be at the same position.
    pub(crate) fn compare(&self, host: &FoldHost, db: &Db) -> Result<FoldCheck, FoldError> {
        self.check_keys()?;
        let live_state = host.state(self.state.name());
        if let Some(why) = live_state.and_then(|state| state.keys_away.clone()) {
            return Err(FoldError::Unavailable(why));
        }
        let row = |error: StorageError| FoldError::Row(error.to_string());
        let snapshot = db.snapshot().map_err(row)?;
        let name = self.state.name();
        let mut live = Vec::new();
        host.walk(&snapshot, name, &mut |key, value| {
            live.push((key.to_vec(), value.to_vec()));
            true
        })?;
        let mut again = Vec::new();
        self.state
            .each_row(&host.seal, &snapshot, b"", b"", &mut |key, value| {
                again.push((key.to_vec(), value.to_vec()));
                true
            })?;
        let stopped = self.state.stopped.clone().or_else(|| {
            host.state(name)
                .and_then(|live_state| live_state.stopped.clone())
        });
        Ok(FoldCheck {
            fold: name.to_owned(),
            position: Position::new(self.state.applied),
            digest: digest(&again),
            live_digest: digest(&live),
            difference: first_difference(&again, &live),
            stopped: stopped.map(|(position, why)| (Position::new(position), why)),
        })
    }
}

type Pair = (Vec<u8>, Vec<u8>);

fn digest(rows: &[Pair]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (key, value) in rows {
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

fn first_difference(again: &[Pair], live: &[Pair]) -> Option<RowDifference> {
    let at = again
        .iter()
        .zip(live)
        .position(|(rebuilt, live)| rebuilt != live)
        .unwrap_or_else(|| again.len().min(live.len()));
    let (rebuilt, live) = (again.get(at), live.get(at));
    let key = match (rebuilt, live) {
        (None, None) => return None,
        (Some((key, _)), None) | (None, Some((key, _))) => key.clone(),
        (Some((one, _)), Some((other, _))) => one.min(other).clone(),
    };
    let value = |pair: Option<&Pair>| {
        pair.filter(|(found, _)| *found == key)
            .map(|(_, value)| value.clone())
    };
    Some(RowDifference {
        rebuilt: value(rebuilt),
        live: value(live),
        key,
    })
}
