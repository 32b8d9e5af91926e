//! Arguments of what writes and reads events.

use super::values::{parse_expected, parse_time, parse_which, parse_whole};
use crate::error::{Exit, Report};
use clap::{ArgGroup, Args, ValueEnum};
use runstone::import::{Format, Options};
use runstone::{Expected, Query};
use std::path::PathBuf;
use uuid::Uuid;

pub(crate) use super::values::Which;

const LINES: &str = r#"A line is one event, or an array of events that are recorded together or not at all:

  {"type":"tool.call.requested","stream":"run-7","data":{"tool":"search"},"tags":["tool:search"]}

Members: type, stream, data, id, tags, source, occurred_at, scope, causation, correlation,
schema_version, fields; and the checks expect ("none" or a number), if_none (a query) and after
(a position). The bytes of data are kept exactly as they are.

One line is answered for each line read, in order, once it is durable. A bad line is answered with
an error, and the rest goes on.

A query is items joined by " or "; an item is filters joined by ; as in type=tool.*;tag=user:7"#;

/// Append events: JSON lines from a file or stdin, or one event from flags
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("flags").args(["event_type"]).conflicts_with("file"), after_long_help = LINES)]
pub(crate) struct AppendArgs {
    /// JSON lines; - is stdin, which is also the default
    pub(crate) file: Option<PathBuf>,
    /// Type of the one event given by flags
    #[arg(long = "type", value_name = "T", requires = "stream")]
    pub(crate) event_type: Option<String>,
    /// The stream that it belongs to
    #[arg(long, value_name = "S", requires = "event_type")]
    pub(crate) stream: Option<String>,
    /// Its payload
    #[arg(
        long,
        value_name = "JSON",
        requires = "event_type",
        default_value = "{}"
    )]
    pub(crate) data: String,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "K:V", requires = "event_type")]
    pub(crate) tags: Vec<String>,
    /// Its id, which makes the append idempotent
    #[arg(long, value_name = "UUID", requires = "event_type")]
    pub(crate) id: Option<Uuid>,
    /// Who says so: an agent, a tool, a detector
    #[arg(long, value_name = "NAME", requires = "event_type")]
    pub(crate) source: Option<String>,
    /// When it occurred, RFC 3339
    #[arg(long, value_name = "TIME", requires = "event_type", value_parser = parse_time)]
    pub(crate) occurred_at: Option<u64>,
    /// What one erasure removes
    #[arg(long, value_name = "SCOPE", requires = "event_type")]
    pub(crate) scope: Option<String>,
    /// The event that caused it
    #[arg(long, value_name = "UUID", requires = "event_type")]
    pub(crate) causation: Option<Uuid>,
    /// The event that it belongs together with
    #[arg(long, value_name = "UUID", requires = "event_type")]
    pub(crate) correlation: Option<Uuid>,
    /// Version of the payload's schema
    #[arg(long, value_name = "N", requires = "event_type", value_parser = parse_whole::<u32>)]
    pub(crate) schema_version: Option<u32>,
    /// Let single members of the payload be disclosed
    #[arg(long, requires = "event_type")]
    pub(crate) fields: bool,
    /// The stream must not exist, or its last revision must be N; for lines that do not say
    #[arg(long, value_name = "none|N", value_parser = parse_expected)]
    pub(crate) expect: Option<Expected>,
    /// No event may match; for lines that do not say
    #[arg(long, value_name = "QUERY")]
    pub(crate) if_none: Option<Query>,
    /// Only events after this position count for --if-none
    #[arg(long, value_name = "P", requires = "if_none", value_parser = parse_whole::<u64>)]
    pub(crate) after: Option<u64>,
    /// Longer lines are skipped and answered with an error
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = parse_whole::<usize>)]
    pub(crate) max_line_bytes: usize,
}

const FORMATS: &str = "Formats:
  messages     chat transcripts with tool calls, in the manner of OpenAI
  claude-code  session transcripts of Claude Code, JSONL
  pi           sessions of the coding agent pi, JSONL
  openclaw     telemetry of OpenClaw, JSONL
  swe-agent    trajectories of SWE-agent
  cloudevents  CloudEvents 1.0 as JSON: one, one a line, or a batch
  otel-genai   OpenTelemetry GenAI spans, as any-agent writes them
  inspect      logs of Inspect evaluations, JSON or .eval
  mycelium-ledger    ledgers of mycelium, JSON: taken over, so that their calls are not made again
  mycelium-receipts  signed receipts of mycelium, JSONL; checked with --receipt-key-env
  meshflow-run       runs that meshflow exported, JSON; their hash chain is checked
  zu-jsonl           event stores of zu, JSONL";

/// Read recordings made elsewhere. Importing the same file again adds nothing.
#[derive(Debug, Args)]
#[command(after_long_help = FORMATS)]
pub(crate) struct ImportArgs {
    /// Files, and folders with everything in them
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The format; --help lists them [default: told by the content]
    #[arg(long, value_name = "F", value_parser = parse_format)]
    pub(crate) format: Option<Format>,
    /// Put before the name of every stream
    #[arg(long, value_name = "P", default_value = "")]
    pub(crate) stream_prefix: String,
    /// Stop at the first record that cannot be read
    #[arg(long)]
    pub(crate) strict: bool,
    /// Environment variable with the key that receipts were signed with
    #[arg(long, value_name = "NAME")]
    pub(crate) receipt_key_env: Option<String>,
    /// Most bytes of one record
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = parse_whole::<usize>)]
    pub(crate) record_bytes: Option<usize>,
    /// Most members of a container
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = parse_whole::<u64>)]
    pub(crate) members: Option<u64>,
    /// Most bytes that one byte of a container's member may expand to
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = parse_whole::<u64>)]
    pub(crate) member_ratio: Option<u64>,
}

impl ImportArgs {
    /// What was chosen about the import.
    pub(crate) fn options(&self) -> Result<Options, Report> {
        let mut options = Options::new().stream_prefix(self.stream_prefix.clone());
        options.record_bytes = self.record_bytes.unwrap_or(options.record_bytes);
        options.members = self.members.unwrap_or(options.members);
        options.member_ratio = self.member_ratio.unwrap_or(options.member_ratio);
        if let Some(name) = &self.receipt_key_env {
            #[expect(
                clippy::disallowed_methods,
                reason = "the command line reads the environment"
            )]
            let value = std::env::var(name).unwrap_or_default();
            let key = value.trim();
            if key.is_empty() {
                let message = format!("no key stands in the environment variable {name}");
                return Err(Report::new(Exit::Keys, "receipt_key_missing", message));
            }
            options = options.receipt_key(key);
        }
        Ok(options)
    }
}

fn parse_format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|_| {
        let known: Vec<_> = Format::all().iter().map(|format| format.as_str()).collect();
        format!("known formats: {}", known.join(", "))
    })
}

/// List events, oldest first
///
/// Without a filter, --all is needed, so that nobody mixes runs by accident.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct LogArgs {
    /// Events of one stream
    #[arg(long, value_name = "S")]
    pub(crate) stream: Option<String>,
    /// Events of a type, or of a namespace written as ns.*; several are OR-ed
    #[arg(long = "type", value_name = "T", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// Events with a tag; several are AND-ed
    #[arg(long = "tag", value_name = "K:V")]
    pub(crate) tags: Vec<String>,
    /// Every event
    #[arg(long)]
    pub(crate) all: bool,
    /// First position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) from: Option<u64>,
    /// Last position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) to: Option<u64>,
    /// Recorded at or after: RFC 3339, a date, or how long ago as in 2h
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Recorded at or before: RFC 3339, a date, or how long ago as in 2h
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<String>,
    /// Let --since and --until go by the producer's clock
    #[arg(long)]
    pub(crate) occurred: bool,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) limit: Option<u64>,
    /// Newest first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Go on with what comes
    #[arg(long, conflicts_with_all = ["reverse", "to", "until"])]
    pub(crate) follow: bool,
}

/// Show one event, whole.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its position or its id
    #[arg(value_name = "POSITION or ID", value_parser = parse_which)]
    pub(crate) which: Which,
}

/// List the runs.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("figures").args(["costs", "latency"]))]
pub(crate) struct RunsArgs {
    /// Only those with this status
    #[arg(long, value_name = "S", conflicts_with = "figures")]
    pub(crate) status: Option<String>,
    /// Streams of budgets, trays, agents, tasks and messages, too
    #[arg(long, conflicts_with = "figures")]
    pub(crate) all_streams: bool,
    /// What the calls of models of all runs cost. It reads every one of their reports
    #[arg(long)]
    pub(crate) costs: bool,
    /// How long nodes, tools and agents take
    #[arg(long)]
    pub(crate) latency: bool,
    /// What they are told apart by: costs by model (as without it), agent, scope or day; latency by
    /// node, tool or agent (all of them without it)
    #[arg(long, requires = "figures")]
    pub(crate) by: Option<FiguresBy>,
}

/// What costs and latencies are told apart by.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FiguresBy {
    Model,
    /// Of costs the source of the event, of latencies the name of the run
    Agent,
    Scope,
    /// UTC; of recordings by their own clock
    Day,
    Node,
    /// The name of the call
    Tool,
}

/// Show one run: what it did, who did what in it, what was stopped, and its newest events.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Its stream
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// At most so many things that were done, and that were stopped: the newest
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=100_000)
    )]
    pub(crate) limit: u64,
}

const REPLAY: &str = "On a terminal a run is played: its events one after the other, each with the state of the run after \
it: status, counts, tokens, cost, calls under way, the session. Recordings are played by their own clock.

  space plays and pauses            n, right and p, left: the next event, the one before
  home and end, G: first, last      g: to a revision (0 is the first), or with @ before it to a position
  + and -: faster, slower           up, down, page up, page down: through a long event
  q: ends it

Without a terminal the events are printed as runstone log prints them, with --json as JSON; at their speed if \
--speed is given, else at once.";

/// Play a run on the terminal, event by event, with its state beside it.
#[derive(Debug, Args)]
#[command(after_long_help = REPLAY)]
pub(crate) struct ReplayArgs {
    /// Its stream
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// How many times as fast as it was
    #[arg(long, value_name = "X", value_parser = parse_speed)]
    pub(crate) speed: Option<f64>,
    /// Begin paused, to go on step by step
    #[arg(long)]
    pub(crate) step: bool,
    /// Begin at this event of the stream, from 0
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_whole::<u64>)]
    pub(crate) revision: u64,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().unwrap_or_default();
    if (0.001..=1_000_000.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("it is a number from 0.001 to 1000000".to_owned())
    }
}
