//! Checks that need no look into the log.

use super::Check;
use crate::output::{bytes, duration};
use crate::session::Session;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Name of the check on the file itself; without it there is nothing more to look at.
pub(super) const LOG: &str = "log file";

/// Bytes of `LOG.head`.
const HEAD_BYTES: u64 = 8192;
/// Free space that is little, and that is too little for the next commits.
const LITTLE_BYTES: u64 = 1 << 30;
const TOO_LITTLE_BYTES: u64 = 64 << 20;
/// Waiting for the disk that people notice, in microseconds.
const SLOW_US: u64 = 50_000;
/// How often the disk is asked.
const SYNCS: usize = 3;

pub(super) fn checks(session: &Session) -> Vec<Check> {
    let log = &session.log;
    let folder = match log.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut checks = vec![log_file(log), head_file(log)];
    checks.extend(keys(&session.keys_path()));
    checks.push(free_space(folder));
    checks.push(sync_time(folder));
    checks
}

fn log_file(log: &Path) -> Check {
    match fs::metadata(log) {
        Ok(meta) if !meta.is_file() => Check::fail(
            LOG,
            format!("{} is not a file", log.display()),
            "name the log with --log PATH",
        ),
        Ok(meta) if OpenOptions::new().read(true).write(true).open(log).is_err() => Check::warn(
            LOG,
            format!(
                "{}, {}, cannot be written",
                log.display(),
                bytes(meta.len())
            ),
            "change its owner or mode if you are to append to it",
        ),
        Ok(meta) => Check::ok(LOG, format!("{}, {}", log.display(), bytes(meta.len()))),
        Err(error) => Check::fail(
            LOG,
            format!("{}: {error}", log.display()),
            "name the log with --log PATH, or create one with runstone init",
        ),
    }
}

fn head_file(log: &Path) -> Check {
    const NAME: &str = "LOG.head";
    let mut path = log.as_os_str().to_owned();
    path.push(".head");
    match fs::metadata(PathBuf::from(path)) {
        Ok(meta) if meta.len() == HEAD_BYTES => Check::ok(NAME, "present"),
        Ok(meta) => Check::warn(
            NAME,
            format!("{} bytes instead of {HEAD_BYTES}", meta.len()),
            "the next command that writes makes it anew; runstone verify checks the log",
        ),
        Err(_) => Check::warn(
            NAME,
            "missing: a rolled back log would not be noticed",
            "the next command that writes makes it anew; runstone verify checks the log",
        ),
    }
}

/// The key folder and what is in it belong to one user.
fn keys(folder: &Path) -> Vec<Check> {
    let parts = [
        ("key folder", folder.to_owned(), 0o700),
        ("keyring", folder.join("ring"), 0o600),
        ("key table", folder.join("table"), 0o600),
    ];
    parts
        .into_iter()
        .map(|(name, path, wanted)| mode(name, &path, wanted))
        .collect()
}

fn mode(name: &'static str, path: &Path, wanted: u32) -> Check {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) => {
            let mode = meta.permissions().mode() & 0o777;
            if mode & !wanted == 0 {
                Check::ok(name, format!("{shown}, mode {mode:03o}"))
            } else {
                Check::fail(
                    name,
                    format!("{shown} is open to other users, mode {mode:03o}"),
                    format!("chmod {wanted:o} {shown}"),
                )
            }
        }
        Err(error) => Check::fail(
            name,
            format!("{shown}: {error}"),
            "name the key folder with --keys PATH, or bring back what runstone keys backup wrote",
        ),
    }
}

fn free_space(folder: &Path) -> Check {
    const NAME: &str = "free space";
    match rustix::fs::statvfs(folder) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let shown = bytes(free);
            let fix = "free some space: appends are refused when there is none";
            if free < TOO_LITTLE_BYTES {
                Check::fail(NAME, shown, fix)
            } else if free < LITTLE_BYTES {
                Check::warn(NAME, shown, fix)
            } else {
                Check::ok(NAME, shown)
            }
        }
        Err(error) => Check::warn(NAME, error.to_string(), "check the file system by hand"),
    }
}

/// Every acknowledged append waits for the disk once, so its time is the time of an append.
fn sync_time(folder: &Path) -> Check {
    const NAME: &str = "disk sync";
    match measure_sync(folder) {
        Ok(micros) if micros > SLOW_US => Check::warn(
            NAME,
            format!("{} a sync", duration(micros)),
            "an append takes as long: put the log on a faster disk, or append many events at once",
        ),
        Ok(micros) => Check::ok(
            NAME,
            format!("{}.{} ms a sync", micros / 1000, micros % 1000 / 100),
        ),
        Err(error) => Check::warn(
            NAME,
            format!("not measured: {error}"),
            "let the folder of the log be writable for whoever appends",
        ),
    }
}

/// The middle one of a few small synced writes beside the log.
fn measure_sync(folder: &Path) -> io::Result<u64> {
    let path = folder.join(format!(".runstone-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let outcome = (0..SYNCS)
        .map(|_| one_sync(&mut file))
        .collect::<io::Result<Vec<_>>>();
    fs::remove_file(&path)?;
    let mut times = outcome?;
    times.sort_unstable();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}

fn one_sync(file: &mut File) -> io::Result<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the disk is measured by the clock"
    )]
    let begun = Instant::now();
    file.write_all(&[0; 4096])?;
    file.sync_data()?;
    Ok(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn modes_that_let_others_in_fail() {
        let path = std::env::temp_dir().join(format!("runstone-mode-{}", std::process::id()));
        fs::write(&path, b"x").unwrap();
        for (bits, verdict) in [
            (0o600, Verdict::Ok),
            (0o400, Verdict::Ok),
            (0o640, Verdict::Fail),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(mode("x", &path, 0o600).status, verdict, "{bits:o}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(mode("x", &path, 0o600).status, Verdict::Fail);
    }

    #[test]
    fn the_disk_is_measured_and_nothing_is_left() {
        let folder = std::env::temp_dir().join(format!("runstone-sync-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        measure_sync(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
    }
}
