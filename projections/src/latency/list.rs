//! Reading the durations.

use super::Timed;
use super::fold::{FOLD, GROUP_ROW};
use crate::events::{RunStarted, StepStarted};
use crate::rows::{self, LatencyRow};
use crate::{DecodeRecord as _, view};
use runstone_codec::Position;
use runstone_store::{Log, ReadError};
use serde::Serialize;
use std::collections::BTreeMap;

/// Whose durations are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyFilter {
    /// What is timed.
    pub timed: Option<Timed>,
    /// The scope that it happened in.
    pub scope: Option<String>,
}

impl LatencyFilter {
    /// All of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those of nodes, of tools or of agents.
    #[must_use]
    pub fn timed(mut self, timed: Timed) -> Self {
        self.timed = Some(timed);
        self
    }

    /// Only those of this scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

/// How long one node, tool or agent takes. Quantiles are at most 1 % off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// What it is.
    pub timed: Timed,
    /// Its name; `None` if that was erased. In several scopes it is one.
    pub name: Option<String>,
    /// The scope of one whose name was erased: it stands for itself.
    pub scope: Option<String>,
    /// How often it was timed.
    pub count: u64,
    /// The median, in microseconds.
    pub p50_us: u64,
    /// 95 of 100 take no longer, in microseconds.
    pub p95_us: u64,
    /// 99 of 100 take no longer, in microseconds.
    pub p99_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

/// Whose durations: the kind, the name, and where there is none scope and key.
type Group = (Timed, Option<String>, Option<(String, Vec<u8>)>);

/// How long what is meant takes, in the order of kinds and names. It reads one event for each node
/// and agent of each scope, and holds the durations of all of them in memory.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped; else
/// [`ReadError`] if an event that has a name cannot be read.
pub fn list(log: &Log, filter: &LatencyFilter) -> Result<Vec<Latency>, ReadError> {
    view::check(log, FOLD)?;
    let mut groups: BTreeMap<Group, LatencyRow> = BTreeMap::new();
    for timed in Timed::ALL {
        if filter.timed.is_some_and(|wanted| wanted != *timed) {
            continue;
        }
        let mut prefix = vec![GROUP_ROW, timed.byte()];
        if let Some(scope) = &filter.scope {
            prefix.extend_from_slice(scope.as_bytes());
            prefix.push(0);
        }
        view::each(log, FOLD, &prefix, |(key, row)| {
            let row: LatencyRow = rows::decode(&row).map_err(|error| view::failed(FOLD, error))?;
            let group = group_of(log, *timed, &key, &row)?;
            groups.entry(group).or_default().merge(&row);
            Ok(())
        })?;
    }
    let told = groups.into_iter().map(|((timed, name, unnamed), row)| {
        let [p50_us, p95_us, p99_us] = row.quantiles([0.5, 0.95, 0.99]);
        Latency {
            timed,
            name,
            scope: unnamed.map(|(scope, _)| scope),
            count: row.count(),
            p50_us,
            p95_us,
            p99_us,
            max_us: row.max_us,
        }
    });
    Ok(told.collect())
}

fn group_of(log: &Log, timed: Timed, key: &[u8], row: &LatencyRow) -> Result<Group, ReadError> {
    let rest = key.get(2..).unwrap_or_default();
    let cut = rest.iter().position(|byte| *byte == 0);
    let cut = cut.ok_or_else(|| view::failed(FOLD, "the key of a row has no scope"))?;
    let (scope, which) = rest.split_at(cut);
    let which = which.get(1..).unwrap_or_default();
    let name = match timed {
        Timed::Tool => Some(String::from_utf8_lossy(which).into_owned()),
        Timed::Node | Timed::Agent => name_at(log, timed, row.named_at)?,
    };
    let unnamed = || {
        let scope = String::from_utf8_lossy(scope).into_owned();
        (scope, which.to_vec())
    };
    let unnamed = name.is_none().then(unnamed);
    Ok((timed, name, unnamed))
}

fn name_at(log: &Log, timed: Timed, position: u64) -> Result<Option<String>, ReadError> {
    let record = log.record(Position::new(position))?;
    Ok(if timed == Timed::Agent {
        let started = record.decode::<RunStarted>().ok();
        started.map(|started| started.name)
    } else {
        let started = record.decode::<StepStarted>().ok();
        started.map(|started| started.node)
    })
}
