//! Verification of a whole log: every byte that means something is derived again and compared.
//!
//! ```text
//! level 0   entries -> tree -> head MAC, LOG.head, signed checkpoints; dense positions, revisions;
//!           tiles, index and fold rows both ways
//! level 1   and every present payload is the one that its entry names
//! level 2   and every payload decrypts and opens its commitment
//! ```
//!
//! Nothing is repaired.

use super::foreign::foreign_rows;
use crate::chunk::{Chunk, Head, RawEvent};
use crate::engine::{NumberTable, Snapshot};
use crate::error::{Corruption, ErrorKind, OpenError, ReadError};
use crate::fold::Payload;
use crate::identity::Identity;
use crate::index::{TermBuffer, terms_of, verify_runs};
use crate::log::Log;
use crate::open::{OpenOptions, last_head, row_seal};
use crate::read::{PayloadFailure, check_digest, open_control, parse_entry, try_open};
use crate::tree::{TILE, tile_key};
use runstone_codec::hash::leaf_hash;
use runstone_codec::{Digest32, Entry, seal};
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::head::verify_head_mac;
use runstone_receipt::tree::{Frontier, Tile, TileSink};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// Problems listed; further ones are counted.
const LISTED: usize = 1000;
/// Events between two calls of the progress function.
const STEP: u64 = 1024;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The event, where it lies in one.
    pub position: Option<u64>,
    /// The table or file.
    pub table: &'static str,
    /// What it means.
    pub kind: ProblemKind,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// Outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Whether there is no problem.
    pub valid: bool,
    /// What was checked.
    pub level: VerifyLevel,
    /// Events that the head names.
    pub size: u64,
    /// Root derived from the entries.
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
            table: corruption.table,
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
            ReadError::Reopening | ReadError::Closed => self.problem(
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

    /// The worst kind of problem, if there is one.
    pub fn worst(&self) -> Option<ProblemKind> {
        self.problems.iter().map(|problem| problem.kind).min()
    }
}

/// Verifies a file without writing to it. A file that [`Log::open`] refuses because it is damaged
/// is not an error here: the refusal is the problem reported.
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
    let log = match Log::open(path, open) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            return Ok(refused(level, &error));
        }
        Err(error) => return Err(error),
    };
    Ok(log.verify(level, progress))
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
        let mut report = VerifyReport::new(level);
        let reader = match self.shared.reader() {
            Ok(reader) => reader,
            Err(error) => {
                report.failed(&error);
                return report;
            }
        };
        let head = match last_head(&reader.snapshot) {
            Ok(head) => head,
            Err(error) => return refused(level, &error),
        };
        report.size = head.size;
        let mut pass = Pass::new(&reader.identity, &reader.snapshot, level, report);
        let walked = pass.walk(&head, progress).and_then(|()| pass.check_tiles());
        if let Err(error) = walked {
            pass.report.failed(&error);
        }
        pass.check_checkpoints();
        pass.conclude(&head);
        pass.check_index();
        let mut report = pass.report;
        match foreign_rows(&reader.snapshot, &row_seal(&reader.identity), head.size) {
            Ok(found) => found.into_iter().for_each(|row| report.tampered(row)),
            Err(error) => report.failed(&error.into()),
        }
        drop(reader);
        self.verify_folds(&mut report);
        report
    }

    fn verify_folds(&self, report: &mut VerifyReport) {
        match self.check_folds(None, &|_, _| {}) {
            Ok(checks) => {
                for check in checks.iter().filter(|check| !check.is_equal()) {
                    let row = check
                        .difference
                        .as_ref()
                        .map(|row| String::from_utf8_lossy(&row.key).into_owned());
                    report.tampered(Corruption::table(
                        "folds",
                        format!("the rows of fold `{}` folded again", check.fold),
                        format!("another row {:?}", row.unwrap_or_default()),
                    ));
                }
            }
            Err(ReadError::Fold { fold, why }) => report.tampered(Corruption::table(
                "folds",
                format!("readable rows of fold `{fold}`"),
                why,
            )),
            Err(error) => report.failed(&error),
        }
    }
}

/// One walk over the chunks.
struct Pass<'a> {
    identity: &'a Identity,
    snapshot: &'a Snapshot,
    level: VerifyLevel,
    report: VerifyReport,
    frontier: Frontier,
    tiles: TileSink,
    /// Leaves that the stored tiles hold.
    covered: u64,
    /// Tiles seen, to be counted against the table.
    tile_rows: u64,
    /// Leaves that are not what their stored tile says: of an event or of the tile, the root tells.
    leaf_differences: Vec<u64>,
    tile_differences: Vec<(u8, u64)>,
    /// Heads inside the log that do not fit the tree up to there.
    head_differences: Vec<u64>,
    stored_tile: Option<(u64, Vec<u8>)>,
    streams: HashMap<String, (u64, String)>,
    /// An event could not be read, so what came before the next ones of its stream is not known.
    unread: bool,
    newest_us: u64,
    checkpoints: BTreeMap<u64, SignedCheckpoint>,
    roots: BTreeMap<u64, Digest32>,
    hasher: RandomState,
    terms: TermBuffer,
    /// Sum over (term, position) of every event below the index's end; equal sums mean equal sets,
    /// since nobody knows the hasher's keys beforehand.
    index_end: u64,
    expected_postings: u128,
}

impl<'a> Pass<'a> {
    fn new(
        identity: &'a Identity,
        snapshot: &'a Snapshot,
        level: VerifyLevel,
        report: VerifyReport,
    ) -> Self {
        Self {
            identity,
            snapshot,
            level,
            report,
            frontier: Frontier::new(),
            tiles: TileSink::new(),
            covered: 0,
            tile_rows: 0,
            leaf_differences: Vec::new(),
            tile_differences: Vec::new(),
            head_differences: Vec::new(),
            stored_tile: None,
            streams: HashMap::new(),
            unread: false,
            newest_us: 0,
            checkpoints: BTreeMap::new(),
            roots: BTreeMap::new(),
            hasher: RandomState::new(),
            terms: TermBuffer::default(),
            index_end: u64::MAX,
            expected_postings: 0,
        }
    }

    fn walk(&mut self, head: &Head, progress: &dyn Fn(u64, u64)) -> Result<(), ReadError> {
        self.read_checkpoints()?;
        self.covered = crate::tree::covered(self.snapshot)?;
        // The stored runs say how far they go; a manifest that cannot be read is named later.
        self.index_end =
            verify_runs(self.snapshot, &mut |_, _| {}).map_or(0, |verified| verified.covered);
        let (mut next, mut told) = (0, 0);
        let mut row = Some(0);
        while let Some(from) = row {
            let Some((key, value)) = self
                .snapshot
                .number_at_or_above(NumberTable::Chunks, from)?
            else {
                break;
            };
            row = key.checked_add(1);
            if key < next {
                self.report.tampered(Corruption::at(
                    key,
                    "one chunk that holds the event",
                    "a second one",
                ));
                continue;
            }
            if key > next {
                self.report.tampered(Corruption::at(
                    next,
                    "an event",
                    format!("nothing before position {key}"),
                ));
            }
            next = match Chunk::parse(key, value.bytes()) {
                Ok(chunk) => {
                    self.chunk(&chunk);
                    chunk.end()
                }
                Err(corruption) => {
                    self.report.tampered(corruption);
                    self.unread = true;
                    key.saturating_add(1)
                }
            };
            if next >= told + STEP {
                told = next;
                progress(next.min(head.size), head.size);
            }
        }
        progress(head.size, head.size);
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) {
        for raw in chunk.events() {
            match raw {
                Ok(raw) => self.event(raw),
                Err(corruption) => {
                    self.report.tampered(corruption);
                    self.unread = true;
                }
            }
        }
        match chunk.head() {
            Ok(None) => {}
            Ok(Some(head)) => {
                let mac_holds = verify_head_mac(
                    &self.identity.mac,
                    &self.identity.log_id,
                    head.size,
                    &head.root,
                    head.recorded_at_us,
                    &head.mac,
                );
                let fits = head.size == self.frontier.size()
                    && head.root == self.frontier.root()
                    && head.peaks == self.frontier.peaks()
                    && head.recorded_at_us == self.newest_us;
                if !mac_holds || !fits {
                    self.head_differences.push(chunk.end() - 1);
                }
            }
            Err(corruption) => self.report.tampered(corruption),
        }
    }

    fn event(&mut self, raw: RawEvent<'_>) {
        self.report.events += 1;
        let leaf = leaf_hash(raw.entry);
        self.frontier.push(leaf);
        for tile in self.tiles.push(leaf) {
            self.compare_tile(&tile);
        }
        if self.checkpoints.contains_key(&self.frontier.size()) {
            self.roots
                .insert(self.frontier.size(), self.frontier.root());
        }
        match self.stored_leaf(raw.position) {
            Ok(Some(stored)) if stored != leaf => self.leaf_differences.push(raw.position),
            Ok(_) => {}
            Err(error) => self.report.failed(&error),
        }
        if let Err(error) = self.entry(raw) {
            self.report.failed(&error);
            self.unread = true;
        }
    }

    fn stored_leaf(&mut self, position: u64) -> Result<Option<Digest32>, ReadError> {
        let index = position / TILE;
        if self
            .stored_tile
            .as_ref()
            .is_none_or(|(held, _)| *held != index)
        {
            let bytes = crate::tree::tile(self.snapshot, 0, index)?.unwrap_or_default();
            self.stored_tile = Some((index, bytes));
        }
        let at = usize::try_from(position % TILE).unwrap_or(0);
        Ok(self
            .stored_tile
            .as_ref()
            .and_then(|(_, bytes)| bytes.as_chunks::<32>().0.get(at))
            .copied())
    }

    fn entry(&mut self, raw: RawEvent<'_>) -> Result<(), ReadError> {
        let position = raw.position;
        let entry = parse_entry(raw)?;
        let header = entry.header();
        let revision = entry.revision().get();
        let follows = revision.saturating_add(1);
        let expected = match self.streams.get_mut(&header.stream) {
            None => {
                let first = (follows, header.scope.clone());
                self.streams.insert(header.stream.clone(), first);
                0
            }
            Some((next, scope)) => {
                if *scope != header.scope {
                    let expected = format!("scope `{scope}` of the stream");
                    return Err(Corruption::at(position, expected, header.scope.clone()).into());
                }
                std::mem::replace(next, follows)
            }
        };
        let skips_unread = self.unread && revision > expected;
        if revision != expected && !skips_unread {
            let found = format!("revision {}", entry.revision());
            return Err(Corruption::at(position, format!("revision {expected}"), found).into());
        }
        if entry.recorded_at_us() < self.newest_us {
            return Err(
                Corruption::at(position, "a time that does not go back", "an earlier one").into(),
            );
        }
        self.newest_us = entry.recorded_at_us();
        if self.identity.is_downgraded(header) {
            return Err(Corruption::at(position, "a sealed payload", "a plain one").into());
        }
        if position < self.index_end {
            terms_of(header, &mut self.terms);
            for term in &self.terms {
                let posting = self.hasher.hash_one((term, position));
                self.expected_postings = self.expected_postings.wrapping_add(u128::from(posting));
            }
        }
        open_control(self.identity, &entry)?;
        self.payload(raw, &entry)
    }

    fn payload(&mut self, raw: RawEvent<'_>, entry: &Entry<'_>) -> Result<(), ReadError> {
        let position = raw.position;
        if raw.envelope.is_empty() {
            self.report.erased += 1;
            self.report.problem(
                ProblemKind::Incomplete,
                Corruption::at(
                    position,
                    "a payload, or a certificate of erasure",
                    "nothing",
                ),
            );
            return Ok(());
        }
        if self.level >= VerifyLevel::Payloads {
            check_digest(self.identity, entry, raw)?;
        }
        if self.level < VerifyLevel::Commitments {
            return Ok(());
        }
        let header = entry.header();
        let opened = try_open(
            self.identity,
            entry.header_bytes(),
            header,
            raw.envelope,
            entry.commit(),
        );
        match opened {
            Ok(Payload::Open(_)) => {}
            Ok(_) => return Ok(()),
            Err(PayloadFailure::Key { code, message }) => {
                return Err(ReadError::Keys {
                    position,
                    code,
                    message,
                });
            }
            Err(PayloadFailure::Open(error)) => {
                return Err(ReadError::payload(position, &error));
            }
        }
        let key = header
            .key_id
            .as_ref()
            .and_then(|id| self.identity.keys.data_key(id).ok());
        seal::check_commitment(
            &self.identity.log_id,
            entry.header_bytes(),
            header,
            raw.envelope,
            entry.commit(),
            key.as_deref(),
        )
        .map_err(|error| ReadError::payload(position, &error))
    }

    /// A stored tile against the derived one, of which it must be as much as the covered leaves
    /// make.
    fn compare_tile(&mut self, tile: &Tile) {
        let key = (tile.level(), tile.index());
        let hashes = (self.covered >> (8 * u32::from(key.0).min(7)))
            .saturating_sub(key.1.saturating_mul(TILE))
            .min(TILE);
        let due = usize::try_from(hashes * 32).unwrap_or(usize::MAX);
        match crate::tree::tile(self.snapshot, key.0, key.1) {
            Ok(stored) => {
                self.tile_rows += u64::from(stored.is_some());
                let derived = tile.bytes();
                if derived.get(..due).filter(|due| !due.is_empty()) != stored.as_deref() {
                    self.tile_differences.push(key);
                }
            }
            Err(error) => self.report.failed(&error.into()),
        }
    }

    fn check_tiles(&mut self) -> Result<(), ReadError> {
        for tile in self.tiles.partial() {
            self.compare_tile(&tile);
        }
        let covered = self.covered;
        if covered > self.frontier.size() {
            self.report.tampered(Corruption::table(
                "tiles",
                format!("at most {} leaves", self.frontier.size()),
                format!("{covered} leaves"),
            ));
        }
        let rows = self.snapshot.count(NumberTable::Tiles)?;
        let beyond = self
            .snapshot
            .number_at_or_above(NumberTable::Tiles, tile_key(8, 0))?;
        if rows != self.tile_rows || beyond.is_some() {
            self.report.tampered(Corruption::table(
                "tiles",
                format!("{} tiles of this tree", self.tile_rows),
                format!("{rows} tiles"),
            ));
        }
        Ok(())
    }

    fn read_checkpoints(&mut self) -> Result<(), ReadError> {
        let mut next = Some(0);
        while let Some(from) = next {
            let Some((size, value)) = self
                .snapshot
                .number_at_or_above(NumberTable::Checkpoints, from)?
            else {
                break;
            };
            let text = value
                .bytes()
                .get(8..)
                .and_then(|text| std::str::from_utf8(text).ok());
            let vkeys = self.identity.keys.vkeys();
            let signed = text.and_then(|text| {
                SignedCheckpoint::parse_verify(text, &self.identity.origin, &vkeys).ok()
            });
            match signed.filter(|signed| signed.checkpoint().size == size) {
                Some(signed) => {
                    self.checkpoints.insert(size, signed);
                }
                None => self.report.tampered(Corruption::table(
                    "checkpoints",
                    format!("the checkpoint of size {size} as it was signed"),
                    "another one",
                )),
            }
            next = size.checked_add(1);
        }
        Ok(())
    }

    fn check_checkpoints(&mut self) {
        for (size, signed) in &self.checkpoints {
            let root = self.roots.get(size);
            if root != Some(&signed.checkpoint().root) {
                self.report.tampered(Corruption::table(
                    "checkpoints",
                    format!("the root that was signed at size {size}"),
                    "another root, or fewer events",
                ));
            }
        }
    }

    /// Blames: if the root is the head's, entries are right and what differs is derived; else the
    /// entries that differ from their tiles are wrong.
    fn conclude(&mut self, head: &Head) {
        self.report.root = self.frontier.root();
        let root_holds = self.frontier.size() == head.size && self.report.root == head.root;
        let differences = std::mem::take(&mut self.leaf_differences);
        if !root_holds {
            if differences.is_empty() {
                self.report.tampered(Corruption::table(
                    "chunks",
                    format!("the tree of {} events that the head names", head.size),
                    format!("another tree of {} events", self.frontier.size()),
                ));
            }
            for position in differences {
                self.report.tampered(Corruption::at(
                    position,
                    "the entry that the tree holds",
                    "another entry",
                ));
            }
            return;
        }
        for (level, index) in std::mem::take(&mut self.tile_differences) {
            self.report.tampered(Corruption::table(
                "tiles",
                format!("tile {index} of level {level} as derived"),
                "another tile",
            ));
        }
        for position in std::mem::take(&mut self.head_differences) {
            self.report.tampered(Corruption::at(
                position,
                "the head of the log up to here",
                "another head",
            ));
        }
    }

    fn check_index(&mut self) {
        let mut found: u128 = 0;
        let hasher = &self.hasher;
        let verified = verify_runs(self.snapshot, &mut |term, position| {
            let posting = hasher.hash_one((term, position));
            found = found.wrapping_add(u128::from(posting));
        });
        match verified {
            Ok(_) if found == self.expected_postings => {}
            Ok(_) => self.report.tampered(Corruption::table(
                "index",
                "the terms of the events",
                "other terms",
            )),
            Err(error) => self.report.tampered(error.into()),
        }
    }
}
