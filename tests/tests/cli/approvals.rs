//! Approvals as scripts and people at a terminal use them.

use runstone_tests::command::Runstone;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};

#[test]
fn a_call_waits_for_people_across_processes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log.redb"));
    runstone.value(["init", "--human", "ada"]);
    let ada = folder.path().join("ada.cred");
    let ada = ada.to_str().ok_or("a path")?;
    let run = |words: &[&str]| runstone.ended(words);

    let claim = [
        "effect",
        "claim",
        "--name",
        "pay",
        "--key",
        "inv-1",
        "--args",
        r#"{"usd":12}"#,
    ];
    let (exit, lines, code) = run(&[&claim[..], &["--needs-approval"]].concat());
    assert_eq!((exit, code.as_str()), (1, "not_approved"));
    let expected = json!({"state": "not_approved", "kind": "tool", "name": "pay", "key": "inv-1",
        "attempt": 0, "fence": null, "holder": null, "lease_expires_at": null, "result": null,
        "error": null, "position": null});
    assert_eq!(lines, [expected]);
    let ask = [
        "approval",
        "request",
        "--name",
        "pay",
        "--key",
        "inv-1",
        "--args",
        r#"{"usd":12}"#,
        "--action",
        "pay the printer",
        "--reviewer",
        "ada",
        "--timeout",
        "600",
    ];
    let (exit, lines, _) = run(&ask);
    assert_eq!((exit, &lines[0]["state"]), (0, &json!("pending")));
    let position = lines[0]["position"].to_string();
    let id = lines[0]["id"].as_str().ok_or("an id")?.to_owned();
    assert_eq!(lines[0]["args"], json!({"usd": 12}));
    // Asked about, it needs no flag any more.
    let (exit, lines, code) = run(&claim);
    assert_eq!((exit, code.as_str()), (1, "not_approved"));
    let told = (lines.len(), lines[0]["position"].to_string());
    assert_eq!(told, (1, position.clone()), "where people were asked");
    let (exit, _, code) = run(&["approval", "approve", &id]);
    assert_eq!((exit, code.as_str()), (8, "not_allowed"));
    let (_, lines, _) = run(&["approval", "list"]);
    assert_eq!(
        (lines.len(), &lines[0]["action"]),
        (1, &json!("pay the printer"))
    );
    let words = [
        "approval",
        "approve",
        &id,
        "--comment",
        "go on",
        "--cred",
        ada,
    ];
    let (exit, lines, _) = run(&words);
    assert_eq!((exit, &lines[0]["state"]), (0, &json!("approved")));
    assert_eq!(
        (
            &lines[0]["decided_by"],
            &lines[0]["comment"],
            &lines[0]["votes"]
        ),
        (
            &json!("human:ada"),
            &json!("go on"),
            &json!([{"by": "human:ada", "approved": true}])
        )
    );
    let (exit, _, code) = run(&["approval", "reject", &position, "--cred", ada]);
    assert_eq!((exit, code.as_str()), (3, "already_decided"));
    let (_, shown, _) = runstone.shown(&["approval", "show", &position]);
    assert!(
        shown.contains("\nasked by        system:keyring\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\nvote            human:ada: yes\n"),
        "{shown}"
    );
    assert_eq!(run(&["approval", "list"]).1, Vec::<Value>::new());
    assert_eq!(run(&["approval", "list", "--all"]).1.len(), 1);

    let mut other = claim;
    other[7] = r#"{"usd":13}"#;
    let (exit, _, code) = run(&other);
    assert_eq!((exit, code.as_str()), (1, "not_approved"));
    let (exit, lines, _) = run(&claim);
    assert_eq!((exit, &lines[0]["state"]), (0, &json!("in-flight")));

    for (words, exit, code) in [
        (&["approval", "show", "999"][..], 5, "approval_not_found"),
        (&["approval", "show", "x"], 2, "usage"),
        (
            &[
                "approval", "request", "--name", "n", "--key", "k", "--mode", "quorum",
            ],
            2,
            "bad_reviewers",
        ),
    ] {
        let (found, _, told) = run(words);
        assert_eq!((found, told.as_str()), (exit, code), "{words:?}");
    }
    Ok(())
}
