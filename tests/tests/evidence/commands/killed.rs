//! `runstone erase`, killed at each of its steps and resumed.
//!
//! Steps at which the provider of the key-encryption key is asked are cut exactly there, by the
//! provider. The others are cut as soon as they can be seen on the disk, which is before or after the
//! next step, as it happens; whatever came of it must hold, and each is tried again, a few times at
//! most, until it was cut in the middle.

use super::kek::with_kms;
use super::site::{SECRET, Site};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

/// What the provider is asked: to wrap a key, for a new key to wrap under, to destroy the former one.
const ASKED: [&str; 3] = ["wrap", "create", "destroy"];
/// What can be seen: the request, the keys that are dropped, those that are wrapped anew, the new
/// file, that it took the place of the old one, the certificate.
const SEEN: [&str; 6] = [
    "log.redb.head",
    "log.redb.keys/table",
    "log.redb.keys/ring",
    "log.redb.rewritten",
    "log.redb",
    "certificate",
];
const ERASE: [&str; 6] = ["erase", "ann", "--basis", "b", "-o", "certificate"];
const SIGKILL: i32 = 9;
const TRIES: usize = 3;

/// What can be seen of a file: which one it is and, of the head, which is written in place, what it
/// says.
fn seen(path: &Path) -> Option<(u64, Option<Vec<u8>>)> {
    let inode = std::fs::metadata(path).ok()?.ino();
    let is_in_place = path.extension().is_some_and(|ending| ending == "head");
    let content = is_in_place.then(|| std::fs::read(path).unwrap_or_default());
    Some((inode, content))
}

/// How many of a scope's events can be read.
fn shows(site: &Site, scope: &str) -> usize {
    let lines = site.run(["log", "--stream", &format!("run-{scope}")]).lines;
    assert_eq!(lines.len(), 20);
    lines.iter().filter(|line| line["erased"] != true).count()
}

/// Looks at what a killed erasure left, and finishes it; answers how far it was.
fn resume(site: &Site, step: &str) -> String {
    let listed = site.run(["erase", "--list"]);
    assert_eq!(listed.exit, 0, "{step}: {listed:?}");
    let state = listed.lines.first().map(|line| line["state"].clone());
    let state = state.map_or_else(
        || "none".to_owned(),
        |state| state.as_str().unwrap().to_owned(),
    );
    match state.as_str() {
        // Not requested: as if it had not been asked.
        "none" => {
            assert_eq!((shows(site, "ann"), site.verified()), (20, 0), "{step}");
            site.done(ERASE);
        }
        "pending" => {
            assert_eq!((shows(site, "ann"), site.verified()), (0, 9), "{step}");
            let told = site.done(["erase", "--resume", "-o", "resumed"]);
            assert_eq!(told["state"], "complete", "{step}: {told}");
            assert!(site.path("resumed").exists());
        }
        state => {
            assert_eq!(state, "complete", "{step}");
            assert_eq!(site.run(["erase", "--resume"]).stdout, "");
        }
    }
    assert_eq!((shows(site, "ann"), shows(site, "bob")), (0, 20), "{step}");
    assert_eq!(site.verified(), 0, "{step}");
    assert_eq!(site.run(["erase", "--list"]).lines.len(), 1, "{step}");
    assert!(!site.path("log.redb.rewritten").exists(), "{step}");
    for file in ["log.redb", "log.redb.head", "log.redb.keys/table"] {
        let bytes = site.read(file);
        let mut windows = bytes.windows(SECRET.len());
        let found = windows.any(|window| window == SECRET.as_bytes());
        assert!(!found, "{step}: {file}");
    }
    state
}

#[test]
fn an_erasure_that_its_provider_cuts_short_is_pending_or_not_begun() {
    for step in ASKED {
        let site = with_kms();
        site.kms("kill", step);
        let killed = site.command(ERASE).output().unwrap();
        assert_eq!(killed.status.signal(), Some(SIGKILL), "{step}: {killed:?}");
        site.kms("kill", "nothing");
        if step == "destroy" {
            // It was destroyed, and nobody heard so.
            site.kms("destroy", "{\"error\":\"unknown_kek\"}");
        }
        // The first key that is wrapped is the next one of the folds, before anything is recorded.
        let expected = if step == "wrap" { "none" } else { "pending" };
        assert_eq!(resume(&site, step), expected, "{step}");
    }
}

#[test]
fn an_erasure_can_be_killed_anywhere_and_resumed() {
    let mut pending = 0;
    for step in SEEN {
        // Only those between can be cut in the middle.
        let is_between = !["log.redb.head", "certificate"].contains(&step);
        for _ in 0..if is_between { TRIES } else { 1 } {
            if kill_when_seen(step) == "pending" {
                pending += 1;
                break;
            }
        }
    }
    assert!(pending > 0, "none was cut in the middle");
}

fn kill_when_seen(step: &str) -> String {
    let site = Site::new();
    let watched = site.path(step);
    let before = seen(&watched);
    let mut erase = site.command(ERASE).spawn().unwrap();
    while seen(&watched) == before && erase.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    erase.kill().unwrap();
    erase.wait().unwrap();
    resume(&site, step)
}
