//! Agents and messages as scripts use them.

use runstone_tests::command::{Runstone, binary};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// How a command ended: its exit code, its answers and the code of its error.
fn ended(output: &Output) -> (i32, Vec<Value>, String) {
    let lines = |bytes: &[u8]| -> Vec<Value> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains("panicked"), "{text}");
        let values = text.lines().map(serde_json::from_str);
        values.filter_map(Result::ok).collect()
    };
    let told = lines(&output.stderr);
    let code = told.iter().find_map(|line| line["error"]["code"].as_str());
    (
        output.status.code().unwrap_or(-1),
        lines(&output.stdout),
        code.unwrap_or_default().to_owned(),
    )
}

#[test]
fn an_agent_is_told_things_and_stops_when_a_person_says_so() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    runstone.value(["init", "--human", "ada"]);
    let ada = folder.path().join("ada.cred");
    let ada = ada.to_str().ok_or("a path")?;
    let run = |words: &[&str]| ended(&runstone.run(words.iter().copied()));

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
    // An order without a credential is recorded, refused and not delivered.
    let (exit, lines, code) = run(&["message", "send", "scout", "--type", "shutdown"]);
    assert_eq!((exit, code.as_str()), (1, "order_refused"));
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
    let (exit, lines, _) = ended(&runstone.run(["agent", "show", "agent-1"]));
    assert_eq!(
        (exit, &lines[0]["state"], &lines[0]["timeout_s"]),
        (0, &json!("idle"), &json!(30))
    );
    let (_, lines, _) = ended(&runstone.run(["agent", "wake", "agent-1"]));
    assert_eq!(
        (&lines[0]["state"], &lines[0]["timeout_s"]),
        (&json!("running"), &Value::Null)
    );
    Ok(())
}
