//! Damaged rows: an error that names the table, or the right answer; never a panic.

use super::super::error::IndexRow;
use super::super::row::parse_key;
use super::super::sample::Rows;
use super::super::{Index, IndexError, IndexOptions, ItemTerms, RowOp, verify_runs};

const EVENTS: u64 = 1_500;

fn tag(n: u64) -> Vec<u8> {
    format!("G{n:0>3}:{}", "x".repeat(200)).into_bytes()
}

fn options() -> IndexOptions {
    IndexOptions {
        freeze_events: 500,
        fan_in: 2,
        ..IndexOptions::default()
    }
}

fn filled() -> Rows {
    let mut rows = Rows::default();
    let mut index = Index::open(&rows, options()).unwrap();
    for position in 0..EVENTS {
        let tag = tag(position % 70);
        index.insert(position, [&b"Tx"[..], b"Na", &tag]).unwrap();
        if position % 100 == 99 {
            let ops = index.maintain(&rows, 100_000).unwrap();
            rows.apply(&ops);
            index.committed();
        }
    }
    let ops = index.flush_all(&rows).unwrap();
    rows.apply(&ops);
    rows
}

fn of(term: &[u8]) -> ItemTerms {
    ItemTerms {
        tags: vec![term.to_vec()],
        ..ItemTerms::default()
    }
}

/// Everything that can be asked, once.
fn ask(rows: &Rows) -> Result<Vec<u64>, IndexError> {
    let mut index = Index::open(rows, options())?;
    let mut answers = vec![index.covered()];
    let item = ItemTerms {
        stream: None,
        types: vec![b"Tx".to_vec()],
        tags: vec![tag(3), b"Na".to_vec()],
    };
    answers.extend(index.any_after(rows, &item, Some(20), None)?);
    let view = index.view(EVENTS);
    let mut cursor = view.matches(&item, &(0..=EVENTS), false, None);
    while let Some(position) = cursor.next(rows)? {
        answers.push(position);
    }
    for term in [b"Tx".to_vec(), tag(0), tag(35), tag(69), tag(70)] {
        answers.extend(index.head(rows, &term)?.map(|head| head.count));
        answers.extend(view.posting_at(rows, &term, 7)?);
        answers.extend(view.head_below(rows, &term, 700)?.map(|head| head.last));
        for reverse in [false, true] {
            let mut cursor = view.matches(&of(&term), &(100..=1_400), reverse, None);
            while let Some(position) = cursor.next(rows)? {
                answers.push(position);
            }
        }
    }
    Ok(answers)
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let good = filled();
    let answers = ask(&good).unwrap();
    assert!(good.rows.len() > 5);
    for (key, row) in &good.rows {
        let step = (row.len() / 40).max(1);
        for at in (0..row.len()).step_by(step).chain(row.len() - 9..row.len()) {
            let mut rows = good.clone();
            let mut flipped = row.clone();
            flipped[at] ^= 1 << (at % 8);
            rows.set(key, flipped);
            let error = verify_runs(&rows, &mut |_, _| {}).unwrap_err();
            assert!(error.to_string().starts_with("table index: "), "{error}");
            if let Ok(changed) = ask(&rows) {
                assert_eq!(changed, answers);
            }
        }
    }
}

#[test]
fn a_missing_row_is_named() {
    let good = filled();
    for key in good.rows.keys() {
        let mut rows = good.clone();
        rows.rows.remove(key);
        let error = verify_runs(&rows, &mut |_, _| {}).unwrap_err();
        let name = parse_key(key).to_string();
        assert_eq!(error.to_string(), format!("table index: {name} is missing"));
        assert!(error.is_corrupt());
    }
}

#[test]
fn a_row_of_no_run_is_found() {
    let good = filled();
    for (key, what) in [
        (&b"x"[..], "a row outside every run"),
        (
            &[b'r', 0, 0, 0, 0, 0, 0, 9, 9, 0, 0, 0, 0],
            "block 0 of run 2313",
        ),
        (
            &[b'f', 0, 0, 0, 0, 0, 0, 9, 9, 0, 0, 0, 1],
            "section 1 of run 2313",
        ),
    ] {
        let mut rows = good.clone();
        rows.set(key, vec![1]);
        let error = verify_runs(&rows, &mut |_, _| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("table index: {what}: the manifest does not list it")
        );
    }
}

/// Bytes that are wrong under a right checksum: whoever writes them may get wrong answers, but
/// not a panic, and the strict reading finds what contradicts itself.
#[test]
fn hostile_rows_do_not_panic() {
    let good = filled();
    let mut found = 0;
    let mut tried = 0;
    for (key, row) in &good.rows {
        let name = parse_key(key);
        let body = &row[..row.len() - 8];
        let step = (body.len() / 60).max(1);
        for (at, value) in (0..body.len())
            .step_by(step)
            .zip([0, 1, 2, 0x7f, 0x80, 0xff].iter().cycle())
        {
            let mut hostile = body.to_vec();
            hostile[at] ^= value | 1;
            let mut rows = good.clone();
            rows.apply(&[name.put(hostile)]);
            found += u64::from(verify_runs(&rows, &mut |_, _| {}).is_err());
            tried += 1;
            let _ = ask(&rows);
            if let Ok(mut index) = Index::open(&rows, options()) {
                let _ = index.maintain(&rows, 1 << 20);
            }
        }
    }
    assert!(found * 10 > tried * 5, "{found} of {tried}");
}

#[test]
fn a_failed_slice_stops_maintenance_until_the_next_open() {
    let mut rows = filled();
    let first = rows
        .rows
        .keys()
        .find(|key| matches!(parse_key(key), IndexRow::Block { block: 0, .. }))
        .unwrap()
        .clone();
    let mut index = Index::open(
        &rows,
        IndexOptions {
            fan_in: 2,
            freeze_events: 1,
            ..options()
        },
    )
    .unwrap();
    let row = rows.rows.remove(&first).unwrap();
    let mut position = EVENTS;
    let error = loop {
        index.insert(position, [&b"Tx"[..]]).unwrap();
        position += 1;
        match index.maintain(&rows, 1 << 20) {
            Ok(ops) => rows.apply(&ops),
            Err(error) => break error,
        }
        index.committed();
    };
    assert!(matches!(error, IndexError::Missing { .. }));
    index.committed();
    assert_eq!(
        index.maintain(&rows, 1).unwrap_err().code(),
        "index_uncommitted"
    );
    rows.apply(&[RowOp::Put(first, row)]);
    assert!(Index::open(&rows, options()).is_ok());
}
