//! Arguments of proofs, erasure and succession.

use super::values::{Which, parse_which, parse_whole};
use clap::{ArgGroup, Args, Subcommand};
use runstone::Query;
use runstone::codec::LogId;
use std::path::PathBuf;

const RECEIPTS: &str = "A receipt is one text file (c2sp.org/tlog-proof@v1) that proves offline, with the policy, that the \
event stands in the log. Many receipts go into a folder, as POSITION.tlog-proof, all under one checkpoint.

A disclosure shows content of the event, or single fields of it, to whoever has the receipt; nothing else and no key \
leaves the house. It stands beside its receipt as POSITION.disclosure.json, readable by its owner only. Every disclosure \
is recorded in the log before it is written, so that recipients can be told of an erasure.

An envelope is the stored form of the content, POSITION.envelope beside the receipt. Sealed, it shows nothing to whoever \
has no key, and is not recorded. In a log that is not encrypted it is the content: writing it is recorded as a disclosure. What the log says \
of an erasure is never sealed and never erased: the envelope of log.erasure_requested and log.erasure_completed stands \
beside their receipts without being asked for.

A file that exists is replaced.";

/// Prove that events stand in the log
#[derive(Debug, Args)]
#[command(after_long_help = RECEIPTS)]
#[command(group = ArgGroup::new("many").args(["stream", "query", "from", "to", "all"]).multiple(true))]
#[command(group = ArgGroup::new("shown").args(["disclose", "disclose_all", "envelope"]).multiple(true))]
pub(crate) struct ReceiptArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ReceiptCommand>,
    /// The event's position or its id
    #[arg(value_name = "POSITION or ID", value_parser = parse_which, conflicts_with = "many")]
    pub(crate) which: Option<Which>,
    /// Receipts of every event of a stream
    #[arg(long, value_name = "S", conflicts_with = "query")]
    pub(crate) stream: Option<String>,
    /// Receipts of every event that matches
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<Query>,
    /// From this position on
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) from: Option<u64>,
    /// Up to this position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) to: Option<u64>,
    /// Receipts of every event
    #[arg(long)]
    pub(crate) all: bool,
    /// The file to write, or a folder; for many receipts the folder, which is made if there is none
    #[arg(short, long, value_name = "FILE or DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Disclose this member of the payload too; may be given several times
    #[arg(long, value_name = "FIELD", requires = "output")]
    pub(crate) disclose: Vec<String>,
    /// Disclose the whole payload too
    #[arg(long, requires = "output", conflicts_with = "disclose")]
    pub(crate) disclose_all: bool,
    /// Write the envelope too: the payload as it is stored
    #[arg(long, requires = "output")]
    pub(crate) envelope: bool,
    /// A code for who gets the disclosure, recorded for ever: no name
    #[arg(long, value_name = "CODE", requires = "shown")]
    pub(crate) recipient: Option<String>,
}

impl ReceiptArgs {
    /// Whether something is said that concerns issuing.
    pub(crate) fn is_issuing(&self) -> bool {
        self.which.is_some()
            || self.stream.is_some()
            || self.query.is_some()
            || self.from.is_some()
            || self.to.is_some()
            || self.all
            || self.output.is_some()
    }
}

/// What is done with a receipt.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Verify receipts, offline and without a log
    Verify(ReceiptVerifyArgs),
}

const FINDINGS: &str = "Exit codes: 0 valid; 4 it claims what does not hold: altered, forged, or not belonging together; \
2 it is not what it was issued as: cut, converted, another file; 8 nothing can be said: the policy trusts none of its \
signers, or is missing or broken. Of several files the worst counts.

recorded_at is what the writer of the log claims; nobody else vouches for it.";

/// Verify receipts, offline and without a log
#[derive(Debug, Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct ReceiptVerifyArgs {
    /// Receipts; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Whom to trust, as runstone policy prints it
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// The log that it must be of; else any log of the policy
    #[arg(long, value_name = "O")]
    pub(crate) origin: Option<String>,
    /// The stored form of the payload, which must be the one that the receipt commits to; what it
    /// says is shown if it is not encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
    /// Id of the log, without which only the content of an envelope that is not encrypted can be
    /// checked, not its stored form
    #[arg(long, value_name = "HEX", value_parser = parse_log_id)]
    pub(crate) log_id: Option<LogId>,
    /// A disclosure, which must be a part of the payload; what it discloses is shown
    #[arg(long, value_name = "FILE")]
    pub(crate) disclosure: Option<PathBuf>,
}

/// Print the current signed checkpoint
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) command: Option<CheckpointCommand>,
}

/// What is done with a checkpoint.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Verify a checkpoint, offline and without a log
    #[command(after_long_help = FINDINGS)]
    Verify {
        /// The checkpoint; - is stdin
        file: PathBuf,
        /// Whom to trust, as runstone policy prints it
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// The log that it must be of; else any log of the policy
        #[arg(long, value_name = "O")]
        origin: Option<String>,
    },
}

/// Prove that the log has only grown since a checkpoint
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct ConsistencyArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ConsistencyCommand>,
    /// The earlier checkpoint, as somebody kept it; - is stdin
    #[arg(required = true, value_name = "OLD_CHECKPOINT")]
    pub(crate) old: Option<PathBuf>,
    /// The file to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What is done with a consistency file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsistencyCommand {
    /// Verify a consistency file against the checkpoint that you kept, offline and without a log
    Verify(ConsistencyVerifyArgs),
}

/// Verify a consistency file against the checkpoint that you kept, offline and without a log
#[derive(Debug, Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct ConsistencyVerifyArgs {
    /// The consistency file; - is stdin
    pub(crate) file: PathBuf,
    /// The earlier checkpoint, as you kept it
    #[arg(long, value_name = "OLD_CHECKPOINT")]
    pub(crate) old: PathBuf,
    /// Whom to trust, as runstone policy prints it
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// The later checkpoint may have the origin of a later epoch
    #[arg(long)]
    pub(crate) across_epochs: bool,
}

const ERASURE: &str = "The keys of the scopes are destroyed, the key-encryption key that wrapped them is replaced and \
destroyed, and the file is written anew without the content. From then on the content can be read by nobody, in backups \
and exports neither; events, counts, proofs and receipts stay. Copies of the keys that runstone keys backup wrote before \
have to be destroyed by hand.

Refused while a scope is under hold or younger than the setting retention.minimum_days.

The certificate is the receipt of the event log.erasure_completed. It is written to erasure-POSITION.tlog-proof in the \
current folder, or where -o says; POSITION is that of this event. Beside it stand what that event says \
(erasure-POSITION.envelope) and the same two files of the request, which names all the scopes that were erased together \
(erasure-POSITION.request.tlog-proof and .request.envelope). runstone receipt POSITION -o FILE issues each again.

An erasure that was cut short is pending (exit 9): the content reads as erased already, and erase --resume finishes it.";

/// Erase scopes: nobody can read their content any more
#[derive(Debug, Args)]
#[command(after_long_help = ERASURE)]
#[command(group = ArgGroup::new("what").args(["scopes", "resume", "list"]).required(true))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct EraseArgs {
    /// The scopes
    #[arg(value_name = "SCOPE", requires = "basis")]
    pub(crate) scopes: Vec<String>,
    /// A code for why it may be erased, recorded for ever, as in gdpr-17-1-b
    #[arg(long, value_name = "CODE", conflicts_with_all = ["resume", "list"])]
    pub(crate) basis: Option<String>,
    /// Leave the sealed bytes in the file until erase --resume; the keys are destroyed all the same
    #[arg(long, conflicts_with_all = ["resume", "list"])]
    pub(crate) defer_rewrite: bool,
    /// Erase although calls of a scope are in flight or unknown; recorded for ever
    #[arg(long, conflicts_with_all = ["resume", "list"])]
    pub(crate) force: bool,
    /// Do not ask; where there is no terminal nobody is asked
    #[arg(short, long, conflicts_with_all = ["resume", "list"])]
    pub(crate) yes: bool,
    /// Finish what is pending or deferred
    #[arg(long)]
    pub(crate) resume: bool,
    /// List the erasures
    #[arg(long)]
    pub(crate) list: bool,
    /// The certificate to write, or its folder
    #[arg(short, long, value_name = "FILE or DIR", conflicts_with = "list")]
    pub(crate) output: Option<PathBuf>,
}

/// Forbid that a scope is erased
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["scope", "list"]).required(true))]
pub(crate) struct HoldArgs {
    /// The scope
    pub(crate) scope: Option<String>,
    /// Let it be erased again, as a person or a commander
    #[arg(long, requires = "scope", conflicts_with = "list")]
    pub(crate) release: bool,
    /// List what is held
    #[arg(long)]
    pub(crate) list: bool,
}

/// Epochs: which copy is the log.
#[derive(Debug, Subcommand)]
pub(crate) enum EpochCommand {
    /// Make a replica writable, under a new origin
    Start(EpochStartArgs),
}

const EPOCH: &str = "Two writable copies would sign different histories with one name. So a backup is a replica until \
somebody decides that it is the successor: this records the decision, and from then on checkpoints carry another origin and are signed by another key. \
Auditors need the new runstone policy.";

/// Make a replica writable, under a new origin
#[derive(Debug, Args)]
#[command(after_long_help = EPOCH)]
pub(crate) struct EpochStartArgs {
    /// The newest checkpoint of the lost log that anybody holds; - is stdin
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) known: Option<PathBuf>,
    /// The new origin [default: the first one, /epoch-, its number and random digits]
    #[arg(long, value_name = "O")]
    pub(crate) origin: Option<String>,
    /// Go on although somebody knows of events that are not here; the log says so
    #[arg(long)]
    pub(crate) accept_loss: bool,
}

fn parse_log_id(text: &str) -> Result<LogId, String> {
    text.parse()
        .map_err(|_| "it is the 32 hexadecimal digits of log_id in log.genesis".to_owned())
}
