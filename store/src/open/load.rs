//! Bringing a log to where it was: what is found and what is done about it (docs/RECOVERY.md).

use super::blame::blame;
use super::{corrupt_of, loaded, row_seal};
use crate::chunk::{Chunk, Head, RawEvent};
use crate::engine::{Db, Disk, NumberTable, RowTable, Snapshot};
use crate::error::{Corruption, OpenError, StorageError};
use crate::fold::{Fold, FoldHost, Look, clear_all};
use crate::headfile::{Found, HeadFile};
use crate::identity::Identity;
use crate::index::{Index, IndexOptions, RowOp, TermBuffer, terms_of};
use crate::log::Loaded;
use crate::own::History;
use crate::read::{Unfolded, parse_entry};
use crate::signing::Signing;
use crate::tree::{self, Tree};
use crate::write::{MERGE_ROW, Maintenance, ScopeCache, Writer, index_change};
use runstone_codec::hash::leaf_hash;
use runstone_codec::{Entry, LogId};
use runstone_receipt::head::verify_head_mac;
use std::ops::Range;
use std::sync::Arc;

/// A tail of so many tables of the index is written to index and tiles while it is replayed.
const SETTLE_TABLES: u64 = 8;

/// What is read before anything is believed: the index as it is stored, and what the log says of
/// itself.
pub(crate) struct Contents {
    pub(crate) index: Index,
    pub(crate) history: History,
}

impl Contents {
    pub(crate) fn read(log_id: &LogId, db: &Db, options: &IndexOptions) -> Result<Self, OpenError> {
        let snapshot = db.snapshot()?;
        let index = Index::open(&snapshot, options.clone())?;
        let covered = index.covered();
        let history = History::read(log_id, &snapshot, &index.view(covered), covered);
        let history = history.map_err(corrupt_of)?;
        Ok(Self { index, history })
    }
}

/// A log as it was found.
pub(crate) struct Opened {
    pub(crate) loaded: Loaded,
    pub(crate) disputes: Vec<Dispute>,
}

/// Brings a log to where it was: checks its head against everything that knows it, and replays
/// the tail into tree, index and folds.
pub(crate) fn load(
    identity: Arc<Identity>,
    folds: &[Arc<dyn Fold>],
    db: Arc<Db>,
    contents: Contents,
    head_disk: Arc<dyn Disk>,
    (signing, witness): (&Arc<Signing>, Witness),
) -> Result<Opened, OpenError> {
    let (head_file, found) = HeadFile::open(head_disk, &identity.log_id)
        .map_err(|error| StorageError::io("LOG.head", &error))?;
    let snapshot = db.snapshot()?;
    let head = last_head(&snapshot)?;
    let mac_holds = verify_head_mac(
        &identity.mac,
        &identity.log_id,
        head.size,
        &head.root,
        head.recorded_at_us,
        &head.mac,
    );
    if !mac_holds {
        return Err(Corruption::at(
            head.size.saturating_sub(1),
            "a head that was written with this log's keys",
            "a head with another MAC",
        )
        .into());
    }
    let covered = tree::covered(&snapshot)?;
    if covered > head.size {
        return Err(Corruption::table(
            "tiles",
            format!("at most {} leaves", head.size),
            format!("{covered} leaves"),
        )
        .into());
    }
    let mut tree = Tree::load(&snapshot, covered)?;
    let Contents { mut index, history } = contents;
    if index.covered() > head.size {
        return Err(Corruption::table(
            "index",
            format!("at most {} events", head.size),
            format!("{} events", index.covered()),
        )
        .into());
    }
    Derived::new(&db, &mut tree, &mut index).replay(&snapshot, &head)?;
    if tree.size() != head.size || tree.root() != head.root || tree.peaks() != head.peaks {
        return Err(blame(&snapshot, &head).into());
    }
    let disputes = find_disputes(
        &identity,
        &history,
        &snapshot,
        &head,
        &found,
        (signing, witness),
    )?;
    identity.set_history(history);
    let host = replayed_folds(&identity, folds, &db, &snapshot, &head)?;
    let merged = snapshot
        .row(RowTable::Meta, MERGE_ROW)?
        .and_then(|row| row.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    drop(snapshot);
    identity.begin_time(head.recorded_at_us);
    let writer = Writer {
        identity,
        db,
        head_file,
        tree,
        index,
        terms: TermBuffer::default(),
        stream_term: Vec::new(),
        scopes: ScopeCache::default(),
        signing: Arc::clone(signing),
        maintenance: Maintenance::resume(merged),
        durable: head.size,
        newest_us: head.recorded_at_us,
    };
    Ok(Opened {
        loaded: loaded(writer, host, head),
        disputes,
    })
}

/// The head after the last event.
pub(crate) fn last_head(snapshot: &Snapshot) -> Result<Head, OpenError> {
    let (key, value) = snapshot
        .number_at_or_below(NumberTable::Chunks, u64::MAX)?
        .ok_or_else(|| Corruption::table("chunks", "at least one event", "nothing"))?;
    let chunk = Chunk::parse(key, value.bytes())?;
    chunk.head()?.ok_or_else(|| {
        Corruption::at(chunk.end() - 1, "a head after the last event", "nothing").into()
    })
}

/// Somebody knows of a head that this log does not have.
#[derive(Debug)]
pub(crate) struct Dispute {
    pub(crate) error: OpenError,
    /// The head that is known: size and root.
    pub(crate) known: (u64, [u8; 32]),
}

/// Who knows of the log besides `LOG.head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// Every checkpoint copy, commands included.
    Copies,
    /// This process, which has had the log open: nobody else has written it since, and copies know
    /// of nothing that this process did not sign. Nobody waits for a command meanwhile.
    Process,
}

/// Compares with `LOG.head` and with what the witness knows.
fn find_disputes(
    identity: &Identity,
    history: &History,
    snapshot: &Snapshot,
    head: &Head,
    found: &Found,
    (signing, witness): (&Signing, Witness),
) -> Result<Vec<Dispute>, OpenError> {
    let mut disputes = Vec::new();
    let mut compare =
        |witness: &str, known: (u64, [u8; 32])| match compare(snapshot, head, witness, known) {
            Err(error @ (OpenError::Behind { .. } | OpenError::Diverged { .. })) => {
                disputes.push(Dispute { error, known });
                Ok(())
            }
            outcome => outcome,
        };
    if let Found::Head(slot) = found {
        let mac_holds = verify_head_mac(
            &identity.mac,
            &identity.log_id,
            slot.size,
            &slot.root,
            slot.recorded_at_us,
            &slot.head_mac,
        );
        if !mac_holds {
            return Err(Corruption::table(
                "LOG.head",
                "a head that was written with this log's keys",
                "a head with another MAC",
            )
            .into());
        }
        compare("LOG.head", (slot.size, slot.root))?;
    }
    match witness {
        Witness::Copies => {
            let mut vkeys = history.vkeys();
            vkeys.extend(identity.keys.vkeys());
            for (name, checkpoint) in signing.copies().read(&vkeys)? {
                let known = (checkpoint.size, checkpoint.root);
                if !history.is_superseded(&checkpoint.origin, known) {
                    compare(&name, known)?;
                }
            }
        }
        Witness::Process => {
            if let Some((size, signed)) = signing.newest() {
                compare("this process", (size, signed.checkpoint().root))?;
            }
        }
    }
    Ok(disputes)
}

pub(crate) fn compare(
    snapshot: &Snapshot,
    head: &Head,
    witness: &str,
    (size, root): (u64, [u8; 32]),
) -> Result<(), OpenError> {
    if size > head.size {
        return Err(OpenError::Behind {
            witness: witness.to_owned(),
            size: head.size,
            known_size: size,
        });
    }
    let ours = if size == head.size {
        head.root
    } else {
        root_at(snapshot, size)?
    };
    if ours != root {
        return Err(diverged(witness, size, &root, &ours));
    }
    Ok(())
}

/// At a size that `witness` knows, this log has another root.
pub(crate) fn diverged(
    witness: &str,
    size: u64,
    expected: &[u8; 32],
    found: &[u8; 32],
) -> OpenError {
    OpenError::Diverged {
        witness: witness.to_owned(),
        size,
        expected: base64_of(expected),
        found: base64_of(found),
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Root of the first `size` events: stored tiles, then entries.
fn root_at(snapshot: &Snapshot, size: u64) -> Result<[u8; 32], OpenError> {
    let covered = tree::covered(snapshot)?.min(size);
    let mut tree = Tree::load(snapshot, covered)?;
    each_chunk(snapshot, (covered, size), &mut |chunk, positions| {
        for position in positions {
            tree.push(leaf_hash(chunk.event(position)?.entry));
        }
        Ok(())
    })?;
    Ok(tree.root())
}

/// What follows from entries alone.
pub(crate) struct Derived<'a> {
    db: &'a Db,
    tree: &'a mut Tree,
    index: &'a mut Index,
    terms: TermBuffer,
    /// A tail of so many events is written while it is replayed, so that memory stays bounded.
    settle_events: u64,
}

impl<'a> Derived<'a> {
    pub(crate) fn new(db: &'a Db, tree: &'a mut Tree, index: &'a mut Index) -> Self {
        Self {
            settle_events: index.freeze_events().saturating_mul(SETTLE_TABLES),
            db,
            tree,
            index,
            terms: TermBuffer::default(),
        }
    }

    pub(crate) fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    pub(crate) fn peaks(&self) -> Vec<[u8; 32]> {
        self.tree.peaks()
    }

    /// Feeds the next event to tree and index.
    pub(crate) fn take(&mut self, raw: RawEvent<'_>, entry: &Entry<'_>) -> Result<(), OpenError> {
        self.tree.push(leaf_hash(raw.entry));
        self.index(raw.position, entry)
    }

    fn index(&mut self, position: u64, entry: &Entry<'_>) -> Result<(), OpenError> {
        terms_of(entry.header(), &mut self.terms);
        Ok(self.index.insert(position, self.terms.iter())?)
    }

    /// Feeds the tail to tree and index.
    pub(crate) fn replay(&mut self, snapshot: &Snapshot, head: &Head) -> Result<(), OpenError> {
        let from = self.tree.size().min(self.index.covered());
        each_chunk(snapshot, (from, head.size), &mut |chunk, positions| {
            for position in positions {
                let raw = chunk.event(position)?;
                if position == self.tree.size() {
                    self.tree.push(leaf_hash(raw.entry));
                }
                if position >= self.index.covered() {
                    self.index(position, &parse_entry(raw).map_err(corrupt_of)?)?;
                }
            }
            self.settle()
        })
    }

    /// Writes what was derived from a long tail.
    pub(crate) fn settle(&mut self) -> Result<(), OpenError> {
        if self.index.next() - self.index.covered() < self.settle_events {
            return Ok(());
        }
        let rows = self.index.maintain(&self.db.snapshot()?, u64::MAX)?;
        self.write(rows)
    }

    /// Writes everything that was derived.
    pub(crate) fn finish(&mut self) -> Result<(), OpenError> {
        let rows = self.index.flush_all(&self.db.snapshot()?)?;
        self.write(rows)
    }

    fn write(&mut self, rows: Vec<RowOp>) -> Result<(), OpenError> {
        let mut changes: Vec<_> = rows.into_iter().map(index_change).collect();
        changes.extend(self.tree.changes());
        self.db.commit(&changes, true)?;
        self.index.committed();
        self.tree.stored();
        Ok(())
    }
}

/// Keys that an erasure names are gone for good, also if somebody put an older table back or the
/// erasure was cut short. Called once nothing contradicts the log: one that is refused has no say.
pub(crate) fn drop_erased_keys(identity: &Identity) -> Result<(), OpenError> {
    if identity.read_only.is_none() {
        identity.keys.erase(identity.history().erased_keys())?;
        identity
            .keys
            .store_fold_key(identity.options.clock.wall_us())?;
    }
    Ok(())
}

/// The folds, with the tail taken in.
fn replayed_folds(
    identity: &Arc<Identity>,
    folds: &[Arc<dyn Fold>],
    db: &Arc<Db>,
    snapshot: &Snapshot,
    head: &Head,
) -> Result<FoldHost, OpenError> {
    if identity.history().pending().next().is_some() {
        // An erasure was cut short: what folds took from the content may still be in their rows.
        clear_all(db)?;
    }
    let mut host = FoldHost::open(folds, row_seal(identity), db)?;
    host.bound(head.size, db)?;
    let Some(from) = host.replay_from() else {
        return Ok(host);
    };
    let look = Look::first(db);
    each_chunk(snapshot, (from, head.size), &mut |chunk, positions| {
        for position in positions {
            let raw = chunk.event(position)?;
            let event = Unfolded::read(identity, raw).map_err(corrupt_of)?;
            event.fold(identity, raw, |record| host.apply(&look, record));
        }
        Ok(())
    })?;
    Ok(host)
}

/// Told a chunk, and the positions of it that are meant.
type Visit<'a> = &'a mut dyn FnMut(&Chunk<'_>, Range<u64>) -> Result<(), OpenError>;

/// Visits the chunks that hold `from..to`, in order, each with the positions of it that are meant.
pub(super) fn each_chunk(
    snapshot: &Snapshot,
    (from, to): (u64, u64),
    visit: Visit<'_>,
) -> Result<(), OpenError> {
    let mut next = from;
    while next < to {
        let lost = || Corruption::at(next, "an event", "nothing");
        let (key, value) = snapshot
            .number_at_or_below(NumberTable::Chunks, next)?
            .ok_or_else(lost)?;
        let chunk = Chunk::parse(key, value.bytes())?;
        if !chunk.contains(next) {
            return Err(lost().into());
        }
        visit(&chunk, next..chunk.end().min(to))?;
        next = chunk.end();
    }
    Ok(())
}
