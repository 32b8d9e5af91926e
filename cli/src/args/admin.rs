//! Arguments of what operators and auditors do.

use super::command_line::{self, Kek};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use runstone::VerifyLevel;
use runstone::codec::Authority;
use std::path::PathBuf;

const KEKS: &str = "The key-encryption key wraps all other keys. By default it lies with them in the keyring folder. \
With --kek env:NAME it stands in that environment variable: 64 hexadecimal digits or base64 of 32 bytes; every command that \
opens the log needs it, and to replace it the next one goes into NAME_NEXT. With --kek command:COMMAND a program keeps it, \
as one that asks a key management service: it is started without a shell for each request, which is one JSON object on its \
stdin, and answers one on its stdout; docs/FORMAT.md of Runstone has them all. Words as a shell splits them, or a JSON array.

Only the name of the variable, or the command, is kept in the keyring.";

/// Make a new log and its keys. An existing file is refused.
#[derive(Debug, Args)]
#[command(after_long_help = KEKS)]
pub(crate) struct InitArgs {
    /// Do not encrypt payloads
    #[arg(long)]
    pub(crate) plain: bool,
    /// Let single members of every payload be disclosed
    #[arg(long)]
    pub(crate) fields: bool,
    /// Who holds the key-encryption key
    #[arg(long, value_name = "keyring|env:NAME|command:COMMAND")]
    #[arg(default_value = "keyring", value_parser = command_line::parse_kek)]
    pub(crate) kek: Kek,
    /// Name of the log in its checkpoints [default: runstone.local/ and its id]
    #[arg(long, value_name = "O")]
    pub(crate) origin: Option<String>,
    /// Enrol the first person; the credential is written beside the log
    #[arg(long, value_name = "NAME")]
    pub(crate) human: Option<String>,
    /// Record these settings
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
}

/// Settings are events: what deciders and folds read is recorded, so that two processes decide
/// alike.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings in force
    Show,
    /// Record the settings of a file; the last ones count
    Set {
        /// TOML; - is stdin
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
    },
    /// Print every setting with its default
    Template {
        /// Without the explanations
        #[arg(long)]
        minimal: bool,
    },
}

/// Check the whole log against tampering. Nothing is written or repaired.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// 0: headers, tree and signatures; 1: also stored payloads; 2: also their content
    #[arg(long, default_value = "2")]
    pub(crate) level: Level,
}

/// How much is verified.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Headers, tree and signatures.
    #[value(name = "0")]
    Headers,
    /// Stored payloads too.
    #[value(name = "1")]
    Payloads,
    /// Their content too.
    #[value(name = "2")]
    Commitments,
}

impl From<Level> for VerifyLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Headers => Self::Headers,
            Level::Payloads => Self::Payloads,
            Level::Commitments => Self::Commitments,
        }
    }
}

/// Fold the log again from the beginning, and replace the stored rows.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Compare only
    #[arg(long)]
    pub(crate) check: bool,
    /// Only this fold
    #[arg(conflicts_with = "derived")]
    pub(crate) fold: Option<String>,
    /// Derive index, tiles and folds again from the events, for a log that is refused since these
    /// are damaged
    #[arg(long, conflicts_with = "check")]
    pub(crate) derived: bool,
}

/// Keys and principals.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys, without their secrets, and who signs and signed checkpoints
    List,
    /// Write a copy of all keys
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Make the key folder from such a copy; there must be none
    Restore {
        /// What keys backup wrote
        file: PathBuf,
    },
    /// Make a new key-encryption key, wrap every key under it and destroy the former one
    Rotate,
    /// Draw a new signing key; the former one signs too until --end
    RotateSigning {
        /// Let the new key sign alone from now on
        #[arg(long)]
        end: bool,
    },
    /// Enrol who may act with a credential
    #[command(subcommand)]
    Principal(PrincipalCommand),
}

/// Principals.
#[derive(Debug, Subcommand)]
pub(crate) enum PrincipalCommand {
    /// Enrol a principal and write its credential
    Add {
        /// Its pseudonym, which is never erased: not a person's name
        name: String,
        /// As what it acts
        #[arg(long, value_name = "human|commander|agent", value_parser = parse_authority)]
        authority: Authority,
        /// The new credential file
        #[arg(short, long, value_name = "CRED")]
        output: PathBuf,
    },
}

fn parse_authority(text: &str) -> Result<Authority, String> {
    match text.parse() {
        Ok(Authority::System) | Err(_) => Err("it is human, commander or agent".to_owned()),
        Ok(authority) => Ok(authority),
    }
}

/// The log's clock never decreases.
#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Adopt a clock that jumped ahead, as a person or a commander
    Accept,
}

/// Show the JSON Schema of event types.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The event type; without it all are listed
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Print the openapi.json of what a process that holds a log answers on its socket
    #[arg(long, conflicts_with = "event_type")]
    pub(crate) http: bool,
}

/// Print completions for a shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Print the manual page.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this folder instead
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print the reference of all commands as Markdown instead
    #[arg(long, conflicts_with = "output")]
    pub(crate) markdown: bool,
}
