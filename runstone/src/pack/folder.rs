//! A directory that is there whole or not at all.
//!
//! ```text
//! NAME.unfinished/  files written, SHA256SUMS kept  --synced, renamed-->  NAME/
//! ```
//!
//! What a killed process left behind is told from somebody's own directory by its lock file, and
//! begun again.

use super::error::PackError;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The list of all other files, in the format of `sha256sum`.
pub(super) const SUMS: &str = "SHA256SUMS";
/// Marks a directory as begun by this program; locked while it is written.
const LOCK: &str = ".unfinished";

/// A directory that is being written; it is removed again unless it is finished.
#[derive(Debug)]
pub(super) struct Folder {
    target: PathBuf,
    beside: PathBuf,
    /// The folder that was made last.
    made: PathBuf,
    /// Held until the directory has its name.
    _lock: File,
    /// `None` once the directory is whole.
    sums: Option<Writing>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Folder {
    pub(super) fn begin(target: &Path) -> Result<Self, PackError> {
        let name = target.file_name().ok_or_else(|| PackError::Name {
            path: target.to_owned(),
        })?;
        check_free(target)?;
        let mut unfinished = name.to_owned();
        unfinished.push(".unfinished");
        let beside = target.with_file_name(unfinished);
        let target = target.with_file_name(name);
        clear_stale(&target, &beside)?;
        let made = DirBuilder::new().mode(0o700).create(&beside);
        made.map_err(PackError::file(&beside))?;
        let path = beside.join(LOCK);
        let lock = File::create_new(&path).map_err(PackError::file(&path))?;
        if lock.try_lock().is_err() {
            return Err(PackError::Busy { path: target });
        }
        let sums = Writing::begin(beside.join(SUMS))?;
        Ok(Self {
            made: beside.clone(),
            target,
            beside,
            _lock: lock,
            sums: Some(sums),
            files: 0,
            bytes: 0,
        })
    }

    /// Writes one file. Its name is a relative path.
    pub(super) fn write(&mut self, name: &str, content: &[u8]) -> Result<(), PackError> {
        let mut file = self.open(name)?;
        file.write(content)?;
        self.close(name, file)
    }

    /// Begins a file that is written in parts; [`close`](Self::close) ends it.
    pub(super) fn open(&mut self, name: &str) -> Result<Writing, PackError> {
        let path = self.beside.join(name);
        if let Some(folder) = path.parent()
            && folder != self.made
        {
            std::fs::create_dir_all(folder).map_err(PackError::file(folder))?;
            folder.clone_into(&mut self.made);
        }
        Writing::begin(path)
    }

    /// Ends a file.
    pub(super) fn close(&mut self, name: &str, file: Writing) -> Result<(), PackError> {
        let (digest, bytes) = file.end()?;
        self.files += 1;
        self.bytes += bytes;
        match &mut self.sums {
            Some(sums) => sums.write(format!("{digest}  {name}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Makes everything durable and gives the directory its name.
    pub(super) fn finish(&mut self) -> Result<(), PackError> {
        if let Some(sums) = self.sums.take() {
            let finished = sums.end().and_then(|_| self.publish());
            if finished.is_err() {
                self.remove();
            }
            finished?;
        }
        Ok(())
    }

    fn publish(&self) -> Result<(), PackError> {
        let lock = self.beside.join(LOCK);
        std::fs::remove_file(&lock).map_err(PackError::file(&lock))?;
        let beside = PackError::file(&self.beside);
        let synced = File::open(&self.beside).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        synced.map_err(beside)?;
        check_free(&self.target)?;
        std::fs::rename(&self.beside, &self.target).map_err(PackError::file(&self.target))?;
        let above = match self.target.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        let synced = File::open(above).and_then(|folder| folder.sync_all());
        synced.map_err(PackError::file(above))
    }

    fn remove(&self) {
        // Worthless; if it cannot be removed, the next pack of that name removes it.
        let _ = std::fs::remove_dir_all(&self.beside);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.sums.is_some() {
            self.remove();
        }
    }
}

fn check_free(target: &Path) -> Result<(), PackError> {
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PackError::file(target)(error)),
        Ok(_) => Err(PackError::Exists {
            path: target.to_owned(),
        }),
    }
}

/// Removes what a process that was killed left behind.
fn clear_stale(target: &Path, beside: &Path) -> Result<(), PackError> {
    match std::fs::symlink_metadata(beside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PackError::file(beside)(error)),
        Ok(_) => {}
    }
    let is_empty = std::fs::read_dir(beside).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        let Ok(lock) = File::open(beside.join(LOCK)) else {
            return Err(PackError::Exists {
                path: beside.to_owned(),
            });
        };
        if lock.try_lock().is_err() {
            return Err(PackError::Busy {
                path: target.to_owned(),
            });
        }
    }
    std::fs::remove_dir_all(beside).map_err(PackError::file(beside))
}

/// A file that is being written, and its digest.
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Writing {
    fn begin(path: PathBuf) -> Result<Self, PackError> {
        let file = File::create_new(&path).map_err(PackError::file(&path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            digest: Sha256::new(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, content: &[u8]) -> Result<(), PackError> {
        self.digest.update(content);
        self.bytes += content.len() as u64;
        let written = self.file.write_all(content);
        written.map_err(PackError::file(&self.path))
    }

    /// The digest in hexadecimal, and the length.
    fn end(mut self) -> Result<(String, u64), PackError> {
        self.file.flush().map_err(PackError::file(&self.path))?;
        let mut hex = String::with_capacity(64);
        for byte in self.digest.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Ok((hex, self.bytes))
    }
}
