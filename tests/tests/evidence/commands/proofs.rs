//! Receipts, disclosures, checkpoints and consistency: issued from a log, verified without one.

use super::site::{SECRET, Site, auditor};
use runstone_receipt::{Consistency, Policy, Receipt};
use runstone_tests::tamper::RawRows;
use serde_json::{Value, json};

/// Position of the first event of a person.
const ANN: &str = "1";

#[test]
fn a_receipt_verifies_where_there_is_no_log() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    Policy::parse(&site.read("policy")).unwrap();
    let told = site.done(["receipt", ANN, "-o", "ann.tlog-proof"]);
    assert_eq!(
        told,
        json!({"receipt": "ann.tlog-proof", "disclosure": null, "envelope": null, "position": 1})
    );
    // The same on stdout, and by the event's id.
    assert_eq!(
        site.run(["receipt", ANN]).stdout.as_bytes(),
        site.read("ann.tlog-proof")
    );
    let event = site.done(["show", ANN]);
    let by_id = site.run(["receipt", event["id"].as_str().unwrap()]);
    assert_eq!(by_id.stdout.as_bytes(), site.read("ann.tlog-proof"));

    let auditor = auditor(&[&policy, &site.path("ann.tlog-proof")]);
    let args = ["receipt", "verify", "ann.tlog-proof", "--policy", "policy"];
    let verified = auditor.done(args);
    assert_eq!(verified["valid"], true, "{verified}");
    assert_eq!(
        (&verified["position"], &verified["size"]),
        (&json!(1), &json!(41))
    );
    assert_eq!(verified["origin"], "example.com/log");
    assert_eq!(verified["signed_by"].as_array().unwrap().len(), 1);
    assert_eq!(verified["why"], Value::Null);
    for (name, value) in verified["header"].as_object().unwrap() {
        assert_eq!(*value, event[name.as_str()], "{name}");
    }
    let members = event.as_object().unwrap().keys();
    let without_data = members.filter(|name| *name != "data").count();
    assert_eq!(verified["header"].as_object().unwrap().len(), without_data);

    // People are told whose claim the time is; and nothing was made where there was nothing.
    let mut people = std::process::Command::new(runstone_tests::command::binary());
    people.current_dir(auditor.path("")).args(args);
    let text = String::from_utf8(people.output().unwrap().stdout).unwrap();
    assert!(text.starts_with("valid: ann.tlog-proof\n"), "{text}");
    assert!(text.contains("as the writer of the log claims"), "{text}");
    assert_eq!(std::fs::read_dir(auditor.path("")).unwrap().count(), 2);

    // From stdin too.
    let mut child = auditor.command(["receipt", "verify", "-", "--policy", "policy"]);
    child.stdin(std::fs::File::open(auditor.path("ann.tlog-proof")).unwrap());
    assert!(child.status().unwrap().success());
}

#[test]
fn what_is_altered_is_told_from_what_is_unknown() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    let receipt = site.keep("receipt", ["receipt", ANN]);
    let auditor = auditor(&[&policy, &receipt]);
    let verify =
        |args: &[&str]| auditor.run([&["receipt", "verify", "receipt", "--policy"], args].concat());
    let text = std::fs::read_to_string(&receipt).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let empty = lines.iter().position(|line| line.is_empty()).unwrap();
    for at in 0..lines.len() {
        let mut altered: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let line = &mut altered[at];
        // A letter in the middle of it; the last number of the index and of the size.
        let expected = if at == 0 {
            2
        } else if at == 2 || at == empty + 2 {
            line.pop();
            line.push('2');
            4
        } else if line.is_empty() {
            line.push('x');
            2
        } else {
            let middle = line.len() / 2;
            let other = if &line[middle..=middle] == "A" {
                "B"
            } else {
                "A"
            };
            line.replace_range(middle..=middle, other);
            if at == empty + 1 { 8 } else { 4 }
        };
        if at == 0 {
            line.push('x');
        }
        std::fs::write(auditor.path("receipt"), altered.join("\n") + "\n").unwrap();
        let ended = verify(&["policy"]);
        assert_eq!(ended.exit, expected, "line {at}: {ended:?}");
        let answer = &ended.lines[0];
        assert_eq!(
            (&answer["valid"], &answer["header"]),
            (&json!(false), &Value::Null)
        );
        assert!(
            answer["why"].is_string() && answer["code"].is_string(),
            "{answer}"
        );
    }
    std::fs::write(auditor.path("receipt"), &text.as_bytes()[..text.len() - 1]).unwrap();
    assert_eq!(verify(&["policy"]).exit, 2);

    // The receipt is as it was issued, and the policy does not help.
    std::fs::write(auditor.path("receipt"), &text).unwrap();
    assert_eq!(verify(&["policy"]).exit, 0);
    let other = Site::new();
    std::fs::copy(other.keep("policy", ["policy"]), auditor.path("other")).unwrap();
    let ended = verify(&["other"]);
    assert_eq!(
        (ended.exit, &ended.lines[0]["code"]),
        (8, &json!("note_not_signed"))
    );
    let ended = verify(&["none"]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (8, "policy_unreadable")
    );
    let ended = verify(&["receipt"]);
    assert_eq!((ended.exit, ended.code().as_str()), (8, "policy_malformed"));
    let ended = verify(&["policy", "--origin", "example.com/other"]);
    assert_eq!(
        (ended.exit, &ended.lines[0]["code"]),
        (8, &json!("checkpoint_origin"))
    );

    // Of several the worst counts, whatever comes first.
    let broken = text.replacen("index 1", "index 2", 1);
    std::fs::write(auditor.path("broken"), broken).unwrap();
    for files in [
        ["receipt", "broken", "policy"],
        ["policy", "broken", "receipt"],
    ] {
        let args = [
            "receipt", "verify", files[0], files[1], files[2], "--policy", "policy",
        ];
        let ended = auditor.run(args);
        assert_eq!((ended.exit, ended.lines.len()), (4, 3), "{ended:?}");
    }
    let ended = auditor.run(["receipt", "verify", "none", "receipt", "--policy", "policy"]);
    assert_eq!((ended.exit, ended.lines.len()), (5, 1), "{ended:?}");
}

#[test]
fn one_field_is_disclosed_and_nothing_else() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    let disclose =
        |fields: &[&str]| site.run([&["receipt", "3", "-o", "3.tlog-proof"], fields].concat());
    let told = disclose(&["--disclose", "amount", "--recipient", "auditor-7"]).done();
    assert_eq!(told["disclosure"], "3.disclosure.json");
    let auditor = auditor(&[
        &policy,
        &site.path("3.tlog-proof"),
        &site.path("3.disclosure.json"),
    ]);
    let disclosure = String::from_utf8(auditor.read("3.disclosure.json")).unwrap();
    assert!(
        !disclosure.contains("text") && !disclosure.contains(SECRET),
        "{disclosure}"
    );
    let verify = [
        "receipt",
        "verify",
        "3.tlog-proof",
        "--policy",
        "policy",
        "--disclosure",
    ];
    let verify = |file| auditor.run(verify.into_iter().chain([file]));
    let verified = verify("3.disclosure.json").done();
    assert_eq!(
        verified["disclosed"],
        json!([{"index": 0, "name": "amount", "value": 1}])
    );

    // Another value, and another event's.
    let altered = disclosure.replace("\"value\":\"MQ==\"", "\"value\":\"Mg==\"");
    assert_ne!(altered, disclosure);
    std::fs::write(auditor.path("altered"), altered).unwrap();
    let ended = verify("altered");
    assert_eq!(
        (ended.exit, &ended.lines[0]["disclosed"]),
        (4, &Value::Null),
        "{ended:?}"
    );
    site.done(["receipt", "5", "-o", "5.tlog-proof", "--disclose", "amount"]);
    std::fs::copy(site.path("5.disclosure.json"), auditor.path("5")).unwrap();
    assert_eq!(verify("5").exit, 4);
    assert_eq!(verify("policy").exit, 2);

    // It is on record who got what; what was refused is not.
    let recorded = |site: &Site| site.run(["log", "--type", "log.disclosed"]).lines;
    let data = &recorded(&site)[0]["data"];
    let expected = json!({"position": 3, "segments": [0], "of": 3, "recipient": "auditor-7"});
    assert_eq!(*data, expected);
    for (args, exit, code) in [
        (["--disclose", "other"], 1, "disclosure_unknown_field"),
        (
            ["--disclose-all", "--recipient=Ann Example"],
            2,
            "recipient",
        ),
    ] {
        let ended = disclose(&args);
        assert_eq!((ended.exit, ended.code().as_str()), (exit, code));
    }
    assert_eq!(recorded(&site).len(), 2);
    disclose(&["--disclose-all"]).done();
    std::fs::copy(site.path("3.disclosure.json"), auditor.path("whole")).unwrap();
    std::fs::copy(site.path("3.tlog-proof"), auditor.path("3.tlog-proof")).unwrap();
    let whole = verify("whole").done();
    let fields = whole["disclosed"].as_array().unwrap();
    let text = fields.iter().find(|field| field["name"] == "text").unwrap();
    let told = format!("{SECRET}, ann");
    assert_eq!((fields.len(), &text["value"]), (3, &json!(told)));
}

#[test]
fn many_receipts_are_made_under_one_checkpoint() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    let count = |args: &[&str]| {
        let ended = site.run([&["receipt", "-o", "out"], args].concat());
        assert_eq!(ended.exit, 0, "{ended:?}");
        for line in &ended.lines {
            let file = format!("out/{}.tlog-proof", line["position"]);
            assert_eq!(line["receipt"], file.as_str());
            let receipt = Receipt::parse(&site.read(&file)).unwrap();
            assert_eq!(line["position"], receipt.index());
            assert!(receipt.checkpoint().starts_with("example.com/log\n41\n"));
        }
        ended.lines.len()
    };
    assert_eq!(count(&["--all"]), 41);
    assert_eq!(count(&["--stream", "run-ann"]), 20);
    assert_eq!(
        count(&["--query", "type=data.noted;stream=run-bob", "--from", "39"]),
        1
    );
    assert_eq!(count(&["--from", "2", "--to", "4"]), 3);
    let mut args = vec!["receipt", "verify", "--policy", "../policy"];
    let names: Vec<String> = (0..41).map(|at| format!("{at}.tlog-proof")).collect();
    args.extend(names.iter().map(String::as_str));
    let mut command = site.command(args);
    let verified = command.current_dir(site.path("out")).output().unwrap();
    assert!(verified.status.success() && policy.exists());

    // What cannot be disclosed is told, and the rest goes on.
    site.done([
        "append",
        "--type",
        "a.b",
        "--stream",
        "s",
        "--scope",
        "ann",
        "--data",
        "{\"x\":1}",
    ]);
    let ended = site.run([
        "receipt",
        "--from",
        "40",
        "--to",
        "41",
        "-o",
        "out",
        "--disclose",
        "x",
    ]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (1, "disclosure_unknown_field")
    );
    assert!(ended.stderr.contains("event 40"), "{ended:?}");
    assert_eq!(ended.lines[0]["disclosure"], Value::Null);
    assert_eq!(ended.lines[1]["disclosure"], "out/41.disclosure.json");

    for args in [
        &["receipt"][..],
        &["receipt", "--all"],
        &["receipt", "verify", "a"],
    ] {
        assert_eq!(site.run(args.iter().copied()).exit, 2, "{args:?}");
    }
    assert_eq!(site.run(["receipt", "4000"]).exit, 5);
}

#[test]
fn an_envelope_is_the_one_that_is_committed_to() {
    for plain in [false, true] {
        let site = Site::empty();
        site.done(if plain {
            vec!["init", "--plain"]
        } else {
            vec!["init"]
        });
        site.fill();
        let policy = site.keep("policy", ["policy"]);
        let receipt = site.keep("receipt", ["receipt", "2"]);
        let log_id = site.done(["show", "0"])["data"]["log_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let auditor = auditor(&[&policy, &receipt]);
        let rows = RawRows::open(&site.log()).unwrap();
        let chunk = rows.chunk(2).unwrap();
        let at = usize::try_from(2 - chunk.first).unwrap();
        let mut envelope = chunk.events[at].1.clone();
        std::fs::write(auditor.path("envelope"), &envelope).unwrap();
        *envelope.last_mut().unwrap() ^= 1;
        std::fs::write(auditor.path("altered"), &envelope).unwrap();
        let verify = |more: &[&str]| {
            let args = [
                "receipt",
                "verify",
                "receipt",
                "--policy",
                "policy",
                "--envelope",
            ];
            auditor.run([&args[..], more].concat())
        };
        let verified = verify(&["envelope", "--log-id", &log_id]).done();
        let content = if plain {
            json!({"amount": 0, "text": format!("{SECRET}, bob"), "note": null})
        } else {
            Value::Null
        };
        assert_eq!(verified["envelope"], true);
        assert_eq!(verified["content"], content);
        assert_eq!(verify(&["altered", "--log-id", &log_id]).exit, 4);
        assert_eq!(verify(&["altered"]).exit, 4);
        // Without the id the content of a plain one is checked, and its stored form is not.
        let verified = verify(&["envelope"]).done();
        assert_eq!(verified["envelope"], !plain);
        assert_eq!(verified["content"], content);
        assert_eq!(verify(&["envelope", "--log-id", "xyz"]).exit, 2);
        std::fs::write(auditor.path("altered"), b"\0short").unwrap();
        assert_eq!(verify(&["altered"]).exit, 4);
        assert_eq!(verify(&["altered", "--log-id", &log_id]).exit, 4);
    }
}

#[test]
fn an_envelope_leaves_the_house_and_is_recorded_where_it_shows_content() {
    let envelope = ["receipt", "2", "-o", "2.tlog-proof", "--envelope"];
    for plain in [false, true] {
        let site = Site::empty();
        site.done(["init", "--plain"].into_iter().take(1 + usize::from(plain)));
        site.fill();
        let told = site.done(envelope.into_iter().chain(["--recipient", "auditor-7"]));
        assert_eq!(told["envelope"], "2.envelope");
        let finds = |file: &str| {
            let bytes = site.read(file);
            let mut windows = bytes.windows(SECRET.len());
            windows.any(|window| window == SECRET.as_bytes())
        };
        assert_eq!(finds("2.envelope"), plain);
        let rows = RawRows::open(&site.log()).unwrap();
        let chunk = rows.chunk(2).unwrap();
        let at = usize::try_from(2 - chunk.first).unwrap();
        assert_eq!(site.read("2.envelope"), chunk.events[at].1);
        drop(rows);
        let recorded = site.run(["log", "--type", "log.disclosed"]).lines;
        let recorded: Vec<&Value> = recorded.iter().map(|line| &line["data"]).collect();
        let expected =
            json!({"position": 2, "segments": [0, 1, 2], "of": 3, "recipient": "auditor-7"});
        let expected = if plain { vec![&expected] } else { Vec::new() };
        assert_eq!(recorded, expected);
        // What the log says of itself is nobody's secret.
        site.done(["receipt", "0", "-o", "0.tlog-proof", "--envelope"]);
        let policy = site.keep("policy", ["policy"]);
        let genesis = ["0.tlog-proof", "0.envelope"].map(|name| site.path(name));
        let auditor = auditor(&[&policy, &genesis[0], &genesis[1]]);
        let args = ["receipt", "verify", "0.tlog-proof", "--policy", "policy"];
        let verified = auditor.done(args.into_iter().chain(["--envelope", "0.envelope"]));
        assert_eq!(verified["content"], site.done(["show", "0"])["data"]);
        assert_eq!(
            site.run(["log", "--type", "log.disclosed"]).lines.len(),
            expected.len()
        );
        // Content that is sealed is not proven by an envelope that claims to be plain.
        if !plain {
            let mut forged = auditor.read("0.envelope");
            let args = ["receipt", "verify", "2.tlog-proof", "--policy", "policy"];
            std::fs::copy(site.path("2.tlog-proof"), auditor.path("2.tlog-proof")).unwrap();
            std::fs::copy(site.keep("now", ["policy"]), auditor.path("policy")).unwrap();
            forged[0] = 0;
            std::fs::write(auditor.path("forged"), forged).unwrap();
            let ended = auditor.run(args.into_iter().chain(["--envelope", "forged"]));
            assert_eq!(
                (ended.exit, &ended.lines[0]["content"]),
                (4, &Value::Null),
                "{ended:?}"
            );
        }
        site.done(["erase", "bob", "--basis", "b"]);
        let ended = site.run(envelope);
        assert_eq!((ended.exit, ended.code().as_str()), (1, "erased"));
    }
}

#[test]
fn checkpoints_lead_to_later_ones() {
    let site = Site::new();
    let policy = site.keep("policy", ["policy"]);
    let old = site.keep("old", ["checkpoint"]);
    site.fill();
    let told = site.done(["consistency", "old", "-o", "grown"]);
    assert_eq!(told, json!({"file": "grown", "old_size": 41, "size": 81}));
    Consistency::parse(&site.read("grown")).unwrap();
    assert_eq!(
        site.run(["consistency", "old"]).stdout.as_bytes(),
        site.read("grown")
    );
    let auditor = auditor(&[&policy, &old, &site.path("grown")]);
    let grown = [
        "consistency",
        "verify",
        "grown",
        "--policy",
        "policy",
        "--old",
    ];
    let verify = |old| auditor.run(grown.into_iter().chain([old]));
    let verified = verify("old").done();
    assert_eq!(verified["valid"], true);
    assert_eq!(
        (&verified["old_size"], &verified["size"]),
        (&json!(41), &json!(81))
    );
    let checkpoint = auditor.done(["checkpoint", "verify", "old", "--policy", "policy"]);
    assert_eq!(
        (&checkpoint["valid"], &checkpoint["size"]),
        (&json!(true), &json!(41))
    );

    // The wrong start, no start, and a proof that does not prove.
    std::fs::copy(site.keep("now", ["checkpoint"]), auditor.path("now")).unwrap();
    assert_eq!(verify("now").exit, 8);
    assert_eq!(verify("policy").exit, 2);
    let text = String::from_utf8(auditor.read("grown")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let hash = if lines[1].starts_with('A') { "B" } else { "A" };
    lines[1].replace_range(0..1, hash);
    std::fs::write(auditor.path("grown"), lines.join("\n") + "\n").unwrap();
    assert_eq!(verify("old").exit, 4);
    let forged = String::from_utf8(auditor.read("old"))
        .unwrap()
        .replace("\n41\n", "\n40\n");
    std::fs::write(auditor.path("forged"), forged).unwrap();
    let args = ["checkpoint", "verify", "forged", "--policy", "policy"];
    assert_eq!(auditor.run(args).exit, 4);

    // A checkpoint of another log, and one from the future of this one.
    let other = Site::new();
    std::fs::copy(other.keep("theirs", ["checkpoint"]), site.path("theirs")).unwrap();
    let ended = site.run(["consistency", "theirs"]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (8, "foreign_checkpoint")
    );
    assert_eq!(site.run(["consistency", "none"]).exit, 5);
}
