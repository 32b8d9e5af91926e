//! How long things take: each node of a workflow, each tool, each agent.
//!
//! ```text
//!  fold "latency", version 1
//!    'g' kind scope 00 which     durations of one node, tool or agent, as bins of a sketch
//!    'p' kind imported ...       one that has begun and not ended: when
//! ```
//!
//! | what | from | to | which |
//! |---|---|---|---|
//! | node | `step.started` | `step.completed`, `step.failed` | keyed digest of the node |
//! | tool | `effect.claimed` | `effect.completed`, `effect.failed` | the name of the call |
//! | agent | `run.started` | `run.finished` | keyed digest of the run's name |
//!
//! What happened here is timed by the log's clock, what was imported by the recording's own, if it
//! has one. What was blocked, skipped, given up or settled afterwards took no time that anybody
//! knows. A run takes from its beginning to its end, with the time in which nobody held it.
//!
//! Quantiles are those of `DDSketch` (Masson, Rim and Lee, VLDB 2019): each is at most 1 % off.
//! The largest duration is exact.
//!
//! The fold reads headers and control, never a payload. Names of nodes and agents are content:
//! [`list`] reads them from one event each, and one that was erased has none.

mod fold;
mod list;
mod sketch;

pub use fold::LatencyFold;
pub use list::{Latency, LatencyFilter, list};

use serde::Serialize;
use std::fmt;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Timed {
    /// A node of a workflow: its steps.
    Node,
    /// A tool, or what executes a task: its calls.
    Tool,
    /// What runs: its runs.
    Agent,
}

impl Timed {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Node, Self::Tool, Self::Agent];

    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Tool => "tool",
            Self::Agent => "agent",
        }
    }

    /// Its byte in the keys of rows.
    fn byte(self) -> u8 {
        match self {
            Self::Node => b'n',
            Self::Tool => b't',
            Self::Agent => b'a',
        }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl Serialize for Timed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
