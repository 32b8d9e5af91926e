//! Appending again with the same event ids.

use super::{Make, check_sound, numbered, plainly, refused};
use runstone_codec::{Draft, NewEvent};
use runstone_store::{Append, AppendError, Condition, Expected, Query};
use uuid::Uuid;

fn known(id: u128) -> NewEvent {
    numbered("s", 1).id(Uuid::from_u128(id))
}

/// A request whose events are all recorded is answered as the first time and changes nothing.
pub fn known_events_are_answered_as_before(make: Make<'_>) {
    let log = make(plainly());
    let three = || Append::new([known(1), known(2), known(3)]);
    log.append_blocking(numbered("s", 0)).unwrap();
    let first = log.append_blocking(three()).unwrap();
    assert!(!first.duplicate);
    log.append_blocking(numbered("s", 9)).unwrap();
    let before = log.root();
    let again = log.append_blocking(three()).unwrap();
    assert!(again.duplicate);
    assert_eq!(
        (again.first, again.last, again.ids),
        (first.first, first.last, first.ids)
    );
    assert_eq!((log.size(), log.root()), (6, before));
}

/// Another event under a known id is a conflict that names where the first one is.
pub fn another_event_under_a_known_id_conflicts(make: Make<'_>) {
    let log = make(plainly());
    let event = known(1).source("one").occurred_at_us(5);
    log.append_blocking(event.clone()).unwrap();
    let changed: [(&str, &dyn Fn(NewEvent) -> NewEvent); 9] = [
        ("payload", &|event| event.payload("{\"n\": 1}")),
        ("type", &|mut event| {
            event.event_type = "data.other".to_owned();
            event
        }),
        ("stream", &|mut event| {
            event.stream = "t".to_owned();
            event
        }),
        ("schema version", &|event| event.schema_version(2)),
        ("occurred at", &|event| event.occurred_at_us(6)),
        ("source", &|event| event.source("two")),
        ("causation", &|event| event.causation(Uuid::from_u128(7))),
        ("correlation", &|event| {
            event.correlation(Uuid::from_u128(7))
        }),
        ("tags", &|event| event.tag("more:1")),
    ];
    for (what, change) in changed {
        match log.append_blocking(change(event.clone())) {
            Err(AppendError::EventIdConflict { id, position }) => {
                assert_eq!((id, position), (Uuid::from_u128(1), 1), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let mut fewer = event.clone();
    fewer.tags.clear();
    assert_eq!(refused(log.append_blocking(fewer)), "event_id_conflict");
    assert!(log.append_blocking(event).unwrap().duplicate);
    assert_eq!(log.size(), 2);
}

/// Known events together with new ones are refused whole.
pub fn known_and_new_events_do_not_mix(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(Append::new([known(1), known(2)]))
        .unwrap();
    for mixed in [
        vec![known(1), known(3)],
        vec![known(3), known(2)],
        vec![known(1), numbered("s", 1)],
    ] {
        let total = mixed.len();
        match log.append_blocking(Append::new(mixed)) {
            Err(AppendError::PartialDuplicate {
                known: 1,
                total: all,
            }) => assert_eq!(all, total),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log.size(), 3);
}

/// Known events in another order are not the request that was recorded.
pub fn known_events_in_another_order_conflict(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(Append::new([known(1), known(2), known(3)]))
        .unwrap();
    for order in [[2, 1, 3], [1, 3, 2], [3, 2, 1]] {
        let swapped = Append::new(order.map(known));
        assert_eq!(
            refused(log.append_blocking(swapped)),
            "event_id_conflict",
            "{order:?}"
        );
    }
    let part = log
        .append_blocking(Append::new([known(2), known(3)]))
        .unwrap();
    assert!(part.duplicate);
    assert_eq!((part.first.get(), part.last.get()), (2, 3));
}

/// One id twice in one request is refused, not recorded twice.
pub fn one_id_twice_in_a_request_is_refused(make: Make<'_>) {
    let log = make(plainly());
    let twice = || Append::new([known(1), known(2), known(1)]);
    assert_eq!(refused(log.append_blocking(twice())), "duplicate_id");
    assert_eq!(log.size(), 1);
    log.append_blocking(Append::new([known(1), known(2)]))
        .unwrap();
    assert_eq!(refused(log.append_blocking(twice())), "duplicate_id");
    assert_eq!(log.size(), 3);
    check_sound(&log);
}

/// A request that stands twice in a group is recorded once and answered twice.
pub fn known_events_of_the_same_group_are_found(make: Make<'_>) {
    let log = make(plainly());
    let requests = [1, 2, 1, 2, 1].map(|id| Append::from(known(id)));
    let answers = log.append_many_blocking(requests.into_iter().collect());
    let places: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            answer
                .map(|answer| (answer.first.get(), answer.duplicate))
                .unwrap()
        })
        .collect();
    assert_eq!(
        places,
        [(1, false), (2, false), (1, true), (2, true), (1, true)]
    );
    assert_eq!(log.size(), 3);
}

/// Ids come before conditions: whoever repeats a request that won is told that it won.
pub fn ids_are_looked_at_before_conditions(make: Make<'_>) {
    let log = make(plainly());
    let claim = || {
        Append::from(known(1).tag("claim:x"))
            .expect("s", Expected::NoStream)
            .condition(Condition::none(Query::tag("claim:x")))
    };
    assert!(!log.append_blocking(claim()).unwrap().duplicate);
    assert!(log.append_blocking(claim()).unwrap().duplicate);
    let other =
        Append::from(known(2).tag("claim:x")).condition(Condition::none(Query::tag("claim:x")));
    assert_eq!(refused(log.append_blocking(other)), "condition_failed");
}

/// An import adds what is new and leaves what is known, even within one record.
pub fn imports_add_what_is_new(make: Make<'_>) {
    let log = make(plainly());
    let drafts = |ids: &[u128]| {
        ids.iter()
            .map(|id| Draft::from(known(*id)))
            .collect::<Vec<_>>()
    };
    let import = |records| {
        let answers = log.import_blocking(records).into_iter();
        answers
            .map(|answer| answer.map(|done| (done.added, done.skipped)))
            .collect::<Vec<_>>()
    };
    let records = vec![
        drafts(&[1, 2]),
        drafts(&[2, 3]),
        drafts(&[1]),
        drafts(&[5, 5]),
    ];
    let counts: Vec<_> = import(records).into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, [(2, 0), (1, 1), (0, 1), (1, 1)]);
    let owned = NewEvent::new("run.started", "s").id(Uuid::from_u128(4));
    assert_eq!(import(vec![vec![owned.into()]]).remove(0).unwrap(), (1, 0));
    let changed = vec![Draft::from(known(1).payload("1"))];
    assert_eq!(
        refused(import(vec![changed]).remove(0)),
        "event_id_conflict"
    );
    assert_eq!(refused(import(vec![Vec::new()]).remove(0)), "empty");
    assert_eq!(log.size(), 6);
}
