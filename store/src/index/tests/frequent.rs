//! A term that most events have must not cost more to look up than a rare one.

use super::super::sample::Rows;
use super::super::{Index, IndexError, IndexOptions, ItemTerms, RowRead, verify_runs};
use std::cell::Cell;
use std::ops::ControlFlow;

const EVENTS: u64 = 60_000;
const COMMON: &[u8] = b"Ttool.call.completed";

/// Counts the rows that are read.
#[derive(Debug, Default)]
struct Counting {
    rows: Rows,
    reads: Cell<u64>,
}

impl Counting {
    fn during<R>(&self, work: impl FnOnce(&Self) -> R) -> (R, u64) {
        let before = self.reads.get();
        let result = work(self);
        (result, self.reads.get() - before)
    }
}

impl RowRead for Counting {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.reads.set(self.reads.get() + 1);
        self.rows.row(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.rows.scan(from, to, visit)
    }
}

/// All events but every tenth have the common type; each has an id of its own.
fn filled() -> (Index, Counting) {
    let mut rows = Counting::default();
    let options = IndexOptions {
        freeze_events: 8_000,
        fan_in: 3,
        ..IndexOptions::default()
    };
    let mut index = Index::open(&rows, options).unwrap();
    for position in 0..EVENTS {
        let id = [
            &b"I"[..],
            &position.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(),
        ]
        .concat();
        let kind: &[u8] = if position % 10 == 9 { b"Trare" } else { COMMON };
        index.insert(position, [&id[..], kind]).unwrap();
        if position % 1_000 == 999 {
            let ops = index.maintain(&rows, 1 << 20).unwrap();
            rows.rows.apply(&ops);
            index.committed();
        }
    }
    let ops = index.flush_all(&rows).unwrap();
    rows.rows.apply(&ops);
    index.committed();
    (index, rows)
}

#[test]
fn a_common_term_costs_about_a_row_to_look_up() {
    let (_, rows) = filled();
    let mut index = Index::open(&rows, IndexOptions::default()).unwrap();
    let (head, reads) = rows.during(|rows| index.head(rows, COMMON).unwrap());
    let head = head.unwrap();
    assert_eq!((head.last, head.count), (EVENTS - 2, EVENTS / 10 * 9));
    assert!(reads <= 1, "{reads} rows for a head");
    let (_, reads) = rows.during(|rows| index.head(rows, COMMON).unwrap());
    assert_eq!(reads, 0, "a head is remembered");

    let view = index.view(EVENTS);
    let item = ItemTerms {
        types: vec![COMMON.to_vec()],
        ..ItemTerms::default()
    };
    for n in [0, 1, 4_000, 26_999, 40_000, EVENTS / 10 * 9 - 1] {
        let (position, reads) = rows.during(|rows| view.posting_at(rows, COMMON, n).unwrap());
        assert_eq!(position, Some(n / 9 * 10 + n % 9));
        assert!(reads <= index.runs(), "{reads} rows for posting {n}");
    }
    for from in [0, 9, 12_345, 31_999, 59_998] {
        for reverse in [false, true] {
            let range = if reverse { 0..=from } else { from..=EVENTS };
            let mut cursor = view.matches(&item, &range, reverse, None);
            let (found, reads) = rows.during(|rows| cursor.next(rows).unwrap());
            let expected = if from % 10 != 9 {
                from
            } else if reverse {
                from - 1
            } else {
                from + 1
            };
            assert_eq!(found, Some(expected));
            assert!(reads <= 2, "{reads} rows to begin at {from}");
        }
        let (head, reads) = rows.during(|rows| view.head_below(rows, COMMON, from).unwrap());
        assert_eq!(head.map_or(0, |head| head.count), from - from / 10);
        assert!(reads <= 1, "{reads} rows for a head below {from}");
    }
}

#[test]
fn postings_of_a_common_term_take_about_a_byte() {
    let (_, rows) = filled();
    let bytes: usize = rows.rows.rows.values().map(Vec::len).sum();
    // An id takes 14 bytes and 1.25 of filter, a posting 1, and a little for fences.
    assert!(bytes < 18 * 60_000, "{bytes} bytes");
    assert!(rows.rows.rows.values().all(|row| row.len() <= 32_000));
    let verified = verify_runs(&rows, &mut |_, _| {}).unwrap();
    assert_eq!(verified.postings, 2 * EVENTS);
    assert_eq!(verified.terms, EVENTS + 2);
}

#[test]
fn an_absent_term_costs_almost_nothing() {
    let (_, rows) = filled();
    let mut index = Index::open(&rows, IndexOptions::default()).unwrap();
    let ((), reads) = rows.during(|rows| {
        for n in 0..2_000_u64 {
            let absent = [&b"I"[..], &n.to_be_bytes(), b"absent"].concat();
            assert!(index.head(rows, &absent).unwrap().is_none());
        }
    });
    assert!(reads < 200, "{reads} rows for 2,000 absent terms");
}
