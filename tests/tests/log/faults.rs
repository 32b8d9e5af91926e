//! What an operating system does to a process that writes a log: terminates it, fills its disk or
//! takes the right to write to it, takes its file handles away, sets its clock.

use runstone_codec::NewEvent;
use runstone_store::{Log, ManualClock, OpenOptions, Query, Read, VerifyLevel};
use runstone_tests::command::{Runstone, binary};
use runstone_tests::tamper::Seeded;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Lines whose payloads no compression makes small.
fn lines(count: u64, words: usize) -> String {
    let mut seeded = Seeded::new(count);
    let mut text = String::new();
    for n in 0..count {
        let noise: Vec<_> = (0..words).map(|_| seeded.next_u64()).collect();
        let line = json!({"type": "data.noted", "stream": "s", "data": {"n": n, "noise": noise}});
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}

fn values(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Terminated with work queued: every line that was acknowledged is there, and nothing else is torn.
#[test]
fn termination_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    let runstone = Runstone::on(&path);
    runstone.value(["init"]);
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = runstone.command(["append", "-"]).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            let _ = input.write_all(lines(2000, 10).as_bytes());
            input
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut count = 0;
        while output.read_line(&mut line).unwrap() > 0 {
            if !line.ends_with('\n') {
                break;
            }
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer["first"].is_u64(), "{answer}");
            count += 1;
            line.clear();
            if count == 1 + round * 30 {
                let pid = child.id().to_string();
                let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
                assert!(sent.success());
            }
        }
        child.wait().unwrap();
        drop(feeder.join().unwrap());
        acknowledged += count;
        let size = Log::open(&path, OpenOptions::default()).unwrap().size();
        assert!(
            size > acknowledged,
            "{size} events, {acknowledged} acknowledged"
        );
        acknowledged = size - 1;
    }
    runstone.check();
}

/// Whether a file system can be mounted in a name space of its own; says so if not.
fn can_mount(disk: &Path) -> bool {
    let mounted = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none"])
        .arg(disk)
        .output();
    let can = mounted.is_ok_and(|done| done.status.success());
    if !can {
        let text = "SKIPPED: no file system can be mounted in a name space of its own here\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    can
}

/// Runs a script that mounts `$DISK` and writes its findings into `$OUT`.
fn mounted(script: &str, disk: &Path, out: &Path) {
    let done = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .env("DISK", disk)
        .env("OUT", out)
        .env("RUNSTONE", binary())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
}

/// A file system that is full: what does not fit is refused, what was acknowledged stays, and it goes
/// on when there is room. It needs the right to mount one in a name space of its own.
#[test]
fn a_full_file_system_refuses_and_goes_on() {
    const SCRIPT: &str = r#"
        set -e
        mount -t tmpfs -o size=16m none "$DISK"
        head -c 4194304 /dev/zero >"$DISK/ballast"
        "$RUNSTONE" --json --log "$DISK/log" init >/dev/null
        "$RUNSTONE" --json --log "$DISK/log" append "$OUT/lines" >"$OUT/first" 2>"$OUT/told" || true
        "$RUNSTONE" --json --log "$DISK/log" verify --level 2 >"$OUT/verified"
        "$RUNSTONE" --json --log "$DISK/log" backup "$DISK/copy" >/dev/null 2>&1 || true
        rm "$DISK/ballast"
        head -1 "$OUT/lines" | "$RUNSTONE" --json --log "$DISK/log" append - >"$OUT/second"
        "$RUNSTONE" --json --log "$DISK/log" verify --level 2 >"$OUT/again"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let (disk, out) = (folder.path().join("disk"), folder.path().join("out"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&out).unwrap();
    if !can_mount(&disk) {
        return;
    }
    std::fs::write(out.join("lines"), lines(2000, 450)).unwrap();
    mounted(SCRIPT, &disk, &out);
    let read = |name: &str| values(&std::fs::read(out.join(name)).unwrap());
    let first = read("first");
    let recorded = first
        .iter()
        .filter(|answer| answer["first"].is_u64())
        .count();
    let refused = first
        .iter()
        .filter(|answer| answer["error"]["code"] == "storage_full")
        .count();
    assert!(
        recorded > 0 && refused > 0,
        "{recorded} recorded, {refused} refused"
    );
    assert_eq!(recorded + refused, first.len());
    let (verified, again) = (&read("verified")[0], &read("again")[0]);
    assert_eq!(verified["valid"], true, "{verified}");
    assert_eq!(verified["events"], recorded + 1);
    assert_eq!(read("second")[0]["first"], recorded + 1);
    assert_eq!(again["valid"], true, "{again}");
}

/// Too few file handles: an error, and nothing is lost or left behind.
#[test]
fn too_few_file_handles_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    let runstone = Runstone::on(&path);
    runstone.value(["init"]);
    let mut worked = 0;
    for handles in 3..20 {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$0\"; exec \"$@\""])
            .arg(handles.to_string())
            .arg(binary())
            .args(["--json", "--log"])
            .arg(&path)
            .args(["append", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended before it reads.
        let _ = child
            .stdin
            .take()
            .unwrap()
            .write_all(lines(1, 1).as_bytes());
        let done = child.wait_with_output().unwrap();
        let answers = values(&done.stdout);
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(!told.contains("panicked"), "{handles}: {told}");
        let is_recorded = answers.iter().any(|answer| answer["first"].is_u64());
        assert_eq!(
            done.status.code() == Some(0),
            is_recorded,
            "{handles}: {told}"
        );
        worked += u64::from(is_recorded);
    }
    assert!(worked > 0 && worked < 17, "{worked}");
    let size = Log::open(&path, OpenOptions::default()).unwrap().size();
    assert_eq!(size, 1 + worked);
    runstone.check();
}

/// A file system that was made read-only: appends are refused by name, everything else goes on.
#[test]
fn a_read_only_file_is_read_and_verified() {
    const SCRIPT: &str = r#"
        set -e
        mount -t tmpfs -o size=16m none "$DISK"
        run() { "$RUNSTONE" --json --log "$DISK/log" "$@"; }
        run init >/dev/null
        run append "$OUT/lines" >/dev/null
        mount -o remount,ro "$DISK"
        code=0; run append "$OUT/lines" >/dev/null 2>"$OUT/refused" || code=$?
        echo "$code" >"$OUT/code"
        run verify --level 2 >"$OUT/verified"
        run log --all >"$OUT/read"
        mount -o remount,rw "$DISK"
        run append "$OUT/lines" >"$OUT/again"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let (disk, out) = (folder.path().join("disk"), folder.path().join("out"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&out).unwrap();
    if !can_mount(&disk) {
        return;
    }
    std::fs::write(out.join("lines"), lines(5, 1)).unwrap();
    mounted(SCRIPT, &disk, &out);
    let read = |name: &str| values(&std::fs::read(out.join(name)).unwrap());
    assert_eq!(read("code"), [json!(7)]);
    assert_eq!(read("refused")[0]["error"]["code"], "storage_io");
    assert_eq!(read("verified")[0]["valid"], true);
    assert_eq!(read("read").len(), 6);
    assert_eq!(read("again")[0]["first"], 6);
}

/// The clock of the machine is set back a day and forward a year between processes and under one:
/// times do not go back, and every event stands.
#[test]
fn a_clock_that_is_set_back_and_forward() {
    const DAY_US: u64 = 86_400_000_000;
    const START_US: u64 = 1_750_000_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    Runstone::on(&path).value(["init"]);
    let mut appended = 0;
    for wall in [
        START_US,
        START_US - DAY_US,
        START_US + 365 * DAY_US,
        START_US,
    ] {
        let clock = Arc::new(ManualClock::new(wall));
        let mut open = OpenOptions::default();
        open.options.clock = Arc::<ManualClock>::clone(&clock);
        let log = Log::open(&path, open).unwrap();
        for set in [wall, wall - DAY_US, wall + 365 * DAY_US, wall] {
            clock.set_wall(set);
            log.append_blocking(NewEvent::new("data.noted", "s"))
                .unwrap();
            appended += 1;
        }
        let times: Vec<u64> = log
            .read(Read::new(Query::everything()))
            .unwrap()
            .map(|record| record.unwrap().recorded_at_us)
            .collect();
        assert_eq!(times.len(), 1 + appended);
        assert!(times.is_sorted(), "{times:?}");
        assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
        log.close_blocking().unwrap();
    }
    Runstone::on(&path).check();
}
