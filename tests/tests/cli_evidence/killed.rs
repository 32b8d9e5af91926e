//! `runstone erase`, killed as soon as each of its steps can be seen on the disk, and resumed.

use super::site::{SECRET, Site};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const STEPS: [&str; 6] = [
    "log.redb.head",
    "log.redb.keys/table",
    "log.redb.keys/ring",
    "log.redb.rewritten",
    "log.redb",
    "certificate",
];
const ROUNDS: usize = 4;

/// What can be seen of a file: whether it is another one, and what it says. The log itself changes
/// with every commit, so it counts only whether it is another one.
fn seen(path: &Path, with_content: bool) -> Option<(u64, Option<Vec<u8>>)> {
    let inode = std::fs::metadata(path).ok()?.ino();
    Some((
        inode,
        with_content.then(|| std::fs::read(path).unwrap_or_default()),
    ))
}

#[test]
fn an_erasure_can_be_killed_anywhere_and_resumed() {
    let (mut untouched, mut pending, mut complete) = (0, 0, 0);
    for step in STEPS.iter().cycle().take(ROUNDS * STEPS.len()) {
        let site = Site::new();
        let watched = site.path(step);
        let with_content = *step != "log.redb";
        let before = seen(&watched, with_content);
        let mut erase = site.command(["erase", "ann", "--basis", "b", "-o", "certificate"]);
        let mut erase = erase.spawn().unwrap();
        while seen(&watched, with_content) == before && erase.try_wait().unwrap().is_none() {}
        erase.kill().unwrap();
        erase.wait().unwrap();

        let listed = site.run(["erase", "--list"]);
        assert_eq!(listed.exit, 0, "{step}: {listed:?}");
        let shows = |scope: &str| {
            let lines = site.run(["log", "--stream", &format!("run-{scope}")]).lines;
            assert_eq!(lines.len(), 20, "{step}");
            lines.iter().filter(|line| line["erased"] != true).count()
        };
        assert_eq!(shows("bob"), 20, "{step}");
        match listed.lines.first().map(|line| line["state"].clone()) {
            None => {
                // Not requested: as if it had not been asked.
                untouched += 1;
                assert_eq!((shows("ann"), site.verified()), (20, 0), "{step}");
                site.done(["erase", "ann", "--basis", "b"]);
            }
            Some(state) if state == "pending" => {
                pending += 1;
                assert_eq!((shows("ann"), site.verified()), (0, 9), "{step}");
                let told = site.done(["erase", "--resume", "-o", "resumed"]);
                assert_eq!(told["state"], "complete", "{step}: {told}");
                assert!(site.path("resumed").exists());
            }
            Some(state) => {
                complete += 1;
                assert_eq!(state, "complete", "{step}");
                assert_eq!(site.run(["erase", "--resume"]).stdout, "");
            }
        }
        assert_eq!((shows("ann"), site.verified()), (0, 0), "{step}");
        assert_eq!(site.run(["erase", "--list"]).lines.len(), 1, "{step}");
        assert!(!site.path("log.redb.rewritten").exists(), "{step}");
        let files = ["log.redb", "log.redb.head", "log.redb.keys/table"];
        for file in files {
            let bytes = site.read(file);
            let found = bytes
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!found, "{step}: {file}");
        }
    }
    // The first and the last step depend on chance; those between are cut in the middle.
    assert!(pending >= ROUNDS, "{untouched} {pending} {complete}");
}
