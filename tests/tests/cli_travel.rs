//! `fork`, `rollback` and `state` by the real command.

use runstone_tests::command::binary;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Outcome<Self> {
        let site = Self {
            folder: tempfile::tempdir()?,
        };
        let cred = site.file("ann.cred");
        let log = site.file("log");
        let made = Command::new(binary())
            .arg("--log")
            .arg(&log)
            .args(["init", "--human", "ann"])
            .current_dir(site.folder.path())
            .output()?;
        assert!(made.status.success(), "{made:?}");
        assert!(
            cred.exists() || site.file("log.ann.cred").exists(),
            "{made:?}"
        );
        Ok(site)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Outcome<Output> {
        let mut command = Command::new(binary());
        command.arg("--log").arg(self.file("log")).args(words);
        Ok(command.current_dir(self.folder.path()).output()?)
    }

    /// What is answered, and the exit code.
    fn json(&self, words: &[&str]) -> Outcome<(i32, Vec<Value>)> {
        let output = self.run(&[words, &["--json"]].concat())?;
        let told = if output.status.success() {
            &output.stdout
        } else {
            &output.stderr
        };
        let lines = String::from_utf8(told.clone())?;
        let values = lines
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        Ok((output.status.code().unwrap_or(-1), values))
    }

    fn one(&self, words: &[&str]) -> Outcome<Value> {
        let (exit, mut all) = self.json(words)?;
        assert_eq!(exit, 0, "{words:?}: {all:?}");
        Ok(all.pop().unwrap_or_default())
    }
}

fn begun(site: &Site) -> Outcome<[u64; 3]> {
    let log = runstone::Runstone::open(site.file("log"))?;
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
    let fork = site.one(&["fork", "run", "--at", &at])?;
    let name = format!("run/fork-{second}");
    assert_eq!(fork, json!({"stream": name, "parent": "run", "at": second}));
    let again = site.one(&["fork", "run", "--at", &at])?;
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
    ])?;
    assert_eq!(named, json!({"stream": "b", "parent": "run", "at": second}));
    let state = site.one(&["state", "b"])?;
    assert_eq!(state["session"], json!({"list": [0, 1]}));
    let from = json!({"stream": "run", "at": second});
    let (_, all) = site.json(&["runs"])?;
    let of = |stream: &str| all.iter().find(|run| run["stream"] == stream).cloned();
    let b = of("b").ok_or("it is listed")?;
    assert_eq!(
        (&b["forked_from"], &b["status"], &b["name"]),
        (&from, &json!("forked"), &json!("try"))
    );
    assert_eq!(site.one(&["run", "b"])?["forked_from"], from);
    assert_eq!(of("run").ok_or("it is listed")?["forked_from"], Value::Null);

    // It takes a person, or who holds it.
    let to = first.to_string();
    let back = ["rollback", "run", "--to", &to];
    assert_eq!(site.json(&back)?.0, 8);
    let cred = std::fs::read_dir(site.folder.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("ann"))
        .ok_or("there is a credential")?;
    let cred = cred.to_string_lossy().into_owned();
    let told = site.one(&[&back[..], &["--reason", "wrong turn", "--cred", &cred]].concat())?;
    assert_eq!(
        (&told["stream"], &told["to"]),
        (&json!("run"), &json!(first))
    );
    assert_eq!(
        site.one(&["state", "run"])?["session"],
        json!({"list": [0]})
    );
    let then = site.one(&["state", "run", "--revision", "3"])?;
    assert_eq!(then["session"], json!({"list": [0, 1, 2]}));
    assert_eq!(site.one(&["run", "run"])?["status"], "rolled_back");
    let timeline = site.one(&["run", "run"])?["timeline"].clone();
    let acts = timeline.as_array().ok_or("it is a list")?;
    let act = acts.last().ok_or("something was done")?;
    assert_eq!(
        (&act["act"], &act["how"]),
        (&json!("run.rolled_back"), &json!(format!("to {first}")))
    );

    // What is not there is said.
    assert_eq!(site.json(&["fork", "none", "--at", &at])?.0, 5);
    assert_eq!(site.json(&["fork", "run", "--at", "9999"])?.0, 5);
    assert_eq!(
        site.json(&["fork", "run", "--at", &to, "--as-stream", "b"])?
            .0,
        3
    );
    assert_eq!(site.json(&["fork", "run"])?.0, 2);
    assert_eq!(
        site.json(&["rollback", "run", "--to", "0", "--cred", &cred])?
            .0,
        5
    );
    assert_eq!(
        site.json(&["rollback", "run", "--to", &to, "--fence", "1"])?
            .0,
        3
    );
    Ok(())
}
