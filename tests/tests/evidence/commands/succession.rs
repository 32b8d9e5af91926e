//! Signing keys, copies and checkpoints kept elsewhere.

use super::site::{Site, auditor};
use runstone_receipt::Policy;
use serde_json::{Value, json};

impl Site {
    /// Who signs, who does too, who did, and the events that say so.
    fn signers(&self) -> Vec<(&'static str, Value)> {
        let keys = self.run(["keys", "list"]).lines;
        let keys = keys.iter().filter(|key| key["kind"] == "signing");
        let keys = keys.map(|key| {
            let vkey = key["vkey"].as_str().unwrap();
            assert_eq!(vkey.split('+').nth(1), key["key_id"].as_str());
            let state = ["current", "overlap", "retired"];
            let state = state.into_iter().find(|state| key["state"] == *state);
            (state.unwrap(), key["recorded"].clone())
        });
        keys.collect()
    }
}

#[test]
fn signing_keys_follow_each_other_and_old_receipts_stay_good() {
    let site = Site::new();
    let former = site.keep("former", ["policy"]);
    let receipt = site.keep("receipt", ["receipt", "1"]);
    let ended = site.run(["keys", "rotate-signing", "--end"]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (8, "no_signing_overlap")
    );
    assert_eq!(site.doctor("signing key").0, "ok");
    let told = site.done(["keys", "rotate-signing"]);
    assert_ne!(told["old"], told["new"]);
    let overlap = [("overlap", json!(0)), ("current", json!(41))];
    assert_eq!(site.signers(), overlap);
    let keys = site.run(["keys", "list"]).lines;
    let vkeys = keys.iter().filter_map(|key| key["vkey"].as_str());
    assert_eq!(vkeys.collect::<Vec<_>>(), [&told["old"], &told["new"]]);
    assert_eq!(site.doctor("signing key").0, "warn");
    let ended = site.run(["keys", "rotate-signing"]);
    assert_eq!(ended.code(), "signing_overlap");
    let both = site.keep("both", ["checkpoint"]);
    let ended = site.done(["keys", "rotate-signing", "--end"]);
    assert_eq!(ended["vkey"], told["new"]);
    assert_eq!(
        site.signers(),
        [("retired", json!(0)), ("current", json!(41))]
    );
    // People see them too.
    let mut people = std::process::Command::new(runstone_tests::command::binary());
    people.args(["--log", "log.redb", "keys", "list"]);
    let text = people.current_dir(site.path("")).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    let new = told["new"].as_str().unwrap();
    assert!(text.contains("retired") && text.contains(new), "{text}");
    assert_eq!(site.doctor("signing key").0, "ok");
    let alone = site.keep("alone", ["receipt", "1"]);
    let now = site.keep("now", ["policy"]);
    assert_eq!(
        std::fs::read_to_string(&now)
            .unwrap()
            .matches("\nlog ")
            .count(),
        1
    );

    let auditor = auditor(&[&former, &receipt, &both, &alone, &now]);
    let verify = |file, policy| auditor.run(["receipt", "verify", file, "--policy", policy]);
    assert_eq!(
        (
            verify("receipt", "former").exit,
            verify("receipt", "now").exit
        ),
        (0, 0)
    );
    assert_eq!(
        (verify("alone", "former").exit, verify("alone", "now").exit),
        (8, 0)
    );
    let both = |policy| auditor.done(["checkpoint", "verify", "both", "--policy", policy]);
    assert_eq!(both("former")["signed_by"], json!([told["old"]]));
    assert_eq!(both("now")["signed_by"].as_array().unwrap().len(), 2);
    assert_eq!(site.verified(), 0);
}

#[test]
fn a_lost_log_is_succeeded_by_its_backup() {
    let site = Site::new();
    let append = || site.run(["append", "--type", "a.b", "--stream", "s"]);
    site.done(["keys", "backup", "keys"]);
    let early = site.keep("early", ["checkpoint"]);
    site.done(["backup", "copy"]);
    assert_eq!(site.signers(), [("current", json!(0))]);
    let former = site.keep("former", ["policy"]);
    assert_eq!(append().exit, 0);
    site.keep("newest", ["checkpoint"]);
    let ended = site.run(["restore", "copy"]);
    assert_eq!((ended.exit, ended.code().as_str()), (2, "log_exists"));

    std::fs::remove_file(site.log()).unwrap();
    std::fs::remove_dir_all(site.path("log.redb.keys")).unwrap();
    let told = site.done(["restore", "copy"]);
    assert_eq!(told, json!({"log": "log.redb", "from": "copy"}));
    assert_eq!(site.run(["stats"]).exit, 8);
    assert_eq!(
        site.done(["keys", "restore", "keys"]),
        json!({"keys": "log.redb.keys"})
    );
    assert_eq!(
        site.run(["keys", "restore", "keys"]).code(),
        "keyring_exists"
    );
    assert_eq!(site.verified(), 0);
    assert_eq!(site.doctor("replica").0, "warn");
    let ended = append();
    assert_eq!((ended.exit, ended.code().as_str()), (7, "read_only"));

    // LOG.head knows of more than there is, and so does whoever kept a checkpoint.
    let ended = site.run(["epoch", "start"]);
    assert_eq!((ended.exit, ended.code().as_str()), (4, "log_behind"));
    std::fs::remove_file(site.path("log.redb.head")).unwrap();
    let ended = site.run(["epoch", "start", "--known", "newest"]);
    assert_eq!((ended.exit, ended.code().as_str()), (4, "log_behind"));
    let start = [
        "epoch",
        "start",
        "--known",
        "newest",
        "--accept-loss",
        "--origin",
    ];
    let told = site.done(start.into_iter().chain(["example.com/next"]));
    assert_eq!((&told["epoch"], &told["position"]), (&json!(2), &json!(41)));
    assert_eq!(
        (&told["origin"], &told["known_size"]),
        (&json!("example.com/next"), &json!(42))
    );
    assert_eq!(append().exit, 0);
    assert_eq!(
        site.signers(),
        [("retired", json!(0)), ("current", json!(41))]
    );
    assert_eq!(site.doctor("replica").0, "ok");
    assert_eq!(site.verified(), 0);

    // An auditor of the former epoch follows, if he is told to: the policy has both keys.
    let next = site.keep("next", ["policy"]);
    assert_eq!(Policy::parse(&site.read("next")).unwrap().logs().len(), 2);
    let text = std::fs::read_to_string(&former).unwrap();
    let former_key = text.lines().find(|line| line.starts_with("log ")).unwrap();
    assert!(std::fs::read_to_string(&next).unwrap().contains(former_key));
    let grown = site.keep("grown", ["consistency", "early"]);
    let auditor = auditor(&[&early, &former, &next, &grown]);
    let verify = |policy, more: &[&str]| {
        let args = [
            "consistency",
            "verify",
            "grown",
            "--old",
            "early",
            "--policy",
            policy,
        ];
        auditor.run([&args[..], more].concat()).exit
    };
    assert_eq!(verify("next", &[]), 8);
    assert_eq!(verify("former", &["--across-epochs"]), 8);
    assert_eq!(verify("next", &["--across-epochs"]), 0);
    // What only the former epoch knew leads nowhere.
    let ended = site.run(["consistency", "newest"]);
    assert_eq!((ended.exit, ended.code().as_str()), (4, "log_diverged"));
}

/// Keeps what it is given in a file beside it, and a list of what it was asked.
const KEEPER: &str = r#"
echo "$2" >> verbs
case "$2" in
    put) cat > "$1.new" && mv "$1.new" "$1" ;;
    get) if [ -e "$1" ]; then cat "$1"; fi ;;
esac
"#;

#[test]
fn a_command_keeps_checkpoints_and_notices_a_rollback() {
    let mut site = Site::new();
    std::fs::create_dir(site.path("else where")).unwrap();
    std::fs::write(site.path("else where/keep.sh"), KEEPER).unwrap();
    // While it is open nobody else writes it: opening it anew for an erasure asks nobody.
    let words = ["--checkpoint-command", "sh 'else where/keep.sh' first"];
    let erase = ["erase", "ann", "--basis", "b"];
    site.done(erase.into_iter().chain(words));
    let verbs = String::from_utf8(site.read("verbs")).unwrap();
    assert_eq!(verbs.matches("get").count(), 1, "{verbs}");
    let append = |site: &Site, command: &[&str]| {
        let args = ["append", "--type", "a.b", "--stream", "s"];
        site.run([&args[..], command].concat())
    };
    let words = ["--checkpoint-command", "sh 'else where/keep.sh' kept"];
    assert_eq!(append(&site, &words).exit, 0);
    assert_eq!(
        site.read("kept"),
        site.run(["checkpoint"]).stdout.as_bytes()
    );
    let warned = site.doctor("checkpoint copies");
    let copied = ["log.redb", "log.redb.head"];
    for file in copied {
        std::fs::copy(site.path(file), site.path(&format!("{file}.old"))).unwrap();
    }

    // In a variable, one a line.
    let commands = "sh 'else where/keep.sh' kept\n[\"sh\", \"else where/keep.sh\", \"kept too\"]";
    site.variables = vec![("RUNSTONE_CHECKPOINT_COMMANDS", commands.to_owned())];
    assert_eq!(append(&site, &[]).exit, 0);
    assert_eq!(site.read("kept"), site.read("kept too"));
    assert_eq!(warned.0, "warn");
    assert_eq!(
        site.doctor("checkpoint copies"),
        ("ok".to_owned(), "2 configured".to_owned())
    );

    for file in copied {
        std::fs::copy(site.path(&format!("{file}.old")), site.path(file)).unwrap();
    }
    let ended = append(&site, &[]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (4, "log_behind"),
        "{ended:?}"
    );
    site.variables.clear();
    assert_eq!(append(&site, &["--checkpoint-command", "'"]).exit, 2);
    assert_eq!(append(&site, &[]).exit, 0);
}
