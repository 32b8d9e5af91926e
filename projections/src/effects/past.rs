//! How calls stood at a point.

use super::fold::{EFFECT_ROW, FOLD, effect_key, shared_prefix, take};
use super::list::id_of;
use super::{Effect, State, field};
use crate::MemoryRows;
use crate::events::EffectClaimed;
use crate::lease::Moment;
use crate::lines::{self, Line};
use crate::rows::{self, EffectRow};
use crate::runs::ancestors;
use crate::seen::Seen;
use crate::view;
use runstone_codec::{Position, TypedEvent};
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that a call after an event takes in memory, about.
const EVENT_BYTES: usize = 1536;

/// Calls that were claimed last in a stream, as they stood after a position, in the order of their
/// claims; of a fork also those that it shares, as they stood where it was forked. It folds the events
/// of calls in the stream, in memory, and of a call of which other streams tell too, all of its own.
/// Whether somebody held one then is told by the times of the leases alone.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn of_stream(log: &Log, stream: &str, at: Position) -> Result<Vec<Arc<Effect>>, ReadError> {
    let mut effects = claimed_in(log, stream, at)?;
    let ancestors = ancestors(log, stream)?;
    let mut known = BTreeSet::new();
    if !ancestors.is_empty() {
        known.extend(effects.iter().map(|effect| effect.id.clone()));
    }
    for (before, until) in ancestors {
        let until = Position::new(until).min(at);
        for shared in claimed_in(log, &before, until)? {
            // What the fork claimed again is its own.
            if known.insert(shared.id.clone()) {
                effects.push(shared);
            }
        }
    }
    effects.sort_by_key(|effect| effect.fence);
    Ok(effects)
}

fn claimed_in(log: &Log, stream: &str, at: Position) -> Result<Vec<Arc<Effect>>, ReadError> {
    let moment = Moment::at(log, at)?;
    let mut effects = Vec::new();
    // Of most calls the events of the stream tell everything; the fold knows of which they do not.
    let apart = if view::is_folded(log, FOLD, at)? {
        let apart = shared(log, stream)?;
        let own = |line: &CallsLine| line.as_of(at, &moment);
        effects = match lines::up_to(log, (stream, at), |_| true, own) {
            Some(own) => own?,
            None => told_by(log, Item::new().stream(stream), at, &moment)?,
        };
        if !apart.is_empty() {
            effects.retain(|effect| !apart.contains(&effect.id.tag()));
        }
        apart
    } else {
        let claims = Item::new().stream(stream).of_type(EffectClaimed::TYPE);
        let mut all = BTreeSet::new();
        for record in log.read(Read::new(Query::from(claims)).to(at).without_payloads())? {
            let tags = record?.header.tags;
            all.extend(
                tags.into_iter()
                    .filter(|tag| is_call(tag))
                    .map(String::from),
            );
        }
        all
    };
    for call in apart {
        effects.extend(told_by(log, Item::new().tag(call), at, &moment)?);
    }
    effects.retain(|effect| effect.stream == stream);
    Ok(effects)
}

/// Calls as these events tell them.
fn told_by(
    log: &Log,
    item: Item,
    at: Position,
    moment: &Moment,
) -> Result<Vec<Arc<Effect>>, ReadError> {
    let mut rows = MemoryRows::new();
    let events = item.of_type("effect.*");
    for record in log.read(Read::new(Query::from(events)).to(at).without_payloads())? {
        apply(&mut rows, &record?)?;
    }
    let is_call = |(key, _): &(&[u8], &[u8])| key.first() == Some(&EFFECT_ROW);
    let calls = rows.iter().filter(is_call);
    calls
        .map(|(key, row)| Ok(Arc::new(effect_of(key, &decoded(row)?, moment)?)))
        .collect()
}

fn effect_of(key: &[u8], row: &EffectRow, moment: &Moment) -> Result<Effect, ReadError> {
    let id = id_of(key.get(1..).unwrap_or_default())?;
    Ok(Effect::of(id, row, moment))
}

fn decoded(row: &[u8]) -> Result<EffectRow, ReadError> {
    rows::decode(row).map_err(|error| view::failed(FOLD, error))
}

/// The calls of a long run as its own events tell them, kept in memory.
#[derive(Default)]
struct CallsLine {
    rows: MemoryRows,
    /// By key of its row, each call after each event of it.
    calls: BTreeMap<Vec<u8>, Vec<Stood>>,
    events: usize,
}

/// A call after an event.
struct Stood {
    since: u64,
    row: EffectRow,
    /// As it is answered from later on, if it had ended.
    ended: Option<Arc<Effect>>,
}

impl Stood {
    fn new(key: &[u8], since: u64, row: EffectRow) -> Result<Self, ReadError> {
        let ended = if row.state() == State::InFlight {
            None
        } else {
            Some(Arc::new(effect_of(key, &row, &Moment::Then(u64::MAX))?))
        };
        Ok(Self { since, row, ended })
    }

    fn seen(&self, key: &[u8], moment: &Moment) -> Result<Arc<Effect>, ReadError> {
        let (expires_at_us, _) = self.row.lease.seen(moment);
        let ended = self.ended.as_ref();
        match ended.filter(|ended| ended.lease_expires_at_us == expires_at_us) {
            Some(ended) => Ok(Arc::clone(ended)),
            None => effect_of(key, &self.row, moment).map(Arc::new),
        }
    }
}

impl Line for CallsLine {
    const WITH_PAYLOADS: bool = false;

    fn item() -> Item {
        Item::new().of_type("effect.*")
    }

    fn take(&mut self, record: &Record) -> Result<(), ReadError> {
        apply(&mut self.rows, record)?;
        let digest = record.control.get_bytes(field::KEY).unwrap_or_default();
        let key = effect_key(digest, &record.header.scope);
        let Some(row) = self.rows.get(&key) else {
            return Ok(());
        };
        let stood = Stood::new(&key, record.position.get(), decoded(row)?)?;
        self.calls.entry(key).or_default().push(stood);
        self.events = self.events.saturating_add(1);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.events.saturating_mul(EVENT_BYTES)
    }
}

impl CallsLine {
    fn as_of(&self, at: Position, moment: &Moment) -> Result<Vec<Arc<Effect>>, ReadError> {
        let stood = self.calls.iter().filter_map(|(key, all)| {
            let count = all.partition_point(|stood| stood.since <= at.get());
            let stood = all.get(count.checked_sub(1)?)?;
            Some(stood.seen(key, moment))
        });
        stood.collect()
    }
}

/// Tags of the calls of a stream of which events of others tell, too.
fn shared(log: &Log, stream: &str) -> Result<BTreeSet<String>, ReadError> {
    let (prefix, mut tags) = (shared_prefix(stream), BTreeSet::new());
    view::each(log, FOLD, &prefix, |(key, _)| {
        tags.insert(id_of(key.get(prefix.len()..).unwrap_or_default())?.tag());
        Ok(())
    })?;
    Ok(tags)
}

fn is_call(tag: &str) -> bool {
    tag.split_once(':')
        .is_some_and(|(label, _)| label == field::KEY_LABEL)
}

fn apply(rows: &mut MemoryRows, record: &Record) -> Result<(), ReadError> {
    take(rows, &Seen::from(record)).map_err(|error| view::failed(FOLD, error))
}
