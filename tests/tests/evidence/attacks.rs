//! Ways around an erasure, an epoch or a refusal, each of which is closed.

use runstone_codec::keys::FoldKey;
use runstone_codec::{NewEvent, row};
use runstone_store::keys::{KeyStore, ProviderConfig, ProviderSources, SecretSource, SecretString};
use runstone_store::{
    CreateOptions, EpochStart, Erase, Log, OpenError, OpenOptions, Payload, Query, Read, Sealing,
    VerifyLevel,
};
use runstone_tests::folds::Last;
use runstone_tests::tamper::{Outcome, RawRows, Table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const SECRET: &str = "the-patient-is-called-Ann-Example";

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Outcome<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn opening() -> OpenOptions {
        let mut open = OpenOptions::default();
        open.folds = vec![Arc::new(Last)];
        open
    }

    fn create(&self, sealing: Sealing) -> Outcome<Log> {
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&self.path("log"), &create, Self::opening())?;
        fill(&log)?;
        Ok(log)
    }

    fn keys(&self) -> Outcome<KeyStore> {
        let entropy = Self::opening().options.entropy;
        let sources = ProviderSources::new();
        let path = self.path("log.keys");
        Ok(KeyStore::open(&path, Sealing::Required, &sources, entropy)?)
    }

    fn open(&self) -> Result<Log, OpenError> {
        Log::open(&self.path("log"), Self::opening())
    }
}

fn fill(log: &Log) -> Outcome {
    for n in 0..4 {
        for scope in ["ann", "bob"] {
            append(log, scope, &format!("{{\"n\":{n},\"text\":\"{SECRET}\"}}"))?;
        }
    }
    Ok(())
}

fn append(log: &Log, scope: &str, payload: &str) -> Outcome {
    let event = NewEvent::new("chat.message", format!("run-{scope}")).scope(scope);
    log.append_blocking(event.payload(payload.to_owned()))?;
    Ok(())
}

fn closed(log: Log) -> Outcome {
    log.close_blocking()?;
    drop(log);
    Ok(())
}

fn erase(scope: &str) -> Erase {
    Erase::new(scope, "gdpr-17-1-b")
}

fn contents(log: &Log, scope: &str) -> Outcome<Vec<Payload>> {
    let mut found = Vec::new();
    for record in log.read(Read::new(Query::stream(format!("run-{scope}"))))? {
        found.push(record?.payload);
    }
    Ok(found)
}

fn contains(path: &Path, needle: &str) -> Outcome<bool> {
    let bytes = std::fs::read(path)?;
    Ok(bytes
        .windows(needle.len())
        .any(|at| at == needle.as_bytes()))
}

/// The key that wraps the erased keys is the one that is in force: nothing was destroyed, so there
/// is nothing to certify.
#[test]
fn nothing_is_certified_while_the_wrapping_key_is_in_force() -> Outcome {
    let site = Site::new()?;
    let variables: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let set = |name: &str, value: Option<String>| {
        let mut variables = variables.lock().unwrap();
        match value {
            Some(value) => variables.insert(name.to_owned(), value),
            None => variables.remove(name),
        };
    };
    let read = Arc::clone(&variables);
    let source = SecretSource::new(move |name| {
        let variables = read.lock().unwrap();
        variables.get(name).cloned().map(SecretString::new)
    });
    set("KEY", Some("01".repeat(32)));
    let mut create = CreateOptions::default();
    create.provider = ProviderConfig::Env {
        variable: "KEY".to_owned(),
        source: source.clone(),
    };
    let mut open = Site::opening();
    open.sources = ProviderSources::new().env(source);
    let log = Log::create(&site.path("log"), &create, open)?;
    fill(&log)?;
    // A rotation that waits for a person to move the next key over.
    set("KEY_NEXT", Some("02".repeat(32)));
    log.rotate_kek()?;
    let outcome = log.erase(&erase("ann"), &|_, _| {});
    let code = outcome
        .map(|erasure| erasure.destroyed)
        .map_err(|error| error.code());
    assert_eq!(code, Err("erasure_pending"));
    // Moved over, the key that wrapped is still the one in force.
    set("KEY", Some("02".repeat(32)));
    set("KEY_NEXT", None);
    let code = log
        .resume_erasures(&|_, _| {})
        .map_err(|error| error.code());
    assert_eq!(code, Err("erasure_pending"));
    set("KEY_NEXT", Some("03".repeat(32)));
    let code = log
        .resume_erasures(&|_, _| {})
        .map_err(|error| error.code());
    assert_eq!(code, Err("erasure_pending"));
    set("KEY", Some("03".repeat(32)));
    set("KEY_NEXT", None);
    assert_eq!(log.resume_erasures(&|_, _| {})?.len(), 1);
    Ok(())
}

/// The request is recorded and the keys cannot be dropped: what is acknowledged from there on must
/// not be lost.
#[test]
fn nothing_is_acknowledged_under_a_key_that_is_to_be_destroyed() -> Outcome {
    let site = Site::new()?;
    let log = site.create(Sealing::Required)?;
    let in_the_way = site.path("log.keys/table.new");
    std::fs::create_dir(&in_the_way)?;
    assert!(log.erase(&erase("ann"), &|_, _| {}).is_err());
    let acknowledged = append(&log, "ann", "{\"new\":true}").is_ok();
    std::fs::remove_dir(&in_the_way)?;
    drop(log);
    let log = site.open()?;
    let last = contents(&log, "ann")?.pop();
    assert_eq!(
        matches!(last, Some(Payload::Open(_))),
        acknowledged,
        "{last:?}"
    );
    log.resume_erasures(&|_, _| {})?;
    assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
    Ok(())
}

/// Rows of folds hold content. A copy of the file from before has them, sealed under a key that the
/// erasure replaced.
#[test]
fn an_erasure_reaches_the_fold_rows_of_a_copy() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    std::fs::copy(site.path("log"), site.path("copy"))?;
    let log_id = *site.keys()?.log_id();
    let is_readable = || -> Outcome<Vec<bool>> {
        let keys = site.keys()?;
        let rows = RawRows::open(&site.path("copy"))?.all(Table::Folds)?;
        let operations = keys.operations().unwrap();
        let operations = FoldKey::new(*operations.as_bytes());
        let folds = keys.fold_key().unwrap();
        let opens = |(key, sealed): &(Vec<u8>, Vec<u8>)| {
            [&operations, folds.as_ref()]
                .iter()
                .any(|fold_key| row::open(Some(fold_key), &log_id, key, sealed).is_ok())
        };
        assert!(!rows.is_empty());
        Ok(rows.iter().map(opens).collect())
    };
    assert!(is_readable()?.iter().all(|readable| *readable));
    let log = site.open()?;
    log.erase(&erase("ann"), &|_, _| {})?;
    closed(log)?;
    assert!(is_readable()?.iter().all(|readable| !readable));
    let mut open = Site::opening();
    open.keys = Some(site.path("log.keys"));
    open.read_only = true;
    let copy = Log::open(&site.path("copy"), open)?;
    let rows = ["run-ann", "run-bob"].map(|stream| copy.fold_row("last", stream.as_bytes()));
    let [ann, bob] = rows.map(|row| row.map(|row| row.is_some()));
    assert!(!ann? && bob?);
    Ok(())
}

#[test]
fn an_erasure_reaches_the_fold_rows_of_a_backup() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    let log = site.open()?;
    log.backup(&site.path("backup"), &|_, _| {})?;
    log.erase(&erase("ann"), &|_, _| {})?;
    let mut open = Site::opening();
    open.keys = Some(site.path("log.keys"));
    open.read_only = true;
    let backup = Log::open(&site.path("backup"), open)?;
    let row = backup.fold_row("last", b"run-ann")?.unwrap_or_default();
    let row = String::from_utf8_lossy(&row).into_owned();
    assert!(!row.contains(SECRET), "{row}");
    Ok(())
}

/// A backup of a log whose erasure is pending does not carry the content away.
#[test]
fn a_backup_leaves_out_what_is_being_erased() -> Outcome {
    let site = Site::new()?;
    let mut create = CreateOptions::default();
    create.sealing = Sealing::Plain;
    let log = Log::create(&site.path("log"), &create, Site::opening())?;
    append(&log, "ann", &format!("\"{SECRET}\""))?;
    append(&log, "bob", "\"another\"")?;
    std::fs::create_dir(site.path("log.rewritten"))?;
    assert!(log.erase(&erase("ann"), &|_, _| {}).is_err());
    assert_eq!(contents(&log, "ann")?, [Payload::Erased]);
    log.backup(&site.path("backup"), &|_, _| {})?;
    assert!(contains(&site.path("backup"), "another")?);
    assert!(!contains(&site.path("backup"), SECRET)?);
    Ok(())
}

/// Content that somebody put back belies the certificate, though nobody is shown it.
#[test]
fn content_that_is_put_back_fails_verification() -> Outcome {
    for sealing in [Sealing::Plain, Sealing::Required] {
        let site = Site::new()?;
        closed(site.create(sealing)?)?;
        std::fs::copy(site.path("log"), site.path("older"))?;
        let log = site.open()?;
        log.erase(&erase("ann"), &|_, _| {})?;
        assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
        closed(log)?;
        let (older, rows) = (
            RawRows::open(&site.path("older"))?,
            RawRows::open(&site.path("log"))?,
        );
        for (key, value) in older.all(Table::Chunks)? {
            rows.set(Table::Chunks, &key, Some(&value))?;
        }
        drop((older, rows));
        let log = site.open()?;
        assert_eq!(contents(&log, "ann")?, vec![Payload::Erased; 4]);
        let report = log.verify(VerifyLevel::Headers, &|_, _| {});
        assert_eq!(
            report.worst().map(runstone_store::ProblemKind::as_str),
            Some("tampered"),
            "{sealing:?}"
        );
    }
    Ok(())
}

/// A log that is refused has no say on the keys.
#[test]
fn a_log_that_is_refused_destroys_no_keys() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    let clone = Site::new()?;
    for name in ["log", "log.head"] {
        std::fs::copy(site.path(name), clone.path(name))?;
    }
    std::fs::create_dir(clone.path("log.keys"))?;
    for name in ["ring", "table"] {
        let name = format!("log.keys/{name}");
        std::fs::copy(site.path(&name), clone.path(&name))?;
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(clone.path("log.keys"), private)?;
    let log = site.open()?;
    append(&log, "bob", "\"more\"")?;
    closed(log)?;
    let log = clone.open()?;
    log.erase(&erase("ann"), &|_, _| {})?;
    closed(log)?;
    std::fs::rename(site.path("log"), site.path("log.right"))?;
    std::fs::copy(clone.path("log"), site.path("log"))?;
    let error = site.open().unwrap_err();
    assert!(matches!(error, OpenError::Diverged { .. }), "{error}");
    std::fs::rename(site.path("log.right"), site.path("log"))?;
    let log = site.open()?;
    for payload in contents(&log, "ann")? {
        assert!(matches!(payload, Payload::Open(_)), "{payload:?}");
    }
    Ok(())
}

/// An epoch that did not begin has given nothing up.
#[test]
fn what_is_known_is_kept_until_the_epoch_is_recorded() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    std::fs::copy(site.path("log"), site.path("older"))?;
    let log = site.open()?;
    append(&log, "bob", "\"more\"")?;
    closed(log)?;
    std::fs::copy(site.path("older"), site.path("log"))?;
    let error = site.open().unwrap_err();
    assert!(matches!(error, OpenError::Behind { .. }), "{error}");
    let mut start = EpochStart::default();
    start.accept_loss = true;
    start.known = Some("no checkpoint".to_owned());
    assert!(Log::start_epoch(&site.path("log"), &start, Site::opening()).is_err());
    let error = site.open().map(|log| log.size()).unwrap_err();
    assert!(matches!(error, OpenError::Behind { .. }), "{error}");
    Ok(())
}

/// A known checkpoint of another history is a loss to be accepted, at whatever size.
#[test]
fn a_known_checkpoint_of_another_history_is_no_formality() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    let names = ["log", "log.head"];
    for name in names {
        std::fs::copy(site.path(name), site.path(&format!("older.{name}")))?;
    }
    let log = site.open()?;
    append(&log, "bob", "\"one\"")?;
    let known = log.checkpoint()?.text().to_owned();
    closed(log)?;
    for name in names {
        std::fs::copy(site.path(&format!("older.{name}")), site.path(name))?;
    }
    let log = site.open()?;
    append(&log, "bob", "\"another\"")?;
    append(&log, "bob", "\"and more\"")?;
    closed(log)?;
    let mut start = EpochStart::default();
    start.known = Some(known);
    let outcome = Log::start_epoch(&site.path("log"), &start, Site::opening());
    let outcome = outcome.map(|started| started.epoch);
    assert!(
        matches!(outcome, Err(OpenError::Diverged { .. })),
        "{outcome:?}"
    );
    Ok(())
}

/// Whoever writes where a copy lies cannot make opening wait for ever.
#[test]
fn a_copy_that_is_a_pipe_is_not_waited_for() -> Outcome {
    let site = Site::new()?;
    closed(site.create(Sealing::Required)?)?;
    let copy = site.path("copy");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&copy)
            .status()?
            .success()
    );
    let mut open = Site::opening();
    open.options.checkpoint_copies = vec![copy];
    let (told, answer) = mpsc::channel();
    let path = site.path("log");
    std::thread::spawn(move || told.send(Log::open(&path, open).is_ok()));
    let opened = answer.recv_timeout(Duration::from_secs(5));
    assert!(opened.is_ok(), "it waits");
    Ok(())
}

/// Erasures and rotations at once: whoever is told that it was erased is told the truth.
#[test]
fn erasures_at_once_are_all_done() -> Outcome {
    let site = Site::new()?;
    let log = Log::create(
        &site.path("log"),
        &CreateOptions::default(),
        Site::opening(),
    )?;
    let scopes: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    for scope in &scopes {
        append(&log, scope, &format!("\"{SECRET}\""))?;
    }
    std::thread::scope(|threads| {
        for half in scopes.chunks(20) {
            let log = &log;
            threads.spawn(move || {
                for scope in half {
                    while let Err(error) = log.erase(&erase(scope).defer_rewrite(), &|_, _| {}) {
                        assert_eq!(error.code(), "reopening", "{error}");
                    }
                }
            });
        }
        let log = &log;
        threads.spawn(move || {
            for _ in 0..40 {
                if log.rotate_signing().is_ok() {
                    log.end_signing_overlap().unwrap();
                }
            }
        });
    });
    for erasure in log.erasures()? {
        assert!(erasure.completed.is_some(), "{erasure:?}");
    }
    for scope in &scopes {
        assert_eq!(contents(&log, scope)?, [Payload::Erased]);
    }
    Ok(())
}
