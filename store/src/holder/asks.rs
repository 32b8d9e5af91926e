//! What is asked of the log itself.

use super::page::Page;
use super::wire::{Base64, WireDraft, WireEvent, WireKeyed, WireRecord};
use super::{Refusal, Told};
use crate::admin::{BackupReport, Stats, VerifyLevel, VerifyReport};
use crate::append::{Append, Appended, Condition, Expected, Imported};
use crate::asks;
use crate::error::{AppendError, ErrorKind, ReadError};
use crate::evidence::{
    Disclose, Erase, EraseError, Erasure, EvidenceError, KekRotation, SigningState,
};
use crate::export::{ExportPage, ExportStart};
use crate::fold::{FoldCheck, FoldStatus};
use crate::hex::hex;
use crate::keys::{KeyError, KeyInfo};
use crate::log::Log;
use crate::options::Durability;
use crate::query::Query;
use crate::read::{Read, Records};
use runstone_codec::{Authority, Draft, NewEvent, Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use uuid::Uuid;

/// Rows of one page, at most.
const ROWS: usize = 1_000;

/// How a log stands.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Facts {
    /// Its id, hexadecimal.
    pub log_id: String,
    /// Its name in checkpoints.
    pub origin: String,
    /// The key that signs its checkpoints.
    pub vkey: String,
    /// Whether payloads are encrypted.
    pub encrypted: bool,
    /// Whether every member of a payload is committed to.
    pub fields: bool,
    /// Why nothing can be appended, if so.
    pub read_only: Option<String>,
    /// This opening of the log: its id, hexadecimal.
    pub opening: String,
    /// Events that the log had when it was opened.
    pub opened_size: u64,
    /// When it was opened, Unix microseconds.
    pub opened_at_us: u64,
    /// Events.
    pub size: u64,
    /// Events that survive a crash.
    pub durable_size: u64,
    /// Root of the tree over all events.
    pub root: Base64,
    /// The log's clock, Unix microseconds.
    pub now_us: u64,
    /// What leases are measured by, microseconds.
    pub steady_us: u64,
    /// Who is answered.
    pub principal: String,
    /// As what.
    pub authority: Authority,
    /// The process that holds the file.
    pub process: u32,
    /// Why the log does not go on writing, if so.
    #[serde(default)]
    pub trouble: Option<Told>,
}

/// A key that signs checkpoints, or did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Signer {
    pub(crate) vkey: String,
    pub(crate) state: SigningState,
    pub(crate) recorded: Option<Position>,
}

/// The public keys before and after a rotation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Rotated {
    pub(crate) former: String,
    pub(crate) new: String,
}

/// Who is enrolled.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Enrolled {
    pub(crate) id: String,
    pub(crate) authority: Authority,
    pub(crate) public_key: String,
    pub(crate) position: u64,
}

/// Settings in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InForce {
    pub(crate) position: u64,
    pub(crate) settings: Base64,
}

/// Which event.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Which {
    /// The one at a position.
    Position(u64),
    /// The one with an id.
    Id(#[schemars(with = "String")] Uuid),
    /// The one at a revision of a stream.
    Revision { stream: String, revision: u64 },
}

impl Default for Which {
    fn default() -> Self {
        Self::Position(0)
    }
}

/// A check on a stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    stream: String,
    /// Where it must be.
    last: Expected,
}

/// Nothing after a position may match a query.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IfNone {
    query: Query,
    #[serde(default)]
    after: Option<u64>,
}

impl From<&Append> for AppendOne {
    fn from(append: &Append) -> Self {
        let expect = append.expected.iter().map(|(stream, expected)| Expect {
            stream: stream.clone(),
            last: *expected,
        });
        let if_none = append.conditions.iter().map(|condition| IfNone {
            query: condition.query.clone(),
            after: condition.after,
        });
        Self {
            events: append.events.iter().map(WireEvent::from).collect(),
            expect: expect.collect(),
            if_none: if_none.collect(),
            buffered: append.durability == Some(Durability::Buffered),
            // Who does not say means what survives, whatever the holder's default is.
            synced: append.durability != Some(Durability::Buffered),
        }
    }
}

impl From<AppendOne> for Append {
    fn from(ask: AppendOne) -> Self {
        let mut append = Self::new(ask.events.into_iter().map(NewEvent::from));
        for expect in ask.expect {
            append = append.expect(expect.stream, expect.last);
        }
        for condition in ask.if_none {
            append = append.condition(Condition {
                query: condition.query,
                after: condition.after,
            });
        }
        append.durability = match (ask.buffered, ask.synced) {
            (true, _) => Some(Durability::Buffered),
            (false, true) => Some(Durability::Synced),
            (false, false) => None,
        };
        append
    }
}

impl From<&[Append]> for AppendMany {
    fn from(appends: &[Append]) -> Self {
        Self {
            appends: appends.iter().map(AppendOne::from).collect(),
        }
    }
}

impl TryFrom<&[Vec<Draft>]> for ImportMany {
    type Error = AppendError;

    fn try_from(records: &[Vec<Draft>]) -> Result<Self, AppendError> {
        let drafts = |drafts: &Vec<Draft>| drafts.iter().map(WireDraft::try_from).collect();
        let records = records.iter().map(drafts).collect::<Result<_, _>>()?;
        Ok(Self { records })
    }
}

/// Each its own verdict.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict<T> {
    /// It was done.
    Done(T),
    /// It was not.
    Refused(Told),
}

impl<T, E: Refusal> From<Result<T, E>> for Verdict<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(error) => Self::Refused(error.told()),
        }
    }
}

impl<T> Verdict<T> {
    pub(crate) fn into_result<E: Refusal>(self) -> Result<T, E> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Refused(told) => Err(E::of(told)),
        }
    }
}

asks! {
    /// How the log stands.
    "facts" FactsOf {} -> Facts, ReadError: |self, log| Ok(facts(log));

    /// Appends events, all or none.
    "append" AppendOne { #[serde(default)] events: Vec<WireEvent>, #[serde(default)] expect: Vec<Expect>, #[serde(default)] if_none: Vec<IfNone>, #[serde(default)] buffered: bool, #[serde(default)] synced: bool } -> Appended, AppendError: |self, log| log.append_blocking(Append::from(self));

    /// Appends many, each all or none, in as few commits as possible.
    "append_many" AppendMany { #[serde(default)] appends: Vec<AppendOne> } -> Vec<Verdict<Appended>>, AppendError:
        |self, log| {
            let appends = self.appends.into_iter().map(Append::from).collect();
            let verdicts = log.append_many_blocking(appends);
            Ok(verdicts.into_iter().map(Verdict::from).collect())
        };

    /// Imports records made elsewhere, each whole.
    "import" ImportMany { #[serde(default)] records: Vec<Vec<WireDraft>> } -> Vec<Verdict<Imported>>, AppendError:
        |self, log| {
            let drafts = |drafts: Vec<WireDraft>| {
                let drafts = drafts.into_iter().map(Draft::try_from);
                drafts.collect::<Result<Vec<_>, _>>()
            };
            let records = self.records.into_iter().map(drafts);
            let verdicts = log.import_blocking(records.collect::<Result<_, _>>()?);
            Ok(verdicts.into_iter().map(Verdict::from).collect())
        };

    /// Makes everything that was buffered durable.
    "sync" SyncNow {} -> (), AppendError: |self, log| log.sync_blocking();

    /// Reads events, a page of them.
    "read" ReadPage { #[serde(default)] read: Read } -> Page, ReadError: |self, log| page(log, self.read);

    /// Follows the log: as `read`, but a page that would be empty is waited for, for a while.
    "follow" FollowPage { #[serde(default)] read: Read } -> Page, ReadError: |self, log| followed(log, self.read);

    /// One event.
    "record" RecordOf { #[serde(default)] which: Which } -> WireRecord, ReadError: |self, log| {
        match self.which {
            Which::Position(position) => log.record(Position::new(position)),
            Which::Id(id) => log.record_by_id(id),
            Which::Revision { stream, revision } => log.record_by_revision(&stream, revision),
        }
        .and_then(|record| WireRecord::try_from(&record))
    };

    /// The events at these positions, in their order: of the first of them as many as a page has.
    "records" RecordsAt { #[serde(default)] positions: Vec<u64> } -> Page, ReadError: |self, log| {
        let mut reader = log.here()?.shared.reader()?;
        let mut page = Page::default();
        for position in self.positions {
            page.push(reader.record_at(Position::new(position)));
            if page.is_full() {
                break;
            }
        }
        Ok(page)
    };

    /// How many events match.
    "count" CountOf { #[serde(default)] query: Query } -> u64, ReadError: |self, log| log.count(&self.query);

    /// The scope of a stream.
    "scope_of_stream" ScopeOf { #[serde(default)] stream: String } -> Option<String>, ReadError:
        |self, log| log.scope_of_stream(&self.stream);

    /// A keyed digest as the events of a scope carry it.
    "keyed_digest" KeyedDigestOf { #[serde(default)] scope: String, #[serde(default)] keyed: Option<WireKeyed> } -> Option<Base64>, AppendError:
        |self, log| {
            let keyed = self.keyed.ok_or(AppendError::Empty)?;
            let digest = log.keyed_digest(&self.scope, &keyed.into())?;
            Ok(digest.map(|digest| Base64(digest.to_vec())))
        };

    /// One row of a fold.
    "fold_row" FoldRowOf { #[serde(default)] fold: String, #[serde(default)] key: Base64 } -> Option<Base64>, ReadError:
        |self, log| Ok(log.fold_row(&self.fold, &self.key.0)?.map(Base64));

    /// Rows of a fold by their keys, in the order of these; of at most the first 1,000.
    "fold_rows_at" FoldRowsAt { #[serde(default)] fold: String, #[serde(default)] keys: Vec<Base64> } -> Vec<Option<Base64>>, ReadError:
        |self, log| {
            let keys = self.keys.into_iter().take(ROWS).map(|key| key.0);
            let rows = log.fold_rows_at(&self.fold, &keys.collect::<Vec<_>>())?;
            Ok(rows.into_iter().map(|row| row.map(Base64)).collect())
        };

    /// Rows of a fold whose keys begin with a prefix, in their order; at most 1,000.
    "fold_rows" FoldRowsOf { #[serde(default)] fold: String, #[serde(default)] prefix: Base64, #[serde(default)] from: Base64, #[serde(default)] limit: usize }
        -> Vec<(Base64, Base64)>, ReadError:
        |self, log| {
            let limit = self.limit.min(ROWS);
            let rows = log.fold_rows(&self.fold, &self.prefix.0, &self.from.0, limit)?;
            let pairs = rows.into_iter().map(|(key, value)| (Base64(key), Base64(value)));
            Ok(pairs.collect())
        };

    /// How far each fold is.
    "fold_status" FoldStatusOf {} -> Vec<FoldStatus>, ReadError: |self, log| log.fold_status();

    /// Folds again from position 0 and compares.
    "check_folds" CheckFolds { #[serde(default)] fold: Option<String> } -> Vec<FoldCheck>, ReadError:
        |self, log, progress| log.check_folds(self.fold.as_deref(), progress);

    /// The settings in force.
    "settings" SettingsOf {} -> Option<InForce>, ReadError: |self, log| {
        let settings = log.settings()?;
        Ok(settings.map(|settings| InForce {
            position: settings.position.get(),
            settings: Base64(settings.bytes),
        }))
    };

    /// Records settings.
    "configure" ConfigureBy { #[serde(default)] settings: Base64 } -> Position, AppendError:
        |self, log| log.configure(self.settings.0);

    /// Everybody who is enrolled.
    "principals" PrincipalsOf {} -> Vec<Enrolled>, ReadError: |self, log| {
        let principals = log.principals()?.into_iter();
        Ok(principals
            .map(|principal| Enrolled {
                authority: principal.authority,
                public_key: hex(&principal.public_key),
                position: principal.position.get(),
                id: principal.id,
            })
            .collect())
    };

    /// Sizes.
    "stats" StatsOf {} -> Stats, ReadError: |self, log| log.stats();

    /// Verifies everything up to now.
    "verify" VerifyAll { #[serde(default)] level: VerifyLevel } -> VerifyReport, ReadError:
        |self, log, progress| Ok(log.verify(self.level, progress));

    /// A consistent copy, written by the holder to an absolute path.
    "backup" BackupTo { #[serde(default)] path: PathBuf } -> BackupReport, ReadError:
        |self, log, progress| {
            if !self.path.is_absolute() {
                return Err(ReadError::of(no_place()));
            }
            log.backup(&self.path, progress)
        };

    /// How an export of everything that is durable now begins.
    "export/begin" ExportBegin {} -> ExportStart, ReadError: |self, log| log.here()?.export_start();

    /// The next lines of an export, as docs/FORMAT.md has them.
    "export/part" ExportPart { #[serde(default)] query: Query, #[serde(default)] size: u64, #[serde(default)] from: u64 }
        -> ExportPage, ReadError:
        |self, log| log.here()?.export_part(&self.query, self.size, self.from);

    /// The next events of an export in the clear; recorded.
    "export/open" ExportOpen { #[serde(default)] query: Query, #[serde(default)] recipient: Option<String>, #[serde(default)] size: u64, #[serde(default)] from: u64 }
        -> Page, EvidenceError:
        |self, log| log.export_open_part(&self.query, self.recipient.as_deref(), (self.from, self.size));

    /// The signed checkpoint of everything durable.
    "checkpoint" CheckpointOf {} -> String, ReadError:
        |self, log| Ok(log.checkpoint()?.text().to_owned());

    /// The signed checkpoint of everything, which is made durable first: what proofs are made under.
    "checkpoint/prove" ProvingUnder {} -> String, ReadError:
        |self, log| Ok(log.prover()?.checkpoint().text().to_owned());

    /// Every key that may have signed a checkpoint.
    "vkeys" VkeysOf {} -> Vec<String>, ReadError:
        |self, log| Ok(log.vkeys()?.iter().map(ToString::to_string).collect());

    /// The receipt of an event, as docs/EVIDENCE.md encodes it.
    "receipt" ReceiptOf { #[serde(default)] position: u64 } -> Base64, ReadError:
        |self, log| Ok(log.receipt(Position::new(self.position))?.encode().into());

    /// The proof that the log only grew since a checkpoint.
    "consistency" ConsistencyFrom { #[serde(default)] earlier: String } -> Base64, EvidenceError:
        |self, log| Ok(log.consistency(&self.earlier)?.encode().into());

    /// Shows content; recorded.
    "disclose" DiscloseOf { #[serde(default)] position: u64, #[serde(default)] fields: Option<Vec<String>>, #[serde(default)] recipient: Option<String> } -> Base64, EvidenceError: |self, log| {
        let disclose = Disclose {
            position: Position::new(self.position),
            fields: self.fields,
            recipient: self.recipient,
        };
        Ok(log.disclose(&disclose)?.encode().into())
    };

    /// The stored form of an event's content.
    "envelope" EnvelopeOf { #[serde(default)] position: u64, #[serde(default)] recipient: Option<String> } -> Base64, EvidenceError:
        |self, log| Ok(log.envelope(Position::new(self.position), self.recipient)?.into());

    /// A node of the tree over the log, which never changes once it is whole.
    "tree/node" TreeNode { level: u8, index: u64 } -> Base64, ReadError:
        |self, log| Ok(log.here()?.tree_node(self.level, self.index)?.to_vec().into());

    /// The bytes of an entry, as docs/FORMAT.md has them.
    "entry" EntryOf { position: u64 } -> Base64, ReadError:
        |self, log| Ok(log.here()?.entry(Position::new(self.position))?.into());

    /// A checkpoint that was kept, of fewer events than so many.
    "checkpoint/kept" KeptCheckpoint { below: u64 } -> Option<String>, ReadError: |self, log| {
        let kept = log.kept_checkpoint(self.below)?;
        Ok(kept.map(|kept| kept.text().to_owned()))
    };

    /// Content of evidence of the log's own, which is never sealed.
    "disclose/own" DiscloseOwn { position: u64 } -> Base64, EvidenceError:
        |self, log| Ok(log.disclose_own(Position::new(self.position))?.encode().into());

    /// Erases scopes.
    "erase" EraseScopes { erase: Erase } -> Erasure, EraseError:
        |self, log, progress| log.erase(&self.erase, progress);

    /// Finishes erasures that were cut short.
    "erase/resume" ResumeErasures {} -> Vec<Erasure>, EraseError:
        |self, log, progress| log.resume_erasures(progress);

    /// Every erasure that was requested.
    "erasures" ErasuresOf {} -> Vec<Erasure>, ReadError: |self, log| log.erasures();

    /// Makes a new key-encryption key.
    "keys/rotate" RotateKek {} -> KekRotation, KeyError: |self, log| log.rotate_kek();

    /// Draws a new signing key.
    "keys/rotate_signing" RotateSigning {} -> Rotated, AppendError: |self, log| {
        let (former, new) = log.rotate_signing()?;
        Ok(Rotated {
            former: former.to_string(),
            new: new.to_string(),
        })
    };

    /// Forgets the former signing key.
    "keys/end_overlap" EndOverlap {} -> (), AppendError: |self, log| log.end_signing_overlap();

    /// The keys of the log, without secrets.
    "keys" KeysOf {} -> Vec<KeyInfo>, ReadError: |self, log| log.keys();

    /// Every key that signs checkpoints, or did.
    "keys/signing" SigningKeysOf {} -> Vec<Signer>, ReadError: |self, log| {
        let keys = log.signing_keys()?.into_iter();
        Ok(keys
            .map(|key| Signer {
                vkey: key.vkey.to_string(),
                state: key.state,
                recorded: key.recorded,
            })
            .collect())
    };

    /// Copies the keys into one file, written by the holder to an absolute path.
    "keys/backup" BackupKeysTo { path: PathBuf } -> (), KeyError:
        |self, log| {
            if !self.path.is_absolute() {
                return Err(KeyError::of(no_place()));
            }
            log.backup_keys(&self.path)
        };

    /// Enrols a principal.
    "principal/enrol" Enrol { id: String, authority: Authority, public_key: Base64 }
        -> Position, AppendError: |self, log| {
        let key = self.public_key.array().ok_or_else(|| AppendError::Keys {
            code: "bad_key",
            message: "a public key has 32 bytes".to_owned(),
        })?;
        log.enrol(&self.id, self.authority, &key)
    };

    /// Adopts the clock of the holder's machine at once.
    "clock/accept" AcceptClock {} -> (), AppendError: |self, log| log.accept_clock();

    /// Replaces the rows of folds by what the log says.
    "rebuild_folds" RebuildFolds { #[serde(default)] fold: Option<String> }
        -> Vec<FoldCheck>, AppendError:
        |self, log, progress| log.rebuild_folds(self.fold.as_deref(), progress);

    /// Scopes under hold, and where each hold was placed.
    "holds" HoldsOf {} -> BTreeMap<String, Position>, ReadError: |self, log| log.holds();

    /// Puts a scope under legal hold.
    "hold" HoldOn { #[serde(default)] scope: String } -> Position, EraseError: |self, log| log.hold(&self.scope);

    /// Lifts a legal hold.
    "hold/release" ReleaseHold { #[serde(default)] scope: String } -> Position, EraseError:
        |self, log| log.release_hold(&self.scope);
}

/// The holder has a folder of its own.
fn no_place() -> Told {
    Told::new("bad_request", ErrorKind::Usage, "the path is not absolute")
}

fn facts(log: &Log) -> Facts {
    let (info, opening) = (log.info(), log.opening());
    let (principal, authority) = log.principal();
    Facts {
        log_id: info.log_id.to_string(),
        origin: info.origin,
        vkey: info.vkey.to_string(),
        encrypted: info.sealing == crate::Sealing::Required,
        fields: info.fields,
        read_only: info.read_only,
        opening: hex(&opening.id),
        opened_size: opening.size.get(),
        opened_at_us: opening.at_us,
        size: log.size(),
        durable_size: log.durable_size(),
        root: Base64(log.root().to_vec()),
        now_us: log.now_us(),
        steady_us: log.steady_us(),
        principal: principal.to_owned(),
        authority,
        process: std::process::id(),
        trouble: log
            .health()
            .err()
            .map(|(kind, why)| Told::new("unhealthy", kind, why)),
    }
}

/// The next events of what is followed, of those that survive a crash; where it goes on is answered
/// also if there are none yet.
pub(super) fn followed(log: &Log, mut read: Read) -> Result<Page, ReadError> {
    let (from, to) = (read.from.unwrap_or(0), read.to);
    let is_past = |next: u64| to.is_some_and(|to| next > to);
    (read.limit, read.reverse) = (None, false);
    let last = log.durable_size().checked_sub(1);
    let Some(last) = last.filter(|last| from <= *last && !is_past(from)) else {
        let mut nothing = Page::default();
        nothing.next = (!is_past(from)).then_some(from);
        return Ok(nothing);
    };
    let end = to.map_or(last, |to| to.min(last));
    read.to = Some(end);
    let mut page = match log.here() {
        Ok(here) => filled(here.follow(read)?, (None, false), Some(end)),
        Err(_) => page(log, read)?,
    };
    let next = match page.cut() {
        // Whoever goes on after the others is told.
        Some(error) => match page.last() {
            Some(last) => last.checked_add(1),
            None => return Err(error),
        },
        None => page.next.or_else(|| end.checked_add(1)),
    };
    page.next = next.filter(|next| !is_past(*next));
    Ok(page)
}

/// The next events of a read.
fn page(log: &Log, mut read: Read) -> Result<Page, ReadError> {
    let last = log.size().checked_sub(1);
    read.to = last.map(|last| read.to.map_or(last, |to| to.min(last)));
    let (left, reverse, end) = (read.limit, read.reverse, read.to);
    Ok(filled(log.read(read)?, (left, reverse), end))
}

/// A page of events, of a read with such a limit that ends at a position.
fn filled(mut records: Records, (left, reverse): (Option<u64>, bool), end: Option<u64>) -> Page {
    let mut page = Page::default();
    page.end = end;
    while let Some((events, bytes)) = page.room() {
        let Some(part) = records.next_part(events, bytes) else {
            return page;
        };
        page.add(part);
    }
    if left.is_none_or(|left| left > page.len() as u64) {
        page.next = page.last().and_then(|last| beyond(last, reverse));
    }
    page
}

fn beyond(at: u64, reverse: bool) -> Option<u64> {
    if reverse {
        at.checked_sub(1)
    } else {
        at.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, OpenOptions};

    #[test]
    fn who_follows_passes_over_nothing_that_cannot_be_read() {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let page = followed(&log, Read::default()).unwrap();
        assert_eq!((page.len(), page.next), (1, Some(1)));
        log.close_blocking().unwrap();
        assert!(matches!(
            followed(&log, Read::default()),
            Err(ReadError::Closed)
        ));
    }

    #[test]
    fn a_page_goes_on_after_what_was_read() {
        let mut page = Page::default();
        let damaged = || ReadError::from(crate::error::Corruption::at(4, "an event", "of no kind"));
        page.push(Err(damaged()));
        assert!(page.cut().is_none());
        for error in [ReadError::Reopening, damaged(), ReadError::Closed] {
            page.push(Err(error));
        }
        assert!(matches!(page.cut(), Some(ReadError::Reopening)));
        assert_eq!((page.len(), page.last()), (1, Some(4)));
    }
}
