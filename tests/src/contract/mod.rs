//! The contract of a log: one function a property, for every implementation.
//!
//! ```text
//!  Make: options -> a fresh log --> property(make) --> passes, or panics with what differs
//! ```
//!
//! Properties that need files take a [`Place`]: where a log is, was, and can be opened again.

pub mod commands;
pub mod conditions;
pub mod expectations;
pub mod files;
pub mod folds;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod names;
pub mod positions;
pub mod reads;
pub mod requests;
pub mod subscriptions;

use runstone_codec::NewEvent;
use runstone_store::{
    AppendError, CreateOptions, Log, OpenOptions, Query, Read, Record, Sealing, VerifyLevel,
    default_keys_path,
};
use std::path::PathBuf;
use tempfile::TempDir;

/// Makes a fresh log that is opened with the given options.
pub type Make<'a> = &'a dyn Fn(OpenOptions) -> Log;

/// The options that nobody changed.
pub fn plainly() -> OpenOptions {
    OpenOptions::default()
}

/// A log in memory.
pub fn in_memory(sealing: Sealing, open: OpenOptions) -> Log {
    let mut create = CreateOptions::default();
    create.sealing = sealing;
    Log::memory(&create, open).unwrap()
}

/// A folder with room for one log, removed with this value.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    sealing: Sealing,
}

impl Place {
    /// A place without a log.
    pub fn new(sealing: Sealing) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            sealing,
        }
    }

    /// Where the log is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("log.redb")
    }

    /// Another path in the same folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the log.
    pub fn create(&self, open: OpenOptions) -> Log {
        let mut create = CreateOptions::default();
        create.sealing = self.sealing;
        Log::create(&self.path(), &create, open).unwrap()
    }

    /// Opens the log.
    pub fn open(&self, open: OpenOptions) -> Log {
        Log::open(&self.path(), open).unwrap()
    }

    /// Opens a copy of the log with the log's keys.
    pub fn open_copy(&self, name: &str, mut open: OpenOptions) -> Log {
        open.keys = Some(default_keys_path(&self.path()));
        Log::open(&self.beside(name), open).unwrap()
    }
}

/// An event that is told by its number: in its payload, and in the tag `n:NUMBER`.
pub fn numbered(stream: &str, number: u64) -> NewEvent {
    NewEvent::new("data.noted", stream)
        .tag(format!("n:{number}"))
        .payload(format!("{{\"n\":{number}}}"))
}

/// Everything in a log.
pub fn everything(log: &Log) -> Vec<Record> {
    read(log, Read::new(Query::everything()))
}

/// What a read gives, all of it readable.
pub fn read(log: &Log, read: Read) -> Vec<Record> {
    log.read(read)
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap()
}

/// Where the events of a read are.
pub fn positions(log: &Log, wanted: Read) -> Vec<u64> {
    let place = |record: &Record| record.position.get();
    read(log, wanted).iter().map(place).collect()
}

/// The payload of a record as text.
pub fn text(record: &Record) -> &str {
    std::str::from_utf8(record.payload.bytes().unwrap()).unwrap()
}

/// Code of the error with which something was refused.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, AppendError>) -> &'static str {
    outcome.unwrap_err().code()
}

/// Checks that every byte of the log is what it should be.
pub fn check_sound(log: &Log) {
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    assert_eq!(report.root, log.root());
    assert_eq!((report.size, report.events), (log.size(), log.size()));
    for check in log.check_folds(None, &|_, _| {}).unwrap() {
        assert!(check.is_equal(), "{check:?}");
    }
}
