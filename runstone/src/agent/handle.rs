//! The handle.

use super::again::Again;
use super::inbox::Inbox;
use super::renew::{Kept, Renewals, What};
use super::run::RunBuilder;
use crate::Options;
use crate::serving::Server;
#[cfg(feature = "attach")]
use runstone_attach::{AttachError, Limits, socket_of};
use runstone_projections::Hold;
use runstone_projections::agents::{Agents, Messages};
use runstone_projections::approvals::Approvals;
use runstone_projections::budgets::Budgets;
use runstone_projections::effects::Effects;
use runstone_projections::tasks::Tasks;
use runstone_projections::trays::Trays;
use runstone_sinks::{RunOptions, Runner, SinkError, Sinks, sinks_folder};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log, OpenError};
use std::fmt::{self, Debug, Formatter};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// A log with the [standard folds](crate::standard_folds) attached, and what an agent does with it.
/// Clones share it. Everything of [`Log`] is there too: whichever handle [closes](Log::close) the log,
/// serving it and running its sinks end first.
#[derive(Clone)]
#[must_use = "it is another handle, and what it was made for ends with its last clone"]
pub struct Runstone {
    inner: Arc<Inner>,
}

impl Debug for Runstone {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runstone")
            .field("log", &self.inner.log)
            .field("is_served", &self.inner.server.is_some())
            .field("runs_sinks", &self.inner.runner.is_some())
            .finish_non_exhaustive()
    }
}

struct Inner {
    log: Log,
    effects: Effects,
    budgets: Budgets,
    holder: String,
    renewals: Renewals,
    /// As long as somebody has a handle.
    server: Option<Arc<Server>>,
    /// Likewise.
    runner: Option<Arc<Runner>>,
    /// What a program that runs again is answered by.
    again: Option<Arc<Again>>,
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

    /// The tasks of the log; see [`Tasks::stream`] for those of another stream.
    pub fn tasks(&self) -> Tasks {
        Tasks::new(&self.inner.log)
    }

    /// The trays of the log: queues of tasks that workers drain.
    pub fn trays(&self) -> Trays {
        Trays::new(&self.inner.log)
    }

    /// The requests for approval of the log, and votes on them.
    pub fn approvals(&self) -> Approvals {
        Approvals::new(&self.inner.log)
    }

    /// The agents of the log.
    pub fn agents(&self) -> Agents {
        Agents::new(&self.inner.log)
    }

    /// The messages of the log; [`inbox`](Self::inbox) waits for those to one agent.
    pub fn messages(&self) -> Messages {
        Messages::new(&self.inner.log)
    }

    /// What serves the log to other processes; `None`: nobody, or another process holds it.
    ///
    /// Only with the feature `attach`.
    #[cfg(feature = "attach")]
    pub fn server(&self) -> Option<&Server> {
        self.inner.server.as_deref()
    }

    /// A handle that acts as the principal of a credential, after it signed a challenge.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if nobody with this id and key is enrolled.
    pub fn with_credential(&self, credential: &Credential) -> Result<Self, AppendError> {
        let log = self.inner.log.with_credential(credential)?;
        let held = &self.inner;
        let (server, runner, again) = (&held.server, &held.runner, &held.again);
        Ok(Self::new(
            log,
            server.clone(),
            runner.clone(),
            again.clone(),
        ))
    }

    /// The sinks of the log: which there are, and how they stand.
    pub fn sinks(&self) -> Sinks {
        Sinks::new(&self.inner.log)
    }

    /// What runs the sinks of the log; `None`: nobody here does.
    pub fn runner(&self) -> Option<&Runner> {
        self.inner.runner.as_deref()
    }

    /// This handle, which from now on runs the sinks of the log as long as somebody has it. If it
    /// runs them already, that stops.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if the log has no file in this process, or cannot be read. The handle is gone
    /// then; its clones are not.
    pub fn run_sinks(self, options: RunOptions) -> Result<Self, SinkError> {
        let log = self.inner.log.clone();
        let folder = sinks_folder(log.path().ok_or(SinkError::NoFolder)?);
        if let Some(runner) = &self.inner.runner {
            runner.stop();
        }
        let runner = Arc::new(Runner::start(&log, &folder, options)?);
        log.before_close(&runner, Runner::stop);
        let server = self.inner.server.clone();
        let again = self.inner.again.clone();
        Ok(Self::new(log, server, Some(runner), again))
    }

    /// A log of this process, served to others on the socket `PATH.sock` as long as somebody has a
    /// handle.
    ///
    /// Only with the feature `attach`.
    ///
    /// # Errors
    ///
    /// [`AttachError`] if the socket cannot be made.
    #[cfg(feature = "attach")]
    pub fn serve(log: Log, path: impl AsRef<Path>, limits: Limits) -> Result<Self, AttachError> {
        let endpoints = crate::endpoints();
        let server = Server::start(&log, &socket_of(path.as_ref()), endpoints, limits)?;
        let server = Arc::new(server);
        log.before_close(&server, Server::stop);
        Ok(Self::new(log, Some(server), None, None))
    }

    /// Keeps what it holds by a lease, which a thread renews; see [`Renewals`].
    pub(super) fn keep(&self, what: What, hold: Hold) -> Option<Kept> {
        self.inner.renewals.keep(&self.inner.log, what, hold)
    }

    fn new(
        log: Log,
        server: Option<Arc<Server>>,
        runner: Option<Arc<Runner>>,
        again: Option<Arc<Again>>,
    ) -> Self {
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
            renewals: Renewals::default(),
            server,
            runner,
            again,
        });
        Self { inner }
    }

    /// The same log, whose runs are answered by a tape.
    pub(super) fn with_tape(self, again: Again) -> Self {
        Self::new(self.inner.log.clone(), None, None, Some(Arc::new(again)))
    }

    pub(super) fn again(&self) -> Option<&Again> {
        self.inner.again.as_deref()
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
        Self::new(log, None, None, None)
    }
}

impl Deref for Runstone {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.inner.log
    }
}
