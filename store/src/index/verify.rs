//! Reading the whole index strictly.

use super::error::{AtRow, Fault, IndexError, IndexRow};
use super::filter;
use super::manifest::Manifest;
use super::row::{RowRead, parse_key};
use super::run::Run;
use super::scan::{RunScan, smallest};
use super::term;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a verified index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VerifiedIndex {
    /// Events below this position are in runs.
    pub(crate) covered: u64,
    /// Number of runs.
    pub(crate) runs: u64,
    /// Different terms.
    pub(crate) terms: u64,
    /// Postings, each of which was visited.
    pub(crate) postings: u64,
    /// Rows of runs that mean nothing any more and will be deleted.
    pub(crate) stray_rows: u64,
}

/// Decodes every row and calls `visit` with each term and positions that the runs hold for it, sorted by
/// both, so that the caller can compare them with what the events say. A term may come several times.
///
/// What is checked: checksums, the order of terms and positions, fences, filters, the counts of
/// entries, sections and manifest, the base of every entry across runs, and that no row is
/// outside the runs listed. Memory: filters and fences, and one block a run.
pub(crate) fn verify_runs(
    rows: &dyn RowRead,
    visit: &mut dyn FnMut(&[u8], &[u64]),
) -> Result<VerifiedIndex, IndexError> {
    let manifest = Manifest::read(rows)?;
    let mut verified = VerifiedIndex {
        covered: manifest.runs.last().map_or(0, |run| run.to),
        runs: manifest.runs.len() as u64,
        stray_rows: check_keys(rows, &manifest)?,
        ..VerifiedIndex::default()
    };
    let mut scans = Vec::new();
    for meta in &manifest.runs {
        let mut scan = RunScan::new(Arc::new(Run::load(rows, meta)?));
        scan.advance(rows)?;
        scans.push(scan);
    }
    let mut current = Vec::new();
    let mut end = 0;
    let mut last = None;
    let mut positions = Vec::new();
    while let Some(scan) = smallest(&scans).and_then(|index| scans.get_mut(index)) {
        scan.positions(&mut positions)?;
        if let Some((term, entry)) = scan.entry() {
            if term != current {
                verified.terms += 1;
                current.clear();
                current.extend_from_slice(term);
                (end, last) = (0, None);
            }
            let filtered = scan
                .section()
                .is_some_and(|section| section.may_hold(filter::hash(term)));
            if entry.base != end && term::is_unique(term) {
                return Err(IndexError::corrupt(
                    scan.row(),
                    "an event id stands for several events",
                ));
            }
            check_entry(
                filtered,
                entry.base == end,
                last.is_none_or(|last| last < entry.first),
            )
            .at(scan.row())?;
            (end, last) = (entry.end(), Some(entry.last));
        }
        visit(&current, &positions);
        verified.postings += positions.len() as u64;
        scan.advance(rows)?;
    }
    Ok(verified)
}

fn check_entry(filtered: bool, base_follows: bool, ascends: bool) -> Result<(), Fault> {
    if !filtered {
        return Err("the filter lacks a term");
    }
    if !base_follows {
        return Err("an entry counts the postings before it wrongly");
    }
    if !ascends {
        return Err("positions do not ascend from run to run");
    }
    Ok(())
}

/// Checks that every key belongs to a row of a listed run; answers how many rows are strays.
fn check_keys(rows: &dyn RowRead, manifest: &Manifest) -> Result<u64, IndexError> {
    let runs: BTreeMap<u64, _> = manifest.runs.iter().map(|run| (run.id, run)).collect();
    let mut strays = 0;
    let mut unknown = None;
    rows.scan(&[], &[u8::MAX; 16], &mut |key, _| {
        let row = parse_key(key);
        let (id, known) = match row {
            IndexRow::Manifest => return ControlFlow::Continue(()),
            IndexRow::Block { run, block } => {
                (run, runs.get(&run).is_some_and(|meta| block < meta.blocks))
            }
            IndexRow::Section { run, section } => {
                let meta = runs.get(&run);
                (run, meta.is_some_and(|meta| section < meta.sections))
            }
            IndexRow::Unknown => {
                unknown = Some(row);
                return ControlFlow::Break(());
            }
        };
        if known {
            return ControlFlow::Continue(());
        }
        if !manifest.strays.contains(&id) {
            unknown = Some(row);
            return ControlFlow::Break(());
        }
        strays += 1;
        ControlFlow::Continue(())
    })?;
    match unknown {
        Some(row) => Err(IndexError::corrupt(row, "the manifest does not list it")),
        None => Ok(strays),
    }
}
