//! Disks that record what a crash may leave, and disks that fail when told.

use runstone_store::{Disk, MemoryDisk};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Remembers what was synced, and the writes of each sync.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    disk: MemoryDisk,
    since: Arc<Mutex<Since>>,
}

#[derive(Debug, Default)]
struct Since {
    synced: Vec<u8>,
    writes: Vec<(u64, Vec<u8>)>,
    commits: Vec<Commit>,
}

/// What one sync made durable.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What was durable before it.
    pub before: Vec<u8>,
    /// Where was written and what, in order.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// Length after it.
    pub len: u64,
}

impl Recorder {
    /// A disk on which `bytes` are durable.
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        let recorder = Self {
            disk: MemoryDisk::with_bytes(bytes.clone()),
            since: Arc::default(),
        };
        recorder.lock().synced = bytes;
        recorder
    }

    /// What a crash leaves if nothing was written since the last sync.
    pub fn synced(&self) -> Vec<u8> {
        self.lock().synced.clone()
    }

    /// The commits since this was last asked.
    pub fn commits(&self) -> Vec<Commit> {
        std::mem::take(&mut self.lock().commits)
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let now = self.disk.to_vec();
        let mut since = self.lock();
        let commit = Commit {
            len: now.len() as u64,
            before: std::mem::replace(&mut since.synced, now),
            writes: std::mem::take(&mut since.writes),
        };
        since.commits.push(commit);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().writes.push((offset, data.to_vec()));
        self.disk.write(offset, data)
    }
}

/// A disk that is full or broken when told.
#[derive(Clone, Debug)]
pub struct Faulty {
    /// What is on it.
    pub disk: MemoryDisk,
    room: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Faulty {
    /// A disk with much room that works.
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        Self {
            disk: MemoryDisk::with_bytes(bytes),
            room: Arc::new(AtomicU64::new(1 << 40)),
            failures: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// Bytes that are left on the medium.
    pub fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::SeqCst);
    }

    /// The next syncs fail, so many.
    pub fn fail_syncs(&self, count: u64) {
        self.failures.store(count, Ordering::SeqCst);
    }

    /// Whether every sync fails.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

impl Disk for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let spent = self.failures.load(Ordering::SeqCst);
        self.failures
            .store(spent.saturating_sub(1), Ordering::SeqCst);
        if spent > 0 || self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn available(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.room.load(Ordering::SeqCst)))
    }
}
