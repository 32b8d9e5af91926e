//! Random use of a log in a file, compared with a plain model of it.
//!
//! `RUNSTONE_MODEL_CASES=1000` runs as many cases; the default is small.

use proptest::prelude::*;
use runstone_receipt::{leaf_hash, tree::root_of};
use runstone_store::{Log, OpenOptions, Payload, Query, Read, Sealing, VerifyLevel};
use runstone_tests::contract::Place;
use runstone_tests::folds::Tally;
use runstone_tests::model::{Model, Proposed, Request, Selection, Verdict, Wanted};
use runstone_tests::tamper::{ChunkParts, RawRows, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is done to a log.
#[derive(Clone, Debug)]
enum Action {
    Append(Request),
    AppendMany(Vec<Request>),
    Read {
        selection: Selection,
        from: u8,
        to: Option<u8>,
        limit: Option<u8>,
        reverse: bool,
    },
    Look(u8),
    Sync,
    Rebuild,
    Close,
    Drop,
}

fn proposed() -> impl Strategy<Value = Proposed> {
    let id = prop::option::weighted(0.3, 0..10_u8);
    // Scopes that differ are refused, so most leave them alone.
    let scope = prop::option::weighted(0.1, 0..3_u8);
    (0..4_u8, 0..5_u8, any::<u8>(), id, scope, any::<u8>()).prop_map(
        |(stream, kind, tags, id, scope, payload)| Proposed {
            stream,
            kind,
            tags: tags & tags.rotate_left(3),
            id,
            scope,
            payload,
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let stream = prop::option::of(0..5_u8);
    let bits = || any::<(u8, u8)>().prop_map(|(one, other)| one & other & one.rotate_left(1));
    (stream, bits(), bits(), prop::bool::weighted(0.1)).prop_map(
        |(stream, kinds, tags, by_source)| Wanted {
            stream,
            kinds: kinds & 0x7f,
            tags,
            by_source,
        },
    )
}

fn selection() -> impl Strategy<Value = Selection> {
    prop_oneof![
        1 => Just(Selection(Vec::new())),
        6 => prop::collection::vec(wanted(), 1..3).prop_map(Selection),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let events = prop_oneof![
        4 => prop::collection::vec(proposed(), 1..3),
        1 => prop::collection::vec(proposed(), 0..12),
    ];
    let expected = (0..4_u8, prop::option::of(0..2_u8));
    let condition = (selection(), prop::option::weighted(0.8, 0..6_u8));
    (
        events,
        prop::option::weighted(0.3, expected),
        prop::option::weighted(0.3, condition),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(events, expected, condition, buffered)| Request {
            events,
            expected,
            condition,
            buffered,
        })
}

fn action() -> impl Strategy<Value = Action> {
    let range = (
        any::<u8>(),
        prop::option::of(any::<u8>()),
        prop::option::of(0..9_u8),
    );
    let read = (selection(), range, any::<bool>());
    prop_oneof![
        24 => request().prop_map(Action::Append),
        8 => prop::collection::vec(request(), 1..8).prop_map(Action::AppendMany),
        12 => read.prop_map(|(selection, (from, to, limit), reverse)| Action::Read {
            selection, from, to, limit, reverse
        }),
        6 => any::<u8>().prop_map(Action::Look),
        2 => Just(Action::Sync),
        1 => Just(Action::Rebuild),
        2 => Just(Action::Close),
        2 => Just(Action::Drop),
    ]
}

/// Small tables and frequent slices, so that few events go through all the machinery.
fn options() -> OpenOptions {
    let mut open = OpenOptions::default();
    open.folds = vec![Arc::new(Tally::new(1))];
    open.options.index.freeze_events = 24;
    open.options.index.fan_in = 2;
    open.options.index.cached_heads = 8;
    open.options.maintenance_commits = 5;
    open.options.group_events = 16;
    open
}

/// A log and what it should be.
struct Pair {
    place: Place,
    log: Option<Log>,
    model: Model,
}

impl Pair {
    fn new(sealing: Sealing) -> Self {
        let place = Place::new(sealing);
        let log = Some(place.create(options()));
        Self {
            place,
            log,
            model: Model::new(),
        }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn take(&mut self, action: &Action) {
        match action {
            Action::Append(request) => self.append(std::slice::from_ref(request)),
            Action::AppendMany(requests) => self.append(requests),
            Action::Read {
                selection,
                from,
                to,
                limit,
                reverse,
            } => {
                self.read(selection, *from, *to, *limit, *reverse);
            }
            Action::Look(at) => self.look(*at),
            Action::Sync => {
                self.log().sync_blocking().unwrap();
                self.model.durable = self.model.size();
            }
            Action::Rebuild => {
                let checks = self.log().rebuild_folds(None, &|_, _| {}).unwrap();
                assert!(checks[0].is_equal(), "{checks:?}");
            }
            Action::Close => {
                self.log().close_blocking().unwrap();
                self.model.durable = self.model.size();
                self.reopen();
            }
            Action::Drop => self.reopen(),
        }
    }

    fn append(&mut self, requests: &[Request]) {
        let appends: Vec<_> = requests
            .iter()
            .map(|request| self.model.append(request))
            .collect();
        let answers = match appends.as_slice() {
            [single] => vec![self.log().append_blocking(single.clone())],
            many => self.log().append_many_blocking(many.to_vec()),
        };
        let wanted = self.model.apply(requests, &appends);
        for ((answer, wanted), request) in answers.iter().zip(&wanted).zip(requests) {
            assert_eq!(Verdict::of(answer), *wanted, "{answer:?} {request:?}");
        }
        let (size, durable) = (self.log().size(), self.log().durable_size());
        assert_eq!(size, self.model.size());
        assert!(
            durable >= self.model.durable && durable <= size,
            "{durable}"
        );
        for (answer, request) in answers.iter().zip(requests) {
            if let (Ok(answer), false) = (answer, request.buffered) {
                assert!(durable > answer.last.get(), "acknowledged and not durable");
            }
        }
        self.model.durable = durable;
    }

    fn read(&self, selection: &Selection, from: u8, to: Option<u8>, limit: Option<u8>, back: bool) {
        let mut read = Read::new(selection.query()).from(from);
        read.to = to.map(u64::from);
        read.limit = limit.map(u64::from);
        read.reverse = back;
        let found: Vec<_> = self
            .log()
            .read(read)
            .unwrap()
            .map(|record| record.unwrap())
            .collect();
        let matching = self.model.select(selection);
        assert_eq!(
            self.log().count(&selection.query()).unwrap(),
            matching.len() as u64
        );
        let mut wanted: Vec<_> = matching
            .into_iter()
            .filter(|at| *at >= u64::from(from) && to.is_none_or(|to| *at <= u64::from(to)))
            .collect();
        if back {
            wanted.reverse();
        }
        wanted.truncate(limit.map_or(usize::MAX, usize::from));
        let places: Vec<_> = found.iter().map(|record| record.position.get()).collect();
        assert_eq!(places, wanted, "{selection:?}");
    }

    /// One event by position, revision and id.
    fn look(&self, at: u8) {
        if self.model.events.is_empty() {
            return;
        }
        let position = 1 + u64::from(at) % (self.model.size() - 1);
        let event = self.model.at(position);
        let record = self
            .log()
            .record_by_revision(&event.stream, event.revision)
            .unwrap();
        assert_eq!(record.position.get(), position);
        let by_id = self.log().record_by_id(record.header.event_id).unwrap();
        assert_eq!(by_id.position, record.position);
        self.compare(&record);
    }

    fn compare(&self, record: &runstone_store::Record) {
        let event = self.model.at(record.position.get());
        let header = &record.header;
        assert_eq!(record.revision.get(), event.revision);
        assert_eq!(header.stream, event.stream);
        assert_eq!(header.event_type, event.kind);
        assert_eq!(header.tags, event.tags);
        assert_eq!(header.scope, event.scope);
        assert!(event.id.is_none_or(|id| id == header.event_id));
        assert_eq!(
            record.payload,
            Payload::Open(event.payload.clone().into_bytes())
        );
    }

    /// Lets go of the log and opens it again; what was not durable may be gone from the end.
    fn reopen(&mut self) {
        self.log = None;
        self.check_root();
        let log = self.place.open(options());
        self.model.cut(log.size());
        self.model.durable = log.size();
        self.log = Some(log);
        self.check();
    }

    /// The root, from the bytes of the entries and nothing else.
    fn check_root(&self) {
        let copy = self.place.beside("copy.redb");
        std::fs::copy(self.place.path(), &copy).unwrap();
        let rows = RawRows::open(&copy).unwrap().all(Table::Chunks).unwrap();
        let mut leaves = Vec::new();
        for (_, value) in rows {
            let chunk = ChunkParts::parse(&value).unwrap();
            assert_eq!(chunk.first, leaves.len() as u64);
            leaves.extend(chunk.events.iter().map(|(entry, _)| leaf_hash(entry)));
        }
        let log = self.place.open(options());
        assert_eq!(
            (log.size(), log.root()),
            (leaves.len() as u64, root_of(leaves))
        );
    }

    fn check(&self) {
        let log = self.log();
        let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
        assert!(report.valid, "{report:?}");
        assert_eq!((report.size, report.root), (self.model.size(), log.root()));
        for check in log.check_folds(None, &|_, _| {}).unwrap() {
            assert!(check.is_equal(), "{check:?}");
        }
        let mut rows: BTreeMap<_, _> = log
            .fold_rows("tally", b"", b"", usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(key, row)| (key, Tally::number(&row)))
            .collect();
        assert_eq!(rows.remove(&Tally::type_key("log.genesis")), Some(1));
        rows.remove(&Tally::stream_key("log")).unwrap();
        assert_eq!(rows, self.model.tally());
        let mut count = 0;
        for record in log
            .read(Read::new(Query::everything()).from(1_u64))
            .unwrap()
        {
            count += 1;
            let record = record.unwrap();
            assert_eq!(record.position.get(), count);
            self.compare(&record);
        }
        assert_eq!(count + 1, self.model.size());
    }
}

fn cases() -> u32 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how long to run"
    )]
    let given = std::env::var("RUNSTONE_MODEL_CASES");
    given.map_or(24, |cases| cases.parse().expect("a number of cases"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_is_a_list(
        sealed in any::<bool>(),
        actions in prop::collection::vec(action(), 1..70),
    ) {
        let mut pair = Pair::new(if sealed { Sealing::Required } else { Sealing::Plain });
        for action in &actions {
            pair.take(action);
        }
        pair.check();
        pair.take(&Action::Close);
    }
}
