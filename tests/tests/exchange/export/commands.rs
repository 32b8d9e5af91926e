//! `runstone export` and `runstone load`.

use runstone_tests::command::{Runstone, recordings};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Outcome<(Self, Runstone)> {
        let site = Self(tempfile::tempdir()?);
        let log = site.log("log");
        log.value(["init"]);
        Ok((site, log))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self, name: &str) -> Runstone {
        Runstone::on(self.path(name))
    }

    /// A command on a log, with the keys of the first.
    fn on(&self, name: &str, args: &[&str]) -> (i32, Vec<Value>, String) {
        let keys = self.path("log.keys");
        let keys = ["--keys", keys.to_str().unwrap()];
        self.log(name).ended(&[&keys, args].concat())
    }

    fn bytes(&self, name: &str) -> Outcome<Vec<u8>> {
        Ok(std::fs::read(self.path(name))?)
    }
}

fn append(log: &Runstone, events: usize) -> Outcome {
    let mut child = log.command(["append", "-"]).spawn()?;
    let mut input = child.stdin.take().ok_or("no stdin")?;
    for n in 0..events {
        let event =
            json!({"type": "data.noted", "stream": format!("run-{}", n % 3), "data": {"n": n}});
        writeln!(input, "{event}")?;
    }
    drop(input);
    assert!(child.wait_with_output()?.status.success());
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Each of the recordings there are.
#[test]
fn recordings_come_back_as_they_were() -> Outcome {
    for folder in [
        "claude-code",
        "claude-code-viewer",
        "inspect-logs",
        "openclaw-telemetry",
        "otel-genai-any-agent",
        "pi-sessions",
        "prior-art",
        "swe-agent",
        "tau-bench",
    ] {
        let Some(folder) = recordings(folder) else {
            return Ok(());
        };
        let (site, log) = Site::new()?;
        log.ended(&["import", text(&folder)]);
        let (first, second) = (site.path("a.jsonl"), site.path("b.jsonl"));
        let exported = log.value(["export", "-o", text(&first)]);
        assert!(exported["events"].as_u64() > Some(10), "{exported}");
        let (exit, loaded, _) = site.on("copy", &["load", text(&first)]);
        assert_eq!((exit, &loaded[0]["root"]), (0, &exported["root"]));
        assert_eq!(site.on("copy", &["export", "-o", text(&second)]).0, 0);
        assert!(
            site.bytes("a.jsonl")? == site.bytes("b.jsonl")?,
            "{folder:?}"
        );
        let (exit, verified, _) = site.on("copy", &["verify"]);
        assert_eq!((exit, &verified[0]["root"]), (0, &exported["root"]));
        // One run of it.
        let runs = log.values(["runs"]);
        let Some(run) = runs.first().and_then(|run| run["stream"].as_str()) else {
            continue;
        };
        let part = site.path("part.jsonl");
        let query = format!("stream={run}");
        let chosen = log.value(["export", &query, "-o", text(&part)]);
        assert_eq!(site.on("part", &["load", text(&part)]).0, 0);
        let (exit, lines, _) = site.on("part", &["log", "--stream", run]);
        assert_eq!((exit, lines), (0, log.values(["log", "--stream", run])));
        let (exit, report, _) = site.on("part", &["verify"]);
        let expected = if chosen["withheld"] == 0 { 0 } else { 9 };
        assert_eq!((exit, &report[0]["root"]), (expected, &exported["root"]));
        let (_, lines, _) = site.on("part", &["log", "--all"]);
        let withheld = lines
            .iter()
            .filter(|line| line["withheld"] == true && line["data"].is_null());
        assert_eq!(json!(withheld.count()), chosen["withheld"]);
    }
    Ok(())
}

#[test]
fn exports_go_through_pipes() -> Outcome {
    let (site, log) = Site::new()?;
    append(&log, 30)?;
    let output = log.run(["export"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let mut load = site.log("copy").command(["load", "-"]).spawn()?;
    load.stdin
        .take()
        .ok_or("no stdin")?
        .write_all(&output.stdout)?;
    assert!(load.wait_with_output()?.status.success());
    let again = site
        .log("copy")
        .command(["--keys", text(&site.path("log.keys")), "export"])
        .output()?;
    assert_eq!(again.stdout, output.stdout);
    // Somebody reads the first line and goes away.
    append(&log, 3000)?;
    let mut export = log.command(["export"]).spawn()?;
    let mut first = String::new();
    std::io::BufReader::new(export.stdout.take().ok_or("no stdout")?).read_line(&mut first)?;
    let ended = export.wait_with_output()?;
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{ended:?}"
    );
    assert!(first.contains("runstone/export@v1"));
    // A full disk.
    let (exit, _, code) = log.ended(&["export", "-o", "/dev/full"]);
    assert_eq!((exit, code.as_str()), (7, "storage_io"));
    Ok(())
}

#[test]
fn what_is_there_is_left_and_what_is_wrong_is_told() -> Outcome {
    let (site, log) = Site::new()?;
    append(&log, 3)?;
    let file = site.path("a.jsonl");
    log.value(["export", "-o", text(&file)]);
    let before = site.bytes("log")?;
    let (exit, _, code) = log.ended(&["load", text(&file)]);
    assert_eq!((exit, code.as_str()), (2, "log_exists"));
    assert_eq!(site.bytes("log")?, before);
    let (exit, _, code) = site
        .log("copy")
        .ended(&["load", text(&site.path("nothing"))]);
    assert_eq!((exit, code.as_str()), (5, "file_not_found"));
    let (exit, _, code) = site.log("copy").ended(&["load", text(&site.path("log"))]);
    assert_eq!((exit, code.as_str()), (2, "not_an_export"));
    let mut changed = site.bytes("a.jsonl")?;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(site.path("b.jsonl"), changed)?;
    let (exit, _, code) = site
        .log("copy")
        .ended(&["load", text(&site.path("b.jsonl"))]);
    assert_eq!((exit, code.as_str()), (4, "export_malformed"));
    let (exit, _, code) = log.ended(&["export", "colour=red"]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
    // The head of a lost log stays, as with a backup: it knows how far that was.
    append(&log, 3)?;
    std::fs::remove_file(site.path("log"))?;
    log.value(["load", text(&file)]);
    let (exit, _, code) = log.ended(&["epoch", "start"]);
    assert_eq!((exit, code.as_str()), (4, "log_behind"));
    log.value(["epoch", "start", "--accept-loss"]);
    append(&log, 1)?;
    log.check();
    Ok(())
}

/// In the clear, and on the record.
#[test]
fn content_in_the_clear_is_as_the_log_prints_it() -> Outcome {
    let (site, log) = Site::new()?;
    append(&log, 9)?;
    let shown = log.values([
        "export",
        "--open",
        "stream=run-1",
        "--recipient",
        "auditor-7",
    ]);
    assert_eq!(shown, log.values(["log", "--stream", "run-1"]));
    let recorded = log.values(["log", "--type", "log.disclosed"]);
    assert_eq!(recorded.len(), 1);
    let expected = json!({"positions": [[2, 2], [5, 5], [8, 8]], "recipient": "auditor-7"});
    assert_eq!(recorded[0]["data"], expected);
    let file = site.path("open.jsonl");
    let answer = log.value(["export", "--open", "-o", text(&file)]);
    assert_eq!(answer["events"], 11);
    let (exit, _, code) = site.log("copy").ended(&["load", text(&file)]);
    assert_eq!((exit, code.as_str()), (2, "not_an_export"));
    let (exit, _, code) = log.ended(&["export", "--recipient", "a"]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
    Ok(())
}

/// What a killed load leaves is no log, and the next one takes its place; two at once do not mix.
#[test]
fn a_load_that_is_killed_leaves_nothing_that_counts() -> Outcome {
    let (site, log) = Site::new()?;
    append(&log, 50)?;
    let bytes = log.run(["export"]).stdout;
    let half = bytes.len() / 2;
    let mut load = site.log("copy").command(["load", "-"]).spawn()?;
    let mut input = load.stdin.take().ok_or("no stdin")?;
    input.write_all(&bytes[..half])?;
    let beside = site.path("copy.loading");
    while !beside.exists() {
        assert!(load.try_wait()?.is_none(), "it ended");
        std::thread::yield_now();
    }
    // Once what was left there is let go of, it is held.
    let held = || {
        site.log("copy")
            .ended(&["load", text(&site.path("none.jsonl"))])
    };
    assert_eq!(held().0, 5);
    std::fs::write(site.path("a.jsonl"), &bytes)?;
    let second = loop {
        let ended = site
            .log("copy")
            .ended(&["load", text(&site.path("a.jsonl"))]);
        if ended.2 != "storage_io" {
            break ended;
        }
    };
    assert_eq!((second.0, second.2.as_str()), (6, "busy"));
    load.kill()?;
    assert_eq!(load.wait()?.signal(), Some(9));
    drop(input);
    assert!(beside.exists() && !site.path("copy").exists());
    let (exit, _, code) = site.on("copy", &["verify"]);
    assert_eq!((exit, code.as_str()), (5, "log_not_found"));
    site.log("copy")
        .value(["load", text(&site.path("a.jsonl"))]);
    assert!(!beside.exists());
    assert_eq!(site.on("copy", &["verify"]).0, 0);
    Ok(())
}

/// The file system takes no more: what was begun is removed.
#[test]
fn a_load_without_room_leaves_nothing() -> Outcome {
    let (site, log) = Site::new()?;
    append(&log, 2000)?;
    let file = site.path("a.jsonl");
    log.value(["export", "-o", text(&file)]);
    // A write past the limit fails, as one on a full disk does.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]);
    shell.arg(runstone_tests::command::binary());
    shell.args([
        "--json",
        "--log",
        text(&site.path("copy")),
        "load",
        text(&file),
    ]);
    let ended = shell.stdin(Stdio::null()).output()?;
    let told = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(7), "{told}");
    for name in ["copy", "copy.head", "copy.loading"] {
        assert!(!site.path(name).exists(), "{name} is left");
    }
    Ok(())
}
