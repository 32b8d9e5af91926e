//! Logs in files: reopening, copies, compaction.

use super::{Place, check_sound, everything, numbered, plainly, refused};
use runstone_codec::NewEvent;
use runstone_store::{
    Append, Condition, DecideContext, Decision, Durability, Expected, Log, OpenError, OpenOptions,
    Query, Read, Record,
};
use std::future::Future as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use uuid::Uuid;

fn assert_same(one: &[Record], other: &[Record]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(
            (one.position, one.revision),
            (other.position, other.revision)
        );
        assert_eq!((&one.header, &one.payload), (&other.header, &other.payload));
        assert_eq!(
            (one.recorded_at_us, &one.control),
            (other.recorded_at_us, &other.control)
        );
    }
}

/// After closing or dropping, everything is there as it was, and appending goes on.
pub fn a_log_reopens_as_it_was(place: &Place) {
    let mut log = place.create(plainly());
    let (id, mut next) = (Uuid::from_u128(1), 0);
    log.append_blocking(numbered("s", 0).id(id).tag("claim:x"))
        .unwrap();
    for round in 0..8_u64 {
        for _ in 0..=round * 20 {
            next += 1;
            log.append_blocking(numbered("s", next)).unwrap();
        }
        let (records, root) = (everything(&log), log.root());
        if round % 2 == 0 {
            log.close_blocking().unwrap();
        }
        drop(log);
        log = place.open(plainly());
        assert_eq!(
            (log.size(), log.durable_size(), log.root()),
            (next + 2, next + 2, root)
        );
        assert_same(&everything(&log), &records);
        // What was recorded is remembered by every check.
        assert!(
            log.append_blocking(numbered("s", 0).id(id).tag("claim:x"))
                .unwrap()
                .duplicate
        );
        let claim =
            Append::from(numbered("t", 0)).condition(Condition::none(Query::tag("claim:x")));
        assert_eq!(refused(log.append_blocking(claim)), "condition_failed");
        let behind = Append::from(numbered("s", 0)).expect("s", Expected::Exact(next - 1));
        assert_eq!(refused(log.append_blocking(behind)), "conflict");
        let scope = numbered("s", 0).scope("other");
        assert_eq!(refused(log.append_blocking(scope)), "scope_mismatch");
        check_sound(&log);
    }
}

/// Buffered events survive a close, and may be lost by a crash only from the end, whole.
pub fn buffered_events_survive_a_close(place: &Place) {
    let log = place.create(plainly());
    let buffered = |n| Append::from(numbered("s", n)).durability(Durability::Buffered);
    log.append_blocking(numbered("s", 1)).unwrap();
    for n in 2..50 {
        log.append_blocking(buffered(n)).unwrap();
    }
    assert_eq!((log.size(), log.durable_size()), (50, 2));
    let root = log.root();
    log.close_blocking().unwrap();
    let log = place.open(plainly());
    assert_eq!((log.size(), log.root()), (50, root));
    for n in 50..90 {
        log.append_blocking(buffered(n)).unwrap();
    }
    let root = log.root();
    log.sync_blocking().unwrap();
    drop(log);
    let log = place.open(plainly());
    assert_eq!((log.size(), log.root()), (90, root));
    log.append_blocking(buffered(90)).unwrap();
    drop(log);
    let log = place.open(plainly());
    assert!(log.size() == 90 || log.size() == 91);
    check_sound(&log);
}

/// A closed log answers `Closed` to everything, through every handle, and closing again is fine.
pub fn a_closed_log_says_so(place: &Place) {
    let log = place.create(plainly());
    let other = log.clone();
    log.append_blocking(numbered("s", 1)).unwrap();
    log.close_blocking().unwrap();
    log.close_blocking().unwrap();
    for log in [&log, &other] {
        assert_eq!(refused(log.append_blocking(numbered("s", 2))), "closed");
        assert_eq!(refused(log.sync_blocking()), "closed");
        assert_eq!(
            refused(
                log.import_blocking(vec![vec![numbered("s", 2).into()]])
                    .remove(0)
            ),
            "closed"
        );
        assert_eq!(log.record_by_revision("s", 0).unwrap_err().code(), "closed");
        assert_eq!(log.count(&Query::stream("s")).unwrap_err().code(), "closed");
        assert_eq!(log.checkpoint().unwrap_err().code(), "closed");
        let read = log.read(Read::new(Query::stream("s")));
        let outcome = read.and_then(|mut records| records.next().transpose());
        assert_eq!(outcome.unwrap_err().code(), "closed");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(other.close()).unwrap();
    assert_eq!(
        refused(runtime.block_on(other.append(numbered("s", 2)))),
        "closed"
    );
    // The file is free although the handles are still there.
    assert_eq!(place.open(plainly()).size(), 2);
}

/// A dropped log lets go of its file at once, whichever thread did the writing.
pub fn a_dropped_log_is_free(place: &Place) {
    drop(place.create(plainly()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for n in 0..50 {
        let log = place.open(plainly());
        runtime.block_on(log.append(numbered("s", n))).unwrap();
        drop(log);
    }
    assert_eq!(place.open(plainly()).size(), 51);
}

/// A command that nobody waits for any more, and that holds a handle itself, keeps nothing open.
pub fn a_command_that_is_given_up_keeps_nothing_open(place: &Place) {
    drop(place.create(plainly()));
    for _ in 0..20 {
        // The one before may be on its way out.
        let log = std::iter::repeat_with(|| {
            std::thread::yield_now();
            Log::open(&place.path(), plainly())
        })
        .take(100_000)
        .find_map(Result::ok);
        let log = log.unwrap();
        assert_eq!(log.size(), 1);
        let (sent, decided) = std::sync::mpsc::channel();
        let held = log.clone();
        let decide = move |_: &mut DecideContext<'_>| {
            let _ = (held.size(), sent.send(()));
            Ok(Decision::nothing(()))
        };
        let mut given_up = Box::pin(log.command(Vec::new(), decide));
        let _ = given_up
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        drop(given_up);
        drop(log);
        while decided.recv().is_ok() {}
    }
}

/// What is there already is not overwritten, and what is not there is not found.
pub fn files_are_not_overwritten(place: &Place) {
    let missing = Log::open(&place.path(), plainly()).unwrap_err();
    assert!(matches!(missing, OpenError::NotFound { .. }), "{missing}");
    let log = place.create(plainly());
    log.append_blocking(numbered("s", 1)).unwrap();
    let busy = Log::open(&place.path(), plainly()).unwrap_err();
    assert!(
        matches!(busy, OpenError::Busy { .. }) && busy.is_retryable(),
        "{busy}"
    );
    let taken = Log::create(
        &place.path(),
        &runstone_store::CreateOptions::default(),
        plainly(),
    );
    assert_eq!(taken.unwrap_err().code(), "log_exists");
    log.close_blocking().unwrap();
    let file = place.beside("note.txt");
    std::fs::write(&file, "not a log, but long enough to be looked at").unwrap();
    assert_eq!(Log::open(&file, plainly()).unwrap_err().code(), "not_a_log");
    let log = place.open(plainly());
    assert_eq!(log.size(), 2);
}

/// A log that is opened read-only reads and verifies, and cannot be written; nor are its files.
pub fn a_read_only_log_is_not_written(place: &Place) {
    let log = place.create(plainly());
    log.append_blocking(Append::new((1..100).map(|n| numbered("s", n))))
        .unwrap();
    let (records, root) = (everything(&log), log.root());
    drop(log);
    let bytes = || std::fs::read(place.path()).unwrap();
    let before = bytes();
    let read_only = || {
        let mut open = OpenOptions::default();
        open.read_only = true;
        open
    };
    let (one, other) = (place.open(read_only()), place.open(read_only()));
    for log in [one, other] {
        assert_eq!(log.root(), root);
        assert_same(&everything(&log), &records);
        assert_eq!(refused(log.append_blocking(numbered("s", 0))), "read_only");
        assert_eq!(refused(log.rebuild_folds(None, &|_, _| {})), "read_only");
        check_sound(&log);
        log.close_blocking().unwrap();
    }
    assert!(bytes() == before, "the file was written");
}

/// A copy made while writing goes on is whole, and holds what was durable when it began.
pub fn a_backup_is_whole_while_writing_goes_on(place: &Place) {
    let log = place.create(plainly());
    log.append_blocking(Append::new((1..500).map(|n| numbered("s", n))))
        .unwrap();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(500));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 500.. {
                if stop.load(Ordering::Relaxed) && n > 520 {
                    break;
                }
                log.append_blocking(numbered("s", n)).unwrap();
                written.store(n + 1, Ordering::Relaxed);
            }
        });
        for name in ["one.redb", "two.redb", "three.redb"] {
            let before = written.load(Ordering::Relaxed);
            let report = log.backup(&place.beside(name), &|_, _| {}).unwrap();
            let copy = place.open_copy(name, plainly());
            assert_eq!((copy.size(), copy.root()), (report.events, report.root));
            assert!(report.events >= before, "{} {before}", report.events);
            check_sound(&copy);
            assert_eq!(refused(copy.append_blocking(numbered("s", 0))), "read_only");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let copied = everything(&place.open_copy("three.redb", plainly()));
    assert_same(&everything(&log)[..copied.len()], &copied);
    let taken = log
        .backup(&place.beside("one.redb"), &|_, _| {})
        .unwrap_err();
    assert_eq!(taken.code(), "storage_io");
    check_sound(&log);
}

/// Compaction gives room back and changes nothing else.
pub fn compaction_changes_nothing(place: &Place) {
    let log = place.create(plainly());
    let noise = |n: u64| {
        format!(
            "\"{}\"",
            format!("{:032x}", u128::from(n).pow(7)).repeat(40)
        )
    };
    for n in 0..400 {
        let event = NewEvent::new("data.noted", "s").payload(noise(n));
        log.append_blocking(event).unwrap();
    }
    let (records, root) = (everything(&log), log.root());
    let held = Log::compact(&place.path(), plainly(), &|_, _| {}).unwrap_err();
    assert_eq!(held.code(), "busy");
    log.close_blocking().unwrap();
    let report = Log::compact(&place.path(), plainly(), &|_, _| {}).unwrap();
    assert!(report.after_bytes <= report.before_bytes, "{report:?}");
    assert_eq!(
        report.after_bytes,
        std::fs::metadata(place.path()).unwrap().len()
    );
    let log = place.open(plainly());
    assert_eq!(log.root(), root);
    assert_same(&everything(&log), &records);
    log.append_blocking(numbered("s", 0)).unwrap();
    check_sound(&log);
}
