//! Looking at the ledger.

use super::fold::{DIGEST_BYTES, EFFECT_ROW, FOLD, OPEN_ROW, effect_key};
use super::{Claim, Effect, EffectError, EffectId, Effects, State};
use crate::lease::Moment;
use crate::rows::{self, EffectRow};
use crate::view;
use runstone_codec::Position;
use runstone_store::{Log, ReadError};

/// Which calls are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectFilter {
    /// How they stand.
    pub state: Option<State>,
    /// Stream of their newest claim.
    pub stream: Option<String>,
    /// Only those whose holder let the lease pass.
    pub expired: bool,
}

impl EffectFilter {
    /// Every call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only calls that stand so.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Only calls that were claimed last in this stream.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Only calls whose holder let the lease pass.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    fn is_open(&self) -> bool {
        self.expired || matches!(self.state, Some(State::InFlight | State::Unknown))
    }

    fn matches(&self, effect: &Effect) -> bool {
        self.state.is_none_or(|state| state == effect.state)
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| *stream == effect.stream)
            && (!self.expired || effect.is_expired)
    }
}

/// Calls that are meant; open ones in the order of their claims, others in none. It holds them all
/// in memory.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
pub fn list(log: &Log, filter: &EffectFilter) -> Result<Vec<Effect>, ReadError> {
    view::check(log, FOLD)?;
    let (prefix, skip) = if filter.is_open() {
        (OPEN_ROW, 1 + size_of::<u64>())
    } else {
        (EFFECT_ROW, 1)
    };
    let mut found = Vec::new();
    view::each(log, FOLD, &[prefix], |(key, row)| {
        let id = id_of(key.get(skip..).unwrap_or_default())?;
        let effect = if prefix == EFFECT_ROW {
            Some(seen(log, id, &row)?)
        } else {
            // One that was settled since the page was read is passed over.
            get(log, &id)?
        };
        found.extend(effect.filter(|effect| filter.matches(effect)));
        Ok(())
    })?;
    Ok(found)
}

fn get(log: &Log, id: &EffectId) -> Result<Option<Effect>, ReadError> {
    let row = log.fold_row(FOLD, &effect_key(&id.digest, &id.scope))?;
    row.map(|row| seen(log, id.clone(), &row)).transpose()
}

/// What the newest claim of a call reserved and has not ended.
pub(super) fn reservations_of(log: &Log, id: &EffectId) -> Result<Vec<u64>, ReadError> {
    let row: Option<EffectRow> = view::stored(log, FOLD, &effect_key(&id.digest, &id.scope))?;
    Ok(row.map(|row| row.reservations).unwrap_or_default())
}

fn seen(log: &Log, id: EffectId, row: &[u8]) -> Result<Effect, ReadError> {
    let row: EffectRow = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
    let moment = Moment::Now(log.opening(), log.steady_us());
    Ok(Effect::of(id, &row, &moment))
}

pub(super) fn id_of(bytes: &[u8]) -> Result<EffectId, ReadError> {
    let id = bytes
        .split_first_chunk::<DIGEST_BYTES>()
        .and_then(|(digest, scope)| {
            Some(EffectId {
                digest: *digest,
                scope: std::str::from_utf8(scope).ok()?.to_owned(),
            })
        });
    id.ok_or_else(|| view::failed(FOLD, "the key of a row names no call"))
}

impl Effects {
    /// How the call stands that a claim would be for; `None` if nobody ever claimed it.
    ///
    /// # Errors
    ///
    /// [`EffectError`] if the key cannot be one, or the log cannot be read.
    pub fn find(&self, claim: &Claim) -> Result<Option<Effect>, EffectError> {
        let Some(id) = claim.id(&self.log)? else {
            return Ok(None);
        };
        view::check(&self.log, FOLD)?;
        Ok(get(&self.log, &id)?)
    }

    /// How a call stands.
    ///
    /// # Errors
    ///
    /// [`EffectError::Read`] if the log cannot be read.
    pub fn get(&self, id: &EffectId) -> Result<Option<Effect>, EffectError> {
        view::check(&self.log, FOLD)?;
        Ok(get(&self.log, id)?)
    }

    /// How the call stands that an event of the ledger is about.
    ///
    /// # Errors
    ///
    /// [`EffectError::NotFound`] if it is about none.
    pub fn at(&self, position: Position) -> Result<Effect, EffectError> {
        let record = self.log.record(position)?;
        let digest = record
            .control
            .get_bytes(crate::events::control::effect::KEY);
        let digest = digest.and_then(|digest| digest.try_into().ok());
        let is_effect = record.header.event_type.starts_with("effect.");
        let digest = digest.filter(|_| is_effect).ok_or(EffectError::NotFound)?;
        let scope = record.header.scope.into();
        self.get(&EffectId { digest, scope })?
            .ok_or(EffectError::NotFound)
    }
}
