//! What a program did else than was recorded, and how that is told.

use super::recording::{Branch, What, args_of};
use crate::diff::{Change, ChangeKind, diff};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};

/// Characters of a value in a report; what is longer is cut.
const SHOWN: usize = 160;
/// Changes of arguments in a report.
const CHANGES: usize = 12;

/// What kind of thing is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DivergenceKind {
    /// A call with other arguments, or under another key.
    ChangedArguments,
    /// Another tool with the same arguments, or another step.
    ChangedName,
    /// Something before what was done before it.
    ChangedOrder,
    /// Something was not done.
    Missing,
    /// Something was done that was not recorded.
    Extra,
    /// A run was begun that was not recorded.
    UnknownRun,
    /// A run that was recorded was not begun.
    NotBegun,
}

impl DivergenceKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::ChangedArguments => "a call with other arguments",
            Self::ChangedName => "another name",
            Self::ChangedOrder => "another order",
            Self::Missing => "not done",
            Self::Extra => "not recorded",
            Self::UnknownRun => "a run that is not recorded",
            Self::NotBegun => "a run that was recorded is not begun",
        }
    }
}

/// A step or a call, as it was recorded or as the program made it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Said {
    /// Which step it is; `None`: a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Branch>,
    /// The node, or what was called.
    pub name: String,
    /// The arguments of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
    /// Its key as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// In which branch; `None`: outside of steps.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    /// Where it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl Said {
    pub(super) fn of(what: &What, branch: Option<&Branch>, position: Option<u64>) -> Self {
        match what {
            What::Step(step) | What::ErasedStep(step) => Self::of_step(step, branch, position),
            What::Call {
                name, args, key, ..
            } => {
                let name = name.clone().unwrap_or_else(|| "(erased)".to_owned());
                Self::of_call(name, args_of(args.as_deref()), key.clone()).at(branch, position)
            }
        }
    }

    pub(super) fn of_step(step: &Branch, branch: Option<&Branch>, position: Option<u64>) -> Self {
        let mut said = Self::of_call(step.node.clone(), None, None).at(branch, position);
        said.step = Some(step.clone());
        said
    }

    pub(super) fn of_call(name: String, args: Option<Value>, key: Option<String>) -> Self {
        Self {
            step: None,
            name,
            args,
            key,
            branch: None,
            position: None,
        }
    }

    pub(super) fn at(mut self, branch: Option<&Branch>, position: Option<u64>) -> Self {
        (self.branch, self.position) = (branch.cloned(), position);
        self
    }

    /// As a line, such as ``pay {"usd":12}, recorded at position 7 in step `settle` ``.
    fn line(&self) -> String {
        let mut text = String::new();
        if let Some(step) = &self.step {
            text.push_str(&short(&step.to_string()));
        } else {
            text.push_str(&short(&self.name));
            if let Some(args) = &self.args {
                let _ = write!(text, " {}", short(&args.to_string()));
            }
        }
        if let Some(position) = self.position {
            let _ = write!(text, ", recorded at position {position}");
        }
        if let Some(branch) = &self.branch {
            let _ = write!(text, " in {}", short(&branch.to_string()));
        }
        text
    }

    fn as_value(&self) -> Value {
        let mut value = json!({ "args": self.args });
        if let (Some(members), Some(key)) = (value.as_object_mut(), &self.key) {
            members.insert("key".to_owned(), key.as_str().into());
        }
        value
    }
}

/// Control characters would move the cursor of whoever reads it.
fn short(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    // Quotes are no danger, and easier to read as they are.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(SHOWN).is_some() {
        let _ = write!(shown, "... ({} bytes)", text.len());
    }
    shown
}

/// The first thing that a program did else than was recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Divergence {
    /// What kind of thing is different.
    pub kind: DivergenceKind,
    /// The run.
    pub run: String,
    /// How many recorded steps and calls were done again before it.
    pub done: usize,
    /// What was recorded here; `None` if the recording ends here.
    pub expected: Option<Said>,
    /// What the program did; `None` if it did nothing more.
    pub got: Option<Said>,
    /// Of what was recorded and is not done yet, else of what was done, the most similar to what the
    /// program did.
    pub nearest: Option<Said>,
    /// What differs from there to what the program did: a JSON Patch (RFC 6902) of `args` and `key`.
    pub changes: Vec<Change>,
}

impl Divergence {
    pub(super) fn new(kind: DivergenceKind, run: &str, done: usize) -> Self {
        Self {
            kind,
            run: run.to_owned(),
            done,
            expected: None,
            got: None,
            nearest: None,
            changes: Vec::new(),
        }
    }

    /// With what differs, where two calls are alike enough that it tells something.
    pub(super) fn compared(mut self) -> Self {
        let nearest = self.nearest.as_ref().or(self.expected.as_ref());
        if let (Some(nearest), Some(got)) = (nearest, &self.got)
            && got.step.is_none()
            && nearest.step.is_none()
        {
            self.changes = diff(&nearest.as_value(), &got.as_value());
        }
        self
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, done) = (self.kind.sentence(), self.done);
        let run = short(&self.run);
        write!(out, "run `{run}`: {kind}, after {done} as recorded")?;
        let said = |said: &Option<Said>, none: &str| {
            said.as_ref().map_or_else(|| none.to_owned(), Said::line)
        };
        if !matches!(
            self.kind,
            DivergenceKind::UnknownRun | DivergenceKind::NotBegun
        ) {
            let expected = said(&self.expected, "nothing more");
            write!(out, "\n  expected  {expected}")?;
            write!(out, "\n  got       {}", said(&self.got, "nothing"))?;
        }
        if let Some(nearest) = &self.nearest
            && self.expected.as_ref() != Some(nearest)
        {
            write!(out, "\n  nearest   {}", nearest.line())?;
        }
        for change in self.changes.iter().take(CHANGES) {
            let value = |value: &Option<Value>| {
                value
                    .as_ref()
                    .map_or_else(String::new, |value| short(&value.to_string()))
            };
            let (before, after) = (value(&change.before), value(&change.value));
            let path = short(&change.path);
            match change.op {
                ChangeKind::Add => write!(out, "\n    + {path} {after}")?,
                ChangeKind::Remove => write!(out, "\n    - {path} {before}")?,
                ChangeKind::Replace => write!(out, "\n    ~ {path} {before} -> {after}")?,
            }
        }
        match self.changes.len().saturating_sub(CHANGES) {
            0 => Ok(()),
            more => write!(out, "\n    and {more} more changes"),
        }
    }
}

impl std::error::Error for Divergence {}

/// A run, run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// Its stream.
    pub run: String,
    /// Whether the program began it.
    pub is_begun: bool,
    /// Steps and calls that were recorded, but for those that need not be done again.
    pub recorded: usize,
    /// How many of all that were recorded were done again.
    pub done: usize,
    /// Calls that were made live, after the end of the recording.
    pub live: usize,
}

/// What came of running it again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The runs of the recording.
    pub runs: Vec<RunReport>,
    /// What the program did else: of each run the first thing, or all that it did not do if it did
    /// nothing else.
    pub divergences: Vec<Divergence>,
}

impl Report {
    /// Whether the program did all that was recorded, and nothing else.
    pub fn is_same(&self) -> bool {
        self.divergences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, divergence) in self.divergences.iter().enumerate() {
            if at > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{divergence}")?;
        }
        if self.divergences.is_empty() {
            let done: usize = self.runs.iter().map(|run| run.done).sum();
            let live: usize = self.runs.iter().map(|run| run.live).sum();
            write!(out, "as recorded: {done} steps and calls")?;
            if live > 0 {
                write!(out, ", then {live} calls live")?;
            }
        }
        Ok(())
    }
}
