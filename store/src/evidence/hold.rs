//! Legal holds: a scope that must not be erased.

use super::EraseError;
use crate::append::Condition;
use crate::error::{AppendError, ReadError};
use crate::log::Log;
use crate::own::{HOLD_PLACED, HOLD_RELEASED, Hold};
use crate::prepare::LOG_STREAM;
use crate::query::{Item, Query};
use crate::read::Read;
use runstone_codec::field::{Field, check_name};
use runstone_codec::{EventError, NewEvent, Position};
use std::collections::BTreeMap;

/// The tag by which holds of a scope are found.
fn tag_of(scope: &str) -> String {
    format!("held:{scope}")
}

impl Log {
    /// Forbids that a scope is erased, until [`release_hold`](Self::release_hold). Placing a hold
    /// on a scope that is held does nothing; answers where it was placed.
    ///
    /// # Errors
    ///
    /// [`EraseError::Append`] for a name that is none, or if it cannot be recorded.
    pub fn hold(&self, scope: &str) -> Result<Position, EraseError> {
        check_name(Field::Scope, scope)
            .map_err(|error| AppendError::from(EventError::from(error)))?;
        if let Some(held) = self.hold_of(scope)? {
            return Ok(held);
        }
        self.record_hold(HOLD_PLACED, scope)
    }

    /// Lets a scope be erased again. That takes a person or a commander.
    ///
    /// # Errors
    ///
    /// [`EraseError::NotFound`] if it is not held; [`EraseError::Append`] with the code `not_allowed`
    /// for anybody else.
    pub fn release_hold(&self, scope: &str) -> Result<Position, EraseError> {
        self.check_is_person()?;
        if self.hold_of(scope)?.is_none() {
            return Err(EraseError::NotFound {
                scope: scope.to_owned(),
            });
        }
        self.record_hold(HOLD_RELEASED, scope)
    }

    /// Whoever placed or released a hold meanwhile was first: then it is not recorded twice.
    fn record_hold(&self, event_type: &str, scope: &str) -> Result<Position, EraseError> {
        let newest = self.newest_hold_event(scope)?;
        let event = NewEvent::new(event_type, LOG_STREAM)
            .tag(tag_of(scope))
            .json(&Hold {
                scope: scope.to_owned(),
            })
            .map_err(AppendError::from)?;
        let mut condition = Condition::none(Query::tag(tag_of(scope)));
        condition.after = newest.map(|(position, _)| position.get());
        Ok(self.record_own(event, Some(condition))?)
    }

    fn newest_hold_event(&self, scope: &str) -> Result<Option<(Position, bool)>, ReadError> {
        let read = Read::new(Query::tag(tag_of(scope)))
            .reverse()
            .limit(1)
            .without_payloads();
        let newest = self.read(read)?.next().transpose()?;
        Ok(newest.map(|record| {
            let is_placed = record.header.event_type == HOLD_PLACED;
            (record.position, is_placed)
        }))
    }

    /// Where the hold that a scope is under was placed, if it is under one.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn hold_of(&self, scope: &str) -> Result<Option<Position>, ReadError> {
        let newest = self.newest_hold_event(scope)?;
        Ok(newest.and_then(|(position, is_placed)| is_placed.then_some(position)))
    }

    /// Scopes under hold, and where each hold was placed.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn holds(&self) -> Result<BTreeMap<String, Position>, ReadError> {
        let mut holds = BTreeMap::new();
        let item = Item::new().of_type(HOLD_PLACED).of_type(HOLD_RELEASED);
        for record in self.read(Read::new(item.into()))? {
            let record = record?;
            let content = record.payload.bytes().unwrap_or_default();
            let Ok(hold) = serde_json::from_slice::<Hold>(content) else {
                continue;
            };
            if record.header.event_type == HOLD_PLACED {
                holds.insert(hold.scope, record.position);
            } else {
                holds.remove(&hold.scope);
            }
        }
        Ok(holds)
    }
}
