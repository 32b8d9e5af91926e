//! Arguments of the ledger of calls that happen once.

use super::budget::parse_amount;
use super::values::{parse_lease, parse_whole};
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand};
use runstone::budgets::Dimension;
use runstone::events::ParseWordError;
use runstone::projections::effects::Kind;
use runstone::{EffectClass, EffectState, Executed};
use serde_json::value::RawValue;

/// The stream of claims that name none.
pub(super) const SCRIPTS: &str = "scripts";

const EXITS: &str = "A claim ends with 0 only if the caller now holds it, so this pays once:

  runstone effect claim --name pay --key inv-42 --args '{\"usd\":12}' && pay inv-42

Exit codes of a claim: 1 it is completed, in flight, unknown, not approved, failed for good, was attempted too often or \
does not fit into its budget; 3 the key \
stands for another call.

A claim is held by its lease: whoever needs longer renews it. When the lease is over, a call of class read or \
idempotent can be claimed again; of any other it is then unknown whether it was made, until a person reconciles or \
releases it. Completing, failing, renewing and cancelling need the fence that the claim answered.

With --json each call is answered with one line on stdout: state, kind, name, key, attempt, fence, holder, \
lease_expires_at, result, error, position. The state of a claim that was refused for another reason than how the call \
stands is not_approved or exceeded. Refusals say why on stderr.";

const KEYS: &str = "KEY is looked up in the scope of the stream. --id takes the position of a claim instead, of any key.";

/// Calls that happen once: the ledger, by hand or from scripts
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXITS)]
pub(crate) enum EffectCommand {
    Claim(ClaimArgs),
    Complete(CompleteArgs),
    Fail(FailArgs),
    Renew(RenewArgs),
    Cancel(CancelArgs),
    Release(ReleaseArgs),
    Reconcile(ReconcileArgs),
    List(EffectsArgs),
    Show(ShowEffectArgs),
}

/// Claim a call before it is made
#[derive(Debug, Args)]
#[command(after_long_help = EXITS)]
pub(crate) struct ClaimArgs {
    /// What is called
    #[arg(long, value_name = "N", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: String,
    /// What makes it the same call: an id, one for the scope of the stream
    #[arg(long, value_name = "K")]
    pub(crate) key: String,
    /// A call of a tool, or the execution of a task
    #[arg(long, value_name = "tool|task", default_value = "tool")]
    pub(crate) kind: Kind,
    /// What it means to make it twice: read, idempotent, write or irreversible
    #[arg(long, value_name = "CLASS", default_value = "write")]
    pub(crate) class: EffectClass,
    /// Its arguments by name; who claims the key again must give the same
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    pub(crate) args: Option<String>,
    /// The stream that it is recorded in
    #[arg(long, value_name = "S", default_value = SCRIPTS)]
    pub(crate) stream: String,
    /// How long it is held without a word
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_lease)]
    pub(crate) lease: u64,
    /// Who holds it, for others to see: a pseudonym [default: the principal and the calling process]
    #[arg(long, value_name = "NAME")]
    pub(crate) holder: Option<String>,
    /// Only if people approved it, whatever the settings say of its class
    #[arg(long)]
    pub(crate) needs_approval: bool,
    /// Claim it only if this budget has room: a call of a tool counts as one
    #[arg(long, value_name = "OWNER")]
    pub(crate) budget: Option<String>,
    /// What it may cost besides, as in usd=0.25; may be given more than once
    #[arg(long, value_name = "DIM=N", requires = "budget", value_parser = parse_amount)]
    pub(crate) reserve: Vec<(Dimension, u64)>,
    /// Wait for the outcome of a call in flight; the log is free meanwhile
    #[arg(long = "await")]
    pub(crate) is_awaited: bool,
}

/// Which call.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("call").args(["key", "id"]).required(true))]
pub(crate) struct Call {
    /// Its key
    pub(crate) key: Option<String>,
    /// Position of its claim
    #[arg(long, value_name = "POSITION", value_parser = parse_whole::<u64>)]
    pub(crate) id: Option<u64>,
    /// Of a tool or of a task [default: either]
    #[arg(long, value_name = "tool|task", conflicts_with = "id")]
    pub(crate) kind: Option<Kind>,
    /// A stream of the scope that the key is of
    #[arg(long, value_name = "S", default_value = SCRIPTS, conflicts_with = "id")]
    pub(crate) stream: String,
}

/// Which claim.
#[derive(Debug, Args)]
pub(crate) struct Holding {
    #[command(flatten)]
    pub(crate) call: Call,
    /// The fence that the claim answered, which is its position [default with --id: that one]
    #[arg(long, value_name = "F", required_unless_present = "id", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
}

/// Record that a call was made and what it answered
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct CompleteArgs {
    #[command(flatten)]
    pub(crate) holding: Holding,
    /// What it answered; - is stdin
    #[arg(long, value_name = "JSON", value_parser = parse_json_or_stdin)]
    pub(crate) result: Option<String>,
    /// What it cost, where that is not what its claim reserved; may be given more than once
    #[arg(long, value_name = "DIM=N", value_parser = parse_amount)]
    pub(crate) cost: Vec<(Dimension, u64)>,
    /// Why the caller does not take the answer; it is not made again for that
    #[arg(long, value_name = "REASON")]
    pub(crate) rejected: Option<String>,
}

/// Record that a call failed
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct FailArgs {
    #[command(flatten)]
    pub(crate) holding: Holding,
    /// Whether it was executed all the same: no, unknown or yes [default: no for read and idempotent,
    /// else unknown]
    #[arg(long, value_name = "WORD")]
    pub(crate) executed: Option<Executed>,
    /// The kind of error
    #[arg(long, value_name = "TYPE")]
    pub(crate) error: String,
    /// What it says
    #[arg(long, value_name = "M")]
    pub(crate) message: String,
}

/// Go on holding a call
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) holding: Holding,
    /// How long from now on
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_lease)]
    pub(crate) lease: u64,
}

/// Give a call up. Unless it bears repeating or had not begun, its outcome is unknown then
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) holding: Holding,
    /// Why
    #[arg(long, value_name = "R", default_value = "")]
    pub(crate) reason: String,
    /// It had not begun: it can be claimed again, whatever its class
    #[arg(long)]
    pub(crate) not_begun: bool,
}

/// Let a call be made again, whatever became of it; needs a person
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Only if this claim is in force [default with --id: that one]
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
    /// Why
    #[arg(long, value_name = "R")]
    pub(crate) reason: String,
    /// Do not ask; where there is no terminal nobody is asked
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Record what became of a call whose outcome is unknown; needs a person
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
#[command(group = ArgGroup::new("found").args(["completed", "not_executed"]).required(true))]
pub(crate) struct ReconcileArgs {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Only if this claim is in force [default with --id: that one]
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
    /// It was made, and answered this; - is stdin
    #[arg(long, value_name = "JSON", value_parser = parse_json_or_stdin)]
    pub(crate) completed: Option<String>,
    /// It was not made
    #[arg(long)]
    pub(crate) not_executed: bool,
    /// What it cost, where that is not what its claim reserved; may be given more than once
    #[arg(long, value_name = "DIM=N", value_parser = parse_amount, requires = "completed")]
    pub(crate) cost: Vec<(Dimension, u64)>,
    /// How that is known
    #[arg(long, value_name = "E")]
    pub(crate) evidence: Option<String>,
    /// Do not ask; where there is no terminal nobody is asked
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// List calls
#[derive(Debug, Args)]
pub(crate) struct EffectsArgs {
    /// Only those that stand so: in-flight, expired, completed, failed, cancelled or unknown
    #[arg(long, alias = "state", value_name = "STATUS", value_parser = parse_stand)]
    pub(crate) status: Option<Stand>,
    /// Only those that were claimed last in this stream
    #[arg(long, value_name = "S")]
    pub(crate) stream: Option<String>,
}

/// Show how a call stands
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct ShowEffectArgs {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Position of a claim of it
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
}

/// How a call stands, as listings say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    State(EffectState),
    /// In flight, and its lease is over.
    Expired,
}

fn parse_stand(text: &str) -> Result<Stand, String> {
    if text == "expired" {
        return Ok(Stand::Expired);
    }
    text.parse()
        .map(Stand::State)
        .map_err(|words: ParseWordError| format!("{words}, expired"))
}

/// One JSON value, as it is written.
pub(crate) fn parse_json(text: &str) -> Result<String, String> {
    serde_json::from_str::<&RawValue>(text)
        .map(|value| value.get().to_owned())
        .map_err(|error| format!("it is no JSON: {error}"))
}

fn parse_json_or_stdin(text: &str) -> Result<String, String> {
    if text == "-" {
        return Ok(text.to_owned());
    }
    parse_json(text)
}
