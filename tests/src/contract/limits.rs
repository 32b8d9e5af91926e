//! Every limit has an option, and its error names it.

use super::{Make, everything, numbered, plainly, refused};
use runstone_codec::NewEvent;
use runstone_store::{Append, AppendError, LogOptions, OpenOptions, Query, Read};

fn limited(limit: impl FnOnce(&mut LogOptions)) -> OpenOptions {
    let mut open = OpenOptions::default();
    limit(&mut open.options);
    open
}

/// Payload bytes and tags of one event.
pub fn events_are_bounded(make: Make<'_>) {
    let log = make(limited(|options| {
        options.limits.payload_bytes = 100;
        options.limits.tags = 2;
    }));
    let payload = |bytes: usize| numbered("s", 0).payload(format!("\"{}\"", "x".repeat(bytes - 2)));
    log.append_blocking(payload(100)).unwrap();
    let error = log.append_blocking(payload(101)).unwrap_err();
    assert_eq!(error.code(), "payload_too_large");
    assert!(
        error.to_string().contains("101") && error.to_string().contains("100"),
        "{error}"
    );
    let tags = |tags: &[&str]| NewEvent::new("data.noted", "s").tags(tags.iter().copied());
    log.append_blocking(tags(&["a:1", "b:1"])).unwrap();
    let error = log
        .append_blocking(tags(&["a:1", "b:1", "c:1"]))
        .unwrap_err();
    assert_eq!(error.code(), "too_many_tags");
    assert!(error.to_string().contains("at most 2"), "{error}");
    assert_eq!(log.size(), 3);
}

/// Events and payload bytes of one append.
pub fn appends_are_bounded(make: Make<'_>) {
    let log = make(limited(|options| {
        options.append_events = 3;
        options.append_bytes = 60;
    }));
    let append = |count: u64| Append::new((0..count).map(|n| numbered("s", n)));
    log.append_blocking(append(3)).unwrap();
    let error = log.append_blocking(append(4)).unwrap_err();
    assert!(
        matches!(
            error,
            AppendError::Limit {
                actual: 4,
                limit: 3,
                option: "append_events",
                ..
            }
        ),
        "{error}"
    );
    let heavy = Append::new([1, 2].map(|n| numbered("s", n).payload(format!("{:>31}", 1))));
    let error = log.append_blocking(heavy).unwrap_err();
    assert!(
        matches!(
            error,
            AppendError::Limit {
                actual: 62,
                limit: 60,
                option: "append_bytes",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("append_bytes"), "{error}");
    assert_eq!(log.size(), 4);
}

/// Names, types and tags have lengths that no option changes, and so has the header of an event.
pub fn headers_are_bounded(make: Make<'_>) {
    let log = make(plainly());
    let long = |bytes: usize| "x".repeat(bytes);
    log.append_blocking(numbered(&long(255), 0).scope(long(255)).source(long(255)))
        .unwrap();
    for (event, code) in [
        (numbered(&long(256), 0), "field_too_long"),
        (numbered("s", 0).scope(long(256)), "field_too_long"),
        (numbered("s", 0).source(long(256)), "field_too_long"),
        (
            numbered("s", 0).tag(format!("k:{}", long(257))),
            "field_too_long",
        ),
        (numbered("s", 0).tag(format!("{}:v", long(65))), "bad_tag"),
        (
            NewEvent::new(format!("data.{}", long(124)), "s"),
            "field_too_long",
        ),
        (numbered("s\n", 0), "field_control_character"),
        (numbered("s\0", 0), "field_control_character"),
        (
            numbered("s", 0).source("a\u{7f}"),
            "field_control_character",
        ),
    ] {
        assert_eq!(
            refused(log.append_blocking(event.clone())),
            code,
            "{event:?}"
        );
    }
    let tags = (0..20).map(|n| format!("k{n}:{}", long(250)));
    let error = log
        .append_blocking(NewEvent::new("data.noted", "s").tags(tags))
        .unwrap_err();
    assert!(
        error.code().starts_with("header"),
        "{}: {error}",
        error.code()
    );
    assert_eq!(log.size(), 2);
}

/// A full queue refuses what does not fit, says so, and takes it when there is room.
pub fn a_full_queue_refuses(make: Make<'_>) {
    let log = make(limited(|options| options.queue_events = 10));
    let single = |n| Append::from(numbered("s", n));
    let answers = log.append_many_blocking((0..25).map(single).collect());
    let taken = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert_eq!(taken, 10);
    for answer in &answers[taken..] {
        let error = answer.as_ref().unwrap_err();
        assert!(
            matches!(error, AppendError::QueueFull { limit: 10 }),
            "{error}"
        );
        assert!(error.is_retryable() && error.to_string().contains("queue_events"));
    }
    log.append_blocking(single(10)).unwrap();
    assert_eq!(everything(&log).len(), 12);
    let log = make(limited(|options| options.queue_bytes = 4096));
    let answers = log.append_many_blocking((0..25).map(single).collect());
    assert!(answers[0].is_ok());
    assert_eq!(
        refused(answers.into_iter().next_back().unwrap()),
        "queue_full"
    );
}

/// Groups are cut at their limits, and nothing shows where.
pub fn groups_are_bounded(make: Make<'_>) {
    let log = make(limited(|options| {
        options.group_events = 7;
        options.group_bytes = 2000;
        options.maintenance_commits = 3;
    }));
    let requests =
        (0..500_u64).map(|n| Append::new((0..1 + n % 4).map(|part| numbered("s", 10 * n + part))));
    for answer in log.append_many_blocking(requests.collect()) {
        answer.unwrap();
    }
    super::check_sound(&log);
    assert_eq!(log.count(&Query::stream("s")).unwrap(), log.size() - 1);
}

/// Subscriptions are counted, and one that ends makes room.
pub fn subscribers_are_bounded(make: Make<'_>) {
    let log = make(limited(|options| options.subscribers = 2));
    let follow = || log.subscribe(Read::new(Query::everything()));
    let (first, _second) = (follow().unwrap(), follow().unwrap());
    let error = follow().unwrap_err();
    assert!(error.to_string().contains("option subscribers"), "{error}");
    drop(first);
    follow().unwrap();
}
