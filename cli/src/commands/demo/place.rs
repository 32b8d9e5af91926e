//! The folder in which the demonstration is played.

use super::gateway::{BOOK, Gateway};
use super::stage::LOG;
use crate::error::{Exit, Failure, Report};
use crate::output::hex;
use runstone::codec::{Entropy as _, OsEntropy};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Only its owner looks into it: keys lie there.
const MODE: u32 = 0o700;

/// Takes the folder that was asked for, or a new one; nobody else has it then.
pub(super) fn take(asked: Option<&Path>) -> Result<(PathBuf, Gateway), Failure> {
    let folder = match asked {
        Some(folder) => emptied(folder)?,
        None => new_folder()?,
    };
    // Of two that saw it empty, one makes the book.
    let gateway = Gateway::open(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(&folder),
        _ => Report::file(&folder.join(BOOK), &error),
    })?;
    Ok((folder, gateway))
}

fn emptied(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: &io::Error| Report::file(folder, error);
    DirBuilder::new()
        .recursive(true)
        .mode(MODE)
        .create(folder)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(folder),
            _ => failed(&error),
        })?;
    // Its commands run in it.
    let folder = folder.canonicalize().map_err(|error| failed(&error))?;
    let mut entries = std::fs::read_dir(&folder).map_err(|error| failed(&error))?;
    match entries.next() {
        None => Ok(folder),
        Some(_) => Err(taken(&folder).into()),
    }
}

fn new_folder() -> Result<PathBuf, Failure> {
    let mut random = [0; 6];
    OsEntropy
        .fill(&mut random)
        .map_err(|error| Report::of(Exit::Storage, "entropy_unavailable", &error))?;
    let folder = std::env::temp_dir().join(format!("runstone-demo-{}", hex(&random)));
    let made = DirBuilder::new().mode(MODE).create(&folder);
    made.map_err(|error| Report::file(&folder, &error))?;
    Ok(folder)
}

fn taken(folder: &Path) -> Report {
    let shown = folder.display();
    let log = folder.join(LOG);
    if !log.exists() {
        let message = format!("{shown} is not an empty folder; it was not touched");
        return Report::new(Exit::Usage, "demo_folder", message);
    }
    let message = format!("{shown} holds a demonstration already; it was not touched");
    let look = format!(
        "runstone --log {} runs shows what is left of it",
        log.display()
    );
    Report::new(Exit::Usage, "demo_folder", message).hint(look)
}
