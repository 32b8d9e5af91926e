//! Tasks as scripts use them: `runstone task ...`.

use runstone_tests::command::{Runstone, binary, ended_in_one, recordings};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::process::Command;

struct Site {
    _folder: tempfile::TempDir,
    runstone: Runstone,
    log: std::path::PathBuf,
}

/// How a command ended: its exit code, its answer and the code of its error.
type Ended = (i32, Value, String);

impl Site {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log.redb");
        let runstone = Runstone::on(&log);
        runstone.value(["init"]);
        Ok(Self {
            _folder: folder,
            runstone,
            log,
        })
    }

    /// Runs `runstone task` with these words.
    fn task(&self, words: &[&str]) -> Ended {
        ended_in_one(&self.runstone.run([&["task"], words].concat()))
    }

    /// As people see it: exit code, stdout, stderr.
    fn shown(&self, words: &[&str]) -> (i32, String, String) {
        self.runstone.shown(&[&["task"], words].concat())
    }

    fn size(&self) -> Value {
        self.runstone.value(["stats"])["size"].clone()
    }
}

fn is(ended: &Ended, exit: i32, state: &str, code: &str) {
    let found = (ended.0, ended.1["state"].as_str(), ended.2.as_str());
    let state = Some(state).filter(|state| !state.is_empty());
    assert_eq!(found, (exit, state, code), "{ended:?}");
}

#[test]
fn a_task_goes_its_way() -> Outcome {
    let site = Site::new()?;
    let created = site.task(&[
        "create",
        "t-1",
        "--title",
        "Pay",
        "--type",
        "pay",
        "--agent",
        "bot",
        "--description",
        "all of it",
    ]);
    is(&created, 0, "todo", "");
    let expected = json!({"id": "t-1", "title": "Pay", "state": "todo", "type": "pay", "agent": "bot",
        "parent": null, "creator": null, "depth": 0, "attempt": 1, "fence": null, "holder": null,
        "lease_expires_at": null, "position": created.1["position"]});
    assert_eq!(created.1, expected);
    is(&site.task(&["create", "t-1"]), 3, "todo", "task_exists");

    let held = site.task(&["claim", "t-1", "--holder", "script-a"]);
    is(&held, 0, "in_progress", "");
    assert_eq!(held.1["holder"], "script-a");
    assert!(held.1["lease_expires_at"].is_string());
    let fence = held.1["fence"].to_string();
    is(&site.task(&["claim", "t-1"]), 3, "in_progress", "task_held");
    let until = held.1["lease_expires_at"].as_str().ok_or("a time")?;
    let (_, _, told) = site.shown(&["claim", "t-1"]);
    let said = format!("is held by script-a until {until}\n");
    assert!(told.contains(&said), "{told}");
    is(
        &site.task(&["complete", "t-1", "--fence", "1"]),
        3,
        "in_progress",
        "stale_claim",
    );
    is(
        &site.task(&["move", "t-1", "done"]),
        3,
        "in_progress",
        "task_held",
    );
    is(
        &site.task(&["renew", "t-1", "--fence", &fence, "--lease", "60"]),
        0,
        "in_progress",
        "",
    );
    is(
        &site.task(&["release", "t-1", "--fence", &fence]),
        0,
        "todo",
        "",
    );
    let held = site.task(&["claim", "t-1"]);
    assert_eq!(held.1["attempt"], 2);
    let fence = held.1["fence"].to_string();
    is(
        &site.task(&["release", "t-1", "--fence", &fence, "--failed", "no disk"]),
        0,
        "todo",
        "",
    );
    let fence = site.task(&["claim", "t-1"]).1["fence"].to_string();
    let done = ["complete", "t-1", "--fence", &fence, "--summary", "paid"];
    is(&site.task(&done), 0, "done", "");
    is(&site.task(&done), 0, "done", "");
    is(
        &site.task(&["move", "t-1", "todo"]),
        1,
        "done",
        "task_move_refused",
    );
    is(
        &site.task(&["claim", "t-1"]),
        1,
        "done",
        "task_not_claimable",
    );
    is(
        &site.task(&["create", "t-1"]),
        1,
        "done",
        "reprocess_detected",
    );

    let (exit, whole, _) = site.task(&["show", "t-1"]);
    assert_eq!((exit, &whole["description"]), (0, &json!("all of it")));
    let history = whole["history"].as_array().ok_or("no history")?;
    assert_eq!(history.len(), 9);
    let last = &history[8];
    assert_eq!(
        (
            &last["from"],
            &last["to"],
            &last["reason"],
            &last["comment"]
        ),
        (
            &json!("in_progress"),
            &json!("done"),
            &json!("Work completed"),
            &json!("paid")
        )
    );
    assert!(last["time"].is_string() && last["position"].is_u64());
    assert_eq!(history[5]["why"], "failed");
    assert_eq!(history[5]["actor"], "system");
    site.runstone.check();
    Ok(())
}

#[test]
fn a_lease_that_is_over_is_listed_and_taken_over() -> Outcome {
    let site = Site::new()?;
    site.task(&["create", "t"]);
    let held = site.task(&["claim", "t", "--lease", "1"]);
    let list = |status: &str| site.runstone.values(["task", "list", "--status", status]);
    // It passes by the clock, which is looked at and not waited for.
    while list("expired").is_empty() {}
    assert_eq!(list("in_progress")[0]["state"], "expired");
    let taken = site.task(&["claim", "t"]);
    is(&taken, 0, "in_progress", "");
    assert_eq!(taken.1["attempt"], 2);
    let old = held.1["fence"].to_string();
    is(
        &site.task(&["complete", "t", "--fence", &old]),
        3,
        "in_progress",
        "stale_claim",
    );
    Ok(())
}

#[test]
fn listings_say_which() -> Outcome {
    let site = Site::new()?;
    site.task(&["create", "a", "--agent", "one", "--type", "dev"]);
    site.task(&[
        "create", "b", "--agent", "two", "--parent", "a", "--state", "backlog",
    ]);
    site.task(&["create", "c", "--stream", "run-7"]);
    site.task(&["move", "a", "cancelled", "--comment", "no need"]);
    let ids = |words: &[&str]| -> Vec<String> {
        let lines = site.runstone.values([&["task", "list"], words].concat());
        lines
            .iter()
            .map(|line| line["id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(ids(&[]), ["a", "b", "c"]);
    assert_eq!(ids(&["--status", "open"]), ["b", "c"]);
    assert_eq!(ids(&["--state", "backlog"]), ["b"]);
    assert_eq!(ids(&["--agent", "one"]), ["a"]);
    assert_eq!(ids(&["--type", "dev"]), ["a"]);
    assert_eq!(ids(&["--parent", "a"]), ["b"]);
    assert!(ids(&["--parent", "nothing"]).is_empty());
    let (exit, shown, _) = site.shown(&["list"]);
    assert_eq!((exit, shown.lines().count()), (0, 4), "{shown}");
    let (_, shown, _) = site.shown(&["show", "a"]);
    assert!(
        shown.contains("Cancelled before start") && shown.contains("no need"),
        "{shown}"
    );
    let (exit, shown, told) = site.shown(&["list", "--status", "done"]);
    assert_eq!((exit, &*shown), (0, ""));
    assert!(told.contains("there is no such task"), "{told}");
    Ok(())
}

/// Every line and exit code is that of the command line before.
#[test]
fn validating_says_what_was_always_said() -> Outcome {
    let nowhere = |words: &[&str]| {
        Command::new(binary())
            .args(["--log", "/nowhere"])
            .args(words)
            .output()
    };
    if let Some(folder) = recordings("prior-art/exec-kernel") {
        for line in std::fs::read_to_string(folder.join("transitions.jsonl"))?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let output = nowhere(&["task", "validate", &word("from"), &word("to")])?;
            let told = String::from_utf8(output.stdout)?;
            assert_eq!(told, word("output") + "\n");
            assert_eq!(
                output.status.code().map(Value::from),
                Some(row["exit_code"].clone())
            );
            assert!(output.stderr.is_empty());
        }
    }
    let output = nowhere(&["task", "validate", "foo", "todo"])?;
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "INVALID: Unknown current state: foo\n"
    );
    assert_eq!(output.status.code(), Some(1));
    let site = Runstone::on("/nowhere");
    let told = ended_in_one(&site.run(["task", "validate", "todo", "in_progress"]));
    assert_eq!(
        told,
        (
            0,
            json!({"valid": true, "reason": "Work started"}),
            String::new()
        )
    );
    let told = ended_in_one(&site.run(["task", "validate", "todo", "done"]));
    let reason = "No valid transition from todo to done";
    assert_eq!(
        told,
        (1, json!({"valid": false, "reason": reason}), String::new())
    );
    Ok(())
}

#[test]
fn a_check_tells_the_depth_or_the_loop() -> Outcome {
    let site = Site::new()?;
    site.task(&["create", "a", "--agent", "one", "--type", "dev"]);
    site.task(&[
        "create", "b", "--agent", "two", "--type", "dev", "--parent", "a",
    ]);
    let size = site.size();
    let check = |words: &[&str]| site.shown(&[&["check"], words].concat());
    assert_eq!(
        check(&["c"]),
        (0, "ALLOWED: depth=0\n".to_owned(), String::new())
    );
    let child = check(&["c", "--agent", "one", "--type", "dev", "--parent", "b"]);
    assert_eq!(child, (0, "ALLOWED: depth=2\n".to_owned(), String::new()));
    let denied = |words: &[&str], loop_type: &str| -> Outcome {
        let (exit, told, _) = check(words);
        assert_eq!(exit, 1);
        assert!(
            told.starts_with(&format!("DENIED: [{loop_type}] ")),
            "{told}"
        );
        Ok(())
    };
    denied(
        &["c", "--parent", "b", "--max-depth", "1"],
        "depth_exceeded",
    )?;
    denied(
        &["a", "--agent", "one", "--type", "x", "--parent", "b"],
        "cycle_detected",
    )?;
    denied(
        &["c", "--agent", "two", "--type", "dev", "--parent", "b"],
        "identity_loop",
    )?;
    let (exit, answer, _) = site.task(&["check", "c", "--creator", "c"]);
    assert_eq!(
        (exit, &answer["allowed"], &answer["loop_type"]),
        (1, &json!(false), &json!("cycle_detected"))
    );
    let (exit, answer, _) = site.task(&["check", "c", "--parent", "b"]);
    assert_eq!(exit, 0);
    assert_eq!(
        answer,
        json!({"allowed": true, "depth": 2, "loop_type": null, "reason": null})
    );
    is(
        &site.task(&["check", "c", "--parent", "z"]),
        5,
        "",
        "task_parent_not_found",
    );
    is(&site.task(&["check", "a"]), 3, "", "task_exists");
    assert_eq!(site.size(), size, "a check records nothing");
    Ok(())
}

#[test]
fn what_a_task_must_say_is_asked_for() -> Outcome {
    let site = Site::new()?;
    let config = site.log.with_extension("toml");
    std::fs::write(&config, "[admission]\nenabled = true\n")?;
    let config = config.to_str().ok_or("no path")?;
    site.runstone.value(["config", "set", config]);
    let (exit, _, told) = site.shown(&[
        "create",
        "t",
        "--admission",
        "consumer=ops",
        "--admission",
        "pain_point= ",
    ]);
    assert_eq!(exit, 1);
    let text = "Cannot create task 't': admission schema incomplete (missing: pain_point, expected_value, validation_path)";
    assert!(told.contains(text), "{told}");
    let mut words = vec!["create", "t"];
    for field in [
        "consumer=ops",
        "pain_point=x",
        "expected_value=y",
        "validation_path=a=b",
    ] {
        words.extend(["--admission", field]);
    }
    is(&site.task(&words), 0, "todo", "");
    assert_eq!(
        site.task(&["show", "t"]).1["admission"]["validation_path"],
        "a=b"
    );
    Ok(())
}

#[test]
fn wrong_words_are_usage_and_record_nothing() -> Outcome {
    let site = Site::new()?;
    site.task(&["create", "t"]);
    let size = site.size();
    for words in [
        &["create"][..],
        &["create", ""],
        &["create", "x", "--state", "done"],
        &["create", "x", "--state", "Todo"],
        &["create", "x", "--parent", ""],
        &["create", "x", "--admission", "consumer"],
        &["move", "t"],
        &["move", "t", "finished"],
        &["claim"],
        &["claim", "t", "--lease", "0"],
        &["complete", "t"],
        &["complete", "t", "--fence", "x"],
        &["release", "t"],
        &["list", "--status", "closed"],
        &["validate", "todo"],
        &["check"],
        &[],
    ] {
        let (exit, line, code) = site.task(words);
        assert_eq!((exit, line), (2, Value::Null), "{words:?} {code}");
    }
    let long = "k".repeat(1025);
    assert_eq!(site.task(&["create", &long]).2, "bad_task_id");
    for words in [
        &["show", "nothing"][..],
        &["move", "nothing", "todo"],
        &["claim", "nothing"],
        &["complete", "nothing", "--fence", "1"],
        &["create", "x", "--parent", "nothing"],
    ] {
        let (exit, line, code) = site.task(words);
        assert_eq!((exit, line), (5, Value::Null), "{words:?} {code}");
    }
    assert_eq!(site.size(), size);
    Ok(())
}

/// However many claim it at once, one holds it.
#[test]
fn of_many_scripts_one_holds_the_task() -> Outcome {
    let site = Site::new()?;
    site.task(&["create", "t"]);
    let mut started = Vec::new();
    for _ in 0..16 {
        started.push(
            site.runstone
                .command(["task", "claim", "t", "--wait", "120"])
                .spawn()?,
        );
    }
    let mut codes = Vec::new();
    for child in started {
        codes.push(ended_in_one(&child.wait_with_output()?).2);
    }
    codes.sort();
    assert_eq!(codes[0], "");
    assert!(
        codes[1..].iter().all(|code| code == "task_held"),
        "{codes:?}"
    );
    site.runstone.check();
    Ok(())
}
