//! Sinks as operators use them: `runstone sink ...`, with the file and beside whoever holds it.

use runstone_tests::command::{Runstone, binary, ended_in_one};
use runstone_tests::held::{PATIENCE, Site as Held};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;

struct Site {
    folder: tempfile::TempDir,
    runstone: Runstone,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runstone = Runstone::on(folder.path().join("log.redb"));
        runstone.value(["init"]);
        Self { folder, runstone }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn append(&self, count: usize) {
        for number in 0..count {
            let data = json!({"text": format!("number {number}"), "secret": "s3cret"});
            let words = ["append", "--type", "a.b", "--stream", "s", "--data"];
            let data = data.to_string();
            self.runstone
                .value(words.into_iter().chain([data.as_str()]));
        }
    }

    /// Runs `runstone sink` with these words; it must end so, with one line.
    fn line(&self, words: &[&str], exit: i32) -> Value {
        let ended = self.runstone.ended(&[&["sink"], words].concat());
        assert_eq!((ended.0, ended.1.len()), (exit, 1), "{words:?} {ended:?}");
        ended.1[0].clone()
    }

    fn refused(&self, words: &[&str]) -> (i32, String) {
        let ended = self.runstone.ended(&[&["sink"], words].concat());
        (ended.0, ended.2)
    }
}

#[test]
fn an_operator_adds_runs_and_watches_a_sink() {
    let site = Site::new();
    let out = site.text("out.jsonl");
    let added = site.line(&["add", "audit", "--jsonl", &out, "--field", "text"], 0);
    assert_eq!(added["state"], "running");
    site.append(5);
    let before = site.line(&["status", "audit"], 0);
    assert_eq!(
        (&before["position"], &before["lag_events"]),
        (&json!(0), &json!(7))
    );
    // Nobody ran it so far: commands that come and go run none.
    assert!(!site.path("out.jsonl").exists());
    let ran = site.line(&["run", "--until-caught-up"], 0);
    assert_eq!(
        (&ran["lag_events"], &ran["delivered"]),
        (&json!(0), &json!(6))
    );
    let lines = fs::read_to_string(&out).unwrap();
    assert_eq!(lines.lines().count(), 6);
    assert!(lines.contains("number 4") && !lines.contains("s3cret"));
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let shown = site.runstone.value(["show", "6"]);
    assert_eq!((&last["id"], &last["position"]), (&shown["id"], &json!(6)));

    assert_eq!(site.line(&["pause", "audit"], 0)["state"], "paused");
    site.append(1);
    site.line(&["run", "--until-caught-up"], 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), lines);
    assert_eq!(site.line(&["resume", "audit"], 0)["state"], "running");
    site.line(&["run", "--until-caught-up"], 0);
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 7);
    assert_eq!(
        site.runstone
            .ended(&["sink", "status", "audit", "--parked"])
            .1
            .len(),
        0
    );
    assert_eq!(
        site.runstone
            .ended(&["sink", "status", "audit", "--failures"])
            .1
            .len(),
        0
    );
    assert_eq!(site.line(&["remove", "audit"], 0)["name"], "audit");
    assert_eq!(
        site.runstone.ended(&["sink", "list"]),
        (0, vec![], String::new())
    );
    site.runstone.check();
}

#[test]
fn what_cannot_be_is_refused_with_its_code() {
    let site = Site::new();
    let out = site.text("out.jsonl");
    site.line(&["add", "one", "--jsonl", &out], 0);
    for (words, exit, code) in [
        (&["add", "one", "--jsonl", &out][..], 3, "sink_exists"),
        (&["add", "Two", "--jsonl", &out], 2, "sink_name"),
        (
            &["add", "two", "--jsonl", &out, "--tries", "0"],
            2,
            "sink_config",
        ),
        (&["add", "two"], 2, "usage"),
        (&["add", "--jsonl", &out], 2, "usage"),
        (
            &["add", "two", "--custom", "x", "--rotate-daily"],
            2,
            "usage",
        ),
        (
            &["add", "two", "--jsonl", &out, "--from", "soon"],
            2,
            "usage",
        ),
        (&["status", "two"], 5, "sink_not_found"),
        (&["pause", "two"], 5, "sink_not_found"),
        (&["remove", "../x"], 5, "sink_not_found"),
    ] {
        assert_eq!(site.refused(words), (exit, code.to_owned()), "{words:?}");
    }
}

#[test]
fn a_file_names_several_and_one_that_stopped_says_what_to_do() {
    let site = Site::new();
    let config = site.path("sinks.toml");
    let (one, two) = (site.text("one.jsonl"), site.text("two.jsonl"));
    fs::write(
        &config,
        format!(
            "[[sink]]\nname = \"one\"\nquery = \"type=a.*\"\n[sink.to.jsonl]\npath = \"{one}\"\n\
             [[sink]]\nname = \"two\"\nfrom = \"now\"\n[sink.to.jsonl]\npath = \"{two}\"\n"
        ),
    )
    .unwrap();
    let file = site.text("sinks.toml");
    let added = site.runstone.values(["sink", "add", "--config", &file]);
    assert_eq!(added.len(), 2);
    fs::write(&two, "not of this sink\n").unwrap();
    site.append(2);
    let (exit, lines, _) = site.runstone.ended(&["sink", "run", "--until-caught-up"]);
    assert_eq!((exit, lines.len()), (1, 2));
    assert_eq!(
        (&lines[0]["delivered"], &lines[0]["state"]),
        (&json!(2), &json!("running"))
    );
    let stopped = site.line(&["status", "two"], 1);
    assert_eq!(
        (&stopped["state"], &stopped["why"]),
        (&json!("stopped"), &json!("unusable"))
    );
    let (exit, shown, _) = site.runstone.shown(&["sink", "status", "two"]);
    assert_eq!(exit, 1);
    assert!(shown.contains("runstone sink resume two"), "{shown}");
    let failures = site
        .runstone
        .values(["sink", "status", "two", "--failures"]);
    assert_eq!(
        (failures.len(), &failures[0]["code"]),
        (1, &json!("unusable"))
    );
    let (_, shown, _) = site.runstone.shown(&["sink", "list"]);
    assert!(
        shown.contains("stopped") && shown.contains("one.jsonl"),
        "{shown}"
    );
}

#[test]
fn whoever_holds_the_log_runs_its_sinks_and_is_asked_for_them() -> Outcome {
    let site = Held::new()?;
    let runstone = Runstone::on(&site.log);
    runstone.value(["init"]);
    let holder = site.holder()?;
    let out = site.path("out.jsonl");
    let to = out.to_str().unwrap();
    let added = runstone.value(["sink", "add", "live", "--jsonl", to]);
    assert_eq!(added["kind"], "jsonl");
    runstone.value(["append", "--type", "a.b", "--stream", "s"]);
    let is_there = |count: u64| loop {
        let status = runstone.value(["sink", "status", "live"]);
        if status["delivered"].as_u64() >= Some(count) {
            return status;
        }
    };
    let size = fs::read_to_string(&out).unwrap_or_default().lines().count() as u64;
    let status = is_there(size.max(2));
    assert_eq!(status["failing"], false);
    assert_eq!(runstone.value(["sink", "pause", "live"])["state"], "paused");
    assert_eq!(runstone.values(["sink", "list"]).len(), 1);
    let (exit, _, code) = runstone.ended(&["sink", "run"]);
    assert_eq!((exit, code.as_str()), (6, "busy"));
    assert_eq!(runstone.value(["sink", "remove", "live"])["name"], "live");
    assert_eq!(
        runstone.ended(&["sink", "status", "live"]).2,
        "sink_not_found"
    );
    drop(holder);
    Ok(())
}

#[test]
fn a_copy_that_became_the_log_gives_nothing_before_somebody_looked() {
    let site = Site::new();
    let out = site.text("out.jsonl");
    site.line(&["add", "audit", "--jsonl", &out], 0);
    site.append(2);
    site.line(&["run", "--until-caught-up"], 0);
    let copy = site.text("copy.redb");
    site.runstone.value(["backup", &copy]);
    fs::remove_dir_all(site.path("log.redb.sinks")).unwrap();
    for lost in ["log.redb", "log.redb.head"] {
        fs::remove_file(site.path(lost)).unwrap();
    }
    site.runstone.value(["restore", &copy]);
    site.runstone.value(["epoch", "start"]);
    let before = fs::read_to_string(&out).unwrap();
    site.append(1);
    let stopped = site.line(&["run", "--until-caught-up"], 1);
    assert_eq!(
        (&stopped["state"], &stopped["why"]),
        (&json!("stopped"), &json!("epoch"))
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), before);
    let (_, shown, _) = site.runstone.shown(&["sink", "status", "audit"]);
    assert!(shown.contains("runstone sink resume audit"), "{shown}");
    assert_eq!(site.line(&["resume", "audit"], 0)["state"], "running");
    site.line(&["run", "--until-caught-up"], 0);
    // What the file has it does not get again, though the cursor is lost.
    let lines = fs::read_to_string(&out).unwrap();
    let positions = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["position"].as_u64().unwrap()
    });
    assert_eq!(positions.collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
    site.runstone.check();
}

#[test]
fn a_command_is_a_list_of_words() {
    let site = Site::new();
    let out = site.text("out; touch x");
    let words = json!(["tee", "-a", out]).to_string();
    site.line(&["add", "ship", "--command", &words], 0);
    site.append(1);
    let ran = site.line(&["run", "--until-caught-up"], 0);
    assert_eq!(
        (&ran["kind"], &ran["delivered"]),
        (&json!("command"), &json!(2))
    );
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 2);
    let (exit, _, code) = site
        .runstone
        .ended(&["sink", "add", "none", "--command", "[]"]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
}

#[test]
fn a_webhook_is_added_with_names_of_secrets() {
    let site = Site::new();
    let url = "https://example.com/in";
    let added = site.line(
        &[
            "add",
            "shop",
            "--webhook",
            url,
            "--secret-env",
            "SHOP",
            "--secret-file",
            "/etc/shop",
            "--header-file",
            "Authorization=/etc/bearer",
            "--structured",
        ],
        0,
    );
    assert_eq!(
        (&added["kind"], &added["to"]),
        (&json!("webhook"), &json!(url))
    );
    let recorded = site.runstone.value(["show", "1"]);
    let config = json!({
        "url": url,
        "mode": "structured",
        "secrets": [{"env": "SHOP"}, {"file": "/etc/shop"}],
        "headers": {"Authorization": {"file": "/etc/bearer"}},
        "ca": null,
        "plain_http": false,
    });
    assert_eq!(recorded["data"]["config"]["to"]["webhook"], config);
    assert_eq!(recorded["data"]["config"]["batch_events"], 1);
    for (words, code) in [
        (&["--webhook", "http://example.com"][..], "sink_config"),
        (
            &["--webhook", "https://me:planted@example.com"],
            "sink_config",
        ),
        (&["--webhook", url, "--secret-env", "A=B"], "sink_config"),
        (&["--webhook", url, "--header-env", "Host=A"], "sink_config"),
        (&["--webhook", url, "--header-env", "A"], "usage"),
        (&["--webhook", url, "--structured", "--batch", "2"], "usage"),
        (&["--webhook", url, "--rotate-daily"], "usage"),
        (&["--jsonl", "out", "--secret-env", "A"], "usage"),
        (&["--custom", "x", "--plain-http"], "usage"),
    ] {
        let words = [&["add", "other"], words].concat();
        assert_eq!(site.refused(&words), (2, code.to_owned()), "{words:?}");
    }
}

#[test]
fn otlp_goes_where_the_environment_says_and_its_headers_are_named() {
    let site = Site::new();
    let add = |words: &[&str], environment: &[(&str, &str)]| {
        let mut command = site.runstone.command([&["sink", "add"], words].concat());
        for name in ["ENDPOINT", "HEADERS", "CERTIFICATE", "TIMEOUT", "PROTOCOL"] {
            command.env_remove(format!("OTEL_EXPORTER_OTLP_{name}"));
        }
        command.env_remove("OTEL_SERVICE_NAME");
        for (name, value) in environment {
            let prefix = if *name == "SERVICE_NAME" {
                ""
            } else {
                "EXPORTER_OTLP_"
            };
            command.env(format!("OTEL_{prefix}{name}"), value);
        }
        ended_in_one(&command.output().unwrap())
    };
    let recorded = |position: &str| {
        let config = site.runstone.value(["show", position])["data"]["config"].clone();
        (config["to"]["otlp"].clone(), config["timeout_s"].clone())
    };
    let added = add(&["one", "--otlp"], &[]);
    assert_eq!(
        (added.0, &added.1["to"]),
        (0, &json!("http://localhost:4318"))
    );
    let (one, timeout_s) = recorded("1");
    assert_eq!(
        (&one["service"], &one["header_list"]),
        (&json!("runstone"), &json!(null))
    );
    assert_eq!(timeout_s, 30);
    let environment = [
        ("ENDPOINT", "https://otel.example.com"),
        ("HEADERS", "Authorization=planted"),
        ("CERTIFICATE", "/etc/ca.pem"),
        ("TIMEOUT", "1500"),
        ("PROTOCOL", "http/protobuf"),
        ("SERVICE_NAME", "shop"),
    ];
    assert_eq!(add(&["two", "--otlp"], &environment).0, 0);
    let (two, timeout_s) = recorded("2");
    let expected = json!({
        "endpoint": "https://otel.example.com",
        "service": "shop",
        "headers": {},
        "header_list": {"env": "OTEL_EXPORTER_OTLP_HEADERS"},
        "ca": "/etc/ca.pem",
        "plain_http": false,
    });
    assert_eq!((two, timeout_s), (expected, json!(2)));
    let words = [
        "three",
        "--otlp",
        "http://127.0.0.1:1",
        "--timeout",
        "7",
        "--header-env",
        "a=B",
    ];
    assert_eq!(add(&words, &environment).0, 0);
    let (three, timeout_s) = recorded("3");
    assert_eq!(
        (&three["endpoint"], timeout_s),
        (&json!("http://127.0.0.1:1"), json!(7))
    );
    assert_eq!(three["headers"], json!({"a": {"env": "B"}}));
    // Those of the environment are for the endpoint of the environment.
    assert_eq!(three["header_list"], json!(null));
    for (name, value) in [("PROTOCOL", "grpc"), ("TIMEOUT", "soon")] {
        let refused = add(&["four", "--otlp"], &[(name, value)]);
        assert_eq!((refused.0, refused.2.as_str()), (2, "usage"), "{name}");
    }
    let (exit, _, code) = add(&["four", "--otlp"], &[("ENDPOINT", "http://example.com")]);
    assert_eq!((exit, code.as_str()), (2, "sink_config"));
}

/// Whoever waits for a place that is not there is told so, and waits no longer when it is.
#[test]
fn what_is_waited_for_is_said() -> Outcome {
    let site = Site::new();
    let mirror = site.text("elsewhere/log.redb");
    site.line(&["add", "copy", "--mirror", &mirror], 0);
    let mut command = Command::new(binary());
    let path = site.path("log.redb");
    command.arg("--log").arg(path).env_remove("RUNSTONE_KEYS");
    command.args(["sink", "run", "--until-caught-up"]);
    let mut waiting = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let told = BufReader::new(waiting.stderr.take().ok_or("a pipe")?);
    let (tell, said) = mpsc::channel();
    // All of it is read, so that nobody writes to a closed pipe.
    std::thread::spawn(move || told.lines().try_for_each(|line| tell.send(line)));
    let Ok(said) = said.recv_timeout(PATIENCE) else {
        waiting.kill()?;
        return Err("nothing is said".into());
    };
    let said = said?;
    assert!(said.contains("sink `copy` is tried again"), "{said}");
    fs::create_dir(site.path("elsewhere"))?;
    assert!(waiting.wait()?.success());
    assert!(fs::exists(mirror)?);
    Ok(())
}
