//! Evidence packs: what is in them, and that the program in them finds every alteration.

use runstone::pack::{Pack, PackError, PackStep};
use runstone::store::keys::{ProviderConfig, ProviderSources, SecretSource, SecretString};
use runstone::store::{EpochStart, Erase};
use runstone::{ErrorKind, Log, NewEvent, OpenOptions, Query, Runstone};
use runstone_tests::command;
use runstone_tests::pack::{Sample, copy_folder, files, list_again, newest_receipt, verify};
use runstone_tests::tamper::{Outcome, RawRows, Table};
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

/// A few events of two people.
fn fill(log: &Log) -> Outcome {
    for n in 0..6 {
        let scope = if n % 2 == 0 { "ann" } else { "bob" };
        let payload = format!("{{\"amount\":{n},\"of\":\"{scope}\"}}");
        log.append_blocking(NewEvent::new("a.b", scope).scope(scope).payload(payload))?;
    }
    Ok(())
}

/// Lines of a file of a pack.
fn lines(pack: &Path, name: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(pack.join(name))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// In a log without keys an erasure is of scopes, and what is said later in one of them is there.
#[test]
fn a_plain_log_has_packs_too() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::options().plain();
    let log = log.create(folder.path().join("log"))?;
    fill(&log)?;
    let erasure = log.erase(&Erase::new("ann", "b"), &|_, _| {})?;
    fill(&log)?;
    let pack = folder.path().join("pack");
    let all = Pack::of(Query::of_type("a.b")).payloads().entries();
    let report = all.write(&log, &pack, &|_| {})?;
    assert_eq!((report.events, report.disclosed), (12, 9));
    assert_eq!((report.erased, report.withheld, report.erasures), (3, 0, 1));
    let (accepted, text) = verify(&pack, [])?;
    assert!(accepted, "{text}");
    assert!(text.contains("keys destroyed: 'plain'"), "{text}");
    let completed = erasure.completed.ok_or("it is not complete")?;
    let expected = [1, 3, 5].map(|at| format!("{at} {} {completed}", erasure.requested));
    assert_eq!(lines(&pack, "erased")?, expected);
    // An erasure does not account for what was said after it, nor for somebody else.
    for other in ["4", "9"] {
        let altered = folder.path().join(format!("altered-{other}"));
        copy_folder(&pack, &altered)?;
        let erased = expected.join("\n").replacen('5', other, 1) + "\n";
        std::fs::write(altered.join("erased"), erased)?;
        let disclosed = altered.join(format!("disclosures/{other}.json"));
        if disclosed.exists() {
            std::fs::remove_file(disclosed)?;
        }
        list_again(&altered)?;
        let (accepted, text) = verify(&altered, [])?;
        assert!(!accepted && text.contains("FAIL  erased"), "{text}");
    }
    Ok(())
}

/// Content that somebody took away, and that no erasure accounts for, is told.
#[test]
fn what_is_withheld_is_told() -> Outcome {
    for plain in [false, true] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("log");
        let options = Runstone::options();
        let options = if plain { options.plain() } else { options };
        let log = options.create(&path)?;
        fill(&log)?;
        log.close_blocking()?;
        drop(log);
        let rows = RawRows::open(&path)?;
        let mut chunk = rows.chunk(3)?;
        let at = usize::try_from(3 - chunk.first)?;
        chunk.events[at].1.clear();
        let key = chunk.first.to_be_bytes();
        rows.set(Table::Chunks, &key, Some(&chunk.encode()))?;
        drop(rows);
        let log = Runstone::open(&path)?;
        let pack = folder.path().join("pack");
        let all = Pack::of(Query::of_type("a.b")).payloads();
        let report = all.write(&log, &pack, &|_| {})?;
        assert_eq!((report.events, report.disclosed), (6, 5));
        assert_eq!((report.erased, report.withheld, report.erasures), (0, 1, 0));
        assert_eq!(lines(&pack, "withheld")?, ["3"]);
        let (accepted, text) = verify(&pack, [])?;
        assert!(accepted, "{text}");
        assert!(text.contains("NO ERASURE ACCOUNTS FOR IT"), "{text}");

        // An erasure afterwards accounts for it: nobody could read it any more.
        log.erase(&Erase::new("ann", "b"), &|_, _| {})?;
        let later = folder.path().join("later");
        let report = all.write(&log, &later, &|_| {})?;
        assert_eq!((report.erased, report.withheld), (3, 0));
        assert!(verify(&later, [])?.0);
    }
    Ok(())
}

/// An erasure that is not complete: a pack of the log, and of the replica that a backup makes.
#[test]
fn a_pending_erasure_is_told_as_such() -> Outcome {
    let folder = tempfile::tempdir()?;
    let source =
        || SecretSource::new(|name| (name == "KEK").then(|| SecretString::new("0c".repeat(32))));
    let provider = ProviderConfig::Env {
        variable: "KEK".to_owned(),
        source: source(),
    };
    let sources = || ProviderSources::new().env(source());
    let options = Runstone::options().provider(provider);
    let log = options
        .sources(sources())
        .create(folder.path().join("log"))?;
    fill(&log)?;
    // Nobody provides the next key.
    let error = log.erase(&Erase::new("ann", "b"), &|_, _| {});
    let error = error.err().ok_or("it was completed")?;
    assert_eq!(error.code(), "erasure_pending");
    let copy = folder.path().join("copy");
    log.backup(&copy, &|_, _| {})?;
    let all = Pack::of(Query::of_type("a.b"));
    let shown = |log: &Log, name: &str, pack: &Pack, disclosed: u64| -> Outcome {
        let dir = folder.path().join(name);
        let report = pack.write(log, &dir, &|_| {})?;
        assert_eq!((report.events, report.disclosed), (6, disclosed), "{name}");
        assert_eq!((report.erased, report.withheld, report.erasures), (3, 0, 1));
        let expected = [1, 3, 5].map(|at| format!("{at} 7 pending"));
        assert_eq!(lines(&dir, "erased")?, expected);
        let (accepted, text) = verify(&dir, [])?;
        assert!(accepted, "{text}");
        assert_eq!(text.matches("NOT COMPLETED").count(), 3, "{text}");
        Ok(())
    };
    shown(&log, "headers", &all, 0)?;
    shown(&log, "payloads", &all.clone().payloads(), 3)?;
    log.close_blocking()?;
    drop(log);
    let replica = Runstone::options().sources(sources());
    let replica = replica.keys(folder.path().join("log.keys")).open(&copy)?;
    shown(&replica, "replica", &all, 0)
}

/// Somebody erases while a pack is written: what was disclosed before is disclosed, and a
/// certificate that the checkpoint does not cover is not in it.
#[test]
fn an_erasure_while_a_pack_is_written_does_not_spoil_it() -> Outcome {
    for (step, disclosed) in [(PackStep::Disclosures, 6), (PackStep::Tiles, 6)] {
        let folder = tempfile::tempdir()?;
        let log = Runstone::create(folder.path().join("log"))?;
        fill(&log)?;
        let (pack, erased) = (folder.path().join("pack"), RefCell::new(false));
        let all = Pack::of(Query::of_type("a.b")).payloads();
        let report = all.write(&log, &pack, &|progress| {
            let is_last = progress.done == progress.all;
            if progress.step == step && is_last && !erased.replace(true) {
                log.erase(&Erase::new("bob", "b"), &|_, _| {}).unwrap();
            }
        })?;
        assert!(*erased.borrow());
        let (accepted, text) = verify(&pack, [])?;
        assert!(accepted, "{text}");
        assert!(report.disclosed <= disclosed && report.withheld == 0);
        assert_eq!(report.disclosed + report.erased, 6);
    }
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
