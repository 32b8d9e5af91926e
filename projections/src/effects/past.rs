//! How calls stood at a point.

use super::fold::{EFFECT_ROW, FOLD, take};
use super::list::id_of;
use super::{Effect, EffectId, field};
use crate::MemoryRows;
use crate::events::EffectClaimed;
use crate::lease::Moment;
use crate::rows::{self, EffectRow};
use crate::runs::ancestors;
use crate::seen::Seen;
use crate::view;
use runstone_codec::{Position, TypedEvent};
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use std::collections::BTreeSet;

/// Calls that were claimed last in a stream, as they stood after a position, in the order of their
/// claims; of a fork also those that it shares, as they stood where it was forked. It folds the events
/// of the calls that were ever claimed in the stream up to there, in memory, and no others. Whether
/// somebody held one then is told by the times of the leases alone.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn of_stream(log: &Log, stream: &str, at: Position) -> Result<Vec<Effect>, ReadError> {
    let mut effects = claimed_in(log, stream, at)?;
    let mut known: BTreeSet<EffectId> = effects.iter().map(|effect| effect.id.clone()).collect();
    for (before, until) in ancestors(log, stream)? {
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

fn claimed_in(log: &Log, stream: &str, at: Position) -> Result<Vec<Effect>, ReadError> {
    let claims = Item::new().stream(stream).of_type(EffectClaimed::TYPE);
    let mut calls = BTreeSet::new();
    for record in log.read(Read::new(Query::from(claims)).to(at).without_payloads())? {
        let tags = record?.header.tags;
        calls.extend(tags.into_iter().filter(|tag| is_call(tag)));
    }
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = MemoryRows::new();
    for call in calls {
        let events = Item::new().tag(call).of_type("effect.*");
        for record in log.read(Read::new(Query::from(events)).to(at).without_payloads())? {
            apply(&mut rows, &record?)?;
        }
    }
    let moment = Moment::at(log, at)?;
    let mut effects = Vec::new();
    for (key, row) in rows
        .iter()
        .filter(|(key, _)| key.first() == Some(&EFFECT_ROW))
    {
        let id = id_of(key.get(1..).unwrap_or_default())?;
        let row: EffectRow = rows::decode(row).map_err(|error| view::failed(FOLD, error))?;
        effects.push(Effect::of(id, &row, &moment));
    }
    effects.retain(|effect| effect.stream == stream);
    Ok(effects)
}

fn is_call(tag: &str) -> bool {
    tag.split_once(':')
        .is_some_and(|(label, _)| label == field::KEY_LABEL)
}

fn apply(rows: &mut MemoryRows, record: &Record) -> Result<(), ReadError> {
    take(rows, &Seen::from(record)).map_err(|error| view::failed(FOLD, error))
}
