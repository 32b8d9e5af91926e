//! A runtime with sinks, killed again and again while they run: nothing is missing, nothing is out of
//! order, and what a sink got twice was marked.

use runstone::{Query, Read, Runstone};
use runstone_tests::sinks::{Receiver, Site};
use runstone_tests::tamper::Seeded;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Kills of one with files.
const ROUNDS: u64 = 50;
/// Kills of one that posts.
const POSTING_ROUNDS: u64 = 10;

/// The position of a line, and whether it was marked as a duplicate.
fn told(line: &str) -> Option<(u64, bool)> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some((value["position"].as_u64()?, value["duplicate"] == true))
}

/// The lines of a file, each of which is whole.
fn whole(path: &Path) -> Vec<(u64, bool)> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| told(line).unwrap()).collect()
}

/// The lines of a file that a program wrote that cuts off nothing: where one was cut short the next
/// event stands on the same line.
fn readable(path: &Path) -> Vec<(u64, bool)> {
    let text = fs::read_to_string(path).unwrap();
    let each = text.lines();
    each.filter_map(|line| told(line.get(line.rfind("{\"position\":")?..)?))
        .collect()
}

/// Kills a runtime so often, each time after a few answers and once the file has grown, and lets it end
/// at last. Answers the positions that its sinks must have.
fn killed(
    log: &Path,
    (kind, place): (&str, &OsStr),
    rounds: u64,
    grows: Option<&Path>,
) -> Vec<u64> {
    let copier = || {
        let mut copier = Command::new(env!("CARGO_BIN_EXE_copier"));
        copier.arg(log).arg(kind).arg(place);
        copier
    };
    let length = || {
        let found = grows.and_then(|path| fs::metadata(path).ok());
        found.map_or(0, |found| found.len())
    };
    let mut seeded = Seeded::new(20);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut child = copier()
            .arg(round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let before = length();
        let mut left = 1 + seeded.below(40);
        while left > 0 {
            let last: u64 = answers.next().unwrap().unwrap().parse().unwrap();
            assert!(last > acknowledged);
            acknowledged = last;
            left -= usize::from(grows.is_none() || length() > before);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had written when it died counts.
        for answer in answers.map_while(Result::ok) {
            acknowledged = answer.parse().unwrap_or(acknowledged);
        }
    }
    assert!(copier().status().unwrap().success());

    let log = Runstone::options().without_sinks().open(log).unwrap();
    for status in log.sinks().list().unwrap() {
        assert_eq!((status.parked, status.is_failing), (0, false));
    }
    let records = log
        .read(Read::new(Query::everything()).without_payloads())
        .unwrap();
    let records = records.map(Result::unwrap);
    let expected: Vec<_> = records
        .filter(|record| !record.header.event_type.starts_with("sink."))
        .map(|record| record.position.get())
        .collect();
    assert!(expected.last().unwrap() >= &acknowledged && expected.len() > 1_000);
    expected
}

/// One that does not tell what it has got everything, in order, and knows what it may have had before.
fn check_inexact(seen: impl IntoIterator<Item = (u64, bool)>, expected: &[u64]) {
    let mut met = BTreeSet::new();
    let mut first = Vec::new();
    let mut again = 0;
    for (position, is_duplicate) in seen {
        if met.insert(position) {
            first.push(position);
        } else {
            assert!(is_duplicate, "{position}");
            again += 1;
        }
    }
    assert_eq!(first, expected);
    eprintln!("{} events, {again} of them twice", expected.len());
}

#[test]
fn a_runtime_that_is_killed_leaves_whole_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let (log, file) = (folder.path().join("log"), folder.path().join("plain"));
    let expected = killed(&log, ("files", file.as_os_str()), ROUNDS, None);
    // One that tells what it has got everything exactly once.
    let exact: Vec<_> = whole(&file.with_extension("exact"));
    assert!(exact.iter().all(|(_, is_duplicate)| !is_duplicate));
    let exact: Vec<_> = exact.into_iter().map(|(position, _)| position).collect();
    assert_eq!(exact, expected);
    check_inexact(readable(&file), &expected);
}

/// A receiver that keeps what it gets, whoever dies while it answers.
fn posts(kind: &str) {
    let site = Site::default();
    let receiver = Receiver::start(&site, kind, &[]);
    let (log, kept) = (site.path("killed"), site.path("out.jsonl"));
    let place = (kind, receiver.url.as_ref());
    let expected = killed(&log, place, POSTING_ROUNDS, Some(&kept));
    let seen = receiver.seen().into_iter();
    check_inexact(
        seen.map(|seen| (seen.position, seen.is_duplicate)),
        &expected,
    );
}

#[test]
fn webhooks_of_a_runtime_that_is_killed_miss_nothing() {
    posts("webhook");
}

#[test]
fn traces_of_a_runtime_that_is_killed_miss_nothing() {
    posts("otlp");
}
