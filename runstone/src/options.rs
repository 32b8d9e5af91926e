//! Opening a log with everything attached.

use crate::serving::{Serving, attached, served};
use crate::{Runstone, standard_folds};
#[cfg(feature = "attach")]
use runstone_attach::Limits;
use runstone_projections::{SWEPT_FOLDS, Swept, sweep_open};
use runstone_sinks::RunOptions;
use runstone_store::holder::Refusal as _;
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
    /// Folds of the program's own.
    own_folds: Vec<Arc<dyn Fold>>,
    serving: Serving,
    /// How its sinks are run; `None`: they are not.
    sinks: Option<RunOptions>,
    /// Whether what expired while nobody held the log is recorded.
    sweeps: bool,
}

impl Default for Options {
    fn default() -> Self {
        let mut open = OpenOptions::default();
        open.folds = standard_folds();
        Self {
            open,
            create: CreateOptions::default(),
            own_folds: Vec::new(),
            serving: Serving::default(),
            sinks: Some(RunOptions::default()),
            sweeps: true,
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

    /// Durability of appends that do not say. Default [`Durability::Synced`], and always that where
    /// another process holds the log.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.open.options.durability = durability;
        self
    }

    /// Storage and limits, all of them; call it before [`durability`](Self::durability). Where another
    /// process holds the log, those of that process hold, and an append that does not say is synced.
    pub fn storage(mut self, options: LogOptions) -> Self {
        self.open.options = options;
        self
    }

    /// Attaches a fold besides those that are attached; of two of one name the first counts. A process
    /// that holds the log must have it, too, with this version: else it is not attached to
    /// ([`OpenError::FoldElsewhere`]).
    pub fn fold(mut self, fold: Arc<dyn Fold>) -> Self {
        self.own_folds.push(Arc::clone(&fold));
        self.open.folds.push(fold);
        self
    }

    /// Attaches no folds but those that are added after this.
    pub fn without_folds(mut self) -> Self {
        self.open.folds.clear();
        self.own_folds.clear();
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

    /// Who holds the key-encryption key of a new log. Default: a file in its keys. A log that is there
    /// has its own, which may have been [rotated](Log::rotate_kek) since.
    pub fn provider(mut self, provider: ProviderConfig) -> Self {
        self.create.provider = provider;
        self
    }

    /// What other processes may take of this one, which serves the log to them on the socket
    /// `PATH.sock` as long as it is open. Default: [`Limits::default`].
    ///
    /// Only with the feature `attach`.
    #[cfg(feature = "attach")]
    pub fn serve(mut self, limits: Limits) -> Self {
        self.serving = self.serving.within(limits);
        self
    }

    /// Serves the log to nobody: others find it busy. So it is without the feature `attach`.
    pub fn without_serving(mut self) -> Self {
        self.serving = self.serving.unserved();
        self
    }

    /// Runs the sinks that are recorded in the log so, as long as it is open; see
    /// [`RunOptions`]. Default: with the kinds that are here. Sinks are run by the process that holds
    /// the log, as it was told to: by none that is attached.
    pub fn sinks(mut self, options: RunOptions) -> Self {
        self.sinks = Some(options);
        self
    }

    /// Runs no sinks. Whoever holds the log next goes on where they are.
    pub fn without_sinks(mut self) -> Self {
        self.sinks = None;
        self
    }

    /// Records nothing by itself when a log is opened. Without this, what expired while nobody held it is
    /// recorded then, before anybody is served: tasks, calls, requests for approval and helpers of
    /// whoever is gone ([`sweep_open`](crate::projections::sweep_open)); if that fails it is told to
    /// `tracing`, and the log is used without. Nothing is where
    /// [`background`](LogOptions::background) is off.
    pub fn without_sweep(mut self) -> Self {
        self.sweeps = false;
        self
    }

    /// A log that another process holds is an error ([`OpenError::Busy`]), even if that one serves
    /// it. Without this, the handle attaches and asks that process for everything. So it is without the
    /// feature `attach`.
    pub fn without_attaching(mut self) -> Self {
        self.serving = self.serving.unattached();
        self
    }

    /// Opens a log; if another process holds it and serves it, attaches to that one. What is chosen for
    /// a new log ([`plain`](Self::plain), [`origin`](Self::origin), [`fields`](Self::fields),
    /// [`provider`](Self::provider)) does not count.
    ///
    /// # Errors
    ///
    /// As [`Runstone::open`]; [`OpenError::FoldElsewhere`] if the process that holds it has not a
    /// [`fold`](Self::fold) that is asked for.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Runstone, OpenError> {
        self.open_if(path.as_ref(), |_| Ok(()))
    }

    /// Opens a log that passes a check.
    fn open_if(
        self,
        path: &Path,
        check: impl FnOnce(&Log) -> Result<(), OpenError>,
    ) -> Result<Runstone, OpenError> {
        let Self {
            open,
            own_folds,
            serving,
            sinks,
            sweeps,
            ..
        } = self;
        let is_read_only = open.read_only;
        let sweeps = sweeps && open.options.background && has_swept(&open.folds);
        let serving = if is_read_only {
            serving.unserved()
        } else {
            serving
        };
        let sinks = sinks.filter(|_| !is_read_only && open.options.background);
        match Log::open(path, open) {
            Ok(log) => {
                check(&log)?;
                if sweeps && log.info().read_only.is_none() {
                    sweep_now(&log);
                }
                Ok(held(log, path, serving, sinks))
            }
            // An attached handle writes; who asks never to write does not get one.
            Err(OpenError::Busy { path: busy }) if !is_read_only => {
                let log = attached(&serving, path).ok_or(OpenError::Busy { path: busy })?;
                check(&log)?;
                check_folds(&log, &own_folds)?;
                Ok(log.into())
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
        Ok(held(log, path, self.serving, sinks))
    }

    /// Opens a log, or makes it if there is none. One that is there must be as one that would be made:
    /// encrypted or [`plain`](Self::plain), with this [`origin`](Self::origin) if one is given, and with
    /// [`fields`](Self::fields) if they are asked for. [`provider`](Self::provider) counts when it is
    /// made.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`create`](Self::create); [`OpenError::Differs`] if it is not as was
    /// asked for; [`OpenError::AlreadyExists`] if somebody else makes it at the same time.
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Runstone, OpenError> {
        let path = path.as_ref();
        let asked = &self.create;
        match self
            .clone()
            .open_if(path, |log| check_made(log, path, asked))
        {
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

/// Whether every fold is attached that a sweep looks at.
fn has_swept(folds: &[Arc<dyn Fold>]) -> bool {
    let is_there = |name: &&str| folds.iter().any(|fold| fold.name() == *name);
    SWEPT_FOLDS.iter().all(is_there)
}

/// Records what expired while nobody held a log, or says why not.
fn sweep_now(log: &Log) {
    match sweep_open(log) {
        Ok(swept) if swept == Swept::default() => {}
        Ok(swept) => tracing::info!(?swept, "what had expired is recorded"),
        Err(error) => tracing::warn!(%error, "what has expired is not recorded"),
    }
}

/// Whether a log is as one that would be made so.
fn check_made(log: &Log, path: &Path, asked: &CreateOptions) -> Result<(), OpenError> {
    let found = log.info();
    let differs = |asked: String, found: String| {
        let path = path.to_owned();
        Err(OpenError::Differs { path, asked, found })
    };
    let sealing = |sealing| match sealing {
        Sealing::Plain => "content that is not encrypted".to_owned(),
        _ => "encrypted content".to_owned(),
    };
    if found.sealing != asked.sealing {
        return differs(sealing(asked.sealing), sealing(found.sealing));
    }
    if let Some(origin) = asked
        .origin
        .as_ref()
        .filter(|asked| **asked != found.origin)
    {
        let named = |origin: &str| format!("the origin `{origin}`");
        return differs(named(origin), named(&found.origin));
    }
    if asked.fields && !found.fields {
        let (one, whole) = ("member by member", "as a whole alone");
        let disclosed = |how: &str| format!("content that is disclosed {how}");
        return differs(disclosed(one), disclosed(whole));
    }
    Ok(())
}

/// Whether the process that holds a log has the folds that this one asks for.
fn check_folds(log: &Log, asked: &[Arc<dyn Fold>]) -> Result<(), OpenError> {
    if asked.is_empty() {
        return Ok(());
    }
    let there = log
        .fold_status()
        .map_err(|error| OpenError::Told(Box::new(error.told())))?;
    let is_there = |fold: &Arc<dyn Fold>| {
        there.iter().any(|known| {
            known.known && known.name == fold.name() && known.version == fold.version()
        })
    };
    match asked.iter().find(|fold| !is_there(fold)) {
        None => Ok(()),
        Some(fold) => Err(OpenError::FoldElsewhere {
            fold: fold.name().to_owned(),
            version: fold.version(),
        }),
    }
}

/// One whose sinks cannot be run is used without them.
fn held(log: Log, path: &Path, serving: Serving, sinks: Option<RunOptions>) -> Runstone {
    let held = served(serving, log, path);
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
    fn a_log_that_is_there_must_be_as_one_that_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, plain) = (folder.path().join("sealed"), folder.path().join("plain"));
        let named = Runstone::options().origin("example.com/log");
        drop(named.clone().create(&sealed).unwrap());
        drop(Runstone::options().plain().fields().create(&plain).unwrap());
        let told = |options: Options, path: &Path| {
            let refused = options.open_or_create(path).unwrap_err();
            assert_eq!(
                (refused.code(), refused.is_retryable()),
                ("log_differs", false)
            );
            refused.to_string()
        };
        assert!(told(Runstone::options().plain(), &sealed).contains("has encrypted content"));
        assert!(told(Runstone::options(), &plain).contains("has content that is not encrypted"));
        let other = Runstone::options().origin("example.com/other");
        assert!(told(other, &sealed).contains("has the origin `example.com/log`"));
        assert!(told(Runstone::options().fields(), &sealed).contains("as a whole alone"));

        // What it has besides does not matter, and `open` takes it as it is.
        drop(Runstone::options().open_or_create(&sealed).unwrap());
        drop(named.open_or_create(&sealed).unwrap());
        drop(Runstone::options().plain().open_or_create(&plain).unwrap());
        drop(Runstone::options().plain().fields().open(&sealed).unwrap());
    }

    #[test]
    fn what_expired_meanwhile_is_recorded_when_it_is_opened() {
        use crate::{Hold, TaskState, Tasks, tasks::NewTask};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Runstone::create(&path).unwrap();
        let tasks = Tasks::new(&log);
        tasks.create_blocking(&NewTask::new("a")).unwrap();
        tasks.claim_blocking("a", "gone", Hold::Opening).unwrap();
        log.close_blocking().unwrap();
        let state = |options: Options| {
            let log = options.open(&path).unwrap();
            let task = Tasks::new(&log).find("a").unwrap().unwrap();
            let (state, size) = (task.state, log.size());
            log.close_blocking().unwrap();
            (state, size)
        };
        let before = state(Runstone::options().without_sweep());
        assert_eq!(before.0, TaskState::InProgress);
        assert_eq!(state(Runstone::options().read_only()), before);
        let log = Runstone::options().without_folds().open(&path).unwrap();
        assert_eq!(log.size(), before.1);
        log.close_blocking().unwrap();
        let after = state(Runstone::options());
        assert_eq!(after.0, TaskState::Todo);
        assert!(after.1 > before.1);
        assert_eq!(state(Runstone::options()), after);
    }

    #[test]
    fn a_handle_is_shown_in_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = Runstone::create(folder.path().join("orders")).unwrap();
        let shown = format!("{log:?}");
        assert!(shown.len() < 1000 && shown.contains("orders"), "{shown}");
    }

    #[cfg(feature = "attach")]
    #[test]
    fn what_is_asked_of_a_held_log_is_had_or_refused() {
        #[derive(Debug)]
        struct Own(u32);
        impl Fold for Own {
            fn name(&self) -> &'static str {
                "own"
            }
            fn version(&self) -> u32 {
                self.0
            }
            fn apply(
                &self,
                _: &mut dyn runstone_store::Rows,
                _: &runstone_store::FoldRecord<'_>,
            ) -> Result<(), runstone_store::FoldError> {
                Ok(())
            }
        }
        let with = |version| Runstone::options().fold(Arc::new(Own(version)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");

        let holder = Runstone::create(&path).unwrap();
        let refused = with(1).open(&path).unwrap_err();
        assert_eq!(
            (refused.code(), refused.is_retryable()),
            ("held_elsewhere", true)
        );
        assert!(with(1).without_folds().open(&path).unwrap().is_attached());
        let refused = Runstone::options()
            .plain()
            .open_or_create(&path)
            .unwrap_err();
        assert_eq!(refused.code(), "log_differs");
        holder.close_blocking().unwrap();

        let _holder = with(1)
            .durability(Durability::Buffered)
            .open(&path)
            .unwrap();
        let there = with(1).open(&path).unwrap();
        assert!(there.is_attached());
        assert_eq!(with(2).open(&path).unwrap_err().code(), "held_elsewhere");
        // Nobody there asked for less than fsync.
        let appended = there.append_blocking(NewEvent::new("chat.message", "run-1"));
        assert_eq!(appended.unwrap().durability, Durability::Synced);
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
