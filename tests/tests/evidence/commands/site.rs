//! A folder with a log, and one without.

use runstone_tests::command::Runstone;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What nobody may find any more once it is erased.
pub(crate) const SECRET: &str = "the-patient-is-called-Ann-Example";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: i32,
    pub(crate) lines: Vec<Value>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let lines = stdout.lines().map(serde_json::from_str);
        Self {
            exit: output.status.code().unwrap(),
            lines: lines.filter_map(Result::ok).collect(),
            stdout,
            stderr,
        }
    }

    /// The error that was told.
    pub(crate) fn code(&self) -> String {
        let told = self.stderr.lines().map(serde_json::from_str::<Value>);
        let code = told
            .filter_map(Result::ok)
            .find_map(|line| line["error"]["code"].as_str().map(str::to_owned));
        code.unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// The one answer, of a command that ended with 0.
    pub(crate) fn done(mut self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        assert_eq!(self.lines.len(), 1, "{self:?}");
        self.lines.remove(0)
    }
}

pub(crate) struct Site {
    folder: tempfile::TempDir,
    /// Variables of the commands.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Site {
    /// Without a log.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// A log with the events of two people, single fields of which can be disclosed.
    pub(crate) fn new() -> Self {
        let site = Self::empty();
        site.done(["init", "--fields", "--origin", "example.com/log"]);
        site.fill();
        site
    }

    pub(crate) fn fill(&self) {
        let mut input = String::new();
        for n in 0..20 {
            for scope in ["ann", "bob"] {
                let data = json!({"amount": n, "text": format!("{SECRET}, {scope}"), "note": null});
                let event = json!({"type": "data.noted", "stream": format!("run-{scope}"),
                                   "scope": scope, "fields": true, "data": data});
                input.push_str(&event.to_string());
                input.push('\n');
            }
        }
        let mut child = self.command(["append", "-"]).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let appended = Ended::of(&child.wait_with_output().unwrap());
        assert_eq!(
            (appended.exit, appended.lines.len()),
            (0, 40),
            "{appended:?}"
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("log.redb")
    }

    /// The command, in the folder.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Runstone::on("log.redb").command(args);
        command.current_dir(self.folder.path());
        command.envs(self.variables.iter().cloned());
        command
    }

    pub(crate) fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ended {
        let mut command = self.command(args);
        command.stdin(std::process::Stdio::null());
        Ended::of(&command.output().unwrap())
    }

    /// The one answer of a command that must end with 0.
    pub(crate) fn done<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        self.run(args).done()
    }

    /// Writes what a command prints to a file.
    pub(crate) fn keep<'a>(&self, name: &str, args: impl IntoIterator<Item = &'a str>) -> PathBuf {
        let ended = self.run(args);
        assert_eq!(ended.exit, 0, "{ended:?}");
        std::fs::write(self.path(name), ended.stdout).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// How the check of this name went, and what it found.
    pub(crate) fn doctor(&self, name: &str) -> (String, String) {
        let checks = self.run(["doctor"]).lines;
        let check = checks.iter().find(|check| check["check"] == name);
        let check = check.unwrap_or_else(|| panic!("no check of {name}: {checks:?}"));
        let text = |member: &str| check[member].as_str().unwrap().to_owned();
        (text("status"), text("found"))
    }

    /// How `verify` ends.
    pub(crate) fn verified(&self) -> i32 {
        self.run(["verify", "--level", "2"]).exit
    }
}

/// Copies files into a folder where there is no log.
pub(crate) fn auditor(files: &[&Path]) -> Site {
    let site = Site::empty();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(file, site.path(name)).unwrap();
    }
    site
}
