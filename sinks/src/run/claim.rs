//! The sinks of a log are run once in a process; other processes are kept off by the log.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf, absolute};
use std::sync::{Mutex, PoisonError};

static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The folder of the files of sinks, for one runner.
#[derive(Debug)]
pub(super) struct Claim {
    folder: PathBuf,
}

impl Claim {
    pub(super) fn on(folder: &Path) -> io::Result<Self> {
        let folder = absolute(folder)?;
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.insert(folder.clone()) {
            return Ok(Self { folder });
        }
        Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "this process runs them already; stop that runner first",
        ))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.folder);
    }
}
