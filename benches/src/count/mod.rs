//! How many instructions hot paths take, which a busy machine does not change.
//!
//! ```text
//!  for each path: valgrind counted PATH N, valgrind counted PATH 2N --> (second - first) / operations
//! ```
//!
//! What both do before the first operation falls out. Hashing is counted by itself, because valgrind's
//! processor has no instructions for it.
//!
//! Logs have no threads of their own, time and randomness repeat, and the program is kept on one core,
//! so that callers do not begin threads.

mod images;
mod paths;
mod table;
mod valgrind;

pub(crate) use paths::{PATHS, counted};

use anyhow::{Context as _, Result, bail};
use images::Images;
use paths::HotPath;
use std::fs;
use std::io::{Write as _, stderr, stdout};
use std::path::Path;
use table::{Counted, Made, Table};
use valgrind::Total;

/// The table that is committed.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt");

/// Counts the paths with these names (all of them if there is none) and compares them with the
/// committed table, or writes that.
///
/// # Errors
/// A path takes more instructions than `tolerance` percent more; there is no valgrind; a path fails.
pub(crate) fn run(only: &[String], tolerance: f64, is_update: bool) -> Result<()> {
    let made = Made::here(valgrind::version()?);
    let committed = match fs::read_to_string(FILE) {
        Ok(text) => Table::parse(&text).context(FILE)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Table::new(made.clone()),
        Err(error) => return Err(error).context(FILE),
    };
    let differences = committed.made.differences(&made);
    if is_update && !only.is_empty() && !differences.is_empty() {
        bail!("the other lines of the table were made otherwise: update all of it");
    }
    let folder = tempfile::tempdir()?;
    let mut images = Images::new(folder.path());
    let mut found = Vec::new();
    for path in PATHS {
        if only.is_empty() || only.iter().any(|name| name == path.name) {
            let counted = count(&path, &mut images, folder.path())?;
            let (name, other) = (&counted.name, counted.other);
            writeln!(stderr(), "{name}: {other}, hashing {}", counted.hashing)?;
            found.push(counted);
        }
    }
    writeln!(stdout(), "{}", committed.compared(&found))?;
    for difference in &differences {
        writeln!(stdout(), "{difference}")?;
    }
    if is_update {
        let table = Table {
            made,
            lines: match only {
                [] => found,
                _ => committed.with(found),
            },
        };
        fs::write(FILE, table.to_text()).context(FILE)?;
        return Ok(());
    }
    let grown = committed.grown(&found, tolerance);
    if !grown.is_empty() {
        bail!(
            "more than {tolerance} % more instructions: {}",
            grown.join(", ")
        );
    }
    Ok(())
}

/// Instructions of one operation.
fn count(path: &HotPath, images: &mut Images, folder: &Path) -> Result<Counted> {
    let mut totals = [Total::default(); 2];
    for (times, total) in (1..).zip(&mut totals) {
        let copy = images.copy_of(path.image)?;
        let name = path.name;
        let rounds = path.rounds * times;
        let counted = valgrind::count(name, rounds, copy.path(), &folder.join("callgrind.out"));
        *total = counted.with_context(|| format!("{name} cannot be counted"))?;
    }
    let [once, twice] = totals;
    let operations = (path.rounds * path.operations).max(1);
    let hashing = twice.hashing.saturating_sub(once.hashing) / operations;
    let all = twice.all.saturating_sub(once.all) / operations;
    Ok(Counted {
        name: path.name.to_owned(),
        hashing,
        other: all.saturating_sub(hashing),
        each: path.each.to_owned(),
    })
}
