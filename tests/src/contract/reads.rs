//! Reading what is recorded.

use super::{Make, numbered, plainly, positions, read};
use runstone_codec::{NewEvent, Position};
use runstone_store::{Append, Item, Log, ManualClock, OpenOptions, Payload, Query, Read};
use std::sync::Arc;
use uuid::Uuid;

/// Forty events after the genesis: streams `s0` to `s2`, types and tags that repeat with 2 and 5.
fn forty(make: Make<'_>) -> Log {
    let log = make(plainly());
    let events = (1..=40_u64).map(|n| {
        let event_type = ["data.noted", "data.moved", "tool.called"]
            [usize::from(n % 4 == 0) * 2 + usize::from(n % 4 == 2)];
        NewEvent::new(event_type, format!("s{}", n % 3))
            .tags([format!("two:{}", n % 2), format!("five:{}", n % 5)])
            .occurred_at_us(1000 * (41 - n))
            .source(format!("agent-{}", n % 2))
    });
    log.append_blocking(Append::new(events)).unwrap();
    log
}

fn which(wanted: impl Fn(u64) -> bool) -> Vec<u64> {
    (1..=40).filter(|n| wanted(*n)).collect()
}

/// Every way to select events gives exactly those that match, in order, forwards and backwards.
pub fn reads_select(make: Make<'_>) {
    let log = forty(make);
    let item = Item::new;
    let all = |query: Query, wanted: Vec<u64>| {
        assert_eq!(
            positions(&log, Read::new(query.clone())),
            wanted,
            "{query:?}"
        );
        let mut backwards = positions(&log, Read::new(query.clone()).reverse());
        backwards.reverse();
        assert_eq!(backwards, wanted, "{query:?} backwards");
        assert_eq!(log.count(&query).unwrap(), wanted.len() as u64, "{query:?}");
    };
    all(Query::everything(), (0..=40).collect());
    all(item().into(), (0..=40).collect());
    all(Query::Items(Vec::new()), Vec::new());
    all(Query::stream("s1"), which(|n| n % 3 == 1));
    all(Query::stream("s9"), Vec::new());
    all(Query::stream("log"), vec![0]);
    all(Query::of_type("tool.called"), which(|n| n % 4 == 0));
    all(Query::of_type("data.*"), which(|n| n % 4 != 0));
    all(Query::of_type("dat.*"), Vec::new());
    all(Query::tag("five:3"), which(|n| n % 5 == 3));
    all(
        item().tag("five:3").tag("two:1").into(),
        which(|n| n % 5 == 3 && n % 2 == 1),
    );
    all(item().tag("two:0").tag("two:1").into(), Vec::new());
    all(
        item()
            .stream("s0")
            .of_type("tool.called")
            .of_type("data.moved")
            .into(),
        which(|n| n % 3 == 0 && n % 2 == 0),
    );
    all(
        Query::stream("s0").or(item().tag("five:0")),
        which(|n| n % 3 == 0 || n % 5 == 0),
    );
    all(item().source("agent-1").into(), which(|n| n % 2 == 1));
    all(
        item().source("agent-1").tag("five:1").into(),
        which(|n| n % 2 == 1 && n % 5 == 1),
    );
    all(
        Query::parse("stream=s0;source=agent-0 or type=tool.*").unwrap(),
        which(|n| (n % 3 == 0 && n % 2 == 0) || n % 4 == 0),
    );
    all(
        Query::parse("authority=system;scope=default").unwrap(),
        which(|_| true),
    );
    all(Query::parse("authority=human").unwrap(), Vec::new());
    all(
        Query::parse("causation=none;principal=system:keyring").unwrap(),
        (0..=40).collect(),
    );
    let unknown = Query::parse(&format!("correlation={}", Uuid::from_u128(4))).unwrap();
    all(unknown, Vec::new());
}

/// Ranges include both ends, and a limit cuts what is left; both ways.
pub fn reads_are_bounded(make: Make<'_>) {
    let log = forty(make);
    let two = || Read::new(Query::tag("two:1"));
    assert_eq!(positions(&log, two().from(7_u64).to(11_u64)), [7, 9, 11]);
    assert_eq!(positions(&log, two().from(8_u64).to(10_u64)), [9]);
    assert_eq!(positions(&log, two().from(8_u64).to(8_u64)), [] as [u64; 0]);
    assert_eq!(
        positions(&log, two().from(11_u64).to(7_u64)),
        [] as [u64; 0]
    );
    assert_eq!(positions(&log, two().from(39_u64).to(u64::MAX)), [39]);
    assert_eq!(positions(&log, two().from(41_u64)), [] as [u64; 0]);
    assert_eq!(positions(&log, two().from(u64::MAX)), [] as [u64; 0]);
    assert_eq!(positions(&log, two().limit(3)), [1, 3, 5]);
    assert_eq!(positions(&log, two().limit(3).reverse()), [39, 37, 35]);
    assert_eq!(positions(&log, two().limit(3).from(10_u64)), [11, 13, 15]);
    assert_eq!(
        positions(&log, two().limit(3).to(10_u64).reverse()),
        [9, 7, 5]
    );
    assert_eq!(positions(&log, two().limit(0)), [] as [u64; 0]);
    assert_eq!(positions(&log, two().limit(0).reverse()), [] as [u64; 0]);
    assert_eq!(positions(&log, two().limit(u64::MAX)).len(), 20);
    let every = Read::new(Query::everything());
    assert_eq!(positions(&log, every.clone().to(0_u64)), [0]);
    assert_eq!(positions(&log, every.from(38_u64).reverse()), [40, 39, 38]);
    let position = Read::new(Query::everything()).from(Position::new(40));
    assert_eq!(positions(&log, position), [40]);
}

/// Times of the log select a range, times of producers filter; both ends are included.
pub fn reads_select_by_time(make: Make<'_>) {
    let start = 1_700_000_000_000_000;
    let clock = Arc::new(ManualClock::new(start));
    let mut open = OpenOptions::default();
    open.options.clock = clock.clone();
    let log = make(open);
    for n in 1..=9 {
        if n % 3 == 1 {
            clock.advance(1000);
        }
        let mut event = numbered("s", n);
        event.occurred_at_us = (n != 5).then_some(100 - n);
        log.append_blocking(event).unwrap();
    }
    let at = |since: Option<u64>, until: Option<u64>| {
        let mut read = Read::new(Query::everything());
        (read.since_us, read.until_us) = (since.map(|t| start + t), until.map(|t| start + t));
        let mut backwards = positions(&log, read.clone().reverse());
        backwards.reverse();
        assert_eq!(positions(&log, read.clone()), backwards);
        backwards
    };
    assert_eq!(at(Some(1000), Some(2000)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(at(Some(1001), Some(1999)), [] as [u64; 0]);
    assert_eq!(at(Some(1001), None), [4, 5, 6, 7, 8, 9]);
    assert_eq!(at(None, Some(0)), [0]);
    assert_eq!(at(None, Some(3000)), (0..=9).collect::<Vec<_>>());
    assert_eq!(at(Some(3001), None), [] as [u64; 0]);
    let mut before = Read::new(Query::everything());
    before.until_us = Some(start - 1);
    assert_eq!(positions(&log, before), [] as [u64; 0]);
    let mut produced = Read::new(Query::stream("s"));
    (produced.occurred_since_us, produced.occurred_until_us) = (Some(94), Some(97));
    assert_eq!(positions(&log, produced.clone()), [3, 4, 6]);
    produced.since_us = Some(start + 2000);
    assert_eq!(positions(&log, produced), [4, 6]);
}

/// A read sees what was there when it began, however long it takes.
pub fn a_read_is_fixed_when_it_begins(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(Append::new((0..2000).map(|n| numbered("s", n))))
        .unwrap();
    let mut begun = log.read(Read::new(Query::stream("s"))).unwrap();
    assert_eq!(begun.next().unwrap().unwrap().position.get(), 1);
    log.append_blocking(Append::new((2000..2100).map(|n| numbered("s", n))))
        .unwrap();
    assert_eq!(begun.by_ref().count(), 1999);
    assert!(begun.next().is_none());
    assert_eq!(log.count(&Query::stream("s")).unwrap(), 2100);
}

/// Payloads are left closed when they are not asked for.
pub fn payloads_can_be_skipped(make: Make<'_>) {
    let log = forty(make);
    let records = read(&log, Read::new(Query::stream("s1")).without_payloads());
    assert_eq!(records.len(), 14);
    assert!(
        records
            .iter()
            .all(|record| record.payload == Payload::Skipped)
    );
}

/// Statistics count what is there.
pub fn statistics_count_what_is_there(make: Make<'_>) {
    let log = forty(make);
    let stats = log.stats().unwrap();
    assert_eq!((stats.events, stats.durable, stats.streams), (41, 41, 4));
    assert_eq!(stats.root, log.root());
    let types: Vec<_> = stats
        .types
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    let wanted = [
        ("data.moved", 10),
        ("data.noted", 20),
        ("log.genesis", 1),
        ("tool.called", 10),
    ];
    assert_eq!(types, wanted);
    assert!(stats.bytes > 0 && stats.chunks > 0);
}
