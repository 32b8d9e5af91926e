//! The handle.

use super::inbox::Inbox;
use super::run::RunBuilder;
use crate::Options;
use runstone_projections::budgets::Budgets;
use runstone_projections::effects::Effects;
use runstone_store::{Log, OpenError};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// A log with the [standard folds](crate::standard_folds) attached, and what an agent does with it.
/// Clones share it. Everything of [`Log`] is there too.
#[derive(Debug, Clone)]
pub struct Runstone {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    effects: Effects,
    budgets: Budgets,
    holder: String,
}

impl Runstone {
    /// Opens a log and brings it to where it was.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what was found and what to do; a refused file is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(path)
    }

    /// Makes an encrypted log with its keys in `PATH.keys`, and opens it.
    ///
    /// # Errors
    ///
    /// [`OpenError::AlreadyExists`] leaves what is there untouched.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().create(path)
    }

    /// A log in memory: the same engine, gone when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the operating system gives no randomness.
    pub fn memory() -> Result<Self, OpenError> {
        Self::options().memory()
    }

    /// Everything that can be chosen.
    pub fn options() -> Options {
        Options::default()
    }

    /// A run of this name, to be started or resumed.
    pub fn run(&self, name: impl Into<String>) -> RunBuilder {
        RunBuilder::new(self, name.into())
    }

    /// What an agent is told.
    pub fn inbox(&self, agent: impl Into<String>) -> Inbox {
        Inbox::new(self, agent.into())
    }

    /// The idempotency ledger by hand; [`Run::effect`](crate::Run::effect) is how programs use it.
    pub fn effects(&self) -> &Effects {
        &self.inner.effects
    }

    /// What may be spent, and what was.
    pub fn budgets(&self) -> &Budgets {
        &self.inner.budgets
    }

    /// The log alone.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Who this handle is to others: its principal, and the opening of the log.
    pub fn holder(&self) -> &str {
        &self.inner.holder
    }
}

impl From<Log> for Runstone {
    fn from(log: Log) -> Self {
        use std::fmt::Write as _;
        let mut holder = format!("{}#", log.principal().0);
        for byte in log.opening().id.iter().take(4) {
            let _ = write!(holder, "{byte:02x}");
        }
        let (effects, budgets) = (Effects::new(&log), Budgets::new(&log));
        let inner = Arc::new(Inner {
            log,
            effects,
            budgets,
            holder,
        });
        Self { inner }
    }
}

impl Deref for Runstone {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.inner.log
    }
}
