//! Mirrors: another file with the same log, which follows it and no other.

use runstone::sinks::{Destination, Kinds, MirrorConfig, SegmentsConfig, SinkState};
use runstone::{
    Erase, NewEvent, OpenOptions, Payload, Query, Read, Runstone, SinkConfig, VerifyLevel,
    verify_file,
};
use runstone_tests::sinks::{CONTRACT_OF_PARTS, Made, SECRET, Site, until};
use runstone_tests::tamper::Outcome;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn mirror(path: &Path) -> Destination {
    let segments = SegmentsConfig::default().events(9).wait(Duration::ZERO);
    Destination::Mirror(MirrorConfig::new(path).segments(segments))
}

fn config(path: &Path) -> SinkConfig {
    SinkConfig::new("mirror", mirror(path)).timeout(Duration::from_secs(3_600))
}

fn run(site: &Site) {
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
}

#[test]
fn it_keeps_the_contract() {
    for (property, check) in CONTRACT_OF_PARTS {
        eprintln!("{property}");
        check(&|site| {
            let path = site.path("out");
            Made {
                to: mirror(&path),
                kinds: Kinds::new(),
                seen: Box::new(move || {
                    if path.exists() {
                        site.seen_in(&path)
                    } else {
                        Vec::new()
                    }
                }),
            }
        });
    }
}

#[test]
fn it_is_the_log_sealed_and_verifies() -> Outcome {
    let site = Site::default();
    let path = site.path("out");
    site.append(50);
    site.add(&config(&path));
    run(&site);
    site.append(50);
    run(&site);
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&path)?;
    let planted = SECRET.as_bytes();
    assert!(!bytes.windows(planted.len()).any(|at| at == planted));
    let copy = site.copy(&path);
    assert_eq!(
        (copy.size(), copy.root()),
        (site.log().size(), site.log().root())
    );
    let kept = copy.kept_checkpoint(u64::MAX)?.ok_or("no checkpoint")?;
    assert_eq!(kept.checkpoint().size, copy.size());
    let refused = copy.append_blocking(NewEvent::new("a.b", "s")).unwrap_err();
    assert_eq!(refused.code(), "read_only");
    copy.close_blocking()?;
    drop(copy);
    let mut keys = OpenOptions::default();
    keys.keys = Some(site.path("log.keys"));
    let report = verify_file(&path, keys, VerifyLevel::Commitments, &|_, _| {})?;
    assert!(report.valid, "{report:?}");
    Ok(())
}

#[test]
fn what_is_erased_goes_out_of_it() -> Outcome {
    let site = Site::default();
    let path = site.path("out");
    site.append(30);
    site.add(&config(&path));
    run(&site);
    let scope = site.log().scope_of_stream("run-1")?.unwrap_or_default();
    site.log()
        .erase(&Erase::new(scope, "gdpr-17-1-b"), &|_, _| {})?;
    run(&site);
    let copy = site.copy(&path);
    assert_eq!(copy.root(), site.log().root());
    let contents = copy.read(Read::new(Query::stream("run-1")))?;
    let contents: Vec<_> = contents.map(|record| record.unwrap().payload).collect();
    assert_eq!(contents, vec![Payload::Erased; 10]);
    drop(copy);
    let report = verify_file(
        &path,
        OpenOptions::default(),
        VerifyLevel::Payloads,
        &|_, _| {},
    )?;
    assert!(report.valid, "{report:?}");
    Ok(())
}

#[test]
fn it_follows_no_other_log_and_no_file_of_another_kind() -> Outcome {
    let other = tempfile::tempdir()?;
    let path = other.path().join("other");
    let another = Runstone::options().open_or_create(&path)?;
    another.append_blocking(NewEvent::new("a.b", "s"))?;
    let backup = other.path().join("backup");
    another.backup(&backup, &|_, _| {})?;
    another.close_blocking()?;
    drop(another);
    let text = other.path().join("text");
    fs::write(&text, "not a log")?;
    for (to, why) in [
        (&path, "it is a log, written by itself"),
        (&backup, "what is there is of log"),
        (&text, "not a Runstone log"),
    ] {
        let site = Site::default();
        site.append(5);
        site.add(&config(to));
        let before = fs::read(to)?;
        let runner = site.run(&Kinds::new());
        until(|| site.status("mirror").state == SinkState::Stopped, || {});
        runner.stop();
        let advice = site.status("mirror").advice().unwrap_or_default();
        assert!(advice.contains(why), "{advice}");
        assert!(fs::read(to)? == before, "{why}");
    }
    Ok(())
}

/// Whoever looks at it has it for himself, and it goes on after that.
#[test]
fn it_waits_for_whoever_reads_it() {
    let site = Site::default();
    let path = site.path("out");
    site.append(5);
    site.add(&config(&path));
    run(&site);
    let reading = site.copy(&path);
    let size = reading.size();
    site.append(5);
    let runner = site.run(&Kinds::new());
    until(|| site.status("mirror").is_failing, || {});
    assert_eq!(
        (reading.size(), site.status("mirror").state),
        (size, SinkState::Running)
    );
    drop(reading);
    let target = site.log().durable_size();
    site.pass_until(120, || site.status("mirror").position >= target);
    runner.stop();
    assert!(site.copy(&path).size() >= target);
}
