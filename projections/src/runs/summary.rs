//! What is known of a run.

use std::fmt;

use runstone_codec::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budgets::OwnerId;
use crate::lease::Moment;
use crate::rows::{LeaseRow, RunRow, UsageSum};

/// A run: one stream, without the runs that it spawned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// Its stream.
    pub stream: String,
    /// What one erasure removes.
    pub scope: String,
    /// Whether it was imported: its first event was.
    pub imported: bool,
    /// Stream of the run that spawned it.
    pub parent: Option<String>,
    /// The run that it was forked from.
    pub forked_from: Option<ForkPoint>,
    /// Position of `run.started` or `run.forked`, whose payload has the name; see [`name`](super::name).
    pub started: Option<Position>,
    /// Its end, if that was recorded. The last one counts.
    pub finished: Option<Finished>,
    /// How it stands.
    pub status: RunStatus,
    /// Position of `run.started` or of the last `run.resumed`: who holds it knows it.
    pub fence: Position,
    /// Who holds it, or held it when it crashed.
    pub holder: Option<String>,
    /// Whose budget it spends.
    #[serde(skip)]
    pub budget: Option<OwnerId>,
    /// What it did.
    pub counts: Counts,
    /// What its calls of models used.
    pub usage: Usage,
    /// What its steps used, as the runtime reported it.
    pub steps: StepUsage,
    /// When its first event was recorded, in Unix microseconds.
    pub first_recorded_at_us: u64,
    /// When its last event was recorded, in Unix microseconds.
    pub last_recorded_at_us: u64,
    /// The earliest time by the producers' clocks, in Unix microseconds.
    pub first_occurred_at_us: Option<u64>,
    /// The latest time by the producers' clocks, in Unix microseconds.
    pub last_occurred_at_us: Option<u64>,
    /// Position of its last event.
    pub last: Position,
}

/// A point of a run that another one shares up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ForkPoint {
    /// Stream of the run.
    pub stream: String,
    /// The last position that is shared.
    pub at: Position,
}

impl ForkPoint {
    pub(crate) fn of((stream, at): (String, u64)) -> Self {
        Self {
            stream,
            at: Position::new(at),
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finished {
    /// Position of `run.finished`.
    pub position: Position,
    /// When it was recorded, in Unix microseconds.
    pub recorded_at_us: u64,
    /// When it occurred by the producer's clock, in Unix microseconds.
    pub occurred_at_us: Option<u64>,
}

/// How a run stands: as its end was recorded, else running while somebody holds it. Unknown is what
/// nobody can say: one that was imported without an end, and a stream of events that nobody began
/// as a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RunStatus {
    /// Somebody holds it.
    Running,
    /// It waits for somebody.
    Paused,
    /// Whoever held it is gone without a word. It can be resumed.
    Crashed,
    /// Whoever held it was stopped, and let go of it. It can be resumed.
    Aborted,
    /// It was forked, and nobody has gone on with it.
    Forked,
    /// A person rolled it back, and nobody has gone on with it.
    RolledBack,
    /// Imported without an end, never begun, or ended without saying how.
    Unknown,
    /// It did what it was to do.
    Success,
    /// It failed.
    Error,
    /// Somebody stopped it.
    Cancelled,
    /// It stopped at something that it could not get past.
    Terminal,
    /// It was handed to somebody else.
    Escalated,
    /// Another word of the recording.
    Other(String),
}

impl RunStatus {
    /// As a word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Crashed => "crashed",
            Self::Aborted => "aborted",
            Self::Forked => "forked",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Terminal => "terminal",
            Self::Escalated => "escalated",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for RunStatus {
    fn from(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "paused" => Self::Paused,
            "crashed" => Self::Crashed,
            "aborted" => Self::Aborted,
            "forked" => Self::Forked,
            "rolled_back" => Self::RolledBack,
            "unknown" => Self::Unknown,
            "success" => Self::Success,
            "error" => Self::Error,
            "cancelled" => Self::Cancelled,
            "terminal" => Self::Terminal,
            "escalated" => Self::Escalated,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RunStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(&*word))
    }
}

impl Serialize for RunStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Events of any type.
    pub events: u64,
    /// Steps of a workflow that began (`step.started`), each attempt of one.
    pub steps: u64,
    /// Nodes of the workflow that began or ended, each once.
    pub nodes: u64,
    /// Steps that were stopped (`step.blocked`).
    pub steps_blocked: u64,
    /// How often it waited for somebody (`run.paused`).
    pub pauses: u64,
    /// Claims of calls that were refused for a reason that matters (`effect.refused`).
    pub refusals: u64,
    /// Verdicts on it and what it did (`verdict.given`).
    pub verdicts: u64,
    /// Turns of its transcript (`chat.message`).
    pub turns: u64,
    /// Calls of tools (`tool.call.requested`).
    pub tool_calls: u64,
    /// Calls of tools that were answered (`tool.call.completed`).
    pub tool_results: u64,
    /// Calls of tools that were answered with an error (`tool.call.failed`).
    pub tool_errors: u64,
    /// Calls of models, each once (`llm.call.completed`).
    pub llm_calls: u64,
}

/// What calls of models used, each by its last report. Sums that do not fit stand at the largest
/// number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read, those of the cache apart.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the cache.
    pub cache_write_tokens: u64,
    /// Price in millionths of a dollar, of the calls whose price is recorded.
    pub usd_micros: u64,
}

impl Usage {
    /// Tokens of every kind.
    pub fn tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.output_tokens)
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_tokens)
    }
}

/// What steps used, as the runtime reported it for them (`step.completed`). Tokens and price are
/// those of steps in which no call of a model was reported: where one was, it tells both, and they
/// would be counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepUsage {
    /// Tokens of every kind.
    pub tokens: u64,
    /// Price in millionths of a dollar.
    pub usd_micros: u64,
    /// Grams of carbon dioxide equivalent, in thousandths, of all steps.
    pub gco2_mg: u64,
}

/// Several runs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// How many runs.
    pub runs: u64,
    /// What they did.
    pub counts: Counts,
    /// What their calls of models used.
    pub usage: Usage,
    /// What their steps used besides.
    pub steps: StepUsage,
}

impl Totals {
    /// Tokens of every kind, of calls of models and of steps that had none.
    pub fn tokens(&self) -> u64 {
        self.usage.tokens().saturating_add(self.steps.tokens)
    }

    /// Price in millionths of a dollar, of calls of models and of steps that had none.
    pub fn usd_micros(&self) -> u64 {
        self.usage.usd_micros.saturating_add(self.steps.usd_micros)
    }

    /// Adds a run.
    pub fn add(&mut self, run: &RunSummary) {
        let add = |sum: &mut u64, amount: u64| *sum = sum.saturating_add(amount);
        add(&mut self.runs, 1);
        let (counts, more) = (&mut self.counts, &run.counts);
        add(&mut counts.events, more.events);
        add(&mut counts.steps, more.steps);
        add(&mut counts.nodes, more.nodes);
        add(&mut counts.steps_blocked, more.steps_blocked);
        add(&mut counts.pauses, more.pauses);
        add(&mut counts.refusals, more.refusals);
        add(&mut counts.verdicts, more.verdicts);
        add(&mut counts.turns, more.turns);
        add(&mut counts.tool_calls, more.tool_calls);
        add(&mut counts.tool_results, more.tool_results);
        add(&mut counts.tool_errors, more.tool_errors);
        add(&mut counts.llm_calls, more.llm_calls);
        let (usage, more) = (&mut self.usage, &run.usage);
        add(&mut usage.input_tokens, more.input_tokens);
        add(&mut usage.output_tokens, more.output_tokens);
        add(&mut usage.cache_read_tokens, more.cache_read_tokens);
        add(&mut usage.cache_write_tokens, more.cache_write_tokens);
        add(&mut usage.usd_micros, more.usd_micros);
        let (steps, more) = (&mut self.steps, &run.steps);
        add(&mut steps.tokens, more.tokens);
        add(&mut steps.usd_micros, more.usd_micros);
        add(&mut steps.gco2_mg, more.gco2_mg);
    }
}

impl RunSummary {
    pub(super) fn of(stream: String, row: RunRow, moment: &Moment) -> Self {
        let is_over = |lease: &LeaseRow| lease.seen(moment).1;
        let status = match (&row.finished, row.imported) {
            (Some(finished), _) => finished
                .status
                .as_deref()
                .map_or(RunStatus::Unknown, RunStatus::from),
            (None, true) => RunStatus::Unknown,
            (None, false) if row.paused => RunStatus::Paused,
            (None, false) if row.lease.as_ref().is_some_and(is_over) => RunStatus::Crashed,
            (None, false) => match row.let_go.as_deref() {
                Some(word) => RunStatus::from(word),
                None if row.lease.is_some() => RunStatus::Running,
                None => RunStatus::Unknown,
            },
        };
        let finished = row.finished.map(|finished| Finished {
            position: Position::new(finished.position),
            recorded_at_us: finished.recorded_at_us,
            occurred_at_us: finished.occurred_at_us,
        });
        let counts = Counts {
            events: row.events,
            steps: row.steps,
            nodes: row.nodes,
            steps_blocked: row.steps_blocked,
            pauses: row.pauses,
            refusals: row.refusals,
            verdicts: row.verdicts,
            turns: row.turns,
            tool_calls: row.tool_calls,
            tool_results: row.tool_results,
            tool_errors: row.tool_errors,
            llm_calls: row.llm_calls,
        };
        Self {
            stream,
            scope: row.scope,
            imported: row.imported,
            parent: row.parent,
            forked_from: row.forked.map(ForkPoint::of),
            started: row.started.map(Position::new),
            finished,
            status,
            fence: Position::new(row.fence),
            holder: row.lease.map(|lease| lease.holder),
            budget: row.budget.as_ref().map(OwnerId::from),
            counts,
            usage: Usage::from(row.usage),
            steps: StepUsage {
                tokens: fit(row.own.tokens),
                usd_micros: fit(row.own.usd_micros),
                gco2_mg: fit(row.gco2_mg),
            },
            first_recorded_at_us: row.first_recorded_at_us,
            last_recorded_at_us: row.last_recorded_at_us,
            first_occurred_at_us: row.occurred_us.map(|(first, _)| first),
            last_occurred_at_us: row.occurred_us.map(|(_, last)| last),
            last: Position::new(row.last),
        }
    }

    /// Tokens of every kind, of calls of models and of steps that had none.
    pub fn tokens(&self) -> u64 {
        self.usage.tokens().saturating_add(self.steps.tokens)
    }

    /// Price in millionths of a dollar, of calls of models and of steps that had none.
    pub fn usd_micros(&self) -> u64 {
        self.usage.usd_micros.saturating_add(self.steps.usd_micros)
    }

    /// When it began, in Unix microseconds: by the producers' clocks where it was imported, since
    /// the log's clock then tells the import, else by the log's.
    pub fn began_at_us(&self) -> u64 {
        self.first_occurred_at_us
            .filter(|_| self.imported)
            .unwrap_or(self.first_recorded_at_us)
    }

    /// When something last happened in it, in Unix microseconds, by the same clock.
    pub fn last_at_us(&self) -> u64 {
        self.last_occurred_at_us
            .filter(|_| self.imported)
            .unwrap_or(self.last_recorded_at_us)
    }

    /// When it ended, in Unix microseconds, by the same clock; `None` if no end is recorded.
    pub fn ended_at_us(&self) -> Option<u64> {
        let finished = self.finished?;
        let occurred = finished.occurred_at_us.filter(|_| self.imported);
        // Where the record of the end has no time, the run has none later than its last event's.
        let untimed = self.last_occurred_at_us.filter(|_| self.imported);
        Some(occurred.or(untimed).unwrap_or(finished.recorded_at_us))
    }
}

/// Sums that do not fit stand at the largest number.
fn fit(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

impl From<UsageSum> for Usage {
    fn from(sum: UsageSum) -> Self {
        Self {
            input_tokens: fit(sum.input_tokens),
            output_tokens: fit(sum.output_tokens),
            cache_read_tokens: fit(sum.cache_read_tokens),
            cache_write_tokens: fit(sum.cache_write_tokens),
            usd_micros: fit(sum.usd_micros),
        }
    }
}
