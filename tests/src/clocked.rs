//! A folder with a log whose clock goes only when a test says so.

use crate::tamper::Outcome;
use runstone_codec::{Authority, OsEntropy};
use runstone_projections::standard_folds;
use runstone_store::keys::Credential;
use runstone_store::{
    CreateOptions, FoldCheck, Log, LogOptions, ManualClock, OpenOptions, Sealing, VerifyLevel,
};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// When it begins, Unix microseconds.
pub const START_US: u64 = 1_750_000_000_000_000;

/// A folder with a log whose clock goes only when a test says so.
#[derive(Debug)]
pub struct Clocked {
    folder: tempfile::TempDir,
    /// The clock.
    pub clock: Arc<ManualClock>,
}

impl Clocked {
    /// An empty folder.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn new() -> Outcome<Self> {
        Self::beginning(START_US)
    }

    /// An empty folder, and a clock that begins then.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn beginning(start_us: u64) -> Outcome<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            clock: Arc::new(ManualClock::new(start_us)),
        })
    }

    /// Where the log is, or will be.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Another file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The clock, as an option.
    pub fn storage(&self) -> LogOptions {
        let mut options = LogOptions::default();
        options.clock = Arc::<ManualClock>::clone(&self.clock);
        options
    }

    /// With the clock, and every fold.
    pub fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.options = self.storage();
        open.folds = standard_folds();
        open
    }

    /// The same for a log that has no threads of its own, and is maintained often.
    pub fn opening_alone(&self) -> OpenOptions {
        let mut open = self.opening();
        open.options.background = false;
        open.options.maintenance_commits = 3;
        open
    }

    /// The log, new.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub fn create(&self, sealing: Sealing) -> Outcome<Log> {
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        Ok(Log::create(&self.path(), &create, self.opening())?)
    }

    /// The log, closed and opened again.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub fn reopen(&self, log: Log) -> Outcome<Log> {
        log.close_blocking()?;
        drop(log);
        Ok(Log::open(&self.path(), self.opening())?)
    }

    /// The log, closed or killed, and opened again alone: every row is as it was, and as the log says
    /// when it is folded from its beginning. There is no other handle of it.
    ///
    /// # Errors
    ///
    /// What the log or the file system says.
    ///
    /// # Panics
    ///
    /// If something differs.
    pub fn restart(&self, log: Log, is_closed: bool) -> Outcome<Log> {
        let before = digests(&log.check_folds(None, &|_, _| {})?)?;
        let (size, root) = (log.size(), log.root());
        let paths = [self.path(), self.file("log.head")];
        let [file, head] = [std::fs::read(&paths[0])?, std::fs::read(&paths[1])?];
        if is_closed {
            log.close_blocking()?;
        }
        drop(log);
        if !is_closed {
            // What a killed process leaves: the files as they were before they were closed.
            std::fs::write(&paths[0], file)?;
            std::fs::write(&paths[1], head)?;
        }
        let log = Log::open(&self.path(), self.opening_alone())?;
        assert_eq!((log.size(), log.root()), (size, root));
        assert_eq!(digests(&log.check_folds(None, &|_, _| {})?)?, before);
        assert_eq!(digests(&log.rebuild_folds(None, &|_, _| {})?)?, before);
        assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
        Ok(log)
    }

    /// A handle of a person, who is enrolled here; once a log.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub fn person(&self, log: &Log) -> Outcome<Log> {
        self.principal(log, "ada", Authority::Human)
    }

    /// A handle of somebody who is enrolled here; once a name.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub fn principal(&self, log: &Log, name: &str, authority: Authority) -> Outcome<Log> {
        enrolled(log, self.folder.path(), name, authority)
    }
}

/// A handle of somebody who is enrolled here, with the credential in a folder; once a name.
///
/// # Errors
///
/// What the log says.
pub fn enrolled(log: &Log, folder: &Path, name: &str, authority: Authority) -> Outcome<Log> {
    let credential = Credential::create(&folder.join(name), name, authority, &OsEntropy)?;
    log.enrol(name, authority, &credential.public_key())?;
    Ok(log.with_credential(&credential)?)
}

/// A log in memory, and its clock, which begins then.
///
/// # Errors
///
/// What the log says.
pub fn memory(start_us: u64) -> Outcome<(Log, Arc<ManualClock>)> {
    let clock = Arc::new(ManualClock::new(start_us));
    let mut open = OpenOptions::default();
    open.options.clock = Arc::<ManualClock>::clone(&clock);
    open.folds = standard_folds();
    Ok((Log::memory(&CreateOptions::default(), open)?, clock))
}

/// Panics unless the rows are what the log says, and the log verifies.
///
/// # Errors
///
/// What the log says.
pub fn assert_sound(log: &Log) -> Outcome {
    for check in log.check_folds(None, &|_, _| {})? {
        assert!(check.is_equal(), "{check:?}");
    }
    assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
    Ok(())
}

/// Digests of the folds.
///
/// # Errors
///
/// What differs, if one is not what the log says.
pub fn digests(checks: &[FoldCheck]) -> Outcome<Vec<(String, [u8; 32])>> {
    for check in checks {
        if !check.is_equal() {
            return Err(format!("{check:?}").into());
        }
    }
    let digest = |check: &FoldCheck| (check.fold.clone(), check.digest);
    Ok(checks.iter().map(digest).collect())
}

/// What comes of a future that waits for nothing: the only caller of a log without threads runs
/// every commit itself.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// How many cases a test against a model tries.
#[expect(clippy::disallowed_methods, reason = "a test may be told its length")]
pub fn model_cases() -> u32 {
    let asked = std::env::var("RUNSTONE_MODEL_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(24)
}
