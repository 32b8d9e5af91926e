//! `runstone append -`, killed in the middle, fifty times in a row on one log.
//!
//! Acknowledged means present; not acknowledged means whole or absent. What was not acknowledged
//! is sent again after the next start, with the same ids, as a caller would.

use runstone_projections::standard_folds;
use runstone_store::{Log, OpenOptions, Query, Read, VerifyLevel};
use runstone_tests::command::Runstone;
use runstone_tests::tamper::Seeded;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use uuid::Uuid;

const ROUNDS: u64 = 50;
/// Rounds after which the command itself checks the log too.
const COMMAND_CHECKS: u64 = 10;
/// Lines whose answers together are longer than a pipe.
const CROWD: usize = 1000;
/// Rounds with so many lines; late ones, since every round checks the whole log.
const CROWDED: [u64; 2] = [35, 45];

/// A line of input: events that belong together.
#[derive(Clone, Debug)]
struct Line {
    /// Payloads, by which the events are told.
    payloads: Vec<String>,
    text: String,
}

impl Line {
    /// One event, or a few that stand or fall together.
    fn new(number: u64, seeded: &mut Seeded) -> Self {
        let count = [1, 1, 1, 1, 4][seeded.below(5)];
        let filler = "lorem ipsum ".repeat([1, 1, 4, 900][seeded.below(4)]);
        let events: Vec<_> = (0..count)
            .map(|part| {
                let id = Uuid::from_u128(u128::from(number * 10 + part + 1));
                let data = json!({"line": number, "part": part, "text": filler});
                let stream = format!("run-{}", (number + part) % 5);
                json!({"type": "tool.called", "stream": stream, "id": id, "data": data,
                       "tags": [format!("line:{number}")]})
            })
            .collect();
        Self {
            payloads: events
                .iter()
                .map(|event| event["data"].to_string())
                .collect(),
            text: if count == 1 {
                events[0].to_string()
            } else {
                Value::from(events).to_string()
            },
        }
    }
}

/// Runs the command on these lines until so many were answered, then kills it. Answers the first
/// and last positions of those that it acknowledged, in order.
fn killed(runstone: &Runstone, lines: &[Line], after: usize) -> Vec<(u64, u64)> {
    let mut child = runstone.command(["append", "-"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = lines
        .iter()
        .map(|line| format!("{}\n", line.text))
        .collect();
    let feeder = std::thread::spawn(move || {
        // It breaks off when the process is gone; until then the input stays open.
        let _ = input.write_all(text.as_bytes());
        input
    });
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut alive = true;
    loop {
        if alive && acknowledged.len() >= after {
            child.kill().unwrap();
            alive = false;
        }
        line.clear();
        // What it had written when it died still counts; half a line does not.
        answers.read_line(&mut line).unwrap();
        if !line.ends_with('\n') {
            break;
        }
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["line"], acknowledged.len() as u64 + 1, "{answer}");
        let place = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{answer}"));
        acknowledged.push((place("first"), place("last")));
    }
    assert!(
        !alive,
        "it ended by itself after {} answers",
        acknowledged.len()
    );
    child.wait().unwrap();
    drop(feeder.join().unwrap());
    acknowledged
}

/// Everything after the genesis, by position; the log must be sound.
fn recorded(path: &Path) -> Vec<String> {
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    let log = Log::open(path, open).unwrap();
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    for check in log.check_folds(None, &|_, _| {}).unwrap() {
        assert!(check.is_equal(), "{check:?}");
    }
    let read = Read::new(Query::everything()).from(1_u64);
    let payloads = log.read(read).unwrap().map(|record| {
        let record = record.unwrap();
        String::from_utf8(record.payload.bytes().unwrap().to_vec()).unwrap()
    });
    let payloads: Vec<_> = payloads.collect();
    assert_eq!(payloads.len() as u64 + 1, log.size());
    payloads
}

#[test]
fn acknowledged_lines_survive_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    let runstone = Runstone::on(&path);
    runstone.value(["init"]);
    let mut seeded = Seeded::new(0x6b69_6c6c);
    let (mut next, mut sent, mut events) = (0, 0, Vec::<String>::new());
    // Lines that nobody knows about: sent, not acknowledged.
    let mut open: Vec<Line> = Vec::new();
    let (mut acknowledged, mut lost, mut kept) = (0, 0, 0);
    for round in 0..ROUNDS {
        // Twice there are more answers than a pipe holds: those behind are cut off when the events
        // have long been recorded.
        let crowd = if CROWDED.contains(&round) { CROWD } else { 0 };
        let after = seeded.below(30) + crowd / 100;
        for _ in 0..after + seeded.below(40) + crowd {
            let line = Line::new(next, &mut seeded);
            sent += line.payloads.len();
            next += 1;
            open.push(line);
        }
        let answers = killed(&runstone, &open, after);

        let found = recorded(&path);
        assert!(found.len() >= events.len(), "round {round}");
        assert!(
            found[..events.len()] == events[..],
            "history changed in round {round}"
        );
        events = found;
        let mut places = BTreeMap::new();
        for (at, payload) in (1_u64..).zip(&events) {
            assert_eq!(
                places.insert(payload.as_str(), at),
                None,
                "twice: {payload:.60}"
            );
        }
        let mut unknown = Vec::new();
        for (at, line) in open.iter().enumerate() {
            let present: Vec<_> = line
                .payloads
                .iter()
                .filter_map(|payload| places.get(payload.as_str()))
                .collect();
            let whole = present.len() == line.payloads.len()
                && present.windows(2).all(|pair| *pair[0] + 1 == *pair[1]);
            assert!(
                whole || present.is_empty(),
                "round {round}: torn: {:.90}",
                line.text
            );
            match answers.get(at) {
                Some((first, last)) => {
                    assert!(whole, "round {round}: lost: {:.90}", line.text);
                    assert_eq!((*first, *last), (*present[0], *present[present.len() - 1]));
                }
                None => {
                    kept += usize::from(whole);
                    lost += usize::from(!whole);
                    unknown.push(line.clone());
                }
            }
        }
        acknowledged += answers.len();
        open = unknown;
        if round % COMMAND_CHECKS == 0 {
            runstone.check();
        }
    }
    // Kills of every kind: behind the answer, behind the commit, before it.
    assert!(
        acknowledged > 500 && kept > 100 && lost > 100,
        "{acknowledged} {kept} {lost}"
    );

    let rest: String = open.iter().map(|line| format!("{}\n", line.text)).collect();
    let mut last = runstone.command(["append", "-"]).spawn().unwrap();
    last.stdin
        .take()
        .unwrap()
        .write_all(rest.as_bytes())
        .unwrap();
    let output = last.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(recorded(&path).len(), sent);
    runstone.check();
}
