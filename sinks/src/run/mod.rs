//! The sinks of a log, run by whoever holds it.
//!
//! ```text
//!  sink.* in the log --> manage --orders--> session, session, ...      tasks of one runtime
//!                                              |        |
//!                                            lane     lane             threads, one a sink
//! ```
//!
//! [`drive`] runs all of it in one task instead.

mod claim;
mod contained;
mod lane;
mod read;
mod replay;
mod session;
mod tasks;

use crate::command::{Said, Sinks, rows};
use crate::error::SinkError;
use crate::events::STREAM;
use crate::files::Files;
use crate::fold::{SinkRow, SinkState};
use crate::kinds::Kinds;
use crate::status::config_of;
use crate::timer::{SystemTimer, Timer};
use claim::Claim;
use lane::Place;
use runstone_codec::{Entropy, OsEntropy};
use runstone_store::{Log, Query, Read, Subscription};
use session::{Ended, Order, Plan, Progress, Reached, Session};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tasks::Tasks;
use tokio::runtime::Builder;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
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
    /// Counts who wants the log looked at.
    asks: watch::Sender<u64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    progress: watch::Receiver<Reached>,
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
        let (progress, seen) = watch::channel(Reached::default());
        let (asks, asked) = watch::channel(0);
        let told = Told { progress, asked };
        let (mut manager, known) = Manager::new(log, folder, options, Place::Threads, told)?;
        let io = |error: std::io::Error| SinkError::files(&error);
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("runstone-sinks")
            .enable_time()
            .build()
            .map_err(io)?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("runstone-sinks".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    manager.start(&known).await;
                    let _ = ready.send(());
                    manager.manage(stopped.notified()).await;
                    // Whoever does not come back by then is left: it holds nothing of the log.
                    let _ = timeout(manager.options.stop_time, manager.tasks.ended()).await;
                    manager.tasks.shutdown().await;
                });
                runtime.shutdown_background();
            })
            .map_err(io)?;
        // It ends only by a panic, and then there is nothing to wait for.
        let _ = is_ready.recv();
        Ok(Self {
            stop,
            asks,
            thread: Mutex::new(Some(thread)),
            progress: seen,
        })
    }

    /// Blocks until every sink that is to run has got what stands before this position, and answers how
    /// many of them there are. One that is paused or stops meanwhile is not waited for.
    pub fn caught_up_blocking(&self, size: u64) -> usize {
        runstone_store::holder::wait(self.caught_up(size))
    }

    /// [`caught_up_blocking`](Self::caught_up_blocking) as a future.
    ///
    /// # Cancel safety
    ///
    /// Nothing is recorded; dropped, it only stops waiting.
    pub async fn caught_up(&self, size: u64) -> usize {
        let mut progress = self.progress.clone();
        // One that was just added may not be begun yet.
        let mut ask = 0;
        self.asks.send_modify(|asks| {
            *asks += 1;
            ask = *asks;
        });
        let all = progress
            .wait_for(|all| all.looked >= ask && all.sinks.values().all(|next| *next >= size));
        all.await.map_or(0, |all| all.sinks.len())
    }

    /// How many sinks run.
    pub fn running(&self) -> usize {
        self.progress.borrow().sinks.len()
    }

    /// Whether it was not stopped.
    pub fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.is_some()
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

/// Runs the sinks of a log as [`Runner::start`] does, but in the task that awaits it, without a thread:
/// for programs with an executor of their own, and for tests that repeat exactly. It ends when the log
/// is closed, or when each sink has finished what it was given after `stop` was done.
///
/// Sinks are not kept apart: one that blocks, blocks all of them and whatever else runs in the task.
/// Nothing here asks for a runtime of tokio, nor does a file of lines; a sink that runs a command or
/// speaks HTTP does, and [`SystemTimer`].
///
/// # Errors
///
/// As [`Runner::start`].
///
/// # Cancel safety
///
/// Dropping it drops every sink where it waits, as the end of the process would: what was given and not
/// answered comes again.
pub async fn drive(
    log: &Log,
    folder: &Path,
    options: RunOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), SinkError> {
    let (progress, _) = watch::channel(Reached::default());
    let (_asks, asked) = watch::channel(0);
    let told = Told { progress, asked };
    let (mut manager, known) = Manager::new(log, folder, options, Place::Here, told)?;
    manager.start(&known).await;
    manager.manage(stop).await;
    manager.tasks.ended().await;
    Ok(())
}

/// A session under way.
struct Running {
    added: u64,
    orders: watch::Sender<Order>,
}

/// What is between the manager and the runner that it works for.
struct Told {
    progress: Progress,
    asked: watch::Receiver<u64>,
}

/// Begins and ends sessions as the log says.
struct Manager {
    log: Log,
    /// What is recorded of sinks.
    following: Subscription,
    folder: PathBuf,
    options: RunOptions,
    place: Place,
    progress: Progress,
    /// How many want the log looked at.
    asked: watch::Receiver<u64>,
    running: BTreeMap<String, Running>,
    /// Sinks that ended by themselves, and when they are begun again.
    resting: BTreeMap<String, u64>,
    /// When credentials that were refused are looked at again.
    renewal: Option<u64>,
    tasks: Tasks,
    /// Nobody else in this process runs them as long.
    _claim: Claim,
}

impl Manager {
    /// One, and the sinks that there are.
    fn new(
        log: &Log,
        folder: &Path,
        options: RunOptions,
        place: Place,
        told: Told,
    ) -> Result<(Self, Vec<(String, SinkRow)>), SinkError> {
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
        let manager = Self {
            log,
            following,
            folder: folder.to_owned(),
            options,
            place,
            progress: told.progress,
            asked: told.asked,
            running: BTreeMap::new(),
            resting: BTreeMap::new(),
            renewal: None,
            tasks: Tasks::new(place),
            _claim: claim,
        };
        Ok((manager, known))
    }

    /// Begins the sinks that there are.
    async fn start(&mut self, known: &[(String, SinkRow)]) {
        self.reconcile(known);
        self.renew().await;
        self.look();
    }

    /// Does as the log says until it is closed or told to stop; then every session is told to end.
    async fn manage(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let again = self.resting.values().copied().chain(self.renewal).min();
            tokio::select! {
                biased;
                () = &mut stop => break,
                (name, ended) = self.tasks.next() => {
                    self.ended(&name, ended);
                    self.look();
                }
                told = self.following.next() => {
                    if told.is_none() {
                        break;
                    }
                    self.look();
                }
                Ok(()) = self.asked.changed() => self.look(),
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
    }

    /// Does as the log says.
    fn look(&mut self) {
        let asked = *self.asked.borrow_and_update();
        match rows(&self.log) {
            Ok(rows) => self.reconcile(&rows),
            Err(error) => tracing::warn!(%error, "which sinks there are cannot be read"),
        }
        self.progress.send_modify(|all| all.looked = asked);
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
            place: self.place,
            at_once: self.options.at_once,
            linger_us: runstone_store::micros(self.options.linger),
            orders: taken,
            progress: self.progress.clone(),
        };
        self.progress.send_modify(|all| {
            all.sinks.insert(name.to_owned(), 0);
        });
        self.tasks.begin(name, Session::run(plan));
        let running = Running {
            added: row.added,
            orders,
        };
        self.running.insert(name.to_owned(), running);
    }

    /// A session ended; `None`: it panicked.
    fn ended(&mut self, name: &str, ended: Option<Ended>) {
        self.running.remove(name);
        self.progress.send_modify(|all| {
            all.sinks.remove(name);
            // It may be begun again; whoever waits learns that when the log was looked at.
            all.looked = 0;
        });
        match ended {
            // The log says what comes next.
            Some(Ended::Told | Ended::Stopped) => {}
            Some(Ended::Unrecorded | Ended::Closed) => self.rests(name),
            None => {
                tracing::error!(sink = name, "the session of a sink panicked");
                self.rests(name);
            }
        }
    }

    fn rests(&mut self, name: &str) {
        let until = self.options.timer.now_us().saturating_add(AGAIN_US);
        self.resting.insert(name.to_owned(), until);
    }
}
