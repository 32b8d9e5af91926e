//! Bringing a log to where it was: what is found and what is done about it (docs/RECOVERY.md).

use super::blame::blame;
use super::{corrupt_of, loaded, row_seal};
use crate::chunk::{Chunk, Head};
use crate::clock::Timekeeper;
use crate::engine::{Db, Disk, NumberTable, RowTable, Snapshot};
use crate::error::{Corruption, OpenError, StorageError};
use crate::fold::{Fold, FoldHost};
use crate::headfile::{Found, HeadFile};
use crate::identity::Identity;
use crate::index::{Index, TermBuffer, terms_of};
use crate::log::Loaded;
use crate::read::{parse_entry, with_fold_record};
use crate::signing::Signing;
use crate::tree::{self, Tree};
use crate::write::{MERGE_ROW, Maintenance, ScopeCache, Writer, index_change};
use runstone_codec::hash::leaf_hash;
use runstone_receipt::head::verify_head_mac;
use std::sync::Arc;

/// A tail of so many tables of the index is written to index and tiles while it is replayed.
const SETTLE_TABLES: u64 = 8;

/// Brings a log to where it was: checks its head against everything that knows it, and replays
/// the tail into tree, index and folds.
pub(crate) fn load(
    identity: Arc<Identity>,
    folds: &[Arc<dyn Fold>],
    db: Arc<Db>,
    head_disk: Arc<dyn Disk>,
    signing: &Arc<Signing>,
) -> Result<Loaded, OpenError> {
    let (head_file, found) = HeadFile::open(head_disk, &identity.log_id)
        .map_err(|error| StorageError::io("LOG.head", &error))?;
    let mut host = FoldHost::open(folds, row_seal(&identity), &db)?;
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
    host.bound(head.size, &db)?;
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
    let mut index = Index::open(&snapshot, identity.options.index.clone())?;
    if index.covered() > head.size {
        return Err(Corruption::table(
            "index",
            format!("at most {} events", head.size),
            format!("{} events", index.covered()),
        )
        .into());
    }
    let from = covered
        .min(index.covered())
        .min(host.replay_from().unwrap_or(u64::MAX));
    let mut replay = Replay {
        identity: &identity,
        db: &db,
        tree: &mut tree,
        index: &mut index,
        terms: TermBuffer::default(),
        folds: &mut host,
    };
    replay.run(&snapshot, from, &head)?;
    if tree.size() != head.size || tree.root() != head.root || tree.peaks() != head.peaks {
        return Err(blame(&snapshot, &head).into());
    }
    check_witnesses(&identity, &snapshot, &head, &found, signing)?;
    let merged = snapshot
        .row(RowTable::Meta, MERGE_ROW)?
        .and_then(|row| row.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    drop(snapshot);
    let time = Timekeeper::new(identity.options.clock.as_ref(), head.recorded_at_us);
    let writer = Writer {
        identity,
        db,
        head_file,
        tree,
        index,
        terms: TermBuffer::default(),
        time,
        scopes: ScopeCache::default(),
        signing: Arc::clone(signing),
        maintenance: Maintenance::resume(merged),
        durable: head.size,
        newest_us: head.recorded_at_us,
    };
    Ok(loaded(writer, host, head))
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

/// Compares with `LOG.head` and with every checkpoint copy.
fn check_witnesses(
    identity: &Identity,
    snapshot: &Snapshot,
    head: &Head,
    found: &Found,
    signing: &Signing,
) -> Result<(), OpenError> {
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
        compare(snapshot, head, "LOG.head", slot.size, &slot.root)?;
    }
    for (name, checkpoint) in signing
        .copies()
        .read(&identity.origin, &identity.keys.vkeys())?
    {
        compare(snapshot, head, &name, checkpoint.size, &checkpoint.root)?;
    }
    Ok(())
}

fn compare(
    snapshot: &Snapshot,
    head: &Head,
    witness: &str,
    size: u64,
    root: &[u8; 32],
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
    if ours != *root {
        return Err(OpenError::Diverged {
            witness: witness.to_owned(),
            size,
            expected: base64_of(root),
            found: base64_of(&ours),
        });
    }
    Ok(())
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Root of the first `size` events: stored tiles, then entries.
fn root_at(snapshot: &Snapshot, size: u64) -> Result<[u8; 32], OpenError> {
    let covered = tree::covered(snapshot)?.min(size);
    let mut tree = Tree::load(snapshot, covered)?;
    let mut next = covered;
    while next < size {
        let (key, value) = snapshot
            .number_at_or_below(NumberTable::Chunks, next)?
            .ok_or_else(|| Corruption::at(next, "an event", "nothing"))?;
        let chunk = Chunk::parse(key, value.bytes())?;
        if !chunk.contains(next) {
            return Err(Corruption::at(next, "an event", "nothing").into());
        }
        for position in next..chunk.end().min(size) {
            tree.push(leaf_hash(chunk.event(position)?.entry));
        }
        next = chunk.end();
    }
    Ok(tree.root())
}

/// Feeds the tail to whatever has not seen it.
struct Replay<'a> {
    identity: &'a Identity,
    db: &'a Arc<Db>,
    tree: &'a mut Tree,
    index: &'a mut Index,
    terms: TermBuffer,
    folds: &'a mut FoldHost,
}

impl Replay<'_> {
    fn run(&mut self, snapshot: &Snapshot, from: u64, head: &Head) -> Result<(), OpenError> {
        let mut next = from;
        while next < head.size {
            let (key, value) = snapshot
                .number_at_or_below(NumberTable::Chunks, next)?
                .ok_or_else(|| Corruption::at(next, "an event", "nothing"))?;
            let chunk = Chunk::parse(key, value.bytes())?;
            if !chunk.contains(next) {
                return Err(Corruption::at(next, "an event", "nothing").into());
            }
            for position in next..chunk.end() {
                self.event(chunk.event(position)?)?;
            }
            next = chunk.end();
            self.settle()?;
        }
        Ok(())
    }

    /// Writes what was derived from a long tail, so that memory stays bounded.
    fn settle(&mut self) -> Result<(), OpenError> {
        let table = self.identity.options.index.freeze_events;
        let behind = self.index.next() - self.index.covered();
        if behind < table.saturating_mul(SETTLE_TABLES) {
            return Ok(());
        }
        let rows = self.index.maintain(&self.db.snapshot()?, u64::MAX)?;
        let mut changes: Vec<_> = rows.into_iter().map(index_change).collect();
        changes.extend(self.tree.changes());
        self.db.commit(&changes, true)?;
        self.index.committed();
        self.tree.stored();
        Ok(())
    }

    fn event(&mut self, raw: crate::chunk::RawEvent<'_>) -> Result<(), OpenError> {
        let entry = parse_entry(raw).map_err(corrupt_of)?;
        let position = raw.position;
        if position == self.tree.size() {
            self.tree.push(leaf_hash(raw.entry));
        }
        if position >= self.index.covered() {
            terms_of(entry.header(), &mut self.terms);
            self.index.insert(position, self.terms.iter())?;
        }
        if self
            .folds
            .replay_from()
            .is_some_and(|next| next <= position)
        {
            let (db, folds) = (self.db, &mut *self.folds);
            with_fold_record(self.identity, raw, &entry, |record| folds.apply(db, record))
                .map_err(corrupt_of)?;
        }
        Ok(())
    }
}
