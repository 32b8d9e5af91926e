//! Faults of an event log that came before this one: one test each, showing that Runstone does not
//! have it. The numbers are those of the list of its weaknesses.

use runstone_codec::schema::decode;
use runstone_codec::{
    Authority, Compression, Header, LogId, NewEvent, PayloadSpec, Position, SchemaError,
    TypedEvent, Uuid, seal,
};
use runstone_projections::events::ChatMessage;
use runstone_store::{
    Append, AppendError, CreateOptions, Disk as _, ErrorKind, Log, ManualClock, MemoryDisk,
    OpenOptions, Payload, Query, Read, Record, Sealing, Subscription,
};
use runstone_tests::clocked::enrolled;
use runstone_tests::tamper::{Answers, Ending, Outcome, Recorder, START_US, Sample, Site};
use std::sync::Arc;

fn event(stream: &str, n: u64) -> NewEvent {
    NewEvent::new("data.noted", stream)
        .tag(format!("n:{n}"))
        .payload(format!("{{\"n\":{n}}}"))
}

/// Runs a test on every implementation.
fn everywhere(test: impl Fn(&Log) -> Outcome) -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        test(&Log::memory(&create, OpenOptions::default())?)?;
        let site = Site::empty()?;
        test(&Log::create(&site.path(), &create, OpenOptions::default())?)?;
    }
    Ok(())
}

fn all(log: &Log, read: Read) -> Outcome<Vec<Record>> {
    Ok(log.read(read)?.collect::<Result<_, _>>()?)
}

fn places(log: &Log, read: Read) -> Outcome<Vec<u64>> {
    Ok(all(log, read)?.iter().map(|r| r.position.get()).collect())
}

fn noted() -> Read {
    Read::new(Query::of_type("data.noted"))
}

/// The next records of a subscription, which must be there.
fn next(subscription: &mut Subscription, count: usize) -> Outcome<Vec<u64>> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let record = subscription.next_blocking().ok_or("it ended")??;
        seen.push(record.position.get());
    }
    Ok(seen)
}

#[test]
fn fault_01_fan_out_in_another_order_than_the_log() -> Outcome {
    everywhere(|log| {
        let before = log.size();
        let mut subscription = log.subscribe(noted())?;
        std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                scope.spawn(move || {
                    for n in 0..25 {
                        log.append_blocking(event(&format!("w-{writer}"), n))
                            .unwrap();
                    }
                });
            }
        });
        // One that answers while it listens comes after what it answered to.
        let mut seen = next(&mut subscription, 99)?;
        log.append_blocking(event("answer", 1))?;
        seen.extend(next(&mut subscription, 2)?);
        assert_eq!(seen, (before..before + 101).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn fault_02_no_position_on_results_and_no_way_to_resume() -> Outcome {
    everywhere(|log| {
        for n in 0..10 {
            log.append_blocking(event("s", n))?;
        }
        let mut subscription = log.subscribe(noted().from(4_u64))?;
        assert_eq!(next(&mut subscription, 3)?, [4, 5, 6]);
        let cursor = subscription.cursor();
        drop(subscription);
        let mut again = log.subscribe(noted().from(cursor.get()))?;
        assert_eq!(next(&mut again, 4)?, [7, 8, 9, 10]);
        // And it follows.
        log.append_blocking(event("s", 10))?;
        assert_eq!(next(&mut again, 1)?, [11]);
        Ok(())
    })
}

#[test]
fn fault_03_a_duplicate_is_notified_again() -> Outcome {
    everywhere(|log| {
        let mut subscription = log.subscribe(noted())?;
        let twice = event("s", 1).id(Uuid::from_u128(1));
        let first = log.append_blocking(twice.clone())?;
        let again = log.append_blocking(twice)?;
        assert!(again.duplicate && again.first == first.first);
        let other = log.append_blocking(event("s", 2))?;
        let seen = next(&mut subscription, 2)?;
        assert_eq!(seen, [first.first.get(), other.first.get()]);
        Ok(())
    })
}

#[test]
fn fault_04_a_slow_subscriber_blocks_or_loses() -> Outcome {
    everywhere(|log| {
        // It never reads while the writer writes.
        let mut slow = log.subscribe(noted())?;
        let first = log.size();
        let many = (0..2000).map(|n| Append::new([event("s", n)])).collect();
        for answer in log.append_many_blocking(many) {
            answer?;
        }
        assert_eq!(log.size(), first + 2000);
        assert_eq!(
            next(&mut slow, 2000)?,
            (first..first + 2000).collect::<Vec<_>>()
        );
        Ok(())
    })
}

#[test]
fn fault_05_limits_mean_something_else_each_time() -> Outcome {
    everywhere(|log| {
        for n in 0..3 {
            log.append_blocking(event("s", n))?;
        }
        for (limit, expected) in [(0, 0), (1, 1), (3, 3), (u64::MAX, 3)] {
            assert_eq!(all(log, noted().limit(limit))?.len(), expected);
            assert_eq!(all(log, noted().limit(limit).reverse())?.len(), expected);
        }
        assert_eq!(places(log, noted().from(0_u64))?, [1, 2, 3]);
        assert_eq!(places(log, noted().from(u64::MAX))?, [0_u64; 0]);
        Ok(())
    })
}

#[test]
fn fault_06_a_start_counts_matches_and_not_positions() -> Outcome {
    everywhere(|log| {
        for n in 0..6 {
            let stream = if n % 2 == 0 { "even" } else { "odd" };
            log.append_blocking(event(stream, n))?;
        }
        // Positions 1, 3, 5 are even ones.
        let even = || Read::new(Query::stream("even"));
        assert_eq!(places(log, even())?, [1, 3, 5]);
        assert_eq!(places(log, even().from(3_u64))?, [3, 5]);
        assert_eq!(places(log, even().from(4_u64))?, [5]);
        assert_eq!(places(log, even().from(2_u64).limit(1))?, [3]);
        Ok(())
    })
}

#[test]
fn fault_07_one_implementation_keeps_duplicates() -> Outcome {
    everywhere(|log| {
        for n in [1, 2, 1, 3, 2] {
            log.append_blocking(event("s", n).id(Uuid::from_u128(u128::from(n))))?;
        }
        assert_eq!(places(log, noted())?, [1, 2, 3]);
        assert_eq!(log.count(&Query::of_type("data.noted"))?, 3);
        Ok(())
    })
}

#[test]
fn fault_08_a_read_sees_what_comes_while_it_runs() -> Outcome {
    everywhere(|log| {
        for n in 0..4 {
            log.append_blocking(event("s", n))?;
        }
        let mut seen = 0;
        for record in log.read(noted())? {
            record?;
            seen += 1;
            log.append_blocking(event("s", 100 + seen))?;
        }
        assert_eq!(seen, 4);
        Ok(())
    })
}

#[test]
fn fault_09_a_payload_that_one_store_takes_and_another_refuses() -> Outcome {
    everywhere(|log| {
        let size = log.size();
        let wrong: [&[u8]; 6] = [
            b"{\"x\":",
            b"<object>",
            b"",
            b"{'a':1}",
            b"[1,]",
            b"\xff\xfe",
        ];
        for payload in wrong {
            let bad = event("s", 2).payload(payload);
            // Nothing of the append is there, not even what came before the bad one.
            let error = log.append_blocking(Append::new([event("s", 1), bad]));
            assert!(matches!(error, Err(AppendError::Invalid(_))), "{error:?}");
            assert_eq!(log.size(), size);
        }
        Ok(())
    })
}

#[test]
fn fault_10_the_log_changes_with_the_callers_value() -> Outcome {
    everywhere(|log| {
        let mut mine = event("s", 1);
        let at = log.append_blocking(mine.clone())?.first;
        mine.payload.clear();
        mine.tags.push("later:1".to_owned());
        let mut record = log.record(at)?;
        record.header.event_type = "data.other".into();
        record.payload = Payload::Erased;
        let again = log.record(at)?;
        assert_eq!(again.payload.bytes(), Some(&b"{\"n\":1}"[..]));
        assert_eq!(again.header.event_type, "data.noted");
        assert_eq!(again.header.tags, ["n:1"]);
        Ok(())
    })
}

#[test]
fn fault_11_payloads_change_on_their_way() -> Outcome {
    everywhere(|log| {
        for refused in [
            "{\"x\":NaN}",
            "{\"x\":Infinity}",
            "{\"x\":-inf}",
            "{1:2}",
            "(1,2)",
        ] {
            let error = log.append_blocking(event("s", 1).payload(refused));
            assert!(matches!(error, Err(AppendError::Invalid(_))), "{refused}");
        }
        let kept = [
            "340282366920938463463374607431768211455",
            "-170141183460469231731687303715884105728",
            "0.1000000000000000055511151231257827021181583404541015625",
            "1e400",
            "-0.0",
            "{\"b\":1,\"a\":2,\"b\":3}",
            " { \"spaced\" :\t[ 1 , 2 ] }\n",
            "\"\\u00e9\\/ \u{e9} \\ud83d\\ude00\"",
            "\"nul \\u0000\"",
        ];
        for text in kept {
            let at = log.append_blocking(event("s", 1).payload(text))?.first;
            let record = log.record(at)?;
            assert_eq!(record.payload.bytes(), Some(text.as_bytes()), "{text}");
        }
        Ok(())
    })
}

#[test]
fn fault_12_types_are_checked_by_prefix_only() -> Outcome {
    everywhere(|log| {
        for wrong in [
            "harness.",
            "data.",
            "harness.x y\n",
            "data..x",
            ".data",
            "data.X",
            "data.x ",
            "data",
            "data.x.",
            "",
            "data.\u{e9}",
        ] {
            let answer = log.append_blocking(NewEvent::new(wrong, "s"));
            assert!(
                matches!(answer, Err(AppendError::Invalid(_))),
                "{wrong:?}: {answer:?}"
            );
        }
        Ok(())
    })
}

/// Two headers whose type and source join to the same text authenticate different things.
#[test]
fn fault_13_two_events_with_the_same_associated_data() -> Outcome {
    let log_id = LogId::new([1; 16]);
    let spec = PayloadSpec {
        fields: false,
        compress: Compression::Never,
    };
    let header = |event_type: &str, source: &str| -> Header {
        NewEvent::new(event_type, "s").source(source).header(
            Uuid::from_u128(1),
            "default",
            "system:keyring",
            Authority::System,
            None,
        )
    };
    for ((type_a, source_a), (type_b, source_b)) in [
        (("data.x", "yz"), ("data.xy", "z")),
        (("data.x", "a\u{1f}b"), ("data.x", "a b")),
        (("data.a", "data.b"), ("data.b", "data.a")),
    ] {
        let (a, b) = (header(type_a, source_a), header(type_b, source_b));
        let (Ok(bytes_a), Ok(bytes_b)) = (a.encode(), b.encode()) else {
            // A separator cannot stand in a source at all.
            assert!(source_a.contains('\u{1f}'));
            continue;
        };
        assert_ne!(bytes_a, bytes_b);
        let sealed = seal::seal(&log_id, &a, b"{}", spec, None, [3; 32], [0; 12])?;
        let digest = runstone_codec::envelope_digest(&log_id, &bytes_b, &sealed.envelope)?;
        assert_ne!(digest, sealed.digest, "the payload fits another event");
    }
    // The same with a key: what was sealed for one does not open for the other.
    let site = Sample::new(Sealing::Required, Ending::Closed)?.install()?;
    let mut other = 0;
    site.edit_chunk(61, |chunk, at| {
        chunk.events[at + 1].1 = chunk.events[at].1.clone();
        other = chunk.first + at as u64 + 1;
    })?;
    let error = site
        .open()?
        .record(Position::new(other))
        .err()
        .ok_or("it opened")?;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    Ok(())
}

#[test]
fn fault_14_parents_and_order_can_be_edited() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Closed)?;
    // Position 60 and 61 are a call and the message that it caused.
    let edits: [fn(&mut Vec<u8>); 3] = [
        // A byte of the causation.
        |entry| {
            let cause = entry
                .windows(16)
                .rposition(|at| at[..12] == [0; 12] && at[15] != 0);
            entry[cause.unwrap() + 15] ^= 1;
        },
        // The position, behind the header.
        |entry| {
            let header = Header::decode_prefix(entry).unwrap().1;
            entry[header + 7] ^= 1;
        },
        // The revision.
        |entry| {
            let header = Header::decode_prefix(entry).unwrap().1;
            entry[header + 15] ^= 1;
        },
    ];
    for edit in edits {
        let site = sample.install()?;
        site.edit_chunk(61, |chunk, at| edit(&mut chunk.events[at].0))?;
        let report = site.verify()?;
        assert!(
            report.problems.iter().any(|p| p.position == Some(61)),
            "{report:?}"
        );
        let log = site.open()?;
        let error = log.record(Position::new(61)).err().ok_or("it was read")?;
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    // A row deleted is missed.
    let site = sample.install()?;
    let mut gone = 0;
    site.edit_chunk(61, |chunk, at| {
        gone = chunk.first + at as u64;
        chunk.events.remove(at);
    })?;
    let report = site.verify()?;
    assert!(
        report.problems.iter().any(|p| p.position == Some(gone)),
        "{report:?}"
    );
    Ok(())
}

#[test]
fn fault_15_a_ciphertext_replaced_by_plain_text() -> Outcome {
    let site = Sample::new(Sealing::Required, Ending::Closed)?.install()?;
    site.edit_chunk(61, |chunk, at| {
        chunk.events[at].1 = [&[0; 34], &b"{\"forged\":true}"[..]].concat();
    })?;
    let log = site.open()?;
    let error = log
        .record(Position::new(61))
        .err()
        .ok_or("forged content was read")?;
    assert_eq!(
        (error.kind(), error.position()),
        (ErrorKind::Corrupt, Some(61))
    );
    drop(log);
    let report = site.verify()?;
    assert!(
        report.problems.iter().any(|p| p.position == Some(61)),
        "{report:?}"
    );
    Ok(())
}

#[test]
fn fault_16_a_new_key_makes_old_events_unreadable() -> Outcome {
    let site = Site::empty()?;
    let clock = Arc::new(ManualClock::new(START_US));
    let mut open = OpenOptions::default();
    open.options.clock = Arc::<ManualClock>::clone(&clock);
    let log = Log::create(&site.path(), &CreateOptions::default(), open.clone())?;
    let folder = tempfile::tempdir()?;
    let person = enrolled(&log, folder.path(), "ada", Authority::Human)?;
    for n in 0..4 {
        log.append_blocking(event("s", n))?;
        // Longer than a generation of keys lasts; the log believes the clock when it is told to.
        clock.advance(31 * 86_400_000_000);
        person.accept_clock()?;
    }
    let keys: Vec<_> = all(&log, noted())?
        .iter()
        .map(|r| r.header.key_id)
        .collect();
    assert!(
        keys.windows(2).all(|pair| pair[0] != pair[1]),
        "no key was changed"
    );
    log.close_blocking()?;
    drop((log, person));
    let log = Log::open(&site.path(), open)?;
    for (n, record) in all(&log, noted())?.into_iter().enumerate() {
        assert_eq!(
            record.payload.bytes(),
            Some(format!("{{\"n\":{n}}}").as_bytes())
        );
    }
    Ok(())
}

#[test]
fn fault_17_one_unreadable_row_stops_everything_after_it() -> Outcome {
    let site = Sample::new(Sealing::Required, Ending::Closed)?.install()?;
    let whole = Answers::of(&site.open()?)?;
    site.edit_chunk(61, |chunk, at| {
        let last = chunk.events[at].1.len() - 1;
        chunk.events[at].1[last] ^= 1;
    })?;
    let log = site.open()?;
    let read: Vec<_> = log.read(Read::new(Query::everything()))?.collect();
    assert_eq!(read.len(), whole.events.len());
    let failed: Vec<_> = read
        .iter()
        .filter_map(|record| record.as_ref().err())
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].position(), Some(61));
    assert_eq!(log.count(&Query::everything())?, whole.size);
    // A subscriber is told and goes on, too.
    let mut subscription = log.subscribe(Read::new(Query::everything()).from(60_u64))?;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(subscription.next_blocking().ok_or("it ended")?.is_ok());
    }
    assert_eq!(told, [true, false, true]);
    Ok(())
}

#[test]
fn fault_18_a_torn_end_breaks_reading_and_the_next_append() -> Outcome {
    let sample = Sample::new(Sealing::Required, Ending::Killed)?;
    let disk = Recorder::with_bytes(sample.log.clone());
    let head = MemoryDisk::with_bytes(sample.head.clone());
    let log = sample.open_on(disk.clone(), head.clone())?;
    let before = Answers::of(&log)?;
    disk.commits();
    let slots = head.to_vec();
    log.append_blocking(event("torn", 1))?;
    let commit = disk.commits().into_iter().next().ok_or("no commit")?;
    std::mem::forget(log);
    for (torn, (offset, data)) in commit.writes.iter().enumerate() {
        let image = MemoryDisk::with_bytes(commit.before.clone());
        image.set_len(commit.len)?;
        for (offset, data) in &commit.writes[..torn] {
            image.write(*offset, data)?;
        }
        image.write(*offset, &data[..data.len() / 2])?;
        let log = sample.open_on(image, MemoryDisk::with_bytes(slots.clone()))?;
        assert_eq!(
            Answers::of(&log)?.events[..before.events.len()],
            before.events
        );
        let good = log.append_blocking(event("good", 2))?.first;
        assert_eq!(log.record(good)?.payload.bytes(), Some(&b"{\"n\":2}"[..]));
    }
    Ok(())
}

#[test]
fn fault_19_the_same_id_with_other_content_is_ignored() -> Outcome {
    everywhere(|log| {
        let id = Uuid::from_u128(9);
        let at = log.append_blocking(event("s", 1).id(id))?.first;
        let size = log.size();
        for other in [
            event("s", 2).id(id),
            event("t", 1).id(id),
            event("s", 1).id(id).schema_version(2),
            event("s", 1).id(id).tag("more:1"),
            event("s", 1).id(id).causation(id),
        ] {
            match log.append_blocking(other) {
                Err(AppendError::EventIdConflict { position, .. }) => {
                    assert_eq!(position, at.get());
                }
                answer => return Err(format!("{answer:?}").into()),
            }
        }
        assert_eq!(log.size(), size);
        Ok(())
    })
}

#[test]
fn fault_20_versions_are_ignored_and_unknown_fields_dropped() -> Outcome {
    everywhere(|log| {
        let newer = ChatMessage::VERSION + 1;
        let text = br#"{"role":"user","content":[],"of_tomorrow":{"x":[1,2]}}"#;
        let message = NewEvent::new(ChatMessage::TYPE, "s")
            .schema_version(newer)
            .payload(text.as_slice());
        let at = log.append_blocking(message)?.first;
        let record = log.record(at)?;
        assert_eq!(record.header.schema_version, newer);
        let bytes = record.payload.bytes().ok_or("no payload")?;
        assert_eq!(bytes, text);
        let error = decode::<ChatMessage>(&record.header, bytes)
            .err()
            .ok_or("it was read")?;
        assert!(matches!(error, SchemaError::Newer { .. }), "{error}");
        // Sent on to another log it is still whole.
        let other = Log::memory(&CreateOptions::default(), OpenOptions::default())?;
        let again = NewEvent::new(record.header.event_type.to_string(), "s")
            .schema_version(record.header.schema_version)
            .payload(bytes);
        let at = other.append_blocking(again)?.first;
        assert_eq!(other.record(at)?.payload.bytes(), Some(&text[..]));
        Ok(())
    })
}
