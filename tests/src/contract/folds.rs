//! State that is folded from the log.

use super::{Make, Place, check_sound, numbered};
use crate::folds::{Fragile, Tally, Typed};
use runstone_codec::{NewEvent, Position};
use runstone_store::{
    Append, CreateOptions, DecideContext, Decision, Fold, FoldStatus, Log, OpenOptions,
};
use std::collections::BTreeMap;
use std::sync::Arc;

fn with(folds: impl IntoIterator<Item = Arc<dyn Fold>>) -> OpenOptions {
    let mut open = OpenOptions::default();
    open.folds = folds.into_iter().collect();
    open
}

fn tally(version: u32) -> Arc<dyn Fold> {
    Arc::new(Tally::new(version))
}

fn rows(log: &Log) -> BTreeMap<String, u64> {
    let rows = log.fold_rows("tally", b"", b"", usize::MAX).unwrap();
    let row =
        |(key, row): (Vec<u8>, Vec<u8>)| (String::from_utf8(key).unwrap(), Tally::number(&row));
    rows.into_iter().map(row).collect()
}

fn status(log: &Log, name: &str) -> FoldStatus {
    let all = log.fold_status().unwrap();
    all.into_iter().find(|status| status.name == name).unwrap()
}

/// Rows are what the events say, as of the newest one, and can be listed by prefix in pages.
pub fn rows_follow_the_events(make: Make<'_>) {
    let log = make(with([tally(1)]));
    let genesis = rows(&log);
    assert_eq!(genesis["tlog.genesis"], 1);
    for n in 1..=300_u64 {
        log.append_blocking(numbered(&format!("s{}", n % 10), n))
            .unwrap();
        let row = log
            .fold_row("tally", &Tally::type_key("data.noted"))
            .unwrap();
        assert_eq!(row.map(|row| Tally::number(&row)), Some(n));
    }
    log.append_blocking(NewEvent::new(Tally::CLEARED, "s3"))
        .unwrap();
    let found = rows(&log);
    assert_eq!((found["tdata.noted"], found["tdata.cleared"]), (300, 1));
    assert!(!found.contains_key("ss3"));
    let bytes: u64 = (1..=300_u64)
        .filter(|n| n % 10 == 7)
        .map(|n| format!("{{\"n\":{n}}}").len() as u64)
        .sum();
    assert_eq!(found["ss7"], bytes);
    let keys = |prefix: &str, from: &str, limit| {
        let rows = log
            .fold_rows("tally", prefix.as_bytes(), from.as_bytes(), limit)
            .unwrap();
        rows.into_iter()
            .map(|(key, _)| String::from_utf8(key).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys("ss", "", 3), ["ss0", "ss1", "ss2"]);
    assert_eq!(keys("ss", "ss2", 3), ["ss2", "ss4", "ss5"]);
    assert_eq!(keys("ss", "ss8", 9), ["ss8", "ss9"]);
    assert_eq!(keys("ss", "", 0), [] as [&str; 0]);
    assert_eq!(
        keys("t", "", 9),
        ["tdata.cleared", "tdata.noted", "tlog.genesis"]
    );
    assert_eq!(log.fold_row("tally", b"nobody").unwrap(), None);
    assert_eq!(
        log.fold_row("nobody", b"").unwrap_err().code(),
        "fold_stopped"
    );
    check_sound(&log);
}

/// Folding again from the beginning gives the same digest, and another one when events came.
pub fn folding_again_gives_the_same(make: Make<'_>) {
    let log = make(with([tally(1), Arc::new(Fragile::refusing())]));
    let mut digests = Vec::new();
    for n in 0..5 {
        log.append_blocking(Append::new((0..50).map(|m| numbered("s", 50 * n + m))))
            .unwrap();
        let checks = log.check_folds(None, &|_, _| {}).unwrap();
        assert_eq!(checks.len(), 2);
        assert!(
            checks.iter().all(runstone_store::FoldCheck::is_equal),
            "{checks:?}"
        );
        assert_eq!(checks[0].position, Position::new(log.size()));
        let one = log.check_folds(Some("tally"), &|_, _| {}).unwrap();
        assert_eq!(one[..], checks[..1]);
        digests.push(checks[0].digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 5);
    let before = rows(&log);
    let rebuilt = log.rebuild_folds(None, &|_, _| {}).unwrap();
    assert_eq!((rebuilt.len(), rebuilt[0].digest), (2, digests[4]));
    assert_eq!(rows(&log), before);
    log.append_blocking(numbered("s", 0)).unwrap();
    assert_eq!(rows(&log)["tdata.noted"], 251);
    assert_eq!(
        log.check_folds(Some("nobody"), &|_, _| {})
            .unwrap_err()
            .code(),
        "not_found"
    );
    check_sound(&log);
}

/// Appends that come while folds are rebuilt are recorded and answered.
pub fn appends_go_on_after_a_rebuild(make: Make<'_>) {
    let log = make(with([tally(1)]));
    log.append_blocking(Append::new((0..100).map(|n| numbered("s", n))))
        .unwrap();
    let writer = log.clone();
    let appends = std::thread::spawn(move || {
        for n in 100..1100 {
            writer.append_blocking(numbered("s", n)).unwrap();
        }
    });
    while !appends.is_finished() {
        let checks = log.rebuild_folds(None, &|_, _| {}).unwrap();
        assert!(checks[0].is_equal(), "{checks:?}");
    }
    appends.join().unwrap();
    assert_eq!(rows(&log)["tdata.noted"], 1100);
    check_sound(&log);
}

/// A fold that fails or panics stops before the event that it cannot take in; appends and other
/// folds go on.
pub fn a_fold_that_fails_stops_alone(make: Make<'_>) {
    for (fragile, why) in [
        (Fragile::refusing(), "poison"),
        (Fragile::panicking(), "panicked"),
    ] {
        let log = make(with([Arc::new(fragile) as Arc<dyn Fold>, tally(1)]));
        let good = (1..5).map(|n| numbered("s", n));
        log.append_blocking(Append::new(good)).unwrap();
        let poison = NewEvent::new(Fragile::POISON, "s");
        let group = Append::new([numbered("s", 5), poison, numbered("s", 7)]);
        assert_eq!(log.append_blocking(group).unwrap().first.get(), 5);
        log.append_blocking(numbered("s", 8)).unwrap();
        let stopped = status(&log, "fragile");
        let (position, reason) = stopped.stopped.clone().unwrap();
        assert_eq!((position.get(), stopped.applied), (6, 6));
        assert!(reason.contains(why), "{reason}");
        let row = log.fold_row("fragile", Fragile::KEY).unwrap().unwrap();
        assert_eq!(Tally::number(&row), 6);
        assert_eq!((status(&log, "tally").applied, log.size()), (9, 9));
        assert_eq!(rows(&log)["tdata.noted"], 7);
        let checks = log.check_folds(None, &|_, _| {}).unwrap();
        assert!(
            checks.iter().all(runstone_store::FoldCheck::is_equal),
            "{checks:?}"
        );
        assert_eq!(checks[0].stopped.as_ref().map(|(at, _)| at.get()), Some(6));
    }
}

/// Rows survive closing and dropping, and the tail is folded in at open.
pub fn rows_survive_reopening(place: &Place) {
    let log = place.create(with([tally(1)]));
    for n in 0..100 {
        log.append_blocking(numbered("s", n)).unwrap();
    }
    let before = rows(&log);
    drop(log);
    let log = place.open(with([tally(1)]));
    assert_eq!(rows(&log), before);
    log.close_blocking().unwrap();
    let log = place.open(with([tally(1)]));
    assert_eq!((rows(&log), status(&log, "tally").flushed), (before, 101));
    check_sound(&log);
}

/// Rows that are encoded late read, survive and are folded again like others; events of other namespaces
/// pass the fold by; an event that it cannot take in changes nothing.
pub fn rows_may_be_encoded_late(place: &Place) {
    let open = || with([Arc::new(Typed) as Arc<dyn Fold>]);
    let number = |log: &Log, key: &[u8]| {
        let row = log.fold_row("typed", key).unwrap();
        row.map(|row| Tally::number(&row))
    };
    let noted = Tally::type_key("data.noted");
    let check = |log: &Log, events: u64| {
        assert_eq!(number(log, &noted), Some(events));
        let decided_by = noted.clone();
        let look = move |context: &mut DecideContext<'_>| {
            let row = context.fold_value("typed", &decided_by)?;
            Ok(Decision::nothing(row.map(|row| Typed::number(&row))))
        };
        if status(log, "typed").stopped.is_none() {
            let (seen, _) = log.command_blocking(Vec::new(), look).unwrap();
            assert_eq!(seen, Some(events));
        }
        let listed = log.fold_rows("typed", b"", b"", usize::MAX).unwrap();
        let keys: Vec<_> = listed.iter().map(|(key, _)| key.as_slice()).collect();
        let expected: [&[u8]; 5] = [b"ss0", b"ss1", b"ss2", b"tdata.cleared", b"tdata.noted"];
        assert_eq!(keys, expected);
        let of_streams: u64 = listed
            .iter()
            .take(3)
            .map(|(_, row)| Tally::number(row))
            .sum();
        // One was cleared.
        assert_eq!(of_streams, events - 1);
        let checks = log.check_folds(Some("typed"), &|_, _| {}).unwrap();
        assert!(checks[0].is_equal(), "{checks:?}");
    };
    let note = |log: &Log, numbers: std::ops::Range<u64>| {
        for n in numbers {
            let other = NewEvent::new("database.noted", "other");
            let events = [numbered(&format!("s{}", n % 3), n), other];
            log.append_blocking(Append::new(events)).unwrap();
        }
    };
    let mut log = place.create(open());
    note(&log, 0..100);
    log.append_blocking(numbered("s3", 0)).unwrap();
    log.append_blocking(NewEvent::new(Tally::CLEARED, "s3"))
        .unwrap();
    note(&log, 100..199);
    for is_closed in [false, true] {
        check(&log, 200);
        assert_eq!(status(&log, "typed").applied, log.size());
        if is_closed {
            log.close_blocking().unwrap();
        }
        drop(log);
        log = place.open(open());
    }
    check(&log, 200);
    log.append_blocking(NewEvent::new(Fragile::POISON, "s0"))
        .unwrap();
    note(&log, 199..220);
    check(&log, 200);
    let (at, _) = status(&log, "typed").stopped.unwrap();
    assert_eq!(at.get() + 43, log.size());
}

/// A fold whose row cannot be encoded stops alone once rows are written; the log, other folds and closing
/// go on, now and after the next opening.
pub fn a_row_without_bytes_stops_its_fold_alone(place: &Place) {
    for (number, event_type) in [Typed::UNWRITABLE, Typed::PANICKING]
        .into_iter()
        .enumerate()
    {
        let open = || {
            let mut open = with([Arc::new(Typed) as Arc<dyn Fold>, tally(1)]);
            open.options.maintenance_commits = 2;
            open
        };
        let path = place.beside(&format!("log{number}"));
        let log = Log::create(&path, &CreateOptions::default(), open()).unwrap();
        log.append_blocking(numbered("s", 1)).unwrap();
        log.append_blocking(NewEvent::new(event_type, "s")).unwrap();
        for n in 2..20 {
            log.append_blocking(numbered("s", n)).unwrap();
        }
        let check = |log: &Log| {
            assert!(log.health().is_ok());
            let (at, why) = status(log, "typed").stopped.unwrap();
            assert!((3..8).contains(&at.get()), "{at}: {why}");
            assert!(
                ["no bytes", "a row that panics"]
                    .iter()
                    .any(|word| why.contains(word)),
                "{why}"
            );
            assert_eq!(rows(log)["tdata.noted"], log.size() - 2);
            let checks = log.check_folds(Some("tally"), &|_, _| {}).unwrap();
            assert!(checks[0].is_equal(), "{checks:?}");
        };
        check(&log);
        log.close_blocking().unwrap();
        drop(log);
        let log = Log::open(&path, open()).unwrap();
        for n in 20..30 {
            log.append_blocking(numbered("s", n)).unwrap();
        }
        log.close_blocking().unwrap();
        drop(log);
        let log = Log::open(&path, with([tally(1)])).unwrap();
        assert_eq!((rows(&log)["tdata.noted"], log.size()), (29, 31));
        check_sound(&log);
    }
}

/// A decision finds the first row of a prefix: in memory and in the file, past removed ones.
pub fn decisions_see_the_first_row(place: &Place) {
    fn first(log: &Log, prefix: &'static str, from: &'static str) -> Option<String> {
        let look = move |context: &mut DecideContext<'_>| {
            let row = context.fold_first("tally", prefix.as_bytes(), from.as_bytes())?;
            Ok(Decision::nothing(row))
        };
        let (row, _) = log.command_blocking(Vec::new(), look).unwrap();
        row.map(|(key, _)| String::from_utf8(key).unwrap())
    }
    let named = |n: u64| numbered(&format!("run{n:04}"), n);
    let clear = |log: &Log, numbers: std::ops::Range<u64>| {
        let events = numbers.map(|n| NewEvent::new(Tally::CLEARED, format!("run{n:04}")));
        log.append_blocking(Append::new(events)).unwrap();
    };
    let mut log = place.create(with([tally(1)]));
    assert_eq!(first(&log, "srun", ""), None);
    log.append_blocking(Append::new((0..5000).map(named)))
        .unwrap();
    // Once with rows in memory, once with all of them in the file.
    for from in [0, 20] {
        assert_eq!(first(&log, "srun", ""), Some(format!("srun{from:04}")));
        clear(&log, from..from + 20);
        assert_eq!(
            first(&log, "srun", "").as_deref(),
            Some(["srun0020", "srun0040"][from as usize / 20])
        );
        assert_eq!(first(&log, "srun", "srun4999"), Some("srun4999".to_owned()));
        assert_eq!(first(&log, "srun", "srun4999\0"), None);
        assert_eq!(first(&log, "srun5", ""), None);
        assert_eq!(first(&log, "t", "").as_deref(), Some("tdata.cleared"));
        log.close_blocking().unwrap();
        drop(log);
        log = place.open(with([tally(1)]));
        // What was flushed and removed in memory alone is passed over too.
        assert_eq!(
            first(&log, "srun00", "srun0050").as_deref(),
            Some("srun0050")
        );
    }
    log.append_blocking(named(1)).unwrap();
    assert_eq!(first(&log, "srun", "").as_deref(), Some("srun0001"));
    let unknown = log.command_blocking(Vec::new(), |context| {
        Ok(Decision::nothing(context.fold_first("none", b"", b"")?))
    });
    assert_eq!(unknown.unwrap_err().code(), "fold_stopped");
    check_sound(&log);
}

/// A fold of another version is folded again from the beginning.
pub fn another_version_is_folded_again(place: &Place) {
    let log = place.create(with([tally(1)]));
    log.append_blocking(Append::new(
        (0..5000).map(|n| numbered(&format!("s{n}"), n)),
    ))
    .unwrap();
    let once = rows(&log);
    log.close_blocking().unwrap();
    let log = place.open(with([tally(2)]));
    let doubled: BTreeMap<_, _> = once.iter().map(|(key, n)| (key.clone(), 2 * n)).collect();
    assert_eq!(rows(&log), doubled);
    assert_eq!(status(&log, "tally").version, 2);
    check_sound(&log);
    log.close_blocking().unwrap();
    let log = place.open(with([tally(1)]));
    assert_eq!(rows(&log), once);
    check_sound(&log);
}

/// Rows of a fold that a program does not know are kept and not folded on, until one knows it.
pub fn unknown_folds_are_kept(place: &Place) {
    let log = place.create(with([tally(1)]));
    log.append_blocking(Append::new((0..50).map(|n| numbered("s", n))))
        .unwrap();
    log.close_blocking().unwrap();
    let log = place.open(with([Arc::new(Fragile::refusing()) as Arc<dyn Fold>]));
    let unknown = status(&log, "tally");
    assert_eq!(
        (unknown.known, unknown.version, unknown.flushed),
        (false, 1, 51)
    );
    log.append_blocking(Append::new((50..80).map(|n| numbered("s", n))))
        .unwrap();
    assert_eq!(log.check_folds(None, &|_, _| {}).unwrap().len(), 1);
    assert_eq!(
        log.fold_row("tally", b"").unwrap_err().code(),
        "fold_stopped"
    );
    check_sound(&log);
    log.close_blocking().unwrap();
    let log = place.open(with([tally(1)]));
    assert_eq!(rows(&log)["tdata.noted"], 80);
    assert!(!status(&log, "fragile").known);
    check_sound(&log);
}

/// A fold that stopped stops at the same event again after reopening, and not where it was mended.
pub fn a_stopped_fold_stops_again_after_reopening(place: &Place) {
    let refusing = || with([Arc::new(Fragile::refusing()) as Arc<dyn Fold>, tally(1)]);
    let log = place.create(refusing());
    log.append_blocking(numbered("s", 1)).unwrap();
    log.append_blocking(NewEvent::new(Fragile::POISON, "s"))
        .unwrap();
    log.append_blocking(numbered("s", 3)).unwrap();
    log.close_blocking().unwrap();
    let log = place.open(refusing());
    let (position, _) = status(&log, "fragile").stopped.unwrap();
    assert_eq!(position.get(), 2);
    assert_eq!(rows(&log)["tdata.noted"], 2);
    check_sound(&log);
}
