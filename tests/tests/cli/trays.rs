//! Trays as scripts use them: `runstone tray ...`.

use runstone::Hold;
use runstone::tasks::NewTask;
use runstone::trays::{Claim, Trays};
use runstone_store::Sealing;
use runstone_tests::clocked::Clocked;
use runstone_tests::command::{Ended, Runstone};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::time::Duration;

struct Site {
    _folder: tempfile::TempDir,
    runstone: Runstone,
    log: std::path::PathBuf,
}

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

    /// Runs `runstone tray` with these words.
    fn tray(&self, words: &[&str]) -> Ended {
        self.runstone.ended(&[&["tray"], words].concat())
    }

    /// The one line that it answers; it must end so.
    fn line(&self, words: &[&str], exit: i32) -> Value {
        let mut ended = self.tray(words);
        assert_eq!((ended.0, ended.1.len()), (exit, 1), "{words:?} {ended:?}");
        ended.1.remove(0)
    }

    fn refused(&self, words: &[&str]) -> (i32, String) {
        let ended = self.tray(words);
        (ended.0, ended.2)
    }

    /// As people see it: exit code, stdout, stderr.
    fn shown(&self, words: &[&str]) -> (i32, String, String) {
        self.runstone.shown(&[&["tray"], words].concat())
    }
}

#[test]
fn a_script_drains_a_tray() -> Outcome {
    let site = Site::new()?;
    let opened = site.line(&["open", "in"], 0);
    assert_eq!(
        (&opened["tray"], &opened["closed"]),
        (&json!("in"), &json!(false))
    );
    site.line(&["add", "in", "a", "--title", "Read it"], 0);
    let added = site.line(
        &[
            "add",
            "in",
            "b",
            "--priority",
            "9",
            "--depends-on",
            "a",
            "--type",
            "pay",
        ],
        0,
    );
    assert_eq!(added["depends_on"], json!(["a"]));
    assert_eq!(
        (&added["ready"], &added["stuck"]),
        (&json!(false), &json!(false))
    );

    let held = site.line(&["claim", "in", "--holder", "bot"], 0);
    assert_eq!(
        (&held["id"], &held["title"]),
        (&json!("a"), &json!("Read it"))
    );
    assert_eq!(
        (&held["state"], &held["holder"]),
        (&json!("in_progress"), &json!("bot"))
    );
    let fence = held["fence"].to_string();
    // Held by another one, and nothing else is ready: the answer is no, and it is not drained.
    let nothing = site.line(&["claim", "in"], 1);
    let expected =
        json!({"claimed": false, "drained": false, "closed": false, "open": 2, "in_progress": 1});
    assert_eq!(nothing, expected);

    let renewed = site.line(
        &["renew", "in", "a", "--fence", &fence, "--lease", "3600"],
        0,
    );
    assert!(renewed["lease_expires_at"].as_str() > held["lease_expires_at"].as_str());
    assert_eq!(
        site.refused(&["complete", "in", "a", "--fence", "3"]).1,
        "stale_claim"
    );
    let done = site.line(
        &["complete", "in", "a", "--fence", &fence, "--summary", "x"],
        0,
    );
    assert_eq!(done["state"], "done");
    site.line(&["complete", "in", "a", "--fence", &fence], 0);

    let held = site.line(&["claim", "in"], 0);
    assert!(
        held["holder"]
            .as_str()
            .unwrap_or_default()
            .starts_with("system:keyring#")
    );
    let fence = held["fence"].to_string();
    let back = site.line(
        &[
            "release", "in", "b", "--fence", &fence, "--failed", "no paper",
        ],
        0,
    );
    assert_eq!(
        (&back["state"], &back["attempt"]),
        (&json!("todo"), &json!(2))
    );
    let closed = site.line(&["close", "in"], 0);
    assert_eq!(
        (&closed["closed"], &closed["open"], &closed["done"]),
        (&json!(true), &json!(1), &json!(1))
    );
    let held = site.line(&["claim", "in"], 0);
    let fence = held["fence"].to_string();
    site.line(&["complete", "in", "b", "--fence", &fence], 0);
    let nothing = site.line(&["claim", "in"], 1);
    assert_eq!(
        (&nothing["drained"], &nothing["closed"]),
        (&json!(true), &json!(true))
    );
    site.runstone.check();
    Ok(())
}

#[test]
fn refusals_have_codes_and_say_what_to_do() -> Outcome {
    let site = Site::new()?;
    let is = |words: &[&str], exit: i32, code: &str| {
        assert_eq!(site.refused(words), (exit, code.to_owned()), "{words:?}");
    };
    is(&["open", "no name"], 2, "bad_tray_name");
    is(&["claim", "none"], 5, "tray_not_found");
    is(&["list", "none"], 5, "tray_not_found");
    is(&["show", "none"], 5, "tray_not_found");
    is(&["close", "none"], 5, "tray_not_found");
    is(&["add", "none", "a"], 5, "tray_not_found");
    site.line(&["open", "in"], 0);
    is(
        &["add", "in", "a", "--depends-on", "b"],
        5,
        "dependency_not_found",
    );
    is(
        &["add", "in", "a", "--depends-on", "a"],
        1,
        "dependency_cycle",
    );
    is(&["add", "in", ""], 2, "usage");
    is(&["show", "in", "a"], 5, "task_not_in_tray");
    is(
        &["complete", "in", "a", "--fence", "1"],
        5,
        "task_not_in_tray",
    );
    is(&["complete", "in", "a"], 2, "usage");
    is(&["list", "--dead-letters"], 2, "usage");
    let many: Vec<String> = (0..25).map(|n| format!("--depends-on=x{n}")).collect();
    let mut words = vec!["add", "in", "a"];
    words.extend(many.iter().map(String::as_str));
    is(&words, 2, "too_many_dependencies");
    site.line(&["add", "in", "a"], 0);
    is(&["add", "in", "a"], 3, "task_exists");
    let by_id = site
        .runstone
        .ended(&["task", "claim", "a", "--stream", "tray:in"]);
    assert_eq!((by_id.0, by_id.2.as_str()), (1, "task_in_tray"));
    site.line(&["close", "in"], 0);
    is(&["add", "in", "b"], 1, "tray_closed");
    is(&["open", "in"], 1, "tray_closed");
    let (exit, answer, told) = site.shown(&["add", "in", "b"]);
    assert_eq!((exit, answer.as_str()), (1, ""));
    assert!(
        told.contains("it takes no more tasks") && told.contains("another name"),
        "{told}"
    );
    Ok(())
}

/// A task of a tray is in the budget that it names, as others are.
#[test]
fn a_budget_limits_how_deep_tasks_of_a_tray_lie() -> Outcome {
    let site = Site::new()?;
    let budget = ["budget", "open", "job", "--limit", "depth=0"];
    assert_eq!(site.runstone.ended(&budget).0, 0);
    site.line(&["open", "in"], 0);
    site.line(&["add", "in", "a", "--budget", "job"], 0);
    let refused = |words: &[&str]| site.refused(words);
    let below = ["add", "in", "b", "--parent", "a"];
    assert_eq!(refused(&below), (1, "budget_exceeded".to_owned()));
    let other = ["add", "in", "c", "--budget", "other"];
    assert_eq!(refused(&other), (5, "budget_not_found".to_owned()));
    let looked = ["task", "check", "b", "--parent", "a", "--stream", "tray:in"];
    let looked = site.runstone.ended(&looked);
    assert_eq!((looked.0, looked.2.as_str()), (1, "budget_exceeded"));
    Ok(())
}

#[test]
fn dead_letters_are_listed() -> Outcome {
    let site = Site::new()?;
    let settings = site.log.with_extension("toml");
    std::fs::write(&settings, "[trays]\nmax_attempts = 2\n")?;
    site.runstone
        .run(["config", "set", &settings.to_string_lossy()]);
    site.line(&["open", "in"], 0);
    site.line(&["add", "in", "a"], 0);
    site.line(&["add", "in", "b", "--depends-on", "a"], 0);
    for _ in 0..2 {
        let held = site.line(&["claim", "in"], 0);
        let fence = held["fence"].to_string();
        site.line(&["release", "in", "a", "--fence", &fence], 0);
    }
    let dead = site.tray(&["list", "in", "--dead-letters"]).1;
    assert_eq!(
        (dead.len(), &dead[0]["id"], &dead[0]["state"]),
        (1, &json!("a"), &json!("cancelled"))
    );
    assert!(dead[0]["dead_letter"].is_u64());
    let all = site.tray(&["list", "in"]).1;
    assert_eq!((all.len(), &all[1]["stuck"]), (2, &json!(true)));
    let trays = site.tray(&["list"]).1;
    assert_eq!(
        (&trays[0]["dead_letters"], &trays[0]["open"]),
        (&json!(1), &json!(1))
    );
    let shown = site.line(&["show", "in"], 0);
    assert_eq!(shown, trays[0]);

    // As people see it.
    let (exit, text, _) = site.shown(&["list", "in"]);
    assert_eq!(exit, 0);
    assert!(
        text.contains("dead letter") && text.contains("stuck"),
        "{text}"
    );
    let (_, text, _) = site.shown(&["show", "in", "b"]);
    assert!(
        text.contains("depends on") && text.contains("stuck"),
        "{text}"
    );
    let (exit, text, _) = site.shown(&["claim", "in"]);
    assert_eq!(
        (exit, text.as_str()),
        (1, "nothing can be claimed: 1 open, 0 of them in progress\n")
    );
    let (_, text, _) = site.shown(&["list"]);
    assert!(text.contains("dead letters"), "{text}");
    site.runstone.check();
    Ok(())
}

/// Claimed at another time, and looked at now.
#[test]
fn a_lease_of_a_script_ends_by_the_clock() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let trays = Trays::new(&log).scope("acme");
    trays.open_blocking("in")?;
    trays.add_blocking("in", &NewTask::new("a").into())?;
    let minute = Hold::ByClock(Duration::from_secs(60));
    let Claim::Claimed(held) = trays.claim_blocking("in", "bot", minute)? else {
        return Err("there is something to claim".into());
    };
    log.close_blocking()?;
    drop((trays, log));
    let runstone = Runstone::on(site.path());
    assert_eq!(runstone.value(["tray", "show", "in"])["scope"], "acme");
    assert_eq!(
        runstone.value(["tray", "show", "in", "a"])["state"],
        "expired"
    );
    let again = runstone.value(["tray", "claim", "in"]);
    assert_eq!((&again["id"], &again["attempt"]), (&json!("a"), &json!(2)));
    let complete = |fence: &str| runstone.ended(&["tray", "complete", "in", "a", "--fence", fence]);
    let late = complete(&held.fence.to_string());
    assert_eq!((late.0, late.2.as_str()), (3, "stale_claim"));
    let done = complete(&again["fence"].to_string());
    assert_eq!((done.0, &done.1[0]["state"]), (0, &json!("done")));
    runstone.check();
    Ok(())
}

#[test]
fn a_lease_is_a_minute_to_a_day() -> Outcome {
    let site = Site::new()?;
    site.line(&["open", "in"], 0);
    site.line(&["add", "in", "a"], 0);
    for lease in ["1", "59", "86401"] {
        let words = ["claim", "in", "--lease", lease];
        assert_eq!(site.refused(&words), (2, "bad_lease".to_owned()), "{lease}");
    }
    let (_, _, told) = site.shown(&["claim", "in", "--lease", "59"]);
    assert!(told.contains("60 to 86400 seconds, not for 59s"), "{told}");
    assert!(told.contains("without --lease"), "{told}");
    let held = site.line(&["claim", "in", "--lease", "60"], 0);
    let fence = held["fence"].to_string();
    for (lease, exit) in [("59", 2), ("60", 0), ("86400", 0), ("86401", 2)] {
        for words in [&["tray", "renew", "in", "a"][..], &["task", "renew", "a"]] {
            let words = [words, &["--fence", &fence, "--lease", lease]].concat();
            assert_eq!(site.runstone.ended(&words).0, exit, "{words:?}");
        }
    }
    site.runstone.check();
    Ok(())
}

/// As for tasks besides trays: what the settings ask for, and through whom it is made.
#[test]
fn what_a_task_of_a_tray_must_say_is_asked_for() -> Outcome {
    let site = Site::new()?;
    let config = site.log.with_extension("toml");
    std::fs::write(&config, "[admission]\nenabled = true\n")?;
    let config = config.to_str().ok_or("no path")?;
    site.runstone.value(["config", "set", config]);
    site.line(&["open", "in"], 0);
    let mut words = vec!["add", "in", "a", "--admission", "consumer=ops"];
    let (exit, _, told) = site.shown(&words);
    assert_eq!(exit, 1);
    let missing = "(missing: pain_point, expected_value, validation_path)";
    assert!(
        told.contains(missing) && told.contains("--admission"),
        "{told}"
    );
    for field in ["pain_point=x", "expected_value=y", "validation_path=a=b"] {
        words.extend(["--admission", field]);
    }
    assert_eq!(site.line(&words, 0)["state"], "todo");
    let shown = site.runstone.value(["task", "show", "a"]);
    assert_eq!(shown["admission"]["validation_path"], "a=b");

    site.runstone.value(["agent", "register", "scout"]);
    site.runstone.ended(&["agent", "sleep", "scout"]);
    words[2] = "b";
    words.extend(["--by", "scout"]);
    assert_eq!(site.refused(&words), (1, "agent_idle".to_owned()));
    site.runstone.ended(&["agent", "wake", "scout"]);
    assert_eq!(site.line(&words, 0)["state"], "todo");
    site.runstone.check();
    Ok(())
}
