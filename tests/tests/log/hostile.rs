//! Whatever is fed to `runstone append`: an answer for each line, the good ones recorded, bounded
//! memory, exit code 1, and never a panic.
//!
//! `RUNSTONE_HOSTILE_LINES=1000000` feeds as many random and mutated lines; the default is a slice
//! of the same sequence that a debug build gets through in seconds.

use runstone_store::{Log, OpenOptions, Query, Read, VerifyLevel};
use runstone_tests::command::Runstone;
use runstone_tests::tamper::Seeded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::PathBuf;
use tempfile::TempDir;

const DEFAULT_LINES: u64 = 50_000;
/// Most memory that the command may ever have held: its caches are bounded, and a line is at most
/// 64 MiB by default, of which it holds a few copies.
const MOST_MIB: u64 = 640;

/// What must become of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Recorded,
    Refused,
    /// One or the other: only the log can say whether a mutated line still makes sense.
    Either,
    /// A blank line is not answered.
    Blank,
}

/// What became of the lines.
struct Outcome {
    /// By number of line: first and last position, or the code of the error.
    answers: BTreeMap<u64, Result<(u64, u64), String>>,
    folder: TempDir,
}

impl Outcome {
    fn log(&self) -> Log {
        Log::open(&log_of(&self.folder), OpenOptions::default()).unwrap()
    }

    fn code(&self, line: u64) -> &str {
        self.answers[&line].as_ref().unwrap_err()
    }
}

fn log_of(folder: &TempDir) -> PathBuf {
    folder.path().join("log.redb")
}

/// Feeds lines one after the other to one process and checks what holds for all input.
fn feed(lines: impl Iterator<Item = (Vec<u8>, Fate)> + Send + 'static) -> (Outcome, Vec<Fate>) {
    let folder = tempfile::tempdir().unwrap();
    let runstone = Runstone::on(log_of(&folder));
    runstone.value(["init"]);
    let mut child = runstone.command(["append"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut told = child.stderr.take().unwrap();
    let (fates, fed) = std::sync::mpsc::channel();
    let feeder = std::thread::spawn(move || {
        for (mut line, fate) in lines {
            assert!(!line.contains(&b'\n'));
            line.push(b'\n');
            input.write_all(&line).unwrap();
            fates.send(fate).unwrap();
        }
        // The process must still be there when its memory is looked at.
        input
    });
    let told = std::thread::spawn(move || {
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        text
    });
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answers = BTreeMap::new();
    let mut all = Vec::new();
    for (number, fate) in (1..).zip(fed) {
        all.push(fate);
        if fate == Fate::Blank {
            continue;
        }
        let answer: Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
        assert_eq!(
            answer["line"], number,
            "lines are answered in order: {answer}"
        );
        let outcome = match (answer["first"].as_u64(), answer["last"].as_u64()) {
            (Some(first), Some(last)) => Ok((first, last)),
            _ => {
                let error = &answer["error"];
                assert!(
                    error["message"].is_string() && error["hints"].is_array(),
                    "{answer}"
                );
                Err(error["code"].as_str().unwrap().to_owned())
            }
        };
        match fate {
            Fate::Recorded => assert!(outcome.is_ok(), "{answer}"),
            Fate::Refused => assert!(outcome.is_err(), "{answer}"),
            Fate::Either | Fate::Blank => {}
        }
        answers.insert(number, outcome);
    }
    let input = feeder.join().unwrap();
    let most = most_memory_mib(child.id());
    assert!(most < MOST_MIB, "it took {most} MiB");
    drop(input);
    assert!(output.next().is_none(), "an answer without a line");
    let status = child.wait().unwrap();
    let told = told.join().unwrap();
    assert!(told.is_empty(), "{told}");
    let refused = answers.values().any(Result::is_err);
    assert_eq!(status.code(), Some(i32::from(refused)));
    (Outcome { answers, folder }, all)
}

/// The most memory that a process ever held.
fn most_memory_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024
}

/// The log holds exactly what was answered as recorded, and every byte of it is sound.
fn check(outcome: &Outcome) -> Log {
    let log = outcome.log();
    let mut next = 1;
    for (first, last) in outcome.answers.values().flatten() {
        assert_eq!(*first, next, "recorded in the order of the lines");
        next = last + 1;
    }
    assert_eq!(log.size(), next);
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    log
}

/// A line that is good: one event or two.
fn good(number: u64, seeded: &mut Seeded) -> String {
    let payload = [
        format!("{{\"n\":{number},\"n\":\"\\u0000\\ud800 \u{1f600}\"}}"),
        format!("[{number},1e999,-0,340282366920938463463374607431768211455]"),
        format!("{number}"),
        format!(
            "{{ \"n\" : {number} , \"text\" : \"{}\" }}",
            "x".repeat(seeded.below(300))
        ),
    ];
    let event = |part: usize| {
        format!(
            r#"{{"type":"data.noted","stream":"s{}","data":{},"tags":["n:{number}","part:{part}"]}}"#,
            seeded.clone().below(7),
            payload[(number as usize + part) % 4],
        )
    };
    if number.is_multiple_of(5) {
        format!("[{},{}]", event(0), event(1))
    } else {
        event(0)
    }
}

/// Pieces of JSON and of what is not.
const PIECES: [&[u8]; 28] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\\u",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"null",
    b"true",
    b"-",
    b"1e400",
    b"00",
    b"\"type\":",
    b"\"stream\":\"s\"",
    b"\"data\":{}",
    b"\"type\":\"data.noted\"",
    b"\"tags\":[",
    b"\"expect\":\"none\"",
    b"\"if_none\":\"tag=a:b\"",
    b"\"after\":18446744073709551616",
    b"\"id\":\"x\"",
    b" ",
];

/// Bytes that anybody might send.
fn random(seeded: &mut Seeded) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..seeded.below(40) {
        if seeded.below(4) == 0 {
            line.push(seeded.next_u64() as u8);
        } else {
            line.extend_from_slice(PIECES[seeded.below(PIECES.len())]);
        }
    }
    line
}

/// A good line, changed in a few places.
fn mutated(number: u64, seeded: &mut Seeded) -> Vec<u8> {
    let mut line = good(number, seeded).into_bytes();
    for _ in 0..=seeded.below(3) {
        let at = seeded.below(line.len());
        let end = (at + 1 + seeded.below(12)).min(line.len());
        match seeded.below(6) {
            0 => line[at] ^= 1 << seeded.below(8),
            1 => drop(line.drain(at..end)),
            2 => {
                let again = line[at..end].to_vec();
                line.splice(at..at, again);
            }
            3 => drop(line.splice(at..end, PIECES[seeded.below(PIECES.len())].iter().copied())),
            4 => line.truncate(at),
            _ => line.insert(at, seeded.next_u64() as u8),
        }
        if line.is_empty() {
            break;
        }
    }
    line
}

fn anything(number: u64, seeded: &mut Seeded) -> (Vec<u8>, Fate) {
    let mut line = match seeded.below(4) {
        0 => return (good(number, seeded).into_bytes(), Fate::Recorded),
        1 => random(seeded),
        _ => mutated(number, seeded),
    };
    // One line stays one line.
    line.retain(|byte| *byte != b'\n');
    let is_blank = line.trim_ascii().is_empty();
    (line, if is_blank { Fate::Blank } else { Fate::Either })
}

fn lines() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how long to run"
    )]
    let given = std::env::var("RUNSTONE_HOSTILE_LINES");
    given.map_or(DEFAULT_LINES, |lines| {
        lines.parse().expect("a number of lines")
    })
}

#[test]
fn random_and_mutated_lines_are_answered_one_by_one() {
    let count = lines();
    let mut seeded = Seeded::new(0x0bad);
    let (outcome, fates) = feed((0..count).map(move |number| anything(number, &mut seeded)));
    let sum = |fate: Fate| fates.iter().filter(|found| **found == fate).count();
    let refused = outcome
        .answers
        .values()
        .filter(|answer| answer.is_err())
        .count();
    assert!(sum(Fate::Recorded) > fates.len() / 5);
    assert!(refused > fates.len() / 3, "{refused} of {}", fates.len());
    let log = check(&outcome);

    // Every good line is at the positions that it was told, with its bytes.
    let mut seeded = Seeded::new(0x0bad);
    for number in 0..count {
        let mut before = seeded.clone();
        let (line, fate) = anything(number, &mut seeded);
        if fate != Fate::Recorded || number % 16 != 0 {
            continue;
        }
        before.below(4);
        assert_eq!(line, good(number, &mut before).into_bytes());
        let (first, last) = *outcome.answers[&(number + 1)].as_ref().unwrap();
        let read = Read::new(Query::everything()).from(first).to(last);
        for record in log.read(read).unwrap() {
            let record = record.unwrap();
            let payload = record.payload.bytes().unwrap();
            let found = line.windows(payload.len()).any(|window| window == payload);
            assert!(found && record.header.has_tag(&format!("n:{number}")));
        }
    }
}

/// A line with everything in order but one member.
fn with(name: &str, value: &str) -> String {
    let mut members = BTreeMap::from([
        ("type", "\"data.noted\""),
        ("stream", "\"s\""),
        ("data", "{}"),
    ]);
    members.insert(name, value);
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn absurd_lines_are_refused_and_good_ones_go_on() {
    fn text(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }
    let long = |bytes: usize| "x".repeat(bytes);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut bad: Vec<(Vec<u8>, &str)> = vec![
        (text("7"), "bad_line"),
        (text("\"text\""), "bad_line"),
        (text("[]"), "empty"),
        (text("{}"), "bad_line"),
        (text("[[]]"), "bad_line"),
        (text(&with("data", "nul")), "bad_line"),
        (
            text(&with("data", "\"\n\"").replace('\n', "\0")),
            "bad_line",
        ),
        (text(&with("data", &nested(100_000))), "payload_too_deep"),
        (text(&with("expect", &nested(100_000))), "bad_line"),
        (text(&with("unknown", "1")), "bad_line"),
        (
            text(r#"{"type":"data.noted","type":"data.noted","stream":"s","data":1}"#),
            "bad_line",
        ),
        (
            text(&format!("{} {}", with("data", "1"), with("data", "1"))),
            "bad_line",
        ),
        (text(&with("type", "\"run.started\"")), "owned_namespace"),
        (text(&with("type", "\"data\"")), "bad_event_type"),
        (
            text(&with("type", &format!("\"data.{}\"", long(200)))),
            "field_too_long",
        ),
        (text(&with("stream", "\"\"")), "field_empty"),
        (
            text(&with("stream", "\"a\\u0000b\"")),
            "field_control_character",
        ),
        (text(&with("stream", "\"log\"")), "reserved"),
        (
            text(&with("stream", &format!("\"{}\"", long(300)))),
            "field_too_long",
        ),
        (text(&with("scope", "\"_log\"")), "reserved"),
        (text(&with("scope", "\"elsewhere\"")), "scope_mismatch"),
        (text(&with("tags", "[\"no colon\"]")), "bad_tag"),
        (text(&with("tags", "[\"a:1\",\"a:1\"]")), "duplicate_tag"),
        (
            text(&with("tags", &format!("[\"a:{}\"]", long(300)))),
            "field_too_long",
        ),
        (
            text(&with("tags", &format!("[\"{}:1\"]", long(65)))),
            "bad_tag",
        ),
        (text(&with("id", "\"not an id\"")), "bad_line"),
        (text(&with("after", "3")), "bad_line"),
        (text(&with("expect", "7")), "conflict"),
        (text(&with("expect", "1.5")), "bad_line"),
        (text(&with("if_none", "\"colour=red\"")), "bad_query"),
        (
            text(&with("if_none", "\"source=me\"")),
            "condition_unindexed",
        ),
        (text(&with("occurred_at", "\"yesterday\"")), "bad_line"),
        (text(&with("schema_version", "4294967296")), "bad_line"),
        (
            text(&with("data", &format!("\"{}\"", long(17 << 20)))),
            "payload_too_large",
        ),
        (
            b"{\"type\":\"data.noted\",\"stream\":\"\xff\",\"data\":1}".to_vec(),
            "bad_line",
        ),
        (vec![0; 1000], "bad_line"),
        (vec![b'['; 1 << 20], "bad_line"),
        (vec![b'x'; 100_000_000], "line_too_long"),
        (
            text(&with("data", &format!("\"{}\"", long(100_000_000)))),
            "line_too_long",
        ),
        (
            text(&with("data", &format!("\"{}\"", long(60 << 20)))),
            "payload_too_large",
        ),
    ];
    let many: Vec<_> = (0..65).map(|n| format!("\"a{n}:1\"")).collect();
    bad.push((
        text(&with("tags", &format!("[{}]", many.join(",")))),
        "too_many_tags",
    ));
    for name in [
        "type",
        "stream",
        "tags",
        "id",
        "source",
        "scope",
        "causation",
        "correlation",
        "schema_version",
        "fields",
        "occurred_at",
        "if_none",
        "after",
        "expect",
    ] {
        for value in ["{}", "[[1]]", "-1", "1e400"] {
            bad.push((text(&with(name, value)), "bad_line"));
        }
    }
    let codes: Vec<_> = bad.iter().map(|(_, code)| *code).collect();
    let good = |number: usize| {
        (
            text(&with("data", &format!("{{\"n\":{number}}}"))),
            Fate::Recorded,
        )
    };
    let count = bad.len();
    let pairs = bad.into_iter().enumerate();
    let lines = pairs.flat_map(move |(at, (line, _))| [good(at), (line, Fate::Refused)]);
    let (outcome, _) = feed(lines.chain([(b" \t\r".to_vec(), Fate::Blank)]));
    let found: Vec<_> = (0..count as u64)
        .map(|at| outcome.code(2 * at + 2))
        .collect();
    let differing = (0..)
        .zip(found.iter().zip(&codes))
        .filter(|(_, (found, code))| found != code);
    assert_eq!(differing.collect::<Vec<_>>(), [], "number, found, expected");
    let log = check(&outcome);
    assert_eq!(log.count(&Query::stream("s")).unwrap(), count as u64);
    for (number, record) in log.read(Read::new(Query::stream("s"))).unwrap().enumerate() {
        let payload = format!("{{\"n\":{number}}}");
        assert_eq!(record.unwrap().payload.bytes().unwrap(), payload.as_bytes());
    }
}
