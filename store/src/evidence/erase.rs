//! Erasing scopes.
//!
//! ```text
//! checks -> log.erasure_requested -> key rows dropped, folds begun again    the log stands still
//!        -> new key-encryption key, survivors wrapped anew, old one destroyed
//!        -> file written anew -> log.erasure_completed                      its receipt is the certificate
//! ```
//!
//! From the request on the content reads as erased, whatever is left of it. Each step can be
//! repeated; an erasure that was cut short goes on at its first step that is not done, which the
//! keys and the file tell by themselves.

use super::EraseError;
use super::rewrite::rewrite;
use crate::clock::micros;
use crate::error::{AppendError, ReadError};
use crate::holder::{EraseScopes, ErasuresOf, ResumeErasures};
use crate::keys::{KeyError, PROTECTED_SCOPE};
use crate::log::{Backing, Here, Log};
use crate::options::{Durability, Sealing};
use crate::own::{
    DESTROYED_PLAIN, ERASURE_COMPLETED, ERASURE_REQUESTED, ErasureCompleted, ErasureRequested,
    kek_digest,
};
use crate::prepare::LOG_STREAM;
use crate::query::Item;
use crate::read::Read;
use crate::write::{Outcome, Request, Work};
use runstone_codec::keys::{Destroyed, ProviderError};
use runstone_codec::{NewEvent, Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest code in bytes.
const MAX_CODE_LEN: usize = 64;

const NEXT_KEK: &str = "the key provider cannot make the next key-encryption key itself; provide it (for one in the environment: in the variable of the same name with _NEXT appended)";
const FORMER_KEK: &str = "the key provider cannot destroy the former key-encryption key itself; remove it there (for one in the environment: move the next one over it)";
const KEK_IN_FORCE: &str = "a key-encryption key that wrapped the erased keys is the one in force; finish its rotation (for one in the environment: move the next one over it), then provide another next one";

/// What is to be erased, and why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Erase {
    /// Scopes, whole.
    pub scopes: Vec<String>,
    /// A code for why it may be erased, recorded for ever.
    pub basis: String,
    /// Leave the sealed bytes in the file until [`Log::resume_erasures`]; the keys are destroyed
    /// all the same, and the certificate says so.
    #[serde(default)]
    pub defer_rewrite: bool,
    /// Refuse while a scope has an event younger than this, in microseconds.
    #[serde(default)]
    pub minimum_retention_us: u64,
    /// Erase although a fold says that something is under way in a scope; recorded for ever.
    #[serde(default)]
    pub force: bool,
}

impl Erase {
    /// Erases one scope.
    pub fn new(scope: impl Into<String>, basis: impl Into<String>) -> Self {
        Self {
            scopes: vec![scope.into()],
            basis: basis.into(),
            defer_rewrite: false,
            minimum_retention_us: 0,
            force: false,
        }
    }

    /// Erases another scope in the same operation.
    #[must_use]
    pub fn and(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Leaves the sealed bytes in the file for now.
    #[must_use]
    pub fn defer_rewrite(mut self) -> Self {
        self.defer_rewrite = true;
        self
    }

    /// Erases although something is under way in a scope.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Refuses while a scope has an event younger than this.
    #[must_use]
    pub fn minimum_retention(mut self, age: Duration) -> Self {
        self.minimum_retention_us = micros(age);
        self
    }
}

/// An erasure, as the log records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Erasure {
    /// Where it was requested.
    pub requested: Position,
    /// Where it was completed: the receipt of that event is the certificate. `None`: it is pending.
    pub completed: Option<Position>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// Why.
    pub basis: String,
    /// Who asked.
    pub actor: String,
    /// How sure it is that the keys are gone: `proven`, `best_effort`, or `plain` where there was
    /// no key.
    pub destroyed: Option<String>,
    /// Whether the sealed bytes are gone from the file too.
    pub rewritten: bool,
}

impl Log {
    /// Erases scopes: their content can be read by nobody any more, and everything else stands,
    /// counts and proofs included. Appends wait while the file is written anew, and those that come while
    /// the log is opened again are told so ([`AppendError::Reopening`], try again); `progress` is told
    /// events done and all.
    ///
    /// # Errors
    ///
    /// [`EraseError`]: refused, and then nothing happened; or cut short, and then the content
    /// reads as erased already and [`resume_erasures`](Self::resume_erasures) finishes it.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub fn erase(&self, erase: &Erase, progress: &dyn Fn(u64, u64)) -> Result<Erasure, EraseError> {
        match &self.backing {
            Backing::Here(here) => here.erase(erase, progress),
            Backing::There(there) => {
                let erase = erase.clone();
                there.ask_telling(&EraseScopes { erase }, progress)
            }
        }
    }

    /// Goes on with every erasure that is pending or whose sealed bytes are still in the file;
    /// answers those that are complete now.
    ///
    /// # Errors
    ///
    /// As [`erase`](Self::erase).
    pub fn resume_erasures(&self, progress: &dyn Fn(u64, u64)) -> Result<Vec<Erasure>, EraseError> {
        match &self.backing {
            Backing::Here(here) => here.resume_erasures(progress),
            Backing::There(there) => there.ask_telling(&ResumeErasures {}, progress),
        }
    }

    /// Every erasure that was requested, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if another process holds the log.
    pub fn erasures(&self) -> Result<Vec<Erasure>, ReadError> {
        match &self.backing {
            Backing::Here(here) => Ok(here.erasures()),
            Backing::There(there) => there.ask_blocking(&ErasuresOf {}),
        }
    }
}

impl Here {
    pub(crate) fn erase(
        &self,
        erase: &Erase,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Erasure, EraseError> {
        let _custody = self.shared.custody();
        let scopes = self.check_erase(erase)?;
        let requested = self.request_erasure(erase, scopes)?;
        let mut finished = self.finish_erasures(&[requested], erase.defer_rewrite, progress)?;
        finished
            .pop()
            .ok_or(EraseError::Append(AppendError::Reopening))
    }

    pub(crate) fn resume_erasures(
        &self,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<Erasure>, EraseError> {
        let _custody = self.shared.custody();
        let open: Vec<u64> = self
            .erasures()
            .iter()
            .filter(|erasure| !erasure.rewritten)
            .map(|erasure| erasure.requested.get())
            .collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        self.finish_erasures(&open, false, progress)
    }

    pub(crate) fn erasures(&self) -> Vec<Erasure> {
        let history = self.shared.identity.history();
        let erasures = history.erasures().iter();
        erasures
            .map(|(requested, state)| {
                let completed = state.completed.as_ref();
                Erasure {
                    requested: Position::new(*requested),
                    completed: completed.map(|(at, _)| Position::new(*at)),
                    scopes: state.request.scopes.clone(),
                    basis: state.request.basis.clone(),
                    actor: state.request.actor.clone(),
                    destroyed: completed.map(|(_, completed)| completed.destroyed.clone()),
                    rewritten: completed.is_some_and(|(_, completed)| completed.rewritten),
                }
            })
            .collect()
    }

    /// The scopes, sorted, each once, if they may be erased.
    fn check_erase(&self, erase: &Erase) -> Result<Vec<String>, EraseError> {
        let identity = &self.shared.identity;
        let scopes: BTreeSet<&String> = erase.scopes.iter().collect();
        if scopes.is_empty() {
            return Err(EraseError::Empty);
        }
        if !is_code(&erase.basis) {
            return Err(EraseError::Basis {
                basis: erase.basis.clone(),
            });
        }
        let disks = self.shared.disks();
        if identity.sealing == Sealing::Plain && erase.defer_rewrite {
            return Err(EraseError::Plain);
        }
        if disks.place.is_none() && !erase.defer_rewrite {
            return Err(EraseError::NoPlace);
        }
        for scope in &scopes {
            if scope.starts_with('_') || *scope == PROTECTED_SCOPE {
                return Err(EraseError::Protected {
                    scope: (*scope).clone(),
                });
            }
            self.check_hold(scope)?;
            self.check_retention(scope, erase.minimum_retention_us)?;
            self.check_use(scope, erase.force)?;
        }
        Ok(scopes.into_iter().cloned().collect())
    }

    fn check_hold(&self, scope: &str) -> Result<(), EraseError> {
        match self.hold_of(scope)? {
            Some(position) => Err(EraseError::Held {
                scope: scope.to_owned(),
                position,
            }),
            None => Ok(()),
        }
    }

    /// Nothing may be under way in a scope that its erasure would cut off.
    fn check_use(&self, scope: &str, force: bool) -> Result<(), EraseError> {
        if force {
            return Ok(());
        }
        match self.fold_in_use(scope)? {
            Some(what) => Err(EraseError::InUse {
                scope: scope.to_owned(),
                what,
            }),
            None => Ok(()),
        }
    }

    /// A scope must be there, and its newest event old enough.
    fn check_retention(&self, scope: &str, minimum_us: u64) -> Result<(), EraseError> {
        let identity = &self.shared.identity;
        let mut item = Item::new();
        item.scope = Some(scope.to_owned());
        let newest = Read::new(item.into()).reverse().limit(1).without_payloads();
        let Some(newest) = self.read(newest)?.next().transpose()? else {
            if identity.keys.scope_keys(scope).is_empty() {
                return Err(EraseError::NotFound {
                    scope: scope.to_owned(),
                });
            }
            return Ok(());
        };
        let until_us = newest.recorded_at_us.saturating_add(minimum_us);
        if minimum_us > 0 && identity.options.clock.wall_us() < until_us {
            return Err(EraseError::Retained {
                scope: scope.to_owned(),
                until_us,
            });
        }
        Ok(())
    }

    /// Records the request and drops the keys while the log stands still, so that nothing is
    /// recorded under a key that is gone.
    fn request_erasure(&self, erase: &Erase, scopes: Vec<String>) -> Result<u64, EraseError> {
        let keys = &self.shared.identity.keys;
        keys.draw_fold_key(self.shared.identity.options.clock.wall_us())?;
        let mut exclusive = self.shared.exclusive()?;
        for scope in &scopes {
            // Nobody can place a hold or append from here on.
            self.check_hold(scope)?;
            self.check_retention(scope, erase.minimum_retention_us)?;
            self.check_use(scope, erase.force)?;
        }
        let key_ids: Vec<_> = scopes
            .iter()
            .flat_map(|scope| keys.scope_keys(scope))
            .chain(keys.fold_key_id())
            .collect();
        let mut wrapping = keys.keks_of(&key_ids);
        if !wrapping.is_empty() {
            // Those that are not gone yet wrapped them in former tables.
            wrapping.extend(keys.retired_keks());
        }
        let request = ErasureRequested {
            scopes,
            keks: wrapping.iter().map(|kek| kek_digest(kek)).collect(),
            key_ids,
            basis: erase.basis.clone(),
            actor: self.actor.principal.clone(),
            forced: erase.force,
        };
        let request = self.own_request(ERASURE_REQUESTED, &request)?;
        let requested = recorded(&exclusive.record(request)?)?;
        // Opening it again drops the keys and begins the folds again. If that fails, nothing more is
        // acknowledged under these keys: the log is not written until it can be opened.
        exclusive.reopen(None)?;
        Ok(requested)
    }

    fn own_request<T: Serialize>(
        &self,
        event_type: &str,
        content: &T,
    ) -> Result<Request, AppendError> {
        let event = NewEvent::new(event_type, LOG_STREAM)
            .source("runstone")
            .json(content)?;
        let events = self.prepare_own(vec![event], &self.actor)?;
        Ok(Request::new(Work::Append, events, Durability::Synced))
    }

    /// The steps after the request, for all of these at once.
    fn finish_erasures(
        &self,
        requested: &[u64],
        defer_rewrite: bool,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<Erasure>, EraseError> {
        let history = self.shared.identity.history();
        let mut destroyed = Vec::new();
        let mut answers = Vec::new();
        for position in requested {
            if let Some(state) = history.erasures().get(position) {
                let outcome = match &state.completed {
                    Some((_, completed)) => completed.destroyed.clone(),
                    None => self.destroy_keks(*position, &state.request, &mut answers)?,
                };
                destroyed.push((*position, outcome));
            }
        }
        let mut exclusive = self.shared.exclusive()?;
        if !defer_rewrite {
            rewrite(&mut exclusive, progress)?;
        }
        for (requested, destroyed) in destroyed {
            let completed = ErasureCompleted {
                requested,
                destroyed,
                rewritten: !defer_rewrite,
            };
            let request = self.own_request(ERASURE_COMPLETED, &completed)?;
            recorded(&exclusive.record(request)?)?;
        }
        self.learn_history(&exclusive)?;
        drop(exclusive);
        let mut erasures = self.erasures();
        erasures.retain(|erasure| requested.contains(&erasure.requested.get()));
        Ok(erasures)
    }

    /// Sees to it that no key-encryption key that wrapped an erased key is left: how sure that is, by
    /// the provider's answers now and for the erasures before it.
    fn destroy_keks(
        &self,
        requested: u64,
        request: &ErasureRequested,
        answers: &mut Vec<(String, Destroyed)>,
    ) -> Result<String, EraseError> {
        let keys = &self.shared.identity.keys;
        keys.erase(&request.key_ids)?;
        if request.keks.is_empty() {
            return Ok(DESTROYED_PLAIN.to_owned());
        }
        let is_meant = |kek: &String| request.keks.contains(&kek_digest(kek));
        let pending = |why: &'static str| EraseError::Pending {
            requested: Position::new(requested),
            why: why.into(),
        };
        answers.extend(if keys.wrapping_keks().iter().any(is_meant) {
            keys.rotate_kek().map_err(|error| match error {
                KeyError::Provider {
                    source: ProviderError::Unsupported { .. },
                    ..
                } => pending(NEXT_KEK),
                error => error.into(),
            })?
        } else {
            keys.destroy_retired_keks()?
        });
        if keys.wrapping_keks().iter().any(is_meant) {
            return Err(pending(KEK_IN_FORCE));
        }
        if keys.retired_keks().iter().any(is_meant) {
            return Err(pending(FORMER_KEK));
        }
        // One that was destroyed before this process began is not asked about again.
        let mut meant = answers.iter().filter(|(kek, _)| is_meant(kek)).peekable();
        let is_proven =
            meant.peek().is_some() && meant.all(|(_, answer)| *answer == Destroyed::Proven);
        let outcome = if is_proven {
            Destroyed::Proven
        } else {
            Destroyed::BestEffort
        };
        Ok(outcome.as_str().to_owned())
    }
}

/// Whether it is a code, which may be recorded for ever: no name and no free text.
pub(super) fn is_code(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_CODE_LEN).contains(&text.len()) && text.chars().all(is_part)
}

fn recorded(outcome: &Outcome) -> Result<u64, AppendError> {
    match outcome {
        Outcome::Recorded { first, .. } => Ok(*first),
        _ => Err(AppendError::Contended { times: 1 }),
    }
}
