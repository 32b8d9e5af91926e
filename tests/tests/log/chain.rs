//! Nine things that happen to a ledger, and what its verification says of them.
//!
//! A chain of hashes without a key, over a part of each record, calls the first three valid, and
//! the others, in which nothing is wrong, invalid (`meshflow`, whose `verify_chain` was measured).
//!
//! | what happens | here | more of it |
//! |---|---|---|
//! | a field or the end of a long payload is overwritten | found, by position | `tamper.rs`, `flips.rs` |
//! | the last events or a whole run are deleted | found | `tamper.rs`, `recovery.rs` |
//! | an event is rewritten with every hash that takes no secret | found | `tamper.rs` |
//! | a run pauses for a person and goes on in another process | valid | `model.rs` |
//! | a run is copied into another one, a log into another file | valid, both | `succession.rs` |
//! | a person is erased | valid, with a certificate | `erasure.rs` |
//! | a write fails and is tried again | valid | `recovery/while_open.rs`, simulator |
//! | branches append at once | valid | `concurrency.rs` |
//! | two processes write one log | the second is refused, valid | `recovery.rs` |

use runstone_codec::keys::DataKey;
use runstone_codec::{
    Authority, Compression, Entropy, Entry, EntryParts, Header, LogId, NewEvent, OsEntropy,
    PayloadSpec, Position, Revision, Uuid, encode_entry, seal,
};
use runstone_receipt::head::head_mac;
use runstone_receipt::tree::{Frontier, TileSink};
use runstone_receipt::{Policy, Receipt, VerifyOptions, leaf_hash};
use runstone_store::keys::{Credential, KeyStore};
use runstone_store::{
    CreateOptions, Disks, Erase, ErrorKind, Log, OpenError, OpenOptions, Payload, ProblemKind,
    Query, Read, Record, Sealing, VerifyLevel, VerifyReport, default_keys_path,
};
use runstone_tests::command::Runstone;
use runstone_tests::simulator::{Fault, Machine};
use runstone_tests::tamper::{
    ChunkParts, Ending, Outcome, RawRows, Sample, Seeded, SeededEntropy, Site, Table,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Barrier};

const SEALINGS: [Sealing; 2] = [Sealing::Required, Sealing::Plain];
/// A run that other runs are in between of.
const RUN: &str = "run-1";

fn found(report: &VerifyReport) -> Vec<u64> {
    assert!(!report.valid, "nothing was found");
    assert_eq!(report.worst(), Some(ProblemKind::Tampered), "{report:?}");
    report.problems.iter().filter_map(|p| p.position).collect()
}

fn assert_valid(log: &Log) {
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
}

fn records(log: &Log, stream: &str) -> Outcome<Vec<Record>> {
    let records = log.read(Read::new(Query::stream(stream)))?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// The events of a run are dense, and those of the log too.
fn assert_dense(log: &Log, stream: &str, count: u64) -> Outcome {
    let revisions = records(log, stream)?.into_iter().map(|r| r.revision.get());
    assert_eq!(
        revisions.collect::<Vec<_>>(),
        (0..count).collect::<Vec<_>>()
    );
    Ok(())
}

fn step(n: u64) -> NewEvent {
    NewEvent::new("data.step", RUN).payload(json!({"step": n, "output": "words"}).to_string())
}

fn create(site: &Site, sealing: Sealing) -> Outcome<Log> {
    let mut create = CreateOptions::default();
    create.sealing = sealing;
    Ok(Log::create(&site.path(), &create, site.opening())?)
}

fn closed(log: Log) -> Outcome {
    log.close_blocking()?;
    drop(log);
    Ok(())
}

/// A sample with an event of 240 characters, which is too short to be compressed, and one behind it;
/// answers its position.
fn with_a_long_payload(sealing: Sealing) -> Outcome<(Site, u64)> {
    let site = Sample::new(sealing, Ending::Closed)?.install()?;
    let log = site.open()?;
    let mut numbers = Seeded::new(4);
    let text: String = (0..15)
        .map(|_| format!("{:016x}", numbers.next_u64()))
        .collect();
    let long = NewEvent::new("data.answer", RUN).payload(format!("\"{text}\""));
    let at = log.append_blocking(long)?.first.get();
    log.append_blocking(step(0))?;
    closed(log)?;
    Ok((site, at))
}

/// The same entry with another header, place, control or payload.
fn entry<'a>(
    old: &'a [u8],
    change: impl FnOnce(&mut Header, &mut EntryParts<'a>),
) -> Outcome<Vec<u8>> {
    let entry = Entry::parse(old)?;
    let mut header = entry.header().clone();
    let mut parts = EntryParts {
        header: &[],
        position: entry.position(),
        revision: entry.revision(),
        recorded_at_us: entry.recorded_at_us(),
        control: entry.control(),
        commit: entry.commit(),
        digest: entry.digest(),
    };
    change(&mut header, &mut parts);
    let header = header.encode()?;
    let mut out = Vec::new();
    encode_entry(
        &EntryParts {
            header: &header,
            ..parts
        },
        &mut out,
    )?;
    Ok(out)
}

/// Changes one event of a log in a file, and gives what verification finds.
fn changed(
    site: &Site,
    at: u64,
    change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>),
) -> Outcome<Vec<u64>> {
    let before = std::fs::read(site.path())?;
    let mut is_other = false;
    site.edit_chunk(at, |chunk, index| {
        let (entry, envelope) = &mut chunk.events[index];
        let old = (entry.clone(), envelope.clone());
        change(entry, envelope);
        is_other = old != (entry.clone(), envelope.clone());
    })?;
    assert!(is_other, "nothing was changed");
    let positions = found(&site.verify()?);
    std::fs::write(site.path(), before)?;
    Ok(positions)
}

/// Row 1: whichever field it is, and the payload wherever in it.
#[test]
fn an_overwritten_field_is_found() -> Outcome {
    type Change = fn(&mut Header, &mut EntryParts<'_>);
    const FIELDS: [(&str, Change); 15] = [
        ("event id", |header, _| header.event_id = Uuid::from_u128(5)),
        ("stream", |header, _| {
            header.stream = format!("{}0", header.stream).into();
        }),
        ("type", |header, _| {
            header.event_type = format!("{}s", header.event_type).into();
        }),
        ("schema version", |header, _| header.schema_version += 1),
        ("occurred at", |header, _| header.occurred_at_us = Some(1)),
        ("source", |header, _| {
            header.source = format!("{}s", header.source).into();
        }),
        ("principal", |header, _| {
            header.principal = "human:ada".into();
        }),
        ("authority", |header, _| header.authority = Authority::Human),
        ("causation", |header, _| {
            header.causation = Some(Uuid::from_u128(5));
        }),
        ("correlation", |header, _| {
            header.correlation = Some(Uuid::from_u128(5));
        }),
        ("scope", |header, _| {
            header.scope = format!("{}s", header.scope).into();
        }),
        ("tags", |header, _| header.tags.push("z:z".into())),
        ("revision", |_, parts| parts.revision = Revision::new(99)),
        ("time", |_, parts| parts.recorded_at_us += 1),
        ("control", |_, parts| parts.control = &[]),
    ];
    for sealing in SEALINGS {
        let (site, at) = with_a_long_payload(sealing)?;
        let log = site.open()?;
        let imported = records(&log, "imported")?[3].position.get();
        drop(log);
        for (name, change) in FIELDS {
            let at = if name == "control" { imported } else { at };
            let positions = changed(&site, at, |stored, _| {
                *stored = entry(stored, change).unwrap();
            })?;
            assert_eq!(positions.first(), Some(&at), "{name}");
        }
        // Before the text of the payload stand codec, key and nonce, R, mode and a quotation mark.
        let text = if sealing == Sealing::Plain { 1 } else { 29 } + 34;
        for character in [0, 199, 200, 239] {
            let positions = changed(&site, at, |_, envelope| envelope[text + character] ^= 1)?;
            assert_eq!(positions, [at], "character {character}");
        }
    }
    Ok(())
}

type Stored = Vec<(Vec<u8>, Vec<u8>)>;

/// Writes a log anew with other events and everything that is computed from them: chunks, roots,
/// peaks and tiles; MACs where the writer has the key. Nothing is left that says otherwise: neither
/// `LOG.head` nor a signed checkpoint.
fn rewrite(
    site: &Site,
    mac: Option<&KeyStore>,
    change: impl FnOnce(&mut Stored) -> Outcome,
) -> Outcome {
    let log = site.open()?;
    let log_id = log.info().log_id;
    drop(log);
    std::fs::remove_file(site.head_path())?;
    site.edit(|rows| {
        for (key, _) in rows.all(Table::Checkpoints)? {
            rows.set(Table::Checkpoints, &key, None)?;
        }
        let mut events = Stored::new();
        for (key, value) in rows.all(Table::Chunks)? {
            events.extend(ChunkParts::parse(&value)?.events);
            rows.set(Table::Chunks, &key, None)?;
        }
        change(&mut events)?;
        chunks(rows, &log_id, mac, &events)?;
        tiles(rows, &events)
    })
}

fn chunks(rows: &RawRows, log_id: &LogId, mac: Option<&KeyStore>, events: &Stored) -> Outcome {
    let mut tree = Frontier::new();
    for (entry, envelope) in events {
        let first = tree.size();
        tree.push(leaf_hash(entry));
        let (root, time) = (tree.root(), Entry::parse(entry)?.recorded_at_us());
        let mac = mac.map_or([0; 32], |keys| {
            head_mac(keys.mac().as_bytes(), log_id, tree.size(), &root, time)
        });
        let mut head = tree.size().to_be_bytes().to_vec();
        head.extend_from_slice(&root);
        head.extend_from_slice(&time.to_be_bytes());
        head.extend_from_slice(&mac);
        head.push(u8::try_from(tree.peaks().len())?);
        head.extend(tree.peaks().iter().flatten());
        let events = vec![(entry.clone(), envelope.clone())];
        let chunk = ChunkParts {
            first,
            head,
            events,
        };
        rows.set(Table::Chunks, &first.to_be_bytes(), Some(&chunk.encode()))?;
    }
    Ok(())
}

fn tiles(rows: &RawRows, events: &Stored) -> Outcome {
    for (key, _) in rows.all(Table::Tiles)? {
        rows.set(Table::Tiles, &key, None)?;
    }
    let mut sink = TileSink::new();
    let mut made = Vec::new();
    for (entry, _) in events {
        made.extend(sink.push(leaf_hash(entry)));
    }
    made.extend(sink.partial());
    for tile in made {
        let key = u64::from(tile.level()) << 56 | tile.index();
        rows.set(Table::Tiles, &key.to_be_bytes(), Some(&tile.bytes()))?;
    }
    let covered = sink.size().to_be_bytes();
    rows.set(Table::Meta, b"tiles", Some(&covered))
}

fn keys_of(site: &Site, sealing: Sealing) -> Outcome<KeyStore> {
    let open = site.opening();
    let folder = default_keys_path(&site.path());
    Ok(KeyStore::open(
        &folder,
        sealing,
        &open.sources,
        open.options.entropy,
    )?)
}

/// Refused as damaged, by opening and by verification.
fn assert_refused(site: &Site) -> Outcome {
    let error = site.open().map(|log| log.size()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    found(&site.verify()?);
    Ok(())
}

/// What [`rewrite`] writes is a log, if whoever does it has the keys: what is found in the tests
/// after this one is found for want of them.
#[test]
fn a_log_written_anew_with_the_keys_is_valid() -> Outcome {
    for sealing in SEALINGS {
        let site = Sample::new(sealing, Ending::Closed)?.install()?;
        let keys = keys_of(&site, sealing)?;
        rewrite(&site, Some(&keys), |_| Ok(()))?;
        drop(keys);
        let log = site.open()?;
        assert_valid(&log);
    }
    Ok(())
}

/// Row 2: the end of the log, and a run from among others, whose places the others take.
#[test]
fn deleted_events_are_found() -> Outcome {
    let of_run = |entry: &[u8]| Entry::parse(entry).is_ok_and(|entry| entry.header().stream == RUN);
    for sealing in SEALINGS {
        let sample = Sample::new(sealing, Ending::Closed)?;
        for count in [1, 3, 40] {
            let site = sample.install()?;
            rewrite(&site, None, |events| {
                events.truncate(events.len() - count);
                Ok(())
            })?;
            assert_refused(&site)?;
        }
        let site = sample.install()?;
        rewrite(&site, None, |events| {
            events.retain(|(entry, _)| !of_run(entry));
            for (at, (stored, _)) in (0..).zip(events) {
                let moved = entry(stored, |_, parts| parts.position = Position::new(at));
                *stored = moved?;
            }
            Ok(())
        })?;
        assert_refused(&site)?;
        // Cut off past the log only: signatures and `LOG.head` know how far it went.
        let site = sample.install()?;
        let size = site.open()?.size();
        site.edit(|rows| {
            let mut last = rows.chunk(size - 1)?;
            last.events.pop().ok_or("an empty chunk")?;
            let key = last.first.to_be_bytes();
            rows.set(Table::Chunks, &key, Some(&last.encode()))
        })?;
        assert_refused(&site)?;
    }
    Ok(())
}

/// Row 3: another payload of the same length, with commitment, digest, entry, tree and tiles anew.
#[test]
fn an_event_rewritten_with_every_hash_is_found() -> Outcome {
    for sealing in SEALINGS {
        let (site, at) = with_a_long_payload(sealing)?;
        let log = site.open()?;
        let log_id = log.info().log_id;
        let payload = log.record(Position::new(at))?.payload;
        let mut payload = payload.bytes().ok_or("no content")?.to_vec();
        drop(log);
        payload[10] ^= 1;
        rewrite(&site, None, |events| {
            let event = &mut events[usize::try_from(at)?];
            *event = forged(&log_id, &event.0, &payload)?;
            Ok(())
        })?;
        assert_refused(&site)?;
        // Beside what still says otherwise.
        let (site, at) = with_a_long_payload(sealing)?;
        site.edit_chunk(at, |chunk, index| {
            let event = &mut chunk.events[index];
            *event = forged(&log_id, &event.0, &payload).unwrap();
        })?;
        assert_eq!(found(&site.verify()?).first(), Some(&at));
    }
    Ok(())
}

/// The event with another payload, sealed under a key that is not the log's where it is sealed.
fn forged(log_id: &LogId, old: &[u8], payload: &[u8]) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let parsed = Entry::parse(old)?;
    let spec = PayloadSpec {
        fields: false,
        compress: Compression::Never,
    };
    let header = parsed.header();
    let key = header.key_id.map(|id| DataKey::new(id, [3; 32]));
    let sealed = seal::seal(
        log_id,
        header,
        payload,
        spec,
        key.as_ref(),
        [1; 32],
        [2; 12],
    )?;
    let stored = entry(old, |_, parts| {
        parts.commit = &sealed.commit;
        parts.digest = &sealed.digest;
    })?;
    Ok((stored, sealed.envelope))
}

/// Row 4: paused, closed, decided by a person in another process, gone on with in a third one.
#[test]
fn a_pause_for_a_person_is_valid() -> Outcome {
    for sealing in SEALINGS {
        let site = Site::empty()?;
        let log = create(&site, sealing)?;
        let ada = Credential::create(&site.beside("ada"), "ada", Authority::Human, &OsEntropy)?;
        log.enrol("ada", Authority::Human, &ada.public_key())?;
        log.append_blocking(step(0))?;
        let paused = NewEvent::new("data.paused", RUN).payload("{\"why\":\"amount\"}");
        let paused = log.append_blocking(paused)?;
        closed(log)?;
        let log = site.open()?.with_credential(&ada)?;
        let decision = NewEvent::new("data.decided", RUN)
            .causation(paused.ids[0])
            .payload("{\"approved\":true,\"comment\":\"fine\"}");
        log.append_blocking(decision)?;
        assert_valid(&log);
        closed(log)?;
        let log = site.open()?;
        log.append_blocking(step(1))?;
        assert_dense(&log, RUN, 4)?;
        let who = records(&log, RUN)?.into_iter().map(|r| r.header.principal);
        let who: Vec<_> = who.collect();
        assert_eq!(who[1..], ["system:keyring", "human:ada", "system:keyring"]);
        assert_valid(&log);
        closed(log)?;
        let report = site.verify()?;
        assert!(report.valid, "{report:?}");
    }
    Ok(())
}

/// Row 5: the copy of a run names what it was copied from; both have receipts. The copy of a log is
/// valid beside it.
#[test]
fn a_copy_of_a_run_is_valid_and_so_is_the_run() -> Outcome {
    for sealing in SEALINGS {
        let site = Site::empty()?;
        let log = create(&site, sealing)?;
        for n in 0..5 {
            log.append_blocking(step(n).tag(format!("n:{n}")))?;
        }
        let run = records(&log, RUN)?;
        let copies = run.iter().take(3).map(|record| {
            let payload = record.payload.bytes().unwrap_or_default().to_vec();
            NewEvent::new(record.header.event_type.to_string(), "run-1/fork-1")
                .tags(record.header.tags.iter().cloned())
                .causation(record.header.event_id)
                .payload(payload)
        });
        let copies: Vec<_> = copies.collect();
        log.append_blocking(runstone_store::Append::new(copies))?;
        // Both go on.
        log.append_blocking(step(5))?;
        log.append_blocking(NewEvent::new("data.step", "run-1/fork-1").payload("{}"))?;
        assert_dense(&log, RUN, 6)?;
        assert_dense(&log, "run-1/fork-1", 4)?;
        let copied = records(&log, "run-1/fork-1")?;
        for (from, to) in run.iter().zip(&copied[..3]) {
            assert_eq!(from.payload, to.payload);
            assert_eq!(to.header.causation, Some(from.header.event_id));
        }
        let policy = Policy::of_logs(log.vkeys()?)?;
        for record in run.iter().chain(&copied) {
            let receipt = Receipt::parse(&log.receipt(record.position)?.encode())?;
            let verified = receipt.verify(&policy, &VerifyOptions::new())?;
            assert_eq!(*verified.header(), record.header);
        }
        assert_valid(&log);
        log.backup(&site.beside("copy"), &|_, _| {})?;
        log.append_blocking(step(6))?;
        assert_valid(&log);
        let mut open = site.opening();
        open.keys = Some(default_keys_path(&site.path()));
        let copy = Log::open(&site.beside("copy"), open)?;
        assert_dense(&copy, RUN, 6)?;
        assert_valid(&copy);
    }
    Ok(())
}

/// Row 6: the person is gone, the log holds, and its receipt of the erasure says so.
#[test]
fn an_erased_person_is_valid_with_a_certificate() -> Outcome {
    for sealing in SEALINGS {
        let site = Site::empty()?;
        let log = create(&site, sealing)?;
        for n in 0..6 {
            let (stream, scope) = [(RUN, "ann"), ("run-2", "bob")][n % 2];
            let event = NewEvent::new("chat.message", stream).scope(scope);
            log.append_blocking(event.payload(format!("\"message {n}\"")))?;
        }
        let before = records(&log, RUN)?;
        let root = log.checkpoint()?;
        let erasure = log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
        assert_valid(&log);
        closed(log)?;
        let report = site.verify()?;
        assert!(report.valid, "{report:?}");
        let log = site.open()?;
        for (was, is) in before.iter().zip(records(&log, RUN)?) {
            assert_eq!((&was.header, &Payload::Erased), (&is.header, &is.payload));
        }
        let others = records(&log, "run-2")?;
        assert!(others.iter().all(|record| record.payload.bytes().is_some()));
        let policy = Policy::of_logs(log.vkeys()?)?;
        let certificate = log
            .receipt(erasure.completed.ok_or("it is pending")?)?
            .encode();
        let certificate = Receipt::parse(&certificate)?;
        let verified = certificate.verify(&policy, &VerifyOptions::new())?;
        assert_eq!(verified.header().event_type, "log.erasure_completed");
        let grown = log.consistency(root.text())?;
        grown.verify(&root, &policy)?;
    }
    Ok(())
}

fn on_machine(seed: u64) -> OpenOptions {
    let mut open = OpenOptions::default();
    open.options.background = false;
    open.options.disk_margin_bytes = 0;
    open.options.entropy = SeededEntropy::new(seed);
    open
}

/// Row 7: a write or a sync fails, or the disk is full; sent again it is there once.
#[test]
fn a_failed_write_that_is_tried_again_is_valid() -> Outcome {
    let faults = [Fault::Write, Fault::Sync].into_iter();
    let faults = faults.flat_map(|fault| (0..4).map(move |after| Some((fault, after))));
    let mut failures = 0;
    for (seed, fault) in (1..).zip(faults.chain([None, None])) {
        let folder = tempfile::tempdir()?;
        let machine = Machine::new(seed);
        let disks = || {
            let (log, head, place) = machine.disks();
            Disks::new(log, head).at(place)
        };
        let create = CreateOptions::default();
        let entropy: Arc<dyn Entropy> = SeededEntropy::new(seed + 100);
        let keys = KeyStore::create(
            &folder.path().join("keys"),
            LogId::new([7; 16]),
            "runstone.local/failing",
            create.sealing,
            create.provider.clone(),
            entropy,
            1,
        )?;
        let log = Log::create_on(disks(), keys, &create, on_machine(200 + seed))?;
        log.append_blocking(step(0))?;
        match fault {
            Some((fault, after)) => machine.fail_after(fault, after),
            None => machine.set_room(Some(0), seed % 2 == 0),
        }
        for n in 1..4 {
            let event = step(n).id(Uuid::from_u128(u128::from(n)));
            while let Err(error) = log.append_blocking(event.clone()) {
                let code = error.code();
                let is_known = ["outcome_unknown", "storage_full", "reopening"].contains(&code);
                assert!(is_known, "{error}");
                failures += 1;
                machine.calm();
            }
        }
        machine.calm();
        assert_dense(&log, RUN, 4)?;
        assert_valid(&log);
        closed(log)?;
        let log = Log::open_on(disks(), on_machine(300 + seed), |sealing| {
            let sources = OpenOptions::default().sources;
            let folder = folder.path().join("keys");
            Ok(KeyStore::open(
                &folder,
                sealing,
                &sources,
                SeededEntropy::new(9),
            )?)
        })?;
        assert_dense(&log, RUN, 4)?;
        assert_valid(&log);
    }
    assert!(failures >= 8, "{failures} writes failed");
    Ok(())
}

/// Row 8: branches of a run append from threads of their own, each in its order, and join.
#[test]
fn parallel_branches_are_valid() -> Outcome {
    const BRANCHES: u64 = 8;
    const STEPS: u64 = 15;
    for sealing in SEALINGS {
        let site = Site::empty()?;
        let log = create(&site, sealing)?;
        let barrier = Barrier::new(usize::try_from(BRANCHES)?);
        std::thread::scope(|threads| {
            for branch in 0..BRANCHES {
                let (log, barrier) = (&log, &barrier);
                threads.spawn(move || {
                    barrier.wait();
                    for n in 0..STEPS {
                        let payload = format!("{{\"branch\":{branch},\"step\":{n}}}");
                        let own = NewEvent::new("data.step", format!("run-1/branch-{branch}"));
                        let shared = NewEvent::new("data.joined", RUN).payload(payload.clone());
                        let both = [own.payload(payload), shared];
                        log.append_blocking(runstone_store::Append::new(both))
                            .unwrap();
                    }
                });
            }
        });
        assert_dense(&log, RUN, BRANCHES * STEPS)?;
        let joined = records(&log, RUN)?;
        for branch in 0..BRANCHES {
            let own = records(&log, &format!("run-1/branch-{branch}"))?;
            assert_dense(&log, &format!("run-1/branch-{branch}"), STEPS)?;
            for (n, record) in (0..).zip(&own) {
                let payload: Value = serde_json::from_slice(record.payload.bytes().unwrap_or(b""))?;
                assert_eq!(payload, json!({"branch": branch, "step": n}));
                let beside = |other: &&Record| other.position.get() == record.position.get() + 1;
                let beside = joined.iter().find(beside).ok_or("it was torn")?;
                assert_eq!(beside.payload, record.payload);
            }
        }
        assert_valid(&log);
        closed(log)?;
        let report = site.verify()?;
        assert!(report.valid, "{report:?}");
    }
    Ok(())
}

/// Row 9: while one process has the log another one is refused, whichever way it comes; the first
/// one goes on, and what both were told is true.
#[test]
fn a_second_process_is_refused() -> Outcome {
    let site = Site::empty()?;
    let runstone = Runstone::on(site.path());
    runstone.value(["init"]);
    let mut first = runstone.command(["append", "-"]).spawn()?;
    let mut input = first.stdin.take().ok_or("no input")?;
    let mut output = BufReader::new(first.stdout.take().ok_or("no output")?);
    let mut say = |n: u64| -> Outcome<Value> {
        let line = json!({"type": "data.step", "stream": RUN, "data": {"step": n}});
        writeln!(input, "{line}")?;
        let mut answer = String::new();
        output.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    assert_eq!(say(0)?["first"], 1);
    let event = r#"{"type":"data.step","stream":"run-1","data":{"step":9}}"#;
    std::fs::write(site.beside("lines"), event)?;
    let lines = site.beside("lines").display().to_string();
    let second = runstone.run(["--wait", "0", "append", &lines]);
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{told}");
    assert!(told.contains("busy"), "{told}");
    let error = site.open().map(|log| log.size()).unwrap_err();
    assert!(matches!(error, OpenError::Busy { .. }), "{error}");
    assert_eq!(say(1)?["first"], 2);
    drop(input);
    assert!(first.wait()?.success());
    runstone.check();
    let log = site.open()?;
    assert_dense(&log, RUN, 2)?;
    assert_eq!(log.size(), 3);
    assert_valid(&log);
    Ok(())
}
