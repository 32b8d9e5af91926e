//! Archives in a store that speaks S3, on this machine.

use super::{commanded, config, run};
use runstone::SinkConfig;
use runstone::sinks::{
    ArchiveConfig, Destination, Kinds, S3Config, SecretSource, SegmentsConfig, SinkState,
};
use runstone_tests::command::Runstone;
use runstone_tests::sinks::{BUCKET, Bucket, SECRET, Site, until};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Duration;

/// Stands nowhere but where secrets are named.
pub(super) const KEY: &str = "planted-access-key";

/// Runs a command with the usual variables of S3.
pub(super) fn with_s3(runstone: &Runstone, endpoint: &str, args: &[&str]) -> Output {
    let mut command = runstone.command(args);
    command
        .env("AWS_ACCESS_KEY_ID", "anyone")
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", endpoint);
    command.output().unwrap()
}

pub(super) fn value(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An archive with credentials that are named.
pub(super) fn archive(site: &Site, endpoint: &str) -> SinkConfig {
    let key = site.path("key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let s3 = S3Config::default()
        .endpoint(Some(endpoint.to_owned()))
        .region(Some("us-east-1".to_owned()))
        .credentials(SecretSource::File(key.clone()), SecretSource::File(key));
    let segments = SegmentsConfig::default().events(20).wait(Duration::ZERO);
    let archive = ArchiveConfig::new(format!("s3://{BUCKET}/a/b"));
    config(archive.segments(segments).s3(s3))
}

#[test]
fn a_log_comes_back_from_a_bucket() -> Outcome {
    let bucket = Bucket::default();
    let (folder, runstone, _) = commanded(50, 200)?;
    runstone.value(["sink", "remove", "a"]);
    let to = format!("s3://{BUCKET}/prod");
    let words = ["--segment-events", "60", "--s3-endpoint", &bucket.endpoint];
    runstone.value(
        [
            &["sink", "add", "vault", "--archive", &to],
            words.as_slice(),
        ]
        .concat(),
    );
    for _ in 0..2 {
        let ran = with_s3(
            &runstone,
            &bucket.endpoint,
            &["sink", "run", "--until-caught-up"],
        );
        assert_eq!(value(&ran)["lag_events"], 0);
        runstone.value(["append", "--type", "a.b", "--stream", "s", "--data", "{}"]);
    }
    let ran = with_s3(
        &runstone,
        &bucket.endpoint,
        &["sink", "run", "--until-caught-up"],
    );
    assert_eq!(value(&ran)["state"], "running");
    let copy = Runstone::on(folder.path().join("copy"));
    let loaded = value(&with_s3(&copy, &bucket.endpoint, &["load", &to]));
    assert_eq!(loaded["root"], runstone.value(["stats"])["root"]);
    let put = value(&with_s3(
        &runstone,
        &bucket.endpoint,
        &["sink", "archive", "s1", &to],
    ));
    let again = value(&with_s3(
        &runstone,
        &bucket.endpoint,
        &["sink", "archive", "s1", &to],
    ));
    assert_eq!(
        (&put["url"], &put["sha256"]),
        (&again["url"], &again["sha256"])
    );
    // What one of the objects says of itself.
    let listed = bucket.ask("GET", "?list-type=2", "");
    let keys = listed
        .split("<Key>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap());
    let keys: Vec<_> = keys.collect();
    assert_eq!(
        keys.iter().filter(|key| key.contains("/segments/")).count(),
        6
    );
    let first = bucket.ask(
        "GET",
        keys.iter().find(|key| key.contains("/segments/")).unwrap(),
        "",
    );
    assert!(first.contains("x-amz-meta-sha256: "), "{first}");
    for name in ["log", "log.sinks/vault.cursor"] {
        let bytes = fs::read(folder.path().join(name))?;
        assert!(
            !bytes.windows(KEY.len()).any(|at| at == KEY.as_bytes()),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn nothing_in_a_bucket_is_overwritten() {
    let (bucket, site) = (Bucket::default(), Site::default());
    site.append(30);
    site.add(&archive(&site, &bucket.endpoint));
    let runner = site.run(&Kinds::new());
    let size = site.log().durable_size();
    runner.caught_up_blocking(size);
    let log = site.log().info().log_id;
    let name = format!("a/b/{log}/segments/{size:020}.jsonl");
    bucket.ask("PUT", &name, "something else");
    site.append(5);
    until(|| site.status("archive").state == SinkState::Stopped, || {});
    runner.stop();
    let advice = site.status("archive").advice().unwrap_or_default();
    assert!(advice.contains("nothing was overwritten"), "{advice}");
    assert!(bucket.ask("GET", &name, "").ends_with("something else"));
    let first = format!("a/b/{log}/segments/{:020}.jsonl", 0);
    let segment = bucket.ask("GET", &first, "");
    assert!(segment.contains("runstone/segment@v1") && !segment.contains(SECRET));
}

#[test]
fn a_store_that_is_away_is_waited_for() -> Outcome {
    let (mut bucket, site) = (Bucket::default(), Site::default());
    site.append(30);
    let mut away = archive(&site, &bucket.endpoint);
    drop(std::mem::take(&mut bucket));
    if let Destination::Archive(archive) = &mut away.to {
        // A port at which nobody answers.
        archive.s3.endpoint = Some("http://127.0.0.1:9".to_owned());
    }
    site.add(&away);
    let runner = site.run(&Kinds::new());
    until(|| site.status("archive").is_failing, || {});
    runner.stop();
    let status = site.status("archive");
    assert_eq!((status.state, status.position), (SinkState::Running, 0));
    let mut there = archive(&site, &bucket.endpoint);
    there.name = "there".to_owned();
    site.sinks()
        .change_blocking("archive", runstone::sinks::SinkChange::Remove)?;
    site.add(&there);
    run(&site);
    assert_eq!(site.status("there").lag_events, 0);
    Ok(())
}

#[test]
fn how_a_bucket_is_named() {
    let site = Site::default();
    let fine = |url: &str, s3: S3Config| {
        let archive = ArchiveConfig::new(url).s3(s3);
        let config = SinkConfig::new("a", Destination::Archive(archive));
        let added = site.sinks().add_blocking(&config);
        if added.is_ok() {
            let remove = runstone::sinks::SinkChange::Remove;
            site.sinks().change_blocking("a", remove).unwrap();
        }
        added.map_or_else(|error| error.code().to_owned(), |_| String::new())
    };
    let endpoint = |url: &str| S3Config::default().endpoint(Some(url.to_owned()));
    let file = SecretSource::File("/a".into());
    let named = endpoint("https://a.b").credentials(file.clone(), file.clone());
    for (url, s3, code) in [
        ("s3://bucket", S3Config::default(), ""),
        ("s3://bucket/a/b", named, ""),
        ("s3://bucket/a", endpoint("http://127.0.0.1:9000"), ""),
        (
            "s3://bucket/a",
            endpoint("http://example.com"),
            "sink_config",
        ),
        (
            "s3://key:secret@bucket/a",
            S3Config::default(),
            "sink_config",
        ),
        ("s3:///a", S3Config::default(), "sink_config"),
        ("file:///tmp/a", endpoint("https://a.b"), "sink_config"),
    ] {
        assert_eq!(fine(url, s3), code, "{url}");
    }
    let json = json!({"name": "a", "to": {"archive": {"url": "s3://b", "s3": {"access_key": {"env": "A"}}}}});
    let half: SinkConfig = serde_json::from_value(json).unwrap();
    assert_eq!(
        site.sinks().add_blocking(&half).unwrap_err().code(),
        "sink_config"
    );
}
