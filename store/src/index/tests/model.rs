//! The index against a plain map from terms to positions, through maintenance, crashes and
//! readers with old snapshots.

use super::super::sample::Rows;
use super::super::{Index, IndexError, IndexOptions, IndexView, ItemTerms, verify_runs};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const STREAMS: u64 = 5;
const TYPES: u64 = 4;
const TAGS: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Inserts events; small numbers make them alike.
    Insert { events: u64, seed: u64 },
    /// Commits without maintenance.
    Commit,
    /// One slice, committed.
    Maintain { budget: u64 },
    /// Slices until nothing is left to do.
    Drain { budget: u64 },
    /// Everything into runs.
    FlushAll,
    /// A slice whose transaction is lost, then the next open.
    Crash { budget: Option<u64> },
    /// A reader that stays.
    Reader { hidden: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u64..250, any::<u64>()).prop_map(|(events, seed)| Step::Insert { events, seed }),
        1 => Just(Step::Commit),
        8 => (0_u64..60_000).prop_map(|budget| Step::Maintain { budget }),
        1 => (0_u64..200_000).prop_map(|budget| Step::Drain { budget }),
        1 => Just(Step::FlushAll),
        2 => proptest::option::of(0_u64..60_000).prop_map(|budget| Step::Crash { budget }),
        2 => (0_u64..50).prop_map(|hidden| Step::Reader { hidden }),
    ];
    prop::collection::vec(step, 1..40)
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let n = (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    n ^ (n >> 33)
}

/// Terms long enough that a few of them fill a block.
fn long(kind: u8, name: u64, bytes: usize) -> Vec<u8> {
    let mut term = vec![kind];
    term.resize(bytes, b'-');
    term.extend_from_slice(name.to_string().as_bytes());
    term
}

fn stream(n: u64) -> Vec<u8> {
    long(b'S', n, 1)
}

fn event_type(n: u64) -> Vec<u8> {
    long(b'T', n, 20)
}

fn tag(n: u64) -> Vec<u8> {
    long(b'G', n, if n.is_multiple_of(2) { 5 } else { 400 })
}

fn event(position: u64, seed: u64) -> Vec<Vec<u8>> {
    let random = mix(position ^ seed);
    let mut terms = vec![
        stream(random % STREAMS),
        event_type((random >> 8) % TYPES),
        long(b'N', 0, 4),
    ];
    // A seed in three makes events that have nothing unique.
    if !seed.is_multiple_of(3) {
        let mut id = long(b'I', random, if seed.is_multiple_of(2) { 8 } else { 200 });
        id.extend_from_slice(&position.to_be_bytes());
        terms.push(id);
    }
    for n in 0..TAGS {
        if (random >> (16 + 4 * n)) & 0xf < 2 + n {
            terms.push(tag(n));
        }
    }
    terms
}

/// What the log says.
#[derive(Clone, Debug, Default)]
struct Model {
    events: Vec<Vec<Vec<u8>>>,
}

impl Model {
    fn len(&self) -> u64 {
        self.events.len() as u64
    }

    fn postings(&self, visible: u64) -> BTreeMap<Vec<u8>, Vec<u64>> {
        let mut postings: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for (position, terms) in (0..visible).zip(&self.events) {
            for term in terms {
                postings.entry(term.clone()).or_default().push(position);
            }
        }
        postings
    }
}

fn matching(postings: &BTreeMap<Vec<u8>, Vec<u64>>, item: &ItemTerms, visible: u64) -> Vec<u64> {
    let of = |term: &Vec<u8>| -> BTreeSet<u64> {
        postings.get(term).into_iter().flatten().copied().collect()
    };
    let mut matching: BTreeSet<u64> = (0..visible).collect();
    for term in item.stream.iter().chain(&item.tags) {
        matching = &matching & &of(term);
    }
    if !item.types.is_empty() {
        matching = &matching & &item.types.iter().flat_map(of).collect();
    }
    matching.into_iter().collect()
}

fn items(seed: u64) -> Vec<ItemTerms> {
    let item = |stream_of: Option<u64>, types: &[u64], tags: &[u64]| ItemTerms {
        stream: stream_of.map(stream),
        types: types.iter().copied().map(event_type).collect(),
        tags: tags.iter().copied().map(tag).collect(),
    };
    let a = seed % TAGS;
    let b = (seed >> 8) % TAGS;
    let s = (seed >> 16) % (STREAMS + 1);
    let t = (seed >> 24) % (TYPES + 1);
    vec![
        item(None, &[], &[]),
        item(None, &[t], &[]),
        item(Some(s), &[t], &[]),
        item(None, &[0, t], &[a]),
        item(None, &[t, t], &[a, b]),
        item(Some(s), &[], &[a, b]),
    ]
}

fn walk(mut next: impl FnMut() -> Result<Option<u64>, IndexError>) -> Result<Vec<u64>, IndexError> {
    let mut found = Vec::new();
    while let Some(position) = next()? {
        found.push(position);
    }
    assert!(matches!(next(), Ok(None)));
    Ok(found)
}

fn reversed(mut positions: Vec<u64>) -> Vec<u64> {
    positions.reverse();
    positions
}

/// A view and the rows taken together with it.
#[derive(Debug)]
struct Reader {
    visible: u64,
    view: IndexView,
    rows: Rows,
    postings: BTreeMap<Vec<u8>, Vec<u64>>,
}

impl Reader {
    fn new(index: &Index, rows: &Rows, model: &Model, visible: u64) -> Self {
        Self {
            visible,
            view: index.view(visible),
            rows: rows.clone(),
            postings: model.postings(visible),
        }
    }

    fn check(&self, seed: u64) {
        let mut terms: Vec<Vec<u8>> = vec![
            stream(seed % (STREAMS + 1)),
            event_type((seed >> 8) % (TYPES + 1)),
            tag((seed >> 16) % (TAGS + 1)),
            long(b'N', 0, 4),
        ];
        let nth = usize::try_from(seed % 1_000).unwrap() % self.postings.len().max(1);
        terms.extend(self.postings.keys().nth(nth).cloned());
        for term in &terms {
            self.check_term(term, seed);
        }
        for item in items(seed) {
            self.check_item(&item, seed);
        }
    }

    fn check_term(&self, term: &[u8], seed: u64) {
        let none = Vec::new();
        let expected = self.postings.get(term).unwrap_or(&none);
        let Self { view, rows, .. } = self;
        for bound in [u64::MAX, seed % (self.visible + 2)] {
            let below = expected.partition_point(|&position| position < bound);
            let head = view.head_below(rows, term, bound).unwrap();
            assert_eq!(head.map_or(0, |head| head.count), below as u64);
            assert_eq!(
                head.map(|head| head.last),
                expected[..below].last().copied()
            );
        }
        let head = view.head(rows, term).unwrap();
        assert_eq!(
            head.map(|head| head.count),
            expected.last().map(|_| expected.len() as u64)
        );
        for n in [0, seed % (expected.len() as u64 + 1), expected.len() as u64] {
            let at = expected.get(usize::try_from(n).unwrap()).copied();
            assert_eq!(view.posting_at(rows, term, n).unwrap(), at, "posting {n}");
        }
        let (low, high) = (seed % (self.visible + 2), (seed >> 20) % (self.visible + 2));
        for range in [0..=u64::MAX, low..=high, low..=low] {
            let within: Vec<u64> = expected
                .iter()
                .copied()
                .filter(|p| range.contains(p))
                .collect();
            let item = ItemTerms {
                tags: vec![term.to_vec()],
                ..ItemTerms::default()
            };
            let mut forward = view.matches(&item, &range, false, None);
            assert_eq!(walk(|| forward.next(rows)).unwrap(), within);
            let mut backward = view.matches(&item, &range, true, None);
            assert_eq!(walk(|| backward.next(rows)).unwrap(), reversed(within));
        }
    }

    fn check_item(&self, item: &ItemTerms, seed: u64) {
        let Self { view, rows, .. } = self;
        let expected = matching(&self.postings, item, self.visible);
        let low = seed % (self.visible + 2);
        for range in [0..=u64::MAX, low..=low + 100] {
            let within: Vec<u64> = expected
                .iter()
                .copied()
                .filter(|p| range.contains(p))
                .collect();
            let mut forward = view.matches(item, &range, false, None);
            assert_eq!(walk(|| forward.next(rows)).unwrap(), within);
            let mut backward = view.matches(item, &range, true, None);
            assert_eq!(walk(|| backward.next(rows)).unwrap(), reversed(within));
            if *item != ItemTerms::default() && !expected.is_empty() {
                let mut limited = view.matches(item, &(0..=u64::MAX), false, Some(0));
                let error = limited.next(rows).unwrap_err();
                assert!(matches!(error, IndexError::TooBroad { limit: 0 }));
            }
        }
    }
}

/// The writer with its rows, beside the model.
#[derive(Debug)]
struct Writer {
    options: IndexOptions,
    index: Index,
    rows: Rows,
    model: Model,
    committed: u64,
    readers: Vec<Reader>,
}

impl Writer {
    fn new(options: IndexOptions) -> Self {
        let rows = Rows::default();
        Self {
            index: Index::open(&rows, options.clone()).unwrap(),
            options,
            rows,
            model: Model::default(),
            committed: 0,
            readers: Vec::new(),
        }
    }

    fn insert(&mut self, events: u64, seed: u64) {
        for _ in 0..events {
            let position = self.model.len();
            let terms = event(position, seed);
            self.index
                .insert(position, terms.iter().map(Vec::as_slice))
                .unwrap();
            self.model.events.push(terms);
        }
    }

    fn commit(&mut self, ops: &[super::super::RowOp]) {
        self.rows.apply(ops);
        self.committed = self.model.len();
        self.index.committed();
    }

    fn maintain(&mut self, budget: u64) {
        let ops = self.index.maintain(&self.rows, budget).unwrap();
        self.commit(&ops);
    }

    fn drain(&mut self, budget: u64) {
        let mut slices = 0;
        while self.index.needs_work() {
            self.maintain(budget);
            slices += 1;
            assert!(slices < 100_000, "maintenance does not end");
        }
    }

    fn crash(&mut self, budget: Option<u64>) {
        if let Some(budget) = budget {
            let lost = self.index.maintain(&self.rows, budget).unwrap();
            if !lost.is_empty() {
                let again = self.index.maintain(&self.rows, budget).unwrap_err();
                assert_eq!(again.code(), "index_uncommitted");
            }
        }
        self.index = Index::open(&self.rows, self.options.clone()).unwrap();
        self.model
            .events
            .truncate(usize::try_from(self.committed).unwrap());
        assert!(self.index.covered() <= self.committed);
        for position in self.index.covered()..self.committed {
            let terms = &self.model.events[usize::try_from(position).unwrap()];
            self.index
                .insert(position, terms.iter().map(Vec::as_slice))
                .unwrap();
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert { events, seed } => self.insert(events, seed),
            Step::Commit => self.commit(&[]),
            Step::Maintain { budget } => self.maintain(budget),
            Step::Drain { budget } => self.drain(budget),
            Step::FlushAll => {
                let ops = self.index.flush_all(&self.rows).unwrap();
                self.commit(&ops);
                assert_eq!(self.index.covered(), self.committed);
            }
            Step::Crash { budget } => self.crash(budget),
            Step::Reader { hidden } => {
                let visible = self.committed.saturating_sub(hidden);
                let reader = Reader::new(&self.index, &self.rows, &self.model, visible);
                self.readers.push(reader);
                if self.readers.len() > 4 {
                    self.readers.remove(0);
                }
            }
        }
    }

    /// The writer sees events that are not committed yet.
    fn check(&mut self, seed: u64) {
        let visible = self.model.len();
        let postings = self.model.postings(visible);
        assert_eq!(self.index.next(), visible);
        for term in [
            stream(seed % (STREAMS + 1)),
            tag(seed % TAGS),
            event_type(seed % TYPES),
        ] {
            let expected = postings
                .get(&term)
                .map(|p| (*p.last().unwrap(), p.len() as u64));
            let head = self.index.head(&self.rows, &term).unwrap();
            assert_eq!(head.map(|head| (head.last, head.count)), expected);
        }
        for item in items(seed) {
            let newest = matching(&postings, &item, visible).last().copied();
            for after in [None, Some(seed % (visible + 1))] {
                let expected = newest.filter(|&p| after.is_none_or(|after| p > after));
                let found = self
                    .index
                    .any_after(&self.rows, &item, after, None)
                    .unwrap();
                assert_eq!(found, expected);
            }
        }
        for reader in &self.readers {
            reader.check(seed);
        }
        Reader::new(&self.index, &self.rows, &self.model, self.committed).check(seed);
    }

    /// What the runs hold is what the model says, and nothing else is left.
    fn verify(&mut self) {
        let mut postings: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        let verified = verify_runs(&self.rows, &mut |term, positions| {
            postings.entry(term.to_vec()).or_default().extend(positions);
        })
        .unwrap();
        assert_eq!(verified.covered, self.index.covered());
        assert_eq!(postings, self.model.postings(verified.covered));
        assert_eq!(verified.terms, postings.len() as u64);
        self.drain(1 << 20);
        let drained = verify_runs(&self.rows, &mut |_, _| {}).unwrap();
        assert_eq!(drained.stray_rows, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_a_plain_map_says(
        steps in steps(),
        seed: u64,
        freeze_events in 1_u64..200,
        fan_in in 2_usize..5,
    ) {
        let mut writer = Writer::new(IndexOptions {
            freeze_events,
            fan_in,
            cached_heads: 6,
            ..IndexOptions::default()
        });
        for (step, n) in steps.iter().zip(0..) {
            writer.step(step);
            writer.check(mix(seed ^ n));
        }
        writer.verify();
    }
}

#[test]
fn overdue_flushes_are_finished_whatever_the_budget() {
    let mut writer = Writer::new(IndexOptions {
        freeze_events: 100,
        ..IndexOptions::default()
    });
    for n in 0..150 {
        // Odd and no multiple of 3: long ids, more of them than a slice of one block can hold.
        writer.insert(60, 6 * n + 1);
        writer.maintain(1);
        let behind = writer.index.next() - writer.index.covered();
        assert!(
            behind <= 2 * (4 * 100 + 60),
            "{behind} events are not in runs"
        );
    }
    writer.verify();
}

#[test]
fn small_slices_do_not_let_runs_pile_up() {
    let mut writer = Writer::new(IndexOptions {
        freeze_events: 50,
        fan_in: 4,
        ..IndexOptions::default()
    });
    let mut most = 0;
    for n in 0..400 {
        writer.insert(25, n);
        writer.maintain(6_000);
        let runs = verify_runs(&writer.rows, &mut |_, _| {}).unwrap().runs;
        most = most.max(runs);
    }
    assert!(most < 80, "{most} runs");
}

#[test]
fn an_event_id_of_two_events_is_found_and_stops_nothing() {
    let options = IndexOptions {
        freeze_events: 1,
        fan_in: 2,
        ..IndexOptions::default()
    };
    let mut rows = Rows::default();
    let mut index = Index::open(&rows, options).unwrap();
    for position in 0..8 {
        index.insert(position, [&b"Isame"[..], b"Tx"]).unwrap();
        let ops = index.maintain(&rows, 1 << 20).unwrap();
        rows.apply(&ops);
        index.committed();
    }
    assert_eq!(index.covered(), 8);
    assert_eq!(index.head(&rows, b"Isame").unwrap().unwrap().last, 7);
    let error = verify_runs(&rows, &mut |_, _| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("an event id stands for several events")
    );
}
