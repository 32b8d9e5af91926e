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
    #[arg(long, value_name = "QUERY", value_parser = super::events::parse_query)]
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
