//! Decoders of index rows for the fuzz targets; no part of the API.

use super::block::{Block, OpenEntry, Walk};
use super::manifest::{Manifest, RunMeta};
use super::row::{BLOCK_KEY, MANIFEST_KEY, SECTION_KEY, numbered_key};
use super::sample::Rows;
use super::section::{Section, SectionBuilder, shared_bytes};
use super::varint::{self, Reader};
use super::{Index, IndexOptions, IndexRow, ItemTerms, RowOp, verify_runs};
use std::collections::BTreeMap;

/// Bytes of the filter of a section without terms, and of their number.
const NO_TERMS_BYTES: usize = 8 + 1;

/// A number, a section of a run from `from` on, the manifest, and a block of a run from `from` to
/// `to`: all are tried.
pub fn row(body: &[u8], from: u64, to: u64) {
    number(body);
    section(body, from);
    manifest(body);
    block(body, from, to);
}

fn number(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(value) = reader.varint() {
        let mut again = Vec::new();
        varint::put(&mut again, value);
        assert_eq!(again.len(), varint::len(value));
        assert_eq!(bytes.get(..bytes.len() - reader.remaining()), Some(&*again));
    }
}

fn section(body: &[u8], from: u64) {
    let Ok(section) = Section::decode(body.to_vec(), from) else {
        return;
    };
    let mut builder = SectionBuilder::default();
    for n in 0..section.len() {
        if let Some(fence) = section.fence(n) {
            builder.push(&fence, from);
        }
    }
    // The builder begins at block 0 and has been told of no terms.
    let again = builder.finish();
    let fences = again.get(1..again.len() - NO_TERMS_BYTES);
    let skipped = varint::len(section.first_block.into());
    let own = body.get(skipped..).unwrap_or_default();
    assert!(fences.is_some_and(|fences| own.starts_with(fences)));
    assert!(!section.follows(&section));
}

fn manifest(body: &[u8]) {
    let rows = of(&[(MANIFEST_KEY.to_vec(), body.to_vec())]);
    let Ok(manifest) = Manifest::read(&rows) else {
        return;
    };
    match manifest.put() {
        Ok(RowOp::Put(key, row)) => assert_eq!(rows.rows.get(&key), Some(&row)),
        other => unreachable!("it was a row: {other:?}"),
    }
}

fn block(body: &[u8], from: u64, to: u64) {
    let rows = of(&[(numbered_key(BLOCK_KEY, 1, 0).to_vec(), body.to_vec())]);
    let run = RunMeta {
        id: 1,
        level: 0,
        from,
        to,
        blocks: 1,
        sections: 1,
        terms: 1,
        postings: 1,
    };
    let Ok(block) = Block::read(&rows, &run, 0) else {
        return;
    };
    let (mut walk, mut again, mut positions) = (Walk::default(), Vec::new(), Vec::new());
    let mut open = OpenEntry::default();
    loop {
        let entry = match walk.next(&block) {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(_) => return,
        };
        if block.positions(&entry, &mut positions).is_err() {
            return;
        }
        assert!(positions.is_sorted_by(|one, next| one < next));
        assert!(positions.iter().all(|at| (from..to).contains(at)));
        let shared = if again.is_empty() {
            0
        } else {
            shared_bytes(&open.term, walk.term())
        };
        open.term = walk.term().to_vec();
        open.begin(entry.base, entry.first);
        for position in positions.iter().skip(1) {
            open.push(*position);
        }
        assert_eq!(open.end(), entry.end());
        let before = again.len();
        open.write(shared, from, &mut again);
        assert_eq!(open.bytes_now(shared, from), again.len() - before);
        assert!(open.bytes_at_most() >= again.len() - before);
    }
    assert!(again == body, "not the same block");
}

/// A table of rows, each `(kind, run, number, body)`: nothing that is asked of it panics, and one
/// that verifies answers what its rows say.
pub fn table(rows: &[(u8, u64, u32, &[u8])]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(kind, run, number, body)| {
            let key = match kind % 4 {
                0 => MANIFEST_KEY.to_vec(),
                1 => numbered_key(SECTION_KEY, *run, *number).to_vec(),
                2 => numbered_key(BLOCK_KEY, *run, *number).to_vec(),
                _ => vec![*kind; 3],
            };
            (key, body.to_vec())
        })
        .collect();
    let rows = of(&rows);
    let mut said: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    let verified = verify_runs(&rows, &mut |term, positions| {
        said.entry(term.to_vec()).or_default().extend(positions);
    });
    let index = match Index::open(&rows, IndexOptions::default()) {
        Ok(index) => index,
        Err(error) => {
            assert!(verified.is_err(), "verified and cannot be opened: {error}");
            return;
        }
    };
    if let Ok(verified) = &verified {
        assert_eq!(verified.covered, index.covered());
        let all: usize = said.values().map(Vec::len).sum();
        assert_eq!(
            (verified.terms, verified.postings),
            (said.len() as u64, all as u64)
        );
    }
    said.entry(b"Sother".to_vec()).or_default();
    for (term, positions) in &said {
        ask(&index, &rows, term, verified.is_ok().then_some(positions));
    }
}

/// Asks for a term in every way; the answers must be those given, if any are.
fn ask(index: &Index, rows: &Rows, term: &[u8], positions: Option<&Vec<u64>>) {
    let view = index.view(index.covered());
    let head = view.head(rows, term);
    let item = ItemTerms {
        tags: vec![term.to_vec()],
        ..ItemTerms::default()
    };
    let mut forwards = Vec::new();
    let mut whole = true;
    for reverse in [false, true] {
        let mut cursor = view.matches(&item, &(0..=u64::MAX), reverse, None);
        let mut found = Vec::new();
        loop {
            match cursor.next(rows) {
                Ok(Some(position)) => found.push(position),
                Ok(None) => break,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        if reverse {
            found.reverse();
            assert!(positions.is_none() || found == forwards);
        } else {
            forwards = found;
        }
    }
    let nth: Vec<_> = (0..3).map(|n| view.posting_at(rows, term, n)).collect();
    let Some(positions) = positions else {
        return;
    };
    assert!(whole && forwards == *positions, "{term:?}: {forwards:?}");
    let head = head.map(|head| head.map(|head| (head.last, head.count)));
    let last = positions.last().map(|last| (*last, positions.len() as u64));
    assert!(
        matches!(head, Ok(head) if head == last),
        "{term:?}: {head:?}"
    );
    for (n, found) in nth.into_iter().enumerate() {
        assert!(matches!(found, Ok(found) if found.as_ref() == positions.get(n)));
    }
}

/// A table as [`table`] takes it, of an index with so many events: what a fuzzer begins with.
pub fn sample(events: u64) -> Vec<(u8, u64, u32, Vec<u8>)> {
    let mut rows = Rows::default();
    let options = IndexOptions {
        freeze_events: 20,
        fan_in: 2,
        ..IndexOptions::default()
    };
    let Ok(mut index) = Index::open(&rows, options) else {
        return Vec::new();
    };
    for position in 0..events {
        let tag = format!("Gtag:{}", position % 7);
        let id = format!("I{position:016}");
        let terms = [&b"Srun"[..], b"Ta.b", tag.as_bytes(), id.as_bytes()];
        if index.insert(position, terms).is_err() {
            break;
        }
        if position % 9 == 8
            && let Ok(slice) = index.maintain(&rows, 4_000)
        {
            rows.apply(&slice);
            index.committed();
        }
    }
    if let Ok(slice) = index.flush_all(&rows) {
        rows.apply(&slice);
    }
    let numbered = |(key, row): (&Vec<u8>, &Vec<u8>)| {
        let body = row.get(..row.len() - super::row::CHECKSUM_BYTES)?.to_vec();
        Some(match super::row::parse_key(key) {
            IndexRow::Manifest => (0, 0, 0, body),
            IndexRow::Section { run, section } => (1, run, section, body),
            IndexRow::Block { run, block } => (2, run, block, body),
            IndexRow::Unknown => return None,
        })
    };
    rows.rows.iter().filter_map(numbered).collect()
}

/// Rows with right checksums.
fn of(bodies: &[(Vec<u8>, Vec<u8>)]) -> Rows {
    let mut rows = Rows::default();
    for (key, body) in bodies {
        let row = super::row::parse_key(key);
        if row == IndexRow::Unknown {
            rows.set(key, body.clone());
        } else {
            rows.apply(&[row.put(body.clone())]);
        }
    }
    rows
}
