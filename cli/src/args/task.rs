//! Arguments of tasks.

use super::values::{parse_lease, parse_whole};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use runstone::TaskState;
use runstone::events::ParseWordError;
use runstone::tasks::DEFAULT_STREAM;

const STATES: &str = "States are backlog, todo, in_progress, in_review, blocked, done and cancelled; a task begins in \
todo or backlog. Which may follow which is a table: task validate FROM TO asks it.

A claim is held by its lease, and names its fence: task complete, release and renew need it. When the lease is over, \
or the task is released, it goes to blocked and back to todo, with its next attempt.

Exit codes: 1 refused by a rule; 3 another one holds it, the claim is not in force, or there is such a task; 5 there \
is no such task.

With --json each task is one line: id, title, state, type, agent, parent, creator, depth, attempt, fence, holder, \
lease_expires_at, position.";

/// Tasks: units of work with a life of their own
#[derive(Debug, Subcommand)]
#[command(after_long_help = STATES)]
pub(crate) enum TaskCommand {
    Create(CreateTaskArgs),
    Move(MoveTaskArgs),
    Claim(ClaimTaskArgs),
    Complete(CompleteTaskArgs),
    Release(ReleaseTaskArgs),
    Renew(RenewTaskArgs),
    List(TasksArgs),
    Show(ShowTaskArgs),
    Validate(ValidateArgs),
    Check(CheckArgs),
}

/// Where ids are looked up, and as whom.
#[derive(Debug, Args)]
pub(crate) struct TaskPlace {
    /// The stream of new tasks; ids are those of its scope
    #[arg(long, value_name = "S", default_value = DEFAULT_STREAM)]
    pub(crate) stream: String,
    /// Who moves it, for others to see: a pseudonym [default: the principal]
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

/// Create a task
#[derive(Debug, Args)]
#[command(after_long_help = STATES)]
pub(crate) struct CreateTaskArgs {
    /// Its id, one in the scope of its stream
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) said: Said,
    /// The state that it begins in: todo or backlog
    #[arg(long, value_name = "STATE", default_value = "todo")]
    pub(crate) state: TaskState,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// What is said of a task that is created, in a tray or not.
#[derive(Debug, Args)]
pub(crate) struct Said {
    /// What it is called [default: its id]
    #[arg(long, value_name = "T")]
    pub(crate) title: Option<String>,
    /// What is to be done
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) work: Work,
    /// The agent through which it is created, by name; refused while that one sleeps
    #[arg(long = "by", value_name = "AGENT")]
    pub(crate) created_by: Option<String>,
    /// A field that it says to be admitted; may be given more than once
    #[arg(long, value_name = "FIELD=TEXT", value_parser = parse_field)]
    pub(crate) admission: Vec<(String, String)>,
}

/// What kind of work, by whom, where it comes from, and who pays for it.
#[derive(Debug, Args)]
pub(crate) struct Work {
    /// What kind of work it is
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: Option<String>,
    /// Who is to do it
    #[arg(long, value_name = "A")]
    pub(crate) agent: Option<String>,
    /// The task that it is a part of
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) parent: Option<String>,
    /// The task in which it was thought of
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) creator: Option<String>,
    /// Whose budget it is in; refused where that does not let tasks be so deep
    #[arg(long, value_name = "OWNER")]
    pub(crate) budget: Option<String>,
}

/// Move a task to another state
#[derive(Debug, Args)]
#[command(after_long_help = STATES)]
pub(crate) struct MoveTaskArgs {
    /// The task
    pub(crate) id: String,
    /// The state after
    pub(crate) state: TaskState,
    /// By the holder of this claim; without it a task that is held is only blocked or cancelled
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
    /// What is to be said about it
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// Claim a task that is todo
#[derive(Debug, Args)]
#[command(after_long_help = STATES)]
pub(crate) struct ClaimTaskArgs {
    /// The task
    pub(crate) id: String,
    /// How long it is held without a word
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = parse_lease)]
    pub(crate) lease: u64,
    /// Who holds it, for others to see: a pseudonym [default: the principal and the calling process]
    #[arg(long, value_name = "NAME")]
    pub(crate) holder: Option<String>,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// Record that a task is done
#[derive(Debug, Args)]
pub(crate) struct CompleteTaskArgs {
    /// The task
    pub(crate) id: String,
    /// The fence that the claim answered
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: u64,
    /// What came of it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) summary: String,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// Give a task back: it is blocked, and todo again
#[derive(Debug, Args)]
pub(crate) struct ReleaseTaskArgs {
    /// The task
    pub(crate) id: String,
    /// The fence that the claim answered
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: u64,
    /// The work failed, and how
    #[arg(long, value_name = "TEXT")]
    pub(crate) failed: Option<String>,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// Go on holding a task
#[derive(Debug, Args)]
pub(crate) struct RenewTaskArgs {
    /// The task
    pub(crate) id: String,
    /// The fence that the claim answered
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: u64,
    /// How long from now on
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = parse_lease)]
    pub(crate) lease: u64,
    #[command(flatten)]
    pub(crate) place: TaskPlace,
}

/// List tasks
#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Only those that stand so: a state, open (not ended) or expired (their lease is over)
    #[arg(long, alias = "state", value_name = "STATUS", value_parser = parse_stand)]
    pub(crate) status: Option<TaskStand>,
    /// Only those of this agent
    #[arg(long, value_name = "A")]
    pub(crate) agent: Option<String>,
    /// Only those of this kind
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: Option<String>,
    /// Only parts of this task
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// Names of agents, kinds and tasks are looked up in the scope of this stream
    #[arg(long, value_name = "S", default_value = DEFAULT_STREAM)]
    pub(crate) stream: String,
}

/// Show how a task stands, and what became of it
#[derive(Debug, Args)]
pub(crate) struct ShowTaskArgs {
    /// The task
    pub(crate) id: String,
    /// Its id is of the scope of this stream
    #[arg(long, value_name = "S", default_value = DEFAULT_STREAM)]
    pub(crate) stream: String,
}

/// Ask whether one state may follow another. It needs no log
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The state before
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// The state after
    #[arg(value_name = "TO")]
    pub(crate) to: String,
}

/// Ask whether a task could be created, or would be a loop. Nothing is recorded
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Its id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) work: Work,
    /// The deepest that it may stand [default: as the settings say]
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) max_depth: Option<u64>,
    /// Ids are those of the scope of this stream
    #[arg(long, value_name = "S", default_value = DEFAULT_STREAM)]
    pub(crate) stream: String,
}

/// How a task stands, as listings say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskStand {
    State(TaskState),
    /// It has not ended.
    Open,
    /// It is held, and the lease is over.
    Expired,
}

fn parse_stand(text: &str) -> Result<TaskStand, String> {
    match text {
        "open" => Ok(TaskStand::Open),
        "expired" => Ok(TaskStand::Expired),
        _ => text
            .parse()
            .map(TaskStand::State)
            .map_err(|words: ParseWordError| format!("{words}, open, expired")),
    }
}

fn parse_field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, said)) if !field.is_empty() => Ok((field.to_owned(), said.to_owned())),
        _ => Err("it reads like consumer=billing".to_owned()),
    }
}
