//! Folds while the key provider is away: they stop, whatever they make of it, and go on later.

use runstone_codec::{Control, NewEvent};
use runstone_store::keys::{ProviderConfig, ProviderSources, SecretSource, SecretString};
use runstone_store::{
    CreateOptions, Decision, Fold, FoldCheck, FoldError, FoldRecord, FoldStatus, Log, OpenOptions,
    Payload, Rows,
};
use runstone_tests::contract::check_sound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const EVENTS: u64 = 6;

/// The environment variable of a provider that answers so many times more.
#[derive(Clone, Debug)]
struct Provider(Arc<AtomicU64>);

impl Provider {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn answers(&self, times: u64) {
        self.0.store(times, Ordering::SeqCst);
    }

    fn source(&self) -> SecretSource {
        let left = Arc::clone(&self.0);
        SecretSource::new(move |variable| {
            let here = variable == "KEK" && left.load(Ordering::SeqCst) > 0;
            here.then(|| {
                left.fetch_sub(1, Ordering::SeqCst);
                SecretString::new("0c".repeat(32))
            })
        })
    }

    fn create(&self, path: &Path) -> Log {
        let mut create = CreateOptions::default();
        create.provider = ProviderConfig::Env {
            variable: "KEK".to_owned(),
            source: self.source(),
        };
        let log = Log::create(path, &create, OpenOptions::default()).unwrap();
        for n in 0..EVENTS {
            log.append_blocking(event(n)).unwrap();
        }
        log
    }

    fn open(&self, path: &Path, folds: Vec<Arc<dyn Fold>>) -> Log {
        let mut open = OpenOptions::default();
        open.sources = ProviderSources::new().env(self.source());
        open.folds = folds;
        Log::open(path, open).unwrap()
    }
}

fn event(n: u64) -> NewEvent {
    NewEvent::new("data.noted", "s").payload(format!("{{\"n\":{n}}}"))
}

/// Counts what it can read, and what it cannot: it takes any answer for good.
#[derive(Debug)]
struct Careless;

impl Fold for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let key: &[u8] = match record.payload() {
            Payload::Open(_) => b"open",
            _ => b"other",
        };
        let count = rows.get(key)?.map_or(0, |row| row[0]);
        rows.put(key, vec![count + 1]);
        Ok(())
    }
}

/// Cannot do without the content.
#[derive(Debug)]
struct Careful;

impl Fold for Careful {
    fn name(&self) -> &'static str {
        "careful"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let payload = record.payload();
        assert!(payload.bytes().is_some(), "{payload:?}");
        rows.put(&record.position.get().to_be_bytes(), vec![1]);
        Ok(())
    }
}

fn folds() -> Vec<Arc<dyn Fold>> {
    vec![Arc::new(Careless), Arc::new(Careful)]
}

fn reason(status: &FoldStatus) -> (u64, &str) {
    let (position, why) = status.stopped.as_ref().unwrap();
    assert_eq!(position.get(), status.applied);
    (status.applied, why)
}

/// A fold that is given no content because a key cannot be had stops there, and goes on from there
/// at the next open; what it says in the end is what the events say.
#[test]
fn folds_wait_for_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let provider = Provider::new();
    provider.create(&path).close_blocking().unwrap();
    // What opening asks for besides the content.
    provider.answers(1000);
    provider.open(&path, Vec::new()).close_blocking().unwrap();
    provider.answers(1000 - provider.0.load(Ordering::SeqCst));

    let log = provider.open(&path, folds());
    for status in log.fold_status().unwrap() {
        let (applied, why) = reason(&status);
        assert!(applied < log.size());
        assert!(why.contains("cannot be opened now"), "{why}");
        assert!(why.contains("is not set"), "{why}");
        let name = status.name;
        let decided = log.command_blocking(Vec::new(), move |context| {
            context.fold_row(&name, b"open")?;
            Ok(Decision::nothing(()))
        });
        assert_eq!(decided.unwrap_err().code(), "fold_stopped");
    }
    assert_eq!(log.fold_row("careless", b"other").unwrap(), None);

    // The provider is back: the log goes on, the folds have missed an event.
    provider.answers(u64::MAX);
    log.append_blocking(event(EVENTS)).unwrap();
    assert!(
        log.fold_status()
            .unwrap()
            .iter()
            .all(|fold| fold.stopped.is_some())
    );
    assert_eq!(
        log.check_folds(None, &|_, _| {}).unwrap_err().code(),
        "fold_stopped"
    );
    log.close_blocking().unwrap();

    let log = provider.open(&path, folds());
    for status in log.fold_status().unwrap() {
        assert_eq!((status.applied, status.stopped), (log.size(), None));
    }
    let all = vec![u8::try_from(log.size()).unwrap()];
    assert_eq!(log.fold_row("careless", b"open").unwrap(), Some(all));
    assert_eq!(log.fold_row("careless", b"other").unwrap(), None);
    check_sound(&log);
}

/// Folding again is no proof of anything while keys cannot be had, and says so.
#[test]
fn folds_are_not_compared_without_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let provider = Provider::new();
    provider.create(&path).close_blocking().unwrap();
    provider.open(&path, folds()).close_blocking().unwrap();
    let log = provider.open(&path, folds());
    provider.answers(0);
    for fold in [None, Some("careless"), Some("careful")] {
        let error = log.check_folds(fold, &|_, _| {}).unwrap_err();
        assert_eq!(error.code(), "fold_stopped");
        assert!(
            error.to_string().contains("cannot be opened now"),
            "{error}"
        );
    }
    assert!(
        log.fold_status()
            .unwrap()
            .iter()
            .all(|fold| fold.stopped.is_none())
    );
    provider.answers(u64::MAX);
    check_sound(&log);
}

/// A stopped fold goes on from where it is when it is folded again.
#[test]
fn folds_are_rebuilt_when_the_keys_are_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let provider = Provider::new();
    provider.create(&path).close_blocking().unwrap();
    provider.answers(1000);
    provider.open(&path, Vec::new()).close_blocking().unwrap();
    provider.answers(1000 - provider.0.load(Ordering::SeqCst));
    let log = provider.open(&path, folds());
    assert!(
        log.fold_status()
            .unwrap()
            .iter()
            .all(|fold| fold.stopped.is_some())
    );
    provider.answers(u64::MAX);
    let checks = log.rebuild_folds(None, &|_, _| {}).unwrap();
    assert!(checks.iter().all(FoldCheck::is_equal), "{checks:?}");
    log.command_blocking(vec![event(EVENTS).into()], |context| {
        let row = context.fold_row("careless", b"open")?;
        assert!(row.is_some());
        Ok(Decision::record(0, Control::new(), ()))
    })
    .unwrap();
    assert!(
        log.fold_status()
            .unwrap()
            .iter()
            .all(|fold| fold.applied == log.size())
    );
    check_sound(&log);
}
