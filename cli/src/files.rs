//! Small files that commands read and write.

use crate::error::{Exit, Failure, Report};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
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
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.unfinished", std::process::id()));
    let beside = PathBuf::from(beside);
    // A killed process may have left it, or somebody put a link there: it is not followed.
    let removed = match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let created = removed.and_then(|()| {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)
    });
    let filled = created
        .map_err(|error| failed(&error))
        .and_then(|mut file| {
            let filled = fill(&mut file)?;
            // What has the name is whole, also after a loss of power.
            let named = file
                .sync_all()
                .and_then(|()| std::fs::rename(&beside, path))
                .and_then(|()| sync_folder(path));
            named.map_err(|error| failed(&error))?;
            Ok(filled)
        });
    if filled.is_err() {
        // Worthless; if it cannot be removed either, the first error says more.
        let _ = std::fs::remove_file(&beside);
    }
    filled
}

/// Makes a name in the folder of `path` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
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
    fn what_lies_beside_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["receipt", "other"].map(|name| folder.path().join(name));
        let beside = format!("receipt.{}.unfinished", std::process::id());
        let beside = folder.path().join(beside);
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
