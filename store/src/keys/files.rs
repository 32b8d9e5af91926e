//! Files of secrets: read whole within a limit, replaced whole or not at all.

use super::KeyError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Whether the old content of a replaced file is overwritten as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// Left to the file system.
    Unlinked,
    /// Overwritten with zeros once nothing names it: as good as the medium allows.
    Wiped,
}

/// Makes a folder that only its owner can use.
pub(super) fn create_folder(path: &Path) -> Result<(), KeyError> {
    DirBuilder::new()
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(|error| KeyError::io("make the folder", path, error))
}

/// Writes a file that must not exist yet and makes its bytes durable, not its name.
pub(super) fn create_file(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            KeyError::Exists {
                path: path.to_owned(),
            }
        } else {
            KeyError::io("write", path, error)
        }
    })
}

/// Replaces a file: the new one under another name, made durable, renamed over the old one, and
/// the folder made durable. What an interrupted replacement left behind is removed.
pub(super) fn replace_file(path: &Path, bytes: &[u8], old: Old) -> Result<(), KeyError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    remove_if_there(&new)?;
    create_file(&new, bytes)?;
    let previous = match old {
        Old::Wiped => OpenOptions::new().write(true).open(path).ok(),
        Old::Unlinked => None,
    };
    fs::rename(&new, path).map_err(|error| KeyError::io("replace", path, error))?;
    sync_folder_of(path)?;
    if let Some(file) = previous {
        wipe(file).map_err(|error| KeyError::io("overwrite the former content of", path, error))?;
    }
    Ok(())
}

/// Overwrites a file that no name leads to any more; one that another name still leads to is
/// somebody's copy and stays.
fn wipe(mut file: File) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.nlink() > 0 {
        return Ok(());
    }
    let zeros = vec![0; usize::try_from(meta.len()).unwrap_or(0)];
    file.rewind()?;
    file.write_all(&zeros)?;
    file.sync_all()
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), KeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KeyError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes these files, in this order, and the folder; one that holds anything else stays.
pub(super) fn remove_folder(dir: &Path, files: &[&str]) -> Result<(), KeyError> {
    for name in files {
        remove_if_there(&dir.join(name))?;
    }
    fs::remove_dir(dir).map_err(|error| KeyError::io("remove", dir, error))?;
    sync_folder_of(dir)
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), KeyError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or_else(|| Path::new(".")))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), KeyError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| KeyError::io("make durable", folder, error))
}

/// Reads a whole file of at most `limit` bytes into memory that is overwritten on drop; `None` if
/// there is no such file.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let failed = |error| KeyError::io("read", path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let length = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(KeyError::malformed(
            path,
            0,
            "it is longer than such a file can be",
        ));
    }
    // One byte more than the file has, so that reading it does not grow the buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(length as u64)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(bytes))
}

/// Refuses a file of secrets that anybody but its owner can read or write.
pub(super) fn check_private_file(path: &Path) -> Result<(), KeyError> {
    check_mode(path, 0o077, FILE_MODE)
}

/// Refuses a folder in which anybody but its owner can replace files.
pub(super) fn check_private_folder(path: &Path) -> Result<(), KeyError> {
    check_mode(path, 0o022, FOLDER_MODE)
}

fn check_mode(path: &Path, forbidden: u32, wanted: u32) -> Result<(), KeyError> {
    let meta = fs::metadata(path).map_err(|error| KeyError::io("look at", path, error))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & forbidden == 0 {
        Ok(())
    } else {
        Err(KeyError::Permissions {
            path: path.to_owned(),
            mode,
            wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_privately() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring");
        create_file(&path, b"one").unwrap();
        assert!(matches!(
            create_file(&path, b"two"),
            Err(KeyError::Exists { .. })
        ));
        // What a killed replacement left behind does not stop the next one.
        fs::write(
            folder.path().join("ring.new"),
            b"half a file that is longer",
        )
        .unwrap();
        replace_file(&path, b"three", Old::Wiped).unwrap();
        assert_eq!(read_file(&path, 5).unwrap().unwrap().as_slice(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!folder.path().join("ring.new").exists());
        assert!(matches!(
            read_file(&path, 4),
            Err(KeyError::Malformed { .. })
        ));
        assert!(read_file(&folder.path().join("none"), 4).unwrap().is_none());
    }

    #[test]
    fn the_replaced_content_is_overwritten_but_not_somebody_s_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring");
        create_file(&path, b"secret").unwrap();
        let mut former = File::open(&path).unwrap();
        replace_file(&path, b"next", Old::Wiped).unwrap();
        let mut bytes = Vec::new();
        former.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 6]);
        let copy = folder.path().join("copy");
        fs::hard_link(&path, &copy).unwrap();
        replace_file(&path, b"last", Old::Wiped).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"next");
    }

    #[test]
    fn open_modes_are_refused_and_say_what_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring");
        create_file(&path, b"").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = check_private_file(&path).unwrap_err();
            assert_eq!(error.code(), "keyring_permissions");
            assert!(
                error
                    .to_string()
                    .contains(&format!("chmod 600 {}", path.display()))
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        check_private_file(&path).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(check_private_folder(folder.path()).is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        check_private_folder(folder.path()).unwrap();
    }
}
