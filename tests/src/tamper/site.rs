//! A log as files, to be changed past the log.

use super::sample::{Sample, folds};
use super::{ChunkParts, Outcome, RawRows, Table};
use runstone_store::{
    Log, OpenError, OpenOptions, VerifyLevel, VerifyReport, default_keys_path, verify_file,
};
use std::io;
use std::path::PathBuf;

/// A sample as files in a folder of its own.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
}

impl Sample {
    /// Writes the files of a log.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn install(&self) -> Outcome<Site> {
        use std::os::unix::fs::PermissionsExt as _;
        let site = Site {
            folder: tempfile::tempdir()?,
        };
        std::fs::write(site.path(), &self.log)?;
        std::fs::write(site.head_path(), &self.head)?;
        let (from, to) = (
            self.folder.path().join("keys"),
            default_keys_path(&site.path()),
        );
        std::fs::create_dir(&to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o700))?;
        for file in ["ring", "table"] {
            std::fs::copy(from.join(file), to.join(file))?;
        }
        Ok(site)
    }
}

impl Site {
    /// A log that somebody else will write.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn empty() -> io::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    /// Where the log is.
    pub fn path(&self) -> PathBuf {
        self.beside("log")
    }

    /// Where its head is.
    pub fn head_path(&self) -> PathBuf {
        self.beside("log.head")
    }

    /// A file in the folder of the log.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How it is opened if a test does not ask for more.
    pub fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.folds = folds();
        open
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// What `Log::open` finds wrong.
    pub fn open(&self) -> Result<Log, OpenError> {
        Log::open(&self.path(), self.opening())
    }

    /// Changes rows past the log.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn edit(&self, change: impl FnOnce(&RawRows) -> Outcome) -> Outcome {
        let rows = RawRows::open(&self.path())?;
        change(&rows)
    }

    /// Takes apart the chunk that holds an event, changes it and puts it back.
    ///
    /// # Errors
    ///
    /// If there is none, or what redb says.
    pub fn edit_chunk(
        &self,
        position: u64,
        change: impl FnOnce(&mut ChunkParts, usize),
    ) -> Outcome {
        self.edit(|rows| {
            let mut chunk = rows.chunk(position)?;
            let at = usize::try_from(position - chunk.first)?;
            let key = chunk.first.to_be_bytes();
            change(&mut chunk, at);
            rows.set(Table::Chunks, &key, Some(&chunk.encode()))
        })
    }

    /// Verifies the file at the highest level.
    ///
    /// # Errors
    ///
    /// What `verify_file` cannot report as a problem.
    pub fn verify(&self) -> Result<VerifyReport, OpenError> {
        let open = self.opening();
        verify_file(&self.path(), open, VerifyLevel::Commitments, &|_, _| {})
    }

    /// Verifies the file as somebody who has no keys.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify), or what the file system says.
    pub fn verify_without_keys(&self, level: VerifyLevel) -> Outcome<VerifyReport> {
        let (keys, away) = (default_keys_path(&self.path()), self.beside("away"));
        std::fs::rename(&keys, &away)?;
        let report = verify_file(&self.path(), self.opening(), level, &|_, _| {});
        std::fs::rename(&away, &keys)?;
        Ok(report?)
    }
}
