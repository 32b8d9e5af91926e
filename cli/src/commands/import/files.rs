//! Which files are meant.

use crate::error::{Failure, Report};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// It was found in a folder: if nobody can tell what it is, it is passed over.
    pub(super) found: bool,
}

/// The files that were named, and those in folders that were named, in the order of their names.
/// Links inside folders are not followed: they may lead in circles.
pub(super) fn collect(named: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in named {
        let meta = std::fs::metadata(path).map_err(|error| Report::file(path, &error))?;
        if meta.is_dir() {
            walk(path, &mut sources).map_err(|(path, error)| Report::file(&path, &error))?;
        } else {
            sources.push(Source {
                path: path.clone(),
                bytes: meta.len(),
                found: false,
            });
        }
    }
    Ok(sources)
}

fn walk(folder: &Path, sources: &mut Vec<Source>) -> Result<(), (PathBuf, io::Error)> {
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path).map_err(|error| (path.clone(), error))?;
        if meta.is_file() {
            sources.push(Source {
                path,
                bytes: meta.len(),
                found: true,
            });
        } else if meta.is_dir() || path == folder {
            let failed = |error| (path.clone(), error);
            let mut inside = std::fs::read_dir(&path)
                .and_then(|entries| {
                    entries
                        .map(|entry| Ok(entry?.path()))
                        .collect::<io::Result<Vec<_>>>()
                })
                .map_err(failed)?;
            // The last one is taken next.
            inside.sort_unstable_by(|one, other| other.cmp(one));
            open.append(&mut inside);
        }
    }
    Ok(())
}

/// The first bytes of a file.
pub(super) fn head(path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?
        .take(bytes as u64)
        .read_to_end(&mut head)?;
    Ok(head)
}
