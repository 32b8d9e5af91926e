//! One walk over the chunks, in which everything that can be is derived again.

use super::postings::{Draw, Postings};
use super::{ProblemKind, VerifyLevel, VerifyReport};
use crate::admin::folds::Batch;
use crate::chunk::{Chunk, Head, RawEvent};
use crate::engine::{NumberTable, Snapshot, Value};
use crate::error::{Corruption, ReadError};
use crate::identity::{Identity, is_downgraded};
use crate::index::{IndexError, TermBuffer, terms_of, verify_runs};
use crate::options::Sealing;
use crate::own::{Genesis, History};
use crate::read::{Unfolded, check_content, check_digest, entry_at, open_control};
use crate::tree::{TILE, tile_key};
use runstone_codec::hash::leaf_hash;
use runstone_codec::{Control, Digest32, Entry, Header, KeyId, LogId, namespace};
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::head::verify_head_mac;
use runstone_receipt::tree::{Tile, TileSink};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Events between two calls of the progress function.
const STEP: u64 = 1024;
/// Bytes of chunks, and of what was decoded of them, after which they are handed over: so many that
/// waking who waits for them costs little.
pub(super) const HANDED_BYTES: usize = 1 << 20;

/// What is known of the log before it is looked at.
pub(super) struct Facts {
    log_id: LogId,
    sealing: Sealing,
    /// Its keys, if they are at hand.
    identity: Option<Arc<Identity>>,
}

impl Facts {
    pub(super) fn with_keys(identity: &Arc<Identity>) -> Self {
        Self {
            log_id: identity.log_id,
            sealing: identity.sealing,
            identity: Some(Arc::clone(identity)),
        }
    }

    /// What the log says of itself.
    pub(super) fn without_keys(genesis: &Genesis) -> Self {
        Self {
            log_id: genesis.log_id,
            sealing: genesis.sealing(),
            identity: None,
        }
    }
}

/// What an erasure names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Erased {
    Key(KeyId),
    /// Of an event that has no key.
    Scope(String),
}

/// Events of one key or scope that have no content.
#[derive(Clone, Copy, Debug)]
struct Absent {
    first: u64,
    last: u64,
    count: u64,
}

/// Takes in the events of chunks; answers whether it takes in more.
pub(super) type Hand<'a> = Box<dyn FnMut(Vec<Batch>) -> bool + 'a>;

/// One walk over the chunks.
pub(super) struct Pass<'a> {
    facts: &'a Facts,
    snapshot: &'a Snapshot,
    level: VerifyLevel,
    pub(super) report: VerifyReport,
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
    /// Whoever folds events again, as long as each could be read.
    pub(super) hand: Option<Hand<'a>>,
    /// Those of the chunk that is walked over.
    unfolded: Vec<Unfolded>,
    /// Those of the chunks before that were not handed over yet, and the bytes that they take.
    batches: Vec<Batch>,
    waiting_bytes: usize,
    /// An event could not be read, so what came before the next ones of its stream is not known.
    unread: bool,
    newest_us: u64,
    /// Stored checkpoints as they are; who may sign is known when the walk is over.
    checkpoints: BTreeMap<u64, String>,
    roots: BTreeMap<u64, Digest32>,
    /// A size whose root is asked for besides those of the checkpoints.
    pub(super) witnessed: Option<u64>,
    /// What the events say of the log itself.
    history: History,
    /// Events without content, by what an erasure of them would name.
    absent: BTreeMap<Erased, Absent>,
    /// The first event with content of each key, and of each scope those without a key.
    present_keys: BTreeMap<KeyId, u64>,
    present_scopes: BTreeMap<String, u64>,
    draw: Draw,
    terms: TermBuffer,
    /// Events below this position are in the index.
    index_end: u64,
    /// What they say.
    expected_postings: Postings,
    /// What the index holds.
    stored_postings: Result<Postings, IndexError>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        snapshot: &'a Snapshot,
        level: VerifyLevel,
        report: VerifyReport,
    ) -> Self {
        Self {
            facts,
            snapshot,
            level,
            report,
            tiles: TileSink::new(),
            covered: 0,
            tile_rows: 0,
            leaf_differences: Vec::new(),
            tile_differences: Vec::new(),
            head_differences: Vec::new(),
            stored_tile: None,
            streams: HashMap::new(),
            hand: None,
            unfolded: Vec::new(),
            batches: Vec::new(),
            waiting_bytes: 0,
            unread: false,
            newest_us: 0,
            checkpoints: BTreeMap::new(),
            roots: BTreeMap::new(),
            witnessed: None,
            history: History::default(),
            absent: BTreeMap::new(),
            present_keys: BTreeMap::new(),
            present_scopes: BTreeMap::new(),
            draw: Draw::new(),
            terms: TermBuffer::default(),
            index_end: u64::MAX,
            expected_postings: Postings::none(),
            stored_postings: Ok(Postings::none()),
        }
    }

    pub(super) fn walk(
        &mut self,
        head: &Head,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), ReadError> {
        self.read_index();
        self.read_checkpoints()?;
        self.covered = crate::tree::covered(self.snapshot)?;
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
                    self.is_unread();
                    key.saturating_add(1)
                }
            };
            self.hand_on(key, &value);
            if next >= told + STEP {
                told = next;
                progress(next.min(head.size), head.size);
            }
        }
        self.hand_over();
        progress(head.size, head.size);
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) {
        for raw in chunk.events() {
            match raw {
                Ok(raw) => self.event(raw),
                Err(corruption) => {
                    self.report.tampered(corruption);
                    self.is_unread();
                }
            }
        }
        match chunk.head() {
            Ok(None) => {}
            Ok(Some(head)) => {
                let mac_holds = self.facts.identity.as_ref().is_none_or(|identity| {
                    verify_head_mac(
                        &identity.mac,
                        &identity.log_id,
                        head.size,
                        &head.root,
                        head.recorded_at_us,
                        &head.mac,
                    )
                });
                let fits = head.size == self.tiles.frontier().size()
                    && head.root == self.tiles.frontier().root()
                    && head.peaks == self.tiles.frontier().peaks()
                    && head.recorded_at_us == self.newest_us;
                if !mac_holds || !fits {
                    self.head_differences.push(chunk.end() - 1);
                }
            }
            Err(corruption) => self.report.tampered(corruption),
        }
    }

    /// An event could not be read. Whoever folds reads on without help, and meets it too.
    fn is_unread(&mut self) {
        self.unread = true;
        self.hand = None;
    }

    /// Puts the events of a chunk with those that are given to whoever folds them. What is given
    /// together takes less than [`HANDED_BYTES`] and one chunk more, however large events are.
    fn hand_on(&mut self, first: u64, chunk: &Value) {
        if self.hand.is_none() {
            return;
        }
        let next = Vec::with_capacity(self.unfolded.len());
        let events = std::mem::replace(&mut self.unfolded, next);
        let batch = Batch {
            first,
            chunk: chunk.bytes().to_vec(),
            events,
        };
        self.waiting_bytes += batch.held_bytes();
        self.batches.push(batch);
        if self.waiting_bytes >= HANDED_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.waiting_bytes = 0;
        let batches = std::mem::take(&mut self.batches);
        if self.hand.as_mut().is_some_and(|hand| !hand(batches)) {
            self.hand = None;
        }
    }

    fn event(&mut self, raw: RawEvent<'_>) {
        self.report.events += 1;
        let leaf = leaf_hash(raw.entry);
        for tile in self.tiles.push(leaf) {
            self.compare_tile(&tile);
        }
        let size = self.tiles.frontier().size();
        if self.checkpoints.contains_key(&size) || self.witnessed == Some(size) {
            self.roots.insert(size, self.tiles.frontier().root());
        }
        match self.stored_leaf(raw.position) {
            Ok(Some(stored)) if stored != leaf => self.leaf_differences.push(raw.position),
            Ok(_) => {}
            Err(error) => self.report.failed(&error),
        }
        let parsed = Entry::parse(raw.entry);
        let checked = entry_at(&parsed, raw).and_then(|entry| self.entry(raw, entry));
        match checked {
            Ok(control) => {
                if self.hand.is_some()
                    && let Ok(entry) = parsed
                {
                    self.unfolded.push(Unfolded::new(entry, control));
                }
            }
            Err(error) => {
                self.report.failed(&error);
                self.is_unread();
            }
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

    /// Checks an entry at its place; answers its control fields.
    fn entry(&mut self, raw: RawEvent<'_>, entry: &Entry<'_>) -> Result<Control, ReadError> {
        let position = raw.position;
        let header = entry.header();
        let revision = entry.revision().get();
        let follows = revision.saturating_add(1);
        let expected = match self.streams.get_mut(header.stream.as_str()) {
            None => {
                let first = (follows, header.scope.to_string());
                self.streams.insert(header.stream.to_string(), first);
                0
            }
            Some((next, scope)) => {
                if *scope != header.scope {
                    let expected = format!("scope `{scope}` of the stream");
                    return Err(Corruption::at(position, expected, header.scope.to_string()).into());
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
        if is_downgraded(self.facts.sealing, header) {
            return Err(Corruption::at(position, "a sealed payload", "a plain one").into());
        }
        if position < self.index_end {
            terms_of(header, &mut self.terms);
            let at = self.draw.position(position);
            for term in &self.terms {
                self.expected_postings.add(self.draw.term(term), at);
            }
        }
        let control = match &self.facts.identity {
            Some(identity) => open_control(identity, entry)?,
            None => Control::new(),
        };
        if !raw.envelope.is_empty() {
            self.history.take(&self.facts.log_id, raw, entry)?;
        }
        self.payload(raw, entry)?;
        Ok(control)
    }

    fn payload(&mut self, raw: RawEvent<'_>, entry: &Entry<'_>) -> Result<(), ReadError> {
        let position = raw.position;
        if raw.envelope.is_empty() {
            if namespace::is_evidence(&entry.header().event_type) {
                let expected = "the content of an event of the log itself, which is never erased";
                return Err(Corruption::at(position, expected, "nothing").into());
            }
            self.is_absent(position, entry.header());
            return Ok(());
        }
        self.is_present(position, entry.header());
        if self.level >= VerifyLevel::Payloads {
            check_digest(&self.facts.log_id, entry, raw)?;
        }
        let Some(identity) = &self.facts.identity else {
            return Ok(());
        };
        if self.level < VerifyLevel::Commitments {
            return Ok(());
        }
        let header = entry.header();
        if !check_content(identity, entry, raw).map_err(|error| error.at(position))? {
            self.is_absent(position, header);
        }
        Ok(())
    }

    fn is_present(&mut self, position: u64, header: &Header) {
        if let Some(key_id) = header.key_id {
            self.present_keys.entry(key_id).or_insert(position);
        } else if !self.present_scopes.contains_key(header.scope.as_str()) {
            self.present_scopes
                .insert(header.scope.to_string(), position);
        }
    }

    fn is_absent(&mut self, position: u64, header: &Header) {
        self.report.erased += 1;
        let erased = match header.key_id {
            Some(key_id) => Erased::Key(key_id),
            None => Erased::Scope(header.scope.to_string()),
        };
        let absent = self.absent.entry(erased).or_insert(Absent {
            first: position,
            last: position,
            count: 0,
        });
        absent.last = position;
        absent.count += 1;
    }

    /// Whatever has no content must have been erased, and every erasure must be complete.
    pub(super) fn check_erasures(&mut self) {
        let mut unfinished = BTreeSet::new();
        for (erased, absent) in &self.absent {
            let covering = match erased {
                Erased::Key(key_id) => self.history.erasure_of_key(key_id),
                Erased::Scope(scope) => self
                    .history
                    .erasure_of_scope(scope)
                    .filter(|(at, _)| absent.last < *at),
            };
            let Some((at, state)) = covering else {
                let expected = "a payload, or a certificate of erasure";
                let found = match absent.count {
                    1 => "nothing".to_owned(),
                    more => format!("nothing, here and at {} more positions", more - 1),
                };
                let missing = Corruption::at(absent.first, expected, found);
                self.report.problem(ProblemKind::Incomplete, missing);
                continue;
            };
            if state.completed.is_none() {
                unfinished.insert(at);
            }
        }
        self.check_certificates();
        unfinished.extend(self.history.pending().map(|(at, _)| at));
        for at in unfinished {
            let pending = Corruption::at(
                at,
                "the completion of the erasure that is requested here",
                "an erasure that is pending; `runstone erase --resume` finishes it",
            );
            self.report.problem(ProblemKind::Incomplete, pending);
        }
    }

    /// What a certificate says is gone from the file must not be in it.
    fn check_certificates(&mut self) {
        for (at, state) in self.history.erasures() {
            let Some((certificate, completed)) = &state.completed else {
                continue;
            };
            if !completed.rewritten {
                continue;
            }
            let keys = state.request.key_ids.iter();
            let of_keys = keys.filter_map(|key| self.present_keys.get(key));
            let scopes = state.request.scopes.iter();
            let of_scopes = scopes.filter_map(|scope| self.present_scopes.get(scope));
            let of_scopes = of_scopes.filter(|position| *position < at);
            for position in of_keys.chain(of_scopes) {
                let expected = format!("nothing, as the certificate at {certificate} says");
                self.report
                    .tampered(Corruption::at(*position, expected, "content"));
            }
        }
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

    pub(super) fn check_tiles(&mut self) -> Result<(), ReadError> {
        for tile in self.tiles.partial() {
            self.compare_tile(&tile);
        }
        let covered = self.covered;
        if covered > self.tiles.frontier().size() {
            self.report.tampered(Corruption::table(
                "tiles",
                format!("at most {} leaves", self.tiles.frontier().size()),
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
            let text = value.bytes().get(8..).unwrap_or_default();
            let text = String::from_utf8_lossy(text).into_owned();
            self.checkpoints.insert(size, text);
            next = size.checked_add(1);
        }
        Ok(())
    }

    /// Whether every event is under a signed checkpoint.
    pub(super) fn is_signed(&self, head: &Head) -> bool {
        self.checkpoints.contains_key(&head.size)
    }

    /// Compares with a root that somebody else keeps.
    pub(super) fn check_witness(&mut self, witness: &'static str, size: u64, root: &Digest32) {
        if self.roots.get(&size) != Some(root) {
            self.report.tampered(Corruption::table(
                witness,
                format!("the tree of the first {size} events that it names"),
                "another tree, or fewer events",
            ));
        }
    }

    pub(super) fn check_checkpoints(&mut self) {
        let mut vkeys = self.history.vkeys();
        if let Some(identity) = &self.facts.identity {
            // One that was made and is not recorded yet signs beside its predecessor.
            vkeys.extend(identity.keys.vkeys());
        }
        for (size, text) in &self.checkpoints {
            let origin = text.split('\n').next().unwrap_or_default();
            let signed = SignedCheckpoint::parse_verify(text, origin, &vkeys).ok();
            let signed = signed.filter(|signed| signed.checkpoint().size == *size);
            let Some(signed) = signed else {
                self.report.tampered(Corruption::table(
                    "checkpoints",
                    format!("the checkpoint of size {size} as it was signed"),
                    "another one",
                ));
                continue;
            };
            if self.roots.get(size) != Some(&signed.checkpoint().root) {
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
    pub(super) fn conclude(&mut self, head: &Head) {
        self.report.root = self.tiles.frontier().root();
        let root_holds = self.tiles.frontier().size() == head.size && self.report.root == head.root;
        let differences = std::mem::take(&mut self.leaf_differences);
        if !root_holds {
            if differences.is_empty() {
                self.report.tampered(Corruption::table(
                    "chunks",
                    format!("the tree of {} events that the head names", head.size),
                    format!("another tree of {} events", self.tiles.frontier().size()),
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

    /// Takes in what the index holds, and notes how far it goes. What is wrong with it is named later.
    fn read_index(&mut self) {
        let mut stored = Postings::none();
        let draw = &self.draw;
        let verified = verify_runs(self.snapshot, &mut |term, positions| {
            let term = draw.term(term);
            for position in positions {
                stored.add(term, draw.position(*position));
            }
        });
        self.index_end = verified.as_ref().map_or(0, |verified| verified.covered);
        self.stored_postings = verified.map(|_| stored);
    }

    pub(super) fn check_index(&mut self) {
        match &self.stored_postings {
            Ok(stored) if *stored == self.expected_postings => {}
            Ok(_) => self.report.tampered(Corruption::table(
                "index",
                "the terms of the events",
                "other terms",
            )),
            Err(error) => self.report.tampered(error.clone().into()),
        }
    }
}
