//! While a runtime appends as fast as it can, every tool works from other processes: what looks, what
//! changes something, and what takes long.

use runstone::codec::OsEntropy;
use runstone::store::keys::Credential;
use runstone::{Authority, EffectClass, Log, NewEvent, Query, Read, Runstone};
use runstone_tests::command::Runstone as Command;
use runstone_tests::held::{Process, Site};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Threads that append rows, each to a stream of its own.
const WRITERS: u64 = 3;
/// Rows that are appended at once.
const BATCH: usize = 8;
/// Of so many steps of the run one makes a call.
const CALLS: u64 = 32;

/// A runtime at work: it appends without a pause, and goes on with a run.
struct Runtime {
    log: Arc<Runstone>,
    stop: Arc<AtomicBool>,
    /// Steps of the run, which are fewer than the rows.
    turns: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Runtime {
    fn start(log: Runstone) -> Self {
        let log = Arc::new(log);
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
                std::thread::spawn(move || rows(&log, writer, &stop))
            })
            .collect();
        let (of_run, until, counted) = (Arc::clone(&log), Arc::clone(&stop), Arc::clone(&turns));
        threads.push(std::thread::spawn(move || {
            run(&of_run, &until, &counted);
        }));
        Self {
            log,
            stop,
            turns,
            threads,
        }
    }

    /// Waits until every thread has gone on.
    fn goes_on(&self) {
        let of_writers = |log: &Log| -> Vec<Option<u64>> {
            let streams = (0..WRITERS).map(|writer| format!("rows-{writer}"));
            let newest = |stream: String| {
                let read = Read::new(Query::stream(stream)).reverse().limit(1);
                let mut records = log.read(read).unwrap();
                records.next().map(|record| record.unwrap().position.get())
            };
            streams.map(newest).collect()
        };
        let (before, turns) = (of_writers(&self.log), self.turns.load(Ordering::SeqCst));
        let stands = || {
            let now = of_writers(&self.log);
            self.turns.load(Ordering::SeqCst) == turns
                || now.iter().zip(&before).any(|(now, before)| now == before)
        };
        while stands() {
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!ended, "the runtime goes on");
            std::thread::yield_now();
        }
    }

    /// What a tool answers while events are appended.
    fn beside<T>(&self, tool: impl FnOnce() -> T) -> T {
        let before = self.log.size();
        self.goes_on();
        let answer = tool();
        self.goes_on();
        assert!(self.log.size() > before);
        self.log.health().unwrap();
        answer
    }

    fn stop(self) -> Arc<Runstone> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.log
    }
}

fn rows(log: &Log, writer: u64, stop: &AtomicBool) {
    let stream = format!("rows-{writer}");
    let row = |row: u64| {
        NewEvent::new("data.row", &stream)
            .json(&json!({"row": row}))
            .unwrap()
    };
    for first in (0..).step_by(BATCH) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let batch = (first..).take(BATCH).map(|number| row(number).into());
        for appended in log.append_many_blocking(batch.collect()) {
            appended.unwrap();
        }
    }
}

fn run(log: &Runstone, stop: &AtomicBool, turns: &AtomicU64) {
    let run = log.run("bot").start_blocking("run-live").unwrap();
    for turn in 1_u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        run.session()
            .patch_blocking(&json!({"turn": turn}))
            .unwrap();
        if turn.is_multiple_of(CALLS) {
            let call = run.effect("look").request_id(turn.to_string());
            let call = call.class(EffectClass::Read);
            call.call_blocking(|| Ok::<_, String>(turn)).unwrap();
        }
        turns.store(turn, Ordering::SeqCst);
    }
}

/// A site whose log a runtime holds, and its person's credential.
fn site() -> Outcome<(Site, Runtime, String)> {
    let site = Site::new()?;
    let log = Runstone::create(&site.log)?;
    let path = site.path("ada.cred");
    let ada = Credential::create(&path, "ada", Authority::Human, &OsEntropy)?;
    log.enrol("ada", Authority::Human, &ada.public_key())?;
    let path = path.to_str().ok_or("a path")?.to_owned();
    Ok((site, Runtime::start(log), path))
}

#[test]
fn what_looks_at_a_log_works_beside_a_runtime_that_appends() -> Outcome {
    let _alone = crate::alone();
    let (site, runtime, _) = site()?;
    let runstone = Command::on(&site.log);
    let value = |words: &[&str]| runtime.beside(|| runstone.value(words));
    let number = |value: &Value| value.as_u64().ok_or("a number");
    runtime.goes_on();

    let verified = value(&["verify"]);
    assert_eq!(verified["valid"], true, "{verified}");
    let copy = site.path("copy.redb");
    let words = ["backup", copy.to_str().ok_or("a path")?];
    let copied = value(&words);
    assert!(number(&copied["events"])? >= number(&verified["size"])?);

    // Each row once, in its order, while more come.
    let follow = ["log", "--follow", "--stream", "rows-0"];
    runtime.beside(|| -> Outcome {
        let mut follower = Process(runstone.command(follow).spawn()?);
        let output = follower.0.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(output).lines();
        let mut ends = None;
        for row in 0.. {
            let line: Value = serde_json::from_str(&lines.next().ok_or("it goes on")??)?;
            assert_eq!(line["data"]["row"], json!(row));
            // Past everything that was there when it began.
            let ends = *ends.get_or_insert_with(|| runtime.log.size());
            if line["position"].as_u64() > Some(ends) {
                break;
            }
        }
        drop(lines);
        assert!(follower.0.wait()?.success());
        Ok(())
    })?;

    let running = value(&["runs", "--status", "running"]);
    assert_eq!(running["stream"], "run-live");
    assert_eq!(value(&["run", "run-live"])["status"], "running");
    let (first, second) = (value(&["state", "run-live"]), value(&["state", "run-live"]));
    let turn = |state: &Value| number(&state["session"]["turn"]);
    assert!(turn(&first)? < turn(&second)?, "{first} {second}");
    let then = value(&["state", "run-live", "--at", &first["position"].to_string()]);
    assert_eq!(then["session"], first["session"]);
    let effects = runtime.beside(|| runstone.values(["effect", "list", "--stream", "run-live"]));
    let is_made = |effect: &&Value| effect["state"] == "completed" && effect["attempt"] == 1;
    // The last one may be in flight.
    assert!(effects.iter().filter(is_made).count() + 1 >= effects.len());

    let receipt = site.path("1.tlog-proof");
    let receipt = receipt.to_str().ok_or("a path")?;
    runtime.beside(|| runstone.values(["receipt", "1", "--output", receipt]));
    let policy = runtime.beside(|| runstone.shown(&["policy"]));
    std::fs::write(site.path("policy"), policy.1)?;
    let policy = site.path("policy");
    let policy = policy.to_str().ok_or("a path")?;
    let proven = runstone.value(["receipt", "verify", receipt, "--policy", policy]);
    assert_eq!(proven["valid"], true, "{proven}");

    let served = value(&["attach"]);
    assert_eq!(served["holder"], json!(std::process::id()), "{served}");
    runtime.stop().close_blocking()?;
    // What was copied while it was written is a whole log.
    let keys = runstone::store::default_keys_path(&site.log);
    let keys = keys.to_str().ok_or("a path")?;
    let of_copy = Command::on(&copy).value(["--keys", keys, "verify"]);
    assert_eq!(
        (&of_copy["valid"], &of_copy["size"]),
        (&json!(true), &copied["events"])
    );
    runstone.check();
    Ok(())
}

#[test]
fn what_changes_a_log_works_beside_a_runtime_that_appends() -> Outcome {
    let _alone = crate::alone();
    let (site, runtime, ada) = site()?;
    let runstone = Command::on(&site.log);
    let value = |words: &[&str]| runtime.beside(|| runstone.value(words));
    let claim = ["effect", "claim", "--name", "pay", "--key", "inv-1"];
    runtime.goes_on();

    // A call that a person lets be made again.
    assert_eq!(value(&claim)["attempt"], 1);
    let release = ["effect", "release", "inv-1", "--reason", "host lost"];
    let (exit, _, code) = runtime.beside(|| runstone.ended(&release));
    assert_eq!((exit, code.as_str()), (8, "not_allowed"));
    let released = value(&[&release[..], &["--cred", &ada]].concat());
    assert_eq!(released["state"], "failed");
    assert_eq!(value(&claim)["attempt"], 2);

    // A call that a person approves.
    let call = ["--name", "wire", "--key", "inv-2"];
    let asked = value(&[&["approval", "request"], &call[..], &["--reviewer", "ada"]].concat());
    let id = asked["id"].as_str().ok_or("an id")?;
    let approved = value(&["approval", "approve", id, "--cred", &ada]);
    assert_eq!(approved["state"], "approved");
    let claimed = value(&[&["effect", "claim"], &call[..]].concat());
    assert_eq!(claimed["state"], "in-flight");

    // Who waits is told, whatever else is recorded meanwhile.
    value(&["agent", "register", "scout"]);
    let waiting = runstone.command(["message", "wait", "scout"]).spawn()?;
    let (mut waiting, server) = (Process(waiting), runtime.log.server().ok_or("served")?);
    while !server.attached().iter().any(|one| one.requests >= 6) {
        assert!(waiting.0.try_wait()?.is_none(), "it waits");
        std::thread::yield_now();
    }
    value(&["message", "send", "scout", "--text", "hello"]);
    let told = waiting.0.stdout.take().ok_or("no stdout")?;
    let told: Value = serde_json::from_reader(told)?;
    assert_eq!(told["messages"][0]["text"], "hello", "{told}");
    assert!(waiting.0.wait()?.success());

    runtime.stop().close_blocking()?;
    runstone.check();
    Ok(())
}

#[test]
fn a_sink_is_watched_while_it_delivers_what_a_runtime_appends() -> Outcome {
    let _alone = crate::alone();
    let (site, runtime, _) = site()?;
    let runstone = Command::on(&site.log);
    let out = site.path("rows.jsonl");
    let to = out.to_str().ok_or("a path")?;
    let add = [
        "sink",
        "add",
        "rows",
        "--jsonl",
        to,
        "--query",
        "type=data.row",
        "--field",
        "row",
    ];
    let added = runtime.beside(|| runstone.value(add));
    assert_eq!(added["state"], "running");
    let mut delivered = Vec::new();
    while delivered.len() < 4 {
        let status = runtime.beside(|| runstone.value(["sink", "status", "rows"]));
        let is_well = status["state"] == "running" && status["failing"] == false;
        assert!(is_well, "{status}");
        let found = status["delivered"].as_u64().ok_or("a number")?;
        let last = delivered.last().copied().unwrap_or(0);
        assert!(found >= last, "{status}");
        if found > last {
            delivered.push(found);
        }
    }
    for what in ["--failures", "--parked"] {
        let none = runtime.beside(|| runstone.values(["sink", "status", "rows", what]));
        assert!(none.is_empty(), "{none:?}");
    }
    let log = runtime.stop();
    let rows = log.count(&Query::of_type("data.row"))?;
    log.close_blocking()?;
    drop(log);
    let ran = runstone.value(["sink", "run", "--until-caught-up"]);
    assert_eq!(
        (&ran["delivered"], &ran["lag_s"]),
        (&json!(rows), &json!(0))
    );
    // Each row once, in the order of the log.
    let mut next = [0_u64; WRITERS as usize];
    for line in std::fs::read_to_string(&out)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let stream = line["stream"].as_str().ok_or("a stream")?;
        let writer: usize = stream.strip_prefix("rows-").ok_or("a row")?.parse()?;
        assert_eq!(line["data"]["row"], json!(next[writer]));
        next[writer] += 1;
    }
    assert_eq!(next.iter().sum::<u64>(), rows);
    runstone.check();
    Ok(())
}
