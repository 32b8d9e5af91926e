//! Checks on what must not be recorded.

use super::{Make, numbered, plainly, refused};
use runstone_codec::{NewEvent, Position};
use runstone_store::{Append, AppendError, Condition, Item, Log, OpenOptions, Query};

fn log_with_orders(make: Make<'_>) -> Log {
    let log = make(plainly());
    let order = |kind: &str, stream: &str, tags: &[&str]| {
        log.append_blocking(NewEvent::new(kind, stream).tags(tags.iter().copied()))
            .unwrap()
            .first
            .get()
    };
    assert_eq!(order("shop.ordered", "cart-1", &["user:1", "item:a"]), 1);
    assert_eq!(order("shop.paid", "cart-1", &["user:1"]), 2);
    assert_eq!(order("shop.ordered", "cart-2", &["user:2", "item:a"]), 3);
    assert_eq!(order("stock.moved", "depot", &["item:b"]), 4);
    log
}

fn append_if(log: &Log, condition: Condition) -> Result<(), AppendError> {
    let event = NewEvent::new("data.tried", "tries");
    log.append_blocking(Append::new([event]).condition(condition))
        .map(|_| ())
}

/// What `query` finds after `after`; a condition that holds leaves an event of another type.
fn met(log: &Log, query: impl Into<Query>, after: Option<u64>) -> Option<u64> {
    let mut condition = Condition::none(query.into());
    condition.after = after;
    match append_if(log, condition) {
        Ok(()) => None,
        Err(AppendError::ConditionFailed { position }) => Some(position),
        Err(error) => panic!("{error}"),
    }
}

/// A condition by tag, type, namespace, stream, or several of these, fails exactly if an event
/// matches, and says which.
pub fn conditions_fail_if_an_event_matches(make: Make<'_>) {
    let log = log_with_orders(make);
    let item = Item::new;
    for (query, newest) in [
        (item().tag("user:1"), Some(2)),
        (item().tag("user:9"), None),
        (item().of_type("shop.ordered"), Some(3)),
        (item().of_type("shop.cancelled"), None),
        (item().of_type("shop.*"), Some(3)),
        (item().of_type("sho.*"), None),
        (item().stream("cart-1"), Some(2)),
        (item().stream("cart-9"), None),
        (item().tag("user:1").tag("item:a"), Some(1)),
        (item().tag("user:2").tag("item:b"), None),
        (item().stream("cart-1").of_type("shop.ordered"), Some(1)),
        (item().stream("cart-2").of_type("shop.paid"), None),
        (item().of_type("shop.paid").of_type("stock.moved"), Some(4)),
        (
            item().stream("cart-1").of_type("shop.*").tag("item:a"),
            Some(1),
        ),
    ] {
        assert_eq!(met(&log, query.clone(), None), newest, "{query:?}");
    }
}

/// Events up to `after` do not count, the one at `after` included.
pub fn after_is_exclusive(make: Make<'_>) {
    let log = log_with_orders(make);
    let user = || Query::tag("user:1");
    assert_eq!(met(&log, user(), Some(0)), Some(2));
    assert_eq!(met(&log, user(), Some(1)), Some(2));
    assert_eq!(met(&log, user(), Some(2)), None);
    assert_eq!(met(&log, user(), Some(u64::MAX)), None);
    let both = || Item::new().tag("user:1").tag("item:a");
    assert_eq!(met(&log, both(), Some(0)), Some(1));
    assert_eq!(met(&log, both(), Some(1)), None);
    let last = log.size() - 1;
    assert_eq!(met(&log, Query::everything(), Some(last - 1)), Some(last));
    assert_eq!(met(&log, Query::everything(), Some(last)), None);
}

/// Items are alternatives: one match is enough.
pub fn items_are_alternatives(make: Make<'_>) {
    let log = log_with_orders(make);
    let either = Query::tag("user:9").or(Item::new().of_type("shop.paid"));
    assert_eq!(met(&log, either, None), Some(2));
    let neither = Query::tag("user:9").or(Item::new().of_type("shop.cancelled"));
    assert_eq!(met(&log, neither, None), None);
}

/// All conditions of a request must hold, and its own events do not count.
pub fn own_events_do_not_count(make: Make<'_>) {
    let log = make(plainly());
    let once = |n| {
        Append::new([
            numbered("s", n).tag("once:1"),
            numbered("s", n + 1).tag("once:1"),
        ])
        .condition(Condition::none(Query::tag("never:1")))
        .condition(Condition::none(Query::tag("once:1")))
    };
    log.append_blocking(once(1)).unwrap();
    assert_eq!(refused(log.append_blocking(once(3))), "condition_failed");
    assert_eq!(log.size(), 3);
}

/// A condition sees the earlier requests of its group.
pub fn conditions_see_earlier_requests_of_the_group(make: Make<'_>) {
    let log = make(plainly());
    let claim = |n| {
        Append::new([numbered("s", n).tag("claim:x")])
            .condition(Condition::none(Query::tag("claim:x")))
    };
    let answers = log.append_many_blocking((0..50).map(claim).collect());
    assert!(answers[0].is_ok());
    for answer in &answers[1..] {
        let error = answer.as_ref().unwrap_err();
        assert!(
            matches!(error, AppendError::ConditionFailed { position: 1 }),
            "{error}"
        );
    }
    let again = claim(50).condition(Condition::none_after(Query::tag("n:0"), Position::new(0)));
    assert_eq!(refused(log.append_blocking(again)), "condition_failed");
    assert_eq!(log.size(), 2);
}

/// Filters without an index cannot stand in a condition, nor can an item without any filter.
pub fn unindexed_conditions_are_refused(make: Make<'_>) {
    let log = log_with_orders(make);
    for text in [
        "source=me",
        "principal=system:keyring",
        "authority=human",
        "causation=none",
        "correlation=none",
        "scope=default",
        "stream=cart-1;source=me",
        "tag=user:9 or source=me",
    ] {
        let condition = Condition::none(Query::parse(text).unwrap());
        assert_eq!(
            refused(append_if(&log, condition)),
            "condition_unindexed",
            "{text}"
        );
    }
    let anything = Condition::none(Item::new().into());
    assert_eq!(refused(append_if(&log, anything)), "condition_unindexed");
    assert_eq!(log.size(), 5);
}

/// A condition that would have to look at too much is refused; a narrower one is decided.
pub fn conditions_too_broad_are_refused(make: Make<'_>) {
    let mut open = OpenOptions::default();
    open.options.condition_scan = 50;
    let log = make(open);
    // Two tags that are both frequent and never meet.
    let apart = (0..600).map(|n| numbered("s", n).tag(format!("half:{}", n % 2)));
    log.append_blocking(Append::new(apart)).unwrap();
    let broad = || Item::new().tag("half:0").tag("half:1");
    let error = append_if(&log, Condition::none(broad().into())).unwrap_err();
    assert!(
        matches!(error, AppendError::ConditionTooBroad { limit: 50 }),
        "{error}"
    );
    assert!(error.to_string().contains("condition_scan"));
    let late = Condition::none_after(broad().into(), Position::new(590));
    append_if(&log, late).unwrap();
    append_if(&log, Condition::none(broad().tag("n:900").into())).unwrap();
    let single = append_if(&log, Condition::none(Query::tag("half:0")));
    assert_eq!(refused(single), "condition_failed");
}
