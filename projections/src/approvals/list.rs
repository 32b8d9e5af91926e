//! Looking at requests.

use super::fold::{FOLD, PENDING_ROW, REQUEST_ROW, effect_key, id_key, request_key};
use super::{Approval, ApprovalError, ApprovalState, Approvals};
use crate::effects::{Claim, EffectId};
use crate::events::{ApprovalDecided, ApprovalRequested};
use crate::rows::ApprovalRow;
use crate::{DecodeRecord as _, view};
use runstone_codec::{Position, Uuid};
use runstone_store::ReadError;

/// Which requests are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalFilter {
    /// How they stand.
    pub state: Option<ApprovalState>,
    /// Their stream.
    pub stream: Option<String>,
    /// Only those that nobody decided in time.
    pub expired: bool,
}

impl ApprovalFilter {
    /// Every request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only requests that stand so.
    #[must_use]
    pub fn state(mut self, state: ApprovalState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only requests of this stream.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    fn matches(&self, approval: &Approval) -> bool {
        self.state.is_none_or(|state| state == approval.state)
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| *stream == approval.stream)
            && (!self.expired || approval.is_expired)
    }
}

/// What is asked for, in words.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Asked {
    /// This.
    Said(ApprovalRequested),
    /// It was erased.
    Erased,
}

/// What people decided, as a resumed run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether it was approved.
    pub approved: bool,
    /// Who decided it; `system:keyring` if time did.
    pub decided_by: String,
    /// What they said.
    pub comment: Option<String>,
}

impl Approvals {
    /// A request by its position.
    ///
    /// # Errors
    ///
    /// [`ApprovalError::NotFound`] if there is none.
    pub fn get(&self, request: Position) -> Result<Approval, ApprovalError> {
        view::check(&self.log, FOLD)?;
        self.at(request.get())?.ok_or(ApprovalError::NotFound)
    }

    /// A request by the id of the event that records it.
    ///
    /// # Errors
    ///
    /// [`ApprovalError::NotFound`] if there is none.
    pub fn by_id(&self, id: Uuid) -> Result<Approval, ApprovalError> {
        view::check(&self.log, FOLD)?;
        let found = self.position(&id_key(id.as_bytes()))?;
        let found = found.map(|position| self.at(position)).transpose()?;
        found.flatten().ok_or(ApprovalError::NotFound)
    }

    /// The newest request for the call that a claim would make.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`] if the claim cannot be one, or the log cannot be read.
    pub fn find(&self, claim: &Claim) -> Result<Option<Approval>, ApprovalError> {
        match claim.id(&self.log)? {
            Some(id) => Ok(self.of_effect(&id)?),
            None => Ok(None),
        }
    }

    /// The newest request for a call.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn of_effect(&self, id: &EffectId) -> Result<Option<Approval>, ReadError> {
        view::check(&self.log, FOLD)?;
        let found = self.position(&effect_key(&id.digest, &id.scope))?;
        let found = found.map(|position| self.at(position)).transpose()?;
        Ok(found.flatten())
    }

    /// Requests that are meant, in the order in which they were made. It holds them all in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
    pub fn list(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, ReadError> {
        view::check(&self.log, FOLD)?;
        let is_pending = filter.expired || filter.state == Some(ApprovalState::Pending);
        let prefix = if is_pending { PENDING_ROW } else { REQUEST_ROW };
        let mut found = Vec::new();
        view::each(&self.log, FOLD, &[prefix], |(key, _)| {
            let position = key.get(1..).and_then(|bytes| bytes.try_into().ok());
            let position = position.map(u64::from_be_bytes);
            let position =
                position.ok_or_else(|| view::failed(FOLD, "the key of a row names no request"))?;
            let approval = self.at(position)?;
            found.extend(approval.filter(|approval| filter.matches(approval)));
            Ok(())
        })?;
        Ok(found)
    }

    /// What a request asks for, in words.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn said(&self, approval: &Approval) -> Result<Asked, ReadError> {
        let record = self.log.record(approval.position)?;
        Ok(record.decode().map_or(Asked::Erased, Asked::Said))
    }

    /// What people decided; `None` as long as they did not.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn verdict(&self, approval: &Approval) -> Result<Option<Verdict>, ReadError> {
        let Some(decided) = approval.decided else {
            return Ok(None);
        };
        let record = self.log.record(decided)?;
        // One that expired was decided by an event of another type.
        let said = record.decode::<ApprovalDecided>();
        let comment = said.ok().and_then(|said| said.comment);
        Ok(Some(Verdict {
            approved: approval.state == ApprovalState::Approved,
            decided_by: approval.decided_by.clone(),
            comment,
        }))
    }

    fn position(&self, key: &[u8]) -> Result<Option<u64>, ReadError> {
        view::stored(&self.log, FOLD, key)
    }

    fn at(&self, position: u64) -> Result<Option<Approval>, ReadError> {
        let row: Option<ApprovalRow> = view::stored(&self.log, FOLD, &request_key(position))?;
        Ok(row.map(|row| Approval::of((position, row), self.log.steady_us())))
    }
}
