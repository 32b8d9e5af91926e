//! Opening a log with everything attached.

use crate::{Runstone, standard_folds};
use runstone_attach::{Limits, socket_of};
use runstone_sinks::RunOptions;
use runstone_store::keys::{ProviderConfig, ProviderSources};
use runstone_store::{
    CreateOptions, Durability, Fold, Log, LogOptions, OpenError, OpenOptions, Sealing,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a log is opened or made. Nothing here decides what is recorded: that is what
/// [`Settings`](crate::Settings) are for.
///
/// ```
/// use runstone::{Durability, Runstone};
///
/// let log = Runstone::options().plain().durability(Durability::Buffered).memory()?;
/// assert_eq!(log.size(), 1);
/// # Ok::<(), runstone::OpenError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until a log is opened or made with them"]
pub struct Options {
    open: OpenOptions,
    create: CreateOptions,
    /// What others may take of it; `None`: it is not served.
    serve: Option<Limits>,
    /// How its sinks are run; `None`: they are not.
    sinks: Option<RunOptions>,
    attach: bool,
}

impl Default for Options {
    fn default() -> Self {
        let mut open = OpenOptions::default();
        open.folds = standard_folds();
        Self {
            open,
            create: CreateOptions::default(),
            serve: Some(Limits::default()),
            sinks: Some(RunOptions::default()),
            attach: true,
        }
    }
}

impl Options {
    /// Where the keys lie. Default: the log's path with `.keys` appended.
    pub fn keys(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.create.keys = Some(path.clone());
        self.open.keys = Some(path);
        self
    }

    /// Never writes to the files: repair and replay happen in memory.
    pub fn read_only(mut self) -> Self {
        self.open.read_only = true;
        self
    }

    /// Durability of appends that do not say. Default [`Durability::Synced`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.open.options.durability = durability;
        self
    }

    /// Storage and limits, all of them; call it before [`durability`](Self::durability).
    pub fn storage(mut self, options: LogOptions) -> Self {
        self.open.options = options;
        self
    }

    /// Attaches a fold besides those that are attached; of two of one name the first counts.
    pub fn fold(mut self, fold: Arc<dyn Fold>) -> Self {
        self.open.folds.push(fold);
        self
    }

    /// Attaches no folds but those that are added after this.
    pub fn without_folds(mut self) -> Self {
        self.open.folds.clear();
        self
    }

    /// What key providers need that is not read here: the environment, the time to wait.
    pub fn sources(mut self, sources: ProviderSources) -> Self {
        self.open.sources = sources;
        self
    }

    /// Is told how far a repair is, from 0 to 1.
    pub fn progress(mut self, progress: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.open.progress = Arc::new(progress);
        self
    }

    /// Makes a log that is not encrypted. Default: encrypted.
    pub fn plain(mut self) -> Self {
        self.create.sealing = Sealing::Plain;
        self
    }

    /// Name of a new log in its checkpoints. Default: `runstone.local/` and the log's id.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.create.origin = Some(origin.into());
        self
    }

    /// Makes a log whose payloads are disclosable member by member.
    pub fn fields(mut self) -> Self {
        self.create.fields = true;
        self
    }

    /// Who holds the key-encryption key of a new log. Default: a file in its keys.
    pub fn provider(mut self, provider: ProviderConfig) -> Self {
        self.create.provider = provider;
        self
    }

    /// What other processes may take of this one, which serves the log to them on the socket
    /// `PATH.sock` as long as it is open. Default: [`Limits::default`].
    pub fn serve(mut self, limits: Limits) -> Self {
        self.serve = Some(limits);
        self
    }

    /// Serves the log to nobody: others find it busy.
    pub fn without_serving(mut self) -> Self {
        self.serve = None;
        self
    }

    /// Runs the sinks that are recorded in the log so, as long as it is open; see
    /// [`RunOptions`]. Default: with the kinds that are here.
    pub fn sinks(mut self, options: RunOptions) -> Self {
        self.sinks = Some(options);
        self
    }

    /// Runs no sinks. Whoever holds the log next goes on where they are.
    pub fn without_sinks(mut self) -> Self {
        self.sinks = None;
        self
    }

    /// A log that another process holds is an error ([`OpenError::Busy`]), even if that one serves
    /// it. Without this, the handle attaches and asks that process for everything.
    pub fn without_attaching(mut self) -> Self {
        self.attach = false;
        self
    }

    /// Opens a log; if another process holds it and serves it, attaches to that one.
    ///
    /// # Errors
    ///
    /// As [`Runstone::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Runstone, OpenError> {
        let path = path.as_ref();
        let Self {
            open,
            serve,
            sinks,
            attach,
            ..
        } = self;
        let is_read_only = open.read_only;
        let serve = serve.filter(|_| !is_read_only);
        let sinks = sinks.filter(|_| !is_read_only && open.options.background);
        match Log::open(path, open) {
            Ok(log) => Ok(held(log, path, serve, sinks)),
            // An attached handle writes; who asks never to write does not get one.
            Err(OpenError::Busy { path: busy }) if attach && !is_read_only => {
                match runstone_attach::connect(&socket_of(path)) {
                    Ok(log) => Ok(log.into()),
                    Err(error) => {
                        tracing::debug!(%error, "the log is busy, and cannot be attached to");
                        Err(OpenError::Busy { path: busy })
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a log and opens it.
    ///
    /// # Errors
    ///
    /// As [`Runstone::create`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Runstone, OpenError> {
        let path = path.as_ref();
        let sinks = self.sinks.filter(|_| self.open.options.background);
        let log = Log::create(path, &self.create, self.open)?;
        Ok(held(log, path, self.serve, sinks))
    }

    /// Opens a log, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// As [`Runstone::open`] and [`Runstone::create`]; [`OpenError::AlreadyExists`] if somebody else
    /// makes it at the same time.
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Runstone, OpenError> {
        let path = path.as_ref();
        match self.clone().open(path) {
            Err(OpenError::NotFound { .. }) => self.create(path),
            opened => opened,
        }
    }

    /// Makes a log in memory.
    ///
    /// # Errors
    ///
    /// As [`Runstone::memory`].
    pub fn memory(self) -> Result<Runstone, OpenError> {
        Ok(Log::memory(&self.create, self.open)?.into())
    }

    /// These options as the store takes them, for what is done to a log that is not open.
    pub fn into_store(self) -> (CreateOptions, OpenOptions) {
        (self.create, self.open)
    }
}

/// One that cannot be served is used alone, and one whose sinks cannot be run without them.
fn held(log: Log, path: &Path, limits: Option<Limits>, sinks: Option<RunOptions>) -> Runstone {
    let held = match limits.map(|limits| Runstone::serve(log.clone(), path, limits)) {
        None => log.into(),
        Some(Ok(served)) => served,
        Some(Err(error)) => {
            tracing::warn!(%error, "the log is not served to other processes");
            log.into()
        }
    };
    let Some(sinks) = sinks.filter(|_| held.info().read_only.is_none()) else {
        return held;
    };
    held.clone().run_sinks(sinks).unwrap_or_else(|error| {
        tracing::warn!(%error, "the sinks of the log are not run");
        held
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::NewEvent;

    #[test]
    fn a_log_is_made_once_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, keys) = (folder.path().join("log"), folder.path().join("elsewhere"));
        let options = Runstone::options().keys(&keys);
        assert!(matches!(
            options.clone().open(&path),
            Err(OpenError::NotFound { .. })
        ));
        let log = options.clone().open_or_create(&path).unwrap();
        log.append_blocking(NewEvent::new("chat.message", "run-1"))
            .unwrap();
        log.close_blocking().unwrap();
        drop(log);
        assert!(matches!(
            options.clone().create(&path),
            Err(OpenError::AlreadyExists { .. })
        ));
        assert!(keys.is_dir() && !folder.path().join("log.keys").exists());

        let log = options.open_or_create(&path).unwrap();
        let run = crate::runs::get(&log, "run-1").unwrap().unwrap();
        assert_eq!((run.counts.turns, log.size()), (1, 2));
    }

    #[test]
    fn folds_are_attached_unless_they_are_not_wanted() {
        let names = |log: &Log| -> Vec<String> {
            log.fold_status()
                .unwrap()
                .into_iter()
                .map(|fold| fold.name)
                .collect()
        };
        let all = [
            "agents",
            "approvals",
            "budgets",
            "effects",
            "latency",
            "runs",
            "sinks",
            "tasks",
            "trays",
        ];
        assert_eq!(names(&Runstone::memory().unwrap()), all);
        let again = Runstone::options().fold(Arc::new(crate::runs::RunsFold::new()));
        assert_eq!(names(&again.memory().unwrap()), all);
        let without = Runstone::options().without_folds();
        assert_eq!(names(&without.clone().memory().unwrap()), [""; 0]);
        let one = without.fold(Arc::new(crate::runs::RunsFold::new()));
        assert_eq!(names(&one.memory().unwrap()), ["runs"]);
    }
}
