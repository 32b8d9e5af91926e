//! `stats`: sizes and counts.

use super::folds;
use crate::error::{Exit, Failure};
use crate::output::{Align, Summary, Table, Tone, base64, bytes, count};
use crate::session::{Access, Session};
use runstone::Stats;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Answer<'a> {
    events: u64,
    streams: u64,
    bytes: u64,
    root: String,
    size: u64,
    types: &'a BTreeMap<String, u64>,
    folds: Vec<Summary>,
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let stats = session.with(Access::Folds, |log| Ok(log.stats()?))?;
    let answer = Answer {
        events: stats.events,
        streams: stats.streams,
        bytes: stats.bytes,
        root: base64(&stats.root),
        size: stats.durable,
        types: &stats.types,
        folds: stats
            .folds
            .iter()
            .map(|fold| Summary::of(fold, stats.events))
            .collect(),
    };
    session.output.answer(&answer, || text(session, &stats))?;
    Ok(Exit::Done)
}

fn text(session: &Session, stats: &Stats) -> String {
    let output = &session.output;
    let mut types = Table::new(output, &[("type", Align::Left), ("events", Align::Right)]);
    let mut by_count: Vec<_> = stats.types.iter().collect();
    by_count.sort_by_key(|(_, events)| std::cmp::Reverse(**events));
    for (name, events) in by_count {
        types.row(vec![
            (name.clone(), Tone::Plain),
            (count(*events), Tone::Plain),
        ]);
    }
    format!(
        "{} events in {} streams, {} in {} chunks, {} indexed on disk\nroot {}\n\n{}\n\n{}",
        count(stats.events),
        count(stats.streams),
        bytes(stats.bytes),
        count(stats.chunks),
        count(stats.indexed),
        base64(&stats.root),
        types.text(),
        folds::table(output, &stats.folds, stats.events),
    )
}
