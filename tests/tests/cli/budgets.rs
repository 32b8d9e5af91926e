//! Budgets as scripts use them: what does not fit ends with 1, whatever was recorded.

use runstone_tests::command::{Runstone, binary, ended_in_one};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

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

    fn budget(&self, words: &[&str]) -> Ended {
        ended_in_one(&self.runstone.run([&["budget"], words].concat()))
    }

    fn person(&self, words: &[&str]) -> Ended {
        let credential = self.folder.path().join("ada.cred");
        let credential = credential.to_str().unwrap();
        self.budget(&[words, &["--cred", credential]].concat())
    }
}

fn is(ended: &Ended, exit: i32, code: &str) {
    assert_eq!((ended.0, ended.2.as_str()), (exit, code), "{ended:?}");
}

#[test]
fn something_is_reserved_settled_and_checked() -> Outcome {
    let site = Site::new()?;
    let limits = [
        "--limit",
        "steps=10",
        "--limit",
        "usd=1",
        "--limit",
        "day.tokens=500",
    ];
    let opened = site.budget(&[&["open", "run-7"][..], &limits].concat());
    is(&opened, 0, "");
    assert_eq!(
        opened.1["limits"],
        json!({"all.steps": 10, "all.usd_micros": 1_000_000, "day.tokens": 500})
    );
    is(
        &site.budget(&[&["open", "run-7"][..], &limits].concat()),
        0,
        "",
    );
    let reserved = site.budget(&[
        "reserve",
        "run-7",
        "--amount",
        "usd=0.60",
        "--amount",
        "tokens=100",
    ]);
    is(&reserved, 0, "");
    assert_eq!(
        reserved.1["amounts"],
        json!({"tokens": 100, "usd_micros": 600_000})
    );
    assert!(reserved.1["lease_expires_at"].is_string());
    let fence = reserved.1["fence"].to_string();
    is(
        &site.budget(&["reserve", "run-7", "--amount", "usd=0.41"]),
        1,
        "budget_exceeded",
    );
    is(
        &site.budget(&[
            "settle",
            &fence,
            "--amount",
            "usd=0.25",
            "--amount",
            "tokens=90",
        ]),
        0,
        "",
    );
    is(
        &site.budget(&[
            "settle",
            &fence,
            "--amount",
            "usd=0.25",
            "--amount",
            "tokens=90",
        ]),
        0,
        "",
    );
    is(
        &site.budget(&["settle", &fence, "--amount", "usd=0.26"]),
        3,
        "reservation_ended",
    );
    is(&site.budget(&["release", &fence]), 3, "reservation_ended");
    is(
        &site.budget(&["release", "9999"]),
        5,
        "reservation_not_found",
    );
    let charged = site.budget(&["charge", "run-7", "--amount", "steps=5"]);
    is(&charged, 0, "");
    let checked = site.budget(&["check", "run-7"]);
    is(&checked, 0, "");
    assert_eq!(
        checked.1["spent"],
        json!({"steps": 5, "tokens": 90, "usd_micros": 250_000})
    );
    assert_eq!(checked.1["exceeded"], Value::Null);
    let over = site.budget(&["charge", "run-7", "--amount", "steps=6"]);
    is(&over, 1, "budget_exceeded");
    assert_eq!(over.1["exceeded"]["dimension"], "steps");
    is(&site.budget(&["check", "run-7"]), 1, "");
    is(&site.budget(&["check", "nobody"]), 5, "budget_not_found");
    is(
        &site.budget(&["charge", "nobody", "--amount", "steps=1"]),
        5,
        "budget_not_found",
    );
    let released = site.budget(&["open", "other"]);
    assert_eq!(released.1["limits"]["all.steps"], 50);
    let reserved = site.budget(&["reserve", "other", "--amount", "steps=1"]);
    is(
        &site.budget(&[
            "release",
            &reserved.1["fence"].to_string(),
            "--reason",
            "not needed",
        ]),
        0,
        "",
    );
    // Who is over a limit is named in a list as it is alone.
    is(
        &site.budget(&["charge", "other", "--amount", "steps=60"]),
        1,
        "budget_exceeded",
    );
    let alone = site.budget(&["check", "other"]).1;
    assert_eq!(alone["exceeded"]["owner"], "other");
    let listed = site.runstone.run(["budget", "list"]);
    let listed = String::from_utf8(listed.stdout)?;
    assert_eq!(listed.lines().count(), 2);
    let last: Value = serde_json::from_str(listed.lines().last().ok_or("a line")?)?;
    assert_eq!(last["exceeded"], alone["exceeded"]);
    is(&site.budget(&["sweep"]), 0, "");
    Ok(())
}

#[test]
fn a_person_raises_a_limit() -> Outcome {
    let site = Site::new()?;
    is(&site.budget(&["open", "bot", "--limit", "steps=1"]), 0, "");
    is(
        &site.budget(&["open", "bot", "--limit", "steps=2"]),
        8,
        "not_allowed",
    );
    is(
        &site.person(&["open", "bot", "--limit", "steps=2", "--reason", "more"]),
        0,
        "",
    );
    is(&site.budget(&["open", "child", "--parent", "bot"]), 0, "");
    is(
        &site.budget(&["open", "orphan", "--parent", "nobody"]),
        5,
        "budget_not_found",
    );
    is(
        &site.budget(&["open", "child", "--preset", "none"]),
        5,
        "preset_not_found",
    );
    is(
        &site.budget(&["charge", "child", "--amount", "steps=3"]),
        1,
        "budget_exceeded",
    );
    is(&site.budget(&["check", "child"]), 1, "");
    Ok(())
}

/// For people: the lines that users of exec-kernel know.
#[test]
fn people_read_one_line() -> Outcome {
    let site = Site::new()?;
    let plain = |words: &[&str]| -> (i32, String) {
        let mut command = Command::new(binary());
        command
            .arg("--log")
            .arg(site.folder.path().join("log.redb"));
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code().unwrap_or(-1),
            text.trim_end().to_owned(),
        )
    };
    let steps = ["--limit", "steps=10", "--limit", "duration_s=1800"];
    plain(&[&["budget", "open", "task-1"][..], &steps].concat());
    plain(&["budget", "charge", "task-1", "--amount", "steps=5"]);
    let (exit, line) = plain(&["budget", "check", "task-1"]);
    assert_eq!(exit, 0);
    assert!(line.starts_with("OK: 5 steps, "), "{line}");
    assert!(line.ends_with("s elapsed (max 10 steps, 1800s)"), "{line}");
    plain(&["budget", "charge", "task-1", "--amount", "steps=10"]);
    let exceeded = "EXCEEDED: [steps] Task task-1 exceeded step budget: 15 steps taken, max 10";
    assert_eq!(
        plain(&["budget", "check", "task-1"]),
        (1, exceeded.to_owned())
    );
    Ok(())
}

#[test]
fn a_claim_spends_from_a_budget() -> Outcome {
    let site = Site::new()?;
    is(
        &site.budget(&["open", "bot", "--limit", "usd=1", "--limit", "tool_calls=2"]),
        0,
        "",
    );
    let claim = |key: &str, usd: &str| {
        let words = [
            "effect", "claim", "--name", "pay", "--key", key, "--budget", "bot",
        ];
        ended_in_one(
            &site
                .runstone
                .run([&words[..], &["--reserve", usd]].concat()),
        )
    };
    let first = claim("a", "usd=0.7");
    is(&first, 0, "");
    let refused = claim("b", "usd=0.7");
    is(&refused, 1, "budget_exceeded");
    let expected = json!({"state": "exceeded", "kind": "tool", "name": "pay", "key": "b",
        "attempt": 0, "fence": null, "holder": null, "lease_expires_at": null, "result": null,
        "error": null, "position": null});
    assert_eq!(refused.1, expected);
    let members = |line: &Value| {
        line.as_object()
            .map(|line| line.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(members(&refused.1), members(&first.1));
    let fence = first.1["fence"].to_string();
    let words = [
        "effect", "complete", "a", "--fence", &fence, "--cost", "usd=0.2",
    ];
    is(&ended_in_one(&site.runstone.run(words)), 0, "");
    let spent = site.budget(&["check", "bot"]).1["spent"].clone();
    assert_eq!(spent, json!({"tool_calls": 1, "usd_micros": 200_000}));
    is(&claim("b", "usd=0.7"), 0, "");
    is(&claim("c", "usd=0.01"), 1, "budget_exceeded");
    // One that failed and would be made again tells of its attempt, too.
    let again = site.runstone.value(["effect", "show", "b"])["fence"].to_string();
    let fail = ["effect", "fail", "b", "--fence", &again, "--executed", "no"];
    let why = ["--error", "Refused", "--message", "no card"];
    is(
        &ended_in_one(&site.runstone.run([&fail[..], &why].concat())),
        0,
        "",
    );
    let refused = claim("b", "usd=0.9");
    is(&refused, 1, "budget_exceeded");
    let told = (
        &refused.1["state"],
        &refused.1["attempt"],
        refused.1["fence"].to_string(),
    );
    assert_eq!(told, (&json!("exceeded"), &json!(1), again));
    // What nobody could say came of is priced by whoever finds out.
    let fence = claim("b", "usd=0.1").1["fence"].to_string();
    let fail = ["effect", "fail", "b", "--fence", &fence];
    is(
        &ended_in_one(&site.runstone.run([&fail[..], &why].concat())),
        0,
        "",
    );
    let credential = site.folder.path().join("ada.cred");
    let settle = [
        "effect",
        "reconcile",
        "b",
        "--completed",
        "1",
        "--cost",
        "usd=0.05",
        "--cred",
        credential.to_str().ok_or("no text")?,
    ];
    is(&ended_in_one(&site.runstone.run(settle)), 0, "");
    let spent = site.budget(&["check", "bot"]).1["spent"].clone();
    assert_eq!(spent, json!({"tool_calls": 2, "usd_micros": 250_000}));
    let state = site.runstone.run(["state", "scripts"]);
    let state: Value = serde_json::from_slice(&state.stdout)?;
    assert_eq!(state["budgets"][0]["reserved"], json!({}));
    Ok(())
}

#[test]
fn what_is_written_wrong_is_wrong_usage() -> Outcome {
    let site = Site::new()?;
    for words in [
        &["open"][..],
        &["open", "x", "--limit", "steps=-1"],
        &["open", "x", "--limit", "year.steps=1"],
        &["open", "x", "--limit", "steps=many"],
        &["open", "x", "--limit", "steps=1", "--preset", "zu"],
        &["reserve", "x"],
        &["reserve", "x", "--amount", "usd=0.0000001"],
        &["charge", "x", "--amount", "Steps=1"],
        &["settle", "x"],
    ] {
        assert_eq!(site.budget(words).0, 2, "{words:?}");
    }
    is(&site.budget(&["open", "x"]), 0, "");
    is(
        &site.budget(&["charge", "x", "--amount", "duration_s=1"]),
        2,
        "budget_dimension",
    );
    is(
        &site.budget(&["charge", "x", "--amount", "tokens=9007199254740992"]),
        2,
        "amount_too_large",
    );
    Ok(())
}
