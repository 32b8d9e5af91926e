//! A disk whose syncs are believed only after a failed one is made good.

use super::disk::Disk;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More ranges than this are remembered as one.
const MOST_RANGES: usize = 16_384;

/// Writes again what a failed sync may have lost.
///
/// When fsync fails, the kernel may mark the pages clean all the same: they are read back as they
/// were written, the next fsync has nothing to do for them and succeeds, and they are gone with the
/// power (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). So what
/// was written since the last sync that succeeded is read and written once more before the next.
#[derive(Debug)]
pub(crate) struct RewritingDisk {
    base: Arc<dyn Disk>,
    unsynced: Mutex<Unsynced>,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// Offsets and ends, as they came.
    ranges: Vec<(u64, u64)>,
    /// A sync of these failed.
    failed: bool,
}

impl Unsynced {
    fn note(&mut self, from: u64, to: u64) {
        let is_full = self.ranges.len() == MOST_RANGES;
        match self.ranges.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            Some((start, end)) if is_full => {
                (*start, *end) = ((*start).min(from), (*end).max(to));
            }
            _ => self.ranges.push((from, to)),
        }
    }
}

impl RewritingDisk {
    pub(crate) fn new(base: Arc<dyn Disk>) -> Self {
        // Somebody before may have written anything and died.
        let everything = Unsynced {
            ranges: vec![(0, u64::MAX)],
            failed: false,
        };
        Self {
            base,
            unsynced: Mutex::new(everything),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rewrite(&self, ranges: &[(u64, u64)]) -> io::Result<()> {
        const PART: u64 = 1 << 20;
        let len = self.base.len()?;
        self.base.set_len(len)?;
        let mut buffer = Vec::new();
        for (from, to) in ranges {
            let (mut at, end) = (*from, (*to).min(len));
            while at < end {
                let part = (end - at).min(PART);
                buffer.resize(usize::try_from(part).unwrap_or(0), 0);
                self.base.read(at, &mut buffer)?;
                self.base.write(at, &buffer)?;
                at += part;
            }
        }
        Ok(())
    }
}

impl Disk for RewritingDisk {
    fn len(&self) -> io::Result<u64> {
        self.base.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.base.read(offset, out)
    }

    /// A file that grows is synced at once: a header that speaks of the new length may reach the
    /// medium before the length does, and then the database cannot be opened.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.base.len()?;
        self.base.set_len(len)?;
        if grows { self.sync_data() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut unsynced = self.lock();
        let outcome = if unsynced.failed {
            self.rewrite(&unsynced.ranges)
        } else {
            Ok(())
        };
        let outcome = outcome.and_then(|()| self.base.sync_data());
        unsynced.failed = outcome.is_err();
        if outcome.is_ok() {
            unsynced.ranges.clear();
        }
        outcome
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock()
            .note(offset, offset.saturating_add(data.len() as u64));
        self.base.write(offset, data)
    }

    fn available(&self) -> io::Result<Option<u64>> {
        self.base.available()
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.base.try_lock(exclusive)
    }

    /// Whoever opens it next believes what is read: so what a failed sync may have lost is written
    /// once more before.
    fn unlock(&self) {
        if self.lock().failed {
            // If this fails too, nothing more can be done here.
            let _ = self.sync_data();
        }
        self.base.unlock();
    }
}
