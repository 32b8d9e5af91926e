//! `runstone replay`: a run played on a terminal that tmux holds, and without one.

use runstone_store::{Log, OpenOptions};
use runstone_tests::command::{Runstone, binary, recordings};
use runstone_tests::held::Site;
use runstone_tests::tamper::{Outcome, RawRows, Table};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Command;

/// Times that a terminal is looked at before a test fails. Each look is a process of its own.
const LOOKS: usize = 4000;

fn site() -> Outcome<(Site, Runstone)> {
    let site = Site::new()?;
    let log = Runstone::on(&site.log);
    log.value(["init"]);
    Ok((site, log))
}

/// One more event, by somebody who waits until the log is free.
const MORE: [&str; 7] = [
    "append",
    "--wait",
    "30",
    "--stream",
    "run-1",
    "--type",
    "data.noted",
];

/// A terminal of 80 columns and 24 rows, in which a command runs.
struct Terminal(PathBuf);

impl Terminal {
    /// None where there is no tmux, which is said.
    fn run(site: &Site, args: &[&str]) -> Outcome<Option<Self>> {
        let this = Self(site.path("tmux"));
        let words = [&["--log", site.log.to_str().ok_or("no text")?], args].concat();
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        // What it leaves, and how it ends, is seen when it has ended.
        let line = format!(
            "'{}' {}; echo \"ended with $?\"; stty -a | grep -o ' echo '; exec cat",
            binary().display(),
            words.join(" ")
        );
        let begun = this.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            &line,
        ]);
        match begun {
            Ok(_) => Ok(Some(this)),
            Err(error) if error.is::<std::io::Error>() => {
                // Past the harness, which shows nothing of a test that passes.
                std::io::stderr().write_all(b"SKIPPED: tmux is not installed\n")?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tmux(&self, args: &[&str]) -> Outcome<String> {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.0)
            .args(args)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn keys(&self, keys: &[&str]) -> Outcome {
        self.tmux(&[&["send-keys"], keys].concat())?;
        Ok(())
    }

    /// What is to be seen, once it holds.
    fn see(&self, what: &str) -> Outcome<Vec<String>> {
        let mut seen = String::new();
        for _ in 0..LOOKS {
            seen = self.tmux(&["capture-pane", "-p"])?;
            if seen.contains(what) {
                let lines: Vec<_> = seen.lines().map(str::to_owned).collect();
                assert!(
                    lines.iter().all(|line| line.chars().count() <= 80),
                    "{seen}"
                );
                return Ok(lines);
            }
        }
        Err(format!("{what} is not to be seen:\n{seen}").into())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

fn append(log: &Runstone, events: &[Value]) -> Outcome {
    let mut child = log.command(["append", "-"]).spawn()?;
    let mut input = child.stdin.take().ok_or("no stdin")?;
    for event in events {
        writeln!(input, "{event}")?;
    }
    drop(input);
    assert!(child.wait_with_output()?.status.success());
    Ok(())
}

fn note(run: &str, n: u64) -> Value {
    json!({"type": "data.noted", "stream": run, "data": {"text": format!("event number {n} of it")}})
}

/// A run of `events` events, with those of another between them.
fn fill(log: &Runstone, events: u64) -> Outcome {
    let both = (0..events).flat_map(|n| [note("run-1", n), note("run-2", n)]);
    append(log, &both.collect::<Vec<_>>())
}

#[test]
fn a_run_is_played_forwards_and_backwards() -> Outcome {
    let (site, log) = site()?;
    fill(&log, 3000)?;
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    for shown in [
        "run-1  0/2,999  @1  paused",
        "event number 0 of it",
        "tokens",
        "q quit",
    ] {
        terminal.see(shown)?;
    }
    terminal.keys(&["n"])?;
    terminal.see("1/2,999  @3 ")?;
    terminal.see("event number 1 of it")?;
    terminal.keys(&["Right", "Right"])?;
    terminal.see("3/2,999  @7 ")?;
    terminal.keys(&["p"])?;
    terminal.see("2/2,999  @5 ")?;
    terminal.see("event number 2 of it")?;
    // To a revision, far over what is kept, and back before it.
    terminal.keys(&["g", "2500", "Enter"])?;
    terminal.see("2,500/2,999  @5001 ")?;
    terminal.see("event number 2500 of it")?;
    terminal.keys(&["Left"])?;
    terminal.see("2,499/2,999  @4999 ")?;
    terminal.keys(&["g", "9", "Enter"])?;
    terminal.see("9/2,999  @19 ")?;
    // To a position: the newest event of the run by then.
    terminal.keys(&["@", "100", "Enter"])?;
    terminal.see("49/2,999  @99 ")?;
    terminal.keys(&["g", "3000", "Enter"])?;
    terminal.see("there is no such event")?;
    terminal.keys(&["End"])?;
    terminal.see("2,999/2,999  @5999  end")?;
    terminal.keys(&["Home"])?;
    terminal.see("run-1  0/2,999  @1 ")?;
    // Without the time between them it plays to the end.
    terminal.keys(&["+", "+", "Space"])?;
    terminal.see("2,999/2,999  @5999  end x4")?;
    terminal.keys(&["q"])?;
    ended(&terminal)
}

/// The terminal is as it was: what was on it before is there, and what is typed is seen.
fn ended(terminal: &Terminal) -> Outcome {
    let lines = terminal.see("ended with 0")?;
    assert!(
        !lines.iter().any(|line| line.contains("q quit")),
        "{lines:?}"
    );
    terminal.see(" echo")?;
    assert_eq!(
        terminal
            .tmux(&["display", "-p", "#{cursor_flag} #{alternate_on}"])?
            .trim(),
        "1 0"
    );
    Ok(())
}

#[test]
fn the_terminal_comes_back_whatever_ends_it() -> Outcome {
    for how in ["key", "signal"] {
        let (site, log) = site()?;
        fill(&log, 3)?;
        let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
            return Ok(());
        };
        terminal.see("0/2  @1  paused")?;
        if how == "key" {
            terminal.keys(&["C-c"])?;
        } else {
            let shell = terminal.tmux(&["display", "-p", "#{pane_pid}"])?;
            let killed = Command::new("pkill")
                .args(["-TERM", "-P", shell.trim()])
                .status()?;
            assert!(killed.success());
        }
        ended(&terminal)?;
    }
    Ok(())
}

/// What an agent read somewhere does not reach whoever looks at it.
#[test]
fn content_does_not_drive_the_terminal() -> Outcome {
    let (site, log) = site()?;
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31mred\u{9b}5m\u{202e}";
    let event =
        json!({"type": "data.noted", "stream": "run-1", "source": "x", "data": {"a": evil}});
    append(&log, &[event, note("run-1", 1)])?;
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    terminal.see("0/1  @1  paused")?;
    terminal.see("\\u001b]0;owned")?;
    let raw = terminal.tmux(&["capture-pane", "-p", "-e"])?;
    assert!(
        !raw.contains("\u{1b}[31m") && !raw.contains("\u{9b}"),
        "{raw:?}"
    );
    let title = terminal.tmux(&["display", "-p", "#{pane_title}"])?;
    assert!(!title.contains("owned"), "{title}");
    Ok(())
}

/// One event that cannot be read does not hide the others.
#[test]
fn a_damaged_event_is_told_and_the_next_one_follows() -> Outcome {
    let (site, log) = site()?;
    fill(&log, 5)?;
    // The third event of the run.
    let damaged = 5;
    let rows = RawRows::open(&site.log)?;
    let mut chunk = rows.chunk(damaged)?;
    let at = usize::try_from(damaged - chunk.first)?;
    chunk.events[at].0.clear();
    rows.set(
        Table::Chunks,
        &chunk.first.to_be_bytes(),
        Some(&chunk.encode()),
    )?;
    drop(rows);
    let (exit, events, code) = log.ended(&["replay", "run-1"]);
    assert_eq!((exit, code.as_str(), events.len()), (4, "corrupt", 4));
    assert_eq!(
        log.ended(&["log", "--stream", "run-1"]),
        (exit, events.clone(), code)
    );
    // Also where it is the first.
    let (exit, rest, _) = log.ended(&["replay", "run-1", "--revision", "2"]);
    assert_eq!((exit, &rest[..]), (4, &events[2..]));
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    terminal.see("0/4  @1  paused")?;
    terminal.keys(&["n", "n"])?;
    terminal.see("2/4  @5  paused")?;
    terminal.see("\n(damaged)")?;
    terminal.keys(&["n"])?;
    terminal.see("3/4  @7  paused")?;
    terminal.see("event number 3 of it")?;
    terminal.see("| damaged   1")?;
    terminal.keys(&["@", "6", "Enter"])?;
    terminal.see("2/4  @5  paused")?;
    terminal.keys(&["Space"])?;
    terminal.see("4/4  @9  end")?;
    terminal.keys(&["q"])?;
    ended(&terminal)
}

/// A recorded session: what it used grows beside it.
#[test]
fn a_recorded_session_is_played_with_what_it_used() -> Outcome {
    let Some(folder) = recordings("claude-code") else {
        return Ok(());
    };
    let (site, log) = site()?;
    log.ended(&["import", folder.to_str().ok_or("no text")?]);
    let runs = log.values(["runs"]);
    let tokens = |run: &Value| run["tokens"].as_u64().unwrap_or_default();
    let run = runs.iter().max_by_key(|run| tokens(run)).ok_or("no run")?;
    let stream = run["stream"].as_str().ok_or("no stream")?;
    let Some(terminal) = Terminal::run(&site, &["replay", stream, "--step"])? else {
        return Ok(());
    };
    let shown = |lines: &[String]| -> Option<u64> {
        let line = lines.iter().find_map(|line| line.split_once("| tokens"))?;
        line.1.trim().replace(',', "").parse().ok()
    };
    assert_eq!(shown(&terminal.see("| tokens")?), Some(0));
    terminal.keys(&["g", "40", "Enter"])?;
    let middle = shown(&terminal.see(" 40/")?).ok_or("no tokens")?;
    terminal.keys(&["End"])?;
    let end = shown(&terminal.see("  end x1")?).ok_or("no tokens")?;
    assert!(0 < middle && middle < end, "{middle} {end}");
    assert_eq!(end, tokens(run));
    terminal.keys(&["q"])?;
    ended(&terminal)
}

/// Whoever writes is not kept out by somebody who looks, and comes back to where that one is.
#[test]
fn the_file_is_free_while_nothing_of_it_is_read() -> Outcome {
    let (site, log) = site()?;
    fill(&log, 3000)?;
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    terminal.see("0/2,999  @1  paused")?;
    log.value(MORE);
    terminal.keys(&["n"])?;
    terminal.see("1/2,999  @3 ")?;
    // One who holds it and serves nobody.
    log.value(MORE);
    let held = Log::open(&site.log, OpenOptions::default())?;
    terminal.keys(&["End"])?;
    terminal.see("1/2,999  @3  paused x1  held by another process")?;
    held.close_blocking()?;
    terminal.keys(&["End"])?;
    terminal.see("2,999/2,999  @5999  end x1")?;
    terminal.keys(&["q"])?;
    ended(&terminal)
}

/// What was read before it was erased is not shown after that.
#[test]
fn nothing_is_shown_from_memory_that_was_erased() -> Outcome {
    let (site, log) = site()?;
    let said = |n: u64| {
        let mut event = note("run-1", n);
        event["scope"] = json!("ann");
        event
    };
    append(&log, &[said(0), said(1), said(2), said(3)])?;
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    terminal.see("0/3  @1  paused")?;
    terminal.keys(&["n"])?;
    terminal.see("event number 1 of it")?;
    let certificate = site.path("certificate");
    let certificate = certificate.to_str().ok_or("no text")?;
    let erase = [
        "erase",
        "ann",
        "--basis",
        "on-request",
        "--yes",
        "--wait",
        "30",
    ];
    log.value([&erase[..], &["--output", certificate]].concat());
    // What is shown is drawn again, and what comes next was read ahead.
    terminal.keys(&["-"])?;
    terminal.see("1/3  @2  paused x0.5")?;
    terminal.see("\n(erased)")?;
    terminal.keys(&["n"])?;
    terminal.see("2/3  @3  paused")?;
    terminal.see("\n(erased)")?;
    terminal.keys(&["q"])?;
    ended(&terminal)
}

/// Whoever serves the log may go away, and another one come.
#[test]
fn a_player_finds_the_log_again() -> Outcome {
    let (site, log) = site()?;
    fill(&log, 300)?;
    let holder = site.holder()?;
    let Some(terminal) = Terminal::run(&site, &["replay", "run-1", "--step"])? else {
        return Ok(());
    };
    terminal.see("0/299  @1  paused")?;
    holder.kill()?;
    terminal.keys(&["n"])?;
    terminal.see("1/299  @3 ")?;
    let _holder = site.holder()?;
    terminal.keys(&["End"])?;
    terminal.see("299/299  @599  end")?;
    terminal.keys(&["q"])?;
    ended(&terminal)
}

#[test]
fn the_file_is_free_while_a_pipe_waits() -> Outcome {
    let (_site, log) = site()?;
    let at = |hour: u64| {
        let mut event = note("run-1", hour);
        event["occurred_at"] = json!(format!("2026-01-01T{hour:02}:00:00Z"));
        event
    };
    append(&log, &[at(0), at(1)])?;
    let mut played = log.command(["replay", "run-1", "--speed", "1"]).spawn()?;
    let mut lines = BufReader::new(played.stdout.take().ok_or("no stdout")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    assert!(first.contains("event number 0 of it"), "{first}");
    let outcome = log.ended(&MORE);
    assert!(played.try_wait()?.is_none(), "it waits for the next one");
    // Nobody reads it any more, and it ends.
    drop(lines);
    assert_eq!(played.wait()?.code(), Some(0));
    assert_eq!(outcome.0, 0, "{outcome:?}");
    Ok(())
}

#[test]
fn without_a_terminal_it_is_as_the_log_prints_it() -> Outcome {
    let (_site, log) = site()?;
    fill(&log, 5)?;
    let all = log.values(["log", "--stream", "run-1"]);
    assert_eq!(log.values(["replay", "run-1"]), all);
    let fast = ["replay", "run-1", "--speed", "1000000", "--revision", "3"];
    assert_eq!(log.values(fast), all[3..]);
    let (exit, lines, _) = log.shown(&["replay", "run-1"]);
    assert_eq!((exit, lines.lines().count()), (0, 5));
    let (exit, _, code) = log.ended(&["replay", "nobody"]);
    assert_eq!((exit, code.as_str()), (5, "run_not_found"));
    let (exit, _, code) = log.ended(&["replay", "run-1", "--speed", "0"]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
    Ok(())
}
