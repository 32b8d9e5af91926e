//! Changing the key-encryption key and the signing key of an open log.

use crate::error::{AppendError, ReadError};
use crate::holder::{EndOverlap, RotateKek};
use crate::keys::KeyError;
use crate::log::{Backing, Exclusive, Here, Log};
use crate::own::{KEY_ROTATED, KeyRotated};
use crate::prepare::LOG_STREAM;
use runstone_codec::keys::{Destroyed, ProviderError};
use runstone_codec::{NewEvent, Position};
use runstone_receipt::note::Vkey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of the former key-encryption keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct KekRotation {
    /// Ids of those that were to be destroyed, and how sure it is that they are gone.
    pub destroyed: Vec<(String, Destroyed)>,
    /// Ids of those that somebody else has to destroy.
    pub remaining: Vec<String>,
}

/// A key that signs checkpoints of the log, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningKey {
    /// Its public key, under the name that the log had then.
    pub vkey: Vkey,
    /// Whether it signs.
    pub state: SigningState,
    /// The event that says so. `None`: a rotation was cut short before it was recorded, or these are
    /// the keys of another copy.
    pub recorded: Option<Position>,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SigningState {
    /// It signs.
    Current,
    /// The former one, which signs too until the overlap is ended.
    Overlap,
    /// It signed.
    Retired,
}

impl SigningState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Overlap => "overlap",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for SigningState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl Log {
    /// Every key that signs checkpoints of this log or ever did, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if another process holds the log.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, ReadError> {
        match &self.backing {
            Backing::Here(here) => Ok(here.signing_keys()),
            Backing::There(there) => there.signing_keys(),
        }
    }

    /// Makes a new key-encryption key, wraps every key under it and destroys those before it.
    /// Payloads are not touched. Interrupted at any point, every key can still be opened, and
    /// calling it again finishes the work; so it does where somebody else had to destroy a former
    /// one, and has.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the provider is away, or a person has to make the next key.
    pub fn rotate_kek(&self) -> Result<KekRotation, KeyError> {
        match &self.backing {
            Backing::Here(here) => here.rotate_kek(),
            Backing::There(there) => there.ask_blocking(&RotateKek {}),
        }
    }

    /// Draws a new signing key and records it: the former and the new public key. Both sign until
    /// [`end_signing_overlap`](Self::end_signing_overlap), so that whoever knows the former one
    /// can go on verifying meanwhile. Cut short before it was recorded, it is recorded when this is
    /// called again.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] while an overlap is under way.
    pub fn rotate_signing(&self) -> Result<(Vkey, Vkey), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.rotate_signing(),
            Backing::There(there) => there.rotate_signing(),
        }
    }

    /// Forgets the former signing key: from now on the new one signs alone.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if there is no overlap, or the new key is not recorded yet.
    pub fn end_signing_overlap(&self) -> Result<(), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.end_signing_overlap(),
            Backing::There(there) => there.ask_blocking(&EndOverlap {}),
        }
    }

    /// Every key that may have signed a checkpoint of this log, under the name that it had then:
    /// what an auditor has to trust.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if another process holds the log and does not answer.
    pub fn vkeys(&self) -> Result<Vec<Vkey>, ReadError> {
        match &self.backing {
            Backing::Here(here) => Ok(here.vkeys()),
            Backing::There(there) => there.vkeys(),
        }
    }
}

impl Here {
    pub(crate) fn signing_keys(&self) -> Vec<SigningKey> {
        let identity = &self.shared.identity;
        let signing = identity.keys.vkeys();
        let state_of = |vkey: &Vkey| match signing.iter().position(|one| one == vkey) {
            Some(0) => SigningState::Current,
            Some(_) => SigningState::Overlap,
            None => SigningState::Retired,
        };
        let history = identity.history();
        let recorded = history.signers().map(|(vkey, at)| (vkey, Some(at)));
        let mut keys: Vec<(Vkey, Option<u64>)> = recorded.collect();
        for vkey in signing.iter().rev() {
            if keys.iter().all(|(known, _)| known != vkey) {
                keys.push((vkey.clone(), None));
            }
        }
        let keys = keys.into_iter().map(|(vkey, recorded)| SigningKey {
            state: state_of(&vkey),
            vkey,
            recorded: recorded.map(Position::new),
        });
        keys.collect()
    }

    pub(crate) fn rotate_kek(&self) -> Result<KekRotation, KeyError> {
        let _custody = self.shared.custody();
        let keys = &self.shared.identity.keys;
        let destroyed = match keys.rotate_kek() {
            Ok(destroyed) => destroyed,
            // Without a next key: the former ones may have been left to somebody else, and be gone.
            Err(error) => {
                let is_person_asked = matches!(
                    &error,
                    KeyError::Provider {
                        source: ProviderError::Unsupported { .. }
                    }
                );
                if !is_person_asked {
                    return Err(error);
                }
                let answers = keys.destroy_retired_keks()?;
                let is_gone = |(_, answer): &(String, Destroyed)| *answer != Destroyed::Unsupported;
                if !answers.iter().any(is_gone) {
                    return Err(error);
                }
                answers
            }
        };
        Ok(KekRotation {
            destroyed,
            remaining: keys.retired_keks(),
        })
    }

    pub(crate) fn rotate_signing(&self) -> Result<(Vkey, Vkey), AppendError> {
        let identity = &self.shared.identity;
        if let Some(why) = &identity.read_only {
            return Err(AppendError::ReadOnly { why: why.clone() });
        }
        self.shared.check_appendable()?;
        let _custody = self.shared.custody();
        let (old, new) = match self.unrecorded_signer() {
            Some(pair) => pair,
            None => identity.keys.rotate_signing()?,
        };
        let content = KeyRotated {
            old: old.to_string(),
            new: new.to_string(),
        };
        let event = NewEvent::new(KEY_ROTATED, LOG_STREAM).json(&content)?;
        self.record_own(event, None)?;
        self.learn_history(&self.shared.exclusive()?)?;
        Ok((old, new))
    }

    /// A former and a new key of which the log does not know yet.
    pub(super) fn unrecorded_signer(&self) -> Option<(Vkey, Vkey)> {
        let identity = &self.shared.identity;
        let vkeys = identity.keys.vkeys();
        let [new, old] = vkeys.as_slice() else {
            return None;
        };
        let is_known = identity.history().is_signer(&new.public_key());
        (!is_known).then(|| (old.clone(), new.clone()))
    }

    pub(crate) fn end_signing_overlap(&self) -> Result<(), AppendError> {
        let _custody = self.shared.custody();
        let keys = &self.shared.identity.keys;
        let refused = |message: &str| AppendError::Keys {
            code: "no_signing_overlap",
            message: message.to_owned(),
        };
        if keys.signers().len() < 2 {
            return Err(refused("one key signs; draw the next one first"));
        }
        if self.unrecorded_signer().is_some() {
            return Err(refused(
                "the new signing key is not recorded yet; rotate again",
            ));
        }
        Ok(keys.end_signing_overlap()?)
    }

    pub(crate) fn vkeys(&self) -> Vec<Vkey> {
        let identity = &self.shared.identity;
        let mut vkeys = identity.history().vkeys();
        for vkey in identity.keys.vkeys() {
            if !vkeys.contains(&vkey) {
                vkeys.push(vkey);
            }
        }
        vkeys
    }

    /// Takes in what the log has recorded of itself, while it stands still: two who do so at once
    /// could leave what the first of them found.
    pub(crate) fn learn_history(&self, _standing: &Exclusive<'_>) -> Result<(), AppendError> {
        let reader = self.shared.reader()?;
        let identity = &self.shared.identity;
        let history = crate::own::History::read(
            &identity.log_id,
            &reader.snapshot,
            &reader.published.index,
            reader.size(),
        )?;
        identity.set_history(history);
        Ok(())
    }
}
