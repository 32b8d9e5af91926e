//! A disk that is left alone until it is known to be a log's.

use super::disk::{Disk, OverlayDisk};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Holds writes back until [`release`](Self::release). The database writes as soon as it is opened,
/// and repairs what is unclean; a file that is then refused must be left as it was found.
#[derive(Debug)]
pub(crate) struct HeldDisk {
    base: Arc<dyn Disk>,
    released: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// What the writer sees.
    view: Option<OverlayDisk>,
    /// What it did, in order, syncs too: a crash in the middle of the release leaves what a crash
    /// in the middle of the writing would have left.
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A shared disk as the base of an overlay.
#[derive(Debug)]
struct Shared(Arc<dyn Disk>);

impl Disk for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl HeldDisk {
    pub(crate) fn new(base: Arc<dyn Disk>) -> io::Result<Self> {
        let view = OverlayDisk::new(Box::new(Shared(Arc::clone(&base))))?;
        Ok(Self {
            base,
            released: AtomicBool::new(false),
            held: Mutex::new(Held {
                view: Some(view),
                steps: Vec::new(),
            }),
        })
    }

    /// Does what was held back; from now on everything goes through.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.lock();
        for step in held.steps.drain(..) {
            match step {
                Step::Write(offset, data) => self.base.write(offset, &data)?,
                Step::SetLen(len) => self.base.set_len(len)?,
                Step::Sync => self.base.sync_data()?,
            }
        }
        held.view = None;
        self.released.store(true, Ordering::Release);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Runs on the overlay while it is held, with the step noted; else on the disk itself.
    fn run<T>(
        &self,
        step: impl FnOnce() -> Option<Step>,
        action: impl Fn(&dyn Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_released() {
            return action(self.base.as_ref());
        }
        let mut held = self.lock();
        let Some(view) = &held.view else {
            return action(self.base.as_ref());
        };
        let outcome = action(view)?;
        held.steps.extend(step());
        Ok(outcome)
    }
}

impl Disk for HeldDisk {
    fn len(&self) -> io::Result<u64> {
        self.run(|| None, Disk::len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_released() {
            return self.base.read(offset, out);
        }
        match &self.lock().view {
            Some(view) => view.read(offset, out),
            None => self.base.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(|| Some(Step::SetLen(len)), |disk| disk.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(|| Some(Step::Sync), Disk::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let step = || Some(Step::Write(offset, data.to_vec()));
        self.run(step, |disk| disk.write(offset, data))
    }

    fn available(&self) -> io::Result<Option<u64>> {
        self.base.available()
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.base.try_lock(exclusive)
    }

    fn unlock(&self) {
        self.base.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::MemoryDisk;
    use super::*;

    #[test]
    fn nothing_is_written_before_the_release() {
        let base = MemoryDisk::with_bytes(vec![1; 5000]);
        let held = HeldDisk::new(Arc::new(base.clone())).unwrap();
        held.write(10, b"held").unwrap();
        held.set_len(9000).unwrap();
        held.sync_data().unwrap();
        let mut out = [0; 4];
        held.read(10, &mut out).unwrap();
        assert_eq!((&out, held.len().unwrap()), (b"held", 9000));
        assert_eq!(base.to_vec(), vec![1; 5000]);
        held.release().unwrap();
        assert_eq!(base.to_vec().len(), 9000);
        assert_eq!(&base.to_vec()[10..14], b"held");
        held.write(0, b"through").unwrap();
        assert_eq!(&base.to_vec()[..7], b"through");
    }
}
