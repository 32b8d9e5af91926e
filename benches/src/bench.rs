//! One run of the benchmarks: where it writes, how large it is.

use crate::contender::Contender;
use crate::event::{Request, Synthetic};
use crate::recordings::Recordings;
use anyhow::{Context as _, Result, ensure};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Free space on tmpfs below which it is not used.
const TMPFS_BYTES: u64 = 6 << 30;
const TMPFS: &str = "/dev/shm";
/// Length of synthetic payloads.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// Events of one commit while a store is filled.
pub(crate) const LOAD_BATCH: u64 = 1000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of one round of appends.
    pub(crate) round: Duration,
    /// Events of a filled log.
    pub(crate) log_events: u64,
    /// Runs read in a round.
    pub(crate) reads: u64,
    /// Of one round of latencies.
    pub(crate) latency: Duration,
    /// Streams of a log of many.
    pub(crate) streams: u64,
    /// Events of a stream that is long.
    pub(crate) stream_events: u64,
    /// Times that the recordings are imported, each under another prefix.
    pub(crate) imports: u32,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        round: Duration::from_secs(1),
        log_events: 1_000_000,
        reads: 2000,
        latency: Duration::from_secs(10),
        streams: 1_000_000,
        stream_events: 10_000_000,
        imports: 10,
    };
    pub(crate) const QUICK: Self = Self {
        round: Duration::from_millis(400),
        log_events: 100_000,
        reads: 500,
        latency: Duration::from_secs(2),
        streams: 50_000,
        stream_events: 100_000,
        imports: 1,
    };
}

/// Images of a filled store, closed in order and as a crash left it.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) clean: PathBuf,
    pub(crate) crashed: PathBuf,
}

/// What a process of its own found: numbers by name.
pub(crate) type Told = BTreeMap<String, f64>;

/// Those that were found for several workloads.
#[derive(Debug, Default)]
struct Shared {
    found: Vec<Told>,
    /// Which one a workload takes next.
    next: BTreeMap<&'static str, usize>,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) sizes: Sizes,
    pub(crate) recordings: Option<Recordings>,
    disk: TempDir,
    tmpfs: Option<TempDir>,
    images: RefCell<BTreeMap<&'static str, Images>>,
    shared: RefCell<BTreeMap<&'static str, Shared>>,
    /// Where what takes long to make is kept for other runs.
    keep: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn new(
        sizes: Sizes,
        recordings: Option<Recordings>,
        folder: Option<&Path>,
        keep: Option<PathBuf>,
    ) -> Result<Self> {
        let name = "runstone-benches-";
        let disk = match folder {
            Some(folder) => tempfile::Builder::new().prefix(name).tempdir_in(folder)?,
            None => tempfile::Builder::new().prefix(name).tempdir()?,
        };
        let room =
            rustix::fs::statvfs(TMPFS).is_ok_and(|fs| fs.f_bavail * fs.f_frsize > TMPFS_BYTES);
        let tmpfs = room
            .then(|| tempfile::Builder::new().prefix(name).tempdir_in(TMPFS))
            .transpose()?;
        Ok(Self {
            sizes,
            recordings,
            disk,
            tmpfs,
            images: RefCell::default(),
            shared: RefCell::default(),
            keep,
        })
    }

    pub(crate) fn disk_path(&self) -> &Path {
        self.disk.path()
    }

    /// Where what takes long to make is kept: for this run, or for others too.
    pub(crate) fn kept_path(&self) -> &Path {
        self.keep.as_deref().unwrap_or_else(|| self.disk_path())
    }

    pub(crate) fn has_tmpfs(&self) -> bool {
        self.tmpfs.is_some()
    }

    /// An empty folder on the disk, gone when dropped.
    pub(crate) fn on_disk(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.disk.path())?)
    }

    /// An empty folder in memory, gone when dropped.
    pub(crate) fn on_tmpfs(&self) -> Result<TempDir> {
        let tmpfs = self.tmpfs.as_ref().context("there is no tmpfs with room")?;
        Ok(tempfile::tempdir_in(tmpfs.path())?)
    }

    /// What workloads share that show several numbers of one process: the first of a contender that
    /// this workload has not taken, made if there is none.
    pub(crate) fn shared(
        &self,
        workload: &'static str,
        contender: &'static str,
        make: impl FnOnce() -> Result<Told>,
    ) -> Result<Told> {
        let mut shared = self.shared.borrow_mut();
        let Shared { found, next } = shared.entry(contender).or_default();
        let next = next.entry(workload).or_default();
        if *next == found.len() {
            found.push(make()?);
        }
        let told = found.get(*next).cloned().unwrap_or_default();
        *next += 1;
        Ok(told)
    }

    /// Images of the store filled with [`Sizes::log_events`] events, made at the first call.
    pub(crate) fn images(&self, contender: &Contender) -> Result<Images> {
        if let Some(images) = self.images.borrow().get(contender.name) {
            return Ok(images.clone());
        }
        let folder = self.disk.path().join("images").join(contender.name);
        let images = Images {
            clean: folder.join("clean"),
            crashed: folder.join("crashed"),
        };
        // Filling is many times faster in memory, and a crashed process leaves the same bytes.
        let nursery = match &self.tmpfs {
            Some(tmpfs) => tempfile::tempdir_in(tmpfs.path())?,
            None => self.on_disk()?,
        };
        let loaded = Command::new(std::env::current_exe()?)
            .args(["load", contender.name])
            .arg(nursery.path())
            .arg(self.sizes.log_events.to_string())
            .stdout(Stdio::null())
            .status()?;
        ensure!(loaded.success(), "filling {} failed", contender.name);
        copy(nursery.path(), &images.crashed)?;
        drop(nursery);
        copy(&images.crashed, &images.clean)?;
        contender.open_boxed(&images.clean)?.close()?;
        self.images
            .borrow_mut()
            .insert(contender.name, images.clone());
        Ok(images)
    }
}

/// Runs this program as a process of its own, and reads the numbers that it prints.
pub(crate) fn child(args: &[&OsStr]) -> Result<Told> {
    let output = Command::new(std::env::current_exe()?)
        .args(args)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{args:?} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Fills a store. Does not close it: the process is to end as it is.
pub(crate) fn load(contender: &Contender, folder: &Path, events: u64) -> Result<()> {
    let store = contender.open(folder)?;
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    let mut next = 0;
    while next < events {
        let end = events.min(next + LOAD_BATCH);
        let batch = (next..end).map(|number| synthetic.of_log(number));
        store.append_alone(Request::new(batch.collect()))?;
        next = end;
    }
    std::mem::forget(store);
    Ok(())
}

/// Copies the files of a folder, synced, so that writing it back does not disturb what is measured next.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

/// Every file of a folder and of those in it.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.append(&mut self::files(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Bytes that the files of a folder take on the disk.
pub(crate) fn bytes_on_disk(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for file in files(folder)? {
        let meta = fs::metadata(file)?;
        // Neither holes nor space reserved beyond the end.
        bytes += meta.len().min(meta.blocks() * 512);
    }
    Ok(bytes)
}
