//! What all handles of an open log share: the queue, the one writer, what readers see.

use super::kept::Kept;
use super::{BeforeClose, Here};
use crate::engine::{Db, Disk, panic_text};
use crate::error::{AppendError, OpenError, ReadError, StorageError};
use crate::fold::{Fold, FoldHost};
use crate::identity::{Identity, Opening};
use crate::open::{Contents, Disks, Witness, drop_erased_keys, load};
use crate::options::Durability;
use crate::prepare::Actor;
use crate::read::{Board, Published, Reader, Recent, stream_scope};
use crate::signing::Signing;
use crate::write::{
    Answer, CommitFailed, Committed, Prepared, Queue, Request, ScopeCache, Ticket, Work, Writer,
};
use runstone_codec::Position;
use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

/// Durable size that subscribers see when the log is closed: their wait ends.
pub(crate) const CLOSED: u64 = u64::MAX;

/// Whether commits go on.
#[derive(Clone, Debug)]
pub(super) enum Health {
    Open,
    Reopening,
    Poisoned(String),
    Closed,
}

/// What all handles of an open log share.
///
/// Locks are taken in this order: custody, writer, folds, published, health; that of the board holds no other.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Arc<Identity>,
    pub(crate) folds: Vec<Arc<dyn Fold>>,
    /// The first is another one after the file was rewritten.
    disks: RwLock<Disks>,
    pub(super) queue: Arc<Queue>,
    /// Held during a group commit: one writer at a time.
    writer: Mutex<Option<Writer>>,
    /// Written while a group is decided and committed; read by those who look at fold rows.
    pub(crate) fold_host: RwLock<FoldHost>,
    /// Replaced after each commit; a reader takes its snapshot while it reads this.
    published: RwLock<Arc<Published>>,
    health: RwLock<Health>,
    /// How many events are durable.
    pub(crate) board: Arc<Board>,
    pub(crate) signing: Arc<Signing>,
    subscribers: AtomicUsize,
    /// What callers have looked up, to seal by; the writer decides by what it finds itself.
    scopes: RwLock<ScopeCache>,
    /// What code above keeps in memory with the log.
    pub(super) kept: Kept,
    /// The newest events, for all who follow.
    pub(crate) recent: Recent,
    pub(super) before_close: BeforeClose,
    /// Nobody outside holds the log any more.
    abandoned: AtomicBool,
    /// Held by whoever erases or rotates keys, also while a provider is asked. Taken before the
    /// writer.
    custody: Mutex<()>,
}

/// The log as long as somebody outside holds it: handles, reads, subscriptions. When the last
/// one lets go the files are let go too, though the background writer may still be on its way.
pub(crate) struct Held(Arc<Shared>);

/// Which log it is, and not all that is in memory of it.
impl std::fmt::Debug for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Held")
            .field("log_id", &self.identity.log_id)
            .field("path", &self.identity.path.get())
            .field("size", &self.visible())
            .finish_non_exhaustive()
    }
}

impl Deref for Held {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
        if !COMMITTING.get() {
            drop(self.0.writer());
        } else if let Ok(guard) = self.0.writer.try_lock() {
            drop(self.0.slot(guard));
        }
        // Else a decider held this handle, and whoever commits lets go of the files after it.
    }
}

thread_local! {
    /// Whether this thread has a writer, of whatever log.
    static COMMITTING: Cell<bool> = const { Cell::new(false) };
}

/// The writer, locked. Whoever lets go of it last lets go of the files too.
struct Slot<'a> {
    shared: &'a Shared,
    guard: Option<MutexGuard<'a, Option<Writer>>>,
}

impl Slot<'_> {
    fn get(&mut self) -> &mut Option<Writer> {
        // The guard is taken by `drop` alone.
        self.guard.get_or_insert_with(|| self.shared.lock_writer())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.guard = None;
        COMMITTING.set(false);
        if self.shared.abandoned.load(Ordering::SeqCst) {
            self.shared.abandon();
        }
    }
}

/// Parts of a log that has just been loaded.
pub(crate) struct Loaded {
    pub(crate) writer: Writer,
    pub(crate) folds: FoldHost,
    pub(crate) published: Published,
}

impl Loaded {
    /// Everything that was found is on the medium from now on, and `LOG.head` says so: whoever
    /// was there before may have died between a write and its sync. Without `writes_head` the
    /// next commit says so.
    pub(crate) fn settled(
        mut self,
        identity: &Identity,
        disks: &Disks,
        writes_head: bool,
    ) -> Result<Self, StorageError> {
        if identity.read_only.is_none() {
            let synced = disks.log.sync_data();
            synced.map_err(|error| StorageError::io("the log", &error))?;
        }
        if identity.read_only.is_none() && writes_head {
            let written = self
                .writer
                .head_file
                .write(&identity.log_id, &self.published.head);
            written.map_err(|error| StorageError::io("LOG.head", &error))?;
        }
        Ok(self)
    }
}

impl Here {
    pub(crate) fn start(
        identity: Arc<Identity>,
        folds: Vec<Arc<dyn Fold>>,
        disks: Disks,
        signing: Arc<Signing>,
        loaded: Loaded,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(Queue::new(
            identity.options.queue_events,
            identity.options.queue_bytes,
        ));
        signing.durable(loaded.published.durable);
        let mut id = [0; 16];
        let drawn = identity.options.entropy.fill(&mut id);
        drawn.map_err(|error| StorageError::Database {
            message: error.to_string(),
        })?;
        let opening = Opening {
            id,
            size: Position::new(loaded.published.head.size),
            at_us: identity.next_us(),
            monotonic_us: identity.options.clock.monotonic_us(),
        };
        identity.opening.get_or_init(|| opening);
        let shared = Arc::new(Shared {
            board: Arc::new(Board::new(loaded.published.durable)),
            identity,
            folds,
            disks: RwLock::new(disks),
            queue: Arc::clone(&queue),
            writer: Mutex::new(Some(loaded.writer)),
            fold_host: RwLock::new(loaded.folds),
            published: RwLock::new(Arc::new(loaded.published)),
            health: RwLock::new(Health::Open),
            signing,
            subscribers: AtomicUsize::new(0),
            scopes: RwLock::default(),
            kept: Kept::default(),
            recent: Recent::default(),
            before_close: BeforeClose::default(),
            abandoned: AtomicBool::new(false),
            custody: Mutex::new(()),
        });
        if shared.identity.options.background {
            let weak = Arc::downgrade(&shared);
            std::thread::Builder::new()
                .name("runstone-write".to_owned())
                .spawn(move || write_in_background(&queue, &weak))
                .map_err(|error| StorageError::io("thread", &error))?;
        }
        Ok(Self {
            shared: Arc::new(Held(shared)),
            actor: Arc::new(Actor::keyring()),
        })
    }
}

impl Shared {
    /// One erasure or rotation at a time: each goes on from what the one before it left.
    pub(crate) fn custody(&self) -> MutexGuard<'_, ()> {
        self.custody.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disks(&self) -> Disks {
        let disks = self.disks.read().unwrap_or_else(PoisonError::into_inner);
        disks.clone()
    }

    fn lock_writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot<'a>(&'a self, guard: MutexGuard<'a, Option<Writer>>) -> Slot<'a> {
        COMMITTING.set(true);
        Slot {
            shared: self,
            guard: Some(guard),
        }
    }

    fn writer(&self) -> Slot<'_> {
        self.slot(self.lock_writer())
    }

    pub(super) fn health(&self) -> Health {
        self.health
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_health(&self, health: Health) {
        *self.health.write().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub(crate) fn current(&self) -> Arc<Published> {
        Arc::clone(&self.published())
    }

    pub(super) fn published(&self) -> RwLockReadGuard<'_, Arc<Published>> {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn visible(&self) -> u64 {
        self.published().head.size
    }

    pub(super) fn check_readable(&self) -> Result<(), ReadError> {
        match self.health() {
            Health::Open | Health::Poisoned(_) => Ok(()),
            Health::Reopening => Err(ReadError::Reopening),
            Health::Closed => Err(ReadError::Closed),
        }
    }

    /// Refuses by its reason what could not be recorded anyway.
    pub(crate) fn check_appendable(&self) -> Result<(), AppendError> {
        match self.health() {
            Health::Open => Ok(()),
            Health::Poisoned(why) => Err(AppendError::Poisoned { why }),
            Health::Reopening => Err(AppendError::Reopening),
            Health::Closed => Err(AppendError::Closed),
        }
    }

    /// A reader over what is visible now. The snapshot is taken while nothing can be published,
    /// so that every row which the index view names is in it.
    pub(crate) fn reader(&self) -> Result<Reader, ReadError> {
        self.check_readable()?;
        let published = self.published();
        let reader = Reader::new(Arc::clone(&self.identity), Arc::clone(&published))?;
        drop(published);
        Ok(reader)
    }

    /// The scope of a stream, if there is one.
    pub(crate) fn stream_scope(&self, stream: &str) -> Result<Option<String>, ReadError> {
        let known = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = known.get(stream) {
            return Ok(Some(scope.to_owned()));
        }
        let generation = known.generation();
        drop(known);
        let reader = self.reader()?;
        let scope = stream_scope(&reader.published.index, &reader.snapshot, stream)?;
        if let Some(scope) = &scope {
            let mut known = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
            known.set_as_of(generation, stream, scope);
        }
        Ok(scope)
    }

    /// Notes the scopes of the streams of durable events: who appends to them next need not look them up.
    pub(super) fn remember_scopes(&self, events: &[Prepared]) {
        let mut known = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let mut last = "";
        for event in events {
            let header = &event.header;
            if header.stream != last {
                known.set(&header.stream, &header.scope);
            }
            last = &header.stream;
        }
    }

    pub(super) fn subscribed(&self) -> Result<(), ReadError> {
        self.check_readable()?;
        let limit = self.identity.options.subscribers;
        let before = self.subscribers.fetch_add(1, Ordering::AcqRel);
        if before >= limit {
            self.unsubscribed();
            return Err(ReadError::Limit {
                what: "subscribers",
                limit: limit as u64,
                option: "subscribers",
            });
        }
        Ok(())
    }

    pub(crate) fn unsubscribed(&self) {
        self.subscribers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gets the answer to a request of this thread: commits on this thread if nobody else does.
    pub(super) fn drive(&self, ticket: &Ticket<Answer>) -> Answer {
        loop {
            if let Some(answer) = ticket.take() {
                return answer;
            }
            let mut slot = if self.identity.options.background {
                let Ok(guard) = self.writer.try_lock() else {
                    // Whoever has the writer wakes the thread after letting go of it.
                    return ticket.wait();
                };
                self.slot(guard)
            } else {
                self.writer()
            };
            self.run_group(slot.get());
            drop(slot);
            self.queue.wake_writer();
        }
    }

    /// One group commit of what waits.
    fn run_group(&self, slot: &mut Option<Writer>) {
        let options = &self.identity.options;
        let requests = self.queue.drain(options.group_events, options.group_bytes);
        if !requests.is_empty() {
            self.commit_group(slot, requests);
        }
    }

    fn commit_group(&self, slot: &mut Option<Writer>, requests: Vec<Request>) {
        let Some(writer) = slot else {
            let refusal = match self.health() {
                Health::Poisoned(why) => AppendError::Poisoned { why },
                Health::Reopening => AppendError::Reopening,
                Health::Open | Health::Closed => AppendError::Closed,
            };
            for request in requests {
                request.ticket.give(Err(refusal.clone()));
            }
            return;
        };
        // Whoever waits must be told, however this ends.
        let tickets: Vec<_> = requests
            .iter()
            .map(|request| Arc::clone(&request.ticket))
            .collect();
        let mut folds = self
            .fold_host
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            writer.run(requests, &mut folds, |head| self.signing.begin(head))
        }));
        let outcome = outcome.unwrap_or_else(|panic| {
            let message = panic_text(panic.as_ref());
            Err(CommitFailed {
                error: StorageError::Panicked { message },
                tickets,
            })
        });
        match outcome {
            Ok(committed) => {
                if let Some(head) = &committed.head {
                    self.publish(writer, head.clone());
                }
                drop(folds);
                self.announce(committed);
            }
            Err(failed) => self.recover(slot, folds, failed),
        }
    }

    fn publish(&self, writer: &Writer, head: crate::chunk::Head) {
        let published = Published {
            db: Arc::clone(&writer.db),
            index: writer.index.view(head.size),
            tail: writer.tree.tail(),
            head,
            durable: writer.durable,
        };
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(published);
    }

    /// Wakes who wants everything, then answers callers, then wakes who wants some of it.
    fn announce(&self, committed: Committed) {
        if let (Some(head), true) = (&committed.head, committed.synced) {
            self.signing.durable(head.size);
            self.recent.hand(committed.seen, head.size);
            self.board.advance(head.size);
        }
        for (ticket, answer) in committed.answers {
            ticket.give(answer);
        }
        if committed.synced {
            self.board.look(|| self.current());
        }
    }

    /// A commit failed: drop the database, open it as at start and rebuild from what is on disk.
    /// What was folded and not recorded is never seen.
    fn recover(
        &self,
        slot: &mut Option<Writer>,
        folds: RwLockWriteGuard<'_, FoldHost>,
        failed: CommitFailed,
    ) {
        let why = failed.error.to_string();
        // What becomes of the log is in its health.
        let _ = self.start_over(slot, folds, &why, || Ok(()));
        for ticket in failed.tickets {
            ticket.give(Err(AppendError::OutcomeUnknown { why: why.clone() }));
        }
    }

    /// Drops everything that is in memory and opens the log as at start; `between` runs while its
    /// file is nobody's.
    fn start_over(
        &self,
        slot: &mut Option<Writer>,
        mut folds: RwLockWriteGuard<'_, FoldHost>,
        why: &str,
        between: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), AppendError> {
        self.set_health(Health::Reopening);
        self.signing.discard();
        // Streams that were only buffered may be gone.
        self.scopes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .forget();
        let durable_before = slot.as_ref().map(|writer| writer.durable);
        *slot = None;
        self.current().db.close();
        let reloaded = between()
            .map_err(OpenError::from)
            .and_then(|()| self.reload(durable_before));
        // Events that were only buffered may be gone, and keys of what was erased are, whether or not
        // the log is open again. Until then nothing of it is read.
        self.kept.forget();
        self.recent.forget();
        match reloaded {
            Ok(loaded) => {
                let head = loaded.published.head.clone();
                *folds = loaded.folds;
                *self
                    .published
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded.published);
                *slot = Some(loaded.writer);
                self.signing.durable(head.size);
                self.set_health(Health::Open);
                self.board.reset(head.size);
                Ok(())
            }
            Err(error) => {
                folds.forget();
                let why = format!("{why}; then {error}");
                self.set_health(Health::Poisoned(why.clone()));
                Err(AppendError::Poisoned { why })
            }
        }
    }

    /// Opens the database again. The old one is closed before, since two databases must not look at
    /// one file; whoever still holds a snapshot of it is told to read again.
    fn reload(&self, durable_before: Option<u64>) -> Result<Loaded, OpenError> {
        let disks = self.disks();
        // What is read back now and what is on the medium may differ until a sync has succeeded.
        let synced = disks.log.sync_data();
        synced.map_err(|error| StorageError::io("the log", &error))?;
        let progress: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
        let options = &self.identity.options;
        let db = Db::open(Arc::clone(&disks.log), options.cache_bytes, &progress)?;
        let contents = Contents::read(&self.identity.log_id, &db, &options.index)?;
        let opened = load(
            Arc::clone(&self.identity),
            &self.folds,
            Arc::new(db),
            contents,
            Arc::clone(&disks.head),
            (&self.signing, Witness::Process),
        )?;
        if let Some(dispute) = opened.disputes.into_iter().next() {
            return Err(dispute.error);
        }
        drop_erased_keys(&self.identity)?;
        let loaded = opened.loaded.settled(&self.identity, &disks, true)?;
        if let Some(durable) = durable_before
            && loaded.published.head.size < durable
        {
            return Err(OpenError::Behind {
                witness: "this process".to_owned(),
                size: loaded.published.head.size,
                known_size: durable,
            });
        }
        Ok(loaded)
    }

    pub(crate) fn close(&self) -> Result<(), AppendError> {
        self.before_close.stop();
        self.queue.close();
        let mut slot = self.writer();
        let visible = self.current().head.size;
        while !self.queue.is_empty() {
            self.run_group(slot.get());
        }
        if matches!(self.health(), Health::Closed) {
            return Ok(());
        }
        // A checkpoint is released for what is durable, so what was buffered comes first.
        let synced = self.sync_buffered(&mut slot).and_then(|()| {
            if self.current().head.size >= visible {
                return Ok(());
            }
            // A commit of what still waited failed, and took what was only buffered with it.
            Err(AppendError::OutcomeUnknown {
                why: "events that were only buffered are lost".to_owned(),
            })
        });
        let outcome = match (slot.get().take(), self.health()) {
            (_, Health::Poisoned(why)) => Err(AppendError::Poisoned { why }),
            (Some(mut writer), _) if self.identity.read_only.is_none() => {
                synced.and_then(|()| self.finish(&mut writer))
            }
            _ => Ok(()),
        };
        self.let_go();
        outcome
    }

    pub(crate) fn index_stopped(&self) -> Option<String> {
        let mut slot = self.writer();
        let stopped = slot.get().as_ref();
        stopped.and_then(|writer| writer.maintenance.index_stopped.clone())
    }

    fn sync_buffered(&self, slot: &mut Slot<'_>) -> Result<(), AppendError> {
        let current = self.current();
        if current.durable == current.head.size || self.identity.read_only.is_some() {
            return Ok(());
        }
        let sync = Request::new(Work::Sync, Vec::new(), Durability::Synced);
        let ticket = Arc::clone(&sync.ticket);
        self.commit_group(slot.get(), vec![sync]);
        ticket.wait().map(|_| ())
    }

    fn finish(&self, writer: &mut Writer) -> Result<(), AppendError> {
        let head = writer.head(self.current().head.recorded_at_us);
        // Signed before the flush, so that the flush stores it. A signature that cannot be made now
        // is made by whoever opens the log next.
        let _ = self.signing.release(&head);
        let mut folds = self
            .fold_host
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        writer.finish(&mut folds, &head)?;
        self.signing.copy_now();
        let keys = self.identity.keys.flush();
        keys.map_err(AppendError::from)
    }

    /// Lets go of the files without flushing: the next open replays the tail.
    fn abandon(&self) {
        self.queue.close();
        let mut writer = self.lock_writer();
        drop(writer.take());
        if !matches!(self.health(), Health::Closed) {
            self.let_go();
        }
        drop(writer);
    }

    fn let_go(&self) {
        self.set_health(Health::Closed);
        self.kept.forget();
        self.recent.forget();
        self.current().db.close();
        self.disks().log.unlock();
        self.board.reset(CLOSED);
    }

    /// A reader of a moment at which everything visible is durable. A log that can no longer write
    /// is read all the same if nothing waits to be made durable.
    pub(crate) fn durable_reader(&self) -> Result<Reader, ReadError> {
        let mut slot = self.writer();
        let synced = self.sync_buffered(&mut slot);
        let reader = self.reader();
        drop(slot);
        self.queue.wake_writer();
        synced.map_err(|error| StorageError::Database {
            message: error.to_string(),
        })?;
        reader
    }

    /// The writer while nothing is being committed, for work that needs the log to stand still. An
    /// error is that of a commit: the log is opened again.
    pub(crate) fn with_writer<T>(
        &self,
        action: impl FnOnce(&mut Writer) -> Result<T, StorageError>,
    ) -> Result<T, AppendError> {
        let mut slot = self.writer();
        let outcome = match slot.get() {
            Some(writer) => action(writer).map_err(|error| {
                let why = error.to_string();
                let tickets = Vec::new();
                let folds = self
                    .fold_host
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                self.recover(slot.get(), folds, CommitFailed { error, tickets });
                AppendError::OutcomeUnknown { why }
            }),
            None => Err(AppendError::Closed),
        };
        drop(slot);
        // Whoever found the writer taken waits for somebody to look at the queue again.
        self.queue.wake_writer();
        outcome
    }
}

/// The log while it stands still: nobody else appends.
pub(crate) struct Exclusive<'a> {
    shared: &'a Shared,
    slot: Slot<'a>,
}

impl Shared {
    /// Waits for the writer and keeps it.
    pub(crate) fn exclusive(&self) -> Result<Exclusive<'_>, AppendError> {
        let mut slot = self.writer();
        if let Some(why) = &self.identity.read_only {
            return Err(AppendError::ReadOnly { why: why.clone() });
        }
        self.check_appendable()?;
        self.sync_buffered(&mut slot)?;
        Ok(Exclusive { shared: self, slot })
    }
}

impl Exclusive<'_> {
    pub(crate) fn disks(&self) -> Disks {
        self.shared.disks()
    }

    pub(crate) fn writer(&mut self) -> Result<&mut Writer, AppendError> {
        self.slot.get().as_mut().ok_or(AppendError::Reopening)
    }

    /// One request, decided and made durable before anything that waits.
    pub(crate) fn record(&mut self, request: Request) -> Answer {
        let ticket = Arc::clone(&request.ticket);
        self.shared.commit_group(self.slot.get(), vec![request]);
        ticket.wait()
    }

    /// Opens the log as at start, so that nothing in memory or derived outlives what it came from.
    /// With `disk`, that one is put in the place of the file.
    pub(crate) fn reopen(&mut self, disk: Option<Arc<dyn Disk>>) -> Result<(), AppendError> {
        let shared = self.shared;
        let folds = shared
            .fold_host
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shared.start_over(self.slot.get(), folds, "the log was opened again", || {
            let Some(disk) = disk else { return Ok(()) };
            let mut disks = shared.disks.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = &disks.place {
                place
                    .replace()
                    .map_err(|error| StorageError::io("the rewritten log", &error))?;
            }
            disks.log = disk;
            Ok(())
        })
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // Whoever found the writer taken waits for somebody to look at the queue again.
        self.shared.queue.wake_writer();
    }
}

/// The writer for callers that must not block: it commits whatever waits.
fn write_in_background(queue: &Queue, shared: &Weak<Shared>) {
    while queue.wait() {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.run_group(shared.writer().get());
    }
}
