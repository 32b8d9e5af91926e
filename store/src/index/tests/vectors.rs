//! The vectors `index-row/*` of docs/FORMAT.md.

use super::super::block::{Block, Walk};
use super::super::error::IndexRow;
use super::super::filter;
use super::super::manifest::{Manifest, RunMeta};
use super::super::row::{RowOp, parse_key};
use super::super::sample::Rows;
use super::super::section::Section;
use crate::vectors::Vector;

fn rows(vector: &Vector) -> Rows {
    let mut rows = Rows::default();
    rows.set(&vector.bytes("key"), vector.bytes("row"));
    rows
}

fn run(vector: &Vector) -> RunMeta {
    RunMeta {
        id: 3,
        level: 0,
        from: vector.number("from"),
        to: vector.number("to"),
        blocks: 1,
        sections: 1,
        terms: 3,
        postings: 6,
    }
}

#[test]
fn block() {
    let vector = Vector::named("index-row/block");
    let block = Block::read(&rows(&vector), &run(&vector), 0).unwrap();
    let mut walk = Walk::default();
    let terms = vector.list("terms");
    let expected = terms.iter().zip(
        vector
            .texts("base")
            .into_iter()
            .zip(vector.texts("positions")),
    );
    let mut seen = 0;
    for (term, (base, positions)) in expected {
        let entry = walk.next(&block).unwrap().unwrap();
        assert_eq!(walk.term(), term);
        assert_eq!(entry.base.to_string(), base);
        let mut found = Vec::new();
        block.positions(&entry, &mut found).unwrap();
        let found: Vec<_> = found.iter().map(u64::to_string).collect();
        assert_eq!(found.join("/"), positions);
        seen += 1;
    }
    assert_eq!(seen, 3);
    assert!(walk.next(&block).unwrap().is_none());
}

#[test]
fn section() {
    let vector = Vector::named("index-row/section");
    let key = vector.bytes("key");
    let row = parse_key(&key);
    assert!(matches!(row, IndexRow::Section { run: 3, section: 0 }));
    let body = row.read(&rows(&vector), 32_000).unwrap();
    let section = Section::decode(body.clone(), vector.number("from")).unwrap();
    let terms = vector.list("terms");
    assert_eq!(section.terms, terms.len() as u64);
    for term in &terms {
        assert!(section.may_hold(filter::hash(term)));
    }
    let absent = (0_u32..1000).map(|n| [b"Sx".as_slice(), &n.to_be_bytes()].concat());
    assert!(
        absent
            .filter(|term| section.may_hold(filter::hash(term)))
            .count()
            < 100
    );
    assert_eq!(row.put(body), RowOp::Put(key, vector.bytes("row")));
}

#[test]
fn manifest() {
    let vector = Vector::named("index-row/manifest");
    let manifest = Manifest::read(&rows(&vector)).unwrap();
    assert_eq!(manifest.next_id, vector.number("next_id"));
    assert_eq!(manifest.runs.len() as u64, vector.number("runs"));
    assert!(manifest.strays.contains(&vector.number("strays")));
    let put = manifest.put().unwrap();
    assert_eq!(put, RowOp::Put(vector.bytes("key"), vector.bytes("row")));
}
