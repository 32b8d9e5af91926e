//! Owners as they stood at a point.
//!
//! ```text
//!  rows: an owner after each event that changed it       'h' digest(16) scope 00 back(position)
//!        since where events of a stream are about one    'm' stream 00 digest(16)
//!
//!  as of P:  newest whole row up to P  -->  the tallies that changed after it, up to P
//! ```
//!
//! Every 16th of the rows of an owner is whole, and so is one after which more differs than its
//! tallies; the others have the tallies that changed. So an owner is read at any point from at most
//! 16 rows that lie beside each other, whatever it and those below it spent.

use super::OwnerId;
use super::fold::{FOLD, OWNER_ROW, of_owner, take};
use super::list::id_of;
use crate::MemoryRows;
use crate::events::control::budget as field;
use crate::rows::{self, OwnerRow, PastOwnerRow, back};
use crate::seen::Seen;
use crate::view;
use runstone_codec::Position;
use runstone_store::{FoldError, Item, Log, Query, Read, ReadError, Rows};
use std::collections::{BTreeMap, BTreeSet};

/// First byte of the key of an owner as it stood.
const PAST_ROW: u8 = b'h';
/// First byte of the key that says that events of a stream are about an owner.
const NAMED_ROW: u8 = b'm';
/// Changes of an owner from one whole row to the next.
const EVERY: usize = 16;

fn named_prefix(stream: &str) -> Vec<u8> {
    [&[NAMED_ROW], stream.as_bytes(), &[0]].concat()
}

/// Writes an owner after an event that changed it, and how it stood then.
pub(super) fn keep(
    rows: &mut dyn Rows,
    (id, key): (&OwnerId, &[u8]),
    (before, mut after): (Option<&OwnerRow>, OwnerRow),
    position: u64,
) -> Result<(), FoldError> {
    after.changes = after.changes.saturating_add(1);
    let changed = before
        .filter(|_| !after.changes.is_multiple_of(EVERY as u64))
        .and_then(|before| tallies(before, &after));
    let past_key = [of_owner(PAST_ROW, id), back(position).to_vec()].concat();
    let past = changed.unwrap_or_else(|| PastOwnerRow::Whole(after.clone()));
    rows::put(rows, &past_key, &past)?;
    rows::put(rows, key, &after)
}

/// The tallies that changed; `None` if anything else did.
fn tallies(before: &OwnerRow, after: &OwnerRow) -> Option<PastOwnerRow> {
    let is_same = before.limits_at == after.limits_at
        && before.counters.len() == after.counters.len()
        && before.opened == after.opened;
    let pairs = before.counters.iter().zip(&after.counters);
    let changed = (0_u8..).zip(pairs).filter(|(_, (old, new))| old != new);
    let counters = changed.map(|(at, (_, new))| (at, new.tallies)).collect();
    is_same.then_some(PastOwnerRow::Tallies {
        windows: after.windows,
        open: after.open,
        counters,
    })
}

/// Notes which owners an event is about: those that its tags name.
pub(super) fn name(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let tags = seen.header.tags.iter();
    for digest in tags.filter_map(|tag| digest_of(tag)) {
        let key = [named_prefix(&seen.header.stream), digest.to_vec()].concat();
        if rows.get(&key)?.is_none() {
            rows::put(rows, &key, &seen.position)?;
        }
    }
    Ok(())
}

/// The owner that a tag names, whatever its scope.
fn digest_of(tag: &str) -> Option<[u8; 16]> {
    let (label, digest) = tag.split_once(':')?;
    (label == field::OWNER_LABEL)
        .then(|| crate::wire::hex16::parse(digest))
        .flatten()
}

/// Owners as they stood after a position: those that events of a stream were about up to there, and
/// those above them.
pub(super) fn of_stream(
    log: &Log,
    stream: &str,
    at: Position,
) -> Result<BTreeMap<OwnerId, OwnerRow>, ReadError> {
    // A log that was opened without the fold has its events all the same.
    if view::is_folded(log, FOLD, at)? {
        let named = named(log, stream, at)?;
        return with_those_above(named, |id| as_of(log, id, at));
    }
    let of_stream = Item::new().stream(stream).of_type("budget.*");
    let mut digests = BTreeSet::new();
    for record in log.read(Read::new(Query::from(of_stream)).to(at).without_payloads())? {
        let tags = record?.header.tags;
        digests.extend(tags.iter().filter_map(|tag| digest_of(tag)));
    }
    if digests.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut rows = MemoryRows::new();
    let events = Item::new().of_type("budget.*");
    for record in log.read(Read::new(Query::from(events)).to(at).without_payloads())? {
        take(&mut rows, &Seen::from(&record?)).map_err(failed)?;
    }
    let mut owners = BTreeMap::new();
    let is_owner = |(key, _): &(&[u8], &[u8])| key.first() == Some(&OWNER_ROW);
    for (key, row) in rows.iter().filter(is_owner) {
        owners.insert(id_of(key)?, rows::decode(row).map_err(failed)?);
    }
    let named = owners.keys().filter(|id| digests.contains(&id.digest));
    with_those_above(named.cloned().collect(), |id| Ok(owners.remove(id)))
}

fn named(log: &Log, stream: &str, at: Position) -> Result<Vec<OwnerId>, ReadError> {
    let (prefix, mut digests) = (named_prefix(stream), Vec::new());
    view::each(log, FOLD, &prefix, |(key, row)| {
        let since: u64 = rows::decode(&row).map_err(failed)?;
        let digest = key.get(prefix.len()..).unwrap_or_default().to_vec();
        digests.extend(Some(digest).filter(|_| since <= at.get()));
        Ok(())
    })?;
    let mut named = Vec::new();
    for digest in digests {
        let prefix = [&[OWNER_ROW], &digest[..]].concat();
        view::each(log, FOLD, &prefix, |(key, _)| {
            named.push(id_of(&key)?);
            Ok(())
        })?;
    }
    Ok(named)
}

fn with_those_above(
    named: Vec<OwnerId>,
    mut row_of: impl FnMut(&OwnerId) -> Result<Option<OwnerRow>, ReadError>,
) -> Result<BTreeMap<OwnerId, OwnerRow>, ReadError> {
    let mut owners = BTreeMap::new();
    for named in named {
        let mut next = Some(named);
        while let Some(id) = next.take().filter(|id| !owners.contains_key(id)) {
            let Some(row) = row_of(&id)? else { break };
            next = row.parent.as_ref().map(OwnerId::from);
            owners.insert(id, row);
        }
    }
    Ok(owners)
}

/// An owner as it stood after a position.
fn as_of(log: &Log, id: &OwnerId, at: Position) -> Result<Option<OwnerRow>, ReadError> {
    let prefix = of_owner(PAST_ROW, id);
    let from = [prefix.as_slice(), &back(at.get())].concat();
    let mut changed = Vec::new();
    for (_, row) in log.fold_rows(FOLD, &prefix, &from, EVERY)? {
        match rows::decode(&row).map_err(failed)? {
            PastOwnerRow::Tallies {
                windows,
                open,
                counters,
            } => changed.push((windows, open, counters)),
            PastOwnerRow::Whole(mut row) => {
                for (windows, open, counters) in changed.into_iter().rev() {
                    row.roll(windows);
                    row.open = open;
                    for (at, tallies) in counters {
                        if let Some(counter) = row.counters.get_mut(usize::from(at)) {
                            counter.tallies = tallies;
                        }
                    }
                }
                return Ok(Some(row));
            }
        }
    }
    match changed.len() {
        0 => Ok(None),
        _ => Err(failed("no whole row of an owner is in reach")),
    }
}

fn failed<T: std::fmt::Display>(why: T) -> ReadError {
    view::failed(FOLD, why)
}
