//! Checkpoint copies: the newest signed checkpoint in files on other volumes.
//!
//! Whoever holds the signing key can rewrite history, and that shows only against a checkpoint
//! that somebody else kept. A copy that is ahead of the log at open means that the log was rolled
//! back.

use crate::engine::write_whole;
use crate::error::OpenError;
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::Vkey;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

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
            let Ok(bytes) = read_at_most(path, MAX_BYTES + 1) else {
                continue;
            };
            let copy_error = |why: String| OpenError::Copy {
                path: path.clone(),
                why,
            };
            if bytes.len() as u64 > MAX_BYTES {
                return Err(copy_error("it is too long for a checkpoint".to_owned()));
            }
            let text = String::from_utf8(bytes).map_err(|error| copy_error(error.to_string()))?;
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

/// The first bytes of a file, however long it is.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<usize, String> {
        CheckpointCopies::new(&[path.to_owned()])
            .read("runstone.local/copies", &[])
            .map(|found| found.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        assert_eq!(
            read(&copy),
            Ok(0),
            "a copy that is not there is passed over"
        );
        let longest = usize::try_from(MAX_BYTES).unwrap();
        for (bytes, too_long) in [
            (Vec::new(), false),
            (vec![0xFF; 9], false),
            (vec![b'\n'; longest], false),
            (vec![b'\n'; longest + 1], true),
            (vec![0xFF; longest + 1], true),
        ] {
            std::fs::write(&copy, &bytes).unwrap();
            let why = read(&copy).unwrap_err();
            assert!(why.contains("copy"), "{why}");
            assert_eq!(why.contains("too long"), too_long, "{why}");
        }
    }

    /// It says that it is empty, and has no end.
    #[cfg(unix)]
    #[test]
    fn a_copy_without_end_is_not_read_to_the_end() {
        let why = read(Path::new("/dev/zero")).unwrap_err();
        assert!(why.contains("too long"), "{why}");
    }
}
