//! Secrets in the content of every kind of event, and everything that sinks write: none is in it.

use runstone::agents::{AgentChange, Agents, Messages, NewMessage};
use runstone::approvals::{ApprovalRequest, Approvals};
use runstone::effects::Claim;
use runstone::sinks::{Destination, JsonlConfig, Kinds, Timer, WebhookConfig};
use runstone::tasks::{NewTask, Tasks};
use runstone::{EffectClass, Log, NewEvent, Query, Read, Runstone, SinkConfig, Status};
use runstone_projections::Hold;
use runstone_tests::sinks::{Endpoint, Memory, SECRET, Site, lines};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Stands in a member that is let out.
const OPEN: &str = "what everybody may see";
/// Seconds that a delivery has that nothing may cut short.
const PATIENT: Duration = Duration::from_secs(3_600);

/// Everything that is traced, of every level.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = writeln!(self.0, "{field}={value:?}");
    }
}

impl Subscriber for Traces {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A run with a secret wherever somebody may write one.
async fn work(log: &Runstone) -> Outcome {
    let told = || json!({"name": OPEN, "secret": SECRET, "deep": [{"er": SECRET}]});
    let run = log.run("bot").scope("ann").start("run-1").await?;
    run.session().patch(&told()).await?;
    run.session().append("/list", &SECRET).await?;
    for (id, is_good) in [("c1", true), ("c2", false)] {
        let call = run.effect("pay").call_id(id).class(EffectClass::Write);
        let called = call.args(&told()).call(|| async {
            is_good
                .then(told)
                .ok_or_else(|| std::io::Error::other(SECRET))
        });
        assert_eq!(called.await.is_ok(), is_good);
        let step = run.step(id).run(|| async {
            is_good
                .then(told)
                .ok_or_else(|| std::io::Error::other(SECRET))
        });
        assert_eq!(step.await.is_ok(), is_good);
    }
    run.append(NewEvent::new("chat.message", "run-1").json(&told())?)
        .await?;
    run.finish_with(Status::Error, Some(&told()), Some(SECRET.to_owned()))
        .await?;
    Ok(())
}

fn fill(log: &Log) -> Outcome {
    let told = || json!({"name": OPEN, "secret": SECRET});
    tokio::runtime::Runtime::new()?.block_on(work(&log.clone().into()))?;
    let claim = Claim::tool("run-2", "pay").request("r");
    let claim = claim
        .hold(Hold::For(Duration::from_secs(60)))
        .args(&told())?;
    Approvals::new(log).request_blocking(&ApprovalRequest::new(&claim, SECRET))?;
    Tasks::new(log).create_blocking(&NewTask::new("t").title(SECRET).description(SECRET))?;
    Agents::new(log).change_blocking("scout", &AgentChange::register())?;
    Agents::new(log).change_blocking(
        "scout",
        &AgentChange::sleep(SECRET, Duration::from_secs(60)),
    )?;
    let message = NewMessage::to("scout").text(SECRET).body(&told())?;
    Messages::new(log).send_blocking(&message)?;
    for payload in [
        format!("\"{SECRET}\""),
        format!("[\"{SECRET}\"]"),
        format!("{{\"{SECRET}\":1,\"name\":\"{OPEN}\"}}"),
        format!("{{\"name\":\"{OPEN}\",\"named\":\"{SECRET}\"}}"),
    ] {
        log.append_blocking(NewEvent::new("a.one", "run-3").payload(payload))?;
    }
    Ok(())
}

/// Types of the events whose content has a secret.
fn planted(log: &Log) -> Outcome<BTreeSet<String>> {
    let mut types = BTreeSet::new();
    for record in log.read(Read::new(Query::everything()))? {
        let record = record?;
        let content = record.payload.bytes().unwrap_or_default();
        if has_secret(content) {
            types.insert(record.header.event_type.into());
        }
    }
    Ok(types)
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes
        .windows(SECRET.len())
        .any(|some| some == SECRET.as_bytes())
}

#[test]
fn nothing_that_sinks_write_has_what_is_not_named() -> Outcome {
    let traces = Traces::default();
    tracing::subscriber::set_global_default(traces.clone())?;
    let site = Site::default();
    fill(site.log())?;
    let types = planted(site.log())?;
    assert!(types.len() >= 12, "{types:?}");

    let memory = Memory::new();
    let timer: Arc<dyn Timer> = Arc::new(site.timer.clone());
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    let [good, bad] = [Endpoint::start([]), Endpoint::start([400; 1_000])];
    let path = |name: &str| site.path(name);
    let script = |script: &str| Destination::command(["sh", "-c", script]);
    let given = format!("tee -a {}", path("given").display());
    let aside = JsonlConfig::new(path("aside")).rotate_bytes(Some(2_000));
    let hook = |endpoint: &Endpoint| Destination::Webhook(WebhookConfig::new(&endpoint.url));
    for (name, to) in [
        ("bare", Destination::jsonl(path("bare"))),
        ("aside", Destination::Jsonl(aside)),
        ("given", script(&given)),
        ("posted", hook(&good)),
        ("memory", Destination::custom("memory")),
        ("loud", script("tee /dev/stderr; exit 65")),
        ("down", script("tee /dev/stderr; exit 1")),
        ("killed", script("cat >&2; kill -9 $$")),
        ("absent", Destination::command(["/no/such/program"])),
        ("lost", Destination::jsonl(path("no/such/folder"))),
        ("unkind", hook(&bad)),
        ("panic", Destination::custom("panic")),
        ("deny", Destination::custom("deny")),
        ("unknown", Destination::custom("unknown")),
    ] {
        let config = SinkConfig::new(name, to).timeout(PATIENT).tries(1);
        site.add(&config);
    }
    let named = SinkConfig::new("named", Destination::jsonl(path("named")));
    site.add(&named.fields(["name", "status"]));
    let all = site.positions(Query::everything()).len();
    let runner = site.run(&kinds);
    site.pass_until(300, || {
        let failed = |name: &&str| site.sinks().failures(name).unwrap().len() >= 3;
        let parked = |name: &&str| site.status(name).parked == all as u64;
        let done = |name: &&str| site.status(name).delivered == all as u64;
        ["down", "killed", "absent", "lost", "deny", "unknown"]
            .iter()
            .all(failed)
            && ["loud", "unkind"].iter().all(parked)
            && ["bare", "aside", "given", "posted", "named"]
                .iter()
                .all(done)
    });
    runner.stop();

    // What is named has left, and nothing else.
    assert_eq!(lines(&path("bare")).len(), all);
    let text = std::fs::read_to_string(path("named"))?;
    assert_eq!(text.matches(OPEN).count(), 3, "{text}");
    let files = site.all_files();
    assert!(files.len() > 20, "{} files", files.len());
    for (file, bytes) in files {
        assert!(!has_secret(&bytes), "{}", file.display());
    }
    for posted in [&good, &bad].into_iter().flat_map(Endpoint::posted) {
        assert!(!has_secret(&posted.body), "{posted:?}");
        assert!(!has_secret(format!("{:?}", posted.headers).as_bytes()));
    }
    for seen in memory.with(|kept| kept.seen.clone()) {
        assert!(!has_secret(seen.line.as_bytes()), "{seen:?}");
    }
    // Nor has what is told of them, in the log and to people.
    for status in site.sinks().list()? {
        let sinks = site.sinks();
        let (failures, parked) = (
            sinks.failures(&status.config.name)?,
            sinks.parked(&status.config.name)?,
        );
        let told = format!("{status:?} {:?} {failures:?} {parked:?}", status.advice());
        assert!(!has_secret(told.as_bytes()), "{told}");
    }
    assert!(
        planted(site.log())?
            .iter()
            .all(|name| !name.starts_with("sink."))
    );
    let traces = traces.0.lock().unwrap();
    assert!(
        traces.contains("sink") && !has_secret(traces.as_bytes()),
        "{traces}"
    );
    Ok(())
}
