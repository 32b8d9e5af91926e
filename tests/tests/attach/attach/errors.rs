//! Errors are of the same variants from afar.

use super::{Outcome, Site};
use runstone::{
    Append, AppendError, Condition, Disclose, Erase, EraseError, EvidenceError, Expected, Item,
    Log, LogOptions, NewEvent, Query, Runstone, Uuid,
};
use std::fmt::Debug;

fn event(stream: &str) -> NewEvent {
    NewEvent::new("chat.message", stream).payload("{}")
}

/// The refusals of both handles, which must be the same.
fn same<T: Debug, E: Debug>(logs: [&Log; 2], ask: impl Fn(&Log) -> Result<T, E>) -> Outcome<E> {
    let [here, there] = logs.map(|log| ask(log).map_err(|error| (format!("{error:?}"), error)));
    let (Err((here, _)), Err((there, error))) = (here, there) else {
        return Err("it is not refused".into());
    };
    assert_eq!(here, there);
    Ok(error)
}

fn pair(site: &Site) -> Outcome<[Runstone; 2]> {
    let mut options = LogOptions::default();
    options.append_events = 3;
    options.condition_scan = 20;
    let here = Runstone::options().storage(options).create(&site.log)?;
    Ok([here, Runstone::open(&site.log)?])
}

#[test]
fn refused_appends_say_the_same_from_afar() -> Outcome {
    let site = Site::new()?;
    let [here, there] = pair(&site)?;
    let known = Uuid::from_u128(7);
    here.append_blocking(event("s").id(known).scope("one"))?;
    let many = (0..120).map(|n| Append::new([event("many").tag(format!("half:{}", n % 2))]));
    for appended in here.append_many_blocking(many.collect()) {
        appended?;
    }
    let refused = |append: Append| same([&here, &there], |log| log.append_blocking(append.clone()));

    let stale = Append::new([event("s")]).expect("s", Expected::Exact(9));
    let AppendError::Conflict {
        stream,
        expected,
        actual,
    } = refused(stale)?
    else {
        return Err("no conflict".into());
    };
    assert_eq!(
        (stream.as_str(), expected, actual),
        ("s", Expected::Exact(9), Some(0))
    );
    let absent = Append::new([event("s")]).expect("none", Expected::Exact(9));
    assert_eq!(
        refused(absent)?.to_string(),
        "stream `none` is at none, expected 9; read it again and retry"
    );

    // Two tags that are both frequent and never meet.
    let broad = Item::new().tag("half:0").tag("half:1");
    let broad = Append::new([event("s")]).condition(Condition::none(Query::from(broad)));
    let cases = [
        (broad, "condition_too_broad"),
        (
            Append::new([event("s"), event("s"), event("s"), event("s")]),
            "limit",
        ),
        (Append::new([event("s").scope("two")]), "scope_mismatch"),
        (
            Append::new([NewEvent::new("run.started", "s")]),
            "owned_namespace",
        ),
        (
            Append::new([event("s").id(known).scope("one"), event("s")]),
            "partial_duplicate",
        ),
        (Append::new([NewEvent::new("Bad", "s")]), "bad_event_type"),
        (Append::new([event("s").payload("{")]), "payload_not_json"),
        (Append::new([event("t").scope("_own")]), "reserved"),
        (Append::new(std::iter::empty::<NewEvent>()), "empty"),
    ];
    for (append, code) in cases {
        let error = refused(append)?;
        assert!(!matches!(error, AppendError::Told(_)), "{error:?}");
        assert_eq!(error.code(), code);
    }
    Ok(())
}

#[test]
fn refused_erasures_and_disclosures_say_the_same_from_afar() -> Outcome {
    let site = Site::new()?;
    let [here, there] = pair(&site)?;
    let at = here.append_blocking(event("s").scope("ann"))?.first;
    let erase = |erase: Erase| same([&here, &there], |log| log.erase(&erase, &|_, _| {}));
    let error = erase(Erase::new("nobody", "gdpr-17"))?;
    assert!(matches!(error, EraseError::NotFound { .. }), "{error:?}");
    let error = erase(Erase::new("ann", "no code"))?;
    assert!(matches!(error, EraseError::Basis { .. }), "{error:?}");
    let held = here.hold("ann")?;
    let error = erase(Erase::new("ann", "gdpr-17"))?;
    assert!(
        matches!(error, EraseError::Held { position, .. } if position == held),
        "{error:?}"
    );

    let shown = Disclose::whole(at).to("no code");
    let error = same([&here, &there], |log| log.disclose(&shown))?;
    assert!(
        matches!(error, EvidenceError::Recipient { .. }),
        "{error:?}"
    );
    Ok(())
}
