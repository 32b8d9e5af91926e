//! Arguments of `evidence`, which writes packs.

use super::values::parse_whole;
use clap::Args;
use runstone::Query;
use std::path::PathBuf;

const PACK: &str = r#"The directory holds policy, checkpoint, an earlier checkpoint with the proof that the log only grew since,
the tree as tiles, a receipt for each event, certificates of erasures, VERIFY.md and verify.py. It is
there whole or not at all.

  runstone evidence pack --stream run-7 --payloads --recipient auditor-7
  python3 pack/verify.py

Without --stream, --query, --from and --to it is about every event. A query is items joined by " or ";
an item is filters joined by ; as in type=tool.*;tag=user:7"#;

/// Write an evidence pack: proofs of events that somebody else checks offline
#[derive(Debug, Args)]
#[command(after_long_help = PACK)]
pub(crate) struct EvidenceArgs {
    /// The new directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Events of one stream
    #[arg(long, value_name = "S", conflicts_with = "query")]
    pub(crate) stream: Option<String>,
    /// Events that match
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<Query>,
    /// First position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) from: Option<u64>,
    /// Last position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) to: Option<u64>,
    /// Prove that the log only grew since this checkpoint [default: the newest one that it keeps]
    #[arg(long, value_name = "CHECKPOINT_FILE")]
    pub(crate) since: Option<PathBuf>,
    /// Disclose the content of the events; the log records that
    #[arg(long)]
    pub(crate) payloads: bool,
    /// A code for who gets the content, recorded for ever: not a person's name
    #[arg(long, value_name = "CODE", requires = "payloads")]
    pub(crate) recipient: Option<String>,
    /// Add the entries of all events, from which the whole tree can be hashed
    #[arg(long)]
    pub(crate) entries: bool,
}

const EXPORT: &str = "An export is a file of lines: the head of the log, its signed checkpoints, every entry from 0, and the \
sealed content of the events that the query names (all without one) and of the log's own. What it leaves out is marked as erased \
or withheld, so that the tree is the same. There are no keys in it; in a log that is not encrypted the content is in the clear. \
runstone load makes a replica of it.

  runstone export 'stream=run-7' -o run-7.jsonl
  runstone export | zstd > log.jsonl.zst
  zstdcat log.jsonl.zst | runstone --log copy.redb load -

With --open it is something else: the content of the events that the query names, in the clear, one event a line as runstone log \
--json prints it, for people and other tools; nothing can be loaded from it. Which events were shown, and to whom, is \
recorded before they are written, so that recipients can be told of an erasure.

With --calls it is a recording: the steps and calls of a run and what they were answered, in the clear and recorded as shown \
likewise, for its program to run again against in a test.

  runstone export --calls run-7 -o tests/recordings/run-7.jsonl

A query is items joined by \" or \"; an item is stream=S, type=a.b,c.*, tag=k:v, source=S, principal=P, authority=A, \
scope=S, causation=ID, correlation=ID joined by ;";

/// Write the whole log as lines, with the content of all events or of those that a query names.
#[derive(Debug, Args)]
#[command(after_long_help = EXPORT)]
pub(crate) struct ExportArgs {
    /// Content of which events; without it of all
    pub(crate) query: Option<Query>,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the content in the clear, which is recorded as a disclosure
    #[arg(long)]
    pub(crate) open: bool,
    /// Write what this run called and was answered, in the clear, for its program to run again
    /// against; the runs that it spawned too. Can be given several times
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["query", "open"])]
    pub(crate) calls: Vec<String>,
    /// A code for who gets the content, recorded for ever: not a person's name
    #[arg(long, value_name = "CODE")]
    pub(crate) recipient: Option<String>,
}
