//! Whose a place is, and what becomes of one that is gone or that another segment came to first.

use super::{archive, config, files, load, run, url};
use runstone::sinks::{
    ArchiveConfig, CheckpointsConfig, Destination, Kinds, MirrorConfig, SegmentsConfig, SinkChange,
    SinkState,
};
use runstone::store::{SegmentPlan, read_segment};
use runstone::{Log, SinkConfig};
use runstone_tests::sinks::{Site, until};
use runstone_tests::tamper::Outcome;
use std::fs;
use std::time::Duration;

/// A put that was given up may land later, when a longer segment is due.
#[test]
fn a_segment_that_comes_late_is_gone_on_from() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    let segments = SegmentsConfig::default()
        .events(50)
        .wait(Duration::from_secs(300));
    let paced = ArchiveConfig::new(url(&folder)).segments(segments);
    site.add(&config(paced).timeout(Duration::from_secs(3_600)));
    site.append(10);
    let runner = site.run(&Kinds::new());
    site.pass_until(300, || !files(&folder).is_empty());
    let from = site.log().durable_size();
    runner.caught_up_blocking(from);
    let first = files(&folder)[0].clone();
    site.append(3);
    let mut plan = SegmentPlan::new(Some(read_segment(fs::read(&first)?.as_slice())?.end));
    plan.max_events = 3;
    let late = site.log().segment(&plan)?.ok_or("nothing")?;
    site.append(4);
    fs::write(
        first.with_file_name(format!("{from:020}.jsonl")),
        &late.bytes,
    )?;
    let size = site.log().durable_size();
    site.pass_until(600, || site.status("archive").position >= size);
    runner.stop();
    assert_eq!(site.status("archive").state, SinkState::Running);
    // Behind it there may be what is recorded of the sink itself.
    assert!(load(&folder, &site.path("copy"))?.events >= size);
    Ok(())
}

#[test]
fn what_two_logs_wrote_is_not_loaded() -> Outcome {
    let site = Site::default();
    let folder = site.path("out");
    site.append(20);
    site.add(&config(archive(&folder)));
    run(&site);
    let all = files(&folder);
    let stray = all[0].with_file_name("00000000000000000003.jsonl");
    fs::copy(&all[1], &stray)?;
    let error = load(&folder, &site.path("copy")).unwrap_err();
    assert!(
        error.to_string().contains("00000000000000000003"),
        "{error}"
    );
    fs::remove_file(stray)?;
    load(&folder, &site.path("copy"))?;
    Ok(())
}

#[test]
fn a_place_has_one_sink() {
    let site = Site::default();
    let folder = site.path("out");
    let mirror = |name: &str| Destination::Mirror(MirrorConfig::new(site.path(name)));
    let at = |url: String| Destination::Archive(ArchiveConfig::new(url));
    let notes = |url: String| Destination::Checkpoints(CheckpointsConfig::new(url));
    let place = url(&folder);
    let s3 = || "s3://bucket/a".to_owned();
    let first = [
        at(place.clone()),
        notes(place.clone()),
        mirror("mirror"),
        Destination::jsonl(site.path("lines")),
        at(s3()),
    ];
    for (number, to) in first.into_iter().enumerate() {
        site.add(&SinkConfig::new(format!("first-{number}"), to));
    }
    for to in [
        at(place.clone() + "/"),
        notes(place),
        mirror("./mirror"),
        Destination::jsonl(site.path("mirror")),
        Destination::jsonl(site.path("lines")),
        at(s3() + "/"),
    ] {
        let error = site
            .sinks()
            .add_blocking(&SinkConfig::new("second", to.clone()))
            .unwrap_err();
        assert_eq!(error.code(), "sink_config", "{to:?}");
        assert!(error.to_string().contains("sink `first-"), "{error}");
    }
    let remove = SinkChange::Remove;
    site.sinks().change_blocking("first-4", remove).unwrap();
    site.add(&SinkConfig::new("second", at(s3())));
}

/// A folder that is gone is not mounted: it is neither made nor filled.
#[test]
fn a_place_that_is_gone_is_waited_for() -> Outcome {
    let site = Site::default();
    let (folder, away) = (site.path("out"), site.path("away"));
    let mirror = site.path("mirror");
    site.append(20);
    site.add(&config(archive(&folder)));
    let segments = SegmentsConfig::default().wait(Duration::ZERO);
    let to = Destination::Mirror(MirrorConfig::new(&mirror).segments(segments));
    site.add(&SinkConfig::new("mirror", to).timeout(Duration::from_secs(3_600)));
    run(&site);
    fs::rename(&folder, &away)?;
    fs::rename(&mirror, site.path("mirror-away"))?;
    site.append(20);
    for is_empty in [false, true] {
        if is_empty {
            fs::create_dir(&folder)?;
        }
        let runner = site.run(&Kinds::new());
        for name in ["archive", "mirror"] {
            until(|| site.status(name).is_failing, || {});
            let failure = site.status(name).last_failure.ok_or("none")?;
            assert_eq!(failure.code, "unavailable", "{}", failure.why);
        }
        runner.stop();
        assert!(files(&folder).is_empty() && !mirror.exists());
        assert_eq!(folder.exists(), is_empty);
    }
    fs::remove_dir(&folder)?;
    fs::rename(&away, &folder)?;
    fs::rename(site.path("mirror-away"), &mirror)?;
    let size = site.log().durable_size();
    run(&site);
    assert!(load(&folder, &site.path("copy"))?.events >= size);
    assert!(Log::replica_end(&mirror)?.events >= size);
    // Somebody who wants it elsewhere, or anew, says so.
    fs::remove_dir_all(&folder)?;
    let remove = SinkChange::Remove;
    site.sinks().change_blocking("archive", remove)?;
    site.add(&config(archive(&folder)));
    run(&site);
    assert!(load(&folder, &site.path("again"))?.events > size);
    Ok(())
}

/// The first ones go when somebody lets old objects expire.
#[test]
fn an_archive_that_lost_its_beginning_stops() -> Outcome {
    for lost in [0, 2] {
        let site = Site::default();
        let folder = site.path("out");
        site.append(30);
        site.add(&config(archive(&folder)));
        run(&site);
        let all = files(&folder);
        fs::remove_file(&all[if lost == 0 { 0 } else { all.len() - lost }])?;
        site.append(1);
        let runner = site.run(&Kinds::new());
        until(|| site.status("archive").state == SinkState::Stopped, || {});
        runner.stop();
        let advice = site.status("archive").advice().unwrap_or_default();
        assert!(advice.contains("missing"), "{advice}");
    }
    Ok(())
}
