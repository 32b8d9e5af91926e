//! Following the log, and what is visible before it is durable.

use super::{Make, everything, numbered, plainly, read};
use runstone_codec::{Control, ControlValue, Draft, Keyed, NewEvent, Position};
use runstone_store::{
    Append, Durability, Erase, Log, Payload, Query, Read, Record, Sealing, Subscription,
};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use tokio_stream::{Stream, StreamExt};

fn next(subscription: &mut Subscription) -> u64 {
    subscription
        .next_blocking()
        .unwrap()
        .unwrap()
        .position
        .get()
}

/// Whether nothing is there to be read yet.
fn is_waiting(subscription: &mut Subscription) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(
        Pin::new(subscription).poll_next(&mut context),
        Poll::Pending
    )
}

fn follow(log: &Log, query: Query) -> Subscription {
    log.subscribe(Read::new(query)).unwrap()
}

/// A subscription gives what is there, then what comes, each event once, in order.
pub fn a_subscription_catches_up_and_follows(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(Append::new((1..1500).map(|n| numbered("s", n))))
        .unwrap();
    let mut subscription = follow(&log, Query::everything());
    for position in 0..1500 {
        assert_eq!(next(&mut subscription), position);
    }
    assert!(is_waiting(&mut subscription));
    let writer = log.clone();
    let appends = std::thread::spawn(move || {
        for n in 1500..1700 {
            writer.append_blocking(numbered("s", n)).unwrap();
        }
    });
    for position in 1500..1700 {
        assert_eq!(next(&mut subscription), position);
    }
    appends.join().unwrap();
    assert_eq!(subscription.cursor(), Position::new(1700));
}

/// The same as a stream, for callers with a runtime; several follow without each other.
pub fn a_subscription_is_a_stream(make: Make<'_>) {
    let log = make(plainly());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let followers: Vec<_> = (0..5)
            .map(|parity: u64| {
                let subscription = follow(&log, Query::tag(format!("half:{}", parity % 2)));
                tokio::spawn(async move {
                    let records = subscription.take(100).map(|record| record.unwrap());
                    let records: Vec<_> = records.collect().await;
                    let places = records.iter().map(|record| record.position.get());
                    assert!(places.clone().all(|place| place % 2 == parity % 2));
                    assert!(places.is_sorted());
                    records.len()
                })
            })
            .collect();
        for n in 1..=200 {
            let event = numbered("s", n).tag(format!("half:{}", n % 2));
            assert_eq!(log.append(event).await.unwrap().first.get(), n);
        }
        for follower in followers {
            assert_eq!(follower.await.unwrap(), 100);
        }
    });
}

/// A subscription passes over what does not match, and goes on from its cursor.
pub fn a_subscription_goes_on_from_its_cursor(make: Make<'_>) {
    let log = make(plainly());
    let streams = ["a", "b"].into_iter().cycle().take(2000);
    let events = (1..).zip(streams).map(|(n, stream)| numbered(stream, n));
    log.append_blocking(Append::new(events)).unwrap();
    let mut first = follow(&log, Query::stream("b"));
    assert_eq!([next(&mut first), next(&mut first)], [2, 4]);
    let read = Read::new(Query::stream("b")).from(first.cursor());
    let mut second = log.subscribe(read).unwrap();
    assert_eq!(next(&mut second), 6);
    let ahead = Read::new(Query::everything()).from(2002_u64);
    let mut ahead = log.subscribe(ahead).unwrap();
    assert!(is_waiting(&mut ahead));
    log.append_blocking(Append::new([numbered("a", 0), numbered("b", 0)]))
        .unwrap();
    assert_eq!(next(&mut ahead), 2002);
}

/// A subscription ends after as many events as were asked for, also of those that come later; it goes
/// forwards alone.
pub fn a_subscription_ends_at_its_limit(make: Make<'_>) {
    let log = make(plainly());
    for n in 1..=2 {
        log.append_blocking(numbered("s", n)).unwrap();
    }
    let limited = || Read::new(Query::stream("s")).limit(3);
    let mut blocking = log.subscribe(limited()).unwrap();
    let mut polled = log.subscribe(limited()).unwrap();
    let mut none = log.subscribe(limited().limit(0)).unwrap();
    assert!(none.next_blocking().is_none());
    for n in 3..=4 {
        log.append_blocking(numbered("s", n)).unwrap();
    }
    assert_eq!([1, 2, 3].map(|_| next(&mut blocking)), [1, 2, 3]);
    assert!(blocking.next_blocking().is_none());
    assert_eq!(blocking.cursor(), Position::new(4));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let given = runtime.unwrap().block_on(async {
        let mut given = Vec::new();
        while let Some(record) = polled.next().await {
            given.push(record.unwrap().position.get());
        }
        given
    });
    assert_eq!(given, [1, 2, 3]);
    let refused = log.subscribe(limited().reverse()).unwrap_err();
    assert_eq!(refused.code(), "bad_query");
}

/// Buffered events are visible at once, and followed only when they survive a crash.
pub fn buffered_events_are_followed_when_durable(make: Make<'_>) {
    let log = make(plainly());
    let buffered = |n| Append::from(numbered("s", n)).durability(Durability::Buffered);
    let mut subscription = follow(&log, Query::stream("s"));
    for n in 1..=3 {
        let answer = log.append_blocking(buffered(n)).unwrap();
        assert_eq!(answer.durability, Durability::Buffered);
        assert_eq!((log.size(), log.durable_size()), (n + 1, 1));
        assert_eq!(log.record_by_id(answer.ids[0]).unwrap().position.get(), n);
    }
    assert_eq!(everything(&log).len(), 4);
    assert!(is_waiting(&mut subscription));
    if let Ok(signed) = log.checkpoint() {
        assert_eq!(
            signed.checkpoint().size,
            1,
            "only what is durable is signed"
        );
    }
    log.sync_blocking().unwrap();
    assert_eq!((log.size(), log.durable_size()), (4, 4));
    assert_eq!(
        (1..=3).map(|_| next(&mut subscription)).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(log.checkpoint().unwrap().checkpoint().size, 4);

    log.append_blocking(buffered(4)).unwrap();
    assert!(is_waiting(&mut subscription));
    let synced = log.append_blocking(numbered("s", 5)).unwrap();
    assert_eq!(
        (synced.durability, log.durable_size()),
        (Durability::Synced, 6)
    );
    assert_eq!([next(&mut subscription), next(&mut subscription)], [4, 5]);
    super::check_sound(&log);
}

/// A subscriber that does not read neither slows the writer nor loses anything.
pub fn a_slow_subscriber_loses_nothing(make: Make<'_>) {
    let log = make(plainly());
    let mut slow = follow(&log, Query::stream("s"));
    log.append_blocking(numbered("s", 1)).unwrap();
    assert_eq!(next(&mut slow), 1);
    for n in 2..=700 {
        log.append_blocking(numbered("s", n)).unwrap();
    }
    for position in 2..=700 {
        assert_eq!(next(&mut slow), position);
    }
}

/// A subscription with a last position ends after it, whether that is there already or comes, and
/// whether or not it matches.
pub fn subscriptions_end_at_their_last_position(make: Make<'_>) {
    let log = make(plainly());
    let streams = ["a", "b"].into_iter().cycle().take(8);
    log.append_blocking(Append::new(
        (1..).zip(streams).map(|(n, stream)| numbered(stream, n)),
    ))
    .unwrap();
    let bounded = |query: Query, from: u64, to: u64| {
        let read = Read::new(query).from(from).to(to);
        log.subscribe(read).unwrap()
    };
    for (query, from, to, expected) in [
        (Query::everything(), 1, 3, vec![1, 2, 3]),
        (Query::stream("b"), 1, 5, vec![2, 4]),
        (Query::everything(), 8, 8, vec![8]),
        (Query::everything(), 4, 3, vec![]),
        (Query::stream("nowhere"), 0, 7, vec![]),
    ] {
        let mut subscription = bounded(query, from, to);
        for position in expected {
            assert_eq!(next(&mut subscription), position);
        }
        for _ in 0..2 {
            assert!(subscription.next_blocking().is_none());
        }
        assert_eq!(subscription.cursor(), Position::new(from.max(to + 1)));
    }
    // The last position is still to come.
    let mut ahead = bounded(Query::stream("b"), 6, 10);
    assert_eq!([next(&mut ahead), next(&mut ahead)], [6, 8]);
    assert!(is_waiting(&mut ahead));
    log.append_blocking(numbered("b", 9)).unwrap();
    assert_eq!(next(&mut ahead), 9);
    assert!(is_waiting(&mut ahead));
    log.append_blocking(Append::new((10..13).map(|n| numbered("a", n))))
        .unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let ended = Pin::new(&mut ahead).poll_next(&mut context);
    assert!(matches!(ended, Poll::Ready(None)));
}

/// Several who follow see what a read sees, whoever of them reads it first: whole events, those of a
/// query, or headers alone.
pub fn those_who_follow_see_what_a_read_sees(make: Make<'_>) {
    let log = make(plainly());
    let of = |query: &str| Read::new(Query::parse(query).unwrap());
    let wanted = [
        Read::new(Query::everything()),
        of("stream=s0"),
        Read::new(Query::everything()).without_payloads(),
        of("stream=s0|tag=n:7").without_payloads(),
        Read::new(Query::everything()).from(100_u64),
        Read::new(Query::everything()),
    ];
    let all = wanted.clone().map(|wanted| log.subscribe(wanted).unwrap());
    let mut following = all.map(|subscription| (subscription, Vec::new()));
    for group in 0..40_u64 {
        let events = (0..1 + group * 3 % 17).map(|n| numbered(&format!("s{}", n % 3), n + group));
        log.append_blocking(Append::new(events)).unwrap();
        let other = match group % 8 {
            // What is only buffered is followed with what comes after it.
            1 => Append::from(numbered("s0", 7)).durability(Durability::Buffered),
            3 => content(3_000).fields(true).occurred_at_us(9).into(),
            5 => content(300_000).into(),
            _ => {
                let imported = log.import_blocking(vec![vec![elsewhere(group)]]);
                assert!(imported.iter().all(Result::is_ok));
                numbered("s2", group).into()
            }
        };
        log.append_blocking(other).unwrap();
        // Some are ahead of the others, each in its turn.
        for (number, (subscription, seen)) in (0..).zip(&mut following) {
            while (group + number) % 4 > 0 && !is_there(subscription, seen) {}
        }
    }
    for ((subscription, seen), wanted) in following.iter_mut().zip(wanted) {
        while !is_there(subscription, seen) {}
        let read = read(&log, wanted);
        assert_eq!(format!("{seen:?}"), format!("{read:?}"));
        let contents = |records: &[Record]| -> Vec<_> {
            let contents = records.iter().map(|record| record.payload.clone());
            contents.collect()
        };
        assert!(contents(seen) == contents(&read));
    }
}

/// An event with so much content, which can be compressed.
fn content(bytes: usize) -> NewEvent {
    numbered("s0", 7).payload(format!("{{\"n\": \"{}\" }}", "again ".repeat(bytes / 6)))
}

/// An event from elsewhere, with its control and digests.
fn elsewhere(number: u64) -> Draft {
    let event = NewEvent::new("effect.claimed", "s1").payload(format!(" {number}\n"));
    let mut control = Control::new();
    control.insert(3, ControlValue::U64(number));
    Draft::new(event)
        .control(control)
        .keyed(Keyed::tag("key", "test", ["ann"]))
        .keyed(Keyed::control(1, "test", ["ann"]))
}

/// Takes the next event; answers whether everything is there.
fn is_there(subscription: &mut Subscription, seen: &mut Vec<Record>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(subscription).poll_next(&mut context) {
        Poll::Ready(record) => seen.push(record.unwrap().unwrap()),
        Poll::Pending => return true,
    }
    false
}

/// What was erased is erased for whoever follows, however many have read it before.
pub fn what_is_erased_is_followed_as_erased(make: Make<'_>) {
    let log = make(plainly());
    let mut first = follow(&log, Query::everything());
    let mut second = follow(&log, Query::everything());
    for n in 0..20 {
        log.append_blocking(numbered("s", n).scope("ann")).unwrap();
        while !is_waiting(&mut first) {}
        while !is_waiting(&mut second) {}
    }
    if log.info().sealing == Sealing::Plain {
        // Without a key nothing can be erased and stay where it is.
        return;
    }
    let erase = Erase::new("ann", "asked").defer_rewrite();
    log.erase(&erase, &|_, _| {}).unwrap();
    let mut third = log
        .subscribe(Read::new(Query::stream("s")).limit(20))
        .unwrap();
    while let Some(record) = third.next_blocking() {
        let payload = record.unwrap().payload;
        assert!(matches!(payload, Payload::Erased), "{payload:?}");
    }
    let from = Read::new(Query::everything()).from(10_u64).limit(5);
    let mut fourth = log.subscribe(from).unwrap();
    while let Some(record) = fourth.next_blocking() {
        let payload = record.unwrap().payload;
        assert!(matches!(payload, Payload::Erased), "{payload:?}");
    }
}

/// Whoever follows misses nothing and sees nothing twice while the log is written anew and opened again.
pub fn those_who_follow_go_on_through_erasures(make: Make<'_>) {
    let log = make(plainly());
    if log.info().sealing == Sealing::Required {
        follow_through_erasures(&log, &log);
    }
}

/// Follows by another handle of the log.
pub fn follow_through_erasures(log: &Log, followed: &Log) {
    let begin = log.size();
    let queries = || [Query::everything(), Query::tag("for:me")];
    let followers = queries().map(|query| {
        let read = Read::new(query).from(begin);
        let mut following = followed.subscribe(read).unwrap();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                match following.next_blocking().unwrap() {
                    Ok(record) => {
                        seen.push(record.position.get());
                        if record.header.stream == "end" {
                            return seen;
                        }
                    }
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        })
    });
    for round in 0..5 {
        let scope = format!("person-{round}");
        for n in 0..10 {
            let event = numbered(&scope, n).scope(&scope);
            let event = if n % 3 == 0 {
                event.tag("for:me")
            } else {
                event
            };
            log.append_blocking(event).unwrap();
        }
        log.erase(&Erase::new(&scope, "asked"), &|_, _| {}).unwrap();
    }
    log.append_blocking(numbered("end", 0).tag("for:me"))
        .unwrap();
    for (query, follower) in queries().into_iter().zip(followers) {
        let there = log.read(Read::new(query).from(begin)).unwrap();
        let there: Vec<_> = there.map(|record| record.unwrap().position.get()).collect();
        assert_eq!(follower.join().unwrap(), there);
    }
}

/// Closing ends every subscription, also those that wait.
pub fn subscriptions_end_when_the_log_closes(make: Make<'_>) {
    let log = make(plainly());
    let mut waiting = follow(&log, Query::tag("never:1"));
    let mut streaming = follow(&log, Query::tag("never:1"));
    let (report, reported) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        report.send(()).unwrap();
        waiting.next_blocking().is_none()
    });
    reported.recv().unwrap();
    assert!(is_waiting(&mut streaming));
    log.close_blocking().unwrap();
    assert!(thread.join().unwrap());
    assert!(streaming.next_blocking().is_none());
    let refused = log.subscribe(Read::new(Query::everything()));
    assert_eq!(refused.unwrap_err().code(), "closed");
}
