//! Principals: people, commanders and agents that are enrolled and prove themselves.
//!
//! It protects against callers without a credential, not against who holds the keyring.

use crate::Durability;
use crate::append::{Append, Condition};
use crate::error::{AppendError, ReadError};
use crate::hex::{hex, unhex};
use crate::holder::{Base64, ConfigureBy, Enrol};
use crate::keys::{Credential, challenge, verify_proof};
use crate::log::{Backing, Here, Log};
use crate::own::{CONFIGURED, PRINCIPAL_ADDED, PrincipalAdded};
use crate::prepare::{Actor, LOG_STREAM};
use crate::query::{Item, Query};
use crate::read::Read;
use crate::write::{Guards, Outcome, Request, Work};
use runstone_codec::field::{Field, check_name};
use runstone_codec::{Authority, EventError, NewEvent, Position};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Somebody who is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Pseudonym.
    pub id: String,
    /// As what.
    pub authority: Authority,
    /// Ed25519 public key.
    pub public_key: [u8; 32],
    /// Where it was recorded.
    pub position: Position,
}

/// Settings in force: what deciders and folds read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedSettings {
    /// The event that recorded them.
    pub position: Position,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// The settings as JSON.
    pub bytes: Vec<u8>,
}

fn tag_of(id: &str) -> String {
    format!("principal:{id}")
}

/// What is stamped on the events of a principal.
fn principal_of(authority: Authority, id: &str) -> String {
    format!("{}:{id}", authority.as_str())
}

/// Longest id of an agent in bytes.
const MAX_AGENT_ID_LEN: usize = 64;

/// What stands before the colon of a principal is its authority. The id of an agent is its name, by
/// which it is told things and revoked.
fn check_principal(id: &str, authority: Authority) -> Result<(), AppendError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = id.len() <= MAX_AGENT_ID_LEN
        && id.bytes().all(is_plain)
        && id.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if is_name || authority != Authority::Agent && !id.contains(':') {
        return Ok(());
    }
    Err(AppendError::Keys {
        code: "principal_name",
        message: "the id of a principal has no colon; that of an agent is letters, digits, `.`, `_` and `-`, at most 64"
            .to_owned(),
    })
}

impl Log {
    /// Enrols a principal: from then on a handle that proves the key acts as it.
    ///
    /// # Errors
    ///
    /// [`AppendError::ConditionFailed`] if the id is taken; [`AppendError::Invalid`] for an id
    /// that cannot stand in a header.
    pub fn enrol(
        &self,
        id: &str,
        authority: Authority,
        public_key: &[u8; 32],
    ) -> Result<Position, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.enrol(id, authority, public_key),
            Backing::There(there) => there.ask_blocking(&Enrol {
                id: id.to_owned(),
                authority,
                public_key: Base64(public_key.to_vec()),
            }),
        }
    }

    /// Records settings; the last ones count.
    ///
    /// # Errors
    ///
    /// [`AppendError::Invalid`] if they are not JSON.
    pub fn configure(&self, settings: Vec<u8>) -> Result<Position, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.configure(settings),
            Backing::There(there) => there.ask_blocking(&ConfigureBy {
                settings: settings.into(),
            }),
        }
    }

    /// The settings in force, if any were recorded.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn settings(&self) -> Result<Option<RecordedSettings>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.settings(),
            Backing::There(there) => there.settings(),
        }
    }

    /// Everybody who is enrolled, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn principals(&self) -> Result<Vec<Principal>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.principals(),
            Backing::There(there) => there.principals(),
        }
    }

    /// A handle that acts as the principal of a credential, after it signed a challenge.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if nobody with this id and key is enrolled.
    pub fn with_credential(&self, credential: &Credential) -> Result<Self, AppendError> {
        Ok(match &self.backing {
            Backing::Here(here) => here.with_credential(credential)?.into(),
            Backing::There(there) => Self {
                backing: Backing::There(Arc::new(there.with_credential(credential)?)),
            },
        })
    }

    /// Something to sign, once, for whoever says who he is.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if the operating system gives no randomness.
    pub fn challenge(&self) -> Result<Vec<u8>, AppendError> {
        self.here()?.challenge()
    }

    /// A handle that acts as whoever signed a [`challenge`](Self::challenge) of this log; the caller
    /// takes each one once.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if nobody with this id and key is enrolled.
    pub fn proven(
        &self,
        id: &str,
        challenge: &[u8],
        signature: &[u8; 64],
    ) -> Result<Self, AppendError> {
        Ok(self.here()?.proven(id, challenge, signature)?.into())
    }

    /// A handle that acts as whoever holds the keyring and shows no credential; an attached one stays
    /// who it is.
    pub fn as_keyring(&self) -> Self {
        match &self.backing {
            Backing::Here(here) => here.acting_as(Actor::keyring()).into(),
            Backing::There(_) => self.clone(),
        }
    }

    /// Who this handle acts as.
    pub fn principal(&self) -> (&str, Authority) {
        match &self.backing {
            Backing::Here(here) => here.principal(),
            Backing::There(there) => there.principal(),
        }
    }
}

impl Here {
    pub(crate) fn enrol(
        &self,
        id: &str,
        authority: Authority,
        public_key: &[u8; 32],
    ) -> Result<Position, AppendError> {
        self.check_may_govern()?;
        check_name(Field::Principal, id).map_err(EventError::from)?;
        check_principal(id, authority)?;
        check_name(Field::Principal, &principal_of(authority, id)).map_err(EventError::from)?;
        let content = PrincipalAdded {
            id: id.to_owned(),
            authority: authority.as_str().to_owned(),
            public_key: hex(public_key),
        };
        let event = NewEvent::new(PRINCIPAL_ADDED, LOG_STREAM)
            .tag(tag_of(id))
            .json(&content)?;
        let taken = Condition::none(Item::new().of_type(PRINCIPAL_ADDED).tag(tag_of(id)).into());
        self.record_own(event, Some(taken))
    }

    pub(crate) fn configure(&self, settings: Vec<u8>) -> Result<Position, AppendError> {
        self.check_may_govern()?;
        self.record_own(
            NewEvent::new(CONFIGURED, LOG_STREAM).payload(settings),
            None,
        )
    }

    /// An agent neither says who may do what, nor by which settings.
    pub(crate) fn check_may_govern(&self) -> Result<(), AppendError> {
        if self.actor.authority != Authority::Agent {
            return Ok(());
        }
        Err(AppendError::Keys {
            code: "not_allowed",
            message: format!(
                "`{}` may not do this: it is no agent's to do",
                self.actor.principal
            ),
        })
    }

    /// What takes a person or a commander: a program without a credential does it to nobody.
    pub(crate) fn check_is_person(&self) -> Result<(), AppendError> {
        let authority = self.actor.authority;
        if matches!(authority, Authority::Human | Authority::Commander) {
            return Ok(());
        }
        Err(AppendError::Keys {
            code: "not_allowed",
            message: format!(
                "this needs a person or a commander, and the caller acts as {}; prove a credential",
                authority.as_str()
            ),
        })
    }

    /// Records an event of the log itself.
    pub(crate) fn record_own(
        &self,
        event: NewEvent,
        condition: Option<Condition>,
    ) -> Result<Position, AppendError> {
        self.record_all_own(vec![event], condition)
    }

    /// Records events of the log itself in one append; answers where the first is.
    pub(crate) fn record_all_own(
        &self,
        events: Vec<NewEvent>,
        condition: Option<Condition>,
    ) -> Result<Position, AppendError> {
        let events = events.into_iter();
        let events = events.map(|event| event.source("runstone")).collect();
        let events = self.prepare_own(events, &self.actor)?;
        let mut checks = Append::default();
        checks.conditions.extend(condition);
        let request = Request {
            guards: Guards::of(&checks),
            ..Request::new(Work::Append, events, Durability::Synced)
        };
        match self.submit_request(request)? {
            Outcome::Recorded { first, .. } => Ok(Position::new(first)),
            _ => Err(AppendError::Reopening),
        }
    }

    pub(crate) fn settings(&self) -> Result<Option<RecordedSettings>, ReadError> {
        let newest = Read::new(Query::of_type(CONFIGURED)).reverse().limit(1);
        let Some(record) = self.read(newest)?.next().transpose()? else {
            return Ok(None);
        };
        let bytes = record.payload.bytes().unwrap_or_default().to_vec();
        Ok(Some(RecordedSettings {
            position: record.position,
            sha256: Sha256::digest(&bytes).into(),
            bytes,
        }))
    }

    pub(crate) fn principals(&self) -> Result<Vec<Principal>, ReadError> {
        let mut found = Vec::new();
        for record in self.read(Read::new(Query::of_type(PRINCIPAL_ADDED)))? {
            let record = record?;
            let content = record.payload.bytes().unwrap_or_default();
            let parsed = serde_json::from_slice::<PrincipalAdded>(content)
                .ok()
                .and_then(|content| {
                    Some(Principal {
                        authority: content.authority.parse().ok()?,
                        public_key: unhex(&content.public_key)?,
                        id: content.id,
                        position: record.position,
                    })
                });
            found.extend(parsed);
        }
        Ok(found)
    }

    pub(crate) fn with_credential(&self, credential: &Credential) -> Result<Self, AppendError> {
        let challenge = self.challenge()?;
        self.proven(credential.id(), &challenge, &credential.prove(&challenge))
    }

    fn challenge(&self) -> Result<Vec<u8>, AppendError> {
        let identity = &self.shared.identity;
        let challenge = challenge(&identity.log_id, identity.options.entropy.as_ref())?;
        Ok(challenge.to_vec())
    }

    fn proven(
        &self,
        id: &str,
        challenge: &[u8],
        signature: &[u8; 64],
    ) -> Result<Self, AppendError> {
        let known = self.principals()?;
        let principal = known.iter().find(|principal| principal.id == id);
        let principal = principal.ok_or_else(|| AppendError::Keys {
            code: "principal_unknown",
            message: format!("nobody is enrolled as `{id}`"),
        })?;
        verify_proof(&principal.public_key, challenge, signature)?;
        Ok(self.acting_as(Actor {
            principal: principal_of(principal.authority, &principal.id),
            authority: principal.authority,
        }))
    }

    pub(crate) fn principal(&self) -> (&str, Authority) {
        (&self.actor.principal, self.actor.authority)
    }
}
