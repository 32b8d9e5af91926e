//! Checkpoint copies: the newest signed checkpoint in files on other volumes.
//!
//! Whoever holds the signing key can rewrite history, and that shows only against a checkpoint
//! that somebody else kept. A copy that is ahead of the log at open means that the log was rolled
//! back.

use crate::engine::write_whole;
use crate::error::OpenError;
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::Vkey;
use std::io;
use std::path::PathBuf;

/// Longest checkpoint that is read.
const MAX_BYTES: u64 = 128 << 10;

/// Where copies are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointCopies {
    paths: Vec<PathBuf>,
}

impl CheckpointCopies {
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        Self {
            paths: paths.to_vec(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The copies that can be reached. One that is missing or unreachable is passed over: the log
    /// opens, and appends stop after a grace.
    pub(crate) fn read(
        &self,
        origin: &str,
        vkeys: &[Vkey],
    ) -> Result<Vec<(String, Checkpoint)>, OpenError> {
        let mut found = Vec::new();
        for path in &self.paths {
            let is_small = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_BYTES);
            let Ok(text) = std::fs::read_to_string(path) else {
                continue;
            };
            let copy_error = |why: String| OpenError::Copy {
                path: path.clone(),
                why,
            };
            if !is_small {
                return Err(copy_error("it is too long for a checkpoint".to_owned()));
            }
            let signed = SignedCheckpoint::parse_verify(&text, origin, vkeys)
                .map_err(|error| copy_error(error.to_string()))?;
            found.push((path.display().to_string(), signed.checkpoint().clone()));
        }
        Ok(found)
    }

    /// Replaces every copy; answers whether all of them could be written.
    pub(crate) fn write(&self, signed: &SignedCheckpoint) -> io::Result<()> {
        let mut outcome = Ok(());
        for path in &self.paths {
            if let Err(error) = write_whole(path, signed.text().as_bytes()) {
                outcome = Err(error);
            }
        }
        outcome
    }
}
