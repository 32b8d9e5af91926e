//! What a decider sees: the state that includes every earlier request of its group.

use crate::engine::Snapshot;
use crate::error::AppendError;
use crate::fold::{FoldHost, FoldRow, Look, RowValue};
use crate::identity::Opening;
use crate::index::{self, Index};
use crate::write::Prepared;
use runstone_codec::{Control, Header, Position};

/// The state at the writer, for one decision.
pub struct DecideContext<'a> {
    pub(crate) now_us: u64,
    pub(crate) steady_us: u64,
    pub(crate) next_position: u64,
    pub(crate) folds: &'a FoldHost,
    pub(crate) index: &'a mut Index,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) candidates: &'a [Prepared],
    pub(crate) opening: Opening,
}

impl std::fmt::Debug for DecideContext<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DecideContext")
            .field("now_us", &self.now_us)
            .field("next_position", &self.next_position)
            .finish_non_exhaustive()
    }
}

impl DecideContext<'_> {
    /// The time that the recorded events will carry, microseconds since the epoch.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// What leases within this opening are measured by: when it began and what the monotonic clock
    /// has measured since, whatever was done to the wall clock.
    pub fn steady_us(&self) -> u64 {
        self.steady_us
    }

    /// Position of the first event that the decision records: a fence that only grows.
    pub fn next_position(&self) -> Position {
        Position::new(self.next_position)
    }

    /// The opening of the log in which this is decided.
    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// Header and control of a candidate as they would be recorded, keyed digests included; `None`
    /// past the last one. They may differ when it is decided again: a scope that was erased
    /// meanwhile has another lookup key.
    pub fn candidate(&self, candidate: usize) -> Option<(&Header, &Control)> {
        let prepared = self.candidates.get(candidate)?;
        Some((&prepared.header, &prepared.control))
    }

    /// Last revision of a stream; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`AppendError::Corrupt`] if the index cannot be read.
    pub fn last_revision(&mut self, stream: &str) -> Result<Option<u64>, AppendError> {
        let head = self
            .index
            .head(self.snapshot, &index::stream(stream))
            .map_err(AppendError::from)?;
        Ok(head.map(|head| head.count.saturating_sub(1)))
    }

    /// Position of the last event that carries a tag.
    ///
    /// # Errors
    ///
    /// [`AppendError::Corrupt`] if the index cannot be read.
    pub fn last_tagged(&mut self, tag: &str) -> Result<Option<Position>, AppendError> {
        let head = self
            .index
            .head(self.snapshot, &index::tag(tag))
            .map_err(AppendError::from)?;
        Ok(head.map(|head| Position::new(head.last)))
    }

    /// Position of the last event of a type.
    ///
    /// # Errors
    ///
    /// [`AppendError::Corrupt`] if the index cannot be read.
    pub fn last_of_type(&mut self, event_type: &str) -> Result<Option<Position>, AppendError> {
        let head = self
            .index
            .head(self.snapshot, &index::type_pattern(event_type))
            .map_err(AppendError::from)?;
        Ok(head.map(|head| Position::new(head.last)))
    }

    /// One row of a fold.
    ///
    /// # Errors
    ///
    /// [`AppendError::FoldStopped`] if the fold stopped or is not hosted here.
    pub fn fold_row(&self, fold: &str, key: &[u8]) -> Result<Option<Vec<u8>>, AppendError> {
        let value = self.fold_value(fold, key)?;
        let bytes = value.map(RowValue::into_bytes).transpose();
        bytes.map_err(|error| self.stopped(fold, error.to_string()))
    }

    /// One row of a fold as it was put, which spares decoding it.
    ///
    /// # Errors
    ///
    /// As [`fold_row`](Self::fold_row).
    pub fn fold_value(&self, fold: &str, key: &[u8]) -> Result<Option<RowValue>, AppendError> {
        self.going(fold)?;
        self.folds
            .value(&Look::At(self.snapshot), fold, key)
            .map_err(|error| self.stopped(fold, error.to_string()))
    }

    /// The first row of a fold, in the order of keys, whose key begins with `prefix` and is not
    /// below `from`. It costs as much as one row, and what was removed there since rows were
    /// flushed last: not what the fold has.
    ///
    /// # Errors
    ///
    /// As [`fold_row`](Self::fold_row).
    pub fn fold_first(
        &self,
        fold: &str,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<Option<FoldRow>, AppendError> {
        self.going(fold)?;
        let from = if from < prefix { prefix } else { from };
        let rows = self.folds.rows(self.snapshot, fold, prefix, from, 1);
        let rows = rows.map_err(|error| self.stopped(fold, error.to_string()))?;
        Ok(rows.into_iter().next())
    }

    /// A fold that stopped knows nothing of what came after.
    fn going(&self, fold: &str) -> Result<(), AppendError> {
        let state = self.folds.state(fold);
        match state.and_then(|state| state.stopped.clone()) {
            Some((position, why)) => Err(AppendError::FoldStopped {
                fold: fold.to_owned(),
                position,
                why,
            }),
            None => Ok(()),
        }
    }

    fn stopped(&self, fold: &str, why: String) -> AppendError {
        AppendError::FoldStopped {
            fold: fold.to_owned(),
            position: self.next_position,
            why,
        }
    }
}
