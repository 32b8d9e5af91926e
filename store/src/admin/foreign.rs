//! Rows and tables that no log writes.

use crate::engine::{RowTable, Snapshot};
use crate::error::{Corruption, StorageError};
use crate::export::{PURGE_ROW, SEGMENT_ROW};
use crate::fold::{RowSeal, fold_of_row};
use crate::open::{FORMAT_ROW, REPLICA_ROW};
use crate::tree::COVERED_ROW;
use crate::write::MERGE_ROW;
use std::collections::BTreeSet;

/// The tables of a log.
const TABLES: [&str; 6] = ["checkpoints", "chunks", "folds", "index", "meta", "tiles"];
/// Rows fetched at once.
const PAGE: usize = 1024;
/// Rows named; one is enough to know.
const NAMED: usize = 16;

/// What is there and belongs to nothing, in a log of `size` events. Without their key the rows of
/// folds are told by their names alone.
pub(super) fn foreign_rows(
    snapshot: &Snapshot,
    seal: Option<&RowSeal>,
    size: u64,
) -> Result<Vec<Corruption>, StorageError> {
    let mut found = Vec::new();
    for name in snapshot.table_names()? {
        if !TABLES.contains(&name.as_str()) {
            let table = format!("table `{}`", name.escape_debug());
            found.push(Corruption::table("database", "the tables of a log", table));
        }
    }
    each(snapshot, RowTable::Meta, &mut |key, value| {
        let number = || value.try_into().ok().map(u64::from_be_bytes);
        let is_right = match key {
            FORMAT_ROW | REPLICA_ROW => true,
            PURGE_ROW => value.is_empty(),
            SEGMENT_ROW => value.len() == 32,
            COVERED_ROW | MERGE_ROW => number().is_some_and(|upto| upto <= size),
            _ => false,
        };
        (!is_right).then(|| row("meta", "a row of the log", key))
    })?
    .into_iter()
    .for_each(|row| found.push(row));
    let mut cursors = BTreeSet::new();
    each(snapshot, RowTable::Folds, &mut |key, value| {
        if let Some(name) = key.strip_prefix(b"c") {
            cursors.insert(name.to_vec());
        }
        let belongs =
            key.starts_with(b"c") || fold_of_row(key).is_some_and(|name| cursors.contains(name));
        let opens = seal.is_none_or(|seal| seal.open(key, value).is_ok());
        (!belongs || !opens).then(|| row("folds", "a row of a fold", key))
    })?
    .into_iter()
    .for_each(|row| found.push(row));
    Ok(found)
}

fn row(table: &'static str, expected: &str, key: &[u8]) -> Corruption {
    let found = format!("a row under \"{}\"", key.escape_ascii());
    Corruption::table(table, expected, found)
}

/// Told each key and value; answers what is wrong with the row.
type Look<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Option<Corruption>;

/// Looks at every row of a table.
fn each(
    snapshot: &Snapshot,
    table: RowTable,
    look: Look<'_>,
) -> Result<Vec<Corruption>, StorageError> {
    let mut found = Vec::new();
    let mut from = Vec::new();
    loop {
        let page = snapshot.rows_from(table, b"", &from, PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(found);
        };
        from.clone_from(last);
        from.push(0);
        for (key, value) in &page {
            if let Some(foreign) = look(key, value)
                && found.len() < NAMED
            {
                found.push(foreign);
            }
        }
    }
}
