//! Arguments of agents and messages.

use super::values::parse_whole;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use runstone::agents::{AgentKind, AgentState, RetireReason};

const WHO: &str = "Sleeping, waking and retiring is for the agent itself or a caller that is no agent; powering and \
revoking takes the credential of a person or a commander (--cred). The parent of a helper powers it too.";

const HELPERS: &str = "A helper is an agent that does a part of its parent's work, for a time. Its parent is whoever \
spawns it: the principal of the credential, or system:keyring without one. Helpers spawn none. The time goes on while the \
log is closed; when it is over, or the parent must exit, the next command that looks lets the helper go, and tasks that it \
held are to be done again.

Exit codes: 1 with helper_cap_reached: the helper is there and does not run, because as many as may do (the setting \
helpers.max_running); it can be powered on when one of them stopped. 3 the name is taken.";

/// Agents: who they are, and whether they work, sleep or must stop
#[derive(Debug, Subcommand)]
#[command(after_long_help = WHO)]
pub(crate) enum AgentCommand {
    /// Make an agent known
    Register {
        /// Its name: a pseudonym
        name: String,
        /// What it does
        #[arg(long, value_name = "R")]
        role: Option<String>,
        /// A word to find it by; may be given more than once
        #[arg(long = "label", value_name = "L")]
        labels: Vec<String>,
    },
    /// List agents
    List {
        /// Only those that stand so: running, idle, stopping or retired
        #[arg(long, value_name = "STATUS")]
        status: Option<AgentState>,
        /// Only those of this kind: persistent or helper
        #[arg(long, value_name = "KIND")]
        kind: Option<AgentKind>,
        /// Only helpers of this principal, such as agent:lead
        #[arg(long, value_name = "PRINCIPAL")]
        parent: Option<String>,
    },
    Spawn(SpawnArgs),
    /// A helper is gone for good, and must exit
    #[command(after_long_help = HELPERS)]
    Retire {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "WHY", default_value = "parent_request", value_parser = parse_why)]
        #[arg(help = WHYS)]
        reason: RetireReason,
    },
    /// Let helpers go whose time is over or whose parent must exit
    #[command(after_long_help = HELPERS)]
    Reap,
    /// Show an agent
    Show {
        /// Its name
        name: String,
    },
    /// Record that an agent has nothing to do. It returns at once, and nothing wakes the agent later
    Sleep {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "R", default_value = "no_tasks")]
        reason: String,
        /// When it means to look again
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = parse_whole::<u64>)]
        timeout: u64,
    },
    /// Record that an agent works again
    Wake {
        /// Its name
        name: String,
    },
    /// Say whether a supervisor should run an agent; one that should not must exit
    Power {
        /// Its name
        name: String,
        /// Whether it should run
        state: Power,
        /// Why
        #[arg(long, value_name = "R")]
        reason: Option<String>,
    },
    /// Refuse every later command of an agent
    Revoke {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "R")]
        reason: String,
    },
}

/// Spawn a helper
#[derive(Debug, Args)]
#[command(after_long_help = HELPERS)]
pub(crate) struct SpawnArgs {
    /// Its name: a pseudonym that no agent has or had
    pub(crate) name: String,
    /// The tray that it works on [default: one of its own, which is opened]
    #[arg(long, value_name = "TRAY")]
    pub(crate) tray: Option<String>,
    /// What it does
    #[arg(long, value_name = "R")]
    pub(crate) role: Option<String>,
    /// How long it lives, 60 to 86400 [default: as the settings say]
    #[arg(long, value_name = "SECONDS", value_parser = parse_whole::<u64>)]
    pub(crate) ttl: Option<u64>,
    /// It does not retire itself: it stays until its time is over
    #[arg(long)]
    pub(crate) no_auto_retire: bool,
    /// The task that it is for
    #[arg(long = "for", value_name = "TASK")]
    pub(crate) spawned_for: Option<String>,
}

/// Whether an agent should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Power {
    Running,
    Stopped,
}

const WHYS: &str =
    "Why: tray_drained, ttl_expired, max_tasks, claim_errors, parent_request or failed";

/// What the log alone says is not for a helper to say.
fn parse_why(word: &str) -> Result<RetireReason, String> {
    word.parse()
        .ok()
        .filter(|why| *why != RetireReason::ParentStopped)
        .ok_or_else(|| {
            "one of tray_drained, ttl_expired, max_tasks, claim_errors, parent_request and failed"
                .to_owned()
        })
}

const ORDERS: &str = "An order to stop is a message with one of the words of the settings (orders.sleep_types) as its \
--type or --directive, or of the type done, from a person or a commander; a person's --text is one by the markers of \
the settings (orders.text_markers). What anybody else sends so is recorded as refused and not delivered. An order is \
valid for orders.window_s seconds.";

/// Messages to agents, and orders to stop
#[derive(Debug, Subcommand)]
#[command(after_long_help = ORDERS)]
pub(crate) enum MessageCommand {
    Send(SendArgs),
    Wait(WaitArgs),
    List(MessagesArgs),
    Read(ReadArgs),
}

/// Send a message
#[derive(Debug, Args)]
#[command(after_long_help = ORDERS)]
pub(crate) struct SendArgs {
    /// The agent that it is for, or '*' for all
    pub(crate) to: String,
    /// What kind of message it is
    #[arg(long = "type", value_name = "T", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) message_type: Option<String>,
    /// What is to be done, as a word
    #[arg(long, value_name = "D", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) directive: Option<String>,
    /// The message
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// The message as data
    #[arg(long, value_name = "JSON", value_parser = super::effect::parse_json)]
    pub(crate) body: Option<String>,
    /// Id of the event that it answers
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<runstone::Uuid>,
    /// The sender's word for itself
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
}

/// Wait until there is something for an agent, or it must exit; the log is free meanwhile
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The agent
    pub(crate) agent: String,
    /// Only what came after this position [default: what the agent has not read]
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) after: Option<u64>,
    /// End with 1 if nothing came for so long; 0 looks once [default: wait for ever]
    #[arg(long, value_name = "SECONDS", value_parser = super::values::parse_seconds)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Record that the agent has read what it is told
    #[arg(long)]
    pub(crate) mark: bool,
}

/// List messages to an agent, refused orders among them
#[derive(Debug, Args)]
pub(crate) struct MessagesArgs {
    /// The agent, or '*' for what is for all
    pub(crate) agent: String,
    /// Only what came after this position
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) after: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_whole::<usize>)]
    pub(crate) limit: usize,
}

/// Record up to where a reader has read
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The agent, or another pseudonym
    pub(crate) reader: String,
    /// Position of the last message that it read
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) up_to: u64,
}
