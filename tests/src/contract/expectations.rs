//! Optimistic checks on streams.

use super::{Make, everything, numbered, plainly, refused};
use runstone_store::{Append, AppendError, Expected};

/// `Any` holds always, `NoStream` before the first event only, `Exact` for the last revision only.
pub fn expectations_hold_or_conflict(make: Make<'_>) {
    let log = make(plainly());
    let append = |expected, number| {
        log.append_blocking(Append::new([numbered("s", number)]).expect("s", expected))
    };
    assert_eq!(refused(append(Expected::Exact(0), 0)), "conflict");
    append(Expected::NoStream, 0).unwrap();
    assert_eq!(refused(append(Expected::NoStream, 1)), "conflict");
    append(Expected::Any, 1).unwrap();
    assert_eq!(refused(append(Expected::Exact(0), 2)), "conflict");
    assert_eq!(refused(append(Expected::Exact(2), 2)), "conflict");
    append(Expected::Exact(1), 2).unwrap();
    assert_eq!(log.size(), 4);
}

/// A conflict says which stream it is and where it stands, and whoever retries with that wins.
pub fn a_conflict_says_where_the_stream_is(make: Make<'_>) {
    let log = make(plainly());
    let append = |expected| Append::new([numbered("t", 0)]).expect("s", expected);
    let Err(AppendError::Conflict {
        stream,
        expected,
        actual,
    }) = log.append_blocking(append(Expected::Exact(3)))
    else {
        panic!("no conflict")
    };
    assert_eq!(
        (stream.as_str(), expected, actual),
        ("s", Expected::Exact(3), None)
    );
    log.append_blocking(numbered("s", 0)).unwrap();
    let error = log.append_blocking(append(Expected::NoStream)).unwrap_err();
    assert!(!error.is_retryable(), "only another expectation can help");
    let AppendError::Conflict { actual, .. } = error else {
        panic!("no conflict")
    };
    let last = actual.expect("the stream is there");
    log.append_blocking(append(Expected::Exact(last))).unwrap();
    assert_eq!(log.size(), 3);
}

/// All expectations of a request must hold, also on streams that it does not write.
pub fn every_expectation_counts(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(numbered("a", 0)).unwrap();
    let both = |b| {
        Append::new([numbered("c", 0)])
            .expect("a", Expected::Exact(0))
            .expect("b", b)
    };
    assert_eq!(
        refused(log.append_blocking(both(Expected::Exact(0)))),
        "conflict"
    );
    log.append_blocking(both(Expected::NoStream)).unwrap();
    assert_eq!(log.size(), 3);
}

/// A request is decided against everything before it, earlier requests of its group included.
pub fn expectations_see_earlier_requests_of_the_group(make: Make<'_>) {
    let log = make(plainly());
    let first = |n| Append::new([numbered("s", n)]).expect("s", Expected::NoStream);
    let then = |n, last| Append::new([numbered("s", n)]).expect("s", Expected::Exact(last));
    let answers = log.append_many_blocking(vec![
        first(0),
        first(1),
        then(2, 0),
        then(3, 0),
        then(4, 1),
        first(5),
    ]);
    let won: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(won, [true, false, true, false, true, false]);
    let numbers: Vec<_> = everything(&log)[1..]
        .iter()
        .map(|record| record.header.tags[0].clone())
        .collect();
    assert_eq!(numbers, ["n:0", "n:2", "n:4"]);
}
