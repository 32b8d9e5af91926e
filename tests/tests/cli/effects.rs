//! The ledger as scripts use it: `runstone effect claim ... && pay` pays once.

use runstone_tests::command::{Runstone, ended_in_one};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::process::{Child, Stdio};

struct Site {
    folder: tempfile::TempDir,
    runstone: Runstone,
}

/// How a command ended: its exit code, its answer and the code of its error.
type Ended = (i32, Value, String);

impl Site {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let runstone = Runstone::on(folder.path().join("log.redb"));
        runstone.value(["init", "--human", "ada"]);
        Ok(Self { folder, runstone })
    }

    /// Runs `runstone effect` with these words.
    fn effect(&self, words: &[&str]) -> Ended {
        ended_in_one(&self.runstone.run([&["effect"], words].concat()))
    }

    /// As a person.
    fn person(&self, words: &[&str]) -> Ended {
        let credential = self.folder.path().join("ada.cred");
        let credential = credential.to_str().unwrap();
        self.effect(&[words, &["--cred", credential]].concat())
    }

    fn claim(&self, key: &str, more: &[&str]) -> Ended {
        self.effect(&[&["claim", "--name", "pay", "--key", key], more].concat())
    }

    /// Claims it, and answers its fence.
    fn hold(&self, key: &str, more: &[&str]) -> String {
        let (exit, line, _) = self.claim(key, more);
        assert_eq!((exit, &line["state"]), (0, &json!("in-flight")), "{line}");
        line["fence"].to_string()
    }

    fn spawn(&self, words: &[&str]) -> Outcome<Child> {
        let mut command = self.runstone.command([&["effect"], words].concat());
        Ok(command.stdin(Stdio::null()).spawn()?)
    }
}

fn is(ended: &Ended, exit: i32, state: &str, code: &str) {
    let found = (ended.0, ended.1["state"].as_str(), ended.2.as_str());
    assert_eq!(found, (exit, Some(state), code), "{ended:?}");
}

#[test]
fn a_call_is_claimed_once_and_its_result_is_given_for_ever() -> Outcome {
    let site = Site::new()?;
    let args = ["--args", r#"{"usd": 12}"#];
    let (exit, line, _) = site.claim("inv-42", &args);
    let fence = line["fence"].to_string();
    assert_eq!(exit, 0);
    let expected = json!({"state": "in-flight", "kind": "tool", "name": "pay", "key": "inv-42",
        "attempt": 1, "fence": line["fence"], "holder": line["holder"],
        "lease_expires_at": line["lease_expires_at"], "result": null, "error": null,
        "position": line["fence"]});
    assert_eq!(line, expected);
    assert!(line["lease_expires_at"].is_string());
    is(&site.claim("inv-42", &args), 1, "in-flight", "in_flight");
    is(
        &site.claim("inv-42", &["--args", "{ \"usd\":12}"]),
        1,
        "in-flight",
        "in_flight",
    );
    is(
        &site.claim("inv-42", &["--args", "{\"usd\":13}"]),
        3,
        "in-flight",
        "key_conflict",
    );
    let run = site
        .runstone
        .run(["effect", "claim", "--name", "refund", "--key", "inv-42"]);
    let told = String::from_utf8(run.stderr.clone())?;
    assert_eq!(ended_in_one(&run).0, 3);
    for part in ["`pay` {\\\"usd\\\": 12}", "`refund` without arguments"] {
        assert!(told.contains(part), "{told}");
    }

    let wrong = site.effect(&["complete", "inv-42", "--fence", "1", "--result", "1"]);
    is(&wrong, 3, "in-flight", "stale_claim");
    let held: Vec<&str> = vec!["inv-42", "--fence", &fence];
    let with = |command: &'static str, more: &[&'static str]| {
        site.effect(&[&[command], &held[..], more].concat())
    };
    is(&with("renew", &["--lease", "900"]), 0, "in-flight", "");
    is(
        &with("complete", &["--result", r#"{"paid": true}"#]),
        0,
        "completed",
        "",
    );
    is(
        &with("complete", &["--result", r#"{"paid": true}"#]),
        0,
        "completed",
        "",
    );
    is(
        &with("complete", &["--result", "false"]),
        3,
        "completed",
        "stale_claim",
    );
    is(
        &with("fail", &["--error", "E", "--message", "m"]),
        3,
        "completed",
        "stale_claim",
    );
    let again = site.claim("inv-42", &args);
    is(&again, 1, "completed", "");
    assert_eq!(again.1["result"], json!({"paid": true}));
    assert_eq!(again.1["lease_expires_at"], Value::Null);
    is(&site.effect(&["show", "--id", &fence]), 0, "completed", "");

    // A task of that key is another call.
    let task = site.claim("inv-42", &["--kind", "task"]);
    is(&task, 0, "in-flight", "");
    assert_eq!(site.effect(&["show", "inv-42"]).2, "usage");
    is(
        &site.effect(&["show", "inv-42", "--kind", "task"]),
        0,
        "in-flight",
        "",
    );
    is(
        &with("complete", &["--result", r#"{"paid": true}"#]),
        0,
        "completed",
        "",
    );
    let listed = site
        .runstone
        .values(["effect", "list", "--state", "completed"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(site.runstone.values(["effect", "list"]).len(), 2);
    assert!(
        site.runstone
            .values(["effect", "list", "--stream", "no"])
            .is_empty()
    );
    site.runstone.check();
    Ok(())
}

#[test]
fn every_end_of_a_call_says_whether_it_can_be_claimed_again() -> Outcome {
    let site = Site::new()?;
    let fail = |key: &str, fence: &str, more: &[&str]| {
        let words = [
            "fail",
            key,
            "--fence",
            fence,
            "--error",
            "E",
            "--message",
            "m",
        ];
        site.effect(&[&words, more].concat())
    };
    // Not executed: three attempts.
    for attempt in 1..=3 {
        let fence = site.hold("no", &[]);
        let failed = fail("no", &fence, &["--executed", "no"]);
        is(&failed, 0, "failed", "");
        assert_eq!(failed.1["error"], json!({"type": "E", "message": "m"}));
        assert_eq!(failed.1["attempt"], attempt);
    }
    is(&site.claim("no", &[]), 1, "failed", "attempts_exhausted");
    // Executed.
    let fence = site.hold("yes", &[]);
    is(
        &fail("yes", &fence, &["--executed", "yes"]),
        0,
        "failed",
        "",
    );
    is(&site.claim("yes", &[]), 1, "failed", "failed_for_good");
    // Nobody knows, which is what is taken of a write; a read did nothing.
    let fence = site.hold("doubt", &[]);
    is(&fail("doubt", &fence, &[]), 0, "unknown", "");
    is(&site.claim("doubt", &[]), 1, "unknown", "effect_unknown");
    let fence = site.hold("read", &["--class", "read"]);
    is(&fail("read", &fence, &[]), 0, "failed", "");
    site.hold("read", &["--class", "read"]);
    // Given up.
    let fence = site.hold("stop", &[]);
    let not_begun = ["cancel", "stop", "--fence", &fence, "--not-begun"];
    is(&site.effect(&not_begun), 0, "cancelled", "");
    let fence = site.hold("stop", &[]);
    let begun = ["cancel", "stop", "--fence", &fence, "--reason", "time-out"];
    is(&site.effect(&begun), 0, "unknown", "");

    // People settle what is unknown.
    let made = [
        "reconcile",
        "doubt",
        "--completed",
        "7",
        "--evidence",
        "statement",
    ];
    is(&site.effect(&made), 8, "unknown", "not_allowed");
    is(&site.person(&made), 0, "completed", "");
    is(&site.person(&made), 3, "completed", "nothing_to_settle");
    assert_eq!(site.claim("doubt", &[]).1["result"], 7);
    is(
        &site.person(&["reconcile", "stop", "--not-executed"]),
        0,
        "failed",
        "",
    );
    site.hold("stop", &[]);
    let release = ["release", "stop", "--reason", "host lost"];
    is(&site.effect(&release), 8, "in-flight", "not_allowed");
    is(&site.person(&release), 0, "failed", "");
    let (exit, _, told) = site.runstone.shown(&["effect", "show", "nobody"]);
    assert_eq!((exit, told.contains("`nobody`")), (5, true), "{told}");
    site.runstone.check();
    Ok(())
}

#[test]
fn wrong_words_are_usage_and_record_nothing() -> Outcome {
    let site = Site::new()?;
    let size = site.runstone.value(["stats"])["size"].clone();
    for words in [
        &["claim", "--name", "pay"][..],
        &["claim", "--key", "a"],
        &["claim", "--name", "pay", "--key", ""],
        &["claim", "--name", "pay", "--key", "a", "--args", "{"],
        &["claim", "--name", "pay", "--key", "a", "--class", "writes"],
        &["claim", "--name", "pay", "--key", "a", "--kind", "job"],
        &["claim", "--name", "pay", "--key", "a", "--lease", "0"],
        &["claim", "--name", "pay", "--key", "a", "--lease", "1e3"],
        &["claim", "--name", "pay", "--key", "a", "--stream", ""],
        &["claim", "--name", "", "--key", "a"],
        &["complete", "a"],
        &["complete", "a", "--id", "1", "--fence", "1"],
        &["complete", "--fence", "1"],
        &["complete", "a", "--fence", "1", "--result", "{}x"],
        &["complete", "a", "--fence", "1", "--result", "-"],
        &["fail", "a", "--fence", "1"],
        &["reconcile", "a"],
        &["reconcile", "a", "--completed", "1", "--not-executed"],
        &["release", "a"],
        &["list", "--state", "open"],
        &["show"],
        &[],
    ] {
        let (exit, line, code) = site.effect(words);
        assert_eq!((exit, line), (2, Value::Null), "{words:?} {code}");
    }
    let long = "k".repeat(1025);
    assert_eq!(site.claim(&long, &[]).2, "bad_key");
    for words in [
        &["show", "nothing"][..],
        &["show", "--id", "0"],
        &["show", "--id", "4711"],
        &["complete", "nothing", "--fence", "1"],
        &["release", "nothing", "--reason", "r"],
    ] {
        let (exit, line, code) = site.effect(words);
        assert_eq!((exit, line), (5, Value::Null), "{words:?} {code}");
    }
    assert_eq!(site.runstone.value(["stats"])["size"], size);
    Ok(())
}

/// However many claim it at once, one holds it.
#[test]
fn of_many_scripts_one_holds_the_claim() -> Outcome {
    let site = Site::new()?;
    let claim = |wait| -> Outcome<Vec<Ended>> {
        let words = ["claim", "--name", "pay", "--key", wait, "--wait", wait];
        let started = (0..64)
            .map(|_| site.spawn(&words))
            .collect::<Outcome<Vec<_>>>()?;
        let ended = started
            .into_iter()
            .map(|child| Ok(ended_in_one(&child.wait_with_output()?)));
        ended.collect()
    };
    for (wait, is_patient) in [("120", true), ("0.05", false)] {
        let ended = claim(wait)?;
        let count = |exit: i32, code: &str| {
            let is_it = |ended: &&Ended| ended.0 == exit && ended.2 == code;
            ended.iter().filter(is_it).count()
        };
        let busy = count(6, "busy");
        assert_eq!(
            (count(0, ""), count(1, "in_flight") + busy),
            (1, 63),
            "{ended:?}"
        );
        assert!(!is_patient || busy == 0, "{busy}");
    }
    assert_eq!(site.runstone.values(["effect", "list"]).len(), 2);
    site.runstone.check();
    Ok(())
}

/// A claimer that is killed holds the call until its lease ends, or never claimed it.
#[test]
fn a_killed_claimer_leaves_no_call_to_be_made_twice() -> Outcome {
    let site = Site::new()?;
    let head = site.folder.path().join("log.redb.head");
    let keys: Vec<_> = (0..24).map(|n| format!("inv-{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        let words = [
            "claim", "--name", "pay", "--key", key, "--lease", "1", "--wait", "60",
        ];
        let mut child = site.spawn(&words)?;
        // As soon as it is recorded, or later and later before and after that.
        let before = std::fs::read(&head)?;
        if n % 3 == 0 {
            while std::fs::read(&head)? == before && child.try_wait()?.is_none() {}
        }
        for _ in 0..n * 200 {
            std::fs::read(&head)?;
        }
        if n + 1 == keys.len() {
            // One at least is answered before it is killed.
            child.wait()?;
        }
        child.kill()?;
        child.wait()?;
    }
    let recorded = site.runstone.values(["effect", "list"]);
    assert!(!recorded.is_empty());
    for key in &keys {
        let is_recorded = recorded.iter().any(|line| line["key"] == **key);
        let after = site.claim(key, &["--await", "--wait", "60"]);
        if is_recorded {
            is(&after, 1, "unknown", "effect_unknown");
        } else {
            is(&after, 0, "in-flight", "");
        }
    }
    // One that was answered is killed too, by its lease: a read is claimed again, a write is settled.
    site.hold("read", &["--class", "read", "--lease", "1"]);
    let again = site.claim("read", &["--class", "read", "--await"]);
    is(&again, 0, "in-flight", "");
    assert_eq!(again.1["attempt"], 2);
    site.runstone.check();
    Ok(())
}

/// Who waits does not keep the log from whoever ends the call.
#[test]
fn an_outcome_is_awaited_without_holding_the_log() -> Outcome {
    let site = Site::new()?;
    let fence = site.hold("inv", &[]);
    let words = ["claim", "--name", "pay", "--key", "inv", "--await"];
    let waiting = [site.spawn(&words)?, site.spawn(&words)?];
    for _ in 0..5 {
        is(
            &site.effect(&["renew", "inv", "--fence", &fence, "--wait", "60"]),
            0,
            "in-flight",
            "",
        );
    }
    let done = [
        "complete", "inv", "--fence", &fence, "--result", "[1,\n2]", "--wait", "60",
    ];
    is(&site.effect(&done), 0, "completed", "");
    for child in waiting {
        let after = ended_in_one(&child.wait_with_output()?);
        is(&after, 1, "completed", "");
        assert_eq!(after.1["result"], json!([1, 2]));
    }
    Ok(())
}

/// That nobody reads the answer does not make it a yes.
#[test]
fn a_refusal_that_nobody_reads_is_a_refusal() -> Outcome {
    let site = Site::new()?;
    let fence = site.hold("inv", &[]);
    let mut ended = Vec::new();
    for _ in 0..2 {
        let mut child = site.spawn(&["claim", "--name", "pay", "--key", "inv"])?;
        drop((child.stdout.take(), child.stderr.take()));
        ended.push(child.wait()?.code());
        site.effect(&["complete", "inv", "--fence", &fence]);
    }
    assert_eq!(ended, [Some(1), Some(1)]);
    Ok(())
}
