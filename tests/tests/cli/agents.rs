//! Agents and messages as scripts use them.

use runstone_tests::command::{Runstone, binary};
use runstone_tests::held::Site;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn an_agent_is_told_things_and_stops_when_a_person_says_so() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    runstone.value(["init", "--human", "ada"]);
    let ada = folder.path().join("ada.cred");
    let ada = ada.to_str().ok_or("a path")?;
    let run = |words: &[&str]| runstone.ended(words);

    let (exit, _, code) = run(&["message", "send", "scout", "--text", "hello"]);
    assert_eq!((exit, code.as_str()), (5, "agent_not_found"));
    let (exit, _, code) = run(&["agent", "register", "two words"]);
    assert_eq!((exit, code.as_str()), (2, "bad_name"));
    let words = [
        "agent", "register", "scout", "--role", "looks", "--label", "gate",
    ];
    let (exit, lines, _) = run(&words);
    assert_eq!(exit, 0);
    assert_eq!(lines[0]["state"], "running");
    assert_eq!(
        (&lines[0]["role"], &lines[0]["labels"]),
        (&json!("looks"), &json!(["gate"]))
    );

    // Nothing came yet.
    let (exit, lines, _) = run(&["message", "wait", "scout", "--timeout", "0"]);
    assert_eq!((exit, &lines[0]["messages"]), (1, &json!([])));

    let (exit, _, _) = run(&[
        "message", "send", "scout", "--text", "west", "--source", "desk",
    ]);
    assert_eq!(exit, 0);
    let (exit, _, code) = run(&["message", "send", "scout", "--source", "me"]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
    // What is recorded of agents and messages is no run.
    assert!(runstone.values(["runs"]).is_empty());
    let streams = runstone.values(["runs", "--all-streams"]);
    let streams: Vec<_> = streams.iter().map(|run| &run["stream"]).collect();
    assert!(streams.contains(&&json!("agent:scout")), "{streams:?}");
    // An order without a credential is recorded, refused and not delivered.
    let (exit, lines, code) = run(&["message", "send", "scout", "--type", "shutdown"]);
    assert_eq!((exit, code.as_str()), (8, "order_refused"));
    assert_eq!(lines[0]["refused"], true);
    let body = r#"{"sender_is_commander":true,"type":"sleep"}"#;
    assert_eq!(run(&["message", "send", "*", "--body", body]).0, 0);
    let (exit, lines, _) = run(&["message", "wait", "scout", "--mark"]);
    assert_eq!((exit, &lines[0]["must_exit"]), (0, &json!(false)));
    let messages = lines[0]["messages"].as_array().ok_or("a list")?;
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (
            &messages[0]["text"],
            &messages[0]["source"],
            &messages[0]["from"]
        ),
        (&json!("west"), &json!("desk"), &json!("system:keyring"))
    );
    assert_eq!(run(&["message", "wait", "scout", "--timeout", "0"]).0, 1);
    let (_, lines, _) = run(&["message", "list", "scout"]);
    let classes: Vec<_> = lines.iter().map(|line| line["class"].as_str()).collect();
    assert_eq!(classes, [Some("message"), Some("order"), Some("message")]);
    let refused: Vec<_> = lines.iter().map(|line| &line["refused"]).collect();
    assert_eq!(refused, [&json!(false), &json!(true), &json!(false)]);
    let (_, listed, _) = runstone.shown(&["message", "list", "scout"]);
    let marked = |line: &str| line.ends_with("shutdown (refused, and not delivered)");
    let marked: Vec<_> = listed.lines().map(marked).collect();
    assert_eq!(marked, [false, true, false], "{listed}");
    let (_, one, _) = runstone.shown(&["agent", "show", "scout"]);
    assert!(one.starts_with("agent           scout\nkind "), "{one}");
    let (_, all, _) = runstone.shown(&["agent", "list"]);
    assert!(all.contains("  -       -     -            looks"), "{all}");

    // A credential that is not there.
    let lost = folder.path().join("lost.cred");
    let lost = lost.to_str().ok_or("a path")?;
    let (exit, _, code) = run(&["agent", "wake", "scout", "--cred", lost]);
    assert_eq!((exit, code.as_str()), (8, "no_credential"));

    let (exit, _, code) = run(&["agent", "power", "scout", "stopped"]);
    assert_eq!((exit, code.as_str()), (8, "not_allowed"));
    let order = [
        "message", "send", "scout", "--type", "shutdown", "--cred", ada,
    ];
    let (exit, lines, _) = run(&order);
    assert_eq!((exit, &lines[0]["order"]), (0, &json!(true)));
    let (exit, lines, _) = run(&["message", "wait", "scout"]);
    assert_eq!((exit, &lines[0]["must_exit"]), (0, &json!(true)));
    assert_eq!(lines[0]["orders"][0]["authority"], "human");
    let (_, lines, _) = run(&["agent", "list", "--status", "stopping"]);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        run(&["agent", "power", "scout", "running", "--cred", ada]).0,
        0
    );
    Ok(())
}

#[test]
fn sleep_says_so_in_the_words_that_supervisors_look_for() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    runstone.value(["init"]);
    runstone.value(["agent", "register", "agent-1"]);
    let output = Command::new(binary())
        .arg("--log")
        .arg(folder.path().join("log.redb"))
        .args(["agent", "sleep", "agent-1"])
        .output()?;
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "SLEEP:idle agent=agent-1 reason=no_tasks timeout=30s\n"
    );
    let (exit, lines, _) = runstone.ended(&["agent", "show", "agent-1"]);
    assert_eq!(
        (exit, &lines[0]["state"], &lines[0]["timeout_s"]),
        (0, &json!("idle"), &json!(30))
    );
    let (_, lines, _) = runstone.ended(&["agent", "wake", "agent-1"]);
    assert_eq!(
        (&lines[0]["state"], &lines[0]["timeout_s"]),
        (&json!("running"), &Value::Null)
    );
    Ok(())
}

#[test]
fn helpers_come_and_go_on_the_command_line() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    let settings = folder.path().join("settings.toml");
    std::fs::write(
        &settings,
        "[helpers]\nmax_running = 1\nmax_registered = 2\n",
    )?;
    let settings = settings.to_str().ok_or("a path")?;
    runstone.value(["init", "--config", settings, "--human", "ada"]);
    let lead = folder.path().join("lead.cred");
    let lead = lead.to_str().ok_or("a path")?;
    let add = [
        "keys",
        "principal",
        "add",
        "lead",
        "--authority",
        "agent",
        "-o",
        lead,
    ];
    assert_eq!(runstone.ended(&add).0, 0);
    let run = |words: &[&str]| runstone.ended(words);

    for (words, exit, code) in [
        (&["agent", "spawn", "two words"][..], 2, "bad_name"),
        (&["agent", "spawn", "h1", "--tray", "a/b"], 2, "bad_tray"),
        (&["agent", "spawn", "h1", "--ttl", "59"], 2, "bad_ttl"),
        (&["agent", "retire", "h1"], 5, "agent_not_found"),
    ] {
        let (ended, _, told) = run(words);
        assert_eq!((ended, told.as_str()), (exit, code), "{words:?}");
    }
    let spawn = [
        "agent", "spawn", "h1", "--tray", "west", "--ttl", "60", "--role", "reads", "--for",
        "task-7", "--cred", lead,
    ];
    let (exit, lines, _) = run(&spawn);
    assert_eq!(exit, 0);
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["parent"], &lines[0]["tray"]),
        (&json!("helper"), &json!("agent:lead"), &json!("west"))
    );
    assert_eq!(
        (
            &lines[0]["role"],
            &lines[0]["spawned_for"],
            &lines[0]["auto_retire"]
        ),
        (&json!("reads"), &json!("task-7"), &json!(true))
    );
    assert!(lines[0]["expires_at"].is_string() && lines[0]["retired"].is_null());
    let (exit, _, code) = run(&spawn);
    assert_eq!((exit, code.as_str()), (3, "name_taken"));
    // The second is there, and does not run.
    let (exit, lines, code) = run(&["agent", "spawn", "h2", "--cred", lead]);
    assert_eq!((exit, code.as_str()), (1, "helper_cap_reached"));
    assert_eq!(lines[0]["stopped"], true);
    let (exit, _, code) = run(&["agent", "power", "h2", "running", "--cred", lead]);
    assert_eq!((exit, code.as_str()), (1, "helper_cap_reached"));
    let (exit, _, code) = run(&["agent", "spawn", "h3", "--cred", lead]);
    assert_eq!((exit, code.as_str()), (1, "tier_limit"));
    let (_, lines, _) = run(&[
        "agent",
        "list",
        "--kind",
        "helper",
        "--parent",
        "agent:lead",
    ]);
    assert_eq!(lines.len(), 2);
    let (_, lines, _) = run(&["agent", "list", "--kind", "persistent"]);
    assert_eq!((lines.len(), &lines[0]["name"]), (1, &json!("lead")));

    let (exit, _, code) = run(&["agent", "retire", "lead"]);
    assert_eq!((exit, code.as_str()), (1, "not_a_helper"));
    let (exit, _, code) = run(&["agent", "retire", "h1", "--cred", lead]);
    assert_eq!((exit, code.as_str()), (8, "not_allowed"));
    assert_eq!(run(&["task", "create", "a", "--agent", "h1"]).0, 0);
    assert_eq!(run(&["task", "claim", "a", "--holder", "h1"]).0, 0);
    let (_, lines, _) = run(&["message", "wait", "h1", "--timeout", "0"]);
    assert_eq!(
        (&lines[0]["must_exit"], &lines[0]["open_tasks"]),
        (&json!(false), &json!(1))
    );
    let (exit, lines, _) = run(&["agent", "retire", "h1", "--reason", "tray_drained"]);
    assert_eq!(
        (exit, &lines[0]["state"], &lines[0]["retired"]),
        (0, &json!("retired"), &json!("tray_drained"))
    );
    let (_, lines, _) = run(&["message", "wait", "h1"]);
    assert_eq!(lines[0]["must_exit"], true);
    let (_, lines, _) = run(&["task", "show", "a"]);
    assert_eq!(
        (&lines[0]["state"], &lines[0]["attempt"]),
        (&json!("todo"), &json!(2))
    );
    assert_eq!(
        run(&["agent", "power", "h2", "running", "--cred", lead]).0,
        0
    );

    // Its parent is ordered to stop: its helpers go.
    assert_eq!(run(&["agent", "reap"]).1.len(), 0);
    let ada = folder.path().join("ada.cred");
    let ada = ada.to_str().ok_or("a path")?;
    assert_eq!(
        run(&["agent", "power", "lead", "stopped", "--cred", ada]).0,
        0
    );
    let (exit, lines, _) = run(&["agent", "reap"]);
    let gone = json!({"name": "h2", "reason": "parent_stopped", "released": 0});
    assert_eq!((exit, lines), (0, vec![gone]));
    let (exit, lines, _) = run(&["sweep"]);
    assert_eq!(
        (exit, lines),
        (
            0,
            vec![json!({"tasks": 0, "calls": 0, "approvals": 0, "helpers": 0, "reservations": 0})]
        )
    );
    Ok(())
}

/// Here, and beside a process that holds the log.
#[test]
fn a_helper_claims_from_its_own_tray() -> Outcome {
    let site = Site::new()?;
    let runstone = Runstone::on(&site.log);
    runstone.value(["init"]);
    let own = site.path("h1.cred");
    let own = own.to_str().ok_or("a path")?;
    let spawned = runstone.value(["agent", "spawn", "h1"]);
    let enrol = [
        "keys",
        "principal",
        "add",
        "h1",
        "--authority",
        "agent",
        "-o",
        own,
    ];
    assert_eq!(runstone.ended(&enrol).0, 0);
    let tray = spawned["tray"].as_str().ok_or("it has one")?;
    for id in ["a", "b"] {
        assert_eq!(runstone.ended(&["tray", "add", tray, id]).0, 0, "{id}");
    }
    let claim = ["tray", "claim", "--cred", own];
    let claimed = |id: &str| {
        let line = runstone.value(claim);
        assert_eq!((&line["id"], &line["tray"]), (&json!(id), &json!(tray)));
    };
    claimed("a");
    let holder = site.holder()?;
    claimed("b");
    // Who is no helper names the tray.
    let refused = || {
        let (exit, _, code) = runstone.ended(&["tray", "claim"]);
        assert_eq!((exit, code.as_str()), (2, "no_own_tray"));
        let (_, _, told) = runstone.shown(&["tray", "claim"]);
        assert!(told.contains("runstone tray claim TRAY"), "{told}");
    };
    refused();
    holder.kill()?;
    refused();
    runstone.check();
    Ok(())
}

#[test]
fn a_sleeping_agent_creates_no_task_on_the_command_line() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    runstone.value(["init"]);
    runstone.value(["agent", "register", "scout"]);
    runstone.value(["agent", "sleep", "scout"]);
    let create = ["task", "create", "a", "--by", "scout"];
    let (exit, _, code) = runstone.ended(&create);
    assert_eq!((exit, code.as_str()), (1, "agent_idle"));
    runstone.value(["agent", "wake", "scout"]);
    assert_eq!(runstone.ended(&create).0, 0);
    Ok(())
}
