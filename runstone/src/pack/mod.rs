//! The evidence pack: a directory with everything that somebody outside needs to check events of a
//! log, offline and with other people's programs.
//!
//! ```text
//! DIR/policy                            whose signature counts (C2SP tlog-policy)
//!     checkpoint                        size and root, signed (C2SP tlog-checkpoint)
//!     previous-checkpoint, consistency  an earlier one, and that the log only grew since
//!     tile/0/000, tile/1/000.p/7, ..    the tree (C2SP tlog-tiles); tile/entries/.. if asked for
//!     receipts/41.tlog-proof            a selected event (C2SP tlog-proof)
//!     disclosures/41.json               its content, if asked for
//!     erased                            selected events whose content was erased, and by which erasure
//!     withheld                          selected events whose content this copy of the log does not have
//!     certificates/50.tlog-proof, .json those erasures: the request, and that it was completed
//!     VERIFY.md, verify.py              how to check it by hand, and a program that does
//!     SHA256SUMS                        all other files
//! ```
//!
//! ```
//! use runstone::pack::Pack;
//! use runstone::{NewEvent, Query, Runstone};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let log = Runstone::memory()?;
//! log.append_blocking(NewEvent::new("tool.called", "run-7").payload(br#"{"amount":12}"#))?;
//!
//! let pack = Pack::of(Query::stream("run-7")).payloads().recipient("auditor-7");
//! let report = pack.write(&log, &folder.path().join("pack"), &|_| {})?;
//! assert_eq!((report.events, report.disclosed), (1, 1));
//! assert!(folder.path().join("pack/receipts/1.tlog-proof").exists());
//! # Ok(())
//! # }
//! ```

mod error;
mod folder;
mod guide;
mod tiles;

pub use error::PackError;

use folder::{Folder, SUMS, Writing};
use runstone_codec::Position;
use runstone_receipt::Policy;
use runstone_receipt::checkpoint::Checkpoint;
use runstone_store::{Disclose, Erasure, Log, Prover, Query, Read, ReadError, Record, Records};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Name of the list of all other files of a pack, in the format of `sha256sum`.
pub const FILES: &str = SUMS;

/// What goes into a pack.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pack {
    /// Which events get a receipt.
    pub query: Query,
    /// The first position of them.
    pub from: Option<u64>,
    /// The last position of them.
    pub to: Option<u64>,
    /// A checkpoint that somebody has, since which the log is shown to have only grown. Default:
    /// the newest one that the log keeps besides the current one.
    pub since: Option<String>,
    /// Whether the content of the events is disclosed, which the log records.
    pub payloads: bool,
    /// A code for who gets the content, recorded for ever.
    pub recipient: Option<String>,
    /// Whether the entries of all events go in, from which the whole tree follows. They hold
    /// header, times and digests, never content.
    pub entries: bool,
}

/// A part of writing a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackStep {
    /// Content is opened and recorded as disclosed.
    Disclosures,
    /// The tree is written.
    Tiles,
    /// Receipts are made.
    Receipts,
}

/// How far a pack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackProgress {
    /// The part that is under way.
    pub step: PackStep,
    /// Positions gone through.
    pub done: u64,
    /// Of so many.
    pub all: u64,
}

/// What a pack holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackReport {
    /// Events with a receipt.
    pub events: u64,
    /// Events whose content is disclosed.
    pub disclosed: u64,
    /// Events whose content was erased; an erasure accounts for each.
    pub erased: u64,
    /// Events whose content this copy of the log does not have, and no erasure accounts for.
    pub withheld: u64,
    /// Erasures with their certificates.
    pub erasures: u64,
    /// Size of the log under the checkpoint.
    pub size: u64,
    /// Size under the previous checkpoint, if there is one.
    pub previous: Option<u64>,
    /// Files, without the list of them.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl Pack {
    /// Receipts of the events that match.
    pub fn of(query: Query) -> Self {
        Self {
            query,
            from: None,
            to: None,
            since: None,
            payloads: false,
            recipient: None,
            entries: false,
        }
    }

    /// Events from this position on (inclusive).
    #[must_use]
    pub fn from(mut self, position: impl Into<u64>) -> Self {
        self.from = Some(position.into());
        self
    }

    /// Events up to this position (inclusive).
    #[must_use]
    pub fn to(mut self, position: impl Into<u64>) -> Self {
        self.to = Some(position.into());
        self
    }

    /// Shows that the log has only grown since this signed checkpoint.
    #[must_use]
    pub fn since(mut self, checkpoint: impl Into<String>) -> Self {
        self.since = Some(checkpoint.into());
        self
    }

    /// Discloses the content.
    #[must_use]
    pub fn payloads(mut self) -> Self {
        self.payloads = true;
        self
    }

    /// Records who gets the content, by a code.
    #[must_use]
    pub fn recipient(mut self, code: impl Into<String>) -> Self {
        self.recipient = Some(code.into());
        self
    }

    /// Adds the entries of all events.
    #[must_use]
    pub fn entries(mut self) -> Self {
        self.entries = true;
        self
    }

    /// Writes the pack to a new directory, which is there whole or not at all: it is written beside
    /// as `DIR.unfinished` and renamed. A few events are held at a time, however many there are.
    ///
    /// # Errors
    ///
    /// [`PackError`]; then nothing stands under the name. Content that was opened stays recorded as
    /// disclosed.
    pub fn write(
        &self,
        log: &Log,
        dir: &Path,
        progress: &dyn Fn(PackProgress),
    ) -> Result<PackReport, PackError> {
        let mut folder = Folder::begin(dir)?;
        // What is recorded from here on, disclosures included, is not selected.
        let last = log.size().saturating_sub(1);
        let selection = Selection {
            log,
            pack: self,
            from: self.from.unwrap_or(0),
            to: self.to.map_or(last, |to| to.min(last)),
            progress,
        };
        if selection.is_empty()? {
            return Err(PackError::Empty);
        }
        let missing = if self.payloads {
            Some(selection.disclose(&mut folder)?)
        } else {
            None
        };
        let mut prover = log.prover()?;
        let previous = self.write_heads(log, &mut prover, &mut folder)?;
        let size = prover.size();
        tiles::write(&mut folder, &mut prover, self.entries, &|done| {
            progress(PackProgress {
                step: PackStep::Tiles,
                done,
                all: size,
            });
        })?;
        let mut report = selection.prove(&mut prover, missing.as_ref(), &mut folder)?;
        let guide = guide::text(prover.checkpoint(), previous);
        folder.write("VERIFY.md", guide.as_bytes())?;
        folder.write("verify.py", guide::PROGRAM.as_bytes())?;
        report.previous = previous;
        (report.files, report.bytes) = (folder.files, folder.bytes);
        folder.finish()?;
        Ok(report)
    }

    /// Policy, checkpoint and what leads to it from an earlier one; answers the size of that.
    fn write_heads(
        &self,
        log: &Log,
        prover: &mut Prover,
        folder: &mut Folder,
    ) -> Result<Option<u64>, PackError> {
        let checkpoint = prover.checkpoint();
        let origin = checkpoint.checkpoint().origin.clone();
        let policy = Policy::of_logs(log.vkeys()?)?;
        folder.write("policy", policy.to_text().as_bytes())?;
        folder.write("checkpoint", checkpoint.text().as_bytes())?;
        let Some((text, earlier)) = self.earlier(log, &origin, prover.size())? else {
            return Ok(None);
        };
        folder.write("previous-checkpoint", text.as_bytes())?;
        let consistency = prover.consistency(&earlier)?;
        folder.write("consistency", &consistency.encode())?;
        Ok(Some(earlier.size))
    }

    /// The checkpoint that was given, or the newest one of this epoch that the log keeps.
    fn earlier(
        &self,
        log: &Log,
        origin: &str,
        size: u64,
    ) -> Result<Option<(String, Checkpoint)>, PackError> {
        if let Some(text) = &self.since {
            let checkpoint = log.own_checkpoint(text)?;
            return Ok(Some((text.clone(), checkpoint)));
        }
        let kept = log.kept_checkpoint(size)?;
        let kept = kept.filter(|kept| kept.checkpoint().origin == origin);
        Ok(kept.map(|kept| (kept.text().to_owned(), kept.checkpoint().clone())))
    }
}

/// The events that a pack is about.
struct Selection<'a> {
    log: &'a Log,
    pack: &'a Pack,
    from: u64,
    to: u64,
    progress: &'a dyn Fn(PackProgress),
}

/// Positions whose content could not be disclosed.
type Missing = BTreeSet<u64>;

impl Selection<'_> {
    fn read(&self) -> Result<Records, PackError> {
        let read = Read::new(self.pack.query.clone()).without_payloads();
        Ok(self.log.read(read.from(self.from).to(self.to))?)
    }

    fn is_empty(&self) -> Result<bool, PackError> {
        Ok(self.read()?.next().transpose()?.is_none())
    }

    /// The selected events, headers only.
    fn records(
        &self,
        step: PackStep,
    ) -> Result<impl Iterator<Item = Result<Record, PackError>>, PackError> {
        let records = self.read()?;
        let all = self.to.saturating_sub(self.from).saturating_add(1);
        Ok(records.map(move |record| {
            let record = record?;
            let done = record.position.get().saturating_sub(self.from);
            (self.progress)(PackProgress {
                step,
                done: done.saturating_add(1),
                all,
            });
            Ok(record)
        }))
    }

    /// Writes the content of each, as far as it is there.
    fn disclose(&self, folder: &mut Folder) -> Result<Missing, PackError> {
        let mut missing = Missing::new();
        let wanted = self.records(PackStep::Disclosures)?.map(|record| {
            let mut disclose = Disclose::whole(record?.position);
            disclose.recipient.clone_from(&self.pack.recipient);
            Ok(disclose)
        });
        self.log.disclose_each(wanted, |position, disclosure| {
            let Some(disclosure) = disclosure else {
                missing.insert(position.get());
                return Ok(());
            };
            folder.write(
                &format!("disclosures/{position}.json"),
                &disclosure.encode(),
            )
        })?;
        Ok(missing)
    }

    /// Writes receipts, what was erased, and the certificates of that.
    fn prove(
        &self,
        prover: &mut Prover,
        missing: Option<&Missing>,
        folder: &mut Folder,
    ) -> Result<PackReport, PackError> {
        let erasures = Erasures::of(self.log, prover.size())?;
        let (mut erased, mut withheld) = (List::new("erased"), List::new("withheld"));
        let (mut requests, mut certified) = (BTreeSet::new(), BTreeSet::new());
        let mut events = 0;
        for record in self.records(PackStep::Receipts)? {
            let record = record?;
            let position = record.position;
            let receipt = prover.receipt(position)?;
            folder.write(
                &format!("receipts/{position}.tlog-proof"),
                &receipt.encode(),
            )?;
            events += 1;
            let is_disclosed = missing.is_some_and(|missing| !missing.contains(&position.get()));
            if is_disclosed {
                // It was there when it was opened, though it may have been erased since.
                continue;
            }
            if let Some(erasure) = erasures.covering(&record) {
                let completed = erasure.completed;
                let completed = completed.map_or_else(|| "pending".to_owned(), |at| at.to_string());
                let line = format!("{position} {} {completed}\n", erasure.requested);
                erased.add(folder, &line)?;
                requests.insert(erasure.requested);
                certified.extend(erasure.completed);
            } else if missing.is_some() {
                withheld.add(folder, &format!("{position}\n"))?;
            }
        }
        for position in requests.iter().chain(&certified) {
            let receipt = prover.receipt(*position)?;
            folder.write(
                &format!("certificates/{position}.tlog-proof"),
                &receipt.encode(),
            )?;
            let content = self.log.disclose_own(*position)?;
            folder.write(&format!("certificates/{position}.json"), &content.encode())?;
        }
        let left_out = missing.map_or(events, |missing| missing.len() as u64);
        Ok(PackReport {
            events,
            disclosed: events.saturating_sub(left_out),
            erased: erased.end(folder)?,
            withheld: withheld.end(folder)?,
            erasures: requests.len() as u64,
            size: prover.size(),
            previous: None,
            files: 0,
            bytes: 0,
        })
    }
}

/// Erasures by the scopes that they took.
struct Erasures {
    all: Vec<Erasure>,
    /// Oldest first.
    of_scope: HashMap<String, Vec<usize>>,
}

impl Erasures {
    /// Those that were requested under a checkpoint of this size, as far as they were then.
    fn of(log: &Log, size: u64) -> Result<Self, ReadError> {
        let is_under = |position: Position| position.get() < size;
        let mut all = log.erasures()?;
        all.retain(|erasure| is_under(erasure.requested));
        for erasure in &mut all {
            erasure.completed = erasure.completed.filter(|position| is_under(*position));
        }
        let mut of_scope: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, erasure) in all.iter().enumerate() {
            for scope in &erasure.scopes {
                of_scope.entry(scope.clone()).or_default().push(at);
            }
        }
        Ok(Self { all, of_scope })
    }

    /// The erasure that took the content of an event: the first one of its scope after it.
    fn covering(&self, record: &Record) -> Option<&Erasure> {
        let erasures = self.of_scope.get(record.header.scope.as_str())?.iter();
        erasures
            .filter_map(|at| self.all.get(*at))
            .find(|erasure| erasure.requested > record.position)
    }
}

/// A file of lines that is there only if it has one.
struct List {
    name: &'static str,
    file: Option<Writing>,
    lines: u64,
}

impl List {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            file: None,
            lines: 0,
        }
    }

    fn add(&mut self, folder: &mut Folder, line: &str) -> Result<(), PackError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(folder.open(self.name)?),
        };
        self.lines += 1;
        file.write(line.as_bytes())
    }

    fn end(self, folder: &mut Folder) -> Result<u64, PackError> {
        if let Some(file) = self.file {
            folder.close(self.name, file)?;
        }
        Ok(self.lines)
    }
}
