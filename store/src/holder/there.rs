//! A log that somebody else holds: what is asked of it, in the words of [`Log`](crate::Log).

use super::asks::{
    CheckpointOf, FactsOf, FoldRowsAt, FoldRowsOf, KeptCheckpoint, PrincipalsOf, ProvingUnder,
    RecordOf, RecordsAt, RotateSigning, SettingsOf, SigningKeysOf, VkeysOf, Which,
};
use super::progress::wait_telling;
use super::wire::Base64;
use super::{
    Ask, Closing, Facts, Holder, Refusal as _, Replying, Told, answer_of, body_of, send, wait,
};
use crate::admin::{LogInfo, Principal, RecordedSettings};
use crate::error::{AppendError, ErrorKind, ReadError};
use crate::evidence::SigningKey;
use crate::fold::FoldRow;
use crate::hex::unhex;
use crate::identity::Opening;
use crate::keys::Credential;
use crate::log::BeforeClose;
use crate::options::Sealing;
use crate::read::Record;
use runstone_codec::{Authority, LogId, Position};
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::note::Vkey;
use sha2::{Digest as _, Sha256};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many things are asked for at once, at most.
const ASKED: usize = 1_000;

/// A log that somebody else holds.
#[derive(Debug)]
pub(crate) struct There {
    holder: Arc<dyn Holder>,
    principal: String,
    authority: Authority,
    log_id: LogId,
    vkey: Vkey,
    /// As they were told last.
    last: Mutex<Facts>,
    is_closed: AtomicBool,
    pub(crate) before_close: BeforeClose,
}

/// What was told is not what it should be.
pub(crate) fn odd(what: &str, why: &dyn Display) -> Told {
    Told::new(
        "bad_answer",
        ErrorKind::Storage,
        format!("the process that holds the log told a {what} that cannot be read: {why}"),
    )
}

fn vkey(text: &str) -> Result<Vkey, Told> {
    text.parse().map_err(|error| odd("key", &error))
}

impl There {
    pub(super) fn new(holder: Arc<dyn Holder>) -> Result<Self, AppendError> {
        let facts = answer_of::<FactsOf>(wait(send(holder.as_ref(), &FactsOf {})?))?;
        let log_id = facts.log_id.parse();
        Ok(Self {
            holder,
            principal: facts.principal.clone(),
            authority: facts.authority,
            log_id: log_id.map_err(|error| odd("log id", &error))?,
            vkey: vkey(&facts.vkey)?,
            last: Mutex::new(facts),
            is_closed: AtomicBool::new(false),
            before_close: BeforeClose::default(),
        })
    }

    /// How the log stands now; when the holder is gone, how it stood last.
    pub(crate) fn facts(&self) -> Facts {
        let told = self.ask_blocking(&FactsOf {});
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(facts) = told {
            *last = facts;
        }
        last.clone()
    }

    pub(crate) fn principal(&self) -> (&str, Authority) {
        (&self.principal, self.authority)
    }

    pub(crate) fn with_credential(&self, credential: &Credential) -> Result<Self, AppendError> {
        Self::new(self.holder.acting_as(credential)?)
    }

    /// Lets go of the holder once everything that was asked is answered; closing again does nothing.
    pub(crate) fn close(&self) -> Closing {
        self.is_closed.store(true, Ordering::SeqCst);
        self.holder.close()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn check_open<A: Ask>(&self) -> Result<(), A::Error> {
        if self.is_closed() {
            return Err(A::Error::of(AppendError::Closed.told()));
        }
        Ok(())
    }

    pub(crate) fn replying<A: Ask>(&self, ask: &A) -> Result<Replying, A::Error> {
        self.check_open::<A>()?;
        send(self.holder.as_ref(), ask)
    }

    pub(crate) fn ask_blocking<A: Ask>(&self, ask: &A) -> Result<A::Answer, A::Error> {
        answer_of::<A>(wait(self.replying(ask)?))
    }

    /// The same for what may take long: `progress` is told events done and all, if the holder says so.
    pub(crate) fn ask_telling<A: Ask>(
        &self,
        ask: &A,
        progress: &dyn Fn(u64, u64),
    ) -> Result<A::Answer, A::Error> {
        self.check_open::<A>()?;
        let body = body_of(ask)?;
        let ask = |telling| self.holder.ask_telling(A::NAME, body, telling);
        answer_of::<A>(wait_telling(ask, progress))
    }

    pub(crate) async fn ask<A: Ask>(&self, ask: &A) -> Result<A::Answer, A::Error> {
        let replying = self.replying(ask)?;
        answer_of::<A>(replying.await)
    }

    pub(crate) fn info(&self) -> LogInfo {
        let facts = self.facts();
        LogInfo {
            log_id: self.log_id,
            origin: facts.origin,
            vkey: self.vkey.clone(),
            sealing: if facts.encrypted {
                Sealing::Required
            } else {
                Sealing::Plain
            },
            fields: facts.fields,
            read_only: facts.read_only,
        }
    }

    pub(crate) fn record(&self, which: Which) -> Result<Record, ReadError> {
        Record::try_from(self.ask_blocking(&RecordOf { which })?)
    }

    pub(crate) fn checkpoint(&self) -> Result<SignedCheckpoint, ReadError> {
        self.signed(&self.ask_blocking(&CheckpointOf {})?)
    }

    /// What proofs are made under.
    pub(crate) fn proving(&self) -> Result<SignedCheckpoint, ReadError> {
        self.signed(&self.ask_blocking(&ProvingUnder {})?)
    }

    fn signed(&self, text: &str) -> Result<SignedCheckpoint, ReadError> {
        let origin = text.split('\n').next().unwrap_or_default();
        SignedCheckpoint::parse_verify(text, origin, &self.vkeys()?)
            .map_err(|error| odd("checkpoint", &error).into())
    }

    pub(crate) fn vkeys(&self) -> Result<Vec<Vkey>, ReadError> {
        let vkeys = self.ask_blocking(&VkeysOf {})?;
        let vkeys = vkeys.iter().map(|text| vkey(text));
        Ok(vkeys.collect::<Result<_, _>>()?)
    }

    pub(crate) fn kept_checkpoint(
        &self,
        below: u64,
    ) -> Result<Option<SignedCheckpoint>, ReadError> {
        let Some(text) = self.ask_blocking(&KeptCheckpoint { below })? else {
            return Ok(None);
        };
        self.signed(&text).map(Some)
    }

    pub(crate) fn signing_keys(&self) -> Result<Vec<SigningKey>, ReadError> {
        let signers = self.ask_blocking(&SigningKeysOf {})?.into_iter();
        let keys = signers.map(|signer| {
            Ok(SigningKey {
                vkey: vkey(&signer.vkey)?,
                state: signer.state,
                recorded: signer.recorded,
            })
        });
        keys.collect()
    }

    pub(crate) fn rotate_signing(&self) -> Result<(Vkey, Vkey), AppendError> {
        let rotated = self.ask_blocking(&RotateSigning {})?;
        Ok((vkey(&rotated.former)?, vkey(&rotated.new)?))
    }

    pub(crate) fn fold_rows(
        &self,
        fold: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<FoldRow>, ReadError> {
        let mut rows: Vec<FoldRow> = Vec::new();
        let mut from = from.to_vec();
        while rows.len() < limit {
            let page = self.ask_blocking(&FoldRowsOf {
                fold: fold.to_owned(),
                prefix: prefix.into(),
                from: Base64(from.clone()),
                limit: limit - rows.len(),
            })?;
            let Some((last, _)) = page.last() else {
                break;
            };
            // The next key after it.
            from.clone_from(&last.0);
            from.push(0);
            rows.extend(page.into_iter().map(|(key, value)| (key.0, value.0)));
        }
        Ok(rows)
    }

    pub(crate) fn fold_rows_at(
        &self,
        fold: &str,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        all_of(keys, |keys| {
            let rows = self.ask_blocking(&FoldRowsAt {
                fold: fold.to_owned(),
                keys: keys.iter().map(|key| key.as_slice().into()).collect(),
            })?;
            Ok(rows.into_iter().map(|row| row.map(|row| row.0)).collect())
        })
    }

    pub(crate) fn records(
        &self,
        positions: &[Position],
    ) -> Result<Vec<Result<Record, ReadError>>, ReadError> {
        all_of(positions, |positions| {
            let page = self.ask_blocking(&RecordsAt {
                positions: positions.iter().map(|position| position.get()).collect(),
            })?;
            let items = page.into_records();
            let is_asked = |(record, at): (Result<Record, ReadError>, &Position)| match record {
                Ok(record) if record.position != *at => {
                    Err(odd("event", &"it is of another position").into())
                }
                record => record,
            };
            Ok(items.zip(positions).map(is_asked).collect())
        })
    }

    pub(crate) fn settings(&self) -> Result<Option<RecordedSettings>, ReadError> {
        let settings = self.ask_blocking(&SettingsOf {})?;
        Ok(settings.map(|settings| RecordedSettings {
            position: Position::new(settings.position),
            sha256: Sha256::digest(&settings.settings.0).into(),
            bytes: settings.settings.0,
        }))
    }

    pub(crate) fn principals(&self) -> Result<Vec<Principal>, ReadError> {
        let enrolled = self.ask_blocking(&PrincipalsOf {})?.into_iter();
        let principals = enrolled.map(|enrolled| {
            Some(Principal {
                authority: enrolled.authority,
                public_key: unhex(&enrolled.public_key)?,
                position: Position::new(enrolled.position),
                id: enrolled.id,
            })
        });
        let principals: Option<Vec<_>> = principals.collect();
        principals.ok_or_else(|| odd("public key", &"no 64 hexadecimal digits").into())
    }
}

/// Asks for many things, of which each answer has the first ones.
fn all_of<A, T>(
    mut wanted: &[A],
    ask: impl Fn(&[A]) -> Result<Vec<T>, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let mut all = Vec::new();
    while !wanted.is_empty() {
        let (some, _) = wanted.split_at(wanted.len().min(ASKED));
        let answered = ask(some)?;
        match wanted.get(answered.len()..) {
            Some(rest) if rest.len() < wanted.len() => wanted = rest,
            _ => return Err(odd("page", &"it does not have what was asked for").into()),
        }
        all.extend(answered);
    }
    Ok(all)
}

impl Facts {
    pub(crate) fn opening(&self) -> Opening {
        Opening {
            id: unhex(&self.opening).unwrap_or_default(),
            size: Position::new(self.opened_size),
            at_us: self.opened_at_us,
            // Measured there, and told as `steady_us`.
            monotonic_us: 0,
        }
    }

    pub(crate) fn root(&self) -> [u8; 32] {
        self.root.array().unwrap_or_default()
    }
}
