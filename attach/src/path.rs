//! Where the socket is.

use crate::AttachError;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// Longest path that a socket address holds (`sun_path`, unix(7)), with its final zero.
const MAX_ADDRESS: usize = 108;

/// The socket of a log: its path with `.sock` appended, wherever links lead.
pub fn socket_of(log: &Path) -> PathBuf {
    let log = std::fs::canonicalize(log).unwrap_or_else(|_| log.to_owned());
    let mut path = log.into_os_string();
    path.push(".sock");
    PathBuf::from(path)
}

/// A path as an address: one that is too long is reached through its folder.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) path: PathBuf,
    /// Held open as long as the path names it.
    _folder: Option<File>,
}

impl Address {
    pub(crate) fn of(path: &Path) -> Result<Self, AttachError> {
        if path.as_os_str().len() < MAX_ADDRESS {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or_else(|| Path::new(".")));
        let folder = folder.map_err(|error| AttachError::io(path, &error))?;
        let name = path.file_name().unwrap_or_default();
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self {
            path: short,
            _folder: Some(folder),
        })
    }
}
