//! Arguments of trays.

use super::task::Said;
use super::values::{parse_lease, parse_whole};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

const TRAYS: &str = "Tasks lie in a tray until somebody claims them: the highest priority first, then the oldest, and \
only those whose dependencies are done. What is claimed is held by its lease, and complete, release and renew need \
its fence. Released or with a lease that is over it can be claimed again; after its last attempt it is a dead letter.

Exit codes: 1 nothing can be claimed, or refused by a rule; 3 the claim is not in force; 5 there is no such tray or \
task. So `runstone tray claim TRAY && work` works only on what was claimed.

With --json each task is one line: tray, id, title, description, state, ready, stuck, priority, depends_on, attempt, \
fence, holder, lease_expires_at, dead_letter, position. A claim that gets nothing: claimed, drained, closed, open, \
in_progress; drained says that every task has ended.";

/// Trays of tasks: claimed in their order by whoever comes
#[derive(Debug, Subcommand)]
#[command(after_long_help = TRAYS)]
pub(crate) enum TrayCommand {
    Open(OpenTrayArgs),
    Add(Box<AddArgs>),
    Claim(ClaimNextArgs),
    Complete(CompleteNextArgs),
    Release(ReleaseNextArgs),
    Renew(RenewNextArgs),
    Close(CloseTrayArgs),
    List(TraysArgs),
    Show(ShowTrayArgs),
}

/// Open a tray; one that is open stays so
#[derive(Debug, Args)]
pub(crate) struct OpenTrayArgs {
    /// Its name: a pseudonym, as names of agents are
    pub(crate) tray: String,
    /// The scope of its tasks [default: default]
    #[arg(long, value_name = "S")]
    pub(crate) scope: Option<String>,
}

/// Put a task into a tray
#[derive(Debug, Args)]
#[command(after_long_help = TRAYS)]
pub(crate) struct AddArgs {
    /// The tray
    pub(crate) tray: String,
    /// The id of the task, one in the scope of the tray
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) said: Said,
    /// What is claimed first has the highest
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_whole::<u64>)]
    pub(crate) priority: u64,
    /// It is claimed when this task of the tray is done; may be given more than once
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) depends_on: Vec<String>,
}

/// Claim what is next in a tray
#[derive(Debug, Args)]
#[command(after_long_help = TRAYS)]
pub(crate) struct ClaimNextArgs {
    /// The tray [default: the one of the helper whose credential is given]
    pub(crate) tray: Option<String>,
    /// How long it is held without a word: 60 to 86400
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = parse_lease)]
    pub(crate) lease: u64,
    /// Who holds it, for others to see: a pseudonym [default: the principal and the calling process]
    #[arg(long, value_name = "NAME")]
    pub(crate) holder: Option<String>,
}

/// A task of a tray, and a claim of it.
#[derive(Debug, Args)]
pub(crate) struct Next {
    /// The tray
    pub(crate) tray: String,
    /// The id of the task
    pub(crate) id: String,
    /// The fence that the claim answered
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: u64,
}

/// Record that a task is done
#[derive(Debug, Args)]
pub(crate) struct CompleteNextArgs {
    #[command(flatten)]
    pub(crate) next: Next,
    /// What came of it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) summary: String,
}

/// Give a task back: it can be claimed again, or is a dead letter after its last attempt
#[derive(Debug, Args)]
pub(crate) struct ReleaseNextArgs {
    #[command(flatten)]
    pub(crate) next: Next,
    /// The work failed, and how
    #[arg(long, value_name = "TEXT")]
    pub(crate) failed: Option<String>,
}

/// Go on holding a task
#[derive(Debug, Args)]
pub(crate) struct RenewNextArgs {
    #[command(flatten)]
    pub(crate) next: Next,
    /// How long from now on: 60 to 86400
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = parse_lease)]
    pub(crate) lease: u64,
}

/// Close a tray: no more tasks go into it, and what lies there is still done
#[derive(Debug, Args)]
pub(crate) struct CloseTrayArgs {
    /// The tray
    pub(crate) tray: String,
}

/// List trays, or the tasks of one
#[derive(Debug, Args)]
pub(crate) struct TraysArgs {
    /// The tray
    pub(crate) tray: Option<String>,
    /// Only dead letters
    #[arg(long, requires = "tray")]
    pub(crate) dead_letters: bool,
}

/// Show how a tray or a task in it stands
#[derive(Debug, Args)]
pub(crate) struct ShowTrayArgs {
    /// The tray
    pub(crate) tray: String,
    /// The id of the task
    pub(crate) id: Option<String>,
}
