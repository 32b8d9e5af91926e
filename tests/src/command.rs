//! The command `runstone`, as its users run it.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The binary, built with the profile and into the target folder of the running test.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = build(&["--bin", "runstone"]);
        folder.join(format!("runstone{}", std::env::consts::EXE_SUFFIX))
    })
}

/// An example of one of the crates, built likewise.
pub fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build(&["--examples"]));
    folder.join(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Builds something, and answers the folder that it is in.
///
/// `cargo test` builds a binary only for tests of its own package. The whole workspace is chosen, and one
/// test of it, so that features resolve as in `cargo test --workspace`: after that, only what is asked for
/// is left to build.
fn build(what: &[&str]) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    // TARGET/PROFILE/deps/TEST, or TARGET/TRIPLE/PROFILE/deps/TEST
    let folder = this.parent().and_then(Path::parent).unwrap();
    let above = folder.parent().unwrap();
    let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
    let is_target = marks.iter().any(|mark| above.join(mark).exists());
    let profile = folder.file_name().and_then(OsStr::to_str).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(workspace())
        .args([
            "build",
            "--locked",
            "--quiet",
            "--workspace",
            "--test",
            "layout",
        ])
        .args(what)
        .args([
            "--profile",
            if profile == "debug" { "dev" } else { profile },
        ]);
    if is_target {
        build.arg("--target-dir").arg(above);
    } else {
        build.arg("--target").arg(above.file_name().unwrap());
        build.arg("--target-dir").arg(above.parent().unwrap());
    }
    let built = build.output().unwrap();
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "it cannot be built: {told}");
    folder.to_owned()
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A folder of the recordings, from `RUNSTONE_DATA` or beside the workspace; says so when it is
/// not there.
pub fn recordings(folder: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told where its data is"
    )]
    let given = std::env::var_os("RUNSTONE_DATA").map(PathBuf::from);
    let path = given
        .unwrap_or_else(|| workspace().join("../shared/data"))
        .join(folder);
    if path.is_dir() {
        return Some(path);
    }
    // Past the harness, which shows nothing of a test that passes.
    use std::io::Write as _;
    let text = format!(
        "SKIPPED: no recordings at {}; set RUNSTONE_DATA\n",
        path.display()
    );
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    None
}

/// How a command ended: its exit code, its answers and the code of its error.
pub type Ended = (i32, Vec<Value>, String);

/// How a command with these outputs ended.
pub fn ended(output: &Output) -> Ended {
    let lines = |bytes: &[u8]| -> Vec<Value> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains("panicked"), "{text}");
        let values = text.lines().map(serde_json::from_str);
        values.filter_map(Result::ok).collect()
    };
    let told = lines(&output.stderr);
    let code = told.iter().find_map(|line| line["error"]["code"].as_str());
    (
        output.status.code().unwrap_or(-1),
        lines(&output.stdout),
        code.unwrap_or_default().to_owned(),
    )
}

/// The same of a command that answers at most one line: its answer, or null.
pub fn ended_in_one(output: &Output) -> (i32, Value, String) {
    let (exit, mut answers, code) = ended(output);
    assert!(answers.len() < 2, "one line an answer: {answers:?}");
    (exit, answers.pop().unwrap_or(Value::Null), code)
}

/// `runstone --json` on one log.
#[derive(Clone, Debug)]
pub struct Runstone {
    log: PathBuf,
    /// Built when it is needed, if none was given.
    binary: Option<PathBuf>,
}

impl Runstone {
    /// On the log at `path`, which need not exist.
    pub fn on(path: impl Into<PathBuf>) -> Self {
        Self {
            log: path.into(),
            binary: None,
        }
    }

    /// The same by a binary that somebody else built.
    #[must_use]
    pub fn by(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = Some(binary.into());
        self
    }

    fn binary(&self) -> &Path {
        self.binary.as_deref().unwrap_or_else(|| binary())
    }

    /// The command with its arguments, its input and outputs piped. Nothing of the environment
    /// that would lead it to another log or principal is passed on.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(self.binary());
        for name in [
            "RUNSTONE_LOG",
            "RUNSTONE_KEYS",
            "RUNSTONE_CRED",
            "RUNSTONE_CHECKPOINT_COPIES",
            "RUNSTONE_CHECKPOINT_COMMANDS",
        ] {
            command.env_remove(name);
        }
        command
            .arg("--json")
            .arg("--log")
            .arg(&self.log)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it without input.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs it without input, and answers how it ended.
    pub fn ended(&self, args: &[&str]) -> Ended {
        ended(&self.run(args))
    }

    /// As people see it, without `--json`: exit code, stdout, stderr.
    pub fn shown(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(self.binary());
        let output = command.arg("--log").arg(&self.log).args(args).output();
        let output = output.unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Runs it; it must end with exit code 0. Answers the values that it printed, one a line.
    pub fn values<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<Value> {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{told}");
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// As [`values`](Self::values), for commands that print one.
    pub fn value<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        let mut values = self.values(args);
        assert_eq!(values.len(), 1, "{values:?}");
        values.remove(0)
    }

    /// Verifies the whole log at level 2 and folds it again; both must hold.
    pub fn check(&self) {
        let verified = self.value(["verify", "--level", "2"]);
        assert_eq!(verified["valid"], true, "{verified}");
        let folds = self.values(["rebuild", "--check"]);
        assert!(!folds.is_empty());
        for fold in folds {
            assert_eq!(fold["equal"], true, "{fold}");
        }
    }
}
