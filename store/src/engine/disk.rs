//! The disk under a log: a seam for faults, memory and read-only files.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A growable array of bytes that can be made durable.
///
/// The log keeps its database and its head on one each. Tests put faulty ones behind it.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing on it.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` past the end; else whatever the medium says.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Cuts or extends with zeros.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes every earlier write durable.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn sync_data(&self) -> io::Result<()>;

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Bytes that can still be written before the medium is full; `None` if it does not say.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn available(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Takes the medium for this process alone (`exclusive`) or with other readers; false if
    /// another process holds it.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        let _ = exclusive;
        Ok(true)
    }

    /// Lets other processes have the medium again.
    fn unlock(&self) {}
}

/// Where the database of a log lies, and can be replaced.
pub trait Place: Debug + Send + Sync + 'static {
    /// An empty disk beside the database, held by this process; what an earlier attempt left is
    /// removed.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn begin(&self) -> io::Result<Arc<dyn Disk>>;

    /// Puts the disk that was begun in the place of the database: at every moment one of the two
    /// is there whole, and when this answers it is the new one, for good.
    ///
    /// # Errors
    ///
    /// Whatever the medium says; which of the two is there is then not known.
    fn replace(&self) -> io::Result<()>;

    /// Removes what was begun and came to nothing.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn discard(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file's name.
#[derive(Debug)]
pub(crate) struct FilePlace {
    path: PathBuf,
    beside: PathBuf,
}

impl FilePlace {
    pub(crate) fn new(path: &Path) -> Self {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".rewritten");
        Self {
            path: path.to_owned(),
            beside: beside.into(),
        }
    }
}

impl Place for FilePlace {
    fn discard(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn begin(&self) -> io::Result<Arc<dyn Disk>> {
        self.discard()?;
        let disk = FileDisk::create_new(&self.beside)?;
        if !disk.try_lock(true)? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(Arc::new(disk))
    }

    fn replace(&self) -> io::Result<()> {
        std::fs::rename(&self.beside, &self.path)?;
        sync_folder(&self.path)
    }
}

/// Memory needs no name.
#[derive(Debug)]
pub(crate) struct MemoryPlace;

impl Place for MemoryPlace {
    fn begin(&self) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(MemoryDisk::new()))
    }

    fn replace(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
}

impl FileDisk {
    /// Opens an existing file.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    pub fn open(path: &Path, writable: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(writable).open(path)?;
        Ok(Self { file })
    }

    /// Creates a file, mode 0600; fails if it exists.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; else whatever the operating system says.
    pub fn create_new(path: &Path) -> io::Result<Self> {
        let file = private_file().create_new(true).open(path)?;
        Ok(Self { file })
    }

    /// Opens a file, or creates it with mode 0600.
    pub(crate) fn open_or_create(path: &Path) -> io::Result<Self> {
        let file = private_file().create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// An empty file that is locked, to be given its name when it is whole, in the place of what a
    /// killed process left there; `None` if somebody still writes that.
    pub(crate) fn claim(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt as _;
        // A link, or a second name of what a killed process had finished: what it leads to is not
        // touched.
        let found = std::fs::symlink_metadata(path);
        if found.is_ok_and(|found| !found.is_file() || found.nlink() > 1) {
            std::fs::remove_file(path)?;
        }
        let disk = Self::open_or_create(path)?;
        if !disk.try_lock(true)? || !disk.is_at(path) {
            return Ok(None);
        }
        disk.make_private()?;
        disk.set_len(0)?;
        Ok(Some(disk))
    }

    /// Takes it from everybody but its owner.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        self.file
            .set_permissions(std::fs::Permissions::from_mode(0o600))
    }

    /// Whether it is this file that `path` names.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }
}

/// For files that only their owner may read.
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn available(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::fstatvfs(&self.file)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        let taken = if exclusive {
            self.file.try_lock()
        } else {
            self.file.try_lock_shared()
        };
        match taken {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) {
        // A lock that cannot be given back goes with the file handle.
        let _ = self.file.unlock();
    }
}

/// A process that is just being begun has every file of this one for a moment, and would keep the lock
/// as long.
impl Drop for FileDisk {
    fn drop(&mut self) {
        self.unlock();
    }
}

/// Bytes in memory; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    bytes: Arc<RwLock<Vec<u8>>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds `bytes`.
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(RwLock::new(bytes)),
        }
    }

    /// A copy of what it holds.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Disk for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        Ok(bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let found = range_of(offset, out.len()).and_then(|range| bytes.get(range));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        bytes.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let range = range_of(offset, data.len()).ok_or(io::ErrorKind::InvalidInput)?;
        if bytes.len() < range.end {
            bytes.resize(range.end, 0);
        }
        bytes
            .get_mut(range)
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(data);
        Ok(())
    }
}

fn range_of(offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(len)?)
}

const PAGE: usize = 4096;

/// A disk that is only read: what is written on top stays in memory.
///
/// The database repairs an unclean file when it opens it. With this the repair happens on a
/// private copy of the touched pages and the file stays as it was found.
#[derive(Debug)]
pub struct OverlayDisk {
    base: Box<dyn Disk>,
    state: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    /// Bytes of the base beyond this were cut off and read as zeros.
    base_len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl OverlayDisk {
    /// Reads through to `base` and never writes to it.
    ///
    /// # Errors
    ///
    /// Whatever `base` says about its length.
    pub fn new(base: Box<dyn Disk>) -> io::Result<Self> {
        let len = base.len()?;
        Ok(Self {
            base,
            state: Mutex::new(Overlay {
                len,
                base_len: len,
                pages: BTreeMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Overlay> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page_from_base(&self, page: u64, base_len: u64) -> io::Result<Vec<u8>> {
        let start = page.saturating_mul(PAGE as u64);
        let mut bytes = vec![0; PAGE];
        let have = usize::try_from(base_len.saturating_sub(start)).map_or(PAGE, |n| n.min(PAGE));
        if let Some(part) = bytes.get_mut(..have).filter(|part| !part.is_empty()) {
            self.base.read(start, part)?;
        }
        Ok(bytes)
    }
}

/// Splits `len` bytes at `offset` into pieces that stay inside one page.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
        let take = (PAGE - within).min(len - done);
        let piece = (at / PAGE as u64, within, done..done + take);
        done += take;
        Some(piece)
    })
}

impl Disk for OverlayDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let end = offset
            .checked_add(out.len() as u64)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let touched = offset / PAGE as u64..=end / PAGE as u64;
        if end <= state.base_len && state.pages.range(touched).next().is_none() {
            return self.base.read(offset, out);
        }
        for (page, within, range) in pieces(offset, out.len()) {
            let take = range.len();
            let target = out.get_mut(range).ok_or(io::ErrorKind::InvalidInput)?;
            let held;
            let source = if let Some(bytes) = state.pages.get(&page) {
                bytes
            } else {
                held = self.page_from_base(page, state.base_len)?;
                &held
            };
            let source = source
                .get(within..within + take)
                .ok_or(io::ErrorKind::InvalidInput)?;
            target.copy_from_slice(source);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        if len < state.len {
            state.base_len = state.base_len.min(len);
            let keep = len.div_ceil(PAGE as u64);
            state.pages.retain(|page, _| *page < keep);
            let last = len / PAGE as u64;
            let within = usize::try_from(len % PAGE as u64).unwrap_or(0);
            if let Some(tail) = state
                .pages
                .get_mut(&last)
                .and_then(|page| page.get_mut(within..))
            {
                tail.fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        for (page, within, range) in pieces(offset, data.len()) {
            let take = range.len();
            if !state.pages.contains_key(&page) {
                let bytes = self.page_from_base(page, state.base_len)?;
                state.pages.insert(page, bytes);
            }
            let target = state
                .pages
                .get_mut(&page)
                .and_then(|bytes| bytes.get_mut(within..within + take))
                .ok_or(io::ErrorKind::InvalidInput)?;
            target.copy_from_slice(data.get(range).ok_or(io::ErrorKind::InvalidInput)?);
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn try_lock(&self, _exclusive: bool) -> io::Result<bool> {
        self.base.try_lock(false)
    }

    fn unlock(&self) {
        self.base.unlock();
    }
}

/// Replaces a file whole: write beside it, fsync, rename, fsync the folder. What lies beside it was
/// left by a write that was cut short; a link that somebody put there is not followed.
///
/// # Errors
///
/// What the file system says; then the file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_file().create_new(true).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Makes a new name in the folder of `path` durable.
///
/// # Errors
///
/// What the file system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

/// The files of a log and where they lie.
#[derive(Clone, Debug)]
pub(crate) struct LogPaths {
    pub(crate) log: PathBuf,
    pub(crate) head: PathBuf,
}

impl LogPaths {
    pub(crate) fn new(log: &Path) -> Self {
        let mut head = log.as_os_str().to_owned();
        head.push(".head");
        Self {
            log: log.to_owned(),
            head: head.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_whatever_lies_beside_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [path, beside, other] =
            ["copy", "copy.new", "other"].map(|name| folder.path().join(name));
        std::fs::write(&other, "somebody's").unwrap();
        std::fs::write(&beside, "what a killed process left, and longer").unwrap();
        write_whole(&path, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        std::os::unix::fs::symlink(&other, &beside).unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's");
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600);
        assert!(!beside.exists());
    }

    #[test]
    fn an_overlay_leaves_its_base_alone() {
        let base = MemoryDisk::with_bytes((0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect());
        let before = base.to_vec();
        let overlay = OverlayDisk::new(Box::new(base.clone())).unwrap();
        overlay.write(4090, &[7; 20]).unwrap();
        overlay.write(12_000, b"end").unwrap();
        let mut out = [0; 30];
        overlay.read(4085, &mut out).unwrap();
        assert_eq!(&out[..5], &before[4085..4090]);
        assert_eq!(&out[5..25], &[7; 20]);
        assert_eq!(&out[25..], &before[4110..4115]);
        let mut gap = [1; 5];
        overlay.read(10_500, &mut gap).unwrap();
        assert_eq!(gap, [0; 5]);
        overlay.set_len(4095).unwrap();
        overlay.set_len(9_000).unwrap();
        overlay.read(4094, &mut gap).unwrap();
        assert_eq!(gap, [7, 0, 0, 0, 0]);
        assert!(overlay.read(8_999, &mut gap).is_err());
        assert_eq!(base.to_vec(), before);
    }
}
