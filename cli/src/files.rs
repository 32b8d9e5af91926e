//! Small files that commands read and write.

use crate::error::{Exit, Failure, Report};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Mode of files that anybody may see, less what the user's mask takes away.
pub(crate) const OPEN: u32 = 0o666;
/// Mode of files with content.
pub(crate) const SECRET: u32 = 0o600;

/// The bytes of a file, or of stdin if that is called -; one more than `limit` at most, so that
/// whoever checks the length finds out.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// As [`read`], for text.
pub(crate) fn read_text(path: &Path, limit: usize) -> Result<String, Failure> {
    let bytes = read(path, limit).map_err(|error| Report::file(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        Report::file(path, &error).into()
    })
}

/// Whether it is there and no file, as a pipe or a terminal.
pub(crate) fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}

/// Writes a file whole or not at all; one that is there is replaced. What is there and no file, as a
/// pipe, is written to.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    write_by(path, mode, |out| {
        let written = out.write_all(bytes);
        written.map_err(|error| Report::file(path, &error).into())
    })
}

/// As [`write`], for what is not held whole.
pub(crate) fn write_by<T>(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut dyn io::Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error: &io::Error| Failure::from(Report::file(path, error));
    if is_stream(path) {
        let opened = OpenOptions::new().write(true).open(path);
        return fill(&mut opened.map_err(|error| failed(&error))?);
    }
    remove_abandoned(path);
    let beside = unfinished(path, std::process::id());
    let mut unnamed = create_locked(&beside, mode).map_err(|error| failed(&error))?;
    let filled = fill(&mut unnamed).and_then(|filled| {
        // What has the name is whole, also after a loss of power.
        let named = unnamed
            .sync_all()
            .and_then(|()| std::fs::rename(&beside, path));
        named.map_err(|error| failed(&error))?;
        Ok(filled)
    });
    if filled.is_err() && is_at(&unnamed, &beside) {
        // Worthless; if it cannot be removed either, the first error says more.
        let _ = std::fs::remove_file(&beside);
    }
    let filled = filled?;
    sync_folder(path).map_err(|error| failed(&error))?;
    Ok(filled)
}

/// A file for oneself that has no name, where one of this name would be. What killed processes left
/// there goes.
pub(crate) fn unnamed(path: &Path) -> io::Result<File> {
    remove_abandoned(path);
    let beside = unfinished(path, std::process::id());
    let file = create_locked(&beside, SECRET)?;
    std::fs::remove_file(&beside)?;
    Ok(file)
}

/// Where a process writes what is to become a file.
fn unfinished(path: &Path, process: u32) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{process}.unfinished"));
    PathBuf::from(beside)
}

/// Creates a file that is locked as long as it is open, so that nobody takes it for abandoned. A link
/// that somebody put there is not followed.
fn create_locked(beside: &Path, mode: u32) -> io::Result<File> {
    if std::fs::symlink_metadata(beside).is_ok_and(|found| !found.is_file()) {
        std::fs::remove_file(beside)?;
    }
    loop {
        let mut options = OpenOptions::new();
        let created = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(beside);
        let file = created?;
        if lock_at(&file, beside) {
            return Ok(file);
        }
    }
}

/// Locks a new file; whether it is still there. Somebody may have locked it first to see whether it
/// is abandoned, and is waited for: he removes it.
fn lock_at(file: &File, path: &Path) -> bool {
    // Where files cannot be locked, nobody takes them for abandoned either.
    let _ = file.lock();
    is_at(file, path)
}

/// Removes what killed processes left that were writing this file: whoever lives holds a lock on his.
/// What cannot be removed stays; it is in nobody's way.
fn remove_abandoned(path: &Path) {
    let Some(name) = path.file_name() else {
        return;
    };
    let Ok(beside) = std::fs::read_dir(folder_of(path)) else {
        return;
    };
    for found in beside.flatten() {
        let found_name = found.file_name();
        let rest = found_name.as_bytes().strip_prefix(name.as_bytes());
        let process = rest
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|rest| rest.strip_suffix(b".unfinished"));
        let is_ours = process
            .is_some_and(|process| !process.is_empty() && process.iter().all(u8::is_ascii_digit));
        if !is_ours || !found.file_type().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(file) = File::open(found.path()) else {
            continue;
        };
        if file.try_lock().is_ok() && is_at(&file, &found.path()) {
            let _ = std::fs::remove_file(found.path());
        }
    }
}

/// Whether it is this file that `path` names.
fn is_at(file: &File, path: &Path) -> bool {
    let named = std::fs::symlink_metadata(path);
    let (Ok(ours), Ok(named)) = (file.metadata(), named) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Makes a name in the folder of `path` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Refuses to write where a file is, and not a stream.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if is_stream(path) || std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let message = format!("{} exists already; it was not touched", path.display());
    Err(Report::new(Exit::Usage, "file_exists", message).into())
}

/// Where to write a file of this name: into a folder, or as the file that was asked for.
pub(crate) fn place(asked: Option<&Path>, name: &str) -> PathBuf {
    match asked {
        None => PathBuf::from(name),
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_any_more_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let [dead, alive] = [1, 2].map(|process| unfinished(&path, process));
        let others = ["copy.x.unfinished", "copy.unfinished", "copy2.1.unfinished"];
        let others = others.map(|name| folder.path().join(name));
        for left in others.iter().chain([&dead]) {
            std::fs::write(left, "what a killed process left").unwrap();
        }
        let written = create_locked(&alive, SECRET).unwrap();
        write(&path, b"one", SECRET).unwrap();
        assert!(!dead.exists() && alive.exists());
        assert!(others.iter().all(|other| other.exists()));
        drop(written);
        write(&path, b"two", SECRET).unwrap();
        assert!(!alive.exists());
    }

    #[test]
    fn what_somebody_else_removes_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.1.unfinished");
        let file = File::create_new(&path).unwrap();
        let waits = format!(":{} ", file.metadata().unwrap().ino());
        let remover = File::open(&path).unwrap();
        remover.lock().unwrap();
        let is_there = std::thread::scope(|scope| {
            let locking = scope.spawn(|| lock_at(&file, &path));
            let is_waiting = || {
                let locks = std::fs::read_to_string("/proc/locks").unwrap();
                let mut locks = locks.lines();
                locks.any(|lock| lock.contains("->") && lock.contains(&waits))
            };
            while !is_waiting() {
                assert!(!locking.is_finished(), "it waits for nobody");
                std::thread::yield_now();
            }
            std::fs::remove_file(&path).unwrap();
            drop(remover);
            locking.join().unwrap()
        });
        assert!(!is_there);
    }

    #[test]
    fn what_others_write_is_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let beside = unfinished(&path, std::process::id());
        let other = create_locked(&beside, SECRET).unwrap();
        assert!(write(&path, b"one", SECRET).is_err());
        assert!(is_at(&other, &beside) && !path.exists());
        drop(other);
        // What one could not finish himself is removed.
        let cut = write_by(&path, SECRET, |_| -> Result<(), Failure> {
            Err(Report::new(Exit::Storage, "storage_io", "cut").into())
        });
        assert!(cut.is_err() && !beside.exists() && !path.exists());
    }

    #[test]
    fn what_lies_beside_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["receipt", "other"].map(|name| folder.path().join(name));
        let beside = unfinished(&path, std::process::id());
        std::fs::write(&other, "somebody's").unwrap();
        std::os::unix::fs::symlink(&other, &beside).unwrap();
        write(&path, b"one", SECRET).unwrap();
        std::fs::write(&beside, "what a killed process left, and longer").unwrap();
        write(&path, b"two", SECRET).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's");
        assert!(!beside.exists());
        // A stream is written to as it is.
        assert!(is_stream(Path::new("/dev/null")) && !is_stream(&path));
        write(Path::new("/dev/null"), b"three", OPEN).unwrap();
    }
}
