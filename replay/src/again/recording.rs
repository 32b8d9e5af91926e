//! What was recorded of runs, as their program meets it again.

use runstone_projections::events::{ErrorSaid, Executed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// An attempt of a step: what its work does, it does one after the other, unless it does several
/// things at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a node, and which attempt of it")]
pub struct Branch {
    /// The node.
    pub node: String,
    /// Which attempt, from 1: one more than the attempts that failed before it.
    pub attempt: u64,
}

impl fmt::Display for Branch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "step `{}`", self.node)?;
        match self.attempt {
            1 => Ok(()),
            attempt => write!(out, ", attempt {attempt}"),
        }
    }
}

/// What a call was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// It was made.
    Completed {
        /// What it answered, byte for byte; `None` if it had no result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Box<RawValue>>,
        /// Why its caller did not take that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rejected: Option<String>,
    },
    /// It failed.
    Failed {
        /// How.
        error: ErrorSaid,
        /// Whether it was executed all the same; `None`: as its class says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        executed: Option<Executed>,
    },
    /// It was not made.
    Refused {
        /// A code for why.
        why: String,
    },
    /// It was answered, and that was erased or cannot be read.
    Erased,
    /// Nobody recorded what became of it.
    Unknown,
}

/// What was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A step.
    Step(Branch),
    /// A step whose name was erased: the node is a number.
    ErasedStep(Branch),
    /// A call.
    Call {
        /// What was called; `None` if that was erased.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Its arguments; `None` if it had none, they were `null`, or they were erased.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<Box<RawValue>>,
        /// Its key as text; `None` if that was erased, or it has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What it was answered.
        answer: Answer,
    },
}

/// Something that a run did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recorded {
    /// What.
    pub what: What,
    /// In which branch; `None`: outside of steps.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    /// Where it began: a position of the log.
    pub began: u64,
    /// Where it ended; `None` if nothing says that it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// Whether the program need not do it again: it was taken back, refused, given up, or done by
    /// the run that this one is a fork of.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

impl Recorded {
    /// Whether what it was answered was erased.
    pub(super) fn is_erased(&self) -> bool {
        matches!(
            &self.what,
            What::Call {
                answer: Answer::Erased,
                ..
            }
        )
    }

    /// Whether it was not done, but refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(
            &self.what,
            What::Call {
                answer: Answer::Refused { .. },
                ..
            }
        )
    }
}

/// Arguments as they are compared: `null` is none. They are kept as text until then, so that a number
/// is read in one way.
pub(super) fn args_of(args: Option<&RawValue>) -> Option<Value> {
    let args: Option<Value> = args.and_then(|args| serde_json::from_str(args.get()).ok());
    args.filter(|args| !args.is_null())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

/// A run that was recorded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RecordedRun {
    /// What it did, in the order in which it began.
    pub items: Vec<Recorded>,
    /// Whether no call says in which step it was made: recordings of old, and transcripts. Then all
    /// are matched as if they were made outside of steps.
    pub is_flat: bool,
    /// Whether its end is recorded: then it makes no further calls.
    pub is_finished: bool,
    /// Whether the program need not begin it.
    pub is_optional: bool,
    /// The document that its session began with, if it is a fork.
    pub document: Option<Value>,
}

/// Runs that were recorded, to be run again; see [`Tape`](super::Tape).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recording {
    /// The settings that they went by, as JSON; `None`: the defaults.
    pub settings: Option<Value>,
    /// The runs by their streams.
    pub runs: BTreeMap<String, RecordedRun>,
}
