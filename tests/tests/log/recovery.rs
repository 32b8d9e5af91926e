//! What is found when a log is opened, and what is done: one test for each row of
//! docs/RECOVERY.md, under the names that the page gives.

mod creation;
mod while_open;

use runstone_codec::NewEvent;
use runstone_receipt::head::{HeadSlot, SLOT_LEN, newest_slot, slot_offset};
use runstone_store::{
    Append, CreateOptions, Disk, Disks, ErrorKind, Log, ManualClock, MemoryDisk, OpenError,
    OpenOptions, Query, Read, Sealing, VerifyLevel, default_keys_path,
};
use runstone_tests::tamper::{
    Answers, Counter, Ending, Outcome, Recorder, START_US, Sample, Site, Table,
};
use std::path::Path;
use std::sync::Arc;

fn event(stream: &str) -> NewEvent {
    NewEvent::new("data.more", stream).payload(br#"{"more":1}"#.as_slice())
}

fn closed() -> Outcome<(Sample, Site)> {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let site = sample.install()?;
    Ok((sample, site))
}

fn killed() -> Outcome<(Sample, Site)> {
    let sample = Sample::new(Sealing::Required, Ending::Killed)?;
    let site = sample.install()?;
    Ok((sample, site))
}

/// Opening fails, and the database is byte for byte what it was.
fn refused(site: &Site) -> Outcome<OpenError> {
    let before = std::fs::read(site.path())?;
    let error = site.open().err().ok_or("it opened")?;
    let after = std::fs::read(site.path())?;
    assert!(before == after, "the file was touched: {error}");
    Ok(error)
}

fn is_valid(log: &Log) -> bool {
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    true
}

#[test]
fn no_file_is_an_error() -> Outcome {
    let site = Site::empty()?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("log_not_found", ErrorKind::NotFound)
    );
    assert!(!site.path().exists() && !site.head_path().exists());
    assert!(!default_keys_path(&site.path()).exists());
    Ok(())
}

#[test]
fn held_by_another_handle() -> Outcome {
    let (_, site) = closed()?;
    let log = site.open()?;
    let error = site.open().err().ok_or("it opened twice")?;
    assert_eq!((error.code(), error.kind()), ("busy", ErrorKind::Busy));
    assert!(error.is_retryable());
    drop(log);
    drop(site.open()?);
    Ok(())
}

#[test]
fn not_a_log_but_other_bytes() -> Outcome {
    for bytes in [&b""[..], b"redb", &[7; 5000], b"{\"json\":1}\n"] {
        let (_, site) = closed()?;
        std::fs::write(site.path(), bytes)?;
        let error = refused(&site)?;
        assert_eq!(
            (error.code(), error.kind()),
            ("not_a_log", ErrorKind::Usage)
        );
    }
    Ok(())
}

#[test]
fn not_a_log_but_another_database() -> Outcome {
    let (_, site) = closed()?;
    std::fs::remove_file(site.path())?;
    drop(redb::Database::create(site.path())?);
    site.edit(|rows| rows.make_table("recipes"))?;
    let error = refused(&site)?;
    assert_eq!(
        (error.code(), error.kind()),
        ("not_a_log", ErrorKind::Usage)
    );
    Ok(())
}

#[test]
fn newer_format_is_refused() -> Outcome {
    let (_, site) = closed()?;
    site.edit(|rows| rows.set(Table::Meta, b"format", Some(b"runstone/2")))?;
    assert_eq!(refused(&site)?.code(), "newer_format");
    // What names no higher one is damage.
    for damaged in [&b"runsto~e/1"[..], b"runstone/0", b"runstone/", b""] {
        site.edit(|rows| rows.set(Table::Meta, b"format", Some(damaged)))?;
        assert_eq!(refused(&site)?.kind(), ErrorKind::Corrupt, "{damaged:?}");
    }
    Ok(())
}

#[test]
fn keys_missing_of_another_log_or_torn() -> Outcome {
    let (_, site) = closed()?;
    let folder = default_keys_path(&site.path());
    let away = site.beside("away");
    std::fs::rename(&folder, &away)?;
    let error = refused(&site)?;
    assert_eq!(error.kind(), ErrorKind::Keys, "{error}");
    assert!(error.to_string().contains("log.keys"), "{error}");

    let other = Site::empty()?;
    drop(Log::create(
        &other.path(),
        &CreateOptions::default(),
        OpenOptions::default(),
    )?);
    std::fs::rename(default_keys_path(&other.path()), &folder)?;
    let error = refused(&site)?;
    assert!(
        matches!(error.kind(), ErrorKind::Keys | ErrorKind::Corrupt),
        "{error}"
    );

    std::fs::remove_dir_all(&folder)?;
    std::fs::rename(&away, &folder)?;
    for file in ["ring", "table"] {
        let path = folder.join(file);
        let whole = std::fs::read(&path)?;
        std::fs::write(&path, &whole[..whole.len() / 2])?;
        let error = refused(&site)?;
        assert_eq!(error.kind(), ErrorKind::Keys, "{error}");
        assert!(error.to_string().contains(file), "{error}");
        std::fs::write(&path, whole)?;
    }
    is_valid(&site.open()?);
    Ok(())
}

#[test]
fn damaged_pages_are_corrupt_and_left_alone() -> Outcome {
    let (sample, site) = killed()?;
    let mut bytes = sample.log.clone();
    // Every page but the header.
    for page in bytes[4096..].chunks_mut(4096) {
        page[0] ^= 0x55;
    }
    std::fs::write(site.path(), &bytes)?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("storage_damaged", ErrorKind::Corrupt)
    );
    std::fs::write(site.path(), &bytes)?;
    let report = site.verify()?;
    assert!(!report.valid);
    let mut open = site.opening();
    open.read_only = true;
    assert!(Log::open(&site.path(), open).is_err());
    assert!(std::fs::read(site.path())? == bytes, "verify repaired it");
    Ok(())
}

#[test]
fn clean_close_opens_as_it_was() -> Outcome {
    let (_, site) = closed()?;
    let log = site.open()?;
    let before = Answers::of(&log)?;
    log.close_blocking()?;
    drop(log);
    let log = site.open()?;
    assert_eq!(Answers::of(&log)?, before);
    assert_eq!(log.checkpoint()?.checkpoint().root, before.root);
    is_valid(&log);
    Ok(())
}

/// A crash in the middle of the last commits, after each of their writes and with one of them torn:
/// what was acknowledged is there, the rest whole or absent.
#[test]
fn crash_in_the_middle_of_a_commit() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Killed)?;
    let recorder = Recorder::with_bytes(sample.log.clone());
    let head = MemoryDisk::with_bytes(sample.head.clone());
    let log = sample.open_on(recorder.clone(), head.clone())?;
    recorder.commits();
    let head = head.to_vec();
    log.append_blocking(Append::new([event("a"), event("b")]))?;
    let size = log.size();
    let commits = recorder.commits();
    // The process is gone: nothing is closed.
    std::mem::forget(log);
    let mut seen = [0; 2];
    for commit in &commits {
        for cut in 0..=commit.writes.len() {
            for torn in [false, true] {
                let image = MemoryDisk::with_bytes(commit.before.clone());
                image.set_len(commit.len)?;
                for (offset, data) in &commit.writes[..cut] {
                    image.write(*offset, data)?;
                }
                if let (Some((offset, data)), true) = (commit.writes.get(cut), torn) {
                    image.write(*offset, &data[..data.len() / 2])?;
                }
                let log = sample.open_on(image, MemoryDisk::with_bytes(head.clone()))?;
                let is_there = log.size() == size;
                assert!(is_there || log.size() == size - 2, "half of an append");
                seen[usize::from(is_there)] += 1;
                is_valid(&log);
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
    Ok(())
}

#[test]
fn unsigned_tail_is_derived_and_then_signed() -> Outcome {
    let (_, site) = killed()?;
    let mut signed = Vec::new();
    site.edit(|rows| {
        signed = rows.all(Table::Checkpoints)?;
        Ok(())
    })?;
    let log = site.open()?;
    let newest = signed
        .last()
        .ok_or("no checkpoint")?
        .0
        .as_slice()
        .try_into()?;
    assert!(
        u64::from_be_bytes(newest) < log.size(),
        "the tail is signed already"
    );
    let checkpoint = log.checkpoint()?;
    assert_eq!(checkpoint.checkpoint().size, log.size());
    assert_eq!(checkpoint.checkpoint().root, log.root());
    is_valid(&log);
    Ok(())
}

#[test]
fn head_mac_of_the_tail_is_wrong() -> Outcome {
    let (_, site) = killed()?;
    site.edit(|rows| {
        let mut chunk = rows.chunk(u64::MAX)?;
        // The MAC lies behind size, root and time.
        chunk.head[50] ^= 1;
        rows.set(
            Table::Chunks,
            &chunk.first.to_be_bytes(),
            Some(&chunk.encode()),
        )
    })?;
    let error = refused(&site)?;
    assert_eq!(
        (error.code(), error.kind()),
        ("corrupt", ErrorKind::Corrupt)
    );
    assert!(error.to_string().contains("MAC"), "{error}");
    Ok(())
}

/// Opens, appends and closes.
fn append_to(site: &Site, stream: &str, count: usize) -> Outcome<u64> {
    let log = site.open()?;
    for _ in 0..count {
        log.append_blocking(event(stream))?;
    }
    let size = log.size();
    log.close_blocking()?;
    Ok(size)
}

#[test]
fn behind_head_names_both_sizes() -> Outcome {
    let (_, site) = closed()?;
    let older = std::fs::read(site.path())?;
    let size = site.open()?.size();
    let known = append_to(&site, "more", 2)?;
    std::fs::write(site.path(), older)?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("log_behind", ErrorKind::Corrupt)
    );
    let shown = error.to_string();
    assert!(
        shown.contains(&size.to_string()) && shown.contains(&known.to_string()),
        "{shown}"
    );
    Ok(())
}

#[test]
fn diverged_head_names_both_roots() -> Outcome {
    for more in [1, 3] {
        let sample = Sample::new(Sealing::Required, Ending::Closed)?;
        let (one, other) = (sample.install()?, sample.install()?);
        append_to(&one, "one", 1)?;
        append_to(&other, "other", more)?;
        std::fs::copy(one.head_path(), other.head_path())?;
        let error = other.open().err().ok_or("it opened")?;
        assert_eq!(
            (error.code(), error.kind()),
            ("log_diverged", ErrorKind::Corrupt)
        );
    }
    Ok(())
}

/// The newest slot of a `LOG.head` whose slots are of one log.
fn newest(file: &[u8]) -> Outcome<HeadSlot> {
    let slots = file
        .chunks(4096)
        .map(|half| HeadSlot::decode(&half[..SLOT_LEN]));
    let log_id = slots.flatten().next().ok_or("no slot")?.log_id;
    Ok(newest_slot(file, &log_id).ok_or("no slot")?)
}

/// Changes the newest slot of `LOG.head` and writes its checksum anew.
fn forge_head(path: &Path, change: impl FnOnce(&mut HeadSlot)) -> Outcome {
    let mut bytes = std::fs::read(path)?;
    let mut slot = newest(&bytes)?;
    change(&mut slot);
    let at = usize::try_from(slot_offset(slot.sequence))?;
    let encoded = slot.encode();
    bytes[at..at + encoded.len()].copy_from_slice(&encoded);
    std::fs::write(path, bytes)?;
    Ok(())
}

#[test]
fn head_file_mac_is_wrong() -> Outcome {
    let (_, site) = closed()?;
    forge_head(&site.head_path(), |slot| slot.head_mac[0] ^= 1)?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("corrupt", ErrorKind::Corrupt)
    );
    assert!(error.to_string().contains("LOG.head"), "{error}");
    Ok(())
}

fn with_copy(site: &Site, copy: &Path) -> OpenOptions {
    let mut open = site.opening();
    open.options.checkpoint_copies = vec![copy.to_owned()];
    open
}

#[test]
fn checkpoint_copy_ahead_or_of_another_history() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    for (diverged, code) in [(false, "log_behind"), (true, "log_diverged")] {
        let site = sample.install()?;
        let copy = site.beside("copy");
        let log = Log::open(&site.path(), with_copy(&site, &copy))?;
        log.append_blocking(event("one"))?;
        log.close_blocking()?;
        drop(log);
        let other = sample.install()?;
        if diverged {
            append_to(&other, "other", 2)?;
        }
        let error = Log::open(&other.path(), with_copy(&other, &copy))
            .err()
            .ok_or("it opened")?;
        assert_eq!(
            (error.code(), error.kind()),
            (code, ErrorKind::Corrupt),
            "{error}"
        );
        assert!(error.to_string().contains("copy"), "{error}");
    }
    Ok(())
}

#[test]
fn copy_unreachable_for_longer_than_the_grace() -> Outcome {
    let (_, site) = closed()?;
    let clock = Arc::new(ManualClock::new(START_US));
    let mut open = with_copy(&site, &site.beside("nowhere").join("copy"));
    open.options.clock = Arc::<ManualClock>::clone(&clock);
    // Without threads of its own the log tries the copy before it answers.
    open.options.background = false;
    let log = Log::open(&site.path(), open)?;
    let mut refused = None;
    for _ in 0..400 {
        if let Err(error) = log.append_blocking(event("s")) {
            refused = Some(error);
            break;
        }
        clock.advance(60 * 60 * 1_000_000);
    }
    let refused = refused.ok_or("it went on for ever")?;
    assert_eq!(refused.code(), "read_only");
    assert!(
        clock_hours(&clock) >= 24,
        "refused before the grace was over"
    );
    assert!(
        log.read(Read::new(Query::everything()))?
            .all(|record| record.is_ok())
    );
    Ok(())
}

fn clock_hours(clock: &ManualClock) -> u64 {
    use runstone_store::Clock as _;
    clock.monotonic_us() / 3_600_000_000
}

#[test]
fn copy_foreign_or_too_long() -> Outcome {
    let (_, site) = closed()?;
    let copy = site.beside("copy");
    for text in ["garbage\n".to_owned(), "x".repeat(200 << 10)] {
        std::fs::write(&copy, text)?;
        let error = Log::open(&site.path(), with_copy(&site, &copy))
            .err()
            .ok_or("it opened")?;
        assert_eq!(error.code(), "checkpoint_copy");
        assert!(error.to_string().contains("copy"), "{error}");
    }
    Ok(())
}

#[test]
fn head_missing_is_written_again() -> Outcome {
    let (sample, site) = closed()?;
    let zeros = vec![0; sample.head.len()];
    for head in [None, Some(&b""[..]), Some(&zeros)] {
        match head {
            None => std::fs::remove_file(site.head_path())?,
            Some(bytes) => std::fs::write(site.head_path(), bytes)?,
        }
        let log = site.open()?;
        let size = log.size();
        drop(log);
        let slot = newest(&std::fs::read(site.head_path())?)?;
        assert_eq!(slot.size, size);
    }
    Ok(())
}

#[test]
fn head_torn_slot_leaves_the_other() -> Outcome {
    let (_, site) = closed()?;
    let older = std::fs::read(site.path())?;
    append_to(&site, "more", 1)?;
    append_to(&site, "more", 1)?;
    let mut bytes = std::fs::read(site.head_path())?;
    let newer_slot = newest(&bytes)?;
    let at = usize::try_from(slot_offset(newer_slot.sequence))?;
    bytes[at + 60] ^= 1;
    let other = newest(&bytes)?;
    assert_eq!(other.sequence + 1, newer_slot.sequence);
    std::fs::write(site.head_path(), &bytes)?;
    let newer = std::fs::read(site.path())?;
    std::fs::write(site.path(), older)?;
    let error = site.open().err().ok_or("the other slot did not count")?;
    assert_eq!(error.code(), "log_behind");
    std::fs::write(site.path(), newer)?;
    is_valid(&site.open()?);
    Ok(())
}

#[test]
fn head_behind_the_log() -> Outcome {
    let (sample, site) = closed()?;
    let size = append_to(&site, "more", 2)?;
    std::fs::write(site.head_path(), &sample.head)?;
    let log = site.open()?;
    assert_eq!(log.size(), size);
    drop(log);
    let slot = newest(&std::fs::read(site.head_path())?)?;
    assert_eq!(slot.size, size);
    Ok(())
}

/// A log that died with a tail in no run, tile or row answers as its twin that was closed.
#[test]
fn tails_are_replayed() -> Outcome {
    let (_, killed) = killed()?;
    let (_, closed) = closed()?;
    let twin = Answers::of(&closed.open()?)?;
    let log = killed.open()?;
    let flushed = log.fold_status()?[0].flushed;
    assert!(flushed < log.size(), "there is no tail");
    assert!(log.stats()?.indexed < log.size(), "there is no tail");
    assert_eq!(Answers::of(&log)?, twin);
    is_valid(&log);
    drop(log);
    // A second crash in the middle of nothing changes nothing either.
    assert_eq!(Answers::of(&killed.open()?)?, twin);
    Ok(())
}

/// Ids of runs that the manifest of the index lists as left over: the last numbers of it, before a
/// checksum of eight bytes.
fn strays(site: &Site) -> Outcome<usize> {
    let mut found = 0;
    site.edit(|rows| {
        let all = rows.all(Table::Index)?;
        let manifest = all.iter().find(|(key, _)| key == b"m");
        let Some((_, manifest)) = manifest else {
            found = all.len();
            return Ok(());
        };
        let runs = u32::from_be_bytes(manifest[9..13].try_into()?) as usize;
        let at = 13 + runs * 49;
        found = u32::from_be_bytes(manifest[at..at + 4].try_into()?) as usize;
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn index_garbage_is_deleted_later() -> Outcome {
    let (sample, site) = closed()?;
    let (disk, head) = (
        MemoryDisk::with_bytes(sample.log.clone()),
        MemoryDisk::with_bytes(sample.head.clone()),
    );
    let mut open = site.opening();
    open.options.maintenance_commits = 1;
    open.options.clock = Arc::new(ManualClock::new(START_US));
    open.options.index.freeze_events = 200;
    let disks = Disks::new(Arc::new(disk.clone()), Arc::new(head.clone()));
    let log = Log::open_on(disks, open, |_| sample.keys())?;
    // Many long tags: a run that is written in several slices.
    let wide = |n: u32| {
        let tags = (0..14).map(move |tag| format!("wide:{n}-{tag}-{}", "x".repeat(200)));
        event("wide").tags(tags)
    };
    let mut cut_short = false;
    for n in 0..400 {
        log.append_blocking(wide(n))?;
        if n < 200 {
            continue;
        }
        std::fs::write(site.path(), disk.to_vec())?;
        std::fs::write(site.head_path(), head.to_vec())?;
        if strays(&site)? > 0 {
            cut_short = true;
            break;
        }
    }
    assert!(cut_short, "no flush was under way");
    let mut open = site.opening();
    open.options.maintenance_commits = 1;
    open.options.clock = Arc::new(ManualClock::new(START_US));
    let log = Log::open(&site.path(), open)?;
    is_valid(&log);
    let before = Answers::of(&log)?.events;
    for _ in 0..40 {
        log.append_blocking(event("more"))?;
    }
    log.close_blocking()?;
    drop(log);
    assert_eq!(strays(&site)?, 0);
    let log = site.open()?;
    is_valid(&log);
    assert_eq!(Answers::of(&log)?.events[..before.len()], before);
    Ok(())
}

#[test]
fn index_damaged_is_named_and_never_answers_wrong() -> Outcome {
    let (sample, site) = closed()?;
    let whole = Answers::of(&site.open()?)?;
    let mut keys = Vec::new();
    site.edit(|rows| {
        keys = rows.all(Table::Index)?;
        Ok(())
    })?;
    let (mut refusals, mut partial) = (0, 0);
    for (key, mut value) in keys {
        let site = sample.install()?;
        let middle = value.len() / 2;
        value[middle] ^= 0x10;
        site.edit(|rows| rows.set(Table::Index, &key, Some(&value)))?;
        match site.open() {
            Err(error) => {
                assert!(key[0] != b'r', "a block was read at open");
                assert_eq!(
                    (error.code(), error.kind()),
                    ("corrupt", ErrorKind::Corrupt)
                );
                refusals += 1;
            }
            Ok(log) => {
                assert_eq!(key[0], b'r');
                match Answers::of(&log) {
                    Ok(answers) => assert_eq!(answers, whole),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt);
                        assert!(error.to_string().contains("block"), "{error}");
                        partial += 1;
                    }
                }
            }
        }
        assert_eq!(rederived(&site)?, whole);
    }
    assert!(refusals > 1 && partial > 0, "{refusals} {partial}");
    Ok(())
}

#[test]
fn tiles_damaged_refuse_or_are_found_by_reads() -> Outcome {
    let (_, site) = closed()?;
    let log = site.open()?;
    let many = (0..400).map(|_| Append::new([event("many")])).collect();
    for answer in log.append_many_blocking(many) {
        answer?;
    }
    log.close_blocking()?;
    drop(log);
    let mut tiles = Vec::new();
    site.edit(|rows| {
        tiles = rows.all(Table::Tiles)?;
        Ok(())
    })?;
    // Tiles 0, 1 and 2 of level 0, and the one of level 1 above the full ones.
    assert_eq!(tiles.len(), 4);
    let damaged = |at: usize| -> Outcome {
        let (key, value) = &tiles[at];
        let mut altered = value.clone();
        altered[70] ^= 1;
        site.edit(|rows| rows.set(Table::Tiles, key, Some(&altered)))
    };
    damaged(0)?;
    let log = site.open()?;
    let error = log
        .record(runstone_codec::Position::new(2))
        .err()
        .ok_or("it was read")?;
    assert_eq!(
        (error.kind(), error.position()),
        (ErrorKind::Corrupt, Some(2))
    );
    log.record(runstone_codec::Position::new(300))?;
    drop(log);
    let report = site.verify()?;
    assert!(
        report
            .problems
            .iter()
            .all(|problem| problem.table == "tiles"),
        "{report:?}"
    );
    assert!(!report.valid);
    site.edit(|rows| rows.set(Table::Tiles, &tiles[0].0, Some(&tiles[0].1)))?;
    damaged(2)?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("corrupt", ErrorKind::Corrupt)
    );
    rederived(&site)?;
    assert!(site.verify()?.valid);
    Ok(())
}

/// What a log answers after its index and tiles are derived again.
fn rederived(site: &Site) -> Outcome<Answers> {
    let mut opening = site.opening();
    // Few enough that what is derived is written in several parts.
    opening.options.index.freeze_events = 2;
    Log::rederive(&site.path(), opening, &|_, _| {})?;
    let log = site.open()?;
    is_valid(&log);
    Ok(Answers::of(&log)?)
}

fn with_fold(site: &Site, fold: Counter) -> Result<Log, OpenError> {
    let mut open = site.opening();
    open.folds.push(Arc::new(fold));
    Log::open(&site.path(), open)
}

#[test]
fn folds_missing_of_another_version_or_corrupt_start_again() -> Outcome {
    let (sample, site) = closed()?;
    let whole = Answers::of(&site.open()?)?;
    let changes: [(&[u8], Option<&[u8]>); 2] = [(b"ctally", None), (b"ctally", Some(&[7; 60]))];
    for (key, value) in changes {
        let site = sample.install()?;
        site.edit(|rows| rows.set(Table::Folds, key, value))?;
        let log = site.open()?;
        assert_eq!(log.fold_status()?[0].applied, log.size());
        assert_eq!(Answers::of(&log)?, whole);
        is_valid(&log);
    }
    let log = with_fold(&site, Counter::new("counter", 1))?;
    let events = u8::try_from(log.size())?;
    assert_eq!(log.fold_row("counter", b"events")?, Some(vec![events]));
    log.close_blocking()?;
    drop(log);
    site.edit(|rows| {
        // A row that the older version would have left.
        rows.set(Table::Folds, b"rcounter\0old", Some(&[7; 40]))
    })?;
    let log = with_fold(&site, Counter::new("counter", 2))?;
    assert_eq!(log.fold_rows("counter", b"", b"", 9)?.len(), 1);
    is_valid(&log);
    Ok(())
}

#[test]
fn unknown_fold_is_kept_and_reported() -> Outcome {
    let (_, site) = closed()?;
    let log = with_fold(&site, Counter::new("counter", 1))?;
    let row = log.fold_row("counter", b"events")?;
    log.close_blocking()?;
    drop(log);
    let log = site.open()?;
    let status = log.fold_status()?;
    let unknown = status
        .iter()
        .find(|status| !status.known)
        .ok_or("not reported")?;
    assert_eq!(
        (unknown.name.as_str(), unknown.flushed),
        ("counter", log.size())
    );
    is_valid(&log);
    log.close_blocking()?;
    drop(log);
    assert_eq!(
        with_fold(&site, Counter::new("counter", 1))?.fold_row("counter", b"events")?,
        row
    );
    Ok(())
}

#[test]
fn replica_is_read_only() -> Outcome {
    let (_, site) = closed()?;
    let log = site.open()?;
    let copy = site.beside("replica");
    log.backup(&copy, &|_, _| {})?;
    let whole = Answers::of(&log)?;
    drop(log);
    let mut open = site.opening();
    open.keys = Some(default_keys_path(&site.path()));
    let replica = Log::open(&copy, open)?;
    assert_eq!(Answers::of(&replica)?, whole);
    is_valid(&replica);
    let refused = replica
        .append_blocking(event("s"))
        .err()
        .ok_or("it was written")?;
    assert_eq!(refused.code(), "read_only");
    replica.backup(&site.beside("again"), &|_, _| {})?;
    Ok(())
}

#[test]
fn read_only_writes_no_file() -> Outcome {
    let (sample, site) = killed()?;
    let mut open = site.opening();
    open.read_only = true;
    let log = Log::open(&site.path(), open)?;
    assert_eq!(
        log.append_blocking(event("s")).err().map(|e| e.code()),
        Some("read_only")
    );
    let twin = Answers::of(&closed()?.1.open()?)?;
    assert_eq!(Answers::of(&log)?, twin);
    is_valid(&log);
    log.close_blocking()?;
    drop(log);
    assert!(std::fs::read(site.path())? == sample.log);
    assert!(std::fs::read(site.head_path())? == sample.head);
    Ok(())
}
