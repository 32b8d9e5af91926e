//! A log with sinks, and a clock that goes only when a test says so.

use runstone::sinks::{
    Kinds, ManualTimer, RunOptions, Runner, SinkStatus, SystemTimer, Timer as _, sinks_folder,
};
use runstone::{Append, CreateOptions, Log, NewEvent, OpenOptions, Query, Read, SinkConfig, Sinks};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Stands in the content of every event, and in nothing that leaves the log.
pub const SECRET: &str = "the-planted-secret";

/// A log in a folder of its own, with its clock.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    log: Log,
    name: &'static str,
    /// What its sinks wait by.
    pub timer: ManualTimer,
}

impl Default for Site {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::create(&path, &CreateOptions::default(), options()).unwrap();
        Self {
            folder,
            log,
            name: "log",
            timer: ManualTimer::default(),
        }
    }
}

fn options() -> OpenOptions {
    let mut open = OpenOptions::default();
    open.folds = runstone::standard_folds();
    open
}

impl Site {
    /// Another log, in the folder of this one.
    #[must_use]
    pub fn of(log: Log, name: &'static str, site: Self) -> Self {
        Self { log, name, ..site }
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its sinks.
    pub fn sinks(&self) -> Sinks {
        Sinks::new(&self.log)
    }

    /// A path in the folder of the log.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the sinks have their files.
    pub fn files(&self) -> PathBuf {
        sinks_folder(&self.path(self.name))
    }

    /// Adds a sink.
    pub fn add(&self, config: &SinkConfig) {
        self.sinks().add_blocking(config).unwrap();
    }

    /// How a sink stands.
    pub fn status(&self, name: &str) -> SinkStatus {
        self.sinks().get(name).unwrap()
    }

    /// Runs the sinks by the clock of this site.
    pub fn run(&self, kinds: &Kinds) -> Runner {
        let options = RunOptions::new(kinds.clone())
            .timer(Arc::new(self.timer.clone()))
            .linger(Duration::ZERO);
        Runner::start(&self.log, &self.files(), options).unwrap()
    }

    /// Appends so many events, half of each of two types, with content.
    pub fn append(&self, count: u64) {
        let events = (0..count).map(|number| {
            let event_type = ["a.one", "b.two"][usize::from(number % 2 == 0)];
            let data = json!({"text": format!("number {number}"), "secret": SECRET});
            NewEvent::new(event_type, format!("run-{}", number % 3))
                .json(&data)
                .unwrap()
        });
        let events: Vec<_> = events.collect();
        for some in events.chunks(100) {
            self.log
                .append_blocking(Append::new(some.to_vec()))
                .unwrap();
        }
    }

    /// Positions of all that a sink must get.
    pub fn positions(&self, query: Query) -> Vec<u64> {
        let read = Read::new(query).without_payloads();
        let records = self.log.read(read).unwrap().map(Result::unwrap);
        records
            .filter(|record| !record.header.event_type.starts_with("sink."))
            .map(|record| record.position.get())
            .collect()
    }

    /// How often an event of this type is recorded of a sink.
    pub fn said(&self, event_type: &str, sink: &str) -> u64 {
        let query = Query::parse(&format!("type={event_type};tag=sink:{sink}")).unwrap();
        self.log.count(&query).unwrap()
    }

    /// Lets every wait of at most so many seconds end, one after the other, until something is so.
    pub fn pass_until(&self, within_s: u64, is_so: impl FnMut() -> bool) {
        until(is_so, || {
            self.timer.advance_to_next(within_s * 1_000_000);
        });
    }

    /// Every file in the folder of the log, and below it.
    pub fn all_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut folders, mut files) = (vec![self.folder.path().to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    let bytes = std::fs::read(&path).unwrap();
                    files.push((path, bytes));
                }
            }
        }
        files
    }

    /// Every byte of the files of the sinks, and of what stands beside the log under this name.
    pub fn bytes_beside(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for folder in [self.files(), self.folder.path().to_owned()] {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.map(Result::unwrap) {
                let file = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_file() && (folder == self.files() || file.starts_with(name)) {
                    bytes.extend(std::fs::read(entry.path()).unwrap());
                }
            }
        }
        bytes
    }
}

/// Longest time that a test waits for anything: many times what it takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(240);

/// Does something again and again until something is so.
///
/// # Panics
///
/// If it does not come to be so.
pub fn until(mut is_so: impl FnMut() -> bool, mut act: impl FnMut()) {
    let clock = SystemTimer::default();
    while !is_so() {
        let waited = Duration::from_micros(clock.now_us());
        assert!(waited < PATIENCE, "it does not come to be so");
        act();
        std::thread::yield_now();
    }
}
