//! Signing heads while the disk works, and copying signed checkpoints to other places.
//!
//! The signature for a size is computed while its fsync runs and kept here; it is handed out only
//! once that size is durable, and thrown away if the commit failed.

use crate::chunk::Head;
use crate::clock::Clock;
use crate::copies::CheckpointCopies;
use crate::keys::KeyStore;
use runstone_receipt::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use runstone_receipt::note::Signer;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Default)]
struct State {
    wanted: Option<Checkpoint>,
    signed: Option<(u64, SignedCheckpoint)>,
    /// Counts failed commits: a signature begun before one is not kept after it.
    failures: u64,
    /// Sizes up to this are durable and may be released.
    durable: u64,
    released: Option<(u64, SignedCheckpoint)>,
    /// Size of the newest checkpoint that every copy has.
    copied: u64,
    /// Since when a copy could not be written, on the monotonic clock.
    unreachable_since: Option<u64>,
    closed: bool,
}

#[derive(Debug)]
struct Inner {
    /// Leaf lock.
    state: Mutex<State>,
    wanted: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signer of an open log.
#[derive(Debug)]
pub(crate) struct Signing {
    inner: Arc<Inner>,
    origin: String,
    keys: Arc<KeyStore>,
    copies: CheckpointCopies,
    clock: Arc<dyn Clock>,
    /// Without one, callers sign and copy.
    thread: Option<JoinHandle<()>>,
}

impl Signing {
    pub(crate) fn start(
        origin: String,
        keys: Arc<KeyStore>,
        copies: CheckpointCopies,
        clock: Arc<dyn Clock>,
        background: bool,
    ) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            state: Mutex::new(State::default()),
            wanted: Condvar::new(),
        });
        let thread = if background {
            let (shared, keys, paths) = (Arc::clone(&inner), Arc::clone(&keys), copies.clone());
            let clock = Arc::clone(&clock);
            let thread = std::thread::Builder::new()
                .name("runstone-sign".to_owned())
                .spawn(move || work(&shared, &keys, &paths, clock.as_ref()))?;
            Some(thread)
        } else {
            None
        };
        Ok(Self {
            inner,
            origin,
            keys,
            copies,
            clock,
            thread,
        })
    }

    pub(crate) fn copies(&self) -> &CheckpointCopies {
        &self.copies
    }

    /// How long some copy has been out of reach, in microseconds.
    pub(crate) fn copies_unreachable_us(&self, clock: &dyn Clock) -> u64 {
        let since = self.inner.lock().unreachable_since;
        since.map_or(0, |since| clock.monotonic_us().saturating_sub(since))
    }

    /// Brings every copy to the newest checkpoint, at close.
    pub(crate) fn copy_now(&self) {
        if let Some((_, signed)) = self.newest()
            && !self.copies.is_empty()
        {
            // A copy that cannot be reached is only older than the log.
            let _ = self.copies.write(&signed);
        }
    }

    fn checkpoint(&self, head: &Head) -> Checkpoint {
        Checkpoint {
            origin: self.origin.clone(),
            size: head.size,
            root: head.root,
        }
    }

    /// Starts signing a head whose commit is about to run; an older one that waits is dropped.
    pub(crate) fn begin(&self, head: &Head) {
        self.inner.lock().wanted = Some(self.checkpoint(head));
        self.go_on();
    }

    /// Has done what is wanted by now: by the thread, or here.
    fn go_on(&self) {
        if self.thread.is_some() {
            self.inner.wanted.notify_one();
        } else {
            let clock = self.clock.as_ref();
            let state = self.inner.lock();
            drop(step(&self.inner, state, &self.keys, &self.copies, clock));
        }
    }

    /// The commit of `size` is durable.
    pub(crate) fn durable(&self, size: u64) {
        let mut state = self.inner.lock();
        state.durable = state.durable.max(size);
        drop(state);
        if !self.copies.is_empty() {
            self.go_on();
        }
    }

    /// The commit failed: its signature is thrown away.
    pub(crate) fn discard(&self) {
        let mut state = self.inner.lock();
        state.wanted = None;
        state.failures += 1;
        let durable = state.durable;
        if state
            .signed
            .as_ref()
            .is_some_and(|(size, _)| *size > durable)
        {
            state.signed = None;
        }
    }

    /// The signed checkpoint of a durable head, signing it now if that was not done yet.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the origin cannot stand in a checkpoint.
    pub(crate) fn release(&self, head: &Head) -> Result<SignedCheckpoint, CheckpointError> {
        {
            let state = self.inner.lock();
            for (size, signed) in state.released.iter().chain(&state.signed) {
                if *size == head.size && signed.checkpoint().root == head.root {
                    return Ok(signed.clone());
                }
            }
        }
        let signed = self.sign(head)?;
        let mut state = self.inner.lock();
        state.released = Some((head.size, signed.clone()));
        Ok(signed)
    }

    /// The signed checkpoint of a durable head that is not the newest one.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the origin cannot stand in a checkpoint.
    pub(crate) fn sign(&self, head: &Head) -> Result<SignedCheckpoint, CheckpointError> {
        sign(&self.keys, &self.checkpoint(head))
    }

    /// The newest signature that may be released, if one is there.
    pub(crate) fn newest(&self) -> Option<(u64, SignedCheckpoint)> {
        let state = self.inner.lock();
        let durable = state.durable;
        state
            .signed
            .iter()
            .chain(&state.released)
            .filter(|(size, _)| *size <= durable)
            .max_by_key(|(size, _)| *size)
            .cloned()
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        self.inner.wanted.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread only signs; if it panicked there is nothing to add here.
            let _ = thread.join();
        }
    }
}

fn work(inner: &Inner, keys: &KeyStore, copies: &CheckpointCopies, clock: &dyn Clock) {
    let mut state = inner.lock();
    while !state.closed {
        state = step(inner, state, keys, copies, clock);
        if state.wanted.is_none() && !state.closed {
            state = inner
                .wanted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Everybody who signs now does.
fn sign(keys: &KeyStore, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, CheckpointError> {
    let signers = keys.signers();
    let signers: Vec<&Signer> = signers.iter().map(Arc::as_ref).collect();
    SignedCheckpoint::sign(checkpoint, &signers)
}

/// Signs what is wanted, and brings the copies to what is durable.
fn step<'a>(
    inner: &'a Inner,
    mut state: MutexGuard<'a, State>,
    keys: &KeyStore,
    copies: &CheckpointCopies,
    clock: &dyn Clock,
) -> MutexGuard<'a, State> {
    if let Some(checkpoint) = state.wanted.take() {
        let failures = state.failures;
        drop(state);
        let size = checkpoint.size;
        // An origin that cannot be signed is refused when the log is made or opened.
        let outcome = sign(keys, &checkpoint);
        state = inner.lock();
        if let (Ok(signed), true) = (outcome, state.failures == failures) {
            state.signed = Some((size, signed));
        }
    }
    copy(inner, state, copies, clock)
}

/// Writes the newest released checkpoint to every copy, unless they have it.
fn copy<'a>(
    inner: &'a Inner,
    mut state: MutexGuard<'a, State>,
    copies: &CheckpointCopies,
    clock: &dyn Clock,
) -> MutexGuard<'a, State> {
    let durable = state.durable;
    let newest = state
        .signed
        .clone()
        .filter(|(size, _)| *size <= durable && *size > state.copied);
    let Some((size, signed)) = newest.filter(|_| !copies.is_empty()) else {
        return state;
    };
    drop(state);
    let written = copies.write(&signed);
    state = inner.lock();
    if written.is_ok() {
        state.copied = size;
        state.unreachable_since = None;
    } else {
        let now = clock.monotonic_us();
        state.unreachable_since.get_or_insert(now);
    }
    state
}
