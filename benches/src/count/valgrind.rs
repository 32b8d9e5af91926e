//! The program under `valgrind --tool=callgrind`.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Asks valgrind. Its environment is nearly empty: a program reads it before anything else.
fn valgrind(arguments: impl FnOnce(&mut Command)) -> Result<Output> {
    let mut command = Command::new("valgrind");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    arguments(&mut command);
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("valgrind is not installed; packages of distributions are called `valgrind`")
        }
        output => output.context("valgrind cannot be started"),
    }
}

/// What valgrind says that it is.
pub(super) fn version() -> Result<String> {
    let said = valgrind(|command| {
        command.arg("--version");
    })?;
    ensure!(said.status.success(), "valgrind does not say what it is");
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Instructions of a whole run, all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) all: u64,
    /// Those of SHA-256, which a processor of today does in a few.
    pub(super) hashing: u64,
}

/// Counts `counted NAME ROUNDS FOLDER`.
pub(super) fn count(name: &str, rounds: u64, folder: &Path, file: &Path) -> Result<Total> {
    let program = std::env::current_exe()?;
    let mut written = std::ffi::OsString::from("--callgrind-out-file=");
    written.push(file);
    let said = valgrind(|command| {
        command.args(["--tool=callgrind", "--separate-threads=no"]);
        command.arg(&written).arg(&program);
        command.args(["counted", name, &rounds.to_string()]);
        command.arg(folder);
    })?;
    if !said.status.success() {
        bail!("{}", String::from_utf8_lossy(&said.stderr));
    }
    total(&fs::read_to_string(file)?).context("callgrind wrote no total")
}

/// The crate whose functions hash, as their names begin.
const HASHING: &str = "sha2::";

/// The totals of a file of callgrind. Names stand in it once, behind a number that stands for them
/// from then on; a line behind `calls=` is what the called function took, which is in its own lines.
fn total(text: &str) -> Option<Total> {
    let mut total = Total::default();
    let mut hashes = BTreeSet::new();
    let (mut is_hashing, mut is_called, mut is_whole) = (false, false, false);
    for line in text.lines() {
        let function = line.strip_prefix("fn=");
        if let Some(named) = function.or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = named.split_once(' ').unwrap_or((named, ""));
            if name.starts_with(HASHING) {
                hashes.insert(number);
            }
            if function.is_some() {
                is_hashing = hashes.contains(number);
            }
        } else if line.starts_with("calls=") {
            is_called = true;
        } else if let Some(all) = line.strip_prefix("totals:") {
            total.all = all.trim().parse().ok()?;
            is_whole = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if is_hashing && !is_called {
                total.hashing += line.split(' ').nth(1)?.parse::<u64>().ok()?;
            }
            is_called = false;
        }
    }
    is_whole.then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        let text = "\
# callgrind format
events: Ir
summary: 9

fn=(1) main
16 2
cfn=(2) sha2::sha256::soft::compress
calls=3 0
+1 300
* 5

fn=(2)
7 100
+3 200
cfn=(1)
calls=1 0
* 70

totals: 12345
";
        let (all, hashing) = (12_345, 300);
        assert_eq!(total(text), Some(Total { all, hashing }));
        assert_eq!(total("events: Ir\nfn=(1) main\n16 2\n"), None);
    }
}
