//! Where events stand, and that they stand as they were given.

use super::{Make, check_sound, everything, numbered, plainly, read, text};
use runstone_codec::{Authority, NewEvent};
use runstone_store::{Append, ManualClock, OpenOptions, Query, Read};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// A new log has its genesis at 0; whatever is appended follows without a gap, whichever way.
pub fn positions_are_dense_after_genesis(make: Make<'_>) {
    let log = make(plainly());
    let genesis = &everything(&log)[0];
    assert_eq!((log.size(), genesis.position.get()), (1, 0));
    assert_eq!(genesis.header.event_type, "log.genesis");
    assert_eq!(
        (genesis.header.stream.as_str(), genesis.revision.get()),
        ("log", 0)
    );

    let single = log.append_blocking(numbered("s", 1)).unwrap();
    assert_eq!((single.first.get(), single.last.get()), (1, 1));
    let three = log
        .append_blocking(Append::new((2..5).map(|n| numbered("s", n))))
        .unwrap();
    assert_eq!(
        (three.first.get(), three.last.get(), three.ids.len()),
        (2, 4, 3)
    );
    let many: Vec<_> = (5..300).map(|n| Append::from(numbered("s", n))).collect();
    for (position, answer) in (5..).zip(log.append_many_blocking(many)) {
        assert_eq!(answer.unwrap().first.get(), position);
    }
    let records = everything(&log);
    assert_eq!(records.len(), 300);
    for (position, record) in (0..).zip(&records) {
        assert_eq!(record.position.get(), position);
        if position > 0 {
            assert_eq!(text(record), format!("{{\"n\":{position}}}"));
        }
    }
    check_sound(&log);
}

/// Each stream counts its events from 0 without a gap, however streams are mixed.
pub fn revisions_are_dense_in_each_stream(make: Make<'_>) {
    let log = make(plainly());
    for round in 0..40 {
        let streams = ["a", "b", "c"]
            .iter()
            .cycle()
            .skip(round)
            .take(1 + round % 5);
        log.append_blocking(Append::new(streams.map(|stream| numbered(stream, 0))))
            .unwrap();
    }
    for stream in ["a", "b", "c"] {
        let records = read(&log, Read::new(Query::stream(stream)));
        assert!(records.len() > 20);
        for (revision, record) in (0..).zip(&records) {
            assert_eq!(record.revision.get(), revision);
            let found = log.record_by_revision(stream, revision).unwrap();
            assert_eq!(found.position, record.position);
        }
        let past = log.record_by_revision(stream, records.len() as u64);
        assert_eq!(past.unwrap_err().code(), "not_found");
    }
}

/// Times never decrease, not even when somebody sets the wall clock back.
pub fn times_never_decrease(make: Make<'_>) {
    let start = 1_700_000_000_000_000;
    let clock = Arc::new(ManualClock::new(start));
    let mut open = OpenOptions::default();
    open.options.clock = clock.clone();
    let log = make(open);
    for (number, wall) in [start + 5, start - 1_000_000, start + 4, start + 9]
        .iter()
        .enumerate()
    {
        clock.set_wall(*wall);
        log.append_blocking(numbered("s", number as u64)).unwrap();
    }
    let times: Vec<_> = everything(&log)
        .iter()
        .map(|record| record.recorded_at_us)
        .collect();
    assert_eq!(times, [start, start + 5, start + 5, start + 5, start + 9]);
}

/// Every member of an event, and every byte of its payload, is read as it was given.
pub fn events_read_as_given(make: Make<'_>) {
    let log = make(plainly());
    let (id, cause, whole) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let event = NewEvent::new("tool.call.requested", "r\u{fc}n 1")
        .id(id)
        .schema_version(7)
        .occurred_at_us(12)
        .source("planner")
        .causation(cause)
        .correlation(whole)
        .scope("customer-9")
        .tags(["z:1", "a:2", "a:1:1"]);
    for payload in [
        r#"{ "b":1,"a" : 2, "b":[1e999,-0,340282366920938463463374607431768211455] }"#,
        "null",
        r#""\u00e9\ud800""#,
    ] {
        let stream = format!("r\u{fc}n {}", payload.len());
        let mut event = event.clone().payload(payload);
        event.stream.clone_from(&stream);
        event.event_id = Some(Uuid::from_u128(payload.len() as u128));
        let answer = log.append_blocking(event).unwrap();
        let record = log.record(answer.first).unwrap();
        assert_eq!(text(&record), payload);
        let header = &record.header;
        assert_eq!(header.tags, ["a:1:1", "a:2", "z:1"]);
        assert_eq!(
            (header.event_id, header.stream.as_str()),
            (answer.ids[0], stream.as_str())
        );
        assert_eq!(header.event_type, "tool.call.requested");
        assert_eq!(
            (header.schema_version, header.occurred_at_us),
            (7, Some(12))
        );
        assert_eq!(
            (header.source.as_str(), header.scope.as_str()),
            ("planner", "customer-9")
        );
        assert_eq!(
            (header.causation, header.correlation),
            (Some(cause), Some(whole))
        );
        let who = (header.principal.as_str(), header.authority);
        assert_eq!(who, ("system:keyring", Authority::System));
        assert!(record.control.is_empty());
    }
    let long = format!("[\"{}\"]", "abc".repeat(400_000));
    let answer = log.append_blocking(NewEvent::new("data.noted", "s").payload(long.clone()));
    assert_eq!(text(&log.record(answer.unwrap().first).unwrap()), long);
}

/// Events without an id get one of their own, by which they are found.
pub fn ids_are_minted(make: Make<'_>) {
    let log = make(plainly());
    let events = (0..500).map(|n| numbered("s", n));
    let ids = log.append_blocking(Append::new(events)).unwrap().ids;
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 500);
    for (position, id) in (1..).zip(&ids) {
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(log.record_by_id(*id).unwrap().position.get(), position);
    }
    let unknown = log.record_by_id(Uuid::from_u128(5));
    assert_eq!(unknown.unwrap_err().code(), "not_found");
    let past = log.record(runstone_codec::Position::new(501));
    assert_eq!(past.unwrap_err().code(), "not_found");
}

/// Events of a long append are sealed at once, and stand in their order; if one cannot be, none does.
pub fn a_long_append_keeps_its_order(make: Make<'_>) {
    let log = make(plainly());
    let before = log.size();
    let events = || (0..1_001).map(|n| numbered(&format!("s{}", n % 3), n));
    let bad = events().chain([NewEvent::new("no type", "s0")]);
    assert!(log.append_blocking(Append::new(bad)).is_err());
    assert_eq!(log.size(), before);
    let answer = log.append_blocking(Append::new(events())).unwrap();
    assert_eq!(answer.ids.len(), 1_001);
    let records = everything(&log).split_off(usize::try_from(before).unwrap());
    for ((number, id), record) in (0..).zip(answer.ids).zip(&records) {
        assert_eq!(text(record), format!("{{\"n\":{number}}}"));
        assert_eq!(record.header.tags, [format!("n:{number}")]);
        assert_eq!(record.header.event_id, id);
    }
}
