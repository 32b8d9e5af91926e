//! Key-encryption keys that are held elsewhere: in the environment, or by a command.

use super::site::{Ended, SECRET, Site};
use serde_json::{Value, json};

/// Stands for a key management service: `kms/number` names the newest key, `kms/asked` lists the
/// requests, `kms/destroy` is its answer to that, and `kms/kill` the request at which it kills who asks.
pub(crate) const KMS: &str = r#"
IFS= read -r line
field() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
op=$(field op)
echo "$op" >> kms/asked
if [ "$op" = create ]; then echo $(($(cat kms/number) + 1)) > kms/number; fi
if [ "$op" = "$(cat kms/kill)" ]; then kill -9 $PPID; fi
case $op in
    current | create) printf '{"kek_id":"kms-%s"}' "$(cat kms/number)" ;;
    wrap | unwrap) printf '{"data":"%s"}' "$(field data)" ;;
    destroy) cat kms/destroy ;;
esac
"#;

const INIT: [&str; 3] = ["init", "--kek", "command:sh kms/kms.sh"];

/// A log whose key-encryption keys a command holds.
pub(crate) fn with_kms() -> Site {
    let site = Site::empty();
    std::fs::create_dir(site.path("kms")).unwrap();
    for (name, text) in [
        ("kms.sh", KMS),
        ("number", "1"),
        ("asked", ""),
        ("kill", "nothing"),
        ("destroy", "{\"destroyed\":\"proven\"}"),
    ] {
        std::fs::write(site.path("kms").join(name), text).unwrap();
    }
    site.done(INIT);
    site.fill();
    site
}

impl Site {
    pub(crate) fn kms(&self, name: &str, text: &str) {
        std::fs::write(self.path("kms").join(name), text).unwrap();
    }

    /// The ids of the key-encryption keys in use.
    pub(crate) fn keks(&self) -> Vec<String> {
        let keys = self.run(["keys", "list"]).lines;
        let keks = keys.iter().filter_map(|key| key["kek_id"].as_str());
        let mut keks: Vec<String> = keks.map(str::to_owned).collect();
        keks.dedup();
        keks
    }
}

#[test]
fn a_key_in_the_environment_stays_there() {
    let key = "01".repeat(32);
    for more in [&[][..], &["--plain"]] {
        let mut site = Site::empty();
        let init = || {
            ["init", "--kek", "env:KEY"]
                .into_iter()
                .chain(more.iter().copied())
        };
        // Not set, or no key: nothing is made, and with it the same command works.
        let is_bare = |site: &Site| std::fs::read_dir(site.path("")).unwrap().count() == 0;
        let ended = site.run(init());
        assert_eq!(
            (ended.exit, ended.code().as_str()),
            (8, "key_provider_unavailable")
        );
        assert!(is_bare(&site));
        site.variables = vec![("KEY", "hunter2".to_owned())];
        let ended = site.run(init());
        assert_eq!(
            (ended.exit, ended.code().as_str()),
            (8, "key_provider_bad_answer")
        );
        assert!(is_bare(&site) && !ended.stderr.contains("hunter2"));
        site.variables = vec![("KEY", key.clone())];
        site.done(init());
        site.fill();
        assert_eq!(site.verified(), 0);
        let keks = site.keks();
        assert!(keks.len() == 1 && keks[0].starts_with("env-"), "{keks:?}");
        let ring = site.read("log.redb.keys/ring");
        assert!(!String::from_utf8_lossy(&ring).contains(&key));

        site.variables.clear();
        let ended = site.run(["log", "--all"]);
        assert_eq!(
            (ended.exit, ended.code().as_str()),
            (8, "key_provider_unavailable")
        );
        site.variables = vec![("KEY", "02".repeat(32))];
        assert_eq!(site.run(["log", "--all"]).exit, 8);
    }
    for kek in ["", "env:", "env:A=B", "command:", "file:ring"] {
        assert_eq!(Site::empty().run(["init", "--kek", kek]).exit, 2, "{kek}");
    }
}

#[test]
fn a_command_holds_the_key() {
    let site = with_kms();
    assert_eq!(site.keks(), ["kms-1"]);
    assert_eq!(site.verified(), 0);
    let told = site.done(["keys", "rotate"]);
    assert_eq!(
        told["destroyed"],
        json!([{"kek_id": "kms-1", "destroyed": "proven"}])
    );
    assert_eq!(site.keks(), ["kms-2"]);
    let told = site.done(["erase", "ann", "--basis", "b"]);
    assert_eq!(told["destroyed"], "proven");
    assert_eq!(site.verified(), 0);
    let shown = site.run(["log", "--stream", "run-bob"]).stdout;
    assert_eq!(shown.matches(SECRET).count(), 20);

    // Nothing is made where there is no such command.
    let site = Site::empty();
    let ended = site.run(["init", "--kek", "command:/no/such/command"]);
    assert_eq!(
        (ended.exit, ended.code().as_str()),
        (8, "key_provider_unavailable")
    );
    assert_eq!(std::fs::read_dir(site.path("")).unwrap().count(), 0);
}

/// A service that does not know a key cannot hold it: an erasure does not wait for it, and does not
/// claim that somebody vouches.
#[test]
fn a_key_that_its_provider_does_not_know_is_no_reason_to_wait() {
    let site = with_kms();
    let state = |site: &Site| -> Value { site.done(["erase", "--list"])["state"].clone() };
    let pending = |ended: &Ended| {
        assert_ne!(ended.exit, 0, "{ended:?}");
        assert_eq!(state(&site), "pending");
    };
    site.kms("destroy", "{\"destroyed\":\"unsupported\"}");
    let ended = site.run(["erase", "ann", "--basis", "b"]);
    assert_eq!(ended.code(), "erasure_pending");
    pending(&ended);
    // An outage is another thing.
    site.kms("destroy", "{\"error\":\"unavailable\"}");
    pending(&site.run(["erase", "--resume"]));
    site.kms("destroy", "{\"error\":\"unknown_kek\"}");
    let told = site.done(["erase", "--resume"]);
    assert_eq!(
        (&told["state"], &told["destroyed"]),
        (&json!("complete"), &json!("best_effort"))
    );
    assert_eq!(site.verified(), 0);
    let told = site.done(["keys", "rotate"]);
    assert_eq!(told["destroyed"][0]["destroyed"], "best_effort");
    assert_eq!(told["remaining"], json!([]));
}
