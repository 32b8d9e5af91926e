//! Where the demonstration is played: its folder, the shell that runs what is shown, and what it promises.

use crate::error::{Exit, Failure, Report};
use crate::output::{Output, Tone, paint, printable};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The log, in the folder.
pub(super) const LOG: &str = "demo.redb";
/// Columns of what is shown, and how far it stands in.
const COLUMNS: usize = 80;
const INDENT: usize = 3;
/// How far what commands answer stands in.
const ANSWER: usize = INDENT + 2;
/// What of the environment would lead a command to another log, other keys or another principal.
const LEADING_AWAY: [&str; 4] = [
    "RUNSTONE_KEYS",
    "RUNSTONE_CRED",
    "RUNSTONE_CHECKPOINT_COPIES",
    "RUNSTONE_CHECKPOINT_COMMANDS",
];

/// What was run and what it answered.
#[derive(Debug, Serialize)]
pub(super) struct Ran {
    command: String,
    exit: i32,
    pub(super) output: String,
}

/// What was promised, and what was found.
#[derive(Debug, Serialize)]
struct Promise {
    #[serde(rename = "promise")]
    text: String,
    kept: bool,
    found: String,
}

/// A step of the story, as `--json` answers it.
#[derive(Debug, Serialize)]
struct StepLine {
    step: usize,
    title: &'static str,
    why: &'static str,
    commands: Vec<Ran>,
    agent: Vec<String>,
    promises: Vec<Promise>,
}

/// The end of the story, as `--json` answers it.
#[derive(Debug, Serialize)]
struct EndLine<'a> {
    folder: &'a Path,
    log: PathBuf,
    kept: usize,
    broken: usize,
}

/// What was shown last: what belongs together stands together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Text,
    Agent,
    Promise,
}

/// The stage.
#[derive(Debug)]
pub(super) struct Stage {
    output: Output,
    folder: PathBuf,
    /// This program.
    program: PathBuf,
    step: Option<StepLine>,
    shown: Shown,
    steps: usize,
    kept: usize,
    broken: usize,
}

impl Stage {
    pub(super) fn new(output: Output, folder: PathBuf) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
        Ok(Self {
            output,
            folder,
            program,
            step: None,
            shown: Shown::Text,
            steps: 0,
            kept: 0,
            broken: 0,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a step: what it is, and why it matters.
    pub(super) fn step(&mut self, title: &'static str, why: &'static str) -> Result<(), Failure> {
        self.end_step()?;
        self.steps += 1;
        self.step = Some(StepLine {
            step: self.steps,
            title,
            why,
            commands: Vec::new(),
            agent: Vec::new(),
            promises: Vec::new(),
        });
        let title = format!("{}. {title}", self.steps);
        self.part(Shown::Text)?;
        self.show(&paint(self.output.color, Tone::Warn, &title))?;
        self.paragraph(why)
    }

    fn end_step(&mut self) -> Result<(), Failure> {
        let Some(step) = self.step.take() else {
            return Ok(());
        };
        if self.output.json {
            let mut results = Output::results();
            results.json(&step)?;
            results.flush()?;
        }
        Ok(())
    }

    /// Says something.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), Failure> {
        self.part(Shown::Text)?;
        self.paragraph(text)
    }

    /// Parts what is shown next from what was shown before.
    fn part(&mut self, next: Shown) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.shown, next);
        if before == next && next != Shown::Text {
            return Ok(());
        }
        self.show("")
    }

    fn paragraph(&self, text: &str) -> Result<(), Failure> {
        wrapped(text, INDENT, INDENT)
            .iter()
            .try_for_each(|line| self.show(line))
    }

    /// What the agent says.
    pub(super) fn hear(&mut self, text: &str) -> Result<(), Failure> {
        if let Some(step) = &mut self.step {
            step.agent.push(text.to_owned());
        }
        self.part(Shown::Agent)?;
        for line in wrapped(&format!("agent: {}", printable(text)), INDENT, ANSWER) {
            self.show(&paint(self.output.color, Tone::Dim, &line))?;
        }
        Ok(())
    }

    /// Runs a line in a shell, in the folder, and shows it with what it answers.
    pub(super) fn run(&mut self, line: &str, expected: i32) -> Result<String, Failure> {
        self.part(Shown::Text)?;
        let mut command = wrapped(&format!("$ {line}"), INDENT, INDENT + 4);
        // A shell takes the next line for the same one.
        let last = command.pop();
        for line in command {
            self.show(&format!("{line} \\"))?;
        }
        self.show(&last.unwrap_or_default())?;
        let (exit, output) = self.shell(line)?;
        for line in printable(&output).lines() {
            for line in wrapped(line, ANSWER, ANSWER + 2) {
                self.show(&line)?;
            }
        }
        if exit != expected {
            let promise = format!("`{line}` ends with {expected}");
            self.promise(promise, false, format!("it ended with {exit}"))?;
        }
        if let Some(step) = &mut self.step {
            step.commands.push(Ran {
                command: line.to_owned(),
                exit,
                output: output.clone(),
            });
        }
        Ok(output)
    }

    /// What `runstone --json` answers to these words; it is not shown.
    pub(super) fn look(&self, words: &str) -> Result<Vec<Value>, Failure> {
        let (_, output) = self.shell(&format!("runstone --json {words}"))?;
        let values = output.lines().map(serde_json::from_str);
        values.collect::<Result<_, _>>().map_err(|error| {
            let message = format!("runstone --json {words}: {error}");
            Report::new(Exit::Storage, "internal", message).into()
        })
    }

    /// What stands at this place (RFC 6901) of the first answer to these words, or null.
    pub(super) fn first(&self, words: &str, path: &str) -> Result<Value, Failure> {
        let answers = self.look(words)?;
        let found = answers.first().and_then(|answer| answer.pointer(path));
        Ok(found.cloned().unwrap_or_default())
    }

    /// Exit code, and stdout and stderr as they came.
    fn shell(&self, line: &str) -> Result<(i32, String), Failure> {
        let mut shell = Command::new("sh");
        // Whatever the program is called, it is `runstone` here.
        let script = format!("runstone() {{ \"$0\" \"$@\"; }}\n{{ {line}\n}} 2>&1");
        shell.arg("-c").arg(script).arg(&self.program);
        self.in_folder(&mut shell);
        let width = COLUMNS - ANSWER;
        shell.env("COLUMNS", width.to_string()).env("NO_COLOR", "1");
        let output = shell.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| Report::of(Exit::Storage, "storage_io", &error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code().unwrap_or(-1), text))
    }

    fn in_folder(&self, command: &mut Command) {
        command.current_dir(&self.folder).env("RUNSTONE_LOG", LOG);
        for name in LEADING_AWAY {
            command.env_remove(name);
        }
    }

    /// The agent, ready to be started with a run.
    pub(super) fn agent(&self, stream: &str) -> Command {
        let mut command = Command::new(&self.program);
        self.in_folder(&mut command);
        command.args(["demo", "--agent", stream]);
        command
    }

    /// Something that must be so, and what was found.
    pub(super) fn promise(
        &mut self,
        promise: impl Into<String>,
        kept: bool,
        found: impl Into<String>,
    ) -> Result<(), Failure> {
        let (promise, found) = (promise.into(), found.into());
        let (label, tone) = if kept {
            ("kept:", Tone::Good)
        } else {
            ("BROKEN:", Tone::Bad)
        };
        *(if kept {
            &mut self.kept
        } else {
            &mut self.broken
        }) += 1;
        self.part(Shown::Promise)?;
        let text = format!("{label} {promise} ({found})");
        for line in wrapped(&text, INDENT, ANSWER) {
            let painted = paint(self.output.color, tone, label);
            self.show(&line.replacen(label, &painted, 1))?;
        }
        if let Some(step) = &mut self.step {
            step.promises.push(Promise {
                text: promise,
                kept,
                found,
            });
        }
        Ok(())
    }

    /// Says how it went, and how to go on.
    pub(super) fn end(mut self) -> Result<Exit, Failure> {
        self.end_step()?;
        if self.output.json {
            let mut results = Output::results();
            results.json(&EndLine {
                folder: &self.folder,
                log: self.folder.join(LOG),
                kept: self.kept,
                broken: self.broken,
            })?;
            results.flush()?;
        } else {
            self.say_goodbye()?;
        }
        if self.broken == 0 {
            return Ok(Exit::Done);
        }
        let message = format!(
            "{} of {} promises did not hold",
            self.broken,
            self.broken + self.kept
        );
        Err(Report::new(Exit::No, "demo_failed", message).into())
    }

    fn say_goodbye(&mut self) -> Result<(), Failure> {
        let folder = self.folder.display().to_string();
        if self.broken == 0 {
            self.tell(&format!("All {} promises held.", self.kept))?;
        }
        self.tell(
            "Every command above can be run on what is left, and whatever else comes to mind:",
        )?;
        self.show(&format!(
            "\n{:INDENT$}cd {folder}; export RUNSTONE_LOG={LOG}",
            ""
        ))?;
        if let (false, Some(beside)) = (self.is_in_path(), self.program.parent()) {
            let beside = beside.display();
            self.show(&format!("{:INDENT$}export PATH=\"{beside}:$PATH\"", ""))?;
        }
        self.show(&format!("{:INDENT$}runstone replay pay-run", ""))?;
        self.show(&format!(
            "\n{:INDENT$}rm -r {folder}   # when you have seen enough",
            ""
        ))
    }

    /// Whether `runstone` is this program.
    fn is_in_path(&self) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line reads the environment"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = std::env::split_paths(&path)
            .map(|folder| folder.join("runstone"))
            .find(|found| found.is_file());
        first.is_some_and(|found| found.canonicalize().ok() == self.program.canonicalize().ok())
    }

    /// A line for people.
    fn show(&self, line: &str) -> Result<(), Failure> {
        if self.output.json {
            return Ok(());
        }
        let mut results = Output::results();
        results.line(line)?;
        results.flush()
    }
}

/// A text in lines of words that fit, the first standing in so far, the others so far. What the line
/// begins with stays as it is, and a word that is too long for any line has one of its own.
fn wrapped(text: &str, first: usize, others: usize) -> Vec<String> {
    if first + text.chars().count() <= COLUMNS {
        return vec![format!("{:first$}{text}", "").trim_end().to_owned()];
    }
    let (mut lines, mut line) = (Vec::new(), " ".repeat(first));
    let mut is_begun = false;
    for word in text.split_inclusive(' ') {
        // Two columns are left for what continues a command.
        let is_full = line.chars().count() + word.trim_end().chars().count() + 2 > COLUMNS;
        if is_begun && is_full {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(others);
        }
        line.push_str(word);
        is_begun |= !word.trim().is_empty();
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        let text = "  word ".repeat(40);
        let lines = wrapped(&text, 3, 5);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= COLUMNS));
        assert!(lines[0].starts_with("     word") && lines[1].starts_with("     word"));
        let words: usize = lines.iter().map(|line| line.matches("word").count()).sum();
        assert_eq!(words, 40);
        let long = "x".repeat(100);
        assert_eq!(
            wrapped(&format!("a {long} b"), 0, 2),
            ["a", &format!("  {long}"), "  b"]
        );
        assert_eq!(wrapped("", 3, 5), [""]);
    }
}
