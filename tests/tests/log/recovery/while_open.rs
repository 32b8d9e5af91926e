//! What happens to an open log: the second table of docs/RECOVERY.md.

use super::{closed, event, is_valid, with_fold};
use runstone_codec::NewEvent;
use runstone_store::{
    Append, AppendError, Disks, Durability, Expected, Log, MemoryDisk, OpenOptions, ProblemKind,
    Query, Read, Sealing, VerifyLevel,
};
use runstone_tests::tamper::{
    Answers, Counter, Ending, Faulty, Outcome, Recorder, Sample, Seeded, Table,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

fn faulty() -> Outcome<(Sample, Faulty, Log)> {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let disk = Faulty::with_bytes(sample.log.clone());
    let head = MemoryDisk::with_bytes(sample.head.clone());
    let log = sample.open_on(disk.clone(), head)?;
    Ok((sample, disk, log))
}

#[test]
fn disk_full_refuses_and_goes_on() -> Outcome {
    let (_, disk, log) = faulty()?;
    let size = log.size();
    disk.set_room(4096);
    for _ in 0..3 {
        let error = log
            .append_blocking(event("s"))
            .err()
            .ok_or("it was written")?;
        assert_eq!(error.code(), "storage_full");
        assert!(matches!(
            error,
            AppendError::StorageFull {
                available: 4096,
                ..
            }
        ));
    }
    assert_eq!(log.size(), size);
    assert!(
        log.read(Read::new(Query::everything()))?
            .all(|record| record.is_ok())
    );
    disk.set_room(1 << 40);
    log.append_blocking(event("s"))?;
    is_valid(&log);
    Ok(())
}

#[test]
fn disk_full_refuses_only_what_does_not_fit() -> Outcome {
    let (_, disk, log) = faulty()?;
    let size = log.size();
    disk.set_room(12 << 20);
    // Numbers that no compression makes small.
    let mut seeded = Seeded::new(1);
    let numbers: Vec<_> = (0..400_000).map(|_| seeded.next_u64()).collect();
    let large = NewEvent::new("data.large", "s").json(&numbers)?;
    let answers = log.append_many_blocking(vec![
        event("s").into(),
        Append::new([large]),
        event("s").into(),
    ]);
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(AppendError::code))
        .collect();
    assert_eq!(codes, [None, Some("storage_full"), None]);
    assert_eq!(log.size(), size + 2);
    is_valid(&log);
    Ok(())
}

#[test]
fn poison_is_left_while_somebody_reads() -> Outcome {
    let (_, disk, log) = faulty()?;
    let size = log.size();
    let mut follower = log.subscribe(Read::new(Query::everything()))?;
    follower.next_blocking().ok_or("no event")??;
    let mut reads = log.read(Read::new(Query::everything()))?;
    reads.next().ok_or("no event")??;
    disk.fail_syncs(1);
    let failed = AtomicBool::new(false);
    // From within a verification, which holds a snapshot: nobody may be waited for.
    let report = log.verify(VerifyLevel::Payloads, &|_, _| {
        if !failed.swap(true, Ordering::Relaxed) {
            let error = log.append_blocking(event("s")).err();
            assert_eq!(error.map(|error| error.code()), Some("outcome_unknown"));
        }
    });
    assert!(report.worst() != Some(ProblemKind::Tampered), "{report:?}");
    assert_eq!(reads.flatten().count() as u64, size - 1);
    for _ in 1..size {
        follower.next_blocking().ok_or("no event")??;
    }
    is_valid(&log);
    Ok(())
}

#[test]
fn poison_is_left_by_reopening() -> Outcome {
    let (_, disk, log) = faulty()?;
    let before = Answers::of(&log)?;
    let id = runstone_codec::Uuid::from_u128(77);
    disk.fail_syncs(1);
    let error = log
        .append_blocking(event("s").id(id))
        .err()
        .ok_or("it was answered")?;
    assert_eq!(error.code(), "outcome_unknown");
    // Sent again with the same id it is there once, whatever became of it.
    let answer = log.append_blocking(event("s").id(id))?;
    assert_eq!(log.size(), before.size + 1);
    assert_eq!(answer.first.get(), before.size);
    assert!(log.health().is_ok());
    is_valid(&log);
    Ok(())
}

#[test]
fn poison_twice_stays_until_it_is_opened_again() -> Outcome {
    let (sample, disk, log) = faulty()?;
    let size = log.size();
    disk.set_broken(true);
    let error = log
        .append_blocking(event("s"))
        .err()
        .ok_or("it was answered")?;
    assert_eq!(error.code(), "outcome_unknown");
    disk.set_broken(false);
    let error = log
        .append_blocking(event("s"))
        .err()
        .ok_or("it was answered")?;
    assert_eq!(error.code(), "poisoned");
    assert!(log.health().is_err());
    drop(log);
    let head = MemoryDisk::with_bytes(sample.head.clone());
    let log = sample.open_on(disk.disk, head)?;
    assert!(log.size() == size || log.size() == size + 1);
    log.append_blocking(event("s"))?;
    is_valid(&log);
    Ok(())
}

#[test]
fn fold_stopped_alone() -> Outcome {
    for panics in [false, true] {
        let (_, site) = closed()?;
        let size = site.open()?.size();
        let mut fold = Counter::new("counter", 1);
        (fold.fails_at, fold.panics) = (Some(size), panics);
        let log = with_fold(&site, fold)?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        log.append_blocking(event("s"))?;
        std::panic::set_hook(hook);
        log.append_blocking(event("s"))?;
        for status in log.fold_status()? {
            if status.name == "counter" {
                assert_eq!(status.stopped.ok_or("it went on")?.0.get(), size);
                assert_eq!(status.applied, size);
            } else {
                assert!(status.stopped.is_none());
                assert_eq!(status.applied, size + 2);
            }
        }
    }
    Ok(())
}

#[test]
fn buffered_events_are_lost_whole_and_newest_first() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let mut numbers = Seeded::new(3);
    for _ in 0..8 {
        let recorder = Recorder::with_bytes(sample.log.clone());
        let head = MemoryDisk::with_bytes(sample.head.clone());
        let log = sample.open_on(recorder.clone(), head.clone())?;
        let synced = log.append_blocking(event("synced"))?.last.get();
        let mut ends = vec![synced + 1];
        for _ in 0..=numbers.below(4) {
            let many = (0..=numbers.below(3)).map(|_| event("buffered"));
            let append = Append::new(many).durability(Durability::Buffered);
            let answer = log.append_blocking(append)?;
            assert_eq!(answer.durability, Durability::Buffered);
            ends.push(answer.last.get() + 1);
        }
        assert_eq!(log.durable_size(), synced + 1);
        let image = recorder.synced();
        let slots = head.to_vec();
        std::mem::forget(log);
        let log = sample.open_on(MemoryDisk::with_bytes(image), MemoryDisk::with_bytes(slots))?;
        assert!(ends.contains(&log.size()), "part of an append is left");
        is_valid(&log);
    }
    Ok(())
}

#[test]
fn poison_closed_lets_go_of_everything() -> Outcome {
    let (_, disk, log) = faulty()?;
    let mut follower = log.subscribe(Read::new(Query::everything()).from(log.size()))?;
    let waiting = std::thread::spawn(move || follower.next_blocking().is_none());
    disk.set_broken(true);
    assert!(log.append_blocking(event("s")).is_err());
    assert!(log.health().is_err());
    let closed = log.close_blocking().err();
    assert_eq!(closed.map(|error| error.code()), Some("poisoned"));
    assert!(
        waiting.join().map_err(|_| "it panicked")?,
        "a follower waits on"
    );
    let again = log.append_blocking(event("s")).err();
    assert_eq!(again.map(|error| error.code()), Some("closed"));
    Ok(())
}

/// What is kept in memory with a log may be content.
#[test]
fn poison_and_close_let_go_of_what_is_kept_in_memory() -> Outcome {
    let keep = |log: &Log| -> Outcome<Weak<AtomicBool>> {
        let kept: Arc<AtomicBool> = log.kept().ok_or("it is open here")?;
        Ok(Arc::downgrade(&kept))
    };
    let is_kept = |kept: &Weak<AtomicBool>| kept.upgrade().is_some();
    // It is opened again, and then it cannot be.
    let (_, disk, log) = faulty()?;
    let kept = keep(&log)?;
    assert!(is_kept(&kept));
    disk.fail_syncs(1);
    assert!(log.append_blocking(event("s")).is_err() && log.health().is_ok());
    assert!(!is_kept(&kept));
    let kept = keep(&log)?;
    disk.set_broken(true);
    assert!(log.append_blocking(event("s")).is_err() && log.health().is_err());
    assert!(!is_kept(&kept));
    // It is closed.
    let (_, _disk, log) = faulty()?;
    let kept = keep(&log)?;
    log.close_blocking()?;
    assert!(!is_kept(&kept));
    Ok(())
}

#[test]
fn poison_takes_back_refusals_that_rest_on_it() -> Outcome {
    let (_, disk, log) = faulty()?;
    disk.fail_syncs(1);
    let once = || Append::new([event("new")]).expect("new", Expected::NoStream);
    let answers = log.append_many_blocking(vec![once(), once()]);
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(AppendError::code))
        .collect();
    assert_eq!(codes, [Some("outcome_unknown"), Some("reopening")]);
    Ok(())
}

#[test]
fn poison_by_a_failed_close_releases_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy");
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let disk = Faulty::with_bytes(sample.log.clone());
    let head = MemoryDisk::with_bytes(sample.head.clone());
    let disks = Disks::new(Arc::new(disk.clone()), Arc::new(head.clone()));
    let mut open = OpenOptions::default();
    open.options.checkpoint_copies = vec![copy.clone()];
    let log = Log::open_on(disks, open, |_| sample.keys())?;
    let size = log.size();
    log.append_blocking(Append::new([event("s")]).durability(Durability::Buffered))?;
    disk.set_broken(true);
    assert!(log.close_blocking().is_err());
    drop(log);
    let released = std::fs::read_to_string(&copy).unwrap_or_default();
    let released = released.lines().nth(1).map_or(Ok(0), str::parse::<u64>)?;
    assert!(
        released <= size,
        "a checkpoint of {released}, of {size} durable events"
    );
    Ok(())
}

#[test]
fn index_damaged_in_a_block_fails_no_commit() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let site = sample.install()?;
    site.edit(|rows| {
        for (key, mut value) in rows.all(Table::Index)? {
            let middle = value.len() / 2;
            value[middle] ^= 0x10;
            if key[0] == b'r' {
                rows.set(Table::Index, &key, Some(&value))?;
            }
        }
        Ok(())
    })?;
    let mut opening = site.opening();
    opening.options.maintenance_commits = 1;
    opening.options.index.freeze_events = 2;
    opening.options.index.fan_in = 2;
    let log = Log::open(&site.path(), opening)?;
    let size = log.size();
    let mut recorded = 0;
    for n in 0..200 {
        // What has to be looked up in a damaged block fails, and nothing else does.
        match log.append_blocking(event(&format!("new-{n}"))) {
            Ok(_) => recorded += 1,
            Err(error) => assert_eq!(error.code(), "corrupt"),
        }
        assert!(log.health().is_ok());
    }
    assert!(recorded > 0);
    assert_eq!(log.size(), size + recorded);
    assert!(log.stats()?.index_stopped.is_some());
    log.close_blocking()?;
    drop(log);
    assert_eq!(site.open()?.size(), size + recorded);
    Ok(())
}
