//! Erasing scopes: what is gone, what stays, and what is refused.

use runstone_codec::{Authority, NewEvent};
use runstone_store::keys::{KeyStore, ProviderConfig, ProviderSources, SecretSource, SecretString};
use runstone_store::{
    CreateOptions, Erase, EraseError, ErrorKind, Log, ManualClock, OpenError, OpenOptions, Payload,
    ProblemKind, Query, Read, Sealing, VerifyLevel, VerifyReport, verify_file,
};
use runstone_tests::clocked::enrolled;
use runstone_tests::folds::Last;
use runstone_tests::tamper::{Outcome, RawRows, Table};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START_US: u64 = 1_750_000_000_000_000;
/// What nobody may find any more.
const SECRET: &str = "the-patient-is-called-Ann-Example";
/// A field that has few values, so that a digest of it could be guessed.
const LOW_ENTROPY: &str = "{\"blood_type\":\"AB-\"}";

/// A log in a folder, with a clock that stands.
struct Site {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    sources: ProviderSources,
}

impl Site {
    fn new() -> Outcome<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            clock: Arc::new(ManualClock::new(START_US)),
            sources: ProviderSources::new(),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.redb")
    }

    fn keys_path(&self) -> PathBuf {
        self.folder.path().join("log.redb.keys")
    }

    fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.options.clock = Arc::<ManualClock>::clone(&self.clock);
        open.folds = vec![Arc::new(Last)];
        open.sources = self.sources.clone();
        open
    }

    fn create(&self, create: &CreateOptions) -> Result<Log, OpenError> {
        Log::create(&self.path(), create, self.opening())
    }

    fn open(&self) -> Result<Log, OpenError> {
        Log::open(&self.path(), self.opening())
    }

    fn verify(&self, level: VerifyLevel) -> Outcome<VerifyReport> {
        Ok(verify_file(
            &self.path(),
            self.opening(),
            level,
            &|_, _| {},
        )?)
    }

    /// Every byte of every file.
    fn bytes(&self) -> Outcome<Vec<u8>> {
        let mut all = std::fs::read(self.path())?;
        for name in ["log.redb.head", "log.redb.keys/ring", "log.redb.keys/table"] {
            all.extend(std::fs::read(self.folder.path().join(name))?);
        }
        Ok(all)
    }
}

fn sealed() -> CreateOptions {
    CreateOptions::default()
}

fn plain() -> CreateOptions {
    let mut create = CreateOptions::default();
    create.sealing = Sealing::Plain;
    create
}

/// Three people, each with a stream of a few events.
fn fill(log: &Log) -> Outcome {
    for n in 0..4 {
        for scope in ["ann", "bob", "eve"] {
            let payload = match n {
                0 => format!("{{\"text\":\"{SECRET} and {scope}\"}}"),
                1 => LOW_ENTROPY.to_owned(),
                _ => format!("{{\"n\":{n},\"scope\":\"{scope}\"}}"),
            };
            let event = NewEvent::new("chat.message", format!("run-{scope}"))
                .scope(scope)
                .tag(format!("n:{n}"))
                .payload(payload);
            log.append_blocking(event)?;
        }
    }
    Ok(())
}

fn erase(scope: &str) -> Erase {
    Erase::new(scope, "gdpr-17-1-b")
}

/// What each event of a scope reads as.
fn contents(log: &Log, scope: &str) -> Outcome<Vec<Payload>> {
    let mut found = Vec::new();
    for record in log.read(Read::new(Query::stream(format!("run-{scope}"))))? {
        found.push(record?.payload);
    }
    Ok(found)
}

fn assert_erased(log: &Log, scope: &str, count: usize) -> Outcome {
    assert_eq!(contents(log, scope)?, vec![Payload::Erased; count]);
    let row = log.fold_row("last", format!("run-{scope}").as_bytes())?;
    assert!(row.is_some_and(|row| row.ends_with(b"erased")));
    for check in log.check_folds(None, &|_, _| {})? {
        assert!(check.is_equal(), "{check:?}");
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[test]
fn one_of_three_is_erased_and_everything_else_stands() -> Outcome {
    for create in [sealed(), plain()] {
        let site = Site::new()?;
        let log = site.create(&create)?;
        fill(&log)?;
        let others: BTreeMap<_, _> = ["bob", "eve"]
            .into_iter()
            .map(|scope| Ok((scope, contents(&log, scope)?)))
            .collect::<Outcome<_>>()?;
        let before = log.checkpoint()?;
        let erasure = log.erase(&erase("ann"), &|_, _| {})?;
        assert!(erasure.rewritten && erasure.completed.is_some());
        for log in [log.clone(), {
            log.close_blocking()?;
            drop(log);
            site.open()?
        }] {
            if log.health().is_err() {
                continue;
            }
            assert_erased(&log, "ann", 4)?;
            for (scope, expected) in &others {
                assert_eq!(contents(&log, scope)?, *expected, "{scope}");
            }
            // What was signed before is still a beginning of what is there now.
            let record = log.record(erasure.requested)?;
            assert_eq!(record.position.get(), before.checkpoint().size);
            assert_eq!(log.erasures()?, std::slice::from_ref(&erasure));
            // The scope goes on, with other keys.
            let again = NewEvent::new("chat.message", "run-ann")
                .scope("ann")
                .payload("{\"again\":1}");
            log.append_blocking(again)?;
            let read = contents(&log, "ann")?;
            assert_eq!(read.last(), Some(&Payload::Open(b"{\"again\":1}".to_vec())));
            log.close_blocking()?;
        }
        for level in [
            VerifyLevel::Headers,
            VerifyLevel::Payloads,
            VerifyLevel::Commitments,
        ] {
            let report = site.verify(level)?;
            assert!(report.valid, "{report:?}");
            assert_eq!(report.erased, 4);
        }
        if create.sealing == Sealing::Plain {
            // Those of the others are still there, in the clear.
            let bytes = site.bytes()?;
            assert!(contains(&bytes, format!("{SECRET} and bob").as_bytes()));
            assert!(!contains(&bytes, format!("{SECRET} and ann").as_bytes()));
        } else {
            assert!(!contains(&site.bytes()?, SECRET.as_bytes()));
        }
    }
    Ok(())
}

/// Neither a key that is left nor a table or a file from before opens anything again.
#[test]
fn no_key_that_is_left_opens_what_was_erased() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    log.close_blocking()?;
    let old_file = std::fs::read(site.path())?;
    let old_table = std::fs::read(site.keys_path().join("table"))?;
    drop(log);
    let log = site.open()?;
    let keks: Vec<String> = log.keys()?.into_iter().map(|key| key.kek_id).collect();
    log.erase(&erase("ann"), &|_, _| {})?;
    assert!(
        log.keys()?
            .iter()
            .all(|key| key.scope != "ann" && !keks.contains(&key.kek_id))
    );
    log.close_blocking()?;
    drop(log);
    // No sealed byte of it is left in the file.
    let rows = RawRows::open(&site.path())?;
    for (_, value) in rows.all(Table::Chunks)? {
        let chunk = runstone_tests::tamper::ChunkParts::parse(&value)?;
        for (entry, envelope) in chunk.events {
            let entry = runstone_codec::Entry::parse(&entry)?;
            assert_eq!(envelope.is_empty(), entry.header().scope == "ann");
        }
    }
    drop(rows);
    // The table from before: the key-encryption key that it needs is gone.
    let new_table = std::fs::read(site.keys_path().join("table"))?;
    std::fs::write(site.keys_path().join("table"), &old_table)?;
    let error = site.open().err().ok_or("an old key table opened")?;
    assert_eq!(error.kind(), ErrorKind::Keys, "{error}");
    std::fs::write(site.keys_path().join("table"), &new_table)?;
    // The file from before, with the keys of now: its content is gone too.
    std::fs::write(site.path(), &old_file)?;
    std::fs::remove_file(site.folder.path().join("log.redb.head"))?;
    let log = site.open()?;
    for record in log.read(Read::new(Query::stream("run-ann")))? {
        assert_eq!(record.unwrap_err().code(), "key_missing");
    }
    assert_eq!(contents(&log, "bob")?.len(), 4);
    Ok(())
}

/// Content that is merely gone, and an erasure that is not complete, do not pass.
#[test]
fn without_a_certificate_verification_fails() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    log.close_blocking()?;
    drop(log);
    let rows = RawRows::open(&site.path())?;
    let (key, value) = rows.all(Table::Chunks)?.swap_remove(0);
    let mut chunk = runstone_tests::tamper::ChunkParts::parse(&value)?;
    chunk.events[3].1.clear();
    rows.set(Table::Chunks, &key, Some(&chunk.encode()))?;
    drop(rows);
    for level in [
        VerifyLevel::Headers,
        VerifyLevel::Payloads,
        VerifyLevel::Commitments,
    ] {
        let report = site.verify(level)?;
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.problems[0].position, Some(chunk.first + 3));
        assert_eq!(report.problems[0].kind.as_str(), "incomplete");
    }
    // An erasure of another scope is no certificate for it.
    let log = site.open()?;
    log.erase(&erase("bob"), &|_, _| {})?;
    log.close_blocking()?;
    drop(log);
    let report = site.verify(VerifyLevel::Commitments)?;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].position, Some(3));
    Ok(())
}

#[test]
fn what_is_held_protected_unknown_or_too_young_is_refused() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    let refused = |log: &Log, erase: &Erase| -> (&'static str, ErrorKind) {
        let size = log.size();
        let error = log.erase(erase, &|_, _| {}).unwrap_err();
        assert_eq!(log.size(), size, "a refusal is not recorded");
        (error.code(), error.kind())
    };
    assert_eq!(
        refused(&log, &erase("zoe")),
        ("scope_unknown", ErrorKind::NotFound)
    );
    assert_eq!(
        refused(&log, &erase("_log")),
        ("scope_protected", ErrorKind::Refused)
    );
    for basis in ["", "because Ann asked", &"x".repeat(65), "a\n"] {
        let request = Erase::new("ann", basis);
        assert_eq!(refused(&log, &request), ("erase_request", ErrorKind::Usage));
    }
    let mut none = erase("ann");
    none.scopes.clear();
    assert_eq!(refused(&log, &none), ("erase_request", ErrorKind::Usage));
    // A hold on one of two stands for both, until it is released.
    let held = log.hold("ann")?;
    assert_eq!(log.hold("ann")?, held);
    assert_eq!(log.holds()?, BTreeMap::from([("ann".to_owned(), held)]));
    assert_eq!(
        refused(&log, &erase("bob").and("ann")),
        ("scope_held", ErrorKind::Refused)
    );
    let ada = enrolled(&log, site.folder.path(), "ada", Authority::Human)?;
    let told = log.release_hold("ann").unwrap_err();
    assert_eq!((told.code(), told.kind()), ("not_allowed", ErrorKind::Keys));
    ada.release_hold("ann")?;
    assert!(matches!(
        ada.release_hold("ann"),
        Err(EraseError::NotFound { .. })
    ));
    assert!(log.holds()?.is_empty());
    let day = 86_400_000_000;
    let kept = erase("ann").minimum_retention(Duration::from_micros(180 * day));
    assert_eq!(refused(&log, &kept), ("scope_retained", ErrorKind::Refused));
    site.clock.advance(180 * day + 1);
    assert_eq!(log.accept_clock().unwrap_err().code(), "not_allowed");
    ada.accept_clock()?;
    log.erase(&kept, &|_, _| {})?;
    assert_erased(&log, "ann", 4)?;
    assert_eq!(contents(&log, "bob")?.len(), 4);
    // A scope can be erased again: what came since goes too.
    let again = NewEvent::new("chat.message", "run-ann")
        .scope("ann")
        .payload("{}");
    log.append_blocking(again)?;
    log.erase(&erase("ann"), &|_, _| {})?;
    assert_erased(&log, "ann", 5)?;
    assert_eq!(log.erasures()?.len(), 2);
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    Ok(())
}

#[test]
fn the_rewriting_can_be_deferred_where_there_are_keys() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    let erasure = log.erase(&erase("ann").and("bob").defer_rewrite(), &|_, _| {})?;
    assert!(!erasure.rewritten);
    for _ in 0..2 {
        assert_erased(&log, "ann", 4)?;
        assert_erased(&log, "bob", 4)?;
        let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
        assert!(report.valid, "{report:?}");
        assert_eq!(report.erased, 8);
        let resumed = log.resume_erasures(&|_, _| {})?;
        assert!(resumed.iter().all(|erasure| erasure.rewritten));
    }
    assert!(log.resume_erasures(&|_, _| {})?.is_empty());
    let site = Site::new()?;
    let log = site.create(&plain())?;
    fill(&log)?;
    let error = log
        .erase(&erase("ann").defer_rewrite(), &|_, _| {})
        .unwrap_err();
    assert_eq!(error.code(), "erase_needs_rewrite");
    Ok(())
}

/// A key in the environment: a person provides the next one and takes the former one away. Until
/// then the erasure is pending, through closing and opening, and the content reads as erased.
#[test]
fn an_erasure_waits_for_a_person_who_changes_the_environment() -> Outcome {
    let mut site = Site::new()?;
    let variables: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let set = |name: &str, value: Option<&str>| {
        let mut variables = variables.lock().unwrap();
        match value {
            Some(value) => variables.insert(name.to_owned(), value.to_owned()),
            None => variables.remove(name),
        };
    };
    let read = Arc::clone(&variables);
    let source = SecretSource::new(move |name| {
        let variables = read.lock().unwrap();
        variables.get(name).cloned().map(SecretString::new)
    });
    site.sources = ProviderSources::new().env(source.clone());
    let (first, second) = ("01".repeat(32), "02".repeat(32));
    set("KEY", Some(&first));
    let mut create = sealed();
    create.provider = ProviderConfig::Env {
        variable: "KEY".to_owned(),
        source,
    };
    let log = site.create(&create)?;
    fill(&log)?;
    let pending = |outcome: Result<bool, EraseError>| {
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("erasure_pending", ErrorKind::Incomplete)
        );
        error.to_string()
    };
    let resume = |log: &Log| log.resume_erasures(&|_, _| {}).map(|done| done.len() == 1);
    let why = pending(log.erase(&erase("ann"), &|_, _| {}).map(|_| true));
    assert!(why.contains("_NEXT"), "{why}");
    assert_erased(&log, "ann", 4)?;
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert_eq!(report.worst().map(ProblemKind::as_str), Some("incomplete"));
    log.close_blocking()?;
    drop(log);
    let log = site.open()?;
    assert_erased(&log, "ann", 4)?;
    pending(resume(&log));
    set("KEY_NEXT", Some(&second));
    let why = pending(resume(&log));
    assert!(why.contains("remove it"), "{why}");
    log.close_blocking()?;
    drop(log);
    let log = site.open()?;
    set("KEY", Some(&second));
    set("KEY_NEXT", None);
    assert!(resume(&log)?);
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    assert_erased(&log, "ann", 4)?;
    assert_eq!(contents(&log, "bob")?.len(), 4);
    assert_eq!(log.erasures()?[0].destroyed.as_deref(), Some("best_effort"));
    Ok(())
}

/// Whoever appends and reads while a scope is erased meets no error but one that says to try again,
/// and loses nothing.
#[test]
fn others_go_on_meanwhile() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    let appended = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut appended = 0_u64;
            for n in 0..200 {
                let event = NewEvent::new("chat.message", "run-bob")
                    .scope("bob")
                    .payload(format!("{{\"more\":{n}}}"));
                while let Err(error) = log.append_blocking(event.clone()) {
                    assert!(error.is_retryable(), "{error}");
                    std::thread::yield_now();
                }
                appended += 1;
            }
            appended
        });
        let reader = scope.spawn(|| {
            for _ in 0..50 {
                for record in log
                    .read(Read::new(Query::stream("run-bob")))
                    .into_iter()
                    .flatten()
                {
                    match record {
                        Ok(record) => assert!(record.payload.bytes().is_some()),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
            }
        });
        for name in ["ann", "eve"] {
            log.erase(&erase(name), &|_, _| {}).unwrap();
        }
        reader.join().unwrap();
        writer.join().unwrap()
    });
    assert_eq!(contents(&log, "bob")?.len() as u64, 4 + appended);
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    Ok(())
}

/// Fold rows of a program that is not running are dropped too: they may hold what was erased.
#[test]
fn folds_that_are_not_here_forget_too() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    log.close_blocking()?;
    drop(log);
    let mut open = site.opening();
    open.folds.clear();
    let log = Log::open(&site.path(), open)?;
    log.erase(&erase("ann"), &|_, _| {})?;
    log.close_blocking()?;
    drop(log);
    assert!(RawRows::open(&site.path())?.all(Table::Folds)?.is_empty());
    assert_erased(&site.open()?, "ann", 4)
}

/// A key that was erased is dropped again if somebody puts it back.
#[test]
fn a_key_that_is_put_back_is_dropped_at_open() -> Outcome {
    let site = Site::new()?;
    let log = site.create(&sealed())?;
    fill(&log)?;
    let backup = site.folder.path().join("keys.backup");
    log.backup_keys(&backup)?;
    log.erase(&erase("ann"), &|_, _| {})?;
    log.close_blocking()?;
    drop(log);
    std::fs::remove_dir_all(site.keys_path())?;
    KeyStore::restore(&backup, &site.keys_path())?;
    let mut open = site.opening();
    open.read_only = true;
    let log = Log::open(&site.path(), open)?;
    assert_eq!(contents(&log, "ann")?, vec![Payload::Erased; 4]);
    drop(log);
    let log = site.open()?;
    assert!(log.keys()?.iter().all(|key| key.scope != "ann"));
    assert_erased(&log, "ann", 4)
}
