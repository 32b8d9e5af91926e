//! Logs that paths work on, made once, outside valgrind.

use crate::bench::{PAYLOAD_BYTES, copy};
use crate::contender::{repeatable, runstone_of};
use crate::event::{Request, Synthetic, whole_runs};
use anyhow::Result;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Events of a filled log: every run is whole.
pub(super) const EVENTS: u64 = 3840;
/// Of one commit.
const BATCH: u64 = 960;

/// What lies in a folder before a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    Nothing,
    /// A log of [`EVENTS`] events that was closed.
    Closed,
    /// The same without encryption.
    Plain,
    /// The same as a crash leaves it.
    Crashed,
}

/// Those that were made.
pub(super) struct Images<'a> {
    folder: &'a Path,
}

impl<'a> Images<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// A copy that a path may change.
    pub(super) fn copy_of(&mut self, image: Image) -> Result<TempDir> {
        let made = self.folder.join(format!("{image:?}"));
        if !made.exists() {
            make(image, &made)?;
        }
        let folder = tempfile::tempdir_in(self.folder)?;
        copy(&made, folder.path())?;
        Ok(folder)
    }
}

/// Makes an image in a folder that is not there.
fn make(image: Image, folder: &PathBuf) -> Result<()> {
    std::fs::create_dir(folder)?;
    if image == Image::Nothing {
        return Ok(());
    }
    let nursery = TempDir::new()?;
    let store = runstone_of(repeatable(nursery.path(), image == Image::Plain, 0)?);
    let synthetic = Synthetic::new(PAYLOAD_BYTES);
    for first in (0..EVENTS).step_by(usize::try_from(BATCH)?) {
        let batch = (first..first + BATCH).map(|number| synthetic.of_log(number));
        store.append_alone(Request::new(batch.collect()))?;
    }
    if image == Image::Crashed {
        copy(nursery.path(), folder)?;
    }
    store.close()?;
    if image != Image::Crashed {
        copy(nursery.path(), folder)?;
    }
    Ok(())
}

/// Runs of 60 events in a filled log.
pub(super) fn runs() -> u64 {
    whole_runs(EVENTS)
}
