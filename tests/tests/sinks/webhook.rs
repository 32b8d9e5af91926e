//! Webhooks as sinks, given to a receiver of libraries that nobody here wrote: `standardwebhooks` checks
//! signatures, `cloudevents` reads events.

use runstone::sinks::{
    Destination, Kinds, SecretSource, SinkChange, SinkState, Timer as _, WebhookConfig, WebhookMode,
};
use runstone::{NewEvent, Query, SinkConfig};
use runstone_tests::sinks::{CONTRACT, Made, Receiver, SECRET, Site};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// Seconds that a delivery has that nothing may cut short.
const PATIENT: Duration = Duration::from_secs(3_600);
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==";

fn secret(site: &Site, name: &str, text: &str) -> SecretSource {
    let path = site.path(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    SecretSource::File(path)
}

fn signed(site: &Site, receiver: &Receiver) -> WebhookConfig {
    WebhookConfig::new(&receiver.url).secrets([secret(site, "whsec", WHSEC)])
}

fn sink(config: WebhookConfig) -> SinkConfig {
    SinkConfig::new("hook", Destination::Webhook(config)).timeout(PATIENT)
}

fn positions(receiver: &Receiver) -> Vec<u64> {
    let seen = receiver.seen().into_iter();
    seen.map(|seen| seen.position).collect()
}

fn last_failure(site: &Site) -> String {
    let failures = site.sinks().failures("hook").unwrap();
    failures.last().unwrap().why.clone()
}

#[test]
fn webhooks_keep_the_contract() {
    for (property, check) in CONTRACT {
        eprintln!("{property}");
        check(&|site| {
            let receiver = Receiver::start(site, "webhook", &["--secret", WHSEC]);
            Made {
                to: Destination::Webhook(signed(site, &receiver)),
                kinds: Kinds::new(),
                seen: Box::new(move || receiver.seen()),
            }
        });
    }
}

#[test]
fn an_event_is_one_of_cloudevents() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &[]);
    let cause = NewEvent::new("chat.message", "run-1");
    let cause = site.log().append_blocking(cause).unwrap().first;
    let cause = site.log().record(cause).unwrap().header.event_id;
    let event = NewEvent::new("chat.done", "run-1")
        .occurred_at_us(1_764_000_000_000_001)
        .source("shop")
        .causation(cause)
        .tag("order:7")
        .payload(format!(
            "{{\"n\":340282366920938463463374607431768211455,\"secret\":\"{SECRET}\"}}"
        ));
    let position = site.log().append_blocking(event).unwrap().first;
    let record = site.log().record(position).unwrap();
    let config = sink(WebhookConfig::new(&receiver.url).mode(WebhookMode::Structured));
    site.add(&config.batch_events(1).fields(["n"]));
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(position.get() + 1);
    runner.stop();
    let request = receiver.requests().pop().unwrap();
    assert_eq!(request["type"], "application/cloudevents+json");
    let log = site.log().info().log_id;
    let added = site.status("hook").added;
    let id = format!("msg_{log}_hook_{added}_{position}_{position}");
    assert_eq!(request["id"], id.as_str());
    let event = &request["events"][0];
    // As it was written: this number fits no number here.
    let kept = fs::read_to_string(site.path("out.jsonl")).unwrap();
    let data = "\"data\": {\"n\": 340282366920938463463374607431768211455}";
    assert!(kept.contains(data), "{kept}");
    let recorded = runstone::store::line::rfc3339(record.recorded_at_us).unwrap();
    let mut expected = json!({
        "specversion": "1.0",
        "id": record.header.event_id.to_string(),
        "source": format!("urn:runstone:log:{log}"),
        "type": "chat.done",
        "subject": "run-1",
        "time": "2025-11-24 16:00:00.000001+00:00",
        "datacontenttype": "application/json",
        "sequence": format!("{:020}", position.get()),
        "revision": "1",
        "schemaversion": record.header.schema_version.to_string(),
        "recordedtime": recorded,
        "producer": "shop",
        "authority": record.header.authority.as_str(),
        "causationid": cause.to_string(),
        "scope": record.header.scope,
        "tags": "[\"order:7\"]",
    });
    if record.header.scope.is_empty() {
        expected.as_object_mut().unwrap().remove("scope");
    }
    assert_eq!(event["attributes"], expected);
}

#[test]
fn what_fails_now_and_then_is_complete_in_order_and_marked() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &["--secret", WHSEC]);
    receiver.behave(&json!({"fail_third": true}));
    site.append(300);
    site.add(
        &sink(signed(&site, &receiver))
            .batch_events(20)
            .fields(["text"]),
    );
    let _runner = site.run(&Kinds::new());
    let everything = site.positions(Query::everything());
    site.pass_until(60, || site.status("hook").lag_events < 3);
    let (mut met, mut highest) = (BTreeSet::new(), None);
    for seen in receiver.seen() {
        let is_new = met.insert(seen.position);
        assert!(is_new || seen.is_duplicate, "{seen:?}");
        assert!(!is_new || Some(seen.position) > highest, "{seen:?}");
        highest = highest.max(Some(seen.position));
    }
    assert_eq!(met.into_iter().collect::<Vec<_>>(), everything);
    // Whoever gets the same again can tell by the id of the request and by those of the events.
    let requests = receiver.requests();
    let failed = requests.iter().position(|request| request["status"] == 500);
    let (failed, again) = (&requests[failed.unwrap()], &requests[failed.unwrap() + 1]);
    assert_eq!(failed["id"], again["id"]);
    let ids = |request: &Value| {
        let events = request["events"].as_array().unwrap().iter();
        events
            .map(|event| event["attributes"]["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(failed), ids(again));
}

#[test]
fn its_status_says_what_became_of_a_batch() {
    for status in [302, 400, 401, 404, 408, 410, 413, 429, 503] {
        let site = Site::default();
        let receiver = Receiver::start(&site, "webhook", &[]);
        let elsewhere = "https://planted:planted@example.com/planted?planted=1";
        receiver.behave(&json!({"status": status, "location": elsewhere}));
        site.add(&sink(WebhookConfig::new(&receiver.url)).tries(2));
        site.append(2);
        let everything = site.positions(Query::everything());
        let _runner = site.run(&Kinds::new());
        let failures = || site.sinks().failures("hook").unwrap();
        let is_stopped = || site.status("hook").state == SinkState::Stopped;
        match status {
            400 | 413 => {
                site.pass_until(60, || site.status("hook").parked == everything.len() as u64);
            }
            401 => {
                site.pass_until(300, is_stopped);
                assert_eq!(failures().len(), 5);
            }
            302 | 410 => {
                site.pass_until(0, is_stopped);
                assert_eq!(failures().len(), 1);
            }
            _ => site.pass_until(60, || failures().len() > 5),
        }
        for failure in failures() {
            assert!(!failure.why.contains("planted"), "{}", failure.why);
            let is_told = failure.why.contains(&status.to_string());
            assert!(is_told, "{status}: {}", failure.why);
            let is_place_told = failure.why.contains("points to https://example.com;");
            assert_eq!(is_place_told, status == 302);
        }
        receiver.behave(&json!({}));
        let change = match status {
            400 | 413 => SinkChange::ReplayParked,
            _ => SinkChange::Resume,
        };
        site.pass_until(0, || {
            !is_stopped() || site.sinks().change_blocking("hook", change).is_ok()
        });
        if !is_stopped() {
            site.sinks().change_blocking("hook", change).unwrap();
        }
        site.pass_until(60, || positions(&receiver).len() >= everything.len());
        assert_eq!(positions(&receiver), everything, "{status}");
    }
}

#[test]
fn what_is_too_much_at_once_is_given_one_by_one_and_what_is_refused_is_parked() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &[]);
    receiver.behave(&json!({"most": 1, "refuse": [3]}));
    site.append(9);
    site.add(&sink(WebhookConfig::new(&receiver.url)).tries(2));
    let _runner = site.run(&Kinds::new());
    let mut expected = site.positions(Query::everything());
    expected.retain(|position| *position != 3);
    site.pass_until(60, || positions(&receiver).len() == expected.len());
    assert_eq!(positions(&receiver), expected);
    let parked = site.sinks().parked("hook").unwrap();
    assert_eq!((parked.len(), parked[0].position), (1, 3));
}

#[test]
fn one_that_does_not_answer_in_time_gets_it_again_as_a_duplicate() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &[]);
    receiver.behave(&json!({"hang": true}));
    site.append(3);
    site.add(&sink(WebhookConfig::new(&receiver.url)).timeout(Duration::from_secs(100)));
    let _runner = site.run(&Kinds::new());
    site.pass_until(0, || !receiver.requests().is_empty());
    site.timer.advance(100_000_000);
    site.pass_until(60, || !site.sinks().failures("hook").unwrap().is_empty());
    receiver.behave(&json!({}));
    let everything = site.positions(Query::everything());
    site.pass_until(60, || positions(&receiver).len() >= everything.len());
    assert_eq!(positions(&receiver), everything);
    assert!(receiver.seen().iter().all(|seen| seen.is_duplicate));
}

/// While it runs and when it is begun again; a secret that is the one that was refused is none.
#[test]
fn a_webhook_goes_on_when_its_secret_changes() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &["--secret", WHSEC]);
    let file = secret(&site, "whsec", OTHER);
    site.append(3);
    site.add(&sink(
        WebhookConfig::new(&receiver.url).secrets([file.clone()]),
    ));
    let stands = || site.status("hook").state;
    let runner = site.run(&Kinds::new());
    site.pass_until(300, || stands() == SinkState::Stopped);
    let asked = receiver.requests().len();
    secret(&site, "whsec", OTHER);
    let looked_at = site.timer.now_us() + 180_000_000;
    site.pass_until(60, || site.timer.now_us() >= looked_at);
    assert_eq!(
        (stands(), receiver.requests().len()),
        (SinkState::Stopped, asked)
    );
    secret(&site, "whsec", WHSEC);
    let everything = site.positions(Query::everything());
    site.pass_until(60, || positions(&receiver) == everything);
    assert_eq!(stands(), SinkState::Running);

    secret(&site, "whsec", OTHER);
    receiver.behave(&json!({"status": 401}));
    site.append(1);
    site.pass_until(300, || stands() == SinkState::Stopped);
    runner.stop();
    receiver.behave(&json!({}));
    secret(&site, "whsec", WHSEC);
    let everything = site.positions(Query::everything());
    let _runner = site.run(&Kinds::new());
    site.pass_until(60, || positions(&receiver) == everything);
}

#[test]
fn a_signature_of_another_secret_is_refused_and_two_sign_while_one_takes_over() {
    let site = Site::default();
    let receiver = Receiver::start(&site, "webhook", &["--secret", WHSEC]);
    let file = secret(&site, "whsec", OTHER);
    site.append(3);
    site.add(&sink(WebhookConfig::new(&receiver.url).secrets([file])));
    let _runner = site.run(&Kinds::new());
    site.pass_until(300, || site.status("hook").state == SinkState::Stopped);
    assert!(
        receiver
            .requests()
            .iter()
            .all(|request| request["status"] == 401)
    );
    assert!(last_failure(&site).contains("401"));
    // What the file has now is read when the sink goes on.
    secret(&site, "whsec", WHSEC);
    let resume = || site.sinks().change_blocking("hook", SinkChange::Resume);
    site.pass_until(0, || resume().is_ok());
    let everything = site.positions(Query::everything());
    site.pass_until(60, || positions(&receiver) == everything);

    let two = [secret(&site, "new", OTHER), secret(&site, "whsec", WHSEC)];
    let both = WebhookConfig::new(&receiver.url).secrets(two);
    site.add(&SinkConfig::new("both", Destination::Webhook(both)).timeout(PATIENT));
    site.pass_until(60, || positions(&receiver).len() >= 2 * everything.len());
    assert!(!site.status("both").is_failing);
}

#[test]
fn a_secret_that_is_not_there_or_open_to_others_is_waited_for() {
    let site = Site::default();
    let bearer = ["--authorization", "Bearer planted-token"];
    let receiver = Receiver::start(&site, "webhook", &bearer);
    let token = secret(&site, "token", "Bearer planted-token");
    let path = site.path("token");
    fs::remove_file(&path).unwrap();
    let config = WebhookConfig::new(&receiver.url).header("Authorization", token);
    site.append(3);
    site.add(&sink(config));
    let runner = site.run(&Kinds::new());
    let failures = || site.sinks().failures("hook").unwrap();
    site.pass_until(60, || failures().len() > 2);
    assert!(
        last_failure(&site).contains("/token"),
        "{}",
        last_failure(&site)
    );
    fs::write(&path, "Bearer planted-token\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    site.pass_until(60, || last_failure(&site).contains("chmod 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let everything = site.positions(Query::everything());
    site.pass_until(60, || positions(&receiver) == everything);
    // It stands in no file of the sink, and not in the log.
    runner.stop();
    let bytes = [
        site.bytes_beside("out"),
        fs::read(site.path("log")).unwrap(),
    ]
    .concat();
    let token = b"planted-token";
    assert!(!bytes.windows(token.len()).any(|at| at == token));
    let answer = b"the-planted-answer";
    assert!(!bytes.windows(answer.len()).any(|at| at == answer));
}

/// Answers every connection with these bytes, and then with more of the last ones for as long as they
/// are read.
fn answering(head: &'static str, more: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut some = [0; 1_024];
                let mut asked =
                    stream.read(&mut some).is_ok() && stream.write_all(head.as_bytes()).is_ok();
                while asked {
                    asked = stream.write_all(more.as_bytes()).is_ok();
                }
            });
        }
    });
    url
}

#[test]
fn an_answer_without_end_is_not_waited_for_and_one_that_is_none_is_an_outage() {
    let site = Site::default();
    site.append(3);
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let endless = answering(endless, "8\r\nplanted!\r\n");
    site.add(&sink(WebhookConfig::new(endless)));
    let heads = answering("HTTP/1.1 200 OK\r\n", "x-planted: planted\r\n");
    let other = answering("SSH-2.0-planted\r\n", "planted\r\n");
    for (name, url) in [("heads", heads), ("other", other)] {
        let to = Destination::Webhook(WebhookConfig::new(url));
        site.add(&SinkConfig::new(name, to).timeout(PATIENT));
    }
    let runner = site.run(&Kinds::new());
    let failures = |name: &str| site.sinks().failures(name).unwrap();
    site.pass_until(60, || {
        let is_failing = |name| failures(name).len() > 2;
        site.status("hook").delivered > 3 && is_failing("heads") && is_failing("other")
    });
    runner.stop();
    assert!(failures("hook").is_empty());
    for name in ["heads", "other"] {
        assert_eq!(site.status(name).parked, 0);
        for failure in failures(name) {
            assert!(!failure.why.contains("planted"), "{}", failure.why);
        }
    }
}

#[test]
fn a_certificate_is_checked_against_the_authorities_that_are_named() {
    let site = Site::default();
    let folder = site.path("");
    let receiver = Receiver::start(&site, "webhook", &["--tls", folder.to_str().unwrap()]);
    assert!(receiver.url.starts_with("https://"));
    site.append(3);
    let everything = site.positions(Query::everything());
    site.add(&sink(WebhookConfig::new(&receiver.url)));
    let _runner = site.run(&Kinds::new());
    let failures = || site.sinks().failures("hook").unwrap();
    site.pass_until(60, || failures().len() > 2);
    assert!(
        last_failure(&site).contains("certificate"),
        "{}",
        last_failure(&site)
    );
    assert_eq!(receiver.requests().len(), 0);
    let trusting = WebhookConfig::new(&receiver.url).ca(Some(site.path("ca.pem")));
    site.add(&SinkConfig::new("ca", Destination::Webhook(trusting)).timeout(PATIENT));
    site.pass_until(60, || positions(&receiver).len() >= everything.len());
    assert_eq!(positions(&receiver), everything);
    // That the name is right matters too.
    let other = receiver.url.replace("127.0.0.1", "localhost");
    let other = WebhookConfig::new(other).ca(Some(site.path("ca.pem")));
    site.add(&SinkConfig::new("name", Destination::Webhook(other)));
    site.pass_until(60, || !site.sinks().failures("name").unwrap().is_empty());
    assert_eq!(positions(&receiver), everything);
}
