//! Archives: write-once segments and checkpoints, from which a log comes back.

mod places;
mod s3;
mod strange_stores;

use runstone::sinks::{
    ArchiveConfig, ArchivedLog, CheckpointsConfig, Destination, Kinds, Payloads, S3Config,
    SegmentsConfig, SinkChange, SinkState,
};
use runstone::{
    EpochStart, Erase, LoadReport, Log, OpenOptions, Query, SinkConfig, UnsignedTail, VerifyLevel,
    verify_file,
};
use runstone_codec::LogId;
use runstone_tests::command::Runstone;
use runstone_tests::sinks::{CONTRACT_OF_PARTS, Made, SECRET, Seen, Site, until};
use runstone_tests::tamper::{Outcome, Seeded};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn archive(folder: &Path) -> ArchiveConfig {
    ArchiveConfig::new(url(folder))
        .segments(SegmentsConfig::default().events(7).wait(Duration::ZERO))
}

fn config(archive: ArchiveConfig) -> SinkConfig {
    SinkConfig::new("archive", Destination::Archive(archive)).timeout(Duration::from_secs(3_600))
}

/// Every file below a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn load(folder: &Path, path: &Path) -> Outcome<LoadReport> {
    let mut archived = ArchivedLog::open(&url(folder), &S3Config::default(), None)?;
    Ok(Log::load_segments(
        &mut archived,
        path,
        UnsignedTail::Refused,
        &|_, _| {},
    )?)
}

fn run(site: &Site) {
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
}

/// What a replica says that is loaded from there.
fn seen(site: &Site, folder: &Path) -> Vec<Seen> {
    let copy = site.path("copy");
    for name in ["copy", "copy.head"] {
        let _ = fs::remove_file(site.path(name));
    }
    if files(folder).is_empty() {
        return Vec::new();
    }
    load(folder, &copy).unwrap();
    site.seen_in(&copy)
}

#[test]
fn it_keeps_the_contract() {
    for (property, check) in CONTRACT_OF_PARTS {
        eprintln!("{property}");
        check(&|site| {
            let folder = site.path("out");
            Made {
                to: Destination::Archive(archive(&folder)),
                kinds: Kinds::new(),
                seen: Box::new(move || seen(site, &folder)),
            }
        });
    }
}

#[test]
fn what_is_there_is_the_log_sealed_and_its_owners_alone() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(40);
    site.add(&config(archive(&folder)));
    run(&site);
    let of_log = folder.join(site.log().info().log_id.to_string());
    let segments = files(&of_log.join("segments"));
    assert_eq!(files(&folder), segments);
    let first = segments[0]
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    assert_eq!(first, "00000000000000000000.jsonl");
    assert_eq!(segments.len(), 6);
    let mode = fs::metadata(&folder)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for file in &segments {
        let text = fs::read_to_string(file)?;
        assert!(!text.contains(SECRET) && !text.contains("number"), "{text}");
    }
    let loaded = load(&folder, &site.path("copy"))?;
    assert_eq!(
        (loaded.root, loaded.signed),
        (site.log().root(), site.log().size())
    );
    let mut open = OpenOptions::default();
    open.keys = Some(site.path("log.keys"));
    let report = verify_file(
        &site.path("copy"),
        open,
        VerifyLevel::Commitments,
        &|_, _| {},
    )?;
    assert!(report.valid, "{report:?}");
    Ok(())
}

/// Neither one object an event, nor held back for ever.
#[test]
fn segments_wait_for_events_but_not_for_ever() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    let segments = SegmentsConfig::default()
        .events(50)
        .wait(Duration::from_secs(300));
    let paced = ArchiveConfig::new(url(&folder)).segments(segments);
    site.add(&config(paced).timeout(Duration::from_secs(600)));
    site.append(10);
    let runner = site.run(&Kinds::new());
    site.pass_until(300, || !files(&folder).is_empty());
    assert_eq!(files(&folder).len(), 1);
    let size = site.log().durable_size();
    runner.caught_up_blocking(size);
    site.append(49);
    // So many at once do not wait: no time passes here.
    site.append(1);
    runner.caught_up_blocking(size + 50);
    assert_eq!(files(&folder).len(), 2);
    site.append(3);
    assert_eq!(files(&folder).len(), 2);
    site.pass_until(300, || files(&folder).len() == 3);
    runner.stop();
    assert_eq!(load(&folder, &site.path("copy"))?.root, site.log().root());
    Ok(())
}

#[test]
fn an_archive_that_is_not_of_this_log_is_left_alone() -> Outcome {
    let site = Site::default();
    let (folder, backup) = (site.path("out"), site.path("backup"));
    site.append(10);
    site.log().backup(&backup, &|_, _| {})?;
    site.append(10);
    site.add(&config(archive(&folder)));
    run(&site);
    let before = files(&folder);
    // The copy goes on by itself, as after a restore, and archives to the same place.
    let mut open = OpenOptions::default();
    open.folds = runstone::standard_folds();
    open.keys = Some(site.path("log.keys"));
    site.log().close_blocking()?;
    let copy = Log::start_epoch(&backup, &EpochStart::default(), open)?.log;
    let copy = Site::of(copy, "backup", site);
    for ahead in [true, false] {
        if !ahead {
            copy.append(40);
        }
        let name = ["other", "behind"][usize::from(ahead)];
        let mut again = config(archive(&folder));
        again.name = name.to_owned();
        copy.add(&again);
        let runner = copy.run(&Kinds::new());
        until(|| copy.status(name).state == SinkState::Stopped, || {});
        runner.stop();
        let advice = copy.status(name).advice().unwrap_or_default();
        let why = ["is of another history", "goes up to"][usize::from(ahead)];
        assert!(
            advice.contains(why) && advice.contains("give this log another place"),
            "{advice}"
        );
        assert!(!advice.contains('\n'), "{advice}");
        assert_eq!(files(&folder), before);
        copy.sinks().change_blocking(name, SinkChange::Remove)?;
    }
    Ok(())
}

#[test]
fn what_somebody_else_put_there_is_never_overwritten() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(20);
    let of_log = folder
        .join(site.log().info().log_id.to_string())
        .join("segments");
    fs::create_dir_all(&of_log)?;
    let taken = of_log.join("00000000000000000000.jsonl");
    fs::write(&taken, b"something else")?;
    site.add(&config(archive(&folder)));
    let runner = site.run(&Kinds::new());
    until(|| site.status("archive").state == SinkState::Stopped, || {});
    runner.stop();
    assert_eq!(fs::read(&taken)?, b"something else");
    assert_eq!(files(&folder).len(), 1);
    let advice = site.status("archive").advice().unwrap_or_default();
    assert!(advice.contains("no segment of a log"), "{advice}");
    Ok(())
}

/// Also if it came there after the archive was looked at.
#[test]
fn an_object_that_came_meanwhile_is_never_overwritten() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.add(&config(archive(&folder)));
    let runner = site.run(&Kinds::new());
    let size = site.log().durable_size();
    runner.caught_up_blocking(size);
    let name = format!("{size:020}.jsonl");
    let of_log = folder.join(site.log().info().log_id.to_string());
    let taken = of_log.join("segments").join(name);
    fs::write(&taken, b"something else")?;
    site.append(5);
    until(|| site.status("archive").state == SinkState::Stopped, || {});
    runner.stop();
    assert_eq!(fs::read(&taken)?, b"something else");
    let advice = site.status("archive").advice().unwrap_or_default();
    assert!(advice.contains("nothing was overwritten"), "{advice}");
    Ok(())
}

/// One that was put, and whose answer was lost, is there.
#[test]
fn what_is_there_already_is_taken_for_it() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(20);
    site.add(&config(archive(&folder)));
    run(&site);
    let all = files(&folder);
    let kept: Vec<_> = all.iter().map(|file| fs::read(file).unwrap()).collect();
    // Its cursor is lost, and the last segment too.
    fs::remove_dir_all(site.files())?;
    fs::remove_file(&all[all.len() - 1])?;
    run(&site);
    let again: Vec<_> = all.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(again, kept);
    Ok(())
}

#[test]
fn a_log_in_the_clear_leaves_only_if_somebody_says_so() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log"));
    runstone.value(["init", "--plain"]);
    runstone.value([
        "append",
        "--type",
        "a.b",
        "--stream",
        "s",
        "--data",
        "{\"a\":\"planted\"}",
    ]);
    let out = folder.path().join("out").display().to_string();
    let mirror = folder.path().join("mirror").display().to_string();
    for to in [["--archive", &out], ["--mirror", &mirror]] {
        let (exit, _, code) = runstone.ended(&[&["sink", "add", "a"], to.as_slice()].concat());
        assert_eq!((exit, code.as_str()), (2, "sink_config"));
    }
    let (exit, _, code) = runstone.ended(&["sink", "archive", "s", &out]);
    assert_eq!((exit, code.as_str()), (2, "usage"));
    runstone.value(["sink", "add", "a", "--archive", &out, "--payloads", "plain"]);
    runstone.value(["sink", "run", "--until-caught-up"]);
    let copy = Runstone::on(folder.path().join("copy"));
    let loaded = copy.value(["load", &out]);
    assert_eq!(
        (&loaded["withheld"], &loaded["erased"]),
        (&json!(0), &json!(0))
    );
    let shown = copy.value([
        "show",
        "1",
        "--keys",
        &folder.path().join("log.keys").display().to_string(),
    ]);
    assert_eq!(shown["data"]["a"], "planted");
    assert_eq!(Payloads::default(), Payloads::Sealed);
    Ok(())
}

/// A log with an archive by the command line.
fn commanded(
    segment_events: u64,
    events: usize,
) -> Outcome<(tempfile::TempDir, Runstone, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log"));
    runstone.value(["init"]);
    let mut lines = String::new();
    for number in 0..events {
        let event =
            json!({"type": "a.b", "stream": format!("s{}", number % 3), "data": {"n": number}});
        lines.extend([event.to_string(), "\n".to_owned()]);
    }
    let file = folder.path().join("lines");
    fs::write(&file, lines)?;
    runstone.values(["append", &file.display().to_string()]);
    let out = folder.path().join("out");
    let most = segment_events.to_string();
    let to = out.display().to_string();
    runstone.value([
        "sink",
        "add",
        "a",
        "--archive",
        &to,
        "--segment-events",
        &most,
    ]);
    Ok((folder, runstone, out))
}

#[test]
fn a_log_that_is_lost_comes_back_and_verifies() -> Outcome {
    let (folder, runstone, out) = commanded(50, 300)?;
    runstone.value(["sink", "run", "--until-caught-up"]);
    let root = runstone.value(["stats"])["root"].clone();
    let (log, head) = (folder.path().join("log"), folder.path().join("log.head"));
    fs::remove_file(&log)?;
    fs::remove_file(head)?;
    let loaded = runstone.value(["load", &out.display().to_string()]);
    let events = loaded["events"].as_u64().unwrap_or_default();
    assert!(events > 300 && loaded["signed"] == loaded["events"]);
    assert_eq!(runstone.value(["stats"])["root"], root);
    let verified = runstone.value(["verify", "--level", "1"]);
    assert_eq!(verified["valid"], true);
    // It goes on, and so does its archive.
    runstone.value(["epoch", "start"]);
    runstone.value(["sink", "resume", "a"]);
    runstone.value(["append", "--type", "a.b", "--stream", "s", "--data", "{}"]);
    runstone.value(["sink", "run", "--until-caught-up"]);
    let again = Runstone::on(folder.path().join("again"));
    again.value(["load", &url(&out)]);
    assert_eq!(
        again.value([
            "stats",
            "--keys",
            &folder.path().join("log.keys").display().to_string()
        ])["root"],
        runstone.value(["stats"])["root"]
    );
    Ok(())
}

#[test]
fn a_segment_that_was_changed_or_is_missing_is_named() -> Outcome {
    let (folder, runstone, out) = commanded(40, 100)?;
    runstone.value(["sink", "run", "--until-caught-up"]);
    let copy = Runstone::on(folder.path().join("copy"));
    let to = out.display().to_string();
    let second = files(&out)[1].clone();
    let name = second.file_name().unwrap().to_string_lossy().into_owned();
    let bytes = fs::read(&second)?;
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&second, &changed)?;
    let output = copy.run(["load", &to]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains(&name), "{told}");
    fs::remove_file(&second)?;
    let output = copy.run(["load", &to]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(
        told.contains("segment_missing") && told.contains("position 40 "),
        "{told}"
    );
    // An archive with a gap gets nothing more.
    runstone.value(["append", "--type", "a.b", "--stream", "s", "--data", "{}"]);
    let (exit, lines, _) = runstone.ended(&["sink", "run", "--until-caught-up"]);
    assert_eq!((exit, &lines[0]["state"]), (1, &json!("stopped")));
    fs::write(&second, &bytes)?;
    copy.value(["load", &to]);
    let (exit, _, code) = copy.ended(&["load", &to]);
    assert_eq!((exit, code.as_str()), (2, "log_exists"));
    Ok(())
}

#[test]
fn what_was_erased_and_what_is_withheld_stays_so() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(30);
    let query = Query::stream("run-1");
    site.add(&config(archive(&folder)).query(query));
    run(&site);
    let scope = site.log().scope_of_stream("run-1")?.unwrap_or_default();
    site.log()
        .erase(&Erase::new(scope, "gdpr-17-1-b"), &|_, _| {})?;
    run(&site);
    let loaded = load(&folder, &site.path("copy"))?;
    assert_eq!(loaded.root, site.log().root());
    // All runs are in one scope here: what was kept back was erased as well, but for what is
    // recorded of sinks.
    assert_eq!((loaded.erased, loaded.withheld), (30, 1));
    Ok(())
}

/// Killed wherever it may be, it goes on behind what is there.
#[test]
fn an_archive_that_is_killed_has_every_event_once() -> Outcome {
    let (folder, runstone, out) = commanded(1, 160)?;
    let mirror = folder.path().join("mirror");
    let to = mirror.display().to_string();
    runstone.value(["sink", "add", "m", "--mirror", &to, "--segment-events", "1"]);
    let mut seeded = Seeded::new(7);
    for _ in 0..12 {
        let before = files(&out).len();
        let mut command = runstone.command(["sink", "run", "--until-caught-up"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let enough = before + seeded.below(12);
        until(
            || files(&out).len() >= enough || child.try_wait().unwrap().is_some(),
            || {},
        );
        child.kill()?;
        child.wait()?;
    }
    runstone.values(["sink", "run", "--until-caught-up"]);
    let root = runstone.value(["stats"])["root"].clone();
    let keys = folder.path().join("log.keys").display().to_string();
    let copy = Runstone::on(folder.path().join("copy"));
    copy.value(["load", &out.display().to_string()]);
    for path in [folder.path().join("copy"), mirror] {
        let copy = Runstone::on(path);
        assert_eq!(copy.value(["stats", "--keys", &keys])["root"], root);
        let verified = copy.value(["verify", "--level", "2", "--keys", &keys]);
        assert_eq!(verified["valid"], true, "{verified}");
    }
    Ok(())
}

#[test]
fn it_is_loaded_within_a_runtime_and_as_it_is_configured() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(10);
    site.add(&config(archive(&folder)));
    run(&site);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let loaded = runtime.block_on(async { load(&folder, &site.path("copy")) })?;
    assert_eq!(loaded.root, site.log().root());

    // Nobody is asked: it would lead off this machine in the clear.
    let s3 = S3Config::default().endpoint(Some("http://store.example".to_owned()));
    let refused = ArchivedLog::open("s3://bucket/log", &s3, None).unwrap_err();
    assert!(refused.to_string().contains("http:"), "{refused}");
    Ok(())
}

#[test]
fn one_run_is_archived_once_and_under_its_digest() -> Outcome {
    let (folder, runstone, out) = commanded(50, 30)?;
    let to = out.display().to_string();
    let put = runstone.value(["sink", "archive", "s1", &to]);
    let of_run = put["url"].as_str().unwrap_or_default();
    let file = PathBuf::from(of_run.strip_prefix("file://").unwrap_or_default());
    let bytes = fs::read(&file)?;
    let digest = Sha256::digest(&bytes);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(put["sha256"], digits.as_str());
    assert!(
        of_run.contains(&digits) && of_run.contains("/exports/s1/"),
        "{of_run}"
    );
    let again = runstone.value(["sink", "archive", "s1", &url(&out)]);
    assert_eq!((&again["url"], files(&out).len()), (&put["url"], 1));
    assert!(!folder.path().join("log.archiving").exists());
    let copy = Runstone::on(folder.path().join("copy"));
    let loaded = copy.value(["load", &file.display().to_string()]);
    assert_eq!(
        (&loaded["withheld"], &loaded["root"]),
        (&json!(21), &put["root"])
    );
    let (exit, _, code) = runstone.ended(&["sink", "archive", "none", &to]);
    assert_eq!((exit, code.as_str()), (5, "run_not_found"));
    let (exit, _, code) = runstone.ended(&["sink", "archive", "s1", "ftp://a/b"]);
    assert_eq!((exit, code.as_str()), (7, "archive_failed"));
    // What somebody changed is not taken for it.
    fs::write(&file, b"something else")?;
    let (exit, _, code) = runstone.ended(&["sink", "archive", "s1", &to]);
    assert_eq!((exit, code.as_str()), (7, "archive_failed"));
    Ok(())
}

#[test]
fn checkpoints_alone_go_where_they_are_told_to() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(10);
    let to = CheckpointsConfig::new(url(&folder)).every(Duration::ZERO);
    site.add(
        &SinkConfig::new("notes", Destination::Checkpoints(to)).timeout(Duration::from_secs(3_600)),
    );
    for _ in 0..3 {
        run(&site);
        let files = files(&folder);
        let last = files.last().ok_or("nothing")?;
        let size = site.log().size();
        assert!(
            last.ends_with(format!("checkpoints/{size:020}")),
            "{last:?}"
        );
        let note = site.log().own_checkpoint(&fs::read_to_string(last)?)?;
        assert_eq!((note.size, note.root), (size, site.log().root()));
        site.append(5);
    }
    assert_eq!(files(&folder).len(), 3);
    let log: LogId = site.log().info().log_id;
    assert!(files(&folder)[0].starts_with(folder.join(log.to_string())));
    Ok(())
}

#[test]
fn places_that_cannot_be_are_refused() {
    let site = Site::default();
    for place in [
        "ftp://a/b",
        "out",
        "file:///",
        "file://host/a",
        "file:///a?b",
        "file:///a#b",
        "",
    ] {
        let config = SinkConfig::new("a", Destination::Archive(ArchiveConfig::new(place)));
        let error = site.sinks().add_blocking(&config).unwrap_err();
        assert_eq!(error.code(), "sink_config", "{place}");
    }
    let folder = site.path("out");
    let fine = config(archive(&folder));
    for wrong in [
        fine.clone().fields(["a"]),
        fine.clone().from(runstone::sinks::Start::Now),
        config(ArchiveConfig::new(url(&folder)).segments(SegmentsConfig::default().events(0))),
        config(ArchiveConfig::new(url(&folder)).segments(SegmentsConfig::default().bytes(1 << 40))),
    ] {
        let error = site.sinks().add_blocking(&wrong).unwrap_err();
        assert_eq!(error.code(), "sink_config", "{wrong:?}");
    }
    let toml = "[[sink]]\nname = \"a\"\n[sink.to.archive]\nurl = \"file:///a\"\npayloads = \"plain\"\n[sink.to.archive.segments]\nseconds = 5\n";
    let read = runstone::sinks::from_toml(toml).unwrap();
    let json: Value = serde_json::to_value(&read[0]).unwrap();
    assert_eq!(json["to"]["archive"]["segments"]["events"], 65_536);
}
