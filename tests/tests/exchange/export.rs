//! Whole logs as files of lines, and back: nothing is lost, what is left out says so, and what was
//! changed is refused.

mod commands;
mod hostile;
mod segments;

use proptest::prelude::*;
use runstone::attach::{connect, socket_of};
use runstone::budgets::{Budgets, Open, Owner};
use runstone::effects::{Change, Claim, Claimed, Effects};
use runstone::tasks::{NewTask, Tasks};
use runstone::{
    EpochStart, Erase, EvidenceError, LoadError, LoadReport, Log, NewEvent, OpenOptions, Payload,
    ProblemKind, Query, Read, ReadError, Runstone, Sealing, VerifyLevel, VerifyOptions,
    VerifyReport, verify_file,
};
use runstone_receipt::policy::Policy;
use runstone_store::{CreateOptions, ExportReport, FoldRow};
use runstone_tests::folds::Last;
use runstone_tests::tamper::Outcome;
use std::path::PathBuf;
use std::sync::Arc;

/// A folder with a log and its keys, and what was loaded beside it.
struct Site(tempfile::TempDir);

impl Site {
    fn new(sealing: Sealing) -> Outcome<(Self, Log)> {
        let site = Self(tempfile::tempdir()?);
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&site.path("log"), &create, OpenOptions::default())?;
        Ok((site, log))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.keys = Some(self.path("log.keys"));
        open
    }

    fn load(&self, name: &str, bytes: &[u8]) -> Result<LoadReport, LoadError> {
        Log::load(bytes, &self.path(name), &|_, _| {})
    }

    fn open(&self, name: &str) -> Outcome<Log> {
        Ok(Log::open(&self.path(name), self.opening())?)
    }

    fn verified(&self, name: &str) -> Outcome<VerifyReport> {
        let level = VerifyLevel::Commitments;
        Ok(verify_file(
            &self.path(name),
            self.opening(),
            level,
            &|_, _| {},
        )?)
    }
}

fn exported(log: &Log, query: &Query) -> Outcome<(Vec<u8>, ExportReport)> {
    let mut bytes = Vec::new();
    let write = |lines: &[u8]| {
        bytes.extend_from_slice(lines);
        Ok::<_, ReadError>(())
    };
    let report = log.export(query, write, &|_, _| {})?;
    assert_eq!(report.bytes, bytes.len() as u64);
    Ok((bytes, report))
}

fn whole(log: &Log) -> Outcome<Vec<u8>> {
    Ok(exported(log, &Query::everything())?.0)
}

/// Two people, each with a run of a few events.
fn fill(log: &Log) -> Outcome {
    for n in 0..4 {
        for scope in ["ann", "bob"] {
            let event = NewEvent::new("chat.message", format!("run-{scope}"));
            let event = event.scope(scope).tag(format!("n:{n}"));
            log.append_blocking(event.payload(format!("{{\"n\":{n},\"of\":\"{scope}\"}}")))?;
        }
    }
    Ok(())
}

/// Everything that a reader sees.
fn seen(log: &Log) -> Outcome<Vec<String>> {
    let mut seen = Vec::new();
    for record in log.read(Read::new(Query::everything()))? {
        let record = record?;
        let bytes = record.payload.bytes().map(<[u8]>::to_vec);
        seen.push(format!("{record:?} {bytes:?}"));
    }
    Ok(seen)
}

/// What is read of a run.
fn contents(log: &Log, run: &str) -> Outcome<Vec<Payload>> {
    let records = log.read(Read::new(Query::stream(run)))?;
    let contents: Result<_, _> = records.map(|record| Ok(record?.payload)).collect();
    contents
}

#[test]
fn a_whole_log_comes_back_as_it_was() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        fill(&log)?;
        let (bytes, report) = exported(&log, &Query::everything())?;
        let loaded = site.load("copy", &bytes)?;
        assert_eq!((loaded.events, loaded.root), (log.size(), log.root()));
        assert_eq!((report.events, report.root), (loaded.events, loaded.root));
        assert_eq!((report.erased, report.withheld), (0, 0));
        assert_eq!((loaded.erased, loaded.withheld), (0, 0));
        assert!(!site.path("copy.loading").exists());
        let copy = site.open("copy")?;
        assert_eq!(seen(&copy)?, seen(&log)?);
        assert_eq!(whole(&copy)?, bytes);
        // As any replica it is not written until somebody decides so.
        let refused = copy.append_blocking(NewEvent::new("data.noted", "run-ann"));
        assert_eq!(refused.unwrap_err().code(), "read_only");
        copy.close_blocking()?;
        drop(copy);
        assert_eq!(site.verified("copy")?.problems, []);
        let open = OpenOptions::default();
        let report = verify_file(&site.path("copy"), open, VerifyLevel::Payloads, &|_, _| {})?;
        assert!(report.valid, "without keys: {report:?}");
    }
    Ok(())
}

#[test]
fn what_is_loaded_proves_and_succeeds_as_a_backup_does() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let bytes = whole(&log)?;
    let former = log.info();
    log.close_blocking()?;
    drop(log);
    site.load("copy", &bytes)?;
    let copy = site.open("copy")?;
    let policy = Policy::parse(format!("log {}\nquorum none\n", former.vkey).as_bytes())?;
    let receipt = copy.receipt(3.into())?;
    receipt.verify(&policy, &VerifyOptions::default())?;
    let kept = copy.kept_checkpoint(u64::MAX)?.ok_or("no checkpoint")?;
    assert_eq!(kept.checkpoint().size, copy.size());
    copy.close_blocking()?;
    drop(copy);
    let started = Log::start_epoch(&site.path("copy"), &EpochStart::default(), site.opening())?;
    assert_eq!(started.known_size, None);
    fill(&started.log)?;
    let again = whole(&started.log)?;
    started.log.close_blocking()?;
    drop(started);
    assert!(site.verified("copy")?.valid);
    // The successor is a log like any other.
    site.load("third", &again)?;
    assert!(site.verified("third")?.valid);
    Ok(())
}

#[test]
fn what_is_left_out_reads_as_withheld_and_verifies_as_incomplete() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        fill(&log)?;
        log.configure(b"{}".to_vec())?;
        let (bytes, report) = exported(&log, &Query::stream("run-ann"))?;
        assert_eq!((report.erased, report.withheld), (0, 4));
        let loaded = site.load("copy", &bytes)?;
        assert_eq!((loaded.root, loaded.withheld), (log.root(), 4));
        let copy = site.open("copy")?;
        assert_eq!(contents(&copy, "run-ann")?, contents(&log, "run-ann")?);
        assert_eq!(contents(&copy, "run-bob")?, vec![Payload::Withheld; 4]);
        // The log's own events go with each export: what folds and deciders read is there.
        assert!(copy.settings()?.is_some());
        assert_eq!(whole(&copy)?, bytes, "the rest stays withheld");
        let shown = copy.envelope(2.into(), None).unwrap_err();
        assert!(matches!(shown, EvidenceError::Withheld { .. }), "{shown}");
        copy.receipt(2.into())?;
        copy.close_blocking()?;
        drop(copy);
        let report = site.verified("copy")?;
        let worst = report.worst().map(ProblemKind::as_str);
        assert_eq!((report.erased, worst), (4, Some("incomplete")));
    }
    Ok(())
}

/// The rows of every fold, by its name, but for what is kept of the stream of the log itself.
fn rows(log: &Log) -> Outcome<Vec<(String, Vec<FoldRow>)>> {
    let mut all = Vec::new();
    for status in log.fold_status()? {
        let mut rows = log.fold_rows(&status.name, b"", b"", usize::MAX)?;
        rows.retain(|(key, _)| key != b"log");
        all.push((status.name, rows));
    }
    Ok(all)
}

#[test]
fn folds_take_what_is_withheld_as_what_is_erased() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        log.close_blocking()?;
        drop(log);
        let mut open = site.opening();
        open.folds = runstone::standard_folds();
        open.folds.push(Arc::new(Last));
        let log = Log::open(&site.path("log"), open.clone())?;
        let scope = |event: NewEvent| event.scope("ann");
        log.append_blocking(scope(NewEvent::new("chat.message", "run-ann")).payload("[1]"))?;
        let tasks = Tasks::new(&log).stream("run-ann").scope("ann");
        tasks.create_blocking(&NewTask::new("t").title("Call Ann"))?;
        let budgets = Budgets::new(&log);
        budgets.open_blocking(&Open::new(Owner::new("ann").scope("ann")))?;
        let claim = Claim::tool("run-ann", "pay").scope("ann").request("k");
        let Claimed::Held(held) = Effects::new(&log).claim_blocking(&claim)? else {
            return Err("nobody made it".into());
        };
        let done = Change::completed(&"Ann")?;
        Effects::new(&log).change_blocking(&held.target(), &done)?;
        let known = rows(&log)?;
        site.load("copy", &exported(&log, &Query::stream("none"))?.0)?;
        log.erase(&Erase::new("ann", "gdpr-17-1-b").force(), &|_, _| {})?;
        let copy = Log::open(&site.path("copy"), open)?;
        assert_eq!(contents(&copy, "run-ann")?[0], Payload::Withheld);
        let (erased, withheld) = (rows(&log)?, rows(&copy)?);
        assert!(erased.len() > 5);
        assert_ne!(erased, known, "one of them keeps content");
        assert_eq!(erased, withheld);
    }
    Ok(())
}

#[test]
fn what_was_erased_stays_erased() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        fill(&log)?;
        let before = whole(&log)?;
        log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
        let (bytes, report) = exported(&log, &Query::everything())?;
        assert_eq!((report.erased, report.withheld), (4, 0));
        site.load("copy", &bytes)?;
        let copy = site.open("copy")?;
        assert_eq!(contents(&copy, "run-ann")?, vec![Payload::Erased; 4]);
        assert_eq!(contents(&copy, "run-bob")?, contents(&log, "run-bob")?);
        assert_eq!(whole(&copy)?, bytes);
        drop(copy);
        assert!(site.verified("copy")?.valid);
        let (_, report) = exported(&log, &Query::stream("run-ann"))?;
        assert_eq!(
            (report.erased, report.withheld),
            (4, 4),
            "erased comes first"
        );
        // An export from before has no reason to give; its keys are gone all the same.
        site.load("older", &before)?;
        let older = site.open("older")?;
        let read = contents(&older, "run-ann");
        match sealing {
            Sealing::Plain => assert!(read?.iter().all(|content| content.bytes().is_some())),
            _ => assert!(read.is_err(), "{read:?}"),
        }
    }
    Ok(())
}

#[test]
fn one_erasure_that_comes_while_it_is_written_is_not_told_in_it() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let size = log.size();
    let (mut bytes, mut calls) = (Vec::new(), 0);
    log.export(
        &Query::everything(),
        |lines: &[u8]| {
            bytes.extend_from_slice(lines);
            calls += 1;
            if calls == 1 {
                log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})
                    .unwrap();
                fill(&log).unwrap();
            }
            Ok::<_, ReadError>(())
        },
        &|_, _| {},
    )?;
    let loaded = site.load("copy", &bytes)?;
    assert_eq!(
        (loaded.events, loaded.erased, loaded.withheld),
        (size, 0, 4)
    );
    assert_eq!(
        contents(&site.open("copy")?, "run-ann")?,
        vec![Payload::Withheld; 4]
    );
    Ok(())
}

#[test]
fn content_in_the_clear_is_recorded_before_it_is_handed_over() -> Outcome {
    let (_site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let size = log.size();
    let recorded = || -> Outcome<Vec<String>> {
        let records = log.read(Read::new(Query::of_type("log.disclosed")))?;
        let texts = records.map(|record| {
            let bytes = record?.payload.bytes().unwrap_or_default().to_vec();
            Ok(String::from_utf8(bytes)?)
        });
        texts.collect()
    };
    let mut shown = Vec::new();
    let query = Query::parse("stream=run-ann or stream=log")?;
    log.export_open(
        &query,
        Some("auditor-7"),
        |record| {
            assert_eq!(recorded().unwrap().len(), 1, "it is recorded first");
            shown.push(record?.position.get());
            Ok::<_, EvidenceError>(())
        },
        &|_, _| {},
    )?;
    assert_eq!(shown, [0, 1, 3, 5, 7]);
    let expected = "{\"positions\":[[1,1],[3,3],[5,5],[7,7]],\"recipient\":\"auditor-7\"}";
    assert_eq!(recorded()?, [expected]);
    assert_eq!(log.size(), size + 1);
    // Nothing of anybody's is shown, and nothing is recorded.
    let nothing = |record: Result<runstone::Record, ReadError>| {
        record.map(|_| ()).map_err(EvidenceError::from)
    };
    log.export_open(&Query::stream("log"), None, nothing, &|_, _| {})?;
    assert_eq!(log.size(), size + 1);
    let refused = log.export_open(&query, Some("Ann Example"), nothing, &|_, _| {});
    assert_eq!(refused.unwrap_err().code(), "recipient");
    Ok(())
}

#[test]
fn a_replica_shows_nothing_in_the_clear() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    site.load("copy", &whole(&log)?)?;
    let copy = site.open("copy")?;
    let each = |_: Result<runstone::Record, ReadError>| -> Result<(), EvidenceError> {
        panic!("it cannot be recorded")
    };
    let refused = copy.export_open(&Query::everything(), None, each, &|_, _| {});
    assert_eq!(refused.unwrap_err().code(), "read_only");
    Ok(())
}

#[test]
fn who_is_attached_exports_what_the_holder_does() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let held = Runstone::options().open_or_create(&path)?;
    fill(&held)?;
    let attached = connect(&socket_of(&path))?;
    assert!(attached.is_attached());
    assert_eq!(whole(&attached)?, whole(&held)?);
    let query = Query::stream("run-bob");
    assert_eq!(exported(&attached, &query)?, exported(&held, &query)?);
    let mut shown = 0;
    let each = |record: Result<runstone::Record, ReadError>| {
        shown += 1;
        record.map(|_| ()).map_err(EvidenceError::from)
    };
    attached.export_open(&query, None, each, &|_, _| {})?;
    assert_eq!(
        (shown, held.count(&Query::of_type("log.disclosed"))?),
        (4, 1)
    );
    Ok(())
}

/// Writers go on, and each export is of one point.
#[test]
fn an_export_is_of_one_point_while_writing_goes_on() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let writer = {
        let log = log.clone();
        std::thread::spawn(move || {
            for n in 0..400 {
                let event = NewEvent::new("data.noted", format!("run-{}", n % 7));
                log.append_blocking(event.payload(format!("{{\"n\":{n}}}")))
                    .unwrap();
            }
        })
    };
    let mut copies = Vec::new();
    while !writer.is_finished() || copies.is_empty() {
        let bytes = whole(&log)?;
        let name = format!("copy-{}", copies.len());
        let loaded = site.load(&name, &bytes)?;
        copies.push((name, bytes, loaded));
    }
    writer.join().map_err(|_| "the writer panicked")?;
    for (name, bytes, loaded) in copies {
        let copy = site.open(&name)?;
        assert_eq!((copy.size(), copy.root()), (loaded.events, loaded.root));
        assert_eq!(whole(&copy)?, bytes);
        drop(copy);
        assert!(site.verified(&name)?.valid);
    }
    Ok(())
}

/// What is done to a log before it is exported.
#[derive(Clone, Debug)]
enum Step {
    Append { run: u8, events: u8, bytes: u16 },
    Erase(u8),
    Rotate,
    Reopen,
    Disclose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u8, 1..9_u8, 0..3000_u16)
            .prop_map(|(run, events, bytes)| Step::Append { run, events, bytes }),
        1 => (0..5_u8).prop_map(Step::Erase),
        1 => Just(Step::Rotate),
        1 => Just(Step::Reopen),
        1 => Just(Step::Disclose),
    ]
}

fn done(site: &Site, log: Log, step: &Step) -> Outcome<Log> {
    match step {
        Step::Append { run, events, bytes } => {
            let events = (0..*events).map(|n| {
                let text = "x".repeat(usize::from(*bytes) * usize::from(n));
                let event = NewEvent::new("data.noted", format!("run-{run}"));
                let event = event.scope(format!("scope-{run}"));
                event.payload(format!("{{\"n\":{n},\"text\":\"{text}\"}}"))
            });
            log.append_blocking(runstone::Append::new(events))?;
        }
        Step::Erase(scope) => {
            match log.erase(&Erase::new(format!("scope-{scope}"), "test"), &|_, _| {}) {
                Err(error) if error.code() != "scope_unknown" => return Err(error.into()),
                _ => {}
            }
        }
        Step::Rotate => match log.rotate_signing() {
            Err(error) if error.code() != "signing_overlap" => return Err(error.into()),
            Err(_) => log.end_signing_overlap()?,
            Ok(_) => {}
        },
        Step::Reopen => {
            log.close_blocking()?;
            drop(log);
            return site.open("log");
        }
        Step::Disclose => {
            let last = log.size() - 1;
            match log.disclose(&runstone::Disclose::whole(last)) {
                Err(error) if error.code() != "erased" => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(log)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever was done to a log, it comes back byte for byte, whole or in part.
    #[test]
    fn any_log_comes_back(is_sealed in any::<bool>(), steps in prop::collection::vec(step(), 1..14), run in 0..5_u8) {
        let sealing = if is_sealed { Sealing::Required } else { Sealing::Plain };
        comes_back(sealing, &steps, run).unwrap();
    }
}

fn comes_back(sealing: Sealing, steps: &[Step], run: u8) -> Outcome {
    let (site, mut log) = Site::new(sealing)?;
    for step in steps {
        log = done(&site, log, step)?;
    }
    let part = Query::stream(format!("run-{run}"));
    for (name, query) in [("whole", Query::everything()), ("part", part)] {
        let (bytes, report) = exported(&log, &query)?;
        let loaded = site.load(name, &bytes)?;
        assert_eq!((loaded.events, loaded.root), (log.size(), log.root()));
        assert_eq!(
            (report.erased, report.withheld),
            (loaded.erased, loaded.withheld)
        );
        let copy = site.open(name)?;
        assert_eq!(whole(&copy)?, bytes);
        if name == "whole" {
            assert_eq!(seen(&copy)?, seen(&log)?);
        }
        drop(copy);
        assert_eq!(site.verified(name)?.valid, report.withheld == 0);
    }
    Ok(())
}
