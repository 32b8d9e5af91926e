//! What can be asked of the command.

mod admin;
mod agent;
mod approval;
mod budget;
mod command_line;
mod demo;
mod effect;
mod events;
mod evidence;
mod pack;
mod sink;
mod task;
mod travel;
mod tray;
mod values;

pub(crate) use admin::{
    ClockCommand, CompletionsArgs, ConfigCommand, InitArgs, KeysCommand, ManArgs, PrincipalCommand,
    RebuildArgs, SchemaArgs, VerifyArgs,
};
pub(crate) use agent::{
    AgentCommand, MessageCommand, MessagesArgs, Power, ReadArgs, SendArgs, SpawnArgs, WaitArgs,
};
pub(crate) use approval::{ApprovalCommand, ApprovalsArgs, AskArgs, VoteArgs};
pub(crate) use budget::{
    BudgetChargeArgs, BudgetCommand, BudgetOpenArgs, BudgetReserveArgs, BudgetSettleArgs, Spender,
    amounts,
};
pub(crate) use command_line::{CommandLine, Kek};
pub(crate) use demo::DemoArgs;
pub(crate) use effect::{
    Call, ClaimArgs, EffectCommand, EffectsArgs, Holding, ReconcileArgs, ReleaseArgs,
    ShowEffectArgs, Stand, parse_json,
};
pub(crate) use events::{
    AppendArgs, FiguresBy, ImportArgs, LogArgs, ReplayArgs, RunArgs, RunsArgs, ShowArgs, Which,
};
pub(crate) use evidence::{
    CheckpointArgs, CheckpointCommand, ConsistencyArgs, ConsistencyCommand, ConsistencyVerifyArgs,
    EpochCommand, EpochStartArgs, EraseArgs, HoldArgs, ReceiptArgs, ReceiptCommand,
    ReceiptVerifyArgs,
};
pub(crate) use pack::{EvidenceArgs, ExportArgs};
pub(crate) use sink::{
    AddSinkArgs, ArchiveRunArgs, HttpArgs, PayloadsArg, RunSinksArgs, SigningArgs, SinkCommand,
    SinkStatusArgs, place_of,
};
pub(crate) use task::{
    CheckArgs, ClaimTaskArgs, CreateTaskArgs, Said, ShowTaskArgs, TaskCommand, TaskPlace,
    TaskStand, TasksArgs, ValidateArgs, Work,
};
pub(crate) use travel::{DiffArgs, ForkArgs, RollbackArgs, Sides, StateArgs, point};
pub(crate) use tray::{AddArgs, ClaimNextArgs, Next, ShowTrayArgs, TrayCommand, TraysArgs};
pub(crate) use values::{parse_expected, parse_time, parse_when};

use crate::error::{Exit, Report};
use crate::output::Output;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// An append-only log with projections for AI-agent runtimes.
#[derive(Debug, Parser)]
#[command(name = "runstone", version, arg_required_else_help = true)]
#[command(infer_long_args = false, max_term_width = 100, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXITS: &str = "Exit codes: 0 done, yes or valid; 1 the answer is no; 2 wrong usage; 3 lost a race or clashed; \
4 tampered or corrupt; 5 not found; 6 busy; 7 storage failed; 8 keys, credential or policy; 9 verification incomplete";

/// Which log, as whom, and how to answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// The log
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "./runstone.redb"
    )]
    #[arg(env = "RUNSTONE_LOG", hide_env_values = true)]
    pub(crate) log: PathBuf,
    /// The folder of its keys [default: the log's path with .keys appended]
    #[arg(long, global = true, value_name = "PATH")]
    #[arg(env = "RUNSTONE_KEYS", hide_env_values = true)]
    pub(crate) keys: Option<PathBuf>,
    /// Act as this enrolled principal; needs its credential
    #[arg(long = "as", global = true, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
    /// The credential of the principal to act as
    #[arg(long, global = true, value_name = "FILE")]
    #[arg(env = "RUNSTONE_CRED", hide_env_values = true)]
    pub(crate) cred: Option<PathBuf>,
    /// Keep a copy of the newest signed checkpoint in this file, best on another medium, and refuse
    /// a log that is behind it or differs; may be given more than once
    #[arg(
        long = "checkpoint-copy",
        global = true,
        value_name = "FILE",
        value_delimiter = ':'
    )]
    #[arg(env = "RUNSTONE_CHECKPOINT_COPIES", hide_env_values = true)]
    pub(crate) checkpoint_copies: Vec<PathBuf>,
    /// A command that keeps the newest signed checkpoint elsewhere: with put added it takes one on
    /// stdin, with get it prints the last one. Words as a shell splits them, or a JSON array; no
    /// shell is run. May be given more than once; in the variable one a line
    #[arg(
        long = "checkpoint-command",
        global = true,
        value_name = "COMMAND",
        value_delimiter = '\n',
        value_parser = command_line::parse
    )]
    #[arg(env = "RUNSTONE_CHECKPOINT_COMMANDS", hide_env_values = true)]
    pub(crate) checkpoint_commands: Vec<CommandLine>,
    /// Wait this long for a log that another process holds
    #[arg(long, global = true, value_name = "SECONDS", value_parser = values::parse_seconds)]
    pub(crate) wait: Option<Duration>,
    /// Answer with one JSON value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress bars, notes and warnings
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// Everything that can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    /// Make a new log and its keys
    Init(InitArgs),
    /// Show or change the recorded settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Append events
    Append(AppendArgs),
    /// Read recordings made elsewhere
    Import(ImportArgs),
    /// List events
    Log(LogArgs),
    /// Show one event, whole
    Show(ShowArgs),
    /// List the runs
    Runs(RunsArgs),
    /// Show one run
    Run(RunArgs),
    /// Show the session, the steps, the tasks, the calls and the summary of a run, now or at a point
    State(StateArgs),
    Diff(DiffArgs),
    Fork(ForkArgs),
    Rollback(RollbackArgs),
    Replay(ReplayArgs),
    /// List what was begun and never ended
    Orphans,
    #[command(subcommand)]
    Effect(EffectCommand),
    #[command(subcommand)]
    Approval(ApprovalCommand),
    #[command(subcommand)]
    Agent(AgentCommand),
    #[command(subcommand)]
    Message(MessageCommand),
    #[command(subcommand)]
    Task(TaskCommand),
    #[command(subcommand)]
    Budget(BudgetCommand),
    /// Record everything that has expired: leases of tasks and calls, requests for approval, helpers,
    /// reservations of budgets
    Sweep,
    #[command(subcommand)]
    Tray(TrayCommand),
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Check the whole log against tampering
    Verify(VerifyArgs),
    /// Prove that events stand in the log, and verify such proofs
    Receipt(ReceiptArgs),
    /// Print the current signed checkpoint, or verify one
    Checkpoint(CheckpointArgs),
    /// Prove that the log has only grown since a checkpoint, and verify such proofs
    Consistency(ConsistencyArgs),
    /// Print the trust file for auditors, a C2SP tlog-policy
    Policy,
    /// Erase scopes: nobody can read their content any more
    Erase(EraseArgs),
    /// Forbid that a scope is erased
    Hold(HoldArgs),
    Evidence(EvidenceArgs),
    /// Fold the log again, or check that the folds are right
    Rebuild(RebuildArgs),
    /// Show how far the folds are
    Folds,
    /// Hold the log for other commands, on the socket beside its file, and run its sinks, until
    /// ctrl-c or SIGTERM
    Serve,
    /// Show who holds the log, and who is attached
    Attach,
    /// Write a consistent copy, while writing goes on
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Put a backup in the place of a log that was lost, as a replica
    Restore {
        /// What runstone backup wrote
        file: PathBuf,
    },
    Export(ExportArgs),
    /// Make a replica of an export or of the segments of an archive, where --log says
    Load {
        /// What runstone export wrote; - is stdin. Or an archive: its folder, or its bucket of S3 as
        /// s3: URL, with the usual AWS variables
        file: PathBuf,
        /// Of an archive, take the last events too if no checkpoint vouches for them
        #[arg(long)]
        unsigned: bool,
    },
    /// Make a replica the log
    #[command(subcommand)]
    Epoch(EpochCommand),
    /// Make the file as small as it can be
    Compact,
    /// Show sizes and counts
    Stats,
    /// Check the set-up and say what to fix
    Doctor,
    /// List, back up and rotate keys, enrol principals
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Deal with a clock that jumped
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Show the JSON Schema of event types
    Schema(SchemaArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// What the words of a command line ask for.
pub(crate) fn asked(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = taking_negative_numbers(Cli::command());
    let matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// A number below zero is a value like any other: then it can be said what is wrong with it.
fn taking_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        if arg.get_action().takes_values() {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(taking_negative_numbers)
}

/// Answers help, version and wrong usage.
pub(crate) fn answer(error: &clap::Error, json: bool) -> Exit {
    let is_answer = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if is_answer || !json {
        // A reader that is gone already is no error.
        let _ = error.print();
        return if is_answer { Exit::Done } else { Exit::Usage };
    }
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ").trim_end();
    let (message, hints) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut report = Report::usage(message);
    let hints = hints.lines().map(str::trim).filter(|line| !line.is_empty());
    report.hints = hints.map(str::to_owned).collect();
    Output::new(true, false).error(&report);
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_with_a_number_is_said() {
        for words in [
            &["task", "complete", "a", "--fence", "-3"][..],
            &["task", "complete", "a", "--fence", "soon"],
            &["tray", "add", "jobs", "a", "--priority", "-1"],
            &["budget", "settle", "-7"],
            &["log", "--limit", "1.5"],
        ] {
            let words = ["runstone"].iter().chain(words).map(OsString::from);
            let said = asked(words).unwrap_err().to_string();
            assert!(said.contains("it is a whole number from 0"), "{said}");
        }
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for words in [
            ["runstone", "--log", "a", "--wait", "1.5", "stats", "--json"],
            ["runstone", "stats", "--json", "--log", "a", "--wait", "1.5"],
        ] {
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!(cli.global.log, PathBuf::from("a"));
            assert_eq!(cli.global.wait, Some(Duration::from_millis(1500)));
            assert!(cli.global.json);
        }
    }

    #[test]
    fn what_is_issued_and_what_is_verified_are_told_apart() {
        let verifies = |words: &[&str]| {
            let cli = Cli::try_parse_from([&["runstone"], words].concat()).unwrap();
            match cli.command {
                Command::Receipt(args) => args.command.is_some(),
                Command::Checkpoint(args) => args.command.is_some(),
                Command::Consistency(args) => args.command.is_some(),
                other => panic!("{other:?}"),
            }
        };
        for words in [
            &["receipt", "--json", "verify", "--policy", "p", "a", "b"][..],
            &[
                "receipt", "verify", "a", "--policy", "p", "--json", "--log", "l",
            ],
            &["checkpoint", "-q", "verify", "a", "--policy", "p"],
            &[
                "consistency",
                "--json",
                "verify",
                "a",
                "--old",
                "o",
                "--policy",
                "p",
            ],
        ] {
            assert!(verifies(words), "{words:?}");
        }
        for words in [
            &["receipt", "7", "--json"][..],
            &["receipt", "--stream", "verify", "-o", "d"],
            &["checkpoint", "--json"],
            &["consistency", "verified", "-o", "f"],
        ] {
            assert!(!verifies(words), "{words:?}");
        }
        for words in [
            &["receipt", "verify", "a"][..],
            &["receipt", "7", "--all"],
            &["receipt", "7", "--disclose", "a"],
            &["receipt", "7", "--recipient", "a", "-o", "f"],
            &["consistency"],
            &["erase"],
            &["erase", "ann"],
            &["erase", "ann", "--resume", "--basis", "b"],
            &["hold"],
            &["hold", "--list", "--release"],
        ] {
            let outcome = Cli::try_parse_from([&["runstone"], words].concat());
            assert!(outcome.is_err(), "{words:?}");
        }
    }

    #[test]
    fn an_event_comes_from_flags_or_from_a_file() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["runstone", "append"], words].concat());
        assert!(parse(&[]).is_ok());
        assert!(parse(&["-"]).is_ok());
        assert!(parse(&["--type", "a.b", "--stream", "s"]).is_ok());
        assert!(parse(&["--type", "a.b"]).is_err());
        assert!(parse(&["events.jsonl", "--type", "a.b", "--stream", "s"]).is_err());
        assert!(parse(&["--tag", "a:b"]).is_err());
        assert!(parse(&["--after", "4"]).is_err());
    }
}
