//! Faults of deliveries in systems that came before this one: one test each, showing that sinks do not
//! have them. The numbers are those of the lists of their weaknesses.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runstone::sinks::{
    Batch, Delivery, Destination, Kinds, Rejection, SecretSource, Sink, SinkChange, SinkState,
    Timer, WebhookConfig,
};
use runstone::{Log, NewEvent, Query, SinkConfig};
use runstone_tests::sinks::{Endpoint, Memory, Seen, Site, lines, until};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait that is passed: less than what a delivery has, so that none is cut short.
const REST_S: u64 = 300;
/// Seconds that a delivery has that nothing may cut short.
const PATIENT: Duration = Duration::from_secs(3_600);

fn kinds(site: &Site, memory: &Arc<Memory>) -> Kinds {
    let timer: Arc<dyn Timer> = Arc::new(site.timer.clone());
    memory.kinds(Kinds::new(), "", &timer)
}

fn sink(name: &str, to: Destination) -> SinkConfig {
    SinkConfig::new(name, to).timeout(PATIENT)
}

/// A command that runs a script in the folder of the site, with what it is given in a file `given`.
fn script(site: &Site, script: &str) -> Destination {
    let folder = site.path("");
    let script = format!("cd {} && cat > given && {script}", folder.display());
    Destination::command(["sh", "-c", &script])
}

/// Positions, in the order in which they came.
fn positions(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.position).collect()
}

/// Positions, each where it came first; what came again was marked.
fn first_positions(seen: &[Seen]) -> Vec<u64> {
    let mut met = BTreeSet::new();
    let new = |seen: &&Seen| {
        let is_new = met.insert(seen.position);
        assert!(is_new || seen.is_duplicate, "{seen:?}");
        is_new
    };
    seen.iter().filter(new).map(|seen| seen.position).collect()
}

fn everything(site: &Site) -> Vec<u64> {
    site.positions(Query::everything())
}

/// Records an answer to every event of one type.
struct Answering(Log);

impl Sink for Answering {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let asked = |event: &&runstone::sinks::Event| event.record().header.event_type == "a.one";
        for _ in batch.events().iter().filter(asked) {
            if let Err(error) = self.0.append_blocking(NewEvent::new("c.answer", "answers")) {
                return Box::pin(std::future::ready(Err(Rejection::unavailable(error))));
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// zu 1: with several writers, or one that writes while it is told, destinations get another order
/// than that of the log.
#[test]
fn zu_01_destinations_get_another_order_than_the_log() {
    let site = Site::default();
    let memory = Memory::new();
    let log = site.log().clone();
    let kinds = kinds(&site, &memory).kind("answering", move |_: &SinkConfig| {
        Ok(Box::new(Answering(log.clone())))
    });
    let [file, given] = ["file.jsonl", "given.jsonl"].map(|name| site.path(name));
    for (name, to) in [
        ("file", Destination::jsonl(&file)),
        (
            "command",
            Destination::command(["tee", "-a", given.to_str().unwrap()]),
        ),
        ("memory", Destination::custom("memory")),
        ("answering", Destination::custom("answering")),
    ] {
        site.add(&sink(name, to).batch_events(7));
    }
    let runner = site.run(&kinds);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| site.append(2)));
        }
    });
    let count = |event_type: &str| {
        let query = Query::of_type(event_type);
        site.log().count(&query).unwrap()
    };
    assert_eq!(count("a.one"), 100);
    until(|| count("c.answer") == 100, || {});
    runner.caught_up_blocking(site.log().durable_size());
    let everything = everything(&site);
    assert_eq!(everything.len(), 301);
    for seen in [
        lines(&file),
        lines(&given),
        memory.with(|kept| kept.seen.clone()),
    ] {
        assert_eq!(positions(&seen), everything);
    }
}

/// zu 2: a destination that fails never gets the event again, and nobody can go on where it was.
#[test]
fn zu_02_a_destination_that_failed_never_gets_it() {
    let site = Site::default();
    let memory = Memory::new();
    let kinds = kinds(&site, &memory);
    let (file, given) = (site.path("later/file.jsonl"), site.path("given.jsonl"));
    let down = script(&site, "[ -e up ] && cat given >> given.jsonl");
    site.add(&sink("file", Destination::jsonl(&file)));
    site.add(&sink("command", down).batch_events(20));
    site.add(&sink("third", Destination::custom("third")).batch_events(20));
    site.append(50);
    let runner = site.run(&kinds);
    let failures = |name: &str| site.sinks().failures(name).unwrap().len();
    site.pass_until(REST_S, || failures("file") > 3 && failures("command") > 3);
    runner.stop();
    // While nobody runs it, too.
    site.append(50);
    fs::create_dir(site.path("later")).unwrap();
    fs::write(site.path("up"), "").unwrap();
    let everything = everything(&site);
    let runner = site.run(&kinds);
    let seen = || [lines(&given), memory.with(|kept| kept.seen.clone())];
    site.pass_until(REST_S, || {
        let all = seen().map(|seen| first_positions(&seen));
        file.exists()
            && positions(&lines(&file)) == everything
            && all.iter().all(|one| *one == everything)
    });
    for name in ["file", "command", "third"] {
        site.pass_until(REST_S, || !site.status(name).is_failing);
        assert_eq!(site.status(name).parked, 0, "{name}");
    }
    runner.stop();
}

/// zu 4: a slow subscriber makes the one wait who records, or loses events without a word.
#[test]
fn zu_04_one_that_is_slow_blocks_or_loses() {
    let site = Site::default();
    let memory = Memory::new();
    let kinds = kinds(&site, &memory);
    let (pipe, given) = (site.path("pipe"), site.path("given.jsonl"));
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Each batch waits for a line that is not there yet.
    let mut gate = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let slow = script(
        &site,
        "echo > begun && read -r line < pipe && cat given >> given.jsonl",
    );
    site.add(&sink("slow", slow));
    site.add(&sink("blocked", Destination::custom("block")));
    let healthy = Memory::new();
    let timer: Arc<dyn Timer> = Arc::new(site.timer.clone());
    let kinds = healthy.kinds(kinds, "healthy-", &timer);
    site.add(&sink("healthy", Destination::custom("healthy-memory")));
    let runner = site.run(&kinds);
    until(|| site.path("begun").exists(), || {});
    memory.wait_until(|kept| !kept.calls.is_empty());
    // No second passes, and all of it is recorded and elsewhere.
    site.append(3_000);
    let everything = everything(&site);
    healthy.wait_until(|kept| kept.seen.len() == everything.len());
    assert_eq!(healthy.positions(), everything);
    assert!(lines(&given).is_empty() && memory.positions().is_empty());
    // Nothing was dropped meanwhile.
    gate.write_all(&[b'\n'; 1_000]).unwrap();
    memory.with(|kept| kept.is_mended = true);
    runner.caught_up_blocking(site.log().durable_size());
    assert_eq!(positions(&lines(&given)), everything);
    assert_eq!(memory.positions(), everything);
    drop(runner);
}

/// zu 18: a line that was cut short breaks every read, and the next event is glued to it.
#[test]
fn zu_18_a_line_that_was_cut_short_takes_others_with_it() {
    let site = Site::default();
    let path = site.path("file.jsonl");
    site.add(&sink("file", Destination::jsonl(&path)));
    site.append(10);
    let run = || {
        let runner = site.run(&Kinds::new());
        // Whoever ran it before may let go of the file a moment later.
        site.pass_until(60, || site.status("file").lag_events == 0);
        runner.stop();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        assert_eq!(positions(&lines(&path)), everything(&site));
    };
    run();
    // As a loss of power leaves it, before the cursor moves: cut, or with bytes that never came.
    let cursor = site.files().join("file.cursor");
    for cut in [1, 2, 40, 160] {
        for never_came in [0, 4, 4_096] {
            let before = fs::read(&cursor).unwrap();
            site.append(1);
            run();
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() - cut);
            bytes.resize(bytes.len() + never_came, 0);
            fs::write(&path, &bytes).unwrap();
            fs::write(&cursor, &before).unwrap();
            site.append(1);
            run();
        }
    }
}

/// What a command says to each batch: the first line of a file, as long as there is one.
fn saying(site: &Site, codes: &[i32]) -> Destination {
    let text: String = codes.iter().map(|code| format!("{code}\n")).collect();
    fs::write(site.path("codes"), text).unwrap();
    let says = "code=$(head -n 1 codes); sed -i 1d codes; \
                [ ${code:-0} = 0 ] && cat given >> given.jsonl; exit ${code:-0}";
    script(site, says)
}

fn is_stopped(site: &Site) -> bool {
    site.status("ship").state == SinkState::Stopped
}

/// meshcode 11: after five refusals of credentials in all it gives up for good, also if the key is
/// repaired later.
#[test]
fn meshcode_11_refused_credentials_end_it_for_good() {
    // Not five in a row: another failure came in between.
    let site = Site::default();
    let given = site.path("given.jsonl");
    let codes = [77, 77, 77, 77, 1, 77, 77, 77, 77];
    site.add(&sink("ship", saying(&site, &codes)));
    site.append(10);
    let runner = site.run(&Kinds::new());
    site.pass_until(REST_S, || lines(&given).len() == everything(&site).len());
    assert_eq!(site.sinks().failures("ship").unwrap().len(), codes.len());
    assert!(!is_stopped(&site));
    runner.stop();

    // Five in a row: it stops, says so, also to who runs it next, and loses nothing.
    let site = Site::default();
    let given = site.path("given.jsonl");
    site.add(&sink("ship", saying(&site, &[77; 5])));
    site.append(10);
    let runner = site.run(&Kinds::new());
    site.pass_until(REST_S, || is_stopped(&site));
    until(|| runner.running() == 0, || {});
    runner.stop();
    site.append(10);
    let runner = site.run(&Kinds::new());
    assert!(is_stopped(&site) && runner.running() == 0);
    let advice = site.status("ship").advice().unwrap();
    assert!(advice.contains("runstone sink resume ship"), "{advice}");
    // The key is repaired.
    site.sinks()
        .change_blocking("ship", SinkChange::Resume)
        .unwrap();
    site.pass_until(REST_S, || lines(&given).len() == everything(&site).len());
    assert_eq!(first_positions(&lines(&given)), everything(&site));
    runner.stop();
}

/// meshflow 5.4: what is to be delivered lives in memory and dies with the process, and after a few
/// tries it is dead.
#[test]
fn meshflow_5_4_deliveries_die_with_the_process_or_after_five_tries() {
    let site = Site::default();
    let given = site.path("given.jsonl");
    site.add(&sink("ship", saying(&site, &[1; 30])));
    site.append(10);
    let failures = || site.sinks().failures("ship").unwrap();
    // Each of these is a process's worth: nothing but the log and its files goes from one to the next.
    for count in [10, 20] {
        let runner = site.run(&Kinds::new());
        site.pass_until(REST_S, || failures().len() >= count);
        runner.stop();
        let status = site.status("ship");
        assert_eq!((status.state, status.parked), (SinkState::Running, 0));
        assert!(status.is_failing);
    }
    let runner = site.run(&Kinds::new());
    site.pass_until(REST_S, || lines(&given).len() >= everything(&site).len());
    assert_eq!(first_positions(&lines(&given)), everything(&site));
    assert_eq!(failures().len(), 30);
    runner.stop();
    is_private(&site.files());
}

/// meshflow 5.4: what is not signed looks as if it were, and what was signed once can be sent again for
/// ever.
#[test]
fn meshflow_5_4_a_signature_says_nothing() {
    let site = Site::default();
    let path = site.path("secret");
    fs::write(&path, format!("whsec_{}\n", BASE64_STANDARD.encode(KEY))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (plain, signed) = (Endpoint::start([]), Endpoint::start([503; 12]));
    let hook = WebhookConfig::new(&plain.url);
    site.add(&sink("plain", Destination::Webhook(hook)));
    let hook = WebhookConfig::new(&signed.url).secrets([SecretSource::File(path.clone())]);
    site.add(&sink("signed", Destination::Webhook(hook)));
    site.append(10);
    // Twelve tries, and each process makes some of them.
    for count in [1, 6, 13] {
        let runner = site.run(&Kinds::new());
        site.pass_until(60, || signed.posted().len() >= count);
        if count == 13 {
            // That it works again is recorded too.
            let lags = |name: &&str| site.status(name).lag_events > 0;
            site.pass_until(60, || !["plain", "signed"].iter().any(lags));
        }
        runner.stop();
    }
    for name in ["plain", "signed"] {
        assert_eq!(site.status(name).parked, 0, "{name}");
    }
    for posted in plain.posted() {
        assert_eq!(posted.headers.get("webhook-signature"), None);
    }
    let mut ids = BTreeSet::new();
    for posted in signed.posted() {
        let header = |name: &str| posted.headers[name].as_str();
        let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
        // When it was sent stands under the signature, so that what is old is known to be.
        let text = [format!("{id}.{at}.").as_bytes(), &posted.body].concat();
        let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac(KEY, &text)));
        assert_eq!(header("webhook-signature"), expected);
        assert!(at.parse::<u64>().unwrap() > 1_700_000_000);
        ids.insert(id.to_owned());
    }
    // However often it was tried, it is one delivery.
    assert_eq!(ids.len(), 1, "{ids:?}");
    let secret = fs::read_to_string(&path).unwrap();
    for (file, bytes) in site.all_files() {
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|some| some == secret);
        let is_there = has(KEY) || has(secret.trim_end().as_bytes());
        assert_eq!(is_there, file == path, "{}", file.display());
    }
}

const KEY: &[u8; 32] = b"a key that nobody else can know!";

/// RFC 2104, with SHA-256 and a key of less than a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

/// What stands beside the log is for its owner alone.
fn is_private(folder: &Path) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
