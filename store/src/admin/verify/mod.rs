//! Verification of a whole log: every byte that means something is derived again and compared.
//!
//! ```text
//! level 0   entries -> tree -> head MAC, LOG.head, signed checkpoints; dense positions, revisions;
//!           tiles, index and fold rows both ways
//! level 1   and every present payload is the one that its entry names
//! level 2   and every payload decrypts and opens its commitment
//! ```
//!
//! Without keys, levels 0 and 1 leave out what only the keys can tell: head MACs, control fields and
//! fold rows; then only signed checkpoints vouch for the tree.
//!
//! Nothing is repaired.

mod keyless;
mod pass;
mod postings;

use super::folds::Batch;
use super::foreign::foreign_rows;
use crate::chunk::Head;
use crate::error::{Corruption, ErrorKind, OpenError, ReadError, StorageError};
use crate::fold::FoldCheck;
use crate::holder::{VerifyAll, hex32};
use crate::keys::KeyError;
use crate::log::{Backing, Here, Log};
use crate::open::{OpenOptions, last_head, row_seal};
use crate::read::Reader;
use keyless::verify_without_keys;
use pass::{Facts, Hand, Pass};
use runstone_codec::Digest32;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Problems listed; further ones are counted.
const LISTED: usize = 1000;
/// How often events are handed over to be folded before those are waited for. With what is folded and
/// what is collected meanwhile, two groups more than these are held.
const WAITING: usize = 4;

/// What folds come to.
type Folded = Result<Vec<FoldCheck>, ReadError>;

/// How much is checked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerifyLevel {
    /// Entries, tree, signatures, derived tables.
    Headers = 0,
    /// And payloads as stored.
    #[default]
    Payloads = 1,
    /// And payloads as opened.
    Commitments = 2,
}

/// What a problem means.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// Something is not what was written.
    Tampered,
    /// Something is missing that is not tampering.
    Incomplete,
    /// Something cannot be checked: a key is missing.
    Unverifiable,
}

impl ProblemKind {
    /// `tampered`, `incomplete` or `unverifiable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tampered => "tampered",
            Self::Incomplete => "incomplete",
            Self::Unverifiable => "unverifiable",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Problem {
    /// The event, where it lies in one.
    pub position: Option<u64>,
    /// The table or file.
    pub table: Cow<'static, str>,
    /// What it means.
    pub kind: ProblemKind,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// Outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Whether there is no problem.
    pub valid: bool,
    /// What was checked.
    pub level: VerifyLevel,
    /// Events that the head names.
    pub size: u64,
    /// Root derived from the entries.
    #[serde(with = "hex32")]
    #[schemars(with = "String")]
    pub root: Digest32,
    /// Events found.
    pub events: u64,
    /// Events without a payload.
    pub erased: u64,
    /// What is wrong, at most 1,000 of them.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub unlisted: u64,
}

impl VerifyReport {
    fn new(level: VerifyLevel) -> Self {
        Self {
            valid: true,
            level,
            size: 0,
            root: runstone_receipt::empty_root(),
            events: 0,
            erased: 0,
            problems: Vec::new(),
            unlisted: 0,
        }
    }

    fn problem(&mut self, kind: ProblemKind, corruption: Corruption) {
        self.valid = false;
        if self.problems.len() >= LISTED {
            self.unlisted += 1;
            return;
        }
        self.problems.push(Problem {
            position: corruption.position,
            table: corruption.table.into(),
            kind,
            expected: corruption.expected,
            found: corruption.found,
        });
    }

    fn tampered(&mut self, corruption: Corruption) {
        self.problem(ProblemKind::Tampered, corruption);
    }

    fn failed(&mut self, error: &ReadError) {
        match error {
            ReadError::Corrupt(corruption) => self.tampered(corruption.clone()),
            ReadError::Keys {
                position, message, ..
            } => self.problem(
                ProblemKind::Unverifiable,
                Corruption::at(*position, "a key that opens it", message.clone()),
            ),
            error if error.kind() != ErrorKind::Corrupt => self.problem(
                ProblemKind::Incomplete,
                Corruption::table("database", "a log that stays open", error.to_string()),
            ),
            other => self.tampered(Corruption::table(
                "database",
                "readable pages",
                other.to_string(),
            )),
        }
    }

    fn foreign(&mut self, found: Result<Vec<Corruption>, StorageError>) {
        match found {
            Ok(found) => found.into_iter().for_each(|row| self.tampered(row)),
            Err(error) => self.failed(&error.into()),
        }
    }

    fn folds(&mut self, checks: Result<Vec<FoldCheck>, ReadError>) {
        match checks {
            Ok(checks) => {
                for check in checks.iter().filter(|check| !check.is_equal()) {
                    let row = check
                        .difference
                        .as_ref()
                        .map(|row| String::from_utf8_lossy(&row.key).into_owned());
                    self.tampered(Corruption::table(
                        "folds",
                        format!("the rows of fold `{}` folded again", check.fold),
                        format!("another row {:?}", row.unwrap_or_default()),
                    ));
                }
            }
            Err(ReadError::Fold { fold, why }) => self.tampered(Corruption::table(
                "folds",
                format!("readable rows of fold `{fold}`"),
                why,
            )),
            Err(error) => self.failed(&error),
        }
    }

    /// The worst kind of problem, if there is one.
    pub fn worst(&self) -> Option<ProblemKind> {
        self.problems.iter().map(|problem| problem.kind).min()
    }
}

/// Verifies a file without writing to it. A file that [`Log::open`] refuses because it is damaged
/// is not an error here: the refusal is the problem reported.
///
/// Without a key folder the first two levels check what needs no key: everything but control fields,
/// fold rows and head MACs. Events after the last signed checkpoint are then reported as
/// [`ProblemKind::Incomplete`].
///
/// # Errors
///
/// [`OpenError`] if there is no such log, another process holds it, or its keys cannot be used.
pub fn verify_file(
    path: &Path,
    mut open: OpenOptions,
    level: VerifyLevel,
    progress: &dyn Fn(u64, u64),
) -> Result<VerifyReport, OpenError> {
    open.read_only = true;
    let outcome = match Log::open_here(path, open.clone()) {
        Ok(here) => return Ok(here.verify(level, progress)),
        Err(OpenError::Keys(KeyError::NotFound { .. })) if level < VerifyLevel::Commitments => {
            verify_without_keys(path, &open, level, progress)
        }
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(refused(level, &error)),
        outcome => outcome,
    }
}

/// The report on a log that cannot be opened.
pub(crate) fn refused(level: VerifyLevel, error: &OpenError) -> VerifyReport {
    let mut report = VerifyReport::new(level);
    report.tampered(match error {
        OpenError::Corrupt(corruption) => corruption.clone(),
        OpenError::Index(error) => Corruption::from(error.clone()),
        OpenError::Behind { witness, .. } | OpenError::Diverged { witness, .. } => {
            let at = if witness == "LOG.head" {
                "LOG.head"
            } else {
                "checkpoint copy"
            };
            Corruption::table(at, "the log that it knows", error.to_string())
        }
        other => Corruption::table("database", "readable pages", other.to_string()),
    });
    report
}

impl Log {
    /// Verifies everything up to now; appends go on meanwhile. `progress` is told events done and
    /// all.
    pub fn verify(&self, level: VerifyLevel, progress: &dyn Fn(u64, u64)) -> VerifyReport {
        match &self.backing {
            Backing::Here(here) => here.verify(level, progress),
            Backing::There(there) => {
                let told = there.ask_telling(&VerifyAll { level }, progress);
                told.unwrap_or_else(|error| {
                    let mut report = VerifyReport::new(level);
                    report.failed(&error);
                    report
                })
            }
        }
    }
}

impl Here {
    /// Events that the walk has read are folded again, by a thread of their own where threads are allowed.
    /// At most six groups are held at once, each of less than 1 MiB and one chunk.
    /// An erasure meanwhile takes from rows what was folded before it, so that it is done again.
    fn verify(&self, level: VerifyLevel, progress: &dyn Fn(u64, u64)) -> VerifyReport {
        let history = self.shared.identity.history();
        let reader = match self.shared.reader() {
            Ok(reader) => reader,
            Err(error) => {
                let mut report = VerifyReport::new(level);
                report.failed(&error);
                return report;
            }
        };
        let head = match last_head(&reader.snapshot) {
            Ok(head) => head,
            Err(error) => return refused(level, &error),
        };
        let (mut report, folds) = if self.shared.identity.options.background {
            self.verify_beside(&reader, &head, level, progress)
        } else {
            self.verify_alone(&reader, &head, level, progress)
        };
        let is_same = Arc::ptr_eq(&history, &self.shared.identity.history());
        report.folds(if is_same {
            folds
        } else {
            self.check_folds(None, &|_, _| {})
        });
        report
    }

    fn verify_beside(
        &self,
        reader: &Reader,
        head: &Head,
        level: VerifyLevel,
        progress: &dyn Fn(u64, u64),
    ) -> (VerifyReport, Folded) {
        let (sender, batches) = sync_channel::<Vec<Batch>>(WAITING);
        std::thread::scope(|scope| {
            let folding = move || {
                let mut refold = self.refold(None)?;
                for batch in batches.iter().flatten() {
                    refold.take(&batch);
                }
                self.conclude(refold, &|_, _| {})
            };
            let thread = std::thread::Builder::new()
                .name("runstone-verify".to_owned())
                .spawn_scoped(scope, folding);
            let Ok(thread) = thread else {
                return self.verify_alone(reader, head, level, progress);
            };
            let hand = Box::new(move |batches| sender.send(batches).is_ok());
            let report = verify_log(reader, head, level, hand, progress);
            let folds = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            (report, folds)
        })
    }

    fn verify_alone(
        &self,
        reader: &Reader,
        head: &Head,
        level: VerifyLevel,
        progress: &dyn Fn(u64, u64),
    ) -> (VerifyReport, Folded) {
        let mut refold = match self.refold(None) {
            Ok(refold) => refold,
            Err(error) => {
                let hand = Box::new(|_| false);
                return (verify_log(reader, head, level, hand, progress), Err(error));
            }
        };
        let hand = Box::new(|batches: Vec<Batch>| {
            for batch in &batches {
                refold.take(batch);
            }
            true
        });
        let report = verify_log(reader, head, level, hand, progress);
        (report, self.conclude(refold, &|_, _| {}))
    }
}

/// Everything but the rows of folds.
fn verify_log<'a>(
    reader: &'a Reader,
    head: &Head,
    level: VerifyLevel,
    hand: Hand<'a>,
    progress: &dyn Fn(u64, u64),
) -> VerifyReport {
    let mut report = VerifyReport::new(level);
    report.size = head.size;
    let facts = Facts::with_keys(&reader.identity);
    let mut pass = Pass::new(&facts, &reader.snapshot, level, report);
    pass.hand = Some(hand);
    let walked = pass.walk(head, progress);
    // All was handed on.
    pass.hand = None;
    if let Err(error) = walked.and_then(|()| pass.check_tiles()) {
        pass.report.failed(&error);
    }
    pass.check_checkpoints();
    pass.check_erasures();
    pass.conclude(head);
    pass.check_index();
    let mut report = pass.report;
    let seal = row_seal(&reader.identity);
    report.foreign(foreign_rows(&reader.snapshot, Some(&seal), head.size));
    if reader.identity.damaged {
        report.tampered(Corruption::table(
            "database",
            "pages that have their checksums",
            "damaged pages",
        ));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::pass::HANDED_BYTES;
    use super::*;
    use crate::append::Append;
    use crate::open::CreateOptions;
    use crate::read::Unfolded;
    use runstone_codec::{NewEvent, Text};

    /// Bytes that a chunk takes at the least, if each of its events has so many tags of 40 bytes.
    fn least(batch: &Batch, tags: usize) -> usize {
        let each = size_of::<Unfolded>() + tags * (size_of::<Text>() + 40);
        batch.chunk.len() + batch.events.len() * each
    }

    /// A JSON string that compression leaves three quarters of.
    fn incompressible(bytes: usize) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut state = 1_u64;
        let mut json = vec![b'"'];
        json.extend((0..bytes).map(|_| {
            // The generator of Knuth's MMIX.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            alphabet[usize::try_from(state >> 58).unwrap()]
        }));
        json.push(b'"');
        json
    }

    /// What is handed over together takes less than the bound without its last chunk, and but for the
    /// last time no less with it. Answers how many times and how many chunks.
    fn check_groups(events: u64, payload: usize, tags: u64) -> (usize, usize) {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let appends = (0..events).map(|_| {
            let event = NewEvent::new("data.put", "s").payload(incompressible(payload));
            let tagged = (0..tags).fold(event, |event, n| event.tag(format!("tag:{n:036}")));
            Append::new([tagged])
        });
        for answer in log.append_many_blocking(appends.collect()) {
            answer.unwrap();
        }
        let Backing::Here(here) = &log.backing else {
            unreachable!("a log in memory is held here");
        };
        let reader = here.shared.reader().unwrap();
        let head = last_head(&reader.snapshot).unwrap();
        let (mut groups, mut next) = (Vec::new(), 0);
        let hand = Box::new(|group: Vec<Batch>| {
            groups.extend((!group.is_empty()).then_some(group));
            true
        });
        let report = verify_log(&reader, &head, VerifyLevel::Commitments, hand, &|_, _| {});
        assert!(report.valid, "{report:?}");
        let is_last = |at: usize| at + 1 == groups.len();
        for (at, group) in groups.iter().enumerate() {
            for batch in group {
                assert_eq!(batch.first, next);
                next += batch.events.len() as u64;
            }
            let (_, before) = group.split_last().unwrap();
            let tags = usize::try_from(tags).unwrap();
            let without_last: usize = before.iter().map(|batch| least(batch, tags)).sum();
            assert!(without_last < HANDED_BYTES, "{without_last}");
            let bytes: usize = group.iter().map(Batch::held_bytes).sum();
            assert!(bytes >= HANDED_BYTES || is_last(at), "{bytes}");
        }
        assert_eq!(next, head.size);
        (groups.len(), groups.iter().map(Vec::len).sum())
    }

    #[test]
    fn large_events_are_handed_over_one_by_one() {
        // What the log says of itself goes with the first.
        assert_eq!(check_groups(6, 2 * HANDED_BYTES, 0), (6, 7));
    }

    #[test]
    fn small_events_are_handed_over_together() {
        for (events, tags) in [(6000, 0), (1000, 40)] {
            let (groups, chunks) = check_groups(events, 20, tags);
            assert!(groups > 1 && groups < chunks, "{groups} of {chunks}");
        }
    }
}
