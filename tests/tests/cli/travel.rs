//! `fork`, `rollback` and `state` by the real command.

use runstone_tests::command::{Runstone, recordings};
use runstone_tests::held::Site as Held;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::path::Path;

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
    begun_in(&site.folder.path().join("log"))
}

fn begun_in(log: &Path) -> Outcome<[u64; 3]> {
    let log = runstone::Runstone::open(log)?;
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

/// What another process holds is read from it, and answers the same.
#[test]
fn states_and_what_differs_are_the_same_from_afar() -> Outcome {
    let site = Held::new()?;
    let command = Runstone::on(&site.log);
    command.values(["init"]);
    let [first, second, third] = begun_in(&site.log)?.map(|position| position.to_string());
    let asked = || {
        let diff = |from: &str, to: &str| command.ended(&["diff", "run", from, to]);
        let diffs = [(&first, &third), (&second, &second), (&third, &first)];
        let states = [&first, &third].map(|at| command.value(["state", "run", "--at", at]));
        (diffs.map(|(from, to)| diff(from, to)), states)
    };
    let alone = asked();
    let holder = site.holder()?;
    let afar = asked();
    holder.kill()?;
    assert_eq!(afar, alone);
    // Each is the patch that makes one state of the other.
    let ([forth, same, back], [early, late]) = afar;
    assert_eq!((forth.0, same.0, back.0), (1, 0, 1));
    for ((_, patch, _), from, to) in [(forth, &early, &late), (back, &late, &early)] {
        let patch: json_patch::Patch = serde_json::from_value(patch[0].clone())?;
        let mut patched = from.clone();
        json_patch::patch(&mut patched, &patch)?;
        assert_eq!(patched, *to);
    }
    Ok(())
}

#[test]
fn what_differs_between_points_and_between_runs() -> Outcome {
    let site = Site::new()?;
    let [first, _, third] = begun(&site)?;
    let (a, b) = (first.to_string(), third.to_string());
    let (exit, patch, _) = site.command.ended(&["diff", "run", &a, &b]);
    let patch = patch
        .first()
        .and_then(Value::as_array)
        .cloned()
        .ok_or("it is a patch")?;
    assert_eq!(exit, 1);
    // It makes what `state` answers there of what it answers here.
    let added: Vec<_> = patch
        .iter()
        .filter(|change| {
            change["path"]
                .as_str()
                .is_some_and(|path| path.starts_with("/session"))
        })
        .collect();
    let one = json!({"op": "add", "path": "/session/list/1", "value": 1});
    let two = json!({"op": "add", "path": "/session/list/2", "value": 2});
    assert_eq!(added, [&one, &two]);
    assert_eq!(site.exit(&["diff", "run", &a, &a]), 0);
    assert_eq!(site.exit(&["diff", "run", "1", "3", "--revision"]), 1);
    let (exit, shown, _) = site.command.shown(&["diff", "run", &a, &b]);
    assert_eq!(exit, 1);
    assert!(shown.contains("/session/list/1\n  + 1\n"), "{shown}");
    assert!(!shown.contains("/position\n"), "{shown}");

    let log = runstone::Runstone::open(site.folder.path().join("log"))?;
    let long = "x".repeat(400);
    for (id, text) in [("a", "short"), ("b", long.as_str())] {
        let run = log.run("bot").resume_or_start_blocking(id)?;
        for (node, output) in [("plan", "same"), ("act", text)] {
            run.step(node)
                .run_blocking(|| Ok::<_, std::io::Error>(output.to_owned()))?;
        }
    }
    log.close_blocking()?;
    let (exit, told, _) = site.command.ended(&["diff", "a", "b"]);
    let told = &told[0];
    assert_eq!((exit, &told["same"]), (1, &json!(false)));
    let at = [
        &told["first"]["kind"],
        &told["first"]["node"],
        &told["first"]["attempt"],
    ];
    assert_eq!(at, [&json!("step"), &json!("act"), &json!(1)]);
    assert_eq!(told["first"]["patch"][0]["path"], "/output/content");
    assert_eq!(site.exit(&["diff", "a", "a"]), 0);
    let (_, shown, _) = site.command.shown(&["diff", "a", "b"]);
    assert!(shown.contains("they part at step act 1"), "{shown}");
    assert!(
        shown.contains("(402 characters)") && !shown.contains(&long),
        "{shown}"
    );
    let (_, whole, _) = site.command.shown(&["diff", "a", "b", "--full"]);
    assert!(whole.contains(&long), "{whole}");
    assert_eq!(site.exit(&["diff", "a", "none"]), 5);
    assert_eq!(site.exit(&["diff", "a", "x", "y"]), 2);
    Ok(())
}

/// Two trials of one task of tau-bench.
#[test]
fn trials_of_a_task_part_at_a_step() -> Outcome {
    let Some(folder) = recordings("tau-bench") else {
        return Ok(());
    };
    let site = Site::new()?;
    let files = folder.to_string_lossy().into_owned();
    site.command.values(["import", &files, "-q"]);
    let runs = site.command.values(["runs"]);
    let streams = runs.iter().filter_map(|run| run["stream"].as_str());
    let mut trials: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    // Streams are messages/OPENING/RUN: trials of a task open alike.
    for stream in streams.filter(|stream| stream.starts_with("messages/")) {
        let opening = stream
            .rsplit_once('/')
            .map_or(stream, |(opening, _)| opening);
        trials.entry(opening).or_default().push(stream);
    }
    let trials = trials
        .values()
        .find(|trials| trials.len() > 1)
        .ok_or("a task was tried twice")?;
    let (exit, told, _) = site.command.ended(&["diff", trials[0], trials[1]]);
    assert_eq!(exit, 1);
    let steps = told[0]["steps"].as_array().ok_or("they are listed")?;
    let first = steps
        .iter()
        .position(|step| *step == told[0]["first"])
        .ok_or("it is one of them")?;
    assert!(first > 0, "they open alike");
    assert!(steps[..first].iter().all(|step| step["matched"] == "same"));
    assert_ne!(steps[first]["matched"], "same");
    Ok(())
}
