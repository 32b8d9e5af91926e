//! Which log, opened how, as whom.

use crate::args::Global;
use crate::error::{Exit, Failure, Report};
use crate::output::{HOLDER_LOST, Output, Progress};
use runstone::attach::{AttachError, ConnectError, connect, socket_of};
use runstone::store::keys::{Credential, KeyError, ProviderSources, SecretSource, SecretString};
use runstone::{Log, OpenError, OpenOptions};
use std::cell::Cell;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a log that is held is tried again even without `--wait`: commands that run one after
/// the other, or beside a `log --follow`, must not trip over each other.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long somebody tries who comes again by himself.
const MOMENT: Duration = Duration::from_millis(100);
/// Time between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Waiting longer than this is said.
const SILENT: Duration = Duration::from_secs(1);

/// Times between two looks at what another process changes, each twice as long as the one before: a
/// file that somebody else holds tells nobody when it is free.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Rests for the next one, or as long as it may.
    pub(crate) fn rest(&mut self, at_most: Duration) {
        sleep(self.next.min(at_most));
        self.next = (self.next * 2).min(self.longest);
    }
}

/// What a command wants to do with the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Look at events. Nothing is written, and others may look too.
    Events,
    /// Look at folds as well.
    Folds,
    /// Write.
    Write,
}

/// The log that the command is about.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) log: PathBuf,
    keys: Option<PathBuf>,
    principal: Option<String>,
    credential: Option<PathBuf>,
    checkpoint_copies: Vec<PathBuf>,
    checkpoint_commands: Vec<Vec<String>>,
    wait: Duration,
    /// That it could not be attached to is said once.
    is_warned: Cell<bool>,
    pub(crate) output: Output,
}

impl Session {
    pub(crate) fn new(global: Global, output: Output) -> Self {
        Self {
            log: global.log,
            keys: global.keys,
            principal: global.principal,
            credential: global.cred,
            checkpoint_copies: global.checkpoint_copies,
            checkpoint_commands: global
                .checkpoint_commands
                .into_iter()
                .map(|command| command.0)
                .collect(),
            wait: global.wait.unwrap_or(PATIENCE),
            is_warned: Cell::new(false),
            output,
        }
    }

    /// The folder of the log's keys.
    pub(crate) fn keys_path(&self) -> PathBuf {
        self.keys
            .clone()
            .unwrap_or_else(|| runstone::store::default_keys_path(&self.log))
    }

    /// How the log is opened.
    pub(crate) fn options(&self, access: Access) -> OpenOptions {
        let mut options = OpenOptions::default();
        options.keys.clone_from(&self.keys);
        options.read_only = access != Access::Write;
        if access != Access::Events {
            options.folds = runstone::projections::standard_folds();
        }
        options
            .options
            .checkpoint_copies
            .clone_from(&self.checkpoint_copies);
        options
            .options
            .checkpoint_commands
            .clone_from(&self.checkpoint_commands);
        options.sources = ProviderSources::default().env(secret_source());
        options.progress = self.repair_progress();
        options
    }

    /// A bar that appears when the log was not closed and has to be gone through.
    fn repair_progress(&self) -> Arc<dyn Fn(f64) + Send + Sync> {
        let output = self.output.clone();
        let bar = Mutex::new(None);
        Arc::new(move |share| {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            let bar = bar.get_or_insert_with(|| Progress::share(&output, "recovering"));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 0..=1000 before"
            )]
            let done = (share * 1000.0).clamp(0.0, 1000.0) as u64;
            bar.at(done);
        })
    }

    /// Tries until the log is free or the patience is over.
    pub(crate) fn patiently<T>(
        &self,
        action: impl FnMut() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        self.tried_for(self.wait, action)
    }

    fn tried_for<T>(
        &self,
        wait: Duration,
        mut action: impl FnMut() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let begun = instant();
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut told = false;
        loop {
            let outcome = action();
            let waited = begun.elapsed();
            if !matches!(outcome, Err(OpenError::Busy { .. })) || waited >= wait {
                return outcome;
            }
            if waited >= SILENT && !told {
                told = true;
                let path = self.log.display();
                self.output
                    .note(&format!("another process holds {path}; waiting for it"));
            }
            pauses.rest(wait.saturating_sub(waited));
        }
    }

    /// The log, if another process holds it and serves it.
    pub(crate) fn attached(&self) -> Option<Log> {
        match connect(&socket_of(&self.log)) {
            Ok(log) => Some(log),
            Err(ConnectError::Attach(AttachError::NotServed { .. })) => None,
            Err(error) => {
                if !self.is_warned.replace(true) {
                    self.output.warn("not_attached", &error.to_string());
                }
                None
            }
        }
    }

    /// Attaches to whoever holds the log, else opens its file.
    pub(crate) fn open(&self, access: Access) -> Result<Log, Failure> {
        let log = self.patiently(|| match self.attached() {
            Some(log) => Ok(log),
            None => Log::open(&self.log, self.options(access)),
        })?;
        if access == Access::Write {
            self.act_as(log)
        } else {
            Ok(log)
        }
    }

    /// Opens the log again, for somebody who looks at it now and then: without patience, and without
    /// a word.
    pub(crate) fn open_again(&self) -> Result<Log, Failure> {
        Ok(self.tried_for(MOMENT, || {
            if let Ok(log) = connect(&socket_of(&self.log)) {
                return Ok(log);
            }
            let mut options = self.options(Access::Events);
            options.progress = Arc::new(|_| {});
            Log::open(&self.log, options)
        })?)
    }

    /// Opens the file, whoever serves it.
    pub(crate) fn open_file(&self, access: Access) -> Result<Log, Failure> {
        let log = self.patiently(|| Log::open(&self.log, self.options(access)))?;
        self.act_as(log)
    }

    /// Opens the log, does something, and closes it whatever came of that.
    pub(crate) fn with<T>(
        &self,
        access: Access,
        action: impl FnOnce(&Log) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let log = self.open(access)?;
        let outcome = self.whole(action(&log));
        let closed = log.close_blocking();
        let answer = outcome?;
        closed?;
        Ok(answer)
    }

    /// Records something and looks at what came of it. Whoever holds the log may go away in between:
    /// what is recorded stays so, and is looked at with who holds it next, or in the file.
    pub(crate) fn record<T, U>(
        &self,
        act: impl FnOnce(&Log) -> Result<T, Failure>,
        look: impl Fn(&Log, &T) -> Result<U, Failure>,
    ) -> Result<(T, U), Failure> {
        let log = self.open(Access::Write)?;
        let acted = act(&log);
        let outcome = acted.map(|acted| {
            let seen = self.whole(look(&log, &acted));
            (acted, seen)
        });
        let closed = log.close_blocking();
        let (acted, seen) = outcome?;
        closed?;
        let seen = match seen {
            Err(Failure::Report(report)) if report.code == HOLDER_LOST => {
                let seen = self.with(Access::Folds, |log| look(log, &acted));
                seen.map_err(|failure| match failure {
                    Failure::Report(report) => Report::new(
                        Exit::Storage,
                        "recorded_unread",
                        format!(
                            "it is recorded, and how it stands cannot be read: {}",
                            report.message
                        ),
                    )
                    .into(),
                    Failure::Closed => Failure::Closed,
                })?
            }
            seen => seen?,
        };
        Ok((acted, seen))
    }

    /// What was answered, if nothing of it was lost.
    fn whole<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if self.output.take_lost() && outcome.is_ok() {
            return Err(Report::new(
                Exit::Storage,
                HOLDER_LOST,
                "the process that holds the log went away; try again",
            )
            .into());
        }
        outcome
    }

    /// The handle of the principal that was asked for.
    fn act_as(&self, log: Log) -> Result<Log, Failure> {
        let Some(path) = &self.credential else {
            return match &self.principal {
                None => Ok(log),
                Some(name) => Err(Report::new(
                    Exit::Keys,
                    "no_credential",
                    format!("acting as `{name}` needs its credential"),
                )
                .into()),
            };
        };
        let credential = Credential::load(path).map_err(|error| match error {
            KeyError::Io { source, .. } if source.kind() == ErrorKind::NotFound => Report::new(
                Exit::Keys,
                "no_credential",
                format!("there is no credential at {}", path.display()),
            ),
            error => error.into(),
        })?;
        let (id, authority) = (credential.id(), credential.authority());
        if let Some(name) = &self.principal
            && name != id
            && *name != format!("{authority}:{id}")
        {
            return Err(Report::new(
                Exit::Keys,
                "credential_mismatch",
                format!(
                    "{} is the credential of `{id}`, not of `{name}`",
                    path.display()
                ),
            )
            .into());
        }
        Ok(log.with_credential(&credential)?)
    }
}

/// Key-encryption keys that stand in environment variables: the library does not read those.
pub(crate) fn secret_source() -> SecretSource {
    SecretSource::new(|name| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line reads the environment"
        )]
        let value = std::env::var(name);
        value.ok().map(SecretString::new)
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "waiting is measured where it is done"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
