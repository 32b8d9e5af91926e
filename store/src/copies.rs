//! Checkpoint copies: the newest signed checkpoint in files on other volumes, or with commands that
//! keep it elsewhere: `COMMAND put` takes it on standard input, `COMMAND get` answers the last one.
//!
//! Whoever holds the signing key can rewrite history, and that shows only against a checkpoint
//! that somebody else kept. A copy that is ahead of the log at open means that the log was rolled
//! back.

use crate::engine::write_whole;
use crate::error::OpenError;
use crate::options::LogOptions;
use crate::process::{self, CommandError};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::Vkey;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest checkpoint that is read.
const MAX_BYTES: usize = 128 << 10;

/// Where copies are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointCopies {
    files: Vec<PathBuf>,
    /// Programs with their arguments: `get` or `put` is added.
    commands: Vec<Vec<String>>,
    command_limit: Duration,
}

impl CheckpointCopies {
    pub(crate) fn new(options: &LogOptions) -> Self {
        Self {
            files: options.checkpoint_copies.clone(),
            commands: options.checkpoint_commands.clone(),
            command_limit: options.checkpoint_command_limit,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.commands.is_empty()
    }

    /// The copies that can be reached, each signed by one of these keys. One that is missing or
    /// unreachable is passed over: the log opens, and appends stop after a grace.
    pub(crate) fn read(&self, vkeys: &[Vkey]) -> Result<Vec<(String, Checkpoint)>, OpenError> {
        let files = self.files.iter().filter_map(|path| {
            let bytes = read_at_most(path, MAX_BYTES as u64 + 1).ok()?;
            Some((path.display().to_string(), Ok(bytes)))
        });
        let commands = self.commands.iter().filter_map(|argv| {
            let name = argv.join(" ");
            match self.run(argv, "get", "") {
                Ok(bytes) if bytes.is_empty() => None,
                Ok(bytes) => Some((name, Ok(bytes))),
                Err(error @ CommandError::TooLong(_)) => Some((name, Err(error.to_string()))),
                Err(_) => None,
            }
        });
        let mut found = Vec::new();
        for (name, bytes) in files.chain(commands) {
            let checkpoint = bytes.and_then(|bytes| checkpoint_of(bytes, vkeys));
            match checkpoint {
                Ok(checkpoint) => found.push((name, checkpoint)),
                Err(why) => return Err(OpenError::Copy { copy: name, why }),
            }
        }
        Ok(found)
    }

    /// Replaces every copy; an error if one of them could not be written.
    pub(crate) fn write(&self, signed: &SignedCheckpoint) -> io::Result<()> {
        let mut outcome = Ok(());
        for path in &self.files {
            if let Err(error) = write_whole(path, signed.text().as_bytes()) {
                outcome = Err(error);
            }
        }
        for argv in &self.commands {
            if let Err(error) = self.run(argv, "put", signed.text()) {
                outcome = Err(io::Error::other(error));
            }
        }
        outcome
    }

    fn run(&self, argv: &[String], verb: &str, input: &str) -> Result<Vec<u8>, CommandError> {
        let mut argv = argv.to_vec();
        argv.push(verb.to_owned());
        let input = Zeroizing::new(input.to_owned());
        let answer = process::run(&argv, input, self.command_limit, MAX_BYTES)?;
        Ok(answer.to_vec())
    }
}

/// The checkpoint in a copy, whatever name the log had when it was signed.
fn checkpoint_of(bytes: Vec<u8>, vkeys: &[Vkey]) -> Result<Checkpoint, String> {
    if bytes.len() > MAX_BYTES {
        return Err("it is too long for a checkpoint".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    let origin = text.split('\n').next().unwrap_or_default();
    SignedCheckpoint::parse_verify(&text, origin, vkeys)
        .map(|signed| signed.checkpoint().clone())
        .map_err(|error| error.to_string())
}

/// The first bytes of a file, however long it is.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for somebody to write into it.
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<usize, String> {
        let options = LogOptions {
            checkpoint_copies: vec![path.to_owned()],
            ..LogOptions::default()
        };
        CheckpointCopies::new(&options)
            .read(&[])
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
        let longest = MAX_BYTES;
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
