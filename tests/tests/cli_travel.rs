//! `fork`, `rollback` and `state` by the real command.

use runstone_tests::command::Runstone;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};

struct Site {
    folder: tempfile::TempDir,
    command: Runstone,
}

impl Site {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let command = Runstone::on(folder.path().join("log"));
        let cred = folder.path().join("ann.cred");
        command.values(["init"]);
        let cred = cred.to_string_lossy().into_owned();
        let add = [
            "keys",
            "principal",
            "add",
            "ann",
            "--authority",
            "human",
            "-o",
            &cred,
        ];
        command.values(add);
        Ok(Self { folder, command })
    }

    fn cred(&self) -> String {
        let cred = self.folder.path().join("ann.cred");
        cred.to_string_lossy().into_owned()
    }

    fn one(&self, words: &[&str]) -> Value {
        self.command.value(words)
    }

    fn exit(&self, words: &[&str]) -> i32 {
        self.command.ended(words).0
    }
}

fn begun(site: &Site) -> Outcome<[u64; 3]> {
    let log = runstone::Runstone::open(site.folder.path().join("log"))?;
    let run = log.run("bot").resume_or_start_blocking("run")?;
    let put = |n: u64| run.session().append_blocking("/list", &n);
    let positions = [put(0)?.get(), put(1)?.get(), put(2)?.get()];
    run.finish_blocking(runstone::Status::Success)?;
    log.close_blocking()?;
    Ok(positions)
}

#[test]
fn a_run_is_forked_rolled_back_and_shown() -> Outcome {
    let site = Site::new()?;
    let [first, second, _] = begun(&site)?;
    let at = second.to_string();
    let fork = site.one(&["fork", "run", "--at", &at]);
    let name = format!("run/fork-{second}");
    assert_eq!(fork, json!({"stream": name, "parent": "run", "at": second}));
    let again = site.one(&["fork", "run", "--at", &at]);
    assert_eq!(again["stream"], format!("{name}-2"));
    let named = site.one(&[
        "fork",
        "run",
        "--revision",
        "2",
        "--as-stream",
        "b",
        "--name",
        "try",
    ]);
    assert_eq!(named, json!({"stream": "b", "parent": "run", "at": second}));
    let state = site.one(&["state", "b"]);
    assert_eq!(state["session"], json!({"list": [0, 1]}));
    let from = json!({"stream": "run", "at": second});
    let all = site.command.values(["runs"]);
    let of = |stream: &str| all.iter().find(|run| run["stream"] == stream).cloned();
    let b = of("b").ok_or("it is listed")?;
    assert_eq!(
        (&b["forked_from"], &b["status"], &b["name"]),
        (&from, &json!("forked"), &json!("try"))
    );
    assert_eq!(site.one(&["run", "b"])["forked_from"], from);
    assert_eq!(of("run").ok_or("it is listed")?["forked_from"], Value::Null);

    // It takes a person, or who holds it.
    let to = first.to_string();
    let back = ["rollback", "run", "--to", &to];
    assert_eq!(site.exit(&back), 8);
    let cred = site.cred();
    let told = site.one(&[&back[..], &["--reason", "wrong turn", "--cred", &cred]].concat());
    assert_eq!(
        (&told["stream"], &told["to"]),
        (&json!("run"), &json!(first))
    );
    assert_eq!(site.one(&["state", "run"])["session"], json!({"list": [0]}));
    let then = site.one(&["state", "run", "--revision", "3"]);
    assert_eq!(then["session"], json!({"list": [0, 1, 2]}));
    assert_eq!(site.one(&["run", "run"])["status"], "rolled_back");
    let timeline = site.one(&["run", "run"])["timeline"].clone();
    let acts = timeline.as_array().ok_or("it is a list")?;
    let act = acts.last().ok_or("something was done")?;
    assert_eq!(
        (&act["act"], &act["how"]),
        (&json!("run.rolled_back"), &json!(format!("to {first}")))
    );

    // What is not there is said.
    assert_eq!(site.exit(&["fork", "none", "--at", &at]), 5);
    assert_eq!(site.exit(&["fork", "run", "--at", "9999"]), 5);
    assert_eq!(
        site.exit(&["fork", "run", "--at", &to, "--as-stream", "b"]),
        3
    );
    assert_eq!(site.exit(&["fork", "run"]), 2);
    assert_eq!(
        site.exit(&["rollback", "run", "--to", "0", "--cred", &cred]),
        5
    );
    assert_eq!(
        site.exit(&["rollback", "run", "--to", &to, "--fence", "1"]),
        3
    );
    Ok(())
}
