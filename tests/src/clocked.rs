//! A folder with a log whose clock goes only when a test says so.

use crate::tamper::Outcome;
use runstone_codec::{Authority, OsEntropy};
use runstone_projections::standard_folds;
use runstone_store::keys::Credential;
use runstone_store::{
    CreateOptions, FoldCheck, Log, LogOptions, ManualClock, OpenOptions, Sealing, VerifyLevel,
};
use std::path::PathBuf;
use std::sync::Arc;

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
        Ok(Self {
            folder: tempfile::tempdir()?,
            clock: Arc::new(ManualClock::new(START_US)),
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
        let credential = Credential::create(&self.file(name), name, authority, &OsEntropy)?;
        log.enrol(name, authority, &credential.public_key())?;
        Ok(log.with_credential(&credential)?)
    }
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

/// How many cases a test against a model tries.
#[expect(clippy::disallowed_methods, reason = "a test may be told its length")]
pub fn model_cases() -> u32 {
    let asked = std::env::var("RUNSTONE_MODEL_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(24)
}
