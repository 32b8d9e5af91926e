//! Arguments of approvals.

use super::values::parse_whole;
use clap::{Args, Subcommand, ValueEnum};
use runstone::approvals::ApprovalState;
use runstone::projections::effects::Kind;
use runstone::settings::{ApprovalMode, OnTimeout};

const VOTES: &str = "A vote takes the credential of a person or a commander (--cred). ID is the position of the request \
or the id of its event. Exit codes of a vote: 3 it was decided already; 8 the caller may not vote.";

/// Calls that wait for people
#[derive(Debug, Subcommand)]
#[command(after_long_help = VOTES)]
pub(crate) enum ApprovalCommand {
    Request(AskArgs),
    List(ApprovalsArgs),
    /// Show a request
    Show {
        /// Its position, or the id of its event
        id: String,
    },
    /// Vote for a request
    Approve(VoteArgs),
    /// Vote against a request
    Reject(VoteArgs),
    /// Take a request back: whoever asked, a person or a commander
    Withdraw(VoteArgs),
}

/// Ask whether a call may be made
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// What is called
    #[arg(long, value_name = "N")]
    pub(crate) name: String,
    /// The key that its claim will have
    #[arg(long, value_name = "K")]
    pub(crate) key: String,
    /// Of a tool or of a task
    #[arg(long, value_name = "tool|task", default_value = "tool")]
    pub(crate) kind: Kind,
    /// Its arguments by name: what alone is approved
    #[arg(long, value_name = "JSON", value_parser = super::effect::parse_json)]
    pub(crate) args: Option<String>,
    /// The stream that its claim will be recorded in
    #[arg(long, value_name = "S", default_value = super::effect::SCRIPTS)]
    pub(crate) stream: String,
    /// What is to be done, in words
    #[arg(long, value_name = "TEXT")]
    pub(crate) action: Option<String>,
    /// How reviewers decide [default: as the settings say]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// A reviewer; may be given more than once [default: any person or commander]
    #[arg(long = "reviewer", value_name = "NAME")]
    pub(crate) reviewers: Vec<String>,
    /// When it expires; 0 is never [default: as the settings say]
    #[arg(long, value_name = "SECONDS", value_parser = parse_whole::<u64>)]
    pub(crate) timeout: Option<u64>,
    /// What follows then [default: as the settings say]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_timeout: Option<Timeout>,
    /// Whom it goes to if it is escalated [default: as the settings say]
    #[arg(long, value_name = "NAME")]
    pub(crate) escalate_to: Option<String>,
}

/// How reviewers decide.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    One,
    All,
    Sequential,
    Quorum,
}

impl From<Mode> for ApprovalMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::One => Self::One,
            Mode::All => Self::All,
            Mode::Sequential => Self::Sequential,
            Mode::Quorum => Self::Quorum,
        }
    }
}

/// What follows when nobody decides in time.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Timeout {
    Reject,
    Approve,
    Escalate,
}

impl From<Timeout> for OnTimeout {
    fn from(timeout: Timeout) -> Self {
        match timeout {
            Timeout::Reject => Self::Reject,
            Timeout::Approve => Self::Approve,
            Timeout::Escalate => Self::Escalate,
        }
    }
}

/// List requests, those that are pending unless others are asked for
#[derive(Debug, Args)]
pub(crate) struct ApprovalsArgs {
    /// Only those that stand so: pending, approved or rejected [default: pending]
    #[arg(long, value_name = "STATUS", conflicts_with = "all")]
    pub(crate) status: Option<ApprovalState>,
    /// Decided ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// Only those of this stream
    #[arg(long, value_name = "S")]
    pub(crate) stream: Option<String>,
}

/// A vote
#[derive(Debug, Args)]
#[command(after_long_help = VOTES)]
pub(crate) struct VoteArgs {
    /// Position of the request, or the id of its event
    pub(crate) id: String,
    /// What else there is to say
    #[arg(long, value_name = "C")]
    pub(crate) comment: Option<String>,
}
