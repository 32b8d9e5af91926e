//! Evidence packs to be checked, and to be altered, by programs that nobody here wrote.

#![expect(clippy::missing_errors_doc, reason = "any error ends the test")]

use crate::command::workspace;
use crate::tamper::Outcome;
use runstone::pack::{Pack, PackReport};
use runstone::store::Erase;
use runstone::{Append, Item, NewEvent, Position, Query, Runstone};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A pack, and what it was made of.
#[derive(Debug)]
pub struct Sample {
    /// Where the log and the pack lie.
    pub folder: tempfile::TempDir,
    /// The log, open.
    pub log: Runstone,
    /// What the pack holds.
    pub report: PackReport,
}

impl Sample {
    /// A pack of a log of some 600 events, with everything in it.
    pub fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let log = Runstone::options()
            .fields()
            .origin("example.com/invoices")
            .create(folder.path().join("log"))?;
        log.append_blocking(Append::new((0..300).map(event)))?;
        let since = log.checkpoint()?.text().to_owned();
        log.append_blocking(Append::new((300..600).map(event)))?;
        log.erase(&Erase::new("customer-2", "gdpr-17-1-b"), &|_, _| {})?;
        let query = Query::stream("run-7")
            .or(Item::new().stream("run-8"))
            .or(Item::new().of_type("log.erasure_completed"));
        let pack = Pack::of(query)
            .since(since)
            .payloads()
            .recipient("auditor-7")
            .entries();
        let report = pack.write(&log, &folder.path().join("pack"), &|_| {})?;
        Ok(Self {
            folder,
            log,
            report,
        })
    }

    /// The pack.
    pub fn pack(&self) -> PathBuf {
        self.folder.path().join("pack")
    }

    /// A copy of the pack to be altered.
    pub fn copy(&self, name: &str) -> Outcome<PathBuf> {
        let to = self.folder.path().join(name);
        copy_folder(&self.pack(), &to)?;
        Ok(to)
    }
}

/// Each stream has one of five scopes: `run-7` is of the one that is erased.
fn event(n: u64) -> NewEvent {
    let payload = format!("{{\"amount\":{n},\"to\":\"account-{n}\"}}");
    NewEvent::new("tool.called", format!("run-{}", n % 200))
        .scope(format!("customer-{}", n % 5))
        .tag(format!("order:{n}"))
        .payload(payload)
}

/// Paths of all files below a folder, relative to it, sorted.
pub fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) -> Outcome {
    for file in files(from)? {
        let target = to.join(&file);
        std::fs::create_dir_all(target.parent().ok_or("no parent")?)?;
        std::fs::copy(from.join(&file), target)?;
    }
    Ok(())
}

/// Lists the files of a pack again, as somebody who altered them would.
pub fn list_again(pack: &Path) -> Outcome {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let mut sums = String::new();
    for file in files(pack)? {
        if file == Path::new("SHA256SUMS") {
            continue;
        }
        let digest = Sha256::digest(std::fs::read(pack.join(&file))?);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(sums, "{digest}  {}", file.display())?;
    }
    Ok(std::fs::write(pack.join("SHA256SUMS"), sums)?)
}

/// The receipt at the highest position.
pub fn newest_receipt(pack: &Path) -> Outcome<PathBuf> {
    let positions = files(&pack.join("receipts"))?;
    let number = |path: &PathBuf| {
        let name = path.file_stem()?.to_str()?;
        name.parse::<u64>().ok()
    };
    let newest = positions.iter().filter_map(number).max();
    let newest = Position::new(newest.ok_or("there is no receipt")?);
    Ok(pack.join(format!("receipts/{newest}.tlog-proof")))
}

/// The folder of the virtual environment with the foreign verifiers.
pub fn foreign() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| prepared("requirements"))
}

/// The folder of the virtual environment with a set of foreign programs.
pub fn prepared(set: &str) -> PathBuf {
    let prepared = Command::new(workspace().join("tests/foreign/prepare.sh"))
        .arg(target())
        .arg(set)
        .stdin(Stdio::null())
        .output();
    let prepared = prepared.unwrap_or_else(|error| panic!("prepare.sh cannot be run: {error}"));
    let told = String::from_utf8_lossy(&prepared.stderr);
    assert!(
        prepared.status.success(),
        "the foreign programs cannot be installed; tests/foreign/prepare.sh needs bash, flock, \
         python3 with venv, and PyPI the first time:\n{told}"
    );
    PathBuf::from(String::from_utf8_lossy(&prepared.stdout).trim_end())
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let mut folders = this.ancestors();
    let target = folders.find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| workspace().join("target"), Path::to_owned)
}

/// A command with the foreign verifiers before everything else on its path.
pub fn command(program: &str) -> Command {
    let bin = foreign().join("bin");
    let own = bin.join(program);
    let mut command = if own.exists() {
        Command::new(own)
    } else {
        Command::new(program)
    };
    let mut path = bin.into_os_string();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    command
        .env("PATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// Whether the program of a pack accepts it, and what it prints.
pub fn verify<'a>(pack: &Path, args: impl IntoIterator<Item = &'a str>) -> Outcome<(bool, String)> {
    let program = pack.join("verify.py");
    let output = command("python3").arg(program).args(args).output()?;
    let text = String::from_utf8(output.stdout)?;
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok((true, text)),
        Some(1)
            if text
                .lines()
                .last()
                .is_some_and(|line| line.starts_with("FAIL  ")) =>
        {
            Ok((false, text))
        }
        code => Err(format!("exit {code:?}: {text}{told}").into()),
    }
}

/// Blocks of a Markdown file in one language, one after the other.
pub fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let found = markdown.split(fence.as_str()).skip(1);
    found
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block.to_owned()))
        .collect()
}
