//! Rows changed past the log, by somebody who has its files and not its keys.
//!
//! Every change is named: by position where it lies in an event, else by table. Nothing panics.

use runstone_codec::hash::leaf_hash;
use runstone_codec::{
    Compression, Entry, EntryParts, Header, LogId, NewEvent, PayloadSpec, Position, encode_entry,
    row, seal,
};
use runstone_receipt::head::head_mac;
use runstone_receipt::tree::Frontier;
use runstone_store::keys::KeyStore;
use runstone_store::{
    ErrorKind, Log, OpenError, ProblemKind, Query, Read, Sealing, VerifyLevel, VerifyReport,
    default_keys_path,
};
use runstone_tests::tamper::{
    Answers, ChunkParts, Ending, Event, Outcome, RawRows, Sample, Site, Table,
};

/// An event in the middle of the log.
const MIDDLE: u64 = 61;

fn closed() -> Outcome<Site> {
    Sample::new(Sealing::Required, Ending::Closed)?.install()
}

fn plain() -> Outcome<Site> {
    Sample::new(Sealing::Plain, Ending::Closed)?.install()
}

/// Verifies, then opens and reads whatever can be read.
fn examine(site: &Site) -> Outcome<VerifyReport> {
    let report = site.verify()?;
    for problem in &report.problems {
        assert_eq!(problem.kind, ProblemKind::Tampered, "{problem:?}");
    }
    match site.open() {
        Ok(log) => {
            // What it answers is for the test; here it only must not panic.
            let _ = Answers::of(&log);
            for position in 0..log.size() {
                let _ = log.record(Position::new(position));
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    Ok(report)
}

/// The positions that a report names.
fn positions(report: &VerifyReport) -> Vec<u64> {
    let mut named: Vec<u64> = report.problems.iter().filter_map(|p| p.position).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The tables that a report names where no event is to blame.
fn tables(report: &VerifyReport) -> Vec<&str> {
    let outside = report.problems.iter().filter(|p| p.position.is_none());
    let mut named: Vec<_> = outside.map(|problem| &*problem.table).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn assert_named_at(site: &Site, expected: &[u64]) -> Outcome {
    let report = examine(site)?;
    assert!(!report.valid);
    assert_eq!(positions(&report), expected, "{report:?}");
    Ok(())
}

fn assert_named_in(site: &Site, table: &str) -> Outcome {
    let report = examine(site)?;
    assert!(!report.valid);
    assert_eq!(tables(&report), [table], "{report:?}");
    assert_eq!(positions(&report), [0_u64; 0], "{report:?}");
    Ok(())
}

/// The entry of another event in the place of one: everything right but the header.
fn entry_with(old: &[u8], header: &Header, digest: &[u8; 32]) -> Outcome<Vec<u8>> {
    let entry = Entry::parse(old)?;
    let mut out = Vec::new();
    let parts = EntryParts {
        header: &header.encode()?,
        position: entry.position(),
        revision: entry.revision(),
        recorded_at_us: entry.recorded_at_us(),
        control: entry.control(),
        commit: entry.commit(),
        digest,
    };
    encode_entry(&parts, &mut out)?;
    Ok(out)
}

#[test]
fn an_untouched_log_verifies() -> Outcome {
    for site in [closed()?, plain()?] {
        let report = site.verify()?;
        assert!(report.valid, "{report:?}");
        site.edit_chunk(MIDDLE, |_, _| {})?;
        assert!(site.verify()?.valid);
    }
    Ok(())
}

#[test]
fn an_event_dropped_from_its_chunk() -> Outcome {
    let site = closed()?;
    let mut rest = 0;
    site.edit_chunk(MIDDLE, |chunk, at| {
        chunk.events.remove(at);
        rest = chunk.events.len();
    })?;
    assert!(rest > 0);
    let report = examine(&site)?;
    assert!(positions(&report).contains(&MIDDLE), "{report:?}");
    Ok(())
}

#[test]
fn a_chunk_dropped() -> Outcome {
    let site = closed()?;
    let mut first = 0;
    site.edit(|rows| {
        first = rows.chunk(MIDDLE)?.first;
        rows.set(Table::Chunks, &first.to_be_bytes(), None)
    })?;
    let report = examine(&site)?;
    assert!(positions(&report).contains(&first), "{report:?}");
    Ok(())
}

#[test]
fn the_last_events_dropped() -> Outcome {
    let site = closed()?;
    let size = site.open()?.size();
    site.edit(|rows| {
        let first = rows.chunk(size - 1)?.first;
        rows.set(Table::Chunks, &first.to_be_bytes(), None)
    })?;
    let error = site.open().err().ok_or("it opened")?;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!examine(&site)?.valid);
    Ok(())
}

#[test]
fn two_events_swapped() -> Outcome {
    let site = closed()?;
    let mut swapped = 0;
    site.edit_chunk(MIDDLE, |chunk, at| {
        chunk.events.swap(at, at + 1);
        swapped = chunk.first + at as u64;
    })?;
    assert_named_at(&site, &[swapped, swapped + 1])
}

#[test]
fn a_payload_moved_to_another_event() -> Outcome {
    for site in [closed()?, plain()?] {
        let expected = events(&site)?;
        let mut moved = 0;
        site.edit_chunk(MIDDLE, |chunk, at| {
            let envelope = chunk.events[at].1.clone();
            chunk.events[at + 1].1 = envelope;
            moved = chunk.first + at as u64 + 1;
        })?;
        let log = site.open()?;
        for event in &expected {
            match log.record(Position::new(event.place.0)) {
                Ok(record) => assert_eq!(Event::from(record), *event),
                Err(error) => assert_eq!(error.position(), Some(moved)),
            }
        }
        drop(log);
        assert_named_at(&site, &[moved])?;
    }
    Ok(())
}

#[test]
fn a_payload_taken_away_is_incomplete() -> Outcome {
    let site = closed()?;
    site.edit_chunk(MIDDLE, |chunk, at| chunk.events[at].1.clear())?;
    let report = site.verify()?;
    assert!(!report.valid);
    assert_eq!(report.worst(), Some(ProblemKind::Incomplete));
    assert_eq!(positions(&report), [MIDDLE]);
    Ok(())
}

#[test]
fn a_plain_payload_forged_into_an_encrypted_log() -> Outcome {
    let site = closed()?;
    let log_id = site.open()?.info().log_id;
    site.edit_chunk(MIDDLE, |chunk, at| {
        let (entry, envelope) = forged(&log_id, &chunk.events[at].0).unwrap();
        chunk.events[at] = (entry, envelope);
    })?;
    assert_named_at(&site, &[MIDDLE])
}

/// An event with the codec that needs no key.
fn forged(log_id: &LogId, old: &[u8]) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let entry = Entry::parse(old)?;
    let mut header = entry.header().clone();
    (header.codec, header.key_id) = (0, None);
    let spec = PayloadSpec {
        fields: false,
        compress: Compression::Never,
    };
    let sealed = seal::seal(log_id, &header, b"\"forged\"", spec, None, [1; 32], [0; 12])?;
    let mut out = Vec::new();
    let parts = EntryParts {
        header: &sealed.header,
        position: entry.position(),
        revision: entry.revision(),
        recorded_at_us: entry.recorded_at_us(),
        control: &[],
        commit: &sealed.commit,
        digest: &sealed.digest,
    };
    encode_entry(&parts, &mut out)?;
    Ok((out, sealed.envelope))
}

/// Whoever has the keys can make a chunk that belongs; even then a plain payload in an encrypted
/// log is no event of it.
#[test]
fn a_plain_payload_appended_with_the_keys() -> Outcome {
    let site = closed()?;
    let log = site.open()?;
    let (size, log_id) = (log.size(), log.info().log_id);
    let last = log.record(Position::new(size - 1))?;
    log.close_blocking()?;
    drop(log);
    let keys = keys_of(&site)?;
    site.edit(|rows| {
        let spec = PayloadSpec {
            fields: false,
            compress: Compression::Never,
        };
        let mut header = last.header.clone();
        (header.codec, header.key_id) = (0, None);
        header.event_id = runstone_codec::Uuid::from_u128(99);
        let sealed = seal::seal(
            &log_id,
            &header,
            b"\"forged\"",
            spec,
            None,
            [1; 32],
            [0; 12],
        )?;
        let mut entry = Vec::new();
        let parts = EntryParts {
            header: &sealed.header,
            position: Position::new(size),
            revision: runstone_codec::Revision::new(last.revision.get() + 1),
            recorded_at_us: last.recorded_at_us,
            control: &[],
            commit: &sealed.commit,
            digest: &sealed.digest,
        };
        encode_entry(&parts, &mut entry)?;
        let mut tree = Frontier::new();
        for (_, chunk) in rows.all(Table::Chunks)? {
            for (entry, _) in ChunkParts::parse(&chunk)?.events {
                tree.push(leaf_hash(&entry));
            }
        }
        tree.push(leaf_hash(&entry));
        let chunk = ChunkParts {
            first: size,
            head: head_of(&keys, &log_id, &tree, last.recorded_at_us),
            events: vec![(entry, sealed.envelope)],
        };
        rows.set(Table::Chunks, &size.to_be_bytes(), Some(&chunk.encode()))
    })?;
    let log = site.open()?;
    assert_eq!(log.size(), size + 1);
    let error = log.record(Position::new(size)).err().ok_or("it was read")?;
    assert_eq!(
        (error.kind(), error.position()),
        (ErrorKind::Corrupt, Some(size))
    );
    drop(log);
    assert_named_at(&site, &[size])
}

fn keys_of(site: &Site) -> Outcome<KeyStore> {
    let open = site.opening();
    let folder = default_keys_path(&site.path());
    let entropy = open.options.entropy;
    Ok(KeyStore::open(
        &folder,
        Sealing::Required,
        &open.sources,
        entropy,
    )?)
}

fn head_of(keys: &KeyStore, log_id: &LogId, tree: &Frontier, recorded_at_us: u64) -> Vec<u8> {
    let (size, root) = (tree.size(), tree.root());
    let mac = head_mac(keys.mac().as_bytes(), log_id, size, &root, recorded_at_us);
    head_bytes(size, &root, recorded_at_us, &mac, tree.peaks())
}

fn head_bytes(
    size: u64,
    root: &[u8; 32],
    recorded_at_us: u64,
    mac: &[u8; 32],
    peaks: &[[u8; 32]],
) -> Vec<u8> {
    let mut head = size.to_be_bytes().to_vec();
    head.extend_from_slice(root);
    head.extend_from_slice(&recorded_at_us.to_be_bytes());
    head.extend_from_slice(mac);
    head.push(u8::try_from(peaks.len()).unwrap_or(u8::MAX));
    head.extend(peaks.iter().flatten());
    head
}

#[test]
fn an_entry_altered() -> Outcome {
    for site in [closed()?, plain()?] {
        site.edit_chunk(MIDDLE, |chunk, at| {
            let old = &chunk.events[at].0;
            let parsed = Entry::parse(old).unwrap();
            let mut header = parsed.header().clone();
            header.principal = "human:ann".into();
            let altered = entry_with(old, &header, parsed.digest()).unwrap();
            assert_ne!(altered, *old);
            chunk.events[at].0 = altered;
        })?;
        let log = site.open()?;
        let error = log
            .record(Position::new(MIDDLE))
            .err()
            .ok_or("it was read")?;
        assert_eq!(error.position(), Some(MIDDLE));
        // What lies around it reads on.
        let read = log.read(Read::new(Query::everything()))?;
        assert_eq!(read.filter(Result::is_err).count(), 1);
        drop(log);
        assert_named_at(&site, &[MIDDLE])?;
    }
    Ok(())
}

fn events(site: &Site) -> Outcome<Vec<Event>> {
    Ok(Answers::of(&site.open()?)?.events)
}

/// Appends to a log and closes it.
fn go_on(site: &Site, events: u32) -> Outcome {
    let log = site.open()?;
    for n in 0..events {
        log.append_blocking(NewEvent::new("data.more", "more").payload(n.to_string()))?;
    }
    log.close_blocking()?;
    Ok(())
}

fn assert_behind(site: &Site, open: Result<Log, OpenError>, known: u64, witness: &str) -> Outcome {
    match open.err() {
        Some(OpenError::Behind {
            witness: found,
            size,
            known_size,
        }) => {
            assert!(found.ends_with(witness), "{found}");
            assert!(size < known_size && known_size == known);
        }
        other => return Err(format!("{other:?} at {}", site.path().display()).into()),
    }
    Ok(())
}

#[test]
fn an_older_copy_beside_its_head() -> Outcome {
    let site = closed()?;
    let older = std::fs::read(site.path())?;
    go_on(&site, 3)?;
    let known = site.open()?.size();
    std::fs::write(site.path(), older)?;
    assert_behind(&site, site.open(), known, "LOG.head")?;
    assert_named_in(&site, "LOG.head")
}

#[test]
fn an_older_copy_under_a_newer_checkpoint() -> Outcome {
    let site = closed()?;
    let copy = site.beside("checkpoint");
    let (older, older_head) = (
        std::fs::read(site.path())?,
        std::fs::read(site.head_path())?,
    );
    let open = || {
        let mut open = site.opening();
        open.options.checkpoint_copies = vec![copy.clone()];
        Log::open(&site.path(), open)
    };
    let log = open()?;
    log.append_blocking(NewEvent::new("data.more", "more"))?;
    let known = log.size();
    log.close_blocking()?;
    drop(log);
    std::fs::write(site.path(), &older)?;
    std::fs::remove_file(site.head_path())?;
    assert_behind(&site, open(), known, "checkpoint")?;
    std::fs::write(site.head_path(), older_head)?;
    assert_behind(&site, open(), known, "checkpoint")
}

#[test]
fn events_appended_without_the_keys_after_a_crash() -> Outcome {
    let sample = Sample::new(Sealing::Plain, Ending::Killed)?;
    let heads: [fn(&ChunkParts) -> Vec<u8>; 4] = [
        |_| Vec::new(),
        |last| last.head.clone(),
        |last| {
            let mut head = last.head.clone();
            let size = last.first + last.events.len() as u64 + 1;
            head[..8].copy_from_slice(&size.to_be_bytes());
            head
        },
        |last| {
            let size = last.first + last.events.len() as u64 + 1;
            let peaks = vec![[3; 32]; size.count_ones() as usize];
            head_bytes(size, &[4; 32], 0, &[5; 32], &peaks)
        },
    ];
    for (n, head) in heads.into_iter().enumerate() {
        let site = sample.install()?;
        let mut size = 0;
        site.edit(|rows| {
            let last = rows.chunk(u64::MAX)?;
            size = last.first + last.events.len() as u64;
            let chunk = ChunkParts {
                first: size,
                head: head(&last),
                events: last.events[..1].to_vec(),
            };
            rows.set(Table::Chunks, &size.to_be_bytes(), Some(&chunk.encode()))
        })?;
        let error = site
            .open()
            .err()
            .ok_or_else(|| format!("head {n} was taken"))?;
        assert_eq!(error.code(), "corrupt", "head {n}: {error}");
        assert_named_at(&site, &[size])?;
    }
    Ok(())
}

#[test]
fn a_tile_altered() -> Outcome {
    let site = closed()?;
    site.edit(|rows| {
        let (key, mut tile) = rows.all(Table::Tiles)?.remove(0);
        tile[40] ^= 1;
        rows.set(Table::Tiles, &key, Some(&tile))
    })?;
    assert_named_in(&site, "tiles")
}

#[test]
fn a_tile_cut_or_removed() -> Outcome {
    for keep in [None, Some(0), Some(32), Some(33)] {
        let site = closed()?;
        site.edit(|rows| {
            let (key, tile) = rows.all(Table::Tiles)?.remove(0);
            rows.set(Table::Tiles, &key, keep.map(|keep| &tile[..keep]))
        })?;
        assert_named_in(&site, "tiles")?;
    }
    Ok(())
}

#[test]
fn each_index_row_altered_or_removed() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let rows = sample.install()?;
    let mut all = Vec::new();
    rows.edit(|rows| {
        all = rows.all(Table::Index)?;
        Ok(())
    })?;
    assert!(all.len() > 3, "several runs");
    for (key, value) in all {
        for remove in [false, true] {
            let site = sample.install()?;
            let mut altered = value.clone();
            altered[value.len() / 2] ^= 4;
            let altered = (!remove).then_some(altered.as_slice());
            site.edit(|rows| rows.set(Table::Index, &key, altered))?;
            assert_named_in(&site, "index")?;
        }
    }
    Ok(())
}

/// The index of a log that differs in one tag: every checksum, count and fence is right.
#[test]
fn a_posting_removed_with_a_right_checksum() -> Outcome {
    let site = closed()?;
    let other = Sample::without_a_tag()?.install()?;
    let mut theirs = Vec::new();
    other.edit(|rows| {
        theirs = rows.all(Table::Index)?;
        Ok(())
    })?;
    site.edit(|rows| {
        for (key, _) in rows.all(Table::Index)? {
            rows.set(Table::Index, &key, None)?;
        }
        for (key, value) in &theirs {
            rows.set(Table::Index, key, Some(value))?;
        }
        Ok(())
    })?;
    assert_named_in(&site, "index")
}

fn fold_rows(rows: &RawRows) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = rows.all(Table::Folds)?;
    all.retain(|(key, _)| key.starts_with(b"r"));
    Ok(all)
}

#[test]
fn a_fold_row_altered_removed_or_swapped() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let sample = Sample::new(sealing, Ending::Closed)?;
        let changes: [fn(&RawRows) -> Outcome; 3] = [
            |rows| {
                let (key, mut value) = fold_rows(rows)?.remove(4);
                let last = value.len() - 1;
                value[last] ^= 1;
                rows.set(Table::Folds, &key, Some(&value))
            },
            |rows| {
                let (key, _) = fold_rows(rows)?.remove(4);
                rows.set(Table::Folds, &key, None)
            },
            |rows| {
                let all = fold_rows(rows)?;
                rows.set(Table::Folds, &all[4].0, Some(&all[5].1))?;
                rows.set(Table::Folds, &all[5].0, Some(&all[4].1))
            },
        ];
        for change in changes {
            let site = sample.install()?;
            site.edit(change)?;
            assert_named_in(&site, "folds")?;
        }
    }
    Ok(())
}

/// In a plain log anybody can compute the check of a row; folding again tells.
#[test]
fn a_fold_row_forged_with_a_right_check() -> Outcome {
    let site = plain()?;
    let log_id = site.open()?.info().log_id;
    site.edit(|rows| {
        let (key, value) = fold_rows(rows)?.remove(4);
        let mut plain = row::open(None, &log_id, &key, &value)?;
        plain[0] ^= 1;
        let forged = row::seal(None, &log_id, &key, [0; 12], &plain)?;
        rows.set(Table::Folds, &key, Some(&forged))
    })?;
    assert_named_in(&site, "folds")
}

#[test]
fn a_checkpoint_altered() -> Outcome {
    let site = closed()?;
    let mut seen = 0;
    site.edit(|rows| {
        let all = rows.all(Table::Checkpoints)?;
        seen = all.len();
        let (key, value) = &all[seen / 2];
        let mut altered = value.clone();
        let root = value.len() / 3;
        altered[root] ^= 1;
        rows.set(Table::Checkpoints, key, Some(&altered))
    })?;
    assert!(seen > 2);
    assert_named_in(&site, "checkpoints")
}

#[test]
fn a_checkpoint_under_another_size() -> Outcome {
    let site = closed()?;
    site.edit(|rows| {
        let (key, value) = rows.all(Table::Checkpoints)?.remove(1);
        let other = u64::from_be_bytes(key.as_slice().try_into()?) - 1;
        rows.set(Table::Checkpoints, &other.to_be_bytes(), Some(&value))
    })?;
    assert_named_in(&site, "checkpoints")
}

#[test]
fn meta_rows_altered() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let wrong: [(&[u8], &[u8]); 5] = [
        (b"tiles", b"short"),
        (b"tiles", &[0, 0, 0, 0, 0, 0, 0, 9]),
        (b"tiles", &[0, 0, 0, 0, 0, 0, 9, 9]),
        (b"merged", b"short"),
        (b"merged", &[9; 8]),
    ];
    for (key, value) in wrong {
        let site = sample.install()?;
        site.edit(|rows| rows.set(Table::Meta, key, Some(value)))?;
        let report = examine(&site)?;
        assert!(!report.valid, "{key:?} {value:?}");
        let mut named = tables(&report);
        named.retain(|table| *table != "meta" && *table != "tiles");
        assert!(
            named.is_empty() && positions(&report).is_empty(),
            "{report:?}"
        );
    }
    let site = sample.install()?;
    site.edit(|rows| rows.set(Table::Meta, b"format", Some(b"runstone/2")))?;
    assert_eq!(site.open().err().map(|e| e.code()), Some("newer_format"));
    Ok(())
}

#[test]
fn an_old_chunk_put_back() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let site = sample.install()?;
    // Merge by hand what a later slice would merge, and leave a row of before.
    let mut again = 0;
    site.edit(|rows| {
        let mut first = rows.chunk(MIDDLE)?;
        let second = rows.chunk(first.first + first.events.len() as u64)?;
        first.events.extend(second.events.clone());
        first.head.clone_from(&second.head);
        again = second.first;
        rows.set(
            Table::Chunks,
            &first.first.to_be_bytes(),
            Some(&first.encode()),
        )
    })?;
    assert_named_at(&site, &[again])
}

#[test]
fn a_chunk_under_another_position() -> Outcome {
    let site = closed()?;
    let mut at = 0;
    site.edit(|rows| {
        let chunk = rows.chunk(MIDDLE)?;
        at = chunk.first + 1;
        rows.set(Table::Chunks, &at.to_be_bytes(), Some(&chunk.encode()))
    })?;
    assert_named_at(&site, &[at])
}

#[test]
fn rows_that_nobody_wrote() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    let number = |table, key: u64| (table, key.to_be_bytes().to_vec());
    let block = |run: u8| [&b"r"[..], &[0, 0, 0, 0, 0, 0, 0, run], &[0, 0, 0, 0]].concat();
    let extra = [
        (number(Table::Tiles, 7), "tiles"),
        (number(Table::Tiles, 1 << 56), "tiles"),
        (number(Table::Tiles, u64::MAX), "tiles"),
        (number(Table::Checkpoints, 3), "checkpoints"),
        (number(Table::Checkpoints, u64::MAX), "checkpoints"),
        ((Table::Index, b"unknown".to_vec()), "index"),
        ((Table::Index, block(200)), "index"),
        ((Table::Folds, b"rtally\0none".to_vec()), "folds"),
        ((Table::Folds, b"rnobody\0row".to_vec()), "folds"),
        ((Table::Folds, b"x".to_vec()), "folds"),
        ((Table::Meta, b"unknown".to_vec()), "meta"),
    ];
    for ((table, key), named) in extra {
        let site = sample.install()?;
        site.edit(|rows| rows.set(table, &key, Some(&[7; 40])))?;
        assert_named_in(&site, named).map_err(|error| format!("{table:?} {key:?}: {error}"))?;
    }
    let site = sample.install()?;
    site.edit(|rows| rows.set(Table::Chunks, &5000_u64.to_be_bytes(), Some(&[7; 40])))?;
    assert_named_at(&site, &[5000])
}

#[test]
fn a_table_that_nobody_made() -> Outcome {
    let site = closed()?;
    site.edit(|rows| rows.make_table("extra"))?;
    assert_named_in(&site, "database")
}

/// Who has no keys finds what the signed checkpoints and `LOG.head` vouch for.
#[test]
fn changes_that_show_without_keys() -> Outcome {
    type Change = fn(&Site) -> Outcome;
    let changes: [(&str, Change); 7] = [
        ("chunks", |site| {
            site.edit_chunk(MIDDLE, |chunk, at| chunk.events.swap(at, at + 1))
        }),
        ("chunks", |site| {
            site.edit_chunk(MIDDLE, |chunk, at| {
                let envelope = chunk.events[at].1.clone();
                chunk.events[at + 1].1 = envelope;
            })
        }),
        ("tiles", |site| {
            site.edit(|rows| {
                let (key, mut tile) = rows.all(Table::Tiles)?.remove(0);
                tile[40] ^= 1;
                rows.set(Table::Tiles, &key, Some(&tile))
            })
        }),
        ("index", |site| {
            site.edit(|rows| {
                let (key, mut row) = rows.all(Table::Index)?.remove(0);
                let last = row.len() - 1;
                row[last] ^= 1;
                rows.set(Table::Index, &key, Some(&row))
            })
        }),
        ("checkpoints", |site| {
            site.edit(|rows| {
                let (key, _) = rows.all(Table::Checkpoints)?.remove(1);
                let (_, other) = rows.all(Table::Checkpoints)?.remove(0);
                rows.set(Table::Checkpoints, &key, Some(&other))
            })
        }),
        ("meta", |site| {
            site.edit(|rows| rows.set(Table::Meta, b"tilez", Some(b"row")))
        }),
        ("LOG.head", |site| {
            let older = std::fs::read(site.path())?;
            go_on(site, 3)?;
            Ok(std::fs::write(site.path(), older)?)
        }),
    ];
    for (table, change) in changes {
        let site = closed()?;
        for level in [VerifyLevel::Headers, VerifyLevel::Payloads] {
            let report = site.verify_without_keys(level)?;
            assert!(report.valid, "{table}: {report:?}");
        }
        let error = site.verify_without_keys(VerifyLevel::Commitments).err();
        assert!(error.is_some_and(|error| error.to_string().contains("key")));
        change(&site)?;
        let report = site.verify_without_keys(VerifyLevel::Payloads)?;
        assert_eq!(report.worst(), Some(ProblemKind::Tampered), "{table}");
        let named = report.problems.iter().any(|problem| problem.table == table);
        assert!(named, "{table}: {report:?}");
    }
    // After a kill the tail is under no signature yet: only the keys can tell.
    let site = Sample::new(Sealing::Required, Ending::Killed)?.install()?;
    let report = site.verify_without_keys(VerifyLevel::Payloads)?;
    assert_eq!(report.worst(), Some(ProblemKind::Incomplete), "{report:?}");
    Ok(())
}
