//! The log as a whole, small.

use crate::*;
use runstone_codec::NewEvent;
use std::sync::Arc;

fn event(stream: &str, n: u32) -> NewEvent {
    NewEvent::new("tool.call.requested", stream)
        .tag(format!("n:{n}"))
        .payload(format!("{{\"n\":{n}}}").into_bytes())
}

#[test]
fn appends_read_back() {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    for n in 0..300 {
        let answer = log.append_blocking(event("s", n)).unwrap();
        assert_eq!(answer.first.get(), u64::from(n) + 1);
    }
    let records: Vec<_> = log
        .read(Read::new(Query::stream("s")))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(records.len(), 300);
    assert_eq!(records[7].payload.bytes().unwrap(), b"{\"n\":7}");
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    let error = log
        .append_blocking(Append::new([event("s", 1)]).expect("s", Expected::NoStream))
        .unwrap_err();
    assert_eq!(error.code(), "conflict");
}

#[test]
fn a_file_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.redb");
    let log = Log::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
    for n in 0..200 {
        log.append_blocking(event("s", n)).unwrap();
    }
    let (size, root) = (log.size(), log.root());
    drop(log);
    let log = Log::open(&path, OpenOptions::default()).unwrap();
    assert_eq!((log.size(), log.root()), (size, root));
    let many: Vec<_> = (0..5000).map(|n| Append::new([event("t", n)])).collect();
    for answer in log.append_many_blocking(many) {
        answer.unwrap();
    }
    let (size, root) = (log.size(), log.root());
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    log.close_blocking().unwrap();
    let log = Log::open(&path, OpenOptions::default()).unwrap();
    assert_eq!((log.size(), log.root()), (size, root));
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    assert_eq!(log.count(&Query::of_type("tool.*")).unwrap(), 5200);
    let backup = dir.path().join("copy.redb");
    log.backup(&backup, &|_, _| {}).unwrap();
    let open = OpenOptions {
        keys: Some(default_keys_path(&path)),
        ..OpenOptions::default()
    };
    let copy = Log::open(&backup, open).unwrap();
    assert_eq!(copy.root(), root);
    assert_eq!(
        copy.append_blocking(event("x", 1)).unwrap_err().code(),
        "read_only"
    );
    let _ = Arc::new(copy);
}

#[test]
fn known_ids_answer_as_before() {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    let id = uuid::Uuid::from_u128(7);
    let first = log.append_blocking(event("s", 1).id(id)).unwrap();
    let again = log.append_blocking(event("s", 1).id(id)).unwrap();
    assert!(again.duplicate && again.first == first.first);
    let other = log.append_blocking(event("s", 2).id(id)).unwrap_err();
    assert_eq!(other.code(), "event_id_conflict");
}

/// A key may be destroyed after events were sealed with it and before it is their turn: then they are
/// sealed again, and nothing is recorded that nobody can read.
#[test]
fn a_key_destroyed_in_between_is_not_used() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let mut open = OpenOptions::default();
    open.options.background = false;
    let log = Log::memory(&CreateOptions::default(), open).unwrap();
    let keys = Arc::clone(&log.here().unwrap().shared.identity.keys);
    log.append_blocking(event("s", 0).scope("ann")).unwrap();
    let mut appending = Box::pin(log.append(event("s", 1)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(appending.as_mut().poll(&mut context).is_pending());
    let destroyed = keys.scope_keys("ann");
    keys.erase(&destroyed).unwrap();
    let appended = loop {
        if let Poll::Ready(answer) = appending.as_mut().poll(&mut context) {
            break answer.unwrap();
        }
    };
    let record = log.record(appended.first).unwrap();
    assert_eq!(record.payload.bytes().unwrap(), b"{\"n\":1}");
    assert!(!destroyed.contains(&record.header.key_id.unwrap()));
}
