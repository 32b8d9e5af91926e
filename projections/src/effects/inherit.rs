//! What a fork knows of the calls of the runs that it goes on from.
//!
//! A key of a run (the id of a model's call, the arguments of a tool) is looked up in the run, then in
//! those that it was forked from, the nearest first, each as it stood at the position that is shared.
//! That never changes, so it is read before the claim is decided.

use super::fold::{FOLD, effect_key, take};
use super::{Claim, EffectError, EffectId, KeySource, Kind};
use crate::MemoryRows;
use crate::events::{Executed, State};
use crate::rows::{self, EffectRow};
use crate::runs::ancestors;
use crate::seen::Seen;
use crate::view;
use runstone_codec::Position;
use runstone_store::{Item, Log, Query, Read, ReadError};

/// What a claim goes by besides how its own call stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Inherited {
    /// The run that this was read for, if it is a fork: the stream that it was forked from, and the
    /// last position that it shares with it.
    pub(super) forked: Option<(String, u64)>,
    /// The call of the nearest run before that made it.
    pub(super) call: Option<(EffectId, EffectRow)>,
    /// The call in every run before, whether it was made there or not: people may have decided about
    /// it.
    pub(super) before: Vec<EffectId>,
}

impl EffectRow {
    /// Whether nobody can say in a fork what became of it: it was begun and had no outcome.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self.state(), State::InFlight | State::Unknown) && !self.class().bears_repeating()
    }

    /// Whether a fork goes by it at all. What was not made, or bears repeating, is made in the fork.
    fn counts(&self) -> bool {
        match self.state() {
            State::Completed => true,
            State::Failed => self.executed() == Some(Executed::Yes),
            State::InFlight | State::Unknown => self.is_in_doubt(),
            State::Cancelled => false,
        }
    }
}

impl Inherited {
    pub(super) fn of(log: &Log, claim: &Claim) -> Result<Self, EffectError> {
        if !claim.is_of_run() {
            return Ok(Self::default());
        }
        let before = ancestors(log, &claim.stream)?;
        let mut inherited = Self {
            forked: before.first().cloned(),
            ..Self::default()
        };
        let mut is_found = false;
        for (stream, at) in before {
            let mut there = claim.clone();
            there.stream = stream;
            let Some(id) = there.id(log)? else {
                continue;
            };
            if !is_found && let Some(row) = as_of(log, &id, Position::new(at))? {
                is_found = true;
                inherited.call = Some((id.clone(), row)).filter(|(_, row)| row.counts());
            }
            inherited.before.push(id);
        }
        Ok(inherited)
    }
}

impl Claim {
    /// Whether its key is one of its run.
    pub(super) fn is_of_run(&self) -> bool {
        match &self.key {
            KeySource::Call { .. } => true,
            KeySource::Arguments => self.kind == Kind::Tool,
            _ => false,
        }
    }
}

/// How a call stood after a position.
fn as_of(log: &Log, id: &EffectId, at: Position) -> Result<Option<EffectRow>, ReadError> {
    let mut rows = MemoryRows::new();
    let events = Item::new().tag(id.tag()).of_type("effect.*");
    for record in log.read(Read::new(Query::from(events)).to(at).without_payloads())? {
        let record = record?;
        if record.header.scope == id.scope {
            take(&mut rows, &Seen::from(&record)).map_err(|error| view::failed(FOLD, error))?;
        }
    }
    let row = rows
        .get(&effect_key(&id.digest, &id.scope))
        .map(rows::decode);
    row.transpose().map_err(|error| view::failed(FOLD, error))
}
