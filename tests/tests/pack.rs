//! Evidence packs: what is in them, and that the program in them finds every alteration.

use runstone::pack::{Pack, PackError, PackStep};
use runstone::store::EpochStart;
use runstone::{ErrorKind, Log, NewEvent, OpenOptions, Query, Runstone};
use runstone_tests::command;
use runstone_tests::pack::{Sample, copy_folder, files, list_again, newest_receipt, verify};
use runstone_tests::tamper::Outcome;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

/// `verify.py` reads as one line a check.
fn kinds(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("ok    "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn a_pack_holds_everything_and_its_program_accepts_it() -> Outcome {
    let sample = Sample::new()?;
    let (accepted, text) = verify(&sample.pack(), [])?;
    assert!(accepted, "{text}");
    let checks = [
        "files",
        "policy",
        "checkpoint",
        "consistency",
        "tiles",
        "entries",
        "receipt",
        "disclosure",
        "certificate",
        "erased",
        "complete",
    ];
    assert_eq!(kinds(&text), checks.into_iter().collect(), "{text}");
    let report = &sample.report;
    // Three events of run-7, which were erased, three of run-8, and one of the log's own.
    assert_eq!((report.events, report.disclosed), (7, 4));
    assert_eq!((report.erased, report.withheld, report.erasures), (3, 0, 1));
    assert_eq!(report.previous, Some(301));
    assert_eq!(report.files + 1, files(&sample.pack())?.len() as u64);
    assert_eq!(text.matches("ok    receipt").count(), 7);
    // What was disclosed is on record, under the checkpoint of the pack; erased content is not.
    let disclosed = sample.log.count(&Query::of_type("log.disclosed"))?;
    assert_eq!((disclosed, report.size), (4, sample.log.size()));
    Ok(())
}

/// Bytes of each file in turn: found, whether the list of files is left as it was or made again. What
/// a person reads, and the program, are in the list only.
#[test]
fn every_alteration_is_found() -> Outcome {
    let sample = Sample::new()?;
    let all = files(&sample.pack())?;
    assert!(all.len() > 25, "{all:?}");
    std::thread::scope(|threads| {
        let halves = [0, 1].map(|half| {
            let (sample, all) = (&sample, &all);
            threads.spawn(move || {
                let altered = sample.copy(&format!("altered-{half}")).unwrap();
                for file in all.iter().skip(half).step_by(2) {
                    alter_and_verify(&altered, file).unwrap();
                }
                assert!(verify(&altered, []).unwrap().0);
            })
        });
        for half in halves {
            half.join().unwrap();
        }
    });
    Ok(())
}

fn alter_and_verify(altered: &Path, file: &Path) -> Outcome {
    let path = altered.join(file);
    let whole = std::fs::read(&path)?;
    let sums = std::fs::read(altered.join("SHA256SUMS"))?;
    let is_program = file == Path::new("verify.py");
    let is_only_listed =
        is_program || file == Path::new("VERIFY.md") || file == Path::new("SHA256SUMS");
    let places = [0, whole.len() / 2, whole.len() - 1];
    for at in places.into_iter().skip(usize::from(is_only_listed) * 2) {
        let mut bytes = whole.clone();
        if is_program {
            bytes.extend_from_slice(b"#\n");
        } else {
            bytes[at] ^= 1;
        }
        std::fs::write(&path, &bytes)?;
        if !is_only_listed && at > 0 {
            list_again(altered)?;
        }
        let (accepted, text) = verify(altered, [])?;
        assert!(!accepted, "{} at {at}: {text}", file.display());
        std::fs::write(&path, &whole)?;
        std::fs::write(altered.join("SHA256SUMS"), &sums)?;
    }
    Ok(())
}

/// A file more, a file less, a file in the place of another one.
#[test]
fn files_cannot_be_swapped() -> Outcome {
    let sample = Sample::new()?;
    let receipts = files(&sample.pack().join("receipts"))?;
    let (one, other) = (&receipts[0], &receipts[1]);
    type Alter<'a> = Box<dyn Fn(&Path) -> Outcome + 'a>;
    let copy = |from: &str, to: &str| -> Alter<'_> {
        let (from, to) = (from.to_owned(), to.to_owned());
        Box::new(move |pack| {
            std::fs::copy(pack.join(&from), pack.join(&to))?;
            Ok(())
        })
    };
    let one = format!("receipts/{}", one.display());
    let other = format!("receipts/{}", other.display());
    let alterations: [(&str, Alter<'_>); 8] = [
        ("the receipt of another event", copy(&one, &other)),
        (
            "an older checkpoint",
            copy("previous-checkpoint", "checkpoint"),
        ),
        (
            "a newer checkpoint as the earlier one",
            copy("checkpoint", "previous-checkpoint"),
        ),
        ("a file that nothing reads", copy("policy", "policy.old")),
        ("a tile twice", copy("tile/0/000", "tile/0/001")),
        (
            "entries of other positions",
            copy("tile/entries/000", "tile/entries/001"),
        ),
        (
            "no certificates",
            Box::new(|pack| Ok(std::fs::remove_dir_all(pack.join("certificates"))?)),
        ),
        (
            "no tiles",
            Box::new(|pack| Ok(std::fs::remove_dir_all(pack.join("tile"))?)),
        ),
    ];
    for (at, (what, alter)) in alterations.iter().enumerate() {
        let altered = sample.copy(&format!("altered-{at}"))?;
        alter(&altered)?;
        list_again(&altered)?;
        let (accepted, text) = verify(&altered, [])?;
        assert!(!accepted, "{what}: {text}");
    }
    Ok(())
}

/// Somebody who makes a log of their own, with the same origin and events, is found by a policy or
/// a checkpoint that came another way.
#[test]
fn trust_is_brought_from_elsewhere() -> Outcome {
    let (sample, forged) = (Sample::new()?, Sample::new()?);
    let path = |sample: &Sample, name: &str| sample.pack().join(name).display().to_string();
    let policy = path(&sample, "policy");
    let trust = ["--policy", policy.as_str()];
    assert!(verify(&sample.pack(), trust)?.0);
    assert!(verify(&forged.pack(), [])?.0);
    assert!(!verify(&forged.pack(), trust)?.0);
    // A checkpoint that was kept: of this log, of a later size than the pack, of another log.
    let kept = path(&sample, "previous-checkpoint");
    assert!(verify(&sample.pack(), ["--previous", kept.as_str()])?.0);
    assert!(!verify(&forged.pack(), ["--previous", kept.as_str()])?.0);
    let later = sample.folder.path().join("later");
    sample.log.append_blocking(NewEvent::new("a.b", "s"))?;
    std::fs::write(&later, sample.log.checkpoint()?.text())?;
    let later = later.display().to_string();
    assert!(!verify(&sample.pack(), ["--previous", later.as_str()])?.0);
    Ok(())
}

/// Old and new signing key, and a log that goes on under another origin.
#[test]
fn packs_cross_rotations_and_epochs() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let log = Runstone::create(&path)?;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let first = log.checkpoint()?.text().to_owned();
    log.rotate_signing()?;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let during = folder.path().join("during");
    Pack::of(Query::stream("s"))
        .since(&first)
        .write(&log, &during, &|_| {})?;
    log.end_signing_overlap()?;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let after = folder.path().join("after");
    Pack::of(Query::everything())
        .since(&first)
        .write(&log, &after, &|_| {})?;
    log.backup(&copy, &|_, _| {})?;
    log.close_blocking()?;
    drop(log);

    let mut open = OpenOptions::default();
    open.keys = Some(folder.path().join("log.keys"));
    let log = Log::start_epoch(&copy, &EpochStart::default(), open)?.log;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let epoch = folder.path().join("epoch");
    Pack::of(Query::stream("s"))
        .since(&first)
        .write(&log, &epoch, &|_| {})?;
    for pack in [&during, &after, &epoch] {
        let (accepted, text) = verify(pack, [])?;
        assert!(accepted, "{text}");
        assert!(kinds(&text).contains("consistency"));
    }
    let keys = |pack: &Path| -> Outcome<usize> {
        Ok(std::fs::read_to_string(pack.join("policy"))?
            .matches("log ")
            .count())
    };
    assert_eq!((keys(&during)?, keys(&after)?, keys(&epoch)?), (2, 2, 3));
    Ok(())
}

#[test]
fn a_pack_is_there_whole_or_not_at_all() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::memory()?;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let pack = Pack::of(Query::stream("s"));
    let dir = folder.path().join("pack");
    let names = || -> Outcome<Vec<String>> {
        let entries = std::fs::read_dir(folder.path())?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let fails = |pack: &Pack, dir: &Path, kind: ErrorKind| -> Outcome<PackError> {
        let error = pack
            .write(&log, dir, &|_| {})
            .err()
            .ok_or("it was written")?;
        assert_eq!(error.kind(), kind, "{error}");
        Ok(error)
    };
    // Nothing selected, no such folder, no name, a checkpoint of another log, a bad code.
    fails(&Pack::of(Query::stream("t")), &dir, ErrorKind::NotFound)?;
    fails(&pack.clone().from(9_u64), &dir, ErrorKind::NotFound)?;
    fails(&pack, &folder.path().join("no/pack"), ErrorKind::Storage)?;
    fails(&pack, Path::new("/"), ErrorKind::Usage)?;
    let foreign = Runstone::memory()?.checkpoint()?.text().to_owned();
    fails(&pack.clone().since(foreign), &dir, ErrorKind::Keys)?;
    let named = pack.clone().payloads().recipient("Ann Example");
    fails(&named, &dir, ErrorKind::Usage)?;
    assert_eq!(names()?, [""; 0]);

    // While it is written nothing has its name, and nobody else writes one of that name.
    let seen = RefCell::new(BTreeSet::new());
    pack.write(&log, &dir, &|progress| {
        seen.borrow_mut().insert(format!("{:?}", progress.step));
        assert!(!dir.exists() && progress.done <= progress.all);
        let second = pack.write(&log, &dir, &|_| {}).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Busy);
    })?;
    let steps = [PackStep::Receipts, PackStep::Tiles].map(|step| format!("{step:?}"));
    assert_eq!(*seen.borrow(), steps.into_iter().collect());
    assert_eq!(names()?, ["pack"]);
    assert!(verify(&dir, [])?.0);
    fails(&pack, &dir, ErrorKind::Usage)?;

    // What a killed process left is begun again; what is somebody's own is left alone.
    let second = folder.path().join("second");
    let left = folder.path().join("second.unfinished");
    copy_folder(&dir, &left)?;
    let error = fails(&pack, &second, ErrorKind::Usage)?;
    assert!(error.to_string().contains("second.unfinished"), "{error}");
    std::fs::write(left.join(".unfinished"), "")?;
    pack.write(&log, &second, &|_| {})?;
    assert!(verify(&second, [])?.0);
    assert!(!left.exists());
    Ok(())
}

#[test]
fn a_full_disk_leaves_nothing_behind() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::memory()?;
    log.append_blocking(NewEvent::new("a.b", "s"))?;
    let dir = folder.path().join("pack");
    let beside = folder.path().join("pack.unfinished");
    // A file in the way of a folder stands for a disk that takes no more: the write fails midway.
    let blocked = |_| {
        let receipts = beside.join("receipts");
        if !receipts.exists() {
            std::fs::write(receipts, "").unwrap();
        }
    };
    let error = Pack::of(Query::everything()).write(&log, &dir, &blocked);
    let error = error.err().ok_or("it was written")?;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Storage, "storage_io")
    );
    let full = PackError::File {
        path: dir,
        source: std::io::ErrorKind::StorageFull.into(),
    };
    assert_eq!(full.code(), "storage_full");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn the_command_writes_a_pack_and_lists_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = command::Runstone::on(folder.path().join("log"));
    log.value(["init"]);
    for n in 0..3 {
        let data = format!("{{\"n\":{n}}}");
        log.value(["append", "--type", "a.b", "--stream", "s", "--data", &data]);
    }
    let first = folder.path().join("checkpoint");
    std::fs::write(&first, log.run(["checkpoint"]).stdout)?;
    log.value(["append", "--type", "a.b", "--stream", "t"]);
    let dir = folder.path().join("pack");
    let words = |words: &[&str]| -> Vec<String> {
        let dir = dir.display().to_string();
        let words = words.iter().map(|word| (*word).to_owned());
        ["evidence".to_owned(), dir]
            .into_iter()
            .chain(words)
            .collect()
    };
    for (args, code) in [
        (&["--stream", "u"][..], 5),
        (&["--query", "colour=red"], 2),
        (&["--recipient", "auditor-7"], 2),
        (&["--since", "/nowhere"], 5),
        (&["--stream", "s", "--payloads", "--recipient", "a b"], 2),
    ] {
        let output = log.run(words(args));
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(!dir.exists());
    }
    let since = first.display().to_string();
    let args = [
        "--stream",
        "s",
        "--payloads",
        "--recipient",
        "auditor-7",
        "--since",
        &since,
    ];
    let listed = log.values(words(&args));
    let names: BTreeSet<&str> = listed
        .iter()
        .filter_map(|line| line["file"].as_str())
        .collect();
    let there = files(&dir)?;
    assert_eq!(names.len() + 1, there.len());
    assert!(there.iter().all(|file| {
        let path = dir.join(file).display().to_string();
        names.contains(path.as_str()) || file == Path::new("SHA256SUMS")
    }));
    let (accepted, text) = verify(&dir, [])?;
    assert!(
        accepted && text.matches("ok    disclosure").count() == 3,
        "{text}"
    );
    assert!(newest_receipt(&dir)?.ends_with("receipts/3.tlog-proof"));
    assert_eq!(log.run(words(&[])).status.code(), Some(2));
    log.check();
    Ok(())
}
