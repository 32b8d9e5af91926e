//! The sinks of a log, run by whoever holds it.
//!
//! ```text
//!  sink.* in the log --> manage --orders--> session, session, ...      tasks of one runtime
//!                                              |        |
//!                                            lane     lane             threads, one a sink
//! ```

mod claim;
mod lane;
mod read;
mod replay;
mod session;

use crate::command::{Said, Sinks, rows};
use crate::error::SinkError;
use crate::events::STREAM;
use crate::files::Files;
use crate::fold::{SinkRow, SinkState};
use crate::kinds::Kinds;
use crate::status::config_of;
use crate::timer::{SystemTimer, Timer};
use claim::Claim;
use runstone_codec::{Entropy, OsEntropy};
use runstone_store::{Log, Query, Read, Subscription};
use session::{Ended, Order, Plan, Progress, Session};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

/// Threads that the sessions of all sinks share: they read the log and write cursors. What a sink
/// does runs on a thread of its own.
const WORKERS: usize = 2;
/// Time after which a sink is begun again that ended by itself, microseconds.
const AGAIN_US: u64 = 60_000_000;
/// Time after which credentials that were refused are looked at again, microseconds.
const RENEWAL_US: u64 = 60_000_000;

/// How sinks are run.
#[derive(Clone)]
pub struct RunOptions {
    kinds: Kinds,
    timer: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
    stop_time: Duration,
    at_once: bool,
    linger: Duration,
}

impl Debug for RunOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RunOptions")
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::new(Kinds::new())
    }
}

impl RunOptions {
    /// With kinds that the program brings.
    pub fn new(kinds: Kinds) -> Self {
        Self {
            kinds,
            timer: Arc::new(SystemTimer::default()),
            entropy: Arc::new(OsEntropy),
            stop_time: Duration::from_secs(5),
            at_once: false,
            linger: Duration::from_millis(200),
        }
    }

    /// Waits by another clock.
    #[must_use]
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    /// Draws rests from elsewhere.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Whether segments and checkpoints are written as soon as there is anything to write, instead of
    /// waiting for more of it: for whoever waits until sinks have caught up. Default: no.
    #[must_use]
    pub fn at_once(mut self, is_so: bool) -> Self {
        self.at_once = is_so;
        self
    }

    /// How long a sink waits after a batch that was not full before it reads on, so that one that keeps up
    /// with a busy log takes few large batches and leaves the disk to the log. What is recorded after a
    /// pause is given at once. Default 200 milliseconds.
    #[must_use]
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// How long sinks have to finish what they were given when they are stopped. Default 5 seconds.
    #[must_use]
    pub fn stop_time(mut self, time: Duration) -> Self {
        self.stop_time = time;
        self
    }
}

/// Runs the sinks of a log as long as it lives.
pub struct Runner {
    stop: Arc<Notify>,
    thread: Mutex<Option<JoinHandle<()>>>,
    progress: watch::Receiver<BTreeMap<String, u64>>,
}

impl Debug for Runner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runner")
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl Runner {
    /// Runs the sinks that are recorded in a log of this process, and those that will be, with their
    /// files in a folder.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if the log cannot be read, is held by another process, or if its sinks are run in
    /// this one already.
    pub fn start(log: &Log, folder: &Path, options: RunOptions) -> Result<Self, SinkError> {
        if log.is_attached() {
            return Err(SinkError::NoFolder);
        }
        let io = |error: std::io::Error| SinkError::files(&error);
        let claim = Claim::on(folder).map_err(io)?;
        // Whoever opened it may be an agent; what is said of sinks is said by nobody else.
        let log = log.as_keyring();
        let from = log.durable_size();
        let following = Read::new(Query::stream(STREAM)).from(from);
        let following = log.subscribe(following.without_payloads())?;
        let known = rows(&log)?;
        let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        Files::remove_others(folder, &names).map_err(io)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("runstone-sinks")
            .enable_time()
            .build()
            .map_err(io)?;
        let (progress, seen) = watch::channel(BTreeMap::new());
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let (ready, is_ready) = mpsc::channel();
        let mut manager = Manager {
            log,
            folder: folder.to_owned(),
            options,
            progress,
            running: BTreeMap::new(),
            resting: BTreeMap::new(),
            renewal: None,
            tasks: JoinSet::new(),
            _claim: claim,
        };
        let thread = std::thread::Builder::new()
            .name("runstone-sinks".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    manager.reconcile(&known);
                    manager.renew().await;
                    manager.look();
                    let _ = ready.send(());
                    manager.manage(following, &stopped).await;
                });
                runtime.shutdown_background();
            })
            .map_err(io)?;
        // It ends only by a panic, and then there is nothing to wait for.
        let _ = is_ready.recv();
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
            progress: seen,
        })
    }

    /// Blocks until every sink that runs has got what stands before this position, and answers how
    /// many of them there are. One that is paused or stops meanwhile is not waited for.
    pub fn caught_up_blocking(&self, size: u64) -> usize {
        runstone_store::holder::wait(self.caught_up(size))
    }

    /// [`caught_up_blocking`](Self::caught_up_blocking) as a future.
    pub async fn caught_up(&self, size: u64) -> usize {
        let mut progress = self.progress.clone();
        let all = progress.wait_for(|all| all.values().all(|next| *next >= size));
        all.await.map_or(0, |all| all.len())
    }

    /// How many sinks run.
    pub fn running(&self) -> usize {
        self.progress.borrow().len()
    }

    /// Ends every sink: each may finish what it was given, in the time that the options give. Stopping
    /// again does nothing.
    pub fn stop(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else {
            return;
        };
        self.stop.notify_one();
        if thread.join().is_err() {
            tracing::error!("the thread that runs the sinks panicked");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A session under way.
struct Running {
    added: u64,
    orders: watch::Sender<Order>,
    id: tokio::task::Id,
}

/// Begins and ends sessions as the log says.
struct Manager {
    log: Log,
    folder: PathBuf,
    options: RunOptions,
    progress: Progress,
    running: BTreeMap<String, Running>,
    /// Sinks that ended by themselves, and when they are begun again.
    resting: BTreeMap<String, u64>,
    /// When credentials that were refused are looked at again.
    renewal: Option<u64>,
    tasks: JoinSet<Ended>,
    /// Nobody else in this process runs them as long.
    _claim: Claim,
}

impl Manager {
    async fn manage(&mut self, mut following: Subscription, stop: &Notify) {
        loop {
            let again = self.resting.values().copied().chain(self.renewal).min();
            tokio::select! {
                biased;
                () = stop.notified() => break,
                ended = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    let (id, ended) = match ended {
                        Some(Ok((id, ended))) => (id, Some(ended)),
                        Some(Err(error)) => (error.id(), None),
                        None => continue,
                    };
                    self.ended(id, ended);
                    self.look();
                }
                told = following.next() => {
                    if told.is_none() {
                        break;
                    }
                    self.look();
                }
                () = self.options.timer.until(again.unwrap_or(0)), if again.is_some() => {
                    let now_us = self.options.timer.now_us();
                    self.resting.retain(|_, until| *until > now_us);
                    if self.renewal.is_some_and(|at| at <= now_us) {
                        self.renew().await;
                    }
                    self.look();
                }
            }
        }
        for running in self.running.values() {
            running.orders.send_modify(|order| order.runs = false);
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever does not come back by then is left: it holds nothing of the log.
        let _ = tokio::time::timeout(self.options.stop_time, ended).await;
        self.tasks.shutdown().await;
    }

    /// Does as the log says.
    fn look(&mut self) {
        match rows(&self.log) {
            Ok(rows) => self.reconcile(&rows),
            Err(error) => tracing::warn!(%error, "which sinks there are cannot be read"),
        }
    }

    /// Lets those go on whose credentials were refused and are others now.
    async fn renew(&mut self) {
        self.renewal = None;
        let rows = match rows(&self.log) {
            Ok(rows) => rows,
            Err(error) => return tracing::warn!(%error, "which sinks there are cannot be read"),
        };
        let sinks = Sinks::new(&self.log);
        for (name, row) in rows.iter().filter(|(_, row)| row.is_unauthorised()) {
            if !self.is_renewed(name, row) {
                continue;
            }
            match sinks.say(name, row.added, Said::Renewed).await {
                Ok(()) => tracing::info!(sink = name, "a sink goes on: its credentials changed"),
                Err(error) => tracing::warn!(sink = name, %error, "a sink does not go on"),
            }
        }
    }

    fn is_renewed(&self, name: &str, row: &SinkRow) -> bool {
        let Ok(config) = config_of(&self.log, row) else {
            return false;
        };
        let now = config.mark_of_secrets(self.log.info().log_id, row.added);
        matches!((self.mark_kept(name, row), now), (Some(had), Some(has)) if had != has)
    }

    /// The mark of the credentials with which a sink was made last.
    fn mark_kept(&self, name: &str, row: &SinkRow) -> Option<u16> {
        let files = Files::new(&self.folder, name);
        let cursor = files.cursor(self.log.info().log_id, row.added);
        cursor.ok()??.secrets
    }

    fn reconcile(&mut self, rows: &[(String, SinkRow)]) {
        let may_be_renewed = |(name, row): &(String, SinkRow)| {
            row.is_unauthorised() && self.mark_kept(name, row).is_some()
        };
        if self.renewal.is_none() && rows.iter().any(may_be_renewed) {
            self.renewal = Some(self.options.timer.now_us().saturating_add(RENEWAL_US));
        }
        let wanted: BTreeMap<_, _> = rows
            .iter()
            .filter(|(_, row)| row.state == SinkState::Running)
            .map(|(name, row)| (name.as_str(), row))
            .collect();
        for (name, running) in &self.running {
            let row = wanted.get(name.as_str());
            let row = row.filter(|row| row.added == running.added);
            let order = match row {
                Some(row) => Order {
                    // Once it is told to end it does; another one is begun then.
                    runs: running.orders.borrow().runs,
                    replay: row.replay,
                },
                None => Order {
                    runs: false,
                    replay: 0,
                },
            };
            running.orders.send_if_modified(|now| {
                let is_other = *now != order;
                *now = order;
                is_other
            });
        }
        for (name, row) in wanted {
            if !self.running.contains_key(name) && !self.resting.contains_key(name) {
                self.begin(name, row);
            }
        }
        let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
        let running: Vec<_> = self.running.keys().map(String::as_str).collect();
        if let Err(error) = Files::remove_others(&self.folder, &[names, running].concat()) {
            tracing::warn!(%error, "files of a removed sink stay");
        }
        let resting: Vec<_> = self.resting.keys().cloned().collect();
        for name in resting {
            if !rows
                .iter()
                .any(|(other, row)| *other == name && row.state == SinkState::Running)
            {
                self.resting.remove(&name);
            }
        }
    }

    fn begin(&mut self, name: &str, row: &SinkRow) {
        let config = match config_of(&self.log, row) {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!(sink = name, %error, "what a sink is cannot be read");
                return self.rests(name);
            }
        };
        if let Err(error) = Files::make_folder(&self.folder) {
            tracing::warn!(sink = name, %error, "there is no folder for the files of sinks");
            return self.rests(name);
        }
        let (orders, taken) = watch::channel(Order {
            runs: true,
            replay: row.replay,
        });
        let plan = Plan {
            log: self.log.clone(),
            factory: self
                .options
                .kinds
                .factory(&config, self.log.info().log_id, row.added),
            config,
            added: row.added,
            from: row.from,
            files: Files::new(&self.folder, name),
            timer: Arc::clone(&self.options.timer),
            entropy: Arc::clone(&self.options.entropy),
            at_once: self.options.at_once,
            linger_us: u64::try_from(self.options.linger.as_micros()).unwrap_or(u64::MAX),
            orders: taken,
            progress: self.progress.clone(),
        };
        self.progress.send_modify(|all| {
            all.insert(name.to_owned(), 0);
        });
        let id = self.tasks.spawn(Session::run(plan)).id();
        let running = Running {
            added: row.added,
            orders,
            id,
        };
        self.running.insert(name.to_owned(), running);
    }

    /// A session ended; `None`: it panicked.
    fn ended(&mut self, id: tokio::task::Id, ended: Option<Ended>) {
        let found = self.running.iter().find(|(_, running)| running.id == id);
        let Some(name) = found.map(|(name, _)| name.clone()) else {
            return;
        };
        self.running.remove(&name);
        self.progress.send_modify(|all| {
            all.remove(&name);
        });
        match ended {
            // The log says what comes next.
            Some(Ended::Told | Ended::Stopped) => {}
            Some(Ended::Unrecorded | Ended::Closed) => self.rests(&name),
            None => {
                tracing::error!(sink = name, "the session of a sink panicked");
                self.rests(&name);
            }
        }
    }

    fn rests(&mut self, name: &str) {
        let until = self.options.timer.now_us().saturating_add(AGAIN_US);
        self.resting.insert(name.to_owned(), until);
    }
}
