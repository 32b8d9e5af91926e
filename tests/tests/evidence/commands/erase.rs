//! Erasure from the command line: what it does, what it refuses, what somebody else has to do first.

use super::site::{SECRET, Site, auditor};
use serde_json::{Value, json};

impl Site {
    /// Whether somebody finds what was said in a stream.
    fn shows(&self, scope: &str) -> bool {
        let lines = self.run(["log", "--stream", &format!("run-{scope}")]).lines;
        assert_eq!(lines.len(), 20);
        let shown = lines
            .iter()
            .filter(|line| {
                line["data"]["text"]
                    .as_str()
                    .is_some_and(|text| text.contains(SECRET))
            })
            .count();
        let erased = lines.iter().filter(|line| line["erased"] == true).count();
        assert!(
            (shown, erased) == (20, 0) || (shown, erased) == (0, 20),
            "{shown} {erased}"
        );
        shown > 0
    }

    fn types(&self) -> Vec<Value> {
        let lines = self.run(["log", "--type", "log.*"]).lines;
        lines
            .into_iter()
            .map(|mut line| line["type"].take())
            .collect()
    }
}

#[test]
fn an_erasure_leaves_a_certificate_and_nothing_else() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    let before = site.keep("before", ["receipt", "1"]);
    let told = site.done(["erase", "ann", "--basis", "gdpr-17-1-b"]);
    assert_eq!(told["scopes"], json!(["ann"]));
    assert_eq!(
        (&told["state"], &told["basis"]),
        (&json!("complete"), &json!("gdpr-17-1-b"))
    );
    assert_eq!(told["certificate"], "erasure-42.tlog-proof");
    assert!(!site.shows("ann") && site.shows("bob"));
    assert_eq!(site.verified(), 0);

    // The certificate verifies for a stranger, and so does the receipt from before.
    let beside = [
        "erasure-42.tlog-proof",
        "erasure-42.envelope",
        "erasure-42.request.tlog-proof",
        "erasure-42.request.envelope",
    ];
    let told_of = ["certificate", "envelope", "request", "request_envelope"];
    assert_eq!(told_of.map(|name| told[name].clone()), beside);
    let [receipt, envelope, request, request_envelope] = beside.map(|name| site.path(name));
    let auditor = auditor(&[
        &policy,
        &before,
        &receipt,
        &envelope,
        &request,
        &request_envelope,
    ]);
    let verify = |file| auditor.done(["receipt", "verify", file, "--policy", "policy"]);
    let says = |receipt, envelope| {
        let args = ["receipt", "verify", receipt, "--policy", "policy"];
        auditor.done(args.into_iter().chain(["--envelope", envelope]))["content"].clone()
    };
    assert_eq!(
        says(beside[0], beside[1]),
        json!({"requested": 41, "destroyed": "best_effort", "rewritten": true})
    );
    let requested = says(beside[2], beside[3]);
    assert_eq!(
        (&requested["scopes"], &requested["basis"]),
        (&json!(["ann"]), &json!("gdpr-17-1-b"))
    );
    let swapped = ["receipt", "verify", beside[0], "--policy", "policy"];
    let swapped = auditor.run(swapped.into_iter().chain(["--envelope", beside[3]]));
    assert_eq!(swapped.exit, 4, "{swapped:?}");
    // Issued again, it has its content beside it too.
    let again = site.done(["receipt", "42", "-o", "again.tlog-proof"]);
    assert_eq!(again["envelope"], "again.envelope");
    assert_eq!(site.read("again.envelope"), site.read(beside[1]));
    let header = &verify("erasure-42.tlog-proof")["header"];
    assert_eq!(
        (&header["type"], &header["position"]),
        (&json!("log.erasure_completed"), &json!(42))
    );
    assert_eq!(verify("before")["position"], 1);
    let ended = site.run(["receipt", "1", "-o", "x", "--disclose", "amount"]);
    assert_eq!((ended.exit, ended.code().as_str()), (1, "erased"));

    let listed = site.done(["erase", "--list"]);
    for (name, value) in listed.as_object().unwrap() {
        assert_eq!(*value, told[name], "{name}");
    }
    assert_eq!(site.doctor("erasures").0, "ok");
    let nothing = site.run(["erase", "--resume"]);
    assert_eq!((nothing.exit, nothing.stdout.as_str()), (0, ""));

    // Two at once, somewhere else; and new events of an erased scope can be erased again.
    site.fill();
    std::fs::create_dir(site.path("certificates")).unwrap();
    let args = ["erase", "bob", "ann", "--basis", "b", "-o", "certificates"];
    let told = site.done(args);
    assert_eq!(told["scopes"], json!(["ann", "bob"]));
    assert!(site.path(told["certificate"].as_str().unwrap()).exists());
    assert_eq!(site.run(["erase", "--list"]).lines.len(), 2);
    assert_eq!(site.verified(), 0);
}

#[test]
fn a_deferred_rewriting_is_finished_later() {
    let site = Site::new();
    let told = site.done([
        "erase",
        "ann",
        "--basis",
        "b",
        "--defer-rewrite",
        "-o",
        "first",
    ]);
    assert_eq!(
        (&told["state"], &told["rewritten"]),
        (&json!("deferred"), &json!(false))
    );
    assert!(!site.shows("ann"));
    assert_eq!(site.doctor("erasures").0, "warn");
    site.done([
        "erase",
        "bob",
        "--basis",
        "b",
        "--defer-rewrite",
        "-o",
        "second",
    ]);
    let ended = site.run(["erase", "--resume", "-o", "one-file"]);
    assert_eq!((ended.exit, ended.code().as_str()), (2, "usage"));
    let resumed = site.run(["erase", "--resume"]);
    assert_eq!((resumed.exit, resumed.lines.len()), (0, 2), "{resumed:?}");
    for line in &resumed.lines {
        assert_eq!(line["state"], "complete");
        let file = format!("erasure-{}.tlog-proof", line["completed"]);
        assert_eq!(line["certificate"], file.as_str());
        assert!(site.path(&file).exists());
    }
    assert_eq!(site.doctor("erasures").0, "ok");
    assert_eq!(site.verified(), 0);
}

#[test]
fn what_must_not_be_erased_is_refused_and_nothing_happens() {
    let site = Site::new();
    let erase = |scope| site.run(["erase", scope, "--basis", "b"]);
    let held = site.done(["hold", "ann"]);
    assert_eq!(held, json!({"scope": "ann", "held": true, "position": 41}));
    assert_eq!(site.done(["hold", "--list"]), held);
    assert_eq!(
        site.doctor("holds"),
        ("ok".to_owned(), "not to be erased: ann".to_owned())
    );
    let ended = erase("ann");
    assert_eq!((ended.exit, ended.code().as_str()), (1, "scope_held"));
    let ended = site.run(["hold", "bob", "--release"]);
    assert_eq!((ended.exit, ended.code().as_str()), (5, "scope_not_held"));
    let ended = site.run(["hold", "ann", "--release"]);
    assert_eq!((ended.exit, ended.code().as_str()), (8, "not_allowed"));
    site.done([
        "keys",
        "principal",
        "add",
        "ada",
        "--authority",
        "human",
        "-o",
        "ada.cred",
    ]);
    let released = site.done(["hold", "ann", "--release", "--cred", "ada.cred"]);
    assert_eq!(released["held"], false);
    assert_eq!(site.run(["hold", "--list"]).stdout, "");

    std::fs::write(site.path("keep.toml"), "[retention]\nminimum_days = 2\n").unwrap();
    site.done(["config", "set", "keep.toml"]);
    let ended = erase("ann");
    assert_eq!((ended.exit, ended.code().as_str()), (1, "scope_retained"));
    assert!(ended.stderr.contains("minimum_days is 2"), "{ended:?}");

    for (scope, exit, code) in [
        ("nobody", 5, "scope_unknown"),
        ("_log", 1, "scope_protected"),
    ] {
        let ended = erase(scope);
        assert_eq!((ended.exit, ended.code().as_str()), (exit, code));
    }
    let ended = site.run(["erase", "ann", "--basis", "Ann Example asked"]);
    assert_eq!((ended.exit, ended.code().as_str()), (2, "erase_request"));
    assert!(site.shows("ann"));
    assert!(
        site.types()
            .iter()
            .all(|name| *name != "log.erasure_requested")
    );

    std::fs::write(site.path("keep.toml"), "[retention]\nminimum_days = 0\n").unwrap();
    site.done(["config", "set", "keep.toml"]);
    // A certificate that cannot be written is no erasure undone.
    let ended = site.run(["erase", "ann", "--basis", "b", "-o", "no/such/folder"]);
    assert_eq!((ended.exit, ended.code().as_str()), (5, "file_not_found"));
    assert!(ended.stderr.contains("runstone receipt"), "{ended:?}");
    assert_eq!(site.done(["erase", "--list"])["state"], "complete");

    let plain = Site::empty();
    plain.done(["init", "--plain"]);
    plain.fill();
    let ended = plain.run(["erase", "ann", "--basis", "b", "--defer-rewrite"]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (1, "erase_needs_rewrite")
    );
    assert_eq!(
        plain.done(["erase", "ann", "--basis", "b"])["destroyed"],
        "plain"
    );
    let file = plain.read("log.redb");
    let finds = |needle: &str| {
        file.windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    assert!(!finds(&format!("{SECRET}, ann")) && !plain.shows("ann") && plain.shows("bob"));
}

/// A log whose key-encryption key is in an environment variable, which nobody can destroy from here.
fn with_key_in_environment(first: &str) -> Site {
    let mut site = Site::empty();
    site.variables = vec![("KEY", first.to_owned())];
    site.done(["init", "--kek", "env:KEY"]);
    site.fill();
    site
}

#[test]
fn an_erasure_waits_for_somebody_who_holds_the_key() {
    let (first, second) = ("01".repeat(32), "02".repeat(32));
    let mut site = with_key_in_environment(&first);
    let pending = |site: &Site, args: &[&str]| {
        let ended = site.run(args.iter().copied());
        assert_eq!(
            (ended.exit, ended.code().as_str()),
            (9, "erasure_pending"),
            "{ended:?}"
        );
        assert!(
            ended.stderr.contains("runstone erase --resume"),
            "{ended:?}"
        );
        assert_eq!(site.done(["erase", "--list"])["state"], "pending");
        assert!(!site.shows("ann") && site.shows("bob"));
        assert_eq!(site.doctor("erasures").0, "fail");
        let verified = site.run(["verify"]);
        assert!(
            verified.stdout.contains("runstone erase --resume"),
            "{verified:?}"
        );
        assert_eq!(verified.exit, 9);
        ended.stderr
    };
    assert!(pending(&site, &["erase", "ann", "--basis", "b"]).contains("_NEXT"));
    assert!(pending(&site, &["erase", "--resume"]).contains("_NEXT"));
    site.variables.push(("KEY_NEXT", second.clone()));
    assert!(pending(&site, &["erase", "--resume"]).contains("remove it"));
    assert!(!site.path("erasure-42.tlog-proof").exists());
    site.variables = vec![("KEY", second)];
    let told = site.done(["erase", "--resume"]);
    assert_eq!(
        (&told["state"], &told["destroyed"]),
        (&json!("complete"), &json!("best_effort"))
    );
    assert!(site.path("erasure-42.tlog-proof").exists());
    assert_eq!(site.verified(), 0);
    site.variables = vec![("KEY", first)];
    assert_eq!(site.run(["log", "--stream", "run-bob"]).exit, 8);
}

#[test]
fn a_rotation_says_what_became_of_the_former_keys() {
    let wrapped = |site: &Site| -> Vec<Value> {
        let mut keys = site.run(["keys", "list"]).lines;
        keys.retain(|key| key["kind"] != "signing");
        assert!(
            keys.iter()
                .all(|key| key["generation"].is_u64() && key["state"].is_string())
        );
        keys.into_iter()
            .map(|mut key| key["kek_id"].take())
            .collect()
    };
    let site = Site::new();
    let before = wrapped(&site);
    let told = site.done(["keys", "rotate"]);
    assert_eq!(
        told["destroyed"],
        json!([{"kek_id": before[0], "destroyed": "best_effort"}])
    );
    assert_eq!(told["remaining"], json!([]));
    let after = wrapped(&site);
    assert!(after.len() == before.len() && after.iter().all(|kek| *kek != before[0]));
    assert!(site.shows("ann"));
    assert_eq!(site.verified(), 0);

    let (first, second) = ("01".repeat(32), "02".repeat(32));
    let mut site = with_key_in_environment(&first);
    let refused = site.run(["keys", "rotate"]);
    assert_eq!(
        (refused.exit, refused.code().as_str()),
        (8, "key_provider_unsupported")
    );
    let before = wrapped(&site);
    site.variables.push(("KEY_NEXT", second.clone()));
    let ended = site.run(["keys", "rotate"]);
    assert_eq!(
        (ended.exit, &ended.lines[0]["remaining"]),
        (9, &json!([before[0]])),
        "{ended:?}"
    );
    assert_eq!(ended.lines[0]["destroyed"][0]["destroyed"], "unsupported");
    assert!(ended.stderr.contains("kek_remains"), "{ended:?}");
    site.variables = vec![("KEY", second)];
    let told = site.done(["keys", "rotate"]);
    assert_eq!(told["destroyed"][0]["destroyed"], "best_effort");
    assert_eq!(told["remaining"], json!([]));
    assert!(site.shows("ann"));
}
