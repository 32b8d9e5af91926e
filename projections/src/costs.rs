//! What calls of models cost, by model, agent, scope and day.
//!
//! It is answered by a scan of the reports of model calls, found by the index: its cost grows with
//! their number, and it holds one report a call in memory. As in the run index a call counts once,
//! with its last report.

use crate::DecodeRecord as _;
use crate::events::{LlmCallCompleted, control};
use crate::rows::{UsageRow, UsageSum};
use crate::runs::{Usage, report_of};
use crate::seen::is_imported;
use runstone_codec::TypedEvent;
use runstone_store::{Item, Log, Query, Read, ReadError, Record};
use std::collections::BTreeMap;

const DAY_US: u64 = 86_400_000_000;

/// By what costs are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// The model, as its call names it: content, which an erasure takes.
    Model,
    /// The source of the event.
    Agent,
    /// What one erasure removes.
    Scope,
    /// The UTC day by the log's clock; for recordings by their own where they have one.
    Day,
}

/// What costs are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a name or a day")]
pub enum Group {
    /// A name; `None` where there is none, or it was erased.
    Name(Option<String>),
    /// A day: its begin in Unix microseconds.
    Day(u64),
}

/// What calls together cost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Which calls.
    pub group: Group,
    /// How many calls.
    pub calls: u64,
    /// What they used.
    pub usage: Usage,
}

/// What every call of a model that is recorded cost, in groups, in the order of their names.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn list(log: &Log, by: By) -> Result<Vec<Cost>, ReadError> {
    let reports = Item::new().of_type(LlmCallCompleted::TYPE);
    let mut read = Read::new(Query::from(reports));
    read.payloads = by == By::Model;
    let mut calls: BTreeMap<(String, Vec<u8>), (Group, UsageRow)> = BTreeMap::new();
    for record in log.read(read)? {
        let record = record?;
        // A report that names no call is a call of its own.
        let call = record.control.get_bytes(control::CALL);
        let own = record.position.get().to_be_bytes();
        let key = (
            record.header.stream.to_string(),
            call.unwrap_or(&own).to_vec(),
        );
        calls.insert(key, (group(&record, by), report_of(&record.control)));
    }
    let mut sums: BTreeMap<Group, (u64, UsageSum)> = BTreeMap::new();
    for (group, report) in calls.into_values() {
        let (calls, sum) = sums.entry(group).or_default();
        *calls = calls.saturating_add(1);
        *sum = sum.with(&report);
    }
    let cost = |(group, (calls, sum))| Cost {
        group,
        calls,
        usage: Usage::from(sum),
    };
    Ok(sums.into_iter().map(cost).collect())
}

fn group(record: &Record, by: By) -> Group {
    let header = &record.header;
    match by {
        By::Model => Group::Name(model(record)),
        By::Agent => {
            Group::Name(Some(header.source.to_string()).filter(|source| !source.is_empty()))
        }
        By::Scope => Group::Name(Some(header.scope.to_string())),
        By::Day => {
            let occurred = header.occurred_at_us.filter(|_| is_imported(header));
            let at_us = occurred.unwrap_or(record.recorded_at_us);
            Group::Day(at_us - at_us % DAY_US)
        }
    }
}

fn model(record: &Record) -> Option<String> {
    let call = record.decode::<LlmCallCompleted>();
    call.ok().and_then(|call| call.model)
}
