//! Requests are whole, and each answers for itself.

use super::{Make, check_sound, everything, numbered, plainly, read, refused, text};
use runstone_codec::{Control, Draft, NewEvent};
use runstone_store::{Append, AppendError, Condition, Decision, Expected, Query, Read};
use uuid::Uuid;

/// Requests that are refused for every reason, among good ones.
fn mixed() -> Vec<(Append, Option<&'static str>)> {
    let good = |n| (Append::from(numbered("s", n)), None);
    let bad = |event: NewEvent, code| (Append::from(event), Some(code));
    let known = Uuid::from_u128(9);
    vec![
        (Append::from(numbered("s", 0).id(known)), None),
        bad(NewEvent::new("run.started", "s"), "owned_namespace"),
        good(1),
        bad(NewEvent::new("data", "s"), "bad_event_type"),
        bad(numbered("", 0), "field_empty"),
        bad(numbered("log", 0), "reserved"),
        good(2),
        bad(numbered("s", 0).payload("{"), "payload_not_json"),
        bad(numbered("s", 0).tag("no colon"), "bad_tag"),
        bad(numbered("s", 0).scope("other"), "scope_mismatch"),
        bad(numbered("s", 99).id(known), "event_id_conflict"),
        good(3),
        (Append::new([]), Some("empty")),
        (
            Append::from(numbered("s", 0)).expect("s", Expected::NoStream),
            Some("conflict"),
        ),
        (
            Append::from(numbered("s", 0)).condition(Condition::none(Query::tag("n:2"))),
            Some("condition_failed"),
        ),
        (
            Append::new([numbered("s", 0).id(known), numbered("s", 7)]),
            Some("partial_duplicate"),
        ),
        (
            Append::from(numbered("s", 4)).expect("s", Expected::Exact(3)),
            None,
        ),
    ]
}

/// A request that is refused does not fail its neighbours, and leaves nothing behind.
pub fn a_refused_request_fails_alone(make: Make<'_>) {
    let log = make(plainly());
    let (requests, codes): (Vec<_>, Vec<_>) = mixed().into_iter().unzip();
    let answers = log.append_many_blocking(requests);
    assert_eq!(answers.len(), codes.len());
    for (answer, code) in answers.iter().zip(&codes) {
        assert_eq!(
            answer.as_ref().err().map(AppendError::code),
            *code,
            "{answer:?}"
        );
    }
    let texts: Vec<_> = read(&log, Read::new(Query::stream("s")))
        .iter()
        .map(|record| text(record).to_owned())
        .collect();
    assert_eq!(
        texts,
        (0..5).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>()
    );
    check_sound(&log);
}

/// The events of a request stand next to each other, or none of them is there.
pub fn a_request_is_whole_or_absent(make: Make<'_>) {
    let log = make(plainly());
    let three = |middle: NewEvent| Append::new([numbered("a", 1), middle, numbered("b", 3)]);
    log.append_blocking(three(numbered("c", 2))).unwrap();
    let before = log.root();
    for middle in [
        NewEvent::new("run.started", "c"),
        numbered("c", 2).payload("nope"),
        numbered("c", 2).scope("other"),
        numbered("c", 2).tags(["x:1", "x:1"]),
        numbered("c", 2).scope("_log"),
    ] {
        log.append_blocking(three(middle)).unwrap_err();
        assert_eq!((log.size(), log.root()), (4, before));
    }
    let streams: Vec<_> = everything(&log)
        .into_iter()
        .map(|record| record.header.stream)
        .collect();
    assert_eq!(streams, ["log", "a", "c", "b"]);
}

/// Control that does not fit is refused to whoever gave it, and to nobody else.
pub fn control_that_is_too_long_fails_alone(make: Make<'_>) {
    let log = make(plainly());
    let draft = |n| Draft::from(numbered("s", n));
    let long = || Control::new().bytes(1, vec![7; 2000]);
    let answers = log.import_blocking(vec![
        vec![draft(0)],
        vec![draft(10), draft(11).control(long())],
        vec![draft(12).control(long())],
        vec![draft(1)],
    ]);
    let codes: Vec<_> = answers
        .iter()
        .map(|a| a.as_ref().err().map(AppendError::code))
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some("control_too_long"),
            Some("control_too_long"),
            None
        ]
    );
    let two = vec![draft(20), draft(21)];
    let decided = log.command_blocking(two, move |_| {
        Ok(Decision::record(0, Control::new(), ()).and(1, long()))
    });
    assert_eq!(refused(decided), "control_too_long");
    log.append_blocking(numbered("s", 2)).unwrap();
    let texts: Vec<_> = everything(&log)[1..]
        .iter()
        .map(|r| text(r).to_owned())
        .collect();
    assert_eq!(texts, [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]);
    check_sound(&log);
}

/// Requests in one call are decided in their order.
pub fn requests_keep_their_order(make: Make<'_>) {
    let log = make(plainly());
    let requests = (0..1000).map(|n| Append::from(numbered(&format!("s{}", n % 7), n)));
    for (position, answer) in (1..).zip(log.append_many_blocking(requests.collect())) {
        assert_eq!(answer.unwrap().first.get(), position);
    }
    assert!(log.append_many_blocking(Vec::new()).is_empty());
}
